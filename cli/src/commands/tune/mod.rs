//! `kiln tune`: sweeps over a kernel's `#[tune]` space, with what they found on the screen, in files, and in the store that launches read.

mod live;
mod records;

use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use kiln::tuned::{Objective, TuneStore};
use kiln::{Device, KernelSignature, Program, ProgramOptions};
use kiln_ir::signature::LaunchOptions;
use kiln_tune::inputs::{self, Sizes};
use kiln_tune::objective;
use kiln_tune::report::{Peer, Report, Roofline, Size};
use kiln_tune::search::Strategy;
use kiln_tune::sweep::{self, Problem, Settings, Shard, Sweep};

use super::{run, select};
use crate::opts::{KernelOptions, StrategyKind, SweepOptions, TuneOptions};
use crate::remote;
use crate::ui::Ui;
use live::Live;

/// Runs it.
pub fn run(options: &TuneOptions, ui: &Ui) -> Result<ExitCode> {
    match options {
        TuneOptions::Sweep(sweep) => tune(sweep, ui),
        TuneOptions::Records(action) => records::run(action, ui),
    }
}

/// The store that the command line names, else the user's.
fn store(named: Option<&Path>) -> Result<TuneStore> {
    match named {
        Some(dir) => Ok(TuneStore::open(dir)),
        None => TuneStore::open_default()?
            .context("results have no place: KILN_TUNE_DIR or KILN_CACHE_DIR is `off`; name a directory with --store"),
    }
}

fn tune(options: &SweepOptions, ui: &Ui) -> Result<ExitCode> {
    let file = &options.kernel.file;
    let device = match &options.device {
        Some(name) => Device::from_name(name)?,
        None => Device::best()?,
    };
    // The sweep compares with the kernel's own defaults, not with what an earlier one found.
    let cached = ProgramOptions { tuned: None, opt_level: options.kernel.opt_level, ..remote::program_options()? };
    let program = Program::open_with(file, cached)?;
    let kernels: Vec<&KernelSignature> = program.signatures().iter().map(|s| &**s).collect();
    let sig = select::kernel(&kernels, options.kernel.kernel.as_deref(), &file.to_string_lossy())?;
    let kernel = run::configured(&program, sig, &options.kernel)?;
    let settings = settings(options)?;
    let store = store(options.store.as_deref())?;
    if let Some(url) = &options.remote {
        let new = remote::pull(url, &store)?;
        ui.status("Pulled", &format!("{new} records from {url}"));
    }
    let before = store.load(&sig.name)?;
    let fresh = options.fresh.then(tempfile::tempdir).transpose()?;
    let peers = options.peers.as_deref().map(read_peers).transpose()?.unwrap_or_default();
    let mut report = Report {
        kiln: kiln_compiler::build_id().to_owned(),
        unix: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()),
        device: device.tuning_name(),
        kernel: sig.name.clone(),
        file: file.to_string_lossy().into_owned(),
        types: Default::default(),
        with: Default::default(),
        strategy: settings.strategy.name().to_owned(),
        objective: Objective::Measured,
        roofline: Roofline::of(&device)?,
        sizes: vec![],
        peers,
    };
    let stop = AtomicBool::new(false);
    for sizes in launches(options.sizes.as_deref(), sig)? {
        let kernel_options = with_inputs(&options.kernel, sig, sizes.as_ref())?;
        let mut args = run::arguments(&kernel_options, sig)?;
        run::make_missing(&kernel, &device, sig, &mut args)?;
        run::place(&device, &mut args)?;
        let mut objective = objective::of_device(&device, !options.no_flush)?;
        let mut live = Live::new(ui, &sizes.as_ref().map(text).unwrap_or_default());
        let problem = Problem { kernel: &kernel, device: &device, args };
        // A fresh sweep keeps its results to itself until it is done: what is known now stays what launches take.
        let into = fresh.as_ref().map(|dir| TuneStore::open(dir.path()));
        let used = into.as_ref().unwrap_or(&store);
        let found = sweep::run(problem, &mut *objective, &settings, Some(used), &stop, &mut |event| live.see(&event))?;
        live.end();
        if let Some(into) = &into {
            into.load(&sig.name)?.records.iter().try_for_each(|record| store.append(record))?;
        }
        (report.types, report.with) = (found.subject.types.clone(), found.subject.with.clone());
        report.objective = found.objective;
        let size = Size::new(&found);
        show(ui, &found, &size, options.top);
        if let Some(timing) = size.winning().and_then(|row| row.timing) {
            report.roofline.reached(size.flops / timing.median);
        }
        report.sizes.push(size);
        // After every set of sizes, so that what is done is there if the next one is not.
        write(options, &report)?;
    }
    if let Some(url) = &options.remote {
        let mut all = store.load(&sig.name)?;
        all.records.retain(|record| !before.records.contains(record));
        let count = remote::push(url, &all)?;
        ui.status("Pushed", &format!("{count} records to {url}"));
    }
    for (what, file) in [("JSON", &options.json), ("CSV", &options.csv), ("report", &options.html)] {
        if let Some(file) = file {
            ui.status("Wrote", &format!("{what} {}", file.display()));
        }
    }
    if !ui.is_human() {
        ui.out(&format!("{}\n", serde_json::to_string(&report)?));
    }
    Ok(ExitCode::SUCCESS)
}

fn settings(options: &SweepOptions) -> Result<Settings> {
    Ok(Settings {
        strategy: match options.strategy {
            StrategyKind::Exhaustive => Strategy::Exhaustive,
            StrategyKind::Halving => Strategy::Halving,
            StrategyKind::Guided => Strategy::Guided,
        },
        precision: options.precision,
        seconds: options.seconds,
        share: options.share,
        shard: options.shard.as_deref().map(Shard::parse).transpose().map_err(anyhow::Error::msg)?,
        tolerance: options.tolerance,
        ..Settings::default()
    })
}

/// One entry a set of sizes; one without sizes where none are given.
pub fn launches(sizes: Option<&str>, sig: &KernelSignature) -> Result<Vec<Option<Sizes>>> {
    match sizes {
        Some(text) => Ok(inputs::parse_sizes(text, sig)?.into_iter().map(Some).collect()),
        None => Ok(vec![None]),
    }
}

/// The options with arguments for tensors that have none, where sizes say what they have to be.
pub fn with_inputs(options: &KernelOptions, sig: &KernelSignature, sizes: Option<&Sizes>) -> Result<KernelOptions> {
    let mut options = options.clone();
    let Some(sizes) = sizes else { return Ok(options) };
    let launch: LaunchOptions = select::launch_options(&options, sig)?;
    let given = select::arguments(&options, sig)?;
    let made = inputs::shapes(sig, sizes, &launch.consts, &launch.types)?;
    for ((param, made), given) in sig.params.iter().zip(made).zip(given) {
        let (Some(made), None) = (made, given) else { continue };
        let dims = made.dims.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let made = match made.elem {
            None => format!("randn({dims})"),
            Some(ty) if ty.is_float() => format!("randn({dims}):{ty}"),
            Some(ty) if ty == kiln::ScalarType::Bool => format!("randint(0..2, {dims}):{ty}"),
            Some(ty) => format!("randint(0..8, {dims}):{ty}"),
        };
        options.args.push(format!("{}={made}", param.name));
    }
    Ok(options)
}

fn read_peers(file: &Path) -> Result<Vec<Peer>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read `{}`", file.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!("`{}` is not a list of {{\"name\": \"numpy\", \"dims\": {{\"M\": 512}}, \"seconds\": 0.001}}", file.display())
    })
}

fn write(options: &SweepOptions, report: &Report) -> Result<()> {
    let files = [(&options.json, report.json()), (&options.csv, report.csv()), (&options.html, kiln_tune::report::page(report))];
    for (file, text) in files {
        if let Some(file) = file {
            std::fs::write(file, text).with_context(|| format!("cannot write `{}`", file.display()))?;
        }
    }
    Ok(())
}

/// `M=512 N=512`.
pub fn text(sizes: &Sizes) -> String {
    sizes.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

/// A time for people.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.3} s"),
        s if s >= 1e-3 => format!("{:.3} ms", s * 1e3),
        s => format!("{:.2} us", s * 1e6),
    }
}

/// The table of the fastest, and what became of the others.
fn show(ui: &Ui, sweep: &Sweep, size: &Size, top: usize) {
    if !ui.is_human() {
        return;
    }
    let word = if sweep.objective == Objective::Predicted { "predicted" } else { "median" };
    let mut out = format!("{} {}\n", sweep.subject.kernel, text(&sweep.dims));
    // Configurations with the same code share a line.
    let own = size.trials.iter().filter(|row| row.same_code_as.is_none());
    let mut ranked: Vec<_> = own.filter_map(|row| Some((row, row.timing?))).collect();
    ranked.sort_by(|(_, a), (_, b)| a.high.total_cmp(&b.high));
    let width = ranked.iter().take(top).map(|(row, _)| row.config.to_string().len()).max().unwrap_or(0).max(13);
    out.push_str(&format!("  {:<width$}  {word:>12}  {:>8}  {:>9}\n", "configuration", "+- %", "GFLOP/s"));
    let mut line = |name: &str, t: &kiln::tuned::Timing, more: usize| {
        let half = 50.0 * (t.high - t.low) / t.median;
        out.push_str(&format!(
            "  {name:<width$}  {:>12}  {half:>8.1}  {:>9.1}{}\n",
            seconds(t.median),
            size.flops / t.median / 1e9,
            if more > 0 { format!("  and {more} with the same code") } else { String::new() }
        ));
    };
    for (row, timing) in ranked.iter().take(top) {
        let more = size.trials.iter().filter(|other| other.same_code_as.as_ref() == Some(&row.config)).count();
        line(&row.config.to_string(), timing, more);
    }
    if let Some(defaults) = &size.defaults {
        line("(defaults)", defaults, 0);
    }
    let count = |status: &str| size.trials.iter().filter(|row| row.status == status).count();
    let states = ["time", "condition", "refused", "compile", "fault", "differs", "not looked at"];
    let counts: Vec<String> =
        states.iter().map(|s| (count(s), s)).filter(|(n, _)| *n > 0).map(|(n, s)| format!("{n} {s}")).collect();
    out.push_str(&format!("  {} configurations: {}", size.trials.len(), counts.join(", ")));
    if let Some(rank) = size.rank_correlation {
        out.push_str(&format!("; the cost model's rank correlation is {rank:.2}"));
    }
    out.push('\n');
    for row in
        size.trials.iter().filter(|row| matches!(row.status.as_str(), "refused" | "compile" | "fault" | "differs")).take(top)
    {
        out.push_str(&format!("  out: {}: {}: {}\n", row.config, row.status, row.message.lines().next().unwrap_or_default()));
    }
    ui.out(&out);
}
