//! What the code that `kernels!`, `include_kernels!` and `kiln-build` generate stands on: programs and kernels that live as long as the process, and launches
//! whose arguments come by number.
//!
//! Programs do not use this module themselves.

use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;
use kiln_ir::ScalarType;
use kiln_ir::abi::EntryPoint;
use kiln_ir::signature::Schedule;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::args::Arg;
use crate::bundle::BundleCode;
use crate::device::Device;
use crate::element::Element;
use crate::error::Error;
use crate::kernel::{Kernel, Launch, Launched};
use crate::program::{CodeSource, Program, ProgramOptions};
use crate::stream::Stream;

#[cfg(feature = "jit")]
pub use crate::embedded::{Embedded, EmbeddedFiles};
pub use kiln_ir::abi::HostContext;

/// Opens a bundle that `kiln-build` made.
///
/// # Errors
/// Where the bundle is of another version of Kiln, or damaged.
///
/// # Safety
/// `host` are the entry points of the bundle's machine code, in its order.
pub unsafe fn open_bundle(bytes: &[u8], host: &'static [EntryPoint]) -> Result<Program, Error> {
    let bundle = BundleCode::decode(bytes, host)?;
    Ok(Program::of(bundle.signatures().to_vec(), CodeSource::Bundle(bundle), ProgramOptions::without_cache()))
}

/// A program that is opened when it is first used, and lives as long as the process.
#[derive(Debug)]
pub struct StaticProgram {
    open: fn() -> Result<Program, Error>,
    opened: OnceLock<Result<Program, Error>>,
}

impl StaticProgram {
    /// A program that `open` opens.
    pub const fn new(open: fn() -> Result<Program, Error>) -> StaticProgram {
        StaticProgram { open, opened: OnceLock::new() }
    }

    /// The program.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn get(&self) -> Result<&Program, Error> {
        self.opened.get_or_init(self.open).as_ref().map_err(Clone::clone)
    }
}

/// A kernel of a [`StaticProgram`], with the variants of it that launches asked for.
#[derive(Debug)]
pub struct StaticKernel {
    program: fn() -> &'static StaticProgram,
    name: &'static str,
    opened: OnceLock<Result<Variants, Error>>,
}

#[derive(Debug)]
struct Variants {
    /// As it is written.
    plain: Kernel,
    /// With constants, types, functions and schedule fields of launches.
    changed: ArcSwap<FxHashMap<Overrides, Arc<Kernel>>>,
    /// Held while the table is replaced.
    writer: Mutex<()>,
}

/// What a launch says besides its arguments, by number.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Overrides {
    types: SmallVec<[(u16, ScalarType); 2]>,
    consts: SmallVec<[(u16, i64); 6]>,
    schedule: SmallVec<[(u16, [u32; 3], u8); 3]>,
    fns: Vec<(u16, String)>,
}

/// Variants a kernel keeps; a program whose settings never repeat starts over now and then instead of growing.
const MAX_VARIANTS: usize = 1024;

impl StaticKernel {
    /// The kernel `name` of a program.
    pub const fn new(program: fn() -> &'static StaticProgram, name: &'static str) -> StaticKernel {
        StaticKernel { program, name, opened: OnceLock::new() }
    }

    /// The kernel as it is written: for launches whose arguments are known at run time only, and for its signature.
    ///
    /// # Errors
    /// Where the program cannot be opened.
    pub fn get(&self) -> Result<&Kernel, Error> {
        Ok(&self.variants()?.plain)
    }

    fn variants(&self) -> Result<&Variants, Error> {
        let open = || {
            let plain = (self.program)().get()?.kernel(self.name)?;
            Ok(Variants { plain, changed: ArcSwap::default(), writer: Mutex::default() })
        };
        self.opened.get_or_init(open).as_ref().map_err(Clone::clone)
    }
}

impl Variants {
    /// The kernel with overrides: from the table without a lock, else made and entered.
    fn with(&self, overrides: &Overrides) -> Arc<Kernel> {
        if let Some(kernel) = self.changed.load().get(overrides) {
            return kernel.clone();
        }
        let _writer = self.writer.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut table = FxHashMap::clone(&self.changed.load());
        if let Some(kernel) = table.get(overrides) {
            return kernel.clone();
        }
        let signature = self.plain.signature();
        let mut kernel = self.plain.clone();
        for (number, ty) in &overrides.types {
            kernel = kernel.type_param(&signature.type_params[usize::from(*number)].name, *ty);
        }
        for (number, value) in &overrides.consts {
            kernel = kernel.constant(&signature.const_params[usize::from(*number)].name, *value);
        }
        for (number, path) in &overrides.fns {
            kernel = kernel.function(&signature.fn_params[usize::from(*number)].name, path);
        }
        for (number, values, count) in &overrides.schedule {
            let values: SmallVec<[i64; 3]> = values[..usize::from(*count)].iter().map(|v| i64::from(*v)).collect();
            kernel = kernel.schedule(Schedule::FIELDS[usize::from(*number)], &values);
        }
        let kernel = Arc::new(kernel);
        if table.len() >= MAX_VARIANTS {
            table.clear();
        }
        table.insert(overrides.clone(), kernel.clone());
        self.changed.store(Arc::new(table));
        kernel
    }
}

/// Where a kernel can be launched.
pub trait LaunchTarget {
    /// The device that runs it.
    fn device(&self) -> &Device;

    /// Runs a launch that was begun on that device.
    ///
    /// # Errors
    /// As [`Launch::run`].
    fn run(&self, launch: Launch<'_>) -> Result<Launched, Error>;
}

/// Launches on a device are done when they return.
impl LaunchTarget for Device {
    fn device(&self) -> &Device {
        self
    }

    fn run(&self, launch: Launch<'_>) -> Result<Launched, Error> {
        launch.run()
    }
}

/// Launches in a stream are not waited for; see [`Launch::enqueue`].
impl LaunchTarget for Stream {
    fn device(&self) -> &Device {
        Stream::device(self)
    }

    fn run(&self, launch: Launch<'_>) -> Result<Launched, Error> {
        launch.enqueue(self)
    }
}

/// The argument of a scalar parameter.
pub fn number<'a, T: Element>(value: T) -> Arg<'a> {
    Arg::Number(value.number(), Some(T::TYPE))
}

/// A launch of a [`StaticKernel`] that is being put together. Arguments, constants, functions and schedule fields come by their numbers in the signature.
#[derive(Debug)]
pub struct TypedLaunch<'a> {
    kernel: &'static StaticKernel,
    args: SmallVec<[Option<Arg<'a>>; 12]>,
    overrides: Overrides,
}

fn put<V, A: smallvec::Array<Item = (u16, V)>>(list: &mut SmallVec<A>, number: usize, value: V) {
    match list.iter_mut().find(|(n, _)| usize::from(*n) == number) {
        Some((_, old)) => *old = value,
        None => list.push((number as u16, value)),
    }
}

impl<'a> TypedLaunch<'a> {
    /// A launch without arguments.
    pub fn new(kernel: &'static StaticKernel) -> TypedLaunch<'a> {
        TypedLaunch { kernel, args: SmallVec::new(), overrides: Overrides::default() }
    }

    /// Gives the argument of a parameter; the last one counts.
    pub fn argument(&mut self, number: usize, arg: Arg<'a>) {
        if self.args.len() <= number {
            self.args.resize(number + 1, None);
        }
        self.args[number] = Some(arg);
    }

    /// Gives a constant (bools as 0 or 1).
    pub fn constant(&mut self, number: usize, value: i64) {
        put(&mut self.overrides.consts, number, value);
    }

    /// Gives a type parameter.
    pub fn type_param(&mut self, number: usize, ty: ScalarType) {
        put(&mut self.overrides.types, number, ty);
    }

    /// Gives a function parameter, by the function's path.
    pub fn function(&mut self, number: usize, path: &str) {
        self.overrides.fns.retain(|(n, _)| usize::from(*n) != number);
        self.overrides.fns.push((number as u16, path.to_owned()));
    }

    /// Gives a schedule field, by its number in `Schedule::FIELDS`: one number, or three (bools as 0 or 1).
    pub fn schedule(&mut self, number: usize, values: &[u32]) {
        let mut three = [0; 3];
        let count = values.len().min(3);
        three[..count].copy_from_slice(&values[..count]);
        self.overrides.schedule.retain(|(n, ..)| usize::from(*n) != number);
        self.overrides.schedule.push((number as u16, three, count as u8));
    }

    fn finish<R>(self, end: impl FnOnce(Launch<'_>) -> R, device: &Device) -> Result<R, Error> {
        // Arguments live longer than a kernel made for this launch does.
        fn shorter<'s, 'l: 's>(arg: &Option<Arg<'l>>) -> Option<Arg<'s>> {
            *arg
        }
        let args = self.args.iter().map(shorter);
        let variants = self.kernel.variants()?;
        if self.overrides == Overrides::default() {
            return Ok(end(variants.plain.on(device).args(args)));
        }
        let kernel = variants.with(&self.overrides);
        Ok(end(kernel.on(device).args(args)))
    }

    /// Runs the kernel.
    ///
    /// # Errors
    /// As [`crate::Launch::run`].
    pub fn run(self, on: &impl LaunchTarget) -> Result<Launched, Error> {
        self.finish(|launch| on.run(launch), on.device())?
    }

    /// Everything up to the run itself.
    ///
    /// # Errors
    /// As [`crate::Launch::prepare`].
    pub fn prepare(self, device: &Device) -> Result<Launched, Error> {
        self.finish(|launch| launch.prepare(), device)?
    }
}
