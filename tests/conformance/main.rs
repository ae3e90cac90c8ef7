//! The conformance table: every builtin of the language, for every type it accepts, over shapes from one element to three dimensions that are no powers
//! of two, with tails, strides and broadcast dimensions. Expected values come from f64 and wide-integer references written here, with the bound stated at
//! each entry. One table serves every device.

mod atomics;
mod casts;
mod dots;
mod elementwise;
mod lanes;
mod launch;
mod math;
mod memory;
mod reductions;
mod run;
mod shapes;

use kiln_tests::case::{Case, Settings};
use libtest_mimic::{Arguments, Trial};

/// Every case.
fn table() -> Vec<Case> {
    let families: [fn() -> Vec<Case>; 10] = [
        math::cases,
        elementwise::cases,
        casts::cases,
        shapes::cases,
        reductions::cases,
        lanes::cases,
        dots::cases,
        memory::cases,
        atomics::cases,
        launch::cases,
    ];
    families.into_iter().flat_map(|family| family()).collect()
}

/// Compiles and runs the case, whose kernel is called `k`.
fn check(case: &Case) -> Result<(), String> {
    run::check_kernel(case, "k", &Settings::default()).map_err(|e| format!("{e}\n--- source\n{}", case.source))
}

fn main() {
    let arguments = Arguments::from_args();
    let trials = table()
        .into_iter()
        .map(|case| {
            let name = case.name.clone();
            Trial::test(name, move || check(&case).map_err(Into::into))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
