//! Whether two strided tensors share an element: exactly, not by their address ranges alone.
//!
//! Two columns of one matrix interleave in memory without sharing anything, and a kernel may write one while it reads the other.

use smallvec::SmallVec;

use super::bind::TensorDesc;

/// A tensor's memory.
#[derive(Clone, Copy, Debug)]
pub struct Region<'a> {
    /// Address of the element with index 0.
    pub address: u64,
    /// Bytes an element.
    pub elem_bytes: u32,
    /// Extents.
    pub dims: &'a [i64],
    /// Strides in elements.
    pub strides: &'a [i64],
}

impl<'a> Region<'a> {
    /// The memory of a described tensor.
    pub fn of(tensor: &TensorDesc<'a>) -> Region<'a> {
        Region { address: tensor.address, elem_bytes: tensor.elem.bytes(), dims: tensor.dims, strides: tensor.strides }
    }

    /// First byte and the byte behind the last one; None for a tensor without elements.
    fn range(&self) -> Option<(i128, i128)> {
        let (mut lo, mut hi) = (i128::from(self.address), i128::from(self.address));
        for (&d, &s) in self.dims.iter().zip(self.strides) {
            if d == 0 {
                return None;
            }
            let reach = i128::from(d - 1) * i128::from(s) * i128::from(self.elem_bytes);
            if reach < 0 { lo += reach } else { hi += reach }
        }
        Some((lo, hi + i128::from(self.elem_bytes)))
    }
}

/// One unknown of the equation: `coefficient * v` with `lo <= v <= hi`.
struct Term {
    coefficient: i128,
    lo: i128,
    hi: i128,
}

/// Steps of the search before it is given up and the tensors count as overlapping.
const SEARCH_LIMIT: u32 = 20_000;

/// Whether a byte belongs to both.
pub fn overlap(a: Region<'_>, b: Region<'_>) -> bool {
    let (Some((a_lo, a_hi)), Some((b_lo, b_hi))) = (a.range(), b.range()) else { return false };
    if a_hi <= b_lo || b_hi <= a_lo {
        return false;
    }
    // A shared byte: address_a + sum(i * stride_a) + p == address_b + sum(j * stride_b) + q with p, q inside an element.
    let mut terms: SmallVec<[Term; 12]> = SmallVec::new();
    let mut add = |coefficient: i128, lo: i128, hi: i128| {
        if coefficient == 0 || (lo == 0 && hi == 0) {
            return;
        }
        let (coefficient, lo, hi) = if coefficient < 0 { (-coefficient, -hi, -lo) } else { (coefficient, lo, hi) };
        match terms.iter_mut().find(|t| t.coefficient == coefficient) {
            Some(term) => {
                term.lo += lo;
                term.hi += hi;
            }
            None => terms.push(Term { coefficient, lo, hi }),
        }
    };
    for (&d, &s) in a.dims.iter().zip(a.strides) {
        add(i128::from(s) * i128::from(a.elem_bytes), 0, i128::from(d - 1));
    }
    for (&d, &s) in b.dims.iter().zip(b.strides) {
        add(i128::from(s) * i128::from(b.elem_bytes), -i128::from(d - 1), 0);
    }
    add(1, -i128::from(b.elem_bytes - 1), i128::from(a.elem_bytes - 1));
    terms.sort_by_key(|t| std::cmp::Reverse(t.coefficient));
    let mut steps = SEARCH_LIMIT;
    solvable(&terms, i128::from(b.address) - i128::from(a.address), &mut steps)
}

/// Whether the terms can add up to `target`; true where the search takes too long.
fn solvable(terms: &[Term], target: i128, steps: &mut u32) -> bool {
    let Some((first, rest)) = terms.split_first() else { return target == 0 };
    let rest_lo: i128 = rest.iter().map(|t| t.coefficient * t.lo).sum();
    let rest_hi: i128 = rest.iter().map(|t| t.coefficient * t.hi).sum();
    // coefficient * v must lie in target - rest_hi ..= target - rest_lo.
    let lo = (target - rest_hi).div_euclid(first.coefficient) + i128::from((target - rest_hi).rem_euclid(first.coefficient) != 0);
    let hi = (target - rest_lo).div_euclid(first.coefficient);
    let mut v = lo.max(first.lo);
    while v <= hi.min(first.hi) {
        if *steps == 0 {
            return true;
        }
        *steps -= 1;
        if solvable(rest, target - first.coefficient * v, steps) {
            return true;
        }
        v += 1;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn region<'a>(address: u64, elem_bytes: u32, dims: &'a [i64], strides: &'a [i64]) -> Region<'a> {
        Region { address, elem_bytes, dims, strides }
    }

    #[test]
    fn interleaved_columns_do_not_overlap() {
        let column = |c: u64| region(1000 + 4 * c, 4, &[100], &[8]);
        assert!(!overlap(column(0), column(1)));
        assert!(overlap(column(3), column(3)));
        // Blocks of columns, and a block that reaches into the next one.
        assert!(!overlap(region(0, 4, &[100, 4], &[8, 1]), region(16, 4, &[100, 4], &[8, 1])));
        assert!(overlap(region(0, 4, &[100, 5], &[8, 1]), region(16, 4, &[100, 4], &[8, 1])));
        // Nothing overlaps an empty tensor.
        assert!(!overlap(region(0, 4, &[0, 4], &[4, 1]), region(0, 4, &[4], &[1])));
        // Backwards.
        assert!(overlap(region(36, 4, &[10], &[-1]), region(0, 4, &[1], &[1])));
    }

    proptest! {
        /// Against enumeration of every byte.
        #[test]
        fn agrees_with_enumeration(
            base in 40u64..80, other in 40u64..80,
            a in prop::collection::vec((0i64..4, -9i64..10), 1..4), b in prop::collection::vec((0i64..4, -9i64..10), 1..4),
            wide_a in prop::bool::ANY, wide_b in prop::bool::ANY,
        ) {
            let split = |v: &[(i64, i64)]| -> (Vec<i64>, Vec<i64>) { v.iter().copied().unzip() };
            let ((da, sa), (db, sb)) = (split(&a), split(&b));
            let (wa, wb) = (if wide_a { 4 } else { 1 }, if wide_b { 2 } else { 1 });
            let bytes = |address: u64, size: u32, dims: &[i64], strides: &[i64]| {
                let mut offsets = vec![0i64];
                for (&d, &s) in dims.iter().zip(strides) {
                    offsets = offsets.iter().flat_map(|&o| (0..d).map(move |i| o + i * s)).collect();
                }
                offsets.iter().flat_map(|&o| (0..i64::from(size)).map(move |k| address as i64 + o * i64::from(size) + k)).collect::<std::collections::HashSet<_>>()
            };
            let expected = !bytes(base, wa, &da, &sa).is_disjoint(&bytes(other, wb, &db, &sb));
            prop_assert_eq!(overlap(region(base, wa, &da, &sa), region(other, wb, &db, &sb)), expected);
        }
    }
}
