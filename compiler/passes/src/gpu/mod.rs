//! Passes that run only for the GPU.
//!
//! [`sub_tiles`] makes loops of tiles that are larger than registers. The passes of `pipeline::LAYOUTS` then give every tile a layout: [`split_k`], [`persist`], [`warps`], [`warpgroups`],
//! [`roles`], [`stage`] and [`propagate`], which asks `tensor_cores` for the fragments of products and `coalesce` for blocked layouts of memory operations; everything
//! else takes the layout of what it works on, and what does not fit gets a `ConvertLayout`. Of what is laid out, [`epilogue`]
//! takes stores that the TMA engine can do.

mod access;
mod coalesce;
pub(crate) mod epilogue;
mod facts;
mod fewer_stages;
mod narrow;
pub(crate) mod overlap;
pub(crate) mod persist;
pub(crate) mod propagate;
mod registers;
pub(crate) mod roles;
mod rules;
pub(crate) mod split_k;
pub(crate) mod stage;
pub(crate) mod sub_tiles;
mod tensor_cores;
mod tf32;
mod tma;
mod verify_async;
pub(crate) mod warpgroups;
pub(crate) mod warps;
pub(crate) mod whole_tiles;

use kiln_ir::{Function, InstData};

pub use access::{Access, access_of};
pub use epilogue::{ROWS, StoreBoxes, store_boxes, store_map};
pub use facts::{Facts, Lanes, ViewFacts};
pub use kiln_ir::artifact::LayoutStats;
pub use narrow::narrow_accesses;
pub use propagate::layout_stats;
pub use registers::{RegisterPeak, loaded_beside, register_peak};
pub use tensor_cores::{MmaDot, MmaKind};
pub use tf32::is_rounded;
pub use tma::{BoxStart, MapDims, Part, TensorBoxes, shared_boxes, tensor_boxes};
pub use verify_async::verify_async;
pub use warps::warps;

/// The warps of a kernel that the pass `warps` has been over.
///
/// # Panics
/// Where it has not.
fn warps_of(func: &Function) -> u32 {
    func.schedule.warps.expect("`warps` comes before every pass that deals tiles to threads")
}

/// Bytes of shared memory that the rings of a kernel take.
fn ring_bytes(func: &Function) -> u32 {
    let mut bytes = 0;
    func.walk(|_, inst| {
        if let InstData::RingNew { slots } = func.insts[inst] {
            let ty = func.ty(func.result(inst));
            bytes += slots * ty.layout().map_or(0, |layout| layout.layout().offsets() * ty.elem().bytes());
        }
    });
    bytes
}
