//! Which configurations are looked at, and how closely.
//!
//! Every strategy ends in the same way: the configurations whose intervals reach into the best one's are measured in turns until they are told apart, or a bound is reached.

mod guided;
mod halving;
#[cfg(test)]
mod replay;
mod surrogate;

use crate::sweep::{Effort, Interrupted, Lab};

/// A strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// Every configuration, closely.
    Exhaustive,
    /// Every configuration for a moment, then the better third of them longer, and so on.
    Halving,
    /// A share of the configurations: those that the cost model likes, then those that what was measured so far speaks for.
    Guided,
}

impl Strategy {
    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Strategy::Exhaustive => "exhaustive",
            Strategy::Halving => "halving",
            Strategy::Guided => "guided",
        }
    }
}

/// Looks at configurations.
pub(crate) fn run(strategy: Strategy, lab: &mut Lab<'_>) -> Result<(), Interrupted> {
    match strategy {
        Strategy::Exhaustive => {
            let all = lab.open();
            lab.plan(all.len());
            let effort = lab.full_effort();
            lab.measure(&all, effort)?;
        }
        Strategy::Halving => halving::run(lab)?,
        Strategy::Guided => guided::run(lab)?,
    }
    lab.separate_leaders()
}

/// A glance: enough to see a factor.
pub(crate) const GLANCE: Effort = Effort { least: 2, most: 2, seconds: 0.1, visits: 2, once_if_hopeless: true };
