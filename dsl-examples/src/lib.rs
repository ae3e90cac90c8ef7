//! What the examples share: the command line and the table of results (here), input files and made data (`data`), comparison (`errors`).
//!
//! Each example is a program of its own: `cargo run -p dsl-examples --bin softmax -- --device cpu`.
#![deny(missing_docs)]

pub mod data;
mod errors;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use kiln::{Device, Kernel, Launch, Program};

pub use errors::{Errors, ULP};

/// The command line of every example.
#[derive(Debug, Parser)]
struct Options {
    /// Device: cpu, cuda, cuda:1 (KILN_DEVICE, else the best)
    #[arg(long)]
    device: Option<String>,
    /// Also a size at which the speed means something
    #[arg(long)]
    large: bool,
}

/// Runs an example: its checks, then its table. Exit code 1 where a result is wrong.
pub fn main(example: fn(&mut Runner) -> Result<()>) -> ExitCode {
    let done = Runner::new(&Options::parse()).and_then(|mut runner| {
        let checked = example(&mut runner);
        runner.print();
        checked
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A kernel of an example's file, which is called as its folder.
///
/// # Errors
/// Where the file cannot be read or has mistakes, or has no such kernel.
pub fn kernel(example: &str, name: &str) -> Result<Kernel> {
    Ok(Program::open(data::path(&format!("{example}/{example}.kiln")))?.kernel(name)?)
}

/// What a run is measured by.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Bytes read and written, each counted once.
    Bytes(usize),
    /// Floating-point operations.
    Flops(usize),
}

/// A running example: its device, and the table of what was checked.
#[derive(Debug)]
pub struct Runner {
    device: Device,
    large: bool,
    rows: Vec<[String; 5]>,
}

/// Times single launches; see [`Runner::time`].
#[derive(Debug)]
pub struct Clock(Vec<Duration>);

impl Clock {
    /// Runs a launch and notes how long it took.
    ///
    /// # Errors
    /// Those of the launch.
    pub fn run(&mut self, launch: Launch<'_>) -> Result<()> {
        let start = Instant::now();
        launch.run()?;
        self.0.push(start.elapsed());
        Ok(())
    }
}

/// Launches are repeated until they took this long together, ..
const ENOUGH_TIME: Duration = Duration::from_millis(50);
/// .. or there were this many.
const ENOUGH_RUNS: usize = 20;

impl Runner {
    fn new(options: &Options) -> Result<Runner> {
        let device = match &options.device {
            Some(name) => Device::from_name(name)?,
            None => Device::best()?,
        };
        Ok(Runner { device, large: options.large, rows: vec![] })
    }

    /// The device that was asked for.
    pub fn device(&self) -> Device {
        self.device.clone()
    }

    /// Whether a size was asked for at which the speed means something.
    pub fn large(&self) -> bool {
        self.large
    }

    /// The median time of a launch. `step` brings the arguments to their initial state, where the kernel changes it, and launches once through the clock.
    /// The first launch, which compiles the kernel, is not counted.
    ///
    /// # Errors
    /// Those of `step`.
    pub fn time(&self, mut step: impl FnMut(&mut Clock) -> Result<()>) -> Result<Duration> {
        step(&mut Clock(vec![]))?;
        let mut clock = Clock(vec![]);
        while clock.0.len() < ENOUGH_RUNS && clock.0.iter().sum::<Duration>() < ENOUGH_TIME {
            step(&mut clock)?;
        }
        clock.0.sort();
        clock.0.get(clock.0.len() / 2).copied().context("no launch was timed")
    }

    /// Enters a case into the table.
    ///
    /// # Errors
    /// Where an element was further from the reference than allowed.
    pub fn row(&mut self, case: &str, errors: &Errors, time: Duration, work: Work) -> Result<()> {
        let seconds = time.as_secs_f64();
        let rate = match work {
            Work::Bytes(bytes) => format!("{:.2} GB/s", bytes as f64 / seconds / 1e9),
            Work::Flops(flops) => format!("{:.1} GFLOP/s", flops as f64 / seconds / 1e9),
        };
        let share = errors.share().map_or_else(|| "exact".to_owned(), |share| format!("{:.0} %", share * 100.0));
        let largest = if errors.largest() == 0.0 { "0".to_owned() } else { format!("{:.1e}", errors.largest()) };
        self.rows.push([case.to_owned(), largest, share, format!("{:.1} us", seconds * 1e6), rate]);
        errors.verdict().with_context(|| case.to_owned())
    }

    fn print(&self) {
        let head = [&format!("on {}", self.device.name()), "largest error", "of allowed", "time", "rate"].map(str::to_owned);
        let lines = || std::iter::once(&head).chain(&self.rows);
        let width = |column: usize| lines().map(|line| line[column].len()).max().unwrap_or(0);
        let widths: [usize; 5] = std::array::from_fn(width);
        for line in lines() {
            print!("{:<1$}", line[0], widths[0]);
            line[1..].iter().zip(&widths[1..]).for_each(|(cell, width)| print!("  {cell:>width$}"));
            println!();
        }
    }
}
