//! Bulk tensor copies: a box of a tensor between global and shared memory, clipped, filled and swizzled
//! (PTX ISA 5.5 and 9.7.9.27).

use super::address::{Kind, addresses, classify, trace_global};
use super::asynchronous::{Pending, Signal, What, async_access, issue, read_global, reduced_into, shared_at, signal_on, targets};
use super::atomic::combine;
use super::fail::{Res, fail_at};
use super::state::{Env, State, little};
use super::sync::mbarrier_place;
use super::warp::Warp;
use crate::decode::inst::TensorCopy;
use crate::decode::types::*;
use crate::error::FaultKind;
use crate::tensormap::{ElementType, TensorMap};

#[cfg(test)]
mod tests;

/// Issues tensor copies.
pub struct Tile;

/// A tensor copy that has been issued.
#[derive(Debug)]
pub struct TileOp {
    pub map: TensorMap,
    pub start: Vec<i64>,
    /// CTA and offset of the box.
    pub shared: Vec<(usize, u64)>,
    pub load: bool,
    pub reduce: Option<AtomOp>,
    pub signals: Vec<Signal>,
}

/// A contiguous run of a box: shared offset from the box's start, global address, bytes, bytes inside the tensor
/// as a range of the run; no address when all of it is outside.
struct Run {
    at: u64,
    address: u64,
    inside: std::ops::Range<u64>,
    bytes: u64,
}

impl TileOp {
    /// All innermost rows of the box.
    fn runs(&self) -> Vec<Run> {
        let map = &self.map;
        let size = map.element.bytes();
        let bytes = u64::from(map.tile[0]) * size;
        let rank = map.dims.len();
        let mut index = vec![0u32; rank];
        let mut runs = vec![];
        let mut at = 0;
        loop {
            let mut outside = false;
            let mut address = map.address as i64;
            for d in 1..rank {
                let i = self.start[d] + i64::from(index[d]);
                outside |= i < 0 || i as u64 >= map.dims[d];
                address = address.wrapping_add(i.wrapping_mul(map.strides[d - 1] as i64));
            }
            let first = self.start[0];
            let low = (-first).clamp(0, i64::from(map.tile[0])) as u64;
            let high = (map.dims[0] as i64 - first).clamp(0, i64::from(map.tile[0])) as u64;
            let inside = if outside || low >= high { 0..0 } else { low * size..high * size };
            address = address.wrapping_add(first.wrapping_mul(size as i64));
            runs.push(Run { at, address: address as u64, inside, bytes });
            at += bytes;
            let mut d = 1;
            loop {
                if d >= rank {
                    return runs;
                }
                index[d] += 1;
                if index[d] < map.tile[d] {
                    break;
                }
                index[d] = 0;
                d += 1;
            }
        }
    }

    /// Moves the data.
    pub fn run(&self, env: &Env, st: &mut State) -> Res<()> {
        let swizzle = self.map.swizzle;
        let nan = self.map.element.nan();
        let size = self.map.element.bytes() as usize;
        let mut bytes = vec![];
        for run in self.runs() {
            let n = run.bytes as usize;
            bytes.clear();
            bytes.resize(n, 0u8);
            let inside = run.inside.start as usize..run.inside.end as usize;
            if self.load {
                if self.map.nan_fill {
                    for chunk in bytes.chunks_mut(size) {
                        chunk.copy_from_slice(&nan.to_le_bytes()[..size]);
                    }
                }
                if !inside.is_empty() {
                    let own = &mut bytes[inside];
                    env.memory.read_near(run.address.wrapping_add(run.inside.start), own, &mut st.hint);
                    self.map.element.load(own);
                }
                for &(cta, base) in &self.shared {
                    let cta = &mut st.ctas[cta];
                    for (k, chunk) in bytes.chunks(16).enumerate() {
                        let to = swizzle.apply(base + run.at + 16 * k as u64) as usize;
                        cta.shared[to..to + chunk.len()].copy_from_slice(chunk);
                        cta.written[to..to + chunk.len()].fill(1);
                    }
                }
                continue;
            }
            let (cta, base) = self.shared[0];
            for (k, chunk) in bytes.chunks_mut(16).enumerate() {
                let from = swizzle.apply(base + run.at + 16 * k as u64) as usize;
                chunk.copy_from_slice(&st.ctas[cta].shared[from..from + chunk.len()]);
            }
            if inside.is_empty() {
                continue;
            }
            let to = run.address.wrapping_add(run.inside.start);
            let Some((block, off)) = env.memory.locate(to, inside.len() as u64, &mut st.hint) else { continue };
            match (self.reduce, self.map.element.atomic()) {
                (Some(op), Some(ty)) => {
                    let all = inside.len() as u64;
                    for (k, chunk) in bytes[inside].chunks(size).enumerate() {
                        let value = little(chunk);
                        block.update(off + (k * size) as u64, size as u32, |old| combine(op, ty, old, value, 0));
                    }
                    block.mark(off, all);
                }
                _ => block.write_from(off, &bytes[inside], env.alone),
            }
        }
        Ok(())
    }
}

impl Tile {
    /// Reads and checks the tensor map that a lane names.
    fn map(env: &Env, w: &Warp, st: &mut State, lane: usize, t: &TensorCopy) -> Res<TensorMap> {
        let addr = addresses(w, t.map, t.map_off)[lane];
        let mut bytes = [0u8; 128];
        let found = match classify(st, w.cta, Space::Generic, addr) {
            (Kind::Param, at) => env.params.get(at as usize..at as usize + 128).map(|b| bytes.copy_from_slice(b)),
            (Kind::Const, at) => {
                let at = (at - crate::memory::CONST_WINDOW) as usize;
                env.constants.get(at..at + 128).map(|b| bytes.copy_from_slice(b))
            }
            (Kind::Global, at) => env.memory.read(at, &mut bytes).then_some(()),
            // Compilers also give the parameter's own offset.
            _ => env.params.get(addr as usize..(addr as usize).saturating_add(128)).map(|b| bytes.copy_from_slice(b)),
        };
        if found.is_none() {
            return fail_at(FaultKind::OutOfBounds, "the tensor map is in no memory", lane, addr);
        }
        if addr % 64 != 0 {
            return fail_at(FaultKind::Misaligned, "the tensor map is not aligned to 64 bytes", lane, addr);
        }
        match TensorMap::decode(&bytes) {
            Some(map) if map.dims.len() == t.dims as usize => Ok(map),
            Some(map) => fail_at(
                FaultKind::InvalidOperand,
                format!("a {}-dimensional copy with a tensor map of {} dimensions", t.dims, map.dims.len()),
                lane,
                addr,
            ),
            None => fail_at(FaultKind::InvalidOperand, "these 128 bytes are not a tensor map of this machine", lane, addr),
        }
    }

    /// Checks and issues the copy of one lane.
    pub fn issue(env: &Env, w: &mut Warp, st: &mut State, lane: usize, t: &TensorCopy) -> Res<()> {
        let map = Self::map(env, w, st, lane, t)?;
        let reduces = |op: AtomOp| map.element.atomic().is_some_and(|ty| op.reduces_in_copies(ty));
        if t.reduce.is_some_and(|op| !reduces(op)) {
            return fail_at(FaultKind::InvalidOperand, format!("no tensor copy reduces {:?} so", map.element), lane, 0);
        }
        let bytes = map.tile_bytes();
        let start = t.coords.iter().map(|c| i64::from(w.regs.w32(*c)[lane] as i32)).collect();
        let smem = addresses(w, t.smem, t.smem_off)[lane];
        let load = t.kind == TensorKind::Load;
        let space = if load { Space::Cluster } else { Space::Shared };
        let (cta, at) = shared_at(env, st, w.cta, space, smem, bytes, lane)?;
        if at % 128 != 0 {
            return fail_at(FaultKind::Misaligned, "a tensor copy's shared address is not aligned to 128 bytes", lane, at);
        }
        if !load && map.element == ElementType::Tf32 {
            return fail_at(FaultKind::InvalidOperand, "a tensor copy to global memory with a tensor map of tf32", lane, at);
        }
        w.bulk.issued += 1;
        let sequence = w.bulk.issued;
        let mut op = TileOp { map, start, shared: vec![], load, reduce: t.reduce, signals: vec![] };
        for run in op.runs() {
            if run.inside.is_empty() {
                continue;
            }
            let addr = run.address.wrapping_add(run.inside.start);
            let n = run.inside.end - run.inside.start;
            if load {
                read_global(env, st, w.cta, addr, n, lane)?;
            } else {
                let mut hint = st.hint;
                if env.memory.locate(addr, n, &mut hint).is_none() {
                    return fail_at(FaultKind::OutOfBounds, "the tensor map reaches outside global memory", lane, addr);
                }
                st.hint = hint;
                let base = env.memory.block(hint).map_or(0, |b| b.base);
                trace_global(env, st, w.cta, hint, addr - base, n, true, t.reduce.is_some(), lane)?;
                if t.reduce.is_some() {
                    reduced_into(env, hint, addr - base, n, lane)?;
                }
            }
        }
        if load {
            let multicast = t.mask.map(|m| w.regs.w32(m)[lane]);
            let Some((r, off)) = t.mbar else { return Ok(()) };
            let bar = addresses(w, r, off)[lane];
            let (bar_cta, bar_at) = mbarrier_place(env, st, w.cta, Space::Cluster, bar, lane)?;
            for target in targets(st, cta, multicast, lane)? {
                let bar = if multicast.is_some() { target } else { bar_cta };
                let signal = signal_on(st, bar, bar_at, bytes, lane)?;
                async_access(st, w, target, at, bytes, true, signal.agent, signal.time)?;
                op.shared.push((target, at));
                op.signals.push(signal);
            }
        } else {
            st.check_written(env, cta, at, bytes, lane)?;
            let agent = st.agents.bulk(w.global);
            async_access(st, w, cta, at, bytes, false, agent, sequence)?;
            op.shared.push((cta, at));
        }
        if env.options.counters {
            st.count().async_bytes += bytes;
        }
        issue(env, st, Pending { warp: w.global, cta: w.cta, pc: st.pc, sequence, what: What::Tile(Box::new(op)) })
    }
}
