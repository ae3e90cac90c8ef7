//! Rounding of constants to the element types, with the rules of `as` (see `InstData::Cast` in the IR).

use kiln_ir::ScalarType;

/// `value` rounded to nearest even in the float type `ty`. f8 types saturate, infinities too.
pub fn to_float(value: f64, ty: ScalarType) -> f64 {
    match ty {
        ScalarType::F32 => f64::from(value as f32),
        ScalarType::F16 => half::f16::from_f64(value).to_f64(),
        ScalarType::BF16 => half::bf16::from_f64(value).to_f64(),
        ScalarType::F8E4M3 => small(value, 3, -6, 448.0),
        ScalarType::F8E5M2 => small(value, 2, -14, 57344.0),
        _ => value,
    }
}

/// Rounds to `mantissa` explicit bits with smallest normal exponent `emin`, saturating at `max`, infinities too.
fn small(value: f64, mantissa: i32, emin: i32, max: f64) -> f64 {
    if value.is_nan() || value == 0.0 {
        return value;
    }
    if value.is_infinite() {
        return max.copysign(value);
    }
    // Exact: the exponent of a normal f64 (a subnormal one is far below emin).
    let exponent = ((value.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(emin);
    let quantum = f64::powi(2.0, exponent - mantissa);
    let rounded = (value / quantum).round_ties_even() * quantum;
    if rounded.abs() > max { max.copysign(value) } else { rounded }
}

/// Smallest and largest value of an integer type or bool; `index` counts as 64 bits.
pub fn int_range(ty: ScalarType) -> (i128, i128) {
    match ty {
        ScalarType::Bool => (0, 1),
        ScalarType::I8 => (i8::MIN.into(), i8::MAX.into()),
        ScalarType::I16 => (i16::MIN.into(), i16::MAX.into()),
        ScalarType::I32 => (i32::MIN.into(), i32::MAX.into()),
        ScalarType::U8 => (0, u8::MAX.into()),
        ScalarType::U16 => (0, u16::MAX.into()),
        ScalarType::U32 => (0, u32::MAX.into()),
        ScalarType::U64 => (0, u64::MAX.into()),
        _ => (i64::MIN.into(), i64::MAX.into()),
    }
}

/// `value` wrapped into an integer type, as Rust's `as` does.
pub fn wrap_int(value: i128, ty: ScalarType) -> i128 {
    let (lo, hi) = int_range(ty);
    if (lo..=hi).contains(&value) {
        return value;
    }
    let span = hi - lo + 1;
    (value - lo).rem_euclid(span) + lo
}

/// A float converted to an integer type: truncated and saturated, NaN gives 0.
pub fn float_to_int(value: f64, ty: ScalarType) -> i128 {
    let (lo, hi) = int_range(ty);
    if value.is_nan() { 0 } else { (value as i128).clamp(lo, hi) }
}

/// Largest finite value of a float type.
pub fn float_max(ty: ScalarType) -> f64 {
    match ty {
        ScalarType::F8E4M3 => 448.0,
        ScalarType::F8E5M2 => 57344.0,
        ScalarType::F16 => 65504.0,
        ScalarType::BF16 => half::bf16::MAX.to_f64(),
        ScalarType::F32 => f32::MAX.into(),
        _ => f64::MAX,
    }
}

/// Distance from 1 to the next larger value of a float type.
pub fn float_eps(ty: ScalarType) -> f64 {
    match ty {
        ScalarType::F8E4M3 => 0.125,
        ScalarType::F8E5M2 => 0.25,
        ScalarType::F16 => half::f16::EPSILON.to_f64(),
        ScalarType::BF16 => half::bf16::EPSILON.to_f64(),
        ScalarType::F32 => f32::EPSILON.into(),
        _ => f64::EPSILON,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_floats_round_and_saturate() {
        let e4m3 = |v| to_float(v, ScalarType::F8E4M3);
        assert_eq!(e4m3(1.0), 1.0);
        assert_eq!(e4m3(1.0625), 1.0); // half way, to even
        assert_eq!(e4m3(1.07), 1.125);
        assert_eq!(e4m3(1e9), 448.0);
        assert_eq!(e4m3(f64::INFINITY), 448.0);
        assert_eq!(e4m3(f64::powi(2.0, -9)), f64::powi(2.0, -9)); // smallest subnormal
        assert_eq!(e4m3(f64::powi(2.0, -10)), 0.0); // half of it, to even
        assert_eq!(to_float(f64::INFINITY, ScalarType::F8E5M2), 57344.0);
        assert_eq!(to_float(-1e9, ScalarType::F8E5M2), -57344.0);
    }

    #[test]
    fn integers_wrap_and_floats_saturate() {
        assert_eq!(wrap_int(300, ScalarType::U8), 44);
        assert_eq!(wrap_int(-1, ScalarType::U32), i128::from(u32::MAX));
        assert_eq!(wrap_int(200, ScalarType::I8), -56);
        assert_eq!(float_to_int(1e20, ScalarType::I32), i128::from(i32::MAX));
        assert_eq!(float_to_int(f64::NAN, ScalarType::I32), 0);
        assert_eq!(float_to_int(-3.9, ScalarType::I32), -3);
    }
}
