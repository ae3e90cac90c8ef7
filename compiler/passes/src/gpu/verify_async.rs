//! `verify-async`: rings, barriers in memory and products under way, checked by playing them through.
//!
//! Each role is one thread of operations whose order depends on nothing but trip counts and conditions, and every operation either goes on or blocks:
//! if one order of execution ends, all do. So the roles' loops are unrolled for a few sizes (none, one, fewer trips than slots, more), and the
//! operations are played against each other. Reported are
//!
//! 1. roles that wait for each other for ever, or end with a slot announced and not filled;
//! 2. a slot that is filled before it is free, read before it is full, or freed while a product under way reads it;
//! 3. bytes that were announced and bytes that come, which differ;
//! 4. a copy of a group (`cp.async`) into a slot that was read since the last barrier, a read of a slot whose group was not waited for;
//! 5. a product's sum that is used, other than by the next product, before a wait has named it;
//! 6. copies out of shared memory that are under way when the program ends;
//! 7. a turn that is taken twice, or passed on by who does not have it (`ping_pong` within a program);
//! 8. what a loop hands on as operand A of its next product, made while the one before is under way: both have the same registers.

use std::collections::VecDeque;

use kiln_ir::ops::BinaryOp;
use kiln_ir::{Block, Const, Function, Inst, InstData, Value};
use rustc_hash::{FxHashMap, FxHashSet};

/// What sizes, program numbers and loaded numbers are taken to be, one run each.
const SIZES: [i64; 6] = [0, 1, 64, 130, 600, 2000];
/// Trips that are played of a loop with loops in it: more than any ring has slots.
const MOST_TRIPS: i64 = 20;
/// Trips that are played of other loops: all of a loop over tiles, since roles may do their first trip in front of the loop. Of roles whose loops are longer (steps
/// of 1 and the largest sizes) nothing is played: they would be cut off in different places.
const MOST_INNER_TRIPS: i64 = 130;

type Slot = (Value, i64);

/// One operation of a role, with numbers in place of values.
#[derive(Clone, Debug)]
enum Op {
    Wait {
        barrier: Value,
        slot: i64,
        parity: i64,
    },
    Expect {
        barrier: Value,
        slot: i64,
        bytes: u32,
    },
    Copy {
        to: Slot,
        barrier: Value,
        bytes: u32,
    },
    Arrive {
        barrier: Value,
        slot: i64,
    },
    Read {
        from: Slot,
    },
    Start {
        reads: Vec<Slot>,
    },
    Finish {
        pending: usize,
    },
    Fill {
        to: Slot,
    },
    Commit,
    WaitGroup {
        pending: usize,
    },
    Barrier,
    /// A ring begins, in a loop anew each trip.
    New {
        ring: Value,
    },
}

/// Plays the asynchronous operations of a kernel.
///
/// # Errors
/// What is wrong, as said above.
pub fn verify_async(func: &Function) -> Result<(), String> {
    let mut concerned = false;
    func.walk(|_, inst| concerned |= matches!(func.insts[inst], InstData::RingNew { .. } | InstData::DotStart { .. }));
    if !concerned {
        return Ok(());
    }
    let mut handed_on: FxHashMap<Value, Value> = FxHashMap::default();
    func.walk(|_, inst| {
        if let InstData::For { body, .. } = func.insts[inst] {
            let params = func.blocks[body].params[1..].iter();
            handed_on.extend(func.yielded(body).iter().copied().zip(params.copied()));
        }
    });
    // Blocks that share a program do different trips.
    let ranks = func.schedule.split().map_or(1, i64::from);
    for (size, rank) in SIZES.into_iter().flat_map(|size| (0..ranks).map(move |rank| (size, rank))) {
        let role = |producer: bool, group: i64| -> Result<Option<Vec<Op>>, String> {
            let mut trace = Trace {
                func,
                size,
                rank,
                group,
                producer,
                numbers: FxHashMap::default(),
                tiles: FxHashMap::default(),
                flying: VecDeque::new(),
                storing: false,
                in_turn: false,
                cut_off: false,
                handed_on: &handed_on,
                ops: vec![],
            };
            trace.block(func.body)?;
            if trace.storing {
                return Err(format!("copies out of shared memory are under way at the end (sizes of {size})"));
            }
            if trace.in_turn {
                return Err(format!("a turn is never passed on (sizes of {size})"));
            }
            Ok((!trace.cut_off).then_some(trace.ops))
        };
        let (mut split, mut groups) = (false, 1);
        func.walk(|_, inst| match func.insts[inst] {
            InstData::IsProducer => split = true,
            InstData::ConsumerGroup => groups = 2,
            _ => {}
        });
        let mut roles = vec![if split { role(true, 0)? } else { Some(vec![]) }];
        for group in 0..groups {
            roles.push(role(false, group)?);
        }
        let Some(roles) = roles.into_iter().collect::<Option<Vec<_>>>() else { continue };
        Game::new(&roles).play(&roles).map_err(|wrong| format!("{wrong} (sizes of {size})"))?;
    }
    Ok(())
}

/// What is known of a tile.
#[derive(Clone, Copy, Default, Debug)]
struct Tile {
    slot: Option<Slot>,
    /// The product that it is the sum of, while that is under way.
    product: Option<Inst>,
}

/// The operations of a role in their order.
struct Trace<'f> {
    func: &'f Function,
    size: i64,
    /// Rank of the thread block in its cluster.
    rank: i64,
    /// Number of the group of consumers.
    group: i64,
    producer: bool,
    numbers: FxHashMap<Value, i64>,
    tiles: FxHashMap<Value, Tile>,
    /// Products under way, oldest first, and the values that hold their sums.
    flying: VecDeque<Inst>,
    /// Copies out of shared memory are under way.
    storing: bool,
    /// The warpgroup has the turn.
    in_turn: bool,
    /// A loop had more trips than are played.
    cut_off: bool,
    /// What a loop's body yields, and the parameter that it is in the next trip.
    handed_on: &'f FxHashMap<Value, Value>,
    ops: Vec<Op>,
}

impl Trace<'_> {
    fn number(&self, value: Value) -> i64 {
        self.numbers.get(&value).copied().unwrap_or(self.size)
    }

    fn block(&mut self, block: Block) -> Result<(), String> {
        for &inst in &self.func.blocks[block].insts {
            self.inst(inst)?;
        }
        Ok(())
    }

    fn assign(&mut self, to: &[Value], from: &[Value]) {
        let all: Vec<(Option<i64>, Tile)> =
            from.iter().map(|v| (self.numbers.get(v).copied(), self.tiles.get(v).copied().unwrap_or_default())).collect();
        for (&value, (number, tile)) in to.iter().zip(all) {
            match number {
                Some(number) => _ = self.numbers.insert(value, number),
                None => _ = self.numbers.remove(&value),
            }
            self.tiles.insert(value, tile);
        }
    }

    fn inst(&mut self, inst: Inst) -> Result<(), String> {
        let func = self.func;
        let data = &func.insts[inst];
        if !matches!(data, InstData::DotWait { .. } | InstData::Yield { .. } | InstData::For { .. }) {
            self.untouched(data)?;
        }
        let results = func.results_of(inst);
        for made in results {
            let reads = |product: &Inst| match func.insts[*product] {
                InstData::DotStart { a, .. } => self.handed_on.get(made) == Some(&a),
                _ => false,
            };
            if self.flying.iter().any(reads) {
                return Err(format!("{made} is made while a product under way reads the registers that it takes"));
            }
        }
        match data {
            InstData::For { lo, hi, step, rev, init, body, .. } => {
                let (lo, hi, step) = (self.number(*lo), self.number(*hi), self.number(*step));
                let trips = if hi > lo && step > 0 { (hi - lo - 1) / step + 1 } else { 0 };
                let params = &func.blocks[*body].params;
                self.assign(&params[1..], init);
                // In branches too: roles have the same loops, but one may have a branch around its.
                let inner = !has_loop(func, *body);
                self.cut_off |= inner && trips > MOST_INNER_TRIPS;
                for trip in 0..trips.min(if inner { MOST_INNER_TRIPS } else { MOST_TRIPS }) {
                    self.numbers.insert(params[0], if *rev { lo + step * (trips - 1 - trip) } else { lo + step * trip });
                    self.block(*body)?;
                    self.assign(&params[1..], func.yielded(*body));
                }
                let carried: Vec<Value> = params[1..].to_vec();
                self.assign(results, &carried);
            }
            InstData::While { init, cond, body } => {
                self.assign(&func.blocks[*cond].params, init);
                for _ in 0..2 {
                    self.block(*cond)?;
                    self.assign(&func.blocks[*body].params, &func.yielded(*cond)[1..]);
                    self.block(*body)?;
                    self.assign(&func.blocks[*cond].params, func.yielded(*body));
                }
                self.block(*cond)?;
                self.assign(results, &func.yielded(*cond)[1..]);
            }
            InstData::If { cond, then, otherwise } => {
                let role = matches!(func.def_data(*cond), Some(InstData::IsProducer));
                let taken = if role { self.producer } else { self.number(*cond) != 0 };
                let side = if taken { *then } else { *otherwise };
                self.block(side)?;
                self.assign(results, func.yielded(side));
            }
            InstData::Permute { arg, .. } => self.assign(results, &[*arg]),
            InstData::RingRead { ring, slot } => {
                let from = (*ring, self.number(*slot));
                self.tiles.insert(results[0], Tile { slot: Some(from), product: None });
                self.ops.push(Op::Read { from });
            }
            InstData::RingFill { ring, slot, enable, .. } => {
                if enable.is_none_or(|v| self.number(v) != 0) {
                    self.ops.push(Op::Fill { to: (*ring, self.number(*slot)) });
                }
            }
            InstData::RingCommit => self.ops.push(Op::Commit),
            InstData::RingWait { pending } => self.ops.push(Op::WaitGroup { pending: *pending as usize }),
            InstData::RingAcquire { .. } => self.ops.push(Op::Barrier),
            InstData::RingNew { .. } => self.ops.push(Op::New { ring: results[0] }),
            InstData::BarrierWait { barrier, slot, phase } => {
                self.ops.push(Op::Wait { barrier: *barrier, slot: self.number(*slot), parity: self.number(*phase) });
            }
            InstData::BarrierExpect { barrier, slot, bytes } => {
                self.ops.push(Op::Expect { barrier: *barrier, slot: self.number(*slot), bytes: *bytes });
            }
            InstData::BarrierArrive { barrier, slot, enable, .. } => {
                if enable.is_none_or(|v| self.number(v) != 0) {
                    self.ops.push(Op::Arrive { barrier: *barrier, slot: self.number(*slot) });
                }
            }
            InstData::TmaFill { ring, slot, barrier, .. } => {
                let ty = func.ty(*ring);
                let bytes = ty.layout().map_or(0, |l| l.layout().offsets()) * ty.elem().bytes();
                self.ops.push(Op::Copy { to: (*ring, self.number(*slot)), barrier: *barrier, bytes });
            }
            InstData::DotStart { a, b, .. } => {
                let reads = [a, b].into_iter().filter_map(|v| self.tiles.get(v)?.slot).collect();
                self.ops.push(Op::Start { reads });
                self.flying.push_back(inst);
                self.tiles.insert(results[0], Tile { slot: None, product: Some(inst) });
            }
            InstData::DotWait { arg, pending } => {
                while self.flying.len() > *pending as usize {
                    self.flying.pop_front();
                }
                self.ops.push(Op::Finish { pending: *pending as usize });
                if let Some(arg) = arg {
                    let product = self.tiles.get(arg).and_then(|tile| tile.product);
                    if product.is_some_and(|p| self.flying.contains(&p)) {
                        return Err(format!("{arg} is taken for done while its product is under way"));
                    }
                    self.tiles.insert(results[0], Tile::default());
                }
            }
            InstData::TmaStore { .. } => self.storing = true,
            InstData::TmaStoreWait => self.storing = false,
            InstData::TakeTurn | InstData::PassTurn => {
                let takes = matches!(data, InstData::TakeTurn);
                if self.in_turn == takes {
                    let what = if takes { "taken before it was passed on" } else { "passed on before it was taken" };
                    return Err(format!("a turn is {what}"));
                }
                self.in_turn = takes;
            }
            _ => self.scalar(data, results),
        }
        Ok(())
    }

    /// Nothing but the next product takes the sum of one that nobody has waited for.
    fn untouched(&self, data: &InstData) -> Result<(), String> {
        let adds_to = match data {
            InstData::DotStart { acc, .. } => *acc,
            _ => None,
        };
        let mut wrong = None;
        data.visit_operands(|v| {
            if Some(v) != adds_to && self.tiles.get(&v).is_some_and(|tile| tile.product.is_some()) {
                wrong = Some(v);
            }
        });
        wrong.map_or(Ok(()), |v| Err(format!("{v} is used and no wait has named it")))
    }

    fn scalar(&mut self, data: &InstData, results: &[Value]) {
        let [result] = *results else { return };
        if !self.func.ty(result).is_scalar() {
            return;
        }
        let number = match *data {
            InstData::Const { value: Const::Int(value) } => value,
            InstData::Binary { op, a, b } => binary(op, self.number(a), self.number(b)).unwrap_or(self.size),
            InstData::Cmp { op, a, b } => i64::from(crate::fold::holds(op, self.number(a), self.number(b))),
            InstData::Select { cond, a, b } => self.number(if self.number(cond) != 0 { a } else { b }),
            InstData::Cast { arg } => self.number(arg),
            InstData::ClusterRank => self.rank,
            InstData::ConsumerGroup => self.group,
            InstData::ProgramId { .. } | InstData::BlockId => self.size % 3,
            InstData::NumPrograms { .. } | InstData::NumSms | InstData::NumBlocks => 3,
            _ => self.size,
        };
        self.numbers.insert(result, number);
    }
}

/// Whether there is a loop over tiles in a block, or in one inside it.
fn has_loop(func: &Function, block: Block) -> bool {
    func.blocks[block].insts.iter().any(|&inst| {
        let data = &func.insts[inst];
        matches!(data, InstData::For { .. }) || data.blocks().into_iter().any(|inner| has_loop(func, inner))
    })
}

fn binary(op: BinaryOp, a: i64, b: i64) -> Option<i64> {
    Some(match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div if b == 0 => 0,
        BinaryOp::Div => a.wrapping_div(b),
        BinaryOp::Rem if b == 0 => a,
        BinaryOp::Rem => a.wrapping_rem(b),
        BinaryOp::Min => a.min(b),
        BinaryOp::Max => a.max(b),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
        _ => return None,
    })
}

/// A barrier in memory.
#[derive(Clone, Copy, Default, Debug)]
struct Phase {
    complete: i64,
    arrived: bool,
    announced: u32,
    came: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Content {
    #[default]
    Free,
    /// A copy that was not waited for.
    Coming,
    Full,
}

/// The state that roles share.
struct Game {
    barriers: FxHashMap<Slot, Phase>,
    /// Rings whose slots an `empty` barrier frees, or copies into which complete a `full` one.
    rings_of: FxHashMap<Value, Vec<Value>>,
    contents: FxHashMap<Slot, Content>,
    players: Vec<Player>,
}

/// What a role has under way.
#[derive(Clone, Default)]
struct Player {
    /// Read since the last barrier of the role's warps.
    read: FxHashSet<Slot>,
    groups: VecDeque<Vec<Slot>>,
    open: Vec<Slot>,
    products: VecDeque<Vec<Slot>>,
}

impl Game {
    /// The producer comes first.
    fn new(roles: &[Vec<Op>]) -> Game {
        let mut rings_of: FxHashMap<Value, Vec<Value>> = FxHashMap::default();
        let mut last = None;
        for op in &roles[0] {
            match op {
                Op::Wait { barrier, .. } => last = Some(*barrier),
                Op::Copy { to: (ring, _), barrier, .. } => {
                    for of in last.into_iter().chain([*barrier]) {
                        let rings = rings_of.entry(of).or_default();
                        if !rings.contains(ring) {
                            rings.push(*ring);
                        }
                    }
                }
                _ => {}
            }
        }
        Game {
            barriers: FxHashMap::default(),
            rings_of,
            contents: FxHashMap::default(),
            players: vec![Player::default(); roles.len()],
        }
    }

    /// Plays all roles to their ends.
    fn play(&mut self, roles: &[Vec<Op>]) -> Result<(), String> {
        let mut at = vec![0; roles.len()];
        loop {
            let before = at.clone();
            for (role, ops) in roles.iter().enumerate() {
                while let Some(op) = ops.get(at[role]) {
                    if !self.step(role, op)? {
                        break;
                    }
                    at[role] += 1;
                }
            }
            let ended = |role: usize| at[role] == roles[role].len();
            if (0..roles.len()).all(ended) {
                break;
            }
            if at == before {
                let stuck = (0..roles.len()).filter(|&role| !ended(role)).map(|role| format!("{:?}", roles[role][at[role]]));
                return Err(format!("nothing goes on: {}", stuck.collect::<Vec<_>>().join(" and ")));
            }
        }
        match self.barriers.iter().find(|(_, phase)| phase.announced != phase.came) {
            Some((slot, _)) => Err(format!("slot {} is announced and never filled", slot.1)),
            None => Ok(()),
        }
    }

    /// One operation; false where it has to wait.
    fn step(&mut self, role: usize, op: &Op) -> Result<bool, String> {
        let player = &mut self.players[role];
        match op {
            Op::Wait { barrier, slot, parity } => {
                let phase = self.barriers.entry((*barrier, *slot)).or_default();
                let passes = phase.complete & 1 != *parity;
                for &ring in self.rings_of.get(barrier).into_iter().flatten().filter(|_| passes) {
                    let content = self.contents.entry((ring, *slot)).or_default();
                    if *content == Content::Coming {
                        *content = Content::Full;
                    }
                }
                return Ok(passes);
            }
            Op::Expect { barrier, slot, bytes } => {
                let phase = self.barriers.entry((*barrier, *slot)).or_default();
                if phase.arrived {
                    return Err(format!("slot {slot} is announced twice"));
                }
                (phase.arrived, phase.announced) = (true, *bytes);
            }
            Op::Copy { to, barrier, bytes } => {
                if *self.contents.entry(*to).or_default() != Content::Free {
                    return Err(format!("slot {} is filled before it is free", to.1));
                }
                self.contents.insert(*to, Content::Coming);
                let phase = self.barriers.entry((*barrier, to.1)).or_default();
                phase.came += bytes;
                if phase.came > phase.announced {
                    return Err(format!("slot {}: {} bytes are announced, {} come", to.1, phase.announced, phase.came));
                }
                if phase.arrived && phase.came == phase.announced {
                    *phase = Phase { complete: phase.complete + 1, ..Phase::default() };
                }
            }
            Op::Arrive { barrier, slot } => {
                for &ring in self.rings_of.get(barrier).into_iter().flatten() {
                    let own = (ring, *slot);
                    if player.products.iter().flatten().any(|read| *read == own) {
                        return Err(format!("slot {slot} is freed while a product reads it"));
                    }
                    if self.contents.insert(own, Content::Free) != Some(Content::Full) {
                        return Err(format!("slot {slot} is freed and was not full"));
                    }
                }
                // Every warp of the consumers arrives: together they complete the phase.
                self.barriers.entry((*barrier, *slot)).or_default().complete += 1;
            }
            Op::Read { from } => {
                if self.contents.get(from) != Some(&Content::Full) {
                    return Err(format!("slot {} is read before it is full", from.1));
                }
                player.read.insert(*from);
            }
            Op::Start { reads } => player.products.push_back(reads.clone()),
            Op::Finish { pending } => {
                while player.products.len() > *pending {
                    player.products.pop_front();
                }
            }
            Op::Fill { to } => {
                if player.read.contains(to) || player.products.iter().flatten().any(|read| read == to) {
                    return Err(format!("slot {} is filled and was read since the last barrier", to.1));
                }
                self.contents.insert(*to, Content::Coming);
                player.open.push(*to);
            }
            Op::Commit => player.groups.push_back(std::mem::take(&mut player.open)),
            Op::WaitGroup { pending } => {
                while player.groups.len() > *pending {
                    for slot in player.groups.pop_front().unwrap_or_default() {
                        self.contents.insert(slot, Content::Full);
                    }
                }
                player.read.clear();
            }
            Op::Barrier => player.read.clear(),
            // Before memory is used again code generation has every thread wait for its readers (`nvptx/scratch.rs`).
            Op::New { ring } => player.read.retain(|slot| slot.0 != *ring),
        }
        Ok(true)
    }
}
