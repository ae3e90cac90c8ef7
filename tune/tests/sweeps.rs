//! Sweeps with a clock that is made up: what they look at, what they leave out, what they keep, and what they find. Everything else is real: spaces, compilation, runs, comparison,
//! the store.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kiln::tuned::{self, Outcome, Reason, TuneStore};
use kiln::{Device, Error, Kernel, OwnedArg, Program, ProgramOptions, Tensor};
use kiln_tune::objective::{Objective, launch};
use kiln_tune::search::Strategy;
use kiln_tune::sweep::{self, Event, Problem, Settings, Shard, Sweep};

/// The time of a configuration, in seconds.
type Formula = Box<dyn Fn(&BTreeMap<String, i64>) -> f64 + Send>;

/// A clock that gives a configuration the time that a formula says, with noise, and counts what it is asked.
struct MadeUp {
    device: Device,
    time: Formula,
    /// Runs by configuration.
    runs: BTreeMap<String, usize>,
    random: u64,
}

impl MadeUp {
    fn new(device: &Device, time: impl Fn(&BTreeMap<String, i64>) -> f64 + Send + 'static) -> MadeUp {
        MadeUp { device: device.clone(), time: Box::new(time), runs: BTreeMap::new(), random: 1 }
    }
}

impl Objective for MadeUp {
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
        let launched = launch(kernel, &self.device, args).run()?;
        let names = kernel.signature().const_params.iter().map(|c| c.name.clone());
        let values: BTreeMap<String, i64> = names.zip(launched.consts().iter().copied()).collect();
        *self.runs.entry(format!("{values:?}")).or_default() += 1;
        self.random = self.random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let noise = (self.random >> 40) as f64 / (1u64 << 24) as f64;
        // Half a percent, now and then a disturbance.
        let disturbed = if noise > 0.97 { 5.0 } else { 1.0 };
        Ok((self.time)(&values) * disturbed * (1.0 + 0.005 * noise))
    }
}

fn program(source: &str) -> Program {
    Program::from_source_with("k.kiln", source, ProgramOptions::without_cache()).unwrap()
}

fn numbers(n: i64) -> Vec<OwnedArg> {
    let tensor = |f: fn(usize) -> f32| OwnedArg::Tensor(Tensor::from_fn(&[n], f).unwrap().into());
    vec![tensor(|i| i as f32), tensor(|_| 0.0)]
}

fn sweep(kernel: &Kernel, objective: &mut MadeUp, settings: &Settings, store: Option<&TuneStore>, args: Vec<OwnedArg>) -> Sweep {
    let device = objective.device.clone();
    let stop = AtomicBool::new(false);
    sweep::run(Problem { kernel, device: &device, args }, objective, settings, store, &stop, &mut |_| {}).unwrap()
}

fn settings(strategy: Strategy) -> Settings {
    Settings { strategy, ..Settings::default() }
}

/// A kernel that is cheap to compile, with 6 x 6 x 6 = 216 configurations that all give the same result, each in code of its own.
const WIDE: &str = "#[tune(A = [1, 2, 4, 8, 16, 32], B = [1, 2, 4, 8, 16, 32], C = [1, 2, 4, 8, 16, 32], key = [N])]
kernel k<const A: int = 1, const B: int = 1, const C: int = 1>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [N] {
    let n = program_id(0);
    assert(N != 1000000 * A + 1000 * B + C);
    y[n] = x[n] + 1.0;
}";

/// A valley with a bend, 40 times deep, whose floor is at A = 16, B = 4, C = 8.
fn valley(c: &BTreeMap<String, i64>) -> f64 {
    let log = |name: &str| (c[name] as f64).log2();
    let (a, b, c) = (log("A") - 4.0, log("B") - 2.0, log("C") - 3.0);
    1e-3 * (1.0 + 0.3 * a * a + 0.5 * (b + 0.4 * a).powi(2) + 0.2 * c * c + 0.1 * (a * c).abs())
}

#[test]
fn every_strategy_finds_the_floor() {
    let device = Device::cpu().unwrap();
    let program = program(WIDE);
    let kernel = program.kernel("k").unwrap();
    let mut runs = vec![];
    for strategy in [Strategy::Exhaustive, Strategy::Halving, Strategy::Guided] {
        let mut objective = MadeUp::new(&device, valley);
        let found = sweep(&kernel, &mut objective, &settings(strategy), None, numbers(8));
        let (winner, timing) = found.winner().unwrap();
        let truth = 1e-3;
        assert!(valley(&winner.config.0) <= 1.03 * truth, "{}: {}", strategy.name(), winner.config);
        assert!(timing.low <= 1.03 * truth && timing.dropped * 5 < timing.samples.max(5));
        assert_eq!(found.trials.len(), 216);
        assert!(found.complete);
        runs.push((found.looked, objective.runs.values().sum::<usize>()));
    }
    let [(all, exhaustive), (halved, halving), (some, guided)] = runs[..] else { panic!() };
    assert_eq!((all, halved), (216, 216));
    assert!(halving < exhaustive, "{halving} runs of {exhaustive}");
    assert!(some * 10 <= all * 4 + 9 && guided * 4 <= exhaustive, "{some} configurations and {guided} runs of {exhaustive}");
}

/// Configurations that come to the same code are compiled and measured once: on a CPU those that differ in nothing but the mapping to a GPU, and those whose constants change nothing.
#[test]
fn the_same_code_is_measured_once() {
    let source = "#[tune(B = [1, 2, 4], C = [1, 2], warps = [2, 4, 8], stages = [1, 2])]
    kernel k<const B: int = 1, const C: int = 1>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, B)] {
        let n = program_id(0) * B;
        y[n..+B] = x[n..+B] + 1.0;
    }";
    let device = Device::cpu().unwrap();
    let program = program(source);
    let kernel = program.kernel("k").unwrap();
    for strategy in [Strategy::Exhaustive, Strategy::Guided] {
        let mut objective = MadeUp::new(&device, |c| 1e-3 / c["B"] as f64);
        let settings = Settings { share: 1.0, ..settings(strategy) };
        let found = sweep(&kernel, &mut objective, &settings, None, numbers(16));
        // The defaults are the first of those with B = 1 and C = 1.
        assert_eq!(found.trials.len(), 37);
        let own: Vec<_> = found.trials.iter().filter(|t| t.same.is_none()).collect();
        assert_eq!(own.len(), 3, "{own:?}");
        for trial in &found.trials {
            let measured = trial.same.as_ref().unwrap_or(&trial.config);
            assert_eq!(measured.0["B"], trial.config.0["B"]);
            let of_measured = found.trials.iter().find(|t| t.config == *measured).unwrap();
            assert_eq!(of_measured.outcome, trial.outcome);
        }
        assert_eq!(found.winner().unwrap().0.config.0["B"], 4);
        assert!(found.winner().unwrap().0.same.is_none());
    }
}

/// What cannot win, each in its own way. B = 3 does not divide, 5 fails its assertion, 7 gives another result, 2 is refused by the condition, 11 does not compile.
const PITFALLS: &str = "#[tune(B = [1, 2, 3, 4, 5, 7, 11], if B != 2, key = [N])]
kernel k<const B: int = 1>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [N] requires B != 3 {
    let n = program_id(0);
    assert(B != 5 || n < 3, \"five\");
    static_assert(B != 11, \"eleven\");
    assert(N != 1000 + B);
    y[n] = if B == 7 { x[n] } else { x[n] + 1.0 };
}";

#[test]
fn what_is_wrong_is_out_with_its_reason() {
    let device = Device::cpu().unwrap();
    let program = program(PITFALLS);
    let kernel = program.kernel("k").unwrap();
    // The wrong ones would be the fastest by far.
    let mut objective = MadeUp::new(&device, |c| if matches!(c["B"], 1 | 4) { 1e-3 / c["B"] as f64 } else { 1e-6 });
    let store = tempfile::tempdir().unwrap();
    let store = TuneStore::open(store.path());
    let found = sweep(&kernel, &mut objective, &settings(Strategy::Exhaustive), Some(&store), numbers(8));
    assert_eq!(found.winner().unwrap().0.config.0["B"], 4);
    let reason = |b: i64| {
        let trial = found.trials.iter().find(|t| t.config.0["B"] == b).unwrap();
        match trial.outcome.clone().unwrap() {
            Outcome::Rejected { reason, message } => (reason, message),
            Outcome::Time(_) => panic!("{b} is not out"),
        }
    };
    for (b, expected, says) in [
        (2, Reason::Condition, "`if B != 2` does not hold"),
        (3, Reason::Condition, "`requires B != 3` does not hold"),
        (5, Reason::Fault, "five"),
        (7, Reason::Differs, "`y` differs from the result of the kernel's defaults in 8 of 8 elements"),
        (11, Reason::Compile, "eleven"),
    ] {
        let (reason, message) = reason(b);
        assert!(reason == expected && message.contains(says), "{b}: {reason:?}: {message}");
    }
    assert_eq!(found.reference, "the kernel's defaults");
    // None of them is a launch's choice either.
    let best = tuned::best(&store.load("k").unwrap().records).unwrap().0.config.clone();
    assert_eq!(best.0["B"], 4);
}

/// A buffer that the kernel updates is put back before every run: else results would differ, and grow.
#[test]
fn updated_buffers_are_put_back() {
    let source = "#[tune(B = [1, 2, 4])]
    kernel k<const B: int = 1>(x: mut tensor<f32, [N]>) grid [cdiv(N, B)] {
        let n = program_id(0) * B;
        x[n..+B] = x[n..+B] * 2.0 + 1.0;
    }";
    let device = Device::cpu().unwrap();
    let program = program(source);
    let kernel = program.kernel("k").unwrap();
    let mut objective = MadeUp::new(&device, |c| 1e-3 / c["B"] as f64);
    let args = vec![OwnedArg::Tensor(Tensor::from_fn(&[16], |i| i as f32).unwrap().into())];
    let found = sweep(&kernel, &mut objective, &settings(Strategy::Halving), None, args);
    assert!(found.trials.iter().all(|t| matches!(t.outcome, Some(Outcome::Time(_)))), "{:?}", found.trials);
}

#[test]
fn an_interrupted_sweep_goes_on_where_it_was() {
    let device = Device::cpu().unwrap();
    let program = program(WIDE);
    let kernel = program.kernel("k").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = TuneStore::open(dir.path());
    let settings = settings(Strategy::Exhaustive);
    let mut first = MadeUp::new(&device, valley);
    let stop = Arc::new(AtomicBool::new(false));
    let looked = AtomicUsize::new(0);
    let mut watch = |event: Event<'_>| {
        if matches!(event, Event::Looked { first: true, .. }) && looked.fetch_add(1, Ordering::Relaxed) == 49 {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let problem = Problem { kernel: &kernel, device: &device, args: numbers(8) };
    let found = sweep::run(problem, &mut first, &settings, Some(&store), &stop, &mut watch).unwrap();
    assert!(!found.complete && found.looked == 50);
    let known: Vec<_> = store.load("k").unwrap().records.into_iter().map(|r| r.config).collect();
    assert_eq!(known.len(), 50);
    // The sweep was killed while it wrote.
    let file = store.file("k");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend_from_slice(b"{\"device\":\"cpu\",\"ker");
    std::fs::write(&file, bytes).unwrap();

    let mut second = MadeUp::new(&device, valley);
    let found = sweep(&kernel, &mut second, &settings, Some(&store), numbers(8));
    assert!(found.complete && found.looked == 166);
    for config in &known {
        let values = format!("{:?}", config.0);
        // The defaults are run once more, to compare with.
        assert!(!second.runs.contains_key(&values) || values == r#"{"A": 1, "B": 1, "C": 1}"#, "{config} was measured twice");
    }
    assert!(valley(&found.winner().unwrap().0.config.0) <= 1.03e-3);
    let loaded = store.load("k").unwrap();
    assert_eq!((loaded.records.len(), loaded.skipped), (216, 1));

    // A list that grows: only what is new is measured.
    let more = WIDE.replace("C = [1, 2, 4, 8, 16, 32]", "C = [1, 2, 4, 8, 16, 32, 3]");
    let program = self::program(&more);
    let mut third = MadeUp::new(&device, valley);
    let found = sweep(&program.kernel("k").unwrap(), &mut third, &settings, Some(&store), numbers(8));
    assert_eq!((found.trials.len(), found.looked), (252, 36));
}

#[test]
fn shards_put_together_are_the_whole() {
    let device = Device::cpu().unwrap();
    let program = program(WIDE);
    let kernel = program.kernel("k").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut all = tuned::Loaded::default();
    for part in 1..=3 {
        let store = TuneStore::open(&dir.path().join(part.to_string()));
        let settings = Settings { shard: Some(Shard::parse(&format!("{part}/3")).unwrap()), ..settings(Strategy::Exhaustive) };
        let mut objective = MadeUp::new(&device, valley);
        sweep(&kernel, &mut objective, &settings, Some(&store), numbers(8));
        all = all.merge(store.load_all().unwrap());
    }
    assert_eq!(all.records.len(), 216);
    assert!(valley(&tuned::best(&all.records).unwrap().0.config.0) <= 1.03e-3);
    // Order does not matter, nor does doing it twice.
    let mut backwards = all.records.clone();
    backwards.reverse();
    let again = tuned::Loaded { records: backwards, skipped: 0 }.merge(all.clone());
    assert_eq!(again.text(), all.text());
    assert_eq!(tuned::Loaded::parse(&all.text()).records, all.records);
}
