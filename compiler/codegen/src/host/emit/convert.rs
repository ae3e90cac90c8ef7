//! Conversions: memory format to registers and back, rounding to small floats, casts with the semantics of Rust's `as`, bitcasts.
//!
//! f16, bf16 and f8 values live in registers as f32 that are exactly representable; `round_to` makes one from any f32 (nearest even) and remembers its
//! memory format, so that storing it costs no second conversion.

use kiln_ir::{Elem, ScalarType};

use super::Emitter;
use crate::llvm::{FloatPred, IntPred, Val};

impl Emitter<'_> {
    /// A value just loaded (memory format) in register format.
    pub fn unpack(&mut self, elem: Elem, raw: Val) -> Val {
        let Elem::Scalar(s) = elem else { return raw };
        let l = &self.b;
        let f32_ty = l.shaped(l.f32(), raw);
        let i32_ty = l.shaped(l.i32(), raw);
        let v = match s {
            ScalarType::Bool => return l.icmp(IntPred::LLVMIntNE, raw, l.zero(l.ty(raw))),
            ScalarType::F16 => l.fpext(raw, f32_ty),
            ScalarType::BF16 => l.bitcast(l.shl(l.zext(raw, i32_ty), l.int(i32_ty, 16)), f32_ty),
            ScalarType::F8E5M2 => {
                // The upper half of an f16.
                let i16_ty = l.shaped(l.int_ty(16), raw);
                let half = l.bitcast(l.shl(l.zext(raw, i16_ty), l.int(i16_ty, 8)), l.shaped(l.f16(), raw));
                l.fpext(half, f32_ty)
            }
            ScalarType::F8E4M3 => {
                let bits = l.zext(raw, i32_ty);
                let magnitude = l.and(bits, l.int(i32_ty, 0x7f));
                // Exponent and mantissa in place, then the bias (127 - 7) as a product: right for subnormals too.
                let value = l.bitcast(l.shl(magnitude, l.int(i32_ty, 20)), f32_ty);
                let value = l.fmul(value, l.float(f32_ty, f64::from(2f32.powi(120))));
                let nan = l.icmp(IntPred::LLVMIntEQ, magnitude, l.int(i32_ty, 0x7f));
                let value = l.select(nan, l.float(f32_ty, f64::NAN), value);
                let sign = l.shl(l.and(bits, l.int(i32_ty, 0x80)), l.int(i32_ty, 24));
                l.bitcast(l.or(l.bitcast(value, i32_ty), sign), f32_ty)
            }
            ScalarType::Index => l.sext_or_trunc(raw, l.shaped(self.reg_ty(elem), raw)),
            _ => return raw,
        };
        if s.is_float() {
            self.encoded.insert((elem, v), raw);
        }
        v
    }

    /// A register value in memory format. Exact: small floats are already rounded.
    pub fn pack(&mut self, elem: Elem, v: Val) -> Val {
        let Elem::Scalar(s) = elem else { return v };
        if let Some(&raw) = self.encoded.get(&(elem, v)) {
            return raw;
        }
        let l = &self.b;
        match s {
            ScalarType::Bool => l.zext(v, l.shaped(l.i8(), v)),
            ScalarType::Index => l.sext(v, l.shaped(l.i64(), v)),
            ScalarType::F16 | ScalarType::BF16 | ScalarType::F8E4M3 | ScalarType::F8E5M2 => self.encode(s, v),
            _ => v,
        }
    }

    /// The memory format of the f32 `v` rounded to the small float `s`.
    fn encode(&self, s: ScalarType, v: Val) -> Val {
        let l = &self.b;
        let i32_ty = l.shaped(l.i32(), v);
        let int = |k: i64| l.int(i32_ty, k);
        if s == ScalarType::F16 {
            return l.fptrunc(v, l.shaped(l.f16(), v));
        }
        let bits = l.bitcast(v, i32_ty);
        let nan = l.fcmp(FloatPred::LLVMRealUNO, v, v);
        if s == ScalarType::BF16 {
            let odd = l.and(l.lshr(bits, int(16)), int(1));
            let rounded = l.lshr(l.add(bits, l.add(int(0x7fff), odd)), int(16));
            let quiet = l.or(l.lshr(bits, int(16)), int(0x40));
            return l.trunc(l.select(nan, quiet, rounded), l.shaped(l.int_ty(16), v));
        }
        let e4m3 = s == ScalarType::F8E4M3;
        let (shift, bias, top, nan_code) = if e4m3 { (20, 7, 0x7e, 0x7f) } else { (21, 15, 0x7b, 0x7f) };
        let magnitude = l.and(bits, int(0x7fff_ffff));
        // Normal results: round the mantissa, move the exponent's bias.
        let odd = l.and(l.lshr(magnitude, int(shift)), int(1));
        let half = int((1 << (shift - 1)) - 1);
        let rounded = l.sub(l.add(magnitude, l.add(half, odd)), int((127 - bias) << 23));
        let normal = l.lshr(rounded, int(shift));
        // Subnormal results: adding 2^(23 - digits) lets the adder round to multiples of the smallest subnormal.
        let digits = bias - 1 + (23 - shift);
        let magic = l.float(l.shaped(l.f32(), v), f64::from(2f32.powi(23 - digits as i32)));
        let sum = l.fadd(l.bitcast(magnitude, l.shaped(l.f32(), v)), magic);
        let subnormal = l.sub(l.bitcast(sum, i32_ty), l.bitcast(magic, i32_ty));
        let smallest = int((127 - bias + 1) << 23);
        let code = l.select(l.icmp(IntPred::LLVMIntULT, magnitude, smallest), subnormal, normal);
        // Infinities saturate too, as the GPU's conversion does.
        let code = l.intrinsic("llvm.umin", &[i32_ty], &[code, int(top)]);
        let code = l.select(nan, int(nan_code), code);
        let sign = l.and(l.lshr(bits, int(24)), int(0x80));
        l.trunc(l.or(code, sign), l.shaped(l.i8(), v))
    }

    /// Rounds an f32 to a small float (still f32 in the register). Other types pass.
    pub fn round_to(&mut self, elem: Elem, v: Val) -> Val {
        match elem {
            Elem::Scalar(s @ (ScalarType::F16 | ScalarType::BF16 | ScalarType::F8E4M3 | ScalarType::F8E5M2)) => {
                let raw = self.encode(s, v);
                self.unpack(elem, raw)
            }
            _ => v,
        }
    }

    /// An f64 as an f32 rounded to odd: rounding it again to a smaller float gives the correctly rounded result.
    pub fn narrow_to_odd(&self, v: Val) -> Val {
        let l = &self.b;
        let (f32_ty, i32_ty) = (l.shaped(l.f32(), v), l.shaped(l.i32(), v));
        let near = l.fptrunc(v, f32_ty);
        let back = l.fpext(near, l.ty(v));
        let fabs = |x| l.intrinsic("llvm.fabs", &[l.ty(v)], &[x]);
        let inexact = l.fcmp(FloatPred::LLVMRealONE, back, v);
        let away = l.fcmp(FloatPred::LLVMRealOGT, fabs(back), fabs(v));
        let bits = l.bitcast(near, i32_ty);
        let toward = l.select(away, l.sub(bits, l.int(i32_ty, 1)), bits);
        let odd = l.or(toward, l.int(i32_ty, 1));
        l.bitcast(l.select(inexact, odd, bits), f32_ty)
    }

    /// A numeric conversion with the semantics of Rust's `as`.
    pub fn cast(&mut self, from: Elem, to: Elem, v: Val) -> Result<Val, String> {
        let (Elem::Scalar(s), Elem::Scalar(t)) = (from, to) else {
            return if from == to { Ok(v) } else { Err(format!("no conversion from {from} to {to}")) };
        };
        if s == t {
            return Ok(v);
        }
        let target = self.b.shaped(self.reg_ty(to), v);
        let small = |s: ScalarType| s.is_float() && s.bits() < 32;
        Ok(match (s.is_float(), t.is_float()) {
            (true, true) => match (s, t) {
                (ScalarType::F64, ScalarType::F32) => self.b.fptrunc(v, target),
                (ScalarType::F64, _) => {
                    let narrow = self.narrow_to_odd(v);
                    self.round_to(to, narrow)
                }
                (_, ScalarType::F64) => self.b.fpext(v, target),
                _ => self.round_to(to, v),
            },
            (true, false) if t == ScalarType::Bool => self.b.fcmp(FloatPred::LLVMRealUNE, v, self.b.zero(self.b.ty(v))),
            (true, false) => {
                let name = if t.is_signed_int() { "llvm.fptosi.sat" } else { "llvm.fptoui.sat" };
                self.b.intrinsic(name, &[target, self.b.ty(v)], &[v])
            }
            (false, true) if small(t) => {
                let wide = self.int_to_f64(s, v);
                let narrow = self.narrow_to_odd(wide);
                self.round_to(to, narrow)
            }
            (false, true) => {
                if s.is_signed_int() {
                    self.b.sitofp(v, target)
                } else {
                    self.b.uitofp(v, target)
                }
            }
            (false, false) => self.int_cast(s, t, v),
        })
    }

    /// An integer as an f64 that rounds to any float of at most 24 bits as the integer would.
    fn int_to_f64(&self, s: ScalarType, v: Val) -> Val {
        let l = &self.b;
        let wide = l.shaped(l.f64(), v);
        let convert = |v| if s.is_signed_int() { l.sitofp(v, wide) } else { l.uitofp(v, wide) };
        let bits = l.int_bits(l.ty(v));
        if bits <= 32 {
            return convert(v);
        }
        // 64 bits do not fit: keep the upper 52 with a sticky bit.
        let ty = l.ty(v);
        let low = l.and(v, l.int(ty, 0xfff));
        let sticky = l.zext(l.icmp(IntPred::LLVMIntNE, low, l.zero(ty)), ty);
        let shift = l.int(ty, 12);
        let high = if s.is_signed_int() { l.ashr(v, shift) } else { l.lshr(v, shift) };
        let large = l.fmul(convert(l.or(high, sticky)), l.float(wide, 4096.0));
        let magnitude = if s.is_signed_int() { l.intrinsic("llvm.abs", &[ty], &[v, l.const_bool(false)]) } else { v };
        let exact = l.icmp(IntPred::LLVMIntULT, magnitude, l.int(ty, 1 << 53));
        l.select(exact, convert(v), large)
    }

    fn int_cast(&self, s: ScalarType, t: ScalarType, v: Val) -> Val {
        let l = &self.b;
        let (from_ty, target) = (l.ty(v), l.shaped(self.reg_ty(t.into()), v));
        let (from, to) = (l.int_bits(from_ty), l.int_bits(target));
        if t == ScalarType::Bool {
            return l.icmp(IntPred::LLVMIntNE, v, l.zero(from_ty));
        }
        let signed = s.is_signed_int();
        if t == ScalarType::Index {
            // Saturates, so that an index out of bounds stays out of bounds.
            let max = if to == 32 { i64::from(i32::MAX) } else { i64::MAX };
            let min = if to == 32 { i64::from(i32::MIN) } else { i64::MIN };
            let v = match (signed, from > to, from == to) {
                (true, true, _) => {
                    let v = l.smin(v, l.int(from_ty, max));
                    l.smax(v, l.int(from_ty, min))
                }
                (false, true, _) | (false, _, true) => l.intrinsic("llvm.umin", &[from_ty], &[v, l.int(from_ty, max)]),
                _ => v,
            };
            return if signed { l.sext_or_trunc(v, target) } else { l.zext_or_trunc(v, target) };
        }
        match from.cmp(&to) {
            std::cmp::Ordering::Greater => l.trunc(v, target),
            std::cmp::Ordering::Equal => v,
            std::cmp::Ordering::Less if signed => l.sext(v, target),
            std::cmp::Ordering::Less => l.zext(v, target),
        }
    }

    /// The same bits as another type of the same size.
    pub fn bitcast(&mut self, from: Elem, to: Elem, v: Val) -> Val {
        let raw = self.pack(from, v);
        let raw = match from {
            Elem::Ptr { .. } => self.b.ptrtoint(raw, self.b.shaped(self.b.i64(), raw)),
            Elem::Scalar(_) => raw,
        };
        let target = self.b.shaped(self.mem_ty(to), raw);
        let raw = match to {
            Elem::Ptr { .. } => {
                let bits = self.b.bitcast(raw, self.b.shaped(self.b.i64(), raw));
                self.b.inttoptr(bits, target)
            }
            Elem::Scalar(_) => self.b.bitcast(raw, target),
        };
        self.unpack(to, raw)
    }
}
