//! Compiled kernels as data: what code generators make and launches need. Programs that only run kernels need nothing else of the compiler.

mod host;
mod ptx;
mod tensor_map;

pub use host::{AccessInfo, AssertInfo, HostObject, HostTimings, PrintInfo, PrintOperand};
pub use ptx::{GpuTarget, GridMapping, LayoutStats, PtxArtifact, PtxParam, PtxTimings, Remark};
pub use tensor_map::{MAX_RANK, MapShape, TensorMap};
