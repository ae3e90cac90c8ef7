//! The syntax tree, node for node the grammar. Every node has a [`Span`]; names are not resolved and nothing is desugared.
//!
//! A tree that came with syntax errors holds `Error` items and statements where text was skipped; later stages are only run on trees
//! without errors.

mod expr;
mod stmt;

pub use expr::*;
pub use stmt::*;

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

/// `value`, `if value` (which says the same) or `name = value` in an attribute.
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
