//! Implicit conversions (widening), common types of two operands, broadcasting of shapes.

use kiln_ir::ScalarType;
use smallvec::SmallVec;

use super::{Kinds, Scalar, Shape};
use crate::consts::{Num, Truth};

/// Whether a value of one type may become another without `as`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Conversion {
    /// Same type.
    Same,
    /// Every value is kept.
    Widens,
    /// Depends on type parameters.
    Deferred,
    /// Values may be lost.
    Narrows,
    /// Between integers and floats, or with bool.
    Mixed,
}

/// Whether every value of `from` is a value of `to`.
fn holds(to: ScalarType, from: ScalarType) -> bool {
    use ScalarType::*;
    match (from, to) {
        (a, b) if a == b => true,
        (Bool, _) | (_, Bool) => false,
        (Index, _) => false,
        (a, Index) => a.is_int(),
        (F8E4M3 | F8E5M2, F16 | BF16 | F32 | F64) => true,
        (F16 | BF16, F32 | F64) | (F32, F64) => true,
        (a, b) if a.is_int() && b.is_int() => {
            let value_bits = |s: ScalarType| s.bits() - u32::from(s.is_signed_int());
            value_bits(a) <= value_bits(b) && (!a.is_signed_int() || b.is_signed_int())
        }
        _ => false,
    }
}

impl Scalar {
    /// Whether a value of this type may become `to` without `as`.
    pub fn converts_to(self, to: Scalar) -> Conversion {
        let (from_kinds, to_kinds) = (self.kinds(), to.kinds());
        match (self, to) {
            (a, b) if a == b => Conversion::Same,
            (Scalar::Unknown, _) | (_, Scalar::Unknown) => Conversion::Deferred,
            (Scalar::IntLit, _) if to_kinds.within(Kinds::INTEGER) => Conversion::Widens,
            (Scalar::FloatLit, _) if to_kinds.within(Kinds::FLOAT) => Conversion::Widens,
            (_, Scalar::IntLit | Scalar::FloatLit) => self.converts_to(to.defaulted()),
            (Scalar::Known(a), Scalar::Known(b)) => {
                if holds(b, a) {
                    Conversion::Widens
                } else if (a.is_float() && b.is_float()) || (a.is_int() && b.is_int()) {
                    Conversion::Narrows
                } else {
                    Conversion::Mixed
                }
            }
            (Scalar::Param(t), Scalar::AccOf(u)) if t == u => Conversion::Widens,
            // Sized integers widen to `index` whatever they are.
            (_, Scalar::Known(ScalarType::Index)) if from_kinds.within(Kinds::INTEGER) => Conversion::Widens,
            (_, Scalar::Known(_)) if from_kinds.may_be(to_kinds) => Conversion::Deferred,
            (_, Scalar::Param(_) | Scalar::AccOf(_)) if from_kinds.may_be(to_kinds) && !self.is_literal() => Conversion::Narrows,
            _ => Conversion::Mixed,
        }
    }

    /// The type two operands meet in: one of them, to which the other widens.
    ///
    /// # Errors
    /// How they fail to meet (`Narrows` or `Mixed`).
    pub fn join(self, other: Scalar) -> Result<Scalar, Conversion> {
        match (self, other) {
            (a, b) if a == b => return Ok(a),
            (Scalar::Unknown, _) | (_, Scalar::Unknown) => return Ok(Scalar::Unknown),
            (Scalar::IntLit, Scalar::FloatLit) | (Scalar::FloatLit, Scalar::IntLit) => return Err(Conversion::Mixed),
            // A literal takes the type of the other side, or does not fit it.
            (lit, other) | (other, lit) if lit.is_literal() => {
                return match lit.converts_to(other) {
                    Conversion::Widens => Ok(other),
                    why => Err(why),
                };
            }
            _ => {}
        }
        let (there, back) = (self.converts_to(other), other.converts_to(self));
        match (there, back) {
            (Conversion::Widens, _) => Ok(other),
            (_, Conversion::Widens) => Ok(self),
            (Conversion::Deferred, _) | (_, Conversion::Deferred) => Ok(Scalar::Unknown),
            (Conversion::Mixed, _) | (_, Conversion::Mixed) => Err(Conversion::Mixed),
            _ => Err(Conversion::Narrows),
        }
    }
}

/// Numpy broadcasting: aligned at the last axis, extents of 1 stretch. In generic code what cannot be decided is accepted.
pub fn broadcast(a: &Shape, b: &Shape) -> Option<Shape> {
    let (x, y) = match (a, b) {
        (Shape::Dims(x), Shape::Dims(y)) => (x, y),
        (s, other) | (other, s) if other.is_scalar() => return Some(s.clone()),
        (Shape::Param(p), Shape::Param(q)) if p == q => return Some(a.clone()),
        _ => return Some(Shape::Unknown),
    };
    let rank = x.len().max(y.len());
    let one = Num::Known(1);
    let at = |dims: &[Num], i: usize| (i + dims.len()).checked_sub(rank).map_or(one.clone(), |i| dims[i].clone());
    let mut out: SmallVec<[Num; 4]> = SmallVec::new();
    for i in 0..rank {
        let (p, q) = (at(x, i), at(y, i));
        out.push(match p.equals(&q) {
            Truth::Yes => p,
            _ if p == one => q,
            _ if q == one => p,
            Truth::No if p.known().is_some() && q.known().is_some() => return None,
            // `BM` against `BM + 1`: one of them may still be 1, but not both ways round.
            Truth::No => return None,
            Truth::Maybe => Num::Unknown,
        });
    }
    Some(Shape::Dims(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_is_lossless() {
        use ScalarType::*;
        let c = |a: ScalarType, b: ScalarType| Scalar::Known(a).converts_to(Scalar::Known(b));
        assert_eq!(c(U8, I16), Conversion::Widens);
        assert_eq!(c(U32, I32), Conversion::Narrows);
        assert_eq!(c(I32, Index), Conversion::Widens);
        assert_eq!(c(Index, I64), Conversion::Narrows);
        assert_eq!(c(F16, BF16), Conversion::Narrows);
        assert_eq!(c(BF16, F32), Conversion::Widens);
        assert_eq!(c(Bool, I32), Conversion::Mixed);
        assert_eq!(Scalar::Known(U32).join(Scalar::Known(I32)), Err(Conversion::Narrows));
        assert_eq!(Scalar::Known(I64).join(Scalar::INDEX), Ok(Scalar::INDEX));
        assert_eq!(Scalar::IntLit.join(Scalar::F32), Err(Conversion::Mixed));
        assert_eq!(Scalar::Known(U8).join(Scalar::IntLit), Ok(Scalar::Known(U8)));
        assert_eq!(Scalar::FloatLit.join(Scalar::Known(F16)), Ok(Scalar::Known(F16)));
    }

    #[test]
    fn shapes_broadcast_as_in_numpy() {
        let known = |d: &[i128]| Shape::of(d.iter().map(|&v| Num::Known(v)));
        assert_eq!(broadcast(&known(&[4, 1]), &known(&[3])), Some(known(&[4, 3])));
        assert_eq!(broadcast(&known(&[4]), &known(&[3])), None);
        assert_eq!(broadcast(&known(&[]), &known(&[3])), Some(known(&[3])));
    }
}
