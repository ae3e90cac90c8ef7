//! Softmax of a character model's logits, where it has to give back the frequencies that the logits came from; then of made matrices against f64.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::Result;
use dsl_examples::data::{Float, Input, Random, floats, licence};
use dsl_examples::{Errors, Runner, ULP, Work, kernel};
use half::f16;
use kiln::Tensor;

pub fn main() -> ExitCode {
    dsl_examples::main(|runner| {
        let logits = Input::of("softmax")?.tensor::<f32>("x")?;
        case(runner, "softmax", "character model, 76 x 76", &logits, Some(frequencies(&licence()?)))?;
        case(runner, "softmax_wide", "the same by softmax_wide", &logits, None)?;
        for (m, n) in [(1, 1), (3, 17), (128, 1000), (64, 1024), (7, 4099)] {
            case(runner, "softmax", &format!("{m} x {n}"), &Random::new(1).tensor::<f32>(&[m, n])?, None)?;
        }
        case(runner, "softmax", "128 x 1000, f16", &Random::new(2).tensor::<f16>(&[128, 1000])?, None)?;
        case(runner, "softmax_wide", "5 x 50257, wide", &Random::new(3).tensor::<f32>(&[5, 50257])?, None)?;
        case(runner, "softmax_wide", "3 x 9000, wide, masked", &masked(&[3, 9000])?, None)?;
        if runner.large() {
            case(runner, "softmax", "4096 x 4096", &Random::new(4).tensor::<f32>(&[4096, 4096])?, None)?;
        }
        Ok(())
    })
}

fn case<T: Float>(runner: &mut Runner, name: &str, title: &str, x: &Tensor<T>, expected: Option<Vec<f64>>) -> Result<()> {
    let (softmax, device) = (kernel("softmax", name)?, runner.device());
    let mut y = Tensor::<T>::zeros(x.dims())?;
    let time = runner.time(|clock| clock.run(softmax.on(&device).arg(x).arg(&mut y)))?;

    let n = x.dims()[1] as usize;
    let (x, y) = (floats(x)?, floats(&y)?);
    let mut errors = Errors::default();
    for (m, (row, found)) in x.chunks(n).zip(y.chunks(n)).enumerate() {
        let reference = reference(row);
        let expected = expected.as_ref().map_or(&reference[..], |e| &e[m * n..][..n]);
        let largest = expected.iter().fold(0.0, |a, &b| f64::max(a, b));
        for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            // A few roundings on the way to each exponential and, mostly cancelling, those of a sum of n numbers; then the result's own.
            let allowed = largest * ULP * (8.0 + (n as f64).sqrt()) + T::rounding(expected);
            errors.see(format_args!("[{m}, {i}]"), found, expected, allowed);
        }
    }
    runner.row(title, &errors, time, Work::Bytes(2 * x.len() * size_of::<T>()))
}

/// Softmax of a row in f64.
fn reference(row: &[f64]) -> Vec<f64> {
    let top = row.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
    let e: Vec<f64> = row.iter().map(|v| (v - top).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.iter().map(|e| e / sum).collect()
}

/// How often each character of the text is followed by each other one, of the times it occurs: what the input's softmax has to be. The input's logits are
/// the logarithms of these counts, rounded to f32 (an error of at most 2^-22, as they are below 8).
fn frequencies(text: &[u8]) -> Vec<f64> {
    let alphabet: Vec<u8> = text.iter().copied().collect::<BTreeSet<u8>>().into_iter().collect();
    let follows = |a: u8, b: u8| text.windows(2).filter(|w| w[0] == a && w[1] == b).count() as f64;
    let counts = |a: u8| alphabet.iter().map(|&b| follows(a, b)).collect::<Vec<f64>>();
    alphabet
        .iter()
        .flat_map(|&a| {
            let row = counts(a);
            let sum: f64 = row.iter().sum();
            row.into_iter().map(move |n| n / sum)
        })
        .collect()
}

/// Rows that begin with more -inf than a tile is wide, as masked logits do.
fn masked(dims: &[i64]) -> Result<Tensor<f32>> {
    let mut random = Random::new(5);
    let n = dims[1] as usize;
    Ok(Tensor::from_fn(dims, |i| if i % n < 5000 { f32::NEG_INFINITY } else { random.normal() as f32 })?)
}
