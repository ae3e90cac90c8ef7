//! The host back end: Tile IR to machine code for the processor this runs on, through LLVM.
//!
//! [`compile`] makes a [`HostObject`] (relocatable machine code, serializable), [`load`] links it into the process as a [`HostKernel`].
//!
//! # How it works
//! 1. `plan` decides where every tile lives (recomputed inline, or in scratch memory) and which roots share a loop nest.
//! 2. `emit` builds LLVM IR: loop nests over vectors of the processor's width, values pulled on demand from the roots (`Emitter::eval`).
//! 3. `llvm_target` optimizes and emits an object.
//!
//! # Adding an operation on tiles
//! * One that moves or computes lanes: name it in `plan::forms::can_inline`, give its cost in `plan::cost`, expand it in `emit::eval` (`Emitter::moved`
//!   if it only moves lanes) or `emit::arith`.
//! * One on whole tiles (a sort, a product): it is a `Step::Whole` by itself; list the operands it needs in memory in `plan::forms::memory_operands`, and
//!   emit it from `Emitter::whole`. There, `Emitter::buffer(v)` is an operand's memory (row-major, memory format), `Emitter::result_buffer(v)` the result's,
//!   `Emitter::alloc` scratch, `Emitter::materialize_into(v, &buffer)` writes any tile to memory, and `Emitter::eval` with a [`emit::nest::Nest`] gives lanes of
//!   an operand at coordinates (`Nest::new(1)` for one element a time; `Nest::push` and `pop` around loops of `Llvm::begin_loop`).

pub(crate) mod dot;
pub(crate) mod emit;
mod jit;
pub(crate) mod loops;
mod options;
pub(crate) mod plan;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod whole;

use std::cell::RefCell;
use std::time::Instant;

use kiln_ir::ops::MemOrder;
use kiln_ir::verify::CheckedModule;
use kiln_ir::{Function, InstData};

pub use jit::{HostKernel, load};
pub use kiln_ir::artifact::{AccessInfo, AssertInfo, HostObject, HostTimings, PrintInfo, PrintOperand};
pub use options::HostOptions;

use crate::CodegenError;
use crate::llvm_target::{self, Output, Target};

/// The pass pipeline. Loops, vectors and hoisting are already as they should be: what is left is cleaning up.
const PASSES: &str = "function(early-cse,instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm),early-cse)";

/// Compiles the kernel of a module (inlined: one kernel, no calls).
///
/// # Errors
/// `K09xx` for what the CPU does not offer, located; internal errors for bugs.
pub fn compile(module: &CheckedModule, options: &HostOptions) -> Result<HostObject, CodegenError> {
    let Some(kernel) = module.kernel() else {
        return Err(CodegenError::internal("a module for the CPU must have exactly one kernel"));
    };
    let func = &module.funcs[kernel];
    let start = Instant::now();
    llvm_target::initialize_native();
    let (cpu, features) = match &options.cpu {
        Some(cpu) => (cpu.clone(), String::new()),
        None => (llvm_target::host_cpu(), llvm_target::host_features()),
    };
    let plan = plan::plan(func);
    let mut emitter = emit::Emitter::new(module, func, &plan, vector_bytes(&cpu, &features));
    let usual = || format!("kiln_{}", func.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    let symbol = options.symbol.clone().unwrap_or_else(usual);
    with_target(&cpu, &features, options.opt_level, |target| {
        target.configure(&emitter.b);
        emitter.emit_kernel(&symbol)?;
        if cfg!(debug_assertions) {
            target.verify(&emitter.b).inspect_err(|_| {
                if std::env::var_os("KILN_DUMP_LLVM").is_some() {
                    eprintln!("{}", emitter.b.text());
                }
            })?;
        }
        let built = Instant::now();
        if options.opt_level > 0 {
            target.run_passes(&emitter.b, PASSES)?;
        }
        let optimized = Instant::now();
        let llvm = options.emit_llvm.then(|| emitter.b.text());
        let object = target.emit(&emitter.b, Output::Object)?;
        let done = Instant::now();
        let asm = match options.emit_asm {
            true => Some(String::from_utf8_lossy(&target.emit(&emitter.b, Output::Assembly)?).into_owned()),
            false => None,
        };
        Ok(HostObject {
            object,
            symbol: symbol.clone(),
            scratch_bytes: emitter.scratch_bytes(),
            cpu: cpu.clone(),
            asserts: std::mem::take(&mut emitter.asserts),
            prints: std::mem::take(&mut emitter.prints),
            accesses: std::mem::take(&mut emitter.accesses),
            cooperative: has(func, |data| matches!(data, InstData::GridSync)),
            ordered: has(func, |data| data.order().is_some_and(|order| order != MemOrder::Relaxed)),
            llvm,
            asm,
            timings: HostTimings { build: built - start, optimize: optimized - built, codegen: done - optimized },
        })
    })
}

/// Whether any instruction is as asked.
fn has(func: &Function, test: impl Fn(&InstData) -> bool) -> bool {
    let mut found = false;
    func.walk(|_, inst| found |= test(&func.insts[inst]));
    found
}

/// What machine code depends on besides the module and the options: the processor with its features, the system, and LLVM's version. Part of cache keys.
pub fn target_id() -> &'static str {
    static ID: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    ID.get_or_init(|| {
        let (triple, cpu, features) = (llvm_target::host_triple(), llvm_target::host_cpu(), llvm_target::host_features());
        format!("{triple} {cpu} {features} llvm-{}", llvm_target::version())
    })
}

/// The width of vectors to use, in bytes.
fn vector_bytes(cpu: &str, features: &str) -> u32 {
    let wide = ["x86-64-v4", "znver4", "znver5", "skylake-avx512", "cascadelake", "icelake", "sapphirerapids", "graniterapids"];
    let avx2 = ["x86-64-v3", "haswell", "broadwell", "skylake", "alderlake", "raptorlake", "znver"];
    if features.contains("+avx512vl") || wide.iter().any(|w| cpu.starts_with(w)) {
        64
    } else if features.contains("+avx2") || avx2.iter().any(|w| cpu.starts_with(w)) {
        32
    } else {
        16
    }
}

/// Runs `f` with this thread's target machine for the processor; machines are kept.
fn with_target<R>(
    cpu: &str,
    features: &str,
    opt_level: u8,
    f: impl FnOnce(&Target) -> Result<R, CodegenError>,
) -> Result<R, CodegenError> {
    /// A processor, its features, LLVM's effort.
    type Key = (String, String, u8);
    thread_local! {
        static MACHINES: RefCell<Vec<(Key, std::rc::Rc<Target>)>> = const { RefCell::new(Vec::new()) };
    }
    let key = (cpu.to_owned(), features.to_owned(), opt_level);
    let found = MACHINES.with_borrow(|list| list.iter().find(|(k, _)| *k == key).map(|(_, t)| t.clone()));
    let target = match found {
        Some(target) => target,
        None => {
            let target = std::rc::Rc::new(Target::create(&llvm_target::host_triple(), cpu, features, opt_level)?);
            MACHINES.with_borrow_mut(|list| list.push((key, target.clone())));
            target
        }
    };
    f(&target)
}
