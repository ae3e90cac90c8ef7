//! What ptxas makes of fused products on warpgroups: tensor copies feed warpgroups, and nothing is spilled or serialized.

use super::sass::{count, disassemble, instructions, steady_loop};
use super::*;

#[test]
fn fused_products_run_on_warpgroups() {
    let f16 = [("T", ScalarType::F16)];
    let f8 = [("X", ScalarType::F8E4M3), ("T", ScalarType::BF16)];
    for (file, kernel, types, consts, warps, needle) in [
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
        if kernel == "linear_f8" {
            // 128 elements along k, and then as many additions in f32 as a thread has sums.
            let steady = steady_loop(&sass, needle, 4);
            assert_eq!(count(&steady, "FADD"), 64, "{name}\n{}", steady.join("\n"));
        }
    }
}
