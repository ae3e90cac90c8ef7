//! `kiln new`: a project to start from.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::opts::NewOptions;
use crate::ui::Ui;

const KERNEL: &str = r#"//! A first kernel.

/// y = x * factor. One program a block of BLOCK elements; lanes past the end are neither read nor written.
kernel scale<T: float, const BLOCK: int = 1024>(x: tensor<T, [N]>, y: mut tensor<T, [N]>, factor: f32 = 2.0)
    grid [cdiv(N, BLOCK)]
{
    let n = program_id(0) * BLOCK;
    y[n..+BLOCK] = (x[n..+BLOCK] as f32 * factor) as T;
}
"#;

const MAIN: &str = r#"//! Runs the kernel and checks its result.

use kiln::{Device, Tensor};

// A function `scale`, checked when this program is built.
kiln::include_kernels!("scale.kiln");

fn main() -> Result<(), kiln::Error> {
    let device = Device::best()?;
    let x = Tensor::<f32>::from_fn(&[10_000], |i| i as f32)?;
    let mut y = Tensor::<f32>::zeros(&[10_000])?;
    scale(&x, &mut y).factor(3.0).launch(&device)?;
    assert!(y.to_vec()?.iter().enumerate().all(|(i, v)| *v == 3.0 * i as f32));
    println!("10000 elements scaled on {}", device.name());
    Ok(())
}
"#;

/// Makes the project.
pub fn run(options: &NewOptions, ui: &Ui) -> Result<ExitCode> {
    let path = &options.path;
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    if !is_package_name(name) {
        bail!("`{name}` is no package name: letters, digits, `-` and `_`, beginning with a letter");
    }
    if path.exists() {
        bail!("`{}` is there already", path.display());
    }
    let manifest = format!(
        "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\nkiln = {}\n",
        dependency(true)
    );
    let readme = format!(
        "# {name}\n\n```sh\nkiln check src/scale.kiln\nkiln run src/scale.kiln --arg 'x=arange(10):f32' --out y=y.npy\ncargo run\n```\n"
    );
    write(path, "src/scale.kiln", KERNEL)?;
    write(path, "src/main.rs", MAIN)?;
    write(path, "Cargo.toml", &manifest)?;
    write(path, "README.md", &readme)?;
    write(path, ".gitignore", "/target\n*.npy\n")?;
    ui.status("Created", &format!("`{}`: begin with src/scale.kiln", path.display()));
    Ok(ExitCode::SUCCESS)
}

/// The runtime: from the clone that this command was built in while that is there, else its published version.
pub fn dependency(with_compiler: bool) -> String {
    let local = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../runtime"));
    let features = if with_compiler { "" } else { ", default-features = false" };
    match local.canonicalize() {
        Ok(path) if path.join("Cargo.toml").exists() => format!("{{ path = {:?}{features} }}", path.display().to_string()),
        _ => format!("{{ version = {:?}{features} }}", env!("CARGO_PKG_VERSION")),
    }
}

fn is_package_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn write(root: &Path, file: &str, text: &str) -> Result<()> {
    let path = root.join(file);
    let fails = || format!("cannot write `{}`", path.display());
    std::fs::create_dir_all(path.parent().context("a file lies in a directory")?).with_context(fails)?;
    std::fs::write(&path, text).with_context(fails)
}
