//! `dot` for every input type and precision, extents from 1 to odd sizes beyond a register block, transposed and batched; `dot_scaled` in its formats.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::{Array, Bound};
use kiln_tests::case::{Arg, Case, Expected, Placement, Random, wrap};
use kiln_tests::scalar::{Num, decode};

use super::reductions::{held, tile_case};

const EXTENTS: [(usize, usize, usize); 8] =
    [(1, 1, 1), (2, 3, 4), (16, 16, 16), (7, 33, 5), (33, 17, 50), (64, 96, 32), (1, 80, 64), (50, 1, 9)];

fn values(ty: ScalarType, count: usize, seed: &str) -> Vec<Num> {
    let mut random = Random::new(&format!("{seed} {ty} {count}"));
    let list: Vec<Num> = (0..count)
        .map(|_| if ty.is_float() { Num::Float(random.float(-1.0, 1.0)) } else { Num::Int(random.int(-128, 127)) })
        .collect();
    held(ty, &list)
}

/// `a @ b + c` exactly, and the sum of magnitudes a rounding bound is relative to.
fn product(a: &[Num], b: &[Num], c: Option<&[Num]>, (m, n, k): (usize, usize, usize)) -> (Vec<Num>, f64) {
    let mut out = Vec::new();
    let mut size = 0f64;
    for i in 0..m {
        for j in 0..n {
            let start = c.map(|c| c[i * n + j]);
            if let Num::Int(_) = a[0] {
                let sum: i128 = (0..k).map(|l| a[i * k + l].int() * b[l * n + j].int()).sum();
                out.push(Num::Int(wrap(I32, sum + start.map_or(0, |v| v.int()))));
            } else {
                let (mut sum, mut magnitude) = (start.map_or(0.0, |v| v.f64()), start.map_or(0.0, |v| v.f64().abs()));
                for l in 0..k {
                    let p = a[i * k + l].f64() * b[l * n + j].f64();
                    sum += p;
                    magnitude += p.abs();
                }
                size = size.max(magnitude);
                out.push(Num::Float(sum));
            }
        }
    }
    (out, size)
}

/// Half an ulp a step of accumulation in f32 (f64), relative to the sum of magnitudes, plus what the input precision loses of each product.
fn bound(ty: ScalarType, k: usize, size: f64, input: f64) -> Bound {
    match ty {
        F64 => Bound::Near { relative: 0.0, absolute: (k + 2) as f64 * f64::EPSILON / 2.0 * size },
        _ if ty.is_float() => {
            Bound::Near { relative: 0.0, absolute: ((k + 2) as f64 * f64::from(f32::EPSILON) / 2.0 + 2.0 * input) * size }
        }
        _ => Bound::Exact,
    }
}

pub fn cases() -> Vec<Case> {
    let mut list = Vec::new();
    for ty in [F16, BF16, F32, F64, F8E4M3, F8E5M2, I8] {
        for extents @ (m, n, k) in EXTENTS {
            let (a, b) = (values(ty, m * k, "a"), values(ty, k * n, "b"));
            let acc = ty.acc();
            let tag = format!("{ty}::{m}x{n}x{k}");
            let two = [(ty, vec![m, k], a.clone()), (ty, vec![k, n], b.clone())];
            let (exact, size) = product(&a, &b, None, extents);
            list.push(tile_case(
                format!("dot::plain::{tag}"),
                "dot(x, w)",
                &two,
                acc,
                &[m, n],
                exact.clone(),
                bound(ty, k, size, 0.0),
            ));
            let c = if ty.is_float() {
                values(acc, m * n, "c")
            } else {
                held(acc, &(0..m * n).map(|i| Num::Int(i as i128 * 7)).collect::<Vec<_>>())
            };
            let (with_c, size_c) = product(&a, &b, Some(&c), extents);
            let three = [(ty, vec![m, k], a.clone()), (ty, vec![k, n], b.clone()), (acc, vec![m, n], c)];
            list.push(tile_case(
                format!("dot::acc::{tag}"),
                "dot(x, w, v)",
                &three,
                acc,
                &[m, n],
                with_c,
                bound(ty, k, size_c, 0.0),
            ));
            // Both operands given transposed.
            let turned = |v: &[Num], rows: usize, cols: usize| -> Vec<Num> {
                (0..cols * rows).map(|i| v[(i % rows) * cols + i / rows]).collect()
            };
            let two_t = [(ty, vec![k, m], turned(&a, m, k)), (ty, vec![n, k], turned(&b, k, n))];
            list.push(tile_case(
                format!("dot::transposed::{tag}"),
                "dot(trans(x), trans(w))",
                &two_t,
                acc,
                &[m, n],
                exact.clone(),
                bound(ty, k, size, 0.0),
            ));
            if ty == F32 {
                // tf32 keeps 10 bits of mantissa; the split forms lose at most 2^-20 of a product.
                for (precision, input) in
                    [("ieee", 0.0), ("tf32", 2f64.powi(-11)), ("tf32x3", 2f64.powi(-20)), ("bf16x3", 2f64.powi(-15))]
                {
                    let expr = format!("dot(x, w, precision = {precision})");
                    list.push(tile_case(
                        format!("dot::{precision}::{tag}"),
                        &expr,
                        &two,
                        acc,
                        &[m, n],
                        exact.clone(),
                        bound(ty, k, size, input),
                    ));
                }
            }
        }
        let (m, n, k, batch) = (5, 6, 7, 3);
        let (a, b) = (values(ty, batch * m * k, "ba"), values(ty, batch * k * n, "bb"));
        let (mut exact, mut size) = (vec![], 0f64);
        for i in 0..batch {
            let (part, s) = product(&a[i * m * k..][..m * k], &b[i * k * n..][..k * n], None, (m, n, k));
            exact.extend(part);
            size = size.max(s);
        }
        let two = [(ty, vec![batch, m, k], a), (ty, vec![batch, k, n], b)];
        list.push(tile_case(
            format!("dot::batch::{ty}"),
            "dot(x, w)",
            &two,
            ty.acc(),
            &[batch, m, n],
            exact,
            bound(ty, k, size, 0.0),
        ));
    }
    list.push(tf32_rounds());
    list.extend(tf32_layers());
    list.extend(tiled());
    list.extend(scaled());
    list
}

/// tf32 must round its inputs: 1 + 2^-12 becomes 1, so a product that ieee keeps is lost.
fn tf32_rounds() -> Case {
    let x = vec![Num::Float(1.0 + 2f64.powi(-12))];
    let one = vec![Num::Float(1.0)];
    tile_case(
        "dot::tf32_rounds".into(),
        "dot(x, w, precision = tf32)",
        &[(F32, vec![1, 1], x), (F32, vec![1, 1], one.clone())],
        F32,
        &[1, 1],
        one,
        Bound::Exact,
    )
}

/// `x @ trans(w)` in tf32, of numbers three quarters on their way from one of tf32 to the next: cut off rather than rounded, they give other sums. Tails in every
/// dimension, rows that tensor copies take and such that they do not, operands in other memory orders.
fn tf32_layers() -> Vec<Case> {
    let source = "kernel k(x: tensor<f32, [M, K]>, w: tensor<f32, [N, K]>, y: mut tensor<f32, [M, N]>) grid [cdiv(M, 64), cdiv(N, 64)] {\n    \
         let (m, n) = (program_id(0) * 64, program_id(1) * 64);\n    let mut acc = zeros::<f32>([64, 64]);\n    \
         for k in (0..K).step_by(32) { acc = dot(x[m..+64, k..+32], trans(w[n..+64, k..+32]), acc, precision = tf32); }\n    y[m..+64, n..+64] = acc;\n}\n";
    let step = 2f64.powi(-10);
    let mut list = Vec::new();
    for (placement, name) in [(Placement::Dense, "dense"), (Placement::Transposed, "transposed"), (Placement::Spaced, "spaced")] {
        for (m, n, k) in [(70, 96, 80), (65, 33, 75), (64, 64, 32)] {
            let mut random = Random::new(&format!("tf32 {name} {m} {n} {k}"));
            let mut operand = |count: usize| -> [Vec<Num>; 2] {
                let (mut given, mut rounded) = (vec![], vec![]);
                for _ in 0..count {
                    let sign = if random.int(0, 1) == 0 { 1.0 } else { -1.0 };
                    let below = 1.0 + random.int(0, 1022) as f64 * step;
                    given.push(Num::Float(sign * (below + 0.75 * step)));
                    rounded.push(Num::Float(sign * (below + step)));
                }
                [given, rounded]
            };
            let ([x, near_x], [w, near_w]) = (operand(m * k), operand(n * k));
            let turned: Vec<Num> = (0..k * n).map(|i| near_w[i % n * k + i / n]).collect();
            let (exact, size) = product(&near_x, &turned, None, (m, n, k));
            let tensor = |shape: &[usize], v: &[Num]| Arg::Tensor { array: Array::new(F32, shape, v.iter().copied()), placement };
            list.push(Case {
                name: format!("dot::tf32_layers::{}{name}::{m}x{n}x{k}", if k % 4 == 0 { "" } else { "odd_" }),
                source: source.into(),
                args: vec![
                    tensor(&[m, k], &x),
                    tensor(&[n, k], &w),
                    Arg::Tensor { array: Array::zeros(F32, &[m, n]), placement },
                ],
                expected: vec![Expected { arg: 2, values: exact, bound: bound(F32, k, size, 0.0) }],
                cpu_only: None,
            });
        }
    }
    list
}

/// The twelve-line matmul, with tails in every dimension and operands in other memory orders.
fn tiled() -> Vec<Case> {
    let mut list = Vec::new();
    for ty in [F16, BF16, F32, F64, I8] {
        for (placement, name) in
            [(Placement::Dense, "dense"), (Placement::Transposed, "transposed"), (Placement::Spaced, "spaced")]
        {
            for (m, n, k) in [(40, 50, 60), (65, 33, 17), (1, 100, 31)] {
                let (a, b) = (values(ty, m * k, "ta"), values(ty, k * n, "tb"));
                let (exact, size) = product(&a, &b, None, (m, n, k));
                let acc = ty.acc();
                let source = format!(
                    "kernel k(a: tensor<{ty}, [M, K]>, b: tensor<{ty}, [K, N]>, c: mut tensor<{acc}, [M, N]>) grid [cdiv(M, 32), cdiv(N, 16)] {{\n    \
                     let (m, n) = (program_id(0) * 32, program_id(1) * 16);\n    let mut acc = zeros::<{acc}>([32, 16]);\n    \
                     for k in (0..K).step_by(8) {{ acc = dot(a[m..+32, k..+8], b[k..+8, n..+16], acc); }}\n    c[m..+32, n..+16] = acc;\n}}\n"
                );
                let tensor =
                    |ty, shape: &[usize], v: &[Num]| Arg::Tensor { array: Array::new(ty, shape, v.iter().copied()), placement };
                list.push(Case {
                    name: format!("dot::tiled::{ty}::{name}::{m}x{n}x{k}"),
                    source,
                    args: vec![
                        tensor(ty, &[m, k], &a),
                        tensor(ty, &[k, n], &b),
                        Arg::Tensor { array: Array::zeros(acc, &[m, n]), placement },
                    ],
                    expected: vec![Expected { arg: 2, values: exact, bound: bound(ty, k, size, 0.0) }],
                    cpu_only: None,
                });
            }
        }
    }
    list
}

/// e2m1: sign, two exponent bits, one mantissa bit (OCP Microscaling Formats 1.0, table 5).
fn e2m1(bits: u8) -> f64 {
    let magnitude = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0][usize::from(bits & 7)];
    if bits & 8 == 0 { magnitude } else { -magnitude }
}

fn scaled() -> Vec<Case> {
    let mut list = Vec::new();
    let (m, n, k) = (9, 13, 96);
    for (left, right) in [
        ("e2m1", "e4m3"),
        ("e4m3", "e2m1"),
        ("e2m1", "e2m1"),
        ("e4m3", "e5m2"),
        ("e5m2", "e4m3"),
        ("bf16", "e2m1"),
        ("f16", "e4m3"),
    ] {
        let mut random = Random::new(&format!("{left} {right}"));
        let mut operand = |format: &str, count: usize| -> (ScalarType, Vec<Num>, Vec<f64>) {
            match format {
                "e2m1" => {
                    let bytes: Vec<u8> = (0..count / 2).map(|_| random.bits() as u8).collect();
                    (
                        U8,
                        bytes.iter().map(|b| Num::Int(i128::from(*b))).collect(),
                        bytes.iter().flat_map(|b| [e2m1(b & 15), e2m1(b >> 4)]).collect(),
                    )
                }
                _ => {
                    let ty = match format {
                        "e4m3" => F8E4M3,
                        "e5m2" => F8E5M2,
                        "f16" => F16,
                        _ => BF16,
                    };
                    let v = held(ty, &(0..count).map(|_| Num::Float(random.float(-2.0, 2.0))).collect::<Vec<_>>());
                    (ty, v.clone(), v.iter().map(|v| v.f64()).collect())
                }
            }
        };
        // Packing is along K for both, so b is made as [N, K] and given transposed.
        let (ta, av, a) = operand(left, m * k);
        let (tb, bv, b) = operand(right, n * k);
        let mut scales = |count: usize| -> Vec<Num> { (0..count).map(|_| Num::Int(random.int(120, 132))).collect() };
        let (sa, sb) = (scales(m * k / 32), scales(n * k / 32));
        let factor = |s: &[Num], row: usize, l: usize| 2f64.powi(s[row * (k / 32) + l / 32].int() as i32 - 127);
        let (mut exact, mut size) = (vec![], 0f64);
        for i in 0..m {
            for j in 0..n {
                let products = (0..k).map(|l| a[i * k + l] * factor(&sa, i, l) * b[j * k + l] * factor(&sb, j, l));
                size = size.max(products.clone().map(f64::abs).sum());
                exact.push(Num::Float(products.sum()));
            }
        }
        let width = |format: &str| if format == "e2m1" { k / 2 } else { k };
        let tensor =
            |ty, shape: &[usize], v: Vec<Num>| Arg::Tensor { array: Array::new(ty, shape, v), placement: Placement::Dense };
        let (wa, wb) = (width(left), width(right));
        let source = format!(
            "kernel k(a: tensor<{ta}, [{m}, {wa}]>, sa: tensor<u8, [{m}, 3]>, b: tensor<{tb}, [{n}, {wb}]>, sb: tensor<u8, [{n}, 3]>, c: mut tensor<f32, [{m}, {n}]>) grid [1] {{\n    \
             c[0..+{m}, 0..+{n}] = dot_scaled(a[0..+{m}, 0..+{wa}], sa[0..+{m}, 0..+3], {left}, trans(b[0..+{n}, 0..+{wb}]), sb[0..+{n}, 0..+3], {right}, zeros::<f32>([{m}, {n}]));\n}}\n"
        );
        list.push(Case {
            name: format!("dot_scaled::{left}::{right}"),
            source,
            args: vec![
                tensor(ta, &[m, wa], av),
                tensor(U8, &[m, k / 32], sa),
                tensor(tb, &[n, wb], bv),
                tensor(U8, &[n, k / 32], sb),
                Arg::Tensor { array: Array::zeros(F32, &[m, n]), placement: Placement::Dense },
            ],
            expected: vec![Expected { arg: 4, values: exact, bound: bound(F32, k, size, 0.0) }],
            cpu_only: None,
        });
    }
    // The decoder of e4m3 is this crate's own: pin it to the published maximum.
    assert_eq!(decode(F8E4M3, &[0x7e]), Num::Float(448.0));
    list
}
