//! The exchange between warps that share a row: each warp leaves one value a register, every thread reads those of its row.
//!
//! A row is what a reduction or scan combines; a thread has one number for its row's place among all rows and one for its warp's
//! place in the row.

use kiln_ir::Elem;
use kiln_ir::layout::{Hw, Layout};

use super::emit::Emitter;
use super::shared_tile::SharedTile;
use super::text::Val;

/// Where a thread stands in an exchange.
pub(super) struct Rows {
    /// Number of this warp among those of its row (i32), in the order of the axis.
    pub(super) warp: Val,
    /// Warps of a row.
    pub(super) warps: u32,
    /// Thread bits that neither choose the row nor the warp in it: threads that differ in them hold the same.
    pub(super) copies: u32,
    /// Values of each warp.
    registers: u32,
    /// Number of this thread's row (i32).
    row: Val,
    rows: u32,
}

impl Rows {
    /// Element offset of register `r` of this warp.
    pub(super) fn own(&self, e: &mut Emitter<'_>, r: u32) -> Val {
        let first = self.first(e, r);
        e.w.add_nsw(first, self.warp)
    }

    /// Element offset of register `r` of the row's first warp; the other warps follow.
    pub(super) fn first(&self, e: &mut Emitter<'_>, r: u32) -> Val {
        let row = e.w.mul_nsw(self.row, Val::i32(self.registers * self.warps));
        e.w.add_nsw(row, Val::i32(r * self.warps))
    }
}

impl Emitter<'_> {
    /// The exchange along `axis` over the warp bits `bits`, lowest coordinate first, of `registers` values a warp. `folded` are
    /// the thread bits along the axis over which the values are combined already.
    pub(super) fn rows(&mut self, layout: &Layout, axis: usize, bits: &[u8], registers: u32, folded: u32) -> Rows {
        let unit = layout.unit();
        let threads: Vec<(Hw, u8)> = (0..unit.bits(Hw::Lane))
            .map(|bit| (Hw::Lane, bit))
            .chain((0..unit.bits(Hw::Warp)).map(|bit| (Hw::Warp, bit)))
            .collect();
        let mut of_warp = vec![0u32; threads.len()];
        let mut of_row = vec![0u32; threads.len()];
        let (mut rows, mut copies) = (1u32, 0u32);
        for (i, &(hw, bit)) in threads.iter().enumerate() {
            let coords = unit.basis(hw, bit);
            let elsewhere = coords.iter().enumerate().any(|(d, &c)| d != axis && c != 0);
            let to_come = coords[axis] != 0 && folded & (1 << i) == 0;
            match bits.iter().position(|&b| hw == Hw::Warp && b == bit) {
                Some(place) => of_warp[i] = 1 << place,
                None if elsewhere || to_come => {
                    of_row[i] = rows;
                    rows *= 2;
                }
                None => copies |= 1 << i,
            }
        }
        Rows {
            warp: self.threads.linear(&mut self.w, &of_warp),
            warps: 1 << bits.len(),
            copies,
            registers,
            row: self.threads.linear(&mut self.w, &of_row),
            rows,
        }
    }

    /// Shared memory of an exchange: one tile for each element type.
    pub(super) fn row_tiles(&mut self, rows: &Rows, elems: &[Elem]) -> Vec<SharedTile> {
        let slots = rows.rows * rows.registers * rows.warps;
        self.tiles(elems.iter().map(|&elem| (elem, slots)))
    }
}
