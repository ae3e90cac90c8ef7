//! Loads in every space (PTX ISA 9.7.9).

use super::address::{
    Kind, Whole, addresses, aligned, at_lane, check_global, generic_access, grouped, lanes, local_bounds, nowhere, tally,
    trace_global,
};
use super::fail::{Res, fail_at};
use super::order;
use super::regs::{LANES, each};
use super::state::{Env, State, constant, little};
use super::warp::Warp;
use crate::decode::inst::{File, Ld, R};
use crate::error::FaultKind;
use crate::memory::local::mask as byte_mask;

/// Elements that a lane loads at once: wider vectors go in pieces.
const MOST: usize = 4;

/// `ld`.
pub fn load(env: &Env, w: &mut Warp, st: &mut State, mask: u32, ld: &Ld) -> Res<()> {
    let addrs = addresses(w, ld.addr, ld.off);
    if !ld.sem.strong() && quick(env, w, st, mask, ld, &addrs)? {
        return Ok(());
    }
    let own = w.cta;
    for (i, piece) in ld.dst.chunks(MOST).enumerate() {
        let total = u64::from(ld.size) * piece.len() as u64;
        let shifted = each(&addrs, |a| a.wrapping_add(u64::from(ld.size) * (MOST * i) as u64));
        let mut out = [[0u64; LANES]; MOST];
        grouped(st, own, ld.space, mask, &shifted, |st, kind, group, at| {
            tally(env, st, kind, group, at, total);
            fetch(env, w, st, kind, group, at, ld, piece.len(), &mut out)
        })?;
        if ld.sem.strong() {
            order::acquire(w, st, mask, ld.space, &addrs, ld.sem);
        }
        for (dst, values) in piece.iter().zip(&out) {
            if let Some((r, bits)) = dst {
                put(w, *r, *bits, ld, mask, values);
            }
        }
    }
    Ok(())
}

/// The common load: one block of global memory or the CTA's own shared memory, no ordering. False if it is another, or one that
/// a sanitizer may have something to say about.
#[inline(always)]
fn quick(env: &Env, w: &mut Warp, st: &mut State, mask: u32, ld: &Ld, addrs: &[u64; LANES]) -> Res<bool> {
    let (size, n) = (ld.size, ld.dst.len());
    let total = u64::from(size) * n as u64;
    if n > MOST {
        return Ok(false);
    }
    let Some(whole) = Whole::of(env, w, st, ld.space, mask, addrs, total) else { return Ok(false) };
    let sanitizers = &env.options.sanitizers;
    let at = &whole.at;
    match whole.block.map(|i| (i, env.memory.block(i))) {
        Some((index, Some(block))) => {
            if sanitizers.uninitialized && !lanes(mask).all(|l| block.is_written(at[l], total)) {
                return Ok(false);
            }
            if sanitizers.global_races {
                for l in lanes(mask) {
                    trace_global(env, st, w.cta, index, at[l], total, false, false, l)?;
                }
            }
            tally(env, st, Kind::Global, mask, at, total);
            for (i, dst) in ld.dst.iter().enumerate() {
                let Some((r, bits)) = dst else { continue };
                let extra = u64::from(size) * i as u64;
                if size == 4 && r.file() == File::W32 {
                    let mut out = [0; LANES];
                    for l in 0..LANES {
                        out[l] = block.load(at[l] + extra, 4) as u32;
                    }
                    w.regs.set32(r.index(), mask, &out);
                } else {
                    let mut out = [0; LANES];
                    for l in 0..LANES {
                        out[l] = block.load(at[l] + extra, size);
                    }
                    put(w, *r, *bits, ld, mask, &out);
                }
            }
        }
        Some((_, None)) => return Ok(false),
        None => {
            let cta = w.cta;
            if sanitizers.uninitialized && !lanes(mask).all(|l| st.is_written(cta, at[l], total)) {
                return Ok(false);
            }
            if st.races {
                let access = generic_access(w, false, st.pc);
                for l in lanes(mask) {
                    st.trace(cta, at[l], total, false, &access).map_err(|e| at_lane(e, l))?;
                }
            }
            tally(env, st, Kind::Shared(cta), mask, at, total);
            for (i, dst) in ld.dst.iter().enumerate() {
                let Some((r, bits)) = dst else { continue };
                let extra = u64::from(size) * i as u64;
                let mut out = [0; LANES];
                for l in 0..LANES {
                    out[l] = st.load_shared(cta, at[l] + extra, size);
                }
                put(w, *r, *bits, ld, mask, &out);
            }
        }
    }
    Ok(true)
}

#[inline(always)]
fn put(w: &mut Warp, r: R, bits: u32, ld: &Ld, mask: u32, values: &[u64; LANES]) {
    if !ld.signed || ld.size == 8 {
        w.regs.set(r, mask, values);
        return;
    }
    let shift = 64 - 8 * ld.size;
    let width = byte_mask(bits / 8);
    let wide = each(values, |v| ((v << shift) as i64 >> shift) as u64 & width);
    w.regs.set(r, mask, &wide);
}

#[inline(never)]
fn fetch(
    env: &Env,
    w: &mut Warp,
    st: &mut State,
    kind: Kind,
    mask: u32,
    at: &[u64; LANES],
    ld: &Ld,
    n: usize,
    out: &mut [[u64; LANES]; MOST],
) -> Res<()> {
    let size = ld.size;
    let total = u64::from(size) * n as u64;
    match kind {
        Kind::Global => {
            let init = env.options.sanitizers.uninitialized;
            for l in lanes(mask) {
                let (block, off) = check_global(env, st, at[l], total, l)?;
                trace_global(env, st, w.cta, block, off, total, false, ld.sem.strong(), l)?;
                let Some(block) = env.memory.block(block) else { continue };
                if init && !block.is_written(off, total) {
                    return fail_at(FaultKind::Uninitialized, "read of global memory that nothing wrote", l, at[l]);
                }
                for (i, values) in out.iter_mut().take(n).enumerate() {
                    values[l] = block.load_any(off + u64::from(size) * i as u64, size);
                }
            }
        }
        Kind::Shared(cta) => {
            for l in lanes(mask) {
                st.check_shared(env, cta, at[l], total, l)?;
                st.check_written(env, cta, at[l], total, l)?;
                for (i, values) in out.iter_mut().take(n).enumerate() {
                    values[l] = st.load_shared(cta, at[l] + u64::from(size) * i as u64, size);
                }
            }
            if st.races {
                let access = generic_access(w, ld.sem.strong(), st.pc);
                for l in lanes(mask) {
                    st.trace(cta, at[l], total, false, &access).map_err(|e| at_lane(e, l))?;
                }
            }
        }
        Kind::Local => {
            for l in lanes(mask) {
                aligned(env, at[l], total, l)?;
                for (i, values) in out.iter_mut().take(n).enumerate() {
                    let Some(v) = w.local.load(l, at[l] + u64::from(size) * i as u64, size) else {
                        return local_bounds(w, at[l], l);
                    };
                    values[l] = v;
                }
            }
        }
        Kind::Const => {
            for l in lanes(mask) {
                aligned(env, at[l], total, l)?;
                for (i, values) in out.iter_mut().take(n).enumerate() {
                    let addr = at[l] + u64::from(size) * i as u64;
                    let Some(v) = constant(env, addr, u64::from(size)) else {
                        return fail_at(FaultKind::OutOfBounds, "access outside constant memory", l, addr);
                    };
                    values[l] = v;
                }
            }
        }
        Kind::Param => {
            for l in lanes(mask) {
                for (i, values) in out.iter_mut().take(n).enumerate() {
                    let a = (at[l] as usize).saturating_add(size as usize * i);
                    let Some(bytes) = env.params.get(a..a.saturating_add(size as usize)) else {
                        return fail_at(FaultKind::OutOfBounds, "access outside the kernel's parameters", l, at[l]);
                    };
                    values[l] = little(bytes);
                }
            }
        }
        Kind::Nowhere => return nowhere(at[mask.trailing_zeros() as usize], mask.trailing_zeros() as usize),
    }
    Ok(())
}
