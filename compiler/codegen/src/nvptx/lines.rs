//! Line tables: which source line an instruction comes from, as LLVM debug metadata that becomes `.loc` directives only.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use kiln_ir::{Function, Module, SrcLoc};

/// Metadata nodes below this number are the fixed ones of `metadata`.
const FIRST: u32 = 16;

/// Source places met so far and their metadata nodes.
#[derive(Debug)]
pub(super) struct Lines {
    name: String,
    line: u32,
    file: Option<u32>,
    /// (file, line, column) to node.
    nodes: BTreeMap<(u32, u32, u32), u32>,
}

impl Lines {
    pub(super) fn new(module: &Module, func: &Function) -> Lines {
        let place = position(module, func.loc);
        Lines {
            name: super::entry_name(&func.name),
            line: place.map_or(0, |(_, line, _)| line),
            file: place.map(|(file, _, _)| file).or((!module.files.is_empty()).then_some(0)),
            nodes: BTreeMap::new(),
        }
    }

    /// The metadata node of a place; None without source files, the kernel's own line for unknown places.
    pub(super) fn location(&mut self, module: &Module, loc: SrcLoc) -> Option<u32> {
        let own = self.file?;
        let place = position(module, loc).unwrap_or((own, self.line, 0));
        let next = FIRST + self.nodes.len() as u32;
        Some(*self.nodes.entry(place).or_insert(next))
    }

    /// The reference that stands behind the function's head.
    pub(super) fn subprogram(&self) -> &'static str {
        if self.file.is_some() { " !dbg !5" } else { "" }
    }

    /// The metadata of the module.
    pub(super) fn metadata(&self, module: &Module) -> String {
        let mut text = String::from("!9 = !{}\n");
        let Some(own) = self.file else { return text };
        let name = |file: u32| escape(&module.files[file as usize].name);
        let _ = write!(
            text,
            "!llvm.dbg.cu = !{{!0}}\n!llvm.module.flags = !{{!2}}\n\
             !0 = distinct !DICompileUnit(language: DW_LANG_C, file: !1, producer: \"kiln\", isOptimized: true, \
             runtimeVersion: 0, emissionKind: DebugDirectivesOnly)\n\
             !1 = !DIFile(filename: \"{}\", directory: \"\")\n\
             !2 = !{{i32 2, !\"Debug Info Version\", i32 3}}\n\
             !3 = !DISubroutineType(types: !9)\n\
             !5 = distinct !DISubprogram(name: \"{name}\", linkageName: \"{name}\", scope: !1, file: !1, line: {line}, \
             type: !3, scopeLine: {line}, spFlags: DISPFlagDefinition | DISPFlagOptimized, unit: !0)\n",
            name(own),
            name = self.name,
            line = self.line,
        );
        // Places in other files (inlined functions) get a scope of their own.
        let mut scopes: BTreeMap<u32, u32> = BTreeMap::new();
        let mut next = FIRST + self.nodes.len() as u32;
        for &(file, line, column) in self.nodes.keys() {
            if file != own && !scopes.contains_key(&file) {
                let _ = writeln!(text, "!{next} = !DIFile(filename: \"{}\", directory: \"\")", name(file));
                let _ = writeln!(text, "!{} = !DILexicalBlockFile(scope: !5, file: !{next}, discriminator: 0)", next + 1);
                scopes.insert(file, next + 1);
                next += 2;
            }
            let scope = scopes.get(&file).copied().unwrap_or(5);
            let node = self.nodes[&(file, line, column)];
            let _ = writeln!(text, "!{node} = !DILocation(line: {line}, column: {column}, scope: !{scope})");
        }
        text
    }
}

fn position(module: &Module, loc: SrcLoc) -> Option<(u32, u32, u32)> {
    let file = module.files.get(loc.file as usize).filter(|_| loc.is_known())?;
    let (line, column) = file.line_col(loc.lo);
    Some((loc.file, line, column.min(65535)))
}

fn escape(name: &str) -> String {
    name.chars().map(|c| if c == '"' || c == '\\' || c.is_control() { '_' } else { c }).collect()
}
