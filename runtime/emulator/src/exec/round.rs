//! Rounding to any small floating-point format, in any mode, exactly.
//!
//! A result is first computed in f64 rounded to odd (Boldo and Melquiond 2008), which rounds again correctly to
//! any format with at most 51 bits of significand.

use crate::decode::types::Rnd;

/// A floating-point format of at most 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Exponent bits.
    pub exp: u32,
    /// Stored significand bits.
    pub man: u32,
    /// Largest finite encoding.
    pub max: u32,
    /// Encoding of infinity; for formats without one, of NaN.
    pub inf: u32,
    /// Canonical NaN.
    pub nan: u32,
}

/// IEEE binary16.
pub const F16: Format = Format { exp: 5, man: 10, max: 0x7bff, inf: 0x7c00, nan: 0x7fff };
/// bfloat16.
pub const BF16: Format = Format { exp: 8, man: 7, max: 0x7f7f, inf: 0x7f80, nan: 0x7fff };
/// tf32, in its 19 upper bits when shifted left by 13.
pub const TF32: Format = Format { exp: 8, man: 10, max: 0x3fbff, inf: 0x3fc00, nan: 0x3ffff };
/// IEEE binary32.
pub const F32: Format = Format { exp: 8, man: 23, max: 0x7f7f_ffff, inf: 0x7f80_0000, nan: 0x7fff_ffff };
/// e4m3: no infinity.
pub const E4M3: Format = Format { exp: 4, man: 3, max: 0x7e, inf: 0x7f, nan: 0x7f };
/// e5m2.
pub const E5M2: Format = Format { exp: 5, man: 2, max: 0x7b, inf: 0x7c, nan: 0x7f };

/// Encodes `x` in `format`.
pub fn encode(x: f64, format: Format, rnd: Rnd) -> u32 {
    if x.is_nan() {
        return format.nan;
    }
    let negative = x.is_sign_negative();
    let sign = u32::from(negative) << (format.exp + format.man);
    let a = x.abs();
    if a == 0.0 {
        return sign;
    }
    let bias = (1i32 << (format.exp - 1)) - 1;
    let overflow = || {
        let to_max = match rnd {
            Rnd::Rz => true,
            Rnd::Rm => !negative,
            Rnd::Rp => negative,
            _ => false,
        };
        sign | if to_max { format.max } else { format.inf }
    };
    if a.is_infinite() {
        return sign | format.inf;
    }
    let e = ((a.to_bits() >> 52) as i32).max(1) - 1023;
    // Larger than any exponent of the format, e4m3's top binade included.
    if e > bias + 1 {
        return overflow();
    }
    let q = e.max(1 - bias) - format.man as i32;
    let scaled = if q < -1000 { a * 2f64.powi(1000) * 2f64.powi(-q - 1000) } else { a * 2f64.powi(-q) };
    let whole = scaled.floor();
    let frac = scaled - whole;
    let m = whole as u64;
    let up = match rnd {
        Rnd::Rz => false,
        Rnd::Rm => negative && frac > 0.0,
        Rnd::Rp => !negative && frac > 0.0,
        Rnd::Rna => frac >= 0.5,
        _ => frac > 0.5 || frac == 0.5 && m & 1 == 1,
    };
    let m = m + u64::from(up);
    let hidden = 1u64 << format.man;
    let bits = if m < hidden {
        m
    } else {
        let field = (q + format.man as i32 + bias) as u64;
        (field << format.man) + (m - hidden)
    };
    if bits > u64::from(format.max) {
        return overflow();
    }
    sign | bits as u32
}

/// Decodes an encoding of `format`.
pub fn decode(bits: u32, format: Format) -> f64 {
    let magnitude = bits & ((1 << (format.exp + format.man)) - 1);
    let negative = bits >> (format.exp + format.man) & 1 != 0;
    let bias = (1i32 << (format.exp - 1)) - 1;
    let value = if magnitude > format.max {
        if magnitude == format.inf && format.inf != format.nan { f64::INFINITY } else { f64::NAN }
    } else {
        let field = (magnitude >> format.man) as i32;
        let man = magnitude & ((1 << format.man) - 1);
        if field == 0 {
            f64::from(man) * 2f64.powi(1 - bias - format.man as i32)
        } else {
            f64::from(man | 1 << format.man) * 2f64.powi(field - bias - format.man as i32)
        }
    };
    if negative { -value } else { value }
}

/// IEEE binary16 to f32 without a branch, so that lanes vectorize.
#[inline(always)]
pub fn f16_to_f32(bits: u32) -> f32 {
    let magnitude = (bits & 0x7fff) << 13;
    // Scales the exponent up from bias 15 to 127, subnormals included.
    let scaled = f32::from_bits(magnitude) * f32::from_bits(0x7780_0000);
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(scaled.to_bits() | special | (bits & 0x8000) << 16)
}

/// f32 to IEEE binary16, to nearest even, without a branch; NaN becomes 0x7fff.
#[inline(always)]
pub fn f32_to_f16(x: f32) -> u32 {
    // Added to a small number this leaves the significand of a subnormal in the low bits.
    const SMALL: u32 = (127 - 15 + 23 - 10 + 1) << 23;
    let bits = x.to_bits();
    let a = bits & 0x7fff_ffff;
    let subnormal = (f32::from_bits(a) + f32::from_bits(SMALL)).to_bits().wrapping_sub(SMALL);
    let normal = a.wrapping_sub((127 - 15) << 23).wrapping_add(0xfff + (a >> 13 & 1)) >> 13;
    let finite = if a < (127 - 14) << 23 { subnormal } else { normal };
    let magnitude = if a >= (127 + 16) << 23 { 0x7c00 } else { finite };
    if a > 0x7f80_0000 { 0x7fff } else { magnitude | bits >> 16 & 0x8000 }
}

/// Moves an inexact `x` to the neighbour with an odd significand; `error` is exact minus `x`.
#[inline(always)]
fn odd(x: f64, error: f64) -> f64 {
    let bits = x.to_bits();
    if error != 0.0 && !error.is_nan() && x.is_finite() && bits & 1 == 0 {
        let away = (error > 0.0) == (x > 0.0) && x != 0.0;
        f64::from_bits(if away { bits + 1 } else { bits.wrapping_sub(1) })
    } else {
        x
    }
}

/// `a + b` rounded to odd.
#[inline(always)]
pub fn add_odd(a: f64, b: f64) -> f64 {
    let s = a + b;
    let bb = s - a;
    let error = (a - (s - bb)) + (b - bb);
    odd(s, error)
}

/// `a / b` rounded to odd, for f32 operands.
pub fn div_odd(a: f64, b: f64) -> f64 {
    let q = a / b;
    if !q.is_finite() || b.is_infinite() {
        return q;
    }
    let r = (-q).mul_add(b, a);
    odd(q, if b < 0.0 { -r } else { r })
}

/// Square root rounded to odd.
pub fn sqrt_odd(a: f64) -> f64 {
    let q = a.sqrt();
    if !q.is_finite() || q == 0.0 {
        return q;
    }
    odd(q, (-q).mul_add(q, a))
}

/// Rounds an f64 result in a directed mode, given the sign of exact minus `x`.
pub fn direct(x: f64, error: f64, rnd: Rnd) -> f64 {
    if error == 0.0 || error.is_nan() || !x.is_finite() {
        return x;
    }
    match rnd {
        Rnd::Rp if error > 0.0 => x.next_up(),
        Rnd::Rm if error < 0.0 => x.next_down(),
        Rnd::Rz if x > 0.0 && error < 0.0 => x.next_down(),
        Rnd::Rz if x < 0.0 && error > 0.0 => x.next_up(),
        _ => x,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_small_encoding_survives_a_round_trip() {
        for (format, bits) in [(F16, 16u32), (BF16, 16), (TF32, 19), (E4M3, 8), (E5M2, 8)] {
            for code in 0..1u32 << bits {
                let value = decode(code, format);
                if value.is_nan() {
                    continue;
                }
                for rnd in [Rnd::Rn, Rnd::Rz, Rnd::Rm, Rnd::Rp, Rnd::Rna] {
                    assert_eq!(encode(value, format, rnd), code, "{format:?} {code:#x} {rnd:?}");
                }
            }
        }
    }

    #[test]
    fn f16_agrees_with_another_implementation() {
        for i in 0..2_000_000u32 {
            let x = f32::from_bits(i.wrapping_mul(2_147_001_325));
            if !x.is_nan() {
                assert_eq!(encode(f64::from(x), F16, Rnd::Rn), u32::from(half::f16::from_f32(x).to_bits()), "{x}");
                assert_eq!(f32_to_f16(x), u32::from(half::f16::from_f32(x).to_bits()), "{x}");
                assert_eq!(encode(f64::from(x), BF16, Rnd::Rn), u32::from(half::bf16::from_f32(x).to_bits()), "{x}");
            }
        }
    }

    #[test]
    fn every_f16_widens() {
        for bits in 0..1 << 16 {
            let (got, want) = (f16_to_f32(bits), decode(bits, F16));
            assert!(f64::from(got) == want || got.is_nan() && want.is_nan(), "{bits:#x}: {got} is not {want}");
            assert_eq!(got.is_sign_negative(), bits & 0x8000 != 0);
        }
        assert_eq!(f32_to_f16(f32::NAN), 0x7fff);
    }

    #[test]
    fn ties_and_overflow_follow_the_mode() {
        // Halfway between 2048 and 2050 in f16.
        assert_eq!(encode(2049.0, F16, Rnd::Rn), encode(2048.0, F16, Rnd::Rn));
        assert_eq!(encode(2049.0, F16, Rnd::Rp), encode(2050.0, F16, Rnd::Rn));
        assert_eq!(encode(2049.0, F16, Rnd::Rna), encode(2050.0, F16, Rnd::Rn));
        assert_eq!(encode(1e6, F16, Rnd::Rz), 0x7bff);
        assert_eq!(encode(-1e6, F16, Rnd::Rm), 0xfc00);
        // e4m3 reaches 448.
        assert_eq!(encode(448.0, E4M3, Rnd::Rn), 0x7e);
        assert_eq!(encode(500.0, E4M3, Rnd::Rn), 0x7f);
    }

    #[test]
    fn odd_rounding_gives_correct_f32_sums() {
        let cases = [(1.0, 2f64.powi(-60)), (1.0, -(2f64.powi(-60))), (1.0 + 2f64.powi(-24), 2f64.powi(-70))];
        for (a, b) in cases {
            let up = f32::from_bits(encode(add_odd(a, b), F32, Rnd::Rp));
            assert!(f64::from(up) >= a && (b <= 0.0 || f64::from(up) > a));
        }
    }
}
