//! Sweeps as data for people and programs: JSON, CSV, and a web page with plots.
//!
//! The JSON holds every figure; the page holds the same JSON and draws it, so the two cannot differ.

mod page;
mod roofline;

pub use page::page;
pub use roofline::Roofline;

use std::collections::BTreeMap;

use kiln::Config;
use kiln::tuned::{Objective, Outcome, Reason, Timing};
use serde::{Deserialize, Serialize};

use crate::sweep::{Sweep, Trial};

/// One or more sweeps of one kernel on one device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Version of the compiler.
    pub kiln: String,
    /// Seconds since 1970.
    pub unix: u64,
    /// The device.
    pub device: String,
    /// The kernel.
    pub kernel: String,
    /// Its file.
    pub file: String,
    /// Type parameters.
    pub types: BTreeMap<String, String>,
    /// What else is fixed.
    pub with: BTreeMap<String, String>,
    /// `exhaustive`, `halving` or `guided`.
    pub strategy: String,
    /// Whether times are measured or predicted.
    pub objective: Objective,
    /// What the device can do.
    pub roofline: Roofline,
    /// One a set of sizes.
    pub sizes: Vec<Size>,
    /// Others' times for the same work.
    #[serde(default)]
    pub peers: Vec<Peer>,
}

/// Another program's time for the same work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Named dimensions.
    pub dims: BTreeMap<String, i64>,
    /// Median time in seconds.
    pub seconds: f64,
}

/// The sweep of one set of sizes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Size {
    /// Named dimensions.
    pub dims: BTreeMap<String, i64>,
    /// The key results are remembered by.
    pub key: String,
    /// Floating-point operations of a launch with the winner.
    pub flops: f64,
    /// Bytes of the tensors.
    pub bytes: f64,
    /// Time with the kernel's own defaults.
    pub defaults: Option<Timing>,
    /// Number of the winner among the trials.
    pub winner: Option<usize>,
    /// What results were compared with.
    pub reference: String,
    /// Spearman's correlation of the cost model with the times.
    pub rank_correlation: Option<f64>,
    /// Seconds that the sweep took.
    pub seconds: f64,
    /// Configurations looked at in this run; others were known or not worth a look.
    pub looked: usize,
    /// Whether the sweep came to its end.
    pub complete: bool,
    /// Every configuration.
    pub trials: Vec<Row>,
}

/// One configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The values.
    pub config: Config,
    /// `time`, `not looked at`, `condition`, `refused`, `compile`, `fault` or `differs`.
    pub status: String,
    /// Why it is out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
    /// The cost model's time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<f64>,
    /// The configuration with the same code that was measured in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_code_as: Option<Config>,
    /// Whether an earlier run measured it.
    #[serde(default)]
    pub resumed: bool,
}

impl Row {
    fn new(trial: &Trial) -> Row {
        let (status, message) = match &trial.outcome {
            None => ("not looked at", String::new()),
            Some(Outcome::Time(_)) => ("time", String::new()),
            Some(Outcome::Rejected { reason, message }) => {
                let status = match reason {
                    Reason::Condition => "condition",
                    Reason::Refused => "refused",
                    Reason::Compile => "compile",
                    Reason::Fault => "fault",
                    Reason::Differs => "differs",
                };
                (status, message.clone())
            }
        };
        Row {
            config: trial.config.clone(),
            status: status.to_owned(),
            message,
            timing: trial.outcome.as_ref().and_then(Outcome::timing).copied(),
            predicted: trial.predicted,
            same_code_as: trial.same.clone(),
            resumed: trial.resumed,
        }
    }
}

impl Size {
    /// The sweep as data.
    pub fn new(sweep: &Sweep) -> Size {
        let winner = sweep.winner().map(|(trial, _)| trial.config.clone());
        let work = |config: &Config| sweep.trials.iter().find(|t| t.config == *config).and_then(|t| t.work);
        // What a launch has to compute does not depend on the configuration; what it computes in vain, beyond edges, does: the least is the work.
        let flops = sweep.trials.iter().filter_map(|t| Some(t.work?.flops())).fold(f64::INFINITY, f64::min);
        let flops = if flops.is_finite() { flops } else { winner.as_ref().and_then(work).map_or(0.0, |w| w.flops()) };
        Size {
            dims: sweep.dims.clone(),
            key: sweep.key.to_string(),
            flops,
            bytes: sweep.footprint,
            defaults: sweep.defaults,
            winner: winner.and_then(|config| sweep.trials.iter().position(|t| t.config == config)),
            reference: sweep.reference.clone(),
            rank_correlation: sweep.rank_correlation,
            seconds: sweep.elapsed.as_secs_f64(),
            looked: sweep.looked,
            complete: sweep.complete,
            trials: sweep.trials.iter().map(Row::new).collect(),
        }
    }

    /// The winner.
    pub fn winning(&self) -> Option<&Row> {
        self.trials.get(self.winner?)
    }
}

impl Report {
    /// As JSON.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// As CSV: one line a configuration, with a column for every dimension and every swept name.
    pub fn csv(&self) -> String {
        let column = |names: &mut Vec<String>, name: &String| {
            if !names.contains(name) {
                names.push(name.clone());
            }
        };
        let (mut dims, mut swept) = (vec![], vec![]);
        for size in &self.sizes {
            size.dims.keys().for_each(|name| column(&mut dims, name));
            size.trials.iter().flat_map(|t| t.config.0.keys()).for_each(|name| column(&mut swept, name));
        }
        let head = dims.iter().chain(&swept).map(String::as_str);
        let rest = "status,median_seconds,low_seconds,high_seconds,samples,dropped,predicted_seconds,same_code_as,message";
        let mut text = head.chain([rest]).collect::<Vec<_>>().join(",") + "\n";
        for size in &self.sizes {
            for row in &size.trials {
                let number = |v: Option<&i64>| v.map(i64::to_string).unwrap_or_default();
                let mut cells: Vec<String> = dims.iter().map(|name| number(size.dims.get(name))).collect();
                cells.extend(swept.iter().map(|name| number(row.config.0.get(name))));
                cells.push(row.status.clone());
                let timing = |get: &dyn Fn(&Timing) -> String| row.timing.as_ref().map(get).unwrap_or_default();
                cells.push(timing(&|t| t.median.to_string()));
                cells.push(timing(&|t| t.low.to_string()));
                cells.push(timing(&|t| t.high.to_string()));
                cells.push(timing(&|t| t.samples.to_string()));
                cells.push(timing(&|t| t.dropped.to_string()));
                cells.push(row.predicted.map(|p| p.to_string()).unwrap_or_default());
                cells.push(row.same_code_as.as_ref().map(Config::to_string).unwrap_or_default());
                cells.push(format!("\"{}\"", row.message.replace('"', "\"\"").replace('\n', " ")));
                text.push_str(&(cells.join(",") + "\n"));
            }
        }
        text
    }
}
