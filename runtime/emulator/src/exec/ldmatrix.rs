//! `ldmatrix`, `stmatrix`, `movmatrix` (PTX ISA 9.7.14.5).

use super::address::{addresses, generic_access};
use super::fail::{Res, fail_at};
use super::regs::LANES;
use super::state::{Env, State};
use super::warp::Warp;
use crate::counters::wavefronts;
use crate::decode::inst::R;
use crate::error::FaultKind;
use crate::memory::SHARED_WINDOW;

/// CTA and offset of every row of up to four matrices.
type Rows = [(usize, u64); LANES];

/// Row addresses of `n` matrices, checked.
fn rows(env: &Env, w: &Warp, st: &mut State, addr: R, off: i64, n: usize, write: bool) -> Res<Rows> {
    let addrs = addresses(w, addr, off);
    let mut out = [(0, 0); LANES];
    for l in 0..8 * n {
        // The address is a shared one, or generic in the shared window.
        let a = if addrs[l] >= SHARED_WINDOW { addrs[l] - SHARED_WINDOW } else { addrs[l] };
        let Some((cta, at)) = st.shared_place(w.cta, a) else {
            return fail_at(FaultKind::OutOfBounds, "not a shared-memory address", l, addrs[l]);
        };
        st.check_shared(env, cta, at, 16, l)?;
        if !write {
            st.check_written(env, cta, at, 16, l)?;
        }
        if st.races {
            st.trace(cta, at, 16, write, &generic_access(w, false, st.pc))?;
        }
        out[l] = (cta, at);
    }
    if env.options.counters {
        for matrix in out[..8 * n].chunks(8) {
            let mut at = [0u64; LANES];
            for (at, row) in at.iter_mut().zip(matrix) {
                *at = row.1;
            }
            let (n, ideal) = wavefronts(&at, 0xff, 16);
            let c = st.count();
            c.shared_wavefronts += n;
            c.shared_ideal += ideal;
            c.shared_bytes += 128;
        }
        st.count().shared_requests += 1;
    }
    Ok(out)
}

/// `ldmatrix`.
pub fn ldmatrix(env: &Env, w: &mut Warp, st: &mut State, addr: R, off: i64, trans: bool, dst: &[u32]) -> Res<()> {
    let rows = rows(env, w, st, addr, off, dst.len(), false)?;
    for (d, rows) in dst.iter().zip(rows.chunks_exact(8)) {
        let mut m = [[0u8; 16]; 8];
        for (row, (cta, at)) in m.iter_mut().zip(rows) {
            row.copy_from_slice(&st.ctas[*cta].shared[*at as usize..][..16]);
        }
        let half = |r: usize, c: usize| u32::from(m[r][2 * c]) | u32::from(m[r][2 * c + 1]) << 8;
        let mut out = [0u32; LANES];
        for (l, o) in out.iter_mut().enumerate() {
            let (g, t) = (l / 4, l % 4 * 2);
            *o = if trans { half(t, g) | half(t + 1, g) << 16 } else { half(g, t) | half(g, t + 1) << 16 };
        }
        w.regs.set32(*d, u32::MAX, &out);
    }
    Ok(())
}

/// `stmatrix`.
pub fn stmatrix(env: &Env, w: &mut Warp, st: &mut State, addr: R, off: i64, trans: bool, src: &[u32]) -> Res<()> {
    let rows = rows(env, w, st, addr, off, src.len(), true)?;
    for (i, s) in src.iter().enumerate() {
        let m = &rows[8 * i..8 * i + 8];
        let values = *w.regs.w32(*s);
        for (l, v) in values.iter().enumerate() {
            let (g, t) = (l / 4, l % 4 * 2);
            if trans {
                for j in 0..2 {
                    let (cta, at) = m[t + j];
                    st.store_shared(cta, at + 2 * g as u64, 2, u64::from(v >> (16 * j) & 0xffff));
                }
            } else {
                st.store_shared(m[g].0, m[g].1 + 2 * t as u64, 4, u64::from(*v));
            }
        }
    }
    Ok(())
}

/// `movmatrix`: transposes an 8x8 matrix of 16-bit elements held by the warp.
pub fn movmatrix(w: &mut Warp, d: u32, a: u32) {
    let v = *w.regs.w32(a);
    let at = |r: usize, c: usize| v[4 * r + c / 2] >> (16 * (c % 2)) & 0xffff;
    let out = std::array::from_fn(|l| at(l % 4 * 2, l / 4) | at(l % 4 * 2 + 1, l / 4) << 16);
    w.regs.set32(d, u32::MAX, &out);
}
