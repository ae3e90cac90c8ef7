//! Which configuration a launch takes.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use kiln_ir::signature::{Config, KernelSignature, LaunchOptions};

use super::record::{Key, Objective, Record, Subject, Timing};

/// A configuration that a launch takes from a sweep's results.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The values.
    pub config: Config,
    /// The key it won for.
    pub key: Key,
    /// Whether that is the launch's own key; else it is the nearest one that is known.
    pub exact: bool,
    /// Its time there.
    pub timing: Timing,
    /// Where the time comes from.
    pub objective: Objective,
}

/// The fastest of some records of one subject and key, by the upper end of the interval: a lucky sample does not win. Ties go to the first configuration
/// in order.
pub fn best<'a>(records: impl IntoIterator<Item = &'a Record>) -> Option<(&'a Record, &'a Timing)> {
    let timed = records.into_iter().filter_map(|r| Some((r, r.outcome.timing()?)));
    timed.min_by(|(a, x), (b, y)| x.high.partial_cmp(&y.high).unwrap_or(Ordering::Equal).then_with(|| a.config.cmp(&b.config)))
}

/// What a launch may take, best first: the winner of each known key, nearest key first. Where the launch gives a value to a name, only configurations with that
/// value count; where it gives all of them there is nothing to take.
pub fn choices(
    records: &[Record],
    subject: &Subject,
    key: &Key,
    signature: &KernelSignature,
    options: &LaunchOptions,
) -> Vec<Choice> {
    let agrees = |config: &Config| {
        config.0.iter().all(|(name, value)| {
            let given = match options.consts.iter().find(|(n, _)| n == name) {
                Some((_, given)) => Some(vec![*given]),
                None => options.schedule.iter().find(|(n, _)| n == name).map(|(_, given)| given.clone()),
            };
            given.is_none_or(|given| given == [*value])
        })
    };
    let given = |name: &str| options.consts.iter().any(|(n, _)| n == name) || options.schedule.iter().any(|(n, _)| n == name);
    if signature.swept().into_iter().all(given) {
        return vec![];
    }
    let mut by_key: BTreeMap<String, (f64, Vec<&Record>)> = BTreeMap::new();
    for record in records.iter().filter(|r| r.subject == *subject && agrees(&r.config)) {
        if let Some(distance) = record.key.distance(key) {
            by_key.entry(record.key.to_string()).or_insert_with(|| (distance, vec![])).1.push(record);
        }
    }
    let mut found: Vec<(f64, Vec<&Record>)> = by_key.into_values().collect();
    found.sort_by(|(a, _), (b, _)| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    found
        .into_iter()
        .filter_map(|(distance, records)| {
            let (record, timing) = best(records)?;
            Some(Choice {
                config: record.config.clone(),
                key: record.key.clone(),
                exact: distance == 0.0,
                timing: *timing,
                objective: record.objective,
            })
        })
        .take(MOST)
        .collect()
}

/// Keys whose winners are tried before the defaults.
const MOST: usize = 4;
