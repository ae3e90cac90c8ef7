//! What a launch costs besides its programs: of a grid without programs, and of grids whose programs do next to nothing.

use std::time::Instant;

use kiln::{Program, ProgramOptions, Tensor};
use kiln_benches::report::Report;
use kiln_benches::sample::Sample;

use crate::{Options, device};

const SOURCE: &str = "
kernel add(x: tensor<f32, [N]>, y: tensor<f32, [N]>, z: mut tensor<f32, [N]>, scale: f32 = 1.0) grid [cdiv(N, 16)] {
    let i = program_id(0) * 16;
    z[i..+16] = x[i..+16] + y[i..+16] * scale;
}
";

/// Launches that one timing covers.
const BATCH: u32 = 10_000;

/// Adds a table to the report.
pub fn bench(report: &mut Report, options: &Options) -> Result<(), String> {
    let text = |e: kiln::Error| e.to_string();
    let tensor = |e: kiln::TensorError| e.to_string();
    let kernel = Program::from_source_with("add.kiln", SOURCE, ProgramOptions::without_cache())
        .and_then(|p| p.kernel("add"))
        .map_err(text)?;
    let mut rows = vec![];
    for &threads in &options.threads {
        let device = device(threads);
        for (name, n) in [("no program", 0), ("1 program", 16), ("2 programs", 32), ("64 programs", 1024)] {
            eprintln!("launch of {name} on {threads} threads");
            let make = || Tensor::<f32>::zeros(&[n]).map_err(tensor);
            let (x, y, mut z) = (make()?, make()?, make()?);
            kernel.on(&device).arg(&x).arg(&y).arg(&mut z).arg(2.0f32).run().map_err(text)?;
            let mut sample = Sample::default();
            for _ in 0..options.rounds {
                let start = Instant::now();
                for _ in 0..BATCH {
                    kernel.on(&device).arg(&x).arg(&y).arg(&mut z).arg(2.0f32).run().map_err(text)?;
                }
                sample.extend([start.elapsed().as_secs_f64() / f64::from(BATCH)]);
            }
            rows.push(vec![
                name.to_owned(),
                threads.to_string(),
                format!("{:.2}", sample.median() * 1e6),
                format!("{:.2}", sample.min() * 1e6),
            ]);
        }
    }
    report.table(
        "A launch that was made before (three tensors and a number), microseconds",
        &["grid", "threads", "median", "best"],
        &rows,
    );
    Ok(())
}
