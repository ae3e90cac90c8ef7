//! Kiln on the CPU, side by side with its peers in one run: matmul against numpy and jax, rows against a memory copy, and what compiling and launching cost.
//!
//! Each line alternates between Kiln and its peers, so that a busy machine hurts all alike; the ratios are of medians.

mod compile;
mod launch;
mod matmul;
mod rows;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use kiln::{Device, Program, ProgramOptions};
use kiln_benches::report::Report;

/// Benches of Kiln on the CPU
#[derive(Parser)]
struct Options {
    /// Parts to run
    #[arg(long, value_delimiter = ',', default_value = "matmul,rows,compile,launch")]
    only: Vec<String>,
    /// Numbers of threads
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<NonZeroUsize>,
    /// Rounds; each times every program some times
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Write docs/benchmarks/NAME.md
    #[arg(long, value_name = "NAME")]
    save: Option<String>,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
    /// Times a hit of the disk cache in this directory, and ends: for the bench itself, which starts it as a new process
    #[arg(long, hide = true, value_name = "DIR")]
    hit: Option<PathBuf>,
}

/// The repository's root.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// An example's kernel file, with its text.
fn example(name: &str) -> Result<(String, String), String> {
    let path = root().join(format!("dsl-examples/{name}/{name}.kiln"));
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    Ok((format!("{name}.kiln"), text))
}

/// An example's program, compiled by this process.
fn program(name: &str) -> Result<Program, String> {
    let (file, text) = example(name)?;
    Program::from_source_with(&file, &text, ProgramOptions::without_cache()).map_err(|e| e.to_string())
}

/// The CPU with a number of threads.
fn device(threads: NonZeroUsize) -> Device {
    Device::cpu_with_threads(threads)
}

/// Numbers from -1 to 1 that are the same in every run.
fn numbers(count: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

fn run(options: &Options) -> Result<(), String> {
    if let Some(dir) = &options.hit {
        return compile::print_hit(dir);
    }
    let mut report = Report::of_bench("CPU", "cpu");
    for part in &options.only {
        match part.as_str() {
            "matmul" => matmul::bench(&mut report, options)?,
            "rows" => rows::bench(&mut report, options)?,
            "compile" => compile::bench(&mut report, options)?,
            "launch" => launch::bench(&mut report, options)?,
            _ => return Err(format!("no part `{part}`: there are matmul, rows, compile, launch")),
        }
    }
    report.finish(options.save.as_deref())
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
