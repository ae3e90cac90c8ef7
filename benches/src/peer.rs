//! Peers: other implementations of the same work, each in a process of its own that is asked for repetitions, so that they alternate with ours in one run.

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
    /// Starts `benches/peers/cpu.py name` with a number of threads. The interpreter is `KILN_BENCH_PYTHON`, else `python3`. Not every peer has a setting for its
    /// threads (jax takes one a processor), so `taskset` (util-linux) gives the process as many processors.
    ///
    /// # Errors
    /// Why it does not start.
    pub fn start(name: &'static str, threads: usize) -> Result<Peer, String> {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers/cpu.py");
        let python = std::env::var_os("KILN_BENCH_PYTHON").unwrap_or_else(|| "python3".into());
        let mut process = Command::new("taskset")
            .args(["--cpu-list", &format!("0-{}", threads - 1)])
            .arg(python)
            .arg(script)
            .arg(name)
            .env("OPENBLAS_NUM_THREADS", threads.to_string())
            .env("OMP_NUM_THREADS", threads.to_string())
            .env("JAX_PLATFORMS", "cpu")
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
        let lost = |e: std::io::Error| format!("{}: {e}", self.name);
        writeln!(self.requests, "{work} {rows} {cols} {repeats}").map_err(lost)?;
        self.requests.flush().map_err(lost)?;
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(lost)?;
        let times: Option<Vec<f64>> = line.split_whitespace().map(|word| word.parse().ok()).collect();
        match times {
            Some(times) if !times.is_empty() => Ok(times),
            _ if line.is_empty() => Err(format!("{} ended without an answer", self.name)),
            _ => Err(format!("{}: {}", self.name, line.trim())),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
