//! Lane-by-lane operators with the language's semantics, on scalars and vectors alike. Small floats are computed in f32 and rounded after every operation.

use kiln_ir::ops::{BinaryOp, CmpOp, UnaryOp};
use kiln_ir::{Elem, Inst, InstData, ScalarType};

use super::Emitter;
use super::nest::{Lv, Nest};
use crate::CodegenError;
use crate::llvm::{FloatPred, IntPred, Val};

impl Emitter<'_> {
    /// A lane-by-lane instruction on evaluated operands.
    pub fn lanewise(&mut self, n: &mut Nest, inst: Inst, operands: &[Lv]) -> Result<Lv, CodegenError> {
        let func = self.func;
        let data = &func.insts[inst];
        let elem_of = |v| func.ty(v).elem();
        let result = elem_of(func.result(inst));
        // Integer division by a value that is the same in every lane: the divisor's constant must still be seen.
        let constant = operands.get(1).and_then(|l| self.b.as_const_int(l.v));
        let mut failed = None;
        let value = self.combine(n, operands, |e, p| {
            let computed = match data {
                InstData::Unary { op, .. } => e.unary(*op, result, p[0]),
                InstData::Binary { op, .. } => e.binary(*op, result, p[0], p[1], constant),
                InstData::Fma { .. } => e.fma(result, p[0], p[1], p[2]),
                InstData::Cmp { op, a, .. } => Ok(e.compare(*op, elem_of(*a), p[0], p[1])),
                InstData::Select { .. } => Ok(e.b.select(p[0], p[1], p[2])),
                InstData::Cast { arg } => e.cast(elem_of(*arg), result, p[0]),
                InstData::Bitcast { arg } => Ok(e.bitcast(elem_of(*arg), result, p[0])),
                InstData::PtrAdd { .. } => Ok(e.ptr_add(result, p[0], p[1])),
                _ => Err("not lane by lane".to_owned()),
            };
            computed.unwrap_or_else(|message| {
                failed = Some(message);
                e.b.poison(e.b.ty(p[0]))
            })
        });
        match failed {
            Some(message) => Err(self.unsupported(inst, message)),
            None => Ok(value),
        }
    }

    fn ptr_add(&self, elem: Elem, ptr: Val, offset: Val) -> Val {
        let Elem::Ptr { pointee, .. } = elem else { return ptr };
        let offset = self.b.sext(offset, self.b.shaped(self.b.i64(), offset));
        self.b.gep(self.mem_ty(pointee.into()), ptr, offset)
    }

    fn scalar_of(elem: Elem) -> ScalarType {
        elem.scalar().unwrap_or(ScalarType::U64)
    }

    /// A unary operator.
    pub fn unary(&mut self, op: UnaryOp, elem: Elem, x: Val) -> Result<Val, String> {
        let s = Self::scalar_of(elem);
        let ty = self.b.ty(x);
        let math = |e: &Self, name: &str| e.b.intrinsic(name, &[ty], &[x]);
        if s.is_float() {
            let v = match op {
                UnaryOp::Neg => return Ok(self.b.fneg(x)),
                UnaryOp::Abs => return Ok(math(self, "llvm.fabs")),
                UnaryOp::Floor => math(self, "llvm.floor"),
                UnaryOp::Ceil => math(self, "llvm.ceil"),
                UnaryOp::Round => math(self, "llvm.roundeven"),
                UnaryOp::Trunc => math(self, "llvm.trunc"),
                UnaryOp::Sqrt | UnaryOp::FastSqrt => math(self, "llvm.sqrt"),
                UnaryOp::FastRcp => self.b.fdiv(self.b.float(ty, 1.0), x),
                UnaryOp::FastRsqrt => {
                    let root = math(self, "llvm.sqrt");
                    self.b.fdiv(self.b.float(ty, 1.0), root)
                }
                UnaryOp::FastExp2 | UnaryOp::FastLog2 | UnaryOp::FastSin | UnaryOp::FastCos | UnaryOp::FastTanh => {
                    if s == ScalarType::F64 {
                        return Err(format!("`{op}` exists for f32 only"));
                    }
                    self.fast_unary(op, x)
                }
                UnaryOp::Not => return Err(format!("`{op}` does not exist for {s}")),
            };
            return Ok(self.round_to(elem, v));
        }
        Ok(match op {
            UnaryOp::Neg => self.b.neg(x),
            UnaryOp::Not => self.b.not(x),
            UnaryOp::Abs if s.is_signed_int() => self.b.intrinsic("llvm.abs", &[ty], &[x, self.b.const_bool(false)]),
            UnaryOp::Abs | UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc => x,
            _ => return Err(format!("`{op}` does not exist for {s}")),
        })
    }

    /// A binary operator. `constant` is the right operand where it is one integer constant.
    pub fn binary(&mut self, op: BinaryOp, elem: Elem, a: Val, b: Val, constant: Option<i64>) -> Result<Val, String> {
        let s = Self::scalar_of(elem);
        let ty = self.b.ty(a);
        let call = |e: &Self, name: &str| e.b.intrinsic(name, &[ty], &[a, b]);
        if s.is_float() {
            let v = match op {
                BinaryOp::Add => self.b.fadd(a, b),
                BinaryOp::Sub => self.b.fsub(a, b),
                BinaryOp::Mul => self.b.fmul(a, b),
                BinaryOp::Div | BinaryOp::FastDiv => self.b.fdiv(a, b),
                BinaryOp::Rem => self.b.frem(a, b),
                BinaryOp::Min => return Ok(call(self, "llvm.minimum")),
                BinaryOp::Max => return Ok(call(self, "llvm.maximum")),
                BinaryOp::FMin => return Ok(call(self, "llvm.minimumnum")),
                BinaryOp::FMax => return Ok(call(self, "llvm.maximumnum")),
                _ => return Err(format!("`{op}` does not exist for {s}")),
            };
            return Ok(self.round_to(elem, v));
        }
        let signed = s.is_signed_int();
        Ok(match op {
            BinaryOp::Add => self.b.add(a, b),
            BinaryOp::Sub => self.b.sub(a, b),
            BinaryOp::Mul => self.b.mul(a, b),
            BinaryOp::Div | BinaryOp::FastDiv => self.divide(a, b, signed, constant, true),
            BinaryOp::Rem => self.divide(a, b, signed, constant, false),
            BinaryOp::Min | BinaryOp::FMin => call(self, if signed { "llvm.smin" } else { "llvm.umin" }),
            BinaryOp::Max | BinaryOp::FMax => call(self, if signed { "llvm.smax" } else { "llvm.umax" }),
            BinaryOp::And => self.b.and(a, b),
            BinaryOp::Or => self.b.or(a, b),
            BinaryOp::Xor => self.b.xor(a, b),
            BinaryOp::Shl | BinaryOp::Shr => {
                let width = i64::from(self.b.int_bits(ty));
                let inside = self.b.icmp(IntPred::LLVMIntULT, b, self.b.int(ty, width));
                let amount = self.b.select(inside, b, self.b.int(ty, width - 1));
                match op {
                    BinaryOp::Shr if signed => self.b.ashr(a, amount),
                    BinaryOp::Shr => self.b.select(inside, self.b.lshr(a, amount), self.b.zero(ty)),
                    _ => self.b.select(inside, self.b.shl(a, amount), self.b.zero(ty)),
                }
            }
            BinaryOp::MulHi => {
                let bits = self.b.int_bits(ty);
                let wide = self.b.shaped(self.b.int_ty(bits * 2), a);
                let extend = |v| if signed { self.b.sext(v, wide) } else { self.b.zext(v, wide) };
                let product = self.b.mul(extend(a), extend(b));
                self.b.trunc(self.b.lshr(product, self.b.int(wide, i64::from(bits))), ty)
            }
        })
    }

    /// Integer quotient or remainder: x / 0 = 0, x % 0 = x, MIN / -1 wraps.
    fn divide(&self, a: Val, b: Val, signed: bool, constant: Option<i64>, quotient: bool) -> Val {
        let l = &self.b;
        let ty = l.ty(a);
        let plain = |a, b| match (quotient, signed) {
            (true, true) => l.sdiv(a, b),
            (true, false) => l.udiv(a, b),
            (false, true) => l.srem(a, b),
            (false, false) => l.urem(a, b),
        };
        if constant.is_some_and(|c| c != 0 && c != -1) {
            return plain(a, b);
        }
        let zero = l.zero(ty);
        let by_zero = l.icmp(IntPred::LLVMIntEQ, b, zero);
        let bits = l.int_bits(ty);
        if l.lanes(a) > 1 && bits <= 32 {
            // No vector integer division exists; a double holds both operands and the truncated quotient exactly.
            let wide = l.shaped(l.f64(), a);
            let to = |v| if signed { l.sitofp(v, wide) } else { l.uitofp(v, wide) };
            let safe = l.select(by_zero, l.int(ty, 1), b);
            let long = l.shaped(l.i64(), a);
            let real = l.fdiv(to(a), to(safe));
            let q = l.trunc(l.fptosi(real, long), ty);
            return if quotient { l.select(by_zero, zero, q) } else { l.select(by_zero, a, l.sub(a, l.mul(q, safe))) };
        }
        let mut bad = by_zero;
        if signed {
            let min = l.shl(l.int(ty, 1), l.int(ty, i64::from(bits) - 1));
            let overflow = l.and(l.icmp(IntPred::LLVMIntEQ, b, l.int(ty, -1)), l.icmp(IntPred::LLVMIntEQ, a, min));
            bad = l.or(bad, overflow);
        }
        // MIN / 1 is MIN, which is what MIN / -1 wraps to; MIN % 1 is 0.
        let result = plain(a, l.select(bad, l.int(ty, 1), b));
        l.select(by_zero, if quotient { zero } else { a }, result)
    }

    /// a * b + c with one rounding.
    pub fn fma(&mut self, elem: Elem, a: Val, b: Val, c: Val) -> Result<Val, String> {
        match Self::scalar_of(elem) {
            ScalarType::F32 | ScalarType::F64 => Ok(self.b.fma(a, b, c)),
            s if s.is_float() => {
                let wide = self.b.shaped(self.b.f64(), a);
                let v = self.b.fma(self.b.fpext(a, wide), self.b.fpext(b, wide), self.b.fpext(c, wide));
                let v = self.narrow_to_odd(v);
                Ok(self.round_to(elem, v))
            }
            s => Err(format!("`fma` does not exist for {s}")),
        }
    }

    /// A comparison; the result is i1.
    pub fn compare(&self, op: CmpOp, elem: Elem, a: Val, b: Val) -> Val {
        let s = Self::scalar_of(elem);
        if s.is_float() {
            let pred = match op {
                CmpOp::Eq => FloatPred::LLVMRealOEQ,
                CmpOp::Ne => FloatPred::LLVMRealUNE,
                CmpOp::Lt => FloatPred::LLVMRealOLT,
                CmpOp::Le => FloatPred::LLVMRealOLE,
                CmpOp::Gt => FloatPred::LLVMRealOGT,
                CmpOp::Ge => FloatPred::LLVMRealOGE,
            };
            return self.b.fcmp(pred, a, b);
        }
        let signed = s.is_signed_int();
        let pred = match (op, signed) {
            (CmpOp::Eq, _) => IntPred::LLVMIntEQ,
            (CmpOp::Ne, _) => IntPred::LLVMIntNE,
            (CmpOp::Lt, true) => IntPred::LLVMIntSLT,
            (CmpOp::Le, true) => IntPred::LLVMIntSLE,
            (CmpOp::Gt, true) => IntPred::LLVMIntSGT,
            (CmpOp::Ge, true) => IntPred::LLVMIntSGE,
            (CmpOp::Lt, false) => IntPred::LLVMIntULT,
            (CmpOp::Le, false) => IntPred::LLVMIntULE,
            (CmpOp::Gt, false) => IntPred::LLVMIntUGT,
            (CmpOp::Ge, false) => IntPred::LLVMIntUGE,
        };
        self.b.icmp(pred, a, b)
    }
}
