//! Reports in Markdown.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A report under way.
#[derive(Debug, Default)]
pub struct Report {
    text: String,
}

impl Report {
    /// A report with a heading.
    pub fn new(title: &str) -> Report {
        Report { text: format!("# {title}\n") }
    }

    /// Adds a paragraph.
    pub fn paragraph(&mut self, text: &str) {
        let _ = write!(self.text, "\n{text}\n");
    }

    /// Adds a section with a table.
    pub fn table(&mut self, title: &str, head: &[&str], rows: &[Vec<String>]) {
        let _ = write!(self.text, "\n## {title}\n\n| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
        for row in rows {
            let _ = writeln!(self.text, "| {} |", row.join(" | "));
        }
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Writes the report as `docs/benchmarks/NAME.md`.
    ///
    /// # Errors
    /// Where that cannot be written.
    pub fn save(&self, name: &str) -> std::io::Result<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{name}.md"));
        std::fs::write(&path, &self.text)?;
        Ok(path)
    }
}
