//! Configurations on a device.
//!
//! Compilation uses all processors. On a device with processors of its own the next configurations compile while one is measured; on the CPU, where that would disturb, they are
//! compiled when they are asked for. Before every run the tensors that the kernel may write are put back.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use kiln::compiler::Work;
use kiln::tuned::Reason;
use kiln::{AnyTensor, Config, Device, Error, Kernel, Launched, OwnedArg, ScalarType};

use super::bed::Bed;
use super::rig::{Compiled, Refusal, Rig};
use super::{Problem, SweepError};
use crate::compare::{Tolerance, compare};
use crate::objective::{Objective, launch};

/// What a thread has made of a configuration.
type Done<T> = (usize, Kernel, Result<T, Error>);

/// A kernel's configurations on a device.
pub(crate) struct Stand<'a> {
    base: &'a Kernel,
    device: &'a Device,
    objective: &'a mut dyn Objective,
    /// Allowed difference; by the element type where None.
    tolerance: Option<f64>,
    configs: Vec<Config>,
    /// One a configuration, once it is compiled.
    kernels: Vec<Option<Kernel>>,
    bed: Bed,
    /// What the tensors that the kernel may write hold after a right run, one a parameter.
    reference: Vec<Option<AnyTensor>>,
    reference_of: String,
    /// To be compiled when asked for.
    due: Vec<usize>,
    /// Under way.
    ahead: Option<JoinHandle<Vec<Done<Option<u128>>>>>,
    start: Instant,
}

impl<'a> Stand<'a> {
    /// Nothing is compiled yet.
    pub fn new(
        problem: Problem<'a>,
        objective: &'a mut dyn Objective,
        tolerance: Option<f64>,
        configs: Vec<Config>,
        start: Instant,
    ) -> Result<Stand<'a>, SweepError> {
        let Problem { kernel: base, device, args } = problem;
        let kernels = configs.iter().map(|_| None).collect();
        let bed = Bed::new(base, args)?;
        let (reference, reference_of) = (vec![], String::new());
        let (due, ahead) = (vec![], None);
        Ok(Stand { base, device, objective, tolerance, configs, kernels, bed, reference, reference_of, due, ahead, start })
    }

    /// Bytes of all tensors.
    pub fn footprint(&self) -> f64 {
        self.bed.footprint()
    }

    /// What results are compared with, in words.
    pub fn reference_of(&self) -> &str {
        &self.reference_of
    }

    /// Counts what launches do.
    pub fn work(&self, which: Vec<usize>) -> Vec<(usize, Result<Work, Error>)> {
        self.batch(which).for_each(|launch| launch.work()).into_iter().map(|(i, _, work)| (i, work)).collect()
    }

    /// Runs the kernel's defaults, else the first of some configurations that runs: what every result is compared with.
    pub fn find_reference(&mut self, possible: &[usize]) -> Result<(), SweepError> {
        let defaults = (self.base.clone(), "the kernel's defaults".to_owned());
        let others = possible.iter().map(|&i| (self.base.configured(&self.configs[i]), self.configs[i].to_string()));
        let mut first_error = None;
        for (kernel, name) in std::iter::once(defaults).chain(others.collect::<Vec<_>>()) {
            match self.bed.run(self.objective, &kernel) {
                Ok(_) => {
                    (self.reference, self.reference_of) = (self.bed.outputs()?, name);
                    return Ok(());
                }
                Err(error) => drop(first_error.get_or_insert_with(|| error.to_string())),
            }
        }
        let first = first_error.unwrap_or_default();
        Err(SweepError::NothingRuns { kernel: self.base.signature().name.clone(), tried: self.configs.len(), first })
    }

    /// What differs from the reference, in words.
    fn difference(&self) -> Option<String> {
        let names = self.base.signature().params.iter().map(|p| &p.name);
        for ((arg, reference), name) in self.bed.args.iter().zip(&self.reference).zip(names) {
            let (OwnedArg::Tensor(tensor), Some(reference)) = (arg, reference) else { continue };
            let usual = Tolerance::between_schedules(tensor.scalar_type().unwrap_or(ScalarType::U8));
            let tolerance = match self.tolerance {
                Some(t) if usual.relative > 0.0 => Tolerance { relative: t, absolute: 0.0, scale: t },
                _ => usual,
            };
            match compare(tensor, reference, tolerance) {
                Err(error) => return Some(error.to_string()),
                Ok(found) => {
                    if let Some((index, value, expected)) = found.first {
                        return Some(format!(
                            "`{name}` differs from the result of {} in {} of {} elements, first at {index:?}: {value:?} instead of {expected:?}",
                            self.reference_of, found.wrong, found.elements
                        ));
                    }
                }
            }
        }
        None
    }

    /// The kernels of some configurations, to do something with.
    fn batch(&self, which: Vec<usize>) -> Batch {
        let kernels = which.into_iter().map(|i| (i, self.base.configured(&self.configs[i]))).collect();
        Batch { kernels, device: self.device.clone(), args: self.bed.args.clone() }
    }
}

impl Rig for Stand<'_> {
    fn now(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn is_exact(&self) -> bool {
        self.objective.is_exact()
    }

    fn compile(&mut self, which: Vec<usize>) {
        if self.objective.compiles_alongside() {
            let batch = self.batch(which);
            self.ahead = Some(std::thread::spawn(move || batch.compile()));
        } else {
            self.due.extend(which);
        }
    }

    fn compiled(&mut self) -> Vec<Compiled> {
        let due = std::mem::take(&mut self.due);
        let mut done = if due.is_empty() { vec![] } else { self.batch(due).compile() };
        match self.ahead.take().map(JoinHandle::join) {
            Some(Ok(ahead)) => done.extend(ahead),
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => {}
        }
        done.sort_by_key(|(i, ..)| *i);
        let mut enter = |(i, kernel, result): Done<Option<u128>>| {
            let result = match result {
                Ok(code) => {
                    self.kernels[i] = Some(kernel);
                    Ok(code)
                }
                Err(error) => Err((reason(&error), error.to_string())),
            };
            (i, result)
        };
        done.into_iter().map(&mut enter).collect()
    }

    fn check(&mut self, i: usize) -> Result<(), Refusal> {
        self.sample(i)?;
        self.difference().map_or(Ok(()), |difference| Err((Reason::Differs, difference)))
    }

    fn sample(&mut self, i: usize) -> Result<f64, Refusal> {
        let kernel = self.kernels[i].clone().ok_or_else(|| (Reason::Fault, "it is not compiled".to_owned()))?;
        self.bed.run(self.objective, &kernel).map_err(|error| (Reason::Fault, error.to_string()))
    }

    fn release(&mut self, i: usize) {
        self.kernels[i] = None;
    }
}

impl Drop for Stand<'_> {
    fn drop(&mut self) {
        // A sweep that ends early leaves no thread behind. Whether that one panicked is of no interest any more.
        let _ = self.ahead.take().map(JoinHandle::join);
    }
}

/// Why a configuration that there is no code for is out. Codes K09xx are limits of targets.
fn reason(error: &Error) -> Reason {
    let of_target = |report: &kiln::Report| report.diagnostics.iter().all(|d| d.code.as_str().starts_with("K09"));
    match error {
        Error::Compile(_) if error.report().is_some_and(of_target) => Reason::Refused,
        Error::Compile(_) => Reason::Compile,
        _ => Reason::Fault,
    }
}

/// Kernels with what their launches take, on their own, so that threads can have them.
struct Batch {
    kernels: Vec<(usize, Kernel)>,
    device: Device,
    args: Vec<OwnedArg>,
}

impl Batch {
    /// Compiles them, on all processors.
    fn compile(self) -> Vec<Done<Option<u128>>> {
        self.for_each(|launch| Ok(fingerprint(&launch.prepare()?)))
    }

    fn for_each<T: Send>(&self, work: impl Fn(kiln::Launch<'_>) -> Result<T, Error> + Sync) -> Vec<Done<T>> {
        let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get).min(self.kernels.len());
        let (next, done) = (AtomicUsize::new(0), Mutex::new(vec![]));
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut args = self.args.clone();
                    while let Some((i, kernel)) = self.kernels.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let result = work(launch(kernel, &self.device, &mut args));
                        done.lock().unwrap_or_else(|e| e.into_inner()).push((*i, kernel.clone(), result));
                    }
                });
            }
        });
        done.into_inner().unwrap_or_else(|e| e.into_inner())
    }
}

/// The same for launches that run the same code over the same grid.
fn fingerprint(launched: &Launched) -> Option<u128> {
    const PRIME: u128 = 0x0100_0000_0000_0000_0000_013b;
    let code = launched.compiled().fingerprint()?;
    Some(launched.grid().iter().fold(code, |hash, &extent| (hash ^ extent as u128).wrapping_mul(PRIME)))
}
