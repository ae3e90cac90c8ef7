//! Atomics on tiles whose old values nobody uses: the TMA engine reduces boxes into the tensor (`TmaStore` with `reduce`), in place of an atomic an element.
//!
//! A sum of warpgroups leaves as it would for a store. Any other tile of two axes is put into shared memory as one box lies there, and one warp
//! sends it. Each element is then an atomic of its own, relaxed and in the device's scope (PTX ISA, "cp.reduce.async.bulk.tensor"); those out of bounds are none.
//!
//! Other atomics of the program on the same tensor would go another way to memory, with which the engine's are in no order: so all of them are such
//! reductions, by one operator, or none is. Among themselves they commute, in loops too.
//!
//! ```text
//! before: %o = atomic add %y[..], %v relaxed device    after: tma_reduce add %y[..], %v
//!                                                      or:    %c = convert_layout %v : #box
//!                                                             tma_reduce add %y[..], %c
//! ```

use cranelift_entity::EntitySet;
use kiln_ir::layout::boxed;
use kiln_ir::ops::{MemOrder, MemScope};
use kiln_ir::{Function, InstData, LayoutId, Value};

use super::accesses::{Access, Accesses};
use super::{Outgoing, before_conversion, store_map, sum_of};
use crate::gpu::facts::Facts;
use crate::gpu::tma::mappable;
use crate::gpu::warps_of;

/// Most bytes of a tile that is put into shared memory for the engine, where nothing else uses them.
const MOST_BYTES: u32 = 32 * 1024;
/// Fewest elements of such a tile for each thread: below, atomics of their own are as few instructions as the way through shared memory.
const FEWEST: u32 = 8;

/// The atomics that the engine does.
pub(super) fn reductions(func: &Function, facts: &Facts, accesses: &Accesses) -> Vec<Outgoing> {
    let mut used = EntitySet::new();
    func.walk(|_, inst| {
        func.insts[inst].visit_operands(|v| _ = used.insert(v));
    });
    let able: Vec<Option<Outgoing>> = accesses.list.iter().map(|access| of_atomic(func, facts, access, &used)).collect();
    let all_able = |at: usize| {
        let alike = accesses.alike(at);
        !alike.is_empty() && alike.iter().all(|&number| able[number].is_some())
    };
    (0..able.len()).filter(|&at| all_able(at)).filter_map(|at| able[at].clone()).collect()
}

/// How the engine does an atomic, as far as it is for that one alone to say.
fn of_atomic(func: &Function, facts: &Facts, access: &Access, used: &EntitySet<Value>) -> Option<Outgoing> {
    let &Access { block, inst, looped, .. } = access;
    let InstData::AtomicRmw { op, place, value, mask: None, order: MemOrder::Relaxed, scope } = &func.insts[inst] else {
        return None;
    };
    let (op, value) = (*op, *value);
    let narrow = matches!(scope, MemScope::Device | MemScope::Program);
    let elem = func.ty(value).elem().scalar()?;
    if !narrow || !op.reduces_in_copies(elem) || used.contains(func.result(inst)) {
        return None;
    }
    let (value, staged) = match sum_of(func, place, value) {
        Some(sum) => (sum, None),
        // In a loop, warps would wait for each other in every trip.
        None if looped => return None,
        None => in_boxes(func, value)?,
    };
    let ty = func.ty(value);
    let map = store_map(func, place, staged.map_or(ty, |layout| ty.with_layout(Some(layout))))?;
    mappable(func, facts, place, &map).then_some(Outgoing { block, inst, value, staged, reduce: Some(op) })
}

/// The tile in any layout, and the one in shared memory that the engine takes it from.
fn in_boxes(func: &Function, value: Value) -> Option<(Value, Option<LayoutId>)> {
    let in_registers = |&v: &Value| func.ty(v).layout().is_some_and(|id| !id.layout().is_shared());
    let from = [before_conversion(func, value), Some(value)].into_iter().flatten().find(in_registers)?;
    let ty = func.ty(value);
    let &[rows, columns] = ty.shape() else { return None };
    let bytes = ty.elem().scalar()?.bytes();
    let fits = matches!(bytes, 2 | 4) && rows * columns * bytes <= MOST_BYTES;
    if !fits || rows * columns < FEWEST * 32 * warps_of(func) {
        return None;
    }
    Some((from, Some(boxed([rows, columns], 1, bytes).intern())))
}
