//! Matrix products of one element type: plain, grouped, split, persistent, gathered, and convolution.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::{Array, Bound};
use kiln_tests::case::{Arg, Expected, Placement};
use kiln_tests::scalar::Num;

use super::row::{Data, H, Row, UNTOUCHED, largest, stored, values_of};

/// Tile sizes that are not the defaults.
const SMALL: [(&str, usize); 3] = [("BM", 32), ("BN", 16), ("BK", 8)];

pub fn rows() -> Vec<Row> {
    let mut list = vec![];
    for ty in [F32, F16, BF16] {
        for (m, n, k, small) in [(1, 1, 1, false), (37, 50, 29, true), (130, 140, 70, false), (7, 0, 5, true), (5, 6, 0, false)] {
            list.push(matmul(ty, [m, n, k], small, false));
            list.push(linear(ty, [m, n, k], small, small, false));
            list.push(persistent_matmul(ty, [m, n, k], small));
        }
        list.push(matmul(ty, [33, 64, 40], true, true));
        list.push(linear(ty, [40, 33, 17], true, false, true));
    }
    for ty in [F32, F16] {
        list.push(grouped_gemm(ty, "one", &[[1, 1, 1]], false));
        list.push(grouped_gemm(ty, "tails", &[[37, 20, 9], [0, 5, 5], [1, 40, 64], [64, 16, 8], [3, 4, 0]], true));
        list.push(grouped_gemm(ty, "large", &[[130, 129, 65], [20, 200, 70]], false));
        for (m, n, k, small, weighted) in
            [(1, 1, 1, false, false), (13, 20, 19, true, true), (70, 150, 80, false, true), (50, 40, 30, true, false)]
        {
            list.push(moe_gemm(ty, [m, n, k], small, weighted));
        }
        list.push(conv2d(ty, Image { images: 1, size: [1, 1], channels: 1, filters: 1, window: [1, 1], step: 1, pad: 0 }, false));
        list.push(conv2d(ty, Image { images: 2, size: [7, 6], channels: 5, filters: 9, window: [3, 3], step: 2, pad: 1 }, true));
        list.push(conv2d(
            ty,
            Image { images: 2, size: [9, 11], channels: 33, filters: 65, window: [3, 2], step: 1, pad: 2 },
            false,
        ));
        for (m, n, k, split) in [(1, 1, 1, None), (33, 20, 70, Some(3)), (65, 70, 700, None), (3, 5, 0, None)] {
            list.push(split_k(ty, [m, n, k], split));
        }
    }
    list
}

/// a @ b, and the largest sum of magnitudes.
fn product(a: &Data, b: &Data) -> (Vec<f64>, f64) {
    let [m, k, n] = [a.shape[0], a.shape[1], b.shape[1]];
    let sum = |f: &dyn Fn(f64) -> f64| values_of([m, n], |[i, j]| (0..k).map(|l| f(a.at([i, l]) * b.at([l, j]))).sum());
    (sum(&|v| v), largest(sum(&f64::abs)))
}

/// k terms accumulated in f32, in any order: half an ulp a step of the sum of magnitudes.
fn accumulated(k: usize, size: f64) -> f64 {
    (k + 2) as f64 * H * size
}

fn transposed(x: &Data) -> Data {
    let [m, n] = [x.shape[0], x.shape[1]];
    Data { ty: x.ty, shape: vec![n, m], values: values_of([n, m], |[i, j]| x.at([j, i])) }
}

fn with_tiles(mut row: Row, small: bool) -> Row {
    if small {
        row = SMALL.iter().fold(row, |row, &(name, value)| row.constant(name, value)).placed(Placement::Guarded);
    }
    row
}

fn tag(ty: ScalarType, [m, n, k]: [usize; 3]) -> String {
    format!("{ty}::{m}x{n}x{k}")
}

/// c = epilogue(a @ b), operands in column order for one size.
fn matmul(ty: ScalarType, size @ [m, n, k]: [usize; 3], small: bool, epilogue: bool) -> Row {
    let mut row = with_tiles(Row::new("matmul", tag(ty, size)), small);
    if epilogue {
        row = row.placed(Placement::Transposed).function(
            "EPILOGUE",
            "halved",
            "fn halved<S: shape>(x: tile<f32, S>) -> tile<f32, S> { x * 0.5 }\n",
        );
    }
    let (a, b) = (row.uniform(ty, &[m, k], -1.0, 1.0), row.uniform(ty, &[k, n], -1.0, 1.0));
    let (mut c, magnitude) = product(&a, &b);
    if epilogue {
        c.iter_mut().for_each(|v| *v *= 0.5);
    }
    row.pass(&a);
    row.pass(&b);
    row.output(ty, &[m, n], c, stored(ty, 0.0, accumulated(k, magnitude)));
    row
}

/// y = act(x @ w^T + bias).
fn linear(ty: ScalarType, size @ [m, n, k]: [usize; 3], small: bool, with_bias: bool, act: bool) -> Row {
    let mut row = with_tiles(Row::new("linear", tag(ty, size)), small);
    if act {
        row =
            row.function("ACT", "bent", "fn bent<S: shape>(x: tile<f32, S>) -> tile<f32, S> { select(x > 0.0, x, 0.25 * x) }\n");
    }
    let (x, w) = (row.uniform(ty, &[m, k], -1.0, 1.0), row.uniform(ty, &[n, k], -1.0, 1.0));
    let bias = row.uniform(ty, &[n], -1.0, 1.0);
    let (mut y, magnitude) = product(&x, &transposed(&w));
    for (i, v) in y.iter_mut().enumerate() {
        *v += if with_bias { bias.values[i % n] } else { 0.0 };
        *v *= if act && *v < 0.0 { 0.25 } else { 1.0 };
    }
    row.pass(&x);
    row.pass(&w);
    row.pass_if(with_bias, &bias);
    row.output(ty, &[m, n], y, stored(ty, 0.0, accumulated(k + 1, magnitude + 1.0)));
    row
}

fn persistent_matmul(ty: ScalarType, size @ [m, n, k]: [usize; 3], small: bool) -> Row {
    let mut row = with_tiles(Row::new("persistent_matmul", tag(ty, size)), small);
    let (a, b) = (row.uniform(ty, &[m, k], -1.0, 1.0), row.uniform(ty, &[k, n], -1.0, 1.0));
    let (c, magnitude) = product(&a, &b);
    row.pass(&a);
    row.pass(&b);
    row.output(ty, &[m, n], c, stored(ty, 0.0, accumulated(k, magnitude)));
    row
}

/// Problems of any sizes behind pointers, with leading dimensions larger than the rows.
fn grouped_gemm(ty: ScalarType, name: &str, sizes: &[[usize; 3]], small: bool) -> Row {
    let mut row = with_tiles(Row::new("grouped_gemm", format!("{ty}::{name}")), small).placed(Placement::Dense);
    let (mut a, mut b, mut c, mut after) = (vec![], vec![], vec![], vec![]);
    let (mut lds, mut off) = (vec![], 0f64);
    for (g, &[m, n, k]) in sizes.iter().enumerate() {
        let ld = [k + g, n + 2 * g, n + 3 * g];
        // Rows of ld elements, of which the kernel sees the first.
        let (wide_a, wide_b) = (row.uniform(ty, &[m, ld[0]], -1.0, 1.0), row.uniform(ty, &[k, ld[1]], -1.0, 1.0));
        let narrow = |x: &Data, rows: usize, cols: usize| Data {
            ty,
            shape: vec![rows, cols],
            values: values_of([rows, cols], |[i, j]| x.at([i, j])),
        };
        let (values, magnitude) = product(&narrow(&wide_a, m, k), &narrow(&wide_b, k, n));
        off = off.max(accumulated(k, magnitude));
        after.extend(values_of([m, ld[2]], |[i, j]| if j < n { values[i * n + j] } else { UNTOUCHED }));
        c.push(Data::full(ty, &[m, ld[2]], UNTOUCHED).array());
        a.push(wide_a.array());
        b.push(wide_b.array());
        lds.push(ld);
    }
    for arrays in [a, b] {
        row.args.push(Arg::Pointers { arrays, mutable: false });
    }
    let values = after.into_iter().map(Num::Float).collect();
    row.expected.push(Expected { arg: 2, values, bound: stored(ty, 0.0, off) });
    row.args.push(Arg::Pointers { arrays: c, mutable: true });
    let table = |list: &[[usize; 3]]| Array::new(I32, &[list.len(), 3], list.iter().flatten().map(|&v| Num::Int(v as i128)));
    for list in [table(sizes), table(&lds)] {
        let same = list.values();
        row.raw(list, same, Bound::Exact);
    }
    row
}

/// Each token goes to two experts; rows of one expert stand together, padded to whole tiles. One expert lives elsewhere (-1): its rows become 0.
fn moe_gemm(ty: ScalarType, size @ [m, n, k]: [usize; 3], small: bool, weighted: bool) -> Row {
    const TOPK: usize = 2;
    const EXPERTS: usize = 3;
    let mut row = with_tiles(Row::new("moe_gemm", tag(ty, size)), small).constant("TOPK", TOPK);
    let tile = if small { 32 } else { 64 };
    let (a, w) = (row.uniform(ty, &[m, k], -1.0, 1.0), row.uniform(ty, &[EXPERTS, n, k], -1.0, 1.0));
    let weight = row.uniform(F32, &[m * TOPK], 0.0, 1.0);
    let padding = (m * TOPK) as f64;
    let choice = row.integers(I32, &[m * TOPK], 0, EXPERTS as i128 - 1);
    let away = EXPERTS - 1;
    let (mut rows, mut expert) = (vec![], vec![]);
    for e in 0..EXPERTS {
        // The last slot is routed nowhere when there is more than one token: its row must stay as it was.
        let routed = (0..m * TOPK - usize::from(m > 1)).filter(|&s| choice.values[s] == e as f64);
        rows.extend(routed.map(|s| s as f64));
        while rows.len() % tile != 0 {
            rows.push(padding);
        }
        expert.resize(rows.len() / tile, if e == away { -1.0 } else { e as f64 });
    }
    let padded = rows.len();
    // Slots past `padded` are not looked at, whatever they hold; the last tile is not a whole one.
    rows.extend(std::iter::repeat_n(0.0, tile / 2 + 1));
    expert.resize(rows.len().div_ceil(tile), 0.0);
    let seen: Vec<usize> = rows[..padded].iter().filter(|&&r| r < padding).map(|&r| r as usize).collect();
    let mut magnitude = 0f64;
    let after = values_of([m * TOPK, n], |[slot, j]| {
        let e = choice.values[slot] as usize;
        if !seen.contains(&slot) {
            return UNTOUCHED;
        }
        let terms = (0..if e == away { 0 } else { k }).map(|l| a.at([slot / TOPK, l]) * w.at([e, j, l]));
        magnitude = magnitude.max(terms.clone().map(f64::abs).sum());
        terms.sum::<f64>() * if weighted { weight.values[slot] } else { 1.0 }
    });
    row.pass(&a);
    row.pass(&w);
    row.pass_if(weighted, &weight);
    row.output(ty, &[m * TOPK, n], after, stored(ty, 0.0, accumulated(k + 1, magnitude)));
    row.pass(&Data::new(I32, &[rows.len()], rows));
    row.pass(&Data::new(I32, &[expert.len()], expert));
    row.pass(&Data::new(I32, &[1], [padded as f64]));
    row
}

/// Extents of a convolution.
#[derive(Clone, Copy)]
struct Image {
    images: usize,
    size: [usize; 2],
    channels: usize,
    filters: usize,
    window: [usize; 2],
    step: usize,
    pad: usize,
}

/// Cross-correlation with zeros around the image.
fn conv2d(ty: ScalarType, image: Image, small: bool) -> Row {
    let Image { images, size: [h, w], channels, filters, window: [r, s], step, pad } = image;
    let (p, q) = ((h + 2 * pad - r) / step + 1, (w + 2 * pad - s) / step + 1);
    let mut row = Row::new("conv2d", format!("{ty}::{images}x{h}x{w}x{channels}x{filters}"));
    if small {
        row = row.constant("BM", 16).constant("BN", 8).constant("BC", 4).placed(Placement::Guarded);
    }
    let x = row.uniform(ty, &[images, h, w, channels], -1.0, 1.0);
    let filter = row.uniform(ty, &[r, s, channels, filters], -1.0, 1.0);
    let mut magnitude = 0f64;
    let y = values_of([images, p, q, filters], |[n, i, j, f]| {
        let (mut sum, mut size) = (0.0, 0.0);
        for (dr, ds) in (0..r).flat_map(|dr| (0..s).map(move |ds| (dr, ds))) {
            let (row, column) = ((i * step + dr).wrapping_sub(pad), (j * step + ds).wrapping_sub(pad));
            if row < h && column < w {
                for c in 0..channels {
                    let term = x.at([n, row, column, c]) * filter.at([dr, ds, c, f]);
                    sum += term;
                    size += term.abs();
                }
            }
        }
        magnitude = magnitude.max(size);
        sum
    });
    row.pass(&x);
    row.pass(&filter);
    row.output(ty, &[images, p, q, filters], y, stored(ty, 0.0, accumulated(r * s * channels, magnitude)));
    if step == 1 {
        row.absent()
    } else {
        row.int(I32, step as i128)
    }
    if pad == 0 {
        row.absent()
    } else {
        row.int(I32, pad as i128)
    }
    row
}

/// The inner dimension in parts of whole tiles; each part is left in `part`, and the last program to arrive adds them up.
fn split_k(ty: ScalarType, size @ [m, n, k]: [usize; 3], split: Option<usize>) -> Row {
    let mut row = Row::new("split_k", tag(ty, size));
    let (parts, [bm, bn, bk]) = (split.unwrap_or(8), if split.is_some() { [32, 16, 8] } else { [64; 3] });
    if split.is_some() {
        row = with_tiles(row.constant("SPLIT", parts), true);
    }
    let (a, b) = (row.uniform(ty, &[m, k], -1.0, 1.0), row.uniform(ty, &[k, n], -1.0, 1.0));
    let (c, magnitude) = product(&a, &b);
    let per = k.div_ceil(parts).div_ceil(bk) * bk;
    let part = values_of([parts, m, n], |[s, i, j]| (s * per..k.min(s * per + per)).map(|l| a.at([i, l]) * b.at([l, j])).sum());
    let tiles = [m.div_ceil(bm), n.div_ceil(bn)];
    row.pass(&a);
    row.pass(&b);
    let off = accumulated(k + parts, magnitude);
    row.output(ty, &[m, n], c, stored(ty, 0.0, off));
    row.output(F32, &[parts, m, n], part, stored(F32, 0.0, off));
    row.update(&Data::full(I32, &tiles, 0.0), vec![parts as f64; tiles[0] * tiles[1]], Bound::Exact);
    row
}
