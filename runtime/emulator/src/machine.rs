//! The machine: device memory, loaded modules, launches.

use std::sync::Mutex;

use serde::Serialize;

use crate::arch::Arch;
use crate::counters::{Counters, Line};
use crate::decode::program::{Program, Target};
use crate::error::{Error, Place};
use crate::exec::grid;
use crate::exec::state::Env;
use crate::memory::CONST_WINDOW;
use crate::memory::global::GlobalMemory;
use crate::options::{Limits, Options};

/// A device address.
pub type DevicePtr = u64;

/// A loaded module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleId(usize);

/// A kernel argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// 32 bits.
    U32(u32),
    /// 32 bits.
    I32(i32),
    /// 64 bits.
    U64(u64),
    /// 64 bits.
    I64(i64),
    /// Single.
    F32(f32),
    /// Double.
    F64(f64),
    /// Device address.
    Ptr(DevicePtr),
    /// A structure or a tensor map, by value.
    Bytes(Vec<u8>),
}

impl Arg {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Arg::U32(v) => v.to_le_bytes().to_vec(),
            Arg::I32(v) => v.to_le_bytes().to_vec(),
            Arg::U64(v) | Arg::Ptr(v) => v.to_le_bytes().to_vec(),
            Arg::I64(v) => v.to_le_bytes().to_vec(),
            Arg::F32(v) => v.to_le_bytes().to_vec(),
            Arg::F64(v) => v.to_le_bytes().to_vec(),
            Arg::Bytes(b) => b.clone(),
        }
    }
}

/// Configuration of a launch.
#[derive(Clone, Debug)]
pub struct Launch {
    /// CTAs in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a CTA.
    pub block: [u32; 3],
    /// CTAs of a cluster; `None` takes the kernel's own, or 1.
    pub cluster: Option<[u32; 3]>,
    /// Dynamic shared memory, in bytes.
    pub smem: u32,
    /// Arguments in order.
    pub params: Vec<Arg>,
}

/// Launch configuration as kernels see it.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) cluster: [u32; 3],
    pub(crate) smem: u32,
    pub(crate) explicit_cluster: bool,
}

/// What a launch did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Warp instructions executed, predicated-off ones included.
    pub warp_instructions: u64,
    /// Counts, when [`Options::counters`] is on.
    pub counters: Option<Counters>,
    /// What `printf` wrote.
    pub output: String,
}

struct Module {
    program: Program,
    globals: Vec<u64>,
    constants: Vec<u8>,
    code_base: Vec<u32>,
    instructions: usize,
}

/// A GPU of some architecture, with no GPU.
///
/// ```
/// use kiln_emulator::{Arch, Arg, Launch, Machine, Options};
/// let ptx = "
/// .version 8.0
/// .target sm_80
/// .address_size 64
/// .entry fill(.param .u64 out, .param .u32 value) {
///     .reg .b32 %r<3>; .reg .b64 %d<4>;
///     ld.param.u64 %d1, [out];
///     ld.param.u32 %r1, [value];
///     mov.u32 %r2, %tid.x;
///     mul.wide.u32 %d2, %r2, 4;
///     add.u64 %d3, %d1, %d2;
///     st.global.u32 [%d3], %r1;
///     ret;
/// }";
/// let mut machine = Machine::new(Arch::Sm80);
/// let out = machine.alloc(64 * 4)?;
/// let module = machine.load_ptx(ptx)?;
/// let launch = Launch {
///     grid: [1; 3], block: [64, 1, 1], cluster: None, smem: 0,
///     params: vec![Arg::Ptr(out), Arg::U32(7)],
/// };
/// machine.launch(module, "fill", &launch, &Options::default())?;
/// assert_eq!(machine.read::<u32>(out, 64)?, [7; 64]);
/// # Ok::<(), kiln_emulator::Error>(())
/// ```
pub struct Machine {
    arch: Arch,
    memory: GlobalMemory,
    modules: Vec<Module>,
    launches: u32,
    limits: Limits,
}

impl Machine {
    /// A machine with empty memory.
    pub fn new(arch: Arch) -> Machine {
        Machine { arch, memory: GlobalMemory::default(), modules: vec![], launches: 0, limits: Limits::default() }
    }

    /// The architecture.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// Allocates `bytes` bytes that nothing has written yet, at a multiple of 512.
    ///
    /// # Errors
    /// [`Error::Host`] beyond 8 GiB in total.
    pub fn alloc(&mut self, bytes: u64) -> Result<DevicePtr, Error> {
        self.reserve(bytes, 512, false)
    }

    fn reserve(&mut self, bytes: u64, align: u64, initialized: bool) -> Result<DevicePtr, Error> {
        self.memory
            .alloc(bytes, align, initialized, self.limits.memory)
            .ok_or_else(|| Error::Host(format!("{bytes} bytes do not fit in the device's {} bytes", self.limits.memory)))
    }

    /// Allocates and fills.
    ///
    /// # Errors
    /// As [`Machine::alloc`].
    pub fn upload<T: bytemuck::NoUninit>(&mut self, values: &[T]) -> Result<DevicePtr, Error> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let ptr = self.alloc(bytes.len() as u64)?;
        self.write(ptr, bytes)?;
        Ok(ptr)
    }

    /// Frees an allocation.
    ///
    /// # Errors
    /// [`Error::Host`] if `ptr` is not the start of one.
    pub fn free(&mut self, ptr: DevicePtr) -> Result<(), Error> {
        if self.memory.free(ptr) { Ok(()) } else { Err(Error::Host(format!("no allocation starts at {ptr:#x}"))) }
    }

    /// Copies to the device.
    ///
    /// # Errors
    /// [`Error::Host`] outside one allocation.
    pub fn write<T: bytemuck::NoUninit>(&mut self, ptr: DevicePtr, values: &[T]) -> Result<(), Error> {
        if self.memory.write(ptr, bytemuck::cast_slice(values)) { Ok(()) } else { Err(outside(ptr)) }
    }

    /// Copies `count` values from the device.
    ///
    /// # Errors
    /// [`Error::Host`] outside one allocation.
    pub fn read<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(&self, ptr: DevicePtr, count: usize) -> Result<Vec<T>, Error> {
        let mut values = vec![T::zeroed(); count];
        if self.memory.read(ptr, bytemuck::cast_slice_mut(&mut values)) { Ok(values) } else { Err(outside(ptr)) }
    }

    /// Fills bytes on the device.
    ///
    /// # Errors
    /// [`Error::Host`] outside one allocation.
    pub fn fill(&mut self, ptr: DevicePtr, byte: u8, count: u64) -> Result<(), Error> {
        let bytes = vec![byte; count as usize];
        self.write(ptr, &bytes)
    }

    /// Parses and decodes PTX, and makes its variables.
    ///
    /// # Errors
    /// [`Error::Parse`] or [`Error::Unsupported`] with the line.
    pub fn load_ptx(&mut self, source: &str) -> Result<ModuleId, Error> {
        let program = crate::decode::load(source, self.arch)?;
        let mut globals = vec![];
        for g in &program.globals {
            // Variables without initializer are zero.
            globals.push(self.reserve(g.size.max(1), g.align, true)?);
        }
        let address = |target: Target, addend: i64| -> u64 {
            let base = match target {
                Target::Global(i) => globals[i as usize],
                Target::Constant(offset) => CONST_WINDOW + u64::from(offset),
                Target::Function(i) => crate::memory::FUNCTION_BASE + 16 * u64::from(i),
            };
            base.wrapping_add(addend as u64)
        };
        for (g, ptr) in program.globals.iter().zip(&globals) {
            let mut bytes = g.init.clone();
            for (offset, target, addend) in &g.relocs {
                let at = *offset as usize;
                if let Some(slot) = bytes.get_mut(at..at + 8) {
                    slot.copy_from_slice(&address(*target, *addend).to_le_bytes());
                }
            }
            self.memory.write(*ptr, &bytes);
        }
        let mut constants = program.constants.clone();
        for (offset, target, addend) in &program.constant_relocs {
            let at = *offset as usize;
            if let Some(slot) = constants.get_mut(at..at + 8) {
                slot.copy_from_slice(&address(*target, *addend).to_le_bytes());
            }
        }
        let mut code_base = vec![];
        let mut instructions = 0;
        for f in &program.functions {
            code_base.push(instructions as u32);
            // Declarations take one index, so that bases are distinct.
            instructions += f.insts.len().max(1);
        }
        self.modules.push(Module { program, globals, constants, code_base, instructions });
        Ok(ModuleId(self.modules.len() - 1))
    }

    /// Names of a module's kernels.
    pub fn kernels(&self, module: ModuleId) -> Vec<&str> {
        let functions = &self.modules[module.0].program.functions;
        functions.iter().filter(|f| f.is_entry).map(|f| f.name.as_str()).collect()
    }

    /// Address and size of a module's `.global` variable.
    pub fn global(&self, module: ModuleId, name: &str) -> Option<(DevicePtr, u64)> {
        let m = &self.modules[module.0];
        let i = m.program.globals.iter().position(|g| g.name == name)?;
        Some((m.globals[i], m.program.globals[i].size))
    }

    /// Names and sizes in bytes of a kernel's parameters.
    pub fn parameters(&self, module: ModuleId, kernel: &str) -> Option<Vec<(String, u32)>> {
        let m = &self.modules[module.0];
        let f = &m.program.functions[*m.program.by_name.get(kernel)? as usize];
        Some(f.params.iter().map(|p| (p.name.clone(), p.size)).collect())
    }

    /// Runs a kernel to its end.
    ///
    /// # Errors
    /// [`Error::Launch`] if the configuration or arguments do not fit; [`Error::Fault`] for what the kernel did.
    pub fn launch(&mut self, module: ModuleId, kernel: &str, launch: &Launch, options: &Options) -> Result<Report, Error> {
        let fail = |m: String| Err(Error::Launch(m));
        let module = &self.modules[module.0];
        let Some(&index) = module.program.by_name.get(kernel) else {
            return fail(format!("the module has no kernel `{kernel}`"));
        };
        let f = &module.program.functions[index as usize];
        if !f.is_entry {
            return fail(format!("`{kernel}` is a device function, not a kernel"));
        }
        let shape = self.shape(f, launch)?;
        let mut params = vec![0u8; f.param_size as usize];
        if f.params.len() != launch.params.len() {
            return fail(format!("{kernel} takes {} arguments, {} given", f.params.len(), launch.params.len()));
        }
        for (p, arg) in f.params.iter().zip(&launch.params) {
            let bytes = arg.bytes();
            if bytes.len() != p.size as usize {
                return fail(format!("parameter {} has {} bytes, the argument {}", p.name, p.size, bytes.len()));
            }
            params[p.offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        // What CTAs in flight may use of the host's memory is bounded: fewer at a time where one uses much.
        let threads = u64::from(launch.block.iter().product::<u32>().next_multiple_of(32));
        let local = threads * u64::from(f.local_size);
        let cluster = u64::from(shape.cluster.iter().product::<u32>());
        if local * cluster > options.limits.memory {
            return fail(format!("{local} bytes of local memory for one block; the limit is {} bytes", options.limits.memory));
        }
        let resident = u64::from(options.limits.resident_ctas).min(options.limits.memory / local.max(1)).max(cluster);
        self.launches += 1;
        self.memory.loose = !options.sanitizers.bounds;
        let base = self.arch.reserved_shared();
        let dynamic = (base + f.static_smem).next_multiple_of(if launch.smem > 0 { f.smem_align() } else { 1 });
        let output = Mutex::new(String::new());
        let env = Env {
            program: &module.program,
            code_base: &module.code_base,
            kernel: index,
            memory: &self.memory,
            resident,
            local_share: options.limits.memory / (resident / u64::from(shape.cluster.iter().product::<u32>())).max(1),
            globals: &module.globals,
            constants: &module.constants,
            params: &params,
            shape,
            options,
            alone: options.deterministic || rayon::current_num_threads() == 1,
            launch: self.launches,
            shared_base: base,
            shared_size: dynamic + launch.smem,
            output: &output,
        };
        let done = grid::run(&env, module.instructions);
        self.memory.loose = false;
        let done = done?;
        let counters = options.counters.then(|| counters(module, &done.counts));
        Ok(Report { warp_instructions: done.executed, counters, output: output.into_inner().unwrap_or_else(|e| e.into_inner()) })
    }

    fn shape(&self, f: &crate::decode::program::Function, launch: &Launch) -> Result<Shape, Error> {
        let fail = |m: String| Err(Error::Launch(m));
        let threads = launch.block.iter().try_fold(1u32, |p, b| p.checked_mul(*b)).unwrap_or(u32::MAX);
        if threads == 0 || threads > 1024 || launch.block[2] > 64 {
            return fail(format!("a block of {:?} threads: 1 to 1024, z up to 64", launch.block));
        }
        let [gx, gy, gz] = launch.grid;
        if gx == 0 || gy == 0 || gz == 0 || gx > i32::MAX as u32 || gy > 65535 || gz > 65535 {
            return fail(format!("a grid of {:?} CTAs is out of range", launch.grid));
        }
        if let Some(required) = f.reqntid
            && required != launch.block
        {
            return fail(format!("{} must be launched with blocks of {required:?}", f.name));
        }
        if let Some(most) = f.maxntid
            && threads > most
        {
            return fail(format!("{} allows {most} threads a block, not {threads}", f.name));
        }
        let cluster = match (f.cluster, launch.cluster) {
            (Some(own), Some(given)) if own != given => {
                return fail(format!("{} must be launched with clusters of {own:?}", f.name));
            }
            (own, given) => given.or(own),
        };
        let explicit_cluster = cluster.is_some();
        let cluster = cluster.unwrap_or([1; 3]);
        let size = cluster.iter().try_fold(1u32, |p, c| p.checked_mul(*c)).unwrap_or(u32::MAX);
        if size == 0 || size > 16 || (size > 1 && self.arch.sm() < 90) {
            return fail(format!("clusters of {cluster:?} CTAs do not exist on {}", self.arch));
        }
        if (0..3).any(|i| launch.grid[i] % cluster[i] != 0) {
            return fail(format!("a grid of {:?} is not made of clusters of {cluster:?}", launch.grid));
        }
        let smem = u64::from(f.static_smem) + u64::from(launch.smem);
        if smem > u64::from(self.arch.max_shared()) {
            return fail(format!("{smem} bytes of shared memory; {} has {}", self.arch, self.arch.max_shared()));
        }
        Ok(Shape { grid: launch.grid, block: launch.block, cluster, smem: launch.smem, explicit_cluster })
    }
}

fn outside(ptr: DevicePtr) -> Error {
    Error::Host(format!("the bytes at {ptr:#x} are not all inside one allocation"))
}

fn counters(module: &Module, counts: &[crate::counters::Count]) -> Counters {
    let mut out = Counters::default();
    for (f, base) in module.code_base.iter().enumerate() {
        let function = &module.program.functions[f];
        for i in 0..function.insts.len() {
            let count = counts[*base as usize + i];
            if count.executions > 0 {
                out.total.add(&count);
                let place: Place = module.program.place(f, i);
                out.instructions.push(Line { function: function.name.clone(), place, count });
            }
        }
    }
    out
}
