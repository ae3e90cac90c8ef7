//! Atomics on tiles, which the TMA engine does where a GPU has one: every type and operator, and gradients that programs add up.

use kiln::{AnyTensor, Device, Program, ProgramOptions, ScalarType, Tensor, bf16, f16};
use kiln_tests::reductions::SOURCE;

use crate::support::{Tests, gpu, kernel};

pub fn tests() -> Tests {
    vec![
        ("reductions::every_type_and_operator", every_type_and_operator),
        ("reductions::programs_add_up_a_gradient", programs_add_up_a_gradient),
    ]
}

const DIMS: [i64; 2] = [150, 64];

/// Numbers of both signs; of floats such that their sums are exact. Those of 16 bits are no normal numbers: they count as what they are.
fn numbers(ty: ScalarType, seed: i64) -> AnyTensor {
    let bytes = (0..DIMS[0] * DIMS[1]).flat_map(|i| {
        let small = (i * 37 + seed * 11) % 65 - 32;
        let wide = (i + seed).wrapping_mul(0x9e37_79b9);
        match ty {
            ScalarType::F32 => (small as f32 / 16.0).to_le_bytes().to_vec(),
            ScalarType::F16 => f16::from_f64(small as f64 * 2.0f64.powi(-24)).to_le_bytes().to_vec(),
            ScalarType::BF16 => bf16::from_f64(small as f64 * 2.0f64.powi(-133)).to_le_bytes().to_vec(),
            _ => wide.to_le_bytes()[..4].to_vec(),
        }
    });
    AnyTensor::from_bytes(ty, &DIMS, &bytes.collect::<Vec<u8>>()).expect("a tensor")
}

fn every_type_and_operator() {
    let floats = [ScalarType::F32, ScalarType::F16, ScalarType::BF16].map(|ty| (ty, "add"));
    let integers = [ScalarType::I32, ScalarType::U32];
    let operators = ["add", "min", "max", "and", "or", "xor"];
    for (ty, op) in floats.into_iter().chain(integers.into_iter().flat_map(|ty| operators.map(|op| (ty, op)))) {
        let text = format!(
            "kernel k(x: tensor<{ty}, [M, 64]>, y: mut tensor<{ty}, [M, 64]>, parts: i32) grid [cdiv(M, 64), parts] {{\n    \
             let m = program_id(0) * 64;\n    atomic_{op}(y[m..+64, 0..+64], x[m..+64, 0..+64]);\n}}\n"
        );
        let (kernel, x) = (kernel(&text), numbers(ty, 1));
        let on = |device: &Device| {
            let mut y = numbers(ty, 2);
            kernel.on(device).arg(&x).arg(&mut y).arg(3).run().unwrap_or_else(|e| panic!("{op} of {ty}: {e}"));
            y.to_bytes().expect("values")
        };
        assert_eq!(on(&gpu()), on(&Device::cpu().expect("a CPU")), "{op} of {ty}");
    }
}

fn programs_add_up_a_gradient() {
    let [rows, m, n] = [200, 144, 80];
    let numbers = |dims: &[i64], seed: i64| {
        let value = |i: i64| f16::from_f64(((i * 37 + seed * 11) % 33 - 16) as f64 / 16.0);
        Tensor::from_vec((0..dims.iter().product()).map(value).collect(), dims).expect("a tensor")
    };
    let (x, dy) = (numbers(&[rows, m], 1), numbers(&[rows, n], 2));
    let program = Program::from_source_with("k.kiln", SOURCE, ProgramOptions::without_cache()).unwrap_or_else(|e| panic!("{e}"));
    let gradient = program.kernel("gradient").unwrap_or_else(|e| panic!("{e}"));
    let on = |device: &Device| {
        let mut dw = Tensor::<f32>::from_fn(&[m, n], |i| (i % 7) as f32).expect("a tensor");
        gradient.on(device).arg(&x).arg(&dy).arg(&mut dw).arg(3).run().unwrap_or_else(|e| panic!("{e}"));
        dw.to_vec().expect("values")
    };
    assert_eq!(on(&gpu()), on(&Device::cpu().expect("a CPU")));
}
