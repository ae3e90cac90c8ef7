//! Files, their items, and what the names in them mean.

mod load;
mod suggest;

pub(crate) use load::load_modules;
pub use load::{LoadedFile, ModuleLoader};
pub use suggest::closest;

use std::sync::Arc;

use kiln_syntax::ast;
use kiln_syntax::span::{FileId, Span};
use rustc_hash::FxHashMap;

/// Number of a module of the program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ModuleId(pub u32);

/// An item of a module.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ItemId {
    /// The module.
    pub module: ModuleId,
    /// Position among the file's items.
    pub index: u32,
}

/// What a name of a module stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Def {
    /// A kernel, function or constant.
    Item(ItemId),
    /// Another file.
    Module(ModuleId),
}

/// A name that a `use` brings in.
#[derive(Clone, Debug)]
pub struct Import {
    /// The name here.
    pub name: Arc<str>,
    /// Where it is written.
    pub span: Span,
}

/// A parsed file.
#[derive(Debug)]
pub struct Module {
    /// The file.
    pub file: FileId,
    /// Its text; empty where the file came as tokens.
    pub text: Arc<str>,
    /// Its tree.
    pub ast: Arc<ast::File>,
    /// Own items and imports.
    pub names: FxHashMap<Arc<str>, Def>,
    /// Imports, for the warning about unused ones.
    pub imports: Vec<Import>,
    /// Part of the standard library.
    pub is_std: bool,
}

/// All modules of a program. Module 0 is the root.
#[derive(Debug, Default)]
pub struct Modules {
    /// The modules.
    pub list: Vec<Module>,
    /// Modules of the standard library that are loaded, by path below `std`.
    pub std: FxHashMap<String, ModuleId>,
}

impl Modules {
    /// The module.
    pub fn module(&self, id: ModuleId) -> &Module {
        &self.list[id.0 as usize]
    }

    /// The item.
    pub fn item(&self, id: ItemId) -> &ast::Item {
        &self.module(id.module).ast.items[id.index as usize]
    }

    /// An item of the standard library that needs no `use`.
    pub fn prelude(&self, name: &str) -> Option<ItemId> {
        let (path, _) = kiln_std::PRELUDE.iter().find(|(_, n)| *n == name)?;
        match self.own_item(*self.std.get(*path)?, name)? {
            Def::Item(item) => Some(item),
            Def::Module(_) => None,
        }
    }

    /// An item defined in a module (not one it imports).
    fn own_item(&self, module: ModuleId, name: &str) -> Option<Def> {
        match self.module(module).names.get(name) {
            Some(Def::Item(id)) if id.module == module => Some(Def::Item(*id)),
            _ => None,
        }
    }

    /// What a path means in a module, if anything.
    pub fn resolve(&self, from: ModuleId, segments: &[Arc<str>]) -> Option<Def> {
        let (mut def, mut at) = match segments {
            [std, module, ..] if &**std == "std" => (Def::Module(*self.std.get(&**module)?), 1),
            [first, ..] => match self.module(from).names.get(first) {
                Some(def) => (*def, 0),
                None => (Def::Item(self.prelude(first)?), 0),
            },
            [] => return None,
        };
        while at + 1 < segments.len() {
            let Def::Module(module) = def else { return None };
            at += 1;
            def = self.own_item(module, &segments[at])?;
        }
        Some(def)
    }
}
