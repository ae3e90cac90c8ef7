//! Launches captured once and replayed as one: a replay costs one call of the driver, whatever it holds.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::driver::{Handle, SUCCESS};
use super::error::GpuError;
use super::gpu::Gpu;
use super::stream::RawStream;
use crate::error::Error;
use crate::plan::Plan;
use crate::storage::Storage;

/// What a capture met: replays order themselves after other users of the memory, and keep it and the code.
#[derive(Default)]
pub(crate) struct Captured {
    storages: Vec<(Arc<Storage>, bool)>,
    plans: Vec<Arc<Plan>>,
}

impl Captured {
    /// A tensor's memory, and whether it is written.
    pub fn note_storage(&mut self, storage: &Arc<Storage>, written: bool) {
        match self.storages.iter_mut().find(|(s, _)| Arc::ptr_eq(s, storage)) {
            Some((_, write)) => *write |= written,
            None => self.storages.push((storage.clone(), written)),
        }
    }

    /// A kernel.
    pub fn note_plan(&mut self, plan: &Arc<Plan>) {
        if !self.plans.iter().any(|p| Arc::ptr_eq(p, plan)) {
            self.plans.push(plan.clone());
        }
    }
}

/// A captured sequence of launches.
pub(crate) struct RawGraph {
    gpu: &'static Gpu,
    executable: Handle,
    captured: Captured,
    /// Kernels, for faults.
    numbers: Vec<u32>,
}

// SAFETY: the driver's handles may be used by any thread that entered the GPU; a graph is replayed by `&mut` users or one after the other, as the driver asks.
unsafe impl Send for RawGraph {}

/// `CU_STREAM_CAPTURE_MODE_RELAXED`: other calls of the thread, such as making tensors, are not part of the graph and are allowed.
const RELAXED: u32 = 2;

impl RawGraph {
    /// Captures what `work` gives to the stream.
    pub fn capture(stream: &Arc<RawStream>, work: impl FnOnce() -> Result<(), Error>) -> Result<RawGraph, Error> {
        let gpu = stream.gpu;
        gpu.enter()?;
        if stream.capturing.swap(true, Ordering::AcqRel) {
            return Err(Error::Device("the stream is capturing a graph already".to_owned()));
        }
        // SAFETY: the stream lives.
        let begun = gpu.check("cuStreamBeginCapture", unsafe { (gpu.api.cuStreamBeginCapture_v2)(stream.handle, RELAXED) });
        if let Err(error) = begun {
            stream.capturing.store(false, Ordering::Release);
            return Err(error.into());
        }
        let worked = work();
        let mut graph = std::ptr::null_mut();
        // SAFETY: the out pointer is valid. A capture that went wrong has to be ended too.
        let ended = unsafe { (gpu.api.cuStreamEndCapture)(stream.handle, &raw mut graph) };
        stream.capturing.store(false, Ordering::Release);
        let captured = std::mem::take(&mut *stream.captured.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        let mut executable = std::ptr::null_mut();
        let instantiated = if ended == SUCCESS && worked.is_ok() {
            // SAFETY: the out pointer is valid, the graph was just made.
            unsafe { (gpu.api.cuGraphInstantiateWithFlags)(&raw mut executable, graph, 0) }
        } else {
            SUCCESS
        };
        if !graph.is_null() {
            // SAFETY: the graph was just made; an instance does not need it.
            unsafe { (gpu.api.cuGraphDestroy)(graph) };
        }
        worked?;
        stream.check("cuStreamEndCapture", ended)?;
        gpu.check("cuGraphInstantiate", instantiated)?;
        let numbers = captured.plans.iter().filter_map(|plan| plan.cuda.as_ref()).map(|kernel| kernel.number).collect();
        Ok(RawGraph { gpu, executable, captured, numbers })
    }

    /// Gives the whole graph to a stream.
    pub fn launch(&self, stream: &RawStream) -> Result<(), GpuError> {
        let gpu = stream.gpu;
        gpu.enter()?;
        for (storage, written) in &self.captured.storages {
            if let Some(memory) = storage.device() {
                memory.order(stream, *written)?;
            }
        }
        self.numbers.iter().for_each(|&number| stream.note(number));
        // SAFETY: instance and stream live; the memory and the code that the graph uses are kept by it.
        stream.check("cuGraphLaunch", unsafe { (gpu.api.cuGraphLaunch)(self.executable, stream.handle) })
    }

    /// Kernels that it launches.
    pub fn kernels(&self) -> usize {
        self.numbers.len()
    }

    /// The GPU it was captured on.
    pub fn gpu(&self) -> &'static Gpu {
        self.gpu
    }
}

impl Drop for RawGraph {
    fn drop(&mut self) {
        let gpu = self.gpu;
        if gpu.enter().is_ok() {
            // Replays that are under way finish: the driver keeps what they need. Memory is given back in order, see `memory`.
            // SAFETY: instantiated once, destroyed once.
            unsafe { (gpu.api.cuGraphExecDestroy)(self.executable) };
        }
    }
}
