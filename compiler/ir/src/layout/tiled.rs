//! `Layout = unit x reps`: a linear layout repeated a whole number of times along each dimension.
//!
//! Registers are numbered by the compiler, so a tile of 96 columns is a 32-column unit held three times, not 128 columns
//! with a quarter of them idle. The repetition is the high part of the register index (of the shared-memory offset for
//! layouts of shared memory), last dimension fastest. A layout is kept in one normal form: factors of two move into
//! the unit, so every repetition count is odd, and two layouts that hold the same elements in the same places in the
//! same register order compare equal.

use smallvec::{SmallVec, smallvec};

use super::gf2::{Echelon, bits_of};
use super::linear::{Coords, Hw, LinearLayout};

/// A linear layout, repeated an odd number of times along each dimension. Its extents are *physical*: at least the
/// logical extents of the tile, and what is beyond those is padding.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Layout {
    unit: LinearLayout,
    reps: Coords,
}

impl Layout {
    /// `unit` repeated `reps[d]` times along dimension `d`.
    pub fn new(unit: LinearLayout, reps: &[u32]) -> Self {
        assert_eq!(unit.rank(), reps.len(), "a layout has one repetition count for each dimension");
        assert!(reps.iter().all(|&r| r > 0), "a repetition count is at least 1");
        let hw = if unit.bits(Hw::Offset) > 0 { Hw::Offset } else { Hw::Register };
        let mut unit = unit;
        let mut odd: Coords = reps.iter().copied().collect();
        for dim in (0..reps.len()).rev() {
            let twos = reps[dim].trailing_zeros() as u8;
            if twos > 0 {
                unit = unit.product(&LinearLayout::along(reps.len(), dim, hw, twos));
                odd[dim] >>= twos;
            }
        }
        Layout { unit, reps: odd }
    }

    /// A layout without repetition.
    pub fn linear(unit: LinearLayout) -> Self {
        let reps: Coords = smallvec![1; unit.rank()];
        Layout { unit, reps }
    }

    /// The linear part.
    pub fn unit(&self) -> &LinearLayout {
        &self.unit
    }

    /// How often the unit is repeated along each dimension; odd.
    pub fn reps(&self) -> &[u32] {
        &self.reps
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.reps.len()
    }

    /// Physical extents: unit times repetitions.
    pub fn physical(&self) -> Coords {
        self.unit.extents().iter().zip(&self.reps).map(|(u, r)| u * r).collect()
    }

    /// The layout can hold a tile of these logical extents.
    pub fn covers(&self, logical: &[u32]) -> bool {
        logical.len() == self.rank() && self.physical().iter().zip(logical).all(|(p, l)| p >= l)
    }

    /// Elements each thread holds, copies and padding included.
    pub fn registers(&self) -> u32 {
        self.repetitions() << self.unit.bits(Hw::Register)
    }

    /// Elements of shared memory, padding included.
    pub fn offsets(&self) -> u32 {
        self.repetitions() << self.unit.bits(Hw::Offset)
    }

    /// The tile lies in shared memory: the layout maps offsets, and threads hold nothing of it.
    pub fn is_shared(&self) -> bool {
        self.unit.bits(Hw::Offset) > 0
    }

    /// Number of repetitions of the unit over all dimensions.
    pub fn repetitions(&self) -> u32 {
        self.reps.iter().product()
    }

    /// Number of warps the tile is spread over.
    pub fn warps(&self) -> u32 {
        1 << self.unit.bits(Hw::Warp)
    }

    /// Where repetition number `rep` starts.
    pub fn rep_origin(&self, rep: u32) -> Coords {
        let mut rest = rep;
        let mut origin: Coords = smallvec![0; self.rank()];
        for dim in (0..self.rank()).rev() {
            origin[dim] = (rest % self.reps[dim]) << self.unit.dim_bits()[dim];
            rest /= self.reps[dim];
        }
        assert_eq!(rest, 0, "repetition {rep} is out of range");
        origin
    }

    /// The coordinate a register of a thread holds.
    pub fn coords(&self, register: u32, lane: u32, warp: u32, cta: u32) -> Coords {
        let bits = self.unit.bits(Hw::Register);
        let in_unit =
            self.unit.coords(&[(Hw::Register, register & ((1 << bits) - 1)), (Hw::Lane, lane), (Hw::Warp, warp), (Hw::Cta, cta)]);
        self.rep_origin(register >> bits).iter().zip(&in_unit).map(|(o, c)| o + c).collect()
    }

    /// What a register adds to the coordinate of its thread. A thread's own coordinate is XORed in below the unit
    /// extent; where no lane, warp or cta bit shares a coordinate bit with a register bit, XOR is a plain sum.
    pub fn register_coords(&self, register: u32) -> Coords {
        self.coords(register, 0, 0, 0)
    }

    /// Register bits and thread bits share no coordinate bit: a coordinate is the sum of the thread's and the register's.
    pub fn registers_add(&self) -> bool {
        let union = |hw: Hw| self.unit.cols(hw).iter().fold(0, |acc, c| acc | c);
        union(Hw::Register) & (union(Hw::Lane) | union(Hw::Warp) | union(Hw::Cta)) == 0
    }

    /// Registers that hold the same element as a lower one in the same thread are dropped: constants and index math are
    /// not done twice.
    pub fn without_duplicate_registers(&self) -> Layout {
        let mut echelon = Echelon::default();
        let kept: SmallVec<[u64; 8]> = (self.unit.cols(Hw::Register).iter().copied().enumerate())
            .filter(|&(i, c)| echelon.insert(c, i))
            .map(|(_, c)| c)
            .collect();
        let mut hw_bits = self.unit.hw_bits();
        hw_bits[Hw::Register as usize] = kept.len() as u8;
        let rest = &self.unit.map().cols()[self.unit.bits(Hw::Register) as usize..];
        let cols = kept.iter().chain(rest).copied();
        let unit = LinearLayout::from_cols(hw_bits, self.unit.dim_bits().iter().copied().collect(), cols);
        Layout { unit, reps: self.reps.clone() }
    }

    /// Every element has an owner.
    pub fn is_complete(&self) -> bool {
        self.unit.map().is_surjective()
    }

    /// The right inverse for one element: the register, lane, warp and cta with zero free bits that hold it.
    pub fn owner(&self, coords: &[u32]) -> Option<Owner> {
        let (rep, index) = self.preimage(coords)?;
        Some(Owner {
            register: rep << self.unit.bits(Hw::Register) | self.unit.part(Hw::Register, index),
            lane: self.unit.part(Hw::Lane, index),
            warp: self.unit.part(Hw::Warp, index),
            cta: self.unit.part(Hw::Cta, index),
        })
    }

    /// The repetition a coordinate is in and the packed index, with zero free bits, that holds it within the unit.
    fn preimage(&self, coords: &[u32]) -> Option<(u32, u64)> {
        let mut rep = 0;
        let mut inside: Coords = smallvec![];
        for ((&c, &bits), &reps) in coords.iter().zip(self.unit.dim_bits()).zip(&self.reps) {
            if c >> bits >= reps {
                return None;
            }
            rep = rep * reps + (c >> bits);
            inside.push(c & ((1 << bits) - 1));
        }
        let index = self.unit.map().preimage(self.unit.pack(&inside))?;
        Some((rep, index))
    }

    /// Masks of lane and warp bits that must be zero in the one thread that owns an element.
    pub fn free_threads(&self) -> (u32, u32) {
        (self.unit.free(Hw::Lane), self.unit.free(Hw::Warp))
    }

    /// Registers that own their element in a thread that is an owner: those with zero free bits.
    pub fn owning_registers(&self) -> impl Iterator<Item = u32> {
        let free = self.unit.free(Hw::Register);
        (0..self.registers()).filter(move |r| r & free == 0)
    }

    /// Offset, in elements, of a coordinate in a layout of shared memory.
    pub fn offset(&self, coords: &[u32]) -> Option<u32> {
        let (rep, index) = self.preimage(coords)?;
        Some(rep << self.unit.bits(Hw::Offset) | self.unit.part(Hw::Offset, index))
    }
}

/// One hardware index that holds an element.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Owner {
    /// Register number within the thread.
    pub register: u32,
    /// Lane of the warp.
    pub lane: u32,
    /// Warp of the cta.
    pub warp: u32,
    /// Cta of the cluster.
    pub cta: u32,
}

/// Registers of a layout in groups of `2^run` that hold consecutive elements: each group lists its registers by element.
pub fn register_vectors(layout: &Layout, run: &[u8]) -> Vec<SmallVec<[u32; 8]>> {
    let run_mask: u32 = run.iter().fold(0, |mask, &bit| mask | 1 << bit);
    (0..layout.registers())
        .filter(|r| r & run_mask == 0)
        .map(|first| {
            (0..1u64 << run.len()).map(|i| bits_of(i).fold(first, |register, bit| register | 1 << run[bit as usize])).collect()
        })
        .collect()
}
