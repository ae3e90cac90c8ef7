//! NVIDIA's assembler, where it is installed: machine code made by it is kept beside the PTX in the disk cache, so that later processes neither assemble nor wait for the
//! driver's compiler.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::cache::{DiskCache, Key};

/// Files that a tool of NVIDIA's may be, in order: `KILN_TOOLS`, `CUDA_HOME`, `CUDA_PATH`, the search path, `/usr/local/cuda`.
fn candidates(name: &str) -> Vec<PathBuf> {
    let mut list = Vec::new();
    if let Some(root) = std::env::var_os("KILN_TOOLS").map(PathBuf::from) {
        list.extend([root.join("nvidia/cu13/bin").join(name), root.join("bin").join(name), root.join(name)]);
    }
    for variable in ["CUDA_HOME", "CUDA_PATH"] {
        list.extend(std::env::var_os(variable).map(|root| PathBuf::from(root).join("bin").join(name)));
    }
    if let Some(path) = std::env::var_os("PATH") {
        list.extend(std::env::split_paths(&path).map(|dir| dir.join(name)));
    }
    list.push(Path::new("/usr/local/cuda/bin").join(name));
    list
}

/// The path of a tool of NVIDIA's (`ptxas`, `nvdisasm`), if it is installed.
pub fn find(name: &str) -> Option<PathBuf> {
    candidates(name).into_iter().find(|path| path.is_file())
}

/// The assembler that kernels are made with: the one that `KILN_PTXAS` names (`off` for none), else the one that is installed.
pub(crate) fn chosen() -> Option<&'static Path> {
    static CHOSEN: OnceLock<Option<PathBuf>> = OnceLock::new();
    let choose = || match std::env::var_os("KILN_PTXAS") {
        Some(path) if path == "off" => None,
        Some(path) if !path.is_empty() => Some(PathBuf::from(path)),
        _ => find("ptxas"),
    };
    CHOSEN.get_or_init(choose).as_deref()
}

/// Which assembler it is: its path, size and time, which a new version changes.
fn identity(ptxas: &Path) -> String {
    let stamp = std::fs::metadata(ptxas).ok().map(|meta| {
        let time = meta.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
        format!("{} {:?}", meta.len(), time)
    });
    format!("{} {}", ptxas.display(), stamp.unwrap_or_default())
}

/// Machine code of a kernel, from the cache or by the assembler.
///
/// # Errors
/// What the assembler says, where it refuses.
pub(crate) fn cubin(ptxas: &Path, ptx: &str, target: &str, cache: Option<&DiskCache>) -> Result<Vec<u8>, String> {
    let key = Key::of([b"cubin".as_slice(), identity(ptxas).as_bytes(), target.as_bytes(), ptx.as_bytes()]);
    if let Some(found) = cache.and_then(|cache| cache.get(&key)) {
        return Ok(found);
    }
    let made = assemble(ptxas, ptx, target)?;
    if let Some(cache) = cache {
        // A full or read-only disk is no reason not to launch.
        let _ = cache.put(&key, &made);
    }
    Ok(made)
}

fn assemble(ptxas: &Path, ptx: &str, target: &str) -> Result<Vec<u8>, String> {
    let system = |e: std::io::Error| format!("`{}` cannot be used: {e}", ptxas.display());
    let dir = tempfile::tempdir().map_err(system)?;
    let (source, result) = (dir.path().join("kernel.ptx"), dir.path().join("kernel.cubin"));
    std::fs::write(&source, ptx).map_err(system)?;
    let output =
        Command::new(ptxas).arg(format!("-arch={target}")).arg(&source).arg("-o").arg(&result).output().map_err(system)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        return Err(format!("`{}` ends with {}:\n{}", ptxas.display(), output.status, said.trim_end()));
    }
    std::fs::read(&result).map_err(system)
}
