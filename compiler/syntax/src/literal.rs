//! Literals: how far a number or a string reaches in a text, and what its text means. Shared by the text lexer and by macro input.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::tokens::{FloatToken, Token};
use unicode_ident::is_xid_continue;

/// The numeric scalar types, which may follow a number.
const SUFFIXES: &[&str] =
    &["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f16", "bf16", "f32", "f64", "f8e4m3", "f8e5m2", "index"];

/// A literal that is wrong: what to tell, and the token that stands for it.
#[derive(Debug)]
pub(crate) struct LiteralError {
    pub diagnostic: Diagnostic,
    pub token: Token,
}

impl LiteralError {
    fn new(diagnostic: Diagnostic, token: Token) -> Box<Self> {
        Box::new(LiteralError { diagnostic, token })
    }
}

/// Length in bytes of the number at the start of `text`, which starts with a digit. Takes in what looks like a suffix, and the point of `1.`.
pub(crate) fn number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let digits = |from: usize| from + bytes[from..].iter().take_while(|b| b.is_ascii_digit() || **b == b'_').count();
    let mut at = 0;
    if bytes[0] == b'0' && matches!(bytes.get(1), Some(b'x' | b'o' | b'b')) {
        at = 2;
    } else {
        at = digits(at);
        if bytes.get(at) == Some(&b'.') {
            let next = text[at + 1..].chars().next();
            if next.is_some_and(|c| c.is_ascii_digit()) {
                at = digits(at + 1);
            } else if !next.is_some_and(|c| c == '.' || c == '_' || unicode_ident::is_xid_start(c)) {
                return at + 1;
            }
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let end = digits(at + 1 + sign);
            if bytes[at + 1 + sign..end].iter().any(u8::is_ascii_digit) {
                at = end;
            }
        }
    }
    at + text[at..].chars().take_while(|c| is_xid_continue(*c)).map(char::len_utf8).sum::<usize>()
}

/// Length in bytes of the string at the start of `text`, which starts with `"`. None where it does not end.
pub(crate) fn string_len(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (i, b) in text.bytes().enumerate().skip(1) {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(i + 1),
            _ => {}
        }
    }
    None
}

/// The token of a literal's text.
pub(crate) fn parse(text: &str, span: Span) -> Result<Token, Box<LiteralError>> {
    match text.as_bytes().first() {
        Some(b'0'..=b'9') => number(text, span),
        Some(b'"') if text.len() >= 2 && text.ends_with('"') => string(text, span),
        Some(b'\'') => Err(bad(single_quote(span))),
        _ => Err(bad(prefixed_string(span))),
    }
}

fn bad(diagnostic: Diagnostic) -> Box<LiteralError> {
    LiteralError::new(diagnostic, Token::Bad)
}

/// What is said about `r"..."`, `b"..."` and their like.
pub(crate) fn prefixed_string(span: Span) -> Diagnostic {
    Diagnostic::error(codes::STRING_PREFIX, "strings take no prefix")
        .primary(span, "raw, byte or C string")
        .help("write a plain string `\"..\"`; `\\n`, `\\\"`, `\\\\` and `\\u{..}` are its escapes")
}

/// What is said about `'`.
pub(crate) fn single_quote(span: Span) -> Diagnostic {
    Diagnostic::error(codes::SINGLE_QUOTE, "single quotes are not part of the language")
        .primary(span, "no lifetimes, labels or character literals")
        .help("strings stand in double quotes; a character's code is a number: `97u8` for `a`")
}

/// What is said about a character that no token has.
pub(crate) fn unknown_character(ch: char, span: Span) -> Diagnostic {
    let shown = if ch.is_control() { ch.escape_unicode().to_string() } else { ch.to_string() };
    let diagnostic = Diagnostic::error(codes::UNKNOWN_CHARACTER, format!("unknown character `{shown}`"))
        .primary(span, "not part of the language");
    let (advice, replacement) = match ch {
        '\'' => return single_quote(span),
        '@' => ("a matrix product is `dot(a, b)`, an attribute `#[tune(..)]`", ""),
        '~' => ("the bitwise complement is `!x`", "!"),
        '$' => ("kernel files have no macro variables", ""),
        '`' => ("names are written without quotes", ""),
        '\\' => ("a line may break anywhere, without `\\`", ""),
        '×' | '·' | '∗' => ("multiplication is `*`", "*"),
        '÷' => ("division is `/`", "/"),
        '−' | '–' | '—' => ("the minus sign is the ASCII `-`", "-"),
        '≤' => ("write `<=`", "<="),
        '≥' => ("write `>=`", ">="),
        '≠' => ("write `!=`", "!="),
        '“' | '”' | '„' => ("strings stand in straight quotes `\"`", "\""),
        '‘' | '’' => ("there are no single quotes in the language", ""),
        '；' => ("the ASCII `;` is meant", ";"),
        '，' => ("the ASCII `,` is meant", ","),
        '（' => ("the ASCII `(` is meant", "("),
        '）' => ("the ASCII `)` is meant", ")"),
        '：' => ("the ASCII `:` is meant", ":"),
        '＝' => ("the ASCII `=` is meant", "="),
        '\u{a0}' => ("this is a no-break space: use a plain one", " "),
        '\u{200b}' => ("this is an invisible zero-width space: remove it", ""),
        '\u{feff}' => ("a byte order mark may stand only at the very start of a file: remove it", ""),
        _ => return diagnostic,
    };
    if replacement.is_empty() { diagnostic.help(advice) } else { diagnostic.suggest(advice, span, replacement) }
}

fn number(text: &str, span: Span) -> Result<Token, Box<LiteralError>> {
    let radix = match text.as_bytes().get(..2) {
        Some(b"0x") => 16,
        Some(b"0o") => 8,
        Some(b"0b") => 2,
        _ => 10,
    };
    if radix != 10 {
        let body = &text[2..];
        let end = body.find(|c: char| c != '_' && !c.is_digit(radix)).unwrap_or(body.len());
        return integer(&body[..end], &body[end..], radix, text, span);
    }
    let whole = text.find(|c: char| c != '_' && !c.is_ascii_digit()).unwrap_or(text.len());
    let mut end = whole;
    let rest = &text[end..];
    if rest == "." {
        let fixed = format!("{text}0");
        let diagnostic = Diagnostic::error(codes::POINT_WITHOUT_DIGITS, "a number needs a digit on both sides of its point")
            .primary(span, "no digit behind the point")
            .suggest(format!("write `{fixed}`"), span, fixed);
        return Err(LiteralError::new(diagnostic, float(&text[..whole], "")));
    }
    if rest.starts_with('.') {
        end += 1;
        end += text[end..].find(|c: char| c != '_' && !c.is_ascii_digit()).unwrap_or(text[end..].len());
    }
    if text[end..].starts_with(['e', 'E']) {
        let sign = usize::from(text[end + 1..].starts_with(['+', '-']));
        let exponent = &text[end + 1 + sign..];
        let len = exponent.find(|c: char| c != '_' && !c.is_ascii_digit()).unwrap_or(exponent.len());
        if exponent[..len].bytes().any(|b| b.is_ascii_digit()) {
            end += 1 + sign + len;
        } else if exponent.is_empty() {
            let diagnostic = Diagnostic::error(codes::EMPTY_EXPONENT, "the exponent has no digits")
                .primary(span, "a digit is missing behind the `e`");
            return Err(LiteralError::new(diagnostic, float(&text[..end], "")));
        }
    }
    if end == whole {
        return integer(&text[..whole], &text[whole..], 10, text, span);
    }
    let (digits, suffix) = text.split_at(end);
    if !suffix.is_empty() && !SUFFIXES.contains(&suffix) {
        return Err(LiteralError::new(unknown_suffix(suffix, span), float(digits, "")));
    }
    let token = float(digits, suffix);
    match &token {
        Token::Float(f) if !suffix.is_empty() && !suffix.contains('f') => {
            let diagnostic =
                Diagnostic::error(codes::INTEGER_SUFFIX, format!("a number with a fraction cannot be of type `{suffix}`"))
                    .primary(span, "integer suffix on a floating-point number");
            Err(LiteralError::new(diagnostic, Token::Float(FloatToken { suffix: None, ..f.clone() })))
        }
        _ => Ok(token),
    }
}

fn float(digits: &str, suffix: &str) -> Token {
    let digits: String = digits.chars().filter(|c| *c != '_').collect();
    let value = digits.parse().expect("digits, point, digits and exponent were checked");
    let suffix = (!suffix.is_empty()).then(|| suffix.into());
    Token::Float(FloatToken { value, digits: digits.into(), suffix })
}

/// An integer from the digits behind its prefix, and the rest of its text.
fn integer(digits: &str, suffix: &str, radix: u32, text: &str, span: Span) -> Result<Token, Box<LiteralError>> {
    let wrong = |diagnostic| LiteralError::new(diagnostic, Token::Int(1, None));
    if !digits.bytes().any(|b| b != b'_') {
        let diagnostic = Diagnostic::error(codes::NO_DIGITS, format!("the number `{text}` has no digits"))
            .primary(span, format!("digits of base {radix} are missing behind the prefix"));
        return Err(wrong(diagnostic));
    }
    if radix < 10 && suffix.starts_with(|c: char| c.is_ascii_digit()) {
        let digit = &suffix[..1];
        let diagnostic = Diagnostic::error(codes::DIGIT_OUT_OF_BASE, format!("`{digit}` is no digit of base {radix}"))
            .primary(span, format!("a number of base {radix}"));
        return Err(wrong(diagnostic));
    }
    if !suffix.is_empty() && !SUFFIXES.contains(&suffix) {
        return Err(wrong(unknown_suffix(suffix, span)));
    }
    let plain: String = digits.chars().filter(|c| *c != '_').collect();
    match u128::from_str_radix(&plain, radix) {
        Ok(value) => Ok(Token::Int(value, (!suffix.is_empty()).then(|| suffix.into()))),
        Err(_) => {
            let diagnostic = Diagnostic::error(codes::INTEGER_TOO_LARGE, "the integer is too large for any type")
                .primary(span, "does not fit 128 bits")
                .help("a floating-point number has a point or an exponent: `1.0`, `1e40`");
            Err(wrong(diagnostic))
        }
    }
}

fn unknown_suffix(suffix: &str, span: Span) -> Diagnostic {
    let hi = span.hi as usize;
    let place = Span::new(span.file, (hi.saturating_sub(suffix.len())).max(span.lo as usize), hi);
    let diagnostic = Diagnostic::error(codes::UNKNOWN_SUFFIX, format!("`{suffix}` is no type suffix of a number"))
        .primary(place, "unknown suffix");
    let meant = match suffix {
        "f" | "F" => Some("f32"),
        "u" | "U" => Some("u32"),
        "usize" | "isize" => Some("index"),
        "h" => Some("f16"),
        "L" | "l" => Some("i64"),
        _ => None,
    };
    match meant {
        Some(meant) => diagnostic.suggest(format!("write `{meant}`"), place, meant),
        None if suffix.starts_with(['e', 'E']) => diagnostic.note("an exponent is `e` and digits: `1e-5`"),
        None => diagnostic.note(format!("the suffixes are {}", SUFFIXES.join(", "))),
    }
}

fn string(text: &str, span: Span) -> Result<Token, Box<LiteralError>> {
    let body = &text[1..text.len() - 1];
    let mut value = String::with_capacity(body.len());
    let mut rest = body.chars();
    let wrong = |rest: &std::str::Chars<'_>, message: &str| {
        // The escape that was just read ends where the rest starts.
        let hi = (span.hi as usize).saturating_sub(1 + rest.as_str().len()).max(span.lo as usize);
        let before = text.len() - 1 - rest.as_str().len();
        let lo = span.lo as usize + text[..before].rfind('\\').unwrap_or(0);
        let diagnostic = Diagnostic::error(codes::BAD_ESCAPE, message)
            .primary(Span::new(span.file, lo.min(hi), hi), "bad escape")
            .note("the escapes are `\\n`, `\\r`, `\\t`, `\\0`, `\\\\`, `\\\"`, `\\'`, `\\x41` and `\\u{1f600}`");
        LiteralError::new(diagnostic, Token::Str("".into()))
    };
    while let Some(ch) = rest.next() {
        if ch != '\\' {
            value.push(ch);
            continue;
        }
        match rest.next() {
            Some('n') => value.push('\n'),
            Some('r') => value.push('\r'),
            Some('t') => value.push('\t'),
            Some('0') => value.push('\0'),
            Some(c @ ('\\' | '"' | '\'')) => value.push(c),
            Some('x') => {
                let hex: String = rest.by_ref().take(2).collect();
                match u8::from_str_radix(&hex, 16) {
                    Ok(byte) if byte < 0x80 && hex.len() == 2 => value.push(byte as char),
                    _ => return Err(wrong(&rest, "`\\x` takes two hexadecimal digits up to 7f")),
                }
            }
            Some('u') => {
                let inner = rest.as_str().strip_prefix('{').and_then(|r| r.split_once('}'));
                let ch = inner.and_then(|(hex, _)| char::from_u32(u32::from_str_radix(hex, 16).ok()?));
                let (Some((_, behind)), Some(ch)) = (inner, ch) else {
                    return Err(wrong(&rest, "`\\u` takes a character's code in braces: `\\u{1f600}`"));
                };
                value.push(ch);
                rest = behind.chars();
            }
            Some('\n' | '\r') => rest = rest.as_str().trim_start().chars(),
            Some(other) => return Err(wrong(&rest, &format!("unknown escape `\\{other}`"))),
            None => return Err(wrong(&rest, "the string ends in a lone `\\`")),
        }
    }
    Ok(Token::Str(value.into()))
}
