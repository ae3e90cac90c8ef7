//! 16-bit floating-point arithmetic, two values a register, against f64.

use half::{bf16, f16};

use crate::alu::{Case, N, check, gpu, run};
use crate::harness::noise;

tests! { half_floats }

pub fn h(bits: u32) -> f64 {
    f16::from_bits(bits as u16).to_f64()
}

fn b(bits: u32) -> f64 {
    bf16::from_bits(bits as u16).to_f64()
}

/// Both halves through `one`, rounded to f16.
fn halves(x: u32, y: u32, one: fn(f64, f64) -> f64) -> u32 {
    let round = |v: f64| if v.is_nan() { 0x7fff } else { u32::from(f16::from_f64(v).to_bits()) };
    round(one(h(x), h(y))) | round(one(h(x >> 16), h(y >> 16))) << 16
}

/// Both halves through `one`, rounded to bf16.
fn bhalves(x: u32, y: u32, one: fn(f64, f64) -> f64) -> u32 {
    let round = |v: f64| if v.is_nan() { 0x7fff } else { u32::from(bf16::from_f64(v).to_bits()) };
    round(one(b(x), b(y))) | round(one(b(x >> 16), b(y >> 16))) << 16
}

fn relu(v: f64) -> f64 {
    if v.is_nan() || v > 0.0 { v } else { 0.0 }
}

/// Maximum with -0 below +0.
fn max(x: f64, y: f64) -> f64 {
    if x == y && x.is_sign_negative() { y } else { x.max(y) }
}

fn half_floats() {
    check(&[
        ("hadd", |x, y| halves(x, y, |x, y| x + y)),
        ("hsub", |x, y| halves(x, y, |x, y| x - y)),
        ("hmul", |x, y| halves(x, y, |x, y| x * y)),
        ("hmul_sat", |x, y| halves(x, y, |x, y| if (x * y).is_nan() { 0.0 } else { (x * y).clamp(0.0, 1.0).abs() })),
        ("hfma", |x, y| halves(x, y, |x, y| x * y + x)),
        ("hfma_relu", |x, y| halves(x, y, |x, y| relu(x * y + x))),
        ("hmin", |x, y| halves(x, y, |x, y| -max(-x, -y))),
        ("hmax_nan", |x, y| halves(x, y, |x, y| if x.is_nan() || y.is_nan() { f64::NAN } else { max(x, y) })),
        ("hneg", |x, _| x ^ 0x8000_8000),
        ("habs", |x, _| x & 0x7fff_7fff),
        ("bmin", |x, y| bhalves(x, y, |x, y| -max(-x, -y))),
        ("bmax", |x, y| bhalves(x, y, max)),
        ("bneg", |x, _| x ^ 0x8000_8000),
        ("bmul", |x, y| bhalves(x, y, |x, y| x * y)),
    ]);
    // Sums of bf16 may need more than f64 has where exponents are far apart: compare on values that are close.
    let near = |seed| noise(seed, N).iter().map(|n| (n >> 20) as u32 & 0x83ff_83ff | 0x3c00_3c00).collect::<Vec<u32>>();
    let (x, y) = (near(7), near(8));
    let mut g = gpu();
    let cases: &[Case<u32>] = &[
        ("badd", |x, y| bhalves(x, y, |x, y| x + y)),
        ("bsub", |x, y| bhalves(x, y, |x, y| x - y)),
        ("bfma", |x, y| bhalves(x, y, |x, y| x * y + x)),
        ("bfma_relu", |x, y| bhalves(x, y, |x, y| relu(x * y + x))),
    ];
    for (kernel, want) in cases {
        let got = run(&mut g, kernel, &x, &y);
        (0..N).for_each(|i| assert_eq!(got[i], want(x[i], y[i]), "{kernel}({:#x}, {:#x})", x[i], y[i]));
    }
    // Approximations: within the manual's bounds (2^-9.9 relative for ex2.f16, 2^-10.987 absolute for tanh.f16, 2^-7 for ex2.bf16).
    let close =
        |kernel: &str, got: f64, want: f64, bound: f64| assert!((got - want).abs() <= bound, "{kernel}: {got} is not {want}");
    for (i, got) in run(&mut g, "hex2", &x, &y).into_iter().enumerate() {
        close("hex2", h(got), h(x[i]).exp2(), h(x[i]).exp2() / 512.0);
        close("hex2", h(got >> 16), h(x[i] >> 16).exp2(), h(x[i] >> 16).exp2() / 512.0);
    }
    for (i, got) in run(&mut g, "htanh", &x, &y).into_iter().enumerate() {
        close("htanh", h(got), h(x[i]).tanh(), 1.0 / 1024.0);
    }
    for (i, got) in run(&mut g, "bex2", &x, &y).into_iter().enumerate() {
        close("bex2", b(got), b(x[i]).exp2(), b(x[i]).exp2() / 128.0);
    }
}
