//! What ptxas makes of attention's gradients and of fused products on warpgroups: tensor copies feed warpgroups, and nothing is spilled or serialized.

use super::sass::{count, disassemble, instructions, steady_loop};
use super::*;

#[test]
fn gradients_and_fused_products_run_on_warpgroups() {
    let f16 = [("T", ScalarType::F16)];
    let f8 = [("X", ScalarType::F8E4M3), ("T", ScalarType::BF16)];
    for (file, kernel, types, consts, warps, needle) in [
        ("attention/backward.kiln", "attention_dq", &f16[..], &[("D", 64), ("BM", 128), ("BN", 64)][..], 8, "HGMMA"),
        ("attention/backward.kiln", "attention_dq", &f16[..], &[("D", 128), ("BM", 128), ("BN", 64)][..], 8, "HGMMA"),
        ("attention/backward.kiln", "attention_dkdv", &f16[..], &[("D", 64), ("BM", 64), ("BN", 128)][..], 8, "HGMMA"),
        ("attention/backward.kiln", "attention_dkdv", &f16[..], &[("D", 128), ("BM", 64), ("BN", 128)][..], 8, "HGMMA"),
        ("matmul/fused.kiln", "linear_f8", &f8[..], &[("BM", 128), ("BN", 128)][..], 8, "QGMMA"),
        ("matmul/fused.kiln", "linear_f8_blocks", &f8[..], &[("BM", 128), ("BN", 128)][..], 8, "QGMMA"),
        ("matmul/fused.kiln", "linear_grouped", &f16[..], &[("BM", 128), ("BN", 128)][..], 8, "HGMMA"),
        ("matmul/fused.kiln", "linear_residual", &f16[..], &[("BM", 128), ("BN", 128)][..], 8, "HGMMA"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dsl-examples").join(file);
        let session = Session::open(&path).unwrap_or_else(|e| panic!("{e}"));
        let sig = session.kernels().into_iter().find(|sig| sig.name == kernel).expect("the kernel");
        let options = LaunchOptions {
            types: types.iter().map(|&(name, ty)| (name.to_owned(), ty)).collect(),
            consts: consts.iter().map(|&(name, value)| (name.to_owned(), value)).collect(),
            schedule: vec![("warps".to_owned(), vec![warps]), ("stages".to_owned(), vec![2])],
            num_sms: 132,
            ..LaunchOptions::default()
        };
        let dims = sig.dims.iter().map(|dim| (dim.clone(), 1024)).collect();
        let spec = sig.assume(&Assumptions { dims, present: vec![] }, &options).unwrap_or_else(|e| panic!("{kernel}: {e:?}"));
        let name = format!("{kernel} {consts:?}");
        let job = Job { name: name.clone(), file: path.clone(), kernel: kernel.to_owned(), spec, target: "sm_90a" };
        let ptx = job.ptx(&session).unwrap_or_else(|e| panic!("{e}"));
        assert!(ptx.contains("wgmma.mma_async") && ptx.contains("cp.async.bulk.tensor"), "{name}");
        let Some(sass) = disassemble(&name, "sm_90a", &ptx) else { continue };
        let all = instructions(&sass);
        assert!(count(&all, needle) > 0 && count(&all, "UTMALDG") > 0, "{name}");
        assert_eq!(count(&all, " HMMA") + count(&all, "LDGSTS"), 0, "{name}");
        // Two products start before the first one is waited for, and weights are computed while the second one runs; with a head of 128, dk and dv leave no room for that.
        if kernel == "attention_dq" || kernel == "attention_dkdv" && consts[0].1 == 64 {
            let steady = steady_loop(&sass, needle, count(&all, needle));
            let at = |what: &str| (0..steady.len()).filter(|&i| steady[i].contains(what)).collect::<Vec<usize>>();
            let (starts, waits) = (at("WARPGROUP.ARRIVE"), at("WARPGROUP.DEPBAR"));
            let list = steady.join("\n");
            assert!(starts[1] < waits[0] && waits[0] < starts[2], "{name}\n{list}");
            assert_eq!(count(&steady[waits[0]..waits[1]], "MUFU.EX2"), count(&steady, "MUFU.EX2"), "{name}\n{list}");
            // Rows of `lse` and `delta` become columns of a transposed score by an exchange.
            let exchanges = if kernel == "attention_dq" { 0 } else { 2 };
            assert_eq!(count(&steady, "BAR.SYNC"), exchanges, "{name}\n{list}");
        }
        if kernel == "linear_f8" {
            // 128 elements along k, and then as many additions in f32 as a thread has sums.
            let steady = steady_loop(&sass, needle, 4);
            assert_eq!(count(&steady, "FADD"), 64, "{name}\n{}", steady.join("\n"));
        }
    }
}
