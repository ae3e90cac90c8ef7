//! `kiln fmt`: formats kernel files in place.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use kiln_compiler::{CompileError, Report};
use kiln_syntax::fmt::{FormatError, format};
use kiln_syntax::source::SourceMap;

use crate::opts::FmtOptions;
use crate::ui::Ui;

/// Formats all files; those that do not parse are reported and left alone.
pub fn run(options: &FmtOptions, ui: &Ui) -> Result<ExitCode> {
    if options.paths.iter().any(|p| p == Path::new("-")) {
        if options.paths.len() > 1 {
            bail!("`-` stands alone");
        }
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        let formatted = formatted("<stdin>", &text)?;
        if options.check {
            return Ok(if formatted == text { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        ui.out(&formatted);
        return Ok(ExitCode::SUCCESS);
    }
    let mut files = vec![];
    for path in &options.paths {
        collect(path, true, &mut files)?;
    }
    let (mut changed, mut failed) = (0, false);
    for file in &files {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
        let new = match formatted(&file.to_string_lossy(), &text) {
            Ok(new) => new,
            Err(error) => {
                let _ = ui.fail(&error);
                failed = true;
                continue;
            }
        };
        if new == text {
            continue;
        }
        changed += 1;
        if options.check {
            ui.out(&format!("{}\n", file.display()));
        } else {
            replace(file, &new)?;
        }
    }
    if options.check && changed > 0 {
        ui.status("Unformatted", &format!("{changed} of {} files", files.len()));
        return Ok(ExitCode::FAILURE);
    }
    ui.status(if options.check { "Checked" } else { "Formatted" }, &format!("{} files, {changed} changed", files.len()));
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The text, formatted; formatting it again changes nothing.
fn formatted(name: &str, text: &str) -> Result<String> {
    let mut sources = SourceMap::new();
    let file = sources.add(name, text);
    format(&sources, file).map_err(|error| match error {
        FormatError::Syntax(diagnostics) => CompileError::Refused(Report { diagnostics, sources: Arc::new(sources) }).into(),
        other => anyhow::anyhow!("{name}: {other}"),
    })
}

/// Writes beside the file first, so that a failure leaves the old text.
fn replace(file: &Path, text: &str) -> Result<()> {
    let fails = || format!("cannot write `{}`", file.display());
    let mut name = file.file_name().context("a file has a name")?.to_owned();
    name.push(".kiln-fmt");
    let beside = file.with_file_name(name);
    std::fs::write(&beside, text).with_context(fails)?;
    std::fs::rename(&beside, file).with_context(fails)
}

/// Kernel files at or below a path.
fn collect(path: &Path, named: bool, files: &mut Vec<PathBuf>) -> Result<()> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let mut inner = entries.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>()?;
        inner.sort();
        for entry in inner {
            let hidden = entry.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.') || n == "target");
            // Links below a directory are not followed: they may lead in circles.
            if !hidden && !entry.is_symlink() {
                collect(&entry, false, files)?;
            }
        }
    } else if path.extension().is_some_and(|e| e == "kiln") {
        files.push(path.to_owned());
    } else if named {
        if !path.exists() {
            bail!("there is no `{}`", path.display());
        }
        bail!("`{}` is neither a .kiln file nor a directory", path.display());
    }
    Ok(())
}
