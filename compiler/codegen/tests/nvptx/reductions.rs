//! Atomics on tiles that leave through shared memory as reductions of the TMA engine, on the emulator with every sanitizer under adversarial completion, against
//! the CPU; those that stay atomics of threads; and what ptxas makes of them.

use kiln_emulator::Schedule;

use crate::epilogue::{PRODUCT, Product};
use crate::executed::{on_emulator_as, on_host, tensor, values};
use crate::products::{difference, input};
use crate::support::{assemble, count, ptx};

const SCHEDULES: [Schedule; 5] =
    [Schedule::Eager, Schedule::Lazy, Schedule::LazyRandom(1), Schedule::LazyRandom(2), Schedule::Random(3)];
const ENGINE: &str = "cp.reduce.async.bulk.tensor";

/// The product with an atomic in place of its store.
fn reducing(product: &Product, op: &str, ordering: &str) -> String {
    let [m, n, _] = product.tile;
    let text = product.text();
    let (before, store) = text.split_once("store ").expect("a store");
    format!("{before}v90: tile<{}, [{m}, {n}]> = atomic {op} {}", product.out, store.replacen('\n', &format!(" {ordering}\n"), 1))
}

/// Instructions of threads that are atomics.
fn of_threads(ptx: &str) -> usize {
    count(ptx, "atom.") + count(ptx, "red.relaxed")
}

/// Sums of one to four warpgroups, of 16 and 32 bits, with and without an epilogue, tails, and schedules of every kind.
#[test]
fn sums_of_products() {
    for (tile, elem, out, warps, fused, schedule, sizes) in [
        ([64, 64, 32], "f16", "f32", 4, false, ", stages 2", [80, 48, 112]),
        ([128, 64, 64], "bf16", "bf16", 8, true, ", stages 2", [144, 80, 64]),
        ([64, 96, 32], "bf16", "f32", 4, false, ", stages 3", [80, 112, 64]),
        ([64, 48, 32], "f16", "f16", 4, true, ", stages 2", [64, 96, 32]),
        ([256, 64, 32], "f16", "bf16", 16, false, ", stages 2", [272, 64, 64]),
        ([64, 64, 32], "f16", "f32", 4, false, ", stages 3, persistent", [240, 176, 80]),
        ([128, 64, 32], "f16", "f32", 8, true, ", stages 2, group 2, persistent", [272, 144, 64]),
        ([64, 64, 32], "f16", "f32", 4, false, ", stages 3, cluster [2, 1, 1]", [112, 80, 96]),
        ([64, 64, 32], "f16", "f16", 4, false, ", stages 2, persistent, cluster [1, 2, 1]", [144, 256, 48]),
        ([64, 64, 32], "f16", "f32", 4, false, ", stages 2, persistent, ping_pong", [240, 176, 80]),
        ([64, 64, 32], "f16", "f16", 4, false, ", stages 2, split_k 2", [80, 80, 176]),
    ] {
        let product = Product { tile, elem, out, warps, fused, schedule, ..PRODUCT };
        let text = reducing(&product, "add", "relaxed device");
        let made = ptx(&text, "sm_90a").ptx;
        assert!(made.contains(&format!("{ENGINE}.2d.global.shared::cta.add.tile.bulk_group")), "{schedule}\n{made}");
        assert_eq!(of_threads(&made), 0, "{schedule}\n{made}");
        assert_eq!(made.contains("stmatrix"), out != "f32");
        product.agrees_on(&text, sizes);
    }
}

/// Programs of one tile of the result that each have a part of k add up there: `split_k` by hand.
#[test]
fn parts_of_k() {
    let product = Product { out: "f32", ..PRODUCT };
    let parts = 3;
    let text = reducing(&product, "add", "relaxed program")
        .replace("v9: index = mul v4, v6\n", "v9: index = const 0\nv41: index = mul v4, v7\nv42: index = const 96\n")
        .replace("for v10..v11 step v7", "for v41..v11 step v42");
    assert!(ptx(&text, "sm_90a").ptx.contains(ENGINE));
    for [m, n, k] in [[144, 64, 208], [80, 48, 32]] {
        let (inputs, grid) = (product.inputs([m, n, k]), [(m as u32).div_ceil(64), parts]);
        let host = values(&on_host(&text, grid, &inputs)[2], "f32");
        for schedule in SCHEDULES {
            let (gpu, _) = on_emulator_as(&text, "sm_90a", grid, &inputs, schedule);
            let far = difference(&host, &values(&gpu[2], "f32"));
            assert!(far <= 2e-6, "{m} x {n} x {k}, {schedule:?}: {far}");
        }
    }
}

/// A product of bytes, by every operation on integers.
#[test]
fn sums_of_integers() {
    for (number, (elem, out, op)) in [
        ("i8", "i32", "add"),
        ("i8", "i32", "min"),
        ("i8", "i32", "max"),
        ("u8", "u32", "min"),
        ("u8", "u32", "max"),
        ("u8", "u32", "and"),
        ("i8", "i32", "or"),
        ("u8", "u32", "xor"),
    ]
    .into_iter()
    .enumerate()
    {
        let of = |number: u32| format!("{{number {number}, align 16, dims [?, ?], strides [?%16, =1]}}");
        let text = format!(
            "kernel @0 k(v0.a: tensor<{elem}, 2> {}, v1.b: tensor<{elem}, 2> {}, v2.c: mut tensor<{out}, 2> {}) grid 1 index 32 schedule {{warps 4}} {{\n\
             v3: index = const 0\n\
             v4: tile<{elem}, [64, 64]> = load v0[v3..+64, v3..+64]\n\
             v5: tile<{elem}, [32, 64]> = load v1[v3..+32, v3..+64]\n\
             v6: tile<{elem}, [64, 32]> = permute v5 [1, 0]\n\
             v7: tile<{out}, [64, 32]> = dot v4, v6\n\
             v8: tile<{out}, [64, 32]> = atomic {op} v2[v3..+64, v3..+32], v7 relaxed device\n\
             yield\n}}\n",
            of(0),
            of(1),
            of(2),
        );
        let made = ptx(&text, "sm_90a").ptx;
        assert!(made.contains("wgmma.mma_async") && made.contains(&format!("{ENGINE}.2d.global.shared::cta.{op}")), "{made}");
        let inputs = [input(elem, [61, 64], 3), input(elem, [30, 64], 4), tensor(out, &[61, 16], 5)];
        let host = on_host(&text, [1, 1], &inputs);
        let (gpu, _) = on_emulator_as(&text, "sm_90a", [1, 1], &inputs, SCHEDULES[number % SCHEDULES.len()]);
        assert_eq!(host[2], gpu[2], "{op} of {out}");
    }
}

/// Trips of a loop reduce into what earlier ones do: they commute, and only the boxes in shared memory are waited for.
#[test]
fn loops() {
    let of = |number: u32| format!("{{number {number}, align 16, dims [?%16, ?%16], strides [?%16, =1]}}");
    let text = format!(
        "kernel @0 k(v0.a: tensor<f16, 2> {}, v1.b: tensor<f16, 2> {}, v2.c: mut tensor<f32, 2> {}) grid 1 index 32 schedule {{warps 4, stages 2}} {{\n\
         v3: index = const 0\n\
         v4: index = const 16\n\
         v5: index = view_dim v0 axis 0\n\
         v6: tile<f16, [32, 64]> = load v1[v3..+32, v3..+64]\n\
         for v3..v5 step v4 init [] (v7: index) {{\n\
         v8: tile<f16, [64, 32]> = load v0[v7..+64, v3..+32]\n\
         v9: tile<f32, [64, 64]> = dot v8, v6\n\
         v10: tile<f32, [64, 64]> = atomic add v2[v7..+64, v3..+64], v9 relaxed device\n\
         yield\n}}\n\
         yield\n}}\n",
        of(0),
        of(1),
        of(2),
    );
    let made = ptx(&text, "sm_90a").ptx;
    assert!(made.contains(ENGINE), "{made}");
    // At the end alone.
    assert_eq!(count(&made, "cp.async.bulk.wait_group \t0"), 1, "{made}");
    let inputs = [input("f16", [112, 32], 1), input("f16", [32, 64], 2), tensor("f32", &[112, 64], 3)];
    let host = values(&on_host(&text, [1, 1], &inputs)[2], "f32");
    for schedule in SCHEDULES {
        let (gpu, _) = on_emulator_as(&text, "sm_90a", [1, 1], &inputs, schedule);
        let far = difference(&host, &values(&gpu[2], "f32"));
        assert!(far <= 2e-6, "{schedule:?}: {far}");
    }
}

/// A kernel of tiles that no product makes: the atomic adds `value`, which `body` makes of v7, to v1.
fn without_product(elem: &str, [rows, columns]: [u32; 2], schedule: &str, body: &str, atomic: &str) -> String {
    let of = |number: u32| format!("{{number {number}, align 16, dims [?, ?], strides [?%16, =1]}}");
    format!(
        "kernel @0 k(v0.x: tensor<{elem}, 2> {}, v1.y: mut tensor<{elem}, 2> {}) grid 2 index 32 schedule {{{schedule}}} {{\n\
         v2: index = program_id 0\n\
         v3: index = program_id 1\n\
         v4: index = const {rows}\n\
         v5: index = const {columns}\n\
         v6: index = mul v2, v4\n\
         v11: index = mul v3, v5\n\
         v12: index = const 0\n\
         v7: tile<{elem}, [{rows}, {columns}]> = load v0[v6..+{rows}, v11..+{columns}]\n\
         {body}\
         v8: tile<{elem}, [{rows}, {columns}]> = atomic {atomic}\n\
         yield\n}}\n",
        of(0),
        of(1),
    )
}

/// Tiles that were loaded, computed element by element, and reduced along an axis and spread out again: through shared memory, with every type and operation there is. All
/// programs of a row reduce into the same tile.
#[test]
fn tiles_in_any_layout() {
    let spread = "v20: tile<f32, [64]> = reduce max [v7] axis 1\n\
         v21: tile<f32, [64, 1]> = expand_dims v20 axis 1\n\
         v22: tile<f32, [64, 64]> = broadcast v21\n";
    for (number, (elem, tile, schedule, body, op, value)) in [
        ("f32", [64, 64], "warps 4", "", "add", "v7"),
        ("f32", [64, 64], "warps 8", spread, "add", "v22"),
        ("bf16", [32, 128], "warps 4", "v20: tile<bf16, [32, 128]> = neg v7\n", "add", "v20"),
        ("f16", [8, 96], "warps 1", "", "add", "v7"),
        ("f16", [96, 32], "warps 4", "", "add", "v7"),
        ("f32", [64, 64], "warps 4, persistent", "", "add", "v7"),
        ("i32", [32, 32], "warps 4", "", "min", "v7"),
        ("i32", [64, 32], "warps 2", "", "max", "v7"),
        ("u32", [64, 16], "warps 2", "", "min", "v7"),
        ("u32", [64, 8], "warps 1", "", "max", "v7"),
        ("u32", [32, 64], "warps 4", "", "and", "v7"),
        ("i32", [32, 64], "warps 4", "", "or", "v7"),
        ("u32", [32, 64], "warps 4", "", "xor", "v7"),
    ]
    .into_iter()
    .enumerate()
    {
        let [rows, columns] = tile;
        let text = without_product(
            elem,
            tile,
            schedule,
            body,
            &format!("{op} v1[v6..+{rows}, v12..+{columns}], {value} relaxed device"),
        );
        let made = ptx(&text, "sm_90a").ptx;
        assert!(made.contains(&format!("{ENGINE}.2d.global.shared::cta.{op}")), "{elem} {tile:?}\n{text}\n{made}");
        assert_eq!(of_threads(&made), 0, "{elem} {tile:?}\n{made}");
        let (m, n) = (i64::from(2 * rows - 3), i64::from(2 * columns));
        let inputs = [tensor(elem, &[m, n], 1), tensor(elem, &[m, n], 2)];
        let host = values(&on_host(&text, [2, 2], &inputs)[1], elem);
        // Two sums of 16 bits round twice, in either order.
        let tolerance = match elem {
            "f16" => 4e-3,
            "bf16" => 3.2e-2,
            "f32" => 2e-6,
            _ => 0.0,
        };
        for schedule in [SCHEDULES[number % 5], SCHEDULES[(number + 1) % 5]] {
            let (gpu, _) = on_emulator_as(&text, "sm_90a", [2, 2], &inputs, schedule);
            let far = difference(&host, &values(&gpu[1], elem));
            assert!(far <= tolerance, "{elem} {tile:?} {op} under {schedule:?}: {far}");
        }
        if let Some(out) = assemble(&ptx(&text, "sm_90a")) {
            assert!(out.sass.contains("UTMAREDG"), "{elem} {tile:?}\n{}", out.sass);
        }
    }
}

/// What the engine cannot do, or not in the order that the program asks for, threads do.
#[test]
fn others_are_atomics_of_threads() {
    let product = Product { out: "f32", ..PRODUCT };
    let whole = "v2[v8..+64, v9..+64]";
    let usual = reducing(&product, "add", "relaxed device");
    let atomic = format!("v90: tile<f32, [64, 64]> = atomic add {whole}, v13 relaxed device\n");
    assert!(usual.contains(&atomic), "{usual}");
    let with = |change: &str| usual.replace(&atomic, change);
    let with_atomic =
        |op: &str, value: &str, rest: &str| format!("v90: tile<f32, [64, 64]> = atomic {op} {whole}, {value} {rest}\n");
    let positive = "v91: tile<bool, [64, 64]> = cmp gt v13, v12\n";
    let twice = format!("{atomic}v92: tile<f32, [64, 64]> = atomic add {whole}, v13 mask v91 relaxed device\n");
    for (what, text) in [
        ("another order", with(&with_atomic("add", "v13", "acq_rel device"))),
        (
            "another order elsewhere",
            with(&format!("{atomic}v92: tile<f32, [64, 64]> = atomic add {whole}, v13 release device\n")),
        ),
        ("the system's scope", with(&with_atomic("add", "v13", "relaxed system"))),
        ("a mask", with(&format!("{positive}{}", with_atomic("add", "v13", "mask v91 relaxed device")))),
        ("a mask elsewhere", with(&format!("{positive}{twice}"))),
        ("no such operation", with(&with_atomic("max", "v13", "relaxed device"))),
        (
            "a read before",
            with(&format!(
                "v91: tile<f32, [64, 64]> = load {whole}\nv92: tile<f32, [64, 64]> = add v91, v13\n{}",
                with_atomic("add", "v92", "relaxed device")
            )),
        ),
        ("a write behind", with(&format!("{atomic}store {whole}, v13\n"))),
        (
            "old values that are used",
            with(&format!(
                "{atomic}v92: tile<f32, [64, 64]> = add v90, v13\nv93: tile<f32, [64, 64]> = atomic add {whole}, v92 relaxed device\n"
            )),
        ),
        ("odd strides", reducing(&Product { out: "f32", facts: ("?%2", 8), ..PRODUCT }, "add", "relaxed device")),
    ] {
        let made = ptx(&text, "sm_90a").ptx;
        assert!(!made.contains("cp.reduce") && of_threads(&made) > 0, "{what}\n{text}\n{made}");
    }
    // Two of the same kind are fine.
    let both = with(&format!("{atomic}v92: tile<f32, [64, 64]> = atomic add {whole}, v13 relaxed device\n"));
    let made = ptx(&both, "sm_90a").ptx;
    assert_eq!((count(&made, ENGINE), of_threads(&made)), (4, 0), "{made}");
    product.agrees_on(&both, [80, 64, 96]);
    // As are odd strides, by threads.
    let odd = Product { out: "f32", facts: ("?%2", 8), ..PRODUCT };
    odd.agrees_on(&reducing(&odd, "add", "relaxed device"), [70, 42, 90]);
    // Few elements are not worth the way, and older GPUs have no engine.
    for (tile, target) in [([16, 32], "sm_90a"), ([64, 64], "sm_80")] {
        let [rows, columns] = tile;
        let atomic = format!("add v1[v6..+{rows}, v11..+{columns}], v7 relaxed device");
        let made = ptx(&without_product("f32", tile, "warps 4", "", &atomic), target).ptx;
        assert!(!made.contains("cp.reduce") && of_threads(&made) > 0, "{target}");
    }
}

/// Rings come first: where a tile on its way out would take memory that they need, its atomics are the threads', and no stage is lost.
#[test]
fn rings_keep_their_memory() {
    let fused = |stages: &str, by_engine: bool| {
        let product = Product { tile: [128, 128, 64], warps: 8, elem: "bf16", out: "bf16", ..PRODUCT };
        let text = product
            .text()
            .replace("stages 2", stages)
            .replace(") grid 2", ", v50.d: mut tensor<f32, 2> {number 3, align 16, dims [?%16, ?%16], strides [?%16, =1]}) grid 2")
            .replace("v12: tile", "v51: tile<f32, [64, 128]> = load v52[v8..+64, v9..+128]\nv53: tile<f32, [64, 128]> = atomic add v50[v8..+64, v9..+128], v51 relaxed device\nv12: tile")
            .replace(") grid 2", ", v52.e: tensor<f32, 2> {number 4, align 16, dims [?%16, ?%16], strides [?%16, =1]}) grid 2");
        let artifact = ptx(&text, "sm_90a");
        assert_eq!(artifact.ptx.contains(ENGINE), by_engine, "{stages}");
        assert!(artifact.remarks.is_empty(), "{stages}: {:?}", artifact.remarks);
    };
    fused("stages 3", true);
    fused("stages 7", false);
}

/// One UTMAREDG a round, no RED nor ATOM; 0 spills.
#[test]
fn instructions_of_a_reduction() {
    for (tile, out, warps) in [([128, 128, 64], "f32", 8), ([128, 256, 64], "f32", 8), ([128, 128, 64], "bf16", 8)] {
        for schedule in [", stages 3", ", stages 3, group 8, persistent"] {
            let product = Product { tile, elem: "bf16", out, warps, schedule, ..PRODUCT };
            let artifact = ptx(&reducing(&product, "add", "relaxed device"), "sm_90a");
            assert_eq!(artifact.layouts.conversions, 0, "{tile:?}");
            let Some(made) = assemble(&artifact) else { continue };
            let bytes = if out == "f32" { 4 } else { 2 };
            let rounds = tile[0] * tile[1] * bytes / (32 * warps * 64);
            assert_eq!(count(&made.sass, "UTMAREDG"), rounds as usize, "{tile:?} {out}\n{}", made.sass);
            for other in [" RED.", " REDG.", " ATOM", "STG", "UTMASTG"] {
                assert_eq!(count(&made.sass, other), 0, "{other} of {tile:?} {out}");
            }
        }
    }
}
