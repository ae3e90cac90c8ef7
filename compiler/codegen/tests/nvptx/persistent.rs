//! Programs in an order of their own, and thread blocks that run several of them, on the emulator under adversarial completion, against the CPU.

use kiln_codegen::CodegenError;
use kiln_codegen::nvptx::GridMapping;
use kiln_emulator::Schedule;

use crate::epilogue::{PRODUCT, Product};
use crate::executed::{on_emulator_as, tensor, values};
use crate::support::{assemble, count, loop_with, ptx, try_compile};

/// Persistent products: the producer is ahead in the next program during the epilogue; an odd and an even number of rounds, fewer programs than thread
/// blocks, trips that leave a ring in every state, no trips at all.
#[test]
fn persistent_products() {
    for (tile, out, warps, stages, fused, sizes) in [
        ([64, 64, 32], "f16", 4, 3, false, [192, 128, 96]),
        ([64, 64, 32], "f16", 4, 2, true, [176, 160, 112]),
        ([128, 64, 32], "f32", 8, 4, true, [272, 144, 64]),
        ([64, 96, 32], "bf16", 4, 3, false, [160, 208, 80]),
        ([128, 64, 64], "bf16", 8, 1, false, [144, 208, 144]),
        ([64, 64, 32], "f16", 4, 3, false, [48, 64, 80]),
        ([64, 64, 32], "f16", 4, 3, false, [192, 128, 0]),
    ] {
        for schedule in [format!(", stages {stages}, persistent"), format!(", stages {stages}, group 2, persistent")] {
            let elem = if out == "bf16" { "bf16" } else { "f16" };
            let product = Product { tile, elem, out, warps, fused, schedule: schedule.leak(), ..PRODUCT };
            let artifact = ptx(&product.text(), "sm_90a");
            assert_eq!(artifact.grid, GridMapping::Persistent { pairs: None });
            product.agrees(sizes);
        }
    }
}

/// Without tensor maps, and on a target without warpgroups.
#[test]
fn persistence_needs_no_roles() {
    for (facts, target, sizes) in
        [(("?%2", 4), "sm_90a", [130, 138, 70]), (("?", 2), "sm_80", [131, 139, 75]), (("?%16", 16), "sm_80", [144, 208, 80])]
    {
        for fused in [false, true] {
            Product { facts, target, fused, schedule: ", stages 3, group 3, persistent", ..PRODUCT }.agrees(sizes);
        }
    }
}

/// Thread blocks take programs in groups, the last of which is smaller, and the host knows which.
#[test]
fn grouped_order() {
    let text = "kernel @0 k(v0.x: mut tensor<i32, 2> {number 0, align 4, dims [?, ?], strides [?, =1]}) grid 2 index 32 schedule {group 3} {\n\
         v1: index = program_id 0\n\
         v2: index = program_id 1\n\
         v3: index = block_id\n\
         v4: i32 = cast v3\n\
         store v0[v1, v2], v4\n\
         yield\n}\n";
    let artifact = ptx(text, "sm_80");
    assert_eq!(artifact.grid, GridMapping::Ordered { group: Some(3), pairs: None, split: None });
    let inputs = [tensor("i32", &[5, 4], 1)];
    let (gpu, _) = on_emulator_as(text, "sm_80", [5, 4], &inputs, Schedule::Eager);
    let ran = values(&gpu[0], "i32");
    let mut block = 0;
    for first in [0, 3] {
        for column in 0..4 {
            for row in first..(first + 3).min(5) {
                assert_eq!(ran[row * 4 + column], f64::from(block), "row {row}, column {column}");
                assert_eq!(artifact.grid.program([block, 0, 0], &[5, 4, 1, 1, 1]), Some((row + 5 * column) as i64));
                block += 1;
            }
        }
    }
    // Planes follow each other.
    assert_eq!(artifact.grid.program([20 + 1, 0, 0], &[5, 4, 2, 1, 1]), Some(20 + 1));
    assert_eq!(GridMapping::Persistent { pairs: None }.program([3, 0, 0], &[5, 4, 2, 1, 1]), None);
}

#[test]
fn what_cannot_be_persistent() {
    let refused = |text: &str| match try_compile(text, "sm_90a") {
        Err(CodegenError::Unsupported { code, message, .. }) => (code, message),
        other => panic!("not refused: {:?}", other.map(|artifact| artifact.ptx)),
    };
    let text = PRODUCT.text().replace("stages 2", "stages 2, persistent, cooperative");
    assert_eq!(refused(&text).0, "K0905");
    let text = PRODUCT.text().replace("stages 2", "stages 2, persistent").replace("v3: index", "print \"\" []\nv3: index");
    let (code, message) = refused(&text);
    assert!(code == "K0905" && message.contains("print"), "{message}");
}

/// In the loop over k nothing is added by the loop over programs.
#[test]
fn instructions_of_a_persistent_product() {
    for (tile, warps, others) in [([128, 128, 64], 8, 32), ([128, 256, 64], 8, 32)] {
        let product = Product { tile, elem: "bf16", out: "bf16", warps, schedule: ", stages 3, group 8, persistent", ..PRODUCT };
        let Some(out) = assemble(&ptx(&product.text(), "sm_90a")) else { continue };
        let steady = loop_with(&out.sass, "HGMMA", 4);
        let list = steady.join("\n");
        assert_eq!(count(&list, "BAR.SYNC") + count(&list, "R2UR"), 0, "{tile:?}\n{list}");
        assert!(steady.len() - 4 <= others, "{tile:?}: {} others\n{list}", steady.len() - 4);
        assert_eq!(count(&out.sass, "BAR.SYNC"), 1, "{tile:?}");
        assert_eq!(count(&out.sass, "UTMASTG"), (tile[0] * tile[1] / (32 * 32 * warps)) as usize, "{tile:?}");
    }
}
