//! Two warpgroups that take turns with the programs of a persistent thread block, on the emulator with every sanitizer under adversarial completion, against
//! the CPU; what is refused; what ptxas makes of it.

use kiln_codegen::CodegenError;
use kiln_codegen::nvptx::GridMapping;

use crate::epilogue::{PRODUCT, Product};
use crate::support::{assemble, count, loop_with, ptx, try_compile};

/// Thread blocks with an even and an odd number of programs, with one, with none for the second group; trips that leave rings in every state, fewer than slots,
/// none; sums that leave by the engine and by threads; an epilogue that goes through shared memory.
#[test]
fn products() {
    for (tile, elem, out, stages, fused, sizes) in [
        ([64, 64, 32], "f16", "f16", 3, false, [240, 128, 96]),
        ([64, 64, 32], "f16", "f16", 2, true, [176, 160, 112]),
        ([64, 64, 32], "f16", "f32", 4, true, [320, 144, 64]),
        ([64, 96, 32], "bf16", "bf16", 3, false, [160, 208, 80]),
        ([128, 64, 64], "bf16", "bf16", 1, false, [272, 208, 144]),
        ([64, 64, 32], "f16", "f16", 3, true, [48, 64, 80]),
        ([64, 64, 32], "f16", "f16", 3, false, [128, 64, 160]),
        ([64, 64, 32], "f16", "f16", 3, false, [192, 192, 0]),
        ([64, 256, 32], "bf16", "f16", 5, true, [208, 256, 48]),
    ] {
        for schedule in
            [format!(", stages {stages}, persistent, ping_pong"), format!(", stages {stages}, group 2, persistent, ping_pong")]
        {
            let product = Product { tile, elem, out, fused, schedule: schedule.leak(), ..PRODUCT };
            let artifact = ptx(&product.text(), "sm_90a");
            // A residual and a bias beside 128 sums take a whole warpgroup's registers.
            let warps = if fused && tile[1] == 256 { 12 } else { 9 };
            assert_eq!((artifact.grid, artifact.num_warps), (GridMapping::Persistent { pairs: None }, warps), "{tile:?}");
            product.agrees(sizes);
        }
    }
}

/// Groups exchange through memory of their own: a sum over rows, which goes on.
#[test]
fn exchanges_of_groups_do_not_meet() {
    let product = Product { schedule: ", stages 2, persistent, ping_pong", ..PRODUCT };
    let sum = "tile<f32, [64, 64]>";
    let body = format!(
        "v60: tile<f32, [64]> = reduce max [v13] axis 0\nv61: tile<f32, [1, 64]> = expand_dims v60 axis 0\nv62: {sum} = broadcast v61\n\
         v63: {sum} = sub v13, v62\nv64: {sum} = permute v63 [1, 0]\nv65: {sum} = permute v64 [1, 0]\nv31: "
    );
    let text = product.text().replace("v31: ", &body).replace("cast v13", "cast v65");
    product.agrees_on(&text, [256, 192, 80]);
}

/// Pairs of thread blocks share what both load; the groups of each take turns.
#[test]
fn clusters_take_turns_too() {
    for (schedule, sizes) in [
        (", stages 3, group 4, persistent, ping_pong, cluster [2, 1, 1]", [240, 176, 80]),
        (", stages 2, persistent, ping_pong, cluster [1, 2, 1]", [144, 256, 48]),
    ] {
        let product = Product { schedule, fused: true, ..PRODUCT };
        assert!(ptx(&product.text(), "sm_90a").ptx.contains("multicast::cluster"));
        product.agrees(sizes);
    }
}

/// Where the engine cannot copy there is no producer, and a program a time.
#[test]
fn without_tensor_maps_nobody_takes_turns() {
    let product = Product { facts: ("?%2", 4), schedule: ", stages 3, persistent, ping_pong", ..PRODUCT };
    assert_eq!(ptx(&product.text(), "sm_90a").num_warps, 4);
    product.agrees([130, 138, 70]);
}

#[test]
fn what_takes_no_turns() {
    let refused = |text: &str, target: &str| match try_compile(text, target) {
        Err(CodegenError::Unsupported { code: "K0905", message, .. }) => message,
        other => panic!("not refused: {:?}", other.map(|artifact| artifact.ptx)),
    };
    let with = |schedule: &'static str, warps| Product { schedule, warps, ..PRODUCT }.text();
    assert!(refused(&with(", ping_pong", 4), "sm_90a").contains("`persistent`"));
    assert!(refused(&with(", persistent, ping_pong", 8), "sm_90a").contains("4 warps"));
    for target in ["sm_80", "sm_90"] {
        assert!(refused(&with(", persistent, ping_pong", 4), target).contains("sm_90a"));
    }
    // The number of trips depends on the program.
    let text = with(", persistent, ping_pong", 4).replace("for v10..v11", "for v8..v11");
    assert!(refused(&text, "sm_90a").contains("as many trips in each program"));
    // A loop in a loop.
    let text = with(", persistent, ping_pong", 4);
    let nested = text.replace("v13: ", "v70: index = const 3\nv71: index = const 1\nv13: tile<f32, [64, 64]> = for v10..v70 step v71 init [v12] (v72: index, v73: tile<f32, [64, 64]>) {\nv74: ");
    let nested =
        nested.replacen("step v7 init [v12]", "step v7 init [v73]", 1).replace("yield v18\n}\n", "yield v18\n}\nyield v74\n}\n");
    assert!(refused(&nested, "sm_90a").contains("one loop of a program"));
}

/// A warpgroup a program: the loop over k is the usual one, with no barrier of the block in the whole kernel but the one in front of the roles.
#[test]
fn instructions() {
    for (tile, products) in [([64, 128, 64], 4), ([128, 128, 64], 8), ([64, 256, 64], 4)] {
        let schedule = ", stages 4, group 8, persistent, ping_pong";
        let product = Product { tile, elem: "bf16", out: "bf16", schedule, ..PRODUCT };
        let Some(out) = assemble(&ptx(&product.text(), "sm_90a")) else { continue };
        let steady = loop_with(&out.sass, "HGMMA", products);
        let list = steady.join("\n");
        assert_eq!(count(&list, "BAR.SYNC") + count(&list, "R2UR"), 0, "{tile:?}\n{list}");
        // One group a trip, and the wait for it.
        assert_eq!(count(&list, "gsb0"), 2, "{tile:?}\n{list}");
        assert!(steady.len() - products <= 40, "{tile:?}: {} others\n{list}", steady.len() - products);
        assert_eq!(count(&out.sass, "BAR.SYNC"), 1, "{tile:?}");
    }
}
