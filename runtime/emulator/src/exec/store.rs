//! Stores in every space (PTX ISA 9.7.9).

use super::address::{
    Kind, Whole, addresses, aligned, at_lane, check_global, generic_access, grouped, lanes, local_bounds, nowhere, tally,
    trace_global,
};
use super::fail::{Res, fail_at};
use super::order;
use super::regs::LANES;
use super::state::{Env, State};
use super::warp::Warp;
use crate::decode::inst::{File, St};
use crate::error::FaultKind;

/// `st`.
pub fn store(env: &Env, w: &mut Warp, st: &mut State, mask: u32, s: &St) -> Res<()> {
    let addrs = addresses(w, s.addr, s.off);
    if !s.sem.strong() && quick(env, w, st, mask, s, &addrs)? {
        return Ok(());
    }
    let own = w.cta;
    let total = u64::from(s.size) * s.src.len() as u64;
    if s.sem.strong() {
        order::release(w, st, mask, s.space, &addrs, s.sem);
    }
    grouped(st, own, s.space, mask, &addrs, |st, kind, group, at| {
        tally(env, st, kind, group, at, total);
        place(env, w, st, kind, group, at, s)
    })
}

/// The common store: one block of global memory or the CTA's own shared memory, no ordering. False if it is another.
#[inline(always)]
fn quick(env: &Env, w: &mut Warp, st: &mut State, mask: u32, s: &St, addrs: &[u64; LANES]) -> Res<bool> {
    let (size, total) = (s.size, u64::from(s.size) * s.src.len() as u64);
    let Some(whole) = Whole::of(env, w, st, s.space, mask, addrs, total) else { return Ok(false) };
    let at = &whole.at;
    match whole.block.map(|i| (i, env.memory.block(i))) {
        Some((index, Some(block))) => {
            if env.options.sanitizers.global_races {
                for l in lanes(mask) {
                    trace_global(env, st, w.cta, index, at[l], total, true, false, l)?;
                }
            }
            tally(env, st, Kind::Global, mask, at, total);
            match (&s.src[..], size) {
                // Neighbours make whole words.
                ([r], 4) if whole.dense && at[0] % 8 == 0 && r.file() == File::W32 => {
                    for (i, pair) in w.regs.w32(r.index()).chunks_exact(2).enumerate() {
                        block.store(at[0] + 8 * i as u64, 8, u64::from(pair[0]) | u64::from(pair[1]) << 32, env.alone);
                    }
                }
                ([_, _] | [_, _, _, _], 4) => {
                    for (i, pair) in s.src.chunks_exact(2).enumerate() {
                        let (low, high) = (w.regs.get(pair[0]), w.regs.get(pair[1]));
                        for l in lanes(mask) {
                            block.store(at[l] + 8 * i as u64, 8, low[l] & 0xffff_ffff | high[l] << 32, env.alone);
                        }
                    }
                }
                _ => {
                    for (i, r) in s.src.iter().enumerate() {
                        let values = w.regs.get(*r);
                        for l in lanes(mask) {
                            block.store(at[l] + u64::from(size) * i as u64, size, values[l], env.alone);
                        }
                    }
                }
            }
            if whole.dense {
                block.mark(at[0], total * LANES as u64);
            } else {
                lanes(mask).for_each(|l| block.mark(at[l], total));
            }
        }
        Some((_, None)) => return Ok(false),
        None => {
            tally(env, st, Kind::Shared(w.cta), mask, at, total);
            to_shared(env, w, st, w.cta, mask, at, s)?;
        }
    }
    Ok(true)
}

/// Checked places in shared memory: races, live mbarriers, then the data.
fn to_shared(env: &Env, w: &Warp, st: &mut State, cta: usize, mask: u32, at: &[u64; LANES], s: &St) -> Res<()> {
    let (size, total) = (s.size, u64::from(s.size) * s.src.len() as u64);
    if st.races {
        let access = generic_access(w, s.sem.strong(), st.pc);
        for l in lanes(mask) {
            st.trace(cta, at[l], total, true, &access).map_err(|e| at_lane(e, l))?;
        }
    }
    if env.options.sanitizers.barriers && !st.ctas[cta].mbarriers.is_empty() {
        for l in lanes(mask) {
            overwrites_mbarrier(st, cta, at[l], total, l)?;
        }
    }
    for (i, r) in s.src.iter().enumerate() {
        let values = w.regs.get(*r);
        for l in lanes(mask) {
            st.store_shared(cta, at[l] + u64::from(size) * i as u64, size, values[l]);
        }
    }
    Ok(())
}

#[inline(never)]
fn place(env: &Env, w: &mut Warp, st: &mut State, kind: Kind, mask: u32, at: &[u64; LANES], s: &St) -> Res<()> {
    let (size, total) = (s.size, u64::from(s.size) * s.src.len() as u64);
    let first = mask.trailing_zeros() as usize & 31;
    match kind {
        Kind::Global => {
            for l in lanes(mask) {
                let (index, off) = check_global(env, st, at[l], total, l)?;
                trace_global(env, st, w.cta, index, off, total, true, s.sem.strong(), l)?;
                let Some(block) = env.memory.block(index) else { continue };
                for (i, r) in s.src.iter().enumerate() {
                    block.store_any(off + u64::from(size) * i as u64, size, w.regs.lane(*r, l), env.alone);
                }
                block.mark(off, total);
            }
        }
        Kind::Shared(cta) => {
            for l in lanes(mask) {
                st.check_shared(env, cta, at[l], total, l)?;
            }
            to_shared(env, w, st, cta, mask, at, s)?;
        }
        Kind::Local => {
            for (i, r) in s.src.iter().enumerate() {
                let values = w.regs.get(*r);
                for l in lanes(mask) {
                    aligned(env, at[l], total, l)?;
                    if w.local.store(l, at[l] + u64::from(size) * i as u64, size, values[l]).is_none() {
                        return local_bounds(w, at[l], l);
                    }
                }
            }
        }
        Kind::Const | Kind::Param => return fail_at(FaultKind::ReadOnly, "store to read-only memory", first, at[first]),
        Kind::Nowhere => return nowhere(at[first], first),
    }
    Ok(())
}

fn overwrites_mbarrier(st: &State, cta: usize, at: u64, size: u64, lane: usize) -> Res<()> {
    let first = (at & !7) as u32;
    let last = ((at + size - 1) & !7) as u32;
    for word in (first..=last).step_by(8) {
        if st.ctas[cta].mbarriers.contains_key(&word) {
            return fail_at(FaultKind::MbarrierMisuse, "store over a live mbarrier", lane, at);
        }
    }
    Ok(())
}
