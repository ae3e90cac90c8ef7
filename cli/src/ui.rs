//! How things are shown: diagnostics, status lines, progress, errors.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kiln_compiler::{CompileError, Report};
use kiln_syntax::render::Color;

use crate::opts::{ColorChoice, Common, MessageFormat};

/// Exit code of a bug in Kiln, as rustc's.
const INTERNAL_ERROR: u8 = 101;

/// Where and how to show things.
pub struct Ui {
    format: MessageFormat,
    color: Color,
    quiet: bool,
}

impl Ui {
    pub fn new(common: &Common) -> Ui {
        let color = match common.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        };
        Ui { format: common.message_format, color: if color { Color::Always } else { Color::Never }, quiet: common.quiet }
    }

    fn paint(&self, ansi: &str, text: &str) -> String {
        if self.color == Color::Always { format!("\x1b[{ansi}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Diagnostics: to standard error for people, to standard output for programs.
    pub fn report(&self, report: &Report) {
        match self.format {
            MessageFormat::Human => self.err(&report.render(self.color)),
            MessageFormat::Json => self.out(&report.json_lines()),
        }
    }

    /// What was asked for, to standard output. A reader that went away is no error.
    pub fn out(&self, text: &str) {
        let _ = std::io::stdout().lock().write_all(text.as_bytes());
    }

    fn err(&self, text: &str) {
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    /// A line about what is going on, in cargo's manner; not for `--quiet`, not among JSON.
    pub fn status(&self, verb: &str, text: &str) {
        if !self.quiet && self.format == MessageFormat::Human {
            self.err(&format!("{} {text}\n", self.paint("1;32", &format!("{verb:>12}"))));
        }
    }

    /// A progress bar, where people see it.
    pub fn progress(&self, steps: u64, what: &str) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr());
        if self.quiet || self.format == MessageFormat::Json || steps < 2 || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        let template = "{msg:>12} [{bar:30}] {pos}/{len} {eta}";
        bar.set_style(ProgressStyle::with_template(template).expect("a valid template").progress_chars("=> "));
        bar.set_message(what.to_owned());
        bar
    }

    /// Whether tables and status lines are wanted.
    pub fn is_human(&self) -> bool {
        self.format == MessageFormat::Human
    }

    /// Shows an error and gives back the exit code for it.
    pub fn fail(&self, error: &anyhow::Error) -> ExitCode {
        let runtime = error.downcast_ref::<kiln::Error>();
        let compile = error.downcast_ref::<CompileError>();
        let report = runtime.and_then(kiln::Error::report).or(match compile {
            Some(CompileError::Refused(report)) => Some(report),
            _ => None,
        });
        if let Some(report) = report {
            self.report(report);
            return ExitCode::FAILURE;
        }
        let internal = runtime.is_some_and(kiln::Error::is_internal) || matches!(compile, Some(CompileError::Ice(_)));
        let text = format!("{error:#}");
        match self.format {
            MessageFormat::Human => {
                // Runtime errors with a code of their own begin with `error[..]`.
                let (head, rest) = match text.strip_prefix("error").and_then(|t| t.split_once(": ")) {
                    Some((code, rest)) if code.starts_with('[') => (format!("error{code}:"), rest.to_owned()),
                    _ => ("error:".to_owned(), text),
                };
                self.err(&format!("{} {rest}\n", self.paint("1;31", &head)));
            }
            MessageFormat::Json => {
                let object = serde_json::json!({ "severity": "error", "message": text, "internal": internal });
                self.out(&format!("{object}\n"));
            }
        }
        if internal { ExitCode::from(INTERNAL_ERROR) } else { ExitCode::FAILURE }
    }
}
