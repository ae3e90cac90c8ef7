//! Comparison of a result with a reference.

use half::{bf16, f16};
use kiln::AnyTensor;
use kiln_ir::{ScalarType, float8};
use thiserror::Error;

/// Tensors that cannot be compared: pointers, different shapes, memory in use.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct Incomparable(String);

type Result<T> = std::result::Result<T, Incomparable>;

/// `|result - reference| <= absolute + relative * |reference| + scale * rms(reference)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Relative part.
    pub relative: f64,
    /// Absolute part.
    pub absolute: f64,
    /// Part of the root mean square of the reference's finite elements.
    pub scale: f64,
}

impl Tolerance {
    /// What rounding of a few operations explains for a result of this type; integers are compared exactly.
    pub fn of(ty: ScalarType) -> Tolerance {
        let (relative, absolute) = match ty {
            ScalarType::F64 => (1e-7, 1e-7),
            ScalarType::F32 => (1.3e-6, 1e-5),
            ScalarType::F16 => (1e-3, 1e-5),
            ScalarType::BF16 => (1.6e-2, 1e-5),
            ScalarType::F8E4M3 => (0.0625, 1e-2),
            ScalarType::F8E5M2 => (0.125, 1e-2),
            _ => (0.0, 0.0),
        };
        Tolerance { relative, absolute, scale: 0.0 }
    }

    /// What may lie between two schedules of one kernel, which add up in different orders: the rounding of a result, and that of long sums, whose terms can be
    /// larger than what they cancel to. A wrong tile is off by about the root mean square. Integers are compared exactly.
    pub fn between_schedules(ty: ScalarType) -> Tolerance {
        let rounding = match ty {
            ScalarType::F64 => 1e-12,
            ScalarType::F32 => 1e-4,
            ScalarType::F16 => 4e-3,
            ScalarType::BF16 => 3e-2,
            ScalarType::F8E4M3 => 0.125,
            ScalarType::F8E5M2 => 0.25,
            _ => 0.0,
        };
        Tolerance { relative: rounding, absolute: 0.0, scale: rounding }
    }
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Elements compared.
    pub elements: usize,
    /// Elements beyond the tolerance.
    pub wrong: usize,
    /// Largest absolute difference.
    pub max_absolute: f64,
    /// Largest difference relative to the reference.
    pub max_relative: f64,
    /// The first wrong element: its index, the result and the reference.
    pub first: Option<(Vec<i64>, f64, f64)>,
}

/// An element as f64; integers of more than 53 bits are compared as integers besides.
fn decode(ty: ScalarType, bytes: &[u8]) -> f64 {
    macro_rules! as_type {
        ($t:ty) => {
            <$t>::from_ne_bytes(bytes.try_into().expect("an element's bytes"))
        };
    }
    match ty {
        ScalarType::Bool | ScalarType::U8 => f64::from(bytes[0]),
        ScalarType::I8 => f64::from(as_type!(i8)),
        ScalarType::I16 => f64::from(as_type!(i16)),
        ScalarType::U16 => f64::from(as_type!(u16)),
        ScalarType::I32 => f64::from(as_type!(i32)),
        ScalarType::U32 => f64::from(as_type!(u32)),
        ScalarType::I64 | ScalarType::Index => as_type!(i64) as f64,
        ScalarType::U64 => as_type!(u64) as f64,
        ScalarType::F16 => as_type!(f16).to_f64(),
        ScalarType::BF16 => as_type!(bf16).to_f64(),
        ScalarType::F32 => f64::from(as_type!(f32)),
        ScalarType::F64 => as_type!(f64),
        ScalarType::F8E4M3 => f64::from(float8::e4m3_to_f32(bytes[0])),
        ScalarType::F8E5M2 => f64::from(float8::e5m2_to_f32(bytes[0])),
    }
}

/// Compares element by element. The reference may be of another type (mostly a wider one).
pub fn compare(result: &AnyTensor, reference: &AnyTensor, tolerance: Tolerance) -> Result<Comparison> {
    let (Some(ty), Some(reference_ty)) = (result.scalar_type(), reference.scalar_type()) else {
        return Err(Incomparable("pointers cannot be compared".to_owned()));
    };
    if result.dims() != reference.dims() {
        return Err(Incomparable(format!("the result has shape {:?}, the reference {:?}", result.dims(), reference.dims())));
    }
    let bytes = |t: &AnyTensor| t.to_bytes().map_err(|e| Incomparable(e.to_string()));
    let (a, b) = (bytes(result)?, bytes(reference)?);
    let spread = if tolerance.scale == 0.0 { 0.0 } else { tolerance.scale * root_mean_square(reference_ty, &b) };
    if (ty, reference_ty) == (ScalarType::F32, ScalarType::F32) {
        // The usual case, for which every test of a sweep waits.
        let pairs = f32s(&a).zip(f32s(&b)).map(|(x, y)| Pair { x, y, same: x.to_bits() == y.to_bits() });
        return Ok(differences(pairs, result, true, true, tolerance, spread));
    }
    let same_type = ty == reference_ty;
    let pairs = a.chunks_exact(ty.bytes() as usize).zip(b.chunks_exact(reference_ty.bytes() as usize));
    let pairs = pairs.map(|(a, b)| Pair { x: decode(ty, a), y: decode(reference_ty, b), same: same_type && a == b });
    Ok(differences(pairs, result, ty.is_float(), same_type, tolerance, spread))
}

/// A result's element and the reference's.
struct Pair {
    x: f64,
    y: f64,
    /// Of one type, with the same bits.
    same: bool,
}

fn f32s(bytes: &[u8]) -> impl Iterator<Item = f64> {
    bytes.chunks_exact(4).map(|b| f64::from(f32::from_ne_bytes([b[0], b[1], b[2], b[3]])))
}

/// What the pairs of a tensor's elements come to.
fn differences(
    pairs: impl Iterator<Item = Pair>,
    result: &AnyTensor,
    is_float: bool,
    same_type: bool,
    tolerance: Tolerance,
    spread: f64,
) -> Comparison {
    let mut found = Comparison { elements: result.len(), wrong: 0, max_absolute: 0.0, max_relative: 0.0, first: None };
    for (i, Pair { x, y, same }) in pairs.enumerate() {
        if same || (x.is_nan() && y.is_nan()) || (x == y && is_float) {
            continue;
        }
        let difference = (x - y).abs();
        let right = if is_float {
            // Infinities are right only where they are equal, which is settled above.
            difference.is_finite() && difference <= tolerance.absolute + tolerance.relative * y.abs() + spread
        } else {
            x == y && !same_type
        };
        found.max_absolute = worst(found.max_absolute, difference);
        found.max_relative = worst(found.max_relative, difference / y.abs());
        if !right {
            found.wrong += 1;
            if found.first.is_none() {
                found.first = Some((index_of(i, result.dims()), x, y));
            }
        }
    }
    found
}

fn root_mean_square(ty: ScalarType, bytes: &[u8]) -> f64 {
    fn of(values: impl Iterator<Item = f64>) -> f64 {
        let finite = values.filter(|v| v.is_finite());
        let (sum, count) = finite.fold((0.0, 0.0f64), |(sum, count), v| (sum + v * v, count + 1.0));
        (sum / count.max(1.0)).sqrt()
    }
    match ty {
        ScalarType::F32 => of(f32s(bytes)),
        _ => of(bytes.chunks_exact(ty.bytes() as usize).map(|b| decode(ty, b))),
    }
}

/// The larger; NaN counts as the largest.
fn worst(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

fn index_of(mut linear: usize, dims: &[i64]) -> Vec<i64> {
    let mut index = vec![0; dims.len()];
    for (i, &d) in dims.iter().enumerate().rev() {
        index[i] = (linear % d as usize) as i64;
        linear /= d as usize;
    }
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::Tensor;

    fn tensor<T: kiln::Element>(v: &[T]) -> AnyTensor {
        Tensor::from_vec(v.to_vec(), &[v.len() as i64]).unwrap().into()
    }

    #[test]
    fn differences_are_found_and_placed() {
        let tolerance = Tolerance::of(ScalarType::F32);
        let found = compare(
            &tensor(&[1.0f32, 2.0, f32::NAN, f32::INFINITY]),
            &tensor(&[1.0f64, 2.0 + 1e-6, f64::NAN, f64::INFINITY]),
            tolerance,
        )
        .unwrap();
        assert_eq!((found.wrong, found.first), (0, None));
        let found =
            compare(&tensor(&[1.0f32, 2.1, f32::NAN, 0.0]), &tensor(&[1.0f32, 2.0, 0.0, f32::INFINITY]), tolerance).unwrap();
        assert_eq!(found.wrong, 3);
        assert_eq!(found.first.unwrap().0, [1]);
        assert!(found.max_absolute.is_nan());
        assert!(compare(&tensor(&[1.0f32]), &tensor(&[1.0f32, 2.0]), tolerance).is_err());
        // Integers are exact, also where f64 is not.
        // Other orders of addition are allowed for, other results are not.
        let between = Tolerance::between_schedules(ScalarType::F32);
        let reference = tensor(&[10.0f32, -10.0, 1e-6]);
        assert_eq!(compare(&tensor(&[10.0001f32, -10.0, 5e-4]), &reference, between).unwrap().wrong, 0);
        assert_eq!(compare(&tensor(&[10.0f32, -10.0, 0.01]), &reference, between).unwrap().wrong, 1);
        let found = compare(&tensor(&[i64::MAX, 3]), &tensor(&[i64::MAX - 1, 3]), Tolerance::of(ScalarType::I64)).unwrap();
        assert_eq!(found.wrong, 1);
        assert_eq!(compare(&tensor(&[3i32]), &tensor(&[3i64]), Tolerance::of(ScalarType::I32)).unwrap().wrong, 0);
    }
}
