//! Kiln's one public entry to compilation.
//!
//! A [`Session`] holds a kernel file with everything it reaches; it is checked as a whole, and its kernels are compiled for a specialization and a target with
//! [`Session::compile`]. What users did wrong comes back as a [`Report`] of diagnostics with the sources they point into; what we did wrong as an [`Ice`] with
//! a reproducer. Nothing here panics on any input.
#![deny(missing_docs)]

mod compile;
mod content;
mod ice;
mod launch;
mod report;
mod session;
mod work;

pub use compile::{Artifact, CompileOptions, Compiled, Emit};
pub use content::kernel_content;
pub use ice::{Ice, quiet_panics};
pub use kiln_codegen::host::{self, HostKernel, HostObject, HostOptions};
pub use kiln_ir::artifact::{GpuTarget, GridMapping, MapShape, PtxArtifact, PtxParam, Stage, Target, TensorMap};
pub use kiln_sema::{LoadedFile, ModuleLoader};
pub use launch::{launch_diagnostic, many_values_warning};
pub use report::Report;
pub use session::{CompileError, FileLoader, Session, SourceFile, add_source, std_source};
pub use work::Work;

/// What compiled code depends on besides its input: the compiler's version and the fingerprint of its sources.
pub fn build_id() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("KILN_FINGERPRINT"))
}
