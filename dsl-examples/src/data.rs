//! Input files, and made data for other sizes.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use half::{bf16, f16};
use kiln::{AnyTensor, Element, Tensor};
use safetensors::{Dtype, SafeTensors};

/// A file below `dsl-examples`: the folder that `KILN_EXAMPLES` names where a program was moved, else where it was built.
pub fn path(file: &str) -> PathBuf {
    let folder = std::env::var_os("KILN_EXAMPLES").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(folder).join(file)
}

/// The repository's Apache licence: the text that several inputs are made from.
///
/// # Errors
/// Where it cannot be read.
pub fn licence() -> Result<Vec<u8>> {
    let path = path("../LICENSE-APACHE");
    std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
}

/// An example's `input.safetensors`.
#[derive(Debug)]
pub struct Input {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Input {
    /// Reads the file of an example.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn of(example: &str) -> Result<Input> {
        let path = path(&format!("{example}/input.safetensors"));
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Input { path, bytes })
    }

    /// One of its tensors.
    ///
    /// # Errors
    /// Where there is none of that name, or it has elements of another type.
    pub fn tensor<T: Element>(&self, name: &str) -> Result<Tensor<T>> {
        let place = || format!("tensor `{name}` of {}", self.path.display());
        let file = SafeTensors::deserialize(&self.bytes).with_context(place)?;
        let view = file.tensor(name).with_context(place)?;
        let ty = match view.dtype() {
            Dtype::F16 => f16::TYPE,
            Dtype::F32 => f32::TYPE,
            Dtype::I64 => i64::TYPE,
            Dtype::U32 => u32::TYPE,
            other => bail!("{}: no example has elements of type {other:?}", place()),
        };
        let dims: Vec<i64> = view.shape().iter().map(|&d| d as i64).collect();
        let tensor = AnyTensor::from_bytes(ty, &dims, view.data())?;
        tensor.typed().with_context(|| format!("{} holds {ty}", place()))
    }
}

/// A float that inputs are made of and results are compared as.
pub trait Float: Element {
    /// Half the relative distance of neighbouring numbers: what one rounding may be wrong by.
    const HALF_ULP: f64;
    /// Half the smallest positive number.
    const TINY: f64;
    /// What rounding a result of about this size may be wrong by.
    fn rounding(value: f64) -> f64 {
        value.abs() * Self::HALF_ULP + Self::TINY
    }
    /// The nearest number.
    fn from_f64(value: f64) -> Self;
    /// The exact value.
    fn to_f64(self) -> f64;
}

impl Float for f32 {
    const HALF_ULP: f64 = f32::EPSILON as f64 / 2.0;
    const TINY: f64 = f32::MIN_POSITIVE as f64 * f32::EPSILON as f64 / 2.0;
    fn from_f64(value: f64) -> f32 {
        value as f32
    }
    fn to_f64(self) -> f64 {
        f64::from(self)
    }
}

macro_rules! small_floats {
    ($($ty:ty, $mantissa_bits:literal, $tiny:expr;)*) => { $(
        impl Float for $ty {
            const HALF_ULP: f64 = 1.0 / (2u64 << $mantissa_bits) as f64;
            const TINY: f64 = $tiny * Self::HALF_ULP;
            fn from_f64(value: f64) -> $ty {
                <$ty>::from_f64(value)
            }
            fn to_f64(self) -> f64 {
                <$ty>::to_f64(self)
            }
        }
    )* };
}
small_floats! {
    f16, 10, 6.103515625e-5;
    bf16, 7, f32::MIN_POSITIVE as f64;
}

/// The elements as f64.
///
/// # Errors
/// While the tensor is in use.
pub fn floats<T: Float>(tensor: &Tensor<T>) -> Result<Vec<f64>> {
    Ok(tensor.to_vec()?.into_iter().map(T::to_f64).collect())
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): the same seed gives the same data everywhere.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A generator.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Near enough to normal, of mean 0 and standard deviation 1: the sum of twelve uniform numbers.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// A tensor of `normal` numbers.
    ///
    /// # Errors
    /// Where there is not that much memory.
    pub fn tensor<T: Float>(&mut self, dims: &[i64]) -> Result<Tensor<T>> {
        Ok(Tensor::from_fn(dims, |_| T::from_f64(self.normal()))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_read_with_their_types() {
        let input = Input::of("cross_entropy").unwrap();
        let (x, target) = (input.tensor::<f32>("x").unwrap(), input.tensor::<i64>("target").unwrap());
        assert_eq!(x.dims()[0], target.dims()[0]);
        assert!(input.tensor::<f32>("target").is_err());
        assert!(input.tensor::<f32>("y").is_err());
        assert!(Input::of("none").is_err());
    }

    #[test]
    fn roundings_are_as_wide_as_said() {
        fn widest<T: Float>() -> f64 {
            (1..5000).map(|i| 1.0 + f64::from(i) / 5000.0).map(|v| (T::from_f64(v).to_f64() - v).abs() / v).fold(0.0, f64::max)
        }
        for (found, stated) in
            [(widest::<f32>(), f32::HALF_ULP), (widest::<f16>(), f16::HALF_ULP), (widest::<bf16>(), bf16::HALF_ULP)]
        {
            assert!(found <= stated && found > stated * 0.9, "{found} {stated}");
        }
    }
}
