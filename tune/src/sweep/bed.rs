//! The arguments of a kernel's runs, put back as they were before each of them, and the taking of samples.

use std::time::Instant;

use kiln::{AnyTensor, Error, Kernel, OwnedArg};
use kiln_ir::signature::ParamKind;

use super::Effort;
use crate::objective::Objective;
use crate::sample;

/// Seconds of warming up before the first sample.
const WARM_UP: f64 = 0.005;
/// Most runs of it.
const WARM_UP_RUNS: u32 = 10;

/// Arguments, and what the tensors that the kernel may write held at first.
pub(crate) struct Bed {
    /// The arguments.
    pub args: Vec<OwnedArg>,
    pristine: Vec<Option<AnyTensor>>,
}

impl Bed {
    /// Keeps copies of what the kernel may write.
    pub fn new(kernel: &Kernel, args: Vec<OwnedArg>) -> Result<Bed, Error> {
        let params = &kernel.signature().params;
        let written = |i: usize| params.get(i).is_some_and(|p| matches!(p.kind, ParamKind::Tensor { mutable: true, .. }));
        let copy = |(i, arg): (usize, &OwnedArg)| match arg {
            OwnedArg::Tensor(tensor) if written(i) => tensor.deep_clone().map(Some),
            _ => Ok(None),
        };
        let pristine = args.iter().enumerate().map(copy).collect::<Result<_, _>>()?;
        Ok(Bed { args, pristine })
    }

    /// Bytes of all tensors.
    pub fn footprint(&self) -> f64 {
        self.args.iter().map(|arg| if let OwnedArg::Tensor(tensor) = arg { tensor.byte_len() as f64 } else { 0.0 }).sum()
    }

    /// Runs the kernel once, from what the tensors held at first.
    pub fn run(&mut self, objective: &mut dyn Objective, kernel: &Kernel) -> Result<f64, Error> {
        for (arg, pristine) in self.args.iter().zip(&self.pristine) {
            if let (OwnedArg::Tensor(tensor), Some(pristine)) = (arg, pristine) {
                tensor.copy_from_bytes(&pristine.to_bytes()?)?;
            }
        }
        objective.sample(kernel, &mut self.args)
    }

    /// Copies of what the kernel may have written, one entry a parameter.
    pub fn outputs(&self) -> Result<Vec<Option<AnyTensor>>, Error> {
        let pairs = self.args.iter().zip(&self.pristine);
        pairs
            .map(|(arg, pristine)| match arg {
                OwnedArg::Tensor(tensor) if pristine.is_some() => Ok(Some(tensor.deep_clone()?)),
                _ => Ok(None),
            })
            .collect()
    }

    /// Takes samples until the interval is small enough (half of it, relative to the median, at most `precision`), the median above `hopeless`, or the effort spent.
    pub fn sample_into(
        &mut self,
        objective: &mut dyn Objective,
        kernel: &Kernel,
        samples: &mut Vec<f64>,
        effort: Effort,
        precision: f64,
        hopeless: f64,
    ) -> Result<(), Error> {
        if objective.is_exact() {
            *samples = vec![self.run(objective, kernel)?];
            return Ok(());
        }
        let start = Instant::now();
        let mut warm = !samples.is_empty();
        for _ in 0..WARM_UP_RUNS {
            warm |= start.elapsed().as_secs_f64() > WARM_UP.min(effort.seconds);
            if warm {
                break;
            }
            self.run(objective, kernel)?;
        }
        let start = Instant::now();
        while samples.len() < effort.most as usize {
            samples.push(self.run(objective, kernel)?);
            if samples.len() < effort.least as usize {
                continue;
            }
            let Some(timing) = sample::timing(samples) else { continue };
            let precise = timing.high - timing.low <= 2.0 * precision * timing.median;
            if precise || timing.median > hopeless || start.elapsed().as_secs_f64() > effort.seconds {
                break;
            }
        }
        Ok(())
    }
}
