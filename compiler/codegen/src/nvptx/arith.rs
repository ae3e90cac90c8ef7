//! Lane-by-lane operators. Floats of 8 bits are computed in f32 (`float8`), those of 16 bits natively for f16 sums and products, through f32 otherwise: rounding
//! the f32 result once more gives the same bits, since 24 >= 2 * 11 + 2 (f16) and 24 >= 2 * 8 + 2 (bf16).

use kiln_ir::ops::{BinaryOp, CmpOp, UnaryOp};
use kiln_ir::{Elem, Inst, ScalarType, Value};

use super::emit::Emitter;
use super::error::{Result, internal};
use super::float8::is_f8;
use super::text::{Asm, Ty, Val};

impl Emitter<'_> {
    pub(super) fn unary(&mut self, inst: Inst, op: UnaryOp, arg: Value) -> Result<()> {
        let elem = self.arithmetic_elem(arg)?;
        let regs = self.regs(arg);
        let result = regs.iter().map(|&v| self.unary_one(op, elem, v)).collect();
        self.define(inst, result);
        Ok(())
    }

    pub(super) fn binary(&mut self, inst: Inst, op: BinaryOp, a: Value, b: Value) -> Result<()> {
        let elem = self.arithmetic_elem(a)?;
        let (a, b) = (self.regs(a), self.regs(b));
        let result = (0..a.len()).map(|i| self.binary_one(op, elem, a[i], b[i])).collect();
        self.define(inst, result);
        Ok(())
    }

    pub(super) fn fma(&mut self, inst: Inst, a: Value, b: Value, c: Value) -> Result<()> {
        let elem = self.arithmetic_elem(a)?;
        let (a, b, c) = (self.regs(a), self.regs(b), self.regs(c));
        let one = |e: &mut Self, v: &[Val]| e.w.call(v[0].ty, &format!("llvm.fma.{}", suffix(v[0].ty)), v);
        let result = (0..a.len())
            .map(|i| {
                let lane = [a[i], b[i], c[i]];
                if is_f8(elem) { self.through_f8(elem, &lane, one) } else { one(self, &lane) }
            })
            .collect();
        self.define(inst, result);
        Ok(())
    }

    pub(super) fn compare(&mut self, inst: Inst, op: CmpOp, a: Value, b: Value) -> Result<()> {
        let elem = match self.func.ty(a).elem() {
            Elem::Ptr { .. } => None,
            Elem::Scalar(_) => Some(self.arithmetic_elem(a)?),
        };
        let (a, b) = (self.regs(a), self.regs(b));
        let result = (0..a.len()).map(|i| self.compare_one(op, elem, a[i], b[i])).collect();
        self.define(inst, result);
        Ok(())
    }

    /// The element type of an operand of arithmetic.
    fn arithmetic_elem(&self, value: Value) -> Result<ScalarType> {
        match self.func.ty(value).elem() {
            Elem::Scalar(s) => Ok(s),
            Elem::Ptr { .. } => Err(internal("arithmetic on pointers")),
        }
    }

    pub(super) fn unary_one(&mut self, op: UnaryOp, elem: ScalarType, v: Val) -> Val {
        if is_f8(elem) {
            return self.through_f8(elem, &[v], |e, v| e.unary_one(op, ScalarType::F32, v[0]));
        }
        let ty = v.ty;
        let zero = Val::zero(ty);
        match op {
            UnaryOp::Neg if elem.is_float() => self.w.value(ty, &format!("fneg {}", v.typed())),
            UnaryOp::Neg => self.w.sub(zero, v),
            UnaryOp::Not => self.w.not(v),
            UnaryOp::Abs if elem.is_float() => self.w.call(ty, &format!("llvm.fabs.{}", suffix(ty)), &[v]),
            UnaryOp::Abs if elem.is_signed_int() => {
                let negative = self.w.icmp("slt", v, zero);
                let negated = self.w.sub(zero, v);
                self.w.select(negative, negated, v)
            }
            UnaryOp::Abs => v,
            UnaryOp::Floor => self.through_f32(v, |e, v| e.math("floor", v)),
            UnaryOp::Ceil => self.through_f32(v, |e, v| e.math("ceil", v)),
            UnaryOp::Round => self.through_f32(v, |e, v| e.math("roundeven", v)),
            UnaryOp::Trunc => self.through_f32(v, |e, v| e.math("trunc", v)),
            UnaryOp::Sqrt => self.through_f32(v, |e, v| e.math("sqrt", v)),
            UnaryOp::FastExp2 => self.approximate("ex2.approx.ftz.f32", v),
            UnaryOp::FastLog2 => self.approximate("lg2.approx.ftz.f32", v),
            UnaryOp::FastSin => self.approximate("sin.approx.ftz.f32", v),
            UnaryOp::FastCos => self.approximate("cos.approx.ftz.f32", v),
            UnaryOp::FastTanh => self.approximate("tanh.approx.f32", v),
            UnaryOp::FastRcp => self.approximate("rcp.approx.ftz.f32", v),
            UnaryOp::FastRsqrt => self.approximate("rsqrt.approx.ftz.f32", v),
            UnaryOp::FastSqrt => self.approximate("sqrt.approx.ftz.f32", v),
        }
    }

    fn math(&mut self, name: &str, v: Val) -> Val {
        self.w.call(v.ty, &format!("llvm.{name}.{}", suffix(v.ty)), &[v])
    }

    fn approximate(&mut self, instruction: &str, v: Val) -> Val {
        self.through_f32(v, |e, v| {
            let ptx = format!("{instruction} $0, $1;");
            e.w.asm(&[Ty::F32], Asm::Pure, &ptx, "=f,f", &[v])[0]
        })
    }

    /// Applies `f` to a 16-bit float as f32 and rounds the result back; other types as they are.
    fn through_f32(&mut self, v: Val, f: impl FnOnce(&mut Self, Val) -> Val) -> Val {
        if !matches!(v.ty, Ty::F16 | Ty::BF16) {
            return f(self, v);
        }
        let wide = self.w.cast("fpext", v, Ty::F32);
        let result = f(self, wide);
        self.w.cast("fptrunc", result, v.ty)
    }

    pub(super) fn binary_one(&mut self, op: BinaryOp, elem: ScalarType, a: Val, b: Val) -> Val {
        if is_f8(elem) {
            return self.through_f8(elem, &[a, b], |e, v| e.float_binary(op, v[0], v[1]));
        }
        if elem.is_float() {
            return self.float_binary(op, a, b);
        }
        let signed = elem.is_signed_int();
        match op {
            BinaryOp::Add if elem == ScalarType::Index => self.w.add_nsw(a, b),
            BinaryOp::Mul if elem == ScalarType::Index => self.w.mul_nsw(a, b),
            BinaryOp::Add => self.w.add(a, b),
            BinaryOp::Sub => self.w.sub(a, b),
            BinaryOp::Mul => self.w.mul(a, b),
            BinaryOp::Div => self.int_div(signed, a, b),
            BinaryOp::Rem => self.int_rem(signed, a, b),
            BinaryOp::Min | BinaryOp::FMin => {
                let less = self.w.icmp(if signed { "slt" } else { "ult" }, a, b);
                self.w.select(less, a, b)
            }
            BinaryOp::Max | BinaryOp::FMax => {
                let greater = self.w.icmp(if signed { "sgt" } else { "ugt" }, a, b);
                self.w.select(greater, a, b)
            }
            BinaryOp::And => self.w.and(a, b),
            BinaryOp::Or => self.w.or(a, b),
            BinaryOp::Xor => self.w.xor(a, b),
            BinaryOp::Shl => self.shift("shl", a, b, Val::zero(a.ty)),
            BinaryOp::Shr if signed => {
                let last = Val::int(a.ty, i64::from(a.ty.bits()) - 1);
                let sign = self.w.raw("ashr", a, last);
                self.shift("ashr", a, b, sign)
            }
            BinaryOp::Shr => self.shift("lshr", a, b, Val::zero(a.ty)),
            BinaryOp::MulHi => self.mul_hi(signed, a, b),
            BinaryOp::FastDiv => self.int_div(signed, a, b),
        }
    }

    fn float_binary(&mut self, op: BinaryOp, a: Val, b: Val) -> Val {
        let native_16 = a.ty == Ty::F16 && matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul);
        if matches!(a.ty, Ty::F16 | Ty::BF16) && !native_16 {
            let (x, y) = (self.w.cast("fpext", a, Ty::F32), self.w.cast("fpext", b, Ty::F32));
            let wide = self.float_binary(op, x, y);
            return self.w.cast("fptrunc", wide, a.ty);
        }
        match op {
            BinaryOp::Add => self.w.raw("fadd", a, b),
            BinaryOp::Sub => self.w.raw("fsub", a, b),
            BinaryOp::Mul => self.w.raw("fmul", a, b),
            BinaryOp::Div => self.w.raw("fdiv", a, b),
            BinaryOp::FMin => self.w.call(a.ty, &format!("llvm.minnum.{}", suffix(a.ty)), &[a, b]),
            BinaryOp::FMax => self.w.call(a.ty, &format!("llvm.maxnum.{}", suffix(a.ty)), &[a, b]),
            BinaryOp::Min if a.ty == Ty::F32 => self.w.call(a.ty, "llvm.minimum.f32", &[a, b]),
            BinaryOp::Max if a.ty == Ty::F32 => self.w.call(a.ty, "llvm.maximum.f32", &[a, b]),
            BinaryOp::Min | BinaryOp::Max => {
                // f64 has no instruction that passes NaN on.
                let name = if op == BinaryOp::Min { "llvm.minnum.f64" } else { "llvm.maxnum.f64" };
                let number = self.w.call(a.ty, name, &[a, b]);
                let ordered = self.w.fcmp("ord", a, b);
                let nan = self.w.raw("fadd", a, b);
                self.w.select(ordered, number, nan)
            }
            BinaryOp::FastDiv if a.ty == Ty::F32 => {
                self.w.asm(&[Ty::F32], Asm::Pure, "div.full.f32 $0, $1, $2;", "=f,f,f", &[a, b])[0]
            }
            BinaryOp::FastDiv => self.w.raw("fdiv", a, b),
            BinaryOp::Rem => self.float_rem(a, b),
            other => unreachable!("{other} on floats is refused by the verifier"),
        }
    }

    /// x / 0 = 0, MIN / -1 wraps. LLVM's division has no result for either, so the divisor is replaced.
    fn int_div(&mut self, signed: bool, a: Val, b: Val) -> Val {
        let (zero, one, minus_one) = (Val::int(a.ty, 0), Val::int(a.ty, 1), Val::int(a.ty, -1));
        let is_zero = self.w.icmp("eq", b, zero);
        let mut safe = self.w.select(is_zero, one, b);
        if !signed {
            let quotient = self.w.raw("udiv", a, safe);
            return self.w.select(is_zero, zero, quotient);
        }
        let is_minus_one = self.w.icmp("eq", b, minus_one);
        safe = self.w.select(is_minus_one, one, safe);
        let quotient = self.w.raw("sdiv", a, safe);
        let negated = self.w.sub(zero, a);
        let quotient = self.w.select(is_minus_one, negated, quotient);
        self.w.select(is_zero, zero, quotient)
    }

    /// x % 0 = x, MIN % -1 = 0.
    fn int_rem(&mut self, signed: bool, a: Val, b: Val) -> Val {
        let (zero, one, minus_one) = (Val::int(a.ty, 0), Val::int(a.ty, 1), Val::int(a.ty, -1));
        let is_zero = self.w.icmp("eq", b, zero);
        let mut safe = self.w.select(is_zero, one, b);
        if signed {
            let is_minus_one = self.w.icmp("eq", b, minus_one);
            safe = self.w.select(is_minus_one, one, safe);
        }
        let rest = self.w.raw(if signed { "srem" } else { "urem" }, a, safe);
        self.w.select(is_zero, a, rest)
    }

    /// A shift by at least the width gives `beyond`; LLVM's has no result for that.
    fn shift(&mut self, op: &str, a: Val, amount: Val, beyond: Val) -> Val {
        let bits = i64::from(a.ty.bits());
        let inside = self.w.icmp("ult", amount, Val::int(a.ty, bits));
        if inside.is_false() {
            return beyond;
        }
        let amount = if inside.is_true() { amount } else { self.w.and(amount, Val::int(a.ty, bits - 1)) };
        let shifted = self.w.raw(op, a, amount);
        self.w.select(inside, shifted, beyond)
    }

    fn mul_hi(&mut self, signed: bool, a: Val, b: Val) -> Val {
        if a.ty == Ty::I64 {
            let name = if signed { "llvm.nvvm.mulhi.ll" } else { "llvm.nvvm.mulhi.ull" };
            return self.w.call(Ty::I64, name, &[a, b]);
        }
        let extend = if signed { "sext" } else { "zext" };
        let (x, y) = (self.w.cast(extend, a, Ty::I64), self.w.cast(extend, b, Ty::I64));
        let product = self.w.mul(x, y);
        let high = self.w.lshr(product, a.ty.bits());
        self.w.cast("trunc", high, a.ty)
    }

    /// `elem` is None for pointers.
    pub(super) fn compare_one(&mut self, op: CmpOp, elem: Option<ScalarType>, a: Val, b: Val) -> Val {
        if let Some(elem) = elem.filter(|e| is_f8(*e)) {
            let wide = self.f8_to_f32(&[a, b], elem);
            return self.compare_one(op, Some(ScalarType::F32), wide[0], wide[1]);
        }
        if elem.is_some_and(ScalarType::is_float) {
            let predicate = match op {
                CmpOp::Eq => "oeq",
                CmpOp::Ne => "une",
                CmpOp::Lt => "olt",
                CmpOp::Le => "ole",
                CmpOp::Gt => "ogt",
                CmpOp::Ge => "oge",
            };
            if matches!(a.ty, Ty::F16 | Ty::BF16) {
                let (x, y) = (self.w.cast("fpext", a, Ty::F32), self.w.cast("fpext", b, Ty::F32));
                return self.w.fcmp(predicate, x, y);
            }
            return self.w.fcmp(predicate, a, b);
        }
        let signed = elem.is_some_and(ScalarType::is_signed_int);
        let predicate = match (op, signed) {
            (CmpOp::Eq, _) => "eq",
            (CmpOp::Ne, _) => "ne",
            (CmpOp::Lt, true) => "slt",
            (CmpOp::Le, true) => "sle",
            (CmpOp::Gt, true) => "sgt",
            (CmpOp::Ge, true) => "sge",
            (CmpOp::Lt, false) => "ult",
            (CmpOp::Le, false) => "ule",
            (CmpOp::Gt, false) => "ugt",
            (CmpOp::Ge, false) => "uge",
        };
        self.w.icmp(predicate, a, b)
    }

    pub(super) fn inline_asm(&mut self, inst: Inst, text: &str, constraints: &str, args: &[Value], pure_: bool) -> Result<()> {
        let results: Vec<Value> = self.func.results_of(inst).to_vec();
        let types: Vec<Ty> = results.iter().map(|&r| self.value_type(self.func.ty(r).elem())).collect();
        let operands: Vec<_> = args.iter().map(|&a| self.regs(a)).collect();
        let count = results
            .first()
            .map(|&r| self.register_count(self.func.ty(r)))
            .or_else(|| operands.first().map(|o| o.len()))
            .unwrap_or(1);
        let kind = if pure_ { Asm::Pure } else { Asm::Memory };
        let mut outputs = vec![Vec::with_capacity(count); results.len()];
        for register in 0..count {
            let lane: Vec<Val> = operands.iter().map(|o| o[register]).collect();
            for (list, value) in outputs.iter_mut().zip(self.w.asm(&types, kind, text, constraints, &lane)) {
                list.push(value);
            }
        }
        for (&result, regs) in results.iter().zip(outputs) {
            self.define_value(result, regs);
        }
        Ok(())
    }
}

/// The name of a type in overloaded intrinsics.
pub(super) fn suffix(ty: Ty) -> &'static str {
    match ty {
        Ty::F16 => "f16",
        Ty::BF16 => "bf16",
        Ty::F32 => "f32",
        Ty::F64 => "f64",
        Ty::I1 => "i1",
        Ty::I8 => "i8",
        Ty::I16 => "i16",
        Ty::I32 => "i32",
        Ty::I64 => "i64",
        Ty::Global => "p1",
        Ty::Shared => "p3",
        Ty::Generic => "p0",
        Ty::Cluster => "p7",
    }
}
