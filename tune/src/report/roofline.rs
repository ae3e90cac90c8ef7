//! What a device can do at most, to draw a roof over what kernels reach: measured on a CPU, from the data sheet for a GPU.

use kiln::{AnyTensor, Device, Error, Program, ProgramOptions, ScalarType};
use serde::{Deserialize, Serialize};

use crate::model::Machine;
use crate::objective::{Clock, Objective};
use crate::sample;

/// Rates, and where they are from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// Floating-point operations a second.
    pub flops: f64,
    /// Bytes a second from memory.
    pub bytes: f64,
    /// `measured`, or which data sheet.
    pub source: String,
}

/// Multiply-adds on registers, and an update of memory in place.
const PROBES: &str = "kernel flops<const TRIPS: int = 20000>(x: mut tensor<f32, [N]>) grid [cdiv(N, 256)] {
    let n = program_id(0) * 256;
    let mut a = x[n..+256];
    let (b, c) = (a * 0.5, a * 0.25);
    for i in 0..TRIPS { a = fma(a, b, c); }
    x[n..+256] = a;
}

kernel bytes(x: mut tensor<f32, [N]>) grid [cdiv(N, 16384)] {
    let n = program_id(0) * 16384;
    x[n..+16384] = x[n..+16384] + 1.0;
}";

/// Trips of the loop of `flops`.
const TRIPS: f64 = 20000.0;
/// Programs a processor.
const PROGRAMS: i64 = 4;
/// Bytes that no cache holds.
const MEMORY: i64 = 256 << 20;

impl Roofline {
    /// Of a device.
    ///
    /// # Errors
    /// Where the probes cannot run.
    pub fn of(device: &Device) -> Result<Roofline, Error> {
        if device.cuda_info().is_some() || device.emulator_options().is_some() {
            let machine = Machine::of(device);
            let source = "data sheet of the architecture's usual product, f16 products".to_owned();
            return Ok(Roofline { flops: machine.dot_flops, bytes: machine.memory_bytes, source });
        }
        let program = Program::from_source_with("roofline.kiln", PROBES, ProgramOptions::without_cache())?;
        let mut clock = Clock::new(device, false)?;
        let mut time = |kernel: &str, elements: i64| -> Result<f64, Error> {
            let kernel = program.kernel(kernel)?;
            let mut args = [kiln::OwnedArg::Tensor(AnyTensor::zeros(ScalarType::F32, &[elements])?)];
            let samples = (0..8).map(|_| clock.sample(&kernel, &mut args)).collect::<Result<Vec<f64>, Error>>()?;
            // The least: a roof is what the device can do, disturbances are none of it.
            let least = samples.iter().copied().fold(f64::INFINITY, f64::min);
            Ok(sample::timing(&samples).map_or(least, |t| t.low.min(least)))
        };
        let lanes = 256 * PROGRAMS * device.num_sms();
        let flops = 2.0 * TRIPS * lanes as f64 / time("flops", lanes)?;
        let bytes = 2.0 * MEMORY as f64 / time("bytes", MEMORY / 4)?;
        Ok(Roofline {
            flops,
            bytes,
            source: "measured: multiply-adds on f32 registers, an update of 256 MiB in place".to_owned(),
        })
    }
}
