//! The tokens of a file in order, each with the comments around it: whoever takes every token keeps every comment.

use super::doc::Doc;
use crate::tokens::{Token, Tokens};

/// A comment in front of a token.
struct Leading {
    text: String,
    /// It starts its own line.
    fresh: bool,
    /// An empty line stands in front of it.
    blank: bool,
    /// The line ends behind it.
    ends_line: bool,
}

/// The comments between two tokens.
#[derive(Default)]
struct Gap {
    /// Behind the token in front, on its line.
    trailing: Vec<(String, bool)>,
    /// In front of the token behind.
    leading: Vec<Leading>,
    /// An empty line stands in front of the first leading comment, or of the token where there is none.
    blank: bool,
    /// An empty line stands between the last leading comment and the token.
    blank_behind: bool,
}

/// Gives out tokens as layout.
pub(super) struct Cursor<'t> {
    text: &'t str,
    tokens: &'t Tokens,
    /// Gap `i` is in front of token `i`; the last one in front of the end of the file.
    gaps: Vec<Gap>,
    at: usize,
    comment_taken: Option<bool>,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(text: &'t str, tokens: &'t Tokens) -> Self {
        let count = tokens.tokens.len();
        let mut comments = tokens.comments.iter().peekable();
        let mut gaps = Vec::with_capacity(count + 1);
        for i in 0..=count {
            let mut from = if i == 0 { 0 } else { tokens.spans[i - 1].hi as usize };
            let to = tokens.spans.get(i).map_or(text.len(), |s| s.lo as usize);
            let between = |a: usize, b: usize| text.get(a..b).unwrap_or("");
            let mut gap = Gap::default();
            let mut same_line = i > 0;
            // A comment within a line belongs to what stands behind it, unless that only closes or continues what stands in front.
            let closes = |t: &Token| t.is_closing() || matches!(t, Token::Comma | Token::Semi | Token::Gt | Token::GtJoint);
            let ends_operand = |t: &Token| {
                t.is_closing() || matches!(t, Token::Ident(_) | Token::Int(..) | Token::Float(_) | Token::Str(_) | Token::Gt)
            };
            let to_front = tokens.tokens.get(i).is_some_and(closes) || i > 0 && ends_operand(&tokens.tokens[i - 1]);
            while let Some(comment) = comments.next_if(|c| (c.span.lo as usize) < to) {
                let (lo, hi) = (comment.span.lo as usize, comment.span.hi as usize);
                let before = between(from, lo);
                same_line &= !before.contains('\n');
                let next = comments.peek().map_or(to, |c| (c.span.lo as usize).min(to));
                let ends_line = !comment.block || between(hi, next).contains('\n') || i == count;
                let body = between(lo, hi).trim_end().to_string();
                if same_line && gap.leading.is_empty() && (ends_line || to_front) {
                    gap.trailing.push((body, !comment.block));
                } else {
                    let blank = before.matches('\n').count() > 1;
                    gap.blank |= blank && gap.leading.is_empty();
                    let fresh = ends_line && (before.contains('\n') || (i == 0 && gap.leading.is_empty()));
                    gap.leading.push(Leading { text: body, fresh, blank, ends_line });
                }
                from = hi;
            }
            let last_blank = between(from, to).matches('\n').count() > 1;
            if gap.leading.is_empty() {
                gap.blank = last_blank;
            } else {
                gap.blank_behind = last_blank;
            }
            gaps.push(gap);
        }
        Cursor { text, tokens, gaps, at: 0, comment_taken: None }
    }

    /// The next token; none at the end.
    pub(super) fn peek(&self) -> Option<&'t Token> {
        self.peek_at(0)
    }

    /// The token `offset` behind the next one.
    pub(super) fn peek_at(&self, offset: usize) -> Option<&'t Token> {
        self.tokens.tokens.get(self.at + offset)
    }

    pub(super) fn is(&self, token: &Token) -> bool {
        self.peek() == Some(token)
    }

    /// Number of the next token.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Whether an empty line stands in front of the next token and the comments that lead it.
    pub(super) fn blank_in_front(&self) -> bool {
        self.gaps[self.at].blank
    }

    /// Whether the source has a newline between the tokens `from` and `to` (both taken in).
    pub(super) fn spans_lines(&self, from: usize, to: usize) -> bool {
        let span = self.tokens.span(from, (to + 1).min(self.tokens.tokens.len()));
        self.text.get(span.range()).is_some_and(|t| t.contains('\n'))
    }

    /// Whether a comment stood behind the token taken last, and if so whether a line comment did.
    pub(super) fn comment_taken(&self) -> Option<bool> {
        self.comment_taken
    }

    /// The next token with its comments. At the end, the comments there.
    pub(super) fn take(&mut self) -> Doc {
        let Some(span) = self.tokens.spans.get(self.at) else { return self.leading() };
        let text = Doc::text(self.text.get(span.range()).unwrap_or("").trim_end());
        self.take_as(text)
    }

    /// The comments of the next token, and other text in its place.
    pub(super) fn take_as(&mut self, text: Doc) -> Doc {
        let leading = self.leading();
        self.at += 1;
        let mut parts = vec![leading, text];
        self.comment_taken = None;
        for (comment, line) in std::mem::take(&mut self.gaps[self.at].trailing) {
            parts.push(Doc::text(format!(" {comment}")));
            self.comment_taken = Some(line);
            if line {
                parts.push(Doc::EndOfLine);
            }
        }
        Doc::from(parts)
    }

    /// Whether comments lead the next token.
    pub(super) fn has_leading(&self) -> bool {
        !self.gaps[self.at].leading.is_empty()
    }

    /// The comments that lead the next token, which is not taken; they are given out only once.
    fn leading(&mut self) -> Doc {
        let behind = self.gaps[self.at].blank_behind;
        match self.own_comments() {
            (_, None) => Doc::nil(),
            (ends_line, Some(comments)) if ends_line || behind => vec![comments, Doc::FreshLine { blank: behind }].into(),
            (_, Some(comments)) => comments,
        }
    }

    /// The comments in front of a closing delimiter, which is not taken.
    pub(super) fn dangling(&mut self) -> Doc {
        self.own_comments().1.unwrap_or(Doc::nil())
    }

    /// The comments that lead the next token, and whether the line ends behind them.
    fn own_comments(&mut self) -> (bool, Option<Doc>) {
        let list = std::mem::take(&mut self.gaps[self.at].leading);
        let mut parts = vec![];
        let mut line_ended = false;
        for (i, comment) in list.into_iter().enumerate() {
            if comment.fresh || line_ended {
                parts.push(Doc::FreshLine { blank: comment.blank && i > 0 });
            }
            parts.push(Doc::text(comment.text));
            parts.push(if comment.ends_line { Doc::EndOfLine } else { Doc::text(" ") });
            line_ended = comment.ends_line;
        }
        (line_ended, (!parts.is_empty()).then(|| Doc::from(parts)))
    }
}
