//! Layer normalization of letter counts, line by line, with and without weight and bias; then of made rows of many widths, against f64.

use std::process::ExitCode;

use anyhow::Result;
use dsl_examples::data::{Float, Input, Random, floats};
use dsl_examples::{Errors, Runner, ULP, Work, kernel};
use half::bf16;
use kiln::Tensor;

const EPS: f32 = 1e-5;

pub fn main() -> ExitCode {
    dsl_examples::main(|runner| {
        let input = Input::of("layer_norm")?;
        let (x, w, b) = (input.tensor::<f32>("x")?, input.tensor("w")?, input.tensor("b")?);
        case(runner, "letters of 202 lines", &x, Some(&w), Some(&b))?;
        case(runner, "the same, no w", &x, None, Some(&b))?;
        case(runner, "the same, no b", &x, Some(&w), None)?;
        case(runner, "the same, neither", &x, None, None)?;
        for (m, n) in [(1, 1), (5, 7), (64, 768), (3, 5001)] {
            made::<f32>(runner, &format!("{m} x {n}"), m, n)?;
        }
        made::<bf16>(runner, "64 x 768, bf16", 64, 768)?;
        if runner.large() {
            made::<f32>(runner, "4096 x 4096", 4096, 4096)?;
        }
        Ok(())
    })
}

fn made<T: Float>(runner: &mut Runner, title: &str, m: i64, n: i64) -> Result<()> {
    let mut random = Random::new(n as u64);
    let (x, w, b) = (random.tensor::<T>(&[m, n])?, random.tensor(&[n])?, random.tensor(&[n])?);
    case(runner, title, &x, Some(&w), Some(&b))
}

fn case<T: Float>(runner: &mut Runner, title: &str, x: &Tensor<T>, w: Option<&Tensor<T>>, b: Option<&Tensor<T>>) -> Result<()> {
    let (layer_norm, device) = (kernel("layer_norm", "layer_norm")?, runner.device());
    let mut y = Tensor::<T>::zeros(x.dims())?;
    let time = runner.time(|clock| clock.run(layer_norm.on(&device).arg(x).arg(w).arg(b).arg(&mut y)))?;

    let n = x.dims()[1] as usize;
    let w = w.map_or(Ok(vec![1.0; n]), floats)?;
    let b = b.map_or(Ok(vec![0.0; n]), floats)?;
    let (x, y) = (floats(x)?, floats(&y)?);
    let mut errors = Errors::default();
    for (m, (row, found)) in x.chunks(n).zip(y.chunks(n)).enumerate() {
        let mean = row.iter().sum::<f64>() / n as f64;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
        let scale = 1.0 / (variance + f64::from(EPS)).sqrt();
        for i in 0..n {
            let expected = (row[i] - mean) * scale * w[i] + b[i];
            // Roundings in proportion to the terms that are added and subtracted: a few each, and those of sums of n numbers, which mostly cancel.
            let terms = (row[i].abs() + mean.abs()) * scale * w[i].abs() + b[i].abs();
            let allowed = terms * ULP * (4.0 + (n as f64).sqrt()) + T::rounding(expected);
            errors.see(format_args!("[{m}, {i}]"), found[i], expected, allowed);
        }
    }
    runner.row(title, &errors, time, Work::Bytes(2 * x.len() * size_of::<T>()))
}
