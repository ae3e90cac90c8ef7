//! What sweeps found out, and how launches use it.
//!
//! A sweep (`kiln tune`, crate `kiln-tune`) leaves one [`Record`] for every configuration it looked at, in a [`TuneStore`]: text, one JSON object a line, one file a kernel.
//! A launch of a kernel with `#[tune]` whose constants and schedule are not all given takes them from the fastest configuration that is known for its device, code,
//! types and key, else for the nearest key. Where nothing is known, or what is known cannot be launched here, the kernel's own defaults hold.

mod choose;
mod record;
mod store;

pub use choose::{Choice, best, choices};
pub use record::{Key, Objective, Outcome, Reason, Record, Subject, Timing};
pub use store::{Loaded, TuneError, TuneStore};

use kiln_ir::signature::{Candidate, Config, KernelSignature, LaunchOptions, TuningKey};

/// What a sweep has to know of a launch; see [`crate::Launch::tuning`].
#[derive(Clone, Debug)]
pub struct Tuning {
    /// What results are of.
    pub subject: Subject,
    /// The key that results are remembered by.
    pub key: Key,
    /// Named dimensions of the launch.
    pub dims: std::collections::BTreeMap<String, i64>,
    /// Every configuration, with its launch or why there is none.
    pub candidates: Vec<Candidate>,
    /// What the kernel's own defaults come to, where it has some.
    pub defaults: Option<Config>,
}

/// The subject of a launch's results.
pub(crate) fn subject(
    signature: &KernelSignature,
    options: &LaunchOptions,
    found: &TuningKey,
    absent: impl Iterator<Item = String>,
    device: String,
    content: &str,
) -> Subject {
    let swept = signature.swept();
    let kept = |name: &str| !swept.contains(&name);
    let mut with: std::collections::BTreeMap<String, String> = found.fns.iter().cloned().collect();
    with.extend(absent.map(|name| (name, "absent".to_owned())));
    with.extend(options.consts.iter().filter(|(name, _)| kept(name)).map(|(name, value)| (name.clone(), value.to_string())));
    with.extend(
        options
            .schedule
            .iter()
            .filter(|(name, _)| kept(name))
            .map(|(name, values)| (name.clone(), values.iter().map(i64::to_string).collect::<Vec<_>>().join("x"))),
    );
    Subject {
        device,
        kernel: signature.name.clone(),
        content: content.to_owned(),
        types: found.types.iter().map(|(name, ty)| (name.clone(), ty.name().to_owned())).collect(),
        with,
    }
}
