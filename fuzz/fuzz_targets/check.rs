//! Any text: loading and checking it does not panic, and what is said about it can be shown.
#![no_main]

use kiln_sema::{LoadedFile, ModuleLoader, Program};
use kiln_syntax::render::{Color, render_all};
use kiln_syntax::source::SourceMap;
use libfuzzer_sys::fuzz_target;

/// Only the standard library, which is built in, can be imported.
struct NoFiles;

impl ModuleLoader for NoFiles {
    fn load(&self, _from: &str, _path: &[String]) -> Result<LoadedFile, String> {
        Err("there are no files here".into())
    }
}

fuzz_target!(|text: &str| {
    let mut sources = SourceMap::new();
    let file = sources.add("fuzz.kiln", text);
    let (program, mut diagnostics) = Program::load(&mut sources, file, &NoFiles);
    diagnostics.extend(program.check());
    diagnostics.finish();
    render_all(&diagnostics, &sources, Color::Never);
});
