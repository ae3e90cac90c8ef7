//! 8-bit floats: a register holds the byte; arithmetic widens to f32, where every f8 is exact, and rounds back.
//!
//! sm_89 converts two at a time; older architectures take a few integer instructions. Both saturate: infinities become the
//! greatest number, and NaN stays NaN.

use kiln_ir::ScalarType;

use super::emit::Emitter;
use super::text::{Asm, Ty, Val};

/// Whether a type is an 8-bit float.
pub(super) fn is_f8(ty: ScalarType) -> bool {
    matches!(ty, ScalarType::F8E4M3 | ScalarType::F8E5M2)
}

fn name(ty: ScalarType) -> &'static str {
    if ty == ScalarType::F8E4M3 { "e4m3x2" } else { "e5m2x2" }
}

impl Emitter<'_> {
    /// Whether the target converts 8-bit floats by itself; notes the PTX version that needs.
    fn converts_f8(&mut self) -> bool {
        let needs = match self.target.sm {
            90.. => 78,
            89 => 81,
            _ => return false,
        };
        self.ptx = self.ptx.max(needs);
        true
    }

    /// f8 bytes as f32.
    pub(super) fn f8_to_f32(&mut self, values: &[Val], from: ScalarType) -> Vec<Val> {
        if !self.converts_f8() {
            return values.iter().map(|&v| self.f8_to_f32_by_bits(v, from)).collect();
        }
        let ptx = format!("cvt.rn.f16x2.{} $0, $1;", name(from));
        let mut result = Vec::with_capacity(values.len());
        for pair in values.chunks(2) {
            let low = self.w.cast("zext", pair[0], Ty::I16);
            let both = match pair.get(1) {
                Some(&high) => {
                    let high = self.w.cast("zext", high, Ty::I16);
                    let high = self.w.shl(high, 8);
                    self.w.or_disjoint(low, high)
                }
                None => low,
            };
            let halves = self.w.asm(&[Ty::I32], Asm::Pure, &ptx, "=r,h", &[both])[0];
            for part in 0..pair.len() as u32 {
                let half = self.w.lshr(halves, 16 * part);
                let half = self.w.cast("trunc", half, Ty::I16);
                let half = self.w.bitcast(half, Ty::F16);
                result.push(self.w.cast("fpext", half, Ty::F32));
            }
        }
        result
    }

    fn f8_to_f32_by_bits(&mut self, v: Val, from: ScalarType) -> Val {
        if from == ScalarType::F8E5M2 {
            // The upper half of an f16.
            let wide = self.w.cast("zext", v, Ty::I16);
            let half = self.w.shl(wide, 8);
            let half = self.w.bitcast(half, Ty::F16);
            return self.w.cast("fpext", half, Ty::F32);
        }
        let bits = self.w.cast("zext", v, Ty::I32);
        let magnitude = self.w.and(bits, Val::i32(0x7f));
        // Exponent and mantissa in place, then the difference of the biases as a factor, which is right for subnormals too.
        let placed = self.w.shl(magnitude, 20);
        let placed = self.w.bitcast(placed, Ty::F32);
        let value = self.w.raw("fmul", placed, Val::float(Ty::F32, f64::from(2f32.powi(120))));
        let nan = self.w.icmp("eq", magnitude, Val::i32(0x7f));
        let value = self.w.select(nan, Val::float(Ty::F32, f64::NAN), value);
        let value = self.w.bitcast(value, Ty::I32);
        let sign = self.w.and(bits, Val::i32(0x80));
        let sign = self.w.shl(sign, 24);
        let value = self.w.or(value, sign);
        self.w.bitcast(value, Ty::F32)
    }

    /// f32 rounded to f8 bytes.
    pub(super) fn f32_to_f8(&mut self, values: &[Val], to: ScalarType) -> Vec<Val> {
        if !self.converts_f8() {
            return values.iter().map(|&v| self.f32_to_f8_by_bits(v, to)).collect();
        }
        let ptx = format!("cvt.rn.satfinite.{}.f32 $0, $2, $1;", name(to));
        let mut result = Vec::with_capacity(values.len());
        for pair in values.chunks(2) {
            let high = pair.get(1).copied().unwrap_or(Val::float(Ty::F32, 0.0));
            let both = self.w.asm(&[Ty::I16], Asm::Pure, &ptx, "=h,f,f", &[pair[0], high])[0];
            for part in 0..pair.len() as u32 {
                let byte = self.w.lshr(both, 8 * part);
                result.push(self.w.cast("trunc", byte, Ty::I8));
            }
        }
        result
    }

    fn f32_to_f8_by_bits(&mut self, v: Val, to: ScalarType) -> Val {
        let int = |value: i64| Val::int(Ty::I32, value);
        let (shift, bias, top) = if to == ScalarType::F8E4M3 { (20u32, 7i64, 0x7e) } else { (21, 15, 0x7b) };
        let bits = self.w.bitcast(v, Ty::I32);
        let nan = self.w.fcmp("uno", v, v);
        let magnitude = self.w.and(bits, int(0x7fff_ffff));
        // Normal results: round the mantissa to even, move the exponent's bias.
        let odd = self.w.lshr(magnitude, shift);
        let odd = self.w.and(odd, int(1));
        let sum = self.w.add(magnitude, int((1 << (shift - 1)) - 1 - ((127 - bias) << 23)));
        let rounded = self.w.add(sum, odd);
        let normal = self.w.lshr(rounded, shift);
        // Subnormal results: after adding 2^(23 - digits) the adder has rounded to multiples of the least subnormal.
        let digits = bias - 1 + 23 - i64::from(shift);
        let magic = Val::float(Ty::F32, f64::from(2f32.powi(23 - digits as i32)));
        let positive = self.w.bitcast(magnitude, Ty::F32);
        let sum = self.w.raw("fadd", positive, magic);
        let sum = self.w.bitcast(sum, Ty::I32);
        let subnormal = self.w.sub(sum, int((127 + 23 - digits) << 23));
        let small = self.w.icmp("ult", magnitude, int((127 - bias + 1) << 23));
        let code = self.w.select(small, subnormal, normal);
        let beyond = self.w.icmp("ugt", code, int(top));
        let code = self.w.select(beyond, int(top), code);
        let code = self.w.select(nan, int(0x7f), code);
        let sign = self.w.lshr(bits, 24);
        let sign = self.w.and(sign, int(0x80));
        let code = self.w.or(code, sign);
        self.w.cast("trunc", code, Ty::I8)
    }

    /// Computes with 8-bit floats as f32 and rounds the result back.
    pub(super) fn through_f8(&mut self, elem: ScalarType, args: &[Val], f: impl FnOnce(&mut Self, &[Val]) -> Val) -> Val {
        let wide: Vec<Val> = args.iter().map(|&v| self.f8_to_f32(&[v], elem)[0]).collect();
        let result = f(self, &wide);
        self.f32_to_f8(&[result], elem)[0]
    }
}
