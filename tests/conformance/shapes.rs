//! Making and reshaping tiles: arange, zeros, full, broadcasting, `None`, parts of tiles, reshape, trans, permute, expand, join, split, interleave, cat.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::Bound;
use kiln_tests::case::Case;
use kiln_tests::scalar::Num;

use super::elementwise::{FLOATS, INTS, samples};
use super::reductions::{held, tile_case};

/// `count` values of a type.
fn numbers(ty: ScalarType, count: usize) -> Vec<Num> {
    let base = samples(ty, "shape", false);
    held(ty, &(0..count).map(|i| base[(i * 3 + i / base.len()) % base.len()]).collect::<Vec<_>>())
}

/// Row-major elements of `source` picked by a map from result coordinates to source coordinates.
fn pick(values: &[Num], shape: &[usize], out: &[usize], map: &dyn Fn(&[usize]) -> Vec<usize>) -> Vec<Num> {
    let total: usize = out.iter().product();
    (0..total)
        .map(|flat| {
            let mut rest = flat;
            let mut at = vec![0; out.len()];
            for d in (0..out.len()).rev() {
                at[d] = rest % out[d];
                rest /= out[d];
            }
            let from = map(&at);
            values[from.iter().zip(shape).fold(0, |a, (i, d)| a * d + i)]
        })
        .collect()
}

pub fn cases() -> Vec<Case> {
    let mut list = Vec::new();
    for ty in FLOATS.into_iter().chain(INTS).chain([Bool]) {
        let s = [3, 5, 7];
        let v = numbers(ty, 105);
        let x = [(ty, s.to_vec(), v.clone())];
        let mut add = |name: &str, expr: &str, out: &[usize], values: Vec<Num>| {
            list.push(tile_case(format!("shape::{name}::{ty}"), expr, &x, ty, out, values, Bound::Exact));
        };
        add("reshape", "reshape(x, [7, 15])", &[7, 15], v.clone());
        add("reshape_flat", "x.reshape([105])", &[105], v.clone());
        add("permute", "permute(x, [2, 0, 1])", &[7, 3, 5], pick(&v, &s, &[7, 3, 5], &|i| vec![i[1], i[2], i[0]]));
        add("part", "x[1..+2, :, 3..+4]", &[2, 5, 4], pick(&v, &s, &[2, 5, 4], &|i| vec![i[0] + 1, i[1], i[2] + 3]));
        add("index", "x[2, :, 1]", &[5], pick(&v, &s, &[5], &|i| vec![2, i[0], 1]));
        add("none", "reshape(x[:, None, :, :], [3, 5, 7])", &[3, 5, 7], v.clone());
        add("expand", "expand(x[:, None, :, 0], [3, 4, 5])", &[3, 4, 5], pick(&v, &s, &[3, 4, 5], &|i| vec![i[0], i[2], 0]));
        add("cat", "cat(x, x, axis = 1)", &[3, 10, 7], pick(&v, &s, &[3, 10, 7], &|i| vec![i[0], i[1] % 5, i[2]]));
        add(
            "join",
            "join(x, flip(x, axis = 0))",
            &[3, 5, 7, 2],
            pick(&v, &s, &[3, 5, 7, 2], &|i| vec![if i[3] == 0 { i[0] } else { 2 - i[0] }, i[1], i[2]]),
        );
        add(
            "interleave",
            "interleave(x, flip(x, axis = 0))",
            &[3, 5, 14],
            pick(&v, &s, &[3, 5, 14], &|i| vec![if i[2] % 2 == 0 { i[0] } else { 2 - i[0] }, i[1], i[2] / 2]),
        );
        add(
            "interleave_axis",
            "interleave(x, x, axis = 0)",
            &[6, 5, 7],
            pick(&v, &s, &[6, 5, 7], &|i| vec![i[0] / 2, i[1], i[2]]),
        );
        let m = numbers(ty, 12);
        let matrix = [(ty, vec![3, 4], m.clone())];
        list.push(tile_case(
            format!("shape::trans::{ty}"),
            "trans(x)",
            &matrix,
            ty,
            &[4, 3],
            pick(&m, &[3, 4], &[4, 3], &|i| vec![i[1], i[0]]),
            Bound::Exact,
        ));
        let pairs = numbers(ty, 10);
        for (name, which) in [("first", 0), ("second", 1)] {
            let values = (0..5).map(|i| pairs[2 * i + which]).collect();
            let mut case = tile_case(
                format!("shape::split_{name}::{ty}"),
                name,
                &[(ty, vec![5, 2], pairs.clone())],
                ty,
                &[5],
                values,
                Bound::Exact,
            );
            case.source = case.source.replace("    y[", "    let (first, second) = split(x);\n    y[");
            list.push(case);
        }
        let (column, row) = (numbers(ty, 4), numbers(ty, 3));
        let outer = [(ty, vec![4], column.clone()), (ty, vec![3], row.clone())];
        list.push(tile_case(
            format!("shape::broadcast::{ty}"),
            "select(arange(0, 3)[None, :] > arange(0, 4)[:, None], x[:, None], w[None, :])",
            &outer,
            ty,
            &[4, 3],
            (0..12).map(|i| if i % 3 > i / 3 { column[i / 3] } else { row[i % 3] }).collect(),
            Bound::Exact,
        ));
        if ty != Bool {
            let seven = if ty.is_float() { Num::Float(7.0) } else { Num::Int(7) };
            let zero = if ty.is_float() { Num::Float(0.0) } else { Num::Int(0) };
            list.push(tile_case(
                format!("shape::full::{ty}"),
                &format!("full([3, 2], 7 as {ty})"),
                &matrix,
                ty,
                &[3, 2],
                vec![seven; 6],
                Bound::Exact,
            ));
            list.push(tile_case(
                format!("shape::zeros::{ty}"),
                &format!("zeros::<{ty}>([5])"),
                &matrix,
                ty,
                &[5],
                vec![zero; 5],
                Bound::Exact,
            ));
            let counted = (0..11)
                .map(|i| if ty.is_float() { Num::Float(f64::from(i) + 2.0) } else { Num::Int(i128::from(i) + 2) })
                .collect::<Vec<_>>();
            let counted = held(ty, &counted);
            list.push(tile_case(
                format!("shape::arange::{ty}"),
                &format!("arange(2, 13) as {ty}"),
                &matrix,
                ty,
                &[11],
                counted,
                Bound::Exact,
            ));
        }
    }
    list
}
