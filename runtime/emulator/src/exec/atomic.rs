//! Atomics (PTX ISA 9.7.13).

use super::address::{Kind, addresses, at_lane, check_global, generic_access, grouped, lanes, nowhere, tally, trace_global};
use super::fail::{Res, fail_at};
use super::order;
use super::regs::LANES;
use super::round::{BF16, F16, decode, encode};
use super::state::{Env, State};
use super::warp::Warp;
use crate::decode::inst::Atomic;
use crate::decode::types::*;
use crate::error::FaultKind;
use crate::memory::local::mask as byte_mask;

/// `atom`, `red`: lanes in order.
pub fn atomic(env: &Env, w: &mut Warp, st: &mut State, mask: u32, a: &Atomic) -> Res<()> {
    let addrs = addresses(w, a.addr, a.off);
    let size = a.ty.bytes();
    let total = u64::from(size) * a.b.len() as u64;
    let own = w.cta;
    let c = a.c.map(|c| w.regs.get(c));
    let mut out = vec![[0u64; LANES]; a.b.len()];
    let values: Vec<[u64; LANES]> = a.b.iter().map(|r| w.regs.get(*r)).collect();
    order::release(w, st, mask, a.space, &addrs, a.sem);
    grouped(st, own, a.space, mask, &addrs, |st, kind, group, at| {
        tally(env, st, kind, group, at, total);
        for l in lanes(group) {
            let new_of = |i: usize| {
                let (op, ty, b, c) = (a.op, a.ty, values[i][l], c.map_or(0, |c| c[l]));
                move |old: u64| combine(op, ty, old, b, c)
            };
            match kind {
                Kind::Global => {
                    let (block, off) = check_global(env, st, at[l], total, l)?;
                    whole(off, total, l)?;
                    trace_global(env, st, own, block, off, total, true, true, l)?;
                    let Some(block) = env.memory.block(block) else { continue };
                    if env.options.sanitizers.uninitialized && a.op != AtomOp::Exch && !block.is_written(off, total) {
                        return fail_at(FaultKind::Uninitialized, "atomic on memory that nothing wrote", l, at[l]);
                    }
                    for (i, o) in out.iter_mut().enumerate() {
                        o[l] = block.update(off + u64::from(size) * i as u64, size, new_of(i));
                    }
                    block.mark(off, total);
                }
                Kind::Shared(cta) => {
                    st.check_shared(env, cta, at[l], total, l)?;
                    whole(at[l], total, l)?;
                    if a.op != AtomOp::Exch {
                        st.check_written(env, cta, at[l], total, l)?;
                    }
                    if st.races {
                        let access = generic_access(w, true, st.pc);
                        st.trace(cta, at[l], total, true, &access).map_err(|e| at_lane(e, l))?;
                    }
                    for (i, o) in out.iter_mut().enumerate() {
                        let here = at[l] + u64::from(size) * i as u64;
                        o[l] = st.load_shared(cta, here, size);
                        let new = new_of(i)(o[l]);
                        st.store_shared(cta, here, size, new);
                    }
                }
                Kind::Local | Kind::Const | Kind::Param => {
                    return fail_at(FaultKind::ReadOnly, "atomics work on global and shared memory only", l, at[l]);
                }
                Kind::Nowhere => return nowhere(at[l], l),
            }
        }
        Ok(())
    })?;
    st.progress += 1;
    order::acquire(w, st, mask, a.space, &addrs, a.sem);
    for (dst, values) in a.dst.iter().zip(&out) {
        if let Some(r) = dst {
            w.regs.set(*r, mask, values);
        }
    }
    Ok(())
}

/// No machine has misaligned atomics, whatever the sanitizers say.
fn whole(at: u64, size: u64, lane: usize) -> Res<()> {
    if at % size.min(16) != 0 {
        return fail_at(FaultKind::Misaligned, format!("{size}-byte atomic is not aligned"), lane, at);
    }
    Ok(())
}

/// The new value of an atomic.
pub fn combine(op: AtomOp, ty: AtomTy, old: u64, b: u64, c: u64) -> u64 {
    let b = b & byte_mask(ty.bytes());
    let pair = |f: &dyn Fn(u32, u32) -> u32| u64::from(f(old as u32, b as u32) | f((old >> 16) as u32, (b >> 16) as u32) << 16);
    let small = |bf: bool| {
        move |x: u32, y: u32| {
            let format = if bf { BF16 } else { F16 };
            let (x, y) = (decode(x & 0xffff, format), decode(y & 0xffff, format));
            let v = match op {
                AtomOp::Min => x.min(y),
                AtomOp::Max => x.max(y),
                _ => x + y,
            };
            encode(v, format, Rnd::Rn)
        }
    };
    match op {
        AtomOp::And => old & b,
        AtomOp::Or => old | b,
        AtomOp::Xor => old ^ b,
        AtomOp::Exch => b,
        AtomOp::Cas => {
            if old == b {
                c
            } else {
                old
            }
        }
        AtomOp::Inc => {
            if old >= b {
                0
            } else {
                old + 1
            }
        }
        AtomOp::Dec => {
            if old == 0 || old > b {
                b
            } else {
                old - 1
            }
        }
        AtomOp::Add | AtomOp::Min | AtomOp::Max => match ty {
            AtomTy::F32 => {
                let (x, y) = (f32::from_bits(old as u32), f32::from_bits(b as u32));
                u64::from((x + y).to_bits())
            }
            AtomTy::F64 => (f64::from_bits(old) + f64::from_bits(b)).to_bits(),
            AtomTy::F16 => u64::from(small(false)(old as u32, b as u32)),
            AtomTy::Bf16 => u64::from(small(true)(old as u32, b as u32)),
            AtomTy::F16x2 => pair(&small(false)),
            AtomTy::Bf16x2 => pair(&small(true)),
            _ => match (op, ty) {
                (AtomOp::Add, _) => old.wrapping_add(b),
                (AtomOp::Min, AtomTy::S32) => u64::from((old as i32).min(b as i32) as u32),
                (AtomOp::Max, AtomTy::S32) => u64::from((old as i32).max(b as i32) as u32),
                (AtomOp::Min, AtomTy::S64) => (old as i64).min(b as i64) as u64,
                (AtomOp::Max, AtomTy::S64) => (old as i64).max(b as i64) as u64,
                (AtomOp::Min, _) => old.min(b),
                _ => old.max(b),
            },
        },
    }
}
