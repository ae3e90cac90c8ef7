//! `cargo xtask test`: formatting, lints, and every test that needs no GPU, with the totals as the last line.

use std::env;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::proc::{cargo, run, run_seen, step};
use crate::{setup, tools};

/// What to run.
#[derive(Default)]
pub struct Options {
    /// Also the tests that need Triton.
    pub third_party: bool,
    /// Also stores that machines share (`kiln-cli`'s feature `remote`), which takes some fifty crates more.
    pub remote: bool,
    /// Neither formatting nor lints.
    pub no_lint: bool,
    /// For `cargo test`.
    pub rest: Vec<String>,
}

impl Options {
    /// Reads the arguments of `cargo xtask test`.
    pub fn parse(args: &[String]) -> Result<Options> {
        let mut options = Options::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--third-party" => options.third_party = true,
                "--remote" => options.remote = true,
                "--no-lint" => options.no_lint = true,
                "--" => options.rest = args.by_ref().cloned().collect(),
                other => bail!("`test` does not know `{other}`; what is for `cargo test` stands behind `--`"),
            }
        }
        Ok(options)
    }
}

/// Sums of the lines `test result: ok. 3 passed; 0 failed; 1 ignored; ..`.
#[derive(Default)]
struct Totals {
    suites: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Totals {
    fn see(&mut self, line: &str) {
        let Some(counts) = line.trim_start().strip_prefix("test result: ") else { return };
        self.suites += 1;
        for part in counts.split([';', '.']) {
            let mut words = part.split_whitespace();
            if let (Some(Ok(count)), Some(what)) = (words.next().map(str::parse::<u64>), words.next()) {
                match what {
                    "passed" => self.passed += count,
                    "failed" => self.failed += count,
                    "ignored" => self.ignored += count,
                    _ => {}
                }
            }
        }
    }
}

/// Runs everything.
pub fn test(options: &Options) -> Result<()> {
    let start = Instant::now();
    step("set up", || {
        setup::setup()?;
        tools::install()?;
        tools::install_minilm()?;
        if options.third_party { tools::install_third_party() } else { Ok(()) }
    })?;
    // One set of features for lints and tests: another would build everything twice.
    let features: &[&str] = if options.remote { &["--features", "kiln-cli/remote"] } else { &[] };
    if !options.no_lint {
        step("formatting", || run(cargo().args(["fmt", "--all", "--check"])))?;
        step("lints", || {
            let lints = ["--all-targets", "--quiet", "--", "-D", "warnings"];
            run(cargo().args(["clippy", "--workspace"]).args(features).args(lints))
        })?;
    }
    let mut totals = Totals::default();
    let ok = step("tests", || {
        let mut command = cargo();
        command.args(["test", "--workspace", "--no-fail-fast"]).args(features).args(&options.rest);
        command.env("KILN_TOOLS", tools::dir()).env("KILN_MINILM", tools::minilm_model()).env("PATH", path_with_tools()?);
        if options.third_party {
            command.env("KILN_THIRD_PARTY", tools::third_party_dir());
        }
        run_seen(&mut command, |line| totals.see(line))
    })?;
    let verdict = if ok { "ok" } else { "FAILED" };
    println!(
        "test result: {verdict}. {} passed; {} failed; {} ignored; {} suites; finished in {:.0}s",
        totals.passed,
        totals.failed,
        totals.ignored,
        totals.suites,
        start.elapsed().as_secs_f64()
    );
    if !ok {
        bail!("tests failed");
    }
    Ok(())
}

/// `PATH` with the assembler and disassembler in front.
fn path_with_tools() -> Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    Ok(env::join_paths(std::iter::once(tools::bin()).chain(env::split_paths(&path)))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_add_up_over_suites() {
        let mut totals = Totals::default();
        for line in [
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.25s",
        ] {
            totals.see(line);
        }
        assert_eq!((totals.suites, totals.passed, totals.failed, totals.ignored), (2, 13, 2, 1));
    }

    #[test]
    fn unknown_arguments_are_refused() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(Options::parse(&words("--thrid-party")).is_err());
        let options = Options::parse(&words("--no-lint --remote -- -p kiln-ir")).unwrap();
        assert!(options.no_lint && options.remote && !options.third_party);
        assert_eq!(options.rest, ["-p", "kiln-ir"]);
    }
}
