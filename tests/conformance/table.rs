//! The conformance table: every builtin of the language, for every type it accepts, over shapes from one element to three dimensions that are no powers
//! of two, with tails, strides and broadcast dimensions. Expected values come from f64 and wide-integer references written here, with the bound stated at
//! each entry. One table serves every device; which of them run it is the business of the programs that include it.

mod atomics;
mod casts;
mod dots;
mod elementwise;
mod lanes;
mod launch;
mod math;
mod memory;
mod reductions;
mod shapes;

use kiln_tests::case::Case;

/// Every case.
pub fn table() -> Vec<Case> {
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
