//! Exact numbers of every scalar type: decoding, rounding and encoding, written independently of the compiler so that it can be its reference.

use kiln_ir::ScalarType;
use kiln_ir::signature::Number;

/// An element's value. Every value of every type fits one of the two without loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Num {
    /// Integers and bools (0 or 1).
    Int(i128),
    /// Floats.
    Float(f64),
}

impl Num {
    /// As a float; exact for integers up to 2^53.
    pub fn f64(self) -> f64 {
        match self {
            Num::Int(v) => v as f64,
            Num::Float(v) => v,
        }
    }

    /// As an integer, rounding toward zero.
    pub fn int(self) -> i128 {
        match self {
            Num::Int(v) => v,
            Num::Float(v) => v as i128,
        }
    }
}

impl From<Num> for Number {
    fn from(value: Num) -> Number {
        match value {
            Num::Int(v) => i64::try_from(v).map_or_else(|_| Number::UInt(v as u64), Number::Int),
            Num::Float(v) => Number::Float(v),
        }
    }
}

/// Binary formats: (exponent bits, mantissa bits, bias, whether the top exponent holds infinities).
fn format(ty: ScalarType) -> (u32, u32, i32, bool) {
    match ty {
        ScalarType::F64 => (11, 52, 1023, true),
        ScalarType::F32 => (8, 23, 127, true),
        ScalarType::BF16 => (8, 7, 127, true),
        ScalarType::F16 => (5, 10, 15, true),
        ScalarType::F8E5M2 => (5, 2, 15, true),
        ScalarType::F8E4M3 => (4, 3, 7, false),
        other => panic!("{other} is no float"),
    }
}

/// The largest finite value of a float type.
pub fn float_max(ty: ScalarType) -> f64 {
    let (e, m, bias, ieee) = format(ty);
    let top = (1i32 << e) - 1 - bias - i32::from(ieee);
    let fraction = if ieee { 2.0 - (0.5f64).powi(m as i32) } else { 2.0 - (0.5f64).powi(m as i32 - 1) };
    fraction * 2f64.powi(top)
}

/// The distance of neighbours of a float type at |x| (at least the smallest subnormal).
pub fn ulp(ty: ScalarType, x: f64) -> f64 {
    let (e, m, bias, ieee) = format(ty);
    let x = x.abs().min(float_max(ty));
    let lowest = 1 - bias;
    let highest = (1i32 << e) - 1 - bias - i32::from(ieee);
    // The exponent of x, from its bits (f64 subnormals are below every other format's range).
    let biased = ((x.to_bits() >> 52) & 0x7FF) as i32;
    let exponent = if biased == 0 { lowest } else { (biased - 1023).clamp(lowest, highest) };
    if ty == ScalarType::F64 && biased == 0 {
        return f64::from_bits(1);
    }
    let power = exponent - m as i32;
    if power < -1022 { f64::from_bits(1u64 << (power + 1074)) } else { 2f64.powi(power) }
}

/// `x` rounded to nearest even in a float type. Overflow goes to infinity; the f8 types saturate, infinities too.
pub fn round_float(ty: ScalarType, x: f64) -> f64 {
    if ty == ScalarType::F64 || x.is_nan() || x == 0.0 {
        return x;
    }
    if ty == ScalarType::F32 {
        return f64::from(x as f32);
    }
    let max = float_max(ty);
    let saturates = matches!(ty, ScalarType::F8E4M3 | ScalarType::F8E5M2);
    if x.is_infinite() {
        return if saturates { max.copysign(x) } else { x };
    }
    let unit = ulp(ty, x);
    let rounded = (x / unit).round_ties_even() * unit;
    if rounded.abs() > max { if saturates { max.copysign(x) } else { f64::INFINITY.copysign(x) } } else { rounded.copysign(x) }
}

/// Little-endian bytes of a value, rounded or wrapped to the type.
pub fn encode(ty: ScalarType, value: Num, out: &mut Vec<u8>) {
    use ScalarType::*;
    match ty {
        Bool => out.push(u8::from(value.int() != 0)),
        I8 | U8 => out.push(value.int() as u8),
        I16 | U16 => out.extend((value.int() as u16).to_le_bytes()),
        I32 | U32 => out.extend((value.int() as u32).to_le_bytes()),
        I64 | U64 | Index => out.extend((value.int() as u64).to_le_bytes()),
        F64 => out.extend(value.f64().to_le_bytes()),
        F32 => out.extend((value.f64() as f32).to_le_bytes()),
        F16 | BF16 => out.extend((float_bits(ty, value.f64()) as u16).to_le_bytes()),
        F8E4M3 | F8E5M2 => out.push(float_bits(ty, value.f64()) as u8),
    }
}

fn float_bits(ty: ScalarType, x: f64) -> u64 {
    let (e, m, bias, ieee) = format(ty);
    let sign = u64::from(x.is_sign_negative()) << (e + m);
    let x = round_float(ty, x);
    if x.is_nan() {
        // Quiet NaN: e4m3 has the one pattern of all ones.
        return sign | if ieee { (((1 << e) - 1) << m) | (1 << (m - 1)) } else { (1 << (e + m)) - 1 };
    }
    if x.is_infinite() {
        return sign | (((1 << e) - 1) << m);
    }
    if x == 0.0 {
        return sign;
    }
    let unit = ulp(ty, x);
    let steps = (x.abs() / unit) as u64;
    let exponent = (unit.log2() as i64) + i64::from(m);
    if steps < (1 << m) { sign | steps } else { sign | (((exponent + i64::from(bias)) as u64) << m) | (steps - (1 << m)) }
}

/// The value behind little-endian bytes.
pub fn decode(ty: ScalarType, bytes: &[u8]) -> Num {
    use ScalarType::*;
    let mut wide = [0u8; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let raw = u64::from_le_bytes(wide);
    match ty {
        Bool | U8 | U16 | U32 | U64 => Num::Int(i128::from(raw)),
        I8 => Num::Int(i128::from(raw as u8 as i8)),
        I16 => Num::Int(i128::from(raw as u16 as i16)),
        I32 => Num::Int(i128::from(raw as u32 as i32)),
        I64 | Index => Num::Int(i128::from(raw as i64)),
        F64 => Num::Float(f64::from_bits(raw)),
        F32 => Num::Float(f64::from(f32::from_bits(raw as u32))),
        F16 | BF16 | F8E4M3 | F8E5M2 => {
            let (e, m, bias, ieee) = format(ty);
            let sign = if raw >> (e + m) & 1 == 1 { -1.0 } else { 1.0 };
            let exponent = (raw >> m) & ((1 << e) - 1);
            let fraction = raw & ((1 << m) - 1);
            let top = (1 << e) - 1;
            Num::Float(if exponent == top && ieee {
                if fraction == 0 { sign * f64::INFINITY } else { f64::NAN }
            } else if exponent == top && fraction == (1 << m) - 1 {
                f64::NAN
            } else if exponent == 0 {
                sign * fraction as f64 * 2f64.powi(1 - bias - m as i32)
            } else {
                sign * (1.0 + fraction as f64 / (1u64 << m) as f64) * 2f64.powi(exponent as i32 - bias)
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ScalarType::*;

    #[test]
    fn small_formats_round_trip_every_pattern() {
        for (ty, count) in [(F8E4M3, 256u32), (F8E5M2, 256), (F16, 65536), (BF16, 65536)] {
            for raw in 0..count {
                let bytes = &raw.to_le_bytes()[..ty.bytes() as usize];
                let Num::Float(value) = decode(ty, bytes) else { panic!() };
                let mut back = Vec::new();
                encode(ty, Num::Float(value), &mut back);
                // NaNs have many patterns, and conversions to f8 never give an infinity.
                let unmade = value.is_infinite() && ty == F8E5M2;
                if !value.is_nan() && !unmade {
                    assert_eq!(back, bytes, "{ty} {raw:#x} = {value}");
                }
            }
        }
    }

    #[test]
    fn f16_agrees_with_the_half_crate() {
        for x in [0.1, -65504.0, 65519.9, 65520.0, 5.96e-8, 2.98e-8, 2.99e-8, 1.0009765625, 1e-30, f64::INFINITY] {
            let mut bytes = Vec::new();
            encode(F16, Num::Float(x), &mut bytes);
            assert_eq!(u16::from_le_bytes([bytes[0], bytes[1]]), half::f16::from_f64(x).to_bits(), "{x}");
            bytes.clear();
            encode(BF16, Num::Float(x), &mut bytes);
            assert_eq!(u16::from_le_bytes([bytes[0], bytes[1]]), half::bf16::from_f64(x).to_bits(), "{x}");
        }
    }

    #[test]
    fn limits_are_the_published_ones() {
        assert_eq!(float_max(F8E4M3), 448.0);
        assert_eq!(float_max(F8E5M2), 57344.0);
        assert_eq!(float_max(F16), 65504.0);
        assert_eq!(float_max(F32), f64::from(f32::MAX));
        assert_eq!(ulp(F32, 1.0), f64::from(f32::EPSILON));
        assert_eq!(ulp(F64, 1.0), f64::EPSILON);
        assert_eq!(ulp(F16, 0.0), 2f64.powi(-24));
    }
}
