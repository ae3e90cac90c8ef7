//! The host back end.

pub(crate) mod dot;
pub(crate) mod loops;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod whole;
