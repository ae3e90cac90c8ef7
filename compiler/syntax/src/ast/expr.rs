//! Expressions and operators.

use super::{Block, Ident, If, Path, Pattern, TypeArg, TypeExpr};
use crate::span::Span;
use std::sync::Arc;

/// An expression.
#[derive(Clone, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// All of it.
    pub span: Span,
}

impl Expr {
    /// The expression inside any parentheses.
    pub fn unparen(&self) -> &Expr {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }

    /// The name, where the expression is a single name without generic arguments.
    pub fn as_ident(&self) -> Option<&Ident> {
        match &self.kind {
            ExprKind::Path { path, type_args: None } => path.as_ident(),
            _ => None,
        }
    }
}

/// What an expression is.
#[derive(Clone, Debug)]
pub enum ExprKind {
    /// A number, a string, `true` or `false`.
    Literal(Literal),
    /// `None`: a new axis of length 1 in an index, an absent argument in a call.
    None,
    /// A name that is not called: `x`, `T::MAX`, `f::<f32>`.
    Path {
        /// The name.
        path: Path,
        /// The arguments of the turbofish.
        type_args: Option<Vec<TypeArg>>,
    },
    /// `f::<..>(args)`.
    Call {
        /// The function's name.
        path: Path,
        /// The arguments of the turbofish.
        type_args: Option<Vec<TypeArg>>,
        /// The arguments.
        args: Vec<Arg>,
    },
    /// `receiver.name::<..>(args)`.
    MethodCall {
        /// What the method is called on.
        receiver: Box<Expr>,
        /// The method's name.
        name: Ident,
        /// The arguments of the turbofish.
        type_args: Option<Vec<TypeArg>>,
        /// The arguments.
        args: Vec<Arg>,
    },
    /// `base[indices]`.
    Index {
        /// What is indexed.
        base: Box<Expr>,
        /// The indexes (the grammar allows none).
        indices: Vec<Index>,
    },
    /// `-x`, `!x`.
    Unary {
        /// The operator.
        op: UnaryOp,
        /// Where the operator stands.
        op_span: Span,
        /// The operand.
        operand: Box<Expr>,
    },
    /// `a + b` and its like.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Where the operator stands.
        op_span: Span,
        /// The left operand.
        lhs: Box<Expr>,
        /// The right operand.
        rhs: Box<Expr>,
    },
    /// `value as ty`.
    Cast {
        /// The value.
        value: Box<Expr>,
        /// The scalar type.
        ty: Path,
    },
    /// `(value)`.
    Paren(Box<Expr>),
    /// `()`, `(a,)`, `(a, b)`. An element may be a [`ExprKind::Range`] or an [`ExprKind::If`].
    Tuple(Vec<Expr>),
    /// `[a, b]`: a constant tile or a list of extents. An element may be an [`ExprKind::If`].
    List(Vec<Expr>),
    /// `start..end`: only in parentheses, tuples, arguments and `for` heads (in index lists see [`IndexKind::Range`]).
    Range {
        /// First value.
        start: Box<Expr>,
        /// Value behind the last.
        end: Box<Expr>,
    },
    /// An `if` used as a value: only as the whole of a value, an argument or an element.
    If(Box<If>),
    /// A closure: only as the whole of an argument.
    Closure(Box<Closure>),
}

/// A literal as written.
#[derive(Clone, Debug)]
pub struct Literal {
    /// The value.
    pub kind: LiteralKind,
    /// The type suffix of a number, one of the numeric scalar types. `1f32` is an [`LiteralKind::Int`] with a float suffix.
    pub suffix: Option<Ident>,
    /// All of it.
    pub span: Span,
}

/// The value of a literal.
#[derive(Clone, Debug, PartialEq)]
pub enum LiteralKind {
    /// An integer, not negative.
    Int(u128),
    /// A number with a point or an exponent.
    Float {
        /// The nearest f64 (infinite where it is too large for one).
        value: f64,
        /// The digits without `_` and suffix, for types that must round only once.
        digits: Arc<str>,
    },
    /// A string, escapes resolved.
    Str(Arc<str>),
    /// `true` or `false`.
    Bool(bool),
}

/// An argument of a call.
#[derive(Clone, Debug)]
pub struct Arg {
    /// The name in `name = value`.
    pub name: Option<Ident>,
    /// The value; may be a [`ExprKind::Range`], an [`ExprKind::If`] or a [`ExprKind::Closure`].
    pub value: Expr,
    /// All of it.
    pub span: Span,
}

/// `|params| body`.
#[derive(Clone, Debug)]
pub struct Closure {
    /// The parameters, at least one.
    pub params: Vec<ClosureParam>,
    /// The body.
    pub body: ClosureBody,
    /// All of it.
    pub span: Span,
}

/// `pattern: type` of a closure.
#[derive(Clone, Debug)]
pub struct ClosureParam {
    /// What is bound.
    pub pattern: Pattern,
    /// The type, where written.
    pub ty: Option<TypeExpr>,
    /// All of it.
    pub span: Span,
}

/// What follows the parameters of a closure.
#[derive(Clone, Debug)]
pub enum ClosureBody {
    /// An expression; may be an [`ExprKind::If`].
    Expr(Expr),
    /// `{ .. }`.
    Block(Block),
}

/// One entry of an index list.
#[derive(Clone, Debug)]
pub struct Index {
    /// What it is.
    pub kind: IndexKind,
    /// All of it.
    pub span: Span,
}

/// What an entry of an index list is.
#[derive(Clone, Debug)]
pub enum IndexKind {
    /// An index, an index tile, or `None` for a new axis ([`ExprKind::None`]). May be an [`ExprKind::If`].
    Expr(Expr),
    /// `start..end`: a view (or a constant part of a tile).
    Range {
        /// First position.
        start: Expr,
        /// Position behind the last.
        end: Expr,
    },
    /// `start..+len`: a slice of constant length.
    Slice {
        /// First position.
        start: Expr,
        /// Number of positions.
        len: Expr,
    },
    /// `:`: the whole axis.
    Full,
}

/// A prefix operator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `!`
    Not,
}

impl UnaryOp {
    /// The operator as written.
    pub fn symbol(self) -> &'static str {
        match self {
            UnaryOp::Neg => "-",
            UnaryOp::Not => "!",
        }
    }
}

/// An infix operator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
    /// `&`
    BitAnd,
    /// `|`
    BitOr,
    /// `^`
    BitXor,
    /// `<<`
    Shl,
    /// `>>`
    Shr,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `&&`
    And,
    /// `||`
    Or,
}

impl BinaryOp {
    /// The operator as written.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Rem => "%",
            BinaryOp::BitAnd => "&",
            BinaryOp::BitOr => "|",
            BinaryOp::BitXor => "^",
            BinaryOp::Shl => "<<",
            BinaryOp::Shr => ">>",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::And => "&&",
            BinaryOp::Or => "||",
        }
    }

    /// Whether the operator compares (`==` to `>=`).
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Eq | Self::Ne | Self::Lt | Self::Le | Self::Gt | Self::Ge)
    }

    /// Whether the operator is `&&` or `||`.
    pub fn is_logical(self) -> bool {
        matches!(self, Self::And | Self::Or)
    }
}
