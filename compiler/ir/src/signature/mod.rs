//! A kernel's launch signature: everything a launch needs to know without the compiler — parameters, generics, grid, `requires`, schedule
//! and tuning spaces — as plain serializable data. `sema` produces it; the runtime binds arguments to it (`bind`).

mod bind;
mod error;
mod eval;
mod expr;
pub mod facts;
mod overlap;
mod scalar;
mod schedule;

pub use bind::{ArgDesc, Assumptions, Bound, Candidate, Config, Inferred, LaunchOptions, TensorDesc, TuningKey};
pub use error::{ArgKind, BindError, BindErrorKind};
pub use eval::{Env, EvalError, HostValue};
pub use expr::{HostExpr, HostFn};
pub use scalar::Number;
pub use schedule::{Schedule, ScheduleExpr, TuneAxis, TuneSpace};

use serde::{Deserialize, Serialize};

use crate::func::SrcLoc;
use crate::types::ScalarType;

/// The class of a type parameter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum TypeClass {
    /// f8e4m3, f8e5m2, f16, bf16, f32, f64.
    Float,
    /// Integers (without bool and index).
    Int,
    /// Float or Int.
    Num,
    /// Num or bool.
    Any,
}

impl TypeClass {
    /// Whether `ty` belongs to the class.
    pub fn contains(self, ty: ScalarType) -> bool {
        match self {
            _ if ty == ScalarType::Index => false,
            TypeClass::Float => ty.is_float(),
            TypeClass::Int => ty.is_int(),
            TypeClass::Num => ty.is_float() || ty.is_int(),
            TypeClass::Any => true,
        }
    }

    /// The class's name in source.
    pub fn name(self) -> &'static str {
        match self {
            TypeClass::Float => "float",
            TypeClass::Int => "int",
            TypeClass::Num => "num",
            TypeClass::Any => "any",
        }
    }
}

/// A scalar type in a signature.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum TypeRef {
    /// A type as it is.
    Concrete(ScalarType),
    /// Type parameter number `0`.
    Param(u32),
    /// `T::Acc` of type parameter number `0`.
    AccOf(u32),
}

impl TypeRef {
    /// The type, given the launch's type arguments.
    pub fn resolve(self, type_args: &[ScalarType]) -> ScalarType {
        match self {
            TypeRef::Concrete(ty) => ty,
            TypeRef::Param(i) => type_args[i as usize],
            TypeRef::AccOf(i) => type_args[i as usize].acc(),
        }
    }
}

/// The element of a tensor parameter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ElemRef {
    /// Numbers.
    Scalar(TypeRef),
    /// Pointers (8 bytes each).
    Ptr {
        /// What they point to.
        pointee: TypeRef,
        /// Whether stores through them are allowed.
        mutable: bool,
    },
}

/// A type parameter of a kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TypeParam {
    /// Source name.
    pub name: String,
    /// Which types it accepts.
    pub class: TypeClass,
    /// Used when no argument determines it.
    pub default: Option<ScalarType>,
}

/// The type of a constant parameter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ConstType {
    /// An integer (i64).
    Int,
    /// A bool, bound as 0 or 1.
    Bool,
}

/// A `const` parameter of a kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ConstParam {
    /// Source name.
    pub name: String,
    /// Type.
    pub ty: ConstType,
    /// Default, over dimensions and earlier constants.
    pub default: Option<HostExpr>,
    /// Whether the value is taken from a tensor's dimension (it appears as a dimension of a parameter).
    pub from_dims: bool,
}

/// A function parameter (`const F: fn(..) -> ..`).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FnParam {
    /// Source name.
    pub name: String,
    /// Name of the default function.
    pub default: Option<String>,
}

/// A dimension of a tensor parameter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum DimPattern {
    /// `_`.
    Any,
    /// An expression over named dimensions and constants: a lone name binds or must equal; `X + c` and `c * X` may solve for X; the rest is checked.
    Expr(HostExpr),
}

/// What kind of argument a parameter takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum ParamKind {
    /// A tensor.
    Tensor {
        /// Elements.
        elem: ElemRef,
        /// Dimensions.
        dims: Vec<DimPattern>,
        /// Written by the kernel.
        mutable: bool,
        /// In a `#[may_alias]` list.
        may_alias: bool,
    },
    /// A raw pointer.
    Ptr {
        /// What it points to.
        pointee: TypeRef,
        /// Written by the kernel.
        mutable: bool,
    },
    /// A number, given at each launch.
    Scalar {
        /// Type.
        ty: TypeRef,
        /// Used when the launch gives none.
        default: Option<HostExpr>,
    },
}

/// A parameter of a kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ParamSig {
    /// Source name.
    pub name: String,
    /// Doc comment.
    pub doc: String,
    /// Declared with `?`.
    pub optional: bool,
    /// Kind.
    pub kind: ParamKind,
    /// Source place.
    pub loc: SrcLoc,
}

/// A `requires` clause.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Requirement {
    /// The condition.
    pub expr: HostExpr,
    /// Its text in the source, for the error.
    pub text: String,
    /// Source place.
    pub loc: SrcLoc,
}

/// A kernel's launch signature.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KernelSignature {
    /// Kernel name.
    pub name: String,
    /// Doc comment.
    pub doc: String,
    /// Type parameters, in order.
    pub type_params: Vec<TypeParam>,
    /// Constant parameters, in order.
    pub const_params: Vec<ConstParam>,
    /// Function parameters, in order.
    pub fn_params: Vec<FnParam>,
    /// Parameters, in order.
    pub params: Vec<ParamSig>,
    /// Names of the dimensions (that are not constant parameters), numbered by first appearance; `HostExpr::Dim` refers to them.
    pub dims: Vec<String>,
    /// 1 to 5 extents.
    pub grid: Vec<HostExpr>,
    /// Launch conditions.
    pub requires: Vec<Requirement>,
    /// `#[schedule(..)]`.
    pub schedule: ScheduleExpr,
    /// `#[tune(..)]`: spaces swept one after the other.
    pub tune: Vec<TuneSpace>,
    /// `key = [..]` of `#[tune]`.
    pub tune_key: Vec<HostExpr>,
    /// Source place of the name.
    pub loc: SrcLoc,
}

/// What a launch is compiled for: the arguments that `sema` needs to turn a kernel into IR, and the facts that passes may use.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Specialization {
    /// One a type parameter.
    pub types: Vec<ScalarType>,
    /// One a constant parameter (bools as 0 or 1).
    pub consts: Vec<i64>,
    /// One a function parameter: the function's name (a path).
    pub fns: Vec<String>,
    /// One a parameter: whether it is given (always true for required ones).
    pub present: Vec<bool>,
    /// One a parameter: facts of present tensors.
    pub tensors: Vec<Option<crate::func::TensorFacts>>,
    /// Whether every element offset and dimension of every tensor, and every grid extent, fits in a signed 32-bit number.
    pub fits_32_bit: bool,
    /// The schedule to compile with.
    pub schedule: Schedule,
}
