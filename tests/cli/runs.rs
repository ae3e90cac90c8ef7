//! Runs that work: results, files, checks, the cache.

use crate::{KERNELS, Place, npy_f32, read_f32};

fn place() -> Place {
    let place = Place::new();
    place.file("k.kiln", KERNELS);
    place
}

#[test]
fn results_are_computed_written_and_checked() {
    let place = place();
    let x: Vec<f32> = (0..1000).map(|i| i as f32).collect();
    place.file("x.npy", npy_f32(&[1000], &x));
    place.file("ref.npy", npy_f32(&[1000], &x.iter().map(|v| v * 3.0).collect::<Vec<_>>()));
    let run =
        ["run", "k.kiln", "-k", "scale", "--arg", "x=@x.npy", "--arg", "factor=3", "--out", "y=y.npy", "--check", "ref.npy"];
    let ran = place.ok(&run);
    assert!(ran.err.contains("`y` agrees with ref.npy") && ran.out.contains("GB/s"), "{}{}", ran.out, ran.err);
    assert_eq!(read_f32(&place.path("y.npy")), x.iter().map(|v| v * 3.0).collect::<Vec<_>>());
    // Types follow from what is given; formats other than numpy's carry what it has not.
    place.ok(&[
        "run",
        "k.kiln",
        "-k",
        "scale",
        "--arg",
        "x=randn(7):bf16",
        "--out",
        "y=y.safetensors",
        "--out",
        "x=y.safetensors",
    ]);
    place.ok(&["run", "k.kiln", "-k", "scale", "--arg", "x=@y.safetensors", "--out", "y=z.safetensors"]);
}

#[test]
fn the_kernel_with_the_name_of_the_file_is_meant() {
    let place = place();
    place.file("scale.kiln", KERNELS);
    let run = ["run", "scale.kiln", "--arg", "x=ones(4):f32", "--arg", "factor=3", "--out", "y=y.npy"];
    place.ok(&run);
    assert_eq!(read_f32(&place.path("y.npy")), [3.0; 4]);
}

#[test]
fn tensors_in_place_repeat_without_changing_the_result() {
    let place = place();
    place.ok(&[
        "run",
        "k.kiln",
        "-k",
        "shift",
        "--arg",
        "x=arange(10)",
        "--arg",
        "by=ones(10)",
        "--out",
        "x=x.npz",
        "--repeat",
        "5",
    ]);
    place.ok(&["run", "k.kiln", "-k", "shift", "--arg", "x=arange(10)", "--check", "x=x.npz", "-q"]);
}

#[test]
fn any_file_is_read_as_bytes_of_a_type() {
    let place = place();
    place.file("ref.npy", npy_f32(&[3], &[3.0, 6.0, 9.0]));
    place.file("x.raw", [1.0f32, 2.0, 3.0].map(f32::to_le_bytes).concat());
    let run =
        |x: &'static str| ["run", "k.kiln", "-k", "scale", "--arg", x, "--arg", "factor=3", "--out", "y", "--check", "ref.npy"];
    place.ok(&run("x=@x.raw:f32"));
    place.ok(&run("x=@x.raw:f32[3]"));
    place.fails(&run("x=@x.raw:f64"), "no whole number of f64");
    place.fails(&run("x=@x.raw:f32[4]"), "a tensor of 16 bytes, but 12 are given");
    place.fails(&run("x=@missing.raw:f32"), "cannot read `missing.raw`");
    place.ok(&["build", "k.kiln", "-k", "scale", "--arg", "x=@x.raw:f32", "--arg", "y=zeros(3)", "--emit", "tile-ir"]);
}

#[test]
fn empty_and_odd_sizes_work() {
    let place = place();
    for n in ["0", "1", "127", "128", "129", "1001"] {
        let arg = format!("x=ones({n})");
        place.ok(&["run", "k.kiln", "-k", "scale", "--arg", &arg, "--out", "y=y.npy"]);
        assert_eq!(read_f32(&place.path("y.npy")), vec![2.0; n.parse().unwrap()]);
    }
    place.ok(&["run", "k.kiln", "-k", "add", "--arg", "a=ones(0,5)", "--arg", "b=ones(0,5)"]);
    place.ok(&["run", "k.kiln", "-k", "add", "--arg", "a=ones(3,7):i8", "--arg", "b=ones(3,7)", "--const", "B=3"]);
}

#[test]
fn the_second_run_comes_from_the_cache() {
    let place = place();
    let run = ["run", "k.kiln", "-k", "scale", "--arg", "x=ones(100)", "--out", "y=y.npy"];
    assert!(place.ok(&run).err.contains("Compiled"));
    assert!(place.ok(&run).err.contains("Loaded"));
    let uncached: Vec<&str> = run.iter().copied().chain(["--no-cache"]).collect();
    assert!(place.ok(&uncached).err.contains("Compiled"));
    assert!(!place.ok(&["cache", "stat"]).out.contains("entries    0"));
    // Damage every entry: all are made again, and the result stays right.
    for entry in walk(&place.path("cache")) {
        let bytes = std::fs::read(&entry).unwrap();
        std::fs::write(&entry, &bytes[..bytes.len() / 2]).unwrap();
    }
    assert!(place.ok(&run).err.contains("Compiled"));
    assert_eq!(read_f32(&place.path("y.npy")), vec![2.0; 100]);
    place.ok(&["cache", "gc"]);
    place.ok(&["cache", "clear"]);
    assert!(place.ok(&["cache", "stat"]).out.contains("entries    0"));
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() { found.extend(walk(&entry.path())) } else { found.push(entry.path()) }
    }
    found
}

#[test]
fn many_processes_share_a_cache() {
    let place = place();
    let args = ["run", "k.kiln", "-k", "scale", "--arg", "x=ones(100)", "--out", "y", "-q"];
    let children: Vec<_> =
        (0..4).map(|_| place.command(&args).stdout(std::process::Stdio::null()).spawn().expect("starts")).collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn json_is_one_object_a_line() {
    let place = place();
    let ran = place.ok(&["run", "k.kiln", "-k", "scale", "--arg", "x=ones(100)", "--message-format", "json", "--flops", "N"]);
    let value: serde_json::Value = serde_json::from_str(ran.out.trim()).expect("JSON");
    assert_eq!(value["kernel"], "scale");
    assert_eq!(value["bytes"], 800);
    assert!(ran.err.is_empty(), "{}", ran.err);
    let ran =
        place.kiln(&["run", "k.kiln", "-k", "scale", "--arg", "x=ones(3)", "--arg", "y=ones(4)", "--message-format", "json"]);
    assert_eq!(ran.code, Some(1));
    let value: serde_json::Value = serde_json::from_str(ran.out.trim()).expect("JSON");
    assert_eq!(value["code"], "K1002");
}

#[cfg(unix)]
#[test]
fn a_cache_that_others_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let place = place();
    std::fs::set_permissions(place.path("cache"), std::fs::Permissions::from_mode(0o777)).unwrap();
    place.fails(&["run", "k.kiln", "-k", "scale", "--arg", "x=ones(4)"], "can be written by others");
    place.ok(&["run", "k.kiln", "-k", "scale", "--arg", "x=ones(4)", "--no-cache"]);
}

#[test]
fn warnings_of_the_compiler_are_shown_by_a_run() {
    let place = place();
    place.file(
        "w.kiln",
        "kernel pick(x: tensor<f32, [N]>, y: mut tensor<f32, [1]>, row: i32, ld: i32) grid [1] {\n    let at = row * ld;\n    y[0] = x[at];\n}\n",
    );
    let run =
        ["run", "w.kiln", "--arg", "x=arange(100):f32", "--arg", "row=3", "--arg", "ld=7", "--out", "y=y.npy", "--no-cache"];
    let ran = place.ok(&run);
    assert!(ran.err.contains("warning[K2000]") && ran.err.contains("w.kiln:2:14"), "{}{}", ran.out, ran.err);
    assert_eq!(read_f32(&place.path("y.npy")), [21.0]);
}
