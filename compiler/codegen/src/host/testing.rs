//! Machine code for the tests of generators that emit plain functions.

use std::ffi::CString;

use llvm_sys::core::LLVMCreateMemoryBufferWithMemoryRangeCopy;
use llvm_sys::orc2::lljit::*;

use crate::llvm::Llvm;
use crate::llvm_target::{Output, Target, host_cpu, host_features, host_triple, initialize_native};

/// Compiles a module for this processor and gives the address of one of its functions, which stays valid as long as the process.
pub(crate) fn native_code(llvm: &Llvm, name: &str) -> usize {
    initialize_native();
    let target = Target::create(&host_triple(), &host_cpu(), &host_features(), 2).unwrap();
    target.configure(llvm);
    target.verify(llvm).unwrap();
    target.run_passes(llvm, "function(sroa,early-cse,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm))").unwrap();
    let object = target.emit(llvm, Output::Object).unwrap();
    let name = CString::new(name).unwrap();
    // SAFETY: LLVM's calls as documented; the engine is never disposed of, so the code stays.
    unsafe {
        let mut engine = std::ptr::null_mut();
        assert!(LLVMOrcCreateLLJIT(&mut engine, std::ptr::null_mut()).is_null());
        let buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(object.as_ptr().cast(), object.len(), c"object".as_ptr());
        assert!(LLVMOrcLLJITAddObjectFile(engine, LLVMOrcLLJITGetMainJITDylib(engine), buffer).is_null());
        let mut address = 0;
        assert!(LLVMOrcLLJITLookup(engine, &mut address, name.as_ptr()).is_null());
        address as usize
    }
}
