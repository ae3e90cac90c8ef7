//! Stores that machines share: records and compiled code of one are found by another. `cargo xtask test --remote` runs it, or
//! `cargo test --workspace --features kiln-cli/remote --test remote`.

use std::path::Path;
use std::process::Command;

const TUNED: &str = "#[tune(B = [4, 8, 16, 32], key = [N])]
kernel k<const B: int = 4>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, B)] {
    let n = program_id(0) * B;
    y[n..+B] = x[n..+B] * 2.0;
}
";

/// Runs the binary as a machine with a directory of its own.
fn kiln(machine: &Path, args: &[&str], remote: Option<&str>) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.args(args).current_dir(machine).env("KILN_CACHE_DIR", machine.join("cache")).env("KILN_NUM_THREADS", "2");
    for variable in ["KILN_DEVICE", "KILN_TUNE_DIR", "KILN_REMOTE"] {
        command.env_remove(variable);
    }
    if let Some(url) = remote {
        command.env("KILN_REMOTE", url);
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "kiln {}\n{}", args.join(" "), text(&output.stderr));
    text(&output.stdout) + &text(&output.stderr)
}

fn machine() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("k.kiln"), TUNED).unwrap();
    std::fs::create_dir(dir.path().join("cache")).unwrap();
    dir
}

#[test]
fn records_and_code_are_shared() {
    let shared = tempfile::tempdir().unwrap();
    let url = format!("fs://{}", shared.path().display());
    let (one, other) = (machine(), machine());
    let sweep = ["tune", "k.kiln", "--sizes", "4096", "--strategy", "exhaustive", "--seconds", "0.01", "--remote", &url];
    let first = kiln(one.path(), &sweep, Some(&url));
    assert!(first.contains("Pushed 4 records"), "{first}");
    // The other machine measures nothing, and its launches take the winner.
    let second = kiln(other.path(), &sweep, Some(&url));
    assert!(second.contains("Pulled 4 records") && second.contains("Pushed 0 records"), "{second}");
    let bench = ["bench", "k.kiln", "--sizes", "4096", "--seconds", "0.01"];
    assert!(kiln(other.path(), &bench, None).contains(" B="));
    // What one has compiled the other loads.
    let run = ["run", "k.kiln", "--arg", "x=ones(100):f32", "--out", "y", "--const", "B=16"];
    assert!(kiln(one.path(), &run, Some(&url)).contains("Compiled"));
    assert!(kiln(other.path(), &run, Some(&url)).contains("Loaded"));
    let third = machine();
    assert!(kiln(third.path(), &run, None).contains("Compiled"));
    kiln(third.path(), &["tune", "pull", "--remote", &url], None);
    assert!(kiln(third.path(), &["tune", "list"], None).contains("4 of 4 configurations"));
}
