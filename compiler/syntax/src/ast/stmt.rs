//! Blocks, statements and patterns.

use super::{BinaryOp, Expr, Ident, Outer, TypeExpr};
use crate::span::Span;

/// `{ stmts tail }`.
#[derive(Clone, Debug)]
pub struct Block {
    /// The statements.
    pub stmts: Vec<Stmt>,
    /// The closing expression without `;`. An `if` that ends the block stands here even where it has no `else` and gives no value.
    pub tail: Option<Box<Expr>>,
    /// From brace to brace.
    pub span: Span,
}

/// A statement.
#[derive(Clone, Debug)]
pub struct Stmt {
    /// Attributes (`#[stages(3)]`) and stray documentation.
    pub outer: Outer,
    /// The statement itself.
    pub kind: StmtKind,
    /// All of it, with its `;`, without what stands in front.
    pub span: Span,
}

/// What a statement is.
#[derive(Clone, Debug)]
pub enum StmtKind {
    /// `let pattern: type = value;`.
    Let {
        /// What is bound.
        pattern: Pattern,
        /// The type, where written.
        ty: Option<TypeExpr>,
        /// The value; may be an `if` ([`super::ExprKind::If`]).
        value: Expr,
    },
    /// `expr;`.
    Expr(Expr),
    /// `target op= value;`.
    Assign {
        /// The place, or a tuple of places; the grammar allows any expression.
        target: Expr,
        /// The operator of `+=` and its like; none for `=`.
        op: Option<BinaryOp>,
        /// Where `=`, `+=`.. stands.
        op_span: Span,
        /// The value; may be an `if` ([`super::ExprKind::If`]).
        value: Expr,
    },
    /// `return value;`.
    Return(Option<Expr>),
    /// `for pattern in iter { body }`.
    For {
        /// The counter.
        pattern: Pattern,
        /// What is counted: a range, or calls around one.
        iter: Expr,
        /// The body.
        body: Block,
    },
    /// `while cond { body }`.
    While {
        /// The condition.
        cond: Expr,
        /// The body.
        body: Block,
    },
    /// An `if` that is not the end of its block.
    If(If),
    /// Text that could not be parsed; a diagnostic was reported.
    Error,
}

/// `if cond { then } else ..`.
#[derive(Clone, Debug)]
pub struct If {
    /// The condition.
    pub cond: Expr,
    /// The branch for true.
    pub then: Block,
    /// The branch for false.
    pub otherwise: Option<Else>,
    /// All of it.
    pub span: Span,
}

/// What follows `else`.
#[derive(Clone, Debug)]
pub enum Else {
    /// `else if ..`.
    If(Box<If>),
    /// `else { .. }`.
    Block(Block),
}

/// What a `let`, a `for` or a closure binds.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// The pattern itself.
    pub kind: PatternKind,
    /// All of it.
    pub span: Span,
}

/// What a pattern is. Parentheses around a single pattern leave no trace.
#[derive(Clone, Debug)]
pub enum PatternKind {
    /// `name` or `mut name`.
    Ident {
        /// Where `mut` stands.
        mutable: Option<Span>,
        /// The name.
        name: Ident,
    },
    /// `_`.
    Wildcard,
    /// `()`, `(a,)`, `(a, b)`.
    Tuple(Vec<Pattern>),
}
