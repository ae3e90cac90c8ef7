//! Atomics on tiles in kernels of the language: one instruction of the TMA engine a box, no atomic of a thread, in loops of products too; nothing spilled.

use kiln_tests::reductions::SOURCE;

use super::sass::{count, disassemble, instructions};
use super::*;

fn compiled(source: &str, kernel: &str, consts: &[(&str, i64)], types: &[(&str, ScalarType)]) -> String {
    let session = Session::from_source("k.kiln", source).unwrap_or_else(|e| panic!("{e}"));
    let sig = session.kernel(kernel).unwrap_or_else(|e| panic!("{e}"));
    let options = LaunchOptions {
        types: types.iter().map(|&(name, ty)| (name.to_owned(), ty)).collect(),
        consts: consts.iter().map(|&(name, value)| (name.to_owned(), value)).collect(),
        num_sms: 132,
        ..LaunchOptions::default()
    };
    let dims = sig.dims.iter().map(|dim| (dim.clone(), 1024)).collect();
    let spec = sig.assume(&Assumptions { dims, present: vec![] }, &options).unwrap_or_else(|e| panic!("{e:?}"));
    let target = GpuTarget::from_name("sm_90a").expect("a target");
    match session.compile(kernel, &spec, &CompileOptions::new(Target::Gpu(target))).unwrap_or_else(|e| panic!("{e}")).artifact {
        Artifact::Ptx(artifact) => artifact.ptx,
        _ => panic!("no PTX"),
    }
}

#[test]
fn sums_leave_by_the_engine() {
    for (ty, rounds) in [(ScalarType::F32, 2), (ScalarType::BF16, 1)] {
        let Some(sass) = disassemble("gradient", "sm_90a", &compiled(SOURCE, "gradient", &[], &[("T", ty)])) else { return };
        let all = instructions(&sass);
        assert_eq!(count(&all, "UTMAREDG"), rounds, "{sass}");
        assert_eq!(count(&all, " RED.") + count(&all, " REDG.") + count(&all, " ATOM") + count(&all, "STG"), 0, "{sass}");
    }
}

/// A part of a tensor has one dimension more.
#[test]
fn parts_are_boxes_too() {
    let Some(sass) = disassemble("grouped", "sm_90a", &compiled(SOURCE, "grouped", &[], &[])) else { return };
    let all = instructions(&sass);
    assert_eq!((count(&all, "UTMAREDG.3D"), count(&all, " RED") + count(&all, " ATOM")), (1, 0), "{sass}");
}

/// A sweep that gives all of attention's gradients, dq by atomics: by the engine, and by threads where the scope asks for them.
#[test]
fn attention_gradients_in_one_sweep() {
    let by_threads = SOURCE.replace("kt) * scale);", "kt) * scale, scope = system);");
    assert_ne!(by_threads, SOURCE);
    for (size, rounds) in [(64, 2), (128, 4)] {
        let all = |source: &str| {
            let sass = disassemble("backward", "sm_90a", &compiled(source, "backward", &[("D", size)], &[]))?;
            Some(instructions(&sass))
        };
        let (Some(engine), Some(threads)) = (all(SOURCE), all(&by_threads)) else { return };
        assert_eq!(count(&engine, "HGMMA"), count(&threads, "HGMMA"));
        assert_eq!((count(&engine, "UTMAREDG"), count(&engine, " RED")), (rounds, 0), "head of {size}");
        assert_eq!((count(&threads, "UTMAREDG"), count(&threads, " RED")), (0, size as usize / 2), "head of {size}");
        println!("head of {size}: {} instructions, {} by threads", engine.len(), threads.len());
        assert!(engine.len() < threads.len());
    }
}
