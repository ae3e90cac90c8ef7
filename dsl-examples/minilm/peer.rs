//! onnxruntime beside Kiln: `peer.py` in a process of its own, asked for one round at a time.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use dsl_examples::data::path;

/// The running peer.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    rounds: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// Its versions.
    pub versions: String,
}

impl Peer {
    /// Starts it with the sentences `repeat` times over. Python finds onnxruntime through `PYTHONPATH`.
    ///
    /// # Errors
    /// Where Python or a package is missing.
    pub fn start(model: &Path, threads: i64, repeat: usize) -> Result<Peer> {
        let mut command = Command::new("python3");
        command.arg(path("minilm/peer.py")).arg(model).arg(threads.to_string()).arg(repeat.to_string());
        command.env("PYTHONDONTWRITEBYTECODE", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start python3")?;
        let rounds = child.stdin.take().context("the peer's input is piped")?;
        let mut answers = BufReader::new(child.stdout.take().context("the peer's output is piped")?).lines();
        let versions = answers.next().context("the peer ended: `cargo xtask minilm` installs what it needs")??;
        Ok(Peer { child, rounds, answers, versions })
    }

    /// Seconds for one round, and the batch size.
    ///
    /// # Errors
    /// Where the peer ends.
    pub fn round(&mut self) -> Result<(f64, String)> {
        writeln!(self.rounds)?;
        let line = self.answers.next().context("the peer ended")??;
        let (seconds, batch) = line.split_once(' ').context("the peer's answer has two words")?;
        Ok((seconds.parse()?, batch.to_owned()))
    }

    /// Ends it.
    ///
    /// # Errors
    /// Where it failed.
    pub fn end(mut self) -> Result<()> {
        drop(self.rounds);
        ensure!(self.child.wait()?.success(), "the peer failed");
        Ok(())
    }
}
