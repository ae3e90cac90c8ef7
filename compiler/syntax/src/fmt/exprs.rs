//! Layout of types, patterns and expressions. The file is known to be free of syntax errors, so one token decides everywhere.

use super::doc::Doc;
use super::layout::{Layout, Style};
use crate::tokens::Token;

/// Operators by level, weakest first.
const LEVELS: &[&[Token]] = &[
    &[Token::OrOr],
    &[Token::AndAnd],
    &[Token::EqEq, Token::Ne, Token::Lt, Token::Le, Token::Gt, Token::Ge],
    &[Token::Or],
    &[Token::Caret],
    &[Token::And],
    &[Token::Shl, Token::GtJoint],
    &[Token::Plus, Token::Minus],
    &[Token::Star, Token::Slash, Token::Percent],
    &[Token::As],
];

/// The level of sums: what a default in `<..>` may be at most.
const ADDITIVE: usize = 7;

impl Layout<'_> {
    /// `a::b::c`.
    pub(super) fn path(&mut self) -> Doc {
        let mut parts = vec![self.take()];
        while self.is(&Token::PathSep) && self.at_name(1) {
            parts.extend([self.take(), self.take()]);
        }
        parts.into()
    }

    /// Whether a name stands `offset` tokens ahead.
    pub(super) fn at_name(&self, offset: usize) -> bool {
        matches!(self.cursor.peek_at(offset), Some(Token::Ident(_) | Token::Kernel | Token::Grid | Token::Requires))
    }

    pub(super) fn ty(&mut self) -> Doc {
        let mut parts = vec![];
        if self.is(&Token::Mut) {
            parts.extend([self.take(), Doc::text(" ")]);
        }
        match self.cursor.peek() {
            Some(Token::Underscore) => parts.push(self.take()),
            Some(Token::OpenParen) => parts.push(self.list(Style::Tuple, Self::ty)),
            Some(Token::Fn) => {
                parts.push(self.take());
                parts.push(self.list(Style::Vertical, Self::ty));
                parts.extend([Doc::text(" "), self.take(), Doc::text(" ")]);
                parts.push(self.ty());
            }
            _ => {
                parts.push(self.path());
                if self.is(&Token::Lt) {
                    parts.push(self.list(Style::Vertical, Self::type_arg));
                }
            }
        }
        if self.is(&Token::Question) {
            parts.push(self.take());
        }
        parts.into()
    }

    fn type_arg(&mut self) -> Doc {
        match self.cursor.peek() {
            Some(Token::OpenBracket) => self.list(Style::Fill, |l| if l.is(&Token::Underscore) { l.take() } else { l.expr() }),
            Some(Token::OpenBrace) => vec![self.take(), Doc::text(" "), self.expr(), Doc::text(" "), self.take()].into(),
            Some(Token::Minus) => vec![self.take(), self.take()].into(),
            Some(Token::Int(..) | Token::Float(_) | Token::Str(_) | Token::True | Token::False) => self.take(),
            _ if self.at_name(0) && self.cursor.peek_at(1) == Some(&Token::Eq) => {
                let mut parts = vec![self.take(), Doc::text(" "), self.take(), Doc::text(" ")];
                parts.push(self.type_arg());
                parts.into()
            }
            _ => self.ty(),
        }
    }

    pub(super) fn pattern(&mut self) -> Doc {
        match self.cursor.peek() {
            Some(Token::Mut) => vec![self.take(), Doc::text(" "), self.take()].into(),
            Some(Token::OpenParen) => self.list(Style::Tuple, Self::pattern),
            _ => self.take(),
        }
    }

    /// An expression or an `if`.
    pub(super) fn value(&mut self) -> Doc {
        if self.is(&Token::If) { self.branches() } else { self.expr() }
    }

    /// A value or a range.
    pub(super) fn element(&mut self) -> Doc {
        let start = self.value();
        if !self.is(&Token::DotDot) {
            return start;
        }
        vec![start, self.take(), self.expr()].into()
    }

    fn index(&mut self) -> Doc {
        if self.is(&Token::Colon) {
            return self.take();
        }
        let start = self.value();
        if !self.is(&Token::DotDot) {
            return start;
        }
        let mut parts = vec![start, self.take()];
        if self.is(&Token::Plus) {
            parts.push(self.take());
        }
        parts.push(self.expr());
        parts.into()
    }

    fn arg(&mut self) -> Doc {
        let mut parts = vec![];
        if self.at_name(0) && self.cursor.peek_at(1) == Some(&Token::Eq) {
            parts.extend([self.take(), Doc::text(" "), self.take(), Doc::text(" ")]);
        }
        parts.push(if self.is(&Token::Or) { self.closure() } else { self.element() });
        parts.into()
    }

    fn closure(&mut self) -> Doc {
        let mut parts = vec![self.take()];
        loop {
            parts.push(self.pattern());
            if self.is(&Token::Colon) {
                parts.extend([self.take(), Doc::text(" "), self.ty()]);
            }
            if !self.is(&Token::Comma) {
                break;
            }
            let last = self.cursor.peek_at(1) == Some(&Token::Or);
            parts.push(self.comma(last, " "));
            if last {
                break;
            }
        }
        parts.extend([self.take(), Doc::text(" ")]);
        let block = self.is(&Token::OpenBrace);
        parts.push(if block { self.block() } else { self.value() });
        self.block_closure = block;
        parts.into()
    }

    pub(super) fn expr(&mut self) -> Doc {
        self.binary(0)
    }

    /// An expression without comparisons and weaker operators.
    pub(super) fn additive(&mut self) -> Doc {
        self.binary(ADDITIVE)
    }

    fn binary(&mut self, level: usize) -> Doc {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let first = self.binary(level + 1);
        let mut rest = vec![];
        while self.cursor.peek().is_some_and(|t| operators.contains(t)) {
            let cast = self.is(&Token::As);
            // Casts stay with their operand.
            rest.push(if cast { Doc::text(" ") } else { Doc::Line });
            if self.is(&Token::GtJoint) {
                rest.push(self.take());
            }
            rest.extend([self.take(), Doc::text(" ")]);
            rest.push(if cast { self.path() } else { self.binary(level + 1) });
        }
        if rest.is_empty() {
            return first;
        }
        Doc::from(vec![first, Doc::from(rest).nest()]).group()
    }

    fn unary(&mut self) -> Doc {
        if self.is(&Token::Minus) || self.is(&Token::Not) {
            return vec![self.take(), self.unary()].into();
        }
        self.postfix()
    }

    fn postfix(&mut self) -> Doc {
        let mut parts = vec![self.primary()];
        loop {
            match self.cursor.peek() {
                Some(Token::OpenBracket) => parts.push(self.list(Style::Fill, Self::index)),
                Some(Token::Dot) => {
                    parts.extend([self.take(), self.take()]);
                    parts.push(self.call_rest());
                }
                _ => return parts.into(),
            }
        }
    }

    /// The turbofish and the arguments of a call, where they are there.
    fn call_rest(&mut self) -> Doc {
        let mut parts = vec![];
        if self.is(&Token::PathSep) {
            parts.push(self.take());
            parts.push(self.list(Style::Vertical, Self::type_arg));
        }
        if self.is(&Token::OpenParen) {
            parts.push(self.list(Style::Call, Self::arg));
        }
        parts.into()
    }

    fn primary(&mut self) -> Doc {
        match self.cursor.peek() {
            Some(Token::OpenParen) => self.list(Style::Tuple, Self::element),
            Some(Token::OpenBracket) => self.list(Style::Fill, Self::value),
            _ if self.at_name(0) => vec![self.path(), self.call_rest()].into(),
            _ => self.take(),
        }
    }
}
