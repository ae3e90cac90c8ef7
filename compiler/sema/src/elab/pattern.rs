//! Patterns of `let`, `for` and closures.

use kiln_syntax::ast::{Pattern, PatternKind};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;

use super::expr::describe;
use super::value::{TileVal, Val};
use super::vars::VarKind;
use super::{Elab, Poison, R};

impl<'p> Elab<'p> {
    /// Binds the names of a pattern; `None` binds them to no value, after a mistake.
    pub fn bind_pattern(&mut self, pattern: &'p Pattern, val: Option<Val<'p>>, source: Span) -> R<()> {
        match &pattern.kind {
            PatternKind::Wildcard => Ok(()),
            PatternKind::Ident { mutable, name } => {
                let unit = matches!(val, Some(Val::Unit));
                let val = val.map(|v| if mutable.is_some() { self.variable(v) } else { v });
                self.define(name, *mutable, if unit { None } else { val }, VarKind::Local);
                if unit {
                    return Err(self.error(
                        codes::NOT_A_TILE,
                        source,
                        "this gives no value",
                        format!("so there is nothing to call `{}`", name.name),
                    ));
                }
                Ok(())
            }
            PatternKind::Tuple(parts) => match val {
                None => {
                    for part in parts {
                        self.bind_pattern(part, None, source)?;
                    }
                    Ok(())
                }
                Some(Val::Tuple(values)) if values.len() == parts.len() => {
                    let mut result = Ok(());
                    for (part, value) in parts.iter().zip(values) {
                        result = self.bind_pattern(part, Some(value), source).and(result);
                    }
                    result
                }
                Some(other) => {
                    for part in parts {
                        self.bind_pattern(part, None, source)?;
                    }
                    let found = match &other {
                        Val::Tuple(values) => format!("{} values", values.len()),
                        _ => describe(&other),
                    };
                    self.report(
                        Diagnostic::error(
                            codes::BAD_PATTERN,
                            format!("the pattern takes {} values apart, the right side is {found}", parts.len()),
                        )
                        .primary(pattern.span, format!("{} names", parts.len()))
                        .secondary(source, format!("this is {}", describe(&other))),
                    );
                    Err(Poison)
                }
            },
        }
    }

    /// The start value of a `let mut`: literals take their own types, constants become values.
    fn variable(&mut self, val: Val<'p>) -> Val<'p> {
        match val {
            Val::Tile(t) => {
                let t = self.settle(&t);
                let ir = self.value(&t);
                Val::Tile(TileVal { konst: None, ir, ..t })
            }
            Val::Tuple(list) => Val::Tuple(list.into_iter().map(|v| self.variable(v)).collect()),
            other => other,
        }
    }
}
