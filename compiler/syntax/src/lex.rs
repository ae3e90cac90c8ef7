//! From text to tokens: finds words, numbers, strings, comments and single punctuation characters; [`TokenBuilder`] does the rest.

use crate::codes;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::literal;
use crate::source::SourceMap;
use crate::span::{FileId, Span};
use crate::tokens::{Comment, TokenBuilder, Tokens};
use logos::{FilterResult, Lexer, Logos};

// Generated from `raw.logos`, which `tests/lexers.rs` keeps true.
#[rustfmt::skip]
#[allow(unused, clippy::all)]
#[path = "raw.rs"]
mod raw;

use raw::Raw;

/// What starts like a name.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Word {
    /// A name or keyword, or a raw identifier `r#name`.
    Name,
    /// A string behind a prefix: raw, byte or C string. True where it ends.
    String(bool),
}

/// The text from the start of the present token to the end of the file.
fn from_start<'s>(lex: &Lexer<'s, Raw>) -> &'s str {
    &lex.source()[lex.span().start..]
}

/// Takes in the rest of a word, and the string it is the prefix of. Skips the blanks of Unicode (those Rust skips, too).
fn word(lex: &mut Lexer<'_, Raw>) -> FilterResult<Word, ()> {
    let first = lex.slice().chars().next().unwrap_or_default();
    if matches!(first, '\u{85}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}') {
        return FilterResult::Skip;
    }
    if first != '_' && !unicode_ident::is_xid_start(first) {
        return FilterResult::Error(());
    }
    take_name(lex);
    let raw = matches!(lex.slice(), "r" | "br" | "cr");
    let hashes = lex.remainder().bytes().take_while(|b| *b == b'#').count();
    match lex.remainder()[hashes..].chars().next() {
        Some('"') if raw => {
            lex.bump(hashes + 1);
            FilterResult::Emit(Word::String(raw_string(lex, hashes)))
        }
        Some('"') if hashes == 0 => {
            let prefix = lex.slice().len();
            FilterResult::Emit(Word::String(take_string(lex, prefix)))
        }
        Some(ch) if lex.slice() == "r" && hashes == 1 && (ch == '_' || unicode_ident::is_xid_start(ch)) => {
            lex.bump(1);
            take_name(lex);
            FilterResult::Emit(Word::Name)
        }
        _ => FilterResult::Emit(Word::Name),
    }
}

fn take_name(lex: &mut Lexer<'_, Raw>) {
    let name = lex.remainder().chars().take_while(|c| unicode_ident::is_xid_continue(*c));
    lex.bump(name.map(char::len_utf8).sum());
}

/// Takes in a string that starts at byte `skip` of the token; of an unterminated one, the rest of the line.
fn take_string(lex: &mut Lexer<'_, Raw>, skip: usize) -> bool {
    let taken = lex.slice().len();
    let text = &from_start(lex)[skip..];
    let len = literal::string_len(text);
    let end = len.unwrap_or_else(|| text.find(['\n', '\r']).unwrap_or(text.len()));
    lex.bump((skip + end).saturating_sub(taken));
    len.is_some()
}

fn string(lex: &mut Lexer<'_, Raw>) -> bool {
    take_string(lex, 0)
}

/// Takes in a raw string behind its opening quote, of an unterminated one the rest of the line.
fn raw_string(lex: &mut Lexer<'_, Raw>, hashes: usize) -> bool {
    let close = format!("\"{}", "#".repeat(hashes));
    let rest = lex.remainder();
    let end = rest.find(&close);
    lex.bump(end.map_or_else(|| rest.find('\n').unwrap_or(rest.len()), |at| at + close.len()));
    end.is_some()
}

fn block_comment(lex: &mut Lexer<'_, Raw>) -> bool {
    let rest = lex.remainder().as_bytes();
    let (mut depth, mut at) = (1, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                at += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    lex.bump(at);
                    return true;
                }
            }
            _ => at += 1,
        }
    }
    lex.bump(rest.len());
    false
}

/// The tokens of a file, and what is wrong with its characters and literals. A leading byte order mark is skipped.
pub fn lex(sources: &SourceMap, file: FileId) -> (Tokens, Diagnostics) {
    let text = sources.file(file).text();
    let bom = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut builder = TokenBuilder::new();
    let mut comments = vec![];
    let mut unknown: Option<Span> = None;
    for (raw, range) in Raw::lexer(&text[bom..]).spanned() {
        let span = Span::new(file, range.start + bom, range.end + bom);
        let slice = &text[span.range()];
        let next = || text[span.hi as usize..].chars().next();
        let Ok(raw) = raw else {
            // Neighbouring unknown characters (a sentence in another script, say) are one mistake.
            if unknown.is_none_or(|last| last.hi != span.lo) {
                let ch = slice.chars().next().unwrap_or('\u{fffd}');
                builder.bad(span, literal::unknown_character(ch, span));
            }
            unknown = Some(span);
            continue;
        };
        match raw {
            Raw::Word(Word::Name) => builder.word(slice, span),
            Raw::Number | Raw::Str(true) => builder.literal(slice, span),
            Raw::Str(false) => builder.bad(span, unterminated_string(span)),
            Raw::Word(Word::String(true)) => builder.bad(span, literal::prefixed_string(span)),
            Raw::Word(Word::String(false)) => builder.bad(span, unterminated_string(span)),
            Raw::LineComment => match doc_text(slice, "//") {
                Some((doc, inner)) => builder.doc(doc, inner, trim_cr(slice, span)),
                None => comments.push(Comment { span: trim_cr(slice, span), block: false }),
            },
            Raw::BlockComment(ended) => {
                if !ended {
                    let start = Span { hi: span.lo + 2, ..span };
                    builder.report(
                        Diagnostic::error(codes::UNTERMINATED_COMMENT, "the block comment does not end")
                            .primary(start, "opened here")
                            .note("block comments nest: every `/*` needs its own `*/`"),
                    );
                }
                match doc_text(slice, "/*") {
                    Some((doc, inner)) => builder.doc(doc, inner, span),
                    None => comments.push(Comment { span, block: true }),
                }
            }
            Raw::Quote => builder.bad(span, literal::single_quote(span)),
            Raw::Punct => {
                let joint = next().is_some_and(|c| ",;:?#.=+-*/%&|^!<>".contains(c))
                    && !text[span.hi as usize..].starts_with("//")
                    && !text[span.hi as usize..].starts_with("/*");
                builder.punct(slice.chars().next().expect("one character"), span, joint);
            }
            Raw::Delimiter => builder.delimiter(slice.chars().next().expect("one character"), span),
        }
    }
    let (mut tokens, diagnostics) = builder.finish(Span::new(file, 0, text.len()));
    tokens.comments = comments;
    (tokens, diagnostics)
}

fn trim_cr(slice: &str, span: Span) -> Span {
    Span { hi: span.hi - u32::from(slice.ends_with('\r')), ..span }
}

fn unterminated_string(span: Span) -> Diagnostic {
    Diagnostic::error(codes::UNTERMINATED_STRING, "the string does not end").primary(span, "its closing `\"` is missing")
}

/// The text of a documentation comment and whether it is an inner one; none for other comments. `open` is `//` or `/*`.
fn doc_text<'s>(comment: &'s str, open: &str) -> Option<(&'s str, bool)> {
    let body = match open {
        "/*" => comment.strip_prefix("/*")?.strip_suffix("*/").unwrap_or(&comment[2..]),
        _ => comment.strip_prefix("//")?.trim_end_matches('\r'),
    };
    if let Some(text) = body.strip_prefix('!') {
        return Some((text, true));
    }
    let mark = if open == "/*" { '*' } else { '/' };
    let text = body.strip_prefix(mark)?;
    let plain = text.starts_with(mark) || (open == "/*" && comment.len() < 5);
    (!plain).then_some((text, false))
}
