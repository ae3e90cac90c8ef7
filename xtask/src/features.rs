//! `cargo xtask features`: the runtime with each of its features alone and with none, the tests of those that the workspace's own tests leave out, and its documentation
//! without a warning.

use anyhow::Result;

use crate::proc::{cargo, run, step};

/// Sets of features that users choose. The compiler is `jit`, which `macros` brings, and needs one way to link LLVM.
const SETS: &[&str] = &["", "cudarc", "ndarray", "llvm-dynamic", "macros,llvm-dynamic"];

/// Features whose libraries are too large for the workspace's tests.
const OTHER_LIBRARIES: &str = "candle,cudarc,ndarray";

/// The crates that users name.
const PUBLIC: &[&str] = &["kiln", "kiln-build", "kiln-tune", "kiln-syntax", "kiln-aot-example"];

/// Checks, tests and documents.
pub fn features() -> Result<()> {
    step("set up", crate::setup::setup)?;
    for features in SETS {
        step(&format!("features `{features}`"), || {
            let mut command = cargo();
            command.args(["check", "--quiet", "--package", "kiln", "--lib", "--no-default-features", "--features", features]);
            run(command.env("RUSTFLAGS", "-D warnings"))
        })?;
    }
    step("other libraries' tensors", || {
        let filter = "tensor::";
        run(cargo().args(["test", "--package", "kiln", "--lib", "--no-default-features", "--features", OTHER_LIBRARIES, filter]))
    })?;
    step("documentation", || {
        let mut command = cargo();
        command.args(["doc", "--quiet", "--no-deps"]);
        for name in PUBLIC {
            command.args(["--package", name]);
        }
        run(command.env("RUSTDOCFLAGS", "-D warnings"))
    })
}
