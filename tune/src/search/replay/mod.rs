//! Strategies tried on recordings: a rig whose times are those that a machine once had, noise included, and whose clock goes by what things took there. Thousands of sweeps
//! take seconds, and tell how often a strategy ends well, which no sweep on a machine can.

mod record;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use kiln::tuned::{Key, Objective, Subject};
use record::Recording;

use super::Strategy;
use crate::model::{Machine, from_work};
use crate::sweep::{Compiled, Lab, Refusal, Rig, Settings, Space, Trial};

/// Rounds of a recording that are about the same time: samples are drawn from these.
const ABOUT: usize = 5;

/// A machine as it was recorded.
struct Replay<'a> {
    recording: &'a Recording,
    /// The power that ratios to a configuration's median are raised to: 1 as recorded, less on a calmer machine.
    noise: f64,
    clock: f64,
    /// The round of the recording that it is.
    round: usize,
    taken: usize,
    due: Vec<usize>,
    random: u64,
}

impl Replay<'_> {
    fn below(&mut self, n: usize) -> usize {
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.random >> 33) as usize % n
    }
}

impl Rig for Replay<'_> {
    fn now(&self) -> f64 {
        self.clock
    }

    fn is_exact(&self) -> bool {
        false
    }

    fn compile(&mut self, which: Vec<usize>) {
        self.due.extend(which);
    }

    fn compiled(&mut self) -> Vec<Compiled> {
        let due = std::mem::take(&mut self.due);
        let all: f64 = due.iter().map(|&i| self.recording.trials[i].compile).sum();
        let most = due.iter().map(|&i| self.recording.trials[i].compile).fold(0.0, f64::max);
        self.clock += (all / self.recording.threads as f64).max(most);
        due.into_iter().map(|i| (i, Ok(None))).collect()
    }

    fn check(&mut self, i: usize) -> Result<(), Refusal> {
        self.sample(i)?;
        self.clock += self.recording.check;
        Ok(())
    }

    fn sample(&mut self, i: usize) -> Result<f64, Refusal> {
        // As many samples as there are configurations were one round.
        self.taken += 1;
        self.round += usize::from(self.taken.is_multiple_of(self.recording.trials.len()));
        let trial = &self.recording.trials[i];
        let at = (self.round + self.below(ABOUT)) % trial.samples.len();
        let middle = truth(self.recording, i);
        let seconds = middle * (f64::from(trial.samples[at]) * 1e-7 / middle).powf(self.noise);
        self.clock += seconds + trial.around;
        Ok(seconds)
    }

    fn release(&mut self, _: usize) {}
}

/// What a configuration takes: the median of all that was recorded.
fn truth(recording: &Recording, i: usize) -> f64 {
    let mut samples = recording.trials[i].samples.clone();
    samples.sort_unstable();
    f64::from(samples[samples.len() / 2]) * 1e-7
}

/// How a sweep ended.
struct End {
    /// How much slower what it found is than the best there is.
    excess: f64,
    /// And the best of what it looked at.
    seen: f64,
    seconds: f64,
    looked: usize,
}

fn replay(recording: &Recording, strategy: Strategy, noise: f64, seed: u64) -> End {
    let machine = Machine::cpu(recording.threads as i64);
    let trial = |recorded: &record::Recorded| Trial {
        config: recorded.config.clone(),
        work: None,
        predicted: Some(from_work(&machine, &recorded.work(), recording.footprint)),
        outcome: None,
        same: None,
        resumed: false,
    };
    let space = Space {
        subject: Subject {
            device: recording.device.clone(),
            kernel: recording.kernel.clone(),
            content: String::new(),
            types: BTreeMap::new(),
            with: BTreeMap::new(),
        },
        key: Key::default(),
        dims: BTreeMap::new(),
        trials: recording.trials.iter().map(trial).collect(),
        defaults: Some(recording.defaults),
        objective: Objective::Measured,
    };
    let (random, due) = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678, vec![]);
    let mut rig = Replay { recording, noise, clock: recording.set_up, round: 0, taken: 0, due, random };
    rig.round = rig.below(recording.trials[0].samples.len());
    let settings = Settings { strategy, seconds: 0.5, ..Settings::default() };
    let (stop, mut watch) = (AtomicBool::new(false), |_: crate::sweep::Event<'_>| {});
    let mut lab = Lab::new(&mut rig, space, &settings, None, &stop, &mut watch);
    super::run(strategy, &mut lab).unwrap();
    let sweep = lab.finish(true).sweep(&settings, String::new(), 0.0);
    let winner = sweep.winner().unwrap().0.config.clone();
    let found = recording.trials.iter().position(|t| t.config == winner).unwrap();
    let least = |of: &dyn Fn(&Trial) -> bool| {
        let some = sweep.trials.iter().enumerate().filter(|(_, t)| of(t));
        some.map(|(i, _)| truth(recording, i)).fold(f64::INFINITY, f64::min)
    };
    let (best, seen) = (least(&|_| true), least(&|t| t.outcome.is_some()));
    End {
        excess: truth(recording, found) / best - 1.0,
        seen: seen / best - 1.0,
        seconds: sweep.elapsed.as_secs_f64(),
        looked: sweep.looked,
    }
}

/// Plays guided sweeps and gives back the share of them that end within 3 % of the best in a quarter of an exhaustive sweep's time.
fn share_of_good_ends(kernel: &str, noise: f64, times: u64) -> f64 {
    let recording: Recording = serde_json::from_str(&std::fs::read_to_string(record::file(kernel)).unwrap()).unwrap();
    let all: Vec<End> = (0..6).map(|seed| replay(&recording, Strategy::Exhaustive, noise, seed)).collect();
    let exhaustive = all.iter().map(|end| end.seconds).sum::<f64>() / all.len() as f64;
    let ends: Vec<End> = (0..times).map(|seed| replay(&recording, Strategy::Guided, noise, seed)).collect();
    let share = |is: &dyn Fn(&End) -> bool| ends.iter().filter(|end| is(end)).count() as f64 / ends.len() as f64;
    let most = |of: &dyn Fn(&End) -> f64| ends.iter().map(of).fold(0.0, f64::max);
    let mean = |of: &dyn Fn(&End) -> f64| ends.iter().map(of).sum::<f64>() / ends.len() as f64;
    let good = share(&|end| end.excess <= 0.03 && end.seconds <= 0.25 * exhaustive);
    println!(
        "{kernel}, noise {noise}: exhaustive {exhaustive:.2} s, at most {:.1} % off; {times} guided sweeps of {:.0} of {} configurations: {:.2} % good, {:.2} % within 3 % ({:.2} % had seen \
         such), at most {:.1} % off; {:.1} % of the time, at most {:.1} %",
        all.iter().map(|end| end.excess * 100.0).fold(0.0, f64::max),
        mean(&|end| end.looked as f64),
        recording.trials.len(),
        good * 100.0,
        share(&|end| end.excess <= 0.03) * 100.0,
        share(&|end| end.seen <= 0.03) * 100.0,
        most(&|end| end.excess * 100.0),
        mean(&|end| end.seconds / exhaustive * 100.0),
        most(&|end| end.seconds / exhaustive * 100.0),
    );
    good
}

#[test]
fn guided_sweeps_end_well() {
    for kernel in ["matmul", "softmax"] {
        let good = share_of_good_ends(kernel, 0.5, 200);
        assert!(good >= 0.99, "{kernel}: {:.1} % of sweeps", good * 100.0);
    }
}

#[test]
#[ignore = "minutes: thousands of sweeps of every recording, with all noises"]
fn thousands_of_guided_sweeps() {
    let times = std::env::var("KILN_REPLAYS").map_or(5000, |n| n.parse().unwrap());
    for kernel in ["matmul", "softmax"] {
        for noise in [0.2, 0.5, 1.0] {
            share_of_good_ends(kernel, noise, times);
        }
    }
}
