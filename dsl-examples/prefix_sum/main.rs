//! Where the words of the licence begin, from their lengths; then prefix sums of many lengths, wrapping included. Every sum has to be exact.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use dsl_examples::data::{Input, Random, licence};
use dsl_examples::{Errors, Runner, Work, kernel};
use kiln::Tensor;

/// Elements of a tile; the kernel's constant B.
const TILE: i64 = 4096;

pub fn main() -> ExitCode {
    dsl_examples::main(|runner| {
        let lengths = Input::of("prefix_sum")?.tensor::<u32>("x")?;
        let ends = case(runner, "lengths of 1581 words", &lengths, TILE)?;
        ensure!(ends == case(runner, "the same in tiles of 64", &lengths, 64)?, "the size of tiles changes the result");
        words_begin_there(&ends, &licence()?)?;
        let sizes: &[i64] = if runner.large() { &[1, 4096, 4097, 300_001, 1 << 24] } else { &[1, 4096, 4097, 300_001] };
        for (&n, seed) in sizes.iter().zip(0..) {
            let mut random = Random::new(seed);
            case(runner, &format!("{n} numbers"), &Tensor::from_fn(&[n], |_| random.bits() as u32)?, TILE)?;
        }
        Ok(())
    })
}

/// The prefix sums, checked.
fn case(runner: &mut Runner, title: &str, x: &Tensor<u32>, tile: i64) -> Result<Vec<u32>> {
    let device = runner.device();
    let prefix_sum = kernel("prefix_sum", "prefix_sum")?.constant("B", tile);
    let n = x.dims()[0];
    let mut y = Tensor::<u32>::zeros(&[n])?;
    let (mut ticket, mut state) = (Tensor::<i32>::zeros(&[1])?, Tensor::<u64>::zeros(&[(n + tile - 1) / tile])?);
    let time = runner.time(|clock| {
        ticket.write()?.fill(0);
        state.write()?.fill(0);
        clock.run(prefix_sum.on(&device).arg(x).arg(&mut y).arg(&mut ticket).arg(&mut state))
    })?;

    let y = y.to_vec()?;
    let (mut errors, mut sum) = (Errors::default(), 0u32);
    for (i, (x, y)) in x.to_vec()?.into_iter().zip(&y).enumerate() {
        sum = sum.wrapping_add(x);
        errors.see(i, f64::from(*y), f64::from(sum), 0.0);
    }
    runner.row(title, &errors, time, Work::Bytes(2 * x.byte_len()))?;
    Ok(y)
}

/// The sum of the lengths up to a word is where the next one begins; all of them are the text.
fn words_begin_there(ends: &[u32], text: &[u8]) -> Result<()> {
    let (last, starts) = ends.split_last().context("there are words")?;
    ensure!(*last as usize == text.len(), "the words end at {last}, the text at {}", text.len());
    for &start in starts {
        let start = start as usize;
        ensure!(text[start - 1].is_ascii_whitespace() && !text[start].is_ascii_whitespace(), "no word begins at {start}");
    }
    Ok(())
}
