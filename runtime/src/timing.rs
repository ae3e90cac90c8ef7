//! How long launches take, by the clock that fits the device: a GPU's own events, the host's clock elsewhere.

use std::time::{Duration, Instant};

use crate::device::Kind;
use crate::error::Error;
use crate::kernel::{Launch, Launched};

/// How a launch is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Runs that are not counted.
    pub warm_up: u32,
    /// Runs that are; at least 1.
    pub repeats: u32,
    /// Whether caches are overwritten in front of each run, so that it meets its data in memory.
    pub cold: bool,
}

impl Default for Timing {
    /// 3 runs to warm up, 20 that count, with what caches hold from the run before.
    fn default() -> Timing {
        Timing { warm_up: 3, repeats: 20, cold: false }
    }
}

/// The times of a launch's runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Times(Vec<Duration>);

impl Times {
    /// The times, least first.
    pub fn sorted(&self) -> &[Duration] {
        &self.0
    }

    /// The one in the middle.
    pub fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    /// The least.
    pub fn least(&self) -> Duration {
        self.0[0]
    }
}

/// Bytes that are overwritten to empty the host's caches.
const HOST_CACHES: usize = 128 << 20;

impl Launch<'_> {
    /// Runs the kernel again and again and times each run: on a GPU with events, so that neither the way through the driver nor copies of host tensors count; on other
    /// devices with the host's clock. The kernel really runs every time: what it accumulates is accumulated.
    ///
    /// # Errors
    /// As [`Launch::run`].
    pub fn timed(mut self, timing: &Timing) -> Result<(Launched, Times), Error> {
        let timing = Timing { repeats: timing.repeats.max(1), ..*timing };
        let (launched, mut times) = match self.device.kind() {
            Kind::Cuda(_) => {
                let (args, plan) = self.planned()?;
                // SAFETY: the plan is of exactly these arguments, whose memory `on_gpu` holds; raw pointers are the promise of `Launch::pointer` and
                // `AnyTensor::from_addresses`.
                self.on_gpu(&args, plan, |call| unsafe { call.timed(&timing) })?
            }
            Kind::Cpu(_) | Kind::Checked(_) | Kind::Emulator(_) => self.timed_on_host(&timing)?,
        };
        times.sort();
        Ok((launched, Times(times)))
    }

    fn timed_on_host(&mut self, timing: &Timing) -> Result<(Launched, Vec<Duration>), Error> {
        let mut caches = vec![0u8; if timing.cold { HOST_CACHES } else { 0 }];
        let mut launched = self.go(timing.warm_up > 0)?;
        for _ in 1..timing.warm_up {
            launched = self.go(true)?;
        }
        let mut times = vec![];
        for round in 0..timing.repeats {
            caches.fill(round as u8);
            std::hint::black_box(&caches);
            let start = Instant::now();
            launched = self.go(true)?;
            times.push(start.elapsed());
        }
        Ok((launched, times))
    }
}
