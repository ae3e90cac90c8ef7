//! Kernels that this project did not compile: CUDA C++ sources in `kernels/`, made into PTX by NVRTC at test time, and what
//! Triton compiles, run by the emulator with results known from plain Rust or numpy. `faults` runs kernels with planted faults
//! and their corrected twins.
//!
//! Where a compiler is not installed its tests are reported as ignored. `cargo xtask test` installs NVRTC and names it in
//! `KILN_TOOLS`, `cargo xtask test --third-party` also Triton in `KILN_THIRD_PARTY`: a compiler that is named must be there,
//! or its tests fail.

#![allow(clippy::precedence, clippy::needless_range_loop, reason = "references use bit and index arithmetic as the kernels do")]

/// Lists the tests of a file.
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        pub const TESTS: &[crate::Test] = &[$((stringify!($name), $name)),*];
    };
}

mod alu;
mod copies;
mod faults;
mod harness;
mod hopper;
mod matrix;
mod memory;
mod nvrtc;
mod packed;
mod scalar;
mod tensor;
mod triton;

use libtest_mimic::{Arguments, Trial};

/// A test and its name.
pub type Test = (&'static str, fn());

fn main() -> std::process::ExitCode {
    let of_nvrtc = [
        ("alu", alu::TESTS),
        ("copies", copies::TESTS),
        ("faults", faults::TESTS),
        ("hopper", hopper::TESTS),
        ("matrix", matrix::TESTS),
        ("memory", memory::TESTS),
        ("packed", packed::TESTS),
        ("scalar", scalar::TESTS),
        ("tensor", tensor::TESTS),
    ];
    let files = of_nvrtc.map(|(file, tests)| (file, tests, nvrtc::expected())).into_iter();
    let files = files.chain([("triton", triton::TESTS, triton::expected())]);
    let mut trials = vec![];
    for (file, tests, expected) in files {
        for &(name, test) in tests {
            let run = move || {
                test();
                Ok(())
            };
            trials.push(Trial::test(format!("{file}::{name}"), run).with_ignored_flag(!expected));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
