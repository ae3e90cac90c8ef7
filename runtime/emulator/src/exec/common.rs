//! The common register instructions, compiled for wide vectors. What is not here goes the general way, in [`super::int`],
//! [`super::float`] and [`super::convert`]; tests compare the ways bit for bit.

use super::float::{self, canon, flush, fmax};
use super::regs::{LANES, Lane, Regs, bits, map1, map2, map3};
use super::round::{f16_to_f32, f32_to_f16};
use super::simd::two_ways;
use crate::decode::inst::{Cvt, File, Op, Setp};
use crate::decode::types::*;

two_ways! {
    /// Executes an instruction on the lanes of `mask` if it is one of the common ones; false if it is not.
    step(r: &mut Regs, mask: u32, op: &Op) -> bool = execute
}

#[inline(always)]
fn execute(r: &mut Regs, mask: u32, op: &Op) -> bool {
    match *op {
        Op::Mov32 { d, a } => map1(r, mask, d, a, |x: u32| x),
        Op::Mov64 { d, a } => map1(r, mask, d, a, |x: u64| x),
        Op::Int { op, ty: IntTy::U32 | IntTy::S32, d, a, b, c } if int32(r, mask, op, [d, a, b, c]) => {}
        Op::Int { op, ty: ty @ (IntTy::S32 | IntTy::U32), d, a, b, .. } => {
            let signed = ty == IntTy::S32;
            match op {
                IntOp::Min if signed => map2(r, mask, d, a, b, |x: i32, y: i32| x.min(y)),
                IntOp::Max if signed => map2(r, mask, d, a, b, |x: i32, y: i32| x.max(y)),
                IntOp::Min => map2(r, mask, d, a, b, |x: u32, y: u32| x.min(y)),
                IntOp::Max => map2(r, mask, d, a, b, |x: u32, y: u32| x.max(y)),
                _ => return false,
            }
        }
        Op::Int { op, ty: IntTy::U64 | IntTy::S64, d, a, b, .. } => match op {
            IntOp::Add => map2(r, mask, d, a, b, u64::wrapping_add),
            IntOp::Sub => map2(r, mask, d, a, b, u64::wrapping_sub),
            IntOp::And => map2(r, mask, d, a, b, |x: u64, y: u64| x & y),
            IntOp::Or => map2(r, mask, d, a, b, |x: u64, y: u64| x | y),
            IntOp::Xor => map2(r, mask, d, a, b, |x: u64, y: u64| x ^ y),
            _ => return false,
        },
        Op::Shift { left, ty, d, a, b } => match (left, ty) {
            (true, IntTy::U32 | IntTy::S32) => {
                map2(r, mask, d, a, b, |x: u32, n: u32| if n < 32 { x << (n & 31) } else { 0 });
            }
            (false, IntTy::U32) => map2(r, mask, d, a, b, |x: u32, n: u32| if n < 32 { x >> (n & 31) } else { 0 }),
            (false, IntTy::S32) => map2(r, mask, d, a, b, |x: i32, n: u32| x >> n.min(31)),
            (true, IntTy::U64 | IntTy::S64) => {
                map2(r, mask, d, a, b, |x: u64, n: u32| if n < 64 { x << (n & 63) } else { 0 });
            }
            (false, IntTy::U64) => map2(r, mask, d, a, b, |x: u64, n: u32| if n < 64 { x >> (n & 63) } else { 0 }),
            _ => return false,
        },
        Op::MulWide { signed, from16: false, d, a, b, c: None } => {
            if signed {
                map2(r, mask, d, a, b, |x: i32, y: i32| i64::from(x) * i64::from(y));
            } else {
                map2(r, mask, d, a, b, |x: u32, y: u32| u64::from(x) * u64::from(y));
            }
        }
        Op::Float { op, double: false, rnd: Rnd::Rn | Rnd::Approx | Rnd::Full, ftz, sat: false, d, a, b, c } => {
            return if ftz { float32::<true>(r, mask, op, [d, a, b, c]) } else { float32::<false>(r, mask, op, [d, a, b, c]) };
        }
        Op::Setp(ref s) if s.with.is_none() => return setp(r, mask, s),
        Op::Cvt(ref c) => return cvt(r, mask, c),
        Op::Selp { wide, d, a, b, p } => {
            let p = r.p(p);
            if wide { select::<u64>(r, mask, [d, a, b], p) } else { select::<u32>(r, mask, [d, a, b], p) }
        }
        Op::Pred { op, d, a, b } => predicate(r, mask, op, d, a, b),
        _ => return false,
    }
    true
}

/// 32-bit operations that do not ask for a sign.
#[inline(always)]
fn int32(r: &mut Regs, mask: u32, op: IntOp, s: [u32; 4]) -> bool {
    let [d, a, b, _] = s;
    match op {
        IntOp::Add => map2(r, mask, d, a, b, u32::wrapping_add),
        IntOp::Sub => map2(r, mask, d, a, b, u32::wrapping_sub),
        IntOp::Mul => map2(r, mask, d, a, b, u32::wrapping_mul),
        IntOp::Mad => map3(r, mask, s, |x: u32, y: u32, z: u32| x.wrapping_mul(y).wrapping_add(z)),
        IntOp::And => map2(r, mask, d, a, b, |x: u32, y: u32| x & y),
        IntOp::Or => map2(r, mask, d, a, b, |x: u32, y: u32| x | y),
        IntOp::Xor => map2(r, mask, d, a, b, |x: u32, y: u32| x ^ y),
        _ => return false,
    }
    true
}

#[inline(always)]
fn float32<const FTZ: bool>(r: &mut Regs, mask: u32, op: FloatOp, s: [u32; 4]) -> bool {
    let [d, a, b, _] = s;
    let f = |x: f32| if FTZ { flush(x) } else { x };
    match op {
        FloatOp::Add => map2(r, mask, d, a, b, |x: f32, y: f32| canon(f(f(x) + f(y)))),
        FloatOp::Sub => map2(r, mask, d, a, b, |x: f32, y: f32| canon(f(f(x) - f(y)))),
        FloatOp::Mul => map2(r, mask, d, a, b, |x: f32, y: f32| canon(f(f(x) * f(y)))),
        FloatOp::Div => map2(r, mask, d, a, b, |x: f32, y: f32| canon(f(f(x) / f(y)))),
        FloatOp::Fma => map3(r, mask, s, |x: f32, y: f32, z: f32| canon(f(f(x).mul_add(f(y), f(z))))),
        FloatOp::Max { nan: false, xorsign_abs: false } => map2(r, mask, d, a, b, |x: f32, y: f32| canon(fmax(f(x), f(y)))),
        FloatOp::Min { nan: false, xorsign_abs: false } => {
            map2(r, mask, d, a, b, |x: f32, y: f32| canon(-fmax(-f(x), -f(y))));
        }
        FloatOp::Ex2 => map1(r, mask, d, a, |x: f32| canon(f(float::exp2(f(x))))),
        _ => return false,
    }
    true
}

/// Compares with plain (not unordered) comparisons of numbers.
#[inline(always)]
fn compare<T: Lane + PartialOrd>(r: &mut Regs, mask: u32, s: &Setp) -> bool {
    let (x, y) = (T::load(r, s.a.index()), T::load(r, s.b.index()));
    let hits = match s.cmp {
        Cmp::Eq => bits(|l| x[l] == y[l]),
        Cmp::Ne => bits(|l| x[l] < y[l] || x[l] > y[l]),
        Cmp::Lt => bits(|l| x[l] < y[l]),
        Cmp::Le => bits(|l| x[l] <= y[l]),
        Cmp::Gt => bits(|l| x[l] > y[l]),
        Cmp::Ge => bits(|l| x[l] >= y[l]),
        _ => return false,
    };
    if let Some(d) = s.d {
        r.set_p(d, mask, hits);
    }
    if let Some(d) = s.q {
        r.set_p(d, mask, !hits);
    }
    true
}

#[inline(always)]
fn setp(r: &mut Regs, mask: u32, s: &Setp) -> bool {
    match s.ty {
        CmpTy::Int(IntTy::U32) => compare::<u32>(r, mask, s),
        CmpTy::Int(IntTy::S32) => compare::<i32>(r, mask, s),
        CmpTy::Int(IntTy::U64) => compare::<u64>(r, mask, s),
        CmpTy::Int(IntTy::S64) => compare::<i64>(r, mask, s),
        CmpTy::F32 if !s.ftz => compare::<f32>(r, mask, s),
        _ => false,
    }
}

/// Conversions that need no rounding mode, and f16's.
#[inline(always)]
fn cvt(r: &mut Regs, mask: u32, c: &Cvt) -> bool {
    use Num::{Bf16, F16, F32, S32, S64, U32, U64};
    if c.sat || c.integral || c.ftz || c.relu || c.satfinite || c.b.is_some() {
        return false;
    }
    let (d, a) = (c.d.index(), c.a.index());
    match (c.to, c.from, c.d.file(), c.a.file()) {
        (U64 | S64, U32, File::W64, File::W32) => map1(r, mask, d, a, |x: u32| u64::from(x)),
        (U64 | S64, S32, File::W64, File::W32) => map1(r, mask, d, a, |x: i32| i64::from(x)),
        (U32 | S32, U64 | S64, File::W32, File::W64) => map1(r, mask, d, a, |x: u64| x as u32),
        (F32, S32, ..) if c.rnd == Rnd::Rn => map1(r, mask, d, a, |x: i32| x as f32),
        (F32, U32, ..) if c.rnd == Rnd::Rn => map1(r, mask, d, a, |x: u32| x as f32),
        (F32, Bf16, ..) => map1(r, mask, d, a, |x: u32| canon(f32::from_bits(x << 16))),
        (F32, F16, ..) => map1(r, mask, d, a, |x: u32| canon(f16_to_f32(x & 0xffff))),
        (F16, F32, ..) if c.rnd == Rnd::Rn => map1(r, mask, d, a, f32_to_f16),
        _ => return false,
    }
    true
}

/// `d = bit ? a : b` lane by lane.
#[inline(always)]
fn select<T: Lane>(r: &mut Regs, mask: u32, [d, a, b]: [u32; 3], p: u32) {
    let (a, b) = (T::load(r, a), T::load(r, b));
    let mut out = [T::default(); LANES];
    for l in 0..LANES {
        out[l] = if p >> l & 1 != 0 { a[l] } else { b[l] };
    }
    T::store(r, d, mask, &out);
}

/// Predicate logic and moves.
#[inline(always)]
fn predicate(r: &mut Regs, mask: u32, op: PredOp, d: u32, a: u32, b: u32) {
    let (a, b) = (r.p(a), r.p(b));
    let v = match op {
        PredOp::Mov => a,
        PredOp::Not => !a,
        PredOp::And => a & b,
        PredOp::Or => a | b,
        PredOp::Xor => a ^ b,
    };
    r.set_p(d, mask, v);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::inst::{File, R};
    use crate::exec::{convert, int};

    /// Registers with edge cases and noise: slots 0 to 2 are sources, 3 is what `d` held before.
    fn registers(seed: u64) -> Regs {
        const EDGES: [u32; 16] = [
            0,
            1,
            31,
            32,
            33,
            0x7fff_ffff,
            0x8000_0000,
            u32::MAX,
            0x7f80_0000,
            0xff80_0000,
            0x7fc0_0001,
            0x0000_0003,
            0x8000_0007,
            0x3f80_0000,
            0x7f7f_ffff,
            0x0080_0000,
        ];
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d)
        };
        let mut r = Regs::default();
        for _ in 0..4 {
            let narrow: [u32; LANES] = std::array::from_fn(|_| {
                let n = next();
                if n & 1 == 0 { EDGES[(n >> 8) as usize % 16] } else { (n >> 32) as u32 }
            });
            r.r32.push(narrow);
            r.r64.push(std::array::from_fn(|l| {
                let n = next();
                if n & 1 == 0 { u64::from(narrow[l]) } else { n >> (n & 31) }
            }));
            r.pred.push(next() as u32);
        }
        r
    }

    /// The general way to execute an instruction.
    type General = fn(&mut Regs, u32, &Op);

    /// Every common instruction, with the general way to execute it where there is one.
    fn instructions() -> Vec<(Op, Option<General>)> {
        let (d, a, b, c) = (3, 0, 1, 2);
        let mut list: Vec<(Op, Option<General>)> =
            vec![(Op::Mov32 { d, a }, None), (Op::Mov64 { d, a }, None), (Op::Selp { wide: true, d, a, b, p: 2 }, None)];
        list.push((Op::Selp { wide: false, d, a, b, p: 2 }, None));
        let general_int: General = |r, m, op| {
            if let Op::Int { op, ty, d, a, b, c } = *op {
                int::int(r, m, op, ty, [d, a, b, c]);
            }
        };
        use IntOp as I;
        for ty in [IntTy::U32, IntTy::S32] {
            for op in [I::Add, I::Sub, I::Mul, I::Mad, I::And, I::Or, I::Xor, I::Min, I::Max] {
                list.push((Op::Int { op, ty, d, a, b, c }, Some(general_int)));
            }
        }
        for ty in [IntTy::U64, IntTy::S64] {
            for op in [I::Add, I::Sub, I::And, I::Or, I::Xor] {
                list.push((Op::Int { op, ty, d, a, b, c }, Some(general_int)));
            }
        }
        let general_shift: General = |r, m, op| {
            if let Op::Shift { left, ty, d, a, b } = *op {
                int::shift(r, m, left, ty, d, a, b);
            }
        };
        for (left, ty) in [(true, IntTy::U32), (false, IntTy::U32), (false, IntTy::S32), (true, IntTy::U64), (false, IntTy::U64)]
        {
            list.push((Op::Shift { left, ty, d, a, b }, Some(general_shift)));
        }
        for signed in [false, true] {
            let general: General = |r, m, op| {
                if let Op::MulWide { signed, from16, d, a, b, c } = *op {
                    int::mul_wide(r, m, signed, from16, d, a, b, c);
                }
            };
            list.push((Op::MulWide { signed, from16: false, d, a, b, c: None }, Some(general)));
        }
        let general_float: General = |r, m, op| {
            if let Op::Float { op, double, rnd, ftz, sat, d, a, b, c } = *op {
                float::float(r, m, op, double, rnd, ftz, sat, [d, a, b, c]);
            }
        };
        use FloatOp as F;
        let (max, min) = (F::Max { nan: false, xorsign_abs: false }, F::Min { nan: false, xorsign_abs: false });
        for ftz in [false, true] {
            for op in [F::Add, F::Sub, F::Mul, F::Div, F::Fma, max, min, F::Ex2] {
                let op = Op::Float { op, double: false, rnd: Rnd::Rn, ftz, sat: false, d, a, b, c };
                list.push((op, Some(general_float)));
            }
        }
        let general_setp: General = |r, m, op| {
            if let Op::Setp(s) = op {
                convert::setp(r, m, s);
            }
        };
        use CmpTy::{F32, Int};
        for (ty, file) in [
            (Int(IntTy::U32), File::W32),
            (Int(IntTy::S32), File::W32),
            (Int(IntTy::U64), File::W64),
            (Int(IntTy::S64), File::W64),
            (F32, File::W32),
        ] {
            for cmp in [Cmp::Eq, Cmp::Ne, Cmp::Lt, Cmp::Le, Cmp::Gt, Cmp::Ge] {
                let (a, b) = (R::new(file, a), R::new(file, b));
                let setp = Setp { cmp, ty, ftz: false, d: Some(3), q: Some(2), a, b, with: None };
                list.push((Op::Setp(Box::new(setp)), Some(general_setp)));
            }
        }
        let general_cvt: General = |r, m, op| {
            if let Op::Cvt(c) = op {
                convert::cvt(r, m, c);
            }
        };
        use Num as N;
        let (w32, w64) = (File::W32, File::W64);
        for (to, from, to_file, from_file, d_bits) in [
            (N::U64, N::U32, w64, w32, 64),
            (N::S64, N::U32, w64, w32, 64),
            (N::U64, N::S32, w64, w32, 64),
            (N::S64, N::S32, w64, w32, 64),
            (N::U32, N::U64, w32, w64, 32),
            (N::S32, N::S64, w32, w64, 32),
            (N::F32, N::S32, w32, w32, 32),
            (N::F32, N::U32, w32, w32, 32),
            (N::F32, N::Bf16, w32, w32, 32),
            (N::F32, N::F16, w32, w32, 32),
            (N::F16, N::F32, w32, w32, 16),
        ] {
            let (d, a) = (R::new(to_file, d), R::new(from_file, a));
            let flags = (false, false, false, false, false);
            let (integral, ftz, sat, satfinite, relu) = flags;
            let cvt = Cvt { to, from, rnd: Rnd::Rn, integral, ftz, sat, satfinite, relu, d, d_bits, a, b: None };
            list.push((Op::Cvt(Box::new(cvt)), Some(general_cvt)));
        }
        for op in [PredOp::Mov, PredOp::Not, PredOp::And, PredOp::Or, PredOp::Xor] {
            list.push((Op::Pred { op, d, a, b }, None));
        }
        list
    }

    fn state(r: &Regs) -> (&[[u32; LANES]], &[[u64; LANES]], &[u32]) {
        (&r.r32, &r.r64, &r.pred)
    }

    #[test]
    fn all_ways_give_the_same_bits() {
        for (op, general) in instructions() {
            for seed in 0..200 {
                let mask = [u32::MAX, 0x0000_ffff, 0xa5a5_1234, 1][seed as usize % 4];
                let mut plain = registers(seed);
                assert!(step::plain(&mut plain, mask, &op), "{op:?} is not common");
                let mut best = registers(seed);
                assert!(step::best(&mut best, mask, &op));
                assert_eq!(state(&plain), state(&best), "{op:?}, seed {seed}");
                if let Some(general) = general {
                    let mut other = registers(seed);
                    general(&mut other, mask, &op);
                    assert_eq!(state(&plain), state(&other), "{op:?}, seed {seed}, the general way");
                }
            }
        }
    }

    #[test]
    fn unselected_lanes_keep_their_value() {
        let mut r = registers(9);
        let before = r.r32[3];
        assert!(step::best(&mut r, 0xf0, &Op::Mov32 { d: 3, a: 0 }));
        for l in 0..LANES {
            assert_eq!(r.r32[3][l], if (4..8).contains(&l) { r.r32[0][l] } else { before[l] });
        }
    }
}
