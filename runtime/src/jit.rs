//! Programs that are compiled when they run: their files are read once, and their kernels are compiled when they are first launched.
//!
//! What the front end makes of a file (signatures, which other files it uses) and machine code are kept in the disk cache under hashes of all text they come
//! from, so that a later process does neither.

use std::path::Path;
use std::sync::{Arc, Mutex};

use kiln_compiler::{Artifact, CompileError, CompileOptions, FileLoader, Session, SourceFile, Work};
use kiln_ir::artifact::{Stage, Target};
use kiln_ir::signature::{ArgDesc, Bound, KernelSignature, Specialization};
use kiln_syntax::source::SourceMap;
use serde::{Deserialize, Serialize};

use crate::cache::{DiskCache, Key};
use crate::compiled::{Code, CompiledKernel, Origin};
use crate::embedded::EmbeddedFiles;
use crate::error::Error;
use crate::program::{CodeSource, Program, ProgramOptions, Tuned};
use crate::tuned::{Loaded, TuneStore};

/// A program's texts, and the compiler's session once there is one.
#[derive(Debug)]
pub(crate) struct Compiler {
    files: Vec<SourceFile>,
    /// Hash of every text the program is made of, and of the compiler.
    key: Key,
    /// Open once something has to be compiled.
    session: Mutex<Option<Arc<Session>>>,
    /// The files that the root file uses, where they are part of the host program.
    embedded: Option<EmbeddedFiles>,
}

/// What the disk cache keeps of a program: its files with the hashes of their texts, and its kernels.
#[derive(Serialize, Deserialize)]
struct Summary {
    files: Vec<(String, [u8; 32])>,
    signatures: Vec<KernelSignature>,
}

fn text_hash(text: &str) -> [u8; 32] {
    *blake3::hash(text.as_bytes()).as_bytes()
}

impl Program {
    /// Opens a kernel file with the user's cache.
    ///
    /// # Errors
    /// Where the file cannot be read, or has mistakes.
    pub fn open(path: impl AsRef<Path>) -> Result<Program, Error> {
        Program::open_with(path, ProgramOptions::from_env()?)
    }

    /// Opens a kernel file.
    ///
    /// # Errors
    /// As [`Program::open`].
    pub fn open_with(path: impl AsRef<Path>, options: ProgramOptions) -> Result<Program, Error> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|e| Error::from(CompileError::Io { path: path.to_owned(), message: e.to_string() }))?;
        Program::from_source_with(&path.to_string_lossy(), &text, options)
    }

    /// Opens a program from its text, with the user's cache. `name` is what messages call it; `use` looks beside it.
    ///
    /// # Errors
    /// Where the text has mistakes.
    pub fn from_source(name: &str, text: &str) -> Result<Program, Error> {
        Program::from_source_with(name, text, ProgramOptions::from_env()?)
    }

    /// Opens a program from its text.
    ///
    /// # Errors
    /// As [`Program::from_source`].
    pub fn from_source_with(name: &str, text: &str, options: ProgramOptions) -> Result<Program, Error> {
        Program::from_files(name, text, None, options)
    }

    /// Opens a program from its text; the files it uses are embedded ones, or else lie beside it.
    pub(crate) fn from_files(
        name: &str,
        text: &str,
        embedded: Option<EmbeddedFiles>,
        options: ProgramOptions,
    ) -> Result<Program, Error> {
        let key = Key::of([b"program".as_slice(), kiln_compiler::build_id().as_bytes(), name.as_bytes(), text.as_bytes()]);
        if let Some((files, signatures)) = options.cache.as_ref().and_then(|cache| recall(cache, &key, name, text, embedded)) {
            let compiler = Compiler::new(files, None, embedded);
            return Ok(Program::of(signatures, CodeSource::Compiler(compiler), options));
        }
        let session = open_session(name, text, embedded)?;
        let report = session.load_report();
        if report.diagnostics.has_errors() {
            return Err(CompileError::Refused(report).into());
        }
        let summary = Summary {
            files: session.files().iter().map(|f| (f.name.clone(), text_hash(&f.text))).collect(),
            signatures: session.kernels().into_iter().cloned().collect(),
        };
        if let (Some(cache), Ok(bytes)) = (&options.cache, postcard::to_stdvec(&summary)) {
            // A cache that cannot be written is a slow cache, not a failed launch.
            let _ = cache.put(&key, &bytes);
        }
        let compiler = Compiler::new(session.files(), Some(session), embedded);
        Ok(Program::of(summary.signatures, CodeSource::Compiler(compiler), options))
    }

    /// Counts what a launch does.
    pub(crate) fn work(&self, kernel: &str, bound: &Bound, args: &[ArgDesc<'_>], num_sms: i64) -> Result<Work, Error> {
        match &self.0.code {
            CodeSource::Compiler(compiler) => Ok(compiler.session()?.work(kernel, bound, args, num_sms)?),
            CodeSource::Bundle(_) => {
                Err(Error::Bundle(format!("what kernel `{kernel}` does cannot be counted: it was compiled ahead of time")))
            }
        }
    }

    /// The program's texts, numbered as places in its signatures are; None for bundles, which carry none.
    pub(crate) fn sources(&self) -> Option<Arc<SourceMap>> {
        match &self.0.code {
            CodeSource::Compiler(compiler) => Some(compiler.sources()),
            CodeSource::Bundle(_) => None,
        }
    }
}

impl Compiler {
    fn new(files: Vec<SourceFile>, session: Option<Session>, embedded: Option<EmbeddedFiles>) -> Compiler {
        let parts = files.iter().flat_map(|f| [f.name.as_bytes(), f.text.as_bytes()]);
        let key = Key::of([b"sources".as_slice(), kiln_compiler::build_id().as_bytes()].into_iter().chain(parts));
        Compiler { files, key, session: Mutex::new(session.map(Arc::new)), embedded }
    }

    fn sources(&self) -> Arc<SourceMap> {
        let mut sources = SourceMap::new();
        self.files.iter().for_each(|file| kiln_compiler::add_source(&mut sources, file));
        Arc::new(sources)
    }

    fn session(&self) -> Result<Arc<Session>, Error> {
        let mut slot = self.session.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(session) = &*slot {
            return Ok(session.clone());
        }
        let root = &self.files[0];
        let session = Arc::new(open_session(&root.name, &root.text, self.embedded)?);
        *slot = Some(session.clone());
        Ok(session)
    }

    /// What sweeps found out about a kernel: the records beside its file (`matmul.tune.jsonl`) and those of the store.
    pub fn tuned(&self, kernel: &str, store: Option<&TuneStore>) -> Tuned {
        let fingerprint = kiln_compiler::kernel_content(&self.files, kernel);
        let content = blake3::Hash::from_bytes(fingerprint).to_hex()[..16].to_owned();
        let mut loaded = Loaded::default();
        if let Some(store) = store {
            // Records that cannot be read are a slow launch, not a failed one.
            let beside = Path::new(&self.files[0].name).with_extension("tune.jsonl");
            loaded = Loaded::read(&beside).unwrap_or_default().merge(store.load(kernel).unwrap_or_default());
        }
        loaded.records.retain(|r| r.subject.kernel == kernel && r.subject.content == content);
        Tuned { content, records: loaded.records }
    }

    /// The signature of a kernel that the program does not have, or whose head is wrong: the error says which.
    pub fn signature(&self, name: &str) -> Result<KernelSignature, Error> {
        Ok(self.session()?.kernel(name)?.clone())
    }

    /// The code of a kernel: from the disk cache, else compiled.
    pub fn compile(
        &self,
        kernel: &KernelSignature,
        spec: &Specialization,
        target: Target,
        checked: bool,
        options: &ProgramOptions,
    ) -> Result<CompiledKernel, Error> {
        let encoded = postcard::to_stdvec(spec).map_err(|e| Error::Internal(format!("encoding a specialization: {e}")))?;
        let target_id = match &target {
            Target::Host => format!("host {}", kiln_compiler::host::target_id()),
            Target::Gpu(gpu) => format!("ptx {}", gpu.name()),
        };
        let key = Key::of([
            kiln_compiler::build_id().as_bytes(),
            target_id.as_bytes(),
            self.key.hex().as_bytes(),
            kernel.name.as_bytes(),
            &encoded,
            &[options.opt_level, u8::from(checked)],
        ]);
        let cached = options.cache.as_ref().and_then(|cache| cache.get(&key));
        if let Some(code) = cached.and_then(|bytes| postcard::from_bytes(&bytes).ok())
            && let Ok(compiled) = CompiledKernel::link(code, Origin::Disk, vec![])
        {
            return Ok(compiled);
        }
        let session = self.session()?;
        let compile = CompileOptions { opt_level: options.opt_level, checked, ..CompileOptions::new(target) };
        let compiled = session.compile(&kernel.name, spec, &compile)?;
        let code = match compiled.artifact {
            Artifact::Host(object) => Code::Host(object),
            Artifact::Ptx(artifact) => Code::Ptx(artifact),
            Artifact::None => return Err(Error::Internal("compilation gave no code".to_owned())),
        };
        if let (Some(cache), Ok(bytes)) = (&options.cache, postcard::to_stdvec(&code)) {
            // As above: the launch goes on.
            let _ = cache.put(&key, &bytes);
        }
        let mut stages = compiled.stages;
        stages.insert(0, Stage { name: "load".into(), time: session.load_time });
        let warnings = (!compiled.warnings.diagnostics.is_empty()).then_some(compiled.warnings);
        let mut linked = CompiledKernel::link(code, Origin::Compiled, stages)?;
        linked.warnings = warnings;
        Ok(linked)
    }
}

fn open_session(name: &str, text: &str, embedded: Option<EmbeddedFiles>) -> Result<Session, CompileError> {
    match embedded {
        Some(files) => Session::with_loader(name, text, &files),
        None => Session::with_loader(name, text, &FileLoader),
    }
}

/// What the cache knows of a program, if every file it used is still the same.
fn recall(
    cache: &DiskCache,
    key: &Key,
    name: &str,
    text: &str,
    embedded: Option<EmbeddedFiles>,
) -> Option<(Vec<SourceFile>, Vec<KernelSignature>)> {
    let summary: Summary = postcard::from_bytes(&cache.get(key)?).ok()?;
    let mut files = vec![];
    for (file, hash) in summary.files {
        let content: Arc<str> = match (kiln_compiler::std_source(&file), embedded) {
            (Some(source), _) => source.into(),
            (None, _) if file == name => text.into(),
            (None, Some(embedded)) => embedded.text(&file)?.into(),
            (None, None) => std::fs::read_to_string(&file).ok()?.into(),
        };
        if text_hash(&content) != hash {
            return None;
        }
        files.push(SourceFile { name: file, text: content });
    }
    Some((files, summary.signatures))
}
