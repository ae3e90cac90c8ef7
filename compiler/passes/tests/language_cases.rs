//! Every kernel of the language's acceptance list through the whole pipeline of each target, with the verifier after every pass.

use kiln_ir::artifact::GpuTarget;
use kiln_passes::{PassOptions, Target, pipeline};
use kiln_sema::{LoadedFile, ModuleLoader, Program};
use kiln_syntax::render::{Color, render_all};
use kiln_syntax::source::SourceMap;
use kiln_tests::language_cases::{files, specializations};

const SM_90A: GpuTarget = GpuTarget { sm: 90, arch_specific: true };

/// The cases are files by themselves.
struct NoFiles;

impl ModuleLoader for NoFiles {
    fn load(&self, _: &str, path: &[String]) -> Result<LoadedFile, String> {
        Err(format!("no file {}", path.join("/")))
    }
}

fn every_kernel_passes(target: Target) {
    let mut failures = String::new();
    // The files of whole sections hold the same kernels again.
    let single = |path: &std::path::PathBuf| !path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("section_"));
    for path in files().into_iter().filter(single) {
        let mut sources = SourceMap::new();
        let root = sources.add("case.kiln", std::fs::read_to_string(&path).expect("readable"));
        let (program, _) = Program::load(&mut sources, root, &NoFiles);
        for signature in program.kernels() {
            for spec in specializations(signature) {
                let (module, _) = program
                    .instantiate(&signature.name, &spec)
                    .unwrap_or_else(|d| panic!("{}: {}", signature.name, render_all(&d, &sources, Color::Never)));
                let options = PassOptions { verify_each: true, fits_32_bit: spec.fits_32_bit, ..PassOptions::default() };
                if let Err(error) = pipeline::optimize(module, target, &options) {
                    failures += &format!("{} {:?} {:?}: {error}\n", signature.name, spec.types, spec.present);
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

#[test]
fn every_kernel_passes_for_the_host() {
    every_kernel_passes(Target::Host);
}

#[test]
fn every_kernel_passes_for_a_gpu() {
    every_kernel_passes(Target::Gpu(SM_90A));
}
