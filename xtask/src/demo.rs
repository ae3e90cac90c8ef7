//! `cargo xtask demo`: from nothing to softmax and matmul running on the best device, checked and timed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::proc::{cargo, output, run, step};

/// Sets up, builds, runs, checks.
pub fn demo() -> Result<()> {
    step("set up", crate::setup::setup)?;
    step("build (release)", || {
        let parts =
            ["--package", "kiln-cli", "--package", "dsl-examples", "--bin", "kiln", "--bin", "softmax", "--bin", "matmul"];
        run(cargo().args(["build", "--release"]).args(parts))
    })?;
    let programs = target_dir()?.join("release");
    step("softmax of 4096 x 4096 numbers", || example(&programs, "softmax", &["--arg", "x=randn(4096,4096):f32"]))?;
    step("matmul of 1024 x 1024 matrices", || {
        example(
            &programs,
            "matmul",
            &["--arg", "a=randn(1024,1024):f32", "--arg", "b=randn(1024,1024):f32", "--flops", "2*M*N*K"],
        )
    })?;
    println!("the examples ran, and their results are right");
    Ok(())
}

/// `kiln run` of an example's kernel; then the example's own program, which checks its results at many sizes, this one among them.
fn example(programs: &Path, name: &str, args: &[&str]) -> Result<()> {
    let program = |name: &str| {
        let mut command = Command::new(programs.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)));
        command.current_dir(crate::root());
        command
    };
    let mut kiln = program("kiln");
    kiln.args(["run", &format!("dsl-examples/{name}/{name}.kiln"), "--kernel", name, "--repeat", "20"]).args(args);
    let mut check = program(name);
    check.arg("--large");
    for command in [&mut kiln, &mut check] {
        println!("    {}", crate::proc::line(command));
        run(command)?;
    }
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
