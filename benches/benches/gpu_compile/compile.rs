//! From source to PTX in processes that have compiled before: Kiln and Triton by turns.

use std::process::Command;
use std::time::Instant;

use kiln_benches::peer::{Peer, python, script};
use kiln_benches::report::Report;
use kiln_benches::sample::Sample;
use kiln_compiler::{Artifact, GpuTarget, Session};

use crate::Options;
use crate::kernels::{self, WORKS, Work};

/// The stages of a table, with those that each one is the sum of.
const STAGES: &[(&str, &[&str])] = &[
    ("parse", &["load"]),
    ("instantiate", &["instantiate"]),
    ("passes", &["passes"]),
    ("layouts", &["layouts"]),
    ("LLVM IR written", &["build"]),
    ("read", &["read"]),
    ("LLVM passes", &["optimize"]),
    ("codegen", &["codegen"]),
];

/// One kernel's samples.
struct Line<'a> {
    work: &'a Work,
    kiln: Sample,
    check: Sample,
    stages: Vec<(String, Sample)>,
    /// Triton's version with pointers, that with descriptors: source to PTX.
    triton: [Sample; 2],
    /// Stages of Triton's faster version in its last round.
    triton_stages: [String; 2],
    ptx_lines: usize,
}

/// Adds a table for each target.
pub fn bench(report: &mut Report, options: &Options) -> Result<(), String> {
    let mut triton = triton()?;
    for &target in &options.targets {
        let mut lines: Vec<Line<'_>> = WORKS.iter().filter(|w| options.chooses(w.label)).map(Line::new).collect();
        // The first round warms up.
        for round in 0..=options.rounds {
            eprintln!("{}, round {round} of {}", target.name(), options.rounds);
            for line in &mut lines {
                line.round(target, &mut triton, round > 0, options.repeats)?;
            }
        }
        tables(report, target, &lines);
    }
    Ok(())
}

/// Triton's process; its cache is away afterwards.
fn triton() -> Result<Option<Peer>, String> {
    let mut command = Command::new(python());
    command.arg(script("triton_compile.py")).arg("serve");
    let mut peer = Peer::spawn("Triton", command)?;
    match peer.ask(&WORKS[0].request(GpuTarget { sm: 80, arch_specific: false }, false)) {
        Ok(answer) if !answer.starts_with("error") => Ok(Some(peer)),
        Ok(error) | Err(error) => {
            eprintln!("without Triton: {error}");
            Ok(None)
        }
    }
}

impl<'a> Line<'a> {
    fn new(work: &'a Work) -> Line<'a> {
        Line {
            work,
            kiln: Sample::default(),
            check: Sample::default(),
            stages: vec![],
            triton: Default::default(),
            triton_stages: Default::default(),
            ptx_lines: 0,
        }
    }

    /// Kiln `repeats` times, Triton once.
    fn round(&mut self, target: GpuTarget, triton: &mut Option<Peer>, keep: bool, repeats: usize) -> Result<(), String> {
        let (file, text) = self.work.source()?;
        for _ in 0..repeats {
            let start = Instant::now();
            let session = Session::from_source(&file, &text).map_err(|e| e.to_string())?;
            let spec = self.work.specialization(&session)?;
            let compiled = session
                .compile(self.work.kernel, &spec, &kernels::options(target))
                .map_err(|e| format!("{} for {}: {e}", self.work.label, target.name()))?;
            let time = start.elapsed().as_secs_f64();
            let Artifact::Ptx(artifact) = &compiled.artifact else {
                return Err(format!("{}: no PTX", self.work.label));
            };
            self.ptx_lines = artifact.ptx.lines().count();
            if !keep {
                continue;
            }
            self.kiln.extend([time]);
            let load = ("load", session.load_time);
            let stages = compiled.stages.iter().map(|s| (s.name.as_str(), s.time));
            for (name, time) in std::iter::once(load).chain(stages) {
                sample(&mut self.stages, name).extend([time.as_secs_f64()]);
            }
            let start = Instant::now();
            session.check().map_err(|e| e.to_string())?;
            self.check.extend([start.elapsed().as_secs_f64()]);
        }
        let Some(peer) = triton else { return Ok(()) };
        for descriptors in [false, true] {
            if descriptors && !(self.work.descriptors && target.sm >= 90) {
                continue;
            }
            let answer = peer.ask(&self.work.request(target, descriptors))?;
            let stages = crate::pairs(&answer).map_err(|e| format!("{}: {e}", self.work.label))?;
            // Assembling is not part of the comparison: Kiln leaves it to the driver.
            let ptx: f64 = stages.iter().filter(|(name, _)| name != "cubin").map(|(_, time)| time).sum();
            if keep {
                let version = usize::from(descriptors);
                self.triton[version].extend([ptx]);
                self.triton_stages[version] =
                    stages.iter().map(|(n, t)| format!("{n} {:.0}", t * 1e3)).collect::<Vec<_>>().join(", ");
            }
        }
        Ok(())
    }
}

fn sample<'s>(samples: &'s mut Vec<(String, Sample)>, name: &str) -> &'s mut Sample {
    let at = samples.iter().position(|(n, _)| n == name).unwrap_or_else(|| {
        samples.push((name.to_owned(), Sample::default()));
        samples.len() - 1
    });
    &mut samples[at].1
}

fn tables(report: &mut Report, target: GpuTarget, lines: &[Line<'_>]) {
    let ms = |sample: &Sample| if sample.is_empty() { String::new() } else { format!("{:.1}", sample.median() * 1e3) };
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let version = usize::from(line.triton[1].median() < line.triton[0].median());
            let triton = &line.triton[version];
            let ratio = if triton.is_empty() { String::new() } else { format!("{:.0}", triton.median() / line.kiln.median()) };
            vec![
                line.work.label.to_owned(),
                ms(&line.kiln),
                format!("{:.1}", line.kiln.min() * 1e3),
                line.ptx_lines.to_string(),
                ms(&line.triton[0]),
                ms(&line.triton[1]),
                ratio,
                line.triton_stages[version].clone(),
            ]
        })
        .collect();
    report.table(
        &format!("{}: source to PTX, ms, processes that have compiled before", target.name()),
        &[
            "kernel",
            "Kiln, median",
            "Kiln, best",
            "Kiln's lines of PTX",
            "Triton, pointers, median",
            "Triton, descriptors, median",
            "Triton's faster / Kiln",
            "Triton's faster in its last round, stage by stage; cubin is not in the sums",
        ],
        &rows,
    );
    let mut head = vec!["kernel"];
    head.extend(STAGES.iter().map(|(name, _)| *name));
    head.extend(["LLVM, % of all", "check (not in the sum)"]);
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let of = |names: &[&str]| -> f64 {
                let parts = line.stages.iter().filter(|(name, _)| names.contains(&name.as_str()));
                parts.map(|(_, sample)| sample.median()).sum()
            };
            let mut row = vec![line.work.label.to_owned()];
            row.extend(STAGES.iter().map(|(_, names)| format!("{:.1}", of(names) * 1e3)));
            row.push(format!("{:.0}", 100.0 * of(&["read", "optimize", "codegen"]) / line.kiln.median()));
            row.push(ms(&line.check));
            row
        })
        .collect();
    report.table(&format!("{}: Kiln's stages, medians, ms", target.name()), &head, &rows);
}
