//! Recording what a device does with every configuration of a kernel, for strategies to be tried on afterwards, thousands of times.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use kiln::compiler::Work;
use kiln::{Config, Device, OwnedArg, Program, ProgramOptions, ScalarType, Tensor};
use serde::{Deserialize, Serialize};

use crate::compare::{Tolerance, compare};
use crate::objective::{launch, of_device};
use crate::sweep::Bed;

/// A kernel on a machine.
#[derive(Serialize, Deserialize)]
pub struct Recording {
    /// The kernel.
    pub kernel: String,
    /// The device.
    pub device: String,
    /// Rounds, and how many of them are kept: those in which all configurations together took least.
    pub rounds: [usize; 2],
    /// Bytes of the tensors.
    pub footprint: f64,
    /// Threads that compile.
    pub threads: usize,
    /// Seconds before anything is compiled: the space is listed, what launches do is counted.
    pub set_up: f64,
    /// Seconds that comparing a result with the reference takes.
    pub check: f64,
    /// Number of the kernel's own defaults.
    pub defaults: usize,
    /// Every configuration that can be launched.
    pub trials: Vec<Recorded>,
}

/// A configuration.
#[derive(Serialize, Deserialize)]
pub struct Recorded {
    /// The values.
    pub config: Config,
    /// What a launch does, by its IR: the fields of `Work` in their order.
    pub work: [f64; 7],
    /// Seconds of a processor that it took to compile.
    pub compile: f64,
    /// Seconds around a sample: caches made cold, tensors put back.
    pub around: f64,
    /// Its times in units of 100 nanoseconds, one a round. A round runs every configuration once.
    pub samples: Vec<u32>,
}

/// Where a recording lies.
pub fn file(kernel: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(format!("{kernel}.json"))
}

fn tensor(dims: &[i64; 2]) -> OwnedArg {
    OwnedArg::Tensor(Tensor::<f32>::from_fn(dims, |i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).unwrap().into())
}

/// Seconds of a processor that this thread has had (Linux).
fn on_cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1e-9
}

impl Recorded {
    /// What a launch does, by its IR.
    pub fn work(&self) -> Work {
        let [dot_flops, lane_flops, loaded, stored, steps, rows, programs] = self.work;
        Work { dot_flops, lane_flops, loaded, stored, steps, rows, programs }
    }
}

fn record(name: &str, shapes: &[[i64; 2]], rounds: usize, kept: usize) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dsl-examples/tuning/tuning.kiln");
    let program = Program::open_with(source, ProgramOptions::without_cache()).unwrap();
    let (kernel, device) = (program.kernel(name).unwrap(), Device::cpu().unwrap());
    let mut args: Vec<OwnedArg> = shapes.iter().map(tensor).collect();
    let start = on_cpu();
    let tuning = launch(&kernel, &device, &mut args).tuning().unwrap();
    let mut objective = of_device(&device, true).unwrap();
    let mut set_up = on_cpu() - start;
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let mut bed = Bed::new(&kernel, args.clone()).unwrap();
    let mut trials = vec![];
    let mut kernels = vec![];
    for candidate in tuning.candidates.into_iter().filter(|c| c.bound.is_ok()) {
        let configured = kernel.configured(&candidate.config);
        let start = on_cpu();
        let work = launch(&configured, &device, &mut args).work().unwrap();
        let counted = on_cpu();
        launch(&configured, &device, &mut args).prepare().unwrap();
        let compile = on_cpu() - counted;
        set_up += (counted - start) / threads as f64;
        let Work { dot_flops, lane_flops, loaded, stored, steps, rows, programs } = work;
        let work = [dot_flops, lane_flops, loaded, stored, steps, rows, programs];
        trials.push(Recorded { config: candidate.config, work, compile, around: 0.0, samples: vec![] });
        kernels.push(configured);
    }
    // What comparing two results takes that differ by rounding.
    let outputs = [0, kernels.len() - 1].map(|i| {
        bed.run(&mut *objective, &kernels[i]).unwrap();
        bed.outputs().unwrap().into_iter().flatten().next().unwrap()
    });
    let start = on_cpu();
    compare(&outputs[0], &outputs[1], Tolerance::between_schedules(ScalarType::F32)).unwrap();
    let check = on_cpu() - start;
    let mut around = vec![vec![]; trials.len()];
    let mut state = 1u64;
    for _ in 0..rounds {
        // In an order of its own: no configuration always follows the same one.
        let mut order: Vec<usize> = (0..trials.len()).collect();
        for i in (1..order.len()).rev() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            order.swap(i, (state >> 33) as usize % (i + 1));
        }
        for i in order {
            let start = Instant::now();
            let seconds = bed.run(&mut *objective, &kernels[i]).unwrap();
            around[i].push(start.elapsed().as_secs_f64() - seconds);
            trials[i].samples.push((seconds * 1e7).round() as u32);
        }
    }
    let mut calm: Vec<usize> = (0..rounds).collect();
    calm.sort_by_key(|&r| trials.iter().map(|t| u64::from(t.samples[r])).sum::<u64>());
    calm.truncate(kept);
    calm.sort_unstable();
    for (trial, mut around) in trials.iter_mut().zip(around) {
        trial.samples = calm.iter().map(|&r| trial.samples[r]).collect();
        around.sort_by(f64::total_cmp);
        trial.around = around[around.len() / 2];
    }
    let recording = Recording {
        kernel: name.to_owned(),
        device: device.tuning_name(),
        rounds: [rounds, kept],
        footprint: bed.footprint(),
        threads,
        set_up,
        check,
        defaults: tuning.defaults.and_then(|d| trials.iter().position(|t| t.config == d)).unwrap(),
        trials,
    };
    write(&recording);
}

/// A line a configuration, so that differences can be read.
fn write(recording: &Recording) {
    let head: BTreeMap<String, serde_json::Value> = serde_json::from_value(serde_json::to_value(recording).unwrap()).unwrap();
    let mut text = String::from("{\n");
    for (name, value) in head.iter().filter(|(name, _)| *name != "trials") {
        text.push_str(&format!("\"{name}\": {value},\n"));
    }
    let lines: Vec<String> = recording.trials.iter().map(|t| serde_json::to_string(t).unwrap()).collect();
    text.push_str(&format!("\"trials\": [\n{}\n]\n}}\n", lines.join(",\n")));
    std::fs::write(file(&recording.kernel), text).unwrap();
}

#[test]
#[ignore = "minutes of timing: writes tests/data/matmul.json anew"]
fn record_matmul() {
    record("matmul", &[[512, 512], [512, 512], [512, 512]], 120, 40);
}

#[test]
#[ignore = "a minute of timing: writes tests/data/softmax.json anew"]
fn record_softmax() {
    record("softmax", &[[512, 4096], [512, 4096]], 200, 60);
}
