//! Numeric conversions with the semantics of Rust's `as`: saturating float to int, wrapping int to int, one rounding to
//! narrower floats.

use kiln_ir::{Elem, Inst, ScalarType, Value};

use super::arith::suffix;
use super::emit::Emitter;
use super::error::{Result, internal};
use super::float8::is_f8;
use super::text::{Asm, Ty, Val};

impl Emitter<'_> {
    pub(super) fn cast(&mut self, inst: Inst, arg: Value) -> Result<()> {
        let result = self.func.result(inst);
        let (Elem::Scalar(from), Elem::Scalar(to)) = (self.func.ty(arg).elem(), self.func.ty(result).elem()) else {
            return Err(internal("a cast of pointers"));
        };
        let regs = self.regs(arg);
        let result = self.cast_all(&regs, from, to);
        self.define(inst, result);
        Ok(())
    }

    /// Elements from one type to another. 8-bit floats are converted two at a time where the target can.
    fn cast_all(&mut self, values: &[Val], from: ScalarType, to: ScalarType) -> Vec<Val> {
        if from == to {
            return values.to_vec();
        }
        if is_f8(from) {
            let wide = self.f8_to_f32(values, from);
            return self.cast_all(&wide, ScalarType::F32, to);
        }
        if is_f8(to) {
            let wide: Vec<Val> = values.iter().map(|&v| self.for_f8(v, from)).collect();
            return self.f32_to_f8(&wide, to);
        }
        if from == ScalarType::F32 && matches!(to, ScalarType::F16 | ScalarType::BF16) && values.len().is_multiple_of(2) {
            return values.chunks(2).flat_map(|pair| self.narrow_pair(pair, to)).collect();
        }
        values.iter().map(|&v| self.cast_one(v, from, to)).collect()
    }

    /// Two f32 rounded to the halves of a word: neighbours mostly travel together.
    fn narrow_pair(&mut self, pair: &[Val], to: ScalarType) -> Vec<Val> {
        if pair.iter().all(|v| v.as_float().is_some()) {
            return pair.iter().map(|&v| self.cast_one(v, ScalarType::F32, to)).collect();
        }
        // The instruction names the upper half first.
        let ptx = format!("cvt.rn.{}x2.f32 $0, $2, $1;", to.name());
        let word = self.w.asm(&[Ty::I32], Asm::Pure, &ptx, "=r,f,f", pair)[0];
        let elem = self.value_type(Elem::Scalar(to));
        self.w.split(word, elem)
    }

    /// An element as an f32 that rounds to an 8-bit float as the element would.
    fn for_f8(&mut self, v: Val, from: ScalarType) -> Val {
        match v.ty {
            Ty::F64 => self.round_to_odd(v, "cvt.rz.f32.f64 $0, $1;", "=f,d", |e, f| e.w.cast("fpext", f, Ty::F64)),
            Ty::I32 | Ty::I64 if !from.is_float() => self.int_to_odd(v, from.is_signed_int()),
            _ => self.cast_one(v, from, ScalarType::F32),
        }
    }

    /// One element from one type to another.
    pub(super) fn cast_one(&mut self, v: Val, from: ScalarType, to: ScalarType) -> Val {
        if is_f8(from) || is_f8(to) {
            return self.cast_all(&[v], from, to)[0];
        }
        let ty = self.value_type(Elem::Scalar(to));
        match (from, to) {
            _ if from == to => v,
            (_, ScalarType::Bool) if from.is_float() => {
                let zero = Val::zero(v.ty);
                self.w.fcmp("une", v, zero)
            }
            (_, ScalarType::Bool) => {
                let zero = Val::zero(v.ty);
                self.w.icmp("ne", v, zero)
            }
            _ if from.is_float() && to.is_float() => self.float_to_float(v, ty),
            _ if from.is_float() => self.float_to_int(v, to, ty),
            _ if to.is_float() => self.int_to_float(v, from, ty),
            (_, ScalarType::Index) => self.cast_to_index(v, from),
            // A bool is 0 or 1.
            (ScalarType::Bool, _) => self.w.cast("zext", v, ty),
            _ if v.ty.bits() == ty.bits() => v,
            _ if v.ty.bits() > ty.bits() => self.w.cast("trunc", v, ty),
            _ => self.w.cast(if from.is_signed_int() { "sext" } else { "zext" }, v, ty),
        }
    }

    fn float_to_float(&mut self, v: Val, to: Ty) -> Val {
        match (v.ty, to) {
            (a, b) if a == b => v,
            // f16 and bf16 have no order: through f32, which holds both.
            (Ty::F16, Ty::BF16) | (Ty::BF16, Ty::F16) => {
                let wide = self.w.cast("fpext", v, Ty::F32);
                self.w.cast("fptrunc", wide, to)
            }
            (Ty::F64, Ty::BF16) => {
                // f32 rounded to odd keeps what the second rounding needs.
                let odd = self.round_to_odd(v, "cvt.rz.f32.f64 $0, $1;", "=f,d", |e, f| e.w.cast("fpext", f, Ty::F64));
                self.w.cast("fptrunc", odd, to)
            }
            (a, b) if a.bits() < b.bits() => self.w.cast("fpext", v, to),
            _ => self.w.cast("fptrunc", v, to),
        }
    }

    /// `v` as f32, truncated, with the lowest bit set where that lost anything. `back` is the exact conversion back.
    fn round_to_odd(&mut self, v: Val, ptx: &str, constraints: &str, back: impl FnOnce(&mut Self, Val) -> Val) -> Val {
        let truncated = self.w.asm(&[Ty::F32], Asm::Pure, ptx, constraints, &[v])[0];
        let again = back(self, truncated);
        let lost = if v.ty.is_float() { self.w.fcmp("one", again, v) } else { self.w.icmp("ne", again, v) };
        let bits = self.w.bitcast(truncated, Ty::I32);
        let lost = self.w.cast("zext", lost, Ty::I32);
        let odd = self.w.or(bits, lost);
        self.w.bitcast(odd, Ty::F32)
    }

    fn float_to_int(&mut self, v: Val, to: ScalarType, ty: Ty) -> Val {
        let v = if matches!(v.ty, Ty::F16 | Ty::BF16) { self.w.cast("fpext", v, Ty::F32) } else { v };
        let name = if to.is_signed_int() { "fptosi" } else { "fptoui" };
        self.w.call(ty, &format!("llvm.{name}.sat.{}.{}", suffix(ty), suffix(v.ty)), &[v])
    }

    fn int_to_float(&mut self, v: Val, from: ScalarType, to: Ty) -> Val {
        let signed = from.is_signed_int();
        let op = if signed { "sitofp" } else { "uitofp" };
        if to != Ty::BF16 {
            return self.w.cast(op, v, to);
        }
        if v.ty.bits() <= 16 {
            let wide = self.w.cast(op, v, Ty::F32);
            return self.w.cast("fptrunc", wide, to);
        }
        let odd = self.int_to_odd(v, signed);
        self.w.cast("fptrunc", odd, to)
    }

    /// An integer of 32 or 64 bits as f32, rounded to odd.
    fn int_to_odd(&mut self, v: Val, signed: bool) -> Val {
        let kind = if signed { 's' } else { 'u' };
        let constraint = if v.ty.bits() == 64 { 'l' } else { 'r' };
        let ptx = format!("cvt.rz.f32.{kind}{} $0, $1;", v.ty.bits());
        let ty = v.ty;
        self.round_to_odd(v, &ptx, &format!("=f,{constraint}"), |e, f| {
            let name = if signed { "fptosi" } else { "fptoui" };
            e.w.call(ty, &format!("llvm.{name}.sat.{}.f32", suffix(ty)), &[f])
        })
    }

    /// An integer as `index`: one that does not fit saturates, so that an index out of bounds stays out of bounds.
    fn cast_to_index(&mut self, v: Val, from: ScalarType) -> Val {
        let index = self.index;
        let signed = from.is_signed_int();
        let fits = v.ty.bits() < index.bits() || (signed && v.ty.bits() == index.bits());
        if fits {
            return if v.ty.bits() == index.bits() { v } else { self.w.cast(if signed { "sext" } else { "zext" }, v, index) };
        }
        let greatest = (1i64 << (index.bits() - 1)).wrapping_sub(1);
        let top = Val::int(v.ty, greatest);
        let above = self.w.icmp(if signed { "sgt" } else { "ugt" }, v, top);
        let mut clamped = self.w.select(above, top, v);
        if signed {
            let bottom = Val::int(v.ty, -greatest - 1);
            let below = self.w.icmp("slt", clamped, bottom);
            clamped = self.w.select(below, bottom, clamped);
        }
        if v.ty == index { clamped } else { self.w.cast("trunc", clamped, index) }
    }
}
