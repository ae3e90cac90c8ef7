//! Reports in Markdown.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::machine;

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

    /// A report of a bench of ours: the day, the machine with its load, and the command line.
    pub fn of_bench(title: &str, bench: &str) -> Report {
        let mut report = Report::new(&format!("{title}, {}", machine::today()));
        let load = machine::load().map_or_else(String::new, |l| format!(", load {l:.2} at the start"));
        report.paragraph(&format!("Machine: {}{load}.", machine::processor()));
        let command: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
        report.paragraph(&format!("    cargo xtask bench --bench {bench} -- {}", command.join(" ")));
        report
    }

    /// Prints the report, and writes it as `docs/benchmarks/NAME.md` where there is a name.
    ///
    /// # Errors
    /// Where that cannot be written.
    pub fn finish(&self, save: Option<&str>) -> Result<(), String> {
        println!("{}", self.text());
        if let Some(name) = save {
            let path = self.save(name).map_err(|e| e.to_string())?;
            println!("written to {}", path.display());
        }
        Ok(())
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
