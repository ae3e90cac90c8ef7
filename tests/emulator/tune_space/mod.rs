//! The tuning spaces of the examples on the emulator, with every check on: each configuration that fits gives what plain loops in f64 give, whatever completes
//! when, at sizes that no tile divides. An ordinary run takes a sample of each space under two orders of completion each; `-- --ignored tune_space` takes more
//! of it, and each configuration as eagerly and as lazily as the program allows and in twenty random orders.
//!
//! What cannot be launched is counted by its reason, and has to be one of those that a schedule may be refused for.

mod heads;
mod packed;
mod products;
mod rows;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kiln::{AnyTensor, Config, Device, F8E4M3, F8E5M2, Kernel, OwnedArg, ScalarType, bf16, f16};
use rayon::prelude::*;

use super::attention::example;
use super::device;

/// A kernel whose space is swept.
struct Subject {
    name: String,
    /// With all that is not swept.
    kernel: Kernel,
    /// Arguments and what is to come of them. They may depend on the tiles of a configuration.
    make: Box<dyn Fn(&Config) -> Case + Send + Sync>,
    /// Values of the schedule that are tried besides, one of these with a configuration.
    extras: &'static [Extra],
}

/// Fields of the schedule that the lists leave out.
type Extra = &'static [(&'static str, &'static [i64])];

/// None.
const PLAIN: &[Extra] = &[&[]];
/// Those that change who multiplies what when.
const PROGRAMS: &[Extra] = &[
    &[],
    &[("persistent", &[1])],
    &[("cluster", &[2, 1])],
    &[("cluster", &[1, 2])],
    &[("persistent", &[1]), ("cluster", &[2, 1])],
    &[("group", &[3])],
    &[("split_k", &[2])],
    &[("pdl", &[1]), ("persistent", &[1])],
    &[("split_k", &[3]), ("group", &[2])],
    &[("ping_pong", &[1]), ("persistent", &[1])],
    &[("persistent", &[1]), ("group", &[2]), ("cluster", &[1, 2])],
];
/// The same where the first axis of the grid is the only long one.
const ROWS_OF_PROGRAMS: &[Extra] = &[&[], &[("persistent", &[1])], &[("cluster", &[2, 1])]];

/// For each element its value and how far off it may be.
type Expected = Arc<Vec<[f64; 2]>>;

/// A launch, and what it is to give.
struct Case {
    args: Vec<OwnedArg>,
    /// For each tensor that is written, the number of its parameter.
    expected: Vec<(usize, Expected)>,
}

/// How a configuration ended.
enum Ended {
    Right,
    /// By the code of its refusal, or the reason that a condition gives.
    Refused(String),
    Wrong(String),
}

/// Codes that a schedule may be refused with: shared memory, what the target cannot follow, tiles, registers, clusters and a grid they do not divide.
const REFUSALS: [&str; 5] = ["K0903", "K0905", "K0907", "K0908", "K1016"];

/// Pseudo-random numbers (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `count` of `list`, or all, in a random order.
    fn sample<T>(&mut self, mut list: Vec<T>, count: usize) -> Vec<T> {
        for i in 0..list.len().min(count) {
            let j = i + (self.next() % (list.len() - i) as u64) as usize;
            list.swap(i, j);
        }
        list.truncate(count);
        list
    }

    /// Between -1 and 1.
    fn number(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

/// A tensor of a type that a number can be rounded to.
fn tensor(ty: ScalarType, dims: &[i64], mut number: impl FnMut() -> f64) -> AnyTensor {
    let count = dims.iter().product::<i64>();
    let bytes: Vec<u8> = (0..count)
        .flat_map(|_| {
            let value = number();
            match ty {
                ScalarType::F32 => (value as f32).to_le_bytes().to_vec(),
                ScalarType::F16 => f16::from_f64(value).to_le_bytes().to_vec(),
                ScalarType::BF16 => bf16::from_f64(value).to_le_bytes().to_vec(),
                ScalarType::F8E4M3 => vec![F8E4M3::from_f32(value as f32).0],
                ScalarType::F8E5M2 => vec![F8E5M2::from_f32(value as f32).0],
                ScalarType::I32 => (value as i32).to_le_bytes().to_vec(),
                ScalarType::I64 => (value as i64).to_le_bytes().to_vec(),
                other => panic!("no tensors of {other} here"),
            }
        })
        .collect();
    AnyTensor::from_bytes(ty, dims, &bytes).expect("a tensor")
}

/// A tensor that is to be written: nothing of it is a number before.
fn blank(ty: ScalarType, dims: &[i64]) -> OwnedArg {
    OwnedArg::Tensor(tensor(ty, dims, || f64::NAN))
}

fn floats(tensor: &AnyTensor) -> Vec<f64> {
    let bytes = tensor.to_bytes().expect("values");
    let ty = tensor.scalar_type().expect("numbers");
    let value = |bytes: &[u8]| match ty {
        ScalarType::F32 => f64::from(f32::from_le_bytes(bytes.try_into().expect("4 bytes"))),
        ScalarType::F16 => f64::from(f16::from_le_bytes(bytes.try_into().expect("2 bytes"))),
        ScalarType::BF16 => f64::from(bf16::from_le_bytes(bytes.try_into().expect("2 bytes"))),
        ScalarType::F8E4M3 => f64::from(F8E4M3(bytes[0]).to_f32()),
        ScalarType::F8E5M2 => f64::from(F8E5M2(bytes[0]).to_f32()),
        other => panic!("no values of {other} here"),
    };
    bytes.chunks(ty.bytes() as usize).map(value).collect()
}

/// Half a unit in the last place of a result, relative to it.
fn rounding(ty: ScalarType) -> f64 {
    match ty {
        ScalarType::F16 => 2.0f64.powi(-11),
        ScalarType::BF16 => 2.0f64.powi(-8),
        _ => 2.0f64.powi(-24),
    }
}

fn launch<'a>(kernel: &'a Kernel, on: &'a Device, args: &'a mut [OwnedArg]) -> kiln::Launch<'a> {
    args.iter_mut().fold(kernel.on(on), |launch, arg| launch.arg(arg.as_arg()))
}

impl Subject {
    /// The configurations that the space has for its arguments, and how many its conditions leave out.
    fn configs(&self) -> (Vec<Config>, usize) {
        let on = device("emulator:sm_90a");
        let all = |config: &Config| {
            let tuning = launch(&self.kernel.configured(config), &on, &mut (self.make)(config).args).tuning();
            tuning.unwrap_or_else(|e| panic!("{}: {e}", self.name)).candidates
        };
        let list: Vec<Config> = all(&Config::default()).into_iter().map(|c| c.config).collect();
        let count = list.len();
        assert!(count > 0, "{} has no space", self.name);
        let holds = |config: &Config| all(config).iter().any(|c| c.config == *config && c.bound.is_ok());
        let list: Vec<Config> = list.into_iter().filter(holds).collect();
        let left_out = count - list.len();
        (list, left_out)
    }

    fn run(&self, kernel: &Kernel, case: &Case, on: &str) -> Ended {
        let copied = |arg: &OwnedArg| match arg {
            OwnedArg::Tensor(tensor) => OwnedArg::Tensor(tensor.deep_clone().expect("memory")),
            other => other.clone(),
        };
        let mut args: Vec<OwnedArg> = case.args.iter().map(copied).collect();
        if let Err(error) = launch(kernel, &device(on), &mut args).run() {
            let text = error.to_string();
            let code = text.split("error[").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
            return if REFUSALS.contains(&code) { Ended::Refused(code.to_owned()) } else { Ended::Wrong(text) };
        }
        for (number, expected) in &case.expected {
            let OwnedArg::Tensor(tensor) = &args[*number] else {
                return Ended::Wrong(format!("parameter {number} is no tensor"));
            };
            let found = floats(tensor);
            if found.len() != expected.len() {
                return Ended::Wrong(format!("parameter {number} has {} elements, not {}", found.len(), expected.len()));
            }
            for (i, (found, [expected, allowed])) in found.iter().zip(expected.iter()).enumerate() {
                // A NaN is near nothing, an infinity near itself.
                let near = found == expected || (found - expected).abs() <= *allowed;
                if !near {
                    let message =
                        format!("parameter {number}, element {i}: {found}, expected {expected} (off by {allowed:.1e} at most)");
                    return Ended::Wrong(message);
                }
            }
        }
        Ended::Right
    }
}

/// How much of the spaces to take.
struct Share {
    /// Configurations of each, at most.
    configs: usize,
    /// Orders of completion of each.
    orders: usize,
    seed: u64,
}

/// An ordinary run.
const SAMPLE: Share = Share { configs: 4, orders: 3, seed: 1 };
/// All orders.
const WHOLE: Share = Share { configs: 24, orders: 22, seed: 2 };

/// Eager, lazy, then random ones. Three multiprocessors: a persistent block runs several programs.
fn order(number: usize) -> String {
    match number {
        0 => "emulator:sm_90a,sms=3,lazy".to_owned(),
        1 => "emulator:sm_90a,sms=3,eager".to_owned(),
        n if n.is_multiple_of(2) => format!("emulator:sm_90a,sms=3,random={n}"),
        n => format!("emulator:sm_90a,sms=3,lazy-random={n}"),
    }
}

fn sweep(subjects: Vec<Subject>, share: &Share) {
    let mut jobs: Vec<(usize, Config, Extra, usize)> = vec![];
    let (mut random, mut left_out) = (Random(share.seed), 0);
    for (number, subject) in subjects.iter().enumerate() {
        let (configs, out) = subject.configs();
        left_out += out;
        for config in random.sample(configs, share.configs) {
            let extra = subject.extras[random.next() as usize % subject.extras.len()];
            // A sample sees other orders with every configuration.
            jobs.push((number, config, extra, if share.orders < 22 { jobs.len() * share.orders } else { 0 }));
        }
    }
    let (ended, wrong): (Mutex<BTreeMap<String, usize>>, Mutex<Vec<String>>) = Default::default();
    jobs.par_iter().for_each(|(number, config, extra, first)| {
        let subject = &subjects[*number];
        let kernel = extra.iter().fold(subject.kernel.configured(config), |k, (field, values)| k.schedule(field, values));
        let case = (subject.make)(config);
        let name = format!("{} {config} {extra:?}", subject.name);
        for turn in 0..share.orders {
            let on = order((first + turn) % 22);
            match subject.run(&kernel, &case, &on) {
                Ended::Right => *ended.lock().expect("no panics").entry("right".to_owned()).or_default() += 1,
                Ended::Refused(code) => {
                    println!("{name}: {code}");
                    *ended.lock().expect("no panics").entry(format!("refused {code}")).or_default() += 1;
                    break;
                }
                Ended::Wrong(message) => {
                    println!("{name} {on}: {message}");
                    wrong.lock().expect("no panics").push(format!("{name} {on}: {message}"));
                    break;
                }
            }
        }
    });
    let (ended, wrong) = (ended.into_inner().expect("no panics"), wrong.into_inner().expect("no panics"));
    println!("{} kernels, {} configurations ({left_out} left out by conditions): {ended:?}", subjects.len(), jobs.len());
    assert!(wrong.is_empty(), "{} of {} configurations:\n{}", wrong.len(), jobs.len(), wrong.join("\n"));
    let right = ended.get("right").copied().unwrap_or_default();
    assert!(2 * right >= jobs.len() * share.orders, "most configurations run: {ended:?}");
}

#[test]
fn sampled_products() {
    sweep(products::subjects(), &SAMPLE);
}

#[test]
fn sampled_heads() {
    sweep(heads::subjects(), &SAMPLE);
}

#[test]
fn sampled_packed() {
    sweep(packed::subjects(), &SAMPLE);
}

#[test]
fn sampled_rows() {
    sweep(rows::subjects(), &SAMPLE);
}

#[test]
#[ignore = "minutes: many configurations in many orders"]
fn every_order_of_products() {
    sweep(products::subjects(), &WHOLE);
}

#[test]
#[ignore = "minutes: many configurations in many orders"]
fn every_order_of_heads() {
    sweep(heads::subjects(), &WHOLE);
}

#[test]
#[ignore = "minutes: many configurations in many orders"]
fn every_order_of_packed() {
    sweep(packed::subjects(), &WHOLE);
}

#[test]
#[ignore = "minutes: many configurations in many orders"]
fn every_order_of_rows() {
    sweep(rows::subjects(), &WHOLE);
}
