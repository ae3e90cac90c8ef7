//! The producer's part of a kernel: a copy of the loops and conditions around the loads, and what those depend on.

use kiln_ir::{Block, Function, Inst, InstData, ScalarType, SrcLoc, Value};
use rustc_hash::{FxHashMap, FxHashSet};
use smallvec::SmallVec;

use super::{Cursor, Made, Plan, slot_type};
use crate::analysis::memory::{Writes, root};
use crate::clone::Cloner;
use crate::gpu::rules::{Kind, kind};

/// What the loads in `of_load`, and the loops and conditions around them, depend on. None where that is more than scalars that every thread can
/// compute: what loops carry, results of loops, memory that the kernel writes.
pub(super) fn slice(func: &Function, of_load: &FxHashMap<Inst, usize>) -> Option<FxHashSet<Inst>> {
    let mut writes = Writes::default();
    writes.add_block(func, func.body);
    let mut todo: Vec<Value> = of_load.keys().flat_map(|&load| func.insts[load].operands()).collect();
    if !around(func, func.body, of_load, &mut todo)? {
        return None;
    }
    let mut needed: FxHashSet<Inst> = FxHashSet::default();
    while let Some(value) = todo.pop() {
        let Some(inst) = func.def_inst(value) else {
            if !is_counter_or_parameter(func, value) {
                return None;
            }
            continue;
        };
        let data = &func.insts[inst];
        let ty = func.ty(value);
        let plain = ty.is_view() || ty.is_scalar();
        let repeatable = match data {
            InstData::Load { place, .. } => !writes.may_change(func, root(func, place)),
            _ => {
                matches!(kind(data), Kind::Flexible | Kind::Elementwise | Kind::Shape | Kind::Control)
                    && data.own_effects().is_pure()
                    && data.blocks().is_empty()
            }
        };
        if !plain || !repeatable {
            return None;
        }
        if needed.insert(inst) {
            todo.extend(data.operands());
        }
    }
    Some(needed)
}

/// Adds what loops and conditions around loads depend on. Whether there are loads in `block`; None where they are in a `while`.
fn around(func: &Function, block: Block, of_load: &FxHashMap<Inst, usize>, todo: &mut Vec<Value>) -> Option<bool> {
    let mut any = false;
    for &inst in &func.blocks[block].insts {
        any |= of_load.contains_key(&inst);
        let data = &func.insts[inst];
        let mut inside = false;
        for inner in data.blocks() {
            inside |= around(func, inner, of_load, todo)?;
        }
        if inside {
            match *data {
                InstData::For { lo, hi, step, .. } => todo.extend([lo, hi, step]),
                InstData::If { cond, .. } => todo.push(cond),
                _ => return None,
            }
        }
        any |= inside;
    }
    Some(any)
}

/// A parameter of the kernel, or what a `for` counts.
fn is_counter_or_parameter(func: &Function, value: Value) -> bool {
    let kiln_ir::ValueDef::Param(block, number) = func.values[value].def else { return false };
    let mut counts = block == func.body;
    func.walk(|_, inst| {
        if let InstData::For { body, .. } = func.insts[inst] {
            counts |= body == block && number == 0;
        }
    });
    counts
}

/// The producer's block, made of `from`; it has no `Yield` yet.
pub(super) fn block(func: &mut Function, plan: &Plan, made: &[Made], from: Block, start: Cursor) -> Block {
    let mut cursors = vec![start; plan.groups.len()];
    let mut writer = Producer { plan, made, map: FxHashMap::default() };
    let insts = writer.insts(func, from, &mut cursors);
    let block = func.add_block();
    func.blocks[block].insts = insts;
    block
}

struct Producer<'p> {
    plan: &'p Plan,
    made: &'p [Made],
    /// Values of the original and what they are in the copy.
    map: FxHashMap<Value, Value>,
}

impl Producer<'_> {
    fn value(&self, value: Value) -> Value {
        self.map.get(&value).copied().unwrap_or(value)
    }

    /// What becomes of the instructions of `from`.
    fn insts(&mut self, func: &mut Function, from: Block, cursors: &mut [Cursor]) -> Vec<Inst> {
        let mut new = Vec::new();
        for inst in func.blocks[from].insts.clone() {
            if let Some(&group) = self.plan.of_load.get(&inst) {
                // All that share a slot are filled together, where the last one stands.
                if self.plan.groups[group].loads.last().is_some_and(|&(last, _)| last == inst) {
                    cursors[group] = self.fill(func, group, cursors[group], &mut new);
                }
                continue;
            }
            if self.plan.needed.contains(&inst) {
                let mut cloner = Cloner { src: None, dst: func, map: std::mem::take(&mut self.map) };
                let copy = cloner.inst(inst);
                self.map = cloner.map;
                new.push(copy);
                continue;
            }
            let inside = self.plan.groups_in(func, inst);
            if inside.is_empty() {
                continue;
            }
            let loc = func.locs[inst];
            let copy = match func.insts[inst].clone() {
                InstData::For { lo, hi, step, rev, body, attrs, .. } => {
                    let copy = func.add_block();
                    let counter = func.blocks[body].params[0];
                    let own = func.add_block_param(copy, func.ty(counter), func.values[counter].name.clone());
                    self.map.insert(counter, own);
                    let init: SmallVec<_> = inside.iter().flat_map(|&g| cursors[g].values()).collect();
                    for &g in &inside {
                        let [slot, phase] = [(); 2].map(|()| func.add_block_param(copy, slot_type(), None));
                        cursors[g] = Cursor { slot, phase };
                    }
                    let mut insts = self.insts(func, body, cursors);
                    insts.push(yielded(func, &inside, cursors, loc));
                    func.blocks[copy].insts = insts;
                    let (lo, hi, step) = (self.value(lo), self.value(hi), self.value(step));
                    InstData::For { lo, hi, step, rev, init, body: copy, attrs }
                }
                InstData::If { cond, then, otherwise } => {
                    let before = cursors.to_vec();
                    let [then, otherwise] = [then, otherwise].map(|side| {
                        cursors.copy_from_slice(&before);
                        let mut insts = self.insts(func, side, cursors);
                        insts.push(yielded(func, &inside, cursors, loc));
                        let copy = func.add_block();
                        func.blocks[copy].insts = insts;
                        copy
                    });
                    InstData::If { cond: self.value(cond), then, otherwise }
                }
                other => unreachable!("the slice has no loads in {other:?}"),
            };
            let types = vec![slot_type(); 2 * inside.len()];
            let copy = func.make_inst(copy, &types, loc);
            let results = func.results_of(copy);
            for (number, &g) in inside.iter().enumerate() {
                cursors[g] = Cursor { slot: results[2 * number], phase: results[2 * number + 1] };
            }
            new.push(copy);
        }
        new
    }

    /// Fills a slot of a group as soon as it is empty.
    fn fill(&self, func: &mut Function, number: usize, at: Cursor, new: &mut Vec<Inst>) -> Cursor {
        let (group, made) = (&self.plan.groups[number], &self.made[number]);
        let loc = func.locs[group.loads[0].0];
        let Cursor { slot, phase } = at;
        new.push(func.make_inst(InstData::BarrierWait { barrier: made.empty, slot, phase }, &[], loc));
        let announced = InstData::BarrierExpect { barrier: made.full, slot, bytes: group.bytes };
        new.push(func.make_inst(announced, &[], loc));
        for (&(load, _), &ring) in group.loads.iter().zip(&made.rings) {
            let InstData::Load { place, .. } = func.insts[load].clone() else { unreachable!("a group is of loads") };
            let share = self.plan.rank.filter(|_| self.plan.shared.contains(&load));
            // The only products of f32 that warpgroups run are those of tf32; what joined their slots is as it is.
            let tf32 = func.ty(ring).scalar_elem() == Some(ScalarType::F32) && func.ty(ring).rank() == 2;
            let mut data = InstData::TmaFill { place, ring, slot, barrier: made.full, share, tf32 };
            let own = [Some(ring), Some(slot), Some(made.full), share];
            data.visit_operands_mut(|v| {
                if !own.contains(&Some(*v)) {
                    *v = self.value(*v);
                }
            });
            new.push(func.make_inst(data, &[], func.locs[load]));
        }
        at.next(func, group.slots, new, loc)
    }
}

/// The end of a block that hands cursors on.
fn yielded(func: &mut Function, groups: &[usize], cursors: &[Cursor], loc: SrcLoc) -> Inst {
    let args = groups.iter().flat_map(|&g| cursors[g].values()).collect();
    func.make_inst(InstData::Yield { args }, &[], loc)
}
