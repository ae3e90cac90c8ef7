//! PTX tokens. An opcode with all its modifiers, `ld.global.v4.f32`, is one `Word`. A lexer of logos finds them; which directive or sign one is, is asked here: as patterns
//! they would be thousands of states.

use std::ops::Range;

use logos::Logos;

// Generated from `raw.logos`, which `tests/lexers.rs` keeps true.
#[rustfmt::skip]
#[allow(unused, clippy::all)]
#[path = "raw.rs"]
mod raw;

use raw::Raw;

/// Declares the tokens, and how those with one text are found from it.
macro_rules! tokens {
    (directives { $($directive:ident $directive_text:literal)* } signs { $($sign:ident $sign_text:literal)* }) => {
        /// One PTX token. Names borrow from the source text.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum Token<'s> {
            /// Identifier, label or opcode with modifiers.
            Word(&'s str),
            /// Register or special register: `%r1`, `%tid.x`.
            Percent(&'s str),
            /// Any directive without a token of its own: types, spaces, performance directives.
            Dot(&'s str),
            /// Decimal, octal, hexadecimal or binary integer as written.
            Int(&'s str),
            /// Decimal floating-point literal, or the number after `.version`.
            Float(&'s str),
            /// `0f3F800000`.
            Bits32(&'s str),
            /// `0d3FF0000000000000`.
            Bits64(&'s str),
            /// Quoted string, quotes included.
            Str(&'s str),
            $(#[doc = concat!("`", $directive_text, "`")] $directive,)*
            $(#[doc = concat!("`", $sign_text, "`")] $sign,)*
        }

        fn directive(text: &str) -> Token<'_> {
            match text {
                $($directive_text => Token::$directive,)*
                _ => Token::Dot(text),
            }
        }

        fn sign(text: &str) -> Option<Token<'_>> {
            match text {
                $($sign_text => Some(Token::$sign),)*
                _ => None,
            }
        }
    };
}

tokens! {
    directives {
        Version ".version" Target ".target" AddressSize ".address_size" File ".file" Loc ".loc" Section ".section"
        Entry ".entry" Func ".func" Reg ".reg" Align ".align" Pragma ".pragma" Alias ".alias"
        BranchTargets ".branchtargets" CallTargets ".calltargets" CallPrototype ".callprototype" Visible ".visible"
        Extern ".extern" Weak ".weak" Common ".common" Attribute ".attribute"
    }
    signs {
        LBrace "{" RBrace "}" LBracket "[" RBracket "]" LParen "(" RParen ")" Less "<" Greater ">" Comma "," Semi ";"
        Colon ":" Pipe "|" At "@" Bang "!" Plus "+" Minus "-" Equal "="
    }
}

/// The tokens of a text with their places; None for what is none.
pub fn tokens(source: &str) -> impl Iterator<Item = (Option<Token<'_>>, Range<usize>)> {
    Raw::lexer(source).spanned().map(|(raw, span)| {
        let token = match raw {
            Ok(Raw::Word(text)) => Some(Token::Word(text)),
            Ok(Raw::Percent(text)) => Some(Token::Percent(text)),
            Ok(Raw::Dot(text)) => Some(directive(text)),
            Ok(Raw::Int(text)) => Some(Token::Int(text)),
            Ok(Raw::Float(text)) => Some(Token::Float(text)),
            Ok(Raw::Bits32(text)) => Some(Token::Bits32(text)),
            Ok(Raw::Bits64(text)) => Some(Token::Bits64(text)),
            Ok(Raw::Str(text)) => Some(Token::Str(text)),
            Ok(Raw::Sign(text)) => sign(text),
            Err(()) => None,
        };
        (token, span)
    })
}

/// Value of an integer token; `None` when it does not fit in 64 bits.
pub fn int_value(text: &str) -> Option<u64> {
    let text = text.trim_end_matches('U');
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', b'b' | b'B', ..] => (&text[2..], 2),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    u64::from_str_radix(digits, radix).ok()
}
