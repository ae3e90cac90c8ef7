//! The arguments of a kernel's runs, put back as they were before each of them.

use std::time::Instant;

use kiln::{AnyTensor, Error, Kernel, OwnedArg};
use kiln_ir::signature::ParamKind;

use crate::objective::Objective;

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

    /// Runs the kernel until clocks and pages have come to rest.
    pub fn warm_up(&mut self, objective: &mut dyn Objective, kernel: &Kernel) -> Result<(), Error> {
        let start = Instant::now();
        for _ in 0..WARM_UP_RUNS {
            self.run(objective, kernel)?;
            if start.elapsed().as_secs_f64() > WARM_UP {
                break;
            }
        }
        Ok(())
    }
}
