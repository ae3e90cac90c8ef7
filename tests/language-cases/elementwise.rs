//! Elementwise kernels and moves of data.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::Bound;
use kiln_tests::case::Placement;

use super::random;
use super::row::{Data, H, Row, UNTOUCHED, half_ulp, stored, values_of};

pub fn rows() -> Vec<Row> {
    random::known_answer();
    let mut list = vec![];
    for (n, block) in [(1, None), (1000, None), (1024, Some(64)), (5000, None), (5001, Some(96))] {
        list.push(add_raw(n, block));
    }
    for ty in [F32, F16, BF16] {
        for (n, block, p) in [(1, None, 0.5), (1000, None, 0.25), (3000, Some(96), 0.1), (4096, None, 0.0)] {
            list.push(dropout(ty, n, block, p));
        }
        for (m, n, block) in [(1, 1, None), (3, 1030, None), (5, 77, Some(32)), (2, 2048, None), (0, 5, None), (5, 0, None)] {
            list.push(swiglu(ty, m, n, block));
        }
        for (batch, s, h, hk, d) in [(1, 1, 1, 1, 2), (2, 3, 3, 1, 6), (3, 5, 8, 2, 80)] {
            for (backward, shared) in [(false, true), (true, false)] {
                list.push(rope(ty, [batch, s, h, hk, d], backward, shared));
            }
        }
    }
    for (ty, q) in [(F32, F8E4M3), (F16, F8E4M3), (BF16, F8E5M2), (F32, F8E5M2)] {
        for (m, k, group) in [(1, 1, None), (3, 300, None), (5, 100, Some(32)), (4, 512, None)] {
            list.push(quantize(ty, q, m, k, group));
        }
    }
    for (n, d, v, tile) in
        [(1, 1, 1, None), (50, 130, 7, None), (100, 33, 1000, Some((16, 8))), (64, 256, 3, None), (0, 5, 5, None)]
    {
        list.push(embedding_backward(n, d, v, tile));
    }
    list
}

/// z = x + y behind pointers; what lies behind element n is not touched.
fn add_raw(n: usize, block: Option<usize>) -> Row {
    let mut row = Row::new("add_raw", format!("{n}{}", block.map_or(String::new(), |b| format!("::B{b}"))));
    if let Some(block) = block {
        row = row.constant("B", block);
    }
    let (x, y) = (row.uniform(F32, &[n], -10.0, 10.0), row.uniform(F32, &[n], -10.0, 10.0));
    let mut after: Vec<f64> = (0..n).map(|i| x.values[i] + y.values[i]).collect();
    after.extend([UNTOUCHED; 70]);
    row.pointer(&x, &x.values, Bound::Exact);
    row.pointer(&y, &y.values, Bound::Exact);
    // One addition, correctly rounded.
    row.pointer(&Data::full(F32, &[n + 70], UNTOUCHED), &after, Bound::Exact);
    row.int(I64, n as i128);
    row
}

/// y = x / (1 - p) where a random number is at least p, else 0.
fn dropout(ty: ScalarType, n: usize, block: Option<usize>, p: f64) -> Row {
    let mut row = Row::new("dropout", format!("{ty}::{n}::p{p}"));
    if let Some(block) = block {
        row = row.constant("B", block).placed(Placement::Guarded);
    }
    let p = f64::from(p as f32);
    let seed = row.random.bits();
    let x = row.uniform(ty, &[n], -4.0, 4.0);
    let after = (0..n).map(|i| if random::rand(seed, i as u64) >= p { x.values[i] / (1.0 - p) } else { 0.0 }).collect();
    row.pass(&x);
    // 1 - p and the quotient are rounded.
    row.output(ty, &[n], after, stored(ty, 2.1 * H, 0.0));
    row.float(F32, p);
    row.int(U64, seed.into());
    row
}

/// y = silu(left half) * right half.
fn swiglu(ty: ScalarType, m: usize, n: usize, block: Option<usize>) -> Row {
    let mut row = Row::new("swiglu", format!("{ty}::{m}x{n}"));
    if let Some(block) = block {
        row = row.constant("B", block).placed(Placement::Guarded);
    }
    let ab = row.uniform(ty, &[m, 2 * n], -6.0, 6.0);
    let after = values_of([m, n], |[i, j]| {
        let (gate, up) = (ab.at([i, j]), ab.at([i, n + j]));
        gate / (1.0 + (-gate).exp()) * up
    });
    row.pass(&ab);
    // The sigmoid is good to 3 ulp (6 H), then two products.
    row.output(ty, &[m, n], after, stored(ty, 8.1 * H, 0.0));
    row
}

/// Pairs (f, f + D/2) of every head are turned by an angle, or back.
fn rope(ty: ScalarType, [batch, s, h, hk, d]: [usize; 5], backward: bool, shared: bool) -> Row {
    let way = if backward { "backward" } else { "forward" };
    let mut row = Row::new("rope", format!("{ty}::{batch}x{s}x{h}x{hk}x{d}::{way}"));
    if backward {
        row = row.constant("BACKWARD", 1).placed(Placement::Guarded);
    }
    let tables = if shared { 1 } else { batch };
    let (q, k) = (row.uniform(ty, &[batch, s, h, d], -2.0, 2.0), row.uniform(ty, &[batch, s, hk, d], -2.0, 2.0));
    let angles = row.uniform(F64, &[tables, s, d], -3.0, 3.0);
    let cos = Data::new(ty, &[tables, s, d], angles.values.iter().map(|a| a.cos()));
    let sin = Data::new(ty, &[tables, s, d], angles.values.iter().map(|a| a.sin()));
    let turned = |x: &Data| {
        let shape = [x.shape[0], x.shape[1], x.shape[2], x.shape[3]];
        values_of(shape, |[b, s, h, f]| {
            let (table, pair) = (if shared { 0 } else { b }, f % (d / 2));
            let (c, z) = (cos.at([table, s, pair]), sin.at([table, s, pair]) * if backward { -1.0 } else { 1.0 });
            let (lo, hi) = (x.at([b, s, h, pair]), x.at([b, s, h, pair + d / 2]));
            if f < d / 2 { lo * c - hi * z } else { hi * c + lo * z }
        })
    };
    // Two products of at most 2 and a sum of at most 4 are rounded.
    let bound = stored(ty, 0.0, (2.0 + 2.0 + 4.0) * H);
    row.update(&q, turned(&q), bound);
    row.update(&k, turned(&k), bound);
    row.pass(&cos);
    row.pass(&sin);
    row
}

/// Groups of a row share a scale that takes their largest magnitude to the largest value of an 8-bit float.
fn quantize(ty: ScalarType, q: ScalarType, m: usize, k: usize, group: Option<usize>) -> Row {
    let mut row = Row::new("quantize", format!("{ty}::{q}::{m}x{k}"));
    let g = group.unwrap_or(128);
    if group.is_some() {
        row = row.constant("G", g).placed(Placement::Guarded);
    }
    let mut x = row.uniform(ty, &[m, k], -3.0, 3.0);
    if m > 1 {
        // A row of zeros, whose scale comes from the least magnitude that is allowed.
        x.values[k..2 * k].fill(0.0);
    }
    let top = if q == F8E4M3 { 448.0 } else { 57344.0 };
    let groups = k.div_ceil(g);
    let scale = values_of([m, groups], |[i, b]| {
        let members = (b * g..k.min(b * g + g)).map(|j| x.at([i, j]).abs());
        members.fold(1e-10, f64::max) / top
    });
    let after = values_of([m, k], |[i, j]| x.at([i, j]) / scale[i * groups + j / g]);
    row.pass(&x);
    // The nearest value, of a quotient that two roundings moved by 2 H.
    let share = half_ulp(q);
    row.output(q, &[m, k], after, Bound::Ulp(0.5 + 2.1 * H / share));
    row.output(F32, &[m, groups], scale, stored(F32, 1.1 * H, 0.0));
    row
}

/// Rows of g are added to the rows of dst that ids name; ids out of bounds take no part.
fn embedding_backward(n: usize, d: usize, v: usize, tile: Option<(usize, usize)>) -> Row {
    let mut row = Row::new("embedding_backward", format!("{n}x{d}x{v}"));
    if let Some((block, rows)) = tile {
        row = row.constant("B", block).constant("R", rows).placed(Placement::Guarded);
    }
    let mut ids = row.integers(I64, &[n], -2, v as i128 + 1);
    ids.values.first_mut().into_iter().for_each(|first| *first = v as f64 - 1.0);
    let (g, dst) = (row.uniform(F32, &[n, d], -1.0, 1.0), row.uniform(F32, &[v, d], -1.0, 1.0));
    let mut after = dst.values.clone();
    let mut adds = vec![0; v];
    for i in 0..n {
        let id = ids.values[i];
        if id >= 0.0 && id < v as f64 {
            adds[id as usize] += 1;
            for j in 0..d {
                after[id as usize * d + j] += g.at([i, j]);
            }
        }
    }
    // Each of the additions rounds a sum of at most so many ones, in any order.
    let most = adds.into_iter().max().unwrap_or(0) as f64;
    row.pass(&ids);
    row.pass(&g);
    row.update(&dst, after, stored(F32, 0.0, most * (most + 1.0) * H));
    row
}
