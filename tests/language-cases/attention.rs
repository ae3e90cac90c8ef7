//! Attention over packed sequences, its gradient, decoding from a paged cache, and the search that finds a sequence.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::Bound;
use kiln_tests::case::Placement;

use super::row::{Data, H, Row, half_ulp, largest, stored, values_of};

pub fn rows() -> Vec<Row> {
    let mut list = vec![];
    for ty in [F32, F16, BF16] {
        list.push(attention(Packed { ty, queries: &[1], keys: &[1], h: 1, hk: 1, d: 1, causal: true, lse: true, small: false }));
        let tails = Packed {
            ty,
            queries: &[5, 0, 37, 1],
            keys: &[5, 3, 50, 40],
            h: 4,
            hk: 2,
            d: 24,
            causal: true,
            lse: true,
            small: true,
        };
        list.push(attention(tails));
        list.push(attention(Packed { queries: &[9, 40], keys: &[4, 33], causal: false, lse: false, ..tails }));
        list.push(attention(Packed {
            ty,
            queries: &[130, 70],
            keys: &[150, 70],
            h: 2,
            hk: 1,
            d: 64,
            causal: true,
            lse: true,
            small: false,
        }));
    }
    for ty in [F32, F16] {
        for (shape, causal, small) in [
            ([1, 1, 1, 1], true, false),
            ([2, 3, 37, 20], true, true),
            ([1, 2, 70, 33], false, false),
            ([1, 1, 130, 64], true, false),
        ] {
            list.push(attention_dkdv(ty, shape, causal, small));
        }
    }
    for (ty, cache) in [(F32, F32), (F16, F16), (F16, F8E4M3), (BF16, F8E5M2)] {
        let one = Paged { ty, cache, lens: &[1], h: 1, hk: 1, d: 2, page: 1, parts: 1, slope: false, scale: None, block: None };
        list.push(paged_decode(one));
        let tails = Paged {
            lens: &[37, 1, 0, 60],
            h: 6,
            hk: 2,
            d: 20,
            page: 7,
            parts: 3,
            slope: true,
            scale: Some(0.5),
            block: Some(16),
            ..one
        };
        list.push(paged_decode(tails));
        list.push(paged_decode(Paged { lens: &[300, 129], h: 8, hk: 8, d: 64, page: 16, parts: 2, slope: false, ..one }));
    }
    for starts in [&[0, 1][..], &[0, 3, 3, 10], &[0, 1, 2, 4, 8, 16, 100]] {
        list.push(sequence_of(starts));
    }
    list
}

/// Sequences that stand one after another, and what is asked of them.
#[derive(Clone, Copy)]
struct Packed {
    ty: ScalarType,
    queries: &'static [usize],
    keys: &'static [usize],
    h: usize,
    hk: usize,
    d: usize,
    causal: bool,
    lse: bool,
    small: bool,
}

/// Where each sequence starts, and the end.
fn starts(lengths: &[usize]) -> Vec<usize> {
    let mut sum = 0;
    std::iter::once(0)
        .chain(lengths.iter().map(|l| {
            sum += l;
            sum
        }))
        .collect()
}

fn positions(starts: &[usize]) -> Data {
    Data::new(I32, &[starts.len()], starts.iter().map(|&s| s as f64))
}

/// Softmax with its logarithm of the sum: the shares of some scores.
fn shares(scores: &[f64]) -> (Vec<f64>, f64) {
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
    (scores.iter().map(|s| (s - top).exp() / total).collect(), top + total.ln())
}

/// What a share exp(score - top) is off by, relative: the score's dot of d terms (magnitude of the sum `size`) with its scale and base, the difference of up
/// to `reach`, and fast::exp2 (4 H); once for the share and once for what earlier shares are rescaled by.
fn share_off(d: usize, size: f64, reach: f64) -> f64 {
    ((d as f64 + 6.0) * size + 2.0 * reach + 8.0) * H
}

/// The last query of a sequence sees its last key; with `causal` earlier ones see so many less.
fn attention(p: Packed) -> Row {
    let Packed { ty, h, hk, d, .. } = p;
    let (q0, k0) = (starts(p.queries), starts(p.keys));
    let (lq, lk) = (q0[q0.len() - 1], k0[k0.len() - 1]);
    let mut row = Row::new("attention", format!("{ty}::{lq}x{lk}x{h}x{d}{}", if p.causal { "::causal" } else { "" }));
    if p.small {
        row = row.constant("BM", 16).constant("BN", 8).placed(Placement::Guarded);
    }
    if !p.causal {
        row = row.constant("CAUSAL", 0);
    }
    let q = row.uniform(ty, &[lq, h, d], -1.0, 1.0);
    let (k, v) = (row.uniform(ty, &[lk, hk, d], -1.0, 1.0), row.uniform(ty, &[lk, hk, d], -1.0, 1.0));
    let scale = f64::from(2.0 / (d as f32).sqrt());
    let (mut o, mut lse) = (vec![0.0; lq * h * d], vec![0.0; h * lq]);
    let (mut size, mut reach) = (0f64, 0f64);
    for s in 0..p.queries.len() {
        for (i, head) in (0..p.queries[s]).flat_map(|i| (0..h).map(move |head| (i, head))) {
            let seen = if p.causal { i + 1 + p.keys[s] - p.queries[s] } else { p.keys[s] };
            let group = head / (h / hk);
            let terms = |j: usize| (0..d).map(move |f| (f, j));
            let score =
                |j: usize| terms(j).map(|(f, j)| q.at([q0[s] + i, head, f]) * k.at([k0[s] + j, group, f])).sum::<f64>() * scale;
            let weight =
                |j: usize| terms(j).map(|(f, j)| (q.at([q0[s] + i, head, f]) * k.at([k0[s] + j, group, f])).abs()).sum::<f64>();
            let scores: Vec<f64> = (0..seen).map(score).collect();
            size = size.max(largest((0..seen).map(weight)) * scale);
            reach = reach.max(2.0 * largest(scores.iter().copied()));
            let (share, total) = shares(&scores);
            for f in 0..d {
                let sum: f64 = (0..seen).map(|j| share[j] * v.at([k0[s] + j, group, f])).sum();
                o[((q0[s] + i) * h + head) * d + f] = sum;
            }
            lse[head * lq + q0[s] + i] = total;
        }
    }
    let longest = *p.keys.iter().max().expect("a sequence") as f64;
    let off = share_off(d, size, reach);
    // Shares are rounded to the type of v, the sums of shares are not; both are rescaled once a block of keys.
    let blocks = longest / if p.small { 8.0 } else { 64.0 } + 1.0;
    let sum_off = off * (blocks + 1.0) + (longest + 2.0) * H;
    let o_off = (2.0 * sum_off + half_ulp(ty)) * v.largest();
    row.pass(&q);
    row.pass(&k);
    row.pass(&v);
    row.pass(&positions(&q0));
    row.pass(&positions(&k0));
    row.output(ty, &[lq, h, d], o, stored(ty, 0.0, o_off));
    if p.lse {
        let most = largest(lse.iter().copied());
        row.output(F32, &[h, lq], lse, stored(F32, 0.0, sum_off + 4.0 * (most + reach) * H));
    } else {
        row.absent();
    }
    row.float(F32, scale);
    row.int(I32, *p.queries.iter().max().expect("a sequence") as i128);
    row
}

/// dk and dv of o = softmax(scale q k^T) v for a given gradient of o, with lse and delta = sum(o * do) of the forward pass.
fn attention_dkdv(ty: ScalarType, shape @ [b, h, l, d]: [usize; 4], causal: bool, small: bool) -> Row {
    let way = if causal { "::causal" } else { "" };
    let mut row = Row::new("attention_dkdv", format!("{ty}::{b}x{h}x{l}x{d}{way}"));
    if small {
        row = row.constant("BM", 16).constant("BN", 8).placed(Placement::Guarded);
    }
    if !causal {
        row = row.constant("CAUSAL", 0);
    }
    let [q, k, v, g] = [(); 4].map(|()| row.uniform(ty, &shape, -1.0, 1.0));
    let scale = f64::from(1.0 / (d as f32).sqrt());
    let (mut lse, mut delta) = (vec![], vec![]);
    let (mut dk, mut dv) = (vec![0.0; b * h * l * d], vec![0.0; b * h * l * d]);
    // Sums of magnitudes, with the largest score and gradient of a share: what the bounds are made of.
    let (mut dk_size, mut dv_size) = (vec![0.0; b * h * l * d], vec![0.0; b * h * l * d]);
    let (mut score_size, mut share_size) = (0f64, 0f64);
    for (n, head) in (0..b).flat_map(|n| (0..h).map(move |head| (n, head))) {
        for i in 0..l {
            let seen = if causal { i + 1 } else { l };
            let dot = |x: &Data, i: usize, y: &Data, j: usize| {
                (0..d).map(|f| x.at([n, head, i, f]) * y.at([n, head, j, f])).sum::<f64>()
            };
            let size = |x: &Data, i: usize, y: &Data, j: usize| {
                (0..d).map(|f| (x.at([n, head, i, f]) * y.at([n, head, j, f])).abs()).sum::<f64>()
            };
            let scores: Vec<f64> = (0..seen).map(|j| scale * dot(&q, i, &k, j)).collect();
            let (share, total) = shares(&scores);
            let gradient: Vec<f64> = (0..seen).map(|j| dot(&v, j, &g, i)).collect();
            let along: f64 = (0..seen).map(|j| share[j] * gradient[j]).sum();
            for j in 0..seen {
                score_size = score_size.max(scale * size(&q, i, &k, j));
                share_size = share_size.max(size(&v, j, &g, i) + along.abs());
                let ds = share[j] * (gradient[j] - along);
                for f in 0..d {
                    let at = ((n * h + head) * l + j) * d + f;
                    dv[at] += share[j] * g.at([n, head, i, f]);
                    dk[at] += scale * ds * q.at([n, head, i, f]);
                    dv_size[at] += share[j];
                    dk_size[at] += scale * share[j];
                }
            }
            lse.push(total);
            delta.push(along);
        }
    }
    let (lse, delta) = (Data::new(F32, &[b, h, l], lse), Data::new(F32, &[b, h, l], delta));
    // A share is off as in the forward pass, and by the rounded lse; then it is rounded to the type and l terms are summed. Magnitudes of q, k, v, do are at most 1.
    let off = share_off(d, score_size, score_size + lse.largest()) + lse.largest() * H;
    let sum_off = (l + 2) as f64 * H;
    let dv_off = largest(dv_size) * (off + half_ulp(ty) + sum_off);
    let dk_off = largest(dk_size) * share_size * (off + half_ulp(ty) + sum_off + (d as f64 + 6.0) * H);
    row.pass(&q);
    row.pass(&k);
    row.pass(&v);
    row.pass(&g);
    row.pass(&lse);
    row.pass(&delta);
    row.output(ty, &shape, dk, stored(ty, 0.0, dk_off));
    row.output(ty, &shape, dv, stored(ty, 0.0, dv_off));
    row.float(F32, scale);
    row
}

/// One query a sequence, over keys and values in pages.
#[derive(Clone, Copy)]
struct Paged {
    ty: ScalarType,
    cache: ScalarType,
    lens: &'static [usize],
    h: usize,
    hk: usize,
    d: usize,
    page: usize,
    parts: usize,
    slope: bool,
    scale: Option<f64>,
    block: Option<usize>,
}

/// Each part of a sequence gives its own softmax-weighted sum of values and the logarithm of its sum; a part without keys gives 0 and -inf.
fn paged_decode(p: Paged) -> Row {
    let Paged { ty, cache, h, hk, d, page, parts, .. } = p;
    let s = p.lens.len();
    let longest = *p.lens.iter().max().expect("a sequence");
    let mut row = Row::new("paged_decode", format!("{ty}::{cache}::{s}x{longest}x{h}x{d}"));
    let block = p.block.unwrap_or(64);
    if p.block.is_some() {
        row = row.constant("BN", block).placed(Placement::Guarded);
    }
    let wide = longest.div_ceil(page);
    let pages = s * wide + 2;
    let q = row.uniform(ty, &[s, h, d], -1.0, 1.0);
    let [kc, vc] = [(); 2].map(|()| row.uniform(cache, &[pages, page, hk, d], -1.0, 1.0));
    // Pages in an order of their own: 5 is prime to the numbers of pages that occur.
    let table = Data::new(I32, &[s, wide], (0..s * wide).map(|i| ((i * 5 + 3) % pages) as f64));
    let lens = Data::new(I32, &[s], p.lens.iter().map(|&l| l as f64));
    let slope = row.uniform(F32, &[h], 0.0, 0.2);
    let scale = f64::from(1.0 / (d as f32).sqrt());
    let cache_scale = p.scale.unwrap_or(1.0);
    let (mut part, mut lse) = (vec![], vec![]);
    let (mut size, mut reach) = (0f64, 0f64);
    for (seq, head) in (0..s).flat_map(|seq| (0..h).map(move |head| (seq, head))) {
        let group = head / (h / hk);
        let slot = |j: usize| (table.at([seq, j / page]) as usize, j % page);
        for z in 0..parts {
            let per = p.lens[seq].div_ceil(parts).div_ceil(block) * block;
            let keys: Vec<usize> = (z * per..p.lens[seq].min(z * per + per)).collect();
            let score = |&j: &usize| {
                let (number, line) = slot(j);
                let terms = (0..d).map(|f| q.at([seq, head, f]) * kc.at([number, line, group, f]));
                let bias = if p.slope { slope.values[head] * (j as f64 - p.lens[seq] as f64 + 1.0) } else { 0.0 };
                (terms.clone().sum::<f64>() * scale * cache_scale + bias, terms.map(f64::abs).sum::<f64>() * scale + bias.abs())
            };
            let scores: Vec<f64> = keys.iter().map(|j| score(j).0).collect();
            size = size.max(largest(keys.iter().map(|j| score(j).1)));
            reach = reach.max(2.0 * largest(scores.iter().copied()));
            let (share, total) = shares(&scores);
            part.extend((0..d).map(|f| {
                let value = |j: usize| {
                    let (number, line) = slot(j);
                    vc.at([number, line, group, f]) * cache_scale
                };
                keys.iter().zip(&share).map(|(&j, w)| w * value(j)).sum::<f64>()
            }));
            lse.push(if keys.is_empty() { f64::NEG_INFINITY } else { total });
        }
    }
    let off = share_off(d, size, reach);
    let sum_off = off * (longest as f64 / block as f64 + 2.0) + (longest as f64 + 4.0) * H;
    let most = largest(lse.iter().copied().filter(|l| l.is_finite()));
    row.pass(&q);
    row.pass(&kc);
    row.pass(&vc);
    row.pass(&table);
    row.pass(&lens);
    row.pass_if(p.slope, &slope);
    // Shares are rounded to the type of q; values have magnitudes of at most 1.
    row.output(F32, &[s, h, parts, d], part, stored(F32, 0.0, 2.0 * sum_off + half_ulp(ty)));
    row.output(F32, &[s, h, parts], lse, stored(F32, 0.0, sum_off + 4.0 * (most + reach) * H));
    row.float(F32, scale);
    match p.scale {
        Some(value) => row.float(F32, value),
        None => row.absent(),
    }
    row
}

/// A function of the file that none of its kernels calls: the last s with start[s] <= i.
fn sequence_of(starts: &[usize]) -> Row {
    let n = starts[starts.len() - 1];
    let mut row = Row::new("sequence_of", format!("{n}"));
    row.extra = "kernel calls_it(start: tensor<i32, [S]>, y: mut tensor<i32, [N]>) grid [N] {\n    \
                 y[program_id(0)] = sequence_of(start, program_id(0)) as i32;\n}\n";
    let y = values_of([n], |[i]| starts.iter().rposition(|&s| s <= i).expect("starts begin with 0") as f64);
    row.pass(&positions(starts));
    row.output(I32, &[n], y, Bound::Exact);
    row
}
