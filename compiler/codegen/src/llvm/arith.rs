//! Arithmetic, comparisons and conversions on scalars and vectors alike.

use llvm_sys::core::*;
use llvm_sys::{LLVMIntPredicate, LLVMOpcode, LLVMRealPredicate};

use super::{FloatPred, IntPred, Llvm, Ty, Val};

// SAFETY (whole impl): as for the other instructions of `Llvm`.
#[allow(dead_code, reason = "the seam serves two back ends; each uses its part")]
impl Llvm {
    // ---- integer arithmetic ----

    fn binary(&self, op: LLVMOpcode, a: Val, b: Val) -> Val {
        Val(unsafe { LLVMBuildBinOp(self.builder, op, a.0, b.0, c"".as_ptr()) })
    }
    pub fn add(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMAdd, a, b)
    }
    pub fn add_nsw(&self, a: Val, b: Val) -> Val {
        Val(unsafe { LLVMBuildNSWAdd(self.builder, a.0, b.0, c"".as_ptr()) })
    }
    pub fn sub(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMSub, a, b)
    }
    pub fn mul(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMMul, a, b)
    }
    pub fn sdiv(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMSDiv, a, b)
    }
    pub fn udiv(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMUDiv, a, b)
    }
    pub fn srem(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMSRem, a, b)
    }
    pub fn urem(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMURem, a, b)
    }
    pub fn and(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMAnd, a, b)
    }
    pub fn or(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMOr, a, b)
    }
    pub fn xor(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMXor, a, b)
    }
    pub fn shl(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMShl, a, b)
    }
    pub fn lshr(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMLShr, a, b)
    }
    pub fn ashr(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMAShr, a, b)
    }
    pub fn not(&self, a: Val) -> Val {
        Val(unsafe { LLVMBuildNot(self.builder, a.0, c"".as_ptr()) })
    }
    pub fn neg(&self, a: Val) -> Val {
        Val(unsafe { LLVMBuildNeg(self.builder, a.0, c"".as_ptr()) })
    }
    pub fn icmp(&self, pred: IntPred, a: Val, b: Val) -> Val {
        let pred: LLVMIntPredicate = pred;
        Val(unsafe { LLVMBuildICmp(self.builder, pred, a.0, b.0, c"".as_ptr()) })
    }
    /// Smaller of two signed integers.
    pub fn smin(&self, a: Val, b: Val) -> Val {
        self.intrinsic("llvm.smin", &[self.ty(a)], &[a, b])
    }
    /// Larger of two signed integers.
    pub fn smax(&self, a: Val, b: Val) -> Val {
        self.intrinsic("llvm.smax", &[self.ty(a)], &[a, b])
    }

    // ---- float arithmetic ----

    pub fn fadd(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMFAdd, a, b)
    }
    pub fn fsub(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMFSub, a, b)
    }
    pub fn fmul(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMFMul, a, b)
    }
    pub fn fdiv(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMFDiv, a, b)
    }
    pub fn frem(&self, a: Val, b: Val) -> Val {
        self.binary(LLVMOpcode::LLVMFRem, a, b)
    }
    pub fn fneg(&self, a: Val) -> Val {
        Val(unsafe { LLVMBuildFNeg(self.builder, a.0, c"".as_ptr()) })
    }
    pub fn fma(&self, a: Val, b: Val, c: Val) -> Val {
        self.intrinsic("llvm.fma", &[self.ty(a)], &[a, b, c])
    }
    pub fn fcmp(&self, pred: FloatPred, a: Val, b: Val) -> Val {
        let pred: LLVMRealPredicate = pred;
        Val(unsafe { LLVMBuildFCmp(self.builder, pred, a.0, b.0, c"".as_ptr()) })
    }

    // ---- conversions ----

    fn convert(&self, op: LLVMOpcode, v: Val, to: Ty) -> Val {
        if self.ty(v) == to {
            return v;
        }
        Val(unsafe { LLVMBuildCast(self.builder, op, v.0, to.0, c"".as_ptr()) })
    }
    pub fn trunc(&self, v: Val, to: Ty) -> Val {
        self.convert(LLVMOpcode::LLVMTrunc, v, to)
    }
    pub fn zext(&self, v: Val, to: Ty) -> Val {
        self.convert(LLVMOpcode::LLVMZExt, v, to)
    }
    pub fn sext(&self, v: Val, to: Ty) -> Val {
        self.convert(LLVMOpcode::LLVMSExt, v, to)
    }
    pub fn fptrunc(&self, v: Val, to: Ty) -> Val {
        self.convert(LLVMOpcode::LLVMFPTrunc, v, to)
    }
    pub fn fpext(&self, v: Val, to: Ty) -> Val {
        self.convert(LLVMOpcode::LLVMFPExt, v, to)
    }
    pub fn sitofp(&self, v: Val, to: Ty) -> Val {
        self.convert(LLVMOpcode::LLVMSIToFP, v, to)
    }
    pub fn uitofp(&self, v: Val, to: Ty) -> Val {
        self.convert(LLVMOpcode::LLVMUIToFP, v, to)
    }
    /// Toward zero; the value must fit.
    pub fn fptosi(&self, v: Val, to: Ty) -> Val {
        self.convert(LLVMOpcode::LLVMFPToSI, v, to)
    }
    pub fn bitcast(&self, v: Val, to: Ty) -> Val {
        self.convert(LLVMOpcode::LLVMBitCast, v, to)
    }
    pub fn ptrtoint(&self, v: Val, to: Ty) -> Val {
        self.convert(LLVMOpcode::LLVMPtrToInt, v, to)
    }
    pub fn inttoptr(&self, v: Val, to: Ty) -> Val {
        self.convert(LLVMOpcode::LLVMIntToPtr, v, to)
    }
    /// Sign-extends or truncates an integer (vector) to `to`.
    pub fn sext_or_trunc(&self, v: Val, to: Ty) -> Val {
        if self.int_bits(self.ty(v)) > self.int_bits(to) { self.trunc(v, to) } else { self.sext(v, to) }
    }
    /// Zero-extends or truncates an integer (vector) to `to`.
    pub fn zext_or_trunc(&self, v: Val, to: Ty) -> Val {
        if self.int_bits(self.ty(v)) > self.int_bits(to) { self.trunc(v, to) } else { self.zext(v, to) }
    }
}
