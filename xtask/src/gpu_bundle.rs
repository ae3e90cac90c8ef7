//! `cargo xtask gpu-bundle`: everything that a machine with a GPU needs to test and measure Kiln, and nothing that it would have to build or download.
//!
//! The result is a folder of two files: `run.py`, and `bundle.tar.xz` with the `kiln` command, the examples, the GPU tests and the launch bench (LLVM linked statically), the C library they were
//! built against for systems with an older one, kernels, inputs, the peers' script, and cuTile's kernels as machine code with what launches them. It has to stay below 60 MB, which is checked.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::demo::target_dir;
use crate::dist;
use crate::proc::{cargo, output, run, step};
use crate::tools;

/// The most that the bundle may have.
const MOST_BYTES: u64 = 60_000_000;

/// Parts of the C library that the programs load.
const C_LIBRARY: &[&str] =
    &["ld-linux-x86-64.so.2", "libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1"];

/// Options of the command.
pub struct Options {
    /// `dist`, or another profile for trying the bundle out: LLVM is linked dynamically then.
    profile: String,
    /// Run it here, on the stand-in driver.
    try_out: bool,
}

impl Options {
    /// Reads the arguments.
    pub fn parse(args: &[String]) -> Result<Options> {
        let mut options = Options { profile: "dist".to_owned(), try_out: false };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--profile" => options.profile = args.next().context("`--profile` needs a name")?.clone(),
                "--try" => options.try_out = true,
                other => bail!("`gpu-bundle` does not know `{other}`"),
            }
        }
        Ok(options)
    }

    fn is_static(&self) -> bool {
        self.profile == "dist"
    }
}

/// The programs, as cargo reported them.
struct Programs {
    kiln: PathBuf,
    tests: PathBuf,
    launch: PathBuf,
    examples: PathBuf,
}

/// Builds, packs, checks.
pub fn gpu_bundle(options: &Options) -> Result<()> {
    step("set up", if options.is_static() { crate::setup::setup_static } else { crate::setup::setup })?;
    let target = target_dir()?;
    let programs = step("build", || build(options, &target))?;
    let bundle = target.join("gpu-bundle");
    step("pack", || pack(options, &programs, &target, &bundle))?;
    let bytes: u64 = std::fs::read_dir(&bundle)?.map(|e| Ok(e?.metadata()?.len())).sum::<Result<u64>>()?;
    println!("    {} ({:.1} MB)", bundle.display(), bytes as f64 / 1e6);
    if options.is_static() && bytes > MOST_BYTES {
        bail!("the bundle has {bytes} bytes, and may have {MOST_BYTES}");
    }
    println!("    on the machine with the GPU: python3 gpu-bundle/run.py");
    if options.try_out { step("try it on the stand-in", || try_out(&programs, &bundle, &target)) } else { Ok(()) }
}

fn build(options: &Options, target: &Path) -> Result<Programs> {
    let with = |mut command: std::process::Command| -> Result<std::process::Command> {
        command.args(["--profile", &options.profile]);
        if options.is_static() {
            let archives = target.join("dist-archives");
            dist::gather(&archives)?;
            command.args(["--no-default-features", "--features", "llvm-static"]).env("RUSTFLAGS", dist::flags(&archives));
        }
        Ok(command)
    };
    let mut kiln = cargo();
    kiln.args(["build", "--package", "kiln-cli", "--bin", "kiln"]);
    run(&mut with(kiln)?)?;
    let mut examples = cargo();
    examples.args(["build", "--package", "dsl-examples", "--bin", "all-examples"]);
    run(&mut with(examples)?)?;
    let folder = if options.profile == "dev" { "debug" } else { &options.profile };
    let mut tests = cargo();
    tests.args(["test", "--no-run", "--message-format=json-render-diagnostics", "--package", "kiln-tests", "--test", "gpu"]);
    let mut launch = cargo();
    launch.args(["test", "--no-run", "--message-format=json-render-diagnostics", "--package", "kiln-benches", "--bench", "gpu"]);
    Ok(Programs {
        kiln: target.join(folder).join("kiln"),
        examples: target.join(folder).join("all-examples"),
        tests: executable(&mut with(tests)?)?,
        launch: executable(&mut with(launch)?)?,
    })
}

/// Runs cargo and finds the program it made among its messages.
fn executable(command: &mut std::process::Command) -> Result<PathBuf> {
    let done = command.stderr(std::process::Stdio::inherit()).output().context("cargo does not start")?;
    if !done.status.success() {
        bail!("`{}` fails", crate::proc::line(command));
    }
    let messages = String::from_utf8_lossy(&done.stdout);
    let named = |line: &str| Some(PathBuf::from(line.split_once("\"executable\":\"")?.1.split_once('"')?.0));
    messages.lines().filter_map(named).next_back().context("cargo names no program")
}

fn pack(options: &Options, programs: &Programs, target: &Path, bundle: &Path) -> Result<()> {
    let root = crate::root();
    let content = target.join("gpu-bundle-content");
    for folder in [&content, bundle] {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
    }
    let copy = |from: &Path, to: &str| -> Result<()> {
        let to = content.join(to);
        std::fs::create_dir_all(to.parent().context("a file lies in a folder")?)?;
        std::fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    };
    copy(&programs.kiln, "bin/kiln")?;
    copy(&programs.tests, "bin/gpu-tests")?;
    copy(&programs.launch, "bin/gpu-launch")?;
    copy(&programs.examples, "bin/all-examples")?;
    if options.is_static() {
        for name in ["kiln", "gpu-tests", "gpu-launch", "all-examples"] {
            let path = content.join("bin").join(name);
            dist::only_the_c_library(&path)?;
            run(std::process::Command::new("strip").arg(&path))?;
        }
        for library in C_LIBRARY {
            if let Some(found) =
                output("cc", &[&format!("-print-file-name={library}")]).map(PathBuf::from).filter(|p| p.is_absolute())
            {
                copy(&found, &format!("lib/{library}"))?;
            }
        }
    }
    copy(&root.join("LICENSE-APACHE"), "LICENSE-APACHE")?;
    copy(&root.join("benches/peers/cutile_kernels.py"), "peers/cutile_kernels.py")?;
    for file in files(&root.join("benches/peers/gpu"), "py")? {
        let name = file.file_name().context("a file has a name")?.to_string_lossy().into_owned();
        copy(&file, &format!("peers/gpu/{name}"))?;
    }
    carry_cutile(&content.join("peers/cutile"))?;
    for (folder, ending) in
        [("tests/conformance/language_cases", "kiln"), ("dsl-examples", "kiln"), ("dsl-examples", "safetensors")]
    {
        for file in files(&root.join(folder), ending)? {
            let name = file.strip_prefix(&root).context("a file of the repository")?.to_string_lossy().into_owned();
            copy(&file, &name)?;
        }
    }
    let archive = bundle.join("bundle.tar.xz");
    // All cores, and a window that spans the programs: they hold the same LLVM.
    let level = if options.is_static() { "xz -T0 --lzma2=preset=6,dict=192MiB" } else { "xz -T0 -0" };
    let mut tar = std::process::Command::new("tar");
    tar.arg("--create")
        .arg("--file")
        .arg(&archive)
        .args(["--sort=name", "--use-compress-program", level, "--directory"])
        .arg(&content)
        .arg(".");
    run(&mut tar)?;
    std::fs::copy(root.join("benches/gpu-bundle/run.py"), bundle.join("run.py"))?;
    std::fs::remove_dir_all(&content)?;
    Ok(())
}

/// Puts cuTile's kernels into a folder, compiled for the sizes that are measured, and cuda-tile itself: machines with a GPU may have neither its compiler nor a way to get it.
fn carry_cutile(folder: &Path) -> Result<()> {
    if !tools::available() {
        println!("    no cuTile for this system: the bundle measures it where it is installed");
        return Ok(());
    }
    tools::install_sass_peers()?;
    std::fs::create_dir_all(folder)?;
    let peers = crate::root().join("benches/peers/gpu");
    let mut command = std::process::Command::new("python3");
    run(command.arg(peers.join("cutile_carried.py")).arg(folder).env("PYTHONPATH", tools::sass_peers_dir()))?;
    tools::download_cuda_tile(folder)
}

/// The files below a folder, by ending, two levels deep.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            let inner = std::fs::read_dir(&path)?.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
            found.extend(inner.into_iter().filter(|p| p.extension().is_some_and(|e| e == ending)));
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Runs the bundle as the machine with the GPU would, with the stand-in as its driver.
fn try_out(programs: &Programs, bundle: &Path, target: &Path) -> Result<()> {
    let built = programs.tests.parent().context("a program lies in a folder")?.join("libkiln_driver_stand_in.so");
    let driver = target.join("gpu-bundle-driver");
    std::fs::create_dir_all(&driver)?;
    std::fs::copy(&built, driver.join("libcuda.so.1")).with_context(|| format!("cannot copy {}", built.display()))?;
    let path = std::env::join_paths(
        std::iter::once(driver).chain(std::env::var_os("LD_LIBRARY_PATH").iter().flat_map(std::env::split_paths)),
    )?;
    let mut command = std::process::Command::new("python3");
    command.arg(bundle.join("run.py")).args(["--quick", "--minutes", "30"]);
    run(command.env("LD_LIBRARY_PATH", path).env("KILN_PTXAS", "off").env("KILN_GPU_STAND_IN", "1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let options = Options::parse(&words("--profile dev --try")).unwrap();
        assert!(!options.is_static() && options.try_out);
        assert!(Options::parse(&[]).unwrap().is_static());
        assert!(Options::parse(&words("--profile")).is_err() && Options::parse(&words("--static")).is_err());
    }

    #[test]
    fn kernels_and_inputs_are_found() {
        let examples = files(&crate::root().join("dsl-examples"), "kiln").unwrap();
        assert!(examples.iter().any(|p| p.ends_with("softmax/softmax.kiln")));
    }
}
