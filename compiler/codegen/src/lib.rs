//! Tile IR to LLVM: the host JIT (`host`) and NVPTX. The only crate that links LLVM.
//!
//! `llvm` and `llvm_target` are the seam to LLVM: building instructions, target machines, passes, object code. Nothing of LLVM shows in the public API.

#![deny(missing_docs)]

mod error;
pub mod host;
mod llvm;
mod llvm_target;
pub mod nvptx;

pub use error::CodegenError;
