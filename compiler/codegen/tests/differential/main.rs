//! Random well-typed kernels on the host back end against the reference evaluator: all memory must agree bit for bit (one NaN being as good as another),
//! with and without the target-independent passes.

#[path = "../../../passes/tests/preserve/generate.rs"]
mod generate;

use std::ffi::c_void;

use kiln_codegen::host::{HostOptions, compile, load};
use kiln_ir::abi::HostContext;
use kiln_ir::verify::{CheckedModule, verify};
use kiln_ir::{Elem, ScalarType};
use kiln_passes::manager::run_passes;
use kiln_passes::{Pass, PassContext, PassOptions, Target, pipeline};
use kiln_tests::oracle::{Arg, Lane, Launch, Memory};
use proptest::prelude::*;

extern "C" fn ignore_assert(_: *mut c_void, _: u32, _: i64) {}
extern "C" fn ignore_print(_: *mut c_void, _: u32, _: i64, _: *const *const c_void) {}

/// The arguments of a generated kernel.
fn arguments(memory: &mut Memory, length: i64) -> Vec<Arg> {
    let floats = [0.5, -3.0, 7.25, f64::INFINITY, 1e30, -0.0, 2.0, f64::NAN, -1e-3, 100.0, 65504.0];
    let ints = [3.0, -1.0, 0.0, 127.0, -128.0, 2147483647.0, 17.0, -5.0, 4.0];
    vec![
        memory.tensor(ScalarType::F32, &[length], &floats),
        memory.tensor(ScalarType::F32, &[length], &floats[3..]),
        memory.tensor(ScalarType::I32, &[4, generate::WIDTH], &ints),
        Arg::Scalar(Lane::Int(-7)),
        Arg::Scalar(Lane::Float(2.5)),
        Arg::Scalar(Lane::Int(2)),
        Arg::Scalar(Lane::Int(1)),
    ]
}

/// Runs machine code on a copy of the evaluator's memory.
fn run_native(module: &CheckedModule, memory: &Memory, args: &[Arg]) -> Result<Memory, String> {
    let options = HostOptions { opt_level: 1, ..HostOptions::default() };
    let kernel = load(&compile(module, &options).map_err(|e| e.to_string())?).map_err(|e| e.to_string())?;
    // Every buffer of a generated kernel holds 32-bit elements.
    let mut raw: Vec<Vec<u32>> = memory
        .buffers
        .iter()
        .map(|b| {
            b.lanes
                .iter()
                .map(|lane| match *lane {
                    Lane::Int(i) => i as u32,
                    Lane::Float(f) => (f as f32).to_bits(),
                    Lane::Ptr { .. } => 0,
                })
                .collect()
        })
        .collect();
    let mut slots = Vec::new();
    for arg in args {
        match arg {
            Arg::Tensor { buffer, offset, dims, strides } => {
                slots.push(raw[*buffer as usize].as_mut_ptr() as u64 + 4 * *offset as u64);
                slots.extend(dims.iter().chain(strides).map(|&v| v as u64));
            }
            // A 32-bit integer fills the low half only.
            Arg::Scalar(Lane::Int(i)) if *i < 0 => slots.push(u64::from(*i as u32)),
            Arg::Scalar(Lane::Int(i)) => slots.push(*i as u64),
            Arg::Scalar(Lane::Float(f)) => slots.push(u64::from((*f as f32).to_bits())),
            Arg::Scalar(Lane::Ptr { .. }) => return Err("generated kernels take no pointers".to_owned()),
        }
    }
    let context = HostContext {
        grid: [3, 1, 1, 1, 1],
        num_sms: 4,
        user: std::ptr::null_mut(),
        on_assert: ignore_assert,
        on_print: ignore_print,
        ..HostContext::default()
    };
    // SAFETY: the slots describe `raw`, which lives through the call.
    unsafe { kernel.call(slots.as_ptr(), &context, 0, 3) };
    let mut after = memory.clone();
    for (buffer, raw) in after.buffers.iter_mut().zip(raw) {
        for (lane, bits) in buffer.lanes.iter_mut().zip(raw) {
            *lane = match buffer.elem {
                Elem::Scalar(ScalarType::F32) => Lane::Float(f64::from(f32::from_bits(bits))),
                _ => Lane::Int(i64::from(bits as i32)),
            };
        }
    }
    Ok(after)
}

fn check(choices: &[u32], passes: &[Pass]) -> Result<(), TestCaseError> {
    let module = match verify(generate::module(choices)) {
        Ok(checked) => checked.into_inner(),
        Err((module, violations)) => return Err(TestCaseError::fail(format!("generated {violations:#?}\n{module}"))),
    };
    let context = PassContext::new(Target::Host, true);
    let lowered = run_passes(module.clone(), passes, &context, &PassOptions::default()).0;
    let lowered = lowered.map_err(|e| TestCaseError::fail(format!("{e}\n{module}")))?;
    for length in [generate::WIDTH, 32] {
        let mut memory = Memory::default();
        let args = arguments(&mut memory, length);
        let start = memory.clone();
        // Programs that the evaluator gives up on prove nothing.
        if (Launch { grid: vec![3], args: args.clone(), num_sms: 4 }).run(&module, &mut memory).is_err() {
            continue;
        }
        let native = run_native(&lowered, &start, &args).map_err(|e| TestCaseError::fail(format!("{e}\n{}", *lowered)))?;
        let differences = memory.differences(&native);
        prop_assert!(differences.is_empty(), "{differences:?}\n{}", *lowered);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn inlined_kernels_agree(choices in proptest::collection::vec(any::<u32>(), 0..400)) {
        let Some(inline) = pipeline::find("inline") else { return Err(TestCaseError::fail("no inline pass")) };
        check(&choices, &[inline])?;
    }

    #[test]
    fn optimized_kernels_agree(choices in proptest::collection::vec(any::<u32>(), 0..400)) {
        check(&choices, &pipeline::passes(Target::Host))?;
    }
}
