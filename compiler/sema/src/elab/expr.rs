//! Expressions: literals, names, operators, casts, lists.

use std::sync::Arc;

use kiln_ir::{InstData, ScalarType, ValueList};
use kiln_syntax::ast::{self, BinaryOp, Expr, ExprKind, LiteralKind, TypeArg};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;

use super::call::{Argument, ArgumentValue};
use super::ops::{Operand, quoted, quoted_ty};
use super::value::{TileVal, Val};
use super::{Elab, Poison, R};
use crate::consts::{Konst, Num, round};
use crate::types::{Elem, Kinds, Scalar, Shape, TileTy};

impl<'p> Elab<'p> {
    /// The value of an expression; slices are read.
    pub fn expr(&mut self, e: &'p Expr) -> R<Val<'p>> {
        match self.raw(e)? {
            Val::Access(access) => Ok(Val::Tile(self.load(*access)?)),
            val => Ok(val),
        }
    }

    /// The tile an expression gives.
    pub fn tile(&mut self, e: &'p Expr) -> R<TileVal> {
        let val = self.raw(e)?;
        self.tile_of(val, e.span)
    }

    /// The tile an expression gives, with its place.
    pub fn operand(&mut self, e: &'p Expr) -> R<Operand> {
        Ok(Operand { tile: self.tile(e)?, span: e.span })
    }

    /// The value of an expression; a slice stays memory.
    pub fn raw(&mut self, e: &'p Expr) -> R<Val<'p>> {
        self.step(e.span)?;
        let loc = self.sink.set_loc(e.span);
        let result = self.raw_inner(e);
        self.sink.restore_loc(loc);
        result
    }

    fn raw_inner(&mut self, e: &'p Expr) -> R<Val<'p>> {
        match &e.kind {
            ExprKind::Literal(literal) => self.literal(literal),
            ExprKind::Path { path, type_args } => {
                if let Some(args) = type_args {
                    return Err(self.error(
                        codes::GENERIC_ARGS,
                        args.first().map_or(path.span, |a| a.span),
                        format!("generic arguments on `{path}`, which is not called"),
                        "only calls take generic arguments",
                    ));
                }
                self.path_value(path)
            }
            ExprKind::Paren(inner) => self.raw(inner),
            ExprKind::Call { path, type_args, args } => {
                let args = args.iter().map(Argument::of).collect();
                self.call_path(path, type_args.as_deref(), args, e.span)
            }
            ExprKind::MethodCall { receiver, name, type_args, args } => {
                self.method(receiver, name, type_args.as_deref(), args, e.span)
            }
            ExprKind::Index { base, indices } => self.index(base, indices, e.span),
            ExprKind::Unary { op, operand, .. } => {
                let tile = self.tile(operand)?;
                Ok(Val::Tile(match op {
                    ast::UnaryOp::Neg => self.negate(&tile, operand.span)?,
                    ast::UnaryOp::Not => self.not(&tile, operand.span)?,
                }))
            }
            ExprKind::Binary { op, op_span, lhs, rhs } if op.is_logical() => self.logical(*op, *op_span, lhs, rhs),
            ExprKind::Binary { op, op_span, lhs, rhs } => {
                let (a, b) = (self.operand(lhs), self.operand(rhs));
                Ok(Val::Tile(self.binary(*op, *op_span, &a?, &b?)?))
            }
            ExprKind::Cast { value, ty } => {
                let tile = self.tile(value);
                let to = self.scalar_path(ty)?;
                Ok(Val::Tile(self.cast(&tile?, to, value.span, ty.span)?))
            }
            ExprKind::Tuple(list) => {
                let values: Vec<R<Val<'p>>> = list.iter().map(|e| self.expr(e)).collect();
                Ok(Val::Tuple(values.into_iter().collect::<R<_>>()?))
            }
            ExprKind::List(list) => self.list(list, e.span),
            ExprKind::If(value) => self.if_value(value),
            ExprKind::None => Err(self.error(
                codes::NOT_A_VALUE,
                e.span,
                "`None` is not a value",
                "it makes an axis in an index list, and stands for an absent argument in a call",
            )),
            ExprKind::Range { .. } => Err(self.error(
                codes::NOT_A_VALUE,
                e.span,
                "a range is not a value",
                "ranges stand in index lists and behind `for .. in`",
            )),
            ExprKind::Closure(_) => Err(self.error(
                codes::CLOSURE,
                e.span,
                "a closure is not expected here",
                "closures are arguments of `reduce` and `scan`",
            )),
        }
    }

    fn literal(&mut self, literal: &ast::Literal) -> R<Val<'p>> {
        let suffix = literal.suffix.as_ref().and_then(|s| ScalarType::from_name(s.as_str()));
        let typed = |konst: Konst, adaptive: Scalar| match suffix {
            Some(ty) => Val::Tile(TileVal::constant(ty, konst.cast(ty))),
            None => Val::Tile(TileVal::constant(adaptive, konst)),
        };
        match &literal.kind {
            LiteralKind::Bool(b) => Ok(Val::Tile(TileVal::bool(Some(*b)))),
            LiteralKind::Str(s) => Ok(Val::Str(s.clone())),
            LiteralKind::Float { value, .. } => Ok(typed(Konst::Float(Some(*value)), Scalar::FloatLit)),
            LiteralKind::Int(v) => {
                let limit = suffix.filter(|s| s.is_int()).map_or(i128::from(u64::MAX), |s| round::int_range(s).1);
                match i128::try_from(*v) {
                    Ok(v) if v <= limit || suffix.is_some_and(ScalarType::is_float) => Ok(typed(Konst::int(v), Scalar::IntLit)),
                    _ => Err(self.error(
                        codes::LITERAL_RANGE,
                        literal.span,
                        format!("{v} is not a value of `{}`", suffix.map_or("u64", ScalarType::name)),
                        format!("the largest is {limit}"),
                    )),
                }
            }
        }
    }

    /// The value a path names.
    pub fn path_value(&mut self, path: &'p ast::Path) -> R<Val<'p>> {
        if let Some(ident) = path.as_ident() {
            match self.lookup(&ident.name).cloned() {
                Some(super::Binding::Var(id)) => return self.read_var(id),
                Some(super::Binding::Type(_) | super::Binding::Shape(_)) => {
                    return Err(self.report(
                        Diagnostic::error(codes::NOT_A_VALUE, format!("`{path}` is a type, not a value"))
                            .primary(path.span, "a type parameter")
                            .help(format!("its limits are `{path}::MAX`, `{path}::MIN`, `{path}::EPS`, `{path}::BITS`")),
                    ));
                }
                None => {}
            }
        } else if let [ty, constant] = path.segments.as_slice()
            && let Some(scalar) = self.lookup_type(&ty.name)
        {
            return self.type_constant(scalar, constant);
        }
        self.item_value(path)
    }

    fn type_constant(&mut self, scalar: Scalar, constant: &ast::Ident) -> R<Val<'p>> {
        let kinds = scalar.kinds();
        let known = scalar.known();
        let float = kinds == Kinds::FLOAT;
        let of = |float_value: fn(ScalarType) -> f64, int_value: fn(ScalarType) -> i128| match known {
            Some(ty) if ty.is_float() => TileVal::constant(ty, Konst::Float(Some(float_value(ty)))),
            Some(ScalarType::Bool) => TileVal::bool(Some(int_value(ScalarType::Bool) != 0)),
            Some(ty) => TileVal::constant(ty, Konst::int(int_value(ty))),
            None if float => TileVal::constant(scalar, Konst::Float(None)),
            None => TileVal::new(TileTy::scalar(scalar), None),
        };
        Ok(Val::Tile(match constant.as_str() {
            "MAX" => of(round::float_max, |t| round::int_range(t).1),
            "MIN" => of(|t| -round::float_max(t), |t| round::int_range(t).0),
            "EPS" if kinds.within(Kinds::FLOAT) => of(round::float_eps, |_| 0),
            "EPS" => {
                return Err(self.error(
                    codes::CLASS,
                    constant.span,
                    format!("`{scalar}` has no `EPS`"),
                    "only float types have one",
                ));
            }
            "BITS" => TileVal::int(known.map_or(Num::Unknown, |t| Num::Known(t.bits().into()))),
            other => {
                let mut d = Diagnostic::error(codes::UNKNOWN_NAME, format!("a type has no constant `{other}`"))
                    .primary(constant.span, "not found");
                d = match crate::names::closest(other, ["MAX", "MIN", "EPS", "BITS"]) {
                    Some(near) => d.suggest(format!("did you mean `{near}`?"), constant.span, near),
                    None => d.help("types have `MAX`, `MIN`, `EPS` and `BITS`; `Acc` is a type"),
                };
                return Err(self.report(d));
            }
        }))
    }

    /// `value as to`.
    pub fn cast(&mut self, tile: &TileVal, to: Scalar, span: Span, ty_span: Span) -> R<TileVal> {
        let Some(from) = tile.scalar() else {
            return Err(self.report(
                Diagnostic::error(codes::BAD_CAST, format!("{} cannot become `{to}`", quoted_ty(&tile.ty)))
                    .primary(span, "a pointer")
                    .help("`bitcast::<i64>(p)` gives the address, `bitcast::<ptr<f32>>(x)` makes a pointer"),
            ));
        };
        if to == Scalar::BOOL && !from.kinds().may_be(Kinds::BOOL) {
            return Err(self.report(
                Diagnostic::error(codes::BAD_CAST, format!("{} does not become `bool` with `as`", quoted(from)))
                    .primary(span, quoted_ty(&tile.ty))
                    .secondary(ty_span, "")
                    .suggest("compare it", span.end().merge(ty_span), " != 0"),
            ));
        }
        let mut out = self.cast_to(tile, to);
        out.history.product = None;
        Ok(out)
    }

    /// A list of constants: a constant tile of one axis more than its elements.
    fn list(&mut self, list: &'p [Expr], span: Span) -> R<Val<'p>> {
        let operands: Vec<R<Operand>> = list.iter().map(|e| self.operand(e)).collect();
        let operands: Vec<Operand> = operands.into_iter().collect::<R<_>>()?;
        let Some(first) = operands.first() else {
            return Err(self.error(codes::BAD_EXTENT, span, "an empty list is no tile", "a tile has at least one element"));
        };
        let mut elem = first.tile.ty.elem;
        let inner = first.tile.ty.shape.clone();
        for operand in &operands[1..] {
            let sample =
                Operand { tile: TileVal { ty: TileTy::scalar(elem), ..operands[0].tile.clone() }, span: operands[0].span };
            let probe = Operand {
                tile: TileVal { ty: TileTy::scalar(operand.tile.ty.elem), ..operand.tile.clone() },
                span: operand.span,
            };
            elem = self.unify(&sample, &probe, "a list")?.2;
            if operand.tile.ty.shape != inner {
                return Err(self.report(
                    Diagnostic::error(codes::MISMATCHED_SHAPES, "the rows of a list differ in length")
                        .primary(operand.span, format!("shape {}", operand.tile.ty.shape))
                        .secondary(operands[0].span, format!("shape {inner}")),
                ));
            }
        }
        let mut values = Vec::new();
        for operand in &operands {
            match &operand.tile.konst {
                Some(Konst::List(row)) => values.extend(row.iter().cloned()),
                Some(k) => values.push(k.clone()),
                None => {
                    return Err(self.report(
                        Diagnostic::error(codes::NOT_CONSTANT, "a list holds constants")
                            .primary(operand.span, "known only at run time")
                            .help("`join`, `cat` and `select` put tiles together from values"),
                    ));
                }
            }
        }
        let mut dims = vec![Num::Known(operands.len() as i128)];
        dims.extend(inner.dims().unwrap_or_default().iter().cloned());
        let tile = TileVal { konst: Some(Konst::List(values.into())), ..TileVal::new(TileTy::new(elem, Shape::of(dims)), None) };
        Ok(Val::Tile(tile))
    }

    /// `&&` and `||`: lane by lane on tiles, short-circuit on scalars.
    fn logical(&mut self, op: BinaryOp, op_span: Span, lhs: &'p Expr, rhs: &'p Expr) -> R<Val<'p>> {
        let and = op == BinaryOp::And;
        let left = match self.operand(lhs) {
            Ok(left) => left,
            Err(Poison) => {
                // The right side may have mistakes of its own.
                let _ = self.operand(rhs);
                return Err(Poison);
            }
        };
        self.require_kinds(&left, Kinds::BOOL, &format!("`{}`", op.symbol()), op_span)?;
        if let Some(Konst::Bool(Some(known))) = left.tile.konst {
            if known == and {
                let right = self.operand(rhs)?;
                self.require_kinds(&right, Kinds::BOOL, &format!("`{}`", op.symbol()), op_span)?;
                return Ok(Val::Tile(right.tile));
            }
            // The right side decides nothing but, where it is a tile, the shape.
            let shape = self.dry(|s| s.tile(rhs)).map_or(Shape::scalar(), |t| t.ty.shape);
            let tile = TileVal::bool(Some(known));
            return Ok(Val::Tile(if shape.is_scalar() { tile } else { self.broadcast_to(&tile, &shape) }));
        }
        if !left.tile.is_scalar() || !self.sink.is_live() {
            let right = self.operand(rhs)?;
            return Ok(Val::Tile(self.binary(op, op_span, &left, &right)?));
        }
        // A scalar at run time: the right side only runs where it decides, unless nobody can tell.
        let (block, outer) = self.sink.enter_block();
        let right = self.operand(rhs);
        self.sink.set_block(outer);
        let right = right?;
        self.require_kinds(&right, Kinds::BOOL, &format!("`{}`", op.symbol()), op_span)?;
        let harmless = self.sink.func().blocks[block].insts.clone().into_iter().all(|inst| {
            let func = self.sink.func();
            let effects = func.effects(inst);
            let faults = matches!(&func.insts[inst], InstData::Load { place: kiln_ir::Place::Ptr(_), .. });
            !effects.writes && !effects.pinned && !faults && func.insts[inst].blocks().is_empty()
        });
        if harmless || !right.tile.is_scalar() {
            let insts = std::mem::take(&mut self.sink.func().blocks[block].insts);
            self.sink.func().blocks[outer].insts.extend(insts);
            return Ok(Val::Tile(self.binary(op, op_span, &left, &right)?));
        }
        let cond = self.value(&left.tile);
        self.sink.set_block(block);
        let value = self.value(&right.tile);
        let args: Option<ValueList> = self.sink.all([value]);
        self.sink.yield_(args.unwrap_or_default());
        let (skipped, _) = self.sink.enter_block();
        let constant = self.value(&TileVal::bool(Some(!and)));
        let args: Option<ValueList> = self.sink.all([constant]);
        self.sink.yield_(args.unwrap_or_default());
        self.sink.set_block(outer);
        let (then, otherwise) = if and { (block, skipped) } else { (skipped, block) };
        let ty = TileTy::scalar(Scalar::BOOL);
        let ir = cond.and_then(|cond| self.sink.one(InstData::If { cond, then, otherwise }, &ty));
        Ok(Val::Tile(TileVal::new(ty, ir)))
    }

    /// Runs `f` without writing or reporting anything.
    pub fn dry<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let sink = std::mem::replace(&mut self.sink, super::sink::Sink::off());
        let result = self.muted(f);
        self.sink = sink;
        result
    }

    fn method(
        &mut self,
        receiver: &'p Expr,
        name: &'p ast::Ident,
        type_args: Option<&'p [TypeArg]>,
        args: &'p [ast::Arg],
        span: Span,
    ) -> R<Val<'p>> {
        if name.as_str() == "is_some" {
            return self.is_some(receiver, name, args);
        }
        let value = self.raw(receiver)?;
        let is_access_method = matches!(name.as_str(), "or" | "mask" | "cache" | "evict");
        match value {
            Val::Access(access) if is_access_method => self.access_method(*access, name, args),
            Val::View(view) if matches!(name.as_str(), "dim" | "stride" | "ptr") => self.view_method(&view, name, args, span),
            other if is_access_method => Err(self.report(
                Diagnostic::error(codes::ACCESS_METHOD, format!("`.{}(..)` stands on a slice of a tensor, not on {}", name.as_str(), describe(&other)))
                    .primary(name.span, "")
                    .secondary(receiver.span, format!("this is {}", describe(&other)))
                    .help("write it directly behind the index list: `x[i, start..+LEN].or(0.0)`; `select(c, a, b)` chooses between values"),
            )),
            value => {
                let mut all = vec![Argument { name: None, value: ArgumentValue::Ready(value), span: receiver.span }];
                all.extend(args.iter().map(Argument::of));
                self.call_method(name, type_args, all, span)
            }
        }
    }

    fn is_some(&mut self, receiver: &'p Expr, name: &ast::Ident, args: &[ast::Arg]) -> R<Val<'p>> {
        if let Some(arg) = args.first() {
            return Err(self.error(codes::ARG_COUNT, arg.span, "`is_some` takes no arguments", "remove this"));
        }
        let Some(ident) = receiver.unparen().as_ident() else {
            return Err(self.error(
                codes::UNKNOWN_FUNCTION,
                name.span,
                "`is_some` asks about an optional parameter",
                "its receiver is the parameter's name",
            ));
        };
        match self.raw(receiver)? {
            Val::Absent(_) => Ok(Val::Tile(TileVal::bool(Some(false)))),
            _ => {
                let is_param = matches!(self.lookup(&ident.name), Some(super::Binding::Var(id)) if self.vars[id.0 as usize].kind == super::vars::VarKind::Param);
                if !is_param {
                    return Err(self.error(
                        codes::UNKNOWN_FUNCTION,
                        name.span,
                        format!("`{}` is not an optional parameter", ident.name),
                        "only a parameter declared with `?` may be absent",
                    ));
                }
                Ok(Val::Tile(TileVal::bool(Some(true))))
            }
        }
    }

    /// A constant integer.
    ///
    /// # Errors
    /// Reported: not constant, or not an integer. `what` names what needs it.
    pub fn const_int(&mut self, e: &'p Expr, what: &str) -> R<Num> {
        let tile = self.tile(e)?;
        self.const_int_of(&tile, e.span, what)
    }

    /// The same of a value.
    pub fn const_int_of(&mut self, tile: &TileVal, span: Span, what: &str) -> R<Num> {
        match (&tile.konst, tile.ty.elem) {
            (Some(Konst::Int(n)), _) => Ok(n.clone()),
            // In generic code a value of an open type may turn out constant.
            (None, Elem::Scalar(Scalar::Unknown | Scalar::Param(_) | Scalar::AccOf(_))) if self.generic => Ok(Num::Unknown),
            (None, Elem::Scalar(s)) if s.kinds().within(Kinds::INTEGER) => Err(self.report(
                Diagnostic::error(codes::NOT_CONSTANT, format!("{what} must be constant"))
                    .primary(span, "known only at run time")
                    .help("take it from a constant parameter: `const B: int = 128`, or `const N: int` where it is a dimension of a tensor"),
            )),
            _ => Err(self.report(
                Diagnostic::error(codes::MISMATCHED_TYPES, format!("{what} is an integer"))
                    .primary(span, format!("this is {}", quoted_ty(&tile.ty))),
            )),
        }
    }

    /// A constant integer that must be known here to go on; in generic code it may be open.
    pub fn const_usize(&mut self, e: &'p Expr, what: &str) -> R<Option<usize>> {
        let n = self.const_int(e, what)?;
        match n.known() {
            None => Ok(None),
            Some(v) => match usize::try_from(v) {
                Ok(v) => Ok(Some(v)),
                Err(_) => Err(self.error(codes::BAD_EXTENT, e.span, format!("{what} cannot be {v}"), "negative")),
            },
        }
    }

    /// A place's source text is not kept; names for messages are made from paths.
    pub fn segments(path: &ast::Path) -> Vec<Arc<str>> {
        path.segments.iter().map(|s| s.name.clone()).collect()
    }
}

/// A value in a message.
pub fn describe(val: &Val<'_>) -> String {
    match val {
        Val::Tile(t) => quoted_ty(&t.ty),
        Val::View(_) | Val::Access(_) | Val::Tuple(_) => format!("`{val}`"),
        other => other.to_string(),
    }
}
