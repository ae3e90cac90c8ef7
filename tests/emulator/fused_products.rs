//! Products with scales, groups and epilogues (`dsl-examples/matmul/fused.kiln`) on warpgroups, without them and on the CPU, against sums in f64.

use kiln::{Element, F8E4M3, F8E5M2, Kernel, Tensor, bf16};

use super::attention::example;
use super::device;

/// Devices, each for a launch in turn; every schedule of asynchronous operations comes up for every kernel.
const DEVICES: [&str; 6] = [
    "emulator:sm_90a,eager",
    "emulator:sm_90a,lazy",
    "emulator:sm_90a,random=1",
    "emulator:sm_90a,lazy-random=2",
    "emulator:sm_80",
    "cpu",
];

fn fused(name: &str, tile: [i64; 2], warps: i64) -> Kernel {
    let kernel = example("matmul/fused.kiln", name).constant("BM", tile[0]).constant("BN", tile[1]);
    kernel.schedule("warps", &[warps]).schedule("stages", &[3])
}

/// Numbers between -2 and 2 in an order without a period, as they are in a type of so many bits of fraction.
fn numbers(len: i64, seed: u64) -> impl Iterator<Item = f32> {
    (0..len as u64).map(move |i| {
        let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ seed.wrapping_mul(0xd1b5_4a32_d192_ed03));
        ((mixed >> 40) as f32 / (1u64 << 22) as f32) - 2.0
    })
}

fn tensor<T: Element>(dims: &[i64], seed: u64, make: impl Fn(f32) -> T) -> Tensor<T> {
    Tensor::from_vec(numbers(dims.iter().product(), seed).map(make).collect(), dims).expect("a tensor")
}

fn floats(t: &Tensor<bf16>) -> Vec<f64> {
    t.to_vec().expect("values").into_iter().map(f64::from).collect()
}

/// `found` against sums of products; each comes with the sum of its terms' sizes.
fn compare(name: &str, found: &[f64], expected: &[[f64; 2]], step: f64) {
    assert_eq!(found.len(), expected.len(), "{name}");
    for (i, (found, [expected, spread])) in found.iter().zip(expected).enumerate() {
        let allowed = expected.abs() * step + spread * 2.0f64.powi(-20) + 1e-6;
        assert!((found - expected).abs() <= allowed, "{name}, element {i}: {found}, expected {expected}");
    }
}

/// Half a unit in the last place of bf16.
const BF16: f64 = 1.0 / 256.0;

/// `scale(row, column, k)` times what is at k.
fn products(x: &[f64], w: &[f64], [m, n, k]: [usize; 3], scale: impl Fn(usize, usize, usize) -> f64) -> Vec<[f64; 2]> {
    let mut out = Vec::with_capacity(m * n);
    for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
        let terms = || (0..k).map(|l| x[i * k + l] * w[j * k + l] * scale(i, j, l));
        out.push([terms().sum(), terms().map(f64::abs).sum()]);
    }
    out
}

fn eight_bits<X: Element + Copy>(make: fn(f32) -> X, value: fn(X) -> f32) {
    let wide = |t: &Tensor<X>| t.to_vec().expect("values").into_iter().map(|v| f64::from(value(v))).collect::<Vec<f64>>();
    for (number, (tile, warps, [m, n, k])) in [
        ([128, 128], 8, [200i64, 144i64, 272i64]),
        ([64, 128], 4, [64, 256, 128]),
        ([64, 64], 4, [70, 80, 400]),
        ([128, 64], 8, [128, 64, 640]),
        ([64, 64], 8, [64, 64, 16]),
        ([128, 128], 8, [130, 128, 256]),
    ]
    .into_iter()
    .enumerate()
    {
        let (x, w) = (tensor(&[m, k], 1, make), tensor(&[n, k], 2, make));
        let (row, column) = (k.div_euclid(128) + i64::from(k % 128 != 0), n.div_euclid(128) + i64::from(n % 128 != 0));
        let of_x = tensor(&[m, row], 3, |v| v.abs() + 0.1);
        let of_w = tensor(&[column, row], 4, |v| v.abs() + 0.1);
        let (sx, sw) = (of_x.to_vec().expect("values"), of_w.to_vec().expect("values"));
        let sizes = [m, n, k].map(|v| v as usize);
        let (one, blocks) = (fused("linear_f8", tile, warps), fused("linear_f8_blocks", tile, warps));
        // Every size on two devices.
        for on in [DEVICES[number], DEVICES[(number + 1) % DEVICES.len()]] {
            let (device, name) = (device(on), format!("{tile:?} {m} x {n} x {k} {on}"));
            let mut y = Tensor::<bf16>::zeros(&[m, n]).expect("a tensor");
            let launch = one.on(&device).arg(&x).arg(&w).arg(&mut y).arg(0.5f32).arg(0.25f32);
            launch.run().unwrap_or_else(|e| panic!("{name}: {e}"));
            compare(&format!("one scale {name}"), &floats(&y), &products(&wide(&x), &wide(&w), sizes, |_, _, _| 0.125), BF16);
            let launch = blocks.on(&device).arg(&x).arg(&of_x).arg(&w).arg(&of_w).arg(&mut y);
            launch.run().unwrap_or_else(|e| panic!("{name}: {e}"));
            let row = row as usize;
            let scale = |i: usize, j: usize, l: usize| f64::from(sx[i * row + l / 128]) * f64::from(sw[j / 128 * row + l / 128]);
            compare(&format!("blocks {name}"), &floats(&y), &products(&wide(&x), &wide(&w), sizes, scale), BF16);
        }
    }
}

#[test]
fn products_of_e4m3_with_scales() {
    eight_bits(F8E4M3::from_f32, F8E4M3::to_f32);
}

#[test]
fn products_of_e5m2_with_scales() {
    eight_bits(F8E5M2::from_f32, F8E5M2::to_f32);
}

#[test]
fn groups_of_rows_with_weights_of_their_own() {
    let (experts, n, k) = (3, 96, 136);
    let w = tensor(&[experts, n, k], 2, bf16::from_f32);
    for (number, (tile, warps, of_block)) in [
        ([64, 64], 4, vec![0, 2, 2, -1, 1]),
        ([128, 64], 8, vec![1, -1]),
        ([64, 32], 4, vec![2]),
        ([128, 128], 8, vec![0, 1, 2]),
        ([64, 64], 4, vec![1, 0]),
        ([64, 64], 4, vec![-1, 2]),
    ]
    .into_iter()
    .enumerate()
    {
        let m = tile[0] * of_block.len() as i64;
        let x = tensor(&[m, k], 1, bf16::from_f32);
        let expert = Tensor::from_vec(of_block.clone(), &[of_block.len() as i64]).expect("a tensor");
        let mut y = Tensor::<bf16>::from_vec(vec![bf16::from_f32(7.0); (m * n) as usize], &[m, n]).expect("a tensor");
        let (on, kernel) = (DEVICES[number], fused("linear_grouped", tile, warps));
        kernel.on(&device(on)).arg(&x).arg(&w).arg(&expert).arg(&mut y).run().unwrap_or_else(|e| panic!("{on}: {e}"));
        let (x, w) = (floats(&x), floats(&w));
        let size = [tile[0], n, k].map(|v| v as usize);
        let mut expected = vec![];
        for (block, &e) in of_block.iter().enumerate() {
            let rows = &x[block * size[0] * size[2]..][..size[0] * size[2]];
            expected.extend(match usize::try_from(e) {
                Ok(e) => products(rows, &w[e * size[1] * size[2]..][..size[1] * size[2]], size, |_, _, _| 1.0),
                Err(_) => vec![[7.0, 0.0]; size[0] * size[1]],
            });
        }
        compare(&format!("{tile:?} {on}"), &floats(&y), &expected, BF16);
    }
}

#[test]
fn a_residual_and_a_reduction_behind_a_product() {
    for (number, (tile, warps, [m, n, k], with_bias)) in [
        ([128, 128], 8, [200i64, 136i64, 72i64], true),
        ([64, 64], 4, [64, 128, 128], false),
        ([128, 64], 8, [130, 80, 200], true),
        ([64, 128], 4, [65, 128, 64], true),
        ([64, 64], 4, [64, 64, 64], false),
        ([128, 128], 8, [100, 200, 48], true),
    ]
    .into_iter()
    .enumerate()
    {
        let on = DEVICES[number];
        let (x, w) = (tensor(&[m, k], 1, bf16::from_f32), tensor(&[n, k], 2, |v| bf16::from_f32(v * 0.1)));
        let (bias, residual) = (tensor(&[n], 3, bf16::from_f32), tensor(&[m, n], 4, bf16::from_f32));
        let mut y = Tensor::<bf16>::zeros(&[m, n]).expect("a tensor");
        let tiles = (n + tile[1] - 1) / tile[1];
        let mut squares = Tensor::<f32>::zeros(&[m, tiles]).expect("a tensor");
        let kernel = fused("linear_residual", tile, warps);
        let device = device(on);
        let launch = kernel.on(&device).named("x", &x).named("w", &w).named("residual", &residual);
        let launch = if with_bias { launch.named("bias", &bias) } else { launch };
        launch.named("y", &mut y).named("squares", &mut squares).run().unwrap_or_else(|e| panic!("{on}: {e}"));
        let (bias, residual) = (floats(&bias), floats(&residual));
        let mut expected = products(&floats(&x), &floats(&w), [m, n, k].map(|v| v as usize), |_, _, _| 1.0);
        let (n, wide) = (n as usize, tile[1] as usize);
        let mut of_rows = vec![[0.0; 2]; (m * tiles) as usize];
        for (i, value) in expected.iter_mut().enumerate() {
            let inside = value[0] + if with_bias { bias[i % n] } else { 0.0 };
            // The tanh form, which std::activation's gelu is not: by the error function.
            let gelu = inside * 0.5 * (1.0 + libm::erf(inside / std::f64::consts::SQRT_2));
            value[0] = residual[i] + gelu;
            let sum = &mut of_rows[i / n * tiles as usize + i % n / wide];
            *sum = [sum[0] + value[0] * value[0], sum[1] + value[0] * value[0]];
        }
        compare(&format!("y {tile:?} {on}"), &floats(&y), &expected, BF16);
        let found: Vec<f64> = squares.to_vec().expect("values").into_iter().map(f64::from).collect();
        compare(&format!("squares {tile:?} {on}"), &found, &of_rows, 1e-5);
    }
}
