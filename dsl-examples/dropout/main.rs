//! Drops activations of a network, and checks each against a Philox generator of its own: the mask exactly, the values to a rounding.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use dsl_examples::data::{Float, Input, Random, floats};
use dsl_examples::{Errors, Runner, ULP, Work, kernel};
use half::f16;
use kiln::Tensor;

pub fn main() -> ExitCode {
    dsl_examples::main(|runner| {
        let x = Input::of("dropout")?.tensor::<f16>("x")?;
        case(runner, "6144 activations, p = 0.1, f16", &x, 0.1, 2026)?;
        case(runner, "the same, p = 0.5", &x, 0.5, 2026)?;
        case(runner, "the same, p = 0", &x, 0.0, 2026)?;
        for n in [1, 1023, 1025, 100_003] {
            case(runner, &format!("{n} numbers, p = 0.25"), &Random::new(n).tensor::<f32>(&[n as i64])?, 0.25, u64::MAX - n)?;
        }
        if runner.large() {
            case(runner, "16777216 numbers, p = 0.1", &Random::new(1).tensor::<f32>(&[1 << 24])?, 0.1, 1)?;
        }
        Ok(())
    })
}

fn case<T: Float>(runner: &mut Runner, title: &str, x: &Tensor<T>, p: f32, seed: u64) -> Result<()> {
    let (dropout, device) = (kernel("dropout", "dropout")?, runner.device());
    let mut y = Tensor::<T>::zeros(x.dims())?;
    let time = runner.time(|clock| clock.run(dropout.on(&device).arg(x).arg(&mut y).arg(p).arg(seed)))?;

    let (x_elements, y) = (floats(x)?, floats(&y)?);
    let mut errors = Errors::default();
    let mut kept = 0u32;
    for (n, (&x, &y)) in x_elements.iter().zip(&y).enumerate() {
        // 24 bits of the first word make a number in [0, 1).
        let uniform = f64::from(philox(seed, n as u64)[0] >> 8) / f64::from(1u32 << 24);
        let keep = uniform >= f64::from(p);
        kept += u32::from(keep);
        let expected = if keep { x / (1.0 - f64::from(p)) } else { 0.0 };
        // What is dropped is 0, not nearly 0. Kept: 1 - p and the quotient are rounded to f32, then the result to T.
        let allowed = if keep { expected.abs() * ULP + T::rounding(expected) } else { 0.0 };
        errors.see(n, y, expected, allowed);
    }
    // Five standard deviations of a binomial distribution.
    let (n, p) = (y.len() as f64, f64::from(p));
    ensure!((f64::from(kept) - n * (1.0 - p)).abs() <= 5.0 * (n * p * (1.0 - p)).sqrt(), "{title}: {kept} of {n} are kept");
    runner.row(title, &errors, time, Work::Bytes(2 * x.byte_len()))
}

/// Philox4x32-10, from the paper's description: the key's words are the seed's, the counter's low words are `counter`.
fn philox(seed: u64, counter: u64) -> [u32; 4] {
    philox4x32([counter as u32, (counter >> 32) as u32, 0, 0], [seed as u32, (seed >> 32) as u32])
}

fn philox4x32(mut c: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
        let (p, q) = (product(0xD251_1F53, c[0]), product(0xCD9E_8D57, c[2]));
        c = [(q >> 32) as u32 ^ c[1] ^ key[0], q as u32, (p >> 32) as u32 ^ c[3] ^ key[1], p as u32];
        // The golden ratio and the square root of 3, less 1.
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that the authors publish with their library (Random123, kat_vectors).
    #[test]
    fn philox_has_its_known_answers() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox4x32([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }
}
