//! `epilogue`: sums of warpgroups leave through shared memory and the TMA engine.
//!
//! A thread holds two neighbouring columns of a sum, so that its own stores would be 4 bytes of 16-bit elements each. Where the destination can have a
//! tensor map, each warp instead puts its 16 rows into shared memory, a swizzle's span of columns at a time, and one of its lanes starts a tensor copy of
//! them; two such boxes a warp are in use in turn. Warps do not wait for each other, and not for the copies: those end behind the
//! kernel's loops (`TmaStoreWait`).
//!
//! The engine's writes are in no order with other accesses of the program. So nothing else may write the tensor, nothing behind the store may read it, and
//! nothing in the kernel may publish what was written before its end (atomics that release, grid barriers). In a loop of the source the code generator ends
//! earlier copies first.
//!
//! ```text
//! before: %s = dot_wait 0 of %t                       after: %s = dot_wait 0 of %t
//!         %h = cast %s : tile<bf16, #layout0>                %h = cast %s : tile<bf16, #layout0>
//!         %c = convert_layout %h : #layout1                  tma_store %y[..], %h
//!         store %y[..], %c                                   tma_store_wait
//! ```

use kiln_ir::layout::{Hw, Layout, Swizzle, shared_rows, wgmma_accumulator};
use kiln_ir::ops::{CacheOp, Evict, MemOrder};
use kiln_ir::{Block, Function, Inst, InstData, Place, SrcLoc, Type, Value};
use smallvec::{SmallVec, smallvec};

use super::facts::Facts;
use super::tensor_cores::GROUP;
use super::tma::{Mapped, TensorBoxes, map_dims, mappable};
use crate::analysis::memory::{Root, root};
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

/// Runs the pass on a kernel that has layouts.
pub(crate) fn run(func: &mut Function, context: &PassContext) -> PassResult {
    if context.has_warpgroups() {
        send_by_engine(func, context.fits_32_bit);
    }
    Ok(())
}

fn send_by_engine(func: &mut Function, fits_32_bit: bool) {
    let facts = Facts::of(func).with_fitting_tensors(fits_32_bit);
    let mut accesses = Accesses::default();
    accesses.block(func, func.body, false);
    if accesses.publishes {
        return;
    }
    let mut any = false;
    let stores: Vec<(Block, Inst)> = accesses.stores.iter().copied().filter(|&(_, inst)| accesses.alone(inst)).collect();
    for (block, inst) in stores {
        let InstData::Store { place, value, mask: None, cache: CacheOp::Default, evict: Evict::Normal } = &func.insts[inst]
        else {
            continue;
        };
        let (place, value) = (place.clone(), *value);
        let Some(value) = sum_of(func, &place, value).filter(|&v| {
            let boxes = store_boxes(func, &place, func.ty(v));
            boxes.is_some_and(|boxes| mappable(func, &facts, &place, &boxes.map))
        }) else {
            continue;
        };
        func.insts[inst] = InstData::TmaStore { place, value };
        drop_unused_conversions(func, block);
        any = true;
    }
    if any {
        let last = last_block(func);
        let wait = func.make_inst(InstData::TmaStoreWait, &[], SrcLoc::UNKNOWN);
        let at = func.blocks[last].insts.len() - 1;
        func.blocks[last].insts.insert(at, wait);
    }
}

/// The value in the layout of a sum: as it is, or before it was converted for the store.
fn sum_of(func: &Function, place: &Place, value: Value) -> Option<Value> {
    let before = match func.def_data(value) {
        Some(InstData::ConvertLayout { arg }) => Some(*arg),
        _ => None,
    };
    [Some(value), before].into_iter().flatten().find(|&v| store_boxes(func, place, func.ty(v)).is_some())
}

fn drop_unused_conversions(func: &mut Function, block: Block) {
    let list = func.blocks[block].insts.clone();
    let unused = |inst: &Inst| {
        matches!(func.insts[*inst], InstData::ConvertLayout { .. }) && {
            let (result, mut used) = (func.result(*inst), false);
            func.walk(|_, user| func.insts[user].visit_operands(|v| used |= v == result));
            !used
        }
    };
    let kept = list.into_iter().filter(|inst| !unused(inst)).collect();
    func.blocks[block].insts = kept;
}

/// Where the warps that hold tiles end: the kernel's body, or the consumers' part of it.
fn last_block(func: &Function) -> Block {
    let consumers = func.blocks[func.body].insts.iter().find_map(|&inst| match func.insts[inst] {
        InstData::If { cond, otherwise, .. } if matches!(func.def_data(cond), Some(InstData::IsProducer)) => Some(otherwise),
        _ => None,
    });
    consumers.unwrap_or(func.body)
}

/// Accesses of memory, in order.
#[derive(Default)]
struct Accesses {
    /// Each one's memory, whether it writes, and whether it stands in a loop of the source.
    list: Vec<(Inst, Root, bool, bool)>,
    stores: Vec<(Block, Inst)>,
    /// Something makes earlier writes visible to other programs.
    publishes: bool,
}

impl Accesses {
    fn block(&mut self, func: &Function, block: Block, looped: bool) {
        for &inst in &func.blocks[block].insts {
            let data = &func.insts[inst];
            self.publishes |= matches!(data, InstData::GridSync | InstData::InlineAsm { pure_: false, .. });
            self.publishes |= data.order().is_some_and(|order| order != MemOrder::Relaxed);
            match data {
                InstData::Load { place, .. } | InstData::RingFill { place, .. } | InstData::TmaFill { place, .. } => {
                    self.list.push((inst, root(func, place), false, looped));
                }
                InstData::Store { place, .. } => {
                    self.list.push((inst, root(func, place), true, looped));
                    self.stores.push((block, inst));
                }
                InstData::AtomicRmw { place, .. }
                | InstData::AtomicCas { place, .. }
                | InstData::AtomicLoad { place, .. }
                | InstData::AtomicStore { place, .. } => self.list.push((inst, root(func, place), true, looped)),
                _ => {}
            }
            let trips = match data {
                InstData::For { attrs, .. } => !attrs.programs,
                InstData::While { .. } => true,
                _ => false,
            };
            for inner in data.blocks() {
                self.block(func, inner, looped || trips);
            }
        }
    }

    /// Nothing else of the program writes what `store` does, or reads it behind the store.
    fn alone(&self, store: Inst) -> bool {
        let Some(at) = self.list.iter().position(|(inst, ..)| *inst == store) else { return false };
        let (_, root, _, looped) = self.list[at];
        let Root::Tensor(_) = root else { return false };
        let meets = |other: Root| other == root || other == Root::Unknown;
        self.list.iter().enumerate().all(|(number, &(_, other, writes, _))| {
            let matters = writes || number > at || looped;
            number == at || !matters || !meets(other)
        })
    }
}
