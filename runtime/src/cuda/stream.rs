//! A stream of the driver, and what orders streams among each other.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use super::driver::{Handle, NOT_READY, SUCCESS};
use super::error::GpuError;
use super::gpu::{Gpu, SLOTS};
use super::graph::Captured;
use super::prints::PrintBuffer;
use crate::storage::OwnedHold;

/// `CU_STREAM_NON_BLOCKING`: not ordered with the legacy default stream.
const NON_BLOCKING: u32 = 1;
/// `CU_EVENT_DISABLE_TIMING`.
const NO_TIMING: u32 = 2;

/// What has to be done once a stream's work has ended.
pub(crate) enum Pending {
    /// Show what a launch printed.
    Prints(PrintBuffer),
    /// Let go of host memory that a copy used.
    Hold(#[allow(dead_code)] OwnedHold),
}

/// A stream.
pub(crate) struct RawStream {
    pub gpu: &'static Gpu,
    pub handle: Handle,
    /// Recorded whenever another stream has to wait for this one. Used under the lock of `Gpu::streams`.
    order: Handle,
    pub slot: u8,
    pending: Mutex<Vec<Pending>>,
    /// Where `grid_sync` counts: launches of one stream follow each other.
    counter: OnceLock<u64>,
    /// Kernels that were launched last, by number, and how many there were since the last wait.
    recent: [AtomicU32; RECENT],
    launched: AtomicU64,
    /// A graph is being captured.
    pub capturing: AtomicBool,
    pub captured: Mutex<Captured>,
}

/// Launches that a fault is reported with.
const RECENT: usize = 8;

/// Names of kernels by number.
static NAMES: Mutex<Vec<String>> = Mutex::new(vec![]);

/// The number of a kernel's name.
pub(crate) fn name_number(name: &str) -> u32 {
    let mut names = NAMES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(at) = names.iter().position(|n| n == name) {
        return at as u32;
    }
    names.push(name.to_owned());
    names.len() as u32 - 1
}

// SAFETY: the driver's handles may be used by any thread that entered the GPU.
unsafe impl Send for RawStream {}
// SAFETY: as above.
unsafe impl Sync for RawStream {}

impl std::fmt::Debug for RawStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stream {} of {}", self.slot, self.gpu.name())
    }
}

impl RawStream {
    /// A new stream. Slot 0 is the GPU's own: asked for again, it is given again.
    pub fn new(gpu: &'static Gpu, slot: Option<usize>) -> Result<Arc<RawStream>, GpuError> {
        gpu.enter()?;
        let mut streams = gpu.streams.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let slot = match slot {
            Some(slot) => {
                if let Some(stream) = &streams[slot] {
                    return Ok(stream.clone());
                }
                slot
            }
            None => (1..SLOTS).find(|&slot| streams[slot].is_none()).ok_or_else(|| GpuError::Call {
                device: gpu.name(),
                call: "making a stream",
                name: "too many streams".to_owned(),
                text: format!("kiln uses at most {} streams of a GPU at once", SLOTS - 1),
            })?,
        };
        let (mut handle, mut order) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the out pointers are valid.
        unsafe {
            gpu.check("cuStreamCreate", (gpu.api.cuStreamCreate)(&raw mut handle, NON_BLOCKING))?;
            gpu.check("cuEventCreate", (gpu.api.cuEventCreate)(&raw mut order, NO_TIMING))?;
        }
        let stream = Arc::new(RawStream {
            gpu,
            handle,
            order,
            slot: slot as u8,
            pending: Mutex::default(),
            counter: OnceLock::new(),
            recent: [const { AtomicU32::new(0) }; RECENT],
            launched: AtomicU64::new(0),
            capturing: AtomicBool::new(false),
            captured: Mutex::default(),
        });
        streams[slot] = Some(stream.clone());
        Ok(stream)
    }

    /// Has `self` wait for everything that the stream of a slot was given so far.
    pub fn wait_for_slot(&self, slot: u8) -> Result<(), GpuError> {
        let streams = self.gpu.streams.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // A stream that is gone was waited for.
        let Some(other) = &streams[usize::from(slot)] else { return Ok(()) };
        let api = self.gpu.api;
        // SAFETY: both streams and the event live; the event is this lock's.
        unsafe {
            self.gpu.check("cuEventRecord", (api.cuEventRecord)(other.order, other.handle))?;
            self.gpu.check("cuStreamWaitEvent", (api.cuStreamWaitEvent)(self.handle, other.order, 0))
        }
    }

    fn pending(&self) -> MutexGuard<'_, Vec<Pending>> {
        self.pending.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Something to do once the work that the stream was given so far has ended.
    pub fn later(&self, what: Pending) {
        self.pending().push(what);
    }

    /// How much there is to do.
    pub fn pending_count(&self) -> usize {
        self.pending().len()
    }

    /// Notes a launch, for the words of a fault.
    #[inline]
    pub fn note(&self, kernel: u32) {
        let at = self.launched.fetch_add(1, Ordering::Relaxed);
        self.recent[at as usize % RECENT].store(kernel, Ordering::Relaxed);
    }

    /// The kernels that may be under way.
    pub fn suspects(&self) -> String {
        let count = self.launched.load(Ordering::Relaxed) as usize;
        let names = NAMES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut found: Vec<&str> = vec![];
        for at in 0..count.min(RECENT) {
            let number = self.recent[at].load(Ordering::Relaxed) as usize;
            match names.get(number) {
                Some(name) if !found.contains(&name.as_str()) => found.push(name),
                _ => {}
            }
        }
        match found[..] {
            [] => "a kernel of another stream".to_owned(),
            [only] if count <= RECENT => format!("kernel `{only}`"),
            _ => format!("one of the kernels launched last (`{}`)", found.join("`, `")),
        }
    }

    /// The result of a call that may report what kernels did.
    pub fn check(&self, call: &'static str, code: u32) -> Result<(), GpuError> {
        if code == SUCCESS { Ok(()) } else { Err(self.gpu.failed(call, code, || self.suspects())) }
    }

    /// Waits for everything that the stream was given, and does what was to be done then.
    pub fn synchronize(&self) -> Result<(), GpuError> {
        self.gpu.enter()?;
        // Taken before the wait: what other threads add meanwhile is not waited for here.
        let pending = std::mem::take(&mut *self.pending());
        // SAFETY: the stream lives.
        let code = unsafe { (self.gpu.api.cuStreamSynchronize)(self.handle) };
        // What was printed before a fault helps to understand it; memory that copies used is in use no longer.
        for what in pending {
            if let Pending::Prints(buffer) = what {
                buffer.show();
            }
        }
        let checked = self.check("cuStreamSynchronize", code);
        self.launched.store(0, Ordering::Relaxed);
        checked
    }

    /// Whether everything has ended; if so, what was to be done then is done.
    pub fn is_idle(&self) -> Result<bool, GpuError> {
        self.gpu.enter()?;
        // SAFETY: the stream lives.
        match unsafe { (self.gpu.api.cuStreamQuery)(self.handle) } {
            NOT_READY => Ok(false),
            code => {
                self.check("cuStreamQuery", code)?;
                self.synchronize().map(|()| true)
            }
        }
    }

    /// The address of the counter for `grid_sync`.
    pub fn counter(&self) -> Result<u64, GpuError> {
        if let Some(&address) = self.counter.get() {
            return Ok(address);
        }
        let mut address = 0;
        // SAFETY: the out pointer is valid.
        self.gpu.check("cuMemAlloc", unsafe { (self.gpu.api.cuMemAlloc_v2)(&raw mut address, 8) })?;
        Ok(*self.counter.get_or_init(|| address))
    }

    /// Gives the stream back, once its work has ended. Its slot is free then.
    pub fn retire(&self) {
        let ended = self.synchronize();
        let mut streams = self.gpu.streams.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        streams[usize::from(self.slot)] = None;
        if ended.is_err() {
            return;
        }
        let api = self.gpu.api;
        // SAFETY: nothing is under way, and nobody finds the stream any more. What the driver says to this changes nothing.
        unsafe {
            (api.cuStreamDestroy_v2)(self.handle);
            (api.cuEventDestroy_v2)(self.order);
            if let Some(&counter) = self.counter.get() {
                (api.cuMemFree_v2)(counter);
            }
        }
    }
}
