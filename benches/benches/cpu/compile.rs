//! From source to code that can run: in a process that has compiled before, stage by stage, and from the disk cache in a new process.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use kiln::cache::DiskCache;
use kiln::{Device, Launched, Origin, Program, ProgramOptions, Tensor};
use kiln_benches::report::Report;
use kiln_benches::sample::Sample;

use crate::{Options, example};

/// Compiles (or reads) an example's kernel for square f32 matrices; with the seconds that took.
fn prepare(name: &str, options: ProgramOptions) -> Result<(Launched, f64), String> {
    let text = |e: kiln::Error| e.to_string();
    let (file, source) = example(name)?;
    let device = Device::cpu().map_err(text)?;
    let tensor = || Tensor::<f32>::zeros(&[64, 1024]).map_err(|e| e.to_string());
    let (a, mut out) = (tensor()?, tensor()?);
    let square = Tensor::<f32>::zeros(&[1024, 1024]).map_err(|e| e.to_string())?;
    let start = Instant::now();
    let kernel = Program::from_source_with(&file, &source, options).and_then(|p| p.kernel(name)).map_err(text)?;
    let launch = kernel.on(&device).arg(&a);
    let launch = if name == "matmul" { launch.arg(&square) } else { launch };
    let launched = launch.arg(&mut out).prepare().map_err(text)?;
    Ok((launched, start.elapsed().as_secs_f64()))
}

/// In a new process: prints the milliseconds that a hit takes.
pub fn print_hit(dir: &Path) -> Result<(), String> {
    for name in ["softmax", "matmul"] {
        let cache = DiskCache::open(dir, u64::MAX).map_err(|e| e.to_string())?;
        let (launched, seconds) =
            prepare(name, ProgramOptions { cache: Some(Arc::new(cache)), ..ProgramOptions::without_cache() })?;
        if launched.compiled().origin != Origin::Disk {
            return Err(format!("{name} was compiled, not read from the cache"));
        }
        print!("{} ", seconds * 1e3);
    }
    println!();
    Ok(())
}

/// Milliseconds of hits, each in a process of its own: softmax (its first use of everything), then matmul.
fn hits(repeats: usize) -> Result<[Sample; 2], String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    for name in ["softmax", "matmul"] {
        let cache = DiskCache::open(dir.path(), u64::MAX).map_err(|e| e.to_string())?;
        prepare(name, ProgramOptions { cache: Some(Arc::new(cache)), ..ProgramOptions::without_cache() })?;
    }
    let me = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut samples = [Sample::default(), Sample::default()];
    for _ in 0..repeats {
        let output = Command::new(&me).arg("--hit").arg(dir.path()).output().map_err(|e| e.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let times: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if times.len() != 2 {
            return Err(format!("a hit failed: {text}{}", String::from_utf8_lossy(&output.stderr)));
        }
        for (sample, time) in samples.iter_mut().zip(times) {
            sample.extend([time]);
        }
    }
    Ok(samples)
}

/// Adds tables to the report.
pub fn bench(report: &mut Report, options: &Options) -> Result<(), String> {
    let mut rows = vec![];
    for name in ["softmax", "matmul"] {
        eprintln!("compile {name}");
        let mut total = Sample::default();
        let mut stages: Vec<(String, Sample)> = vec![];
        prepare(name, ProgramOptions::without_cache())?;
        for _ in 0..options.rounds * 3 {
            let (launched, seconds) = prepare(name, ProgramOptions::without_cache())?;
            total.extend([seconds]);
            let mut rest = seconds;
            for stage in &launched.compiled().stages {
                rest -= stage.time.as_secs_f64();
                add(&mut stages, &stage.name, stage.time.as_secs_f64());
            }
            add(&mut stages, "rest", rest);
        }
        let shares: Vec<String> = stages.iter().map(|(stage, sample)| format!("{stage} {:.1}", sample.median() * 1e3)).collect();
        rows.push(vec![
            name.to_owned(),
            format!("{:.1}", total.median() * 1e3),
            format!("{:.1}", total.min() * 1e3),
            shares.join(", "),
        ]);
    }
    report.table(
        "From source to code that can run, in a process that has compiled before, without the disk cache, ms",
        &["kernel", "median", "best", "medians of the stages"],
        &rows,
    );
    let [first, second] = hits(options.rounds * 3)?;
    report.table(
        "From source to code that can run, from the disk cache, in a new process, ms",
        &["kernel", "median", "best"],
        &[("softmax, first use of everything", first), ("matmul, second kernel", second)]
            .map(|(name, s)| vec![name.to_owned(), format!("{:.2}", s.median()), format!("{:.2}", s.min())]),
    );
    Ok(())
}

fn add(stages: &mut Vec<(String, Sample)>, name: &str, seconds: f64) {
    if !stages.iter().any(|(n, _)| n == name) {
        stages.push((name.to_owned(), Sample::default()));
    }
    if let Some((_, sample)) = stages.iter_mut().find(|(n, _)| n == name) {
        sample.extend([seconds]);
    }
}
