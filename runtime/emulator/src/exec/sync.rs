//! CTA barriers, cluster barriers and mbarriers (PTX ISA 9.7.13).

use super::address::{Kind, addresses, classify};
use super::fail::{Res, fail, fail_at};
use super::order::tick;
use super::regs::LANES;
use super::state::{Barrier, Env, Mbarrier, State};
use super::warp::{Wait, Warp};
use crate::decode::inst::{Bar, Mbar};
use crate::decode::types::*;
use crate::error::FaultKind;
use crate::sanitize::clock::Clock;

/// What an instruction does to the split that executes it.
pub enum Flow {
    Next,
    /// Waits at this instruction, which is executed again unless it is a CTA barrier.
    Wait(Wait),
}

/// Completes a CTA barrier if enough threads have arrived.
fn try_complete(barrier: &mut Barrier, alive: &[u32]) -> bool {
    let mut warps = 0u32;
    let mut there = 0u32;
    for (arrived, alive) in barrier.arrived.iter().zip(alive) {
        warps += u32::from(*alive != 0);
        // A warp may arrive without waiting and exit.
        there += u32::from(*arrived != 0 && arrived & alive == *alive);
    }
    if there == 0 || there * 32 < barrier.expected.unwrap_or(warps * 32) {
        return false;
    }
    barrier.generation += 1;
    barrier.expected = None;
    barrier.arrived.fill(0);
    barrier.result = (barrier.popc, barrier.all, barrier.any);
    (barrier.popc, barrier.all, barrier.any) = (0, true, false);
    barrier.released = std::mem::take(&mut barrier.clock);
    true
}

/// `bar`, `barrier`: arrival. The caller has made sure that an aligned one has all lanes.
pub fn barrier(env: &Env, w: &mut Warp, st: &mut State, active: u32, bar: &Bar) -> Res<Flow> {
    let lane = active.trailing_zeros() as usize & 31;
    let id = w.regs.w32(bar.id)[lane];
    if id >= 16 {
        return fail(FaultKind::InvalidOperand, format!("barrier {id}: there are 16"));
    }
    let count = bar.count.map(|c| w.regs.w32(c)[lane]);
    if let Some(n) = count
        && (n == 0 || n % 32 != 0 || n > 1024)
    {
        return fail(FaultKind::InvalidOperand, format!("barrier thread count {n} is not a multiple of 32 up to 1024"));
    }
    let races = st.races;
    let cta = &mut st.ctas[w.cta];
    let barrier = &mut cta.barriers[id as usize];
    if env.options.sanitizers.barriers {
        if barrier.arrived.iter().any(|a| *a != 0) && barrier.expected != count {
            return fail(
                FaultKind::BarrierDivergence,
                format!("barrier {id} is used with different thread counts: {count:?} and {:?}", barrier.expected),
            );
        }
        if barrier.arrived[w.id as usize] & active != 0 {
            return fail(FaultKind::BarrierDivergence, format!("barrier {id}: this warp has already arrived"));
        }
    }
    barrier.expected = count;
    barrier.arrived[w.id as usize] |= active;
    if let Some((_, p, negate)) = bar.red {
        let votes = if negate { !w.regs.p(p) } else { w.regs.p(p) } & active;
        barrier.popc += votes.count_ones();
        barrier.all &= votes == active;
        barrier.any |= votes != 0;
    }
    let generation = barrier.generation;
    if races {
        barrier.clock.join(&w.clock);
        tick(w);
    }
    let done = try_complete(barrier, &cta.alive);
    st.progress += 1;
    if bar.kind == BarKind::Arrive {
        return Ok(Flow::Next);
    }
    if done {
        barrier_done(w, st, active, bar, id);
        return Ok(Flow::Next);
    }
    Ok(Flow::Wait(Wait::Barrier { id, generation }))
}

/// A split gets past a CTA barrier.
pub fn barrier_done(w: &mut Warp, st: &mut State, active: u32, bar: &Bar, id: u32) {
    let barrier = &st.ctas[w.cta].barriers[id as usize];
    if st.races {
        w.clock.join(&barrier.released);
        tick(w);
    }
    if let Some((d, ..)) = bar.red {
        let (popc, all, any) = barrier.result;
        let value = match bar.kind {
            BarKind::RedPopc => u64::from(popc),
            BarKind::RedAnd => u64::from(all),
            _ => u64::from(any),
        };
        w.regs.set(d, active, &[value; LANES]);
    }
}

fn cluster_complete(st: &mut State) {
    let alive = st.ctas.iter().flat_map(|c| c.alive.iter());
    let mut any = false;
    for (arrived, alive) in st.cluster.arrived.iter().zip(alive) {
        any |= *arrived != 0;
        if arrived & alive != *alive {
            return;
        }
    }
    if any {
        st.cluster.generation += 1;
        st.cluster.arrived.fill(0);
        st.cluster.released = std::mem::take(&mut st.cluster.clock);
        st.progress += 1;
    }
}

/// `barrier.cluster.arrive`.
pub fn cluster_arrive(w: &mut Warp, st: &mut State, active: u32, release: bool) -> Res<Flow> {
    let slot = &mut st.cluster.arrived[w.global];
    if *slot & active != 0 {
        return fail(FaultKind::BarrierDivergence, "barrier.cluster.arrive twice without a wait between");
    }
    *slot |= active;
    w.cluster_arrived = st.cluster.generation;
    if st.races && release {
        st.cluster.clock.join(&w.clock);
        tick(w);
    }
    cluster_complete(st);
    Ok(Flow::Next)
}

/// `barrier.cluster.wait`.
pub fn cluster_wait(w: &mut Warp, st: &mut State) -> Flow {
    if st.cluster.generation > w.cluster_arrived {
        if st.races {
            w.clock.join(&st.cluster.released);
            tick(w);
        }
        return Flow::Next;
    }
    Flow::Wait(Wait::Cluster(w.cluster_arrived))
}

/// Lanes have exited: barriers that waited for them may be complete.
pub fn exited(w: &Warp, st: &mut State) {
    let cta = &mut st.ctas[w.cta];
    cta.alive[w.id as usize] = w.alive;
    for barrier in &mut cta.barriers {
        if barrier.arrived.iter().any(|a| *a != 0) {
            try_complete(barrier, &cta.alive);
        }
    }
    st.progress += 1;
    cluster_complete(st);
}

/// CTA and offset of an mbarrier address.
pub fn mbarrier_place(env: &Env, st: &State, own: usize, space: Space, addr: u64, lane: usize) -> Res<(usize, u32)> {
    match classify(st, own, space, addr) {
        (Kind::Shared(cta), at) => {
            st.check_shared(env, cta, at, 8, lane)?;
            Ok((cta, at as u32))
        }
        _ => fail_at(FaultKind::OutOfBounds, "an mbarrier must be in shared memory", lane, addr),
    }
}

/// A live mbarrier.
pub fn live(st: &mut State, cta: usize, at: u32, lane: usize) -> Res<&mut Mbarrier> {
    match st.ctas[cta].mbarriers.get_mut(&at) {
        Some(m) => Ok(m),
        None => fail_at(FaultKind::MbarrierMisuse, "this mbarrier is not initialized", lane, u64::from(at)),
    }
}

/// Arrivals and bytes on an mbarrier; completes its phase when nothing is missing.
pub fn signal(st: &mut State, (cta, at): (usize, u32), arrivals: u32, bytes: i64, clock: Option<&Clock>, lane: usize) -> Res<()> {
    let m = live(st, cta, at, lane)?;
    m.pending -= i64::from(arrivals);
    m.tx -= bytes;
    if m.pending < 0 {
        let message = format!("more arrivals than the {} that the mbarrier expects in a phase", m.count);
        return fail_at(FaultKind::MbarrierMisuse, message, lane, u64::from(at));
    }
    if m.tx.unsigned_abs() >= 1 << 20 {
        return fail_at(FaultKind::MbarrierMisuse, format!("transaction count {} is out of range", m.tx), lane, u64::from(at));
    }
    if let Some(clock) = clock {
        m.clock.join(clock);
    }
    finish_phase(st, cta, at);
    Ok(())
}

fn finish_phase(st: &mut State, cta: usize, at: u32) {
    if let Some(m) = st.ctas[cta].mbarriers.get_mut(&at)
        && m.pending == 0
        && m.tx == 0
    {
        m.phase += 1;
        m.pending = i64::from(m.count);
        m.released = std::mem::take(&mut m.clock);
        st.progress += 1;
    }
}

/// Every `mbarrier.*`.
pub fn mbarrier(env: &Env, w: &mut Warp, st: &mut State, active: u32, bar: &Mbar, give_up: bool) -> Res<Flow> {
    if bar.op == MbarOp::PendingCount {
        return fail(FaultKind::Unsupported, "mbarrier.pending_count is not supported");
    }
    let addrs = addresses(w, bar.addr, bar.off);
    let lanes = (0..LANES).filter(|l| active >> l & 1 != 0);
    let known = st.races.then(|| w.clock.clone());
    let mut done = 0u32;
    let mut blocked = None;
    for l in lanes {
        let (cta, at) = mbarrier_place(env, st, w.cta, bar.space, addrs[l], l)?;
        let operand = bar.count.map_or(1, |c| w.regs.w32(c)[l]);
        match bar.op {
            MbarOp::Init => {
                if env.options.sanitizers.barriers && st.ctas[cta].mbarriers.contains_key(&at) {
                    return fail_at(FaultKind::MbarrierMisuse, "init of an mbarrier that is in use", l, addrs[l]);
                }
                if operand == 0 || operand >= 1 << 20 {
                    return fail_at(FaultKind::InvalidOperand, format!("mbarrier count {operand}"), l, addrs[l]);
                }
                let agent = st.agents.tx(st.mbarriers_made);
                st.mbarriers_made += 1;
                let fresh = Mbarrier { count: operand, pending: operand.into(), agent, ..Mbarrier::default() };
                st.store_shared(cta, at.into(), 8, u64::from(operand) << 32 | 1);
                st.ctas[cta].mbarriers.insert(at, fresh);
            }
            MbarOp::Inval => {
                live(st, cta, at, l)?;
                st.ctas[cta].mbarriers.remove(&at);
            }
            MbarOp::ExpectTx => live(st, cta, at, l)?.tx += i64::from(operand),
            MbarOp::CompleteTx => signal(st, (cta, at), 0, operand.into(), known.as_ref(), l)?,
            MbarOp::Arrive { drop, expect, .. } => {
                let m = live(st, cta, at, l)?;
                let token = m.phase;
                let arrivals = if expect { 1 } else { operand };
                if expect {
                    m.tx += i64::from(operand);
                }
                if drop {
                    m.count = m.count.saturating_sub(arrivals);
                }
                let clock = if bar.sem == Sem::Relaxed { None } else { known.as_ref() };
                signal(st, (cta, at), arrivals, 0, clock, l)?;
                if let Some(d) = bar.state {
                    w.regs.set64(d, 1 << l, &[token; LANES]);
                }
            }
            MbarOp::TestWait | MbarOp::TryWait => {
                let token = bar.token.map_or(0, |t| w.regs.lane(t, l));
                let races = st.races;
                let m = live(st, cta, at, l)?;
                let over = if bar.parity { m.phase & 1 != token & 1 } else { m.phase > token };
                if over {
                    done |= 1 << l;
                    if races && bar.sem != Sem::Relaxed {
                        w.clock.join(&m.released);
                    }
                } else if blocked.is_none() {
                    blocked = Some(Wait::Mbarrier { cta, at, phase: m.phase });
                }
            }
            MbarOp::PendingCount => {}
        }
    }
    match bar.op {
        MbarOp::TestWait | MbarOp::TryWait => {
            if let Some(wait) = blocked
                && bar.op == MbarOp::TryWait
                && !give_up
            {
                return Ok(Flow::Wait(wait));
            }
            if let Some(d) = bar.done {
                w.regs.set_p(d, active, done);
            }
        }
        _ => {
            st.progress += 1;
            if st.races {
                tick(w);
            }
        }
    }
    Ok(Flow::Next)
}
