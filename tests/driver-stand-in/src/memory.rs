//! Device memory, page-locked host memory, copies and fills.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::c_void;
use std::sync::Arc;

use kiln_emulator::Arg;

use crate::codes::{self, Code};
use crate::options::options;
use crate::state::{Driver, Needs, enter, put};
use crate::stream::Op;

/// Page-locked host memory.
pub struct HostBlock {
    pub bytes: usize,
    /// Where kernels see it, if it is mapped.
    pub device: Option<u64>,
}

const PAGE: usize = 4096;
/// `CU_MEMHOSTALLOC_DEVICEMAP`.
const DEVICE_MAP: u32 = 2;

impl Driver {
    fn allocate(&mut self, bytes: usize) -> Result<u64, Code> {
        if bytes == 0 {
            return Err(codes::INVALID_VALUE);
        }
        let used: u64 = self.allocated.values().sum();
        if used + bytes as u64 > options().memory {
            return Err(codes::OUT_OF_MEMORY);
        }
        let address = self.machine.alloc(bytes as u64).map_err(|_| codes::OUT_OF_MEMORY)?;
        self.allocated.insert(address, bytes as u64);
        Ok(address)
    }

    /// Frees at once.
    pub fn release(&mut self, address: u64) -> Result<(), Code> {
        self.allocated.remove(&address).ok_or(codes::INVALID_VALUE)?;
        self.machine.free(address).map_err(|_| codes::INVALID_VALUE)
    }

    /// The page-locked block that some bytes lie in.
    fn locked(&self, address: usize, bytes: usize) -> bool {
        let found = self.host.range(..=address).next_back();
        found.is_some_and(|(base, block)| address + bytes <= base + block.bytes)
    }

    /// Brings mapped host memory to where kernels see it, or back: the blocks whose device addresses are among the parameters.
    pub fn exchange_mapped(&mut self, params: &[Arg], to_device: bool) -> Result<(), Code> {
        for (&base, block) in &self.host {
            let Some(device) = block.device else { continue };
            if !params.iter().any(|param| matches!(param, Arg::Bytes(bytes) if **bytes == device.to_le_bytes())) {
                continue;
            }
            // SAFETY: the block was allocated here with this many bytes.
            let bytes = unsafe { std::slice::from_raw_parts_mut(base as *mut u8, block.bytes) };
            if to_device {
                self.machine.write(device, bytes).map_err(|_| codes::UNKNOWN)?;
            } else {
                let found: Vec<u8> = self.machine.read(device, bytes.len()).map_err(|_| codes::UNKNOWN)?;
                bytes.copy_from_slice(&found);
            }
        }
        Ok(())
    }
}

/// # Safety
/// As the driver's manual says; so for every entry point here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> Code {
    enter(Needs::Context, |driver| {
        driver.refuse_capture()?;
        let found = driver.allocate(bytes)?;
        // SAFETY: the caller's promise.
        unsafe { put(address, found) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFree_v2(address: u64) -> Code {
    enter(Needs::Context, |driver| {
        driver.refuse_capture()?;
        // Memory of the driver's older kind: everything that may use it comes first.
        driver.drain_all()?;
        driver.release(address)
    })
}

/// # Safety
/// See [`cuMemAlloc_v2`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocAsync(address: *mut u64, bytes: usize, stream: *mut c_void) -> Code {
    enter(Needs::Context, |driver| {
        if !options().pools {
            return Err(codes::NOT_SUPPORTED);
        }
        // In a stream that is captured it would be a part of the graph, which this driver cannot have; other streams are free to.
        if driver.is_capturing(stream as usize)? {
            return Err(codes::CAPTURE_UNSUPPORTED);
        }
        let found = driver.allocate(bytes)?;
        // SAFETY: the caller's promise.
        unsafe { put(address, found) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFreeAsync(address: u64, stream: *mut c_void) -> Code {
    enter(Needs::Context, |driver| {
        if driver.is_capturing(stream as usize)? {
            return Err(codes::CAPTURE_UNSUPPORTED);
        }
        if !driver.allocated.contains_key(&address) {
            return Err(codes::INVALID_VALUE);
        }
        driver.enqueue(stream as usize, Op::Free { address })
    })
}

/// # Safety
/// See [`cuMemAlloc_v2`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Code {
    enter(Needs::Context, |driver| {
        let used: u64 = driver.allocated.values().sum();
        // SAFETY: the caller's promise.
        unsafe {
            put(free, (options().memory - used) as usize)?;
            put(total, options().memory as usize)
        }
    })
}

/// # Safety
/// See [`cuMemAlloc_v2`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetDefaultMemPool(pool: *mut *mut c_void, device: i32) -> Code {
    enter(Needs::Driver, |_| {
        if device != 0 || !options().pools {
            return Err(codes::NOT_SUPPORTED);
        }
        // SAFETY: the caller's promise.
        unsafe { put(pool, 0xD0 as *mut c_void) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemPoolSetAttribute(pool: *mut c_void, _attribute: u32, value: *mut c_void) -> Code {
    let right = pool as usize == 0xD0 && !value.is_null();
    enter(Needs::Driver, |_| if right { Ok(()) } else { Err(codes::INVALID_VALUE) })
}

/// # Safety
/// See [`cuMemAlloc_v2`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(address: *mut *mut c_void, bytes: usize, flags: u32) -> Code {
    enter(Needs::Context, |driver| {
        driver.refuse_capture()?;
        let layout = Layout::from_size_align(bytes, PAGE).map_err(|_| codes::INVALID_VALUE)?;
        if bytes == 0 {
            return Err(codes::INVALID_VALUE);
        }
        // SAFETY: the layout is not empty.
        let block = unsafe { alloc_zeroed(layout) };
        if block.is_null() {
            return Err(codes::OUT_OF_MEMORY);
        }
        let mapped = flags & DEVICE_MAP != 0;
        let device = if mapped { Some(driver.machine.alloc(bytes as u64).map_err(|_| codes::OUT_OF_MEMORY)?) } else { None };
        driver.host.insert(block as usize, HostBlock { bytes, device });
        // SAFETY: the caller's promise.
        unsafe { put(address, block.cast()) }
    })
}

/// # Safety
/// See [`cuMemAlloc_v2`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostGetDevicePointer_v2(address: *mut u64, host: *mut c_void, flags: u32) -> Code {
    enter(Needs::Context, |driver| {
        let block = driver.host.get(&(host as usize)).ok_or(codes::INVALID_VALUE)?;
        let device = block.device.filter(|_| flags == 0).ok_or(codes::INVALID_VALUE)?;
        // SAFETY: the caller's promise.
        unsafe { put(address, device) }
    })
}

/// # Safety
/// See [`cuMemAlloc_v2`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeHost(host: *mut c_void) -> Code {
    // After a fault too: it is the process's memory.
    enter(Needs::Driver, |driver| {
        let ended = driver.fault.is_some();
        if !ended {
            driver.drain_all()?;
        }
        let block = driver.host.remove(&(host as usize)).ok_or(codes::INVALID_VALUE)?;
        if let Some(device) = block.device {
            driver.machine.free(device).map_err(|_| codes::UNKNOWN)?;
        }
        // SAFETY: allocated with this layout, and removed from the table.
        unsafe { dealloc(host.cast(), Layout::from_size_align(block.bytes, PAGE).map_err(|_| codes::UNKNOWN)?) };
        Ok(())
    })
}

/// Where a copy to the device takes its bytes from.
#[derive(Clone)]
pub enum Source {
    /// Ordinary memory, read at the call.
    Bytes(Arc<[u8]>),
    /// Page-locked memory, read when the copy runs.
    Locked { address: usize, bytes: usize },
}

/// # Safety
/// See [`cuMemAlloc_v2`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: *mut c_void) -> Code {
    enter(Needs::Context, |driver| {
        let locked = driver.locked(from as usize, bytes);
        if !locked && driver.is_capturing(stream as usize)? {
            return Err(codes::CAPTURE_UNSUPPORTED);
        }
        let source = if locked {
            Source::Locked { address: from as usize, bytes }
        } else {
            // SAFETY: the caller's promise.
            Source::Bytes(unsafe { std::slice::from_raw_parts(from.cast::<u8>(), bytes) }.into())
        };
        driver.enqueue(stream as usize, Op::CopyIn { to, source })
    })
}

/// # Safety
/// See [`cuMemAlloc_v2`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: *mut c_void) -> Code {
    enter(Needs::Context, |driver| {
        let locked = driver.locked(to as usize, bytes);
        if !locked && driver.is_capturing(stream as usize)? {
            return Err(codes::CAPTURE_UNSUPPORTED);
        }
        driver.enqueue(stream as usize, Op::CopyOut { from, to: to as usize, bytes })?;
        // Ordinary memory is written before the call returns.
        if locked { Ok(()) } else { driver.drain(stream as usize, None) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: *mut c_void) -> Code {
    enter(Needs::Context, |driver| driver.enqueue(stream as usize, Op::Copy { from, to, bytes }))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD8Async(to: u64, byte: u8, bytes: usize, stream: *mut c_void) -> Code {
    enter(Needs::Context, |driver| driver.enqueue(stream as usize, Op::Fill { to, byte, bytes }))
}
