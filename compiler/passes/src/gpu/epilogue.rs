//! `epilogue`: sums of warpgroups leave through shared memory and the TMA engine.
//!
//! A thread holds two neighbouring columns of a sum, so that its own stores would be 4 bytes of 16-bit elements each. Where the destination can have a
//! tensor map, each warp instead puts its 16 rows into shared memory, a swizzle's span of columns at a time, and one of its lanes starts a tensor copy of
//! them; two such boxes a warp are in use in turn. Warps do not wait for each other, and not for the copies: those end behind the
//! kernel's loops (`TmaStoreWait`).
//!
//! The engine's writes are in no order with other accesses of the program. So nothing else may write the tensor, nothing behind the store may read it, and
//! nothing in the kernel may publish what was written before its end (atomics that release, grid barriers). In a loop of the source the code generator ends
//! earlier copies first. Atomics whose old values nobody uses leave the same way ([`reductions`]).
//!
//! ```text
//! before: %s = dot_wait 0 of %t                       after: %s = dot_wait 0 of %t
//!         %h = cast %s : tile<bf16, #layout0>                %h = cast %s : tile<bf16, #layout0>
//!         %c = convert_layout %h : #layout1                  tma_store %y[..], %h
//!         store %y[..], %c                                   tma_store_wait
//! ```

mod accesses;
mod reductions;

use cranelift_entity::EntitySet;
use kiln_ir::layout::{Hw, Layout, Swizzle, shared_rows, wgmma_accumulator};
use kiln_ir::ops::{AtomicOp, CacheOp, Evict};
use kiln_ir::{Block, Function, Inst, InstData, LayoutId, Place, SrcLoc, Type, Value};
use smallvec::{SmallVec, smallvec};

use self::accesses::{Access, Accesses};
use self::reductions::reductions;
use super::facts::Facts;
use super::tensor_cores::GROUP;
use super::tma::{Mapped, TensorBoxes, map_dims, mappable, tensor_boxes};
use crate::manager::{PassContext, PassResult};

/// Rows of a sum that a warp holds one below the other.
pub const ROWS: u32 = 16;

/// How a sum is copied out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreBoxes {
    /// The tensor map: boxes of [`ROWS`] rows and a span of columns. `boxes` is empty: where they lie is a matter of rounds.
    pub map: TensorBoxes,
    /// Where the boxes of all warps lie in shared memory, one below the other.
    pub staging: &'static Layout,
    /// Rows and columns of the tile at which the boxes of a round start, before a warp adds its own, in order.
    pub rounds: Vec<[u32; 2]>,
}

/// The boxes through which a tile of type `ty` leaves for `place`; None where it is no sum of warpgroups, or the access is no box.
pub fn store_boxes(func: &Function, place: &Place, ty: Type) -> Option<StoreBoxes> {
    let layout = ty.layout()?.layout();
    let &[rows, columns] = ty.shape() else { return None };
    let bytes = ty.elem().scalar()?.bytes();
    let groups = groups_of(layout, [rows, columns])?;
    if !matches!(bytes, 2 | 4) {
        return None;
    }
    let own = columns / groups[1];
    let swizzles = [Swizzle::B128, Swizzle::B64, Swizzle::B32];
    let swizzle = swizzles.into_iter().find(|s| own.is_multiple_of(s.span() / bytes))?;
    let span = swizzle.span() / bytes;
    let Place::View(access) = place else { return None };
    let Mapped { param, dims, part } = map_dims(func, access, 1)?;
    let mut tile: SmallVec<[u16; 5]> = smallvec![1; dims.len()];
    (tile[0], tile[1]) = (span as u16, ROWS as u16);
    let map = TensorBoxes { param, dims, part, tile, swizzle, fast: 1, boxes: vec![], half: None };
    let staging = shared_rows([ROWS * layout.warps(), span], bytes, swizzle)?.intern().layout();
    let down = (0..rows).step_by((GROUP * ROWS * groups[0]) as usize);
    let rounds = down.flat_map(|row| (0..own).step_by(span as usize).map(move |column| [row, column])).collect();
    Some(StoreBoxes { map, staging, rounds })
}

/// Warpgroups along rows and columns of which `layout` is the sum.
fn groups_of(layout: &Layout, shape: [u32; 2]) -> Option<[u32; 2]> {
    let unit = layout.unit();
    if layout.is_shared() || layout.rank() != 2 {
        return None;
    }
    let down = (0..unit.bits(Hw::Warp)).filter(|&bit| unit.basis(Hw::Warp, bit)[0] != 0).count();
    let [rows, columns] = [(1 << down) / GROUP, layout.warps() >> down];
    let whole = rows > 0 && shape[0].is_multiple_of(GROUP * ROWS * rows) && shape[1].is_multiple_of(8 * columns);
    let side_by_side = columns == 1 || (shape[1] / columns).is_power_of_two();
    (whole && side_by_side && wgmma_accumulator(shape, [rows, columns]) == *layout).then_some([rows, columns])
}

/// The tensor map by which a tile of type `ty` leaves for `place`: in boxes of warps, or from where it lies in shared memory.
pub fn store_map(func: &Function, place: &Place, ty: Type) -> Option<TensorBoxes> {
    if ty.layout()?.layout().is_shared() {
        return tensor_boxes(func, place, ty);
    }
    store_boxes(func, place, ty).map(|boxes| boxes.map)
}

/// Runs the pass on a kernel that has layouts.
pub(crate) fn run(func: &mut Function, context: &PassContext) -> PassResult {
    if context.has_warpgroups() {
        send_by_engine(func, context);
    }
    Ok(())
}

/// A write that the engine does.
#[derive(Clone, Debug)]
struct Outgoing {
    block: Block,
    /// The store or atomic.
    inst: Inst,
    value: Value,
    /// The layout in shared memory that the value is put into first.
    staged: Option<LayoutId>,
    reduce: Option<AtomicOp>,
}

fn send_by_engine(func: &mut Function, context: &PassContext) {
    let facts = Facts::of(func).with_fitting_tensors(context.fits_32_bit);
    let accesses = Accesses::of(func);
    if accesses.publishes {
        return;
    }
    let mut sent: Vec<Outgoing> = (0..accesses.list.len()).filter_map(|at| of_store(func, &facts, &accesses, at)).collect();
    if context.reductions {
        sent.extend(reductions(func, &facts, &accesses));
    }
    if sent.is_empty() {
        return;
    }
    sent.into_iter().for_each(|outgoing| send(func, outgoing));
    drop_unused_conversions(func);
    let last = last_block(func);
    let wait = func.make_inst(InstData::TmaStoreWait, &[], SrcLoc::UNKNOWN);
    let at = func.blocks[last].insts.len() - 1;
    func.blocks[last].insts.insert(at, wait);
}

/// How the engine does a store.
fn of_store(func: &Function, facts: &Facts, accesses: &Accesses, at: usize) -> Option<Outgoing> {
    let Access { block, inst, .. } = accesses.list[at];
    let InstData::Store { place, value, mask: None, cache: CacheOp::Default, evict: Evict::Normal } = &func.insts[inst] else {
        return None;
    };
    let value = sum_of(func, place, *value)?;
    let map = store_map(func, place, func.ty(value))?;
    let sent = accesses.alone(at) && mappable(func, facts, place, &map);
    sent.then_some(Outgoing { block, inst, value, staged: None, reduce: None })
}

/// Puts a copy by the engine in place of a store or atomic.
fn send(func: &mut Function, outgoing: Outgoing) {
    let Outgoing { block, inst, mut value, staged, reduce } = outgoing;
    let (InstData::Store { place, .. } | InstData::AtomicRmw { place, .. }) = &func.insts[inst] else {
        unreachable!("only stores and atomics leave by the engine");
    };
    let (place, loc) = (place.clone(), func.locs[inst]);
    let mut made: SmallVec<[Inst; 2]> = smallvec![];
    if let Some(layout) = staged {
        let ty = func.ty(value).with_layout(Some(layout));
        let convert = func.make_inst(InstData::ConvertLayout { arg: value }, &[ty], loc);
        made.push(convert);
        value = func.result(convert);
    }
    made.push(func.make_inst(InstData::TmaStore { place, value, reduce }, &[], loc));
    let list = &mut func.blocks[block].insts;
    let at = list.iter().position(|&other| other == inst).expect("a block holds its instructions");
    list.splice(at..=at, made);
}

/// The value in the layout of a sum: as it is, or before it was converted for the store.
fn sum_of(func: &Function, place: &Place, value: Value) -> Option<Value> {
    [Some(value), before_conversion(func, value)].into_iter().flatten().find(|&v| store_boxes(func, place, func.ty(v)).is_some())
}

/// What was converted to give a value.
fn before_conversion(func: &Function, value: Value) -> Option<Value> {
    match func.def_data(value) {
        Some(InstData::ConvertLayout { arg }) => Some(*arg),
        _ => None,
    }
}

fn drop_unused_conversions(func: &mut Function) {
    let mut used = EntitySet::new();
    let mut blocks = EntitySet::new();
    func.walk(|block, inst| {
        blocks.insert(block);
        func.insts[inst].visit_operands(|v| _ = used.insert(v));
    });
    for block in blocks.keys() {
        let unused =
            |inst: &Inst| matches!(func.insts[*inst], InstData::ConvertLayout { .. }) && !used.contains(func.result(*inst));
        let kept = func.blocks[block].insts.iter().copied().filter(|inst| !unused(inst)).collect();
        func.blocks[block].insts = kept;
    }
}

/// Where the warps that hold tiles end: the kernel's body, or the consumers' part of it.
fn last_block(func: &Function) -> Block {
    let consumers = func.blocks[func.body].insts.iter().find_map(|&inst| match func.insts[inst] {
        InstData::If { cond, otherwise, .. } if matches!(func.def_data(cond), Some(InstData::IsProducer)) => Some(otherwise),
        _ => None,
    });
    consumers.unwrap_or(func.body)
}
