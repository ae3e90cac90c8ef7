//! What users are told about their mistakes: one file a mistake, one reviewed snapshot each.

use kiln_syntax::parse::parse;
use kiln_syntax::render::{Color, render_all};
use kiln_syntax::source::SourceMap;

#[test]
fn messages() {
    insta::glob!("errors/*.kiln", |path| {
        let text = std::fs::read_to_string(path).expect("a readable case");
        let mut sources = SourceMap::new();
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let file = sources.add(name, text);
        let (_, diagnostics) = parse(&sources, file);
        assert!(diagnostics.has_errors());
        insta::assert_snapshot!(render_all(&diagnostics, &sources, Color::Never));
    });
}
