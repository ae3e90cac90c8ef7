//! Expressions the host evaluates at launch: over dimensions, constants and scalar arguments.

use serde::{Deserialize, Serialize};

use crate::ops::{BinaryOp, CmpOp};

/// Functions of host expressions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum HostFn {
    /// `cdiv(a, b)`, rounding up.
    Cdiv,
    /// Smallest power of two that is at least the operand (1 for operands below 1).
    NextPow2,
    Min,
    Max,
    Abs,
}

/// An expression over a launch's numbers. Integers are i64, floats f64; a bool is an integer 0 or 1.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum HostExpr {
    /// An integer.
    Int(i64),
    /// A bool.
    Bool(bool),
    /// A float.
    Float(f64),
    /// Named dimension number `0` of the signature.
    Dim(u32),
    /// Constant parameter number `0`.
    Const(u32),
    /// Scalar parameter with number `0` among all parameters.
    Scalar(u32),
    /// Extent `1` of tensor parameter number `0` (for `x.dim(i)`).
    DimOf(u32, u8),
    /// Stride `1` of tensor parameter number `0`, in elements.
    StrideOf(u32, u8),
    /// Whether optional parameter number `0` is given.
    IsSome(u32),
    /// `T::BITS` of type parameter number `0`.
    BitsOf(u32),
    /// The device's number of multiprocessors (worker threads on the CPU).
    NumSms,
    /// Shared memory a CTA can have on the device, in bytes (`smem` in tuning conditions).
    SharedMemory,
    /// Field number `0` of `Schedule::FIELDS`, as the launch sets it; in tuning conditions alone.
    ScheduleField(u8),
    /// Arithmetic negation.
    Neg(Box<HostExpr>),
    /// Logical not.
    Not(Box<HostExpr>),
    /// Integer or float arithmetic with the language's rules (x / 0 = 0 and x % 0 = x on integers).
    Binary(BinaryOp, Box<HostExpr>, Box<HostExpr>),
    /// A comparison.
    Cmp(CmpOp, Box<HostExpr>, Box<HostExpr>),
    /// Short-circuit and.
    And(Box<HostExpr>, Box<HostExpr>),
    /// Short-circuit or.
    Or(Box<HostExpr>, Box<HostExpr>),
    /// `if c { a } else { b }`.
    If(Box<HostExpr>, Box<HostExpr>, Box<HostExpr>),
    /// A function call.
    Call(HostFn, Vec<HostExpr>),
}
