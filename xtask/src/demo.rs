//! `cargo xtask demo`: from nothing to softmax and matmul running on the best device, checked and timed.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::proc::{cargo, output, run, step};
use crate::reference::{Matrix, check_matmul, check_softmax};

/// Sets up, builds, runs, checks.
pub fn demo() -> Result<()> {
    step("set up", crate::setup::setup)?;
    step("build kiln (release)", || run(cargo().args(["build", "--release", "--package", "kiln-cli"])))?;
    let target = target_dir()?;
    let kiln = target.join("release").join(format!("kiln{}", std::env::consts::EXE_SUFFIX));
    let data = target.join("demo");
    std::fs::create_dir_all(&data)?;
    step("softmax of 4096 x 4096 numbers", || softmax(&kiln, &data))?;
    step("matmul of 1024 x 1024 matrices", || matmul(&kiln, &data))?;
    println!("the examples ran, and their results are right");
    Ok(())
}

/// `kiln run` of an example's kernel; every tensor in `keep` is written to `data`.
fn example(kiln: &Path, data: &Path, name: &str, args: &[&str], keep: &[&str]) -> Result<()> {
    let file = format!("dsl-examples/{name}/{name}.kiln");
    let mut command = Command::new(kiln);
    command.current_dir(crate::root()).args(["run", &file, "--kernel", name, "--repeat", "20"]).args(args);
    for tensor in keep {
        command.arg("--out").arg(format!("{tensor}={}", data.join(format!("{name}-{tensor}.npy")).display()));
    }
    println!("    {}", crate::proc::line(&command));
    run(&mut command)
}

fn softmax(kiln: &Path, data: &Path) -> Result<()> {
    example(kiln, data, "softmax", &["--arg", "x=randn(4096,4096):f32"], &["x", "y"])?;
    let read = |tensor: &str| Matrix::read(&data.join(format!("softmax-{tensor}.npy")));
    let worst = check_softmax(&read("x")?, &read("y")?)?;
    println!("    right: all of it against f64, largest error {worst:.1e} of the row's largest element");
    Ok(())
}

fn matmul(kiln: &Path, data: &Path) -> Result<()> {
    let args = ["--arg", "a=randn(1024,1024):f32", "--arg", "b=randn(1024,1024):f32", "--flops", "2*M*N*K"];
    example(kiln, data, "matmul", &args, &["a", "b", "c"])?;
    let read = |tensor: &str| Matrix::read(&data.join(format!("matmul-{tensor}.npy")));
    let worst = check_matmul(&read("a")?, &read("b")?, &read("c")?)?;
    println!("    right: every 251st element against f64, largest error {worst:.1e} of the sum of magnitudes");
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
