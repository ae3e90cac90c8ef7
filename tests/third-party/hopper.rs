//! mbarriers, bulk and tensor copies, clusters, wgmma: sm_90a code under every schedule.

use half::f16;
use kiln_emulator::{Arch, Arg, ElementType, Error, Schedule, Swizzle, TensorMap};

use crate::harness::{Gpu, SCHEDULES, error, floats};

tests! { bulk_copies_and_rings, tensor_copies_clip_and_fill, tensor_copies_round_to_tf32, swizzled_layout_is_the_manuals, tensor_reductions, clusters, wgmma_gemm, small_instructions, sm_90_code_is_refused_by_sm_80 }

pub const SOURCE: &str = concat!(include_str!("kernels/sm90.cuh"), include_str!("kernels/hopper.cu"));

fn each(check: impl Fn(&mut Gpu)) {
    for schedule in SCHEDULES {
        check(&mut Gpu::new(SOURCE, Arch::Sm90a, schedule));
    }
}

pub fn map(element: ElementType, address: u64, dims: &[u64], tile: &[u32], swizzle: Swizzle) -> Arg {
    let mut strides = vec![];
    let mut stride = element.bytes();
    for d in &dims[..dims.len() - 1] {
        stride = (stride * d).next_multiple_of(16);
        strides.push(stride);
    }
    let map = TensorMap { element, address, dims: dims.to_vec(), strides, tile: tile.to_vec(), swizzle, nan_fill: false };
    Arg::Bytes(map.encode_tiled().expect("a valid map").to_vec())
}

fn bulk_copies_and_rings() {
    each(|g| {
        let x: Vec<f32> = (0..512).map(|i| i as f32).collect();
        let px = g.up(&x);
        let o = g.machine.alloc(2048).unwrap();
        g.run("bulk_ok", 2, 256, vec![Arg::Ptr(px), Arg::Ptr(o)]);
        assert_eq!(g.down::<f32>(o, 512), x.iter().map(|v| v * 2.0).collect::<Vec<_>>());

        let x = floats(1, 128 * 9, 1.0);
        let px = g.up(&x);
        let o = g.machine.alloc(512).unwrap();
        g.run("ring_ok", 1, 160, vec![Arg::Ptr(px), Arg::Ptr(o), Arg::U32(9)]);
        let want: Vec<f32> = (0..128).map(|i| (0..9).fold(0f32, |v, t| v.mul_add(0.5, x[t * 128 + 127 - i]))).collect();
        assert_eq!(g.down::<f32>(o, 128), want);
    });
}

fn tensor_copies_clip_and_fill() {
    each(|g| {
        // 40 x 20 floats; a box of 32 x 8 that hangs over two edges.
        let x: Vec<f32> = (0..800).map(|i| i as f32 + 1.0).collect();
        let px = g.up(&x);
        let out = g.up(&[-1f32; 40 * 20]);
        for (swizzle, w) in [(Swizzle::None, 32), (Swizzle::B128, 32), (Swizzle::B64, 16), (Swizzle::B32, 8)] {
            let m = map(ElementType::F32, px, &[40, 20], &[w, 8], swizzle);
            let mo = map(ElementType::F32, out, &[40, 20], &[w, 8], swizzle);
            g.machine.write(out, &[-1f32; 800]).unwrap();
            let bytes = w * 32;
            let params = vec![m, mo, Arg::I32(30), Arg::I32(-3), Arg::U32(bytes), Arg::I32(-2), Arg::I32(15)];
            g.try_run("tma_copy", [1; 3], [32, 1, 1], bytes, params).unwrap_or_else(|e| panic!("{e}"));
            let got: Vec<f32> = g.down(out, 800);
            for (i, got) in got.iter().enumerate() {
                let (c, r) = (i as i32 % 40, i as i32 / 40);
                // Position in the box, then in the source.
                let (bx, by) = (c + 2, r - 15);
                let want = if (0..w as i32).contains(&bx) && (0..8).contains(&by) {
                    let (sx, sy) = (30 + bx, by - 3);
                    if sx < 40 && sy >= 0 { x[(sy * 40 + sx) as usize] } else { 0.0 }
                } else {
                    -1.0
                };
                assert_eq!(*got, want, "{swizzle:?} at column {c}, row {r}");
            }
        }
    });
}

/// A map of tf32 rounds what is loaded, to nearest even, and zeros what is outside; nothing is stored through one.
fn tensor_copies_round_to_tf32() {
    each(|g| {
        let bits = |i: u32| {
            0x3f80_0000 + (i % 5) * 0x80_0000 + (i / 5 % 40) * 0x2000 + [0, 0xfff, 0x1000, 0x1001, 0x1fff][i as usize % 5]
        };
        let x: Vec<f32> = (0..800).map(|i| if i % 37 == 0 { f32::INFINITY } else { f32::from_bits(bits(i)) }).collect();
        let rounded = |v: f32| match v.to_bits() {
            b if v.is_finite() => f32::from_bits((b + 0xfff + (b >> 13 & 1)) & 0xffff_e000),
            _ => v,
        };
        let (px, out) = (g.up(&x), g.up(&[-1f32; 800]));
        for (swizzle, w) in [(Swizzle::None, 32), (Swizzle::B128, 32), (Swizzle::B32, 8)] {
            let from = map(ElementType::Tf32, px, &[40, 20], &[w, 8], swizzle);
            let to = map(ElementType::F32, out, &[40, 20], &[w, 8], swizzle);
            let params = |to: Arg| vec![from.clone(), to, Arg::I32(20), Arg::I32(-3), Arg::U32(w * 32), Arg::I32(0), Arg::I32(0)];
            g.try_run("tma_copy", [1; 3], [32, 1, 1], w * 32, params(to)).unwrap_or_else(|e| panic!("{e}"));
            let got: Vec<f32> = g.down(out, 800);
            for (row, column) in (0..8).flat_map(|row| (0..w as usize).map(move |column| (row, column))) {
                let want = if row < 3 || column + 20 >= 40 { 0.0 } else { rounded(x[(row - 3) * 40 + column + 20]) };
                assert_eq!(got[row * 40 + column], want, "{swizzle:?} at column {column}, row {row}");
            }
            let to = map(ElementType::Tf32, out, &[40, 20], &[w, 8], swizzle);
            let refused = g.try_run("tma_copy", [1; 3], [32, 1, 1], w * 32, params(to)).expect_err("a store");
            assert!(refused.to_string().contains("tensor map of tf32"), "{refused}");
        }
    });
}

fn swizzled_layout_is_the_manuals() {
    each(|g| {
        let x: Vec<u16> = (0..64 * 16).collect();
        let px = g.up(&x);
        let o = g.machine.alloc(2048).unwrap();
        let m = map(ElementType::U16, px, &[64, 16], &[64, 16], Swizzle::B128);
        let params = vec![m, Arg::I32(0), Arg::I32(0), Arg::U32(2048), Arg::Ptr(o)];
        g.try_run("tma_dump", [1; 3], [64, 1, 1], 2048, params).unwrap_or_else(|e| panic!("{e}"));
        let got: Vec<u16> = g.down(o, 1024);
        for i in 0..1024 {
            let (row, chunk, e) = (i / 64, i / 8 % 8, i % 8);
            assert_eq!(got[row * 64 + (chunk ^ row % 8) * 8 + e], x[i]);
        }
        let y: Vec<u8> = (0..16 * 6 * 5).map(|i| i as u8).collect();
        let py = g.up(&y);
        let m = map(ElementType::U8, py, &[16, 6, 5], &[16, 4, 2], Swizzle::None);
        let params = vec![m, Arg::I32(0), Arg::I32(4), Arg::I32(3), Arg::U32(128), Arg::Ptr(o)];
        g.try_run("tma_3d", [1; 3], [32, 1, 1], 128, params).unwrap_or_else(|e| panic!("{e}"));
        for (i, got) in g.down::<u8>(o, 128).iter().enumerate() {
            let (a, b, c) = (i % 16, i / 16 % 4 + 4, i / 64 + 3);
            assert_eq!(*got, if b < 6 && c < 5 { y[(c * 6 + b) * 16 + a] } else { 0 });
        }
    });
}

fn tensor_reductions() {
    each(|g| {
        let out = g.up(&[1f32; 64 * 8]);
        let m = map(ElementType::F32, out, &[20, 6], &[32, 8], Swizzle::None);
        g.try_run("tma_reduce", [3, 1, 1], [32, 1, 1], 0, vec![m, Arg::F32(2.0)]).unwrap_or_else(|e| panic!("{e}"));
        let got: Vec<f32> = g.down(out, 20 * 6);
        assert_eq!(got, [7.0; 120]);
    });
}

fn clusters() {
    each(|g| {
        let o = g.machine.alloc(8 * 32 * 4).unwrap();
        g.run("dsmem", 8, 32, vec![Arg::Ptr(o)]);
        let want: Vec<i32> = (0..256).map(|i| (i / 32 + 1) % 4 * 100 + i % 32).collect();
        assert_eq!(g.down::<i32>(o, 256), want);
        let x: Vec<f32> = (0..64).map(|i| i as f32).collect();
        let px = g.up(&x);
        let o = g.machine.alloc(512).unwrap();
        g.run("multicast", 2, 32, vec![Arg::Ptr(px), Arg::Ptr(o)]);
        let want: Vec<f32> = (0..128).map(|i| (i % 64) as f32).collect();
        assert_eq!(g.down::<f32>(o, 128), want);
    });
}

/// C = A B^T (or A B) with 64-wide swizzled tiles; returns the largest error.
pub fn wgmma(g: &mut Gpu, kernel: &str, m: usize, n: usize, k: usize) -> Result<f64, Error> {
    let trans = kernel == "wgmma_nn";
    let h = |seed, len| floats(seed, len, 1.0).into_iter().map(f16::from_f32).collect::<Vec<_>>();
    let (a, b) = (h(3, m * k), h(4, n * k));
    let bits = |v: &[f16]| v.iter().map(|x| x.to_bits()).collect::<Vec<u16>>();
    let (pa, pb) = (g.up(&bits(&a)), g.up(&bits(&b)));
    let c = g.machine.alloc(4 * (m * n) as u64).unwrap();
    let ma = map(ElementType::F16, pa, &[k as u64, m as u64], &[64, 64], Swizzle::B128);
    let db = if trans { [n as u64, k as u64] } else { [k as u64, n as u64] };
    let mb = map(ElementType::F16, pb, &db, &[64, 64], Swizzle::B128);
    let params = vec![ma, mb, Arg::Ptr(c), Arg::U32(n as u32), Arg::U32(k as u32)];
    g.try_run(kernel, [(n / 64) as u32, (m / 64) as u32, 1], [128, 1, 1], 16384, params)?;
    let want: Vec<f64> = (0..m * n)
        .map(|i| {
            let (r, col) = (i / n, i % n);
            (0..k).map(|q| a[r * k + q].to_f64() * if trans { b[q * n + col] } else { b[col * k + q] }.to_f64()).sum()
        })
        .collect();
    Ok(error(&g.down(c, m * n), &want))
}

fn wgmma_gemm() {
    each(|g| {
        for kernel in ["wgmma_nt", "wgmma_nn"] {
            let err = wgmma(g, kernel, 128, 64, 192).unwrap_or_else(|e| panic!("{kernel}: {e}"));
            assert!(err < 1e-5, "{kernel}: {err}");
        }
    });
}

fn small_instructions() {
    each(|g| {
        let o = g.machine.alloc(512).unwrap();
        g.run("elect", 1, 64, vec![Arg::Ptr(o)]);
        assert_eq!(g.down::<i32>(o, 64), (0..64).map(|i| i32::from(i % 32 == 0)).collect::<Vec<_>>());
        g.run("regs", 1, 128, vec![Arg::Ptr(o)]);
        assert_eq!(g.down::<i32>(o, 128), [1; 128]);
        g.run("stmat", 1, 32, vec![Arg::Ptr(o)]);
        assert_eq!(g.down::<u16>(o, 64), (0..64).collect::<Vec<u16>>());
    });
}

fn sm_90_code_is_refused_by_sm_80() {
    let ptx = crate::harness::ptx(SOURCE, "sm_90a");
    let refused = kiln_emulator::Machine::new(Arch::Sm80).load_ptx(ptx);
    assert!(matches!(refused, Err(Error::Unsupported { .. })));
    let _ = Schedule::Eager;
}
