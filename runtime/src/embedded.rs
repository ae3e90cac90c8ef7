//! Programs that are part of the host program's text: what `kernels!` and `include_kernels!` open.

use kiln_compiler::{LoadedFile, ModuleLoader};

use crate::error::Error;
use crate::program::{Program, ProgramOptions};

/// The files that an embedded program uses.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedFiles {
    /// Names and texts.
    pub files: &'static [(&'static str, &'static str)],
    /// `(from, path, number)`: where file `from` says `use path`, file `number` is meant.
    pub uses: &'static [(&'static str, &'static str, usize)],
}

impl EmbeddedFiles {
    pub(crate) fn text(self, name: &str) -> Option<&'static str> {
        self.files.iter().find(|(file, _)| *file == name).map(|(_, text)| *text)
    }
}

impl ModuleLoader for EmbeddedFiles {
    fn load(&self, from: &str, path: &[String]) -> Result<LoadedFile, String> {
        let path = path.join("::");
        let number = self.uses.iter().find(|(f, p, _)| *f == from && *p == path).map(|(_, _, number)| *number);
        let (name, text) =
            number.and_then(|n| self.files.get(n)).ok_or_else(|| format!("`{path}` is not part of the embedded program"))?;
        Ok(LoadedFile { name: (*name).to_owned(), text: (*text).to_owned() })
    }
}

/// Kernels that are part of the host program's text.
#[derive(Clone, Copy, Debug)]
pub struct Embedded {
    /// What messages call the file.
    pub name: &'static str,
    /// Lines of that file above the text.
    pub lines_above: usize,
    /// Characters of its first line in front of the text.
    pub columns_before: usize,
    /// The text.
    pub text: &'static str,
    /// The files it uses.
    pub files: EmbeddedFiles,
}

impl Embedded {
    /// Opens the program.
    ///
    /// # Errors
    /// As [`Program::from_source`].
    pub fn open(&self) -> Result<Program, Error> {
        // Lines and columns of messages are those of the host program's file.
        let text = format!("{}{}{}", "\n".repeat(self.lines_above), " ".repeat(self.columns_before), self.text);
        Program::from_files(self.name, &text, Some(self.files), ProgramOptions::from_env()?)
    }
}
