//! Floating-point arithmetic (PTX ISA 9.7.3, 9.7.4): f32, f64, and the 16-bit formats through f64.
//!
//! Rounding choices where the manual allows freedom:
//! - `.approx` functions (`ex2`, `lg2`, `rcp`, `rsqrt`, `sin`, `cos`, `tanh`, `div`) return the correctly rounded
//!   result or one within 1 ulp of it; hardware is within the manual's looser bounds.
//! - NaN results of f32 instructions are 0x7fffffff, as on hardware; f64 keeps the host's payload.
//! - `mad.f32` is fused, as on every sm_20 and later device.

use super::regs::{Regs, map1, map2, map3};
use super::round::{self, BF16, F16, F32, Format, decode, encode};
use crate::decode::types::*;

/// Flushes a subnormal to zero of the same sign.
#[inline(always)]
pub fn flush(x: f32) -> f32 {
    if x.abs() < f32::MIN_POSITIVE { 0f32.copysign(x) } else { x }
}

#[inline(always)]
pub fn canon(x: f32) -> f32 {
    if x.is_nan() { f32::from_bits(0x7fff_ffff) } else { x }
}

/// 2 to the power of `x`, within 1 ulp and exact for integers: a polynomial in f64, so that lanes vectorize.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    // Adding this leaves the nearest integer in the low bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    // Powers of ln 2 over factorials; the rest is below 2e-10.
    const P: [f64; 9] = [
        1.0,
        std::f64::consts::LN_2,
        0.240_226_506_959_100_7,
        0.055_504_108_664_821_58,
        0.009_618_129_107_628_477,
        0.001_333_355_814_642_844_3,
        0.000_154_035_303_933_816_1,
        0.000_015_252_733_804_059_84,
        0.000_001_321_548_679_014_431,
    ];
    let wide = f64::from(x).clamp(-1000.0, 1000.0);
    let shifted = wide + ROUND;
    let f = wide - (shifted - ROUND);
    let mut p = P[8];
    for i in (0..8).rev() {
        p = p.mul_add(f, P[i]);
    }
    let scale = f64::from_bits((shifted.to_bits() << 52).wrapping_add(1023 << 52));
    if x.is_nan() { x } else { (p * scale) as f32 }
}

/// Clamps to [0, 1]; NaN becomes 0.
#[inline(always)]
fn saturate(x: f32) -> f32 {
    if x.is_nan() { 0.0 } else { x.clamp(0.0, 1.0) }
}

/// One f32 or f64 instruction. `s` holds d, a, b, c.
pub fn float(r: &mut Regs, mask: u32, op: FloatOp, double: bool, rnd: Rnd, ftz: bool, sat: bool, s: [u32; 4]) {
    if double {
        return float64(r, mask, op, rnd, s);
    }
    general32(r, mask, op, rnd, ftz, sat, s);
}

/// IEEE maximumNumber with -0 < +0.
#[inline(always)]
pub fn fmax(x: f32, y: f32) -> f32 {
    if x.is_nan() {
        y
    } else if y.is_nan() {
        x
    } else if x == y {
        if x.is_sign_negative() { y } else { x }
    } else if x > y {
        x
    } else {
        y
    }
}

fn fmax64(x: f64, y: f64) -> f64 {
    if x.is_nan() {
        y
    } else if y.is_nan() {
        x
    } else if x == y {
        if x.is_sign_negative() { y } else { x }
    } else {
        x.max(y)
    }
}

#[inline(never)]
fn general32(r: &mut Regs, mask: u32, op: FloatOp, rnd: Rnd, ftz: bool, sat: bool, s: [u32; 4]) {
    let [d, a, b, _] = s;
    let fin = move |x: f32| if ftz { flush(x) } else { x };
    // Neg and abs only touch the sign, even of NaN.
    let fout = move |x: f32| {
        let x = canon(fin(x));
        if sat { saturate(x) } else { x }
    };
    let dir = move |x: f64| f32::from_bits(encode(x, F32, rnd));
    let one = |r: &mut Regs, f: &dyn Fn(f32) -> f32| map1(r, mask, d, a, |x: f32| fout(f(fin(x))));
    let two = |r: &mut Regs, f: &dyn Fn(f32, f32) -> f32| {
        map2(r, mask, d, a, b, |x: f32, y: f32| fout(f(fin(x), fin(y))));
    };
    let directed = matches!(rnd, Rnd::Rz | Rnd::Rm | Rnd::Rp);
    match op {
        FloatOp::Add if directed => two(r, &|x, y| sign_of_zero(x, y, rnd, dir(round::add_odd(x.into(), y.into())))),
        FloatOp::Sub if directed => {
            two(r, &|x, y| sign_of_zero(x, -y, rnd, dir(round::add_odd(x.into(), -f64::from(y)))));
        }
        FloatOp::Mul if directed => two(r, &|x, y| dir(f64::from(x) * f64::from(y))),
        FloatOp::Fma if directed => map3(r, mask, s, |x: f32, y: f32, z: f32| {
            let (x, y, z) = (fin(x), fin(y), fin(z));
            let p = f64::from(x) * f64::from(y);
            let v = round::add_odd(p, z.into());
            // Only an exact zero takes its sign from the mode.
            fout(if v == 0.0 { sign_of_zero(p as f32, z, rnd, v as f32) } else { dir(v) })
        }),
        FloatOp::Div if directed => two(r, &|x, y| dir(round::div_odd(x.into(), y.into()))),
        FloatOp::Rcp if directed => one(r, &|x| dir(round::div_odd(1.0, x.into()))),
        FloatOp::Sqrt if directed => one(r, &|x| dir(round::sqrt_odd(x.into()))),
        FloatOp::Add => two(r, &|x, y| x + y),
        FloatOp::Sub => two(r, &|x, y| x - y),
        FloatOp::Mul => two(r, &|x, y| x * y),
        FloatOp::Fma => {
            map3(r, mask, s, |x: f32, y: f32, z: f32| fout(fin(x).mul_add(fin(y), fin(z))));
        }
        FloatOp::Div => two(r, &|x, y| x / y),
        FloatOp::Rcp => one(r, &|x| 1.0 / x),
        FloatOp::Sqrt => one(r, &f32::sqrt),
        FloatOp::Rsqrt => one(r, &|x| (1.0 / f64::from(x).sqrt()) as f32),
        FloatOp::Ex2 => one(r, &exp2),
        FloatOp::Lg2 => one(r, &|x| f64::from(x).log2() as f32),
        FloatOp::Sin => one(r, &|x| f64::from(x).sin() as f32),
        FloatOp::Cos => one(r, &|x| f64::from(x).cos() as f32),
        FloatOp::Tanh => one(r, &|x| f64::from(x).tanh() as f32),
        FloatOp::Min { nan, xorsign_abs } => two(r, &|x, y| minmax(x, y, true, nan, xorsign_abs)),
        FloatOp::Max { nan, xorsign_abs } => two(r, &|x, y| minmax(x, y, false, nan, xorsign_abs)),
        FloatOp::Abs => map1(r, mask, d, a, |x: f32| fin(x.abs())),
        FloatOp::Neg => map1(r, mask, d, a, |x: f32| fin(-x)),
        FloatOp::Copysign => map2(r, mask, d, a, b, |sign: f32, x: f32| x.copysign(sign)),
        FloatOp::RcpHigh | FloatOp::RsqrtHigh => {}
    }
}

/// An exact zero sum of operands with opposite signs is -0 when rounding down, else +0.
fn sign_of_zero(x: f32, y: f32, rnd: Rnd, sum: f32) -> f32 {
    if sum == 0.0 && x.is_sign_negative() != y.is_sign_negative() { if rnd == Rnd::Rm { -0.0 } else { 0.0 } } else { sum }
}

fn minmax(x: f32, y: f32, min: bool, nan: bool, xorsign_abs: bool) -> f32 {
    if nan && (x.is_nan() || y.is_nan()) {
        return f32::NAN;
    }
    let negative = x.is_sign_negative() != y.is_sign_negative();
    let (a, b) = if xorsign_abs { (x.abs(), y.abs()) } else { (x, y) };
    let v = if min { -fmax(-a, -b) } else { fmax(a, b) };
    if xorsign_abs { v.copysign(if negative { -1.0 } else { 1.0 }) } else { v }
}

#[inline(never)]
fn float64(r: &mut Regs, mask: u32, op: FloatOp, rnd: Rnd, s: [u32; 4]) {
    let [d, a, b, _] = s;
    let directed = matches!(rnd, Rnd::Rz | Rnd::Rm | Rnd::Rp);
    let add = move |x: f64, y: f64| {
        let v = x + y;
        if !directed {
            return v;
        }
        if v == 0.0 && x != 0.0 {
            return if rnd == Rnd::Rm { -0.0 } else { 0.0 };
        }
        let bb = v - x;
        round::direct(v, (x - (v - bb)) + (y - bb), rnd)
    };
    match op {
        FloatOp::Add => map2(r, mask, d, a, b, add),
        FloatOp::Sub => map2(r, mask, d, a, b, move |x: f64, y: f64| add(x, -y)),
        FloatOp::Mul => map2(r, mask, d, a, b, move |x: f64, y: f64| {
            let v = x * y;
            if directed { round::direct(v, x.mul_add(y, -v), rnd) } else { v }
        }),
        FloatOp::Fma => map3(r, mask, s, move |x: f64, y: f64, z: f64| {
            let v = x.mul_add(y, z);
            if !directed {
                return v;
            }
            // Error of the fused result: x*y - v + z, with x*y as a pair.
            let p = x * y;
            let low = x.mul_add(y, -p);
            let t = p + z;
            let bb = t - p;
            let rest = (p - (t - bb)) + (z - bb);
            round::direct(v, (t - v) + (rest + low), rnd)
        }),
        FloatOp::Div => map2(r, mask, d, a, b, move |x: f64, y: f64| {
            let q = x / y;
            let e = (-q).mul_add(y, x);
            if directed { round::direct(q, if y < 0.0 { -e } else { e }, rnd) } else { q }
        }),
        FloatOp::Rcp => map1(r, mask, d, a, move |x: f64| {
            let q = 1.0 / x;
            let e = (-q).mul_add(x, 1.0);
            if directed { round::direct(q, if x < 0.0 { -e } else { e }, rnd) } else { q }
        }),
        FloatOp::Sqrt => map1(r, mask, d, a, move |x: f64| {
            let q = x.sqrt();
            if directed { round::direct(q, (-q).mul_add(q, x), rnd) } else { q }
        }),
        FloatOp::Rsqrt => map1(r, mask, d, a, |x: f64| 1.0 / x.sqrt()),
        // Only the upper half of source and result counts.
        FloatOp::RcpHigh => map1(r, mask, d, a, |x: f64| high(1.0 / high(flush64(x)))),
        FloatOp::RsqrtHigh => map1(r, mask, d, a, |x: f64| high(1.0 / high(flush64(x)).sqrt())),
        FloatOp::Abs => map1(r, mask, d, a, f64::abs),
        FloatOp::Neg => map1(r, mask, d, a, |x: f64| -x),
        FloatOp::Min { .. } => map2(r, mask, d, a, b, |x: f64, y: f64| -fmax64(-x, -y)),
        FloatOp::Max { .. } => map2(r, mask, d, a, b, fmax64),
        FloatOp::Copysign => map2(r, mask, d, a, b, |sign: f64, x: f64| x.copysign(sign)),
        FloatOp::Ex2 | FloatOp::Lg2 | FloatOp::Sin | FloatOp::Cos | FloatOp::Tanh => {}
    }
}

fn high(x: f64) -> f64 {
    f64::from_bits(x.to_bits() & 0xffff_ffff_0000_0000)
}

fn flush64(x: f64) -> f64 {
    if x.abs() < f64::MIN_POSITIVE { 0f64.copysign(x) } else { x }
}

/// Flags of a 16-bit instruction.
#[derive(Clone, Copy)]
pub struct HalfFlags {
    pub ftz: bool,
    pub sat: bool,
    pub relu: bool,
}

/// One f16 or bf16 instruction, packed or not. `s` holds d, a, b, c.
#[inline(never)]
pub fn half(r: &mut Regs, mask: u32, op: HalfOp, bf: bool, packed: bool, flags: HalfFlags, s: [u32; 4]) {
    let format = if bf { BF16 } else { F16 };
    let one = |x: u32, y: u32, z: u32| half_one(op, format, flags, x & 0xffff, y & 0xffff, z & 0xffff);
    if packed {
        map3(r, mask, s, |x: u32, y: u32, z: u32| one(x, y, z) | one(x >> 16, y >> 16, z >> 16) << 16);
    } else {
        map3(r, mask, s, one);
    }
}

fn half_one(op: HalfOp, format: Format, flags: HalfFlags, x: u32, y: u32, z: u32) -> u32 {
    match op {
        HalfOp::Abs => return x & 0x7fff,
        HalfOp::Neg => return x ^ 0x8000,
        _ => {}
    }
    let tiny = 1u32 << format.man;
    let input = |v: u32| {
        let v = if flags.ftz && v & 0x7fff < tiny { v & 0x8000 } else { v };
        decode(v, format)
    };
    let (a, b, c) = (input(x), input(y), input(z));
    let value = match op {
        HalfOp::Add => a + b,
        HalfOp::Sub => a - b,
        HalfOp::Mul => a * b,
        HalfOp::Fma => round::add_odd(a * b, c),
        HalfOp::Ex2 => a.exp2(),
        HalfOp::Tanh => a.tanh(),
        HalfOp::Min { nan, xorsign_abs } => minmax(a as f32, b as f32, true, nan, xorsign_abs).into(),
        HalfOp::Max { nan, xorsign_abs } => minmax(a as f32, b as f32, false, nan, xorsign_abs).into(),
        HalfOp::Abs | HalfOp::Neg => a,
    };
    let value = if flags.sat {
        if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
    } else if flags.relu && value <= 0.0 {
        0.0
    } else {
        value
    };
    // Sums of two values of the format need at most 2 * 16 + 11 bits of f16's range: exact in f64.
    let out = encode(value, format, Rnd::Rn);
    if flags.ftz && out & 0x7fff < tiny { out & 0x8000 } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_are_within_an_ulp() {
        for i in 0..2_000_000u32 {
            let x = f32::from_bits(i.wrapping_mul(2_147_001_325));
            let (got, want) = (exp2(x), f64::from(x).exp2());
            if want.is_nan() {
                assert!(got.is_nan());
            } else if want as f32 != got {
                assert!((want as f32).next_up() == got || (want as f32).next_down() == got, "2^{x}: {got} is not {want}");
            }
        }
        for n in -149..128 {
            assert_eq!(f64::from(exp2(n as f32)), 2f64.powi(n));
        }
    }
}
