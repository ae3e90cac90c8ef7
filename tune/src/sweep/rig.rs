//! What a lab works with: a device ([`super::stand`]), or in tests a recording of one.

use kiln::tuned::Reason;

/// Why a configuration is out.
pub(crate) type Refusal = (Reason, String);

/// What became of a configuration that was to be compiled: a fingerprint of its code and grid, where there is one.
pub(crate) type Compiled = (usize, Result<Option<u128>, Refusal>);

/// Compiles, runs, compares and times configurations, which go by number.
pub(crate) trait Rig {
    /// Seconds since the sweep began.
    fn now(&self) -> f64;

    /// Whether every sample of a configuration is the same, so that one is enough.
    fn is_exact(&self) -> bool;

    /// Takes configurations to be compiled next: at once on a device with processors of its own, else when they are asked for.
    fn compile(&mut self, which: Vec<usize>);

    /// What was compiled since this was asked last. Waits for it.
    fn compiled(&mut self) -> Vec<Compiled>;

    /// Runs a configuration for the first time, and compares what it gives with the reference.
    fn check(&mut self, i: usize) -> Result<(), Refusal>;

    /// Runs a configuration once. Gives back its time in seconds.
    fn sample(&mut self, i: usize) -> Result<f64, Refusal>;

    /// A configuration is out: its code is not needed any more.
    fn release(&mut self, i: usize);
}
