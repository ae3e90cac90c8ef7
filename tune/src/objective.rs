//! What a configuration is judged by: a clock around its launch, or the cost model fed by what the emulator counted.

use std::time::Instant;

use kiln::{AnyTensor, Device, Error, Kernel, OwnedArg, Program, ProgramOptions, ScalarType, Timing, tuned};

use crate::model::{self, Machine};

/// Judges launches.
pub trait Objective: Send {
    /// Whether figures are measured or predicted.
    fn kind(&self) -> tuned::Objective;

    /// Whether every sample of a launch is the same, so that one is enough.
    fn is_exact(&self) -> bool;

    /// Whether other threads may compile while a launch is measured, without disturbing it.
    fn compiles_alongside(&self) -> bool;

    /// Runs a launch once and gives its time in seconds. Caches are made cold first where that belongs to what is measured.
    ///
    /// # Errors
    /// Where the launch fails.
    fn sample(&mut self, kernel: &Kernel, args: &mut [OwnedArg]) -> Result<f64, Error>;
}

/// The objective of a device: the cost model on the emulator, the events of a GPU, else the clock.
///
/// # Errors
/// Where the memory to flush caches with cannot be had.
pub fn of_device(device: &Device, flush: bool) -> Result<Box<dyn Objective>, Error> {
    if device.emulator_options().is_some() {
        return Ok(Box::new(Predicted::new(device)));
    }
    if device.cuda_info().is_some() {
        return Ok(Box::new(Events { device: device.clone(), flush }));
    }
    Ok(Box::new(Clock::new(device, flush)?))
}

/// A launch of owned arguments.
pub fn launch<'a>(kernel: &'a Kernel, device: &'a Device, args: &'a mut [OwnedArg]) -> kiln::Launch<'a> {
    args.iter_mut().fold(kernel.on(device), |launch, arg| launch.arg(arg.as_arg()))
}

/// The host's clock around a launch that is waited for.
pub struct Clock {
    device: Device,
    flush: Option<(Kernel, AnyTensor)>,
}

/// Writes memory that the measured kernel has nothing to do with: on the device's own threads, so that their own caches are cold.
const FLUSH: &str = "kernel flush(x: mut tensor<f32, [N]>) grid [cdiv(N, 4096)] {
    let n = program_id(0) * 4096;
    x[n..+4096] = x[n..+4096] + 1.0;
}";

impl Clock {
    /// A clock for a device. `flush`: second-level caches are cold in every sample.
    ///
    /// # Errors
    /// Where there is no memory to flush with.
    pub fn new(device: &Device, flush: bool) -> Result<Clock, Error> {
        let flush = flush
            .then(|| {
                let program = Program::from_source_with("flush.kiln", FLUSH, ProgramOptions::without_cache())?;
                let tensor = AnyTensor::zeros(ScalarType::F32, &[flush_bytes(device) / 4])?;
                Ok::<_, Error>((program.kernel("flush")?, tensor))
            })
            .transpose()?;
        Ok(Clock { device: device.clone(), flush })
    }
}

/// Twice what the second-level caches hold together.
fn flush_bytes(device: &Device) -> i64 {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index2/size").unwrap_or_default();
    let kibibytes = text.trim().strip_suffix('K').and_then(|n| n.parse::<i64>().ok()).unwrap_or(1024);
    (2 * kibibytes * 1024 * device.num_sms()).clamp(1 << 20, 256 << 20)
}

impl Objective for Clock {
    fn kind(&self) -> tuned::Objective {
        tuned::Objective::Measured
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn compiles_alongside(&self) -> bool {
        false
    }

    fn sample(&mut self, kernel: &Kernel, args: &mut [OwnedArg]) -> Result<f64, Error> {
        if let Some((flush, tensor)) = &mut self.flush {
            flush.on(&self.device).arg(tensor).run()?;
        }
        let start = Instant::now();
        launch(kernel, &self.device, args).run()?;
        Ok(start.elapsed().as_secs_f64())
    }
}

/// The events of a GPU's stream: neither the way through the driver nor copies of tensors are part of a time.
pub struct Events {
    device: Device,
    flush: bool,
}

impl Objective for Events {
    fn kind(&self) -> tuned::Objective {
        tuned::Objective::Measured
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn compiles_alongside(&self) -> bool {
        true
    }

    fn sample(&mut self, kernel: &Kernel, args: &mut [OwnedArg]) -> Result<f64, Error> {
        let timing = Timing { warm_up: 0, repeats: 1, cold: self.flush };
        let (_, times) = launch(kernel, &self.device, args).timed(&timing)?;
        Ok(times.median().as_secs_f64())
    }
}

/// The cost model on the emulator's counters. Its figures order configurations; they are no times of any machine.
pub struct Predicted {
    device: Device,
}

impl Predicted {
    /// For an emulator.
    pub fn new(device: &Device) -> Predicted {
        let options = device.emulator_options().map(|o| kiln::EmulatorOptions { counters: true, ..o.clone() });
        Predicted { device: options.map_or_else(|| device.clone(), Device::emulator_with) }
    }
}

impl Objective for Predicted {
    fn kind(&self) -> tuned::Objective {
        tuned::Objective::Predicted
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn compiles_alongside(&self) -> bool {
        true
    }

    fn sample(&mut self, kernel: &Kernel, args: &mut [OwnedArg]) -> Result<f64, Error> {
        let launched = launch(kernel, &self.device, args).run()?;
        let counters = launched.emulation().and_then(|report| report.counters.as_ref());
        let (Some(counters), Some(ptx)) = (counters, launched.compiled().ptx()) else {
            return Err(Error::Device("a prediction takes a launch on the emulator whose grid is not empty".to_owned()));
        };
        let machine = Machine::gpu(ptx.target.sm, self.device.num_sms());
        Ok(model::from_counters(&machine, ptx, &counters.total, launched.grid().iter().product()))
    }
}
