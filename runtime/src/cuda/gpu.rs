//! A GPU: what is known of it, its context, its streams' slots, and how calls to the driver are checked.

use std::ffi::{c_char, c_int};
use std::sync::{Arc, Mutex, OnceLock};

use kiln_ir::artifact::GpuTarget;

use super::driver::{Api, Handle, SUCCESS};
use super::error::GpuError;
use super::stream::RawStream;
use super::sys::DeviceAttribute as Attribute;
use crate::error::Error;

/// What is known of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaInfo {
    /// Number, as the driver counts.
    pub ordinal: usize,
    /// Name.
    pub name: String,
    /// Compute capability: 90 for 9.0.
    pub sm: u32,
    /// What kernels are compiled for.
    pub target: GpuTarget,
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of the second-level cache.
    pub l2: u64,
    /// Bytes of shared memory that a program can have.
    pub shared_memory: u32,
    /// The driver's version: 12080 for CUDA 12.8.
    pub driver: i32,
    /// What there is to warn of: an architecture that this version of Kiln does not know.
    pub warning: Option<String>,
}

/// Streams that a GPU can have at once; see [`super::memory`].
pub(crate) const SLOTS: usize = 56;

/// A GPU that is in use. There is one of each ordinal in a process, and it lives as long as the process.
pub(crate) struct Gpu {
    pub api: &'static Api,
    pub info: CudaInfo,
    context: Handle,
    /// Memory that is given out and taken back in the order of a stream.
    pub pools: bool,
    /// The streams, by slot; the first is the GPU's own.
    pub streams: Mutex<[Option<Arc<RawStream>>; SLOTS]>,
    home: OnceLock<Arc<RawStream>>,
    /// 16 bytes of zeros, for the tensor maps of tensors without elements.
    zeros: OnceLock<u64>,
    lost: OnceLock<String>,
}

// SAFETY: the driver's handles may be used by any thread whose current context they belong to, which `enter` sees to.
unsafe impl Send for Gpu {}
// SAFETY: as above.
unsafe impl Sync for Gpu {}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Gpu").field(&self.info).finish()
    }
}

/// Number of GPUs, or why the driver cannot be used.
pub(crate) fn count() -> Result<usize, String> {
    let api = Api::get()?;
    let mut count = 0;
    // SAFETY: the out pointer is valid.
    let code = unsafe { (api.cuDeviceGetCount)(&raw mut count) };
    if code != SUCCESS {
        let (name, text) = api.describe(code);
        return Err(format!("the NVIDIA driver cannot be used: {name} ({text})"));
    }
    Ok(usize::try_from(count).unwrap_or(0))
}

/// The newest target that runs on a compute capability, and a warning where that is not the GPU's own.
pub(crate) fn target_of(sm: u32) -> Result<(GpuTarget, Option<String>), String> {
    let target = |sm, arch_specific| GpuTarget { sm, arch_specific };
    match sm {
        90 => Ok((target(90, true), None)),
        80 | 86 | 87 | 89 => Ok((target(sm, false), None)),
        ..80 => Err(format!("its compute capability is {}.{}, and kiln compiles for 8.0 and newer", sm / 10, sm % 10)),
        _ => {
            // The driver compiles PTX of an older architecture for a newer GPU; features of the new one stay unused.
            let known = [90, 89, 87, 86, 80].into_iter().find(|&known| known < sm).unwrap_or(80);
            let warning = format!(
                "this version of kiln does not know sm_{sm}: it runs portable sm_{known} code, which the driver translates, without what is new in the GPU"
            );
            Ok((target(known, false), Some(warning)))
        }
    }
}

impl Gpu {
    /// The GPU with a number.
    pub fn get(ordinal: usize) -> Result<&'static Gpu, Error> {
        static GPUS: Mutex<Vec<&'static Gpu>> = Mutex::new(vec![]);
        let mut gpus = GPUS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(gpu) = gpus.iter().find(|gpu| gpu.info.ordinal == ordinal) {
            return Ok(gpu);
        }
        let count = count().map_err(Error::Device)?;
        if ordinal >= count {
            return Err(Error::Device(format!("there is no GPU number {ordinal}: the driver knows {count}")));
        }
        let gpu: &'static Gpu = Box::leak(Box::new(Gpu::open(ordinal)?));
        gpus.push(gpu);
        Ok(gpu)
    }

    fn open(ordinal: usize) -> Result<Gpu, Error> {
        let api = Api::get().map_err(Error::Device)?;
        let check = |code: u32| {
            let fails = |(name, text)| Error::Device(format!("GPU number {ordinal} cannot be used: {name} ({text})"));
            if code == SUCCESS { Ok(()) } else { Err(fails(api.describe(code))) }
        };
        let (mut device, mut name, mut memory, mut context) = (0, [0 as c_char; 256], 0usize, std::ptr::null_mut());
        // SAFETY: the out pointers are valid, the name's for 256 bytes, and the device is one that the driver gave.
        unsafe {
            check((api.cuDeviceGet)(&raw mut device, ordinal as c_int))?;
            check((api.cuDeviceGetName)(name.as_mut_ptr(), 256, device))?;
            check((api.cuDeviceTotalMem_v2)(&raw mut memory, device))?;
        }
        let attribute = |which: Attribute| -> Result<u32, Error> {
            let mut value = 0;
            // SAFETY: the out pointer is valid.
            check(unsafe { (api.cuDeviceGetAttribute)(&raw mut value, which as u32, device) })?;
            Ok(u32::try_from(value).unwrap_or(0))
        };
        let major = attribute(Attribute::ComputeCapabilityMajor)?;
        let minor = attribute(Attribute::ComputeCapabilityMinor)?;
        let sm = 10 * major + minor;
        let (target, warning) =
            target_of(sm).map_err(|why| Error::Device(format!("GPU number {ordinal} cannot be used: {why}")))?;
        let shared = attribute(Attribute::MaxSharedMemoryPerBlockOptin)?;
        // SAFETY: a name is a C string.
        let name = unsafe { std::ffi::CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
        let info = CudaInfo {
            ordinal,
            name,
            sm,
            target,
            multiprocessors: attribute(Attribute::MultiprocessorCount)?,
            memory: memory as u64,
            l2: u64::from(attribute(Attribute::L2CacheSize)?),
            shared_memory: shared.min(target.shared_bytes()),
            driver: api.version(),
            warning,
        };
        let pools = attribute(Attribute::MemoryPoolsSupported)? != 0;
        // SAFETY: the out pointer is valid. The context is never released: it lives as long as the process.
        check(unsafe { (api.cuDevicePrimaryCtxRetain)(&raw mut context, device) })?;
        if pools {
            let (mut pool, mut keep) = (std::ptr::null_mut(), u64::MAX);
            // SAFETY: the out pointer is valid, and the attribute takes a 64-bit number. Memory that was freed stays with the pool for the next tensor.
            unsafe {
                check((api.cuDeviceGetDefaultMemPool)(&raw mut pool, device))?;
                check((api.cuMemPoolSetAttribute)(pool, RELEASE_THRESHOLD, (&raw mut keep).cast()))?;
            }
        }
        let streams = Mutex::new([const { None }; SLOTS]);
        Ok(Gpu { api, info, context, pools, streams, home: OnceLock::new(), zeros: OnceLock::new(), lost: OnceLock::new() })
    }

    /// `cuda:0`.
    pub fn name(&self) -> String {
        format!("cuda:{}", self.info.ordinal)
    }

    /// Makes the GPU's context this thread's. Every use of the driver comes after this.
    #[inline]
    pub fn enter(&self) -> Result<(), GpuError> {
        if let Some(cause) = self.lost.get() {
            return Err(GpuError::Lost { device: self.name(), cause: cause.clone() });
        }
        let mut current = std::ptr::null_mut();
        // SAFETY: the out pointer is valid, and the context lives as long as the process. Asked each time: other libraries change it.
        unsafe {
            self.check("cuCtxGetCurrent", (self.api.cuCtxGetCurrent)(&raw mut current))?;
            if current != self.context {
                self.check("cuCtxSetCurrent", (self.api.cuCtxSetCurrent)(self.context))?;
            }
        }
        Ok(())
    }

    /// Whether the GPU was lost to this process.
    pub fn is_lost(&self) -> bool {
        self.lost.get().is_some()
    }

    /// The result of a call that is about no kernel.
    #[inline]
    pub fn check(&self, call: &'static str, code: u32) -> Result<(), GpuError> {
        if code == SUCCESS { Ok(()) } else { Err(self.failed(call, code, || "a kernel".to_owned())) }
    }

    /// The error of a call; `suspects` says which kernels may have caused it, where it is one of those that end the context.
    #[cold]
    pub fn failed(&self, call: &'static str, code: u32, suspects: impl FnOnce() -> String) -> GpuError {
        let (name, text) = self.api.describe(code);
        if !ends_context(code) {
            return GpuError::Call { device: self.name(), call, name, text };
        }
        let suspects = suspects();
        match self.lost.set(format!("{suspects} ended with {name}")) {
            Ok(()) => GpuError::Fault { device: self.name(), suspects, name, text },
            Err(cause) => GpuError::Lost { device: self.name(), cause: self.lost.get().cloned().unwrap_or(cause) },
        }
    }

    /// The GPU's own stream, in which memory is given out and everything runs that names no stream.
    pub fn home(&'static self) -> Result<&'static Arc<RawStream>, GpuError> {
        if let Some(stream) = self.home.get() {
            return Ok(stream);
        }
        let stream = RawStream::new(self, Some(0))?;
        // Where two threads come here at once, the second finds slot 0 taken and gets this stream.
        Ok(self.home.get_or_init(|| stream))
    }

    /// The address of 16 bytes of zeros, which live as long as the process.
    #[cold]
    pub fn zeros(&'static self) -> Result<u64, GpuError> {
        if let Some(&address) = self.zeros.get() {
            return Ok(address);
        }
        let (home, mut address) = (self.home()?, 0);
        // SAFETY: the out pointer is valid, and the block has 16 bytes. Waited for: other streams may read it first.
        unsafe {
            self.check("cuMemAlloc", (self.api.cuMemAlloc_v2)(&raw mut address, 16))?;
            self.check("cuMemsetD8Async", (self.api.cuMemsetD8Async)(address, 0, 16, home.handle))?;
            home.check("cuStreamSynchronize", (self.api.cuStreamSynchronize)(home.handle))?;
        }
        // Where two threads come here at once, one block stays unused.
        Ok(*self.zeros.get_or_init(|| address))
    }

    /// Bytes that are free, and bytes that there are.
    pub fn free_memory(&self) -> Result<(u64, u64), GpuError> {
        self.enter()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: the out pointers are valid.
        self.check("cuMemGetInfo", unsafe { (self.api.cuMemGetInfo_v2)(&raw mut free, &raw mut total) })?;
        Ok((free as u64, total as u64))
    }
}

/// `CU_MEMPOOL_ATTR_RELEASE_THRESHOLD`.
const RELEASE_THRESHOLD: u32 = 4;

/// A failed assertion.
pub(crate) const ASSERT: u32 = 710;

/// Results after which the driver refuses every further call in this process (the driver's manual: "the context is in an inconsistent state").
fn ends_context(code: u32) -> bool {
    matches!(code, 214 | 220 | 226 | 700 | 702 | ASSERT | 714..=719 | 721)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_has_a_target_or_a_reason() {
        let target = |sm| target_of(sm).map(|(target, warning)| (target.name(), warning.is_some()));
        assert_eq!(target(90), Ok(("sm_90a".to_owned(), false)));
        assert_eq!(target(86), Ok(("sm_86".to_owned(), false)));
        assert_eq!(target(88), Ok(("sm_87".to_owned(), true)));
        assert_eq!(target(100), Ok(("sm_90".to_owned(), true)));
        assert_eq!(target(120), Ok(("sm_90".to_owned(), true)));
        assert!(target(75).unwrap_err().contains("7.5"));
    }
}
