//! Shared memory that threads exchange values through, and the barriers around it.
//!
//! Small exchanges each own a piece of memory, so that straight-line code needs one barrier an exchange. In a loop the next
//! trip would write what a slow thread still reads: the first exchange of a trip is preceded by a barrier, the later ones
//! are protected by those before them. Large exchanges and rings share one arena and are always preceded by a barrier once it was
//! used; what is in use at one time lies side by side.

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

/// What is allocated, and what protects it.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// Warpgroups read tiles on their own: tiles start where the pattern of a swizzle does, and what threads write has to be made visible to them.
    warpgroups: bool,
    /// Bytes of small exchanges; the arena lies behind them.
    small: u32,
    /// Bytes of the arena: rings one behind the other, behind them the large exchange of the moment.
    arena: u32,
    /// Most bytes of rings at one time.
    ring_bytes: u32,
    /// Rings in use, from the first to the last: the instruction after which nothing reads it, and its bytes.
    rings: Vec<(Inst, u32)>,
    arena_used: bool,
    /// Depth of loops around the current place.
    pub(super) loops: u32,
    /// A barrier has been executed in this trip of the innermost loop, on every path to the current place.
    pub(super) synced: bool,
}

impl Scratch {
    /// Nothing allocated yet.
    pub(super) fn new(func: &Function) -> Scratch {
        let mut scratch = Scratch::default();
        func.walk(|_, inst| scratch.warpgroups |= matches!(func.insts[inst], InstData::DotStart { .. }));
        scratch
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
            _ if self.warpgroups => (1 << bytes.ilog2()).min(SWIZZLE),
            _ => BANKS,
        }
    }

    /// Most bytes that rings take at one time.
    pub(super) fn ring_bytes(&self) -> u32 {
        self.ring_bytes
    }

    fn in_rings(&self) -> u32 {
        self.rings.iter().map(|(_, bytes)| bytes).sum()
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
            self.own_scratch(bytes)
        } else {
            if self.scratch.arena_used || self.scratch.loops > 0 {
                self.barrier();
            }
            self.scratch.arena_used = true;
            let live = self.scratch.in_rings();
            self.scratch.arena = self.scratch.arena.max(live + bytes.next_multiple_of(16));
            // The arena starts where the small pieces end, which is known only at the end.
            self.w.offset(Val::arena(), Val::i32(live), 1)
        }
    }

    /// Memory of a ring that is in use up to instruction `last`; threads may write it at once.
    pub(super) fn ring_space(&mut self, bytes: u32, last: Inst) -> Val {
        // Before there are roles nothing has used any memory.
        let unused = self.threads.producers > 0 && !self.consumers;
        if !unused && (self.scratch.arena_used || self.scratch.loops > 0) {
            self.barrier();
        }
        self.scratch.arena_used = true;
        let live = self.scratch.in_rings();
        let align = self.scratch.align(u32::MAX);
        self.scratch.rings.push((last, bytes.next_multiple_of(align)));
        let live_now = self.scratch.in_rings();
        self.scratch.arena = self.scratch.arena.max(live_now);
        self.scratch.ring_bytes = self.scratch.ring_bytes.max(live_now);
        self.w.at_entry(|w| w.offset(Val::arena(), Val::i32(live), 1))
    }

    /// Gives the memory of rings back whose last use was `inst`, the youngest first.
    pub(super) fn end_rings(&mut self, inst: Inst) {
        for (last, _) in &mut self.scratch.rings {
            if *last == inst {
                *last = Inst::reserved_value();
            }
        }
        while self.scratch.rings.last().is_some_and(|(last, _)| *last == Inst::reserved_value()) {
            self.scratch.rings.pop();
        }
    }

    /// Memory of one exchange that nothing else uses, whatever its size; tiles that are read later keep it.
    pub(super) fn own_scratch(&mut self, bytes: u32) -> Val {
        let align = self.scratch.align(bytes);
        let at = self.scratch.small.next_multiple_of(align);
        self.scratch.small = at + bytes.next_multiple_of(16);
        if self.scratch.loops > 0 && !self.scratch.synced {
            self.barrier();
        }
        self.w.at_entry(|w| w.offset(Val::shared_base(), Val::int(Ty::I32, i64::from(at)), 1))
    }

    /// What this thread wrote to shared memory is there for warpgroups after the next barrier (PTX ISA, "Async proxy").
    pub(super) fn publish(&mut self) {
        if self.scratch.warpgroups {
            self.w.asm(&[], Asm::Memory, "fence.proxy.async.shared::cta;", "", &[]);
        }
    }

    /// Waits for every thread of the block; what they wrote is visible after it.
    pub(super) fn barrier(&mut self) {
        if self.consumers {
            let threads = Val::i32(32 * self.threads.warps);
            self.w.call_void("llvm.nvvm.barrier.cta.sync.aligned.count", &[Val::i32(1), threads]);
        } else if self.threads.block() == 32 {
            self.w.call_void("llvm.nvvm.bar.warp.sync", &[Val::int(Ty::I32, -1)]);
        } else {
            self.w.call_void("llvm.nvvm.barrier.cta.sync.aligned.all", &[Val::i32(0)]);
        }
        self.scratch.synced = true;
        self.order.clear();
    }
}
