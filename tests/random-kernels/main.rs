//! Random well-typed kernels: the PTX on the emulator, with every sanitizer, against machine code on the CPU and against the reference evaluator. All memory
//! must agree bit for bit, one NaN being as good as another.
//!
//! Kernels have numbers, from which everything about them follows: a failure names the number, and `KILN_RANDOM_KERNELS=FROM..TO` runs any of them.

#[path = "../../compiler/passes/tests/preserve/generate.rs"]
mod generate;

use std::ffi::c_void;
use std::ops::Range;

use kiln_codegen::nvptx::{self, GpuTarget, PtxParam};
use kiln_compiler::host::{self, HostOptions};
use kiln_emulator::{Arch, Launch as GpuLaunch, Machine, Options, Schedule};
use kiln_ir::abi::HostContext;
use kiln_ir::verify::{CheckedModule, verify};
use kiln_ir::{Elem, Module, ScalarType};
use kiln_passes::{PassOptions, Target, pipeline};
use kiln_tests::oracle::{Arg, Lane, Launch, Memory};
use rayon::prelude::*;

/// Kernels of an ordinary run.
const USUAL: Range<u64> = 0..100;
/// Kernels of the full run.
const FULL: Range<u64> = 0..1000;

/// Programs of a launch.
const GRID: u32 = 3;

extern "C" fn ignore_assert(_: *mut c_void, _: u32, _: i64) {}
extern "C" fn ignore_print(_: *mut c_void, _: u32, _: i64, _: *const *const c_void) {}

/// The choices that kernel `number` is made of (splitmix64).
fn choices(number: u64) -> Vec<u32> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x6b69_6c6e;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) as u32
    };
    let length = next() % 400;
    (0..length).map(|_| next()).collect()
}

fn arguments(memory: &mut Memory, length: i64) -> Vec<Arg> {
    let floats = [0.5, -3.0, 7.25, f64::INFINITY, 1e30, -0.0, 2.0, f64::NAN, -1e-3, 100.0, 65504.0];
    let ints = [3.0, -1.0, 0.0, 127.0, -128.0, 2147483647.0, 17.0, -5.0, 4.0];
    vec![
        memory.tensor(ScalarType::F32, &[length], &floats),
        memory.tensor(ScalarType::F32, &[length], &floats[3..]),
        memory.tensor(ScalarType::I32, &[4, generate::WIDTH], &ints),
        Arg::Scalar(Lane::Int(-7)),
        Arg::Scalar(Lane::Float(2.5)),
        Arg::Scalar(Lane::Int(2)),
        Arg::Scalar(Lane::Int(1)),
    ]
}

/// The evaluator's memory as devices have it: every buffer of a generated kernel holds 32-bit elements.
fn words(memory: &Memory) -> Vec<Vec<u32>> {
    let word = |lane: &Lane| match *lane {
        Lane::Int(i) => i as u32,
        Lane::Float(f) => (f as f32).to_bits(),
        Lane::Ptr { .. } => 0,
    };
    memory.buffers.iter().map(|b| b.lanes.iter().map(word).collect()).collect()
}

fn with_words(memory: &Memory, words: &[Vec<u32>]) -> Memory {
    let mut after = memory.clone();
    for (buffer, words) in after.buffers.iter_mut().zip(words) {
        for (lane, &bits) in buffer.lanes.iter_mut().zip(words) {
            *lane = match buffer.elem {
                Elem::Scalar(ScalarType::F32) => Lane::Float(f64::from(f32::from_bits(bits))),
                _ => Lane::Int(i64::from(bits as i32)),
            };
        }
    }
    after
}

/// A scalar argument as a 64-bit word, of which a parameter takes its low bytes.
fn scalar(lane: &Lane) -> u64 {
    match *lane {
        Lane::Int(i) => i as u64,
        Lane::Float(f) => u64::from((f as f32).to_bits()),
        Lane::Ptr { .. } => panic!("generated kernels take no pointers"),
    }
}

fn on_cpu(module: &CheckedModule, memory: &Memory, args: &[Arg]) -> Result<Memory, String> {
    let options = HostOptions { opt_level: 1, ..HostOptions::default() };
    let object = host::compile(module, &options).map_err(|e| e.to_string())?;
    let kernel = host::load(&object).map_err(|e| e.to_string())?;
    let mut raw = words(memory);
    let mut slots = Vec::new();
    for arg in args {
        match arg {
            Arg::Tensor { buffer, offset, dims, strides } => {
                slots.push(raw[*buffer as usize].as_mut_ptr() as u64 + 4 * *offset as u64);
                slots.extend(dims.iter().chain(strides).map(|&v| v as u64));
            }
            // A 32-bit integer fills the low half only.
            Arg::Scalar(Lane::Int(i)) if *i < 0 => slots.push(u64::from(*i as u32)),
            Arg::Scalar(lane) => slots.push(scalar(lane)),
        }
    }
    let context = HostContext {
        grid: [i64::from(GRID), 1, 1, 1, 1],
        num_sms: 4,
        user: std::ptr::null_mut(),
        on_assert: ignore_assert,
        on_print: ignore_print,
        ..HostContext::default()
    };
    // SAFETY: the slots describe `raw`, which lives through the call.
    unsafe { kernel.call(slots.as_ptr(), &context, 0, i64::from(GRID)) };
    Ok(with_words(memory, &raw))
}

fn on_emulator(
    module: &CheckedModule,
    target: &str,
    schedule: Schedule,
    memory: &Memory,
    args: &[Arg],
) -> Result<Memory, String> {
    let gpu = GpuTarget::from_name(target).ok_or("no such target")?;
    let artifact = nvptx::compile(module, gpu, nvptx::Options::default()).map_err(|e| e.to_string())?;
    let mut machine = Machine::new(Arch::from_name(target).ok_or("no such architecture")?);
    let loaded = machine.load_ptx(&artifact.ptx).map_err(|e| format!("{e}\n{}", artifact.ptx))?;
    let raw = words(memory);
    let buffers: Vec<u64> = raw.iter().map(|b| machine.upload(b)).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let params = artifact
        .params
        .iter()
        .map(|param| {
            let tensor = |number: u32| match &args[number as usize] {
                Arg::Tensor { buffer, offset, dims, strides } => (buffers[*buffer as usize] + 4 * *offset as u64, dims, strides),
                Arg::Scalar(_) => panic!("parameter {number} is a scalar"),
            };
            let word = match *param {
                PtxParam::Base(number) => tensor(number).0,
                PtxParam::Dim { param, axis } => tensor(param).1[usize::from(axis)] as u64,
                PtxParam::Stride { param, axis } => tensor(param).2[usize::from(axis)] as u64,
                PtxParam::Value { param, .. } => match &args[param as usize] {
                    Arg::Scalar(lane) => scalar(lane),
                    Arg::Tensor { .. } => panic!("parameter {param} is a tensor"),
                },
                PtxParam::NumSms => 4,
                other => panic!("generated kernels have no {other:?}"),
            };
            kiln_emulator::Arg::Bytes(word.to_le_bytes()[..param.bytes() as usize].to_vec())
        })
        .collect();
    let launch = GpuLaunch {
        grid: [GRID, 1, 1],
        block: [32 * artifact.num_warps, 1, 1],
        cluster: None,
        smem: artifact.shared_bytes,
        params,
    };
    // Programs of generated kernels write the same elements, which is a race between programs and not of interest: one runs after the other, in order,
    // as on the CPU and in the evaluator.
    let mut sanitizers = kiln_emulator::Sanitizers::ALL;
    sanitizers.global_races = false;
    let limits = kiln_emulator::Limits { resident_ctas: 1, ..Default::default() };
    let options = Options { schedule, deterministic: true, counters: false, sanitizers, limits };
    machine.launch(loaded, &artifact.name, &launch, &options).map_err(|e| format!("{e}\n{}", artifact.ptx))?;
    let after: Vec<Vec<u32>> = buffers
        .iter()
        .zip(&raw)
        .map(|(&at, words)| machine.read::<u32>(at, words.len()))
        .collect::<Result<_, _>>()
        .map_err(|e| e.to_string())?;
    Ok(with_words(memory, &after))
}

fn lowered(module: &Module, target: Target) -> Result<CheckedModule, String> {
    let options = PassOptions { fits_32_bit: true, ..PassOptions::default() };
    pipeline::optimize(module.clone(), target, &options).map_err(|e| format!("{e}\n{module}"))
}

/// Whether the kernel ran (the evaluator gives up on some: they prove nothing), or what is wrong.
fn check(number: u64) -> Result<bool, String> {
    let module = verify(generate::module(&choices(number))).map_err(|(m, v)| format!("generated {v:#?}\n{m}"))?.into_inner();
    let target = ["sm_80", "sm_90a"][number as usize % 2];
    let schedule = [Schedule::Lazy, Schedule::Eager, Schedule::Random(number)][number as usize / 2 % 3];
    let host = lowered(&module, Target::Host)?;
    let gpu = lowered(&module, Target::Gpu(GpuTarget::from_name(target).ok_or("no such target")?))?;
    let mut ran = false;
    for length in [generate::WIDTH, 32] {
        let mut memory = Memory::default();
        let args = arguments(&mut memory, length);
        let start = memory.clone();
        if (Launch { grid: vec![i64::from(GRID)], args: args.clone(), num_sms: 4 }).run(&module, &mut memory).is_err() {
            continue;
        }
        ran = true;
        let cpu = on_cpu(&host, &start, &args).map_err(|e| format!("on the CPU: {e}\n{}", *host))?;
        let emulated =
            on_emulator(&gpu, target, schedule, &start, &args).map_err(|e| format!("on {target} {schedule:?}: {e}\n{}", *gpu))?;
        let differences = cpu.differences(&emulated);
        if !differences.is_empty() {
            return Err(format!("CPU and {target} differ: {differences:?}\n{}", *gpu));
        }
        let differences = memory.differences(&emulated);
        if !differences.is_empty() {
            return Err(format!("evaluator and {target} differ: {differences:?}\n{}", *gpu));
        }
    }
    Ok(ran)
}

fn run(numbers: Range<u64>) {
    let count = numbers.end - numbers.start;
    let results: Vec<(u64, Result<bool, String>)> = numbers.into_par_iter().map(|number| (number, check(number))).collect();
    let ran = results.iter().filter(|(_, r)| *r == Ok(true)).count() as u64;
    let failed: Vec<String> = results.iter().filter_map(|(n, r)| r.as_ref().err().map(|e| format!("kernel {n}: {e}"))).collect();
    println!("{count} kernels, {ran} of them ran, {} failed", failed.len());
    assert!(
        failed.is_empty(),
        "{} of {count} kernels failed; the first:\n{}",
        failed.len(),
        failed[..failed.len().min(3)].join("\n")
    );
    assert!(ran * 2 > count, "too few kernels ran: {ran} of {count}");
}

#[test]
fn random_kernels_agree() {
    let asked = std::env::var("KILN_RANDOM_KERNELS").ok();
    let range = asked.map(|text| {
        let (from, to) = text.split_once("..").expect("KILN_RANDOM_KERNELS is FROM..TO");
        from.parse().expect("a number")..to.parse().expect("a number")
    });
    run(range.unwrap_or(USUAL));
}

#[test]
#[ignore = "minutes: a thousand kernels"]
fn a_thousand_random_kernels_agree() {
    run(FULL);
}
