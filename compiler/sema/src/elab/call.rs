//! Calls: resolving the callee, matching arguments with parameters, expanding functions.

use std::sync::Arc;

use kiln_ir::InstData;
use kiln_syntax::ast::{self, Expr, ExprKind, Ident, Item, TypeArg, TypeExpr, TypeKind};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;

use super::expr::describe;
use super::generics::kinds_of;
use super::type_expr::TyVal;
use super::value::{FnVal, TileVal, Val};
use super::vars::VarKind;
use super::{Binding, Elab, FrameKind, MAX_CALL_DEPTH, Poison, R};
use crate::builtins;
use crate::consts::Konst;
use crate::names::{Def, ItemId, closest};
use crate::types::Scalar;

/// An argument of a call.
#[derive(Clone, Debug)]
pub struct Argument<'p> {
    /// The name in `name = value`.
    pub name: Option<&'p Ident>,
    /// The value.
    pub value: ArgumentValue<'p>,
    /// Where the value stands.
    pub span: Span,
}

/// An argument before or after evaluation.
#[derive(Clone, Debug)]
pub enum ArgumentValue<'p> {
    /// To be evaluated in the order of arguments.
    Expr(&'p Expr),
    /// The receiver of a method call.
    Ready(Val<'p>),
}

impl<'p> Argument<'p> {
    /// An argument as written.
    pub fn of(arg: &'p ast::Arg) -> Argument<'p> {
        Argument { name: arg.name.as_ref(), value: ArgumentValue::Expr(&arg.value), span: arg.value.span }
    }

    /// An evaluated argument.
    pub fn ready(val: Val<'p>, span: Span) -> Argument<'p> {
        Argument { name: None, value: ArgumentValue::Ready(val), span }
    }
}

impl<'p> Elab<'p> {
    /// The item or builtin a path names.
    fn resolve_item(&mut self, path: &ast::Path) -> Option<Def> {
        let module = self.frame_ref().module;
        let segments = Self::segments(path);
        let def = self.modules.resolve(module, &segments)?;
        self.used_imports.insert((module, segments[0].clone()));
        Some(def)
    }

    /// Whether a name is a constant item.
    pub fn is_const_item(&self, name: &Arc<str>) -> bool {
        match self.modules.resolve(self.frame_ref().module, std::slice::from_ref(name)) {
            Some(Def::Item(id)) => matches!(self.modules.item(id), Item::Const(_)),
            _ => false,
        }
    }

    /// The value of a path that is no local name.
    pub fn item_value(&mut self, path: &'p ast::Path) -> R<Val<'p>> {
        let special = match path.to_string().as_str() {
            "inf" => Some(f64::INFINITY),
            "nan" => Some(f64::NAN),
            _ => None,
        };
        match self.resolve_item(path) {
            Some(Def::Item(id)) => match self.modules.item(id) {
                Item::Const(_) => self.const_item(id),
                Item::Fn(_) => Ok(Val::Fn(FnVal::Item(id))),
                _ => Err(self.error(
                    codes::NOT_A_VALUE,
                    path.span,
                    format!("the kernel `{path}` is not a value"),
                    "kernels are launched by the host",
                )),
            },
            Some(Def::Module(_)) => {
                Err(self.error(codes::NOT_A_VALUE, path.span, format!("`{path}` is a file"), "name an item of it: `file::item`"))
            }
            None => {
                if let Some(v) = special {
                    return Ok(Val::Tile(TileVal::constant(crate::types::Scalar::FloatLit, Konst::Float(Some(v)))));
                }
                if let Some(builtin) = builtins::find(&path.to_string()) {
                    return Ok(Val::Fn(FnVal::Builtin(builtin)));
                }
                Err(self.unknown_value(path))
            }
        }
    }

    fn unknown_value(&mut self, path: &ast::Path) -> Poison {
        let name = path.to_string();
        let mut d = Diagnostic::error(codes::UNKNOWN_NAME, format!("there is no `{name}` here")).primary(path.span, "not found");
        let mut names: Vec<String> = self.names_in_scope().iter().map(|n| n.to_string()).collect();
        let module = self.modules.module(self.frame_ref().module);
        names.extend(module.names.keys().map(|k| k.to_string()));
        names.extend(["inf", "nan"].map(str::to_owned));
        names.sort();
        if let Some(near) = closest(&name, names.iter().map(String::as_str)) {
            d = d.suggest(format!("did you mean `{near}`?"), path.span, near);
        }
        self.report(d)
    }

    /// `path::<..>(args)`.
    pub fn call_path(
        &mut self,
        path: &'p ast::Path,
        type_args: Option<&'p [TypeArg]>,
        args: Vec<Argument<'p>>,
        span: Span,
    ) -> R<Val<'p>> {
        if let Some(ident) = path.as_ident()
            && let Some(Binding::Var(id)) = self.lookup(&ident.name).cloned()
            && let Some(Val::Fn(f)) = self.vars[id.0 as usize].val.clone()
        {
            self.var(id).used = true;
            return self.call_fn(&f, type_args, args, span);
        }
        match self.resolve_item(path) {
            Some(Def::Item(id)) => match self.modules.item(id) {
                Item::Fn(_) => self.call_fn(&FnVal::Item(id), type_args, args, span),
                Item::Kernel(_) => Err(self.report(
                    Diagnostic::error(codes::NOT_A_FUNCTION, format!("`{path}` is a kernel, which only the host launches"))
                        .primary(path.span, "called here")
                        .help("put what both need in a `fn`"),
                )),
                _ => Err(self.error(
                    codes::NOT_A_FUNCTION,
                    path.span,
                    format!("`{path}` is a constant, not a function"),
                    "called here",
                )),
            },
            Some(Def::Module(_)) => Err(self.error(
                codes::NOT_A_FUNCTION,
                path.span,
                format!("`{path}` is a file, not a function"),
                "name an item of it",
            )),
            None => match builtins::find(&path.to_string()) {
                Some(builtin) => self.call_fn(&FnVal::Builtin(builtin), type_args, args, span),
                None => Err(self.unknown_function(&path.to_string(), path.span)),
            },
        }
    }

    /// `receiver.name::<..>(args)`; the receiver is the first argument.
    pub fn call_method(
        &mut self,
        name: &'p Ident,
        type_args: Option<&'p [TypeArg]>,
        args: Vec<Argument<'p>>,
        span: Span,
    ) -> R<Val<'p>> {
        let module = self.frame_ref().module;
        if let Some(Def::Item(id)) = self.modules.resolve(module, std::slice::from_ref(&name.name))
            && matches!(self.modules.item(id), Item::Fn(_))
        {
            self.used_imports.insert((module, name.name.clone()));
            return self.call_fn(&FnVal::Item(id), type_args, args, span);
        }
        match builtins::find(&name.name) {
            Some(builtin) => self.call_fn(&FnVal::Builtin(builtin), type_args, args, span),
            None => Err(self.unknown_function(&name.name, name.span)),
        }
    }

    fn unknown_function(&mut self, name: &str, span: Span) -> Poison {
        let mut d =
            Diagnostic::error(codes::UNKNOWN_FUNCTION, format!("there is no function `{name}`")).primary(span, "not found");
        let mut names: Vec<String> = builtins::all().map(|b| b.name.to_owned()).collect();
        names.extend(kiln_std::PRELUDE.iter().map(|(_, n)| (*n).to_owned()));
        let module = self.modules.module(self.frame_ref().module);
        names.extend(module.names.keys().map(|k| k.to_string()));
        names.extend(["dim", "stride", "ptr", "is_some", "or", "mask", "cache", "evict"].map(str::to_owned));
        names.sort();
        let foreign = [
            ("tl::load", "load"),
            ("where", "select"),
            ("maximum", "max"),
            ("minimum", "min"),
            ("ceil_div", "cdiv"),
            ("transpose", "trans"),
            ("concat", "cat"),
            ("matmul", "dot"),
            ("len", "dim"),
        ];
        let near =
            foreign.iter().find(|(f, _)| *f == name).map(|(_, n)| *n).or_else(|| closest(name, names.iter().map(String::as_str)));
        if let Some(near) = near {
            d = d.suggest(format!("did you mean `{near}`?"), span, near);
        } else if name == "break" || name == "continue" {
            d = d.help("loops end by their condition: carry a bool");
        }
        self.report(d)
    }

    /// Calls any function.
    pub fn call_fn(
        &mut self,
        f: &FnVal<'p>,
        type_args: Option<&'p [TypeArg]>,
        args: Vec<Argument<'p>>,
        span: Span,
    ) -> R<Val<'p>> {
        match f {
            FnVal::Builtin(builtin) => builtins::call(self, builtin, type_args, args, span),
            FnVal::Opaque { name, ty } => self.call_opaque(name, ty, args, span),
            FnVal::Item(id) => {
                let modules = self.modules;
                let Item::Fn(function) = modules.item(*id) else { return Err(Poison) };
                self.call_item(*id, function, type_args.unwrap_or_default(), args, span)
            }
        }
    }

    /// A function parameter in generic code: only its type is known.
    fn call_opaque(&mut self, name: &Arc<str>, ty: &'p TypeExpr, args: Vec<Argument<'p>>, span: Span) -> R<Val<'p>> {
        let TypeKind::Fn { params, result } = &ty.kind else { return Err(Poison) };
        let values: Vec<R<(Val<'p>, Span)>> = args.into_iter().map(|a| Ok((self.argument(&a, false)?, a.span))).collect();
        let values: Vec<(Val<'p>, Span)> = values.into_iter().collect::<R<_>>()?;
        if values.len() != params.len() {
            return Err(self.report(
                Diagnostic::error(
                    codes::ARG_COUNT,
                    format!("`{name}` takes {} arguments, {} are given", params.len(), values.len()),
                )
                .primary(span, "called here")
                .secondary(ty.span, "declared here"),
            ));
        }
        // Its type is written with the names of the item it is a parameter of.
        let inner = self.frames.split_off(1);
        let result = (|| {
            for (te, (val, at)) in params.iter().zip(values) {
                let target = self.type_of(te)?;
                self.fit(val, &target, at, &format!("`{name}` takes it"))?;
            }
            let target = self.type_of(result)?;
            self.sample(&target).ok_or(Poison)
        })();
        self.frames.extend(inner);
        result
    }

    /// The value of an argument; slices are read unless a tensor is wanted.
    pub fn argument(&mut self, arg: &Argument<'p>, keep_access: bool) -> R<Val<'p>> {
        let val = match &arg.value {
            ArgumentValue::Expr(e) => self.raw(e)?,
            ArgumentValue::Ready(val) => val.clone(),
        };
        match val {
            Val::Access(access) if !keep_access => Ok(Val::Tile(self.load(*access)?)),
            val => Ok(val),
        }
    }

    fn call_item(
        &mut self,
        id: ItemId,
        function: &'p ast::Fn,
        type_args: &'p [TypeArg],
        args: Vec<Argument<'p>>,
        span: Span,
    ) -> R<Val<'p>> {
        let name = &function.name.name;
        let (kinds, broken) = kinds_of(&function.generics);
        let explicit = self.explicit_generics(&function.generics, &kinds, type_args, name);
        let matched = self.match_params(function, args, span);
        let (mut inferred, values) = (explicit?, matched?);
        if !broken.is_empty() {
            return Err(Poison);
        }
        let running = self.frames.iter().filter(|f| f.kind == FrameKind::Fn).any(|f| f.module == id.module && f.name == *name);
        if running || self.frames.len() >= MAX_CALL_DEPTH {
            return Err(self.report(
                Diagnostic::error(codes::RECURSION, format!("`{name}` calls itself"))
                    .primary(span, "called here, inside its own expansion")
                    .secondary(function.name.span, "declared here")
                    .help("functions are expanded where they are called, so they cannot recur: use a loop"),
            ));
        }
        for ((param, value), at) in function.params.iter().zip(&values).zip(0..) {
            if let (Some((val, at_span)), _) = (value, at) {
                self.infer(&param.ty, val, &function.generics, &kinds, &mut inferred, *at_span)?;
            }
        }
        if self.modules.module(id.module).is_std {
            self.warn_neg_inf(name, &values);
        }
        self.push_frame(id.module, FrameKind::Fn, name.clone(), Some(span));
        let result = self.expand(function, &kinds, inferred, values, span);
        self.frames.pop();
        result
    }

    /// Lanes that read -inf become ordinary numbers in functions that are bounded there.
    fn warn_neg_inf(&mut self, name: &str, values: &[Option<(Val<'p>, Span)>]) {
        if !matches!(name, "tanh" | "sigmoid" | "erf" | "silu" | "gelu" | "gelu_tanh" | "relu" | "softplus" | "elu") {
            return;
        }
        if let Some(Some((Val::Tile(tile), at))) = values.first()
            && let Some(or) = tile.history.or_neg_inf
        {
            self.report(
                Diagnostic::warning(codes::OR_NEG_INF, format!("`{name}` makes an ordinary number of -inf"))
                    .primary(*at, "lanes out of bounds are -inf here")
                    .secondary(or, "made here")
                    .help("mask after the function: `select(live, .., -inf)`"),
            );
        }
    }

    /// One value a parameter; absent optionals and defaults have none yet.
    fn match_params(&mut self, function: &'p ast::Fn, args: Vec<Argument<'p>>, span: Span) -> R<Vec<Option<(Val<'p>, Span)>>> {
        let name = &function.name.name;
        let mut slots: Vec<Option<(Val<'p>, Span)>> = vec![None; function.params.len()];
        let mut result = Ok(());
        let total = args.len();
        for (position, arg) in args.into_iter().enumerate() {
            let at = match arg.name {
                None => position,
                Some(given) => match function.params.iter().position(|p| p.name.name == given.name) {
                    Some(at) => at,
                    None => {
                        let mut d = Diagnostic::error(codes::UNKNOWN_ARG, format!("`{name}` has no parameter `{}`", given.name))
                            .primary(given.span, "not found");
                        if let Some(near) = closest(&given.name, function.params.iter().map(|p| p.name.as_str())) {
                            d = d.suggest(format!("did you mean `{near}`?"), given.span, near);
                        }
                        result = Err(self.report(d));
                        continue;
                    }
                },
            };
            let Some(param) = function.params.get(at) else {
                result = Err(self.report(
                    Diagnostic::error(
                        codes::ARG_COUNT,
                        format!("`{name}` takes {} arguments, {total} are given", function.params.len()),
                    )
                    .primary(arg.span, "one too many")
                    .secondary(function.name.span, "declared here"),
                ));
                break;
            };
            if slots[at].is_some() {
                result = Err(self.error(
                    codes::ARG_COUNT,
                    arg.span,
                    format!("`{}` of `{name}` is given twice", param.name.name),
                    "given before",
                ));
                continue;
            }
            let absent = matches!(&arg.value, ArgumentValue::Expr(e) if matches!(e.kind, ExprKind::None));
            if absent && param.ty.optional.is_some() {
                slots[at] = Some((Val::Absent(param.name.name.clone()), arg.span));
                continue;
            }
            let tensor = is_tensor(&param.ty);
            match self.argument(&arg, tensor) {
                Ok(Val::Absent(inner)) if param.ty.optional.is_none() => result = Err(self.absent(&inner, arg.span)),
                Ok(val @ (Val::Access(_) | Val::Tile(_) | Val::Tuple(_))) if tensor => {
                    // Before the dimensions in its type are named: they have nothing to stand for.
                    let target = TyVal::View { elem: Scalar::Unknown.into(), dims: Vec::new(), mutable: false };
                    result =
                        self.fit(val, &target, arg.span, &format!("`{}` of `{name}` is a tensor", param.name.name)).map(|_| ());
                }
                Ok(val) => slots[at] = Some((val, arg.span)),
                Err(p) => result = Err(p),
            }
        }
        result?;
        let missing: Vec<&str> = function
            .params
            .iter()
            .zip(&slots)
            .filter(|(p, slot)| slot.is_none() && p.default.is_none() && p.ty.optional.is_none())
            .map(|(p, _)| p.name.as_str())
            .collect();
        if !missing.is_empty() {
            return Err(self.report(
                Diagnostic::error(
                    codes::ARG_COUNT,
                    format!("`{name}` lacks {}", missing.iter().map(|m| format!("`{m}`")).collect::<Vec<_>>().join(", ")),
                )
                .primary(span, format!("{total} of {} arguments given", function.params.len()))
                .secondary(function.name.span, "declared here"),
            ));
        }
        Ok(slots)
    }

    /// The body of a function with its parameters bound, in its own frame.
    fn expand(
        &mut self,
        function: &'p ast::Fn,
        kinds: &[Option<super::generics::GenericKind>],
        inferred: super::generics::Inferred<'p>,
        values: Vec<Option<(Val<'p>, Span)>>,
        span: Span,
    ) -> R<Val<'p>> {
        let name = function.name.as_str();
        let given: Vec<(&'p TypeExpr, Val<'p>, Span)> = function
            .params
            .iter()
            .zip(&values)
            .filter_map(|(p, v)| v.as_ref().map(|(val, at)| (&p.ty, val.clone(), *at)))
            .collect();
        self.bind_generics(&function.generics, kinds, inferred, &given, span, name)?;
        let mut failed = None;
        for (param, value) in function.params.iter().zip(values) {
            let bound = match value {
                Some((Val::Absent(_), _)) => Ok(Val::Absent(param.name.name.clone())),
                Some((val, at)) => self
                    .type_of(&param.ty)
                    .and_then(|target| self.fit(val, &target, at, &format!("`{}` of `{name}` takes it", param.name.name))),
                None => match &param.default {
                    Some(e) => self.expr(e).and_then(|val| {
                        let target = self.type_of(&param.ty)?;
                        self.fit(val, &target, e.span, "the default of a parameter")
                    }),
                    None => Ok(Val::Absent(param.name.name.clone())),
                },
            };
            match bound {
                Ok(val) => {
                    self.define(&param.name, None, Some(val), VarKind::Param);
                }
                Err(p) => failed = Some(p),
            }
        }
        if let Some(p) = failed {
            return Err(p);
        }
        self.fn_requires(&function.requires, span)?;
        let result_ty = match &function.result {
            Some(te) => self.type_of(te)?,
            None => TyVal::Tuple(vec![]),
        };
        if self.generic
            && let Some(sample) = self.sample(&result_ty)
        {
            return Ok(sample);
        }
        let value = if self.generic { self.muted(|s| s.block_value(&function.body)) } else { self.block_value(&function.body) };
        let at = function.body.tail.as_ref().map_or(function.body.span, |t| t.span);
        let value = value?;
        if self.generic { Ok(value) } else { self.fit_result(value, &result_ty, function, at) }
    }

    /// The value of a body as the declared result.
    pub fn fit_result(&mut self, value: Val<'p>, result: &TyVal, function: &'p ast::Fn, at: Span) -> R<Val<'p>> {
        match (&value, &function.result) {
            (Val::Unit, Some(te)) if !matches!(result, TyVal::Tuple(list) if list.is_empty()) => {
                let mut d =
                    Diagnostic::error(codes::FN_RESULT, format!("`{}` promises a result and gives none", function.name.name))
                        .primary(at, "the body ends without a value")
                        .secondary(te.span, "promised here");
                if let Some(last) = function.body.stmts.last()
                    && function.body.tail.is_none()
                    && matches!(last.kind, ast::StmtKind::Expr(_))
                {
                    d = d.suggest(
                        "remove the `;` of the last expression",
                        Span { lo: last.span.hi.saturating_sub(1), ..last.span },
                        "",
                    );
                }
                Err(self.report(d))
            }
            (Val::Unit, None) => Ok(value),
            (_, None) => Err(self.report(
                Diagnostic::error(codes::FN_RESULT, format!("`{}` ends in a value but promises no result", function.name.name))
                    .primary(at, format!("this is {}", describe(&value)))
                    .suggest("promise it", Span { lo: function.body.span.lo, hi: function.body.span.lo, ..at }, "-> _ ")
                    .help("or end the statement with `;`"),
            )),
            (_, Some(te)) => {
                let loc = self.sink.set_loc(at);
                let fitted = self.fit(value, result, at, &format!("`{}` promises `{result}`", function.name.name));
                self.sink.restore_loc(loc);
                let _ = te;
                fitted
            }
        }
    }

    /// The conditions of a function: constants are checked now, the rest when the program runs.
    pub fn fn_requires(&mut self, clauses: &'p [Expr], call: Span) -> R<()> {
        for clause in clauses {
            let cond = self.condition(clause, "requires")?;
            match super::control::known(&cond) {
                Some(true) => {}
                Some(false) => {
                    return Err(self.report(
                        Diagnostic::error(codes::REQUIRES, "a condition of this function does not hold")
                            .primary(call, "called here")
                            .secondary(clause.span, "this is false"),
                    ));
                }
                None if cond.konst.is_some() => {}
                None => {
                    if let Some(cond) = self.value(&cond) {
                        let message: Arc<str> = "a condition behind `requires` does not hold".into();
                        self.sink.emit(InstData::Assert { cond, message }, &[]);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether a parameter takes a tensor.
pub fn is_tensor(te: &TypeExpr) -> bool {
    matches!(&te.kind, TypeKind::Path { path, args: Some(_) } if path.as_ident().is_some_and(|i| i.as_str() == "tensor"))
}
