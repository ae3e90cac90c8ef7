//! The layout rule of each instruction: what its operands must be laid out as, given the layout of its result.
//!
//! Code generation relies on exactly these rules: with them, every register of a result finds its operands in registers of the
//! same thread, except for the few instructions that exchange elements through shared memory (`Exchange`).

use kiln_ir::layout::{Blocked, Coords, Hw, Layout, LinearLayout};
use kiln_ir::{Function, Inst, InstData, LayoutId, Place, SliceIndex, Value};
use smallvec::SmallVec;

use super::access::{joint_rank, joint_start};

/// One entry an operand, in the order of `visit_operands`: the layout it must have. None for scalars, views, and operands
/// that may have any layout.
pub(super) type OperandLayouts = SmallVec<[Option<LayoutId>; 8]>;

/// How an instruction's layouts relate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Cheap, and right in any layout: made once for each layout that is asked for.
    Flexible,
    /// Lane by lane.
    Elementwise,
    /// A memory operation with a layout of its own.
    Memory,
    /// The result's layout follows from the operand's.
    Shape,
    /// Reductions and scans.
    Across,
    /// Elements move through shared memory: operands keep their layouts, the result has one of its own.
    Exchange,
    /// Owns blocks, or ends one, or has no tiles.
    Control,
}

/// The kind of an instruction.
pub(super) fn kind(data: &InstData) -> Kind {
    match data {
        InstData::Const { .. } | InstData::Iota { .. } | InstData::Broadcast { .. } => Kind::Flexible,
        InstData::Unary { .. }
        | InstData::Binary { .. }
        | InstData::Fma { .. }
        | InstData::Cmp { .. }
        | InstData::Select { .. }
        | InstData::Cast { .. }
        | InstData::Bitcast { .. }
        | InstData::PtrAdd { .. }
        | InstData::DotWait { arg: Some(_), .. }
        | InstData::Hold { .. }
        | InstData::ClusterSum { .. }
        | InstData::InlineAsm { .. } => Kind::Elementwise,
        InstData::Load { .. }
        | InstData::Store { .. }
        | InstData::Prefetch { .. }
        | InstData::AtomicRmw { .. }
        | InstData::AtomicCas { .. }
        | InstData::AtomicLoad { .. }
        | InstData::AtomicStore { .. }
        | InstData::RingFill { .. } => Kind::Memory,
        InstData::ExpandDims { .. }
        | InstData::Permute { .. }
        | InstData::Reshape { .. }
        | InstData::Join { .. }
        | InstData::Split { .. } => Kind::Shape,
        InstData::Reduce { .. } | InstData::Scan { .. } => Kind::Across,
        InstData::ConstTile { .. }
        | InstData::Cat { .. }
        | InstData::ExtractSlice { .. }
        | InstData::Gather { .. }
        | InstData::Flip { .. }
        | InstData::ConvertLayout { .. }
        | InstData::Dot { .. }
        | InstData::DotStart { .. }
        | InstData::DotScaled { .. }
        | InstData::Sort { .. }
        | InstData::TopK { .. }
        | InstData::Histogram { .. }
        | InstData::Assert { .. }
        | InstData::Print { .. } => Kind::Exchange,
        InstData::ProgramId { .. }
        | InstData::NumPrograms { .. }
        | InstData::NumSms
        | InstData::BlockId
        | InstData::NumBlocks
        | InstData::ClusterRank
        | InstData::ConsumerGroup
        | InstData::MakeView { .. }
        | InstData::SubView { .. }
        | InstData::PermuteView { .. }
        | InstData::ViewDim { .. }
        | InstData::ViewStride { .. }
        | InstData::ViewPtr { .. }
        | InstData::For { .. }
        | InstData::While { .. }
        | InstData::If { .. }
        | InstData::Yield { .. }
        | InstData::Call { .. }
        | InstData::Assume { .. }
        | InstData::AssumeAligned { .. }
        | InstData::RingNew { .. }
        | InstData::RingAcquire { .. }
        | InstData::RingCommit
        | InstData::RingWait { .. }
        | InstData::RingRead { .. }
        | InstData::DotWait { arg: None, .. }
        | InstData::BarrierNew { .. }
        | InstData::BarrierExpect { .. }
        | InstData::BarrierArrive { .. }
        | InstData::BarrierWait { .. }
        | InstData::TmaFill { .. }
        | InstData::TmaStore { .. }
        | InstData::TmaStoreWait
        | InstData::TakeTurn
        | InstData::PassTurn
        | InstData::IsProducer
        | InstData::GridSync => Kind::Control,
    }
}

/// What the operands of an instruction must be laid out as. `layout` is that of its result; of the accessed tile for memory
/// operations; of its operands for reductions and scans.
pub(super) fn operand_layouts(func: &Function, inst: Inst, layout: LayoutId) -> OperandLayouts {
    let data = &func.insts[inst];
    let everywhere =
        |layout: LayoutId| -> OperandLayouts { data.operands().iter().map(|&v| is_spread(func, v).then_some(layout)).collect() };
    match data {
        InstData::Broadcast { arg } => {
            let from = func.ty(*arg).shape();
            if from.is_empty() {
                return everywhere(layout);
            }
            let to = func.ty(func.result(inst)).shape();
            everywhere(broadcast_source(layout.layout(), from, to).intern())
        }
        InstData::ExpandDims { axis, .. } => everywhere(layout.layout().slice(usize::from(*axis)).intern()),
        InstData::Permute { perm, .. } => {
            let mut back: SmallVec<[usize; 5]> = SmallVec::from_elem(0, perm.len());
            for (to, &from) in perm.iter().enumerate() {
                back[usize::from(from)] = to;
            }
            everywhere(layout.layout().permute(&back).intern())
        }
        // The ring is where it is.
        InstData::RingRead { .. } => data.operands().iter().map(|_| None).collect(),
        InstData::Join { .. } => everywhere(layout.layout().slice(layout.layout().rank() - 1).intern()),
        InstData::Split { .. } => everywhere(joined(layout.layout()).intern()),
        InstData::Load { place, .. }
        | InstData::Store { place, .. }
        | InstData::Prefetch { place, .. }
        | InstData::AtomicRmw { place, .. }
        | InstData::AtomicCas { place, .. }
        | InstData::AtomicLoad { place, .. }
        | InstData::AtomicStore { place, .. }
        | InstData::RingFill { place, .. } => {
            let mut layouts = everywhere(layout);
            if let InstData::RingFill { ring, .. } = data {
                // The ring is where it is.
                for (slot, _) in data.operands().iter().enumerate().filter(|&(_, v)| v == ring) {
                    layouts[slot] = None;
                }
            }
            if let Place::View(access) = place {
                // The view itself is operand 0, its indices follow.
                for (slot, index) in access.index.iter().enumerate() {
                    if let SliceIndex::Gather(tile) = index {
                        layouts[slot + 1] = gather_layout(func, &access.index, *tile, layout.layout());
                    }
                }
            }
            layouts
        }
        _ => everywhere(layout),
    }
}

/// Whether a value is spread over threads: a tile that is no scalar.
pub(super) fn is_spread(func: &Function, value: Value) -> bool {
    let ty = func.ty(value);
    ty.is_tile() && !ty.is_scalar()
}

/// The layout in which a tile of shape `from` broadcasts to `to` in `layout` without moving anything.
pub(super) fn broadcast_source(layout: &Layout, from: &[u32], to: &[u32]) -> Layout {
    let mut source = layout.clone();
    for _ in from.len()..to.len() {
        source = source.slice(0);
    }
    let new = to.len() - from.len();
    for (dim, &extent) in from.iter().enumerate() {
        if extent != to[dim + new] {
            source = source.collapse(dim);
        }
    }
    source
}

/// The layout of one gather tile of an access in `layout`; None for a scalar.
fn gather_layout(func: &Function, index: &[SliceIndex], tile: Value, layout: &Layout) -> Option<LayoutId> {
    if !is_spread(func, tile) {
        return None;
    }
    let (start, rank) = (joint_start(index), joint_rank(func, index));
    let mut joint = layout.clone();
    for dim in (0..layout.rank()).rev().filter(|d| !(start..start + rank).contains(d)) {
        joint = joint.slice(dim);
    }
    let mut to: SmallVec<[u32; 4]> = SmallVec::from_elem(1, rank);
    for i in index {
        if let SliceIndex::Gather(tile) = i {
            let shape = func.ty(*tile).shape();
            for (d, &extent) in shape.iter().enumerate() {
                let at = rank - shape.len() + d;
                to[at] = to[at].max(extent);
            }
        }
    }
    Some(broadcast_source(&joint, func.ty(tile).shape(), &to).intern())
}

/// The layout with a new last axis of extent 2 whose two elements are in one thread.
pub(super) fn joined(layout: &Layout) -> Layout {
    let rank = layout.rank();
    let pair = LinearLayout::along(rank + 1, rank, Hw::Register, 1);
    let expanded = layout.expand_dims(rank);
    Layout::new(pair.product(expanded.unit()), expanded.reps())
}

/// The layout in which a scan along `axis` works: in each thread a run of consecutive elements that holds all there is of
/// its part of the axis, then lanes, then warps where the other axes leave some.
pub(super) fn scan_layout(shape: &[u32], axis: usize, warps: u32) -> Layout {
    let rank = shape.len();
    let ones: Coords = SmallVec::from_elem(1, rank);
    let (mut lanes, mut of_warps, mut per_thread) = (ones.clone(), ones.clone(), ones);
    lanes[axis] = shape[axis].next_power_of_two().min(32);
    let mut lanes_left = 32 / lanes[axis];
    let mut warps_left = warps;
    for dim in (0..rank).rev().filter(|&d| d != axis) {
        let extent = shape[dim].next_power_of_two();
        lanes[dim] = lanes_left.min(extent);
        lanes_left /= lanes[dim];
        of_warps[dim] = warps_left.min(extent / lanes[dim]);
        warps_left /= of_warps[dim];
    }
    lanes[axis] *= lanes_left;
    of_warps[axis] = warps_left;
    per_thread[axis] = shape[axis].next_power_of_two().div_ceil(lanes[axis] * of_warps[axis]);
    let order = std::iter::once(axis).chain((0..rank).rev().filter(|&d| d != axis)).collect();
    Blocked { per_thread, lanes, warps: of_warps, order }.layout(shape).without_duplicate_registers()
}

/// The layout of the result of a dot that is computed with multiply-adds: squares of registers, so that few operand elements
/// serve many products; lanes along the last axis, warps along the rows.
pub(super) fn dot_layout(shape: &[u32], warps: u32) -> Layout {
    let rank = shape.len();
    let ones: Coords = SmallVec::from_elem(1, rank);
    let (mut per_thread, mut lanes, mut of_warps) = (ones.clone(), ones.clone(), ones);
    let up = |d: usize| shape[d].next_power_of_two();
    for d in [rank - 2, rank - 1] {
        per_thread[d] = up(d).min(4);
    }
    let columns = (up(rank - 1) / per_thread[rank - 1]).min(8);
    lanes[rank - 1] = columns;
    lanes[rank - 2] = (up(rank - 2) / per_thread[rank - 2]).min(32 / columns);
    let left = 32 / (lanes[rank - 1] * lanes[rank - 2]);
    lanes[rank - 1] *= left;
    let rows = (up(rank - 2) / (per_thread[rank - 2] * lanes[rank - 2])).clamp(1, warps);
    of_warps[rank - 2] = rows;
    of_warps[rank - 1] = warps / rows;
    let order = (0..rank).rev().collect();
    Blocked { per_thread, lanes, warps: of_warps, order }.layout(shape).without_duplicate_registers()
}
