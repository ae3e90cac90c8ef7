//! Statements and blocks, early `return` included: what follows a conditional return runs in the other branch, or under a flag.

use kiln_syntax::ast::{Block, Else, Expr, ExprKind, If, Stmt, StmtKind};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;

use super::value::{TileVal, Val};
use super::vars::{VarId, VarKind};
use super::{Elab, FrameKind, Poison, R};

/// Whether control goes on behind a statement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// It does.
    Next,
    /// The program has ended.
    Returned,
}

/// What is still to run in a block.
#[derive(Clone, Copy)]
struct Rest<'p> {
    stmts: &'p [Stmt],
    tail: Option<&'p Expr>,
}

impl<'p> Elab<'p> {
    /// The value of a block: its closing expression, or nothing.
    pub fn block_value(&mut self, block: &'p Block) -> R<Val<'p>> {
        self.scoped(|s| {
            let tail = block.tail.as_deref();
            s.sequence(Rest { stmts: &block.stmts, tail: None })?;
            match tail {
                Some(tail) => s.expr(tail),
                None => Ok(Val::Unit),
            }
        })
    }

    /// Runs a block whose value nobody takes.
    pub fn block_stmts(&mut self, block: &'p Block) -> R<Flow> {
        self.scoped(|s| s.sequence(Rest { stmts: &block.stmts, tail: block.tail.as_deref() }))
    }

    fn sequence(&mut self, rest: Rest<'p>) -> R<Flow> {
        let mut failed = false;
        for (i, stmt) in rest.stmts.iter().enumerate() {
            let after = Rest { stmts: &rest.stmts[i + 1..], tail: rest.tail };
            let result = match &stmt.kind {
                StmtKind::If(value) if self.may_return(value) => {
                    let flow = self.if_return(value, after);
                    return if failed { Err(Poison) } else { flow };
                }
                _ => self.stmt(stmt),
            };
            match result {
                Ok(Flow::Next) => {}
                Ok(Flow::Returned) => {
                    if let Some(span) = after.stmts.first().map(|s| s.span).or(after.tail.map(|t| t.span)) {
                        self.report(
                            Diagnostic::warning(codes::UNREACHABLE, "this never runs")
                                .primary(span, "unreachable")
                                .secondary(stmt.span, "the program ends here"),
                        );
                    }
                    return if failed { Err(Poison) } else { Ok(Flow::Returned) };
                }
                Err(Poison) => failed = true,
            }
        }
        if let Some(tail) = rest.tail {
            let result = match &tail.kind {
                ExprKind::If(value) if self.may_return(value) => self.if_return(value, Rest { stmts: &[], tail: None }),
                ExprKind::If(value) => self.if_stmt(value),
                _ => self.discard(tail),
            };
            match result {
                Ok(Flow::Returned) if !failed => return Ok(Flow::Returned),
                Err(Poison) => failed = true,
                Ok(_) => {}
            }
        }
        if failed { Err(Poison) } else { Ok(Flow::Next) }
    }

    fn may_return(&self, value: &If) -> bool {
        self.frame_ref().kind == FrameKind::Kernel && self.frame_ref().loops == 0 && if_returns(value)
    }

    /// An expression statement.
    fn discard(&mut self, e: &'p Expr) -> R<Flow> {
        self.expr(e)?;
        Ok(Flow::Next)
    }

    fn stmt(&mut self, stmt: &'p Stmt) -> R<Flow> {
        self.step(stmt.span)?;
        let loc = self.sink.set_loc(stmt.span);
        let result = self.stmt_inner(stmt);
        self.sink.restore_loc(loc);
        result
    }

    fn stmt_inner(&mut self, stmt: &'p Stmt) -> R<Flow> {
        if !matches!(stmt.kind, StmtKind::For { .. } | StmtKind::While { .. })
            && let Some(attr) = stmt.outer.attrs.first()
        {
            return Err(self.error(
                codes::UNKNOWN_ATTRIBUTE,
                attr.span,
                format!("`#[{}]` does not belong here", attr.path),
                "statements other than loops take no attributes",
            ));
        }
        match &stmt.kind {
            StmtKind::Let { pattern, ty, value } => {
                let val = self.let_value(ty.as_ref(), value);
                let result = val.as_ref().map(|_| Flow::Next).map_err(|p| *p);
                self.bind_pattern(pattern, val.ok(), value.span)?;
                result
            }
            StmtKind::Expr(e) => self.discard(e),
            StmtKind::Assign { target, op, op_span, value } => self.assign(target, *op, *op_span, value).map(|()| Flow::Next),
            StmtKind::Return(value) => self.return_stmt(value.as_ref(), stmt.span),
            StmtKind::For { pattern, iter, body } => self.for_stmt(pattern, iter, body, &stmt.outer.attrs).map(|()| Flow::Next),
            StmtKind::While { cond, body } => self.while_stmt(cond, body, &stmt.outer.attrs).map(|()| Flow::Next),
            StmtKind::If(value) => self.if_stmt(value),
            StmtKind::Error => Err(Poison),
        }
    }

    fn let_value(&mut self, ty: Option<&'p kiln_syntax::ast::TypeExpr>, value: &'p Expr) -> R<Val<'p>> {
        let val = self.expr(value);
        let Some(ty) = ty else { return val };
        let target = self.type_of(ty);
        let (val, target) = (val?, target?);
        self.fit(val, &target, value.span, "the `let` names the type")
    }

    fn return_stmt(&mut self, value: Option<&'p Expr>, span: Span) -> R<Flow> {
        let frame = self.frame_ref();
        if frame.kind != FrameKind::Kernel {
            let mut d = Diagnostic::error(codes::RETURN_PLACE, "`return` in a function").primary(span, "not allowed here");
            d = d.help("a function ends in an expression without `;`, which is its result; choose between results with `if`");
            return Err(self.report(d));
        }
        if frame.loops > 0 {
            return Err(self.report(
                Diagnostic::error(codes::RETURN_PLACE, "`return` in a loop")
                    .primary(span, "not allowed here")
                    .help("use a `while` with a condition variable, or put the loop under an `if`"),
            ));
        }
        if let Some(value) = value {
            return Err(self.report(
                Diagnostic::error(codes::RETURN_PLACE, "a kernel returns nothing")
                    .primary(value.span, "this value goes nowhere")
                    .help("store results in a `mut` tensor"),
            ));
        }
        for flag in self.return_flags.clone() {
            self.set_var(flag, Some(Val::Tile(TileVal::bool(Some(true)))));
        }
        Ok(Flow::Returned)
    }

    fn if_stmt(&mut self, value: &'p If) -> R<Flow> {
        let cond = self.condition(&value.cond, "if");
        let Ok(cond) = cond else {
            let _ = self.block_stmts(&value.then);
            let _ = self.else_stmts(value.otherwise.as_ref());
            return Err(Poison);
        };
        let mut flows = (Flow::Next, Flow::Next);
        let known = super::control::known(&cond);
        self.branches(
            &cond,
            |s| {
                flows.0 = s.block_stmts(&value.then)?;
                Ok(Val::Unit)
            },
            |s| {
                flows.1 = s.else_stmts(value.otherwise.as_ref())?;
                Ok(Val::Unit)
            },
            value.span,
        )?;
        Ok(match known {
            Some(true) => flows.0,
            Some(false) => flows.1,
            None => Flow::Next,
        })
    }

    fn else_stmts(&mut self, otherwise: Option<&'p Else>) -> R<Flow> {
        match otherwise {
            None => Ok(Flow::Next),
            Some(Else::Block(block)) => self.block_stmts(block),
            Some(Else::If(value)) if self.may_return(value) => self.if_return(value, Rest { stmts: &[], tail: None }),
            Some(Else::If(value)) => self.if_stmt(value),
        }
    }

    /// An `if` with a `return` somewhere in it, and everything that follows it in its block.
    fn if_return(&mut self, value: &'p If, rest: Rest<'p>) -> R<Flow> {
        let cond = self.condition(&value.cond, "if");
        let Ok(cond) = cond else {
            let _ = self.block_stmts(&value.then);
            let _ = self.else_stmts(value.otherwise.as_ref());
            let _ = self.sequence(rest);
            return Err(Poison);
        };
        if let Some(taken) = super::control::known(&cond) {
            let flow = if taken { self.block_stmts(&value.then) } else { self.else_stmts(value.otherwise.as_ref()) };
            return match flow {
                Ok(Flow::Returned) => Ok(Flow::Returned),
                Ok(Flow::Next) => self.sequence(rest),
                Err(Poison) => {
                    let _ = self.sequence(rest);
                    Err(Poison)
                }
            };
        }
        if block_ends_in_return(&value.then) && !value.otherwise.as_ref().is_some_and(else_returns) {
            self.branches(
                &cond,
                |s| s.block_stmts(&value.then).map(|_| Val::Unit),
                |s| {
                    let other = s.else_stmts(value.otherwise.as_ref());
                    let after = s.sequence(rest);
                    other.and(after).map(|_| Val::Unit)
                },
                value.span,
            )?;
            return Ok(Flow::Next);
        }
        let name: std::sync::Arc<str> = "returned".into();
        let flag: VarId = self.new_var(&name, value.span, None, Some(Val::Tile(TileVal::bool(Some(false)))), VarKind::Hidden);
        self.return_flags.push(flag);
        let result = self.branches(
            &cond,
            |s| s.block_stmts(&value.then).map(|_| Val::Unit),
            |s| s.else_stmts(value.otherwise.as_ref()).map(|_| Val::Unit),
            value.span,
        );
        self.return_flags.pop();
        let Val::Tile(returned) = self.read_var(flag)? else { return Err(Poison) };
        let go_on = self.not(&returned, value.span)?;
        let after = self.branches(&go_on, |s| s.sequence(rest).map(|_| Val::Unit), |_| Ok(Val::Unit), value.span);
        result.and(after).map(|_| Flow::Next)
    }
}

fn if_returns(value: &If) -> bool {
    block_returns(&value.then) || value.otherwise.as_ref().is_some_and(else_returns)
}

fn else_returns(otherwise: &Else) -> bool {
    match otherwise {
        Else::If(value) => if_returns(value),
        Else::Block(block) => block_returns(block),
    }
}

fn block_returns(block: &Block) -> bool {
    let in_tail = block.tail.as_ref().is_some_and(|t| matches!(&t.kind, ExprKind::If(value) if if_returns(value)));
    in_tail
        || block.stmts.iter().any(|s| match &s.kind {
            StmtKind::Return(_) => true,
            StmtKind::If(value) => if_returns(value),
            _ => false,
        })
}

fn block_ends_in_return(block: &Block) -> bool {
    block.tail.is_none() && matches!(block.stmts.last().map(|s| &s.kind), Some(StmtKind::Return(_)))
}
