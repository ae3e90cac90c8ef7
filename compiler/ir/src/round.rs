//! Rounding to the language's floating-point formats.

use crate::types::ScalarType;

/// A binary floating-point format.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct FloatFormat {
    /// Explicit digits of the significand.
    pub digits: i32,
    /// Exponent of the smallest normal number.
    pub min_exponent: i32,
    /// Greatest finite value.
    pub max: f64,
}

impl FloatFormat {
    /// The format of a float type, `None` for others.
    pub fn of(ty: ScalarType) -> Option<FloatFormat> {
        use ScalarType::*;
        let (digits, min_exponent, max) = match ty {
            F8E4M3 => (3, -6, 448.0),
            F8E5M2 => (2, -14, 57344.0),
            F16 => (10, -14, 65504.0),
            BF16 => (7, -126, 3.389_531_389_251_535_5e38),
            F32 => (23, -126, f32::MAX as f64),
            F64 => (52, -1022, f64::MAX),
            _ => return None,
        };
        Some(FloatFormat { digits, min_exponent, max })
    }
}

/// `v` rounded to nearest even in the format of `ty`; `v` itself when `ty` is no float. Overflow gives infinity, except in the f8 types: there finite
/// values saturate, and infinity too where the format has none (e4m3). NaN stays NaN.
pub fn round_to(ty: ScalarType, v: f64) -> f64 {
    let Some(FloatFormat { digits, min_exponent, max }) = FloatFormat::of(ty) else { return v };
    if ty == ScalarType::F64 {
        return v;
    }
    if ty == ScalarType::F32 {
        return f64::from(v as f32);
    }
    if v == 0.0 || v.is_nan() {
        return v;
    }
    if v.is_infinite() {
        return if ty == ScalarType::F8E4M3 { max.copysign(v) } else { v };
    }
    // Subnormal f64 values are far below every step; their exponent field is 0.
    let exponent = ((v.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(min_exponent);
    let step = 2f64.powi(exponent - digits);
    let rounded = (v / step).round_ties_even().abs() * step;
    match rounded > max {
        true if matches!(ty, ScalarType::F8E4M3 | ScalarType::F8E5M2) => max.copysign(v),
        true => f64::INFINITY.copysign(v),
        false => rounded.copysign(v),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ScalarType::*;

    #[test]
    fn small_floats_round_as_the_half_crate_does() {
        for i in 0..=u16::MAX {
            for low in [0, 1, 0x7fff, 0x8000, 0x8001] {
                let v = f64::from(f32::from_bits(u32::from(i) << 16 | low));
                if v.is_nan() {
                    continue;
                }
                assert_eq!(round_to(F16, v).to_bits(), half::f16::from_f64(v).to_f64().to_bits(), "f16 {v:e}");
                assert_eq!(round_to(BF16, v).to_bits(), half::bf16::from_f32(v as f32).to_f64().to_bits(), "bf16 {v:e}");
            }
        }
    }

    #[test]
    fn f8_saturates() {
        assert_eq!(round_to(F8E4M3, 463.0), 448.0);
        assert_eq!(round_to(F8E4M3, 1e9), 448.0);
        assert_eq!(round_to(F8E4M3, f64::NEG_INFINITY), -448.0);
        assert_eq!(round_to(F8E5M2, 1e9), 57344.0);
        assert_eq!(round_to(F8E5M2, f64::INFINITY), f64::INFINITY);
        assert_eq!(round_to(F8E4M3, 2f64.powi(-10)), 0.0);
        assert_eq!(round_to(F8E4M3, 2f64.powi(-9)), 2f64.powi(-9));
        assert_eq!(round_to(F8E4M3, 0.3), 0.3125);
        assert_eq!(round_to(I32, 0.3), 0.3);
    }
}
