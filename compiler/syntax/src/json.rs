//! Diagnostics for tools: plain data with lines and columns beside the byte offsets, to be written as JSON.

use crate::diagnostic::{Diagnostic, Severity};
use crate::render::{Color, render};
use crate::source::{LineCol, SourceMap};
use crate::span::Span;
use serde::Serialize;

/// A diagnostic. `rendered` is what a terminal would show, without colours.
#[derive(Serialize, Clone, Debug)]
pub struct JsonDiagnostic {
    /// The code, such as `K0301`.
    pub code: &'static str,
    /// `error`, `warning` or `note`.
    pub severity: Severity,
    /// The message.
    pub message: String,
    /// The labels; the primary ones are what the diagnostic is about.
    pub labels: Vec<JsonLabel>,
    /// More to know.
    pub notes: Vec<String>,
    /// What to do.
    pub helps: Vec<JsonHelp>,
    /// The diagnostic as text.
    pub rendered: String,
}

/// A label.
#[derive(Serialize, Clone, Debug)]
pub struct JsonLabel {
    /// Where.
    #[serde(flatten)]
    pub place: JsonSpan,
    /// What is said.
    pub message: String,
    /// Whether the diagnostic is about this place.
    pub primary: bool,
}

/// Advice.
#[derive(Serialize, Clone, Debug)]
pub struct JsonHelp {
    /// The advice.
    pub message: String,
    /// The change that follows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<JsonSuggestion>,
}

/// A change of the source.
#[derive(Serialize, Clone, Debug)]
pub struct JsonSuggestion {
    /// What is replaced.
    #[serde(flatten)]
    pub place: JsonSpan,
    /// The new text.
    pub replacement: String,
}

/// A place in a file.
#[derive(Serialize, Clone, Debug)]
pub struct JsonSpan {
    /// The file's name.
    pub file: String,
    /// Offset of the first byte.
    pub byte_start: u32,
    /// Offset behind the last byte.
    pub byte_end: u32,
    /// Line and column of the start.
    pub start: LineCol,
    /// Line and column of the end (behind the last character).
    pub end: LineCol,
}

fn place(sources: &SourceMap, span: Span) -> Option<JsonSpan> {
    let file = sources.get(span.file)?;
    Some(JsonSpan {
        file: file.name().to_string(),
        byte_start: span.lo,
        byte_end: span.hi,
        start: file.line_col(span.lo),
        end: file.line_col(span.hi),
    })
}

/// A diagnostic as data. Labels of files that `sources` does not have are left out.
pub fn to_json(diagnostic: &Diagnostic, sources: &SourceMap) -> JsonDiagnostic {
    let labels = diagnostic
        .labels
        .iter()
        .filter_map(|l| Some(JsonLabel { place: place(sources, l.span)?, message: l.message.clone(), primary: l.primary }));
    let helps = diagnostic.helps.iter().map(|h| {
        let suggestion = h
            .suggestion
            .as_ref()
            .and_then(|s| Some(JsonSuggestion { place: place(sources, s.span)?, replacement: s.replacement.clone() }));
        JsonHelp { message: h.message.clone(), suggestion }
    });
    JsonDiagnostic {
        code: diagnostic.code.as_str(),
        severity: diagnostic.severity,
        message: diagnostic.message.clone(),
        labels: labels.collect(),
        notes: diagnostic.notes.clone(),
        helps: helps.collect(),
        rendered: render(diagnostic, sources, Color::Never),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;

    #[test]
    fn has_places_and_fixes() {
        let mut sources = SourceMap::new();
        let id = sources.add("a.kiln", "const A: i32 = 1\n");
        let d = Diagnostic::error(codes::MISSING_SEMICOLON, "missing `;`").primary(Span::new(id, 16, 16), "here").suggest(
            "insert it",
            Span::new(id, 16, 16),
            ";",
        );
        let text = serde_json::to_string_pretty(&to_json(&d, &sources)).expect("plain data");
        insta::assert_snapshot!(text);
    }
}
