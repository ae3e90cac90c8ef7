//! A PTX machine: runs, checks and counts GPU code with no GPU. It knows PTX, nothing of Kiln.
//!
//! [`Machine`] loads PTX text from any compiler and runs its kernels with the semantics of the PTX ISA manual for
//! sm_80 to sm_90a. Asynchronous operations complete when [`Schedule`] says; [`Sanitizers`] report what hardware
//! hides; [`Counters`] say what every instruction did.
//!
//! Layers, each knowing only those above it: [`ptx`] (text to syntax tree), [`decode`] (syntax tree to compact
//! instructions), `memory`, `sanitize`, `exec` (lanes, warps, CTAs, clusters, the grid), [`Machine`].
#![allow(clippy::needless_range_loop, reason = "lane loops index several arrays at once, which vectorizes")]
#![allow(clippy::double_comparisons, clippy::neg_cmp_op_on_partial_ord, reason = "NaN makes them different")]
#![allow(clippy::too_many_arguments, reason = "an instruction has as many fields as it has")]
#![allow(clippy::precedence, clippy::manual_is_multiple_of, reason = "bit fields and alignment, as the manual writes them")]
#![allow(clippy::result_large_err, reason = "a fault ends a launch")]

pub mod arch;
pub mod command;
pub mod counters;
pub mod decode;
pub mod error;
mod exec;
mod machine;
mod memory;
mod options;
pub mod ptx;
mod sanitize;
pub mod tensormap;

pub use arch::Arch;
pub use counters::{Count, Counters};
pub use error::{Error, Fault, FaultKind, Place};
pub use machine::{Arg, DevicePtr, Launch, Machine, ModuleId, Report};
pub use options::{Limits, Options, Sanitizers, Schedule};
pub use tensormap::{ElementType, Swizzle, TensorMap};
