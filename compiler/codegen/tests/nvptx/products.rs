//! Products on tensor cores, run on the emulator with every sanitizer and adversarial completion of copies, against the CPU.

use kiln_emulator::Schedule;

use crate::executed::{Input, on_emulator_as, on_host, tensor, values};

/// Completion of asynchronous copies: at once, as late as waits allow, and at random.
const SCHEDULES: [Schedule; 4] = [Schedule::Eager, Schedule::Lazy, Schedule::Random(1), Schedule::Random(2)];

/// `c = a @ b + c` for whole tiles.
fn single([m, k, n]: [i64; 3], elem: &str, out: &str, precision: &str, transposed: bool, warps: u32) -> String {
    let facts = |number: u32, rank: &str| format!("{{number {number}, align 16, dims [?, ?], strides [{rank}]}}");
    // A transposed operand is loaded as it lies, then its axes change places.
    let (a_load, b_load) = if transposed {
        (
            format!(
                "v9: tile<{elem}, [{k}, {m}]> = load v0[v3..+{k}, v3..+{m}]\nv4: tile<{elem}, [{m}, {k}]> = permute v9 [1, 0]\n"
            ),
            format!(
                "v10: tile<{elem}, [{n}, {k}]> = load v1[v3..+{n}, v3..+{k}]\nv5: tile<{elem}, [{k}, {n}]> = permute v10 [1, 0]\n"
            ),
        )
    } else {
        (
            format!("v4: tile<{elem}, [{m}, {k}]> = load v0[v3..+{m}, v3..+{k}]\n"),
            format!("v5: tile<{elem}, [{k}, {n}]> = load v1[v3..+{k}, v3..+{n}]\n"),
        )
    };
    format!(
        "kernel @0 k(v0.a: tensor<{elem}, 2> {}, v1.b: tensor<{elem}, 2> {}, v2.c: mut tensor<{out}, 2> {}) grid 1 index 32 schedule {{warps {warps}}} {{\n\
         v3: index = const 0\n{a_load}{b_load}\
         v6: tile<{out}, [{m}, {n}]> = load v2[v3..+{m}, v3..+{n}]\n\
         v7: tile<{out}, [{m}, {n}]> = dot v4, v5 acc v6{precision}\n\
         store v2[v3..+{m}, v3..+{n}], v7\n\
         yield\n}}\n",
        facts(0, "?, =1"),
        facts(1, "?, =1"),
        facts(2, "?, =1"),
    )
}

/// Largest difference over 1 + the larger magnitude.
fn difference(a: &[f64], b: &[f64]) -> f64 {
    let of = |(x, y): (&f64, &f64)| if x.is_nan() && y.is_nan() { 0.0 } else { (x - y).abs() / (1.0 + x.abs().max(y.abs())) };
    a.iter().zip(b).map(of).fold(0.0, |m, d| if d > m || d.is_nan() { d } else { m })
}

/// 8-bit floats of about the same size, so that f32 holds sums of their products exactly.
fn small_floats(elem: &str, count: usize, seed: u64) -> Vec<u8> {
    (0..count as u64)
        .flat_map(|i| {
            let r = (i + 1).wrapping_mul(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1) >> 40;
            match elem {
                "f8e4m3" => vec![(0x20 + r % 0x28) as u8 | (((r >> 9) & 1) as u8) << 7],
                "f8e5m2" => vec![(0x30 + r % 0x14) as u8 | (((r >> 9) & 1) as u8) << 7],
                _ => panic!("{elem} is no 8-bit float"),
            }
        })
        .collect()
}

fn input(elem: &str, dims: [i64; 2], seed: u64) -> Input {
    if elem.starts_with("f8") {
        return Input::Tensor(small_floats(elem, (dims[0] * dims[1]) as usize, seed), dims.to_vec(), vec![dims[1], 1]);
    }
    tensor(elem, &dims, seed)
}

/// Element, accumulator, precision, and how far from the CPU's sum of exact products in f32 (f64, i32). Products of two split numbers are
/// good to 2^-22 (tf32, whose halves have 11 bits) and 2^-16 (bf16, 8 bits), of numbers up to 2 and sums of up to 96: errors of 4 *
/// sqrt(96) times that are usual. The host rounds to tf32 as the GPU does, up to ties.
const KINDS: [(&str, &str, &str, f64); 11] = [
    ("f16", "f32", "", 2e-6),
    ("bf16", "f32", "", 2e-6),
    ("f32", "f32", " precision tf32", 2e-3),
    ("f32", "f32", " precision tf32x3", 1e-5),
    ("f32", "f32", " precision bf16x3", 6e-4),
    ("f32", "f32", "", 2e-6),
    ("f64", "f64", "", 1e-13),
    ("i8", "i32", "", 0.0),
    ("u8", "u32", "", 0.0),
    ("f8e4m3", "f32", "", 2e-6),
    ("f8e5m2", "f32", "", 2e-6),
];

/// Every type, extents that are and are not multiples of the instruction's, both orders of both operands, tails in memory.
#[test]
fn every_type_and_shape() {
    for (elem, out, precision, tolerance) in KINDS {
        for (extents, warps) in [([64, 64, 64], 4), ([128, 32, 32], 4), ([24, 20, 40], 4), ([16, 96, 48], 2), ([5, 7, 3], 1)] {
            let [m, k, n] = extents;
            for transposed in [false, true] {
                let text = single(extents, elem, out, precision, transposed, warps);
                // Tensors larger and smaller than the tiles: what is out of bounds counts as zero.
                for short in [0, 2] {
                    let (m, k, n) = (m - short, k - short, n - short);
                    let (a, b) = if transposed { ([k, m], [n, k]) } else { ([m, k], [k, n]) };
                    let inputs = [input(elem, a, 3), input(elem, b, 4), input(out, [m, n], 5)];
                    let host = on_host(&text, [1, 1], &inputs);
                    let target = ["sm_80", "sm_86", "sm_89", "sm_90a"][(m % 4) as usize];
                    let (gpu, _) = on_emulator_as(&text, target, [1, 1], &inputs, SCHEDULES[(n % 4) as usize]);
                    let far = difference(&values(&host[2], out), &values(&gpu[2], out));
                    assert!(far <= tolerance, "{elem}{precision} {extents:?} transposed {transposed} on {target}: {far}");
                }
            }
        }
    }
}

/// Every byte as an 8-bit float, through a product with the identity: subnormals, infinities and NaN included.
#[test]
fn every_8_bit_float() {
    for (elem, one) in [("f8e4m3", 0x38u8), ("f8e5m2", 0x3c)] {
        let text = single([16, 16, 16], elem, "f32", "", false, 1);
        let identity: Vec<u8> = (0..256).map(|i| if i % 17 == 0 { one } else { 0 }).collect();
        let square = |bytes: Vec<u8>| Input::Tensor(bytes, vec![16, 16], vec![16, 1]);
        let inputs = [square((0..=255).collect()), square(identity), Input::Tensor(vec![0; 1024], vec![16, 16], vec![16, 1])];
        let host = on_host(&text, [1, 1], &inputs);
        for target in ["sm_80", "sm_89"] {
            let (gpu, _) = on_emulator_as(&text, target, [1, 1], &inputs, Schedule::Lazy);
            let far = difference(&values(&host[2], "f32"), &values(&gpu[2], "f32"));
            assert!(far == 0.0, "{elem} on {target}: {far}");
        }
    }
}
