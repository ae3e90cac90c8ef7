//! Operations that work on whole tiles in memory, as LLVM IR over row-major buffers in memory format: sorting, histograms.
//! They know buffers, not Tile IR: the emitter brings both together.

pub(crate) mod histogram;
pub(crate) mod keys;
pub(crate) mod network;
pub(crate) mod sort;

#[cfg(test)]
mod tests;
