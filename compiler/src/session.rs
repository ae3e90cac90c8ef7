//! A kernel file with everything it reaches: read, parsed, and ready to be checked and compiled.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_ir::signature::KernelSignature;
use kiln_sema::{LoadedFile, ModuleLoader, Program};
use kiln_syntax::diagnostic::Diagnostics;
use kiln_syntax::source::SourceMap;
use kiln_syntax::span::FileId;

use crate::ice::{Ice, guard, write_reproducer};
use crate::report::Report;

/// Why there is no result of a compilation.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CompileError {
    /// The program, or the launch, is wrong.
    #[error(transparent)]
    Refused(Report),
    /// The compiler is wrong.
    #[error(transparent)]
    Ice(Ice),
    /// A file cannot be read.
    #[error("cannot read `{}`: {message}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why, in the system's words.
        message: String,
    },
    /// `print_after` or `stop_after` names no pass.
    #[error("{0}")]
    UnknownPass(String),
    /// There is no kernel of that name.
    #[error("there is no kernel `{name}` in `{file}`; {}", if known.is_empty() { "it has none".to_owned() } else { format!("it has: {}", known.join(", ")) })]
    UnknownKernel {
        /// Asked for.
        name: String,
        /// Where.
        file: String,
        /// What there is.
        known: Vec<String>,
    },
}

/// A file of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Name as shown to users; for files on disk, their path.
    pub name: String,
    /// Text.
    pub text: Arc<str>,
}

/// Finds the files that `use` names: `use shared::tiles;` in `kernels/a.kiln` is `kernels/shared/tiles.kiln`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileLoader;

impl ModuleLoader for FileLoader {
    fn load(&self, from: &str, path: &[String]) -> Result<LoadedFile, String> {
        let mut file = Path::new(from).parent().map(Path::to_owned).unwrap_or_default();
        file.extend(path);
        file.set_extension("kiln");
        let file = normal(&file);
        let text = std::fs::read_to_string(&file).map_err(|e| format!("cannot read `{}`: {e}", file.display()))?;
        Ok(LoadedFile { name: file.to_string_lossy().into_owned(), text })
    }
}

/// The path without `.` and with `x/..` taken out, so that one file has one name.
fn normal(path: &Path) -> PathBuf {
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

/// Text of the standard library's file `name` as diagnostics call it (`std/math.kiln`).
pub fn std_source(name: &str) -> Option<&'static str> {
    let path = name.strip_prefix("std/")?.strip_suffix(".kiln")?;
    kiln_std::module(&path.replace('/', "::"))
}

/// Adds a file to a map: for reports about programs whose session is not open.
pub fn add_source(sources: &mut SourceMap, file: &SourceFile) {
    sources.add(file.name.as_str(), file.text.clone());
}

/// An open program.
#[derive(Debug)]
pub struct Session {
    pub(crate) sources: Arc<SourceMap>,
    pub(crate) program: Program,
    root: FileId,
    loaded: Diagnostics,
    /// Where reproducers of our own bugs go.
    pub(crate) reproducer_dir: PathBuf,
    /// Reading, parsing and resolving.
    pub load_time: Duration,
}

impl Session {
    /// Opens a kernel file.
    ///
    /// # Errors
    /// Where the file cannot be read, or the compiler fails. Mistakes in the program are found by [`Session::check`].
    pub fn open(path: &Path) -> Result<Session, CompileError> {
        let text =
            std::fs::read_to_string(path).map_err(|e| CompileError::Io { path: path.to_owned(), message: e.to_string() })?;
        Session::from_source(&path.to_string_lossy(), &text)
    }

    /// Opens a program from its text. `name` is what messages call it; `use` looks beside it.
    ///
    /// # Errors
    /// Where the compiler fails.
    pub fn from_source(name: &str, text: &str) -> Result<Session, CompileError> {
        Session::with_loader(name, text, &FileLoader)
    }

    /// Opens a program whose other files come from `loader`.
    ///
    /// # Errors
    /// Where the compiler fails.
    pub fn with_loader(name: &str, text: &str, loader: &dyn ModuleLoader) -> Result<Session, CompileError> {
        let start = Instant::now();
        if u32::try_from(text.len()).is_err() {
            let message = "the file is larger than 4 GiB".to_owned();
            return Err(CompileError::Io { path: name.into(), message });
        }
        let reproducer_dir = std::env::temp_dir();
        let reproduce = |message: &str| write_reproducer(&reproducer_dir, &format!("; {message}\n; file {name}\n{text}"));
        let mut sources = SourceMap::new();
        let root = sources.add(name, text);
        let (program, loaded) =
            guard("reading the program", reproduce, || Program::load(&mut sources, root, loader)).map_err(CompileError::Ice)?;
        Ok(Session { sources: Arc::new(sources), program, root, loaded, reproducer_dir, load_time: start.elapsed() })
    }

    /// Puts reproducers of internal errors into `dir` instead of the system's temporary directory.
    pub fn set_reproducer_dir(&mut self, dir: &Path) {
        self.reproducer_dir = dir.to_owned();
    }

    /// The texts.
    pub fn sources(&self) -> &Arc<SourceMap> {
        &self.sources
    }

    /// The program's files in the order of their numbers, the standard library's among them.
    pub fn files(&self) -> Vec<SourceFile> {
        self.sources.files().map(|(_, f)| SourceFile { name: f.name().to_owned(), text: f.shared_text() }).collect()
    }

    /// What loading found: syntax errors, names that do not resolve.
    pub fn load_report(&self) -> Report {
        Report { diagnostics: self.loaded.clone(), sources: self.sources.clone() }
    }

    /// Checks every item, used or not. Everything that loading found is in the report too.
    ///
    /// # Errors
    /// Where the compiler fails.
    pub fn check(&self) -> Result<Report, CompileError> {
        let mut diagnostics = self.loaded.clone();
        if !diagnostics.has_errors() {
            let found = self.guard("checking the program", || self.program.check())?;
            diagnostics.extend(found);
            diagnostics.finish();
        }
        Ok(Report { diagnostics, sources: self.sources.clone() })
    }

    /// The kernels of the root file, in source order.
    pub fn kernels(&self) -> Vec<&KernelSignature> {
        self.program.kernels().collect()
    }

    /// The signature of a kernel.
    ///
    /// # Errors
    /// Where the program has errors, or no such kernel.
    pub fn kernel(&self, name: &str) -> Result<&KernelSignature, CompileError> {
        self.refuse_errors()?;
        if let Some(kernel) = self.program.kernel(name) {
            return Ok(kernel);
        }
        // A kernel whose head is wrong is not among them: then that is what there is to say.
        let report = self.check()?;
        if report.diagnostics.has_errors() {
            return Err(CompileError::Refused(report));
        }
        Err(CompileError::UnknownKernel {
            name: name.to_owned(),
            file: self.sources.file(self.root).name().to_owned(),
            known: self.kernels().iter().map(|k| k.name.clone()).collect(),
        })
    }

    pub(crate) fn refuse_errors(&self) -> Result<(), CompileError> {
        if self.loaded.has_errors() { Err(CompileError::Refused(self.load_report())) } else { Ok(()) }
    }

    /// Runs a stage; a panic becomes an internal error whose reproducer has the program's text.
    pub(crate) fn guard<T>(&self, stage: &str, work: impl FnOnce() -> T) -> Result<T, CompileError> {
        let reproduce = |message: &str| {
            let mut text = format!("; kiln {}: internal error while {stage}: {message}\n", crate::build_id());
            for (_, file) in self.sources.files().filter(|(_, f)| std_source(f.name()).is_none()) {
                text.push_str(&format!("\n; file {}\n{}", file.name(), file.text()));
            }
            write_reproducer(&self.reproducer_dir, &text)
        };
        guard(stage, reproduce, work).map_err(CompileError::Ice)
    }
}
