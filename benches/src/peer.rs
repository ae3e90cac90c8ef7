//! Peers: other implementations of the same work, each in a process of its own that is asked for repetitions, so that they alternate with ours in one run.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A peer's process.
pub struct Peer {
    name: &'static str,
    process: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts `benches/peers/cpu.py name` with a number of threads. Not every peer has a setting for its threads (jax takes one a processor), so `taskset`
    /// (util-linux) gives the process as many processors.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn start(name: &'static str, threads: usize) -> Result<Peer, String> {
        let mut command = Command::new("taskset");
        command
            .args(["--cpu-list", &format!("0-{}", threads - 1)])
            .arg(python())
            .arg(script("cpu.py"))
            .arg(name)
            .env("OPENBLAS_NUM_THREADS", threads.to_string())
            .env("OMP_NUM_THREADS", threads.to_string())
            .env("JAX_PLATFORMS", "cpu");
        Peer::spawn(name, command)
    }

    /// Starts a process that answers each line of its standard input with one of its standard output.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn spawn(name: &'static str, mut command: Command) -> Result<Peer, String> {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| format!("{name} does not start: {e}"))?;
        let (Some(requests), Some(answers)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(format!("{name} has no streams"));
        };
        Ok(Peer { name, process, requests, answers: BufReader::new(answers) })
    }

    /// The peer's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Seconds of `repeats` repetitions of some work on matrices.
    ///
    /// # Errors
    /// What the peer says, or that it ended.
    pub fn run(&mut self, work: &str, [rows, cols]: [usize; 2], repeats: usize) -> Result<Vec<f64>, String> {
        let line = self.ask(&format!("{work} {rows} {cols} {repeats}"))?;
        let times: Option<Vec<f64>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
        match times {
            Some(times) if !times.is_empty() => Ok(times),
            _ => Err(format!("{}: {line}", self.name)),
        }
    }

    /// The answer to a request of one line.
    ///
    /// # Errors
    /// That the peer ended.
    pub fn ask(&mut self, request: &str) -> Result<String, String> {
        let lost = |e: std::io::Error| format!("{}: {e}", self.name);
        writeln!(self.requests, "{request}").map_err(lost)?;
        self.requests.flush().map_err(lost)?;
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(lost)?;
        if line.is_empty() { Err(format!("{} ended without an answer", self.name)) } else { Ok(line.trim().to_owned()) }
    }
}

/// The interpreter that peers run in: `KILN_BENCH_PYTHON`, else `python3`.
pub fn python() -> OsString {
    std::env::var_os("KILN_BENCH_PYTHON").unwrap_or_else(|| "python3".into())
}

/// A script of `benches/peers`.
pub fn script(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
