//! Scalar, element and value types of the Tile IR, interned for the life of the process.
//!
//! A [`Type`] is a pointer to interned data: `Copy`, compared by address, readable without a context. The set of distinct types
//! in a process is small (shapes that appear in kernels), so interned types are never freed.

use std::collections::HashSet;
use std::fmt;
use std::sync::{LazyLock, Mutex};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::entity::LayoutId;

/// The element kinds of the language. `Index` is the type of dimensions, program ids and their arithmetic; it is compiled as 32 or 64 bits
/// a launch (see `Function::index_bits`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ScalarType {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F16,
    BF16,
    F32,
    F64,
    F8E4M3,
    F8E5M2,
    Index,
}

impl ScalarType {
    /// Every scalar type, in declaration order.
    pub const ALL: [ScalarType; 16] = {
        use ScalarType::*;
        [Bool, I8, I16, I32, I64, U8, U16, U32, U64, F16, BF16, F32, F64, F8E4M3, F8E5M2, Index]
    };

    /// The name in source and in the text form.
    pub fn name(self) -> &'static str {
        use ScalarType::*;
        match self {
            Bool => "bool",
            I8 => "i8",
            I16 => "i16",
            I32 => "i32",
            I64 => "i64",
            U8 => "u8",
            U16 => "u16",
            U32 => "u32",
            U64 => "u64",
            F16 => "f16",
            BF16 => "bf16",
            F32 => "f32",
            F64 => "f64",
            F8E4M3 => "f8e4m3",
            F8E5M2 => "f8e5m2",
            Index => "index",
        }
    }

    /// The type called `name` in source, if there is one.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.name() == name)
    }

    /// Bytes in memory. `Bool` is one byte (0 or 1); `Index` never lives in user memory and counts as 8.
    pub fn bytes(self) -> u32 {
        use ScalarType::*;
        match self {
            Bool | I8 | U8 | F8E4M3 | F8E5M2 => 1,
            I16 | U16 | F16 | BF16 => 2,
            I32 | U32 | F32 => 4,
            I64 | U64 | F64 | Index => 8,
        }
    }

    /// Bits of the value (`Bool` has 1, `Index` 64).
    pub fn bits(self) -> u32 {
        if self == ScalarType::Bool { 1 } else { self.bytes() * 8 }
    }

    /// f16, bf16, f32, f64 and the f8 types.
    pub fn is_float(self) -> bool {
        use ScalarType::*;
        matches!(self, F16 | BF16 | F32 | F64 | F8E4M3 | F8E5M2)
    }

    /// Integers including `Index`, not `Bool`.
    pub fn is_int(self) -> bool {
        !self.is_float() && self != ScalarType::Bool
    }

    /// Signed integers; `Index` is signed.
    pub fn is_signed_int(self) -> bool {
        use ScalarType::*;
        matches!(self, I8 | I16 | I32 | I64 | Index)
    }

    /// What the type accumulates in (`T::Acc`): f32 for floats up to 32 bits, i32 or u32 for integers up to 32 bits, i32 for bool, else itself.
    pub fn acc(self) -> ScalarType {
        use ScalarType::*;
        match self {
            F16 | BF16 | F32 | F8E4M3 | F8E5M2 => F32,
            Bool | I8 | I16 | I32 => I32,
            U8 | U16 | U32 => U32,
            other => other,
        }
    }
}

impl fmt::Display for ScalarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What one lane of a tile, or one element of a tensor, is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Elem {
    /// A number or bool.
    Scalar(ScalarType),
    /// A pointer to scalars in global memory (8 bytes).
    Ptr {
        /// What it points to.
        pointee: ScalarType,
        /// Whether stores through it are allowed.
        mutable: bool,
    },
}

impl Elem {
    /// The scalar type, if this is not a pointer.
    pub fn scalar(self) -> Option<ScalarType> {
        match self {
            Elem::Scalar(s) => Some(s),
            Elem::Ptr { .. } => None,
        }
    }

    /// Bytes in memory.
    pub fn bytes(self) -> u32 {
        match self {
            Elem::Scalar(s) => s.bytes(),
            Elem::Ptr { .. } => 8,
        }
    }
}

impl From<ScalarType> for Elem {
    fn from(s: ScalarType) -> Self {
        Elem::Scalar(s)
    }
}

impl fmt::Display for Elem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Elem::Scalar(s) => write!(f, "{s}"),
            Elem::Ptr { pointee, mutable } => write!(f, "{}ptr<{pointee}>", if *mutable { "mut " } else { "" }),
        }
    }
}

/// Extents of a tile, outermost first. Empty for a scalar.
pub type Shape = SmallVec<[u32; 4]>;

/// The data behind a [`Type`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum TypeData {
    /// A tile; a scalar is a tile of rank 0. `layout` is absent before layout assignment.
    Tile {
        /// Lane type.
        elem: Elem,
        /// Extents, any positive integers.
        shape: Shape,
        /// Where each element lives on the GPU, after layout assignment.
        layout: Option<LayoutId>,
    },
    /// A tensor view: base pointer, dims and strides (in elements), all run-time values.
    View {
        /// Element type.
        elem: Elem,
        /// 1 to 5.
        rank: u8,
        /// Whether stores through it are allowed.
        mutable: bool,
    },
}

/// An interned type.
#[derive(Clone, Copy)]
pub struct Type(&'static TypeData);

static POOL: LazyLock<Mutex<HashSet<&'static TypeData>>> = LazyLock::new(Default::default);

impl Type {
    /// Interns `data`.
    pub fn new(data: TypeData) -> Type {
        let mut pool = POOL.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(&found) = pool.get(&data) {
            return Type(found);
        }
        let leaked: &'static TypeData = Box::leak(Box::new(data));
        pool.insert(leaked);
        Type(leaked)
    }

    /// A tile without a layout; `shape` empty gives a scalar.
    pub fn tile(elem: impl Into<Elem>, shape: &[u32]) -> Type {
        Type::new(TypeData::Tile { elem: elem.into(), shape: Shape::from_slice(shape), layout: None })
    }

    /// A tile of rank 0.
    pub fn scalar(elem: impl Into<Elem>) -> Type {
        Type::tile(elem, &[])
    }

    /// A tensor view.
    pub fn view(elem: impl Into<Elem>, rank: u8, mutable: bool) -> Type {
        Type::new(TypeData::View { elem: elem.into(), rank, mutable })
    }

    /// A scalar pointer.
    pub fn ptr(pointee: ScalarType, mutable: bool) -> Type {
        Type::scalar(Elem::Ptr { pointee, mutable })
    }

    /// The scalar `bool`.
    pub fn bool() -> Type {
        Type::scalar(ScalarType::Bool)
    }

    /// The scalar `index`.
    pub fn index() -> Type {
        Type::scalar(ScalarType::Index)
    }

    /// The interned data.
    pub fn data(self) -> &'static TypeData {
        self.0
    }

    /// Element type of a tile or view.
    pub fn elem(self) -> Elem {
        match self.0 {
            TypeData::Tile { elem, .. } | TypeData::View { elem, .. } => *elem,
        }
    }

    /// Scalar element type, if the elements are not pointers.
    pub fn scalar_elem(self) -> Option<ScalarType> {
        self.elem().scalar()
    }

    /// Whether this is a tile (scalars included).
    pub fn is_tile(self) -> bool {
        matches!(self.0, TypeData::Tile { .. })
    }

    /// Whether this is a tile of rank 0.
    pub fn is_scalar(self) -> bool {
        matches!(self.0, TypeData::Tile { shape, .. } if shape.is_empty())
    }

    /// Whether this is a tensor view.
    pub fn is_view(self) -> bool {
        matches!(self.0, TypeData::View { .. })
    }

    /// Extents of a tile; empty for scalars and for views.
    pub fn shape(self) -> &'static [u32] {
        match self.0 {
            TypeData::Tile { shape, .. } => shape,
            TypeData::View { .. } => &[],
        }
    }

    /// Number of dimensions of a tile or view.
    pub fn rank(self) -> usize {
        match self.0 {
            TypeData::Tile { shape, .. } => shape.len(),
            TypeData::View { rank, .. } => *rank as usize,
        }
    }

    /// Number of elements of a tile (1 for a scalar).
    pub fn num_elements(self) -> u64 {
        self.shape().iter().map(|&d| u64::from(d)).product()
    }

    /// The layout of a tile, once assigned.
    pub fn layout(self) -> Option<LayoutId> {
        match self.0 {
            TypeData::Tile { layout, .. } => *layout,
            TypeData::View { .. } => None,
        }
    }

    /// The same tile with another element type (keeps shape and layout).
    pub fn with_elem(self, elem: impl Into<Elem>) -> Type {
        let mut data = self.0.clone();
        match &mut data {
            TypeData::Tile { elem: e, .. } | TypeData::View { elem: e, .. } => *e = elem.into(),
        }
        Type::new(data)
    }

    /// The same element type with another shape and no layout.
    pub fn with_shape(self, shape: &[u32]) -> Type {
        Type::tile(self.elem(), shape)
    }

    /// The same tile with a layout. Views are returned unchanged.
    pub fn with_layout(self, layout: Option<LayoutId>) -> Type {
        match self.0 {
            TypeData::Tile { elem, shape, .. } => Type::new(TypeData::Tile { elem: *elem, shape: shape.clone(), layout }),
            TypeData::View { .. } => self,
        }
    }
}

impl PartialEq for Type {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}
impl Eq for Type {}
impl std::hash::Hash for Type {
    // By content, so that a hash never depends on addresses.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// `f32`, `tile<f32, [64, 128]>`, `tile<f32, [64, 128], #layout3>`, `tensor<f32, 2>`, `mut tensor<f32, 2>`, `ptr<f32>`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            TypeData::Tile { elem, shape, layout: None } if shape.is_empty() => write!(f, "{elem}"),
            TypeData::Tile { elem, shape, layout } => {
                write!(f, "tile<{elem}, [")?;
                for (i, d) in shape.iter().enumerate() {
                    write!(f, "{}{d}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("]")?;
                if let Some(layout) = layout {
                    write!(f, ", {layout}")?;
                }
                f.write_str(">")
            }
            TypeData::View { elem, rank, mutable } => {
                write!(f, "{}tensor<{elem}, {rank}>", if *mutable { "mut " } else { "" })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interning_makes_equal_types_identical() {
        let a = Type::tile(ScalarType::F32, &[3, 5]);
        assert_eq!(a, Type::tile(ScalarType::F32, &[3, 5]));
        assert_ne!(a, Type::tile(ScalarType::F32, &[5, 3]));
        assert_eq!(a.to_string(), "tile<f32, [3, 5]>");
        assert_eq!(Type::scalar(ScalarType::F32).to_string(), "f32");
        assert_eq!(a.num_elements(), 15);
    }

    #[test]
    fn accumulator_types_follow_the_language() {
        assert_eq!(ScalarType::Bool.acc(), ScalarType::I32);
        assert_eq!(ScalarType::F8E5M2.acc(), ScalarType::F32);
        assert_eq!(ScalarType::U16.acc(), ScalarType::U32);
        assert_eq!(ScalarType::I64.acc(), ScalarType::I64);
        assert_eq!(ScalarType::Index.acc(), ScalarType::Index);
    }
}
