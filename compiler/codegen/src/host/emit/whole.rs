//! Instructions on whole tiles in memory: `sort`, `topk`, `histogram`, `cat`; and the means to have any tile in memory.

use kiln_ir::{Elem, Inst, InstData, Shape, Value};

use super::{Buffer, Emitter};
use crate::CodegenError;
use crate::host::loops::Emit;
use crate::host::whole::histogram::Histogram;
use crate::host::whole::sort::{Sort, Tile};

impl Emitter<'_> {
    /// The memory of any tile: its own, or a new buffer that holds it.
    pub fn in_memory(&mut self, v: Value) -> Result<Buffer, CodegenError> {
        if !self.is_inline(v) {
            return self.buffer(v);
        }
        let ty = self.func.ty(v);
        let buffer = self.alloc(ty.elem(), ty.shape());
        self.materialize_into(v, &buffer)?;
        Ok(buffer)
    }

    /// Emits a `Sort`; its results get their buffers.
    pub fn sort(&mut self, inst: Inst) -> Result<(), CodegenError> {
        let func = self.func;
        let InstData::Sort { args, axis, descending } = &func.insts[inst] else {
            return Err(CodegenError::internal("not a sort"));
        };
        let shape = func.ty(args[0]).shape();
        let axis = usize::from(*axis);
        self.sorted(inst, args, axis, shape[axis], *descending, func.results_of(inst), None)
    }

    /// Emits a `TopK`; its results get their buffers.
    pub fn topk(&mut self, inst: Inst) -> Result<(), CodegenError> {
        let func = self.func;
        let InstData::TopK { arg, k } = func.insts[inst] else { return Err(CodegenError::internal("not a topk")) };
        let &[values, positions] = func.results_of(inst) else { return Err(CodegenError::internal("topk has two results")) };
        let axis = func.ty(arg).rank() - 1;
        self.sorted(inst, &[arg], axis, k, true, &[values], Some(positions))
    }

    #[allow(clippy::too_many_arguments, reason = "what `sort` and `topk` differ in")]
    fn sorted(
        &mut self,
        inst: Inst,
        args: &[Value],
        axis: usize,
        take: u32,
        descending: bool,
        results: &[Value],
        positions: Option<Value>,
    ) -> Result<(), CodegenError> {
        let ty = self.func.ty(args[0]);
        let Some(key) = ty.scalar_elem() else { return Err(self.unsupported(inst, "pointers have no order")) };
        let results: Vec<Tile> = results.iter().map(|&v| tile(&self.result_buffer(v))).collect();
        let positions = positions.map(|v| self.result_buffer(v).ptr);
        let mark = self.mark();
        let args = args.iter().map(|&v| Ok(tile(&self.in_memory(v)?))).collect::<Result<Vec<_>, CodegenError>>()?;
        let sort = Sort::new(ty.shape(), axis, take, key, descending);
        let scratch = self.alloc_bytes(sort.scratch_bytes());
        sort.emit(&Emit(&self.b), &args, &results, positions, scratch);
        self.release(mark);
        Ok(())
    }

    /// Emits a `Histogram`; its result gets its buffer.
    pub fn histogram(&mut self, inst: Inst) -> Result<(), CodegenError> {
        let func = self.func;
        let InstData::Histogram { arg, bins, mask } = func.insts[inst] else {
            return Err(CodegenError::internal("not a histogram"));
        };
        let ty = func.ty(arg);
        let Some(elem) = ty.scalar_elem() else { return Err(CodegenError::internal("a histogram of pointers")) };
        let counts = self.result_buffer(func.result(inst));
        let mark = self.mark();
        let values = self.in_memory(arg)?;
        let mask = mask.map(|m| self.in_memory(m)).transpose()?;
        let histogram = Histogram { elements: ty.num_elements(), elem, bins };
        histogram.emit(&Emit(&self.b), values.ptr, mask.map(|m| m.ptr), counts.ptr);
        self.release(mark);
        Ok(())
    }

    /// Emits a `Cat`; its result gets its buffer.
    pub fn cat(&mut self, inst: Inst) -> Result<(), CodegenError> {
        let func = self.func;
        let InstData::Cat { args, axis } = &func.insts[inst] else { return Err(CodegenError::internal("not a cat")) };
        let whole = self.result_buffer(func.result(inst));
        let axis = usize::from(*axis);
        let bytes_from = |shape: &[u32], elem: Elem| -> u64 {
            shape[axis..].iter().map(|&d| u64::from(d)).product::<u64>() * u64::from(elem.bytes())
        };
        let outer: u64 = whole.shape[..axis].iter().map(|&d| u64::from(d)).product();
        let row = bytes_from(&whole.shape, whole.elem);
        let mut offset = 0;
        for &arg in args {
            let shape = func.ty(arg).shape();
            let part = bytes_from(shape, whole.elem);
            let start = self.b.offset(whole.ptr, offset as i64);
            if outer == 1 {
                // The part is one run of the result.
                self.materialize_into(arg, &Buffer { ptr: start, elem: whole.elem, shape: Shape::from_slice(shape) })?;
            } else {
                let mark = self.mark();
                let from = self.in_memory(arg)?;
                let e = Emit(&self.b);
                e.repeat(outer, 1, |i| {
                    let to = e.gep(e.i8(), start, e.mul_const(i, row));
                    e.memcpy(to, e.gep(e.i8(), from.ptr, e.mul_const(i, part)), e.index(part));
                });
                self.release(mark);
            }
            offset += part;
        }
        Ok(())
    }
}

fn tile(buffer: &Buffer) -> Tile {
    Tile { ptr: buffer.ptr, elem: buffer.elem }
}
