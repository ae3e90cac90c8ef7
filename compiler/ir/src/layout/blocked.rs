//! Blocked layouts: each thread holds a small block, warps and ctas tile those blocks, registers repeat the rest.

use smallvec::SmallVec;

use super::linear::{Coords, Hw, LinearLayout};
use super::tiled::Layout;

/// How a tile is dealt out. Every count is a power of two; dimensions are listed as in the tile's shape.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Blocked {
    /// Consecutive elements of one thread.
    pub per_thread: Coords,
    /// Threads of a warp (their product is 32).
    pub lanes: Coords,
    /// Warps of the cta.
    pub warps: Coords,
    /// Dimensions from the fastest (whose threads are neighbours) to the slowest.
    pub order: SmallVec<[usize; 5]>,
}

impl Blocked {
    /// The layout of a tile of `shape`. A dimension longer than the block is repeated in registers; one that the block
    /// exceeds keeps registers first, then lanes, then warps, and what is left over holds copies.
    pub fn layout(&self, shape: &[u32]) -> Layout {
        let rank = shape.len();
        for counts in [&self.per_thread, &self.lanes, &self.warps] {
            assert_eq!(counts.len(), rank, "a blocked layout has one count for each dimension");
            assert!(counts.iter().all(|c| c.is_power_of_two()), "counts of a blocked layout are powers of two");
        }
        let parts = [(Hw::Register, &self.per_thread), (Hw::Lane, &self.lanes), (Hw::Warp, &self.warps)];
        let log2 = |counts: &Coords, dim: usize| counts[dim].trailing_zeros();
        let mut dim_bits: SmallVec<[u8; 5]> = SmallVec::new();
        let mut reps = Coords::new();
        for (dim, &extent) in shape.iter().enumerate() {
            let cover: u32 = parts.iter().map(|(_, counts)| log2(counts, dim)).sum();
            let needed = extent.next_power_of_two().trailing_zeros();
            let bits = cover.min(needed);
            dim_bits.push(bits as u8);
            reps.push(extent.div_ceil(1 << bits));
        }
        let mut start: SmallVec<[u32; 5]> = SmallVec::from_elem(0, rank);
        let mut bases = Vec::new();
        for (hw, counts) in parts {
            let mut of_part = Vec::new();
            for &dim in &self.order {
                for bit in start[dim]..start[dim] + log2(counts, dim) {
                    let mut coords: Coords = SmallVec::from_elem(0, rank);
                    if bit < u32::from(dim_bits[dim]) {
                        coords[dim] = 1 << bit;
                    }
                    of_part.push(coords);
                }
                start[dim] += log2(counts, dim);
            }
            bases.push((hw, of_part));
        }
        Layout::new(LinearLayout::from_bases(&dim_bits, &bases), &reps)
    }
}
