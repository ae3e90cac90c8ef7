//! What operations on dimensions do to a layout: drop, insert, collapse, permute, reshape.
//!
//! Each keeps every element in its thread. Registers may be renumbered (repetitions are numbered by dimension), so code
//! generation finds the register of an element by its coordinate.

use smallvec::{SmallVec, smallvec};

use super::linear::{Coords, Hw, LinearLayout};
use super::tiled::Layout;

impl Layout {
    /// The layout of a tile reduced along `dim`: the dimension is gone, and bits that stepped through it hold copies.
    /// Registers that become duplicates are dropped.
    pub fn slice(&self, dim: usize) -> Layout {
        let keep: SmallVec<[usize; 5]> = (0..self.rank()).filter(|&d| d != dim).collect();
        self.select(&keep).without_duplicate_registers()
    }

    /// The layout of a tile of extent 1 along `dim` that broadcasts to this layout without moving anything.
    pub fn collapse(&self, dim: usize) -> Layout {
        self.slice(dim).expand_dims(dim)
    }

    /// Inserts a dimension of extent 1 before dimension `dim`.
    pub fn expand_dims(&self, dim: usize) -> Layout {
        let mut dim_bits: SmallVec<[u8; 5]> = self.unit().dim_bits().iter().copied().collect();
        let mut reps: Coords = self.reps().iter().copied().collect();
        dim_bits.insert(dim, 0);
        reps.insert(dim, 1);
        let cols = self.unit().map().cols().iter().copied();
        Layout::new(LinearLayout::from_cols(self.unit().hw_bits(), dim_bits, cols), &reps)
    }

    /// Dimension `d` of the result is dimension `order[d]` of this layout.
    pub fn permute(&self, order: &[usize]) -> Layout {
        let mut seen: SmallVec<[usize; 5]> = order.iter().copied().collect();
        seen.sort_unstable();
        assert!(seen.iter().copied().eq(0..self.rank()), "{order:?} is no permutation of the dimensions");
        self.select(order)
    }

    /// The layout after a row-major reshape to `extents`, where that moves nothing: the new dimensions must cut between
    /// units and repetitions, never across. The tile must fill the layout exactly (no padding). None asks for a
    /// conversion through shared memory.
    pub fn reshape(&self, extents: &[u32]) -> Option<Layout> {
        let physical: u64 = self.physical().iter().map(|&e| u64::from(e)).product();
        if extents.iter().map(|&e| u64::from(e)).product::<u64>() != physical {
            return None;
        }
        // The row-major index in mixed radix, least significant digit first.
        let mut digits: SmallVec<[Digit; 10]> = smallvec![];
        for dim in (0..self.rank()).rev() {
            digits.push(Digit::Bits(self.unit().dim_bits()[dim]));
            digits.push(Digit::Reps(self.reps()[dim]));
        }
        digits.reverse();
        let mut dim_bits: SmallVec<[u8; 5]> = smallvec![0; extents.len()];
        let mut reps: Coords = smallvec![1; extents.len()];
        for dim in (0..extents.len()).rev() {
            let bits = extents[dim].trailing_zeros() as u8;
            take_bits(&mut digits, bits)?;
            take_reps(&mut digits, extents[dim] >> bits)?;
            dim_bits[dim] = bits;
            reps[dim] = extents[dim] >> bits;
        }
        let cols = self.unit().map().cols().iter().copied();
        Some(Layout::new(LinearLayout::from_cols(self.unit().hw_bits(), dim_bits, cols), &reps))
    }

    /// The layout with exactly the dimensions `dims`, in that order.
    fn select(&self, dims: &[usize]) -> Layout {
        let dim_bits: SmallVec<[u8; 5]> = dims.iter().map(|&d| self.unit().dim_bits()[d]).collect();
        let reps: Coords = dims.iter().map(|&d| self.reps()[d]).collect();
        let bases: Vec<(Hw, Vec<Coords>)> = Hw::ALL
            .into_iter()
            .map(|hw| {
                let of_bit = |bit| {
                    let coords = self.unit().basis(hw, bit);
                    dims.iter().map(|&d| coords[d]).collect()
                };
                (hw, (0..self.unit().bits(hw)).map(of_bit).collect())
            })
            .collect();
        Layout::new(LinearLayout::from_bases(&dim_bits, &bases), &reps)
    }
}

/// One digit of a row-major index: a run of unit bits, or a repetition count.
enum Digit {
    Bits(u8),
    Reps(u32),
}

/// Takes `bits` bits from the least significant end (the end of the list).
fn take_bits(digits: &mut SmallVec<[Digit; 10]>, mut bits: u8) -> Option<()> {
    while bits > 0 {
        match digits.pop()? {
            Digit::Reps(1) => {}
            Digit::Reps(_) => return None,
            Digit::Bits(have) => {
                let taken = have.min(bits);
                bits -= taken;
                if have > taken {
                    digits.push(Digit::Bits(have - taken));
                }
            }
        }
    }
    Some(())
}

/// Takes repetitions that multiply to `reps` from the least significant end.
fn take_reps(digits: &mut SmallVec<[Digit; 10]>, mut reps: u32) -> Option<()> {
    while reps > 1 {
        match digits.pop()? {
            Digit::Bits(0) => {}
            Digit::Bits(_) => return None,
            Digit::Reps(have) if reps.is_multiple_of(have) => reps /= have,
            Digit::Reps(have) if have.is_multiple_of(reps) => {
                digits.push(Digit::Reps(have / reps));
                reps = 1;
            }
            Digit::Reps(_) => return None,
        }
    }
    Some(())
}
