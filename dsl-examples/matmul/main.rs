//! A linear layer with bias and GELU on frames of sound, and matrix products of many shapes with and without an epilogue, against f64.

use std::process::ExitCode;

use anyhow::Result;
use dsl_examples::data::{Float, Input, Random, floats};
use dsl_examples::{Errors, Runner, ULP, Work, kernel};
use half::{bf16, f16};
use kiln::Tensor;

pub fn main() -> ExitCode {
    dsl_examples::main(|runner| {
        let input = Input::of("matmul")?;
        let (x, w, bias) = (input.tensor::<f16>("x")?, input.tensor("w")?, input.tensor("bias")?);
        linear(runner, "sound: 96 x 160 by 64 x 160, f16", &x, &w, Some(&bias))?;
        linear(runner, "the same without bias", &x, &w, None)?;
        for (m, n, k) in [(1, 1, 1), (7, 129, 65), (130, 200, 300)] {
            let mut random = Random::new(k as u64);
            let (x, w, bias) = (random.tensor::<f32>(&[m, k])?, random.tensor(&[n, k])?, random.tensor(&[n])?);
            linear(runner, &format!("linear {m} x {n} x {k}"), &x, &w, Some(&bias))?;
        }
        for (m, n, k) in [(1, 1, 1), (129, 65, 7), (256, 256, 256)] {
            product::<f32>(runner, &format!("{m} x {n} x {k}"), m, n, k, None)?;
        }
        product::<bf16>(runner, "200 x 100 x 300, bf16", 200, 100, 300, None)?;
        product::<f32>(runner, "65 x 70 x 80, relu", 65, 70, 80, Some(("std::activation::relu", |v| v.max(0.0))))?;
        product::<f32>(runner, "65 x 70 x 80, gelu", 65, 70, 80, Some(("std::activation::gelu", gelu)))?;
        if runner.large() {
            product::<f32>(runner, "1024 x 1024 x 1024", 1024, 1024, 1024, None)?;
        }
        Ok(())
    })
}

fn linear<T: Float>(runner: &mut Runner, title: &str, x: &Tensor<T>, w: &Tensor<T>, bias: Option<&Tensor<T>>) -> Result<()> {
    let (linear_gelu, device) = (kernel("matmul", "linear_gelu")?, runner.device());
    let (m, n, k) = (x.dims()[0], w.dims()[0], x.dims()[1]);
    let mut y = Tensor::<T>::zeros(&[m, n])?;
    let time = runner.time(|clock| clock.run(linear_gelu.on(&device).arg(x).arg(w).arg(bias).arg(&mut y)))?;

    let bias = bias.map(floats).transpose()?;
    let errors = compare::<T>(&floats(x)?, &columns(&floats(w)?, k as usize), k as usize, bias.as_deref(), gelu, &floats(&y)?);
    runner.row(title, &errors, time, Work::Flops((2 * m * n * k) as usize))
}

/// An epilogue: its path in Kiln, and the same in f64.
type Epilogue = (&'static str, fn(f64) -> f64);

fn product<T: Float>(runner: &mut Runner, title: &str, m: i64, n: i64, k: i64, epilogue: Option<Epilogue>) -> Result<()> {
    let mut random = Random::new(m as u64);
    let (a, b) = (random.tensor::<T>(&[m, k])?, random.tensor::<T>(&[k, n])?);
    let (mut matmul, device) = (kernel("matmul", "matmul")?, runner.device());
    if let Some((path, _)) = epilogue {
        matmul = matmul.function("EPILOGUE", path);
    }
    let mut c = Tensor::<T>::zeros(&[m, n])?;
    let time = runner.time(|clock| clock.run(matmul.on(&device).arg(&a).arg(&b).arg(&mut c)))?;

    // A transposed view: column j of b is contiguous.
    let b = floats(&b.transpose()?)?;
    let errors =
        compare::<T>(&floats(&a)?, &columns(&b, k as usize), k as usize, None, epilogue.map_or(|v| v, |e| e.1), &floats(&c)?);
    runner.row(title, &errors, time, Work::Flops((2 * m * n * k) as usize))
}

/// Rows of `k` elements.
fn columns(elements: &[f64], k: usize) -> Vec<&[f64]> {
    elements.chunks(k).collect()
}

/// `y` against `epilogue(x @ columns + bias)`: all of a small result, of a large one elements that are spread over all of it.
fn compare<T: Float>(
    x: &[f64],
    columns: &[&[f64]],
    k: usize,
    bias: Option<&[f64]>,
    epilogue: fn(f64) -> f64,
    y: &[f64],
) -> Errors {
    let n = columns.len();
    // A step without a common divisor with the number of columns visits every row and column.
    let step = if y.len() * k > 1 << 24 { 251 } else { 1 };
    let mut errors = Errors::default();
    for at in (0..y.len()).step_by(step) {
        let (i, j) = (at / n, at % n);
        let terms = || x[i * k..][..k].iter().zip(columns[j]).map(|(a, b)| a * b);
        let bias = bias.map_or(0.0, |bias| bias[j]);
        let (sum, size) = (terms().sum::<f64>() + bias, terms().map(f64::abs).sum::<f64>() + bias.abs());
        let expected = epilogue(sum);
        // The worst order of a sum of k + 1 numbers, times the steepest slope of the epilogues, and their own few roundings.
        let allowed = 1.2 * size * ULP / 2.0 * (k as f64 + 1.0) + 4.0 * ULP * sum.abs() + T::rounding(expected);
        errors.see(format_args!("[{i}, {j}]"), y[at], expected, allowed);
    }
    errors
}

/// v (1 + erf(v / sqrt 2)) / 2.
fn gelu(v: f64) -> f64 {
    0.5 * v * (1.0 + erf(v / std::f64::consts::SQRT_2))
}

/// The error function: its series at 0, and far out the continued fraction of its complement (Abramowitz, Stegun, 7.1.6 and 7.1.14).
fn erf(v: f64) -> f64 {
    let x = v.abs();
    let value = if x < 3.0 {
        let mut term = x;
        let mut sum = x;
        for n in 1..200 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
    } else {
        let fraction = (1..100).rev().fold(x, |rest, n| x + f64::from(n) / 2.0 / rest);
        1.0 - (-x * x).exp() / std::f64::consts::PI.sqrt() / fraction
    };
    value.copysign(v)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_has_its_known_values() {
        // Abramowitz, Stegun, table 7.1.
        for (x, y) in [(0.0, 0.0), (0.1, 0.1124629160), (0.5, 0.5204998778), (1.0, 0.8427007929), (1.9, 0.9927904292)] {
            assert!((erf(x) - y).abs() < 1e-10 && (erf(-x) + y).abs() < 1e-10, "{x}");
        }
        assert!((erf(3.0 - 1e-12) - erf(3.0)).abs() < 1e-14);
        assert_eq!(erf(40.0), 1.0);
    }
}
