//! Fragments of the tensor-core instructions, from the figures of the PTX ISA manual ("Matrix Fragments for
//! mma.m16n8k*", "Register Fragments for wgmma.mma_async.m64n*", "ldmatrix").
//!
//! One pattern serves all: four lanes step along the contiguous dimension of the fragment in blocks of 32 bits, eight
//! lanes step along the other one. `width` is the number of elements in 32 bits: 1 for tf32, 2 for 16-bit types, 4 for
//! 8-bit types.

use super::linear::{Hw, LinearLayout};
use super::tiled::Layout;

/// The accumulator of `mma.m16n8k*` (f32 or s32) for a tile `[m, n]`; the low warp bits run along m, the others along n.
pub fn mma_accumulator(shape: [u32; 2], warps: [u32; 2]) -> Layout {
    let tiled = product(&[
        &accumulator_fragment(),
        &LinearLayout::along(2, 0, Hw::Warp, log2(warps[0])),
        &LinearLayout::along(2, 1, Hw::Warp, log2(warps[1])),
    ]);
    cover(tiled, shape)
}

/// Operand A, `[m, k]`, of `mma.m16n8k*` with a k of `8 * width`, for the warps of [`mma_accumulator`].
pub fn mma_operand_a(shape: [u32; 2], width: u32, warps: [u32; 2]) -> Layout {
    let tiled = product(&[
        &operand_a_fragment(width),
        &LinearLayout::along(2, 0, Hw::Warp, log2(warps[0])),
        &LinearLayout::copies(2, Hw::Warp, log2(warps[1])),
    ]);
    cover(tiled, shape)
}

/// Operand B, `[k, n]`, of `mma.m16n8k*` with a k of `8 * width`, for the warps of [`mma_accumulator`].
pub fn mma_operand_b(shape: [u32; 2], width: u32, warps: [u32; 2]) -> Layout {
    let tiled = product(&[
        &LinearLayout::along(2, 0, Hw::Register, log2(width)),
        &LinearLayout::along(2, 0, Hw::Lane, 2),
        &LinearLayout::along(2, 1, Hw::Lane, 3),
        &LinearLayout::along(2, 0, Hw::Register, 1),
        &LinearLayout::copies(2, Hw::Warp, log2(warps[0])),
        &LinearLayout::along(2, 1, Hw::Warp, log2(warps[1])),
    ]);
    cover(tiled, shape)
}

/// The accumulator of `mma.m8n8k4` (f64) for a tile `[m, n]`; warps as in [`mma_accumulator`].
pub fn mma_f64_accumulator(shape: [u32; 2], warps: [u32; 2]) -> Layout {
    let tiled = product(&[
        &ldmatrix(false),
        &LinearLayout::along(2, 0, Hw::Warp, log2(warps[0])),
        &LinearLayout::along(2, 1, Hw::Warp, log2(warps[1])),
    ]);
    cover(tiled, shape)
}

/// Operand A, `[m, k]`, of `mma.m8n8k4` (f64): one element a lane.
pub fn mma_f64_operand_a(shape: [u32; 2], warps: [u32; 2]) -> Layout {
    let tiled = product(&[
        &LinearLayout::along(2, 1, Hw::Lane, 2),
        &LinearLayout::along(2, 0, Hw::Lane, 3),
        &LinearLayout::along(2, 0, Hw::Warp, log2(warps[0])),
        &LinearLayout::copies(2, Hw::Warp, log2(warps[1])),
    ]);
    cover(tiled, shape)
}

/// Operand B, `[k, n]`, of `mma.m8n8k4` (f64): one element a lane.
pub fn mma_f64_operand_b(shape: [u32; 2], warps: [u32; 2]) -> Layout {
    let tiled = product(&[
        &LinearLayout::along(2, 0, Hw::Lane, 2),
        &LinearLayout::along(2, 1, Hw::Lane, 3),
        &LinearLayout::copies(2, Hw::Warp, log2(warps[0])),
        &LinearLayout::along(2, 1, Hw::Warp, log2(warps[1])),
    ]);
    cover(tiled, shape)
}

/// The accumulator of `wgmma.mma_async.m64n*` for a tile `[m, n]`: warp bits 0 and 1 are rows of the warpgroup, the
/// others choose the warpgroup, along m first. Warpgroups side by side along n need a power of two of columns each.
pub fn wgmma_accumulator(shape: [u32; 2], warpgroups: [u32; 2]) -> Layout {
    let warpgroup = accumulator_fragment().product(&LinearLayout::along(2, 0, Hw::Warp, 2));
    let rows = LinearLayout::along(2, 0, Hw::Warp, log2(warpgroups[0]));
    if warpgroups[1] == 1 {
        return cover(warpgroup.product(&rows), shape);
    }
    let columns = shape[1] / warpgroups[1];
    assert!(columns.is_power_of_two() && columns >= 8, "warpgroups along n need a power of two of columns each");
    let tiled = product(&[
        &warpgroup,
        &LinearLayout::along(2, 1, Hw::Register, log2(columns / 8)),
        &rows,
        &LinearLayout::along(2, 1, Hw::Warp, log2(warpgroups[1])),
    ]);
    cover(tiled, shape)
}

/// Operand A, `[m, k]`, of `wgmma.mma_async.m64n*` taken from registers, for the warpgroups of [`wgmma_accumulator`].
pub fn wgmma_operand_a(shape: [u32; 2], width: u32, warpgroups: [u32; 2]) -> Layout {
    let tiled = product(&[
        &operand_a_fragment(width),
        &LinearLayout::along(2, 0, Hw::Warp, 2),
        &LinearLayout::along(2, 0, Hw::Warp, log2(warpgroups[0])),
        &LinearLayout::copies(2, Hw::Warp, log2(warpgroups[1])),
    ]);
    cover(tiled, shape)
}

/// One 8x8 matrix of 16-bit elements as `ldmatrix` and `stmatrix` hold it; `transposed` is their `.trans` form.
pub fn ldmatrix(transposed: bool) -> LinearLayout {
    let (row, column) = if transposed { (1, 0) } else { (0, 1) };
    product(&[
        &LinearLayout::along(2, column, Hw::Register, 1),
        &LinearLayout::along(2, column, Hw::Lane, 2),
        &LinearLayout::along(2, row, Hw::Lane, 3),
    ])
}

fn accumulator_fragment() -> LinearLayout {
    ldmatrix(false).product(&LinearLayout::along(2, 0, Hw::Register, 1))
}

fn operand_a_fragment(width: u32) -> LinearLayout {
    product(&[
        &LinearLayout::along(2, 1, Hw::Register, log2(width)),
        &LinearLayout::along(2, 1, Hw::Lane, 2),
        &LinearLayout::along(2, 0, Hw::Lane, 3),
        &LinearLayout::along(2, 0, Hw::Register, 1),
        &LinearLayout::along(2, 1, Hw::Register, 1),
    ])
}

fn product(factors: &[&LinearLayout]) -> LinearLayout {
    factors.iter().fold(LinearLayout::unit(2), |acc, f| acc.product(f))
}

/// Repeats `unit` until it covers `shape`.
fn cover(unit: LinearLayout, shape: [u32; 2]) -> Layout {
    let extents = unit.extents();
    Layout::new(unit, &[shape[0].div_ceil(extents[0]), shape[1].div_ceil(extents[1])])
}

fn log2(count: u32) -> u8 {
    assert!(count.is_power_of_two(), "{count} is no power of two");
    count.trailing_zeros() as u8
}
