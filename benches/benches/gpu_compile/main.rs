//! How long Kiln takes from source to PTX, stage by stage and side by side with Triton in one run. Needs no GPU: both compile for a named target.
//!
//! The two alternate, so that a busy machine hurts both alike; figures are medians.

mod compile;
mod kernels;
mod startup;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use kiln_benches::report::Report;
use kiln_compiler::GpuTarget;

/// Bench of compile times for GPUs
#[derive(Parser)]
struct Options {
    /// Parts to run
    #[arg(long, value_delimiter = ',', default_value = "compile,startup")]
    only: Vec<String>,
    /// Kernels whose name in the tables has this in it
    #[arg(long, value_name = "TEXT")]
    kernels: Option<String>,
    /// GPUs to compile for
    #[arg(long, value_delimiter = ',', default_value = "sm_80,sm_90a", value_parser = target)]
    targets: Vec<GpuTarget>,
    /// Rounds; in each, Triton compiles every kernel once
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Kiln's compilations in a round
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// The `kiln` command
    #[arg(long, default_value_os_t = default_kiln())]
    kiln: PathBuf,
    /// Write docs/benchmarks/NAME.md
    #[arg(long, value_name = "NAME")]
    save: Option<String>,
    /// What `cargo bench` passes
    #[arg(long, hide = true)]
    bench: bool,
    /// Makes a kernel ready from the disk cache in a directory, and ends: for the bench itself, which starts it as a new process
    #[arg(long, hide = true, num_args = 2, value_names = ["DEVICE", "DIR"])]
    hit: Option<Vec<String>>,
}

impl Options {
    fn chooses(&self, label: &str) -> bool {
        self.kernels.as_ref().is_none_or(|text| label.contains(text))
    }
}

fn target(name: &str) -> Result<GpuTarget, String> {
    GpuTarget::from_name(name).ok_or_else(|| format!("no GPU `{name}`"))
}

/// Beside this bench, which is in `deps` of cargo's directory for the profile.
fn default_kiln() -> PathBuf {
    let me = std::env::current_exe().unwrap_or_default();
    let folder = me.ancestors().nth(2).map(PathBuf::from).unwrap_or_default();
    folder.join(format!("kiln{}", std::env::consts::EXE_SUFFIX))
}

/// `NAME SECONDS` over and over, as peers answer.
fn pairs(answer: &str) -> Result<Vec<(String, f64)>, String> {
    let words: Vec<&str> = answer.split_whitespace().collect();
    let pair = |pair: &[&str]| Some((pair[0].to_owned(), pair.get(1)?.parse().ok()?));
    words.chunks(2).map(|chunk| pair(chunk).ok_or_else(|| answer.to_owned())).collect()
}

fn run(options: &Options) -> Result<(), String> {
    if let Some([device, dir]) = options.hit.as_deref() {
        return startup::hit(device, dir.as_ref());
    }
    let mut report = Report::of_bench("Compile times for GPUs", "gpu-compile");
    for part in &options.only {
        match part.as_str() {
            "compile" => compile::bench(&mut report, options)?,
            "startup" => startup::bench(&mut report, options)?,
            _ => return Err(format!("no part `{part}`: there are compile and startup")),
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
