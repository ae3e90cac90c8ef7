//! NVIDIA's assembler, disassembler and CUDA C++ compiler for the tests, and the benches' peers: wheels from PyPI, unpacked into `target/tools`.
//!
//! Nothing of it is needed to build or use Kiln. Tests find it through `KILN_TOOLS`, or in `target/tools` of the workspace.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::proc::{output, run, step};

/// Wheels with their versions: ptxas, nvdisasm, NVRTC, and the headers that CUDA C++ sources include.
const WHEELS: &[(&str, &str)] = &[
    ("nvidia-cuda-nvcc", "13.5.37"),
    ("nvidia-cuda-nvdisasm", "13.5.37"),
    ("nvidia-cuda-nvrtc", "13.5.37"),
    ("nvidia-cuda-runtime", "13.5.37"),
    ("nvidia-cuda-crt", "13.5.37"),
];

/// Where the wheels are unpacked. Not cargo's target directory: tests look here whatever `CARGO_TARGET_DIR` says.
pub fn dir() -> PathBuf {
    crate::root().join("target/tools")
}

/// Directory of `ptxas` and `nvdisasm`.
pub fn bin() -> PathBuf {
    dir().join("nvidia/cu13/bin")
}

/// Triton, whose compiler gives the emulator's third-party tests their PTX, and numpy for what must come out.
const TRITON: &[(&str, &str)] = &[("triton", "3.9.0"), ("numpy", "2.4.6")];

/// Where Triton is unpacked; tests that need it run where `KILN_THIRD_PARTY` names this directory.
pub fn third_party_dir() -> PathBuf {
    dir().join("third-party")
}

/// Installs Triton if it is missing.
pub fn install_third_party() -> Result<()> {
    if TRITON.iter().all(|(name, version)| third_party_dir().join(format!("{name}-{version}.dist-info")).exists()) {
        println!("    Triton in {}", third_party_dir().display());
        return Ok(());
    }
    let wheels: Vec<String> = TRITON.iter().map(|(name, version)| format!("{name}=={version}")).collect();
    step(&format!("install {}", wheels.join(" ")), || pip(&wheels, &third_party_dir()))
}

/// What the benches compare with on the CPU: numpy with its OpenBLAS, and jax with what it needs.
const PEERS: &[(&str, &str)] = &[
    ("numpy", "2.4.6"),
    ("jax", "0.10.2"),
    ("jaxlib", "0.10.2"),
    ("ml_dtypes", "0.6.0"),
    ("opt_einsum", "3.4.0"),
    ("scipy", "1.17.1"),
];

/// Where the peers are unpacked; the benches' Python finds them through `PYTHONPATH`.
pub fn peers_dir() -> PathBuf {
    dir().join("peers")
}

/// Installs the benches' peers if they are missing.
pub fn install_peers() -> Result<()> {
    if PEERS.iter().all(|(name, version)| peers_dir().join(format!("{name}-{version}.dist-info")).exists()) {
        println!("    numpy and jax in {}", peers_dir().display());
        return Ok(());
    }
    let wheels: Vec<String> = PEERS.iter().map(|(name, version)| format!("{name}=={version}")).collect();
    step(&format!("install {}", wheels.join(" ")), || pip(&wheels, &peers_dir()))
}

/// Whether there are wheels for this machine.
pub fn available() -> bool {
    cfg!(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))
}

/// Installs what is missing of the wheels.
pub fn install() -> Result<()> {
    if !available() {
        println!("    no NVIDIA tools for this system: the tests that need them say so and are skipped");
        return Ok(());
    }
    let there = |name: &str, version: &str| dir().join(format!("{}-{version}.dist-info", name.replace('-', "_"))).exists();
    if WHEELS.iter().all(|(name, version)| there(name, version)) {
        println!("    ptxas, nvdisasm and NVRTC in {}", dir().display());
        return Ok(());
    }
    // All in one go: the wheels share a folder, and pip replaces it whole.
    let wheels: Vec<String> = WHEELS.iter().map(|(name, version)| format!("{name}=={version}")).collect();
    step(&format!("install {}", wheels.join(" ")), || pip(&wheels, &dir()))?;
    let ptxas = bin().join("ptxas");
    match output(&ptxas.to_string_lossy(), &["--version"]) {
        Some(_) => Ok(()),
        None => bail!("{} does not start", ptxas.display()),
    }
}

fn pip(wheels: &[String], target: &Path) -> Result<()> {
    if output("python3", &["-m", "pip", "--version"]).is_none() {
        crate::setup::install("pip, to fetch NVIDIA's tools for the tests", &["python3", "python3-pip"])?;
    }
    std::fs::create_dir_all(target).with_context(|| format!("cannot make {}", target.display()))?;
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--root-user-action=ignore"]);
    command.args(["--no-deps", "--only-binary=:all:", "--upgrade", "--target"]).arg(target).args(wheels);
    run(&mut command)
}
