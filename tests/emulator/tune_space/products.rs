//! Matrix products with and without more around them, against sums in f64.

use std::sync::Arc;

use kiln::{AnyTensor, Config, Kernel, Number, OwnedArg, Program, ProgramOptions, ScalarType};

use super::{Case, Expected, PLAIN, PROGRAMS, Random, Subject, blank, example, floats, rounding, tensor};

/// Rows, columns and depth that no tile divides, such that a grid of the usual tiles has an even number of programs along both axes. TMA can copy them.
const EVEN: [i64; 3] = [200, 504, 136];
/// None of them is even a multiple of 8: loads and stores by threads.
const ODD: [i64; 3] = [130, 250, 75];

/// An element of `x` `[m, k]` times one of `w` `[n, k]`, all along k, with what `scale` says of the row, the column and the place along k; and the sum of
/// the terms' sizes.
fn products(x: &[f64], w: &[f64], [m, n, k]: [usize; 3], scale: impl Fn(usize, usize, usize) -> f64) -> Vec<[f64; 2]> {
    let mut out = Vec::with_capacity(m * n);
    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let (mut sum, mut size) = (0.0, 0.0);
        for l in 0..k {
            let term = x[i * k + l] * w[j * k + l] * scale(i, j, l);
            (sum, size) = (sum + term, size + term.abs());
        }
        out.push([sum, size]);
    }
    out
}

/// What results in `ty` may be off by: a rounding of theirs, and those of sums of `k` terms in f32.
fn allowed(of: &[[f64; 2]], ty: ScalarType, k: i64) -> Expected {
    let sums = 2.0f64.powi(-23) * (2.0 * (k as f64).sqrt() + 8.0);
    Arc::new(of.iter().map(|[value, size]| [*value, value.abs() * 1.01 * rounding(ty) + size * sums + 1e-6]).collect())
}

/// The transpose of a matrix with `columns` columns.
fn transposed(values: &[f64], columns: usize) -> Vec<f64> {
    (0..columns).flat_map(|j| values.iter().skip(j).step_by(columns).copied().collect::<Vec<f64>>()).collect()
}

fn gelu(v: f64) -> f64 {
    v * 0.5 * (1.0 + libm::erf(v / std::f64::consts::SQRT_2))
}

fn normal(ty: ScalarType, dims: &[i64], seed: u64) -> AnyTensor {
    let mut random = Random(seed);
    tensor(ty, dims, || random.number())
}

fn sizes(dims: [i64; 3]) -> [usize; 3] {
    dims.map(|d| d as usize)
}

/// A case that is the same for every configuration.
fn fixed(args: Vec<OwnedArg>, expected: Vec<(usize, Expected)>) -> Box<dyn Fn(&Config) -> Case + Send + Sync> {
    // Tensors are cheap to clone, and whoever launches copies them.
    Box::new(move |_| Case { args: args.clone(), expected: expected.clone() })
}

fn given(tensors: &[&AnyTensor]) -> Vec<OwnedArg> {
    tensors.iter().map(|&t| OwnedArg::Tensor(t.clone())).collect()
}

/// `c = a @ b` in a file of the examples.
fn plain(file: &str, kernel: &str, ty: ScalarType, [m, n, k]: [i64; 3], extras: &'static [super::Extra]) -> Subject {
    let (a, b) = (normal(ty, &[m, k], 1), normal(ty, &[k, n], 2));
    let sums = products(&floats(&a), &transposed(&floats(&b), n as usize), sizes([m, n, k]), |_, _, _| 1.0);
    let mut args = given(&[&a, &b]);
    args.push(blank(ty, &[m, n]));
    let expected = vec![(2, allowed(&sums, ty, k))];
    let name = format!("{file} {kernel} {ty} {m} x {n} x {k}");
    Subject { name, kernel: example(file, kernel), make: fixed(args, expected), extras }
}

fn linear_gelu(ty: ScalarType, [m, n, k]: [i64; 3], with_bias: bool) -> Subject {
    let (x, w, bias) = (normal(ty, &[m, k], 1), normal(ty, &[n, k], 2), normal(ty, &[n], 3));
    let mut sums = products(&floats(&x), &floats(&w), sizes([m, n, k]), |_, _, _| 1.0);
    let of_bias = floats(&bias);
    for (i, value) in sums.iter_mut().enumerate() {
        let bias = if with_bias { of_bias[i % n as usize] } else { 0.0 };
        // Its steepest slope is 1.13.
        *value = [gelu(value[0] + bias), 1.13 * (value[1] + bias.abs())];
    }
    let mut args = given(&[&x, &w]);
    args.push(if with_bias { OwnedArg::Tensor(bias) } else { OwnedArg::Absent });
    args.push(blank(ty, &[m, n]));
    let expected = vec![(3, allowed(&sums, ty, k))];
    let name = format!("linear_gelu {ty} {m} x {n} x {k} bias {with_bias}");
    Subject { name, kernel: example("matmul/matmul.kiln", "linear_gelu"), make: fixed(args, expected), extras: PROGRAMS }
}

fn fused(name: &str) -> Kernel {
    example("matmul/fused.kiln", name)
}

/// 8-bit floats with a scale for each tensor, and with scales of blocks.
fn eight_bits([m, n, k]: [i64; 3], of: ScalarType) -> [Subject; 2] {
    let ty = ScalarType::BF16;
    let (x, w) = (normal(of, &[m, k], 1), normal(of, &[n, k], 2));
    let blocks = |extent: i64| (extent + 127) / 128;
    let positive = |dims: &[i64], seed: u64| {
        let mut random = Random(seed);
        tensor(ScalarType::F32, dims, || random.number().abs() + 0.1)
    };
    let (of_x, of_w) = (positive(&[m, blocks(k)], 3), positive(&[blocks(n), blocks(k)], 4));
    let (sx, sw, deep) = (floats(&of_x), floats(&of_w), blocks(k) as usize);
    let (vx, vw, dims) = (floats(&x), floats(&w), sizes([m, n, k]));
    let one = allowed(&products(&vx, &vw, dims, |_, _, _| 0.125), ty, k);
    let many = allowed(&products(&vx, &vw, dims, |i, j, l| sx[i * deep + l / 128] * sw[j / 128 * deep + l / 128]), ty, k);
    let mut args = given(&[&x, &w]);
    args.extend([blank(ty, &[m, n]), OwnedArg::Number(Number::Float(0.5)), OwnedArg::Number(Number::Float(0.25))]);
    let mut of_blocks = given(&[&x, &of_x, &w, &of_w]);
    of_blocks.push(blank(ty, &[m, n]));
    let title = |name: &str| format!("{name} {of} {m} x {n} x {k}");
    [
        Subject { name: title("linear_f8"), kernel: fused("linear_f8"), make: fixed(args, vec![(2, one)]), extras: PROGRAMS },
        Subject {
            name: title("linear_f8_blocks"),
            kernel: fused("linear_f8_blocks"),
            make: fixed(of_blocks, vec![(4, many)]),
            extras: PROGRAMS,
        },
    ]
}

/// Rows in blocks of the configuration, one of which is left as it is.
fn grouped([n, k]: [i64; 2]) -> Subject {
    let ty = ScalarType::BF16;
    let experts: [i64; 4] = [2, -1, 0, 2];
    let w = normal(ty, &[3, n, k], 2);
    let make = move |config: &Config| {
        let rows = config.0.get("BM").copied().unwrap_or(128);
        let m = rows * experts.len() as i64;
        let x = normal(ty, &[m, k], 1);
        let y = tensor(ty, &[m, n], || 7.0);
        let mut numbers = experts.iter();
        let expert = tensor(ScalarType::I32, &[4], || *numbers.next().expect("four") as f64);
        let (vx, vw) = (floats(&x), floats(&w));
        let mut expected = vec![];
        for (block, &e) in experts.iter().enumerate() {
            let part = &vx[block * (rows * k) as usize..][..(rows * k) as usize];
            match usize::try_from(e) {
                Ok(e) => {
                    let of_expert = &vw[e * (n * k) as usize..][..(n * k) as usize];
                    expected.extend(allowed(&products(part, of_expert, sizes([rows, n, k]), |_, _, _| 1.0), ty, k).iter());
                }
                Err(_) => expected.extend(std::iter::repeat_n([7.0, 0.0], (rows * n) as usize)),
            }
        }
        let mut args = given(&[&x, &w, &expert]);
        args.push(OwnedArg::Tensor(y));
        Case { args, expected: vec![(3, Arc::new(expected))] }
    };
    let name = format!("linear_grouped {n} x {k}");
    Subject { name, kernel: fused("linear_grouped"), make: Box::new(make), extras: PROGRAMS }
}

/// A layer in tf32, which no example has.
const IN_TF32: &str = "
#[tune(BM = [64, 128], BN = [64, 128, 256], BK = [16, 32, 64], warps = [4, 8], stages = [2, 4])]
kernel linear_tf32<const BM: int = 128, const BN: int = 128, const BK: int = 32>(
    x: tensor<f32, [M, K]>, w: tensor<f32, [N, K]>, y: mut tensor<f32, [M, N]>,
) grid [cdiv(M, BM), cdiv(N, BN)] {
    let (m, n) = (program_id(0) * BM, program_id(1) * BN);
    let mut acc = zeros::<f32>([BM, BN]);
    for k in (0..K).step_by(BK) {
        acc = dot(x[m..+BM, k..+BK], trans(w[n..+BN, k..+BK]), acc, precision = tf32);
    }
    y[m..+BM, n..+BN] = acc;
}
";

/// A finite f32 rounded to 10 bits of mantissa, to nearest even. Cutting bits off is off by a thousandth of most sums, which is far beyond what is allowed.
fn tf32(value: &f64) -> f64 {
    let bits = (*value as f32).to_bits();
    f64::from(f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & 0xffff_e000))
}

fn linear_tf32([m, n, k]: [i64; 3]) -> Subject {
    let ty = ScalarType::F32;
    let (x, w) = (normal(ty, &[m, k], 1), normal(ty, &[n, k], 2));
    let rounded = |tensor: &AnyTensor| floats(tensor).iter().map(tf32).collect::<Vec<f64>>();
    let sums = products(&rounded(&x), &rounded(&w), sizes([m, n, k]), |_, _, _| 1.0);
    let mut args = given(&[&x, &w]);
    args.push(blank(ty, &[m, n]));
    let options = ProgramOptions::without_cache();
    let program = Program::from_source_with("tf32.kiln", IN_TF32, options).unwrap_or_else(|e| panic!("{e}"));
    let kernel = program.kernel("linear_tf32").unwrap_or_else(|e| panic!("{e}"));
    let name = format!("linear_tf32 {m} x {n} x {k}");
    Subject { name, kernel, make: fixed(args, vec![(2, allowed(&sums, ty, k))]), extras: PROGRAMS }
}

/// The sums of squares have a column for each tile.
fn residual([m, n, k]: [i64; 3], with_bias: bool) -> Subject {
    let ty = ScalarType::BF16;
    let (x, w) = (normal(ty, &[m, k], 1), normal(ty, &[n, k], 2));
    let (bias, rest) = (normal(ty, &[n], 3), normal(ty, &[m, n], 4));
    let mut sums = products(&floats(&x), &floats(&w), sizes([m, n, k]), |_, _, _| 1.0);
    let (of_bias, of_rest) = (floats(&bias), floats(&rest));
    for (i, value) in sums.iter_mut().enumerate() {
        let bias = if with_bias { of_bias[i % n as usize] } else { 0.0 };
        *value = [of_rest[i] + gelu(value[0] + bias), of_rest[i].abs() + 1.13 * (value[1] + bias.abs())];
    }
    let of_y = allowed(&sums, ty, k);
    let make = move |config: &Config| {
        let wide = config.0.get("BN").copied().unwrap_or(128);
        let tiles = (n + wide - 1) / wide;
        let mut squares = vec![[0.0; 2]; (m * tiles) as usize];
        for (i, [value, size]) in sums.iter().enumerate() {
            let (row, column) = (i / n as usize, i % n as usize);
            let square = &mut squares[row * tiles as usize + column / wide as usize];
            let off = size * 2.0f64.powi(-23) * (2.0 * (k as f64).sqrt() + 8.0);
            *square = [square[0] + value * value, square[1] + 2.0 * value.abs() * off + value * value * 1e-6];
        }
        let bias = if with_bias { OwnedArg::Tensor(bias.clone()) } else { OwnedArg::Absent };
        let mut args = given(&[&x, &w]);
        args.extend([bias, OwnedArg::Tensor(rest.clone()), blank(ty, &[m, n]), blank(ScalarType::F32, &[m, tiles])]);
        Case { args, expected: vec![(4, of_y.clone()), (5, Arc::new(squares))] }
    };
    let name = format!("linear_residual {m} x {n} x {k} bias {with_bias}");
    Subject { name, kernel: fused("linear_residual"), make: Box::new(make), extras: PROGRAMS }
}

/// A layer of the sentence encoder, whose width and depth are constants.
fn encoder_linear([m, n, k]: [i64; 3]) -> Subject {
    let ty = ScalarType::F16;
    let (x, w, bias) = (normal(ty, &[m, k], 1), normal(ty, &[k, n], 2), normal(ty, &[n], 3));
    let mut sums = products(&floats(&x), &transposed(&floats(&w), n as usize), sizes([m, n, k]), |_, _, _| 1.0);
    let of_bias = floats(&bias);
    for (i, value) in sums.iter_mut().enumerate() {
        let bias = of_bias[i % n as usize];
        *value = [value[0] + bias, value[1] + bias.abs()];
    }
    let mut args = given(&[&x, &w, &bias]);
    args.push(blank(ty, &[m, n]));
    let expected = vec![(3, allowed(&sums, ty, k))];
    let name = format!("minilm linear {m} x {n} x {k}");
    Subject { name, kernel: example("minilm/minilm.kiln", "linear"), make: fixed(args, expected), extras: PROGRAMS }
}

/// Every product of the examples that has a space, and one in tf32.
pub(super) fn subjects() -> Vec<Subject> {
    let (f16, bf16, f32) = (ScalarType::F16, ScalarType::BF16, ScalarType::F32);
    let file = "matmul/matmul.kiln";
    let mut list = vec![
        plain(file, "matmul", bf16, EVEN, PROGRAMS),
        plain(file, "matmul", f16, ODD, PROGRAMS),
        plain(file, "matmul", f32, ODD, PLAIN),
        linear_gelu(f16, EVEN, true),
        linear_gelu(bf16, ODD, false),
        grouped([264, 136]),
        grouped([75, 130]),
        residual(EVEN, true),
        residual(ODD, false),
        encoder_linear([70, 200, 136]),
        linear_tf32(EVEN),
        linear_tf32(ODD),
        plain("tuning/tuning.kiln", "matmul", f16, [100, 136, 200], PLAIN),
    ];
    list.extend(eight_bits([200, 504, 272], ScalarType::F8E4M3));
    list.extend(eight_bits(ODD, ScalarType::F8E5M2));
    list
}
