//! What the cross-crate tests share: exact scalars and typed arrays to compare with, conformance cases, the language cases, and a reference evaluator of the
//! IR (`oracle`).

pub mod array;
pub mod case;
pub mod language_cases;
pub mod oracle;
pub mod scalar;
