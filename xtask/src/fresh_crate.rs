//! `cargo xtask fresh-crate`: a program with one inline kernel, in a package of its own outside of the workspace, built from nothing and again after an edit of its
//! kernel; then with the kernel in a file, after edits of that file and of one that it uses. Prints how long each takes.
//!
//! What a user meets: cargo's `dev` profile without a setting, LLVM as the system's package, dependencies that are downloaded. Processor time is told as well as seconds, since
//! seconds depend on what else the machine does.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::demo::target_dir;
use crate::proc::{cargo, line, run, step};

/// The program.
const PROGRAM: &str = r#"use kiln::{Device, Tensor};

kiln::kernels! {
    kernel axpy<T: float, const B: int = 1024>(a: T, x: tensor<T, [N]>, y: mut tensor<T, [N]>) grid [cdiv(N, B)] {
        let n = program_id(0) * B;
        y[n..+B] = a * x[n..+B] + y[n..+B];
    }
}

fn main() -> Result<(), kiln::Error> {
    let x = Tensor::<f32>::from_fn(&[10_000], |i| i as f32)?;
    let mut y = Tensor::<f32>::zeros(&[10_000])?;
    axpy(2.0, &x, &mut y).launch(&Device::best()?)?;
    Ok(println!("{}", y.read()?[3]))
}
"#;

/// The edit of the kernel: what is replaced, and by what.
const EDIT: (&str, &str) = ("+ y[n..+B];", "+ 1.0;");

/// The kernel in a file of its own.
const KERNEL: &str = "use shared::shifted;

kernel axpy<T: float, const B: int = 1024>(a: T, x: tensor<T, [N]>, y: mut tensor<T, [N]>) grid [cdiv(N, B)] {
    let n = program_id(0) * B;
    y[n..+B] = shifted(a * x[n..+B]);
}
";
/// A file that it uses.
const SHARED: &str = "fn shifted<T: float, S: shape>(x: tile<T, S>) -> tile<T, S> { x + 3.0 }\n";

/// The program with the kernel's file.
fn with_file() -> Option<String> {
    let (head, rest) = PROGRAM.split_once("kiln::kernels! {")?;
    let (_, tail) = rest.split_once("\n}\n")?;
    Some(format!("{head}kiln::include_kernels!(\"axpy.kiln\");\n{tail}"))
}

/// Lines that are not empty.
fn lines(program: &str) -> usize {
    program.lines().filter(|line| !line.trim().is_empty()).count()
}

/// Builds, runs, edits, builds and runs.
pub fn fresh_crate() -> Result<()> {
    step("set up", crate::setup::setup)?;
    let dir = target_dir()?.join("fresh-crate");
    let made = dir.join("target");
    if made.exists() {
        fs::remove_dir_all(&made).with_context(|| format!("cannot remove {}", made.display()))?;
    }
    fs::create_dir_all(dir.join("src"))?;
    let runtime = crate::root().join("runtime").canonicalize()?;
    let manifest = format!(
        "[package]\nname = \"fresh-crate\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[dependencies]\nkiln = {{ path = {runtime:?} }}\n\n[workspace]\n"
    );
    fs::write(dir.join("Cargo.toml"), manifest)?;
    fs::write(dir.join("src/main.rs"), PROGRAM)?;
    // The versions that the workspace was tested with, which are downloaded already.
    fs::copy(crate::root().join("Cargo.lock"), dir.join("Cargo.lock"))?;
    let cargo = |args: &[&str]| {
        let mut command = cargo();
        command.args(args).current_dir(&dir).env("CARGO_TARGET_DIR", &made).env_remove("RUSTFLAGS");
        command
    };
    run(&mut cargo(&["fetch", "--quiet"]))?;
    println!("{} lines of Rust; {}", lines(PROGRAM), load());
    let program = made.join("debug/fresh-crate");
    let build = |what: &str, file: &str, text: &str, expected: &str| -> Result<()> {
        fs::write(dir.join("src").join(file), text)?;
        let (start, before) = (Instant::now(), processor_seconds());
        run(&mut cargo(&["build", "--offline", "--quiet"]))?;
        let seconds = start.elapsed().as_secs_f64();
        let processor =
            before.zip(processor_seconds()).map(|(before, after)| format!(", {:.1} s of processor time", after - before));
        println!("{what}: {seconds:.1} s{}; {}", processor.unwrap_or_default(), load());
        check(&program, expected)
    };
    build("cold build", "main.rs", PROGRAM, "6\n")?;
    once(&made.join("debug/deps"))?;
    build("after an edit of the kernel", "main.rs", &PROGRAM.replace(EDIT.0, EDIT.1), "7\n")?;
    fs::write(dir.join("src/axpy.kiln"), KERNEL)?;
    fs::write(dir.join("src/shared.kiln"), SHARED)?;
    build("with the kernel in a file", "main.rs", &with_file().context("the program has no kernel")?, "9\n")?;
    build("after an edit of the file", "axpy.kiln", &KERNEL.replace("a * x", "a + x"), "8\n")?;
    build("after an edit of a file that it uses", "shared.kiln", &SHARED.replace("3.0", "4.0"), "9\n")
}

/// Refuses a crate of ours that was built twice, for the macro and for the program: then some dependency of both has other features there.
fn once(deps: &Path) -> Result<()> {
    let mut built: Vec<String> = vec![];
    for file in fs::read_dir(deps).with_context(|| format!("cannot read {}", deps.display()))? {
        let name = file?.file_name().to_string_lossy().into_owned();
        let library =
            name.strip_prefix("libkiln").and_then(|rest| rest.strip_suffix(".rlib")).and_then(|rest| rest.rsplit_once('-'));
        built.extend(library.map(|(name, _)| format!("kiln{name}")));
    }
    built.sort();
    ensure!(built.len() > 5, "the crates of ours are not in {}", deps.display());
    let twice: Vec<&[String]> = built.windows(2).filter(|pair| pair[0] == pair[1]).collect();
    ensure!(twice.is_empty(), "built twice: {twice:?}; compare the features of what they depend on (`cargo build -v`)");
    Ok(())
}

/// Runs the program on the CPU.
fn check(program: &Path, expected: &str) -> Result<()> {
    let mut command = Command::new(program);
    let output = command.env("KILN_DEVICE", "cpu").output().with_context(|| format!("cannot start `{}`", line(&command)))?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() && said == expected,
        "the program says {said:?}, not {expected:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Processor time of the child processes that have ended, in seconds, where the system tells (Linux: proc(5), `stat`; ticks are hundredths of a second).
fn processor_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may have blanks. Behind it stand fields 3 and up; 16 and 17 are the children's.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some((ticks(16)? + ticks(17)?) / 100.0)
}

/// The machine's load, where the system tells.
fn load() -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").ok().and_then(|text| text.split_whitespace().next().map(str::to_owned));
    load.map_or(format!("{processors} processors"), |load| format!("load {load} on {processors} processors"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_short_and_the_edit_is_one() {
        assert!(lines(PROGRAM) <= 15);
        assert_ne!(PROGRAM.replace(EDIT.0, EDIT.1), PROGRAM);
    }
}
