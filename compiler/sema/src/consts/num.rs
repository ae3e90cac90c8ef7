//! Compile-time integers. In instantiated code every one is known; in generic code constants and extents are polynomials over the names of
//! constant parameters, in a normal form, so that `2 * F` equals `F + F` and `BM` differs from `BM + 1` without knowing `BM`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A compile-time integer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Num {
    /// A number.
    Known(i128),
    /// A polynomial over names (never a constant one).
    Sym(Arc<Poly>),
    /// A constant of which nothing is known.
    Unknown,
}

/// The answer to a question about numbers that may be symbolic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Truth {
    Yes,
    No,
    Maybe,
}

/// The result does not fit the integers of constants (-2^63 .. 2^64).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overflow;

/// Operators without a normal form of their own: they are atoms of polynomials.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum NumOp {
    Div,
    Rem,
    Cdiv,
    NextPow2,
    Min,
    Max,
    Abs,
    And,
    Or,
    Xor,
    Shl,
    Shr,
}

/// A sum of products of atoms.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Poly {
    /// Sorted atoms of a product to its coefficient, which is never 0. The empty product is the constant term.
    terms: BTreeMap<Vec<Atom>, i128>,
}

/// A factor of a product.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
enum Atom {
    Name(Arc<str>),
    Op(NumOp, Vec<Poly>),
}

/// A polynomial with more terms than this is given up (`Num::Unknown`).
const MAX_TERMS: usize = 32;

const MIN: i128 = i64::MIN as i128;
const MAX: i128 = u64::MAX as i128;

fn fits(value: i128) -> Result<i128, Overflow> {
    if (MIN..=MAX).contains(&value) { Ok(value) } else { Err(Overflow) }
}

impl Poly {
    fn constant(value: i128) -> Poly {
        let mut terms = BTreeMap::new();
        if value != 0 {
            terms.insert(vec![], value);
        }
        Poly { terms }
    }

    fn atom(atom: Atom) -> Poly {
        Poly { terms: BTreeMap::from([(vec![atom], 1)]) }
    }

    fn as_constant(&self) -> Option<i128> {
        match self.terms.len() {
            0 => Some(0),
            1 => self.terms.get(&vec![]).copied(),
            _ => None,
        }
    }

    fn add_scaled(&self, other: &Poly, scale: i128) -> Option<Poly> {
        let mut terms = self.terms.clone();
        for (product, &coefficient) in &other.terms {
            let entry = terms.entry(product.clone()).or_insert(0);
            *entry = entry.checked_add(coefficient.checked_mul(scale)?)?;
            if *entry == 0 {
                terms.remove(product);
            }
        }
        (terms.len() <= MAX_TERMS).then_some(Poly { terms })
    }

    fn mul(&self, other: &Poly) -> Option<Poly> {
        let mut out = Poly::default();
        for (p, &a) in &self.terms {
            for (q, &b) in &other.terms {
                let mut product: Vec<Atom> = p.iter().chain(q).cloned().collect();
                product.sort();
                if product.len() > 8 {
                    return None;
                }
                let single = Poly { terms: BTreeMap::from([(product, a.checked_mul(b)?)]) };
                out = out.add_scaled(&single, 1)?;
            }
        }
        Some(out)
    }

    /// The quotient, when every coefficient is a multiple of `divisor`.
    fn exact_div(&self, divisor: i128) -> Option<Poly> {
        if divisor == 0 || self.terms.values().any(|c| c % divisor != 0) {
            return None;
        }
        Some(Poly { terms: self.terms.iter().map(|(p, c)| (p.clone(), c / divisor)).collect() })
    }
}

impl Num {
    /// The number called `name`.
    pub fn name(name: &Arc<str>) -> Num {
        Num::Sym(Arc::new(Poly::atom(Atom::Name(name.clone()))))
    }

    fn poly(&self) -> Option<Poly> {
        match self {
            Num::Known(v) => Some(Poly::constant(*v)),
            Num::Sym(p) => Some((**p).clone()),
            Num::Unknown => None,
        }
    }

    fn from_poly(poly: Option<Poly>) -> Result<Num, Overflow> {
        match poly {
            None => Ok(Num::Unknown),
            Some(p) => match p.as_constant() {
                Some(v) => Ok(Num::Known(fits(v)?)),
                None => Ok(Num::Sym(Arc::new(p))),
            },
        }
    }

    /// The value, when known.
    pub fn known(&self) -> Option<i128> {
        match self {
            Num::Known(v) => Some(*v),
            _ => None,
        }
    }

    fn both(a: &Num, b: &Num, f: impl FnOnce(&Poly, &Poly) -> Option<Poly>) -> Result<Num, Overflow> {
        match (a.poly(), b.poly()) {
            (Some(a), Some(b)) => Num::from_poly(f(&a, &b)),
            _ => Ok(Num::Unknown),
        }
    }

    /// Sum.
    pub fn add(&self, other: &Num) -> Result<Num, Overflow> {
        if let (Num::Known(a), Num::Known(b)) = (self, other) {
            return a.checked_add(*b).ok_or(Overflow).and_then(fits).map(Num::Known);
        }
        Num::both(self, other, |a, b| a.add_scaled(b, 1))
    }

    /// Difference.
    pub fn sub(&self, other: &Num) -> Result<Num, Overflow> {
        if let (Num::Known(a), Num::Known(b)) = (self, other) {
            return a.checked_sub(*b).ok_or(Overflow).and_then(fits).map(Num::Known);
        }
        Num::both(self, other, |a, b| a.add_scaled(b, -1))
    }

    /// Product.
    pub fn mul(&self, other: &Num) -> Result<Num, Overflow> {
        if let (Num::Known(a), Num::Known(b)) = (self, other) {
            return a.checked_mul(*b).ok_or(Overflow).and_then(fits).map(Num::Known);
        }
        Num::both(self, other, Poly::mul)
    }

    /// Any other operator; `NextPow2` and `Abs` ignore the second operand.
    pub fn op(op: NumOp, a: &Num, b: &Num) -> Result<Num, Overflow> {
        if let (Num::Known(a), Num::Known(b)) = (a, b) {
            return fold(op, *a, *b).and_then(fits).map(Num::Known);
        }
        let (Some(pa), Some(pb)) = (a.poly(), b.poly()) else { return Ok(Num::Unknown) };
        if let Some(divisor) = b.known() {
            match op {
                NumOp::Div | NumOp::Cdiv => {
                    if let Some(quotient) = pa.exact_div(divisor) {
                        return Num::from_poly(Some(quotient));
                    }
                }
                NumOp::Rem if pa.exact_div(divisor).is_some() => return Ok(Num::Known(0)),
                _ => {}
            }
        }
        match op {
            NumOp::Min | NumOp::Max if pa == pb => return Ok(a.clone()),
            NumOp::Div | NumOp::Cdiv if pa == pb => return Ok(Num::Known(1)),
            _ => {}
        }
        let unary = matches!(op, NumOp::NextPow2 | NumOp::Abs);
        let operands = if unary { vec![pa] } else { vec![pa, pb] };
        if operands.iter().any(|p| depth(p) > 6) {
            return Ok(Num::Unknown);
        }
        Ok(Num::Sym(Arc::new(Poly::atom(Atom::Op(op, operands)))))
    }

    /// Whether two numbers are equal.
    pub fn equals(&self, other: &Num) -> Truth {
        match self.sub(other) {
            Ok(Num::Known(0)) => Truth::Yes,
            Ok(Num::Known(_)) => Truth::No,
            _ => Truth::Maybe,
        }
    }

    /// The order of two numbers, where it is known.
    pub fn compare(&self, other: &Num) -> Option<std::cmp::Ordering> {
        match self.sub(other) {
            Ok(Num::Known(d)) => Some(d.cmp(&0)),
            _ => None,
        }
    }
}

fn depth(poly: &Poly) -> usize {
    let of_atom = |atom: &Atom| match atom {
        Atom::Name(_) => 0,
        Atom::Op(_, operands) => 1 + operands.iter().map(depth).max().unwrap_or(0),
    };
    poly.terms.keys().flatten().map(of_atom).max().unwrap_or(0)
}

/// The language's integer arithmetic: x / 0 = 0, x % 0 = x, shifts of at least the width give 0 or the sign.
fn fold(op: NumOp, a: i128, b: i128) -> Result<i128, Overflow> {
    Ok(match op {
        NumOp::Div if b == 0 => 0,
        NumOp::Div => a / b,
        NumOp::Rem if b == 0 => a,
        NumOp::Rem => a % b,
        NumOp::Cdiv if b == 0 => 0,
        NumOp::Cdiv => a / b + i128::from(a % b != 0 && (a < 0) == (b < 0)),
        NumOp::NextPow2 if a <= 1 => 1,
        NumOp::NextPow2 => (a as u128).next_power_of_two() as i128,
        NumOp::Min => a.min(b),
        NumOp::Max => a.max(b),
        NumOp::Abs => a.abs(),
        NumOp::And => a & b,
        NumOp::Or => a | b,
        NumOp::Xor => a ^ b,
        NumOp::Shl if (0..64).contains(&b) => a.checked_mul(1 << b).ok_or(Overflow)?,
        NumOp::Shl => 0,
        NumOp::Shr if (0..64).contains(&b) => a >> b,
        NumOp::Shr => {
            if a < 0 {
                -1
            } else {
                0
            }
        }
    })
}

impl From<i128> for Num {
    fn from(value: i128) -> Num {
        Num::Known(value)
    }
}

impl fmt::Display for Num {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Num::Known(v) => write!(f, "{v}"),
            Num::Sym(p) => write!(f, "{p}"),
            Num::Unknown => f.write_str("_"),
        }
    }
}

impl fmt::Display for Poly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The constant term sorts first; people write it last.
        let (constant, rest): (Vec<_>, Vec<_>) = self.terms.iter().partition(|(p, _)| p.is_empty());
        for (i, (product, &coefficient)) in rest.into_iter().chain(constant).enumerate() {
            match (i, coefficient < 0) {
                (0, false) => {}
                (0, true) => f.write_str("-")?,
                (_, false) => f.write_str(" + ")?,
                (_, true) => f.write_str(" - ")?,
            }
            let size = coefficient.unsigned_abs();
            if product.is_empty() {
                write!(f, "{size}")?;
                continue;
            }
            if size != 1 {
                write!(f, "{size} * ")?;
            }
            for (j, atom) in product.iter().enumerate() {
                write!(f, "{}{atom}", if j == 0 { "" } else { " * " })?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (op, operands) = match self {
            Atom::Name(name) => return f.write_str(name),
            Atom::Op(op, operands) => (op, operands),
        };
        let infix = |p: &Poly| {
            let simple =
                p.terms.len() == 1 && p.terms.iter().all(|(product, &c)| product.is_empty() || (c == 1 && product.len() == 1));
            if simple { p.to_string() } else { format!("({p})") }
        };
        let symbol = match op {
            NumOp::Div => "/",
            NumOp::Rem => "%",
            NumOp::And => "&",
            NumOp::Or => "|",
            NumOp::Xor => "^",
            NumOp::Shl => "<<",
            NumOp::Shr => ">>",
            NumOp::Cdiv | NumOp::NextPow2 | NumOp::Min | NumOp::Max | NumOp::Abs => {
                let name = match op {
                    NumOp::Cdiv => "cdiv",
                    NumOp::NextPow2 => "next_pow2",
                    NumOp::Min => "min",
                    NumOp::Max => "max",
                    _ => "abs",
                };
                let list: Vec<String> = operands.iter().map(Poly::to_string).collect();
                return write!(f, "{name}({})", list.join(", "));
            }
        };
        write!(f, "{} {symbol} {}", infix(&operands[0]), infix(&operands[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Num {
        Num::name(&text.into())
    }

    #[test]
    fn normal_form_decides_equality() {
        let f = name("F");
        let twice = f.add(&f).unwrap();
        assert_eq!(twice, f.mul(&Num::Known(2)).unwrap());
        assert_eq!(Num::op(NumOp::Div, &twice, &Num::Known(2)).unwrap(), f);
        assert_eq!(Num::op(NumOp::Rem, &twice, &Num::Known(2)).unwrap(), Num::Known(0));
        assert_eq!(f.equals(&f.add(&Num::Known(1)).unwrap()), Truth::No);
        assert_eq!(f.equals(&name("G")), Truth::Maybe);
        assert_eq!(f.sub(&f).unwrap(), Num::Known(0));
    }

    #[test]
    fn arithmetic_follows_the_language() {
        let op = |op, a, b| Num::op(op, &Num::Known(a), &Num::Known(b)).unwrap().known().unwrap();
        assert_eq!(op(NumOp::Div, 7, 0), 0);
        assert_eq!(op(NumOp::Rem, 7, 0), 7);
        assert_eq!(op(NumOp::Div, -7, 2), -3);
        assert_eq!(op(NumOp::Cdiv, 7, 2), 4);
        assert_eq!(op(NumOp::Cdiv, -7, 2), -3);
        assert_eq!(op(NumOp::NextPow2, 100, 0), 128);
        assert_eq!(op(NumOp::Shl, 1, 64), 0);
        assert_eq!(Num::Known(MAX).add(&Num::Known(1)), Err(Overflow));
    }

    #[test]
    fn displays_as_people_write() {
        let (k, g) = (name("K"), name("G"));
        let e = Num::op(NumOp::Div, &k.add(&Num::Known(1)).unwrap(), &g).unwrap();
        assert_eq!(e.mul(&Num::Known(2)).unwrap().add(&Num::Known(3)).unwrap().to_string(), "2 * (K + 1) / G + 3");
        assert_eq!(Num::op(NumOp::Cdiv, &k, &g).unwrap().to_string(), "cdiv(K, G)");
    }
}
