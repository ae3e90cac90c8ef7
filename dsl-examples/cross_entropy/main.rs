//! The loss of a character model on a page of text, with its gradient; then made logits of many widths, smoothed and not, against f64.

use std::process::ExitCode;

use anyhow::Result;
use dsl_examples::data::{Float, Input, Random, floats};
use dsl_examples::{Errors, Runner, ULP, Work, kernel};
use half::f16;
use kiln::Tensor;

/// Rows with this target do not count.
const IGNORE: i64 = -100;

pub fn main() -> ExitCode {
    dsl_examples::main(|runner| {
        let input = Input::of("cross_entropy")?;
        let (x, target) = (input.tensor::<f32>("x")?, input.tensor("target")?);
        case(runner, "character model, 160 x 76", &x, &target, 0.0)?;
        case(runner, "the same, smoothed", &x, &target, 0.1)?;
        for (m, v) in [(1, 1), (5, 7), (16, 4096), (7, 4097), (4, 50257)] {
            made::<f32>(runner, &format!("{m} x {v}"), m, v)?;
        }
        made::<f16>(runner, "32 x 1000, f16", 32, 1000)?;
        case(runner, "3 x 9000, masked", &masked(3, 9000)?, &Tensor::from_vec(vec![5000, 8999, IGNORE], &[3])?, 0.0)?;
        if runner.large() {
            made::<f32>(runner, "512 x 50257", 512, 50257)?;
        }
        Ok(())
    })
}

fn made<T: Float>(runner: &mut Runner, title: &str, m: i64, v: i64) -> Result<()> {
    let mut random = Random::new(v as u64);
    let x = random.tensor::<T>(&[m, v])?;
    let target = Tensor::from_fn(&[m], |i| if i % 5 == 3 { IGNORE } else { (random.bits() % v as u64) as i64 })?;
    case(runner, title, &x, &target, 0.1)
}

/// Rows that begin with more -inf than a tile is wide.
fn masked(m: i64, v: i64) -> Result<Tensor<f32>> {
    let mut random = Random::new(9);
    Ok(Tensor::from_fn(&[m, v], |i| if (i as i64) % v < 5000 { f32::NEG_INFINITY } else { random.normal() as f32 })?)
}

fn case<T: Float>(runner: &mut Runner, title: &str, logits: &Tensor<T>, target: &Tensor<i64>, smooth: f32) -> Result<()> {
    let (cross_entropy, device) = (kernel("cross_entropy", "cross_entropy")?, runner.device());
    // The mean over the rows that count.
    let count = target.to_vec()?.iter().filter(|t| **t != IGNORE).count() as f32;
    // The gradient is written over the logits: each launch gets them anew.
    let mut x = Tensor::<T>::zeros(logits.dims())?;
    let mut loss = Tensor::<f32>::zeros(target.dims())?;
    let time = runner.time(|clock| {
        x.write()?.copy_from_slice(&logits.read()?);
        let launch = cross_entropy.on(&device).arg(&mut x).arg(target).arg(&mut loss);
        clock.run(launch.named("smooth", smooth).named("count", count))
    })?;

    let v = logits.dims()[1] as usize;
    let (logits, gradient) = (floats(logits)?, floats(&x)?);
    let (smooth, count) = (f64::from(smooth), f64::from(count));
    let mut errors = Errors::default();
    for (m, (&y, &found)) in target.to_vec()?.iter().zip(&loss.to_vec()?).enumerate() {
        let (row, gradient) = (&logits[m * v..][..v], &gradient[m * v..][..v]);
        if y == IGNORE {
            errors.see(format_args!("loss {m}"), f64::from(found), 0.0, 0.0);
            gradient.iter().for_each(|g| errors.see(format_args!("gradient of row {m}"), *g, 0.0, 0.0));
            continue;
        }
        let y = y as usize;
        let top = row.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let lse = top + row.iter().map(|l| (l - top).exp()).sum::<f64>().ln();
        let live = || row.iter().filter(|l| l.is_finite());
        let (total, size) = (live().sum::<f64>(), live().map(|l| l.abs()).sum::<f64>());
        // Masked logits count as 0 in the smoothed part.
        let expected = (lse - (1.0 - smooth) * row[y] - smooth * total / v as f64) / count;
        let terms = 1.0 + lse.abs() + row[y].abs() + smooth * size / v as f64;
        let roundings = ULP * (8.0 + (v as f64).sqrt());
        errors.see(format_args!("loss {m}"), f64::from(found), expected, terms * roundings / count);
        for (i, (&l, &found)) in row.iter().zip(gradient).enumerate() {
            let p = (l - lse).exp();
            let expected = (p - smooth / v as f64 - if i == y { 1.0 - smooth } else { 0.0 }) / count;
            // The exponent is wrong by a rounding of its terms; then a few roundings of what is subtracted.
            let exponent = if p > 0.0 { ULP * (l.abs() + lse.abs()) + roundings } else { 0.0 };
            let allowed = (p * exponent + 4.0 * ULP * (p + 1.0 / v as f64 + if i == y { 1.0 } else { 0.0 })) / count;
            errors.see(format_args!("gradient [{m}, {i}]"), found, expected, allowed + T::rounding(expected));
        }
    }
    runner.row(title, &errors, time, Work::Bytes(3 * logits.len() * size_of::<T>()))
}
