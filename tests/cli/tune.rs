//! `kiln tune` and `kiln bench`: what they find, keep, show and refuse; processes that are killed, and several at once.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::{KERNELS, Place, ran};

/// 96 configurations that compile quickly.
const TUNED: &str = "#[tune(A = [1, 2, 4, 8], B = [1, 2, 4, 8, 16, 32], W = [1, 2, 3, 4], key = [N])]
kernel k<const A: int = 1, const B: int = 4, const W: int = 1>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, B)] {
    let n = program_id(0) * B;
    assert(N != 1000000 * A + 1000 * B + W);
    y[n..+B] = x[n..+B] * 2.0;
}
";

fn place() -> Place {
    let place = Place::new();
    place.file("t.kiln", TUNED);
    place.file("k.kiln", KERNELS);
    place
}

/// The records of a file as JSON.
fn records(place: &Place, file: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(place.path(file)).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn configs(records: &[serde_json::Value]) -> Vec<String> {
    let mut configs: Vec<String> = records.iter().map(|r| r["config"].to_string()).collect();
    configs.sort();
    configs
}

#[test]
fn a_sweep_is_kept_shown_and_used() {
    let place = place();
    let ran = place.ok(&[
        "tune",
        "t.kiln",
        "--sizes",
        "N=4096",
        "--json",
        "t.json",
        "--csv",
        "t.csv",
        "--html",
        "t.html",
        "--seconds",
        "0.05",
    ]);
    assert!(
        ran.out.contains("k N=4096") && ran.out.contains("96 configurations") && ran.out.contains("(defaults)"),
        "{}",
        ran.out
    );
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(place.path("t.json")).unwrap()).unwrap();
    let size = &report["sizes"][0];
    let trials = size["trials"].as_array().unwrap();
    assert_eq!((trials.len(), size["dims"]["N"].as_i64()), (96, Some(4096)));
    assert!(size["complete"].as_bool().unwrap() && size["looked"].as_u64().unwrap() < 40);
    // The CSV says the same as the JSON.
    let csv = std::fs::read_to_string(place.path("t.csv")).unwrap();
    let mut lines = csv.lines();
    assert_eq!(
        lines.next().unwrap(),
        "N,A,B,W,status,median_seconds,low_seconds,high_seconds,samples,dropped,predicted_seconds,same_code_as,message"
    );
    for (line, trial) in lines.by_ref().zip(trials) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |v: &serde_json::Value| v.as_f64().map(|v| v.to_string()).unwrap_or_default();
        assert_eq!(cells[1], trial["config"]["A"].to_string());
        assert_eq!(cells[4], trial["status"].as_str().unwrap());
        assert_eq!(cells[5].parse::<f64>().ok().map(|v| v.to_string()).unwrap_or_default(), number(&trial["timing"]["median"]));
    }
    assert_eq!(csv.lines().count(), 97);
    assert!(std::fs::read_to_string(place.path("t.html")).unwrap().contains("<script id=\"report\""));

    // Again: what is known is not searched a second time. Whoever searches with that in hand may look at a few more, within the search's share.
    let again = place.ok(&["tune", "t.kiln", "--sizes", "N=4096", "--json", "again.json"]);
    let second: serde_json::Value = serde_json::from_slice(&std::fs::read(place.path("again.json")).unwrap()).unwrap();
    let second = &second["sizes"][0];
    let mut more = 0;
    for (before, after) in trials.iter().zip(second["trials"].as_array().unwrap()) {
        assert_eq!(before["config"], after["config"]);
        if before["timing"].is_null() {
            more += u64::from(!after["timing"].is_null());
        } else {
            // Leaders that are too close are compared anew; none is forgotten.
            assert!(!after["timing"].is_null(), "{}", again.out);
        }
    }
    assert_eq!(second["looked"].as_u64(), Some(more), "{}", again.out);
    let timed = second["trials"].as_array().unwrap().iter().filter(|trial| !trial["timing"].is_null()).count();
    assert!(timed < 40, "{}", again.out);

    let listed = place.ok(&["tune", "list"]).out;
    assert!(listed.contains("k  ") || listed.contains("N=4096"), "{listed}");
    let bench = place.ok(&["bench", "t.kiln", "--sizes", "N=4096;N=8192", "--seconds", "0.05"]).out;
    assert!(bench.contains(" A=") && bench.contains("(tuned for N=4096)"), "{bench}");
    let untuned = place.ok(&["bench", "t.kiln", "--sizes", "4096", "--seconds", "0.05", "--untuned"]).out;
    assert!(untuned.contains("defaults"), "{untuned}");

    // Winners alone are what is checked in.
    place.ok(&["tune", "export", "-o", "t.tune.jsonl"]);
    assert_eq!(records(&place, "t.tune.jsonl").len(), 1);
    let elsewhere = place.path("elsewhere");
    let out =
        place.command(&["bench", "t.kiln", "--sizes", "4096", "--seconds", "0.05"]).env("KILN_TUNE_DIR", elsewhere).output();
    assert!(ran_ok(out.unwrap()).contains(" A="));
}

/// On a CPU, configurations that differ in nothing but warps are one piece of code: measured once, and shown in one line.
#[test]
fn configurations_with_the_same_code_share_a_line() {
    let place = place();
    let tuned = "#[tune(B = [32, 64], warps = [1, 2, 4])]
kernel k<const B: int = 32>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, B)] {
    let n = program_id(0) * B;
    y[n..+B] = x[n..+B] * 2.0;
}
";
    place.file("s.kiln", tuned);
    let ran = place.ok(&[
        "tune",
        "s.kiln",
        "--sizes",
        "4096",
        "--strategy",
        "exhaustive",
        "--seconds",
        "0.05",
        "--csv",
        "s.csv",
        "--html",
        "s.html",
    ]);
    let more = |line: &str| line.split_once("  and ")?.1.strip_suffix(" with the same code")?.parse::<usize>().ok();
    let shown: Vec<usize> = ran.out.lines().filter_map(more).collect();
    let csv = std::fs::read_to_string(place.path("s.csv")).unwrap();
    let rows = csv.lines().count() - 1;
    assert_eq!((shown.len(), shown.iter().sum::<usize>()), (2, rows - 2), "{}", ran.out);
    let same = csv.lines().skip(1).filter(|line| line.split(',').nth_back(1).is_some_and(|cell| cell.contains("B=")));
    assert_eq!(same.count(), rows - 2, "{csv}");
    assert!(std::fs::read_to_string(place.path("s.html")).unwrap().contains("same_code_as"));
}

fn ran_ok(output: std::process::Output) -> String {
    let ran = ran(output, &[]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    ran.out
}

/// Waits until a file has some lines.
fn wait_for(place: &Place, file: &str, lines: usize) {
    let start = Instant::now();
    while std::fs::read_to_string(place.path(file)).unwrap_or_default().lines().count() < lines {
        assert!(start.elapsed() < Duration::from_secs(120), "{file} does not grow");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_killed_sweep_measures_nothing_twice() {
    let place = place();
    let sweep = ["tune", "t.kiln", "--sizes", "N=4096", "--strategy", "exhaustive", "--store", "store", "--seconds", "0.02"];
    let mut child = place.command(&sweep).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&place, "store/k.jsonl", 20);
    child.kill().unwrap();
    child.wait().unwrap();
    let text = std::fs::read_to_string(place.path("store/k.jsonl")).unwrap();
    let whole = text.lines().filter(|l| serde_json::from_str::<serde_json::Value>(l).is_ok()).count();
    let before = configs(&text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect::<Vec<_>>());
    let mut known = before.clone();
    known.dedup();
    assert!((8..96).contains(&known.len()), "{whole} records of {} configurations when it was killed", known.len());

    let done = place.ok(&[&sweep[..], &["--json", "t.json"]].concat());
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(place.path("t.json")).unwrap()).unwrap();
    assert_eq!(report["sizes"][0]["looked"].as_u64(), Some(96 - known.len() as u64), "{}", done.out);
    let text = std::fs::read_to_string(place.path("store/k.jsonl")).unwrap();
    let after: Vec<serde_json::Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    let after = configs(&after);
    // Nothing was added for what was known.
    let count = |list: &[String], config: &String| list.iter().filter(|c| *c == config).count();
    assert!(before.iter().all(|b| count(&after, b) == count(&before, b)));
    let mut distinct = after.clone();
    distinct.dedup();
    assert_eq!(distinct.len(), 96);
}

#[test]
fn two_sweeps_at_once_corrupt_nothing() {
    let place = place();
    let sweep = ["tune", "t.kiln", "--sizes", "N=4096", "--strategy", "exhaustive", "--store", "store", "--seconds", "0.01"];
    let start = || place.command(&sweep).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let children = [start(), start()];
    for child in children {
        ran_ok(child.wait_with_output().unwrap());
    }
    let mut found = configs(&records(&place, "store/k.jsonl"));
    found.dedup();
    assert_eq!(found.len(), 96);
    place.ok(&["tune", "merge", "store", "-o", "merged.jsonl"]);
    assert_eq!(records(&place, "merged.jsonl").len(), 96);
}

#[test]
fn shards_merge_into_the_whole() {
    let place = place();
    for part in ["1/2", "2/2"] {
        let store = format!("part{}", &part[..1]);
        place.ok(&[
            "tune",
            "t.kiln",
            "--sizes",
            "64",
            "--strategy",
            "exhaustive",
            "--shard",
            part,
            "--store",
            &store,
            "--seconds",
            "0.01",
        ]);
    }
    place.ok(&["tune", "merge", "part1", "part2/k.jsonl", "-o", "all.jsonl"]);
    let all = configs(&records(&place, "all.jsonl"));
    assert_eq!(all.len(), 96);
    let parts = configs(&records(&place, "part1/k.jsonl"));
    assert!(parts.len() > 30);
}

#[test]
fn the_emulator_predicts() {
    let place = place();
    let tuned = "#[tune(warps = [1, 2, 4], B = [32, 128])]
kernel k<const B: int = 32>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, B)] {
    let n = program_id(0) * B;
    y[n..+B] = x[n..+B] * 2.0;
}";
    place.file("e.kiln", tuned);
    let args = ["tune", "e.kiln", "--sizes", "2048", "--device", "emulator:sm_90a,unchecked", "--strategy", "exhaustive"];
    let ran = place.ok(&[&args[..], &["--json", "e.json", "--html", "e.html"]].concat());
    assert!(ran.out.contains("predicted"), "{}", ran.out);
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(place.path("e.json")).unwrap()).unwrap();
    assert_eq!(report["objective"], "predicted");
    let trials = report["sizes"][0]["trials"].as_array().unwrap();
    // Those of the lists, and the defaults, whose warps are the compiler's choice.
    assert!(trials.len() == 7 && trials.iter().all(|t| t["timing"]["median"].as_f64().unwrap() > 0.0));
    // The same again gives the same: nothing is measured.
    let again = place.ok(&[&args[..], &["--json", "e2.json", "--fresh"]].concat());
    let second: serde_json::Value = serde_json::from_slice(&std::fs::read(place.path("e2.json")).unwrap()).unwrap();
    assert_eq!(second["sizes"][0]["winner"], report["sizes"][0]["winner"], "{}", again.out);
}

#[test]
fn bad_input_is_refused() {
    let place = place();
    place.fails(&["tune"], "<FILE>");
    place.fails(&["tune", "k.kiln", "-k", "scale", "--sizes", "64"], "has no `#[tune(..)]`");
    place.fails(&["tune", "t.kiln", "--sizes", "Q=1"], "no dimension `Q`");
    place.fails(&["tune", "t.kiln", "--sizes", "N=0"], "no size");
    place.fails(&["tune", "t.kiln", "--sizes", "64", "--shard", "3/2"], "no shard");
    place.fails(&["tune", "t.kiln", "--sizes", "64", "--peers", "t.kiln"], "is not a list");
    place.fails(&["tune", "t.kiln", "--sizes", "64", "--strategy", "best"], "strategy");
    place.fails(&["tune", "merge", "nowhere.jsonl"], "no file or directory");
    place.fails(&["tune", "t.kiln"], "argument `x` is missing");
    let off = place.command(&["tune", "t.kiln", "--sizes", "64"]).env("KILN_TUNE_DIR", "off").output().unwrap();
    let off = ran(off, &["tune"]);
    assert!(off.code == Some(1) && off.err.contains("--store"), "{}", off.err);
}
