//! One configuration's result: what was looked at, and what came of it. This is the format of stores, exports and checked-in files.

use std::collections::BTreeMap;

use kiln_ir::signature::{Config, HostValue};
use serde::{Deserialize, Serialize};

/// What a result is of, apart from sizes: results of one subject can be compared and stand in for each other.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Subject {
    /// The device: `cpu AMD EPYC 9B45 (2 threads)`, `cuda NVIDIA H200`, `emulator:sm_90a`.
    pub device: String,
    /// The kernel's name.
    pub kernel: String,
    /// Fingerprint of its code (`kiln_compiler::kernel_content`), in hexadecimal.
    pub content: String,
    /// Type parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, String>,
    /// What else the launch fixes: functions, constants and schedule fields that are not swept, optional parameters that are absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub with: BTreeMap<String, String>,
}

/// The values of `key = [..]`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub BTreeMap<String, HostValue>);

impl Key {
    /// How far two keys are apart: the sum of the factors between their values, as powers of two. None for keys of different expressions.
    pub fn distance(&self, other: &Key) -> Option<f64> {
        if !self.0.keys().eq(other.0.keys()) {
            return None;
        }
        let number = |v: &HostValue| match *v {
            HostValue::Int(v) => v as f64,
            HostValue::Float(v) => v,
        };
        let step = |a: f64, b: f64| if a == b { 0.0 } else { ((a.abs() + 1.0) / (b.abs() + 1.0)).log2().abs().max(1e-6) };
        Some(self.0.values().zip(other.0.values()).map(|(a, b)| step(number(a), number(b))).sum())
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        f.write_str(&parts.join(" "))
    }
}

/// Where a figure comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// A clock.
    Measured,
    /// The cost model, fed by the emulator's counters.
    Predicted,
}

/// A time in seconds, with how sure it is.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Timing {
    /// The median of the samples.
    pub median: f64,
    /// Lower end of the median's 95 % confidence interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Samples that count.
    pub samples: u32,
    /// Samples that were thrown out as disturbed.
    pub dropped: u32,
}

/// Why a configuration cannot win.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A condition of the space, a `requires` clause, or a value that a field does not take.
    Condition,
    /// It asks for more than the device has: registers, shared memory, warps.
    Refused,
    /// It does not compile.
    Compile,
    /// It does not run: a fault, a failed assertion, a launch that is refused.
    Fault,
    /// Its result is not that of the defaults.
    Differs,
}

/// What came of a configuration.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It runs, its result was compared with that of the defaults, and it takes this long.
    Time(Timing),
    /// It is out.
    Rejected {
        /// Why.
        reason: Reason,
        /// In words.
        message: String,
    },
}

impl Outcome {
    /// The time, where there is one.
    pub fn timing(&self) -> Option<&Timing> {
        match self {
            Outcome::Time(timing) => Some(timing),
            Outcome::Rejected { .. } => None,
        }
    }
}

/// One configuration's result.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// What it is of.
    #[serde(flatten)]
    pub subject: Subject,
    /// The key.
    pub key: Key,
    /// Named dimensions of the launch that was looked at (a key may stand for many).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dims: BTreeMap<String, i64>,
    /// The configuration.
    pub config: Config,
    /// What came of it.
    pub outcome: Outcome,
    /// Where the figure comes from.
    pub objective: Objective,
    /// Version of the compiler.
    pub kiln: String,
    /// When, in seconds since 1970.
    pub unix: u64,
}

impl Record {
    /// Whether two records are of the same thing, so that one of them is enough.
    pub fn same_trial(&self, other: &Record) -> bool {
        self.config == other.config && self.key == other.key && self.subject == other.subject && self.objective == other.objective
    }

    /// Of two records of the same thing, the one to keep: the later, and at the same moment the one with more samples. Does not depend on their order.
    pub fn newer(self, other: Record) -> Record {
        let rank = |r: &Record| {
            let samples = r.outcome.timing().map_or(0, |t| t.samples);
            (r.unix, samples, serde_json::to_string(r).unwrap_or_default())
        };
        if rank(&self) >= rank(&other) { self } else { other }
    }
}

/// The records without those that another one replaces, in an order that does not depend on theirs.
pub(super) fn merged(records: impl IntoIterator<Item = Record>) -> Vec<Record> {
    let mut by_trial: BTreeMap<String, Record> = BTreeMap::new();
    for record in records {
        let trial = serde_json::to_string(&(&record.subject, &record.key, &record.config, record.objective)).unwrap_or_default();
        let kept = match by_trial.remove(&trial) {
            Some(other) => other.newer(record),
            None => record,
        };
        by_trial.insert(trial, kept);
    }
    by_trial.into_values().collect()
}
