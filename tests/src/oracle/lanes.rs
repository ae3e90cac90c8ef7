//! Lane-by-lane operators and conversions.

use kiln_ir::ops::{AtomicOp, BinaryOp, CmpOp, UnaryOp};
use kiln_ir::round::round_to;
use kiln_ir::{Const, ScalarType};

use super::Lane;

/// A number of type `ty` from an f64: floats are rounded, integers truncated.
pub fn from_f64(ty: ScalarType, v: f64) -> Lane {
    if ty.is_float() { Lane::Float(round_to(ty, v)) } else { Lane::Int(wrap(ty, v as i64)) }
}

/// The lane of a constant.
pub fn from_const(value: Const) -> Lane {
    match value {
        Const::Int(v) => Lane::Int(v),
        Const::Float(v) => Lane::Float(v),
    }
}

/// An integer modulo the range of `ty`.
pub fn wrap(ty: ScalarType, v: i64) -> i64 {
    match ty {
        ScalarType::Bool => v & 1,
        ScalarType::I8 => v as i8 as i64,
        ScalarType::I16 => v as i16 as i64,
        ScalarType::I32 => v as i32 as i64,
        ScalarType::U8 => v as u8 as i64,
        ScalarType::U16 => v as u16 as i64,
        ScalarType::U32 => v as u32 as i64,
        _ => v,
    }
}

/// The zero of a type.
pub fn zero(ty: Option<ScalarType>) -> Lane {
    if ty.is_some_and(ScalarType::is_float) { Lane::Float(0.0) } else { Lane::Int(0) }
}

/// `op a`.
pub fn unary(op: UnaryOp, ty: ScalarType, a: Lane) -> Lane {
    match a {
        Lane::Int(v) => Lane::Int(wrap(
            ty,
            match op {
                UnaryOp::Neg => v.wrapping_neg(),
                UnaryOp::Not => !v,
                UnaryOp::Abs => v.wrapping_abs(),
                _ => unreachable!("{op} of an integer"),
            },
        )),
        Lane::Float(v) => Lane::Float(round_to(
            ty,
            match op {
                UnaryOp::Neg => -v,
                UnaryOp::Abs => v.abs(),
                UnaryOp::Floor => v.floor(),
                UnaryOp::Ceil => v.ceil(),
                UnaryOp::Round => v.round_ties_even(),
                UnaryOp::Trunc => v.trunc(),
                // f64's root of f32 and smaller formats rounds twice without harm.
                UnaryOp::Sqrt | UnaryOp::FastSqrt => v.sqrt(),
                UnaryOp::FastExp2 => v.exp2(),
                UnaryOp::FastLog2 => v.log2(),
                UnaryOp::FastSin => v.sin(),
                UnaryOp::FastCos => v.cos(),
                UnaryOp::FastTanh => v.tanh(),
                UnaryOp::FastRcp => 1.0 / v,
                UnaryOp::FastRsqrt => 1.0 / v.sqrt(),
                UnaryOp::Not => unreachable!("not of a float"),
            },
        )),
        Lane::Ptr { .. } => unreachable!("{op} of a pointer"),
    }
}

/// `a op b`.
pub fn binary(op: BinaryOp, ty: ScalarType, a: Lane, b: Lane) -> Lane {
    match (a, b) {
        (Lane::Int(a), Lane::Int(b)) => Lane::Int(wrap(ty, int_binary(op, ty, a, b))),
        (Lane::Float(a), Lane::Float(b)) => Lane::Float(float_binary(op, ty, a, b)),
        _ => unreachable!("{op} of {a:?} and {b:?}"),
    }
}

fn int_binary(op: BinaryOp, ty: ScalarType, a: i64, b: i64) -> i64 {
    let width = i64::from(ty.bits());
    let unsigned = ty == ScalarType::U64;
    let (ua, ub) = (a as u64, b as u64);
    // A u64 amount beyond i64 looks negative, and is too large either way.
    let shift_in = (0..width).contains(&b);
    match op {
        BinaryOp::Add => a.wrapping_add(b),
        BinaryOp::Sub => a.wrapping_sub(b),
        BinaryOp::Mul => a.wrapping_mul(b),
        BinaryOp::Div if b == 0 => 0,
        BinaryOp::Div if unsigned => (ua / ub) as i64,
        BinaryOp::Div => a.wrapping_div(b),
        BinaryOp::Rem if b == 0 => a,
        BinaryOp::Rem if unsigned => (ua % ub) as i64,
        BinaryOp::Rem => a.wrapping_rem(b),
        BinaryOp::Min if unsigned => ua.min(ub) as i64,
        BinaryOp::Min => a.min(b),
        BinaryOp::Max if unsigned => ua.max(ub) as i64,
        BinaryOp::Max => a.max(b),
        BinaryOp::And => a & b,
        BinaryOp::Or => a | b,
        BinaryOp::Xor => a ^ b,
        BinaryOp::Shl if shift_in => a << b,
        BinaryOp::Shl => 0,
        BinaryOp::Shr if shift_in && unsigned => (ua >> b) as i64,
        BinaryOp::Shr if shift_in => a >> b,
        BinaryOp::Shr if a < 0 && !unsigned => -1,
        BinaryOp::Shr => 0,
        BinaryOp::MulHi if unsigned => ((u128::from(ua) * u128::from(ub)) >> 64) as i64,
        BinaryOp::MulHi => ((i128::from(a) * i128::from(b)) >> width) as i64,
        BinaryOp::FMin | BinaryOp::FMax | BinaryOp::FastDiv => unreachable!("{op} of integers"),
    }
}

fn float_binary(op: BinaryOp, ty: ScalarType, a: f64, b: f64) -> f64 {
    let precise = ty == ScalarType::F64;
    let (x, y) = (a as f32, b as f32);
    match op {
        BinaryOp::Add if precise => a + b,
        BinaryOp::Add => round_to(ty, f64::from(x + y)),
        BinaryOp::Sub if precise => a - b,
        BinaryOp::Sub => round_to(ty, f64::from(x - y)),
        BinaryOp::Mul if precise => a * b,
        BinaryOp::Mul => round_to(ty, f64::from(x * y)),
        BinaryOp::Div | BinaryOp::FastDiv if precise => a / b,
        BinaryOp::Div | BinaryOp::FastDiv => round_to(ty, f64::from(x / y)),
        BinaryOp::Rem => a % b,
        BinaryOp::Min | BinaryOp::Max if a.is_nan() || b.is_nan() => f64::NAN,
        BinaryOp::Min | BinaryOp::Max | BinaryOp::FMin | BinaryOp::FMax if a == b => {
            // Only zeros of different sign are equal and not the same.
            let lower = matches!(op, BinaryOp::Min | BinaryOp::FMin);
            if a.is_sign_negative() == lower { a } else { b }
        }
        BinaryOp::Min | BinaryOp::FMin => a.min(b),
        BinaryOp::Max | BinaryOp::FMax => a.max(b),
        _ => unreachable!("{op} of floats"),
    }
}

/// `a * b + c`, rounded once (through f64 for the small formats).
pub fn fma(ty: ScalarType, a: Lane, b: Lane, c: Lane) -> Lane {
    let (Lane::Float(a), Lane::Float(b), Lane::Float(c)) = (a, b, c) else { unreachable!("fma of integers") };
    Lane::Float(match ty {
        ScalarType::F32 => f64::from((a as f32).mul_add(b as f32, c as f32)),
        _ => round_to(ty, a.mul_add(b, c)),
    })
}

/// `a op b`.
pub fn cmp(op: CmpOp, ty: Option<ScalarType>, a: Lane, b: Lane) -> bool {
    fn holds<T: PartialOrd>(op: CmpOp, a: T, b: T) -> bool {
        match op {
            CmpOp::Eq => a == b,
            CmpOp::Ne => a != b,
            CmpOp::Lt => a < b,
            CmpOp::Le => a <= b,
            CmpOp::Gt => a > b,
            CmpOp::Ge => a >= b,
        }
    }
    match (a, b) {
        (Lane::Int(a), Lane::Int(b)) if ty == Some(ScalarType::U64) => holds(op, a as u64, b as u64),
        (Lane::Int(a), Lane::Int(b)) => holds(op, a, b),
        (Lane::Float(a), Lane::Float(b)) => holds(op, a, b),
        (a, b) => (a == b) == (op == CmpOp::Eq),
    }
}

/// `a as to`.
pub fn cast(from: ScalarType, to: ScalarType, a: Lane) -> Lane {
    match a {
        Lane::Int(v) if to.is_float() => {
            let (exact, single) = if from == ScalarType::U64 { (v as u64 as f64, v as u64 as f32) } else { (v as f64, v as f32) };
            Lane::Float(if to == ScalarType::F32 { f64::from(single) } else { round_to(to, exact) })
        }
        Lane::Int(v) if to == ScalarType::Bool => Lane::Int(i64::from(v != 0)),
        // Out of bounds stays out of bounds.
        Lane::Int(v) if to == ScalarType::Index && from == ScalarType::U64 => Lane::Int(if v < 0 { i64::MAX } else { v }),
        Lane::Int(v) => Lane::Int(wrap(to, v)),
        Lane::Float(v) if to.is_float() => Lane::Float(round_to(to, v)),
        Lane::Float(v) => Lane::Int(match to {
            ScalarType::Bool => i64::from(v != 0.0),
            ScalarType::I8 => i64::from(v as i8),
            ScalarType::I16 => i64::from(v as i16),
            ScalarType::I32 => i64::from(v as i32),
            ScalarType::U8 => i64::from(v as u8),
            ScalarType::U16 => i64::from(v as u16),
            ScalarType::U32 => i64::from(v as u32),
            ScalarType::U64 => v as u64 as i64,
            _ => v as i64,
        }),
        Lane::Ptr { .. } => unreachable!("cast of a pointer"),
    }
}

/// What memory holds after an atomic.
pub fn atomic(op: AtomicOp, ty: ScalarType, old: Lane, value: Lane) -> Lane {
    let op = match op {
        AtomicOp::Xchg => return value,
        AtomicOp::Add => BinaryOp::Add,
        AtomicOp::Max if ty.is_float() => BinaryOp::FMax,
        AtomicOp::Min if ty.is_float() => BinaryOp::FMin,
        AtomicOp::Max => BinaryOp::Max,
        AtomicOp::Min => BinaryOp::Min,
        AtomicOp::And => BinaryOp::And,
        AtomicOp::Or => BinaryOp::Or,
        AtomicOp::Xor => BinaryOp::Xor,
    };
    binary(op, ty, old, value)
}

/// The bits of a lane, in the low end.
pub fn to_bits(ty: ScalarType, a: Lane) -> u64 {
    match a {
        Lane::Int(v) => v as u64 & (u64::MAX >> (64 - 8 * ty.bytes())),
        Lane::Float(v) => match ty {
            ScalarType::F64 => v.to_bits(),
            ScalarType::F32 => u64::from((v as f32).to_bits()),
            ScalarType::F16 => u64::from(half::f16::from_f64(v).to_bits()),
            ScalarType::BF16 => u64::from(half::bf16::from_f32(v as f32).to_bits()),
            _ => (0..=255).find(|&bits| float8(ty, bits).to_bits() == v.to_bits()).unwrap_or(if v.is_nan() { 0x7f } else { 0 }),
        },
        Lane::Ptr { .. } => unreachable!("bits of a pointer"),
    }
}

/// The lane with these bits.
pub fn from_bits(ty: ScalarType, bits: u64) -> Lane {
    match ty {
        ScalarType::F64 => Lane::Float(f64::from_bits(bits)),
        ScalarType::F32 => Lane::Float(f64::from(f32::from_bits(bits as u32))),
        ScalarType::F16 => Lane::Float(half::f16::from_bits(bits as u16).to_f64()),
        ScalarType::BF16 => Lane::Float(half::bf16::from_bits(bits as u16).to_f64()),
        ScalarType::F8E4M3 | ScalarType::F8E5M2 => Lane::Float(float8(ty, bits)),
        _ => Lane::Int(wrap(ty, bits as i64)),
    }
}

fn float8(ty: ScalarType, bits: u64) -> f64 {
    match ty {
        ScalarType::F8E4M3 if bits & 0x7f == 0x7f => f64::NAN,
        ScalarType::F8E4M3 => small_float(bits, 4, 3, 7),
        _ if bits & 0x7f == 0x7c => f64::INFINITY.copysign(if bits & 0x80 != 0 { -1.0 } else { 1.0 }),
        _ if bits & 0x7c == 0x7c => f64::NAN,
        _ => small_float(bits, 5, 2, 15),
    }
}

/// A float of one sign bit, `exponent` and `digits` bits, all of whose encodings are finite.
pub fn small_float(bits: u64, exponent: u32, digits: u32, bias: i32) -> f64 {
    let sign = if bits >> (exponent + digits) & 1 != 0 { -1.0 } else { 1.0 };
    let fraction = (bits & ((1 << digits) - 1)) as f64 / f64::from(1 << digits);
    let e = (bits >> digits & ((1 << exponent) - 1)) as i32;
    let magnitude = if e == 0 { fraction * 2f64.powi(1 - bias) } else { (1.0 + fraction) * 2f64.powi(e - bias) };
    sign * magnitude
}
