//! Kernels that choose: routing to the best experts, nucleus sampling.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::Bound;
use kiln_tests::case::Placement;

use super::random;
use super::row::{Data, H, Row, stored};

pub fn rows() -> Vec<Row> {
    let mut list = vec![];
    for ty in [F32, F16, BF16] {
        for (m, e, k) in [(1, 1, 1), (5, 60, 6), (7, 8, 8), (9, 257, 3)] {
            list.push(route(ty, m, e, k));
        }
    }
    for (m, v, temperature, top_p) in [(1, 1, 1.0, 0.9), (20, 37, 0.7, 0.9), (9, 64, 1.0, 2.0), (5, 1000, 1.5, 0.5)] {
        list.push(sample(m, v, temperature, top_p));
    }
    list
}

/// The k largest logits of each row, the first of equal ones first, with their softmax among themselves.
fn route(ty: ScalarType, m: usize, e: usize, k: usize) -> Row {
    let mut row = Row::new("route", format!("{ty}::{m}x{e}x{k}"));
    if e.is_multiple_of(2) {
        row = row.placed(Placement::Guarded);
    }
    // Few different values, so that there are ties.
    let steps = row.integers(I32, &[m, e], -24, 24);
    // Large ones overflow exp without the maximum taken off.
    let level = if e > 100 { 96.0 } else { 0.0 };
    let logits = Data::new(ty, &[m, e], steps.values.iter().map(|s| level + s / 8.0));
    let (mut weight, mut id) = (vec![], vec![]);
    for i in 0..m {
        let mut order: Vec<usize> = (0..e).collect();
        order.sort_by(|&a, &b| logits.at([i, b]).total_cmp(&logits.at([i, a])).then(a.cmp(&b)));
        let shares: Vec<f64> = order[..k].iter().map(|&j| (logits.at([i, j]) - logits.at([i, order[0]])).exp()).collect();
        let total: f64 = shares.iter().sum();
        weight.extend(shares.iter().map(|s| s / total));
        id.extend(order[..k].iter().map(|&j| j as f64));
    }
    row.pass(&logits);
    // fast::exp of a difference of at most 6, above and below: 2 * 6 + 4 each; a sum of k; a quotient.
    row.output(F32, &[m, k], weight, stored(F32, (2.0 * 16.0 + k as f64 + 1.0) * H, 0.0));
    row.output(I32, &[m, k], id, Bound::Exact);
    row
}

/// Which token a row of logits gives for a random number, or none where a decision hangs on less than the kernel's arithmetic can tell apart.
fn nucleus(logits: &[f64], temperature: f64, top_p: f64, uniform: f64) -> Option<usize> {
    const MARGIN: f64 = 1e-4;
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = logits.iter().map(|x| ((x - top) / temperature).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    // Tokens are kept while what stands before them is less than top_p.
    let (mut before, mut kept) = (0.0, vec![]);
    for &token in &order {
        if (before - top_p as f32 as f64).abs() < MARGIN {
            return None;
        }
        if before < f64::from(top_p as f32) {
            kept.push((token, weights[token] / total));
        }
        before += weights[token] / total;
    }
    let target = uniform * kept.iter().map(|k| k.1).sum::<f64>();
    let mut sum = 0.0;
    for (token, share) in kept {
        sum += share;
        if (sum - target).abs() < MARGIN {
            return None;
        }
        if sum > target {
            return Some(token);
        }
    }
    None
}

fn sample(m: usize, v: usize, temperature: f64, top_p: f64) -> Row {
    let mut row = Row::new("sample", format!("{m}x{v}"));
    if v % 2 == 1 {
        row = row.placed(Placement::Guarded);
    }
    let temperature = f64::from(temperature as f32);
    let seed = row.random.bits();
    let (mut logits, mut token) = (vec![], vec![]);
    for i in 0..m {
        // Few different values, so that the sort has ties; another row where rounding could decide.
        let uniform = random::rand(seed, i as u64);
        let (values, choice) = (0..1000)
            .find_map(|_| {
                let values: Vec<f64> = (0..v).map(|_| row.random.int(-40, 40) as f64 / 8.0).collect();
                nucleus(&values, temperature, top_p, uniform).map(|choice| (values, choice))
            })
            .expect("a row with a clear choice");
        logits.extend(values);
        token.push(choice as f64);
    }
    row.pass(&Data::new(F32, &[m, v], logits));
    row.output(I32, &[m], token, Bound::Exact);
    row.float(F32, temperature);
    row.float(F32, top_p);
    row.int(U64, seed.into());
    row
}
