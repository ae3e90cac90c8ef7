//! The run loop: executes one split of a warp until it blocks, meets others, exits, or has had its turn.

use super::fail::{Res, fail};
use super::state::{Env, State};
use super::sync::{self, Flow};
use super::warp::{Split, Wait, Warp};
use super::{address, asynchronous, atomic, call, common, convert, cross, float, int, ldmatrix, load, mma, order, store, wgmma};
use crate::decode::cfg::NEVER;
use crate::decode::inst::{File, Inst, Op};
use crate::decode::program::Function;
use crate::error::FaultKind;

/// Why a split stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its turn is over.
    Turn,
    Blocked,
    /// It is at its innermost meeting.
    Arrived,
    /// No lane is left.
    Exited,
}

/// Runs a split for at most `turn` instructions.
pub fn run(env: &Env, w: &mut Warp, st: &mut State, s: &mut Split, turn: u32) -> Res<Stop> {
    let mut left = turn;
    'frame: loop {
        let frame = s.frames[s.frames.len() - 1];
        let function = &env.program.functions[frame.function as usize];
        let base = env.code_base[frame.function as usize];
        (w.regs.b32, w.regs.b64, w.regs.bp) = (frame.b32 as usize, frame.b64 as usize, frame.bp as usize);
        let mut pc = s.pc;
        'split: loop {
            let mask = s.mask;
            let stop = w.stop(s);
            loop {
                if pc == stop {
                    s.pc = pc;
                    return Ok(Stop::Arrived);
                }
                if left == 0 {
                    s.pc = pc;
                    return Ok(Stop::Turn);
                }
                left -= 1;
                let inst = &function.insts[pc as usize];
                let guard = w.regs.p(inst.guard.pred);
                let active = mask & if inst.guard.negate { !guard } else { guard };
                st.pc = base + pc;
                st.executed += 1;
                if active == 0 {
                    pc += 1;
                    continue;
                }
                if env.options.counters {
                    let c = st.count();
                    c.executions += 1;
                    c.lanes += u64::from(active.count_ones());
                }
                if !w.wgmma.queue.is_empty() && in_flight(env, w, function, pc, active)? {
                    pc += 1;
                    continue;
                }
                if common::step::best(&mut w.regs, active, &inst.op) {
                    pc += 1;
                    continue;
                }
                s.pc = pc;
                match step(env, w, st, s, inst, active)? {
                    After::Next => pc += 1,
                    After::Jump(to) => pc = to,
                    After::Again => {
                        pc = s.pc;
                        continue 'split;
                    }
                    After::Frame => continue 'frame,
                    After::Stop(stop) => return Ok(stop),
                }
            }
        }
    }
}

/// What the run loop does after an instruction.
enum After {
    Next,
    Jump(u32),
    /// The frame has changed.
    Frame,
    /// The split's mask or meetings have changed; same instruction again.
    Again,
    Stop(Stop),
}

/// Checks an instruction against the registers of unfinished wgmma. True if it was a copy of an accumulator, which
/// is done when the wgmma is: compilers move accumulators around loops, and hardware renames them.
#[inline(never)]
fn in_flight(env: &Env, w: &mut Warp, function: &Function, pc: u32, active: u32) -> Res<bool> {
    let inst = &function.insts[pc as usize];
    let base = w.regs.b32;
    match &inst.op {
        Op::Wgmma(_) | Op::WgmmaCommit | Op::WgmmaFence | Op::WgmmaWait { .. } => return Ok(false),
        Op::Mov32 { d, a } => {
            let (from, to) = (base + *a as usize, base + *d as usize);
            if let Some(i) = w.wgmma.queue.iter().rposition(|op| op.owns(env, from)) {
                if active != w.alive {
                    return fail(FaultKind::AccumulatorInFlight, "part of a warp copies an accumulator of an unfinished wgmma");
                }
                w.wgmma.queue[i].copies.push((from, to));
                return Ok(true);
            }
            for op in &mut w.wgmma.queue {
                op.copies.retain(|c| c.1 != to);
            }
        }
        _ => {}
    }
    if !env.options.sanitizers.in_flight {
        return Ok(false);
    }
    let (start, end) = function.touched_at[pc as usize];
    for (r, write) in &function.touched[start as usize..end as usize] {
        if r.file() != File::W32 {
            continue;
        }
        let slot = base + r.index() as usize;
        for op in &w.wgmma.queue {
            if op.owns(env, slot) {
                return fail(FaultKind::AccumulatorInFlight, "touches an accumulator of a wgmma that has not been waited for");
            }
            if *write && op.reads(env, slot) {
                return fail(FaultKind::AccumulatorInFlight, "overwrites the A operand of a wgmma that has not been waited for");
            }
        }
    }
    Ok(false)
}

/// Lets the lanes whose guard is false go on to a meeting at the next instruction.
fn split_guard(w: &mut Warp, s: &mut Split, active: u32) -> After {
    let id = w.meet(s.pc + 1, s.frames.len(), s.mask);
    let mut others = Split { mask: s.mask & !active, pc: s.pc + 1, wait: Wait::Ready, ..s.clone() };
    s.mask = active;
    s.meetings.push(id);
    others.meetings.push(id);
    w.arrive(others);
    After::Again
}

/// Makes sure that the lanes of `required` execute this instruction together; `None` when they do.
fn together(w: &mut Warp, s: &mut Split, active: u32, required: u32) -> Option<After> {
    if active & required & w.alive == required & w.alive {
        return None;
    }
    if active != s.mask {
        return Some(split_guard(w, s, active));
    }
    s.wait = Wait::Lanes(required);
    Some(After::Stop(Stop::Blocked))
}

/// The same for an instruction that the manual calls aligned: all lanes of the warp.
fn aligned(env: &Env, w: &mut Warp, s: &mut Split, active: u32) -> Res<Option<After>> {
    if active != s.mask && env.options.sanitizers.barriers {
        return fail(
            FaultKind::BarrierDivergence,
            format!("only lanes {active:#010x} of {:#010x} execute an instruction that all must", s.mask),
        );
    }
    Ok(together(w, s, active, w.alive))
}

fn leave(w: &mut Warp, st: &mut State, s: &mut Split, lanes: u32) -> After {
    w.alive &= !lanes;
    s.mask &= !lanes;
    let meetings = s.meetings.clone();
    w.leave(&meetings, lanes);
    sync::exited(w, st);
    if s.mask == 0 {
        After::Stop(Stop::Exited)
    } else {
        s.pc += 1;
        After::Again
    }
}

fn flow(s: &mut Split, f: Flow) -> After {
    match f {
        Flow::Next => After::Next,
        Flow::Wait(wait) => {
            s.wait = wait;
            After::Stop(Stop::Blocked)
        }
    }
}

macro_rules! all_lanes {
    ($env:expr, $w:expr, $s:expr, $active:expr) => {
        if let Some(after) = aligned($env, $w, $s, $active)? {
            return Ok(after);
        }
    };
}

macro_rules! members {
    ($w:expr, $s:expr, $active:expr, $mask:expr) => {{
        let m = cross::member_mask($w, $mask, $active)?;
        if let Some(after) = together($w, $s, $active, m) {
            return Ok(after);
        }
        m
    }};
}

#[inline(always)]
fn step(env: &Env, w: &mut Warp, st: &mut State, s: &mut Split, inst: &Inst, active: u32) -> Res<After> {
    let r = &mut w.regs;
    match &inst.op {
        Op::Int { op, ty, d, a, b, c } => int::int(r, active, *op, *ty, [*d, *a, *b, *c]),
        Op::Float { op, double, rnd, ftz, sat, d, a, b, c } => {
            float::float(r, active, *op, *double, *rnd, *ftz, *sat, [*d, *a, *b, *c]);
        }
        Op::Setp(x) => convert::setp(r, active, x),
        Op::Bra { target, reconverge } => return Ok(branch(env, w, st, s, active, *target, *reconverge)),
        Op::Ld(ld) => load::load(env, w, st, active, ld)?,
        Op::St(x) => store::store(env, w, st, active, x)?,
        Op::Cvt(c) => convert::cvt(r, active, c),
        Op::Shift { left, ty, d, a, b } => int::shift(r, active, *left, *ty, *d, *a, *b),
        Op::MulWide { signed, from16, d, a, b, c } => int::mul_wide(r, active, *signed, *from16, *d, *a, *b, *c),
        Op::Mma(x) => {
            all_lanes!(env, w, s, active);
            mma::mma(env, w, st, x);
        }
        Op::Shfl { mode, d, p, a, b, c, mask } => {
            members!(w, s, active, *mask);
            cross::shfl(w, active, *mode, *d, *p, [*a, *b, *c]);
        }
        other => return rare(env, w, st, s, other, active),
    }
    Ok(After::Next)
}

/// A branch: uniform, or a split in two with a meeting at the reconvergence point.
#[inline(always)]
fn branch(env: &Env, w: &mut Warp, st: &mut State, s: &mut Split, taken: u32, target: u32, reconverge: u32) -> After {
    if taken == s.mask {
        return After::Jump(target);
    }
    diverge(env, w, st, s, taken, target, reconverge)
}

#[inline(never)]
fn diverge(env: &Env, w: &mut Warp, st: &mut State, s: &mut Split, taken: u32, target: u32, reconverge: u32) -> After {
    if env.options.counters {
        st.count().divergent += 1;
    }
    if reconverge != NEVER && w.stop(s) != reconverge {
        let id = w.meet(reconverge, s.frames.len(), s.mask);
        s.meetings.push(id);
    }
    let other = Split { mask: taken, pc: target, ..s.clone() };
    if w.stop(&other) == target {
        w.arrive(other);
    } else {
        w.splits.push(other);
    }
    s.mask &= !taken;
    s.pc += 1;
    After::Again
}

#[inline(never)]
fn rare(env: &Env, w: &mut Warp, st: &mut State, s: &mut Split, op: &Op, active: u32) -> Res<After> {
    let r = &mut w.regs;
    match op {
        Op::Half { op, bf, packed, ftz, sat, relu, d, a, b, c } => {
            let flags = float::HalfFlags { ftz: *ftz, sat: *sat, relu: *relu };
            float::half(r, active, *op, *bf, *packed, flags, [*d, *a, *b, *c]);
        }
        Op::Pack { d, parts, bits } => cross::pack(w, active, *d, parts, *bits),
        Op::Unpack { a, parts, bits } => cross::unpack(w, active, *a, parts, *bits),
        Op::Clock { d, which } => {
            use crate::decode::types::ClockKind;
            // One warp instruction is one cycle and one nanosecond.
            let now = if *which == ClockKind::Clock32 { st.executed & 0xffff_ffff } else { st.executed };
            r.set(*d, active, &[now; 32]);
        }
        Op::Count { op, ty, d, a } => int::count(r, active, *op, *ty, *d, *a),
        Op::Bfe { ty, d, a, pos, len } => int::bfe(r, active, *ty, [*d, *a, *pos, *len]),
        Op::Bfi { wide, d, a, b, pos, len } => int::bfi(r, active, *wide, *d, [*a, *b, *pos, *len]),
        Op::Carry { op, wide, use_cc, set_cc, d, a, b, c } => {
            int::carry(r, active, *op, *wide, *use_cc, *set_cc, [*d, *a, *b, *c]);
        }
        Op::Int16x2 { op, signed, relu, d, a, b } => int::int16x2(r, active, *op, *signed, *relu, *d, *a, *b),
        Op::Set { cmp, d, float, half } => convert::set(r, active, cmp, *d, *float, *half),
        Op::Slct { wide, float, d, a, b, c } => convert::slct(r, active, *wide, *float, [*d, *a, *b, *c]),
        Op::Testp { test, double, d, a } => convert::testp(r, active, *test, *double, *d, *a),
        Op::Lop3Pred { and, lut, d, p, a, b, c, q } => {
            let (x, y, z) = (*r.w32(*a), *r.w32(*b), *r.w32(*c));
            let out = std::array::from_fn(|l| int::lop3(*lut, x[l], y[l], z[l]));
            let q = r.p(q.index());
            let nonzero = out.iter().enumerate().fold(0, |m, (l, v)| m | u32::from(*v != 0) << l);
            if let Some(d) = d {
                r.set32(*d, active, &out);
            }
            r.set_p(*p, active, if *and { nonzero & q } else { nonzero | q });
        }
        Op::Atom(a) => atomic::atomic(env, w, st, active, a)?,
        Op::Cvta { space, to, d, a } => {
            use crate::decode::types::Space;
            let window = match space {
                Space::Shared | Space::Cluster => crate::memory::SHARED_WINDOW,
                Space::Local => crate::memory::LOCAL_WINDOW,
                Space::Param => crate::memory::PARAM_WINDOW,
                _ => 0,
            };
            let v = r.get(*a).map(|x| if *to { x.wrapping_sub(window) } else { x.wrapping_add(window) });
            r.set(*d, active, &v);
        }
        Op::IsSpace { space, d, a } => {
            let v = r.get(*a);
            let bits = (0..32).fold(0, |m, l| m | u32::from(in_space(st, w.cta, *space, v[l])) << l);
            w.regs.set_p(*d, active, bits);
        }
        Op::Mapa { shared, d, a, rank } => {
            let (v, rank) = (r.get(*a), *r.w32(*rank));
            let mut out = [0u64; 32];
            for l in (0..32).filter(|l| active >> l & 1 != 0) {
                let window = if *shared { 0 } else { crate::memory::SHARED_WINDOW };
                let at = v[l].wrapping_sub(window) & 0xff_ffff;
                if rank[l] as usize >= st.ctas.len() {
                    return fail(FaultKind::InvalidOperand, format!("mapa: the cluster has no CTA {}", rank[l]));
                }
                out[l] = window + (u64::from(rank[l] + 1) << 24) + at;
            }
            w.regs.set(*d, active, &out);
        }
        Op::CtaRank { shared, d, a } => {
            let v = r.get(*a);
            let own = st.ctas[w.cta].rank;
            let out = v.map(|x| {
                let x = if *shared { x } else { x.wrapping_sub(crate::memory::SHARED_WINDOW) };
                match x >> 24 {
                    0 => own,
                    n => n as u32 - 1,
                }
            });
            w.regs.set32(*d, active, &out);
        }
        Op::Hint | Op::WgmmaFence => {}
        Op::Brx { index, targets, reconverge } => return brx(env, w, st, s, active, *index, targets, *reconverge),
        Op::Call(c) => {
            if active != s.mask {
                return Ok(split_guard(w, s, active));
            }
            let back = s.pc + 1;
            let depth = s.frames.len();
            if call::call(env, w, st, s, active, c)? {
                let id = w.meet(back, depth, active);
                s.meetings.push(id);
                return Ok(After::Frame);
            }
        }
        Op::Ret => {
            if s.frames.len() == 1 {
                return Ok(leave(w, st, s, active));
            }
            if active != s.mask {
                return Ok(split_guard(w, s, active));
            }
            call::ret(env, w, s);
            return Ok(After::Frame);
        }
        Op::Exit => return Ok(leave(w, st, s, active)),
        Op::Trap => return fail(FaultKind::Trap, "trap"),
        Op::Vote { mode, d, p, negate, mask } => {
            let m = members!(w, s, active, *mask);
            cross::vote(w, active, *mode, *d, *p, *negate, m);
        }
        Op::Match { all, d, p, a, mask } => {
            let m = members!(w, s, active, *mask);
            cross::matching(w, active, *all, *d, *p, *a, m);
        }
        Op::Redux { op, signed, d, a, mask } => {
            let m = members!(w, s, active, *mask);
            cross::redux(w, active, *op, *signed, *d, *a, m);
        }
        Op::Activemask { d } => r.set32(*d, active, &[active; 32]),
        Op::Elect { d, p, mask } => {
            let m = members!(w, s, active, *mask);
            cross::elect(w, active, *d, *p, m);
        }
        Op::BarWarp { mask } => {
            let m = cross::member_mask(w, *mask, active)?;
            if active & m & w.alive != m & w.alive {
                if active != s.mask {
                    return Ok(split_guard(w, s, active));
                }
                s.wait = Wait::WarpBarrier(m);
                return Ok(After::Stop(Stop::Blocked));
            }
        }
        Op::Bar(bar) => {
            if bar.aligned {
                all_lanes!(env, w, s, active);
            } else if active != s.mask {
                return Ok(split_guard(w, s, active));
            }
            let f = sync::barrier(env, w, st, active, bar)?;
            return Ok(flow(s, f));
        }
        Op::ClusterArrive { release } => {
            if active != s.mask {
                return Ok(split_guard(w, s, active));
            }
            let f = sync::cluster_arrive(w, st, active, *release)?;
            return Ok(flow(s, f));
        }
        Op::ClusterWait { .. } => {
            if active != s.mask {
                return Ok(split_guard(w, s, active));
            }
            let f = sync::cluster_wait(w, st);
            return Ok(flow(s, f));
        }
        Op::Fence { .. } => order::fence(w, st),
        Op::ProxyFence => {
            w.clock.fence();
            // What the warp writes from here on is not covered.
            order::tick(w);
        }
        Op::Mbar(bar) => {
            if active != s.mask {
                return Ok(split_guard(w, s, active));
            }
            let give_up = std::mem::take(&mut s.give_up);
            let f = sync::mbarrier(env, w, st, active, bar, give_up)?;
            return Ok(flow(s, f));
        }
        Op::CpAsync { dst, dst_off, src, src_off, size, src_size, ignore } => {
            let (to, from) = ((*dst, *dst_off), (*src, *src_off));
            asynchronous::copy(env, w, st, active, to, from, *size, *src_size, *ignore)?;
        }
        Op::CpAsyncCommit => w.copies.commit(active),
        Op::CpAsyncWait { pending } => asynchronous::copy_wait(env, w, st, active, *pending)?,
        Op::CpAsyncMbar { noinc, addr, off } => {
            asynchronous::copy_arrive(env, w, st, active, *noinc, (*addr, *off))?;
        }
        Op::Bulk(b) => asynchronous::bulk(env, w, st, active, b)?,
        Op::TensorCopy(t) => asynchronous::tensor(env, w, st, active, t)?,
        Op::BulkCommit => w.bulk.commit(active),
        Op::BulkWait { pending, .. } => asynchronous::bulk_wait(env, w, st, active, *pending)?,
        Op::StAsync(x) => asynchronous::store(env, w, st, active, x)?,
        Op::Ldmatrix { addr, off, trans, dst } => {
            all_lanes!(env, w, s, active);
            ldmatrix::ldmatrix(env, w, st, *addr, *off, *trans, dst)?;
        }
        Op::Stmatrix { addr, off, trans, src } => {
            all_lanes!(env, w, s, active);
            ldmatrix::stmatrix(env, w, st, *addr, *off, *trans, src)?;
        }
        Op::Movmatrix { d, a } => {
            all_lanes!(env, w, s, active);
            ldmatrix::movmatrix(w, *d, *a);
        }
        Op::Wgmma(x) => {
            all_lanes!(env, w, s, active);
            let function = s.frames[s.frames.len() - 1].function;
            wgmma::wgmma(env, w, st, x, function, s.pc)?;
        }
        Op::WgmmaCommit => {
            all_lanes!(env, w, s, active);
            wgmma::commit(w);
        }
        Op::WgmmaWait { pending } => {
            all_lanes!(env, w, s, active);
            let until = wgmma::wait(env, w, st, *pending)?;
            if !wgmma::group_done(w, st, until) {
                s.wait = Wait::Wgmma(until);
                return Ok(After::Stop(Stop::Blocked));
            }
            wgmma::waited(w, st, until);
        }
        Op::Mov32 { .. }
        | Op::Mov64 { .. }
        | Op::Int { .. }
        | Op::Float { .. }
        | Op::Setp(_)
        | Op::Bra { .. }
        | Op::Ld(_)
        | Op::St(_)
        | Op::Cvt(_)
        | Op::Selp { .. }
        | Op::Shift { .. }
        | Op::MulWide { .. }
        | Op::Pred { .. }
        | Op::Mma(_)
        | Op::Shfl { .. } => return fail(FaultKind::Unsupported, "internal error: a common instruction came the rare way"),
    }
    Ok(After::Next)
}

fn in_space(st: &State, own: usize, space: crate::decode::types::Space, addr: u64) -> bool {
    use crate::decode::types::Space;
    use address::Kind;
    match (address::classify(st, own, Space::Generic, addr).0, space) {
        (Kind::Global, Space::Global) | (Kind::Local, Space::Local) => true,
        (Kind::Const, Space::Const) | (Kind::Param, Space::Param) => true,
        (Kind::Shared(_), Space::Cluster) => true,
        (Kind::Shared(cta), Space::Shared) => cta == own,
        // Constants and parameters are also visible as global addresses on no device.
        _ => false,
    }
}

#[allow(clippy::too_many_arguments)]
fn brx(
    env: &Env,
    w: &mut Warp,
    st: &mut State,
    s: &mut Split,
    active: u32,
    index: u32,
    targets: &[u32],
    reconverge: u32,
) -> Res<After> {
    if active != s.mask {
        return Ok(split_guard(w, s, active));
    }
    let index = *w.regs.w32(index);
    let first = index[active.trailing_zeros() as usize & 31];
    let same = (0..32).filter(|l| active >> l & 1 != 0 && index[*l] == first).fold(0, |m, l| m | 1 << l);
    let Some(target) = targets.get(first as usize) else {
        return fail(FaultKind::InvalidOperand, format!("brx.idx index {first} of a list of {}", targets.len()));
    };
    if same == s.mask {
        return Ok(After::Jump(*target));
    }
    // Those with the first lane's index leave; the rest come back to this instruction.
    let pc = s.pc;
    let after = diverge(env, w, st, s, same, *target, reconverge);
    s.pc = pc;
    Ok(after)
}
