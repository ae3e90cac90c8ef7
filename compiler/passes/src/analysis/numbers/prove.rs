//! Decides whether a linear expression can be negative: from the ranges of its atoms, else by replacing atoms by what bounds them.

use super::Numbers;
use super::fact::Fact;
use super::fact::gcd;
use crate::analysis::linear::{Atom, Linear};

impl Numbers {
    /// Whether the expression is certainly not negative.
    pub(super) fn is_at_least_zero(&self, e: &Linear) -> bool {
        let mut fuel = 48;
        self.normalize(e).is_some_and(|e| self.prove(&e, &mut fuel))
    }

    /// Tries the numbers, then replaces atoms by what bounds them.
    pub(super) fn prove(&self, e: &Linear, fuel: &mut u32) -> bool {
        if self.least(e).is_some_and(|least| least >= 0) {
            return true;
        }
        // Later atoms depend on earlier ones, so they go first.
        for &(atom, factor) in e.terms.iter().rev() {
            if *fuel == 0 {
                return false;
            }
            *fuel -= 1;
            if let Some((numerator, divisor)) = self.quotients.get(&atom)
                && factor % divisor == 0
                && let Some(bound) = self.quotient_bound(numerator, *divisor, factor)
                && let Some(next) = e.substitute(atom, factor / divisor, &bound).and_then(|e| self.normalize(&e))
                && self.prove(&next, fuel)
            {
                return true;
            }
            let Some(bounds) = self.bounds.get(&atom) else { continue };
            for bound in if factor < 0 { &bounds.upper } else { &bounds.lower } {
                let next = e.substitute(atom, factor, bound).and_then(|e| self.normalize(&e));
                if next.is_some_and(|next| self.prove(&next, fuel)) {
                    return true;
                }
            }
        }
        false
    }

    /// For a term `factor * (numerator / divisor)`: an expression `b` with `factor / divisor * b` at most that.
    pub(super) fn quotient_bound(&self, numerator: &Linear, divisor: i64, factor: i64) -> Option<Linear> {
        let remainder = numerator.constant.rem_euclid(divisor);
        let whole = numerator.offset(-remainder)?;
        if !self.is_not_negative(numerator) {
            return None;
        }
        if self.divisor_of(&whole).is_multiple_of(divisor.unsigned_abs()) {
            return Some(whole);
        }
        if factor < 0 { Some(numerator.clone()) } else { numerator.offset(1 - divisor) }
    }

    pub(super) fn is_not_negative(&self, e: &Linear) -> bool {
        self.normalize(e).and_then(|e| self.least(&e)).is_some_and(|least| least >= 0)
    }

    /// The least value that the atoms' ranges allow.
    pub(super) fn least(&self, e: &Linear) -> Option<i128> {
        let mut least = i128::from(e.constant);
        for &(atom, factor) in &e.terms {
            let fact = self.atom_fact(atom);
            let extreme = if factor < 0 { fact.max } else { fact.min };
            if extreme == i64::MAX || extreme == i64::MIN {
                return None;
            }
            least += i128::from(extreme) * i128::from(factor);
        }
        Some(least)
    }

    pub(super) fn divisor_of(&self, e: &Linear) -> u64 {
        let terms = e.terms.iter().map(|&(atom, factor)| {
            let of_atom = self.atom_fact(atom).divisor;
            // A product that leaves 64 bits still has both factors as divisors.
            of_atom.checked_mul(factor.unsigned_abs()).unwrap_or(factor.unsigned_abs())
        });
        terms.fold(e.constant.unsigned_abs(), gcd)
    }

    /// Rewrites atoms by the equations.
    pub(super) fn normalize(&self, e: &Linear) -> Option<Linear> {
        let mut e = e.clone();
        for _ in 0..8 {
            let Some((atom, factor, by)) = e.terms.iter().find_map(|&(a, f)| Some((a, f, self.equal.get(&a)?))) else { break };
            e = e.substitute(atom, factor, by)?;
        }
        Some(e)
    }

    pub(super) fn atom_fact(&self, atom: Atom) -> Fact {
        let fact = match atom {
            Atom::Value(v) => self.facts[v].unwrap_or(Fact::ANY),
            Atom::Dim(..) => Fact::range(0, self.extent),
            // A program runs, so there is one.
            Atom::NumPrograms(_) => Fact::range(1, self.extent),
            Atom::ProgramId(axis) => Fact::range(0, self.atom_fact(Atom::NumPrograms(axis)).max - 1),
        };
        self.atoms.get(&atom).copied().unwrap_or(fact)
    }
}
