//! What launches are warned of.

use kiln::{Device, Program, ProgramOptions, Tensor};

const ROWS: &str = "
kernel rows<const N: int>(x: tensor<f32, [M, N]>, y: mut tensor<f32, [M]>) grid [M] {
    let m = program_id(0);
    y[m] = sum(x[m, 0..+N]);
}
";

#[test]
fn a_constant_that_takes_many_values_is_named_once() {
    let kernel = Program::from_source_with("rows.kiln", ROWS, ProgramOptions::without_cache()).unwrap().kernel("rows").unwrap();
    let device = Device::cpu().unwrap();
    let mut said = vec![];
    // Other numbers of rows are no other constants.
    for (m, n) in (1..=20).flat_map(|n| [(1, n), (2, n)]) {
        let x = Tensor::<f32>::from_fn(&[m, n], |_| 1.0).unwrap();
        let mut y = Tensor::<f32>::zeros(&[m]).unwrap();
        let launched = kernel.on(&device).arg(&x).arg(&mut y).run().unwrap();
        assert_eq!(y.get(&[0]).unwrap(), n as f32);
        said.extend(launched.warnings().map(|report| (n, report.to_string())));
    }
    let [(16, text)] = &said[..] else { panic!("{said:?}") };
    assert!(text.contains("warning[K2006]") && text.contains("16 values of `N` (1, 2, 3, 4, ..)"), "{text}");
}
