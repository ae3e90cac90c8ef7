//! `kiln explain`: the long text of an error code.

use std::process::ExitCode;

use anyhow::{Result, bail};
use kiln_syntax::codes;

use crate::opts::ExplainOptions;
use crate::suggest::closest;
use crate::ui::Ui;

/// Shows one code, or the list of all.
pub fn run(options: &ExplainOptions, ui: &Ui) -> Result<ExitCode> {
    if options.list {
        for entry in codes::all() {
            ui.out(&format!("{}  {}\n", entry.code, entry.title));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let code = options.code.as_deref().unwrap_or_default();
    match codes::find(code) {
        Some(entry) => {
            ui.out(&format!("{}: {}\n\n{}\n", entry.code, entry.title, entry.explanation.trim()));
            Ok(ExitCode::SUCCESS)
        }
        None => {
            let hint =
                closest(code, codes::all().map(|e| e.code.as_str())).map_or(String::new(), |c| format!("; did you mean `{c}`?"));
            bail!("there is no error code `{code}`{hint} (`kiln explain --list` lists them)")
        }
    }
}
