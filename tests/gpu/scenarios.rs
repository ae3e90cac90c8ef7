//! What goes wrong, and what depends on the driver: each scenario is a process of its own, whose output is looked at.

use std::process::ExitCode;

use kiln::{AnyTensor, Device, Error, GpuError, Kernel, Program, ProgramOptions, ScalarType, Stream, Tensor};
use kiln_tests::stand_in;
use libtest_mimic::{Failed, Trial};

use crate::support::{gpu, increment, kernel, output, program_with, said};

/// Which scenario a process is to play.
const SCENARIO: &str = "KILN_GPU_SCENARIO";

/// A scenario: its name, what it does, and what has to be in its output, in this order.
struct Scenario {
    name: &'static str,
    play: fn(),
    says: &'static [&'static str],
    /// Words of the stand-in driver, which a real one cannot be asked for. None for scenarios of any driver.
    words: Option<&'static str>,
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "a_failed_assertion",
        play: assertion,
        says: &["x is 2", "K1015", "too large", "k.kiln:4", "K1023"],
        words: None,
    },
    Scenario {
        name: "memory_outside",
        play: outside,
        says: &["K1022", "kernel `k`", "ILLEGAL_ADDRESS", "K1023", "the host still works"],
        words: None,
    },
    Scenario { name: "a_fault_in_a_stream", play: outside_later, says: &["launched", "K1022", "kernel `k`"], words: None },
    Scenario { name: "an_address_of_the_host", play: host_address, says: &["K1022"], words: Some("") },
    Scenario { name: "too_many_streams", play: too_many_streams, says: &["one more"], words: None },
    Scenario { name: "prints", play: prints, says: &["k[0]: first 0", "k[1]: first 10", "after both"], words: None },
    Scenario {
        name: "an_old_driver",
        play: plain,
        says: &["K1024", "PTX 8.0", "CUDA 11.8", "too old"],
        words: Some("driver=11080"),
    },
    Scenario { name: "an_ampere_gpu", play: plain, says: &["sm_80", "right"], words: Some("sm=80,driver=11080") },
    Scenario {
        name: "a_gpu_of_tomorrow",
        play: plain,
        says: &["warning: ", "does not know sm_107", "sm_90\n", "right"],
        words: Some("sm=107"),
    },
    Scenario { name: "a_gpu_of_yesterday", play: yesterday, says: &["K1016", "7.5"], words: Some("sm=75") },
    Scenario { name: "no_stream_ordered_memory", play: everything_once, says: &["right"], words: Some("no-pools") },
    Scenario { name: "little_memory", play: little_memory, says: &["K1025", "GiB are free"], words: Some("memory=1000000") },
    Scenario {
        name: "machine_code_of_ptxas",
        play: assembled,
        says: &["made by Ptxas", "made by Ptxas", "one call of ptxas"],
        words: Some(""),
    },
    Scenario { name: "a_ptxas_that_fails", play: failing_ptxas, says: &["made by Driver", "no licence"], words: Some("") },
    Scenario { name: "the_best_device", play: best, says: &["cuda:0"], words: None },
];

/// Plays the scenario that this process was started for.
pub fn asked_for() -> Option<ExitCode> {
    let name = std::env::var(SCENARIO).ok()?;
    let scenario = SCENARIOS.iter().find(|s| s.name == name)?;
    (scenario.play)();
    Some(ExitCode::SUCCESS)
}

pub fn trials(on_stand_in: bool) -> Vec<Trial> {
    let mut trials: Vec<Trial> = SCENARIOS
        .iter()
        .filter(|s| on_stand_in || s.words.is_none())
        .map(|s| Trial::test(format!("scenarios::{}", s.name), move || play(s)))
        .collect();
    if on_stand_in {
        trials.push(Trial::test("scenarios::no_driver", no_driver));
    }
    trials
}

fn play(scenario: &Scenario) -> Result<(), Failed> {
    let mut command = program_with(SCENARIO, scenario.name);
    if let Some(words) = scenario.words {
        // Scenarios with words are played on the stand-in only.
        stand_in::give_to(&mut command, words, true);
    }
    let ran = output(&mut command);
    let text = said(&ran);
    let mut rest = text.as_str();
    for expected in scenario.says {
        match rest.find(expected) {
            Some(at) => rest = &rest[at + expected.len()..],
            None => return Err(format!("`{expected}` is missing or too early in\n{text}").into()),
        }
    }
    if ran.status.success() { Ok(()) } else { Err(text.into()) }
}

/// Without a driver there is a reason, and the CPU.
fn no_driver() -> Result<(), Failed> {
    let mut command = program_with(SCENARIO, "the_best_device");
    command.env_remove("LD_LIBRARY_PATH").env_remove("KILN_GPU_STAND_IN");
    let text = said(&output(&mut command));
    if text.contains("best: cpu") && text.contains("K1016") && text.contains("no NVIDIA driver: libcuda.so.1 was not found") {
        Ok(())
    } else {
        Err(text.into())
    }
}

fn best() {
    println!("best: {}", Device::best().unwrap().name());
    if let Err(why) = Device::cuda(0) {
        println!("{why}");
    }
}

fn assertion() {
    let k = kernel(
        "kernel k(x: mut tensor<f32, [N]>) grid [N] {\n    let i = program_id(0);\n    if i == 1 { print(\"x is {}\", x[i] * 2.0); }\n    assert(x[i] < 3.0, \"too large\");\n    x[i] = 0.0;\n}\n",
    );
    let gpu = gpu();
    let mut x = Tensor::<f32>::from_fn(&[4], |i| i as f32).unwrap().to(&gpu).unwrap();
    let error = k.on(&gpu).arg(&mut x).run().unwrap_err();
    assert!(matches!(error, Error::Assertion { .. }), "{error}");
    println!("{error}");
    println!("{}", x.to_vec().unwrap_err());
}

/// A kernel that writes far outside of the tensor it is given.
fn writes_outside() -> Kernel {
    kernel("kernel k(x: mut ptr<f32>) grid [1] {\n    store(x + 1000000000000i64, 1.0);\n}\n")
}

fn outside() {
    let (k, gpu) = (writes_outside(), gpu());
    let mut x = Tensor::<f32>::from_fn(&[4], |i| i as f32).unwrap();
    // SAFETY: what is outside is unmapped, which is what this is about.
    let error = unsafe { k.on(&gpu).pointer(ScalarType::F32, x.address()) }.run().unwrap_err();
    assert!(matches!(&error, Error::Gpu(e) if matches!(**e, GpuError::Fault { .. })), "{error}");
    println!("{error}");
    println!("{}", increment().on(&gpu).arg(&mut x).run().unwrap_err());
    assert!(Tensor::<f32>::zeros_on(&gpu, &[4]).is_err() && Stream::new(&gpu).is_err());
    increment().on(&Device::cpu().unwrap()).arg(&mut x).run().unwrap();
    assert_eq!(x.to_vec().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    println!("the host still works");
}

fn outside_later() {
    let (k, gpu) = (writes_outside(), gpu());
    let stream = Stream::new(&gpu).unwrap();
    let x = Tensor::<f32>::zeros_on(&gpu, &[4]).unwrap();
    // SAFETY: as above.
    unsafe { k.on(&gpu).pointer(ScalarType::F32, x.address()) }.enqueue(&stream).unwrap();
    println!("launched");
    println!("{}", stream.synchronize().unwrap_err());
}

/// What only a memory of its own can show: on a GPU of today the system may map the host's memory.
fn host_address() {
    let k = kernel("kernel k(x: mut ptr<f32>) grid [1] {\n    store(x, 1.0);\n}\n");
    let gpu = gpu();
    let word = Box::new(0f32);
    // SAFETY: never read by the host again.
    let error = unsafe { k.on(&gpu).pointer(ScalarType::F32, std::ptr::from_ref(&*word) as u64) }.run().unwrap_err();
    println!("{error}");
}

/// Not beside other tests, which want streams too.
fn too_many_streams() {
    let gpu = gpu();
    let mut streams = vec![];
    let error = loop {
        match Stream::new(&gpu) {
            Ok(stream) => streams.push(stream),
            Err(error) => break error,
        }
    };
    assert!(!streams.is_empty() && error.to_string().contains("K1021"), "{error}");
    streams.clear();
    Stream::new(&gpu).unwrap();
    println!("one more");
}

fn prints() {
    let k = kernel(
        "kernel k(x: tensor<i32, [N]>, y: mut tensor<i32, [N]>) grid [N] {\n    let i = program_id(0);\n    print(\"first {}\", x[i]);\n    y[i] = x[i];\n}\n",
    );
    let gpu = gpu();
    let x = Tensor::<i32>::from_fn(&[2], |i| 10 * i as i32).unwrap().to(&gpu).unwrap();
    let mut y = Tensor::<i32>::zeros_on(&gpu, &[2]).unwrap();
    let stream = Stream::new(&gpu).unwrap();
    for _ in 0..70 {
        // More launches than a stream keeps prints of.
        k.on(&gpu).arg(&x).arg(&mut y).enqueue(&stream).unwrap_or_else(|e| panic!("{e}"));
    }
    stream.synchronize().unwrap();
    println!("after both");
}

/// The target, the warning, and a launch.
fn plain() {
    let gpu = gpu();
    let info = gpu.cuda_info().unwrap();
    if let Some(warning) = &info.warning {
        println!("warning: {warning}");
    }
    println!("{}", info.target.name());
    let mut x = Tensor::<f32>::zeros(&[128]).unwrap();
    match increment().on(&gpu).arg(&mut x).run() {
        Ok(_) => println!("{}", if x.to_vec().unwrap() == [1.0; 128] { "right" } else { "wrong" }),
        Err(error) => println!("{error}"),
    }
}

fn yesterday() {
    println!("{}", Device::cuda(0).unwrap_err());
}

/// Every kind of memory, once.
fn everything_once() {
    let (increment, gpu) = (increment(), gpu());
    let stream = Stream::new(&gpu).unwrap();
    let mut host = Tensor::<f32>::zeros(&[128]).unwrap();
    increment.on(&gpu).arg(&mut host).run().unwrap();
    for _ in 0..3 {
        let mut there = host.to(&gpu).unwrap();
        increment.on(&gpu).arg(&mut there).enqueue(&stream).unwrap();
        host = there.to_host().unwrap();
    }
    println!("{}", if host.to_vec().unwrap() == [4.0; 128] { "right" } else { "wrong" });
}

fn little_memory() {
    println!("{}", AnyTensor::zeros_on(&gpu(), ScalarType::F32, &[1_000_000]).unwrap_err());
}

/// A script in the place of ptxas. `text` is shell; the PTX is `$2`, the result `$4`.
fn script(dir: &std::path::Path, text: &str) {
    let path = dir.join("ptxas");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    // SAFETY: no other thread of this process runs yet.
    unsafe { std::env::set_var("KILN_PTXAS", &path) };
}

fn assembled() {
    let dir = tempfile::tempdir().unwrap();
    script(dir.path(), r#"echo called >>"$0.log"; { printf '\177KILN-STAND-IN-CUBIN\n'; cat "$2"; printf '\000'; } >"$4""#);
    let gpu = gpu();
    for _ in 0..2 {
        let cache = kiln::cache::DiskCache::open(&dir.path().join("cache"), 1 << 30).unwrap();
        let options = ProgramOptions { cache: Some(cache.into()), ..ProgramOptions::without_cache() };
        let text = "kernel k(x: mut tensor<f32, [N]>) grid [1] {\n    x[0..+4] = 3.0;\n}\n";
        let k = Program::from_source_with("k.kiln", text, options).unwrap().kernel("k").unwrap();
        let mut x = Tensor::<f32>::zeros(&[4]).unwrap();
        let ran = k.on(&gpu).arg(&mut x).run().unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(x.to_vec().unwrap(), [3.0; 4]);
        println!("made by {:?}", ran.gpu_code().unwrap().assembler);
    }
    if std::fs::read_to_string(dir.path().join("ptxas.log")).unwrap() == "called\n" {
        println!("one call of ptxas");
    }
}

fn failing_ptxas() {
    let dir = tempfile::tempdir().unwrap();
    script(dir.path(), "echo 'no licence' >&2; exit 3");
    let mut x = Tensor::<f32>::zeros(&[128]).unwrap();
    let ran = increment().on(&gpu()).arg(&mut x).run().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(x.to_vec().unwrap(), [1.0; 128]);
    println!("made by {:?}", ran.gpu_code().unwrap().assembler);
}
