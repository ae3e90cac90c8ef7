//! Typed arrays for tests: bytes in row-major order with a scalar type and a shape, and a comparison against exact values.

use kiln_ir::ScalarType;

use crate::scalar::{Num, decode, encode, round_float, ulp};

/// A dense row-major array.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Element type.
    pub ty: ScalarType,
    /// Extents.
    pub shape: Vec<usize>,
    /// Little-endian elements.
    pub bytes: Vec<u8>,
}

impl Array {
    /// From values, rounded or wrapped to the type.
    ///
    /// # Panics
    /// When there are not as many values as the shape says.
    pub fn new(ty: ScalarType, shape: &[usize], values: impl IntoIterator<Item = Num>) -> Array {
        let mut bytes = Vec::new();
        let mut count = 0usize;
        for value in values {
            encode(ty, value, &mut bytes);
            count += 1;
        }
        assert_eq!(count, shape.iter().product::<usize>(), "values for shape {shape:?}");
        Array { ty, shape: shape.to_vec(), bytes }
    }

    /// All zero bits.
    pub fn zeros(ty: ScalarType, shape: &[usize]) -> Array {
        Array { ty, shape: shape.to_vec(), bytes: vec![0; shape.iter().product::<usize>() * ty.bytes() as usize] }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element number `i` in row-major order.
    pub fn get(&self, i: usize) -> Num {
        let width = self.ty.bytes() as usize;
        decode(self.ty, &self.bytes[i * width..][..width])
    }

    /// Every element in row-major order.
    pub fn values(&self) -> Vec<Num> {
        (0..self.len()).map(|i| self.get(i)).collect()
    }
}

/// How far a result may be from the exact value.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// Equal, bit for bit (all NaNs are one).
    Exact,
    /// At most this many units in the last place of the result's type, at the exact value.
    Ulp(f64),
    /// At most this share of the exact value plus this absolute amount.
    Near {
        /// Share.
        relative: f64,
        /// Amount.
        absolute: f64,
    },
}

/// Why `got` is not `exact` within the bound; `None` when it is. Infinities and NaNs must match; a finite exact value that rounds to infinity may be
/// either infinity or within the bound of the largest value.
pub fn mismatch(ty: ScalarType, got: Num, exact: Num, bound: Bound) -> Option<String> {
    let (Num::Float(g), e) = (got, exact.f64()) else {
        return (got.int() != exact.int()).then(|| format!("got {}, expected {}", got.int(), exact.int()));
    };
    if e.is_nan() || g.is_nan() {
        return (e.is_nan() != g.is_nan()).then(|| format!("got {g}, expected {e}"));
    }
    let rounded = round_float(ty, e);
    // An infinity that was given as such is right though arithmetic in an f8 never makes one.
    if g == rounded || g == e {
        return None;
    }
    let allowed = match bound {
        Bound::Exact => 0.0,
        Bound::Ulp(n) => n * ulp(ty, e),
        Bound::Near { relative, absolute } => relative * e.abs() + absolute,
    };
    let near_limit = g.is_infinite() && rounded.is_finite() && round_float(ty, e + allowed.copysign(e)) == g;
    if near_limit || (g.is_finite() && e.is_finite() && (g - e).abs() <= allowed) {
        return None;
    }
    Some(format!("got {g:e}, exact {e:e}: off by {:.3} ulp, allowed {bound:?}", (g - e).abs() / ulp(ty, e)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_accept_and_reject() {
        let one_up = 1.0 + f64::from(f32::EPSILON);
        let f32_ty = ScalarType::F32;
        assert!(mismatch(f32_ty, Num::Float(one_up), Num::Float(1.0), Bound::Ulp(1.0)).is_none());
        assert!(mismatch(f32_ty, Num::Float(one_up), Num::Float(1.0), Bound::Ulp(0.9)).is_some());
        assert!(mismatch(f32_ty, Num::Float(one_up), Num::Float(1.0), Bound::Exact).is_some());
        assert!(mismatch(f32_ty, Num::Float(f64::NAN), Num::Float(1.0), Bound::Ulp(1e9)).is_some());
        assert!(mismatch(f32_ty, Num::Float(f64::INFINITY), Num::Float(1.0), Bound::Ulp(1e9)).is_some());
        assert!(mismatch(f32_ty, Num::Float(f64::INFINITY), Num::Float(f64::MAX), Bound::Exact).is_none());
        assert!(mismatch(ScalarType::I32, Num::Int(3), Num::Int(4), Bound::Ulp(10.0)).is_some());
    }
}
