//! Guided search: begin with what the cost model likes and with a spread over the space, then go where a regression over the measured times expects the most, and at last
//! try the neighbours of the best.

use super::GLANCE;
use super::surrogate::{Features, Surrogate};
use crate::sweep::{Interrupted, Lab};

/// Configurations a step adds.
const STEP: usize = 4;
/// Fewest configurations looked at, where there are that many.
const LEAST: usize = 12;

pub fn run(lab: &mut Lab<'_>) -> Result<(), Interrupted> {
    let open = lab.open();
    let total = lab.len();
    // What an earlier run has measured counts towards the budget, and teaches.
    let known = (0..total).filter(|&i| lab.time(i).is_some()).count();
    let budget = ((total as f64 * lab.share()).ceil() as usize).max(LEAST.min(total)).saturating_sub(known).min(open.len());
    lab.plan(budget);
    let features = Features::of(lab);
    let mut left = budget;

    let mut by_model = open.clone();
    let cost = |i: &usize| lab.predicted(*i).unwrap_or(f64::INFINITY);
    by_model.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    // The defaults before all: their author may have known something.
    let mut first: Vec<usize> = lab.defaults().filter(|d| open.contains(d)).into_iter().take(left).collect();
    first.extend(by_model.into_iter().filter(|i| lab.defaults() != Some(*i)).take(left.div_ceil(4).min(left - first.len())));
    while first.len() < left.div_ceil(2) {
        match features.farthest(&open, &first) {
            Some(next) => first.push(next),
            None => break,
        }
    }
    left -= first.len();
    lab.measure(&first, GLANCE)?;

    let polish = budget / 4;
    while left > polish {
        let surrogate = Surrogate::fit(lab, &features);
        let mut ranked: Vec<(f64, usize)> =
            lab.open().into_iter().filter_map(|i| Some((surrogate.as_ref()?.expected_gain(&features, lab, i), i))).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let next: Vec<usize> = ranked.iter().map(|(_, i)| *i).take(STEP.min(left - polish)).collect();
        if next.is_empty() {
            break;
        }
        left -= next.len();
        lab.measure(&next, GLANCE)?;
    }

    // One step along one axis from the best, again from wherever that leads.
    while left > 0 {
        let Some(best) = lab.best() else { return Ok(()) };
        let surrogate = Surrogate::fit(lab, &features);
        let mut next: Vec<usize> = lab.open().into_iter().filter(|&i| features.are_neighbours(i, best)).collect();
        if let Some(surrogate) = &surrogate {
            next.sort_by(|&a, &b| surrogate.mean(&features, lab, a).total_cmp(&surrogate.mean(&features, lab, b)));
        }
        next.truncate(left.min(STEP));
        if next.is_empty() {
            return Ok(());
        }
        left -= next.len();
        lab.measure(&next, GLANCE)?;
    }
    Ok(())
}
