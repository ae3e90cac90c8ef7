//! Sweeps with the real clock: a guided sweep ends where an exhaustive one does, or within 3 % of it, in a quarter of its time. Minutes of timing, which other programs disturb:
//! `cargo test --workspace --test cpu -- --ignored --nocapture --test-threads 1` on a quiet machine.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use kiln::{Config, Device, OwnedArg, Program, ProgramOptions, Tensor};
use kiln_tune::objective;
use kiln_tune::sample;
use kiln_tune::search::Strategy;
use kiln_tune::sweep::{self, Problem, Settings, Sweep};

/// Each sweep opens the program anew and compiles for itself: that is part of its time.
fn program() -> Program {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dsl-examples/tuning/tuning.kiln");
    Program::open_with(file, ProgramOptions::without_cache()).unwrap()
}

fn tensor(dims: &[i64; 2]) -> OwnedArg {
    OwnedArg::Tensor(Tensor::<f32>::from_fn(dims, |i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).unwrap().into())
}

fn sweep(kernel: &str, shapes: &[[i64; 2]], strategy: Strategy) -> Sweep {
    let program = program();
    let (kernel, device) = (program.kernel(kernel).unwrap(), Device::cpu().unwrap());
    let problem = Problem { kernel: &kernel, device: &device, args: shapes.iter().map(tensor).collect() };
    let settings = Settings { strategy, seconds: 0.5, ..Settings::default() };
    let mut objective = objective::of_device(&device, true).unwrap();
    sweep::run(problem, &mut *objective, &settings, None, &AtomicBool::new(false), &mut |_| {}).unwrap()
}

/// How much slower one configuration is than another: both measured in turns, so that a machine that changes its speed does so for both.
fn excess(kernel: &str, shapes: &[[i64; 2]], [one, other]: [&Config; 2]) -> f64 {
    if one == other {
        return 0.0;
    }
    let (program, device) = (program(), Device::cpu().unwrap());
    let kernels = [one, other].map(|config| program.kernel(kernel).unwrap().configured(config));
    let mut args: Vec<OwnedArg> = shapes.iter().map(tensor).collect();
    let mut objective = objective::of_device(&device, true).unwrap();
    let mut samples = [vec![], vec![]];
    for _ in 0..200 {
        for (kernel, samples) in kernels.iter().zip(&mut samples) {
            samples.push(objective.sample(kernel, &mut args).unwrap());
        }
    }
    let [one, other] = samples.map(|s| sample::timing(&s).unwrap().median);
    one / other - 1.0
}

/// Gives back the number of configurations that run.
fn compare(kernel: &str, shapes: &[[i64; 2]]) -> usize {
    let all = sweep(kernel, shapes, Strategy::Exhaustive);
    let some = sweep(kernel, shapes, Strategy::Guided);
    let (best, time) = all.winner().unwrap();
    let (found, _) = some.winner().unwrap();
    let excess = excess(kernel, shapes, [&found.config, &best.config]);
    let (long, short) = (all.elapsed.as_secs_f64(), some.elapsed.as_secs_f64());
    let share = short / long;
    let count = all.trials.iter().filter(|t| t.outcome.as_ref().is_some_and(|o| o.timing().is_some())).count();
    println!(
        "{kernel}: exhaustive, {count} configurations in {long:.1} s, finds {} ({:.1} us); guided, {} in {short:.1} s, finds {}: {:+.1} % in turns, {:.0} % of the time; \
         the cost model's rank correlation is {:.2}",
        best.config,
        time.median * 1e6,
        some.looked,
        found.config,
        excess * 100.0,
        share * 100.0,
        all.rank_correlation.unwrap_or(f64::NAN),
    );
    let line = serde_json::json!({
        "kernel": kernel,
        "configurations": count,
        "exhaustive": {"seconds": long, "best": best.config, "median": time.median},
        "guided": {"seconds": short, "looked": some.looked, "found": found.config},
        "excess": excess,
        "share_of_time": share,
        "rank_correlation": all.rank_correlation,
    });
    println!("{line}");
    assert!(excess <= 0.03, "{} is {:.1} % slower than {}", found.config, excess * 100.0, best.config);
    assert!(share <= 0.25, "{:.0} % of the time", share * 100.0);
    count
}

#[test]
#[ignore = "a minute of timing: a quiet machine"]
fn matmul() {
    assert!(compare("matmul", &[[512, 512], [512, 512], [512, 512]]) >= 200);
}

#[test]
#[ignore = "a minute of timing: a quiet machine"]
fn softmax() {
    compare("softmax", &[[512, 4096], [512, 4096]]);
}
