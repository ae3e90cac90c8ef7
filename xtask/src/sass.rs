//! `cargo xtask sass`: the machine code of Kiln's products and attention beside that of Triton and cuTile Python. No GPU is needed.

use anyhow::{Result, bail};

use crate::demo::target_dir;
use crate::proc::{cargo, run, step};
use crate::tools;

/// Sets up, builds the `kiln` command, compiles with all three, counts; `args` go to the script (`--out FILE.md`).
pub fn sass(args: &[String]) -> Result<()> {
    if !tools::available() {
        bail!("there are no NVIDIA tools for this system");
    }
    step("set up", || {
        crate::setup::setup()?;
        tools::install()?;
        tools::install_sass_peers()
    })?;
    // The features of the tests, so that nothing is built twice.
    step("the kiln command", || run(cargo().args(["build", "--workspace", "--bin", "kiln"])))?;
    let root = crate::root();
    let peers = std::env::join_paths([tools::sass_peers_dir(), root.join("benches/peers")])?;
    step("machine code", || {
        let mut script = std::process::Command::new("python3");
        script.arg(root.join("benches/peers/sass.py"));
        script.arg("--kiln").arg(target_dir()?.join("debug/kiln"));
        script.arg("--examples").arg(root.join("dsl-examples"));
        script.arg("--tools").arg(tools::bin());
        run(script.args(args).env("PYTHONPATH", &peers))
    })
}
