//! Planted faults are reported with their kind and source line; the corrected twins run clean under every schedule.

use kiln_emulator::{Arch, Arg, Error, FaultKind, Limits, Options, Sanitizers, Schedule};

use crate::harness::{Gpu, SCHEDULES, floats};
use crate::{hopper, matrix};

tests! { faults_are_found_and_twins_are_clean, faults_of_sm_90_are_found_and_twins_are_clean, every_sanitizer_can_be_off, asynchronous_faults_are_found, a_missing_wait_is_reported_for_every_seed, a_missing_wait_shows_without_sanitizers, hostile_kernels_end }

const SOURCE: &str = include_str!("kernels/faulty.cu");

/// Threads and dynamic shared bytes of each pair, and the fault of the bad one.
const PAIRS: &[(&str, u32, u32, u32, FaultKind)] = &[
    ("oob_global", 2, 64, 0, FaultKind::OutOfBounds),
    ("oob_shared", 1, 64, 256, FaultKind::OutOfBounds),
    ("oob_wild", 1, 64, 0, FaultKind::OutOfBounds),
    ("align_vec", 1, 16, 0, FaultKind::Misaligned),
    ("align_shared", 1, 32, 0, FaultKind::Misaligned),
    ("align_word", 1, 32, 0, FaultKind::Misaligned),
    ("uninit_shared", 1, 32, 0, FaultKind::Uninitialized),
    ("uninit_global", 1, 32, 0, FaultKind::Uninitialized),
    ("uninit_atomic", 1, 32, 0, FaultKind::Uninitialized),
    ("race_reverse", 1, 128, 0, FaultKind::SharedRace),
    ("race_war", 1, 128, 0, FaultKind::SharedRace),
    ("race_counter", 1, 128, 0, FaultKind::SharedRace),
    ("global_same", 4, 32, 0, FaultKind::GlobalRace),
    ("global_sum", 4, 1, 0, FaultKind::GlobalRace),
    ("global_stencil", 2, 32, 0, FaultKind::GlobalRace),
    ("diverge_half", 1, 128, 0, FaultKind::BarrierDivergence),
    ("diverge_count", 1, 128, 0, FaultKind::BarrierDivergence),
    ("diverge_loop", 1, 128, 0, FaultKind::BarrierDivergence),
    ("race_cpasync", 1, 128, 0, FaultKind::SharedRace),
    ("deadlock", 1, 128, 0, FaultKind::Deadlock),
];

fn run(name: &str, kernel: &str, grid: u32, block: u32, smem: u32, schedule: Schedule) -> Result<(), Error> {
    run_on(&mut Gpu::new(SOURCE, Arch::Sm80, schedule), name, kernel, grid, block, smem)
}

fn run_on(g: &mut Gpu, name: &str, kernel: &str, grid: u32, block: u32, smem: u32) -> Result<(), Error> {
    let n = grid * block;
    // Only the kernels that are about it start from memory that nothing wrote.
    let o = if name.starts_with("uninit") {
        g.machine.alloc(4 * 256)?
    } else if name == "oob_global" {
        g.machine.alloc(4 * u64::from(n - 1))?
    } else {
        g.up(&[0f32; 256])
    };
    let n = if name == "oob_global" { n - 1 } else { n };
    g.try_run(kernel, [grid, 1, 1], [block, 1, 1], smem, vec![Arg::U32(n), Arg::Ptr(o)]).map(drop)
}

fn faults_are_found_and_twins_are_clean() {
    let mut wrong = vec![];
    for &(name, grid, block, smem, kind) in PAIRS {
        for schedule in SCHEDULES {
            match run(name, &format!("{name}_bad"), grid, block, smem, schedule) {
                Err(Error::Fault(f)) if f.kind == kind => {
                    let place = f.place.as_ref().expect("a place");
                    if place.source.is_none() || place.ptx_line == 0 {
                        wrong.push(format!("{name}_bad: no source line: {f}"));
                    }
                }
                other => wrong.push(format!("{name}_bad under {schedule:?}: {other:?}")),
            }
            if let Err(e) = run(name, &format!("{name}_ok"), grid, block, smem, schedule) {
                wrong.push(format!("{name}_ok under {schedule:?}: {e}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

const SOURCE90: &str = concat!(include_str!("kernels/sm90.cuh"), include_str!("kernels/faulty90.cu"));

/// Pairs on sm_90a and what may be reported of the bad one. Which comes first depends on the schedule: data that did not arrive
/// may be seen as missing or as racing with its arrival.
const PAIRS90: &[(&str, &[FaultKind])] = &[
    ("mb_double_arrive", &[FaultKind::MbarrierMisuse]),
    ("mb_no_init", &[FaultKind::MbarrierMisuse]),
    ("mb_overwritten", &[FaultKind::MbarrierMisuse]),
    ("mb_init_again", &[FaultKind::MbarrierMisuse]),
    ("wait_bulk_in", &[FaultKind::SharedRace]),
    ("wait_bulk_out", &[FaultKind::SharedRace]),
    ("wait_cp_async", &[FaultKind::SharedRace]),
    ("wait_one_group", &[FaultKind::SharedRace]),
    ("wait_wgmma", &[FaultKind::SharedRace]),
    ("fence_bulk", &[FaultKind::MissingProxyFence]),
    ("fence_early", &[FaultKind::MissingProxyFence]),
    ("fence_reduce", &[FaultKind::MissingProxyFence]),
    ("fence_global", &[FaultKind::MissingProxyFence]),
    ("fence_wgmma", &[FaultKind::MissingProxyFence]),
    ("flight_read", &[FaultKind::AccumulatorInFlight]),
    ("flight_write", &[FaultKind::AccumulatorInFlight]),
    ("flight_operand", &[FaultKind::AccumulatorInFlight]),
];

/// Runs a kernel of sm_90a; returns what it wrote.
fn run90(kernel: &str, options: Options) -> Result<Vec<f32>, Error> {
    let mut g = Gpu::new(SOURCE90, Arch::Sm90a, options.schedule);
    g.options = options;
    let x: Vec<f32> = (1..=1024).map(|i| i as f32).collect();
    let px = g.up(&x);
    let o = g.up(&[0f32; 1024]);
    g.try_run(kernel, [1; 3], [128, 1, 1], 0, vec![Arg::Ptr(px), Arg::Ptr(o)])?;
    g.machine.read(o, 1024)
}

fn faults_of_sm_90_are_found_and_twins_are_clean() {
    let mut wrong = vec![];
    for (name, kinds) in PAIRS90 {
        for schedule in SCHEDULES {
            let options = Options { schedule, ..Options::default() };
            match run90(&format!("{name}_bad"), options) {
                Err(Error::Fault(f)) if kinds.contains(&f.kind) => {
                    if f.place.as_ref().is_none_or(|p| p.source.is_none() || p.ptx_line == 0) {
                        wrong.push(format!("{name}_bad: no source line: {f}"));
                    }
                }
                // Eager completion leaves nothing in flight.
                Ok(_) if schedule == Schedule::Eager && kinds == &[FaultKind::AccumulatorInFlight] => {}
                Ok(_) => wrong.push(format!("{name}_bad under {schedule:?}: nothing found")),
                Err(e) => wrong.push(format!("{name}_bad under {schedule:?}: {e}")),
            }
            if let Err(e) = run90(&format!("{name}_ok"), options) {
                wrong.push(format!("{name}_ok under {schedule:?}: {e}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Switches off what reports a kind of fault.
fn without(kind: FaultKind) -> Sanitizers {
    let mut on = Sanitizers::ALL;
    match kind {
        FaultKind::OutOfBounds => on.bounds = false,
        FaultKind::Misaligned => on.alignment = false,
        FaultKind::Uninitialized => on.uninitialized = false,
        FaultKind::SharedRace | FaultKind::MissingProxyFence => on.shared_races = false,
        FaultKind::GlobalRace => on.global_races = false,
        FaultKind::BarrierDivergence | FaultKind::MbarrierMisuse => on.barriers = false,
        FaultKind::AccumulatorInFlight => on.in_flight = false,
        other => panic!("{other:?} has no switch"),
    }
    on
}

/// With its sanitizer off a fault is no longer reported as such. Some faults stop the machine all the same: an address in no
/// memory, an mbarrier that is none or counts below zero, a barrier at which nobody else will arrive.
fn every_sanitizer_can_be_off() {
    let always = ["oob_wild", "mb_no_init", "mb_double_arrive", "deadlock"];
    let mut wrong = vec![];
    for &(name, grid, block, smem, kind) in PAIRS.iter().filter(|p| !always.contains(&p.0)) {
        let mut g = Gpu::new(SOURCE, Arch::Sm80, Schedule::Lazy);
        g.options.sanitizers = without(kind);
        if let Err(Error::Fault(f)) = run_on(&mut g, name, &format!("{name}_bad"), grid, block, smem)
            && f.kind == kind
        {
            wrong.push(format!("{name}: {f}"));
        }
    }
    for (name, kinds) in PAIRS90.iter().filter(|p| !always.contains(&p.0)) {
        let options = Options { schedule: Schedule::Lazy, sanitizers: without(kinds[0]), ..Options::default() };
        if let Err(Error::Fault(f)) = run90(&format!("{name}_bad"), options)
            && f.kind == kinds[0]
        {
            wrong.push(format!("{name}: {f}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Twenty seeds of warp order, asynchronous operations as late as the waits allow.
fn late() -> impl Iterator<Item = Schedule> {
    (0..20).map(Schedule::LazyRandom).chain([Schedule::Lazy])
}

/// The kernels that lack a wait, with what they write when they have it.
const LATE: [&str; 5] = ["wait_bulk_in", "wait_bulk_out", "wait_cp_async", "wait_one_group", "flight_read"];

fn a_missing_wait_is_reported_for_every_seed() {
    for schedule in late().chain((0..20).map(Schedule::Random)) {
        let options = Options { schedule, ..Options::default() };
        for name in LATE.iter().chain(&["wait_wgmma"]) {
            assert!(run90(&format!("{name}_bad"), options).is_err(), "{name} under {schedule:?}");
        }
        assert!(bulk("bulk_no_wait", options).is_err(), "{schedule:?}");
        let mut g = Gpu::new(matrix::SOURCE, Arch::Sm80, schedule);
        assert!(matrix::gemm(&mut g, "gemm_no_wait", 64, 64, 96).is_err(), "{schedule:?}");
    }
}

/// Runs one of the bulk-copy kernels.
fn bulk(kernel: &str, options: Options) -> Result<Vec<f32>, Error> {
    let mut g = Gpu::new(hopper::SOURCE, Arch::Sm90a, options.schedule);
    g.options = options;
    let x: Vec<f32> = (1..=128 * 9).map(|i| i as f32).collect();
    let px = g.up(&x);
    let o = g.machine.alloc(2048)?;
    let mut params = vec![Arg::Ptr(px), Arg::Ptr(o)];
    let ring = kernel.starts_with("ring");
    if ring {
        params.push(Arg::U32(9));
    }
    g.try_run(kernel, [if ring { 1 } else { 2 }, 1, 1], [if ring { 160 } else { 256 }, 1, 1], 0, params)?;
    g.machine.read(o, if ring { 128 } else { 512 })
}

fn asynchronous_faults_are_found() {
    use FaultKind as F;
    let cases: &[(&str, &[F])] = &[
        ("bulk_no_wait", &[F::SharedRace, F::Uninitialized]),
        ("bulk_no_fence", &[F::MissingProxyFence]),
        ("bulk_no_barrier", &[F::SharedRace]),
        ("bulk_double_arrive", &[F::MbarrierMisuse]),
        ("bulk_no_init", &[F::MbarrierMisuse]),
        ("ring_no_empty", &[F::SharedRace, F::MbarrierMisuse]),
    ];
    let mut wrong = vec![];
    for (kernel, kinds) in cases {
        for schedule in SCHEDULES {
            match bulk(kernel, Options { schedule, ..Options::default() }) {
                Err(Error::Fault(f)) if kinds.contains(&f.kind) => {}
                other => wrong.push(format!("{kernel} under {schedule:?}: {other:?}")),
            }
        }
    }
    for schedule in SCHEDULES {
        for (kernel, kind) in [("wgmma_early", F::AccumulatorInFlight), ("wgmma_no_wait", F::Uninitialized)] {
            if (kernel, schedule) == ("wgmma_early", Schedule::Eager) {
                // Eager completion leaves nothing in flight.
                continue;
            }
            let mut g = Gpu::new(hopper::SOURCE, Arch::Sm90a, schedule);
            match hopper::wgmma(&mut g, kernel, 64, 64, 128) {
                Err(Error::Fault(f)) if f.kind == kind || f.kind == F::SharedRace => {}
                other => wrong.push(format!("{kernel} under {schedule:?}: {other:?}")),
            }
        }
        let mut g = Gpu::new(hopper::SOURCE, Arch::Sm90a, schedule);
        let o = g.machine.alloc(1024).unwrap();
        match g.try_run("dsmem_no_barrier", [4, 1, 1], [32, 1, 1], 0, vec![Arg::Ptr(o)]) {
            Err(Error::Fault(f)) if matches!(f.kind, F::SharedRace | F::Uninitialized) => {}
            other => wrong.push(format!("dsmem_no_barrier under {schedule:?}: {other:?}")),
        }
        for kernel in ["gemm_no_wait", "gemm_no_barrier"] {
            let mut g = Gpu::new(matrix::SOURCE, Arch::Sm80, schedule);
            match matrix::gemm(&mut g, kernel, 64, 64, 96) {
                Err(Error::Fault(f)) if matches!(f.kind, F::SharedRace | F::Uninitialized) => {}
                other => wrong.push(format!("{kernel} under {schedule:?}: {other:?}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// With every sanitizer off, a kernel that does not wait still gives a wrong answer: copies really are late.
fn a_missing_wait_shows_without_sanitizers() {
    for schedule in late() {
        let blind = Options { schedule, sanitizers: Sanitizers::NONE, ..Options::default() };
        for name in LATE {
            let right = run90(&format!("{name}_ok"), blind).expect("nothing to report");
            let got = run90(&format!("{name}_bad"), blind).expect("nothing to report");
            assert_ne!(got, right, "{name} under {schedule:?}");
        }
        let got = bulk("bulk_no_wait", blind).expect("nothing to report");
        assert_ne!(got, (1..=512).map(|i| i as f32 * 2.0).collect::<Vec<_>>(), "{schedule:?}");
        let mut g = Gpu::new(matrix::SOURCE, Arch::Sm80, schedule);
        g.options = blind;
        let off = matrix::gemm(&mut g, "gemm_no_wait", 64, 64, 96).expect("nothing to report");
        assert!(off > 0.01, "{schedule:?}");
    }
}

fn hostile_kernels_end() {
    let mut g = Gpu::new(SOURCE, Arch::Sm80, Schedule::Lazy);
    g.options.limits = Limits { instructions: 1_000_000, ..Limits::default() };
    let x = floats(1, 64, 0.0);
    let o = g.up(&x);
    for kernel in ["spin_forever", "forever"] {
        let error = g.try_run(kernel, [1; 3], [32, 1, 1], 0, vec![Arg::U32(32), Arg::Ptr(o)]).unwrap_err();
        assert_eq!(error.fault().map(|f| f.kind), Some(FaultKind::Limit), "{error}");
    }
    let huge = g.try_run("oob_shared_ok", [1; 3], [32, 1, 1], 1 << 30, vec![Arg::U32(32), Arg::Ptr(o)]);
    assert!(matches!(huge, Err(Error::Launch(_))));
    assert!(g.machine.alloc(1 << 60).is_err());
}
