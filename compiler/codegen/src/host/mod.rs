//! The host back end.

pub mod dot;
