//! Initialization, the device and its attributes, contexts, and the texts of result codes.

use std::ffi::{c_char, c_int, c_void};

use cudarc::driver::sys::CUdevice_attribute as Attribute;

use crate::codes::{self, Code};
use crate::options::options;
use crate::state::{CONTEXT, CURRENT, Needs, enter, initialize, put};

#[unsafe(no_mangle)]
pub extern "C" fn cuInit(flags: u32) -> Code {
    if flags != 0 {
        return codes::INVALID_VALUE;
    }
    initialize();
    codes::SUCCESS
}

/// # Safety
/// As the driver's manual says; so for every entry point of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> Code {
    // SAFETY: the caller's promise.
    unsafe { put(version, options().driver) }.map_or_else(|code| code, |()| codes::SUCCESS)
}

/// # Safety
/// See [`cuDriverGetVersion`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> Code {
    // SAFETY: the caller's promise.
    enter(Needs::Driver, |_| unsafe { put(count, 1) })
}

/// # Safety
/// See [`cuDriverGetVersion`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> Code {
    enter(Needs::Driver, |_| {
        if ordinal != 0 {
            return Err(codes::INVALID_DEVICE);
        }
        // SAFETY: the caller's promise.
        unsafe { put(device, 0) }
    })
}

/// # Safety
/// See [`cuDriverGetVersion`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, len: c_int, device: c_int) -> Code {
    enter(Needs::Driver, |_| {
        if device != 0 || len < 1 {
            return Err(codes::INVALID_DEVICE);
        }
        let text = format!("Kiln stand-in (sm_{})", options().sm);
        let bytes = text.as_bytes();
        let count = bytes.len().min(len as usize - 1);
        // SAFETY: the caller gives room for `len` bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), name.cast(), count);
            name.add(count).write(0);
        }
        Ok(())
    })
}

/// # Safety
/// See [`cuDriverGetVersion`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) -> Code {
    enter(Needs::Driver, |_| {
        if device != 0 {
            return Err(codes::INVALID_DEVICE);
        }
        // SAFETY: the caller's promise.
        unsafe { put(bytes, options().memory as usize) }
    })
}

/// # Safety
/// See [`cuDriverGetVersion`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: u32, device: c_int) -> Code {
    enter(Needs::Driver, |_| {
        if device != 0 {
            return Err(codes::INVALID_DEVICE);
        }
        let (options, is) = (options(), |a: Attribute| attribute == a as u32);
        let found = if is(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) {
            options.sm / 10
        } else if is(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR) {
            options.sm % 10
        } else if is(Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT) {
            MULTIPROCESSORS
        } else if is(Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN) {
            options.arch().max_shared()
        } else if is(Attribute::CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE) {
            1 << 20
        } else if is(Attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED) {
            u32::from(options.pools)
        } else if is(Attribute::CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH) {
            1
        } else {
            return Err(codes::INVALID_VALUE);
        };
        // SAFETY: the caller's promise.
        unsafe { put(value, found as c_int) }
    })
}

/// Multiprocessors that are reported.
pub const MULTIPROCESSORS: u32 = 16;

/// # Safety
/// See [`cuDriverGetVersion`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut *mut c_void, device: c_int) -> Code {
    enter(Needs::Driver, |driver| {
        if device != 0 {
            return Err(codes::INVALID_DEVICE);
        }
        driver.retained += 1;
        // SAFETY: the caller's promise.
        unsafe { put(context, CONTEXT as *mut c_void) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> Code {
    enter(Needs::Driver, |driver| {
        if device != 0 || driver.retained == 0 {
            return Err(codes::INVALID_DEVICE);
        }
        driver.retained -= 1;
        Ok(())
    })
}

/// # Safety
/// See [`cuDriverGetVersion`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCurrent(context: *mut *mut c_void) -> Code {
    // SAFETY: the caller's promise.
    unsafe { put(context, CURRENT.get() as *mut c_void) }.map_or_else(|code| code, |()| codes::SUCCESS)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSetCurrent(context: *mut c_void) -> Code {
    if !matches!(context as usize, 0 | CONTEXT) {
        return codes::INVALID_CONTEXT;
    }
    CURRENT.set(context as usize);
    codes::SUCCESS
}

/// # Safety
/// See [`cuDriverGetVersion`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(code: u32, text: *mut *const c_char) -> Code {
    // SAFETY: the caller's promise.
    unsafe { say(code, text, |(name, _)| name) }
}

/// # Safety
/// See [`cuDriverGetVersion`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(code: u32, text: *mut *const c_char) -> Code {
    // SAFETY: the caller's promise.
    unsafe { say(code, text, |(_, text)| text) }
}

/// # Safety
/// `text` is null or valid.
unsafe fn say(code: u32, text: *mut *const c_char, which: fn((&'static str, &'static str)) -> &'static str) -> Code {
    match codes::describe(code) {
        // SAFETY: the caller's promise.
        Some(found) => unsafe { put(text, which(found).as_ptr().cast()) }.map_or_else(|code| code, |()| codes::SUCCESS),
        None => codes::INVALID_VALUE,
    }
}
