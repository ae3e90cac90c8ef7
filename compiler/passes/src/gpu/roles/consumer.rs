//! The consumers' part of a kernel: loads become waits and reads of slots, and slots are freed.
//!
//! Where a loop has one product, whose sum it carries and nothing else uses, the product stays under way while the next trip starts its own
//! (at most one more): a trip then frees the slot of the trip before, and what the loop gives is waited for behind it.
//!
//! ```text
//! before: %r = for .. init [%z] (.., %c) {           after: %t = for .. init [%z, 0] (.., %c, %before) {
//!             barrier_wait %full, %slot, %phase                 barrier_wait %full, %slot, %phase
//!             %t = dot_start .. acc %c                          %s = dot_start .. acc %c
//!             %s = dot_wait 0 of %t                             dot_wait 1
//!             barrier_arrive %empty, %slot                      barrier_arrive %empty, %before if (not the first trip)
//!             yield %s                                          yield %s, %slot
//!         }                                                 }
//!                                                           %r = dot_wait 0 of %t    barrier_arrive %empty, .. if (there was a trip)
//! ```

use kiln_ir::ops::CmpOp;
use kiln_ir::{Block, Function, Inst, InstData, SrcLoc, Type, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{Cursor, Made, Plan, slot_type};
use crate::gpu::stage::{compare, constant};

/// Rewrites the consumers' block.
pub(super) fn block(func: &mut Function, plan: &Plan, made: &[Made], block: Block, start: Cursor) {
    let mut cursors = vec![start; plan.groups.len()];
    Consumer { plan, made, flight: None }.block(func, block, &mut cursors);
}

/// A product that stays under way from one trip of its loop to the next.
#[derive(Clone, Copy, Debug)]
struct Flight {
    start: Inst,
    wait: Inst,
    /// Which of the carried values it is.
    carried: usize,
    group: usize,
    /// The slot of the trip before.
    before: Value,
    /// There was a trip before.
    again: Value,
}

struct Consumer<'p> {
    plan: &'p Plan,
    made: &'p [Made],
    /// That of the loop whose body is being rewritten.
    flight: Option<Flight>,
}

impl Consumer<'_> {
    fn block(&mut self, func: &mut Function, block: Block, cursors: &mut [Cursor]) {
        let old = std::mem::take(&mut func.blocks[block].insts);
        let mut new = Vec::with_capacity(old.len());
        // Tiles that are loaded here and not waited for yet, as they are and with their axes exchanged, by group.
        let mut unread: FxHashMap<Value, usize> = FxHashMap::default();
        let mut later: Vec<(Inst, usize)> = Vec::new();
        // Tiles of one axis that nothing has used yet, and groups whose slots were waited for.
        let mut rows: Vec<(Inst, usize)> = Vec::new();
        let mut ready: FxHashSet<usize> = FxHashSet::default();
        for inst in old {
            if let Some(&group) = self.plan.of_load.get(&inst) {
                if is_row(func, inst) {
                    rows.push((inst, group));
                }
                if !ready.contains(&group) {
                    unread.insert(func.result(inst), group);
                }
                continue;
            }
            if let InstData::Permute { arg, .. } = func.insts[inst]
                && let Some(&group) = unread.get(&arg)
            {
                unread.insert(func.result(inst), group);
                later.push((inst, group));
                continue;
            }
            let mut used = Vec::new();
            uses(func, inst, &unread, &mut used);
            used.sort_unstable();
            used.dedup();
            for group in used {
                self.read(func, group, cursors[group], &mut new);
                ready.insert(group);
                unread.retain(|_, of| *of != group);
                new.extend(later.extract_if(.., |(_, of)| *of == group).map(|(permute, _)| permute));
            }
            let used: Vec<(Inst, usize)> = rows.extract_if(.., |(load, _)| reads(func, inst, func.result(*load))).collect();
            for (load, group) in used {
                self.read_row(func, load, group, cursors[group], &mut new);
            }
            let loc = func.locs[inst];
            if let Some(mut flight) = self.flight
                && flight.wait == inst
            {
                let (started, waited) = (func.result(flight.start), func.result(inst));
                func.replace_uses(waited, started);
                new.push(func.make_inst(InstData::DotWait { arg: None, pending: 1 }, &[], loc));
                self.free(func, flight.group, flight.before, Some(flight.again), &mut new, loc);
                let at = &mut cursors[flight.group];
                flight.before = at.slot;
                *at = at.next(func, self.plan.groups[flight.group].slots, &mut new, loc);
                self.flight = Some(flight);
                continue;
            }
            if self.plan.groups_in(func, inst).is_empty() {
                new.push(inst);
            } else {
                self.control(func, inst, cursors, &mut new);
            }
            for (group, of) in self.plan.groups.iter().enumerate() {
                if of.release == inst {
                    self.free(func, group, cursors[group].slot, None, &mut new, loc);
                    cursors[group] = cursors[group].next(func, of.slots, &mut new, loc);
                }
            }
        }
        func.blocks[block].insts = new;
    }

    /// Reads a tile of one axis into registers, where it is used first: it would only be in them for longer.
    fn read_row(&self, func: &mut Function, load: Inst, group: usize, at: Cursor, new: &mut Vec<Inst>) {
        let number = self.plan.groups[group].loads.iter().position(|&(of, _)| of == load).expect("a load of the group");
        let (row, ty) = (func.result(load), func.ty(func.result(load)));
        let data = InstData::RingRead { ring: self.made[group].rings[number], slot: at.slot };
        let read = func.make_inst(data, &[ty], func.locs[load]);
        new.push(read);
        let tile = func.result(read);
        func.replace_uses(row, tile);
    }

    /// Waits for a slot and reads its tiles of two axes.
    fn read(&self, func: &mut Function, number: usize, at: Cursor, new: &mut Vec<Inst>) {
        let (group, made) = (&self.plan.groups[number], &self.made[number]);
        let loc = func.locs[group.loads[0].0];
        new.push(func.make_inst(InstData::BarrierWait { barrier: made.full, slot: at.slot, phase: at.phase }, &[], loc));
        for (&(load, _), &ring) in group.loads.iter().zip(&made.rings) {
            if is_row(func, load) {
                continue;
            }
            let ty = func.ty(ring);
            let read = func.make_inst(InstData::RingRead { ring, slot: at.slot }, &[ty], func.locs[load]);
            new.push(read);
            let (tile, loaded) = (func.result(read), func.result(load));
            func.replace_uses(loaded, tile);
        }
    }

    fn free(&self, func: &mut Function, group: usize, slot: Value, enable: Option<Value>, new: &mut Vec<Inst>, loc: SrcLoc) {
        let (barrier, cluster) = (self.made[group].empty, self.plan.shares(&self.plan.groups[group]));
        new.push(func.make_inst(InstData::BarrierArrive { barrier, slot, enable, cluster }, &[], loc));
    }

    /// A loop or condition with loads: it carries the cursors of their groups.
    fn control(&mut self, func: &mut Function, inst: Inst, cursors: &mut [Cursor], new: &mut Vec<Inst>) {
        let inside = self.plan.groups_in(func, inst);
        let loc = func.locs[inst];
        let outer = self.flight.take();
        let mut data = func.insts[inst].clone();
        let mut types: Vec<Type> = func.results_of(inst).iter().map(|&v| func.ty(v)).collect();
        let first = types.len();
        types.extend(vec![slot_type(); 2 * inside.len()]);
        let mut flight = None;
        match &mut data {
            InstData::For { lo, init, body, .. } => {
                let body = *body;
                init.extend(inside.iter().flat_map(|&g| cursors[g].values()));
                for &g in &inside {
                    let [slot, phase] = [(); 2].map(|()| func.add_block_param(body, slot_type(), None));
                    cursors[g] = Cursor { slot, phase };
                }
                let mut head = Vec::new();
                if let Some((start, wait, carried, group)) = flying(func, self.plan, inst) {
                    init.push(constant(func, 0, slot_type(), new));
                    types.push(slot_type());
                    let before = func.add_block_param(body, slot_type(), None);
                    let counter = func.blocks[body].params[0];
                    let again = compare(func, CmpOp::Ne, counter, *lo, &mut head, loc);
                    self.flight = Some(Flight { start, wait, carried, group, before, again });
                }
                self.block(func, body, cursors);
                flight = self.flight.take();
                extend_yield(func, body, &inside, cursors, flight.map(|f| f.before));
                func.blocks[body].insts.splice(0..0, head);
            }
            InstData::If { then, otherwise, .. } => {
                let before = cursors.to_vec();
                for side in [*then, *otherwise] {
                    cursors.copy_from_slice(&before);
                    self.block(func, side, cursors);
                    extend_yield(func, side, &inside, cursors, None);
                }
            }
            other => unreachable!("the slice has no loads in {other:?}"),
        }
        self.flight = outer;
        let bounds = match data {
            InstData::For { lo, hi, .. } => Some((lo, hi)),
            _ => None,
        };
        let made = func.make_inst(data, &types, loc);
        let results: Vec<Value> = func.results_of(made).to_vec();
        let renamed = func.results_of(inst).iter().copied().zip(results.iter().copied()).collect();
        func.replace_all(&renamed);
        for (number, &g) in inside.iter().enumerate() {
            cursors[g] = Cursor { slot: results[first + 2 * number], phase: results[first + 2 * number + 1] };
        }
        new.push(made);
        if let (Some(flight), Some((lo, hi))) = (flight, bounds) {
            let result = results[flight.carried];
            let ty = func.ty(result);
            let wait = func.make_inst(InstData::DotWait { arg: None, pending: 0 }, &[ty], loc);
            let done = func.result(wait);
            func.replace_uses(result, done);
            func.insts[wait] = InstData::DotWait { arg: Some(result), pending: 0 };
            new.push(wait);
            let ran = compare(func, CmpOp::Lt, lo, hi, new, loc);
            let last = *results.last().expect("the slot of the last trip");
            self.free(func, flight.group, last, Some(ran), new, loc);
        }
    }
}

/// The product of a loop that may stay under way: the only one in it, its sum is what the loop carries from one trip to the next and nothing else uses
/// it, its operands are tiles of slots, of which there is one more than it holds. Its start and wait, the number of the carried
/// value, and its group.
fn flying(func: &Function, plan: &Plan, inst: Inst) -> Option<(Inst, Inst, usize, usize)> {
    let InstData::For { rev: false, body, .. } = func.insts[inst] else { return None };
    let mut starts = Vec::new();
    products(func, body, &mut starts);
    let &[start] = starts.as_slice() else { return None };
    // A product of warps may give the sum, or go on with it, in registers of its own: they would be exchanged while the sum is under way.
    if plan.of_warps {
        return None;
    }
    let here = &func.blocks[body].insts;
    let InstData::DotStart { a, b, acc: Some(acc), .. } = func.insts[start] else { return None };
    let sum = func.result(start);
    let wait = *here.iter().find(|&&i| matches!(func.insts[i], InstData::DotWait { arg: Some(arg), .. } if arg == sum))?;
    let done = func.result(wait);
    let carried = func.yielded(body).iter().position(|&v| v == done)?;
    if func.blocks[body].params.get(carried + 1) != Some(&acc) || users(func, body, done) != 1 || users(func, body, acc) != 1 {
        return None;
    }
    let group = plan.groups.iter().position(|g| g.release == wait && g.block == body && g.slots >= 2)?;
    (from_slot(func, plan, a) && from_slot(func, plan, b)).then_some((start, wait, carried, group))
}

fn products(func: &Function, block: Block, starts: &mut Vec<Inst>) {
    for &inst in &func.blocks[block].insts {
        if let InstData::DotStart { .. } = func.insts[inst] {
            starts.push(inst);
        }
        for inner in func.insts[inst].blocks() {
            products(func, inner, starts);
        }
    }
}

/// Whether a tile lies in a slot: it is loaded by the producer, or was read from a ring already.
fn from_slot(func: &Function, plan: &Plan, mut value: Value) -> bool {
    while let Some(inst) = func.def_inst(value) {
        match func.insts[inst] {
            InstData::Permute { arg, .. } => value = arg,
            InstData::RingRead { .. } => return true,
            _ => return plan.of_load.contains_key(&inst),
        }
    }
    false
}

/// Number of uses of a value of a block, in it.
fn users(func: &Function, block: Block, value: Value) -> usize {
    let mut count = 0;
    for &inst in &func.blocks[block].insts {
        func.insts[inst].visit_operands(|v| count += usize::from(v == value));
        count += func.insts[inst].blocks().into_iter().map(|inner| users(func, inner, value)).sum::<usize>();
    }
    count
}

/// Whether a load is of a tile of one axis.
fn is_row(func: &Function, load: Inst) -> bool {
    func.ty(func.result(load)).rank() == 1
}

/// Whether an instruction, or one in its blocks, uses a value.
fn reads(func: &Function, inst: Inst, value: Value) -> bool {
    let inside = |block: Block| users(func, block, value) > 0;
    func.insts[inst].operands().contains(&value) || func.insts[inst].blocks().into_iter().any(inside)
}

/// The groups of unread tiles that an instruction, or one in its blocks, uses.
fn uses(func: &Function, inst: Inst, unread: &FxHashMap<Value, usize>, found: &mut Vec<usize>) {
    func.insts[inst].visit_operands(|v| found.extend(unread.get(&v)));
    for block in func.insts[inst].blocks() {
        for &inner in &func.blocks[block].insts {
            uses(func, inner, unread, found);
        }
    }
}

/// Hands cursors on at the end of a block.
fn extend_yield(func: &mut Function, block: Block, groups: &[usize], cursors: &[Cursor], more: Option<Value>) {
    let last = *func.blocks[block].insts.last().expect("a block ends in a yield");
    if let InstData::Yield { args } = &mut func.insts[last] {
        args.extend(groups.iter().flat_map(|&g| cursors[g].values()).chain(more));
    }
}
