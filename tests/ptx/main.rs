//! The PTX of every example and language case: ptxas accepts it for every architecture (without spills for the examples), and the same input gives the same
//! bytes, whatever else the process compiles, in whatever order, on however many threads.
//!
//! ptxas comes from `KILN_TOOLS`, or `target/tools` of the workspace; without either, tests that need it say so and do nothing.

mod attention;
mod fused_products;
mod gradients;
mod reductions;
mod sass;
mod tune_lists;
mod wide;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_compiler::{Artifact, CompileOptions, GpuTarget, Session, Target};
use kiln_ir::ScalarType;
use kiln_ir::signature::{Assumptions, KernelSignature, LaunchOptions, Specialization};
use kiln_tests::language_cases;
use rayon::prelude::*;

const TARGETS: [&str; 4] = ["sm_80", "sm_86", "sm_89", "sm_90a"];

fn ptxas() -> Option<PathBuf> {
    let named = std::env::var_os("KILN_TOOLS").map(PathBuf::from);
    let root = named.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools"));
    let path = root.join("nvidia/cu13/bin/ptxas");
    if path.exists() {
        return Some(path);
    }
    assert!(named.is_none(), "KILN_TOOLS has no ptxas at {}", path.display());
    eprintln!("skipped: ptxas is not installed (cargo xtask setup --tools)");
    None
}

/// A kernel for a specialization and a target.
struct Job {
    name: String,
    file: PathBuf,
    kernel: String,
    spec: Specialization,
    target: &'static str,
}

impl Job {
    fn ptx(&self, session: &Session) -> Result<String, String> {
        let target = GpuTarget::from_name(self.target).expect("a target");
        let compiled = session.compile(&self.kernel, &self.spec, &CompileOptions::new(Target::Gpu(target)));
        match compiled.map_err(|e| format!("{}: {e}", self.name))?.artifact {
            Artifact::Ptx(artifact) => Ok(artifact.ptx),
            _ => Err(format!("{}: no PTX", self.name)),
        }
    }

    fn open(&self) -> Session {
        Session::open(&self.file).unwrap_or_else(|e| panic!("{}: {e}", self.file.display()))
    }
}

/// What ptxas says of the PTX: the bytes a thread spills, where that is allowed; with `clean` stack, spills and warnings are errors.
fn assemble(ptxas: &Path, job: &Job, ptx: &str, clean: bool) -> Result<u32, String> {
    assemble_text(ptxas, &job.name, job.target, ptx, clean)
}

fn assemble_text(ptxas: &Path, name: &str, target: &str, ptx: &str, clean: bool) -> Result<u32, String> {
    let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
    let source = dir.path().join("kernel.ptx");
    std::fs::write(&source, ptx).map_err(|e| e.to_string())?;
    let mut command = Command::new(ptxas);
    command.arg(format!("-arch={}", target)).arg("-v").arg(&source).arg("-o").arg(dir.path().join("kernel.cubin"));
    let out = command.output().map_err(|e| e.to_string())?;
    let report = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    if !out.status.success() {
        return Err(format!("{}: ptxas refuses:\n{report}", name));
    }
    let no_spills = "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads";
    let frames = report.lines().filter(|l| l.contains("spill stores")).all(|l| l.contains(no_spills));
    if clean && (!frames || report.contains("warning")) {
        return Err(format!("{}: {report}", name));
    }
    let spills = report.lines().filter_map(|l| l.split(", ").find(|part| part.ends_with("bytes spill stores")));
    Ok(spills.filter_map(|part| part.split(' ').next()?.parse::<u32>().ok()).sum())
}

fn run(jobs: Vec<Job>, clean: bool) {
    let Some(ptxas) = ptxas() else { return };
    let count = jobs.len();
    let results: Vec<Result<Option<String>, String>> = jobs
        .into_par_iter()
        .map(|job| match job.ptx(&job.open()) {
            Ok(ptx) => {
                let spilled = assemble(&ptxas, &job, &ptx, clean)?;
                Ok((spilled > 0).then(|| format!("{}: {spilled} bytes spilled", job.name)))
            }
            Err(refusal) => Err(refusal),
        })
        .collect();
    let failed: Vec<String> = results.iter().filter_map(|r| r.as_ref().err().cloned()).collect();
    for note in results.into_iter().flatten().flatten() {
        println!("{note}");
    }
    assert!(failed.is_empty(), "{} of {count} failed:\n{}", failed.len(), failed.join("\n"));
    println!("{count} kernels assembled");
}

/// Every kernel of the language cases: the `pick`-th of its specializations (all, for None) for the `pick`-th target.
fn language_cases(pick: Option<usize>) -> Vec<Job> {
    let mut jobs = vec![];
    for file in language_cases::files() {
        let session = Session::open(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        for sig in session.kernels() {
            for (i, spec) in language_cases::specializations(sig).into_iter().enumerate() {
                for (t, target) in TARGETS.into_iter().enumerate() {
                    // Neighbouring kernels take different ones.
                    let turn = jobs.len() + usize::from(sig.name.as_bytes()[0]);
                    let chosen = |pick: usize| i == (pick + turn) % 2 && t == (pick + turn) % TARGETS.len();
                    if pick.is_none_or(chosen) {
                        let name = format!("{} {} #{i} {target}", file.display(), sig.name);
                        jobs.push(Job { name, file: file.clone(), kernel: sig.name.clone(), spec: spec.clone(), target });
                    }
                }
            }
        }
    }
    jobs
}

/// Every kernel of the examples in f32 and f16, at usual sizes.
fn examples() -> Vec<Job> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dsl-examples");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&root)
        .expect("the examples")
        .map(|entry| entry.expect("an entry").path())
        .filter_map(|dir| Some(dir.join(format!("{}.kiln", dir.file_name()?.to_str()?))))
        .filter(|file| file.exists())
        .collect();
    files.sort();
    assert!(files.len() >= 10, "only {} examples", files.len());
    let mut jobs = vec![];
    for file in files {
        let session = Session::open(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let stem = file.file_stem().expect("a name").to_string_lossy().into_owned();
        for sig in session.kernels() {
            for ty in [ScalarType::F32, ScalarType::F16] {
                if ty == ScalarType::F16 && sig.type_params.is_empty() {
                    continue;
                }
                for target in TARGETS {
                    let name = format!("{stem} {} {ty} {target}", sig.name);
                    jobs.push(Job { name, file: file.clone(), kernel: sig.name.clone(), spec: usual(sig, ty), target });
                }
            }
        }
    }
    jobs
}

fn usual(sig: &KernelSignature, ty: ScalarType) -> Specialization {
    let mut options = LaunchOptions { num_sms: 132, ..LaunchOptions::default() };
    options.types = sig.type_params.iter().map(|p| (p.name.clone(), ty)).collect();
    for param in sig.const_params.iter().filter(|p| p.default.is_none()) {
        options.consts.push((param.name.clone(), if param.name == "D" { 64 } else { 1024 }));
    }
    let dims = sig.dims.iter().map(|dim| (dim.clone(), 1024)).collect();
    let assumptions = Assumptions { dims, present: vec![] };
    sig.assume(&assumptions, &options).unwrap_or_else(|e| panic!("{}: {e:?}", sig.name))
}

#[test]
fn ptxas_takes_the_examples_without_spills() {
    run(examples(), true);
}

/// The examples' products run on warpgroups and are fed by tensor copies where the GPU has such, at the sizes that people launch.
#[test]
fn products_of_the_examples_are_fed_by_tensor_copies() {
    let expected = ["attention attention f16 sm_90a", "matmul matmul f16 sm_90a", "matmul linear_gelu f16 sm_90a"];
    let jobs: Vec<Job> = examples().into_iter().filter(|job| expected.contains(&&*job.name)).collect();
    assert_eq!(jobs.len(), expected.len());
    for job in jobs {
        let ptx = job.ptx(&job.open()).unwrap_or_else(|e| panic!("{e}"));
        assert!(ptx.contains("wgmma.mma_async") && ptx.contains("cp.async.bulk.tensor"), "{}", job.name);
        assert!(!ptx.contains("cp.async.cg") && !ptx.contains("mma.sync"), "{}", job.name);
    }
}

#[test]
fn ptxas_takes_the_language_cases() {
    let jobs = language_cases(Some(0));
    assert!(jobs.len() > 30, "only {} kernels", jobs.len());
    run(jobs, false);
}

/// Every specialization for one architecture.
fn every_specialization(target: &str) {
    run(language_cases(None).into_iter().filter(|job| job.target == target).collect(), false);
}

#[test]
#[ignore = "minutes: every specialization for sm_80"]
fn ptxas_takes_every_specialization_for_sm_80() {
    every_specialization("sm_80");
}

#[test]
#[ignore = "minutes: every specialization for sm_86"]
fn ptxas_takes_every_specialization_for_sm_86() {
    every_specialization("sm_86");
}

#[test]
#[ignore = "minutes: every specialization for sm_89"]
fn ptxas_takes_every_specialization_for_sm_89() {
    every_specialization("sm_89");
}

#[test]
#[ignore = "minutes: every specialization for sm_90a"]
fn ptxas_takes_every_specialization_for_sm_90a() {
    every_specialization("sm_90a");
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// PTX of examples by name, compiled in this order, each in a session of its own.
fn hashes(jobs: &[&Job]) -> BTreeMap<String, u64> {
    let one = |job: &&Job| (job.name.clone(), hash(&job.ptx(&job.open()).unwrap_or_else(|e| panic!("{e}"))));
    jobs.par_iter().map(one).collect()
}

/// The examples of the determinism test: one architecture is enough.
fn of_one_target(jobs: &[Job]) -> Vec<&Job> {
    jobs.iter().filter(|job| job.target == "sm_90a").collect()
}

/// Run by [`the_same_input_gives_the_same_bytes`] in processes of its own.
#[test]
#[ignore = "the other half of the_same_input_gives_the_same_bytes"]
fn print_hashes() {
    let jobs = examples();
    let mut jobs = of_one_target(&jobs);
    if std::env::var_os("KILN_TEST_REVERSED").is_some() {
        jobs.reverse();
    }
    for (name, hash) in hashes(&jobs) {
        println!("hash {name}: {hash:016x}");
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let jobs = examples();
    let jobs = of_one_target(&jobs);
    let expected: Vec<String> = hashes(&jobs).into_iter().map(|(name, hash)| format!("hash {name}: {hash:016x}")).collect();
    assert!(expected.len() > 15, "only {} kernels", expected.len());
    let again: Vec<String> = hashes(&jobs).into_iter().map(|(name, hash)| format!("hash {name}: {hash:016x}")).collect();
    assert_eq!(expected, again, "in one process");
    for (threads, reversed) in [("1", true), ("5", false)] {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "print_hashes", "--ignored", "--nocapture"]).env("RAYON_NUM_THREADS", threads);
        if reversed {
            command.env("KILN_TEST_REVERSED", "1");
        }
        let out = command.output().expect("this test runs");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
        let found: Vec<String> = text.lines().filter_map(|l| l.find("hash ").map(|at| l[at..].to_owned())).collect();
        assert_eq!(expected, found, "in a process with {threads} threads");
    }
}
