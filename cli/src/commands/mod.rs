//! The commands, one file each.

pub mod bench;
pub mod build;
pub mod bundle;
pub mod cache;
pub mod check;
pub mod devices;
pub mod emu;
pub mod explain;
pub mod explain_kernel;
pub mod fmt;
pub mod new;
pub mod run;
pub mod select;
pub mod tune;
