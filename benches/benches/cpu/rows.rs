//! Row kernels (softmax, layer norm) against a memory copy of the bytes they read and write.

use kiln::{Launched, Tensor};
use kiln_benches::copy::copy;
use kiln_benches::report::Report;
use kiln_benches::sample::Sample;

use crate::{Options, device, numbers, program};

/// Extents of the square matrices.
const SIZE: usize = 4096;

/// Adds a table to the report.
pub fn bench(report: &mut Report, options: &Options) -> Result<(), String> {
    let text = |e: kiln::Error| e.to_string();
    let tensor = |e: kiln::TensorError| e.to_string();
    let softmax = program("softmax")?.kernel("softmax").map_err(text)?;
    let layer_norm = program("layer_norm")?.kernel("layer_norm").map_err(text)?;
    let rms_norm = program("rms_norm")?.kernel("rms_norm").map_err(text)?;
    let dims = [SIZE as i64, SIZE as i64];
    let from = numbers(SIZE * SIZE);
    let mut to = vec![0f32; SIZE * SIZE];
    let x = Tensor::from_vec(from.clone(), &dims).map_err(tensor)?;
    let weight = Tensor::from_vec(numbers(SIZE), &[SIZE as i64]).map_err(tensor)?;
    let bias = Tensor::from_vec(numbers(SIZE), &[SIZE as i64]).map_err(tensor)?;
    let mut y = Tensor::<f32>::zeros(&dims).map_err(tensor)?;
    let mut rows = vec![];
    for &threads in &options.threads {
        eprintln!("rows on {threads} threads");
        let device = device(threads);
        type Launch<'a> = Box<dyn FnMut() -> Result<Launched, kiln::Error> + 'a>;
        let y = std::cell::RefCell::new(&mut y);
        let mut kernels: [(&str, Launch<'_>); 3] = [
            ("softmax", Box::new(|| softmax.on(&device).arg(&x).arg(&mut **y.borrow_mut()).run())),
            (
                "layer_norm with weight and bias",
                Box::new(|| layer_norm.on(&device).arg(&x).arg(&weight).arg(&bias).arg(&mut **y.borrow_mut()).run()),
            ),
            ("rms_norm", Box::new(|| rms_norm.on(&device).arg(&x).arg(&weight).named("y", &mut **y.borrow_mut()).run())),
        ];
        let mut ours = [const { None::<Sample> }; 3];
        let mut copies = Sample::default();
        for (_, launch) in &mut kernels {
            // The first launch compiles.
            launch().map_err(text)?;
        }
        copy(&from, &mut to, threads.get());
        for _ in 0..options.rounds {
            for _ in 0..3 {
                copies.measure(|| copy(&from, &mut to, threads.get()));
                for ((_, launch), sample) in kernels.iter_mut().zip(&mut ours) {
                    let mut result = Ok(());
                    sample.get_or_insert_default().measure(|| result = launch().map(drop));
                    result.map_err(text)?;
                }
            }
        }
        let bytes = (2 * SIZE * SIZE * size_of::<f32>()) as f64;
        let speed = |sample: &Sample| bytes / sample.median() / 1e9;
        for ((name, _), sample) in kernels.iter().zip(&ours) {
            let sample = sample.clone().unwrap_or_default();
            rows.push(vec![
                (*name).to_owned(),
                threads.to_string(),
                format!("{:.1}", speed(&sample)),
                format!("{:.1}", speed(&copies)),
                format!("{:.2}", speed(&sample) / speed(&copies)),
                format!("{:.2}", copies.min() / sample.min()),
            ]);
        }
    }
    report.table(
        &format!("Rows of {SIZE} x {SIZE} f32, GB/s read and written"),
        &["kernel", "threads", "Kiln", "memory copy", "Kiln / copy (medians)", "Kiln / copy (best of each)"],
        &rows,
    );
    Ok(())
}
