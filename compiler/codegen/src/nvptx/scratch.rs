//! Shared memory that threads exchange values through, and the barriers around it.
//!
//! Small exchanges each own a piece of memory, so that straight-line code needs one barrier an exchange: between its writes and its reads. In a loop
//! the next trip would write what a slow thread still reads. A barrier of a later instruction of the trip prevents that, and so does one of the next
//! trip before the write; only where there is neither, which is known at the end of the loop, one is put in front of the exchange.
//!
//! Large exchanges and rings share one arena; what is in use at one time lies side by side. Before it is used again there has to have been
//! a barrier in a later instruction than its last use; in a loop there is always one in front. Groups of warps that run programs of their own wait for
//! nobody but themselves, so that behind the rings of all each has a part of the arena to itself.

use cranelift_entity::packed_option::ReservedValue;
use kiln_ir::{Function, Inst, InstData};

use super::emit::Emitter;
use super::text::{Asm, Ty, Val};

/// Exchanges up to this many bytes own their memory.
const SMALL: u32 = 2048;
/// Bytes of a row of all banks, at which larger pieces start: their swizzles count on it.
const BANKS: u32 = 128;
/// Bytes after which the widest swizzle repeats.
const SWIZZLE: u32 = 1024;

/// A piece of shared memory, and the instruction that it is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedPiece {
    pub(super) of: Option<Inst>,
    pub(super) bytes: u32,
}

/// What is allocated, and what protects it.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Warpgroups or the TMA engine read tiles on their own: tiles start where the pattern of a swizzle does, and what threads write has to be made visible to them.
    by_others: bool,
    /// Bytes of small exchanges; the arena lies behind them.
    small: u32,
    /// Bytes of the arena: rings one behind the other, behind them the large exchange of the moment.
    arena: u32,
    /// Most bytes of rings at one time.
    ring_bytes: u32,
    /// Rings in use, from the first to the last.
    rings: Vec<Ring>,
    /// Most bytes that a group of warps has of the arena to itself.
    stride: u32,
    /// Small exchanges and others that own their memory.
    owned: Vec<SharedPiece>,
    /// What lay in the arena when there was most in it.
    fullest: Vec<SharedPiece>,
    arena_used: bool,
    /// The instruction that used the arena last, and whether a later one had a barrier on every path.
    arena_last: u32,
    arena_synced: bool,
    /// The current instruction.
    current: Option<Inst>,
    /// Its number: an exchange is over with the instruction it is for.
    instruction: u32,
    /// Exchanges of each loop around the current place that may need a barrier in front.
    open: Vec<Vec<Exchange>>,
    /// The branches of `if` around the current place; each has a number of its own.
    branches: Vec<u32>,
    branch_count: u32,
    /// Depth of loops around the current place.
    pub(super) loops: u32,
    /// A barrier has been executed in this trip of the innermost loop, on every path to the current place.
    pub(super) synced: bool,
}

/// A ring in the arena.
#[derive(Debug)]
struct Ring {
    /// The instruction after which nothing reads it.
    last: Inst,
    /// Its memory, that of all groups.
    piece: SharedPiece,
    /// Bytes of one group, where each has a ring of its own.
    own: u32,
}

/// A small exchange in a loop.
#[derive(Debug)]
struct Exchange {
    /// Where its barrier would stand.
    hole: usize,
    instruction: u32,
    branches: Vec<u32>,
}

impl Scratch {
    /// Nothing allocated yet.
    pub(super) fn new(func: &Function) -> Scratch {
        let mut scratch = Scratch::default();
        func.walk(|_, inst| {
            scratch.by_others |= matches!(func.insts[inst], InstData::DotStart { .. } | InstData::TmaStore { .. })
        });
        scratch
    }

    /// The next instruction begins.
    pub(super) fn next_instruction(&mut self, inst: Inst) {
        self.current = Some(inst);
        self.instruction += 1;
    }

    /// The number of the current instruction, to come back to it after those of a block inside it.
    pub(super) fn instruction(&mut self) -> &mut u32 {
        &mut self.instruction
    }

    /// A branch of an `if` begins.
    pub(super) fn enter_branch(&mut self) {
        self.branch_count += 1;
        self.branches.push(self.branch_count);
    }

    /// A branch of an `if` ends.
    pub(super) fn leave_branch(&mut self) {
        self.branches.pop();
        // Its barriers are not on every path to what follows.
        self.arena_synced = false;
    }

    /// Every thread has passed a barrier: what exchanges of earlier instructions read, the next trip may write.
    pub(super) fn passed(&mut self) {
        let (now, branches) = (self.instruction, &self.branches);
        if let Some(open) = self.open.last_mut() {
            open.retain(|exchange| exchange.instruction == now || !exchange.branches.starts_with(branches));
        }
        self.arena_synced |= self.arena_last < now;
        self.synced = true;
    }

    /// Notes a use of the arena; says whether a barrier has to come before.
    fn use_arena(&mut self) -> bool {
        let needed = self.arena_used && !(self.arena_synced && self.arena_last < self.instruction) || self.loops > 0;
        (self.arena_used, self.arena_last, self.arena_synced) = (true, self.instruction, false);
        needed
    }

    /// Where the memory of large exchanges starts.
    pub(super) fn arena_start(&self) -> u32 {
        self.small.next_multiple_of(self.align(u32::MAX))
    }

    /// What a piece of `bytes` is aligned to.
    fn align(&self, bytes: u32) -> u32 {
        match bytes {
            _ if bytes < BANKS => 16,
            // The pattern of a swizzle repeats after 256 to 1024 bytes, and no tile that has it is smaller.
            _ if self.by_others => (1 << bytes.ilog2()).min(SWIZZLE),
            _ => BANKS,
        }
    }

    /// Most bytes that rings take at one time.
    pub(super) fn ring_bytes(&self) -> u32 {
        self.ring_bytes
    }

    /// Bytes from one group's part of the arena to the next one's.
    pub(super) fn arena_stride(&self) -> u32 {
        self.stride
    }

    /// Bytes of the rings in use.
    fn in_rings(&self) -> u32 {
        self.rings.iter().map(|ring| ring.piece.bytes).sum()
    }

    /// Bytes of the rings in use that all groups share, and those of one group's.
    fn shared_and_own(&self) -> [u32; 2] {
        let shared = self.rings.iter().filter(|ring| ring.own == 0).map(|ring| ring.piece.bytes).sum();
        [shared, self.rings.iter().map(|ring| ring.own).sum()]
    }

    /// The current instruction's need of so many bytes.
    fn here(&self, bytes: u32) -> SharedPiece {
        SharedPiece { of: self.current, bytes }
    }

    /// Makes room for all rings in use, and an exchange behind them.
    fn fill_arena(&mut self, exchange: Option<u32>) {
        let exchange = exchange.map(|bytes| self.here(bytes));
        self.hold(self.rings.iter().map(|ring| ring.piece).chain(exchange).collect());
    }

    /// Makes room for all that lies in the arena at a time.
    fn hold(&mut self, pieces: Vec<SharedPiece>) {
        let bytes = pieces.iter().map(|piece| piece.bytes).sum();
        if bytes > self.arena {
            (self.arena, self.fullest) = (bytes, pieces);
        }
    }

    /// What takes the kernel's shared memory where most of it is taken.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &SharedPiece> {
        self.owned.iter().chain(&self.fullest)
    }

    /// Bytes of shared memory the kernel needs.
    pub(super) fn bytes(&self) -> u32 {
        if self.arena == 0 { self.small } else { self.arena_start() + self.arena }
    }
}

impl Emitter<'_> {
    /// Memory for one exchange of `bytes`; threads may write it at once. Follow the writes with [`barrier`](Self::barrier).
    pub(super) fn scratch(&mut self, bytes: u32) -> Val {
        if bytes <= SMALL {
            self.small_scratch(bytes)
        } else {
            if self.scratch.use_arena() {
                self.barrier();
            }
            let each = self.each_groups(bytes, self.scratch.align(u32::MAX));
            self.scratch.fill_arena(Some(each * self.groups_here()));
            self.in_arena(each)
        }
    }

    /// So many bytes of the rings' memory, once no product reads it any more. None where there are fewer, or slots are used behind `inst`.
    pub(super) fn free_rings(&mut self, inst: Inst, bytes: u32) -> Option<Val> {
        let free = self.scratch.in_rings() >= bytes && self.rings_are_done(inst);
        free.then(|| {
            self.barrier();
            self.w.at_entry(|w| w.offset(Val::arena(), Val::i32(0), 1))
        })
    }

    /// Memory for an exchange of `bytes` that is over with `inst`: the rings' and what lies behind it, where those are done.
    pub(super) fn scratch_in_rings(&mut self, inst: Inst, bytes: u32) -> Val {
        if !self.rings_are_done(inst) {
            return self.scratch(bytes);
        }
        self.scratch.use_arena();
        self.barrier();
        let alone = self.scratch.here(bytes.next_multiple_of(16));
        self.scratch.hold(vec![alone]);
        self.w.at_entry(|w| w.offset(Val::arena(), Val::i32(0), 1))
    }

    /// This place is behind all that consumers do with slots of rings.
    fn rings_are_done(&self, inst: Inst) -> bool {
        self.consumers && self.scratch.loops == 0 && !self.uses_slots_behind(inst)
    }

    /// Whether a slot is waited for, read or freed behind an instruction.
    fn uses_slots_behind(&self, of: Inst) -> bool {
        let (mut behind, mut uses) = (false, false);
        self.func.walk(|_, inst| {
            let slots = matches!(
                self.func.insts[inst],
                InstData::RingRead { .. }
                    | InstData::RingNew { .. }
                    | InstData::BarrierWait { .. }
                    | InstData::BarrierArrive { .. }
            );
            uses |= behind && slots;
            behind |= inst == of;
        });
        uses
    }

    /// Memory of a ring that is in use up to instruction `last`; threads may write it at once.
    pub(super) fn ring_space(&mut self, bytes: u32, last: Inst) -> Val {
        // Before there are roles nothing has used any memory.
        let unused = self.threads.producers > 0 && !self.consumers;
        if self.scratch.use_arena() && !unused {
            self.barrier();
        }
        let align = self.scratch.align(u32::MAX);
        let each = bytes.next_multiple_of(align);
        let piece = self.scratch.here(each * self.groups_here());
        let place = self.in_arena(each);
        let own = if self.groups_here() > 1 { each } else { 0 };
        self.scratch.rings.push(Ring { last, piece, own });
        self.scratch.fill_arena(None);
        self.scratch.ring_bytes = self.scratch.ring_bytes.max(self.scratch.in_rings());
        place
    }

    /// Memory behind the rings in use, `each` bytes for each group in its part of the arena. That starts where the small pieces end, which is known only at the end, as is how long
    /// those parts are.
    fn in_arena(&mut self, each: u32) -> Val {
        if self.groups_here() == 1 {
            let live = self.scratch.in_rings();
            return self.w.at_entry(|w| w.offset(Val::arena(), Val::i32(live), 1));
        }
        let [shared, own] = self.scratch.shared_and_own();
        self.scratch.stride = self.scratch.stride.max(own + each);
        let group = self.threads.group(&mut self.w);
        self.w.at_entry(|w| {
            let distance = w.mul_nsw(group, Val::arena_stride());
            let part = w.offset(Val::arena(), distance, 1);
            w.offset(part, Val::i32(shared + own), 1)
        })
    }

    /// How many groups of warps run what is being written, each with memory of its own.
    fn groups_here(&self) -> u32 {
        if self.consumers { self.threads.groups } else { 1 }
    }

    /// Bytes from one group's memory to the next one's, where each asks for `bytes`.
    fn each_groups(&self, bytes: u32, align: u32) -> u32 {
        bytes.next_multiple_of(if self.groups_here() > 1 { align.max(16) } else { 16 })
    }

    /// This group's memory, where groups have `each` bytes one behind the other.
    fn own_groups(&mut self, first: Val, each: u32) -> Val {
        if self.groups_here() == 1 {
            return first;
        }
        let group = self.threads.group(&mut self.w);
        self.w.at_entry(|w| w.offset(first, group, each))
    }

    /// Gives the memory of rings back whose last use was `inst`, the youngest first.
    pub(super) fn end_rings(&mut self, inst: Inst) {
        if self.scratch.rings.iter().any(|ring| ring.last == inst) {
            // Read up to here.
            (self.scratch.arena_last, self.scratch.arena_synced) = (self.scratch.instruction, false);
        }
        for ring in &mut self.scratch.rings {
            if ring.last == inst {
                ring.last = Inst::reserved_value();
            }
        }
        while self.scratch.rings.last().is_some_and(|ring| ring.last == Inst::reserved_value()) {
            self.scratch.rings.pop();
        }
    }

    /// Memory of one exchange of the current instruction.
    fn small_scratch(&mut self, bytes: u32) -> Val {
        if self.scratch.loops > 0 && !self.scratch.synced {
            let exchange =
                Exchange { hole: self.w.hole(), instruction: self.scratch.instruction, branches: self.scratch.branches.clone() };
            self.scratch.open.last_mut().expect("in a loop").push(exchange);
        }
        self.piece(bytes)
    }

    /// Memory that nothing else uses, for a tile that later instructions read.
    pub(super) fn own_scratch(&mut self, bytes: u32) -> Val {
        if self.scratch.loops > 0 && !self.scratch.synced {
            self.barrier();
        }
        self.piece(bytes)
    }

    /// What this thread wrote to shared memory is there for warpgroups after the next barrier (PTX ISA, "Async proxy").
    pub(super) fn publish(&mut self) {
        if self.scratch.by_others {
            self.w.asm(&[], Asm::Memory, "fence.proxy.async.shared::cta;", "", &[]);
        }
    }

    /// Memory of its own, of which whoever asks for it sees to the order.
    pub(super) fn piece(&mut self, bytes: u32) -> Val {
        let align = self.scratch.align(bytes);
        let at = self.scratch.small.next_multiple_of(align);
        let each = self.each_groups(bytes, align);
        let all = each * self.groups_here();
        self.scratch.small = at + all;
        let piece = self.scratch.here(all);
        self.scratch.owned.push(piece);
        let first = self.w.at_entry(|w| w.offset(Val::shared_base(), Val::int(Ty::I32, i64::from(at)), 1));
        self.own_groups(first, each)
    }

    /// Waits for every thread of the block; what they wrote is visible after it.
    pub(super) fn barrier(&mut self) {
        self.write_barrier();
        self.scratch.passed();
        self.order.clear();
    }

    fn write_barrier(&mut self) {
        if self.consumers {
            let threads = Val::i32(32 * self.threads.warps);
            let number = match self.threads.groups {
                1 => Val::i32(1),
                _ => {
                    let group = self.threads.group(&mut self.w);
                    self.w.at_entry(|w| w.add(group, Val::i32(1)))
                }
            };
            self.w.call_void("llvm.nvvm.barrier.cta.sync.aligned.count", &[number, threads]);
        } else if self.threads.block() == 32 {
            self.w.call_void("llvm.nvvm.bar.warp.sync", &[Val::int(Ty::I32, -1)]);
        } else {
            self.w.call_void("llvm.nvvm.barrier.cta.sync.aligned.all", &[Val::i32(0)]);
        }
    }

    /// A loop begins; gives what [`leave_loop`](Self::leave_loop) takes.
    pub(super) fn enter_loop(&mut self) -> Outside {
        self.scratch.loops += 1;
        self.scratch.open.push(Vec::new());
        self.scratch.arena_synced = false;
        Outside {
            synced: std::mem::replace(&mut self.scratch.synced, false),
            branches: std::mem::take(&mut self.scratch.branches),
        }
    }

    /// A loop ends.
    pub(super) fn leave_loop(&mut self, outside: Outside) {
        self.settle_exchanges();
        self.scratch.open.pop();
        self.scratch.loops -= 1;
        self.scratch.arena_synced = false;
        (self.scratch.synced, self.scratch.branches) = (outside.synced, outside.branches);
    }

    /// Control may leave the loop here, or begin a new trip: exchanges that no barrier separates from those to come get one in front.
    pub(super) fn settle_exchanges(&mut self) {
        let open = self.scratch.open.last_mut().map(std::mem::take).unwrap_or_default();
        for exchange in open {
            let before = self.w.hole();
            self.write_barrier();
            self.w.move_line(before, exchange.hole);
        }
    }
}

/// What a loop leaves alone.
pub(super) struct Outside {
    synced: bool,
    branches: Vec<u32>,
}
