//! Kernels that this project did not compile: CUDA C++ sources in `kernels/`, made into PTX by NVRTC at test time and
//! run by the emulator, with results known from plain Rust. `faults` runs kernels with planted faults and their
//! corrected twins; `triton` (with `cargo xtask test --third-party`) runs what Triton compiles.

#![allow(clippy::precedence, clippy::needless_range_loop, reason = "references use bit and index arithmetic as the kernels do")]

mod faults;
mod harness;
mod hopper;
mod matrix;
mod memory;
mod nvrtc;
mod scalar;
mod speed;
mod triton;
