//! Linear layouts: which element of a tile sits at which hardware index, as a linear map over bits.
//!
//! The input is a hardware index: (register, lane, warp, cta) bits for a tile spread over threads, offset bits for a
//! tile in shared memory. The output is a coordinate of the tile; its dimensions are packed into one word, the last
//! dimension lowest, so the packed coordinate is also the row-major index. After "Linear Layouts" (arXiv 2505.23819).

use smallvec::{SmallVec, smallvec};

use super::gf2::LinearMap;

/// A coordinate of a tile, outermost dimension first.
pub type Coords = SmallVec<[u32; 5]>;

/// The parts of a hardware index. The packed index has registers in its lowest bits, then lanes, warps, ctas; shared
/// memory has offsets alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Hw {
    /// A register of one thread.
    Register,
    /// A thread of a warp (5 bits).
    Lane,
    /// A warp of a cooperative thread array.
    Warp,
    /// A cooperative thread array of a cluster.
    Cta,
    /// An element offset into a shared-memory buffer.
    Offset,
}

impl Hw {
    /// Every part, in the order of the packed index.
    pub const ALL: [Hw; 5] = [Hw::Register, Hw::Lane, Hw::Warp, Hw::Cta, Hw::Offset];

    /// The name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Hw::Register => "reg",
            Hw::Lane => "lane",
            Hw::Warp => "warp",
            Hw::Cta => "cta",
            Hw::Offset => "offset",
        }
    }
}

/// A linear map from hardware index bits to the bits of tile coordinates. Every extent is a power of two.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LinearLayout {
    /// Bits of each part of the hardware index, as in [`Hw::ALL`].
    hw_bits: [u8; 5],
    /// log2 of each extent, outermost dimension first.
    dim_bits: SmallVec<[u8; 5]>,
    map: LinearMap,
}

impl LinearLayout {
    /// A layout from the images of its hardware bits: for each part, one coordinate a bit, lowest bit first.
    pub fn from_bases(dim_bits: &[u8], bases: &[(Hw, Vec<Coords>)]) -> Self {
        let mut hw_bits = [0; 5];
        let mut cols: SmallVec<[u64; 16]> = smallvec![];
        let pack = |coords: &Coords| pack(dim_bits, coords);
        for hw in Hw::ALL {
            for (_, coords) in bases.iter().filter(|(part, _)| *part == hw) {
                hw_bits[hw as usize] += coords.len() as u8;
                cols.extend(coords.iter().map(pack));
            }
        }
        Self::from_cols(hw_bits, dim_bits.iter().copied().collect(), cols)
    }

    /// A layout from packed columns in the order of the packed index.
    pub(super) fn from_cols(hw_bits: [u8; 5], dim_bits: SmallVec<[u8; 5]>, cols: impl IntoIterator<Item = u64>) -> Self {
        let rows = dim_bits.iter().map(|&b| u32::from(b)).sum();
        let map = LinearMap::new(cols, rows);
        assert_eq!(
            map.inputs(),
            hw_bits.iter().map(|&b| u32::from(b)).sum::<u32>(),
            "a layout has one column for each hardware bit"
        );
        LinearLayout { hw_bits, dim_bits, map }
    }

    /// The layout of a tile of extents 1 with no hardware bits: the neutral element of [`product`](Self::product).
    pub fn unit(rank: usize) -> Self {
        Self::from_cols([0; 5], smallvec![0; rank], [])
    }

    /// `bits` bits of `hw` run along dimension `dim`, in order.
    pub fn along(rank: usize, dim: usize, hw: Hw, bits: u8) -> Self {
        let mut hw_bits = [0; 5];
        hw_bits[hw as usize] = bits;
        let mut dim_bits: SmallVec<[u8; 5]> = smallvec![0; rank];
        dim_bits[dim] = bits;
        Self::from_cols(hw_bits, dim_bits, (0..bits).map(|i| 1 << i))
    }

    /// `bits` bits of `hw` that hold the same element: its copies.
    pub fn copies(rank: usize, hw: Hw, bits: u8) -> Self {
        let mut hw_bits = [0; 5];
        hw_bits[hw as usize] = bits;
        Self::from_cols(hw_bits, smallvec![0; rank], (0..bits).map(|_| 0))
    }

    /// Number of tile dimensions.
    pub fn rank(&self) -> usize {
        self.dim_bits.len()
    }

    /// log2 of each extent, outermost dimension first.
    pub fn dim_bits(&self) -> &[u8] {
        &self.dim_bits
    }

    /// Extents, outermost dimension first.
    pub fn extents(&self) -> Coords {
        self.dim_bits.iter().map(|&b| 1 << b).collect()
    }

    /// Number of bits of one part of the hardware index.
    pub fn bits(&self, hw: Hw) -> u8 {
        self.hw_bits[hw as usize]
    }

    pub(super) fn hw_bits(&self) -> [u8; 5] {
        self.hw_bits
    }

    /// Lowest bit of one part within the packed index.
    pub fn shift(&self, hw: Hw) -> u8 {
        self.hw_bits[..hw as usize].iter().sum()
    }

    /// The map on packed indices.
    pub fn map(&self) -> &LinearMap {
        &self.map
    }

    /// Packed images of the bits of one part, lowest first.
    pub fn cols(&self, hw: Hw) -> &[u64] {
        let start = self.shift(hw) as usize;
        &self.map.cols()[start..start + self.bits(hw) as usize]
    }

    /// Coordinate of bit `bit` of one part.
    pub fn basis(&self, hw: Hw, bit: u8) -> Coords {
        self.unpack(self.cols(hw)[bit as usize])
    }

    /// Packs a hardware index; parts that are not named are zero.
    pub fn index(&self, parts: &[(Hw, u32)]) -> u64 {
        parts.iter().fold(0, |index, &(hw, value)| {
            assert!(u64::from(value) >> self.bits(hw) == 0, "{} index {value} is out of range", hw.name());
            index | u64::from(value) << self.shift(hw)
        })
    }

    /// The value of one part of a packed index.
    pub fn part(&self, hw: Hw, index: u64) -> u32 {
        ((index >> self.shift(hw)) & ((1 << self.bits(hw)) - 1)) as u32
    }

    /// The coordinate a hardware index holds.
    pub fn coords(&self, parts: &[(Hw, u32)]) -> Coords {
        self.unpack(self.map.apply(self.index(parts)))
    }

    /// A packed coordinate from one value a dimension.
    pub fn pack(&self, coords: &[u32]) -> u64 {
        pack(&self.dim_bits, coords)
    }

    /// The values of each dimension in a packed coordinate.
    pub fn unpack(&self, packed: u64) -> Coords {
        let mut rest = packed;
        let mut coords: Coords = smallvec![0; self.rank()];
        for (value, &bits) in coords.iter_mut().zip(&self.dim_bits).rev() {
            *value = (rest & ((1 << bits) - 1)) as u32;
            rest >>= bits;
        }
        coords
    }

    /// Mask of the packed coordinate bits that belong to dimension `dim`.
    pub fn dim_mask(&self, dim: usize) -> u64 {
        let low: u32 = self.dim_bits[dim + 1..].iter().map(|&b| u32::from(b)).sum();
        ((1u64 << self.dim_bits[dim]) - 1) << low
    }

    /// Mask of the bits of one part that only choose between copies of an element. With all free bits zero, every
    /// element has one owner; ask before a store, an atomic, a print, an assert or a sum.
    pub fn free(&self, hw: Hw) -> u32 {
        self.part(hw, self.map.free())
    }

    /// The elements both layouts describe: `outer` repeats `self` as a block. Its bits follow those of `self` in every
    /// part of the index, its coordinates count whole blocks.
    pub fn product(&self, outer: &LinearLayout) -> LinearLayout {
        assert_eq!(self.rank(), outer.rank(), "factors of a layout have the same rank");
        let dim_bits: SmallVec<[u8; 5]> = self.dim_bits.iter().zip(&outer.dim_bits).map(|(a, b)| a + b).collect();
        let mut hw_bits = [0; 5];
        let mut cols: SmallVec<[u64; 16]> = smallvec![];
        for hw in Hw::ALL {
            hw_bits[hw as usize] = self.bits(hw) + outer.bits(hw);
            cols.extend(self.cols(hw).iter().map(|&c| pack(&dim_bits, &self.unpack(c))));
            cols.extend(outer.cols(hw).iter().map(|&c| {
                let blocks = outer.unpack(c);
                let coords: Coords = blocks.iter().zip(&self.dim_bits).map(|(&v, &b)| v << b).collect();
                pack(&dim_bits, &coords)
            }));
        }
        Self::from_cols(hw_bits, dim_bits, cols)
    }

    /// The layout that, repeated around `inner`, gives `self`: `inner.product(quotient) == self`. None where `self` is
    /// no repetition of `inner`; this decides whether an instruction with that fragment applies.
    pub fn divide(&self, inner: &LinearLayout) -> Option<LinearLayout> {
        if self.rank() != inner.rank() {
            return None;
        }
        let dim_bits: SmallVec<[u8; 5]> =
            self.dim_bits.iter().zip(&inner.dim_bits).map(|(a, b)| a.checked_sub(*b)).collect::<Option<_>>()?;
        let mut hw_bits = [0; 5];
        let mut cols: SmallVec<[u64; 16]> = smallvec![];
        for hw in Hw::ALL {
            hw_bits[hw as usize] = self.bits(hw).checked_sub(inner.bits(hw))?;
            let (low, high) = self.cols(hw).split_at(inner.bits(hw) as usize);
            if low.iter().zip(inner.cols(hw)).any(|(&a, &b)| self.unpack(a) != inner.unpack(b)) {
                return None;
            }
            for &col in high {
                let coords = self.unpack(col);
                let blocks: Coords = coords.iter().zip(&inner.dim_bits).map(|(&v, &b)| v >> b).collect();
                if blocks.iter().zip(&inner.dim_bits).zip(&coords).any(|((&q, &b), &v)| q << b != v) {
                    return None;
                }
                cols.push(pack(&dim_bits, &blocks));
            }
        }
        Some(Self::from_cols(hw_bits, dim_bits, cols))
    }

    /// Register bits that step through dimension `dim` one element at a time: entry `i` is the register bit worth `2^i`.
    /// No other hardware bit touches those coordinate bits, so each run of registers is an aligned run of elements in
    /// every thread. Its length bounds the vector width of a memory access.
    pub fn register_run(&self, dim: usize) -> SmallVec<[u8; 5]> {
        let low: u32 = self.dim_bits[dim + 1..].iter().map(|&b| u32::from(b)).sum();
        let mut run = smallvec![];
        for i in 0..u32::from(self.dim_bits[dim]) {
            let bit = 1u64 << (low + i);
            let register = self.cols(Hw::Register).iter().position(|&c| c == bit);
            let users = self.map.cols().iter().filter(|&&c| c & bit != 0).count();
            match register {
                Some(register) if users == 1 => run.push(register as u8),
                _ => break,
            }
        }
        run
    }
}

fn pack(dim_bits: &[u8], coords: &[u32]) -> u64 {
    assert_eq!(dim_bits.len(), coords.len(), "a coordinate has one value for each dimension");
    dim_bits.iter().zip(coords).fold(0, |packed, (&bits, &value)| {
        assert!(u64::from(value) >> bits == 0, "coordinate {value} is beyond an extent of {}", 1u64 << bits);
        packed << bits | u64::from(value)
    })
}
