//! What kernels print on a GPU: records in page-locked memory that the host reads once the stream's work has ended, after a fault too.

use std::sync::Arc;

use super::error::GpuError;
use super::gpu::Gpu;
use super::memory::LockedMemory;
use crate::compiled::{PRINT_BYTES, PRINT_HEAD};
use crate::plan::Plan;

/// The records of one launch.
pub(crate) struct PrintBuffer {
    memory: LockedMemory,
    kernel: String,
    plan: Arc<Plan>,
}

impl PrintBuffer {
    /// An empty buffer for a launch of `plan`.
    pub fn new(gpu: &'static Gpu, kernel: &str, plan: &Arc<Plan>) -> Result<PrintBuffer, GpuError> {
        let memory = LockedMemory::allocate(gpu, PRINT_HEAD + PRINT_BYTES, true)?;
        // SAFETY: the memory has this many bytes, is aligned to a page, and nothing else uses it yet.
        unsafe {
            memory.host.write_bytes(0, PRINT_HEAD + PRINT_BYTES);
            memory.host.cast::<u64>().add(1).write(PRINT_BYTES as u64);
        }
        Ok(PrintBuffer { memory, kernel: kernel.to_owned(), plan: plan.clone() })
    }

    /// Where the kernel finds it.
    pub fn device_address(&self) -> Result<u64, GpuError> {
        self.memory.device_address()
    }

    /// Shows what was printed. The launch has ended.
    pub fn show(&self) {
        // SAFETY: the memory has this many bytes, and the kernel has ended.
        let bytes = unsafe { std::slice::from_raw_parts(self.memory.host.as_ptr(), PRINT_HEAD + PRINT_BYTES) };
        if let Err(error) = self.plan.compiled.show_prints(&self.kernel, self.plan.grid, bytes) {
            eprintln!("{error}");
        }
    }
}
