//! Integer arithmetic, logic, shifts and bit fields (PTX ISA 9.7.1, 9.7.8).

use super::regs::{LANES, Lane, Regs, map1, map2, map3};
use crate::decode::types::*;

/// What integer instructions need of a lane type.
trait IntLane: Lane + Ord {
    const BITS: u32;
    fn wadd(self, o: Self) -> Self;
    fn wsub(self, o: Self) -> Self;
    fn wmul(self, o: Self) -> Self;
    fn hi(self, o: Self) -> Self;
    /// Division by zero yields all ones, as the hardware does; the manual leaves it unspecified.
    fn quotient(self, o: Self) -> Self;
    /// Remainder by zero yields the dividend.
    fn remainder(self, o: Self) -> Self;
    fn bits(self) -> u64;
    fn of(bits: u64) -> Self;
    fn abs_diff_(self, o: Self) -> Self;
}

macro_rules! int_lane {
    ($t:ty, $wide:ty, $unsigned:ty) => {
        impl IntLane for $t {
            const BITS: u32 = <$t>::BITS;
            #[inline(always)]
            fn wadd(self, o: Self) -> Self {
                self.wrapping_add(o)
            }
            #[inline(always)]
            fn wsub(self, o: Self) -> Self {
                self.wrapping_sub(o)
            }
            #[inline(always)]
            fn wmul(self, o: Self) -> Self {
                self.wrapping_mul(o)
            }
            #[inline(always)]
            fn hi(self, o: Self) -> Self {
                ((self as $wide).wrapping_mul(o as $wide) >> <$t>::BITS) as $t
            }
            #[inline(always)]
            fn quotient(self, o: Self) -> Self {
                if o == 0 { <$t>::of(u64::MAX) } else { self.wrapping_div(o) }
            }
            #[inline(always)]
            fn remainder(self, o: Self) -> Self {
                if o == 0 { self } else { self.wrapping_rem(o) }
            }
            #[inline(always)]
            fn bits(self) -> u64 {
                u64::from(self as $unsigned)
            }
            #[inline(always)]
            fn of(bits: u64) -> Self {
                bits as $t
            }
            #[inline(always)]
            fn abs_diff_(self, o: Self) -> Self {
                self.abs_diff(o) as $t
            }
        }
    };
}
int_lane!(u16, u32, u16);
int_lane!(i16, i32, u16);
int_lane!(u32, u64, u32);
int_lane!(i32, i64, u32);
int_lane!(u64, u128, u64);
int_lane!(i64, i128, u64);

/// One integer instruction. `s` holds d, a, b, c.
pub fn int(r: &mut Regs, mask: u32, op: IntOp, ty: IntTy, s: [u32; 4]) {
    match ty {
        IntTy::U32 => typed::<u32>(r, mask, op, s),
        IntTy::S32 => typed::<i32>(r, mask, op, s),
        IntTy::U64 => typed::<u64>(r, mask, op, s),
        IntTy::S64 => typed::<i64>(r, mask, op, s),
        IntTy::U16 => typed::<u16>(r, mask, op, s),
        IntTy::S16 => typed::<i16>(r, mask, op, s),
    }
}

#[inline(never)]
fn typed<T: IntLane>(r: &mut Regs, mask: u32, op: IntOp, s: [u32; 4]) {
    let [d, a, b, _] = s;
    let bits = |f: fn(u64, u64) -> u64| move |x: T, y: T| T::of(f(x.bits(), y.bits()));
    match op {
        IntOp::Add => map2(r, mask, d, a, b, T::wadd),
        IntOp::Sub => map2(r, mask, d, a, b, T::wsub),
        IntOp::Mul => map2(r, mask, d, a, b, T::wmul),
        IntOp::Mad => map3(r, mask, s, |x: T, y: T, z: T| x.wmul(y).wadd(z)),
        IntOp::And => map2(r, mask, d, a, b, bits(|x, y| x & y)),
        IntOp::Or => map2(r, mask, d, a, b, bits(|x, y| x | y)),
        IntOp::Xor => map2(r, mask, d, a, b, bits(|x, y| x ^ y)),
        IntOp::Not => map1(r, mask, d, a, |x: T| T::of(!x.bits())),
        IntOp::Cnot => map1(r, mask, d, a, |x: T| T::of(u64::from(x.bits() == 0))),
        IntOp::MulHi => map2(r, mask, d, a, b, T::hi),
        IntOp::MadHi => map3(r, mask, s, |x: T, y: T, z: T| x.hi(y).wadd(z)),
        IntOp::Div => map2(r, mask, d, a, b, T::quotient),
        IntOp::Rem => map2(r, mask, d, a, b, T::remainder),
        IntOp::Min => map2(r, mask, d, a, b, |x: T, y: T| x.min(y)),
        IntOp::Max => map2(r, mask, d, a, b, |x: T, y: T| x.max(y)),
        IntOp::Abs => map1(r, mask, d, a, |x: T| if x < T::default() { T::default().wsub(x) } else { x }),
        IntOp::Neg => map1(r, mask, d, a, |x: T| T::default().wsub(x)),
        IntOp::Brev => map1(r, mask, d, a, |x: T| T::of(x.bits().reverse_bits() >> (64 - T::BITS))),
        IntOp::Sad => map3(r, mask, s, |x: T, y: T, z: T| z.wadd(x.abs_diff_(y))),
        IntOp::Lop3(lut) => map3(r, mask, s, |x: u32, y: u32, z: u32| lop3(lut, x, y, z)),
        _ => rare(r, mask, op, s, T::of(u64::MAX) < T::default()),
    }
}

/// `lop3` by its truth table.
#[inline(always)]
pub fn lop3(lut: u8, x: u32, y: u32, z: u32) -> u32 {
    match lut {
        0x80 => x & y & z,
        0xfe => x | y | z,
        0x96 => x ^ y ^ z,
        0xf8 => x | y & z,
        0xea => x & y | z,
        0xc8 => (x | z) & y,
        0x6a => x & y ^ z,
        0x78 => x ^ y & z,
        _ => {
            let mut out = 0;
            for i in 0..8 {
                if lut >> i & 1 != 0 {
                    let pick = |on: bool, v: u32| if on { v } else { !v };
                    out |= pick(i & 4 != 0, x) & pick(i & 2 != 0, y) & pick(i & 1 != 0, z);
                }
            }
            out
        }
    }
}

/// 32-bit operations that are seldom executed.
#[inline(never)]
fn rare(r: &mut Regs, mask: u32, op: IntOp, s: [u32; 4], signed: bool) {
    let [d, a, b, _] = s;
    let sx24 = move |x: u32| if signed { ((x << 8) as i32 >> 8) as i64 } else { i64::from(x & 0xff_ffff) };
    match op {
        IntOp::AddSat => map2(r, mask, d, a, b, i32::saturating_add),
        IntOp::SubSat => map2(r, mask, d, a, b, i32::saturating_sub),
        IntOp::MinRelu => map2(r, mask, d, a, b, |x: i32, y: i32| x.min(y).max(0)),
        IntOp::MaxRelu => map2(r, mask, d, a, b, |x: i32, y: i32| x.max(y).max(0)),
        IntOp::MadHiSat => {
            map3(r, mask, s, |x: i32, y: i32, z: i32| ((i64::from(x) * i64::from(y) >> 32) as i32).saturating_add(z))
        }
        IntOp::ShfL { wrap } => map3(r, mask, s, move |x: u32, y: u32, n: u32| {
            let n = if wrap { n & 31 } else { n.min(32) };
            (((u64::from(y) << 32 | u64::from(x)) << n) >> 32) as u32
        }),
        IntOp::ShfR { wrap } => map3(r, mask, s, move |x: u32, y: u32, n: u32| {
            let n = if wrap { n & 31 } else { n.min(32) };
            ((u64::from(y) << 32 | u64::from(x)) >> n) as u32
        }),
        IntOp::Prmt(mode) => map3(r, mask, s, move |x: u32, y: u32, c: u32| prmt(mode, x, y, c)),
        IntOp::Dp4a { a_signed, b_signed } => map3(r, mask, s, move |x: u32, y: u32, z: u32| {
            let mut sum = z;
            for i in 0..4 {
                let ext = |v: u32, s: bool| {
                    let byte = (v >> (8 * i)) as u8;
                    if s { i32::from(byte as i8) } else { i32::from(byte) }
                };
                sum = sum.wrapping_add(ext(x, a_signed).wrapping_mul(ext(y, b_signed)) as u32);
            }
            sum
        }),
        IntOp::Dp2a { a_signed, b_signed, hi } => map3(r, mask, s, move |x: u32, y: u32, z: u32| {
            let mut sum = z;
            for i in 0..2 {
                let half = (x >> (16 * i)) as u16;
                let byte = (y >> (8 * i + if hi { 16 } else { 0 })) as u8;
                let p = if a_signed { i32::from(half as i16) } else { i32::from(half) };
                let q = if b_signed { i32::from(byte as i8) } else { i32::from(byte) };
                sum = sum.wrapping_add(p.wrapping_mul(q) as u32);
            }
            sum
        }),
        IntOp::Mul24 { hi } => {
            map2(r, mask, d, a, b, move |x: u32, y: u32| (sx24(x).wrapping_mul(sx24(y)) >> if hi { 16 } else { 0 }) as u32)
        }
        IntOp::Mad24 { hi } => map3(r, mask, s, move |x: u32, y: u32, z: u32| {
            ((sx24(x).wrapping_mul(sx24(y)) >> if hi { 16 } else { 0 }) as u32).wrapping_add(z)
        }),
        IntOp::Bmsk { wrap } => map2(r, mask, d, a, b, move |x: u32, y: u32| {
            let (x, y) = if wrap { (x & 31, y & 31) } else { (x.min(32), y.min(32)) };
            ((((1u64 << y) - 1) << x) & 0xffff_ffff) as u32
        }),
        IntOp::Szext { wrap } => map2(r, mask, d, a, b, move |x: u32, n: u32| {
            let n = if wrap { n & 31 } else { n.min(32) };
            match (n, signed) {
                (0, _) => 0,
                (32.., _) => x,
                (n, true) => ((x << (32 - n)) as i32 >> (32 - n)) as u32,
                (n, false) => x & ((1 << n) - 1),
            }
        }),
        IntOp::Fns => map3(r, mask, s, |bits: u32, base: u32, offset: u32| fns(bits, base, offset as i32)),
        _ => {}
    }
}

/// Finds the n-th set bit from `base` (PTX ISA 9.7.1.19).
fn fns(bits: u32, base: u32, offset: i32) -> u32 {
    let base = base as i32;
    if offset == 0 {
        return if bits >> base & 1 != 0 { base as u32 } else { u32::MAX };
    }
    let (mut pos, step, mut left) = (base, offset.signum(), offset.abs());
    while (0..32).contains(&pos) {
        if bits >> pos & 1 != 0 {
            left -= 1;
            if left == 0 {
                return pos as u32;
            }
        }
        pos += step;
    }
    u32::MAX
}

fn prmt(mode: PrmtMode, a: u32, b: u32, c: u32) -> u32 {
    let bytes = (u64::from(b) << 32 | u64::from(a)).to_le_bytes();
    let i = (c & 3) as usize;
    let select: [usize; 4] = match mode {
        PrmtMode::Index => {
            let mut out = [0u8; 4];
            for (k, o) in out.iter_mut().enumerate() {
                let sel = c >> (4 * k) & 0xf;
                let byte = bytes[(sel & 7) as usize];
                *o = if sel & 8 != 0 { ((byte as i8) >> 7) as u8 } else { byte };
            }
            return u32::from_le_bytes(out);
        }
        PrmtMode::F4e => [i, i + 1, i + 2, i + 3],
        PrmtMode::B4e => [i, (i + 7) % 8, (i + 6) % 8, (i + 5) % 8],
        PrmtMode::Rc8 => [i; 4],
        PrmtMode::Ecl => [i, i.max(1), i.max(2), 3],
        PrmtMode::Ecr => [0, i.min(1), i.min(2), i],
        PrmtMode::Rc16 => {
            let k = 2 * (i & 1);
            [k, k + 1, k, k + 1]
        }
    };
    u32::from_le_bytes(select.map(|k| bytes[k]))
}

/// `shl` and `shr`: amounts beyond the width clamp.
#[inline(never)]
pub fn shift(r: &mut Regs, mask: u32, left: bool, ty: IntTy, d: u32, a: u32, b: u32) {
    match (left, ty) {
        (true, IntTy::U32 | IntTy::S32) => {
            map2(r, mask, d, a, b, |x: u32, n: u32| if n < 32 { x << (n & 31) } else { 0 });
        }
        (false, IntTy::U32) => map2(r, mask, d, a, b, |x: u32, n: u32| if n < 32 { x >> (n & 31) } else { 0 }),
        (false, IntTy::S32) => map2(r, mask, d, a, b, |x: i32, n: u32| x >> n.min(31)),
        (true, IntTy::U64 | IntTy::S64) => {
            map2(r, mask, d, a, b, |x: u64, n: u32| if n < 64 { x << (n & 63) } else { 0 });
        }
        (false, IntTy::U64) => map2(r, mask, d, a, b, |x: u64, n: u32| if n < 64 { x >> (n & 63) } else { 0 }),
        (false, IntTy::S64) => map2(r, mask, d, a, b, |x: i64, n: u32| x >> n.min(63)),
        (true, IntTy::U16 | IntTy::S16) => {
            map2(r, mask, d, a, b, |x: u16, n: u32| if n < 16 { x << (n & 15) } else { 0 });
        }
        (false, IntTy::U16) => map2(r, mask, d, a, b, |x: u16, n: u32| if n < 16 { x >> (n & 15) } else { 0 }),
        (false, IntTy::S16) => map2(r, mask, d, a, b, |x: i16, n: u32| x >> n.min(15)),
    }
}

/// `popc`, `clz`, `bfind`.
pub fn count(r: &mut Regs, mask: u32, op: CountOp, ty: IntTy, d: u32, a: u32) {
    let find = |x: u64, bits: u32, signed: bool, shift: bool| -> u32 {
        let x = if signed && x >> (bits - 1) & 1 != 0 { !x } else { x };
        let x = if bits == 64 { x } else { x & ((1 << bits) - 1) };
        if x == 0 {
            return u32::MAX;
        }
        let top = 63 - x.leading_zeros();
        if shift { bits - 1 - top } else { top }
    };
    let signed = matches!(ty, IntTy::S32 | IntTy::S64);
    match (op, ty.wide()) {
        (CountOp::Popc, false) => map1(r, mask, d, a, |x: u32| x.count_ones()),
        (CountOp::Popc, true) => map1(r, mask, d, a, |x: u64| x.count_ones()),
        (CountOp::Clz, false) => map1(r, mask, d, a, |x: u32| x.leading_zeros()),
        (CountOp::Clz, true) => map1(r, mask, d, a, |x: u64| x.leading_zeros()),
        (CountOp::Bfind { shift }, false) => map1(r, mask, d, a, |x: u32| find(u64::from(x), 32, signed, shift)),
        (CountOp::Bfind { shift }, true) => map1(r, mask, d, a, |x: u64| find(x, 64, signed, shift)),
    }
}

/// `bfe`: position and length are taken modulo 256; bits past the top repeat the sign (signed) or are zero.
pub fn bfe(r: &mut Regs, mask: u32, ty: IntTy, s: [u32; 4]) {
    let field = |x: u64, pos: u32, len: u32, bits: u32, signed: bool| -> u64 {
        let (pos, len) = (pos & 0xff, len & 0xff);
        let value = if pos < 64 { x >> pos } else { 0 };
        let low = if len < 64 { value & ((1 << len) - 1) } else { value };
        if !signed || len == 0 {
            return low;
        }
        let sign_at = (pos + len - 1).min(bits - 1);
        if x >> sign_at & 1 == 0 {
            return low;
        }
        let have = len.min(bits.saturating_sub(pos));
        if have >= 64 { low } else { low | u64::MAX << have }
    };
    match ty {
        IntTy::U32 => map3(r, mask, s, |x: u32, p: u32, n: u32| field(u64::from(x), p, n, 32, false) as u32),
        IntTy::S32 => map3(r, mask, s, |x: u32, p: u32, n: u32| field(u64::from(x), p, n, 32, true) as u32),
        IntTy::S64 => map3(r, mask, s, |x: u64, p: u32, n: u32| field(x, p, n, 64, true)),
        _ => map3(r, mask, s, |x: u64, p: u32, n: u32| field(x, p, n, 64, false)),
    }
}

/// `bfi`: inserts the low bits of a into b.
pub fn bfi(r: &mut Regs, mask: u32, wide: bool, d: u32, s: [u32; 4]) {
    let [a, b, pos, len] = s;
    let insert = |x: u64, y: u64, pos: u32, len: u32| -> u64 {
        let (pos, len) = (pos & 0xff, len & 0xff);
        if pos >= 64 || len == 0 {
            return y;
        }
        let field = if len >= 64 { u64::MAX } else { (1 << len) - 1 } << pos;
        y & !field | x << pos & field
    };
    let (pos, len) = (*r.w32(pos), *r.w32(len));
    if wide {
        let (x, y) = (*r.w64(a), *r.w64(b));
        let out = std::array::from_fn(|l| insert(x[l], y[l], pos[l], len[l]));
        r.set64(d, mask, &out);
    } else {
        let (x, y) = (*r.w32(a), *r.w32(b));
        let out = std::array::from_fn(|l| insert(u64::from(x[l]), u64::from(y[l]), pos[l], len[l]) as u32);
        r.set32(d, mask, &out);
    }
}

/// `mul.wide`, `mad.wide`.
#[inline(never)]
pub fn mul_wide(r: &mut Regs, mask: u32, signed: bool, from16: bool, d: u32, a: u32, b: u32, c: Option<u32>) {
    match (from16, signed, c) {
        (false, true, None) => map2(r, mask, d, a, b, |x: i32, y: i32| i64::from(x) * i64::from(y)),
        (false, false, None) => map2(r, mask, d, a, b, |x: u32, y: u32| u64::from(x) * u64::from(y)),
        (false, true, Some(c)) => {
            map3(r, mask, [d, a, b, c], |x: i32, y: i32, z: i64| (i64::from(x) * i64::from(y)).wrapping_add(z))
        }
        (false, false, Some(c)) => {
            map3(r, mask, [d, a, b, c], |x: u32, y: u32, z: u64| (u64::from(x) * u64::from(y)).wrapping_add(z))
        }
        (true, true, None) => map2(r, mask, d, a, b, |x: i16, y: i16| i32::from(x) * i32::from(y)),
        (true, false, None) => map2(r, mask, d, a, b, |x: u16, y: u16| u32::from(x) * u32::from(y)),
        (true, true, Some(c)) => {
            map3(r, mask, [d, a, b, c], |x: i16, y: i16, z: i32| (i32::from(x) * i32::from(y)).wrapping_add(z))
        }
        (true, false, Some(c)) => {
            map3(r, mask, [d, a, b, c], |x: u16, y: u16, z: u32| (u32::from(x) * u32::from(y)).wrapping_add(z))
        }
    }
}

/// `add.cc` and relatives: the carry is one bit a lane.
pub fn carry(r: &mut Regs, mask: u32, op: CarryOp, wide: bool, use_cc: bool, set_cc: bool, s: [u32; 4]) {
    let bits = if wide { 64 } else { 32 };
    let get = |r: &Regs, i: u32| -> [u64; LANES] { if wide { *r.w64(i) } else { r.w32(i).map(u64::from) } };
    let (a, b, c) = (get(r, s[1]), get(r, s[2]), get(r, s[3]));
    let mut out = [0u64; LANES];
    let mut flags = 0u32;
    let all = if wide { u128::from(u64::MAX) } else { u128::from(u32::MAX) };
    for l in 0..LANES {
        let cc = if use_cc { u128::from(r.carry >> l & 1) } else { 0 };
        let product = |signed: bool| -> u128 {
            match (wide, signed) {
                (_, false) => u128::from(a[l]) * u128::from(b[l]),
                (false, true) => (i64::from(a[l] as i32) * i64::from(b[l] as i32)) as u64 as u128,
                (true, true) => (i128::from(a[l] as i64) * i128::from(b[l] as i64)) as u128,
            }
        };
        let sum = match op {
            CarryOp::Add => u128::from(a[l]) + u128::from(b[l]) + cc,
            // The flag after sub is the borrow.
            CarryOp::Sub => (u128::from(a[l])).wrapping_sub(u128::from(b[l])).wrapping_sub(cc),
            CarryOp::MadLo => (product(false) & all) + u128::from(c[l]) + cc,
            CarryOp::MadHi { signed } => (product(signed) >> bits & all) + u128::from(c[l]) + cc,
        };
        out[l] = (sum & all) as u64;
        flags |= u32::from(sum >> bits & 1 != 0) << l;
    }
    if set_cc {
        r.carry = r.carry & !mask | flags & mask;
    }
    if wide {
        r.set64(s[0], mask, &out);
    } else {
        r.set32(s[0], mask, &out.map(|x| x as u32));
    }
}

/// Packed 16-bit integers.
pub fn int16x2(r: &mut Regs, mask: u32, op: IntOp, signed: bool, relu: bool, d: u32, a: u32, b: u32) {
    map2(r, mask, d, a, b, move |x: u32, y: u32| {
        let one = |x: u16, y: u16| -> u16 {
            let v = match (op, signed) {
                (IntOp::Min, true) => (x as i16).min(y as i16) as u16,
                (IntOp::Max, true) => (x as i16).max(y as i16) as u16,
                (IntOp::Min, false) => x.min(y),
                (IntOp::Max, false) => x.max(y),
                _ => x.wrapping_add(y),
            };
            if relu && signed { (v as i16).max(0) as u16 } else { v }
        };
        u32::from(one(x as u16, y as u16)) | u32::from(one((x >> 16) as u16, (y >> 16) as u16)) << 16
    });
}
