//! Generic arguments of a call: explicit ones, those that the arguments' types determine, and defaults.

use std::sync::Arc;

use kiln_ir::ScalarType;
use kiln_ir::signature::TypeClass;
use kiln_syntax::ast::{self, BinaryOp, Dim, Expr, ExprKind, Generic, Ident, TypeArg, TypeArgKind, TypeExpr, TypeKind};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;

use super::value::{DimVal, FnVal, TileVal, Val, ViewVal};
use super::vars::VarKind;
use super::{Binding, Elab, Poison, R};
use crate::consts::{Konst, Num, NumOp};
use crate::names::closest;
use crate::types::{Elem, Scalar, Shape, broadcast};

/// What a generic parameter is, by its declaration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GenericKind {
    /// `T: float`.
    Type(TypeClass),
    /// `S: shape`.
    Shape,
    /// `const N: int`.
    Int,
    /// `const B: bool`.
    Bool,
    /// `const F: fn(..) -> ..`.
    Fn,
}

/// A generic argument.
#[derive(Clone, Debug)]
pub enum GenericVal<'p> {
    /// A type.
    Type(Scalar),
    /// A shape.
    Shape(Shape),
    /// A constant or a function.
    Val(Val<'p>),
}

/// What the arguments of a call determine.
#[derive(Default)]
pub struct Inferred<'p> {
    /// One a generic parameter.
    pub values: Vec<Option<(GenericVal<'p>, Span)>>,
    /// Literals that would determine a type if nothing else does.
    weak: Vec<(usize, Scalar)>,
}

/// The kind of a generic parameter, or why it has none.
pub fn kind_of(generic: &Generic) -> Result<GenericKind, Box<Diagnostic>> {
    let class = |path: &ast::Path| match path.to_string().as_str() {
        "float" => Ok(GenericKind::Type(TypeClass::Float)),
        "int" => Ok(GenericKind::Type(TypeClass::Int)),
        "num" => Ok(GenericKind::Type(TypeClass::Num)),
        "any" => Ok(GenericKind::Type(TypeClass::Any)),
        "shape" => Ok(GenericKind::Shape),
        other => {
            let mut d = Diagnostic::error(codes::BAD_GENERIC, format!("there is no class `{other}`"))
                .primary(path.span, "not a class")
                .note("classes are `float`, `int`, `num`, `any` and `shape`");
            if let Some(near) = closest(other, ["float", "int", "num", "any", "shape"]) {
                d = d.suggest(format!("did you mean `{near}`?"), path.span, near);
            } else if ScalarType::from_name(other).is_some() {
                d = d.help("a constant parameter is written `const N: int`");
            }
            Err(Box::new(d))
        }
    };
    match generic {
        Generic::Type(g) => class(&g.class),
        Generic::Const(g) => match &g.ty.kind {
            TypeKind::Fn { .. } => Ok(GenericKind::Fn),
            TypeKind::Path { path, args: None } if path.to_string() == "int" => Ok(GenericKind::Int),
            TypeKind::Path { path, args: None } if path.to_string() == "bool" => Ok(GenericKind::Bool),
            _ => Err(Box::new(
                Diagnostic::error(codes::BAD_GENERIC, "a constant parameter is `int`, `bool` or a function")
                    .primary(g.ty.span, "not one of them")
                    .suggest("integers of constants have no width", g.ty.span, "int"),
            )),
        },
    }
}

/// The kinds of all generic parameters, and the diagnostics of those without.
pub fn kinds_of(generics: &[Generic]) -> (Vec<Option<GenericKind>>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let kinds = generics.iter().map(|g| kind_of(g).map_err(|d| diagnostics.push(*d)).ok()).collect();
    (kinds, diagnostics)
}

/// Whether a type may stand for a parameter of a function. `index` counts as an integer there.
fn admits(class: TypeClass, s: Scalar) -> bool {
    let class_kinds = Scalar::Param(crate::types::TypeVar { number: 0, class, name: crate::types::Symbol::new("T") }).kinds();
    match s {
        Scalar::Known(ScalarType::Index) => class != TypeClass::Float,
        Scalar::Unknown => true,
        other => other.kinds().within(class_kinds),
    }
}

impl<'p> Elab<'p> {
    /// The argument of a turbofish for a parameter of a kind, with the names of the caller.
    pub fn generic_arg(&mut self, arg: &'p TypeArg, kind: GenericKind, name: &str) -> R<GenericVal<'p>> {
        match kind {
            GenericKind::Type(class) => match self.elem_arg(arg)? {
                Elem::Scalar(s) if admits(class, s) => Ok(GenericVal::Type(s)),
                Elem::Scalar(s) => Err(self.class_error(name, class, s, arg.span)),
                Elem::Ptr { .. } => {
                    Err(self.error(codes::GENERIC_ARGS, arg.span, format!("`{name}` is a scalar type"), "a pointer"))
                }
            },
            GenericKind::Shape => Ok(GenericVal::Shape(self.shape_arg(arg)?)),
            GenericKind::Int | GenericKind::Bool => {
                let val = match &arg.kind {
                    TypeArgKind::Const(e) => self.expr(e)?,
                    TypeArgKind::Type(TypeExpr {
                        kind: TypeKind::Path { path, args: None },
                        mutable: None,
                        optional: None,
                        ..
                    }) => self.path_value(path)?,
                    _ => {
                        return Err(self.error(
                            codes::GENERIC_ARGS,
                            arg.span,
                            format!("`{name}` is a constant"),
                            "not a constant",
                        ));
                    }
                };
                let tile = self.tile_of(val, arg.span)?;
                Ok(GenericVal::Val(Val::Tile(self.const_param(&tile, kind, arg.span, name)?)))
            }
            GenericKind::Fn => match &arg.kind {
                TypeArgKind::Type(TypeExpr { kind: TypeKind::Path { path, args: None }, .. }) => match self.path_value(path)? {
                    Val::Fn(f) => Ok(GenericVal::Val(Val::Fn(f))),
                    other => Err(self.error(
                        codes::GENERIC_ARGS,
                        arg.span,
                        format!("`{name}` is a function"),
                        format!("this is {}", super::expr::describe(&other)),
                    )),
                },
                _ => Err(self.error(codes::GENERIC_ARGS, arg.span, format!("`{name}` is a function"), "write a function's name")),
            },
        }
    }

    fn class_error(&mut self, name: &str, class: TypeClass, found: Scalar, span: Span) -> Poison {
        self.report(
            Diagnostic::error(codes::CLASS, format!("`{name}: {}` cannot be {}", class.name(), super::ops::quoted(found)))
                .primary(span, format!("not of the class `{}`", class.name())),
        )
    }

    /// A constant as the value of a constant parameter.
    pub fn const_param(&mut self, tile: &TileVal, kind: GenericKind, span: Span, name: &str) -> R<TileVal> {
        if kind == GenericKind::Bool {
            return match &tile.konst {
                Some(Konst::Bool(b)) => Ok(TileVal::bool(*b)),
                _ => Err(self.error(
                    codes::NOT_CONSTANT,
                    span,
                    format!("`{name}` is a constant bool"),
                    format!("this is {}", super::ops::quoted_ty(&tile.ty)),
                )),
            };
        }
        let n = self.const_int_of(tile, span, &format!("`{name}`"))?;
        Ok(TileVal::int(n))
    }

    /// Explicit arguments of a call, evaluated with the caller's names.
    pub fn explicit_generics(
        &mut self,
        generics: &'p [Generic],
        kinds: &[Option<GenericKind>],
        args: &'p [TypeArg],
        callee: &str,
    ) -> R<Inferred<'p>> {
        let mut out = Inferred { values: vec![None; generics.len()], weak: Vec::new() };
        let mut result = Ok(());
        for (position, arg) in args.iter().enumerate() {
            let at = match &arg.name {
                None => position,
                Some(name) => match generics.iter().position(|g| g.name().name == name.name) {
                    Some(at) => at,
                    None => {
                        result = Err(self.unknown_generic(name, generics, callee));
                        continue;
                    }
                },
            };
            let (Some(generic), Some(kind)) = (generics.get(at), kinds.get(at).copied().flatten()) else {
                result = Err(self.error(
                    codes::GENERIC_ARGS,
                    arg.span,
                    format!("`{callee}` takes {} generic arguments", generics.len()),
                    "one too many",
                ));
                continue;
            };
            if out.values[at].is_some() {
                result = Err(self.error(
                    codes::GENERIC_ARGS,
                    arg.span,
                    format!("`{}` is given twice", generic.name().name),
                    "given before",
                ));
                continue;
            }
            match self.generic_arg(arg, kind, &generic.name().name) {
                Ok(value) => out.values[at] = Some((value, arg.span)),
                Err(p) => result = Err(p),
            }
        }
        result.map(|()| out)
    }

    fn unknown_generic(&mut self, name: &Ident, generics: &[Generic], callee: &str) -> Poison {
        let mut d = Diagnostic::error(codes::GENERIC_ARGS, format!("`{callee}` has no generic parameter `{}`", name.name))
            .primary(name.span, "not found");
        if let Some(near) = closest(&name.name, generics.iter().map(|g| g.name().as_str())) {
            d = d.suggest(format!("did you mean `{near}`?"), name.span, near);
        }
        self.report(d)
    }

    /// What a value says about the generics in a parameter's type.
    pub fn infer(
        &mut self,
        te: &'p TypeExpr,
        val: &Val<'p>,
        generics: &'p [Generic],
        kinds: &[Option<GenericKind>],
        out: &mut Inferred<'p>,
        span: Span,
    ) -> R<()> {
        match (&te.kind, val) {
            (TypeKind::Path { path, args: None }, Val::Tile(tile)) => {
                if let Some(s) = tile.scalar() {
                    self.infer_type(path, s, generics, kinds, out, span)?;
                }
                Ok(())
            }
            (TypeKind::Path { path, args: Some(args) }, Val::Tile(tile)) => {
                match (path.as_ident().map(|i| i.as_str()), args.as_slice()) {
                    (Some("tile"), [elem, shape]) => {
                        self.infer_elem(elem, tile.ty.elem, generics, kinds, out, span)?;
                        self.infer_shape(shape, &tile.ty.shape, generics, kinds, out, span)
                    }
                    (Some("ptr"), [pointee]) => match tile.ty.elem {
                        Elem::Ptr { pointee: p, .. } => self.infer_elem(pointee, Elem::Scalar(p), generics, kinds, out, span),
                        Elem::Scalar(_) => Ok(()),
                    },
                    _ => Ok(()),
                }
            }
            (TypeKind::Path { args: Some(args), .. }, Val::View(view)) => {
                let [elem, dims] = args.as_slice() else { return Ok(()) };
                self.infer_elem(elem, view.elem, generics, kinds, out, span)?;
                let TypeArgKind::Dims(dims) = &dims.kind else { return Ok(()) };
                if dims.len() != view.dims.len() {
                    return Ok(());
                }
                for (dim, have) in dims.iter().zip(&view.dims) {
                    if let (Some(at), DimVal::Const(n)) = (lone_generic(dim, generics, kinds), have) {
                        self.infer_const(at, n, out, span);
                    }
                }
                Ok(())
            }
            (TypeKind::Tuple(types), Val::Tuple(values)) if types.len() == values.len() => {
                for (t, v) in types.iter().zip(values) {
                    self.infer(t, v, generics, kinds, out, span)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn infer_elem(
        &mut self,
        arg: &'p TypeArg,
        elem: Elem,
        generics: &'p [Generic],
        kinds: &[Option<GenericKind>],
        out: &mut Inferred<'p>,
        span: Span,
    ) -> R<()> {
        let TypeArgKind::Type(te) = &arg.kind else { return Ok(()) };
        match (&te.kind, elem) {
            (TypeKind::Path { path, args: None }, Elem::Scalar(s)) => self.infer_type(path, s, generics, kinds, out, span),
            (TypeKind::Path { args: Some(args), .. }, Elem::Ptr { pointee, .. }) => match args.as_slice() {
                [inner] => self.infer_elem(inner, Elem::Scalar(pointee), generics, kinds, out, span),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn infer_type(
        &mut self,
        path: &ast::Path,
        s: Scalar,
        generics: &'p [Generic],
        kinds: &[Option<GenericKind>],
        out: &mut Inferred<'p>,
        span: Span,
    ) -> R<()> {
        let Some(at) = path.as_ident().and_then(|i| generics.iter().position(|g| g.name().name == i.name)) else { return Ok(()) };
        let Some(GenericKind::Type(class)) = kinds[at] else { return Ok(()) };
        if s.is_literal() {
            out.weak.push((at, s));
            return Ok(());
        }
        let name = &generics[at].name().name;
        let joined = match &out.values[at] {
            Some((GenericVal::Type(have), first)) => match have.join(s) {
                Ok(joined) => joined,
                Err(_) => {
                    let (have, first) = (*have, *first);
                    return Err(self.report(
                        Diagnostic::error(codes::MISMATCHED_TYPES, format!("`{name}` cannot be both `{have}` and `{s}`"))
                            .primary(span, format!("`{s}` here"))
                            .secondary(first, format!("`{have}` here"))
                            .help(format!("convert one of them: `.. as {have}`")),
                    ));
                }
            },
            _ => s,
        };
        if !admits(class, joined) {
            return Err(self.class_error(name, class, joined, span));
        }
        let span = out.values[at].as_ref().map_or(span, |(_, first)| *first);
        out.values[at] = Some((GenericVal::Type(joined), span));
        Ok(())
    }

    fn infer_shape(
        &mut self,
        arg: &'p TypeArg,
        shape: &Shape,
        generics: &'p [Generic],
        kinds: &[Option<GenericKind>],
        out: &mut Inferred<'p>,
        span: Span,
    ) -> R<()> {
        match &arg.kind {
            TypeArgKind::Type(TypeExpr { kind: TypeKind::Path { path, args: None }, .. }) => {
                let Some(at) = path.as_ident().and_then(|i| generics.iter().position(|g| g.name().name == i.name)) else {
                    return Ok(());
                };
                if kinds[at] != Some(GenericKind::Shape) {
                    return Ok(());
                }
                let joined = match &out.values[at] {
                    Some((GenericVal::Shape(have), first)) => match broadcast(have, shape) {
                        Some(joined) => joined,
                        None => {
                            let (have, first) = (have.clone(), *first);
                            return Err(self.report(
                                Diagnostic::error(
                                    codes::MISMATCHED_SHAPES,
                                    format!("`{}` cannot be both {have} and {shape}", generics[at].name().name),
                                )
                                .primary(span, format!("shape {shape}"))
                                .secondary(first, format!("shape {have}")),
                            ));
                        }
                    },
                    _ => shape.clone(),
                };
                let span = out.values[at].as_ref().map_or(span, |(_, first)| *first);
                out.values[at] = Some((GenericVal::Shape(joined), span));
                Ok(())
            }
            TypeArgKind::Dims(dims) => {
                let Some(extents) = shape.dims() else {
                    for dim in dims {
                        if let Some(at) = lone_generic(dim, generics, kinds) {
                            self.infer_const(at, &Num::Unknown, out, span);
                        }
                    }
                    return Ok(());
                };
                if dims.len() != extents.len() {
                    return Ok(());
                }
                for (dim, n) in dims.iter().zip(extents) {
                    if let Some(at) = lone_generic(dim, generics, kinds) {
                        self.infer_const(at, n, out, span);
                    }
                }
                Ok(())
            }
            TypeArgKind::Const(_) | TypeArgKind::Type(_) => Ok(()),
        }
    }

    fn infer_const(&mut self, at: usize, n: &Num, out: &mut Inferred<'p>, span: Span) {
        let better = match &out.values[at] {
            None => true,
            // What is known beats what is not.
            Some((GenericVal::Val(Val::Tile(t)), _)) => matches!(t.num(), Some(Num::Unknown)),
            Some(_) => false,
        };
        if better {
            out.values[at] = Some((GenericVal::Val(Val::Tile(TileVal::int(n.clone()))), span));
        }
    }

    /// Binds the callee's generics: what is inferred, solved from dimensions, or defaulted. Also names dimensions of tensors.
    pub fn bind_generics(
        &mut self,
        generics: &'p [Generic],
        kinds: &[Option<GenericKind>],
        mut inferred: Inferred<'p>,
        params: &[(&'p TypeExpr, Val<'p>, Span)],
        call: Span,
        callee: &str,
    ) -> R<()> {
        for (at, s) in std::mem::take(&mut inferred.weak) {
            if inferred.values[at].is_none() {
                let class_ok = matches!(kinds[at], Some(GenericKind::Type(class)) if admits(class, s.defaulted()));
                if class_ok {
                    inferred.values[at] = Some((GenericVal::Type(s.defaulted()), call));
                }
            }
        }
        for (generic, value) in generics.iter().zip(&inferred.values) {
            if let Some((value, _)) = value {
                self.bind_generic(generic.name(), value.clone());
            }
        }
        for (te, val, _) in params {
            if let Val::View(view) = val {
                self.bind_dims(te, view, generics);
            }
        }
        for (at, generic) in generics.iter().enumerate() {
            if inferred.values[at].is_some() || kinds[at].is_none() {
                continue;
            }
            if self.solve(at, generics, params) {
                continue;
            }
            let name = generic.name();
            let default = match generic {
                Generic::Type(g) => match &g.default {
                    Some(te) => match self.elem(te)? {
                        Elem::Scalar(s) => Some(GenericVal::Type(s)),
                        Elem::Ptr { .. } => None,
                    },
                    None => None,
                },
                Generic::Const(g) => match (&g.default, kinds[at]) {
                    (Some(e), Some(kind @ (GenericKind::Int | GenericKind::Bool))) => {
                        let tile = self.tile(e)?;
                        Some(GenericVal::Val(Val::Tile(self.const_param(&tile, kind, e.span, &name.name)?)))
                    }
                    (Some(e), Some(GenericKind::Fn)) => Some(GenericVal::Val(self.expr(e)?)),
                    _ => None,
                },
            };
            match default {
                Some(value) => self.bind_generic(name, value),
                None => {
                    let from_view = params.iter().any(|(te, val, _)| matches!(val, Val::View(_)) && mentions(te, &name.name));
                    let mut d =
                        Diagnostic::error(codes::CANNOT_INFER, format!("cannot tell what `{}` of `{callee}` is", name.name))
                            .primary(call, "no argument determines it")
                            .secondary(name.span, "declared here");
                    d = match kinds[at] {
                        Some(GenericKind::Int) if from_view => d.help("it is a dimension that is known only at run time: make it a constant parameter (`const D: int`) of the kernel too"),
                        _ => d.help(format!("write it: `{callee}::<{} = ..>(..)`", name.name)),
                    };
                    return Err(self.report(d));
                }
            }
        }
        Ok(())
    }

    fn bind_generic(&mut self, name: &Ident, value: GenericVal<'p>) {
        match value {
            GenericVal::Type(s) => self.bind(&name.name, Binding::Type(s)),
            GenericVal::Shape(s) => self.bind(&name.name, Binding::Shape(s)),
            GenericVal::Val(val) => {
                self.define(name, None, Some(val), VarKind::ConstParam);
            }
        }
    }

    /// In a function the dimension names of a tensor's type stand for what is passed.
    fn bind_dims(&mut self, te: &'p TypeExpr, view: &ViewVal, generics: &[Generic]) {
        let TypeKind::Path { args: Some(args), .. } = &te.kind else { return };
        let Some(TypeArgKind::Dims(dims)) = args.get(1).map(|a| &a.kind) else { return };
        for (axis, dim) in dims.iter().enumerate().take(view.dims.len()) {
            let Dim::Expr(e) = dim else { continue };
            let Some(name) = e.as_ident() else { continue };
            if generics.iter().any(|g| g.name().name == name.name)
                || self.lookup(&name.name).is_some()
                || self.is_const_item(&name.name)
            {
                continue;
            }
            let value = self.view_dim(view, axis);
            self.define(name, None, Some(Val::Tile(value)), VarKind::Dim);
        }
    }

    /// A constant parameter from `c * X` or `X + c`.
    fn solve(&mut self, at: usize, generics: &'p [Generic], params: &[(&'p TypeExpr, Val<'p>, Span)]) -> bool {
        let name = &generics[at].name().name;
        for (te, val, _) in params {
            let TypeKind::Path { args: Some(args), .. } = &te.kind else { continue };
            let Some(TypeArgKind::Dims(dims)) = args.get(1).map(|a| &a.kind) else { continue };
            for (axis, dim) in dims.iter().enumerate() {
                let have = match val {
                    Val::View(view) => match view.dims.get(axis) {
                        Some(DimVal::Const(n)) => n.clone(),
                        _ => continue,
                    },
                    Val::Tile(tile) => match tile.ty.shape.dims().and_then(|d| d.get(axis)) {
                        Some(n) => n.clone(),
                        None => continue,
                    },
                    _ => continue,
                };
                let Dim::Expr(e) = dim else { continue };
                let Some((op, constant)) = solvable(e, name) else { continue };
                let Ok(constant) = self.dry(|s| s.const_int(constant, "a dimension")) else { continue };
                let solved = match op {
                    BinaryOp::Mul => Num::op(NumOp::Div, &have, &constant),
                    BinaryOp::Add => have.sub(&constant),
                    _ => have.add(&constant),
                };
                if let Ok(n) = solved {
                    self.bind_generic(generics[at].name(), GenericVal::Val(Val::Tile(TileVal::int(n))));
                    return true;
                }
            }
        }
        false
    }

    /// A function named by a path that does not come from the source: an argument of a launch.
    pub fn function_by_name(&mut self, path: &str) -> Option<FnVal<'p>> {
        let segments: Vec<Arc<str>> = path.split("::").map(Arc::from).collect();
        if let Some(crate::names::Def::Item(id)) = self.modules.resolve(self.frame_ref().module, &segments)
            && matches!(self.modules.item(id), ast::Item::Fn(_))
        {
            return Some(FnVal::Item(id));
        }
        crate::builtins::find(path).map(FnVal::Builtin)
    }
}

fn mentions(te: &TypeExpr, name: &str) -> bool {
    let TypeKind::Path { args: Some(args), .. } = &te.kind else { return false };
    args.iter().any(|a| match &a.kind {
        TypeArgKind::Dims(dims) => dims
            .iter()
            .any(|d| matches!(d, Dim::Expr(e) if solvable(e, name).is_some() || e.as_ident().is_some_and(|i| &*i.name == name))),
        _ => false,
    })
}

fn lone_generic(dim: &Dim, generics: &[Generic], kinds: &[Option<GenericKind>]) -> Option<usize> {
    let Dim::Expr(e) = dim else { return None };
    let name = e.as_ident()?;
    let at = generics.iter().position(|g| g.name().name == name.name)?;
    (kinds[at] == Some(GenericKind::Int)).then_some(at)
}

/// `c * X`, `X * c`, `X + c`, `c + X`, `X - c` for a name X: the operator and c.
pub fn solvable<'e>(e: &'e Expr, name: &str) -> Option<(BinaryOp, &'e Expr)> {
    let ExprKind::Binary { op, lhs, rhs, .. } = &e.unparen().kind else { return None };
    let is = |e: &Expr| e.unparen().as_ident().is_some_and(|i| &*i.name == name);
    match op {
        BinaryOp::Mul | BinaryOp::Add if is(rhs) => Some((*op, lhs)),
        BinaryOp::Mul | BinaryOp::Add | BinaryOp::Sub if is(lhs) => Some((*op, rhs)),
        _ => None,
    }
}
