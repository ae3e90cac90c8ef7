//! Successive halving (K. Jamieson, A. Talwalkar, 2016), by thirds: all at a glance, the best third three times as closely, until few are left.

use super::GLANCE;
use crate::sweep::{Effort, Interrupted, Lab};

/// Of each round this part goes on.
const KEEP: usize = 3;
/// So many are few.
const FEW: usize = 4;

pub fn run(lab: &mut Lab<'_>) -> Result<(), Interrupted> {
    let mut round = lab.open();
    lab.plan(round.len());
    // Those that go on are visited again in the next round.
    let mut effort = Effort { visits: 1, ..GLANCE };
    loop {
        lab.measure(&round, effort)?;
        if round.len() <= FEW {
            return Ok(());
        }
        round.retain(|&i| lab.time(i).is_some());
        round.sort_by(|&a, &b| lab.time(a).partial_cmp(&lab.time(b)).unwrap_or(std::cmp::Ordering::Equal));
        round.truncate(round.len().div_ceil(KEEP).max(1));
        let full = lab.full_effort();
        effort = Effort {
            least: (effort.least * 2).min(full.least),
            most: (effort.most * 3).min(full.most),
            seconds: effort.seconds * 3.0,
            ..effort
        };
    }
}
