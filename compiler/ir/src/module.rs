//! A module: one kernel with the device functions it calls, and the source they came from.

use std::sync::Arc;

use cranelift_entity::PrimaryMap;

use crate::entity::FuncRef;
use crate::func::{Function, SrcLoc};

/// A source file, for messages and line tables.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Name as the user gave it (`std/math.kiln` for the standard library).
    pub name: Arc<str>,
    /// Byte offsets at which lines start; the first is 0.
    pub line_starts: Arc<[u32]>,
}

impl SourceFile {
    /// Indexes the lines of `text`.
    pub fn new(name: &str, text: &str) -> Self {
        let starts =
            std::iter::once(0).chain(text.bytes().enumerate().filter(|&(_, b)| b == b'\n').map(|(i, _)| i as u32 + 1)).collect();
        SourceFile { name: name.into(), line_starts: starts }
    }

    /// 1-based line and column (in bytes) of an offset.
    pub fn line_col(&self, offset: u32) -> (u32, u32) {
        let line = self.line_starts.partition_point(|&start| start <= offset).max(1);
        (line as u32, offset - self.line_starts[line - 1] + 1)
    }
}

/// A module. Unchecked: `verify` turns it into a [`crate::verify::CheckedModule`].
#[derive(Clone, Debug, Default)]
pub struct Module {
    /// Functions; after the inline pass only kernels are left.
    pub funcs: PrimaryMap<FuncRef, Function>,
    /// Source files by number.
    pub files: Vec<SourceFile>,
}

impl Module {
    /// The only kernel of the module, if there is exactly one.
    pub fn kernel(&self) -> Option<FuncRef> {
        let mut kernels = self.funcs.iter().filter(|(_, f)| f.is_kernel).map(|(r, _)| r);
        kernels.next().filter(|_| kernels.next().is_none())
    }

    /// `file.kiln:12:5`, or `?` for an unknown place.
    pub fn describe(&self, loc: SrcLoc) -> String {
        match self.files.get(loc.file as usize) {
            Some(file) if loc.is_known() => {
                let (line, col) = file.line_col(loc.lo);
                format!("{}:{line}:{col}", file.name)
            }
            _ => "?".to_owned(),
        }
    }
}
