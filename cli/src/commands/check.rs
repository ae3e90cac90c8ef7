//! `kiln check`: every item of kernel files.

use std::process::ExitCode;

use anyhow::{Result, bail};
use kiln_compiler::Session;
use kiln_syntax::codes;

use crate::opts::CheckOptions;
use crate::ui::Ui;

/// Checks all files, and reports all of them before it fails.
pub fn run(options: &CheckOptions, ui: &Ui) -> Result<ExitCode> {
    for code in &options.deny {
        if code != "warnings" && codes::find(code).is_none() {
            bail!("`--deny {code}`: there is no such code; `kiln explain --list` lists them, `--deny warnings` means all");
        }
    }
    let (mut errors, mut warnings) = (0, 0);
    for file in &options.files {
        let mut report = Session::open(file)?.check()?;
        report.diagnostics.deny(|code| options.deny.iter().any(|d| d == "warnings" || d.eq_ignore_ascii_case(code.as_str())));
        errors += report.diagnostics.error_count();
        warnings += report.diagnostics.len() - report.diagnostics.error_count();
        ui.report(&report);
    }
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    if errors > 0 {
        let extra = if warnings > 0 { format!(", {}", plural(warnings, "warning")) } else { String::new() };
        if ui.is_human() {
            bail!("{} found{extra}; `kiln explain CODE` says more about one", plural(errors, "error"));
        }
        return Ok(ExitCode::FAILURE);
    }
    let files = plural(options.files.len(), "file");
    let extra = if warnings > 0 { format!(" with {}", plural(warnings, "warning")) } else { String::new() };
    ui.status("Checked", &format!("{files}{extra}"));
    Ok(ExitCode::SUCCESS)
}
