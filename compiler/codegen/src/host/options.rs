//! What the host back end is asked for.

use serde::{Deserialize, Serialize};

/// Options of host compilation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostOptions {
    /// LLVM's effort, 0 to 3.
    pub opt_level: u8,
    /// LLVM's name of the processor; the one this runs on when absent.
    pub cpu: Option<String>,
    /// The symbol of the entry point; `kiln_` and the kernel's name when absent. For objects that are linked with each other.
    pub symbol: Option<String>,
    /// Keep the optimized LLVM IR as text.
    pub emit_llvm: bool,
    /// Keep the assembly as text.
    pub emit_asm: bool,
}

impl Default for HostOptions {
    fn default() -> Self {
        HostOptions { opt_level: 2, cpu: None, symbol: None, emit_llvm: false, emit_asm: false }
    }
}
