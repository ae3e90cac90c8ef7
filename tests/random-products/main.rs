//! Random kernels around matrix products: every schedule of every kernel gives, bit for bit, what the CPU gives, whatever completes when.
//!
//! `random-kernels` looks at the language; this test looks at what schedules do to products: rings, copies by the TMA engine, roles, clusters, epilogues. Kernels have numbers,
//! from which everything about them follows: a failure names the number, and `KILN_RANDOM_PRODUCTS=FROM..TO` runs any of them.

mod generate;
mod known;

use std::collections::BTreeMap;
use std::ops::Range;

use kiln::{Device, Kernel, OwnedArg, Program, ProgramOptions};
use rayon::prelude::*;

/// Kernels of an ordinary run.
const USUAL: Range<u64> = 0..60;
/// Kernels of the full run.
const FULL: Range<u64> = 0..2000;

/// Codes that a schedule may be refused with: shared memory, what the target cannot follow, tiles, registers, clusters and a grid they do not divide.
const REFUSALS: [&str; 5] = ["K0903", "K0905", "K0907", "K0908", "K1016"];

/// How a kernel ended.
enum Ended {
    Right,
    Refused(String),
    Wrong(String),
}

fn launch<'a>(kernel: &'a Kernel, on: &'a Device, args: &'a mut [OwnedArg]) -> kiln::Launch<'a> {
    args.iter_mut().fold(kernel.on(on), |launch, arg| launch.arg(arg.as_arg()))
}

fn bytes(arg: &OwnedArg) -> Vec<u8> {
    let OwnedArg::Tensor(tensor) = arg else { panic!("only tensors are written") };
    tensor.to_bytes().unwrap_or_else(|e| panic!("{e}"))
}

/// Extents and strides.
fn described(arg: &OwnedArg) -> String {
    let OwnedArg::Tensor(tensor) = arg else { return "other".to_owned() };
    format!("{:?} by {:?}", tensor.dims(), tensor.strides())
}

/// Runs a kernel on the CPU and on its emulated GPU. The case is made twice: tensors keep their strides, and nothing is shared.
fn run(name: &str, make: impl Fn() -> generate::Case) -> Ended {
    let (mut here, mut there) = (make(), make());
    let tensors: Vec<String> = here.args.iter().map(described).collect();
    let (text, fields, device) = (here.text.clone(), here.schedule.clone(), here.device.clone());
    let wrong = |what: String| {
        let schedule: Vec<String> = fields.iter().map(|(field, values)| format!("{field} {values:?}")).collect();
        let (schedule, tensors) = (schedule.join(", "), tensors.join(", "));
        Ended::Wrong(format!("{name}: {what}\n{text}\n{schedule} on {device}, tensors {tensors}\n"))
    };
    let program = match Program::from_source_with("k.kiln", &here.text, ProgramOptions::without_cache()) {
        Ok(program) => program,
        Err(error) => return wrong(error.to_string()),
    };
    let kernel = program.kernel("k").unwrap_or_else(|e| panic!("{e}"));
    let scheduled = there.schedule.iter().fold(kernel.clone(), |k, (field, values)| k.schedule(field, values));
    let gpu = Device::from_name(&there.device).unwrap_or_else(|e| panic!("{e}"));
    if let Err(error) = launch(&scheduled, &gpu, &mut there.args).run() {
        let text = error.to_string();
        let code = text.split("error[").nth(1).and_then(|rest| rest.split(']').next()).unwrap_or_default();
        return if REFUSALS.contains(&code) { Ended::Refused(code.to_owned()) } else { wrong(text) };
    }
    let cpu = Device::cpu().unwrap_or_else(|e| panic!("{e}"));
    let ran = launch(&kernel, &cpu, &mut here.args).run().err().map(|e| e.to_string());
    if let Some(error) = ran {
        return wrong(format!("on the CPU: {error}"));
    }
    for &written in &here.written {
        let (expected, found) = (bytes(&here.args[written]), bytes(&there.args[written]));
        if let Some(at) = (0..expected.len()).find(|&i| expected[i] != found[i]) {
            let differing = expected.iter().zip(&found).filter(|(a, b)| a != b).count();
            return wrong(format!("parameter {written} differs at byte {at}, in {differing} of {} bytes", expected.len()));
        }
    }
    Ended::Right
}

/// The kernels to run.
fn range(usual: Range<u64>) -> Range<u64> {
    let Ok(text) = std::env::var("KILN_RANDOM_PRODUCTS") else { return usual };
    let parts = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parts.unwrap_or_else(|| panic!("KILN_RANDOM_PRODUCTS is FROM..TO, not `{text}`"))
}

fn all(kernels: Range<u64>) {
    let ended: Vec<Ended> = kernels.clone().into_par_iter().map(|n| run(&format!("kernel {n}"), || generate::case(n))).collect();
    let (mut right, mut refused, mut wrong) = (0, BTreeMap::<String, usize>::new(), vec![]);
    for end in ended {
        match end {
            Ended::Right => right += 1,
            Ended::Refused(code) => *refused.entry(code).or_default() += 1,
            Ended::Wrong(text) => wrong.push(text),
        }
    }
    println!("kernels {kernels:?}: {right} right, refused {refused:?}");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(
        2 * right as u64 >= kernels.end - kernels.start || kernels.end - kernels.start < 20,
        "most kernels run: {right}, {refused:?}"
    );
}

#[test]
fn schedules_change_nothing() {
    all(range(USUAL));
}

#[test]
#[ignore = "minutes: thousands of kernels"]
fn many_schedules_change_nothing() {
    all(range(FULL));
}

fn right(make: fn() -> generate::Case) {
    match run("kernel", make) {
        Ended::Right => {}
        Ended::Refused(code) => panic!("refused with {code}"),
        Ended::Wrong(text) => panic!("{text}"),
    }
}

#[test]
fn groups_with_rings_of_their_own() {
    right(known::groups_with_rings_of_their_own);
}

#[test]
fn rings_of_products_under_way() {
    right(known::rings_of_products_under_way);
}

#[test]
fn slots_of_one_program() {
    right(known::slots_of_one_program);
}

#[test]
fn one_operand_for_warps_and_warpgroups() {
    right(known::one_operand_for_warps_and_warpgroups);
}

#[test]
fn loops_behind_branches() {
    right(known::loops_behind_branches);
}

#[test]
fn loops_of_single_steps() {
    right(known::loops_of_single_steps);
}

#[test]
fn one_sum_of_warps_and_warpgroups() {
    right(known::one_sum_of_warps_and_warpgroups);
}
