//! What the tests share: kernels, and processes of their own.

use std::process::{Command, Output};

use kiln::{Device, Kernel, Program, ProgramOptions};
use libtest_mimic::Failed;

/// A test's name and what it does; it panics where something is wrong.
pub type Tests = Vec<(&'static str, fn())>;

/// The kernel `k` of a text.
pub fn kernel(text: &str) -> Kernel {
    let program = Program::from_source_with("k.kiln", text, ProgramOptions::without_cache()).unwrap_or_else(|e| panic!("{e}"));
    program.kernel("k").unwrap_or_else(|e| panic!("{e}"))
}

/// The GPU.
pub fn gpu() -> Device {
    Device::cuda(0).unwrap_or_else(|e| panic!("{e}"))
}

/// z = x + y * scale, 16 elements a program.
pub fn add() -> Kernel {
    kernel(
        "kernel k(x: tensor<f32, [N]>, y: tensor<f32, [N]>, z: mut tensor<f32, [N]>, scale: f32 = 1.0) grid [cdiv(N, 16)] {\n    \
         let i = program_id(0) * 16;\n    z[i..+16] = x[i..+16] + y[i..+16] * scale;\n}\n",
    )
}

/// x += 1, for work whose order shows.
pub fn increment() -> Kernel {
    kernel(
        "kernel k(x: mut tensor<f32, [N]>) grid [cdiv(N, 128)] {\n    let i = program_id(0) * 128;\n    x[i..+128] = x[i..+128] + 1.0;\n}\n",
    )
}

/// This program with one variable set.
pub fn program_with(variable: &str, value: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a program has a path"));
    command.env(variable, value).env("KILN_CACHE_DIR", "off");
    command
}

/// Runs a command to its end.
pub fn output(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

/// What a process wrote, both streams.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Runs one trial in a process of its own.
pub fn alone(trial: &str) -> Result<(), Failed> {
    let mut command = Command::new(std::env::current_exe().expect("a program has a path"));
    let ran = output(command.args(["--exact", trial]));
    if ran.status.success() { Ok(()) } else { Err(said(&ran).into()) }
}
