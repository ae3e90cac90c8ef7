//! `cargo xtask bench`: set-up with the benches' peers, then the benches.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::proc::{cargo, run, step};
use crate::tools;

const PACKAGES: [&str; 4] = ["--package", "kiln-benches", "--package", "kiln-cli"];

/// Runs the benches; `args` go to `cargo bench` (`--bench cpu -- --threads 1`). Peers are installed for the benches that are named, or for all.
pub fn bench(args: &[String]) -> Result<()> {
    step("set up", crate::setup::setup)?;
    let mut peers: Vec<PathBuf> = vec![];
    if wanted(args, "cpu") {
        step("peers on the CPU", tools::install_peers)?;
        peers.push(tools::peers_dir());
    }
    if wanted(args, "gpu-compile") {
        step("Triton", tools::install_third_party)?;
        peers.push(tools::third_party_dir());
        // The bench starts it as a process. The same packages as below: with others, cargo would choose other features and build everything twice.
        step("the kiln command", || run(cargo().args(["build", "--release"]).args(PACKAGES)))?;
    }
    let path = std::env::join_paths(peers).context("the repository's path has a colon, which PYTHONPATH cannot say")?;
    step("benches", || run(cargo().arg("bench").args(PACKAGES).args(args).env("PYTHONPATH", path)))
}

/// Whether the arguments choose a bench: it is named, or none is.
fn wanted(args: &[String], bench: &str) -> bool {
    let ours = args.split(|arg| arg == "--").next().unwrap_or_default();
    let mut named = vec![];
    for (i, arg) in ours.iter().enumerate() {
        match arg.strip_prefix("--bench") {
            Some("") => named.extend(ours.get(i + 1).map(String::as_str)),
            Some(rest) => named.extend(rest.strip_prefix('=')),
            None => {}
        }
    }
    named.is_empty() || named.contains(&bench)
}

#[cfg(test)]
mod tests {
    use super::wanted;

    #[test]
    fn which_benches() {
        let args = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(wanted(&[], "cpu"));
        assert!(wanted(&args("--bench cpu -- --bench gpu-compile"), "cpu"));
        assert!(!wanted(&args("--bench cpu -- --bench gpu-compile"), "gpu-compile"));
        assert!(wanted(&args("--bench=gpu-compile"), "gpu-compile"));
    }
}
