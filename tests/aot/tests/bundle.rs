//! Kernels compiled ahead of time: launches they serve, launches they refuse, and what the program is made of.

use kiln::{Device, Error, Tensor};
use kiln_aot_example::{affine, softmax};

fn cpu() -> Device {
    Device::cpu().unwrap()
}

/// Softmax of every row, in f64.
fn reference(x: &[f64], columns: usize) -> Vec<f64> {
    let row = |row: &[f64]| {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let e: Vec<f64> = row.iter().map(|v| (v - max).exp()).collect();
        let sum: f64 = e.iter().sum();
        e.into_iter().map(move |v| v / sum).collect::<Vec<_>>()
    };
    x.chunks(columns).flat_map(row).collect()
}

fn value(i: usize) -> f32 {
    ((i * 37) % 23) as f32 / 4.0
}

fn check(device: &Device, rows: i64, columns: i64) {
    let x = Tensor::<f32>::from_fn(&[rows, columns], value).unwrap();
    let mut y = Tensor::<f32>::zeros(&[rows, columns]).unwrap();
    softmax(&x, &mut y).launch(device).unwrap();
    let inputs: Vec<f64> = (0..(rows * columns) as usize).map(|i| f64::from(value(i))).collect();
    for (i, (got, expected)) in y.read().unwrap().iter().zip(reference(&inputs, columns as usize)).enumerate() {
        assert!(
            (f64::from(*got) - expected).abs() <= 1e-6 * expected,
            "{rows} x {columns}, element {i}: {got} and not {expected}"
        );
    }
}

#[test]
fn any_extents_with_the_same_constants() {
    // Divisible by 16; by 8; odd. All have BLOCK = 1024.
    for (rows, columns) in [(5, 1024), (3, 1000), (4, 1023), (1, 513)] {
        check(&cpu(), rows, columns);
    }
}

#[test]
fn any_strides() {
    let x = Tensor::<f32>::from_fn(&[1000, 6], value).unwrap();
    let mut y = Tensor::<f32>::zeros(&[6, 1000]).unwrap();
    softmax(&x.transpose().unwrap(), &mut y).launch(&cpu()).unwrap();
    let inputs: Vec<f64> = (0..6000).map(|i| f64::from(value(i % 1000 * 6 + i / 1000))).collect();
    for (got, expected) in y.read().unwrap().iter().zip(reference(&inputs, 1000)) {
        assert!((f64::from(*got) - expected).abs() <= 1e-6 * expected, "{got} and not {expected}");
    }
}

#[test]
fn ptx_of_the_bundle_runs() {
    check(&Device::emulator(), 2, 1000);
    check(&Device::emulator(), 2, 1001);
}

#[test]
fn types_and_optional_parameters_that_were_asked_for() {
    let x = Tensor::<kiln::f16>::from_fn(&[2, 1000], |_| kiln::f16::ONE).unwrap();
    let mut y = Tensor::<kiln::f16>::zeros(&[2, 1000]).unwrap();
    softmax(&x, &mut y).launch(&cpu()).unwrap();
    assert_eq!(y.read().unwrap()[1999], kiln::f16::from_f32(0.001));
    let x = Tensor::<f32>::from_fn(&[77], |i| i as f32).unwrap();
    let mut y = Tensor::<f32>::zeros(&[77]).unwrap();
    affine(&x, &mut y).factor(2.0).launch(&cpu()).unwrap();
    assert_eq!(y.read().unwrap()[76], 152.0);
    let launched = affine(&x, &mut y).bias(&x).launch(&cpu()).unwrap();
    assert_eq!(launched.compiled().origin, kiln::Origin::Bundle);
    assert_eq!(y.read().unwrap()[76], 152.0);
}

#[test]
fn what_was_not_asked_for_is_refused_by_name() {
    let x = Tensor::<f64>::zeros(&[2, 1000]).unwrap();
    let mut y = Tensor::<f64>::zeros(&[2, 1000]).unwrap();
    let error = softmax(&x, &mut y).launch(&cpu()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::NotInBundle { .. }), "{text}");
    for part in ["K1030", "`softmax`", "needs T = f64, BLOCK = 1024", "the bundle has T = f32, BLOCK = 1024", "build.rs"] {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
    // Another constant, by extents and by name.
    let x = Tensor::<f32>::zeros(&[2, 100]).unwrap();
    let mut y = Tensor::<f32>::zeros(&[2, 100]).unwrap();
    let text = softmax(&x, &mut y).launch(&cpu()).unwrap_err().to_string();
    assert!(text.contains("needs T = f32, BLOCK = 128"), "{text}");
    softmax(&x, &mut y).block(1024).launch(&cpu()).unwrap();
    // The wrong arguments are found as ever.
    let mut z = Tensor::<f32>::zeros(&[3, 100]).unwrap();
    let text = softmax(&x, &mut z).launch(&cpu()).unwrap_err().to_string();
    assert!(text.contains("K1002") && text.contains("dimension `M` is 2 in `x` (axis 0), but 3 in `y` (axis 0)"), "{text}");
    let text = softmax(&x, &mut y).launch(&cpu().checked().unwrap()).unwrap_err().to_string();
    assert!(text.contains("ahead of time"), "{text}");
}

/// With `c_api`, the functions for C are part of the package, and their header lies beside the generated Rust.
#[test]
fn a_header_was_written() {
    let header = std::fs::read_to_string(concat!(env!("OUT_DIR"), "/softmax.h")).unwrap();
    assert!(header.contains("int32_t kiln_softmax(const kiln_tensor *x, const kiln_tensor *y);"), "{header}");
    assert!(
        header.contains(
            "int32_t kiln_affine(const kiln_tensor *x, const kiln_tensor *bias, const kiln_tensor *y, const float *factor);"
        ),
        "{header}"
    );
    let mut data = [1f32; 3];
    let dims = [3i64];
    let tensor = kiln::capi::CTensor {
        data: data.as_mut_ptr().cast(),
        ty: kiln::ScalarType::F32 as i32,
        rank: 1,
        dims: dims.as_ptr(),
        strides: std::ptr::null(),
    };
    let factor = 2.5;
    // SAFETY: the tensor is what it says.
    let status = unsafe { kiln_aot_example::kiln_affine(&tensor, std::ptr::null(), &tensor, &factor) };
    let error = kiln_aot_example::kiln_softmax_last_error();
    // SAFETY: null, or a text that is good until the next call.
    let said = (!error.is_null()).then(|| unsafe { std::ffi::CStr::from_ptr(error) });
    assert_eq!((status, said), (0, None));
    assert_eq!(data, [2.5; 3]);
}
