//! Speed of the machine on NVRTC's PTX: lane instructions of a softmax, and matrix products through `mma.sync` and `wgmma`.
//!
//! `cargo bench -p kiln-emulator`, with NVRTC where `cargo xtask test` put it. The one-core figures are in time on the
//! processor, so that other work on the machine does not count; the last ones, over all cores, are in time on the clock.
//! An element is a lane instruction of the softmax, or an operation (a multiply-add is two) of a product.

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BenchmarkGroup, Criterion, Throughput};
use half::f16;
use kiln_emulator::{Arch, Arg, ElementType, Launch, Machine, ModuleId, Options, Report, Sanitizers, Swizzle, TensorMap};

#[path = "../../../tests/third-party/nvrtc.rs"]
mod nvrtc;

/// Time that the calling thread has spent on a processor, in nanoseconds.
struct ThreadTime;

/// Processor time where Linux tells it, else the time since the first call.
fn thread_nanoseconds() -> u64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    match text.split_whitespace().next().and_then(|n| n.parse().ok()) {
        Some(n) => n,
        None => START.get_or_init(std::time::Instant::now).elapsed().as_nanos() as u64,
    }
}

impl Measurement for ThreadTime {
    type Intermediate = u64;
    type Value = Duration;

    fn start(&self) -> u64 {
        // The counter moves when the thread is scheduled.
        std::thread::yield_now();
        thread_nanoseconds()
    }
    fn end(&self, start: u64) -> Duration {
        std::thread::yield_now();
        Duration::from_nanos(thread_nanoseconds() - start)
    }
    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }
    fn zero(&self) -> Duration {
        Duration::ZERO
    }
    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Pseudo-random values between -1 and 1.
fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// A loaded kernel with its launch.
struct Work {
    machine: Machine,
    module: ModuleId,
    kernel: &'static str,
    launch: Launch,
}

impl Work {
    fn run(&mut self, options: &Options) -> Report {
        self.machine.launch(self.module, self.kernel, &self.launch, options).unwrap_or_else(|e| panic!("{}: {e}", self.kernel))
    }
}

fn softmax() -> Work {
    let mut machine = Machine::new(Arch::Sm80);
    let source = include_str!("../../../tests/third-party/kernels/memory.cu");
    let module = machine.load_ptx(&nvrtc::compile(source, "sm_80")).expect("PTX");
    let (rows, n) = (64, 4096);
    let x = machine.upload(&noise(1, rows * n)).expect("room");
    let o = machine.alloc((4 * rows * n) as u64).expect("room");
    let params = vec![Arg::U32(n as u32), Arg::Ptr(x), Arg::Ptr(o)];
    let launch = Launch { grid: [rows as u32, 1, 1], block: [256, 1, 1], cluster: None, smem: 0, params };
    Work { machine, module, kernel: "softmax", launch }
}

/// C = A B (or A B^T for wgmma), all extents `m` but the depth `k`.
fn gemm(wgmma: bool, m: usize, k: usize) -> Work {
    let (source, arch) = if wgmma {
        (
            concat!(
                include_str!("../../../tests/third-party/kernels/sm90.cuh"),
                include_str!("../../../tests/third-party/kernels/hopper.cu")
            ),
            Arch::Sm90a,
        )
    } else {
        (include_str!("../../../tests/third-party/kernels/matrix.cu"), Arch::Sm80)
    };
    let mut machine = Machine::new(arch);
    let module = machine.load_ptx(&nvrtc::compile(source, &arch.to_string())).expect("PTX");
    let halves = |seed| noise(seed, m * k).into_iter().map(|x| f16::from_f32(x).to_bits()).collect::<Vec<u16>>();
    let (a, b) = (machine.upload(&halves(1)).expect("room"), machine.upload(&halves(2)).expect("room"));
    let c = machine.alloc(4 * (m * m) as u64).expect("room");
    let u = |x: usize| Arg::U32(x as u32);
    let map = |address| {
        let (dims, strides) = (vec![k as u64, m as u64], vec![2 * k as u64]);
        let map = TensorMap {
            element: ElementType::F16,
            address,
            dims,
            strides,
            tile: vec![64, 64],
            swizzle: Swizzle::B128,
            nan_fill: false,
        };
        Arg::Bytes(map.encode_tiled().expect("a valid map").to_vec())
    };
    let (kernel, smem, params) = if wgmma {
        ("wgmma_nt", 16384, vec![map(a), map(b), Arg::Ptr(c), u(m), u(k)])
    } else {
        ("gemm_f16", 2 * (64 * 40 + 32 * 72) * 2, vec![Arg::Ptr(a), Arg::Ptr(b), Arg::Ptr(c), u(m), u(m), u(k)])
    };
    let tiles = (m / 64) as u32;
    Work { machine, module, kernel, launch: Launch { grid: [tiles, tiles, 1], block: [128, 1, 1], cluster: None, smem, params } }
}

fn settle<M: Measurement>(group: &mut BenchmarkGroup<'_, M>) {
    group.sample_size(10).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
}

fn one_core(criterion: &mut Criterion<ThreadTime>) {
    let counting = Options { sanitizers: Sanitizers::NONE, ..Options::default() };
    for (name, options) in [("fast", Options::fast()), ("counters", counting), ("sanitizers", Options::default())] {
        // One worker: the time of this thread is all there is.
        let options = Options { deterministic: true, ..options };
        let mut group = criterion.benchmark_group(format!("one core, {name}"));
        settle(&mut group);
        let mut work = softmax();
        group.throughput(Throughput::Elements(32 * work.run(&options).warp_instructions));
        group.bench_function("softmax", |b| b.iter(|| black_box(work.run(&options))));
        for (what, wgmma) in [("mma.sync", false), ("wgmma", true)] {
            let mut work = gemm(wgmma, 256, 256);
            group.throughput(Throughput::Elements(2 * 256 * 256 * 256));
            group.bench_function(what, |b| b.iter(|| black_box(work.run(&options))));
        }
        group.finish();
    }
}

fn all_cores(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("all cores, fast, 1024^3");
    settle(&mut group);
    group.throughput(Throughput::Elements(2 * 1024 * 1024 * 1024));
    for (what, wgmma) in [("mma.sync", false), ("wgmma", true)] {
        let mut work = gemm(wgmma, 1024, 1024);
        group.bench_function(what, |b| b.iter(|| black_box(work.run(&Options::fast()))));
    }
    group.finish();
}

fn main() {
    assert!(nvrtc::expected(), "NVRTC is not installed; run `cargo xtask test` once");
    one_core(&mut Criterion::default().with_measurement(ThreadTime).configure_from_args());
    all_cores(&mut Criterion::default().configure_from_args());
    Criterion::default().configure_from_args().final_summary();
}
