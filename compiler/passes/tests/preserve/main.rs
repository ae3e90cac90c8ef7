//! Passes must not change what a program computes: random well-typed kernels, run in the reference evaluator before and after each pass and the
//! whole pipeline. All memory must agree bit for bit (one NaN being as good as another).

mod generate;

use kiln_ir::artifact::GpuTarget;
use kiln_ir::verify::verify;
use kiln_ir::{Module, ScalarType};
use kiln_passes::manager::run_passes;
use kiln_passes::{Pass, PassContext, PassOptions, Target, pipeline};
use kiln_tests::oracle::{Arg, Fault, Lane, Launch, Memory};
use proptest::prelude::*;

const SM_80: GpuTarget = GpuTarget { sm: 80, arch_specific: false };
const SM_90A: GpuTarget = GpuTarget { sm: 90, arch_specific: true };

/// Runs a generated kernel (see `generate` for its parameters) on a grid of 3.
fn evaluate(module: &Module, length: i64) -> Result<Memory, Fault> {
    let mut memory = Memory::default();
    let floats = [0.5, -3.0, 7.25, f64::INFINITY, 1e30, -0.0, 2.0, f64::NAN, -1e-3, 100.0, 65504.0];
    let ints = [3.0, -1.0, 0.0, 127.0, -128.0, 2147483647.0, 17.0, -5.0, 4.0];
    let args = vec![
        memory.tensor(ScalarType::F32, &[length], &floats),
        memory.tensor(ScalarType::F32, &[length], &floats[3..]),
        memory.tensor(ScalarType::I32, &[4, generate::WIDTH], &ints),
        Arg::Scalar(Lane::Int(-7)),
        Arg::Scalar(Lane::Float(2.5)),
        Arg::Scalar(Lane::Int(2)),
        Arg::Scalar(Lane::Int(1)),
    ];
    Launch { grid: vec![3], args, num_sms: 4 }.run(module, &mut memory)?;
    Ok(memory)
}

fn check(choices: &[u32], passes: &[Pass], target: Target) -> Result<(), TestCaseError> {
    let module = match verify(generate::module(choices)) {
        Ok(checked) => checked.into_inner(),
        Err((module, violations)) => return Err(TestCaseError::fail(format!("generated {violations:#?}\n{module}"))),
    };
    let options = PassOptions { verify_each: true, ..PassOptions::default() };
    let context = PassContext::new(target, true);
    let after = run_passes(module.clone(), passes, &context, &options).0;
    let after = after.map_err(|e| TestCaseError::fail(format!("{e}\n{module}")))?.into_inner();
    for length in [generate::WIDTH, 16, 32] {
        // Programs that the evaluator gives up on prove nothing.
        let Ok(before) = evaluate(&module, length) else { continue };
        let now = evaluate(&after, length).map_err(|e| TestCaseError::fail(format!("{e:?}\n{module}\n{after}")))?;
        let differences = before.differences(&now);
        prop_assert!(differences.is_empty(), "{differences:?}\n{module}\n{after}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_shrink_iters: 4000, ..ProptestConfig::default() })]

    #[test]
    fn the_pipeline_preserves_meaning(choices in proptest::collection::vec(any::<u32>(), 0..500)) {
        check(&choices, &pipeline::passes(Target::Host), Target::Host)?;
        let gpu = Target::Gpu(SM_90A);
        check(&choices, &pipeline::passes(gpu), gpu)?;
    }

    #[test]
    fn each_pass_preserves_meaning(choices in proptest::collection::vec(any::<u32>(), 0..400), number in any::<prop::sample::Index>()) {
        // `checks` is there to end programs that go on without it.
        // Layouts mean nothing to the evaluator; what they make of programs is compared on the emulator (`tests/random-kernels`).
        let left_out = |name| name == "checks" || pipeline::LAYOUTS.iter().any(|pass| pass.name == name);
        let all: Vec<Pass> = pipeline::all().into_iter().filter(|pass| !left_out(pass.name)).collect();
        check(&choices, &[all[number.index(all.len())]], Target::Gpu(SM_80))?;
    }
}
