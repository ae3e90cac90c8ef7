//! Sums of warpgroups that leave through shared memory and the TMA engine, on the emulator with every sanitizer under adversarial completion, against
//! the CPU; and what ptxas makes of them.

use kiln_emulator::Schedule;

use crate::executed::{Input, on_emulator_as, on_host, tensor, values};
use crate::products::{difference, input};
use crate::support::{assemble, count, loop_with, ptx};

const SCHEDULES: [Schedule; 5] =
    [Schedule::Eager, Schedule::Lazy, Schedule::LazyRandom(1), Schedule::LazyRandom(2), Schedule::Random(3)];

/// A product with its epilogue.
pub struct Product {
    pub tile: [u32; 3],
    pub elem: &'static str,
    pub out: &'static str,
    pub warps: u32,
    /// What the schedule says besides.
    pub schedule: &'static str,
    /// Adds a bias and a residual, takes the positive part.
    pub fused: bool,
    /// Known of extents and strides, and the alignment of tensors.
    pub facts: (&'static str, u32),
    pub target: &'static str,
}

/// The usual one.
pub const PRODUCT: Product = Product {
    tile: [64, 64, 32],
    elem: "f16",
    out: "f16",
    warps: 4,
    schedule: ", stages 2",
    fused: false,
    facts: ("?%16", 16),
    target: "sm_90a",
};

impl Product {
    pub fn text(&self) -> String {
        let Product { tile: [bm, bn, bk], elem, out, warps, schedule, fused, facts: (of_sizes, align), .. } = *self;
        let of =
            |number: u32| format!("{{number {number}, align {align}, dims [{of_sizes}, {of_sizes}], strides [{of_sizes}, =1]}}");
        let of_bias = format!("{{number 4, align {align}, dims [{of_sizes}], strides [=1]}}");
        let sum = format!("tile<f32, [{bm}, {bn}]>");
        let epilogue = if fused {
            format!(
                "v20: tile<{out}, [{bm}, {bn}]> = load v21[v8..+{bm}, v9..+{bn}]\n\
                 v22: {sum} = cast v20\n\
                 v23: {sum} = add v13, v22\n\
                 v24: tile<{out}, [{bn}]> = load v25[v9..+{bn}]\n\
                 v26: tile<f32, [{bn}]> = cast v24\n\
                 v27: tile<f32, [1, {bn}]> = expand_dims v26 axis 0\n\
                 v28: {sum} = broadcast v27\n\
                 v29: {sum} = add v23, v28\n\
                 v30: {sum} = max v29, v12\n"
            )
        } else {
            String::new()
        };
        let result = if fused { "v30" } else { "v13" };
        let cast = if out == "f32" { String::new() } else { format!("v31: tile<{out}, [{bm}, {bn}]> = cast {result}\n") };
        let stored = if out == "f32" { result } else { "v31" };
        let more = if fused {
            format!(", v21.r: tensor<{out}, 2> {}, v25.bias: tensor<{out}, 1> {of_bias}", of(3))
        } else {
            String::new()
        };
        format!(
            "kernel @0 matmul(v0.a: tensor<{elem}, 2> {}, v1.b: tensor<{elem}, 2> {}, v2.c: mut tensor<{out}, 2> {}{more}) grid 2 index 32 schedule {{warps {warps}{schedule}}} {{\n\
             v3: index = program_id 0\n\
             v4: index = program_id 1\n\
             v5: index = const {bm}\n\
             v6: index = const {bn}\n\
             v7: index = const {bk}\n\
             v8: index = mul v3, v5\n\
             v9: index = mul v4, v6\n\
             v10: index = const 0\n\
             v11: index = view_dim v0 axis 1\n\
             v12: {sum} = const 0.0\n\
             v13: {sum} = for v10..v11 step v7 init [v12] (v14: index, v15: {sum}) {{\n\
             v16: tile<{elem}, [{bm}, {bk}]> = load v0[v8..+{bm}, v14..+{bk}]\n\
             v17: tile<{elem}, [{bk}, {bn}]> = load v1[v14..+{bk}, v9..+{bn}]\n\
             v18: {sum} = dot v16, v17 acc v15\n\
             yield v18\n\
             }}\n\
             {epilogue}{cast}\
             store v2[v8..+{bm}, v9..+{bn}], {stored}\n\
             yield\n}}\n",
            of(0),
            of(1),
            of(2),
        )
    }

    /// Tensors for a product of these sizes.
    pub fn inputs(&self, [m, n, k]: [i64; 3]) -> Vec<Input> {
        let mut list = vec![input(self.elem, [m, k], 7), input(self.elem, [k, n], 8), tensor(self.out, &[m, n], 9)];
        if self.fused {
            list.extend([tensor(self.out, &[m, n], 10), tensor(self.out, &[n], 11)]);
        }
        list
    }

    /// Runs it on the CPU and, under every schedule, on the emulator.
    pub fn agrees(&self, sizes: [i64; 3]) {
        self.agrees_on(&self.text(), sizes);
    }

    /// As [`agrees`](Self::agrees), for a kernel made of its text.
    pub fn agrees_on(&self, text: &str, sizes: [i64; 3]) {
        let [m, n, _] = sizes;
        let grid = [(m as u32).div_ceil(self.tile[0]), (n as u32).div_ceil(self.tile[1])];
        let inputs = self.inputs(sizes);
        let host = values(&on_host(text, grid, &inputs)[2], self.out);
        // Sums in another order may round to the next number of 16 bits.
        let tolerance = match self.out {
            "f16" => 2e-3,
            "bf16" => 1.6e-2,
            _ => 2e-6,
        };
        for schedule in SCHEDULES {
            let (gpu, _) = on_emulator_as(text, self.target, grid, &inputs, schedule);
            let far = difference(&host, &values(&gpu[2], self.out));
            let Product { tile, out, target, .. } = self;
            assert!(far <= tolerance, "{tile:?} {out} {sizes:?} on {target}, {schedule:?}: {far}\n{text}");
        }
    }
}

/// Outputs of 16 and 32 bits, one to four warpgroups along rows and columns, spans of 128, 64 and 32 bytes, an odd number of rounds, tails.
#[test]
fn tiles_of_every_form() {
    for (tile, elem, out, warps, fused, sizes) in [
        ([64, 64, 32], "f16", "f16", 4, false, [80, 48, 112]),
        ([128, 64, 64], "bf16", "bf16", 8, true, [144, 80, 64]),
        ([64, 32, 32], "bf16", "bf16", 4, false, [96, 48, 64]),
        ([64, 48, 32], "f16", "f16", 4, true, [64, 96, 32]),
        ([64, 96, 32], "bf16", "f32", 4, false, [80, 112, 64]),
        ([128, 128, 32], "bf16", "bf16", 4, false, [160, 144, 80]),
        ([64, 64, 32], "f16", "f32", 8, true, [80, 80, 64]),
        ([256, 64, 32], "f16", "bf16", 16, false, [272, 64, 64]),
    ] {
        let product = Product { tile, elem, out, warps, fused, ..PRODUCT };
        let made = ptx(&product.text(), "sm_90a").ptx;
        assert!(made.contains("cp.async.bulk.tensor.2d.global.shared::cta"), "{tile:?} {out}\n{made}");
        assert_eq!(made.contains("stmatrix"), out != "f32", "{tile:?} {out}");
        product.agrees(sizes);
    }
}

/// What no tensor map can describe is stored by threads.
#[test]
fn odd_strides_are_stored_by_threads() {
    for (facts, sizes) in [(("?%2", 4), [70, 42, 90]), (("?", 2), [67, 41, 75])] {
        let product = Product { schedule: ", stages 3", fused: true, facts, ..PRODUCT };
        assert!(!ptx(&product.text(), "sm_90a").ptx.contains("cp.async.bulk.tensor"));
        product.agrees(sizes);
    }
}

/// Stores whose boxes differ in size follow each other: none takes memory that the engine still reads.
#[test]
fn boxes_of_different_sizes() {
    let of = |number: u32| format!("{{number {number}, align 16, dims [?%16, ?%16], strides [?%16, =1]}}");
    let text = format!(
        "kernel @0 k(v0.a: tensor<f16, 2> {}, v1.b: tensor<f16, 2> {}, v2.c: mut tensor<f16, 2> {}, v3.d: mut tensor<f16, 2> {}, v4.e: mut tensor<f32, 2> {}) grid 1 index 32 schedule {{warps 4, stages 2}} {{\n\
         v5: index = program_id 0\n\
         v6: index = const 64\n\
         v7: index = mul v5, v6\n\
         v8: index = const 0\n\
         v9: index = view_dim v0 axis 1\n\
         v10: tile<f32, [64, 64]> = const 0.0\n\
         v11: tile<f32, [64, 32]> = const 0.0\n\
         v12: index = const 32\n\
         v13: tile<f32, [64, 64]>, v14: tile<f32, [64, 32]> = for v8..v9 step v12 init [v10, v11] (v15: index, v16: tile<f32, [64, 64]>, v17: tile<f32, [64, 32]>) {{\n\
         v18: tile<f16, [64, 32]> = load v0[v7..+64, v15..+32]\n\
         v19: tile<f16, [32, 64]> = load v1[v15..+32, v8..+64]\n\
         v20: tile<f16, [32, 32]> = load v1[v15..+32, v12..+32]\n\
         v21: tile<f32, [64, 64]> = dot v18, v19 acc v16\n\
         v22: tile<f32, [64, 32]> = dot v18, v20 acc v17\n\
         yield v21, v22\n\
         }}\n\
         v23: tile<f16, [64, 64]> = cast v13\n\
         v24: tile<f16, [64, 32]> = cast v14\n\
         store v2[v7..+64, v8..+64], v23\n\
         store v3[v7..+64, v8..+32], v24\n\
         store v4[v7..+64, v8..+64], v13\n\
         yield\n}}\n",
        of(0),
        of(1),
        of(2),
        of(3),
        of(4)
    );
    assert_eq!(count(&ptx(&text, "sm_90a").ptx, "cp.async.bulk.tensor.2d.global.shared::cta"), 1 + 1 + 2);
    let inputs = [
        input("f16", [144, 80], 1),
        input("f16", [80, 64], 2),
        tensor("f16", &[144, 64], 3),
        tensor("f16", &[144, 32], 4),
        tensor("f32", &[144, 64], 5),
    ];
    let host = on_host(&text, [3, 1], &inputs);
    for schedule in SCHEDULES {
        let (gpu, _) = on_emulator_as(&text, "sm_90a", [3, 1], &inputs, schedule);
        for (number, elem, tolerance) in [(2, "f16", 2e-3), (3, "f16", 2e-3), (4, "f32", 2e-6)] {
            let far = difference(&values(&host[number], elem), &values(&gpu[number], elem));
            assert!(far <= tolerance, "tensor {number}, {schedule:?}: {far}");
        }
    }
}

/// A kernel that writes a tile twice, in a loop, or reads what it wrote: program order holds.
#[test]
fn program_order_holds() {
    let kernel = |body: &str| {
        let of = |number: u32| format!("{{number {number}, align 16, dims [?%16, ?%16], strides [?%16, =1]}}");
        format!(
            "kernel @0 k(v0.a: tensor<f16, 2> {}, v1.b: tensor<f16, 2> {}, v2.c: mut tensor<f16, 2> {}) grid 1 index 32 schedule {{warps 4}} {{\n\
             v3: index = const 0\n\
             v4: index = const 16\n\
             v5: index = const 64\n\
             v6: tile<f16, [64, 32]> = load v0[v3..+64, v3..+32]\n\
             v7: tile<f16, [32, 64]> = load v1[v3..+32, v3..+64]\n\
             v8: tile<f32, [64, 64]> = dot v6, v7\n\
             v9: tile<f16, [64, 64]> = cast v8\n\
             {body}\
             yield\n}}\n",
            of(0),
            of(1),
            of(2),
        )
    };
    let looped = "for v3..v5 step v4 init [] (v10: index) {\n\
         v11: f32 = cast v10\n\
         v12: tile<f32, [64, 64]> = broadcast v11\n\
         v13: tile<f32, [64, 64]> = add v8, v12\n\
         v14: tile<f16, [64, 64]> = cast v13\n\
         store v2[v10..+64, v10..+64], v14\n\
         yield\n}\n";
    let twice = "store v2[v3..+64, v3..+64], v9\nv10: tile<f16, [64, 64]> = neg v9\nstore v2[v4..+64, v3..+64], v10\n";
    let read =
        "store v2[v3..+64, v3..+64], v9\nv10: tile<f16, [64, 64]> = load v2[v4..+64, v4..+64]\nstore v2[v3..+64, v3..+64], v10\n";
    for (body, by_engine) in [(looped, true), (twice, false), (read, false)] {
        let text = kernel(body);
        let made = ptx(&text, "sm_90a").ptx;
        assert_eq!(made.contains("global.shared::cta"), by_engine, "{text}\n{made}");
        let inputs = [input("f16", [64, 32], 1), input("f16", [32, 64], 2), tensor("f16", &[128, 128], 3)];
        let host = values(&on_host(&text, [1, 1], &inputs)[2], "f16");
        for schedule in SCHEDULES {
            let (gpu, _) = on_emulator_as(&text, "sm_90a", [1, 1], &inputs, schedule);
            let far = difference(&host, &values(&gpu[2], "f16"));
            assert!(far <= 2e-3, "{schedule:?}: {far}\n{text}");
        }
    }
}

/// A tensor without elements is left alone, also where the grid has programs.
#[test]
fn nothing_is_written_to_an_empty_tensor() {
    let inputs = [input("f16", [64, 32], 1), input("f16", [32, 64], 2), Input::Tensor(vec![0x5a; 64], vec![64, 0], vec![16, 1])];
    let (gpu, _) = on_emulator_as(&PRODUCT.text(), "sm_90a", [1, 1], &inputs, Schedule::Lazy);
    assert_eq!(gpu[2], vec![0x5a; 64]);
}

/// As many STSM as matrices need, one copy a round, no barrier of the block anywhere; 0 spills, no serialized wgmma.
#[test]
fn instructions_of_an_epilogue() {
    for (tile, warps) in [([128, 128, 64], 8), ([128, 256, 64], 8), ([128, 192, 64], 8), ([256, 128, 64], 8), ([128, 128, 64], 4)]
    {
        let product = Product { tile, elem: "bf16", out: "bf16", warps, schedule: ", stages 3", ..PRODUCT };
        let artifact = ptx(&product.text(), "sm_90a");
        assert_eq!(artifact.layouts.conversions, 0, "{tile:?}");
        let Some(out) = assemble(&artifact) else { continue };
        let elements = tile[0] * tile[1] / (32 * warps);
        assert_eq!(count(&out.sass, "STSM"), (elements / 8) as usize, "{tile:?}");
        assert_eq!(count(&out.sass, "UTMASTG"), (elements / 32) as usize, "{tile:?}");
        assert_eq!(count(&out.sass, "STG"), count(&out.sass, "UTMASTG"), "{tile:?}: stores of threads");
        let products = (tile[0] * tile[2] / (64 * 16) / (warps / 4)) as usize;
        let steady = loop_with(&out.sass, "HGMMA", products).join("\n");
        assert_eq!(count(&steady, "BAR.SYNC") + count(&steady, "UTMASTG"), 0, "{tile:?}");
        // In front of the roles, and before boxes take the memory of slots.
        assert_eq!(count(&out.sass, "BAR.SYNC"), 2, "{tile:?}\n{}", out.sass);
        // One for each of the three tensors, once.
        assert_eq!(count(&out.sass, "UTMACCTL.PF"), 3, "{tile:?}\n{}", out.sass);
        let rings = 3 * 2 * 64 * (tile[0] + tile[1]);
        assert!(artifact.shared_bytes < rings + 1025, "{tile:?}: {} bytes", artifact.shared_bytes);
    }
}
