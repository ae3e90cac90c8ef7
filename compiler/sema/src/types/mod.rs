//! Types as the elaborator knows them: like the IR's, but element types may be type parameters or literals that have not adapted yet, and
//! extents may be symbolic.

mod classes;
mod convert;

pub use classes::Kinds;
pub use convert::{Conversion, broadcast};

use std::fmt;

use kiln_ir::signature::TypeClass;
use kiln_ir::{ScalarType, Type};
use smallvec::SmallVec;

use crate::consts::Num;

/// A scalar type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scalar {
    /// A type of the language.
    Known(ScalarType),
    /// A type parameter of the item that is checked generically.
    Param(TypeVar),
    /// `T::Acc` of one.
    AccOf(TypeVar),
    /// An integer constant that takes the type of what it meets (i32 by itself).
    IntLit,
    /// A float constant that takes the type of what it meets (f32 by itself).
    FloatLit,
    /// Depends on type parameters in a way that is decided when they are known.
    Unknown,
}

/// A type parameter in generic code.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TypeVar {
    /// Number among the item's type parameters.
    pub number: u32,
    /// Its class.
    pub class: TypeClass,
    /// Its name.
    pub name: Symbol,
}

/// An interned name: `Copy`, for use inside types. Names of type parameters are few.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Symbol(&'static str);

impl Symbol {
    /// Interns `text` for the life of the process.
    pub fn new(text: &str) -> Symbol {
        use std::collections::HashSet;
        use std::sync::{LazyLock, Mutex};
        static POOL: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Default::default);
        let mut pool = POOL.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(&found) = pool.get(text) {
            return Symbol(found);
        }
        let leaked: &'static str = Box::leak(text.into());
        pool.insert(leaked);
        Symbol(leaked)
    }

    /// The text.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl From<ScalarType> for Scalar {
    fn from(s: ScalarType) -> Scalar {
        Scalar::Known(s)
    }
}

impl Scalar {
    /// `bool`.
    pub const BOOL: Scalar = Scalar::Known(ScalarType::Bool);
    /// `index`.
    pub const INDEX: Scalar = Scalar::Known(ScalarType::Index);
    /// `f32`.
    pub const F32: Scalar = Scalar::Known(ScalarType::F32);
    /// `i32`.
    pub const I32: Scalar = Scalar::Known(ScalarType::I32);

    /// The type of the language, if it is one.
    pub fn known(self) -> Option<ScalarType> {
        match self {
            Scalar::Known(s) => Some(s),
            _ => None,
        }
    }

    /// A constant that still adapts.
    pub fn is_literal(self) -> bool {
        matches!(self, Scalar::IntLit | Scalar::FloatLit)
    }

    /// Literals by themselves are i32 and f32.
    pub fn defaulted(self) -> Scalar {
        match self {
            Scalar::IntLit => Scalar::I32,
            Scalar::FloatLit => Scalar::F32,
            other => other,
        }
    }

    /// What the type accumulates in.
    pub fn acc(self) -> Scalar {
        match self.defaulted() {
            Scalar::Known(s) => Scalar::Known(s.acc()),
            Scalar::Param(v) => Scalar::AccOf(v),
            other => other,
        }
    }

    /// Which kinds of numbers it may be.
    pub fn kinds(self) -> Kinds {
        Kinds::of(self)
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Known(s) => f.write_str(s.name()),
            Scalar::Param(v) => f.write_str(v.name.as_str()),
            Scalar::AccOf(v) => write!(f, "{}::Acc", v.name.as_str()),
            Scalar::IntLit => f.write_str("an integer constant"),
            Scalar::FloatLit => f.write_str("a float constant"),
            Scalar::Unknown => f.write_str("_"),
        }
    }
}

/// What one lane or element is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Elem {
    /// A number or bool.
    Scalar(Scalar),
    /// A pointer.
    Ptr {
        /// What it points to.
        pointee: Scalar,
        /// Whether stores through it are allowed.
        mutable: bool,
    },
}

impl Elem {
    /// The scalar type, if this is not a pointer.
    pub fn scalar(self) -> Option<Scalar> {
        match self {
            Elem::Scalar(s) => Some(s),
            Elem::Ptr { .. } => None,
        }
    }

    fn ir(self) -> Option<kiln_ir::Elem> {
        Some(match self {
            Elem::Scalar(s) => kiln_ir::Elem::Scalar(s.known()?),
            Elem::Ptr { pointee, mutable } => kiln_ir::Elem::Ptr { pointee: pointee.known()?, mutable },
        })
    }
}

impl<T: Into<Scalar>> From<T> for Elem {
    fn from(s: T) -> Elem {
        Elem::Scalar(s.into())
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

/// Extents of a tile.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Shape {
    /// Extents, outermost first; empty for a scalar.
    Dims(SmallVec<[Num; 4]>),
    /// A shape parameter of the item that is checked generically.
    Param(Symbol),
    /// Depends on shape parameters.
    Unknown,
}

impl Shape {
    /// The shape of a scalar.
    pub fn scalar() -> Shape {
        Shape::Dims(SmallVec::new())
    }

    /// A shape from extents.
    pub fn of(dims: impl IntoIterator<Item = Num>) -> Shape {
        Shape::Dims(dims.into_iter().collect())
    }

    /// The extents, when the rank is known.
    pub fn dims(&self) -> Option<&[Num]> {
        match self {
            Shape::Dims(d) => Some(d),
            _ => None,
        }
    }

    /// Whether this is a scalar's shape; no for shape parameters.
    pub fn is_scalar(&self) -> bool {
        matches!(self, Shape::Dims(d) if d.is_empty())
    }

    /// The IR's shape, when every extent is known and fits.
    pub fn ir(&self) -> Option<kiln_ir::Shape> {
        self.dims()?.iter().map(|d| d.known().and_then(|v| u32::try_from(v).ok())).collect()
    }

    /// Whether two shapes are surely different, surely equal, or depend.
    pub fn same(&self, other: &Shape) -> crate::consts::Truth {
        use crate::consts::Truth;
        match (self, other) {
            (Shape::Dims(a), Shape::Dims(b)) => {
                if a.len() != b.len() {
                    return Truth::No;
                }
                let all: SmallVec<[Truth; 4]> = a.iter().zip(b).map(|(x, y)| x.equals(y)).collect();
                if all.contains(&Truth::No) {
                    Truth::No
                } else if all.contains(&Truth::Maybe) {
                    Truth::Maybe
                } else {
                    Truth::Yes
                }
            }
            (Shape::Param(a), Shape::Param(b)) if a == b => Truth::Yes,
            _ => Truth::Maybe,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Dims(dims) => {
                f.write_str("[")?;
                for (i, d) in dims.iter().enumerate() {
                    write!(f, "{}{d}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Shape::Param(name) => f.write_str(name.as_str()),
            Shape::Unknown => f.write_str("_"),
        }
    }
}

/// The type of a tile; scalars are tiles of rank 0.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TileTy {
    /// Lane type.
    pub elem: Elem,
    /// Extents.
    pub shape: Shape,
}

impl TileTy {
    /// A tile type.
    pub fn new(elem: impl Into<Elem>, shape: Shape) -> TileTy {
        TileTy { elem: elem.into(), shape }
    }

    /// A scalar type.
    pub fn scalar(elem: impl Into<Elem>) -> TileTy {
        TileTy::new(elem, Shape::scalar())
    }

    /// The same shape with other lanes.
    pub fn with_elem(&self, elem: impl Into<Elem>) -> TileTy {
        TileTy { elem: elem.into(), shape: self.shape.clone() }
    }

    /// The IR's type, when everything is known.
    pub fn ir(&self) -> Option<Type> {
        Some(Type::tile(self.elem.ir()?, &self.shape.ir()?))
    }
}

impl fmt::Display for TileTy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.shape.is_scalar() { write!(f, "{}", self.elem) } else { write!(f, "tile<{}, {}>", self.elem, self.shape) }
    }
}
