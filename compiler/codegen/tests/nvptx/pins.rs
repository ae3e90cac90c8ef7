//! What the first kernels must look like: access widths, exchanges, barriers, and byte-identical output.

use kiln_codegen::nvptx::{GpuTarget, GridMapping, PtxParam, lay_out};
use kiln_ir::layout::dump;
use kiln_ir::text::parse_module;
use kiln_ir::verify::verify;

use crate::support::{TARGETS, assemble, count, kernel, ptx};

const KERNELS: [&str; 5] = ["vector_add", "softmax", "layer_norm", "rms_norm", "grouped_rows"];

/// Every kernel assembles for every target without spills, stack or warnings.
#[test]
fn ptxas_accepts_every_kernel() {
    for name in KERNELS {
        for target in TARGETS {
            let artifact = ptx(&kernel(name), target);
            assemble(&artifact);
        }
    }
}

#[test]
fn two_runs_give_the_same_bytes() {
    for name in KERNELS {
        let text = kernel(name);
        let first = ptx(&text, "sm_90a");
        let second = std::thread::spawn(move || ptx(&text, "sm_90a")).join().expect("compiles");
        assert_eq!(first.ptx, second.ptx, "{name}");
        assert_eq!((first.params, first.grid, first.shared_bytes), (second.params, second.grid, second.shared_bytes), "{name}");
        assert_eq!((first.asserts, first.prints), (second.asserts, second.prints), "{name}");
    }
}

/// The lowest PTX version that knows the target, the block size, 32-bit shared addresses.
#[test]
fn module_head() {
    let artifact = ptx(&kernel("softmax"), "sm_90a");
    assert!(artifact.ptx.contains(".version 8.0\n.target sm_90a\n"), "{}", artifact.ptx);
    assert!(artifact.ptx.contains(".reqntid 128\n"), "{}", artifact.ptx);
    assert_eq!(count(&artifact.ptx, "cvta"), 0, "{}", artifact.ptx);
    let old = ptx(&kernel("softmax"), "sm_80");
    assert!(old.ptx.contains(".version 7.0\n.target sm_80\n"), "{}", old.ptx);
}

#[test]
fn parameters_are_listed_in_order() {
    let artifact = ptx(&kernel("rms_norm"), "sm_80");
    let (param, n) = (0, artifact.params.len());
    assert_eq!(
        artifact.params[..5],
        [
            PtxParam::Base(param),
            PtxParam::Dim { param, axis: 0 },
            PtxParam::Dim { param, axis: 1 },
            PtxParam::Stride { param, axis: 0 },
            PtxParam::Stride { param, axis: 1 },
        ]
    );
    assert_eq!(artifact.params[n - 1], PtxParam::Value { param: 3, bytes: 4 });
    assert_eq!(count(&artifact.ptx, ".param ."), n);
    assert_eq!((artifact.grid, artifact.num_warps), (GridMapping::Direct, 4));
}

/// Two 128-bit loads a tensor and two 128-bit stores for 1024 floats on 128 threads, nothing narrower.
#[test]
fn vector_add_moves_128_bits_a_thread() {
    for target in TARGETS {
        let artifact = ptx(&kernel("vector_add"), target);
        assert_eq!(count(&artifact.ptx, "ld.global.nc.v4.b32"), 4, "{}", artifact.ptx);
        assert_eq!(count(&artifact.ptx, "st.global.v4.b32"), 2, "{}", artifact.ptx);
        assert_eq!((count(&artifact.ptx, "ld.global"), count(&artifact.ptx, "st.global")), (4, 2));
        assert_eq!((artifact.shared_bytes, artifact.layouts.conversions), (0, 0));
        if let Some(out) = assemble(&artifact) {
            assert_eq!((count(&out.sass, "LDG.E.128"), count(&out.sass, "LDG")), (4, 4), "{}", out.sass);
            assert_eq!((count(&out.sass, "STG.E.128"), count(&out.sass, "STG")), (2, 2), "{}", out.sass);
            // Predicated, not branched around.
            assert_eq!(count(&out.sass, "BSSY"), 0, "{}", out.sass);
        }
    }
}

/// Two reductions: five shuffles and one barrier each; the row stays in registers.
#[test]
fn softmax_exchanges_only_partial_results() {
    let artifact = ptx(&kernel("softmax"), "sm_90a");
    assert_eq!(count(&artifact.ptx, "shfl.sync.bfly"), 10, "{}", artifact.ptx);
    assert_eq!(count(&artifact.ptx, "bar.sync"), 2, "{}", artifact.ptx);
    assert_eq!(artifact.shared_bytes, 32);
    assert_eq!(artifact.layouts.conversions, 0);
    // One load and one store of shared memory a reduction, the load 128 bits for four warps.
    assert_eq!(count(&artifact.ptx, "ld.shared.v4.b32"), 2, "{}", artifact.ptx);
    assert_eq!(count(&artifact.ptx, "st.shared"), 2, "{}", artifact.ptx);
    if let Some(out) = assemble(&artifact) {
        assert_eq!((count(&out.sass, "LDG.E.128"), count(&out.sass, "LDG")), (2, 2), "{}", out.sass);
        assert_eq!((count(&out.sass, "STG.E.128"), count(&out.sass, "STG")), (2, 2), "{}", out.sass);
        assert_eq!(count(&out.sass, "MUFU.EX2"), 8, "{}", out.sass);
    }
}

/// With one warp a row needs no shared memory and no barrier.
#[test]
fn softmax_with_one_warp_touches_no_shared_memory() {
    let artifact = ptx(&kernel("softmax").replace("warps 4", "warps 1"), "sm_80");
    assert_eq!(artifact.shared_bytes, 0);
    for word in ["bar.sync", "ld.shared", "st.shared"] {
        assert_eq!(count(&artifact.ptx, word), 0, "{}", artifact.ptx);
    }
    assert_eq!(count(&artifact.ptx, "ld.global.nc.v4.b32"), 8, "{}", artifact.ptx);
    assemble(&artifact);
}

/// 16-bit elements travel eight a vector, for all three inputs; rows of known length need no predicate.
#[test]
fn layer_norm_in_f16_moves_128_bits_a_thread() {
    let artifact = ptx(&kernel("layer_norm"), "sm_90a");
    assert_eq!(count(&artifact.ptx, "ld.global.nc.v4.b32"), 3, "{}", artifact.ptx);
    assert_eq!(count(&artifact.ptx, "st.global.v4.b32"), 1, "{}", artifact.ptx);
    assert_eq!(artifact.layouts.conversions, 0);
    assert!(!artifact.ptx.contains("setp.lt"), "{}", artifact.ptx);
    if let Some(out) = assemble(&artifact) {
        assert_eq!((count(&out.sass, "LDG.E.128"), count(&out.sass, "STG.E.128")), (3, 1), "{}", out.sass);
    }
}

/// Two rows a warp: sums need no other warp, and the weights are loaded where they are used.
#[test]
fn rms_norm_keeps_rows_in_warps() {
    let artifact = ptx(&kernel("rms_norm"), "sm_90a");
    assert_eq!((artifact.shared_bytes, artifact.layouts.conversions), (0, 0));
    assert_eq!(count(&artifact.ptx, "bar.sync"), 0, "{}", artifact.ptx);
    assert_eq!(count(&artifact.ptx, "ld.global.nc.v4.b32"), 4 + 2, "{}", artifact.ptx);
    assert_eq!(count(&artifact.ptx, "st.global.v4.b32"), 4, "{}", artifact.ptx);
}

/// Nothing known of alignment and strides: right, one element an access.
#[test]
fn without_facts_accesses_are_scalar() {
    let text = kernel("vector_add").replace("align 16, dims [?%16]", "align 4, dims [?]");
    let artifact = ptx(&text, "sm_80");
    assert_eq!(count(&artifact.ptx, "ld.global.nc.b32"), 16, "{}", artifact.ptx);
    assert_eq!(count(&artifact.ptx, ".v4"), 0, "{}", artifact.ptx);
}

/// 384 floats on 128 threads: vectors win, the last warp idles.
#[test]
fn small_tiles_weigh_vectors_against_lanes() {
    let with = |extent: &str| ptx(&kernel("vector_add").replace("1024", extent), "sm_80");
    assert_eq!(count(&with("384").ptx, "ld.global.nc.v4.b32"), 2);
    // 128 floats on 128 threads: one each.
    assert_eq!(count(&with("128").ptx, "ld.global.nc.b32"), 2);
}

/// The layouts of the first kernels and where they are converted.
#[test]
fn layouts() {
    for name in KERNELS {
        let module = verify(parse_module(&kernel(name)).expect("test input")).expect("test input");
        let target = GpuTarget::from_name("sm_80").expect("a supported target");
        let laid_out = lay_out(&module, target).expect("lays out");
        insta::assert_snapshot!(format!("layouts_{name}"), dump(&laid_out));
    }
}

/// Names that PTX has no letters for.
#[test]
fn names_in_other_alphabets() {
    let artifact = ptx(&kernel("vector_add").replace("@0 vector_add", "@0 \"größe\""), "sm_80");
    assert_eq!(artifact.name, "gr_uf6__udf_e");
    assert!(artifact.ptx.contains(".entry gr_uf6__udf_e("), "{}", artifact.ptx);
}

/// Source lines reach the PTX.
#[test]
fn line_table() {
    let text = kernel("located");
    let artifact = ptx(&text, "sm_80");
    assert!(artifact.ptx.contains(".file\t1 \"located.kiln\""), "{}", artifact.ptx);
    assert!(artifact.ptx.contains(".loc\t1 3 "), "{}", artifact.ptx);
    assemble(&artifact);
}
