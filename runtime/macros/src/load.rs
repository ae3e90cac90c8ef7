//! Opening and checking a program, and remembering the files it is made of.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Component, Path, PathBuf};

use kiln_sema::{LoadedFile, ModuleLoader, Program};
use kiln_syntax::diagnostic::Diagnostics;
use kiln_syntax::source::SourceMap;
use kiln_syntax::span::FileId;

/// A file that a program uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedFile {
    /// What messages call it.
    pub name: String,
    /// Where it lies.
    pub path: PathBuf,
}

/// A program that was read and checked.
#[derive(Debug)]
pub struct Loaded {
    pub sources: SourceMap,
    pub root: FileId,
    pub program: Program,
    pub diagnostics: Diagnostics,
    /// The files it uses, without the root.
    pub files: Vec<UsedFile>,
    /// `(from, path, number)`: where file `from` says `use path`, file `number` is meant.
    pub uses: Vec<(String, String, usize)>,
}

/// Finds `use`d files beside the file that names them, and keeps a list.
struct Loader {
    root: String,
    root_dir: PathBuf,
    found: RefCell<Found>,
}

#[derive(Default)]
struct Found {
    files: Vec<UsedFile>,
    uses: BTreeMap<(String, String), usize>,
}

impl ModuleLoader for Loader {
    fn load(&self, from: &str, path: &[String]) -> Result<LoadedFile, String> {
        let mut found = self.found.borrow_mut();
        let dir = match found.files.iter().find(|file| file.name == from) {
            Some(file) => file.path.parent().map(Path::to_owned).unwrap_or_default(),
            None if from == self.root => self.root_dir.clone(),
            None => return Err(format!("`{from}` is no file of this program")),
        };
        let mut file = dir;
        file.extend(path);
        file.set_extension("kiln");
        let file = normal(&file);
        let name = display_name(&file);
        let text = std::fs::read_to_string(&file).map_err(|e| format!("cannot read `{name}`: {e}"))?;
        let number = found.files.iter().position(|f| f.path == file).unwrap_or_else(|| {
            found.files.push(UsedFile { name: name.clone(), path: file.clone() });
            found.files.len() - 1
        });
        found.uses.insert((from.to_owned(), path.join("::")), number);
        Ok(LoadedFile { name, text })
    }
}

/// The path without `.` and with `x/..` taken out, so that one file has one name.
pub fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(out.components().next_back(), Some(Component::Normal(_))) => {
                out.pop();
            }
            other => out.push(other),
        }
    }
    out
}

/// What messages call a file: its path from the package, where it lies in it.
pub fn display_name(path: &Path) -> String {
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(|dir| normal(Path::new(&dir)));
    let inside = package.as_ref().and_then(|package| path.strip_prefix(package).ok());
    inside.unwrap_or(path).to_string_lossy().into_owned()
}

/// Reads and checks a program whose root file is called `name` and whose other files lie from `dir`.
///
/// # Errors
/// A bug of ours, in words.
pub fn load(name: &str, text: &str, dir: &Path) -> Result<Loaded, String> {
    if u32::try_from(text.len()).is_err() {
        return Err("the kernels are longer than 4 GiB".to_owned());
    }
    let work = || {
        let mut sources = SourceMap::new();
        let root = sources.add(name, text);
        let loader = Loader { root: name.to_owned(), root_dir: dir.to_owned(), found: RefCell::default() };
        let (program, mut diagnostics) = Program::load(&mut sources, root, &loader);
        diagnostics.extend(program.check());
        diagnostics.finish();
        let found = loader.found.into_inner();
        let uses = found.uses.into_iter().map(|((from, path), number)| (from, path, number)).collect();
        Loaded { sources, root, program, diagnostics, files: found.files, uses }
    };
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
        text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without a message".to_owned())
    })
}
