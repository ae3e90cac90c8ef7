//! What instructions are made of besides values: constants, places in memory, combinations, attributes of loops.

use smallvec::SmallVec;

use crate::entity::{Block, Value};

/// A constant splat to every lane. Integers, bools (0/1) and `index` are kept in `Int` (sign-extended, or zero-extended for unsigned types);
/// floats of every width in `Float`, already rounded to the type.
#[derive(Clone, Copy, Debug)]
pub enum Const {
    /// An integer, bool, `index`, or null pointer (0).
    Int(i64),
    /// A float; compared and hashed by bits.
    Float(f64),
}

impl PartialEq for Const {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Const::Int(a), Const::Int(b)) => a == b,
            (Const::Float(a), Const::Float(b)) => a.to_bits() == b.to_bits(),
            _ => false,
        }
    }
}
impl Eq for Const {}
impl std::hash::Hash for Const {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        match self {
            Const::Int(a) => (0u8, *a as u64).hash(state),
            Const::Float(a) => (1u8, a.to_bits()).hash(state),
        }
    }
}

/// How one dimension of a view is accessed by a load, store or atomic.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SliceIndex {
    /// A scalar `index`: drops the dimension.
    At(Value),
    /// `start..+len`: a scalar `index` start and a constant length; keeps the dimension.
    Span {
        /// First element.
        start: Value,
        /// Number of elements.
        len: u32,
    },
    /// A tile of `index`: all gather tiles of one access broadcast together, and their joint axes stand where the first of them stands.
    Gather(Value),
}

/// An access to elements of a view. Lanes whose index is below 0 or at or past the dimension's extent are out of bounds: they read the
/// access's `other` (0 when absent) and are never written.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ViewAccess {
    /// The view.
    pub view: Value,
    /// One entry a dimension of the view.
    pub index: SmallVec<[SliceIndex; 4]>,
    /// Bit `d` set: dimension `d` is proved in bounds for every lane (set by the mask-elimination pass), so no check is needed.
    pub in_bounds: u8,
}

/// Where a load, store or atomic goes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// Elements of a view.
    View(ViewAccess),
    /// A pointer or tile of pointers. No bounds check: the mask is all there is.
    Ptr(Value),
}

/// How one dimension of a view is narrowed by `SubView`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ViewIndex {
    /// A scalar `index`: drops the dimension. Out of bounds makes every remaining extent 0.
    At(Value),
    /// `lo..hi`, both scalar `index`, clamped to the parent; empty when lo > hi.
    Range {
        /// First element kept.
        lo: Value,
        /// One past the last element kept.
        hi: Value,
    },
    /// The whole dimension.
    Full,
}

/// How a reduction or scan combines two elements. Builtin forms have one operand except `ArgMax`/`ArgMin` (values, then i32 positions).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Combine {
    Add,
    Mul,
    /// NaN wins.
    Max,
    /// NaN wins.
    Min,
    /// NaN is ignored.
    FMax,
    /// NaN is ignored.
    FMin,
    And,
    Or,
    Xor,
    /// Operands (values, positions); ties go to the lowest position, NaN counts as the greatest (and wins).
    ArgMax,
    /// Operands (values, positions); ties go to the lowest position, NaN wins.
    ArgMin,
    /// A block with parameters (a1..an, b1..bn), scalars, that yields n scalars. Associative; not assumed commutative.
    Region(Block),
}

/// Attributes written before a loop.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct LoopAttrs {
    /// `#[stages(n)]`.
    pub stages: Option<u32>,
    /// `#[specialize]`.
    pub specialize: bool,
    /// `unroll(..)`.
    pub unroll: bool,
    /// A trip is a program of its own, in no order with the others (the pass `persist`).
    pub programs: bool,
}
