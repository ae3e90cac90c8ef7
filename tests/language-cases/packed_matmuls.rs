//! Matrix products of packed operands: 4-bit weights with scales and zero points, microscaled formats, and the NF4 code book.

use ScalarType::*;
use kiln_ir::ScalarType;
use kiln_tests::array::Bound;
use kiln_tests::case::Placement;

use super::row::{H, Row, half_ulp, stored, values_of};

pub fn rows() -> Vec<Row> {
    let mut list = vec![];
    for ty in [F32, F16, BF16] {
        for (m, n, k, group, with_zero) in
            [(1, 2, 128, None, false), (17, 130, 256, None, true), (5, 34, 96, Some(32), true), (33, 20, 160, Some(32), false)]
        {
            list.push(w4_matmul(ty, [m, n, k], group, with_zero));
        }
    }
    for (m, n, k, small) in [(1, 1, 32, false), (9, 13, 96, true), (130, 140, 160, false), (33, 17, 256, true)] {
        list.push(mx_matmul([m, n, k], small));
    }
    for n in [1, 100, 1000] {
        list.push(nf4(n));
    }
    list
}

/// c = a @ ((q - z) * scale): two unsigned 4-bit weights a byte along K, scale and zero point a group of K, 8 where there are no zero points.
fn w4_matmul(ty: ScalarType, [m, n, k]: [usize; 3], group: Option<usize>, with_zero: bool) -> Row {
    let mut row = Row::new("w4_matmul", format!("{ty}::{m}x{n}x{k}"));
    let g = group.unwrap_or(128);
    if group.is_some() {
        row = row.constant("G", g).constant("BM", 8).constant("BN", 32).constant("BK", 16).placed(Placement::Guarded);
    }
    let a = row.uniform(ty, &[m, k], -1.0, 1.0);
    let w = row.integers(U8, &[k / 2, n], 0, 255);
    let scale = row.uniform(ty, &[k / g, n], 0.01, 0.1);
    let zero = row.integers(U8, &[k / g, n / 2], 0, 255);
    let nibble = |byte: f64, upper: bool| f64::from(if upper { byte as u8 >> 4 } else { byte as u8 & 15 });
    let mut size = 0f64;
    let c = values_of([m, n], |[i, j]| {
        let term = |l: usize| {
            let q = nibble(w.at([l / 2, j]), l % 2 == 1);
            let z = if with_zero { nibble(zero.at([l / g, j / 2]), j % 2 == 1) } else { 8.0 };
            a.at([i, l]) * (q - z) * scale.at([l / g, j])
        };
        size = size.max((0..k).map(|l| term(l).abs()).sum());
        (0..k).map(term).sum()
    });
    row.pass(&a);
    row.pass(&w);
    row.pass(&scale);
    row.pass_if(with_zero, &zero);
    // The weight is rounded to the type of a (the difference of integers is exact), then k terms are accumulated in f32.
    row.output(ty, &[m, n], c, stored(ty, 0.0, (half_ulp(ty) + (k + 2) as f64 * H) * size));
    row
}

/// e2m1: a sign, two bits of exponent, one of mantissa (OCP Microscaling Formats 1.0, table 5).
fn e2m1(bits: u8) -> f64 {
    let magnitude = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0][usize::from(bits & 7)];
    if bits & 8 == 0 { magnitude } else { -magnitude }
}

/// c = a @ b, where 32 values along K share a power of two: a is e2m1, two a byte, b is e4m3.
fn mx_matmul([m, n, k]: [usize; 3], small: bool) -> Row {
    let mut row = Row::new("mx_matmul", format!("{m}x{n}x{k}"));
    if small {
        row = row.constant("BM", 16).constant("BN", 8).constant("BK", 64).placed(Placement::Guarded);
    }
    let (a, sa) = (row.integers(U8, &[m, k / 2], 0, 255), row.integers(U8, &[m, k / 32], 120, 132));
    let (b, sb) = (row.uniform(F8E4M3, &[k, n], -4.0, 4.0), row.integers(U8, &[n, k / 32], 120, 132));
    let mut size = 0f64;
    let c = values_of([m, n], |[i, j]| {
        let term = |l: usize| {
            let byte = a.at([i, l / 2]) as u8;
            let x = e2m1(if l % 2 == 1 { byte >> 4 } else { byte & 15 });
            let power = sa.at([i, l / 32]) + sb.at([j, l / 32]) - 2.0 * 127.0;
            x * b.at([l, j]) * power.exp2()
        };
        size = size.max((0..k).map(|l| term(l).abs()).sum());
        (0..k).map(term).sum()
    });
    row.pass(&a);
    row.pass(&sa);
    row.pass(&b);
    row.pass(&sb);
    // Products are exact in f32; k of them are accumulated.
    row.output(F32, &[m, n], c, stored(F32, 0.0, (k + 2) as f64 * H * size));
    row
}

/// The NF4 values (Dettmers et al.: QLoRA, 2023, appendix E) to the four digits of the kernel file.
const NF4: [f64; 16] = [
    -1.0, -0.6962, -0.5251, -0.3949, -0.2844, -0.1848, -0.0911, 0.0, 0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1.0,
];

/// A function over a constant tile, which no kernel of the file calls.
fn nf4(n: usize) -> Row {
    let mut row = Row::new("nf4", format!("{n}"));
    row.extra = "kernel calls_it<const B: int = 64>(q: tensor<u8, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, B)] {\n    \
                 let n = program_id(0) * B;\n    y[n..+B] = nf4(q[n..+B]);\n}\n";
    let q = row.integers(U8, &[n], 0, 15);
    let y = q.values.iter().map(|&q| NF4[q as usize]).collect();
    row.pass(&q);
    // A table look-up: the nearest f32.
    row.output(F32, &[n], y, Bound::Exact);
    row
}
