//! Slices, `.or`, `.mask`, gathers and scatters, views, pointers: for every element type, in bounds, across the edges, and wholly outside.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::{Array, Bound};
use kiln_tests::case::{Arg, Case, Expected, Placement};
use kiln_tests::scalar::Num;

use super::elementwise::{FLOATS, INTS, samples};
use super::reductions::held;

fn numbers(ty: ScalarType, count: usize) -> Vec<Num> {
    let base = samples(ty, "memory", false);
    held(ty, &(0..count).map(|i| base[(i * 5 + i / base.len()) % base.len()]).collect::<Vec<_>>())
}

fn tensor(ty: ScalarType, shape: &[usize], values: &[Num], placement: Placement) -> Arg {
    Arg::Tensor { array: Array::new(ty, shape, values.iter().copied()), placement }
}

fn exact(arg: usize, values: Vec<Num>) -> Vec<Expected> {
    vec![Expected { arg, values, bound: Bound::Exact }]
}

fn case(name: String, source: String, args: Vec<Arg>, expected: Vec<Expected>) -> Case {
    Case { name, source, args, expected, cpu_only: None }
}

pub fn cases() -> Vec<Case> {
    let mut list = Vec::new();
    for ty in FLOATS.into_iter().chain(INTS).chain([Bool]) {
        let zero = if ty.is_float() { Num::Float(0.0) } else { Num::Int(0) };
        let one = if ty.is_float() { Num::Float(1.0) } else { Num::Int(1) };
        let other = if ty == Bool { "true".to_owned() } else { format!("1 as {ty}") };
        let (rows, cols) = (6, 11);
        let v = numbers(ty, rows * cols);
        let at = |r: i64, c: i64| -> Option<Num> {
            ((0..rows as i64).contains(&r) && (0..cols as i64).contains(&c)).then(|| v[r as usize * cols + c as usize])
        };
        for placement in [Placement::Dense, Placement::Transposed, Placement::Spaced] {
            // Windows inside, across each edge, and outside.
            for (dr, dc) in [(0, 0), (1, 3), (-2, -3), (4, 8), (20, 0), (0, -40)] {
                let source = format!(
                    "kernel k(x: tensor<{ty}, [M, N]>, y: mut tensor<{ty}, [4, 5]>, z: mut tensor<{ty}, [4, 5]>, r: i64, c: i64) grid [1] {{\n    \
                     y[0..+4, 0..+5] = x[r..+4, c..+5];\n    z[0..+4, 0..+5] = x[r..+4, c..+5].or({other});\n}}\n"
                );
                let window = |fill: Num| -> Vec<Num> { (0..20).map(|i| at(dr + i / 5, dc + i % 5).unwrap_or(fill)).collect() };
                list.push(case(
                    format!("memory::slice::{ty}::{placement:?}::{dr},{dc}"),
                    source,
                    vec![
                        tensor(ty, &[rows, cols], &v, placement),
                        tensor(ty, &[4, 5], &[zero; 20], placement),
                        tensor(ty, &[4, 5], &[zero; 20], placement),
                        Arg::Scalar(I64, Num::Int(dr.into())),
                        Arg::Scalar(I64, Num::Int(dc.into())),
                    ],
                    vec![
                        Expected { arg: 1, values: window(zero), bound: Bound::Exact },
                        Expected { arg: 2, values: window(one), bound: Bound::Exact },
                    ],
                ));
                // The same window written: only what is inside changes.
                let source = format!(
                    "kernel k(x: tensor<{ty}, [4, 5]>, y: mut tensor<{ty}, [M, N]>, r: i64, c: i64) grid [1] {{ y[r..+4, c..+5] = x[0..+4, 0..+5]; }}\n"
                );
                let patch = numbers(ty, 20);
                let written: Vec<Num> = (0..(rows * cols) as i64)
                    .map(|i| {
                        let (r, c) = (i / cols as i64 - dr, i % cols as i64 - dc);
                        if (0..4).contains(&r) && (0..5).contains(&c) { patch[(r * 5 + c) as usize] } else { v[i as usize] }
                    })
                    .collect();
                list.push(case(
                    format!("memory::store::{ty}::{placement:?}::{dr},{dc}"),
                    source,
                    vec![
                        tensor(ty, &[4, 5], &patch, placement),
                        tensor(ty, &[rows, cols], &v, placement),
                        Arg::Scalar(I64, Num::Int(dr.into())),
                        Arg::Scalar(I64, Num::Int(dc.into())),
                    ],
                    exact(1, written),
                ));
            }
        }
        // Masked load and store.
        let source = format!(
            "kernel k(x: tensor<{ty}, [N]>, y: mut tensor<{ty}, [N]>) grid [cdiv(N, 16)] {{\n    let n = program_id(0) * 16;\n    let i = n + arange(0, 16);\n    \
             y[n..+16].mask(i % 3 != 1) = x[n..+16].mask(i % 2 == 0).or({other});\n}}\n"
        );
        let (a, b) = (numbers(ty, 45), numbers(ty, 50)[5..].to_vec());
        let out = (0..45)
            .map(|i| {
                if i % 3 == 1 {
                    b[i]
                } else if i % 2 == 0 {
                    a[i]
                } else {
                    one
                }
            })
            .collect();
        list.push(case(
            format!("memory::mask::{ty}"),
            source,
            vec![tensor(ty, &[45], &a, Placement::Dense), tensor(ty, &[45], &b, Placement::Dense)],
            exact(1, out),
        ));
        // Gather rows and scatter them, with positions outside on both sides.
        let index: Vec<i64> = vec![3, -1, 0, 6, 5, 2, 100];
        let ids: Vec<Num> = index.iter().map(|&i| Num::Int(i.into())).collect();
        for id_ty in [I32, I64] {
            let source = format!(
                "kernel k(x: tensor<{ty}, [M, N]>, id: tensor<{id_ty}, [R]>, y: mut tensor<{ty}, [R, N]>) grid [cdiv(R, 4)] {{\n    let r = program_id(0) * 4;\n    \
                 y[r..+4, 0..+16] = x[id[r..+4].or(-1), 0..+16];\n}}\n"
            );
            let gathered = index
                .iter()
                .flat_map(|&r| (0..cols as i64).map(move |c| (r, c)))
                .map(|(r, c)| at(r, c).unwrap_or(zero))
                .collect();
            list.push(case(
                format!("memory::gather_rows::{ty}::{id_ty}"),
                source,
                vec![
                    tensor(ty, &[rows, cols], &v, Placement::Dense),
                    tensor(id_ty, &[7], &ids, Placement::Dense),
                    tensor(ty, &[7, cols], &vec![zero; 7 * cols], Placement::Dense),
                ],
                exact(2, gathered),
            ));
            let source = format!(
                "kernel k(x: tensor<{ty}, [R, N]>, id: tensor<{id_ty}, [R]>, y: mut tensor<{ty}, [M, N]>) grid [cdiv(R, 4)] {{\n    let r = program_id(0) * 4;\n    \
                 y[id[r..+4].or(-1), 0..+16] = x[r..+4, 0..+16];\n}}\n"
            );
            let rows_in = numbers(ty, 7 * cols);
            let mut scattered = v.clone();
            for (from, &to) in index.iter().enumerate() {
                if (0..rows as i64).contains(&to) {
                    scattered[to as usize * cols..][..cols].copy_from_slice(&rows_in[from * cols..][..cols]);
                }
            }
            list.push(case(
                format!("memory::scatter_rows::{ty}::{id_ty}"),
                source,
                vec![
                    tensor(ty, &[7, cols], &rows_in, Placement::Dense),
                    tensor(id_ty, &[7], &ids, Placement::Dense),
                    tensor(ty, &[rows, cols], &v, Placement::Dense),
                ],
                exact(2, scattered),
            ));
        }
        // Views: a range, clamped; a dropped dimension; transposition.
        let source = format!(
            "kernel k(x: tensor<{ty}, [M, N]>, y: mut tensor<{ty}, [16]>, z: mut tensor<{ty}, [N, M]>, lo: i64, hi: i64) grid [1] {{\n    \
             let part = x[2, lo..hi];\n    y[0..+16] = part[0..+16];\n    let t = trans(x[0..M, :]);\n    z[0..+11, 0..+6] = t[0..+11, 0..+6];\n}}\n"
        );
        for (lo, hi) in [(0i64, 11i64), (3, 7), (-4, 5), (8, 30), (7, 3)] {
            let (first, last) = (lo.max(0), hi.min(cols as i64));
            let part = (0..16).map(|i| if first + i < last { at(2, first + i).unwrap_or(zero) } else { zero }).collect();
            let turned = (0..cols as i64)
                .flat_map(|c| (0..rows as i64).map(move |r| (r, c)))
                .map(|(r, c)| at(r, c).unwrap_or(zero))
                .collect();
            list.push(case(
                format!("memory::view::{ty}::{lo}..{hi}"),
                source.clone(),
                vec![
                    tensor(ty, &[rows, cols], &v, Placement::Dense),
                    tensor(ty, &[16], &[zero; 16], Placement::Dense),
                    tensor(ty, &[cols, rows], &vec![zero; rows * cols], Placement::Dense),
                    Arg::Scalar(I64, Num::Int(lo.into())),
                    Arg::Scalar(I64, Num::Int(hi.into())),
                ],
                vec![
                    Expected { arg: 1, values: part, bound: Bound::Exact },
                    Expected { arg: 2, values: turned, bound: Bound::Exact },
                ],
            ));
        }
        // Pointers with masks; a view made from a pointer.
        let source = format!(
            "kernel k(x: ptr<{ty}>, y: mut ptr<{ty}>, n: i64) grid [cdiv(n, 16)] {{\n    let i = program_id(0) * 16 + arange(0, 16);\n    \
             store(y + i, load(x + i, mask = i < n && i % 5 != 0, other = {other}), mask = i < n);\n    prefetch(view(x, [n], strides = [1])[0..+16]);\n}}\n"
        );
        let out = (0..45).map(|i| if i % 5 == 0 { one } else { a[i] }).collect();
        list.push(case(
            format!("memory::pointer::{ty}"),
            source,
            vec![
                Arg::Pointer(Array::new(ty, &[45], a.iter().copied())),
                Arg::Pointer(Array::zeros(ty, &[45])),
                Arg::Scalar(I64, Num::Int(45)),
            ],
            exact(1, out),
        ));
        let source = format!(
            "kernel k(x: ptr<{ty}>, y: mut tensor<{ty}, [3, 4]>) grid [1] {{\n    let t = view(x, [3, 4], strides = [1, 3]);\n    y[0..+3, 0..+4] = t[0..+3, 0..+4];\n}}\n"
        );
        let out = (0..12).map(|i| a[i / 4 + i % 4 * 3]).collect();
        list.push(case(
            format!("memory::view_of_pointer::{ty}"),
            source,
            vec![
                Arg::Pointer(Array::new(ty, &[12], a[..12].iter().copied())),
                tensor(ty, &[3, 4], &[zero; 12], Placement::Dense),
            ],
            exact(1, out),
        ));
        // A broadcast dimension: stride 0.
        let row = numbers(ty, 9);
        let repeated: Vec<Num> = (0..45).map(|i| row[i % 9]).collect();
        let source = format!(
            "kernel k(x: tensor<{ty}, [M, N]>, y: mut tensor<{ty}, [M, N]>) grid [1] {{ y[0..+8, 0..+16] = x[0..+8, 0..+16]; }}\n"
        );
        list.push(case(
            format!("memory::stride0::{ty}"),
            source,
            vec![tensor(ty, &[5, 9], &repeated, Placement::Repeated), tensor(ty, &[5, 9], &[zero; 45], Placement::Dense)],
            exact(1, repeated.clone()),
        ));
    }
    // Index tiles that broadcast together: the joint axes stand where the first of them stands.
    let v: Vec<Num> = (0..24).map(Num::Int).collect();
    let source = "kernel k(x: tensor<i32, [A, B, C]>, y: mut tensor<i32, [2, 3, 4]>) grid [1] {\n    let (i, j) = (arange(0, 2), arange(0, 3));\n    \
                  y[0..+2, 0..+3, 0..+4] = x[i[:, None], j[None, :], 0..+4];\n}\n";
    list.push(case(
        "memory::joint_gather".into(),
        source.into(),
        vec![tensor(I32, &[2, 3, 4], &v, Placement::Dense), tensor(I32, &[2, 3, 4], &[Num::Int(0); 24], Placement::Dense)],
        exact(1, v.clone()),
    ));
    let source = "kernel k(x: tensor<i32, [A, B, C]>, y: mut tensor<i32, [3, 2]>) grid [1] {\n    let i = arange(0, 3);\n    y[0..+3, 0..+2] = x[i - 1, 0..+2, i];\n}\n";
    let out = (0..6)
        .map(|n| (n / 2, n % 2))
        .map(|(i, b)| if i == 0 { Num::Int(0) } else { Num::Int((i - 1) * 12 + b * 4 + i) })
        .collect();
    list.push(case(
        "memory::gather_around_span".into(),
        source.into(),
        vec![tensor(I32, &[2, 3, 4], &v, Placement::Dense), tensor(I32, &[3, 2], &[Num::Int(0); 6], Placement::Dense)],
        exact(1, out),
    ));
    list
}
