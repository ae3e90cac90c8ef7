//! Tiles wider than registers: what the sweeps over their parts give is what the CPU gives.

use kiln::{Device, Tensor};
use kiln_tests::wide::{WIDE, Wide};

use super::{SCHEDULES, device, kernel};

fn run(wide: &Wide, device: &Device) -> [Vec<f32>; 2] {
    let k = kernel(&wide.source());
    let shape = [wide.rows as i64, wide.width as i64];
    // Small whole numbers, in an order without a period that a slice would have.
    let number = |i: usize| ((i * 7919 + i / 61 * 13) % 23) as f32 - 9.0;
    let x = Tensor::<f32>::from_fn(&shape, number).unwrap();
    let w = Tensor::<f32>::from_fn(&shape[1..], |i| (i % 5) as f32).unwrap();
    let mut y = Tensor::<f32>::from_fn(&shape, |i| (i % 3) as f32).unwrap();
    let mut s = Tensor::<f32>::zeros(&shape[..1]).unwrap();
    k.on(device).arg(&x).arg(&w).arg(&mut y).arg(&mut s).run().unwrap_or_else(|e| panic!("{}: {e}", wide.name));
    [y.to_vec().unwrap(), s.to_vec().unwrap()]
}

#[test]
fn wide_tiles_are_worked_on_in_parts() {
    let cpu = Device::cpu().unwrap();
    for (i, wide) in WIDE.iter().enumerate() {
        let expected = run(wide, &cpu);
        let schedule = SCHEDULES[i % SCHEDULES.len()];
        let found = run(wide, &device(schedule));
        // Whole numbers are exact; the terms of a softmax are added in another order.
        let tolerance = if wide.name == "softmax" { 1e-5 } else { 0.0 };
        for (expected, found) in expected.iter().flatten().zip(found.iter().flatten()) {
            assert!((expected - found).abs() <= tolerance * expected.abs(), "{} on {schedule}: {expected} {found}", wide.name);
        }
    }
}

#[test]
fn what_needs_a_whole_tile_that_is_too_large_is_refused() {
    let k = kernel(
        "kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {\n    y[0..+524288] = sort(x[0..+524288], axis = 0);\n}\n",
    );
    let x = Tensor::<f32>::zeros(&[524288]).unwrap();
    let mut y = Tensor::<f32>::zeros(&[524288]).unwrap();
    let error = k.on(&Device::emulator()).arg(&x).arg(&mut y).run().unwrap_err().to_string();
    assert!(
        error.contains("K0907") && error.contains("[524288] f32 takes 1024 registers") && error.contains("k.kiln:2"),
        "{error}"
    );
}
