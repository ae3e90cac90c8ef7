//! `overlap`: in a loop with two products of which the second takes what the first gives, the first one runs a trip ahead.
//!
//! In attention the tensor cores have nothing to do while a trip computes its softmax: that waits for `q k` and `p v` waits for it. A trip
//! therefore starts the next trip's first product, then its own second one, and computes the next softmax while the second one runs (Shah, Bikshandi,
//! Zhang, Thakkar, Ramani, Dao, "FlashAttention-3", 2024). It is a rotation of the loop of consumers (`roles`): a part *ahead*, which is the
//! first product and all that follows from it, a part *behind*, which is the second product with its slot, and what is *between* them: the sum that is rescaled,
//! the operand that is packed. The loop has a trip fewer; the first part ahead stands in front of it, the last one behind follows it.
//!
//! Registers of an operand are read while a product is under way, and what a loop carries has the same registers in every trip: what is between may be
//! computed only once the product of the trip before is done, so its inputs are held there (`hold`). Elsewise ptxas has every product wait for the one before.
//! And what runs beside the second product is to stay in front of the wait for it. ptxas sees no reason for that and moves the wait up, as far as the next
//! branch or fence: so the slot of the second product, which is full, is waited for once more (which code generation makes a fence of).
//!
//! With `ping_pong` the warpgroups of a program take turns: one starts both products of a trip, then another one does, while the first one computes its weights. Left to themselves they may all
//! compute at the same time, and all multiply at the same time.
//!
//! In other loops with several products the order within a trip changes ([`reorder`]).
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

mod reorder;

use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::{Block, Function, Inst, InstData, SrcLoc, Type, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::stage::{binary, compare};
use crate::clone::Cloner;
use crate::manager::{PassContext, PassFailure, PassResult};

/// A schedule that the target cannot follow.
const SCHEDULE: &str = "K0905";

/// Runs the pass.
pub(crate) fn run(func: &mut Function, _: &PassContext) -> PassResult {
    let mut in_roles = false;
    func.walk(|_, inst| in_roles |= matches!(func.insts[inst], InstData::IsProducer));
    if in_roles {
        let rotated = block(func, func.body);
        if func.schedule.ping_pong && !func.schedule.persistent && !rotated {
            let message = "`ping_pong`: warpgroups of a program take turns in a loop whose second product takes what its first one gives; programs take turns with `persistent`";
            return Err(PassFailure { code: SCHEDULE, message: message.to_owned(), loc: func.loc });
        }
    }
    Ok(())
}

/// Rewrites the loops of a block, and of those in it; whether one of them is rotated.
fn block(func: &mut Function, at: Block) -> bool {
    let insts = std::mem::take(&mut func.blocks[at].insts);
    let mut out = Vec::with_capacity(insts.len());
    let mut rotated = false;
    for inst in insts {
        for inner in func.insts[inst].blocks() {
            rotated |= block(func, inner);
        }
        match Rotation::of(func, inst) {
            Some(rotation) => {
                rotated = true;
                rotation.rewrite(func, inst, &mut out);
            }
            None => {
                if let InstData::For { body, .. } = func.insts[inst] {
                    reorder::run(func, body);
                }
                out.push(inst);
            }
        }
    }
    func.blocks[at].insts = out;
    rotated
}

/// The part of a trip that an instruction belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// A constant: wherever it is needed.
    Anywhere,
    Ahead,
    Between,
    Behind,
}

/// How a loop is rotated.
struct Rotation {
    body: Block,
    parts: Vec<(Inst, Part)>,
    /// The wait for the first product.
    first_wait: Inst,
    /// The second product and its wait.
    second: Inst,
    second_wait: Inst,
    /// Which of the carried values is its sum.
    sum: usize,
    /// Which carried values belong to the part behind.
    behind: Vec<bool>,
    /// What the part behind takes from the same trip.
    crossing: Vec<Value>,
    /// What operand A is made of between the products.
    held: Value,
}

impl Rotation {
    fn of(func: &Function, inst: Inst) -> Option<Rotation> {
        let InstData::For { rev: false, body, .. } = func.insts[inst] else { return None };
        let params = &func.blocks[body].params;
        let yielded = func.yielded(body);
        let (_, insts) = func.blocks[body].insts.split_last()?;
        let (first_wait, second, second_wait) = two_products(func, body)?;
        if insts.iter().any(|&inst| func.effects(inst).writes) {
            return None;
        }
        let InstData::DotStart { a, b, acc: Some(acc), .. } = func.insts[second] else { return None };
        let done = func.result(second_wait);
        let sum = yielded.iter().position(|&v| v == done)?;
        let carried_sum = params[sum + 1];
        let slot = slot_of(func, b)?;
        // Behind: the product, its slot, and whatever follows from either.
        let mut behind_values: FxHashSet<Value> = func.results_of(second).iter().copied().collect();
        behind_values.insert(slot);
        let mut of_behind: FxHashSet<Inst> = [second].into_iter().collect();
        for &inst in insts {
            if of_behind.contains(&inst) || reads_any(func, inst, &behind_values) {
                of_behind.insert(inst);
                behind_values.extend(func.results_of(inst));
            }
        }
        let behind: Vec<bool> = yielded.iter().enumerate().map(|(n, v)| n == sum || behind_values.contains(v)).collect();
        // Between: what follows from the sum so far, and the last step to operand A.
        let mut sums: FxHashSet<Value> = [carried_sum].into_iter().collect();
        let packed = func.def_inst(a).filter(|inst| insts.contains(inst) && !of_behind.contains(inst));
        let mut parts = Vec::with_capacity(insts.len());
        for &inst in insts {
            let part = if matches!(func.insts[inst], InstData::Const { .. }) {
                Part::Anywhere
            } else if of_behind.contains(&inst) {
                Part::Behind
            } else if reads_any(func, inst, &sums) || Some(inst) == packed {
                Part::Between
            } else {
                Part::Ahead
            };
            if part == Part::Between && Some(inst) != packed {
                sums.extend(func.results_of(inst));
            }
            parts.push((inst, part));
        }
        let held = match packed.map(|inst| &func.insts[inst]) {
            Some(InstData::Cast { arg }) => *arg,
            // Registers that something else has a part in stay as they are.
            _ => return None,
        };
        let rotation = Rotation { body, parts, first_wait, second, second_wait, sum, behind, crossing: vec![], held };
        rotation.checked(func, a, acc)
    }

    /// With what crosses from one part to the other; None where parts need each other in another way.
    fn checked(mut self, func: &Function, a: Value, acc: Value) -> Option<Rotation> {
        let params = &func.blocks[self.body].params;
        let of = |part: Part| -> FxHashSet<Value> {
            let insts = self.parts.iter().filter(|&&(_, p)| p == part);
            insts.flat_map(|&(inst, _)| func.results_of(inst).iter().copied()).collect()
        };
        let (ahead, between, behind) = (of(Part::Ahead), of(Part::Between), of(Part::Behind));
        let carried_behind: FxHashSet<Value> =
            params[1..].iter().zip(&self.behind).filter(|(_, of_behind)| **of_behind).map(|(&v, _)| v).collect();
        let sum = params[self.sum + 1];
        let mut crossing = vec![a, acc];
        for &(inst, part) in &self.parts {
            let mut fine = true;
            visit(func, inst, &mut |v| match part {
                Part::Anywhere => {}
                Part::Ahead => fine &= !between.contains(&v) && !behind.contains(&v) && !carried_behind.contains(&v),
                Part::Between => fine &= !behind.contains(&v) && (v == sum || !carried_behind.contains(&v)),
                Part::Behind => {
                    let from_trip =
                        ahead.contains(&v) || between.contains(&v) || params.contains(&v) && !carried_behind.contains(&v);
                    if (from_trip || v == sum) && !crossing.contains(&v) {
                        crossing.push(v);
                    }
                }
            });
            // What is between the parts serves the second product alone.
            let pure = part != Part::Between || func.effects(inst).is_pure();
            if !fine || !pure {
                return None;
            }
        }
        let yielded = func.yielded(self.body);
        let leaves =
            yielded.iter().enumerate().any(|(n, v)| between.contains(v) || !self.behind[n] && carried_behind.contains(v));
        let in_slots = crossing.iter().any(|&v| slot_of(func, v).is_some());
        let waits = self.parts.iter().filter(|(inst, _)| matches!(func.insts[*inst], InstData::DotWait { .. })).count();
        if leaves || in_slots || waits != 2 || !ahead.contains(&func.result(self.first_wait)) {
            return None;
        }
        self.crossing = crossing;
        Some(self)
    }

    /// Puts what the loop becomes to `out`.
    fn rewrite(&self, func: &mut Function, inst: Inst, out: &mut Vec<Inst>) {
        let InstData::For { lo, hi, step, rev, ref init, attrs, .. } = func.insts[inst] else { return };
        let init: Vec<Value> = init.to_vec();
        let loc = func.locs[inst];
        let params: Vec<Value> = func.blocks[self.body].params.to_vec();
        let yielded: Vec<Value> = func.yielded(self.body).to_vec();
        let types: Vec<Type> = func.results_of(inst).iter().map(|&v| func.ty(v)).collect();
        let runs = compare(func, CmpOp::Lt, lo, hi, out, loc);

        // In front of the loop: the first trip up to its second product.
        let mut front = Vec::new();
        let mut map: FxHashMap<Value, Value> = params[1..].iter().copied().zip(init.iter().copied()).collect();
        map.insert(params[0], lo);
        self.emit(func, &mut map, &mut front, |inst, part| (part != Part::Behind).then_some(inst));
        let value = |map: &FxHashMap<Value, Value>, v: Value| map.get(&v).copied().unwrap_or(v);
        let second_trip = binary(func, BinaryOp::Add, lo, step, &mut front, loc);
        let kept: Vec<usize> = (0..yielded.len()).filter(|&n| n != self.sum).collect();
        let mut carried: SmallVec<[Value; 4]> =
            kept.iter().map(|&n| if self.behind[n] { init[n] } else { value(&map, yielded[n]) }).collect();
        carried.extend(self.crossing.iter().map(|&v| value(&map, v)));

        // The loop.
        let body = func.add_block();
        let counter = func.add_block_param(body, func.ty(params[0]), func.values[params[0]].name.clone());
        let mut ahead: FxHashMap<Value, Value> = [(params[0], counter)].into_iter().collect();
        let mut behind: FxHashMap<Value, Value> = FxHashMap::default();
        for &n in &kept {
            let own = func.add_block_param(body, func.ty(params[n + 1]), func.values[params[n + 1]].name.clone());
            if self.behind[n] { &mut behind } else { &mut ahead }.insert(params[n + 1], own);
        }
        for &v in &self.crossing {
            let own = func.add_block_param(body, func.ty(v), None);
            behind.insert(v, own);
        }
        let mut insts = Vec::new();
        let mut reached = false;
        self.emit(func, &mut ahead, &mut insts, |inst, part| {
            reached |= inst == self.first_wait;
            (!reached && matches!(part, Part::Ahead | Part::Anywhere)).then_some(inst)
        });
        let (mut reached, second) = (false, self.second);
        self.emit(func, &mut behind, &mut insts, |inst, part| {
            let before = !reached;
            reached |= inst == second;
            (before && matches!(part, Part::Behind | Part::Anywhere)).then_some(inst)
        });
        self.take_turns(func, &mut insts, loc);
        // The newer product stays under way.
        let mut reached = false;
        let start = insts.len();
        self.emit(func, &mut ahead, &mut insts, |inst, part| {
            reached |= inst == self.first_wait;
            (reached && matches!(part, Part::Ahead | Part::Anywhere)).then_some(inst)
        });
        if let Some(InstData::DotWait { pending, .. }) = insts.get(start).map(|&inst| &mut func.insts[inst]) {
            *pending = 1;
        }
        let made = hold(func, value(&ahead, self.held), &mut insts, loc);
        let mut full: FxHashMap<Value, Value> = behind.clone();
        let waits = self.waits_for_slot(func);
        self.emit(func, &mut full, &mut insts, |inst, _| waits.contains(&inst).then_some(inst));
        let mut reached = false;
        self.emit(func, &mut behind, &mut insts, |inst, part| {
            let after = reached;
            reached |= inst == second;
            (after && matches!(part, Part::Behind | Part::Anywhere)).then_some(inst)
        });
        let mut between = ahead.clone();
        between.insert(params[self.sum + 1], value(&behind, func.result(self.second_wait)));
        let pack = hold(func, made, &mut insts, loc);
        let unpacked = between.insert(self.held, pack);
        self.emit(func, &mut between, &mut insts, |inst, part| matches!(part, Part::Between | Part::Anywhere).then_some(inst));
        if let Some(unpacked) = unpacked {
            between.insert(self.held, unpacked);
        }
        let mut next: SmallVec<[Value; 4]> =
            kept.iter().map(|&n| if self.behind[n] { value(&behind, yielded[n]) } else { value(&ahead, yielded[n]) }).collect();
        next.extend(self.crossing.iter().map(|&v| value(&between, v)));
        insts.push(func.make_inst(InstData::Yield { args: next }, &[], loc));
        func.blocks[body].insts = insts;
        let carried_types: Vec<Type> = carried.iter().map(|&v| func.ty(v)).collect();
        let data = InstData::For { lo: second_trip, hi, step, rev, init: carried, body, attrs };
        let rotated = func.make_inst(data, &carried_types, loc);
        let results: Vec<Value> = func.results_of(rotated).to_vec();
        front.push(rotated);

        // Behind the loop: the last trip's second product.
        let mut last: FxHashMap<Value, Value> = FxHashMap::default();
        for (&n, &result) in kept.iter().zip(&results) {
            if self.behind[n] {
                last.insert(params[n + 1], result);
            }
        }
        last.extend(self.crossing.iter().copied().zip(results[kept.len()..].iter().copied()));
        self.emit(func, &mut last, &mut front, |inst, part| matches!(part, Part::Behind | Part::Anywhere).then_some(inst));
        let mut args: SmallVec<[Value; 4]> = yielded.iter().map(|&v| value(&last, v)).collect();
        for (&n, &result) in kept.iter().zip(&results) {
            if !self.behind[n] {
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

    /// Copies instructions of a trip that `choose` takes, in order.
    fn emit(
        &self,
        func: &mut Function,
        map: &mut FxHashMap<Value, Value>,
        out: &mut Vec<Inst>,
        mut choose: impl FnMut(Inst, Part) -> Option<Inst>,
    ) {
        let mut cloner = Cloner { src: None, dst: func, map: std::mem::take(map) };
        for &(inst, part) in &self.parts {
            if let Some(inst) = choose(inst, part) {
                out.push(cloner.inst(inst));
            }
        }
        *map = cloner.map;
    }

    /// The waits for the slot that the second product reads.
    fn waits_for_slot(&self, func: &Function) -> Vec<Inst> {
        let before = self.parts.iter().take_while(|&&(inst, _)| inst != self.second);
        let waits =
            before.filter(|&&(inst, part)| part == Part::Behind && matches!(func.insts[inst], InstData::BarrierWait { .. }));
        waits.map(|&(inst, _)| inst).collect()
    }
}

/// A tile as it is here.
fn hold(func: &mut Function, arg: Value, out: &mut Vec<Inst>, loc: SrcLoc) -> Value {
    let ty = func.ty(arg);
    let made = func.make_inst(InstData::Hold { arg }, &[ty], loc);
    out.push(made);
    func.result(made)
}

/// The wait for the first of a body's two products, the second product and its wait. None where there are other products.
fn two_products(func: &Function, body: Block) -> Option<(Inst, Inst, Inst)> {
    let here = &func.blocks[body].insts;
    let mut products = 0;
    for &inst in here {
        count_products(func, inst, &mut products);
    }
    let starts: Vec<Inst> = here.iter().copied().filter(|&inst| matches!(func.insts[inst], InstData::DotStart { .. })).collect();
    let &[first, second] = starts.as_slice() else { return None };
    let wait = |start: Inst| {
        let sum = func.result(start);
        here.iter().copied().find(|&i| matches!(func.insts[i], InstData::DotWait { arg: Some(arg), pending: 0 } if arg == sum))
    };
    (products == 2).then_some((wait(first)?, second, wait(second)?))
}

fn count_products(func: &Function, inst: Inst, count: &mut u32) {
    *count += u32::from(matches!(func.insts[inst], InstData::DotStart { .. }));
    for block in func.insts[inst].blocks() {
        for &inner in &func.blocks[block].insts {
            count_products(func, inner, count);
        }
    }
}

/// The number of the slot that a tile lies in.
fn slot_of(func: &Function, mut tile: Value) -> Option<Value> {
    loop {
        match func.def_data(tile)? {
            InstData::Permute { arg, .. } => tile = *arg,
            InstData::RingRead { slot, .. } => return Some(*slot),
            _ => return None,
        }
    }
}

/// Calls `f` on what an instruction, and those in its blocks, use.
fn visit(func: &Function, inst: Inst, f: &mut impl FnMut(Value)) {
    func.insts[inst].visit_operands(&mut *f);
    for block in func.insts[inst].blocks() {
        for &inner in &func.blocks[block].insts {
            visit(func, inner, f);
        }
    }
}

fn reads_any(func: &Function, inst: Inst, of: &FxHashSet<Value>) -> bool {
    let mut found = false;
    visit(func, inst, &mut |v| found |= of.contains(&v));
    found
}
