//! Counts the bytes of the repository's licence, then of made texts of many lengths; every count has to be exact.

use std::process::ExitCode;

use anyhow::Result;
use dsl_examples::data::{Random, licence};
use dsl_examples::{Errors, Runner, Work, kernel};
use kiln::Tensor;

pub fn main() -> ExitCode {
    dsl_examples::main(|runner| {
        let text = licence()?;
        let title = format!("licence, {} bytes", text.len());
        case(runner, &title, text)?;
        let sizes: &[usize] = if runner.large() { &[1, 4095, 4097, 1_000_003, 1 << 26] } else { &[1, 4095, 4097, 1_000_003] };
        for (&n, seed) in sizes.iter().zip(0..) {
            let mut random = Random::new(seed);
            // Small bytes more often than large ones, as in text.
            case(runner, &format!("{n} bytes"), (0..n).map(|_| (random.bits() as u8) & (random.bits() as u8)).collect())?;
        }
        Ok(())
    })
}

fn case(runner: &mut Runner, title: &str, bytes: Vec<u8>) -> Result<()> {
    let (histogram, device) = (kernel("histogram", "byte_histogram")?, runner.device());
    let mut expected = [0i32; 256];
    bytes.iter().for_each(|b| expected[usize::from(*b)] += 1);

    let n = bytes.len();
    let x = Tensor::from_vec(bytes, &[n as i64])?;
    let mut count = Tensor::<i32>::zeros(&[256])?;
    let time = runner.time(|clock| {
        count.write()?.fill(0);
        clock.run(histogram.on(&device).arg(&x).arg(&mut count))
    })?;

    let mut errors = Errors::default();
    for (byte, (found, expected)) in count.to_vec()?.into_iter().zip(expected).enumerate() {
        errors.see(format_args!("byte {byte}"), f64::from(found), f64::from(expected), 0.0);
    }
    runner.row(title, &errors, time, Work::Bytes(n))
}
