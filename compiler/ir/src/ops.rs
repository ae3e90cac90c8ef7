//! The small enums that instructions are made of: operators, comparison predicates, memory orders and hints.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::ScalarType;

/// Declares a plain enum with a text name per variant, `ALL`, `name`, `from_name` and `Display`.
macro_rules! named_enum {
    ($(#[$meta:meta])* $vis:vis enum $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
        $vis enum $name { $($(#[$vmeta])* $variant),* }

        impl $name {
            /// Every variant, in declaration order.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The name in the text form.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text),* }
            }

            /// The variant with this name in the text form.
            pub fn from_name(text: &str) -> Option<Self> {
                match text { $($text => Some($name::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named_enum! {
    /// Lane-by-lane operators with one operand; the result has the operand's type.
    pub enum UnaryOp {
        /// Negation; wraps on integers.
        Neg = "neg",
        /// Bitwise on integers, logical on bool.
        Not = "not",
        /// Absolute value; wraps on `MIN`.
        Abs = "abs",
        /// Toward minus infinity (floats).
        Floor = "floor",
        /// Toward plus infinity (floats).
        Ceil = "ceil",
        /// To nearest, ties to even (floats).
        Round = "round",
        /// Toward zero (floats).
        Trunc = "trunc",
        /// Correctly rounded square root (floats).
        Sqrt = "sqrt",
        /// 2^x, hardware approximation (f32; at most 2 ulp plus 2^-22 relative; subnormal results may flush).
        FastExp2 = "fast_exp2",
        /// log2 x, hardware approximation (f32).
        FastLog2 = "fast_log2",
        /// sin x, hardware approximation, good for |x| up to about 100 (f32).
        FastSin = "fast_sin",
        /// cos x, hardware approximation, good for |x| up to about 100 (f32).
        FastCos = "fast_cos",
        /// tanh x, hardware approximation, about 2^-11 relative (f32).
        FastTanh = "fast_tanh",
        /// 1/x, at most 1 ulp (f32).
        FastRcp = "fast_rcp",
        /// 1/sqrt(x), at most 2 ulp (f32).
        FastRsqrt = "fast_rsqrt",
        /// sqrt(x), approximate (f32).
        FastSqrt = "fast_sqrt",
    }
}

named_enum! {
    /// Lane-by-lane operators with two operands of one type; the result has that type.
    pub enum BinaryOp {
        /// Sum; wraps on integers.
        Add = "add",
        /// Difference; wraps on integers.
        Sub = "sub",
        /// Product; wraps on integers.
        Mul = "mul",
        /// Quotient; truncates on integers, x / 0 = 0, MIN / -1 wraps; IEEE on floats.
        Div = "div",
        /// Remainder with the sign of the dividend; x % 0 = x; fmod on floats.
        Rem = "rem",
        /// Smaller; NaN if either is NaN.
        Min = "min",
        /// Larger; NaN if either is NaN.
        Max = "max",
        /// Smaller; ignores a NaN operand (floats).
        FMin = "fmin",
        /// Larger; ignores a NaN operand (floats).
        FMax = "fmax",
        /// Bitwise on integers, logical on bool.
        And = "and",
        /// Bitwise on integers, logical on bool.
        Or = "or",
        /// Bitwise on integers, logical on bool.
        Xor = "xor",
        /// Left shift; an amount of at least the width (or negative) gives 0.
        Shl = "shl",
        /// Right shift, arithmetic on signed integers; an amount of at least the width (or negative) gives 0 or the sign.
        Shr = "shr",
        /// High half of the full product (u32, i32, u64, i64).
        MulHi = "mulhi",
        /// a / b, approximate, at most 2 ulp for ordinary magnitudes (f32).
        FastDiv = "fast_div",
    }
}

impl BinaryOp {
    /// Whether `a op b == b op a` for every pair, bit for bit.
    pub fn is_commutative(self) -> bool {
        use BinaryOp::*;
        matches!(self, Add | Mul | Min | Max | FMin | FMax | And | Or | Xor | MulHi)
    }
}

named_enum! {
    /// Comparison predicates; operands of one type, the result is bool of the same shape. On floats every predicate but `Ne` is false when
    /// an operand is NaN.
    #[allow(missing_docs)]
    pub enum CmpOp {
        Eq = "eq",
        Ne = "ne",
        Lt = "lt",
        Le = "le",
        Gt = "gt",
        Ge = "ge",
    }
}

named_enum! {
    /// How `dot` may round its inputs (language reference, `dot`).
    pub enum DotPrecision {
        /// Inputs as they are, products exact or fused, accumulation in the accumulator's type.
        Ieee = "ieee",
        /// f32 inputs rounded to tf32.
        Tf32 = "tf32",
        /// f32 inputs split in tf32 parts, three products.
        Tf32x3 = "tf32x3",
        /// f32 inputs split in bf16 parts, three products.
        Bf16x3 = "bf16x3",
    }
}

named_enum! {
    /// Element formats of `dot_scaled` (OCP microscaling formats).
    #[allow(missing_docs)]
    pub enum ScaledFormat {
        E2M1 = "e2m1",
        E2M3 = "e2m3",
        E3M2 = "e3m2",
        E4M3 = "e4m3",
        E5M2 = "e5m2",
        Bf16 = "bf16",
        F16 = "f16",
    }
}

named_enum! {
    /// Read-modify-write operators of atomics.
    #[allow(missing_docs)]
    pub enum AtomicOp {
        Add = "add",
        Max = "max",
        Min = "min",
        And = "and",
        Or = "or",
        Xor = "xor",
        Xchg = "xchg",
    }
}

impl AtomicOp {
    /// Whether the TMA engine does this operation on elements of that type in global memory. PTX ISA, "cp.reduce.async.bulk", lists types for each operation;
    /// of "cp.reduce.async.bulk.tensor", whose type is the tensor map's, it says none, so that the same list is taken to hold.
    pub fn reduces_in_copies(self, elem: ScalarType) -> bool {
        use ScalarType::*;
        match self {
            AtomicOp::Add => matches!(elem, I32 | U32 | U64 | F16 | BF16 | F32 | F64),
            AtomicOp::Max | AtomicOp::Min => matches!(elem, I32 | U32 | I64 | U64 | F16 | BF16),
            AtomicOp::And | AtomicOp::Or | AtomicOp::Xor => matches!(elem, I32 | U32 | I64 | U64),
            AtomicOp::Xchg => false,
        }
    }
}

named_enum! {
    /// Memory order of an atomic.
    #[allow(missing_docs)]
    pub enum MemOrder {
        Relaxed = "relaxed",
        Acquire = "acquire",
        Release = "release",
        AcqRel = "acq_rel",
    }
}

named_enum! {
    /// Who observes an atomic in order.
    #[allow(missing_docs)]
    pub enum MemScope {
        Device = "device",
        Program = "program",
        System = "system",
    }
}

named_enum! {
    /// Cache operator of a load or store (PTX ISA, "Cache Operators").
    #[allow(missing_docs)]
    pub enum CacheOp {
        Default = "default",
        Ca = "ca",
        Cg = "cg",
        Cs = "cs",
    }
}

named_enum! {
    /// Eviction priority of a load or store (PTX ISA, "Cache Eviction Priority Hints").
    #[allow(missing_docs)]
    pub enum Evict {
        Normal = "normal",
        First = "first",
        Last = "last",
    }
}
