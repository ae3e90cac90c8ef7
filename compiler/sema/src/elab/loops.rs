//! `for` and `while`: outer variables that the body assigns are carried from trip to trip.

use std::sync::Arc;

use kiln_ir::{InstData, LoopAttrs, Type, ValueList};
use kiln_syntax::ast::{self, Attr, AttrArgs, Block, Else, Expr, ExprKind, Pattern, PatternKind, Stmt, StmtKind};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;

use super::control::fill;
use super::ops::Operand;
use super::value::{TileVal, Val};
use super::vars::VarId;
use super::{Binding, Elab, Poison, R};
use crate::types::{Kinds, Scalar, TileTy};

/// A `for` head taken apart.
struct Head<'p> {
    start: &'p Expr,
    end: &'p Expr,
    step: Option<&'p Expr>,
    rev: bool,
    unroll: bool,
}

impl<'p> Elab<'p> {
    /// `for pattern in iter { body }`.
    pub fn for_stmt(&mut self, pattern: &'p Pattern, iter: &'p Expr, body: &'p Block, attrs: &'p [Attr]) -> R<()> {
        let attrs = self.loop_attrs(attrs);
        let head = self.head(iter);
        let (head, mut attrs) = match (head, attrs) {
            (Ok(head), Ok(attrs)) => (head, attrs),
            _ => {
                self.check_body_only(pattern, body);
                return Err(Poison);
            }
        };
        attrs.unroll |= head.unroll;
        let bounds = self.bounds(&head);
        let Ok((lo, hi, step)) = bounds else {
            self.check_body_only(pattern, body);
            return Err(Poison);
        };
        let counter_ty = lo.ty.clone();
        let init_ir = (self.value(&lo), self.value(&hi), self.value(&step));
        let carried = self.carried(body, iter.span)?;
        let init = self.leaves(&carried);
        let init_values: Vec<_> = init.iter().map(|t| self.value(t)).collect();
        let init_values: Option<ValueList> = self.sink.all(init_values);

        let (block, outer) = self.sink.enter_block();
        let name = match &pattern.kind {
            PatternKind::Ident { name, .. } => Some(name.name.clone()),
            _ => None,
        };
        let counter = TileVal::new(counter_ty.clone(), self.sink.block_param(block, &counter_ty, name));
        self.regions.push(Default::default());
        self.enter_carried(block, &carried, &init);
        self.frame().loops += 1;
        let result = self.scoped(|s| {
            s.bind_pattern(pattern, Some(Val::Tile(counter)), pattern.span)?;
            s.block_stmts(body)
        });
        self.frame().loops -= 1;
        let finals = self.leaves(&carried);
        let finals: Vec<_> = finals.iter().map(|t| self.value(t)).collect();
        let yielded: Option<ValueList> = self.sink.all(finals);
        self.sink.yield_(yielded.unwrap_or_default());
        self.sink.set_block(outer);
        self.leave_region();

        let types = self.types_of(&init_values);
        let inst = match (init_ir, init_values) {
            ((Some(lo), Some(hi), Some(step)), Some(init)) => {
                self.sink.emit(InstData::For { lo, hi, step, rev: head.rev, init, body: block, attrs }, &types)
            }
            _ => None,
        };
        self.set_carried(&carried, &init, inst);
        result.map(|_| ())
    }

    /// `while cond { body }`.
    pub fn while_stmt(&mut self, cond: &'p Expr, body: &'p Block, attrs: &'p [Attr]) -> R<()> {
        if let Some(attr) = attrs.first() {
            self.error(
                codes::UNKNOWN_ATTRIBUTE,
                attr.span,
                format!("`#[{}]` before a `while`", attr.path),
                "loop attributes belong to `for`",
            );
        }
        let carried = self.carried(body, cond.span)?;
        let init = self.leaves(&carried);
        let init_values: Vec<_> = init.iter().map(|t| self.value(t)).collect();
        let init_values: Option<ValueList> = self.sink.all(init_values);

        let (cond_block, outer) = self.sink.enter_block();
        self.regions.push(Default::default());
        self.enter_carried(cond_block, &carried, &init);
        let condition = self.condition(cond, "while");
        if let Ok(condition) = &condition {
            let mut values = vec![self.value(condition)];
            for leaf in self.leaves(&carried) {
                values.push(self.value(&leaf));
            }
            let args: Option<ValueList> = self.sink.all(values);
            self.sink.yield_(args.unwrap_or_default());
        }
        let (body_block, _) = self.sink.enter_block();
        self.enter_carried(body_block, &carried, &init);
        self.frame().loops += 1;
        let result = self.block_stmts(body);
        self.frame().loops -= 1;
        let finals = self.leaves(&carried);
        let finals: Vec<_> = finals.iter().map(|t| self.value(t)).collect();
        let yielded: Option<ValueList> = self.sink.all(finals);
        self.sink.yield_(yielded.unwrap_or_default());
        self.sink.set_block(outer);
        self.leave_region();

        let types = self.types_of(&init_values);
        let inst =
            init_values.and_then(|init| self.sink.emit(InstData::While { init, cond: cond_block, body: body_block }, &types));
        self.set_carried(&carried, &init, inst);
        condition?;
        result.map(|_| ())
    }

    /// After a mistake in the head: the body may have mistakes of its own.
    fn check_body_only(&mut self, pattern: &'p Pattern, body: &'p Block) {
        self.frame().loops += 1;
        let _ = self.scoped(|s| {
            let _ = s.bind_pattern(pattern, None, pattern.span);
            s.block_stmts(body)
        });
        self.frame().loops -= 1;
    }

    fn types_of(&mut self, values: &Option<ValueList>) -> Vec<Type> {
        match values {
            Some(list) if self.sink.is_live() => list.iter().map(|v| self.sink.func().ty(*v)).collect(),
            _ => Vec::new(),
        }
    }

    fn leave_region(&mut self) {
        for (id, before) in self.regions.pop().unwrap_or_default() {
            self.var(id).val = before;
        }
    }

    /// The outer variables a body assigns.
    fn carried(&mut self, body: &'p Block, head: Span) -> R<Vec<VarId>> {
        let mut names = Vec::new();
        assigned_names(&body.stmts, body.tail.as_deref(), &mut names);
        let mut ids: Vec<VarId> = Vec::new();
        for name in names {
            if let Some(Binding::Var(id)) = self.lookup(&name)
                && self.vars[id.0 as usize].mutable.is_some()
                && !ids.contains(id)
            {
                ids.push(*id);
            }
        }
        ids.sort();
        ids.retain(|id| self.vars[id.0 as usize].val.is_some());
        for id in &ids {
            let var = &self.vars[id.0 as usize];
            if var.val.as_ref().is_some_and(has_view) {
                let (name, span) = (var.name.clone(), var.span);
                return Err(self.report(
                    Diagnostic::error(codes::VIEW_ESCAPES, format!("`{name}` holds a view and is assigned in a loop"))
                        .primary(head, "a view cannot be carried from trip to trip")
                        .secondary(span, "bound here")
                        .help("carry its bounds instead, and make the view in the body: `let v = x[lo..hi, :];`"),
                ));
            }
        }
        Ok(ids)
    }

    /// The tiles in variables, in order.
    fn leaves(&mut self, ids: &[VarId]) -> Vec<TileVal> {
        let mut out = Vec::new();
        for id in ids {
            if let Some(val) = self.var(*id).val.clone() {
                collect(&val, &mut out);
            }
        }
        out
    }

    /// Inside a loop, carried variables are parameters of its block.
    fn enter_carried(&mut self, block: kiln_ir::Block, ids: &[VarId], init: &[TileVal]) {
        let mut values = Vec::new();
        let mut names: Vec<Arc<str>> = Vec::new();
        for id in ids {
            let var = self.var(*id);
            let mut leaves = Vec::new();
            if let Some(val) = &var.val {
                collect(val, &mut leaves);
            }
            let name = var.name.clone();
            names.extend(leaves.iter().map(|_| name.clone()));
        }
        for (leaf, name) in init.iter().zip(names) {
            values.push(self.sink.block_param(block, &leaf.ty, Some(name)));
        }
        let mut values = values.into_iter();
        for id in ids {
            let val = self.var(*id).val.clone().map(|v| fill(unknown(v), &mut values));
            self.set_var(*id, val);
        }
    }

    fn set_carried(&mut self, ids: &[VarId], init: &[TileVal], inst: Option<kiln_ir::Inst>) {
        let mut results = self.sink.results(inst, init.len()).into_iter();
        for id in ids {
            let val = self.var(*id).val.clone().map(|v| fill(unknown(v), &mut results));
            self.set_var(*id, val);
        }
    }

    fn head(&mut self, iter: &'p Expr) -> R<Head<'p>> {
        let bad = |s: &mut Self, span: Span| {
            Err(s.report(
                Diagnostic::error(codes::LOOP_HEAD, "a `for` counts over a range")
                    .primary(span, "not a range")
                    .help("heads are `a..b`, `(a..b).step_by(s)`, `(a..b).rev()`, `unroll(a..b)`"),
            ))
        };
        match &iter.kind {
            ExprKind::Paren(inner) => self.head(inner),
            ExprKind::Range { start, end } => Ok(Head { start, end, step: None, rev: false, unroll: false }),
            ExprKind::Call { path, args, .. } if path.as_ident().is_some_and(|i| i.as_str() == "unroll") && args.len() == 1 => {
                let mut head = self.head(&args[0].value)?;
                head.unroll = true;
                Ok(head)
            }
            ExprKind::MethodCall { receiver, name, args, .. } => {
                let mut head = self.head(receiver)?;
                match (name.as_str(), args.as_slice()) {
                    ("rev", []) => {
                        head.rev = !head.rev;
                        Ok(head)
                    }
                    ("step_by", [step]) if head.step.is_none() && !head.rev => {
                        head.step = Some(&step.value);
                        Ok(head)
                    }
                    ("step_by", [_]) if head.rev => Err(self.error(
                        codes::LOOP_HEAD,
                        name.span,
                        "`step_by` behind `rev`",
                        "write `(a..b).step_by(s).rev()`: the same counters, backwards",
                    )),
                    _ => bad(self, name.span),
                }
            }
            _ => bad(self, iter.span),
        }
    }

    /// Bounds and step in the counter's type.
    fn bounds(&mut self, head: &Head<'p>) -> R<(TileVal, TileVal, TileVal)> {
        let (lo, hi) = (self.operand(head.start), self.operand(head.end));
        let step = match head.step {
            Some(step) => self.operand(step),
            None => Ok(Operand { tile: TileVal::int(1i128), span: head.end.span }),
        };
        let (lo, hi, step) = (lo?, hi?, step?);
        for (operand, what) in [(&lo, "the start of a range"), (&hi, "the end of a range"), (&step, "the step of a range")] {
            if !operand.tile.is_scalar() && operand.tile.ty.shape.dims().is_some() {
                return Err(self.error(
                    codes::LOOP_HEAD,
                    operand.span,
                    format!("{what} is a scalar"),
                    format!("this is `{}`", operand.tile.ty),
                ));
            }
            self.require_kinds(operand, Kinds::INTEGER, what, operand.span)?;
        }
        if let Some(v) = step.tile.num().and_then(|n| n.known())
            && v < 1
        {
            return Err(self.report(
                Diagnostic::error(codes::LOOP_HEAD, format!("a step of {v}"))
                    .primary(step.span, "a step is at least 1")
                    .help("`(a..b).step_by(s).rev()` counts down"),
            ));
        }
        let (x, y, elem) = self.unify(&lo, &hi, "a range")?;
        // Literal bounds count as `index`; a step that is wider than the bounds widens them.
        let mut ty = match elem.scalar() {
            Some(s) if s.is_literal() => Scalar::INDEX,
            Some(s) => s,
            None => return Err(Poison),
        };
        if let Some(s) = step.tile.scalar()
            && !s.is_literal()
        {
            ty = ty.join(s).unwrap_or(ty);
        }
        let step = self.convert(&step.tile, ty.into(), step.span, "the step has the type of the bounds")?;
        self.check_literal(&x, ty, lo.span)?;
        self.check_literal(&y, ty, hi.span)?;
        Ok((self.cast_to(&x, ty), self.cast_to(&y, ty), step))
    }

    fn loop_attrs(&mut self, attrs: &'p [Attr]) -> R<LoopAttrs> {
        let mut out = LoopAttrs::default();
        let mut result = Ok(());
        for attr in attrs {
            let name = attr.path.to_string();
            match (name.as_str(), &attr.args) {
                ("specialize", AttrArgs::None) => out.specialize = true,
                ("stages", AttrArgs::Groups(groups))
                    if groups.len() == 1 && groups[0].args.len() == 1 && groups[0].args[0].name.is_none() =>
                {
                    let value = &groups[0].args[0].value;
                    match self.const_usize(value, "the number of stages") {
                        Ok(Some(n @ 1..=16)) => out.stages = Some(n as u32),
                        Ok(None) => {}
                        Ok(Some(n)) => {
                            result = Err(self.error(codes::BAD_ATTRIBUTE, value.span, format!("{n} stages"), "1 to 16"))
                        }
                        Err(p) => result = Err(p),
                    }
                }
                ("stages" | "specialize", _) => {
                    result = Err(self.error(
                        codes::BAD_ATTRIBUTE,
                        attr.span,
                        format!("`#[{name}]` is written differently"),
                        "`#[stages(3)]`, `#[specialize]`",
                    ));
                }
                _ => {
                    let mut d = Diagnostic::error(codes::UNKNOWN_ATTRIBUTE, format!("a loop has no attribute `{name}`"))
                        .primary(attr.path.span, "unknown")
                        .note("loops take `#[stages(n)]` and `#[specialize]`");
                    if let Some(near) = crate::names::closest(&name, ["stages", "specialize"]) {
                        d = d.suggest(format!("did you mean `{near}`?"), attr.path.span, near);
                    }
                    result = Err(self.report(d));
                }
            }
        }
        result.map(|()| out)
    }
}

fn has_view(val: &Val<'_>) -> bool {
    match val {
        Val::View(_) => true,
        Val::Tuple(list) => list.iter().any(has_view),
        _ => false,
    }
}

fn collect(val: &Val<'_>, out: &mut Vec<TileVal>) {
    match val {
        Val::Tile(t) => out.push(t.clone()),
        Val::Tuple(list) => list.iter().for_each(|v| collect(v, out)),
        _ => {}
    }
}

/// The value without what is known of it.
fn unknown(val: Val<'_>) -> Val<'_> {
    match val {
        Val::Tile(t) => Val::Tile(TileVal::new(TileTy { elem: t.ty.elem, shape: t.ty.shape }, None)),
        Val::Tuple(list) => Val::Tuple(list.into_iter().map(unknown).collect()),
        other => other,
    }
}

/// Names on the left of assignments, in nested blocks too.
fn assigned_names(stmts: &[Stmt], tail: Option<&Expr>, out: &mut Vec<Arc<str>>) {
    for stmt in stmts {
        match &stmt.kind {
            StmtKind::Assign { target, .. } => target_names(target, out),
            StmtKind::For { body, .. } | StmtKind::While { body, .. } => assigned_names(&body.stmts, body.tail.as_deref(), out),
            StmtKind::If(value) => if_names(value, out),
            StmtKind::Let { value, .. } => expr_names(value, out),
            _ => {}
        }
        if let StmtKind::Assign { value, .. } = &stmt.kind {
            expr_names(value, out);
        }
    }
    if let Some(tail) = tail {
        expr_names(tail, out);
    }
}

fn expr_names(e: &Expr, out: &mut Vec<Arc<str>>) {
    if let ExprKind::If(value) = &e.kind {
        if_names(value, out);
    }
}

fn if_names(value: &ast::If, out: &mut Vec<Arc<str>>) {
    assigned_names(&value.then.stmts, value.then.tail.as_deref(), out);
    match &value.otherwise {
        Some(Else::Block(block)) => assigned_names(&block.stmts, block.tail.as_deref(), out),
        Some(Else::If(inner)) => if_names(inner, out),
        None => {}
    }
}

fn target_names(target: &Expr, out: &mut Vec<Arc<str>>) {
    match &target.kind {
        ExprKind::Paren(inner) => target_names(inner, out),
        ExprKind::Tuple(list) => list.iter().for_each(|e| target_names(e, out)),
        _ => {
            if let Some(ident) = target.as_ident() {
                out.push(ident.name.clone());
            }
        }
    }
}
