//! Every kernel of the language's acceptance list checks without a diagnostic, instantiates for several specializations, and passes the verifier.

use std::path::Path;

use kiln_ir::verify::verify;
use kiln_sema::{LoadedFile, ModuleLoader, Program};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostics;
use kiln_syntax::render::{Color, render_all};
use kiln_syntax::source::SourceMap;
use kiln_tests::language_cases::{files, specializations};

struct NoFiles;

impl ModuleLoader for NoFiles {
    fn load(&self, _: &str, path: &[String]) -> Result<LoadedFile, String> {
        Err(format!("no file {}", path.join("/")))
    }
}

fn load(path: &Path) -> (SourceMap, Program, Diagnostics) {
    let mut sources = SourceMap::new();
    let text = std::fs::read_to_string(path).expect("readable");
    let root = sources.add(path.file_name().expect("a name").to_string_lossy().into_owned(), text);
    let (program, diagnostics) = Program::load(&mut sources, root, &NoFiles);
    (sources, program, diagnostics)
}

#[test]
fn every_case_checks() {
    let mut failures = String::new();
    for path in files() {
        let (sources, program, mut diagnostics) = load(&path);
        diagnostics.extend(program.check());
        // The files of whole sections keep the imports of the page they come from.
        let section = path.file_stem().is_some_and(|s| s.to_string_lossy().starts_with("section_"));
        if diagnostics.iter().any(|d| !(section && d.code == codes::UNUSED_IMPORT)) {
            failures += &render_all(&diagnostics, &sources, Color::Never);
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

/// The standard library is checked like any other file.
#[test]
fn the_standard_library_checks() {
    let mut sources = SourceMap::new();
    let uses: String = kiln_std::MODULES.iter().map(|(m, _)| format!("use std::{m};\n")).collect();
    let root = sources.add("root.kiln", uses);
    let (program, mut diagnostics) = Program::load(&mut sources, root, &NoFiles);
    diagnostics.extend(program.check_std());
    assert!(diagnostics.is_empty(), "{}", render_all(&diagnostics, &sources, Color::Never));
}

#[test]
fn every_case_instantiates_and_verifies() {
    let mut failures = String::new();
    for path in files() {
        let (sources, program, _) = load(&path);
        for signature in program.kernels() {
            for spec in specializations(signature) {
                match program.instantiate(&signature.name, &spec) {
                    Err(diagnostics) => {
                        failures += &format!("{} {:?} {:?}\n", signature.name, spec.types, spec.consts);
                        failures += &render_all(&diagnostics, &sources, Color::Never);
                    }
                    Ok((module, diagnostics)) => {
                        if !diagnostics.is_empty() {
                            failures += &render_all(&diagnostics, &sources, Color::Never);
                        }
                        if let Err((_, violations)) = verify(module) {
                            for v in violations.iter().take(5) {
                                failures += &format!("{}: {v}\n", signature.name);
                            }
                        }
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
