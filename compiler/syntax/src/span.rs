//! Where something stands in the source: a file and a range of bytes.

use serde::Serialize;
use std::fmt;

/// Names one file of a [`SourceMap`](crate::source::SourceMap).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize)]
pub struct FileId(pub u32);

/// A range of bytes `lo..hi` of one file. Every AST node, token and label carries one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// Offset of the first byte.
    pub lo: u32,
    /// Offset behind the last byte; equal to `lo` for a place between two characters.
    pub hi: u32,
}

impl Span {
    /// The bytes `lo..hi` of `file`.
    pub fn new(file: FileId, lo: usize, hi: usize) -> Self {
        debug_assert!(lo <= hi);
        Span { file, lo: lo as u32, hi: hi as u32 }
    }

    /// The smallest span that covers both. Both must be of one file; of two files, `self` stays.
    pub fn merge(self, other: Span) -> Span {
        if self.file != other.file {
            return self;
        }
        Span { file: self.file, lo: self.lo.min(other.lo), hi: self.hi.max(other.hi) }
    }

    /// The empty span in front of this one.
    pub fn start(self) -> Span {
        Span { hi: self.lo, ..self }
    }

    /// The empty span behind this one.
    pub fn end(self) -> Span {
        Span { lo: self.hi, ..self }
    }

    /// Whether `other` lies within this span.
    pub fn contains(self, other: Span) -> bool {
        self.file == other.file && self.lo <= other.lo && other.hi <= self.hi
    }

    /// The range of bytes, to slice a text with.
    pub fn range(self) -> std::ops::Range<usize> {
        self.lo as usize..self.hi as usize
    }

    /// Length in bytes.
    pub fn len(self) -> usize {
        (self.hi - self.lo) as usize
    }

    /// Whether the span covers no byte.
    pub fn is_empty(self) -> bool {
        self.lo == self.hi
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}..{}", self.file.0, self.lo, self.hi)
    }
}
