//! `kiln build --emit bundle`: kernels compiled ahead of time, as a Rust package that links neither LLVM nor the compiler, with a header for C.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use kiln_build::{Bundle, Compiled};

use super::new;
use super::select;
use crate::opts::BuildOptions;
use crate::ui::Ui;

/// Compiles the kernels of a file and writes the package.
pub fn run(options: &BuildOptions, ui: &Ui) -> Result<ExitCode> {
    let Some(dir) = &options.output else {
        bail!("a bundle is a directory: say where with -o");
    };
    if !options.kernel.args.is_empty() {
        bail!("a bundle is compiled for types, constants and dimensions (--type, --const, --dim), not for arguments");
    }
    let file = &options.kernel.file;
    let mut bundle = Bundle::new(file).c_api();
    for target in options.target.iter().flat_map(|targets| targets.split(',')) {
        bundle = bundle.target(target.trim());
    }
    bundle = specialized(bundle, options)?;
    let compiled = bundle.compile()?;
    if !compiled.warnings.is_empty() {
        ui.status("Warning", &compiled.warnings);
    }
    write(&compiled, dir)?;
    ui.status(
        "Bundled",
        &format!("`{}`: a Rust package; its library for C is built by cargo, its header is {}.h", dir.display(), compiled.name),
    );
    Ok(ExitCode::SUCCESS)
}

/// The one specialization that the command line says, of the kernel that is asked for. Without any, every kernel's usual one.
fn specialized(bundle: Bundle, options: &BuildOptions) -> Result<Bundle> {
    let kernel = &options.kernel;
    let is_said = [&kernel.consts, &kernel.types, &kernel.fns, &kernel.schedule, &options.dims, &options.present]
        .into_iter()
        .any(|list| !list.is_empty());
    if !is_said && kernel.kernel.is_none() {
        return Ok(bundle);
    }
    let session = kiln_compiler::Session::open(&kernel.file)?;
    let report = session.load_report();
    if report.diagnostics.has_errors() {
        return Err(kiln_compiler::CompileError::Refused(report).into());
    }
    let signature = select::kernel(&session.kernels(), kernel.kernel.as_deref(), &kernel.file.to_string_lossy())?;
    let launch = select::launch_options(kernel, signature)?;
    let dims = select::dims(&options.dims)?;
    Ok(bundle.only_specialized().specialize(&signature.name, |mut s| {
        for (name, ty) in &launch.types {
            s = s.type_param(name, ty.name());
        }
        for (name, value) in &launch.consts {
            s = s.constant(name, *value);
        }
        for (name, path) in &launch.fns {
            s = s.function(name, path);
        }
        for (field, values) in &launch.schedule {
            s = s.schedule(field, values);
        }
        for (name, extent) in &dims {
            s = s.dim(name, *extent);
        }
        options.present.iter().fold(s, |s, param| s.with(param))
    }))
}

const BUILD_SCRIPT: &str = "//! Links the kernels.

fn main() {
    println!(\"cargo::rustc-link-search=native={}/src\", env!(\"CARGO_MANIFEST_DIR\"));
    println!(\"cargo::rustc-link-lib=static=LIBRARY\");
}
";

fn write(compiled: &Compiled, dir: &Path) -> Result<()> {
    let fails = |path: &Path| format!("cannot write `{}`", path.display());
    let src = dir.join("src");
    fs::create_dir_all(&src).with_context(|| fails(&src))?;
    compiled.write(&src)?;
    let put = |name: &str, text: &str| {
        let path = dir.join(name);
        fs::write(&path, text).with_context(|| fails(&path))
    };
    let name = &compiled.name;
    let manifest = format!(
        "[package]\nname = \"{name}-kernels\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\nname = \"{name}_kernels\"\ncrate-type = [\"cdylib\", \"rlib\"]\n\n\
         [dependencies]\nkiln = {}\n\n[workspace]\n",
        new::dependency(false)
    );
    put("Cargo.toml", &manifest)?;
    put(
        "src/lib.rs",
        &format!("//! Kernels compiled ahead of time by `kiln build --emit bundle`.\n\ninclude!(\"{name}.rs\");\n"),
    )?;
    if compiled.has_host_code() {
        put("build.rs", &BUILD_SCRIPT.replace("LIBRARY", &compiled.library()))?;
    }
    // The header stands where one looks for it.
    let header = format!("{name}.h");
    fs::rename(src.join(&header), dir.join(&header)).with_context(|| fails(&dir.join(&header)))
}
