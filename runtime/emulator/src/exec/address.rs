//! Addresses: which space and allocation they fall in, bounds, alignment, and what every access leaves in the counters and the
//! race detectors.

use super::fail::{Fail, Res, fail_at};
use super::regs::LANES;
use super::simd::two_ways;
use super::state::{Env, State};
use super::warp::Warp;
use crate::counters::{sectors, wavefronts};
use crate::decode::inst::{File, R};
use crate::decode::types::*;
use crate::error::FaultKind;
use crate::memory::{CONST_WINDOW, GLOBAL_BASE, LOCAL_WINDOW, PARAM_WINDOW, SHARED_BITS, SHARED_WINDOW};
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
            if addr >= GLOBAL_BASE {
                (Kind::Global, addr)
            } else if (SHARED_WINDOW..SHARED_WINDOW + (18 << SHARED_BITS)).contains(&addr) {
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
pub fn grouped(
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
        for l in lanes(left) {
            let (k, a) = classify(st, own, space, addrs[l]);
            if k == kind {
                group |= 1 << l;
                at[l] = a;
            }
        }
        left &= !group;
        f(st, kind, group, &at)?;
    }
    Ok(())
}

/// The lanes of a mask.
pub fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |l| mask >> l & 1 != 0)
}

/// A warp's access that lies in one memory as a whole, every lane of it aligned.
pub struct Whole {
    /// Block of global memory; `None` for the CTA's own shared memory.
    pub block: Option<usize>,
    /// Offsets of all lanes. Those that are not active have the first active one's.
    pub at: [u64; LANES],
    /// All lanes are active and one follows the other.
    pub dense: bool,
}

impl Whole {
    /// Recognizes the common access: `total` bytes a lane, a power of two, of one block of global memory or of the CTA's own
    /// shared memory. `None` for every other, those that are wrong included.
    #[inline(always)]
    pub fn of(env: &Env, w: &Warp, st: &mut State, space: Space, mask: u32, addrs: &[u64; LANES], total: u64) -> Option<Whole> {
        let first = mask.trailing_zeros() as usize & 31;
        let (kind, _) = classify(st, w.cta, space, addrs[first]);
        let (block, base, low, size) = match kind {
            Kind::Global => {
                let mut hint = st.hint;
                let (block, _) = env.memory.locate(addrs[first], total, &mut hint)?;
                st.hint = hint;
                (Some(hint), block.base, 0, env.memory.reach(block))
            }
            Kind::Shared(cta) if cta == w.cta => {
                let base = if space == Space::Generic { SHARED_WINDOW } else { 0 };
                // Through its number in the cluster a CTA has other addresses for the same memory.
                if addrs[first] - base >= 1 << SHARED_BITS {
                    return None;
                }
                (None, base, u64::from(env.shared_base), st.ctas[cta].shared.len() as u64)
            }
            _ => return None,
        };
        let last = size.checked_sub(total)?;
        let mut at = [0; LANES];
        let (fits, dense) = offsets::best(addrs, mask, base, low, last, total, &mut at);
        fits.then_some(Whole { block, at, dense })
    }
}

two_ways! {
    /// Offsets from `base` of the active lanes; whether all lie between `low` and `last` and are multiples of `total`, and
    /// whether they are those of a full warp in one piece.
    offsets(addrs: &[u64; LANES], mask: u32, base: u64, low: u64, last: u64, total: u64, at: &mut [u64; LANES]) -> (bool, bool) = relative
}

#[inline(always)]
fn relative(addrs: &[u64; LANES], mask: u32, base: u64, low: u64, last: u64, total: u64, at: &mut [u64; LANES]) -> (bool, bool) {
    let first = addrs[mask.trailing_zeros() as usize & 31].wrapping_sub(base);
    let (mut wrong, mut apart) = (0u64, 0u64);
    for l in 0..LANES {
        let a = if mask >> l & 1 != 0 { addrs[l].wrapping_sub(base) } else { first };
        at[l] = a;
        wrong |= u64::from(a > last) | u64::from(a < low) | a & (total - 1);
        apart |= a.wrapping_sub(first) ^ (total * l as u64);
    }
    (wrong == 0, apart == 0 && mask == u32::MAX)
}

/// Records the traffic of an access of `total` bytes a lane.
#[inline(always)]
pub fn tally(env: &Env, st: &mut State, kind: Kind, mask: u32, at: &[u64; LANES], total: u64) {
    if env.options.counters {
        count(st, kind, mask, at, total);
    }
}

#[inline(never)]
fn count(st: &mut State, kind: Kind, mask: u32, at: &[u64; LANES], total: u64) {
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
    if env.options.sanitizers.alignment && addr % size.next_power_of_two().min(16) != 0 {
        return fail_at(FaultKind::Misaligned, format!("{size}-byte access to global memory is not aligned"), lane, addr);
    }
    Ok((hint, at))
}

/// Records a global access for race detection between CTAs.
#[inline(always)]
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
pub fn generic_access<'w>(w: &'w Warp, strong: bool, pc: u32) -> Access<'w> {
    let time = w.clock.seen.get(w.global).copied().unwrap_or_default();
    Access { agent: w.global, time, clock: &w.clock, async_proxy: false, strong, pc }
}

/// An address in no memory at all.
#[cold]
pub fn nowhere<T>(addr: u64, lane: usize) -> Res<T> {
    fail_at(FaultKind::OutOfBounds, "access to an address in no memory", lane, addr)
}

/// An access to local memory beyond what the thread has.
#[cold]
pub fn local_bounds<T>(w: &Warp, at: u64, lane: usize) -> Res<T> {
    fail_at(FaultKind::OutOfBounds, format!("access outside local memory, which is {} bytes a thread", w.local.size()), lane, at)
}

/// Adds the lane to a report.
pub fn at_lane(mut e: Box<Fail>, lane: usize) -> Box<Fail> {
    e.lane = Some(lane as u32);
    e
}

/// Alignment in the spaces that are not shared between threads.
pub fn aligned(env: &Env, at: u64, size: u64, lane: usize) -> Res<()> {
    if env.options.sanitizers.alignment && at % size.min(8) != 0 {
        return fail_at(FaultKind::Misaligned, format!("{size}-byte access is not aligned"), lane, at);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_checked_the_same_in_both_ways() {
        let mut seen = [0; 4];
        for seed in 0..4000u64 {
            let noise = |n: u64| (seed.wrapping_mul(31).wrapping_add(n)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let total = [1, 2, 4, 8, 16][seed as usize % 5];
            let addrs = std::array::from_fn(|l| match seed % 3 {
                0 => 4096 + total * l as u64,
                1 => 4096 + noise(l as u64) % 64 * total,
                _ => 4000 + noise(l as u64) % 2000,
            });
            let mask = if seed & 64 != 0 { u32::MAX } else { noise(99) as u32 | 1 << (seed % 32) };
            let (mut a, mut b) = ([0; LANES], [1; LANES]);
            let one = offsets::plain(&addrs, mask, 4096, 16, 1000, total, &mut a);
            let two = offsets::best(&addrs, mask, 4096, 16, 1000, total, &mut b);
            assert_eq!((one, a), (two, b));
            let good = lanes(mask).all(|l| {
                let at = addrs[l].wrapping_sub(4096);
                (16..=1000).contains(&at) && at % total == 0
            });
            let dense = mask == u32::MAX && (0..LANES).all(|l| addrs[l].wrapping_sub(addrs[0]) == total * l as u64);
            assert_eq!(one, (good, dense));
            seen[usize::from(good) * 2 + usize::from(dense)] += 1;
        }
        assert!(seen[0] > 0 && seen[1] > 0 && seen[2] > 0, "{seen:?}");
    }
}
