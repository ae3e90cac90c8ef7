//! Programs: kernel files, read once, whose kernels are compiled when they are first launched.
//!
//! What the front end makes of a file (signatures, which other files it uses) and machine code are kept in the disk cache under hashes of all text they come
//! from, so that a later process does neither.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use kiln_compiler::{Artifact, CompileError, CompileOptions, Report, Session, SourceFile, Stage, Target, Work};
use kiln_ir::signature::{ArgDesc, BindError, Bound, KernelSignature, Specialization};
use kiln_syntax::diagnostic::Diagnostics;
use kiln_syntax::source::SourceMap;
use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::cache::{DiskCache, Key};
use crate::compiled::{Code, CompiledKernel, Origin};
use crate::error::Error;
use crate::kernel::Kernel;
use crate::tuned::{Loaded, Record, TuneStore};

/// A kernel file with everything it uses. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Program(pub(crate) Arc<Inner>);

/// How programs are opened.
#[derive(Clone, Debug)]
pub struct ProgramOptions {
    /// Where compiled code is kept between processes; None for nowhere.
    pub cache: Option<Arc<DiskCache>>,
    /// LLVM's effort, 0 to 3.
    pub opt_level: u8,
    /// Results of sweeps that launches take their configuration from; None for none.
    pub tuned: Option<TuneStore>,
}

impl ProgramOptions {
    /// The user's cache (see [`DiskCache::open_default`]), the user's tuning results (see [`TuneStore::open_default`]) and full effort.
    ///
    /// # Errors
    /// Where the cache's directory is unsafe to use.
    pub fn from_env() -> Result<ProgramOptions, Error> {
        let tuned = TuneStore::open_default().map_err(|e| Error::Cache(e.to_string()))?;
        Ok(ProgramOptions { cache: default_cache()?, tuned, ..ProgramOptions::without_cache() })
    }

    /// No disk cache and no tuning results.
    pub fn without_cache() -> ProgramOptions {
        ProgramOptions { cache: None, opt_level: CompileOptions::new(Target::Host).opt_level, tuned: None }
    }
}

/// The user's cache, opened once a process.
fn default_cache() -> Result<Option<Arc<DiskCache>>, Error> {
    static CACHE: OnceLock<Option<Arc<DiskCache>>> = OnceLock::new();
    if let Some(cache) = CACHE.get() {
        return Ok(cache.clone());
    }
    let opened = DiskCache::open_default().map_err(|e| Error::Cache(e.to_string()))?.map(Arc::new);
    Ok(CACHE.get_or_init(|| opened).clone())
}

type Slot = Arc<OnceLock<Result<Arc<CompiledKernel>, Error>>>;

#[derive(Debug)]
pub(crate) struct Inner {
    files: Vec<SourceFile>,
    signatures: Vec<Arc<KernelSignature>>,
    /// Hash of every text the program is made of, and of the compiler.
    key: Key,
    /// Open once something has to be compiled.
    session: Mutex<Option<Arc<Session>>>,
    compiled: Mutex<FxHashMap<(String, Specialization, Target, bool), Slot>>,
    /// The values that each constant of each kernel was taken from dimensions with.
    taken: Mutex<FxHashMap<(String, usize), BTreeSet<i64>>>,
    options: ProgramOptions,
    /// Fingerprints and tuning records of kernels that were launched.
    tuned: Mutex<FxHashMap<String, Arc<Tuned>>>,
}

/// A kernel's code as tuning knows it, and what is known of it.
#[derive(Debug)]
pub(crate) struct Tuned {
    /// Fingerprint, in hexadecimal.
    pub content: String,
    pub records: Vec<Record>,
}

/// So many values of one constant are no accident: the kernel is compiled again for every one.
const MANY_VALUES: usize = 16;

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
        let key = Key::of([b"program".as_slice(), kiln_compiler::build_id().as_bytes(), name.as_bytes(), text.as_bytes()]);
        if let Some((files, signatures)) = options.cache.as_ref().and_then(|cache| recall(cache, &key, name, text)) {
            return Ok(Program::made(files, signatures, None, options));
        }
        let session = Session::from_source(name, text)?;
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
        Ok(Program::made(session.files(), summary.signatures, Some(session), options))
    }

    fn made(
        files: Vec<SourceFile>,
        signatures: Vec<KernelSignature>,
        session: Option<Session>,
        options: ProgramOptions,
    ) -> Program {
        let parts = files.iter().flat_map(|f| [f.name.as_bytes(), f.text.as_bytes()]);
        let key = Key::of([b"sources".as_slice(), kiln_compiler::build_id().as_bytes()].into_iter().chain(parts));
        Program(Arc::new(Inner {
            files,
            signatures: signatures.into_iter().map(Arc::new).collect(),
            key,
            session: Mutex::new(session.map(Arc::new)),
            compiled: Mutex::default(),
            taken: Mutex::default(),
            options,
            tuned: Mutex::default(),
        }))
    }

    /// The kernels' signatures, in source order.
    pub fn signatures(&self) -> &[Arc<KernelSignature>] {
        &self.0.signatures
    }

    /// A kernel by name.
    ///
    /// # Errors
    /// Where there is none; the error lists those there are.
    pub fn kernel(&self, name: &str) -> Result<Kernel, Error> {
        if let Some(signature) = self.0.signatures.iter().find(|s| s.name == name) {
            return Ok(Kernel::new(self.clone(), signature.clone()));
        }
        // The session knows whether there is none, or one whose head is wrong.
        match self.session()?.kernel(name) {
            Ok(signature) => Ok(Kernel::new(self.clone(), Arc::new(signature.clone()))),
            Err(error) => Err(error.into()),
        }
    }

    /// A diagnostic of a launch with the program's source.
    pub(crate) fn launch_error(&self, error: BindError) -> Error {
        let diagnostics = [kiln_compiler::launch_diagnostic(&error)].into_iter().collect();
        Error::Launch { report: Report { diagnostics, sources: self.sources() }, error: Box::new(error) }
    }

    /// Notes the constants that a new plan takes from dimensions. Warnings for those that have come to [`MANY_VALUES`] with it.
    pub(crate) fn note_constants(&self, kernel: &KernelSignature, consts: &[i64]) -> Option<Report> {
        let mut taken = self.0.taken.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut diagnostics = Diagnostics::new();
        for (number, (param, &value)) in kernel.const_params.iter().zip(consts).enumerate().filter(|(_, (p, _))| p.from_dims) {
            let values = taken.entry((kernel.name.clone(), number)).or_default();
            if values.insert(value) && values.len() == MANY_VALUES {
                diagnostics.push(kiln_compiler::many_values_warning(kernel, &param.name, values));
            }
        }
        (!diagnostics.is_empty()).then(|| Report { diagnostics, sources: self.sources() })
    }

    /// Whether launches take configurations from sweeps' results.
    pub(crate) fn takes_tuned(&self) -> bool {
        self.0.options.tuned.is_some()
    }

    /// What sweeps found out about a kernel: the records beside its file (`matmul.tune.jsonl`) and those of the store, read once a program.
    pub(crate) fn tuned(&self, kernel: &str) -> Arc<Tuned> {
        let mut table = self.0.tuned.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = table.get(kernel) {
            return known.clone();
        }
        let fingerprint = kiln_compiler::kernel_content(&self.0.files, kernel);
        let content = blake3::Hash::from_bytes(fingerprint).to_hex()[..16].to_owned();
        let mut loaded = Loaded::default();
        if let Some(store) = &self.0.options.tuned {
            // Records that cannot be read are a slow launch, not a failed one.
            let beside = Path::new(&self.0.files[0].name).with_extension("tune.jsonl");
            loaded = Loaded::read(&beside).unwrap_or_default().merge(store.load(kernel).unwrap_or_default());
        }
        loaded.records.retain(|r| r.subject.kernel == kernel && r.subject.content == content);
        let tuned = Arc::new(Tuned { content, records: loaded.records });
        table.insert(kernel.to_owned(), tuned.clone());
        tuned
    }

    /// Counts what a launch does.
    pub(crate) fn work(&self, kernel: &str, bound: &Bound, args: &[ArgDesc<'_>], num_sms: i64) -> Result<Work, Error> {
        Ok(self.session()?.work(kernel, bound, args, num_sms)?)
    }

    /// The program's texts, numbered as places in its signatures are.
    pub(crate) fn sources(&self) -> Arc<SourceMap> {
        let mut sources = SourceMap::new();
        self.0.files.iter().for_each(|file| kiln_compiler::add_source(&mut sources, file));
        Arc::new(sources)
    }

    /// Where compiled code is kept.
    pub(crate) fn cache(&self) -> Option<&DiskCache> {
        self.0.options.cache.as_deref()
    }

    fn session(&self) -> Result<Arc<Session>, Error> {
        let mut slot = self.0.session.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(session) = &*slot {
            return Ok(session.clone());
        }
        let root = &self.0.files[0];
        let session = Arc::new(Session::from_source(&root.name, &root.text)?);
        *slot = Some(session.clone());
        Ok(session)
    }

    /// The code of a kernel: from memory, else from the disk cache, else compiled. The same key asked for by several threads is compiled once.
    pub(crate) fn compiled(
        &self,
        kernel: &KernelSignature,
        spec: &Specialization,
        target: Target,
        checked: bool,
    ) -> Result<Arc<CompiledKernel>, Error> {
        let slot = {
            let mut table = self.0.compiled.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            table.entry((kernel.name.clone(), spec.clone(), target.clone(), checked)).or_default().clone()
        };
        slot.get_or_init(|| self.compile(kernel, spec, target, checked).map(Arc::new)).clone()
    }

    fn compile(
        &self,
        kernel: &KernelSignature,
        spec: &Specialization,
        target: Target,
        checked: bool,
    ) -> Result<CompiledKernel, Error> {
        let encoded = postcard::to_stdvec(spec).map_err(|e| Error::Internal(format!("encoding a specialization: {e}")))?;
        let target_id = match &target {
            Target::Host => format!("host {}", kiln_compiler::host::target_id()),
            Target::Gpu(gpu) => format!("ptx {}", gpu.name()),
        };
        let key = Key::of([
            kiln_compiler::build_id().as_bytes(),
            target_id.as_bytes(),
            self.0.key.hex().as_bytes(),
            kernel.name.as_bytes(),
            &encoded,
            &[self.0.options.opt_level, u8::from(checked)],
        ]);
        let cached = self.0.options.cache.as_ref().and_then(|cache| cache.get(&key));
        if let Some(code) = cached.and_then(|bytes| postcard::from_bytes(&bytes).ok())
            && let Ok(compiled) = CompiledKernel::link(code, Origin::Disk, vec![])
        {
            return Ok(compiled);
        }
        let session = self.session()?;
        let options = CompileOptions { opt_level: self.0.options.opt_level, checked, ..CompileOptions::new(target) };
        let compiled = session.compile(&kernel.name, spec, &options)?;
        let code = match compiled.artifact {
            Artifact::Host(object) => Code::Host(object),
            Artifact::Ptx(artifact) => Code::Ptx(artifact),
            Artifact::None => return Err(Error::Internal("compilation gave no code".to_owned())),
        };
        if let (Some(cache), Ok(bytes)) = (&self.0.options.cache, postcard::to_stdvec(&code)) {
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

/// What the cache knows of a program, if every file it used is still the same.
fn recall(cache: &DiskCache, key: &Key, name: &str, text: &str) -> Option<(Vec<SourceFile>, Vec<KernelSignature>)> {
    let summary: Summary = postcard::from_bytes(&cache.get(key)?).ok()?;
    let mut files = vec![];
    for (file, hash) in summary.files {
        let content: Arc<str> = match kiln_compiler::std_source(&file) {
            Some(source) => source.into(),
            None if file == name => text.into(),
            None => std::fs::read_to_string(&file).ok()?.into(),
        };
        if text_hash(&content) != hash {
            return None;
        }
        files.push(SourceFile { name: file, text: content });
    }
    Some((files, summary.signatures))
}
