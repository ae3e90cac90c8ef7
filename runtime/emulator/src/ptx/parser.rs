//! Runs the lexer and the grammar over a PTX text and turns their failures into [`Error`]s with a line.

use super::ast::{Item, Module};
use super::token::{self, Token, int_value};
use crate::error::Error;

// Generated from `grammar.lalrpop`, which `tests/grammar.rs` keeps true.
#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic, missing_docs, unused_imports, dead_code, mismatched_lifetime_syntaxes)]
#[path = "grammar.rs"]
mod grammar;

/// Deepest nesting of braces, brackets and parentheses that is accepted.
const MAX_NESTING: usize = 200;

/// Why a text is not PTX, before it has a line number.
#[derive(Debug)]
pub struct Fail {
    at: usize,
    message: String,
}

/// Value of an integer literal.
pub(super) fn int<E>(text: &str, at: usize) -> Result<u64, lalrpop_util::ParseError<usize, E, Fail>> {
    int_value(text).ok_or_else(|| Fail { at, message: format!("integer `{text}` does not fit in 64 bits") }.into_user())
}

/// Offset with its sign.
pub(super) fn signed<E>(value: u64, minus: bool, at: usize) -> Result<i64, lalrpop_util::ParseError<usize, E, Fail>> {
    let value =
        i64::try_from(value).map_err(|_| Fail { at, message: format!("offset {value} does not fit in 63 bits") }.into_user())?;
    Ok(if minus { -value } else { value })
}

impl Fail {
    fn into_user<E>(self) -> lalrpop_util::ParseError<usize, E, Fail> {
        lalrpop_util::ParseError::User { error: self }
    }
}

/// Line (from 1) of a byte offset.
pub fn line_of(source: &str, at: usize) -> u32 {
    let upto = source.as_bytes().get(..at).unwrap_or(source.as_bytes());
    1 + upto.iter().filter(|&&b| b == b'\n').count() as u32
}

type Spanned<'s> = Result<(usize, Token<'s>, usize), Fail>;

/// Tokens with their spans; debug `.section { .. }`s are dropped and nesting is bounded.
fn tokens(source: &str) -> impl Iterator<Item = Spanned<'_>> {
    let mut lexer = token::tokens(source);
    let mut depth = 0usize;
    std::iter::from_fn(move || {
        loop {
            let (token, span) = lexer.next()?;
            let Some(token) = token else {
                let text: String = source[span.start..].chars().take(12).collect();
                return Some(Err(Fail { at: span.start, message: format!("`{text}` is not a PTX token") }));
            };
            match token {
                Token::LBrace | Token::LBracket | Token::LParen => depth += 1,
                Token::RBrace | Token::RBracket | Token::RParen => depth = depth.saturating_sub(1),
                Token::Section => {
                    // Debug data: skip the name and the balanced braces.
                    let mut open = 0usize;
                    for (token, _) in lexer.by_ref() {
                        match token {
                            Some(Token::LBrace) => open += 1,
                            Some(Token::RBrace) => {
                                open = open.saturating_sub(1);
                                if open == 0 {
                                    break;
                                }
                            }
                            _ => {}
                        }
                    }
                    continue;
                }
                _ => {}
            }
            if depth > MAX_NESTING {
                return Some(Err(Fail { at: span.start, message: format!("nested more than {MAX_NESTING} deep") }));
            }
            return Some(Ok((span.start, token, span.end)));
        }
    })
}

/// Parses a PTX text.
///
/// # Errors
/// [`Error::Parse`] with the line of the first token that does not fit.
pub fn parse(source: &str) -> Result<Module<'_>, Error> {
    // Drivers accept a text that ends at its first NUL.
    let source = source.split('\0').next().unwrap_or_default();
    let items = grammar::ModuleParser::new().parse(tokens(source)).map_err(|error| {
        use lalrpop_util::ParseError as P;
        let (at, message) = match error {
            P::InvalidToken { location } => (location, "invalid token".to_owned()),
            P::UnrecognizedEof { location, .. } => (location, "the file ends too early".to_owned()),
            P::UnrecognizedToken { token: (at, _, end), .. } | P::ExtraToken { token: (at, _, end) } => {
                (at, format!("`{}` is not expected here", &source[at..end]))
            }
            P::User { error } => (error.at, error.message),
        };
        Error::Parse { line: line_of(source, at), message }
    })?;
    let mut module = Module::default();
    for item in items {
        match item {
            Item::Version(v) => {
                let (major, minor) = v.split_once('.').unwrap_or((v, "0"));
                module.version = (major.parse().unwrap_or(0), minor.parse().unwrap_or(0));
            }
            Item::Target(t) => module.targets = t,
            Item::AddressSize(64) => {}
            Item::AddressSize(bits) => {
                return Err(Error::Parse {
                    line: 1,
                    message: format!(".address_size {bits}: only 64-bit addresses are supported"),
                });
            }
            Item::File(index, path) => module.files.push((index, path.trim_matches('"').to_owned())),
            Item::Var(v) => module.vars.push(v),
            Item::Function(f) => module.functions.push(f),
            Item::Alias(a, b) => module.aliases.push((a, b)),
            Item::Ignored => {}
        }
    }
    Ok(module)
}
