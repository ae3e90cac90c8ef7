//! The form of every tile value, in one backward pass: what is recomputed where it is used and what must live in memory.
//!
//! A value is forced into memory where it is defined when an operation needs it in memory (dot operands that are no plain loads, gather tables, sorts), when
//! what it loads may be overwritten before its last use, when it is expensive and used inside a loop it does not belong to, or when broadcasting would
//! evaluate it again for every outer index.

use kiln_ir::{Block, Function, Inst, InstData, Place, SliceIndex, Value, ValueDef};
use rustc_hash::{FxHashMap, FxHashSet};

use super::alias::{Order, place_object};
use super::cost::{CHEAP, own_cost};

/// Where a tile lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// Recomputed per lane group where it is used.
    Inline,
    /// In scratch memory (or a constant table), row-major.
    Buffer,
}

/// Facts about values that planning needs.
pub(crate) struct Analysis {
    /// Forms as forced so far; second-use materialization may still turn `Inline` to `Buffer`.
    pub forms: FxHashMap<Value, Form>,
    /// Cost of computing one lane group again.
    pub cost: FxHashMap<Value, u32>,
    /// Positions of the roots that (transitively, through inline values) read each tile.
    pub uses: FxHashMap<Value, Vec<u32>>,
    /// The block of each instruction.
    pub block_of: FxHashMap<Inst, Block>,
    /// Instructions that use each value.
    pub users: FxHashMap<Value, Vec<Inst>>,
}

/// Whether an instruction can be recomputed lane by lane at its consumers.
pub(crate) fn can_inline(data: &InstData) -> bool {
    use InstData::*;
    matches!(
        data,
        Const { .. }
            | Iota { .. }
            | Unary { .. }
            | Binary { .. }
            | Fma { .. }
            | Cmp { .. }
            | Select { .. }
            | Cast { .. }
            | Bitcast { .. }
            | PtrAdd { .. }
            | Broadcast { .. }
            | ExpandDims { .. }
            | Reshape { .. }
            | Permute { .. }
            | Join { .. }
            | Split { .. }
            | ExtractSlice { .. }
            | Gather { .. }
            | Flip { .. }
            | Load { .. }
    )
}

/// A load from a view without mask whose absent lanes read zero: a dot can read it where it is. Permutations of one count too.
pub(crate) fn is_direct(func: &Function, value: Value) -> bool {
    match func.def_data(value) {
        Some(InstData::Permute { arg, .. }) => is_direct(func, *arg),
        Some(InstData::Load { place: Place::View(access), mask: None, other, .. }) => {
            access.index.iter().all(|i| !matches!(i, SliceIndex::Gather(_))) && other.is_none_or(|o| is_zero(func, o))
        }
        _ => false,
    }
}

/// Whether a value is the constant 0 (positive zero for floats), possibly broadcast.
pub(crate) fn is_zero(func: &Function, value: Value) -> bool {
    match func.def_data(value) {
        Some(InstData::Const { value: kiln_ir::Const::Int(0) }) => true,
        Some(InstData::Const { value: kiln_ir::Const::Float(f) }) => f.to_bits() == 0,
        Some(InstData::Broadcast { arg }) => is_zero(func, *arg),
        _ => false,
    }
}

/// Operands that an instruction needs in memory.
fn memory_operands(func: &Function, inst: Inst) -> Vec<Value> {
    match &func.insts[inst] {
        InstData::Dot { a, b, .. } => [*a, *b].into_iter().filter(|&v| !is_direct(func, v)).collect(),
        InstData::DotScaled { a, a_scale, b, b_scale, .. } => vec![*a, *a_scale, *b, *b_scale],
        InstData::Gather { src, .. } => vec![*src],
        InstData::Sort { args, .. } | InstData::Print { args, .. } | InstData::InlineAsm { args, .. } => args.to_vec(),
        InstData::TopK { arg, .. } => vec![*arg],
        _ => Vec::new(),
    }
}

/// Whether a broadcast evaluates its operand again for an outer index it does not depend on.
fn repeats_outer(func: &Function, inst: Inst) -> Option<Value> {
    let InstData::Broadcast { arg } = &func.insts[inst] else { return None };
    let (from, to) = (func.ty(*arg).shape(), func.ty(func.result(inst)).shape());
    let pad = to.len() - from.len();
    let stretched = (0..to.len()).find(|&i| to[i] > 1 && (i < pad || from[i - pad] == 1))?;
    (stretched + 1..to.len()).any(|j| j >= pad && from[j - pad] > 1).then_some(*arg)
}

/// Analyzes a function.
pub(crate) fn analyze(func: &Function, order: &Order) -> Analysis {
    let mut block_of = FxHashMap::default();
    let mut parents: FxHashMap<Block, (Block, Inst)> = FxHashMap::default();
    let mut users: FxHashMap<Value, Vec<Inst>> = FxHashMap::default();
    let mut insts = Vec::new();
    let mut in_memory: FxHashSet<Value> = FxHashSet::default();
    func.walk(|block, inst| {
        block_of.insert(inst, block);
        for inner in func.insts[inst].blocks() {
            parents.insert(inner, (block, inst));
        }
        func.insts[inst].visit_operands(|v| {
            let list = users.entry(v).or_default();
            if list.last() != Some(&inst) {
                list.push(inst);
            }
        });
        in_memory.extend(memory_operands(func, inst));
        insts.push(inst);
    });

    let tile = |v: Value| func.ty(v).is_tile() && func.ty(v).rank() > 0;
    let mut forms = FxHashMap::default();
    let mut cost: FxHashMap<Value, u32> = FxHashMap::default();
    for &inst in &insts {
        for block in func.insts[inst].blocks() {
            for &p in &func.blocks[block].params {
                if tile(p) {
                    forms.insert(p, Form::Buffer);
                }
            }
        }
        let inline = can_inline(&func.insts[inst]);
        let mut sum = own_cost(func, inst);
        if inline {
            func.insts[inst].visit_operands(|v| {
                if tile(v) {
                    sum = sum.saturating_add(if forms.get(&v) == Some(&Form::Inline) { cost[&v] } else { 1 });
                }
            });
        }
        for &v in func.results_of(inst) {
            if tile(v) {
                forms.insert(v, if inline { Form::Inline } else { Form::Buffer });
                cost.insert(v, sum);
            }
        }
    }
    // Broadcasting an expensive value along an outer axis.
    for &inst in &insts {
        if let Some(arg) = repeats_outer(func, inst)
            && tile(arg)
            && cost.get(&arg).is_some_and(|&c| c > CHEAP)
        {
            in_memory.insert(arg);
        }
    }

    // Backwards: positions of use, then whether the value must be in memory.
    let loops_between = |from: Block, to: Block| {
        let mut block = to;
        while block != from {
            let Some(&(parent, owner)) = parents.get(&block) else { return false };
            if matches!(func.insts[owner], InstData::For { .. } | InstData::While { .. }) {
                return true;
            }
            block = parent;
        }
        false
    };
    let mut uses: FxHashMap<Value, Vec<u32>> = FxHashMap::default();
    let gather_uses = |v: Value, forms: &FxHashMap<Value, Form>, uses: &FxHashMap<Value, Vec<u32>>| {
        let mut list = Vec::new();
        for &user in users.get(&v).map_or(&[][..], Vec::as_slice) {
            let results = func.results_of(user);
            let inline = can_inline(&func.insts[user]) && results.iter().any(|r| forms.get(r) == Some(&Form::Inline));
            if inline {
                list.extend(results.iter().flat_map(|r| uses.get(r).into_iter().flatten().copied()));
            } else {
                list.push(order.position[&user]);
            }
        }
        list.sort_unstable();
        list.dedup();
        list
    };
    for &inst in insts.iter().rev() {
        for &v in func.results_of(inst) {
            if !tile(v) {
                continue;
            }
            let list = gather_uses(v, &forms, &uses);
            if forms[&v] == Form::Inline {
                let home = block_of[&inst];
                let foreign: Vec<Inst> = users.get(&v).into_iter().flatten().copied().filter(|u| block_of[u] != home).collect();
                let expensive = cost[&v] > CHEAP;
                let captured = expensive
                    && (foreign.iter().any(|u| loops_between(home, block_of[u])) || (!foreign.is_empty() && users[&v].len() > 1));
                if in_memory.contains(&v) || captured || load_is_stale(func, order, inst, &list) {
                    forms.insert(v, Form::Buffer);
                }
            }
            uses.insert(v, list);
        }
        for block in func.insts[inst].blocks() {
            for &p in &func.blocks[block].params {
                if tile(p) {
                    let list = gather_uses(p, &forms, &uses);
                    uses.insert(p, list);
                }
            }
        }
    }
    Analysis { forms, cost, uses, block_of, users }
}

/// Whether a load cannot be delayed to all of its uses.
fn load_is_stale(func: &Function, order: &Order, inst: Inst, uses: &[u32]) -> bool {
    let InstData::Load { place, .. } = &func.insts[inst] else { return false };
    let object = place_object(func, place);
    if order.read_only(object) {
        return false;
    }
    let here = order.position[&inst];
    if uses.iter().any(|&user| order.changed_between(object, here, user)) {
        return true;
    }
    // A store that may overwrite other lanes of what it reads: only the same access, lane for lane, may stay inline.
    order.position.iter().any(|(&user, position)| {
        uses.binary_search(position).is_ok()
            && match &func.insts[user] {
                InstData::Store { place: to, value, .. } => {
                    place_object(func, to).may_alias(object)
                        && !(same_place(func, place, to) && reads_only_lane_by_lane(func, *value, func.result(inst)))
                }
                _ => super::alias::written(func, user).is_some_and(|o| o.may_alias(object)),
            }
    })
}

/// Whether `root` reads `leaf` only through lane-by-lane operations.
fn reads_only_lane_by_lane(func: &Function, root: Value, leaf: Value) -> bool {
    fn go(func: &Function, v: Value, leaf: Value, identity: bool, seen: &mut FxHashSet<(Value, bool)>) -> bool {
        if v == leaf {
            return identity;
        }
        if !seen.insert((v, identity)) {
            return true;
        }
        let ValueDef::Result(inst, _) = func.values[v].def else { return true };
        let data = &func.insts[inst];
        if !can_inline(data) {
            return true;
        }
        let identity = identity && keeps_lanes(data);
        let mut ok = true;
        data.visit_operands(|o| ok &= go(func, o, leaf, identity, seen));
        ok
    }
    go(func, root, leaf, true, &mut FxHashSet::default())
}

/// Whether lane i of the result depends on lane i of the operands only.
pub(crate) fn keeps_lanes(data: &InstData) -> bool {
    use InstData::*;
    matches!(
        data,
        Unary { .. }
            | Binary { .. }
            | Fma { .. }
            | Cmp { .. }
            | Select { .. }
            | Cast { .. }
            | Bitcast { .. }
            | PtrAdd { .. }
            | Const { .. }
    )
}

/// Whether two accesses are the same elements in the same lanes.
fn same_place(func: &Function, a: &Place, b: &Place) -> bool {
    let (Place::View(a), Place::View(b)) = (a, b) else { return false };
    a.view == b.view
        && a.index.len() == b.index.len()
        && a.index.iter().zip(&b.index).all(|(x, y)| match (x, y) {
            (SliceIndex::At(x), SliceIndex::At(y)) => same_scalar(func, *x, *y, 4),
            (SliceIndex::Span { start: x, len: n }, SliceIndex::Span { start: y, len: m }) => {
                n == m && same_scalar(func, *x, *y, 4)
            }
            _ => false,
        })
}

/// Whether two scalars are equal by construction.
fn same_scalar(func: &Function, a: Value, b: Value, depth: u32) -> bool {
    if a == b {
        return true;
    }
    let (Some(x), Some(y)) = (func.def_data(a), func.def_data(b)) else { return false };
    if depth == 0 || !x.own_effects().is_pure() || func.ty(a) != func.ty(b) {
        return false;
    }
    match (x, y) {
        (InstData::Binary { op: p, a: xa, b: xb }, InstData::Binary { op: q, a: ya, b: yb }) => {
            p == q && same_scalar(func, *xa, *ya, depth - 1) && same_scalar(func, *xb, *yb, depth - 1)
        }
        (InstData::Cast { arg: x }, InstData::Cast { arg: y }) => same_scalar(func, *x, *y, depth - 1),
        _ => x == y,
    }
}
