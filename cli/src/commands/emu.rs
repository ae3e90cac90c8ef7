//! `kiln emu`: a PTX file, any compiler's, on the emulated GPU.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use kiln::AnyTensor;
use kiln_emulator::command::{self, Argument, Buffer, Outcome, Scalar};
use kiln_emulator::{Arch, Limits, Options, Sanitizers, Schedule};
use kiln_ir::ScalarType;

use crate::data::files;
use crate::opts::{EmuOptions, Sanitizer, ScheduleKind};
use crate::ui::Ui;

/// The emulator's element types and the language's.
const TYPES: [(Scalar, ScalarType); 12] = [
    (Scalar::U8, ScalarType::U8),
    (Scalar::I8, ScalarType::I8),
    (Scalar::U16, ScalarType::U16),
    (Scalar::I16, ScalarType::I16),
    (Scalar::U32, ScalarType::U32),
    (Scalar::I32, ScalarType::I32),
    (Scalar::U64, ScalarType::U64),
    (Scalar::I64, ScalarType::I64),
    (Scalar::F16, ScalarType::F16),
    (Scalar::Bf16, ScalarType::BF16),
    (Scalar::F32, ScalarType::F32),
    (Scalar::F64, ScalarType::F64),
];

pub fn run(options: &EmuOptions, ui: &Ui) -> Result<ExitCode> {
    let source = std::fs::read_to_string(&options.file).with_context(|| format!("cannot read `{}`", options.file.display()))?;
    let mut args = vec![];
    let mut shapes = vec![];
    for text in &options.args {
        let (argument, shape) = argument(text)?;
        args.push(argument);
        shapes.push(shape);
    }
    let outs = options.outs.iter().map(|text| out(text, &args)).collect::<Result<Vec<_>>>()?;
    let arch = match &options.arch {
        Some(name) => Some(
            Arch::from_name(name)
                .with_context(|| format!("`{name}` is no architecture; there are sm_80, sm_86, sm_89, sm_90, sm_90a"))?,
        ),
        None => None,
    };
    let launch = command::Command {
        source,
        kernel: options.kernel.clone(),
        grid: command::extent(&options.grid).context("--grid")?,
        block: command::extent(&options.block).context("--block")?,
        cluster: options.cluster.as_deref().map(command::extent).transpose().context("--cluster")?,
        smem: options.smem,
        args,
        arch,
        options: how(options),
    };
    let outcome = match command::run(&launch) {
        Ok(outcome) => outcome,
        Err(kiln_emulator::Error::Fault(fault)) if !ui.is_human() => {
            let message = fault.to_string();
            ui.out(&format!("{}\n", serde_json::json!({ "severity": "error", "message": message, "fault": fault })));
            return Ok(ExitCode::FAILURE);
        }
        Err(error) => return Err(error.into()),
    };
    for (index, file) in outs {
        write(&file, index, &launch.args[index], &outcome, &shapes[index])?;
        ui.status("Wrote", &format!("{}", file.display()));
    }
    show(options, ui, &launch, &outcome);
    Ok(ExitCode::SUCCESS)
}

fn how(options: &EmuOptions) -> Options {
    let schedule = match options.schedule {
        ScheduleKind::Eager => Schedule::Eager,
        ScheduleKind::Lazy => Schedule::Lazy,
        ScheduleKind::LazyRandom => Schedule::LazyRandom(options.seed),
        ScheduleKind::Random => Schedule::Random(options.seed),
    };
    let mut sanitizers = Sanitizers::ALL;
    for off in &options.without {
        match off {
            Sanitizer::All => sanitizers = Sanitizers::NONE,
            Sanitizer::Bounds => sanitizers.bounds = false,
            Sanitizer::Alignment => sanitizers.alignment = false,
            Sanitizer::Uninitialized => sanitizers.uninitialized = false,
            Sanitizer::SharedRaces => sanitizers.shared_races = false,
            Sanitizer::GlobalRaces => sanitizers.global_races = false,
            Sanitizer::Barriers => sanitizers.barriers = false,
            Sanitizer::InFlight => sanitizers.in_flight = false,
        }
    }
    let limits = Limits { instructions: options.max_instructions, ..Limits::default() };
    Options { schedule, sanitizers, deterministic: true, counters: options.counters, limits }
}

/// An argument, and the extents it had where it came from a file.
fn argument(text: &str) -> Result<(Argument, Option<Vec<i64>>)> {
    let (shown, body) = match text.strip_prefix("out:") {
        Some(body) => (true, body),
        None => (false, text),
    };
    let Some(file) = body.strip_prefix('@') else { return Ok((text.parse()?, None)) };
    let tensor = files::read(Path::new(file), None, "").with_context(|| format!("argument `{text}`"))?;
    let ty = tensor.scalar_type().context("pointers are no elements")?;
    let Some((scalar, _)) = TYPES.iter().find(|(_, t)| *t == ty) else {
        bail!("argument `{text}`: elements of type {ty} are not supported")
    };
    let bytes = tensor.to_bytes()?.to_vec();
    let buffer = Buffer { scalar: *scalar, count: tensor.len(), bytes: Some(bytes), shown };
    Ok((Argument::Buffer(buffer), Some(tensor.dims().to_vec())))
}

/// `2=y.npy`: number of an argument that is a buffer, and a file.
fn out(text: &str, args: &[Argument]) -> Result<(usize, PathBuf)> {
    let parts = text.split_once('=').and_then(|(index, file)| Some((index.parse::<usize>().ok()?, file)));
    let Some((index, file)) = parts else { bail!("`--out {text}`: say which argument, counted from 0, as in `--out 2=y.npy`") };
    let Some(Argument::Buffer(buffer)) = args.get(index) else { bail!("`--out {text}`: argument {index} is no buffer") };
    files::check_writable(Path::new(file), element(buffer.scalar)?)?;
    Ok((index, file.into()))
}

fn element(scalar: Scalar) -> Result<ScalarType> {
    TYPES.iter().find(|(s, _)| *s == scalar).map(|(_, ty)| *ty).context("an element type without a name")
}

fn write(file: &Path, index: usize, argument: &Argument, outcome: &Outcome, shape: &Option<Vec<i64>>) -> Result<()> {
    let (Argument::Buffer(buffer), Some(bytes)) = (argument, &outcome.buffers[index]) else {
        bail!("argument {index} is no buffer")
    };
    let dims = shape.clone().unwrap_or_else(|| vec![buffer.count as i64]);
    let tensor = AnyTensor::from_bytes(element(buffer.scalar)?, &dims, bytes)?;
    files::write(file, &[(format!("argument{index}"), tensor)])
}

fn show(options: &EmuOptions, ui: &Ui, launch: &command::Command, outcome: &Outcome) {
    let report = &outcome.report;
    if !ui.is_human() {
        let object = serde_json::json!({
            "kernel": outcome.kernel, "arch": outcome.arch.to_string(), "warp_instructions": report.warp_instructions,
            "output": report.output, "counters": report.counters,
        });
        ui.out(&format!("{object}\n"));
        return;
    }
    ui.out(&report.output);
    ui.out(&outcome.shown(&launch.args));
    if let (true, Some(counters)) = (options.counters, &report.counters) {
        ui.out(&counters.to_string());
    }
    let text =
        format!("kernel `{}` on an emulated {}: {} warp instructions", outcome.kernel, outcome.arch, report.warp_instructions);
    ui.status("Ran", &text);
}
