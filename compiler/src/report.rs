//! Diagnostics with the sources they point into: what users see.

use std::fmt;
use std::sync::Arc;

use kiln_ir::SrcLoc;
use kiln_syntax::diagnostic::Diagnostics;
use kiln_syntax::render::{Color, render_all};
use kiln_syntax::source::SourceMap;
use kiln_syntax::span::{FileId, Span};

/// Diagnostics and their sources.
#[derive(Clone, Debug)]
pub struct Report {
    /// What there is to say.
    pub diagnostics: Diagnostics,
    /// The texts that spans point into.
    pub sources: Arc<SourceMap>,
}

impl Report {
    /// As text for a terminal.
    pub fn render(&self, color: Color) -> String {
        render_all(&self.diagnostics, &self.sources, color)
    }

    /// As one JSON object a line.
    pub fn json_lines(&self) -> String {
        self.diagnostics
            .iter()
            .map(|d| serde_json::to_string(&kiln_syntax::json::to_json(d, &self.sources)).expect("plain data") + "\n")
            .collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.render(Color::Never).trim_end())
    }
}

impl std::error::Error for Report {}

/// The span of a place in the IR, if it is known.
pub(crate) fn span(loc: SrcLoc) -> Option<Span> {
    loc.is_known().then_some(Span { file: FileId(loc.file), lo: loc.lo, hi: loc.hi })
}
