//! What code generation reports: limits of a target (coded, with a place) and failures of LLVM itself.

use kiln_ir::{Function, Inst, Module, SrcLoc};

/// Why there is no code.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CodegenError {
    /// The target cannot do something the module asks for.
    #[error("{code}: {message} (at {place})")]
    Unsupported {
        /// Registry code, `K09xx`.
        code: &'static str,
        /// What, with the operation's name and types.
        message: String,
        /// What to do about it, where that can be said.
        help: Option<String>,
        /// `file.kiln:line:column`, or `?`.
        place: String,
        /// The same place for diagnostics that show the source.
        loc: SrcLoc,
    },
    /// LLVM, or our use of it, failed: a bug in Kiln.
    #[error("internal error in code generation: {0} (this is a bug in kiln)")]
    Internal(String),
}

impl CodegenError {
    /// A refusal located at an instruction.
    pub(crate) fn unsupported(
        module: &Module,
        func: &Function,
        inst: Inst,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        let loc = func.locs[inst];
        CodegenError::Unsupported { code, message: message.into(), help: None, place: module.describe(loc), loc }
    }

    /// The refusal with what to do about it.
    pub(crate) fn with_help(mut self, text: impl Into<String>) -> Self {
        if let CodegenError::Unsupported { help, .. } = &mut self {
            *help = Some(text.into());
        }
        self
    }

    /// A broken assumption of ours.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        CodegenError::Internal(message.into())
    }

    /// The registry code, for refusals.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            CodegenError::Unsupported { code, .. } => Some(code),
            CodegenError::Internal(_) => None,
        }
    }
}
