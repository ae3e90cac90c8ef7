//! From source to syntax tree. Parsing never fails and never panics: what does not fit is reported and skipped.

mod balance;
pub(crate) mod context;
mod depth;
mod explain;

use crate::ast::File;
use crate::codes;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::lex;
use crate::source::SourceMap;
use crate::span::FileId;
use crate::tokens::{Token, Tokens};
use context::{Context, Unexpected};
use std::collections::HashSet;

// Generated from `grammar.lalrpop`, which `tests/grammar.rs` keeps true.
#[rustfmt::skip]
#[allow(missing_docs, clippy::all, unused_imports, unused_parens, dead_code)]
#[path = "grammar.rs"]
mod grammar;

/// Syntax errors that are explained, a file: nobody reads more, and explaining one takes a look at the whole file.
const MAX_ERRORS: usize = 100;

/// Parses a file. The tree is whole only where the diagnostics hold no error.
pub fn parse(sources: &SourceMap, file: FileId) -> (File, Diagnostics) {
    let (tokens, lexical) = lex::lex(sources, file);
    parse_with_layout(tokens, lexical, sources.file(file).text())
}

/// Parses tokens, from a text or from a macro's input; `diagnostics` is what making them reported.
pub fn parse_tokens(tokens: Tokens, diagnostics: Diagnostics) -> (File, Diagnostics) {
    parse_with_layout(tokens, diagnostics, "")
}

/// `text` is what the spans of the tokens point into, empty where there is none: its indentation tells which brace is missing.
fn parse_with_layout(mut tokens: Tokens, mut diagnostics: Diagnostics, text: &str) -> (File, Diagnostics) {
    if let Some(error) = depth::check(&tokens) {
        diagnostics.push(error);
        return (File { docs: vec![], items: vec![], span: tokens.file_span }, limited(diagnostics, 0));
    }
    // The parser only sees balanced delimiters; what it makes of repaired ones is not the user's mistake.
    let unbalanced = balance::repair(&mut tokens, text);
    let cx = Context::new(&tokens);
    let spanned = tokens.tokens.iter().cloned().enumerate().map(|(i, t)| Ok((i, t, i + 1)));
    let parsed = grammar::FileParser::new().parse(&cx, spanned);
    let fatal = parsed.as_ref().err().cloned();
    let file = parsed.unwrap_or_else(|_| cx.file(vec![], vec![]));
    let (mut unexpected, reported) = cx.finish();
    unexpected.extend(fatal.map(|f| Unexpected::from_failure(f, tokens.tokens.len())));
    unexpected.sort_by_key(|u| u.at);
    let sound = |lo: u32| unbalanced.doubtful_from.is_none_or(|first| lo < first);
    diagnostics.extend(reported.into_iter().filter(|d| d.span().is_none_or(|s| sound(s.lo))));
    let mut lists = HashSet::new();
    let mut last = None;
    let count = unexpected.len();
    unexpected.truncate(MAX_ERRORS);
    for u in unexpected {
        // A body behind an error in its head is no second one.
        let follows = last.replace(u.at).is_some_and(|last| last + 1 == u.at);
        if follows && tokens.tokens.get(u.at) == Some(&Token::OpenBrace) {
            continue;
        }
        // Of several errors in one parenthesis or bracket, the later ones mostly follow from the first.
        if let Some(list) = enclosing_list(&tokens, u.at)
            && !lists.insert(list)
        {
            continue;
        }
        let span = tokens.span(u.at, (u.at + 1).min(tokens.tokens.len()));
        // A token that was bad from the start has been reported.
        let known = tokens.tokens.get(u.at) == Some(&Token::Bad);
        if !known && sound(span.lo) {
            diagnostics.push(explain::explain(&tokens, &u));
        }
    }
    // A string that does not end may hold delimiters: on its line, nothing is said about them.
    let mut broken: Vec<u32> =
        diagnostics.iter().filter(|d| d.code == codes::UNTERMINATED_STRING).filter_map(|d| Some(d.span()?.lo)).collect();
    broken.sort_unstable();
    let by_string = |d: &Diagnostic| {
        let Some(lo) = d.span().map(|s| s.lo) else { return false };
        let line_end = text.get(lo as usize..).and_then(|t| t.find('\n')).map_or(u32::MAX, |len| lo + len as u32);
        broken.get(broken.partition_point(|b| *b < lo)).is_some_and(|b| *b < line_end)
    };
    diagnostics.extend(unbalanced.diagnostics.into_iter().filter(|d| !by_string(d)));
    let unexplained = count.saturating_sub(MAX_ERRORS);
    (file, limited(diagnostics, unexplained))
}

/// The first errors in the order of the text, and how many more there are; `unexplained` ones are not among them.
fn limited(mut diagnostics: Diagnostics, unexplained: usize) -> Diagnostics {
    diagnostics.finish();
    let unseen = diagnostics.truncate(MAX_ERRORS) + unexplained;
    if unseen > 0 {
        let message = format!("{unseen} more errors are not shown");
        diagnostics.push(Diagnostic::new(Severity::Note, codes::MORE_ERRORS, message));
    }
    diagnostics
}

/// The parenthesis or bracket that the token `at` stands in, unless a block is nearer.
fn enclosing_list(tokens: &Tokens, at: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (i, token) in tokens.tokens.iter().enumerate().take(at).rev() {
        if token.is_closing() {
            depth += 1;
        } else if token.closing().is_some() {
            if depth == 0 {
                return (*token != Token::OpenBrace).then_some(i);
            }
            depth -= 1;
        }
    }
    None
}
