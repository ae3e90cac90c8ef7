//! Reading the root file and everything it uses, collecting items, resolving imports.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kiln_syntax::ast::{self, Item, UseKind, UseTree};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::{Diagnostic, Diagnostics};
use kiln_syntax::source::SourceMap;
use kiln_syntax::span::{FileId, Span};
use rustc_hash::FxHashMap;

use super::{Def, Import, ItemId, Module, ModuleId, Modules, closest};

/// Trees of the library that are kept: a module's place is the number of files before it, which differs little between programs.
const MOST_TREES: usize = 64;

/// Gives the text of the files that `use` names.
pub trait ModuleLoader {
    /// Text of the file that `use path::..` names, relative to the importing file `from`.
    ///
    /// # Errors
    /// Why there is none, for the message.
    fn load(&self, from: &str, path: &[String]) -> Result<LoadedFile, String>;
}

/// What a loader found.
#[derive(Clone, Debug)]
pub struct LoadedFile {
    /// The name shown to users; equal names are one file.
    pub name: String,
    /// The text.
    pub text: String,
}

/// A `use` leaf that waits for its file's items.
struct Leaf {
    module: ModuleId,
    segments: Vec<(Arc<str>, Span)>,
    rename: Option<(Arc<str>, Span)>,
}

struct Load<'a> {
    sources: &'a mut SourceMap,
    loader: &'a dyn ModuleLoader,
    modules: Modules,
    by_name: FxHashMap<String, ModuleId>,
    leaves: Vec<Leaf>,
    diagnostics: Diagnostics,
}

/// Parses the root file and everything it reaches. The second result tells whether a file had syntax errors.
pub(crate) fn load_modules(sources: &mut SourceMap, root: FileId, loader: &dyn ModuleLoader) -> (Modules, Diagnostics) {
    let mut load = Load {
        sources,
        loader,
        modules: Modules::default(),
        by_name: FxHashMap::default(),
        leaves: Vec::new(),
        diagnostics: Diagnostics::new(),
    };
    load.module(root, false);
    let mut next = 0;
    while next < load.leaves.len() {
        load.leaf(next);
        next += 1;
    }
    load.diagnostics.finish();
    (load.modules, load.diagnostics)
}

impl Load<'_> {
    fn module(&mut self, file: FileId, is_std: bool) -> ModuleId {
        let id = ModuleId(self.modules.list.len() as u32);
        let ast = self.parse(file, is_std);
        self.by_name.insert(self.sources.file(file).name().to_owned(), id);
        let mut names: FxHashMap<Arc<str>, Def> = FxHashMap::default();
        let mut spans: FxHashMap<Arc<str>, Span> = FxHashMap::default();
        for (index, item) in ast.items.iter().enumerate() {
            let Some(name) = item.name() else { continue };
            if let Some(first) = spans.get(&name.name) {
                self.diagnostics.push(
                    Diagnostic::error(codes::DUPLICATE_ITEM, format!("`{}` is defined twice in this file", name.name))
                        .primary(name.span, "defined again here")
                        .secondary(*first, "first defined here")
                        .help("one name is one item: rename one of them"),
                );
                continue;
            }
            spans.insert(name.name.clone(), name.span);
            names.insert(name.name.clone(), Def::Item(ItemId { module: id, index: index as u32 }));
        }
        let uses: Vec<UseTree> =
            ast.items.iter().filter_map(|i| if let Item::Use(u) = i { Some(u.tree.clone()) } else { None }).collect();
        self.modules.list.push(Module {
            file,
            text: self.sources.file(file).shared_text(),
            ast,
            names,
            imports: Vec::new(),
            is_std,
        });
        for tree in &uses {
            self.tree(id, &[], tree);
        }
        self.prelude(id);
        id
    }

    /// The tree of a file. Those of the library are parsed once a process and place in a program: their text never changes.
    fn parse(&mut self, file: FileId, is_std: bool) -> Arc<ast::File> {
        static PARSED: Mutex<BTreeMap<(String, FileId), Arc<ast::File>>> = Mutex::new(BTreeMap::new());
        let key = is_std.then(|| (self.sources.file(file).name().to_owned(), file));
        let parsed = || PARSED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(tree) = key.as_ref().and_then(|key| parsed().get(key).cloned()) {
            return tree;
        }
        let (tree, diagnostics) = kiln_syntax::parse::parse(self.sources, file);
        self.diagnostics.extend(diagnostics);
        let tree = Arc::new(tree);
        if let Some(key) = key
            && parsed().len() < MOST_TREES
        {
            parsed().insert(key, tree.clone());
        }
        tree
    }

    /// Loads the modules of the standard library whose prelude names the file mentions.
    fn prelude(&mut self, module: ModuleId) {
        let file = self.modules.module(module).file;
        let text = self.sources.file(file).shared_text();
        // A kernel with function parameters may be launched with any of them.
        let takes_functions = self.modules.module(module).ast.items.iter().any(|item| match item {
            Item::Kernel(k) => {
                k.generics.iter().any(|g| matches!(g, ast::Generic::Const(c) if matches!(c.ty.kind, ast::TypeKind::Fn { .. })))
            }
            _ => false,
        });
        for (path, name) in kiln_std::PRELUDE {
            if takes_functions || text.is_empty() || mentions(&text, name) {
                self.std_module(path);
            }
        }
        if takes_functions || text.is_empty() || text.contains("std::") {
            for (path, _) in kiln_std::MODULES {
                self.std_module(path);
            }
        }
    }

    fn std_module(&mut self, path: &str) -> Option<ModuleId> {
        if let Some(id) = self.modules.std.get(path) {
            return Some(*id);
        }
        let source = kiln_std::module(path)?;
        // Reserved before it is parsed: modules of the library use each other.
        let id = ModuleId(self.modules.list.len() as u32);
        self.modules.std.insert(path.to_owned(), id);
        let file = self.sources.add(format!("std/{path}.kiln"), source);
        Some(self.module(file, true))
    }

    fn tree(&mut self, module: ModuleId, prefix: &[(Arc<str>, Span)], tree: &UseTree) {
        let mut segments = prefix.to_vec();
        segments.extend(tree.path.segments.iter().map(|s| (s.name.clone(), s.span)));
        match &tree.kind {
            UseKind::Leaf(rename) => {
                let rename = rename.as_ref().map(|r| (r.name.clone(), r.span));
                self.leaves.push(Leaf { module, segments, rename });
            }
            UseKind::Group(trees) => {
                for inner in trees {
                    self.tree(module, &segments, inner);
                }
            }
        }
    }

    fn leaf(&mut self, number: usize) {
        let Leaf { module, segments, rename } = &self.leaves[number];
        let (module, segments, rename) = (*module, segments.clone(), rename.clone());
        let Some((last_name, last_span)) = segments.last().cloned() else { return };
        let Some(def) = self.target(module, &segments) else { return };
        let (name, span) = rename.unwrap_or((last_name, last_span));
        let existing = self.modules.module(module).names.get(&name).copied();
        if existing.is_some_and(|e| e != def) {
            self.diagnostics.push(
                Diagnostic::error(codes::DUPLICATE_ITEM, format!("`{name}` is already a name of this file"))
                    .primary(span, "imported here")
                    .suggest("import it under another name", span.end(), format!(" as {name}_2")),
            );
            return;
        }
        let m = &mut self.modules.list[module.0 as usize];
        m.names.insert(name.clone(), def);
        m.imports.push(Import { name, span });
    }

    /// What an import path stands for: a file, or an item of one.
    fn target(&mut self, from: ModuleId, segments: &[(Arc<str>, Span)]) -> Option<Def> {
        let whole = segments[0].1.merge(segments[segments.len() - 1].1);
        if &*segments[0].0 == "std" {
            let Some((name, span)) = segments.get(1) else {
                self.diagnostics.push(
                    Diagnostic::error(codes::UNKNOWN_IMPORT, "`std` alone cannot be imported")
                        .primary(whole, "name a module of it")
                        .note(format!("the standard library has the modules {}", std_names())),
                );
                return None;
            };
            let Some(id) = self.std_module(name) else {
                let mut d = Diagnostic::error(codes::UNKNOWN_MODULE, format!("the standard library has no module `{name}`"))
                    .primary(*span, "not found")
                    .note(format!("it has the modules {}", std_names()));
                if let Some(near) = closest(name, kiln_std::MODULES.iter().map(|(n, _)| *n)) {
                    d = d.suggest(format!("did you mean `{near}`?"), *span, near);
                }
                self.diagnostics.push(d);
                return None;
            };
            return match segments.len() {
                2 => Some(Def::Module(id)),
                _ => self.item(id, segments, 2),
            };
        }
        let path: Vec<String> = segments.iter().map(|(n, _)| n.to_string()).collect();
        let importer = self.sources.file(self.modules.module(from).file).name().to_owned();
        let as_file = self.loader.load(&importer, &path);
        let failure = match as_file {
            Ok(found) => return Some(Def::Module(self.file(found))),
            Err(failure) => failure,
        };
        if path.len() > 1
            && let Ok(found) = self.loader.load(&importer, &path[..path.len() - 1])
        {
            let id = self.file(found);
            return self.item(id, segments, segments.len() - 1);
        }
        self.diagnostics.push(
            Diagnostic::error(codes::UNKNOWN_MODULE, format!("cannot load `{}`", path.join("::"))).primary(whole, failure).help(
                format!(
                    "`use {0};` reads `{1}.kiln` beside this file; the standard library is `std::..`",
                    path.join("::"),
                    path.join("/")
                ),
            ),
        );
        None
    }

    fn file(&mut self, found: LoadedFile) -> ModuleId {
        if let Some(id) = self.by_name.get(&found.name) {
            return *id;
        }
        let file = self.sources.add(found.name, found.text);
        self.module(file, false)
    }

    fn item(&mut self, module: ModuleId, segments: &[(Arc<str>, Span)], at: usize) -> Option<Def> {
        let (name, span) = &segments[at];
        if let (Some(def), true) = (self.modules.own_item(module, name), at + 1 == segments.len()) {
            return Some(def);
        }
        let target = self.modules.module(module);
        let file = self.sources.file(target.file).name();
        let mut d =
            Diagnostic::error(codes::UNKNOWN_IMPORT, format!("`{file}` has no item `{name}`")).primary(*span, "not found there");
        if let Some(near) = closest(name, target.names.keys().map(|k| &**k)) {
            d = d.suggest(format!("did you mean `{near}`?"), *span, near);
        }
        self.diagnostics.push(d);
        None
    }
}

/// Whether a text has the word `name` without a path in front: `fast::exp` does not mean `exp`.
fn mentions(text: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        !before.ends_with(word) && !before.ends_with("::") && !after.starts_with(word)
    })
}

fn std_names() -> String {
    kiln_std::MODULES.iter().map(|(n, _)| format!("`std::{n}`")).collect::<Vec<_>>().join(", ")
}
