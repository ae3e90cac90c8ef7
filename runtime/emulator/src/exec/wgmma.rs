//! `wgmma`: issued, kept in flight, performed at a wait or when the schedule says (PTX ISA 9.7.15).

use super::descriptor::Descriptor;
use super::fail::{Res, fail, fail_at};
use super::fragment::{acc_place, accumulate, decode, each_a, gemm, integer, read_acc, write_acc};
use super::state::{Env, State};
use super::warp::Warp;
use crate::decode::inst::{Op, R, Wgmma, WgmmaA};
use crate::error::FaultKind;
use crate::sanitize::shared::Access;

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

/// Elements of operand A for the 16 rows of a warp, row-major.
fn load_a(env: &Env, w: &Warp, st: &State, x: &Wgmma, op: &WgmmaOp, out: &mut [u32]) -> Res<()> {
    let k = x.k as usize;
    let desc = match x.a {
        WgmmaA::Regs(r) => {
            each_a(&w.regs, &r.map(R), x.a_ty, 16, |i, kk, v| out[i * k + kk] = v as u32);
            return Ok(());
        }
        WgmmaA::Desc(_) => Descriptor::new(op.a_desc)?,
    };
    let width = x.a_ty.bits() / 8;
    let first = u64::from(w.id % 4) * 16;
    if x.trans_a {
        for kk in 0..k {
            for part in 0..u64::from(width) {
                let bytes = chunk(env, st, w.cta, desc.mn_major(kk as u64, first * u64::from(width) + 16 * part))?;
                let row = (16 / width * part as u32) as usize;
                elements(width, &bytes, |j, v| out[(row + j) * k + kk] = v);
            }
        }
    } else {
        for row in 0..16 {
            for part in 0..x.k * width / 16 {
                let bytes = chunk(env, st, w.cta, desc.k_major(first + row as u64, u64::from(16 * part)))?;
                let kk = (16 / width * part) as usize;
                elements(width, &bytes, |j, v| out[row * k + kk + j] = v);
            }
        }
    }
    Ok(())
}

/// Elements of operand B, row-major with k rows.
fn load_b(env: &Env, w: &Warp, st: &State, x: &Wgmma, op: &WgmmaOp, out: &mut [u32]) -> Res<()> {
    let (n, width) = (x.n as usize, x.b_ty.bits() / 8);
    Descriptor::new(op.b_desc)?.chunks(x.n.into(), x.k.into(), x.b_ty.bits().into(), x.trans_b, |row, byte, at| {
        let bytes = chunk(env, st, w.cta, at)?;
        let (row, e) = (row as usize, (byte as u32 / width) as usize);
        if x.trans_b {
            let out = &mut out[row * n + e..];
            elements(width, &bytes, |j, v| out[j] = v);
        } else {
            elements(width, &bytes, |j, v| out[(e + j) * n + row] = v);
        }
        Ok(())
    })
}

/// Elements of `width` bytes of a chunk.
#[inline(always)]
fn elements(width: u32, bytes: &[u8; 16], mut f: impl FnMut(usize, u32)) {
    match width {
        1 => bytes.iter().enumerate().for_each(|(j, b)| f(j, u32::from(*b))),
        2 => bytes.chunks_exact(2).enumerate().for_each(|(j, b)| f(j, u32::from(b[0]) | u32::from(b[1]) << 8)),
        _ => bytes.chunks_exact(4).enumerate().for_each(|(j, b)| f(j, u32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
    }
}

/// One warp's 16 rows.
fn compute(env: &Env, w: &mut Warp, st: &mut State, x: &Wgmma, op: &WgmmaOp) -> Res<()> {
    let (n, k) = (x.n as usize, x.k as usize);
    let (mut a_bits, mut b_bits) = (vec![0u32; 16 * k], vec![0u32; k * n]);
    load_a(env, w, st, x, op, &mut a_bits)?;
    load_b(env, w, st, x, op, &mut b_bits)?;
    if x.a_ty.integer() {
        for (i, reg) in x.d.iter().enumerate() {
            let mut v = *w.regs.w32(*reg);
            for (l, v) in v.iter_mut().enumerate() {
                let (row, col) = acc_place(i, l);
                let sum: i64 = (0..k)
                    .map(|kk| i64::from(integer(x.a_ty, a_bits[row * k + kk]) * integer(x.b_ty, b_bits[kk * n + col])))
                    .sum();
                *v = accumulate(if op.scale_d { *v } else { 0 }, sum, x.sat);
            }
            w.regs.set32(*reg, u32::MAX, &v);
        }
        return Ok(());
    }
    let (mut a, mut b, mut c) = (vec![0f32; 16 * k], vec![0f32; k * n], vec![0f32; 16 * n]);
    decode::best(x.a_ty, x.negate_a, &a_bits, &mut a);
    decode::best(x.b_ty, x.negate_b, &b_bits, &mut b);
    if op.scale_d {
        read_acc(&w.regs, x.d.iter().copied(), x.acc, &mut c, n);
    }
    gemm::best(&a, &b, &mut c, n, k);
    write_acc(&mut w.regs, x.d.iter().copied(), x.acc, &c, n);
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
