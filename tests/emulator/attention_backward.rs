//! The gradients of attention (`dsl-examples/attention/backward.kiln`) on warpgroups, without them and on the CPU, against the formulas in f64.

use kiln::{Kernel, Tensor, f16};

use super::attention::{example, made};
use super::device;

/// A launch: heads, heads of k and v, queries, keys, head size, masks.
#[derive(Clone, Copy, Debug)]
struct Case {
    heads: [i64; 2],
    rows: [i64; 2],
    size: i64,
    causal: bool,
    window: Option<i32>,
}

/// What the kernels are given besides q, k, v and dout, and what they are to give, each with the sum of what is added up for it.
struct Reference {
    lse: Vec<f32>,
    delta: Vec<f32>,
    dq: Vec<[f64; 2]>,
    dk: Vec<[f64; 2]>,
    dv: Vec<[f64; 2]>,
}

const SCALE: f32 = 0.125;

fn values(t: &Tensor<f16>) -> Vec<f64> {
    t.to_vec().expect("values").into_iter().map(f64::from).collect()
}

impl Case {
    fn reference(&self, [q, k, v, g]: &[Tensor<f16>; 4]) -> Reference {
        let (q, k, v, g) = (values(q), values(k), values(v), values(g));
        let ([heads, shared], [queries, keys], size) = (self.heads, self.rows, self.size as usize);
        let scale = f64::from(SCALE);
        let rows = (heads * queries) as usize;
        let columns = (shared * keys) as usize;
        let mut out = Reference {
            lse: vec![0.0; rows],
            delta: vec![0.0; rows],
            dq: vec![[0.0; 2]; rows * size],
            dk: vec![[0.0; 2]; columns * size],
            dv: vec![[0.0; 2]; columns * size],
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let add = |to: &mut [f64; 2], term: f64| *to = [to[0] + term, to[1] + term.abs()];
        for row in 0..rows {
            let (h, l) = (row as i64 / queries, row as i64 % queries);
            let first = (h / (heads / shared) * keys) as usize;
            let position = l + keys - queries;
            let end = if self.causal { (position + 1).max(0) } else { keys } as usize;
            let begin = self.window.map_or(0, |window| (position + 1 - i64::from(window)).clamp(0, end as i64)) as usize;
            let (query, grad) = (&q[row * size..][..size], &g[row * size..][..size]);
            let at = |s: usize| (first + begin + s) * size;
            let seen = end - begin;
            let scores: Vec<f64> = (0..seen).map(|s| dot(&k[at(s)..][..size], query) * scale).collect();
            let top = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            let lse = top + scores.iter().map(|s| (s - top).exp()).sum::<f64>().ln();
            let weights: Vec<f64> = scores.iter().map(|s| (s - lse).exp()).collect();
            let grads: Vec<f64> = (0..seen).map(|s| dot(&v[at(s)..][..size], grad)).collect();
            let delta = dot(&weights, &grads);
            (out.lse[row], out.delta[row]) = (lse as f32, delta as f32);
            for s in 0..seen {
                let ds = weights[s] * (grads[s] - delta) * scale;
                for d in 0..size {
                    add(&mut out.dq[row * size + d], ds * k[at(s) + d]);
                    add(&mut out.dk[at(s) + d], ds * query[d]);
                    add(&mut out.dv[at(s) + d], weights[s] * grad[d]);
                }
            }
        }
        out
    }

    fn tensors(&self) -> [Tensor<f16>; 4] {
        let ([heads, shared], [queries, keys], size) = (self.heads, self.rows, self.size);
        let (wide, narrow) = ([1, heads, queries, size], [1, shared, keys, size]);
        [made(&wide, 1), made(&narrow, 2), made(&narrow, 3), made(&wide, 4)]
    }

    /// Both kernels with these tiles of queries and keys.
    fn check(&self, tiles: [[i64; 2]; 2], warps: i64, stages: i64, on: &str) {
        self.check_with(tiles, &[("warps", warps), ("stages", stages)], on);
    }

    /// [`check`](Self::check) with a schedule.
    fn check_with(&self, tiles: [[i64; 2]; 2], schedule: &[(&str, i64)], on: &str) {
        let tensors = self.tensors();
        let [q, k, v, g] = &tensors;
        let reference = self.reference(&tensors);
        let device = device(on);
        let heads = [1, self.heads[0], self.rows[0]];
        let lse = Tensor::from_vec(reference.lse.clone(), &heads).expect("a tensor");
        let delta = Tensor::from_vec(reference.delta.clone(), &heads).expect("a tensor");
        let [mut dq, mut dk, mut dv] = [q, k, v].map(|t| Tensor::<f16>::zeros(t.dims()).expect("a tensor"));
        let kernel = |name: &str, [bm, bn]: [i64; 2]| {
            let with = backward(name).constant("CAUSAL", self.causal).constant("BM", bm).constant("BN", bn);
            schedule.iter().fold(with, |with, &(field, value)| with.schedule(field, &[value]))
        };
        let name = format!("{self:?} {tiles:?} {on}");
        let of_queries = kernel("attention_dq", tiles[0]);
        let launch = of_queries.on(&device).arg(q).arg(k).arg(v).arg(g).arg(&lse).arg(&delta).arg(&mut dq).arg(SCALE);
        let launch = if let Some(window) = self.window { launch.arg(window) } else { launch };
        launch.run().unwrap_or_else(|e| panic!("{name}: {e}"));
        let of_keys = kernel("attention_dkdv", tiles[1]);
        let launch = of_keys.on(&device).arg(q).arg(k).arg(v).arg(g).arg(&lse).arg(&delta).arg(&mut dk).arg(&mut dv).arg(SCALE);
        let launch = if let Some(window) = self.window { launch.arg(window) } else { launch };
        launch.run().unwrap_or_else(|e| panic!("{name}: {e}"));
        for (what, found, expected) in [("dq", dq, &reference.dq), ("dk", dk, &reference.dk), ("dv", dv, &reference.dv)] {
            assert_eq!(found.to_vec().expect("values").len(), expected.len());
            for (i, (found, [expected, spread])) in values(&found).into_iter().zip(expected).enumerate() {
                // What is multiplied with and what comes is rounded to f16; weights and their gradients are f32's.
                let allowed = spread * 2.0f64.powi(-11) * 1.25 + expected.abs() * 2.0f64.powi(-11) + 2e-6;
                assert!((found - expected).abs() <= allowed, "{name} {what}, element {i}: {found}, expected {expected}");
            }
        }
    }
}

fn backward(name: &str) -> Kernel {
    example("attention/backward.kiln", name)
}

#[test]
fn gradients_of_attention() {
    let cases = [
        Case { heads: [1, 1], rows: [128, 192], size: 64, causal: false, window: None },
        Case { heads: [2, 1], rows: [100, 150], size: 64, causal: true, window: None },
        Case { heads: [1, 1], rows: [70, 70], size: 128, causal: true, window: None },
        Case { heads: [2, 2], rows: [65, 33], size: 80, causal: false, window: None },
        Case { heads: [2, 1], rows: [190, 260], size: 64, causal: true, window: Some(40) },
        Case { heads: [1, 1], rows: [200, 130], size: 96, causal: false, window: Some(65) },
        // The first queries see no key.
        Case { heads: [1, 1], rows: [90, 40], size: 64, causal: true, window: Some(16) },
    ];
    for (number, case) in cases.iter().enumerate() {
        case.check([[64, 64]; 2], 4, 2, &format!("emulator:sm_90a,{}", SCHEDULES[number]));
        let tiles = if case.size == 128 { [[128, 64], [64, 128]] } else { [[128, 64], [32, 128]] };
        case.check(tiles, 8, 3, &format!("emulator:sm_90a,{}", SCHEDULES[number + 1]));
        let elsewhere = ["cpu", "emulator:sm_80"][number % 2];
        case.check([[64, 64], [32, 64]], 4, 2, elsewhere);
    }
}

const SCHEDULES: [&str; 8] = ["eager", "lazy", "random=1", "lazy-random=2", "random=3", "lazy-random=4", "eager", "lazy"];

/// Numbers of queries whose `lse` and `delta` the engine copies beside the tiles, and slots for products of the next trip: several trips, heads one after the other, rows
/// behind the last one, rows that see nothing.
#[test]
fn gradients_a_trip_ahead() {
    let cases = [
        Case { heads: [2, 1], rows: [176, 260], size: 64, causal: true, window: None },
        Case { heads: [1, 1], rows: [208, 140], size: 128, causal: false, window: None },
        Case { heads: [1, 1], rows: [96, 40], size: 64, causal: true, window: Some(16) },
        Case { heads: [4, 2], rows: [144, 144], size: 80, causal: true, window: Some(70) },
    ];
    for (number, case) in cases.iter().enumerate() {
        let keys = [[64, 128], [32, 128], [64, 128], [32, 128]][number];
        case.check([[128, 64], keys], 8, 3, &format!("emulator:sm_90a,{}", SCHEDULES[number]));
        case.check([[64, 64]; 2], 4, 3, &format!("emulator:sm_90a,{}", SCHEDULES[number + 2]));
        case.check([[128, 64], [64, 128]], 8, 2, &format!("emulator:sm_90a,{}", SCHEDULES[number + 4]));
        // The two warpgroups take turns: one starts its products, while the other one works on its weights.
        let turns = [("warps", 8), ("stages", 3), ("ping_pong", 1)];
        case.check_with([[128, 64], keys], &turns, &format!("emulator:sm_90a,{}", SCHEDULES[number + 1]));
    }
}

/// `delta`, and `lse` of the forward kernel, are what the backward kernels take.
#[test]
fn forward_gives_what_backward_takes() {
    let case = Case { heads: [2, 1], rows: [70, 130], size: 64, causal: true, window: None };
    let tensors = case.tensors();
    let reference = case.reference(&tensors);
    let [q, k, v, g] = &tensors;
    for on in ["cpu", "emulator"] {
        let device = device(on);
        let (mut o, mut lse) = (Tensor::<f16>::zeros(q.dims()).unwrap(), Tensor::<f32>::zeros(&q.dims()[..3]).unwrap());
        let forward = example("attention/attention.kiln", "attention").constant("CAUSAL", true);
        let launch = forward.on(&device).arg(q).arg(k).arg(v).arg(&mut o).arg(SCALE).named("lse", &mut lse);
        launch.run().unwrap_or_else(|e| panic!("{on}: {e}"));
        let mut delta = Tensor::<f32>::zeros(&q.dims()[..3]).unwrap();
        backward("attention_delta").on(&device).arg(&o).arg(g).arg(&mut delta).run().unwrap_or_else(|e| panic!("{on}: {e}"));
        for (i, (found, expected)) in lse.to_vec().unwrap().iter().zip(&reference.lse).enumerate() {
            assert!((found - expected).abs() <= 2e-6 * (1.0 + expected.abs()), "{on} lse {i}: {found}, expected {expected}");
        }
        // Made of values of o, which are f16.
        for (i, (found, expected)) in delta.to_vec().unwrap().iter().zip(&reference.delta).enumerate() {
            assert!((found - expected).abs() <= 64.0 * 2f32.powi(-12), "{on} delta {i}: {found}, expected {expected}");
        }
    }
}
