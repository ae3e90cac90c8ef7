//! What people look at and what clusters run: the report in a headless browser, and the Ray driver on a local cluster. Each is shown as ignored where the browser
//! (`cargo xtask setup --browser`) or Ray (`cargo xtask setup --ray`) is not installed.

mod browser;
mod ray;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::{Arguments, Trial};

/// A directory for one test, with a cache in it.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn make() -> Place {
        Place(tempfile::tempdir().expect("a temporary directory"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("writable");
    }

    /// A command that runs here, with a cache of its own.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.0.path()).env("KILN_CACHE_DIR", self.path("cache")).env("KILN_NUM_THREADS", "2");
        for variable in ["KILN_DEVICE", "KILN_TUNE_DIR", "NO_COLOR"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs the binary, which must succeed.
    pub fn kiln(&self, args: &[&str]) -> Result<Output, String> {
        let output = self.command(env!("CARGO_BIN_EXE_kiln")).args(args).output().map_err(|e| e.to_string())?;
        if output.status.success() { Ok(output) } else { Err(format!("kiln {}: {}", args.join(" "), text(&output.stderr))) }
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository").to_owned()
}

fn main() {
    let arguments = Arguments::from_args();
    let (browser, ray) = (browser::find(), ray::find());
    let report = browser.clone();
    let trials = vec![
        Trial::test("report_in_a_browser", move || browser::measured(&report.unwrap_or_default()).map_err(Into::into))
            .with_ignored_flag(browser.is_none()),
        {
            let browser = browser.clone();
            Trial::test("prediction_in_a_browser", move || {
                browser::predicted(&browser.clone().unwrap_or_default()).map_err(Into::into)
            })
            .with_ignored_flag(browser::find().is_none())
        },
        Trial::test("ray_shards_survive_a_killed_worker", {
            let ray = ray.clone();
            move || ray::survives(&ray.unwrap_or_default()).map_err(Into::into)
        })
        .with_ignored_flag(ray.is_none()),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}
