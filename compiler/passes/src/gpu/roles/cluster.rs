//! What two thread blocks of a cluster load alike, so that one copy out of global memory serves both (multicast).
//!
//! A load is the same in both blocks where nothing it depends on comes from the block's rank in its cluster. They have to come to it equally often: where a loop or
//! condition around any load depends on the rank, each block loads for itself.

use kiln_ir::{Block, Function, Inst, InstData, Value};
use rustc_hash::FxHashSet;

use super::Group;
use crate::gpu::tma::shared_boxes;

/// The loads of `groups` that both blocks do together, and the value that is the block's rank where there are any.
pub(super) fn shared_loads(func: &Function, groups: &[Group]) -> (FxHashSet<Inst>, Option<Value>) {
    let mut walk =
        Walk { own: FxHashSet::default(), rank: None, loads: groups.iter().flat_map(|g| g.loads.iter().map(|l| l.0)).collect() };
    let alike = walk.block(func, func.body).1;
    let mut shared = FxHashSet::default();
    if walk.rank.is_none() || !alike {
        return (shared, None);
    }
    for &(load, layout) in groups.iter().flat_map(|group| &group.loads) {
        let InstData::Load { place, .. } = &func.insts[load] else { continue };
        let own = func.insts[load].operands().iter().any(|v| walk.own.contains(v));
        let ty = func.ty(func.result(load)).with_layout(Some(layout));
        if !own && shared_boxes(func, place, ty).is_some() {
            shared.insert(load);
        }
    }
    let rank = walk.rank.filter(|_| !shared.is_empty());
    (shared, rank)
}

struct Walk {
    /// Values that differ between the blocks.
    own: FxHashSet<Value>,
    rank: Option<Value>,
    loads: FxHashSet<Inst>,
}

impl Walk {
    /// Whether a block of instructions has loads, and whether both thread blocks come to them equally often.
    fn block(&mut self, func: &Function, block: Block) -> (bool, bool) {
        let (mut any, mut alike) = (false, true);
        for &inst in &func.blocks[block].insts {
            let data = &func.insts[inst];
            let own = data.operands().iter().any(|v| self.own.contains(v));
            if let InstData::ClusterRank = data {
                self.rank = Some(func.result(inst));
                self.own.insert(func.result(inst));
            }
            if own {
                self.own.extend(func.results_of(inst));
            }
            any |= self.loads.contains(&inst);
            let decides = |list: &[Value]| list.iter().any(|v| self.own.contains(v));
            let control = match data {
                InstData::For { lo, hi, step, .. } => decides(&[*lo, *hi, *step]),
                InstData::If { cond, .. } => decides(&[*cond]),
                _ => own,
            };
            for inner in data.blocks() {
                if own {
                    self.own.extend(&func.blocks[inner].params);
                }
                let (inside, same) = self.block(func, inner);
                any |= inside;
                alike &= same && !(inside && control);
            }
        }
        (any, alike)
    }
}
