//! Reductions over every axis and over the whole tile, for every type: sum, prod, xor_sum, max, min, argmax, argmin, any, all, and closures.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::{Array, Bound};
use kiln_tests::case::{Arg, Case, Expected, Placement, wrap};
use kiln_tests::scalar::Num;

use super::elementwise::{FLOATS, INTS, samples};

/// Tile shapes reduced: one element, a long row, odd three dimensions.
pub const SHAPES: [&[usize]; 4] = [&[1], &[300], &[5, 33], &[3, 5, 7]];

/// Source and arguments of `y = expr` over one exact tile `x` (and `o` of the result's shape).
pub fn tile_case(
    name: String,
    expr: &str,
    inputs: &[(ScalarType, Vec<usize>, Vec<Num>)],
    out: ScalarType,
    out_shape: &[usize],
    values: Vec<Num>,
    bound: Bound,
) -> Case {
    let literal = |shape: &[usize]| shape.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    let slice = |shape: &[usize]| shape.iter().map(|d| format!("0..+{d}")).collect::<Vec<_>>().join(", ");
    let letters = ["x", "w", "v"];
    let params: Vec<String> =
        inputs.iter().zip(letters).map(|((ty, shape, _), l)| format!("{l}_: tensor<{ty}, [{}]>", literal(shape))).collect();
    let loads: String =
        inputs.iter().zip(letters).map(|((_, shape, _), l)| format!("    let {l} = {l}_[{}];\n", slice(shape))).collect();
    // A scalar result goes to a tensor of one element.
    let (stored, place) = if out_shape.is_empty() { (vec![1], "0".to_owned()) } else { (out_shape.to_vec(), slice(out_shape)) };
    let source = format!(
        "kernel k({}, y: mut tensor<{out}, [{}]>) grid [1] {{\n{loads}    y[{place}] = {expr};\n}}\n",
        params.join(", "),
        literal(&stored)
    );
    let mut args: Vec<Arg> = inputs
        .iter()
        .map(|(ty, shape, values)| Arg::Tensor {
            array: Array::new(*ty, shape, values.iter().copied()),
            placement: Placement::Dense,
        })
        .collect();
    args.push(Arg::Tensor { array: Array::zeros(out, &stored), placement: Placement::Dense });
    Case { name, source, expected: vec![Expected { arg: args.len() - 1, values, bound }], args, cpu_only: None }
}

/// What an array of `ty` holds of `values`.
pub fn held(ty: ScalarType, values: &[Num]) -> Vec<Num> {
    Array::new(ty, &[values.len()], values.iter().copied()).values()
}

/// The shape without `axis`, and for each of its elements the lanes along `axis` in order. `None` folds everything.
pub fn fibers(shape: &[usize], axis: Option<usize>, values: &[Num]) -> (Vec<usize>, Vec<Vec<Num>>) {
    let Some(axis) = axis else { return (vec![], vec![values.to_vec()]) };
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let mut rest = shape.to_vec();
    rest.remove(axis);
    let lanes = (0..outer * inner)
        .map(|i| (0..shape[axis]).map(|k| values[(i / inner * shape[axis] + k) * inner + i % inner]).collect())
        .collect();
    (rest, lanes)
}

/// Values small enough that products and sums stay finite.
fn moderate(ty: ScalarType, count: usize) -> Vec<Num> {
    let base = samples(ty, "reduce", false);
    (0..count)
        .map(|i| match base[(i * 5) % base.len()] {
            Num::Float(v) => Num::Float((v % 4.0) + if i % 2 == 0 { 0.25 } else { -0.5 }),
            int => int,
        })
        .collect()
}

pub fn cases() -> Vec<Case> {
    let mut list = Vec::new();
    for shape in SHAPES {
        let count: usize = shape.iter().product();
        let label = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        for axis in std::iter::once(None).chain((0..shape.len()).map(Some)) {
            let (arg, tag) = match axis {
                Some(a) => (format!(", axis = {a}"), format!("{label}::axis{a}")),
                None => (String::new(), format!("{label}::all")),
            };
            for ty in FLOATS.into_iter().chain(INTS) {
                let values = held(ty, &moderate(ty, count));
                let (rest, lanes) = fibers(shape, axis, &values);
                let input = [(ty, shape.to_vec(), values.clone())];
                let acc = ty.acc();
                // Any order of additions: n - 1 roundings, each of at most half an ulp of a partial sum bounded by the sum of magnitudes.
                for (name, product) in [("sum", false), ("prod", true)] {
                    let expected: Vec<Num> = lanes
                        .iter()
                        .map(|lane| {
                            if ty.is_float() {
                                Num::Float(if product {
                                    lane.iter().map(|v| v.f64()).product()
                                } else {
                                    lane.iter().map(|v| v.f64()).sum()
                                })
                            } else {
                                Num::Int(lane.iter().fold(i128::from(product), |a, v| {
                                    wrap(acc, if product { a.wrapping_mul(v.int()) } else { a + v.int() })
                                }))
                            }
                        })
                        .collect();
                    let epsilon = if acc == F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
                    let bound = if ty.is_float() {
                        let size = lanes.iter().map(|lane| lane.iter().map(|v| v.f64().abs()).sum::<f64>()).fold(0.0, f64::max);
                        let steps = (count as f64) * epsilon;
                        Bound::Near { relative: steps, absolute: if product { 1e-37 } else { steps * size } }
                    } else {
                        Bound::Exact
                    };
                    list.push(tile_case(
                        format!("reduce::{name}::{ty}::{tag}"),
                        &format!("{name}(x{arg})"),
                        &input,
                        acc,
                        &rest,
                        expected,
                        bound,
                    ));
                }
                for (name, larger) in [("max", true), ("min", false)] {
                    let pick = |lane: &Vec<Num>| {
                        lane.iter()
                            .copied()
                            .enumerate()
                            .reduce(|best, next| {
                                let better = match (best.1, next.1) {
                                    (Num::Int(a), Num::Int(b)) => {
                                        if larger {
                                            b > a
                                        } else {
                                            b < a
                                        }
                                    }
                                    (a, b) => {
                                        !a.f64().is_nan()
                                            && (b.f64().is_nan() || if larger { b.f64() > a.f64() } else { b.f64() < a.f64() })
                                    }
                                };
                                if better { next } else { best }
                            })
                            .expect("no lane is empty")
                    };
                    list.push(tile_case(
                        format!("reduce::{name}::{ty}::{tag}"),
                        &format!("{name}(x{arg})"),
                        &input,
                        ty,
                        &rest,
                        lanes.iter().map(|l| pick(l).1).collect(),
                        Bound::Exact,
                    ));
                    let mut with_nan = values.clone();
                    if ty.is_float() && count > 4 && ty != F8E5M2 {
                        with_nan[3] = Num::Float(f64::NAN);
                    }
                    let (_, nan_lanes) = fibers(shape, axis, &with_nan);
                    let nan_input = [(ty, shape.to_vec(), with_nan)];
                    list.push(tile_case(
                        format!("reduce::{name}_nan::{ty}::{tag}"),
                        &format!("{name}(x{arg})"),
                        &nan_input,
                        ty,
                        &rest,
                        nan_lanes.iter().map(|l| pick(l).1).collect(),
                        Bound::Exact,
                    ));
                    if axis.is_some() {
                        let at = nan_lanes.iter().map(|l| Num::Int(pick(l).0 as i128)).collect();
                        list.push(tile_case(
                            format!("reduce::arg{name}::{ty}::{tag}"),
                            &format!("arg{name}(x{arg})"),
                            &nan_input,
                            I32,
                            &rest,
                            at,
                            Bound::Exact,
                        ));
                    }
                }
                if !ty.is_float() {
                    let expected = lanes.iter().map(|lane| Num::Int(wrap(ty, lane.iter().fold(0, |a, v| a ^ v.int())))).collect();
                    list.push(tile_case(
                        format!("reduce::xor_sum::{ty}::{tag}"),
                        &format!("xor_sum(x{arg})"),
                        &input,
                        ty,
                        &rest,
                        expected,
                        Bound::Exact,
                    ));
                }
                if ty == F32 || ty == I32 {
                    // A closure that is no builtin combination, over a pair.
                    if let Some(a) = axis {
                        let expected = lanes
                            .iter()
                            .map(|lane| match ty {
                                F32 => Num::Float(f64::from(
                                    lane.iter().map(|v| v.f64()).fold(f64::MIN, f64::max) as f32
                                        - lane.iter().map(|v| v.f64()).fold(f64::MAX, f64::min) as f32,
                                )),
                                _ => Num::Int(wrap(
                                    I32,
                                    lane.iter().map(|v| v.int()).max().unwrap_or(0)
                                        - lane.iter().map(|v| v.int()).min().unwrap_or(0),
                                )),
                            })
                            .collect();
                        let mut case =
                            tile_case(format!("reduce::closure::{ty}::{tag}"), "d", &input, ty, &rest, expected, Bound::Exact);
                        let call = format!("reduce((x, x), axis = {a}, |(a, b), (c, d)| (min(a, c), max(b, d)))");
                        case.source =
                            case.source.replace("    y[", &format!("    let (lo, hi) = {call};\n    let d = hi - lo;\n    y["));
                        list.push(case);
                    }
                }
            }
            let flags: Vec<Num> = (0..count).map(|i| Num::Int(i128::from(i % 7 == 2))).collect();
            let (rest, lanes) = fibers(shape, axis, &flags);
            let input = [(Bool, shape.to_vec(), flags)];
            let number = |lane: &Vec<Num>| lane.iter().filter(|v| v.int() != 0).count();
            let any = lanes.iter().map(|l| Num::Int(i128::from(number(l) > 0))).collect();
            list.push(tile_case(
                format!("reduce::any::bool::{tag}"),
                &format!("any(x{arg})"),
                &input,
                Bool,
                &rest,
                any,
                Bound::Exact,
            ));
            let all = lanes.iter().map(|l| Num::Int(i128::from(number(l) == l.len()))).collect();
            list.push(tile_case(
                format!("reduce::all::bool::{tag}"),
                &format!("all(x{arg})"),
                &input,
                Bool,
                &rest,
                all,
                Bound::Exact,
            ));
            let sum = lanes.iter().map(|l| Num::Int(number(l) as i128)).collect();
            list.push(tile_case(
                format!("reduce::sum::bool::{tag}"),
                &format!("sum(x{arg})"),
                &input,
                I32,
                &rest,
                sum,
                Bound::Exact,
            ));
        }
    }
    list
}
