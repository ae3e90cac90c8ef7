//! Attention that looks up what followed earlier in a text, and attention over made heads, causal and not, against the plain formula in f64.

use std::process::ExitCode;

use anyhow::Result;
use dsl_examples::data::{Float, Input, Random, floats};
use dsl_examples::{Errors, Runner, ULP, Work, kernel};
use half::{bf16, f16};
use kiln::Tensor;

pub fn main() -> ExitCode {
    dsl_examples::main(|runner| {
        let input = Input::of("attention")?;
        let heads = Heads { q: input.tensor::<f16>("q")?, k: input.tensor("k")?, v: input.tensor("v")?, scale: 0.25 };
        case(runner, "text, 2 heads of 144 x 32, f16", &heads, false)?;
        case(runner, "the same, causal", &heads, true)?;
        for causal in [false, true] {
            let kind = if causal { ", causal" } else { "" };
            // Batch, heads, heads of k and v, queries, keys, head size.
            for (size, name) in [
                ([1, 1, 1, 1, 1, 16], "1 query, 1 key"),
                ([2, 4, 2, 100, 130, 64], "100 queries, 130 keys, grouped heads"),
                ([1, 2, 1, 1, 257, 64], "1 query, 257 keys"),
                ([1, 3, 3, 65, 65, 40], "65 x 65, head of 40"),
            ] {
                case(runner, &format!("{name}{kind}"), &Heads::<f32>::made(size)?, causal)?;
            }
            case(runner, &format!("128 x 128, bf16{kind}"), &Heads::<bf16>::made([1, 2, 2, 128, 128, 64])?, causal)?;
        }
        if runner.large() {
            case(runner, "8 heads of 1024 x 64, causal", &Heads::<f32>::made([1, 8, 8, 1024, 1024, 64])?, true)?;
        }
        Ok(())
    })
}

struct Heads<T> {
    q: Tensor<T>,
    k: Tensor<T>,
    v: Tensor<T>,
    scale: f32,
}

impl<T: Float> Heads<T> {
    fn made([batch, heads, kv_heads, queries, keys, size]: [i64; 6]) -> Result<Heads<T>> {
        let mut random = Random::new(keys as u64);
        Ok(Heads {
            q: random.tensor(&[batch, heads, queries, size])?,
            k: random.tensor(&[batch, kv_heads, keys, size])?,
            v: random.tensor(&[batch, kv_heads, keys, size])?,
            scale: 1.0 / (size as f32).sqrt(),
        })
    }
}

fn case<T: Float>(runner: &mut Runner, title: &str, heads: &Heads<T>, causal: bool) -> Result<()> {
    let device = runner.device();
    let attention = kernel("attention", "attention")?.constant("CAUSAL", causal);
    let Heads { q, k, v, scale } = heads;
    let mut o = Tensor::<T>::zeros(q.dims())?;
    let time = runner.time(|clock| clock.run(attention.on(&device).arg(q).arg(k).arg(v).arg(&mut o).arg(*scale)))?;

    let errors = compare(heads, causal, &o)?;
    let pairs = q.dims()[..3].iter().product::<i64>() * k.dims()[2] / if causal { 2 } else { 1 };
    runner.row(title, &errors, time, Work::Flops((4 * pairs * q.dims()[3]) as usize))
}

/// `o` against softmax(q trans(k) * scale) v with the whole row of scores at hand.
fn compare<T: Float>(heads: &Heads<T>, causal: bool, o: &Tensor<T>) -> Result<Errors> {
    let [batch, count, queries, size] = extents(&heads.q);
    let [_, kv_count, keys, _] = extents(&heads.k);
    let (q, k, v, o) = (floats(&heads.q)?, floats(&heads.k)?, floats(&heads.v)?, floats(o)?);
    let scale = f64::from(heads.scale);
    let mut errors = Errors::default();
    for (b, h, l) in (0..batch).flat_map(|b| (0..count).flat_map(move |h| (0..queries).map(move |l| (b, h, l)))) {
        let at = ((b * count + h) * queries + l) * size;
        let query = &q[at..][..size];
        // This head's rows of k and of v.
        let first = (b * kv_count + h / (count / kv_count)) * keys * size;
        let (k, v) = (&k[first..], &v[first..]);
        // The last query sees all keys, the one before it all but the last, and so on.
        let seen = if causal { (l + 1 + keys).saturating_sub(queries) } else { keys };
        let products = |s: usize| k[s * size..].iter().zip(query).map(|(a, b)| a * b * scale);
        let scores: Vec<f64> = (0..seen).map(|s| products(s).sum()).collect();
        let top = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
        let sum: f64 = weights.iter().sum();
        // What the longest dot product of q and k may be wrong by: every weight may be off by that share.
        let longest = (0..seen).map(|s| products(s).map(f64::abs).sum()).fold(0.0, f64::max);
        let score_error = longest * ULP * (size as f64 / 2.0 + 4.0);
        for d in 0..size {
            let terms = || weights.iter().enumerate().map(|(s, w)| w / sum * v[s * size + d]);
            let (expected, spread) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>());
            // Weights are rounded to T before they meet v; sums of many keys are added up in f32.
            let allowed = spread * (2.0 * score_error + T::HALF_ULP + ULP * (8.0 + (seen as f64).sqrt())) + T::rounding(expected);
            errors.see(format_args!("[{b}, {h}, {l}, {d}]"), o[at + d], expected, allowed);
        }
    }
    Ok(errors)
}

fn extents<T: Float>(tensor: &Tensor<T>) -> [usize; 4] {
    std::array::from_fn(|axis| tensor.dims()[axis] as usize)
}
