//! The `fast_*` operators as inline polynomials on f32 scalars and vectors. Coefficients: Cephes single precision library (exp2f, logf, sinf, cosf).

use kiln_ir::ops::UnaryOp;

use super::Emitter;
use crate::llvm::{FloatPred, IntPred, Val};

/// 1.5 * 2^23: adding it to a float of magnitude below 2^22 leaves the nearest integer in the low bits.
const MAGIC: f64 = 12_582_912.0;

impl Emitter<'_> {
    /// One of the approximations.
    pub fn fast_unary(&self, op: UnaryOp, x: Val) -> Val {
        match op {
            UnaryOp::FastLog2 => self.fast_log2(x),
            UnaryOp::FastSin => self.fast_circular(x, false),
            UnaryOp::FastCos => self.fast_circular(x, true),
            UnaryOp::FastTanh => self.fast_tanh(x),
            _ => self.fast_exp2(x),
        }
    }

    /// `c[0] * x^n + .. + c[n]`, by fused multiply-adds.
    fn polynomial(&self, x: Val, coefficients: &[f64]) -> Val {
        let ty = self.b.ty(x);
        let mut sum = self.b.float(ty, coefficients[0]);
        for &c in &coefficients[1..] {
            sum = self.b.fma(sum, x, self.b.float(ty, c));
        }
        sum
    }

    /// The nearest integer as (float, i32).
    fn nearest(&self, x: Val) -> (Val, Val) {
        let l = &self.b;
        let (ty, int) = (l.ty(x), l.shaped(l.i32(), x));
        let magic = l.float(ty, MAGIC);
        let shifted = l.fadd(x, magic);
        (l.fsub(shifted, magic), l.sub(l.bitcast(shifted, int), l.bitcast(magic, int)))
    }

    /// `x` clamped; NaN stays.
    fn clamp(&self, x: Val, lo: f64, hi: f64) -> Val {
        let l = &self.b;
        let ty = l.ty(x);
        let (lo, hi) = (l.float(ty, lo), l.float(ty, hi));
        let x = l.select(l.fcmp(FloatPred::LLVMRealOGT, x, hi), hi, x);
        l.select(l.fcmp(FloatPred::LLVMRealOLT, x, lo), lo, x)
    }

    /// 2^x within 2 ulp; overflow gives infinity, subnormal results are kept.
    fn fast_exp2(&self, x: Val) -> Val {
        let l = &self.b;
        let (ty, int) = (l.ty(x), l.shaped(l.i32(), x));
        let x = self.clamp(x, -160.0, 129.0);
        let (whole, n) = self.nearest(x);
        let f = l.fsub(x, whole);
        let p = self.polynomial(
            f,
            &[
                1.535_336_188_319_5e-4,
                1.339887440266574e-3,
                9.618_437_357_674_64e-3,
                5.550332471162809e-2,
                2.402264791363012e-1,
                0.693_147_202_855_042,
                1.0,
            ],
        );
        if self.vector_bytes == 64 && l.lanes(x) == 16 {
            let mask = l.int(l.int_ty(16), -1);
            return l.intrinsic("llvm.x86.avx512.mask.scalef.ps.512", &[], &[p, whole, l.zero(ty), mask, l.int(l.i32(), 4)]);
        }
        // In two steps, so that neither factor leaves the range of normal numbers.
        let half = l.ashr(n, l.int(int, 1));
        let power = |n| l.bitcast(l.shl(l.add(n, l.int(int, 127)), l.int(int, 23)), ty);
        l.fmul(l.fmul(p, power(half)), power(l.sub(n, half)))
    }

    /// log2 x: exponent plus the logarithm of a mantissa in [sqrt(1/2), sqrt 2).
    fn fast_log2(&self, x: Val) -> Val {
        let l = &self.b;
        let (ty, int) = (l.ty(x), l.shaped(l.i32(), x));
        let float = |c| l.float(ty, c);
        // Subnormals are scaled up.
        let tiny = l.fcmp(FloatPred::LLVMRealOLT, x, float(f64::from(f32::MIN_POSITIVE)));
        let scaled = l.select(tiny, l.fmul(x, float(8_388_608.0)), x);
        let bits = l.bitcast(scaled, int);
        // Exponent so that the mantissa is in [0.70710677, 1.4142135).
        let offset = l.sub(bits, l.int(int, 0x3f35_04f3));
        let exponent = l.ashr(offset, l.int(int, 23));
        let mantissa = l.bitcast(l.sub(bits, l.shl(exponent, l.int(int, 23))), ty);
        let exponent = l.select(tiny, l.sub(exponent, l.int(int, 23)), exponent);
        let z = l.fsub(mantissa, float(1.0));
        let p = self.polynomial(
            z,
            &[
                7.0376836292e-2,
                -1.1514610310e-1,
                1.1676998740e-1,
                -1.2420140846e-1,
                1.4249322787e-1,
                -1.6668057665e-1,
                2.0000714765e-1,
                -2.4999993993e-1,
                3.3333331174e-1,
            ],
        );
        let z2 = l.fmul(z, z);
        let tail = l.fma(l.fmul(z, z2), p, l.fmul(z2, float(-0.5)));
        let ln = l.fadd(z, tail);
        let result = l.fma(ln, float(std::f64::consts::LOG2_E), l.sitofp(exponent, ty));
        // 0 gives -inf, negative numbers NaN, infinity itself; NaN stays NaN.
        let result = l.select(l.fcmp(FloatPred::LLVMRealOEQ, x, float(0.0)), float(f64::NEG_INFINITY), result);
        let result = l.select(l.fcmp(FloatPred::LLVMRealULT, x, float(0.0)), float(f64::NAN), result);
        l.select(l.fcmp(FloatPred::LLVMRealOEQ, x, float(f64::INFINITY)), x, result)
    }

    /// sin or cos: quadrant by Cody-Waite reduction, good to |x| of about 8000.
    fn fast_circular(&self, x: Val, cosine: bool) -> Val {
        let l = &self.b;
        let (ty, int) = (l.ty(x), l.shaped(l.i32(), x));
        let float = |c| l.float(ty, c);
        let (whole, mut quadrant) = self.nearest(l.fmul(x, float(std::f64::consts::FRAC_2_PI)));
        let mut r = x;
        for part in [-1.5703125, -4.837512969970703e-4, -7.549_789_954_891_882e-8] {
            r = l.fma(whole, float(part), r);
        }
        let r2 = l.fmul(r, r);
        let sine = self.polynomial(r2, &[-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1]);
        let sine = l.fma(l.fmul(sine, r2), r, r);
        let cos = self.polynomial(r2, &[2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2]);
        let cos = l.fadd(l.fma(l.fmul(cos, r2), r2, l.fmul(r2, float(-0.5))), float(1.0));
        if cosine {
            quadrant = l.add(quadrant, l.int(int, 1));
        }
        let odd = l.icmp(IntPred::LLVMIntNE, l.and(quadrant, l.int(int, 1)), l.zero(int));
        let value = l.select(odd, cos, sine);
        let sign = l.shl(l.and(quadrant, l.int(int, 2)), l.int(int, 30));
        l.bitcast(l.xor(l.bitcast(value, int), sign), ty)
    }

    /// tanh x: a series near 0, else (1 - t) / (1 + t) with t = exp(-2 |x|).
    fn fast_tanh(&self, x: Val) -> Val {
        let l = &self.b;
        let ty = l.ty(x);
        let float = |c| l.float(ty, c);
        let magnitude = l.intrinsic("llvm.fabs", &[ty], &[x]);
        let t = self.fast_exp2(l.fmul(magnitude, float(-2.0 * std::f64::consts::LOG2_E)));
        let large = l.fdiv(l.fsub(float(1.0), t), l.fadd(float(1.0), t));
        let x2 = l.fmul(x, x);
        let series = self.polynomial(x2, &[62.0 / 2835.0, -17.0 / 315.0, 2.0 / 15.0, -1.0 / 3.0]);
        let small = l.fma(l.fmul(series, x2), x, x);
        let large = l.intrinsic("llvm.copysign", &[ty], &[large, x]);
        l.select(l.fcmp(FloatPred::LLVMRealOLT, magnitude, float(0.3)), small, large)
    }
}
