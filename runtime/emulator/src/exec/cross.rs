//! Exchanges between the lanes of a warp (PTX ISA 9.7.9.6, 9.7.13).

use super::fail::{Res, fail};
use super::regs::LANES;
use super::warp::Warp;
use crate::decode::inst::R;
use crate::decode::types::*;
use crate::error::FaultKind;

/// The member mask, which must be the same in all lanes and contain them.
pub fn member_mask(w: &Warp, slot: u32, active: u32) -> Res<u32> {
    let masks = w.regs.w32(slot);
    let first = masks[active.trailing_zeros() as usize & 31];
    for (l, m) in masks.iter().enumerate() {
        if active >> l & 1 != 0 {
            if *m >> l & 1 == 0 {
                return fail(FaultKind::InvalidOperand, format!("lane {l} is not in its own member mask {m:#x}"));
            }
            if *m != first {
                return fail(FaultKind::InvalidOperand, "lanes give different member masks");
            }
        }
    }
    Ok(first)
}

/// `shfl.sync`.
pub fn shfl(w: &mut Warp, active: u32, mode: ShflMode, d: u32, p: Option<u32>, [a, b, c]: [u32; 3]) {
    let (a, b, c) = (*w.regs.w32(a), *w.regs.w32(b), *w.regs.w32(c));
    let mut out = [0; LANES];
    let mut valid = 0;
    for l in 0..LANES {
        let (lane, bval) = (l as i32, (b[l] & 0x1f) as i32);
        let (cval, segment) = ((c[l] & 0x1f) as i32, (c[l] >> 8 & 0x1f) as i32);
        let max = lane & segment | cval & !segment;
        let min = lane & segment;
        let (j, ok) = match mode {
            ShflMode::Up => (lane - bval, lane - bval >= max),
            ShflMode::Down => (lane + bval, lane + bval <= max),
            ShflMode::Bfly => (lane ^ bval, lane ^ bval <= max),
            ShflMode::Idx => (min | bval & !segment, (min | bval & !segment) <= max),
        };
        let from = if ok { j } else { lane } as usize & 31;
        out[l] = a[from];
        valid |= u32::from(ok) << l;
    }
    w.regs.set32(d, active, &out);
    if let Some(p) = p {
        w.regs.set_p(p, active, valid);
    }
}

/// `vote.sync`.
pub fn vote(w: &mut Warp, active: u32, mode: VoteMode, d: R, p: u32, negate: bool, members: u32) {
    let p = if negate { !w.regs.p(p) } else { w.regs.p(p) };
    let members = members & w.alive;
    let votes = p & members;
    let result = match mode {
        VoteMode::All => votes == members,
        VoteMode::Any => votes != 0,
        VoteMode::Uni => votes == 0 || votes == members,
        VoteMode::Ballot => {
            w.regs.set(d, active, &[u64::from(votes); LANES]);
            return;
        }
    };
    w.regs.set_p(d.index(), active, if result { u32::MAX } else { 0 });
}

/// `match.sync`.
pub fn matching(w: &mut Warp, active: u32, all: bool, d: u32, p: Option<u32>, a: R, members: u32) {
    let values = w.regs.get(a);
    let members = members & w.alive;
    let mut out = [0u32; LANES];
    for l in 0..LANES {
        for k in 0..LANES {
            if members >> k & 1 != 0 && values[k] == values[l] {
                out[l] |= 1 << k;
            }
        }
    }
    if all {
        let agree = out[active.trailing_zeros() as usize & 31] == members;
        w.regs.set32(d, active, &[if agree { members } else { 0 }; LANES]);
        if let Some(p) = p {
            w.regs.set_p(p, active, if agree { u32::MAX } else { 0 });
        }
    } else {
        w.regs.set32(d, active, &out);
    }
}

/// `redux.sync`.
pub fn redux(w: &mut Warp, active: u32, op: IntOp, signed: bool, d: u32, a: u32, members: u32) {
    let values = *w.regs.w32(a);
    let lanes = (0..LANES).filter(|l| members & w.alive & 1 << l != 0).map(|l| values[l]);
    let result = lanes.reduce(|x, y| match (op, signed) {
        (IntOp::Add, _) => x.wrapping_add(y),
        (IntOp::And, _) => x & y,
        (IntOp::Or, _) => x | y,
        (IntOp::Xor, _) => x ^ y,
        (IntOp::Min, true) => (x as i32).min(y as i32) as u32,
        (IntOp::Max, true) => (x as i32).max(y as i32) as u32,
        (IntOp::Min, false) => x.min(y),
        _ => x.max(y),
    });
    w.regs.set32(d, active, &[result.unwrap_or_default(); LANES]);
}

/// `elect.sync`: the lowest member.
pub fn elect(w: &mut Warp, active: u32, d: Option<u32>, p: u32, members: u32) {
    let leader = (members & w.alive).trailing_zeros();
    if let Some(d) = d {
        w.regs.set32(d, active, &[leader; LANES]);
    }
    w.regs.set_p(p, active, 1u32.checked_shl(leader).unwrap_or_default());
}

/// `mov.b64 d, {a, b}` and the like.
pub fn pack(w: &mut Warp, mask: u32, d: R, parts: &[R], bits: u32) {
    let keep = if bits >= 64 { u64::MAX } else { (1 << bits) - 1 };
    let mut out = [0; LANES];
    for (i, part) in parts.iter().enumerate() {
        let v = w.regs.get(*part);
        for l in 0..LANES {
            out[l] |= (v[l] & keep) << (bits * i as u32);
        }
    }
    w.regs.set(d, mask, &out);
}

/// `mov.b64 {a, b}, d` and the like.
pub fn unpack(w: &mut Warp, mask: u32, a: R, parts: &[Option<R>], bits: u32) {
    let keep = if bits >= 64 { u64::MAX } else { (1 << bits) - 1 };
    let v = w.regs.get(a);
    for (i, part) in parts.iter().enumerate() {
        if let Some(part) = part {
            w.regs.set(*part, mask, &v.map(|x| x >> (bits * i as u32) & keep));
        }
    }
}
