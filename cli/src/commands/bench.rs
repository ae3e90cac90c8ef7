//! `kiln bench`: how fast a kernel is as programs launch it, with whatever sweeps have found for it.

use std::process::ExitCode;

use anyhow::Result;
use kiln::{Device, KernelSignature, Program, ProgramOptions};
use kiln_tune::objective;
use kiln_tune::sweep::{self, Problem, Settings};

use super::{run, select, tune};
use crate::opts::BenchOptions;
use crate::remote;
use crate::ui::Ui;

/// Runs it.
pub fn run(options: &BenchOptions, ui: &Ui) -> Result<ExitCode> {
    let file = &options.kernel.file;
    let device = match &options.device {
        Some(name) => Device::from_name(name)?,
        None => Device::best()?,
    };
    let mut program_options = ProgramOptions { opt_level: options.kernel.opt_level, ..remote::program_options()? };
    if options.untuned {
        program_options.tuned = None;
    }
    let program = Program::open_with(file, program_options)?;
    let kernels: Vec<&KernelSignature> = program.signatures().iter().map(|s| &**s).collect();
    let sig = select::kernel(&kernels, options.kernel.kernel.as_deref(), &file.to_string_lossy())?;
    let kernel = run::configured(&program, sig, &options.kernel)?;
    let settings = Settings { precision: options.precision, seconds: options.seconds, ..Settings::default() };
    if ui.is_human() {
        ui.out(&format!("{:<28}  {:>12}  {:>6}  {:>9}  {:>9}  configuration\n", "sizes", "median", "+- %", "GB/s", "GFLOP/s"));
    }
    for sizes in tune::launches(options.sizes.as_deref(), sig)? {
        let kernel_options = tune::with_inputs(&options.kernel, sig, sizes.as_ref())?;
        let mut args = run::arguments(&kernel_options, sig)?;
        run::make_missing(&kernel, &device, sig, &mut args)?;
        run::place(&device, &mut args)?;
        let mut objective = objective::of_device(&device, !options.no_flush)?;
        let timed = sweep::time(Problem { kernel: &kernel, device: &device, args }, &mut *objective, &settings)?;
        let t = timed.timing;
        let flops = timed.work.map(|w| w.flops());
        let choice = timed.launched.tuned();
        if !ui.is_human() {
            let object = serde_json::json!({
                "kernel": sig.name, "device": device.tuning_name(), "sizes": sizes, "median_seconds": t.median, "low_seconds": t.low,
                "high_seconds": t.high, "samples": t.samples, "bytes": timed.footprint, "flops": flops,
                "configuration": choice.map(|c| &c.config), "tuned_for": choice.map(|c| &c.key),
            });
            ui.out(&format!("{object}\n"));
            continue;
        }
        let configuration = match choice {
            Some(choice) if choice.exact => choice.config.to_string(),
            Some(choice) => format!("{} (tuned for {})", choice.config, choice.key),
            None => "defaults".to_owned(),
        };
        ui.out(&format!(
            "{:<28}  {:>12}  {:>6.1}  {:>9.2}  {:>9.1}  {configuration}\n",
            sizes.as_ref().map(tune::text).unwrap_or_else(|| "as given".to_owned()),
            tune::seconds(t.median),
            50.0 * (t.high - t.low) / t.median,
            timed.footprint / t.median / 1e9,
            flops.unwrap_or(0.0) / t.median / 1e9,
        ));
    }
    Ok(ExitCode::SUCCESS)
}
