//! The conformance table (`table`) on the CPU or the device that `KILN_DEVICE` names, and a part of it on the emulator.

mod emulated;
mod run;
#[path = "table.rs"]
mod table;

use std::sync::Arc;

use kiln::Device;
use kiln_tests::case::{Case, Settings};
use libtest_mimic::{Arguments, Failed, Trial};

/// Compiles and runs the case, whose kernel is called `k`.
fn check(case: &Case) -> Result<(), Failed> {
    run::check_kernel(case, "k", &Settings::default()).map_err(|e| format!("{e}\n--- source\n{}", case.source).into())
}

fn check_on(case: &Case, devices: &[Device]) -> Result<(), Failed> {
    run::check_kernel_on(case, "k", &Settings::default(), devices).map_err(|e| format!("{e}\n--- source\n{}", case.source).into())
}

fn main() {
    let arguments = Arguments::from_args();
    let table: Vec<Arc<Case>> = table::table().into_iter().map(Arc::new).collect();
    let mut trials = Vec::new();
    let mut add = |name: String, case: &Arc<Case>, check: fn(&Case) -> Result<(), Failed>| {
        let case = case.clone();
        let trial = Trial::test(name, move || check(&case));
        trials.push(trial);
    };
    for case in &table {
        add(case.name.clone(), case, check);
    }
    // A run for one device is of that device alone.
    if std::env::var_os("KILN_DEVICE").is_none() {
        for i in emulated::sample(&table).into_values() {
            let case = &table[i];
            add(format!("emulator::{}", case.name), case, |case| check_on(case, &emulated::usual_devices(case)));
        }
        for case in &table {
            add(format!("emulator-full::{}", case.name), case, |case| check_on(case, &emulated::full_devices(case)));
        }
    }
    let ignored = |t: Trial| {
        let full = t.name().starts_with("emulator-full::");
        t.with_ignored_flag(full)
    };
    libtest_mimic::run(&arguments, trials.into_iter().map(ignored).collect()).exit();
}
