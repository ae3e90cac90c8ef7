//! The target: the LLVM machine, and the way from LLVM text to PTX.

use std::time::Instant;

use kiln_ir::artifact::{GpuTarget, PtxTimings};

use super::error::{Result, internal};
use crate::llvm::Llvm;
use crate::llvm_target::{Output, Target, initialize_nvptx};

const TRIPLE: &str = "nvptx64-nvidia-cuda";
/// Kiln's own passes have done the rest; more of LLVM's gives the same machine code and takes many times longer.
const PASSES: &str = "function(early-cse,instcombine<no-verify-fixpoint>,simplifycfg)";

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
    pub(super) fn compile(&self, text: &str, keep_llvm: bool, timings: &mut PtxTimings) -> Result<(Option<String>, String)> {
        let start = Instant::now();
        let module = Llvm::parse(text).map_err(|e| internal(format!("LLVM cannot read the module: {e}\n{text}")))?;
        self.machine.verify(&module)?;
        let read = Instant::now();
        self.machine.run_passes(&module, PASSES)?;
        let optimized = Instant::now();
        let llvm = keep_llvm.then(|| module.text());
        let kept = Instant::now();
        let ptx = self.machine.emit(&module, Output::Assembly)?;
        (timings.read, timings.optimize, timings.codegen) = (read - start, optimized - read, kept.elapsed());
        let ptx = String::from_utf8(ptx).map_err(|e| internal(format!("PTX is no text: {e}")))?;
        Ok((llvm, ptx))
    }
}
