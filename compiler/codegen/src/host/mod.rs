//! The host back end.

pub(crate) mod dot;
