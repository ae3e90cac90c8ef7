//! What ptxas makes of attention on warpgroups: nothing spilled or serialized, the products' loop at its least.

use super::sass::{count, disassemble, instructions, steady_loop};
use super::*;

fn example(options: &[(&str, i64)], schedule: [i64; 2], present: &[&str]) -> (String, String) {
    compiled("attention.kiln", "attention", options, &[("warps", schedule[0]), ("stages", schedule[1])], present)
}

/// The name and the PTX of a kernel of the example.
pub(super) fn compiled(
    file: &str,
    kernel: &str,
    options: &[(&str, i64)],
    schedule: &[(&str, i64)],
    present: &[&str],
) -> (String, String) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dsl-examples/attention").join(file);
    let session = Session::open(&file).unwrap_or_else(|e| panic!("{e}"));
    let sig = session.kernels().into_iter().find(|sig| sig.name == kernel).expect("the kernel");
    let options = LaunchOptions {
        types: vec![("T".to_owned(), ScalarType::F16)],
        consts: options.iter().map(|&(name, value)| (name.to_owned(), value)).collect(),
        schedule: schedule.iter().map(|&(name, value)| (name.to_owned(), vec![value])).collect(),
        num_sms: 132,
        ..LaunchOptions::default()
    };
    let dims = sig.dims.iter().map(|dim| (dim.clone(), 1024)).collect();
    let present = present.iter().map(|&name| name.to_owned()).collect();
    let spec = sig.assume(&Assumptions { dims, present }, &options).unwrap_or_else(|e| panic!("{e:?}"));
    let name = format!("{kernel} {options:?}");
    let job = Job { name: name.clone(), file: file.clone(), kernel: sig.name.clone(), spec, target: "sm_90a" };
    (name, job.ptx(&session).unwrap_or_else(|e| panic!("{e}")))
}

/// Each product once in the loop, one trip's first beside the other's second; masks, tails and the diagonal behind a branch that most trips take. Counted
/// are all other instructions of such a trip, waits included (Triton 3.9: 566 for 128 x 128 and a head of 128).
#[test]
fn the_loop_of_attention() {
    for (tile, size, warps, causal, others) in [
        ([128, 128], 128, 8, 0, 430),
        ([128, 128], 128, 8, 1, 430),
        ([128, 64], 128, 8, 1, 280),
        ([128, 128], 64, 8, 1, 400),
        ([64, 128], 128, 4, 1, 440),
    ] {
        let consts = [("D", size), ("CAUSAL", causal), ("BM", tile[0]), ("BN", tile[1])];
        let (name, ptx) = example(&consts, [warps, 2], &[]);
        let Some(sass) = disassemble(&name, "sm_90a", &ptx) else { return };
        let all = instructions(&sass);
        assert_eq!(count(&all, " HMMA") + count(&all, "LDGSTS") + count(&all, "LDSM"), 0, "{name}");
        assert!(count(&all, "UTMALDG") > 0, "{name}");
        let products = ((tile[1] + size) / 16) as usize;
        // In front of the loop a first product, behind it a second one.
        assert_eq!(count(&all, "HGMMA"), 2 * products, "{name}");
        let steady = steady_loop(&sass, "HGMMA", products);
        let list = steady.join("\n");
        assert_eq!((count(&steady, "WARPGROUP.ARRIVE"), count(&steady, "WARPGROUP.DEPBAR")), (2, 2), "{name}\n{list}");
        assert_eq!(count(&steady, "BAR.SYNC"), 0, "{name}\n{list}");
        // The softmax runs beside the second product: between the two waits.
        let waits: Vec<usize> = (0..steady.len()).filter(|&i| steady[i].contains("WARPGROUP.DEPBAR")).collect();
        let beside = count(&steady[waits[0]..waits[1]], "MUFU.EX2");
        assert_eq!(beside, count(&steady, "MUFU.EX2"), "{name}\n{list}");
        assert_eq!(count(&steady[..waits[1]], "F2FP"), 0, "{name}\n{list}");
        let found = steady.len() - products;
        assert!(found <= others, "{name}: {found} others\n{list}");
        println!("{tile:?} head of {size} causal {causal}: {products} HGMMA, {found} others");
    }
}

/// Warpgroups that take turns: each waits for its turn once a trip, in front of both products, and passes it on behind them.
#[test]
fn turns_of_warpgroups() {
    for (tile, size, causal) in [([128, 128], 128, 0), ([128, 128], 128, 1), ([128, 128], 64, 1), ([128, 64], 256, 0)] {
        let consts = [("D", size), ("CAUSAL", causal), ("BM", tile[0]), ("BN", tile[1])];
        let schedule = [("warps", 8), ("stages", 2), ("ping_pong", 1)];
        let (name, ptx) = compiled("attention.kiln", "attention", &consts, &schedule, &[]);
        let Some(sass) = disassemble(&name, "sm_90a", &ptx) else { return };
        let products = ((tile[1] + size) / 16) as usize;
        let steady = steady_loop(&sass, "HGMMA", products);
        let list = steady.join("\n");
        let at = |what: &str| (0..steady.len()).filter(|&i| steady[i].contains(what)).collect::<Vec<usize>>();
        let (takes, passes, starts) = (at("BAR.SYNC"), at("BAR.ARV"), at("HGMMA"));
        assert!(takes.len() == 1 && passes.len() == 1, "{name}\n{list}");
        let waits = at("WARPGROUP.DEPBAR");
        assert!(takes[0] < starts[0] && starts[products - 1] < passes[0] && passes[0] < waits[0], "{name}\n{list}");
        assert_eq!(count(&steady[waits[0]..waits[1]], "MUFU.EX2"), count(&steady, "MUFU.EX2"), "{name}\n{list}");
        println!("{tile:?} head of {size} causal {causal}, turns: {products} HGMMA, {} others", steady.len() - products);
    }
}

/// Every head size, with every mask, in schedules of the tune list: nothing is spilled or serialized.
#[test]
fn every_head_size_fits() {
    let cases = [
        ([128, 128], 64, 8, 3),
        ([128, 128], 80, 8, 2),
        ([128, 128], 96, 8, 2),
        ([64, 64], 128, 4, 3),
        ([128, 32], 256, 8, 2),
        ([64, 64], 256, 4, 2),
        ([128, 64], 256, 8, 2),
    ];
    cases.par_iter().enumerate().for_each(|(number, &(tile, size, warps, stages))| {
        let (causal, present) = if number % 2 == 0 { (1, &["window"][..]) } else { (0, &[][..]) };
        let consts = [("D", size), ("CAUSAL", causal), ("BM", tile[0]), ("BN", tile[1])];
        let (name, ptx) = example(&consts, [warps, stages], present);
        assert!(ptx.contains("wgmma.mma_async") && ptx.contains("cp.async.bulk.tensor"), "{name}");
        assert!(!ptx.contains("cp.async.cg") && !ptx.contains("cp.async.ca"), "{name}");
        disassemble(&name, "sm_90a", &ptx);
    });
}

/// Sequences that begin and end where data says: queries, keys and values by tensor copies, the loop as for whole tensors.
#[test]
fn packed_sequences_are_copied_by_the_engine() {
    for (tile, size, warps, causal, present) in [
        ([128, 128], 128, 8, 0, &[][..]),
        ([128, 128], 128, 8, 1, &[][..]),
        ([128, 64], 64, 8, 1, &["window", "lse"][..]),
        ([128, 64], 256, 8, 1, &[][..]),
        ([64, 64], 96, 4, 0, &["lse"][..]),
    ] {
        let consts = [("D", size), ("CAUSAL", causal), ("BM", tile[0]), ("BN", tile[1])];
        let (name, ptx) = compiled("packed.kiln", "attention_packed", &consts, &[("warps", warps), ("stages", 2)], present);
        let Some(sass) = disassemble(&name, "sm_90a", &ptx) else { return };
        let all = instructions(&sass);
        assert_eq!(count(&all, " HMMA") + count(&all, "LDGSTS") + count(&all, "LDSM"), 0, "{name}");
        assert!(count(&all, "UTMALDG.4D") > 0 && count(&all, "UTMALDG.4D") == count(&all, "UTMALDG"), "{name}");
        let products = ((tile[1] + size) / 16) as usize;
        assert_eq!(count(&all, "HGMMA"), 2 * products, "{name}");
        let steady = steady_loop(&sass, "HGMMA", products);
        println!("{tile:?} head of {size} causal {causal}: {products} HGMMA, {} others", steady.len() - products);
    }
}

/// Every schedule of the tune list, for the usual head sizes: minutes.
#[test]
#[ignore = "minutes: 24 kernels"]
fn every_schedule_of_the_tune_list_fits() {
    let mut cases = vec![];
    for size in [64, 128] {
        for bn in [32, 64, 128] {
            for stages in [2, 3] {
                // `if BM == 16 * warps`: every warp has 16 rows.
                cases.extend([4, 8].map(|warps| (size, bn, stages, warps)));
            }
        }
    }
    let failed: Vec<String> = cases
        .par_iter()
        .filter_map(|&(size, bn, stages, warps)| {
            let consts = [("D", size), ("CAUSAL", 1), ("BM", 16 * warps), ("BN", bn)];
            std::panic::catch_unwind(|| {
                let (name, ptx) = example(&consts, [warps, stages], &[]);
                assert!(ptx.contains("wgmma.mma_async") && ptx.contains("cp.async.bulk.tensor"), "{name}");
                disassemble(&name, "sm_90a", &ptx);
            })
            .err()
            .map(|_| format!("{consts:?}, {stages} stages"))
        })
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
