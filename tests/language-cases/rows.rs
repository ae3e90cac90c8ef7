//! Kernels that work on one row a program: softmax, normalizations with their gradients, cross entropy, moments.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::Bound;
use kiln_tests::case::Placement;

use super::row::{Data, H, Row, UNTOUCHED, largest, stored, values_of};

pub fn rows() -> Vec<Row> {
    let mut list = vec![];
    for ty in [F32, F16, BF16] {
        for (m, n, block) in [(1, 1, None), (3, 37, None), (4, 77, Some(96)), (2, 1000, None), (0, 5, None)] {
            list.push(softmax(ty, m, n, block));
        }
        for (m, n, block) in [(1, 1, None), (3, 1000, Some(256)), (2, 4097, None), (2, 300, Some(96)), (3, 0, None)] {
            list.push(softmax_wide(ty, m, n, block));
        }
        for (m, n) in [(1, 1), (5, 37), (2, 1000)] {
            list.push(moments(ty, m, n));
        }
    }
    for ty in [F32, F16] {
        for (m, n, w, b) in
            [(1, 1, true, true), (3, 37, false, false), (4, 100, true, false), (2, 515, false, true), (3, 768, true, true)]
        {
            list.push(layer_norm(ty, m, n, w, b, if w { None } else { Some(0.25) }));
        }
        for (m, n, groups) in [(1, 1, 1), (5, 37, 2), (33, 100, 4), (3, 300, 8), (200, 9, 1)] {
            list.push(layer_norm_backward(ty, m, n, groups));
        }
        let plain = Entropy { ty, ..Entropy::default() };
        list.push(cross_entropy(Entropy { m: 1, v: 1, ..plain }));
        list.push(cross_entropy(Entropy {
            m: 5,
            v: 1000,
            block: Some(128),
            weight: true,
            smooth: 0.1,
            count: Some(3.0),
            ..plain
        }));
        list.push(cross_entropy(Entropy { m: 3, v: 4500, softcap: Some(3.0), ..plain }));
        list.push(cross_entropy(Entropy {
            m: 4,
            v: 77,
            block: Some(96),
            weight: true,
            smooth: 0.2,
            softcap: Some(2.0),
            ignore: Some(5),
            ..plain
        }));
    }
    list
}

/// The softmax of each row.
fn softmax_of(x: &Data) -> Vec<f64> {
    let [m, n] = [x.shape[0], x.shape[1]];
    let (mut top, mut den) = (vec![f64::NEG_INFINITY; m], vec![0.0; m]);
    for i in 0..m {
        top[i] = (0..n).map(|j| x.at([i, j])).fold(f64::NEG_INFINITY, f64::max);
        den[i] = (0..n).map(|j| (x.at([i, j]) - top[i]).exp()).sum();
    }
    values_of([m, n], |[i, j]| (x.at([i, j]) - top[i]).exp() / den[i])
}

fn softmax(ty: ScalarType, m: usize, n: usize, block: Option<usize>) -> Row {
    let mut row = Row::new("softmax", format!("{ty}::{m}x{n}"));
    if let Some(block) = block {
        row = row.constant("BLOCK", block).placed(Placement::Guarded);
    }
    // So large that exp overflows without the maximum taken off.
    let x = row.uniform(ty, &[m, n], 95.0, 105.0);
    row.pass(&x);
    // exp of a difference of up to 10 that is rounded once, to 1.25 ulp, above and below; n positive terms; a division.
    row.output(ty, &[m, n], softmax_of(&x), stored(ty, (2.0 * (10.0 + 2.5) + n as f64 + 1.0) * H, 0.0));
    row
}

fn softmax_wide(ty: ScalarType, m: usize, n: usize, block: Option<usize>) -> Row {
    let mut row = Row::new("softmax_wide", format!("{ty}::{m}x{n}"));
    let width = block.unwrap_or(4096);
    if block.is_some() {
        row = row.constant("BLOCK", width).placed(Placement::Guarded);
    }
    let x = row.uniform(ty, &[m, n], -5.0, 5.0);
    row.pass(&x);
    // fast::exp of a difference d is off by 2 |d| H + 4 H; the sum is rescaled once a chunk; n terms; a division.
    let (chunks, exp) = (n.div_ceil(width) as f64, (2.0 * 10.0 + 4.0) * H);
    row.output(ty, &[m, n], softmax_of(&x), stored(ty, exp * (chunks + 2.0) + (n as f64 + 1.0) * H, 0.0));
    row
}

/// Mean and variance (of the population) of each row.
fn moments_of(x: &Data) -> (Vec<f64>, Vec<f64>) {
    let [m, n] = [x.shape[0], x.shape[1]];
    let mean: Vec<f64> = (0..m).map(|i| (0..n).map(|j| x.at([i, j])).sum::<f64>() / n as f64).collect();
    let var = (0..m).map(|i| (0..n).map(|j| (x.at([i, j]) - mean[i]).powi(2)).sum::<f64>() / n as f64).collect();
    (mean, var)
}

fn moments(ty: ScalarType, m: usize, n: usize) -> Row {
    let mut row = Row::new("moments", format!("{ty}::{m}x{n}"));
    if n == 37 {
        row = row.placed(Placement::Guarded);
    }
    let x = row.uniform(ty, &[m, n], -1.0, 3.0);
    let (mean, var) = moments_of(&x);
    row.pass(&x);
    // n - 1 merges in any order, each rounding a mean of at most 3 four times and a spread of at most 4 six times.
    row.output(F32, &[m], mean, stored(F32, 0.0, 4.0 * 3.0 * n as f64 * H));
    row.output(F32, &[m], var, stored(F32, 6.0 * n as f64 * H, 0.0));
    row
}

fn layer_norm(ty: ScalarType, m: usize, n: usize, with_w: bool, with_b: bool, eps: Option<f64>) -> Row {
    let given = |name: &'static str, yes: bool| if yes { name } else { "" };
    let mut row = Row::new("layer_norm", format!("{ty}::{m}x{n}::{}{}", given("w", with_w), given("b", with_b)));
    if n % 2 == 1 {
        row = row.placed(Placement::Guarded);
    }
    let x = row.uniform(ty, &[m, n], -1.0, 3.0);
    let (w, b) = (row.uniform(ty, &[n], -2.0, 2.0), row.uniform(ty, &[n], -1.0, 1.0));
    let epsilon = f64::from(eps.unwrap_or(1e-5) as f32);
    let (mean, var) = moments_of(&x);
    let rstd: Vec<f64> = var.iter().map(|v| 1.0 / (v + epsilon).sqrt()).collect();
    let normal = |[i, j]: [usize; 2]| (x.at([i, j]) - mean[i]) * rstd[i];
    let y = values_of([m, n], |[i, j]| {
        normal([i, j]) * if with_w { w.values[j] } else { 1.0 } + if with_b { b.values[j] } else { 0.0 }
    });
    // The mean is off by n + 1 roundings of at most 3; the variance by as much squared and n + 3 relative roundings, its root by half of that
    // and 1.5 ulp. Products and the sum round what they give.
    let steps = n as f64;
    let mean_off = (steps + 1.0) * 3.0 * H;
    let rstd_off = ((steps + 3.0) / 2.0 + 3.0) * H;
    let (r, size) = (largest(rstd.iter().copied()), largest(values_of([m, n], normal)));
    let gain = if with_w { 2.0 } else { 1.0 };
    let off = gain * (mean_off * r * 1.1 + size * (rstd_off + 3.0 * H) + size * (mean_off * r).powi(2))
        + largest(y.iter().copied()) * H;
    row.pass(&x);
    row.pass_if(with_w, &w);
    row.pass_if(with_b, &b);
    row.output(ty, &[m, n], y, stored(ty, 0.0, off));
    row.output(F32, &[m], mean, stored(F32, 0.0, mean_off));
    row.output(F32, &[m], rstd, stored(F32, rstd_off + (mean_off * r).powi(2), 0.0));
    match eps {
        Some(_) => row.float(F32, epsilon),
        None => row.absent(),
    }
    row
}

/// The gradient of layer_norm: dx a row, dw and db summed over the rows of each group (row % groups), onto what used groups hold.
fn layer_norm_backward(ty: ScalarType, m: usize, n: usize, groups: usize) -> Row {
    let mut row = Row::new("layer_norm_backward", format!("{ty}::{m}x{n}::{groups}"));
    if n % 2 == 1 {
        row = row.placed(Placement::Guarded);
    }
    let (dy, x) = (row.uniform(ty, &[m, n], -1.0, 1.0), row.uniform(ty, &[m, n], -1.0, 3.0));
    let w = row.uniform(ty, &[n], -2.0, 2.0);
    let (mean, var) = moments_of(&x);
    let mean = Data::new(F32, &[m], mean);
    let rstd = Data::new(F32, &[m], var.iter().map(|v| 1.0 / (v + 1e-5).sqrt()));
    let (dw, db) = (row.uniform(F32, &[groups, n], -1.0, 1.0), row.uniform(F32, &[groups, n], -1.0, 1.0));
    let used = Data::new(I32, &[groups], (0..groups).map(|g| f64::from(g % 2 == 1)));
    let hat =
        Data { ty: F64, shape: vec![m, n], values: values_of([m, n], |[i, j]| (x.at([i, j]) - mean.values[i]) * rstd.values[i]) };
    let dx = values_of([m, n], |[i, j]| {
        let mean_of = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>() / n as f64;
        let along = mean_of(&|l| hat.at([i, l]) * dy.at([i, l]) * w.values[l]);
        let flat = mean_of(&|l| dy.at([i, l]) * w.values[l]);
        (dy.at([i, j]) * w.values[j] - hat.at([i, j]) * along - flat) * rstd.values[i]
    });
    let summed = |before: &Data, term: &dyn Fn([usize; 2]) -> f64| {
        values_of([groups, n], |[g, j]| {
            let start = if g < m && used.values[g] == 0.0 { 0.0 } else { before.at([g, j]) };
            start + (g..m).step_by(groups).map(|i| term([i, j])).sum::<f64>()
        })
    };
    let sw = summed(&dw, &|[i, j]| dy.at([i, j]) * hat.at([i, j]));
    let sb = summed(&db, &|[i, j]| dy.at([i, j]));
    let after = (0..groups).map(|g| if g < m { 1.0 } else { used.values[g] }).collect();
    // Each mean of n terms of size t is off by (n + 4) t H, where t is at most 2 for dy * w and 2 |hat| with hat.
    let (t, r, steps) = (hat.largest(), rstd.largest(), n as f64);
    let off = r * H * ((steps + 4.0) * (2.0 * t * t + 2.0) + 4.0 * (2.0 + 2.0 * t * t + 2.0));
    row.pass(&dy);
    row.pass(&x);
    row.pass(&w);
    row.pass(&mean);
    row.pass(&rstd);
    row.output(ty, &[m, n], dx, stored(ty, 0.0, off));
    // A sum of at most `count` terms of |hat| (or 1), and what was there.
    let count = m.div_ceil(groups) as f64;
    row.update(&dw, sw, stored(F32, 0.0, (count + 4.0) * (count * t + 1.0) * H));
    row.update(&db, sb, stored(F32, 0.0, (count + 1.0) * (count + 1.0) * H));
    row.pass(&Data::full(I32, &[groups], 0.0));
    row.update(&used, after, Bound::Exact);
    row
}

/// One launch of cross_entropy.
#[derive(Clone, Copy)]
struct Entropy {
    ty: ScalarType,
    m: usize,
    v: usize,
    block: Option<usize>,
    weight: bool,
    ignore: Option<i64>,
    smooth: f64,
    softcap: Option<f64>,
    count: Option<f64>,
}

impl Default for Entropy {
    fn default() -> Entropy {
        Entropy { ty: F32, m: 1, v: 1, block: None, weight: false, ignore: None, smooth: 0.0, softcap: None, count: None }
    }
}

/// loss = (lse - (1 - e) z[y] - e mean(z)) * share with z = cap(x), share = weight[y] / count; x becomes the gradient of the loss. Rows whose target is
/// ignored get a gradient of 0 and no loss.
fn cross_entropy(e: Entropy) -> Row {
    let Entropy { ty, m, v, .. } = e;
    let mut row = Row::new("cross_entropy", format!("{ty}::{m}x{v}"));
    let block = e.block.unwrap_or(4096);
    if e.block.is_some() {
        row = row.constant("BLOCK", block).placed(Placement::Guarded);
    }
    let x = row.uniform(ty, &[m, v], -4.0, 4.0);
    let ignore = e.ignore.unwrap_or(-100);
    let mut target = row.integers(I64, &[m], 0, v as i128 - 1);
    if m > 2 {
        target.values[1] = ignore as f64;
        target.values[0] = v as f64 - 1.0;
    }
    let weight = row.uniform(F32, &[v], 0.5, 2.0);
    let (smooth, count) = (f64::from(e.smooth as f32), e.count.unwrap_or(1.0));
    let cap = |x: f64| e.softcap.map_or(x, |c| c * (x / c).tanh());
    let (mut loss, mut gradient) = (vec![UNTOUCHED; m], vec![0.0; m * v]);
    let mut largest_lse = 0f64;
    for i in (0..m).filter(|&i| target.values[i] != ignore as f64) {
        let y = target.values[i] as usize;
        let z: Vec<f64> = (0..v).map(|j| cap(x.at([i, j]))).collect();
        let lse = z.iter().map(|z| z.exp()).sum::<f64>().ln();
        let share = if e.weight { weight.values[y] } else { 1.0 } / count;
        loss[i] = (lse - (1.0 - smooth) * z[y] - smooth * z.iter().sum::<f64>() / v as f64) * share;
        for j in 0..v {
            let wanted = if j == y { 1.0 - smooth } else { 0.0 } + smooth / v as f64;
            let slope = e.softcap.map_or(1.0, |c| 1.0 - (z[j] / c).powi(2));
            gradient[i * v + j] = ((z[j] - lse).exp() - wanted) * slope * share;
        }
        largest_lse = largest_lse.max(lse);
    }
    // The cap is off by 8 H of its limit (a quotient, tanh to 2 ulp, a product). The sum of exponentials: differences of up to 8, rescaled a chunk, v terms.
    let cap_off = e.softcap.map_or(0.0, |c| 8.0 * H * c);
    let (chunks, exp_off) = (v.div_ceil(block) as f64, (2.0 * 8.0 + 4.0) * H + cap_off);
    let lse_off = exp_off * (chunks + 2.0) + v as f64 * H + 2.0 * largest_lse * H;
    let share_most = if e.weight { 2.0 } else { 1.0 };
    let loss_off = share_most * (lse_off + cap_off + smooth * (v as f64 + 2.0) * 4.0 * H + 4.0 * (largest_lse + 8.0) * H);
    // exp(z - lse) is at most 1: off by the error of lse and of the difference; subtracted, sloped (2 more errors of the cap) and shared.
    let size = largest_lse + 4.0;
    let gradient_off =
        share_most * (lse_off + cap_off + (2.0 * size + 4.0) * H + 8.0 * H + 4.0 * e.softcap.map_or(0.0, |_| 8.0 * H));
    row.update(&x, gradient, stored(ty, 0.0, gradient_off));
    row.pass(&target);
    row.pass_if(e.weight, &weight);
    row.output(F32, &[m], loss, stored(F32, 0.0, loss_off));
    match e.ignore {
        Some(value) => row.int(I64, value.into()),
        None => row.absent(),
    }
    if smooth > 0.0 {
        row.float(F32, smooth)
    } else {
        row.absent()
    }
    match e.softcap {
        Some(c) => row.float(F32, c),
        None => row.absent(),
    }
    match e.count {
        Some(c) => row.float(F32, c),
        None => row.absent(),
    }
    row
}
