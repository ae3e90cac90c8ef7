//! PTX run on the emulator, with every sanitizer on, against the same kernel run on the CPU.

use std::ffi::c_void;

use kiln_codegen::host;
use kiln_codegen::nvptx::{GridMapping, PtxParam, TensorMap};
use kiln_emulator::{Arch, Arg, ElementType, Launch, Machine, Options, Report, Schedule, Swizzle};
use kiln_ir::ScalarType;
use kiln_ir::abi::HostContext;
use kiln_ir::text::parse_module;
use kiln_ir::verify::verify;

use crate::support::{kernel, ptx};
use crate::whole_language::{self, FLOATS, INTS};

/// An argument of a kernel.
#[derive(Clone, Debug)]
pub enum Input {
    /// Contents, extents, strides in elements.
    Tensor(Vec<u8>, Vec<i64>, Vec<i64>),
    /// A scalar in the low bytes.
    Scalar(u64),
}

extern "C" fn no_assert(_: *mut c_void, number: u32, _: i64) {
    panic!("assertion {number} failed on the CPU");
}
extern "C" fn no_print(_: *mut c_void, _: u32, _: i64, _: *const *const c_void) {}

/// Runs a kernel on the CPU; the tensors afterwards.
pub fn on_host(text: &str, grid: [u32; 2], inputs: &[Input]) -> Vec<Vec<u8>> {
    let module = verify(parse_module(text).expect("test input")).expect("test input");
    let object = host::compile(&module, &host::HostOptions::default()).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let kernel = host::load(&object).expect("host code loads");
    // 8-byte aligned copies.
    let mut memory: Vec<Vec<u64>> = Vec::new();
    let mut slots: Vec<u64> = Vec::new();
    for input in inputs {
        match input {
            Input::Tensor(bytes, dims, strides) => {
                let mut words = vec![0u64; bytes.len().div_ceil(8) + 8];
                let at = words.as_mut_ptr().cast::<u8>();
                // SAFETY: the words hold the bytes.
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
                slots.push(at as u64);
                slots.extend(dims.iter().chain(strides).map(|&v| v as u64));
                memory.push(words);
            }
            Input::Scalar(value) => slots.push(*value),
        }
    }
    let context = HostContext {
        grid: [i64::from(grid[0]), i64::from(grid[1]), 1, 1, 1],
        num_sms: 7,
        user: std::ptr::null_mut(),
        on_assert: no_assert,
        on_print: no_print,
        ..HostContext::default()
    };
    // SAFETY: the slots are what the kernel declares.
    unsafe { kernel.call(slots.as_ptr(), &context, 0, i64::from(grid[0] * grid[1])) };
    let tensors = inputs.iter().filter_map(|i| if let Input::Tensor(bytes, ..) = i { Some(bytes.len()) } else { None });
    memory.iter().zip(tensors).map(|(words, len)| words.iter().flat_map(|w| w.to_le_bytes()).take(len).collect()).collect()
}

/// Runs a kernel's PTX on the emulator; the tensors afterwards, and the counters.
pub fn on_emulator(text: &str, target: &str, grid: [u32; 2], inputs: &[Input]) -> (Vec<Vec<u8>>, Report) {
    on_emulator_as(text, target, grid, inputs, Schedule::Random(7))
}

/// As [`on_emulator`], under a schedule.
pub fn on_emulator_as(text: &str, target: &str, grid: [u32; 2], inputs: &[Input], schedule: Schedule) -> (Vec<Vec<u8>>, Report) {
    let artifact = ptx(text, target);
    let mut machine = Machine::new(match target {
        "sm_80" => Arch::Sm80,
        "sm_86" => Arch::Sm86,
        "sm_89" => Arch::Sm89,
        _ => Arch::Sm90a,
    });
    let module = machine.load_ptx(&artifact.ptx).unwrap_or_else(|e| panic!("{e}\n{}", artifact.ptx));
    let tensors: Vec<Option<(u64, usize)>> = inputs
        .iter()
        .map(|input| match input {
            Input::Tensor(bytes, ..) => Some((machine.upload(bytes.as_slice()).expect("memory"), bytes.len())),
            Input::Scalar(_) => None,
        })
        .collect();
    let params = artifact
        .params
        .iter()
        .map(|param| {
            let tensor = |number: u32| match &inputs[number as usize] {
                Input::Tensor(_, dims, strides) => (dims, strides),
                Input::Scalar(_) => panic!("parameter {number} is a scalar"),
            };
            match *param {
                PtxParam::Base(number) => Arg::Ptr(tensors[number as usize].expect("a tensor").0),
                PtxParam::Dim { param, axis } => Arg::I64(tensor(param).0[usize::from(axis)]),
                PtxParam::Stride { param, axis } => Arg::I64(tensor(param).1[usize::from(axis)]),
                PtxParam::Value { param, bytes } => match &inputs[param as usize] {
                    Input::Scalar(value) => Arg::Bytes(value.to_le_bytes()[..bytes as usize].to_vec()),
                    Input::Tensor(..) => Arg::Ptr(tensors[param as usize].expect("a tensor").0),
                },
                PtxParam::GridExtent(axis) => Arg::I64(grid.get(usize::from(axis)).map_or(1, |&g| i64::from(g))),
                PtxParam::NumSms => Arg::I64(7),
                PtxParam::TensorMap(map) => {
                    let (dims, strides) = tensor(map.param);
                    let (address, _) = tensors[map.param as usize].expect("a tensor");
                    Arg::Bytes(tensor_map(&map, address, dims, strides))
                }
                PtxParam::PrintBuffer | PtxParam::GridCounter => panic!("these kernels neither print nor wait for their grid"),
            }
        })
        .collect();
    let grid = match artifact.grid {
        GridMapping::Direct => [grid[0], grid[1], 1],
        GridMapping::Linear => [grid[0] * grid[1], 1, 1],
        GridMapping::Ordered { split, .. } => [grid[0] * grid[1] * split.unwrap_or(1), 1, 1],
        // Two multiprocessors, so that each has several programs.
        GridMapping::Persistent { .. } => [(grid[0] * grid[1]).min(2), 1, 1],
    };
    let launch = Launch { grid, block: [32 * artifact.num_warps, 1, 1], cluster: None, smem: artifact.shared_bytes, params };
    let options = Options { schedule, deterministic: true, ..Options::default() };
    let report =
        machine.launch(module, &artifact.name, &launch, &options).unwrap_or_else(|e| panic!("{e}\n{text}\n{}", artifact.ptx));
    let read = tensors.into_iter().flatten().map(|(at, len)| machine.read::<u8>(at, len).expect("memory")).collect();
    (read, report)
}

/// The bytes of a tensor map.
fn tensor_map(map: &TensorMap, address: u64, dims: &[i64], strides: &[i64]) -> Vec<u8> {
    let shape = map.shape(address, dims, strides);
    let element = match (map.elem, map.elem.bytes()) {
        _ if map.tf32 => ElementType::Tf32,
        (ScalarType::F16, _) => ElementType::F16,
        (ScalarType::BF16, _) => ElementType::Bf16,
        (ScalarType::F32, _) => ElementType::F32,
        (ScalarType::I32, _) => ElementType::S32,
        (_, 1) => ElementType::U8,
        (_, 2) => ElementType::U16,
        _ => ElementType::U32,
    };
    let made = kiln_emulator::TensorMap {
        element,
        // What takes the place of an empty tensor is any memory: these kernels then copy nothing.
        address: shape.address.unwrap_or(address),
        dims: shape.extents.to_vec(),
        strides: shape.byte_strides.to_vec(),
        tile: map.tile().iter().map(|&t| u32::from(t)).collect(),
        swizzle: match map.swizzle {
            kiln_ir::layout::Swizzle::None => Swizzle::None,
            kiln_ir::layout::Swizzle::B32 => Swizzle::B32,
            kiln_ir::layout::Swizzle::B64 => Swizzle::B64,
            kiln_ir::layout::Swizzle::B128 => Swizzle::B128,
        },
        nan_fill: false,
    };
    made.encode_tiled().unwrap_or_else(|e| panic!("{e}")).to_vec()
}

/// Runs a kernel on both and compares every tensor: floats of type `elem` within `tolerance` (relative, and absolute near 0),
/// everything else bit for bit.
fn agree(text: &str, target: &str, grid: [u32; 2], inputs: &[Input], elem: &str, tolerance: f64) {
    agree_on(text, target, grid, inputs, &vec![elem; inputs.len()], tolerance);
}

/// As [`agree`], with the element type of each tensor.
fn agree_on(text: &str, target: &str, grid: [u32; 2], inputs: &[Input], elems: &[&str], tolerance: f64) {
    let host = on_host(text, grid, inputs);
    let (gpu, _) = on_emulator(text, target, grid, inputs);
    for (number, ((host, gpu), elem)) in host.iter().zip(&gpu).zip(elems).enumerate() {
        let (host, gpu) = (values(host, elem), values(gpu, elem));
        for (i, (&h, &g)) in host.iter().zip(&gpu).enumerate() {
            let same = h == g || (h.is_nan() && g.is_nan()) || (h - g).abs() <= tolerance * (1.0 + h.abs().max(g.abs()));
            assert!(same, "tensor {number}, element {i}: CPU {h}, {target} {g}\n{text}");
        }
    }
}

/// Bytes of an element.
pub fn bytes_of(elem: &str) -> usize {
    match elem {
        "bool" | "i8" | "u8" | "f8e4m3" | "f8e5m2" => 1,
        "f16" | "bf16" | "i16" | "u16" => 2,
        "f32" | "i32" | "u32" => 4,
        _ => 8,
    }
}

pub fn values(bytes: &[u8], elem: &str) -> Vec<f64> {
    bytes
        .chunks(bytes_of(elem))
        .map(|c| {
            let mut word = [0u8; 8];
            word[..c.len()].copy_from_slice(c);
            let raw = u64::from_le_bytes(word);
            match elem {
                "f16" => half::f16::from_bits(raw as u16).to_f64(),
                "bf16" => half::bf16::from_bits(raw as u16).to_f64(),
                "f32" => f64::from(f32::from_bits(raw as u32)),
                "f64" => f64::from_bits(raw),
                "i8" => f64::from(raw as i8),
                "i16" => f64::from(raw as i16),
                "i32" => f64::from(raw as i32),
                "i64" => raw as i64 as f64,
                _ => raw as f64,
            }
        })
        .collect()
}

/// Random numbers of a type: small integers for integers (with some extremes), about normal for floats.
pub fn random(elem: &str, count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        state >> 33
    };
    let mut out = Vec::with_capacity(count * bytes_of(elem));
    for _ in 0..count {
        let r = next();
        let real = (r % 20001) as f64 / 5000.0 - 2.0;
        let whole = if r.is_multiple_of(13) { (r as i64) << (r % 40) } else { (r % 41) as i64 - 20 };
        match elem {
            "f16" => out.extend(half::f16::from_f64(real).to_le_bytes()),
            "bf16" => out.extend(half::bf16::from_f64(real).to_le_bytes()),
            "f32" => out.extend((real as f32).to_le_bytes()),
            "f64" => out.extend(real.to_le_bytes()),
            "bool" => out.push((r & 1) as u8),
            _ => out.extend(&whole.to_le_bytes()[..bytes_of(elem)]),
        }
    }
    out
}

/// A contiguous tensor.
pub fn tensor(elem: &str, dims: &[i64], seed: u64) -> Input {
    let mut strides = vec![1; dims.len()];
    for d in (0..dims.len().saturating_sub(1)).rev() {
        strides[d] = strides[d + 1] * dims[d + 1];
    }
    Input::Tensor(random(elem, dims.iter().product::<i64>() as usize, seed), dims.to_vec(), strides)
}

fn f32_bits(v: f32) -> Input {
    Input::Scalar(u64::from(v.to_bits()))
}

#[test]
fn first_kernels() {
    for n in [1024, 16, 3200] {
        let inputs = [tensor("f32", &[n], 1), tensor("f32", &[n], 2), tensor("f32", &[n], 3)];
        agree(&kernel("vector_add"), "sm_80", [(n as u32).div_ceil(1024), 1], &inputs, "f32", 0.0);
    }
    for (rows, columns) in [(3, 1024), (2, 784), (1, 16)] {
        for warps in [1, 2, 4, 16] {
            let text = kernel("softmax").replace("warps 4", &format!("warps {warps}"));
            let inputs = [tensor("f32", &[rows, columns], 4), tensor("f32", &[rows, columns], 5)];
            agree(&text, "sm_90a", [rows as u32, 1], &inputs, "f32", 1e-6);
        }
    }
    let inputs = [
        tensor("f16", &[3, 1024], 6),
        tensor("f16", &[1024], 7),
        tensor("f16", &[1024], 8),
        tensor("f16", &[3, 1024], 9),
        f32_bits(1e-5),
    ];
    agree(&kernel("layer_norm"), "sm_80", [3, 1], &inputs, "f16", 2e-3);
    // Rows and columns that the tiles overlap.
    let inputs = [tensor("bf16", &[13, 496], 10), tensor("bf16", &[496], 11), tensor("bf16", &[13, 496], 12), f32_bits(1e-5)];
    agree(&kernel("rms_norm"), "sm_90a", [2, 1], &inputs, "bf16", 2e-2);
    let inputs = [tensor("f32", &[70, 160], 13), tensor("f32", &[70], 14)];
    agree(&kernel("grouped_rows"), "sm_80", [3, 1], &inputs, "f32", 1e-5);
}

/// The kernels of `whole_language`, on tensors smaller and larger than their tiles.
#[test]
fn operators() {
    for elem in FLOATS.iter().chain(&INTS) {
        let text = whole_language::operators_of(elem);
        for n in [256, 200] {
            // Divisions and roots leave the ranges of f16, so compare loosely there: each operator is exact or nearly so.
            let tolerance = match *elem {
                "f16" => 4e-3,
                "bf16" => 3e-2,
                "f32" => 1e-5,
                "f64" => 1e-12,
                _ => 0.0,
            };
            agree(&text, "sm_80", [1, 1], &[tensor(elem, &[n], 20), tensor(elem, &[256], 21)], elem, tolerance);
        }
    }
}

#[test]
fn casts() {
    for from in FLOATS.iter().chain(&INTS).chain(&["bool"]) {
        let text = whole_language::casts_of(from);
        // The sum of all results as f64 shows every one of them.
        let inputs = [tensor(from, &[64], 30), tensor("f64", &[64], 31)];
        agree_on(&text, "sm_90a", [1, 1], &inputs, &[from, "f64"], 0.0);
    }
}

#[test]
fn reductions() {
    for (_, elem, axis, text) in whole_language::reductions_of() {
        let rest = if axis == 0 { 96 } else { 40 };
        for (rows, columns) in [(40, 96), (33, 50)] {
            let inputs = [tensor(elem, &[rows, columns], 40), tensor(elem, &[rest], 41)];
            let tolerance = if elem == "f32" { 1e-5 } else { 0.0 };
            agree(&text, "sm_90a", [1, 1], &inputs, elem, tolerance);
        }
    }
    let inputs = [tensor("f32", &[40, 96], 42), tensor("i32", &[40], 43)];
    let (host, gpu) = (
        on_host(&whole_language::arg_max(), [1, 1], &inputs),
        on_emulator(&whole_language::arg_max(), "sm_80", [1, 1], &inputs).0,
    );
    assert_eq!(host[1], gpu[1]);
    // The composition of affine maps does not commute.
    let inputs = [tensor("f32", &[300], 44), tensor("f32", &[300], 45)];
    agree(&whole_language::affine(), "sm_80", [1, 1], &inputs, "f32", 1e-5);
}

#[test]
fn scans() {
    for (shape, text) in whole_language::scans_of() {
        let inputs = [tensor("f32", &shape, 50), tensor("f32", &shape, 51)];
        agree(&text, "sm_90a", [1, 1], &inputs, "f32", 1e-5);
    }
}

#[test]
fn shapes() {
    for (text, out) in whole_language::shapes_of() {
        let inputs = [tensor("f32", &[40, 96], 60), tensor("f32", &out, 61)];
        agree(&text, "sm_80", [1, 1], &inputs, "f32", 0.0);
    }
}

#[test]
fn products() {
    for (text, elem, [a, b, c], out) in whole_language::dots_of() {
        let inputs = [tensor(elem, &a, 90), tensor(elem, &b, 91), tensor(out, &c, 92)];
        agree_on(&text, "sm_80", [1, 1], &inputs, &[elem, elem, out], if out == "i32" { 0.0 } else { 1e-4 });
    }
}

#[test]
fn whole_tiles() {
    for (text, elem, dims, out, out_dims) in whole_language::wholes_of() {
        let inputs = [tensor(elem, &dims, 95), tensor(out, &out_dims, 96)];
        agree_on(&text, "sm_90a", [1, 1], &inputs, &[elem, out], 0.0);
    }
}

#[test]
fn control_flow() {
    let inputs = [tensor("f32", &[512], 70), tensor("f32", &[512], 71)];
    agree(&whole_language::nested_loops(), "sm_90a", [1, 1], &inputs, "f32", 1e-4);
}

#[test]
fn gathers() {
    let rows = 23i64;
    let index: Vec<u8> = (0..32i64).flat_map(|i| ((i * 7) % (rows + 3) - 1).to_le_bytes()).collect();
    let inputs = [tensor("f32", &[4, rows, 64], 80), Input::Tensor(index, vec![32], vec![1]), tensor("f32", &[32, 64], 81)];
    agree(&whole_language::gathers_of(), "sm_80", [1, 1], &inputs, "f32", 0.0);
}
