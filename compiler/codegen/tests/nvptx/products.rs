//! Products on tensor cores, run on the emulator with every sanitizer and adversarial completion of copies, against the CPU.

use kiln_emulator::Schedule;

use crate::executed::{Input, bytes_of, on_emulator_as, on_host, tensor, values};
use crate::support::{assemble, count, ptx};

/// Completion of asynchronous copies: at once, as late as waits allow, and at random.
const SCHEDULES: [Schedule; 4] = [Schedule::Eager, Schedule::Lazy, Schedule::Random(1), Schedule::Random(2)];

/// `c = a @ b + c` for whole tiles.
pub fn single([m, k, n]: [i64; 3], elem: &str, out: &str, precision: &str, transposed: bool, warps: u32) -> String {
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

/// The usual product: a loop over k with the accumulator carried; tails in every dimension. `facts` are those of strides and dims.
pub fn looped([bm, bn, bk]: [u32; 3], elem: &str, out: &str, warps: u32, stages: u32, facts: (&str, u32)) -> String {
    let (of_sizes, align) = facts;
    let of = |number: u32| format!("{{number {number}, align {align}, dims [{of_sizes}, {of_sizes}], strides [{of_sizes}, =1]}}");
    format!(
        "kernel @0 matmul(v0.a: tensor<{elem}, 2> {}, v1.b: tensor<{elem}, 2> {}, v2.c: mut tensor<{out}, 2> {}) grid 2 index 32 schedule {{warps {warps}, stages {stages}}} {{\n\
         v3: index = program_id 0\n\
         v4: index = program_id 1\n\
         v5: index = const {bm}\n\
         v6: index = const {bn}\n\
         v7: index = const {bk}\n\
         v8: index = mul v3, v5\n\
         v9: index = mul v4, v6\n\
         v10: index = const 0\n\
         v11: index = view_dim v0 axis 1\n\
         v12: tile<{out}, [{bm}, {bn}]> = const {zero}\n\
         v13: tile<{out}, [{bm}, {bn}]> = for v10..v11 step v7 init [v12] (v14: index, v15: tile<{out}, [{bm}, {bn}]>) {{\n\
         v16: tile<{elem}, [{bm}, {bk}]> = load v0[v8..+{bm}, v14..+{bk}]\n\
         v17: tile<{elem}, [{bk}, {bn}]> = load v1[v14..+{bk}, v9..+{bn}]\n\
         v18: tile<{out}, [{bm}, {bn}]> = dot v16, v17 acc v15{precision}\n\
         yield v18\n\
         }}\n\
         store v2[v8..+{bm}, v9..+{bn}], v13\n\
         yield\n}}\n",
        of(0),
        of(1),
        of(2),
        zero = if out == "i32" { "0" } else { "0.0" },
        precision = if elem == "f32" { " precision tf32" } else { "" },
    )
}

/// Largest difference over 1 + the larger magnitude.
pub fn difference(a: &[f64], b: &[f64]) -> f64 {
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

pub fn input(elem: &str, dims: [i64; 2], seed: u64) -> Input {
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

/// Loops whose loads run ahead through rings of one to four slots: every copy completion, tails in m, n and k, fewer trips than
/// slots, none at all, and copies of 16 bytes, of 4, and by hand.
#[test]
fn pipelined_loops() {
    let sixteen = ("?%16", 16);
    let even = ("?%2", 4);
    let odd = ("?", 2);
    for (tile, elem, warps, stages, facts, sizes) in [
        ([64, 64, 32], "f16", 4, 3, sixteen, [80, 48, 112]),
        ([64, 64, 32], "f16", 4, 3, sixteen, [64, 64, 32]),
        ([64, 64, 32], "f16", 4, 4, sixteen, [64, 64, 0]),
        ([64, 32, 64], "bf16", 2, 2, sixteen, [64, 64, 208]),
        ([32, 64, 32], "f16", 4, 1, sixteen, [64, 64, 80]),
        ([64, 64, 32], "f16", 4, 3, even, [70, 42, 90]),
        ([64, 64, 32], "f16", 4, 3, odd, [67, 41, 75]),
        ([64, 48, 48], "f16", 4, 3, sixteen, [64, 48, 96]),
        ([64, 64, 32], "f32", 4, 3, sixteen, [80, 48, 112]),
        ([64, 64, 64], "i8", 4, 3, sixteen, [80, 48, 112]),
        ([32, 32, 16], "f64", 4, 3, sixteen, [48, 32, 48]),
    ] {
        let out = match elem {
            "i8" => "i32",
            "f64" => "f64",
            _ => "f32",
        };
        let [m, n, k] = sizes;
        let text = looped(tile, elem, out, warps, stages, facts);
        let grid = [(m as u32).div_ceil(tile[0]), (n as u32).div_ceil(tile[1])];
        let inputs = [input(elem, [m, k], 7), input(elem, [k, n], 8), input(out, [m, n], 9)];
        let host = values(&on_host(&text, grid, &inputs)[2], out);
        let tolerance = match elem {
            "i8" => 0.0,
            "f32" => 2e-3,
            "f64" => 1e-13,
            _ => 2e-6,
        };
        for (schedule, target) in SCHEDULES.into_iter().zip(["sm_80", "sm_86", "sm_89", "sm_90a"]) {
            let (gpu, _) = on_emulator_as(&text, target, grid, &inputs, schedule);
            let far = difference(&host, &values(&gpu[2], out));
            assert!(far <= tolerance, "{elem} {tile:?} stages {stages} {sizes:?} {schedule:?} {target}: {far}");
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

/// Staged products have no bank conflict, multiply nothing twice, copy every operand once by 16 bytes, and store whole sectors.
#[test]
fn counters_of_a_matmul() {
    for (elem, out, [m, n, k]) in [
        ("f16", "f32", [128, 128, 64]),
        ("bf16", "f32", [128, 64, 32]),
        ("f32", "f32", [128, 128, 32]),
        ("f64", "f64", [64, 64, 32]),
        ("i8", "i32", [128, 128, 64]),
        ("i8", "i32", [64, 32, 32]),
        ("f8e4m3", "f32", [64, 64, 64]),
    ] {
        let text = looped([m, n, k], elem, out, 8, 2, ("?%16", 16));
        let depth = 3 * k;
        let [rows, columns, depth] = [m, n, depth].map(i64::from);
        let inputs = [input(elem, [rows, depth], 7), input(elem, [depth, columns], 8), input(out, [rows, columns], 9)];
        let (_, report) = on_emulator_as(&text, "sm_80", [1, 1], &inputs, Schedule::Lazy);
        let total = report.counters.expect("counters are on").total;
        let (bytes, out_bytes) = (bytes_of(elem) as u64, bytes_of(out) as u64);
        let [m, n, k] = [rows, columns, depth].map(|v| v as u64);
        assert_eq!(total.shared_wavefronts, total.shared_ideal, "{elem}");
        assert_eq!(total.tensor_flops, 2 * m * n * k, "{elem}");
        // Each operand once, in whole sectors; so is the result.
        assert_eq!(total.global_sectors, ((m + n) * k * bytes + m * n * out_bytes) / 32, "{elem}");
    }
}

/// The loop has as many HMMA as its products, reads fragments by four matrices and copies by 16 bytes; accumulators stay where they
/// are, nothing spills.
#[test]
fn instructions_of_a_matmul() {
    for (tile, warps, [along_m, along_n]) in
        [([128, 128, 32], 4, [2, 2]), ([128, 128, 64], 4, [2, 2]), ([128, 128, 64], 8, [4, 2]), ([128, 256, 64], 8, [2, 4])]
    {
        let [m, n, k] = tile;
        for target in ["sm_80", "sm_86", "sm_89"] {
            let artifact = ptx(&looped(tile, "f16", "f32", warps, 2, ("?%16", 16)), target);
            assert_eq!(artifact.layouts.conversions, 0, "{tile:?} {target}");
            let Some(out) = assemble(&artifact) else { continue };
            let products = m * n * k / (16 * 8 * 16) / warps;
            assert_eq!(count(&out.sass, "HMMA.16816.F32"), products as usize, "{tile:?} {target}");
            assert_eq!(count(&out.sass, "HMMA"), products as usize, "{tile:?} {target}");
            let reads = (m / along_m + n / along_n) * k / (16 * 16);
            assert_eq!(count(&out.sass, "LDSM"), reads as usize, "{tile:?} {target}");
            // Once ahead of the loop, once in it.
            let copies = 2 * (m + n) * k * 2 / 16 / (32 * warps);
            assert_eq!(count(&out.sass, "LDGSTS.E.BYPASS.128"), copies as usize, "{tile:?} {target}");
            assert_eq!(count(&out.sass, "LDGSTS"), copies as usize, "{tile:?} {target}");
        }
    }
}
