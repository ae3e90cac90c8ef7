//! What the build needs and cargo does not bring: LLVM 22 with its headers, and a C compiler that links.
//!
//! Missing packages are installed through apt, as root or by sudo. Where that cannot be done, the error lists exactly what to install.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::proc::{output, run, step};

/// LLVM's version as `llvm-config` begins it.
const LLVM: &str = "22.1";

/// Where Debian and Ubuntu put LLVM 22.
const DEBIAN_PREFIX: &str = "/usr/lib/llvm-22";

/// Packages of the development build.
const DEV_PACKAGES: &[&str] = &["llvm-22-dev", "zlib1g-dev", "libzstd-dev"];

/// What the static build links besides: archives of LLVM's own dependencies.
const DIST_PACKAGES: &[&str] = &["llvm-22-dev", "libpolly-22-dev", "zlib1g-dev", "libzstd-dev", "libxml2-dev", "libz3-dev"];

/// Makes sure that the workspace can be built with LLVM linked dynamically.
pub fn setup() -> Result<()> {
    if output("cc", &["--version"]).is_none() {
        install("a C compiler to link with", &["gcc", "libc6-dev"])?;
    }
    // llvm-sys links the C++ standard library, which a C compiler does not bring.
    if cfg!(target_os = "linux") && !links_cpp() {
        install("the C++ standard library to link with", &["g++"])?;
    }
    match find_llvm() {
        Some(found) => println!("    LLVM {} in {}", found.version, found.prefix.display()),
        None => {
            install("LLVM 22", DEV_PACKAGES)?;
            find_llvm().context("LLVM 22 was installed, but no llvm-config of version 22.1 is found")?;
        }
    }
    Ok(())
}

/// Whether the C compiler knows where the C++ standard library is: it prints a path then, else the bare name.
fn links_cpp() -> bool {
    output("cc", &["-print-file-name=libstdc++.so"]).is_some_and(|found| Path::new(&found).is_absolute())
}

/// Makes sure that the workspace can be built with LLVM linked statically.
pub fn setup_static() -> Result<()> {
    setup()?;
    let from_debian = find_llvm().is_some_and(|found| found.prefix == Path::new(DEBIAN_PREFIX));
    if from_debian && DIST_PACKAGES.iter().any(|package| !is_installed(package)) {
        install("LLVM's static libraries", DIST_PACKAGES)?;
    }
    Ok(())
}

/// Names under which a Chromium is found on the search path; the tests of the tuner's report look for the same.
const BROWSERS: &[&str] = &["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];

/// Makes sure that there is a browser without a window, for the test that opens the tuner's report.
pub fn browser() -> Result<()> {
    if let Some(found) = BROWSERS.iter().find(|name| output(name, &["--version"]).is_some()) {
        println!("    {found} for the report's tests");
        return Ok(());
    }
    install("a browser without a window", &["chromium-headless-shell"])
}

struct Llvm {
    version: String,
    prefix: PathBuf,
    /// Whether llvm-sys finds it without help.
    on_path: bool,
}

fn find_llvm() -> Option<Llvm> {
    if let Some(prefix) = std::env::var_os("LLVM_SYS_221_PREFIX") {
        let config = PathBuf::from(prefix).join("bin/llvm-config");
        return probe(&config.to_string_lossy(), true);
    }
    ["llvm-config-22", "llvm-config", "llvm-config-22.1", "llvm-config22"]
        .iter()
        .find_map(|name| probe(name, true))
        .or_else(|| probe(&format!("{DEBIAN_PREFIX}/bin/llvm-config"), false))
        .or_else(|| {
            let brew = output("brew", &["--prefix", "llvm@22"])?;
            probe(&format!("{brew}/bin/llvm-config"), false)
        })
}

fn probe(config: &str, on_path: bool) -> Option<Llvm> {
    let version = output(config, &["--version"])?;
    if !version.starts_with(LLVM) {
        return None;
    }
    let prefix = PathBuf::from(output(config, &["--prefix"])?);
    // Without headers it is the tools' package alone.
    Path::new(&output(config, &["--includedir"])?).join("llvm-c/Core.h").exists().then_some(Llvm { version, prefix, on_path })
}

/// `LLVM_SYS_221_PREFIX` for child processes: only where llvm-sys would not find LLVM itself, because cargo rebuilds it when the variable changes.
pub fn llvm_prefix_for_children() -> Option<PathBuf> {
    find_llvm().filter(|found| !found.on_path).map(|found| found.prefix)
}

fn is_installed(package: &str) -> bool {
    output("dpkg-query", &["-W", "-f=${Status}", package]).is_some_and(|status| status == "install ok installed")
}

/// Installs those of `packages` that are missing.
pub fn install(what: &str, packages: &[&str]) -> Result<()> {
    let missing: Vec<&str> = packages.iter().copied().filter(|package| !is_installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if output("apt-get", &["--version"]).is_none() {
        bail!(
            "{what} is missing, and this system has no apt to install it with.\n\
             Install {what} by your system's means (Debian's packages are: {list}), then run this again.\n\
             LLVM in an unusual place is found through LLVM_SYS_221_PREFIX=<prefix>."
        );
    }
    step(&format!("install {what}: {list}"), || {
        let rights = rights(&list)?;
        run(&mut apt(&rights, &["update", "-qq"]))?;
        let mut args = vec!["install", "-y", "-qq", "--no-install-recommends"];
        args.extend(&missing);
        run(&mut apt(&rights, &args)).with_context(|| {
            format!(
                "apt cannot install {list}. A distribution without LLVM 22 can take these packages from the LLVM project's own apt repository; \
                 with any other LLVM 22, set LLVM_SYS_221_PREFIX=<prefix>"
            )
        })
    })
}

/// What to put in front of `apt-get`: nothing for root, else sudo.
fn rights(list: &str) -> Result<Vec<&'static str>> {
    if output("id", &["-u"]).as_deref() == Some("0") {
        Ok(vec![])
    } else if output("sudo", &["-n", "true"]).is_some() {
        Ok(vec!["sudo", "-n"])
    } else if output("sudo", &["--version"]).is_some() && std::io::stdin().is_terminal() {
        Ok(vec!["sudo"])
    } else {
        bail!("root's rights are needed. Run as root: apt-get update && apt-get install -y {list}");
    }
}

fn apt(rights: &[&str], args: &[&str]) -> Command {
    let mut words = rights.iter().copied().chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    let mut command = Command::new(words.next().expect("never empty"));
    command.args(words).args(args);
    command
}
