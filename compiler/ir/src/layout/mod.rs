//! Layouts: where each element of a tile lives, for every tile, fragment and shared-memory buffer of a GPU target.
//!
//! One representation serves all of them: a linear map over GF(2) from hardware index bits to tile coordinate bits,
//! repeated a whole number of times where an extent is no power of two. Blocked layouts, tensor-core fragments and
//! swizzles are values built by the constructors in [`blocked`], [`tensor_core`] and [`shared`]; vector widths,
//! reductions and conversions are computed from the map by the queries of [`LinearLayout`] and [`Layout`] and by
//! [`convert`]. A tile type carries a [`LayoutId`], interned by [`Layout::intern`].

mod blocked;
mod convert;
mod dump;
mod gf2;
#[cfg(test)]
mod laws;
mod linear;
mod shape;
mod shared;
mod tensor_core;
mod text;
mod tiled;

use std::sync::{LazyLock, Mutex};

use cranelift_entity::PrimaryMap;
use rustc_hash::FxHashMap;

use crate::entity::LayoutId;

pub use blocked::Blocked;
pub use convert::{Conversion, Cost, SharedBuffer, SharedMove, ShuffleMove, Shuffles, plan, stays_in_threads, wavefronts};
pub use dump::dump;
pub use gf2::{Echelon, LinearMap, bits_of, independent, intersection};
pub use linear::{Coords, Hw, LinearLayout};
pub use shared::{Swizzle, boxed, shared_rows, staged};
pub use tensor_core::{
    ldmatrix, mma_accumulator, mma_f64_accumulator, mma_f64_operand_a, mma_f64_operand_b, mma_operand_a, mma_operand_b,
    wgmma_accumulator, wgmma_operand_a,
};
pub use text::ParseLayoutError;
pub use tiled::{Layout, Owner, register_vectors};

struct Pool {
    layouts: PrimaryMap<LayoutId, &'static Layout>,
    ids: FxHashMap<&'static Layout, LayoutId>,
}

static POOL: LazyLock<Mutex<Pool>> = LazyLock::new(|| Mutex::new(Pool { layouts: PrimaryMap::new(), ids: FxHashMap::default() }));

impl Layout {
    /// The id of this layout: equal layouts have one id. Like types, layouts are interned for the life of the process; ids
    /// number them in the order they are first met, so no output may depend on an id's value.
    pub fn intern(self) -> LayoutId {
        let mut pool = POOL.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(&id) = pool.ids.get(&self) {
            return id;
        }
        let layout: &'static Layout = Box::leak(Box::new(self));
        let id = pool.layouts.push(layout);
        pool.ids.insert(layout, id);
        id
    }
}

impl LayoutId {
    /// The layout behind the id.
    pub fn layout(self) -> &'static Layout {
        POOL.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).layouts[self]
    }
}
