//! Attention: two products with a softmax between, of which nothing but the operands goes through shared memory.

use kiln_codegen::nvptx::{GpuTarget, lay_out};
use kiln_emulator::Schedule;
use kiln_ir::layout::dump;
use kiln_ir::text::parse_module;
use kiln_ir::verify::verify;

use crate::executed::{on_emulator_as, on_host, tensor, values};
use crate::support::{assemble, count, ptx};

/// `o = softmax(q @ k^T) @ v` for a block of `bm` rows a program and steps of `bn`; `causal` masks what lies ahead. Products of f32 are in tf32.
pub fn attention([bm, bn, d]: [u32; 3], elem: &str, warps: u32, stages: u32, causal: bool) -> String {
    let facts = |number: u32| format!("{{number {number}, align 16, dims [?, ={d}], strides [?%16, =1]}}");
    let live = if causal {
        format!(
            "v60: tile<index, [{bm}]> = iota 0\n\
             v61: tile<index, [{bm}]> = broadcast v6\n\
             v62: tile<index, [{bm}]> = add v60, v61\n\
             v63: tile<index, [{bm}, 1]> = expand_dims v62 axis 1\n\
             v64: tile<index, [{bm}, {bn}]> = broadcast v63\n\
             v65: tile<index, [1, {bn}]> = expand_dims v28 axis 0\n\
             v66: tile<index, [{bm}, {bn}]> = broadcast v65\n\
             v67: tile<bool, [{bm}, {bn}]> = cmp le v66, v64\n\
             v32: tile<bool, [{bm}, {bn}]> = and v67, v59\n"
        )
    } else {
        format!("v58: tile<bool, [{bm}, {bn}]> = const 1\nv32: tile<bool, [{bm}, {bn}]> = and v58, v59\n")
    };
    let single = elem == "f32";
    let precision = if single { " precision tf32" } else { "" };
    // What is f32 already needs no cast.
    let cast = |to: &str, from: &str, columns: u32| {
        if single { String::new() } else { format!("{to}: tile<{elem}, [{bm}, {columns}]> = cast {from}\n") }
    };
    let (weights, out) = if single { ("v40", "v54") } else { ("v49", "v55") };
    let (cast_weights, cast_out) = (cast("v49", "v40", bn), cast("v55", "v54", d));
    format!(
        "kernel @0 attention(v0.q: tensor<{elem}, 2> {}, v1.k: tensor<{elem}, 2> {}, v2.v: tensor<{elem}, 2> {}, v3.o: mut tensor<{elem}, 2> {}) grid 1 index 32 schedule {{warps {warps}, stages {stages}}} {{\n\
         v4: index = program_id 0\n\
         v5: index = const {bm}\n\
         v6: index = mul v4, v5\n\
         v7: index = const 0\n\
         v8: index = const {bn}\n\
         v9: index = view_dim v1 axis 0\n\
         v10: tile<{elem}, [{bm}, {d}]> = load v0[v6..+{bm}, v7..+{d}!]\n\
         v11: tile<f32, [{bm}, {d}]> = const 0.0\n\
         v12: tile<f32, [{bm}]> = const -inf\n\
         v13: tile<f32, [{bm}]> = const 0.0\n\
         v14: tile<f32, [{bm}, {d}]>, v15: tile<f32, [{bm}]>, v16: tile<f32, [{bm}]> = for v7..v9 step v8 init [v11, v12, v13] (v17: index, v18: tile<f32, [{bm}, {d}]>, v19: tile<f32, [{bm}]>, v20: tile<f32, [{bm}]>) {{\n\
         v21: tile<{elem}, [{bn}, {d}]> = load v1[v17..+{bn}, v7..+{d}!]\n\
         v22: tile<{elem}, [{d}, {bn}]> = permute v21 [1, 0]\n\
         v23: tile<f32, [{bm}, {bn}]> = dot v10, v22{precision}\n\
         v24: tile<f32, [{bm}, {bn}]> = const 0.1875\n\
         v25: tile<f32, [{bm}, {bn}]> = mul v23, v24\n\
         v26: tile<index, [{bn}]> = iota 0\n\
         v27: tile<index, [{bn}]> = broadcast v17\n\
         v28: tile<index, [{bn}]> = add v26, v27\n\
         v29: tile<index, [{bn}]> = broadcast v9\n\
         v30: tile<bool, [{bn}]> = cmp lt v28, v29\n\
         v31: tile<bool, [1, {bn}]> = expand_dims v30 axis 0\n\
         v59: tile<bool, [{bm}, {bn}]> = broadcast v31\n\
         {live}\
         v33: tile<f32, [{bm}, {bn}]> = const -inf\n\
         v34: tile<f32, [{bm}, {bn}]> = select v32, v25, v33\n\
         v35: tile<f32, [{bm}]> = reduce max [v34] axis 1\n\
         v36: tile<f32, [{bm}]> = max v19, v35\n\
         v37: tile<f32, [{bm}, 1]> = expand_dims v36 axis 1\n\
         v38: tile<f32, [{bm}, {bn}]> = broadcast v37\n\
         v39: tile<f32, [{bm}, {bn}]> = sub v34, v38\n\
         v40: tile<f32, [{bm}, {bn}]> = fast_exp2 v39\n\
         v41: tile<f32, [{bm}]> = sub v19, v36\n\
         v42: tile<f32, [{bm}]> = fast_exp2 v41\n\
         v43: tile<f32, [{bm}]> = mul v20, v42\n\
         v44: tile<f32, [{bm}]> = reduce add [v40] axis 1\n\
         v45: tile<f32, [{bm}]> = add v43, v44\n\
         v46: tile<f32, [{bm}, 1]> = expand_dims v42 axis 1\n\
         v47: tile<f32, [{bm}, {d}]> = broadcast v46\n\
         v48: tile<f32, [{bm}, {d}]> = mul v18, v47\n\
         {cast_weights}\
         v50: tile<{elem}, [{bn}, {d}]> = load v2[v17..+{bn}, v7..+{d}!]\n\
         v51: tile<f32, [{bm}, {d}]> = dot {weights}, v50 acc v48{precision}\n\
         yield v51, v36, v45\n\
         }}\n\
         v52: tile<f32, [{bm}, 1]> = expand_dims v16 axis 1\n\
         v53: tile<f32, [{bm}, {d}]> = broadcast v52\n\
         v54: tile<f32, [{bm}, {d}]> = fast_div v14, v53\n\
         {cast_out}\
         store v3[v6..+{bm}, v7..+{d}!], {out}\n\
         yield\n}}\n",
        facts(0),
        facts(1),
        facts(2),
        facts(3),
    )
}

/// Against the CPU: head dims that are and are not powers of two, tails of rows and columns, causal and not, every completion of copies.
#[test]
fn agrees_with_the_cpu() {
    let schedules = [Schedule::Eager, Schedule::Lazy, Schedule::Random(1), Schedule::Random(2)];
    for (tile, elem, warps, stages, causal, [rows, columns]) in [
        ([64, 32, 64], "f16", 4, 2, false, [64i64, 96i64]),
        ([64, 32, 64], "f16", 4, 3, true, [100, 100]),
        ([32, 32, 32], "bf16", 2, 2, true, [40, 70]),
        ([64, 32, 48], "f16", 4, 2, false, [64, 50]),
        ([16, 32, 64], "f16", 4, 2, false, [16, 64]),
        ([64, 24, 80], "bf16", 4, 2, false, [70, 61]),
    ] {
        let d = i64::from(tile[2]);
        let text = attention(tile, elem, warps, stages, causal);
        let inputs = [
            tensor(elem, &[rows, d], 1),
            tensor(elem, &[columns, d], 2),
            tensor(elem, &[columns, d], 3),
            tensor(elem, &[rows, d], 4),
        ];
        let grid = [(rows as u32).div_ceil(tile[0]), 1];
        let host = values(&on_host(&text, grid, &inputs)[3], elem);
        for (schedule, target) in schedules.into_iter().zip(["sm_80", "sm_86", "sm_89", "sm_90a"]) {
            let (gpu, _) = on_emulator_as(&text, target, grid, &inputs, schedule);
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

/// No bank conflict, no product done twice, every operand copied once; P and the row statistics never leave registers: what goes
/// through shared memory besides fragments is the result, on its way to whole vectors.
#[test]
fn counters() {
    for (tile, warps, [rows, columns]) in [([64, 32, 64], 4, [64u64, 128u64]), ([128, 64, 128], 8, [128, 128])] {
        let d = u64::from(tile[2]);
        let dims = |n: u64| [n as i64, d as i64];
        let text = attention(tile, "f16", warps, 2, false);
        let inputs = [rows, columns, columns, rows].map(|n| tensor("f16", &dims(n), n));
        let (_, report) = on_emulator_as(&text, "sm_80", [1, 1], &inputs, Schedule::Lazy);
        let total = report.counters.expect("counters are on").total;
        assert_eq!(total.shared_wavefronts, total.shared_ideal, "{tile:?}");
        assert_eq!(total.tensor_flops, 2 * 2 * rows * columns * d, "{tile:?}");
        // Q, K, V and the result once, in whole sectors.
        assert_eq!(total.global_sectors, (2 * rows + 2 * columns) * d * 2 / 32, "{tile:?}");
    }
}

/// Every target without warpgroups: as many HMMA as the products have, copies and fragment reads of the widest kind, no spill.
#[test]
fn instructions() {
    for (tile, warps) in [([128, 64, 64], 4), ([128, 64, 128], 8)] {
        let [bm, bn, d] = tile;
        for target in ["sm_80", "sm_86", "sm_89"] {
            let artifact = ptx(&attention(tile, "f16", warps, 2, false), target);
            // The result alone changes its layout; P is an operand as it is.
            assert_eq!((artifact.layouts.conversions, artifact.layouts.through_shared), (1, 1), "{tile:?} {target}");
            let Some(out) = assemble(&artifact) else { continue };
            let products = 2 * bm * bn * d / (16 * 8 * 16) / warps;
            assert_eq!(count(&out.sass, "HMMA.16816.F32"), products as usize, "{tile:?} {target}");
            assert_eq!(count(&out.sass, "HMMA"), products as usize, "{tile:?} {target}");
            // Q once, K and V once ahead of the loop and once in it, 16 bytes a thread.
            let copies = (bm + 4 * bn) * d * 2 / 16 / (32 * warps);
            assert_eq!(count(&out.sass, "LDGSTS.E.BYPASS.128"), copies as usize, "{tile:?} {target}");
            assert_eq!(count(&out.sass, "LDGSTS"), copies as usize, "{tile:?} {target}");
            // K and V by four matrices for every warp, Q for its own rows.
            let reads = 2 * bn * d / (16 * 16) + bm / warps * d / (16 * 16);
            assert_eq!(count(&out.sass, "LDSM"), reads as usize, "{tile:?} {target}");
            // One for each element of P, and one for each row a thread has part in.
            let powers = bm * bn / (32 * warps) + bm / warps / 8;
            assert_eq!(count(&out.sass, "MUFU.EX2"), powers as usize, "{tile:?} {target}");
        }
    }
}

/// Rings, layouts and conversions of a product and of attention, as `kiln build --emit layouts` shows them.
#[test]
fn layouts() {
    let target = GpuTarget::from_name("sm_80").expect("a supported target");
    for (name, text) in [
        ("matmul", crate::products::looped([128, 128, 64], "f16", "f32", 8, 3, ("?%16", 16))),
        ("attention", attention([128, 64, 64], "f16", 4, 2, false)),
    ] {
        let module = verify(parse_module(&text).expect("test input")).expect("test input");
        let laid_out = lay_out(&module, target).expect("lays out");
        insta::assert_snapshot!(format!("layouts_{name}"), dump(&laid_out));
    }
}
