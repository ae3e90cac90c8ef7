//! The laws every user of layouts relies on, as properties over random layouts and as named examples.

mod conversions;
mod fragments;
mod maps;
mod shapes;

use proptest::prelude::*;
use smallvec::SmallVec;

use super::linear::{Coords, Hw, LinearLayout};
use super::tiled::Layout;

/// Random complete layouts: every coordinate bit is given to a register, lane or warp bit, some bits are copies, and the
/// columns are mixed so that they are not just unit vectors.
fn layouts_of(dim_bits: Vec<u8>, lanes: u8, warps: u8) -> impl Strategy<Value = LinearLayout> {
    let rows: u32 = dim_bits.iter().map(|&b| u32::from(b)).sum();
    let threads = usize::from(lanes + warps);
    let registers = (rows as usize).max(1);
    let cols = proptest::collection::vec(any::<u64>(), registers + threads);
    let order = Just((0..registers + threads).collect::<Vec<_>>()).prop_shuffle();
    let plain = any::<bool>();
    (cols, order, plain).prop_map(move |(random, order, plain)| {
        let mask = (1u64 << rows) - 1;
        let mut cols = vec![0u64; registers + threads];
        for (i, &slot) in order.iter().enumerate() {
            cols[slot] = if i < rows as usize {
                // A unit bit plus noise in lower bits keeps these independent.
                let noise = if plain { 0 } else { random[i] & ((1 << i) - 1) };
                1 << i | noise
            } else if plain {
                0
            } else {
                random[i] & mask
            };
        }
        let bits = [registers as u8, lanes, warps, 0, 0];
        LinearLayout::from_cols(bits, dim_bits.iter().copied().collect(), cols)
    })
}

/// Random layouts of a small tile over one or two warps, with an odd repetition along one dimension.
fn tiles() -> impl Strategy<Value = Layout> {
    (shapes(), prop_oneof![Just(1u32), Just(3), Just(5)])
        .prop_flat_map(|(dims, rep)| (layouts_of(dims, 5, 1), Just(rep)))
        .prop_map(|(unit, rep)| {
            let reps: Coords = (0..unit.rank()).map(|d| if d == 0 { rep } else { 1 }).collect();
            Layout::new(unit, &reps)
        })
}

fn shapes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0u8..9).prop_map(|a| vec![a]),
        (0u8..5, 0u8..5).prop_map(|(a, b)| vec![a, b]),
        (0u8..3, 0u8..4, 0u8..3).prop_map(|(a, b, c)| vec![a, b, c]),
    ]
}

/// Every (register, lane, warp) of a layout without cta bits.
fn points(layout: &Layout) -> impl Iterator<Item = (u32, u32, u32)> + use<> {
    let (registers, lanes, warps) = (layout.registers(), 1u32 << layout.unit().bits(Hw::Lane), layout.warps());
    (0..warps).flat_map(move |w| (0..lanes).flat_map(move |l| (0..registers).map(move |r| (r, l, w))))
}

/// Row-major index of a coordinate within extents.
fn flat(coords: &[u32], extents: &[u32]) -> u64 {
    coords.iter().zip(extents).fold(0, |acc, (&c, &e)| acc * u64::from(e) + u64::from(c))
}

/// Every coordinate within extents, row-major.
fn all_coords(extents: &[u32]) -> Vec<Coords> {
    let total: u64 = extents.iter().map(|&e| u64::from(e)).product();
    (0..total)
        .map(|index| {
            let mut rest = index;
            let mut coords: SmallVec<[u32; 5]> = extents
                .iter()
                .rev()
                .map(|&e| {
                    let c = (rest % u64::from(e)) as u32;
                    rest /= u64::from(e);
                    c
                })
                .collect();
            coords.reverse();
            coords
        })
        .collect()
}
