//! Kiln's passes over Tile IR: one pass, one file.
//!
//! [`pipeline`] is the table of contents: every pipeline, in order. [`manager`] runs passes, verifies between them and reports failures with
//! a reproducer. `analysis` holds what passes ask about a function; `gpu` the passes that give tiles layouts and threads.
//! This crate knows no syntax, no LLVM and no GPU driver.

#![deny(missing_docs)]

pub mod analysis;
mod canonicalize;
mod checks;
mod clone;
mod cse;
mod dce;
mod dot_acc;
mod fold;
pub mod gpu;
mod index_width;
mod inline;
mod launch_facts;
mod licm;
pub mod manager;
mod masks;
pub mod pipeline;
mod replace;
mod reproducer;
mod scaled_dots;
mod split_loops;

pub use launch_facts::add_launch_facts;
pub use manager::{Pass, PassContext, PassError, PassFailure, PassOptions, PassResult, Report, Target};
pub use pipeline::{optimize, optimize_with_report};
pub use reproducer::run_reproducer;
