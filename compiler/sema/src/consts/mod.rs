//! Compile-time values: integers that may be symbolic (`num`), and the constants that expressions evaluate to (`value`).

pub mod num;
pub mod round;
pub mod value;

pub use num::{Num, NumOp, Overflow, Truth};
pub use value::Konst;
