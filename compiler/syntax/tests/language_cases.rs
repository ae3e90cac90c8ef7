//! Every kernel the language must express parses without a word from the front end.

use kiln_syntax::parse::parse;
use kiln_syntax::render::{Color, render_all};
use kiln_syntax::source::SourceMap;

#[test]
fn every_case_parses() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/language_cases");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the cases are there") {
        let path = entry.expect("a readable folder").path();
        let text = std::fs::read_to_string(&path).expect("a readable case");
        let mut sources = SourceMap::new();
        let file = sources.add(path.display().to_string(), text);
        let (tree, diagnostics) = parse(&sources, file);
        assert!(diagnostics.is_empty(), "{}", render_all(&diagnostics, &sources, Color::Never));
        assert!(!tree.items.is_empty());
        count += 1;
    }
    assert!(count >= 37, "only {count} cases were found");
}
