//! The lexical rules: from text, and from the token trees a Rust macro receives.

use kiln_syntax::codes::{self, Code};
use kiln_syntax::dump::dump;
use kiln_syntax::lex::lex;
use kiln_syntax::parse::{parse, parse_tokens};
use kiln_syntax::source::SourceMap;
use kiln_syntax::span::{FileId, Span};
use kiln_syntax::tokens::{Token, TokenBuilder};
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

fn tokens(text: &str) -> Vec<Token> {
    let mut sources = SourceMap::new();
    let file = sources.add("a.kiln", text);
    let (tokens, diagnostics) = lex(&sources, file);
    assert!(diagnostics.is_empty(), "{text}: {:?}", diagnostics.into_vec());
    tokens.tokens
}

fn errors(text: &str) -> Vec<Code> {
    let mut sources = SourceMap::new();
    let file = sources.add("a.kiln", text);
    lex(&sources, file).1.iter().map(|d| d.code).collect()
}

fn words(text: &str) -> Vec<String> {
    tokens(text).iter().map(|t| t.fixed_text().map_or_else(|| t.describe().into_owned(), str::to_string)).collect()
}

fn name(text: &str) -> Token {
    Token::Ident(text.into())
}

#[test]
fn names_keywords_and_reserved_words() {
    assert_eq!(
        tokens("kernel kernels _ _a __ é行 inf f32"),
        [Token::Kernel, name("kernels"), Token::Underscore, name("_a"), name("__"), name("é行"), name("inf"), name("f32"),]
    );
    assert_eq!(tokens("match Self gen"), ["match", "Self", "gen"].map(|w| Token::Reserved(w.into())));
    assert_eq!(
        tokens("grid requires None true false as"),
        [Token::Grid, Token::Requires, Token::None, Token::True, Token::False, Token::As]
    );
}

#[test]
fn longest_match_and_joined_angle_brackets() {
    assert_eq!(words("a<<=b>>=c<=d>=e==f!=g"), words("a <<= b >>= c <= d >= e == f != g"));
    assert_eq!(words("..+ ..-x ..=y =-z"), ["..", "+", "..", "-", "name `x`", "..=", "name `y`", "=", "-", "name `z`"]);
    assert_eq!(words("[:,:] x[::]"), ["[", ":", ",", ":", "]", "name `x`", "[", "::", "]"]);
    assert_eq!(tokens(">> > >"), [Token::GtJoint, Token::Gt, Token::Gt, Token::Gt]);
    assert_eq!(tokens(">>>"), [Token::GtJoint, Token::GtJoint, Token::Gt]);
    assert_eq!(tokens(">>=>?"), [Token::ShrEq, Token::Gt, Token::Question]);
    assert_eq!(tokens("->>"), [Token::Arrow, Token::Gt]);
    assert_eq!(tokens("&&&|||"), [Token::AndAnd, Token::And, Token::OrOr, Token::Or]);
    assert_eq!(tokens("a</* c */b+// d\n+c"), [name("a"), Token::Lt, name("b"), Token::Plus, Token::Plus, name("c")]);
}

#[test]
fn numbers() {
    let int = |v: u128, s: Option<&str>| Token::Int(v, s.map(Into::into));
    assert_eq!(
        tokens("0 007 1_000 8u8 5index 1f32 0xFF 0xff_u16 0o17 0b1_0u8 12_i64"),
        [
            int(0, None),
            int(7, None),
            int(1000, None),
            int(8, Some("u8")),
            int(5, Some("index")),
            int(1, Some("f32")),
            int(255, None),
            int(255, Some("u16")),
            int(15, None),
            int(2, Some("u8")),
            int(12, Some("i64")),
        ]
    );
    assert_eq!(tokens("340282366920938463463374607431768211455"), [int(u128::MAX, None)]);
    let floats = ["1.0", "1e-5f32", "0.5bf16", "2.5e3", "1E+4", "1_0.0_1f64", "1e400"];
    let values = [1.0, 1e-5, 0.5, 2500.0, 1e4, 10.01, f64::INFINITY];
    for (text, value) in floats.iter().zip(values) {
        match tokens(text).as_slice() {
            [Token::Float(f)] => assert_eq!(f.value, value, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    // A point belongs to a number only between digits.
    assert_eq!(
        words("0..N 1..2 2.max(x) 1.e5()"),
        [
            "number `0`",
            "..",
            "name `N`",
            "number `1`",
            "..",
            "number `2`",
            "number `2`",
            ".",
            "name `max`",
            "(",
            "name `x`",
            ")",
            "number `1`",
            ".",
            "name `e5`",
            "(",
            ")"
        ]
    );
    assert_eq!(words("t.0.1"), ["name `t`", ".", "number `0.1`"]);
    assert_eq!(words("1f32-5"), ["number `1f32`", "-", "number `5`"]);
}

#[test]
fn wrong_literals_have_codes() {
    for (text, code) in [
        ("1.", codes::POINT_WITHOUT_DIGITS),
        ("f(1.)", codes::POINT_WITHOUT_DIGITS),
        ("1e", codes::EMPTY_EXPONENT),
        ("1.5e-", codes::EMPTY_EXPONENT),
        ("1.5i32", codes::INTEGER_SUFFIX),
        ("12abc", codes::UNKNOWN_SUFFIX),
        ("1u7", codes::UNKNOWN_SUFFIX),
        ("0x", codes::NO_DIGITS),
        ("0b_", codes::NO_DIGITS),
        ("0b12", codes::DIGIT_OUT_OF_BASE),
        ("0o8", codes::NO_DIGITS),
        ("340282366920938463463374607431768211456", codes::INTEGER_TOO_LARGE),
        ("\"open", codes::UNTERMINATED_STRING),
        ("\"\\q\"", codes::BAD_ESCAPE),
        ("\"\\u{d800}\"", codes::BAD_ESCAPE),
        ("b\"bytes\"", codes::STRING_PREFIX),
        ("r#\"raw\"#", codes::STRING_PREFIX),
        ("'a'", codes::SINGLE_QUOTE),
        ("'label", codes::SINGLE_QUOTE),
        ("r#type", codes::RAW_IDENTIFIER),
        ("@", codes::UNKNOWN_CHARACTER),
        ("/* /* */", codes::UNTERMINATED_COMMENT),
        ("a\u{feff}", codes::UNKNOWN_CHARACTER),
    ] {
        assert_eq!(errors(text), [code], "{text}");
    }
    // Neighbouring unknown characters are one mistake.
    assert_eq!(errors("！！！ $"), [codes::UNKNOWN_CHARACTER, codes::UNKNOWN_CHARACTER]);
}

#[test]
fn strings_and_documentation() {
    assert_eq!(tokens(r#""a\n\t\\\"\x41\u{e9}""#), [Token::Str("a\n\t\\\"Aé".into())]);
    assert_eq!(tokens("\"a\\\n   b\""), [Token::Str("ab".into())]);
    let doc = |t: &str| Token::Doc(t.into());
    assert_eq!(tokens("/// a\r\n//// plain\n/** b */ /*** plain */ /**/ #[doc = \" c\"]"), [doc(" a"), doc(" b "), doc(" c")]);
    assert_eq!(tokens("//! a\n/*! b */ #![doc = \"c\"]"), [" a", " b ", "c"].map(|t| Token::InnerDoc(t.into())));
    assert_eq!(tokens("#[doc(x)]").len(), 7);
    assert_eq!(tokens("\u{feff}// bom\n/* a /* b */ c */ x"), [name("x")]);
    assert_eq!(tokens(""), []);
}

/// Feeds what a function-like macro receives, as the macro crate does: spans count tokens.
fn feed(stream: TokenStream, builder: &mut TokenBuilder, at: &mut usize) {
    for tree in stream {
        *at += 2;
        let span = Span::new(FileId(0), *at, *at + 1);
        match tree {
            TokenTree::Ident(ident) => builder.word(&ident.to_string(), span),
            TokenTree::Literal(literal) => builder.literal(&literal.to_string(), span),
            TokenTree::Punct(punct) => builder.punct(punct.as_char(), span, punct.spacing() == Spacing::Joint),
            TokenTree::Group(group) => {
                let delimiters = match group.delimiter() {
                    Delimiter::Parenthesis => Some(('(', ')')),
                    Delimiter::Bracket => Some(('[', ']')),
                    Delimiter::Brace => Some(('{', '}')),
                    Delimiter::None => None,
                };
                if let Some((open, _)) = delimiters {
                    builder.delimiter(open, span);
                }
                feed(group.stream(), builder, at);
                if let Some((_, close)) = delimiters {
                    *at += 2;
                    builder.delimiter(close, Span::new(FileId(0), *at, *at + 1));
                }
            }
        }
    }
}

fn macro_tree(text: &str) -> (String, Vec<Code>) {
    let stream: TokenStream = text.parse().unwrap_or_else(|e| panic!("{e}: {text}"));
    let mut builder = TokenBuilder::new();
    let mut end = 0;
    feed(stream, &mut builder, &mut end);
    let (tokens, diagnostics) = builder.finish(Span::new(FileId(0), 0, end + 2));
    let (tree, diagnostics) = parse_tokens(tokens, diagnostics);
    (dump(&tree), diagnostics.iter().map(|d| d.code).collect())
}

/// Every kernel gives the same tree as a file and as the input of a macro.
#[test]
fn macro_input_gives_the_same_tree() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/language_cases");
    let mut texts = vec![include_str!("dump/every_node.kiln").to_string()];
    for entry in std::fs::read_dir(folder).expect("the cases are there") {
        texts.push(std::fs::read_to_string(entry.expect("an entry").path()).expect("a readable case"));
    }
    for text in texts {
        let mut sources = SourceMap::new();
        let file = sources.add("a.kiln", text.as_str());
        let (tree, diagnostics) = parse(&sources, file);
        assert!(diagnostics.is_empty());
        assert_eq!(macro_tree(&text), (dump(&tree), vec![]), "{text}");
    }
}

#[test]
fn macro_input_is_checked_alike() {
    let cases = [
        ("const A: i32 = 'a' + 1;", codes::SINGLE_QUOTE),
        ("const A: i32 = 1 @ 2;", codes::UNKNOWN_CHARACTER),
        ("const A: f32 = f(1.);", codes::POINT_WITHOUT_DIGITS),
        ("const A: f32 = b\"x\";", codes::STRING_PREFIX),
        ("const A: f32 = r\"x\";", codes::STRING_PREFIX),
        ("const r#type: f32 = 1.0;", codes::RAW_IDENTIFIER),
        ("const A: bool = a < b < c;", codes::COMPARISON_CHAIN),
        ("fn f(x: tile<f32, [N]>= 1) {}", codes::GLUED_DEFAULT),
        ("fn f() { loop { } }", codes::RESERVED_WORD),
    ];
    for (text, code) in cases {
        assert_eq!(macro_tree(text).1, [code], "{text}");
    }
    // Literals built by other macros may be negative, and groups may have no delimiters.
    let mut builder = TokenBuilder::new();
    let span = Span::new(FileId(0), 0, 1);
    builder.literal("-1i32", span);
    let (tokens, diagnostics) = builder.finish(span);
    assert!(diagnostics.is_empty());
    assert_eq!(tokens.tokens, [Token::Minus, Token::Int(1, Some("i32".into()))]);
}
