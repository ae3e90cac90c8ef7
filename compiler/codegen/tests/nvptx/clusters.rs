//! Two thread blocks of a cluster that copy what both load once, on the emulator with every sanitizer under adversarial completion, against the CPU.

use kiln_codegen::CodegenError;
use kiln_codegen::nvptx::GridMapping;
use kiln_emulator::Schedule;

use crate::attention::attention;
use crate::epilogue::{PRODUCT, Product};
use crate::executed::{on_emulator_as, on_host, tensor, values};
use crate::support::{assemble, count, loop_with, ptx, try_compile};

/// Pairs along rows share B, along columns A; in any order of programs, also by persistent blocks; one box that is halved, and two. Tails.
#[test]
fn products() {
    for (tile, elem, out, warps, schedule, sizes) in [
        ([64, 64, 32], "f16", "f16", 4, ", stages 3, cluster [2, 1, 1]", [112, 80, 96]),
        ([64, 64, 32], "f16", "f16", 4, ", stages 2, cluster [1, 2, 1]", [80, 112, 112]),
        ([128, 128, 64], "bf16", "bf16", 8, ", stages 2, group 4, cluster [2, 1, 1]", [432, 144, 144]),
        ([64, 128, 32], "f16", "f32", 4, ", stages 4, group 2, cluster [1, 2, 1]", [144, 400, 64]),
        ([64, 64, 32], "f16", "f16", 4, ", stages 3, group 4, persistent, cluster [2, 1, 1]", [240, 176, 80]),
        ([64, 64, 32], "f16", "f16", 4, ", stages 1, persistent, cluster [1, 2, 1]", [144, 256, 48]),
        ([64, 64, 32], "f16", "f16", 4, ", stages 3, persistent, cluster [2, 1, 1]", [128, 64, 0]),
    ] {
        let product = Product { tile, elem, out, warps, schedule, fused: warps == 8, ..PRODUCT };
        let made = ptx(&product.text(), "sm_90a").ptx;
        assert!(made.contains("multicast::cluster") && made.contains(".reqnctapercluster 2"), "{schedule}\n{made}");
        product.agrees(sizes);
    }
}

/// K and V are the same for two blocks of rows; Q is not.
#[test]
fn attention_shares_keys_and_values() {
    let text = attention([64, 32, 64], "f16", 4, 3, false).replace("stages 3", "stages 3, cluster [2, 1, 1]");
    let made = ptx(&text, "sm_90a").ptx;
    assert_eq!(count(&made, "multicast::cluster"), 2, "{made}");
    let inputs = [(112, 1), (100, 2), (100, 3), (112, 4)].map(|(n, seed)| tensor("f16", &[n, 64], seed));
    let host = values(&on_host(&text, [2, 1], &inputs)[3], "f16");
    for schedule in [Schedule::Eager, Schedule::Lazy, Schedule::LazyRandom(1), Schedule::Random(2), Schedule::Random(3)] {
        let (gpu, _) = on_emulator_as(&text, "sm_90a", [2, 1], &inputs, schedule);
        for (h, g) in host.iter().zip(values(&gpu[3], "f16")) {
            assert!((h - g).abs() <= 2e-3 * (1.0 + h.abs()), "{schedule:?}: CPU {h}, GPU {g}");
        }
    }
}

/// Without tensor maps blocks of a cluster load for themselves.
#[test]
fn clusters_need_no_roles() {
    Product { facts: ("?%2", 4), schedule: ", stages 3, cluster [2, 1, 1]", ..PRODUCT }.agrees([102, 70, 90]);
}

/// The host finds the program of a block.
#[test]
fn programs_of_pairs() {
    for (schedule, sizes) in [("group 4, cluster [2, 1, 1]", [6u32, 3]), ("cluster [1, 2, 1]", [3, 4])] {
        let text = "kernel @0 k(v0.x: mut tensor<i32, 2> {number 0, align 4, dims [?, ?], strides [?, =1]}) grid 2 index 32 schedule {SCHEDULE} {\n\
             v1: index = program_id 0\n\
             v2: index = program_id 1\n\
             v3: index = block_id\n\
             v4: index = cluster_rank\n\
             v5: index = add v3, v3\n\
             v6: index = add v5, v4\n\
             v7: i32 = cast v6\n\
             store v0[v1, v2], v7\n\
             yield\n}\n"
            .replace("SCHEDULE", schedule);
        let artifact = ptx(&text, "sm_90a");
        assert!(matches!(artifact.grid, GridMapping::Ordered { pairs: Some(_), .. }));
        let [rows, columns] = sizes.map(i64::from);
        let (gpu, _) = on_emulator_as(&text, "sm_90a", sizes, &[tensor("i32", &[rows, columns], 1)], Schedule::Eager);
        let ran = values(&gpu[0], "i32");
        for block in 0..sizes[0] * sizes[1] {
            let program = artifact.grid.program([block, 0, 0], &[rows, columns, 1, 1, 1]).expect("one program a block");
            let at = (program % rows) * columns + program / rows;
            assert_eq!(ran[at as usize], f64::from(block), "{schedule}, program {program}");
        }
    }
}

#[test]
fn what_is_no_cluster() {
    let refused = |schedule: &'static str, target: &str| match try_compile(&Product { schedule, ..PRODUCT }.text(), target) {
        Err(CodegenError::Unsupported { code: "K0905", message, .. }) => message,
        other => panic!("not refused: {:?}", other.map(|artifact| artifact.ptx)),
    };
    assert!(refused(", cluster [4, 1, 1]", "sm_90a").contains("two thread blocks along axis 0 or axis 1"));
    assert!(refused(", cluster [2, 1, 1]", "sm_80").contains("compute capability 9.0"));
    assert!(refused(", cooperative, cluster [2, 1, 1]", "sm_90a").contains("cooperative"));
}

/// Halves of B by multicast, about as many instructions in the loop of consumers as for one block.
#[test]
fn instructions() {
    for (tile, others) in [([128, 128, 64], 32), ([128, 256, 64], 32)] {
        let schedule = ", stages 3, group 8, persistent, cluster [2, 1, 1]";
        let product = Product { tile, elem: "bf16", out: "bf16", warps: 8, schedule, ..PRODUCT };
        let Some(out) = assemble(&ptx(&product.text(), "sm_90a")) else { continue };
        assert!(count(&out.sass, "MULTICAST") > 0, "{tile:?}\n{}", out.sass);
        let steady = loop_with(&out.sass, "HGMMA", 4);
        let list = steady.join("\n");
        assert_eq!(count(&list, "BAR.SYNC") + count(&list, "R2UR"), 0, "{tile:?}\n{list}");
        assert!(steady.len() - 4 <= others, "{tile:?}: {} others\n{list}", steady.len() - 4);
    }
}
