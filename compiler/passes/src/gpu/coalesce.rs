//! `coalesce`: a blocked layout for every memory operation on a tile.
//!
//! Operations on tiles of one shape with one fast axis get one layout, so that an elementwise kernel needs no conversion.
//! Its vector width is what the narrowest-reaching of them can use at once (16 bytes of the widest element), unless narrower
//! vectors keep more lanes busy.
//!
//! ```text
//! before: %t = load %x[%m, %k..+1024]      : tile<f32, [1024]>
//! after:  %t = load %x[%m, %k..+1024]      : tile<f32, [1024], #layout0>   reg 4 consecutive, then lanes, then warps
//! ```

use std::collections::BTreeMap;

use cranelift_entity::SecondaryMap;
use kiln_ir::layout::{Blocked, Coords, Layout};
use kiln_ir::{Function, Inst, InstData, LayoutId};
use smallvec::SmallVec;

use super::access::{Access, access_of};
use super::facts::Facts;

/// Registers that one more memory instruction is worth.
const INSTRUCTION_COST: u32 = 4;

/// The layouts that memory operations ask for.
pub(super) struct Coalesced {
    /// One for each memory operation on a tile.
    pub layouts: SecondaryMap<Inst, Option<LayoutId>>,
    /// Warps of the kernel.
    pub warps: u32,
}

impl Coalesced {
    /// The layout of a tile that nothing else decides: neighbours along the last axis.
    pub fn default_layout(&self, shape: &[u32]) -> LayoutId {
        blocked(shape, shape.len() - 1, 1, self.warps, u32::MAX).intern()
    }
}

/// Operations that share a layout: shape, fast axis, and whether they fill rings.
type Group = (SmallVec<[u32; 4]>, usize, bool);

/// Chooses the layout of every memory operation of `func`.
pub(super) fn layouts(func: &Function, facts: &Facts, warps: u32) -> Coalesced {
    let mut groups: BTreeMap<Group, Vec<(Inst, Access)>> = BTreeMap::new();
    func.walk(|_, inst| {
        if let Some(access) = access_of(func, facts, inst) {
            let fills = matches!(func.insts[inst], InstData::RingFill { .. });
            groups.entry((access.shape.clone(), access.axis, fills)).or_default().push((inst, access));
        }
    });
    let mut layouts = SecondaryMap::new();
    for ((shape, axis, fills), members) in groups {
        // Gathers and other scattered accesses have no say while one member has vectors.
        let widths = members.iter().map(|(_, access)| access.width).filter(|&w| w > 1);
        let widest = widths.min().unwrap_or(1);
        let mut width = widest;
        // Lanes side by side in a fill stay within a span of the slot's layout: spans of an odd number lie apart.
        let most = if fills { 1 << (shape[axis] / width).max(1).trailing_zeros() } else { u32::MAX };
        let mut best = blocked(&shape, axis, width, warps, most);
        let cost = |layout: &Layout, width: u32| {
            let instructions = layout.registers().div_ceil(width);
            instructions * INSTRUCTION_COST + layout.registers()
        };
        // Copies to shared memory are as wide as they can be: only 16 bytes pass the first cache by.
        let narrowest = if fills { widest.trailing_zeros() } else { 0 };
        for narrower in (narrowest..widest.trailing_zeros()).rev().map(|b| 1 << b) {
            let layout = blocked(&shape, axis, narrower, warps, most);
            if cost(&layout, narrower) < cost(&best, width) {
                (best, width) = (layout, narrower);
            }
        }
        let id = best.intern();
        for (inst, _) in members {
            layouts[inst] = Some(id);
        }
    }
    Coalesced { layouts, warps }
}

/// The blocked layout with `width` elements of a thread along `axis`. Lanes run along `axis`, then along the other axes from
/// the last to the first; warps take the outer axes first, so that a row stays in one warp where there are rows enough. At most
/// `most` threads share a row.
fn blocked(shape: &[u32], axis: usize, width: u32, warps: u32, most: u32) -> Layout {
    let rank = shape.len();
    let order: SmallVec<[usize; 5]> = std::iter::once(axis).chain((0..rank).rev().filter(|&d| d != axis)).collect();
    let mut left: Coords = shape.iter().map(|e| e.next_power_of_two()).collect();
    let mut per_thread: Coords = SmallVec::from_elem(1, rank);
    per_thread[axis] = width.min(left[axis]);
    left[axis] = shape[axis].div_ceil(per_thread[axis]).next_power_of_two().min(most);
    let lanes = deal(32, &order, &mut left, axis);
    let outer_first: SmallVec<[usize; 5]> = (0..rank).filter(|&d| d != axis).chain([axis]).collect();
    let warps = deal(warps, &outer_first, &mut left, axis);
    Blocked { per_thread, lanes, warps, order }.layout(shape).without_duplicate_registers()
}

/// Deals `count` units to the axes in order, each up to what is left of it; the rest, copies, goes to `spare`.
fn deal(count: u32, order: &[usize], left: &mut Coords, spare: usize) -> Coords {
    let mut dealt: Coords = SmallVec::from_elem(1, left.len());
    let mut rest = count;
    for &dim in order {
        let take = rest.min(left[dim]);
        dealt[dim] = take;
        left[dim] /= take;
        rest /= take;
    }
    dealt[spare] *= rest;
    dealt
}
