//! Sweeps with the real clock: a guided sweep ends where an exhaustive one does, or within 3 % of it, in a quarter of its time. Minutes of timing, which other programs disturb:
//! `cargo test -p kiln-tune --test cpu -- --ignored --nocapture --test-threads 1` on a quiet machine.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use kiln::{Device, OwnedArg, Program, ProgramOptions, Tensor};
use kiln_tune::objective;
use kiln_tune::search::Strategy;
use kiln_tune::sweep::{self, Problem, Settings, Sweep};

fn sweep(kernel: &str, shapes: &[[i64; 2]], strategy: Strategy) -> Sweep {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dsl-examples/tuning/tuning.kiln");
    // Each sweep compiles for itself: that is part of its time.
    let program = Program::open_with(file, ProgramOptions::without_cache()).unwrap();
    let (kernel, device) = (program.kernel(kernel).unwrap(), Device::cpu().unwrap());
    let tensor = |dims: &[i64; 2]| {
        let made = Tensor::<f32>::from_fn(dims, |i| (i * 7919 % 1009) as f32 / 1009.0 - 0.5).unwrap();
        OwnedArg::Tensor(made.into())
    };
    let problem = Problem { kernel: &kernel, device: &device, args: shapes.iter().map(tensor).collect() };
    let settings = Settings { strategy, seconds: 0.5, ..Settings::default() };
    let mut objective = objective::of_device(&device, true).unwrap();
    sweep::run(problem, &mut *objective, &settings, None, &AtomicBool::new(false), &mut |_| {}).unwrap()
}

/// Gives back the number of configurations that run.
fn compare(kernel: &str, shapes: &[[i64; 2]]) -> usize {
    let all = sweep(kernel, shapes, Strategy::Exhaustive);
    let some = sweep(kernel, shapes, Strategy::Guided);
    let (best, time) = all.winner().unwrap();
    let (found, _) = some.winner().unwrap();
    let measured =
        all.trials.iter().find(|t| t.config == found.config).unwrap().outcome.as_ref().unwrap().timing().copied().unwrap();
    let (excess, share) = (measured.median / time.median - 1.0, some.elapsed.as_secs_f64() / all.elapsed.as_secs_f64());
    println!(
        "{kernel}: exhaustive {} in {:.1} s ({} looked at) finds {} at {:.1} us; guided in {:.1} s ({} looked at, rank correlation {:.2}) finds {}, {:+.1} %, {:.0} % of the time",
        all.trials.len(),
        all.elapsed.as_secs_f64(),
        all.looked,
        best.config,
        time.median * 1e6,
        some.elapsed.as_secs_f64(),
        some.looked,
        all.rank_correlation.unwrap_or(f64::NAN),
        found.config,
        excess * 100.0,
        share * 100.0,
    );
    assert!(excess <= 0.03, "{} is {:.1} % slower than {}", found.config, excess * 100.0, best.config);
    assert!(share <= 0.25, "{:.0} % of the time", share * 100.0);
    all.trials.iter().filter(|t| t.outcome.as_ref().is_some_and(|o| o.timing().is_some())).count()
}

#[test]
#[ignore = "a minute of timing on a quiet machine"]
fn matmul() {
    assert!(compare("matmul", &[[512, 512], [512, 512], [512, 512]]) >= 200);
}

#[test]
#[ignore = "a minute of timing on a quiet machine"]
fn softmax() {
    compare("softmax", &[[512, 4096], [512, 4096]]);
}
