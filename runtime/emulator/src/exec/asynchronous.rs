//! Asynchronous copies: issued, kept pending, completed when the schedule says (PTX ISA 9.7.9.25 to 9.7.9.27).
//!
//! Addresses and races are checked when a copy is issued; data moves when it completes, so that a kernel which does
//! not wait works with old data and one that reuses a buffer too early has it overwritten.

use super::address::{Kind, addresses, check_global, classify, tally, trace_global};
use super::atomic::combine;
use super::fail::{Res, fail, fail_at};
use super::regs::LANES;
use super::state::{Env, State};
use super::sync::{live, mbarrier_place, signal};
use super::tile::{Tile, TileOp};
use super::warp::Warp;
use crate::decode::inst::{Bulk, R, StAsync};
use crate::decode::types::*;
use crate::error::FaultKind;
use crate::sanitize::clock::Clock;
use crate::sanitize::shared::Access;

/// An operation that has been issued and not completed.
#[derive(Debug)]
pub struct Pending {
    /// Warp of the cluster that issued it.
    pub warp: usize,
    pub cta: usize,
    /// Program-wide instruction index.
    pub pc: u32,
    /// Number within the warp's copies or bulk operations.
    pub sequence: u32,
    pub what: What,
}

/// Where an mbarrier is, and the time of its copies' agent.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    pub cta: usize,
    pub at: u32,
    pub bytes: i64,
    pub agent: usize,
    pub time: u32,
}

/// The kinds of pending operation.
#[derive(Debug)]
pub enum What {
    /// `cp.async`: shared offset, global address, bytes copied of `size`.
    Copy { lanes: Vec<(u64, u64, u32)>, size: u32 },
    /// `cp.async.mbarrier.arrive`: after the copies up to `sequence`.
    CopyArrive { bars: Vec<(usize, u32)>, clock: Option<Clock> },
    /// Global to shared of one or more CTAs, with completion.
    ToShared { to: Vec<(usize, u64, Signal)>, from: u64, size: u64 },
    /// Shared to shared of another CTA, perhaps reducing.
    Between { from: (usize, u64), to: (usize, u64), size: u64, signal: Signal, reduce: Option<(AtomOp, AtomTy)> },
    /// Shared to global in a bulk group, perhaps reducing.
    ToGlobal { from: (usize, u64), to: u64, size: u64, reduce: Option<(AtomOp, AtomTy)> },
    /// A tensor tile.
    Tile(Box<TileOp>),
    /// `st.async`, `red.async`.
    Store { to: (usize, u64), values: Vec<u64>, size: u32, signal: Signal, reduce: Option<(AtomOp, AtomTy)> },
}

impl What {
    /// Belongs to the bulk groups of its thread.
    fn grouped(&self) -> bool {
        matches!(self, What::ToGlobal { .. } | What::Tile(_)) && !matches!(self, What::Tile(t) if !t.signals.is_empty())
    }
}

/// Adds a pending operation; completes it at once under the eager schedule.
pub fn issue(env: &Env, st: &mut State, p: Pending) -> Res<()> {
    st.pending.push(p);
    if State::eager(env) {
        let last = st.pending.len() - 1;
        return complete(env, st, last);
    }
    Ok(())
}

/// Space and offset of a shared address of a warp.
pub fn shared_at(env: &Env, st: &State, own: usize, space: Space, addr: u64, size: u64, lane: usize) -> Res<(usize, u64)> {
    match classify(st, own, space, addr) {
        (Kind::Shared(cta), at) => {
            let len = st.ctas[cta].shared.len() as u64;
            if at < u64::from(env.shared_base) || at.checked_add(size).is_none_or(|end| end > len) {
                return fail_at(FaultKind::OutOfBounds, format!("{size}-byte asynchronous copy outside shared memory"), lane, at);
            }
            Ok((cta, at))
        }
        _ => fail_at(FaultKind::OutOfBounds, "not a shared-memory address", lane, addr),
    }
}

/// `cp.async`.
#[allow(clippy::too_many_arguments)]
pub fn copy(
    env: &Env,
    w: &mut Warp,
    st: &mut State,
    mask: u32,
    (dst, dst_off): (R, i64),
    (src, src_off): (R, i64),
    size: u32,
    src_size: Option<u32>,
    ignore: Option<u32>,
) -> Res<()> {
    let to = addresses(w, dst, dst_off);
    let from = addresses(w, src, src_off);
    w.copies.issued += 1;
    let sequence = w.copies.issued;
    let mut lanes = vec![];
    // Whether a lane reads anything, and where each writes.
    let (mut reading, mut slots) = (0u32, [0; LANES]);
    for l in (0..LANES).filter(|l| mask >> l & 1 != 0) {
        let (cta, at) = shared_at(env, st, w.cta, Space::Shared, to[l], size.into(), l)?;
        slots[l] = at;
        if env.options.sanitizers.alignment && at % u64::from(size) != 0 {
            return fail_at(FaultKind::Misaligned, format!("cp.async destination is not aligned to {size} bytes"), l, at);
        }
        let mut n = src_size.map_or(size, |s| w.regs.w32(s)[l]);
        if n > size {
            return fail_at(FaultKind::InvalidOperand, format!("cp.async source size {n} is more than {size}"), l, from[l]);
        }
        if ignore.is_some_and(|p| w.regs.p(p) >> l & 1 != 0) {
            n = 0;
        }
        if n > 0 {
            if env.options.sanitizers.alignment && from[l] % u64::from(size) != 0 {
                return fail_at(FaultKind::Misaligned, format!("cp.async source is not aligned to {size} bytes"), l, from[l]);
            }
            read_global(env, st, w.cta, from[l], n.into(), l)?;
            reading |= 1 << l;
        }
        if st.races {
            let agent = st.agents.copies(w.global);
            let access = Access { agent, time: sequence, clock: &w.clock, async_proxy: false, strong: false, pc: st.pc };
            st.trace(cta, at, size.into(), true, &access)?;
        }
        lanes.push((at, from[l], n));
    }
    if reading != 0 {
        tally(env, st, Kind::Global, reading, &from, size.into());
    }
    tally(env, st, Kind::Shared(w.cta), mask, &slots, size.into());
    let p = Pending { warp: w.global, cta: w.cta, pc: st.pc, sequence, what: What::Copy { lanes, size } };
    issue(env, st, p)
}

/// Checks a read of global memory by a copy engine: bounds, written, races.
pub fn read_global(env: &Env, st: &mut State, cta: usize, addr: u64, size: u64, lane: usize) -> Res<()> {
    let mut hint = st.hint;
    let Some((block, at)) = env.memory.locate(addr, size, &mut hint) else {
        return fail_at(
            FaultKind::OutOfBounds,
            format!("{size}-byte asynchronous copy outside global memory: {}", env.memory.describe(addr)),
            lane,
            addr,
        );
    };
    st.hint = hint;
    if env.options.sanitizers.uninitialized && !block.is_written(at, size) {
        return fail_at(FaultKind::Uninitialized, "copy of global memory that nothing wrote", lane, addr);
    }
    trace_global(env, st, cta, hint, at, size, false, false, lane)
}

/// Checks that there is something in memory for a reduction to add to.
pub fn reduced_into(env: &Env, block: usize, at: u64, size: u64, lane: usize) -> Res<()> {
    let Some(block) = env.memory.block(block) else { return Ok(()) };
    if env.options.sanitizers.uninitialized && !block.is_written(at, size) {
        return fail_at(FaultKind::Uninitialized, "reduction into memory that nothing wrote", lane, block.base + at);
    }
    Ok(())
}

/// `cp.async.wait_group`, `wait_all`.
pub fn copy_wait(env: &Env, w: &mut Warp, st: &mut State, mask: u32, pending: Option<u32>) -> Res<()> {
    let until = match pending {
        Some(n) => w.copies.until(mask, n),
        None => w.copies.issued,
    };
    finish(env, st, w.global, until, |p| matches!(p.what, What::Copy { .. }))?;
    w.clock.learn(st.agents.copies(w.global), until);
    Ok(())
}

/// `cp.async.bulk.wait_group`.
pub fn bulk_wait(env: &Env, w: &mut Warp, st: &mut State, mask: u32, pending: u32) -> Res<()> {
    let until = w.bulk.until(mask, pending);
    finish(env, st, w.global, until, |p| p.what.grouped())?;
    w.clock.learn(st.agents.bulk(w.global), until);
    Ok(())
}

/// Completes a warp's operations up to a number, in order.
fn finish(env: &Env, st: &mut State, warp: usize, until: u32, which: impl Fn(&Pending) -> bool) -> Res<()> {
    while let Some(i) = st.pending.iter().position(|p| p.warp == warp && p.sequence <= until && which(p)) {
        complete(env, st, i)?;
    }
    Ok(())
}

/// `cp.async.mbarrier.arrive`.
pub fn copy_arrive(env: &Env, w: &mut Warp, st: &mut State, mask: u32, noinc: bool, addr: (R, i64)) -> Res<()> {
    let addrs = addresses(w, addr.0, addr.1);
    let mut bars = vec![];
    for l in (0..LANES).filter(|l| mask >> l & 1 != 0) {
        let place = mbarrier_place(env, st, w.cta, Space::Shared, addrs[l], l)?;
        let bar = live(st, place.0, place.1, l)?;
        if !noinc {
            bar.pending += 1;
        }
        bars.push(place);
    }
    let clock = st.races.then(|| {
        let mut clock = w.clock.clone();
        clock.learn(st.agents.copies(w.global), w.copies.issued);
        clock
    });
    super::order::tick(w);
    let p = Pending { warp: w.global, cta: w.cta, pc: st.pc, sequence: w.copies.issued, what: What::CopyArrive { bars, clock } };
    issue(env, st, p)
}

/// A new time for the copies that complete on an mbarrier.
pub fn signal_on(st: &mut State, cta: usize, at: u32, bytes: u64, lane: usize) -> Res<Signal> {
    let bar = live(st, cta, at, lane)?;
    bar.time += 1;
    Ok(Signal { cta, at, bytes: bytes as i64, agent: bar.agent, time: bar.time })
}

/// The CTAs that a copy goes to: all in the multicast mask, or the addressed one.
pub fn targets(st: &State, cta: usize, mask: Option<u32>, lane: usize) -> Res<Vec<usize>> {
    let Some(mask) = mask else { return Ok(vec![cta]) };
    let list: Vec<usize> = (0..16).filter(|r| mask >> r & 1 != 0).collect();
    if list.is_empty() || list.iter().any(|r| *r >= st.ctas.len()) {
        return fail_at(FaultKind::InvalidOperand, format!("multicast mask {mask:#x} names no CTA of the cluster"), lane, 0);
    }
    Ok(list)
}

/// `cp.async.bulk` and `cp.reduce.async.bulk` without tensors.
pub fn bulk(env: &Env, w: &mut Warp, st: &mut State, mask: u32, b: &Bulk) -> Res<()> {
    let to = addresses(w, b.dst, b.dst_off);
    let from = addresses(w, b.src, b.src_off);
    let bars = b.mbar.map(|(r, off)| addresses(w, r, off));
    for l in (0..LANES).filter(|l| mask >> l & 1 != 0) {
        let size = u64::from(w.regs.w32(b.size)[l]);
        if size == 0 || size % 16 != 0 || to[l] % 16 != 0 || from[l] % 16 != 0 {
            return fail_at(
                FaultKind::Misaligned,
                format!("bulk copies of {size} bytes: size and addresses must be multiples of 16"),
                l,
                to[l],
            );
        }
        let multicast = b.mask.map(|m| w.regs.w32(m)[l]);
        w.bulk.issued += 1;
        let sequence = w.bulk.issued;
        let what = match (b.from, bars) {
            (Space::Global, Some(bars)) => {
                read_global(env, st, w.cta, from[l], size, l)?;
                let (cta, at) = shared_at(env, st, w.cta, Space::Cluster, to[l], size, l)?;
                let (bar_cta, bar_at) = mbarrier_place(env, st, w.cta, Space::Cluster, bars[l], l)?;
                let mut list = vec![];
                for target in targets(st, cta, multicast, l)? {
                    let bar = if multicast.is_some() { target } else { bar_cta };
                    let signal = signal_on(st, bar, bar_at, size, l)?;
                    async_access(st, w, target, at, size, true, signal.agent, signal.time)?;
                    list.push((target, at, signal));
                }
                What::ToShared { to: list, from: from[l], size }
            }
            (_, Some(bars)) => {
                let (cta, at) = shared_at(env, st, w.cta, Space::Cluster, to[l], size, l)?;
                let (own, src) = shared_at(env, st, w.cta, Space::Shared, from[l], size, l)?;
                let (bar_cta, bar_at) = mbarrier_place(env, st, w.cta, Space::Cluster, bars[l], l)?;
                st.check_written(env, own, src, size, l)?;
                let signal = signal_on(st, bar_cta, bar_at, size, l)?;
                async_access(st, w, own, src, size, false, signal.agent, signal.time)?;
                if b.reduce.is_none() {
                    async_access(st, w, cta, at, size, true, signal.agent, signal.time)?;
                }
                What::Between { from: (own, src), to: (cta, at), size, signal, reduce: b.reduce }
            }
            (_, None) => {
                let (cta, at) = shared_at(env, st, w.cta, Space::Shared, from[l], size, l)?;
                st.check_written(env, cta, at, size, l)?;
                let (block, off) = check_global(env, st, to[l], size, l)?;
                trace_global(env, st, w.cta, block, off, size, true, b.reduce.is_some(), l)?;
                if b.reduce.is_some() {
                    reduced_into(env, block, off, size, l)?;
                }
                let agent = st.agents.bulk(w.global);
                async_access(st, w, cta, at, size, false, agent, sequence)?;
                What::ToGlobal { from: (cta, at), to: to[l], size, reduce: b.reduce }
            }
        };
        if env.options.counters {
            st.count().async_bytes += size;
        }
        issue(env, st, Pending { warp: w.global, cta: w.cta, pc: st.pc, sequence, what })?;
    }
    Ok(())
}

/// Records an asynchronous-proxy access for race detection.
#[allow(clippy::too_many_arguments)]
pub fn async_access(st: &mut State, w: &Warp, cta: usize, at: u64, size: u64, write: bool, agent: usize, time: u32) -> Res<()> {
    if !st.races {
        return Ok(());
    }
    let access = Access { agent, time, clock: &w.clock, async_proxy: true, strong: false, pc: st.pc };
    st.trace(cta, at, size, write, &access)
}

/// `st.async`, `red.async`.
pub fn store(env: &Env, w: &mut Warp, st: &mut State, mask: u32, s: &StAsync) -> Res<()> {
    let to = addresses(w, s.addr, s.off);
    let bars = addresses(w, s.mbar.0, s.mbar.1);
    let size = u64::from(s.size) * s.src.len() as u64;
    for l in (0..LANES).filter(|l| mask >> l & 1 != 0) {
        let (cta, at) = shared_at(env, st, w.cta, Space::Cluster, to[l], size, l)?;
        st.check_shared(env, cta, at, size, l)?;
        let (bar_cta, bar_at) = mbarrier_place(env, st, w.cta, Space::Cluster, bars[l], l)?;
        if bar_cta != cta {
            return fail_at(FaultKind::InvalidOperand, "st.async: data and mbarrier must be in the same CTA", l, to[l]);
        }
        let values = s.src.iter().map(|r| w.regs.lane(*r, l)).collect();
        let signal = signal_on(st, bar_cta, bar_at, size, l)?;
        if s.reduce.is_none() {
            async_access(st, w, cta, at, size, true, signal.agent, signal.time)?;
        }
        let what = What::Store { to: (cta, at), values, size: s.size, signal, reduce: s.reduce };
        issue(env, st, Pending { warp: w.global, cta: w.cta, pc: st.pc, sequence: 0, what })?;
    }
    Ok(())
}

/// Bytes arrive at an mbarrier.
fn deliver(st: &mut State, s: &Signal) -> Res<()> {
    let bar = live(st, s.cta, s.at, 0)?;
    bar.clock.learn(s.agent, s.time);
    signal(st, (s.cta, s.at), 0, s.bytes, None, 0)
}

/// Completes the pending operation `i`.
pub fn complete(env: &Env, st: &mut State, i: usize) -> Res<()> {
    st.idle = 0;
    st.progress += 1;
    let p = st.pending.remove(i);
    let run = |st: &mut State| -> Res<()> {
        match &p.what {
            What::Copy { lanes, size } => {
                for (at, from, n) in lanes {
                    let mut bytes = [0u8; 16];
                    env.memory.read_near(*from, &mut bytes[..*n as usize], &mut st.hint);
                    write_shared(st, p.cta, *at, &bytes[..*size as usize]);
                }
            }
            What::CopyArrive { bars, clock } => {
                finish(env, st, p.warp, p.sequence, |q| matches!(q.what, What::Copy { .. }))?;
                for place in bars {
                    signal(st, *place, 1, 0, clock.as_ref(), 0)?;
                }
            }
            What::ToShared { to, from, size } => {
                let mut bytes = vec![0u8; *size as usize];
                env.memory.read_near(*from, &mut bytes, &mut st.hint);
                for (cta, at, signal) in to {
                    write_shared(st, *cta, *at, &bytes);
                    deliver(st, signal)?;
                }
            }
            What::Between { from, to, size, signal, reduce } => {
                let bytes = st.ctas[from.0].shared[from.1 as usize..(from.1 + size) as usize].to_vec();
                match reduce {
                    None => write_shared(st, to.0, to.1, &bytes),
                    Some((op, ty)) => {
                        for (k, chunk) in bytes.chunks(ty.bytes() as usize).enumerate() {
                            let at = to.1 + k as u64 * u64::from(ty.bytes());
                            let old = st.load_shared(to.0, at, ty.bytes());
                            let new = combine(*op, *ty, old, super::state::little(chunk), 0);
                            st.store_shared(to.0, at, ty.bytes(), new);
                        }
                    }
                }
                deliver(st, signal)?;
            }
            What::ToGlobal { from, to, size, reduce } => {
                let bytes = st.ctas[from.0].shared[from.1 as usize..(from.1 + size) as usize].to_vec();
                let Some((block, at)) = env.memory.locate(*to, *size, &mut st.hint) else {
                    return fail(FaultKind::OutOfBounds, "bulk copy outside global memory");
                };
                match reduce {
                    None => block.write_from(at, &bytes, env.alone),
                    Some((op, ty)) => {
                        for (k, chunk) in bytes.chunks(ty.bytes() as usize).enumerate() {
                            let value = super::state::little(chunk);
                            let at = at + k as u64 * u64::from(ty.bytes());
                            block.update(at, ty.bytes(), |old| combine(*op, *ty, old, value, 0));
                        }
                        block.mark(at, *size);
                    }
                }
            }
            What::Tile(t) => {
                t.run(env, st)?;
                for signal in &t.signals {
                    deliver(st, signal)?;
                }
            }
            What::Store { to, values, size, signal, reduce } => {
                for (k, v) in values.iter().enumerate() {
                    let at = to.1 + k as u64 * u64::from(*size);
                    let new = match reduce {
                        None => *v,
                        Some((op, ty)) => combine(*op, *ty, st.load_shared(to.0, at, *size), *v, 0),
                    };
                    st.store_shared(to.0, at, *size, new);
                }
                deliver(st, signal)?;
            }
        }
        Ok(())
    };
    let before = st.pc;
    st.pc = p.pc;
    let result = run(st);
    if result.is_ok() {
        st.pc = before;
    }
    result
}

/// Writes bytes that were checked at issue.
pub fn write_shared(st: &mut State, cta: usize, at: u64, bytes: &[u8]) {
    let cta = &mut st.ctas[cta];
    let at = at as usize;
    cta.shared[at..at + bytes.len()].copy_from_slice(bytes);
    cta.written[at..at + bytes.len()].fill(1);
}

/// `cp.async.bulk.tensor`: see [`Tile`].
pub fn tensor(env: &Env, w: &mut Warp, st: &mut State, mask: u32, t: &crate::decode::inst::TensorCopy) -> Res<()> {
    for l in (0..LANES).filter(|l| mask >> l & 1 != 0) {
        Tile::issue(env, w, st, l, t)?;
    }
    Ok(())
}
