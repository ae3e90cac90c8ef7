//! NVIDIA's assembler and disassembler, where they are installed: `KILN_TOOLS`, `CUDA_HOME`, the search path, `/usr/local/cuda`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What ptxas says of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembled {
    /// Machine code.
    pub cubin: Vec<u8>,
    /// Registers a thread.
    pub registers: u32,
    /// Bytes of local memory a thread has.
    pub stack: u32,
    /// Bytes of registers that are stored to local memory, and loaded again.
    pub spills: (u32, u32),
    /// Warnings.
    pub warnings: Vec<String>,
}

fn required(name: &str) -> Result<PathBuf> {
    match kiln::ptxas::find(name) {
        Some(path) => Ok(path),
        None => bail!(
            "error[K1018]: `{name}` was not found; it comes with the CUDA toolkit: name its directory with KILN_TOOLS or CUDA_HOME, or put it on the search path"
        ),
    }
}

/// Assembles PTX for an architecture.
///
/// # Errors
/// Where ptxas is missing, or refuses the text.
pub fn assemble(ptx: &str, target: &str) -> Result<Assembled> {
    let ptxas = required("ptxas")?;
    let dir = Scratch::new()?;
    let (source, cubin) = (dir.file("kernel.ptx"), dir.file("kernel.cubin"));
    std::fs::write(&source, ptx).with_context(|| format!("cannot write `{}`", source.display()))?;
    let output = Command::new(&ptxas)
        .arg(format!("-arch={target}"))
        .arg("-v")
        .arg(&source)
        .arg("-o")
        .arg(&cubin)
        .output()
        .with_context(|| format!("cannot run `{}`", ptxas.display()))?;
    let report = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!("`{}` refuses the PTX that kiln made (this is a bug in kiln):\n{}", ptxas.display(), report.trim_end());
    }
    let mut assembled = parse(&report);
    assembled.cubin = std::fs::read(&cubin).with_context(|| format!("cannot read `{}`", cubin.display()))?;
    Ok(assembled)
}

/// Machine code as text.
///
/// # Errors
/// Where nvdisasm is missing, or fails.
pub fn disassemble(cubin: &[u8]) -> Result<String> {
    let nvdisasm = required("nvdisasm")?;
    let dir = Scratch::new()?;
    let file = dir.file("kernel.cubin");
    std::fs::write(&file, cubin).with_context(|| format!("cannot write `{}`", file.display()))?;
    let output = Command::new(&nvdisasm).arg(&file).output().with_context(|| format!("cannot run `{}`", nvdisasm.display()))?;
    if !output.status.success() {
        bail!("`{}`: {}", nvdisasm.display(), String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The figures of `ptxas -v`.
fn parse(report: &str) -> Assembled {
    let mut found = Assembled::default();
    for line in report.lines() {
        let words: Vec<&str> = line.split([' ', ',']).filter(|w| !w.is_empty()).collect();
        let before = |unit: &[&str]| {
            let at = words.windows(unit.len()).position(|w| w == unit)?;
            words.get(at.checked_sub(1)?)?.parse::<u32>().ok()
        };
        found.registers = before(&["registers"]).unwrap_or(found.registers);
        found.stack = before(&["bytes", "stack", "frame"]).unwrap_or(found.stack);
        found.spills.0 = before(&["bytes", "spill", "stores"]).unwrap_or(found.spills.0);
        found.spills.1 = before(&["bytes", "spill", "loads"]).unwrap_or(found.spills.1);
        if line.contains("warning") {
            found.warnings.push(line.to_owned());
        }
    }
    found
}

/// A directory for one call, removed afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Scratch> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("kiln-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).with_context(|| format!("cannot make `{}`", dir.display()))?;
        Ok(Scratch(dir))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind in the temporary directory does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let report = "ptxas info    : 0 bytes gmem\n\
                      ptxas info    : Compiling entry function 'k' for 'sm_90a'\n\
                      ptxas info    : Function properties for k\n    16 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads\n\
                      ptxas info    : Used 42 registers, used 1 barriers, 16 bytes cumulative stack size\n";
        let found = parse(report);
        assert_eq!((found.registers, found.stack, found.spills), (42, 16, (4, 8)));
        assert!(found.warnings.is_empty());
        assert_eq!(parse("ptxas warning : something").warnings.len(), 1);
    }
}
