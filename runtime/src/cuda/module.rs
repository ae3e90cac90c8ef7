//! Kernels on a GPU: code that the driver took, and how a launch fills its parameters.

use std::ffi::{CString, c_void};
use std::time::{Duration, Instant};

use kiln_ir::artifact::{GpuTarget, GridMapping, PtxArtifact, PtxParam};

use super::driver::{Handle, SUCCESS};
use super::error::GpuError;
use super::gpu::Gpu;
use super::ptxas;
use super::stream::name_number;
use super::sys::{self, FunctionAttribute};
use super::tensor_map::MapParam;
use crate::cache::DiskCache;
use crate::error::Error;

/// Who made a kernel's machine code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Assembler {
    /// NVIDIA's `ptxas`, in this process or in an earlier one whose result the disk cache kept.
    Ptxas,
    /// The driver's own compiler; with the reason where a `ptxas` is installed.
    Driver(Option<String>),
}

/// Where a launch takes a parameter's value from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The next argument slot.
    Slot,
    /// Extent of the grid along an axis.
    GridExtent(u8),
    /// Multiprocessors.
    NumSms,
    /// Where prints go.
    Prints,
    /// What `grid_sync` counts with.
    Counter,
    /// The next tensor map.
    Map,
}

/// A kernel that a GPU can launch.
pub(crate) struct CudaKernel {
    pub gpu: &'static Gpu,
    module: Handle,
    pub function: Handle,
    pub sources: Vec<Source>,
    /// The parameters, for the tensor maps.
    pub params: Vec<PtxParam>,
    /// The tensor maps among them.
    pub maps: Vec<MapParam>,
    /// How program ids follow from the launch.
    pub grid: GridMapping,
    /// Threads of a block.
    pub threads: u32,
    /// Dynamic shared memory of a block, in bytes.
    pub shared: u32,
    /// All programs of the grid have to run at the same time.
    pub cooperative: bool,
    /// It waits by itself for what is in front of it in its stream.
    pub early_launch: bool,
    /// Number of its name, for faults.
    pub number: u32,
    /// Who made the machine code.
    pub assembler: Assembler,
    /// Registers a thread, and bytes of local memory a thread.
    pub registers: u32,
    pub local: u32,
    /// What loading took.
    pub time: Duration,
}

// SAFETY: the driver's handles may be used by any thread that entered the GPU.
unsafe impl Send for CudaKernel {}
// SAFETY: as above.
unsafe impl Sync for CudaKernel {}

impl std::fmt::Debug for CudaKernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CudaKernel").field("number", &self.number).field("assembler", &self.assembler).finish_non_exhaustive()
    }
}

/// Tensor maps that a kernel can have: parameters have 4 KiB, of which a map takes 128 bytes.
pub(crate) const MOST_MAPS: usize = 16;
/// Shared memory that a launch may use without asking.
const USUAL_SHARED: u32 = 48 << 10;
/// Bytes for what the driver's compiler has to say.
const LOG_BYTES: usize = 16 << 10;

impl CudaKernel {
    /// Loads a kernel.
    ///
    /// # Errors
    /// Where neither ptxas' machine code nor the PTX is taken by the driver.
    pub fn load(gpu: &'static Gpu, artifact: &PtxArtifact, cache: Option<&DiskCache>) -> Result<CudaKernel, Error> {
        let start = Instant::now();
        gpu.enter()?;
        let (module, assembler) = Self::load_module(gpu, artifact, cache)?;
        let name = CString::new(artifact.name.as_str()).map_err(|_| Error::Internal("a kernel's name has a zero".to_owned()))?;
        let mut function = std::ptr::null_mut();
        // SAFETY: the out pointer is valid, the module loaded, the name a C string.
        gpu.check("cuModuleGetFunction", unsafe { (gpu.api.cuModuleGetFunction)(&raw mut function, module, name.as_ptr()) })?;
        if artifact.shared_bytes > USUAL_SHARED {
            let most = FunctionAttribute::MaxDynamicSharedSizeBytes as u32;
            // SAFETY: the function is of the module.
            let code = unsafe { (gpu.api.cuFuncSetAttribute)(function, most, artifact.shared_bytes as i32) };
            if code != SUCCESS {
                return Err(Error::Device(format!(
                    "kernel `{}` needs {} bytes of shared memory, and {} gives a program at most {}",
                    artifact.name,
                    artifact.shared_bytes,
                    gpu.name(),
                    gpu.info.shared_memory
                )));
            }
        }
        let attribute = |which: FunctionAttribute| -> Result<u32, GpuError> {
            let mut value = 0;
            // SAFETY: the out pointer is valid.
            gpu.check("cuFuncGetAttribute", unsafe { (gpu.api.cuFuncGetAttribute)(&raw mut value, which as u32, function) })?;
            Ok(u32::try_from(value).unwrap_or(0))
        };
        let maps: Vec<MapParam> = artifact
            .params
            .iter()
            .filter_map(|param| match *param {
                PtxParam::TensorMap(map) => Some(MapParam::new(map)),
                _ => None,
            })
            .collect();
        if maps.len() > MOST_MAPS {
            return Err(Error::Internal(format!("kernel `{}` has {} tensor maps", artifact.name, maps.len())));
        }
        Ok(CudaKernel {
            gpu,
            module,
            function,
            sources: artifact.params.iter().map(source).collect(),
            params: artifact.params.clone(),
            maps,
            grid: artifact.grid,
            threads: 32 * artifact.num_warps,
            shared: artifact.shared_bytes,
            cooperative: artifact.params.contains(&PtxParam::GridCounter),
            early_launch: artifact.early_launch,
            number: name_number(&artifact.name),
            assembler,
            registers: attribute(FunctionAttribute::NumRegs)?,
            local: attribute(FunctionAttribute::LocalSizeBytes)?,
            time: start.elapsed(),
        })
    }

    /// The module, by ptxas where there is one whose code this GPU runs, else by the driver.
    fn load_module(gpu: &'static Gpu, artifact: &PtxArtifact, cache: Option<&DiskCache>) -> Result<(Handle, Assembler), Error> {
        let mut reason = None;
        if let Some(path) = ptxas::chosen().filter(|_| runs_machine_code(gpu.info.sm, artifact.target)) {
            match ptxas::cubin(path, &artifact.ptx, &artifact.target.name(), cache) {
                Ok(cubin) => match load_image(gpu, &cubin) {
                    Ok(module) => return Ok((module, Assembler::Ptxas)),
                    // A toolkit that is newer than the driver makes code that the driver does not know.
                    Err((code, _)) => {
                        let (name, text) = gpu.api.describe(code);
                        reason = Some(format!("the driver does not take the code of `{}`: {name} ({text})", path.display()));
                    }
                },
                Err(said) => reason = Some(said),
            }
        }
        let mut text = artifact.ptx.clone().into_bytes();
        text.push(0);
        match load_image(gpu, &text) {
            Ok(module) => Ok((module, Assembler::Driver(reason))),
            Err((code, log)) => Err(refused(gpu, artifact, code, &log, reason.as_deref()).into()),
        }
    }

    /// Programs that a multiprocessor holds at once.
    pub fn resident(&self) -> Result<u32, GpuError> {
        let mut blocks = 0;
        let function = self.gpu.api.cuOccupancyMaxActiveBlocksPerMultiprocessor;
        // SAFETY: the out pointer is valid, the function is of a loaded module.
        let code = unsafe { function(&raw mut blocks, self.function, self.threads as i32, self.shared as usize) };
        self.gpu.check("cuOccupancyMaxActiveBlocksPerMultiprocessor", code)?;
        Ok(u32::try_from(blocks).unwrap_or(0))
    }
}

impl Drop for CudaKernel {
    fn drop(&mut self) {
        // What is under way may still run the code.
        if self.gpu.enter().is_err() || synchronize_all(self.gpu).is_err() {
            return;
        }
        // SAFETY: loaded once, unloaded once, and no launch of it is under way.
        unsafe { (self.gpu.api.cuModuleUnload)(self.module) };
    }
}

/// Waits for every stream of a GPU.
fn synchronize_all(gpu: &Gpu) -> Result<(), GpuError> {
    let streams: Vec<_> = gpu.streams.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).iter().flatten().cloned().collect();
    streams.iter().try_for_each(|stream| {
        // SAFETY: the stream lives. Prints stay pending: this is no wait of the user's.
        stream.check("cuStreamSynchronize", unsafe { (gpu.api.cuStreamSynchronize)(stream.handle) })
    })
}

fn source(param: &PtxParam) -> Source {
    match *param {
        PtxParam::Base(_) | PtxParam::Dim { .. } | PtxParam::Stride { .. } | PtxParam::Value { .. } => Source::Slot,
        PtxParam::GridExtent(axis) => Source::GridExtent(axis),
        PtxParam::NumSms => Source::NumSms,
        PtxParam::PrintBuffer => Source::Prints,
        PtxParam::GridCounter => Source::Counter,
        PtxParam::TensorMap(_) => Source::Map,
    }
}

/// Whether a GPU runs machine code that was made for a target: of the same generation, and no newer; `sm_90a` is of one architecture alone.
fn runs_machine_code(sm: u32, target: GpuTarget) -> bool {
    sm / 10 == target.sm / 10 && sm >= target.sm && (!target.arch_specific || sm == target.sm)
}

/// Has the driver load PTX (that ends with a zero) or machine code; the code and the log where it refuses.
fn load_image(gpu: &Gpu, image: &[u8]) -> Result<Handle, (u32, String)> {
    let mut log = vec![0u8; LOG_BYTES];
    let mut names = [sys::JIT_ERROR_LOG_BUFFER, sys::JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    let mut values = [log.as_mut_ptr().cast::<c_void>(), LOG_BYTES as *mut c_void];
    let mut module = std::ptr::null_mut();
    // SAFETY: the out pointer is valid; the image is PTX with its zero or a whole cubin, which says how long it is; the options' values are what their names say.
    let code = unsafe {
        (gpu.api.cuModuleLoadDataEx)(&raw mut module, image.as_ptr().cast(), 2, names.as_mut_ptr(), values.as_mut_ptr())
    };
    if code == SUCCESS {
        return Ok(module);
    }
    let end = log.iter().position(|b| *b == 0).unwrap_or(log.len());
    Err((code, String::from_utf8_lossy(&log[..end]).trim().to_owned()))
}

/// `CUDA_ERROR_UNSUPPORTED_PTX_VERSION`.
const PTX_TOO_NEW: u32 = 222;
/// `CUDA_ERROR_JIT_COMPILER_NOT_FOUND`, `CUDA_ERROR_JIT_COMPILATION_DISABLED`.
const NO_COMPILER: [u32; 2] = [221, 223];

fn refused(gpu: &Gpu, artifact: &PtxArtifact, code: u32, log: &str, ptxas: Option<&str>) -> GpuError {
    let (name, text) = gpu.api.describe(code);
    let version = artifact.ptx.lines().find_map(|line| line.trim().strip_prefix(".version")).unwrap_or(" ?").trim();
    let driver = format!("{}.{}", gpu.info.driver / 1000, gpu.info.driver % 1000 / 10);
    let advice = match code {
        PTX_TOO_NEW => format!(
            "\n  the kernel is PTX {version}, which this driver (CUDA {driver}) is too old to read: update the driver, or install a `ptxas` of its version (KILN_PTXAS)"
        ),
        code if NO_COMPILER.contains(&code) => {
            "\n  the driver's compiler is missing: install `ptxas` of the CUDA toolkit, and name it with KILN_PTXAS".to_owned()
        }
        _ => "\n  the driver's compiler refuses PTX that kiln made: this is a bug in kiln".to_owned(),
    };
    let mut lines: String = log.lines().map(|line| format!("\n  | {line}")).collect();
    if let Some(said) = ptxas {
        lines.push_str(&said.lines().map(|line| format!("\n  | {line}")).collect::<String>());
    }
    GpuError::Code {
        device: gpu.name(),
        kernel: artifact.name.as_str().into(),
        name,
        text,
        advice: advice.into(),
        log: lines.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_code_runs_on_its_generation() {
        let target = |name: &str| GpuTarget::from_name(name).unwrap();
        assert!(runs_machine_code(90, target("sm_90a")) && runs_machine_code(86, target("sm_80")));
        assert!(!runs_machine_code(80, target("sm_86")) && !runs_machine_code(100, target("sm_90")));
    }
}
