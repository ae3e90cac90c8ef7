//! The syntax tree, node for node the grammar. Every node has a [`Span`]; names are not resolved and nothing is desugared.
//!
//! A tree that came with syntax errors holds `Error` items and statements where text was skipped; later stages are only run on trees
//! without errors.

use crate::span::Span;
use std::sync::Arc;

/// A name where it stands.
#[derive(Clone, Debug)]
pub struct Ident {
    /// The text.
    pub name: Arc<str>,
    /// Where it stands.
    pub span: Span,
}

impl Ident {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}

/// `a::b::c`, without generic arguments. Never empty.
#[derive(Clone, Debug)]
pub struct Path {
    /// The names, in order.
    pub segments: Vec<Ident>,
    /// All of it.
    pub span: Span,
}

impl Path {
    /// The name, where the path is a single one.
    pub fn as_ident(&self) -> Option<&Ident> {
        match self.segments.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }

    /// The last name.
    pub fn last(&self) -> &Ident {
        self.segments.last().expect("a path has at least one segment")
    }
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, segment) in self.segments.iter().enumerate() {
            if i > 0 {
                f.write_str("::")?;
            }
            f.write_str(&segment.name)?;
        }
        Ok(())
    }
}

/// One documentation comment (`/// ..`, `/** .. */`, `#[doc = ".."]` or the inner forms).
#[derive(Clone, Debug)]
pub struct Doc {
    /// The text behind the comment mark, as rustc would give it (a leading blank is kept).
    pub text: Arc<str>,
    /// The whole comment.
    pub span: Span,
}

/// What stands in front of an item, a parameter or a statement.
#[derive(Clone, Debug, Default)]
pub struct Outer {
    /// Documentation, in order.
    pub docs: Vec<Doc>,
    /// Attributes, in order.
    pub attrs: Vec<Attr>,
}

impl Outer {
    /// Whether nothing stands there.
    pub fn is_empty(&self) -> bool {
        self.docs.is_empty() && self.attrs.is_empty()
    }

    /// The documentation as one text: one line a comment, the common leading blank removed. None where there is none.
    pub fn doc_text(&self) -> Option<String> {
        doc_text(&self.docs)
    }
}

/// The documentation comments as one text: one line a comment, one leading blank removed. None where there is none.
pub fn doc_text(docs: &[Doc]) -> Option<String> {
    if docs.is_empty() {
        return None;
    }
    let lines: Vec<&str> = docs.iter().flat_map(|d| d.text.lines().map(|l| l.strip_prefix(' ').unwrap_or(l))).collect();
    Some(lines.join("\n"))
}

/// `#[path]`, `#[path = value]` or `#[path(group; group)]`.
#[derive(Clone, Debug)]
pub struct Attr {
    /// The attribute's name.
    pub path: Path,
    /// What follows it.
    pub args: AttrArgs,
    /// From `#` to `]`.
    pub span: Span,
}

/// What follows an attribute's name.
#[derive(Clone, Debug)]
pub enum AttrArgs {
    /// Nothing: `#[specialize]`.
    None,
    /// `= value`.
    Value(Expr),
    /// `( .. ; .. )`: at least one group; only the last may be empty.
    Groups(Vec<AttrGroup>),
}

/// Arguments between `(`, `;` and `)` of an attribute.
#[derive(Clone, Debug)]
pub struct AttrGroup {
    /// The arguments.
    pub args: Vec<AttrArg>,
    /// All of them; an empty span for an empty group.
    pub span: Span,
}

/// `value` or `name = value` in an attribute.
#[derive(Clone, Debug)]
pub struct AttrArg {
    /// The name, where there is one.
    pub name: Option<Ident>,
    /// The value.
    pub value: Expr,
    /// All of it.
    pub span: Span,
}

/// A whole file.
#[derive(Clone, Debug)]
pub struct File {
    /// The inner documentation (`//!`) at the top.
    pub docs: Vec<Doc>,
    /// The items, in order.
    pub items: Vec<Item>,
    /// From the first to the last byte.
    pub span: Span,
}

/// A top-level item.
#[derive(Clone, Debug)]
pub enum Item {
    /// A kernel.
    Kernel(Kernel),
    /// A device function.
    Fn(Fn),
    /// A constant.
    Const(Const),
    /// An import.
    Use(Use),
    /// Text that could not be parsed; a diagnostic was reported.
    Error(Span),
}

impl Item {
    /// All of the item, without what stands in front of it (documentation, attributes).
    pub fn span(&self) -> Span {
        match self {
            Item::Kernel(k) => k.span,
            Item::Fn(f) => f.span,
            Item::Const(c) => c.span,
            Item::Use(u) => u.span,
            Item::Error(span) => *span,
        }
    }

    /// The item's name, where it has one.
    pub fn name(&self) -> Option<&Ident> {
        match self {
            Item::Kernel(k) => Some(&k.name),
            Item::Fn(f) => Some(&f.name),
            Item::Const(c) => Some(&c.name),
            Item::Use(_) | Item::Error(_) => None,
        }
    }

    /// Documentation and attributes, where the item can have them.
    pub fn outer(&self) -> Option<&Outer> {
        match self {
            Item::Kernel(k) => Some(&k.outer),
            Item::Fn(f) => Some(&f.outer),
            Item::Const(c) => Some(&c.outer),
            Item::Use(u) => Some(&u.outer),
            Item::Error(_) => None,
        }
    }
}

/// `kernel name<generics>(params) grid [..] requires .. { body }`.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Documentation and attributes.
    pub outer: Outer,
    /// The name.
    pub name: Ident,
    /// Generic parameters.
    pub generics: Vec<Generic>,
    /// Launch parameters.
    pub params: Vec<Param>,
    /// The grid's entries (the grammar allows any number).
    pub grid: Vec<Expr>,
    /// From `grid` to `]`.
    pub grid_span: Span,
    /// The `requires` clauses.
    pub requires: Vec<Expr>,
    /// The body.
    pub body: Block,
    /// From `kernel` to the closing brace.
    pub span: Span,
}

/// `fn name<generics>(params) -> result requires .. { body }`.
#[derive(Clone, Debug)]
pub struct Fn {
    /// Documentation and attributes.
    pub outer: Outer,
    /// The name.
    pub name: Ident,
    /// Generic parameters.
    pub generics: Vec<Generic>,
    /// Parameters.
    pub params: Vec<Param>,
    /// The result type behind `->`; none for a function without a result.
    pub result: Option<TypeExpr>,
    /// The `requires` clauses.
    pub requires: Vec<Expr>,
    /// The body.
    pub body: Block,
    /// From `fn` to the closing brace.
    pub span: Span,
}

/// `const NAME: Type = value;`.
#[derive(Clone, Debug)]
pub struct Const {
    /// Documentation and attributes.
    pub outer: Outer,
    /// The name.
    pub name: Ident,
    /// The type.
    pub ty: TypeExpr,
    /// The value; may be an [`ExprKind::If`].
    pub value: Expr,
    /// From `const` to `;`.
    pub span: Span,
}

/// `use tree;`.
#[derive(Clone, Debug)]
pub struct Use {
    /// Documentation and attributes.
    pub outer: Outer,
    /// What is imported.
    pub tree: UseTree,
    /// From `use` to `;`.
    pub span: Span,
}

/// `a::b`, `a::b as c` or `a::{..}`.
#[derive(Clone, Debug)]
pub struct UseTree {
    /// The path, relative to the enclosing tree.
    pub path: Path,
    /// What follows it.
    pub kind: UseKind,
    /// All of it.
    pub span: Span,
}

/// What follows the path of a [`UseTree`].
#[derive(Clone, Debug)]
pub enum UseKind {
    /// The path itself is imported, under another name where one is given.
    Leaf(Option<Ident>),
    /// `::{..}`.
    Group(Vec<UseTree>),
}

/// A generic parameter.
#[derive(Clone, Debug)]
pub enum Generic {
    /// `T: float = f16`, `S: shape`.
    Type(TypeGeneric),
    /// `const N: int = 128`, `const F: fn(..) -> ..`.
    Const(ConstGeneric),
}

impl Generic {
    /// The parameter's name.
    pub fn name(&self) -> &Ident {
        match self {
            Generic::Type(g) => &g.name,
            Generic::Const(g) => &g.name,
        }
    }

    /// All of it, without what stands in front.
    pub fn span(&self) -> Span {
        match self {
            Generic::Type(g) => g.span,
            Generic::Const(g) => g.span,
        }
    }

    /// Documentation and attributes.
    pub fn outer(&self) -> &Outer {
        match self {
            Generic::Type(g) => &g.outer,
            Generic::Const(g) => &g.outer,
        }
    }
}

/// `T: class = default`.
#[derive(Clone, Debug)]
pub struct TypeGeneric {
    /// Documentation and attributes.
    pub outer: Outer,
    /// The name.
    pub name: Ident,
    /// The class: `float`, `int`, `num`, `any`, `shape`.
    pub class: Path,
    /// The default.
    pub default: Option<TypeExpr>,
    /// All of it.
    pub span: Span,
}

/// `const N: type = default`.
#[derive(Clone, Debug)]
pub struct ConstGeneric {
    /// Documentation and attributes.
    pub outer: Outer,
    /// The name.
    pub name: Ident,
    /// The type: `int`, `bool` or a function type.
    pub ty: TypeExpr,
    /// The default.
    pub default: Option<Expr>,
    /// All of it.
    pub span: Span,
}

/// `name: type = default`.
#[derive(Clone, Debug)]
pub struct Param {
    /// Documentation and attributes.
    pub outer: Outer,
    /// The name.
    pub name: Ident,
    /// The type.
    pub ty: TypeExpr,
    /// The default.
    pub default: Option<Expr>,
    /// All of it.
    pub span: Span,
}

/// A type as written: `mut`? kind `?`?.
#[derive(Clone, Debug)]
pub struct TypeExpr {
    /// Where `mut` stands in front.
    pub mutable: Option<Span>,
    /// Where `?` stands behind.
    pub optional: Option<Span>,
    /// The type itself.
    pub kind: TypeKind,
    /// All of it, `mut` and `?` too.
    pub span: Span,
}

/// A type without `mut` and `?`. Parentheses around a single type leave no trace.
#[derive(Clone, Debug)]
pub enum TypeKind {
    /// `_`.
    Infer,
    /// `f32`, `T::Acc`, `tensor<T, [M, N]>`.
    Path {
        /// The name.
        path: Path,
        /// The arguments in `<..>`; none where there is no `<`.
        args: Option<Vec<TypeArg>>,
    },
    /// `()`, `(A,)`, `(A, B)`.
    Tuple(Vec<TypeExpr>),
    /// `fn(A, B) -> C`.
    Fn {
        /// The parameter types.
        params: Vec<TypeExpr>,
        /// The result type.
        result: Box<TypeExpr>,
    },
}

/// An argument in `<..>`.
#[derive(Clone, Debug)]
pub struct TypeArg {
    /// The name in `name = argument`.
    pub name: Option<Ident>,
    /// The argument.
    pub kind: TypeArgKind,
    /// All of it.
    pub span: Span,
}

/// What an argument in `<..>` is.
#[derive(Clone, Debug)]
pub enum TypeArgKind {
    /// A type, or a bare path that may turn out to name a constant, a shape or a function.
    Type(TypeExpr),
    /// `[M, N]`.
    Dims(Vec<Dim>),
    /// A literal, a negated literal, or a computed constant in braces.
    Const(Expr),
}

/// A dimension of a tensor or tile.
#[derive(Clone, Debug)]
pub enum Dim {
    /// An expression over names and constants.
    Expr(Expr),
    /// `_`: any.
    Any(Span),
}

impl Dim {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Dim::Expr(e) => e.span,
            Dim::Any(span) => *span,
        }
    }
}

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
        /// The value; may be an [`ExprKind::If`].
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
        /// The value; may be an [`ExprKind::If`].
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
