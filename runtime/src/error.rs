//! What can go wrong, typed.

#[cfg(feature = "jit")]
use kiln_compiler::CompileError;
use kiln_ir::signature::BindError;
use thiserror::Error;

use crate::cuda::GpuError;
use crate::report::Report;

/// What can be wrong with a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TensorError {
    /// Extents, strides or indexes do not fit; the message has the numbers.
    #[error("{0}")]
    Shape(String),
    /// The system has not that much memory.
    #[error("there is no memory for {bytes} bytes")]
    OutOfMemory {
        /// Asked for.
        bytes: usize,
    },
    /// The memory is being written, or is to be written while it is read, on another thread or under a guard that still lives.
    #[error("the tensor's memory is in use: a kernel, a copy of a stream or a guard holds it")]
    Busy,
    /// The memory is not where it would have to be.
    #[error("error[K1025]: {0}")]
    Place(String),
    /// The GPU that the memory is on.
    #[error(transparent)]
    Gpu(Box<GpuError>),
}

impl From<GpuError> for TensorError {
    fn from(error: GpuError) -> TensorError {
        TensorError::Gpu(Box::new(error))
    }
}

/// What the emulator found while a kernel ran.
#[derive(Clone, Debug, Error)]
#[error("error[K1017]: kernel `{kernel}`, program ({program}): {}{}\n{}", fault.message, place(fault), indented(fault))]
pub struct DeviceFault {
    /// The kernel.
    pub kernel: String,
    /// Number of the program along each axis of the grid.
    pub program: String,
    /// Kind, instruction, source line, warp and lane, address.
    pub fault: kiln_emulator::Fault,
}

fn place(fault: &kiln_emulator::Fault) -> String {
    let source = fault.place.as_ref().and_then(|p| p.source.as_ref());
    source.map_or(String::new(), |(file, line)| format!("\n  --> {file}:{line}"))
}

fn indented(fault: &kiln_emulator::Fault) -> String {
    fault.to_string().lines().map(|line| format!("  | {line}")).collect::<Vec<_>>().join("\n")
}

fn has_list(has: &[String]) -> String {
    let list: String = has.iter().map(|entry| format!("\n  the bundle has {entry}")).collect();
    format!("{list}\n  help: ask for it where the bundle is made (`specialize` and `target` in build.rs)")
}

/// What can go wrong with devices, compilation and launches.
#[derive(Clone, Debug, Error)]
pub enum Error {
    /// A tensor.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// No such device, or one that cannot be used.
    #[error("error[K1016]: {0}")]
    Device(String),
    /// An environment variable is malformed.
    #[error("{variable}: {message}")]
    Environment {
        /// Its name.
        variable: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The program, or its compilation.
    #[cfg(feature = "jit")]
    #[error(transparent)]
    Compile(Box<CompileError>),
    /// The arguments do not fit the kernel.
    #[error("{report}")]
    Launch {
        /// The error as a diagnostic, with the kernel's source.
        report: Report,
        /// The error as data.
        error: Box<BindError>,
    },
    /// An argument is given twice, or for a parameter that there is not.
    #[error("{0}")]
    Argument(String),
    /// An `assert` of the kernel failed.
    #[error("error[K1015]: assertion failed in kernel `{kernel}`, program ({program}): {message}\n  --> {place}")]
    Assertion {
        /// The kernel.
        kernel: String,
        /// The assertion's text.
        message: String,
        /// `file.kiln:line:column`.
        place: String,
        /// Number of the program along each axis of the grid; the lowest of those that failed.
        program: String,
    },
    /// The checked mode of the CPU found a mistake: memory outside of the tensors, misaligned addresses, races. What the kernel writes is incomplete.
    #[error("error[K1020]: kernel `{kernel}`, program ({program}): {message}\n  --> {place}")]
    Checked {
        /// The kernel.
        kernel: String,
        /// What is wrong, with the lane and the element.
        message: String,
        /// `file.kiln:line:column`.
        place: String,
        /// Number of the program along each axis of the grid.
        program: String,
    },
    /// The programs of the grid wait for each other, and there are too many.
    #[error(
        "error[K1019]: kernel `{kernel}` waits for its whole grid (`grid_sync`), which has {programs} programs: the CPU runs at most {limit} at the same time"
    )]
    TooManyToWait {
        /// The kernel.
        kernel: String,
        /// Programs of the grid.
        programs: i64,
        /// The most there can be.
        limit: i64,
    },
    /// The emulator found a fault: memory, races, barriers. No tensor is changed.
    #[error(transparent)]
    Fault(Box<DeviceFault>),
    /// A GPU or its driver.
    #[error(transparent)]
    Gpu(Box<GpuError>),
    /// The program was built without its compiler, and its bundle has no code for a launch.
    #[error("error[K1030]: the program has no code of kernel `{kernel}` for this launch, which needs {wanted}{}", has_list(has))]
    NotInBundle {
        /// The kernel.
        kernel: String,
        /// What the launch needs: types, constants, target.
        wanted: String,
        /// What there is of the kernel.
        has: Vec<String>,
    },
    /// A bundle that cannot be read.
    #[error("{0}")]
    Bundle(String),
    /// The disk cache cannot be used.
    #[error("{0}")]
    Cache(String),
    /// A bug in Kiln.
    #[error("internal error: {0} (this is a bug in kiln)")]
    Internal(String),
    /// Worker threads cannot be started.
    #[error("cannot start worker threads: {0}")]
    Threads(String),
}

impl From<GpuError> for Error {
    fn from(error: GpuError) -> Error {
        Error::Gpu(Box::new(error))
    }
}

#[cfg(feature = "jit")]
impl From<CompileError> for Error {
    fn from(error: CompileError) -> Error {
        Error::Compile(Box::new(error))
    }
}

impl Error {
    /// The diagnostics of the error, where it has some that point into sources.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Error::Launch { report, .. } => Some(report),
            #[cfg(feature = "jit")]
            Error::Compile(error) => match &**error {
                CompileError::Refused(report) => Some(report),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether the error is a bug in Kiln.
    pub fn is_internal(&self) -> bool {
        match self {
            Error::Internal(_) => true,
            #[cfg(feature = "jit")]
            Error::Compile(error) => matches!(**error, CompileError::Ice(_)),
            _ => false,
        }
    }
}
