//! Rows: softmax, layer norm, reductions over any axis, closures, argmax, scans.

use kiln_ir::ops::{BinaryOp, CmpOp, UnaryOp};
use kiln_ir::*;

use crate::harness::*;

const F32: ScalarType = ScalarType::F32;

/// `y[m, :] = softmax(x[m, :])` with tiles of `block` lanes.
pub fn softmax(block: u32, fast: bool) -> Kernel {
    let mut k = Kernel::new("softmax", 1);
    let (x, y) = (k.tensor("x", F32, 2, false), k.tensor("y", F32, 2, true));
    let mut b = k.body();
    let row = Type::tile(F32, &[block]);
    let m = b.emit1(InstData::ProgramId { axis: 0 }, Type::index());
    let zero = b.index(0);
    let at = |v| access(v, &[SliceIndex::At(m), SliceIndex::Span { start: zero, len: block }]);
    let absent = b.float(f64::NEG_INFINITY, row);
    let v = b.load_view(at(x), Some(absent));
    let top = b.reduce(&[v], 0, Combine::Max)[0];
    let top = b.broadcast(top, &[block]);
    let d = b.binary(BinaryOp::Sub, v, top);
    let scale = b.float(f64::from(std::f32::consts::LOG2_E), row);
    let d = b.binary(BinaryOp::Mul, d, scale);
    let e = if fast { b.unary(UnaryOp::FastExp2, d) } else { d };
    let sum = b.reduce(&[e], 0, Combine::Add)[0];
    let sum = b.broadcast(sum, &[block]);
    let out = b.binary(BinaryOp::Div, e, sum);
    b.store_view(at(y), out);
    k
}

#[test]
fn softmax_of_rows_with_tails() {
    for (block, cols) in [(1024, 1024), (1024, 1000), (1000, 999), (128, 1), (64, 17), (4096, 4001), (5, 3), (1, 1)] {
        let rows = 3;
        let mut x = noise(rows * cols, cols as u64);
        let mut y = vec![7.0f32; rows * cols];
        let mut k = softmax(block, true);
        // Both widths of `index`.
        k.func.index_bits = if cols % 2 == 0 { 32 } else { 64 };
        k.run(&[rows as i64], &[tensor(&mut x, &[rows as i64, cols as i64]), tensor(&mut y, &[rows as i64, cols as i64])]);
        let mut want = Vec::new();
        for row in x.chunks(cols) {
            let top = row.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(f64::from(b)));
            let e: Vec<f64> = row.iter().map(|&v| (f64::from(v) - top).exp()).collect();
            let sum: f64 = e.iter().sum();
            want.extend(e.iter().map(|v| v / sum));
        }
        close(&y, &want, 1e-6);
    }
}

#[test]
fn layer_norm_with_any_constant_extent() {
    for cols in [1u32, 7, 16, 96, 1000, 1024] {
        let rows = 4usize;
        let mut k = Kernel::new("layer_norm", 1);
        let mut facts = TensorFacts::unknown(2, 4);
        facts.strides[1] = IntFact::exact(1);
        facts.dims[1] = IntFact::exact(i64::from(cols));
        let x = k.tensor_with("x", F32, facts.clone(), false);
        let w = k.tensor("w", F32, 1, false);
        let y = k.tensor_with("y", F32, facts, true);
        let mean = k.tensor("mean", F32, 1, true);
        let eps = k.scalar("eps", F32);
        let mut b = k.body();
        let m = b.emit1(InstData::ProgramId { axis: 0 }, Type::index());
        let zero = b.index(0);
        let at = |v, inner: u8| ViewAccess {
            view: v,
            index: [SliceIndex::At(m), SliceIndex::Span { start: zero, len: cols }].into_iter().collect(),
            in_bounds: inner,
        };
        let row = b.load_view(at(x, 2), None);
        let total = b.reduce(&[row], 0, Combine::Add)[0];
        let n = b.float(f64::from(cols), Type::scalar(F32));
        let mu = b.binary(BinaryOp::Div, total, n);
        let mu_row = b.broadcast(mu, &[cols]);
        let d = b.binary(BinaryOp::Sub, row, mu_row);
        let d2 = b.binary(BinaryOp::Mul, d, d);
        let var = b.reduce(&[d2], 0, Combine::Add)[0];
        let var = b.binary(BinaryOp::Div, var, n);
        let var = b.binary(BinaryOp::Add, var, eps);
        let r = b.unary(UnaryOp::FastRsqrt, var);
        let r = b.broadcast(r, &[cols]);
        let out = b.binary(BinaryOp::Mul, d, r);
        let weight = b.load_view(access(w, &[SliceIndex::Span { start: zero, len: cols }]), None);
        let out = b.binary(BinaryOp::Mul, out, weight);
        b.store_view(at(y, 2), out);
        b.store_view(access(mean, &[SliceIndex::At(m)]), mu);
        let c = cols as usize;
        let mut x = noise(rows * c, 5);
        let (mut w, mut y, mut means) = (noise(c, 9), vec![0f32; rows * c], vec![0f32; rows]);
        k.run(
            &[rows as i64],
            &[
                tensor(&mut x, &[rows as i64, c as i64]),
                tensor(&mut w, &[c as i64]),
                tensor(&mut y, &[rows as i64, c as i64]),
                tensor(&mut means, &[rows as i64]),
                Arg::Bits(u64::from(1e-5f32.to_bits())),
            ],
        );
        let (mut want, mut want_mean) = (Vec::new(), Vec::new());
        for row in x.chunks(c) {
            let mu = row.iter().map(|&v| f64::from(v)).sum::<f64>() / c as f64;
            let var = row.iter().map(|&v| (f64::from(v) - mu).powi(2)).sum::<f64>() / c as f64;
            want_mean.push(mu);
            want.extend(row.iter().zip(&w).map(|(&v, &w)| (f64::from(v) - mu) / (var + 1e-5).sqrt() * f64::from(w)));
        }
        close(&means, &want_mean, 1e-6);
        close(&y, &want, 4e-5);
    }
}

/// Reduces a tile of any rank along `axis` and stores the result.
fn reduce_axis(shape: &[u32], axis: usize, combine: Combine, transposed: bool) -> (Vec<f32>, Vec<f32>) {
    let rank = shape.len();
    let mut k = Kernel::new("reduce", 1);
    let x = if transposed {
        // The first dimension is the contiguous one.
        let mut facts = TensorFacts::unknown(rank, 4);
        facts.strides[0] = IntFact::exact(1);
        k.tensor_with("x", F32, facts, false)
    } else {
        k.tensor("x", F32, rank, false)
    };
    let y = k.tensor("y", F32, rank.max(2) - 1, true);
    let mut b = k.body();
    let zero = b.index(0);
    let all: Vec<(Value, u32)> = shape.iter().map(|&d| (zero, d)).collect();
    let tile = b.load_view(spans(x, &all), None);
    let out = b.reduce(&[tile], axis, combine)[0];
    let rest: Vec<u32> = shape.iter().enumerate().filter(|&(i, _)| i != axis).map(|(_, &d)| d).collect();
    let place: Vec<(Value, u32)> = rest.iter().map(|&d| (zero, d)).collect();
    if rank == 1 {
        b.store_view(access(y, &[SliceIndex::At(zero)]), out);
    } else {
        b.store_view(spans(y, &place), out);
    }
    let count: u32 = shape.iter().product();
    let mut data = noise(count as usize, 3);
    let mut result = vec![0f32; (count / shape[axis]) as usize];
    let dims: Vec<i64> = shape.iter().map(|&d| i64::from(d)).collect();
    let out_dims: Vec<i64> = if rank == 1 { vec![1] } else { rest.iter().map(|&d| i64::from(d)).collect() };
    let input = if transposed {
        let mut strides = vec![1; rank];
        for i in 1..rank {
            strides[i] = strides[i - 1] * dims[i - 1];
        }
        Arg::Tensor(data.as_mut_ptr().cast(), dims, strides)
    } else {
        tensor(&mut data, &dims)
    };
    k.run(&[1], &[input, tensor(&mut result, &out_dims)]);
    (data, result)
}

fn reference(data: &[f32], shape: &[u32], axis: usize, transposed: bool, f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let rank = shape.len();
    let mut strides = vec![1usize; rank];
    if transposed {
        for i in 1..rank {
            strides[i] = strides[i - 1] * shape[i - 1] as usize;
        }
    } else {
        for i in (0..rank - 1).rev() {
            strides[i] = strides[i + 1] * shape[i + 1] as usize;
        }
    }
    let outer: Vec<usize> = (0..rank).filter(|&i| i != axis).collect();
    let count: usize = outer.iter().map(|&i| shape[i] as usize).product();
    (0..count)
        .map(|flat| {
            let (mut rest, mut base) = (flat, 0);
            for &i in outer.iter().rev() {
                base += rest % shape[i] as usize * strides[i];
                rest /= shape[i] as usize;
            }
            (0..shape[axis] as usize).map(|k| f64::from(data[base + k * strides[axis]])).reduce(&f).unwrap()
        })
        .collect()
}

#[test]
fn reductions_over_every_axis() {
    let shapes: &[&[u32]] =
        &[&[1], &[5], &[64], &[1000], &[3, 5], &[16, 64], &[33, 40], &[7, 1], &[1, 9], &[2, 3, 20], &[5, 32, 3], &[4, 6, 8]];
    for &shape in shapes {
        for axis in 0..shape.len() {
            for transposed in [false, true] {
                let (data, got) = reduce_axis(shape, axis, Combine::Add, transposed);
                close(&got, &reference(&data, shape, axis, transposed, |a, b| a + b), 1e-5);
                let (data, got) = reduce_axis(shape, axis, Combine::Min, transposed);
                close(&got, &reference(&data, shape, axis, transposed, f64::min), 0.0);
            }
        }
    }
}

/// A closure that neither commutes nor has a neutral element: keeps the last, so order errors show.
#[test]
fn closures_combine_in_order() {
    for shape in [&[1u32][..], &[3], &[16], &[17], &[64], &[100], &[1000], &[6, 20], &[20, 6], &[1, 5], &[33, 33]] {
        for axis in 0..shape.len() {
            let rank = shape.len();
            let mut k = Kernel::new("affine", 1);
            let (x, y) = (k.tensor("x", F32, rank, false), k.tensor("y", F32, rank.max(2) - 1, true));
            let z = k.tensor("z", F32, rank.max(2) - 1, true);
            let mut b = k.body();
            // Composition of affine maps: (a1, b1) then (a2, b2) gives (a1 a2, a2 b1 + b2).
            let region = b.func.add_block();
            let f = Type::scalar(F32);
            let p: Vec<Value> = (0..4).map(|_| b.func.add_block_param(region, f, None)).collect();
            {
                let mut inner = Builder::new(b.func, region);
                let a = inner.binary(BinaryOp::Mul, p[0], p[2]);
                let t = inner.binary(BinaryOp::Mul, p[2], p[1]);
                let t = inner.binary(BinaryOp::Add, t, p[3]);
                inner.yield_(&[a, t]);
            }
            let zero = b.index(0);
            let all: Vec<(Value, u32)> = shape.iter().map(|&d| (zero, d)).collect();
            let tile = b.load_view(spans(x, &all), None);
            let half = b.float(0.25, b.ty(tile));
            let factor = b.binary(BinaryOp::Mul, tile, half);
            let r = b.reduce(&[factor, tile], axis, Combine::Region(region));
            let rest: Vec<(Value, u32)> = shape.iter().enumerate().filter(|&(i, _)| i != axis).map(|(_, &d)| (zero, d)).collect();
            for (view, value) in [(y, r[0]), (z, r[1])] {
                if rank == 1 {
                    b.store_view(access(view, &[SliceIndex::At(zero)]), value);
                } else {
                    b.store_view(spans(view, &rest), value);
                }
            }
            let count: u32 = shape.iter().product();
            let mut data = noise(count as usize, 11);
            let n = (count / shape[axis]) as usize;
            let (mut fy, mut fz) = (vec![0f32; n], vec![0f32; n]);
            let dims: Vec<i64> = shape.iter().map(|&d| i64::from(d)).collect();
            let out: Vec<i64> =
                if rank == 1 { vec![1] } else { dims.iter().enumerate().filter(|&(i, _)| i != axis).map(|(_, &d)| d).collect() };
            k.run(&[1], &[tensor(&mut data, &dims), tensor(&mut fy, &out), tensor(&mut fz, &out)]);
            // Composed in f64, element after element.
            let (inner, length) = (shape[axis + 1..].iter().product::<u32>() as usize, shape[axis] as usize);
            let mut want = Vec::new();
            for flat in 0..n {
                let (o, i) = (flat / inner, flat % inner);
                let mut state = 0.0;
                for step in 0..length {
                    let v = f64::from(data[(o * length + step) * inner + i]);
                    state = if step == 0 { v } else { v * 0.25 * state + v };
                }
                want.push(state);
            }
            close(&fz, &want, 1e-5);
        }
    }
}

#[test]
fn argmax_takes_the_lowest_position_and_nan_wins() {
    for cols in [1u32, 4, 16, 31, 64, 100, 1000] {
        let mut k = Kernel::new("argmax", 1);
        let (x, y) = (k.tensor("x", F32, 1, false), k.tensor("y", ScalarType::I32, 1, true));
        let mut b = k.body();
        let zero = b.index(0);
        let v = b.load_view(spans(x, &[(zero, cols)]), None);
        let i = b.emit1(InstData::Iota { start: 0 }, Type::tile(ScalarType::I32, &[cols]));
        let types = [Type::scalar(F32), Type::scalar(ScalarType::I32)];
        let inst = b.emit(InstData::Reduce { args: [v, i].into_iter().collect(), axis: 0, combine: Combine::ArgMax }, &types);
        let at = b.func.results_of(inst)[1];
        b.store_view(access(y, &[SliceIndex::At(zero)]), at);
        let (_, kernel) = k.compile().unwrap();
        let mut data: Vec<f32> = noise(cols as usize, 4).iter().map(|v| (v * 4.0).round()).collect();
        for nan in [false, true] {
            let mut out = [-1i32];
            if nan {
                data[cols as usize / 2] = f32::NAN;
            }
            run(&kernel, &[1], &[tensor(&mut data, &[i64::from(cols)]), tensor(&mut out, &[1])]);
            let best = data.iter().enumerate().fold(0, |best, (i, &v)| {
                let top: f32 = data[best];
                if (v > top) || (v.is_nan() && !top.is_nan()) { i } else { best }
            });
            assert_eq!(out[0], best as i32, "{cols} lanes, nan {nan}");
        }
    }
}

#[test]
fn scans_run_both_ways_along_any_axis() {
    for shape in [&[1u32][..], &[7], &[16], &[100], &[1000], &[5, 40], &[40, 5], &[33, 33], &[2, 3, 18], &[2, 18, 3]] {
        for axis in 0..shape.len() {
            for reverse in [false, true] {
                let rank = shape.len();
                let mut k = Kernel::new("scan", 1);
                let (x, y) = (k.tensor("x", F32, rank, false), k.tensor("y", F32, rank, true));
                let mut b = k.body();
                let zero = b.index(0);
                let all: Vec<(Value, u32)> = shape.iter().map(|&d| (zero, d)).collect();
                let tile = b.load_view(spans(x, &all), None);
                let ty = b.ty(tile);
                let data =
                    InstData::Scan { args: [tile].into_iter().collect(), axis: axis as u8, reverse, combine: Combine::Add };
                let sums = b.emit1(data, ty);
                b.store_view(spans(y, &all), sums);
                let count: u32 = shape.iter().product();
                let mut data = noise(count as usize, 2);
                let mut out = vec![0f32; count as usize];
                let dims: Vec<i64> = shape.iter().map(|&d| i64::from(d)).collect();
                k.run(&[1], &[tensor(&mut data, &dims), tensor(&mut out, &dims)]);
                let (inner, length) = (shape[axis + 1..].iter().product::<u32>() as usize, shape[axis] as usize);
                let mut want = vec![0f64; count as usize];
                for flat in 0..count as usize / length {
                    let (o, i) = (flat / inner, flat % inner);
                    let mut sum = 0.0;
                    for step in 0..length {
                        let step = if reverse { length - 1 - step } else { step };
                        let at = (o * length + step) * inner + i;
                        sum += f64::from(data[at]);
                        want[at] = sum;
                    }
                }
                close(&out, &want, 1e-5);
            }
        }
    }
}

#[test]
fn maxima_pass_nan_on() {
    let mut k = Kernel::new("max", 1);
    let (x, y) = (k.tensor("x", F32, 1, false), k.tensor("y", F32, 1, true));
    let mut b = k.body();
    let zero = b.index(0);
    let v = b.load_view(spans(x, &[(zero, 100)]), None);
    let a = b.reduce(&[v], 0, Combine::Max)[0];
    let f = b.reduce(&[v], 0, Combine::FMax)[0];
    let one = b.index(1);
    b.store_view(access(y, &[SliceIndex::At(zero)]), a);
    b.store_view(access(y, &[SliceIndex::At(one)]), f);
    let positive = b.cmp(CmpOp::Gt, f, a);
    let _ = positive;
    let mut data = noise(100, 1);
    data[57] = f32::NAN;
    let mut out = [0f32; 2];
    let top = data.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    k.run(&[1], &[tensor(&mut data, &[100]), tensor(&mut out, &[2])]);
    assert!(out[0].is_nan());
    assert_eq!(out[1], top);
}
