//! Which sweep over the axis does what.
//!
//! A reduction's result is there after the sweep that folds it, so what depends on it belongs to a later sweep; what a later sweep needs of an earlier one
//! (loads, and what is computed from them) it does again. Instructions that touch memory keep their order wherever they may touch the same of it: a
//! slice may be written in the sweep that reads it when both accesses are at one place, else the write waits for a sweep of its own. A load is repeated
//! only where nothing was written to its memory in between.

use kiln_ir::{Function, Inst, InstData, Place, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use super::axis::Form;
use super::combine::combines;
use super::group::Group;
use crate::analysis::memory::{Root, Writes, root};

/// More sweeps than this are not worth having.
const MAX_SWEEPS: u32 = 8;

/// What one instruction of the block does to memory.
struct Touches {
    writes: Writes,
    reads: Vec<Root>,
    /// Its place, where it is one access.
    place: Option<Place>,
}

/// An instruction of the block and when it runs: in sweep number `time` when it is sliced, else in front of that sweep.
struct Node {
    inst: Inst,
    sliced: bool,
    time: u32,
    /// The last sweep that computes it (sliced ones).
    last: u32,
    touches: Option<Touches>,
}

/// One sweep: its instructions in order.
#[derive(Clone, Default, Debug)]
pub(super) struct Sweep {
    /// Instructions of the block or from outside of it, each after what it uses.
    pub insts: Vec<Inst>,
}

/// The sweeps over a group's axis.
#[derive(Debug)]
pub(super) struct Plan {
    /// In order.
    pub sweeps: Vec<Sweep>,
    /// Instructions of the block that are not sliced, and the number of the sweep they stand in front of.
    pub uniform: Vec<(Inst, u32)>,
}

impl Plan {
    /// Plans the sweeps; None where there is no order that keeps the meaning.
    pub fn new(func: &Function, group: &Group) -> Option<Plan> {
        let mut nodes = nodes(func, group)?;
        let at: FxHashMap<Inst, usize> = nodes.iter().enumerate().map(|(i, node)| (node.inst, i)).collect();
        let order = walk_order(func);
        loop {
            let moved = times(func, group, &mut nodes, &at);
            if nodes.iter().any(|node| node.time > MAX_SWEEPS) {
                return None;
            }
            let sweeps = sweeps(func, group, &nodes, &at, &order)?;
            let mut later = false;
            for (number, sweep) in sweeps.iter().enumerate() {
                for node in sweep.insts.iter().filter_map(|inst| at.get(inst)) {
                    later |= nodes[*node].last < number as u32;
                    nodes[*node].last = nodes[*node].last.max(number as u32);
                }
            }
            if !moved && !later {
                let uniform = nodes.iter().filter(|node| !node.sliced).map(|node| (node.inst, node.time)).collect();
                return Some(Plan { sweeps, uniform });
            }
        }
    }
}

fn nodes(func: &Function, group: &Group) -> Option<Vec<Node>> {
    let everywhere = {
        let mut writes = Writes::default();
        writes.add_block(func, func.body);
        writes
    };
    // What is computed again from outside of the block must be what it was.
    for &inst in group.rules.keys().filter(|inst| !group.home.contains_key(inst)) {
        if let InstData::Load { place, .. } = &func.insts[inst]
            && everywhere.may_change(func, root(func, place))
        {
            return None;
        }
    }
    let insts = &func.blocks[group.block].insts;
    let nodes: Vec<Node> = insts[..insts.len() - 1]
        .iter()
        .map(|&inst| Node { inst, sliced: group.is_member(func, inst), time: 0, last: 0, touches: touches(func, inst) })
        .collect();
    let possible =
        nodes.iter().filter(|node| node.sliced).all(|node| match (&func.insts[node.inst], group.rules.get(&node.inst)) {
            (InstData::Reduce { combine, .. }, Some(rule)) if rule.form == Form::Fold => combines(func, *combine),
            (InstData::Scan { combine, .. }, Some(rule)) if rule.form == Form::Scan => combines(func, *combine),
            _ => true,
        });
    possible.then_some(nodes)
}

fn touches(func: &Function, inst: Inst) -> Option<Touches> {
    let writes = Writes::of_inst(func, inst);
    let mut reads = Vec::new();
    reading(func, inst, &mut reads);
    if writes.is_empty() && reads.is_empty() {
        return None;
    }
    let place = match &func.insts[inst] {
        InstData::Load { place, .. }
        | InstData::Store { place, .. }
        | InstData::AtomicRmw { place, .. }
        | InstData::AtomicCas { place, .. }
        | InstData::AtomicLoad { place, .. }
        | InstData::AtomicStore { place, .. } => Some(place.clone()),
        _ => None,
    };
    Some(Touches { writes, reads, place })
}

fn reading(func: &Function, inst: Inst, reads: &mut Vec<Root>) {
    match &func.insts[inst] {
        InstData::Load { place, .. }
        | InstData::AtomicRmw { place, .. }
        | InstData::AtomicCas { place, .. }
        | InstData::AtomicLoad { place, .. } => reads.push(root(func, place)),
        InstData::Call { .. } | InstData::GridSync | InstData::InlineAsm { pure_: false, .. } => reads.push(Root::Unknown),
        data => {
            for block in data.blocks() {
                for &inner in &func.blocks[block].insts {
                    reading(func, inner, reads);
                }
            }
        }
    }
}

fn conflict(func: &Function, a: &Touches, b: &Touches) -> bool {
    let changes = |w: &Writes, other: &Touches| other.reads.iter().any(|&r| w.may_change(func, r));
    let both = !a.writes.is_empty() && !b.writes.is_empty();
    let same_written = both
        && (a.writes.anywhere
            || b.writes.anywhere
            || a.writes.others_visible
            || b.writes.others_visible
            || a.writes.tensors.iter().any(|t| b.writes.tensors.contains(t)));
    changes(&a.writes, b) || changes(&b.writes, a) || same_written
}

/// The same elements in the same order, so that a slice of one meets the same slice of the other.
fn same_place(a: &Touches, b: &Touches) -> bool {
    match (&a.place, &b.place) {
        (Some(Place::Ptr(a)), Some(Place::Ptr(b))) => a == b,
        (Some(Place::View(a)), Some(Place::View(b))) => a.view == b.view && a.index == b.index,
        _ => false,
    }
}

/// Calls `f` on what an instruction and the blocks inside it use.
fn reads(func: &Function, inst: Inst, f: &mut impl FnMut(Value)) {
    func.insts[inst].visit_operands(&mut *f);
    for block in func.insts[inst].blocks() {
        for &inner in &func.blocks[block].insts {
            reads(func, inner, f);
        }
    }
}

/// Moves every instruction to the earliest time that what it depends on allows; says whether any moved.
fn times(func: &Function, group: &Group, nodes: &mut [Node], at: &FxHashMap<Inst, usize>) -> bool {
    let mut moved = false;
    for i in 0..nodes.len() {
        let mut time = nodes[i].time;
        reads(func, nodes[i].inst, &mut |value| {
            let Some(&made) = func.def_inst(value).and_then(|inst| at.get(&inst)) else { return };
            let folded = nodes[made].sliced && !group.axis.contains_key(&value);
            time = time.max(nodes[made].time + u32::from(folded));
        });
        for earlier in &nodes[..i] {
            let pinned = |node: &Node| !node.sliced && func.effects(node.inst).pinned;
            if pinned(&nodes[i]) && pinned(earlier) {
                time = time.max(earlier.time);
            }
            let (Some(own), Some(before)) = (&nodes[i].touches, &earlier.touches) else { continue };
            if !conflict(func, own, before) {
                continue;
            }
            time = time.max(match (earlier.sliced, nodes[i].sliced) {
                (true, true) => earlier.last.max(earlier.time) + u32::from(!same_place(own, before)),
                (true, false) => earlier.last.max(earlier.time) + 1,
                (false, _) => earlier.time,
            });
        }
        moved |= time != nodes[i].time;
        nodes[i].time = time;
        nodes[i].last = nodes[i].last.max(time);
        if time > MAX_SWEEPS {
            return true;
        }
    }
    moved
}

/// What each sweep computes: its reductions and effects, and whatever they need. None where it would have to do an effect twice.
fn sweeps(
    func: &Function,
    group: &Group,
    nodes: &[Node],
    at: &FxHashMap<Inst, usize>,
    order: &FxHashMap<Inst, usize>,
) -> Option<Vec<Sweep>> {
    let effect = |inst: Inst| {
        let effects = func.effects(inst);
        effects.writes || effects.pinned
    };
    let wanted = |node: &&Node| {
        let folds = group.rules.get(&node.inst).is_some_and(|rule| matches!(rule.form, Form::Fold | Form::Count));
        node.sliced && (folds || effect(node.inst))
    };
    let count = nodes.iter().filter(wanted).map(|node| node.time + 1).max().unwrap_or(0);
    let mut sweeps = Vec::new();
    for number in 0..count {
        let mut needed: FxHashSet<Inst> = FxHashSet::default();
        let mut work: Vec<Inst> = nodes.iter().filter(wanted).filter(|node| node.time == number).map(|node| node.inst).collect();
        while let Some(inst) = work.pop() {
            if !needed.insert(inst) {
                continue;
            }
            if effect(inst) && at.get(&inst).is_none_or(|&node| nodes[node].time != number) {
                return None;
            }
            reads(func, inst, &mut |value| {
                if let (true, Some(made)) = (group.axis.contains_key(&value), func.def_inst(value)) {
                    let made = group.home.get(&made).copied().unwrap_or(made);
                    if made != inst {
                        work.push(made);
                    }
                }
            });
        }
        let mut insts: Vec<Inst> = needed.into_iter().collect();
        insts.sort_by_key(|inst| order[inst]);
        sweeps.push(Sweep { insts });
    }
    Some(sweeps)
}

/// The number of each instruction in a walk over the function.
fn walk_order(func: &Function) -> FxHashMap<Inst, usize> {
    let mut order = FxHashMap::default();
    func.walk(|_, inst| {
        order.insert(inst, order.len());
    });
    order
}
