//! Builtins that move or count lanes: prefix combinations, sort, topk, histogram, gather, flip.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::Bound;
use kiln_tests::case::{Case, Random, wrap};
use kiln_tests::scalar::{Num, round_float};

use super::elementwise::{FLOATS, INTS, samples};
use super::reductions::{SHAPES, fibers, held, tile_case};

/// Puts fibers back into row-major order.
fn unfiber(shape: &[usize], axis: usize, lanes: &[Vec<Num>]) -> Vec<Num> {
    let inner: usize = shape[axis + 1..].iter().product();
    let mut out = vec![Num::Int(0); shape.iter().product()];
    for (i, lane) in lanes.iter().enumerate() {
        for (k, v) in lane.iter().enumerate() {
            out[(i / inner * shape[axis] + k) * inner + i % inner] = *v;
        }
    }
    out
}

/// The sort order: ascending, NaN greatest.
fn order(a: Num, b: Num) -> std::cmp::Ordering {
    match (a, b) {
        (Num::Int(a), Num::Int(b)) => a.cmp(&b),
        (a, b) => {
            a.f64().is_nan().cmp(&b.f64().is_nan()).then(a.f64().partial_cmp(&b.f64()).unwrap_or(std::cmp::Ordering::Equal))
        }
    }
}

/// Positions in sorted order, stable.
fn sorted(lane: &[Num], descending: bool) -> Vec<usize> {
    let mut at: Vec<usize> = (0..lane.len()).collect();
    at.sort_by(|&i, &j| if descending { order(lane[j], lane[i]) } else { order(lane[i], lane[j]) });
    at
}

pub fn cases() -> Vec<Case> {
    let mut list = Vec::new();
    for shape in SHAPES {
        let count: usize = shape.iter().product();
        let label = shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        for axis in 0..shape.len() {
            let tag = format!("{label}::axis{axis}");
            for ty in FLOATS.into_iter().chain(INTS) {
                let mut random = Random::new("lanes");
                let base = samples(ty, "lanes", false);
                let values: Vec<Num> = (0..count)
                    .map(|i| {
                        if ty.is_float() {
                            Num::Float((random.float(-3.0, 3.0) * 4.0).round() / 4.0)
                        } else {
                            base[(i * 3) % base.len()]
                        }
                    })
                    .collect();
                let values = held(ty, &values);
                let (_, lanes) = fibers(shape, Some(axis), &values);
                let input = [(ty, shape.to_vec(), values.clone())];
                let acc = ty.acc();
                for (name, product) in [("cumsum", false), ("cumprod", true)] {
                    for reverse in [false, true] {
                        let scanned: Vec<Vec<Num>> = lanes
                            .iter()
                            .map(|lane| {
                                let n = lane.len();
                                let mut out = vec![Num::Int(0); n];
                                let (mut f, mut i) = (f64::from(u8::from(product)), i128::from(product));
                                for k in 0..n {
                                    let at = if reverse { n - 1 - k } else { k };
                                    let v = lane[at];
                                    (f, i) = if product {
                                        (f * v.f64(), wrap(I64, i.wrapping_mul(v.int())))
                                    } else {
                                        (f + v.f64(), i + v.int())
                                    };
                                    out[at] = if ty.is_float() { Num::Float(f) } else { Num::Int(wrap(acc, i)) };
                                }
                                out
                            })
                            .collect();
                        let expected = unfiber(shape, axis, &scanned);
                        let epsilon = if acc == F64 { f64::EPSILON } else { f64::from(f32::EPSILON) };
                        let n = shape[axis] as f64;
                        // Partial sums stay below 3 n; products may be large, and every step rounds once.
                        let bound = if ty.is_float() {
                            Bound::Near { relative: n * epsilon, absolute: if product { 1e-37 } else { n * n * 3.0 * epsilon } }
                        } else {
                            Bound::Exact
                        };
                        let flag = if reverse { ", reverse = true" } else { "" };
                        let dir = if reverse { "reverse" } else { "forward" };
                        list.push(tile_case(
                            format!("scan::{name}::{ty}::{tag}::{dir}"),
                            &format!("{name}(x, axis = {axis}{flag})"),
                            &input,
                            acc,
                            shape,
                            expected,
                            bound,
                        ));
                    }
                }
                let mut with_nan = values.clone();
                if ty.is_float() && count > 6 {
                    with_nan[2] = Num::Float(f64::NAN);
                    with_nan[5] = with_nan[4];
                }
                let (_, nan_lanes) = fibers(shape, Some(axis), &with_nan);
                let nan_input = [(ty, shape.to_vec(), with_nan.clone())];
                for descending in [false, true] {
                    let flag = if descending { ", descending = true" } else { "" };
                    let dir = if descending { "down" } else { "up" };
                    let ranks: Vec<Vec<usize>> = nan_lanes.iter().map(|l| sorted(l, descending)).collect();
                    let moved: Vec<Vec<Num>> =
                        nan_lanes.iter().zip(&ranks).map(|(l, r)| r.iter().map(|&i| l[i]).collect()).collect();
                    list.push(tile_case(
                        format!("sort::{ty}::{tag}::{dir}"),
                        &format!("sort(x, axis = {axis}{flag})"),
                        &nan_input,
                        ty,
                        shape,
                        unfiber(shape, axis, &moved),
                        Bound::Exact,
                    ));
                    // The payload shows stability: positions along the axis.
                    let positions: Vec<Vec<Num>> =
                        nan_lanes.iter().map(|l| (0..l.len()).map(|i| Num::Int(i as i128)).collect()).collect();
                    let payload = unfiber(shape, axis, &positions);
                    let out: Vec<Vec<Num>> = ranks.iter().map(|r| r.iter().map(|&i| Num::Int(i as i128)).collect()).collect();
                    let two = [(ty, shape.to_vec(), with_nan.clone()), (I32, shape.to_vec(), payload)];
                    let mut case = tile_case(
                        format!("sort::payload::{ty}::{tag}::{dir}"),
                        "at",
                        &two,
                        I32,
                        shape,
                        unfiber(shape, axis, &out),
                        Bound::Exact,
                    );
                    case.source =
                        case.source.replace("    y[", &format!("    let (_, at) = sort((x, w), axis = {axis}{flag});\n    y["));
                    list.push(case);
                }
                list.push(tile_case(
                    format!("flip::{ty}::{tag}"),
                    &format!("flip(x, axis = {axis})"),
                    &input,
                    ty,
                    shape,
                    unfiber(shape, axis, &lanes.iter().map(|l| l.iter().rev().copied().collect()).collect::<Vec<_>>()),
                    Bound::Exact,
                ));
                if axis + 1 == shape.len() {
                    for k in [1, shape[axis].div_ceil(2), shape[axis]] {
                        let mut out_shape = shape.to_vec();
                        out_shape[axis] = k;
                        let ranks: Vec<Vec<usize>> = nan_lanes.iter().map(|l| sorted(l, true)[..k].to_vec()).collect();
                        let best: Vec<Num> =
                            nan_lanes.iter().zip(&ranks).flat_map(|(l, r)| r.iter().map(|&i| l[i]).collect::<Vec<_>>()).collect();
                        let at: Vec<Num> = ranks.iter().flatten().map(|&i| Num::Int(i as i128)).collect();
                        for (part, ty_out, values) in [("values", ty, best), ("positions", I32, at)] {
                            let mut case = tile_case(
                                format!("topk::{part}::{ty}::{tag}::{k}"),
                                part,
                                &nan_input,
                                ty_out,
                                &out_shape,
                                values,
                                Bound::Exact,
                            );
                            case.source =
                                case.source.replace("    y[", &format!("    let (values, positions) = topk(x, {k});\n    y["));
                            list.push(case);
                        }
                    }
                }
                // Gather along an axis, some positions out of bounds.
                let wide = shape[axis];
                let index: Vec<Num> = (0..count).map(|i| Num::Int(((i * 5 + 1) % (wide + 2)) as i128 - 1)).collect();
                let (_, index_lanes) = fibers(shape, Some(axis), &index);
                let zero = if ty.is_float() { Num::Float(0.0) } else { Num::Int(0) };
                let picked: Vec<Vec<Num>> = lanes
                    .iter()
                    .zip(&index_lanes)
                    .map(|(l, ix)| {
                        ix.iter().map(|i| usize::try_from(i.int()).ok().and_then(|i| l.get(i).copied()).unwrap_or(zero)).collect()
                    })
                    .collect();
                let two = [(ty, shape.to_vec(), values.clone()), (I32, shape.to_vec(), index)];
                let call = if shape.len() == 1 { "gather(x, w)".to_owned() } else { format!("gather(x, w, axis = {axis})") };
                list.push(tile_case(
                    format!("gather::{ty}::{tag}"),
                    &call,
                    &two,
                    ty,
                    shape,
                    unfiber(shape, axis, &picked),
                    Bound::Exact,
                ));
            }
            // A scan with a closure over a pair: h[t] = a[t] h[t-1] + b[t].
            for reverse in [false, true] {
                let mut random = Random::new("recurrence");
                let a: Vec<Num> = (0..count).map(|_| Num::Float(f64::from(random.float(-1.0, 1.0) as f32))).collect();
                let b: Vec<Num> = (0..count).map(|_| Num::Float(f64::from(random.float(-1.0, 1.0) as f32))).collect();
                let (_, al) = fibers(shape, Some(axis), &a);
                let (_, bl) = fibers(shape, Some(axis), &b);
                let out: Vec<Vec<Num>> = al
                    .iter()
                    .zip(&bl)
                    .map(|(al, bl)| {
                        let n = al.len();
                        let mut h = 0.0;
                        let mut out = vec![Num::Float(0.0); n];
                        for k in 0..n {
                            let t = if reverse { n - 1 - k } else { k };
                            h = al[t].f64() * h + bl[t].f64();
                            out[t] = Num::Float(h);
                        }
                        out
                    })
                    .collect();
                let two = [(F32, shape.to_vec(), a), (F32, shape.to_vec(), b)];
                let bound = Bound::Near { relative: 1e-5, absolute: 1e-5 };
                let dir = if reverse { "reverse" } else { "forward" };
                let mut case = tile_case(
                    format!("scan::closure::f32::{tag}::{dir}"),
                    "h",
                    &two,
                    F32,
                    shape,
                    unfiber(shape, axis, &out),
                    bound,
                );
                let call =
                    format!("scan((x, w), axis = {axis}, reverse = {reverse}, |(a1, b1), (a2, b2)| (a1 * a2, a2 * b1 + b2))");
                case.source = case.source.replace("    y[", &format!("    let (_, h) = {call};\n    y["));
                list.push(case);
            }
        }
        for ty in INTS {
            let bins = 20usize;
            let values = held(ty, &(0..count).map(|i| Num::Int(((i * i + 3 * i) % 23) as i128)).collect::<Vec<_>>());
            let tally = |keep: &dyn Fn(usize) -> bool| -> Vec<Num> {
                (0..bins)
                    .map(
                        |b| Num::Int(values.iter().enumerate().filter(|(i, v)| keep(*i) && v.int() == b as i128).count() as i128),
                    )
                    .collect()
            };
            let input = [(ty, shape.to_vec(), values.clone())];
            list.push(tile_case(
                format!("histogram::{ty}::{label}"),
                "histogram(x, 20)",
                &input,
                I32,
                &[bins],
                tally(&|_| true),
                Bound::Exact,
            ));
            let flags: Vec<Num> = (0..count).map(|i| Num::Int(i128::from(i % 3 != 0))).collect();
            let two = [(ty, shape.to_vec(), values.clone()), (Bool, shape.to_vec(), flags)];
            list.push(tile_case(
                format!("histogram::mask::{ty}::{label}"),
                "histogram(x, 20, mask = w)",
                &two,
                I32,
                &[bins],
                tally(&|i| i % 3 != 0),
                Bound::Exact,
            ));
        }
    }
    // Lanes that a thread loads many of at once, with a mask that is computed.
    let x: Vec<Num> = (0..4096).map(|i| Num::Int((i * 7 + i / 9) % 20)).collect();
    let counts = (0..20).map(|bin| Num::Int(x[..1000].iter().filter(|v| v.int() == bin).count() as i128)).collect();
    let one = [(U8, vec![4096], x)];
    list.push(tile_case(
        "histogram::mask::wide".into(),
        "histogram(x, 20, mask = arange(0, 4096) < 1000)",
        &one,
        I32,
        &[20],
        counts,
        Bound::Exact,
    ));
    // Gather from a table of rank 1 with an index of another shape.
    for ty in FLOATS.into_iter().chain(INTS) {
        let table = held(
            ty,
            &(0..9)
                .map(
                    |i| if ty.is_float() { Num::Float(round_float(ty, f64::from(i) * 0.5)) } else { Num::Int(i128::from(i) * 3) },
                )
                .collect::<Vec<_>>(),
        );
        let index: Vec<Num> = (0..35).map(|i| Num::Int((i * 4 + 1) % 10)).collect();
        let zero = if ty.is_float() { Num::Float(0.0) } else { Num::Int(0) };
        let out = index.iter().map(|i| table.get(i.int() as usize).copied().unwrap_or(zero)).collect();
        let two = [(ty, vec![9], table), (U8, vec![5, 7], index)];
        list.push(tile_case(format!("gather::table::{ty}"), "gather(x, w)", &two, ty, &[5, 7], out, Bound::Exact));
        // One element, by a number that the launch gives; outside there is 0.
        for at in [0, 5, 8, 9, -1] {
            let table: Vec<Num> = two[0].2.clone();
            let value = usize::try_from(at).ok().and_then(|at| table.get(at)).copied().unwrap_or(zero);
            let index = vec![Num::Int(at)];
            let one = [(ty, vec![9], table), (I32, vec![1], index)];
            list.push(tile_case(
                format!("gather::one::{ty}::{at}"),
                "gather(x, w_[0])",
                &one,
                ty,
                &[],
                vec![value],
                Bound::Exact,
            ));
        }
    }
    list
}
