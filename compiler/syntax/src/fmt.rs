//! The formatter of `kiln fmt`: one layout for everyone, comments and the grouping by empty lines kept.
//!
//! It works on tokens, never on a printed tree, so nothing can be lost or changed but blanks, newlines and the comma behind the last entry
//! of a list. The result is checked to have the same tokens before it is given out.

mod cursor;
mod doc;
mod exprs;
mod layout;

use crate::diagnostic::Diagnostics;
use crate::lex::lex;
use crate::parse::parse;
use crate::source::SourceMap;
use crate::span::FileId;
use crate::tokens::{Token, Tokens};
use std::fmt;

/// Columns a line should take at most.
pub const WIDTH: usize = 120;

/// Why a file was not formatted.
#[derive(Debug)]
pub enum FormatError {
    /// It has syntax errors.
    Syntax(Diagnostics),
    /// The formatter is wrong: its result would have had other tokens. The text names the first difference.
    Internal(String),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FormatError::Syntax(diagnostics) => write!(f, "the file has {} syntax errors", diagnostics.error_count()),
            FormatError::Internal(what) => write!(f, "internal error of the formatter, the file was not changed: {what}"),
        }
    }
}

impl std::error::Error for FormatError {}

/// The text of a file in the standard layout, with `\n` line ends and without a byte order mark.
pub fn format(sources: &SourceMap, file: FileId) -> Result<String, FormatError> {
    let (_, diagnostics) = parse(sources, file);
    if diagnostics.has_errors() {
        return Err(FormatError::Syntax(diagnostics));
    }
    let text = sources.file(file).text();
    let (tokens, _) = lex(sources, file);
    let result = doc::print(&layout::Layout::new(text, &tokens).file(), WIDTH);
    check(text, &tokens, &result)?;
    Ok(result)
}

/// What must not change: the tokens but for commas in front of closing delimiters, and the comments, in order.
fn essence(text: &str, tokens: &Tokens) -> Vec<(u32, String)> {
    let mut parts: Vec<(u32, String)> = vec![];
    for (i, token) in tokens.tokens.iter().enumerate() {
        let optional = *token == Token::Comma
            && tokens.tokens.get(i + 1).is_some_and(|next| {
                next.is_closing() || matches!(next, Token::Gt | Token::GtJoint | Token::OpenBrace | Token::Or | Token::Semi)
            });
        if !optional {
            parts.push((tokens.spans[i].lo, text[tokens.spans[i].range()].trim_end().to_string()));
        }
    }
    parts.extend(tokens.comments.iter().map(|c| (c.span.lo, text[c.span.range()].trim_end().to_string())));
    parts.sort_by_key(|(lo, _)| *lo);
    parts
}

fn check(old: &str, tokens: &Tokens, new: &str) -> Result<(), FormatError> {
    let mut sources = SourceMap::new();
    let file = sources.add("formatted", new);
    let (new_tokens, _) = lex(&sources, file);
    let (before, after) = (essence(old, tokens), essence(new, &new_tokens));
    let same = before.iter().zip(&after).position(|((_, a), (_, b))| a != b);
    let at = match same {
        Some(at) => at,
        None if before.len() == after.len() => {
            let (_, diagnostics) = parse(&sources, file);
            if diagnostics.has_errors() {
                return Err(FormatError::Internal("the result has syntax errors".into()));
            }
            return Ok(());
        }
        None => before.len().min(after.len()),
    };
    let word = |list: &[(u32, String)]| list.get(at).map_or("the end".to_string(), |(_, t)| format!("`{t}`"));
    Err(FormatError::Internal(format!("{} became {} (token {at})", word(&before), word(&after))))
}
