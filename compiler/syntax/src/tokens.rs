//! The tokens of the parser, made from what both lexers deliver: the text lexer (`lex`) and the token trees a Rust macro receives.
//!
//! Punctuation comes in character by character, each with a mark whether the next follows at once; [`TokenBuilder`] cuts the runs by the
//! longest match of one table, so `>=` or `..` are the same tokens in files and in macros.

use crate::codes;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::literal;
use crate::span::Span;
use std::borrow::Cow;
use std::sync::Arc;

/// Declares the tokens without contents: their variants, their text, and how both are found from a text.
macro_rules! fixed_tokens {
    (keywords { $($kw:ident $kw_text:literal)* } punctuation { $($p:ident $p_text:literal)* } delimiters { $($d:ident $d_text:literal)* }) => {
        /// A token of the parser.
        #[derive(Clone, PartialEq, Debug)]
        pub enum Token {
            /// A name that is no keyword and not reserved.
            Ident(Arc<str>),
            /// An integer: its value and type suffix.
            Int(u128, Option<Arc<str>>),
            /// A number with a point or an exponent.
            Float(FloatToken),
            /// A string, escapes resolved.
            Str(Arc<str>),
            /// An outer documentation comment: the text behind its mark.
            Doc(Arc<str>),
            /// An inner documentation comment: the text behind its mark.
            InnerDoc(Arc<str>),
            /// A word that is reserved and fits nowhere.
            Reserved(Arc<str>),
            /// A character or literal that fits nowhere; a diagnostic was reported.
            Bad,
            $(#[doc = concat!("`", $kw_text, "`")] $kw,)*
            $(#[doc = concat!("`", $p_text, "`")] $p,)*
            /// `>` with another `>` right behind it.
            GtJoint,
            $(#[doc = concat!("`", $d_text, "`")] $d,)*
        }

        impl Token {
            /// The keyword a word is.
            fn keyword(word: &str) -> Option<Token> {
                match word {
                    $($kw_text => Some(Token::$kw),)*
                    _ => None,
                }
            }

            /// The token that a whole run of punctuation characters is.
            fn punctuation(text: &str) -> Option<Token> {
                match text {
                    $($p_text => Some(Token::$p),)*
                    _ => None,
                }
            }

            /// The text of tokens that have only one.
            pub fn fixed_text(&self) -> Option<&'static str> {
                match self {
                    $(Token::$kw => Some($kw_text),)*
                    $(Token::$p => Some($p_text),)*
                    $(Token::$d => Some($d_text),)*
                    Token::GtJoint => Some(">"),
                    _ => None,
                }
            }
        }

        const LONGEST: usize = { let mut max = 0; $( if $p_text.len() > max { max = $p_text.len(); } )* max };
    };
}

fixed_tokens! {
    keywords {
        Fn "fn" Const "const" Use "use" Let "let" Mut "mut" For "for" In "in" While "while" If "if" Else "else"
        Return "return" As "as" None "None" True "true" False "false"
        Kernel "kernel" Grid "grid" Requires "requires" Underscore "_"
    }
    punctuation {
        PathSep "::" Arrow "->" DotDot ".." EqEq "==" Ne "!=" Le "<=" Ge ">=" AndAnd "&&" OrOr "||" Shl "<<" ShlEq "<<="
        ShrEq ">>=" PlusEq "+=" MinusEq "-=" StarEq "*=" SlashEq "/=" PercentEq "%=" AndEq "&=" OrEq "|=" CaretEq "^="
        Comma "," Semi ";" Colon ":" Question "?" Hash "#" Dot "." Eq "=" Plus "+" Minus "-" Star "*" Slash "/" Percent "%"
        And "&" Or "|" Caret "^" Not "!" Lt "<" Gt ">"
        DotDotEq "..=" FatArrow "=>"
    }
    delimiters {
        OpenParen "(" CloseParen ")" OpenBracket "[" CloseBracket "]" OpenBrace "{" CloseBrace "}"
    }
}

/// A number with a point or an exponent.
#[derive(Clone, PartialEq, Debug)]
pub struct FloatToken {
    /// The nearest f64.
    pub value: f64,
    /// The digits, without `_` and suffix.
    pub digits: Arc<str>,
    /// The type suffix.
    pub suffix: Option<Arc<str>>,
}

impl Token {
    /// The token as users know it, for messages: `` `let` ``, ``name `x` ``, `a number`.
    pub fn describe(&self) -> Cow<'static, str> {
        match self {
            Token::Ident(name) => format!("name `{name}`").into(),
            Token::Int(value, None) => format!("number `{value}`").into(),
            Token::Int(value, Some(suffix)) => format!("number `{value}{suffix}`").into(),
            Token::Float(f) => format!("number `{}{}`", f.digits, f.suffix.as_deref().unwrap_or("")).into(),
            Token::Str(_) => "a string".into(),
            Token::Doc(_) => "a documentation comment".into(),
            Token::InnerDoc(_) => "an inner documentation comment".into(),
            Token::Reserved(word) => format!("reserved word `{word}`").into(),
            Token::Bad => "an unknown character".into(),
            fixed => format!("`{}`", fixed.fixed_text().expect("the rest has fixed text")).into(),
        }
    }

    /// The closing delimiter for an opening one.
    pub fn closing(&self) -> Option<Token> {
        match self {
            Token::OpenParen => Some(Token::CloseParen),
            Token::OpenBracket => Some(Token::CloseBracket),
            Token::OpenBrace => Some(Token::CloseBrace),
            _ => None,
        }
    }

    /// Whether this is `)`, `]` or `}`.
    pub fn is_closing(&self) -> bool {
        matches!(self, Token::CloseParen | Token::CloseBracket | Token::CloseBrace)
    }
}

/// Words of Rust that are neither keywords of Kiln nor names: kernels, parameters and dimensions become Rust names.
const RESERVED: &[&str] = &[
    "Self", "abstract", "async", "await", "become", "box", "break", "continue", "crate", "do", "dyn", "enum", "extern", "final",
    "gen", "impl", "loop", "macro", "match", "mod", "move", "override", "priv", "pub", "ref", "self", "static", "struct",
    "super", "trait", "try", "type", "typeof", "unsafe", "unsized", "virtual", "where", "yield",
];

/// A comment that is no documentation; the parser does not see it, the formatter keeps it.
#[derive(Clone, PartialEq, Debug)]
pub struct Comment {
    /// From `//` to the end of the line, or from `/*` to `*/`.
    pub span: Span,
    /// Whether it is `/* .. */`.
    pub block: bool,
}

/// The tokens of one file, with their places.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The tokens, in order.
    pub tokens: Vec<Token>,
    /// Their spans, one each.
    pub spans: Vec<Span>,
    /// The comments, in order.
    pub comments: Vec<Comment>,
    /// All of the file.
    pub file_span: Span,
}

impl Tokens {
    /// The span from the token `from` up to (not including) the token `to`; between two tokens where both are equal.
    pub fn span(&self, from: usize, to: usize) -> Span {
        if from < to {
            self.spans[from].merge(self.spans[to - 1])
        } else {
            self.spans.get(from).map_or(self.file_span.end(), |s| s.start())
        }
    }
}

/// Makes [`Tokens`] from words, literals, single punctuation characters and delimiters, in source order.
#[derive(Debug)]
pub struct TokenBuilder {
    tokens: Vec<Token>,
    spans: Vec<Span>,
    run: Vec<(char, Span)>,
    diagnostics: Diagnostics,
}

impl Default for TokenBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl TokenBuilder {
    /// No tokens yet.
    pub fn new() -> Self {
        TokenBuilder { tokens: vec![], spans: vec![], run: vec![], diagnostics: Diagnostics::new() }
    }

    fn push(&mut self, token: Token, span: Span) {
        self.cut_run();
        self.tokens.push(token);
        self.spans.push(span);
    }

    /// A word: a name, a keyword or a reserved word. `r#name` is reported.
    pub fn word(&mut self, text: &str, span: Span) {
        let token = if let Some(keyword) = Token::keyword(text) {
            keyword
        } else if RESERVED.contains(&text) {
            Token::Reserved(text.into())
        } else if let Some(name) = text.strip_prefix("r#") {
            let message = format!("raw identifiers such as `{text}` are not part of the language");
            self.report(
                Diagnostic::error(codes::RAW_IDENTIFIER, message)
                    .primary(span, "raw identifier")
                    .help(format!("choose another name than `{name}`")),
            );
            Token::Bad
        } else {
            Token::Ident(text.into())
        };
        self.push(token, span);
    }

    /// A number, string or other literal as the Rust lexer prints it.
    pub fn literal(&mut self, text: &str, span: Span) {
        if let Some(positive) = text.strip_prefix('-') {
            self.push(Token::Minus, span.start());
            return self.literal(positive, span);
        }
        match literal::parse(text, span) {
            Ok(token) => self.push(token, span),
            Err(error) => {
                self.report(error.diagnostic);
                self.push(error.token, span);
            }
        }
    }

    /// A documentation comment, by the text behind its mark.
    pub fn doc(&mut self, text: &str, inner: bool, span: Span) {
        let text = text.into();
        self.push(if inner { Token::InnerDoc(text) } else { Token::Doc(text) }, span);
    }

    /// A punctuation character; `joint` where the next one follows without a blank. Characters that no operator has are reported.
    pub fn punct(&mut self, ch: char, span: Span, joint: bool) {
        self.run.push((ch, span));
        if !joint {
            self.cut_run();
        }
    }

    /// An opening or closing delimiter: one of `( ) [ ] { }`.
    pub fn delimiter(&mut self, ch: char, span: Span) {
        let token = match ch {
            '(' => Token::OpenParen,
            ')' => Token::CloseParen,
            '[' => Token::OpenBracket,
            ']' => Token::CloseBracket,
            '{' => Token::OpenBrace,
            '}' => Token::CloseBrace,
            _ => return self.punct(ch, span, false),
        };
        self.push(token, span);
    }

    /// A character or text that fits nowhere, with what to tell about it.
    pub fn bad(&mut self, span: Span, diagnostic: Diagnostic) {
        self.report(diagnostic);
        self.push(Token::Bad, span);
    }

    /// Tells something without adding a token.
    pub fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// Cuts the pending run of punctuation characters, longest match first.
    fn cut_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        let mut at = 0;
        while at < run.len() {
            let longest = (1..=LONGEST.min(run.len() - at)).rev().find_map(|len| {
                let text: String = run[at..at + len].iter().map(|(ch, _)| *ch).collect();
                Some((Token::punctuation(&text)?, len))
            });
            let Some((mut token, len)) = longest else {
                let (ch, span) = run[at];
                self.diagnostics.push(literal::unknown_character(ch, span));
                self.tokens.push(Token::Bad);
                self.spans.push(span);
                at += 1;
                continue;
            };
            if token == Token::Gt && run.get(at + 1).is_some_and(|(ch, _)| *ch == '>') {
                token = Token::GtJoint;
            }
            self.tokens.push(token);
            self.spans.push(run[at].1.merge(run[at + len - 1].1));
            at += len;
        }
    }

    /// The tokens, with documentation attributes made documentation, and what was reported. `file_span` covers the whole input.
    pub fn finish(mut self, file_span: Span) -> (Tokens, Diagnostics) {
        self.cut_run();
        let mut tokens = Tokens { tokens: vec![], spans: vec![], comments: vec![], file_span };
        let mut at = 0;
        while at < self.tokens.len() {
            if let Some((token, len)) = doc_attribute(&self.tokens[at..]) {
                tokens.tokens.push(token);
                tokens.spans.push(self.spans[at].merge(self.spans[at + len - 1]));
                at += len;
            } else {
                tokens.tokens.push(std::mem::replace(&mut self.tokens[at], Token::Bad));
                tokens.spans.push(self.spans[at]);
                at += 1;
            }
        }
        (tokens, self.diagnostics)
    }
}

/// `#[doc = ".."]` or `#![doc = ".."]` at the start of `tokens`, as documentation, with its number of tokens.
fn doc_attribute(tokens: &[Token]) -> Option<(Token, usize)> {
    let inner = tokens.get(1) == Some(&Token::Not);
    let rest = tokens.get(1 + usize::from(inner)..)?;
    match (tokens, rest) {
        ([Token::Hash, ..], [Token::OpenBracket, Token::Ident(name), Token::Eq, Token::Str(text), Token::CloseBracket, ..])
            if &**name == "doc" =>
        {
            let text = text.clone();
            Some(if inner { (Token::InnerDoc(text), 7) } else { (Token::Doc(text), 6) })
        }
        _ => None,
    }
}
