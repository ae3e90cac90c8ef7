//! NVIDIA GPUs through the driver's API.
//!
//! `driver` has the entry points that are used, looked up in the driver's library when the first GPU is asked for: a program starts and works without one. `gpu` is
//! a device with its context; `memory` what tensors on it lie in; `stream` a queue of work with the order between queues; `module` turns a compiled kernel into
//! something that can be launched (`ptxas` makes the machine code where it is installed); `launch` is the way from arguments to the device, which a
//! launch that was made before takes without a lock or an allocation; `event` measures; `graph` captures and replays; `prints` shows what kernels printed;
//! `tensor_map` describes tensors to the TMA engine; `sys` has the interface's numbers.

pub(crate) mod driver;
mod error;
pub(crate) mod event;
pub(crate) mod gpu;
pub(crate) mod graph;
pub(crate) mod launch;
pub(crate) mod memory;
pub(crate) mod module;
mod prints;
pub mod ptxas;
pub(crate) mod stream;
mod sys;
mod tensor_map;

pub use error::GpuError;
