//! `cvt`, comparisons, selection (PTX ISA 9.7.7, 9.7.9.21).

use super::float::flush;
use super::regs::{LANES, Lane, Regs, bits};
use super::round::{self, BF16, E4M3, E5M2, F16, F32, Format, TF32, encode};
use crate::decode::inst::{Cvt, R, Setp};
use crate::decode::types::*;

fn float_format(n: Num) -> Option<Format> {
    Some(match n {
        Num::F16 | Num::F16x2 => F16,
        Num::Bf16 | Num::Bf16x2 => BF16,
        Num::Tf32 => TF32,
        Num::F32 => F32,
        Num::E4m3x2 => E4M3,
        Num::E5m2x2 => E5M2,
        _ => return None,
    })
}

/// Width and signedness of an integer type.
fn int_format(n: Num) -> Option<(u32, bool)> {
    Some(match n {
        Num::U8 => (8, false),
        Num::S8 => (8, true),
        Num::U16 => (16, false),
        Num::S16 => (16, true),
        Num::U32 => (32, false),
        Num::S32 => (32, true),
        Num::U64 => (64, false),
        Num::S64 => (64, true),
        _ => return None,
    })
}

/// `cvt`: any pair of types, through i128 or f64.
#[inline(never)]
pub fn cvt(r: &mut Regs, mask: u32, c: &Cvt) {
    let a = r.get(c.a);
    let b = c.b.map(|b| r.get(b));
    let mut out = [0u64; LANES];
    for l in 0..LANES {
        if mask >> l & 1 != 0 {
            out[l] = match &b {
                // Two f32 to a pair: the first source is the high half.
                Some(b) => {
                    let bits = if matches!(c.to, Num::E4m3x2 | Num::E5m2x2) { 8 } else { 16 };
                    u64::from(to_small(from_f32(a[l], c.ftz), c)) << bits | u64::from(to_small(from_f32(b[l], c.ftz), c))
                }
                None => one(a[l], c),
            };
        }
    }
    r.set(c.d, mask, &out);
}

fn from_f32(bits: u64, ftz: bool) -> f64 {
    let x = f32::from_bits(bits as u32);
    f64::from(if ftz { flush(x) } else { x })
}

/// To a format of at most 32 bits, with `.relu` and `.satfinite`.
fn to_small(x: f64, c: &Cvt) -> u32 {
    let Some(format) = float_format(c.to) else { return 0 };
    let x = if c.relu && !(x > 0.0) && !x.is_nan() { 0.0 } else { x };
    let bits = encode(x, format, c.rnd);
    let sign = 1u32 << (format.exp + format.man);
    if c.satfinite && !x.is_nan() && bits & (sign - 1) > format.max { bits & sign | format.max } else { bits }
}

fn one(bits: u64, c: &Cvt) -> u64 {
    // Pairs of f16 narrow to pairs of 8-bit floats.
    if c.from == Num::F16x2 && matches!(c.to, Num::E4m3x2 | Num::E5m2x2) {
        let narrow = |half: u64| u64::from(to_small(round::decode(half as u32 & 0xffff, F16), c));
        return narrow(bits) | narrow(bits >> 16) << 8;
    }
    // Pairs of 8-bit floats widen to f16x2.
    if let Num::E4m3x2 | Num::E5m2x2 = c.from {
        let format = if c.from == Num::E4m3x2 { E4M3 } else { E5M2 };
        let widen = |byte: u64| u64::from(to_small(round::decode(byte as u32 & 0xff, format), c));
        return widen(bits) | widen(bits >> 8) << 16;
    }
    if let Some((from_bits, from_signed)) = int_format(c.from) {
        let shift = 128 - from_bits;
        let raw = u128::from(bits) << shift;
        let value = if from_signed { raw as i128 >> shift } else { (raw >> shift) as i128 };
        if let Some((width, signed)) = int_format(c.to) {
            let value = if c.sat { clamp(value, width, signed) } else { value };
            return extend(value, width, signed, c.d_bits);
        }
        // Integer to float: i64 and u64 need more than f64's 53 bits, so round to odd on the way.
        let nearest = value as f64;
        let error = value - nearest as i128;
        let x = if c.to == Num::F64 {
            round::direct(nearest, error as f64, c.rnd)
        } else if error != 0 && nearest.to_bits() & 1 == 0 {
            let away = (error > 0) == (nearest > 0.0);
            f64::from_bits(if away { nearest.to_bits() + 1 } else { nearest.to_bits() - 1 })
        } else {
            nearest
        };
        return finish_float(x, c);
    }
    let x = match c.from {
        Num::F64 => f64::from_bits(bits),
        Num::F32 => from_f32(bits, c.ftz),
        Num::F16 => round::decode(bits as u32 & 0xffff, F16),
        _ => round::decode(bits as u32 & 0xffff, BF16),
    };
    if let Some((width, signed)) = int_format(c.to) {
        let whole = integral(x, c.rnd);
        // NaN becomes 0 for types up to 32 bits; hardware gives the sign bit alone for 64-bit types.
        let value = if x.is_nan() {
            if width == 64 { if signed { i128::from(i64::MIN) } else { 1i128 << 63 } } else { 0 }
        } else {
            clamp(whole as i128, width, signed)
        };
        return extend(value, width, signed, c.d_bits);
    }
    let x = if c.integral { integral(x, c.rnd) } else { x };
    finish_float(x, c)
}

fn finish_float(x: f64, c: &Cvt) -> u64 {
    let x = if c.sat { if x.is_nan() { 0.0 } else { x.clamp(0.0, 1.0) } } else { x };
    if c.to == Num::F64 {
        return x.to_bits();
    }
    let bits = to_small(x, c);
    match c.to {
        // tf32 lives in the upper bits of a 32-bit register.
        Num::Tf32 => u64::from(bits) << 13,
        Num::F32 if c.ftz => u64::from(flush(f32::from_bits(bits)).to_bits()),
        _ => u64::from(bits),
    }
}

fn integral(x: f64, rnd: Rnd) -> f64 {
    match rnd {
        Rnd::Rz => x.trunc(),
        Rnd::Rm => x.floor(),
        Rnd::Rp => x.ceil(),
        _ => x.round_ties_even(),
    }
}

fn clamp(value: i128, width: u32, signed: bool) -> i128 {
    if signed { value.clamp(-(1i128 << (width - 1)), (1i128 << (width - 1)) - 1) } else { value.clamp(0, (1i128 << width) - 1) }
}

/// Truncates to `width` bits, then extends to the destination register by the type's sign.
fn extend(value: i128, width: u32, signed: bool, d_bits: u32) -> u64 {
    let shift = 128 - width;
    let value = if signed { value << shift >> shift } else { ((value as u128) << shift >> shift) as i128 };
    if d_bits >= 64 { value as u64 } else { value as u64 & ((1 << d_bits) - 1) }
}

#[inline(always)]
fn compare<T: Lane + PartialOrd>(r: &Regs, a: R, b: R, cmp: Cmp, f: impl Fn(T) -> T) -> u32 {
    let (x, y) = (T::load(r, a.index()), T::load(r, b.index()));
    let run = |test: fn(&T, &T) -> bool| bits(|l| test(&f(x[l]), &f(y[l])));
    match cmp {
        Cmp::Eq => run(|x, y| x == y),
        Cmp::Ne => run(|x, y| x < y || x > y),
        Cmp::Lt => run(|x, y| x < y),
        Cmp::Le => run(|x, y| x <= y),
        Cmp::Gt => run(|x, y| x > y),
        Cmp::Ge => run(|x, y| x >= y),
        Cmp::Equ => run(|x, y| !(x < y || x > y)),
        Cmp::Neu => run(|x, y| x != y),
        Cmp::Ltu => run(|x, y| !(x >= y)),
        Cmp::Leu => run(|x, y| !(x > y)),
        Cmp::Gtu => run(|x, y| !(x <= y)),
        Cmp::Geu => run(|x, y| !(x < y)),
        Cmp::Num => run(|x, y| x.partial_cmp(y).is_some()),
        Cmp::Nan => run(|x, y| x.partial_cmp(y).is_none()),
    }
}

/// Comparison results of the low (or only) and high halves.
#[inline(always)]
fn results(r: &Regs, s: &Setp) -> (u32, u32) {
    let halves = |bf: bool, shift: u32| -> u32 {
        let (x, y) = (r.w32(s.a.index()), r.w32(s.b.index()));
        let format = if bf { BF16 } else { F16 };
        let value = |v: u32| round::decode(v >> shift & 0xffff, format);
        let mut hits = 0;
        for l in 0..LANES {
            hits |= u32::from(holds(s.cmp, value(x[l]), value(y[l]))) << l;
        }
        hits
    };
    match s.ty {
        CmpTy::Int(IntTy::U32) => (compare::<u32>(r, s.a, s.b, s.cmp, |x| x), 0),
        CmpTy::Int(IntTy::S32) => (compare::<i32>(r, s.a, s.b, s.cmp, |x| x), 0),
        CmpTy::Int(IntTy::U64) => (compare::<u64>(r, s.a, s.b, s.cmp, |x| x), 0),
        CmpTy::Int(IntTy::S64) => (compare::<i64>(r, s.a, s.b, s.cmp, |x| x), 0),
        CmpTy::Int(IntTy::U16) => (compare::<u16>(r, s.a, s.b, s.cmp, |x| x), 0),
        CmpTy::Int(IntTy::S16) => (compare::<i16>(r, s.a, s.b, s.cmp, |x| x), 0),
        CmpTy::F32 if s.ftz => (compare::<f32>(r, s.a, s.b, s.cmp, flush), 0),
        CmpTy::F32 => (compare::<f32>(r, s.a, s.b, s.cmp, |x| x), 0),
        CmpTy::F64 => (compare::<f64>(r, s.a, s.b, s.cmp, |x| x), 0),
        CmpTy::F16 => (halves(false, 0), 0),
        CmpTy::Bf16 => (halves(true, 0), 0),
        CmpTy::F16x2 => (halves(false, 0), halves(false, 16)),
        CmpTy::Bf16x2 => (halves(true, 0), halves(true, 16)),
    }
}

fn holds(cmp: Cmp, x: f64, y: f64) -> bool {
    match cmp {
        Cmp::Eq => x == y,
        Cmp::Ne => x < y || x > y,
        Cmp::Lt => x < y,
        Cmp::Le => x <= y,
        Cmp::Gt => x > y,
        Cmp::Ge => x >= y,
        Cmp::Equ => x == y || x.is_nan() || y.is_nan(),
        Cmp::Neu => x != y,
        Cmp::Ltu => x < y || x.is_nan() || y.is_nan(),
        Cmp::Leu => x <= y || x.is_nan() || y.is_nan(),
        Cmp::Gtu => x > y || x.is_nan() || y.is_nan(),
        Cmp::Geu => x >= y || x.is_nan() || y.is_nan(),
        Cmp::Num => !x.is_nan() && !y.is_nan(),
        Cmp::Nan => x.is_nan() || y.is_nan(),
    }
}

fn combine(r: &Regs, with: Option<(PredOp, u32, bool)>, hits: u32) -> u32 {
    match with {
        None => hits,
        Some((op, p, negate)) => {
            let p = if negate { !r.p(p) } else { r.p(p) };
            match op {
                PredOp::And => hits & p,
                PredOp::Or => hits | p,
                _ => hits ^ p,
            }
        }
    }
}

/// `setp`.
#[inline(never)]
pub fn setp(r: &mut Regs, mask: u32, s: &Setp) {
    let (low, high) = results(r, s);
    // Packed comparisons put the halves in the two destinations; others the complement in the second.
    let second = if matches!(s.ty, CmpTy::F16x2 | CmpTy::Bf16x2) { high } else { !low };
    let (p, q) = (combine(r, s.with, low), combine(r, s.with, second));
    if let Some(d) = s.d {
        r.set_p(d, mask, p);
    }
    if let Some(d) = s.q {
        r.set_p(d, mask, q);
    }
}

/// `set`: all ones or 1.0.
#[inline(never)]
pub fn set(r: &mut Regs, mask: u32, s: &Setp, d: R, float: bool, half: Option<bool>) {
    let (low, high) = results(r, s);
    let packed = matches!(s.ty, CmpTy::F16x2 | CmpTy::Bf16x2);
    let low = combine(r, s.with, low);
    let one: u64 = match (float, half) {
        (true, Some(true)) => 0x3f80,
        (true, Some(false)) => 0x3c00,
        (true, None) => u64::from(1f32.to_bits()),
        (false, _) if packed => 0xffff,
        (false, _) => 0xffff_ffff,
    };
    let out = std::array::from_fn(|l| {
        let a = if low >> l & 1 != 0 { one } else { 0 };
        let b = if packed && high >> l & 1 != 0 { one << 16 } else { 0 };
        a | b
    });
    r.set(d, mask, &out);
}

/// `slct`: a where c >= 0.
pub fn slct(r: &mut Regs, mask: u32, wide: bool, float: bool, s: [u32; 4]) {
    let c = *r.w32(s[3]);
    let pick: [bool; LANES] = c.map(|c| if float { f32::from_bits(c) >= 0.0 } else { c as i32 >= 0 });
    let bits = pick.iter().enumerate().fold(0, |m, (l, &b)| m | u32::from(b) << l);
    select(r, mask, wide, s, bits);
}

/// `d = bit ? a : b` lane by lane.
pub fn select(r: &mut Regs, mask: u32, wide: bool, s: [u32; 4], bits: u32) {
    if wide {
        let (a, b) = (*r.w64(s[1]), *r.w64(s[2]));
        let mut out = [0; LANES];
        for l in 0..LANES {
            out[l] = if bits >> l & 1 != 0 { a[l] } else { b[l] };
        }
        r.set64(s[0], mask, &out);
    } else {
        let (a, b) = (*r.w32(s[1]), *r.w32(s[2]));
        let mut out = [0; LANES];
        for l in 0..LANES {
            out[l] = if bits >> l & 1 != 0 { a[l] } else { b[l] };
        }
        r.set32(s[0], mask, &out);
    }
}

/// `testp`.
pub fn testp(r: &mut Regs, mask: u32, test: TestOp, double: bool, d: u32, a: u32) {
    let class = |x: std::num::FpCategory| {
        use std::num::FpCategory as C;
        match test {
            TestOp::Finite => !matches!(x, C::Nan | C::Infinite),
            TestOp::Infinite => x == C::Infinite,
            TestOp::Number => x != C::Nan,
            TestOp::NotANumber => x == C::Nan,
            // The manual counts zero as normal.
            TestOp::Normal => matches!(x, C::Normal | C::Zero),
            TestOp::Subnormal => x == C::Subnormal,
        }
    };
    let mut hits = 0;
    for l in 0..LANES {
        let c = if double { f64::from_bits(r.w64(a)[l]).classify() } else { f32::from_bits(r.w32(a)[l]).classify() };
        hits |= u32::from(class(c)) << l;
    }
    r.set_p(d, mask, hits);
}
