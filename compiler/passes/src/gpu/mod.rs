//! Passes that run only for the GPU: they give every tile a layout.
//!
//! [`assign_layouts`] is `warpgroups`, `roles`, `tensor-cores`, `stage`, `coalesce` and `propagate`: products get the fragments of their instruction; what
//! they load goes through rings in shared memory; other memory operations get blocked layouts made for wide, coalesced accesses; everything else takes the layout of what it works on; what does not fit gets a `ConvertLayout`.

mod access;
mod coalesce;
mod facts;
mod narrow;
mod propagate;
mod roles;
mod rules;
mod stage;
pub(crate) mod sub_tiles;
mod tensor_cores;
mod tma;
mod verify_async;
mod warpgroups;
mod warps;

use kiln_ir::Function;

pub use access::{Access, access_of};
pub use facts::{Facts, Lanes, ViewFacts};
pub use kiln_ir::artifact::LayoutStats;
pub use narrow::narrow_accesses;
pub use tensor_cores::{MmaDot, MmaKind};
pub use tma::{TensorBoxes, tensor_boxes};
pub use verify_async::verify_async;
pub use warps::warps;

/// Gives every tile of a kernel a layout over `warps` warps (a power of two). The kernel calls no functions any more.
///
/// `shared_bytes` is the shared memory that rings may take. `warpgroups`: the target has the instructions of sm_90a.
pub fn assign_layouts(func: &mut Function, warps: u32, shared_bytes: u32, warpgroups: bool) -> LayoutStats {
    let mut taken = 0;
    if warpgroups {
        warpgroups::run(func, warps);
        taken = roles::run(func, warps, shared_bytes).unwrap_or(0);
    }
    stage::run(func, warps, shared_bytes - taken);
    let facts = Facts::of(func);
    let dots = tensor_cores::choose(func, warps);
    let coalesced = coalesce::layouts(func, &facts, warps);
    propagate::run(func, &facts, coalesced, dots)
}
