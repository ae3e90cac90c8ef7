//! `cargo xtask demo`: from nothing to softmax and matmul running on the best device, checked and timed.

use anyhow::{Context, Result, bail};

use crate::proc::{cargo, output, run, step};

/// The runs: what they show, and the arguments of `kiln`.
const RUNS: &[(&str, &[&str])] = &[
    (
        "softmax of 4096 x 4096 numbers",
        &[
            "run",
            "dsl-examples/softmax/softmax.kiln",
            "--arg",
            "x=randn(4096,4096):f32",
            "--out",
            "y",
            "--verify",
            "--repeat",
            "20",
        ],
    ),
    (
        "matmul of 1024 x 1024 matrices",
        &[
            "run",
            "dsl-examples/matmul/matmul.kiln",
            "--arg",
            "a=randn(1024,1024):f32",
            "--arg",
            "b=randn(1024,1024):f32",
            "--out",
            "c",
            "--verify",
            "--repeat",
            "20",
        ],
    ),
];

/// Sets up, builds, runs.
pub fn demo() -> Result<()> {
    step("set up", crate::setup::setup)?;
    step("build kiln (release)", || run(cargo().args(["build", "--release", "--package", "kiln-cli", "--quiet"])))?;
    let kiln = target_dir()?.join("release").join(format!("kiln{}", std::env::consts::EXE_SUFFIX));
    for (what, args) in RUNS {
        step(what, || run(std::process::Command::new(&kiln).args(*args).current_dir(crate::root())))?;
    }
    println!("the examples ran and their results are right");
    Ok(())
}

/// Cargo's target directory, which users may have moved.
pub fn target_dir() -> Result<std::path::PathBuf> {
    let manifest = crate::root().join("Cargo.toml");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let text = output(
        &cargo,
        &["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path", &manifest.to_string_lossy()],
    )
    .context("`cargo metadata` fails")?;
    let Some((_, rest)) = text.split_once("\"target_directory\":\"") else { bail!("`cargo metadata` names no target directory") };
    let (dir, _) = rest.split_once('"').context("`cargo metadata` is cut off")?;
    Ok(dir.replace("\\\\", "\\").into())
}
