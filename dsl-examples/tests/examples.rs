//! Every example runs on the CPU, and finds its results right.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Programs by the name of their folder.
const EXAMPLES: &[(&str, &str)] = &[
    ("attention", env!("CARGO_BIN_EXE_attention")),
    ("cross_entropy", env!("CARGO_BIN_EXE_cross_entropy")),
    ("dropout", env!("CARGO_BIN_EXE_dropout")),
    ("histogram", env!("CARGO_BIN_EXE_histogram")),
    ("layer_norm", env!("CARGO_BIN_EXE_layer_norm")),
    ("matmul", env!("CARGO_BIN_EXE_matmul")),
    ("prefix_sum", env!("CARGO_BIN_EXE_prefix_sum")),
    ("rms_norm", env!("CARGO_BIN_EXE_rms_norm")),
    ("softmax", env!("CARGO_BIN_EXE_softmax")),
    ("streams", env!("CARGO_BIN_EXE_streams")),
    ("tuning", env!("CARGO_BIN_EXE_tuning")),
    ("vector_add", env!("CARGO_BIN_EXE_vector_add")),
];

#[test]
fn every_example_is_right() {
    for (name, program) in EXAMPLES {
        let output = Command::new(program).args(["--device", "cpu"]).env("KILN_CACHE_DIR", "off").output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{name}\n{out}{err}");
        // The head, the committed input, and several sizes.
        assert!(out.starts_with("on cpu") && out.lines().count() >= 5, "{name}\n{out}");
    }
}

/// The same on the emulator, with every check on. Examples that run for long there are left to `--ignored`.
fn on_the_emulator(wanted: fn(&str) -> bool) {
    for (name, program) in EXAMPLES.iter().filter(|(name, _)| wanted(name)) {
        let output = Command::new(program).args(["--device", "emulator"]).env("KILN_CACHE_DIR", "off").output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{name}\n{out}{err}");
        assert!(out.starts_with("on emulator:sm_90a") && out.lines().count() >= 5, "{name}\n{out}");
    }
}

/// The same as a GPU's launches, on the stand-in for its driver.
#[test]
#[cfg(target_os = "linux")]
fn examples_are_right_on_the_stand_in_for_a_gpu() {
    for (name, program) in EXAMPLES {
        let mut command = Command::new(program);
        assert!(kiln_tests::stand_in::give_to(&mut command, "", false), "cargo builds the stand-in with this test");
        let output = command.args(["--device", "cuda"]).env("KILN_CACHE_DIR", "off").output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{name}\n{out}{err}");
        assert!(out.starts_with("on cuda:0") && out.lines().count() >= 5, "{name}\n{out}");
    }
}

const LONG: [&str; 0] = [];

#[test]
fn examples_are_right_on_the_emulator() {
    on_the_emulator(|name| !LONG.contains(&name));
}

#[test]
#[ignore = "minutes on the emulator"]
fn long_examples_are_right_on_the_emulator() {
    on_the_emulator(|name| LONG.contains(&name));
}

/// No example touches memory outside, and no two programs of one touch an element without atomics.
#[test]
fn the_checked_mode_finds_nothing() {
    // Products read each element many times, which takes long when every read is looked at; sweeps run each kernel many times.
    for (name, program) in EXAMPLES.iter().filter(|(name, _)| !["attention", "matmul", "tuning"].contains(name)) {
        let output = Command::new(program).args(["--device", "cpu:checked"]).env("KILN_CACHE_DIR", "off").output().unwrap();
        assert!(output.status.success(), "{name}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn every_folder_is_whole() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found: BTreeSet<String> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| root.join(name).join(format!("{name}.kiln")).exists())
        .collect();
    // The sentence encoder needs its weights, and has tests of its own (minilm.rs).
    let tested: BTreeSet<&str> = EXAMPLES.iter().map(|(name, _)| *name).chain(["minilm"]).collect();
    assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), tested);
    for name in &found {
        for file in ["README.md", "main.rs"] {
            assert!(root.join(name).join(file).exists(), "{name} has no {file}");
        }
    }
}

#[test]
fn devices_that_are_not_there_are_refused() {
    let output = Command::new(EXAMPLES[0].1).args(["--device", "cuda:999"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("K1016"));
}
