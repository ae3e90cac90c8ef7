//! Mistakes that users make, and what they are told: every file of tests/filetests/errors against a reviewed snapshot of its diagnostics.

use std::path::{Path, PathBuf};

use kiln_sema::{LoadedFile, ModuleLoader, Program};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostics;
use kiln_syntax::render::{Color, render_all};
use kiln_syntax::source::SourceMap;

struct NoFiles;

impl ModuleLoader for NoFiles {
    fn load(&self, _: &str, path: &[String]) -> Result<LoadedFile, String> {
        Err(format!("there is no file {}.kiln", path.join("/")))
    }
}

fn dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/filetests/errors")
}

fn diagnose(name: &str, text: &str) -> (Diagnostics, String) {
    let mut sources = SourceMap::new();
    let root = sources.add(name.to_owned(), text);
    let (program, mut diagnostics) = Program::load(&mut sources, root, &NoFiles);
    diagnostics.extend(program.check());
    let rendered = render_all(&diagnostics, &sources, Color::Never);
    (diagnostics, rendered)
}

#[test]
fn mistakes_are_explained() {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir()).expect("the files").map(|e| e.expect("an entry").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "kiln"));
    files.sort();
    assert!(files.len() >= 60, "only {} files", files.len());
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(dir().join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let mut failures = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let stem = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let (diagnostics, rendered) = diagnose(&format!("{stem}.kiln"), &text);
        if diagnostics.has_errors() == stem.starts_with("warn_") || diagnostics.is_empty() {
            failures.push(format!("{stem}: {} diagnostics", diagnostics.len()));
        }
        let shown = format!("{text}\n{}", rendered.trim_end());
        let matches = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            settings.bind(|| insta::assert_snapshot!(stem.clone(), shown))
        }));
        if matches.is_err() {
            failures.push(format!("{stem}: another snapshot"));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// The examples of the codes do what they show: wrong ones report their code, right ones nothing at all.
#[test]
fn examples_of_codes_report_their_code() {
    let mut failures = String::new();
    for entry in codes::all() {
        let code = entry.code.as_str();
        if !("K0200".."K0900").contains(&code) && code < "K2000" {
            continue;
        }
        let mut rest = entry.explanation;
        while let Some(start) = rest.find("```kiln") {
            let block = &rest[start + "```kiln".len()..];
            let Some((info, body)) = block.split_once('\n') else { break };
            let Some((text, after)) = body.split_once("```") else { break };
            let (diagnostics, rendered) = diagnose("example.kiln", text);
            if info == ",error" {
                if !diagnostics.iter().any(|d| d.code.as_str() == code) {
                    failures += &format!("{code} is not reported for\n{text}\n{rendered}\n");
                }
            } else if diagnostics.has_errors() {
                failures += &format!("{code}: the right example is refused\n{text}\n{rendered}\n");
            }
            rest = after;
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
