//! How each instruction treats one axis of its tiles: whether a slice of the result can be had from slices of the operands.

use kiln_ir::builder::access_shape;
use kiln_ir::{Function, Inst, InstData, Place, SliceIndex, Type, Value, ViewAccess};
use smallvec::{SmallVec, smallvec};

use crate::gpu::access::{joint_rank, joint_start};

/// Where the axis is in each tile of an instruction (None: the tile does not have it, and is needed whole), and what happens along it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Rule {
    /// One entry an operand, in the order of `visit_operands`.
    pub operands: SmallVec<[Option<u8>; 8]>,
    /// One entry a result.
    pub results: SmallVec<[Option<u8>; 2]>,
    /// What happens along the axis.
    pub form: Form,
    /// The axis in the instruction's own shape: that of the result, of what is accessed, of what is folded.
    pub space: u8,
}

/// What an instruction does along the axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// A slice of the results follows from slices of the operands.
    Lanes,
    /// A reduction: results of slices are combined.
    Fold,
    /// A forward scan: a slice follows from those before it.
    Scan,
    /// A histogram: counts of slices are added.
    Count,
}

/// One of an instruction's tiles.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Slot {
    /// Operand by number.
    Operand(usize),
    /// Result by number.
    Result(usize),
}

/// The rule of an instruction whose tile at `slot` has the axis as its axis number `axis`. None where slices cannot be had.
pub(super) fn rule(func: &Function, inst: Inst, slot: Slot, axis: u8) -> Option<Rule> {
    let space = to_space(func, inst, slot, usize::from(axis))?;
    let rule = from_space(func, inst, space)?;
    // The tile must have it where it was found.
    let there = match slot {
        Slot::Operand(n) => rule.operands[n],
        Slot::Result(n) => rule.results[n],
    };
    (there == Some(axis)).then_some(rule)
}

/// The axis in the instruction's own shape.
fn to_space(func: &Function, inst: Inst, slot: Slot, axis: usize) -> Option<usize> {
    let data = &func.insts[inst];
    let Slot::Operand(number) = slot else {
        return Some(match data {
            InstData::Reduce { axis: folded, .. } => axis + usize::from(axis >= usize::from(*folded)),
            _ => axis,
        });
    };
    let operand = data.operands()[number];
    Some(match data {
        InstData::Broadcast { .. } => axis + result_type(func, inst).rank() - func.ty(operand).rank(),
        InstData::ExpandDims { axis: new, .. } => axis + usize::from(axis >= usize::from(*new)),
        InstData::Reshape { .. } => same_axis(func.ty(operand).shape(), result_type(func, inst).shape(), axis)?,
        InstData::Permute { perm, .. } => perm.iter().position(|&p| usize::from(p) == axis)?,
        InstData::Load { place: Place::View(access), .. }
        | InstData::Store { place: Place::View(access), .. }
        | InstData::AtomicRmw { place: Place::View(access), .. }
        | InstData::AtomicCas { place: Place::View(access), .. }
        | InstData::AtomicLoad { place: Place::View(access), .. }
        | InstData::AtomicStore { place: Place::View(access), .. }
        | InstData::Prefetch { place: Place::View(access), .. }
            if (1..=access.index.len()).contains(&number) =>
        {
            axis + joint_start(&access.index) + joint_rank(func, &access.index) - func.ty(operand).rank()
        }
        _ => axis,
    })
}

fn from_space(func: &Function, inst: Inst, space: usize) -> Option<Rule> {
    let data = &func.insts[inst];
    let at = Some(space as u8);
    let operands = data.operands();
    let tiles = |axis: Option<u8>| -> SmallVec<[Option<u8>; 8]> {
        operands.iter().map(|&v| axis.filter(|_| is_spread(func, v))).collect()
    };
    let results: SmallVec<[Option<u8>; 2]> = func.results_of(inst).iter().map(|_| at).collect();
    let rule = |operands, results| Some(Rule { operands, results, form: Form::Lanes, space: space as u8 });
    let everywhere = || rule(tiles(at), results.clone());
    let apart = |axis: u8| if usize::from(axis) == space { None } else { everywhere() };
    match data {
        InstData::Const { .. }
        | InstData::Iota { .. }
        | InstData::Unary { .. }
        | InstData::Binary { .. }
        | InstData::Fma { .. }
        | InstData::Cmp { .. }
        | InstData::Select { .. }
        | InstData::Cast { .. }
        | InstData::Bitcast { .. }
        | InstData::PtrAdd { .. }
        | InstData::InlineAsm { .. }
        | InstData::Assert { .. } => everywhere(),
        InstData::Broadcast { arg } => {
            let (from, to) = (func.ty(*arg).shape(), result_type(func, inst).shape());
            let new = to.len() - from.len();
            let kept = space.checked_sub(new).filter(|&axis| from[axis] == to[space]);
            rule(smallvec![kept.map(|axis| axis as u8)], results)
        }
        InstData::ExpandDims { axis, .. } => {
            let axis = usize::from(*axis);
            (axis != space).then_some(())?;
            rule(smallvec![Some((space - usize::from(space > axis)) as u8)], results)
        }
        InstData::Reshape { arg } => {
            let from = same_axis(result_type(func, inst).shape(), func.ty(*arg).shape(), space)?;
            rule(smallvec![Some(from as u8)], results)
        }
        InstData::Permute { perm, .. } => rule(smallvec![Some(perm[space])], results),
        InstData::Join { .. } => {
            (space + 1 < result_type(func, inst).rank()).then_some(())?;
            everywhere()
        }
        InstData::Split { arg } => {
            (space + 1 < func.ty(*arg).rank()).then_some(())?;
            everywhere()
        }
        InstData::Cat { axis, .. } | InstData::Flip { axis, .. } | InstData::Sort { axis, .. } => apart(*axis),
        InstData::TopK { arg, .. } => apart(func.ty(*arg).rank() as u8 - 1),
        InstData::ExtractSlice { arg, starts } => {
            let whole = starts[space] == 0 && func.ty(*arg).shape()[space] == result_type(func, inst).shape()[space];
            whole.then_some(())?;
            everywhere()
        }
        InstData::Gather { src, axis, .. } => {
            let selected = func.ty(*src).rank() == 1 || usize::from(*axis) == space;
            rule(smallvec![at.filter(|_| !selected), at], results)
        }
        InstData::Load { place, .. }
        | InstData::Store { place, .. }
        | InstData::AtomicRmw { place, .. }
        | InstData::AtomicCas { place, .. }
        | InstData::AtomicLoad { place, .. }
        | InstData::AtomicStore { place, .. }
        | InstData::Prefetch { place, .. } => {
            let mut list = tiles(at);
            if let Place::View(access) = place {
                for (number, index) in access.index.iter().enumerate() {
                    if let SliceIndex::Gather(tile) = index {
                        list[number + 1] = gather_axis(func, access, *tile, space);
                    }
                }
            }
            rule(list, results)
        }
        InstData::Reduce { axis, .. } => {
            let axis = usize::from(*axis);
            if axis == space {
                let results = results.iter().map(|_| None).collect();
                return Some(Rule { operands: tiles(at), results, form: Form::Fold, space: space as u8 });
            }
            let of_result = Some((space - usize::from(space > axis)) as u8);
            rule(tiles(at), results.iter().map(|_| of_result).collect())
        }
        InstData::Scan { axis, reverse, .. } => {
            if usize::from(*axis) != space {
                return everywhere();
            }
            (!reverse).then_some(Rule { operands: tiles(at), results, form: Form::Scan, space: space as u8 })
        }
        InstData::Histogram { .. } => {
            Some(Rule { operands: tiles(at), results: smallvec![None], form: Form::Count, space: space as u8 })
        }
        _ => None,
    }
}

/// The axis of a gather tile that is the access's axis `space`, if it has that axis in full.
fn gather_axis(func: &Function, access: &ViewAccess, tile: Value, space: usize) -> Option<u8> {
    let shape = func.ty(tile).shape();
    let end = joint_start(&access.index) + joint_rank(func, &access.index);
    let axis = (space < end).then(|| (space + shape.len()).checked_sub(end)).flatten()?;
    (shape[axis] == access_shape(func, access)[space]).then_some(axis as u8)
}

/// The dimension of a view whose `Span` makes the access's axis `space`.
pub(super) fn span_of(func: &Function, access: &ViewAccess, space: usize) -> Option<usize> {
    let joint = joint_rank(func, &access.index);
    let (mut next, mut placed) = (0, false);
    for (dim, index) in access.index.iter().enumerate() {
        match index {
            SliceIndex::At(_) => {}
            SliceIndex::Span { .. } if next == space => return Some(dim),
            SliceIndex::Span { .. } => next += 1,
            SliceIndex::Gather(_) if placed => {}
            SliceIndex::Gather(_) => {
                next += joint;
                placed = true;
            }
        }
    }
    None
}

/// The axis of `to` that is axis `axis` of `from` in a row-major reinterpretation.
fn same_axis(from: &[u32], to: &[u32], axis: usize) -> Option<usize> {
    let before: u64 = from[..axis].iter().map(|&e| u64::from(e)).product();
    let mut product = 1u64;
    to.iter().position(|&extent| {
        let found = product == before && extent == from[axis];
        product *= u64::from(extent);
        found
    })
}

fn result_type(func: &Function, inst: Inst) -> Type {
    func.ty(func.result(inst))
}

/// Whether a value is a tile with axes.
pub(super) fn is_spread(func: &Function, value: Value) -> bool {
    func.ty(value).is_tile() && !func.ty(value).is_scalar()
}
