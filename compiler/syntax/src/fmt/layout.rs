//! Layout of files, items, statements and lists.

use super::WIDTH;
use super::cursor::Cursor;
use super::doc::{Doc, print};
use crate::tokens::{Token, Tokens};

/// How a list looks that does not fit on a line.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Style {
    /// One entry a line.
    Vertical,
    /// One entry a line; parentheses around a single entry, where a comma would make a tuple of it.
    Tuple,
    /// As many entries on a line as fit.
    Fill,
    /// One entry a line; but a closure with a block as the last argument keeps the others on the line of the call.
    Call,
}

/// Walks the tokens of a file without syntax errors.
pub(super) struct Layout<'t> {
    pub(super) cursor: Cursor<'t>,
    /// Whether the body of the last closure was a block.
    pub(super) block_closure: bool,
}

impl<'t> Layout<'t> {
    pub(super) fn new(text: &'t str, tokens: &'t Tokens) -> Self {
        Layout { cursor: Cursor::new(text, tokens), block_closure: false }
    }

    pub(super) fn is(&self, token: &Token) -> bool {
        self.cursor.is(token)
    }

    pub(super) fn take(&mut self) -> Doc {
        self.cursor.take()
    }

    pub(super) fn take_as(&mut self, text: Doc) -> Doc {
        self.cursor.take_as(text)
    }

    /// A list in the delimiters that come next, its entries separated by commas.
    pub(super) fn list(&mut self, style: Style, mut entry: impl FnMut(&mut Self) -> Doc) -> Doc {
        let open = self.take();
        let mut entries: Vec<(Doc, Doc)> = vec![];
        let mut closure = false;
        while !self.at_close() {
            closure =
                self.is(&Token::Or) || self.cursor.peek_at(2) == Some(&Token::Or) && self.cursor.peek_at(1) == Some(&Token::Eq);
            let doc = entry(self);
            let comma = self.is(&Token::Comma);
            let last = self.cursor.peek_at(usize::from(comma)).is_some_and(closes);
            // `(a,)` is a tuple, `(a)` is not.
            let single = style == Style::Tuple && last && entries.is_empty();
            let separator = match (comma, last) {
                (true, true) if !single => self.take_as(Doc::IfBroken(",")),
                (true, _) => self.take_as(Doc::text(",")),
                (false, _) if single || self.cursor.comment_taken() == Some(true) => Doc::nil(),
                (false, _) => Doc::IfBroken(","),
            };
            entries.push((doc, separator));
        }
        let dangling = self.cursor.has_leading().then(|| self.cursor.dangling());
        let close = self.take();
        if entries.is_empty() && dangling.is_none() && !open.is_hard() {
            return vec![open, close].into();
        }
        let hugs = closure && style == Style::Call && dangling.is_none() && {
            let hard = |(doc, separator): &(Doc, Doc)| doc.is_hard() || separator.is_hard();
            self.block_closure && !entries.iter().rev().skip(1).any(hard)
        };
        if hugs {
            // `reduce(x, axis = 0, |a, b| {` .. `})`
            let mut parts = vec![open];
            for (i, (doc, separator)) in entries.into_iter().enumerate() {
                if i > 0 {
                    parts.push(Doc::text(" "));
                }
                parts.extend([doc, separator.group()]);
            }
            parts.push(close);
            return parts.into();
        }
        let entries: Vec<Doc> = entries.into_iter().map(|(doc, separator)| vec![doc, separator].into()).collect();
        let short = entries.iter().all(|e| e.flat_width() <= 24);
        let mut inner = vec![Doc::SoftLine];
        if style == Style::Fill && short && !entries.is_empty() {
            inner.push(Doc::Fill(entries));
        } else {
            for (i, doc) in entries.into_iter().enumerate() {
                if i > 0 {
                    inner.push(Doc::Line);
                }
                inner.push(doc);
            }
        }
        inner.extend(dangling);
        let body = Doc::from(vec![open, Doc::from(inner).nest(), Doc::SoftLine]).group();
        vec![body, close].into()
    }

    fn at_close(&self) -> bool {
        self.cursor.peek().is_none_or(closes)
    }

    /// A comma outside of delimiters, and a blank behind it; left out where it is the last, unless comments lead it.
    pub(super) fn comma(&mut self, last: bool, blank: &str) -> Doc {
        let drop = last && !self.cursor.has_leading();
        self.take_as(Doc::text(if drop { String::new() } else { format!(",{blank}") }))
    }

    // Items -------------------------------------------------------------------------------------------------------------------------

    pub(super) fn file(&mut self) -> Doc {
        let mut parts = vec![];
        while self.cursor.peek().is_some() {
            let blank = self.cursor.blank_in_front();
            parts.push(Doc::HardLine { blank });
            let item = self.item();
            parts.push(item);
        }
        let blank = self.cursor.blank_in_front();
        parts.push(Doc::HardLine { blank });
        parts.push(self.take());
        parts.into()
    }

    fn item(&mut self) -> Doc {
        match self.cursor.peek() {
            Some(Token::InnerDoc(_) | Token::Doc(_)) => self.take(),
            Some(Token::Hash) => self.attribute(),
            Some(Token::Use) => vec![self.take(), Doc::text(" "), self.use_tree(), self.take()].into(),
            Some(Token::Const) => {
                let mut parts = vec![self.take(), Doc::text(" "), self.take(), self.take(), Doc::text(" ")];
                parts.push(self.ty());
                parts.extend([Doc::text(" "), self.take(), Doc::text(" ")]);
                parts.push(self.value());
                parts.push(self.take());
                parts.into()
            }
            _ => self.kernel_or_fn(),
        }
    }

    fn use_tree(&mut self) -> Doc {
        let mut parts = vec![self.path()];
        match self.cursor.peek() {
            Some(Token::As) => parts.extend([Doc::text(" "), self.take(), Doc::text(" "), self.take()]),
            Some(Token::PathSep) => {
                parts.push(self.take());
                parts.push(self.list(Style::Fill, Self::use_tree));
            }
            _ => {}
        }
        parts.into()
    }

    /// `#[..]`.
    fn attribute(&mut self) -> Doc {
        let mut parts = vec![self.take(), self.take(), self.path()];
        if self.is(&Token::Eq) {
            parts.extend([Doc::text(" "), self.take(), Doc::text(" ")]);
            parts.push(self.expr());
        }
        if self.is(&Token::OpenParen) {
            parts.push(self.attribute_groups());
        }
        parts.push(self.take());
        parts.into()
    }

    /// The arguments of an attribute: groups separated by `;`, each filling lines of its own where they do not fit on one.
    fn attribute_groups(&mut self) -> Doc {
        let open = self.take();
        let mut inner = vec![Doc::SoftLine];
        let mut group: Vec<Doc> = vec![];
        while !self.is(&Token::CloseParen) && self.cursor.peek().is_some() {
            if self.is(&Token::Semi) {
                inner.push(Doc::Fill(std::mem::take(&mut group)));
                inner.push(self.take());
                if !self.is(&Token::CloseParen) {
                    inner.push(Doc::Line);
                }
                continue;
            }
            let mut parts = vec![];
            if self.at_name(0) && self.cursor.peek_at(1) == Some(&Token::Eq) {
                parts.extend([self.take(), Doc::text(" "), self.take(), Doc::text(" ")]);
            } else if self.is(&Token::If) {
                // A condition, which has no block and stays with its `if`.
                parts.extend([self.take(), Doc::text(" ")]);
            }
            parts.push(self.expr());
            if self.is(&Token::Comma) {
                let last = matches!(self.cursor.peek_at(1), Some(Token::CloseParen | Token::Semi));
                parts.push(self.comma(last, ""));
            }
            group.push(parts.into());
        }
        if !group.is_empty() {
            inner.push(Doc::Fill(group));
        }
        let dangling = self.cursor.dangling();
        inner.push(dangling);
        let body = Doc::from(vec![open, Doc::from(inner).nest(), Doc::SoftLine]).group();
        vec![body, self.take()].into()
    }

    /// Documentation and attributes, a line each.
    fn outers(&mut self, parts: &mut Vec<Doc>) {
        while matches!(self.cursor.peek(), Some(Token::Doc(_) | Token::Hash)) {
            parts.push(if self.is(&Token::Hash) { self.attribute() } else { self.take() });
            let blank = self.cursor.blank_in_front();
            parts.push(Doc::HardLine { blank });
        }
    }

    fn kernel_or_fn(&mut self) -> Doc {
        let mut parts = vec![self.take(), Doc::text(" "), self.take()];
        if self.is(&Token::Lt) {
            parts.push(self.list(Style::Vertical, Self::generic));
        }
        parts.push(self.list(Style::Vertical, Self::param));
        if self.is(&Token::Arrow) {
            parts.extend([Doc::text(" "), self.take(), Doc::text(" ")]);
            // The parameters break before the result does.
            let result = self.ty().group();
            let room = WIDTH - 20;
            parts.push(if result.is_hard() || result.flat_width() > room {
                result
            } else {
                Doc::text(print(&result, WIDTH).trim_end())
            });
        }
        let mut clauses = vec![];
        if self.is(&Token::Grid) {
            clauses.extend([Doc::Line, self.take(), Doc::text(" ")]);
            clauses.push(self.list(Style::Fill, Self::expr));
        }
        if self.is(&Token::Requires) {
            clauses.extend([Doc::Line, self.take(), Doc::text(" ")]);
            clauses.push(self.requirements());
        }
        let has_clauses = !clauses.is_empty();
        let head = vec![Doc::from(clauses).nest(), if has_clauses { Doc::Line } else { Doc::text(" ") }];
        parts.push(Doc::from(head).group());
        parts.push(self.block());
        parts.into()
    }

    /// `a, b` up to the body.
    fn requirements(&mut self) -> Doc {
        let mut entries: Vec<Doc> = vec![];
        while !self.is(&Token::OpenBrace) && self.cursor.peek().is_some() {
            let mut entry = vec![self.expr()];
            if self.is(&Token::Comma) {
                let last = self.cursor.peek_at(1) == Some(&Token::OpenBrace);
                entry.push(self.comma(last, ""));
            }
            entries.push(entry.into());
        }
        Doc::Fill(entries).nest()
    }

    fn generic(&mut self) -> Doc {
        let mut parts = vec![];
        self.outers(&mut parts);
        let constant = self.is(&Token::Const);
        if constant {
            parts.extend([self.take(), Doc::text(" ")]);
        }
        parts.extend([self.take(), self.take(), Doc::text(" ")]);
        parts.push(if constant { self.ty() } else { self.path() });
        if self.is(&Token::Eq) {
            parts.extend([Doc::text(" "), self.take(), Doc::text(" ")]);
            parts.push(if constant { self.additive() } else { self.ty() });
        }
        parts.into()
    }

    fn param(&mut self) -> Doc {
        let mut parts = vec![];
        self.outers(&mut parts);
        parts.extend([self.take(), self.take(), Doc::text(" ")]);
        parts.push(self.ty());
        if self.is(&Token::Eq) {
            parts.extend([Doc::text(" "), self.take(), Doc::text(" ")]);
            parts.push(self.expr());
        }
        parts.into()
    }

    // Statements --------------------------------------------------------------------------------------------------------------------

    /// A block: on one line where it is written so and fits.
    pub(super) fn block(&mut self) -> Doc {
        let from = self.cursor.position();
        let block = self.open_block();
        self.close_block(from, block)
    }

    /// A block up to its closing brace.
    fn open_block(&mut self) -> Doc {
        let open = self.take();
        let mut inner = vec![];
        while !self.is(&Token::CloseBrace) && self.cursor.peek().is_some() {
            let blank = !inner.is_empty() && self.cursor.blank_in_front();
            inner.push(if blank { Doc::HardLine { blank } } else { Doc::Line });
            let statement = self.statement();
            inner.push(statement);
        }
        let comment = inner.is_empty() && self.cursor.comment_taken().is_some();
        if self.cursor.has_leading() {
            let blank = !inner.is_empty() && self.cursor.blank_in_front();
            inner.push(Doc::HardLine { blank });
            inner.push(self.cursor.dangling());
        }
        let last = if inner.is_empty() && !comment { Doc::SoftLine } else { Doc::Line };
        vec![open, Doc::from(inner).nest(), last].into()
    }

    /// What starts with the token `from` and ends with the closing brace that comes next. The brace is not part of the group: a comment
    /// behind it breaks nothing.
    fn close_block(&mut self, from: usize, block: Doc) -> Doc {
        let broken = self.cursor.spans_lines(from, self.cursor.position());
        let block = if broken { block.broken() } else { block.group() };
        vec![block, self.take()].into()
    }

    fn statement(&mut self) -> Doc {
        let mut parts = vec![];
        self.outers(&mut parts);
        match self.cursor.peek() {
            Some(Token::Let) => {
                parts.extend([self.take(), Doc::text(" ")]);
                parts.push(self.pattern());
                if self.is(&Token::Colon) {
                    parts.extend([self.take(), Doc::text(" "), self.ty()]);
                }
                parts.extend([Doc::text(" "), self.take(), Doc::text(" ")]);
                parts.push(self.value());
                parts.push(self.take());
            }
            Some(Token::Return) => {
                parts.push(self.take());
                if !self.is(&Token::Semi) {
                    parts.extend([Doc::text(" "), self.value()]);
                }
                parts.push(self.take());
            }
            Some(Token::For) => {
                parts.extend([self.take(), Doc::text(" "), self.pattern(), Doc::text(" ")]);
                parts.extend([self.take(), Doc::text(" "), self.element(), Doc::text(" ")]);
                parts.push(self.block());
            }
            Some(Token::While) => {
                parts.extend([self.take(), Doc::text(" "), self.expr(), Doc::text(" ")]);
                parts.push(self.block());
            }
            Some(Token::If) => parts.push(self.branches()),
            _ => {
                parts.push(self.expr());
                match self.cursor.peek() {
                    Some(Token::CloseBrace) | None => {}
                    Some(Token::Semi) => parts.push(self.take()),
                    _ => {
                        parts.extend([Doc::text(" "), self.take(), Doc::text(" ")]);
                        parts.push(self.value());
                        parts.push(self.take());
                    }
                }
            }
        }
        parts.into()
    }

    /// `if .. else ..`: all of its blocks break, or none.
    pub(super) fn branches(&mut self) -> Doc {
        let from = self.cursor.position();
        let mut parts = vec![];
        loop {
            parts.extend([self.take(), Doc::text(" "), self.expr(), Doc::text(" "), self.open_block()]);
            if self.cursor.peek_at(1) != Some(&Token::Else) {
                break;
            }
            parts.extend([self.take(), Doc::text(" "), self.take(), Doc::text(" ")]);
            if !self.is(&Token::If) {
                parts.push(self.open_block());
                break;
            }
        }
        self.close_block(from, parts.into())
    }
}

/// Whether a token ends a list.
fn closes(token: &Token) -> bool {
    token.is_closing() || matches!(token, Token::Gt | Token::GtJoint)
}
