//! Kernels that can be run, and what they report while they run.

use std::cell::Cell;
use std::ffi::c_void;
use std::io::Write;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use kiln_ir::abi::{HostContext, HostEntry};
use kiln_ir::artifact::{AccessInfo, AssertInfo, GridMapping, HostObject, PrintInfo, PrintOperand, PtxArtifact, Stage};
use kiln_ir::signature::Number;
use kiln_ir::{Elem, ScalarType, float8};
use serde::{Deserialize, Serialize};

use crate::args::Arg;
use crate::cache::DiskCache;
use crate::checked::Memory;
use crate::cooperative::{GridBarrier, run_together};
use crate::cuda::gpu::Gpu;
use crate::cuda::module::CudaKernel;
use crate::emulated::EmulatedKernel;
use crate::error::Error;
use crate::host_code::HostCode;
use crate::plan::Plan;
use crate::pool::Pool;
use crate::report::Report;

/// Where a kernel's code came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Compiled by this process.
    Compiled,
    /// Read from the disk cache.
    Disk,
    /// Compiled when the program was built.
    Bundle,
}

/// What the compiler makes, as the disk cache keeps it.
#[derive(Serialize, Deserialize)]
pub(crate) enum Code {
    /// Machine code of the processor.
    #[cfg(feature = "jit")]
    Host(HostObject),
    /// For GPUs.
    Ptx(PtxArtifact),
}

/// Code where it is run.
enum Linked {
    Host(HostCode),
    Ptx(PtxKernel),
}

/// A GPU's kernel, which each device that runs it has its own form of.
struct PtxKernel {
    artifact: Arc<PtxArtifact>,
    /// Read by the emulator, once it is asked for.
    emulated: OnceLock<Result<EmulatedKernel, Error>>,
    /// Loaded by GPUs.
    loaded: Mutex<Vec<Arc<CudaKernel>>>,
}

/// A kernel that can be run.
pub struct CompiledKernel {
    code: Linked,
    pub(crate) asserts: Vec<AssertInfo>,
    prints: Vec<PrintInfo>,
    accesses: Vec<AccessInfo>,
    /// Whether programs wait for each other.
    cooperative: bool,
    /// Whether programs order their accesses by atomics that acquire or release.
    ordered: bool,
    /// The same for the same code, with all that goes with it; None for code that is part of the program.
    fingerprint: Option<u128>,
    /// Where the code came from.
    pub origin: Origin,
    /// Stages of its compilation and their times, linking last.
    pub stages: Vec<Stage>,
    /// What compiling it gave reason to warn of; None also for code from the disk cache, whose warnings came when it was compiled.
    pub(crate) warnings: Option<Report>,
}

impl std::fmt::Debug for CompiledKernel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CompiledKernel").field("origin", &self.origin).field("stages", &self.stages).finish_non_exhaustive()
    }
}

/// The first assertion that failed, by program number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub assert: u32,
    /// Linear number of the program; -1 where a thread block ran several.
    pub program: i64,
}

/// What callbacks reach through `HostContext::user`.
struct Run<'a> {
    compiled: &'a CompiledKernel,
    name: &'a str,
    grid: [i64; 5],
    failed: AtomicBool,
    failure: Mutex<Option<Failure>>,
    /// For the checked mode.
    memory: Option<Mutex<Memory>>,
}

thread_local! {
    /// Where the program that runs on this thread meets the others of its grid.
    static BARRIER: Cell<Option<NonNull<GridBarrier>>> = const { Cell::new(None) };
}

/// A pointer that may go to other threads.
struct Shared<T>(*const T);
// SAFETY: what it points to is only read, and outlives the run.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The pointer; a method, so that closures capture the whole.
    fn get(&self) -> *const T {
        self.0
    }
}

impl CompiledKernel {
    /// Links machine code into the process. PTX is loaded by the device that runs it, when it first does.
    pub(crate) fn link(code: Code, origin: Origin, mut stages: Vec<Stage>) -> Result<CompiledKernel, Error> {
        let start = Instant::now();
        let bytes = postcard::to_stdvec(&code).map_err(|e| Error::Internal(format!("encoding compiled code: {e}")))?;
        let hash = blake3::hash(&bytes);
        let (head, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        let mut compiled = match code {
            #[cfg(feature = "jit")]
            Code::Host(object) => {
                let kernel = kiln_compiler::host::load(&object).map_err(|e| Error::Internal(e.to_string()))?;
                CompiledKernel::host(HostCode::Loaded(kernel), object, origin)
            }
            Code::Ptx(artifact) => CompiledKernel {
                asserts: artifact.asserts.clone(),
                prints: artifact.prints.clone(),
                accesses: vec![],
                cooperative: false,
                ordered: false,
                code: Linked::Ptx(PtxKernel {
                    artifact: Arc::new(artifact),
                    emulated: OnceLock::new(),
                    loaded: Mutex::default(),
                }),
                fingerprint: None,
                origin,
                stages: vec![],
                warnings: None,
            },
        };
        stages.push(Stage { name: "link".into(), time: start.elapsed() });
        (compiled.stages, compiled.fingerprint) = (stages, Some(u128::from_le_bytes(*head)));
        Ok(compiled)
    }

    /// Machine code that is part of the program, with its tables.
    pub(crate) fn in_program(tables: HostObject, entry: HostEntry) -> CompiledKernel {
        CompiledKernel::host(HostCode::InProgram(entry), tables, Origin::Bundle)
    }

    /// PTX that is part of the program.
    pub(crate) fn of_bundle(artifact: PtxArtifact) -> Result<CompiledKernel, Error> {
        CompiledKernel::link(Code::Ptx(artifact), Origin::Bundle, vec![])
    }

    fn host(code: HostCode, tables: HostObject, origin: Origin) -> CompiledKernel {
        CompiledKernel {
            code: Linked::Host(code),
            asserts: tables.asserts,
            prints: tables.prints,
            accesses: tables.accesses,
            cooperative: tables.cooperative,
            ordered: tables.ordered,
            fingerprint: None,
            origin,
            stages: vec![],
            warnings: None,
        }
    }

    /// A number that tells codes apart: the same for specializations that come to the same code, tables and demands on a launch included. None for code that is part of the program.
    pub fn fingerprint(&self) -> Option<u128> {
        self.fingerprint
    }

    /// The PTX; None for machine code of the processor.
    pub fn ptx(&self) -> Option<&PtxArtifact> {
        match &self.code {
            Linked::Ptx(kernel) => Some(&kernel.artifact),
            Linked::Host(_) => None,
        }
    }

    fn gpu_code(&self) -> Result<&PtxKernel, Error> {
        match &self.code {
            Linked::Ptx(kernel) => Ok(kernel),
            Linked::Host(_) => Err(Error::Internal("code of the processor on another device".to_owned())),
        }
    }

    /// The kernel as the emulator has it.
    pub(crate) fn emulated(&self) -> Result<&EmulatedKernel, Error> {
        let kernel = self.gpu_code()?;
        kernel.emulated.get_or_init(|| EmulatedKernel::load(kernel.artifact.clone())).as_ref().map_err(Clone::clone)
    }

    /// The kernel as a GPU has it.
    pub(crate) fn loaded(&self, gpu: &'static Gpu, cache: Option<&DiskCache>) -> Result<Arc<CudaKernel>, Error> {
        let kernel = self.gpu_code()?;
        let mut loaded = kernel.loaded.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(found) = loaded.iter().find(|k| std::ptr::eq(k.gpu, gpu)) {
            return Ok(found.clone());
        }
        let made = Arc::new(CudaKernel::load(gpu, &kernel.artifact, cache)?);
        loaded.push(made.clone());
        Ok(made)
    }

    /// Shows the records of a print buffer.
    pub(crate) fn show_prints(&self, name: &str, grid: [i64; 5], buffer: &[u8]) -> Result<(), Error> {
        let word = |at: usize| buffer.get(at..at + 8).map(|w| u64::from_ne_bytes(w.try_into().expect("eight bytes")));
        let broken = || Error::Internal(format!("kernel `{name}` left a print buffer that cannot be read"));
        let (claimed, capacity) = (word(0).ok_or_else(broken)?, word(8).ok_or_else(broken)?);
        let mut at = PRINT_HEAD;
        let end = PRINT_HEAD + claimed.min(capacity) as usize;
        while at + PRINT_HEAD <= end {
            let (number, program) = (word(at).ok_or_else(broken)?, word(at + 8).ok_or_else(broken)?);
            // 0: a record that did not fit.
            let Some(number) = number.checked_sub(1) else { break };
            let info = self.prints.get(number as usize).ok_or_else(broken)?;
            let mut starts = vec![];
            let mut next = at + PRINT_HEAD;
            for operand in &info.operands {
                starts.push(next);
                let elements: usize = operand.shape.iter().map(|&d| d as usize).product();
                next += (elements * operand.elem.bytes() as usize).next_multiple_of(8);
            }
            if next > end {
                return Err(broken());
            }
            // SAFETY: every operand lies inside the buffer.
            let line = unsafe { print_line(name, &index_text(program as i64, grid), info, |i| buffer[starts[i]..].as_ptr()) };
            show(&line);
            at = next;
        }
        if claimed > capacity {
            show(&format!("{name}: the output of prints beyond {capacity} bytes is left out\n"));
        }
        Ok(())
    }

    /// The assertion of a failure.
    pub(crate) fn assertion(&self, failure: Failure) -> Option<&AssertInfo> {
        self.asserts.get(failure.assert as usize)
    }

    /// The memory of a launch in the checked mode.
    pub(crate) fn memory<'a>(&self, args: impl Iterator<Item = (&'a str, &'a Arg<'a>)>) -> Memory {
        Memory::new(args, !self.cooperative && !self.ordered)
    }

    /// Runs the whole grid on the CPU. Gives back the failed assertion of the lowest program that had one. `memory`: what checked accesses are held against.
    ///
    /// # Errors
    /// Where threads cannot be started, or a checked access is wrong.
    ///
    /// # Safety
    /// `slots` are the arguments that the kernel was compiled for, as `kiln_ir::abi` lays them out, with memory that is held for as long as this runs.
    pub(crate) unsafe fn run(
        &self,
        name: &str,
        slots: &[u64],
        grid: [i64; 5],
        programs: i64,
        pool: &Pool,
        memory: Option<Memory>,
    ) -> Result<Option<Failure>, Error> {
        let Linked::Host(kernel) = &self.code else {
            return Err(Error::Internal("code for a GPU on the CPU".to_owned()));
        };
        let checked = memory.is_some();
        let run = Run {
            compiled: self,
            name,
            grid,
            failed: AtomicBool::new(false),
            failure: Mutex::new(None),
            memory: memory.map(Mutex::new),
        };
        let user = (&raw const run).cast_mut().cast();
        let num_sms = pool.threads() as i64;
        let context = HostContext { grid, num_sms, user, on_assert, on_print, on_sync, on_access };
        let (slots, shared) = (Shared(slots.as_ptr()), Shared(&raw const context));
        let some = |begin: i64, end: i64| {
            // SAFETY: the caller's promise; the context lives until all programs have ended, and its callbacks take a `Run`.
            unsafe { kernel.call(slots.get(), shared.get(), begin, end) };
            !run.failed.load(Ordering::Relaxed)
        };
        if self.cooperative {
            run_together(name, programs, |program, barrier| {
                BARRIER.set(Some(NonNull::from(barrier)));
                some(program, program + 1);
                BARRIER.set(None);
            })?;
        } else if checked {
            // One after the other: the same launch gives the same report.
            let _ = (0..programs).all(|program| some(program, program + 1));
        } else {
            pool.run(programs, some)?;
        }
        let memory = run.memory.map(|m| m.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()));
        if let Some((access, program, message)) = memory.and_then(|memory| memory.fault) {
            return Err(Error::Checked {
                kernel: name.to_owned(),
                message,
                place: self.accesses.get(access as usize).map_or_else(|| "?".to_owned(), |info| info.place.clone()),
                program: index_text(program, grid),
            });
        }
        let failure = run.failure.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
        Ok(failure)
    }
}

/// Axis by axis numbers of a program.
pub(crate) fn program_index(linear: i64, grid: [i64; 5]) -> [i64; 5] {
    let mut rest = linear;
    grid.map(|extent| {
        let i = rest % extent.max(1);
        rest /= extent.max(1);
        i
    })
}

/// `3` or `3, 0, 1`, or that it is not known: without the axes behind the last one that has more than one program.
pub(crate) fn index_text(linear: i64, grid: [i64; 5]) -> String {
    if linear < 0 {
        return "of a persistent thread block".to_owned();
    }
    let axes = grid.iter().rposition(|&e| e != 1).map_or(1, |i| i + 1);
    program_index(linear, grid)[..axes].iter().map(i64::to_string).collect::<Vec<_>>().join(", ")
}

/// Called by generated code; never panics, as a panic may not cross it.
extern "C" fn on_assert(user: *mut c_void, assert: u32, program: i64) {
    // SAFETY: `CompiledKernel::run` passes a `Run` that outlives the call.
    let run = unsafe { &*user.cast::<Run<'_>>() };
    let mut failure = run.failure.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if failure.is_none_or(|f| program < f.program) {
        *failure = Some(Failure { assert, program });
    }
    run.failed.store(true, Ordering::Relaxed);
}

/// Called by generated code for `grid_sync`; never panics.
extern "C" fn on_sync(_: *mut c_void, _: i64) {
    if let Some(barrier) = BARRIER.get() {
        // SAFETY: `CompiledKernel::run` sets the barrier of this thread's program, which outlives it.
        unsafe { barrier.as_ref() }.wait();
    }
}

/// Called by generated code in front of a checked access; never panics.
extern "C" fn on_access(user: *mut c_void, number: u32, program: i64, operands: *const *const c_void) -> u32 {
    // SAFETY: as above.
    let run = unsafe { &*user.cast::<Run<'_>>() };
    let (Some(info), Some(memory)) = (run.compiled.accesses.get(number as usize), &run.memory) else { return 0 };
    let lanes = info.shape.iter().map(|&d| d as usize).product();
    // SAFETY: generated code passes as many addresses, and as many bools, as the table says.
    let (addresses, mask) = unsafe {
        let (addresses, mask) = (*operands, *operands.add(1));
        (std::slice::from_raw_parts(addresses.cast::<u64>(), lanes), std::slice::from_raw_parts(mask.cast::<bool>(), lanes))
    };
    let mut memory = memory.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if memory.allows(number, info, program, addresses, mask) {
        return 0;
    }
    run.failed.store(true, Ordering::Relaxed);
    1
}

/// Called by generated code; never panics.
extern "C" fn on_print(user: *mut c_void, print: u32, program: i64, operands: *const *const c_void) {
    // SAFETY: as above.
    let run = unsafe { &*user.cast::<Run<'_>>() };
    let Some(info) = run.compiled.prints.get(print as usize) else { return };
    // SAFETY: generated code passes one pointer an operand, to the elements that the table says.
    let line = unsafe { print_line(run.name, &index_text(program, run.grid), info, |i| (*operands.add(i)).cast()) };
    show(&line);
}

/// The line of a print.
///
/// # Safety
/// `operand` gives a pointer to the elements of the operand with that number.
unsafe fn print_line(name: &str, program: &str, info: &PrintInfo, operand: impl Fn(usize) -> *const u8) -> String {
    let mut line = format!("{name}[{program}]: ");
    let mut parts = info.format.split("{}");
    line.push_str(parts.next().unwrap_or(""));
    for (i, what) in info.operands.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { write_operand(&mut line, what, operand(i)) };
        line.push_str(parts.next().unwrap_or(""));
    }
    line.push('\n');
    line
}

/// A closed output is no reason to stop computing.
fn show(line: &str) {
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

/// Bytes in front of the records of a print buffer, and in front of a record's operands (see `PtxParam::PrintBuffer`).
pub(crate) const PRINT_HEAD: usize = 16;

/// Bytes of records that the prints of a launch may leave.
pub(crate) const PRINT_BYTES: usize = 1 << 20;

/// The grid as the device, which has so many multiprocessors, counts it.
pub(crate) fn launch_grid(name: &str, mapping: GridMapping, plan: &Plan, multiprocessors: i64) -> Result<[u32; 3], Error> {
    let axes = match mapping {
        GridMapping::Direct => [plan.grid[0], plan.grid[1], plan.grid[2]],
        GridMapping::Linear | GridMapping::Ordered { split: None, .. } => [plan.programs, 1, 1],
        GridMapping::Ordered { split: Some(blocks), .. } => [plan.programs.saturating_mul(i64::from(blocks)), 1, 1],
        GridMapping::Persistent { pairs: None } => [plan.programs.min(multiprocessors), 1, 1],
        GridMapping::Persistent { .. } => [plan.programs.min((multiprocessors & !1).max(2)), 1, 1],
    };
    if let GridMapping::Ordered { pairs: Some(axis), .. } | GridMapping::Persistent { pairs: Some(axis) } = mapping
        && plan.grid[usize::from(axis)] % 2 != 0
    {
        return Err(Error::Device(format!(
            "kernel `{name}` is scheduled in clusters of two programs along axis {axis}, where its grid has {}: an even number is needed",
            plan.grid[usize::from(axis)]
        )));
    }
    let most = [i64::from(i32::MAX), 65535, 65535];
    for (axis, (extent, most)) in axes.into_iter().zip(most).enumerate() {
        if extent > most {
            return Err(Error::Device(format!(
                "the grid of kernel `{name}` has {extent} thread blocks along axis {axis}, a GPU takes at most {most}"
            )));
        }
    }
    Ok(axes.map(|extent| extent as u32))
}

/// Elements shown at either end of a long axis.
const EDGE: usize = 3;
/// Longest axis that is shown whole.
const SHOWN: usize = 8;

/// # Safety
/// `data` points to the operand's elements, row-major.
unsafe fn write_operand(out: &mut String, operand: &PrintOperand, data: *const u8) {
    let size = operand.elem.bytes() as usize;
    let mut stride = size;
    let mut strides = vec![0; operand.shape.len()];
    for (axis, &extent) in operand.shape.iter().enumerate().rev() {
        strides[axis] = stride;
        stride *= extent as usize;
    }
    // SAFETY: the caller's promise.
    unsafe { write_axis(out, operand.elem, &operand.shape, &strides, data) }
}

/// # Safety
/// As [`write_operand`].
unsafe fn write_axis(out: &mut String, elem: Elem, shape: &[u32], strides: &[usize], data: *const u8) {
    let Some((&extent, inner)) = shape.split_first() else {
        // SAFETY: the caller's promise.
        out.push_str(&unsafe { element_text(elem, data) });
        return;
    };
    out.push('[');
    let extent = extent as usize;
    for i in 0..extent {
        if extent > SHOWN && i == EDGE {
            out.push_str(", ..");
        }
        if extent > SHOWN && (EDGE..extent - EDGE).contains(&i) {
            continue;
        }
        if i > 0 {
            out.push_str(", ");
        }
        // SAFETY: `i` is inside the axis.
        unsafe { write_axis(out, elem, inner, &strides[1..], data.add(i * strides[0])) };
    }
    out.push(']');
}

/// # Safety
/// `data` points to an element.
unsafe fn element_text(elem: Elem, data: *const u8) -> String {
    // SAFETY: the caller's promise.
    let bits = unsafe {
        match elem.bytes() {
            1 => u64::from(data.read()),
            2 => u64::from(data.cast::<u16>().read_unaligned()),
            4 => u64::from(data.cast::<u32>().read_unaligned()),
            _ => data.cast::<u64>().read_unaligned(),
        }
    };
    let Elem::Scalar(ty) = elem else { return format!("{bits:#x}") };
    let number = match ty {
        ScalarType::Bool => Number::Bool(bits != 0),
        ScalarType::U8 | ScalarType::U16 | ScalarType::U32 | ScalarType::U64 => Number::UInt(bits),
        ScalarType::I8 => Number::Int(i64::from(bits as i8)),
        ScalarType::I16 => Number::Int(i64::from(bits as i16)),
        ScalarType::I32 => Number::Int(i64::from(bits as i32)),
        ScalarType::I64 | ScalarType::Index => Number::Int(bits as i64),
        // The shortest text that reads back as the same number of its own type.
        ScalarType::F16 => return half::f16::from_bits(bits as u16).to_string(),
        ScalarType::BF16 => return half::bf16::from_bits(bits as u16).to_string(),
        ScalarType::F32 => return format!("{:?}", f32::from_bits(bits as u32)),
        ScalarType::F64 => Number::Float(f64::from_bits(bits)),
        ScalarType::F8E4M3 => return format!("{:?}", float8::e4m3_to_f32(bits as u8)),
        ScalarType::F8E5M2 => return format!("{:?}", float8::e5m2_to_f32(bits as u8)),
    };
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_named_by_axis() {
        assert_eq!(index_text(7, [4, 3, 1, 1, 1]), "3, 1");
        assert_eq!(index_text(7, [10, 1, 1, 1, 1]), "7");
        assert_eq!(index_text(0, [1; 5]), "0");
        assert_eq!(index_text(5, [1, 1, 9, 1, 1]), "0, 0, 5");
    }

    #[test]
    fn tiles_are_shown_with_their_ends() {
        let text = |elem: Elem, shape: &[u32], bytes: &[u8]| {
            let mut out = String::new();
            let operand = PrintOperand { elem, shape: shape.to_vec() };
            // SAFETY: the bytes are as many as the shape says.
            unsafe { write_operand(&mut out, &operand, bytes.as_ptr()) };
            out
        };
        let ints: Vec<u8> = (0..20i16).flat_map(i16::to_ne_bytes).collect();
        assert_eq!(text(ScalarType::I16.into(), &[2, 3], &ints), "[[0, 1, 2], [3, 4, 5]]");
        assert_eq!(text(ScalarType::I16.into(), &[20], &ints), "[0, 1, 2, .., 17, 18, 19]");
        assert_eq!(text(ScalarType::F32.into(), &[], &0.1f32.to_ne_bytes()), "0.1");
        assert_eq!(text(ScalarType::Bool.into(), &[2], &[1, 0]), "[true, false]");
        assert_eq!(text(ScalarType::I8.into(), &[1], &[0xff]), "[-1]");
    }
}
