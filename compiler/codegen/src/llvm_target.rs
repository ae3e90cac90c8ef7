//! Target machines, the pass pipeline, and machine code from a finished module.

use std::ffi::{CStr, CString};
use std::sync::{Once, OnceLock};

use llvm_sys::analysis::{LLVMVerifierFailureAction, LLVMVerifyModule};
use llvm_sys::core::*;
use llvm_sys::error::{LLVMDisposeErrorMessage, LLVMGetErrorMessage};
use llvm_sys::target::*;
use llvm_sys::target_machine::*;
use llvm_sys::transforms::pass_builder::*;

use crate::CodegenError;
use crate::llvm::Llvm;

/// A target machine: processor, features, optimization level. Not shared between threads.
pub(crate) struct Target {
    machine: LLVMTargetMachineRef,
}

impl Drop for Target {
    fn drop(&mut self) {
        // SAFETY: made in `Target::create`, disposed of once.
        unsafe { LLVMDisposeTargetMachine(self.machine) }
    }
}

/// What to make of a module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Output {
    /// Assembly text.
    Assembly,
    /// A relocatable object.
    Object,
}

/// Registers the native target (and its assembler) once a process.
pub(crate) fn initialize_native() {
    static ONCE: Once = Once::new();
    // SAFETY: registration functions of the linked LLVM, called once.
    ONCE.call_once(|| unsafe {
        LLVM_InitializeNativeTarget();
        LLVM_InitializeNativeAsmPrinter();
        LLVM_InitializeNativeAsmParser();
    });
}

/// Registers NVPTX once a process, with options of LLVM's that must be set before the first target machine for NVPTX exists: 32-bit shared-memory addresses,
/// and code generation without its cleaning-up passes. Those find nothing to do after ours, or pull addresses apart that ptxas then joins again; without them
/// code generation takes two thirds of the time, and loops have fewer instructions. No other target that Kiln compiles for reads the first option or has these
/// passes.
pub(crate) fn initialize_nvptx() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let args = [
            c"kiln".as_ptr(),
            c"-nvptx-short-ptr".as_ptr(),
            c"-opt-disable=slsr,nary-reassociate,early-cse,load-store-vectorizer".as_ptr(),
        ];
        // SAFETY: registration functions of the linked LLVM, called once; valid strings and their count, which LLVM copies.
        unsafe {
            LLVMInitializeNVPTXTargetInfo();
            LLVMInitializeNVPTXTarget();
            LLVMInitializeNVPTXTargetMC();
            LLVMInitializeNVPTXAsmPrinter();
            llvm_sys::support::LLVMParseCommandLineOptions(args.len() as i32, args.as_ptr(), std::ptr::null());
        }
    });
}

/// Name of this machine's processor. Asked for once: in a virtual machine every question to the processor costs microseconds.
pub(crate) fn host_cpu() -> String {
    static NAME: OnceLock<String> = OnceLock::new();
    // SAFETY: LLVM returns an owned string.
    NAME.get_or_init(|| unsafe { take_message(LLVMGetHostCPUName()) }).clone()
}

/// Feature string of this machine's processor. Asked for once, as [`host_cpu`].
pub(crate) fn host_features() -> String {
    static FEATURES: OnceLock<String> = OnceLock::new();
    // SAFETY: LLVM returns an owned string.
    FEATURES.get_or_init(|| unsafe { take_message(LLVMGetHostCPUFeatures()) }).clone()
}

/// The triple of this process.
pub(crate) fn host_triple() -> String {
    // SAFETY: LLVM returns an owned string.
    unsafe { take_message(LLVMGetDefaultTargetTriple()) }
}

/// LLVM's version, as it is linked.
pub(crate) fn version() -> String {
    let (mut major, mut minor, mut patch) = (0, 0, 0);
    // SAFETY: writes three numbers.
    unsafe { LLVMGetVersion(&mut major, &mut minor, &mut patch) };
    format!("{major}.{minor}.{patch}")
}

/// Copies and frees a message of LLVM's.
///
/// # Safety
/// `raw` is a message that LLVM handed over, or null.
unsafe fn take_message(raw: *mut std::ffi::c_char) -> String {
    if raw.is_null() {
        return String::new();
    }
    // SAFETY: see above.
    unsafe {
        let text = CStr::from_ptr(raw).to_string_lossy().into_owned();
        LLVMDisposeMessage(raw);
        text
    }
}

impl Target {
    /// A target machine whose target is already registered. `opt_level` 0 to 3.
    pub fn create(triple: &str, cpu: &str, features: &str, opt_level: u8) -> Result<Target, CodegenError> {
        let cstr = |s: &str| CString::new(s).map_err(|_| CodegenError::internal(format!("a NUL in {s:?}")));
        let (triple_c, cpu_c, features_c) = (cstr(triple)?, cstr(cpu)?, cstr(features)?);
        let level = match opt_level {
            0 => LLVMCodeGenOptLevel::LLVMCodeGenLevelNone,
            1 => LLVMCodeGenOptLevel::LLVMCodeGenLevelLess,
            2 => LLVMCodeGenOptLevel::LLVMCodeGenLevelDefault,
            _ => LLVMCodeGenOptLevel::LLVMCodeGenLevelAggressive,
        };
        // SAFETY: the strings live through the calls; results are checked.
        unsafe {
            let mut target = std::ptr::null_mut();
            let mut message = std::ptr::null_mut();
            if LLVMGetTargetFromTriple(triple_c.as_ptr(), &mut target, &mut message) != 0 {
                return Err(CodegenError::internal(take_message(message)));
            }
            let machine = LLVMCreateTargetMachine(
                target,
                triple_c.as_ptr(),
                cpu_c.as_ptr(),
                features_c.as_ptr(),
                level,
                LLVMRelocMode::LLVMRelocPIC,
                LLVMCodeModel::LLVMCodeModelDefault,
            );
            if machine.is_null() {
                return Err(CodegenError::internal(format!("LLVM makes no target machine for {triple} {cpu}")));
            }
            Ok(Target { machine })
        }
    }

    /// The target's data layout as it stands in a module's text.
    pub fn data_layout(&self) -> String {
        // SAFETY: live handle; layout and string are freed after use.
        unsafe {
            let layout = LLVMCreateTargetDataLayout(self.machine);
            let text = take_message(LLVMCopyStringRepOfTargetData(layout));
            LLVMDisposeTargetData(layout);
            text
        }
    }

    /// Gives a module this target's triple and data layout.
    pub fn configure(&self, llvm: &Llvm) {
        // SAFETY: live handles; strings and layout are freed after use.
        unsafe {
            let triple = LLVMGetTargetMachineTriple(self.machine);
            LLVMSetTarget(llvm.module, triple);
            LLVMDisposeMessage(triple);
            let layout = LLVMCreateTargetDataLayout(self.machine);
            LLVMSetModuleDataLayout(llvm.module, layout);
            LLVMDisposeTargetData(layout);
        }
    }

    /// Checks the module: an error is a bug of ours.
    pub fn verify(&self, llvm: &Llvm) -> Result<(), CodegenError> {
        // SAFETY: live handles; the message is freed.
        unsafe {
            let mut message = std::ptr::null_mut();
            let broken = LLVMVerifyModule(llvm.module, LLVMVerifierFailureAction::LLVMReturnStatusAction, &mut message);
            let text = take_message(message);
            if broken != 0 { Err(CodegenError::internal(format!("invalid LLVM IR: {text}"))) } else { Ok(()) }
        }
    }

    /// Runs a pipeline written in `opt -passes` syntax.
    pub fn run_passes(&self, llvm: &Llvm, passes: &str) -> Result<(), CodegenError> {
        let passes = CString::new(passes).map_err(|_| CodegenError::internal("a NUL in a pass list"))?;
        // SAFETY: live handles; options and error are freed.
        unsafe {
            let options = LLVMCreatePassBuilderOptions();
            let error = LLVMRunPasses(llvm.module, passes.as_ptr(), self.machine, options);
            LLVMDisposePassBuilderOptions(options);
            if error.is_null() {
                return Ok(());
            }
            let raw = LLVMGetErrorMessage(error);
            let text = CStr::from_ptr(raw).to_string_lossy().into_owned();
            LLVMDisposeErrorMessage(raw);
            Err(CodegenError::internal(text))
        }
    }

    /// Machine code. Consumes nothing, but code generation changes the module: print it before.
    pub fn emit(&self, llvm: &Llvm, output: Output) -> Result<Vec<u8>, CodegenError> {
        let kind = match output {
            Output::Assembly => LLVMCodeGenFileType::LLVMAssemblyFile,
            Output::Object => LLVMCodeGenFileType::LLVMObjectFile,
        };
        // SAFETY: live handles; message and buffer are freed, the bytes copied before.
        unsafe {
            let (mut message, mut buffer) = (std::ptr::null_mut(), std::ptr::null_mut());
            if LLVMTargetMachineEmitToMemoryBuffer(self.machine, llvm.module, kind, &mut message, &mut buffer) != 0 {
                return Err(CodegenError::internal(take_message(message)));
            }
            let start = LLVMGetBufferStart(buffer).cast::<u8>();
            let bytes = std::slice::from_raw_parts(start, LLVMGetBufferSize(buffer)).to_vec();
            LLVMDisposeMemoryBuffer(buffer);
            Ok(bytes)
        }
    }
}
