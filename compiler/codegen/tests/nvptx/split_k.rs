//! Thread blocks that share a program, each with a part of its loop over products, on the emulator with every sanitizer under adversarial completion, against
//! the CPU; what is refused; what ptxas makes of it.

use half::f16;
use kiln_codegen::CodegenError;
use kiln_codegen::nvptx::GridMapping;
use kiln_emulator::Schedule;

use crate::epilogue::{PRODUCT, Product};
use crate::executed::{Input, on_emulator_as, on_host};
use crate::support::{assemble, count, loop_with, ptx, try_compile};

/// Two to eight blocks; trips that they divide and do not, fewer trips than blocks, none; pieces that they divide and do not; tails; fused epilogues.
#[test]
fn products() {
    for (tile, elem, out, warps, schedule, fused, sizes) in [
        ([64, 64, 32], "f16", "f16", 4, ", stages 2, split_k 2", false, [80, 80, 160]),
        ([64, 64, 32], "f16", "f16", 4, ", stages 3, split_k 3", true, [64, 112, 208]),
        ([128, 64, 64], "bf16", "bf16", 8, ", stages 2, split_k 4", true, [144, 80, 272]),
        ([64, 48, 32], "f16", "f16", 4, ", stages 4, split_k 5, group 2", false, [144, 96, 336]),
        ([64, 16, 64], "bf16", "bf16", 4, ", stages 3, split_k 8", false, [64, 48, 320]),
        ([64, 64, 32], "f16", "f16", 8, ", stages 2, split_k 2", true, [48, 128, 16]),
        ([64, 64, 32], "f16", "f16", 4, ", stages 3, split_k 4", true, [64, 64, 0]),
        ([64, 256, 32], "bf16", "bf16", 4, ", stages 2, split_k 2", false, [64, 256, 80]),
    ] {
        let product = Product { tile, elem, out, warps, schedule, fused, ..PRODUCT };
        let artifact = ptx(&product.text(), "sm_90a");
        let GridMapping::Ordered { split: Some(blocks), .. } = artifact.grid else { panic!("{schedule}: {:?}", artifact.grid) };
        assert!(artifact.ptx.contains(&format!(".reqnctapercluster {blocks}")), "{schedule}\n{}", artifact.ptx);
        assert!(artifact.ptx.contains("cp.async.bulk.tensor.2d.shared::cluster") && artifact.ptx.contains("ld.shared::cluster"));
        product.agrees(sizes);
    }
}

/// Without tensor maps, and without warpgroups.
#[test]
fn sharing_needs_no_roles() {
    for (facts, target, sizes) in [
        (("?%2", 4), "sm_90a", [70, 74, 150]),
        (("?", 2), "sm_90a", [67, 41, 131]),
        (("?%16", 16), "sm_90", [80, 64, 144]),
        (("?", 2), "sm_90", [65, 33, 71]),
    ] {
        for schedule in [", stages 3, split_k 2", ", stages 2, split_k 3, group 2"] {
            Product { facts, target, schedule, fused: true, ..PRODUCT }.agrees(sizes);
        }
    }
}

/// What the sum starts with is added once.
#[test]
fn a_start_counts_once() {
    let product = Product { schedule: ", stages 2, split_k 3", fused: true, ..PRODUCT };
    let text = product.text();
    let text = text.replace("v13: ", "v40: tile<f32, [64, 64]> = const 2.5\nv13: ").replace("init [v12]", "init [v40]");
    product.agrees_on(&text, [80, 64, 176]);
}

/// A loop goes on with the sum of one before, and another one has a sum of its own; a loop in a loop.
#[test]
fn loops_in_a_row_and_in_each_other() {
    let product = Product { schedule: ", stages 2, split_k 2", ..PRODUCT };
    let sum = "tile<f32, [64, 64]>";
    let body = |n: u32| {
        format!(
            "v{0}6: tile<f16, [64, 32]> = load v0[v8..+64, v{0}4..+32]\n\
             v{0}7: tile<f16, [32, 64]> = load v1[v{0}4..+32, v9..+64]\n\
             v{0}8: {sum} = dot v{0}6, v{0}7 acc v{0}5\n\
             yield v{0}8\n}}\n",
            n
        )
    };
    let another = |n: u32, from: &str| {
        format!("v{n}3: {sum} = for v10..v11 step v7 init [{from}] (v{n}4: index, v{n}5: {sum}) {{\n{}", body(n))
    };
    let text = product.text();
    let behind = format!("{}{}v60: {sum} = add v43, v53\n", another(4, "v13"), another(5, "v12"));
    let twice = text.replace("v31: tile", &format!("{behind}v31: tile")).replace("cast v13", "cast v60");
    product.agrees_on(&twice, [80, 64, 112]);
    let nested = text.replace("v13: ", &format!("v70: index = const 3\nv71: index = const 1\nv13: {sum} = for v10..v70 step v71 init [v12] (v72: index, v73: {sum}) {{\nv74: "));
    let nested = nested.replacen(
        "v74: tile<f32, [64, 64]> = for v10..v11 step v7 init [v12]",
        &format!("v74: {sum} = for v10..v11 step v7 init [v73]"),
        1,
    );
    let nested = nested.replace("yield v18\n}\n", "yield v18\n}\nyield v74\n}\n");
    product.agrees_on(&nested, [64, 80, 80]);
}

/// Sums of whole numbers, which no order rounds, to the bit; of others the same bits whatever happens first.
#[test]
fn results_are_the_same_each_time() {
    let whole = |count: i64, seed: i64| -> Vec<u8> {
        let at = |i: i64| f16::from_f32(((i * 131 + seed * 977) % 17 - 8) as f32);
        (0..count).flat_map(|i| at(i).to_bits().to_le_bytes()).collect()
    };
    let schedules = [Schedule::Eager, Schedule::Lazy, Schedule::LazyRandom(1), Schedule::Random(2), Schedule::Random(3)];
    for (tile, warps, schedule) in [
        ([64, 64, 32], 4, ", stages 2, split_k 4"),
        ([64, 48, 32], 4, ", stages 4, split_k 5, group 2"),
        ([128, 64, 32], 8, ", stages 3, split_k 3"),
    ] {
        let product = Product { tile, out: "f32", warps, schedule, ..PRODUCT };
        let [m, n, k] = [144, 96, 336];
        let text = product.text();
        let grid = [144u32.div_ceil(tile[0]), 96u32.div_ceil(tile[1])];
        let mut inputs = product.inputs([m, n, k]);
        let first = on_emulator_as(&text, "sm_90a", grid, &inputs, Schedule::Random(4)).0;
        for schedule in schedules {
            assert!(on_emulator_as(&text, "sm_90a", grid, &inputs, schedule).0 == first, "{tile:?}, {schedule:?}");
        }
        inputs[0] = Input::Tensor(whole(m * k, 1), vec![m, k], vec![k, 1]);
        inputs[1] = Input::Tensor(whole(k * n, 2), vec![k, n], vec![n, 1]);
        let host = on_host(&text, grid, &inputs);
        assert!(on_emulator_as(&text, "sm_90a", grid, &inputs, Schedule::Lazy).0 == host, "{tile:?}");
    }
}

#[test]
fn what_is_not_shared() {
    let refused = |text: &str, target: &str| match try_compile(text, target) {
        Err(CodegenError::Unsupported { code: "K0905", message, .. }) => message,
        other => panic!("not refused: {:?}", other.map(|artifact| artifact.ptx)),
    };
    let with = |schedule: &'static str| Product { schedule, ..PRODUCT }.text();
    let text = with(", split_k 2");
    assert!(refused(&text, "sm_80").contains("9.0"));
    for (other, schedule) in [
        ("persistent", ", split_k 2, persistent"),
        ("cluster", ", split_k 2, cluster [2, 1, 1]"),
        ("cooperative", ", split_k 2, cooperative"),
    ] {
        assert!(refused(&with(schedule), "sm_90a").contains(&format!("not together with `{other}`")), "{other}");
    }
    let prints = text.replace("v3: index", "print \"\" []\nv3: index");
    assert!(refused(&prints, "sm_90a").contains("`print`"));
    let writes = text.replace("v12: ", "v50: f16 = const 1.0\nstore v2[v8, v9], v50\nv12: ");
    assert!(refused(&writes, "sm_90a").contains("every thread block would write"));
    let carries = text.replace("yield v18", "v51: tile<f32, [64, 64]> = mul v18, v18\nyield v51");
    assert!(refused(&carries, "sm_90a").contains("no sum"));
    let twice = text.replace("yield v18", "v51: tile<f32, [64, 64]> = add v18, v15\nyield v51");
    assert!(refused(&twice, "sm_90a").contains("no sum"));
    let no_loop = "kernel @0 k(v0.x: mut tensor<f32, 1> {number 0, align 4, dims [?], strides [=1]}) grid 1 index 32 schedule {split_k 2} {\n\
         v1: index = program_id 0\nv2: f32 = const 1.0\nstore v0[v1], v2\nyield\n}\n";
    assert!(refused(no_loop, "sm_90a").contains("no loop over products"));
    // One thread block a program is nothing to refuse.
    assert!(try_compile(&with(", split_k 1, persistent"), "sm_90a").is_ok());
}

/// The loop over k is that of one block; sums go through memory in whole words of 16 bytes.
#[test]
fn instructions() {
    for (tile, warps, blocks, schedule) in [
        ([64, 128, 64], 4, 4, ", stages 4, split_k 4"),
        ([128, 128, 64], 8, 2, ", stages 4, split_k 2"),
        ([128, 256, 64], 8, 8, ", stages 3, split_k 8"),
        ([64, 16, 64], 4, 8, ", stages 6, split_k 8"),
    ] {
        let product = Product { tile, elem: "bf16", out: "bf16", warps, schedule, ..PRODUCT };
        let Some(out) = assemble(&ptx(&product.text(), "sm_90a")) else { continue };
        let steady = loop_with(&out.sass, "HGMMA", 4);
        let list = steady.join("\n");
        assert_eq!(count(&list, "BAR.SYNC") + count(&list, "R2UR"), 0, "{tile:?}\n{list}");
        assert!(steady.len() - 4 <= 32, "{tile:?}: {} others\n{list}", steady.len() - 4);
        // Each piece is fetched once, and added up once in one of the blocks; a block that has none of the last ones branches around them.
        let pieces = (tile[0] * tile[1] / (32 * warps * 4)) as usize;
        assert_eq!(count(&out.sass, "LD.E.128"), pieces + pieces.div_ceil(blocks) * blocks, "{tile:?}\n{}", out.sass);
        assert_eq!(count(&out.sass, "STS.128"), pieces + pieces.div_ceil(blocks), "{tile:?}\n{}", out.sass);
    }
}
