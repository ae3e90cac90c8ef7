//! Kernels that Triton compiles, against numpy: `make_triton.py` writes PTX, inputs and expected results, this file runs them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use kiln_emulator::{Arch, Arg, ElementType, Schedule, Swizzle, TensorMap};

use crate::harness::{Gpu, SCHEDULES, error};

tests! { vector_add, softmax, layer_norm, matmul_with_pointers, matmul_with_descriptors, attention }

/// Directory with Triton, from `cargo xtask test --third-party`.
const WHEEL: &str = "KILN_THIRD_PARTY";

/// Whether Triton's tests are to run.
pub fn expected() -> bool {
    std::env::var_os(WHEEL).is_some()
}

/// Directory with the PTX and data of one architecture, made once a test run.
fn made(sm: u32) -> &'static Path {
    static DONE: [OnceLock<PathBuf>; 2] = [OnceLock::new(), OnceLock::new()];
    let make = || {
        let wheel = std::env::var_os(WHEEL).unwrap_or_else(|| panic!("{WHEEL} names no directory with Triton"));
        let out = std::env::temp_dir().join(format!("kiln-triton-{sm}-{}", std::process::id()));
        std::fs::create_dir_all(&out).expect("a temporary directory");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/third-party/make_triton.py");
        let done = Command::new("python3")
            .arg(script)
            .arg(&out)
            .arg(sm.to_string())
            .env("PYTHONPATH", wheel)
            .env("TRITON_CACHE_DIR", out.join("cache"))
            .output()
            .expect("python3");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        out
    };
    DONE[usize::from(sm == 90)].get_or_init(make)
}

/// One case as the script wrote it.
struct Case<'a> {
    dir: &'a Path,
    gpu: Gpu,
    args: Vec<Arg>,
    /// The last buffer made: address.
    buffer: u64,
    /// Address, expected values.
    out: Option<(u64, Vec<f64>)>,
}

impl Case<'_> {
    fn data(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.dir.join(file)).expect("the script's data")
    }

    /// Makes the buffer that a line describes.
    fn buffer(&mut self, words: &[&str]) {
        let bytes = self.data(words[1]);
        if words[0] == "in" {
            self.buffer = self.gpu.up(&bytes);
            return;
        }
        assert_eq!(words[0], "out");
        let want: Vec<f64> = bytes.chunks(8).map(|b| f64::from_le_bytes(b.try_into().expect("eight bytes"))).collect();
        self.buffer = self.gpu.machine.alloc(4 * want.len() as u64).expect("room");
        self.out = Some((self.buffer, want));
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let list = |text: &str| text.split(',').map(|n| n.parse().expect("a number")).collect::<Vec<u64>>();
        let arg = match words[0] {
            "buffer" => return self.buffer(&words[1..]),
            "in" | "out" => {
                self.buffer(&words);
                Arg::Ptr(self.buffer)
            }
            "i1" => Arg::Bytes(vec![words[1].parse().expect("a bit")]),
            "i32" => Arg::I32(words[1].parse().expect("an integer")),
            "i64" => Arg::I64(words[1].parse().expect("an integer")),
            "f32" => Arg::F32(words[1].parse().expect("a number")),
            "map" => {
                let element = if words[1] == "f16" { ElementType::F16 } else { ElementType::F32 };
                let swizzle =
                    [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128][words[2].parse::<usize>().expect("0 to 3")];
                let tile = list(words[5]).into_iter().map(|n| n as u32).collect();
                let (dims, strides) = (list(words[3]), list(words[4]));
                let map = TensorMap { element, address: self.buffer, dims, strides, tile, swizzle, nan_fill: false };
                Arg::Bytes(map.encode_tiled().expect("a valid map").to_vec())
            }
            other => panic!("unknown line {other}"),
        };
        self.args.push(arg);
    }
}

/// Runs a case for both architectures under every schedule, all sanitizers on; results must be within `tolerance` of numpy's.
fn check(name: &str, tolerance: f64) {
    for (sm, arch) in [(80, Arch::Sm80), (90, Arch::Sm90a)] {
        let dir = made(sm);
        let read = |ending: &str| std::fs::read_to_string(dir.join(format!("{name}.{ending}"))).expect("the script's file");
        let (ptx, case) = (read("ptx"), read("case"));
        for schedule in SCHEDULES {
            run(dir, &ptx, &case, arch, schedule, tolerance);
        }
    }
}

fn run(dir: &Path, ptx: &str, text: &str, arch: Arch, schedule: Schedule, tolerance: f64) {
    let mut case = Case { dir, gpu: Gpu::of(ptx, arch, schedule), args: vec![], buffer: 0, out: None };
    let (first, rest) = text.split_once('\n').expect("a first line");
    let words: Vec<&str> = first.split_whitespace().collect();
    let (kernel, numbers) = (words[1], words[2..].iter().map(|n| n.parse().expect("a number")).collect::<Vec<u32>>());
    let [smem, warps, x, y] = numbers[..] else { panic!("{first}") };
    rest.lines().for_each(|line| case.line(line));
    // Triton adds scratch pointers that these kernels do not use.
    let all = case.gpu.machine.parameters(case.gpu.module, kernel).expect("the kernel").len();
    case.args.resize(all, Arg::Ptr(0));
    let what = format!("{kernel} for {arch} under {schedule:?}");
    case.gpu.try_run(kernel, [x, y, 1], [32 * warps, 1, 1], smem, case.args).unwrap_or_else(|e| panic!("{what}: {e}"));
    let (ptr, want) = case.out.expect("a case has a result");
    let err = error(&case.gpu.down(ptr, want.len()), &want);
    assert!(err < tolerance, "{what}: off by {err}");
}

fn vector_add() {
    check("vadd", 1e-7);
}

fn softmax() {
    check("softmax", 1e-6);
}

fn layer_norm() {
    check("layernorm", 1e-5);
}

fn matmul_with_pointers() {
    check("matmul", 1e-5);
}

/// TMA and wgmma on sm_90; plain pointers on sm_80.
fn matmul_with_descriptors() {
    let read = |sm| std::fs::read_to_string(made(sm).join("descriptors.ptx")).expect("PTX");
    assert!(read(90).contains("cp.async.bulk.tensor.2d") && read(90).contains("wgmma.mma_async"));
    assert!(!read(80).contains("cp.async.bulk"));
    check("descriptors", 1e-5);
}

fn attention() {
    // Probabilities go through f16.
    check("attention", 1e-3);
}
