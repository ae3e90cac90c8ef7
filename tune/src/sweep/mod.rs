//! One sweep: a kernel, its arguments, and what there is to find out about its configurations.

mod bed;
mod lab;
mod race;
mod rig;
mod shard;
mod stand;

#[cfg(test)]
pub(crate) use bed::Bed;
#[cfg(test)]
pub(crate) use lab::Space;
pub use lab::{Effort, Interrupted, Lab};
#[cfg(test)]
pub(crate) use rig::{Compiled, Refusal, Rig};
pub use shard::Shard;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use kiln::compiler::Work;
use kiln::tuned::{Key, Outcome, Reason, Subject, Timing, TuneError, TuneStore, Tuning};
use kiln::{Config, Device, Error, Kernel, OwnedArg, tuned};
use thiserror::Error;

use crate::model::{self, Machine};
use crate::objective::{Objective, launch};
use crate::sample;
use crate::search::{self, Strategy};
#[cfg(not(test))]
use lab::Space;
use stand::Stand;

/// What is tuned. The kernel's program must take no tuning results itself (`ProgramOptions::tuned` is None): the sweep compares with the kernel's own defaults.
#[derive(Debug)]
pub struct Problem<'a> {
    /// The kernel, with values for what is not to be swept.
    pub kernel: &'a Kernel,
    /// The device.
    pub device: &'a Device,
    /// The arguments. What the kernel writes is put back after every run.
    pub args: Vec<OwnedArg>,
}

/// How to go about it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which configurations are looked at.
    pub strategy: Strategy,
    /// Half the width of the interval, relative to the median, that ends a measurement.
    pub precision: f64,
    /// Fewest and most samples of a close look.
    pub samples: (u32, u32),
    /// Longest time for one configuration, in seconds.
    pub seconds: f64,
    /// About the share of an exhaustive sweep's time that [`Strategy::Guided`] takes; it looks at no more than twice this share of the configurations.
    pub share: f64,
    /// The part of the space that this process does.
    pub shard: Option<Shard>,
    /// Allowed difference to the defaults' result, relative to each element and to the root mean square; by the element type where None.
    pub tolerance: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            strategy: Strategy::Guided,
            precision: 0.01,
            samples: (8, 60),
            seconds: 1.0,
            share: 0.17,
            shard: None,
            tolerance: None,
        }
    }
}

/// A configuration of a sweep.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The values.
    pub config: Config,
    /// What its launch does, by its IR; None for one that cannot be launched.
    pub work: Option<Work>,
    /// The cost model's time.
    pub predicted: Option<f64>,
    /// What came of it; None where it was not looked at.
    pub outcome: Option<Outcome>,
    /// The configuration that comes to the same code and was measured in its place.
    pub same: Option<Config>,
    /// Whether an earlier run found that out.
    pub resumed: bool,
}

/// What goes on, for whoever watches.
#[derive(Debug)]
pub enum Event<'a> {
    /// The space is known: configurations, and how many of them an earlier run has done.
    Begins {
        /// In this shard, those that cannot be launched included.
        configurations: usize,
        /// Done before.
        resumed: usize,
    },
    /// So many configurations are to be looked at.
    Planned(usize),
    /// A configuration has been looked at, for the first time or more closely. The share of the plan that is done is the watcher's to count.
    Looked {
        /// The configuration.
        trial: &'a Trial,
        /// Whether it had not been looked at in this run.
        first: bool,
    },
}

/// What a sweep found.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// What it is of.
    pub subject: Subject,
    /// Its key.
    pub key: Key,
    /// Named dimensions.
    pub dims: BTreeMap<String, i64>,
    /// How.
    pub strategy: Strategy,
    /// Whether figures are measured or predicted.
    pub objective: tuned::Objective,
    /// Every configuration, in source order.
    pub trials: Vec<Trial>,
    /// The kernel's own defaults, where they run.
    pub defaults: Option<Timing>,
    /// What results were compared with.
    pub reference: String,
    /// Bytes of the tensors.
    pub footprint: f64,
    /// How well the cost model orders what was measured (Spearman).
    pub rank_correlation: Option<f64>,
    /// Time it took.
    pub elapsed: Duration,
    /// Measurements made in this run.
    pub looked: usize,
    /// Whether it came to its end.
    pub complete: bool,
}

impl Sweep {
    /// The fastest configuration: by the upper end of its interval, so that luck does not win.
    pub fn winner(&self) -> Option<(&Trial, &Timing)> {
        let timed = self.trials.iter().filter_map(|t| Some((t, t.outcome.as_ref()?.timing()?)));
        timed.min_by(|(_, a), (_, b)| a.high.total_cmp(&b.high))
    }
}

/// What can go wrong with a sweep as a whole. What goes wrong with a configuration is its outcome.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The arguments do not fit the kernel, or memory is short.
    #[error(transparent)]
    Launch(#[from] Error),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] TuneError),
    /// The kernel has no `#[tune]`.
    #[error("kernel `{0}` has no `#[tune(..)]`: there is nothing to sweep")]
    NothingToSweep(String),
    /// Neither the defaults nor any configuration runs.
    #[error("kernel `{kernel}` runs with none of its {tried} configurations; the first says: {first}")]
    NothingRuns {
        /// The kernel.
        kernel: String,
        /// Configurations.
        tried: usize,
        /// Why not.
        first: String,
    },
}

/// A launch that was timed.
#[derive(Debug)]
pub struct Timed {
    /// Its time.
    pub timing: Timing,
    /// Its shape, code and configuration.
    pub launched: kiln::Launched,
    /// Bytes of its tensors.
    pub footprint: f64,
    /// What it does, by its IR.
    pub work: Option<Work>,
}

/// Times launches of a kernel as they are, with the configuration that they take of themselves.
///
/// # Errors
/// Where the launch fails.
pub fn time(problem: Problem<'_>, objective: &mut dyn Objective, settings: &Settings) -> Result<Timed, SweepError> {
    let Problem { kernel, device, args } = problem;
    let mut bed = bed::Bed::new(kernel, args)?;
    let launched = launch(kernel, device, &mut bed.args).prepare()?;
    let configured = launched.tuned().map_or_else(|| kernel.clone(), |choice| kernel.configured(&choice.config));
    let work = launch(&configured, device, &mut bed.args).work().ok();
    let effort = Effort {
        least: settings.samples.0,
        most: settings.samples.1,
        seconds: settings.seconds,
        visits: 1,
        once_if_hopeless: false,
    };
    let samples = if objective.is_exact() {
        vec![bed.run(objective, kernel)?]
    } else {
        bed.warm_up(objective, kernel)?;
        let start = Instant::now();
        let run = || Ok::<_, Error>((bed.run(objective, kernel)?, start.elapsed().as_secs_f64()));
        sample::take(effort, settings.precision, f64::INFINITY, 0.0, run)?
    };
    let timing = sample::timing(&samples).ok_or_else(|| Error::Internal("no samples were taken".to_owned()))?;
    Ok(Timed { timing, launched, footprint: bed.footprint(), work })
}

/// Runs a sweep. Every result goes to the store at once, and what the store knows is not measured again. Setting `stop` ends it after the measurement that is under
/// way.
///
/// # Errors
/// See [`SweepError`].
pub fn run(
    mut problem: Problem<'_>,
    objective: &mut dyn Objective,
    settings: &Settings,
    store: Option<&TuneStore>,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Sweep, SweepError> {
    let start = Instant::now();
    let signature = problem.kernel.signature();
    if signature.tune.is_empty() {
        return Err(SweepError::NothingToSweep(signature.name.clone()));
    }
    let tuning = launch(problem.kernel, problem.device, &mut problem.args).tuning()?;
    let mut space = space(tuning, settings.shard, objective.kind());
    let resumed = store.map_or(Ok(0), |store| resume(&mut space, store))?;
    let machine = Machine::of(problem.device);
    let configs = space.trials.iter().map(|trial| trial.config.clone()).collect();
    let mut stand = Stand::new(problem, objective, settings.tolerance, configs, start)?;
    let possible: Vec<usize> = (0..space.trials.len()).filter(|&i| space.trials[i].is_possible()).collect();
    for (i, work) in stand.work(possible.clone()) {
        if let Ok(work) = work {
            space.trials[i].predicted = Some(model::from_work(&machine, &work, stand.footprint()));
            space.trials[i].work = Some(work);
        }
    }
    watch(Event::Begins { configurations: space.trials.len(), resumed });
    stand.find_reference(&possible)?;
    let mut lab = Lab::new(&mut stand, space, settings, store, stop, watch);
    let complete = match search::run(settings.strategy, &mut lab) {
        Ok(()) => true,
        Err(Interrupted::Stopped) => false,
        Err(Interrupted::Failed(error)) => return Err(*error),
    };
    let finished = lab.finish(complete);
    Ok(finished.sweep(settings, stand.reference_of().to_owned(), stand.footprint()))
}

/// The configurations of a launch: those of its shard, and the kernel's own defaults, whether the lists have them or not. What is found is never slower than what was there.
fn space(tuning: Tuning, shard: Option<Shard>, objective: tuned::Objective) -> Space {
    let is_ours = |config: &Config| shard.is_none_or(|shard| shard.has(config));
    let ours = tuning.candidates.into_iter().filter(|c| is_ours(&c.config));
    let mut trials: Vec<Trial> = ours
        .map(|candidate| {
            let outcome = candidate.bound.err().map(|message| Outcome::Rejected { reason: Reason::Condition, message });
            Trial::new(candidate.config, outcome)
        })
        .collect();
    let defaults = tuning.defaults.filter(is_ours).map(|config| match trials.iter().position(|t| t.config == config) {
        Some(number) => number,
        None => {
            trials.push(Trial::new(config, None));
            trials.len() - 1
        }
    });
    Space { subject: tuning.subject, key: tuning.key, dims: tuning.dims, trials, defaults, objective }
}

/// Takes over what the store knows. What was rejected is tried again by another version of the compiler, which may do better.
fn resume(space: &mut Space, store: &TuneStore) -> Result<usize, SweepError> {
    let mut resumed = 0;
    for record in store.load(&space.subject.kernel)?.records {
        let ours = record.subject == space.subject && record.key == space.key && record.objective == space.objective;
        let holds = record.outcome.timing().is_some() || record.kiln == kiln::compiler::build_id();
        if let (true, true, Some(trial)) =
            (ours, holds, space.trials.iter_mut().find(|t| t.config == record.config && t.outcome.is_none()))
        {
            trial.outcome = Some(record.outcome);
            trial.resumed = true;
            resumed += 1;
        }
    }
    Ok(resumed)
}

impl Trial {
    fn new(config: Config, outcome: Option<Outcome>) -> Trial {
        Trial { config, work: None, predicted: None, outcome, same: None, resumed: false }
    }

    /// Whether it can be launched, as far as is known.
    fn is_possible(&self) -> bool {
        !matches!(&self.outcome, Some(Outcome::Rejected { .. }))
    }
}
