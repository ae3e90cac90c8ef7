//! The table on the emulator: which cases an ordinary run takes, and on which GPU and schedule.
//!
//! An ordinary run takes one case of every builtin and type, chosen by a hash of its name, compiled for one architecture and run under three schedules. The
//! whole table, under every schedule and five seeds, is behind `-- --ignored emulator-full::`.

use std::collections::BTreeMap;
use std::sync::Arc;

use kiln::{Device, EmulatorOptions};
use kiln_tests::case::Case;

/// A hash that is the same on every machine and in every version (FNV-1a).
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// Names of the cases of an ordinary run: of those that differ only in shape, the one with the least hash.
pub fn sample(table: &[Arc<Case>]) -> BTreeMap<String, usize> {
    let mut chosen: BTreeMap<String, usize> = BTreeMap::new();
    for (i, case) in table.iter().enumerate() {
        let key: Vec<&str> = case.name.split("::").take(3).collect();
        chosen
            .entry(key.join("::"))
            .and_modify(|best| {
                if hash(&case.name) < hash(&table[*best].name) {
                    *best = i;
                }
            })
            .or_insert(i);
    }
    chosen
}

fn devices(target: &str, schedules: impl IntoIterator<Item = String>) -> Vec<Device> {
    let device = |schedule: String| {
        let options = EmulatorOptions::parse(&format!("{target},{schedule}")).expect("words of the emulator");
        Device::emulator_with(options)
    };
    schedules.into_iter().map(device).collect()
}

/// The devices of an ordinary run's case. All have one target, so that the case is compiled once.
pub fn usual_devices(case: &Case) -> Vec<Device> {
    let hash = hash(&case.name);
    let target = ["sm_80", "sm_86", "sm_89", "sm_90a"][(hash >> 32) as usize % 4];
    devices(target, ["eager".to_owned(), "lazy".to_owned(), format!("random={}", hash % 1000)])
}

/// The devices of a case of the full run: all of them. An elementary function is hundreds of instructions a lane and the same in every shape, so that only
/// its longest vector goes through all of them, and its other shapes through the devices of an ordinary run.
pub fn full_devices(case: &Case) -> Vec<Device> {
    if case.name.starts_with("math::") && !case.name.ends_with("::tail") { usual_devices(case) } else { all_devices() }
}

fn all_devices() -> Vec<Device> {
    let schedules = || ["eager".to_owned(), "lazy".to_owned()].into_iter().chain((1..=5).map(|seed| format!("random={seed}")));
    devices("sm_90a", schedules()).into_iter().chain(devices("sm_80", ["lazy".to_owned()])).collect()
}
