//! Where configurations are compiled, run, compared and measured.
//!
//! Compilation uses all processors. On a device with processors of its own the next configurations compile while one is measured; on the CPU, where that would disturb, a batch is
//! compiled and then measured. Measurements are one at a time. Before every run the tensors that the kernel may write are put back.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use kiln::tuned::{Key, Outcome, Reason, Record, Subject, TuneStore};
use kiln::{AnyTensor, Config, Device, Error, Kernel, OwnedArg, ScalarType};

use super::bed::Bed;
use super::{Event, Problem, Settings, Sweep, SweepError, Trial};
use crate::compare::{Tolerance, compare};
use crate::model::{self, Machine};
use crate::objective::{Objective, launch};
use crate::sample;

/// How closely to look.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Fewest samples.
    pub least: u32,
    /// Most samples.
    pub most: u32,
    /// Longest time, in seconds; the fewest samples are taken all the same.
    pub seconds: f64,
    /// How often, at some distance.
    pub visits: u32,
}

/// Why a search ends early.
#[derive(Debug)]
pub enum Interrupted {
    /// It was told to stop.
    Stopped,
    /// The store or the device failed.
    Failed(Box<SweepError>),
}

impl<E: Into<SweepError>> From<E> for Interrupted {
    fn from(error: E) -> Self {
        Interrupted::Failed(Box::new(error.into()))
    }
}

/// A configuration whose median is so much above the best one's upper end is not measured further.
const HOPELESS: f64 = 1.5;
/// Leaders that are told apart at last.
const LEADERS: usize = 6;
/// Rounds in which that is tried.
const ROUNDS: usize = 5;
/// Samples of each leader a round.
const ROUND_SAMPLES: usize = 4;

/// The state of a sweep, as strategies see it.
pub struct Lab<'a> {
    problem: Problem<'a>,
    objective: &'a mut dyn Objective,
    settings: &'a Settings,
    store: Option<&'a TuneStore>,
    stop: &'a AtomicBool,
    watch: &'a mut dyn FnMut(Event<'_>),
    subject: Subject,
    key: Key,
    dims: BTreeMap<String, i64>,
    trials: Vec<Trial>,
    /// One a trial.
    states: Vec<State>,
    bed: Bed,
    /// What the tensors that the kernel may write hold after a right run, one a parameter.
    reference: Vec<Option<AnyTensor>>,
    reference_of: String,
    /// Number of the kernel's own defaults.
    default_trial: Option<usize>,
    looked: usize,
}

#[derive(Default)]
struct State {
    /// The kernel with the configuration; set once it is compiled.
    kernel: Option<Kernel>,
    samples: Vec<f64>,
    verified: bool,
}

impl<'a> Lab<'a> {
    pub(super) fn new(
        mut problem: Problem<'a>,
        objective: &'a mut dyn Objective,
        settings: &'a Settings,
        store: Option<&'a TuneStore>,
        stop: &'a AtomicBool,
        watch: &'a mut dyn FnMut(Event<'_>),
    ) -> Result<Lab<'a>, SweepError> {
        let signature = problem.kernel.signature().clone();
        if signature.tune.is_empty() {
            return Err(SweepError::NothingToSweep(signature.name.clone()));
        }
        let tuning = launch(problem.kernel, problem.device, &mut problem.args).tuning()?;
        let candidates: Vec<_> =
            tuning.candidates.into_iter().filter(|c| settings.shard.is_none_or(|shard| shard.has(&c.config))).collect();
        let mut trials: Vec<Trial> = candidates
            .into_iter()
            .map(|candidate| {
                let outcome = candidate.bound.err().map(|message| Outcome::Rejected { reason: Reason::Condition, message });
                Trial::new(candidate.config, outcome)
            })
            .collect();
        // The defaults are a configuration like any other, whether the lists have them or not: what is found is never slower than what was there.
        let defaults = tuning.defaults.filter(|config| settings.shard.is_none_or(|shard| shard.has(config)));
        let default_trial = defaults.map(|config| match trials.iter().position(|t| t.config == config) {
            Some(number) => number,
            None => {
                trials.push(Trial::new(config, None));
                trials.len() - 1
            }
        });
        let states = trials.iter().map(|_| State::default()).collect();
        let bed = Bed::new(problem.kernel, std::mem::take(&mut problem.args))?;
        let mut lab = Lab {
            problem,
            objective,
            settings,
            store,
            stop,
            watch,
            subject: tuning.subject,
            key: tuning.key,
            dims: tuning.dims,
            trials,
            states,
            bed,
            reference: vec![],
            reference_of: String::new(),
            default_trial,
            looked: 0,
        };
        let resumed = lab.resume()?;
        lab.count_work();
        (lab.watch)(Event::Begins { configurations: lab.trials.len(), resumed });
        lab.find_reference()?;
        Ok(lab)
    }

    /// Takes over what the store knows. What was rejected is tried again by another version of the compiler, which may do better.
    fn resume(&mut self) -> Result<usize, SweepError> {
        let Some(store) = self.store else { return Ok(0) };
        let mut resumed = 0;
        for record in store.load(&self.subject.kernel)?.records {
            let ours = record.subject == self.subject && record.key == self.key && record.objective == self.objective.kind();
            let holds = record.outcome.timing().is_some() || record.kiln == kiln::compiler::build_id();
            if let (true, true, Some(trial)) =
                (ours, holds, self.trials.iter_mut().find(|t| t.config == record.config && t.outcome.is_none()))
            {
                trial.outcome = Some(record.outcome);
                trial.resumed = true;
                resumed += 1;
            }
        }
        Ok(resumed)
    }

    /// Counts what every launch does, and what it should cost.
    fn count_work(&mut self) {
        let machine = Machine::of(self.problem.device);
        let todo: Vec<usize> = (0..self.trials.len()).filter(|&i| self.trials[i].is_possible()).collect();
        let found = self.batch(todo.into_iter()).for_each(|launch| launch.work());
        for (i, _, work) in found {
            if let Ok(work) = work {
                self.trials[i].predicted = Some(model::from_work(&machine, &work, self.bed.footprint()));
                self.trials[i].work = Some(work);
            }
        }
    }

    /// The kernels of some configurations, to do something with.
    fn batch(&self, which: impl Iterator<Item = usize>) -> Batch {
        let problem = &self.problem;
        let kernels = which.map(|i| (i, problem.kernel.configured(&self.trials[i].config))).collect();
        Batch { kernels, device: problem.device.clone(), args: self.bed.args.clone() }
    }

    /// Runs the kernel's defaults, else the first configuration that runs: what every result is compared with.
    fn find_reference(&mut self) -> Result<(), SweepError> {
        let defaults = self.problem.kernel.clone();
        let mut first_error = match self.bed.run(self.objective, &defaults).map(drop) {
            Ok(()) => {
                self.reference_of = "the kernel's defaults".to_owned();
                self.reference = self.bed.outputs()?;
                return Ok(());
            }
            Err(error) => Some(error.to_string()),
        };
        for i in 0..self.trials.len() {
            if !self.trials[i].is_possible() {
                continue;
            }
            let kernel = self.problem.kernel.configured(&self.trials[i].config);
            match self.bed.run(self.objective, &kernel).map(drop) {
                Ok(()) => {
                    self.reference_of = self.trials[i].config.to_string();
                    self.reference = self.bed.outputs()?;
                    return Ok(());
                }
                Err(error) => drop(first_error.get_or_insert_with(|| error.to_string())),
            }
        }
        Err(SweepError::NothingRuns {
            kernel: self.subject.kernel.clone(),
            tried: self.trials.len(),
            first: first_error.unwrap_or_default(),
        })
    }

    /// What differs from the reference, in words.
    fn difference(&self) -> Option<String> {
        let names = self.problem.kernel.signature().params.iter().map(|p| &p.name);
        for ((arg, reference), name) in self.bed.args.iter().zip(&self.reference).zip(names) {
            let (OwnedArg::Tensor(tensor), Some(reference)) = (arg, reference) else { continue };
            let usual = Tolerance::between_schedules(tensor.scalar_type().unwrap_or(ScalarType::U8));
            let tolerance = match self.settings.tolerance {
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

    /// What of some configurations is not compiled.
    fn uncompiled(&self, which: &[usize]) -> Batch {
        self.batch(which.iter().copied().filter(|&i| self.states[i].kernel.is_none() && self.trials[i].is_possible()))
    }

    /// Looks at configurations, in order. Those that are out already are left out.
    ///
    /// # Errors
    /// Where the search is to end.
    pub fn measure(&mut self, which: &[usize], effort: Effort) -> Result<(), Interrupted> {
        let size = 4 * std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let parts: Vec<&[usize]> = which.chunks(size).collect();
        let mut compiled = parts.first().map(|part| self.uncompiled(part).compile()).unwrap_or_default();
        for (n, part) in parts.iter().enumerate() {
            self.install(std::mem::take(&mut compiled))?;
            let next = parts.get(n + 1).map(|part| self.uncompiled(part));
            match next {
                Some(next) if self.objective.compiles_alongside() => {
                    let measured = std::thread::scope(|scope| {
                        let ahead = scope.spawn(move || next.compile());
                        let measured = self.measure_part(part, effort);
                        match ahead.join() {
                            Ok(done) => compiled = done,
                            Err(panic) => std::panic::resume_unwind(panic),
                        }
                        measured
                    });
                    measured?;
                }
                next => {
                    self.measure_part(part, effort)?;
                    compiled = next.map(Batch::compile).unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    /// Enters what compilation gave.
    fn install(&mut self, mut compiled: Vec<(usize, Kernel, Result<(), Error>)>) -> Result<(), Interrupted> {
        compiled.sort_by_key(|(i, ..)| *i);
        for (i, kernel, result) in compiled {
            match result {
                Ok(()) => self.states[i].kernel = Some(kernel),
                Err(error) => {
                    let reason = if matches!(error, Error::Compile(_)) { Reason::Compile } else { Reason::Fault };
                    self.reject(i, reason, error.to_string())?;
                }
            }
        }
        Ok(())
    }

    /// Measures configurations one after the other, and then again, backwards: what slows a machine down for some milliseconds (two threads on one core, another program)
    /// slows all samples of one visit, and seldom those of both.
    fn measure_part(&mut self, part: &[usize], effort: Effort) -> Result<(), Interrupted> {
        let visits = if self.objective.is_exact() { 1 } else { effort.visits };
        for visit in 0..visits {
            let mut order = part.to_vec();
            if visit > 0 {
                order.reverse();
            }
            for i in order {
                if self.stop.load(Ordering::Relaxed) {
                    return Err(Interrupted::Stopped);
                }
                self.measure_one(i, effort)?;
            }
        }
        Ok(())
    }

    fn measure_one(&mut self, i: usize, effort: Effort) -> Result<(), Interrupted> {
        let Some(kernel) = self.states[i].kernel.clone() else { return Ok(()) };
        let first = !self.states[i].verified;
        if first {
            if let Err(error) = self.bed.run(self.objective, &kernel).map(drop) {
                return self.reject(i, Reason::Fault, error.to_string());
            }
            if let Some(difference) = self.difference() {
                return self.reject(i, Reason::Differs, difference);
            }
            self.states[i].verified = true;
        }
        let limit =
            self.best().and_then(|b| self.trials[b].outcome.as_ref()?.timing()).map_or(f64::INFINITY, |t| t.high * HOPELESS);
        let mut visit = vec![];
        let sampled = self.bed.sample_into(self.objective, &kernel, &mut visit, effort, self.settings.precision, limit);
        let samples = &mut self.states[i].samples;
        *samples = sample::undisturbed(std::mem::take(samples), visit);
        let found = sample::timing(samples);
        match (sampled, found) {
            (Err(error), _) => self.reject(i, Reason::Fault, error.to_string()),
            (Ok(()), Some(timing)) => self.enter(i, Outcome::Time(timing), first),
            (Ok(()), None) => Ok(()),
        }
    }

    fn reject(&mut self, i: usize, reason: Reason, message: String) -> Result<(), Interrupted> {
        self.states[i].kernel = None;
        self.enter(i, Outcome::Rejected { reason, message }, true)
    }

    /// Enters an outcome, here and in the store.
    fn enter(&mut self, i: usize, outcome: Outcome, first: bool) -> Result<(), Interrupted> {
        self.trials[i].outcome = Some(outcome.clone());
        self.looked += usize::from(first);
        if let Some(store) = self.store {
            store.append(&Record {
                subject: self.subject.clone(),
                key: self.key.clone(),
                dims: self.dims.clone(),
                config: self.trials[i].config.clone(),
                outcome,
                objective: self.objective.kind(),
                kiln: kiln::compiler::build_id().to_owned(),
                unix: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_secs()),
            })?;
        }
        (self.watch)(Event::Looked { trial: &self.trials[i], first });
        Ok(())
    }

    /// Measures the configurations whose intervals reach into the best one's in turns, so that a machine that changes its speed does so for all of them, until they are
    /// told apart or the rounds are over.
    pub(crate) fn separate_leaders(&mut self) -> Result<(), Interrupted> {
        if self.objective.is_exact() {
            return Ok(());
        }
        for _ in 0..ROUNDS {
            let Some(best) = self.best() else { return Ok(()) };
            let high = self.trials[best].outcome.as_ref().and_then(Outcome::timing).map_or(0.0, |t| t.high);
            let timing = |i: usize| self.trials[i].outcome.as_ref().and_then(Outcome::timing).copied();
            let mut leaders: Vec<usize> = (0..self.trials.len())
                .filter(|&i| self.states[i].kernel.is_some() && timing(i).is_some_and(|t| t.low <= high))
                .collect();
            leaders.sort_by(|&a, &b| self.time(a).partial_cmp(&self.time(b)).unwrap_or(std::cmp::Ordering::Equal));
            leaders.truncate(LEADERS);
            let narrow = |i: usize| {
                timing(i).is_some_and(|t| t.high - t.low <= self.settings.precision * t.median)
                    || self.states[i].samples.len() >= self.settings.samples.1 as usize
            };
            if leaders.len() < 2 || leaders.iter().all(|&i| narrow(i)) {
                return Ok(());
            }
            for _ in 0..ROUND_SAMPLES {
                for &i in &leaders {
                    if self.stop.load(Ordering::Relaxed) {
                        return Err(Interrupted::Stopped);
                    }
                    let Some(kernel) = self.states[i].kernel.clone() else { continue };
                    let seconds = self.bed.run(self.objective, &kernel).map_err(SweepError::from)?;
                    self.states[i].samples.push(seconds);
                }
            }
            for &i in &leaders {
                if let Some(timing) = sample::timing(&self.states[i].samples) {
                    self.enter(i, Outcome::Time(timing), false)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(self, elapsed: Duration, complete: bool) -> Result<Sweep, SweepError> {
        let pairs: Vec<(f64, f64)> =
            self.trials.iter().filter_map(|t| Some((t.predicted?, t.outcome.as_ref()?.timing()?.median))).collect();
        let defaults = self.default_trial.and_then(|i| self.trials[i].outcome.as_ref()?.timing().copied());
        Ok(Sweep {
            subject: self.subject,
            key: self.key,
            dims: self.dims,
            strategy: self.settings.strategy,
            objective: self.objective.kind(),
            trials: self.trials,
            defaults,
            reference: self.reference_of,
            footprint: self.bed.footprint(),
            rank_correlation: sample::rank_correlation(&pairs),
            elapsed,
            looked: self.looked,
            complete,
        })
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
    fn compile(self) -> Vec<(usize, Kernel, Result<(), Error>)> {
        self.for_each(|launch| launch.prepare().map(drop))
    }

    fn for_each<T: Send>(
        &self,
        work: impl Fn(kiln::Launch<'_>) -> Result<T, Error> + Sync,
    ) -> Vec<(usize, Kernel, Result<T, Error>)> {
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

/// What strategies ask.
impl Lab<'_> {
    /// Number of configurations.
    pub fn len(&self) -> usize {
        self.trials.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.trials.is_empty()
    }

    /// A configuration.
    pub fn config(&self, i: usize) -> &Config {
        &self.trials[i].config
    }

    /// Configurations that nothing is known of yet.
    pub fn open(&self) -> Vec<usize> {
        (0..self.trials.len()).filter(|&i| self.trials[i].outcome.is_none()).collect()
    }

    /// The kernel's own defaults.
    pub fn defaults(&self) -> Option<usize> {
        self.default_trial
    }

    /// The median of a configuration's times.
    pub fn time(&self, i: usize) -> Option<f64> {
        Some(self.trials[i].outcome.as_ref()?.timing()?.median)
    }

    /// The cost model's time.
    pub fn predicted(&self, i: usize) -> Option<f64> {
        self.trials[i].predicted
    }

    /// The fastest so far.
    pub fn best(&self) -> Option<usize> {
        let timed = (0..self.trials.len()).filter_map(|i| Some((i, self.trials[i].outcome.as_ref()?.timing()?.high)));
        timed.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(i, _)| i)
    }

    /// The share of the space that a guided search looks at.
    pub fn share(&self) -> f64 {
        self.settings.share
    }

    /// A close look.
    pub fn full_effort(&self) -> Effort {
        let (least, most) = self.settings.samples;
        Effort { least, most, seconds: self.settings.seconds, visits: 2 }
    }

    /// Says how many configurations will be looked at.
    pub fn plan(&mut self, configurations: usize) {
        (self.watch)(Event::Planned(configurations));
    }
}

impl Trial {
    fn new(config: Config, outcome: Option<Outcome>) -> Trial {
        Trial { config, work: None, predicted: None, outcome, resumed: false }
    }

    /// Whether it can be launched, as far as is known.
    fn is_possible(&self) -> bool {
        !matches!(&self.outcome, Some(Outcome::Rejected { .. }))
    }
}
