//! Combining tiles element by element as a reduction combines elements, and what such sums start from.

use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::{Block, Builder, Combine, Const, Elem, Function, InstData, ScalarType, Type, Value};
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

/// Whether [`combine_tiles`] can write this combination: a user's must be made of lane-by-lane instructions.
pub(super) fn combines(func: &Function, combine: Combine) -> bool {
    let Combine::Region(block) = combine else { return true };
    func.blocks[block].insts.iter().all(|&inst| {
        matches!(
            func.insts[inst],
            InstData::Const { .. }
                | InstData::Unary { .. }
                | InstData::Binary { .. }
                | InstData::Fma { .. }
                | InstData::Cmp { .. }
                | InstData::Select { .. }
                | InstData::Cast { .. }
                | InstData::Bitcast { .. }
                | InstData::Yield { .. }
        )
    })
}

/// `a` then `b`, element by element; one tile an operand of the reduction, all of one shape.
pub(super) fn combine_tiles(b: &mut Builder<'_>, combine: Combine, first: &[Value], second: &[Value]) -> SmallVec<[Value; 2]> {
    let op = match combine {
        Combine::Region(block) => return region(b, block, first, second),
        Combine::ArgMax => return better(b, CmpOp::Gt, first, second),
        Combine::ArgMin => return better(b, CmpOp::Lt, first, second),
        Combine::Add => BinaryOp::Add,
        Combine::Mul => BinaryOp::Mul,
        Combine::Max => BinaryOp::Max,
        Combine::Min => BinaryOp::Min,
        Combine::FMax => BinaryOp::FMax,
        Combine::FMin => BinaryOp::FMin,
        Combine::And => BinaryOp::And,
        Combine::Or => BinaryOp::Or,
        Combine::Xor => BinaryOp::Xor,
    };
    smallvec![b.binary(op, first[0], second[0])]
}

/// The better value with its position: NaN wins, ties go to the lower position.
fn better(b: &mut Builder<'_>, op: CmpOp, first: &[Value], second: &[Value]) -> SmallVec<[Value; 2]> {
    let mut wins = b.cmp(op, first[0], second[0]);
    let mut ties = b.cmp(CmpOp::Eq, first[0], second[0]);
    if b.ty(first[0]).scalar_elem().is_some_and(ScalarType::is_float) {
        let first_nan = b.cmp(CmpOp::Ne, first[0], first[0]);
        let second_nan = b.cmp(CmpOp::Ne, second[0], second[0]);
        let second_number = b.unary(kiln_ir::ops::UnaryOp::Not, second_nan);
        let only_first = b.binary(BinaryOp::And, first_nan, second_number);
        wins = b.binary(BinaryOp::Or, wins, only_first);
        let both = b.binary(BinaryOp::And, first_nan, second_nan);
        ties = b.binary(BinaryOp::Or, ties, both);
    }
    let earlier = b.cmp(CmpOp::Lt, first[1], second[1]);
    let tied = b.binary(BinaryOp::And, ties, earlier);
    let take = b.binary(BinaryOp::Or, wins, tied);
    smallvec![b.select(take, first[0], second[0]), b.select(take, first[1], second[1])]
}

/// A user's block over tiles instead of scalars.
fn region(b: &mut Builder<'_>, block: Block, first: &[Value], second: &[Value]) -> SmallVec<[Value; 2]> {
    let shape = b.ty(first[0]).shape();
    let params = b.func.blocks[block].params.clone();
    let mut map: FxHashMap<Value, Value> = params.iter().copied().zip(first.iter().chain(second).copied()).collect();
    for inst in b.func.blocks[block].insts.clone() {
        let mut data = b.func.insts[inst].clone();
        // What comes from outside of the block is a scalar.
        for value in data.operands() {
            map.entry(value).or_insert_with(|| b.broadcast(value, shape));
        }
        data.visit_operands_mut(|v| *v = map[v]);
        if let InstData::Yield { args } = data {
            return args.into_iter().collect();
        }
        let types: SmallVec<[Type; 2]> = b.func.results_of(inst).iter().map(|&v| b.ty(v).with_shape(shape)).collect();
        let made = b.emit(data, &types);
        let pairs: Vec<(Value, Value)> =
            b.func.results_of(inst).iter().copied().zip(b.func.results_of(made).iter().copied()).collect();
        map.extend(pairs);
    }
    SmallVec::new()
}

/// What changes nothing when combined, one constant an operand. None for users' combinations, and for types whose least number is not the same everywhere.
pub(super) fn neutral(combine: Combine, elems: &[Elem]) -> Option<SmallVec<[Const; 2]>> {
    let elem = elems[0].scalar().filter(|&elem| elem != ScalarType::Index && elem.bytes() * 8 >= elem.bits())?;
    if matches!(elem, ScalarType::F8E4M3 | ScalarType::F8E5M2) {
        return None;
    }
    let (least, greatest) = match elem {
        _ if elem.is_float() => (Const::Float(f64::NEG_INFINITY), Const::Float(f64::INFINITY)),
        ScalarType::Bool => (Const::Int(0), Const::Int(1)),
        _ if elem.is_signed_int() => (Const::Int(i64::MIN >> (64 - elem.bits())), Const::Int(i64::MAX >> (64 - elem.bits()))),
        _ => (Const::Int(0), Const::Int((u64::MAX >> (64 - elem.bits())) as i64)),
    };
    // A position after every other.
    let nowhere = Const::Int(i64::from(i32::MAX));
    Some(match combine {
        // -0 + x is x for every x, +0 is not.
        Combine::Add if elem.is_float() => smallvec![Const::Float(-0.0)],
        Combine::Add | Combine::Or | Combine::Xor => smallvec![Const::Int(0)],
        Combine::Mul if elem.is_float() => smallvec![Const::Float(1.0)],
        Combine::Mul => smallvec![Const::Int(1)],
        Combine::And if elem.is_signed_int() => smallvec![Const::Int(-1)],
        Combine::And => smallvec![greatest],
        // NaN is what these ignore.
        Combine::FMax | Combine::FMin if elem.is_float() => smallvec![Const::Float(f64::NAN)],
        Combine::Max | Combine::FMax => smallvec![least],
        Combine::Min | Combine::FMin => smallvec![greatest],
        Combine::ArgMax => smallvec![least, nowhere],
        Combine::ArgMin => smallvec![greatest, nowhere],
        Combine::Region(_) => return None,
    })
}
