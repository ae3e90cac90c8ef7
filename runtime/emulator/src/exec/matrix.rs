//! Tensor-core instructions (PTX ISA 9.7.14, 9.7.15).
//!
//! Products of 16-, 8-bit and tf32 operands are exact in f32; they are added one after another in f32, k upwards,
//! starting from the accumulator. Hardware adds groups of products with less rounding in between and truncates
//! alignment shifts, so the last bits of inexact sums may differ. tf32 operands drop their low 13 bits. f16
//! accumulators are summed in f32 and rounded once per instruction. f64 is fused, k upwards; integers are exact.

use super::fail::{Res, fail, fail_at};
use super::memory::addresses;
use super::regs::LANES;
use super::round::{self, E4M3, E5M2};
use super::state::{Env, State};
use super::warp::Warp;
use crate::counters::wavefronts;
use crate::decode::inst::{Mma, Op, R, Wgmma, WgmmaA};
use crate::decode::types::*;
use crate::error::FaultKind;
use crate::memory::SHARED_WINDOW;
use crate::sanitize::shared::Access;
use crate::tensormap::Swizzle;

/// f16 to f32 without a branch.
#[inline(always)]
fn f16(bits: u32) -> f32 {
    let magnitude = (bits & 0x7fff) << 13;
    // Scales the exponent up from bias 15 to 127, subnormals included.
    let scaled = f32::from_bits(magnitude) * f32::from_bits(0x7780_0000);
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(scaled.to_bits() | special | (bits & 0x8000) << 16)
}

/// Decodes one element of a matrix operand to f32 (integers up to 8 bits are exact).
#[inline(always)]
fn element(ty: MatTy, bits: u32) -> f32 {
    match ty {
        MatTy::F16 => f16(bits & 0xffff),
        MatTy::Bf16 => f32::from_bits(bits << 16),
        MatTy::Tf32 => f32::from_bits(bits & 0xffff_e000),
        MatTy::E4m3 => round::decode(bits & 0xff, E4M3) as f32,
        MatTy::E5m2 => round::decode(bits & 0xff, E5M2) as f32,
        _ => 0.0,
    }
}

fn integer(ty: MatTy, bits: u32) -> i32 {
    match ty {
        MatTy::S8 => i32::from(bits as u8 as i8),
        MatTy::U8 => i32::from(bits as u8),
        MatTy::S4 => ((bits << 28) as i32) >> 28,
        _ => (bits & 0xf) as i32,
    }
}

/// Runs `f(row, column, bits)` over an A fragment of m rows.
fn each_a(w: &Warp, regs: &[R], ty: MatTy, m: u32, mut f: impl FnMut(usize, usize, u64)) {
    let bits = ty.bits();
    let per = (32 / bits).max(1);
    let keep = if bits >= 64 { u64::MAX } else { (1u64 << bits) - 1 };
    let halves = if m == 16 { 2 } else { 1 };
    for (r, reg) in regs.iter().enumerate() {
        let values = w.regs.get(*reg);
        let (row_half, k_half) = (r as u32 % halves, r as u32 / halves);
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
fn each_b(w: &Warp, regs: &[R], ty: MatTy, mut f: impl FnMut(usize, usize, u64)) {
    let bits = ty.bits();
    let per = (32 / bits).max(1);
    let keep = if bits >= 64 { u64::MAX } else { (1u64 << bits) - 1 };
    for (r, reg) in regs.iter().enumerate() {
        let values = w.regs.get(*reg);
        for (l, value) in values.iter().enumerate() {
            let (g, t) = (l as u32 / 4, l as u32 % 4);
            for j in 0..per {
                let k = t * per + j + 4 * per * r as u32;
                f(k as usize, g as usize, value >> (j * bits) & keep);
            }
        }
    }
}

/// Where accumulator element `i` of lane `l` is, for one element a register.
fn acc_place(i: usize, l: usize) -> (usize, usize) {
    (l / 4 + 8 * (i >> 1 & 1), l % 4 * 2 + (i & 1) + 8 * (i >> 2))
}

/// Row-major `c[m][n] += a[m][k] * b[k][n]`.
#[inline(always)]
fn gemm(a: &[f32], b: &[f32], c: &mut [f32], n: usize, k: usize) {
    for (row, acc) in a.chunks_exact(k).zip(c.chunks_exact_mut(n)) {
        for (x, b) in row.iter().zip(b.chunks_exact(n)) {
            for (y, z) in acc.iter_mut().zip(b) {
                *y += x * z;
            }
        }
    }
}

/// `mma.sync`.
#[inline(always)]
pub fn mma(env: &Env, w: &mut Warp, st: &mut State, x: &Mma) -> Res<()> {
    let (m, n, k) = (x.m as usize, x.n as usize, x.k as usize);
    if env.options.counters {
        st.count().tensor_flops += 2 * (m * n * k) as u64;
    }
    match x.a_ty {
        MatTy::F64 => mma_f64(w, x),
        t if t.integer() => mma_int(w, x),
        _ => {
            let mut a = [0f32; 16 * 32];
            let mut b = [0f32; 32 * 8];
            let mut c = [0f32; 16 * 8];
            if matches!(x.a_ty, MatTy::F16 | MatTy::Bf16) {
                pairs(w, x, &mut a, &mut b, k);
            } else {
                each_a(w, &x.a, x.a_ty, x.m, |i, kk, v| a[i * k + kk] = element(x.a_ty, v as u32));
                each_b(w, &x.b, x.b_ty, |kk, j, v| b[kk * 8 + j] = element(x.b_ty, v as u32));
            }
            read_acc(w, &x.c, x.c_ty, &mut c, 8);
            gemm(&a[..m * k], &b[..k * 8], &mut c, 8, k);
            write_acc(w, &x.d, x.d_ty, &c, 8);
        }
    }
    Ok(())
}

/// 16-bit fragments, two elements a register.
#[inline(always)]
fn pairs(w: &Warp, x: &Mma, a: &mut [f32], b: &mut [f32], k: usize) {
    let bf = x.a_ty == MatTy::Bf16;
    let split = |v: u32| {
        if bf { (f32::from_bits(v << 16), f32::from_bits(v & 0xffff_0000)) } else { (f16(v & 0xffff), f16(v >> 16)) }
    };
    for (r, reg) in x.a.iter().enumerate() {
        let values = w.regs.w32(reg.index());
        for l in 0..LANES {
            let at = (l / 4 + 8 * (r & 1)) * k + l % 4 * 2 + 8 * (r >> 1);
            (a[at], a[at + 1]) = split(values[l]);
        }
    }
    for (r, reg) in x.b.iter().enumerate() {
        let values = w.regs.w32(reg.index());
        for l in 0..LANES {
            let kk = l % 4 * 2 + 8 * r;
            (b[kk * 8 + l / 4], b[kk * 8 + 8 + l / 4]) = split(values[l]);
        }
    }
}

#[inline(always)]
fn read_acc(w: &Warp, regs: &[R], ty: AccTy, c: &mut [f32], n: usize) {
    if ty == AccTy::F16 {
        for (r, reg) in regs.iter().enumerate() {
            let v = w.regs.w32(reg.index());
            for l in 0..LANES {
                let (row, col) = acc_place(2 * r, l);
                c[row * n + col] = f16(v[l] & 0xffff);
                c[row * n + col + 1] = f16(v[l] >> 16);
            }
        }
        return;
    }
    for (i, reg) in regs.iter().enumerate() {
        let v = w.regs.w32(reg.index());
        for l in 0..LANES {
            let (row, col) = acc_place(i, l);
            c[row * n + col] = f32::from_bits(v[l]);
        }
    }
}

#[inline(always)]
fn write_acc(w: &mut Warp, regs: &[R], ty: AccTy, c: &[f32], n: usize) {
    for (i, reg) in regs.iter().enumerate() {
        let mut v = [0u32; LANES];
        for l in 0..LANES {
            v[l] = if ty == AccTy::F16 {
                let (row, col) = acc_place(2 * i, l);
                let bits = |x: f32| u32::from(half::f16::from_f32(x).to_bits());
                bits(c[row * n + col]) | bits(c[row * n + col + 1]) << 16
            } else {
                let (row, col) = acc_place(i, l);
                let x = c[row * n + col];
                if x.is_nan() { 0x7fff_ffff } else { x.to_bits() }
            };
        }
        w.regs.set32(reg.index(), u32::MAX, &v);
    }
}

#[inline(never)]
fn mma_f64(w: &mut Warp, x: &Mma) {
    let (m, k) = (x.m as usize, x.k as usize);
    let (mut a, mut b) = (vec![0f64; m * k], vec![0f64; k * 8]);
    each_a(w, &x.a, x.a_ty, x.m, |i, kk, v| a[i * k + kk] = f64::from_bits(v));
    each_b(w, &x.b, x.b_ty, |kk, j, v| b[kk * 8 + j] = f64::from_bits(v));
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
    each_a(w, &x.a, x.a_ty, x.m, |i, kk, v| a[i * k + kk] = value(x.a_ty, v));
    each_b(w, &x.b, x.b_ty, |kk, j, v| b[kk * 8 + j] = value(x.b_ty, v));
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

fn accumulate(c: u32, sum: i64, sat: bool) -> u32 {
    let total = i64::from(c as i32) + sum;
    if sat { total.clamp(i32::MIN.into(), i32::MAX.into()) as i32 as u32 } else { total as u32 }
}

/// Row addresses of the matrices of `ldmatrix` and `stmatrix`, checked.
fn rows(env: &Env, w: &Warp, st: &mut State, addr: R, off: i64, n: usize, write: bool) -> Res<Vec<(usize, u64)>> {
    let addrs = addresses(w, addr, off);
    let mut out = vec![];
    for l in 0..8 * n {
        // The address is a shared one, or generic in the shared window.
        let a = if addrs[l] >= SHARED_WINDOW { addrs[l] - SHARED_WINDOW } else { addrs[l] };
        let Some((cta, at)) = st.shared_place(w.cta, a) else {
            return fail_at(FaultKind::OutOfBounds, "not a shared-memory address", l, addrs[l]);
        };
        st.check_shared(env, cta, at, 16, l)?;
        if !write {
            st.check_written(env, cta, at, 16, l)?;
        }
        if st.races {
            let time = w.clock.seen.get(w.global).copied().unwrap_or_default();
            let access = Access { agent: w.global, time, clock: &w.clock, async_proxy: false, strong: false, pc: st.pc };
            st.trace(cta, at, 16, write, &access)?;
        }
        out.push((cta, at));
    }
    if env.options.counters {
        for matrix in out.chunks(8) {
            let mut at = [0u64; LANES];
            for (l, (_, a)) in matrix.iter().enumerate() {
                at[l] = *a;
            }
            let (n, ideal) = wavefronts(&at, 0xff, 16);
            let c = st.count();
            c.shared_wavefronts += n;
            c.shared_ideal += ideal;
            c.shared_bytes += 128;
        }
        st.count().shared_requests += 1;
    }
    Ok(out)
}

/// `ldmatrix`.
pub fn ldmatrix(env: &Env, w: &mut Warp, st: &mut State, addr: R, off: i64, trans: bool, dst: &[u32]) -> Res<()> {
    let rows = rows(env, w, st, addr, off, dst.len(), false)?;
    for (i, d) in dst.iter().enumerate() {
        let m = &rows[8 * i..8 * i + 8];
        let mut out = [0u32; LANES];
        for (l, o) in out.iter_mut().enumerate() {
            let (g, t) = (l / 4, l % 4 * 2);
            *o = if trans {
                let one = |r: usize| st.load_shared(m[r].0, m[r].1 + 2 * g as u64, 2) as u32;
                one(t) | one(t + 1) << 16
            } else {
                st.load_shared(m[g].0, m[g].1 + 2 * t as u64, 4) as u32
            };
        }
        w.regs.set32(*d, u32::MAX, &out);
    }
    Ok(())
}

/// `stmatrix`.
pub fn stmatrix(env: &Env, w: &mut Warp, st: &mut State, addr: R, off: i64, trans: bool, src: &[u32]) -> Res<()> {
    let rows = rows(env, w, st, addr, off, src.len(), true)?;
    for (i, s) in src.iter().enumerate() {
        let m = &rows[8 * i..8 * i + 8];
        let values = *w.regs.w32(*s);
        for (l, v) in values.iter().enumerate() {
            let (g, t) = (l / 4, l % 4 * 2);
            if trans {
                for j in 0..2 {
                    let (cta, at) = m[t + j];
                    st.store_shared(cta, at + 2 * g as u64, 2, u64::from(v >> (16 * j) & 0xffff));
                }
            } else {
                st.store_shared(m[g].0, m[g].1 + 2 * t as u64, 4, u64::from(*v));
            }
        }
    }
    Ok(())
}

/// `movmatrix`: transposes an 8x8 matrix of 16-bit elements held by the warp.
pub fn movmatrix(w: &mut Warp, d: u32, a: u32) {
    let v = *w.regs.w32(a);
    let at = |r: usize, c: usize| v[4 * r + c / 2] >> (16 * (c % 2)) & 0xffff;
    let out = std::array::from_fn(|l| at(l % 4 * 2, l / 4) | at(l % 4 * 2 + 1, l / 4) << 16);
    w.regs.set32(d, u32::MAX, &out);
}

/// A wgmma that has been issued by a warp and not performed.
#[derive(Clone, Debug)]
pub struct WgmmaOp {
    function: u32,
    /// Instruction in the function.
    index: u32,
    b32: usize,
    /// Group it belongs to.
    pub group: u32,
    a_desc: u64,
    b_desc: u64,
    scale_d: bool,
    /// Copies of accumulator registers made while it is in flight: absolute slot from, to.
    pub copies: Vec<(usize, usize)>,
}

impl WgmmaOp {
    fn instruction<'e>(&self, env: &Env<'e>) -> Option<&'e Wgmma> {
        match &env.program.functions[self.function as usize].insts[self.index as usize].op {
            Op::Wgmma(x) => Some(x),
            _ => None,
        }
    }

    /// Whether a slot of the 32-bit file, counted from its start, is an accumulator in flight.
    pub fn owns(&self, env: &Env, slot: usize) -> bool {
        let copied = self.copies.iter().any(|c| c.1 == slot);
        copied || self.instruction(env).is_some_and(|x| x.d.iter().any(|d| self.b32 + *d as usize == slot))
    }

    /// Whether a slot is an A operand in flight.
    pub fn reads(&self, env: &Env, slot: usize) -> bool {
        self.instruction(env).is_some_and(|x| match x.a {
            WgmmaA::Regs(r) => r.iter().any(|a| self.b32 + *a as usize == slot),
            WgmmaA::Desc(_) => false,
        })
    }
}

/// A shared-memory matrix descriptor (PTX ISA 9.7.15.5.1).
struct Descriptor {
    start: u64,
    leading: u64,
    stride: u64,
    swizzle: Swizzle,
}

impl Descriptor {
    fn new(bits: u64) -> Res<Descriptor> {
        let field = |at: u32| (bits >> at & 0x3fff) << 4;
        if bits >> 49 & 7 != 0 {
            return fail(FaultKind::Unsupported, "wgmma descriptors with a base offset are not supported");
        }
        let swizzle = [Swizzle::None, Swizzle::B128, Swizzle::B64, Swizzle::B32][(bits >> 62) as usize];
        Ok(Descriptor { start: field(0), leading: field(16), stride: field(32), swizzle })
    }

    /// Shared offset of the 16-byte chunk that holds `byte` of row `mn` (K-major) .
    #[inline(always)]
    fn k_major(&self, mn: u64, byte: u64) -> u64 {
        let at = match self.swizzle {
            Swizzle::None => self.start + mn / 8 * self.stride + byte / 16 * self.leading + mn % 8 * 16,
            s => self.start + mn / 8 * self.stride + mn % 8 * s.span() + byte,
        };
        self.swizzle.apply(at)
    }

    /// Shared offset of the 16-byte chunk that holds element column `byte` of row k (MN-major).
    #[inline(always)]
    fn mn_major(&self, k: u64, byte: u64) -> u64 {
        let at = match self.swizzle {
            Swizzle::None => self.start + byte / 16 * self.stride + k / 8 * self.leading + k % 8 * 16,
            s => {
                let span = s.span();
                self.start + byte / span * self.leading + k / 8 * self.stride + k % 8 * span + byte % span
            }
        };
        self.swizzle.apply(at)
    }

    /// Runs `f` over the chunks of a matrix: first row (or k), first byte, shared offset.
    fn chunks(&self, mn: u64, k: u64, bits: u64, transposed: bool, mut f: impl FnMut(u64, u64, u64) -> Res<()>) -> Res<()> {
        if transposed {
            for kk in 0..k {
                for byte in (0..mn * bits / 8).step_by(16) {
                    f(kk, byte, self.mn_major(kk, byte))?;
                }
            }
        } else {
            for row in 0..mn {
                for byte in (0..k * bits / 8).step_by(16) {
                    f(row, byte, self.k_major(row, byte))?;
                }
            }
        }
        Ok(())
    }
}

fn chunk(env: &Env, st: &State, cta: usize, at: u64) -> Res<[u8; 16]> {
    let data = &st.ctas[cta].shared;
    let bytes = data.get(at as usize..at as usize + 16).filter(|_| at >= u64::from(env.shared_base));
    match bytes.and_then(|b| b.try_into().ok()) {
        Some(b) => Ok(b),
        None => fail_at(FaultKind::OutOfBounds, "a wgmma operand reaches outside shared memory", 0, at),
    }
}

/// `wgmma.mma_async`: issue by one warp.
pub fn wgmma(env: &Env, w: &mut Warp, st: &mut State, x: &Wgmma, function: u32, index: u32) -> Res<()> {
    let a_desc = match x.a {
        WgmmaA::Desc(d) => w.regs.w64(d)[0],
        WgmmaA::Regs(_) => 0,
    };
    let b_desc = w.regs.w64(x.b_desc)[0];
    if w.id as usize / 4 * 4 + 4 > st.ctas[w.cta].alive.len() {
        return fail(FaultKind::InvalidOperand, "wgmma needs a whole warpgroup of four warps");
    }
    let group = w.wgmma.committed + 1;
    if env.options.counters {
        st.count().tensor_flops += 2 * 16 * u64::from(x.n) * u64::from(x.k);
    }
    // The warpgroup reads its operands as one: its first warp speaks for it.
    let sanitize = st.races || env.options.sanitizers.uninitialized;
    if sanitize && w.id % 4 == 0 {
        let agent = st.agents.wgmma(w.global);
        let access = Access { agent, time: group, clock: &w.clock, async_proxy: true, strong: false, pc: st.pc };
        let cta = w.cta;
        let bits = u64::from(x.a_ty.bits());
        let mut visit = |desc: u64, mn: u32, transposed: bool| {
            Descriptor::new(desc)?.chunks(mn.into(), x.k.into(), bits, transposed, |_, _, at| {
                chunk(env, st, cta, at)?;
                st.check_written(env, cta, at, 16, 0)?;
                if st.races { st.trace(cta, at, 16, false, &access) } else { Ok(()) }
            })
        };
        if let WgmmaA::Desc(_) = x.a {
            visit(a_desc, 64, x.trans_a)?;
        }
        visit(b_desc, x.n, x.trans_b)?;
    }
    let scale_d = w.regs.p(x.scale_d) & 1 != 0;
    let op = WgmmaOp { function, index, b32: w.regs.b32, group, a_desc, b_desc, scale_d, copies: vec![] };
    w.wgmma.queue.push_back(op);
    if State::eager(env) {
        return perform(env, w, st);
    }
    Ok(())
}

/// Performs the oldest wgmma of a warp.
pub fn perform(env: &Env, w: &mut Warp, st: &mut State) -> Res<()> {
    let Some(op) = w.wgmma.queue.pop_front() else { return Ok(()) };
    let Some(x) = op.instruction(env) else { return Ok(()) };
    st.progress += 1;
    let frame = std::mem::replace(&mut w.regs.b32, op.b32);
    let result = compute(env, w, st, x, &op);
    w.regs.b32 = frame;
    for (from, to) in &op.copies {
        w.regs.r32[*to] = w.regs.r32[*from];
    }
    result
}

fn compute(env: &Env, w: &mut Warp, st: &mut State, x: &Wgmma, op: &WgmmaOp) -> Res<()> {
    let (n, k) = (x.n as usize, x.k as usize);
    let bits = x.a_ty.bits();
    let per = (32 / bits) as usize;
    let first_row = u64::from(w.id % 4) * 16;
    let cta = w.cta;
    let d: Vec<R> = x.d.iter().map(|d| R(*d)).collect();
    let width = (bits / 8) as usize;
    let take = |bytes: &[u8]| -> u32 {
        match width {
            1 => u32::from(bytes[0]),
            2 => u32::from(bytes[0]) | u32::from(bytes[1]) << 8,
            _ => u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
        }
    };
    let mut a_bits = vec![0u32; 16 * k];
    match x.a {
        WgmmaA::Regs(r) => {
            let regs: Vec<R> = r.iter().map(|r| R(*r)).collect();
            each_a(w, &regs, x.a_ty, 16, |i, kk, v| a_bits[i * k + kk] = v as u32);
        }
        WgmmaA::Desc(_) => {
            let desc = Descriptor::new(op.a_desc)?;
            desc.chunks(64, k as u64, bits.into(), x.trans_a, |row, byte, at| {
                let e = byte as usize / width;
                // Only the chunks of this warp's 16 rows.
                let mine = if x.trans_a {
                    first_row as usize / 8 == e / 8 || first_row as usize / 8 + 1 == e / 8
                } else {
                    row / 16 == first_row / 16
                };
                if mine {
                    let bytes = chunk(env, st, cta, at)?;
                    for (j, b) in bytes.chunks(width).enumerate() {
                        let (i, kk) = if x.trans_a {
                            (e + j - first_row as usize, row as usize)
                        } else {
                            ((row - first_row) as usize, e + j)
                        };
                        if i < 16 {
                            a_bits[i * k + kk] = take(b);
                        }
                    }
                }
                Ok(())
            })?;
        }
    }
    let mut b_bits = vec![0u32; k * n];
    Descriptor::new(op.b_desc)?.chunks(n as u64, k as u64, bits.into(), x.trans_b, |row, byte, at| {
        let bytes = chunk(env, st, cta, at)?;
        let e = byte as usize / width;
        for (j, b) in bytes.chunks(width).enumerate() {
            let place = if x.trans_b { row as usize * n + e + j } else { (e + j) * n + row as usize };
            if let Some(slot) = b_bits.get_mut(place) {
                *slot = take(b);
            }
        }
        Ok(())
    })?;
    debug_assert!(per >= 1);
    if x.a_ty.integer() {
        for (i, reg) in d.iter().enumerate() {
            let mut v = *w.regs.w32(reg.index());
            for (l, v) in v.iter_mut().enumerate() {
                let (row, col) = acc_place(i, l);
                let sum: i64 = (0..k)
                    .map(|kk| i64::from(integer(x.a_ty, a_bits[row * k + kk]) * integer(x.b_ty, b_bits[kk * n + col])))
                    .sum();
                *v = accumulate(if op.scale_d { *v } else { 0 }, sum, x.sat);
            }
            w.regs.set32(reg.index(), u32::MAX, &v);
        }
        return Ok(());
    }
    let sign = |negate: bool| if negate { -1.0f32 } else { 1.0 };
    let a: Vec<f32> = a_bits.iter().map(|v| element(x.a_ty, *v) * sign(x.negate_a)).collect();
    let b: Vec<f32> = b_bits.iter().map(|v| element(x.b_ty, *v) * sign(x.negate_b)).collect();
    let mut c = vec![0f32; 16 * n];
    if op.scale_d {
        read_acc(w, &d, x.acc, &mut c, n);
    }
    gemm(&a, &b, &mut c, n, k);
    write_acc(w, &d, x.acc, &c, n);
    Ok(())
}

/// `wgmma.commit_group`.
pub fn commit(w: &mut Warp) {
    w.wgmma.committed += 1;
}

/// Performs this warp's part of all groups that a wait needs; returns the last such group.
pub fn wait(env: &Env, w: &mut Warp, st: &mut State, pending: u32) -> Res<u32> {
    let until = w.wgmma.committed.saturating_sub(pending);
    while w.wgmma.queue.front().is_some_and(|op| op.group <= until) {
        perform(env, w, st)?;
    }
    w.wgmma.done = w.wgmma.done.max(until);
    let done = &mut st.ctas[w.cta].wgmma_done[w.id as usize];
    if *done < until {
        *done = until;
        st.progress += 1;
    }
    Ok(until)
}

/// Whether all four warps of the warpgroup have got as far as `until`.
pub fn group_done(w: &Warp, st: &State, until: u32) -> bool {
    let first = w.id as usize / 4 * 4;
    let done = &st.ctas[w.cta].wgmma_done;
    (first..first + 4).all(|i| done.get(i).is_some_and(|d| *d >= until))
}

/// After a wait: the warpgroup's reads are over.
pub fn waited(w: &mut Warp, st: &State, until: u32) {
    let first = w.global - w.id as usize % 4;
    w.clock.learn(st.agents.wgmma(first), until);
}
