//! Repository chores: `cargo xtask setup | demo | test | ci | features | fresh-crate | bench | minilm | sass | dist | gpu-bundle`. Needs nothing but cargo.
//!
//! `setup` has what is missing installed, `tools` what only the tests need; every other command is one file and calls them first.

mod bench;
mod demo;
mod dist;
mod features;
mod fresh_crate;
mod gpu_bundle;
mod minilm;
mod proc;
mod sass;
mod setup;
mod test;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
Chores of the Kiln repository

Usage: cargo xtask <COMMAND>

Commands:
  demo     Set up, build, run the softmax and matmul examples on the best device, check them, print their speed
  test     Set up, check formatting and lints, run every test that needs no GPU
             --third-party   also those that need Triton (installed from PyPI into target/tools)
             --remote        also stores that machines share, which builds some fifty crates more
             --no-lint       only the tests
             -- ARGS         passed on to `cargo test`
  ci       test --third-party, features, demo and dist, one after the other
  features Check the runtime with each of its features alone, run the tests that need other tensor libraries, and document it without a warning
  fresh-crate  Time the builds of a program with one kernel, inline and in a file, in a package outside of the workspace
  bench    Set up and run the benches; arguments are passed on to `cargo bench`
  minilm   Fetch the all-MiniLM-L6-v2 encoder and onnxruntime, run the example that uses it, check it, and time both;
             arguments are passed on to the example
  sass     Compile products and attention for sm_90a with Kiln, Triton and cuTile Python, and count the instructions of their loops
             --out FILE.md   write the table there
  dist     Build the self-contained `kiln` binary (LLVM linked statically) and check that it is one
  gpu-bundle  Build what a machine with a GPU needs to test and measure Kiln: one archive and a script
             --try           run it here, on the stand-in driver
             --profile dev   quick to build, LLVM linked dynamically: for trying it out here
  setup    Install what is missing: LLVM 22, a linker
             --tools     also ptxas, nvdisasm and NVRTC for the tests
             --browser   also a Chromium, for the test that opens the tuner's report
             --ray       also Ray, for the test of the tuner's cluster driver

Every command may be repeated: what is done is not done again.
";

/// The repository's root.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_owned()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Result<()> {
    let Some((command, rest)) = args.split_first() else {
        print!("{HELP}");
        bail!("a command is missing");
    };
    match command.as_str() {
        "demo" => no_more(rest).and_then(|()| demo::demo()),
        "test" => test::test(&test::Options::parse(rest)?),
        "ci" => {
            no_more(rest)?;
            test::test(&test::Options { third_party: true, ..Default::default() })?;
            features::features()?;
            demo::demo()?;
            dist::dist()
        }
        "features" => no_more(rest).and_then(|()| features::features()),
        "fresh-crate" => no_more(rest).and_then(|()| fresh_crate::fresh_crate()),
        "bench" => bench::bench(rest),
        "minilm" => minilm::minilm(rest),
        "sass" => sass::sass(rest),
        "dist" => no_more(rest).and_then(|()| dist::dist()),
        "gpu-bundle" => gpu_bundle::gpu_bundle(&gpu_bundle::Options::parse(rest)?),
        "setup" => {
            if let Some(other) = rest.iter().find(|flag| !["--tools", "--browser", "--ray"].contains(&flag.as_str())) {
                bail!("`setup` does not know `{other}`; it takes --tools, --browser and --ray");
            }
            setup::setup()?;
            for flag in rest {
                match flag.as_str() {
                    "--tools" => tools::install()?,
                    "--browser" => setup::browser()?,
                    _ => tools::install_ray()?,
                }
            }
            Ok(())
        }
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            Ok(())
        }
        other => bail!("no command `{other}`; `cargo xtask help` lists them"),
    }
}

fn no_more(rest: &[String]) -> Result<()> {
    match rest.first() {
        Some(arg) => bail!("unexpected argument `{arg}`; `cargo xtask help` lists what there is"),
        None => Ok(()),
    }
}
