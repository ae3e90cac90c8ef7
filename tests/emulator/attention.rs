//! Attention of `dsl-examples` on warpgroups: every head size, mask and completion of copies and products, against the formula.

use std::path::Path;

use kiln::{Kernel, Program, ProgramOptions, Tensor, f16};

use super::device;

/// A launch: tile, head size, warps, stages; heads, heads of k and v, queries, keys; causal, window.
struct Case {
    tile: [i64; 2],
    size: i64,
    warps: i64,
    stages: i64,
    heads: [i64; 2],
    rows: [i64; 2],
    causal: bool,
    window: Option<i32>,
}

/// Every head size; tails in queries and keys; fewer trips than slots, one, many; heads that share keys; rows that see nothing.
const CASES: [Case; 12] = [
    Case { tile: [128, 128], size: 128, warps: 8, stages: 2, heads: [1, 1], rows: [128, 384], causal: false, window: None },
    Case { tile: [128, 128], size: 128, warps: 8, stages: 2, heads: [2, 1], rows: [200, 460], causal: true, window: None },
    Case { tile: [128, 64], size: 64, warps: 8, stages: 3, heads: [2, 2], rows: [130, 333], causal: true, window: None },
    Case { tile: [64, 64], size: 64, warps: 4, stages: 2, heads: [1, 1], rows: [64, 64], causal: false, window: None },
    Case { tile: [64, 32], size: 80, warps: 4, stages: 2, heads: [4, 2], rows: [70, 161], causal: true, window: Some(50) },
    Case { tile: [128, 64], size: 80, warps: 8, stages: 3, heads: [1, 1], rows: [128, 200], causal: false, window: None },
    Case { tile: [128, 64], size: 96, warps: 8, stages: 2, heads: [1, 1], rows: [300, 300], causal: true, window: Some(65) },
    Case { tile: [64, 128], size: 96, warps: 4, stages: 2, heads: [1, 1], rows: [33, 500], causal: false, window: Some(128) },
    Case { tile: [128, 64], size: 256, warps: 8, stages: 2, heads: [1, 1], rows: [128, 250], causal: true, window: None },
    Case { tile: [64, 32], size: 256, warps: 4, stages: 2, heads: [2, 1], rows: [64, 100], causal: false, window: None },
    // The first queries come before every key.
    Case { tile: [128, 128], size: 64, warps: 8, stages: 2, heads: [1, 1], rows: [300, 100], causal: true, window: None },
    Case { tile: [64, 64], size: 128, warps: 4, stages: 2, heads: [1, 1], rows: [64, 1], causal: false, window: None },
];

/// A kernel of a file of the examples.
pub fn example(file: &str, kernel: &str) -> Kernel {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dsl-examples").join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let program = Program::from_source_with(file, &text, ProgramOptions::without_cache()).unwrap_or_else(|e| panic!("{e}"));
    program.kernel(kernel).unwrap_or_else(|e| panic!("{e}"))
}

/// Values of which no two rows are alike.
pub fn made(dims: &[i64], seed: u64) -> Tensor<f16> {
    let mut state = seed * 2 + 1;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 40) as f32 / (1u64 << 23) as f32) - 1.0
    };
    Tensor::from_fn(dims, |_| f16::from_f32(next())).expect("a tensor")
}

impl Case {
    fn kernel(&self) -> Kernel {
        let with = example("attention/attention.kiln", "attention")
            .constant("CAUSAL", self.causal)
            .constant("BM", self.tile[0])
            .constant("BN", self.tile[1]);
        with.schedule("warps", &[self.warps]).schedule("stages", &[self.stages])
    }

    fn tensors(&self) -> [Tensor<f16>; 3] {
        let ([heads, shared], [queries, keys]) = (self.heads, self.rows);
        [made(&[1, heads, queries, self.size], 1), made(&[1, shared, keys, self.size], 2), made(&[1, shared, keys, self.size], 3)]
    }

    fn scale(&self) -> f32 {
        2.0 / (self.size as f32).sqrt()
    }

    fn run(&self, kernel: &Kernel, [q, k, v]: &[Tensor<f16>; 3], on: &str) -> Vec<f32> {
        let device = device(on);
        let mut o = Tensor::<f16>::zeros(q.dims()).expect("a tensor");
        let launch = kernel.on(&device).arg(q).arg(k).arg(v).arg(&mut o).arg(self.scale());
        let launch = if let Some(window) = self.window { launch.arg(window) } else { launch };
        launch.run().unwrap_or_else(|e| panic!("{:?} {on}: {e}", self.tile));
        o.to_vec().expect("values").into_iter().map(f16::to_f32).collect()
    }

    /// `softmax(q trans(k) * scale) v` with the whole row at hand, and for each value the sum of what is added up for it.
    fn reference(&self, [q, k, v]: &[Tensor<f16>; 3]) -> Vec<[f64; 2]> {
        let values = |t: &Tensor<f16>| t.to_vec().expect("values").into_iter().map(f64::from).collect::<Vec<f64>>();
        let (q, k, v) = (values(q), values(k), values(v));
        let ([heads, shared], [queries, keys], size) = (self.heads, self.rows, self.size as usize);
        let mut out = vec![];
        for (h, l) in (0..heads).flat_map(|h| (0..queries).map(move |l| (h, l))) {
            let query = &q[(h * queries + l) as usize * size..][..size];
            let first = (h / (heads / shared) * keys) as usize * size;
            let at = l + keys - queries;
            let sees = |s: i64| (!self.causal || s <= at) && self.window.is_none_or(|w| s > at - i64::from(w));
            let seen: Vec<usize> = (0..keys).filter(|&s| sees(s)).map(|s| first + s as usize * size).collect();
            let dot = |s: usize| k[s..][..size].iter().zip(query).map(|(a, b)| a * b).sum::<f64>() * f64::from(self.scale());
            let scores: Vec<f64> = seen.iter().map(|&s| dot(s)).collect();
            let top = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
            let total: f64 = weights.iter().sum();
            for d in 0..size {
                let terms = || weights.iter().zip(&seen).map(|(w, s)| w / total * v[s + d]);
                out.push([terms().sum(), terms().map(f64::abs).sum()]);
            }
        }
        out
    }

    fn check(&self, kernel: &Kernel, tensors: &[Tensor<f16>; 3], reference: &[[f64; 2]], on: &str) {
        let found = self.run(kernel, tensors, on);
        assert_eq!(found.len(), reference.len());
        for (i, (&found, [expected, spread])) in found.iter().zip(reference).enumerate() {
            // Weights and results are rounded to f16, scores are off by parts of f32's precision.
            let allowed = spread * 2.0f64.powi(-11) * 1.25 + expected.abs() * 2.0f64.powi(-11) + 1e-7;
            let far = (f64::from(found) - expected).abs();
            assert!(far <= allowed, "{:?} of {} {on}, element {i}: {found}, expected {expected}", self.tile, self.size);
        }
    }
}

#[test]
fn attention_is_right_whatever_completes_when() {
    for (number, case) in CASES.iter().enumerate() {
        let (kernel, tensors) = (case.kernel(), case.tensors());
        let reference = case.reference(&tensors);
        for on in ["emulator:sm_90a,eager", "emulator:sm_90a,lazy"] {
            case.check(&kernel, &tensors, &reference, on);
        }
        case.check(&kernel, &tensors, &reference, &format!("emulator:sm_90a,random={number}"));
        case.check(&kernel, &tensors, &reference, &format!("emulator:sm_90a,lazy-random={number}"));
    }
}

/// The overlapped loop under twenty orders of warps, copies and products.
#[test]
fn attention_overlaps_in_any_order() {
    let case =
        Case { tile: [128, 32], size: 64, warps: 8, stages: 2, heads: [1, 1], rows: [100, 190], causal: true, window: None };
    let (kernel, tensors) = (case.kernel(), case.tensors());
    let reference = case.reference(&tensors);
    for seed in 0..20 {
        let kind = if seed % 2 == 0 { "random" } else { "lazy-random" };
        case.check(&kernel, &tensors, &reference, &format!("emulator:sm_90a,{kind}={seed}"));
    }
}

/// Two warpgroups that take turns, and four, under every order: one trip, several, none for some programs.
#[test]
fn warpgroups_take_turns() {
    let cases = [
        Case { tile: [128, 32], size: 64, warps: 8, stages: 2, heads: [1, 1], rows: [100, 190], causal: true, window: None },
        Case { tile: [128, 64], size: 64, warps: 8, stages: 3, heads: [2, 1], rows: [130, 40], causal: false, window: Some(30) },
        Case { tile: [256, 32], size: 64, warps: 16, stages: 2, heads: [1, 1], rows: [300, 200], causal: true, window: None },
        // The first queries come before every key.
        Case { tile: [128, 64], size: 64, warps: 8, stages: 2, heads: [1, 1], rows: [300, 100], causal: true, window: None },
    ];
    for case in &cases {
        let (kernel, tensors) = (case.kernel().schedule("ping_pong", &[1]), case.tensors());
        let reference = case.reference(&tensors);
        for on in ["emulator:sm_90a,eager", "emulator:sm_90a,lazy"] {
            case.check(&kernel, &tensors, &reference, on);
        }
        for seed in 0..10 {
            let kind = if seed % 2 == 0 { "random" } else { "lazy-random" };
            case.check(&kernel, &tensors, &reference, &format!("emulator:sm_90a,{kind}={seed}"));
        }
    }
}

/// Turns need two warpgroups, and a loop with products to take turns with.
#[test]
fn turns_that_nobody_can_take_are_refused() {
    let case = Case { tile: [64, 64], size: 64, warps: 4, stages: 2, heads: [1, 1], rows: [64, 64], causal: false, window: None };
    let device = device("emulator:sm_90a");
    let [q, k, v] = case.tensors();
    let mut o = Tensor::<f16>::zeros(q.dims()).expect("a tensor");
    let kernel = case.kernel().schedule("ping_pong", &[1]);
    let error = kernel.on(&device).arg(&q).arg(&k).arg(&v).arg(&mut o).arg(0.125f32).run().expect_err("one warpgroup");
    assert!(error.to_string().contains("K0905") && error.to_string().contains("8 warps"), "{error}");
    let (x, y) = (made(&[256, 64], 1), made(&[64, 256], 2));
    let mut z = Tensor::<f16>::zeros(&[256, 256]).expect("a tensor");
    let kernel = example("matmul/matmul.kiln", "matmul").constant("BM", 128).constant("BN", 128).constant("BK", 32);
    let kernel = kernel.schedule("warps", &[8]).schedule("ping_pong", &[1]);
    let error = kernel.on(&device).arg(&x).arg(&y).arg(&mut z).run().expect_err("one product");
    assert!(error.to_string().contains("K0905") && error.to_string().contains("second product"), "{error}");
}

/// Without warpgroups, and on the CPU, it is the same formula.
#[test]
fn attention_without_warpgroups() {
    for case in CASES.iter().skip(1).step_by(3) {
        let (kernel, tensors) = (case.kernel(), case.tensors());
        let reference = case.reference(&tensors);
        for on in ["cpu", "emulator:sm_80"] {
            case.check(&kernel, &tensors, &reference, on);
        }
    }
}
