//! Kiln's benches.
