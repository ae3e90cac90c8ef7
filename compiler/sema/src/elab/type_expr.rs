//! Types as written, with the names in scope.

use kiln_ir::ScalarType;
use kiln_syntax::ast::{self, Dim, TypeArg, TypeArgKind, TypeExpr, TypeKind};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;
use smallvec::SmallVec;

use super::expr::describe;
use super::value::{DimVal, TileVal, Val, ViewVal};
use super::{Binding, Elab, Poison, R};
use crate::consts::{Num, Truth};
use crate::names::closest;
use crate::types::{Elem, Scalar, Shape, TileTy};

/// A written type, evaluated.
#[derive(Clone, Debug)]
pub enum TyVal {
    /// `_`.
    Infer,
    /// A tile or scalar.
    Tile(TileTy),
    /// A tensor.
    View {
        /// Elements.
        elem: Elem,
        /// Extents that are constant.
        dims: Vec<Option<Num>>,
        /// `mut`.
        mutable: bool,
    },
    /// `(A, B)`.
    Tuple(Vec<TyVal>),
    /// `fn(..) -> ..`.
    Fn,
}

const TYPE_WORDS: [&str; 3] = ["tile", "tensor", "ptr"];

impl<'p> Elab<'p> {
    /// A scalar type: `f32`, `T`, `T::Acc`.
    pub fn scalar_path(&mut self, path: &'p ast::Path) -> R<Scalar> {
        match path.segments.as_slice() {
            [name] => {
                if let Some(s) = self.lookup_type(&name.name) {
                    return Ok(s);
                }
                Err(self.unknown_type(&name.name, path.span))
            }
            [name, acc] => match self.lookup_type(&name.name) {
                Some(s) if acc.as_str() == "Acc" => Ok(s.acc()),
                Some(s) => {
                    let mut d = Diagnostic::error(codes::UNKNOWN_TYPE, format!("`{s}` has no type `{}`", acc.name))
                        .primary(acc.span, "not found");
                    d = match acc.as_str() {
                        "MAX" | "MIN" | "EPS" | "BITS" => d.note(format!("`{path}` is a value, not a type")),
                        _ => d.suggest("the type a sum has is `Acc`", acc.span, "Acc"),
                    };
                    Err(self.report(d))
                }
                None => Err(self.unknown_type(&name.name, name.span)),
            },
            _ => Err(self.unknown_type(&path.to_string(), path.span)),
        }
    }

    fn unknown_type(&mut self, name: &str, span: Span) -> Poison {
        let mut d =
            Diagnostic::error(codes::UNKNOWN_TYPE, format!("there is no scalar type `{name}`")).primary(span, "not found");
        let foreign = match name {
            "float" | "float32" | "Float" | "half" => Some(if name == "half" { "f16" } else { "f32" }),
            "double" | "float64" => Some("f64"),
            "float16" => Some("f16"),
            "bfloat16" => Some("bf16"),
            "int" | "int32" | "int32_t" => Some("i32"),
            "int64" | "long" | "isize" => Some("i64"),
            "uint32" | "uint" => Some("u32"),
            "usize" | "size_t" => Some("index"),
            "boolean" => Some("bool"),
            "fp8" | "float8" => Some("f8e4m3"),
            _ => None,
        };
        let names = self.names_in_scope();
        let params = names.iter().filter(|n| matches!(self.lookup(n), Some(Binding::Type(_)))).map(|n| &**n);
        let near = foreign.or_else(|| closest(name, ScalarType::ALL.iter().map(|s| s.name()).chain(params).chain(TYPE_WORDS)));
        if TYPE_WORDS.contains(&name) {
            d = d.help(match name {
                "tile" => "a tile is written `tile<f32, [M, N]>`",
                "tensor" => "a tensor is written `tensor<f32, [M, N]>`",
                _ => "a pointer is written `ptr<f32>` or `mut ptr<f32>`",
            });
        } else if let Some(near) = near {
            d = d.suggest(format!("did you mean `{near}`?"), span, near);
        }
        self.report(d)
    }

    fn malformed(&mut self, span: Span, message: impl Into<String>, label: impl Into<String>) -> Poison {
        self.error(codes::BAD_TYPE, span, message, label)
    }

    /// Evaluates a written type. A `?` is the caller's business.
    pub fn type_of(&mut self, te: &'p TypeExpr) -> R<TyVal> {
        self.step(te.span)?;
        match &te.kind {
            TypeKind::Infer => Ok(TyVal::Infer),
            TypeKind::Tuple(list) => {
                let list: Vec<R<TyVal>> = list.iter().map(|t| self.type_of(t)).collect();
                Ok(TyVal::Tuple(list.into_iter().collect::<R<_>>()?))
            }
            TypeKind::Fn { .. } => Ok(TyVal::Fn),
            TypeKind::Path { path, args } => {
                let word = path.as_ident().map(|i| i.as_str());
                if let (Some(m), false) = (te.mutable, matches!(word, Some("tensor" | "ptr"))) {
                    return Err(self.malformed(m, "`mut` belongs to tensors and pointers", "not here"));
                }
                match (word, args) {
                    (Some("tile"), Some(args)) => {
                        let [elem, shape] = args.as_slice() else {
                            return Err(self.malformed(
                                te.span,
                                "a tile type is `tile<element, [extents]>`",
                                format!("{} arguments", args.len()),
                            ));
                        };
                        let (elem, shape) = (self.elem_arg(elem), self.shape_arg(shape));
                        let (elem, shape) = (elem?, shape?);
                        self.check_shape(&shape, te.span)?;
                        Ok(TyVal::Tile(TileTy { elem, shape }))
                    }
                    (Some("tensor"), Some(args)) => {
                        let [elem, dims] = args.as_slice() else {
                            return Err(self.malformed(
                                te.span,
                                "a tensor type is `tensor<element, [dimensions]>`",
                                format!("{} arguments", args.len()),
                            ));
                        };
                        let elem = self.elem_arg(elem)?;
                        let TypeArgKind::Dims(list) = &dims.kind else {
                            return Err(self.malformed(dims.span, "the dimensions of a tensor are a list", "write `[M, N]`"));
                        };
                        if !(1..=5).contains(&list.len()) {
                            return Err(self.malformed(
                                dims.span,
                                format!("a tensor of rank {}", list.len()),
                                "tensors have 1 to 5 dimensions",
                            ));
                        }
                        let dims: Vec<R<Option<Num>>> = list.iter().map(|d| self.dim_value(d)).collect();
                        Ok(TyVal::View { elem, dims: dims.into_iter().collect::<R<_>>()?, mutable: te.mutable.is_some() })
                    }
                    (Some("ptr"), Some(_)) => Ok(TyVal::Tile(TileTy::scalar(self.elem(te)?))),
                    (_, None) => Ok(TyVal::Tile(TileTy::scalar(self.scalar_path(path)?))),
                    (_, Some(_)) => Err(self.malformed(
                        te.span,
                        format!("`{path}` takes no arguments"),
                        "types with arguments are `tile`, `tensor` and `ptr`",
                    )),
                }
            }
        }
    }

    fn dim_value(&mut self, dim: &'p Dim) -> R<Option<Num>> {
        match dim {
            Dim::Any(_) => Ok(None),
            Dim::Expr(e) => Ok(self.tile(e)?.num().cloned()),
        }
    }

    /// An element: a scalar type or a pointer.
    pub fn elem(&mut self, te: &'p TypeExpr) -> R<Elem> {
        match &te.kind {
            TypeKind::Path { path, args: None } if te.mutable.is_none() => Ok(Elem::Scalar(self.scalar_path(path)?)),
            TypeKind::Path { path, args: Some(args) } if path.as_ident().is_some_and(|i| i.as_str() == "ptr") => {
                let [pointee] = args.as_slice() else {
                    return Err(self.malformed(te.span, "a pointer type is `ptr<element>`", format!("{} arguments", args.len())));
                };
                match self.elem_arg(pointee)? {
                    Elem::Scalar(pointee) => Ok(Elem::Ptr { pointee, mutable: te.mutable.is_some() }),
                    Elem::Ptr { .. } => {
                        Err(self.malformed(pointee.span, "there are no pointers to pointers", "must be a scalar type"))
                    }
                }
            }
            _ => Err(self.malformed(te.span, "an element is a scalar type or a pointer", "not one")),
        }
    }

    /// The element argument of `tile<..>`, `tensor<..>`, `ptr<..>`.
    pub fn elem_arg(&mut self, arg: &'p TypeArg) -> R<Elem> {
        match &arg.kind {
            TypeArgKind::Type(te) => self.elem(te),
            _ => Err(self.malformed(arg.span, "expected an element type", "not a type")),
        }
    }

    /// The shape argument of `tile<..>`.
    pub fn shape_arg(&mut self, arg: &'p TypeArg) -> R<Shape> {
        match &arg.kind {
            TypeArgKind::Dims(dims) => {
                let mut out: SmallVec<[Num; 4]> = SmallVec::new();
                let mut failed = None;
                for dim in dims {
                    match dim {
                        Dim::Any(_) => out.push(Num::Unknown),
                        Dim::Expr(e) => match self.const_int(e, "an extent of a tile") {
                            Ok(n) => out.push(n),
                            Err(p) => failed = Some(p),
                        },
                    }
                }
                failed.map_or(Ok(Shape::Dims(out)), Err)
            }
            TypeArgKind::Type(TypeExpr { kind: TypeKind::Path { path, args: None }, .. }) => {
                if let Some(shape) = path.as_ident().and_then(|i| self.lookup_shape(&i.name)) {
                    return Ok(shape);
                }
                Err(self.malformed(arg.span, format!("`{path}` is not a shape"), "a shape is `[M, N]` or a parameter `S: shape`"))
            }
            _ => Err(self.malformed(arg.span, "expected a shape", "a shape is `[M, N]` or a parameter `S: shape`")),
        }
    }

    /// A value as a written type: conversions and broadcasting as in an assignment.
    ///
    /// # Errors
    /// Reported: it does not fit. `what` says what wants the type.
    pub fn fit(&mut self, val: Val<'p>, target: &TyVal, span: Span, what: &str) -> R<Val<'p>> {
        match (val, target) {
            (val, TyVal::Infer) => Ok(val),
            (Val::Access(access), TyVal::Tile(_)) => {
                let tile = self.load(*access)?;
                self.fit(Val::Tile(tile), target, span, what)
            }
            (Val::Tile(tile), TyVal::Tile(ty)) => Ok(Val::Tile(self.coerce(&tile, ty, span, what)?)),
            (Val::Tuple(values), TyVal::Tuple(types)) if values.len() == types.len() => {
                let list: Vec<R<Val<'p>>> = values.into_iter().zip(types).map(|(v, t)| self.fit(v, t, span, what)).collect();
                Ok(Val::Tuple(list.into_iter().collect::<R<_>>()?))
            }
            (Val::Unit, TyVal::Tuple(types)) if types.is_empty() => Ok(Val::Unit),
            (Val::View(view), TyVal::View { elem, dims, mutable }) => self.fit_view(view, *elem, dims, *mutable, span, what),
            (Val::Fn(f), TyVal::Fn) => Ok(Val::Fn(f)),
            (Val::Absent(name), _) => Err(self.absent(&name, span)),
            (Val::Access(access), TyVal::View { .. }) => Err(self.report(
                Diagnostic::error(codes::SLICE_AS_VIEW, "expected a tensor, found a slice")
                    .primary(span, format!("this is read: `{}`", TileTy::new(access.elem, access.shape)))
                    .note(what.to_owned())
                    .help("a view is made with `lo..hi` or `:`, a slice `start..+LEN` is a tile"),
            )),
            (val, target) => {
                let wanted = match target {
                    TyVal::View { dims, .. } if dims.is_empty() => "a tensor".to_owned(),
                    target => format!("`{target}`"),
                };
                let mut d = Diagnostic::error(codes::MISMATCHED_TYPES, format!("expected {wanted}, found {}", describe(&val)))
                    .primary(span, format!("this is {}", describe(&val)))
                    .note(what.to_owned());
                if let (Val::View(_), TyVal::Tile(_)) = (&val, target) {
                    d = d.help("read a part of it: `x[i, start..+LEN]`");
                }
                Err(self.report(d))
            }
        }
    }

    fn fit_view(&mut self, view: ViewVal, elem: Elem, dims: &[Option<Num>], mutable: bool, span: Span, what: &str) -> R<Val<'p>> {
        let found = format!("`{view}`");
        let elem_fits = match (view.elem, elem) {
            (a, b) if a == b => true,
            (Elem::Scalar(a), Elem::Scalar(b)) => a == Scalar::Unknown || b == Scalar::Unknown,
            (Elem::Ptr { pointee: a, .. }, Elem::Ptr { pointee: b, .. }) => a == Scalar::Unknown || b == Scalar::Unknown,
            _ => false,
        };
        let expected = TyVal::View { elem, dims: dims.to_vec(), mutable };
        if !elem_fits || view.dims.len() != dims.len() {
            return Err(self.report(
                Diagnostic::error(codes::MISMATCHED_TYPES, format!("expected `{expected}`, found {found}"))
                    .primary(
                        span,
                        if elem_fits {
                            format!("of rank {}", view.dims.len())
                        } else {
                            format!("its elements are `{}`", view.elem)
                        },
                    )
                    .note(what.to_owned()),
            ));
        }
        if mutable && !view.mutable {
            let mut d = Diagnostic::error(codes::NOT_MUT, "a tensor that is written must be `mut`")
                .primary(span, "not `mut`")
                .note(what.to_owned());
            if let Some((name, declared)) = &view.origin {
                d = d.secondary(*declared, format!("declare it `{name}: mut tensor<..>`"));
            }
            return Err(self.report(d));
        }
        let mut out = view;
        for (axis, want) in dims.iter().enumerate() {
            let (Some(want), DimVal::Const(have)) = (want, &out.dims[axis]) else { continue };
            if want.equals(have) == Truth::No {
                return Err(self.report(
                    Diagnostic::error(codes::MISMATCHED_SHAPES, format!("expected `{expected}`, found {found}"))
                        .primary(span, format!("dimension {axis} is {have}, not {want}"))
                        .note(what.to_owned()),
                ));
            }
        }
        out.mutable = mutable;
        Ok(Val::View(out))
    }

    /// A value of a type, for results of functions that are not expanded.
    pub fn sample(&mut self, ty: &TyVal) -> Option<Val<'p>> {
        match ty {
            TyVal::Tile(ty) => Some(Val::Tile(TileVal::new(ty.clone(), None))),
            TyVal::Tuple(list) if list.is_empty() => Some(Val::Unit),
            TyVal::Tuple(list) => list.iter().map(|t| self.sample(t)).collect::<Option<Vec<_>>>().map(Val::Tuple),
            TyVal::View { elem, dims, mutable } => Some(Val::View(ViewVal {
                elem: *elem,
                dims: dims.iter().map(|d| d.clone().map_or(DimVal::Dyn, DimVal::Const)).collect(),
                mutable: *mutable,
                ir: None,
                origin: None,
            })),
            TyVal::Infer | TyVal::Fn => None,
        }
    }
}

impl std::fmt::Display for TyVal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TyVal::Infer => f.write_str("_"),
            TyVal::Tile(ty) => write!(f, "{ty}"),
            TyVal::View { elem, dims, mutable } => {
                let list: Vec<String> = dims.iter().map(|d| d.as_ref().map_or("_".to_owned(), Num::to_string)).collect();
                write!(f, "{}tensor<{elem}, [{}]>", if *mutable { "mut " } else { "" }, list.join(", "))
            }
            TyVal::Tuple(list) => {
                let list: Vec<String> = list.iter().map(TyVal::to_string).collect();
                write!(f, "({})", list.join(", "))
            }
            TyVal::Fn => f.write_str("fn(..)"),
        }
    }
}
