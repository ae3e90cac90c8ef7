//! What the cross-crate tests share: exact scalars and typed arrays to compare with, and a reference evaluator of the IR (`oracle`).

pub mod array;
pub mod oracle;
pub mod scalar;
