//! Tuning spaces of hand-made signatures: which configurations a launch has, which are out and why, and the keys that winners are remembered by.

use super::*;
use crate::signature::{Candidate, Config, HostValue, TuneAxis, TuneSpace};

/// Field number of the schedule.
fn field(name: &str) -> HostExpr {
    HostExpr::ScheduleField(Schedule::FIELDS.iter().position(|f| *f == name).unwrap() as u8)
}

fn axis(name: &str, values: &[i64]) -> TuneAxis {
    TuneAxis { name: name.to_owned(), values: values.iter().map(|&v| int(v)).collect() }
}

fn at_most(a: HostExpr, b: HostExpr) -> HostExpr {
    HostExpr::Cmp(CmpOp::Le, a.into(), b.into())
}

/// The matmul with a space of tile heights and stages.
fn tuned(condition: Option<HostExpr>) -> KernelSignature {
    let mut sig = matmul();
    sig.tune = vec![TuneSpace { axes: vec![axis("BM", &[32, 64]), axis("stages", &[2, 4])], condition }];
    sig
}

/// The configurations of a launch with these sizes, as text, with the reasons of those that are out.
fn candidates(sig: &KernelSignature, [m, k, n]: [i64; 3], options: &LaunchOptions) -> Vec<(String, Option<String>)> {
    let (a, b, c) = (made(F32, 1 << 32, &[m, k]), made(F32, 2 << 32, &[k, n]), made(F32, 3 << 32, &[m, n]));
    let found = sig.candidates(&[a.arg(), b.arg(), c.arg()], options).unwrap();
    found.into_iter().map(|Candidate { config, bound }| (config.to_string(), bound.err())).collect()
}

fn key(sig: &KernelSignature, [m, k, n]: [i64; 3]) -> Vec<(String, HostValue)> {
    let (a, b, c) = (made(F32, 1 << 32, &[m, k]), made(F32, 2 << 32, &[k, n]), made(F32, 3 << 32, &[m, n]));
    sig.tuning_key(&[a.arg(), b.arg(), c.arg()], &none()).unwrap().key
}

#[test]
fn a_space_is_the_product_of_its_lists_in_order() {
    let sig = tuned(None);
    let found = candidates(&sig, [128, 64, 96], &none());
    assert_eq!(
        found.iter().map(|(c, _)| c.as_str()).collect::<Vec<_>>(),
        ["BM=32 stages=2", "BM=32 stages=4", "BM=64 stages=2", "BM=64 stages=4"]
    );
    assert!(found.iter().all(|(_, out)| out.is_none()), "{found:?}");
    // Several spaces stand one after the other; what both have is there once.
    let mut sig = sig;
    sig.tune.push(TuneSpace { axes: vec![axis("BM", &[64, 128]), axis("stages", &[4])], condition: None });
    let found = candidates(&sig, [128, 64, 96], &none());
    assert_eq!(
        found.iter().map(|(c, _)| c.as_str()).collect::<Vec<_>>(),
        ["BM=32 stages=2", "BM=32 stages=4", "BM=64 stages=2", "BM=64 stages=4", "BM=128 stages=4"]
    );
    assert_eq!(sig.swept(), ["BM", "stages"]);
}

#[test]
fn a_configuration_is_bound_with_its_values() {
    let sig = tuned(None);
    let (a, b, c) = (made(F32, 1 << 32, &[128, 64]), made(F32, 2 << 32, &[64, 96]), made(F32, 3 << 32, &[128, 96]));
    let found = sig.candidates(&[a.arg(), b.arg(), c.arg()], &none()).unwrap();
    let last = found.last().unwrap().bound.as_ref().unwrap();
    assert_eq!((last.spec.consts.as_slice(), last.spec.schedule.stages), (&[64][..], Some(4)));
    // The grid is the configuration's: cdiv(128, 64) x 96.
    assert_eq!(last.grid[..2], [2, 96]);
}

#[test]
fn conditions_see_the_schedule_and_the_shared_memory() {
    // stages * BM * 256 <= smem
    let bytes = op(BinaryOp::Mul, op(BinaryOp::Mul, field("stages"), constant(0)), int(256));
    let sig = tuned(Some(at_most(bytes, HostExpr::SharedMemory)));
    let with = |shared_memory| LaunchOptions { shared_memory, ..none() };
    let found = candidates(&sig, [128, 64, 96], &with(32 << 10));
    let out: Vec<bool> = found.iter().map(|(_, out)| out.is_some()).collect();
    assert_eq!(out, [false, false, false, true]);
    let reason = found[3].1.as_ref().unwrap();
    assert!(reason.starts_with("`if ") && reason.contains("does not hold"), "{reason}");
    // A CPU has no shared memory that could be too small.
    assert!(candidates(&sig, [128, 64, 96], &with(0)).iter().all(|(_, out)| out.is_none()));
}

#[test]
fn conditions_see_dimensions_and_requirements_hold_too() {
    // BM <= M
    let sig = tuned(Some(at_most(constant(0), dim(0))));
    let out: Vec<bool> = candidates(&sig, [48, 64, 96], &none()).iter().map(|(_, out)| out.is_some()).collect();
    assert_eq!(out, [false, false, true, true]);
    // requires M % BM == 0
    let mut sig = tuned(None);
    let remainder = op(BinaryOp::Rem, dim(0), constant(0));
    let condition = HostExpr::Cmp(CmpOp::Eq, remainder.into(), int(0).into());
    sig.requires = vec![Requirement { expr: condition, text: "M % BM == 0".to_owned(), loc: SrcLoc::UNKNOWN }];
    let found = candidates(&sig, [96, 64, 96], &none());
    let out: Vec<bool> = found.iter().map(|(_, out)| out.is_some()).collect();
    assert_eq!(out, [false, false, true, true]);
    assert!(found[2].1.as_ref().unwrap().contains("requires"), "{found:?}");
}

#[test]
fn values_that_a_field_does_not_take_are_out() {
    let mut sig = matmul();
    sig.tune = vec![TuneSpace { axes: vec![axis("warps", &[4, 3])], condition: None }];
    let found = candidates(&sig, [128, 64, 96], &none());
    assert!(found[0].1.is_none());
    assert!(found[1].1.as_ref().unwrap().contains("a power of two"), "{found:?}");
}

#[test]
fn what_a_launch_gives_is_not_swept() {
    let sig = tuned(None);
    let given = LaunchOptions { consts: vec![("BM".to_owned(), 16)], ..none() };
    let found = candidates(&sig, [128, 64, 96], &given);
    assert_eq!(found.iter().map(|(c, _)| c.as_str()).collect::<Vec<_>>(), ["BM=16 stages=2", "BM=16 stages=4"]);
    let given = LaunchOptions { schedule: vec![("stages".to_owned(), vec![3])], ..none() };
    let found = candidates(&sig, [128, 64, 96], &given);
    assert_eq!(found.iter().map(|(c, _)| c.as_str()).collect::<Vec<_>>(), ["BM=32 stages=3", "BM=64 stages=3"]);
}

/// A swept constant without a default: a launch can be looked at all the same, and has no defaults.
#[test]
fn lists_stand_in_for_missing_defaults() {
    let mut sig = tuned(None);
    sig.const_params = vec![const_param("BM", None)];
    assert_eq!(candidates(&sig, [128, 64, 96], &none()).len(), 4);
    let (a, b, c) = (made(F32, 1 << 32, &[128, 64]), made(F32, 2 << 32, &[64, 96]), made(F32, 3 << 32, &[128, 96]));
    let args = [a.arg(), b.arg(), c.arg()];
    assert!(sig.default_config(&args, &none()).is_err());
    // With one, the defaults are those of the constants; stages are the compiler's choice.
    let defaults = tuned(None).default_config(&args, &none()).unwrap();
    assert_eq!(defaults, Config([("BM".to_owned(), 128)].into()));
}

#[test]
fn keys_are_exact_in_buckets_or_powers_of_two() {
    let mut sig = tuned(None);
    assert_eq!(key(&sig, [100, 64, 96]), []);
    sig.tune_key = vec![dim(0), cdiv(dim(1), int(64)), HostExpr::Call(HostFn::NextPow2, vec![dim(2)])];
    let values = |sizes| key(&sig, sizes).into_iter().map(|(_, v)| v).collect::<Vec<_>>();
    assert_eq!(values([100, 64, 96]), [HostValue::Int(100), HostValue::Int(1), HostValue::Int(128)]);
    assert_eq!(values([101, 65, 128]), [HostValue::Int(101), HostValue::Int(2), HostValue::Int(128)]);
    assert_eq!(values([101, 128, 129]), [HostValue::Int(101), HostValue::Int(2), HostValue::Int(256)]);
    let names: Vec<String> = key(&sig, [1, 1, 1]).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["M", "cdiv(K, 64)", "next_pow2(N)"]);
}
