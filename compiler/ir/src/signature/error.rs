//! What can be wrong with a launch's arguments. Every kind has a code of the range K10xx, texts with both values, and the places in the source.

use thiserror::Error;

use super::scalar::Number;
use crate::func::SrcLoc;
use crate::types::{Elem, ScalarType};

/// A launch that cannot be: which kernel, what is wrong, where its source says otherwise.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("cannot launch kernel `{kernel}`: {kind}")]
pub struct BindError {
    /// The kernel.
    pub kernel: String,
    /// What is wrong.
    pub kind: BindErrorKind,
    /// Places in the kernel's source with something to say about them; the first is what the error is about.
    pub labels: Vec<(SrcLoc, String)>,
    /// What to do about it, where that is known.
    pub help: Option<String>,
}

impl BindError {
    /// The code in the registry of diagnostics.
    pub fn code(&self) -> &'static str {
        self.kind.code()
    }
}

/// What kind of argument something is, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ArgKind {
    Tensor,
    Pointer,
    Number,
    Nothing,
}

impl std::fmt::Display for ArgKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ArgKind::Tensor => "a tensor",
            ArgKind::Pointer => "a pointer",
            ArgKind::Number => "a number",
            ArgKind::Nothing => "nothing",
        })
    }
}

/// What is wrong with a launch. Places such as "`a` (axis 1)" are texts.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs)]
pub enum BindErrorKind {
    #[error("it takes {expected} arguments, but {found} are given")]
    Count { expected: usize, found: usize },
    #[error("argument `{param}` is missing")]
    Missing { param: String },
    #[error("there is no {what} called `{name}`")]
    UnknownName { what: &'static str, name: String },
    #[error("`{param}` takes {expected}, but {found} is given")]
    Kind { param: String, expected: ArgKind, found: ArgKind },
    #[error("`{param}` has {expected} dimensions, but the tensor given has {found} (its shape is {shape:?})")]
    Rank { param: String, expected: usize, found: usize, shape: Vec<i64> },
    #[error("the elements of `{param}` are {expected}, but those of the tensor given are {found}")]
    Elem { param: String, expected: String, found: Elem },
    #[error("type `{name}` is {first} in {first_place}, but {second} in {second_place}")]
    TypeConflict { name: String, first: ScalarType, first_place: String, second: ScalarType, second_place: String },
    #[error("type `{name}` has to be {class}, but is {found} in {place}")]
    TypeClass { name: String, class: &'static str, found: ScalarType, place: String },
    #[error("dimension `{name}` is {first} in {first_place}, but {second} in {second_place}")]
    DimConflict { name: String, first: i64, first_place: String, second: i64, second_place: String },
    #[error("{place} has {found} elements, but `{text}` is {expected}{because}")]
    DimMismatch { place: String, found: i64, text: String, expected: i64, because: String },
    #[error("{place} has {found} elements, which is not `{text}` for any `{name}` of at least 0")]
    DimUnsolvable { place: String, found: i64, text: String, name: String },
    #[error("{what} `{name}` is not determined by the arguments")]
    Undetermined { what: &'static str, name: String },
    #[error("constant `{name}` takes {expected}, but {found} is given")]
    ConstType { name: String, expected: &'static str, found: i64 },
    #[error("`requires {text}` does not hold{because}")]
    Requires { text: String, because: String },
    #[error("`{first}` and `{second}` overlap in memory, and `{written}` is written")]
    Overlap { first: String, second: String, written: String },
    #[error("`{param}` is written by the kernel, but the tensor given is read-only")]
    ReadOnly { param: String },
    #[error("{what} does not fit in 64 bits{because}")]
    TooBig { what: String, because: String },
    #[error("axis {axis} of the grid, `{text}`, is {value}{because}")]
    NegativeGrid { axis: usize, text: String, value: i64, because: String },
    #[error("`{param}` begins at address {address:#x}, which is not a multiple of {align} bytes, the size of {elem}")]
    Misaligned { param: String, address: u64, align: u32, elem: Elem },
    #[error("{found} does not fit `{param}`, which is of type {expected}")]
    Number { param: String, expected: ScalarType, found: Number },
    #[error("schedule field `{field}` takes {expected}, but {found} is given")]
    Schedule { field: String, expected: &'static str, found: String },
    #[error("`{text}` uses `{name}`, which is absent")]
    Absent { text: String, name: String },
    #[error("internal error: the signature's expression `{text}` is ill-typed; this is a bug in Kiln")]
    IllTyped { text: String },
}

impl BindErrorKind {
    /// The code in the registry of diagnostics.
    pub fn code(&self) -> &'static str {
        use BindErrorKind::*;
        match self {
            Count { .. } | Missing { .. } => "K1000",
            UnknownName { .. } => "K1001",
            DimConflict { .. } | DimMismatch { .. } | DimUnsolvable { .. } => "K1002",
            Rank { .. } => "K1003",
            Elem { .. } | TypeConflict { .. } => "K1004",
            TypeClass { .. } => "K1005",
            Kind { .. } => "K1006",
            Undetermined { .. } | Absent { .. } => "K1007",
            Requires { .. } => "K1008",
            Overlap { .. } => "K1009",
            TooBig { .. } | NegativeGrid { .. } => "K1010",
            ConstType { .. } | Number { .. } => "K1011",
            Schedule { .. } => "K1012",
            ReadOnly { .. } => "K1013",
            Misaligned { .. } => "K1014",
            IllTyped { .. } => "K1099",
        }
    }
}
