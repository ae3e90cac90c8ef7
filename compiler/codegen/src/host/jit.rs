//! Loads relocatable objects into the process through LLVM's ORC and calls them.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_void};

use kiln_ir::abi::HostContext;
use llvm_sys::core::LLVMCreateMemoryBufferWithMemoryRangeCopy;
use llvm_sys::error::{LLVMDisposeErrorMessage, LLVMErrorRef, LLVMGetErrorMessage};
use llvm_sys::orc2::lljit::*;
use llvm_sys::orc2::*;

use super::object::HostObject;
use crate::{CodegenError, llvm_target};

type Entry = unsafe extern "C" fn(*const u64, *const HostContext, i64, i64, *mut u8);

/// A kernel in executable memory. Unloaded when dropped.
pub struct HostKernel {
    jit: LLVMOrcLLJITRef,
    entry: Entry,
    scratch_bytes: usize,
}

// SAFETY: the machine code is immutable once linked and keeps no state but what a call passes; LLJIT is only touched by `load` and `drop`.
unsafe impl Send for HostKernel {}
// SAFETY: as above; calls share nothing but read-only code and constants.
unsafe impl Sync for HostKernel {}

impl Drop for HostKernel {
    fn drop(&mut self) {
        // SAFETY: made in `load`, disposed of once; no call is running, as that would borrow `self`.
        unsafe {
            let error = LLVMOrcDisposeLLJIT(self.jit);
            if !error.is_null() {
                llvm_sys::error::LLVMConsumeError(error);
            }
        }
    }
}

/// Turns LLVM's error into ours.
///
/// # Safety
/// `error` comes from LLVM and is not used again.
unsafe fn check(error: LLVMErrorRef) -> Result<(), CodegenError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: see above; the message is copied before it is freed.
    unsafe {
        let raw = LLVMGetErrorMessage(error);
        let text = CStr::from_ptr(raw).to_string_lossy().into_owned();
        LLVMDisposeErrorMessage(raw);
        Err(CodegenError::internal(format!("linking a kernel: {text}")))
    }
}

/// Links an object into the process.
///
/// # Errors
/// When the object does not link: it is damaged, or for another system.
pub fn load(object: &HostObject) -> Result<HostKernel, CodegenError> {
    llvm_target::initialize_native();
    let symbol = CString::new(object.symbol.as_str()).map_err(|_| CodegenError::internal("a NUL in a symbol"))?;
    // SAFETY: every handle is checked before use and owned by the LLJIT, which is disposed of on every path (by `HostKernel` on success).
    unsafe {
        let mut jit = std::ptr::null_mut();
        check(LLVMOrcCreateLLJIT(&mut jit, std::ptr::null_mut()))?;
        let dylib = LLVMOrcLLJITGetMainJITDylib(jit);
        let linked = (|| {
            let mut process = std::ptr::null_mut();
            check(LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(
                &mut process,
                LLVMOrcLLJITGetGlobalPrefix(jit),
                None,
                std::ptr::null_mut(),
            ))?;
            LLVMOrcJITDylibAddGenerator(dylib, process);
            let buffer =
                LLVMCreateMemoryBufferWithMemoryRangeCopy(object.object.as_ptr().cast(), object.object.len(), c"kernel".as_ptr());
            check(LLVMOrcLLJITAddObjectFile(jit, dylib, buffer))?;
            let mut address = 0;
            check(LLVMOrcLLJITLookup(jit, &mut address, symbol.as_ptr()))?;
            Ok(address)
        })();
        match linked {
            Ok(address) if address != 0 => Ok(HostKernel {
                jit,
                // `compile` gave the symbol this signature.
                entry: std::mem::transmute::<*const c_void, Entry>(address as *const c_void),
                scratch_bytes: object.scratch_bytes as usize,
            }),
            other => {
                let error = LLVMOrcDisposeLLJIT(jit);
                if !error.is_null() {
                    llvm_sys::error::LLVMConsumeError(error);
                }
                Err(other.err().unwrap_or_else(|| CodegenError::internal("the kernel's symbol has no address")))
            }
        }
    }
}

/// A 64-byte aligned piece of memory that grows.
struct Arena {
    memory: *mut u8,
    layout: std::alloc::Layout,
}

impl Arena {
    const EMPTY: Arena = Arena { memory: std::ptr::null_mut(), layout: std::alloc::Layout::new::<()>() };

    fn get(&mut self, bytes: usize) -> *mut u8 {
        if bytes > self.layout.size() || self.memory.is_null() {
            self.free();
            let Ok(layout) = std::alloc::Layout::from_size_align(bytes.next_multiple_of(4096).max(64), 64) else {
                std::alloc::handle_alloc_error(std::alloc::Layout::new::<u64>());
            };
            // SAFETY: the layout has a size. Zeroed: full-width loads may look at bytes no kernel wrote.
            let memory = unsafe { std::alloc::alloc_zeroed(layout) };
            if memory.is_null() {
                std::alloc::handle_alloc_error(layout);
            }
            (self.memory, self.layout) = (memory, layout);
        }
        self.memory
    }

    fn free(&mut self) {
        if !self.memory.is_null() {
            // SAFETY: allocated in `get` with this layout.
            unsafe { std::alloc::dealloc(self.memory, self.layout) };
            // Field by field: assigning a whole `Arena` would drop, and free, the old one again.
            (self.memory, self.layout) = (std::ptr::null_mut(), std::alloc::Layout::new::<()>());
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.free();
    }
}

thread_local! {
    static ARENA: RefCell<Arena> = const { RefCell::new(Arena::EMPTY) };
}

impl HostKernel {
    /// Runs the programs with linear ids `begin..end` (axis 0 fastest) on this thread. Scratch memory belongs to the thread and is reused.
    ///
    /// # Safety
    /// `args` holds the slots that `kiln_ir::abi` describes for the kernel's function, with pointers to live memory of the extents, strides and element types
    /// they say, writable where the kernel writes, and nobody else writes what the kernel reads meanwhile (other than atomically).
    /// `ctx` points to a context whose callbacks accept its `user` pointer.
    pub unsafe fn call(&self, args: *const u64, ctx: *const HostContext, begin: i64, end: i64) {
        ARENA.with(|arena| match arena.try_borrow_mut() {
            // SAFETY: the caller's promise; scratch is as large and aligned as the kernel was compiled for.
            Ok(mut arena) => unsafe { (self.entry)(args, ctx, begin, end, arena.get(self.scratch_bytes)) },
            // A callback launched another kernel on this thread: it gets memory of its own.
            Err(_) => {
                let mut own = Arena::EMPTY;
                // SAFETY: as above.
                unsafe { (self.entry)(args, ctx, begin, end, own.get(self.scratch_bytes)) }
            }
        });
    }
}
