//! What the cross-crate tests share: exact scalars and typed arrays to compare with, conformance cases, the language cases, and a reference evaluator of the
//! IR (`oracle`), and the way to the stand-in driver.

pub mod array;
pub mod case;
pub mod language_cases;
pub mod oracle;
pub mod reductions;
pub mod scalar;
pub mod stand_in;

/// The folder of the tests: `KILN_TESTS` where a bundle was moved, else where this crate was built.
pub fn folder() -> std::path::PathBuf {
    std::env::var_os("KILN_TESTS").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()).into()
}
pub mod wide;
