//! Properties over random inputs: nothing panics, positions are sound, and formatting keeps the tree and is stable.

use kiln_syntax::codes::MORE_ERRORS;
use kiln_syntax::diagnostic::Diagnostics;
use kiln_syntax::dump::dump;
use kiln_syntax::fmt::{FormatError, format};
use kiln_syntax::lex::lex;
use kiln_syntax::parse::parse;
use kiln_syntax::render::{Color, render_all};
use kiln_syntax::source::SourceMap;
use kiln_syntax::tokens::Token;
use proptest::prelude::*;
use std::sync::LazyLock;

static CASES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut texts = vec![include_str!("dump/every_node.kiln").to_string()];
    let folders = ["/../../tests/conformance/language_cases", "/tests/errors"];
    for folder in folders {
        let folder = format!("{}{folder}", env!("CARGO_MANIFEST_DIR"));
        let mut paths: Vec<_> = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("an entry").path()).collect();
        paths.sort();
        texts.extend(paths.iter().map(|p| std::fs::read_to_string(p).expect("a readable case")));
    }
    texts
});

/// Parses and renders; checks that every label lies within the text, on character boundaries.
fn parsed(text: &str) -> (String, Diagnostics) {
    let mut sources = SourceMap::new();
    let file = sources.add("random.kiln", text);
    let (tree, diagnostics) = parse(&sources, file);
    for d in &diagnostics {
        assert!(!d.labels.is_empty() || d.code == MORE_ERRORS, "{d:?}");
        let fixes = d.helps.iter().filter_map(|h| h.suggestion.as_ref()).map(|s| s.span);
        for span in d.labels.iter().map(|l| l.span).chain(fixes) {
            assert!(text.get(span.range()).is_some(), "{span:?} in {text:?}");
        }
    }
    render_all(&diagnostics, &sources, Color::Always);
    (dump(&tree), diagnostics)
}

/// Formats what is right; checks that the tree stays and that formatting again changes nothing.
fn check_format(text: &str) {
    let (before, diagnostics) = parsed(text);
    let mut sources = SourceMap::new();
    let file = sources.add("random.kiln", text);
    let once = match format(&sources, file) {
        Ok(once) => once,
        Err(FormatError::Syntax(_)) => {
            assert!(diagnostics.has_errors());
            return;
        }
        Err(FormatError::Internal(what)) => panic!("{what}\n{text}"),
    };
    let (after, _) = parsed(&once);
    assert_eq!(before, after, "formatting changed the tree of\n{text}\nto\n{once}");
    let file = sources.add("once.kiln", once.as_str());
    let twice = format(&sources, file).unwrap_or_else(|e| panic!("{e}\n{once}"));
    assert_eq!(once, twice, "formatting is not stable for\n{text}");
}

/// The tokens of a text as texts, and whether a blank may stand behind each.
fn token_texts(text: &str) -> Vec<(String, bool)> {
    let mut sources = SourceMap::new();
    let file = sources.add("case.kiln", text);
    let (tokens, _) = lex(&sources, file);
    let list = tokens.tokens.iter().zip(&tokens.spans);
    list.map(|(t, s)| (text[s.range()].to_string(), *t != Token::GtJoint)).collect()
}

const FILLERS: &[&str] = &[
    " ",
    " ",
    " ",
    " ",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\n\n\n",
    "\t",
    " /* c */ ",
    " /* d */",
    " // c\n",
    "\n// own line\n",
    "\n\n// own line\n\n",
    "\n/* own */\n",
    " /* two\nlines */ ",
];

const SOUP: &[&str] = &[
    "kernel",
    "fn",
    "const",
    "use",
    "let",
    "mut",
    "for",
    "in",
    "while",
    "if",
    "else",
    "return",
    "as",
    "None",
    "true",
    "grid",
    "requires",
    "_",
    "::",
    "->",
    "..",
    "==",
    "<=",
    ">=",
    "&&",
    "||",
    "<<",
    "+=",
    ">>=",
    ",",
    ";",
    ":",
    "?",
    "#",
    ".",
    "=",
    "+",
    "-",
    "*",
    "/",
    "&",
    "|",
    "!",
    "<",
    ">",
    ">>",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "x",
    "f32",
    "T",
    "N",
    "1",
    "2.5",
    "0u8",
    "\"s\"",
    "/// doc\n",
    "//! doc\n",
    "// c\n",
    "break",
    "match",
    "loop",
    "@",
    "'a",
    "..=",
    "=>",
    "1.",
    ".5",
    "\"open",
    "/*",
    "tensor<f32, [N]>",
    "kernel k() grid [1] {",
    "}\n",
    "\n",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_survived(text in any::<String>()) {
        check_format(&text);
    }

    #[test]
    fn token_soup_is_survived(words in prop::collection::vec((0..SOUP.len(), any::<bool>()), 0..80)) {
        let text: String = words.iter().map(|(i, blank)| format!("{}{}", SOUP[*i], if *blank { " " } else { "" })).collect();
        check_format(&text);
    }

    /// Kernels with tokens left out, doubled, replaced or swapped.
    #[test]
    fn mutated_kernels_are_survived(case in any::<prop::sample::Index>(), edits in prop::collection::vec((any::<prop::sample::Index>(), 0..4u8, 0..SOUP.len()), 1..6)) {
        let spaced = |(text, joint): (String, bool)| match (joint, text.starts_with("//")) {
            (_, true) => text + "\n",
            (true, _) => text + " ",
            (false, _) => text,
        };
        let mut words: Vec<String> = token_texts(case.get::<String>(&CASES)).into_iter().map(spaced).collect();
        for (at, kind, word) in edits {
            if words.is_empty() {
                break;
            }
            let at = at.index(words.len());
            match kind {
                0 => { words.remove(at); }
                1 => words.insert(at, words[at].clone()),
                2 => words[at] = format!("{} ", SOUP[word]),
                _ => { let other = words.len() - 1 - at; words.swap(at, other); }
            }
        }
        check_format(&words.concat());
    }

    /// A file cut off anywhere.
    #[test]
    fn cut_kernels_are_survived(case in any::<prop::sample::Index>(), at in any::<prop::sample::Index>()) {
        let text = case.get::<String>(&CASES);
        let ends: Vec<usize> = text.char_indices().map(|(i, _)| i).collect();
        let at = if ends.is_empty() { 0 } else { ends[at.index(ends.len())] };
        check_format(&text[..at]);
        check_format(&text[at..]);
    }

    /// Other blanks, newlines and comments between the tokens: the same tree, and a stable layout.
    #[test]
    fn respaced_kernels_keep_their_tree(case in any::<prop::sample::Index>(), fillers in prop::collection::vec(0..FILLERS.len(), 64)) {
        let original = case.get::<String>(&CASES);
        let words = token_texts(original);
        let mut text = String::new();
        for (i, (word, blank)) in words.iter().enumerate() {
            text.push_str(word);
            // Line documentation reaches to the end of its line.
            if word.starts_with("//") {
                text.push('\n');
            } else if *blank {
                text.push_str(FILLERS[fillers[(i * 7 + i / 64) % fillers.len()]]);
            }
        }
        let (before, diagnostics) = parsed(original);
        if !diagnostics.has_errors() {
            assert_eq!(parsed(&text).0, before, "{text}");
        }
        check_format(&text);
    }
}

/// A file full of mistakes is told so, shortly.
#[test]
fn errors_are_limited() {
    for text in ["@ ".repeat(500), "let = 3; ".repeat(500), ") ".repeat(500)] {
        let (_, diagnostics) = parsed(&text);
        assert!(diagnostics.len() <= 101);
        assert_eq!(diagnostics.iter().last().map(|d| d.code), Some(MORE_ERRORS));
    }
}

/// Deep nesting of every kind is refused before it can overflow the stack, and trees close to the limit are walked on a small one.
#[test]
fn deep_nesting_is_refused() {
    let shapes: &[(&str, &str, &str)] = &[
        ("(", "1", ")"),
        ("[", "1", "]"),
        ("-", "1", ""),
        ("!", "1", ""),
        ("f(", "1", ")"),
        ("x[", "1", "]"),
        ("1 + ", "1", ""),
        ("1 + (", "1", ")"),
        ("", "x", " as f32"),
        ("", "x", ".f()"),
        ("", "x", "[0]"),
        ("f::<{ ", "1", " }>()"),
        ("f(|a| { ", "1", " })"),
        ("1 + f::<{1}>() + ", "1", ""),
        ("(if a { ", "1", " } else { 2 })"),
        ("if a { 1 } else ", "{ 2 }", ""),
        ("f::<", "1", ">()"),
        ("f::<a = ", "1", ">()"),
        ("g::<tile<", "f32", ">>()"),
        ("f::<-1, fn(", "f32", ") -> f32>()"),
        ("f::<fn() -> ", "f32", ">()"),
    ];
    for (open, inner, close) in shapes {
        for count in [40, 60, 80, 100, 120, 250, 100_000] {
            let value = format!("{}{inner}{}", open.repeat(count), close.repeat(count));
            let text = format!("const A: i32 = {value};\nfn f() {{ let a = {value}; }}\n");
            let run = move || {
                let mut sources = SourceMap::new();
                let file = sources.add("deep.kiln", text);
                let (tree, diagnostics) = parse(&sources, file);
                let deep = diagnostics.iter().any(|d| d.code == kiln_syntax::codes::TOO_DEEP);
                assert!(deep || count < 1000, "{open}..{close} x {count}");
                assert!(!deep || count > 40, "{open}..{close} x {count}");
                let copy = dump(&tree);
                let _ = format(&sources, file);
                drop(tree);
                assert!(!copy.is_empty());
            };
            let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(run).expect("a thread");
            assert!(thread.join().is_ok(), "{open}..{close} x {count}");
        }
    }
    // Blocks in blocks, and a long file that is not deep.
    let blocks = format!("fn f() {{ {}{} }}", "if a { ".repeat(100_000), "}".repeat(100_000));
    assert!(parsed(&blocks).1.iter().any(|d| d.code == kiln_syntax::codes::TOO_DEEP));
    let long =
        format!("fn f() {{ {} }}\n", "let a = (b + 1) * f(x[0]); if a { b = 1; } else { b = 2; }\n".repeat(2000)).repeat(3);
    assert!(parsed(&long).1.is_empty());
}
