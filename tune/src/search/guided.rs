//! Guided search: begin with what the cost model likes and with a spread over the space, then go where a regression over the measured times expects the most, and at last
//! try the neighbours of the best.
//!
//! `share` bounds the time: by what the first configurations have cost, the search is given that part of what all of the space would take, and some of it is kept to tell the
//! leaders apart. No more than twice that share of the configurations is looked at. The figures below were chosen by thousands of sweeps over recordings (`replay`).

use super::GLANCE;
use super::surrogate::{Features, Surrogate};
use crate::sweep::{Interrupted, Lab};

/// Configurations a step adds.
const STEP: usize = 4;
/// Fewest configurations looked at, where there are that many and time allows.
const LEAST: usize = 12;
/// Configurations that are looked at at most, in shares.
const SHARES: f64 = 2.0;
/// Of them, what begins the search: those that the cost model likes, then a spread over the space.
const LIKED: f64 = 0.4;
const SPREAD: f64 = 0.2;
/// Of the time that is allowed this part is for the search.
const SEARCHING: f64 = 0.65;
/// And this is when leaders that are not told apart stay so: a race ends some laps later.
const RACING: f64 = 1.05;
/// The best whose neighbours are tried.
const BEST: usize = 3;

pub fn run(lab: &mut Lab<'_>) -> Result<(), Interrupted> {
    let open = lab.open();
    let total = lab.len();
    // What an earlier run has measured counts towards the budget, and teaches.
    let known = (0..total).filter(|&i| lab.time(i).is_some()).count();
    let budget =
        ((SHARES * lab.share() * total as f64).ceil() as usize).max(LEAST.min(total)).saturating_sub(known).min(open.len());
    lab.plan(budget);
    let features = Features::of(lab);
    let mut left = budget;

    let mut by_model = open.clone();
    let cost = |i: &usize| lab.predicted(*i).unwrap_or(f64::INFINITY);
    by_model.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
    let part = |share: f64| (share * left as f64).ceil() as usize;
    // The defaults before all: their author may have known something.
    let mut first: Vec<usize> = lab.defaults().filter(|d| open.contains(d)).into_iter().take(left).collect();
    first.extend(by_model.into_iter().filter(|i| lab.defaults() != Some(*i)).take(part(LIKED).min(left - first.len())));
    while first.len() < part(LIKED + SPREAD).min(left) {
        match features.farthest(&open, &first) {
            Some(next) => first.push(next),
            None => break,
        }
    }
    left -= first.len();
    lab.measure(&first, GLANCE)?;
    let mut allowed = f64::INFINITY;
    // What is known of the noise grows with every sample: the least that it has ever come to counts.
    let mut is_time_left = |lab: &mut Lab<'_>| {
        allowed = lab.seconds_of_exhaustive().map_or(f64::INFINITY, |all| lab.share() * all).min(allowed);
        lab.set_deadline(RACING * allowed);
        lab.now() < SEARCHING * allowed
    };

    let polish = left / 2;
    while left > polish && is_time_left(lab) {
        let Some(surrogate) = Surrogate::fit(lab, &features) else { break };
        let mut ranked: Vec<(f64, usize)> =
            lab.open().into_iter().map(|i| (surrogate.expected_gain(&features, lab, i), i)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let next: Vec<usize> = ranked.iter().map(|(_, i)| *i).take(STEP.min(left - polish)).collect();
        if next.is_empty() {
            break;
        }
        left -= next.len();
        lab.measure(&next, GLANCE)?;
    }

    // One step along one axis from the best, again from wherever that leads; then whatever should be fastest.
    while left > 0 && is_time_left(lab) {
        let Some(surrogate) = Surrogate::fit(lab, &features) else { break };
        let mut best: Vec<(f64, usize)> = (0..total).filter_map(|i| Some((lab.likely(i)?, i))).collect();
        best.sort_by(|a, b| a.0.total_cmp(&b.0));
        best.truncate(BEST);
        let is_near = |i: &usize| best.iter().any(|&(_, b)| features.are_neighbours(*i, b));
        let mut next: Vec<usize> = lab.open().into_iter().filter(is_near).collect();
        if next.is_empty() {
            next = lab.open();
        }
        next.sort_by(|&a, &b| surrogate.mean(&features, lab, a).total_cmp(&surrogate.mean(&features, lab, b)));
        next.truncate(left.min(STEP));
        if next.is_empty() {
            break;
        }
        left -= next.len();
        lab.measure(&next, GLANCE)?;
    }
    Ok(())
}
