//! The target: architecture, PTX version, the LLVM machine, and the way from LLVM text to PTX.

use serde::{Deserialize, Serialize};

use super::error::{Result, internal};
use crate::llvm::Llvm;
use crate::llvm_target::{Output, Target, initialize_nvptx};

const TRIPLE: &str = "nvptx64-nvidia-cuda";
/// Kiln's own passes have done the rest; more of LLVM's gives the same machine code and takes many times longer.
const PASSES: &str = "function(early-cse,instcombine<no-verify-fixpoint>,simplifycfg)";

/// A GPU architecture.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct GpuTarget {
    /// Compute capability as in `sm_90`: 80, 86, 89, 90.
    pub sm: u32,
    /// The `a` suffix: instructions of this one architecture (`sm_90a`).
    pub arch_specific: bool,
}

impl GpuTarget {
    /// The target called `sm_80`, `sm_90a` and so on, if it is supported.
    pub fn from_name(name: &str) -> Option<GpuTarget> {
        let number = name.strip_prefix("sm_")?;
        let (digits, arch_specific) = match number.strip_suffix('a') {
            Some(digits) => (digits, true),
            None => (number, false),
        };
        let sm = digits.parse().ok()?;
        let supported = matches!((sm, arch_specific), (80 | 86 | 87 | 89 | 90, false) | (90, true));
        supported.then_some(GpuTarget { sm, arch_specific })
    }

    /// `sm_90a`.
    pub fn name(self) -> String {
        format!("sm_{}{}", self.sm, if self.arch_specific { "a" } else { "" })
    }

    /// The lowest PTX version (times 10) that knows the target: older drivers load it.
    pub fn ptx_version(self) -> u32 {
        match (self.sm, self.arch_specific) {
            (80, _) => 70,
            (86, _) => 71,
            (87, _) => 74,
            (89 | 90, false) => 78,
            _ => 80,
        }
    }

    /// Bytes of shared memory one thread block can have (CUDA programming guide, "Technical Specifications per Compute
    /// Capability").
    pub fn shared_bytes(self) -> u32 {
        1024 * match self.sm {
            80 | 87 => 163,
            86 | 89 => 99,
            _ => 227,
        }
    }
}

/// The LLVM machine of a target.
pub(super) struct Machine {
    machine: Target,
}

impl Machine {
    /// `ptx` is the PTX version times 10.
    pub(super) fn new(target: GpuTarget, ptx: u32) -> Result<Machine> {
        initialize_nvptx();
        let machine = Target::create(TRIPLE, &target.name(), &format!("+ptx{ptx}"), 2)?;
        Ok(Machine { machine })
    }

    /// The head of a module: data layout and triple.
    pub(super) fn header(&self) -> String {
        format!("target datalayout = \"{}\"\ntarget triple = \"{TRIPLE}\"\n", self.machine.data_layout())
    }

    /// Compiles a module's text. Returns the optimized LLVM text where `keep_llvm`, and the PTX.
    pub(super) fn compile(&self, text: &str, keep_llvm: bool) -> Result<(Option<String>, String)> {
        let module = Llvm::parse(text).map_err(|e| internal(format!("LLVM cannot read the module: {e}\n{text}")))?;
        self.machine.verify(&module)?;
        self.machine.run_passes(&module, PASSES)?;
        let llvm = keep_llvm.then(|| module.text());
        let ptx = self.machine.emit(&module, Output::Assembly)?;
        let ptx = String::from_utf8(ptx).map_err(|e| internal(format!("PTX is no text: {e}")))?;
        Ok((llvm, ptx))
    }
}
