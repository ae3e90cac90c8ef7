//! The formatter keeps what a file means, and formatting twice is formatting once.

use kiln_syntax::fmt::{FormatError, format};
use kiln_syntax::source::SourceMap;

fn formatted(name: &str, text: &str) -> String {
    let mut sources = SourceMap::new();
    let file = sources.add(name, text);
    match format(&sources, file) {
        Ok(text) => text,
        Err(error) => panic!("{name}: {error}\n{text}"),
    }
}

fn cases() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/language_cases");
    let mut cases: Vec<_> = std::fs::read_dir(folder)
        .expect("the cases are there")
        .map(|entry| {
            let path = entry.expect("a readable folder").path();
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("a readable case"))
        })
        .collect();
    cases.sort();
    cases
}

#[test]
fn language_cases_are_stable() {
    for (name, text) in cases() {
        let once = formatted(&name, &text);
        let twice = formatted(&name, &once);
        assert_eq!(once, twice, "{name}");
    }
}

/// How things look: one file, one reviewed snapshot each.
#[test]
fn layouts() {
    insta::glob!("format/*.kiln", |path| {
        let text = std::fs::read_to_string(path).expect("a readable case");
        insta::assert_snapshot!(formatted("layout.kiln", &text));
    });
}

#[test]
fn edges() {
    assert_eq!(formatted("empty", ""), "");
    assert_eq!(formatted("blank", " \n\n"), "");
    assert_eq!(formatted("bom", "\u{feff}const A: i32 = 1;"), "const A: i32 = 1;\n");
    assert_eq!(formatted("comment", "\n\n  // only a comment  \n\n"), "// only a comment\n");
    assert_eq!(formatted("crlf", "// a\r\nfn f() {\r\n  g();\r\n}\r\n"), "// a\nfn f() {\n    g();\n}\n");
    assert_eq!(
        formatted("tuples", "fn f() { let (a,) = ((1),); let (b) = (2,3,); }"),
        "fn f() { let (a,) = ((1),); let (b) = (2, 3); }\n"
    );
}

#[test]
fn files_with_errors_are_refused() {
    let mut sources = SourceMap::new();
    let file = sources.add("bad.kiln", "const A: i32 = ;");
    match format(&sources, file) {
        Err(FormatError::Syntax(diagnostics)) => assert_eq!(diagnostics.error_count(), 1),
        other => panic!("{other:?}"),
    }
}
