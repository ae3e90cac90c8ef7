//! States carried along a sequence: the gated delta rule, forward substitution, a linear recurrence. Their bounds follow the errors through the recurrence,
//! beside the values.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::case::Placement;

use super::row::{Data, H, Row, UNTOUCHED, half_ulp, largest, stored};

pub fn rows() -> Vec<Row> {
    let mut list = vec![];
    for ty in [F32, F16] {
        let one = Delta {
            ty,
            lens: &[1],
            h: 1,
            hk: 1,
            k: 1,
            v: 1,
            tiles: None,
            gate: true,
            init: true,
            states: true,
            fresh: true,
            last: true,
        };
        list.push(delta_state(one));
        let tails = Delta { lens: &[20, 0, 9, 1], h: 4, hk: 2, k: 12, v: 21, tiles: Some((8, 16)), ..one };
        list.push(delta_state(tails));
        list.push(delta_state(Delta { lens: &[16, 5], gate: false, init: false, states: false, ..tails }));
        list.push(delta_state(Delta { lens: &[130, 70], h: 2, hk: 1, k: 96, v: 50, fresh: false, ..one }));
        list.push(delta_state(Delta { lens: &[64], h: 1, hk: 1, k: 33, v: 32, gate: false, last: false, ..one }));
    }
    for (l, block) in [(1, 1), (16, 16), (37, 16), (50, 8), (130, 32)] {
        list.push(solve_tril(l, block));
    }
    for (b, l, d, tiles) in [(1, 1, 1, None), (2, 37, 20, Some((8, 16))), (2, 150, 70, None), (1, 64, 64, None), (3, 0, 5, None)]
    {
        list.push(recurrence([b, l, d], tiles));
    }
    list
}

/// One launch of delta_state.
#[derive(Clone, Copy)]
struct Delta {
    ty: ScalarType,
    lens: &'static [usize],
    h: usize,
    hk: usize,
    k: usize,
    v: usize,
    /// C and BV.
    tiles: Option<(usize, usize)>,
    gate: bool,
    init: bool,
    states: bool,
    fresh: bool,
    last: bool,
}

/// Per chunk of C tokens, with S the state before it: u = v - w S; `fresh` = u; u decays by exp(g[end] - g[t]) and S by exp(g[end]); S += k^T u.
fn delta_state(p: Delta) -> Row {
    let Delta { ty, h, hk, k: kd, v: vd, .. } = p;
    let l: usize = p.lens.iter().sum();
    let flags = [(p.gate, "g"), (p.init, "i"), (p.states, "s"), (p.fresh, "f"), (p.last, "l")];
    let tag: String = flags.iter().filter(|f| f.0).map(|f| f.1).collect();
    let mut row = Row::new("delta_state", format!("{ty}::{l}x{h}x{kd}x{vd}::{tag}"));
    let (chunk, _) = p.tiles.unwrap_or((64, 32));
    if let Some((c, bv)) = p.tiles {
        row = row.constant("C", c).constant("BV", bv).placed(Placement::Guarded);
    }
    // Products k w^T stay small enough for the state not to grow.
    let reach = 1.0 / (kd as f64).sqrt();
    let k = row.uniform(ty, &[l, hk, kd], -reach, reach);
    let (v, w) = (row.uniform(ty, &[l, h, vd], -1.0, 1.0), row.uniform(ty, &[l, h, kd], -reach / 4.0, reach / 4.0));
    let mut cu = vec![0];
    p.lens.iter().for_each(|n| cu.push(cu[cu.len() - 1] + n));
    let s = p.lens.len();
    let chunks: Vec<usize> = p.lens.iter().map(|n| n.div_ceil(chunk)).collect();
    let first: Vec<usize> = (0..s).map(|i| chunks[..i].iter().sum()).collect();
    let nc: usize = chunks.iter().sum();
    // Logarithms of decay, summed up within each chunk.
    let steps = row.uniform(F32, &[l, h], -0.1, 0.0);
    let mut gate = steps.clone();
    for (i, &len) in p.lens.iter().enumerate() {
        for (t, head) in (0..len).filter(|t| t % chunk != 0).flat_map(|t| (0..h).map(move |head| (t, head))) {
            let at = (cu[i] + t) * h + head;
            gate.values[at] = f64::from((gate.values[at] + gate.values[at - h]) as f32);
        }
    }
    let init = row.uniform(F32, &[s, h, kd, vd], -1.0, 1.0);
    let (mut states, mut fresh, mut last) =
        (vec![0.0; nc * h * kd * vd], vec![UNTOUCHED; l * h * vd], vec![0.0; s * h * kd * vd]);
    // What each may be off by at most.
    let (mut states_off, mut fresh_off, mut last_off) = (0f64, 0f64, 0f64);
    let half = half_ulp(ty);
    for (i, head, j) in (0..s).flat_map(|i| (0..h).flat_map(move |head| (0..vd).map(move |j| (i, head, j)))) {
        // One column of the state, and of its error.
        let mut state: Vec<f64> = (0..kd).map(|f| if p.init { init.at([i, head, f, j]) } else { 0.0 }).collect();
        let mut off = vec![0.0; kd];
        for n in 0..chunks[i] {
            for f in 0..kd {
                states[(((first[i] + n) * h + head) * kd + f) * vd + j] = state[f];
                states_off = states_off.max(off[f]);
            }
            let tokens: Vec<usize> = (cu[i] + n * chunk..cu[i + 1].min(cu[i] + (n + 1) * chunk)).collect();
            let end = if p.gate { gate.at([tokens[tokens.len() - 1], head]) } else { 0.0 };
            let (mut next, mut next_off): (Vec<f64>, Vec<f64>) = (0..kd)
                .map(|f| {
                    let size = state[f].abs() * end.exp();
                    (state[f] * end.exp(), off[f] * end.exp() + size * (tokens.len() as f64 + 6.0) * H)
                })
                .unzip();
            for &t in &tokens {
                let mut u = v.at([t, head, j]);
                let (mut u_off, mut size) = (0.0, u.abs());
                for f in 0..kd {
                    let weight = w.at([t, head, f]);
                    u -= weight * state[f];
                    size += (weight * state[f]).abs();
                    // The state is rounded to the type before the product.
                    u_off += weight.abs() * (off[f] + half * state[f].abs());
                }
                u_off += (kd as f64 + 3.0) * H * size;
                fresh[(t * h + head) * vd + j] = u;
                fresh_off = fresh_off.max(u_off);
                if p.gate {
                    let decay = end - gate.at([t, head]);
                    (u, u_off) = (u * decay.exp(), (u_off + u.abs() * 6.0 * H) * decay.exp());
                }
                // u is rounded to the type too.
                u_off += half * (u.abs() + u_off);
                for f in 0..kd {
                    let key = k.at([t, head / (h / hk), f]);
                    next[f] += key * u;
                    next_off[f] += key.abs() * u_off + (key * u).abs() * (tokens.len() as f64 + 2.0) * H;
                }
            }
            (state, off) = (next, next_off);
        }
        for f in 0..kd {
            last[((i * h + head) * kd + f) * vd + j] = state[f];
            last_off = last_off.max(off[f]);
        }
    }
    row.pass(&k);
    row.pass(&v);
    row.pass(&w);
    row.pass_if(p.gate, &gate);
    row.pass(&Data::new(I32, &[s + 1], cu.iter().map(|&c| c as f64)));
    row.pass(&Data::new(I32, &[s], first.iter().map(|&f| f as f64)));
    row.pass_if(p.init, &init);
    if p.states {
        row.output(ty, &[nc, h, kd, vd], states, stored(ty, 0.0, states_off))
    } else {
        row.absent()
    }
    if p.fresh {
        row.output(ty, &[l, h, vd], fresh, stored(ty, 0.0, fresh_off))
    } else {
        row.absent()
    }
    if p.last {
        row.output(F32, &[s, h, kd, vd], last, stored(F32, 0.0, last_off))
    } else {
        row.absent()
    }
    row
}

/// The inverse of a lower triangular matrix with ones on its diagonal, column by column.
fn inverse(l: &dyn Fn(usize, usize) -> f64, n: usize) -> Vec<f64> {
    let mut x = vec![0.0; n * n];
    for j in 0..n {
        x[j * n + j] = 1.0;
        for i in j + 1..n {
            x[i * n + j] = -(j..i).map(|m| l(i, m) * x[m * n + j]).sum::<f64>();
        }
    }
    x
}

/// The inverses of I + (what lies below the diagonal of a), a block of rows at a time; a block that ends early is the upper left part of one.
fn solve_tril(l: usize, block: usize) -> Row {
    let mut row = Row::new("solve_tril", format!("{l}x{block}"));
    if !l.is_multiple_of(block) {
        row = row.placed(Placement::Guarded);
    }
    let a = row.uniform(F32, &[l, block], -0.4, 0.4);
    let (mut out, mut off) = (vec![], 0f64);
    for t in (0..l).step_by(block) {
        let n = block.min(l - t);
        let below = |i: usize, j: usize| if i > j { a.at([t + i, j]) } else { 0.0 };
        let x = inverse(&below, n);
        // Substitution is off by at most n roundings of |X| |L| |X|, with magnitudes from the comparison matrix (Higham: Accuracy and Stability of Numerical
        // Algorithms, section 8.2).
        let grown = inverse(&|i, j| -below(i, j).abs(), n);
        for (i, j) in (0..n).flat_map(|i| (0..n).map(move |j| (i, j))) {
            let through =
                |m: usize| (j..=m).map(|c| if c == m { 1.0 } else { below(m, c).abs() } * grown[c * n + j]).sum::<f64>();
            off = off.max((n as f64 + 2.0) * H * (j..=i).map(|m| grown[i * n + m] * through(m)).sum::<f64>());
        }
        for i in 0..n {
            out.extend((0..block).map(|j| if j < n { x[i * n + j] } else { 0.0 }));
        }
    }
    row.pass(&a);
    row.output(F32, &[l, block], out, stored(F32, 0.0, off));
    row
}

/// h[t] = a[t] h[t - 1] + b[t], from 0.
fn recurrence(shape @ [b, l, d]: [usize; 3], tiles: Option<(usize, usize)>) -> Row {
    let mut row = Row::new("recurrence", format!("{b}x{l}x{d}"));
    if let Some((bt, bd)) = tiles {
        row = row.constant("BT", bt).constant("BD", bd).placed(Placement::Guarded);
    }
    let (decay, input) = (row.uniform(F32, &shape, -0.95, 0.95), row.uniform(F32, &shape, -1.0, 1.0));
    let run = |of: &dyn Fn(f64) -> f64| {
        let mut h = vec![0.0; b * l * d];
        for (n, t, j) in (0..b).flat_map(|n| (0..l).flat_map(move |t| (0..d).map(move |j| (n, t, j)))) {
            let at = (n * l + t) * d + j;
            let before = if t == 0 { 0.0 } else { h[at - d] };
            h[at] = of(decay.values[at]) * before + of(input.values[at]);
        }
        h
    };
    // A term of the sum is multiplied and added at most once a step, in whatever order; terms that are older than 100 steps do not count.
    let size = largest(run(&f64::abs));
    row.pass(&decay);
    row.pass(&input);
    row.output(F32, &shape, run(&|v| v), stored(F32, 0.0, 2.0 * l.min(100) as f64 * size * H));
    row
}
