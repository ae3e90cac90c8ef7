//! Reproducers of our own bugs: the IR before the failing pass and the passes from there on, as one text file.

use std::path::PathBuf;

use kiln_ir::Module;
use kiln_ir::artifact::GpuTarget;
use kiln_ir::text::{PrintOptions, parse_module, print_module};
use kiln_ir::verify::CheckedModule;

use crate::manager::{Pass, PassContext, PassError, PassOptions, Target, run_passes};
use crate::pipeline;

const TITLE: &str = "; kiln pass reproducer";

/// Writes a reproducer to the directory of the options. `None` when there is no directory or it cannot be written.
pub(crate) fn write(
    module: &Module,
    passes: &[Pass],
    context: &PassContext,
    message: &str,
    options: &PassOptions,
) -> Option<PathBuf> {
    let dir = options.reproducer_dir.as_ref()?;
    let names: Vec<&str> = passes.iter().map(|p| p.name).collect();
    let target = match context.target {
        Target::Host => "host".to_owned(),
        Target::Gpu(gpu) => gpu.name(),
    };
    let mut text =
        format!("{TITLE}\n; target: {target}\n; fits_32_bit: {}\n; passes: {}\n", context.fits_32_bit, names.join(", "));
    for line in message.lines() {
        text.push_str(&format!("; failure: {line}\n"));
    }
    text.push('\n');
    text.push_str(&print_module(module, PrintOptions { spans: true }));
    let kernel = module.funcs.values().find(|f| f.is_kernel).map_or("module", |f| &*f.name);
    let name: String = kernel.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    std::fs::create_dir_all(dir).ok()?;
    let path = dir.join(format!("kiln-ice-{name}-{}.ir", std::process::id()));
    std::fs::write(&path, text).ok()?;
    Some(path)
}

/// Runs the passes that a reproducer names on the IR that it holds, verifying after each.
///
/// # Errors
/// [`PassError::BadReproducer`] when the text is not one; else what the passes give.
pub fn run_reproducer(text: &str) -> Result<CheckedModule, PassError> {
    let bad = |what: &str| PassError::BadReproducer(what.to_owned());
    if !text.starts_with(TITLE) {
        return Err(bad("the first line is another"));
    }
    let field = |name: &str| {
        let prefix = format!("; {name}: ");
        text.lines().find_map(|line| line.strip_prefix(&*prefix)).ok_or_else(|| bad(&format!("`{name}` is missing")))
    };
    let target = match field("target")? {
        "host" => Target::Host,
        other => Target::Gpu(GpuTarget::from_name(other).ok_or_else(|| bad("`target` is neither `host` nor a GPU's"))?),
    };
    let context = PassContext::new(target, field("fits_32_bit")? == "true");
    let passes = field("passes")?
        .split(", ")
        .map(|name| pipeline::find(name).ok_or_else(|| bad(&format!("there is no pass `{name}`"))))
        .collect::<Result<Vec<Pass>, _>>()?;
    let module = parse_module(text).map_err(|e| bad(&e.to_string()))?;
    run_passes(module, &passes, &context, &PassOptions { verify_each: true, ..PassOptions::default() }).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_reproducer_runs_again() {
        let dir = tempfile::tempdir().unwrap();
        let module = parse_module("kernel @0 k() grid 1 index 64 {\n    v0: index = num_sms\n    yield\n}\n").unwrap();
        let context = PassContext::new(Target::Gpu(GpuTarget { sm: 90, arch_specific: false }), true);
        let options = PassOptions { reproducer_dir: Some(dir.path().into()), ..PassOptions::default() };
        let dce = pipeline::find("dce").unwrap();
        let path = write(&module, &[dce], &context, "two\nlines", &options).unwrap();
        let checked = run_reproducer(&std::fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(checked.to_string(), "kernel @0 k() grid 1 index 64 {\n    yield\n}\n");
    }

    #[test]
    fn other_texts_are_refused() {
        assert!(matches!(run_reproducer("kernel"), Err(PassError::BadReproducer(_))));
        let text = format!("{TITLE}\n; target: host\n; fits_32_bit: true\n; passes: nonsense\n");
        assert_eq!(run_reproducer(&text).unwrap_err().to_string(), "not a reproducer: there is no pass `nonsense`");
    }
}
