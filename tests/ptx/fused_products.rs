//! What ptxas makes of fused products on warpgroups: tensor copies feed warpgroups, and nothing is spilled or serialized.

use super::sass::{count, disassemble, instructions, steady_loop};
use super::*;

#[test]
fn fused_products_run_on_warpgroups() {
    let f16 = [("T", ScalarType::F16)];
    let f8 = [("X", ScalarType::F8E4M3), ("T", ScalarType::BF16)];
    for (file, kernel, types, consts, [warps, stages], needle) in [
        ("matmul/fused.kiln", "linear_f8", &f8[..], &[("BM", 128), ("BN", 128)][..], [8, 2], "QGMMA"),
        ("matmul/fused.kiln", "linear_f8", &f8[..], &[("BM", 128), ("BN", 128)][..], [8, 4], "QGMMA"),
        ("matmul/fused.kiln", "linear_f8", &f8[..], &[("BM", 64), ("BN", 128)][..], [4, 3], "QGMMA"),
        ("matmul/fused.kiln", "linear_f8_blocks", &f8[..], &[("BM", 128), ("BN", 128)][..], [8, 2], "QGMMA"),
        ("matmul/fused.kiln", "linear_f8_blocks", &f8[..], &[("BM", 128), ("BN", 128)][..], [8, 4], "QGMMA"),
        ("matmul/fused.kiln", "linear_grouped", &f16[..], &[("BM", 128), ("BN", 128)][..], [8, 2], "HGMMA"),
        ("matmul/fused.kiln", "linear_residual", &f16[..], &[("BM", 128), ("BN", 128)][..], [8, 2], "HGMMA"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dsl-examples").join(file);
        let session = Session::open(&path).unwrap_or_else(|e| panic!("{e}"));
        let sig = session.kernels().into_iter().find(|sig| sig.name == kernel).expect("the kernel");
        let options = LaunchOptions {
            types: types.iter().map(|&(name, ty)| (name.to_owned(), ty)).collect(),
            consts: consts.iter().map(|&(name, value)| (name.to_owned(), value)).collect(),
            schedule: vec![("warps".to_owned(), vec![warps]), ("stages".to_owned(), vec![stages])],
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
        if needle == "QGMMA" {
            // 128 elements along k, and then as many additions in f32 as a thread has sums: beside the next product, where there are three slots.
            let trips = if stages > 2 { 2 } else { 1 };
            let steady = steady_loop(&sass, needle, 4 * trips);
            let list = steady.join("\n");
            let adds = if kernel == "linear_f8" { "FADD" } else { "FFMA" };
            assert_eq!(count(&steady, adds), 64 * trips, "{name}\n{list}");
            let at = |what: &str| (0..steady.len()).filter(|&i| steady[i].contains(what)).collect::<Vec<usize>>();
            let (starts, waits, sums) = (at("WARPGROUP.ARRIVE"), at("WARPGROUP.DEPBAR"), at(adds));
            assert_eq!((starts.len(), waits.len()), (trips, trips), "{name}\n{list}");
            let under_way = if trips == 2 { "gsb0, 0x1" } else { "gsb0, 0x0" };
            assert_eq!(count(&steady, under_way), trips, "{name}\n{list}");
            assert!(sums.iter().all(|&i| starts[0] < i), "{name}\n{list}");
            let [most, copies] = if kernel == "linear_f8" { [92, 0] } else { [115, 2] };
            assert!(steady.len() <= (most + 4) * trips, "{name}: {} instructions\n{list}", steady.len());
            assert!(count(&steady, " MOV") <= copies * trips, "{name}\n{list}");
        }
    }
}
