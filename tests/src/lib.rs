//! What the cross-crate tests share: exact scalars and typed arrays to compare with, conformance cases, and a reference evaluator of the IR (`oracle`).

pub mod array;
pub mod case;
pub mod oracle;
pub mod scalar;
