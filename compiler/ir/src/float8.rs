//! The two 8-bit float formats of the language as the host sees them (OCP 8-bit floating point specification, formats E4M3 and E5M2).
//!
//! Narrowing rounds to nearest, ties to even, and saturates: what is too large, infinities included, becomes the largest finite number of its sign, as the
//! hardware's only conversion (`cvt.rn.satfinite`) does. NaN stays NaN. Widening to f32 is exact.

/// Bits of `value` in the format with `mantissa` mantissa bits, exponent bias `bias` and largest finite number `max` (as bits).
fn narrow(value: f32, mantissa: u32, bias: i32, max: u8, nan: u8) -> u8 {
    let sign = ((value.to_bits() >> 24) & 0x80) as u8;
    if value.is_nan() {
        return sign | nan;
    }
    let magnitude = value.abs();
    let smallest_exponent = 1 - bias;
    // The exponent of the last place kept: of a normal number its own, of a subnormal one the format's least.
    let exponent = if magnitude == 0.0 {
        smallest_exponent
    } else {
        (((magnitude.to_bits() >> 23) & 0xff) as i32 - 127).max(smallest_exponent)
    };
    // Exact: a power of two within f64's range.
    let scaled = f64::from(magnitude) * f64::from(mantissa as i32 - exponent).exp2();
    let units = scaled.round_ties_even();
    if units > f64::from(1u32 << 16) {
        return sign | max;
    }
    let units = units as u32;
    // `units` counts last places; the biased exponent adds what lies above the mantissa, and a carry out of it lands there by itself.
    let bits = units + (((exponent - smallest_exponent) as u32) << mantissa);
    sign | bits.min(u32::from(max)) as u8
}

fn widen(bits: u8, mantissa: u32, bias: i32) -> f32 {
    let magnitude = i32::from(bits & 0x7f);
    let (exponent, fraction) = (magnitude >> mantissa, magnitude & ((1 << mantissa) - 1));
    let value = if exponent == 0 {
        fraction as f32 * ((1 - bias - mantissa as i32) as f32).exp2()
    } else {
        (fraction + (1 << mantissa)) as f32 * ((exponent - bias - mantissa as i32) as f32).exp2()
    };
    if bits & 0x80 == 0 { value } else { -value }
}

/// Bits of `value` as f8e4m3: no infinities, largest number 448.
pub fn f32_to_e4m3(value: f32) -> u8 {
    narrow(value, 3, 7, 0x7e, 0x7f)
}

/// The number that f8e4m3 bits mean.
pub fn e4m3_to_f32(bits: u8) -> f32 {
    if bits & 0x7f == 0x7f { f32::NAN } else { widen(bits, 3, 7) }
}

/// Bits of `value` as f8e5m2: largest number 57344; an infinity is never made.
pub fn f32_to_e5m2(value: f32) -> u8 {
    narrow(value, 2, 15, 0x7b, 0x7f)
}

/// The number that f8e5m2 bits mean.
pub fn e5m2_to_f32(bits: u8) -> f32 {
    match bits & 0x7f {
        0x7c => f32::INFINITY.copysign(if bits & 0x80 == 0 { 1.0 } else { -1.0 }),
        0x7d.. => f32::NAN,
        _ => widen(bits, 2, 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives_the_round_trip() {
        for bits in 0..=255u8 {
            let value = e4m3_to_f32(bits);
            assert!(value.is_nan() || f32_to_e4m3(value) == bits, "e4m3 {bits:#x}");
            let value = e5m2_to_f32(bits);
            assert!(!value.is_finite() || f32_to_e5m2(value) == bits, "e5m2 {bits:#x}");
        }
    }

    #[test]
    fn narrowing_finds_the_nearest_number() {
        // Against the definition: the closest of all finite numbers, the even one of two.
        for (to, from, max) in
            [(f32_to_e4m3 as fn(f32) -> u8, e4m3_to_f32 as fn(u8) -> f32, 0x7eu8), (f32_to_e5m2, e5m2_to_f32, 0x7b)]
        {
            let mut x = 1e-6f32;
            while x < 1e5 {
                let best = (0..=max)
                    .min_by(|&a, &b| {
                        let (da, db) = ((f64::from(from(a)) - f64::from(x)).abs(), (f64::from(from(b)) - f64::from(x)).abs());
                        da.total_cmp(&db).then((a & 1).cmp(&(b & 1)))
                    })
                    .unwrap();
                assert_eq!(to(x), best, "{x}");
                assert_eq!(to(-x), best | 0x80, "{x}");
                x *= 1.0007;
            }
            for i in 0..max {
                let middle = (from(i) + from(i + 1)) / 2.0;
                assert_eq!(to(middle), if i & 1 == 0 { i } else { i + 1 }, "tie above {i:#x}");
            }
        }
    }

    #[test]
    fn special_values() {
        assert_eq!(e4m3_to_f32(0x7e), 448.0);
        assert_eq!(e5m2_to_f32(0x7b), 57344.0);
        assert_eq!(f32_to_e4m3(f32::INFINITY), 0x7e);
        assert_eq!(f32_to_e5m2(f32::NEG_INFINITY), 0xfb);
        assert!(e4m3_to_f32(f32_to_e4m3(f32::NAN)).is_nan());
        assert_eq!(e5m2_to_f32(0xfc), f32::NEG_INFINITY);
    }
}
