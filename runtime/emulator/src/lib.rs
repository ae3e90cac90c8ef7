//! A PTX machine: runs, checks and counts GPU code with no GPU. It knows PTX, nothing of Kiln.
//!
//! [`Machine`] loads PTX text from any compiler and runs its kernels with the semantics of the PTX ISA manual for
//! sm_80 to sm_90a. Asynchronous operations complete when [`Schedule`] says; [`Sanitizers`] report what hardware
//! hides; [`Counters`] say what every instruction did.
//!
//! Layers, each knowing only those above it: [`ptx`] (text to syntax tree), [`decode`] (syntax tree to compact
//! instructions), `memory`, `sanitize`, `exec` (lanes, warps, CTAs, clusters, the grid), [`Machine`].
#![allow(clippy::needless_range_loop, reason = "lane loops index several arrays at once, which vectorizes")]

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
