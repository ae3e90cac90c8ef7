//! Evaluates operators on constants with exactly the language's semantics, or not at all.
//!
//! Integers wrap, `x / 0` is 0, `x % 0` is x, shifts by the width or more give 0 or the sign; floats are computed in their own precision and
//! rounded once, to nearest even. What could differ in bits on some target is left alone: results that are NaN (payloads and signs vary),
//! the hardware approximations, and fused operations in formats that no wider format makes exact.

use kiln_ir::ops::{BinaryOp, CmpOp, UnaryOp};
use kiln_ir::round::{FloatFormat, round_to};
use kiln_ir::{Const, ScalarType};

/// `op a`.
pub(crate) fn unary(op: UnaryOp, ty: ScalarType, a: Const) -> Option<Const> {
    match a {
        Const::Int(v) => {
            let v = widen(ty, v);
            match op {
                UnaryOp::Neg => Some(wrap(ty, v.wrapping_neg())),
                UnaryOp::Not => Some(wrap(ty, !v)),
                UnaryOp::Abs => Some(wrap(ty, v.wrapping_abs())),
                _ => None,
            }
        }
        Const::Float(v) => {
            let result = match op {
                UnaryOp::Neg => -v,
                UnaryOp::Abs => v.abs(),
                UnaryOp::Floor => v.floor(),
                UnaryOp::Ceil => v.ceil(),
                UnaryOp::Round => v.round_ties_even(),
                UnaryOp::Trunc => v.trunc(),
                UnaryOp::Sqrt if ty == ScalarType::F64 => v.sqrt(),
                // f32's root is correctly rounded, and has more than twice the digits of the smaller formats.
                UnaryOp::Sqrt => round_to(ty, f64::from((v as f32).sqrt())),
                _ => return None,
            };
            not_nan(result)
        }
    }
}

/// `a op b`.
pub(crate) fn binary(op: BinaryOp, ty: ScalarType, a: Const, b: Const) -> Option<Const> {
    match (a, b) {
        (Const::Int(a), Const::Int(b)) => int_binary(op, ty, a, b),
        (Const::Float(a), Const::Float(b)) => float_binary(op, ty, a, b).and_then(not_nan),
        _ => None,
    }
}

fn int_binary(op: BinaryOp, ty: ScalarType, a: i64, b: i64) -> Option<Const> {
    use BinaryOp::*;
    let (x, y) = (widen(ty, a), widen(ty, b));
    let bits = i128::from(ty.bits());
    let value = match op {
        Add => x + y,
        Sub => x - y,
        Mul => x.wrapping_mul(y),
        Div => x.checked_div(y).unwrap_or(0),
        Rem => x.checked_rem(y).unwrap_or(x),
        Min => x.min(y),
        Max => x.max(y),
        And => x & y,
        Or => x | y,
        Xor => x ^ y,
        Shl if (0..bits).contains(&y) => x << y,
        Shl => 0,
        Shr if (0..bits).contains(&y) => x >> y,
        Shr => x >> 127,
        MulHi if ty == ScalarType::U64 => ((x as u128 * y as u128) >> 64) as i128,
        MulHi => (x * y) >> bits,
        FMin | FMax | FastDiv => return None,
    };
    Some(wrap(ty, value))
}

fn float_binary(op: BinaryOp, ty: ScalarType, a: f64, b: f64) -> Option<f64> {
    use BinaryOp::*;
    let value = match op {
        Add | Sub | Mul | Div | Rem if ty == ScalarType::F64 => arithmetic(op, a, b),
        // Twice the digits and two: rounding f32's result again is rounding once.
        Add | Sub | Mul | Div | Rem => round_to(ty, f64::from(arithmetic(op, a as f32, b as f32))),
        Min | Max if a.is_nan() || b.is_nan() => f64::NAN,
        Min | FMin => less(a, b),
        Max | FMax => -less(-a, -b),
        And | Or | Xor | Shl | Shr | MulHi | FastDiv => return None,
    };
    Some(value)
}

fn arithmetic<F>(op: BinaryOp, a: F, b: F) -> F
where
    F: std::ops::Add<Output = F>
        + std::ops::Sub<Output = F>
        + std::ops::Mul<Output = F>
        + std::ops::Div<Output = F>
        + std::ops::Rem<Output = F>,
{
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        _ => a % b,
    }
}

/// The smaller number; a NaN operand is ignored; -0 is below +0.
fn less(a: f64, b: f64) -> f64 {
    if a.is_nan() {
        b
    } else if b.is_nan() || a < b || (a == b && a.is_sign_negative()) {
        a
    } else {
        b
    }
}

/// `a * b + c` rounded once: f32 and f64.
pub(crate) fn fma(ty: ScalarType, a: Const, b: Const, c: Const) -> Option<Const> {
    let (Const::Float(a), Const::Float(b), Const::Float(c)) = (a, b, c) else { return None };
    match ty {
        ScalarType::F64 => not_nan(a.mul_add(b, c)),
        ScalarType::F32 => not_nan(f64::from((a as f32).mul_add(b as f32, c as f32))),
        _ => None,
    }
}

/// Whether `a op b`, of what the host can compare.
pub(crate) fn holds<T: PartialOrd>(op: CmpOp, a: T, b: T) -> bool {
    match op {
        CmpOp::Eq => a == b,
        CmpOp::Ne => a != b,
        CmpOp::Lt => a < b,
        CmpOp::Le => a <= b,
        CmpOp::Gt => a > b,
        CmpOp::Ge => a >= b,
    }
}

/// `a op b`.
pub(crate) fn cmp(op: CmpOp, ty: ScalarType, a: Const, b: Const) -> Option<bool> {
    match (a, b) {
        (Const::Int(a), Const::Int(b)) => Some(holds(op, widen(ty, a), widen(ty, b))),
        (Const::Float(a), Const::Float(b)) => Some(holds(op, a, b)),
        _ => None,
    }
}

/// `a as to`.
pub(crate) fn cast(from: ScalarType, to: ScalarType, a: Const) -> Option<Const> {
    match a {
        Const::Int(v) if to.is_float() => {
            let wide = widen(from, v);
            match to {
                ScalarType::F64 => Some(Const::Float(wide as f64)),
                ScalarType::F32 => Some(Const::Float(f64::from(wide as f32))),
                // Through f64, which must not round first.
                _ if wide.unsigned_abs() < 1 << 53 => Some(Const::Float(round_to(to, wide as f64))),
                _ => None,
            }
        }
        Const::Int(v) if to == ScalarType::Bool => (from == ScalarType::Bool).then_some(Const::Int(v)),
        Const::Int(v) if to == ScalarType::Index => i64::try_from(widen(from, v)).ok().map(Const::Int),
        Const::Int(v) => Some(wrap(to, widen(from, v))),
        Const::Float(v) if to.is_float() => not_nan(if to == ScalarType::F64 { v } else { round_to(to, v) }),
        Const::Float(_) if to == ScalarType::Bool => None,
        Const::Float(v) => {
            let (min, max) = range(to);
            // `as i128` truncates, saturates and gives 0 for NaN.
            Some(wrap(to, (v as i128).clamp(min, max)))
        }
    }
}

/// Whether `from as to` keeps every value of `from` (NaN stays NaN).
pub(crate) fn preserves_value(from: ScalarType, to: ScalarType) -> bool {
    use ScalarType::*;
    if from == to {
        return true;
    }
    match (FloatFormat::of(from), FloatFormat::of(to)) {
        (Some(_), None) => false,
        (Some(f), Some(t)) => {
            // Also subnormals: the smallest step of `from` must be a step of `to`.
            f.digits <= t.digits && f.max <= t.max && f.min_exponent - f.digits >= t.min_exponent - t.digits
        }
        (None, Some(t)) => {
            let magnitude = if from.is_signed_int() { from.bits() - 1 } else { from.bits() };
            magnitude as i32 <= t.digits + 1 && (1i128 << magnitude) as f64 <= t.max
        }
        (None, None) => {
            let ((a, b), (min, max)) = (range(from), range(to));
            to != Bool && min <= a && b <= max
        }
    }
}

/// The value of an integer constant.
fn widen(ty: ScalarType, v: i64) -> i128 {
    if ty == ScalarType::U64 { i128::from(v as u64) } else { i128::from(v) }
}

/// The constant for an integer modulo the type's range.
fn wrap(ty: ScalarType, v: i128) -> Const {
    use ScalarType::*;
    Const::Int(match ty {
        Bool => (v & 1) as i64,
        I8 => i64::from(v as i8),
        I16 => i64::from(v as i16),
        I32 => i64::from(v as i32),
        U8 => i64::from(v as u8),
        U16 => i64::from(v as u16),
        U32 => i64::from(v as u32),
        _ => v as i64,
    })
}

/// Least and greatest value of an integer type.
pub(crate) fn range(ty: ScalarType) -> (i128, i128) {
    match ty {
        ScalarType::Bool => (0, 1),
        _ if ty.is_signed_int() => (-(1 << (ty.bits() - 1)), (1 << (ty.bits() - 1)) - 1),
        _ => (0, (1 << ty.bits()) - 1),
    }
}

fn not_nan(v: f64) -> Option<Const> {
    (!v.is_nan()).then_some(Const::Float(v))
}

#[cfg(test)]
mod tests {
    use ScalarType::*;

    use super::*;

    #[test]
    fn integers_follow_the_language() {
        let int = |op, ty, a, b| match binary(op, ty, Const::Int(a), Const::Int(b)) {
            Some(Const::Int(v)) => v,
            other => panic!("{other:?}"),
        };
        use BinaryOp::*;
        assert_eq!(int(Add, I8, 127, 1), -128);
        assert_eq!(int(Sub, U8, 0, 1), 255);
        assert_eq!(int(Div, I32, 7, 0), 0);
        assert_eq!(int(Rem, I32, 7, 0), 7);
        assert_eq!(int(Div, I64, i64::MIN, -1), i64::MIN);
        assert_eq!(int(Rem, I32, -7, 3), -1);
        assert_eq!(int(Div, U64, -1, 2), i64::MAX);
        assert_eq!(int(Shl, I32, 1, 31), i64::from(i32::MIN));
        assert_eq!(int(Shl, I32, 1, 32), 0);
        assert_eq!(int(Shr, I32, -5, 40), -1);
        assert_eq!(int(Shr, I32, -5, -1), -1);
        assert_eq!(int(Shr, U32, 0xffff_ffff, 40), 0);
        assert_eq!(int(MulHi, U64, -1, -1), -2);
        assert_eq!(int(MulHi, I32, i64::from(i32::MIN), i64::from(i32::MIN)), 1 << 30);
        assert_eq!(int(Max, U64, -1, 1), -1);
        assert_eq!(unary(UnaryOp::Not, U8, Const::Int(1)), Some(Const::Int(254)));
        assert_eq!(unary(UnaryOp::Not, Bool, Const::Int(1)), Some(Const::Int(0)));
        assert_eq!(unary(UnaryOp::Abs, I8, Const::Int(-128)), Some(Const::Int(-128)));
    }

    #[test]
    fn casts_follow_rust() {
        assert_eq!(cast(F32, I8, Const::Float(300.7)), Some(Const::Int(127)));
        assert_eq!(cast(F32, U8, Const::Float(-3.0)), Some(Const::Int(0)));
        assert_eq!(cast(F32, I32, Const::Float(f64::NAN)), Some(Const::Int(0)));
        assert_eq!(cast(F64, U64, Const::Float(1e300)), Some(Const::Int(-1)));
        assert_eq!(cast(I32, U8, Const::Int(-1)), Some(Const::Int(255)));
        assert_eq!(cast(U64, F32, Const::Int(-1)), Some(Const::Float(18446744073709551616.0)));
        assert_eq!(cast(U64, Index, Const::Int(-1)), None);
        assert_eq!(cast(F64, F16, Const::Float(1e9)), Some(Const::Float(f64::INFINITY)));
    }

    #[test]
    fn nan_is_never_folded() {
        assert_eq!(binary(BinaryOp::Sub, F32, Const::Float(f64::INFINITY), Const::Float(f64::INFINITY)), None);
        assert_eq!(binary(BinaryOp::Max, F32, Const::Float(f64::NAN), Const::Float(1.0)), None);
        assert_eq!(binary(BinaryOp::FMax, F32, Const::Float(f64::NAN), Const::Float(1.0)), Some(Const::Float(1.0)));
        assert_eq!(binary(BinaryOp::Max, F32, Const::Float(-0.0), Const::Float(0.0)), Some(Const::Float(0.0)));
        assert_eq!(cmp(CmpOp::Ne, F32, Const::Float(f64::NAN), Const::Float(f64::NAN)), Some(true));
    }

    #[test]
    fn conversions_that_keep_every_value() {
        assert!(preserves_value(F16, F32) && preserves_value(BF16, F32) && preserves_value(F8E5M2, F16));
        assert!(!preserves_value(BF16, F16) && !preserves_value(F16, BF16) && !preserves_value(F32, F16));
        assert!(preserves_value(I8, F16) && preserves_value(U8, BF16) && !preserves_value(I16, F16));
        assert!(preserves_value(I32, F64) && !preserves_value(I32, F32) && !preserves_value(I64, F64));
        assert!(preserves_value(I32, Index) && !preserves_value(U64, Index) && preserves_value(Bool, I8));
        assert!(!preserves_value(I8, U64) && !preserves_value(I8, Bool));
    }
}
