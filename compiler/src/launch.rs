//! Errors and warnings of launches as diagnostics, with the kernel's source where it is known.

use std::collections::BTreeSet;

use kiln_ir::signature::{BindError, KernelSignature};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;

use crate::report::span;

/// The diagnostic of a launch that cannot be.
pub fn launch_diagnostic(error: &BindError) -> Diagnostic {
    let code = codes::find(error.code()).map_or(codes::LAUNCH_INTERNAL, |entry| entry.code);
    let mut diagnostic = Diagnostic::error(code, error.to_string());
    for (i, (loc, text)) in error.labels.iter().enumerate() {
        let Some(span) = span(*loc) else { continue };
        diagnostic = if i == 0 { diagnostic.primary(span, text.clone()) } else { diagnostic.secondary(span, text.clone()) };
    }
    match &error.help {
        Some(help) => diagnostic.help(help.clone()),
        None => diagnostic,
    }
}

/// The warning that launches took a constant from dimensions with all these values.
pub fn many_values_warning(kernel: &KernelSignature, constant: &str, values: &BTreeSet<i64>) -> Diagnostic {
    let shown: Vec<String> = values.iter().take(4).map(i64::to_string).collect();
    let message =
        format!("`{}` was compiled for {} values of `{constant}` ({}, ..)", kernel.name, values.len(), shown.join(", "));
    let diagnostic = Diagnostic::warning(codes::MANY_VALUES, message);
    let help = format!("where `{constant}` changes from launch to launch, make it a dimension: `..+BLOCK` masks what lies over");
    match span(kernel.loc) {
        Some(at) => diagnostic.primary(at, format!("`{constant}` is taken from the tensors, and is part of the code")).help(help),
        None => diagnostic.help(help),
    }
}
