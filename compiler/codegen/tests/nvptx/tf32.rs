//! Products of f32 in tf32 precision on warpgroups: operands are rounded to nearest even on their way, by the TMA engine or by threads, and never cut off. Run on
//! the emulator with every sanitizer under adversarial completion, against sums in f64 of operands that are rounded here; and what ptxas makes of them.

use kiln_codegen::nvptx::{GpuTarget, PtxArtifact, PtxParam, TensorMap, lay_out};
use kiln_emulator::Schedule;
use kiln_ir::layout::dump;
use kiln_ir::text::parse_module;
use kiln_ir::verify::verify;

use crate::attention::attention;
use crate::executed::{Input, on_emulator_as, on_host, tensor, values};
use crate::products::difference;
use crate::support::{assemble, count, loop_with, ptx};

const SCHEDULES: [Schedule; 5] =
    [Schedule::Eager, Schedule::Lazy, Schedule::LazyRandom(1), Schedule::LazyRandom(2), Schedule::Random(3)];

/// Sums of some hundred products in f32, in an order of their own.
const TOLERANCE: f64 = 1e-5;
/// What another way of rounding makes of the same operands is further away than this.
const FAR: f64 = 1e-4;

/// How operand A comes about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Left {
    /// `x[m, k]`.
    Loaded,
    /// `x[k, m]`, with its axes exchanged.
    Turned,
    /// f16, times a number that is not one of tf32: in registers, then in shared memory.
    Computed,
    /// One row of `x`, in all rows: in registers as the instruction takes it.
    OneRow,
}

/// `c = x @ w`, `w` as `[n, k]` unless it lies across.
#[derive(Clone, Copy, Debug)]
struct Linear {
    tile: [u32; 3],
    warps: u32,
    schedule: &'static str,
    left: Left,
    across: bool,
    /// Known of the extents and strides of operands, and their alignment.
    facts: (&'static str, u32),
    target: &'static str,
}

const LINEAR: Linear = Linear {
    tile: [64, 64, 32],
    warps: 4,
    schedule: ", stages 3",
    left: Left::Loaded,
    across: false,
    facts: ("?%16", 16),
    target: "sm_90a",
};

/// The number that computed operands are scaled by.
const SCALE: f32 = 1.2345679;

impl Linear {
    fn text(&self) -> String {
        let Linear { tile: [bm, bn, bk], warps, schedule, left, across, facts: (of_sizes, align), .. } = *self;
        let of =
            |number: u32| format!("{{number {number}, align {align}, dims [{of_sizes}, {of_sizes}], strides [{of_sizes}, =1]}}");
        let of_x = if left == Left::Computed { "f16" } else { "f32" };
        let x = match left {
            Left::Loaded => format!("v16: tile<f32, [{bm}, {bk}]> = load v0[v8..+{bm}, v14..+{bk}]\n"),
            Left::Turned => format!(
                "v20: tile<f32, [{bk}, {bm}]> = load v0[v14..+{bk}, v8..+{bm}]\n\
                 v16: tile<f32, [{bm}, {bk}]> = permute v20 [1, 0]\n"
            ),
            Left::Computed => format!(
                "v20: tile<f16, [{bm}, {bk}]> = load v0[v8..+{bm}, v14..+{bk}]\n\
                 v21: tile<f32, [{bm}, {bk}]> = cast v20\n\
                 v22: tile<f32, [{bm}, {bk}]> = const {}\n\
                 v16: tile<f32, [{bm}, {bk}]> = mul v21, v22\n",
                f64::from(SCALE)
            ),
            Left::OneRow => format!(
                "v20: tile<f32, [{bk}]> = load v0[v10, v14..+{bk}]\n\
                 v21: tile<f32, [1, {bk}]> = expand_dims v20 axis 0\n\
                 v16: tile<f32, [{bm}, {bk}]> = broadcast v21\n"
            ),
        };
        let w = if across {
            format!("v17: tile<f32, [{bk}, {bn}]> = load v1[v14..+{bk}, v9..+{bn}]\n")
        } else {
            format!(
                "v19: tile<f32, [{bn}, {bk}]> = load v1[v9..+{bn}, v14..+{bk}]\n\
                 v17: tile<f32, [{bk}, {bn}]> = permute v19 [1, 0]\n"
            )
        };
        let sum = format!("tile<f32, [{bm}, {bn}]>");
        format!(
            "kernel @0 linear(v0.x: tensor<{of_x}, 2> {}, v1.w: tensor<f32, 2> {}, v2.c: mut tensor<f32, 2> {}) grid 2 index 32 schedule {{warps {warps}{schedule}}} {{\n\
             v3: index = program_id 0\n\
             v4: index = program_id 1\n\
             v5: index = const {bm}\n\
             v6: index = const {bn}\n\
             v7: index = const {bk}\n\
             v8: index = mul v3, v5\n\
             v9: index = mul v4, v6\n\
             v10: index = const 0\n\
             v11: index = view_dim v0 axis {axis}\n\
             v12: {sum} = const 0.0\n\
             v13: {sum} = for v10..v11 step v7 init [v12] (v14: index, v15: {sum}) {{\n\
             {x}{w}\
             v18: {sum} = dot v16, v17 acc v15 precision tf32\n\
             yield v18\n\
             }}\n\
             store v2[v8..+{bm}, v9..+{bn}], v13\n\
             yield\n}}\n",
            of(0),
            of(1),
            of(2),
            axis = if left == Left::Turned { 0 } else { 1 },
        )
    }

    fn artifact(&self) -> PtxArtifact {
        ptx(&self.text(), self.target)
    }

    /// Runs it for tensors of these sizes under every schedule.
    fn agrees(&self, [m, n, k]: [i64; 3]) {
        let x = match self.left {
            Left::Turned => awkward([k, m], 1),
            Left::Computed => tensor("f16", &[m, k], 1),
            Left::Loaded | Left::OneRow => awkward([m, k], 1),
        };
        let w = if self.across { awkward([k, n], 2) } else { awkward([n, k], 2) };
        let inputs = [x, w, tensor("f32", &[m, n], 3)];
        let of = |input: &Input, elem: &str| match input {
            Input::Tensor(bytes, ..) => values(bytes, elem).into_iter().map(|v| v as f32).collect::<Vec<_>>(),
            Input::Scalar(_) => panic!("a tensor"),
        };
        let (vx, vw) = (of(&inputs[0], if self.left == Left::Computed { "f16" } else { "f32" }), of(&inputs[1], "f32"));
        let [rows, columns, depth] = [m, n, k].map(|v| v as usize);
        let left = |i: usize, l: usize| match self.left {
            Left::Loaded => vx[i * depth + l],
            Left::Turned => vx[l * rows + i],
            Left::Computed => vx[i * depth + l] * SCALE,
            Left::OneRow => vx[l],
        };
        let right = |l: usize, j: usize| if self.across { vw[l * columns + j] } else { vw[j * depth + l] };
        let sums = |round: fn(f32) -> f32| -> Vec<f64> {
            let of = |i: usize, j: usize| (0..depth).map(|l| f64::from(round(left(i, l))) * f64::from(round(right(l, j)))).sum();
            (0..rows * columns).map(|at| of(at / columns, at % columns)).collect()
        };
        let expected = sums(nearest_even);
        if depth > 0 {
            for other in [cut_off, nearest_away, |v| v] {
                assert!(difference(&expected, &sums(other)) > FAR, "these operands do not tell ways of rounding apart");
            }
        }
        let grid = [(m as u32).div_ceil(self.tile[0]), (n as u32).div_ceil(self.tile[1])];
        for schedule in SCHEDULES {
            let (gpu, _) = on_emulator_as(&self.text(), self.target, grid, &inputs, schedule);
            let far = difference(&expected, &values(&gpu[2], "f32"));
            assert!(far <= TOLERANCE, "{self:?} {m} x {n} x {k} {schedule:?}: {far}");
        }
    }
}

/// f32 with bits below those of tf32: just under, at and just over the middle between two of tf32, and others.
fn awkward(dims: [i64; 2], seed: u64) -> Input {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::new();
    for _ in 0..dims[0] * dims[1] {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let r = (state >> 32) as u32;
        let low = [0, 0xfff, 0x1000, 0x1000, 0x1001, 0x1fff, 0x1a53][(r >> 16) as usize % 7];
        let bits = (r & 1) << 31 | (125 + (r >> 1 & 1) + (r >> 2 & 1)) << 23 | (r >> 3 & 0x3ff) << 13 | low;
        bytes.extend(bits.to_le_bytes());
    }
    Input::Tensor(bytes, dims.to_vec(), vec![dims[1], 1])
}

fn nearest_even(v: f32) -> f32 {
    let bits = v.to_bits();
    f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & 0xffff_e000)
}

fn nearest_away(v: f32) -> f32 {
    f32::from_bits((v.to_bits() + 0x1000) & 0xffff_e000)
}

fn cut_off(v: f32) -> f32 {
    f32::from_bits(v.to_bits() & 0xffff_e000)
}

/// The tensor maps of a kernel: for each, its tensor and whether it rounds.
fn maps(artifact: &PtxArtifact) -> Vec<(u32, bool)> {
    let map = |param: &PtxParam| match *param {
        PtxParam::TensorMap(TensorMap { param, tf32, .. }) => Some((param, tf32)),
        _ => None,
    };
    artifact.params.iter().filter_map(map).collect()
}

/// Tails in m, n and k, fewer trips than slots, none at all; spans of 128, 64 and 32 bytes; warpgroups along rows and columns; what is stored is not rounded.
#[test]
fn linear_layers() {
    for (tile, warps, schedule, sizes) in [
        ([64, 64, 32], 4, ", stages 3", [80, 48, 112]),
        ([128, 64, 32], 8, ", stages 4", [144, 80, 176]),
        ([64, 32, 64], 8, ", stages 2", [64, 48, 208]),
        ([64, 96, 16], 4, ", stages 3", [64, 112, 80]),
        ([128, 128, 32], 4, ", stages 2", [160, 144, 96]),
        ([64, 32, 24], 4, ", stages 3", [48, 64, 80]),
        ([64, 64, 32], 4, ", stages 1", [64, 64, 80]),
        ([64, 64, 32], 4, ", stages 4", [64, 64, 0]),
        ([192, 64, 96], 4, ", stages 2", [208, 96, 112]),
    ] {
        let linear = Linear { tile, warps, schedule, ..LINEAR };
        let artifact = linear.artifact();
        assert!(artifact.ptx.contains("k8.f32.tf32.tf32"), "{tile:?}\n{}", artifact.ptx);
        assert_eq!(count(&artifact.ptx, "cvt.rn"), 0, "{tile:?}");
        assert_eq!(maps(&artifact), [(0, true), (1, true), (2, false)], "{tile:?}");
        linear.agrees(sizes);
    }
}

/// Thread blocks that run several programs, two of a cluster that load for each other, several that share a program, groups that take turns.
#[test]
fn schedules() {
    for (tile, warps, schedule, sizes) in [
        ([64, 64, 32], 4, ", stages 3, persistent", [176, 160, 112]),
        ([128, 64, 32], 8, ", stages 2, group 2, persistent", [272, 144, 64]),
        ([64, 64, 32], 4, ", stages 3, cluster [2, 1, 1]", [112, 80, 96]),
        ([64, 64, 32], 4, ", stages 2, persistent, cluster [1, 2, 1]", [80, 240, 112]),
        ([64, 64, 32], 4, ", stages 3, split_k 3", [64, 112, 208]),
        ([64, 48, 32], 4, ", stages 4, split_k 2, group 2", [144, 96, 80]),
        ([64, 64, 32], 4, ", stages 3, persistent, ping_pong", [240, 176, 80]),
        ([64, 64, 32], 4, ", stages 4, persistent, ping_pong, cluster [2, 1, 1]", [240, 112, 96]),
    ] {
        let linear = Linear { tile, warps, schedule, ..LINEAR };
        let artifact = linear.artifact();
        assert!(artifact.ptx.contains("k8.f32.tf32.tf32"), "{schedule}\n{}", artifact.ptx);
        assert!(maps(&artifact).starts_with(&[(0, true), (1, true)]), "{schedule}");
        linear.agrees(sizes);
    }
}

/// Operand A out of registers, or written to shared memory by the threads that compute it: they round it.
#[test]
fn computed_operands() {
    for left in [Left::Computed, Left::OneRow] {
        for (tile, warps, schedule, sizes) in
            [([64, 64, 32], 4, ", stages 3", [80, 48, 112]), ([128, 32, 16], 8, ", stages 2, persistent", [272, 80, 48])]
        {
            let linear = Linear { tile, warps, schedule, left, ..LINEAR };
            let artifact = linear.artifact();
            assert!(artifact.ptx.contains("k8.f32.tf32.tf32"), "{left:?}\n{}", artifact.ptx);
            assert!(artifact.ptx.contains("cvt.rn.tf32.f32"), "{left:?}\n{}", artifact.ptx);
            // A row that the engine copies for the threads comes as it is.
            let maps = maps(&artifact);
            assert!(maps.contains(&(1, true)) && !maps.contains(&(0, true)), "{left:?}: {maps:?}");
            // Of both kinds of operand A there is one: a descriptor, or four registers.
            let from_registers = artifact.ptx.lines().any(|line| line.contains("tf32.tf32 {") && line.matches('{').count() == 2);
            assert_eq!(from_registers, left == Left::OneRow, "{}", artifact.ptx);
            linear.agrees(sizes);
        }
    }
}

/// What nobody could round on its way is multiplied by single warps: operands that do not have k running through memory, tensors that the engine cannot copy,
/// products outside of loops, older GPUs.
#[test]
fn others_keep_the_instructions_of_warps() {
    let turned = Linear { left: Left::Turned, ..LINEAR };
    let across = Linear { across: true, ..LINEAR };
    let unaligned = |facts, left| Linear { facts, left, ..LINEAR };
    for (linear, sizes) in [
        (turned, [80, 48, 112]),
        (across, [80, 48, 112]),
        (unaligned(("?%2", 8), Left::Loaded), [70, 42, 90]),
        (unaligned(("?", 4), Left::Loaded), [67, 41, 75]),
        (unaligned(("?%2", 8), Left::Computed), [70, 42, 90]),
        (Linear { schedule: ", stages 3, persistent", ..unaligned(("?", 4), Left::Loaded) }, [131, 75, 67]),
        // A slot that pads the tile.
        (Linear { tile: [64, 64, 20], ..LINEAR }, [80, 48, 80]),
        // Rows and columns that do not fit.
        (Linear { tile: [32, 64, 32], ..LINEAR }, [48, 64, 80]),
    ] {
        let made = linear.artifact().ptx;
        assert!(!made.contains("wgmma.mma_async"), "{linear:?}\n{made}");
        assert!(made.contains("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"), "{linear:?}\n{made}");
        assert!(made.contains("cvt.rn.tf32.f32") && !made.contains("cvt.rna"), "{linear:?}\n{made}");
        linear.agrees(sizes);
    }
    let older = Linear { target: "sm_80", ..LINEAR }.artifact().ptx;
    assert!(older.contains("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32") && older.contains("cvt.rna.tf32.f32"));
}

/// What two products read is rounded for both or for none: here the second one has an operand that lies across k.
#[test]
fn products_that_share_an_operand() {
    let of = |number: u32| format!("{{number {number}, align 16, dims [?%16, ?%16], strides [?%16, =1]}}");
    let text = |across: bool, precision: &str| {
        let second = if across {
            "v18: tile<f32, [32, 64]> = load v2[v14..+32, v8..+64]\n"
        } else {
            "v24: tile<f32, [64, 32]> = load v2[v8..+64, v14..+32]\nv18: tile<f32, [32, 64]> = permute v24 [1, 0]\n"
        };
        let sum = "tile<f32, [64, 64]>";
        format!(
            "kernel @0 k(v0.x: tensor<f32, 2> {}, v1.w: tensor<f32, 2> {}, v2.u: tensor<f32, 2> {}, v3.c: mut tensor<f32, 2> {}, v4.d: mut tensor<f32, 2> {}) grid 1 index 32 schedule {{warps 4, stages 3}} {{\n\
             v5: index = program_id 0\n\
             v6: index = const 64\n\
             v7: index = mul v5, v6\n\
             v8: index = const 0\n\
             v9: index = view_dim v0 axis 1\n\
             v10: index = const 32\n\
             v11: {sum} = const 0.0\n\
             v12: {sum}, v13: {sum} = for v8..v9 step v10 init [v11, v11] (v14: index, v15: {sum}, v16: {sum}) {{\n\
             v17: tile<f32, [64, 32]> = load v0[v7..+64, v14..+32]\n\
             v19: tile<f32, [64, 32]> = load v1[v8..+64, v14..+32]\n\
             v20: tile<f32, [32, 64]> = permute v19 [1, 0]\n\
             {second}\
             v21: {sum} = dot v17, v20 acc v15 precision tf32\n\
             v22: {sum} = dot v17, v18 acc v16{precision}\n\
             yield v21, v22\n\
             }}\n\
             store v3[v7..+64, v8..+64], v12\n\
             store v4[v7..+64, v8..+64], v13\n\
             yield\n}}\n",
            of(0),
            of(1),
            of(2),
            of(3),
            of(4),
        )
    };
    for (across, precision, warpgroups) in [
        (false, " precision tf32", true),
        (true, " precision tf32", false),
        (false, " precision tf32x3", false),
        (false, "", true),
    ] {
        let text = text(across, precision);
        let made = ptx(&text, "sm_90a").ptx;
        assert_eq!(made.contains("wgmma.mma_async"), warpgroups, "across {across}{precision}\n{made}");
        let (k, n) = (80, 64);
        let inputs = [
            awkward([80, k], 1),
            awkward([n, k], 2),
            awkward(if across { [k, n] } else { [n, k] }, 3),
            tensor("f32", &[80, n], 4),
            tensor("f32", &[80, n], 5),
        ];
        let host = on_host(&text, [2, 1], &inputs);
        for schedule in SCHEDULES {
            let (gpu, _) = on_emulator_as(&text, "sm_90a", [2, 1], &inputs, schedule);
            for out in [3, 4] {
                let far = difference(&values(&host[out], "f32"), &values(&gpu[out], "f32"));
                assert!(far <= TOLERANCE, "across {across}{precision}, tensor {out}, {schedule:?}: {far}");
            }
        }
    }
}

/// Attention in tf32: scores on warpgroups. Values run along n, so that the second product is one of warps, or along k, where probabilities are rounded by
/// the threads that write them to shared memory.
#[test]
fn attention_in_tf32() {
    for (tile, warps, causal, turned, [rows, columns]) in [
        ([64, 32, 64], 4, false, false, [100i64, 100i64]),
        ([128, 64, 32], 8, true, false, [130, 150]),
        ([64, 32, 64], 4, false, true, [100, 112]),
        ([128, 64, 32], 8, true, true, [130, 160]),
    ] {
        let (bn, d) = (tile[1], tile[2]);
        let mut text = attention(tile, "f32", warps, 2, causal);
        let mut of_values = [columns, i64::from(d)];
        if turned {
            let load = |name: &str, shape: &str, index: &str| format!("{name}: tile<f32, [{shape}]> = load v2[{index}]\n");
            let across = load("v50", &format!("{bn}, {d}"), &format!("v17..+{bn}, v7..+{d}!"));
            let along = load("v70", &format!("{d}, {bn}"), &format!("v7..+{d}!, v17..+{bn}"));
            let permute = format!("v50: tile<f32, [{bn}, {d}]> = permute v70 [1, 0]\n");
            let of = |dims: &str| format!("{{number 2, align 16, dims [{dims}], strides");
            assert!(text.contains(&across) && text.contains(&of(&format!("?, ={d}"))), "{text}");
            text = text.replace(&across, &(along + &permute)).replace(&of(&format!("?, ={d}")), &of(&format!("={d}, ?")));
            of_values.reverse();
        }
        let artifact = ptx(&text, "sm_90a");
        let made = &artifact.ptx;
        assert_eq!(maps(&artifact)[..2], [(0, true), (1, true)], "{tile:?}");
        assert_eq!(maps(&artifact).contains(&(2, true)), turned, "{tile:?}");
        assert!(made.contains("k8.f32.tf32.tf32") && made.contains("mma.sync.aligned.m16n8k8") != turned, "{tile:?}\n{made}");
        assemble(&artifact);
        let d = i64::from(d);
        let inputs = [awkward([rows, d], 1), awkward([columns, d], 2), awkward(of_values, 3), tensor("f32", &[rows, d], 4)];
        let grid = [(rows as u32).div_ceil(tile[0]), 1];
        let host = values(&on_host(&text, grid, &inputs)[3], "f32");
        for schedule in SCHEDULES {
            let (gpu, _) = on_emulator_as(&text, "sm_90a", grid, &inputs, schedule);
            // Probabilities that lie near the middle between two of tf32 may be rounded either way.
            let far = difference(&host, &values(&gpu[3], "f32"));
            assert!(far <= 2e-4, "{tile:?} turned {turned} {schedule:?}: {far}");
        }
    }
}

/// The fewest HGMMA there can be, neither spills nor products that wait for each other, and few others in the consumers' loop.
#[test]
fn instructions() {
    for (tile, warps, others) in [
        ([128, 128, 32], 8, 32),
        ([128, 256, 32], 8, 32),
        ([128, 192, 32], 8, 32),
        ([256, 128, 32], 8, 40),
        ([128, 128, 64], 8, 40),
    ] {
        let linear = Linear { tile, warps, ..LINEAR };
        let artifact = linear.artifact();
        assert_eq!(artifact.layouts.conversions, 0, "{tile:?}");
        let Some(out) = assemble(&artifact) else { continue };
        let products = (tile[0] * tile[2] / (64 * 8) / (warps / 4)) as usize;
        assert_eq!(count(&out.sass, "HGMMA"), products, "{tile:?}");
        assert_eq!(count(&out.sass, "HMMA") + count(&out.sass, "LDSM") + count(&out.sass, "LDGSTS"), 0, "{tile:?}");
        let steady = loop_with(&out.sass, "HGMMA", products);
        let list = steady.join("\n");
        assert_eq!(count(&list, "BAR.SYNC") + count(&list, "R2UR"), 0, "{tile:?}\n{list}");
        assert!(steady.len() - products <= others, "{tile:?}: {} others\n{list}", steady.len() - products);
    }
    for linear in [
        Linear { left: Left::Computed, tile: [128, 128, 32], warps: 8, ..LINEAR },
        Linear { left: Left::OneRow, tile: [128, 128, 32], warps: 8, ..LINEAR },
        Linear { schedule: ", stages 4, persistent, ping_pong", tile: [128, 128, 32], ..LINEAR },
        Linear { schedule: ", stages 3, split_k 2", tile: [128, 128, 32], warps: 8, ..LINEAR },
        Linear { schedule: ", stages 3, persistent, cluster [2, 1, 1]", tile: [128, 256, 32], warps: 8, ..LINEAR },
    ] {
        if let Some(out) = assemble(&linear.artifact()) {
            assert!(count(&out.sass, "HGMMA") > 0, "{linear:?}");
        }
    }
}

/// Both roles, as `kiln build --emit layouts` shows them.
#[test]
fn roles() {
    let text = Linear { tile: [128, 128, 32], warps: 8, ..LINEAR }.text();
    let module = verify(parse_module(&text).expect("test input")).expect("test input");
    let laid_out = lay_out(&module, GpuTarget::from_name("sm_90a").expect("a supported target")).expect("lays out");
    insta::assert_snapshot!("layouts_roles_tf32", dump(&laid_out));
}
