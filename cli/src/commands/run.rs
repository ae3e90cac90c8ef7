//! `kiln run`: a kernel on arrays, with its results checked, kept and timed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kiln::{AnyTensor, Assembler, Device, Kernel, Launched, Origin, OwnedArg, Program, ProgramOptions, Timing};
use kiln_ir::signature::KernelSignature;
use kiln_tune::compare::{Comparison, Tolerance, compare};

use super::select;
use crate::data::spec::ArgSpec;
use crate::data::{files, flops, generate};
use crate::opts::{KernelOptions, RunOptions};
use crate::remote;
use crate::ui::Ui;

/// Runs it.
pub fn run(options: &RunOptions, ui: &Ui) -> Result<ExitCode> {
    let file = &options.kernel.file;
    let device = match &options.device {
        Some(name) => Device::from_name(name)?,
        None => Device::best()?,
    };
    let device = if options.checked { device.checked()? } else { device };
    if let Some(warning) = device.cuda_info().and_then(|info| info.warning.as_deref()) {
        ui.status("Warning", warning);
    }
    let cached = if options.no_cache { ProgramOptions::without_cache() } else { remote::program_options()? };
    let program = Program::open_with(file, ProgramOptions { opt_level: options.kernel.opt_level, ..cached })?;
    let kernels: Vec<&KernelSignature> = program.signatures().iter().map(|s| &**s).collect();
    let sig = select::kernel(&kernels, options.kernel.kernel.as_deref(), &file.to_string_lossy())?;
    let kernel = configured(&program, sig, &options.kernel)?;
    let plan = Outputs::parse(options, sig)?;
    let mut args = arguments(&options.kernel, sig)?;
    make_missing(&kernel, &device, sig, &mut args)?;
    place(&device, &mut args)?;
    plan.check(sig, &args)?;

    let start = Instant::now();
    let prepared = launch(&kernel, &device, &mut args).prepare()?;
    say_compiled(ui, sig, &prepared, start.elapsed());
    if let Some(warnings) = prepared.warnings() {
        ui.report(warnings);
    }
    let operations = options.flops.as_deref().map(|text| operations(text, sig, &prepared)).transpose()?;

    let start = Instant::now();
    launch(&kernel, &device, &mut args).run()?;
    let mut times = vec![start.elapsed()];
    let results = plan.snapshot(&args, options.repeat > 1)?;
    if options.repeat > 1 {
        // The first run met cold memory and threads that were not there yet: it counts only where it is the only one.
        times = repeated(ui, &kernel, &device, &mut args, options.repeat)?;
    }
    let right = plan.finish(ui, options, &results)?;
    show(ui, sig, &device, &prepared, &args, times, operations);
    Ok(if right { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The times of runs: on a GPU by its own events, elsewhere by the host's clock.
fn repeated(ui: &Ui, kernel: &Kernel, device: &Device, args: &mut [OwnedArg], runs: u32) -> Result<Vec<Duration>> {
    if device.cuda_info().is_some() {
        let timing = Timing { warm_up: 3, repeats: runs, cold: false };
        return Ok(launch(kernel, device, args).timed(&timing)?.1.sorted().to_vec());
    }
    let bar = ui.progress(u64::from(runs), "running");
    let mut times = vec![];
    for _ in 0..runs {
        let start = Instant::now();
        launch(kernel, device, args).run()?;
        times.push(start.elapsed());
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(times)
}

/// Brings tensors into the memory of the device.
pub fn place(device: &Device, args: &mut [OwnedArg]) -> Result<()> {
    for arg in args {
        if let OwnedArg::Tensor(tensor) = arg {
            *tensor = tensor.to(device)?;
        }
    }
    Ok(())
}

/// The kernel with the command line's constants, types, functions and schedule.
pub fn configured(program: &Program, sig: &KernelSignature, options: &KernelOptions) -> Result<Kernel> {
    let settings = select::launch_options(options, sig)?;
    let mut kernel = program.kernel(&sig.name)?;
    for (name, value) in settings.consts {
        kernel = kernel.constant(&name, value);
    }
    for (name, ty) in settings.types {
        kernel = kernel.type_param(&name, ty);
    }
    for (name, path) in &settings.fns {
        kernel = kernel.function(name, path);
    }
    for (field, values) in &settings.schedule {
        kernel = kernel.schedule(field, values);
    }
    Ok(kernel)
}

/// Reads and makes the arguments; those with a type of their own first, as they decide about the others.
pub fn arguments(options: &KernelOptions, sig: &KernelSignature) -> Result<Vec<OwnedArg>> {
    let specs = select::arguments(options, sig)?;
    let mut types = select::ElementTypes::new(sig, &select::launch_options(options, sig)?);
    let mut args: Vec<OwnedArg> = vec![OwnedArg::Absent; specs.len()];
    for (i, spec) in specs.iter().enumerate() {
        let name = &sig.params[i].name;
        match spec {
            Some(ArgSpec::File { path, entry }) => {
                let tensor = files::read(path, entry.as_deref(), name).with_context(|| format!("argument `{name}`"))?;
                tensor.scalar_type().into_iter().for_each(|ty| types.learn(i, ty));
                args[i] = OwnedArg::Tensor(tensor);
            }
            Some(ArgSpec::Raw { path, ty, dims }) => {
                let tensor = files::read_raw(path, *ty, dims.as_deref()).with_context(|| format!("argument `{name}`"))?;
                types.learn(i, *ty);
                args[i] = OwnedArg::Tensor(tensor);
            }
            Some(ArgSpec::Generate(g)) => g.ty.into_iter().for_each(|ty| types.learn(i, ty)),
            Some(ArgSpec::Number(number)) => args[i] = OwnedArg::Number(*number),
            Some(ArgSpec::Shape { .. }) => bail!("argument `{name}`: a shape has no data; `zeros(..)` and `randn(..)` make some"),
            None => {}
        }
    }
    for (i, spec) in specs.iter().enumerate() {
        if let Some(ArgSpec::Generate(what)) = spec {
            let name = &sig.params[i].name;
            let tensor =
                generate::generate(name, what, types.wanted(i), options.seed).with_context(|| format!("argument `{name}`"))?;
            args[i] = OwnedArg::Tensor(tensor);
        }
    }
    Ok(args)
}

/// The launch of owned arguments.
pub fn launch<'a>(kernel: &'a Kernel, device: &'a Device, args: &'a mut [OwnedArg]) -> kiln::Launch<'a> {
    args.iter_mut().fold(kernel.on(device), |launch, arg| launch.arg(arg.as_arg()))
}

/// Makes tensors for what the kernel writes and nothing was given for.
pub fn make_missing(kernel: &Kernel, device: &Device, sig: &KernelSignature, args: &mut [OwnedArg]) -> Result<()> {
    for (i, arg) in args.iter_mut().enumerate() {
        if matches!(arg, OwnedArg::Absent) && select::is_made(sig, i) {
            *arg = OwnedArg::Infer;
        }
    }
    if !args.iter().any(|arg| matches!(arg, OwnedArg::Infer)) {
        return Ok(());
    }
    let inferred = launch(kernel, device, args).infer()?;
    for (arg, inferred) in args.iter_mut().zip(inferred) {
        if let Some(inferred) = inferred {
            *arg = OwnedArg::Tensor(AnyTensor::zeros(inferred.elem, &inferred.dims)?);
        }
    }
    Ok(())
}

/// What is to be done with tensors after the run.
struct Outputs {
    /// Parameter and file.
    writes: Vec<(usize, PathBuf)>,
    /// Parameter and reference.
    checks: Vec<(usize, PathBuf)>,
    names: Vec<String>,
}

impl Outputs {
    fn parse(options: &RunOptions, sig: &KernelSignature) -> Result<Outputs> {
        let names: Vec<String> = sig.params.iter().map(|p| p.name.clone()).collect();
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        let number = |name: &str| {
            select::known("parameter", name, &known)?;
            Ok::<usize, anyhow::Error>(names.iter().position(|n| n == name).unwrap_or_default())
        };
        let mut named = vec![];
        let mut writes = vec![];
        for text in &options.outs {
            let (name, file) = match text.split_once('=') {
                Some((name, file)) if !file.trim().is_empty() => (name.trim(), Some(file.trim())),
                Some((name, _)) => bail!("`--out {name}=`: a file's name is missing"),
                None => (text.trim(), None),
            };
            let param = number(name)?;
            named.push(param);
            if let Some(file) = file {
                writes.push((param, file.into()));
            }
        }
        let written = || (0..names.len()).filter(|i| select::is_made(sig, *i)).collect::<Vec<_>>();
        let mut checks = vec![];
        for text in &options.checks {
            let (param, file) = match text.split_once('=') {
                Some((name, file)) => (number(name.trim())?, file.trim()),
                None => {
                    let candidates = if named.is_empty() { written() } else { named.clone() };
                    let [only] = candidates[..] else { bail!("`--check {text}`: say of which tensor, as in `--check y={text}`") };
                    (only, text.trim())
                }
            };
            checks.push((param, file.into()));
        }
        Ok(Outputs { writes, checks, names })
    }

    /// What can be known to be wrong before the kernel runs.
    fn check(&self, sig: &KernelSignature, args: &[OwnedArg]) -> Result<()> {
        for (param, file) in &self.writes {
            let OwnedArg::Tensor(tensor) = &args[*param] else { bail!("`--out {}`: this is no tensor", self.names[*param]) };
            files::check_writable(file, tensor.scalar_type().context("pointers cannot be written")?)?;
            let clash = self.writes.iter().filter(|(_, other)| other == file).count() > 1;
            if clash && file.extension().is_some_and(|e| e.eq_ignore_ascii_case("npy")) {
                bail!("`{}` is to hold several tensors: use .npz or .safetensors", file.display());
            }
        }
        for (param, file) in &self.checks {
            if !matches!(args[*param], OwnedArg::Tensor(_)) {
                bail!(
                    "`--check {}={}`: parameter `{}` of `{}` is no tensor",
                    self.names[*param],
                    file.display(),
                    self.names[*param],
                    sig.name
                );
            }
        }
        Ok(())
    }

    /// The tensors to write and compare; copies, where they will change again.
    fn snapshot(&self, args: &[OwnedArg], copy: bool) -> Result<Vec<Option<AnyTensor>>> {
        args.iter()
            .enumerate()
            .map(|(i, arg)| match arg {
                OwnedArg::Tensor(tensor) if self.writes.iter().chain(&self.checks).any(|(p, _)| *p == i) => {
                    Ok(Some(if copy { tensor.deep_clone()? } else { tensor.clone() }))
                }
                _ => Ok(None),
            })
            .collect()
    }

    /// Writes and compares. False where a comparison failed.
    fn finish(&self, ui: &Ui, options: &RunOptions, results: &[Option<AnyTensor>]) -> Result<bool> {
        let mut by_file: Vec<(&Path, Vec<(String, AnyTensor)>)> = vec![];
        for (param, file) in &self.writes {
            let Some(tensor) = &results[*param] else { continue };
            let entry = (self.names[*param].clone(), tensor.clone());
            match by_file.iter_mut().find(|(f, _)| f == file) {
                Some((_, tensors)) => tensors.push(entry),
                None => by_file.push((file, vec![entry])),
            }
        }
        for (file, tensors) in by_file {
            files::write(file, &tensors)?;
            ui.status("Wrote", &format!("{}", file.display()));
        }
        let mut right = true;
        for (param, file) in &self.checks {
            let Some(tensor) = &results[*param] else { continue };
            let name = &self.names[*param];
            let reference = files::read(file, None, name).with_context(|| format!("reference of `{name}`"))?;
            let ty = tensor.scalar_type().context("pointers cannot be compared")?;
            let usual = Tolerance::of(ty);
            let tolerance = Tolerance {
                relative: options.rtol.unwrap_or(usual.relative),
                absolute: options.atol.unwrap_or(usual.absolute),
                ..usual
            };
            let found = compare(tensor, &reference, tolerance).with_context(|| format!("`{name}` and `{}`", file.display()))?;
            right &= say_comparison(ui, name, file, tolerance, &found);
        }
        Ok(right)
    }
}

fn say_comparison(ui: &Ui, name: &str, file: &Path, tolerance: Tolerance, found: &Comparison) -> bool {
    let errors = format!("largest error {:.3e}, relative {:.3e}", found.max_absolute, found.max_relative);
    let Some((index, value, reference)) = &found.first else {
        ui.status("Checked", &format!("`{name}` agrees with {}: {errors}", file.display()));
        return true;
    };
    let first = format!("first at {index:?}: {value:?} instead of {reference:?}");
    let limits = format!("allowed {:.1e} + {:.1e} relative", tolerance.absolute, tolerance.relative);
    let error = anyhow::anyhow!(
        "`{name}` differs from {} in {} of {} elements\n  {first}\n  {errors} ({limits})",
        file.display(),
        found.wrong,
        found.elements
    );
    let _ = ui.fail(&error);
    false
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

fn say_compiled(ui: &Ui, sig: &KernelSignature, prepared: &Launched, time: Duration) {
    let compiled = prepared.compiled();
    let how = match compiled.origin {
        Origin::Compiled => "Compiled",
        Origin::Disk => "Loaded",
        Origin::Bundle => "Bundled",
    };
    let stages: Vec<String> = compiled.stages.iter().map(|s| format!("{} {}", s.name, milliseconds(s.time))).collect();
    ui.status(how, &format!("kernel `{}` in {} ({})", sig.name, milliseconds(time), stages.join(", ")));
    if let Some(code) = prepared.gpu_code() {
        let by = match code.assembler {
            Assembler::Ptxas => "ptxas".to_owned(),
            Assembler::Driver(None) => "the driver".to_owned(),
            Assembler::Driver(Some(why)) => format!("the driver, as ptxas' result cannot be used: {why}"),
        };
        let time = milliseconds(code.load_time);
        let local = if code.local_bytes > 0 { format!(", {} bytes of local memory", code.local_bytes) } else { String::new() };
        ui.status("Assembled", &format!("by {by} in {time}: {} registers a thread{local}", code.registers));
    }
}

fn operations(text: &str, sig: &KernelSignature, prepared: &Launched) -> Result<f64> {
    let dims = || sig.dims.iter().zip(prepared.dims()).filter_map(|(n, v)| Some((n.as_str(), (*v)?)));
    let consts = || sig.const_params.iter().map(|c| c.name.as_str()).zip(prepared.consts().iter().copied());
    flops::evaluate(text, &|name| dims().chain(consts()).find(|(n, _)| *n == name).map(|(_, v)| v as f64))
}

/// The table of results, or a JSON object.
fn show(
    ui: &Ui,
    sig: &KernelSignature,
    device: &Device,
    launched: &Launched,
    args: &[OwnedArg],
    mut times: Vec<Duration>,
    operations: Option<f64>,
) {
    times.sort();
    let (median, least) = (times[times.len() / 2].as_secs_f64(), times[0].as_secs_f64());
    let tensors = || args.iter().filter_map(|a| if let OwnedArg::Tensor(t) = a { Some(t) } else { None });
    let bytes: usize = tensors().map(AnyTensor::byte_len).sum();
    let (bandwidth, rate) = (bytes as f64 / median / 1e9, operations.map(|n| n / median / 1e12));
    let grid = &launched.grid()[..sig.grid.len()];
    if !ui.is_human() {
        let object = serde_json::json!({
            "kernel": sig.name, "device": device.name(), "grid": grid, "runs": times.len(), "median_seconds": median, "least_seconds": least,
            "bytes": bytes, "gigabytes_per_second": bandwidth, "teraflops": rate,
        });
        ui.out(&format!("{object}\n"));
        return;
    }
    let grid = grid.iter().map(i64::to_string).collect::<Vec<_>>().join(" x ");
    let mut header = vec!["kernel", "device", "grid", "runs", "median", "least", "GB/s"];
    let mut row = vec![
        sig.name.clone(),
        device.name(),
        grid,
        times.len().to_string(),
        format!("{:.3} ms", median * 1e3),
        format!("{:.3} ms", least * 1e3),
        format!("{bandwidth:.2}"),
    ];
    if let Some(rate) = rate {
        header.push("TFLOP/s");
        row.push(format!("{rate:.4}"));
    }
    ui.out(&table(&header, &row));
}

/// Two lines with aligned columns; numbers stand to the right.
fn table(header: &[&str], row: &[String]) -> String {
    let line = |cells: &mut dyn Iterator<Item = (usize, &str)>| {
        let cells =
            cells.enumerate().map(|(i, (width, text))| if i < 2 { format!("{text:<width$}") } else { format!("{text:>width$}") });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    let widths: Vec<usize> = header.iter().zip(row).map(|(h, r)| h.len().max(r.len())).collect();
    let head = line(&mut widths.iter().copied().zip(header.iter().copied()));
    head + &line(&mut widths.iter().copied().zip(row.iter().map(String::as_str)))
}
