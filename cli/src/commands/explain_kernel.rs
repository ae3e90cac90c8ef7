//! `kiln explain FILE`: registers, spills, shared memory and occupancy of a kernel, and what each source line does to memory.
//!
//! The kernel runs once on the emulator, with counters: figures per line are those of the arguments that are given. Registers and spills are ptxas's, where
//! it is installed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use kiln::emulator::{Count, Counters};
use kiln::{Device, EmulatorOptions, Program, ProgramOptions};
use kiln_compiler::PtxArtifact;
use kiln_ir::signature::KernelSignature;
use kiln_tune::occupancy::occupancy;

use super::{run, select};
use crate::opts::ExplainOptions;
use crate::tools::{self, Assembled};
use crate::ui::Ui;

/// Explains one kernel of a file.
pub fn run(options: &ExplainOptions, file: &str, ui: &Ui) -> Result<ExitCode> {
    let settings = options.kernel_options(file);
    let program = Program::open_with(file, ProgramOptions::without_cache())?;
    let kernels: Vec<&KernelSignature> = program.signatures().iter().map(|s| &**s).collect();
    let sig = select::kernel(&kernels, settings.kernel.as_deref(), file)?;
    let kernel = run::configured(&program, sig, &settings)?;
    let emulator = EmulatorOptions::parse(&options.target).map_err(|e| anyhow::anyhow!("--target: {e}"))?;
    let device = Device::emulator_with(EmulatorOptions { counters: true, ..emulator });
    let mut args = run::arguments(&settings, sig)?;
    run::make_missing(&kernel, &device, sig, &mut args)
        .context("explain runs the kernel once on the emulator: give its arguments as for `kiln run`")?;
    let ran = run::launch(&kernel, &device, &mut args).run()?;
    let artifact = ran.compiled().ptx().context("the emulator ran no PTX: this is a bug in kiln")?;
    let Some(counters) = ran.emulation().and_then(|report| report.counters.as_ref()) else {
        bail!("the grid is empty: nothing ran");
    };
    let assembled = match kiln::ptxas::find("ptxas") {
        Some(_) => Some(tools::assemble(&artifact.ptx, &artifact.target.name())?),
        None => None,
    };
    let grid: Vec<String> = ran.grid()[..sig.grid.len()].iter().map(i64::to_string).collect();
    let mut text = head(&sig.name, &grid.join(" x "), artifact, assembled.as_ref());
    text.push_str(&lines(counters, &std::fs::read_to_string(file).unwrap_or_default(), file));
    ui.out(&text);
    Ok(ExitCode::SUCCESS)
}

/// What holds for the kernel as a whole.
fn head(name: &str, grid: &str, artifact: &PtxArtifact, assembled: Option<&Assembled>) -> String {
    let mut text =
        format!("kernel `{name}` for {}: grid {grid}, {} warps a program\n", artifact.target.name(), artifact.num_warps);
    let least =
        artifact.registers.map(|r| format!("at least {} of {} a thread, tiles and what belongs to them", r.least, r.most));
    match assembled {
        Some(found) => {
            let _ = writeln!(
                text,
                "  registers      {} a thread, {} bytes of stack, {} + {} bytes of spills",
                found.registers, found.stack, found.spills.0, found.spills.1
            );
            let o = occupancy(artifact.target, artifact.num_warps, found.registers, artifact.shared_bytes);
            let _ = writeln!(
                text,
                "  occupancy      {} of {} warps: {} programs a multiprocessor, limited by {}",
                o.warps, o.most, o.blocks, o.limit
            );
            found.warnings.iter().for_each(|w| {
                let _ = writeln!(text, "  {w}");
            });
        }
        None => {
            let least = least.as_deref().unwrap_or("not known");
            let _ = writeln!(text, "  registers      {least}: ptxas was not found (KILN_TOOLS, CUDA_HOME or the search path)");
        }
    }
    let _ = writeln!(text, "  shared memory  {} bytes a program", artifact.shared_bytes);
    let _ = writeln!(
        text,
        "  layouts        {} conversions, {} of them through shared memory",
        artifact.layouts.conversions, artifact.layouts.through_shared
    );
    text
}

/// Kinds of instructions, in the order they are shown.
const KINDS: [&str; 7] = ["tensor", "float", "integer", "move", "memory", "sync", "control"];

/// The kind of a PTX instruction.
fn kind(text: &str) -> usize {
    let opcode = if text.starts_with('@') { text.split_whitespace().nth(1) } else { text.split_whitespace().next() };
    let opcode = opcode.unwrap_or_default();
    let base = opcode.split('.').next().unwrap_or_default();
    let float = || opcode.split('.').any(|part| matches!(part.get(..2), Some("f1" | "f3" | "f6" | "bf")));
    match base {
        "mma" | "wgmma" | "ldmatrix" | "stmatrix" => 0,
        "ld" | "st" | "atom" | "red" | "cp" | "prefetch" | "ldu" | "prefetchu" => 4,
        "bar" | "barrier" | "membar" | "fence" | "mbarrier" | "shfl" | "vote" | "match" | "redux" | "elect" | "activemask" => 5,
        "bra" | "brx" | "call" | "ret" | "exit" | "trap" => 6,
        "mov" | "cvta" | "selp" | "prmt" => 3,
        "ex2" | "lg2" | "sin" | "cos" | "tanh" | "rcp" | "rsqrt" | "sqrt" | "fma" | "copysign" => 1,
        _ if float() => 1,
        _ => 2,
    }
}

/// Counts of a source line.
#[derive(Default)]
struct Line {
    count: Count,
    /// Executions of each of [`KINDS`].
    kinds: [u64; KINDS.len()],
}

/// The table of source lines.
fn lines(counters: &Counters, source: &str, file: &str) -> String {
    let mut table: BTreeMap<(String, u32), Line> = BTreeMap::new();
    let mut whole = Line::default();
    for instruction in &counters.instructions {
        let place = instruction.place.source.clone().unwrap_or_default();
        for line in [table.entry(place).or_default(), &mut whole] {
            line.count.add(&instruction.count);
            line.kinds[kind(&instruction.place.text)] += instruction.count.executions;
        }
    }
    let total = whole.count.executions.max(1);
    let mut text = format!(
        "\n{:>5}  {:>6}  {:>9}  {:>6}  {:>10}  {:>9}  {:<34}  source\n",
        "line", "instr.", "sect/req", "ideal", "bytes", "conflicts", "mix"
    );
    let mut row = |number: String, line: &Line, source: &str| {
        let c = &line.count;
        let ratio = |a: u64, b: u64| if b == 0 { String::new() } else { format!("{:.2}", a as f64 / b as f64) };
        // Bank conflicts: passes through the banks beyond what the widths of the accesses need.
        let conflicts =
            if c.shared_requests == 0 { String::new() } else { c.shared_wavefronts.saturating_sub(c.shared_ideal).to_string() };
        let bytes = c.global_bytes + c.async_bytes;
        let bytes = if bytes == 0 { String::new() } else { bytes.to_string() };
        let mut mix: Vec<(u64, &str)> = line.kinds.iter().copied().zip(KINDS).filter(|(n, _)| *n > 0).collect();
        mix.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
        let share = |n: u64| (100 * n + c.executions / 2) / c.executions.max(1);
        let mix: Vec<String> = mix.into_iter().take(3).map(|(n, name)| format!("{name} {}%", share(n))).collect();
        let _ = writeln!(
            text,
            "{number:>5}  {:>5.1}%  {:>9}  {:>6}  {bytes:>10}  {conflicts:>9}  {:<34}  {source}",
            100.0 * c.executions as f64 / total as f64,
            ratio(c.global_sectors, c.global_requests),
            ratio(c.global_bytes.div_ceil(32), c.global_requests),
            mix.join(", "),
        );
    };
    for ((name, number), line) in &table {
        // Line 0: instructions that no line of the source asked for, such as those that set up rings.
        let own = if name == file { source.lines().nth((*number as usize).wrapping_sub(1)) } else { None };
        let shown = own.map_or(if *number == 0 { "(the compiler's own)" } else { name.as_str() }, str::trim);
        row(if *number == 0 { "-".to_owned() } else { number.to_string() }, line, shown);
    }
    row("all".to_owned(), &whole, &format!("{} warp instructions", whole.count.executions));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_have_kinds() {
        let kinds = [
            ("ld.global.v4.b32 {%r1, %r2, %r3, %r4}, [%rd1];", "memory"),
            ("@%p1 bra $L1;", "control"),
            ("fma.rn.f32 %f1, %f2, %f3, %f4;", "float"),
            ("add.rn.bf16x2 %r1, %r2, %r3;", "float"),
            ("add.s32 %r1, %r2, %r3;", "integer"),
            ("bar.sync 0;", "sync"),
            ("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1}, {%r1}, {%r2}, {%f2};", "tensor"),
            ("@%p2 st.shared.b32 [%r1], %r2;", "memory"),
            ("mov.u32 %r1, %tid.x;", "move"),
        ];
        for (text, expected) in kinds {
            assert_eq!(KINDS[kind(text)], expected, "{text}");
        }
    }
}
