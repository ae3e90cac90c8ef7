//! Attention and its gradients, against the formulas in f64.

use std::sync::Arc;

use kiln::{AnyTensor, Number, OwnedArg, ScalarType};

use super::{Case, Expected, Extra, ROWS_OF_PROGRAMS, Random, Subject, blank, example, floats, tensor};

const TYPE: ScalarType = ScalarType::F16;
const SCALE: f64 = 0.125;
/// Weights and results are rounded to f16.
const ROUNDING: f64 = 1.0 / 2048.0;

/// Heads, heads of k and v, queries, keys, head size.
#[derive(Clone, Copy)]
struct Heads {
    heads: [i64; 2],
    rows: [i64; 2],
    size: i64,
    causal: bool,
    window: Option<i64>,
}

/// What the formulas give, each value with the sum of what is added up for it.
#[derive(Default)]
struct Formulas {
    out: Vec<[f64; 2]>,
    lse: Vec<f64>,
    delta: Vec<f64>,
    dq: Vec<[f64; 2]>,
    dk: Vec<[f64; 2]>,
    dv: Vec<[f64; 2]>,
}

impl Heads {
    fn tensors(&self) -> [AnyTensor; 4] {
        let ([heads, shared], [queries, keys], size) = (self.heads, self.rows, self.size);
        let shapes = [[1, heads, queries, size], [1, shared, keys, size], [1, shared, keys, size], [1, heads, queries, size]];
        let mut seed = 0;
        shapes.map(|dims| {
            seed += 1;
            let mut random = Random(seed);
            tensor(TYPE, &dims, || random.number())
        })
    }

    fn formulas(&self, tensors: &[AnyTensor; 4]) -> Formulas {
        let [q, k, v, g] = tensors.each_ref().map(floats);
        let ([heads, shared], [queries, keys], size) = (self.heads, self.rows, self.size as usize);
        let mut all = Formulas {
            dq: vec![[0.0; 2]; q.len()],
            dk: vec![[0.0; 2]; k.len()],
            dv: vec![[0.0; 2]; v.len()],
            ..Formulas::default()
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let add = |to: &mut [f64; 2], term: f64| *to = [to[0] + term, to[1] + term.abs()];
        for (h, l) in (0..heads).flat_map(|h| (0..queries).map(move |l| (h, l))) {
            let row = (h * queries + l) as usize * size;
            let (query, grad) = (&q[row..][..size], &g[row..][..size]);
            let at = l + keys - queries;
            let sees = |s: i64| (!self.causal || s <= at) && self.window.is_none_or(|w| s > at - w);
            let first = h / (heads / shared) * keys;
            let seen: Vec<usize> = (0..keys).filter(|&s| sees(s)).map(|s| (first + s) as usize * size).collect();
            let scores: Vec<f64> = seen.iter().map(|&s| dot(&k[s..][..size], query) * SCALE).collect();
            let top = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            let lse = top + scores.iter().map(|s| (s - top).exp()).sum::<f64>().ln();
            let weights: Vec<f64> = scores.iter().map(|s| (s - lse).exp()).collect();
            let grads: Vec<f64> = seen.iter().map(|&s| dot(&v[s..][..size], grad)).collect();
            let delta = dot(&weights, &grads);
            for d in 0..size {
                let mut out = [0.0; 2];
                weights.iter().zip(&seen).for_each(|(w, s)| add(&mut out, w * v[s + d]));
                all.out.push(out);
            }
            all.lse.push(lse);
            all.delta.push(delta);
            for ((&s, w), of_weight) in seen.iter().zip(&weights).zip(&grads) {
                let ds = w * (of_weight - delta) * SCALE;
                for d in 0..size {
                    add(&mut all.dq[row + d], ds * k[s + d]);
                    add(&mut all.dk[s + d], ds * query[d]);
                    add(&mut all.dv[s + d], w * grad[d]);
                }
            }
        }
        all
    }

    fn name(&self, kernel: &str) -> String {
        let Heads { heads, rows, size, causal, window } = self;
        format!("{kernel} heads {heads:?} of {size}, rows {rows:?}, causal {causal}, window {window:?}")
    }

    fn subject(&self, [file, kernel]: [&str; 2], args: Vec<OwnedArg>, expected: Vec<(usize, Expected)>) -> Subject {
        let constants = example(file, kernel);
        let constants = if kernel == "attention_delta" { constants } else { constants.constant("CAUSAL", self.causal) };
        let make = Box::new(move |_: &kiln::Config| Case { args: args.clone(), expected: expected.clone() });
        // A cluster's blocks side by side along queries.
        let extras: &'static [Extra] = ROWS_OF_PROGRAMS;
        Subject { name: self.name(kernel), kernel: constants, make, extras }
    }

    fn forward(&self) -> Subject {
        let tensors = self.tensors();
        let formulas = self.formulas(&tensors);
        let [q, k, v, _] = tensors;
        let (dims, of_rows) = (q.dims().to_vec(), q.dims()[..3].to_vec());
        let mut args = vec![OwnedArg::Tensor(q), OwnedArg::Tensor(k), OwnedArg::Tensor(v)];
        args.extend([blank(TYPE, &dims), OwnedArg::Number(Number::Float(SCALE))]);
        args.push(self.window.map_or(OwnedArg::Absent, |w| OwnedArg::Number(Number::Int(w))));
        args.push(blank(ScalarType::F32, &of_rows));
        let lse: Vec<[f64; 2]> = formulas.lse.iter().map(|v| [*v, 2e-6 * (1.0 + v.abs())]).collect();
        let expected = vec![(3, allowed(&formulas.out, 1e-7)), (6, Arc::new(lse))];
        self.subject(["attention/attention.kiln", "attention"], args, expected)
    }

    fn backward(&self) -> [Subject; 3] {
        let tensors = self.tensors();
        let formulas = self.formulas(&tensors);
        let [q, k, v, g] = &tensors;
        let of_rows = &q.dims()[..3];
        let row_values = |values: &[f64]| {
            let mut values = values.iter();
            OwnedArg::Tensor(tensor(ScalarType::F32, of_rows, || *values.next().expect("one a row")))
        };
        let mut args: Vec<OwnedArg> = [q, k, v, g].map(|t| OwnedArg::Tensor(t.clone())).into();
        args.extend([row_values(&formulas.lse), row_values(&formulas.delta)]);
        let scale = OwnedArg::Number(Number::Float(SCALE));
        let mut of_queries = args.clone();
        of_queries.extend([blank(TYPE, q.dims()), scale.clone()]);
        let mut of_keys = args;
        of_keys.extend([blank(TYPE, k.dims()), blank(TYPE, v.dims()), scale]);
        // Sums of products of any two numbers do here.
        let (x, y) = (floats(q), floats(g));
        let sums = x.chunks(self.size as usize).zip(y.chunks(self.size as usize)).map(|(x, y)| {
            let (sum, size) = x.iter().zip(y).fold((0.0, 0.0), |(sum, size), (x, y)| (sum + x * y, size + (x * y).abs()));
            [sum, size * 2.0f64.powi(-20)]
        });
        let products = vec![OwnedArg::Tensor(q.clone()), OwnedArg::Tensor(g.clone()), blank(ScalarType::F32, of_rows)];
        let file = "attention/backward.kiln";
        [
            self.subject([file, "attention_delta"], products, vec![(2, Arc::new(sums.collect()))]),
            self.subject([file, "attention_dq"], of_queries, vec![(6, allowed(&formulas.dq, 2e-6))]),
            self.subject(
                [file, "attention_dkdv"],
                of_keys,
                vec![(6, allowed(&formulas.dk, 2e-6)), (7, allowed(&formulas.dv, 2e-6))],
            ),
        ]
    }
}

fn allowed(of: &[[f64; 2]], least: f64) -> Expected {
    let off = |[value, size]: &[f64; 2]| [*value, size * ROUNDING * 1.25 + value.abs() * ROUNDING + least];
    Arc::new(of.iter().map(off).collect())
}

/// Attention and its gradients, of several head sizes.
pub(super) fn subjects() -> Vec<Subject> {
    let cases = [
        Heads { heads: [2, 1], rows: [200, 190], size: 64, causal: false, window: None },
        Heads { heads: [1, 1], rows: [130, 210], size: 80, causal: true, window: None },
        Heads { heads: [1, 1], rows: [100, 260], size: 128, causal: true, window: Some(70) },
        Heads { heads: [1, 1], rows: [70, 100], size: 256, causal: false, window: None },
    ];
    let mut list: Vec<Subject> = cases.iter().map(Heads::forward).collect();
    for case in [
        Heads { heads: [2, 1], rows: [100, 150], size: 64, causal: true, window: None },
        Heads { heads: [1, 1], rows: [130, 70], size: 128, causal: false, window: None },
    ] {
        list.extend(case.backward());
    }
    list
}
