//! The texts of a compilation, and lines and columns in them.

use crate::span::{FileId, Span};
use std::sync::Arc;

/// One source file: its name as shown to users, its text, and where its lines start.
#[derive(Clone, Debug)]
pub struct SourceFile {
    name: Arc<str>,
    text: Arc<str>,
    line_starts: Vec<u32>,
}

/// A place in a text as users count it: both from 1, the column in characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
pub struct LineCol {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub col: u32,
}

impl SourceFile {
    fn new(name: Arc<str>, text: Arc<str>) -> Self {
        let mut line_starts = vec![0];
        line_starts.extend(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i as u32 + 1));
        SourceFile { name, text, line_starts }
    }

    /// The name as shown to users, mostly a path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The whole text, shared.
    pub fn shared_text(&self) -> Arc<str> {
        self.text.clone()
    }

    /// Number of lines; a text that ends in a newline has an empty last line.
    pub fn line_count(&self) -> u32 {
        self.line_starts.len() as u32
    }

    /// Line (from 0) that holds the byte `offset`; an offset past the end counts as the end.
    pub fn line_index(&self, offset: u32) -> u32 {
        self.line_starts.partition_point(|start| *start <= offset) as u32 - 1
    }

    /// The text of a line (from 0), without its line end; empty where there is no such line.
    pub fn line_text(&self, index: u32) -> &str {
        let Some(&start) = self.line_starts.get(index as usize) else {
            return "";
        };
        let end = self.line_starts.get(index as usize + 1).map_or(self.text.len(), |next| *next as usize);
        self.text[start as usize..end].trim_end_matches(['\n', '\r'])
    }

    /// Offset of the first byte of a line (from 0).
    pub fn line_start(&self, index: u32) -> u32 {
        self.line_starts.get(index as usize).copied().unwrap_or(self.text.len() as u32)
    }

    /// Line and column of the byte `offset`. An offset inside a character counts as that character.
    pub fn line_col(&self, offset: u32) -> LineCol {
        let offset = offset.min(self.text.len() as u32);
        let line = self.line_index(offset);
        let start = self.line_start(line) as usize;
        let col = self.text[start..].char_indices().take_while(|(i, _)| start + i < offset as usize).count();
        LineCol { line: line + 1, col: col as u32 + 1 }
    }
}

/// All the files of a compilation. Files are added and never removed, so a [`FileId`] stays good.
#[derive(Clone, Debug, Default)]
pub struct SourceMap {
    files: Vec<SourceFile>,
}

impl SourceMap {
    /// A map without files.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file. The text must be shorter than 4 GiB.
    pub fn add(&mut self, name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> FileId {
        let text = text.into();
        assert!(u32::try_from(text.len()).is_ok(), "a source file must be shorter than 4 GiB");
        let id = FileId(self.files.len() as u32);
        self.files.push(SourceFile::new(name.into(), text));
        id
    }

    /// The file of an id that this map gave out.
    ///
    /// # Panics
    /// Where the id comes from another map and is out of range here.
    pub fn file(&self, id: FileId) -> &SourceFile {
        &self.files[id.0 as usize]
    }

    /// The file of an id, if this map has one.
    pub fn get(&self, id: FileId) -> Option<&SourceFile> {
        self.files.get(id.0 as usize)
    }

    /// Every file with its id, in the order they were added.
    pub fn files(&self) -> impl Iterator<Item = (FileId, &SourceFile)> {
        self.files.iter().enumerate().map(|(i, f)| (FileId(i as u32), f))
    }

    /// The text under a span; empty where the span does not fit the file (spans that were made up).
    pub fn snippet(&self, span: Span) -> &str {
        self.get(span.file).and_then(|f| f.text().get(span.range())).unwrap_or("")
    }

    /// Line and column of the start of a span.
    pub fn line_col(&self, span: Span) -> LineCol {
        self.file(span.file).line_col(span.lo)
    }

    /// `name:line:column` of the start of a span.
    pub fn place(&self, span: Span) -> String {
        let LineCol { line, col } = self.line_col(span);
        format!("{}:{line}:{col}", self.file(span.file).name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters() {
        let mut map = SourceMap::new();
        let id = map.add("a.kiln", "let é = 1;\r\n\nx\n");
        let file = map.file(id);
        assert_eq!(file.line_count(), 4);
        assert_eq!(file.line_text(0), "let é = 1;");
        assert_eq!(file.line_text(3), "");
        assert_eq!(file.line_col(0), LineCol { line: 1, col: 1 });
        assert_eq!(file.line_col(6), LineCol { line: 1, col: 6 }); // behind the two bytes of é
        assert_eq!(file.line_col(14), LineCol { line: 3, col: 1 });
        assert_eq!(file.line_col(999), LineCol { line: 4, col: 1 });
        assert_eq!(map.place(Span::new(id, 14, 15)), "a.kiln:3:1");
        assert_eq!(map.snippet(Span::new(id, 4, 6)), "é");
        assert_eq!(map.snippet(Span::new(id, 5, 6)), ""); // cuts a character
    }
}
