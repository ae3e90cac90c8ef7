//! Repository chores: demo, test, ci, bench. Needs nothing but cargo.
fn main() {}
