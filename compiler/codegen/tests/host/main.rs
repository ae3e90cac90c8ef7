//! The host back end end to end: Tile IR built by hand, compiled, loaded, run on real memory, compared with references in f64.

mod control;
mod elementwise;
mod harness;
mod memory;
mod rows;
