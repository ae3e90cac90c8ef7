//! Every example in one program, for machines that it is copied to: `KILN_EXAMPLE=softmax all-examples --device cuda`. Without a name it says which there are.

#[path = "attention/main.rs"]
mod attention;
#[path = "cross_entropy/main.rs"]
mod cross_entropy;
#[path = "dropout/main.rs"]
mod dropout;
#[path = "histogram/main.rs"]
mod histogram;
#[path = "layer_norm/main.rs"]
mod layer_norm;
#[path = "matmul/main.rs"]
mod matmul;
#[path = "prefix_sum/main.rs"]
mod prefix_sum;
#[path = "rms_norm/main.rs"]
mod rms_norm;
#[path = "softmax/main.rs"]
mod softmax;
#[path = "streams/main.rs"]
mod streams;
#[path = "vector_add/main.rs"]
mod vector_add;

use std::process::ExitCode;

/// A name, and the example.
type Example = (&'static str, fn() -> ExitCode);

const EXAMPLES: &[Example] = &[
    ("attention", attention::main),
    ("cross_entropy", cross_entropy::main),
    ("dropout", dropout::main),
    ("histogram", histogram::main),
    ("layer_norm", layer_norm::main),
    ("matmul", matmul::main),
    ("prefix_sum", prefix_sum::main),
    ("rms_norm", rms_norm::main),
    ("softmax", softmax::main),
    ("streams", streams::main),
    ("vector_add", vector_add::main),
];

fn main() -> ExitCode {
    let name = std::env::var("KILN_EXAMPLE").unwrap_or_default();
    match EXAMPLES.iter().find(|(known, _)| *known == name) {
        Some((_, main)) => main(),
        None => {
            let names: Vec<&str> = EXAMPLES.iter().map(|(name, _)| *name).collect();
            eprintln!("KILN_EXAMPLE names one of {}; arguments are the example's own", names.join(", "));
            ExitCode::FAILURE
        }
    }
}
