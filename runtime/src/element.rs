//! Rust types that tensors hold, and the scalar types of the language they stand for.

use kiln_ir::signature::Number;
use kiln_ir::{ScalarType, float8};

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that a tensor can hold: plain data, the same bytes as the language's type.
///
/// # Safety
/// `TYPE` has the size of `Self` and every bit pattern that kernels write for it is a valid `Self`. Sealed: only this crate implements it.
pub unsafe trait Element: Copy + Send + Sync + std::fmt::Debug + 'static + sealed::Sealed {
    /// The language's type.
    const TYPE: ScalarType;
    /// The value 0 (false).
    const ZERO: Self;
    /// What sums of this type are computed in: the language's `T::Acc`.
    type Acc: Element;

    /// The value as a number of a launch.
    fn number(self) -> Number;
}

/// The types of the class `float`.
pub trait Float: Num {}

/// The types of the class `int`.
pub trait Int: Num {}

/// The types of the class `num`: every element type but `bool`.
pub trait Num: Element {}

/// An 8-bit float with 4 exponent and 3 mantissa bits (OCP E4M3): no infinities, largest number 448.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct F8E4M3(pub u8);

/// An 8-bit float with 5 exponent and 2 mantissa bits (OCP E5M2): largest number 57344.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct F8E5M2(pub u8);

macro_rules! float8 {
    ($name:ident, $narrow:path, $widen:path) => {
        impl $name {
            /// The nearest number; ties to even, too large ones become the largest.
            pub fn from_f32(value: f32) -> Self {
                $name($narrow(value))
            }

            /// The exact value.
            pub fn to_f32(self) -> f32 {
                $widen(self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{:?}", self.to_f32())
            }
        }
    };
}
float8!(F8E4M3, float8::f32_to_e4m3, float8::e4m3_to_f32);
float8!(F8E5M2, float8::f32_to_e5m2, float8::e5m2_to_f32);

macro_rules! element {
    ($($ty:ty => $scalar:ident, $acc:ty, $zero:expr, $($class:ident)*, $number:expr;)*) => { $(
        impl sealed::Sealed for $ty {}
        // SAFETY: same size and representation; kernels write only 0 and 1 for bool.
        unsafe impl Element for $ty {
            const TYPE: ScalarType = ScalarType::$scalar;
            const ZERO: Self = $zero;
            type Acc = $acc;

            fn number(self) -> Number {
                let number: fn(Self) -> Number = $number;
                number(self)
            }
        }
        $( impl $class for $ty {} )*
        const _: () = assert!(size_of::<$ty>() == match ScalarType::$scalar {
            ScalarType::Bool | ScalarType::I8 | ScalarType::U8 | ScalarType::F8E4M3 | ScalarType::F8E5M2 => 1,
            ScalarType::I16 | ScalarType::U16 | ScalarType::F16 | ScalarType::BF16 => 2,
            ScalarType::I32 | ScalarType::U32 | ScalarType::F32 => 4,
            _ => 8,
        });
    )* };
}
element! {
    bool => Bool, i32, false, , Number::from;
    i8 => I8, i32, 0, Num Int, Number::from;
    i16 => I16, i32, 0, Num Int, Number::from;
    i32 => I32, i32, 0, Num Int, Number::from;
    i64 => I64, i64, 0, Num Int, Number::from;
    u8 => U8, u32, 0, Num Int, Number::from;
    u16 => U16, u32, 0, Num Int, Number::from;
    u32 => U32, u32, 0, Num Int, Number::from;
    u64 => U64, u64, 0, Num Int, Number::from;
    half::f16 => F16, f32, half::f16::ZERO, Num Float, Number::from;
    half::bf16 => BF16, f32, half::bf16::ZERO, Num Float, Number::from;
    f32 => F32, f32, 0.0, Num Float, Number::from;
    f64 => F64, f64, 0.0, Num Float, Number::from;
    F8E4M3 => F8E4M3, f32, F8E4M3(0), Num Float, |v| Number::Float(v.to_f32().into());
    F8E5M2 => F8E5M2, f32, F8E5M2(0), Num Float, |v| Number::Float(v.to_f32().into());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accumulators_are_the_languages() {
        fn same<T: Element>() {
            assert_eq!(T::TYPE.acc(), <T::Acc as Element>::TYPE);
            assert_eq!(T::ZERO.number().to_type(T::TYPE).map(|(bits, _)| bits), Some(0));
        }
        same::<bool>();
        same::<i8>();
        same::<i64>();
        same::<u16>();
        same::<u64>();
        same::<half::f16>();
        same::<half::bf16>();
        same::<f32>();
        same::<f64>();
        same::<F8E4M3>();
        same::<F8E5M2>();
    }
}
