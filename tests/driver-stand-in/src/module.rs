//! Modules and functions. PTX is read by the emulator; what a test's ptxas made is PTX behind a mark.

use std::ffi::{CStr, c_char, c_int, c_void};

use cudarc::driver::sys::{CUfunction_attribute as Attribute, CUjit_option as Jit};
use kiln_emulator::ModuleId;

use crate::codes::{self, Code};
use crate::options::options;
use crate::state::{Driver, Needs, enter, put};

/// A loaded module.
pub struct Module {
    id: ModuleId,
}

/// A kernel.
#[derive(Clone)]
pub struct Function {
    pub id: ModuleId,
    pub name: String,
    /// Bytes of each parameter.
    pub params: Vec<u32>,
    /// Bytes of dynamic shared memory that launches may ask for.
    pub shared_limit: u32,
}

/// What a test's stand-in for ptxas writes in front of the PTX; a zero ends it, as it ends PTX.
const CUBIN: &str = "\u{7f}KILN-STAND-IN-CUBIN\n";

/// Dynamic shared memory that needs no permission.
const USUAL_SHARED: u32 = 48 << 10;

/// Where the caller wants the log.
struct Log {
    buffer: *mut u8,
    bytes: usize,
}

impl Log {
    /// # Safety
    /// The arrays have `count` entries, which are what their options say.
    unsafe fn find(count: u32, names: *const u32, values: *const *mut c_void) -> Log {
        let mut log = Log { buffer: std::ptr::null_mut(), bytes: 0 };
        for i in 0..count as usize {
            // SAFETY: the caller's promise.
            let (name, value) = unsafe { (names.add(i).read(), values.add(i).read()) };
            if name == Jit::CU_JIT_ERROR_LOG_BUFFER as u32 {
                log.buffer = value.cast();
            } else if name == Jit::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES as u32 {
                log.bytes = value as usize;
            }
        }
        log
    }

    fn say(&self, text: &str) {
        if self.buffer.is_null() || self.bytes == 0 {
            return;
        }
        let count = text.len().min(self.bytes - 1);
        // SAFETY: the caller of the load gave that many bytes.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr(), self.buffer, count);
            self.buffer.add(count).write(0);
        }
    }
}

/// The number behind `.version`, times 10.
fn ptx_version(text: &str) -> Option<u32> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(".version"))?;
    let (major, minor) = line.trim().split_once('.')?;
    Some(major.parse::<u32>().ok()? * 10 + minor.parse::<u32>().ok()?)
}

fn load(driver: &mut Driver, text: &str, log: &Log) -> Result<usize, Code> {
    let (ptx, compiled) = match text.strip_prefix(CUBIN) {
        Some(ptx) => (ptx, true),
        None => (text, false),
    };
    let version = ptx_version(ptx).unwrap_or_default();
    if !compiled && version > options().ptx() {
        log.say(&format!(
            "ptxas application ptx input, line 1; fatal   : Unsupported .version {}.{}",
            version / 10,
            version % 10
        ));
        return Err(codes::UNSUPPORTED_PTX_VERSION);
    }
    let id = driver.machine.load_ptx(ptx).map_err(|e| {
        log.say(&format!("ptxas fatal   : {e}"));
        codes::INVALID_PTX
    })?;
    let handle = driver.handle();
    driver.modules.insert(handle, Module { id });
    Ok(handle)
}

/// # Safety
/// As the driver's manual says; so for every entry point here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadDataEx(
    module: *mut *mut c_void,
    image: *const c_void,
    count: u32,
    names: *mut u32,
    values: *mut *mut c_void,
) -> Code {
    enter(Needs::Context, |driver| {
        driver.refuse_capture()?;
        // SAFETY: the caller's promise: text that ends with a zero, and as many options.
        let (text, log) = unsafe { (CStr::from_ptr(image.cast()), Log::find(count, names, values)) };
        let text = text.to_str().map_err(|_| codes::INVALID_PTX)?;
        let handle = load(driver, text, &log)?;
        // SAFETY: the caller's promise.
        unsafe { put(module, handle as *mut c_void) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuModuleUnload(module: *mut c_void) -> Code {
    enter(Needs::Context, |driver| {
        driver.drain_all()?;
        driver.modules.remove(&(module as usize)).map(drop).ok_or(codes::INVALID_HANDLE)
    })
}

/// # Safety
/// See [`cuModuleLoadDataEx`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(function: *mut *mut c_void, module: *mut c_void, name: *const c_char) -> Code {
    enter(Needs::Context, |driver| {
        let id = driver.modules.get(&(module as usize)).ok_or(codes::INVALID_HANDLE)?.id;
        // SAFETY: the caller's promise.
        let name = unsafe { CStr::from_ptr(name) }.to_str().map_err(|_| codes::NOT_FOUND)?;
        if !driver.machine.kernels(id).contains(&name) {
            return Err(codes::NOT_FOUND);
        }
        let params = driver.machine.parameters(id, name).ok_or(codes::NOT_FOUND)?.iter().map(|(_, bytes)| *bytes).collect();
        let handle = driver.handle();
        driver.functions.insert(handle, Function { id, name: name.to_owned(), params, shared_limit: USUAL_SHARED });
        // SAFETY: the caller's promise.
        unsafe { put(function, handle as *mut c_void) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuFuncSetAttribute(function: *mut c_void, attribute: u32, value: c_int) -> Code {
    enter(Needs::Context, |driver| {
        let function = driver.functions.get_mut(&(function as usize)).ok_or(codes::INVALID_HANDLE)?;
        let shared = attribute == Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as u32;
        if !shared || value < 0 || value as u32 > options().arch().max_shared() {
            return Err(codes::INVALID_VALUE);
        }
        function.shared_limit = value as u32;
        Ok(())
    })
}

/// # Safety
/// See [`cuModuleLoadDataEx`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuFuncGetAttribute(value: *mut c_int, attribute: u32, function: *mut c_void) -> Code {
    enter(Needs::Context, |driver| {
        driver.functions.get(&(function as usize)).ok_or(codes::INVALID_HANDLE)?;
        // Machine code is not made here: figures of a small kernel.
        let found = if attribute == Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS as u32 {
            32
        } else if attribute == Attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES as u32 {
            0
        } else {
            return Err(codes::INVALID_VALUE);
        };
        // SAFETY: the caller's promise.
        unsafe { put(value, found) }
    })
}

/// # Safety
/// See [`cuModuleLoadDataEx`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuOccupancyMaxActiveBlocksPerMultiprocessor(
    blocks: *mut c_int,
    function: *mut c_void,
    threads: c_int,
    shared: usize,
) -> Code {
    enter(Needs::Context, |driver| {
        driver.functions.get(&(function as usize)).ok_or(codes::INVALID_HANDLE)?;
        // SAFETY: the caller's promise.
        unsafe { put(blocks, resident(threads as u32, shared as u32) as c_int) }
    })
}

/// Blocks that a multiprocessor holds at once, by threads and shared memory.
pub fn resident(threads: u32, shared: u32) -> u32 {
    let by_shared = options().arch().max_shared().checked_div(shared).unwrap_or(32);
    (2048 / threads.max(1)).min(by_shared).min(32)
}
