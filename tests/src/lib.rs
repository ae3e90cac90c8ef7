//! What the cross-crate tests share: exact scalars and typed arrays to compare with.

pub mod array;
pub mod scalar;
