//! Kernels with their settings, and launches.
//!
//! A launch of shapes, types and alignments that came before finds its plan in a table without a lock and runs it; only new ones are bound, checked and
//! compiled.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
#[cfg(feature = "jit")]
use kiln_compiler::Work;
use kiln_ir::ScalarType;
use kiln_ir::signature::{
    ArgDesc, BindError, Config, HostExpr, Inferred, KernelSignature, LaunchOptions, Number, ParamKind, TuningKey,
};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::args::{Arg, IntoArg};
use crate::compiled::{CompiledKernel, Failure, index_text};
use crate::cuda::launch::Call;
use crate::cuda::module::Assembler;
use crate::device::{Device, Kind};
use crate::emulated::Ran;
use crate::error::{Error, TensorError};
use crate::plan::{Holds, LaunchKey, Plan};
use crate::program::Program;
use crate::report::{self, Report};
use crate::tensor::AnyTensor;
use crate::tuned::{self, Choice, Key, Subject, Tuning};

/// A kernel with values for its constants, types, functions and schedule. Cloning is cheap; clones share what they have compiled.
#[derive(Clone, Debug)]
pub struct Kernel {
    program: Program,
    signature: Arc<KernelSignature>,
    options: Arc<LaunchOptions>,
    /// Bit `i`: the value of scalar parameter `i` decides about the grid or a condition, and is part of what a launch is known by.
    deciding: u128,
    plans: Arc<Plans>,
}

#[derive(Debug, Default)]
struct Plans {
    table: ArcSwap<FxHashMap<Box<[u64]>, Arc<Plan>>>,
    /// Held while the table is replaced.
    writer: Mutex<()>,
}

/// What a launch did.
#[derive(Clone, Debug)]
pub struct Launched {
    plan: Arc<Plan>,
    emulation: Option<Arc<kiln_emulator::Report>>,
}

/// What a GPU made of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct GpuCode<'a> {
    /// Who made the machine code.
    pub assembler: &'a Assembler,
    /// Registers a thread.
    pub registers: u32,
    /// Bytes of local memory a thread: what did not fit into registers.
    pub local_bytes: u32,
    /// How long making and loading the code took.
    pub load_time: Duration,
}

impl Launched {
    /// Extents of the grid, 1 past its rank.
    pub fn grid(&self) -> [i64; 5] {
        self.plan.grid
    }

    /// Named dimensions; None for those that only absent tensors name.
    pub fn dims(&self) -> &[Option<i64>] {
        &self.plan.dims
    }

    /// Constants.
    pub fn consts(&self) -> &[i64] {
        &self.plan.consts
    }

    /// What there is to warn of: what compiling the kernel showed, where this process did (not the disk cache), and launches of these shapes. None for nothing.
    pub fn warnings(&self) -> Option<&Report> {
        self.plan.warnings.as_ref()
    }

    /// The configuration that was taken from a sweep's results; None where the launch gave everything, or nothing is known.
    pub fn tuned(&self) -> Option<&Choice> {
        self.plan.tuned.as_ref()
    }

    /// The code that ran.
    pub fn compiled(&self) -> &CompiledKernel {
        &self.plan.compiled
    }

    /// How the GPU got its code, and what it takes of a multiprocessor; None on other devices.
    pub fn gpu_code(&self) -> Option<GpuCode<'_>> {
        let kernel = self.plan.cuda.as_deref()?;
        let (registers, local_bytes) = (kernel.registers, kernel.local);
        Some(GpuCode { assembler: &kernel.assembler, registers, local_bytes, load_time: kernel.time })
    }

    /// What the emulator saw; None on other devices, and where nothing ran.
    pub fn emulation(&self) -> Option<&kiln_emulator::Report> {
        self.emulation.as_deref()
    }
}

impl Kernel {
    pub(crate) fn new(program: Program, signature: Arc<KernelSignature>) -> Kernel {
        let mut deciding = 0u128;
        let mut see = |expr: &HostExpr| {
            expr.visit(&mut |part| {
                if let HostExpr::Scalar(i) = part {
                    deciding |= 1u128.checked_shl(*i).unwrap_or(u128::MAX);
                }
            });
        };
        signature.grid.iter().for_each(&mut see);
        signature.requires.iter().for_each(|r| see(&r.expr));
        signature.tune_key.iter().for_each(&mut see);
        signature.const_params.iter().filter_map(|c| c.default.as_ref()).for_each(&mut see);
        signature.schedule.fields.iter().flat_map(|(_, e)| e).for_each(&mut see);
        for param in &signature.params {
            if let ParamKind::Scalar { default: Some(default), .. } = &param.kind {
                see(default);
            }
        }
        Kernel { program, signature, options: Arc::default(), deciding, plans: Arc::default() }
    }

    /// The signature.
    pub fn signature(&self) -> &Arc<KernelSignature> {
        &self.signature
    }

    fn changed(&self, change: impl FnOnce(&mut LaunchOptions)) -> Kernel {
        let mut options = (*self.options).clone();
        change(&mut options);
        Kernel { options: Arc::new(options), plans: Arc::default(), ..self.clone() }
    }

    /// The kernel with a value for a constant (bools as 0 or 1). Names are checked at the launch.
    #[must_use]
    pub fn constant(&self, name: &str, value: impl Into<i64>) -> Kernel {
        self.changed(|o| put(&mut o.consts, name, value.into()))
    }

    /// The kernel with a type for a type parameter that its arguments do not determine.
    #[must_use]
    pub fn type_param(&self, name: &str, ty: ScalarType) -> Kernel {
        self.changed(|o| put(&mut o.types, name, ty))
    }

    /// The kernel with a function for a function parameter, by its path.
    #[must_use]
    pub fn function(&self, name: &str, path: &str) -> Kernel {
        self.changed(|o| put(&mut o.fns, name, path.to_owned()))
    }

    /// The kernel with a schedule field set (bools as 0 or 1).
    #[must_use]
    pub fn schedule(&self, field: &str, values: &[i64]) -> Kernel {
        self.changed(|o| put(&mut o.schedule, field, values.to_vec()))
    }

    /// The kernel with a configuration of its tuning space.
    #[must_use]
    pub fn configured(&self, config: &Config) -> Kernel {
        self.changed(|o| *o = config.apply(&self.signature, o))
    }

    /// Begins a launch.
    pub fn on<'a>(&'a self, device: &'a Device) -> Launch<'a> {
        Launch { kernel: self, device, args: SmallVec::new(), problem: None }
    }
}

fn put<V>(list: &mut Vec<(String, V)>, name: &str, value: V) {
    match list.iter_mut().find(|(n, _)| n == name) {
        Some((_, old)) => *old = value,
        None => list.push((name.to_owned(), value)),
    }
}

/// A launch that is being put together: arguments in order, by name, or both.
#[derive(Debug)]
pub struct Launch<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) device: &'a Device,
    args: SmallVec<[Option<Arg<'a>>; 12]>,
    /// The first mistake, reported by the methods that end the chain.
    problem: Option<Error>,
}

impl<'a> Launch<'a> {
    /// The next argument: the first parameter that has none yet.
    #[must_use]
    pub fn arg(mut self, arg: impl IntoArg<'a>) -> Self {
        let arg = arg.into_arg();
        match self.args.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(arg),
            None => self.args.push(Some(arg)),
        }
        self
    }

    /// Every argument, in order.
    pub(crate) fn args(mut self, args: impl Iterator<Item = Option<Arg<'a>>>) -> Self {
        self.args = args.collect();
        self
    }

    /// The argument of a parameter by its name.
    #[must_use]
    pub fn named(mut self, name: &str, arg: impl IntoArg<'a>) -> Self {
        let Some(number) = self.kernel.signature.params.iter().position(|p| p.name == name) else {
            let known: Vec<&str> = self.kernel.signature.params.iter().map(|p| p.name.as_str()).collect();
            self.problem.get_or_insert_with(|| {
                Error::Argument(format!(
                    "kernel `{}` has no parameter `{name}`; it has {}",
                    self.kernel.signature.name,
                    known.join(", ")
                ))
            });
            return self;
        };
        if self.args.len() <= number {
            self.args.resize(number + 1, None);
        }
        if self.args[number].replace(arg.into_arg()).is_some() {
            self.problem.get_or_insert_with(|| Error::Argument(format!("parameter `{name}` is given twice")));
        }
        self
    }

    /// The next argument, a raw pointer.
    ///
    /// # Safety
    /// The kernel accesses what it likes behind the pointer: it must be there for the whole launch, and nothing else may use it meanwhile.
    #[must_use]
    pub unsafe fn pointer(self, pointee: ScalarType, address: u64) -> Self {
        self.arg(Arg::Pointer { pointee, address })
    }

    fn complete(&mut self) -> Result<SmallVec<[Arg<'a>; 12]>, Error> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        let missing = self.kernel.signature.params.len().saturating_sub(self.args.len());
        Ok(self.args.iter().map(|a| a.unwrap_or(Arg::Absent)).chain(std::iter::repeat_n(Arg::Absent, missing)).collect())
    }

    fn options(&self) -> LaunchOptions {
        LaunchOptions {
            num_sms: self.device.num_sms(),
            shared_memory: self.device.shared_memory(),
            ..(*self.kernel.options).clone()
        }
    }

    /// What the arguments given as [`Arg::Infer`] have to be: one entry a parameter.
    ///
    /// # Errors
    /// Where that does not follow from the other arguments, or those disagree.
    pub fn infer(mut self) -> Result<Vec<Option<Inferred>>, Error> {
        let args = self.complete()?;
        let descs: SmallVec<[_; 12]> = args.iter().map(Arg::desc).collect();
        self.kernel.signature.infer(&descs, &self.options()).map_err(|e| self.kernel.program.launch_error(*e))
    }

    /// Runs the kernel and waits until it is done.
    ///
    /// # Errors
    /// Where the arguments do not fit the kernel, it does not compile, a tensor is in use elsewhere, an assertion fails, or the checked mode finds a mistake. But
    /// for the last two, no tensor is changed.
    pub fn run(mut self) -> Result<Launched, Error> {
        self.go(true)
    }

    /// Everything up to the run itself: binds, checks and compiles.
    ///
    /// # Errors
    /// As [`Launch::run`].
    pub fn prepare(mut self) -> Result<Launched, Error> {
        self.go(false)
    }

    /// The arguments, and the plan for them: the one that is known, else a new one.
    pub(crate) fn planned(&mut self) -> Result<(SmallVec<[Arg<'a>; 12]>, Arc<Plan>), Error> {
        let args = self.complete()?;
        let kernel = self.kernel;
        let key = LaunchKey::of(&args, kernel.deciding, self.device.num_sms(), self.device.code());
        let known = kernel.plans.table.load().get(key.words()).cloned();
        let plan = match known {
            Some(plan) => {
                plan.check_overlap(&args).map_err(|(i, j)| self.overlap_error(&args, i, j))?;
                plan
            }
            None => self.plan(&args, &key)?,
        };
        Ok((args, plan))
    }

    /// Plans, and runs the kernel if told so.
    pub(crate) fn go(&mut self, run: bool) -> Result<Launched, Error> {
        let (args, plan) = self.planned()?;
        let kernel = self.kernel;
        if !run {
            return Ok(Launched { plan, emulation: None });
        }
        let pool = match self.device.kind() {
            Kind::Cpu(pool) | Kind::Checked(pool) => {
                on_host(&args)?;
                pool
            }
            Kind::Emulator(_) => return self.emulate(&args, plan),
            // SAFETY: the plan is of exactly these arguments, whose memory `on_gpu` holds; raw pointers are the promise of `Launch::pointer` and
            // `AnyTensor::from_addresses`.
            Kind::Cuda(_) => return self.on_gpu(&args, plan, |call| unsafe { call.run() }).map(|(launched, ())| launched),
        };
        let names = kernel.signature.params.iter().map(|p| p.name.as_str());
        let memory = self.device.is_checked().then(|| plan.compiled.memory(names.zip(&args)));
        let slots = plan.slots(&args, |address| address).map_err(|i| self.number_error(&args, i))?;
        let failure = {
            let _holds = Holds::take(&args, &plan)?;
            // SAFETY: the plan is of exactly these types, ranks and presences; the tensors lie inside memory that is held while the kernel runs; raw pointers are
            // the promise of `Launch::pointer` and `AnyTensor::from_addresses`.
            unsafe { plan.compiled.run(&kernel.signature.name, &slots, plan.grid, plan.programs, pool, memory)? }
        };
        match failure {
            None => Ok(Launched { plan, emulation: None }),
            Some(failure) => Err(self.assertion_error(&plan, failure)),
        }
    }

    /// The launch on the emulator.
    fn emulate(&self, args: &[Arg<'a>], plan: Arc<Plan>) -> Result<Launched, Error> {
        let Some(options) = self.device.emulator_options() else {
            return Err(Error::Internal("a plan for another device".to_owned()));
        };
        let emulated = plan.compiled.emulated()?;
        // Numbers are checked before memory is held.
        plan.slots(args, |address| address).map_err(|i| self.number_error(args, i))?;
        let ran = {
            let _holds = Holds::take(args, &plan)?;
            // SAFETY: the plan is of exactly these arguments; their memory is held; raw pointers are the promise of `Launch::pointer` and
            // `AnyTensor::from_addresses`.
            unsafe { emulated.run(&plan.compiled, &self.kernel.signature.name, args, &plan, options)? }
        };
        match ran {
            Ran::Done(report) => Ok(Launched { plan, emulation: Some(Arc::new(report)) }),
            Ran::Failed(failure) => Err(self.assertion_error(&plan, failure)),
        }
    }

    /// The launch on a GPU: `work` gets it with its memory held.
    pub(crate) fn on_gpu<T>(
        &self,
        args: &[Arg<'a>],
        plan: Arc<Plan>,
        work: impl FnOnce(&Call<'_>) -> Result<T, Error>,
    ) -> Result<(Launched, T), Error> {
        let Some(kernel) = &plan.cuda else {
            return Err(Error::Internal("a plan for another device".to_owned()));
        };
        let slots = plan.slots(args, |address| address).map_err(|i| self.number_error(args, i))?;
        let done = {
            let _holds = Holds::take(args, &plan)?;
            work(&Call { kernel, name: &self.kernel.signature.name, plan: &plan, args, slots: &slots })?
        };
        Ok((Launched { plan, emulation: None }, done))
    }

    fn assertion_error(&self, plan: &Plan, failure: Failure) -> Error {
        let info = plan.compiled.assertion(failure);
        Error::Assertion {
            kernel: self.kernel.signature.name.clone(),
            message: info.map_or_else(String::new, |i| i.message.clone()),
            place: info.map_or_else(|| "?".to_owned(), |i| i.place.clone()),
            program: index_text(failure.program, plan.grid),
        }
    }

    /// Binds, compiles, and enters the plan into the table.
    fn plan(&self, args: &[Arg<'a>], key: &LaunchKey) -> Result<Arc<Plan>, Error> {
        let kernel = self.kernel;
        let descs: SmallVec<[_; 12]> = args.iter().map(Arg::desc).collect();
        let options = self.options();
        // A configuration that cannot be launched here, found for other sizes, gives way to the next, and at last to the defaults.
        let tuned = self.choices(&descs, &options).into_iter().find_map(|choice| {
            let mut plan = self.make_plan(&descs, &choice.config.apply(&kernel.signature, &options)).ok()?;
            plan.tuned = Some(choice);
            Some(plan)
        });
        let plan = Arc::new(tuned.map_or_else(|| self.make_plan(&descs, &options), Ok)?);
        let _writer = kernel.plans.writer.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut table = FxHashMap::clone(&kernel.plans.table.load());
        if table.len() >= MAX_PLANS {
            table.clear();
        }
        table.insert(key.words().into(), plan.clone());
        kernel.plans.table.store(Arc::new(table));
        Ok(plan)
    }

    fn make_plan(&self, descs: &[ArgDesc<'_>], options: &LaunchOptions) -> Result<Plan, Error> {
        let kernel = self.kernel;
        let bound = kernel.signature.bind(descs, options).map_err(|e| kernel.program.launch_error(*e))?;
        let compiled = kernel.program.compiled(&kernel.signature, &bound.spec, self.device.target(), self.device.is_checked())?;
        let cuda = match self.device.kind() {
            Kind::Cuda(gpu) => Some(compiled.loaded(gpu, kernel.program.cache())?),
            // What the emulator cannot read is said before anything runs.
            Kind::Emulator(_) => compiled.emulated().map(|_| None)?,
            Kind::Cpu(_) | Kind::Checked(_) => None,
        };
        let noted = kernel.program.note_constants(&kernel.signature, &bound.spec.consts);
        let warnings = report::both(compiled.warnings.clone(), noted);
        let mut plan = Plan::new(&kernel.signature, bound, compiled)?;
        plan.warnings = warnings;
        plan.cuda = cuda;
        Ok(plan)
    }

    /// Configurations from sweeps' results.
    fn choices(&self, descs: &[ArgDesc<'_>], options: &LaunchOptions) -> Vec<Choice> {
        let kernel = self.kernel;
        if kernel.signature.tune.is_empty() || !kernel.program.takes_tuned() {
            return vec![];
        }
        let tuned = kernel.program.tuned(&kernel.signature.name);
        if tuned.records.is_empty() {
            return vec![];
        }
        // Arguments that do not agree are the launch's own error.
        let Ok(found) = kernel.signature.tuning_key(descs, options) else { return vec![] };
        let subject = self.subject(descs, options, &found, &tuned.content);
        let key = Key(found.key.into_iter().collect());
        tuned::choices(&tuned.records, &subject, &key, &kernel.signature, options)
    }

    fn subject(&self, descs: &[ArgDesc<'_>], options: &LaunchOptions, found: &TuningKey, content: &str) -> Subject {
        let signature = &self.kernel.signature;
        let absent = signature.params.iter().zip(descs).filter(|(p, desc)| p.optional && matches!(desc, ArgDesc::Absent));
        tuned::subject(signature, options, found, absent.map(|(p, _)| p.name.clone()), self.device.tuning_name(), content)
    }

    /// What a sweep has to know of this launch: every configuration of the kernel's `#[tune]`, and what results are remembered by.
    ///
    /// # Errors
    /// As [`Launch::run`], up to compilation.
    pub fn tuning(mut self) -> Result<Tuning, Error> {
        let args = self.complete()?;
        let descs: SmallVec<[_; 12]> = args.iter().map(Arg::desc).collect();
        let options = self.options();
        let program = &self.kernel.program;
        let fails = |e: Box<BindError>| program.launch_error(*e);
        let signature = &self.kernel.signature;
        let found = signature.tuning_key(&descs, &options).map_err(fails)?;
        Ok(Tuning {
            subject: self.subject(&descs, &options, &found, &program.tuned(&signature.name).content),
            candidates: signature.candidates(&descs, &options).map_err(fails)?,
            // A kernel whose constants only a configuration gives has no defaults.
            defaults: signature.default_config(&descs, &options).ok(),
            dims: found.dims.into_iter().collect(),
            key: Key(found.key.into_iter().collect()),
        })
    }

    /// Counts what the launch does, without compiling or running it.
    ///
    /// # Errors
    /// As [`Launch::run`], up to compilation.
    #[cfg(feature = "jit")]
    pub fn work(mut self) -> Result<Work, Error> {
        let args = self.complete()?;
        let descs: SmallVec<[_; 12]> = args.iter().map(Arg::desc).collect();
        let kernel = self.kernel;
        let bound = kernel.signature.bind(&descs, &self.options()).map_err(|e| kernel.program.launch_error(*e))?;
        kernel.program.work(&kernel.signature.name, &bound, &descs, self.device.num_sms())
    }

    /// The error that binding gives, for a launch whose plan was known: bound again for its words.
    fn bind_error(&self, args: &[Arg<'a>]) -> Option<Error> {
        let descs: SmallVec<[_; 12]> = args.iter().map(Arg::desc).collect();
        self.kernel.signature.bind(&descs, &self.options()).err().map(|e| self.kernel.program.launch_error(*e))
    }

    fn overlap_error(&self, args: &[Arg<'a>], i: usize, j: usize) -> Error {
        let name = |k: usize| &self.kernel.signature.params[k].name;
        self.bind_error(args).unwrap_or_else(|| {
            Error::Internal(format!("`{}` and `{}` overlap on one path but not on the other", name(i), name(j)))
        })
    }

    fn number_error(&self, args: &[Arg<'a>], i: usize) -> Error {
        let name = &self.kernel.signature.params[i].name;
        self.bind_error(args)
            .unwrap_or_else(|| Error::Internal(format!("the number for `{name}` fits on one path but not on the other")))
    }
}

/// Refuses tensors in a GPU's memory, which the CPU cannot follow.
fn on_host(args: &[Arg<'_>]) -> Result<(), TensorError> {
    for (i, arg) in args.iter().enumerate() {
        if let Arg::Tensor(tensor, _) = arg
            && let Some(memory) = tensor.storage().device()
        {
            let (number, there) = (i + 1, memory.gpu.name());
            return Err(TensorError::Place(format!(
                "argument {number} is on {there}, and the launch is not: copy it to the host (`Tensor::to_host`)"
            )));
        }
    }
    Ok(())
}

/// Plans a kernel keeps; a program whose shapes never repeat starts over now and then instead of growing.
const MAX_PLANS: usize = 4096;

/// Owned arguments, for programs that put a launch together at run time.
#[derive(Clone, Debug)]
pub enum OwnedArg {
    /// A tensor.
    Tensor(AnyTensor),
    /// A number.
    Number(Number),
    /// A tensor to be made.
    Infer,
    /// Nothing.
    Absent,
}

impl OwnedArg {
    /// The argument, of which a tensor may be written.
    pub fn as_arg(&mut self) -> Arg<'_> {
        match self {
            OwnedArg::Tensor(tensor) => Arg::Tensor(tensor, true),
            OwnedArg::Number(number) => Arg::Number(*number, None),
            OwnedArg::Infer => Arg::Infer,
            OwnedArg::Absent => Arg::Absent,
        }
    }
}
