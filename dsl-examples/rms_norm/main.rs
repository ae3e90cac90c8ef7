//! Evens out the loudness of a plucked string that dies away, frame by frame; then rows of many widths, alone and added to a residual, against f64.

use std::process::ExitCode;

use anyhow::Result;
use dsl_examples::data::{Float, Input, Random, floats};
use dsl_examples::{Errors, Runner, ULP, Work, kernel};
use half::{bf16, f16};
use kiln::Tensor;

const EPS: f32 = 1e-6;

pub fn main() -> ExitCode {
    dsl_examples::main(|runner| {
        let input = Input::of("rms_norm")?;
        alone(runner, "sound, 96 frames of 160", &input.tensor::<f16>("x")?, &input.tensor("w")?)?;
        for (m, n) in [(1, 1), (5, 7), (64, 2048), (3, 5001)] {
            let mut random = Random::new(n as u64);
            alone(runner, &format!("{m} x {n}"), &random.tensor::<f32>(&[m, n])?, &random.tensor(&[n])?)?;
        }
        with_residual::<f32>(runner, "5 x 7, residual", 5, 7)?;
        with_residual::<bf16>(runner, "64 x 2048, residual, bf16", 64, 2048)?;
        if runner.large() {
            with_residual::<f32>(runner, "4096 x 4096, residual", 4096, 4096)?;
        }
        Ok(())
    })
}

fn alone<T: Float>(runner: &mut Runner, title: &str, x: &Tensor<T>, w: &Tensor<T>) -> Result<()> {
    let (rms_norm, device) = (kernel("rms_norm", "rms_norm")?, runner.device());
    let mut y = Tensor::<T>::zeros(x.dims())?;
    let time = runner.time(|clock| clock.run(rms_norm.on(&device).arg(x).arg(w).arg(&mut y)))?;

    let mut errors = Errors::default();
    compare::<T>(&mut errors, &floats(x)?, &floats(w)?, &floats(&y)?);
    runner.row(title, &errors, time, Work::Bytes(2 * x.byte_len()))
}

fn with_residual<T: Float>(runner: &mut Runner, title: &str, m: i64, n: i64) -> Result<()> {
    let mut random = Random::new(n as u64);
    let (x, before, w) = (random.tensor::<T>(&[m, n])?, random.tensor::<T>(&[m, n])?, random.tensor::<T>(&[n])?);
    let (add_rms_norm, device) = (kernel("rms_norm", "add_rms_norm")?, runner.device());
    let (mut residual, mut y) = (Tensor::<T>::zeros(&[m, n])?, Tensor::<T>::zeros(&[m, n])?);
    let time = runner.time(|clock| {
        residual.write()?.copy_from_slice(&before.read()?);
        clock.run(add_rms_norm.on(&device).arg(&x).arg(&mut residual).arg(&w).arg(&mut y))
    })?;

    let mut errors = Errors::default();
    let sum: Vec<f64> = floats(&x)?.iter().zip(floats(&before)?).map(|(a, b)| a + b).collect();
    for (i, (found, expected)) in floats(&residual)?.into_iter().zip(&sum).enumerate() {
        // Added in f32, then rounded to T.
        errors.see(format_args!("residual {i}"), found, *expected, expected.abs() * ULP + T::rounding(*expected));
    }
    compare::<T>(&mut errors, &sum, &floats(&w)?, &floats(&y)?);
    runner.row(title, &errors, time, Work::Bytes(4 * x.byte_len()))
}

/// `y` against the formula in f64.
fn compare<T: Float>(errors: &mut Errors, x: &[f64], w: &[f64], y: &[f64]) {
    let n = w.len();
    for (m, (row, found)) in x.chunks(n).zip(y.chunks(n)).enumerate() {
        let mean = row.iter().map(|v| v * v).sum::<f64>() / n as f64;
        let scale = 1.0 / (mean + f64::from(EPS)).sqrt();
        for i in 0..n {
            let expected = row[i] * scale * w[i];
            // A few roundings, and those of a sum of n squares, which mostly cancel.
            let allowed = expected.abs() * ULP * (4.0 + (n as f64).sqrt()) + T::rounding(expected);
            errors.see(format_args!("[{m}, {i}]"), found[i], expected, allowed);
        }
    }
}
