//! Makes delimiters pair up before the parser sees them, and reports those that do not.
//!
//! A parser that meets a missing brace reports it at the end of the file, with every later item. Here the layout is used: `;` ends what a
//! parenthesis left open, an item that starts within braces ends them, and the indentation tells which brace is the likely culprit.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::tokens::{Token, Tokens};

/// What was repaired.
#[derive(Default)]
pub(crate) struct Repaired {
    pub diagnostics: Vec<Diagnostic>,
    /// Offset from which the repaired tokens may differ from what was meant: later syntax errors are not to be trusted.
    pub doubtful_from: Option<u32>,
}

/// An opening delimiter that is not closed yet.
#[derive(Clone)]
struct Open {
    token: Token,
    span: Span,
    /// Whether it stands within an attribute, where `;` separates groups.
    attribute: bool,
}

struct Repair<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    spans: Vec<Span>,
    stack: Vec<Open>,
    /// Number of the token that closes the list where a `;` stood last: what is open within it is closed, too.
    closed_before: usize,
    /// Pairs of braces whose lines are indented differently, innermost first.
    misaligned: Vec<(Span, Span)>,
    result: Repaired,
}

/// Reports delimiters without partner, and inserts or removes what is needed to balance the rest.
pub(crate) fn repair(tokens: &mut Tokens, text: &str) -> Repaired {
    let (old, spans) = (std::mem::take(&mut tokens.tokens), std::mem::take(&mut tokens.spans));
    let mut repair = Repair {
        text,
        tokens: Vec::with_capacity(old.len()),
        spans: Vec::with_capacity(old.len()),
        stack: vec![],
        closed_before: 0,
        misaligned: vec![],
        result: Repaired::default(),
    };
    for at in 0..old.len() {
        repair.step(&old, &spans, at);
    }
    repair.close_all(tokens.file_span.end(), "the file ends here");
    tokens.tokens = repair.tokens;
    tokens.spans = repair.spans;
    repair.result
}

impl Repair<'_> {
    fn push(&mut self, token: Token, span: Span) {
        self.tokens.push(token);
        self.spans.push(span);
    }

    fn step(&mut self, all: &[Token], spans: &[Span], at: usize) {
        let (token, span) = (&all[at], spans[at]);
        match token {
            Token::OpenParen | Token::OpenBracket | Token::OpenBrace => {
                let hash = *token == Token::OpenBracket && self.tokens.last() == Some(&Token::Hash);
                let attribute = *token != Token::OpenBrace && (hash || self.stack.last().is_some_and(|o| o.attribute));
                self.stack.push(Open { token: token.clone(), span, attribute });
            }
            Token::Semi => self.end_lists(all, at, span, false),
            Token::Eq | Token::PlusEq | Token::MinusEq | Token::StarEq | Token::SlashEq => self.end_lists(all, at, span, true),
            Token::Kernel | Token::Fn if self.starts_item(all, spans, at) => {
                self.close_all(span.start(), "the next item starts here");
            }
            closing if closing.is_closing() => return self.close(closing, span),
            _ => {}
        }
        self.push(token.clone(), span);
    }

    /// Whether the `kernel` or `fn` at `at` starts an item although something is open.
    fn starts_item(&self, all: &[Token], spans: &[Span], at: usize) -> bool {
        let behind_end = at == 0
            || matches!(all[at - 1], Token::CloseBrace | Token::Semi | Token::OpenBrace | Token::Doc(_) | Token::CloseBracket);
        let named =
            matches!(all.get(at + 1), Some(Token::Ident(_))) && matches!(all.get(at + 2), Some(Token::Lt | Token::OpenParen));
        // Items start lines of their own; those indented as deep as their surroundings are nested on purpose and left to the parser.
        let Some(outermost) = self.stack.first() else {
            return false;
        };
        let deeper = indent(self.text, spans[at]) > indent(self.text, outermost.span);
        behind_end && named && !deeper && starts_line(self.text, spans[at])
    }

    /// `;` ends `(` and `[` that are open, an assignment the `[` of its place, unless they are closed later on: then the parser says what is
    /// wrong.
    fn end_lists(&mut self, all: &[Token], at: usize, span: Span, assignment: bool) {
        if assignment && self.stack.last().is_none_or(|o| o.token != Token::OpenBracket) {
            return;
        }
        if self.stack.last().is_none_or(|o| o.attribute || o.token == Token::OpenBrace) {
            return;
        }
        if at < self.closed_before {
            return;
        }
        let mut depth = 0usize;
        for (i, token) in all.iter().enumerate().skip(at + 1) {
            if token.closing().is_some() {
                depth += 1;
            } else if token.is_closing() {
                if depth == 0 {
                    if *token == Token::CloseBrace {
                        break;
                    }
                    self.closed_before = i;
                    return;
                }
                depth -= 1;
            }
        }
        while let Some(open) = self.stack.pop_if(|o| o.token != Token::OpenBrace) {
            let place = self.spans.last().map_or(span.start(), |s| s.end());
            let reason = if assignment { "missing in front of this assignment" } else { "missing in front of this `;`" };
            self.unclosed(&open, place, reason, false);
        }
    }

    /// Reports an opening delimiter and closes it at `place`.
    fn unclosed(&mut self, open: &Open, place: Span, reason: &str, doubtful: bool) {
        let closing = open.token.closing().expect("only opening delimiters are on the stack");
        let (open_text, close_text) = (text_of(&open.token), text_of(&closing));
        let mut diagnostic = Diagnostic::error(codes::UNCLOSED_DELIMITER, format!("unclosed `{open_text}`"))
            .primary(open.span, format!("this `{open_text}` is not closed"))
            .secondary(place, if doubtful { reason.to_string() } else { format!("`{close_text}` is {reason}") });
        if open.token == Token::OpenBrace
            && let Some((from, to)) = self.misaligned.iter().find(|(from, to)| from.lo > open.span.lo && to.lo < place.lo)
        {
            diagnostic = diagnostic
                .secondary(*from, "this brace may be the one that is not closed ..")
                .secondary(*to, ".. as this one, which closes it, is indented differently");
        }
        if !doubtful {
            diagnostic = diagnostic.suggest(format!("insert `{close_text}`"), place, close_text);
        }
        self.result.diagnostics.push(diagnostic);
        if doubtful {
            self.doubt(open.span.lo);
        }
        self.push(closing, place);
    }

    fn doubt(&mut self, from: u32) {
        let first = self.result.doubtful_from.map_or(from, |first| first.min(from));
        self.result.doubtful_from = Some(first);
    }

    fn close_all(&mut self, place: Span, reason: &str) {
        // The innermost one is the likeliest; the outer ones follow from it unless there is more than one missing.
        while let Some(open) = self.stack.pop() {
            self.unclosed(&open, place, reason, true);
        }
    }

    fn close(&mut self, closing: &Token, span: Span) {
        let matches = |o: &Open| o.token.closing().as_ref() == Some(closing);
        if self.stack.last().is_some_and(matches) {
            let open = self.stack.pop().expect("there is a last one");
            if *closing == Token::CloseBrace && self.misaligned_pair(open.span, span) {
                self.misaligned.push((open.span, span));
            }
            return self.push(closing.clone(), span);
        }
        if self.stack.iter().any(matches) {
            while let Some(open) = self.stack.pop_if(|o| !matches(o)) {
                let reason = format!("in front of this `{}`", text_of(closing));
                self.unclosed(&open, span.start(), &format!("missing {reason}"), false);
                self.doubt(open.span.lo);
            }
            self.stack.pop();
            return self.push(closing.clone(), span);
        }
        let text = text_of(closing);
        let mut diagnostic = Diagnostic::error(codes::STRAY_CLOSING, format!("unexpected closing `{text}`"))
            .primary(span, "nothing is open that this would close");
        if let Some(open) = self.stack.pop_if(|o| o.token != Token::OpenBrace) {
            let wanted = open.token.closing().expect("only opening delimiters are on the stack");
            diagnostic = Diagnostic::error(codes::STRAY_CLOSING, format!("mismatched closing `{text}`"))
                .primary(span, format!("`{}` is expected here", text_of(&wanted)))
                .secondary(open.span, format!("to close this `{}`", text_of(&open.token)));
            self.push(wanted, span);
        } else if let Some((from, to)) = self.misaligned.first() {
            diagnostic = diagnostic
                .secondary(*from, "this brace ..")
                .secondary(*to, ".. may be closed too early by this one, which is indented differently");
        }
        self.result.diagnostics.push(diagnostic);
        self.doubt(span.lo);
    }

    /// Whether the brace at `close` starts its line with another indentation than the line of its opening brace.
    fn misaligned_pair(&self, open: Span, close: Span) -> bool {
        starts_line(self.text, close) && indent(self.text, open) != indent(self.text, close)
    }
}

/// Whether only blanks stand in front of `span` on its line. False where there is no text.
fn starts_line(text: &str, span: Span) -> bool {
    let before = text.get(..span.lo as usize).and_then(|t| t.rsplit('\n').next());
    !text.is_empty() && before.is_some_and(|b| b.trim().is_empty())
}

/// Number of blanks at the start of the line of `span`.
fn indent(text: &str, span: Span) -> usize {
    let start = text.get(..span.lo as usize).and_then(|t| t.rfind('\n')).map_or(0, |at| at + 1);
    text.get(start..).map_or(0, |line| line.len() - line.trim_start_matches([' ', '\t']).len())
}

fn text_of(delimiter: &Token) -> &'static str {
    delimiter.fixed_text().expect("a delimiter has one text")
}
