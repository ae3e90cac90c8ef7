//! Turns a planned kernel into LLVM IR.
//!
//! * `function` — the entry point: arguments, the program loop, scratch
//! * `nest`     — loop nests of a group: levels, hoisting, full and masked loops
//! * `eval`     — lanes of inline values at coordinates
//! * `arith`, `convert`, `fast` — operators on scalars and vectors alike
//! * `access`   — loads and stores: views, pointers, buffers
//! * `stream`   — stores around the cache
//! * `reduce`, `scan` — combinations across lanes
//! * `product`  — dot and dot_scaled
//! * `whole`    — sort, topk, histogram, cat
//! * `control`  — steps of a block, `for`/`while`/`if` with carried tiles
//! * `scalar`   — rank-0 instructions and views
//! * `atomic`, `report` — atomics; assert, print, grid_sync and checked accesses

pub(crate) mod access;
pub(crate) mod arith;
pub(crate) mod atomic;
pub(crate) mod control;
pub(crate) mod convert;
pub(crate) mod eval;
pub(crate) mod fast;
pub(crate) mod function;
pub(crate) mod nest;
pub(crate) mod product;
pub(crate) mod reduce;
pub(crate) mod report;
pub(crate) mod scalar;
pub(crate) mod scan;
pub(crate) mod stream;
pub(crate) mod whole;

use kiln_ir::{Elem, Function, Inst, InstData, Module, ScalarType, Shape, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use super::plan::{Dest, Form, Plan};
use crate::CodegenError;
use crate::llvm::{Bb, Llvm, Ty, Val};
use kiln_ir::artifact::{AccessInfo, AssertInfo, PrintInfo};

/// Bytes in front of the scratch arena that absorb scalar stores of lanes that are out of bounds.
pub(crate) const DUMP_BYTES: u64 = 64;
/// Bytes behind the arena that full-width loads of partial vectors may touch.
pub(crate) const SLACK_BYTES: u64 = 64 * 8 + 64;

/// A tile in memory: row-major, elements in memory format (`convert::mem_ty`).
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    /// First element.
    pub ptr: Val,
    /// Element type.
    pub elem: Elem,
    /// Extents.
    pub shape: Shape,
}

impl Buffer {
    /// Row-major strides in elements.
    pub fn strides(&self) -> Vec<u64> {
        let mut strides = vec![1; self.shape.len()];
        for i in (0..self.shape.len().saturating_sub(1)).rev() {
            strides[i] = strides[i + 1] * u64::from(self.shape[i + 1]);
        }
        strides
    }
}

/// A tensor view: base pointer, extents and strides (elements), all i64 scalars.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub base: Val,
    pub dims: Vec<Val>,
    pub strides: Vec<Val>,
    pub elem: Elem,
}

/// What is known of the program being run.
pub(crate) struct Program {
    /// The `HostContext` pointer.
    pub context: Val,
    /// The linear program id.
    pub linear: Val,
    /// Program ids along the axes, i64.
    pub ids: Vec<Val>,
    /// Extents of the grid, i64.
    pub grid: Vec<Val>,
    /// Worker threads, i64.
    pub num_sms: Val,
    /// Where a program that ends early goes on.
    pub next: Bb,
}

/// The state of code generation for one kernel.
pub(crate) struct Emitter<'a> {
    pub module: &'a Module,
    pub func: &'a Function,
    pub plan: &'a Plan,
    /// The LLVM module being built.
    pub b: Llvm,
    /// Bytes of a vector register.
    pub vector_bytes: u32,
    /// Rank-0 values.
    pub scalars: FxHashMap<Value, Val>,
    /// Tensor views.
    pub views: FxHashMap<Value, View>,
    /// Tiles in memory.
    pub buffers: FxHashMap<Value, Buffer>,
    /// Values that the group in progress materializes: evaluated inline there.
    pub kept: FxHashSet<Value>,
    /// Lanes of the parameters and results of a combine region being expanded.
    pub region: FxHashMap<Value, Val>,
    /// Destinations of the block being emitted (`Dest::Slot`).
    pub slots: Vec<Vec<Option<Buffer>>>,
    /// Memory format of values that were just rounded to it.
    pub encoded: FxHashMap<(Elem, Val), Val>,
    /// The program being run; set by `function`.
    pub program: Option<Program>,
    /// The arena's base.
    pub scratch: Option<Val>,
    pub scratch_used: u64,
    pub scratch_peak: u64,
    pub asserts: Vec<AssertInfo>,
    pub prints: Vec<PrintInfo>,
    pub accesses: Vec<AccessInfo>,
    /// A readable zero for scalar loads out of bounds.
    pub zero_cell: Option<Val>,
    /// Tables of constant tiles made so far.
    pub constants: FxHashMap<Inst, Val>,
    /// Tensors that may be streamed, with the address bits that must be zero for that.
    pub streams: FxHashMap<Value, Val>,
    /// Whether any store streams.
    pub streamed: bool,
}

impl<'a> Emitter<'a> {
    /// An emitter for one kernel.
    pub fn new(module: &'a Module, func: &'a Function, plan: &'a Plan, vector_bytes: u32) -> Self {
        Emitter {
            module,
            func,
            plan,
            b: Llvm::new(&func.name),
            vector_bytes,
            scalars: FxHashMap::default(),
            views: FxHashMap::default(),
            buffers: FxHashMap::default(),
            kept: FxHashSet::default(),
            region: FxHashMap::default(),
            slots: Vec::new(),
            encoded: FxHashMap::default(),
            program: None,
            scratch: None,
            scratch_used: DUMP_BYTES,
            scratch_peak: DUMP_BYTES,
            asserts: Vec::new(),
            prints: Vec::new(),
            accesses: Vec::new(),
            zero_cell: None,
            constants: FxHashMap::default(),
            streams: FxHashMap::default(),
            streamed: false,
        }
    }

    /// A refusal at an instruction.
    pub fn unsupported(&self, inst: Inst, message: impl Into<String>) -> CodegenError {
        CodegenError::unsupported(self.module, self.func, inst, "K0901", message)
    }

    /// The register type of an element: bool is i1, small floats are f32 (already rounded), index has the chosen width.
    pub fn reg_ty(&self, elem: Elem) -> Ty {
        match elem {
            Elem::Ptr { .. } => self.b.ptr(),
            Elem::Scalar(s) => match s {
                ScalarType::Bool => self.b.i1(),
                ScalarType::F64 => self.b.f64(),
                s if s.is_float() => self.b.f32(),
                ScalarType::Index => self.b.int_ty(u32::from(self.func.index_bits)),
                s => self.b.int_ty(s.bits()),
            },
        }
    }

    /// The memory type of an element.
    pub fn mem_ty(&self, elem: Elem) -> Ty {
        match elem {
            Elem::Ptr { .. } => self.b.ptr(),
            Elem::Scalar(s) => match s {
                ScalarType::F16 => self.b.f16(),
                ScalarType::F32 => self.b.f32(),
                ScalarType::F64 => self.b.f64(),
                s => self.b.int_ty(s.bytes() * 8),
            },
        }
    }

    /// The tile's form, with what the group in progress materializes counting as inline.
    pub fn is_inline(&self, v: Value) -> bool {
        self.kept.contains(&v) || self.plan.forms.get(&v) == Some(&Form::Inline)
    }

    /// Whether a value is a tile of rank 1 or more.
    pub fn is_tile(&self, v: Value) -> bool {
        self.func.ty(v).is_tile() && self.func.ty(v).rank() > 0
    }

    /// A new scratch buffer. Freed by `release` of a `mark` taken before.
    pub fn alloc(&mut self, elem: Elem, shape: &[u32]) -> Buffer {
        let count: u64 = shape.iter().map(|&d| u64::from(d)).product();
        let ptr = self.alloc_bytes(count * u64::from(elem.bytes()));
        Buffer { ptr, elem, shape: Shape::from_slice(shape) }
    }

    /// Raw scratch memory, aligned to 64 bytes.
    pub fn alloc_bytes(&mut self, bytes: u64) -> Val {
        let at = self.scratch_used.next_multiple_of(64);
        self.scratch_used = at + bytes;
        self.scratch_peak = self.scratch_peak.max(self.scratch_used);
        let Some(base) = self.scratch else { unreachable!("scratch exists once the function is entered") };
        self.b.offset(base, at as i64)
    }

    /// The arena's fill level, to give memory back at the end of a block.
    pub fn mark(&self) -> u64 {
        self.scratch_used
    }

    /// Gives back what was allocated since `mark`.
    pub fn release(&mut self, mark: u64) {
        self.scratch_used = mark;
    }

    /// The buffer that a produced value goes to: its planned slot or a new one.
    pub fn result_buffer(&mut self, v: Value) -> Buffer {
        let dest = self.plan.dests.get(&v).copied().unwrap_or(Dest::Own);
        let buffer = self.dest_buffer(v, dest);
        self.buffers.insert(v, buffer.clone());
        buffer
    }

    /// The buffer of a destination.
    pub fn dest_buffer(&mut self, v: Value, dest: Dest) -> Buffer {
        if let Dest::Slot(n) = dest
            && let Some(Some(buffer)) = self.slots.last().and_then(|s| s.get(usize::from(n)))
        {
            return buffer.clone();
        }
        let ty = self.func.ty(v);
        self.alloc(ty.elem(), ty.shape())
    }

    /// The memory of a tile that has one. Constant tiles become tables on first use.
    pub fn buffer(&mut self, v: Value) -> Result<Buffer, CodegenError> {
        if let Some(buffer) = self.buffers.get(&v) {
            return Ok(buffer.clone());
        }
        if let Some(inst) = self.func.def_inst(v)
            && let InstData::ConstTile { values } = &self.func.insts[inst]
        {
            let ty = self.func.ty(v);
            let ptr = self.constant_table(inst, ty.elem(), values);
            return Ok(Buffer { ptr, elem: ty.elem(), shape: Shape::from_slice(ty.shape()) });
        }
        Err(CodegenError::internal(format!("tile {v} of {} has no memory", self.func.name)))
    }

    /// The current program's facts.
    pub fn program(&self) -> &Program {
        match &self.program {
            Some(program) => program,
            None => unreachable!("the program exists once the function is entered"),
        }
    }
}
