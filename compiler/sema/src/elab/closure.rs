//! Closures and functions as the combination of a reduction or scan.

use kiln_syntax::ast::{Closure, ClosureBody, Expr, ExprKind};
use kiln_syntax::codes;
use kiln_syntax::span::Span;

use super::call::Argument;
use super::value::Val;
use super::{Elab, R};

impl<'p> Elab<'p> {
    /// Applies what stands as a combination to values.
    pub fn apply(&mut self, f: &'p Expr, values: Vec<Val<'p>>) -> R<Val<'p>> {
        match &f.unparen().kind {
            ExprKind::Closure(closure) => self.apply_closure(closure, values),
            _ => match self.raw(f)? {
                Val::Fn(function) => {
                    let args = values.into_iter().map(|v| Argument::ready(v, f.span)).collect();
                    self.call_fn(&function, None, args, f.span)
                }
                other => Err(self.error(
                    codes::CLOSURE,
                    f.span,
                    "expected a closure or a function",
                    format!("this is {}", super::expr::describe(&other)),
                )),
            },
        }
    }

    fn apply_closure(&mut self, closure: &'p Closure, values: Vec<Val<'p>>) -> R<Val<'p>> {
        if closure.params.len() != values.len() {
            return Err(self.error(
                codes::CLOSURE,
                closure.span,
                format!("this closure takes {} values, it is given {}", closure.params.len(), values.len()),
                "a combination takes two: `|a, b| ..`; tuples are taken apart as `|(a1, a2), (b1, b2)| ..`",
            ));
        }
        let base = self.vars.len() as u32;
        let outer = std::mem::replace(&mut self.frame().closure_base, base);
        self.frame().closures += 1;
        let result = self.scoped(|s| {
            for (param, value) in closure.params.iter().zip(values) {
                let value = match &param.ty {
                    Some(te) => {
                        let target = s.type_of(te)?;
                        s.fit(value, &target, param.span, "the closure names the type")?
                    }
                    None => value,
                };
                s.bind_pattern(&param.pattern, Some(value), param.span)?;
            }
            match &closure.body {
                ClosureBody::Expr(e) => s.expr(e),
                ClosureBody::Block(block) => s.block_value(block),
            }
        });
        self.frame().closures -= 1;
        self.frame().closure_base = outer;
        result
    }

    /// The span of a combination, for messages.
    pub fn combination_span(f: &Expr) -> Span {
        match &f.unparen().kind {
            ExprKind::Closure(c) => match &c.body {
                ClosureBody::Expr(e) => e.span,
                ClosureBody::Block(b) => b.tail.as_ref().map_or(b.span, |t| t.span),
            },
            _ => f.span,
        }
    }
}
