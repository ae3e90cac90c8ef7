//! Memory that tensors share, with a borrow count: kernels and readers hold it while they use it, so that nothing is read while it is written.
//!
//! Storage is handed out by reference count, and views of one storage may be used from several threads; the count turns a conflict into an error
//! (`TensorError::Busy`) instead of a data race. It never blocks.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::any::Any;
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, RwLock};

use crate::cuda::gpu::Gpu;
use crate::cuda::memory::{DeviceMemory, LockedMemory};
use crate::error::TensorError;

/// Alignment of memory that Kiln allocates, in bytes: a cache line, and the widest vector.
pub const ALIGN: usize = 64;

/// Blocks that are alive: first address to length. Launches on devices with memory of their own look up here what a raw pointer leads into.
static LIVE: RwLock<BTreeMap<usize, usize>> = RwLock::new(BTreeMap::new());

/// First address and length of the block that an address lies in, or at the end of.
pub(crate) fn containing(address: u64) -> Option<(u64, usize)> {
    let address = address as usize;
    let live = LIVE.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (&base, &bytes) = live.range(..=address).next_back()?;
    (address - base <= bytes).then_some((base as u64, bytes))
}

/// A block of memory: the host's, or a GPU's.
#[derive(Debug)]
pub struct Storage {
    base: NonNull<u8>,
    bytes: usize,
    owner: Owner,
    /// Readers (positive) or the writer (-1).
    borrows: AtomicI32,
}

#[derive(Debug)]
enum Owner {
    /// Allocated here: the block that the aligned base lies in.
    Block(NonNull<u8>, Layout),
    /// Memory of something else, kept alive. Never read: it is held for its `Drop`.
    Foreign(#[allow(dead_code)] Keeper),
    /// Page-locked memory of the host. Never read: it is held for its `Drop`.
    Locked(#[allow(dead_code)] LockedMemory),
    /// Memory of a GPU: the base is an address there.
    Device(DeviceMemory),
}

impl Owner {
    /// Whether the address is the block's alone: that of no bytes of something else may be any.
    fn has_place(&self, bytes: usize) -> bool {
        !matches!(self, Owner::Device(_)) && (bytes > 0 || matches!(self, Owner::Block(..)))
    }
}

struct Keeper(#[allow(dead_code)] Box<dyn Any + Send + Sync>);

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("foreign memory")
    }
}

// SAFETY: the memory is plain data; `borrows` keeps readers and writers apart.
unsafe impl Send for Storage {}
// SAFETY: as above.
unsafe impl Sync for Storage {}

impl Storage {
    /// Zeroed memory, aligned to [`ALIGN`].
    ///
    /// # Errors
    /// Where the system has not that much.
    pub fn zeroed(bytes: usize) -> Result<Storage, TensorError> {
        let failed = || TensorError::OutOfMemory { bytes };
        // Alignment by hand: zeroed memory of ordinary alignment comes from the system without being touched.
        let layout = Layout::from_size_align(bytes.checked_add(ALIGN).ok_or_else(failed)?, 16).map_err(|_| failed())?;
        // SAFETY: the layout is not empty.
        let block = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(failed)?;
        let skip = block.as_ptr().align_offset(ALIGN);
        // SAFETY: `skip` is less than ALIGN, and the block has that many bytes more than asked for.
        let base = unsafe { block.add(skip) };
        Ok(Storage::of(base, bytes, Owner::Block(block, layout)))
    }

    /// Takes over a vector's memory.
    pub fn from_vec<T: Copy + Send + Sync + 'static>(mut vec: Vec<T>) -> Storage {
        let bytes = std::mem::size_of_val(vec.as_slice());
        let base = NonNull::new(vec.as_mut_ptr().cast()).expect("a vector's pointer is never null");
        Storage::of(base, bytes, Owner::Foreign(Keeper(Box::new(vec))))
    }

    /// Adopts memory that `keeper` keeps alive.
    ///
    /// # Safety
    /// `base` must be valid for reads and writes of `bytes` bytes for as long as `keeper` lives, and nothing else may access it meanwhile.
    pub unsafe fn adopt(base: NonNull<u8>, bytes: usize, keeper: Box<dyn Any + Send + Sync>) -> Storage {
        Storage::of(base, bytes, Owner::Foreign(Keeper(keeper)))
    }

    /// Memory of a GPU that nothing has written yet.
    pub(crate) fn on_gpu(gpu: &'static Gpu, bytes: usize) -> Result<Storage, TensorError> {
        Ok(Storage::of_device(DeviceMemory::allocate(gpu, bytes)?, bytes))
    }

    /// Adopts memory of a GPU that `keeper` keeps alive.
    ///
    /// # Errors
    /// Where `device` is no GPU.
    ///
    /// # Safety
    /// `address` must be of `bytes` bytes on that GPU for as long as `keeper` lives, nothing else may use them meanwhile, and what was done with them before has ended.
    pub unsafe fn adopt_on(
        device: &crate::Device,
        address: u64,
        bytes: usize,
        keeper: Box<dyn Any + Send + Sync>,
    ) -> Result<Storage, TensorError> {
        let Some(gpu) = device.gpu() else {
            return Err(TensorError::Place(format!("{} is no GPU that memory can be adopted on", device.name())));
        };
        // SAFETY: the caller's promise.
        Ok(Storage::of_device(unsafe { DeviceMemory::adopt(gpu, address, bytes, keeper) }, bytes))
    }

    fn of_device(memory: DeviceMemory, bytes: usize) -> Storage {
        // An address of the GPU, which is never followed here: `device` tells. Only that of no bytes may be 0.
        let base = NonNull::new(memory.address() as *mut u8).unwrap_or(NonNull::dangling());
        Storage::of(base, bytes, Owner::Device(memory))
    }

    /// Page-locked memory of the host, zeroed: copies between it and the GPU run beside the host.
    pub(crate) fn locked(gpu: &'static Gpu, bytes: usize) -> Result<Storage, TensorError> {
        let memory = LockedMemory::allocate(gpu, bytes, false)?;
        // SAFETY: the memory has that many bytes, and nobody uses it yet.
        unsafe { memory.host.write_bytes(0, bytes) };
        Ok(Storage::of(memory.host, bytes, Owner::Locked(memory)))
    }

    /// The GPU's memory, if it is in one.
    #[inline]
    pub(crate) fn device(&self) -> Option<&DeviceMemory> {
        match &self.owner {
            Owner::Device(memory) => Some(memory),
            Owner::Block(..) | Owner::Foreign(_) | Owner::Locked(_) => None,
        }
    }

    fn of(base: NonNull<u8>, bytes: usize, owner: Owner) -> Storage {
        if owner.has_place(bytes) {
            LIVE.write().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(base.as_ptr() as usize, bytes);
        }
        Storage { base, bytes, owner, borrows: AtomicI32::new(0) }
    }

    /// Takes what keeps foreign memory, if it is a `K`. The storage is empty then.
    pub(crate) fn take_keeper<K: 'static>(&mut self) -> Option<K> {
        let Owner::Foreign(Keeper(keeper)) = &mut self.owner else { return None };
        if !keeper.is::<K>() {
            return None;
        }
        let keeper = std::mem::replace(keeper, Box::new(())).downcast::<K>().ok()?;
        if self.bytes > 0 {
            LIVE.write().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(&(self.base.as_ptr() as usize));
        }
        self.bytes = 0;
        Some(*keeper)
    }

    /// First byte; for memory of a GPU its address there, which the host cannot follow.
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether there is no memory at all.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Holds the memory for reading.
    ///
    /// # Errors
    /// While it is held for writing.
    pub fn read(&self) -> Result<Reading<'_>, TensorError> {
        self.try_read().then(|| Reading(self)).ok_or(TensorError::Busy)
    }

    /// Holds the memory for writing.
    ///
    /// # Errors
    /// While it is held.
    pub fn write(&self) -> Result<Writing<'_>, TensorError> {
        self.try_write().then(|| Writing(self)).ok_or(TensorError::Busy)
    }

    /// Takes a reader's hold; `release_read` gives it back.
    pub(crate) fn try_read(&self) -> bool {
        self.borrows.fetch_update(Ordering::Acquire, Ordering::Relaxed, |n| if n >= 0 { n.checked_add(1) } else { None }).is_ok()
    }

    /// Takes the writer's hold; `release_write` gives it back.
    pub(crate) fn try_write(&self) -> bool {
        self.borrows.compare_exchange(0, -1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// Has the memory stay in use for ever, unless there is a reader beside the one that calls this.
    #[cfg(feature = "candle")]
    pub(crate) fn retire(&self) -> bool {
        self.borrows.compare_exchange(1, -1, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    pub(crate) fn release_read(&self) {
        self.borrows.fetch_sub(1, Ordering::Release);
    }

    pub(crate) fn release_write(&self) {
        self.borrows.store(0, Ordering::Release);
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if self.owner.has_place(self.bytes) {
            LIVE.write().unwrap_or_else(|poisoned| poisoned.into_inner()).remove(&(self.base.as_ptr() as usize));
        }
        if let Owner::Block(block, layout) = &self.owner {
            // SAFETY: allocated with this layout, and given back once.
            unsafe { dealloc(block.as_ptr(), *layout) }
        }
    }
}

/// A hold that keeps the memory.
pub(crate) struct OwnedHold {
    storage: Arc<Storage>,
    write: bool,
}

impl OwnedHold {
    /// Takes it.
    pub fn take(storage: &Arc<Storage>, write: bool) -> Result<OwnedHold, TensorError> {
        if if write { storage.try_write() } else { storage.try_read() } {
            return Ok(OwnedHold { storage: storage.clone(), write });
        }
        Err(TensorError::Busy)
    }
}

impl Drop for OwnedHold {
    fn drop(&mut self) {
        if self.write { self.storage.release_write() } else { self.storage.release_read() }
    }
}

/// A reader's hold.
#[derive(Debug)]
pub struct Reading<'a>(&'a Storage);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.release_read();
    }
}

/// The writer's hold.
#[derive(Debug)]
pub struct Writing<'a>(&'a Storage);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.release_write();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_and_writers_do_not() {
        let storage = Storage::zeroed(100).unwrap();
        assert_eq!(storage.base().as_ptr() as usize % ALIGN, 0);
        let first = storage.read().unwrap();
        let second = storage.read().unwrap();
        assert!(matches!(storage.write(), Err(TensorError::Busy)));
        drop((first, second));
        let writer = storage.write().unwrap();
        assert!(storage.read().is_err());
        drop(writer);
        assert!(storage.read().is_ok());
        assert!(Storage::zeroed(usize::MAX - 3).is_err());
    }

    #[test]
    fn addresses_lead_to_live_blocks() {
        let storage = Storage::from_vec(vec![0u32; 5]);
        let base = storage.base().as_ptr() as u64;
        assert_eq!(containing(base), Some((base, 20)));
        assert_eq!(containing(base + 20), Some((base, 20)));
        assert_ne!(containing(base + 21), Some((base, 20)));
        drop(storage);
        assert!(containing(base).is_none_or(|(found, _)| found != base));
    }
}
