//! Sorting and counting against the standard library's, for every type, odd extents and any axis.

use half::{bf16, f16};
use kiln_ir::ScalarType;

use super::histogram::Histogram;
use super::sort::{Sort, Tile};
use crate::host::loops::Emit;
use crate::host::testing::native_code;
use crate::llvm::Llvm;

/// A value of each type that a test sorts: bytes, and a total order with NaN last.
fn element(elem: ScalarType, number: u64) -> (Vec<u8>, f64) {
    use ScalarType::*;
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0, -1.0];
    let float = special.get((number % 20) as usize).copied().unwrap_or(number as f64 % 97.0 - 48.0);
    let small = (number % 256) as u8;
    match elem {
        F32 => ((float as f32).to_le_bytes().into(), float),
        F64 => (float.to_le_bytes().into(), float),
        F16 => (f16::from_f64(float).to_le_bytes().into(), float),
        BF16 => (bf16::from_f64(float).to_le_bytes().into(), bf16::from_f64(float).to_f64()),
        F8E5M2 => (vec![small], f16::from_bits(u16::from(small) << 8).to_f64()),
        I8 => (vec![small], f64::from(small as i8)),
        U8 => (vec![small], f64::from(small)),
        Bool => (vec![small % 2], f64::from(small % 2)),
        I32 => ((number as i32 % 1000).to_le_bytes().into(), f64::from(number as i32 % 1000)),
        U32 => ((number as u32).to_le_bytes().into(), f64::from(number as u32)),
        I64 => ((number as i64 - (1 << 30)).to_le_bytes().into(), (number as i64 - (1 << 30)) as f64),
        other => panic!("no element of {other}"),
    }
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    *state >> 33
}

/// Sorts keys with their flat positions as payload along an axis and compares with a stable sort.
fn check_sort(elem: ScalarType, shape: &[u32], axis: usize, take: u32, descending: bool) {
    let llvm = Llvm::new("sort");
    let e = Emit(&llvm);
    let function = e.add_function("entry", e.fn_ty(e.void(), &[e.ptr(); 6]));
    e.at_end(e.block_in(function, ""));
    let p = |n| e.param(function, n);
    let sort = Sort::new(shape, axis, take, elem, descending);
    let tiles = |key, payload| [Tile { ptr: p(key), elem: elem.into() }, Tile { ptr: p(payload), elem: ScalarType::I32.into() }];
    sort.emit(&e, &tiles(0, 1), &tiles(2, 3), Some(p(4)), p(5));
    e.ret_void();
    type Entry = unsafe extern "C" fn(*const u8, *const i32, *mut u8, *mut i32, *mut i32, *mut u8);
    // SAFETY: declared with this signature above.
    let entry = unsafe { std::mem::transmute::<usize, Entry>(native_code(&llvm, "entry")) };

    let count: usize = shape.iter().map(|&d| d as usize).product();
    let mut state = count as u64;
    let (bytes, values): (Vec<_>, Vec<_>) = (0..count).map(|_| element(elem, random(&mut state))).unzip();
    let keys = bytes.concat();
    let payload: Vec<i32> = (0..count as i32).collect();
    let extent = shape[axis] as usize;
    let results = count / extent * take as usize;
    let size = elem.bytes() as usize;
    let (mut sorted, mut carried, mut positions) = (vec![0u8; results * size], vec![-1; results], vec![-1; results]);
    let mut scratch = vec![0u64; sort.scratch_bytes() as usize / 8 + 8];
    let aligned = scratch.as_mut_ptr().cast::<u8>();
    let aligned = aligned.wrapping_add(aligned.align_offset(64));
    // SAFETY: buffers of the sizes that the sort was generated for.
    unsafe {
        entry(keys.as_ptr(), payload.as_ptr(), sorted.as_mut_ptr(), carried.as_mut_ptr(), positions.as_mut_ptr(), aligned);
    }

    let inner: usize = shape[axis + 1..].iter().map(|&d| d as usize).product();
    for line in 0..count / extent {
        let (outer, rest) = (line / inner, line % inner);
        let mut order: Vec<usize> = (0..extent).collect();
        let value = |at: usize| values[(outer * extent + at) * inner + rest];
        order.sort_by(|&a, &b| {
            let (x, y) = (value(a), value(b));
            let ascending = x.is_nan().cmp(&y.is_nan()).then(x.partial_cmp(&y).unwrap_or(std::cmp::Ordering::Equal));
            if descending { ascending.reverse() } else { ascending }
        });
        for (at, &from) in order.iter().take(take as usize).enumerate() {
            let to = (outer * take as usize + at) * inner + rest;
            let source = (outer * extent + from) * inner + rest;
            assert_eq!(positions[to], from as i32, "{elem} {shape:?} axis {axis} line {line} place {at}");
            assert_eq!(carried[to], source as i32);
            assert_eq!(sorted[to * size..][..size], keys[source * size..][..size]);
        }
    }
}

#[test]
fn sorts_every_type() {
    use ScalarType::*;
    for elem in [F32, F64, F16, BF16, F8E5M2, I8, U8, Bool, I32, U32, I64] {
        for descending in [false, true] {
            check_sort(elem, &[100], 0, 100, descending);
        }
    }
}

#[test]
fn sorts_any_extent() {
    for extent in [1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 64, 255, 1000, 2048] {
        check_sort(ScalarType::F32, &[extent], 0, extent, false);
        check_sort(ScalarType::F64, &[extent], 0, extent, true);
    }
}

#[test]
fn sorts_any_axis_and_takes_the_first() {
    for axis in 0..3 {
        check_sort(ScalarType::I32, &[3, 5, 20], axis, 2, true);
        check_sort(ScalarType::F16, &[9, 4, 2], axis, 1, false);
    }
}

#[test]
fn counts_what_is_in_range_and_allowed() {
    for (elem, masked) in [(ScalarType::I32, true), (ScalarType::U8, false), (ScalarType::I64, true), (ScalarType::I8, false)] {
        let llvm = Llvm::new("histogram");
        let e = Emit(&llvm);
        let function = e.add_function("entry", e.fn_ty(e.void(), &[e.ptr(); 3]));
        e.at_end(e.block_in(function, ""));
        let mask = masked.then(|| e.param(function, 1));
        Histogram { elements: 500, elem, bins: 37 }.emit(&e, e.param(function, 0), mask, e.param(function, 2));
        e.ret_void();
        // SAFETY: declared with this signature above.
        let entry = unsafe {
            std::mem::transmute::<usize, unsafe extern "C" fn(*const u8, *const u8, *mut i32)>(native_code(&llvm, "entry"))
        };
        let mut state = 5;
        let numbers: Vec<i64> =
            (0..500).map(|_| random(&mut state) as i64 % 90 - if elem == ScalarType::U8 { 0 } else { 40 }).collect();
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()[..elem.bytes() as usize].to_vec()).collect();
        let allowed: Vec<u8> = (0..500).map(|i| u8::from(i % 3 != 0)).collect();
        let mut counts = [-1; 37];
        // SAFETY: buffers of the sizes that the histogram was generated for.
        unsafe { entry(bytes.as_ptr(), allowed.as_ptr(), counts.as_mut_ptr()) };
        let mut expected = [0; 37];
        for (n, _) in numbers.iter().zip(&allowed).filter(|(n, a)| (0..37).contains(*n) && (!masked || **a == 1)) {
            expected[*n as usize] += 1;
        }
        assert_eq!(counts, expected, "{elem}");
    }
}
