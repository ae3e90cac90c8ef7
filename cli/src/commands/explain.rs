//! `kiln explain`: the long text of an error code, or why a kernel is as fast as it is.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use kiln_syntax::codes;

use super::explain_kernel;
use crate::opts::ExplainOptions;
use crate::suggest::closest;
use crate::ui::Ui;

/// Shows one code, the list of all, or what is known of kernels.
pub fn run(options: &ExplainOptions, ui: &Ui) -> Result<ExitCode> {
    if options.list {
        for entry in codes::all() {
            ui.out(&format!("{}  {}\n", entry.code, entry.title));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let what = options.what.as_deref().unwrap_or_default();
    if let Some(entry) = codes::find(what) {
        ui.out(&format!("{}: {}\n\n{}\n", entry.code, entry.title, entry.explanation.trim()));
        return Ok(ExitCode::SUCCESS);
    }
    if Path::new(what).extension().is_some() || Path::new(what).exists() {
        return explain_kernel::run(options, what, ui);
    }
    let hint = closest(what, codes::all().map(|e| e.code.as_str())).map_or(String::new(), |c| format!("; did you mean `{c}`?"));
    bail!("there is no error code `{what}`{hint} (`kiln explain --list` lists them)")
}
