//! Softmax without a compiler.

use kiln::{Device, Tensor};

fn main() -> Result<(), kiln::Error> {
    let x = Tensor::<f32>::from_fn(&[4, 1000], |i| (i % 7) as f32)?;
    let mut y = Tensor::<f32>::zeros(&[4, 1000])?;
    kiln_aot_example::softmax(&x, &mut y).launch(&Device::best()?)?;
    println!("sum of a row: {:.3}", y.read()?[..1000].iter().sum::<f32>());
    Ok(())
}
