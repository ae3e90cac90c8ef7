//! Speed of the machine on NVRTC's PTX, by hand: `cargo test --release -p kiln-emulator --test third_party -- --ignored
//! --nocapture speed`.

use std::time::Instant;

use kiln_emulator::{Arch, Arg, Options, Sanitizers, Schedule};

use crate::harness::{Gpu, floats};
use crate::nvrtc::available;

/// Lane instructions a second on a softmax, with one worker.
fn softmax(options: Options) -> f64 {
    let mut g = Gpu::new(include_str!("kernels/memory.cu"), Arch::Sm80, Schedule::Eager);
    g.options = Options { deterministic: true, ..options };
    let (rows, n) = (256, 4096);
    let x = floats(1, rows * n, 4.0);
    let px = g.up(&x);
    let o = g.machine.alloc((4 * rows * n) as u64).expect("room");
    let start = Instant::now();
    let params = vec![Arg::U32(n as u32), Arg::Ptr(px), Arg::Ptr(o)];
    let report = g.run("softmax", rows as u32, 256, params);
    report.warp_instructions as f64 * 32.0 / start.elapsed().as_secs_f64()
}

/// Seconds of a GEMM, with its result checked elsewhere.
fn gemm(wgmma: bool, m: usize, k: usize, options: Options) -> f64 {
    use half::f16;
    let source = if wgmma { crate::hopper::SOURCE } else { crate::matrix::SOURCE };
    let mut g = Gpu::new(source, if wgmma { Arch::Sm90a } else { Arch::Sm80 }, Schedule::Eager);
    g.options = options;
    let bits = |seed| floats(seed, m * k, 1.0).into_iter().map(|x| f16::from_f32(x).to_bits()).collect::<Vec<_>>();
    let (pa, pb) = (g.up(&bits(1)), g.up(&bits(2)));
    let c = g.machine.alloc(4 * (m * m) as u64).expect("room");
    let start = Instant::now();
    let (grid, u) = ([(m / 64) as u32, (m / 64) as u32, 1], |x: usize| Arg::U32(x as u32));
    let result = if wgmma {
        let map = |p| {
            crate::hopper::map(kiln_emulator::ElementType::F16, p, &[k as u64, m as u64], &[64, 64], kiln_emulator::Swizzle::B128)
        };
        g.try_run("wgmma_nt", grid, [128, 1, 1], 16384, vec![map(pa), map(pb), Arg::Ptr(c), u(m), u(k)])
    } else {
        let params = vec![Arg::Ptr(pa), Arg::Ptr(pb), Arg::Ptr(c), u(m), u(m), u(k)];
        g.try_run("gemm_f16", grid, [128, 1, 1], 2 * (64 * 40 + 32 * 72) * 2, params)
    };
    result.unwrap_or_else(|e| panic!("{e}"));
    start.elapsed().as_secs_f64()
}

#[test]
#[ignore = "measures; run by hand in release mode"]
fn speed() {
    if !available() {
        return;
    }
    let counting = Options { sanitizers: Sanitizers::NONE, ..Options::default() };
    for (name, options) in [("fast", Options::fast()), ("counters", counting), ("everything", Options::default())] {
        println!("{name}: softmax {:.0} M lane instructions/s on one core", softmax(options) / 1e6);
        for wgmma in [false, true] {
            let one = Options { deterministic: true, ..options };
            let t = gemm(wgmma, 256, 512, one);
            let what = if wgmma { "wgmma" } else { "mma.sync" };
            println!("{name}: {what} GEMM {:.2} GFLOP/s on one core", 2.0 * 256.0 * 256.0 * 512.0 / t / 1e9);
        }
    }
    for wgmma in [false, true] {
        println!("1024^3 GEMM, wgmma {wgmma}: {:.2} s on all cores", gemm(wgmma, 1024, 1024, Options::fast()));
    }
}
