//! Any text: the front end does not panic, its labels lie within the text, and the formatter keeps the tree and is stable.
#![no_main]

use kiln_syntax::dump::dump;
use kiln_syntax::fmt::{FormatError, format};
use kiln_syntax::parse::parse;
use kiln_syntax::render::{Color, render_all};
use kiln_syntax::source::SourceMap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut sources = SourceMap::new();
    let file = sources.add("fuzz.kiln", text);
    let (tree, diagnostics) = parse(&sources, file);
    for d in &diagnostics {
        let fixes = d.helps.iter().filter_map(|h| h.suggestion.as_ref()).map(|s| s.span);
        for span in d.labels.iter().map(|l| l.span).chain(fixes) {
            assert!(text.get(span.range()).is_some(), "{span:?} is not a part of the text");
        }
    }
    render_all(&diagnostics, &sources, Color::Never);
    dump(&tree);
    match format(&sources, file) {
        Ok(once) => {
            let again = sources.add("once.kiln", once.as_str());
            let twice = format(&sources, again).expect("the formatter's result has no syntax errors");
            assert_eq!(once, twice, "formatting is not stable");
        }
        Err(FormatError::Syntax(errors)) => assert!(errors.has_errors()),
        Err(FormatError::Internal(what)) => panic!("{what}"),
    }
});
