//! Walks a kernel with layouts and writes it for one thread: the state all instructions share, and the dispatch.

use std::collections::BTreeMap;
use std::rc::Rc;

use cranelift_entity::SecondaryMap;
use kiln_ir::{Const, Elem, Function, Inst, InstData, Module, ScalarType, Shape, Type, TypeData, Value};
use kiln_passes::gpu::{Facts, MmaDot};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::error::{Result, internal};
use super::lines::Lines;
use super::order::MemoryOrder;
use super::params::{Params, Uses, memory_type};
use super::registers::Registers;
use super::scratch::Scratch;
use super::spread::{Spread, Threads};
use super::text::{Asm, Ty, Val, Writer};
use crate::host::{AssertInfo, PrintInfo};
use kiln_ir::artifact::GpuTarget;
use kiln_ir::artifact::{GridMapping, PtxParam};

/// What holds a value in a thread.
#[derive(Clone, Debug)]
pub(super) enum Slot {
    /// The registers of a tile, in the order of its layout; one for a scalar.
    Tile(Rc<[Val]>),
    /// A view: base pointer, dims and strides in the index type.
    View(Rc<ViewRegs>),
    /// A tile in shared memory, in its layout from this address on.
    Shared(Val),
}

/// The run-time parts of a view.
#[derive(Clone, Debug)]
pub(super) struct ViewRegs {
    pub(super) base: Val,
    pub(super) dims: SmallVec<[Val; 5]>,
    pub(super) strides: SmallVec<[Val; 5]>,
}

/// The state of code generation for one kernel.
pub(super) struct Emitter<'a> {
    pub(super) module: &'a Module,
    pub(super) func: &'a Function,
    pub(super) target: GpuTarget,
    pub(super) facts: Facts,
    pub(super) w: Writer,
    pub(super) threads: Threads,
    pub(super) params: Params,
    pub(super) scratch: Scratch,
    pub(super) order: MemoryOrder,
    pub(super) lines: Lines,
    /// The type of `index`: i32 or i64.
    pub(super) index: Ty,
    /// The PTX version (times 10) that what was used so far needs.
    pub(super) ptx: u32,
    /// Definitions of constant strings.
    pub(super) strings: Vec<String>,
    pub(super) asserts: Vec<AssertInfo>,
    pub(super) prints: Vec<PrintInfo>,
    /// Definitions of functions that the kernel calls, by name.
    pub(super) functions: BTreeMap<&'static str, String>,
    /// Parts of shared addresses that threads compute once: by what each thread bit adds and what is XORed in.
    pub(super) reached: FxHashMap<(Vec<u32>, u32), Val>,
    /// Shared addresses in the current product, by base and the thread's part.
    pub(super) pointers: FxHashMap<(Val, Val), Val>,
    /// Descriptors of tiles in shared memory: by base, the warpgroup's part of the address, and what is besides the address.
    pub(super) descriptors: FxHashMap<(Val, Val, u64), Val>,
    /// The innermost loops with products of warpgroups.
    pub(super) loops: super::wgmma::ProductLoops,
    /// The slots of rings that tiles were read from: the ring's base, the slot's number, bytes of a slot.
    pub(super) slots_read: FxHashMap<Value, (Val, Val, u32)>,
    /// Barriers in the block of a cluster that has a lane's number, by their base here.
    pub(super) remote_barriers: FxHashMap<Val, Val>,
    /// Barriers of the cluster that consumers come to.
    pub(super) cluster_syncs: u32,
    /// What is being written runs on the consumers' warps alone, which are all warps but the last.
    pub(super) consumers: bool,
    /// Loops around the current place whose trips are programs of their own.
    pub(super) program_loops: u32,
    /// Where the boxes of tensor stores lie, two a warp.
    pub(super) staging: Option<Val>,
    /// How many registers each role has, where they differ.
    pub(super) registers: Option<Registers>,
    /// How many registers of each tile are being worked on, where not all are.
    pub(super) part: Option<usize>,
    slots: SecondaryMap<Value, Option<Slot>>,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(module: &'a Module, func: &'a Function, target: GpuTarget, warps: u32) -> Emitter<'a> {
        let uses = Uses::of(func);
        let mut w = Writer::new();
        let registers = if uses.producers() > 0 { Registers::of(func, warps, uses.groups()) } else { None };
        // Registers are handed over by whole warpgroups.
        let producers = if registers.is_some() { 4 } else { uses.producers() };
        let threads = Threads::new(&mut w, warps, uses.groups(), producers);
        Emitter {
            module,
            func,
            target,
            facts: Facts::of(func),
            w,
            threads,
            params: Params::of(func, uses),
            scratch: Scratch::new(func),
            order: MemoryOrder::default(),
            lines: Lines::new(module, func),
            index: if func.index_bits == 32 { Ty::I32 } else { Ty::I64 },
            ptx: target.ptx_version(),
            strings: Vec::new(),
            asserts: Vec::new(),
            prints: Vec::new(),
            functions: BTreeMap::new(),
            reached: FxHashMap::default(),
            pointers: FxHashMap::default(),
            descriptors: FxHashMap::default(),
            loops: super::wgmma::ProductLoops::of(func),
            slots_read: FxHashMap::default(),
            remote_barriers: FxHashMap::default(),
            cluster_syncs: 0,
            consumers: false,
            program_loops: 0,
            staging: None,
            registers,
            part: None,
            slots: SecondaryMap::new(),
        }
    }

    /// Writes the whole body.
    pub(super) fn body(&mut self) -> Result<()> {
        self.bind_params();
        self.prefetch_maps();
        if self.func.schedule.pdl {
            // Nothing is read or written before the launches in front of this one have ended; what comes behind it may be launched, and waits likewise.
            self.w.asm(&[], Asm::Memory, "griddepcontrol.wait;", "", &[]);
            self.w.asm(&[], Asm::Memory, "griddepcontrol.launch_dependents;", "", &[]);
        }
        self.block(self.func.body)?;
        self.w.effect("ret void");
        Ok(())
    }

    /// One thread has the descriptions of tensors fetched that the TMA engine will ask for. They come with the launch, and wait for nothing.
    fn prefetch_maps(&mut self) {
        let maps = self.params.list.iter().copied().filter(|param| matches!(param, PtxParam::TensorMap(_)));
        let maps: Vec<Val> = maps.map(|param| self.params.value(param)).collect();
        if maps.is_empty() {
            return;
        }
        // Where there is a producer, its lane.
        let behind = if self.threads.producers > 0 { 32 * self.threads.consumers() } else { 0 };
        let one = self.w.icmp("eq", self.threads.in_block, Val::i32(behind));
        let (fetch, end) = (self.w.new_label(), self.w.new_label());
        self.w.branch(one, fetch, end);
        self.w.start(fetch);
        for map in maps {
            self.w.asm(&[], Asm::Memory, "prefetch.tensormap [$0];", "l", &[map]);
        }
        self.w.jump(end);
        self.w.start(end);
    }

    fn bind_params(&mut self) {
        for (number, &value) in self.func.param_values().iter().enumerate() {
            let param = number as u32;
            let slot = match self.func.ty(value).data() {
                TypeData::View { rank, .. } => {
                    let mut read = |p: PtxParam| {
                        let full = self.params.value(p);
                        self.w.at_entry(|w| w.resize_signed(full, self.index))
                    };
                    let dims = (0..*rank).map(|axis| read(PtxParam::Dim { param, axis })).collect();
                    let strides = (0..*rank).map(|axis| read(PtxParam::Stride { param, axis })).collect();
                    let facts = self.facts.view(self.func, value);
                    let known = |vals: SmallVec<[Val; 5]>, facts: &[kiln_ir::IntFact]| -> SmallVec<[Val; 5]> {
                        let of = |(v, f): (Val, &kiln_ir::IntFact)| f.known.map_or(v, |k| Val::int(self.index, k));
                        vals.into_iter().zip(facts).map(of).collect()
                    };
                    Slot::View(Rc::new(ViewRegs {
                        base: self.params.value(PtxParam::Base(param)),
                        dims: known(dims, &facts.dims),
                        strides: known(strides, &facts.strides),
                    }))
                }
                TypeData::Tile { elem, .. } => {
                    let raw = self.params.value(PtxParam::Value { param, bytes: elem.bytes() });
                    let value = self.w.at_entry(|w| from_memory(w, raw, *elem, self.index));
                    Slot::Tile(Rc::new([value]))
                }
            };
            self.slots[value] = Some(slot);
        }
    }

    /// Writes one instruction.
    pub(super) fn one(&mut self, inst: Inst) -> Result<()> {
        self.w.location = self.lines.location(self.module, self.func.locs[inst]);
        self.scratch.next_instruction(inst);
        self.inst(inst)?;
        self.end_rings(inst);
        Ok(())
    }

    fn inst(&mut self, inst: Inst) -> Result<()> {
        let func = self.func;
        match &func.insts[inst] {
            InstData::Const { value } => {
                let ty = func.ty(func.result(inst));
                let one = self.constant(*value, ty.elem());
                let count = self.register_count(ty);
                self.define(inst, std::iter::repeat_n(one, count).collect());
            }
            InstData::ConstTile { values } => self.const_tile(inst, values),
            InstData::Iota { start } => self.iota(inst, *start),
            InstData::ProgramId { axis } => {
                let value = self.program_id(*axis);
                self.define(inst, vec![value]);
            }
            InstData::NumPrograms { axis } => {
                let value = self.num_programs(*axis);
                self.define(inst, vec![value]);
            }
            InstData::NumSms => {
                let full = self.params.value(PtxParam::NumSms);
                let value = self.w.resize_signed(full, self.index);
                self.define(inst, vec![value]);
            }
            InstData::BlockId | InstData::NumBlocks => {
                let name = match (&func.insts[inst], func.schedule.cluster_blocks()) {
                    (InstData::BlockId, 1) => "ctaid.x",
                    (InstData::BlockId, _) => "clusterid.x",
                    (_, 1) => "nctaid.x",
                    _ => "nclusterid.x",
                };
                let value = self.special(name, i64::from(i32::MAX));
                self.define(inst, vec![value]);
            }
            InstData::ClusterRank => {
                let value = self.special("cluster.ctarank", i64::from(func.schedule.cluster_blocks()));
                self.define(inst, vec![value]);
            }
            InstData::Unary { op, arg } => self.unary(inst, *op, *arg)?,
            InstData::Binary { op, a, b } => self.binary(inst, *op, *a, *b)?,
            InstData::Fma { a, b, c } => self.fma(inst, *a, *b, *c)?,
            InstData::Cmp { op, a, b } => self.compare(inst, *op, *a, *b)?,
            InstData::Select { cond, a, b } => {
                let (cond, a, b) = (self.regs(*cond), self.regs(*a), self.regs(*b));
                let regs = (0..a.len()).map(|i| self.w.select(cond[i], a[i], b[i])).collect();
                self.define(inst, regs);
            }
            InstData::Cast { arg } => self.cast(inst, *arg)?,
            InstData::Bitcast { arg } => {
                let to = self.value_type(func.ty(func.result(inst)).elem());
                let regs = self.regs(*arg).iter().map(|&v| self.w.bitcast(v, to)).collect();
                self.define(inst, regs);
            }
            InstData::PtrAdd { ptr, offset } => {
                let bytes = pointee_bytes(func.ty(*ptr).elem());
                let (pointers, offsets) = (self.regs(*ptr), self.regs(*offset));
                let regs = (0..pointers.len()).map(|i| self.w.offset(pointers[i], offsets[i], bytes)).collect();
                self.define(inst, regs);
            }
            InstData::InlineAsm { text, constraints, args, pure_ } => self.inline_asm(inst, text, constraints, args, *pure_)?,
            InstData::Broadcast { arg } => self.broadcast(inst, *arg)?,
            InstData::ExpandDims { arg, axis } => self.expand_dims(inst, *arg, usize::from(*axis))?,
            InstData::Reshape { arg } => self.reshape(inst, *arg)?,
            InstData::Permute { arg, perm } => self.permute(inst, *arg, perm)?,
            InstData::Join { a, b } => self.join(inst, *a, *b)?,
            InstData::Split { arg } => self.split(inst, *arg)?,
            InstData::Cat { args, axis } => self.cat(inst, args, usize::from(*axis))?,
            InstData::ExtractSlice { arg, starts } => self.extract(inst, *arg, starts)?,
            InstData::Gather { src, index, axis } => self.gather(inst, *src, *index, usize::from(*axis))?,
            InstData::Flip { arg, axis } => self.flip(inst, *arg, usize::from(*axis))?,
            InstData::ConvertLayout { arg } => self.convert_layout(inst, *arg)?,
            InstData::MakeView { .. }
            | InstData::SubView { .. }
            | InstData::PermuteView { .. }
            | InstData::ViewDim { .. }
            | InstData::ViewStride { .. }
            | InstData::ViewPtr { .. } => self.view(inst)?,
            InstData::Load { .. } => self.load(inst)?,
            InstData::Store { .. } => self.store(inst)?,
            InstData::Prefetch { place, mask } => self.prefetch(inst, place, *mask)?,
            InstData::AtomicRmw { .. }
            | InstData::AtomicCas { .. }
            | InstData::AtomicLoad { .. }
            | InstData::AtomicStore { .. } => self.atomic(inst)?,
            InstData::Reduce { args, axis, combine } => self.reduce(inst, args, usize::from(*axis), *combine)?,
            InstData::Scan { args, axis, reverse, combine } => {
                self.scan(inst, args, usize::from(*axis), *reverse, *combine)?;
            }
            InstData::For { .. } => self.for_loop(inst)?,
            InstData::While { .. } => self.while_loop(inst)?,
            InstData::If { .. } => self.if_else(inst)?,
            InstData::Yield { .. } => {}
            // Facts are read by the analysis; nothing runs.
            InstData::Assume { .. } | InstData::AssumeAligned { .. } => {}
            InstData::Assert { cond, message } => self.assert(inst, *cond, message),
            InstData::Dot { a, b, acc, .. } => match MmaDot::of(func, inst) {
                Some(dot) => self.mma(inst, &dot, *a, *b, *acc)?,
                None => self.dot(inst, *a, *b, *acc)?,
            },
            InstData::DotStart { a, b, acc, .. } => {
                let dot = MmaDot::of(func, inst).ok_or_else(|| internal("a product of warpgroups in another layout"))?;
                self.dot_start(inst, &dot, *a, *b, *acc)?;
            }
            InstData::DotWait { arg, pending } => self.dot_wait(inst, *arg, *pending),
            InstData::Hold { arg } => self.hold(inst, *arg),
            InstData::TakeTurn => self.take_turn(),
            InstData::PassTurn => self.pass_turn(),
            InstData::ConsumerGroup => {
                let group = self.threads.group(&mut self.w);
                self.define(inst, vec![group]);
            }
            InstData::ClusterSum { arg } => self.cluster_sum(inst, *arg)?,
            InstData::BarrierNew { count, arrivals } => self.barrier_new(inst, *count, *arrivals),
            InstData::BarrierExpect { barrier, slot, bytes } => self.barrier_expect(*barrier, *slot, *bytes)?,
            InstData::BarrierArrive { barrier, slot, enable, cluster } => {
                self.barrier_arrive(*barrier, *slot, *enable, *cluster)?;
            }
            InstData::BarrierWait { barrier, slot, phase } => self.barrier_wait(*barrier, *slot, *phase)?,
            InstData::TmaFill { place, ring, slot, barrier, share, tf32 } => {
                self.tma_fill(place, *ring, *slot, *barrier, *share, *tf32)?;
            }
            InstData::TmaStore { place, value, reduce } => self.tma_store(inst, place, *value, *reduce)?,
            InstData::TmaStoreWait => self.tma_store_wait(),
            InstData::IsProducer => self.is_producer(inst),
            InstData::DotScaled { .. } => return Err(internal("a dot_scaled is left after the passes for GPUs")),
            InstData::Sort { args, axis, descending } => self.sort(inst, args, usize::from(*axis), *descending)?,
            InstData::TopK { arg, k } => self.topk(inst, *arg, *k)?,
            InstData::Histogram { arg, bins, mask } => self.histogram(inst, *arg, *bins, *mask)?,
            InstData::RingNew { slots } => self.ring_new(inst, *slots)?,
            InstData::RingAcquire { .. } => self.barrier(),
            InstData::RingFill { .. } => self.ring_fill(inst)?,
            InstData::RingCommit => self.ring_commit(),
            InstData::RingWait { pending } => self.ring_wait(*pending),
            InstData::RingRead { ring, slot } => self.ring_read(inst, *ring, *slot)?,
            InstData::Print { format, args } => self.print(inst, format, args)?,
            InstData::GridSync => self.grid_sync(),
            InstData::Call { .. } => {
                return Err(internal("a call is left after the inline pass"));
            }
        }
        Ok(())
    }

    // ---- values ----

    /// The generic address of a constant string, as an operand.
    pub(super) fn string(&mut self, text: &str) -> String {
        let name = format!("kiln$string{}", self.strings.len());
        let bytes: String = text.bytes().chain([0]).map(|b| format!("\\{b:02X}")).collect();
        let ty = format!("[{} x i8]", text.len() + 1);
        self.strings.push(format!("@{name} = private addrspace(1) constant {ty} c\"{bytes}\""));
        format!("addrspacecast (ptr addrspace(1) @{name} to ptr)")
    }

    /// The registers of a tile.
    pub(super) fn regs(&self, value: Value) -> Rc<[Val]> {
        match &self.slots[value] {
            Some(Slot::Tile(regs)) => Rc::clone(regs),
            other => unreachable!("{value} is no tile here: {other:?}"),
        }
    }

    /// The register of a scalar.
    pub(super) fn scalar(&self, value: Value) -> Val {
        self.regs(value)[0]
    }

    /// The parts of a view.
    pub(super) fn view_regs(&self, value: Value) -> Rc<ViewRegs> {
        match &self.slots[value] {
            Some(Slot::View(view)) => Rc::clone(view),
            other => unreachable!("{value} is no view here: {other:?}"),
        }
    }

    pub(super) fn slot(&self, value: Value) -> Slot {
        self.slots[value].clone().expect("values are defined before they are used")
    }

    pub(super) fn set(&mut self, value: Value, slot: Slot) {
        self.slots[value] = Some(slot);
    }

    /// Binds the only result of an instruction.
    pub(super) fn define(&mut self, inst: Inst, regs: Vec<Val>) {
        let result = self.func.result(inst);
        self.define_value(result, regs);
    }

    pub(super) fn define_value(&mut self, value: Value, regs: Vec<Val>) {
        debug_assert_eq!(regs.len(), self.part.unwrap_or_else(|| self.register_count(self.func.ty(value))), "{value}");
        self.slots[value] = Some(Slot::Tile(regs.into()));
    }

    /// The layout of a tile seen from a thread; None for a scalar.
    pub(super) fn spread_of(&mut self, ty: Type) -> Option<Rc<Spread>> {
        if ty.is_scalar() {
            return None;
        }
        let id = ty.layout().expect("tiles have layouts in code generation");
        Some(self.threads.spread(&mut self.w, id))
    }

    pub(super) fn register_count(&self, ty: Type) -> usize {
        ty.layout().map_or(1, |id| id.layout().registers() as usize)
    }

    pub(super) fn shape(&self, value: Value) -> Shape {
        Shape::from_slice(self.func.ty(value).shape())
    }

    /// The type of an element in registers: bools are i1, `index` has the launch's width, f8 is its byte.
    pub(super) fn value_type(&self, elem: Elem) -> Ty {
        match elem {
            Elem::Scalar(ScalarType::Bool) => Ty::I1,
            Elem::Scalar(ScalarType::Index) => self.index,
            other => memory_type(other),
        }
    }

    pub(super) fn constant(&self, value: Const, elem: Elem) -> Val {
        let ty = self.value_type(elem);
        match value {
            Const::Int(v) => Val::int(ty, v),
            Const::Float(v) if ty.is_float() => Val::float(ty, v),
            Const::Float(v) => Val::int(ty, f8_bits(v, elem)),
        }
    }

    fn iota(&mut self, inst: Inst, start: i64) {
        let ty = self.func.ty(self.func.result(inst));
        let to = self.value_type(ty.elem());
        let Some(spread) = self.spread_of(ty) else {
            self.define(inst, vec![Val::int(to, start)]);
            return;
        };
        let regs = (0..spread.registers.len() as u32)
            .map(|r| {
                let (thread, constant) = spread.coord(&mut self.w, r, 0);
                let wide = if to.bits() > 32 { self.w.cast("zext nneg", thread, to) } else { self.w.resize_signed(thread, to) };
                self.w.add(wide, Val::int(to, start.wrapping_add(i64::from(constant))))
            })
            .collect();
        self.define(inst, regs);
    }

    // ---- the grid ----

    fn program_id(&mut self, axis: u8) -> Val {
        let index = self.index;
        match self.params.grid {
            GridMapping::Direct => {
                let register = ["x", "y", "z"][usize::from(axis)];
                self.special(&format!("ctaid.{register}"), if axis == 0 { i64::from(i32::MAX) } else { 65535 })
            }
            GridMapping::Ordered { .. } | GridMapping::Persistent { .. } => {
                unreachable!("the pass that gives programs an order leaves no program ids")
            }
            GridMapping::Linear => {
                let linear = self.special("ctaid.x", i64::from(i32::MAX));
                let mut rest = linear;
                for before in 0..axis {
                    let extent = self.params.value(PtxParam::GridExtent(before));
                    rest = self.w.at_entry(|w| {
                        let extent = w.resize_signed(extent, index);
                        w.raw("udiv", rest, extent)
                    });
                }
                if axis + 1 == self.func.grid_rank {
                    return rest;
                }
                let extent = self.params.value(PtxParam::GridExtent(axis));
                self.w.at_entry(|w| {
                    let extent = w.resize_signed(extent, index);
                    w.raw("urem", rest, extent)
                })
            }
        }
    }

    fn num_programs(&mut self, axis: u8) -> Val {
        match self.params.grid {
            GridMapping::Direct => {
                let register = ["x", "y", "z"][usize::from(axis)];
                self.special(&format!("nctaid.{register}"), if axis == 0 { i64::from(i32::MAX) } else { 65536 })
            }
            GridMapping::Linear | GridMapping::Ordered { .. } | GridMapping::Persistent { .. } => {
                let full = self.params.value(PtxParam::GridExtent(axis));
                self.w.resize_signed(full, self.index)
            }
        }
    }

    /// A special register with values below `bound`, in the index type.
    pub(super) fn special(&mut self, name: &str, bound: i64) -> Val {
        let index = self.index;
        self.w.at_entry(|w| {
            let attributes = format!("noundef range(i32 0, {bound})");
            let value = w.call_with(Ty::I32, &attributes, &format!("llvm.nvvm.read.ptx.sreg.{name}"), &[]);
            if index == Ty::I32 { value } else { w.cast("zext nneg", value, index) }
        })
    }
}

/// A value from its form in memory.
pub(super) fn from_memory(w: &mut Writer, raw: Val, elem: Elem, index: Ty) -> Val {
    match elem {
        Elem::Scalar(ScalarType::Bool) => w.icmp("ne", raw, Val::int(Ty::I8, 0)),
        Elem::Scalar(ScalarType::Index) => w.resize_signed(raw, index),
        _ => raw,
    }
}

/// A value in its form in memory.
pub(super) fn to_memory(w: &mut Writer, value: Val, elem: Elem) -> Val {
    match elem {
        Elem::Scalar(ScalarType::Bool) => w.cast("zext", value, Ty::I8),
        Elem::Scalar(ScalarType::Index) => w.resize_signed(value, Ty::I64),
        _ => value,
    }
}

/// Bytes of what a pointer points to.
pub(super) fn pointee_bytes(elem: Elem) -> u32 {
    match elem {
        Elem::Ptr { pointee, .. } => pointee.bytes(),
        Elem::Scalar(s) => s.bytes(),
    }
}

/// The byte of an f8 constant, which is already rounded to its type.
fn f8_bits(value: f64, elem: Elem) -> i64 {
    let (exponent_bits, mantissa_bits) = match elem {
        Elem::Scalar(ScalarType::F8E4M3) => (4, 3),
        _ => (5, 2),
    };
    let sign = i64::from(value.is_sign_negative()) << 7;
    let bias = (1 << (exponent_bits - 1)) - 1;
    if value.is_nan() {
        return sign | 0x7f;
    }
    if value.is_infinite() {
        // e4m3 has no infinity: its greatest number stands for it.
        return sign | if exponent_bits == 5 { 0x7c } else { 0x7e };
    }
    let magnitude = value.abs();
    if magnitude == 0.0 {
        return sign;
    }
    let exponent = (magnitude.log2().floor() as i32).max(1 - bias);
    let scaled = magnitude / f64::from(exponent - mantissa_bits).exp2();
    // Normal numbers have their leading one at 2^mantissa_bits; adding the exponent field carries it in.
    sign | (scaled as i64 + (i64::from(exponent + bias - 1) << mantissa_bits))
}
