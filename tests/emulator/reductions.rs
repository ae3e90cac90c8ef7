//! Atomics on tiles, from the language to the emulated GPU: gradients that programs add up in memory. The launch decides whether they leave by the TMA engine, and
//! the result is the same if not.

use kiln::{Element, Kernel, Program, ProgramOptions, Tensor, bf16, f16};
use kiln_tests::reductions::SOURCE;

use super::device;

const ORDERS: [&str; 4] =
    ["emulator:sm_90a,eager", "emulator:sm_90a,lazy", "emulator:sm_90a,random=1", "emulator:sm_90a,lazy-random=2"];

fn kernel(name: &str) -> Kernel {
    let program = Program::from_source_with("k.kiln", SOURCE, ProgramOptions::without_cache()).unwrap_or_else(|e| panic!("{e}"));
    program.kernel(name).unwrap_or_else(|e| panic!("{e}"))
}

/// Numbers between -1 and 1 in steps that keep sums of products exact in f32.
fn numbers(dims: &[i64], seed: i64) -> Tensor<f16> {
    let value = |i: i64| f16::from_f64(((i * 37 + i / 29 * 5 + seed * 11) % 33 - 16) as f64 / 16.0);
    Tensor::from_vec((0..dims.iter().product()).map(value).collect(), dims).expect("a tensor")
}

fn floats<T: Element + Copy + Into<f64>>(tensor: &Tensor<T>) -> Vec<f64> {
    tensor.to_vec().expect("values").into_iter().map(Into::into).collect()
}

fn gradient<T: Element + Copy + Into<f64>>(on: &str, [r, m, n]: [i64; 3], columns: i64, make: fn(f32) -> T, off: f64) {
    let (x, dy) = (numbers(&[r, m], 1), numbers(&[r, n], 2));
    // The gradient is a part of wider rows: where those are odd, no tensor map describes it.
    let wide = Tensor::from_vec((0..m * columns).map(|i| make((i % 7) as f32)).collect(), &[m, columns]).expect("a tensor");
    let mut dw = wide.view(kiln::s![.., 0..n]).expect("a part");
    kernel("gradient").on(&device(on)).arg(&x).arg(&dy).arg(&mut dw).arg(3).run().unwrap_or_else(|e| panic!("{on}: {e}"));
    let (x, dy, found) = (floats(&x), floats(&dy), floats(&wide));
    for i in 0..m * columns {
        let (row, column) = (i / columns, i % columns);
        let term = |k: i64| x[(k * m + row) as usize] * dy[(k * n + column) as usize];
        let added: f64 = if column < n { (0..r).map(term).sum() } else { 0.0 };
        let sizes: f64 = if column < n { (0..r).map(|k| term(k).abs()).sum() } else { 0.0 };
        let (found, expected) = (found[i as usize], (i % 7) as f64 + added);
        let near = (found - expected).abs() <= off * ((i % 7) as f64 + sizes);
        assert!(near, "{on} {columns} [{row}, {column}]: {found}, expected {expected}");
    }
}

#[test]
fn gradients_of_weights_add_up_in_memory() {
    for (number, (on, columns)) in [
        (ORDERS[0], 96),
        (ORDERS[1], 80),
        (ORDERS[2], 80),
        (ORDERS[3], 112),
        (ORDERS[1], 81),
        ("emulator:sm_80", 80),
        ("cpu", 80),
    ]
    .into_iter()
    .enumerate()
    {
        // Three sums are added to what is there: each rounds once on its way, and once in memory.
        match number % 3 {
            0 => gradient(on, [150, 144, 80], columns, |v| v, 0.0),
            1 => gradient(on, [150, 80, 72], columns, bf16::from_f32, 6.0 / 512.0),
            _ => gradient(on, [50, 64, 64], columns, f16::from_f32, 6.0 / 4096.0),
        }
    }
}

/// Nothing is added behind the end of a part, which is known at the launch alone.
#[test]
fn parts_of_a_tensor() {
    let start = [0, 1, 71, 71, 205, 230];
    for on in ORDERS.into_iter().chain(["emulator:sm_80", "cpu"]) {
        let of = |by: i64| Tensor::<f32>::from_fn(&[230, 80], |i| (i as i64 % by) as f32).expect("a tensor");
        let (x, mut y) = (of(101), of(37));
        let starts = Tensor::from_vec(start.to_vec(), &[6]).expect("a tensor");
        let longest = 134;
        kernel("grouped")
            .on(&device(on))
            .arg(&x)
            .arg(&starts)
            .arg(&mut y)
            .arg(longest)
            .run()
            .unwrap_or_else(|e| panic!("{on}: {e}"));
        for (i, found) in y.to_vec().expect("values").into_iter().enumerate() {
            assert_eq!(found, (i % 37 + 2 * (i % 101)) as f32, "{on} [{}, {}]", i / 80, i % 80);
        }
    }
}

/// Sums of products, each with the sum of the terms' sizes.
struct Sums(Vec<[f64; 2]>);

impl Sums {
    fn add(&mut self, at: usize, term: f64) {
        self.0[at] = [self.0[at][0] + term, self.0[at][1] + term.abs()];
    }

    /// Weights and their gradients were rounded to f16 on the way.
    fn check(&self, name: &str, found: &[f64]) {
        for (i, (found, [expected, spread])) in found.iter().zip(&self.0).enumerate() {
            let allowed = (spread * 1.25 + expected.abs()) / 2048.0 + 2e-6;
            assert!((found - expected).abs() <= allowed, "{name}, element {i}: {found}, expected {expected}");
        }
    }
}

#[test]
fn attention_gradients_in_one_sweep() {
    for (on, [l, s, d]) in ORDERS.into_iter().map(|on| (on, [100, 130, 64])).chain([
        (ORDERS[1], [64, 70, 128]),
        ("emulator:sm_80", [40, 70, 64]),
        ("cpu", [100, 70, 64]),
    ]) {
        let scale = 0.125;
        let [q, k, v, g] = [(l, 1), (s, 2), (s, 3), (l, 4)].map(|(rows, seed)| numbers(&[rows, d], seed));
        let [vq, vk, vv, vg] = [&q, &k, &v, &g].map(floats);
        let size = d as usize;
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let [mut dq, mut dk, mut dv] = [l, s, s].map(|rows| Sums(vec![[0.0; 2]; rows as usize * size]));
        let (mut lse, mut delta) = (vec![], vec![]);
        for (i, (query, grad)) in vq.chunks(size).zip(vg.chunks(size)).enumerate() {
            let scores: Vec<f64> = vk.chunks(size).map(|key| dot(key, query) * scale).collect();
            let top = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            let sum = top + scores.iter().map(|x| (x - top).exp()).sum::<f64>().ln();
            let weights: Vec<f64> = scores.iter().map(|x| (x - sum).exp()).collect();
            let grads: Vec<f64> = vv.chunks(size).map(|value| dot(value, grad)).collect();
            let shift = dot(&weights, &grads);
            for (j, (w, of_weight)) in weights.iter().zip(&grads).enumerate() {
                let ds = w * (of_weight - shift) * scale;
                for c in 0..size {
                    dq.add(i * size + c, ds * vk[j * size + c]);
                    dk.add(j * size + c, ds * query[c]);
                    dv.add(j * size + c, w * grad[c]);
                }
            }
            lse.push(sum as f32);
            delta.push(shift as f32);
        }
        let [lse, delta] = [lse, delta].map(|values| Tensor::from_vec(values, &[l]).expect("a tensor"));
        let mut of_q = Tensor::<f32>::zeros(&[l, d]).expect("a tensor");
        let [mut of_k, mut of_v] = [0; 2].map(|_| Tensor::<f16>::zeros(&[s, d]).expect("a tensor"));
        let (kernel, device) = (kernel("backward"), device(on));
        let launch = kernel.on(&device).arg(&q).arg(&k).arg(&v).arg(&g).arg(&lse).arg(&delta);
        let launch = launch.arg(&mut of_q).arg(&mut of_k).arg(&mut of_v).arg(scale as f32);
        launch.run().unwrap_or_else(|e| panic!("{on}: {e}"));
        dq.check(&format!("dq {on}"), &floats(&of_q));
        dk.check(&format!("dk {on}"), &floats(&of_k));
        dv.check(&format!("dv {on}"), &floats(&of_v));
    }
}
