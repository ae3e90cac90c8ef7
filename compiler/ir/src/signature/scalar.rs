//! Numbers that a launch gives, and how they become a parameter's type.

use crate::float8;
use crate::types::ScalarType;

/// A number as the host has it. It adapts to the parameter's type: integers must fit, floats are rounded to nearest.
#[derive(Clone, Copy, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum Number {
    Int(i64),
    UInt(u64),
    Float(f64),
    Bool(bool),
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Number::Int(v) => write!(f, "{v}"),
            Number::UInt(v) => write!(f, "{v}"),
            Number::Float(v) => write!(f, "{v:?}"),
            Number::Bool(v) => write!(f, "{v}"),
        }
    }
}

impl Number {
    /// The number as `ty`: its bits (low bytes of an argument slot, zero above) and its value after rounding. None where it does not fit: an integer
    /// out of range, a float or bool for an integer, a number for a bool, a finite float beyond the type's range.
    pub fn to_type(self, ty: ScalarType) -> Option<(u64, Number)> {
        use ScalarType::*;
        if ty == Bool {
            let Number::Bool(v) = self else { return None };
            return Some((u64::from(v), self));
        }
        if ty.is_float() {
            let v = match self {
                Number::Float(v) => v,
                Number::Int(v) => v as f64,
                Number::UInt(v) => v as f64,
                Number::Bool(_) => return None,
            };
            let (bits, back) = match ty {
                F64 => (v.to_bits(), v),
                F32 => (u64::from((v as f32).to_bits()), f64::from(v as f32)),
                F16 => (u64::from(half::f16::from_f64(v).to_bits()), half::f16::from_f64(v).to_f64()),
                BF16 => (u64::from(half::bf16::from_f64(v).to_bits()), half::bf16::from_f64(v).to_f64()),
                F8E4M3 => {
                    let bits = float8::f32_to_e4m3(v as f32);
                    if v.abs() > 464.0 {
                        return None;
                    }
                    (u64::from(bits), f64::from(float8::e4m3_to_f32(bits)))
                }
                _ => {
                    let bits = float8::f32_to_e5m2(v as f32);
                    if v.abs() > 61440.0 {
                        return None;
                    }
                    (u64::from(bits), f64::from(float8::e5m2_to_f32(bits)))
                }
            };
            return (v.is_finite() == back.is_finite()).then_some((bits, Number::Float(back)));
        }
        let v = match self {
            Number::Int(v) => i128::from(v),
            Number::UInt(v) => i128::from(v),
            Number::Float(_) | Number::Bool(_) => return None,
        };
        let bits = ty.bits();
        let (lo, hi) =
            if ty.is_signed_int() { (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1) } else { (0, (1i128 << bits) - 1) };
        if v < lo || v > hi {
            return None;
        }
        let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
        let number = if ty.is_signed_int() { Number::Int(v as i64) } else { Number::UInt(v as u64) };
        Some((v as u64 & mask, number))
    }
}

macro_rules! from {
    ($($ty:ty => $variant:ident),*) => { $(
        impl From<$ty> for Number {
            fn from(v: $ty) -> Number {
                Number::$variant(v.into())
            }
        }
    )* };
}
from!(i8 => Int, i16 => Int, i32 => Int, i64 => Int, u8 => UInt, u16 => UInt, u32 => UInt, u64 => UInt, f32 => Float, f64 => Float, bool => Bool);

impl From<half::f16> for Number {
    fn from(v: half::f16) -> Number {
        Number::Float(v.to_f64())
    }
}

impl From<half::bf16> for Number {
    fn from(v: half::bf16) -> Number {
        Number::Float(v.to_f64())
    }
}

impl From<usize> for Number {
    fn from(v: usize) -> Number {
        Number::UInt(v as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_adapt_or_are_refused() {
        use ScalarType::*;
        assert_eq!(Number::Float(1e-5).to_type(F32), Some((u64::from(1e-5f32.to_bits()), Number::Float(f64::from(1e-5f32)))));
        assert_eq!(Number::Int(3).to_type(F16), Some((0x4200, Number::Float(3.0))));
        assert_eq!(Number::Float(1e6).to_type(F16), None);
        assert_eq!(Number::Float(f64::INFINITY).to_type(F32), Some((0x7f80_0000, Number::Float(f64::INFINITY))));
        assert_eq!(Number::Float(500.0).to_type(F8E4M3), None);
        assert_eq!(Number::Int(-1).to_type(U8), None);
        assert_eq!(Number::Int(-1).to_type(I8), Some((0xff, Number::Int(-1))));
        assert_eq!(Number::UInt(u64::MAX).to_type(U64), Some((u64::MAX, Number::UInt(u64::MAX))));
        assert_eq!(Number::UInt(u64::MAX).to_type(I64), None);
        assert_eq!(Number::Float(2.0).to_type(I32), None);
        assert_eq!(Number::Int(1).to_type(Bool), None);
        assert_eq!(Number::Bool(true).to_type(Bool), Some((1, Number::Bool(true))));
    }
}
