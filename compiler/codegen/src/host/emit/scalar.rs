//! Rank-0 instructions and tensor views: emitted where they stand.

use kiln_ir::{Inst, InstData, Value, ViewIndex};
use smallvec::smallvec;

use super::nest::{Coords, Nest};
use super::{Emitter, View};
use crate::CodegenError;
use crate::llvm::{IntPred, Val};

impl Emitter<'_> {
    /// A rank-0 value.
    pub fn scalar(&self, v: Value) -> Result<Val, CodegenError> {
        self.scalars.get(&v).copied().ok_or_else(|| CodegenError::internal(format!("scalar {v} is not computed yet")))
    }

    /// A scalar `index` as i64.
    fn index64(&self, v: Value) -> Result<Val, CodegenError> {
        Ok(self.b.sext(self.scalar(v)?, self.b.i64()))
    }

    /// An i64 as the chosen width of `index`.
    fn as_index(&self, v: Val) -> Val {
        self.b.sext_or_trunc(v, self.b.int_ty(u32::from(self.func.index_bits)))
    }

    fn view(&self, v: Value) -> Result<&View, CodegenError> {
        self.views.get(&v).ok_or_else(|| CodegenError::internal(format!("view {v} is not computed yet")))
    }

    /// Emits a scalar, view, or scalar memory instruction.
    pub fn scalar_inst(&mut self, inst: Inst) -> Result<(), CodegenError> {
        let func = self.func;
        let data = &func.insts[inst];
        let none = Coords::new();
        let value = match data {
            InstData::Const { value } => self.constant(func.ty(func.result(inst)).elem(), *value),
            InstData::ProgramId { axis } => self.as_index(self.program().ids[usize::from(*axis)]),
            InstData::NumPrograms { axis } => self.as_index(self.program().grid[usize::from(*axis)]),
            InstData::NumSms => self.as_index(self.program().num_sms),
            InstData::ViewDim { view, axis } => self.as_index(self.view(*view)?.dims[usize::from(*axis)]),
            InstData::ViewStride { view, axis } => self.as_index(self.view(*view)?.strides[usize::from(*axis)]),
            InstData::ViewPtr { view } => self.view(*view)?.base,
            InstData::MakeView { ptr, dims, strides } => {
                let view = View {
                    base: self.scalar(*ptr)?,
                    dims: dims.iter().map(|&v| self.index64(v)).collect::<Result<_, _>>()?,
                    strides: strides.iter().map(|&v| self.index64(v)).collect::<Result<_, _>>()?,
                    elem: func.ty(func.result(inst)).elem(),
                };
                self.views.insert(func.result(inst), view);
                return Ok(());
            }
            InstData::SubView { view, index } => {
                let view = self.sub_view(*view, index)?;
                self.views.insert(func.result(inst), view);
                return Ok(());
            }
            InstData::PermuteView { view, perm } => {
                let v = self.view(*view)?;
                let pick = |list: &[Val]| perm.iter().map(|&p| list[usize::from(p)]).collect();
                let view = View { base: v.base, dims: pick(&v.dims), strides: pick(&v.strides), elem: v.elem };
                self.views.insert(func.result(inst), view);
                return Ok(());
            }
            InstData::Store { value, mask, .. } => {
                let mut n = Nest::new(1);
                let value = self.eval(&mut n, *value, &none)?;
                let mask = mask.map(|m| self.eval(&mut n, m, &none)).transpose()?;
                return self.store_place(&mut n, inst, &none, value, mask);
            }
            InstData::AtomicRmw { .. }
            | InstData::AtomicCas { .. }
            | InstData::AtomicLoad { .. }
            | InstData::AtomicStore { .. } => {
                return self.atomic(inst);
            }
            InstData::Assert { cond, .. } => {
                let ok = self.scalar(*cond)?;
                self.assert_scalar(inst, ok);
                return Ok(());
            }
            InstData::Print { .. } => return self.print(inst),
            InstData::GridSync => {
                self.grid_sync();
                return Ok(());
            }
            InstData::InlineAsm { .. } => return self.inline_asm(inst),
            InstData::Call { .. } => return Err(CodegenError::internal("a call is left after inlining")),
            _ => {
                let mut n = Nest::new(1);
                let results = func.results_of(inst).to_vec();
                for (number, result) in results.into_iter().enumerate() {
                    let value = self.expand(&mut n, inst, number as u16, &smallvec![])?;
                    self.scalars.insert(result, value.v);
                }
                return Ok(());
            }
        };
        self.scalars.insert(func.result(inst), value);
        Ok(())
    }

    fn sub_view(&mut self, parent: Value, index: &[ViewIndex]) -> Result<View, CodegenError> {
        let v = self.view(parent)?.clone();
        let l = &self.b;
        let mem = self.mem_ty(v.elem);
        let zero = l.const_i64(0);
        let mut out = View { base: v.base, dims: Vec::new(), strides: Vec::new(), elem: v.elem };
        let mut empty: Option<Val> = None;
        for (dim, part) in index.iter().enumerate() {
            let (extent, stride) = (v.dims[dim], v.strides[dim]);
            match *part {
                ViewIndex::Full => {
                    out.dims.push(extent);
                    out.strides.push(stride);
                }
                ViewIndex::At(at) => {
                    let at = self.index64(at)?;
                    // One unsigned comparison: negative indexes are large.
                    let outside = l.icmp(IntPred::LLVMIntUGE, at, extent);
                    empty = Some(match empty {
                        Some(e) => l.or(e, outside),
                        None => outside,
                    });
                    out.base = l.gep(mem, out.base, l.mul(at, stride));
                }
                ViewIndex::Range { lo, hi } => {
                    let lo = l.smin(l.smax(self.index64(lo)?, zero), extent);
                    let hi = l.smax(l.smin(self.index64(hi)?, extent), lo);
                    out.base = l.gep(mem, out.base, l.mul(lo, stride));
                    out.dims.push(l.sub(hi, lo));
                    out.strides.push(stride);
                }
            }
        }
        if let Some(empty) = empty {
            for d in &mut out.dims {
                *d = l.select(empty, zero, *d);
            }
        }
        Ok(out)
    }
}
