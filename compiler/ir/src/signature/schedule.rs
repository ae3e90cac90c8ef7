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
    /// Two groups of warps of a persistent CTA take turns with its programs.
    pub ping_pong: bool,
    /// CTAs of a cluster along the grid's axes.
    pub cluster: Option<[u32; 3]>,
    /// Thread blocks that share one program: each sums a part of its loop over products.
    pub split_k: Option<u32>,
    /// Producer and consumer warps.
    pub specialize: bool,
    /// Register limit a thread.
    pub max_regs: Option<u32>,
    /// All programs resident at once (`grid_sync`).
    pub cooperative: bool,
    /// Programmatic dependent launch.
    pub pdl: bool,
}

impl Schedule {
    /// The grid's axis along which two thread blocks side by side are a cluster.
    pub fn pairs(&self) -> Option<u8> {
        match self.cluster {
            Some([2, 1, 1]) => Some(0),
            Some([1, 2, 1]) => Some(1),
            _ => None,
        }
    }

    /// How many thread blocks of a cluster share one program; None where each block has its own.
    pub fn split(&self) -> Option<u32> {
        self.split_k.filter(|&n| n > 1)
    }

    /// Thread blocks of a cluster.
    pub fn cluster_blocks(&self) -> u32 {
        self.split().unwrap_or(if self.pairs().is_some() { 2 } else { 1 })
    }

    /// How many programs along axis 0 run together, in a grid of that rank; None where axis 0 just comes first.
    pub fn grouped(&self, grid_rank: u8) -> Option<u32> {
        self.group.filter(|&n| n > 1 && grid_rank > 1)
    }

    /// Names of the fields, as in `#[schedule(..)]`.
    pub const FIELDS: &'static [&'static str] = &[
        "warps",
        "stages",
        "group",
        "persistent",
        "ping_pong",
        "cluster",
        "split_k",
        "specialize",
        "max_regs",
        "cooperative",
        "pdl",
    ];

    /// Sets a field from numbers (bools are 0 or 1).
    ///
    /// # Errors
    /// What the field takes, where the numbers are none of it or there is no such field.
    pub fn set(&mut self, field: &str, values: &[i64]) -> Result<(), &'static str> {
        let number = |range: std::ops::RangeInclusive<i64>, expected: &'static str| match values {
            [v] if range.contains(v) => Ok(Some(*v as u32)),
            _ => Err(expected),
        };
        let flag = || match values {
            [v @ 0..=1] => Ok(*v == 1),
            _ => Err("true or false"),
        };
        match field {
            "warps" => match values {
                [v @ (1 | 2 | 4 | 8 | 16 | 32)] => self.warps = Some(*v as u32),
                _ => return Err("a power of two from 1 to 32"),
            },
            "stages" => self.stages = number(1..=16, "a number from 1 to 16")?,
            "group" => self.group = number(1..=65536, "a number from 1 to 65536")?,
            "max_regs" => self.max_regs = number(16..=255, "a number from 16 to 255")?,
            "split_k" => self.split_k = number(1..=8, "a number from 1 to 8")?,
            "persistent" => self.persistent = flag()?,
            "ping_pong" => self.ping_pong = flag()?,
            "specialize" => self.specialize = flag()?,
            "cooperative" => self.cooperative = flag()?,
            "pdl" => self.pdl = flag()?,
            "cluster" => {
                let fits = (1..=3).contains(&values.len())
                    && values.iter().all(|v| (1..=16).contains(v))
                    && values.iter().product::<i64>() <= 16;
                if !fits {
                    return Err("1 to 3 numbers whose product is at most 16");
                }
                let extent = |i: usize| values.get(i).map_or(1, |v| *v as u32);
                self.cluster = Some([extent(0), extent(1), extent(2)]);
            }
            _ => return Err("a field of the schedule"),
        }
        Ok(())
    }
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
