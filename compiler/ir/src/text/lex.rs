//! Tokens of the text form.

use super::TextError;

/// A token; identifiers and numbers as written.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Token<'a> {
    /// Names, mnemonics, `v12`.
    Ident(&'a str),
    /// `12`, `-3`, `0x7f`, `1.5e-7`.
    Number(&'a str),
    /// A string literal, unescaped.
    Str(String),
    /// Punctuation.
    Punct(&'static str),
    /// The end of the text.
    End,
}

/// Longest first.
const PUNCT: [&str; 22] =
    ["..+", "..", "->", "<=", "(", ")", "[", "]", "{", "}", "<", ">", ",", ":", ".", "!", "*", "@", "#", "?", "%", "="];

/// Splits a text into tokens with their byte offsets. Comments run from `;` to the end of the line.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token<'_>)>, TextError> {
    let bytes = text.as_bytes();
    let mut list = Vec::with_capacity(bytes.len() / 3);
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let (token, len) = match bytes[at] {
            b if b.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b';' => {
                at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            b if b.is_ascii_alphabetic() || b == b'_' => {
                let len = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
                (Token::Ident(&rest[..len]), len)
            }
            b'-' if rest.starts_with("-inf") => (Token::Ident("-inf"), 4),
            b if b.is_ascii_digit() || (b == b'-' && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)) => {
                let len = number_len(rest);
                (Token::Number(&rest[..len]), len)
            }
            b'"' => {
                let (value, len) = string(rest).ok_or_else(|| error_at(text, at, "unterminated or malformed string".into()))?;
                (Token::Str(value), len)
            }
            _ => match PUNCT.into_iter().find(|p| rest.starts_with(p)) {
                Some(p) => (Token::Punct(p), p.len()),
                None => {
                    let found = rest.chars().next().unwrap_or(' ');
                    return Err(error_at(text, at, format!("unexpected character {found:?}")));
                }
            },
        };
        list.push((at, token));
        at += len;
    }
    list.push((text.len(), Token::End));
    Ok(list)
}

/// Length of the number at the start of `text`: a point counts only before a digit, so that `1..2` is a range.
fn number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    if text.starts_with("0x") {
        return 2 + bytes[2..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
    }
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let mut len = usize::from(bytes[0] == b'-');
    len += digits(len);
    if bytes.get(len) == Some(&b'.') && bytes.get(len + 1).is_some_and(u8::is_ascii_digit) {
        len += 1 + digits(len + 1);
    }
    if bytes.get(len) == Some(&b'e') {
        let sign = usize::from(bytes.get(len + 1) == Some(&b'-'));
        let exponent = digits(len + 1 + sign);
        if exponent > 0 {
            len += 1 + sign + exponent;
        }
    }
    len
}

/// The string literal at the start of `text`, with the escapes that `{:?}` writes.
fn string(text: &str) -> Option<(String, usize)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, at + 1)),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                '0' => value.push('\0'),
                'u' => {
                    chars.next().filter(|&(_, c)| c == '{')?;
                    let mut code = 0;
                    loop {
                        match chars.next()?.1 {
                            '}' => break,
                            c => code = u32::checked_add(u32::checked_mul(code, 16)?, c.to_digit(16)?)?,
                        }
                    }
                    value.push(char::from_u32(code)?);
                }
                c @ ('"' | '\'' | '\\') => value.push(c),
                _ => return None,
            },
            c => value.push(c),
        }
    }
    None
}

/// An error at a byte offset.
pub(super) fn error_at(text: &str, offset: usize, message: String) -> TextError {
    let before = &text[..offset];
    let line = before.bytes().filter(|&b| b == b'\n').count() as u32 + 1;
    let column = (offset - before.rfind('\n').map_or(0, |nl| nl + 1)) as u32 + 1;
    TextError { line, column, message }
}
