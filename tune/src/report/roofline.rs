//! What a device can do at most, to draw a roof over what kernels reach: measured on a CPU, from the data sheet for a GPU.

use kiln::{AnyTensor, Device, Error, OwnedArg, Program, ProgramOptions, ScalarType};
use serde::{Deserialize, Serialize};

use crate::model::Machine;
use crate::objective::{Clock, Objective};

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

/// Products of tiles that stay in the caches, multiply-adds lane by lane, and an update of memory in place.
const PROBES: &str =
    "kernel products(a: tensor<f32, [P * 64, 256]>, b: tensor<f32, [256, 64]>, c: mut tensor<f32, [P * 64, 64]>) grid [P] {
    let m = program_id(0) * 64;
    let (x, y) = (a[m..+64, 0..+256], b[0..+256, 0..+64]);
    let mut acc = zeros::<f32>([64, 64]);
    for i in 0..40 { acc = dot(x, y, acc); }
    c[m..+64, 0..+64] = acc;
}

kernel lanes(x: mut tensor<f32, [N]>) grid [cdiv(N, 256)] {
    let n = program_id(0) * 256;
    let mut a = x[n..+256];
    let (b, c) = (a * 0.5, a * 0.25);
    for i in 0..20000 { a = fma(a, b, c); }
    x[n..+256] = a;
}

kernel bytes(x: mut tensor<f32, [N]>) grid [cdiv(N, 16384)] {
    let n = program_id(0) * 16384;
    x[n..+16384] = x[n..+16384] + 1.0;
}";

/// What is said of a roof that a kernel has raised.
const RAISED: &str = "; raised to what the fastest configuration reached";

/// Programs a processor.
const PROGRAMS: i64 = 4;
/// Bytes that no cache holds.
const MEMORY: i64 = 256 << 20;

impl Roofline {
    /// A kernel reached this: where the probes did not, because they were disturbed, the roof is raised.
    pub fn reached(&mut self, flops: f64) {
        if flops > self.flops {
            self.flops = flops;
            if !self.source.ends_with(RAISED) {
                self.source.push_str(RAISED);
            }
        }
    }

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
        let mut least = |kernel: &str, shapes: &[&[i64]]| -> Result<f64, Error> {
            let kernel = program.kernel(kernel)?;
            let tensor = |dims: &&[i64]| AnyTensor::zeros(ScalarType::F32, dims).map(OwnedArg::Tensor);
            let mut args = shapes.iter().map(tensor).collect::<Result<Vec<OwnedArg>, _>>()?;
            // The least: a roof is what the device can do, disturbances are none of it.
            (0..8).try_fold(f64::INFINITY, |least, _| Ok(clock.sample(&kernel, &mut args)?.min(least)))
        };
        let programs = PROGRAMS * device.num_sms();
        let products = 2.0 * 40.0 * (64 * 64 * 256 * programs) as f64
            / least("products", &[&[64 * programs, 256], &[256, 64], &[64 * programs, 64]])?;
        let lanes = 2.0 * 20000.0 * (256 * programs) as f64 / least("lanes", &[&[256 * programs]])?;
        let bytes = 2.0 * MEMORY as f64 / least("bytes", &[&[MEMORY / 4]])?;
        let source =
            "measured: f32 products in the caches or multiply-adds on registers, an update of 256 MiB in place".to_owned();
        Ok(Roofline { flops: products.max(lanes), bytes, source })
    }
}
