//! Loads, stores and atomics in every space (PTX ISA 9.7.9, 9.7.13).

use super::fail::{Fail, Res, fail_at};
use super::regs::LANES;
use super::round::{BF16, F16, decode, encode};
use super::state::{Env, State, constant, little};
use super::warp::Warp;
use crate::counters::{sectors, wavefronts};
use crate::decode::inst::{Atomic, File, Ld, R, St};
use crate::decode::types::*;
use crate::error::FaultKind;
use crate::memory::local::mask as byte_mask;
use crate::memory::{CONST_WINDOW, LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW};
use crate::sanitize::global::{self, Tag};
use crate::sanitize::shared::Access;

/// A space with its instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Global,
    /// CTA of the cluster.
    Shared(usize),
    Local,
    Const,
    Param,
    /// A generic address in no window.
    Nowhere,
}

/// Addresses of all lanes: `base + offset`, wrapping in the width of the base register.
#[inline(always)]
pub fn addresses(w: &Warp, base: R, offset: i64) -> [u64; LANES] {
    let mut out = [0; LANES];
    match base.file() {
        File::W64 => {
            let b = w.regs.w64(base.index());
            for l in 0..LANES {
                out[l] = b[l].wrapping_add(offset as u64);
            }
        }
        _ => {
            let b = w.regs.w32(base.index());
            for l in 0..LANES {
                out[l] = u64::from(b[l].wrapping_add(offset as u32));
            }
        }
    }
    out
}

/// Space and offset of one address.
#[inline(always)]
pub fn classify(st: &State, own: usize, space: Space, addr: u64) -> (Kind, u64) {
    match space {
        Space::Global => (Kind::Global, addr),
        Space::Shared | Space::Cluster => match st.shared_place(own, addr & 0xffff_ffff) {
            Some((cta, at)) => (Kind::Shared(cta), at),
            None => (Kind::Nowhere, addr),
        },
        Space::Local => (Kind::Local, addr),
        Space::Const => (Kind::Const, addr),
        Space::Param => (Kind::Param, addr),
        Space::Generic => {
            if addr >= crate::memory::GLOBAL_BASE {
                (Kind::Global, addr)
            } else if (SHARED_WINDOW..SHARED_WINDOW + (18 << 24)).contains(&addr) {
                classify(st, own, Space::Shared, addr - SHARED_WINDOW)
            } else if (LOCAL_WINDOW..LOCAL_WINDOW + (1 << 28)).contains(&addr) {
                (Kind::Local, addr - LOCAL_WINDOW)
            } else if (CONST_WINDOW..CONST_WINDOW + (1 << 20)).contains(&addr) {
                (Kind::Const, addr)
            } else if (PARAM_WINDOW..PARAM_WINDOW + (1 << 20)).contains(&addr) {
                (Kind::Param, addr - PARAM_WINDOW)
            } else {
                (Kind::Nowhere, addr)
            }
        }
    }
}

/// Runs `f` once for each group of lanes that share a space.
#[inline(always)]
fn grouped(
    st: &mut State,
    own: usize,
    space: Space,
    mask: u32,
    addrs: &[u64; LANES],
    mut f: impl FnMut(&mut State, Kind, u32, &[u64; LANES]) -> Res<()>,
) -> Res<()> {
    let mut left = mask;
    while left != 0 {
        let first = left.trailing_zeros() as usize;
        let (kind, _) = classify(st, own, space, addrs[first]);
        let mut group = 0;
        let mut at = [0; LANES];
        for l in 0..LANES {
            if left >> l & 1 != 0 {
                let (k, a) = classify(st, own, space, addrs[l]);
                if k == kind {
                    group |= 1 << l;
                    at[l] = a;
                }
            }
        }
        left &= !group;
        f(st, kind, group, &at)?;
    }
    Ok(())
}

fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |l| mask >> l & 1 != 0)
}

/// Records the traffic of an access of `total` bytes a lane.
#[inline(always)]
fn tally(env: &Env, st: &mut State, kind: Kind, mask: u32, at: &[u64; LANES], total: u64) {
    if !env.options.counters {
        return;
    }
    let bytes = u64::from(mask.count_ones()) * total;
    match kind {
        Kind::Global => {
            let n = sectors(at, mask, total);
            let c = st.count();
            c.global_requests += 1;
            c.global_sectors += n;
            c.global_bytes += bytes;
        }
        Kind::Shared(_) => {
            let (n, ideal) = wavefronts(at, mask, total);
            let c = st.count();
            c.shared_requests += 1;
            c.shared_wavefronts += n;
            c.shared_ideal += ideal;
            c.shared_bytes += bytes;
        }
        Kind::Local => st.count().local_bytes += bytes,
        _ => {}
    }
}

/// Checks a global access and returns the block's index and the offset.
#[inline(always)]
pub fn check_global(env: &Env, st: &mut State, addr: u64, size: u64, lane: usize) -> Res<(usize, u64)> {
    let mut hint = st.hint;
    let Some((_, at)) = env.memory.locate(addr, size, &mut hint) else {
        return fail_at(
            FaultKind::OutOfBounds,
            format!("{size}-byte access outside global memory: {}", env.memory.describe(addr)),
            lane,
            addr,
        );
    };
    st.hint = hint;
    if addr % size.next_power_of_two().min(16) != 0 {
        return fail_at(FaultKind::Misaligned, format!("{size}-byte access to global memory is not aligned"), lane, addr);
    }
    Ok((hint, at))
}

/// Records a global access for race detection between CTAs.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub fn trace_global(
    env: &Env,
    st: &mut State,
    cta: usize,
    block: usize,
    at: u64,
    size: u64,
    write: bool,
    strong: bool,
    lane: usize,
) -> Res<()> {
    if !env.options.sanitizers.global_races {
        return Ok(());
    }
    let index = st.ctas[cta].index;
    let Some(block) = env.memory.block(block) else { return Ok(()) };
    if index >= global::MAX_CTAS {
        return Ok(());
    }
    let tag = Tag::new(env.launch, index, st.pc, strong);
    if let Some(c) = global::access(block, at, size, write, tag)
        && !st.ctas[cta].synced
    {
        let what = if c.was_write { "write" } else { "read" };
        return Err(Box::new(Fail {
            kind: FaultKind::GlobalRace,
            message: format!("global-memory race with an unordered {what} by CTA number {}", c.cta),
            lane: Some(lane as u32),
            address: Some(block.base + at),
            other: Some(c.pc),
        }));
    }
    Ok(())
}

/// The access of a warp through the generic proxy.
fn generic_access<'w>(w: &'w Warp, strong: bool, pc: u32) -> Access<'w> {
    let time = w.clock.seen.get(w.global).copied().unwrap_or_default();
    Access { agent: w.global, time, clock: &w.clock, async_proxy: false, strong, pc }
}

fn nowhere<T>(addr: u64, lane: usize) -> Res<T> {
    fail_at(FaultKind::OutOfBounds, "access to an address in no memory", lane, addr)
}

/// `ld`.
#[inline(always)]
pub fn load(env: &Env, w: &mut Warp, st: &mut State, mask: u32, ld: &Ld) -> Res<()> {
    let addrs = addresses(w, ld.addr, ld.off);
    let n = ld.dst.len();
    let total = u64::from(ld.size) * n as u64;
    let own = w.cta;
    let mut out = [[0u64; LANES]; 4];
    if n > 4 {
        return load_wide(env, w, st, mask, ld, &addrs);
    }
    grouped(st, own, ld.space, mask, &addrs, |st, kind, group, at| {
        tally(env, st, kind, group, at, total);
        fetch(env, w, st, kind, group, at, ld, n, &mut out)
    })?;
    if ld.sem.strong() {
        acquire(env, w, st, mask, ld.space, &addrs, ld.sem);
    }
    for (dst, values) in ld.dst.iter().zip(&out) {
        if let Some((r, bits)) = dst {
            put(w, *r, *bits, ld, mask, values);
        }
    }
    Ok(())
}

/// Eight-element vectors, two halves at a time.
#[inline(never)]
fn load_wide(env: &Env, w: &mut Warp, st: &mut State, mask: u32, ld: &Ld, addrs: &[u64; LANES]) -> Res<()> {
    let own = w.cta;
    for (i, half) in ld.dst.chunks(4).enumerate() {
        let mut out = [[0u64; LANES]; 4];
        let shifted = addrs.map(|a| a + u64::from(ld.size) * 4 * i as u64);
        grouped(st, own, ld.space, mask, &shifted, |st, kind, group, at| {
            tally(env, st, kind, group, at, u64::from(ld.size) * 4);
            fetch(env, w, st, kind, group, at, ld, half.len(), &mut out)
        })?;
        for (dst, values) in half.iter().zip(&out) {
            if let Some((r, bits)) = dst {
                put(w, *r, *bits, ld, mask, values);
            }
        }
    }
    Ok(())
}

#[inline(always)]
fn put(w: &mut Warp, r: R, bits: u32, ld: &Ld, mask: u32, values: &[u64; LANES]) {
    if !ld.signed || ld.size == 8 {
        w.regs.set(r, mask, values);
        return;
    }
    let shift = 64 - 8 * ld.size;
    let width = byte_mask(bits / 8);
    let wide = values.map(|v| ((v << shift) as i64 >> shift) as u64 & width);
    w.regs.set(r, mask, &wide);
}

#[inline(always)]
#[allow(clippy::too_many_arguments)]
fn fetch(
    env: &Env,
    w: &mut Warp,
    st: &mut State,
    kind: Kind,
    mask: u32,
    at: &[u64; LANES],
    ld: &Ld,
    n: usize,
    out: &mut [[u64; LANES]; 4],
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
                    values[l] = block.load(off + u64::from(size) * i as u64, size);
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
                aligned(at[l], total, l)?;
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
                aligned(at[l], total, l)?;
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
                    let a = at[l] as usize + size as usize * i;
                    let Some(bytes) = env.params.get(a..a + size as usize) else {
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

fn at_lane(mut e: Box<Fail>, lane: usize) -> Box<Fail> {
    e.lane = Some(lane as u32);
    e
}

fn aligned(at: u64, size: u64, lane: usize) -> Res<()> {
    if at % size.min(8) != 0 {
        return fail_at(FaultKind::Misaligned, format!("{size}-byte access is not aligned"), lane, at);
    }
    Ok(())
}

#[cold]
fn local_bounds<T>(w: &Warp, at: u64, lane: usize) -> Res<T> {
    fail_at(FaultKind::OutOfBounds, format!("access outside local memory, which is {} bytes a thread", w.local.size()), lane, at)
}

/// `st`.
#[inline(always)]
pub fn store(env: &Env, w: &mut Warp, st: &mut State, mask: u32, s: &St) -> Res<()> {
    let addrs = addresses(w, s.addr, s.off);
    let n = s.src.len();
    let size = s.size;
    let total = u64::from(size) * n as u64;
    let own = w.cta;
    if s.sem.strong() {
        release(w, st, mask, s.space, &addrs, s.sem);
    }
    grouped(st, own, s.space, mask, &addrs, |st, kind, group, at| {
        tally(env, st, kind, group, at, total);
        match kind {
            Kind::Global => {
                let mut blocks = [(0usize, 0u64); LANES];
                for l in lanes(group) {
                    let (block, off) = check_global(env, st, at[l], total, l)?;
                    trace_global(env, st, own, block, off, total, true, s.sem.strong(), l)?;
                    blocks[l] = (block, off);
                }
                for (i, r) in s.src.iter().enumerate() {
                    let values = w.regs.get(*r);
                    scatter(env, group, &blocks, u64::from(size) * i as u64, size, &values, n == 1);
                }
                for l in lanes(group) {
                    if let Some(block) = env.memory.block(blocks[l].0) {
                        block.mark(blocks[l].1, total);
                    }
                }
            }
            Kind::Shared(cta) => {
                for l in lanes(group) {
                    st.check_shared(env, cta, at[l], total, l)?;
                }
                if st.races {
                    let access = generic_access(w, s.sem.strong(), st.pc);
                    for l in lanes(group) {
                        st.trace(cta, at[l], total, true, &access).map_err(|e| at_lane(e, l))?;
                    }
                }
                if env.options.sanitizers.barriers && !st.ctas[cta].mbarriers.is_empty() {
                    for l in lanes(group) {
                        overwrites_mbarrier(st, cta, at[l], total, l)?;
                    }
                }
                for (i, r) in s.src.iter().enumerate() {
                    let values = w.regs.get(*r);
                    for l in lanes(group) {
                        st.store_shared(cta, at[l] + u64::from(size) * i as u64, size, values[l]);
                    }
                }
            }
            Kind::Local => {
                for (i, r) in s.src.iter().enumerate() {
                    let values = w.regs.get(*r);
                    for l in lanes(group) {
                        aligned(at[l], total, l)?;
                        if w.local.store(l, at[l] + u64::from(size) * i as u64, size, values[l]).is_none() {
                            return local_bounds(w, at[l], l);
                        }
                    }
                }
            }
            Kind::Const | Kind::Param => {
                let l = group.trailing_zeros() as usize;
                return fail_at(FaultKind::ReadOnly, "store to read-only memory", l, at[l]);
            }
            Kind::Nowhere => return nowhere(at[group.trailing_zeros() as usize], group.trailing_zeros() as usize),
        }
        Ok(())
    })
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

/// Stores one element of each lane; neighbours within a word become one store.
#[inline(always)]
fn scatter(env: &Env, mask: u32, blocks: &[(usize, u64); LANES], extra: u64, size: u32, values: &[u64; LANES], merge: bool) {
    let mut l = 0;
    while l < LANES {
        if mask >> l & 1 == 0 {
            l += 1;
            continue;
        }
        let (index, at) = (blocks[l].0, blocks[l].1 + extra);
        let Some(block) = env.memory.block(index) else { return };
        let mut bytes = size;
        let mut value = values[l] & byte_mask(size);
        let mut next = l + 1;
        while merge
            && at % 8 + u64::from(bytes + size) <= 8
            && next < LANES
            && mask >> next & 1 != 0
            && blocks[next] == (index, blocks[l].1 + u64::from(bytes))
        {
            value |= (values[next] & byte_mask(size)) << (8 * bytes);
            bytes += size;
            next += 1;
        }
        if bytes.is_power_of_two() {
            block.store(at, bytes, value, env.alone);
        } else {
            for i in 0..bytes / size {
                block.store(at + u64::from(i * size), size, value >> (8 * i * size), env.alone);
            }
        }
        l = next;
    }
}

/// A relaxed or stronger store publishes what its warp knows.
fn release(w: &mut Warp, st: &mut State, mask: u32, space: Space, addrs: &[u64; LANES], sem: Sem) {
    if !st.races {
        return;
    }
    let known = match sem {
        Sem::Release | Sem::AcqRel | Sem::Sc => Some(w.clock.clone()),
        _ => w.fence_clock.clone(),
    };
    let Some(known) = known else { return };
    for l in lanes(mask) {
        if let (Kind::Shared(cta), at) = classify(st, w.cta, space, addrs[l]) {
            st.ctas[cta].places.entry(at as u32).or_default().join(&known);
        }
    }
    tick(w);
}

/// A relaxed or stronger load takes over what was published.
fn acquire(env: &Env, w: &mut Warp, st: &mut State, mask: u32, space: Space, addrs: &[u64; LANES], sem: Sem) {
    let _ = env;
    let now = matches!(sem, Sem::Acquire | Sem::AcqRel | Sem::Sc);
    for l in lanes(mask) {
        match classify(st, w.cta, space, addrs[l]) {
            (Kind::Global, _) => {
                w.strong_global = true;
                if now {
                    st.ctas[w.cta].synced = true;
                }
            }
            (Kind::Shared(cta), at) if st.races => {
                if let Some(place) = st.ctas[cta].places.get(&(at as u32)) {
                    if now {
                        w.clock.join(place);
                    } else {
                        w.unfenced.get_or_insert_default().join(place);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Starts a new time for the warp: later accesses are not covered by what it has published.
pub fn tick(w: &mut Warp) {
    if let Some(t) = w.clock.seen.get_mut(w.global) {
        *t += 1;
    }
}

/// `fence`, `membar`.
pub fn fence(w: &mut Warp, st: &mut State) {
    if let Some(unfenced) = w.unfenced.take() {
        w.clock.join(&unfenced);
    }
    if st.races {
        w.fence_clock = Some(w.clock.clone());
        tick(w);
    }
    if w.strong_global {
        st.ctas[w.cta].synced = true;
    }
}

/// `atom`, `red`: lanes in order.
pub fn atomic(env: &Env, w: &mut Warp, st: &mut State, mask: u32, a: &Atomic) -> Res<()> {
    let addrs = addresses(w, a.addr, a.off);
    let size = a.ty.bytes();
    let total = u64::from(size) * a.b.len() as u64;
    let own = w.cta;
    let c = a.c.map(|c| w.regs.get(c));
    let mut out = vec![[0u64; LANES]; a.b.len()];
    let values: Vec<[u64; LANES]> = a.b.iter().map(|r| w.regs.get(*r)).collect();
    release(w, st, mask, a.space, &addrs, a.sem);
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
    acquire(env, w, st, mask, a.space, &addrs, a.sem);
    for (dst, values) in a.dst.iter().zip(&out) {
        if let Some(r) = dst {
            w.regs.set(*r, mask, values);
        }
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
