//! Schedules: how a kernel is mapped to the hardware, apart from what it computes.

use serde::{Deserialize, Serialize};

use super::expr::HostExpr;

/// A schedule with every field decided. Absent fields are the compiler's choice.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Schedule {
    /// Warps a CTA.
    pub warps: Option<u32>,
    /// Stages of software pipelines.
    pub stages: Option<u32>,
    /// Programs of axis 0 that run together for each step of axis 1 (L2 reuse).
    pub group: Option<u32>,
    /// One CTA a multiprocessor loops over programs.
    pub persistent: bool,
    /// CTAs of a cluster along the grid's axes.
    pub cluster: Option<[u32; 3]>,
    /// Producer and consumer warps.
    pub specialize: bool,
    /// Register limit a thread.
    pub max_regs: Option<u32>,
    /// All programs resident at once (`grid_sync`).
    pub cooperative: bool,
    /// Programmatic dependent launch.
    pub pdl: bool,
}

/// `#[schedule(..)]` as written: each field an expression over constants and dimensions.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ScheduleExpr {
    /// Field name (one of `Schedule`'s) and value, in source order.
    pub fields: Vec<(String, Vec<HostExpr>)>,
}

/// One swept name of a tuning space.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TuneAxis {
    /// A constant parameter or schedule field.
    pub name: String,
    /// Values to try.
    pub values: Vec<HostExpr>,
}

/// One space of `#[tune]`: the product of its axes, filtered by its condition.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct TuneSpace {
    /// Axes in source order.
    pub axes: Vec<TuneAxis>,
    /// `if ..`: candidates that fail it are dropped.
    pub condition: Option<HostExpr>,
}
