//! A loop whose products take what others of the same trip give is rotated: those others run a trip ahead.
//!
//! A trip's *first* products follow from no product of the trip, its *second* ones take what came of those. The part *ahead* of a trip is the first products and all that
//! follows from them, the part *behind* is the second products with their slots, and what is *between* them is sums that are rescaled, operands that are packed. The loop
//! has a trip fewer; the first part ahead stands in front of it, the last one behind follows it. So a trip starts the next trip's first products, then its own second
//! ones, and whatever follows from the first ones runs beside the second ones.
//!
//! Registers of an operand are read while a product is under way, and what a loop carries has the same registers in every trip: what is between may be
//! computed only once the products of the trip before are done, so its inputs are held there (`hold`). Elsewise ptxas has every product wait for the one before.
//! And what runs beside the second products is to stay in front of the wait for them. ptxas sees no reason for that and moves the wait up, as far as the next
//! branch or fence: so a slot that is full is waited for once more (which code generation makes a fence of).
//!
//! A slot that products of both parts read (keys, for the gradient of queries) is freed by the part behind, a trip later than it was filled for: its ring needs a third slot,
//! or every trip would wait for its copy.
//!
//! ```text
//! before: for %n in lo..hi init [%o] {                after: ahead(lo)    between
//!             %t = dot_start %q, %k(n)                       for %n in lo + step..hi init [%p, %o] {
//!             %s = dot_wait 0 of %t                              %t = dot_start %q, %k(n)
//!             %x = exp2 %s ..                                    %u = dot_start %p, %v(n - step) acc %o
//!             %p = cast %x    %r = mul %o, ..                    %s = dot_wait 1 of %t
//!             %u = dot_start %p, %v(n) acc %r                    %x = exp2 %s ..
//!             yield dot_wait 0 of %u                             %e = hold %x    barrier_wait ..
//!                                                                %d = dot_wait 0 of %u    %h = hold %e
//!         }                                                      yield (cast %h), (mul %d, ..)
//!                                                            }
//!                                                            behind(last)
//! ```

use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::{Block, Function, Inst, InstData, SrcLoc, Type, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::super::stage::{binary, compare};
use super::{MOST_REGISTERS, count_products, hold, of_matrix, reads_any, reorder, slot_of, visit};
use crate::clone::Cloner;

/// Slots of a ring that both parts of a trip read: the trip's, the next one's, and one that is filled meanwhile.
pub(super) const SLOTS: u32 = 3;

/// The part of a trip that an instruction belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// A constant: wherever it is needed.
    Anywhere,
    /// A tile of a slot that both parts read: in both.
    InSlot,
    Ahead,
    Between,
    Behind,
}

/// A product that takes what others give.
struct Second {
    start: Inst,
    wait: Inst,
    /// Which of the carried values is its sum.
    sum: usize,
    /// What operand A is made of between the products.
    held: Value,
}

/// How a loop is rotated.
pub(super) struct Rotation {
    body: Block,
    parts: Vec<(Inst, Part)>,
    /// The instructions ahead up to the first wait, and the others.
    ahead: [Vec<Inst>; 2],
    /// The instructions behind up to the first wait, and the others.
    behind: [Vec<Inst>; 2],
    seconds: Vec<Second>,
    /// Slots that both parts read.
    shared: FxHashSet<Value>,
    /// Which carried values belong to the part behind.
    carried_behind: Vec<bool>,
    /// What the part behind takes from the same trip.
    crossing: Vec<Value>,
}

/// The first products of a trip and its second ones, each with its wait. None where a product is neither.
fn products(func: &Function, body: Block) -> Option<[Vec<(Inst, Inst)>; 2]> {
    let (_, here) = func.blocks[body].insts.split_last()?;
    let (mut count, mut follows) = (0, FxHashSet::default());
    let [mut firsts, mut seconds] = [vec![], vec![]];
    for &inst in here {
        count_products(func, inst, &mut count);
        let takes = reads_any(func, inst, &follows);
        if let InstData::DotStart { acc, .. } = func.insts[inst] {
            let sum = func.result(inst);
            let waits = |i: &&Inst| matches!(func.insts[**i], InstData::DotWait { arg: Some(arg), pending: 0 } if arg == sum);
            let wait = *here.iter().find(waits)?;
            // A first product adds to nothing: what it gives would be a sum of all trips.
            match (takes, acc) {
                (false, None) => firsts.push((inst, wait)),
                (true, Some(_)) => seconds.push((inst, wait)),
                _ => return None,
            }
            follows.insert(sum);
        } else if takes {
            follows.extend(func.results_of(inst));
        }
    }
    let waits = here.iter().filter(|&&inst| matches!(func.insts[inst], InstData::DotWait { .. })).count();
    let all = firsts.len() + seconds.len();
    (!firsts.is_empty() && !seconds.is_empty() && count as usize == all && waits == all).then_some([firsts, seconds])
}

/// The slots that both second products and others read. None where one of their rings is too short for that.
fn shared_slots(func: &Function, insts: &[Inst], seconds: &[(Inst, Inst)]) -> Option<FxHashSet<Value>> {
    let mut of_seconds: FxHashSet<Value> = FxHashSet::default();
    for &(start, _) in seconds {
        let InstData::DotStart { b, .. } = func.insts[start] else { return None };
        of_seconds.insert(slot_of(func, b)?);
    }
    let mut shared = FxHashSet::default();
    for &inst in insts {
        if seconds.iter().any(|&(start, _)| start == inst) || matches!(func.insts[inst], InstData::Permute { .. }) {
            continue;
        }
        visit(func, inst, &mut |v| shared.extend(slot_of(func, v).filter(|slot| of_seconds.contains(slot))));
    }
    let too_short = |inst: &Inst| match func.insts[*inst] {
        InstData::RingRead { ring, slot } if shared.contains(&slot) => {
            !matches!(func.def_data(ring), Some(&InstData::RingNew { slots }) if slots >= SLOTS)
        }
        _ => false,
    };
    (!insts.iter().any(too_short)).then_some(shared)
}

/// A tile that lies in one of these slots.
fn lies_in(func: &Function, inst: Inst, slots: &FxHashSet<Value>) -> bool {
    match func.insts[inst] {
        InstData::RingRead { .. } | InstData::Permute { .. } => {
            let tile = func.result(inst);
            func.ty(tile).rank() == 2 && slot_of(func, tile).is_some_and(|slot| slots.contains(&slot))
        }
        _ => false,
    }
}

impl Rotation {
    pub(super) fn of(func: &Function, inst: Inst) -> Option<Rotation> {
        let InstData::For { rev: false, body, .. } = func.insts[inst] else { return None };
        let params = &func.blocks[body].params;
        let yielded = func.yielded(body);
        let (_, insts) = func.blocks[body].insts.split_last()?;
        let [firsts, of_seconds] = products(func, body)?;
        if insts.iter().any(|&inst| func.effects(inst).writes) {
            return None;
        }
        let shared = shared_slots(func, insts, &of_seconds)?;
        // Behind: the products, their slots, and whatever follows from either.
        let mut behind_values: FxHashSet<Value> = FxHashSet::default();
        let mut of_behind: FxHashSet<Inst> = FxHashSet::default();
        for &(start, _) in &of_seconds {
            let InstData::DotStart { b, .. } = func.insts[start] else { return None };
            of_behind.insert(start);
            behind_values.extend(func.results_of(start));
            behind_values.extend(slot_of(func, b).filter(|slot| !shared.contains(slot)));
        }
        for &inst in insts {
            let frees = matches!(func.insts[inst], InstData::BarrierArrive { slot, .. } if shared.contains(&slot));
            if frees || of_behind.contains(&inst) || reads_any(func, inst, &behind_values) {
                of_behind.insert(inst);
                behind_values.extend(func.results_of(inst));
            }
        }
        let mut sums: FxHashSet<Value> = FxHashSet::default();
        let mut seconds = vec![];
        let mut packs = vec![];
        for &(start, wait) in &of_seconds {
            let InstData::DotStart { a, .. } = func.insts[start] else { return None };
            let done = func.result(wait);
            let sum = yielded.iter().position(|&v| v == done)?;
            sums.insert(params[sum + 1]);
            let pack = func.def_inst(a).filter(|inst| insts.contains(inst) && !of_behind.contains(inst))?;
            // Registers that something else has a part in stay as they are.
            let InstData::Cast { arg: held } = func.insts[pack] else { return None };
            packs.push(pack);
            seconds.push(Second { start, wait, sum, held });
        }
        let carried_behind: Vec<bool> = (yielded.iter().enumerate())
            .map(|(n, v)| seconds.iter().any(|second| second.sum == n) || behind_values.contains(v))
            .collect();
        // Between: what follows from the sums so far, and the last step to an operand A.
        let mut parts = Vec::with_capacity(insts.len());
        for &inst in insts {
            let part = if matches!(func.insts[inst], InstData::Const { .. }) {
                Part::Anywhere
            } else if lies_in(func, inst, &shared) {
                Part::InSlot
            } else if of_behind.contains(&inst) {
                Part::Behind
            } else if packs.contains(&inst) {
                Part::Between
            } else if reads_any(func, inst, &sums) {
                sums.extend(func.results_of(inst));
                Part::Between
            } else {
                Part::Ahead
            };
            parts.push((inst, part));
        }
        let several = firsts.len() + seconds.len() > 2;
        if several && registers(func, body, &firsts, &seconds) > MOST_REGISTERS {
            return None;
        }
        let [ahead, behind] = [[vec![], vec![]], [vec![], vec![]]];
        let rotation = Rotation { body, parts, ahead, behind, seconds, shared, carried_behind, crossing: vec![] };
        rotation.checked(func)?.ordered(func, &firsts)
    }

    /// The instructions of some parts, in order.
    fn of_parts(&self, parts: &[Part]) -> Vec<Inst> {
        self.parts.iter().filter(|(_, part)| parts.contains(part)).map(|&(inst, _)| inst).collect()
    }

    /// The instructions of a part with the constants and tiles of slots that it needs, in order.
    fn needed(&self, func: &Function, part: Part) -> Vec<Inst> {
        let mut used: FxHashSet<Value> = func.yielded(self.body).iter().copied().collect();
        let mut needed = vec![];
        for &(inst, own) in self.parts.iter().rev() {
            let anywhere = matches!(own, Part::Anywhere | Part::InSlot) && func.results_of(inst).iter().any(|v| used.contains(v));
            if own == part || anywhere {
                visit(func, inst, &mut |v| _ = used.insert(v));
                needed.push(inst);
            }
        }
        needed.reverse();
        needed
    }

    /// With what crosses from one part to the other; None where parts need each other in another way.
    fn checked(mut self, func: &Function) -> Option<Rotation> {
        let params = &func.blocks[self.body].params;
        let of = |part: Part| -> FxHashSet<Value> {
            self.of_parts(&[part]).into_iter().flat_map(|inst| func.results_of(inst).iter().copied()).collect()
        };
        let (ahead, between, behind) = (of(Part::Ahead), of(Part::Between), of(Part::Behind));
        let carried_behind: FxHashSet<Value> =
            params[1..].iter().zip(&self.carried_behind).filter(|(_, of_behind)| **of_behind).map(|(&v, _)| v).collect();
        let sums: Vec<Value> = self.seconds.iter().map(|second| params[second.sum + 1]).collect();
        let mut crossing = vec![];
        for second in &self.seconds {
            if let InstData::DotStart { a, acc: Some(acc), .. } = func.insts[second.start] {
                crossing.extend([a, acc].into_iter().filter(|v| !crossing.contains(v)).collect::<Vec<_>>());
            }
        }
        for &(inst, part) in &self.parts {
            let mut fine = true;
            let from_trip =
                |v: Value| ahead.contains(&v) || between.contains(&v) || params.contains(&v) && !carried_behind.contains(&v);
            visit(func, inst, &mut |v| match part {
                Part::Ahead => fine &= !between.contains(&v) && !behind.contains(&v) && !carried_behind.contains(&v),
                Part::Between => fine &= !behind.contains(&v) && (sums.contains(&v) || !carried_behind.contains(&v)),
                Part::Anywhere | Part::InSlot | Part::Behind => {
                    if (from_trip(v) || sums.contains(&v)) && !crossing.contains(&v) {
                        crossing.push(v);
                    }
                }
            });
            // What is between the parts serves the second products alone.
            let pure = part != Part::Between || func.effects(inst).is_pure();
            if !fine || !pure {
                return None;
            }
        }
        let yielded = func.yielded(self.body);
        let leaves = (yielded.iter().enumerate())
            .any(|(n, v)| between.contains(v) || !self.carried_behind[n] && carried_behind.contains(v));
        let in_slots = crossing.iter().any(|&v| func.ty(v).rank() == 2 && slot_of(func, v).is_some());
        if leaves || in_slots {
            return None;
        }
        self.crossing = crossing;
        Some(self)
    }

    /// With the order of each part. None where a first product cannot start in front of the first wait.
    fn ordered(mut self, func: &Function, firsts: &[(Inst, Inst)]) -> Option<Rotation> {
        let ahead = self.needed(func, Part::Ahead);
        let behind = self.needed(func, Part::Behind);
        self.ahead = match firsts {
            [(_, wait)] => {
                let waits = ahead.iter().position(|inst| inst == wait)?;
                [ahead[..waits].to_vec(), ahead[waits..].to_vec()]
            }
            _ => {
                let last = *func.blocks[self.body].insts.last()?;
                reorder::ordered(func, &ahead, last, false)?
            }
        };
        self.behind = match &*self.seconds {
            [only] => {
                let starts = behind.iter().position(|&inst| inst == only.start)? + 1;
                [behind[..starts].to_vec(), behind[starts..].to_vec()]
            }
            seconds => {
                let mut done: FxHashSet<Value> = seconds.iter().map(|second| func.result(second.start)).collect();
                let follows = |&inst: &Inst| {
                    let follows = reads_any(func, inst, &done) || matches!(func.insts[inst], InstData::BarrierArrive { .. });
                    if follows {
                        done.extend(func.results_of(inst));
                    }
                    follows
                };
                let (rest, starts) = behind.iter().copied().partition(follows);
                [starts, rest]
            }
        };
        let started = firsts.iter().all(|(start, _)| self.ahead[0].contains(start));
        let second = self.seconds.iter().all(|second| self.behind[0].contains(&second.start));
        (started && second).then_some(self)
    }

    /// Puts what the loop becomes to `out`.
    pub(super) fn rewrite(&self, func: &mut Function, inst: Inst, out: &mut Vec<Inst>) {
        let InstData::For { lo, hi, step, rev, ref init, attrs, .. } = func.insts[inst] else { return };
        let init: Vec<Value> = init.to_vec();
        let loc = func.locs[inst];
        let params: Vec<Value> = func.blocks[self.body].params.to_vec();
        let yielded: Vec<Value> = func.yielded(self.body).to_vec();
        let types: Vec<Type> = func.results_of(inst).iter().map(|&v| func.ty(v)).collect();
        let runs = compare(func, CmpOp::Lt, lo, hi, out, loc);
        let between_parts = self.needed(func, Part::Between);
        let is_sum = |n: usize| self.seconds.iter().any(|second| second.sum == n);

        // In front of the loop: the first trip up to its second products.
        let mut front = Vec::new();
        let mut map: FxHashMap<Value, Value> = params[1..].iter().copied().zip(init.iter().copied()).collect();
        map.insert(params[0], lo);
        for part in [&self.ahead[0], &self.ahead[1], &between_parts] {
            copy(func, &mut map, part, &mut front);
        }
        reorder::count_pending(func, &front);
        let value = |map: &FxHashMap<Value, Value>, v: Value| map.get(&v).copied().unwrap_or(v);
        let second_trip = binary(func, BinaryOp::Add, lo, step, &mut front, loc);
        let kept: Vec<usize> = (0..yielded.len()).filter(|&n| !is_sum(n)).collect();
        let mut carried: SmallVec<[Value; 4]> =
            kept.iter().map(|&n| if self.carried_behind[n] { init[n] } else { value(&map, yielded[n]) }).collect();
        carried.extend(self.crossing.iter().map(|&v| value(&map, v)));

        // The loop.
        let body = func.add_block();
        let counter = func.add_block_param(body, func.ty(params[0]), func.values[params[0]].name.clone());
        let mut ahead: FxHashMap<Value, Value> = [(params[0], counter)].into_iter().collect();
        let mut behind: FxHashMap<Value, Value> = FxHashMap::default();
        for &n in &kept {
            let own = func.add_block_param(body, func.ty(params[n + 1]), func.values[params[n + 1]].name.clone());
            if self.carried_behind[n] { &mut behind } else { &mut ahead }.insert(params[n + 1], own);
        }
        for &v in &self.crossing {
            let own = func.add_block_param(body, func.ty(v), None);
            behind.insert(v, own);
        }
        let mut insts = Vec::new();
        copy(func, &mut ahead, &self.ahead[0], &mut insts);
        copy(func, &mut behind, &self.behind[0], &mut insts);
        self.take_turns(func, &mut insts, loc);
        // The second products stay under way.
        copy(func, &mut ahead, &self.ahead[1], &mut insts);
        let made: Vec<Value> =
            self.seconds.iter().map(|second| hold(func, value(&ahead, second.held), &mut insts, loc)).collect();
        let (waits, of_ahead) = self.waits_for_slots(func);
        copy(func, &mut if of_ahead { ahead.clone() } else { behind.clone() }, &waits, &mut insts);
        copy(func, &mut behind, &self.behind[1], &mut insts);
        let mut between = ahead.clone();
        let mut unpacked = vec![];
        for (second, made) in self.seconds.iter().zip(made) {
            between.insert(params[second.sum + 1], value(&behind, func.result(second.wait)));
            let pack = hold(func, made, &mut insts, loc);
            unpacked.push((second.held, between.insert(second.held, pack)));
        }
        copy(func, &mut between, &between_parts, &mut insts);
        for (held, before) in unpacked {
            between.extend(before.map(|before| (held, before)));
        }
        let mut next: SmallVec<[Value; 4]> =
            kept.iter().map(|&n| value(if self.carried_behind[n] { &behind } else { &ahead }, yielded[n])).collect();
        next.extend(self.crossing.iter().map(|&v| value(&between, v)));
        let last = func.make_inst(InstData::Yield { args: next }, &[], loc);
        reorder::count_pending(func, &insts);
        if self.ahead[1].iter().filter(|&&inst| matches!(func.insts[inst], InstData::DotWait { .. })).count() > 1 {
            reorder::hold_beside(func, &mut insts, last);
        }
        insts.push(last);
        func.blocks[body].insts = insts;
        let carried_types: Vec<Type> = carried.iter().map(|&v| func.ty(v)).collect();
        let data = InstData::For { lo: second_trip, hi, step, rev, init: carried, body, attrs };
        let rotated = func.make_inst(data, &carried_types, loc);
        let results: Vec<Value> = func.results_of(rotated).to_vec();
        front.push(rotated);

        // Behind the loop: the last trip's second products.
        let mut map: FxHashMap<Value, Value> = FxHashMap::default();
        for (&n, &result) in kept.iter().zip(&results) {
            if self.carried_behind[n] {
                map.insert(params[n + 1], result);
            }
        }
        map.extend(self.crossing.iter().copied().zip(results[kept.len()..].iter().copied()));
        let mut tail = Vec::new();
        for part in &self.behind {
            copy(func, &mut map, part, &mut tail);
        }
        reorder::count_pending(func, &tail);
        front.extend(tail);
        let mut args: SmallVec<[Value; 4]> = yielded.iter().map(|&v| value(&map, v)).collect();
        for (&n, &result) in kept.iter().zip(&results) {
            if !self.carried_behind[n] {
                args[n] = result;
            }
        }
        front.push(func.make_inst(InstData::Yield { args }, &[], loc));
        let (then, otherwise) = (func.add_block(), func.add_block());
        func.blocks[then].insts = front;
        let nothing = func.make_inst(InstData::Yield { args: init.into_iter().collect() }, &[], loc);
        func.blocks[otherwise].insts = vec![nothing];
        let made = func.make_inst(InstData::If { cond: runs, then, otherwise }, &types, loc);
        let renamed = func.results_of(inst).iter().copied().zip(func.results_of(made).iter().copied()).collect();
        func.replace_all(&renamed);
        out.push(made);
    }

    /// With `ping_pong` one warpgroup computes its weights while another one starts its products: those of a trip, which end `insts`, are a turn.
    fn take_turns(&self, func: &mut Function, insts: &mut Vec<Inst>, loc: SrcLoc) {
        if !func.schedule.ping_pong || func.schedule.persistent {
            return;
        }
        let take = func.make_inst(InstData::TakeTurn, &[], loc);
        let pass = func.make_inst(InstData::PassTurn, &[], loc);
        let first = insts.iter().position(|&inst| matches!(func.insts[inst], InstData::DotStart { .. }));
        let first = first.expect("the first product starts in front of the second one");
        insts.insert(first, take);
        insts.push(pass);
    }

    /// Waits for slots that are full while second products run: for those that they alone read, or where they share all of them with first products, one that
    /// the part ahead has waited for; and whether it is of that.
    fn waits_for_slots(&self, func: &Function) -> (Vec<Inst>, bool) {
        let is_wait = |inst: &&Inst| matches!(func.insts[**inst], InstData::BarrierWait { .. });
        let own: Vec<Inst> = self.behind[0].iter().filter(is_wait).copied().collect();
        if !own.is_empty() {
            return (own, false);
        }
        let kept = |inst: &&Inst| matches!(func.insts[**inst], InstData::BarrierWait { slot, .. } if self.shared.contains(&slot));
        (self.ahead[0].iter().rfind(kept).copied().into_iter().collect(), true)
    }
}

/// Registers of a thread for the sums and operands that are under way together.
fn registers(func: &Function, body: Block, firsts: &[(Inst, Inst)], seconds: &[Second]) -> u32 {
    let carried = func.blocks[body].params.iter().map(|&v| of_matrix(func, v));
    let first = firsts.iter().map(|&(start, _)| of_matrix(func, func.result(start)));
    let packed = seconds.iter().map(|second| match func.insts[second.start] {
        InstData::DotStart { a, .. } => of_matrix(func, a),
        _ => 0,
    });
    carried.chain(first).chain(packed).sum()
}

/// Copies instructions, whose operands `map` renames.
pub(super) fn copy(func: &mut Function, map: &mut FxHashMap<Value, Value>, insts: &[Inst], out: &mut Vec<Inst>) {
    let mut cloner = Cloner { src: None, dst: func, map: std::mem::take(map) };
    out.extend(insts.iter().map(|&inst| cloner.inst(inst)));
    *map = cloner.map;
}
