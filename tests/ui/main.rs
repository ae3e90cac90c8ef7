//! What the Rust compiler says about mistakes in kernels that are part of Rust programs, and about wrong uses of the functions they become.
//!
//! Every `cases/*.rs` is compiled by itself (metadata only) against the `kiln` that this test is linked with, and must fail; what the compiler says is a
//! snapshot. `INSTA_UPDATE=always` accepts new ones: read them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The folder of the libraries that cargo built for this test.
fn libraries() -> PathBuf {
    let test = std::env::current_exe().expect("a running test has a path");
    test.parent().expect("a file lies in a folder").to_owned()
}

/// `rustc` on a file, with its libraries.
fn rustc(kiln: &Path, file: &str) -> Command {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.current_dir(folder()).args(["--edition", "2024", "--emit", "metadata", "--crate-name", "case", "--color", "never"]);
    command.arg("--out-dir").arg(std::env::temp_dir().join(format!("kiln-ui-{}", std::process::id())));
    command.arg("-L").arg(format!("dependency={}", libraries().display()));
    command.arg("--extern").arg(format!("kiln={}", kiln.display())).arg(file);
    command.env("CARGO_MANIFEST_DIR", folder());
    command
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/ui").canonicalize().expect("the folder is there")
}

/// The `kiln` library that fits the others: builds with other features may have left theirs beside it.
fn kiln() -> PathBuf {
    let entries = std::fs::read_dir(libraries()).expect("the folder of this test can be read").flatten();
    let mut found: Vec<_> = entries
        .filter(|e| e.file_name().to_str().is_some_and(|n| n.starts_with("libkiln-") && n.ends_with(".rlib")))
        .filter_map(|e| Some((e.metadata().ok()?.modified().ok()?, e.path())))
        .collect();
    found.sort();
    let fits = |kiln: &PathBuf| rustc(kiln, "fits.rs").output().is_ok_and(|output| output.status.success());
    let fitting = found.into_iter().rev().map(|(_, path)| path).find(fits);
    fitting.expect("cargo built the `kiln` that this test depends on")
}

/// What was said, without line numbers in the runtime's own sources.
fn without_our_lines(text: &str) -> String {
    let line = |line: &str| match (line.contains(" runtime/src/"), line.split_once(".rs:")) {
        (true, Some((file, _))) => format!("{file}.rs\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

#[test]
fn mistakes_are_shown_where_they_are() {
    let kiln = kiln();
    let cases = folder().join("cases");
    let entries = std::fs::read_dir(&cases).expect("the cases are there").flatten();
    let mut names: Vec<String> = entries.filter_map(|e| e.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned)).collect();
    names.sort();
    assert!(names.len() >= 40, "only {} cases", names.len());
    let next = Mutex::new(names.iter());
    let said = Mutex::new(vec![]);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let Some(name) = next.lock().unwrap().next() else { return };
                    let output = rustc(&kiln, &format!("cases/{name}.rs")).output().expect("rustc runs");
                    let text = without_our_lines(&String::from_utf8_lossy(&output.stderr));
                    said.lock().unwrap().push((name, output.status.success(), text));
                }
            });
        }
    });
    let mut said = said.into_inner().unwrap();
    said.sort();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(cases.join("snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (name, compiled, text) in said {
            assert!(!compiled || text.contains("warning"), "{name}.rs compiles without a word");
            insta::assert_snapshot!(name.as_str(), text);
        }
    });
}
