//! Kiln's runtime: devices, tensors, launches, caches.
//!
//! ```no_run
//! use kiln::{Device, Program, Tensor};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Device::best()?;
//! let softmax = Program::open("softmax.kiln")?.kernel("softmax")?;
//! let x = Tensor::<f32>::from_fn(&[128, 1000], |i| (i % 7) as f32)?;
//! let mut y = Tensor::<f32>::zeros(&[128, 1000])?;
//! softmax.on(&device).arg(&x).arg(&mut y).run()?;
//! println!("{:?}", &y.read()?[..3]);
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]

mod args;
mod bundle;
pub mod cache;
pub mod capi;
mod checked;
mod compiled;
mod cooperative;
mod cuda;
mod device;
mod element;
#[cfg(feature = "jit")]
mod embedded;
mod emulated;
mod emulated_maps;
mod error;
mod host_code;
#[cfg(feature = "jit")]
mod jit;
mod kernel;
mod plan;
pub mod pool;
mod program;
mod report;
mod staging;
pub mod storage;
mod stream;
pub mod tensor;
mod timing;
pub mod tuned;
pub mod typed;

pub use args::{Arg, IntoArg};
pub use compiled::{CompiledKernel, Origin};
pub use cuda::gpu::CudaInfo;
pub use cuda::module::Assembler;
pub use cuda::{GpuError, ptxas};
pub use device::Device;
pub use element::{Element, F8E4M3, F8E5M2, Float, Int, Num};
pub use emulated::EmulatorOptions;
pub use error::{DeviceFault, Error, TensorError};
pub use half::{bf16, f16};
pub use kernel::{GpuCode, Kernel, Launch, Launched, OwnedArg};
#[cfg(feature = "jit")]
pub use kiln_compiler as compiler;
pub use kiln_emulator as emulator;
pub use kiln_ir::ScalarType;
pub use kiln_ir::signature::{Config, HostValue, KernelSignature, Number};
#[cfg(feature = "macros")]
pub use kiln_macros::{include_kernels, kernels};
pub use program::{Program, ProgramOptions};
pub use report::Report;
pub use stream::{Event, Graph, Stream};
pub use tensor::{AnyTensor, Ellipsis, NewAxis, Tensor};
pub use timing::{Times, Timing};
pub use typed::LaunchTarget;

/// Chapters of the book whose code is run by `cargo test --doc`.
#[cfg(doctest)]
mod book {
    #[doc = include_str!("../../docs/tutorial/rust.md")]
    mod rust {}
    #[doc = include_str!("../../docs/tutorial/tensors.md")]
    mod tensors {}
}

/// The kernels that `kiln-build` compiled in this package's build script: `include_bundle!("softmax")` for the bundle of that name. Expands to the functions that
/// `include_kernels!` makes of the kernels' file.
#[macro_export]
macro_rules! include_bundle {
    ($name:literal) => {
        ::core::include!(::core::concat!(::core::env!("OUT_DIR"), "/", $name, ".rs"));
    };
}
