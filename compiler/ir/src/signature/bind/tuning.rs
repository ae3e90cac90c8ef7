//! Tuning spaces at a launch: which configurations there are, which of them the launch allows, and the key they are remembered by.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ArgDesc, Binder, LaunchOptions};
use crate::signature::error::BindError;
use crate::signature::eval::{Env, HostValue};
use crate::signature::{Bound, HostExpr, KernelSignature, Schedule, TuneSpace};
use crate::types::ScalarType;

/// Values for the names that `#[tune]` sweeps: constants and schedule fields (bools as 0 or 1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Config(pub BTreeMap<String, i64>);

impl Config {
    /// The launch with these values. A name that is both a constant and a field of the schedule is the constant.
    #[must_use]
    pub fn apply(&self, signature: &KernelSignature, options: &LaunchOptions) -> LaunchOptions {
        let mut options = options.clone();
        for (name, value) in &self.0 {
            if signature.const_params.iter().any(|c| c.name == *name) {
                put(&mut options.consts, name, *value);
            } else {
                put(&mut options.schedule, name, vec![*value]);
            }
        }
        options
    }
}

impl std::fmt::Display for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("defaults");
        }
        let parts: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        f.write_str(&parts.join(" "))
    }
}

fn put<V>(list: &mut Vec<(String, V)>, name: &str, value: V) {
    match list.iter_mut().find(|(n, _)| n == name) {
        Some((_, old)) => *old = value,
        None => list.push((name.to_owned(), value)),
    }
}

/// A configuration, and what a launch with it comes to.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The values.
    pub config: Config,
    /// The launch, or why there cannot be one: a condition of the space or a `requires` clause that does not hold, a value that a field does not take.
    pub bound: Result<Bound, String>,
}

/// What tuning results are remembered by, besides the kernel and the device.
#[derive(Clone, Debug, PartialEq)]
pub struct TuningKey {
    /// The expressions of `key = [..]` and their values.
    pub key: Vec<(String, HostValue)>,
    /// Type parameters.
    pub types: Vec<(String, ScalarType)>,
    /// Function parameters.
    pub fns: Vec<(String, String)>,
    /// Named dimensions, as far as they are known.
    pub dims: Vec<(String, i64)>,
}

impl KernelSignature {
    /// The names that `#[tune]` sweeps.
    pub fn swept(&self) -> Vec<&str> {
        let mut names: Vec<&str> = vec![];
        for axis in self.tune.iter().flat_map(|space| &space.axes) {
            if !names.contains(&axis.name.as_str()) {
                names.push(&axis.name);
            }
        }
        names
    }

    /// What tuning results of a launch are remembered by.
    ///
    /// # Errors
    /// Where the arguments do not agree with the signature, or an expression has no value.
    pub fn tuning_key(&self, args: &[ArgDesc<'_>], options: &LaunchOptions) -> Result<TuningKey, Box<BindError>> {
        let options = self.seeded(options);
        let mut binder = Binder::new(self, args, &options);
        binder.resolve()?;
        let key = self
            .tune_key
            .iter()
            .map(|expr| Ok((expr.text(self), expr.eval(&binder).map_err(|e| binder.eval_error(e, expr))?)))
            .collect::<Result<_, Box<BindError>>>()?;
        Ok(TuningKey {
            key,
            types: self.type_params.iter().map(|t| t.name.clone()).zip(binder.type_args()).collect(),
            fns: self.fn_params.iter().map(|f| f.name.clone()).zip(binder.fns()?).collect(),
            dims: self.dims.iter().zip(&binder.dims).filter_map(|(name, v)| Some((name.clone(), (*v)?.0))).collect(),
        })
    }

    /// The options with the first value of its list for every swept constant that nothing else gives a value: a launch needs one to be looked at.
    fn seeded(&self, options: &LaunchOptions) -> LaunchOptions {
        let mut options = options.clone();
        for axis in self.tune.iter().flat_map(|space| &space.axes) {
            let open = self.const_params.iter().any(|c| c.name == axis.name && c.default.is_none() && !c.from_dims);
            if let (true, Some(HostExpr::Int(first))) = (open, axis.values.first())
                && !options.consts.iter().any(|(name, _)| *name == axis.name)
            {
                options.consts.push((axis.name.clone(), *first));
            }
        }
        options
    }

    /// Every configuration of the tuning spaces, in source order, each once. Names that `options` gives values for keep those.
    ///
    /// # Errors
    /// Where a value of a list cannot be computed from the arguments.
    pub fn candidates(&self, args: &[ArgDesc<'_>], options: &LaunchOptions) -> Result<Vec<Candidate>, Box<BindError>> {
        // The CPU has no shared memory that could be too small.
        let options = LaunchOptions {
            shared_memory: if options.shared_memory == 0 { i64::MAX } else { options.shared_memory },
            ..options.clone()
        };
        let mut out: Vec<Candidate> = vec![];
        let mut seen = std::collections::HashSet::new();
        for space in &self.tune {
            for config in self.configs(space, args, &options)? {
                if seen.insert(config.clone()) {
                    let bound = self.candidate(space, &config, args, &options);
                    out.push(Candidate { config, bound });
                }
            }
        }
        Ok(out)
    }

    /// The configuration that a launch without any tuning has: swept constants, and those swept fields that the kernel's schedule or the launch says; what the
    /// compiler chooses is left out.
    ///
    /// # Errors
    /// Where the arguments do not agree with the signature.
    pub fn default_config(&self, args: &[ArgDesc<'_>], options: &LaunchOptions) -> Result<Config, Box<BindError>> {
        let mut binder = Binder::new(self, args, options);
        binder.resolve()?;
        let value = |name: &str| match self.const_params.iter().position(|c| c.name == name) {
            Some(number) => binder.constant(number as u32),
            None => binder.schedule_field(Schedule::FIELDS.iter().position(|field| *field == name)? as u8),
        };
        Ok(Config(self.swept().into_iter().filter_map(|name| Some((name.to_owned(), value(name)?))).collect()))
    }

    /// The product of a space's axes.
    fn configs(&self, space: &TuneSpace, args: &[ArgDesc<'_>], options: &LaunchOptions) -> Result<Vec<Config>, Box<BindError>> {
        let seeded = self.seeded(options);
        let mut binder = Binder::new(self, args, &seeded);
        binder.resolve()?;
        let mut configs = vec![Config::default()];
        for axis in &space.axes {
            let pinned = given(self, options, &axis.name);
            let values = match pinned {
                Some(value) => vec![value],
                None => axis
                    .values
                    .iter()
                    .map(|expr| expr.eval_int(&binder).map_err(|e| binder.eval_error(e, expr)))
                    .collect::<Result<Vec<i64>, _>>()?,
            };
            configs = configs
                .iter()
                .flat_map(|config| {
                    values.iter().map(|value| {
                        let mut config = config.clone();
                        config.0.insert(axis.name.clone(), *value);
                        config
                    })
                })
                .collect();
        }
        Ok(configs)
    }

    fn candidate(
        &self,
        space: &TuneSpace,
        config: &Config,
        args: &[ArgDesc<'_>],
        options: &LaunchOptions,
    ) -> Result<Bound, String> {
        let text = |e: Box<BindError>| e.kind.to_string();
        let options = config.apply(self, options);
        let mut binder = Binder::new(self, args, &options);
        binder.resolve().map_err(text)?;
        if let Some(condition) = &space.condition {
            let holds = condition.eval(&binder).map_err(|e| text(binder.eval_error(e, condition)))?;
            if !holds.is_true() {
                return Err(format!("`if {}` does not hold{}", condition.text(self), binder.because(condition)));
            }
        }
        binder.finish().map_err(text)
    }
}

/// The value that a launch gives a name of a space.
fn given(signature: &KernelSignature, options: &LaunchOptions, name: &str) -> Option<i64> {
    if signature.const_params.iter().any(|c| c.name == name) {
        return options.consts.iter().find(|(n, _)| n == name).map(|(_, v)| *v);
    }
    debug_assert!(Schedule::FIELDS.contains(&name));
    options.schedule.iter().find(|(n, _)| n == name).and_then(|(_, v)| if let [v] = v[..] { Some(v) } else { None })
}
