//! What users are told: coded diagnostics with labelled spans, notes and fixes, and the collection a compilation gathers them in.
//! `render` writes them for a terminal, `json` for tools.

use crate::codes::Code;
use crate::span::Span;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The program is refused.
    Error,
    /// The program is accepted, but something about it is probably not meant.
    Warning,
    /// Information.
    Note,
}

impl Severity {
    /// The word shown to users.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// A span of the source with something to say about it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Label {
    /// The span.
    pub span: Span,
    /// What is said; may be empty.
    pub message: String,
    /// Whether this is the place the diagnostic is about (`^^^`), or one that explains it (`---`).
    pub primary: bool,
}

/// A change of the source that fixes the mistake and may be applied by a tool.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Suggestion {
    /// What is replaced; empty to insert.
    pub span: Span,
    /// The new text.
    pub replacement: String,
}

/// Advice, with a change that follows it where there is a mechanical one.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Help {
    /// The advice.
    pub message: String,
    /// The change.
    pub suggestion: Option<Suggestion>,
}

/// One thing to tell the user.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Diagnostic {
    /// Which kind of mistake, from the registry.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// One line, lower case, without a full stop.
    pub message: String,
    /// The places. The first primary one is where the diagnostic stands; launch errors may have none.
    pub labels: Vec<Label>,
    /// More to know.
    pub notes: Vec<String>,
    /// What to do.
    pub helps: Vec<Help>,
}

impl Diagnostic {
    /// A diagnostic without places.
    pub fn new(severity: Severity, code: Code, message: impl Into<String>) -> Self {
        Diagnostic { code, severity, message: message.into(), labels: vec![], notes: vec![], helps: vec![] }
    }

    /// An error without places yet.
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// A warning without places yet.
    pub fn warning(code: Code, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// Adds a place the diagnostic is about.
    pub fn primary(mut self, span: Span, message: impl Into<String>) -> Self {
        self.labels.push(Label { span, message: message.into(), primary: true });
        self
    }

    /// Adds a place that explains it.
    pub fn secondary(mut self, span: Span, message: impl Into<String>) -> Self {
        self.labels.push(Label { span, message: message.into(), primary: false });
        self
    }

    /// Adds something to know.
    pub fn note(mut self, message: impl Into<String>) -> Self {
        self.notes.push(message.into());
        self
    }

    /// Adds something to do.
    pub fn help(mut self, message: impl Into<String>) -> Self {
        self.helps.push(Help { message: message.into(), suggestion: None });
        self
    }

    /// Adds something to do, with the change that does it.
    pub fn suggest(mut self, message: impl Into<String>, span: Span, replacement: impl Into<String>) -> Self {
        let suggestion = Some(Suggestion { span, replacement: replacement.into() });
        self.helps.push(Help { message: message.into(), suggestion });
        self
    }

    /// Where the diagnostic stands: the first primary label, else the first label.
    pub fn span(&self) -> Option<Span> {
        self.labels.iter().find(|l| l.primary).or(self.labels.first()).map(|l| l.span)
    }

    /// Whether it refuses the program.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The diagnostics of a compilation.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// No diagnostics.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.list.push(diagnostic);
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.list.iter().any(Diagnostic::is_error)
    }

    /// Number of errors.
    pub fn error_count(&self) -> usize {
        self.list.iter().filter(|d| d.is_error()).count()
    }

    /// Number of diagnostics.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Orders them by place (those without one come last) and drops repetitions: equal ones, and later errors of one code at one place.
    pub fn finish(&mut self) {
        self.list.sort_by_key(|d| (d.span().is_none(), d.span()));
        let mut seen = std::collections::HashSet::new();
        self.list.retain(|d| seen.insert((d.code, d.span(), d.span().is_none().then(|| d.message.clone()))));
    }

    /// Keeps the first `max`; gives the number of those dropped.
    pub fn truncate(&mut self, max: usize) -> usize {
        let dropped = self.list.len().saturating_sub(max);
        self.list.truncate(max);
        dropped
    }

    /// Makes errors of the warnings that `deny` picks.
    pub fn deny(&mut self, deny: impl Fn(Code) -> bool) {
        for d in &mut self.list {
            if d.severity == Severity::Warning && deny(d.code) {
                d.severity = Severity::Error;
            }
        }
    }

    /// In the order they stand in.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// As a list.
    pub fn into_vec(self) -> Vec<Diagnostic> {
        self.list
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, iter: I) {
        self.list.extend(iter);
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(iter: I) -> Self {
        Diagnostics { list: iter.into_iter().collect() }
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.list.iter()
    }
}
