//! PTX tokens (logos). An opcode with all its modifiers, `ld.global.v4.f32`, is one `Word`.

use logos::Logos;

/// One PTX token. Names borrow from the source text.
#[derive(Logos, Clone, Copy, Debug, PartialEq)]
#[logos(skip r"[ \t\r\n\x0c]+")]
#[logos(skip(r"//[^\n]*", allow_greedy = true))]
#[logos(skip r"/\*([^*]|\*+[^*/])*\*+/")]
pub enum Token<'s> {
    /// Identifier, label or opcode with modifiers.
    #[regex(r"[A-Za-z_$][A-Za-z0-9_$]*((\.|::)[A-Za-z0-9_]+)*")]
    Word(&'s str),
    /// Register or special register: `%r1`, `%tid.x`.
    #[regex(r"%[A-Za-z0-9_$]+(\.[a-z])?")]
    Percent(&'s str),
    /// Any directive without a token of its own: types, spaces, performance directives.
    #[regex(r"\.[A-Za-z_][A-Za-z0-9_]*(::[a-z]+)*")]
    Dot(&'s str),
    /// Decimal, octal, hexadecimal or binary integer as written.
    #[regex(r"[0-9]+U?|0[xX][0-9a-fA-F]+U?|0[bB][01]+U?")]
    Int(&'s str),
    /// Decimal floating-point literal, or the number after `.version`.
    #[regex(r"[0-9]+\.[0-9]*([eE][+-]?[0-9]+)?")]
    Float(&'s str),
    /// `0f3F800000`.
    #[regex(r"0[fF][0-9a-fA-F]{8}")]
    Bits32(&'s str),
    /// `0d3FF0000000000000`.
    #[regex(r"0[dD][0-9a-fA-F]{16}")]
    Bits64(&'s str),
    /// Quoted string, quotes included.
    #[regex(r#""([^"\\\n]|\\.)*""#)]
    Str(&'s str),
    #[token(".version")]
    Version,
    #[token(".target")]
    Target,
    #[token(".address_size")]
    AddressSize,
    #[token(".file")]
    File,
    #[token(".loc")]
    Loc,
    #[token(".section")]
    Section,
    #[token(".entry")]
    Entry,
    #[token(".func")]
    Func,
    #[token(".reg")]
    Reg,
    #[token(".align")]
    Align,
    #[token(".pragma")]
    Pragma,
    #[token(".alias")]
    Alias,
    #[token(".branchtargets")]
    BranchTargets,
    #[token(".calltargets")]
    CallTargets,
    #[token(".callprototype")]
    CallPrototype,
    #[token(".visible")]
    Visible,
    #[token(".extern")]
    Extern,
    #[token(".weak")]
    Weak,
    #[token(".common")]
    Common,
    #[token(".attribute")]
    Attribute,
    #[token("{")]
    LBrace,
    #[token("}")]
    RBrace,
    #[token("[")]
    LBracket,
    #[token("]")]
    RBracket,
    #[token("(")]
    LParen,
    #[token(")")]
    RParen,
    #[token("<")]
    Less,
    #[token(">")]
    Greater,
    #[token(",")]
    Comma,
    #[token(";")]
    Semi,
    #[token(":")]
    Colon,
    #[token("|")]
    Pipe,
    #[token("@")]
    At,
    #[token("!")]
    Bang,
    #[token("+")]
    Plus,
    #[token("-")]
    Minus,
    #[token("=")]
    Equal,
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
