//! Every kernel of the language's acceptance list checks without a diagnostic, instantiates for several specializations, and passes the verifier.

use std::path::{Path, PathBuf};

use kiln_ir::ScalarType;
use kiln_ir::signature::{Assumptions, KernelSignature, LaunchOptions, Specialization};
use kiln_ir::verify::verify;
use kiln_sema::{LoadedFile, ModuleLoader, Program};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostics;
use kiln_syntax::render::{Color, render_all};
use kiln_syntax::source::SourceMap;

struct NoFiles;

impl ModuleLoader for NoFiles {
    fn load(&self, _: &str, path: &[String]) -> Result<LoadedFile, String> {
        Err(format!("no file {}", path.join("/")))
    }
}

fn cases() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance/language_cases");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&dir).expect("the language cases").map(|e| e.expect("an entry").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "kiln"));
    files.sort();
    assert!(files.len() > 30, "only {} cases", files.len());
    files
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
    for path in cases() {
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

/// Constants that have no default, and dimensions that defaults need.
fn options(signature: &KernelSignature, types: &[(&str, ScalarType)]) -> (Assumptions, LaunchOptions) {
    let mut assumptions = Assumptions::default();
    for dim in &signature.dims {
        let value = match dim.as_str() {
            "H" => 8,
            "HK" => 2,
            _ => 512,
        };
        assumptions.dims.push((dim.clone(), value));
    }
    let mut options = LaunchOptions::default();
    for param in &signature.const_params {
        let value = match (signature.name.as_str(), param.name.as_str()) {
            ("route", "E") => 60,
            ("route", "K") => 6,
            (_, "D") => 80,
            (_, "PAGE") => 16,
            (_, "H") => 8,
            (_, "HK") => 2,
            (_, "TOPK") => 2,
            (_, "K") => 96,
            _ if param.default.is_some() => continue,
            _ => 1000,
        };
        options.consts.push((param.name.clone(), value));
    }
    for (name, ty) in types {
        if signature.type_params.iter().any(|p| p.name == *name && p.class.contains(*ty)) {
            options.types.push(((*name).to_owned(), *ty));
        }
    }
    (assumptions, options)
}

fn specializations(signature: &KernelSignature) -> Vec<Specialization> {
    let optional: Vec<String> = signature.params.iter().filter(|p| p.optional).map(|p| p.name.clone()).collect();
    let mut out = Vec::new();
    for types in [vec![], vec![("T", ScalarType::F16), ("C", ScalarType::F8E4M3)], vec![("T", ScalarType::BF16)]] {
        for present in [optional.clone(), vec![]] {
            let (mut assumptions, options) = options(signature, &types);
            assumptions.present = present;
            let spec = signature.assume(&assumptions, &options);
            out.push(spec.unwrap_or_else(|e| panic!("{}: {e:?}", signature.name)));
        }
    }
    out
}

#[test]
fn every_case_instantiates_and_verifies() {
    let mut failures = String::new();
    for path in cases() {
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
