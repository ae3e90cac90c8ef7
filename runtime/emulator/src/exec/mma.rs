//! `mma.sync` (PTX ISA 9.7.14). f64 is fused, k upwards; integers are exact; the rest as [`super::fragment`] says.

use super::fragment::{acc_place, accumulate, each_a, each_b, integer, product, read_acc, to_floats, write_acc};
use super::regs::{LANES, Regs};
use super::simd::two_ways;
use super::state::{Env, State};
use super::warp::Warp;
use crate::decode::inst::Mma;
use crate::decode::types::*;

/// `mma.sync`.
pub fn mma(env: &Env, w: &mut Warp, st: &mut State, x: &Mma) {
    if env.options.counters {
        st.count().tensor_flops += 2 * u64::from(x.m * x.n * x.k);
    }
    match x.a_ty {
        MatTy::F64 => mma_f64(w, x),
        t if t.integer() => mma_int(w, x),
        _ => floats::best(&mut w.regs, x),
    }
}

two_ways! {
    /// Operands of 8 to 32 bits, 16 rows.
    floats(r: &mut Regs, x: &Mma) = by_depth
}

#[inline(always)]
fn by_depth(r: &mut Regs, x: &Mma) {
    match x.k {
        4 => of_depth::<4>(r, x),
        8 => of_depth::<8>(r, x),
        16 => of_depth::<16>(r, x),
        _ => of_depth::<32>(r, x),
    }
}

#[inline(always)]
fn of_depth<const K: usize>(r: &mut Regs, x: &Mma) {
    let (mut a, mut b, mut c) = ([[0u32; K]; 16], [[0u32; 8]; K], [0f32; 16 * 8]);
    if x.a_ty.bits() == 16 {
        halves(r, x, &mut a, &mut b);
    } else {
        each_a(r, &x.a, x.a_ty, x.m, |i, kk, v| a[i][kk] = v as u32);
        each_b(r, &x.b, x.b_ty, |kk, j, v| b[kk][j] = v as u32);
    }
    let (mut fa, mut fb) = ([[0f32; K]; 16], [[0f32; 8]; K]);
    to_floats(x.a_ty, false, a.as_flattened(), fa.as_flattened_mut());
    to_floats(x.b_ty, false, b.as_flattened(), fb.as_flattened_mut());
    read_acc(r, x.c.iter().map(|r| r.index()), x.c_ty, &mut c, 8);
    product(fa.as_flattened(), fb.as_flattened(), &mut c, 8, K);
    write_acc(r, x.d.iter().map(|r| r.index()), x.d_ty, &c, 8);
}

/// 16-bit fragments, two elements a register.
#[inline(always)]
fn halves<const K: usize>(r: &Regs, x: &Mma, a: &mut [[u32; K]; 16], b: &mut [[u32; 8]; K]) {
    for (i, reg) in x.a.iter().enumerate() {
        let v = r.w32(reg.index());
        for l in 0..LANES {
            let (row, kk) = (l / 4 + 8 * (i & 1), l % 4 * 2 + 8 * (i >> 1));
            (a[row][kk], a[row][kk + 1]) = (v[l] & 0xffff, v[l] >> 16);
        }
    }
    for (i, reg) in x.b.iter().enumerate() {
        let v = r.w32(reg.index());
        for l in 0..LANES {
            let kk = l % 4 * 2 + 8 * i;
            (b[kk][l / 4], b[kk + 1][l / 4]) = (v[l] & 0xffff, v[l] >> 16);
        }
    }
}

#[inline(never)]
fn mma_f64(w: &mut Warp, x: &Mma) {
    let (m, k) = (x.m as usize, x.k as usize);
    let (mut a, mut b) = (vec![0f64; m * k], vec![0f64; k * 8]);
    each_a(&w.regs, &x.a, x.a_ty, x.m, |i, kk, v| a[i * k + kk] = f64::from_bits(v));
    each_b(&w.regs, &x.b, x.b_ty, |kk, j, v| b[kk * 8 + j] = f64::from_bits(v));
    let c: Vec<[u64; LANES]> = x.c.iter().map(|r| w.regs.get(*r)).collect();
    for (i, d) in x.d.iter().enumerate() {
        let mut out = [0u64; LANES];
        for l in 0..LANES {
            let (row, col) = acc_place(i, l);
            let start = f64::from_bits(c[i][l]);
            let sum = (0..k).fold(start, |s, kk| a[row * k + kk].mul_add(b[kk * 8 + col], s));
            out[l] = sum.to_bits();
        }
        w.regs.set(*d, u32::MAX, &out);
    }
}

#[inline(never)]
fn mma_int(w: &mut Warp, x: &Mma) {
    let (m, k) = (x.m as usize, x.k as usize);
    let (mut a, mut b) = (vec![0i32; m * k], vec![0i32; k * 8]);
    let value = |ty: MatTy, v: u64| if ty == MatTy::B1 { v as i32 } else { integer(ty, v as u32) };
    each_a(&w.regs, &x.a, x.a_ty, x.m, |i, kk, v| a[i * k + kk] = value(x.a_ty, v));
    each_b(&w.regs, &x.b, x.b_ty, |kk, j, v| b[kk * 8 + j] = value(x.b_ty, v));
    let c: Vec<[u32; LANES]> = x.c.iter().map(|r| *w.regs.w32(r.index())).collect();
    for (i, d) in x.d.iter().enumerate() {
        let mut out = [0u32; LANES];
        for l in 0..LANES {
            let (row, col) = acc_place(i, l);
            let sum: i64 = (0..k)
                .map(|kk| {
                    let (p, q) = (a[row * k + kk], b[kk * 8 + col]);
                    i64::from(match (x.a_ty == MatTy::B1, x.and) {
                        (true, true) => p & q,
                        (true, false) => p ^ q,
                        _ => p * q,
                    })
                })
                .sum();
            out[l] = accumulate(c[i][l], sum, x.sat);
        }
        w.regs.set32(d.index(), u32::MAX, &out);
    }
}
