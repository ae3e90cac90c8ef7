//! Attention over packed sequences, against the formulas in f64: sequences without rows, of one row, and of lengths that no tile divides.

use std::sync::Arc;

use kiln::{Number, OwnedArg, ScalarType};

use super::{Case, Expected, Extra, ROWS_OF_PROGRAMS, Random, Subject, blank, example, floats, tensor};

const TYPE: ScalarType = ScalarType::F16;
const SCALE: f64 = 0.125;
/// Weights and results are rounded to f16.
const ROUNDING: f64 = 1.0 / 2048.0;

/// Heads, heads of k and v, queries and keys of each sequence, head size.
#[derive(Clone, Copy)]
struct Packed {
    heads: [i64; 2],
    queries: &'static [i64],
    keys: &'static [i64],
    size: i64,
    causal: bool,
    window: Option<i64>,
}

/// Where sequences begin, and where the last one ends.
fn starts(lengths: &[i64]) -> Vec<i64> {
    let mut at = 0;
    let ends = lengths.iter().map(|length| {
        at += length;
        at
    });
    [0].into_iter().chain(ends).collect()
}

impl Packed {
    /// Results, and logarithms of sums, by row and head: each value with how far off it may be.
    fn formulas(&self, [q, k, v]: [&[f64]; 3]) -> [Vec<[f64; 2]>; 2] {
        let ([heads, shared], size) = (self.heads.map(|n| n as usize), self.size as usize);
        let (q_starts, k_starts) = (starts(self.queries), starts(self.keys));
        let rows = q.len() / size / heads;
        let (mut out, mut lse) = (Vec::with_capacity(q.len()), vec![[0.0; 2]; heads * rows]);
        for (s, (&queries, &keys)) in self.queries.iter().zip(self.keys).enumerate() {
            for (l, h) in (0..queries).flat_map(|l| (0..heads).map(move |h| (l, h))) {
                let (row, position) = ((q_starts[s] + l) as usize, l + keys - queries);
                let query = &q[(row * heads + h) * size..][..size];
                let sees = |key: i64| (!self.causal || key <= position) && self.window.is_none_or(|w| key > position - w);
                let at = |key: i64| ((k_starts[s] + key) as usize * shared + h / (heads / shared)) * size;
                let seen: Vec<usize> = (0..keys).filter(|&key| sees(key)).map(at).collect();
                let score = |at: usize| k[at..][..size].iter().zip(query).map(|(a, b)| a * b).sum::<f64>() * SCALE;
                let scores: Vec<f64> = seen.iter().map(|&at| score(at)).collect();
                let top = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
                // A row that sees no key: zeros, and the logarithm of 0.
                let sum = if seen.is_empty() { f64::NEG_INFINITY } else { top + total.ln() };
                lse[h * rows + row] = [sum, if seen.is_empty() { 0.0 } else { 2e-6 * (1.0 + sum.abs()) }];
                for d in 0..size {
                    let terms = || scores.iter().zip(&seen).map(|(s, at)| (s - top).exp() / total * v[at + d]);
                    let (value, spread) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
                    out.push([value, spread * ROUNDING * 1.25 + value.abs() * ROUNDING + 1e-7]);
                }
            }
        }
        [out, lse]
    }

    fn subject(&self) -> Subject {
        let Packed { heads: [heads, shared], queries, keys, size, causal, window } = *self;
        let (q_starts, k_starts) = (starts(queries), starts(keys));
        let (rows, shared_rows) = (queries.iter().sum(), keys.iter().sum());
        let mut seed = 10;
        let [q, k, v] = [[rows, heads, size], [shared_rows, shared, size], [shared_rows, shared, size]].map(|dims: [i64; 3]| {
            seed += 1;
            let mut random = Random(seed);
            tensor(TYPE, &dims, || random.number())
        });
        let positions = |list: &[i64]| {
            let mut list = list.iter();
            OwnedArg::Tensor(tensor(ScalarType::I32, &[queries.len() as i64 + 1], || *list.next().expect("one more") as f64))
        };
        let [out, lse] = self.formulas([&floats(&q), &floats(&k), &floats(&v)]);
        let mut args = [q, k, v].map(OwnedArg::Tensor).to_vec();
        args.extend([positions(&q_starts), positions(&k_starts), blank(TYPE, &[rows, heads, size])]);
        let longest = *queries.iter().max().expect("a sequence");
        args.extend([OwnedArg::Number(Number::Float(SCALE)), OwnedArg::Number(Number::Int(longest))]);
        args.push(window.map_or(OwnedArg::Absent, |w| OwnedArg::Number(Number::Int(w))));
        args.push(blank(ScalarType::F32, &[heads, rows]));
        let expected: Vec<(usize, Expected)> = vec![(5, Arc::new(out)), (9, Arc::new(lse))];
        let kernel = example("attention/packed.kiln", "attention_packed").constant("CAUSAL", causal);
        let make = Box::new(move |_: &kiln::Config| Case { args: args.clone(), expected: expected.clone() });
        // A cluster's blocks side by side along queries: one may have none of a sequence that the other one has.
        let extras: &'static [Extra] = ROWS_OF_PROGRAMS;
        let name = format!(
            "attention_packed heads {:?} of {size}, queries {queries:?}, keys {keys:?}, causal {causal}, window {window:?}",
            self.heads
        );
        Subject { name, kernel, make, extras }
    }
}

/// Packed attention, of several head sizes.
pub(super) fn subjects() -> Vec<Subject> {
    [
        Packed { heads: [2, 1], queries: &[70, 0, 1, 130], keys: &[70, 9, 140, 0], size: 64, causal: false, window: None },
        Packed { heads: [1, 1], queries: &[1, 200, 0, 33], keys: &[1, 200, 0, 97], size: 80, causal: true, window: None },
        Packed { heads: [1, 1], queries: &[129, 40, 1], keys: &[65, 210, 1], size: 128, causal: true, window: Some(50) },
        Packed { heads: [1, 1], queries: &[0, 66], keys: &[30, 75], size: 256, causal: true, window: None },
    ]
    .iter()
    .map(Packed::subject)
    .collect()
}
