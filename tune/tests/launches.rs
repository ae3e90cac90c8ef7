//! Launches take what sweeps have found: exactly, for the nearest key, or not at all.

use std::path::Path;

use kiln::tuned::{Outcome, Reason, Record, Timing, TuneStore};
use kiln::{Config, Device, Program, ProgramOptions, Tensor};

const SOURCE: &str = "#[tune(B = [1, 2, 4, 64], W = [1, 2], key = [next_pow2(N)])]
kernel k<const B: int = 1, const W: int = 1>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, B)] requires B <= N {
    let n = program_id(0) * B;
    y[n..+B] = x[n..+B] + 1.0;
}";

fn open(source: &str, store: Option<&Path>) -> Program {
    let options = ProgramOptions { tuned: store.map(TuneStore::open), ..ProgramOptions::without_cache() };
    Program::from_source_with("k.kiln", source, options).unwrap()
}

/// A launch with `n` elements: the constants it took, and whether the key was exactly known.
fn launch(program: &Program, n: i64, b: Option<i64>) -> (Vec<i64>, Option<bool>) {
    let mut kernel = program.kernel("k").unwrap();
    if let Some(b) = b {
        kernel = kernel.constant("B", b);
    }
    let device = Device::cpu().unwrap();
    let x = Tensor::<f32>::from_fn(&[n], |i| i as f32).unwrap();
    let mut y = Tensor::<f32>::zeros(&[n]).unwrap();
    let launched = kernel.on(&device).arg(&x).arg(&mut y).run().unwrap();
    assert!(y.to_vec().unwrap().iter().enumerate().all(|(i, v)| *v == i as f32 + 1.0));
    (launched.consts().to_vec(), launched.tuned().map(|c| c.exact))
}

/// A record for a launch of `n` elements.
fn record(n: i64, config: &[(&str, i64)], outcome: Outcome) -> Record {
    let program = open(SOURCE, None);
    let kernel = program.kernel("k").unwrap();
    let x = Tensor::<f32>::zeros(&[n]).unwrap();
    let mut y = Tensor::<f32>::zeros(&[n]).unwrap();
    let tuning = kernel.on(&Device::cpu().unwrap()).arg(&x).arg(&mut y).tuning().unwrap();
    Record {
        subject: tuning.subject,
        key: tuning.key,
        dims: tuning.dims,
        config: Config(config.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()),
        outcome,
        objective: kiln::tuned::Objective::Measured,
        kiln: "test".to_owned(),
        unix: 1,
    }
}

fn time(median: f64, high: f64) -> Outcome {
    Outcome::Time(Timing { median, low: median, high, samples: 10, dropped: 0 })
}

#[test]
fn the_winner_of_the_key_is_taken_and_the_nearest_key_stands_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = TuneStore::open(dir.path());
    // Nothing known: the defaults.
    assert_eq!(launch(&open(SOURCE, Some(dir.path())), 100, None), (vec![1, 1], None));
    let rejected = Outcome::Rejected { reason: Reason::Differs, message: "wrong".to_owned() };
    for made in [
        record(100, &[("B", 2), ("W", 2)], time(2.0, 2.1)),
        // A lower median of few samples that may be luck.
        record(100, &[("B", 4), ("W", 1)], time(1.9, 3.0)),
        record(100, &[("B", 1), ("W", 1)], rejected),
        record(1000, &[("B", 64), ("W", 2)], time(5.0, 5.0)),
    ] {
        store.append(&made).unwrap();
    }
    let program = open(SOURCE, Some(dir.path()));
    assert_eq!(launch(&program, 100, None), (vec![2, 2], Some(true)));
    // The same bucket.
    assert_eq!(launch(&program, 128, None), (vec![2, 2], Some(true)));
    assert_eq!(launch(&program, 200, None), (vec![2, 2], Some(false)));
    assert_eq!(launch(&program, 2000, None), (vec![64, 2], Some(false)));
    // What the launch says holds; what it leaves open is taken from configurations that agree.
    assert_eq!(launch(&program, 100, Some(4)), (vec![4, 1], Some(true)));
    assert_eq!(launch(&program, 100, Some(1)), (vec![1, 1], None));
    // Another compiler's text of the same kernel is the same kernel; another kernel is not.
    let commented = format!("// Mine.\n{}", SOURCE.replace("B = [1, 2, 4, 64], ", "B = [1], "));
    assert_eq!(launch(&open(&commented, Some(dir.path())), 100, None), (vec![2, 2], Some(true)));
    let other = SOURCE.replace("x[n..+B] + 1.0", "1.0 + x[n..+B]");
    assert_eq!(launch(&open(&other, Some(dir.path())), 100, None), (vec![1, 1], None));
    // Without a store nothing is looked up.
    assert_eq!(launch(&open(SOURCE, None), 100, None), (vec![1, 1], None));
}

/// A configuration that other sizes liked may be impossible here: the next one is taken, and at last the defaults.
#[test]
fn what_cannot_be_launched_gives_way() {
    let dir = tempfile::tempdir().unwrap();
    let store = TuneStore::open(dir.path());
    store.append(&record(100, &[("B", 64), ("W", 2)], time(1.0, 1.0))).unwrap();
    let program = open(SOURCE, Some(dir.path()));
    assert_eq!(launch(&program, 40, None), (vec![1, 1], None));
    store.append(&record(5000, &[("B", 4), ("W", 2)], time(1.0, 1.0))).unwrap();
    assert_eq!(launch(&open(SOURCE, Some(dir.path())), 40, None), (vec![4, 2], Some(false)));
}

/// Records beside the kernel file, checked in, are found by everybody.
#[test]
fn records_beside_the_file_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("k.kiln");
    std::fs::write(&file, SOURCE).unwrap();
    let line = serde_json::to_string(&record(100, &[("B", 4), ("W", 2)], time(1.0, 1.0))).unwrap();
    std::fs::write(dir.path().join("k.tune.jsonl"), format!("not a record\n{line}\n")).unwrap();
    let options = ProgramOptions { tuned: Some(TuneStore::open(&dir.path().join("none"))), ..ProgramOptions::without_cache() };
    let program = Program::open_with(&file, options).unwrap();
    assert_eq!(launch(&program, 100, None), (vec![4, 2], Some(true)));
}

/// Many writers, one of which dies in the middle of a line: every whole line stays readable.
#[test]
fn writers_do_not_disturb_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let store = TuneStore::open(path);
                for n in 0..25 {
                    let mut made = record(100, &[("B", writer), ("W", n)], time(1.0, 1.0));
                    made.unix = 7;
                    store.append(&made).unwrap();
                }
            });
        }
    });
    let loaded = TuneStore::open(&path).load("k").unwrap();
    assert_eq!((loaded.records.len(), loaded.skipped), (200, 0));
}
