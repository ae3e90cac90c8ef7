//! `cargo xtask bench`: set-up, then the criterion benches.

use anyhow::Result;

use crate::proc::{cargo, run, step};

/// Runs the benches; `args` go to `cargo bench`.
pub fn bench(args: &[String]) -> Result<()> {
    step("set up", crate::setup::setup)?;
    step("benches", || run(cargo().args(["bench", "--package", "kiln-benches"]).args(args)))
}
