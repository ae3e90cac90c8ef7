//! Data from generators: the same seed, name and shape give the same numbers everywhere.

use anyhow::{Result, bail};
use kiln::AnyTensor;
use kiln_ir::ScalarType;
use kiln_ir::signature::Number;

use super::spec::{Generated, Generator};

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    /// A stream of its own for each argument.
    fn new(seed: u64, name: &str) -> Random {
        // FNV-1a over the name.
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        let mut random = Random(seed ^ hash);
        random.next();
        random
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in 0..1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in lo..hi, without bias.
    fn below(&mut self, lo: i64, hi: i64) -> i64 {
        let span = hi.wrapping_sub(lo) as u64;
        let limit = u64::MAX - u64::MAX % span;
        loop {
            let word = self.next();
            if word < limit {
                return lo.wrapping_add((word % span) as i64);
            }
        }
    }

    /// Two independent normal numbers (Box and Muller).
    fn normals(&mut self) -> (f64, f64) {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.unit()).sin_cos();
        (radius * cos, radius * sin)
    }
}

/// Makes the data. `wanted` is the element type of the parameter, where that is fixed.
pub fn generate(name: &str, what: &Generated, wanted: Option<ScalarType>, seed: u64) -> Result<AnyTensor> {
    let usual = match what.kind {
        Generator::Arange(_) | Generator::Randint(..) => ScalarType::I32,
        _ => ScalarType::F32,
    };
    let ty = what.ty.or(wanted).unwrap_or(usual);
    let mut random = Random::new(seed, name);
    let mut tensor = AnyTensor::zeros(ty, &what.dims)?;
    match what.kind {
        Generator::Full(0.0) => {}
        Generator::Full(value) => {
            let number = match ty {
                ScalarType::Bool if value == 1.0 => Number::Bool(true),
                _ if ty.is_float() => Number::Float(value),
                _ if value.fract() == 0.0 && value.abs() < 9e18 => Number::Int(value as i64),
                _ => bail!("{value} is not of type {ty}"),
            };
            fill(&mut tensor, ty, |_| number)?;
        }
        Generator::Arange(start) => fill(&mut tensor, ty, |i| Number::Int(start.wrapping_add(i as i64)))?,
        Generator::Randint(lo, hi) => fill(&mut tensor, ty, |_| match random.below(lo, hi) {
            v @ 0..=1 if ty == ScalarType::Bool => Number::Bool(v == 1),
            v => Number::Int(v),
        })?,
        Generator::Rand(..) | Generator::Randn(..) if !ty.is_float() => {
            bail!("random floats cannot be of type {ty}; `randint(LO..HI, DIMS)` makes integers")
        }
        Generator::Rand(lo, hi) => fill(&mut tensor, ty, |_| Number::Float(lo + (hi - lo) * random.unit()))?,
        Generator::Randn(mean, std) => {
            let mut spare = None;
            fill(&mut tensor, ty, |_| {
                let z = spare.take().unwrap_or_else(|| {
                    let (a, b) = random.normals();
                    spare = Some(b);
                    a
                });
                Number::Float(mean + std * z)
            })?;
        }
    }
    Ok(tensor)
}

/// Writes `value(i)` to every element.
fn fill(tensor: &mut AnyTensor, ty: ScalarType, mut value: impl FnMut(usize) -> Number) -> Result<()> {
    let size = ty.bytes() as usize;
    let mut bytes = Vec::with_capacity(tensor.byte_len());
    for i in 0..tensor.len() {
        let number = value(i);
        let Some((bits, _)) = number.to_type(ty) else { bail!("{number} does not fit type {ty}") };
        bytes.extend_from_slice(&bits.to_le_bytes()[..size]);
    }
    tensor.copy_from_bytes(&bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::spec::ArgSpec;
    use super::*;

    fn make(text: &str, wanted: Option<ScalarType>) -> Result<AnyTensor> {
        let ArgSpec::Generate(what) = ArgSpec::parse(text)? else { panic!("{text}") };
        generate("x", &what, wanted, 0)
    }

    #[test]
    fn types_default_to_what_is_wanted() {
        assert_eq!(make("zeros(3)", None).unwrap().scalar_type(), Some(ScalarType::F32));
        assert_eq!(make("zeros(3)", Some(ScalarType::I64)).unwrap().scalar_type(), Some(ScalarType::I64));
        assert_eq!(make("randint(0..3, 2):u8", Some(ScalarType::I64)).unwrap().scalar_type(), Some(ScalarType::U8));
        assert_eq!(make("arange(2..6)", None).unwrap().typed::<i32>().unwrap().to_vec().unwrap(), [2, 3, 4, 5]);
        assert_eq!(make("ones(2):bool", None).unwrap().typed::<bool>().unwrap().to_vec().unwrap(), [true, true]);
        assert!(make("randn(3):i32", None).is_err());
        assert!(make("full(3, value=0.5):i32", None).is_err());
        assert!(make("arange(300):u8", None).is_err());
        assert!(make("full(1, value=1e9):f16", None).is_err());
    }

    #[test]
    fn numbers_repeat_and_have_their_moments() {
        let x = make("randn(200, 500):f64", None).unwrap().typed::<f64>().unwrap().to_vec().unwrap();
        assert_eq!(x, make("randn(200, 500):f64", None).unwrap().typed::<f64>().unwrap().to_vec().unwrap());
        let n = x.len() as f64;
        let mean = x.iter().sum::<f64>() / n;
        let var = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        // Five standard errors of the mean and the variance.
        assert!(mean.abs() < 5.0 / n.sqrt() && (var - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{mean} {var}");
        let u = make("rand(100000, lo=2, hi=4):f64", None).unwrap().typed::<f64>().unwrap().to_vec().unwrap();
        assert!(u.iter().all(|v| (2.0..4.0).contains(v)));
        let ints = make("randint(-3..4, 10000)", None).unwrap().typed::<i32>().unwrap().to_vec().unwrap();
        assert!((-3..4).all(|v| ints.contains(&v)) && ints.iter().all(|v| (-3..4).contains(v)));
    }
}
