//! Programs: kernels of one file with everything it uses, and the code that launches need of them.
//!
//! Code comes from the compiler (`jit`), which is part of the process unless the feature `jit` is off, or from a bundle that was compiled ahead of time (`bundle`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock};

use kiln_ir::artifact::Target;
#[cfg(feature = "jit")]
use kiln_ir::signature::Schedule;
use kiln_ir::signature::{BindError, KernelSignature, Specialization};
use rustc_hash::FxHashMap;

use crate::bundle::BundleCode;
use crate::cache::DiskCache;
use crate::compiled::CompiledKernel;
use crate::error::Error;
#[cfg(feature = "jit")]
use crate::jit::Compiler;
use crate::kernel::Kernel;
use crate::report::{self, Report};
use crate::tuned::{Record, TuneStore};

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

/// LLVM's effort unless told.
const USUAL_EFFORT: u8 = 2;

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
        ProgramOptions { cache: None, opt_level: USUAL_EFFORT, tuned: None }
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
    signatures: Vec<Arc<KernelSignature>>,
    pub(crate) code: CodeSource,
    pub(crate) options: ProgramOptions,
    compiled: Mutex<FxHashMap<(String, Specialization, Target, bool), Slot>>,
    /// The values that each constant of each kernel was taken from dimensions with.
    taken: Mutex<FxHashMap<(String, usize), BTreeSet<i64>>>,
    /// Fingerprints and tuning records of kernels that were launched.
    tuned: Mutex<FxHashMap<String, Arc<Tuned>>>,
}

/// A kernel's code as tuning knows it, and what is known of it.
#[derive(Debug, Default)]
pub(crate) struct Tuned {
    /// Fingerprint, in hexadecimal.
    pub content: String,
    pub records: Vec<Record>,
}

/// Where a program's code comes from.
#[derive(Debug)]
pub(crate) enum CodeSource {
    /// The compiler.
    #[cfg(feature = "jit")]
    Compiler(Compiler),
    /// A bundle.
    Bundle(BundleCode),
}

/// So many values of one constant are no accident: the kernel is compiled again for every one.
const MANY_VALUES: usize = 16;

impl Program {
    /// A program of kernels and where their code comes from.
    pub(crate) fn of(signatures: Vec<KernelSignature>, code: CodeSource, options: ProgramOptions) -> Program {
        Program(Arc::new(Inner {
            signatures: signatures.into_iter().map(Arc::new).collect(),
            code,
            options,
            compiled: Mutex::default(),
            taken: Mutex::default(),
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
        match &self.0.code {
            // The session knows whether there is none, or one whose head is wrong.
            #[cfg(feature = "jit")]
            CodeSource::Compiler(compiler) => Ok(Kernel::new(self.clone(), Arc::new(compiler.signature(name)?))),
            CodeSource::Bundle(_) => {
                let known: Vec<&str> = self.0.signatures.iter().map(|s| s.name.as_str()).collect();
                Err(Error::Bundle(format!("the bundle has no kernel `{name}`; it has {}", known.join(", "))))
            }
        }
    }

    /// The error of a launch that cannot be, with the program's source where that is known.
    pub(crate) fn launch_error(&self, error: BindError) -> Error {
        Error::Launch { report: report::of_launch(&error, self), error: Box::new(error) }
    }

    /// Notes the constants that a new plan takes from dimensions. Warnings for those that have come to [`MANY_VALUES`] with it.
    pub(crate) fn note_constants(&self, kernel: &KernelSignature, consts: &[i64]) -> Option<Report> {
        let mut taken = self.0.taken.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut report = None;
        for (number, (param, &value)) in kernel.const_params.iter().zip(consts).enumerate().filter(|(_, (p, _))| p.from_dims) {
            let values = taken.entry((kernel.name.clone(), number)).or_default();
            if values.insert(value) && values.len() == MANY_VALUES {
                report = report::of_many_values(kernel, &param.name, values, self);
            }
        }
        report
    }

    /// Whether launches take configurations from sweeps' results.
    pub(crate) fn takes_tuned(&self) -> bool {
        self.0.options.tuned.is_some()
    }

    /// What sweeps found out about a kernel, read once a program; nothing for one that was compiled ahead of time.
    pub(crate) fn tuned(&self, kernel: &str) -> Arc<Tuned> {
        let mut table = self.0.tuned.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(known) = table.get(kernel) {
            return known.clone();
        }
        let tuned = Arc::new(match &self.0.code {
            #[cfg(feature = "jit")]
            CodeSource::Compiler(compiler) => compiler.tuned(kernel, self.0.options.tuned.as_ref()),
            CodeSource::Bundle(_) => Tuned::default(),
        });
        table.insert(kernel.to_owned(), tuned.clone());
        tuned
    }

    /// Where compiled code is kept.
    pub(crate) fn cache(&self) -> Option<&DiskCache> {
        self.0.options.cache.as_deref()
    }

    /// The code of a kernel: from memory, else from where the program's code comes from. The same key asked for by several threads is compiled once.
    pub(crate) fn compiled(
        &self,
        kernel: &KernelSignature,
        spec: &Specialization,
        target: Target,
        checked: bool,
    ) -> Result<Arc<CompiledKernel>, Error> {
        // Of a schedule the processor's code has nothing but whether programs wait for each other: all others share one compilation.
        #[cfg(feature = "jit")]
        let portable = (target == Target::Host && matches!(self.0.code, CodeSource::Compiler(_))).then(|| {
            let schedule = Schedule { cooperative: spec.schedule.cooperative, ..Schedule::default() };
            Specialization { schedule, ..spec.clone() }
        });
        #[cfg(feature = "jit")]
        let spec = portable.as_ref().unwrap_or(spec);
        let slot = {
            let mut table = self.0.compiled.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            table.entry((kernel.name.clone(), spec.clone(), target, checked)).or_default().clone()
        };
        let make = || match &self.0.code {
            #[cfg(feature = "jit")]
            CodeSource::Compiler(compiler) => compiler.compile(kernel, spec, target, checked, &self.0.options),
            CodeSource::Bundle(_) if checked => {
                let message = "the checked mode compiles kernels with checks: this program's were compiled ahead of time";
                Err(Error::Device(message.to_owned()))
            }
            CodeSource::Bundle(bundle) => bundle.find(kernel, spec, &target),
        };
        slot.get_or_init(|| make().map(Arc::new)).clone()
    }
}
