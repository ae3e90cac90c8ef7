//! Products of warpgroups (`wgmma`, sm_90a), run on the emulator with every sanitizer under adversarial completion, against the CPU; and what ptxas
//! makes of them.

use kiln_codegen::nvptx::{GpuTarget, lay_out};
use kiln_emulator::Schedule;
use kiln_ir::layout::dump;
use kiln_ir::text::parse_module;
use kiln_ir::verify::verify;

use crate::attention::attention;
use crate::executed::{on_emulator_as, on_host, tensor, values};
use crate::products::{difference, input, looped, single};
use crate::support::{assemble, count, loop_with, ptx};

/// Asynchronous copies and products complete at once, as late as waits allow, late with warps in random order, and at random.
const SCHEDULES: [Schedule; 5] =
    [Schedule::Eager, Schedule::Lazy, Schedule::LazyRandom(1), Schedule::LazyRandom(2), Schedule::Random(3)];

/// Every type with such an instruction, either order of both operands, extents that are no powers of two, warpgroups along rows and columns, tiles
/// that hang over their tensors.
#[test]
fn every_type_and_order() {
    let mut number = 0;
    for (elem, out, tolerance) in [
        ("f16", "f32", 2e-6),
        ("bf16", "f32", 2e-6),
        ("i8", "i32", 0.0),
        ("u8", "u32", 0.0),
        ("f8e4m3", "f32", 2e-6),
        ("f8e5m2", "f32", 2e-6),
    ] {
        for ([m, k, n], warps) in
            [([64, 64, 64], 4), ([128, 32, 32], 8), ([64, 48, 80], 4), ([64, 128, 64], 8), ([192, 16, 96], 4), ([256, 64, 48], 8)]
        {
            for transposed in [false, true] {
                number += 1;
                let text = single([m, k, n], elem, out, "", transposed, warps);
                let ptx = ptx(&text, "sm_90a").ptx;
                // Only 16-bit operands may lie across k: both orders have one that does, of bytes.
                let bytes = elem.contains('8');
                assert_eq!(ptx.contains("wgmma.mma_async"), !bytes, "{elem}\n{ptx}");
                let short = [0, 2][number % 2];
                let (m, n, k) = (m - short, n - short, k - short);
                let (a, b) = if transposed { ([k, m], [n, k]) } else { ([m, k], [k, n]) };
                let inputs = [input(elem, a, 3), input(elem, b, 4), input(out, [m, n], 5)];
                let host = on_host(&text, [1, 1], &inputs);
                let schedule = SCHEDULES[number % SCHEDULES.len()];
                let (gpu, _) = on_emulator_as(&text, "sm_90a", [1, 1], &inputs, schedule);
                let far = difference(&values(&host[2], out), &values(&gpu[2], out));
                assert!(far <= tolerance, "{elem} {m} x {n} x {k} transposed {transposed}, {schedule:?}: {far}");
            }
        }
    }
}

/// A product of bytes whose operands both have k running through memory.
fn along_k([m, k, n]: [i64; 3], elem: &str, out: &str, warps: u32) -> String {
    let facts = |number: u32, row: &str| format!("{{number {number}, align 16, dims [?, ?], strides [{row}, =1]}}");
    format!(
        "kernel @0 k(v0.a: tensor<{elem}, 2> {}, v1.b: tensor<{elem}, 2> {}, v2.c: mut tensor<{out}, 2> {}) grid 1 index 32 schedule {{warps {warps}}} {{\n\
         v3: index = const 0\n\
         v4: tile<{elem}, [{m}, {k}]> = load v0[v3..+{m}, v3..+{k}]\n\
         v5: tile<{elem}, [{n}, {k}]> = load v1[v3..+{n}, v3..+{k}]\n\
         v6: tile<{elem}, [{k}, {n}]> = permute v5 [1, 0]\n\
         v7: tile<{out}, [{m}, {n}]> = dot v4, v6\n\
         store v2[v3..+{m}, v3..+{n}], v7\n\
         yield\n}}\n",
        facts(0, "?%16"),
        facts(1, "?%16"),
        facts(2, "?"),
    )
}

/// Bytes, whose products have no sum to add to here.
#[test]
fn bytes_along_k() {
    for (number, (elem, out, tolerance)) in
        [("i8", "i32", 0.0), ("u8", "u32", 0.0), ("f8e4m3", "f32", 2e-6), ("f8e5m2", "f32", 2e-6)].into_iter().enumerate()
    {
        for ([m, k, n], warps) in [([64, 64, 64], 4), ([128, 32, 96], 8), ([64, 128, 32], 4)] {
            let text = along_k([m, k, n], elem, out, warps);
            assert!(ptx(&text, "sm_90a").ptx.contains("wgmma.mma_async"), "{elem}");
            let (m, n, k) = (m - 3, n - 5, k);
            let inputs = [input(elem, [m, k], 3), input(elem, [n, k], 4), input(out, [m, n], 5)];
            let host = on_host(&text, [1, 1], &inputs);
            let (gpu, _) = on_emulator_as(&text, "sm_90a", [1, 1], &inputs, SCHEDULES[number]);
            let far = difference(&values(&host[2], out), &values(&gpu[2], out));
            assert!(far <= tolerance, "{elem} {m} x {n} x {k}: {far}");
        }
    }
}

/// The usual loop: tails in m, n and k, fewer trips than slots, none at all; copies of 16 and of 4 bytes and by hand.
#[test]
fn loops() {
    let (sixteen, even, odd) = (("?%16", 16), ("?%2", 4), ("?", 2));
    for (tile, elem, warps, stages, facts, sizes) in [
        ([64, 64, 32], "f16", 4, 3, sixteen, [80, 48, 112]),
        ([128, 64, 64], "bf16", 8, 3, sixteen, [128, 64, 64]),
        ([64, 64, 32], "f16", 4, 4, sixteen, [64, 64, 0]),
        ([64, 32, 64], "bf16", 8, 2, sixteen, [64, 64, 208]),
        ([64, 96, 32], "f16", 4, 1, sixteen, [64, 64, 80]),
        ([64, 64, 32], "f16", 4, 3, even, [70, 42, 90]),
        ([64, 64, 32], "f16", 4, 3, odd, [67, 41, 75]),
        ([128, 128, 64], "bf16", 4, 2, sixteen, [160, 144, 144]),
    ] {
        let [m, n, k] = sizes;
        let text = looped(tile, elem, "f32", warps, stages, facts);
        assert!(ptx(&text, "sm_90a").ptx.contains("wgmma.mma_async"), "{tile:?}");
        let grid = [(m as u32).div_ceil(tile[0]), (n as u32).div_ceil(tile[1])];
        let inputs = [input(elem, [m, k], 7), input(elem, [k, n], 8), input("f32", [m, n], 9)];
        let host = values(&on_host(&text, grid, &inputs)[2], "f32");
        for schedule in SCHEDULES {
            let (gpu, _) = on_emulator_as(&text, "sm_90a", grid, &inputs, schedule);
            let far = difference(&host, &values(&gpu[2], "f32"));
            assert!(far <= 2e-6, "{elem} {tile:?} stages {stages} {sizes:?} {schedule:?}: {far}");
        }
    }
}

/// Attention: the probabilities are operand A out of registers.
#[test]
fn attention_agrees_with_the_cpu() {
    for (tile, elem, warps, stages, causal, [rows, columns]) in [
        ([64, 32, 64], "f16", 4, 3, true, [100i64, 100i64]),
        ([128, 64, 64], "bf16", 8, 2, false, [130, 150]),
        ([64, 64, 128], "f16", 4, 2, false, [64, 100]),
        ([64, 32, 80], "bf16", 4, 2, true, [70, 61]),
    ] {
        let d = i64::from(tile[2]);
        let text = attention(tile, elem, warps, stages, causal);
        let wgmma = ptx(&text, "sm_90a").ptx;
        // Half of them in the loop, the first and the last ones around it.
        assert_eq!(count(&wgmma, "wgmma.mma_async"), ((tile[2] + tile[1]) / 8) as usize, "{tile:?}\n{wgmma}");
        let dims = |n: i64| [n, d];
        let inputs = [(rows, 1), (columns, 2), (columns, 3), (rows, 4)].map(|(n, seed)| tensor(elem, &dims(n), seed));
        let grid = [(rows as u32).div_ceil(tile[0]), 1];
        let host = values(&on_host(&text, grid, &inputs)[3], elem);
        for schedule in SCHEDULES {
            let (gpu, _) = on_emulator_as(&text, "sm_90a", grid, &inputs, schedule);
            let tolerance = if elem == "f16" { 2e-3 } else { 1.6e-2 };
            for (i, (h, g)) in host.iter().zip(values(&gpu[3], elem)).enumerate() {
                assert!(
                    (h - g).abs() <= tolerance * (1.0 + h.abs()),
                    "{tile:?} {elem} {schedule:?} element {i}: CPU {h}, GPU {g}"
                );
            }
        }
    }
}

/// The fewest HGMMA there can be, tensor copies and no others, and nothing of what `mma.sync` needs; ptxas neither spills nor serializes. In the
/// consumers' loop, a step of 64 along k takes few other instructions, and no barrier of the block.
#[test]
fn instructions_of_a_matmul() {
    // 32 others for 4 HGMMA; two blocks of rows a warpgroup, 8 HGMMA, take more.
    for (tile, warps, others) in [
        ([128, 128, 64], 8, 32),
        ([128, 256, 64], 8, 32),
        ([128, 192, 64], 8, 32),
        ([256, 128, 64], 8, 40),
        ([128, 128, 64], 4, 40),
    ] {
        let artifact = ptx(&looped(tile, "bf16", "f32", warps, 3, ("?%16", 16)), "sm_90a");
        assert_eq!(artifact.layouts.conversions, 0, "{tile:?}");
        let Some(out) = assemble(&artifact) else { continue };
        let products = (tile[0] * tile[2] / (64 * 16) / (warps / 4)) as usize;
        assert_eq!(count(&out.sass, "HGMMA"), products, "{tile:?}");
        assert_eq!(count(&out.sass, "HMMA") + count(&out.sass, "LDSM") + count(&out.sass, "LDGSTS"), 0, "{tile:?}");
        assert!(count(&out.sass, "UTMALDG") > 0, "{tile:?}");
        let steady = loop_with(&out.sass, "HGMMA", products);
        let list = steady.join("\n");
        assert_eq!(count(&list, "BAR.SYNC") + count(&list, "R2UR"), 0, "{tile:?}\n{list}");
        assert!(steady.len() - products <= others, "{tile:?}: {} others\n{list}", steady.len() - products);
    }
}

/// As for a product: every HGMMA of attention once in the loop and once around it, K, V and Q by tensor copies, P out of registers.
#[test]
fn instructions_of_attention() {
    for (tile, warps) in [([128, 64, 64], 8), ([128, 64, 128], 8), ([128, 128, 128], 8), ([64, 128, 128], 4)] {
        let artifact = ptx(&attention(tile, "bf16", warps, 2, false), "sm_90a");
        let Some(out) = assemble(&artifact) else { continue };
        assert_eq!(count(&out.sass, "HGMMA"), ((tile[1] + tile[2]) / 8) as usize, "{tile:?}");
        assert_eq!(count(&out.sass, "HMMA") + count(&out.sass, "LDSM") + count(&out.sass, "LDGSTS"), 0, "{tile:?}");
        assert!(count(&out.sass, "UTMALDG") > 0, "{tile:?}");
    }
}

/// Both roles of a product, as `kiln build --emit layouts` shows them.
#[test]
fn roles() {
    let target = GpuTarget::from_name("sm_90a").expect("a supported target");
    let text = looped([128, 128, 64], "bf16", "f32", 8, 3, ("?%16", 16));
    let module = verify(parse_module(&text).expect("test input")).expect("test input");
    let laid_out = lay_out(&module, target).expect("lays out");
    insta::assert_snapshot!("layouts_roles_matmul", dump(&laid_out));
}
