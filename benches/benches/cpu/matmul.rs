//! f32 matmul against numpy (OpenBLAS) and jax (XLA).

use kiln::Tensor;
use kiln_benches::peer::Peer;
use kiln_benches::report::Report;
use kiln_benches::sample::Sample;

use crate::{Options, device, numbers, program};

/// Extents of the square matrices.
const SIZES: [usize; 2] = [1024, 2048];

/// Adds a table to the report.
pub fn bench(report: &mut Report, options: &Options) -> Result<(), String> {
    let kernel = program("matmul")?.kernel("matmul").map_err(|e| e.to_string())?;
    let mut rows = vec![];
    let mut absent = vec![];
    for &threads in &options.threads {
        let device = device(threads);
        let mut peers = vec![];
        for name in ["numpy", "jax"] {
            match Peer::start(name, threads.get()) {
                Ok(peer) => peers.push(peer),
                Err(why) => absent.push(why),
            }
        }
        for n in SIZES {
            eprintln!("matmul {n} on {threads} threads");
            let dims = [n as i64, n as i64];
            let make = || Tensor::from_vec(numbers(n * n), &dims).map_err(|e| e.to_string());
            let (a, b) = (make()?, make()?);
            let mut c = Tensor::<f32>::zeros(&dims).map_err(|e| e.to_string())?;
            let mut ours = Sample::default();
            let mut theirs = vec![Sample::default(); peers.len()];
            let mut lost: Vec<Option<String>> = vec![None; peers.len()];
            // The first launch compiles.
            kernel.on(&device).arg(&a).arg(&b).arg(&mut c).run().map_err(|e| e.to_string())?;
            for _ in 0..options.rounds {
                for _ in 0..3 {
                    let mut result = Ok(());
                    ours.measure(|| result = kernel.on(&device).arg(&a).arg(&b).arg(&mut c).run().map(drop));
                    result.map_err(|e| e.to_string())?;
                }
                for ((peer, times), lost) in peers.iter_mut().zip(&mut theirs).zip(&mut lost) {
                    if lost.is_none() {
                        match peer.run("matmul", [n, n], 3) {
                            Ok(seconds) => times.extend(seconds),
                            Err(why) => *lost = Some(why),
                        }
                    }
                }
            }
            absent.extend(lost.into_iter().flatten());
            let speed = |sample: &Sample| 2.0 * (n * n * n) as f64 / sample.median() / 1e9;
            let mut row = vec![format!("{n}^3"), threads.to_string(), format!("{:.0}", speed(&ours))];
            let mut best = f64::NAN;
            for name in ["numpy", "jax"] {
                let found = peers.iter().position(|p| p.name() == name).filter(|&i| !theirs[i].is_empty());
                row.push(found.map_or_else(|| "-".to_owned(), |i| format!("{:.0}", speed(&theirs[i]))));
                best = best.max(found.map_or(f64::NAN, |i| speed(&theirs[i])));
            }
            row.push(format!("{:.2}", speed(&ours) / best));
            rows.push(row);
        }
    }
    report.table(
        "f32 matmul, GFLOP/s (medians)",
        &["size", "threads", "Kiln", "numpy (OpenBLAS)", "jax (XLA)", "Kiln / better peer"],
        &rows,
    );
    absent.sort();
    absent.dedup();
    if !absent.is_empty() {
        report.paragraph(&format!("Peers that did not take part: {}.", absent.join("; ")));
    }
    Ok(())
}
