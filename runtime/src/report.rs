//! Errors and warnings of launches with the source they are about, where the program has it and the compiler's front end is there to show it.

use std::collections::BTreeSet;

use kiln_ir::signature::{BindError, KernelSignature};

use crate::program::Program;

#[cfg(feature = "jit")]
pub use kiln_compiler::Report;

/// A message with its code.
#[cfg(not(feature = "jit"))]
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Report(String);

/// The report of a launch that cannot be.
#[cfg(feature = "jit")]
pub(crate) fn of_launch(error: &BindError, program: &Program) -> Report {
    let mut diagnostic = kiln_compiler::launch_diagnostic(error);
    let sources = program.sources().unwrap_or_else(|| {
        diagnostic.labels.clear();
        Default::default()
    });
    Report { diagnostics: [diagnostic].into_iter().collect(), sources }
}

/// The report of a launch that cannot be.
#[cfg(not(feature = "jit"))]
pub(crate) fn of_launch(error: &BindError, _: &Program) -> Report {
    let help = error.help.as_ref().map_or(String::new(), |help| format!("\n  help: {help}"));
    Report(format!("error[{}]: {error}{help}", error.code()))
}

/// The warning that launches took a constant from dimensions with all these values.
#[cfg(feature = "jit")]
pub(crate) fn of_many_values(kernel: &KernelSignature, name: &str, values: &BTreeSet<i64>, program: &Program) -> Option<Report> {
    let diagnostics = [kiln_compiler::many_values_warning(kernel, name, values)].into_iter().collect();
    Some(Report { diagnostics, sources: program.sources()? })
}

/// None: nothing is compiled for a new value.
#[cfg(not(feature = "jit"))]
pub(crate) fn of_many_values(_: &KernelSignature, _: &str, _: &BTreeSet<i64>, _: &Program) -> Option<Report> {
    None
}

/// Two reports as one.
#[cfg(feature = "jit")]
pub(crate) fn both(first: Option<Report>, second: Option<Report>) -> Option<Report> {
    match (first, second) {
        (Some(mut first), Some(second)) => {
            first.diagnostics.extend(second.diagnostics);
            Some(first)
        }
        (first, second) => first.or(second),
    }
}

/// Either: nothing warns without the compiler.
#[cfg(not(feature = "jit"))]
pub(crate) fn both(first: Option<Report>, second: Option<Report>) -> Option<Report> {
    first.or(second)
}
