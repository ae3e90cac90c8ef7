//! `roles`: a warp of its own copies what products load, the other warps multiply (warp specialization, sm_90a).
//!
//! Where the TMA engine can do loads of products of warpgroups, and some of them are in a loop, the kernel splits into two roles. The
//! *producer*, one thread of a warp behind the others, runs the loops, conditions and addresses of those loads and nothing else. The *consumers* run all
//! the rest. Between them are rings: loads that are freed together share a slot, and a slot has two barriers in memory. The producer waits until
//! a slot is `empty`, announces the bytes and starts the copies, whose end completes `full`; consumers wait for `full`, multiply, and arrive at `empty`
//! once nothing reads the slot any more. Each role counts slots and phases by itself ([`Cursor`]), through all loops.
//!
//! What consumers need from a slot they wait for where they use it first; a slot is freed where its last product is done. In a loop
//! with one product whose sum is carried, that product may stay under way while the next one starts ([`consumer`]).
//!
//! With `ping_pong` and `persistent` there are two groups of consumers, each of which runs every other program of a thread block ([`ping_pong`]).
//!
//! Tiles of one axis that such a loop loads beside those of its products (what softmax's gradient needs of each query, say) travel in a slot of theirs, and
//! are read into registers in whatever layout they are used: by themselves they would be loaded by a thread an element and exchanged ([`rows`]).
//!
//! In a cluster, what both thread blocks load alike is copied once, half by each of them, into the slots of both ([`cluster`]); such a slot is empty when the
//! consumers of both have freed it.
//!
//! ```text
//! before: for %k in .. {                 after: %full = barrier_new 3 arrivals 1    %empty = barrier_new 3 arrivals 8
//!             %a = load %x[..]                  if is_producer {
//!             %b = load %y[..]                      for %k in .. {
//!             %t = dot_start %a, %b                     barrier_wait %empty    barrier_expect %full    tma_fill ..    tma_fill ..
//!             %s = dot_wait 0 of %t                 }
//!         }                                     } else {
//!         store ..                                  for %k in .. {
//!                                                       barrier_wait %full
//!                                                       %t = dot_start (ring_read ..), (ring_read ..)
//!                                                       %s = dot_wait 0 of %t    barrier_arrive %empty
//!                                                   }
//!                                                   store ..
//!                                               }
//! ```

mod cluster;
mod consumer;
mod ping_pong;
mod producer;
mod rows;

use kiln_ir::artifact::Remark;
use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::{Block, Function, Inst, InstData, LayoutId, SrcLoc, Type, Value};
use kiln_ir::{Place, ScalarType};
use rustc_hash::{FxHashMap, FxHashSet};

use super::facts::Facts;
use super::fewer_stages::{fewer_stages, remark};
use super::stage::{Staged, binary, compare, constant, slot_bytes, staged_loads};
use super::tma::{mappable, tensor_boxes};
use super::{tf32, warps_of};
use crate::manager::{PassContext, PassResult};

/// Slots of a ring in a loop, where neither the loop nor the kernel says.
const STAGES: u32 = 4;
/// Most warps of consumers: one more warp has to fit into a block of 1024 threads.
const MOST_WARPS: u32 = 28;

/// Splits `func` into roles where that can be.
pub(crate) fn run(func: &mut Function, context: &PassContext) -> PassResult {
    let warps = warps_of(func);
    if func.schedule.ping_pong {
        ping_pong::check(func, context)?;
    }
    if !context.has_warpgroups() {
        return Ok(());
    }
    if let Some(plan) = rounded(func, warps, context) {
        let turns =
            if func.schedule.ping_pong && func.schedule.persistent { Some(ping_pong::Turns::of(func, &plan)?) } else { None };
        remark(func, plan.fewer.clone());
        split(func, plan, turns, warps);
    }
    Ok(())
}

/// The plan in which every operand of a tf32 product is rounded on its way; products of which that cannot be said become ones of warps.
fn rounded(func: &mut Function, warps: u32, context: &PassContext) -> Option<Plan> {
    loop {
        let plan = Plan::of(func, warps, context);
        let by_engine = |load: Inst| plan.as_ref().is_some_and(|plan| plan.of_load.contains_key(&load));
        let products = tf32::products(func);
        if products.is_empty() {
            return plan;
        }
        let facts = Facts::of(func).with_fitting_tensors(context.fits_32_bit);
        let staged = staged_loads(func, &facts, warps);
        let of_warps: Vec<Inst> = products
            .iter()
            .copied()
            .filter(|&start| !tf32::can_round(func, start, |load| staged.contains_key(&load), by_engine))
            .collect();
        if of_warps.is_empty() {
            tf32::round_left(func, &products, by_engine);
            return plan;
        }
        // Without them others may have to go as well: what several products read is loaded for all or none.
        of_warps.into_iter().for_each(|start| tf32::to_warps(func, start));
    }
}

/// Loads that share a slot.
#[derive(Clone, Debug)]
struct Group {
    /// In order; those of one axis in front of the last one of two, where the slot is filled.
    loads: Vec<(Inst, LayoutId)>,
    /// The block they are in.
    block: Block,
    /// The instruction of that block after which nothing reads the slot.
    release: Inst,
    /// The block runs more than once.
    looped: bool,
    /// How many at most; 1 where the block runs once.
    slots: u32,
    /// Of one slot.
    bytes: u32,
}

/// What is to be split.
struct Plan {
    groups: Vec<Group>,
    /// The group of each load.
    of_load: FxHashMap<Inst, usize>,
    /// What the producer computes besides: scalars and views that the loads, loops and conditions depend on.
    needed: FxHashSet<Inst>,
    /// Loads that two thread blocks of a cluster do together.
    shared: FxHashSet<Inst>,
    /// Which of the two this is, where there are such loads.
    rank: Option<Value>,
    /// The warning that there are fewer slots than were asked for.
    fewer: Option<Remark>,
    /// There are products of warps beside those of warpgroups.
    of_warps: bool,
}

impl Plan {
    fn of(func: &Function, warps: u32, context: &PassContext) -> Option<Plan> {
        if warps > MOST_WARPS {
            return None;
        }
        let facts = Facts::of(func).with_fitting_tensors(context.fits_32_bit);
        let staged = staged_loads(func, &facts, warps);
        let mut grids = false;
        func.walk(|_, inst| grids |= matches!(func.insts[inst], InstData::GridSync));
        if grids {
            return None;
        }
        let mut groups: Vec<Group> = Vec::new();
        collect(func, func.body, None, &staged, &facts, &mut groups);
        // Rows that take a stage from their loops, or that the producer cannot find, are loaded by who needs them.
        let with_rows = rows::joined(func, &facts, &groups).and_then(|groups| Plan::with(func, groups, context));
        with_rows.filter(|plan| plan.fewer.is_none()).or_else(|| Plan::with(func, groups, context))
    }

    /// The plan for these groups.
    fn with(func: &Function, mut groups: Vec<Group>, context: &PassContext) -> Option<Plan> {
        let of_load: FxHashMap<Inst, usize> =
            groups.iter().enumerate().flat_map(|(g, group)| group.loads.iter().map(move |&(load, _)| (load, g))).collect();
        let mut needed = producer::slice(func, &of_load)?;
        let (shared, rank) = cluster::shared_loads(func, &groups);
        needed.extend(rank.and_then(|value| func.def_inst(value)));
        let most = groups.iter().map(|g| g.slots).max().filter(|_| groups.iter().any(|g| g.looped))?;
        let fitting = (1..=most).rev().find(|&slots| {
            let bytes: u32 = groups.iter().map(|g| g.bytes * g.slots.min(slots)).sum();
            bytes <= context.ring_bytes
        })?;
        // One slot, where more were asked for, would have each role wait for the other all the time.
        if fitting == 1 && most > 1 {
            return None;
        }
        let fewer = Plan::fewer(func, &groups, fitting, context.ring_bytes);
        for group in &mut groups {
            group.slots = group.slots.min(fitting);
        }
        let mut of_warps = false;
        func.walk(|_, inst| of_warps |= matches!(func.insts[inst], InstData::Dot { .. }));
        Some(Plan { groups, of_load, needed, shared, rank, fewer, of_warps })
    }

    /// The warning for the largest loads of which there are fewer slots than were asked for, in words of a stage: what has as many slots.
    fn fewer(func: &Function, groups: &[Group], fitting: u32, room: u32) -> Option<Remark> {
        let asked = groups.iter().map(|group| group.slots).max()?;
        let (ringed, once): (Vec<&Group>, Vec<&Group>) = groups.iter().partition(|group| group.slots == asked);
        let bytes = ringed.iter().map(|group| group.bytes).sum();
        let others: u32 = once.iter().map(|group| group.bytes * group.slots.min(fitting)).sum();
        let largest = ringed.iter().max_by_key(|group| group.bytes)?;
        // Without anybody asking there are as many as fit.
        let mut said = func.schedule.stages.is_some();
        func.walk(|_, inst| said |= matches!(&func.insts[inst], InstData::For { attrs, .. } if attrs.stages.is_some()));
        fewer_stages(said.then_some(asked), fitting, bytes, room.saturating_sub(others), func.locs[largest.loads[0].0])
    }

    /// Two thread blocks fill a group's slots together.
    fn shares(&self, group: &Group) -> bool {
        group.loads.iter().any(|(load, _)| self.shared.contains(load))
    }

    /// Groups with a load in `inst`'s blocks.
    fn groups_in(&self, func: &Function, inst: Inst) -> Vec<usize> {
        let mut found = vec![false; self.groups.len()];
        for block in func.insts[inst].blocks() {
            self.mark(func, block, &mut found);
        }
        (0..found.len()).filter(|&g| found[g]).collect()
    }

    fn mark(&self, func: &Function, block: Block, found: &mut [bool]) {
        for &inst in &func.blocks[block].insts {
            if let Some(&group) = self.of_load.get(&inst) {
                found[group] = true;
            }
            for inner in func.insts[inst].blocks() {
                self.mark(func, inner, found);
            }
        }
    }
}

/// Groups the loads of a block, and of those in it, that the engine can do. `stages`: in a loop, the slots that it asks for.
fn collect(func: &Function, block: Block, stages: Option<u32>, staged: &Staged, facts: &Facts, groups: &mut Vec<Group>) {
    let mut here: Vec<Group> = Vec::new();
    for &inst in &func.blocks[block].insts {
        let data = &func.insts[inst];
        if let Some(&(layout, for_groups)) = staged.get(&inst)
            && let InstData::Load { place, mask: None, other: None, .. } = data
            && for_groups
            && is_mapped(func, facts, inst, place, layout)
        {
            let release = last_use(func, block, inst);
            let bytes = slot_bytes(func, inst, layout);
            match here.iter_mut().find(|group| group.release == release) {
                Some(group) => {
                    group.loads.push((inst, layout));
                    group.bytes += bytes;
                }
                None => {
                    // What a whole loop uses is not loaded often enough to be ahead of it.
                    let ahead = stages.filter(|_| func.insts[release].blocks().is_empty());
                    let (looped, slots) = (stages.is_some(), ahead.unwrap_or(1));
                    here.push(Group { loads: vec![(inst, layout)], block, release, looped, slots, bytes });
                }
            }
        }
        let inside = match data {
            InstData::For { attrs, .. } => Some(attrs.stages.or(func.schedule.stages).unwrap_or(STAGES).max(1)),
            InstData::While { .. } => Some(1),
            _ => stages,
        };
        for inner in data.blocks() {
            collect(func, inner, inside, staged, facts, groups);
        }
    }
    groups.append(&mut here);
}

fn is_mapped(func: &Function, facts: &Facts, load: Inst, place: &Place, layout: LayoutId) -> bool {
    let ty = func.ty(func.result(load)).with_layout(Some(layout));
    tensor_boxes(func, place, ty).is_some_and(|boxes| mappable(func, facts, place, &boxes))
}

/// The instruction of `block` after which nothing reads what `load` loads: a product's wait, or what the products are in.
fn last_use(func: &Function, block: Block, load: Inst) -> Inst {
    let mut related: FxHashSet<Value> = FxHashSet::default();
    related.insert(func.result(load));
    let mut last = load;
    for &inst in &func.blocks[block].insts {
        if mentions(func, inst, &mut related) {
            last = inst;
            // Whoever waits for the product waits for its reads.
            if let InstData::DotStart { .. } = func.insts[inst] {
                related.insert(func.result(inst));
            }
        }
    }
    last
}

/// Whether an instruction, or one in its blocks, uses one of `related`, which grows by what is the same tile.
fn mentions(func: &Function, inst: Inst, related: &mut FxHashSet<Value>) -> bool {
    let data = &func.insts[inst];
    let mut found = data.operands().iter().any(|v| related.contains(v));
    // Beyond its wait a product is no matter of the slot.
    found &= !matches!(data, InstData::DotStart { a, b, .. } if !related.contains(a) && !related.contains(b));
    if found && let InstData::Permute { .. } = data {
        related.insert(func.result(inst));
    }
    for block in data.blocks() {
        for &inner in &func.blocks[block].insts {
            found |= mentions(func, inner, related);
        }
    }
    found
}

/// Where a role is in a ring: the slot it comes to next (i32), and the parity of the phase it waits for there (i32).
#[derive(Clone, Copy, Debug)]
struct Cursor {
    slot: Value,
    phase: Value,
}

impl Cursor {
    /// The next slot: from the last one to the first, where the phase changes.
    fn next(self, func: &mut Function, slots: u32, new: &mut Vec<Inst>, loc: SrcLoc) -> Cursor {
        let ty = slot_type();
        let (zero, one) = (constant(func, 0, ty, new), constant(func, 1, ty, new));
        if slots == 1 {
            return Cursor { slot: self.slot, phase: binary(func, BinaryOp::Xor, self.phase, one, new, loc) };
        }
        if slots == 2 {
            // The phase changes behind slot 1.
            let slot = binary(func, BinaryOp::Xor, self.slot, one, new, loc);
            return Cursor { slot, phase: binary(func, BinaryOp::Xor, self.phase, self.slot, new, loc) };
        }
        let last = constant(func, i64::from(slots - 1), ty, new);
        let wraps = compare(func, CmpOp::Eq, self.slot, last, new, loc);
        let above = binary(func, BinaryOp::Add, self.slot, one, new, loc);
        let slot = func.make_inst(InstData::Select { cond: wraps, a: zero, b: above }, &[ty], loc);
        let flips = func.make_inst(InstData::Cast { arg: wraps }, &[ty], loc);
        new.extend([slot, flips]);
        let phase = binary(func, BinaryOp::Xor, self.phase, func.result(flips), new, loc);
        Cursor { slot: func.result(slot), phase }
    }

    /// The values a loop or condition carries.
    fn values(self) -> [Value; 2] {
        [self.slot, self.phase]
    }
}

fn slot_type() -> Type {
    Type::scalar(ScalarType::I32)
}

/// A group's rings and barriers.
struct Made {
    /// A ring for each load, in order.
    rings: Vec<Value>,
    full: Value,
    empty: Value,
}

fn split(func: &mut Function, plan: Plan, turns: Option<ping_pong::Turns>, warps: u32) {
    let old = std::mem::take(&mut func.blocks[func.body].insts);
    let mut new = Vec::new();
    let loc = plan.groups[0].loads.first().map_or(SrcLoc::UNKNOWN, |&(load, _)| func.locs[load]);
    // What both roles compute alike stands before them.
    let (shared, rest): (Vec<Inst>, Vec<Inst>) = old.into_iter().partition(|inst| plan.needed.contains(inst));
    new.extend(shared);
    let made: Vec<Made> =
        plan.groups.iter().map(|group| make(func, group, if plan.shares(group) { 2 * warps } else { warps }, &mut new)).collect();
    let turn = turns.is_some().then(|| {
        let made = func.make_inst(InstData::BarrierNew { count: 2, arrivals: warps }, &[slot_type()], loc);
        new.push(made);
        func.result(made)
    });
    let is_producer = func.make_inst(InstData::IsProducer, &[Type::bool()], loc);
    new.push(is_producer);
    let zero = constant(func, 0, slot_type(), &mut new);
    let one = constant(func, 1, slot_type(), &mut new);
    let consumer = func.add_block();
    func.blocks[consumer].insts = rest;
    let yielding = func.make_inst(InstData::Yield { args: Default::default() }, &[], loc);
    let producer = producer::block(func, &plan, &made, consumer, Cursor { slot: zero, phase: one });
    func.blocks[producer].insts.push(yielding);
    consumer::block(func, &plan, &made, consumer, Cursor { slot: zero, phase: zero });
    if let (Some(turns), Some(turn)) = (turns, turn) {
        turns.take(func, &plan, consumer, turn);
    }
    let cond = func.result(is_producer);
    new.push(func.make_inst(InstData::If { cond, then: producer, otherwise: consumer }, &[], loc));
    new.push(func.make_inst(InstData::Yield { args: Default::default() }, &[], loc));
    func.blocks[func.body].insts = new;
}

fn make(func: &mut Function, group: &Group, readers: u32, new: &mut Vec<Inst>) -> Made {
    let mut rings = Vec::new();
    for &(load, layout) in &group.loads {
        let ty = func.ty(func.result(load)).with_layout(Some(layout));
        let ring = func.make_inst(InstData::RingNew { slots: group.slots }, &[ty], func.locs[load]);
        new.push(ring);
        rings.push(func.result(ring));
    }
    let loc = func.locs[group.loads[0].0];
    let [full, empty] = [1, readers].map(|arrivals| {
        let made = func.make_inst(InstData::BarrierNew { count: group.slots, arrivals }, &[slot_type()], loc);
        new.push(made);
        func.result(made)
    });
    Made { rings, full, empty }
}
