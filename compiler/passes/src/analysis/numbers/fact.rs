//! Ranges and divisors, and what operations make of them.

use kiln_ir::ops::BinaryOp;
use kiln_ir::{Function, IntFact, ScalarType, Value, ValueDef};

use crate::fold;

/// Bounds and a divisor of an integer, or of every lane of a tile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fact {
    /// At least this.
    pub min: i64,
    /// At most this.
    pub max: i64,
    /// A divisor; 0 for the number 0, which everything divides.
    pub divisor: u64,
}

impl Fact {
    /// Nothing.
    pub(super) const ANY: Fact = Fact { min: i64::MIN, max: i64::MAX, divisor: 1 };

    pub(super) fn exact(v: i64) -> Fact {
        Fact { min: v, max: v, divisor: v.unsigned_abs() }
    }

    pub(super) fn range(min: i64, max: i64) -> Fact {
        Fact { min, max, divisor: 1 }
    }

    /// The number, if it is known.
    pub fn as_exact(self) -> Option<i64> {
        (self.min == self.max).then_some(self.min)
    }

    /// Whether `n` divides it.
    pub fn is_multiple_of(self, n: u64) -> bool {
        n != 0 && self.divisor.is_multiple_of(n)
    }

    pub(super) fn union(self, other: Fact) -> Fact {
        Fact { min: self.min.min(other.min), max: self.max.max(other.max), divisor: gcd(self.divisor, other.divisor) }
    }
}

pub(super) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// What the type alone says.
pub(super) fn type_fact(elem: Option<ScalarType>) -> Fact {
    match elem {
        Some(s) if !s.is_float() && s.bits() < 64 => {
            let (min, max) = fold::range(s);
            Fact::range(min as i64, max as i64)
        }
        _ => Fact::ANY,
    }
}

/// A fact that leaves the type's range was computed without wrapping: then only the type is known.
pub(super) fn within_type(fact: Fact, elem: Option<ScalarType>) -> Fact {
    let of_type = type_fact(elem);
    if fact.min < of_type.min || fact.max > of_type.max { of_type } else { fact }
}

/// Exact range of an operation on ranges.
pub(super) fn binary_range(op: BinaryOp, a: Fact, b: Fact) -> Option<(i128, i128)> {
    let (al, ah, bl, bh) = (i128::from(a.min), i128::from(a.max), i128::from(b.min), i128::from(b.max));
    Some(match op {
        BinaryOp::Add => (al + bl, ah + bh),
        BinaryOp::Sub => (al - bh, ah - bl),
        BinaryOp::Mul => {
            let products = [al * bl, al * bh, ah * bl, ah * bh];
            (*products.iter().min()?, *products.iter().max()?)
        }
        BinaryOp::Min => (al.min(bl), ah.min(bh)),
        BinaryOp::Max => (al.max(bl), ah.max(bh)),
        BinaryOp::Div if bl > 0 => {
            let quotients = [al / bl, al / bh, ah / bl, ah / bh];
            (*quotients.iter().min()?, *quotients.iter().max()?)
        }
        // Truncated, and 0 for a division by 0: nearer to 0 than the dividend. MIN / -1 alone is not.
        BinaryOp::Div if bl == 0 || al > i128::from(i64::MIN) => {
            let most = if bl < 0 { al.abs().max(ah.abs()) } else { 0 };
            (al.min(0).min(-most), ah.max(0).max(most))
        }
        BinaryOp::Rem if bl > 0 => (if al < 0 { al.max(1 - bh) } else { 0 }, if ah > 0 { ah.min(bh - 1) } else { 0 }),
        // The dividend's sign, and no farther from 0; x % 0 is x.
        BinaryOp::Rem => (al.min(0), ah.max(0)),
        BinaryOp::And if al >= 0 || bl >= 0 => match (al >= 0, bl >= 0) {
            (true, true) => (0, ah.min(bh)),
            (true, false) => (0, ah),
            _ => (0, bh),
        },
        BinaryOp::Shr if al >= 0 && (0..64).contains(&bl) => (0, ah >> bl),
        BinaryOp::Shl if bl == bh && (0..32).contains(&bl) => (al << bl, ah << bl),
        _ => return None,
    })
}

/// `wraps`: the result is taken modulo the type's width; `index` is as wide as it must be.
pub(super) fn binary_fact(op: BinaryOp, a: Fact, b: Fact, any: Fact, wraps: bool) -> Fact {
    let range = binary_range(op, a, b);
    let exact = !wraps || range.is_some_and(|(lo, hi)| lo >= i128::from(any.min) && hi <= i128::from(any.max));
    let (min, max) = match range {
        Some((lo, hi)) if exact => {
            // An unknown end stays unknown.
            let clamp = |v: i128| v.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64;
            (clamp(lo), clamp(hi))
        }
        _ => (any.min, any.max),
    };
    let divisor = match op {
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Min | BinaryOp::Max => gcd(a.divisor, b.divisor),
        BinaryOp::Mul => a.divisor.checked_mul(b.divisor).unwrap_or(a.divisor.max(b.divisor)),
        BinaryOp::Shl => b.as_exact().filter(|s| (0..32).contains(s)).and_then(|s| a.divisor.checked_mul(1 << s)).unwrap_or(1),
        BinaryOp::Div => match b.as_exact() {
            Some(c) if c > 0 && a.is_multiple_of(c as u64) => a.divisor / c as u64,
            _ => 1,
        },
        BinaryOp::Rem => gcd(a.divisor, b.divisor),
        _ => 1,
    };
    match divisor {
        // Modulo the width, only powers of two keep dividing what has wrapped.
        0 if (min, max) == (0, 0) => Fact { min, max, divisor: 0 },
        0 => Fact { min, max, divisor: 1 },
        _ if exact => Fact { min, max, divisor },
        _ => Fact { min, max, divisor: 1 << divisor.trailing_zeros() },
    }
}

pub(super) fn dim_fact(func: &Function, view: Value, axis: usize, extent: i64) -> Fact {
    match param_fact(func, view, axis, true) {
        Some(fact) => match fact.known {
            Some(v) => Fact::exact(v),
            None => Fact { min: 0, max: fact.max.unwrap_or(extent).min(extent), divisor: u64::from(fact.divisor) },
        },
        None => Fact::range(0, extent),
    }
}

pub(super) fn stride_fact(func: &Function, view: Value, axis: usize, extent: i64) -> Fact {
    let unknown = Fact::range(if extent == i64::MAX { i64::MIN } else { -extent }, extent);
    match param_fact(func, view, axis, false) {
        Some(IntFact { known: Some(v), .. }) => Fact::exact(v),
        Some(fact) => Fact { divisor: u64::from(fact.divisor), ..unknown },
        None => Fact::ANY,
    }
}

/// The specialization's fact of a dimension or stride of a tensor parameter.
pub(super) fn param_fact(func: &Function, view: Value, axis: usize, dim: bool) -> Option<IntFact> {
    let ValueDef::Param(block, number) = func.values[view].def else { return None };
    if block != func.body {
        return None;
    }
    let facts = func.params.get(usize::from(number))?.tensor.as_ref()?;
    if dim { facts.dims.get(axis).copied() } else { facts.strides.get(axis).copied() }
}
