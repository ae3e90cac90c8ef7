//! Assignment: to variables, to slices of tensors, to tuples of places.

use kiln_syntax::ast::{BinaryOp, Expr, ExprKind};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;

use super::expr::describe;
use super::ops::Operand;
use super::value::{TileVal, Val};
use super::vars::{VarId, VarKind};
use super::{Binding, Elab, Poison, R};
use crate::names::closest;

impl<'p> Elab<'p> {
    /// `target op= value;`
    pub fn assign(&mut self, target: &'p Expr, op: Option<BinaryOp>, op_span: Span, value: &'p Expr) -> R<()> {
        let Some(op) = op else {
            let val = self.expr(value);
            if val.is_err() {
                self.touch(target);
            }
            return self.assign_val(target, val?, value.span);
        };
        let target = target.unparen();
        if let ExprKind::Tuple(_) = target.kind {
            return Err(self.error(
                codes::BAD_TARGET,
                target.span,
                format!("`{}=` takes one place", op.symbol()),
                "a tuple of places takes `=`",
            ));
        }
        let right = self.operand(value);
        if let Some(ident) = target.as_ident() {
            let id = self.target_var(ident.name.as_ref(), target.span)?;
            let Val::Tile(current) = self.read_var(id)? else {
                return Err(self.error(
                    codes::BAD_TARGET,
                    target.span,
                    format!("`{}=` on `{}`, which is no scalar or tile", op.symbol(), ident.name),
                    "",
                ));
            };
            let left = Operand { tile: current, span: target.span };
            let result = self.binary(op, op_span, &left, &right?)?;
            return self.assign_var(id, Val::Tile(result), target.span.merge(value.span), true);
        }
        let access = match self.raw(target)? {
            Val::Access(access) => *access,
            _ => return Err(self.bad_target(target)),
        };
        self.require_mutable(&access)?;
        let current = Operand { tile: self.load(access.clone())?, span: target.span };
        let result = self.binary(op, op_span, &current, &right?)?;
        let access = super::value::Access { other: None, ..access };
        self.store(&access, &result, target.span.merge(value.span))
    }

    /// After a mistake on the right: the variables on the left count as assigned.
    fn touch(&mut self, target: &'p Expr) {
        match &target.unparen().kind {
            ExprKind::Tuple(list) => list.iter().for_each(|e| self.touch(e)),
            _ => {
                if let Some(Binding::Var(id)) = target.unparen().as_ident().and_then(|i| self.lookup(&i.name)).cloned() {
                    self.var(id).assigned = true;
                }
            }
        }
    }

    fn assign_val(&mut self, target: &'p Expr, val: Val<'p>, source: Span) -> R<()> {
        let target = target.unparen();
        if let ExprKind::Tuple(places) = &target.kind {
            let values = match val {
                Val::Tuple(values) if values.len() == places.len() => values,
                other => {
                    return Err(self.report(
                        Diagnostic::error(
                            codes::BAD_PATTERN,
                            format!("{} places, but the right side is {}", places.len(), describe(&other)),
                        )
                        .primary(target.span, format!("{} places", places.len()))
                        .secondary(source, format!("this is {}", describe(&other))),
                    ));
                }
            };
            let mut result = Ok(());
            for (place, value) in places.iter().zip(values) {
                result = self.assign_val(place, value, source).and(result);
            }
            return result;
        }
        if let Some(ident) = target.as_ident() {
            let id = self.target_var(ident.name.as_ref(), target.span)?;
            return self.assign_var(id, val, source, false);
        }
        match self.raw(target)? {
            Val::Access(access) => {
                let tile = self.tile_of(val, source)?;
                self.store(&access, &tile, source)
            }
            _ => Err(self.bad_target(target)),
        }
    }

    fn bad_target(&mut self, target: &'p Expr) -> Poison {
        let mut d = Diagnostic::error(codes::BAD_TARGET, "this cannot be assigned to").primary(target.span, "not a place");
        if let ExprKind::Index { base, .. } = &target.kind {
            d = match self.dry(|s| s.raw(base)) {
                Ok(Val::View(_)) => d.help("`lo..hi` and `:` make views; write to slices `start..+LEN` or elements"),
                _ => d
                    .secondary(base.span, "this is a value, not memory")
                    .help("tiles are values: make a new one with `select`, or store to a tensor"),
            };
        } else {
            d = d.help("places are `let mut` variables, slices and elements of `mut` tensors, and tuples of them");
        }
        self.report(d)
    }

    fn target_var(&mut self, name: &str, span: Span) -> R<VarId> {
        let Some(Binding::Var(id)) = self.lookup(name).cloned() else {
            let names = self.names_in_scope();
            let mut d =
                Diagnostic::error(codes::UNKNOWN_NAME, format!("there is no variable `{name}`")).primary(span, "not found");
            d = match closest(name, names.iter().map(|n| &**n)) {
                Some(near) => d.suggest(format!("did you mean `{near}`?"), span, near),
                None => d.help(format!("a new variable is bound with `let mut {name} = ..;`")),
            };
            return Err(self.report(d));
        };
        let base = self.frame_ref().closure_base;
        let in_closure = self.frame_ref().closures > 0 && id.0 < base;
        let var = self.var(id);
        var.assigned = true;
        let (kind, declared, mutable) = (var.kind, var.span, var.mutable.is_some());
        if in_closure {
            return Err(self.error(
                codes::CLOSURE,
                span,
                format!("a closure cannot assign `{name}`"),
                "it is outside the closure",
            ));
        }
        if mutable {
            return Ok(id);
        }
        let mut d = Diagnostic::error(codes::IMMUTABLE, format!("`{name}` is not a variable that can be assigned"))
            .primary(span, "assigned here")
            .secondary(declared, "bound here");
        d = match kind {
            VarKind::Local => d.suggest("declare it mutable", declared.start(), "mut "),
            VarKind::Param => d.help(format!("parameters keep their values; `let mut {name} = {name};` makes a variable. Elements of a `mut` tensor are assigned with an index list")),
            _ => d.help("constants and dimensions keep their values"),
        };
        Err(self.report(d))
    }

    fn assign_var(&mut self, id: VarId, val: Val<'p>, source: Span, of_op: bool) -> R<()> {
        let var = self.var(id);
        let (name, declared) = (var.name.clone(), var.span);
        let Some(current) = var.val.clone() else { return Err(Poison) };
        let new = self.replace(&current, val, source, &name, declared, of_op)?;
        if let Val::Tile(t) = &new {
            self.sink.name_value(t.ir, &name);
        }
        self.set_var(id, Some(new));
        Ok(())
    }

    fn replace(&mut self, current: &Val<'p>, val: Val<'p>, source: Span, name: &str, declared: Span, of_op: bool) -> R<Val<'p>> {
        match (current, val) {
            (Val::Tile(old), Val::Tile(new)) => {
                let grows = of_op && new.ty.shape.same(&old.ty.shape) == crate::consts::Truth::No;
                // A constant may fill a tile; anything else has the variable's shape.
                let fits =
                    new.ty.shape.same(&old.ty.shape) != crate::consts::Truth::No || (new.konst.is_some() && new.is_scalar());
                if grows || !fits {
                    return Err(self.report(
                        Diagnostic::error(
                            codes::MISMATCHED_SHAPES,
                            format!("`{name}` is `{}`, the new value has the shape {}", old.ty, new.ty.shape),
                        )
                        .primary(source, format!("this is {}", super::ops::quoted_ty(&new.ty)))
                        .secondary(declared, format!("`{name}` has the shape {}", old.ty.shape))
                        .note("a variable keeps the type it was bound with"),
                    ));
                }
                let new = self.coerce(&new, &old.ty, source, &format!("`{name}` is `{}` since it was bound", old.ty))?;
                let ir = self.value(&new);
                Ok(Val::Tile(TileVal { konst: None, ir, ..new }))
            }
            (Val::Tuple(olds), Val::Tuple(news)) if olds.len() == news.len() => {
                let list: Vec<R<Val<'p>>> =
                    olds.iter().zip(news).map(|(o, n)| self.replace(o, n, source, name, declared, of_op)).collect();
                Ok(Val::Tuple(list.into_iter().collect::<R<_>>()?))
            }
            (Val::View(old), Val::View(new))
                if old.elem == new.elem && old.dims.len() == new.dims.len() && old.mutable == new.mutable =>
            {
                Ok(Val::View(new))
            }
            (old, new) => Err(self.report(
                Diagnostic::error(
                    codes::MISMATCHED_TYPES,
                    format!("`{name}` is {}, the new value is {}", describe(old), describe(&new)),
                )
                .primary(source, format!("this is {}", describe(&new)))
                .secondary(declared, "bound here"),
            )),
        }
    }
}
