//! What it costs to compute one lane of a value again, in rough cycles a vector: the basis for "inline or materialize".

use kiln_ir::ops::{BinaryOp, UnaryOp};
use kiln_ir::{Function, Inst, InstData, Place, ScalarType, SliceIndex};

/// Recomputing a value at or below this costs no more than keeping it in memory.
pub(crate) const CHEAP: u32 = 4;

/// Cost of one instruction alone, per lane group.
pub(crate) fn own_cost(func: &Function, inst: Inst) -> u32 {
    let result = func.results_of(inst).first().map(|&v| func.ty(v));
    let scalar = result.and_then(|t| t.scalar_elem());
    let small_float = |s: Option<ScalarType>| matches!(s, Some(ScalarType::F8E4M3 | ScalarType::F8E5M2));
    match &func.insts[inst] {
        InstData::Const { .. }
        | InstData::ConstTile { .. }
        | InstData::Iota { .. }
        | InstData::Broadcast { .. }
        | InstData::ExpandDims { .. }
        | InstData::Reshape { .. }
        | InstData::Permute { .. }
        | InstData::ExtractSlice { .. }
        | InstData::Split { .. } => 0,
        InstData::Unary { op, .. } => match op {
            UnaryOp::Neg | UnaryOp::Not | UnaryOp::Abs | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc => 1,
            UnaryOp::Sqrt | UnaryOp::FastSqrt | UnaryOp::FastRcp | UnaryOp::FastRsqrt => 6,
            _ => 10,
        },
        InstData::Binary { op, .. } => match op {
            BinaryOp::Div | BinaryOp::Rem | BinaryOp::FastDiv if scalar.is_some_and(ScalarType::is_float) => 5,
            BinaryOp::Div | BinaryOp::Rem => 20,
            BinaryOp::MulHi => 4,
            BinaryOp::Mul if scalar.is_some_and(|s| s.bits() == 64 && s.is_int()) => 3,
            _ => 1,
        },
        InstData::Cast { arg } if small_float(scalar) || small_float(func.ty(*arg).scalar_elem()) => 8,
        InstData::Load { place: Place::View(access), .. } if access.index.iter().any(|i| matches!(i, SliceIndex::Gather(_))) => 8,
        InstData::Load { place: Place::View(_), .. } => 1,
        InstData::Load { .. } => 2,
        InstData::Gather { .. } => 8,
        _ => 1,
    }
}
