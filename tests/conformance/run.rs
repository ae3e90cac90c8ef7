//! Runs a case on a device and compares what it left with what it should have.

use std::sync::LazyLock;

use kiln::{AnyTensor, Arg as LaunchArg, Device, Program, ProgramOptions};
use kiln_tests::array::{Array, mismatch};
use kiln_tests::case::{Arg, Case, Placement};
use kiln_tests::scalar::{Num, decode};

/// The device of the whole run: `KILN_DEVICE`, else the CPU.
static DEVICE: LazyLock<Device> = LazyLock::new(|| match std::env::var("KILN_DEVICE") {
    Ok(name) => Device::from_name(&name).expect("KILN_DEVICE names a device"),
    Err(_) => Device::cpu().expect("a CPU"),
});

/// A tensor that holds `array` with the strides that `placement` asks for.
fn place(array: &Array, placement: Placement) -> Result<AnyTensor, String> {
    let dims: Vec<i64> = array.shape.iter().map(|&d| d as i64).collect();
    let text = |e: kiln::TensorError| e.to_string();
    let tensor = match placement {
        Placement::Dense => return AnyTensor::from_bytes(array.ty, &dims, &array.bytes).map_err(text),
        Placement::Transposed => {
            let turned: Vec<i64> = dims.iter().rev().copied().collect();
            let order: Vec<usize> = (0..dims.len()).rev().collect();
            AnyTensor::zeros(array.ty, &turned).and_then(|t| t.permute(&order)).map_err(text)?
        }
        Placement::Spaced => {
            let mut wide = dims.clone();
            let last = wide.len() - 1;
            wide[last] *= 2;
            AnyTensor::zeros(array.ty, &wide).and_then(|t| t.step_by(last, 2)).map_err(text)?
        }
        Placement::Repeated => {
            let slice: usize = array.shape[1..].iter().product::<usize>() * array.ty.bytes() as usize;
            let mut one = dims.clone();
            one[0] = 1;
            return AnyTensor::from_bytes(array.ty, &one, &array.bytes[..slice]).and_then(|t| t.broadcast(&dims)).map_err(text);
        }
    };
    tensor.copy_from_bytes(&array.bytes).map_err(text)?;
    Ok(tensor)
}

/// Compiles and runs the case.
///
/// # Errors
/// The diagnostics, or the first lanes that differ.
pub fn check(case: &Case) -> Result<(), String> {
    let with_source = |e: String| format!("{e}\n--- source\n{}", case.source);
    let program = Program::from_source_with("case.kiln", &case.source, ProgramOptions::without_cache())
        .map_err(|e| with_source(e.to_string()))?;
    let kernel = program.kernel("k").map_err(|e| with_source(e.to_string()))?;
    let tensors: Vec<Option<AnyTensor>> = case
        .args
        .iter()
        .map(|arg| match arg {
            Arg::Tensor { array, placement } => place(array, *placement).map(Some),
            Arg::Pointer(array) => place(array, Placement::Dense).map(Some),
            Arg::Scalar(..) | Arg::Absent => Ok(None),
        })
        .collect::<Result<_, _>>()?;
    let mut written: Vec<Option<AnyTensor>> = tensors.clone();
    let mut launch = kernel.on(&DEVICE);
    for (arg, tensor) in case.args.iter().zip(&mut written) {
        launch = match (arg, tensor) {
            // A repeated tensor is an input: it may not be written.
            (Arg::Tensor { placement: Placement::Repeated, .. }, Some(tensor)) => launch.arg(&*tensor),
            (Arg::Tensor { .. }, Some(tensor)) => launch.arg(tensor),
            (Arg::Pointer(_), Some(tensor)) => {
                let ty = tensor.scalar_type().expect("tests point to scalars");
                // SAFETY: the tensor outlives the launch, nothing else uses it meanwhile, and the kernels of the table stay within it.
                unsafe { launch.pointer(ty, tensor.address()) }
            }
            (Arg::Scalar(ty, value), _) => launch.arg(LaunchArg::Number((*value).into(), Some(*ty))),
            (_, _) => launch.arg(LaunchArg::Absent),
        };
    }
    launch.run().map_err(|e| with_source(e.to_string()))?;
    for expected in &case.expected {
        let Some(tensor) = &tensors[expected.arg] else { return Err("an expectation of what is no tensor".into()) };
        let bytes = tensor.to_bytes().map_err(|e| e.to_string())?;
        let ty = tensor.scalar_type().expect("tests hold scalars");
        let width = ty.bytes() as usize;
        let wrong: Vec<String> = expected
            .values
            .iter()
            .enumerate()
            .filter_map(|(i, &exact)| {
                let got: Num = decode(ty, &bytes[i * width..][..width]);
                mismatch(ty, got, exact, expected.bound)
                    .map(|why| format!("  argument {} element {i}{}: {why}", expected.arg, inputs_at(case, i)))
            })
            .collect();
        if !wrong.is_empty() {
            let shown = wrong.iter().take(5).cloned().collect::<Vec<_>>().join("\n");
            return Err(with_source(format!("{} of {} elements differ:\n{shown}", wrong.len(), expected.values.len())));
        }
    }
    Ok(())
}

/// The other arguments' elements of the same number, which for lane-by-lane cases are the operands.
fn inputs_at(case: &Case, i: usize) -> String {
    let lanes: Vec<String> = case
        .args
        .iter()
        .filter_map(|arg| match arg {
            Arg::Tensor { array, .. } if i < array.len() => Some(format!("{:?}", array.get(i))),
            _ => None,
        })
        .collect();
    format!(" (arguments there: {})", lanes.join(", "))
}
