//! Sort keys: elements of any type as unsigned integers of the same order.

use kiln_ir::ScalarType;

use crate::host::loops::Emit;
use crate::llvm::{IntPred, Val};

/// The unsigned integer that orders as the element whose bits are `bits` (memory format) does: -0 equals 0, NaN is the greatest.
/// For `descending` the order is reversed.
pub(crate) fn sort_key(e: &Emit<'_>, elem: ScalarType, bits: Val, descending: bool) -> Val {
    let width = elem.bytes() * 8;
    let ty = e.shaped(e.int_ty(width), bits);
    let bits = e.bitcast(bits, ty);
    let sign = e.int(ty, i64::MIN >> (64 - width));
    let key = if elem.is_float() {
        let magnitude = e.and(bits, e.not(sign));
        let negative = e.icmp(IntPred::LLVMIntNE, e.and(bits, sign), e.zero(ty));
        // Minus the magnitude: both zeros meet.
        let key = e.add(e.select(negative, e.neg(magnitude), magnitude), sign);
        let nan = e.icmp(IntPred::LLVMIntUGT, magnitude, e.int(ty, greatest_number(elem)));
        e.select(nan, e.int(ty, -1), key)
    } else if elem.is_signed_int() {
        e.xor(bits, sign)
    } else {
        bits
    };
    if descending { e.not(key) } else { key }
}

/// Bits of the greatest number of a float type; greater magnitudes are NaN.
fn greatest_number(elem: ScalarType) -> i64 {
    match elem {
        ScalarType::F16 => 0x7c00,
        ScalarType::BF16 => 0x7f80,
        ScalarType::F32 => 0x7f80_0000,
        ScalarType::F64 => 0x7ff0_0000_0000_0000,
        ScalarType::F8E4M3 => 0x7e,
        ScalarType::F8E5M2 => 0x7c,
        other => panic!("{other} is no float"),
    }
}
