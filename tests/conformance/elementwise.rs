//! Operators and simple builtins lane by lane: arithmetic, comparison, logic, shifts, min and max, rounding, select, clamp, fma; and the frame that
//! all lane-by-lane families use.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::{Array, Bound};
use kiln_tests::case::{Arg, Case, Expected, Placement, Random, int_range, wrap};
use kiln_tests::scalar::{Num, float_max, round_float};

pub const FLOATS: [ScalarType; 6] = [F16, BF16, F32, F64, F8E4M3, F8E5M2];
pub const INTS: [ScalarType; 8] = [I8, I16, I32, I64, U8, U16, U32, U64];

/// A lane-by-lane case's shape: extents of the tensors, the tile, and how the operands lie in memory.
pub struct Frame {
    pub name: &'static str,
    pub dims: &'static [usize],
    pub tile: &'static [usize],
    pub placement: Placement,
}

/// One element, a tail in one dimension, three odd dimensions with tails, and strided operands.
pub const FRAMES: [Frame; 5] = [
    Frame { name: "1", dims: &[1], tile: &[1], placement: Placement::Dense },
    Frame { name: "tail", dims: &[1000], tile: &[256], placement: Placement::Dense },
    Frame { name: "3d", dims: &[5, 6, 9], tile: &[3, 5, 7], placement: Placement::Dense },
    Frame { name: "transposed", dims: &[13, 21], tile: &[8, 16], placement: Placement::Transposed },
    Frame { name: "spaced", dims: &[3, 50], tile: &[2, 32], placement: Placement::Spaced },
];

/// Builds a case of `y = expr` where the operands are called a, b, c.
pub fn lanes_case(
    name: &str,
    frame: &Frame,
    expr: &str,
    inputs: &[(ScalarType, Vec<Num>)],
    out: ScalarType,
    bound: Bound,
    reference: &dyn Fn(&[Num]) -> Num,
) -> Case {
    let rank = frame.dims.len();
    let dim_names = ["P", "Q", "R"];
    let dims = dim_names[..rank].join(", ");
    let grid: Vec<String> = (0..rank).map(|d| format!("cdiv({}, {})", dim_names[d], frame.tile[d])).collect();
    let index: Vec<String> = (0..rank).map(|d| format!("program_id({d}) * {t}..+{t}", t = frame.tile[d])).collect();
    let index = index.join(", ");
    let letters = ["a", "b", "c"];
    let params: Vec<String> = inputs.iter().zip(letters).map(|((ty, _), l)| format!("{l}_: tensor<{ty}, [{dims}]>")).collect();
    let loads: Vec<String> = inputs.iter().zip(letters).map(|(_, l)| format!("    let {l} = {l}_[{index}];\n")).collect();
    let source = format!(
        "kernel k({}, y: mut tensor<{out}, [{dims}]>) grid [{}] {{\n{}    y[{index}] = {expr};\n}}\n",
        params.join(", "),
        grid.join(", "),
        loads.concat()
    );
    let count: usize = frame.dims.iter().product();
    let lane = |values: &[Num], i: usize| values[i % values.len()];
    let mut args: Vec<Arg> = inputs
        .iter()
        .map(|(ty, values)| Arg::Tensor {
            array: Array::new(*ty, frame.dims, (0..count).map(|i| lane(values, i))),
            placement: frame.placement,
        })
        .collect();
    // What the kernel reads is what the arrays hold after rounding to their types.
    let held: Vec<Vec<Num>> = args
        .iter()
        .map(|arg| match arg {
            Arg::Tensor { array, .. } => array.values(),
            _ => unreachable!("lane-by-lane operands are tensors"),
        })
        .collect();
    let values = (0..count).map(|i| reference(&held.iter().map(|h| h[i]).collect::<Vec<_>>())).collect();
    args.push(Arg::Tensor { array: Array::zeros(out, frame.dims), placement: frame.placement });
    Case {
        name: format!("{name}::{}", frame.name),
        source,
        expected: vec![Expected { arg: args.len() - 1, values, bound }],
        args,
        cpu_only: None,
    }
}

/// Values of a type: its limits, zero, one, small and large numbers of both signs, then random ones; floats with infinities and NaN when `special`.
pub fn samples(ty: ScalarType, seed: &str, special: bool) -> Vec<Num> {
    let mut random = Random::new(&format!("{seed} {ty}"));
    if !ty.is_float() {
        let (lo, hi) = int_range(ty);
        let mut list: Vec<i128> = vec![0, 1, hi, lo, hi - 1, lo + 1, 2, 3, 7, 10, 63, 100];
        if lo < 0 {
            list.extend([-1, -2, -7, -100]);
        }
        list.retain(|v| (lo..=hi).contains(v));
        list.extend((0..23).map(|_| random.int(lo, hi)));
        list.extend((0..14).map(|_| random.int(lo.max(-20), hi.min(20))));
        return list.into_iter().map(Num::Int).collect();
    }
    let max = float_max(ty);
    let mut list = vec![0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, -0.0, max, -max, max / 2.0, 1.0 / max, 3.0, -7.0, 0.1];
    if special {
        list.extend([f64::INFINITY, f64::NEG_INFINITY, f64::NAN]);
    }
    list.extend((0..17).map(|_| random.float(-10.0, 10.0)));
    list.extend((0..11).map(|_| random.float(-1.0, 1.0) * max.min(1e4)));
    if special || ty != F8E5M2 {
        // f8 has no infinities to give: arrays of f8 saturate, which keeps the sample legal.
        list.dedup_by(|a, b| a.to_bits() == b.to_bits());
    }
    list.into_iter().map(Num::Float).collect()
}

/// The second operand's values: another order, so that pairs vary.
fn shuffled(values: &[Num], by: usize) -> Vec<Num> {
    (0..values.len()).map(|i| values[(i * 7 + by) % values.len()]).collect()
}

/// The language's integer operators, before wrapping.
fn int_op(op: &str, ty: ScalarType, a: i128, b: i128) -> i128 {
    let bits = i128::from(ty.bits());
    match op {
        "+" => a + b,
        "-" => a - b,
        "*" => a.wrapping_mul(b),
        "/" => {
            if b == 0 {
                0
            } else {
                a / b
            }
        }
        "%" => {
            if b == 0 {
                a
            } else {
                a % b
            }
        }
        "&" => a & b,
        "|" => a | b,
        "^" => a ^ b,
        "<<" => {
            if (0..bits).contains(&b) {
                a << b
            } else {
                0
            }
        }
        ">>" => {
            if (0..bits).contains(&b) {
                a >> b
            } else if a < 0 {
                -1
            } else {
                0
            }
        }
        other => panic!("no operator {other}"),
    }
}

/// The float type an operator computes in; its result is then rounded once.
fn computes_in(ty: ScalarType) -> ScalarType {
    if ty == F64 { F64 } else { F32 }
}

/// NaN-passing minimum and maximum.
fn extreme(a: f64, b: f64, larger: bool) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if larger {
        a.max(b)
    } else {
        a.min(b)
    }
}

pub fn cases() -> Vec<Case> {
    let mut list = Vec::new();
    for frame in &FRAMES {
        for ty in FLOATS {
            let a = samples(ty, "a", true);
            let b = shuffled(&a, 3);
            for op in ["+", "-", "*", "/", "%"] {
                list.push(lanes_case(
                    &format!("operator::{op}::{ty}"),
                    frame,
                    &format!("a {op} b"),
                    &[(ty, a.clone()), (ty, b.clone())],
                    ty,
                    Bound::Exact,
                    &|v| {
                        let (x, y) = (v[0].f64(), v[1].f64());
                        let exact = match op {
                            "+" => x + y,
                            "-" => x - y,
                            "*" => x * y,
                            "/" => x / y,
                            _ => x % y,
                        };
                        Num::Float(round_float(ty, round_float(computes_in(ty), exact)))
                    },
                ));
            }
            for (name, larger) in [("min", false), ("max", true)] {
                list.push(lanes_case(
                    &format!("builtin::{name}::{ty}"),
                    frame,
                    &format!("{name}(a, b)"),
                    &[(ty, a.clone()), (ty, b.clone())],
                    ty,
                    Bound::Exact,
                    &|v| Num::Float(extreme(v[0].f64(), v[1].f64(), larger)),
                ));
                list.push(lanes_case(
                    &format!("builtin::f{name}::{ty}"),
                    frame,
                    &format!("f{name}(a, b)"),
                    &[(ty, a.clone()), (ty, b.clone())],
                    ty,
                    Bound::Exact,
                    &|v| {
                        let (x, y) = (v[0].f64(), v[1].f64());
                        Num::Float(if larger { x.max(y) } else { x.min(y) })
                    },
                ));
            }
            for (name, f) in [
                ("abs", f64::abs as fn(f64) -> f64),
                ("floor", f64::floor),
                ("ceil", f64::ceil),
                ("round", f64::round_ties_even),
                ("trunc", f64::trunc),
                ("-", |x| -x),
            ] {
                let expr = if name == "-" { "-a".to_owned() } else { format!("{name}(a)") };
                list.push(lanes_case(
                    &format!("builtin::{name}::{ty}"),
                    frame,
                    &expr,
                    &[(ty, a.clone())],
                    ty,
                    Bound::Exact,
                    &|v| Num::Float(f(v[0].f64())),
                ));
            }
            let c = shuffled(&a, 5);
            if ty != F64 {
                list.push(lanes_case(
                    &format!("builtin::fma::{ty}"),
                    frame,
                    "fma(a, b, c)",
                    &[(ty, a.clone()), (ty, b.clone()), (ty, c.clone())],
                    ty,
                    Bound::Ulp(0.5002),
                    &|v| {
                        // Exact in f64 for f16 and f8; within 2^-29 ulp for f32 and bf16, hence the bound.
                        Num::Float(v[0].f64().mul_add(v[1].f64(), v[2].f64()))
                    },
                ));
            } else {
                list.push(lanes_case(
                    "builtin::fma::f64",
                    frame,
                    "fma(a, b, c)",
                    &[(ty, a.clone()), (ty, b.clone()), (ty, c.clone())],
                    ty,
                    Bound::Exact,
                    &|v| Num::Float(v[0].f64().mul_add(v[1].f64(), v[2].f64())),
                ));
            }
            list.push(lanes_case(
                &format!("builtin::clamp::{ty}"),
                frame,
                "clamp(a, -1.0, 2.0)",
                &[(ty, a.clone())],
                ty,
                Bound::Exact,
                &|v| {
                    let x = v[0].f64();
                    Num::Float(if x.is_nan() { x } else { x.clamp(-1.0, 2.0) })
                },
            ));
        }
        for ty in INTS {
            let a = samples(ty, "a", false);
            let b = shuffled(&a, 3);
            for op in ["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">>"] {
                list.push(lanes_case(
                    &format!("operator::{op}::{ty}"),
                    frame,
                    &format!("a {op} b"),
                    &[(ty, a.clone()), (ty, b.clone())],
                    ty,
                    Bound::Exact,
                    &|v| Num::Int(wrap(ty, int_op(op, ty, v[0].int(), v[1].int()))),
                ));
            }
            for (name, larger) in [("min", false), ("max", true)] {
                list.push(lanes_case(
                    &format!("builtin::{name}::{ty}"),
                    frame,
                    &format!("{name}(a, b)"),
                    &[(ty, a.clone()), (ty, b.clone())],
                    ty,
                    Bound::Exact,
                    &|v| {
                        let (x, y) = (v[0].int(), v[1].int());
                        Num::Int(if larger { x.max(y) } else { x.min(y) })
                    },
                ));
            }
            list.push(lanes_case(&format!("operator::!::{ty}"), frame, "!a", &[(ty, a.clone())], ty, Bound::Exact, &|v| {
                Num::Int(wrap(ty, !v[0].int()))
            }));
            if ty.is_signed_int() {
                list.push(lanes_case(
                    &format!("builtin::abs::{ty}"),
                    frame,
                    "abs(a)",
                    &[(ty, a.clone())],
                    ty,
                    Bound::Exact,
                    &|v| Num::Int(wrap(ty, v[0].int().abs())),
                ));
                list.push(lanes_case(&format!("operator::-::{ty}"), frame, "-a", &[(ty, a.clone())], ty, Bound::Exact, &|v| {
                    Num::Int(wrap(ty, -v[0].int()))
                }));
            }
            list.push(lanes_case(
                &format!("builtin::clamp::{ty}"),
                frame,
                "clamp(a, 2, 50)",
                &[(ty, a.clone())],
                ty,
                Bound::Exact,
                &|v| Num::Int(v[0].int().clamp(2, 50)),
            ));
            if [I32, U32, I64, U64].contains(&ty) {
                list.push(lanes_case(
                    &format!("builtin::umulhi::{ty}"),
                    frame,
                    "umulhi(a, b)",
                    &[(ty, a.clone()), (ty, b.clone())],
                    ty,
                    Bound::Exact,
                    &|v| {
                        // Two 64-bit factors of one sign domain: the product fits i128 signed, u128 unsigned.
                        let (x, y) = (v[0].int(), v[1].int());
                        let high = if ty.is_signed_int() {
                            (x * y) >> ty.bits()
                        } else {
                            ((x as u128 * y as u128) >> ty.bits()) as i128
                        };
                        Num::Int(wrap(ty, high))
                    },
                ));
            }
        }
        for ty in FLOATS.into_iter().chain(INTS).chain([Bool]) {
            let a = samples(ty, "a", ty.is_float());
            let b = shuffled(&a, 4);
            let all: &[&str] = if ty == Bool { &["==", "!="] } else { &["==", "!=", "<", "<=", ">", ">="] };
            for op in all {
                list.push(lanes_case(
                    &format!("operator::{op}::{ty}"),
                    frame,
                    &format!("a {op} b"),
                    &[(ty, a.clone()), (ty, b.clone())],
                    Bool,
                    Bound::Exact,
                    &|v| {
                        let order = match (v[0], v[1]) {
                            (Num::Int(x), Num::Int(y)) => Some(x.cmp(&y)),
                            (x, y) => x.f64().partial_cmp(&y.f64()),
                        };
                        Num::Int(i128::from(match *op {
                            "==" => order.is_some_and(|o| o.is_eq()),
                            "!=" => !order.is_some_and(|o| o.is_eq()),
                            "<" => order.is_some_and(|o| o.is_lt()),
                            "<=" => order.is_some_and(|o| o.is_le()),
                            ">" => order.is_some_and(|o| o.is_gt()),
                            _ => order.is_some_and(|o| o.is_ge()),
                        }))
                    },
                ));
            }
            let flags: Vec<Num> = (0..11).map(|i| Num::Int(i128::from(i % 3 == 0))).collect();
            list.push(lanes_case(
                &format!("builtin::select::{ty}"),
                frame,
                "select(c, a, b)",
                &[(ty, a.clone()), (ty, b.clone()), (Bool, flags)],
                ty,
                Bound::Exact,
                &|v| {
                    if v[2].int() != 0 { v[0] } else { v[1] }
                },
            ));
        }
        let a: Vec<Num> = (0..4).map(|i| Num::Int(i & 1)).collect();
        let b: Vec<Num> = (0..4).map(|i| Num::Int(i >> 1)).collect();
        for op in ["&&", "||", "&", "|", "^"] {
            list.push(lanes_case(
                &format!("operator::{op}::bool"),
                frame,
                &format!("a {op} b"),
                &[(Bool, a.clone()), (Bool, b.clone())],
                Bool,
                Bound::Exact,
                &|v| {
                    let (x, y) = (v[0].int(), v[1].int());
                    Num::Int(match op {
                        "&&" | "&" => x & y,
                        "||" | "|" => x | y,
                        _ => x ^ y,
                    })
                },
            ));
        }
        list.push(lanes_case("operator::!::bool", frame, "!a", &[(Bool, a.clone())], Bool, Bound::Exact, &|v| {
            Num::Int(1 - v[0].int())
        }));
    }
    list
}
