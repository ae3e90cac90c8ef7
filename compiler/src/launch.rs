//! Errors of launches as diagnostics, with the kernel's source where it is known.

use kiln_ir::signature::BindError;
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
