//! Compiling Tile IR text for a GPU target and asking NVIDIA's tools about the result.
//!
//! The tools come from `KILN_TOOLS`, or `target/tools` of the workspace (`cargo xtask setup --tools`). Without either, tests
//! that need them say so and check the PTX alone; a `KILN_TOOLS` without ptxas is an error.

use std::path::PathBuf;
use std::process::Command;

use kiln_codegen::CodegenError;
use kiln_codegen::nvptx::{GpuTarget, Options, PtxArtifact, compile};
use kiln_ir::text::parse_module;
use kiln_ir::verify::verify;

/// Both targets every kernel is compiled for.
pub const TARGETS: [&str; 2] = ["sm_80", "sm_90a"];

/// Compiles Tile IR text.
pub fn try_compile(text: &str, target: &str) -> Result<PtxArtifact, CodegenError> {
    let module = parse_module(text).unwrap_or_else(|e| panic!("test input: {e}\n{text}"));
    let module = verify(module).unwrap_or_else(|(_, v)| panic!("test input: {v:?}\n{text}"));
    let target = GpuTarget::from_name(target).expect("a supported target");
    compile(&module, target, Options { keep_llvm: true, ..Options::default() })
}

/// Compiles Tile IR text that the target supports.
pub fn ptx(text: &str, target: &str) -> PtxArtifact {
    try_compile(text, target).unwrap_or_else(|e| panic!("{e}"))
}

/// A kernel of the `kernels` folder.
pub fn kernel(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/nvptx/kernels").join(format!("{name}.tir"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn tool(name: &str) -> Option<PathBuf> {
    let named = std::env::var_os("KILN_TOOLS").map(PathBuf::from);
    let root = named.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/tools"));
    let path = root.join("nvidia/cu13/bin").join(name);
    if path.exists() {
        return Some(path);
    }
    assert!(named.is_none(), "KILN_TOOLS has no {name} at {}", path.display());
    eprintln!("skipped: {name} is not installed (cargo xtask setup --tools)");
    None
}

/// What ptxas makes of an artifact.
pub struct Assembled {
    /// SASS as nvdisasm prints it.
    pub sass: String,
}

/// Assembles PTX: it must be accepted, without spills, stack or warnings. None where the tools are missing.
pub fn assemble(artifact: &PtxArtifact) -> Option<Assembled> {
    let (ptxas, nvdisasm) = (tool("ptxas")?, tool("nvdisasm")?);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (source, cubin) = (dir.path().join("kernel.ptx"), dir.path().join("kernel.cubin"));
    std::fs::write(&source, &artifact.ptx).expect("PTX is written");
    let arch = format!("-arch={}", artifact.target.name());
    let out = Command::new(ptxas).arg(arch).arg("-v").arg(&source).arg("-o").arg(&cubin).output().expect("ptxas runs");
    let report = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "ptxas refuses {}: {report}\n{}", artifact.name, artifact.ptx);
    // C75xx: products that wait for each other, registers that are not handed over.
    assert!(!report.contains("warning") && !report.contains("(C7"), "ptxas warns: {report}");
    assert!(report.contains("0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads"), "{report}");
    let out = Command::new(nvdisasm).arg(&cubin).output().expect("nvdisasm runs");
    assert!(out.status.success(), "nvdisasm: {}", String::from_utf8_lossy(&out.stderr));
    Some(Assembled { sass: String::from_utf8_lossy(&out.stdout).into_owned() })
}

/// Number of lines of `text` that contain `needle`.
pub fn count(text: &str, needle: &str) -> usize {
    text.lines().filter(|line| line.contains(needle)).count()
}

/// The instructions of the smallest loop with `count` lines that contain `needle`, a loop inside it (which waits) included.
pub fn loop_with<'s>(sass: &'s str, needle: &str, count: usize) -> Vec<&'s str> {
    let lines: Vec<&str> = sass.lines().map(str::trim).collect();
    let label = |line: &str| line.strip_suffix(':').filter(|name| name.starts_with(".L_x_")).map(str::to_owned);
    let mut best: Option<Vec<&str>> = None;
    for (end, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("BRA")) {
        let target = line.split("`(").nth(1).and_then(|rest| rest.split(')').next());
        let Some(start) = lines[..end].iter().position(|line| label(line).as_deref() == target && target.is_some()) else {
            continue;
        };
        let body: Vec<&str> =
            lines[start..=end].iter().copied().filter(|line| line.starts_with("/*") && line.ends_with(';')).collect();
        let fits = body.iter().filter(|line| line.contains(needle)).count() == count;
        if fits && best.as_ref().is_none_or(|known| body.len() < known.len()) {
            best = Some(body);
        }
    }
    best.unwrap_or_else(|| panic!("no loop with {count} x {needle}:\n{sass}"))
}
