//! `cargo xtask dist`: the self-contained `kiln` binary, and the check that it is self-contained.
//!
//! LLVM comes as archives (`llvm-static`). Its own dependencies (zlib, zstd, libstdc++) would still be linked dynamically; a directory that holds
//! only their archives stands first in the linker's search path, so that the linker takes those.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::demo::target_dir;
use crate::proc::{cargo, output, run, step};

/// Archives to take instead of shared libraries.
const ARCHIVES: &[&str] = &["libz.a", "libzstd.a", "libstdc++.a", "libxml2.a", "liblzma.a"];

/// What the finished binary may load: the C library's parts and the unwinder.
const ALLOWED: &[&str] =
    &["linux-vdso", "ld-linux", "libc.so", "libm.so", "libdl.so", "libpthread.so", "librt.so", "libgcc_s.so"];

/// Builds and checks.
pub fn dist() -> Result<()> {
    step("set up", crate::setup::setup_static)?;
    let target = target_dir()?;
    let archives = target.join("dist-archives");
    step("gather archives", || gather(&archives))?;
    step("build kiln (static)", || {
        run(cargo()
            .args(["build", "--profile", "dist", "--package", "kiln-cli", "--no-default-features", "--features", "llvm-static"])
            .env("RUSTFLAGS", flags(&archives)))
    })?;
    let kiln = target.join("dist/kiln");
    step("check", || check(&kiln))?;
    let size = std::fs::metadata(&kiln)?.len() as f64 / 1e6;
    println!("{} ({size:.0} MB)", kiln.display());
    Ok(())
}

/// `RUSTFLAGS` with a directory of archives in front of the linker's own.
pub fn flags(archives: &Path) -> OsString {
    let mut flags = std::env::var_os("RUSTFLAGS").unwrap_or_default();
    flags.push(" -L native=");
    flags.push(archives);
    flags
}

/// Fills `dir` with links to the archives that the C compiler knows.
pub fn gather(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    for name in ARCHIVES {
        let found = output("cc", &[&format!("-print-file-name={name}")]).map(PathBuf::from);
        let Some(found) = found.filter(|path| path.is_absolute()) else { continue };
        let link = dir.join(name);
        if !link.exists() {
            std::fs::copy(&found, &link).with_context(|| format!("cannot copy {}", found.display()))?;
        }
    }
    Ok(())
}

/// Refuses a binary that is not self-contained, or that does not start.
fn check(kiln: &Path) -> Result<()> {
    only_the_c_library(kiln)?;
    let version = output(&kiln.to_string_lossy(), &["--version"]).context("`kiln --version` fails")?;
    println!("    {version}");
    Ok(())
}

/// Refuses a binary that loads anything but the C library.
pub fn only_the_c_library(program: &Path) -> Result<()> {
    let listing = output("ldd", &[&program.to_string_lossy()]).context("`ldd` fails")?;
    let extra: Vec<&str> = listing
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|library| !ALLOWED.iter().any(|allowed| library.contains(allowed)))
        .collect();
    if !extra.is_empty() {
        bail!("the binary loads {}: it is not self-contained", extra.join(", "));
    }
    Ok(())
}
