//! What expressions evaluate to while a body is elaborated.

use std::fmt;
use std::sync::Arc;

use kiln_ir::Value;
use kiln_ir::ops::{CacheOp, Evict};
use kiln_syntax::ast;
use kiln_syntax::span::Span;
use smallvec::SmallVec;

use crate::consts::{Konst, Num};
use crate::names::ItemId;
use crate::types::{Elem, Scalar, Shape, TileTy};

/// A value. Reading a variable whose definition was wrong gives no value at all (`Poison`).
#[derive(Clone, Debug)]
pub enum Val<'p> {
    /// No value: what stores and functions without result give.
    Unit,
    /// A tile or scalar.
    Tile(TileVal),
    /// A tensor.
    View(ViewVal),
    /// A slice of a tensor that has not been read yet.
    Access(Box<Access>),
    /// Several values.
    Tuple(Vec<Val<'p>>),
    /// A function.
    Fn(FnVal<'p>),
    /// An optional parameter that is not given.
    Absent(Arc<str>),
    /// A string literal.
    Str(Arc<str>),
}

/// A tile, with its constant where it is one.
#[derive(Clone, Debug)]
pub struct TileVal {
    /// Type.
    pub ty: TileTy,
    /// The constant: of a scalar, or of a whole tile (`Konst::List`).
    pub konst: Option<Konst>,
    /// The IR value; constants get one where they are needed.
    pub ir: Option<Value>,
    /// What warnings need to know of its history.
    pub history: History,
}

/// What is remembered of how a value came about, for warnings.
#[derive(Clone, Copy, Default, Debug)]
pub struct History {
    /// A product of sized 32-bit (or narrower) integers that may have wrapped.
    pub product: Option<Span>,
    /// The `.or(-inf)` of the load it is.
    pub or_neg_inf: Option<Span>,
}

impl TileVal {
    /// A value of the IR.
    pub fn new(ty: TileTy, ir: Option<Value>) -> TileVal {
        TileVal { ty, konst: None, ir, history: History::default() }
    }

    /// A scalar constant.
    pub fn constant(elem: impl Into<Elem>, konst: Konst) -> TileVal {
        TileVal { ty: TileTy::scalar(elem), konst: Some(konst), ir: None, history: History::default() }
    }

    /// An integer constant that adapts.
    pub fn int(num: impl Into<Num>) -> TileVal {
        TileVal::constant(Scalar::IntLit, Konst::Int(num.into()))
    }

    /// A bool constant.
    pub fn bool(value: Option<bool>) -> TileVal {
        TileVal::constant(Scalar::BOOL, Konst::Bool(value))
    }

    /// The scalar type of the lanes, if they are not pointers.
    pub fn scalar(&self) -> Option<Scalar> {
        self.ty.elem.scalar()
    }

    /// Whether it is of rank 0 (no for shape parameters).
    pub fn is_scalar(&self) -> bool {
        self.ty.shape.is_scalar()
    }

    /// The constant integer, when it is one.
    pub fn num(&self) -> Option<&Num> {
        self.konst.as_ref().and_then(Konst::num)
    }
}

/// One dimension of a tensor.
#[derive(Clone, PartialEq, Debug)]
pub enum DimVal {
    /// A constant.
    Const(Num),
    /// Known at run time.
    Dyn,
}

/// A tensor view.
#[derive(Clone, Debug)]
pub struct ViewVal {
    /// Elements.
    pub elem: Elem,
    /// Extents.
    pub dims: SmallVec<[DimVal; 5]>,
    /// Whether stores are allowed.
    pub mutable: bool,
    /// The IR value.
    pub ir: Option<Value>,
    /// The parameter or `view(..)` it comes from.
    pub origin: Option<(Arc<str>, Span)>,
}

impl fmt::Display for ViewVal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}tensor<{}, [", if self.mutable { "mut " } else { "" }, self.elem)?;
        for (i, d) in self.dims.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            match d {
                DimVal::Const(n) => write!(f, "{comma}{n}")?,
                DimVal::Dyn => write!(f, "{comma}_")?,
            }
        }
        f.write_str("]>")
    }
}

/// How one dimension is accessed.
#[derive(Clone, Debug)]
pub enum AccessIndex {
    /// A scalar `index`.
    At(TileVal),
    /// `start..+len`.
    Span(TileVal, Num),
    /// A tile of `index`.
    Gather(TileVal),
}

/// A slice that stands for memory until it is read or written.
#[derive(Clone, Debug)]
pub struct Access {
    /// The tensor, or the pointers.
    pub place: AccessPlace,
    /// Elements.
    pub elem: Elem,
    /// Shape of the tile it reads or writes.
    pub shape: Shape,
    /// Whether it may be written.
    pub mutable: bool,
    /// Parameter it comes from.
    pub origin: Option<(Arc<str>, Span)>,
    /// `.mask(..)`.
    pub mask: Option<TileVal>,
    /// `.or(..)`.
    pub other: Option<TileVal>,
    /// The `.or(-inf)`, for the warning.
    pub or_neg_inf: Option<Span>,
    /// `.cache(..)`.
    pub cache: CacheOp,
    /// `.evict(..)`.
    pub evict: Evict,
    /// Where it stands.
    pub span: Span,
}

/// What an access goes to.
#[derive(Clone, Debug)]
pub enum AccessPlace {
    /// Elements of a tensor.
    View {
        /// The view.
        view: Option<Value>,
        /// One a dimension.
        index: Vec<AccessIndex>,
    },
    /// A tile of pointers.
    Ptr(TileVal),
}

/// A function as a value: an argument of a function parameter.
#[derive(Clone, Debug)]
pub enum FnVal<'p> {
    /// A function of a file.
    Item(ItemId),
    /// A builtin.
    Builtin(&'static crate::builtins::Builtin),
    /// A function parameter of the item that is checked generically, with its parameter and result types.
    Opaque {
        /// Name of the parameter.
        name: Arc<str>,
        /// The declared type.
        ty: &'p ast::TypeExpr,
    },
}

impl fmt::Display for Val<'_> {
    /// The type, for messages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Val::Unit => f.write_str("nothing"),
            Val::Tile(t) => write!(f, "{}", t.ty),
            Val::View(v) => write!(f, "{v}"),
            Val::Access(a) => write!(f, "{}", TileTy::new(a.elem, a.shape.clone())),
            Val::Tuple(list) => {
                f.write_str("(")?;
                for (i, v) in list.iter().enumerate() {
                    write!(f, "{}{v}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
            Val::Fn(_) => f.write_str("a function"),
            Val::Absent(name) => write!(f, "the absent `{name}`"),
            Val::Str(_) => f.write_str("a string"),
        }
    }
}
