//! The registry of codes: unique, in range, explained, and the examples do what they are there for.

use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostics;
use kiln_syntax::parse::parse;
use kiln_syntax::render::{Color, render_all};
use kiln_syntax::source::SourceMap;
use std::collections::HashSet;

/// The code blocks of an explanation: the words behind ``` and the text.
fn blocks(markdown: &str) -> Vec<(String, String)> {
    let mut blocks = vec![];
    let mut open: Option<(String, String)> = None;
    for line in markdown.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => open = Some((info.to_string(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, text))) => *text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a code block is not closed");
    blocks
}

fn check(text: &str) -> (Diagnostics, String) {
    let mut sources = SourceMap::new();
    let file = sources.add("example.kiln", text);
    let (_, diagnostics) = parse(&sources, file);
    let rendered = render_all(&diagnostics, &sources, Color::Never);
    (diagnostics, rendered)
}

#[test]
fn codes_are_unique_and_well_formed() {
    let mut seen = HashSet::new();
    for entry in codes::all() {
        let code = entry.code.as_str();
        assert!(seen.insert(code), "{code} is there twice");
        assert!(code.len() == 5 && code.starts_with('K') && code[1..].parse::<u32>().is_ok(), "{code}");
        assert!(!entry.title.is_empty() && !entry.title.ends_with('.'), "{code}: {}", entry.title);
        assert!(entry.explanation.len() > 60, "{code} is not explained");
    }
    assert!(seen.len() > 40);
    assert_eq!(codes::find("k0102").map(|e| e.code), Some(codes::COMPARISON_CHAIN));
    assert!(codes::find("K9999").is_none());
}

/// Examples parse; those of lexical and syntax codes that are wrong on purpose report just their code.
#[test]
fn examples_do_what_they_show() {
    for entry in codes::all() {
        let code = entry.code.as_str();
        let syntax = code < "K0200";
        for (info, text) in blocks(entry.explanation) {
            let (diagnostics, rendered) = check(&text);
            match info.as_str() {
                "kiln" => assert!(diagnostics.is_empty(), "{code}:\n{rendered}"),
                "kiln,error" if syntax => {
                    let found: Vec<_> = diagnostics.iter().map(|d| d.code.as_str()).collect();
                    assert_eq!(found, [code], "{text}\n{rendered}");
                }
                "kiln,error" => assert!(diagnostics.is_empty(), "{code} parses:\n{rendered}"),
                _ => {}
            }
        }
    }
}

/// Every lexical and syntax code has an example of both kinds (but the limits, whose erroneous examples would fill a page).
#[test]
fn syntax_codes_have_examples() {
    for entry in codes::all().filter(|e| e.code.as_str() < "K0200") {
        let kinds: Vec<String> = blocks(entry.explanation).into_iter().map(|(info, _)| info).collect();
        assert!(kinds.iter().any(|k| k == "kiln"), "{} lacks a right example", entry.code);
        let limit = [codes::TOO_DEEP, codes::MORE_ERRORS].contains(&entry.code);
        assert!(limit || kinds.iter().any(|k| k == "kiln,error"), "{}", entry.code);
    }
}
