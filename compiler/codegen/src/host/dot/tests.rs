//! Every element type, extents around the blocks' edges, any strides and bounds, against f64 and i64 references; the shuffles against plain loops.

use half::{bf16, f16};

use kiln_ir::ops::ScaledFormat;

use super::scaled::{DotScaled, ScaledOperand};
use super::source::{Strided, Valid};
use super::*;
use crate::host::testing::native_code;
use crate::llvm::Llvm;
use crate::llvm_target::host_features;

/// `fn(a, b, c, scratch, numbers)`: numbers are, for A then B: row stride, column stride, lo and hi of rows, lo and hi of columns.
type Entry = unsafe extern "C" fn(*const u8, *const u8, *mut u8, *mut u8, *const i64);

/// One operand of a test: bytes of a matrix with strides, the contiguous axis told to the generator, bounds.
#[derive(Clone, Copy, Debug, Default)]
struct Layout {
    transposed: bool,
    /// Elements between neighbours along the fast axis; above 1 nothing is contiguous.
    gap: usize,
    valid: Option<[[i64; 2]; 2]>,
    /// A tile buffer: aligned, no gaps.
    tile: bool,
}

impl Layout {
    const PLAIN: Layout = Layout { transposed: false, gap: 1, valid: None, tile: false };
}

/// Machine code of one dot. The process keeps it.
struct Jit {
    entry: Entry,
    scratch: Vec<u128>,
}

fn machine_of(features: &str) -> Machine {
    let has = |name: &str| features.split(',').any(|f| f == format!("+{name}"));
    if has("avx512f") {
        Machine { vector_bytes: 64, registers: 32, i16_pairs: has("avx512bw") }
    } else if has("avx2") {
        Machine { vector_bytes: 32, registers: 16, i16_pairs: true }
    } else {
        Machine { vector_bytes: 16, registers: if cfg!(target_arch = "aarch64") { 32 } else { 16 }, i16_pairs: has("sse2") }
    }
}

/// Compiles a dot for this processor.
#[allow(clippy::too_many_arguments)]
fn compile(
    machine: Machine,
    mnk: [u32; 3],
    elem: ScalarType,
    acc: ScalarType,
    precision: DotPrecision,
    layouts: [Layout; 2],
    fresh: bool,
) -> Jit {
    let llvm = Llvm::new("dot");
    let e = Emit(&llvm);
    let function = e.add_function("entry", e.fn_ty(e.void(), &[e.ptr(); 5]));
    e.at_end(e.block_in(function, ""));
    let number = |n: u64| e.load(e.i64(), e.at_const(e.i64(), e.param(function, 4), n), 8);
    let [m, n, k] = mnk;
    let operand = |which: usize, extents: [u32; 2]| {
        let first = which as u64 * 6;
        let valid = |axis: usize| {
            layouts[which].valid.map(|_| {
                let at = first + 2 + 2 * axis as u64;
                Valid::new(&e, number(at), number(at + 1), extents[axis])
            })
        };
        Strided {
            elem,
            extents,
            ptr: e.param(function, which as u32),
            strides: [number(first), number(first + 1)],
            contiguous: match layouts[which] {
                Layout { gap: 2.., .. } => None,
                Layout { transposed: true, .. } => Some(Axis::Row),
                _ => Some(Axis::Col),
            },
            tile_stride: layouts[which].tile.then_some(extents[1]),
            valid: [valid(0), valid(1)],
        }
    };
    let (a, b) = (operand(0, [m, k]), operand(1, [k, n]));
    let dot = Dot::new(machine, mnk, elem, acc, precision).expect("a supported dot");
    let accumulator = Accumulator { ptr: e.param(function, 2), row_stride: n, fresh };
    dot.emit(&e, &a, &b, accumulator, e.param(function, 3));
    e.ret_void();
    // SAFETY: the function was declared with this signature.
    let entry = unsafe { std::mem::transmute::<usize, Entry>(native_code(&llvm, "entry")) };
    Jit { entry, scratch: vec![0; dot.scratch_bytes() as usize / 16 + 4] }
}

/// Pseudo-random small numbers.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }
}

/// A number of `elem` as bytes and as the f64 it stands for. Integers use the whole range of 8 bits.
fn random_element(elem: ScalarType, numbers: &mut Numbers) -> (Vec<u8>, f64) {
    use ScalarType::*;
    let unit = numbers.next() as f64 / (1u64 << 31) as f64 * 2.0 - 1.0;
    let byte = numbers.next() as u8;
    match elem {
        F32 => ((unit as f32).to_le_bytes().into(), f64::from(unit as f32)),
        F64 => (unit.to_le_bytes().into(), unit),
        F16 => (f16::from_f64(unit).to_le_bytes().into(), f16::from_f64(unit).to_f64()),
        BF16 => (bf16::from_f64(unit).to_le_bytes().into(), bf16::from_f64(unit).to_f64()),
        I8 => (vec![byte], f64::from(byte as i8)),
        U8 => (vec![byte], f64::from(byte)),
        I32 => (i32::from(byte as i8).to_le_bytes().into(), f64::from(byte as i8)),
        I64 => (i64::from(byte as i8).to_le_bytes().into(), f64::from(byte as i8)),
        F8E4M3 => {
            let byte = if byte & 0x7f == 0x7f { 0x08 } else { byte };
            (vec![byte], e4m3(byte))
        }
        F8E5M2 => {
            let byte = if byte & 0x7c == 0x7c { 0x3c } else { byte };
            (vec![byte], f16::from_bits(u16::from(byte) << 8).to_f64())
        }
        other => panic!("no random {other}"),
    }
}

/// The definition of e4m3, for finite values.
fn e4m3(byte: u8) -> f64 {
    let sign = if byte & 0x80 != 0 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(byte >> 3 & 15), f64::from(byte & 7) / 8.0);
    sign * if exponent == 0 { fraction * 2f64.powi(-6) } else { (1.0 + fraction) * 2f64.powi(exponent - 7) }
}

/// Bytes copied to where a vector may be loaded from.
struct Aligned(Vec<u128>, usize);

impl Aligned {
    fn new(bytes: &[u8]) -> Aligned {
        let mut room = vec![0u128; bytes.len() / 16 + 5];
        let start = room.as_mut_ptr().cast::<u8>().align_offset(64);
        // SAFETY: a multiple of 16 within `room`, which has room for 64 bytes more than `bytes` has.
        let into = unsafe { std::slice::from_raw_parts_mut(room.as_mut_ptr().cast::<u8>().add(start), bytes.len()) };
        into.copy_from_slice(bytes);
        Aligned(room, start)
    }

    fn ptr(&self) -> *const u8 {
        self.0.as_ptr().cast::<u8>().wrapping_add(self.1)
    }
}

/// An operand's bytes, its strides and its values with those out of bounds as 0.
fn random_matrix(elem: ScalarType, extents: [usize; 2], layout: Layout, numbers: &mut Numbers) -> (Vec<u8>, [i64; 2], Vec<f64>) {
    let gap = layout.gap.max(1);
    let [rows, cols] = extents;
    let pad = if layout.tile { 0 } else { 3 };
    let strides = if layout.transposed { [gap, rows * gap + pad] } else { [cols * gap + pad, gap] };
    let size = elem.bytes() as usize;
    let mut bytes = vec![0u8; ((rows - 1) * strides[0] + (cols - 1) * strides[1] + 1) * size];
    let mut values = vec![0.0; rows * cols];
    for r in 0..rows {
        for c in 0..cols {
            let (element, value) = random_element(elem, numbers);
            let at = (r * strides[0] + c * strides[1]) * size;
            bytes[at..at + size].copy_from_slice(&element);
            let inside = layout
                .valid
                .is_none_or(|[rows, cols]| (rows[0]..rows[1]).contains(&(r as i64)) && (cols[0]..cols[1]).contains(&(c as i64)));
            values[r * cols + c] = if inside { value } else { 0.0 };
        }
    }
    (bytes, strides.map(|s| s as i64), values)
}

/// Runs one dot and compares it with the reference.
fn check(elem: ScalarType, mnk: [u32; 3], layouts: [Layout; 2], fresh: bool) {
    check_on(machine_of(&host_features()), elem, mnk, layouts, fresh)
}

fn check_on(machine: Machine, elem: ScalarType, mnk: [u32; 3], layouts: [Layout; 2], fresh: bool) {
    let [m, n, k] = mnk.map(|d| d as usize);
    let mut numbers = Numbers(m as u64 * 1_000_003 + n as u64 * 1009 + k as u64);
    let (a_bytes, a_strides, a) = random_matrix(elem, [m, k], layouts[0], &mut numbers);
    let (b_bytes, b_strides, b) = random_matrix(elem, [k, n], layouts[1], &mut numbers);
    let acc = elem.acc();
    let acc = if acc == ScalarType::U32 { ScalarType::I32 } else { acc };
    let mut jit = compile(machine, mnk, elem, acc, DotPrecision::Ieee, layouts, fresh);
    let size = acc.bytes() as usize;
    // One row past the end must stay untouched.
    let start = |i: usize| (i % 17) as f64 - 8.0;
    let mut c: Vec<u8> = (0..(m + 1) * n)
        .flat_map(|i| match acc {
            ScalarType::F32 => (start(i) as f32).to_le_bytes().to_vec(),
            ScalarType::F64 => start(i).to_le_bytes().to_vec(),
            ScalarType::I32 => (start(i) as i32).to_le_bytes().to_vec(),
            _ => (start(i) as i64).to_le_bytes().to_vec(),
        })
        .collect();
    let bounds = |layout: Layout| layout.valid.unwrap_or_default().concat();
    let mut args = a_strides.to_vec();
    args.extend(bounds(layouts[0]));
    args.extend(b_strides);
    args.extend(bounds(layouts[1]));
    let scratch = jit.scratch.as_mut_ptr().cast::<u8>();
    let scratch = scratch.wrapping_add(scratch.align_offset(64));
    let (a_bytes, b_bytes) = (Aligned::new(&a_bytes), Aligned::new(&b_bytes));
    unsafe { (jit.entry)(a_bytes.ptr(), b_bytes.ptr(), c.as_mut_ptr(), scratch, args.as_ptr()) };
    for i in 0..(m + 1) * n {
        let bytes = &c[i * size..(i + 1) * size];
        let got = match acc {
            ScalarType::F32 => f64::from(f32::from_le_bytes(bytes.try_into().unwrap())),
            ScalarType::F64 => f64::from_le_bytes(bytes.try_into().unwrap()),
            ScalarType::I32 => f64::from(i32::from_le_bytes(bytes.try_into().unwrap())),
            _ => i64::from_le_bytes(bytes.try_into().unwrap()) as f64,
        };
        let (r, col) = (i / n, i % n);
        if r == m {
            assert_eq!(got, start(i), "{elem} {mnk:?} {layouts:?}: wrote past the accumulator");
            continue;
        }
        let from = if fresh { 0.0 } else { start(i) };
        let terms = || (0..k).map(|x| a[r * k + x] * b[x * n + col]);
        let want = from + terms().sum::<f64>();
        let magnitude = from.abs() + terms().map(f64::abs).sum::<f64>();
        let unit = match acc {
            ScalarType::F32 => f64::from(f32::EPSILON) / 2.0,
            ScalarType::F64 => f64::EPSILON / 2.0,
            _ => 0.0,
        };
        // The bound of a sum of k + 1 terms taken in any order (Higham, "Accuracy and Stability of Numerical Algorithms", 3.1).
        let bound = (k + 2) as f64 * unit * magnitude;
        assert!((got - want).abs() <= bound, "{elem} {mnk:?} {layouts:?} ({r}, {col}): {got}, expected {want} within {bound:e}");
    }
}

const PLAIN: [Layout; 2] = [Layout::PLAIN; 2];

#[test]
fn every_type_at_odd_extents() {
    use ScalarType::*;
    for elem in [F32, F64, F16, BF16, F8E4M3, F8E5M2, I8, U8, I32, I64] {
        for mnk in [[1, 1, 1], [2, 3, 5], [17, 33, 9], [31, 70, 67]] {
            check(elem, mnk, PLAIN, false);
        }
    }
}

#[test]
fn extents_around_the_blocks() {
    for m in [1, 2, 13, 14, 15, 29] {
        for n in [1, 15, 16, 17, 33, 48, 65] {
            check(ScalarType::F32, [m, n, 1 + (m * n) % 70], PLAIN, (m + n) % 2 == 0);
        }
    }
    for k in [1, 3, 4, 7, 8, 11, 256, 384, 385, 512, 777] {
        check(ScalarType::F32, [5, 20, k], PLAIN, true);
        check(ScalarType::I8, [5, 20, k], PLAIN, true);
    }
}

#[test]
fn any_strides() {
    for elem in [ScalarType::F32, ScalarType::F64, ScalarType::BF16, ScalarType::I8] {
        for a in [Layout { transposed: true, gap: 1, ..Layout::PLAIN }, Layout { transposed: false, gap: 3, ..Layout::PLAIN }] {
            for b in [Layout { transposed: true, gap: 1, ..Layout::PLAIN }, Layout { transposed: true, gap: 2, ..Layout::PLAIN }]
            {
                check(elem, [19, 37, 43], [a, b], false);
                check(elem, [16, 64, 32], [b, a], true);
            }
        }
    }
}

#[test]
fn tile_buffers_are_read_in_place() {
    let tile = Layout { tile: true, ..Layout::PLAIN };
    for elem in [ScalarType::F32, ScalarType::F64, ScalarType::I32, ScalarType::F16] {
        for mnk in [[16, 64, 48], [9, 32, 400], [40, 48, 24], [7, 13, 5]] {
            check(elem, mnk, [tile, tile], false);
            check(elem, mnk, [tile, Layout::PLAIN], true);
        }
    }
}

#[test]
fn bounds_read_zero() {
    let cases =
        [[[0, 10], [0, 20]], [[-3, 100], [4, 17]], [[5, 5], [0, 9]], [[9, 2], [0, 9]], [[-9, -2], [50, 90]], [[0, 33], [0, 40]]];
    for elem in [ScalarType::F32, ScalarType::F16, ScalarType::I8] {
        for valid in cases {
            for transposed in [false, true] {
                for gap in [1, 2] {
                    let bounded = Layout { transposed, gap, valid: Some(valid), tile: false };
                    check(elem, [33, 24, 40], [bounded, PLAIN[1]], false);
                    check(elem, [24, 40, 33], [PLAIN[0], bounded], false);
                }
            }
        }
    }
}

#[test]
fn narrower_vectors() {
    let features = host_features();
    if !cfg!(target_arch = "x86_64") || !features.split(',').any(|f| f == "+avx2") {
        return;
    }
    for machine in [
        Machine { vector_bytes: 32, registers: 16, i16_pairs: true },
        Machine { vector_bytes: 16, registers: 32, i16_pairs: false },
        Machine { vector_bytes: 16, registers: 16, i16_pairs: true },
    ] {
        for elem in [ScalarType::F32, ScalarType::F64, ScalarType::I8, ScalarType::F8E4M3] {
            for transposed in [false, true] {
                check_on(machine, elem, [20, 43, 37], [Layout { transposed, gap: 1, ..Layout::PLAIN }; 2], false);
            }
        }
    }
}

#[test]
fn tf32_rounds_to_nearest_even() {
    let machine = machine_of(&host_features());
    let mut jit = compile(machine, [1, 1, 1], ScalarType::F32, ScalarType::F32, DotPrecision::Tf32, PLAIN, true);
    let ulp = f32::EPSILON;
    let step = 2f32.powi(-10);
    let cases = [
        (1.0 + step / 2.0, 1.0),
        (1.0 + step / 2.0 + ulp, 1.0 + step),
        (1.0 + step * 1.5, 1.0 + 2.0 * step),
        (-1.0 - step * 1.5 + ulp, -1.0 - step),
        (f32::MAX, f32::INFINITY),
        (f32::INFINITY, f32::INFINITY),
    ];
    for (input, want) in cases {
        let mut c = [0f32];
        let args = [1i64; 12];
        let scratch = jit.scratch.as_mut_ptr().cast::<u8>();
        let scratch = scratch.wrapping_add(scratch.align_offset(64));
        let (a, b) = ([input], [1f32]);
        unsafe { (jit.entry)(a.as_ptr().cast(), b.as_ptr().cast(), c.as_mut_ptr().cast(), scratch, args.as_ptr()) };
        assert_eq!(c[0], want, "tf32 of {input}");
        let nan = [f32::from_bits(0x7fff_ffff)];
        unsafe { (jit.entry)(nan.as_ptr().cast(), b.as_ptr().cast(), c.as_mut_ptr().cast(), scratch, args.as_ptr()) };
        assert!(c[0].is_nan());
    }
}

#[test]
fn unsupported_dots_are_refused() {
    let machine = machine_of(&host_features());
    assert!(Dot::new(machine, [4, 4, 4], ScalarType::Bool, ScalarType::I32, DotPrecision::Ieee).is_none());
    assert!(Dot::new(machine, [4, 4, 4], ScalarType::F16, ScalarType::F16, DotPrecision::Ieee).is_none());
}

/// The definition of a small float: sign, exponent with `bias`, fraction; no specials.
fn small_float(code: u32, exponent_bits: u32, fraction_bits: u32, bias: i32) -> f64 {
    let sign = if code >> (exponent_bits + fraction_bits) & 1 == 1 { -1.0 } else { 1.0 };
    let exponent = (code >> fraction_bits & ((1 << exponent_bits) - 1)) as i32;
    let fraction = f64::from(code & ((1 << fraction_bits) - 1)) / f64::from(1 << fraction_bits);
    sign * if exponent == 0 { fraction * 2f64.powi(1 - bias) } else { (1.0 + fraction) * 2f64.powi(exponent - bias) }
}

/// Random finite elements of a format: packed bytes of a row-major `[rows, cols]` and their values; e2m1 pairs run along `pair_axis`.
fn random_scaled(format: ScaledFormat, rows: usize, cols: usize, pair_axis: usize, numbers: &mut Numbers) -> (Vec<u8>, Vec<f64>) {
    let mut bytes = vec![0; rows * cols * 2];
    let mut values = vec![0.0; rows * cols];
    for r in 0..rows {
        for c in 0..cols {
            let code = numbers.next() as u32;
            let at = r * cols + c;
            let finite = |top: u32| if code & top == top { 0x08 } else { code & 0xff };
            match format {
                ScaledFormat::E2M1 => {
                    let (byte, high) = if pair_axis == 0 { (r / 2 * cols + c, r % 2) } else { ((r * cols + c) / 2, c % 2) };
                    bytes[byte] |= ((code & 15) << (4 * high)) as u8;
                    values[at] = small_float(code & 15, 2, 1, 1);
                }
                ScaledFormat::E2M3 | ScaledFormat::E3M2 => {
                    bytes[at] = (code & 63) as u8;
                    let (exponent, fraction, bias) = if format == ScaledFormat::E2M3 { (2, 3, 1) } else { (3, 2, 3) };
                    values[at] = small_float(code & 63, exponent, fraction, bias);
                }
                ScaledFormat::E4M3 => {
                    bytes[at] = finite(0x7f) as u8;
                    values[at] = e4m3(bytes[at]);
                }
                ScaledFormat::E5M2 => {
                    bytes[at] = finite(0x7c) as u8;
                    values[at] = small_float(bytes[at].into(), 5, 2, 15);
                }
                ScaledFormat::Bf16 | ScaledFormat::F16 => {
                    let value = f64::from(code % 4001) / 1000.0 - 2.0;
                    let f16_bits = (f16::from_f64(value).to_le_bytes(), f16::from_f64(value).to_f64());
                    let bf16_bits = (bf16::from_f64(value).to_le_bytes(), bf16::from_f64(value).to_f64());
                    let (two, exact) = if format == ScaledFormat::F16 { f16_bits } else { bf16_bits };
                    bytes[2 * at..2 * at + 2].copy_from_slice(&two);
                    values[at] = exact;
                }
            }
        }
    }
    (bytes, values)
}

#[test]
fn scaled_operands() {
    let formats = ScaledFormat::ALL.iter().map(|&f| (f, ScaledFormat::E2M1)).chain([(ScaledFormat::E2M1, ScaledFormat::F16)]);
    for (number, (a_format, b_format)) in formats.enumerate() {
        let [m, n, k] = [[5u32, 17, 32], [20, 33, 96], [3, 16, 288]][number % 3];
        let (a_format, b_format) = if number % 2 == 0 { (a_format, b_format) } else { (b_format, a_format) };
        let llvm = Llvm::new("scaled");
        let e = Emit(&llvm);
        let function = e.add_function("entry", e.fn_ty(e.void(), &[e.ptr(); 6]));
        e.at_end(e.block_in(function, ""));
        let p = |n| e.param(function, n);
        let dot = DotScaled::new(machine_of(&host_features()), [m, n, k]).unwrap();
        let operand = |elements, scales, format| ScaledOperand { elements: p(elements), scales: p(scales), format };
        let acc = Accumulator { ptr: p(4), row_stride: n, fresh: true };
        dot.emit(&e, operand(0, 1, a_format), operand(2, 3, b_format), acc, p(5));
        e.ret_void();
        type Entry = unsafe extern "C" fn(*const u8, *const u8, *const u8, *const u8, *mut f32, *mut u8);
        // SAFETY: declared with this signature above.
        let entry = unsafe { std::mem::transmute::<usize, Entry>(native_code(&llvm, "entry")) };

        let (m, n, k) = (m as usize, n as usize, k as usize);
        let mut numbers = Numbers(number as u64);
        let (a_bytes, a) = random_scaled(a_format, m, k, 1, &mut numbers);
        let (b_bytes, b) = random_scaled(b_format, k, n, 0, &mut numbers);
        let mut scales = |count: usize| -> Vec<u8> { (0..count).map(|_| (117 + numbers.next() % 21) as u8).collect() };
        let (a_scales, b_scales) = (scales(m * k / 32), scales(n * k / 32));
        let mut c = vec![f32::NAN; m * n];
        let mut scratch = vec![0u128; dot.scratch_bytes() as usize / 16 + 4];
        let aligned = scratch.as_mut_ptr().cast::<u8>();
        let aligned = aligned.wrapping_add(aligned.align_offset(64));
        // SAFETY: buffers of the sizes that the dot was generated for.
        unsafe {
            entry(a_bytes.as_ptr(), a_scales.as_ptr(), b_bytes.as_ptr(), b_scales.as_ptr(), c.as_mut_ptr(), aligned);
        }
        let scale = |code: u8| 2f64.powi(i32::from(code) - 127);
        for (at, &got) in c.iter().enumerate() {
            let (r, col) = (at / n, at % n);
            let terms = || {
                (0..k).map(|x| {
                    a[r * k + x]
                        * scale(a_scales[r * (k / 32) + x / 32])
                        * b[x * n + col]
                        * scale(b_scales[col * (k / 32) + x / 32])
                })
            };
            let bound = (k + 1) as f64 * f64::from(f32::EPSILON) / 2.0 * terms().map(f64::abs).sum::<f64>();
            let want: f64 = terms().sum();
            assert!((f64::from(got) - want).abs() <= bound, "{a_format} {b_format} ({r}, {col}): {got}, expected {want}");
        }
    }
}
