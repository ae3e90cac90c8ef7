//! Elementary functions: exact variants for every float type against f64 references, `fast::` variants in f32 with their stated looser bounds.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::Bound;
use kiln_tests::case::{Case, Random};
use kiln_tests::scalar::{Num, float_max};

use super::elementwise::{FLOATS, FRAMES, lanes_case, samples};

/// A function: its reference, its stated bound in ulp for f32 and f64, and the range random arguments come from.
type Entry = (&'static str, fn(f64) -> f64, f64, (f64, f64));

const FUNCTIONS: [Entry; 16] = [
    ("exp", f64::exp, 1.25, (-110.0, 95.0)),
    ("exp2", f64::exp2, 1.0, (-155.0, 130.0)),
    ("expm1", libm::expm1, 2.0, (-20.0, 90.0)),
    ("log", f64::ln, 1.0, (0.0, 100.0)),
    ("log2", f64::log2, 1.5, (0.0, 100.0)),
    ("log1p", libm::log1p, 2.0, (-1.0, 100.0)),
    ("sin", libm::sin, 2.5, (-100.0, 100.0)),
    ("cos", libm::cos, 2.5, (-100.0, 100.0)),
    ("tan", libm::tan, 4.0, (-100.0, 100.0)),
    ("tanh", libm::tanh, 2.0, (-12.0, 12.0)),
    ("erf", libm::erf, 2.0, (-5.0, 5.0)),
    ("sigmoid", sigmoid, 3.0, (-100.0, 100.0)),
    ("sqrt", f64::sqrt, 0.5, (0.0, 1000.0)),
    ("rsqrt", |x| 1.0 / x.sqrt(), 1.5, (0.0, 1000.0)),
    ("std::activation::silu", |x| x * sigmoid(x), 4.0, (-50.0, 50.0)),
    ("std::activation::softplus", |x| x.max(0.0) + libm::log1p((-x.abs()).exp()), 3.0, (-50.0, 50.0)),
];

fn sigmoid(x: f64) -> f64 {
    let e = (-x.abs()).exp();
    if x < 0.0 { e / (1.0 + e) } else { 1.0 / (1.0 + e) }
}

/// `fast::` functions: reference, relative and absolute bound, range.
type FastEntry = (&'static str, fn(f64) -> f64, f64, f64, (f64, f64));

const FAST: [FastEntry; 10] = [
    // x * log2(e) is rounded before ex2: |x| 2^-24 of relative error on top of ex2's own 2^-22, here for |x| up to 80.
    ("exp", f64::exp, 5.1e-6, 1e-37, (-80.0, 80.0)),
    ("exp2", f64::exp2, 4e-7, 1e-37, (-120.0, 120.0)),
    ("log", f64::ln, 4e-7, 4e-7, (1e-3, 1e6)),
    ("log2", f64::log2, 4e-7, 4e-7, (1e-3, 1e6)),
    ("sin", libm::sin, 0.0, 1e-5, (-6.0, 6.0)),
    ("cos", libm::cos, 0.0, 1e-5, (-6.0, 6.0)),
    ("tanh", libm::tanh, 1e-3, 1e-5, (-6.0, 6.0)),
    ("rsqrt", |x| 1.0 / x.sqrt(), 3e-7, 0.0, (1e-6, 1e6)),
    ("sqrt", f64::sqrt, 3e-7, 0.0, (1e-6, 1e6)),
    ("rcp", |x| 1.0 / x, 2e-7, 0.0, (1e-6, 1e6)),
];

/// Arguments for a function: limits and special values, a sweep over exponents, and random numbers of its range.
fn arguments(ty: ScalarType, name: &str, (lo, hi): (f64, f64)) -> Vec<Num> {
    let mut random = Random::new(name);
    let mut list: Vec<f64> = samples(ty, name, true).into_iter().map(Num::f64).collect();
    let top = float_max(ty).log2() as i32;
    for e in (-top..=top).step_by((top / 60).max(1) as usize) {
        list.push(2f64.powi(e) * random.float(1.0, 2.0));
        list.push(-2f64.powi(e) * random.float(1.0, 2.0));
    }
    list.extend((0..400).map(|_| random.float(lo, hi)));
    list.extend((0..100).map(|_| random.float(-1.0, 1.0)));
    // Neighbourhoods where cancellation bites.
    list.extend((0..60).map(|_| 1.0 + random.float(-1e-2, 1e-2)));
    list.extend((-20..20).map(|i| f64::from(i) * std::f64::consts::FRAC_PI_2));
    list.into_iter().map(Num::Float).collect()
}

pub fn cases() -> Vec<Case> {
    let mut list = Vec::new();
    for frame in &FRAMES {
        for ty in FLOATS {
            for (name, reference, ulps, range) in FUNCTIONS {
                // The reference itself may be off by one ulp of f64; narrow types add what f32's error is of their ulp.
                let bound = Bound::Ulp(match ty {
                    F64 => ulps + 1.0,
                    F32 => ulps,
                    _ => 0.5 + ulps / 1024.0,
                });
                let args = arguments(ty, name, range);
                let short = name.rsplit("::").next().unwrap_or(name);
                let mut case =
                    lanes_case(&format!("math::{short}::{ty}"), frame, &format!("{short}(a)"), &[(ty, args)], ty, bound, &|v| {
                        Num::Float(reference(v[0].f64()))
                    });
                if name.contains("::") {
                    case.source = format!("use {name};\n{}", case.source);
                }
                list.push(case);
            }
            let a = samples(ty, "pow a", true);
            let b: Vec<Num> = (0..a.len() * 3).map(|i| a[(i * 5 + 2) % a.len()]).collect();
            let bound = Bound::Ulp(match ty {
                F64 => 3.0,
                F32 => 1.0,
                _ => 0.501,
            });
            let mut random = Random::new("pow");
            let mut bases = a.clone();
            let mut exponents = b;
            for _ in 0..300 {
                bases.push(Num::Float(random.float(0.0, 20.0)));
                exponents.push(Num::Float(random.float(-20.0, 20.0)));
            }
            exponents.truncate(bases.len());
            list.push(lanes_case(
                &format!("math::pow::{ty}"),
                frame,
                "pow(a, b)",
                &[(ty, bases), (ty, exponents)],
                ty,
                bound,
                &|v| Num::Float(libm::pow(v[0].f64(), v[1].f64())),
            ));
        }
        for (name, reference, relative, absolute, (lo, hi)) in FAST {
            let mut random = Random::new(name);
            let args = (0..500).map(|_| Num::Float(random.float(lo, hi))).collect();
            list.push(lanes_case(
                &format!("fast::{name}::f32"),
                frame,
                &format!("fast::{name}(a)"),
                &[(F32, args)],
                F32,
                Bound::Near { relative, absolute },
                &|v| Num::Float(reference(v[0].f64())),
            ));
        }
    }
    list
}
