//! Tiles of one axis that the producer copies beside a loop's tiles: each joins the first group that is freed behind its last use.
//!
//! A thread has other rows and columns of a product than it would load of a tile of one axis, so that such a tile, where consumers load it, comes late and goes through an
//! exchange. In a slot it is there with the tiles, and each thread reads what it needs.

use kiln_ir::{Function, Inst, InstData};

use super::{Group, is_mapped, last_use};
use crate::analysis::memory::{Writes, root};
use crate::gpu::facts::Facts;
use crate::gpu::stage::slot_bytes;
use crate::gpu::tma::row_layout;

/// The groups with the loads of one axis that can join them; None where there are none.
pub(super) fn joined(func: &Function, facts: &Facts, groups: &[Group]) -> Option<Vec<Group>> {
    let mut writes = Writes::default();
    writes.add_block(func, func.body);
    let mut all = groups.to_vec();
    let mut any = false;
    let mut blocks: Vec<_> = groups.iter().filter(|group| group.looped).map(|group| group.block).collect();
    blocks.dedup();
    for block in blocks {
        let insts = &func.blocks[block].insts;
        for &load in insts {
            let InstData::Load { place, mask: None, other: None, .. } = &func.insts[load] else { continue };
            if writes.may_change(func, root(func, place)) {
                continue;
            }
            let Some(layout) = row_layout(func.ty(func.result(load))) else { continue };
            let (layout, end) = (layout.intern(), last_use(func, block, load));
            let fits = |group: &&mut Group| {
                group.block == block
                    && group.slots > 1
                    && !comes_before(insts, group.release, end)
                    && known(func, insts, group, load)
            };
            if is_mapped(func, facts, load, place, layout)
                && let Some(group) = all.iter_mut().find(fits)
            {
                // The slot is filled where its last tile is loaded.
                group.loads.insert(group.loads.len() - 1, (load, layout));
                group.bytes += slot_bytes(func, load, layout);
                any = true;
            }
        }
    }
    any.then_some(all)
}

/// Whether all that a load depends on is known where a group's slot is filled.
fn known(func: &Function, insts: &[Inst], group: &Group, load: Inst) -> bool {
    let filled = group.loads.last().expect("a group has loads").0;
    let here = |inst: &Inst| insts.contains(inst);
    let before = |inst: Inst| comes_before(insts, inst, filled);
    func.insts[load].operands().into_iter().filter_map(|value| func.def_inst(value)).filter(here).all(before)
}

/// Whether an instruction of a block stands in front of another one of it.
fn comes_before(insts: &[Inst], a: Inst, b: Inst) -> bool {
    insts.iter().find(|inst| [a, b].contains(inst)) == Some(&a) && a != b
}
