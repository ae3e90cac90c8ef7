//! Matrix fragments in registers and their elements (PTX ISA 9.7.14): layouts, decoding, products.
//!
//! Products of 16-, 8-bit and tf32 operands are exact in f32; they are added one after another in f32 with a fused
//! multiply-add, k upwards, starting from the accumulator. Hardware adds groups of products with less rounding in between and
//! truncates alignment shifts, so the last bits of inexact sums may differ. tf32 operands drop their low 13 bits. f16
//! accumulators are summed in f32 and rounded once per instruction.

use std::sync::LazyLock;

use super::regs::{LANES, Regs};
use super::round::{self, E4M3, E5M2, f16_to_f32, f32_to_f16};
use super::simd::two_ways;
use crate::decode::inst::R;
use crate::decode::types::*;

/// All values of the two 8-bit formats.
static EIGHT_BITS: LazyLock<[[f32; 256]; 2]> =
    LazyLock::new(|| [E4M3, E5M2].map(|format| std::array::from_fn(|bits| round::decode(bits as u32, format) as f32)));

two_ways! {
    /// Decodes elements to f32, changing their signs if `negate`.
    decode(ty: MatTy, negate: bool, bits: &[u32], out: &mut [f32]) = to_floats
}

#[inline(always)]
pub fn to_floats(ty: MatTy, negate: bool, bits: &[u32], out: &mut [f32]) {
    let all = bits.iter().zip(&mut *out);
    match ty {
        MatTy::F16 => all.for_each(|(b, o)| *o = f16_to_f32(b & 0xffff)),
        MatTy::Bf16 => all.for_each(|(b, o)| *o = f32::from_bits(b << 16)),
        MatTy::E4m3 => all.for_each(|(b, o)| *o = EIGHT_BITS[0][*b as usize & 0xff]),
        MatTy::E5m2 => all.for_each(|(b, o)| *o = EIGHT_BITS[1][*b as usize & 0xff]),
        _ => all.for_each(|(b, o)| *o = f32::from_bits(b & 0xffff_e000)),
    }
    if negate {
        out.iter_mut().for_each(|o| *o = -*o);
    }
}

/// Value of an integer element.
pub fn integer(ty: MatTy, bits: u32) -> i32 {
    match ty {
        MatTy::S8 => i32::from(bits as u8 as i8),
        MatTy::U8 => i32::from(bits as u8),
        MatTy::S4 => ((bits << 28) as i32) >> 28,
        _ => (bits & 0xf) as i32,
    }
}

/// Runs `f(row, column, bits)` over an A fragment of m rows.
#[inline(always)]
pub fn each_a(r: &Regs, regs: &[R], ty: MatTy, m: u32, mut f: impl FnMut(usize, usize, u64)) {
    let bits = ty.bits();
    let per = (32 / bits).max(1);
    let keep = if bits >= 64 { u64::MAX } else { (1u64 << bits) - 1 };
    let halves = if m == 16 { 2 } else { 1 };
    for (i, reg) in regs.iter().enumerate() {
        let values = r.get(*reg);
        let (row_half, k_half) = (i as u32 % halves, i as u32 / halves);
        for (l, value) in values.iter().enumerate() {
            let (g, t) = (l as u32 / 4, l as u32 % 4);
            for j in 0..per {
                let row = g + 8 * row_half;
                let col = t * per + j + 4 * per * k_half;
                f(row as usize, col as usize, value >> (j * bits) & keep);
            }
        }
    }
}

/// Runs `f(k, column, bits)` over a B fragment.
#[inline(always)]
pub fn each_b(r: &Regs, regs: &[R], ty: MatTy, mut f: impl FnMut(usize, usize, u64)) {
    let bits = ty.bits();
    let per = (32 / bits).max(1);
    let keep = if bits >= 64 { u64::MAX } else { (1u64 << bits) - 1 };
    for (i, reg) in regs.iter().enumerate() {
        let values = r.get(*reg);
        for (l, value) in values.iter().enumerate() {
            let (g, t) = (l as u32 / 4, l as u32 % 4);
            for j in 0..per {
                let k = t * per + j + 4 * per * i as u32;
                f(k as usize, g as usize, value >> (j * bits) & keep);
            }
        }
    }
}

/// Where accumulator element `i` of lane `l` is, for one element a register.
#[inline(always)]
pub fn acc_place(i: usize, l: usize) -> (usize, usize) {
    (l / 4 + 8 * (i >> 1 & 1), l % 4 * 2 + (i & 1) + 8 * (i >> 2))
}

two_ways! {
    /// Row-major `c[m][n] += a[m][k] * b[k][n]`, m and n multiples of 8.
    gemm(a: &[f32], b: &[f32], c: &mut [f32], n: usize, k: usize) = product
}

/// Tiles of 8 x 8 sums stay in registers.
#[inline(always)]
pub fn product(a: &[f32], b: &[f32], c: &mut [f32], n: usize, k: usize) {
    const T: usize = 8;
    for (rows, out) in a.chunks_exact(T * k).zip(c.chunks_exact_mut(T * n)) {
        for j in (0..n).step_by(T) {
            let mut sums = [[0f32; T]; T];
            for (sum, out) in sums.iter_mut().zip(out.chunks_exact(n)) {
                sum.copy_from_slice(&out[j..j + T]);
            }
            for kk in 0..k {
                let b = &b[kk * n + j..][..T];
                for (i, sum) in sums.iter_mut().enumerate() {
                    let x = rows[i * k + kk];
                    for (y, z) in sum.iter_mut().zip(b) {
                        *y = x.mul_add(*z, *y);
                    }
                }
            }
            for (sum, out) in sums.iter().zip(out.chunks_exact_mut(n)) {
                out[j..j + T].copy_from_slice(sum);
            }
        }
    }
}

/// Accumulator fragment to a row-major matrix of `n` columns.
#[inline(always)]
pub fn read_acc(r: &Regs, regs: impl Iterator<Item = u32>, ty: AccTy, c: &mut [f32], n: usize) {
    for (i, reg) in regs.enumerate() {
        let v = r.w32(reg);
        if ty == AccTy::F16 {
            for l in 0..LANES {
                let (row, col) = acc_place(2 * i, l);
                c[row * n + col] = f16_to_f32(v[l] & 0xffff);
                c[row * n + col + 1] = f16_to_f32(v[l] >> 16);
            }
        } else {
            for l in 0..LANES {
                let (row, col) = acc_place(i, l);
                c[row * n + col] = f32::from_bits(v[l]);
            }
        }
    }
}

/// Back from a row-major matrix.
#[inline(always)]
pub fn write_acc(r: &mut Regs, regs: impl Iterator<Item = u32>, ty: AccTy, c: &[f32], n: usize) {
    for (i, reg) in regs.enumerate() {
        let mut v = [0u32; LANES];
        if ty == AccTy::F16 {
            for l in 0..LANES {
                let (row, col) = acc_place(2 * i, l);
                v[l] = f32_to_f16(c[row * n + col]) | f32_to_f16(c[row * n + col + 1]) << 16;
            }
        } else {
            for l in 0..LANES {
                let (row, col) = acc_place(i, l);
                let x = c[row * n + col];
                v[l] = if x.is_nan() { 0x7fff_ffff } else { x.to_bits() };
            }
        }
        r.set32(reg, u32::MAX, &v);
    }
}

/// Adds an integer dot product to an accumulator.
pub fn accumulate(c: u32, sum: i64, sat: bool) -> u32 {
    let total = i64::from(c as i32) + sum;
    if sat { total.clamp(i32::MIN.into(), i32::MAX.into()) as i32 as u32 } else { total as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u32, n: usize) -> Vec<u32> {
        (0..n as u32).map(|i| (i ^ seed << 20).wrapping_mul(2_654_435_761).rotate_left(i & 31)).collect()
    }

    #[test]
    fn both_ways_give_the_same_bits() {
        for (n, k) in [(8, 4), (8, 8), (8, 16), (8, 32), (64, 16), (256, 16), (24, 8)] {
            let floats = |seed, len| noise(seed, len).iter().map(|b| (*b as i32) as f32 * 1e-7).collect::<Vec<f32>>();
            let (a, b, c) = (floats(1, 16 * k), floats(2, k * n), floats(3, 16 * n));
            let (mut x, mut y) = (c.clone(), c.clone());
            gemm::plain(&a, &b, &mut x, n, k);
            gemm::best(&a, &b, &mut y, n, k);
            let want: Vec<f32> =
                (0..16 * n).map(|i| (0..k).fold(c[i], |s, kk| a[i / n * k + kk].mul_add(b[kk * n + i % n], s))).collect();
            assert!(x == y && x == want, "n {n}, k {k}");
        }
        for ty in [MatTy::F16, MatTy::Bf16, MatTy::Tf32, MatTy::E4m3, MatTy::E5m2] {
            let bits = noise(4, 70_000);
            let (mut x, mut y) = (vec![0f32; bits.len()], vec![0f32; bits.len()]);
            decode::plain(ty, true, &bits, &mut x);
            decode::best(ty, true, &bits, &mut y);
            assert!(x.iter().zip(&y).all(|(x, y)| x.to_bits() == y.to_bits()), "{ty:?}");
        }
    }
}
