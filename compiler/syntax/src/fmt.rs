//! The formatter of `kiln fmt`: one layout for everyone, comments and the grouping by empty lines kept.
//!
//! It works on tokens, never on a printed tree, so nothing can be lost or changed but blanks, newlines and the comma behind the last entry
//! of a list. The result is checked to have the same tree and the same comments before it is given out.

mod cursor;
mod doc;
mod exprs;
mod layout;

use crate::diagnostic::Diagnostics;
use crate::dump::dump;
use crate::lex::lex;
use crate::parse::parse;
use crate::source::SourceMap;
use crate::span::FileId;
use crate::tokens::Tokens;
use std::fmt;

/// Columns a line should take at most.
pub const WIDTH: usize = 120;

/// Why a file was not formatted.
#[derive(Debug)]
pub enum FormatError {
    /// It has syntax errors.
    Syntax(Diagnostics),
    /// The formatter is wrong: its result would have had another tree or other comments. The text names the first difference.
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
    let (tree, diagnostics) = parse(sources, file);
    if diagnostics.has_errors() {
        return Err(FormatError::Syntax(diagnostics));
    }
    let text = sources.file(file).text();
    let (tokens, _) = lex(sources, file);
    let result = doc::print(&layout::Layout::new(text, &tokens).file(), WIDTH);

    let mut check = SourceMap::new();
    let new = check.add("formatted", result.as_str());
    let (new_tree, new_diagnostics) = parse(&check, new);
    let (new_tokens, _) = lex(&check, new);
    same(&[dump(&tree)], &[dump(&new_tree)])?;
    same(&comments(text, &tokens), &comments(&result, &new_tokens))?;
    if new_diagnostics.has_errors() {
        return Err(FormatError::Internal("the result has syntax errors".into()));
    }
    Ok(result)
}

/// The comments of a file, in order.
fn comments(text: &str, tokens: &Tokens) -> Vec<String> {
    tokens.comments.iter().map(|c| text[c.span.range()].trim_end().to_string()).collect()
}

/// An error that names the first line where two lists of texts differ.
fn same(before: &[String], after: &[String]) -> Result<(), FormatError> {
    if before == after {
        return Ok(());
    }
    let (before, after) = (before.join("\n"), after.join("\n"));
    let mut lines = before.lines().zip(after.lines());
    let difference =
        lines.find(|(a, b)| a != b).map_or("something is missing".to_string(), |(a, b)| format!("`{a}` became `{b}`"));
    Err(FormatError::Internal(difference))
}
