//! What the grammar's actions work with: token numbers become spans, nodes are put together, and mistakes are gathered.

use crate::ast::*;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::tokens::{FloatToken, Token, Tokens};
use lalrpop_util::{ErrorRecovery, ParseError};
use std::cell::RefCell;
use std::convert::Infallible;
use std::sync::Arc;

/// An error of the generated parser.
pub(crate) type Failure = ParseError<usize, Token, Infallible>;

/// A token that did not fit.
#[derive(Clone, Debug)]
pub(crate) struct Unexpected {
    /// Its number; the number of tokens for the end of the file.
    pub at: usize,
    /// The grammar's terminals that could stand there.
    pub expected: Vec<String>,
}

impl Unexpected {
    pub(crate) fn from_failure(failure: Failure, end: usize) -> Self {
        match failure {
            ParseError::UnrecognizedToken { token, expected } => Unexpected { at: token.0, expected },
            ParseError::UnrecognizedEof { expected, .. } => Unexpected { at: end, expected },
            ParseError::ExtraToken { token } => Unexpected { at: token.0, expected: vec![] },
            ParseError::InvalidToken { location } => Unexpected { at: location, expected: vec![] },
            ParseError::User { error } => match error {},
        }
    }
}

/// The state of one parse.
pub(crate) struct Context<'t> {
    tokens: &'t Tokens,
    unexpected: RefCell<Vec<Unexpected>>,
    diagnostics: RefCell<Vec<Diagnostic>>,
}

impl<'t> Context<'t> {
    pub(crate) fn new(tokens: &'t Tokens) -> Self {
        Context { tokens, unexpected: RefCell::default(), diagnostics: RefCell::default() }
    }

    /// The tokens that did not fit and the diagnostics of actions.
    pub(crate) fn finish(self) -> (Vec<Unexpected>, Vec<Diagnostic>) {
        (self.unexpected.into_inner(), self.diagnostics.into_inner())
    }

    /// The span of the tokens `l..r`.
    pub(crate) fn span(&self, l: usize, r: usize) -> Span {
        self.tokens.span(l, r)
    }

    /// `first` in front of `rest`.
    pub(crate) fn cons<T>(&self, first: T, mut rest: Vec<T>) -> Vec<T> {
        rest.insert(0, first);
        rest
    }

    pub(crate) fn file(&self, docs: Vec<Doc>, items: Vec<Item>) -> File {
        File { docs, items, span: self.tokens.file_span }
    }

    /// Notes the error that skipped the tokens `l..r`; gives their span.
    pub(crate) fn recovered(&self, e: ErrorRecovery<usize, Token, Infallible>, l: usize, r: usize) -> Span {
        self.unexpected.borrow_mut().push(Unexpected::from_failure(e.error, self.tokens.tokens.len()));
        self.span(l, r)
    }

    /// Notes the error that skipped tokens up to a block that could be parsed. What is wrong in the block of a foreign construct
    /// (`match x { 1 => 2 }`) follows from the first mistake and is dropped.
    pub(crate) fn recovered_block(&self, e: ErrorRecovery<usize, Token, Infallible>, block: Block, l: usize, r: usize) -> Span {
        let first = Unexpected::from_failure(e.error, self.tokens.tokens.len());
        let foreign = match self.tokens.tokens.get(first.at) {
            Some(Token::Reserved(word)) => !matches!(&**word, "loop" | "do" | "unsafe" | "pub" | "async"),
            Some(Token::Ident(_)) => {
                matches!(self.tokens.tokens.get(first.at + 1), Some(Token::OpenBrace))
            }
            Some(Token::OpenBrace) => true,
            _ => false,
        };
        let mut list = self.unexpected.borrow_mut();
        if foreign {
            list.retain(|u| !self.tokens.spans.get(u.at).is_some_and(|s| block.span.contains(*s)));
            self.diagnostics.borrow_mut().retain(|d| !d.span().is_some_and(|s| block.span.contains(s)));
        }
        list.push(first);
        drop(list);
        self.span(l, r)
    }

    pub(crate) fn error_stmt(&self, span: Span) -> Stmt {
        Stmt { outer: Outer::default(), kind: StmtKind::Error, span }
    }

    pub(crate) fn stmt(&self, outer: Outer, l: usize, kind: StmtKind, r: usize) -> Stmt {
        Stmt { outer, kind, span: self.span(l, r) }
    }

    /// A block; an `if` that ends it is its value.
    pub(crate) fn block(&self, mut stmts: Vec<Stmt>, tail: Option<(Outer, Expr)>, l: usize, r: usize) -> Block {
        let (outer, tail) = match tail {
            Some(pair) => pair,
            None => match stmts.pop_if(|s| matches!(s.kind, StmtKind::If(_))) {
                Some(Stmt { outer, kind: StmtKind::If(branch), span }) => {
                    (outer, Expr { kind: ExprKind::If(Box::new(branch)), span })
                }
                _ => {
                    return Block { stmts, tail: None, span: self.span(l, r) };
                }
            },
        };
        let mut in_front = outer.attrs.iter().map(|a| a.span).chain(outer.docs.iter().map(|d| d.span));
        if let Some(span) = in_front.next() {
            self.diagnostics.borrow_mut().push(
                Diagnostic::error(
                    codes::ATTRIBUTE_BEFORE_TAIL,
                    "nothing may stand in front of the closing expression of a block",
                )
                .primary(span, "an attribute or documentation belongs to a statement or an item")
                .secondary(tail.span, "this expression is the block's value")
                .help("remove it, or bind the value first: `let value = ..; value`"),
            );
        }
        Block { stmts, tail: Some(Box::new(tail)), span: self.span(l, r) }
    }

    /// Reports an empty group of an attribute that another one follows; `semi` is the `;` between them.
    pub(crate) fn check_attr_group(&self, group: Option<&AttrGroup>, semi: usize) {
        if group.is_some_and(|g| g.args.is_empty()) {
            self.diagnostics.borrow_mut().push(
                Diagnostic::error(codes::EMPTY_ATTRIBUTE_GROUP, "an empty group in an attribute")
                    .primary(self.span(semi, semi + 1), "nothing stands in front of this `;`")
                    .note("`;` separates groups of arguments; only the last one may be empty"),
            );
        }
    }

    pub(crate) fn ty(&self, l: usize, kind: TypeKind, r: usize) -> TypeExpr {
        TypeExpr { mutable: None, optional: None, kind, span: self.span(l, r) }
    }

    /// `name = arg` in `<..>`; a second name in `a = b = c` is reported.
    pub(crate) fn named_type_arg(&self, name: Ident, arg: TypeArg, l: usize, r: usize) -> TypeArg {
        if let Some(second) = &arg.name {
            self.diagnostics.borrow_mut().push(
                Diagnostic::error(codes::UNEXPECTED_TOKEN, "a generic argument has one name")
                    .primary(second.span, "a second name")
                    .secondary(name.span, "the first name"),
            );
        }
        TypeArg { name: Some(name), kind: arg.kind, span: self.span(l, r) }
    }

    pub(crate) fn expr(&self, l: usize, kind: ExprKind, r: usize) -> Expr {
        Expr { kind, span: self.span(l, r) }
    }

    pub(crate) fn unary(&self, l: usize, op: UnaryOp, operand: Expr) -> Expr {
        let op_span = self.span(l, l + 1);
        Expr { span: op_span.merge(operand.span), kind: ExprKind::Unary { op, op_span, operand: Box::new(operand) } }
    }

    /// `lhs op rhs`, the operator at token `at`.
    pub(crate) fn binary(&self, lhs: Expr, op: BinaryOp, at: usize, rhs: Expr) -> Expr {
        let len = if op == BinaryOp::Shr { 2 } else { 1 };
        let (span, op_span) = (lhs.span.merge(rhs.span), self.span(at, at + len));
        Expr { span, kind: ExprKind::Binary { op, op_span, lhs: Box::new(lhs), rhs: Box::new(rhs) } }
    }

    pub(crate) fn int(&self, value: u128, suffix: Option<Arc<str>>, l: usize) -> Expr {
        self.literal(LiteralKind::Int(value), suffix, l)
    }

    pub(crate) fn float(&self, token: FloatToken, l: usize) -> Expr {
        self.literal(LiteralKind::Float { value: token.value, digits: token.digits }, token.suffix, l)
    }

    pub(crate) fn literal(&self, kind: LiteralKind, suffix: Option<Arc<str>>, l: usize) -> Expr {
        let span = self.span(l, l + 1);
        let suffix = suffix.map(|name| {
            let lo = (span.hi as usize).saturating_sub(name.len()).max(span.lo as usize);
            Ident { span: Span::new(span.file, lo, span.hi as usize), name }
        });
        Expr { kind: ExprKind::Literal(Literal { kind, suffix, span }), span }
    }
}
