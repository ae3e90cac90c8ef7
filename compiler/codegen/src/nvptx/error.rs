//! Limits of this target: what GPU code generation refuses, each with a code of the registry (range K09xx).

use kiln_ir::{Inst, SrcLoc};

use super::emit::Emitter;
use crate::CodegenError;

/// An operation that GPU code generation does not have.
pub(super) const OPERATION: &str = "K0901";
/// An element type that an operation does not take on the GPU.
pub(super) const ELEMENT_TYPE: &str = "K0902";
/// More shared memory than a thread block of the target can have.
pub(super) const SHARED_MEMORY: &str = "K0903";
/// An operation that needs a newer architecture.
pub(super) const ARCHITECTURE: &str = "K0904";
/// A schedule that the target cannot follow.
pub(super) const SCHEDULE: &str = "K0905";

/// Result of code generation.
pub(super) type Result<T> = std::result::Result<T, CodegenError>;

impl Emitter<'_> {
    /// A refusal at an instruction.
    pub(super) fn refuse<T>(&self, inst: Inst, code: &'static str, message: impl Into<String>) -> Result<T> {
        Err(CodegenError::unsupported(self.module, self.func, inst, code, message))
    }
}

/// A refusal of the kernel as a whole.
pub(super) fn refuse_kernel(module: &kiln_ir::Module, loc: SrcLoc, code: &'static str, message: String) -> CodegenError {
    CodegenError::Unsupported { code, message, place: module.describe(loc), loc }
}

/// A broken assumption of ours.
pub(super) fn internal(message: impl Into<String>) -> CodegenError {
    CodegenError::internal(message)
}
