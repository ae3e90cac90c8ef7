//! Builtins of the launch, constants, random numbers and debugging.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::{Array, Bound};
use kiln_tests::case::{Arg, Case, Expected, Placement};
use kiln_tests::scalar::Num;

fn tensor(ty: ScalarType, shape: &[usize], values: Vec<Num>) -> Arg {
    Arg::Tensor { array: Array::new(ty, shape, values), placement: Placement::Dense }
}

fn zeros(ty: ScalarType, shape: &[usize]) -> Arg {
    Arg::Tensor { array: Array::zeros(ty, shape), placement: Placement::Dense }
}

fn ints(values: &[i128]) -> Vec<Num> {
    values.iter().map(|&v| Num::Int(v)).collect()
}

/// Philox 4x32-10 (Salmon et al. 2011), written from the paper: 10 rounds, Weyl constants between them.
fn philox(seed: u64, counter: u64) -> [u32; 4] {
    let mut c = [counter as u32, (counter >> 32) as u32, 0, 0];
    let mut k = [seed as u32, (seed >> 32) as u32];
    for round in 0..10 {
        if round > 0 {
            k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
        }
        let (p0, p1) = (0xD251_1F53u64 * u64::from(c[0]), 0xCD9E_8D57u64 * u64::from(c[2]));
        c = [(p1 >> 32) as u32 ^ c[1] ^ k[0], p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k[1], p0 as u32];
    }
    c
}

pub fn cases() -> Vec<Case> {
    // The published known answer for counter 0, key 0 (Random123's kat_vectors).
    assert_eq!(philox(0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
    let mut list = Vec::new();
    let mut push = |name: &str, source: String, args: Vec<Arg>, expected: Vec<(usize, Vec<Num>, Bound)>| {
        let expected = expected.into_iter().map(|(arg, values, bound)| Expected { arg, values, bound }).collect();
        list.push(Case { name: format!("launch::{name}"), source, args, expected, cpu_only: None });
    };
    let exact = |arg: usize, values: Vec<Num>| vec![(arg, values, Bound::Exact)];
    for rank in 1..=5usize {
        let extents = &[2usize, 3, 1, 4, 2][..rank];
        let total: usize = extents.iter().product();
        let names: Vec<String> = (0..rank).map(|d| format!("D{d}")).collect();
        let index: Vec<String> = (0..rank).map(|d| format!("program_id({d})")).collect();
        let linear = (0..rank).fold("0".to_owned(), |a, d| format!("({a}) * num_programs({d}) + program_id({d})"));
        let source = format!(
            "kernel k(y: mut tensor<i64, [{0}]>) grid [{0}] {{ y[{1}] = ({linear}) as i64; }}\n",
            names.join(", "),
            index.join(", ")
        );
        push(
            &format!("program_id::rank{rank}"),
            source,
            vec![zeros(I64, extents)],
            exact(0, (0..total as i128).map(Num::Int).collect()),
        );
    }
    push(
        "num_sms",
        "kernel k(y: mut tensor<i32, [N]>) grid [min(num_sms(), N)] {\n    for i in (program_id(0)..N).step_by(num_programs(0)) { y[i] = (num_sms() >= 1) as i32; }\n}\n".into(),
        vec![zeros(I32, &[37])],
        exact(0, vec![Num::Int(1); 37]),
    );
    push(
        "gather_of_one",
        "kernel k(x: tensor<i32, [37]>, at: tensor<i32, [N]>, y: mut tensor<i32, [N]>) grid [N] {\n    let i = program_id(0);\n    y[i] = gather(x[0..+37], at[i]);\n}\n".into(),
        vec![tensor(I32, &[37], (0..37).map(|i| Num::Int(i * i)).collect()), tensor(I32, &[5], ints(&[36, 0, 7, -1, 37])), zeros(I32, &[5])],
        exact(2, ints(&[1296, 0, 49, 0, 0])),
    );
    // A mask that is computed, of bytes that are loaded in vectors: 368 of 4096 lanes are there.
    push(
        "histogram_of_a_tail",
        "kernel k(x: tensor<u8, [N]>, y: mut tensor<i32, [256]>) grid [1] {\n    y[0..+256] = histogram(x[0..+4096], 256, mask = arange(0, 4096) < N);\n}\n".into(),
        vec![tensor(U8, &[368], (0..368).map(|i| Num::Int(i % 256)).collect()), zeros(I32, &[256])],
        exact(1, (0..256).map(|i| Num::Int(if i < 112 { 2 } else { 1 })).collect()),
    );
    push(
        "zero_grid",
        "kernel k(x: tensor<i32, [N]>, y: mut tensor<i32, [1]>) grid [N] { y[0] = 1; }\n".into(),
        vec![zeros(I32, &[0]), zeros(I32, &[1])],
        exact(1, ints(&[0])),
    );
    push(
        "cdiv_next_pow2",
        "kernel k(x: tensor<i32, [N]>, y: mut tensor<i32, [6]>) grid [1] {\n    const_like(y, N);\n}\nfn const_like(y: mut tensor<i32, [6]>, n: index) {\n    \
         (y[0], y[1], y[2]) = (cdiv(7, 2), cdiv(n, 4) as i32, cdiv(8, 8));\n    (y[3], y[4], y[5]) = (next_pow2(1), next_pow2(17), next_pow2(64));\n}\n"
            .into(),
        vec![zeros(I32, &[9]), zeros(I32, &[6])],
        exact(1, ints(&[4, 3, 1, 1, 32, 64])),
    );
    for (ty, max, min, bits) in [
        (I8, 127i128, -128i128, 8),
        (U16, 65535, 0, 16),
        (I32, i32::MAX.into(), i32::MIN.into(), 32),
        (I64, i64::MAX.into(), i64::MIN.into(), 64),
    ] {
        push(
            &format!("limits::{ty}"),
            format!(
                "kernel k(x: tensor<{ty}, [1]>, y: mut tensor<i64, [3]>) grid [1] {{ f(x, y); }}\nfn f<T: int>(x: tensor<T, [1]>, y: mut tensor<i64, [3]>) {{ (y[0], y[1], y[2]) = (T::MAX as i64, T::MIN as i64, T::BITS as i64); }}\n"
            ),
            vec![zeros(ty, &[1]), zeros(I64, &[3])],
            exact(1, ints(&[max, min, bits])),
        );
    }
    for (ty, max, eps) in [
        (F16, 65504.0, 2f64.powi(-10)),
        (F32, f64::from(f32::MAX), f64::from(f32::EPSILON)),
        (F8E4M3, 448.0, 0.125),
        (BF16, f64::from(half::bf16::MAX), 2f64.powi(-7)),
    ] {
        push(
            &format!("limits::{ty}"),
            format!(
                "kernel k(x: tensor<{ty}, [1]>, y: mut tensor<f64, [3]>) grid [1] {{ f(x, y); }}\nfn f<T: float>(x: tensor<T, [1]>, y: mut tensor<f64, [3]>) {{ (y[0], y[1], y[2]) = (T::MAX as f64, T::MIN as f64, T::EPS as f64); }}\n"
            ),
            vec![zeros(ty, &[1]), zeros(F64, &[3])],
            exact(1, vec![Num::Float(max), Num::Float(-max), Num::Float(eps)]),
        );
    }
    for (seed, first) in [(0u64, 0u64), (42, 1000), (0xdead_beef_1234_5678, (1 << 32) - 3)] {
        let source = (
            "kernel k(y: mut tensor<u32, [4, 7]>, r: mut tensor<u32, [7]>, u: mut tensor<f32, [7]>, n: mut tensor<f32, [7]>, seed: u64, first: i64) grid [1] {\n    \
             let at = first + arange(0, 7);\n    let (a, b, c, d) = philox(seed, at);\n    (y[0, 0..+7], y[1, 0..+7], y[2, 0..+7], y[3, 0..+7]) = (a, b, c, d);\n    \
             r[0..+7] = randint(seed, at);\n    u[0..+7] = rand(seed, at);\n    n[0..+7] = randn(seed, at);\n}\n"
        ).to_owned();
        let words: Vec<[u32; 4]> = (0..7).map(|i| philox(seed, first + i)).collect();
        let all = (0..28).map(|i| Num::Int(words[i % 7][i / 7].into())).collect();
        let uniform: Vec<f64> = words.iter().map(|w| f64::from(w[0] >> 8) / 16_777_216.0).collect();
        let normal = words
            .iter()
            .map(|w| {
                let u = (f64::from(w[0] >> 8) + 1.0) / 16_777_216.0;
                let angle = f64::from(w[1] >> 8) / 16_777_216.0 * std::f64::consts::TAU;
                Num::Float((-2.0 * u.ln()).sqrt() * angle.cos())
            })
            .collect();
        push(
            &format!("random::{seed:x}"),
            source,
            vec![
                zeros(U32, &[4, 7]),
                zeros(U32, &[7]),
                zeros(F32, &[7]),
                zeros(F32, &[7]),
                Arg::Scalar(U64, Num::Int(seed.into())),
                Arg::Scalar(I64, Num::Int(first.into())),
            ],
            vec![
                (0, all, Bound::Exact),
                (1, words.iter().map(|w| Num::Int(w[0].into())).collect(), Bound::Exact),
                (2, uniform.into_iter().map(Num::Float).collect(), Bound::Exact),
                (3, normal, Bound::Near { relative: 1e-5, absolute: 1e-6 }),
            ],
        );
    }
    push(
        "assume_and_assert",
        "kernel k(x: tensor<i32, [N]>, y: mut tensor<i32, [N]>, n: i32) grid [1] {\n    assume(n % 4 == 0);\n    assume(aligned(x.ptr(), 4));\n    static_assert(next_pow2(5) == 8, \"eight\");\n    \
         assert(x[0..+4] >= 0, \"negative\");\n    y[0..+4] = x[0..+4] * n;\n}\n"
            .into(),
        vec![tensor(I32, &[4], ints(&[1, 2, 3, 4])), zeros(I32, &[4]), Arg::Scalar(I32, Num::Int(8))],
        exact(1, ints(&[8, 16, 24, 32])),
    );
    push(
        "absent",
        "kernel k(x: tensor<i32, [N]>?, y: mut tensor<i32, [2]>, s: i32? ) grid [1] {\n    y[0] = if x.is_some() { 1 } else { 2 };\n    y[1] = if s.is_some() { s } else { -1 };\n}\n".into(),
        vec![Arg::Absent, zeros(I32, &[2]), Arg::Scalar(I32, Num::Int(9))],
        exact(1, ints(&[2, 9])),
    );
    list
}
