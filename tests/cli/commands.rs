//! The other commands.

use std::io::Write;
use std::process::Stdio;

use crate::{KERNELS, Place, ran};

#[test]
fn help_teaches_and_usage_errors_exit_with_2() {
    let place = Place::new();
    for args in [&["--help"][..], &["run", "--help"], &["build", "--help"], &["check", "--help"], &["cache", "--help"]] {
        let ran = place.ok(args);
        assert!(ran.out.contains("Usage: kiln"), "{}", ran.out);
    }
    assert!(place.ok(&["run", "--help"]).out.contains("randn(4096,4096):f16"));
    assert!(place.ok(&["--version"]).out.starts_with("kiln "));
    for args in [&[][..], &["frobnicate"], &["cache"], &["cache", "frobnicate"], &["check"], &["--color", "blue", "devices"]] {
        assert_eq!(place.kiln(args).code, Some(2), "{args:?}");
    }
    assert!(place.kiln(&["biuld"]).err.contains("build"));
}

#[test]
fn check_reports_every_file_and_counts() {
    let place = Place::new();
    place.file("good.kiln", KERNELS);
    place.file("bad.kiln", "kernel k(x: mut tensor<f32, [N]>) grid [N] { x[program_id(0)] = a; x[program_id(0)] = b; }");
    assert!(place.ok(&["check", "good.kiln"]).err.contains("1 file"));
    let ran = place.fails(&["check", "good.kiln", "bad.kiln"], "2 errors found");
    assert!(ran.err.contains("bad.kiln:1:"), "{}", ran.err);
    let ran = place.kiln(&["check", "bad.kiln", "--message-format", "json"]);
    assert_eq!((ran.code, ran.out.lines().count(), ran.err.as_str()), (Some(1), 2, ""));
    for line in ran.out.lines() {
        let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(value["severity"], "error");
    }
    place.fails(&["check", "good.kiln", "--deny", "K9999"], "there is no such code");
    let colored = place.kiln(&["check", "bad.kiln", "--color", "always"]);
    assert!(colored.err.contains("\x1b[1;31m") && !place.kiln(&["check", "bad.kiln"]).err.contains('\x1b'));
}

#[test]
fn build_emits_every_stage() {
    let place = Place::new();
    place.file("k.kiln", KERNELS);
    let emit = |kind: &str, more: &[&str]| {
        let args: Vec<&str> = ["build", "k.kiln", "-k", "scale", "--emit", kind].iter().chain(more).copied().collect();
        place.ok(&args).out
    };
    assert!(emit("ast", &[]).contains("scale"));
    assert!(emit("tile-ir", &[]).contains("kernel @0 scale"));
    assert!(emit("llvm", &[]).contains("define"));
    assert!(emit("asm", &[]).contains("kiln_scale"));
    let ptx = emit("ptx", &["--target", "sm_90a"]);
    assert!(ptx.contains(".target sm_90a") && ptx.contains(".entry"), "{ptx}");
    assert!(emit("tile-ir", &["--print-after", "canonicalize"]).contains("; after canonicalize"));
    assert!(emit("tile-ir", &["--arg", "x=f16[64]"]).contains("f16"));
    place.ok(&["build", "k.kiln", "-k", "scale", "-o", "k.o"]);
    assert!(std::fs::metadata(place.path("k.o")).unwrap().len() > 100);
    let timed = place.ok(&["build", "k.kiln", "-k", "scale", "--time-passes"]);
    assert!(timed.err.contains("canonicalize") && timed.err.contains("instantiate"), "{}", timed.err);
    // The same input gives the same text.
    assert_eq!(ptx, emit("ptx", &["--target", "sm_90a"]));
}

#[test]
fn build_refuses_what_makes_no_sense() {
    let place = Place::new();
    place.file("k.kiln", KERNELS);
    let fails = |more: &[&str], expected: &str| {
        let args: Vec<&str> = ["build", "k.kiln", "-k", "scale"].iter().chain(more).copied().collect();
        place.fails(&args, expected);
    };
    fails(&["--target", "sm_91"], "there is no target `sm_91`");
    fails(&["--target", "host", "--emit", "ptx"], "PTX is for GPUs");
    fails(&["--target", "sm_90a", "--emit", "asm"], "are of the host");
    fails(&["--emit", "machine"], "invalid value");
    fails(&["--emit", "sass", "--target", "host"], "layouts, cubin and SASS are for GPUs");
    fails(&["--emit", "cubin", "--target", "sm_70"], "there is no target `sm_70`");
    fails(&["--print-after", "nothing"], "there is no pass `nothing`");
    fails(&["--stop-after", "nothing"], "there is no pass `nothing`");
    fails(&["--arg", "x=f32[3]", "--arg", "y=f32[4]"], "dimension `N`");
    fails(&["--dim", "Q=3"], "there is no dimension called `Q`");
    fails(&["--dim", "N=-3"], "is no extent");
    fails(&["--with", "z"], "there is no parameter called `z`");
    place.fails(&["build", "k.kiln", "-k", "needs"], "constant `K` is not determined");
}

/// With ptxas at hand or without: machine code, or an error that says what is missing.
#[test]
fn machine_code_of_a_gpu_needs_nvidias_tools() {
    let place = Place::new();
    place.file("k.kiln", KERNELS);
    let build = |emit: &'static str| ["build", "k.kiln", "-k", "scale", "--target", "sm_90a", "--emit", emit];
    let nowhere = |args: &[&str]| {
        let mut command = place.command(args);
        command
            .env("KILN_TOOLS", place.path("nothing"))
            .env("CUDA_HOME", place.path("nothing"))
            .env("PATH", place.path("nothing"));
        ran(command.output().expect("the binary starts"), args)
    };
    if !std::path::Path::new("/usr/local/cuda/bin/ptxas").exists() {
        let without = nowhere(&build("sass"));
        assert_eq!(without.code, Some(1), "{}{}", without.out, without.err);
        assert!(without.err.contains("error[K1018]") && without.err.contains("`ptxas` was not found"), "{}", without.err);
        // What is known without it is shown.
        let explained = nowhere(&["explain", "k.kiln", "-k", "scale", "--arg", "x=arange(100):f32", "--arg", "factor=2"]);
        assert_eq!(explained.code, Some(0), "{}{}", explained.out, explained.err);
        assert!(explained.out.contains("ptxas was not found") && explained.out.contains("sect/req"), "{}", explained.out);
    }
    if std::env::var_os("KILN_TOOLS").is_some() {
        assert!(place.ok(&build("sass")).out.contains("EXIT"));
        place.ok(&["build", "k.kiln", "-k", "scale", "--target", "sm_80", "--emit", "cubin", "-o", "k.cubin"]);
        assert!(std::fs::read(place.path("k.cubin")).expect("written").starts_with(b"\x7fELF"));
    }
}

#[test]
fn layouts_and_explanations_are_shown() {
    let place = Place::new();
    place.file("k.kiln", KERNELS);
    let layouts = place.ok(&["build", "k.kiln", "-k", "scale", "--emit", "layouts", "--target", "sm_80"]).out;
    assert!(layouts.starts_with("; #layout0 = ") && layouts.contains("kernel @0 scale"), "{layouts}");
    let explain = ["explain", "k.kiln", "-k", "scale", "--arg", "x=arange(1024):f32", "--arg", "factor=2", "--target", "sm_80"];
    let explained = place.ok(&explain).out;
    // 4 bytes an element, read and written once, in whole sectors.
    assert!(
        explained.contains("for sm_80") && explained.contains("8192") && explained.contains("warp instructions"),
        "{explained}"
    );
    place.fails(&["explain", "k.kiln", "-k", "scale", "--target", "sm_70"], "no option `sm_70`");
    place.fails(&["explain", "nothing.kiln"], "nothing.kiln");
}

/// The emulator runs what the CPU runs, prints included.
#[test]
fn kernels_run_on_the_emulator() {
    let place = Place::new();
    place.file(
        "p.kiln",
        "kernel p(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {\n    let v = x[0..+10];\n    print(\"{} and {}\", v, sum(v) > 3.0);\n    \
         y[0..+10] = v * 2.0;\n}\n",
    );
    let run = |device: &str, out: &str| {
        let args = ["run", "p.kiln", "-q", "--device", device, "--arg", "x=arange(10):f32", "--out", out];
        place.ok(&args).out.lines().find(|l| l.starts_with("p[")).expect("a printed line").to_owned()
    };
    let printed = run("cpu", "y=cpu.npy");
    assert_eq!(printed, "p[0]: [0.0, 1.0, 2.0, .., 7.0, 8.0, 9.0] and true");
    for (device, file) in [("emulator", "a.npy"), ("emulator:sm_80,random=3", "b.npy")] {
        assert_eq!(run(device, &format!("y={file}")), printed, "{device}");
        assert_eq!(std::fs::read(place.path(file)).unwrap(), std::fs::read(place.path("cpu.npy")).unwrap());
    }
    place.fails(&["run", "p.kiln", "--device", "emulator:sm_70", "--arg", "x=arange(10):f32"], "K1016");
}

#[test]
fn the_examples_are_formatted_and_free_of_warnings() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../dsl-examples");
    Place::new().ok(&["fmt", "--check", examples]);
    for folder in std::fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().path()) {
        let kernel = folder.join(folder.file_name().unwrap()).with_extension("kiln");
        if kernel.exists() {
            Place::new().ok(&["check", "--deny", "warnings", &kernel.to_string_lossy()]);
        }
    }
}

#[test]
fn fmt_formats_checks_and_leaves_broken_files_alone() {
    let place = Place::new();
    let ugly = "kernel k( x:mut tensor<f32,[N]> ) grid[N]{x[program_id(0)]=1.0;}\n";
    place.file("a.kiln", ugly);
    place.fails(&["fmt", "--check", "a.kiln"], "Unformatted");
    assert_eq!(std::fs::read_to_string(place.path("a.kiln")).unwrap(), ugly);
    place.ok(&["fmt", "."]);
    let pretty = std::fs::read_to_string(place.path("a.kiln")).unwrap();
    assert_ne!(pretty, ugly);
    place.ok(&["fmt", "--check", "a.kiln"]);
    let mut child = place.command(&["fmt", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(ugly.as_bytes()).unwrap();
    assert_eq!(ran(child.wait_with_output().unwrap(), &["fmt", "-"]).out, pretty);
    place.file("broken.kiln", "kernel (");
    place.fails(&["fmt", "broken.kiln", "a.kiln"], "error[K01");
    assert_eq!(std::fs::read_to_string(place.path("broken.kiln")).unwrap(), "kernel (");
    place.fails(&["fmt", "missing.kiln"], "cannot read `missing.kiln`");
    place.fails(&["fmt", "missing"], "there is no `missing`");
    place.file("a.txt", "");
    place.fails(&["fmt", "a.txt"], "neither a .kiln file nor a directory");
}

#[test]
fn explain_knows_every_code() {
    let place = Place::new();
    let list = place.ok(&["explain", "--list"]).out;
    assert!(list.lines().count() > 20);
    for line in list.lines().step_by(7) {
        let code = line.split_whitespace().next().unwrap();
        assert!(place.ok(&["explain", code]).out.starts_with(code));
    }
    assert!(place.ok(&["explain", "k1002"]).out.contains("K1002"));
    place.fails(&["explain", "K0000"], "there is no error code `K0000`");
    place.fails(&["explain"], "required");
}

#[test]
fn new_makes_a_project_whose_kernel_runs() {
    let place = Place::new();
    place.ok(&["new", "my-kernels"]);
    place.ok(&["check", "my-kernels/src/scale.kiln"]);
    place.ok(&["fmt", "--check", "my-kernels"]);
    place.ok(&["run", "my-kernels/src/scale.kiln", "--arg", "x=arange(10):f32", "--out", "y=y.npy"]);
    assert_eq!(crate::read_f32(&place.path("y.npy")), (0..10).map(|i| 2.0 * i as f32).collect::<Vec<_>>());
    place.fails(&["new", "my-kernels"], "is there already");
    place.fails(&["new", "3d"], "is no package name");
    place.fails(&["new", "a/.."], "no package name");
}

#[test]
fn devices_lists_the_cpu() {
    let place = Place::new();
    let out = place.ok(&["devices"]).out;
    assert!(out.contains("* cpu") && out.contains("2 threads"), "{out}");
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let place = Place::new();
    let mut child = place.command(&["explain", "--list"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ran = ran(child.wait_with_output().unwrap(), &["explain"]);
    assert!(ran.err.is_empty(), "{}", ran.err);
}
