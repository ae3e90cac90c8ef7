//! What strong accesses and fences publish and take over (PTX ISA 8).

use super::address::{Kind, classify, lanes};
use super::regs::LANES;
use super::state::State;
use super::warp::Warp;
use crate::decode::types::*;

/// A relaxed or stronger store publishes what its warp knows.
pub fn release(w: &mut Warp, st: &mut State, mask: u32, space: Space, addrs: &[u64; LANES], sem: Sem) {
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
pub fn acquire(w: &mut Warp, st: &mut State, mask: u32, space: Space, addrs: &[u64; LANES], sem: Sem) {
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
