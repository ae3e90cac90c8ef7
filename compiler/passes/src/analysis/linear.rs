//! Linear expressions over the integers that a launch or a loop decides: what bounds are compared in.

use kiln_ir::Value;
use smallvec::SmallVec;

/// An unknown integer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Atom {
    /// A grid extent.
    NumPrograms(u8),
    /// Extent `1` of view `0`.
    Dim(Value, u8),
    /// A program id.
    ProgramId(u8),
    /// Any other scalar.
    Value(Value),
}

/// A sum of atoms times constants, and a constant. Terms are sorted, their factors not 0.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Linear {
    /// Atoms and factors.
    pub terms: SmallVec<[(Atom, i64); 4]>,
    /// Added to them.
    pub constant: i64,
}

impl Linear {
    /// A number.
    pub fn constant(constant: i64) -> Linear {
        Linear { terms: SmallVec::new(), constant }
    }

    /// One atom.
    pub fn atom(atom: Atom) -> Linear {
        Linear { terms: SmallVec::from_slice(&[(atom, 1)]), constant: 0 }
    }

    /// The number, when there are no atoms.
    pub fn as_constant(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// `self + factor * other`; `None` when a coefficient leaves 64 bits.
    pub fn plus(&self, factor: i64, other: &Linear) -> Option<Linear> {
        let mut sum = self.clone();
        sum.constant = sum.constant.checked_add(other.constant.checked_mul(factor)?)?;
        for &(atom, coefficient) in &other.terms {
            let added = coefficient.checked_mul(factor)?;
            match sum.terms.binary_search_by_key(&atom, |t| t.0) {
                Ok(at) => {
                    sum.terms[at].1 = sum.terms[at].1.checked_add(added)?;
                    if sum.terms[at].1 == 0 {
                        sum.terms.remove(at);
                    }
                }
                Err(_) if added == 0 => {}
                Err(at) => sum.terms.insert(at, (atom, added)),
            }
        }
        Some(sum)
    }

    /// `factor * self`.
    pub fn times(&self, factor: i64) -> Option<Linear> {
        Linear::default().plus(factor, self)
    }

    /// `self + constant`.
    pub fn offset(&self, constant: i64) -> Option<Linear> {
        Some(Linear { terms: self.terms.clone(), constant: self.constant.checked_add(constant)? })
    }

    /// The expression with `atom`, whose factor is `factor`, replaced.
    pub fn substitute(&self, atom: Atom, factor: i64, by: &Linear) -> Option<Linear> {
        let mut rest = self.clone();
        rest.terms.retain(|t| t.0 != atom);
        rest.plus(factor, by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_cancel() {
        let (n, p) = (Linear::atom(Atom::NumPrograms(0)), Linear::atom(Atom::ProgramId(0)));
        let sum = n.plus(3, &p).unwrap().offset(5).unwrap();
        assert_eq!(sum.terms[..], [(Atom::NumPrograms(0), 1), (Atom::ProgramId(0), 3)]);
        assert_eq!(sum.plus(-3, &p).unwrap().plus(-1, &n).unwrap().as_constant(), Some(5));
        assert_eq!(
            sum.substitute(Atom::ProgramId(0), 3, &n.offset(-1).unwrap()).unwrap(),
            n.times(4).unwrap().offset(2).unwrap()
        );
        assert_eq!(Linear::constant(i64::MAX).offset(1), None);
    }
}
