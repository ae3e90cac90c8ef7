//! The examples, each in a process of its own, which is this program again.

#[path = "../../dsl-examples/attention/main.rs"]
mod attention;
#[path = "../../dsl-examples/cross_entropy/main.rs"]
mod cross_entropy;
#[path = "../../dsl-examples/dropout/main.rs"]
mod dropout;
#[path = "../../dsl-examples/histogram/main.rs"]
mod histogram;
#[path = "../../dsl-examples/layer_norm/main.rs"]
mod layer_norm;
#[path = "../../dsl-examples/matmul/main.rs"]
mod matmul;
#[path = "../../dsl-examples/prefix_sum/main.rs"]
mod prefix_sum;
#[path = "../../dsl-examples/rms_norm/main.rs"]
mod rms_norm;
#[path = "../../dsl-examples/softmax/main.rs"]
mod softmax;
#[path = "../../dsl-examples/vector_add/main.rs"]
mod vector_add;

use std::process::ExitCode;

use libtest_mimic::Trial;

use crate::support::{output, program_with, said};

const EXAMPLES: &[(&str, fn() -> ExitCode)] = &[
    ("attention", attention::main),
    ("cross_entropy", cross_entropy::main),
    ("dropout", dropout::main),
    ("histogram", histogram::main),
    ("layer_norm", layer_norm::main),
    ("matmul", matmul::main),
    ("prefix_sum", prefix_sum::main),
    ("rms_norm", rms_norm::main),
    ("softmax", softmax::main),
    ("vector_add", vector_add::main),
];

/// Which example a process is to be.
const EXAMPLE: &str = "KILN_GPU_EXAMPLE";

/// Runs the example that this process was started for.
pub fn asked_for() -> Option<ExitCode> {
    let name = std::env::var(EXAMPLE).ok()?;
    EXAMPLES.iter().find(|(n, _)| *n == name).map(|(_, main)| main())
}

pub fn trials() -> Vec<Trial> {
    let trial = |name: &'static str| {
        Trial::test(format!("examples::{name}"), move || {
            let ran = output(program_with(EXAMPLE, name).args(["--device", "cuda"]));
            let text = said(&ran);
            // The head, the committed input, and several sizes.
            if ran.status.success() && text.starts_with("on cuda:0") && text.lines().count() > 5 {
                Ok(())
            } else {
                Err(text.into())
            }
        })
    };
    EXAMPLES.iter().map(|(name, _)| trial(name)).collect()
}
