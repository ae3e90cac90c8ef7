//! Attention over packed sequences (`dsl-examples/attention/packed.kiln`): parts of tensors that begin and end where data says, by tensor copies on sm_90a, against
//! the formula in f64. Nothing of a sequence may come into its neighbours, whatever stands there.

use kiln::{Kernel, Tensor, f16};

use super::attention::{example, made};
use super::device;

/// A launch: tile, head size, warps, stages; heads, heads of k and v; queries and keys of each sequence; causal, window.
#[derive(Clone, Copy, Debug)]
struct Case {
    tile: [i64; 2],
    size: i64,
    warps: i64,
    stages: i64,
    heads: [i64; 2],
    queries: &'static [i64],
    keys: &'static [i64],
    causal: bool,
    window: Option<i32>,
}

/// Empty sequences, ones of one row, ones that end within a tile and at its end; head sizes that are and are not a power of two.
const CASES: [Case; 6] = [
    Case {
        tile: [64, 64],
        size: 64,
        warps: 4,
        stages: 2,
        heads: [1, 1],
        queries: &[64, 5],
        keys: &[64, 70],
        causal: false,
        window: None,
    },
    Case {
        tile: [128, 64],
        size: 64,
        warps: 8,
        stages: 2,
        heads: [2, 1],
        queries: &[30, 0, 130, 1],
        keys: &[30, 4, 150, 40],
        causal: true,
        window: None,
    },
    Case {
        tile: [128, 128],
        size: 128,
        warps: 8,
        stages: 2,
        heads: [1, 1],
        queries: &[3, 128],
        keys: &[200, 130],
        causal: true,
        window: None,
    },
    Case {
        tile: [64, 32],
        size: 80,
        warps: 4,
        stages: 3,
        heads: [4, 2],
        queries: &[33, 20],
        keys: &[50, 100],
        causal: true,
        window: Some(21),
    },
    Case {
        tile: [64, 64],
        size: 96,
        warps: 4,
        stages: 2,
        heads: [1, 1],
        queries: &[40, 64],
        keys: &[0, 129],
        causal: false,
        window: Some(40),
    },
    Case {
        tile: [128, 64],
        size: 256,
        warps: 8,
        stages: 2,
        heads: [1, 1],
        queries: &[20, 90],
        keys: &[70, 90],
        causal: true,
        window: None,
    },
];

fn starts(lengths: &[i64]) -> Vec<i32> {
    let mut at = 0;
    let ends = lengths.iter().map(|length| {
        at += *length as i32;
        at
    });
    [0].into_iter().chain(ends).collect()
}

impl Case {
    fn kernel(&self) -> Kernel {
        let kernel = example("attention/packed.kiln", "attention_packed").constant("CAUSAL", self.causal);
        let kernel = kernel.constant("BM", self.tile[0]).constant("BN", self.tile[1]);
        kernel.schedule("warps", &[self.warps]).schedule("stages", &[self.stages])
    }

    fn scale(&self) -> f32 {
        2.0 / (self.size as f32).sqrt()
    }

    /// Every sequence but one is checked; that one holds no numbers (NaN).
    fn check(&self, kernel: &Kernel, on: &str) {
        let ([heads, shared], size) = (self.heads, self.size);
        let (q_starts, k_starts) = (starts(self.queries), starts(self.keys));
        let total = |starts: &[i32]| i64::from(*starts.last().expect("an end"));
        let tensors = [
            made(&[total(&q_starts), heads, size], 1),
            made(&[total(&k_starts), shared, size], 2),
            made(&[total(&k_starts), shared, size], 3),
        ];
        let spoiled = self.keys.len() - 1;
        for wrong in 0..=spoiled {
            // Keys and values of one sequence are no numbers.
            let without = |tensor: &Tensor<f16>, starts: &[i32]| {
                let row = (tensor.dims()[1] * size) as usize;
                let mut values = tensor.to_vec().expect("values");
                values[starts[wrong] as usize * row..starts[wrong + 1] as usize * row].fill(f16::NAN);
                Tensor::from_vec(values, tensor.dims()).expect("a tensor")
            };
            let [q, k, v] = &tensors;
            let (spoiled_k, spoiled_v) = (without(k, &k_starts), without(v, &k_starts));
            let positions = |starts: &[i32]| Tensor::from_vec(starts.to_vec(), &[starts.len() as i64]).expect("a tensor");
            let mut o = Tensor::<f16>::zeros(q.dims()).expect("a tensor");
            let mut lse = Tensor::<f32>::zeros(&[heads, total(&q_starts)]).expect("a tensor");
            let longest = *self.queries.iter().max().expect("a sequence") as i32;
            let (device, q_at, k_at) = (device(on), positions(&q_starts), positions(&k_starts));
            let launch = kernel.on(&device).arg(q).arg(&spoiled_k).arg(&spoiled_v).arg(&q_at).arg(&k_at);
            let launch = launch.arg(&mut o).arg(self.scale()).arg(longest).named("lse", &mut lse);
            let launch = if let Some(window) = self.window { launch.named("window", window) } else { launch };
            launch.run().unwrap_or_else(|e| panic!("{self:?} {on}: {e}"));
            let (found, sums) = (o.to_vec().expect("values"), lse.to_vec().expect("values"));
            for s in (0..self.queries.len()).filter(|&s| s != wrong) {
                self.check_sequence(
                    &tensors,
                    [q_starts[s], k_starts[s]],
                    s,
                    (&found, &sums),
                    &format!("{self:?} {on}, sequence {s}"),
                );
            }
        }
    }

    /// One sequence, whose rows begin there.
    fn check_sequence(&self, tensors: &[Tensor<f16>; 3], [q0, k0]: [i32; 2], s: usize, (o, lse): (&[f16], &[f32]), name: &str) {
        let values = |t: &Tensor<f16>| t.to_vec().expect("values").into_iter().map(f64::from).collect::<Vec<f64>>();
        let [q, k, v] = tensors;
        let rows = q.dims()[0] as usize;
        let (q, k, v) = (values(q), values(k), values(v));
        let ([heads, shared], size) = (self.heads.map(|n| n as usize), self.size as usize);
        let (queries, keys) = (self.queries[s], self.keys[s]);
        for (l, h) in (0..queries).flat_map(|l| (0..heads).map(move |h| (l, h))) {
            let row = q0 as usize + l as usize;
            let query = &q[(row * heads + h) * size..][..size];
            let position = l + keys - queries;
            let sees = |key: i64| {
                (!self.causal || key <= position) && self.window.is_none_or(|w| key > position - i64::from(w).min(keys))
            };
            let at = |key: i64| ((k0 as usize + key as usize) * shared + h / (heads / shared)) * size;
            let seen: Vec<usize> = (0..keys).filter(|&key| sees(key)).map(at).collect();
            let dot = |at: usize| k[at..][..size].iter().zip(query).map(|(a, b)| a * b).sum::<f64>() * f64::from(self.scale());
            let scores: Vec<f64> = seen.iter().map(|&at| dot(at)).collect();
            let top = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
            let total: f64 = weights.iter().sum();
            let sum = f64::from(lse[h * rows + row]);
            let expected = top + total.ln();
            let near =
                if seen.is_empty() { sum == f64::NEG_INFINITY } else { (sum - expected).abs() <= 4e-6 * (1.0 + expected.abs()) };
            assert!(near, "{name} lse [{h}, {l}]: {sum}, expected {expected}");
            for d in 0..size {
                let terms = || weights.iter().zip(&seen).map(|(w, at)| w / total * v[at + d]);
                let (expected, spread) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                // As in `attention`.
                let allowed = spread * 2.0f64.powi(-11) * 1.25 + expected.abs() * 2.0f64.powi(-11) + 1e-7;
                let found = f64::from(o[(row * heads + h) * size + d]);
                assert!((found - expected).abs() <= allowed, "{name} [{l}, {h}, {d}]: {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn sequences_of_any_length() {
    for (number, case) in CASES.iter().enumerate() {
        let kernel = case.kernel();
        for on in ["emulator:sm_90a,eager", "emulator:sm_90a,lazy"] {
            case.check(&kernel, on);
        }
        case.check(&kernel, &format!("emulator:sm_90a,random={number}"));
        case.check(&kernel, &format!("emulator:sm_90a,lazy-random={number}"));
    }
}

/// Without the TMA engine, and on the CPU, it is the same.
#[test]
fn sequences_without_tensor_copies() {
    for case in CASES.iter().step_by(2) {
        let kernel = case.kernel();
        for on in ["cpu", "emulator:sm_80"] {
            case.check(&kernel, on);
        }
    }
}
