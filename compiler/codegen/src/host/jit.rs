//! Loads relocatable objects into the process through LLVM's ORC and calls them.

use std::ffi::{CStr, CString, c_void};

use kiln_ir::abi::{EntryPoint, HostContext, HostEntry};
use kiln_ir::artifact::HostObject;
use llvm_sys::core::LLVMCreateMemoryBufferWithMemoryRangeCopy;
use llvm_sys::error::{LLVMDisposeErrorMessage, LLVMErrorRef, LLVMGetErrorMessage};
use llvm_sys::orc2::lljit::*;
use llvm_sys::orc2::*;

use crate::{CodegenError, llvm_target};

/// A kernel in executable memory. Unloaded when dropped.
pub struct HostKernel {
    jit: LLVMOrcLLJITRef,
    entry: HostEntry,
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
                entry: HostEntry::new(
                    std::mem::transmute::<*const c_void, EntryPoint>(address as *const c_void),
                    object.scratch_bytes as usize,
                ),
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

impl HostKernel {
    /// The machine code's entry, good for as long as the kernel lives.
    pub fn entry(&self) -> HostEntry {
        self.entry
    }

    /// Runs the programs with linear ids `begin..end`; see [`HostEntry::call`].
    ///
    /// # Safety
    /// As [`HostEntry::call`].
    pub unsafe fn call(&self, args: *const u64, ctx: *const HostContext, begin: i64, end: i64) {
        // SAFETY: the caller's promise; the code is loaded for as long as `self` lives.
        unsafe { self.entry.call(args, ctx, begin, end) }
    }
}
