//! `stage`: what products load goes from global memory to shared memory by itself, ahead of its use.
//!
//! A load that only feeds products on tensor cores (as it is, or with its axes exchanged), from memory that the kernel does not
//! write, becomes a fill of a ring and a read of it; no register holds it. In a loop the ring has `stages` slots: each trip waits for
//! its own slot, starts the fill of the slot that the trip before has read, and multiplies; the first trips' fills stand before
//! the loop. One barrier a trip does both: what is filled is visible, what was read may be filled again. Fills past the last trip
//! do nothing. Where the addresses of a later trip cannot be known (they depend on what the loop carries), or the loop counts
//! backwards, the ring has one slot, and every trip waits twice.
//!
//! ```text
//! before: for %k in 0..%n step 32 init [%acc] {        after: %r = ring_new 3
//!             %a = load %x[%m..+128, %k..+32]                 ring_fill %r, 0 from %x[%m..+128, 0..+32] if ..     ring_commit
//!             %s = dot %a, ..                                 ring_fill %r, 1 from %x[%m..+128, 32..+32] if ..    ring_commit
//!                                                             for %k in 0..%n step 32 init [%acc, 2, 0] (.., %fill, %read) {
//!                                                                 ring_wait 1
//!                                                                 ring_fill %r, %fill from %x[%m..+128, %k + 64..+32] if ..   ring_commit
//!                                                                 %a = ring_read %r, %read
//!                                                                 %s = dot %a, ..
//! ```

use cranelift_entity::SecondaryMap;
use kiln_ir::artifact::Remark;
use kiln_ir::layout::{boxed, staged};
use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::{Block, Const, Function, Inst, InstData, LayoutId, Place, ScalarType, SrcLoc, Type, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::access::access_of;
use super::facts::Facts;
use super::fewer_stages::{fewer_stages, remark};
use super::rules::{Kind, kind};
use super::tensor_cores::{self, MmaDot};
use super::{ring_bytes, warps_of};
use crate::analysis::memory::{Writes, root};
use crate::clone::Cloner;
use crate::manager::{PassContext, PassResult};

/// Slots of a ring in a loop, where neither the loop nor the kernel says.
const STAGES: u32 = 3;

/// Stages the loads of `func` in what memory the rings of roles leave.
pub(crate) fn run(func: &mut Function, context: &PassContext) -> PassResult {
    let warps = warps_of(func);
    let facts = Facts::of(func);
    let rings: FxHashMap<Inst, LayoutId> =
        staged_loads(func, &facts, warps).into_iter().map(|(load, (layout, _))| (load, layout)).collect();
    if !rings.is_empty() {
        let budget = context.ring_bytes.saturating_sub(ring_bytes(func));
        Stage { rings, budget }.block(func, func.body, false);
    }
    Ok(())
}

/// Loads that only feed products: the layout of a slot for each, and whether all of those are products of warpgroups.
pub(super) type Staged = FxHashMap<Inst, (LayoutId, bool)>;

/// The loads of `func` that may be staged.
pub(super) fn staged_loads(func: &Function, facts: &Facts, warps: u32) -> Staged {
    let dots = tensor_cores::choose(func, warps);
    let mut writes = Writes::default();
    writes.add_block(func, func.body);
    let uses = Uses::of(func);
    let mut found = Staged::default();
    func.walk(|_, inst| {
        if let InstData::Load { place, other: None, .. } = &func.insts[inst]
            && !writes.may_change(func, root(func, place))
            && let Some((layout, for_groups)) = ring_layout(func, facts, &dots, &uses, inst)
        {
            found.insert(inst, (layout.intern(), for_groups));
        }
    });
    found
}

/// Who uses each value.
struct Uses(SecondaryMap<Value, SmallVec<[(Inst, usize); 2]>>);

impl Uses {
    fn of(func: &Function) -> Uses {
        let mut uses: SecondaryMap<Value, SmallVec<[(Inst, usize); 2]>> = SecondaryMap::new();
        func.walk(|_, inst| {
            for (number, value) in func.insts[inst].operands().into_iter().enumerate() {
                uses[value].push((inst, number));
            }
        });
        Uses(uses)
    }
}

/// The layout of a slot for a load that only feeds products, and whether those are all of warpgroups.
fn ring_layout(
    func: &Function,
    facts: &Facts,
    dots: &SecondaryMap<Inst, Option<MmaDot>>,
    uses: &Uses,
    load: Inst,
) -> Option<(kiln_ir::layout::Layout, bool)> {
    let result = func.result(load);
    let ty = func.ty(result);
    if ty.rank() != 2 || ty.scalar_elem().is_none_or(|s| s == ScalarType::Bool) {
        return None;
    }
    let mut room = [ty.shape()[0], ty.shape()[1]];
    let mut turned = false;
    // Values that hold the tile, and whether its axes are exchanged in them.
    let mut todo: Vec<(Value, bool)> = vec![(result, false)];
    let (mut fed, mut for_groups, mut any_groups) = (0, true, false);
    while let Some((value, exchanged)) = todo.pop() {
        for &(user, number) in &uses.0[value] {
            match (&func.insts[user], &dots[user]) {
                (InstData::Permute { perm, .. }, _) => {
                    let exchanges = perm[0] == 1;
                    turned |= exchanges;
                    todo.push((func.result(user), exchanged ^ exchanges));
                }
                (InstData::Dot { .. } | InstData::DotStart { .. }, Some(dot)) if number < 2 => {
                    fed += 1;
                    for_groups &= dot.of_groups;
                    any_groups |= dot.of_groups;
                    let physical = if number == 0 { dot.a.physical() } else { dot.b.physical() };
                    for axis in 0..2 {
                        room[axis ^ usize::from(exchanged)] = room[axis ^ usize::from(exchanged)].max(physical[axis]);
                    }
                }
                _ => return None,
            }
        }
    }
    if fed == 0 {
        return None;
    }
    let access = access_of(func, facts, load)?;
    // Warps read whatever there is, warpgroups the hardware's own swizzle alone.
    let arrange = if any_groups { boxed } else { staged };
    let layout = arrange(room, access.axis, ty.elem().bytes());
    // Repetitions are numbered by dimension: exchanged axes would number those of two dimensions anew.
    let repeats = layout.reps().iter().filter(|&&r| r > 1).count();
    (!turned || repeats < 2).then_some((layout, for_groups))
}

struct Stage {
    /// The loads to stage and the layout of their slots.
    rings: FxHashMap<Inst, LayoutId>,
    /// Bytes that are left.
    budget: u32,
}

/// A ring for one load.
struct Ring {
    load: Inst,
    value: Value,
    new: Inst,
}

impl Stage {
    /// Rewrites a block and the blocks in it. `looping`: it runs more than once.
    fn block(&mut self, func: &mut Function, block: Block, looping: bool) {
        let old = std::mem::take(&mut func.blocks[block].insts);
        let mut new = Vec::with_capacity(old.len());
        // Rings live no longer than their block.
        let budget = self.budget;
        // Fills that nothing has waited for yet.
        let mut waiting: Vec<Ring> = Vec::new();
        for inst in old {
            let related = waiting.iter().any(|r| func.insts[inst].operands().contains(&func.result(r.load)));
            let owns_blocks = !func.insts[inst].blocks().is_empty();
            if related || owns_blocks || matches!(func.insts[inst], InstData::Yield { .. }) {
                self.wait(func, &mut waiting, &mut new);
            }
            if let Some(&layout) = self.rings.get(&inst) {
                let ring = self.ring(func, inst, layout, 1, &mut new);
                if looping && waiting.is_empty() {
                    new.push(func.make_inst(InstData::RingAcquire { ring: ring.value }, &[], func.locs[inst]));
                }
                let slot = constant(func, 0, Type::scalar(ScalarType::I32), &mut new);
                new.push(fill(func, inst, ring.value, slot, None));
                waiting.push(ring);
                continue;
            }
            match func.insts[inst] {
                InstData::For { body, .. } => {
                    let before = self.budget;
                    let looped = self.pipeline(func, inst, &mut new);
                    self.block(func, body, true);
                    self.budget = before;
                    new.push(looped);
                }
                InstData::While { cond, body, .. } => {
                    self.block(func, cond, true);
                    self.block(func, body, true);
                    new.push(inst);
                }
                _ => {
                    for inner in func.insts[inst].blocks() {
                        self.block(func, inner, looping);
                    }
                    new.push(inst);
                }
            }
        }
        func.blocks[block].insts = new;
        self.budget = budget;
    }

    /// Makes a ring of `slots` and takes its bytes from the budget.
    fn ring(&mut self, func: &mut Function, load: Inst, layout: LayoutId, slots: u32, new: &mut Vec<Inst>) -> Ring {
        let ty = func.ty(func.result(load)).with_layout(Some(layout));
        self.budget = self.budget.saturating_sub(slots * slot_bytes(func, load, layout));
        let made = func.make_inst(InstData::RingNew { slots }, &[ty], func.locs[load]);
        new.push(made);
        Ring { load, value: func.result(made), new: made }
    }

    /// Waits for fills of one-slot rings and reads them.
    fn wait(&mut self, func: &mut Function, waiting: &mut Vec<Ring>, new: &mut Vec<Inst>) {
        let Some(first) = waiting.first() else { return };
        let loc = func.locs[first.load];
        new.push(func.make_inst(InstData::RingCommit, &[], loc));
        new.push(func.make_inst(InstData::RingWait { pending: 0 }, &[], loc));
        let slot = constant(func, 0, Type::scalar(ScalarType::I32), new);
        for ring in waiting.drain(..) {
            read(func, &ring, slot, new);
        }
    }

    /// Takes the loads that stand in the body of a loop into rings of several slots, where that can be. Gives the loop, whose
    /// body is still to be rewritten; what goes before it is in `new`.
    fn pipeline(&mut self, func: &mut Function, inst: Inst, new: &mut Vec<Inst>) -> Inst {
        let Some(plan) = self.plan(func, inst) else { return inst };
        remark(func, plan.fewer.clone());
        if plan.stages < 2 {
            return inst;
        }
        let InstData::For { lo, hi, step, init, body, .. } = func.insts[inst].clone() else { unreachable!("called for loops") };
        let loc = func.locs[inst];
        let (counter_ty, slot_ty) = (func.ty(lo), Type::scalar(ScalarType::I32));
        let ahead = plan.stages - 1;
        let rings: Vec<Ring> = plan
            .loads
            .iter()
            .map(|&load| {
                let layout = self.rings.remove(&load).expect("a staged load");
                self.ring(func, load, layout, plan.stages, new)
            })
            .collect();
        let counter = func.blocks[body].params[0];
        // Before the loop: the fills of its first trips.
        let room = binary(func, BinaryOp::Sub, hi, lo, new, loc);
        for trip in 0..ahead {
            let number = constant(func, i64::from(trip), counter_ty, new);
            let distance = binary(func, BinaryOp::Mul, step, number, new, loc);
            let at = binary(func, BinaryOp::Add, lo, distance, new, loc);
            let enable = compare(func, CmpOp::Gt, room, distance, new, loc);
            let slot = constant(func, i64::from(trip), slot_ty, new);
            self.fills(func, &rings, &plan, (counter, at), slot, enable, new);
            new.push(func.make_inst(InstData::RingCommit, &[], loc));
        }
        // The slots to fill and to read are carried.
        let first = [ahead % plan.stages, 0].map(|slot| constant(func, i64::from(slot), slot_ty, new));
        let [to_fill, to_read] = [(); 2].map(|()| func.add_block_param(body, slot_ty, None));
        let mut head = Vec::new();
        head.push(func.make_inst(InstData::RingWait { pending: ahead - 1 }, &[], loc));
        let trips = constant(func, i64::from(ahead), counter_ty, &mut head);
        let distance = binary(func, BinaryOp::Mul, step, trips, &mut head, loc);
        let at = binary(func, BinaryOp::Add, counter, distance, &mut head, loc);
        let left = binary(func, BinaryOp::Sub, hi, counter, &mut head, loc);
        let enable = compare(func, CmpOp::Gt, left, distance, &mut head, loc);
        self.fills(func, &rings, &plan, (counter, at), to_fill, enable, &mut head);
        head.push(func.make_inst(InstData::RingCommit, &[], loc));
        for ring in &rings {
            read(func, ring, to_read, &mut head);
        }
        let staged: FxHashSet<Inst> = plan.loads.iter().copied().collect();
        let rest = std::mem::take(&mut func.blocks[body].insts);
        head.extend(rest.into_iter().filter(|i| !staged.contains(i)));
        let last = head.pop().expect("a body ends in a yield");
        let next = [to_fill, to_read].map(|slot| next_slot(func, slot, plan.stages, &mut head, loc));
        if let InstData::Yield { args } = &mut func.insts[last] {
            args.extend(next);
        }
        head.push(last);
        func.blocks[body].insts = head;
        // The loop has two results more: it becomes another instruction.
        let mut data = func.insts[inst].clone();
        if let InstData::For { init: all, .. } = &mut data {
            *all = init.iter().copied().chain(first).collect();
        }
        let results: Vec<Value> = func.results_of(inst).to_vec();
        let types: Vec<Type> = results.iter().map(|&v| func.ty(v)).chain([slot_ty; 2]).collect();
        let looped = func.make_inst(data, &types, loc);
        let renamed: FxHashMap<Value, Value> = results.iter().copied().zip(func.results_of(looped).iter().copied()).collect();
        func.replace_all(&renamed);
        looped
    }

    /// Fills of one trip, whose counter is `at`; the instructions that give their addresses are repeated for it.
    #[allow(clippy::too_many_arguments)]
    fn fills(
        &self,
        func: &mut Function,
        rings: &[Ring],
        plan: &Plan,
        (counter, at): (Value, Value),
        slot: Value,
        enable: Value,
        new: &mut Vec<Inst>,
    ) {
        let mut cloner = Cloner { src: None, dst: func, map: FxHashMap::default() };
        cloner.map.insert(counter, at);
        let mut made = Vec::new();
        for &inst in &plan.slice {
            made.push(cloner.inst(inst));
        }
        let map = cloner.map;
        for inst in made {
            // What a load of a later trip reads is there only if there is such a trip.
            if matches!(func.insts[inst], InstData::Load { .. }) {
                let shape: SmallVec<[u32; 4]> = SmallVec::from_slice(func.ty(func.result(inst)).shape());
                let loc = func.locs[inst];
                let lanes = if shape.is_empty() {
                    enable
                } else {
                    let ty = Type::tile(ScalarType::Bool, &shape);
                    let made = func.make_inst(InstData::Broadcast { arg: enable }, &[ty], loc);
                    new.push(made);
                    func.result(made)
                };
                let InstData::Load { mask, .. } = &func.insts[inst] else { unreachable!("a load") };
                let all = match *mask {
                    Some(mask) => binary(func, BinaryOp::And, mask, lanes, new, loc),
                    None => lanes,
                };
                if let InstData::Load { mask, .. } = &mut func.insts[inst] {
                    *mask = Some(all);
                }
            }
            new.push(inst);
        }
        for ring in rings {
            let made = fill(func, ring.load, ring.value, slot, Some(enable));
            let own = func.result(ring.new);
            func.insts[made].visit_operands_mut(|v| {
                if *v != own && *v != slot && *v != enable {
                    *v = map.get(v).copied().unwrap_or(*v);
                }
            });
            new.push(made);
        }
    }

    /// How a loop's loads are taken ahead; None where none are, or they cannot be.
    fn plan(&self, func: &Function, inst: Inst) -> Option<Plan> {
        let InstData::For { step, rev: false, body, attrs, .. } = &func.insts[inst] else { return None };
        let forward = match func.def_data(*step) {
            Some(InstData::Const { value: Const::Int(step) }) => *step > 0,
            _ => false,
        };
        let signed = func.ty(*step).scalar_elem().is_some_and(ScalarType::is_signed_int);
        if !forward || !signed {
            return None;
        }
        let insts = &func.blocks[*body].insts;
        let loads: Vec<Inst> = insts.iter().copied().filter(|i| self.rings.contains_key(i)).collect();
        if loads.is_empty() {
            return None;
        }
        let slice = slice(func, *body, &loads, &self.rings)?;
        let bytes: u32 = loads.iter().map(|load| slot_bytes(func, *load, self.rings[load])).sum();
        let fitting = self.budget / bytes.max(1);
        let asked = attrs.stages.or(func.schedule.stages);
        let stages = asked.unwrap_or(STAGES).min(fitting);
        let fewer = fewer_stages(asked, stages, bytes, self.budget, func.locs[loads[0]]);
        Some(Plan { stages, loads, slice, fewer })
    }
}

/// The loads of a loop that are taken ahead.
struct Plan {
    stages: u32,
    loads: Vec<Inst>,
    /// What their places and masks are computed by, in the loop's body, in order.
    slice: Vec<Inst>,
    /// The warning that there are fewer than were asked for.
    fewer: Option<Remark>,
}

/// The instructions of `body` that the places of `loads` depend on; None where they depend on what the loop carries, or on what
/// is not to be done twice.
fn slice(func: &Function, body: Block, loads: &[Inst], rings: &FxHashMap<Inst, LayoutId>) -> Option<Vec<Inst>> {
    let carried: FxHashSet<Value> = func.blocks[body].params[1..].iter().copied().collect();
    let here: FxHashSet<Inst> = func.blocks[body].insts.iter().copied().collect();
    let mut needed: FxHashSet<Inst> = FxHashSet::default();
    let mut todo: Vec<Value> = loads.iter().flat_map(|&load| func.insts[load].operands()).collect();
    while let Some(value) = todo.pop() {
        if carried.contains(&value) {
            return None;
        }
        let Some(inst) = func.def_inst(value).filter(|i| here.contains(i)) else { continue };
        let data = &func.insts[inst];
        let repeatable = match data {
            InstData::Load { .. } => !rings.contains_key(&inst),
            InstData::RingRead { .. } => false,
            _ => {
                matches!(kind(data), Kind::Flexible | Kind::Elementwise | Kind::Shape | Kind::Control)
                    && data.own_effects().is_pure()
                    && data.blocks().is_empty()
            }
        };
        if !repeatable {
            return None;
        }
        if needed.insert(inst) {
            todo.extend(data.operands());
        }
    }
    // Loads in the slice must read memory that the loop does not write.
    let mut writes = Writes::default();
    writes.add_block(func, body);
    let constant = |inst: &Inst| match &func.insts[*inst] {
        InstData::Load { place, .. } => !writes.may_change(func, root(func, place)),
        _ => true,
    };
    needed.iter().all(constant).then(|| func.blocks[body].insts.iter().copied().filter(|i| needed.contains(i)).collect())
}

pub(super) fn slot_bytes(func: &Function, load: Inst, layout: LayoutId) -> u32 {
    layout.layout().offsets() * func.ty(func.result(load)).elem().bytes()
}

/// The fill that a load becomes.
fn fill(func: &mut Function, load: Inst, ring: Value, slot: Value, enable: Option<Value>) -> Inst {
    let InstData::Load { place, mask, .. } = func.insts[load].clone() else { unreachable!("a staged load") };
    let place: Place = place;
    let loc = func.locs[load];
    func.make_inst(InstData::RingFill { place, mask, ring, slot, enable, layout: None }, &[], loc)
}

/// Reads a slot in place of the load.
fn read(func: &mut Function, ring: &Ring, slot: Value, new: &mut Vec<Inst>) {
    let ty = func.ty(ring.value);
    let loc = func.locs[ring.load];
    let made = func.make_inst(InstData::RingRead { ring: ring.value, slot }, &[ty], loc);
    new.push(made);
    let (old, tile) = (func.result(ring.load), func.result(made));
    func.replace_uses(old, tile);
}

/// `slot + 1`, from the last to the first.
fn next_slot(func: &mut Function, slot: Value, slots: u32, new: &mut Vec<Inst>, loc: SrcLoc) -> Value {
    let ty = Type::scalar(ScalarType::I32);
    let (one, zero) = (constant(func, 1, ty, new), constant(func, 0, ty, new));
    let end = constant(func, i64::from(slots), ty, new);
    let next = binary(func, BinaryOp::Add, slot, one, new, loc);
    let wraps = compare(func, CmpOp::Eq, next, end, new, loc);
    let made = func.make_inst(InstData::Select { cond: wraps, a: zero, b: next }, &[ty], loc);
    new.push(made);
    func.result(made)
}

pub(super) fn constant(func: &mut Function, value: i64, ty: Type, new: &mut Vec<Inst>) -> Value {
    let made = func.make_inst(InstData::Const { value: Const::Int(value) }, &[ty], SrcLoc::UNKNOWN);
    new.push(made);
    func.result(made)
}

pub(super) fn binary(func: &mut Function, op: BinaryOp, a: Value, b: Value, new: &mut Vec<Inst>, loc: SrcLoc) -> Value {
    let ty = func.ty(a);
    let made = func.make_inst(InstData::Binary { op, a, b }, &[ty], loc);
    new.push(made);
    func.result(made)
}

pub(super) fn compare(func: &mut Function, op: CmpOp, a: Value, b: Value, new: &mut Vec<Inst>, loc: SrcLoc) -> Value {
    let ty = func.ty(a).with_elem(ScalarType::Bool);
    let made = func.make_inst(InstData::Cmp { op, a, b }, &[ty], loc);
    new.push(made);
    func.result(made)
}
