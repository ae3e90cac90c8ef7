//! Kiln's tuner: finds the fastest configuration of a kernel's `#[tune]` space, and shows how it came to that.
//!
//! | module | what |
//! |---|---|
//! | [`sample`] | many times of one thing to one figure that can be trusted |
//! | [`objective`] | what is measured: a clock, or the cost model on the emulator |
//! | [`compare`] | whether two results are the same |
//! | [`model`], [`occupancy`] | what a configuration should cost, without running it |
//! | [`search`] | which configurations are looked at, and how closely: exhaustive, halving, guided |
//! | [`sweep`] | one sweep: compiles, runs, verifies, measures, records |
//! | [`inputs`] | arguments made from sizes |
//! | [`report`] | sweeps as JSON, CSV and a web page |
//!
//! Results are kept by the runtime (`kiln::tuned`), where launches find them. What is tuned is a [`sweep::Problem`]; [`sweep::run`] does it.
#![deny(missing_docs)]

pub mod compare;
pub mod inputs;
pub mod model;
pub mod objective;
pub mod occupancy;
pub mod report;
pub mod sample;
pub mod search;
pub mod sweep;
