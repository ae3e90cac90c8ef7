//! `dot` and `dot_scaled`: brings the generators of `host::dot` together with views, scratch tiles and carried accumulators.

use kiln_ir::{Inst, InstData, Place, ScalarType, SliceIndex, Value, ViewAccess};

use super::Emitter;
use crate::CodegenError;
use crate::host::dot::plan::Machine;
use crate::host::dot::scaled::{DotScaled, ScaledOperand};
use crate::host::dot::source::{Axis, Strided, Valid};
use crate::host::dot::{Accumulator, Dot};
use crate::host::loops::Emit;
use crate::host::plan::forms::is_zero;
use crate::llvm::{IntPred, Val};

/// One axis of an operand in memory.
#[derive(Clone, Copy)]
struct AxisOf {
    extent: u32,
    /// Elements from one position to the next.
    stride: Val,
    /// Positions lo..hi that are in bounds; `None`: all.
    valid: Option<(Val, Val)>,
}

/// An operand of rank 2 or 3 in memory, outermost axis first.
struct Operand {
    elem: ScalarType,
    /// Position 0 along every axis.
    base: Val,
    axes: Vec<AxisOf>,
    /// A condition without which nothing is in bounds.
    inside: Option<Val>,
    /// A row-major scratch tile.
    is_tile: bool,
}

impl Emitter<'_> {
    /// Emits a `Dot`; its result gets its buffer.
    pub fn dot(&mut self, inst: Inst) -> Result<(), CodegenError> {
        let func = self.func;
        let InstData::Dot { a, b, acc, precision } = func.insts[inst] else {
            return Err(CodegenError::internal("not a dot"));
        };
        let result = func.result(inst);
        let shape = func.ty(result).shape();
        let [.., m, n] = *shape else { return Err(CodegenError::internal("a dot of rank below 2")) };
        let Some(&k) = func.ty(a).shape().last() else { return Err(CodegenError::internal("a dot of scalars")) };
        let (Some(elem), Some(sum)) = (func.ty(a).scalar_elem(), func.ty(result).scalar_elem()) else {
            return Err(CodegenError::internal("a dot of pointers"));
        };
        let machine = Machine::of_host(self.vector_bytes);
        let Some(dot) = Dot::new(machine, [m, n, k], elem, sum, precision) else {
            return Err(self.unsupported(inst, format!("dot of {elem} accumulating in {sum} is not available on the CPU")));
        };
        let dot = dot.in_loop(!func.blocks[func.body].insts.contains(&inst));
        let buffer = self.result_buffer(result);
        let mark = self.mark();
        let fresh = self.start_accumulator(acc, &buffer)?;
        let (a, b) = (self.operand(a)?, self.operand(b)?);
        let scratch = self.alloc_bytes(dot.scratch_bytes());
        let emit = Emit(&self.b);
        let batch = shape[..shape.len() - 2].first().copied().unwrap_or(1);
        emit.repeat(batch.into(), 1, |i| {
            let c = emit.mul_const(i, u64::from(m) * u64::from(n));
            let ptr = emit.gep(emit.int_ty(sum.bytes() * 8), buffer.ptr, c);
            let matrix = |operand: &Operand| operand.matrix(&emit, i);
            dot.emit(&emit, &matrix(&a), &matrix(&b), Accumulator { ptr, row_stride: n, fresh }, scratch);
        });
        self.release(mark);
        Ok(())
    }

    /// Emits a `DotScaled`; its result gets its buffer.
    pub fn dot_scaled(&mut self, inst: Inst) -> Result<(), CodegenError> {
        let func = self.func;
        let InstData::DotScaled { a, a_scale, a_format, b, b_scale, b_format, acc } = func.insts[inst] else {
            return Err(CodegenError::internal("not a scaled dot"));
        };
        let result = func.result(inst);
        let &[m, n] = func.ty(result).shape() else { return Err(CodegenError::internal("a scaled dot of another rank than 2")) };
        let Some(&blocks) = func.ty(a_scale).shape().last() else { return Err(CodegenError::internal("scales of rank 0")) };
        let Some(dot) = DotScaled::new(Machine::of_host(self.vector_bytes), [m, n, blocks * 32]) else {
            return Err(CodegenError::internal("no f32 dot"));
        };
        let buffer = self.result_buffer(result);
        let mark = self.mark();
        let fresh = self.start_accumulator(acc, &buffer)?;
        let [a, a_scale, b, b_scale] = [a, a_scale, b, b_scale].map(|v| self.in_memory(v));
        let a = ScaledOperand { elements: a?.ptr, scales: a_scale?.ptr, format: a_format };
        let b = ScaledOperand { elements: b?.ptr, scales: b_scale?.ptr, format: b_format };
        let scratch = self.alloc_bytes(dot.scratch_bytes());
        dot.emit(&Emit(&self.b), a, b, Accumulator { ptr: buffer.ptr, row_stride: n, fresh }, scratch);
        self.release(mark);
        Ok(())
    }

    /// Puts the accumulator's value where the result goes; true when there is nothing to add to.
    fn start_accumulator(&mut self, acc: Option<Value>, result: &super::Buffer) -> Result<bool, CodegenError> {
        let Some(acc) = acc.filter(|&acc| !is_zero(self.func, acc)) else { return Ok(true) };
        self.materialize_into(acc, result)?;
        Ok(false)
    }

    /// An operand where it is: a load in place, transposed or not, or a tile in scratch memory.
    fn operand(&mut self, v: Value) -> Result<Operand, CodegenError> {
        let func = self.func;
        let rank = func.ty(v).rank();
        let mut order: Vec<usize> = (0..rank).collect();
        let mut source = v;
        while self.is_inline(source)
            && let Some(InstData::Permute { arg, perm }) = func.def_data(source)
        {
            for axis in &mut order {
                *axis = usize::from(perm[*axis]);
            }
            source = *arg;
        }
        let mut operand = match func.def_data(source) {
            Some(InstData::Load { place: Place::View(access), .. })
                if self.is_inline(source) && crate::host::plan::forms::is_direct(func, source) =>
            {
                self.viewed_operand(access)?
            }
            _ => self.tile_operand(source)?,
        };
        let identity = order.iter().enumerate().all(|(i, &axis)| i == axis);
        operand.is_tile &= identity;
        operand.axes = order.iter().map(|&axis| operand.axes[axis]).collect();
        Ok(operand)
    }

    fn tile_operand(&mut self, v: Value) -> Result<Operand, CodegenError> {
        let buffer = self.in_memory(v)?;
        let Some(elem) = buffer.elem.scalar() else { return Err(CodegenError::internal("a dot of pointers")) };
        let strides = buffer.strides();
        let axis = |(&extent, &stride): (&u32, &u64)| AxisOf { extent, stride: self.b.const_i64(stride as i64), valid: None };
        let axes = buffer.shape.iter().zip(&strides).map(axis).collect();
        Ok(Operand { elem, base: buffer.ptr, axes, inside: None, is_tile: true })
    }

    fn viewed_operand(&mut self, access: &ViewAccess) -> Result<Operand, CodegenError> {
        let Some(view) = self.views.get(&access.view).cloned() else {
            return Err(CodegenError::internal(format!("view {} is not computed yet", access.view)));
        };
        let Some(elem) = view.elem.scalar() else { return Err(CodegenError::internal("a dot of pointers")) };
        let mem = self.mem_ty(view.elem);
        let mut operand = Operand { elem, base: view.base, axes: Vec::new(), inside: None, is_tile: false };
        for (dim, index) in access.index.iter().enumerate() {
            let checked = access.in_bounds & (1 << dim) == 0;
            let (extent, stride) = (view.dims[dim], view.strides[dim]);
            let l = &self.b;
            let (position, len) = match *index {
                SliceIndex::At(at) => (l.sext(self.scalar(at)?, l.i64()), None),
                SliceIndex::Span { start, len } => (l.sext(self.scalar(start)?, l.i64()), Some(len)),
                SliceIndex::Gather(_) => return Err(CodegenError::internal("a gathered operand is not direct")),
            };
            operand.base = l.gep(mem, operand.base, l.mul(position, stride));
            match len {
                Some(len) => {
                    let valid = checked.then(|| (l.neg(position), l.sub(extent, position)));
                    operand.axes.push(AxisOf { extent: len, stride, valid });
                }
                None if checked => {
                    // One unsigned comparison: negative positions are large.
                    let inside = l.icmp(IntPred::LLVMIntULT, position, extent);
                    operand.inside = Some(operand.inside.map_or(inside, |all| l.and(all, inside)));
                }
                None => {}
            }
        }
        Ok(operand)
    }
}

impl Operand {
    /// The matrix of the last two axes, at position `batch` of the first of three.
    fn matrix(&self, e: &Emit<'_>, batch: Val) -> Strided {
        let (mut base, mut inside) = (self.base, self.inside);
        let mut axes = &self.axes[..];
        if let [first, rest @ ..] = axes
            && rest.len() == 2
        {
            base = e.gep(e.int_ty(self.elem.bytes() * 8), base, e.mul(batch, first.stride));
            if let Some((lo, hi)) = first.valid {
                let both = e.and(e.icmp(IntPred::LLVMIntSGE, batch, lo), e.icmp(IntPred::LLVMIntSLT, batch, hi));
                inside = Some(inside.map_or(both, |all| e.and(all, both)));
            }
            axes = rest;
        }
        let [rows, cols] = [axes[0], axes[1]];
        let unit = |axis: AxisOf| e.as_const_int(axis.stride) == Some(1);
        let mut valid = [rows, cols].map(|axis| axis.valid.map(|(lo, hi)| Valid::new(e, lo, hi, axis.extent)));
        if let Some(inside) = inside {
            let (lo, hi) = rows.valid.unwrap_or((e.index(0), e.index(rows.extent.into())));
            valid[0] = Some(Valid::new(e, lo, e.select(inside, hi, lo), rows.extent));
        }
        Strided {
            elem: self.elem,
            extents: [rows.extent, cols.extent],
            ptr: base,
            strides: [rows.stride, cols.stride],
            contiguous: if unit(cols) {
                Some(Axis::Col)
            } else if unit(rows) {
                Some(Axis::Row)
            } else {
                None
            },
            tile_stride: self.is_tile.then_some(cols.extent),
            valid,
        }
    }
}
