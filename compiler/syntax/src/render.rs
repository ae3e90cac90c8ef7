//! Diagnostics as text for a terminal: the source lines with their labels under them, then notes and fixes.

use crate::diagnostic::{Diagnostic, Diagnostics, Label, Severity, Suggestion};
use crate::source::{SourceFile, SourceMap};
use crate::span::FileId;
use std::fmt::Write;

/// Whether text is coloured with ANSI escapes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Color {
    /// Plain text.
    #[default]
    Never,
    /// ANSI escapes.
    Always,
}

#[derive(Clone, Copy)]
enum Paint {
    Severity(Severity),
    Frame,
    Bold,
    Fix,
}

impl Color {
    fn paint(self, paint: Paint, text: &str) -> String {
        if self == Color::Never || text.is_empty() {
            return text.to_string();
        }
        let code = match paint {
            Paint::Severity(Severity::Error) => "1;31",
            Paint::Severity(Severity::Warning) => "1;33",
            Paint::Severity(Severity::Note) => "1;36",
            Paint::Frame => "1;34",
            Paint::Bold => "1",
            Paint::Fix => "1;32",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// All diagnostics, in their order, an empty line behind each.
pub fn render_all(diagnostics: &Diagnostics, sources: &SourceMap, color: Color) -> String {
    diagnostics.iter().map(|d| render(d, sources, color) + "\n").collect()
}

/// One diagnostic. Ends in a newline.
pub fn render(diagnostic: &Diagnostic, sources: &SourceMap, color: Color) -> String {
    let mut out = String::new();
    let head = format!("{}[{}]", diagnostic.severity.word(), diagnostic.code);
    let severity = Paint::Severity(diagnostic.severity);
    let message = format!(": {}", diagnostic.message);
    line(&mut out, &[&color.paint(severity, &head), &color.paint(Paint::Bold, &message)]);

    let labels: Vec<&Label> = diagnostic.labels.iter().filter(|l| sources.get(l.span.file).is_some()).collect();
    let fixes = diagnostic.helps.iter().filter_map(|h| h.suggestion.as_ref()).map(|s| s.span);
    let lines = labels.iter().map(|l| l.span).chain(fixes).filter(|s| sources.get(s.file).is_some());
    let width = lines.map(|s| (sources.file(s.file).line_index(s.lo) + 1).to_string().len()).max().unwrap_or(1);
    let frame = Frame { color, severity, width };

    let mut files: Vec<FileId> = diagnostic.span().into_iter().map(|s| s.file).collect();
    files.extend(labels.iter().map(|l| l.span.file));
    let mut shown = vec![];
    for id in files.into_iter().filter(|id| sources.get(*id).is_some()) {
        if shown.contains(&id) {
            continue;
        }
        let here: Vec<&Label> = labels.iter().copied().filter(|l| l.span.file == id).collect();
        let place = here.iter().find(|l| l.primary).or(here.first()).map(|l| sources.place(l.span));
        let arrow = if shown.is_empty() { "-->" } else { ":::" };
        let arrow = color.paint(Paint::Frame, &format!("{:width$}{arrow}", ""));
        line(&mut out, &[&arrow, " ", &place.unwrap_or_default()]);
        frame.snippet(&mut out, sources.file(id), &here);
        shown.push(id);
    }
    let advice = diagnostic.notes.len() + diagnostic.helps.len();
    if !shown.is_empty() && advice > 0 {
        line(&mut out, &[&frame.gutter(None)]);
    }
    for note in &diagnostic.notes {
        frame.advice(&mut out, "note", note);
    }
    for help in &diagnostic.helps {
        frame.advice(&mut out, "help", &help.message);
        if let Some(suggestion) = &help.suggestion {
            frame.fix(&mut out, sources, suggestion);
        }
    }
    out
}

/// Writes the parts as one line, without blanks at its end.
fn line(out: &mut String, parts: &[&str]) {
    let start = out.len();
    for part in parts {
        out.push_str(part);
    }
    out.truncate(start + out[start..].trim_end().len());
    out.push('\n');
}

/// A label on one line: columns (in characters, from 0) and what is said.
struct Mark<'l> {
    from: usize,
    to: usize,
    primary: bool,
    message: &'l str,
}

/// The part of a line that is shown: all of it, or of a very long one what is around its marks.
struct Window {
    /// Columns left out in front.
    skipped: usize,
    text: String,
}

impl Window {
    const WIDTH: usize = 160;
    const DOTS: &'static str = "...";

    fn around(marks: &[Mark<'_>], text: &str) -> Window {
        let text = expand(text);
        let len = text.chars().count();
        if len <= Self::WIDTH {
            return Window { skipped: 0, text };
        }
        let first = marks.iter().map(|m| m.from).min().unwrap_or(0);
        let skipped = first.saturating_sub(Self::WIDTH / 2);
        let mut shown: String = text.chars().skip(skipped).take(Self::WIDTH).collect();
        if skipped > 0 {
            shown.insert_str(0, Self::DOTS);
        }
        if len > skipped + Self::WIDTH {
            shown.push_str(Self::DOTS);
        }
        Window { skipped, text: shown }
    }

    /// Where a column of the line is shown.
    fn column(&self, column: usize) -> usize {
        let dots = if self.skipped > 0 { Self::DOTS.len() } else { 0 };
        column.saturating_sub(self.skipped).min(Self::WIDTH) + dots
    }
}

/// How the lines of one diagnostic are framed.
struct Frame {
    color: Color,
    severity: Paint,
    /// Width of the line numbers.
    width: usize,
}

impl Frame {
    fn gutter(&self, number: Option<u32>) -> String {
        let text = match number {
            Some(n) => format!("{n:>width$} | ", width = self.width),
            None => format!("{:width$} | ", "", width = self.width),
        };
        self.color.paint(Paint::Frame, &text)
    }

    fn advice(&self, out: &mut String, word: &str, text: &str) {
        let mut lines = text.lines();
        let lead = self.color.paint(Paint::Frame, &format!("{:width$} = ", "", width = self.width));
        let word = self.color.paint(Paint::Bold, &format!("{word}: "));
        line(out, &[&lead, &word, lines.next().unwrap_or("")]);
        for more in lines {
            line(out, &[&" ".repeat(self.width + 9), more]);
        }
    }

    /// The labelled lines of one file.
    fn snippet(&self, out: &mut String, file: &SourceFile, labels: &[&Label]) {
        let mut lines: Vec<u32> = labels.iter().map(|l| file.line_index(l.span.lo)).collect();
        lines.sort_unstable();
        lines.dedup();
        line(out, &[&self.gutter(None)]);
        let mut last: Option<u32> = None;
        for index in lines {
            match last {
                Some(last) if index == last + 2 => self.source(out, file, last + 1),
                Some(last) if index > last + 2 => line(out, &[&self.color.paint(Paint::Frame, "...")]),
                _ => {}
            }
            let text = file.line_text(index);
            let start = file.line_start(index);
            let column = |offset: u32| -> usize {
                let bytes = (offset.saturating_sub(start) as usize).min(text.len());
                let before = (0..=bytes).rev().find_map(|at| text.get(..at)).unwrap_or("");
                before.chars().map(char_width).sum()
            };
            let here = labels.iter().filter(|l| file.line_index(l.span.lo) == index);
            let mut marks: Vec<Mark<'_>> = here
                .map(|l| {
                    let from = column(l.span.lo);
                    let to = column(l.span.hi).max(from + 1);
                    Mark { from, to, primary: l.primary, message: &l.message }
                })
                .collect();
            marks.sort_by_key(|m| (m.from, m.to));
            let shown = Window::around(&marks, text);
            for mark in &mut marks {
                mark.from = shown.column(mark.from);
                mark.to = shown.column(mark.to).max(mark.from + 1);
            }
            line(out, &[&self.gutter(Some(index + 1)), &shown.text]);
            self.marks(out, &marks);
            last = Some(index);
        }
    }

    fn source(&self, out: &mut String, file: &SourceFile, index: u32) {
        let shown = Window::around(&[], file.line_text(index));
        line(out, &[&self.gutter(Some(index + 1)), &shown.text]);
    }

    /// The rows under a source line: `^^^` and `---` with the last message beside them, the others below, right to left.
    fn marks(&self, out: &mut String, marks: &[Mark<'_>]) {
        let end = marks.iter().map(|m| m.to).max().unwrap_or(0);
        let mut row: Vec<(char, bool)> = vec![(' ', false); end];
        // Primary marks are drawn over secondary ones.
        for primary in [false, true] {
            for mark in marks.iter().filter(|m| m.primary == primary) {
                row[mark.from..mark.to].fill((if primary { '^' } else { '-' }, primary));
            }
        }
        let beside = marks.iter().rposition(|m| m.to == end && !m.message.is_empty());
        let mut below: Vec<&Mark<'_>> = vec![];
        for (i, mark) in marks.iter().enumerate() {
            if Some(i) != beside && !mark.message.is_empty() {
                below.push(mark);
            }
        }
        // A message beside the marks must not cover another mark that starts at the same place or behind it.
        let beside = beside.map(|i| &marks[i]);
        let drawn = self.row(&row);
        let said = beside.map_or(String::new(), |m| format!(" {}", self.paint_mark(m.primary, m.message)));
        line(out, &[&self.gutter(None), &drawn, &said]);
        while let Some(mark) = below.pop() {
            let bars = |below: &[&Mark<'_>], up_to: usize| {
                let mut row = vec![(' ', false); up_to];
                for m in below.iter().filter(|m| m.from < up_to) {
                    row[m.from] = ('|', m.primary);
                }
                self.row(&row)
            };
            if below.is_empty() || below.iter().all(|m| m.from < mark.from) {
                let mut all = below.clone();
                all.push(mark);
                line(out, &[&self.gutter(None), &bars(&all, mark.from + 1)]);
            }
            let message = self.paint_mark(mark.primary, mark.message);
            line(out, &[&self.gutter(None), &bars(&below, mark.from), &message]);
        }
    }

    fn paint_mark(&self, primary: bool, text: &str) -> String {
        self.color.paint(if primary { self.severity } else { Paint::Frame }, text)
    }

    fn row(&self, row: &[(char, bool)]) -> String {
        let mut out = String::new();
        for part in row.chunk_by(|a, b| a == b) {
            let text: String = part.iter().map(|(ch, _)| ch).collect();
            let blank = part[0].0 == ' ';
            out.push_str(&if blank { text } else { self.paint_mark(part[0].1, &text) });
        }
        out
    }

    /// The line as it reads with the suggestion.
    fn fix(&self, out: &mut String, sources: &SourceMap, suggestion: &Suggestion) {
        let Some(file) = sources.get(suggestion.span.file) else {
            return;
        };
        let index = file.line_index(suggestion.span.lo);
        let (text, start) = (file.line_text(index), file.line_start(index) as usize);
        let (lo, hi) = (suggestion.span.lo as usize - start, suggestion.span.hi as usize - start);
        // A change across lines is left to tools, and a very long line is not shown again.
        let (Some(before), Some(after)) = (text.get(..lo), text.get(hi..)) else {
            return;
        };
        if suggestion.replacement.contains('\n') || text.len() > Window::WIDTH {
            return;
        }
        let number = self.gutter(Some(index + 1));
        let new = self.color.paint(Paint::Fix, &suggestion.replacement);
        line(out, &[&self.gutter(None)]);
        let after =
            if suggestion.replacement.is_empty() && (lo == 0 || before.ends_with(' ')) { after.trim_start() } else { after };
        line(out, &[&number, &expand(before), &new, &expand(after)]);
        let mark = if lo == hi { "+" } else { "~" }.repeat(suggestion.replacement.chars().count());
        if !mark.is_empty() {
            let mut pad = String::new();
            let _ = write!(pad, "{:width$}", "", width = before.chars().map(char_width).sum());
            line(out, &[&self.gutter(None), &pad, &self.color.paint(Paint::Fix, &mark)]);
        }
    }
}

/// Columns a character takes.
fn char_width(ch: char) -> usize {
    if ch == '\t' { 4 } else { 1 }
}

/// The text with tabs as blanks and other control characters visible.
fn expand(text: &str) -> String {
    text.chars()
        .map(|ch| match ch {
            '\t' => "    ".to_string(),
            ch if ch.is_control() => "\u{fffd}".to_string(),
            ch => ch.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes;
    use crate::span::Span;

    fn setup() -> (SourceMap, FileId) {
        let mut sources = SourceMap::new();
        let id = sources.add("a.kiln", "fn f(x: f32) -> f32 {\n\tlet é = x +* x;\n\n\n    é\n}\n");
        (sources, id)
    }

    #[test]
    fn several_labels_notes_and_fixes() {
        let (sources, id) = setup();
        let d = Diagnostic::error(codes::UNEXPECTED_TOKEN, "something is wrong")
            .primary(Span::new(id, 35, 36), "this star")
            .secondary(Span::new(id, 34, 35), "after this plus")
            .secondary(Span::new(id, 32, 33), "left operand")
            .secondary(Span::new(id, 46, 48), "used here")
            .note("two\nlines")
            .suggest("remove it", Span::new(id, 35, 36), "")
            .suggest("insert `y`", Span::new(id, 35, 35), "y ");
        insta::assert_snapshot!(render(&d, &sources, Color::Never));
    }

    #[test]
    fn colors_change_no_text() {
        let (sources, id) = setup();
        let d = Diagnostic::warning(codes::UNEXPECTED_TOKEN, "odd").primary(Span::new(id, 3, 4), "here").help("do");
        let colored = render(&d, &sources, Color::Always);
        let mut plain = String::new();
        let mut rest = colored.as_str();
        while let Some((before, after)) = rest.split_once("\x1b[") {
            plain.push_str(before);
            rest = after.split_once('m').expect("an escape ends in m").1;
        }
        plain.push_str(rest);
        assert!(colored.contains("\x1b[1;33mwarning"));
        assert_eq!(plain.replace(" \n", "\n"), render(&d, &sources, Color::Never));
    }

    #[test]
    fn no_place_and_foreign_spans() {
        let (sources, _) = setup();
        let d = Diagnostic::error(codes::UNEXPECTED_TOKEN, "no place").note("only a note");
        assert_eq!(render(&d, &sources, Color::Never), "error[K0100]: no place\n  = note: only a note\n");
        let d = d.primary(Span::new(FileId(7), 0, 1), "nowhere");
        assert_eq!(render(&d, &sources, Color::Never), "error[K0100]: no place\n  = note: only a note\n");
    }
}
