//! New processes: from nothing to PTX, and from a warm disk cache to a kernel that can be launched.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use kiln::cache::DiskCache;
use kiln::{Device, Launched, Origin, Program, ProgramOptions, Tensor};
use kiln_benches::peer::{python, script};
use kiln_benches::report::Report;
use kiln_benches::sample::Sample;
use kiln_compiler::GpuTarget;

use crate::kernels::{WORKS, Work};
use crate::{Options, pairs};

/// The GPU of these tables.
const TARGET: GpuTarget = GpuTarget { sm: 90, arch_specific: true };

/// Adds the tables.
pub fn bench(report: &mut Report, options: &Options) -> Result<(), String> {
    let works: Vec<&Work> =
        WORKS.iter().filter(|w| ["vector_add", "matmul", "attention"].contains(&w.kernel) && options.chooses(w.label)).collect();
    let mut rows = vec![];
    for work in works {
        let mut kiln = Sample::default();
        let mut triton: [Sample; 4] = Default::default();
        for round in 0..options.rounds {
            eprintln!("new processes, {}, round {} of {}", work.label, round + 1, options.rounds);
            for _ in 0..options.repeats {
                kiln.extend([build(options, work)?]);
            }
            // A cache of its own: the first process fills it, the second one hits it.
            let cache = tempfile::tempdir().map_err(|e| e.to_string())?;
            let (cold, stages) = triton_once(work, cache.path())?;
            let (warm, _) = triton_once(work, cache.path())?;
            let part = |name: &str| stages.iter().find(|(n, _)| n == name).map_or(f64::NAN, |(_, time)| *time);
            // Up to PTX: Triton assembles it too, which the comparison leaves out.
            for (sample, time) in triton.iter_mut().zip([cold - part("cubin"), part("import"), part("key"), warm]) {
                sample.extend([time]);
            }
        }
        let ms = |sample: &Sample| format!("{:.1}", sample.median() * 1e3);
        let ratio = format!("{:.0}", triton[0].median() / kiln.median());
        let mut row = vec![work.label.to_owned(), ms(&kiln), format!("{:.1}", kiln.min() * 1e3)];
        row.extend(triton.iter().map(ms));
        row.push(ratio);
        rows.push(row);
    }
    report.table(
        &format!("{}: a whole process from its start to PTX, ms", TARGET.name()),
        &[
            "kernel",
            "`kiln build`, median",
            "best",
            "Triton without a cache, up to PTX",
            "of that: import",
            "hash of the installation",
            "Triton, second process with the same cache (to a cubin)",
            "Triton / Kiln",
        ],
        &rows,
    );
    hits(report, options)
}

/// Seconds of `kiln build`, from its start to its end.
fn build(options: &Options, work: &Work) -> Result<f64, String> {
    let args = work.build_args(TARGET)?;
    let start = Instant::now();
    let output = Command::new(&options.kiln).args(args).stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    let time = start.elapsed().as_secs_f64();
    let ptx = output.status.success() && output.stdout.windows(6).any(|w| w == b".entry");
    if ptx { Ok(time) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// Seconds of a process with Triton that compiles once, and those of its stages.
fn triton_once(work: &Work, cache: &Path) -> Result<(f64, Vec<(String, f64)>), String> {
    let start = Instant::now();
    let output = Command::new(python())
        .arg(script("triton_compile.py"))
        .args(["once", &work.request(TARGET, work.descriptors)])
        .env("TRITON_CACHE_DIR", cache)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    let time = start.elapsed().as_secs_f64();
    if !output.status.success() {
        return Err(format!("Triton failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok((time, pairs(&String::from_utf8_lossy(&output.stdout))?))
}

/// A kernel that can be launched, from a cache.
fn prepare(device: &Device, dir: &Path) -> Result<Launched, String> {
    let text = |e: kiln::Error| e.to_string();
    let work = WORKS.iter().find(|w| w.kernel == "matmul").expect("matmul is among them");
    let cache = DiskCache::open(dir, u64::MAX).map_err(|e| e.to_string())?;
    let options = ProgramOptions { cache: Some(Arc::new(cache)), ..ProgramOptions::without_cache() };
    let (file, source) = work.source()?;
    let tensor = || Tensor::<half::f16>::zeros(&[256, 256]).map_err(|e| e.to_string());
    let (a, b, mut c) = (tensor()?, tensor()?, tensor()?);
    let kernel = Program::from_source_with(&file, &source, options).and_then(|p| p.kernel(work.kernel)).map_err(text)?;
    kernel.on(device).arg(&a).arg(&b).arg(&mut c).prepare().map_err(text)
}

fn device(name: &str) -> Result<Device, String> {
    match name {
        "cpu" => Device::cpu().map_err(|e| e.to_string()),
        _ => Ok(Device::emulator()),
    }
}

/// In a new process: makes a kernel ready from the cache, and says so.
pub fn hit(name: &str, dir: &Path) -> Result<(), String> {
    let start = Instant::now();
    let launched = prepare(&device(name)?, dir)?;
    if launched.compiled().origin != Origin::Disk {
        return Err("the kernel was compiled, not read from the cache".to_owned());
    }
    println!("inside {}", start.elapsed().as_secs_f64());
    Ok(())
}

/// From the start of a process to a kernel that can be launched, with a warm cache.
fn hits(report: &mut Report, options: &Options) -> Result<(), String> {
    let me = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut rows = vec![];
    for name in ["cpu", "emulator"] {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        prepare(&device(name)?, dir.path())?;
        let (mut whole, mut inside) = (Sample::default(), Sample::default());
        for _ in 0..options.rounds * options.repeats {
            let start = Instant::now();
            let output = Command::new(&me).args(["--hit", name]).arg(dir.path()).output().map_err(|e| e.to_string())?;
            whole.extend([start.elapsed().as_secs_f64()]);
            if !output.status.success() {
                return Err(format!("a hit failed: {}", String::from_utf8_lossy(&output.stderr)));
            }
            let times = pairs(&String::from_utf8_lossy(&output.stdout))?;
            inside.extend(times.iter().map(|(_, time)| *time));
        }
        let ms = |seconds: f64| format!("{:.1}", seconds * 1e3);
        rows.push(vec![name.to_owned(), ms(whole.median()), ms(whole.min()), ms(inside.median())]);
    }
    report.table(
        "A new process with a warm disk cache, from its start to its end with the matmul example ready to launch, ms",
        &["device", "median", "best", "of that inside the program, median"],
        &rows,
    );
    Ok(())
}
