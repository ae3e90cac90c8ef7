//! Where configurations are measured, one at a time, and entered: what strategies see of a sweep.
//!
//! Configurations that come to the same code are measured once, as the first of them; the others share its samples.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use kiln::Config;
use kiln::tuned::{self, Key, Outcome, Record, Subject, Timing, TuneStore};

use super::race::{self, Standing};
use super::rig::{Refusal, Rig};
use super::{Event, Settings, Sweep, SweepError, Trial};
use crate::sample;

/// How closely to look.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Fewest samples of a visit.
    pub least: u32,
    /// Most samples of it.
    pub most: u32,
    /// Longest time, in seconds; the fewest samples are taken all the same.
    pub seconds: f64,
    /// How often, at some distance.
    pub visits: u32,
    /// Whether what was far behind in all samples of the first visit is left alone.
    pub once_if_hopeless: bool,
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
/// Most configurations that are told apart at a time.
const LEADERS: usize = 16;
/// They are within this of the best.
const LEADING: f64 = 1.3;
/// How often the leaders are told apart: those that lose may leave others in front that had not taken part.
const RACES: usize = 4;

/// What a sweep is of.
pub(crate) struct Space {
    pub subject: Subject,
    pub key: Key,
    pub dims: BTreeMap<String, i64>,
    pub trials: Vec<Trial>,
    /// Number of the kernel's own defaults.
    pub defaults: Option<usize>,
    pub objective: tuned::Objective,
}

/// The state of a sweep, as strategies see it.
pub struct Lab<'a> {
    rig: &'a mut dyn Rig,
    space: Space,
    settings: &'a Settings,
    store: Option<&'a TuneStore>,
    stop: &'a AtomicBool,
    watch: &'a mut dyn FnMut(Event<'_>),
    /// One a trial.
    states: Vec<State>,
    /// By fingerprint, the first configuration with this code.
    codes: BTreeMap<u128, usize>,
    looked: usize,
    costs: Costs,
    /// When the sweep should have come to its end, in seconds of its clock; infinite for those without a limit.
    deadline: f64,
}

#[derive(Default)]
struct State {
    /// Compiled in this run, and not out.
    ready: bool,
    /// The configuration with the same code that is measured in its place.
    same: Option<usize>,
    samples: Vec<f64>,
    verified: bool,
}

/// What things have taken so far, in seconds, and how many there were.
#[derive(Default)]
struct Costs {
    compiling: f64,
    compiled: usize,
    checking: f64,
    checked: usize,
    /// Around samples: caches made cold, tensors put back.
    around: f64,
    sampled: usize,
}

impl<'a> Lab<'a> {
    pub(crate) fn new(
        rig: &'a mut dyn Rig,
        space: Space,
        settings: &'a Settings,
        store: Option<&'a TuneStore>,
        stop: &'a AtomicBool,
        watch: &'a mut dyn FnMut(Event<'_>),
    ) -> Lab<'a> {
        let states = space.trials.iter().map(|_| State::default()).collect();
        let (codes, costs, deadline) = (BTreeMap::new(), Costs::default(), f64::INFINITY);
        Lab { rig, space, settings, store, stop, watch, states, codes, looked: 0, costs, deadline }
    }

    /// What of some configurations is not compiled.
    fn uncompiled(&self, which: &[usize]) -> Vec<usize> {
        which.iter().copied().filter(|&i| !self.states[i].ready && self.space.trials[i].is_possible()).collect()
    }

    /// Looks at configurations, in order. Those that are out already are left out.
    ///
    /// # Errors
    /// Where the search is to end.
    pub fn measure(&mut self, which: &[usize], effort: Effort) -> Result<(), Interrupted> {
        let size = 4 * std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let parts: Vec<&[usize]> = which.chunks(size).collect();
        if let Some(first) = parts.first() {
            self.rig.compile(self.uncompiled(first));
        }
        for (n, part) in parts.iter().enumerate() {
            self.install()?;
            if let Some(next) = parts.get(n + 1) {
                self.rig.compile(self.uncompiled(next));
            }
            self.measure_part(part, effort)?;
        }
        Ok(())
    }

    /// Enters what compilation gave.
    fn install(&mut self) -> Result<(), Interrupted> {
        let start = self.rig.now();
        let compiled = self.rig.compiled();
        self.costs.compiling += self.rig.now() - start;
        self.costs.compiled += compiled.len();
        for (i, result) in compiled {
            match result {
                Ok(code) => {
                    self.states[i].ready = true;
                    let first = code.map_or(i, |code| *self.codes.entry(code).or_insert(i));
                    self.states[i].same = (first != i && self.states[first].ready).then_some(first);
                }
                Err(refusal) => self.reject(i, refusal)?,
            }
        }
        Ok(())
    }

    /// Measures configurations one after the other, and then again, backwards: what slows a machine down for some milliseconds (two threads on one core, another program)
    /// slows all samples of one visit, and seldom those of both.
    fn measure_part(&mut self, part: &[usize], effort: Effort) -> Result<(), Interrupted> {
        let visits = if self.rig.is_exact() { 1 } else { effort.visits };
        for visit in 0..visits {
            let mut order = part.to_vec();
            if visit > 0 {
                order.reverse();
            }
            for i in order {
                if self.stop.load(Ordering::Relaxed) {
                    return Err(Interrupted::Stopped);
                }
                if visit == 0 || !(effort.once_if_hopeless && self.is_behind(i)) {
                    self.measure_one(i, effort)?;
                }
            }
        }
        Ok(())
    }

    /// Whether all samples of a configuration are far above the best.
    fn is_behind(&self, i: usize) -> bool {
        let least = self.states[i].samples.iter().copied().fold(f64::INFINITY, f64::min);
        let best = (0..self.len()).filter_map(|j| self.likely(j)).fold(f64::INFINITY, f64::min);
        least.is_finite() && least > HOPELESS * best
    }

    fn measure_one(&mut self, i: usize, effort: Effort) -> Result<(), Interrupted> {
        if !self.states[i].ready {
            return Ok(());
        }
        let first = self.space.trials[i].outcome.is_none();
        if let Some(same) = self.states[i].same {
            // It was measured, or found to be out, as the other one.
            if self.states[same].samples.is_empty() && self.space.trials[same].is_possible() {
                self.measure_one(same, effort)?;
            }
            let known = self.space.trials[same].outcome.clone();
            return if let (true, Some(outcome)) = (first, known) { self.enter(i, outcome, true) } else { Ok(()) };
        }
        if !self.states[i].verified {
            let start = self.rig.now();
            if let Err(refusal) = self.rig.check(i) {
                return self.reject(i, refusal);
            }
            self.costs.checking += self.rig.now() - start;
            self.costs.checked += 1;
            self.states[i].verified = true;
        }
        let hopeless = self.best().and_then(|b| self.timing(b)).map_or(f64::INFINITY, |t| t.high * HOPELESS);
        let precision = self.settings.precision;
        let visit = if self.rig.is_exact() {
            self.sample(i).map(|seconds| vec![seconds])
        } else {
            let start = self.rig.now();
            sample::take(effort, precision, hopeless, start, || Ok((self.sample(i)?, self.rig.now())))
        };
        match visit {
            Err(refusal) => self.reject(i, refusal),
            Ok(visit) => {
                let before = std::mem::take(&mut self.states[i].samples);
                self.states[i].samples = sample::undisturbed(before, visit);
                self.enter_samples(i, first)
            }
        }
    }

    /// A sample of a configuration, and what it costs.
    fn sample(&mut self, i: usize) -> Result<f64, Refusal> {
        let start = self.rig.now();
        let seconds = self.rig.sample(i)?;
        self.costs.around += (self.rig.now() - start - seconds).max(0.0);
        self.costs.sampled += 1;
        Ok(seconds)
    }

    fn reject(&mut self, i: usize, (reason, message): Refusal) -> Result<(), Interrupted> {
        self.states[i].ready = false;
        self.rig.release(i);
        let first = self.space.trials[i].outcome.is_none();
        self.enter(i, Outcome::Rejected { reason, message }, first)
    }

    /// Enters the figure that a configuration's samples come to.
    fn enter_samples(&mut self, i: usize, first: bool) -> Result<(), Interrupted> {
        let Some(timing) = sample::timing(&self.states[i].samples) else { return Ok(()) };
        self.enter(i, Outcome::Time(timing), first)?;
        if !first {
            let sharers: Vec<usize> = (0..self.states.len()).filter(|&j| self.states[j].same == Some(i)).collect();
            for j in sharers {
                if self.timing(j).is_some() {
                    self.enter(j, Outcome::Time(timing), false)?;
                }
            }
        }
        Ok(())
    }

    /// Enters an outcome, here and in the store.
    fn enter(&mut self, i: usize, outcome: Outcome, first: bool) -> Result<(), Interrupted> {
        let same = self.states[i].same.map(|same| self.space.trials[same].config.clone());
        let trial = &mut self.space.trials[i];
        trial.outcome = Some(outcome.clone());
        trial.same = same;
        self.looked += usize::from(first);
        if let Some(store) = self.store {
            store.append(&Record {
                subject: self.space.subject.clone(),
                key: self.space.key.clone(),
                dims: self.space.dims.clone(),
                config: trial.config.clone(),
                outcome,
                objective: self.space.objective,
                kiln: kiln::compiler::build_id().to_owned(),
                unix: SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |t| t.as_secs()),
            })?;
        }
        (self.watch)(Event::Looked { trial: &self.space.trials[i], first });
        Ok(())
    }

    /// Runs the leaders in turns, so that a machine that changes its speed does so for all of them, until they are told apart or known to be equally fast. Then again with those
    /// that had not taken part and still look faster than the winner.
    pub(crate) fn separate_leaders(&mut self) -> Result<(), Interrupted> {
        if self.rig.is_exact() {
            return Ok(());
        }
        let mut raced: BTreeSet<usize> = BTreeSet::new();
        let mut champion: Option<usize> = None;
        for _ in 0..RACES {
            let takes_part = |&i: &usize| self.states[i].ready && self.states[i].same.is_none() && !raced.contains(&i);
            let mut leaders: Vec<(f64, usize)> =
                (0..self.len()).filter(takes_part).filter_map(|i| Some((self.likely(i)?, i))).collect();
            leaders.sort_by(|(a, _), (b, _)| a.total_cmp(b));
            let limit = match champion {
                None => leaders.first().map_or(0.0, |(least, _)| LEADING * least),
                Some(champion) => self.time(champion).unwrap_or(0.0),
            };
            leaders.retain(|(time, _)| *time <= limit);
            leaders.truncate(LEADERS.min(self.runners_by(self.deadline, limit)));
            let runners: Vec<usize> = champion.into_iter().chain(leaders.iter().map(|(_, i)| *i)).collect();
            if runners.len() < 2 || self.rig.now() > self.deadline && champion.is_some() {
                return Ok(());
            }
            champion = self.race(&runners)?;
            raced.extend(runners);
        }
        Ok(())
    }

    /// How many that take about `seconds` each can run the laps that a race has at least until the deadline; two at least.
    fn runners_by(&self, deadline: f64, seconds: f64) -> usize {
        let around = self.costs.around / self.costs.sampled.max(1) as f64;
        (((deadline - self.rig.now()) / ((seconds + around) * race::LEAST as f64)) as usize).max(2)
    }

    /// One race. What was measured before counts no more: of samples that were taken one after the other a lucky one may have led.
    /// Gives back the winner.
    fn race(&mut self, runners: &[usize]) -> Result<Option<usize>, Interrupted> {
        let mut laps: Vec<Vec<f64>> = vec![vec![]; runners.len()];
        let mut running: Vec<usize> = (0..runners.len()).collect();
        while running.len() > 1 && laps[running[0]].len() < race::MOST {
            for _ in 0..race::LAPS {
                for &n in &running {
                    if self.stop.load(Ordering::Relaxed) {
                        return Err(Interrupted::Stopped);
                    }
                    match self.sample(runners[n]) {
                        Ok(seconds) => laps[n].push(seconds),
                        Err(refusal) => {
                            self.reject(runners[n], refusal)?;
                            laps[n].clear();
                        }
                    }
                }
                running.retain(|&n| !laps[n].is_empty());
            }
            match race::standing(&laps, &running) {
                Standing::Open(left) => running = left,
                Standing::Settled => break,
            }
            if self.rig.now() > self.deadline && running.first().is_some_and(|&n| laps[n].len() >= race::LEAST) {
                break;
            }
        }
        for (&i, laps) in runners.iter().zip(laps) {
            if !laps.is_empty() {
                self.states[i].samples = laps;
                self.enter_samples(i, false)?;
            }
        }
        let mut finished: Vec<(f64, usize)> =
            running.iter().filter_map(|&n| Some((self.timing(runners[n])?.high, runners[n]))).collect();
        finished.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        Ok(finished.first().map(|(_, i)| *i))
    }

    pub(crate) fn finish(self, complete: bool) -> Finished {
        let elapsed = Duration::from_secs_f64(self.rig.now());
        let trials = &self.space.trials;
        let pairs: Vec<(f64, f64)> =
            trials.iter().filter_map(|t| Some((t.predicted?, t.outcome.as_ref()?.timing()?.median))).collect();
        let defaults = self.space.defaults.and_then(|i| self.timing(i).copied());
        Finished {
            rank_correlation: sample::rank_correlation(&pairs),
            elapsed,
            looked: self.looked,
            complete,
            defaults,
            space: self.space,
        }
    }
}

/// A sweep that has ended, without what its rig knows.
pub(crate) struct Finished {
    pub space: Space,
    pub defaults: Option<Timing>,
    pub rank_correlation: Option<f64>,
    pub elapsed: Duration,
    pub looked: usize,
    pub complete: bool,
}

impl Finished {
    /// The sweep.
    pub fn sweep(self, settings: &Settings, reference: String, footprint: f64) -> Sweep {
        let Space { subject, key, dims, trials, objective, .. } = self.space;
        let (strategy, rank_correlation) = (settings.strategy, self.rank_correlation);
        let Finished { defaults, elapsed, looked, complete, .. } = self;
        Sweep {
            subject,
            key,
            dims,
            strategy,
            objective,
            trials,
            defaults,
            reference,
            footprint,
            rank_correlation,
            elapsed,
            looked,
            complete,
        }
    }
}

/// What strategies ask.
impl Lab<'_> {
    /// Number of configurations.
    pub fn len(&self) -> usize {
        self.space.trials.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.space.trials.is_empty()
    }

    /// A configuration.
    pub fn config(&self, i: usize) -> &Config {
        &self.space.trials[i].config
    }

    /// Configurations that nothing is known of yet.
    pub fn open(&self) -> Vec<usize> {
        (0..self.len()).filter(|&i| self.space.trials[i].outcome.is_none()).collect()
    }

    /// The kernel's own defaults.
    pub fn defaults(&self) -> Option<usize> {
        self.space.defaults
    }

    fn timing(&self, i: usize) -> Option<&Timing> {
        self.space.trials[i].outcome.as_ref()?.timing()
    }

    /// The median of a configuration's times.
    pub fn time(&self, i: usize) -> Option<f64> {
        Some(self.timing(i)?.median)
    }

    /// What a configuration probably takes: the lower third of its samples, which neither disturbances nor a lucky sample move. Its median where an earlier run took the samples.
    pub fn likely(&self, i: usize) -> Option<f64> {
        let lead = self.states[i].same.unwrap_or(i);
        let time = self.time(i)?;
        let mut samples = self.states[lead].samples.clone();
        samples.sort_by(f64::total_cmp);
        Some(samples.get(samples.len().saturating_sub(1) / 3).copied().unwrap_or(time))
    }

    /// The cost model's time.
    pub fn predicted(&self, i: usize) -> Option<f64> {
        self.space.trials[i].predicted
    }

    /// The fastest so far.
    pub fn best(&self) -> Option<usize> {
        let timed = (0..self.len()).filter_map(|i| Some((i, self.timing(i)?.high)));
        timed.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(i, _)| i)
    }

    /// The share of the space that a guided search looks at.
    pub fn share(&self) -> f64 {
        self.settings.share
    }

    /// A close look.
    pub fn full_effort(&self) -> Effort {
        let (least, most) = self.settings.samples;
        Effort { least, most, seconds: self.settings.seconds, visits: 2, once_if_hopeless: false }
    }

    /// Says how many configurations will be looked at.
    pub fn plan(&mut self, configurations: usize) {
        (self.watch)(Event::Planned(configurations));
    }

    /// Seconds since the sweep began.
    pub fn now(&self) -> f64 {
        self.rig.now()
    }

    /// Sets when the sweep should have come to its end: leaders that are not told apart by then stay so.
    pub fn set_deadline(&mut self, seconds: f64) {
        self.deadline = seconds;
    }

    /// About how long the whole space would take, closely looked at, by what was looked at so far: what was set up, then compiling, checking and as many samples of each
    /// configuration as their spread asks for. None where nothing was measured.
    pub fn seconds_of_exhaustive(&self) -> Option<f64> {
        let sampled: Vec<&Vec<f64>> = self.states.iter().map(|s| &s.samples).filter(|s| s.len() >= 2).collect();
        if self.costs.compiled == 0 || self.costs.checked == 0 || sampled.is_empty() {
            return None;
        }
        let effort = self.full_effort();
        let (least, most) = (f64::from(effort.least), f64::from(effort.most));
        let needed = (1.96 * 1.2533 * sample::spread(&sampled) / self.settings.precision).powi(2).clamp(least, most);
        let around = self.costs.around / self.costs.sampled.max(1) as f64;
        let best = self.best().and_then(|b| self.time(b))?;
        let timed: Vec<f64> = sampled.iter().filter_map(|s| Some(sample::timing(s)?.median)).collect();
        let visits = f64::from(effort.visits);
        let one = |time: &f64| {
            visits
                * ((time + around) * if *time > HOPELESS * best { least } else { needed })
                    .min(effort.seconds.max((time + around) * least))
        };
        let measuring = timed.iter().map(one).sum::<f64>() / timed.len() as f64;
        let Costs { compiling, compiled, checking, checked, around, .. } = &self.costs;
        let spent = compiling + checking + around + self.states.iter().flat_map(|s| &s.samples).sum::<f64>();
        let set_up = (self.rig.now() - spent).max(0.0);
        // What comes to the same code as another is compiled and no more.
        let ready = self.states.iter().filter(|s| s.ready);
        let distinct = ready.clone().filter(|s| s.same.is_none()).count() as f64 / ready.count().max(1) as f64;
        let each = compiling / *compiled as f64 + (checking / *checked as f64 + measuring) * distinct;
        let possible = self.space.trials.iter().filter(|t| t.is_possible()).count();
        Some(set_up + each * possible as f64)
    }
}
