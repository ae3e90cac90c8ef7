//! What GPUs and their driver report, typed.

use thiserror::Error;

/// What can go wrong with a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GpuError {
    /// The driver refuses a call.
    #[error("error[K1021]: {device}: {call} fails: {name} ({text})")]
    Call {
        /// `cuda:0`.
        device: String,
        /// The driver's function.
        call: &'static str,
        /// Name of the result: `CUDA_ERROR_OUT_OF_MEMORY`.
        name: String,
        /// What the driver says of it.
        text: String,
    },
    /// A kernel did what ends the whole context: memory outside, an instruction that cannot be, a failed assertion.
    #[error(
        "error[K1022]: {device} stopped {suspects}: {name} ({text})\n  a GPU does not say where: the same launch with `--device emulator` names the line, the program and the lane.\n  \
         This process cannot use {device} any more"
    )]
    Fault {
        /// `cuda:0`.
        device: String,
        /// The kernels that were under way: ``kernel `a` ``, or several of which one did it.
        suspects: String,
        /// Name of the result: `CUDA_ERROR_ILLEGAL_ADDRESS`.
        name: String,
        /// What the driver says of it.
        text: String,
    },
    /// The GPU was lost to this process by an earlier fault.
    #[error("error[K1023]: {device} cannot be used any more in this process, since {cause}")]
    Lost {
        /// `cuda:0`.
        device: String,
        /// What happened.
        cause: String,
    },
    /// The driver does not take a kernel's code.
    #[error("error[K1024]: {device} does not take the code of kernel `{kernel}`: {name} ({text}){advice}{log}")]
    Code {
        /// `cuda:0`.
        device: String,
        /// The kernel.
        kernel: Box<str>,
        /// Name of the result.
        name: String,
        /// What the driver says of it.
        text: String,
        /// What can be done, on a line of its own, or nothing.
        advice: Box<str>,
        /// What the assembler wrote, on lines of its own, or nothing.
        log: Box<str>,
    },
}

impl GpuError {
    /// Whether the device is lost to this process.
    pub fn is_lost(&self) -> bool {
        matches!(self, GpuError::Fault { .. } | GpuError::Lost { .. })
    }
}
