//! Runs a case on a device and compares what it left with what it should have. Both the conformance table and the language cases are run by this.

use std::sync::LazyLock;

use kiln::{AnyTensor, Arg as LaunchArg, Device, Kernel, Program, ProgramOptions};
use kiln_tests::array::{Array, mismatch};
use kiln_tests::case::{Arg, Case, Placement, Settings};
use kiln_tests::scalar::{Num, decode};

/// The device of the whole run: `KILN_DEVICE`, else the CPU.
static DEVICE: LazyLock<Device> = LazyLock::new(|| match std::env::var("KILN_DEVICE") {
    Ok(name) => Device::from_name(&name).expect("KILN_DEVICE names a device"),
    Err(_) => Device::cpu().expect("a CPU"),
});

/// What a launch needs of one argument.
enum Placed {
    /// Scalars and absent arguments have no memory.
    None,
    /// A tensor, and the buffer around it where that is guarded.
    Tensor { tensor: AnyTensor, around: Option<AnyTensor> },
    /// Tensors, and the tensor of pointers to them.
    Pointers { targets: Vec<AnyTensor>, table: AnyTensor },
}

/// What fills the border of guarded tensors.
const GUARD: u8 = 0xA5;

fn text(e: kiln::TensorError) -> String {
    e.to_string()
}

/// A tensor that holds `array` with the strides that `placement` asks for.
fn place(array: &Array, placement: Placement) -> Result<Placed, String> {
    let dims: Vec<i64> = array.shape.iter().map(|&d| d as i64).collect();
    let dense = |dims: &[i64], bytes: &[u8]| AnyTensor::from_bytes(array.ty, dims, bytes).map_err(text);
    let mut around = None;
    let tensor = match placement {
        Placement::Dense => return Ok(Placed::Tensor { tensor: dense(&dims, &array.bytes)?, around }),
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
            let tensor = dense(&one, &array.bytes[..slice])?.broadcast(&dims).map_err(text)?;
            return Ok(Placed::Tensor { tensor, around });
        }
        Placement::Guarded => {
            let wide: Vec<i64> = dims.iter().map(|d| d + 2).collect();
            let count = wide.iter().product::<i64>() as usize * array.ty.bytes() as usize;
            let whole = dense(&wide, &vec![GUARD; count])?;
            let mut part = whole.clone();
            for (axis, &d) in dims.iter().enumerate() {
                part = part.slice(axis, 1..1 + d).map_err(text)?;
            }
            around = Some(whole);
            part
        }
    };
    tensor.copy_from_bytes(&array.bytes).map_err(text)?;
    Ok(Placed::Tensor { tensor, around })
}

fn place_arg(arg: &Arg) -> Result<Placed, String> {
    match arg {
        Arg::Tensor { array, placement } => place(array, *placement),
        Arg::Pointer(array) => place(array, Placement::Dense),
        Arg::Pointers { arrays, mutable } => {
            let dims = |a: &Array| a.shape.iter().map(|&d| d as i64).collect::<Vec<i64>>();
            let targets = arrays
                .iter()
                .map(|a| AnyTensor::from_bytes(a.ty, &dims(a), &a.bytes).map_err(text))
                .collect::<Result<Vec<_>, _>>()?;
            let addresses: Vec<u64> = targets.iter().map(AnyTensor::address).collect();
            // SAFETY: the targets live as long as the table, and the kernels of the tables stay within them.
            let table = unsafe { AnyTensor::from_addresses(arrays[0].ty, *mutable, &addresses) };
            Ok(Placed::Pointers { targets, table })
        }
        Arg::Scalar(..) | Arg::Absent => Ok(Placed::None),
    }
}

/// Compiles and runs one kernel of a file, the case's source.
///
/// # Errors
/// The diagnostics, or the first lanes that differ.
pub fn check_kernel(case: &Case, kernel: &str, settings: &Settings) -> Result<(), String> {
    check_kernel_on(case, kernel, settings, std::slice::from_ref(&*DEVICE))
}

/// [`check_kernel`] on several devices, of which those with one target share the compiled code.
///
/// # Errors
/// As [`check_kernel`], with the device.
pub fn check_kernel_on(case: &Case, kernel: &str, settings: &Settings, devices: &[Device]) -> Result<(), String> {
    let program =
        Program::from_source_with("case.kiln", &case.source, ProgramOptions::without_cache()).map_err(|e| e.to_string())?;
    let mut kernel = program.kernel(kernel).map_err(|e| e.to_string())?;
    for (name, value) in &settings.consts {
        kernel = kernel.constant(name, *value);
    }
    for (name, path) in &settings.fns {
        kernel = kernel.function(name, path);
    }
    devices.iter().try_for_each(|device| check_on(case, &kernel, device).map_err(|e| format!("on {}: {e}", device.name())))
}

/// Runs the case and looks at what it left.
fn check_on(case: &Case, kernel: &Kernel, device: &Device) -> Result<(), String> {
    let placed: Vec<Placed> = case.args.iter().map(place_arg).collect::<Result<_, _>>()?;
    // Handles of the launch; they share memory with those that are read afterwards.
    let mut written: Vec<Option<AnyTensor>> = placed
        .iter()
        .map(|p| match p {
            Placed::None => None,
            Placed::Tensor { tensor, .. } => Some(tensor.clone()),
            Placed::Pointers { table, .. } => Some(table.clone()),
        })
        .collect();
    let mut launch = kernel.on(device);
    for (arg, tensor) in case.args.iter().zip(&mut written) {
        launch = match (arg, tensor) {
            // A repeated tensor is an input: it may not be written.
            (Arg::Tensor { placement: Placement::Repeated, .. }, Some(tensor)) => launch.arg(&*tensor),
            (Arg::Tensor { .. } | Arg::Pointers { .. }, Some(tensor)) => launch.arg(tensor),
            (Arg::Pointer(_), Some(tensor)) => {
                let ty = tensor.scalar_type().expect("tests point to scalars");
                // SAFETY: the tensor outlives the launch, nothing else uses it meanwhile, and the kernels of the tables stay within it.
                unsafe { launch.pointer(ty, tensor.address()) }
            }
            (Arg::Scalar(ty, value), _) => launch.arg(LaunchArg::Number((*value).into(), Some(*ty))),
            (_, _) => launch.arg(LaunchArg::Absent),
        };
    }
    launch.run().map_err(|e| e.to_string())?;
    for expected in &case.expected {
        let (ty, bytes) = match &placed[expected.arg] {
            Placed::None => return Err("an expectation of what is no tensor".into()),
            Placed::Tensor { tensor, .. } => {
                (tensor.scalar_type().expect("tests hold scalars"), tensor.to_bytes().map_err(text)?)
            }
            Placed::Pointers { targets, .. } => {
                let parts = targets.iter().map(AnyTensor::to_bytes).collect::<Result<Vec<_>, _>>().map_err(text)?;
                (targets[0].scalar_type().expect("tests point to scalars"), parts.concat())
            }
        };
        let width = ty.bytes() as usize;
        if bytes.len() != expected.values.len() * width {
            return Err(format!("argument {}: {} bytes, {} expected values", expected.arg, bytes.len(), expected.values.len()));
        }
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
            return Err(format!("{} of {} elements differ:\n{shown}", wrong.len(), expected.values.len()));
        }
    }
    for (number, place) in placed.iter().enumerate() {
        if let Placed::Tensor { tensor, around: Some(around) } = place {
            tensor.copy_from_bytes(&vec![GUARD; tensor.byte_len()]).map_err(text)?;
            if around.to_bytes().map_err(text)?.iter().any(|&b| b != GUARD) {
                return Err(format!("argument {number}: elements outside of the tensor were written"));
            }
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
