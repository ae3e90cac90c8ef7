//! Sweeps a matrix product and a softmax, then launches them with what was found, and checks the results. The records lie in a directory of their own that goes when the
//! program ends; `kiln tune` keeps them.

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use dsl_examples::data::{Random, floats, path};
use dsl_examples::{Errors, Runner, ULP, Work};
use kiln::tuned::TuneStore;
use kiln::{Kernel, OwnedArg, Program, ProgramOptions, Tensor};
use kiln_tune::objective;
use kiln_tune::sweep::{self, Problem, Settings, Sweep};

fn main() -> ExitCode {
    dsl_examples::main(|runner| {
        let records = tempfile::tempdir()?;
        let store = TuneStore::open(records.path());
        let (m, n, k) = if runner.large() { (512, 512, 512) } else { (48, 64, 32) };
        matmul(runner, &store, [m, n, k])?;
        // The nearest key stands in for sizes that nobody has tuned for.
        matmul_as_launched(runner, &store, [m + 16, n, k])?;
        let (m, n) = if runner.large() { (512, 4096) } else { (16, 300) };
        softmax(runner, &store, [m, n])?;
        softmax_as_launched(runner, &store, [m, n + 1])
    })
}

/// A sweep: a fifteenth of the space, or the usual share at sizes at which speed means something.
fn tune(runner: &Runner, kernel: &str, args: Vec<OwnedArg>, store: &TuneStore) -> Result<Sweep> {
    let program = Program::open_with(path("tuning/tuning.kiln"), ProgramOptions::without_cache())?;
    let (kernel, device) = (program.kernel(kernel)?, runner.device());
    let share = if runner.large() { Settings::default().share } else { 1.0 / 15.0 };
    let settings = Settings { share, seconds: 0.2, ..Settings::default() };
    let mut objective = objective::of_device(&device, true)?;
    let problem = Problem { kernel: &kernel, device: &device, args };
    Ok(sweep::run(problem, &mut *objective, &settings, Some(store), &AtomicBool::new(false), &mut |_| {})?)
}

/// The kernel as a program launches it: its configurations come from the store.
fn tuned(kernel: &str, store: &TuneStore) -> Result<Kernel> {
    let options = ProgramOptions { tuned: Some(store.clone()), ..ProgramOptions::without_cache() };
    Ok(Program::open_with(path("tuning/tuning.kiln"), options)?.kernel(kernel)?)
}

fn tensors(tensors: &[&Tensor<f32>]) -> Vec<OwnedArg> {
    tensors.iter().map(|t| OwnedArg::Tensor((*t).clone().into())).collect()
}

fn matmul(runner: &mut Runner, store: &TuneStore, [m, n, k]: [i64; 3]) -> Result<()> {
    let (a, b) = (Random::new(1).tensor::<f32>(&[m, k])?, Random::new(2).tensor::<f32>(&[k, n])?);
    let found = tune(runner, "matmul", tensors(&[&a, &b, &Tensor::zeros(&[m, n])?]), store)?;
    let (winner, _) = found.winner().context("no configuration runs")?;
    eprintln!("matmul: {} after {} of {} configurations", winner.config, found.looked, found.trials.len());
    matmul_as_launched(runner, store, [m, n, k])
}

fn matmul_as_launched(runner: &mut Runner, store: &TuneStore, [m, n, k]: [i64; 3]) -> Result<()> {
    let (kernel, device) = (tuned("matmul", store)?, runner.device());
    let (a, b) = (Random::new(1).tensor::<f32>(&[m, k])?, Random::new(2).tensor::<f32>(&[k, n])?);
    let mut c = Tensor::<f32>::zeros(&[m, n])?;
    let launched = kernel.on(&device).arg(&a).arg(&b).arg(&mut c).run()?;
    let choice = launched.tuned().context("the launch found no tuning result")?.clone();
    let time = runner.time(|clock| clock.run(kernel.on(&device).arg(&a).arg(&b).arg(&mut c)))?;
    let (a, b, c) = (floats(&a)?, floats(&b)?, floats(&c)?);
    let (n, k) = (n as usize, k as usize);
    let mut errors = Errors::default();
    for (i, &found) in c.iter().enumerate() {
        let terms = || (0..k).map(|l| a[i / n * k + l] * b[l * n + i % n]);
        // Each of the k sums rounds, of terms that mostly cancel; then the result's own rounding.
        let allowed = ULP * (2.0 * (k as f64).sqrt() + 2.0) * terms().map(f64::abs).sum::<f64>();
        errors.see(format_args!("[{}, {}]", i / n, i % n), found, terms().sum(), allowed);
    }
    let title = format!("matmul {m} x {n} x {k}: {}{}", choice.config, if choice.exact { "" } else { " (nearest)" });
    runner.row(&title, &errors, time, Work::Flops(2 * m as usize * n * k))
}

fn softmax(runner: &mut Runner, store: &TuneStore, [m, n]: [i64; 2]) -> Result<()> {
    let x = Random::new(3).tensor::<f32>(&[m, n])?;
    let found = tune(runner, "softmax", tensors(&[&x, &Tensor::zeros(&[m, n])?]), store)?;
    let (winner, _) = found.winner().context("no configuration runs")?;
    eprintln!("softmax: {} after {} of {} configurations", winner.config, found.looked, found.trials.len());
    softmax_as_launched(runner, store, [m, n])
}

fn softmax_as_launched(runner: &mut Runner, store: &TuneStore, [m, n]: [i64; 2]) -> Result<()> {
    let (kernel, device) = (tuned("softmax", store)?, runner.device());
    let x = Random::new(3).tensor::<f32>(&[m, n])?;
    let mut y = Tensor::<f32>::zeros(&[m, n])?;
    let launched = kernel.on(&device).arg(&x).arg(&mut y).run()?;
    let choice = launched.tuned().context("the launch found no tuning result")?.clone();
    let time = runner.time(|clock| clock.run(kernel.on(&device).arg(&x).arg(&mut y)))?;
    let (x, y) = (floats(&x)?, floats(&y)?);
    let n = n as usize;
    let mut errors = Errors::default();
    for (row, (x, y)) in x.chunks(n).zip(y.chunks(n)).enumerate() {
        let top = x.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let sum: f64 = x.iter().map(|v| (v - top).exp()).sum();
        for (column, (&x, &found)) in x.iter().zip(y).enumerate() {
            // A few roundings on the way to each exponential and, mostly cancelling, those of a sum of n numbers.
            let allowed = ULP * (8.0 + (n as f64).sqrt()) / sum;
            errors.see(format_args!("[{row}, {column}]"), found, (x - top).exp() / sum, allowed);
        }
    }
    let title = format!("softmax {m} x {n}: {}{}", choice.config, if choice.exact { "" } else { " (nearest)" });
    runner.row(&title, &errors, time, Work::Bytes(8 * m as usize * n))
}
