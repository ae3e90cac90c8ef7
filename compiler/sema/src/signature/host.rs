//! Expressions that the host evaluates at launch.

use kiln_ir::ScalarType;
use kiln_ir::ops::{BinaryOp as IrBinary, CmpOp};
use kiln_ir::signature::{HostExpr, HostFn};
use kiln_syntax::ast::{self, BinaryOp, Expr, ExprKind, Ident, LiteralKind};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::{Diagnostic, Diagnostics};
use kiln_syntax::span::Span;

use crate::consts::{Konst, Num};
use crate::elab::call::is_tensor;
use crate::elab::generics::GenericKind;
use crate::elab::sink::Sink;
use crate::elab::value::Val;
use crate::elab::{Elab, FrameKind};
use crate::names::{Def, ItemId, Modules, closest};

/// What a host expression gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostType {
    /// i64.
    Int,
    /// f64.
    Float,
    /// bool.
    Bool,
    /// Not decided: a scalar of a type parameter, or anything where it is wanted.
    Any,
}

impl HostType {
    fn describe(self) -> &'static str {
        match self {
            HostType::Int => "an integer",
            HostType::Float => "a float",
            HostType::Bool => "a bool",
            HostType::Any => "a number",
        }
    }

    fn fits(self, want: HostType) -> bool {
        self == want || self == HostType::Any || want == HostType::Any
    }
}

/// Translates expressions of a kernel's head.
pub struct Host<'a, 'p> {
    modules: &'p Modules,
    id: ItemId,
    kernel: &'p ast::Kernel,
    kinds: &'a [GenericKind],
    dims: &'a [&'p Ident],
    diagnostics: &'a mut Diagnostics,
    /// Schedule fields have values here: conditions of `#[tune]`.
    fields: bool,
}

type Typed = (HostExpr, HostType);

impl<'a, 'p> Host<'a, 'p> {
    /// A translator for one kernel.
    pub fn new(
        modules: &'p Modules,
        id: ItemId,
        kernel: &'p ast::Kernel,
        kinds: &'a [GenericKind],
        dims: &'a [&'p Ident],
        diagnostics: &'a mut Diagnostics,
    ) -> Self {
        Host { modules, id, kernel, kinds, dims, diagnostics, fields: false }
    }

    /// The translator of a condition of `#[tune]`, which knows the schedule's fields.
    pub fn with_fields(self) -> Self {
        Host { fields: true, ..self }
    }

    /// The expression, which must be of a type. `what` names what it is for.
    pub fn expr_of(&mut self, e: &'p Expr, want: HostType, what: &str) -> Option<HostExpr> {
        let (expr, found) = self.expr(e)?;
        if !found.fits(want) {
            self.error(
                Diagnostic::error(codes::MISMATCHED_TYPES, format!("{what} is {}", want.describe()))
                    .primary(e.span, format!("this is {}", found.describe())),
            );
            return None;
        }
        Some(expr)
    }

    fn error(&mut self, d: Diagnostic) {
        self.diagnostics.push(d);
    }

    fn unsupported(&mut self, span: Span, label: &str) -> Option<Typed> {
        self.error(
            Diagnostic::error(codes::HOST_EXPR, "this cannot be computed at launch")
                .primary(span, label.to_owned())
                .note("the host evaluates dimensions, constants, scalar parameters, arithmetic, comparisons, `cdiv`, `next_pow2`, `min`, `max`, `abs` and `num_sms()`"),
        );
        None
    }

    fn expr(&mut self, e: &'p Expr) -> Option<Typed> {
        match &e.kind {
            ExprKind::Paren(inner) => self.expr(inner),
            ExprKind::Literal(literal) => match &literal.kind {
                LiteralKind::Int(v)
                    if literal
                        .suffix
                        .as_ref()
                        .is_some_and(|s| ScalarType::from_name(s.as_str()).is_some_and(ScalarType::is_float)) =>
                {
                    Some((HostExpr::Float(*v as f64), HostType::Float))
                }
                LiteralKind::Int(v) => match i64::try_from(*v) {
                    Ok(v) => Some((HostExpr::Int(v), HostType::Int)),
                    Err(_) => {
                        self.error(
                            Diagnostic::error(codes::LITERAL_RANGE, format!("{v} does not fit 64 bits"))
                                .primary(e.span, "too large for a launch expression"),
                        );
                        None
                    }
                },
                LiteralKind::Float { value, .. } => Some((HostExpr::Float(*value), HostType::Float)),
                LiteralKind::Bool(b) => Some((HostExpr::Bool(*b), HostType::Bool)),
                LiteralKind::Str(_) => self.unsupported(e.span, "a string"),
            },
            ExprKind::Path { path, .. } => self.path(path),
            ExprKind::Unary { op, operand, .. } => {
                let (inner, ty) = self.expr(operand)?;
                match (op, ty) {
                    (ast::UnaryOp::Neg, HostType::Int | HostType::Float | HostType::Any) => {
                        Some((HostExpr::Neg(inner.into()), ty))
                    }
                    (ast::UnaryOp::Not, HostType::Bool) => Some((HostExpr::Not(inner.into()), ty)),
                    _ => {
                        self.error(
                            Diagnostic::error(codes::BAD_OPERAND, format!("`{}` does not take {}", op.symbol(), ty.describe()))
                                .primary(operand.span, format!("this is {}", ty.describe())),
                        );
                        None
                    }
                }
            }
            ExprKind::Binary { op, lhs, rhs, .. } => self.binary(*op, lhs, rhs),
            ExprKind::Cast { value, ty } => {
                let (inner, found) = self.expr(value)?;
                let to = ty.as_ident().and_then(|i| ScalarType::from_name(i.as_str()));
                match (to, found) {
                    (Some(t), HostType::Int) if t.bits() == 64 && t.is_int() => Some((inner, found)),
                    (Some(t), HostType::Float) if t.is_float() => Some((inner, found)),
                    (Some(t), HostType::Int | HostType::Any) if t.is_float() => {
                        Some((HostExpr::Binary(IrBinary::Mul, inner.into(), HostExpr::Float(1.0).into()), HostType::Float))
                    }
                    _ => self.unsupported(e.span, "this conversion"),
                }
            }
            ExprKind::If(value) => self.if_value(value, e.span),
            ExprKind::Call { path, args, .. } => self.call(path, args, e.span),
            ExprKind::MethodCall { receiver, name, args, .. } => self.method(receiver, name, args, e.span),
            _ => self.unsupported(e.span, "not an expression the host knows"),
        }
    }

    fn if_value(&mut self, value: &'p ast::If, span: Span) -> Option<Typed> {
        let cond = self.expr_of(&value.cond, HostType::Bool, "a condition")?;
        let tail = |block: &'p ast::Block| block.tail.as_deref().filter(|_| block.stmts.is_empty());
        let Some(then) = tail(&value.then) else { return self.unsupported(value.then.span, "a block with statements") };
        let (then, ty) = self.expr(then)?;
        let (otherwise, other_ty) = match &value.otherwise {
            Some(ast::Else::Block(block)) => match tail(block) {
                Some(e) => self.expr(e)?,
                None => return self.unsupported(block.span, "a block with statements"),
            },
            Some(ast::Else::If(inner)) => self.if_value(inner, inner.span)?,
            None => return self.unsupported(span, "an `if` without `else`"),
        };
        if !ty.fits(other_ty) {
            self.error(
                Diagnostic::error(codes::IF_VALUE, format!("one branch is {}, the other {}", ty.describe(), other_ty.describe()))
                    .primary(span, "the branches must agree"),
            );
            return None;
        }
        Some((HostExpr::If(cond.into(), then.into(), otherwise.into()), ty))
    }

    fn binary(&mut self, op: BinaryOp, lhs: &'p Expr, rhs: &'p Expr) -> Option<Typed> {
        let (a, b) = (self.expr(lhs), self.expr(rhs));
        let ((a, x), (b, y)) = (a?, b?);
        let (a, b) = (Box::new(a), Box::new(b));
        let mismatch = |s: &mut Self| {
            s.error(
                Diagnostic::error(
                    codes::NO_COMMON_TYPE,
                    format!("`{}` does not take {} and {}", op.symbol(), x.describe(), y.describe()),
                )
                .primary(lhs.span, x.describe())
                .primary(rhs.span, y.describe()),
            );
            None
        };
        let number = |t: HostType| t != HostType::Bool;
        let arithmetic = match op {
            BinaryOp::Add => Some(IrBinary::Add),
            BinaryOp::Sub => Some(IrBinary::Sub),
            BinaryOp::Mul => Some(IrBinary::Mul),
            BinaryOp::Div => Some(IrBinary::Div),
            BinaryOp::Rem => Some(IrBinary::Rem),
            BinaryOp::BitAnd => Some(IrBinary::And),
            BinaryOp::BitOr => Some(IrBinary::Or),
            BinaryOp::BitXor => Some(IrBinary::Xor),
            BinaryOp::Shl => Some(IrBinary::Shl),
            BinaryOp::Shr => Some(IrBinary::Shr),
            _ => None,
        };
        if let Some(ir) = arithmetic {
            let bits = !matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem);
            let fits = x.fits(y) && number(x) && number(y) && !(bits && (x == HostType::Float || y == HostType::Float));
            let ty = if x == HostType::Any { y } else { x };
            return if fits { Some((HostExpr::Binary(ir, a, b), ty)) } else { mismatch(self) };
        }
        if op.is_logical() {
            if !x.fits(HostType::Bool) || !y.fits(HostType::Bool) {
                return mismatch(self);
            }
            return Some((if op == BinaryOp::And { HostExpr::And(a, b) } else { HostExpr::Or(a, b) }, HostType::Bool));
        }
        let cmp = match op {
            BinaryOp::Eq => CmpOp::Eq,
            BinaryOp::Ne => CmpOp::Ne,
            BinaryOp::Lt => CmpOp::Lt,
            BinaryOp::Le => CmpOp::Le,
            BinaryOp::Gt => CmpOp::Gt,
            _ => CmpOp::Ge,
        };
        if x.fits(y) { Some((HostExpr::Cmp(cmp, a, b), HostType::Bool)) } else { mismatch(self) }
    }

    fn path(&mut self, path: &'p ast::Path) -> Option<Typed> {
        if let [ty, constant] = path.segments.as_slice()
            && constant.as_str() == "BITS"
        {
            let types = self.kernel.generics.iter().zip(self.kinds).filter(|(_, k)| matches!(k, GenericKind::Type(_)));
            if let Some(n) = types.map(|(g, _)| g.name()).position(|n| n.name == ty.name) {
                return Some((HostExpr::BitsOf(n as u32), HostType::Int));
            }
        }
        if let Some(ident) = path.as_ident() {
            let name = &ident.name;
            let mut consts = 0;
            for (generic, kind) in self.kernel.generics.iter().zip(self.kinds) {
                let is_const = matches!(kind, GenericKind::Int | GenericKind::Bool);
                if generic.name().name == *name {
                    let ty = if *kind == GenericKind::Bool { HostType::Bool } else { HostType::Int };
                    return if is_const {
                        Some((HostExpr::Const(consts), ty))
                    } else {
                        self.unsupported(path.span, "not a constant")
                    };
                }
                consts += u32::from(is_const);
            }
            if let Some(n) = self.dims.iter().position(|d| d.name == *name) {
                return Some((HostExpr::Dim(n as u32), HostType::Int));
            }
            if let Some(n) = self.kernel.params.iter().position(|p| p.name.name == *name) {
                return self.scalar_param(n, path.span);
            }
            match name.as_ref() {
                "inf" => return Some((HostExpr::Float(f64::INFINITY), HostType::Float)),
                "nan" => return Some((HostExpr::Float(f64::NAN), HostType::Float)),
                "smem" => return Some((HostExpr::SharedMemory, HostType::Int)),
                _ => {}
            }
            if let Some(n) = super::attrs::FIELDS.iter().position(|(field, _)| self.fields && *field == name.as_ref()) {
                let ty = if super::attrs::FIELDS[n].1 { HostType::Bool } else { HostType::Int };
                return Some((HostExpr::ScheduleField(n as u8), ty));
            }
        }
        self.constant(path)
    }

    fn scalar_param(&mut self, n: usize, span: Span) -> Option<Typed> {
        let te = &self.kernel.params[n].ty;
        let ast::TypeKind::Path { path, args: None } = &te.kind else {
            let label = if is_tensor(te) { "a tensor; ask for `.dim(i)`, `.stride(i)` or `.is_some()`" } else { "not a scalar" };
            return self.unsupported(span, label);
        };
        let ty = match path.as_ident().and_then(|i| ScalarType::from_name(i.as_str())) {
            Some(ScalarType::Bool) => HostType::Bool,
            Some(s) if s.is_float() => HostType::Float,
            Some(_) => HostType::Int,
            None => HostType::Any,
        };
        Some((HostExpr::Scalar(n as u32), ty))
    }

    /// A constant item.
    fn constant(&mut self, path: &'p ast::Path) -> Option<Typed> {
        let segments: Vec<_> = path.segments.iter().map(|s| s.name.clone()).collect();
        if let Some(Def::Item(id)) = self.modules.resolve(self.id.module, &segments) {
            let mut elab = Elab::new(self.modules, Sink::off(), true);
            elab.push_frame(self.id.module, FrameKind::Const, self.kernel.name.name.clone(), None);
            let val = elab.const_item(id);
            return match val {
                Ok(Val::Tile(t)) => match t.konst {
                    Some(Konst::Int(Num::Known(v))) => match i64::try_from(v) {
                        Ok(v) => Some((HostExpr::Int(v), HostType::Int)),
                        Err(_) => self.unsupported(path.span, "does not fit 64 bits"),
                    },
                    Some(Konst::Float(Some(v))) => Some((HostExpr::Float(v), HostType::Float)),
                    Some(Konst::Bool(Some(b))) => Some((HostExpr::Bool(b), HostType::Bool)),
                    _ => self.unsupported(path.span, "not a scalar constant"),
                },
                // A wrong constant is reported where it is defined.
                Ok(_) => self.unsupported(path.span, "not a scalar constant"),
                Err(_) => None,
            };
        }
        let name = path.to_string();
        let mut names: Vec<&str> = self.dims.iter().map(|d| d.as_str()).collect();
        names.extend(self.kernel.generics.iter().map(|g| g.name().as_str()));
        names.extend(self.kernel.params.iter().map(|p| p.name.as_str()));
        let mut d = Diagnostic::error(codes::UNKNOWN_NAME, format!("there is no `{name}` here")).primary(path.span, "not found");
        d = match closest(&name, names.iter().copied()) {
            Some(near) => d.suggest(format!("did you mean `{near}`?"), path.span, near),
            None => d.note("the head of a kernel knows dimensions of its tensors, its parameters and constants"),
        };
        self.error(d);
        None
    }

    fn call(&mut self, path: &'p ast::Path, args: &'p [ast::Arg], span: Span) -> Option<Typed> {
        let name = path.to_string();
        if name == "num_sms" && args.is_empty() {
            return Some((HostExpr::NumSms, HostType::Int));
        }
        let function = match (name.as_str(), args.len()) {
            ("cdiv", 2) => HostFn::Cdiv,
            ("next_pow2", 1) => HostFn::NextPow2,
            ("min", 2) => HostFn::Min,
            ("max", 2) => HostFn::Max,
            ("abs", 1) => HostFn::Abs,
            ("cdiv" | "next_pow2" | "min" | "max" | "abs" | "num_sms", n) => {
                self.error(
                    Diagnostic::error(codes::ARG_COUNT, format!("`{name}` with {n} arguments"))
                        .primary(span, "wrong number of arguments"),
                );
                return None;
            }
            _ => {
                let d = Diagnostic::error(codes::HOST_EXPR, format!("`{name}` cannot be called at launch"))
                    .primary(path.span, "not known to the host");
                let d = match closest(&name, ["cdiv", "next_pow2", "min", "max", "abs", "num_sms"]) {
                    Some(near) => d.suggest(format!("did you mean `{near}`?"), path.span, near),
                    None => d.note("the host knows `cdiv`, `next_pow2`, `min`, `max`, `abs` and `num_sms`"),
                };
                self.error(d);
                return None;
            }
        };
        let mut list = Vec::new();
        let mut ty = HostType::Int;
        for arg in args {
            let float_ok = matches!(function, HostFn::Min | HostFn::Max | HostFn::Abs);
            let (e, t) = self.expr(&arg.value)?;
            if t == HostType::Bool || (t == HostType::Float && !float_ok) {
                self.error(
                    Diagnostic::error(codes::MISMATCHED_TYPES, format!("`{name}` takes integers"))
                        .primary(arg.span, format!("this is {}", t.describe())),
                );
                return None;
            }
            ty = t;
            list.push(e);
        }
        Some((HostExpr::Call(function, list), ty))
    }

    fn method(&mut self, receiver: &'p Expr, name: &'p Ident, args: &'p [ast::Arg], span: Span) -> Option<Typed> {
        let param = receiver.unparen().as_ident().and_then(|i| self.kernel.params.iter().position(|p| p.name.name == i.name));
        let Some(n) = param else { return self.unsupported(span, "only parameters have methods here") };
        let tensor = is_tensor(&self.kernel.params[n].ty);
        let axis = match args {
            [arg] => match &arg.value.unparen().kind {
                ExprKind::Literal(ast::Literal { kind: LiteralKind::Int(v), .. }) if *v < 5 => Some(*v as u8),
                _ => None,
            },
            _ => None,
        };
        match (name.as_str(), args.len(), axis) {
            ("is_some", 0, _) => Some((HostExpr::IsSome(n as u32), HostType::Bool)),
            ("dim", 1, Some(axis)) if tensor => Some((HostExpr::DimOf(n as u32, axis), HostType::Int)),
            ("stride", 1, Some(axis)) if tensor => Some((HostExpr::StrideOf(n as u32, axis), HostType::Int)),
            _ => self.unsupported(span, "the host knows `.is_some()`, `.dim(i)` and `.stride(i)`"),
        }
    }
}
