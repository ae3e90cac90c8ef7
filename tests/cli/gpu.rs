//! `--device cuda`, on the stand-in driver of the tests; and without any.

use kiln_tests::stand_in;

use crate::{KERNELS, Place, Ran, npy_f32, ran, read_f32};

/// Runs the command with the stand-in as driver.
fn kiln(place: &Place, words: &str, args: &[&str]) -> Ran {
    let mut command = place.command(args);
    assert!(stand_in::give_to(&mut command, words, false), "cargo builds the stand-in with this test");
    ran(command.output().expect("the binary starts"), args)
}

#[test]
#[cfg(target_os = "linux")]
fn kernels_run_and_are_timed_on_a_gpu() {
    let place = Place::new();
    place.file("k.kiln", KERNELS);
    let x: Vec<f32> = (0..1000).map(|i| i as f32).collect();
    place.file("x.npy", npy_f32(&[1000], &x));
    let run = ["run", "k.kiln", "-k", "scale", "--arg", "x=@x.npy", "--arg", "factor=3", "--out", "y=y.npy", "--device", "cuda"];
    let once = kiln(&place, "", &run);
    assert_eq!(once.code, Some(0), "{}{}", once.out, once.err);
    assert!(once.err.contains("by the driver") && once.out.contains("cuda:0"), "{}{}", once.out, once.err);
    assert_eq!(read_f32(&place.path("y.npy")), x.iter().map(|v| v * 3.0).collect::<Vec<_>>());
    // In place: repeated runs do not change what is written.
    let repeated =
        ["run", "k.kiln", "-k", "shift", "--arg", "x=arange(10)", "--out", "x=x.npz", "--device", "cuda:0", "--repeat", "4"];
    let timed = kiln(&place, "", &[&repeated[..], &["--message-format", "json"]].concat());
    assert!(
        timed.code == Some(0) && timed.out.contains("\"runs\":4") && timed.out.contains("median_seconds"),
        "{}{}",
        timed.out,
        timed.err
    );
    // The best device, where it is there.
    let best = kiln(&place, "", &run[..run.len() - 2]);
    assert!(best.code == Some(0) && best.out.contains("cuda:0"), "{}{}", best.out, best.err);
    let asserting = kiln(&place, "", &["run", "k.kiln", "-k", "asserting", "--arg", "x=zeros(5)", "--device", "cuda"]);
    assert!(
        asserting.code == Some(1) && asserting.err.contains("K1015") && asserting.err.contains("three is not allowed"),
        "{}",
        asserting.err
    );
    let second = kiln(&place, "", &["run", "k.kiln", "-k", "scale", "--arg", "x=ones(4)", "--device", "cuda:1"]);
    assert!(second.code == Some(1) && second.err.contains("there is no GPU number 1"), "{}", second.err);
}

#[test]
#[cfg(target_os = "linux")]
fn devices_are_listed_with_their_targets() {
    let place = Place::new();
    let hopper = kiln(&place, "", &["devices"]);
    assert!(
        hopper.out.contains("* cuda:0") && hopper.out.contains("sm_90 (sm_90a)") && hopper.out.contains("CUDA 13.0"),
        "{}",
        hopper.out
    );
    let unknown = kiln(&place, "sm=123", &["devices"]);
    assert!(unknown.out.contains("sm_123 (sm_90)") && unknown.out.contains("does not know sm_123"), "{}", unknown.out);
    let old = kiln(&place, "sm=70", &["devices"]);
    assert!(old.code == Some(0) && old.out.contains("* cpu") && old.out.contains("7.0"), "{}{}", old.out, old.err);
}

/// A sweep on a GPU: the space is bounded by its shared memory, code is compiled while other code is timed, records are the GPU's, and launches there take the winner.
#[test]
#[cfg(target_os = "linux")]
fn a_gpu_is_tuned() {
    let place = Place::new();
    let tuned = "#[tune(B = [128, 256], warps = [1, 2, 4], stages = [1, 400000], if stages * B <= smem, key = [next_pow2(N)])]
kernel k<const B: int = 128>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, B)] {
    let n = program_id(0) * B;
    y[n..+B] = x[n..+B] * 2.0;
}
";
    place.file("t.kiln", tuned);
    let sweep = ["tune", "t.kiln", "--sizes", "3000", "--device", "cuda", "--strategy", "exhaustive", "--seconds", "0.01"];
    let swept = kiln(&place, "", &[&sweep[..], &["--json", "t.json", "--store", "store"]].concat());
    assert_eq!(swept.code, Some(0), "{}{}", swept.out, swept.err);
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(place.path("t.json")).unwrap()).unwrap();
    assert!(report["objective"] == "measured" && report["device"].as_str().unwrap().starts_with("cuda "), "{report}");
    let trials = report["sizes"][0]["trials"].as_array().unwrap();
    let with = |status: &str| trials.iter().filter(|t| t["status"] == status).count();
    // Twelve of the lists, and the defaults, whose warps and stages are the compiler's choice; half of the lists' would take too much shared memory.
    assert_eq!((trials.len(), with("time"), with("condition")), (13, 7, 6), "{report}");
    let records = std::fs::read_to_string(place.path("store/k.jsonl")).unwrap();
    assert!(records.lines().count() >= 7 && records.contains("\"device\":\"cuda "), "{records}");

    // Launches of this GPU take it, those of the CPU do not.
    let bench = ["bench", "t.kiln", "--sizes", "4000", "--seconds", "0.01", "--device"];
    let on = |device: &str| {
        let mut command = place.command(&[&bench[..], &[device]].concat());
        command.env("KILN_TUNE_DIR", place.path("store"));
        assert!(stand_in::give_to(&mut command, "", false), "cargo builds the stand-in with this test");
        let ran = ran(command.output().expect("the binary starts"), &bench);
        assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
        ran.out
    };
    assert!(on("cuda").contains(" B="));
    assert!(on("cpu").contains("defaults"));
}
