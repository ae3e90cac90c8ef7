//! In a loop with one product whose result threads add up themselves, two sums take turns: one is worked on while the other one's product runs.
//!
//! Tensor cores add up 8-bit floats with few bits, so that each trip's product starts at zero and threads add it to a sum in f32, scaled or not. As written, a trip starts its
//! product, waits for it and adds. Rotated, a trip starts the next trip's product and then adds its own. What a product writes has the same registers in every
//! trip, though, if a loop carries it: a loop of pairs of trips has registers for each of the two, and nothing is copied.
//!
//! A slot is freed a trip later than it was, and the ring has to have a third one.
//!
//! ```text
//! before: for %n in lo..hi init [%o] {          after: %t = dot_start (lo)
//!             %t = dot_start %x(n), %w(n)              for %n in lo + step..hi - step step 2 step init [%o, %t] {
//!             %s = dot_wait 0 of %t                        %u = dot_start (n)           %a = add (dot_wait 1 of %t), %o
//!             %a = add %s, %o                              %v = dot_start (n + step)    %b = add (dot_wait 1 of %u), %a
//!             yield %a                                     yield %b, %v
//!         }                                            }
//!                                                      the last trip but one, where there is one    the last one
//! ```

use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::{Block, Function, Inst, InstData, ScalarType, SrcLoc, Type, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::super::stage::{binary, compare};
use super::rotate::{SLOTS, copy};
use super::{MOST_REGISTERS, count_products, of_matrix, reads_any, slot_of, visit};

/// How a loop becomes one of pairs.
pub(super) struct Alternation {
    body: Block,
    /// Up to the start of the product, and all that does not follow from it.
    ahead: Vec<Inst>,
    /// From the wait on.
    behind: Vec<Inst>,
    /// Which carried values the part behind makes.
    carried_behind: Vec<bool>,
    /// What the part behind takes from the part ahead.
    crossing: Vec<Value>,
}

/// What one trip hands to the next: by the part ahead and by the part behind, and what the part behind has still to do with.
#[derive(Clone)]
struct State {
    ahead: Vec<Value>,
    behind: Vec<Value>,
    crossing: Vec<Value>,
}

impl State {
    fn all(&self) -> Vec<Value> {
        [&self.ahead[..], &self.behind, &self.crossing].concat()
    }

    /// The same values as others of a list.
    fn of(&self, list: &[Value]) -> State {
        let (ahead, rest) = list.split_at(self.ahead.len());
        let (behind, crossing) = rest.split_at(self.behind.len());
        State { ahead: ahead.to_vec(), behind: behind.to_vec(), crossing: crossing.to_vec() }
    }
}

impl Alternation {
    pub(super) fn of(func: &Function, inst: Inst) -> Option<Alternation> {
        let InstData::For { lo, rev: false, body, .. } = func.insts[inst] else { return None };
        let signed = matches!(func.ty(lo).scalar_elem()?, ScalarType::Index | ScalarType::I32 | ScalarType::I64);
        let (_, insts) = func.blocks[body].insts.split_last()?;
        let start = *insts.iter().find(|&&inst| matches!(func.insts[inst], InstData::DotStart { .. }))?;
        let mut products = 0;
        insts.iter().for_each(|&inst| count_products(func, inst, &mut products));
        let waits: Vec<Inst> =
            insts.iter().copied().filter(|&inst| matches!(func.insts[inst], InstData::DotWait { .. })).collect();
        let (InstData::DotStart { a, b, acc: None, .. }, &[wait]) = (&func.insts[start], waits.as_slice()) else { return None };
        let waited = matches!(func.insts[wait], InstData::DotWait { arg: Some(arg), pending: 0 } if arg == func.result(start));
        if !signed || products != 1 || !waited || insts.iter().any(|&inst| func.effects(inst).writes) {
            return None;
        }
        let slots: FxHashSet<Value> = [slot_of(func, *a)?, slot_of(func, *b)?].into_iter().collect();
        let short = |&inst: &Inst| match func.insts[inst] {
            InstData::RingRead { ring, slot } if slots.contains(&slot) => {
                !matches!(func.def_data(ring), Some(&InstData::RingNew { slots }) if slots >= SLOTS)
            }
            _ => false,
        };
        let carried: u32 = func.blocks[body].params.iter().map(|&v| of_matrix(func, v)).sum();
        if insts.iter().any(short) || carried + 2 * of_matrix(func, func.result(start)) > MOST_REGISTERS {
            return None;
        }
        Alternation::parts(func, body, insts, wait, &slots)
    }

    /// The two parts; None where the part ahead needs what the one behind gives.
    fn parts(func: &Function, body: Block, insts: &[Inst], wait: Inst, slots: &FxHashSet<Value>) -> Option<Alternation> {
        let mut of_behind: FxHashSet<Inst> = [wait].into_iter().collect();
        let mut made: FxHashSet<Value> = func.results_of(wait).iter().copied().collect();
        for &inst in insts {
            let frees = matches!(func.insts[inst], InstData::BarrierArrive { slot, .. } if slots.contains(&slot));
            if inst != wait && (frees || reads_any(func, inst, &made)) {
                of_behind.insert(inst);
                made.extend(func.results_of(inst));
            }
        }
        // What takes a matrix' registers is made where it is needed, not a trip earlier.
        let yielded = func.yielded(body);
        for &inst in insts.iter().rev() {
            let results = func.results_of(inst);
            let in_slot =
                matches!(func.insts[inst], InstData::RingRead { .. } | InstData::Permute { .. } | InstData::DotStart { .. });
            let only_behind = |v: &Value| {
                !yielded.contains(v)
                    && insts.iter().all(|&user| of_behind.contains(&user) || !reads_any(func, user, &[*v].into_iter().collect()))
            };
            if !in_slot && results.iter().any(|&v| of_matrix(func, v) > 0) && results.iter().all(only_behind) {
                of_behind.insert(inst);
            }
        }
        let (behind, ahead): (Vec<Inst>, Vec<Inst>) = insts.iter().copied().partition(|inst| of_behind.contains(inst));
        let results =
            |list: &[Inst]| -> FxHashSet<Value> { list.iter().flat_map(|&i| func.results_of(i).iter().copied()).collect() };
        let (from_ahead, from_behind) = (results(&ahead), results(&behind));
        let params = &func.blocks[body].params;
        let carried_behind: Vec<bool> = yielded.iter().map(|v| from_behind.contains(v)).collect();
        let of_sums: FxHashSet<Value> =
            params[1..].iter().zip(&carried_behind).filter(|(_, behind)| **behind).map(|(&v, _)| v).collect();
        let mut crossing: Vec<Value> = Vec::new();
        for &inst in &behind {
            visit(func, inst, &mut |v| {
                let crosses = from_ahead.contains(&v) || params.contains(&v) && !of_sums.contains(&v);
                if crosses && !crossing.contains(&v) {
                    crossing.push(v);
                }
            });
        }
        let pure = behind.iter().all(|&inst| {
            let data = &func.insts[inst];
            matches!(data, InstData::DotWait { .. } | InstData::BarrierArrive { .. }) || func.effects(inst).is_pure()
        });
        let separate = ahead.iter().all(|&inst| !reads_any(func, inst, &of_sums) && !reads_any(func, inst, &from_behind));
        let kept = yielded.iter().enumerate().all(|(n, v)| carried_behind[n] || !of_sums.contains(v));
        // Tiles in slots are no values that a loop could carry.
        let in_slots = crossing.iter().any(|&v| slot_of(func, v).is_some());
        (pure && separate && kept && !in_slots).then_some(Alternation { body, ahead, behind, carried_behind, crossing })
    }

    /// Puts what the loop becomes to `out`.
    pub(super) fn rewrite(&self, func: &mut Function, inst: Inst, out: &mut Vec<Inst>) {
        let InstData::For { lo, hi, step, rev, ref init, attrs, .. } = func.insts[inst] else { return };
        let init: Vec<Value> = init.to_vec();
        let loc = func.locs[inst];
        let types: Vec<Type> = func.results_of(inst).iter().map(|&v| func.ty(v)).collect();
        let runs = compare(func, CmpOp::Lt, lo, hi, out, loc);
        let side = |of_behind: bool| -> Vec<Value> {
            init.iter().zip(&self.carried_behind).filter(|(_, behind)| **behind == of_behind).map(|(&v, _)| v).collect()
        };

        // The first trip's product.
        let mut front = Vec::new();
        let empty = State { ahead: side(false), behind: side(true), crossing: vec![] };
        let first = self.start(func, lo, &empty, &mut front);
        let second_trip = binary(func, BinaryOp::Add, lo, step, &mut front, loc);
        let pair = binary(func, BinaryOp::Add, step, step, &mut front, loc);
        let last_pair = binary(func, BinaryOp::Sub, hi, step, &mut front, loc);

        // Pairs of trips. The next trip's number is carried as well.
        let body = func.add_block();
        let counter = func.add_block_param(body, func.ty(lo), None);
        let carried: SmallVec<[Value; 4]> = first.all().into_iter().chain([second_trip]).collect();
        let carried_types: Vec<Type> = carried.iter().map(|&v| func.ty(v)).collect();
        let params: Vec<Value> = carried_types.iter().map(|&ty| func.add_block_param(body, ty, None)).collect();
        let mut insts = Vec::new();
        let one = self.trip(func, counter, &first.of(&params), &mut insts);
        let other_trip = binary(func, BinaryOp::Add, counter, step, &mut insts, loc);
        let two = self.trip(func, other_trip, &one, &mut insts);
        let next = binary(func, BinaryOp::Add, counter, pair, &mut insts, loc);
        let args = two.all().into_iter().chain([next]).collect();
        insts.push(func.make_inst(InstData::Yield { args }, &[], loc));
        func.blocks[body].insts = insts;
        let data = InstData::For { lo: second_trip, hi: last_pair, step: pair, rev, init: carried, body, attrs };
        let pairs = func.make_inst(data, &carried_types, loc);
        front.push(pairs);
        let results: Vec<Value> = func.results_of(pairs).to_vec();
        let state = first.of(&results);

        // One more trip where their number is even, and the last sum.
        let next = results[results.len() - 1];
        let more = compare(func, CmpOp::Lt, next, hi, &mut front, loc);
        let [mut then, mut otherwise] = [Vec::new(), Vec::new()];
        let after = self.trip(func, next, &state, &mut then);
        self.end(func, &after, &mut then, loc);
        self.end(func, &state, &mut otherwise, loc);
        let rest = self.branch(func, more, [then, otherwise], &types, &mut front, loc);
        front.push(func.make_inst(InstData::Yield { args: rest.into_iter().collect() }, &[], loc));
        let nothing = func.make_inst(InstData::Yield { args: init.into_iter().collect() }, &[], loc);
        let made = self.branch(func, runs, [front, vec![nothing]], &types, out, loc);
        let renamed = func.results_of(inst).iter().copied().zip(made).collect();
        func.replace_all(&renamed);
    }

    /// A condition with these sides; what it gives.
    fn branch(
        &self,
        func: &mut Function,
        cond: Value,
        sides: [Vec<Inst>; 2],
        types: &[Type],
        out: &mut Vec<Inst>,
        loc: SrcLoc,
    ) -> Vec<Value> {
        let [then, otherwise] = sides.map(|insts| {
            let block = func.add_block();
            func.blocks[block].insts = insts;
            block
        });
        let made = func.make_inst(InstData::If { cond, then, otherwise }, types, loc);
        out.push(made);
        func.results_of(made).to_vec()
    }

    /// The part ahead of trip `counter`.
    fn start(&self, func: &mut Function, counter: Value, state: &State, out: &mut Vec<Inst>) -> State {
        let params: Vec<Value> = func.blocks[self.body].params.to_vec();
        let yielded: Vec<Value> = func.yielded(self.body).to_vec();
        let mut map: FxHashMap<Value, Value> = [(params[0], counter)].into_iter().collect();
        map.extend(self.of_side(&params[1..], false).into_iter().zip(state.ahead.iter().copied()));
        copy(func, &mut map, &self.ahead, out);
        let value = |v: Value| map.get(&v).copied().unwrap_or(v);
        State {
            ahead: self.of_side(&yielded, false).into_iter().map(value).collect(),
            behind: state.behind.clone(),
            crossing: self.crossing.iter().map(|&v| value(v)).collect(),
        }
    }

    /// The part behind of the trip that left `state`: what it hands on.
    fn finish(&self, func: &mut Function, state: &State, pending: u32, out: &mut Vec<Inst>) -> Vec<Value> {
        let params: Vec<Value> = func.blocks[self.body].params.to_vec();
        let yielded: Vec<Value> = func.yielded(self.body).to_vec();
        let mut map: FxHashMap<Value, Value> =
            self.of_side(&params[1..], true).into_iter().zip(state.behind.iter().copied()).collect();
        map.extend(self.crossing.iter().copied().zip(state.crossing.iter().copied()));
        let from = out.len();
        copy(func, &mut map, &self.behind, out);
        for &inst in &out[from..] {
            if let InstData::DotWait { pending: under_way, .. } = &mut func.insts[inst] {
                *under_way = pending;
            }
        }
        self.of_side(&yielded, true).into_iter().map(|v| map.get(&v).copied().unwrap_or(v)).collect()
    }

    /// Starts the product of trip `counter` and finishes the trip before it.
    fn trip(&self, func: &mut Function, counter: Value, before: &State, out: &mut Vec<Inst>) -> State {
        let mut next = self.start(func, counter, before, out);
        next.behind = self.finish(func, before, 1, out);
        next
    }

    /// Finishes the last trip and yields what the whole loop gives.
    fn end(&self, func: &mut Function, state: &State, out: &mut Vec<Inst>, loc: SrcLoc) {
        let mut behind = self.finish(func, state, 0, out).into_iter();
        let mut ahead = state.ahead.iter().copied();
        let sides = self.carried_behind.iter().map(|&of_behind| if of_behind { behind.next() } else { ahead.next() });
        let args = sides.map(|v| v.expect("a value for everything that the loop carries")).collect();
        out.push(func.make_inst(InstData::Yield { args }, &[], loc));
    }

    /// Those of the carried values that belong to one part.
    fn of_side(&self, values: &[Value], of_behind: bool) -> Vec<Value> {
        values.iter().zip(&self.carried_behind).filter(|(_, behind)| **behind == of_behind).map(|(&v, _)| v).collect()
    }
}
