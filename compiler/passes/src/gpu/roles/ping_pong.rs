//! Two groups of consumers that take turns (`#[schedule(persistent, ping_pong)]`): while one multiplies, the other one's results leave.
//!
//! Each group is a warpgroup and runs whole programs, every other one of its thread block's; the producer runs the copies for all of them, one after the other,
//! through the same rings. So a group has to know how many slots the programs between take: as many as their loops over products have trips, which must
//! be the same for all programs. Two barriers in memory say whose turn it is to multiply: a group waits for its own in front of its loop and of the slots that it reads, and arrives at the
//! other one's where it has started its last product. The first turn is group 0's, whose barrier's phase before the first counts as complete.
//!
//! ```text
//! before: for %c in %b..%all step %n init [%slot, %phase] {      after: %g = consumer_group    %i, %j = (0, 0) advanced by %g * trips
//!             for %k in .. { .. }                                       for %c in (%b + %g * %n)..%all step (2 * %n) init [%i, %j, 1 - %g] {
//!             tma_store ..                                                  barrier_wait %turn, %g, %parity
//!             yield %slot, %phase                                           for %k in .. { .. }
//!         }                                                                 barrier_arrive %turn, 1 - %g
//!                                                                           tma_store ..
//!                                                                           yield (%slot, %phase) advanced by trips, 1 - %parity
//!                                                                       }
//! ```

use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::{Block, Const, Function, Inst, InstData, LoopAttrs, SrcLoc, Type, Value};
use rustc_hash::FxHashSet;

use super::{Cursor, Plan, slot_type};
use crate::gpu::stage::{binary, compare, constant};
use crate::gpu::warps::PING_PONG;
use crate::gpu::warps_of;
use crate::manager::{PassContext, PassFailure, PassResult};

/// A schedule that the target cannot follow.
const SCHEDULE: &str = "K0905";

fn refusal(message: &str, loc: SrcLoc) -> PassFailure {
    PassFailure { code: SCHEDULE, message: format!("`ping_pong`: {message}"), loc }
}

/// What no kernel with this schedule can do without.
pub(super) fn check(func: &Function, context: &PassContext) -> PassResult {
    let refuse = |message: &str| Err(refusal(message, func.loc));
    if !context.has_warpgroups() {
        return refuse("warpgroups take turns on sm_90a alone");
    }
    if func.schedule.persistent && warps_of(func) != PING_PONG {
        return refuse("a program of a `persistent` thread block is a warpgroup's, of 4 warps");
    }
    // Turns within a program are a matter of `overlap`.
    if !func.schedule.persistent && warps_of(func) < 2 * PING_PONG {
        return refuse(
            "two programs of a `persistent` thread block take turns, or two warpgroups of a program, which are 8 warps",
        );
    }
    Ok(())
}

/// How the programs of a thread block come to two groups.
pub(super) struct Turns {
    /// The body of the loop over programs.
    programs: Block,
    /// For each group of loads, the loop that fills its slots; None where a program does it once.
    fills: Vec<Option<Trips>>,
    /// The bodies of the first and the last loop over products.
    loops: [Block; 2],
}

/// Bounds of a loop, the same for all programs.
#[derive(Clone, Copy)]
struct Trips {
    body: Block,
    lo: Value,
    hi: Value,
    step: Value,
}

impl Turns {
    /// Finds that for a kernel that is to be split as planned.
    pub(super) fn of(func: &Function, plan: &Plan) -> Result<Turns, PassFailure> {
        let is_loop = |inst: &Inst| match func.insts[*inst] {
            InstData::For { body, attrs: LoopAttrs { programs: true, .. }, .. } => Some(body),
            _ => None,
        };
        let programs = func.blocks[func.body].insts.iter().find_map(is_loop);
        let programs = programs.ok_or_else(|| refusal("the kernel has no loop over programs", func.loc))?;
        let mut own: FxHashSet<Value> = FxHashSet::default();
        defined_in(func, programs, &mut own);
        let mut fills = Vec::new();
        for group in &plan.groups {
            if group.block == programs {
                fills.push(None);
                continue;
            }
            let loc = func.locs[group.loads[0].0];
            let around = func.blocks[programs].insts.iter().find_map(|&inst| match func.insts[inst] {
                InstData::For { lo, hi, step, body, .. } if body == group.block => Some(Trips { body, lo, hi, step }),
                _ => None,
            });
            let Some(trips) = around else {
                return Err(refusal(
                    "what is loaded for products is loaded in one loop of a program, not in a condition or in a loop in a loop",
                    loc,
                ));
            };
            let forward = matches!(func.def_data(trips.step), Some(InstData::Const { value: Const::Int(1..) }));
            if !forward || [trips.lo, trips.hi].iter().any(|v| own.contains(v)) {
                return Err(refusal("the loop over products has as many trips in each program, in steps of a constant", loc));
            }
            fills.push(Some(trips));
        }
        let mut loops = fills.iter().flatten().map(|trips| trips.body);
        let first = loops.next().ok_or_else(|| refusal("there is no loop over products to take turns with", func.loc))?;
        let place = |block: Block| {
            let at = |&inst: &Inst| matches!(func.insts[inst], InstData::For { body, .. } if body == block);
            func.blocks[programs].insts.iter().position(at)
        };
        let (first, last) = loops.fold((first, first), |(first, last), next| {
            (if place(next) < place(first) { next } else { first }, if place(next) > place(last) { next } else { last })
        });
        Ok(Turns { programs, fills, loops: [first, last] })
    }

    /// Has the consumers, whose part of the kernel is `consumer`, take turns at the barriers `turn`.
    pub(super) fn take(&self, func: &mut Function, plan: &Plan, consumer: Block, turn: Value) {
        let loc = func.loc;
        let at = position(func, consumer, self.programs);
        let inst = func.blocks[consumer].insts[at];
        let mut data = func.insts[inst].clone();
        let InstData::For { lo, step, init, .. } = &mut data else { unreachable!("the loop over programs") };
        let mut new = Vec::new();
        let group = func.make_inst(InstData::ConsumerGroup, &[slot_type()], loc);
        new.push(group);
        let group = func.result(group);
        let one = constant(func, 1, slot_type(), &mut new);
        let other = binary(func, BinaryOp::Xor, group, one, &mut new, loc);
        let counter = func.ty(*lo);
        let wide = func.make_inst(InstData::Cast { arg: group }, &[counter], loc);
        new.push(wide);
        let (wide, two) = (func.result(wide), constant(func, 2, counter, &mut new));
        let ahead = binary(func, BinaryOp::Mul, wide, *step, &mut new, loc);
        *lo = binary(func, BinaryOp::Add, *lo, ahead, &mut new, loc);
        *step = binary(func, BinaryOp::Mul, *step, two, &mut new, loc);
        let counts: Vec<Value> = (0..plan.groups.len()).map(|g| self.slots_of_a_program(func, plan, g, &mut new)).collect();
        for (g, &count) in counts.iter().enumerate() {
            let skipped = binary(func, BinaryOp::Mul, count, group, &mut new, loc);
            let start = Cursor { slot: init[2 * g], phase: init[2 * g + 1] };
            let start = advanced(func, start, skipped, plan.groups[g].slots, &mut new, loc);
            (init[2 * g], init[2 * g + 1]) = (start.slot, start.phase);
        }
        init.push(other);
        let parity = func.add_block_param(self.programs, slot_type(), None);
        let mut types: Vec<Type> = func.results_of(inst).iter().map(|&v| func.ty(v)).collect();
        types.push(slot_type());
        let made = func.make_inst(data, &types, loc);
        let results = func.results_of(inst).iter().copied().zip(func.results_of(made).iter().copied()).collect();
        func.replace_all(&results);
        new.push(made);
        func.blocks[consumer].insts.splice(at..=at, new);

        let wait = func.make_inst(InstData::BarrierWait { barrier: turn, slot: group, phase: parity }, &[], loc);
        let pass = func.make_inst(InstData::BarrierArrive { barrier: turn, slot: other, enable: None, cluster: false }, &[], loc);
        let [first, last] = self.loops;
        // Slots that a program has once are waited for within its turn as well: only then has the other group waited for its own, so that the phase is not one too early.
        let slots = |&inst: &Inst| matches!(func.insts[inst], InstData::BarrierWait { .. });
        let here = &func.blocks[self.programs].insts;
        let after = here.iter().rposition(slots).max(Some(position(func, self.programs, last))).map_or(0, |at| at + 1);
        let before = position(func, self.programs, first);
        let before = here.iter().position(slots).map_or(before, |at| at.min(before));
        func.blocks[self.programs].insts.insert(after, pass);
        func.blocks[self.programs].insts.insert(before, wait);

        let end = func.blocks[self.programs].insts.pop().expect("a block ends in a yield");
        let mut args: Vec<Value> = func.insts[end].operands().to_vec();
        let mut new = Vec::new();
        for (g, &count) in counts.iter().enumerate() {
            let at = Cursor { slot: args[2 * g], phase: args[2 * g + 1] };
            let behind = advanced(func, at, count, plan.groups[g].slots, &mut new, loc);
            (args[2 * g], args[2 * g + 1]) = (behind.slot, behind.phase);
        }
        args.push(binary(func, BinaryOp::Xor, parity, one, &mut new, loc));
        func.insts[end] = InstData::Yield { args: args.into_iter().collect() };
        new.push(end);
        func.blocks[self.programs].insts.extend(new);
    }

    /// How many slots of a group's ring a program takes, up to whole rounds of two phases (i32).
    fn slots_of_a_program(&self, func: &mut Function, plan: &Plan, group: usize, new: &mut Vec<Inst>) -> Value {
        let loc = func.loc;
        let Some(Trips { lo, hi, step, .. }) = self.fills[group] else { return constant(func, 1, slot_type(), new) };
        let ty = func.ty(lo);
        let [zero, one, round] = [0, 1, i64::from(2 * plan.groups[group].slots)].map(|n| constant(func, n, ty, new));
        let some = compare(func, CmpOp::Lt, lo, hi, new, loc);
        let distance = binary(func, BinaryOp::Sub, hi, lo, new, loc);
        let before = binary(func, BinaryOp::Sub, distance, one, new, loc);
        let whole = binary(func, BinaryOp::Div, before, step, new, loc);
        let trips = binary(func, BinaryOp::Add, whole, one, new, loc);
        let trips = func.make_inst(InstData::Select { cond: some, a: trips, b: zero }, &[ty], loc);
        new.push(trips);
        let trips = func.result(trips);
        let left = binary(func, BinaryOp::Rem, trips, round, new, loc);
        if ty == slot_type() {
            return left;
        }
        let narrow = func.make_inst(InstData::Cast { arg: left }, &[slot_type()], loc);
        new.push(narrow);
        func.result(narrow)
    }
}

/// A cursor so many slots further.
fn advanced(func: &mut Function, at: Cursor, by: Value, slots: u32, new: &mut Vec<Inst>, loc: SrcLoc) -> Cursor {
    let [one, all] = [1, i64::from(slots)].map(|n| constant(func, n, slot_type(), new));
    let further = binary(func, BinaryOp::Add, at.slot, by, new, loc);
    let rounds = binary(func, BinaryOp::Div, further, all, new, loc);
    let odd = binary(func, BinaryOp::And, rounds, one, new, loc);
    Cursor {
        slot: binary(func, BinaryOp::Rem, further, all, new, loc),
        phase: binary(func, BinaryOp::Xor, at.phase, odd, new, loc),
    }
}

/// Where in `block` the loop with that body stands.
fn position(func: &Function, block: Block, of: Block) -> usize {
    let is = |&inst: &Inst| matches!(func.insts[inst], InstData::For { body, .. } if body == of);
    func.blocks[block].insts.iter().position(is).expect("the loop stands where it stood")
}

/// Values that are defined in a block or in one inside it.
fn defined_in(func: &Function, block: Block, values: &mut FxHashSet<Value>) {
    values.extend(&func.blocks[block].params);
    for &inst in &func.blocks[block].insts {
        values.extend(func.results_of(inst));
        for inner in func.insts[inst].blocks() {
            defined_in(func, inner, values);
        }
    }
}
