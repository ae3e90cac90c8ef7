//! Arguments of `kiln run` and `kiln build`: how they are written, made, read, written back and compared.

pub mod files;
pub mod flops;
pub mod generate;
mod npy;
pub mod spec;
