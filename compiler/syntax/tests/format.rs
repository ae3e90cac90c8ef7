//! The formatter keeps what a file means, and formatting twice is formatting once.

use kiln_syntax::fmt::format;
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
        if let Ok(folder) = std::env::var("KILN_FMT_OUT") {
            std::fs::write(format!("{folder}/{name}"), &once).expect("a writable folder");
        }
    }
}
