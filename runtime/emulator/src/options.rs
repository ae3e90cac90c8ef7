//! How a launch is run: schedule, sanitizers, limits.

use serde::{Deserialize, Serialize};

/// When asynchronous operations complete and in which order warps run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schedule {
    /// Asynchronous operations complete when they are issued.
    Eager,
    /// As late as the program's waits allow.
    Lazy,
    /// As late as the program's waits allow, with warps taking random turns.
    LazyRandom(u64),
    /// At random moments; warps take random turns. The same seed gives the same run when the launch is
    /// [`Options::deterministic`].
    Random(u64),
}

/// Which sanitizers run. Accesses outside every allocation are refused even with all of them off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sanitizers {
    /// Exact bounds of allocations and shared memory. Without it they may be overrun up to the pieces in which devices
    /// give out memory: 512 bytes, and 1 KiB of shared memory.
    pub bounds: bool,
    /// Natural alignment of loads, stores and copies. Without it they work at any address, which no device does.
    pub alignment: bool,
    /// Reads of global or shared memory that nothing wrote.
    pub uninitialized: bool,
    /// Unordered shared-memory accesses, asynchronous copies and proxies included.
    pub shared_races: bool,
    /// Unordered global-memory accesses of different CTAs.
    pub global_races: bool,
    /// Disagreement at barriers; mbarrier misuse.
    pub barriers: bool,
    /// Registers of unfinished wgmma.
    pub in_flight: bool,
}

impl Sanitizers {
    /// Everything on.
    pub const ALL: Sanitizers = Sanitizers {
        bounds: true,
        alignment: true,
        uninitialized: true,
        shared_races: true,
        global_races: true,
        barriers: true,
        in_flight: true,
    };
    /// Everything off.
    pub const NONE: Sanitizers = Sanitizers {
        bounds: false,
        alignment: false,
        uninitialized: false,
        shared_races: false,
        global_races: false,
        barriers: false,
        in_flight: false,
    };
}

/// Bounds on what a kernel may use, so that any kernel ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Warp instructions of a launch.
    pub instructions: u64,
    /// Bytes of all device allocations.
    pub memory: u64,
    /// Bytes of text that `printf` may produce.
    pub output: usize,
    /// Depth of device function calls.
    pub call_depth: usize,
    /// CTAs in flight at once, over all workers.
    pub resident_ctas: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { instructions: 20_000_000_000, memory: 8 << 30, output: 1 << 20, call_depth: 64, resident_ctas: 264 }
    }
}

/// Options of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Asynchrony and warp order.
    pub schedule: Schedule,
    /// Which checks run.
    pub sanitizers: Sanitizers,
    /// One worker, CTAs in order: the same run every time, atomics included.
    pub deterministic: bool,
    /// Count executions, sectors, bank conflicts.
    pub counters: bool,
    /// Resource bounds.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            schedule: Schedule::Lazy,
            sanitizers: Sanitizers::ALL,
            deterministic: false,
            counters: true,
            limits: Limits::default(),
        }
    }
}

impl Options {
    /// No sanitizers, no counters: for speed.
    pub fn fast() -> Self {
        Options { sanitizers: Sanitizers::NONE, counters: false, schedule: Schedule::Eager, ..Options::default() }
    }
}
