//! Kernels that go over rows: sums, norms, softmax, cross entropy.

use std::sync::Arc;

use kiln::{AnyTensor, Number, OwnedArg, ScalarType};

use super::{Case, Expected, Extra, PLAIN, Random, Subject, blank, example, floats, rounding, tensor};

/// Relative distance of neighbouring f32.
const ULP: f64 = f32::EPSILON as f64;

fn numbers(ty: ScalarType, dims: &[i64], seed: u64, scale: f64) -> AnyTensor {
    let mut random = Random(seed);
    tensor(ty, dims, || scale * random.number())
}

fn subject(
    name: &str,
    [file, kernel]: [&str; 2],
    args: Vec<OwnedArg>,
    expected: Vec<(usize, Vec<[f64; 2]>)>,
    extras: &'static [Extra],
) -> Subject {
    let expected: Vec<(usize, Expected)> = expected.into_iter().map(|(number, values)| (number, Arc::new(values))).collect();
    let make = Box::new(move |_: &kiln::Config| Case { args: args.clone(), expected: expected.clone() });
    Subject { name: name.to_owned(), kernel: example(file, kernel), make, extras }
}

fn sum_of_vectors(ty: ScalarType, n: i64) -> Subject {
    let (x, y) = (numbers(ty, &[n], 1, 1.0), numbers(ty, &[n], 2, 1.0));
    let sums = floats(&x).iter().zip(floats(&y)).map(|(x, y)| [x + y, (x + y).abs() * rounding(ty) + 1e-8]).collect();
    let args = vec![OwnedArg::Tensor(x), OwnedArg::Tensor(y), blank(ty, &[n])];
    subject(&format!("vector_add {ty} {n}"), ["vector_add/vector_add.kiln", "vector_add"], args, vec![(2, sums)], PLAIN)
}

fn softmax([file, kernel]: [&str; 2], ty: ScalarType, [m, n]: [i64; 2]) -> Subject {
    let x = numbers(ty, &[m, n], 1, 8.0);
    let mut expected = vec![];
    for row in floats(&x).chunks(n as usize) {
        let top = row.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let sum: f64 = row.iter().map(|v| (v - top).exp()).sum();
        // A few roundings on the way to each exponential, in proportion to the exponent's terms, and those of a sum of n numbers.
        let off = ULP * (16.0 + (n as f64).sqrt()) / sum;
        expected.extend(row.iter().map(|v| (v - top).exp() / sum).map(|p| [p, off + p * rounding(ty) + 6e-8]));
    }
    let args = vec![OwnedArg::Tensor(x), blank(ty, &[m, n])];
    subject(&format!("{file} {kernel} {ty} {m} x {n}"), [file, kernel], args, vec![(1, expected)], PLAIN)
}

fn layer_norm(ty: ScalarType, [m, n]: [i64; 2], with: bool) -> Subject {
    let (x, w, b) = (numbers(ty, &[m, n], 1, 2.0), numbers(ty, &[n], 2, 1.0), numbers(ty, &[n], 3, 1.0));
    let (vw, vb) = if with { (floats(&w), floats(&b)) } else { (vec![1.0; n as usize], vec![0.0; n as usize]) };
    let mut expected = vec![];
    for row in floats(&x).chunks(n as usize) {
        let mean = row.iter().sum::<f64>() / n as f64;
        let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n as f64;
        let scale = 1.0 / (variance + 1e-5).sqrt();
        for ((v, w), b) in row.iter().zip(&vw).zip(&vb) {
            let value = (v - mean) * scale * w + b;
            let terms = (v.abs() + mean.abs()) * scale * w.abs() + b.abs();
            expected.push([value, terms * ULP * (4.0 + (n as f64).sqrt()) + value.abs() * rounding(ty) + 1e-7]);
        }
    }
    let optional = |t: AnyTensor| if with { OwnedArg::Tensor(t) } else { OwnedArg::Absent };
    let args = vec![OwnedArg::Tensor(x), optional(w), optional(b), blank(ty, &[m, n]), OwnedArg::Absent];
    subject(&format!("layer_norm {ty} {m} x {n}"), ["layer_norm/layer_norm.kiln", "layer_norm"], args, vec![(3, expected)], PLAIN)
}

fn rms_norm(ty: ScalarType, [m, n]: [i64; 2], add: bool) -> Subject {
    let (x, rest, w) = (numbers(ty, &[m, n], 1, 1.0), numbers(ty, &[m, n], 2, 1.0), numbers(ty, &[n], 3, 1.0));
    let vw = floats(&w);
    let mut rows = floats(&x);
    if add {
        rows.iter_mut().zip(floats(&rest)).for_each(|(x, r)| *x += r);
    }
    let mut expected = vec![];
    for row in rows.chunks(n as usize) {
        let scale = 1.0 / (row.iter().map(|v| v * v).sum::<f64>() / n as f64 + 1e-6).sqrt();
        expected.extend(
            row.iter()
                .zip(&vw)
                .map(|(v, w)| v * scale * w)
                .map(|value| [value, value.abs() * (ULP * (8.0 + (n as f64).sqrt()) + rounding(ty)) + 1e-7]),
        );
    }
    let out = blank(ty, &[m, n]);
    let name = format!("rms_norm {ty} {m} x {n} add {add}");
    if !add {
        let args = vec![OwnedArg::Tensor(x), OwnedArg::Tensor(w), out, OwnedArg::Absent];
        return subject(&name, ["rms_norm/rms_norm.kiln", "rms_norm"], args, vec![(2, expected)], PLAIN);
    }
    let sums = rows.iter().map(|v| [*v, v.abs() * rounding(ty) + 1e-7]).collect();
    let args = vec![OwnedArg::Tensor(x), OwnedArg::Tensor(rest), OwnedArg::Tensor(w), out, OwnedArg::Absent];
    subject(&name, ["rms_norm/rms_norm.kiln", "add_rms_norm"], args, vec![(1, sums), (3, expected)], PLAIN)
}

fn cross_entropy([m, v]: [i64; 2]) -> Subject {
    let (ty, smooth, count) = (ScalarType::F32, 0.125, 3.0);
    let x = numbers(ty, &[m, v], 1, 4.0);
    // One row is left out.
    let targets: Vec<i64> = (0..m).map(|row| if row == 1 { -100 } else { row * 37 % v }).collect();
    let (mut losses, mut gradients) = (vec![], vec![]);
    for (row, &target) in floats(&x).chunks(v as usize).zip(&targets) {
        let Ok(target) = usize::try_from(target) else {
            losses.push([0.0, 0.0]);
            gradients.extend(std::iter::repeat_n([0.0, 0.0], v as usize));
            continue;
        };
        let top = row.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let lse = top + row.iter().map(|l| (l - top).exp()).sum::<f64>().ln();
        let mean = row.iter().sum::<f64>() / v as f64;
        let roundings = ULP * (8.0 + (v as f64).sqrt());
        let size = lse.abs() + row[target].abs() + row.iter().map(|l| l.abs()).sum::<f64>() / v as f64;
        losses.push([(lse - (1.0 - smooth) * row[target] - smooth * mean) / count, size * roundings / count]);
        for (i, l) in row.iter().enumerate() {
            let own = if i == target { 1.0 } else { 0.0 };
            let p = (l - lse).exp();
            let value = (p - smooth / v as f64 - own * (1.0 - smooth)) / count;
            let exponent = ULP * (l.abs() + lse.abs()) + roundings;
            let off = (p * exponent + 4.0 * ULP * (p + 1.0 / v as f64 + own)) / count;
            gradients.push([value, off + value.abs() * rounding(ty)]);
        }
    }
    let mut next = targets.iter();
    let target = tensor(ScalarType::I64, &[m], || *next.next().expect("one a row") as f64);
    let number = |value: f64| OwnedArg::Number(Number::Float(value));
    let args =
        vec![OwnedArg::Tensor(x), OwnedArg::Tensor(target), blank(ty, &[m]), OwnedArg::Absent, number(smooth), number(count)];
    let name = format!("cross_entropy {m} x {v}");
    let expected = vec![(0, gradients), (2, losses)];
    subject(&name, ["cross_entropy/cross_entropy.kiln", "cross_entropy"], args, expected, PLAIN)
}

/// Every kernel over rows that has a space.
pub(super) fn subjects() -> Vec<Subject> {
    let (f16, f32) = (ScalarType::F16, ScalarType::F32);
    let softmaxes = ["softmax/softmax.kiln", "softmax"];
    vec![
        sum_of_vectors(f32, 5000),
        sum_of_vectors(f16, 4099),
        softmax(softmaxes, f32, [3, 1000]),
        softmax(softmaxes, f16, [2, 771]),
        softmax(["softmax/softmax.kiln", "softmax_wide"], f32, [2, 9001]),
        softmax(["tuning/tuning.kiln", "softmax"], f32, [13, 1500]),
        layer_norm(f32, [3, 1000], true),
        layer_norm(f16, [2, 771], false),
        rms_norm(f32, [3, 1000], false),
        rms_norm(f16, [3, 768], true),
        cross_entropy([3, 5001]),
    ]
}
