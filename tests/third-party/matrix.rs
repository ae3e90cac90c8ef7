//! mma.sync, ldmatrix and cp.async pipelines: sm_80 code.

use half::{bf16, f16};
use kiln_emulator::{Arch, Arg, Schedule};

use crate::harness::{Gpu, SCHEDULES, error, floats, noise};

tests! { mma_floats, mma_integers_and_doubles, ldmatrix, pipelined_gemm, copies_fill_with_zeros }

pub const SOURCE: &str = include_str!("kernels/matrix.cu");

fn product(a: &[f64], b: &[f64], n: usize, k: usize) -> Vec<f64> {
    let m = a.len() / k;
    (0..m * n).map(|i| (0..k).map(|q| a[i / n * k + q] * b[q * n + i % n]).sum()).collect()
}

fn mma_floats() {
    let mut g = Gpu::new(SOURCE, Arch::Sm80, Schedule::Lazy);
    let (a, b) = (floats(1, 16 * 16, 1.0), floats(2, 16 * 8, 1.0));
    type Round = fn(f32) -> f32;
    let cases: [(&str, usize, Round); 3] = [
        ("mma_f16", 16, |x| f16::from_f32(x).to_f32()),
        ("mma_bf16", 16, |x| bf16::from_f32(x).to_f32()),
        ("mma_tf32", 8, |x| f32::from_bits(x.to_bits() & 0xffff_e000)),
    ];
    for (kernel, k, round) in cases {
        let (a, b): (Vec<f32>, Vec<f32>) =
            (a[..16 * k].iter().map(|x| round(*x)).collect(), b[..k * 8].iter().map(|x| round(*x)).collect());
        let bytes = |v: &[f32]| -> Vec<u8> {
            v.iter()
                .flat_map(|x| match kernel {
                    "mma_f16" => f16::from_f32(*x).to_bits().to_le_bytes().to_vec(),
                    "mma_bf16" => bf16::from_f32(*x).to_bits().to_le_bytes().to_vec(),
                    _ => x.to_le_bytes().to_vec(),
                })
                .collect()
        };
        let (pa, pb) = (g.up(&bytes(&a)), g.up(&bytes(&b)));
        let o = g.machine.alloc(512).unwrap();
        g.run(kernel, 1, 32, vec![Arg::Ptr(pa), Arg::Ptr(pb), Arg::Ptr(o)]);
        let wide = |v: &[f32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<_>>();
        let want = product(&wide(&a), &wide(&b), 8, k);
        assert!(error(&g.down(o, 128), &want) < 1e-5, "{kernel}");
    }
}

fn mma_integers_and_doubles() {
    let mut g = Gpu::new(SOURCE, Arch::Sm80, Schedule::Lazy);
    let a: Vec<i8> = noise(3, 512).iter().map(|x| *x as i8).collect();
    let b: Vec<u8> = noise(4, 256).iter().map(|x| *x as u8).collect();
    let (pa, pb) = (g.up(&a), g.up(&b));
    let o = g.machine.alloc(512).unwrap();
    g.run("mma_s8", 1, 32, vec![Arg::Ptr(pa), Arg::Ptr(pb), Arg::Ptr(o)]);
    let got: Vec<i32> = g.down(o, 128);
    for (i, got) in got.iter().enumerate() {
        let (r, c) = (i / 8, i % 8);
        let sum: i32 = (0..32).map(|k| i32::from(a[r * 32 + k]) * i32::from(b[k * 8 + c])).sum();
        let start = 1 + (c % 2) as i32 + 2 * i32::from(r >= 8);
        assert_eq!(*got, sum + start, "row {r}, column {c}");
    }
    let a: Vec<f64> = floats(5, 32, 1.0).iter().map(|x| f64::from(*x)).collect();
    let b: Vec<f64> = floats(6, 32, 1.0).iter().map(|x| f64::from(*x)).collect();
    let (pa, pb) = (g.up(&a), g.up(&b));
    let o = g.machine.alloc(512).unwrap();
    g.run("mma_f64", 1, 32, vec![Arg::Ptr(pa), Arg::Ptr(pb), Arg::Ptr(o)]);
    for (i, got) in g.down::<f64>(o, 64).iter().enumerate() {
        let start = if i % 2 == 0 { 0.5 } else { 0.25 };
        let want = start + (0..4).map(|k| a[i / 8 * 4 + k] * b[k * 8 + i % 8]).sum::<f64>();
        assert!((got - want).abs() < 1e-14);
    }
}

fn ldmatrix() {
    let mut g = Gpu::new(SOURCE, Arch::Sm80, Schedule::Lazy);
    let x: Vec<u16> = (0..256).collect();
    let px = g.up(&x);
    for trans in 0..2u32 {
        let o = g.machine.alloc(512).unwrap();
        g.run("ldm", 1, 32, vec![Arg::Ptr(px), Arg::Ptr(o), Arg::U32(trans)]);
        let got: Vec<u16> = g.down(o, 256);
        for i in 0..256usize {
            let (m, r, c) = (i / 64, i / 8 % 8, i % 8);
            let want = if trans == 1 { m * 64 + c * 8 + r } else { i };
            assert_eq!(usize::from(got[i]), want);
        }
    }
}

/// Runs one of the GEMM kernels on f16 matrices; returns the largest error.
pub fn gemm(g: &mut Gpu, kernel: &str, m: usize, n: usize, k: usize) -> Result<f64, kiln_emulator::Error> {
    let h = |seed, len| floats(seed, len, 1.0).into_iter().map(f16::from_f32).collect::<Vec<_>>();
    let (a, b) = (h(7, m * k), h(8, k * n));
    let bits = |v: &[f16]| v.iter().map(|x| x.to_bits()).collect::<Vec<u16>>();
    let (pa, pb) = (g.up(&bits(&a)), g.up(&bits(&b)));
    let c = g.machine.alloc(4 * (m * n) as u64).unwrap();
    let u = |x: usize| Arg::U32(x as u32);
    let params = vec![Arg::Ptr(pa), Arg::Ptr(pb), Arg::Ptr(c), u(m), u(n), u(k)];
    g.try_run(kernel, [(n / 64) as u32, (m / 64) as u32, 1], [128, 1, 1], 2 * (64 * 40 + 32 * 72) * 2, params)?;
    let wide = |v: &[f16]| v.iter().map(|x| x.to_f64()).collect::<Vec<_>>();
    let want = product(&wide(&a), &wide(&b), n, k);
    Ok(error(&g.down(c, m * n), &want))
}

fn pipelined_gemm() {
    for schedule in SCHEDULES {
        let mut g = Gpu::new(SOURCE, Arch::Sm80, schedule);
        let err = gemm(&mut g, "gemm_f16", 128, 64, 160).unwrap_or_else(|e| panic!("{schedule:?}: {e}"));
        assert!(err < 1e-5, "{schedule:?}: {err}");
    }
}

fn copies_fill_with_zeros() {
    for schedule in SCHEDULES {
        let mut g = Gpu::new(SOURCE, Arch::Sm80, schedule);
        let x: Vec<f32> = (0..128).map(|i| i as f32 + 1.0).collect();
        let px = g.up(&x);
        let o = g.machine.alloc(512).unwrap();
        g.run("zero_fill", 1, 32, vec![Arg::Ptr(px), Arg::Ptr(o), Arg::U32(77)]);
        let want: Vec<f32> = (0..128).map(|i| if i < 77 { i as f32 + 1.0 } else { 0.0 }).collect();
        assert_eq!(g.down::<f32>(o, 128), want);
    }
}
