//! `verify-async` takes what the passes make, and finds what is wrong once any part of it is missing.

use kiln_codegen::nvptx::{GpuTarget, lay_out};
use kiln_ir::text::parse_module;
use kiln_ir::verify::verify;
use kiln_ir::{Block, Function, Inst, InstData};
use kiln_passes::gpu::verify_async;

use crate::attention::attention;
use crate::products::looped;

/// The kernel with layouts.
fn laid_out(text: &str, target: &str) -> Function {
    let module = verify(parse_module(text).expect("test input")).expect("test input");
    let target = GpuTarget::from_name(target).expect("a supported target");
    let module = lay_out(&module, target).expect("lays out");
    let module = module.into_inner();
    let kernel = module.kernel().expect("a kernel");
    module.funcs[kernel].clone()
}

/// Without the instruction, which has no result.
fn without(func: &Function, inst: Inst) -> Function {
    let mut func = func.clone();
    for block in func.blocks.values_mut() {
        block.insts.retain(|&i| i != inst);
    }
    func
}

/// What roles and groups do in loops: what a last trip leaves free, nobody may need.
fn in_loops(func: &Function, block: Block, looped: bool, found: &mut Vec<Inst>) {
    let insts = &func.blocks[block].insts;
    for (number, &inst) in insts.iter().enumerate() {
        // A wait once more for what was waited for keeps instructions in order, and that is not the game's business.
        let again = insts[..number].iter().any(|&before| func.insts[before] == func.insts[inst]);
        let part = matches!(
            func.insts[inst],
            InstData::BarrierWait { .. }
                | InstData::BarrierExpect { .. }
                | InstData::BarrierArrive { .. }
                | InstData::TmaFill { .. }
                | InstData::DotWait { arg: None, .. }
                | InstData::RingWait { .. }
        );
        let repeated = again && matches!(func.insts[inst], InstData::BarrierWait { .. });
        if part && looped && !repeated {
            found.push(inst);
        }
        for inner in func.insts[inst].blocks() {
            in_loops(func, inner, looped || matches!(func.insts[inst], InstData::For { .. }), found);
        }
    }
}

#[test]
fn every_part_is_needed() {
    let sixteen = ("?%16", 16);
    for (name, text, target, parts) in [
        ("matmul with roles", looped([128, 128, 64], "bf16", "f32", 8, 3, sixteen), "sm_90a", 7),
        ("attention with roles", attention([128, 64, 64], "bf16", 8, 2, false), "sm_90a", 9),
        ("matmul with groups", looped([128, 128, 64], "bf16", "f32", 8, 3, sixteen), "sm_80", 1),
    ] {
        let func = laid_out(&text, target);
        assert_eq!(verify_async(&func), Ok(()), "{name}");
        let mut found = vec![];
        in_loops(&func, func.body, false, &mut found);
        assert!(found.len() >= parts, "{name}: {} parts", found.len());
        for inst in found {
            assert!(verify_async(&without(&func, inst)).is_err(), "{name}: fine without {:?}", func.insts[inst]);
        }
    }
}

/// One slot fewer than products hold, an arrival too early, bytes that do not come.
#[test]
fn what_is_wrong_is_said() {
    let func = laid_out(&looped([128, 128, 64], "bf16", "f32", 8, 3, ("?%16", 16)), "sm_90a");
    let broken = |change: &dyn Fn(&mut InstData)| {
        let mut func = func.clone();
        func.insts.values_mut().for_each(change);
        verify_async(&func).expect_err("it is broken")
    };
    let bytes = broken(&|data| {
        if let InstData::BarrierExpect { bytes, .. } = data {
            *bytes += 16;
        }
    });
    assert!(bytes.contains("nothing goes on"), "{bytes}");
    let early = broken(&|data| {
        if let InstData::DotWait { arg: None, pending } = data {
            *pending = 2;
        }
    });
    assert!(early.contains("freed while a product reads it"), "{early}");
    let few = broken(&|data| {
        if let InstData::BarrierExpect { bytes, .. } = data {
            *bytes /= 2;
        }
    });
    assert!(few.contains("bytes are announced"), "{few}");
}
