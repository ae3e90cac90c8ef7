//! NVPTX: a kernel in Tile IR to PTX text.
//!
//! [`compile`] lays out the tiles (`kiln_passes::pipeline::LAYOUTS`), writes the kernel for one thread as LLVM text (`emit` and the files it
//! dispatches to), and lets LLVM's NVPTX back end make PTX of it (`target`). What the target cannot do yet is an
//! [`CodegenError::Unsupported`] with a code and a place; nothing reaches LLVM that it could fail on.

mod address;
mod arith;
mod atomics;
mod cast;
mod cluster_sum;
mod combine;
mod control;
mod convert;
mod dot;
mod emit;
mod epilogue;
mod error;
mod fits;
mod float8;
mod fragments;
mod lines;
mod memory;
mod mma;
mod order;
mod packed;
mod params;
mod parts;
mod print;
mod reduce;
mod registers;
mod remainder;
mod ring;
mod roles;
mod rows;
mod scan;
mod scratch;
mod shape_ops;
mod shared_tile;
mod spread;
mod staged;
mod target;
mod text;
mod turns;
mod value;
mod wgmma;
mod whole;
mod words;

use std::time::Instant;

use crate::CodegenError;
use error::{Result, SCHEDULE, internal, refuse_kernel};
use fits::Need;
use kiln_ir::Module;
use kiln_ir::artifact::Target;
use kiln_ir::verify::CheckedModule;
use kiln_passes::gpu::{layout_stats, narrow_accesses, verify_async};
use kiln_passes::manager::run_passes;
use kiln_passes::{PassContext, PassError, PassOptions, pipeline};

pub use kiln_ir::artifact::{
    GpuTarget, GridMapping, LayoutStats, MapShape, PtxArtifact, PtxParam, PtxTimings, RegisterUse, TensorMap,
};

/// Shared memory that every launch may use without asking the driver.
const STATIC_LIMIT: u32 = 48 * 1024;

/// How to compile.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Options {
    /// Keep the optimized LLVM text in the artifact.
    pub keep_llvm: bool,
    /// Extents of the launch's tensors and offsets into them fit in 32 bits (`Specialization::fits_32_bit`), also where not all that is computed does.
    pub fits_32_bit: bool,
    /// Code also for what needs more registers than there are, to see what ptxas makes of it.
    pub over_registers: bool,
}

/// Compiles the kernel of a module whose calls are inlined.
///
/// # Errors
/// [`CodegenError::Unsupported`] for what the target cannot do, with a code and a source place; [`CodegenError::Internal`] for
/// mistakes of the compiler itself.
pub fn compile(module: &CheckedModule, target: GpuTarget, options: Options) -> std::result::Result<PtxArtifact, CodegenError> {
    let mut context = context_of(target, options.fits_32_bit);
    let mut timings = PtxTimings::default();
    loop {
        match attempt(module, target, options, &context, &mut timings)? {
            Attempt::Done(artifact) => return Ok(*artifact),
            Attempt::FewerStages { ring_bytes } => context.ring_bytes = ring_bytes,
            Attempt::WithoutReductions => context.reductions = false,
        }
    }
}

fn context_of(target: GpuTarget, fits_32_bit: bool) -> PassContext {
    PassContext::new(Target::Gpu(target), fits_32_bit)
}

/// What came of compiling with so much shared memory for rings.
enum Attempt {
    Done(Box<PtxArtifact>),
    /// Exchanges beside the rings need memory too: the rings may take this much.
    FewerStages {
        ring_bytes: u32,
    },
    /// What atomics that leave through shared memory take there is needed for something else.
    WithoutReductions,
}

fn attempt(
    module: &CheckedModule,
    target: GpuTarget,
    options: Options,
    context: &PassContext,
    timings: &mut PtxTimings,
) -> Result<Attempt> {
    let rings = context.ring_bytes;
    let start = Instant::now();
    let laid_out = lay_out_within(module, target, context)?;
    timings.layouts += start.elapsed();
    let start = Instant::now();
    let kernel = only_kernel(&laid_out)?;
    let func = &laid_out.funcs[kernel];
    let warps = func.schedule.warps.ok_or_else(|| internal("no pass decided on warps"))?;
    let mut emitter = emit::Emitter::new(&laid_out, func, target, warps);
    let need = Need::of(func, emitter.threads.block(), emitter.registers);
    if let Some(need) = need.as_ref().filter(|_| !options.over_registers) {
        need.check(&laid_out, func)?;
    }
    emitter.body()?;
    let shared_bytes = emitter.scratch.bytes();
    if shared_bytes > target.shared_bytes() {
        if context.reductions && emitter.reductions_take_memory() {
            timings.build += start.elapsed();
            return Ok(Attempt::WithoutReductions);
        }
        let left = emitter.scratch.ring_bytes().saturating_sub(shared_bytes - target.shared_bytes());
        // A budget that the rings kept to already changes nothing.
        if emitter.scratch.ring_bytes() <= rings && left > 0 {
            timings.build += start.elapsed();
            return Ok(Attempt::FewerStages { ring_bytes: left });
        }
        return Err(emitter.too_much_shared_memory());
    }
    let all_warps = emitter.threads.block() / 32;
    let (params, grid) = (emitter.params.list.clone(), emitter.params.grid);
    let (asserts, prints) = (std::mem::take(&mut emitter.asserts), std::mem::take(&mut emitter.prints));
    let machine = target::Machine::new(target, emitter.ptx)?;
    let text = emitter.finish(&machine.header());
    timings.build += start.elapsed();
    let (llvm, ptx) = machine.compile(&text, options.keep_llvm, timings)?;
    Ok(Attempt::Done(Box::new(PtxArtifact {
        ptx,
        name: entry_name(&func.name),
        target,
        params,
        grid,
        num_warps: all_warps,
        shared_bytes,
        early_launch: func.schedule.pdl,
        needs_shared_opt_in: shared_bytes > STATIC_LIMIT,
        layouts: layout_stats(func),
        asserts,
        prints,
        llvm,
        registers: need.map(|need| need.registers),
        remarks: func.remarks.iter().cloned().chain(narrow_accesses(func, warps)).collect(),
        timings: *timings,
    })))
}

/// The module with a layout on every tile. Its rings may take all the shared memory of the target.
///
/// # Errors
/// A schedule the target cannot follow; an internal error where the passes break the module.
pub fn lay_out(module: &CheckedModule, target: GpuTarget) -> std::result::Result<CheckedModule, CodegenError> {
    lay_out_within(module, target, &context_of(target, false))
}

fn lay_out_within(module: &CheckedModule, target: GpuTarget, context: &PassContext) -> Result<CheckedModule> {
    let kernel = &module.funcs[only_kernel(module)?];
    if kernel.schedule.pdl && target.sm < 90 {
        let message = format!("`pdl` takes a GPU of compute capability 9.0 or newer, not {}", target.name());
        return Err(refuse_kernel(module, kernel.loc, SCHEDULE, message));
    }
    if kernel.schedule.pdl && kernel.schedule.cooperative {
        let message = "`pdl` starts programs one by one, and a `cooperative` kernel needs all of them at once".to_owned();
        return Err(refuse_kernel(module, kernel.loc, SCHEDULE, message));
    }
    let laid_out = run_passes(module.clone().into_inner(), pipeline::LAYOUTS, context, &PassOptions::default()).0;
    let checked = laid_out.map_err(|error| match error {
        PassError::Unsupported(failure) => refuse_kernel(module, failure.loc, failure.code, failure.message),
        other => internal(other.to_string()),
    })?;
    if cfg!(debug_assertions) {
        verify_async(&checked.funcs[only_kernel(&checked)?]).map_err(|wrong| internal(format!("verify-async: {wrong}")))?;
    }
    Ok(checked)
}

fn only_kernel(module: &Module) -> Result<kiln_ir::FuncRef> {
    module.kernel().ok_or_else(|| internal("GPU code generation takes modules with one kernel"))
}

/// The name of a kernel in PTX, which has ASCII letters, digits and underscores only.
fn entry_name(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().map(|c| if plain(c) { c.to_string() } else { format!("_u{:x}_", u32::from(c)) }).collect()
}

impl emit::Emitter<'_> {
    /// The module's text.
    fn finish(self, header: &str) -> String {
        let arena = self.scratch.arena_start();
        let signature = self.params.signature(self.func);
        let metadata = self.lines.metadata(self.module);
        let subprogram = self.lines.subprogram();
        // One block a multiprocessor will do: left to itself, ptxas would rather spill a little than have fewer blocks.
        let mut attributes = format!("nounwind \"nvvm.reqntid\"=\"{}\" \"nvvm.minctasm\"=\"1\"", self.threads.block());
        let blocks = self.func.schedule.cluster_blocks();
        if blocks > 1 {
            attributes.push_str(&format!(" \"nvvm.cluster_dim\"=\"{blocks},1,1\""));
        }
        if let Some(registers) = self.func.schedule.max_regs {
            attributes.push_str(&format!(" \"nvvm.maxnreg\"=\"{registers}\""));
        }
        let strings = self.strings.join("\n");
        let functions: String = self.functions.into_values().collect();
        let (body, declarations) = self.w.finish();
        let arena = format!("getelementptr (i8, ptr addrspace(3) @{}, i32 {arena})", text::SHARED);
        let body = body.replace(&format!("@{}", text::ARENA), &arena);
        let body = body.replace(text::STRIDE, &self.scratch.arena_stride().to_string());
        format!(
            "{header}@{shared} = external addrspace(3) global [0 x i8], align 1024\n{strings}\n{declarations}{functions}\
             define ptx_kernel void @{name}({signature}) #0{subprogram} {{\n{body}}}\n\
             attributes #0 = {{ convergent {attributes} }}\n{groups}{metadata}",
            shared = text::SHARED,
            name = entry_name(&self.func.name),
            groups = text::attribute_groups(),
        )
    }
}
