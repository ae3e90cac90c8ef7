//! A CUDA device, tested: the conformance table, the language cases, and what only the runtime's CUDA layer does (`memory`, `streams`, `graphs`), and what
//! goes wrong (`scenarios`, each in a process of its own, since a fault ends a process's use of the GPU).
//!
//! With a GPU everything runs on it. Without one, the program starts itself again with the stand-in driver (`tests/driver-stand-in`) in front of the dynamic loader,
//! and runs all of its own tests and a sample of the tables. `--list` shows what there is; `KILN_GPU_FULL=1` takes the whole tables on the stand-in too.

#[path = "../conformance/table.rs"]
mod conformance;
mod graphs;
// Of what other test programs share with this one, some is theirs alone.
#[allow(dead_code)]
#[path = "../language-cases/table.rs"]
mod language_cases;
mod memory;
mod reductions;
#[allow(dead_code)]
#[path = "../conformance/run.rs"]
mod run;
#[allow(dead_code)]
#[path = "../conformance/emulated.rs"]
mod sample;
mod scenarios;
mod streams;
mod support;

use std::collections::BTreeSet;
use std::process::{Command, ExitCode};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use kiln::Device;
use kiln_tests::case::{Case, Settings};
use kiln_tests::stand_in;
use libtest_mimic::{Arguments, Failed, Trial};

/// Set where this program runs on the stand-in.
const STAND_IN: &str = "KILN_GPU_STAND_IN";

fn main() -> ExitCode {
    if let Some(code) = scenarios::asked_for() {
        return code;
    }
    let on_stand_in = std::env::var_os(STAND_IN).is_some();
    match Device::cuda(0) {
        Ok(device) => run_all(&device, on_stand_in),
        Err(why) if on_stand_in => {
            eprintln!("the stand-in cannot be used: {why}");
            ExitCode::FAILURE
        }
        Err(why) => start_again(&why.to_string()),
    }
}

/// Runs this program with the stand-in as driver.
fn start_again(why: &str) -> ExitCode {
    let mut command = Command::new(std::env::current_exe().expect("a program has a path"));
    command.args(std::env::args_os().skip(1)).env(STAND_IN, "1");
    if !stand_in::give_to(&mut command, "", false) {
        eprintln!("{why}; and there is no stand-in driver: nothing is tested");
        return ExitCode::FAILURE;
    }
    let status = command.status().expect("this program starts");
    ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
}

fn run_all(device: &Device, on_stand_in: bool) -> ExitCode {
    let full = !on_stand_in || std::env::var_os("KILN_GPU_FULL").is_some();
    let mut trials = vec![];
    for group in [memory::tests(), reductions::tests(), streams::tests(), graphs::tests()] {
        for (name, test) in group {
            trials.push(Trial::test(format!("runtime::{name}"), move || {
                test();
                Ok(())
            }));
        }
    }
    trials.extend(scenarios::trials(on_stand_in));
    trials.extend(table_trials(device, full));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// The tables' trials: all of them, or one of each kind.
fn table_trials(device: &Device, full: bool) -> Vec<Trial> {
    let mut trials = vec![];
    let table: Vec<Arc<Case>> = conformance::table().into_iter().map(Arc::new).collect();
    let chosen: BTreeSet<usize> = if full { (0..table.len()).collect() } else { one_of_each(&table) };
    for case in chosen.into_iter().map(|i| &table[i]) {
        let (case, device, name) = (case.clone(), device.clone(), format!("conformance::{}", case.name));
        trials.push(Trial::test(name.clone(), move || check(&name, &case, "k", &Settings::default(), &device)));
    }
    let files: Vec<_> = language_cases::files().into_iter().map(Arc::new).collect();
    let rows: Vec<_> = language_cases::table().into_iter().map(Arc::new).collect();
    for file in &files {
        let carried: Vec<_> = rows.iter().filter(|row| language_cases::carries(file, row)).collect();
        for (i, row) in carried.iter().enumerate() {
            // The second row of each kernel, which has tails, in the file that has it alone.
            let before = carried[..i].iter().filter(|r| r.kernel == row.kernel).count();
            if !full && (file.name.starts_with("section_") || before != 1) {
                continue;
            }
            let (file, row, device) = (file.clone(), Arc::clone(row), device.clone());
            let name = format!("language-cases::{}::{}::{}", file.name, row.kernel, row.size);
            trials.push(Trial::test(name.clone(), move || {
                let (case, kernel) = language_cases::case(&file, &row);
                check(&name, &case, kernel, &row.settings, &device)
            }));
        }
    }
    trials
}

/// One case of every builtin: what kernels compute is tested on the emulator, here it is the way there.
fn one_of_each(table: &[Arc<Case>]) -> BTreeSet<usize> {
    let builtin = |name: &str| name.split("::").take(2).collect::<Vec<_>>().join("::");
    let mut seen = BTreeSet::new();
    sample::sample(table).into_iter().filter(|(name, _)| seen.insert(builtin(name))).map(|(_, case)| case).collect()
}

/// Whether the tables' time is up, of which `KILN_GPU_SECONDS` gives so much: a report of what ran is worth more than none.
fn time_is_up() -> bool {
    static BEGUN: LazyLock<(Instant, Option<f64>)> = LazyLock::new(|| {
        let seconds = std::env::var("KILN_GPU_SECONDS").ok();
        (Instant::now(), seconds.and_then(|text| text.parse().ok()))
    });
    BEGUN.1.is_some_and(|seconds| BEGUN.0.elapsed().as_secs_f64() > seconds)
}

/// Runs a case. Where an earlier one took the GPU away from this process, in a process of its own.
fn check(trial: &str, case: &Case, kernel: &str, settings: &Settings, device: &Device) -> Result<(), Failed> {
    if time_is_up() {
        return Err("not run: the time is up (KILN_GPU_SECONDS)".into());
    }
    match run::check_kernel_on(case, kernel, settings, std::slice::from_ref(device)) {
        Err(why) if why.contains("K1023") => support::alone(trial),
        Err(why) => Err(format!("{why}\n--- source\n{}", case.source).into()),
        Ok(()) => Ok(()),
    }
}
