//! `cargo xtask bench`: set-up with the benches' peers, then the benches.

use anyhow::Result;

use crate::proc::{cargo, run, step};
use crate::tools;

/// Runs the benches; `args` go to `cargo bench` (`--bench cpu -- --threads 1`).
pub fn bench(args: &[String]) -> Result<()> {
    step("set up", crate::setup::setup)?;
    step("peers", tools::install_peers)?;
    step("benches", || run(cargo().args(["bench", "--package", "kiln-benches"]).args(args).env("PYTHONPATH", tools::peers_dir())))
}
