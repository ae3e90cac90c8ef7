//! Adds the moon's tide to the sun's, then vectors of many lengths; every sum has to be the correctly rounded one.

use std::process::ExitCode;

use anyhow::Result;
use dsl_examples::data::{Input, Random};
use dsl_examples::{Errors, Runner, Work, kernel};
use kiln::Tensor;

pub fn main() -> ExitCode {
    dsl_examples::main(|runner| {
        let input = Input::of("vector_add")?;
        case(runner, "tides, 720 hours", &input.tensor("x")?, &input.tensor("y")?)?;
        let sizes: &[i64] = if runner.large() { &[1, 1023, 1025, 100_003, 1 << 24] } else { &[1, 1023, 1025, 100_003] };
        for (&n, seed) in sizes.iter().zip(0..) {
            let mut random = Random::new(seed);
            case(runner, &format!("{n} numbers"), &random.tensor(&[n])?, &random.tensor(&[n])?)?;
        }
        Ok(())
    })
}

fn case(runner: &mut Runner, name: &str, x: &Tensor<f32>, y: &Tensor<f32>) -> Result<()> {
    let (add, device) = (kernel("vector_add", "vector_add")?, runner.device());
    let mut z = Tensor::<f32>::zeros(x.dims())?;
    let time = runner.time(|clock| clock.run(add.on(&device).arg(x).arg(y).arg(&mut z)))?;

    let mut errors = Errors::default();
    for (n, ((x, y), z)) in x.to_vec()?.into_iter().zip(y.to_vec()?).zip(z.to_vec()?).enumerate() {
        // The sum of two f32 in f64, rounded once more, is the correctly rounded f32: f64 has more than twice the digits.
        let expected = (f64::from(x) + f64::from(y)) as f32;
        errors.see(n, f64::from(z), f64::from(expected), 0.0);
    }
    runner.row(name, &errors, time, Work::Bytes(3 * x.byte_len()))
}
