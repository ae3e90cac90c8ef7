//! Kernels compiled ahead of time, for build scripts. A program with such kernels links neither LLVM nor the compiler.
//!
//! `Cargo.toml` names `kiln` without its compiler, and `kiln-build` for the build script:
//!
//! ```toml
//! [dependencies]
//! kiln = { version = "0.1", default-features = false }
//!
//! [build-dependencies]
//! kiln-build = "0.1"
//! ```
//!
//! `build.rs` chooses what is compiled:
//!
//! ```no_run
//! // fn main()
//! kiln_build::Bundle::new("kernels/softmax.kiln")
//!     .target("x86-64-v3")
//!     .target("sm_90a")
//!     .specialize("softmax", |s| s.type_param("T", "f32").dim("N", 1024))
//!     .build();
//! ```
//!
//! and the program has the kernels' functions, the same that `kiln::include_kernels!` makes, by `kiln::include_bundle!("softmax");`.
#![deny(missing_docs)]

mod archive;
mod bundle;
mod compile;
mod emit;
mod specialize;

pub use bundle::{Bundle, Error};
pub use compile::Compiled;
pub use specialize::Specialize;
