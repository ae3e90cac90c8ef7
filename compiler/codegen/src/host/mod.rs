//! The host back end.
