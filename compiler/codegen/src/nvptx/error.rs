//! Limits of this target: what GPU code generation refuses, each with a code of the registry (range K09xx).

use kiln_ir::SrcLoc;

use crate::CodegenError;

/// More shared memory than a thread block of the target can have.
pub(super) const SHARED_MEMORY: &str = "K0903";
/// More registers than a thread can have.
pub(super) const REGISTERS: &str = "K0908";

/// A schedule that the target cannot follow.
pub(super) const SCHEDULE: &str = "K0905";

/// Result of code generation.
pub(super) type Result<T> = std::result::Result<T, CodegenError>;

/// A refusal of the kernel as a whole.
pub(super) fn refuse_kernel(module: &kiln_ir::Module, loc: SrcLoc, code: &'static str, message: String) -> CodegenError {
    CodegenError::Unsupported { code, message, help: None, place: module.describe(loc), loc }
}

/// A broken assumption of ours.
pub(super) fn internal(message: impl Into<String>) -> CodegenError {
    CodegenError::internal(message)
}
