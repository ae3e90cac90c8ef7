//! Softmax without a compiler.

use kernels_kernels::softmax;
use kiln::{Device, Tensor};

fn main() -> Result<(), kiln::Error> {
    let x = Tensor::<f32>::from_fn(&[4, 1000], |i| (i % 7) as f32)?;
    let mut y = Tensor::<f32>::zeros(&[4, 1000])?;
    softmax(&x, &mut y).launch(&Device::best()?)?;
    println!("sum of a row: {:.3}", y.read()?[..1000].iter().sum::<f32>());
    // What the bundle lacks is said.
    let x = Tensor::<f64>::zeros(&[4, 1000])?;
    let mut y = Tensor::<f64>::zeros(&[4, 1000])?;
    let refused = softmax(&x, &mut y).launch(&Device::best()?).unwrap_err();
    println!("{}", refused.to_string().lines().next().unwrap_or_default());
    Ok(())
}
