//! `cargo xtask minilm`: the sentence encoder of dsl-examples/minilm with its weights, beside onnxruntime.

use anyhow::Result;

use crate::proc::{cargo, run, step};
use crate::tools;

/// Sets up, builds, checks the embeddings and times both; `args` go to the example.
pub fn minilm(args: &[String]) -> Result<()> {
    step("set up", || {
        crate::setup::setup()?;
        tools::install_minilm()?;
        tools::install_minilm_peers()
    })?;
    step("sentence encoder", || {
        let mut command = cargo();
        command.args(["run", "--release", "--package", "dsl-examples", "--bin", "minilm", "--"]);
        command.args(["--peer", "--repeat", "16", "--rounds", "7"]).args(args);
        run(command.env("KILN_MINILM", tools::minilm_model()).env("PYTHONPATH", tools::minilm_peers_dir()))
    })
}
