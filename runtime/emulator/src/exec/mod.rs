//! Running kernels: lanes, warps, CTAs, clusters, the grid.

pub mod asynchronous;
pub mod call;
pub mod cluster;
pub mod convert;
pub mod cross;
pub mod fail;
pub mod float;
pub mod grid;
pub mod int;
pub mod interp;
pub mod matrix;
pub mod memory;
pub mod regs;
pub mod round;
pub mod state;
pub mod sync;
pub mod tile;
pub mod warp;
