//! Compiled kernels as data: what code generators make and launches need. Programs that only run kernels need nothing else of the compiler.

mod host;
mod ptx;
mod tensor_map;

use std::time::Duration;

pub use host::{AccessInfo, AssertInfo, HostObject, HostTimings, PrintInfo, PrintOperand};
pub use ptx::{GpuTarget, GridMapping, LayoutStats, PtxArtifact, PtxParam, PtxTimings, RegisterUse, Remark};
pub use tensor_map::{MAX_RANK, MapShape, TensorMap};

/// What to compile for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// The processor this runs on.
    Host,
    /// An NVIDIA GPU.
    Gpu(GpuTarget),
}

/// A stage of a compilation and its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// `instantiate`, `passes`, `pass:NAME`, `layouts` (GPU), `build`, `read` (GPU: LLVM reads what was built), `optimize`, `codegen`.
    pub name: String,
    /// Time.
    pub time: Duration,
}
