//! Counting, prefix sums over a whole tensor, sparse rows.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::{Array, Bound};
use kiln_tests::case::Placement;
use kiln_tests::scalar::Num;

use super::row::{Data, H, Row, stored};

pub fn rows() -> Vec<Row> {
    let mut list = vec![];
    for (n, block) in [(1, None), (1000, Some(96)), (5000, None), (70_000, None), (20_011, Some(16)), (0, None)] {
        list.push(byte_histogram(n, block));
        list.push(prefix_sum(n, block));
    }
    for (m, k, n, density, block) in
        [(1, 1, 1, 1.0, None), (17, 23, 130, 0.2, None), (40, 300, 33, 0.05, Some(16)), (5, 9, 256, 0.0, None)]
    {
        list.push(spmm([m, k, n], density, block));
    }
    list
}

fn named(kernel: &'static str, n: usize, block: Option<usize>) -> Row {
    let row = Row::new(kernel, format!("{n}"));
    match block {
        Some(block) => row.constant("B", block).placed(Placement::Guarded),
        None => row,
    }
}

/// How often each byte occurs, onto what the counts were.
fn byte_histogram(n: usize, block: Option<usize>) -> Row {
    let mut row = named("byte_histogram", n, block);
    let x = row.integers(U8, &[n], 0, 255);
    let before = row.integers(I32, &[256], 0, 100);
    let mut after = before.values.clone();
    x.values.iter().for_each(|&byte| after[byte as usize] += 1.0);
    row.pass(&x);
    row.update(&before, after, Bound::Exact);
    row
}

/// Sums of everything up to each element, modulo 2^32. The state of a tile ends as the flag 2 with the sum up to its end.
fn prefix_sum(n: usize, block: Option<usize>) -> Row {
    let mut row = named("prefix_sum", n, block);
    let tile = block.unwrap_or(4096);
    let tiles = n.div_ceil(tile);
    // Large values, so that sums wrap.
    let x = row.integers(U32, &[n], 0, u32::MAX.into());
    let (mut sum, mut y, mut state) = (0u32, vec![], vec![]);
    for (i, &v) in x.values.iter().enumerate() {
        sum = sum.wrapping_add(v as u32);
        y.push(f64::from(sum));
        if (i + 1) % tile == 0 || i + 1 == n {
            state.push(Num::Int(2i128 << 32 | i128::from(sum)));
        }
    }
    row.pass(&x);
    row.update(&Data::full(U32, &[n], 0.0), y, Bound::Exact);
    row.update(&Data::full(I32, &[1], 0.0), vec![tiles as f64], Bound::Exact);
    row.raw(Array::zeros(U64, &[tiles]), state, Bound::Exact);
    row
}

/// A matrix in compressed rows times a dense one.
fn spmm([m, k, n]: [usize; 3], density: f64, block: Option<usize>) -> Row {
    let mut row = named("spmm", m * n, block);
    let (mut starts, mut columns) = (vec![0.0], vec![]);
    for _ in 0..m {
        columns.extend((0..k).filter(|_| row.random.float(0.0, 1.0) < density).map(|c| c as f64));
        starts.push(columns.len() as f64);
    }
    let x = row.uniform(F32, &[k, n], -1.0, 1.0);
    let value = row.uniform(F32, &[columns.len()], -1.0, 1.0);
    let (mut y, mut most) = (vec![0.0; m * n], 0f64);
    for i in 0..m {
        let range = starts[i] as usize..starts[i + 1] as usize;
        most = most.max(range.len() as f64);
        for z in range {
            for j in 0..n {
                y[i * n + j] += value.values[z] * x.at([columns[z] as usize, j]);
            }
        }
    }
    row.pass(&Data::new(I32, &[m + 1], starts));
    row.pass(&Data::new(I32, &[columns.len()], columns));
    row.pass(&value);
    row.pass(&x);
    // Products of at most 1, as many as the longest row has, each rounded and added.
    row.output(F32, &[m, n], y, stored(F32, 0.0, (most + 1.0) * most * H));
    row
}
