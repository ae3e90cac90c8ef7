//! Kernels that Triton compiles, where `KILN_THIRD_PARTY` names a directory with the wheel
//! (`cargo xtask test --third-party`). References are computed here in f64.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use half::f16;
use kiln_emulator::{Arch, Arg};

use crate::harness::{Gpu, SCHEDULES, error, floats};

/// Directory with the PTX of one architecture, made once a test run; `None` without Triton.
fn made(sm: u32) -> Option<PathBuf> {
    static DONE: [OnceLock<Option<PathBuf>>; 2] = [OnceLock::new(), OnceLock::new()];
    let make = || {
        let Some(wheel) = std::env::var_os("KILN_THIRD_PARTY") else {
            eprintln!("skipped: Triton is not installed; run `cargo xtask test --third-party`");
            return None;
        };
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
        Some(out)
    };
    DONE[usize::from(sm == 90)].get_or_init(make).clone()
}

/// Runs `check` on a kernel compiled for both architectures, under every schedule.
fn each(kernel: &str, check: impl Fn(&mut Gpu, &dyn Fn(&mut Gpu, u32, u32, Vec<Arg>))) {
    for (sm, arch) in [(80, Arch::Sm80), (90, Arch::Sm90a)] {
        let Some(dir) = made(sm) else { return };
        let ptx = std::fs::read_to_string(dir.join(format!("{kernel}.ptx"))).expect("PTX");
        let meta = std::fs::read_to_string(dir.join(format!("{kernel}.meta"))).expect("metadata");
        let words: Vec<&str> = meta.split_whitespace().collect();
        let (smem, warps): (u32, u32) = (words[1].parse().expect("bytes"), words[2].parse().expect("warps"));
        for schedule in SCHEDULES {
            let mut g = Gpu::of(&ptx, arch, schedule);
            check(&mut g, &|g, x, y, mut params| {
                // Triton adds scratch pointers that these kernels do not use.
                let all = g.machine.parameters(g.module, kernel).expect("the kernel").len();
                params.resize(all, Arg::Ptr(0));
                g.try_run(kernel, [x, y, 1], [32 * warps, 1, 1], smem, params)
                    .unwrap_or_else(|e| panic!("{kernel} for sm_{sm} under {schedule:?}: {e}"));
            });
        }
    }
}

fn halves(seed: u64, n: usize) -> (Vec<u16>, Vec<f64>) {
    let h: Vec<f16> = floats(seed, n, 1.0).into_iter().map(f16::from_f32).collect();
    (h.iter().map(|x| x.to_bits()).collect(), h.iter().map(|x| x.to_f64()).collect())
}

#[test]
fn vector_add() {
    each("vadd", |g, run| {
        let (x, y) = (floats(1, 1000, 1.0), floats(2, 1000, 1.0));
        let (px, py) = (g.up(&x), g.up(&y));
        let o = g.machine.alloc(4000).expect("room");
        run(g, 4, 1, vec![Arg::Ptr(px), Arg::Ptr(py), Arg::Ptr(o), Arg::U32(1000)]);
        let want: Vec<f32> = x.iter().zip(&y).map(|(x, y)| x + y).collect();
        assert_eq!(g.down::<f32>(o, 1000), want);
    });
}

#[test]
fn softmax() {
    each("softmax", |g, run| {
        let x = floats(3, 3 * 1000, 5.0);
        let px = g.up(&x);
        let o = g.machine.alloc(12_000).expect("room");
        run(g, 3, 1, vec![Arg::Ptr(px), Arg::Ptr(o), Arg::U32(1000)]);
        let want: Vec<f64> = x
            .chunks(1000)
            .flat_map(|row| {
                let e: Vec<f64> = row.iter().map(|v| f64::from(*v).exp()).collect();
                let sum: f64 = e.iter().sum();
                e.into_iter().map(move |v| v / sum)
            })
            .collect();
        assert!(error(&g.down(o, 3000), &want) < 1e-6);
    });
}

#[test]
fn layer_norm() {
    each("layernorm", |g, run| {
        let (x, w, b) = (floats(4, 2 * 900, 3.0), floats(5, 900, 1.0), floats(6, 900, 1.0));
        let (px, pw, pb) = (g.up(&x), g.up(&w), g.up(&b));
        let o = g.machine.alloc(7200).expect("room");
        run(g, 2, 1, vec![Arg::Ptr(px), Arg::Ptr(pw), Arg::Ptr(pb), Arg::Ptr(o), Arg::U32(900)]);
        let want: Vec<f64> = (0..1800)
            .map(|i| {
                let row: Vec<f64> = x[i / 900 * 900..][..900].iter().map(|v| f64::from(*v)).collect();
                let mean = row.iter().sum::<f64>() / 900.0;
                let var = row.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / 900.0;
                (row[i % 900] - mean) / (var + 1e-5).sqrt() * f64::from(w[i % 900]) + f64::from(b[i % 900])
            })
            .collect();
        assert!(error(&g.down(o, 1800), &want) < 1e-5);
    });
}

#[test]
fn matmul_with_pointers() {
    each("matmul", |g, run| {
        let (m, n, k) = (64, 128, 160);
        let ((a, wa), (b, wb)) = (halves(7, m * k), halves(8, k * n));
        let (pa, pb) = (g.up(&a), g.up(&b));
        let c = g.machine.alloc(4 * (m * n) as u64).expect("room");
        let u = |x: usize| Arg::U32(x as u32);
        run(g, 1, 2, vec![Arg::Ptr(pa), Arg::Ptr(pb), Arg::Ptr(c), u(m), u(n), u(k)]);
        let want: Vec<f64> = (0..m * n).map(|i| (0..k).map(|q| wa[i / n * k + q] * wb[q * n + i % n]).sum()).collect();
        assert!(error(&g.down(c, m * n), &want) < 1e-5);
    });
}

#[test]
fn attention() {
    each("attention", |g, run| {
        let (n, d) = (128, 64);
        let ((q, wq), (k, wk), (v, wv)) = (halves(9, n * d), halves(10, n * d), halves(11, n * d));
        let (pq, pk, pv) = (g.up(&q), g.up(&k), g.up(&v));
        let o = g.machine.alloc(4 * (n * d) as u64).expect("room");
        let params = vec![Arg::Ptr(pq), Arg::Ptr(pk), Arg::Ptr(pv), Arg::Ptr(o), Arg::U32(n as u32), Arg::F32(0.125)];
        run(g, 2, 1, params);
        let mut want = vec![0f64; n * d];
        for i in 0..n {
            let s: Vec<f64> = (0..n).map(|j| (0..d).map(|e| wq[i * d + e] * wk[j * d + e]).sum::<f64>() * 0.125).collect();
            let total: f64 = s.iter().map(|x| x.exp()).sum();
            for e in 0..d {
                want[i * d + e] = (0..n).map(|j| s[j].exp() / total * wv[j * d + e]).sum();
            }
        }
        // Probabilities go through f16.
        assert!(error(&g.down(o, n * d), &want) < 1e-3);
    });
}
