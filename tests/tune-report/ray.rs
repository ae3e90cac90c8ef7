//! The Ray driver: two local workers, one of which is killed while it sweeps; what is merged is complete all the same.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Place, root, text};

/// Where Ray is installed: in `KILN_TOOLS` or the workspace's `target/tools`.
pub fn find() -> Option<PathBuf> {
    let tools = std::env::var_os("KILN_TOOLS").map(PathBuf::from).into_iter().chain([root().join("target/tools")]);
    tools.map(|dir| dir.join("ray")).find(|dir| dir.join("ray/__init__.py").is_file())
}

const SOURCE: &str = "#[tune(A = [1, 2, 4, 8], B = [1, 2, 4, 8, 16, 32], W = [1, 2, 3, 4], key = [N])]
kernel k<const A: int = 1, const B: int = 4, const W: int = 1>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, B)] {
    let n = program_id(0) * B;
    assert(N != 1000000 * A + 1000 * B + W);
    y[n..+B] = x[n..+B] * 2.0;
}
";

pub fn survives(ray: &Path) -> Result<(), String> {
    let place = Place::make();
    place.write("k.kiln", SOURCE);
    let kernel = place.path("k.kiln");
    let driver = root().join("tune/ray/kiln_tune_ray.py");
    // Ray's workers do not run where the driver does: paths are absolute.
    let work = place.path("work");
    let mut command = place.command("python3");
    command.arg(driver).args([
        "--shards",
        "4",
        "--workers",
        "2",
        "--kiln",
        env!("CARGO_BIN_EXE_kiln"),
        "--out",
        "all.jsonl",
        "--work",
    ]);
    command.arg(&work).arg("--").arg(kernel).args(["--sizes", "4096", "--strategy", "exhaustive", "--seconds", "0.05"]);
    command.env("PYTHONPATH", ray).env("RAY_USAGE_STATS_ENABLED", "0").stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|e| e.to_string())?;
    let killed = kill_a_worker(&work);
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
    let shard = killed.map_err(|e| format!("{e}\n{said}"))?;
    if !output.status.success() {
        return Err(said);
    }
    let attempts = std::fs::read_to_string(work.join(&shard).join("attempts.txt")).map_err(|e| e.to_string())?;
    if attempts.lines().count() < 2 {
        return Err(format!("{shard} did not run again: {attempts}\n{said}"));
    }
    let merged = std::fs::read_to_string(place.path("all.jsonl")).map_err(|e| format!("{e}\n{said}"))?;
    let mut configs: Vec<String> = vec![];
    for line in merged.lines() {
        let record: serde_json::Value = serde_json::from_str(line).map_err(|e| format!("{e}: {line}"))?;
        configs.push(record["config"].to_string());
    }
    configs.sort();
    configs.dedup();
    if configs.len() != 96 || merged.lines().count() != 96 {
        return Err(format!("{} configurations in {} records, of 96", configs.len(), merged.lines().count()));
    }
    Ok(())
}

/// Kills the worker of the first shard that has measured something. Gives back the shard's directory.
fn kill_a_worker(work: &Path) -> Result<String, String> {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(240) {
        for entry in std::fs::read_dir(work).into_iter().flatten().flatten() {
            let lines = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
            let pid = lines("attempts.txt").split_whitespace().next().map(str::to_owned);
            if let (Some(pid), true) = (pid, lines("k.jsonl").lines().count() >= 2) {
                let done = std::process::Command::new("kill").args(["-9", &pid]).status().map_err(|e| e.to_string())?;
                let shard = entry.file_name().to_string_lossy().into_owned();
                return if done.success() { Ok(shard) } else { Err(format!("worker {pid} of {shard} was gone already")) };
            }
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err("no shard began within four minutes".to_owned())
}
