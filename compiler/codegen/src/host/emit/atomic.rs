//! Atomics: one element at a time, in row-major order of the tile; lanes that take no part read 0.

use kiln_ir::ops::{AtomicOp, MemOrder};
use kiln_ir::{Elem, Inst, InstData, Place, ScalarType, Value};

use super::nest::{Coord, Coords, Lv, Nest};
use super::{Buffer, Emitter};
use crate::CodegenError;
use crate::llvm::{FloatPred, Ordering, RmwOp, Val};

/// The order LLVM is asked for. Relaxed is monotonic.
fn ordering(order: MemOrder) -> Ordering {
    match order {
        MemOrder::Relaxed => Ordering::LLVMAtomicOrderingMonotonic,
        MemOrder::Acquire => Ordering::LLVMAtomicOrderingAcquire,
        MemOrder::Release => Ordering::LLVMAtomicOrderingRelease,
        MemOrder::AcqRel => Ordering::LLVMAtomicOrderingAcquireRelease,
    }
}

/// The strongest order a load may have.
fn load_ordering(order: MemOrder) -> Ordering {
    match order {
        MemOrder::Acquire | MemOrder::AcqRel => Ordering::LLVMAtomicOrderingAcquire,
        MemOrder::Relaxed | MemOrder::Release => Ordering::LLVMAtomicOrderingMonotonic,
    }
}

/// The strongest order a store may have.
fn store_ordering(order: MemOrder) -> Ordering {
    match order {
        MemOrder::Release | MemOrder::AcqRel => Ordering::LLVMAtomicOrderingRelease,
        MemOrder::Relaxed | MemOrder::Acquire => Ordering::LLVMAtomicOrderingMonotonic,
    }
}

impl Emitter<'_> {
    /// Emits an atomic on an element or a tile.
    pub fn atomic(&mut self, inst: Inst) -> Result<(), CodegenError> {
        let func = self.func;
        let (place, mask) = match &func.insts[inst] {
            InstData::AtomicRmw { place, mask, .. }
            | InstData::AtomicCas { place, mask, .. }
            | InstData::AtomicLoad { place, mask, .. }
            | InstData::AtomicStore { place, mask, .. } => (place, *mask),
            _ => return Err(CodegenError::internal("not an atomic")),
        };
        let result = func.results_of(inst).first().copied();
        let shape = match (result, &func.insts[inst]) {
            (Some(r), _) => func.ty(r).shape(),
            (None, InstData::AtomicStore { value, .. }) => func.ty(*value).shape(),
            _ => &[],
        };
        let mut n = Nest::new(1);
        let mut coords: Coords = shape.iter().map(|_| Coord::Const(0)).collect();
        let out = result.filter(|&r| self.is_tile(r)).map(|r| self.result_buffer(r));
        let axes: Vec<usize> = (0..shape.len()).collect();
        self.atomic_loops(&mut n, inst, place, mask, shape, &axes, &mut coords, out.as_ref())
    }

    #[allow(clippy::too_many_arguments, reason = "the recursion carries the whole loop state")]
    fn atomic_loops(
        &mut self,
        n: &mut Nest,
        inst: Inst,
        place: &Place,
        mask: Option<Value>,
        shape: &[u32],
        axes: &[usize],
        coords: &mut Coords,
        out: Option<&Buffer>,
    ) -> Result<(), CodegenError> {
        if let Some((&axis, rest)) = axes.split_first() {
            if shape[axis] == 1 {
                return self.atomic_loops(n, inst, place, mask, shape, rest, coords, out);
            }
            let open = self.b.begin_loop(self.b.const_i64(0), self.b.const_i64(1), &[]);
            n.push(&open);
            coords[axis] = Coord::Uni(Lv { v: open.iv, level: n.top() });
            self.atomic_loops(n, inst, place, mask, shape, rest, coords, out)?;
            n.pop();
            self.b.end_loop(open, self.b.const_i64(i64::from(shape[axis])), &[]);
            return Ok(());
        }
        // Everything the element needs is computed in front of the branch.
        let (ptr, valid) = self.element(n, place, coords)?;
        let mask = mask.map(|m| self.eval(n, m, coords)).transpose()?;
        let ok = match (valid, mask) {
            (Some(v), Some(m)) => Some(self.b.and(v, m.v)),
            (v, m) => v.or(m.map(|m| m.v)),
        };
        let mut operands = Vec::new();
        match &self.func.insts[inst] {
            InstData::AtomicRmw { value, .. } | InstData::AtomicStore { value, .. } => {
                operands.push(self.eval(n, *value, coords)?.v)
            }
            InstData::AtomicCas { expected, value, .. } => {
                operands.push(self.eval(n, *expected, coords)?.v);
                operands.push(self.eval(n, *value, coords)?.v);
            }
            _ => {}
        }
        let result = self.func.results_of(inst).first().copied();
        let old = match ok {
            None => self.atomic_element(inst, ptr, &operands)?,
            Some(ok) => {
                let before = self.b.current();
                let (act, done) = (self.b.block("atomic"), self.b.block("atomic_done"));
                self.b.cond_br(ok, act, done);
                self.b.at_end(act);
                let old = self.atomic_element(inst, ptr, &operands)?;
                let acted = self.b.current();
                self.b.br(done);
                self.b.at_end(done);
                old.map(|old| {
                    let ty = self.b.ty(old);
                    let phi = self.b.phi(ty);
                    self.b.incoming(phi, old, acted);
                    self.b.incoming(phi, self.b.zero(ty), before);
                    phi
                })
            }
        };
        if let (Some(result), Some(old)) = (result, old) {
            match out {
                Some(buffer) => {
                    let level = n.top();
                    self.store_buffer(n, buffer, coords, Lv { v: old, level })?;
                }
                None => {
                    self.scalars.insert(result, old);
                }
            }
        }
        Ok(())
    }

    /// One atomic operation; the old value in register format, if there is one.
    fn atomic_element(&mut self, inst: Inst, ptr: Val, operands: &[Val]) -> Result<Option<Val>, CodegenError> {
        let func = self.func;
        let elem_of = |v: Value| func.ty(v).elem();
        match &func.insts[inst] {
            InstData::AtomicLoad { order, .. } => {
                let elem = elem_of(func.result(inst));
                let raw = self.b.load(self.atomic_ty(elem), ptr, elem.bytes());
                self.b.set_ordering(raw, load_ordering(*order));
                Ok(Some(self.unpack_bits(elem, raw)))
            }
            InstData::AtomicStore { value, order, .. } => {
                let elem = elem_of(*value);
                let raw = self.pack_bits(elem, operands[0]);
                let store = self.b.store(raw, ptr, elem.bytes());
                self.b.set_ordering(store, store_ordering(*order));
                Ok(None)
            }
            InstData::AtomicCas { value, order, .. } => {
                let elem = elem_of(*value);
                let (expected, new) = (self.pack_bits(elem, operands[0]), self.pack_bits(elem, operands[1]));
                let old = self.b.atomic_cas(ptr, expected, new, ordering(*order), load_ordering(*order));
                Ok(Some(self.unpack_bits(elem, old)))
            }
            InstData::AtomicRmw { op, value, order, .. } => {
                let elem = elem_of(*value);
                self.atomic_rmw(inst, *op, elem, ptr, operands[0], ordering(*order)).map(Some)
            }
            _ => Err(CodegenError::internal("not an atomic")),
        }
    }

    fn atomic_ty(&self, elem: Elem) -> crate::llvm::Ty {
        match elem {
            Elem::Ptr { .. } => self.b.i64(),
            Elem::Scalar(s) => self.b.int_ty(s.bytes() * 8),
        }
    }

    fn pack_bits(&mut self, elem: Elem, v: Val) -> Val {
        let raw = self.pack(elem, v);
        let ty = self.atomic_ty(elem);
        if matches!(elem, Elem::Ptr { .. }) { self.b.ptrtoint(raw, ty) } else { self.b.bitcast(raw, ty) }
    }

    fn unpack_bits(&mut self, elem: Elem, bits: Val) -> Val {
        let raw = match elem {
            Elem::Ptr { .. } => self.b.inttoptr(bits, self.b.ptr()),
            Elem::Scalar(_) => self.b.bitcast(bits, self.mem_ty(elem)),
        };
        self.unpack(elem, raw)
    }

    fn atomic_rmw(
        &mut self,
        inst: Inst,
        op: AtomicOp,
        elem: Elem,
        ptr: Val,
        value: Val,
        order: Ordering,
    ) -> Result<Val, CodegenError> {
        let s = elem.scalar().unwrap_or(ScalarType::U64);
        let native_float = matches!(s, ScalarType::F32 | ScalarType::F64);
        let signed = s.is_signed_int();
        let rmw = match op {
            AtomicOp::Add if native_float => Some(RmwOp::LLVMAtomicRMWBinOpFAdd),
            AtomicOp::Xchg => Some(RmwOp::LLVMAtomicRMWBinOpXchg),
            _ if s.is_float() => None,
            AtomicOp::Add => Some(RmwOp::LLVMAtomicRMWBinOpAdd),
            AtomicOp::And => Some(RmwOp::LLVMAtomicRMWBinOpAnd),
            AtomicOp::Or => Some(RmwOp::LLVMAtomicRMWBinOpOr),
            AtomicOp::Xor => Some(RmwOp::LLVMAtomicRMWBinOpXor),
            AtomicOp::Max => Some(if signed { RmwOp::LLVMAtomicRMWBinOpMax } else { RmwOp::LLVMAtomicRMWBinOpUMax }),
            AtomicOp::Min => Some(if signed { RmwOp::LLVMAtomicRMWBinOpMin } else { RmwOp::LLVMAtomicRMWBinOpUMin }),
        };
        if let Some(rmw) = rmw {
            if op == AtomicOp::Add && native_float {
                return Ok(self.b.atomic_rmw(rmw, ptr, value, order));
            }
            let raw = self.pack_bits(elem, value);
            let old = self.b.atomic_rmw(rmw, ptr, raw, order);
            return Ok(self.unpack_bits(elem, old));
        }
        // Other float operations: compare and swap until nobody came between.
        let ty = self.atomic_ty(elem);
        let first = self.b.load(ty, ptr, elem.bytes());
        self.b.set_ordering(first, Ordering::LLVMAtomicOrderingMonotonic);
        let before = self.b.current();
        let (again, done) = (self.b.block("atomic_try"), self.b.block("atomic_swapped"));
        self.b.br(again);
        self.b.at_end(again);
        let seen = self.b.phi(ty);
        self.b.incoming(seen, first, before);
        let old = self.unpack_bits(elem, seen);
        let new = match op {
            AtomicOp::Add => {
                let sum = self.b.fadd(old, value);
                self.round_to(elem, sum)
            }
            AtomicOp::Max | AtomicOp::Min => {
                let pred = if op == AtomicOp::Max { FloatPred::LLVMRealOGT } else { FloatPred::LLVMRealOLT };
                let unordered = self.b.fcmp(FloatPred::LLVMRealUNO, value, value);
                let take = self.b.or(self.b.fcmp(pred, value, old), unordered);
                self.b.select(take, value, old)
            }
            _ => return Err(self.unsupported(inst, format!("`atomic_{op}` does not exist for {s}"))),
        };
        let new = self.pack_bits(elem, new);
        let found = self.b.atomic_cas(ptr, seen, new, order, Ordering::LLVMAtomicOrderingMonotonic);
        let swapped = self.b.icmp(crate::llvm::IntPred::LLVMIntEQ, found, seen);
        let from = self.b.current();
        self.b.incoming(seen, found, from);
        self.b.cond_br(swapped, done, again);
        self.b.at_end(done);
        Ok(old)
    }
}
