//! Device memory that tensors lie in, and the order of what streams do with it.
//!
//! Work on a tensor by one stream waits for work on it by others, where one of the two writes: each block of memory keeps which stream wrote it last and which have
//! read it since, in one word. A launch in the stream that used the block before looks at the word and goes on; only a change of streams costs an event. Memory
//! is given out and taken back in the order of the GPU's own stream, so that a tensor may be dropped while work on it is under way.

use std::any::Any;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::GpuError;
use super::gpu::Gpu;
use super::stream::RawStream;
use crate::error::TensorError;

/// A block of device memory.
pub(crate) struct DeviceMemory {
    pub gpu: &'static Gpu,
    address: u64,
    bytes: usize,
    /// Slot + 1 of the stream that wrote last, 0 for none, in the top byte; below it one bit for each stream that has read since, and waited for the writer.
    uses: AtomicU64,
    owner: Owner,
}

enum Owner {
    /// Ours, to be given back.
    Kiln,
    /// There are no bytes.
    Nothing,
    /// Somebody else's, who keeps it. Never read: it is held for its `Drop`.
    Foreign(#[allow(dead_code)] Box<dyn Any + Send + Sync>),
}

const READERS: u64 = (1 << 56) - 1;

impl std::fmt::Debug for DeviceMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes at {:#x} of {}", self.bytes, self.address, self.gpu.name())
    }
}

/// Where memory of no bytes is: nowhere, at an address that is as aligned as any.
const NOWHERE: u64 = 512;

impl DeviceMemory {
    /// Memory that nothing has written yet, at a multiple of 256 bytes at least.
    pub fn allocate(gpu: &'static Gpu, bytes: usize) -> Result<DeviceMemory, TensorError> {
        if bytes == 0 {
            return Ok(DeviceMemory { gpu, address: NOWHERE, bytes, uses: AtomicU64::new(0), owner: Owner::Nothing });
        }
        let home = gpu.home()?;
        gpu.enter()?;
        let mut address = 0;
        // SAFETY: the out pointer is valid.
        let code = unsafe {
            if gpu.pools {
                (gpu.api.cuMemAllocAsync)(&raw mut address, bytes, home.handle)
            } else {
                (gpu.api.cuMemAlloc_v2)(&raw mut address, bytes)
            }
        };
        if code == OUT_OF_MEMORY {
            let (free, total) = gpu.free_memory()?;
            let gib = |bytes: u64| bytes as f64 / 1_073_741_824.0;
            return Err(TensorError::Place(format!(
                "{} has no memory for {bytes} bytes: {:.2} of {:.2} GiB are free",
                gpu.name(),
                gib(free),
                gib(total)
            )));
        }
        gpu.check("cuMemAllocAsync", code)?;
        // Other streams may use the memory once this one has given it out.
        Ok(DeviceMemory { gpu, address, bytes, uses: AtomicU64::new(u64::from(home.slot + 1) << 56), owner: Owner::Kiln })
    }

    /// Memory that `keeper` keeps.
    ///
    /// # Safety
    /// The address is of that many bytes on that GPU for as long as `keeper` lives.
    pub unsafe fn adopt(gpu: &'static Gpu, address: u64, bytes: usize, keeper: Box<dyn Any + Send + Sync>) -> DeviceMemory {
        DeviceMemory { gpu, address, bytes, uses: AtomicU64::new(0), owner: Owner::Foreign(keeper) }
    }

    /// First byte's address.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Orders what `stream` is given next after what others do with this memory.
    #[inline]
    pub fn order(&self, stream: &RawStream, write: bool) -> Result<(), GpuError> {
        let (me, bit) = (u64::from(stream.slot) + 1, 1u64 << stream.slot);
        let uses = self.uses.load(Ordering::Acquire);
        let writer = uses >> 56;
        let settled = if write { uses == me << 56 } else { writer == me || uses & bit != 0 };
        if settled { Ok(()) } else { self.reorder(stream, write) }
    }

    #[cold]
    fn reorder(&self, stream: &RawStream, write: bool) -> Result<(), GpuError> {
        let (me, bit) = (u64::from(stream.slot) + 1, 1u64 << stream.slot);
        let note = |uses: u64| Some(if write { me << 56 } else { uses | bit });
        // Noted first: whoever comes at the same time waits for this stream, and this one for whoever came before.
        let before = self.uses.fetch_update(Ordering::AcqRel, Ordering::Acquire, note).unwrap_or_default();
        let writer = before >> 56;
        if writer != 0 && writer != me {
            stream.wait_for_slot((writer - 1) as u8)?;
        }
        let mut readers = if write { before & READERS & !bit } else { 0 };
        while readers != 0 {
            let slot = readers.trailing_zeros() as u8;
            stream.wait_for_slot(slot)?;
            readers &= readers - 1;
        }
        Ok(())
    }

    /// Copies bytes from the host at an offset, after everything that uses the memory. When this returns, `from` may be changed again.
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<(), GpuError> {
        if from.is_empty() {
            return Ok(());
        }
        let home = self.gpu.home()?;
        self.gpu.enter()?;
        self.order(home, true)?;
        let (to, len) = (self.address + offset as u64, from.len());
        // SAFETY: the bytes are there on both sides: the callers give offsets inside the block. The host's may be page-locked, so the copy is waited for.
        let code = unsafe { (self.gpu.api.cuMemcpyHtoDAsync_v2)(to, from.as_ptr().cast::<c_void>(), len, home.handle) };
        home.check("cuMemcpyHtoDAsync", code)?;
        home.synchronize()
    }

    /// Copies bytes to the host from an offset, after everything that writes the memory.
    ///
    /// # Safety
    /// `to` is valid for `len` bytes.
    pub unsafe fn read(&self, offset: usize, to: *mut u8, len: usize) -> Result<(), GpuError> {
        if len == 0 {
            return Ok(());
        }
        let home = self.gpu.home()?;
        self.gpu.enter()?;
        self.order(home, false)?;
        // SAFETY: the caller's promise; the offset lies inside the block.
        let code = unsafe { (self.gpu.api.cuMemcpyDtoHAsync_v2)(to.cast(), self.address + offset as u64, len, home.handle) };
        home.check("cuMemcpyDtoHAsync", code)?;
        home.synchronize()
    }

    /// Sets every byte to zero, in the GPU's own stream.
    pub fn clear(&self) -> Result<(), GpuError> {
        if self.bytes == 0 {
            return Ok(());
        }
        let home = self.gpu.home()?;
        self.gpu.enter()?;
        self.order(home, true)?;
        // SAFETY: the block has that many bytes.
        home.check("cuMemsetD8Async", unsafe { (self.gpu.api.cuMemsetD8Async)(self.address, 0, self.bytes, home.handle) })
    }
}

/// `CUDA_ERROR_OUT_OF_MEMORY`.
const OUT_OF_MEMORY: u32 = 2;

impl Drop for DeviceMemory {
    fn drop(&mut self) {
        let Ok(home) = self.gpu.home() else { return };
        if matches!(self.owner, Owner::Nothing) || self.gpu.enter().is_err() {
            return;
        }
        // What other streams do with the memory comes before it is given back.
        let ordered = self.order(home, true);
        if matches!(self.owner, Owner::Foreign(_)) {
            // Its keeper goes next, and knows nothing of streams.
            let _ = home.synchronize();
            return;
        }
        if ordered.is_err() {
            return;
        }
        // SAFETY: allocated so, and given back once; of what fails here nobody can be told.
        unsafe {
            if self.gpu.pools {
                (self.gpu.api.cuMemFreeAsync)(self.address, home.handle);
            } else if home.synchronize().is_ok() {
                (self.gpu.api.cuMemFree_v2)(self.address);
            }
        }
    }
}

/// Page-locked host memory: copies to and from it run beside the host, and kernels may use it where it is mapped.
pub(crate) struct LockedMemory {
    pub gpu: &'static Gpu,
    pub host: std::ptr::NonNull<u8>,
}

// SAFETY: plain memory; who uses it when is the owner's business.
unsafe impl Send for LockedMemory {}
// SAFETY: as above.
unsafe impl Sync for LockedMemory {}

impl std::fmt::Debug for LockedMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("page-locked memory")
    }
}

/// `CU_MEMHOSTALLOC_DEVICEMAP`.
const DEVICE_MAP: u32 = 2;

impl LockedMemory {
    /// At least one byte; mapped where kernels are to see it. The content is undefined.
    pub fn allocate(gpu: &'static Gpu, bytes: usize, mapped: bool) -> Result<LockedMemory, GpuError> {
        gpu.enter()?;
        let mut host = std::ptr::null_mut();
        let flags = if mapped { DEVICE_MAP } else { 0 };
        // SAFETY: the out pointer is valid.
        gpu.check("cuMemHostAlloc", unsafe { (gpu.api.cuMemHostAlloc)(&raw mut host, bytes.max(1), flags) })?;
        let host = std::ptr::NonNull::new(host.cast()).ok_or_else(|| gpu.failed("cuMemHostAlloc", OUT_OF_MEMORY, String::new))?;
        Ok(LockedMemory { gpu, host })
    }

    /// Where kernels see it.
    pub fn device_address(&self) -> Result<u64, GpuError> {
        let mut address = 0;
        // SAFETY: the out pointer is valid, and the memory is mapped, or the driver refuses.
        let code = unsafe { (self.gpu.api.cuMemHostGetDevicePointer_v2)(&raw mut address, self.host.as_ptr().cast(), 0) };
        self.gpu.check("cuMemHostGetDevicePointer", code)?;
        Ok(address)
    }
}

impl Drop for LockedMemory {
    fn drop(&mut self) {
        // After a fault too; the driver may refuse then, and the process's end gives it back.
        let _ = self.gpu.enter();
        // SAFETY: allocated so, and given back once.
        unsafe { (self.gpu.api.cuMemFreeHost)(self.host.as_ptr().cast()) };
    }
}
