//! Events of the driver, and launches timed by them.

use std::time::Duration;

use super::driver::Handle;
use super::error::GpuError;
use super::gpu::Gpu;
use super::launch::Call;
use super::memory::DeviceMemory;
use super::stream::RawStream;
use crate::error::Error;
use crate::timing::Timing;

/// A point in a stream's work.
pub(crate) struct RawEvent {
    gpu: &'static Gpu,
    pub handle: Handle,
}

impl std::fmt::Debug for RawEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "event of {}", self.gpu.name())
    }
}

// SAFETY: the driver's handles may be used by any thread that entered the GPU.
unsafe impl Send for RawEvent {}
// SAFETY: as above.
unsafe impl Sync for RawEvent {}

impl RawEvent {
    /// An event that is not recorded yet.
    pub fn new(gpu: &'static Gpu) -> Result<RawEvent, GpuError> {
        gpu.enter()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the out pointer is valid.
        gpu.check("cuEventCreate", unsafe { (gpu.api.cuEventCreate)(&raw mut handle, 0) })?;
        Ok(RawEvent { gpu, handle })
    }

    /// Puts the event behind what the stream was given.
    pub fn record(&self, stream: &RawStream) -> Result<(), GpuError> {
        self.gpu.enter()?;
        // SAFETY: both live.
        self.gpu.check("cuEventRecord", unsafe { (self.gpu.api.cuEventRecord)(self.handle, stream.handle) })
    }

    /// Waits until everything in front of the event has ended.
    pub fn wait(&self) -> Result<(), GpuError> {
        self.gpu.enter()?;
        // SAFETY: the event lives.
        self.gpu.check("cuEventSynchronize", unsafe { (self.gpu.api.cuEventSynchronize)(self.handle) })
    }

    /// The time between an event and this one; both have happened.
    pub fn since(&self, earlier: &RawEvent) -> Result<Duration, GpuError> {
        self.gpu.enter()?;
        let mut milliseconds = 0f32;
        // SAFETY: the out pointer is valid, both events live.
        let code = unsafe { (self.gpu.api.cuEventElapsedTime)(&raw mut milliseconds, earlier.handle, self.handle) };
        self.gpu.check("cuEventElapsedTime", code)?;
        Ok(Duration::from_secs_f64(f64::from(milliseconds.max(0.0)) / 1e3))
    }

    /// Has the stream wait for the event.
    pub fn hold_back(&self, stream: &RawStream) -> Result<(), GpuError> {
        self.gpu.enter()?;
        // SAFETY: both live.
        self.gpu.check("cuStreamWaitEvent", unsafe { (self.gpu.api.cuStreamWaitEvent)(stream.handle, self.handle, 0) })
    }
}

impl Drop for RawEvent {
    fn drop(&mut self) {
        if self.gpu.enter().is_ok() {
            // SAFETY: made once, destroyed once; the driver does so once the event has happened.
            unsafe { (self.gpu.api.cuEventDestroy_v2)(self.handle) };
        }
    }
}

impl Call<'_> {
    /// Runs the launch again and again; how long each run took on the GPU. Copies of host tensors are not part of it.
    ///
    /// # Safety
    /// As [`Call::run`].
    pub unsafe fn timed(&self, timing: &Timing) -> Result<Vec<Duration>, Error> {
        let gpu = self.kernel.gpu;
        let flush = if timing.cold { Some(DeviceMemory::allocate(gpu, 2 * gpu.info.l2 as usize)?) } else { None };
        // SAFETY: the caller's promise.
        unsafe {
            self.with_everything_there(|slots| {
                let home = gpu.home()?;
                let mut events = vec![];
                for round in 0..timing.warm_up + timing.repeats {
                    if let Some(flush) = &flush {
                        flush.clear()?;
                    }
                    if round < timing.warm_up {
                        self.enqueue(home, slots)?;
                        continue;
                    }
                    let (start, end) = (RawEvent::new(gpu)?, RawEvent::new(gpu)?);
                    start.record(home)?;
                    self.enqueue(home, slots)?;
                    end.record(home)?;
                    events.push((start, end));
                }
                home.synchronize()?;
                Ok(events.iter().map(|(start, end)| end.since(start)).collect::<Result<_, _>>()?)
            })
        }
    }
}
