//! Asynchronous copies of every form, clusters, tensor maps of 1 to 5 dimensions, atomics of every operation: sm_90a, every schedule.

use half::{bf16, f16};
use kiln_emulator::{Arch, Arg, ElementType, Swizzle};

use crate::harness::{Gpu, SCHEDULES};
use crate::hopper::map;

tests! { stores_and_reductions_between_ctas, copies_that_arrive_on_mbarriers, copies_of_every_size, bulk_reductions, bulk_copies_between_ctas, boxes_of_every_rank, boxes_to_many_ctas, places_in_clusters, atomics }

const SOURCE: &str = concat!(include_str!("kernels/sm90.cuh"), include_str!("kernels/copies.cu"));

fn each(check: impl Fn(&mut Gpu)) {
    for schedule in SCHEDULES {
        check(&mut Gpu::new(SOURCE, Arch::Sm90a, schedule));
    }
}

fn stores_and_reductions_between_ctas() {
    each(|g| {
        let o = g.machine.alloc(2 * 224 * 4).expect("room");
        g.run("st_async", 2, 32, vec![Arg::Ptr(o)]);
        let want: Vec<u32> = (0..448).map(|i| (1 - i / 224) * 1000 + i % 224).collect();
        assert_eq!(g.down::<u32>(o, 448), want);
        g.run("red_async", 2, 32, vec![Arg::Ptr(o)]);
        let lanes = || 0..32u32;
        let wrap = |start: u32, step: fn(u32) -> u32| lanes().fold(start, |v, _| step(v));
        let want = [
            5 + lanes().sum::<u32>(),
            93,
            3,
            0,
            u32::MAX,
            lanes().fold(0, |v, t| v ^ t * 0x0101_0101),
            wrap(0, |v| if v >= 9 { 0 } else { v + 1 }),
            -9i32 as u32,
            -26i32 as u32,
            wrap(0, |v| if v == 0 || v > 6 { 6 } else { v - 1 }),
        ];
        assert_eq!(g.down::<u32>(o, 20), [want, want].concat());
    });
}

fn copies_that_arrive_on_mbarriers() {
    each(|g| {
        let x: Vec<f32> = (0..512).map(|i| i as f32).collect();
        let px = g.up(&x);
        for kernel in ["cp_mbar", "cp_mbar_noinc"] {
            let o = g.machine.alloc(2048).expect("room");
            g.run(kernel, 1, 128, vec![Arg::Ptr(px), Arg::Ptr(o)]);
            let want: Vec<f32> = (0..512).map(|i| x[i / 128 * 128 + 127 - i % 128]).collect();
            assert_eq!(g.down::<f32>(o, 512), want, "{kernel}");
        }
    });
}

fn copies_of_every_size() {
    each(|g| {
        let x: Vec<f32> = (1..129).map(|i| i as f32).collect();
        let px = g.up(&x);
        let o = g.machine.alloc(512).expect("room");
        g.run("cp_sizes", 1, 32, vec![Arg::Ptr(px), Arg::Ptr(o)]);
        // The predicate ignores the source: zeros.
        let want: Vec<f32> = (0..128).map(|i| if (96..112).contains(&i) { 0.0 } else { x[i] }).collect();
        assert_eq!(g.down::<f32>(o, 128), want);
    });
}

fn reduce<T: bytemuck::Pod + PartialEq + std::fmt::Debug>(
    g: &mut Gpu,
    kernel: &str,
    x: impl Fn(i64) -> T,
    y: impl Fn(i64) -> T,
    f: impl Fn(T, T) -> T,
) {
    let all = |of: &dyn Fn(i64) -> T| (0..64).map(of).collect::<Vec<T>>();
    let (px, o) = (g.up(&all(&x)), g.up(&all(&y)));
    g.run(kernel, 1, 32, vec![Arg::Ptr(px), Arg::Ptr(o)]);
    let want: Vec<T> = (0..64).map(|i| f(y(i), x(i))).collect();
    assert_eq!(g.down::<T>(o, 64), want, "{kernel}");
}

fn bulk_reductions() {
    each(|g| {
        reduce(g, "bulk_add_u32", |i| i as u32 * 3, |i| u32::MAX - i as u32, u32::wrapping_add);
        reduce(g, "bulk_min_s32", |i| i as i32 - 32, |i| 32 - i as i32, i32::min);
        reduce(g, "bulk_max_u64", |i| (i as u64) << 40, |i| (64 - i as u64) << 40, u64::max);
        reduce(g, "bulk_and_b32", |i| i as u32 * 0x0101, |_| 0x0f0f, |a, b| a & b);
        reduce(g, "bulk_xor_b64", |i| (i as u64) << 50, |i| i as u64, |a, b| a ^ b);
        reduce(g, "bulk_add_f32", |i| i as f32 / 8.0, |i| -(i as f32), |a, b| a + b);
        reduce(g, "bulk_add_f64", |i| i as f64 / 8.0, |i| -(i as f64), |a, b| a + b);
        reduce(g, "bulk_inc_u32", |_| 5, |i| i as u32 % 7, |a, b| if a >= b { 0 } else { a + 1 });
        let (h, b) = (|v: i64| f16::from_f32(v as f32 / 4.0).to_bits(), |v: i64| bf16::from_f32(v as f32).to_bits());
        reduce(g, "bulk_add_f16", h, |i| h(2 * i - 9), |x, y| (f16::from_bits(x) + f16::from_bits(y)).to_bits());
        reduce(g, "bulk_max_bf16", |i| b(i - 20), |i| b(20 - i), |x, y| bf16::from_bits(x).max(bf16::from_bits(y)).to_bits());
    });
}

fn bulk_copies_between_ctas() {
    each(|g| {
        let o = g.machine.alloc(1024).expect("room");
        g.run("between", 2, 32, vec![Arg::Ptr(o)]);
        let want: Vec<u32> = (0..256).map(|i| (1 - i / 128) * 100 + i % 64 + if i / 64 % 2 == 1 { 7 } else { 0 }).collect();
        assert_eq!(g.down::<u32>(o, 256), want);
    });
}

/// A box that hangs over an edge in every dimension but the first, through a swizzle on the way.
fn boxes_of_every_rank() {
    each(|g| {
        let dims: [u64; 5] = [24, 7, 5, 4, 3];
        let tile: [u32; 5] = [16, 4, 3, 2, 2];
        let start: [i64; 5] = [4, 5, -1, 3, 1];
        for rank in 1..=5usize {
            let (d, t) = (&dims[..rank], &tile[..rank]);
            let n = d.iter().product::<u64>() as usize;
            let x: Vec<f32> = (0..n).map(|i| i as f32 + 1.0).collect();
            let px = g.up(&x);
            for swizzle in [Swizzle::None, Swizzle::B64] {
                let o = g.up(&vec![-1f32; n]);
                let bytes = 4 * t.iter().product::<u32>();
                let mut params =
                    vec![map(ElementType::F32, px, d, t, swizzle), map(ElementType::F32, o, d, t, swizzle), Arg::U32(bytes)];
                params.extend(start.map(|c| Arg::I32(c as i32)));
                g.try_run(&format!("box{rank}"), [1; 3], [32, 1, 1], bytes, params)
                    .unwrap_or_else(|e| panic!("rank {rank}: {e}"));
                for (i, got) in g.down::<f32>(o, n).into_iter().enumerate() {
                    let mut rest = i as i64;
                    let inside = (0..rank).all(|k| {
                        let c = rest % d[k] as i64;
                        rest /= d[k] as i64;
                        (start[k]..start[k] + i64::from(t[k])).contains(&c)
                    });
                    assert_eq!(got, if inside { x[i] } else { -1.0 }, "rank {rank}, element {i}");
                }
            }
        }
    });
}

fn boxes_to_many_ctas() {
    each(|g| {
        let x: Vec<u32> = (0..32 * 16).collect();
        let px = g.up(&x);
        let o = g.machine.alloc(2 * 16 * 4 * 4).expect("room");
        let params = vec![map(ElementType::U32, px, &[32, 16], &[16, 4], Swizzle::None), Arg::U32(256), Arg::Ptr(o)];
        g.try_run("box_cast", [2, 1, 1], [32, 1, 1], 256, params).unwrap_or_else(|e| panic!("{e}"));
        let want: Vec<u32> = (0..128).map(|i| (i % 64 / 16 + 2) * 32 + i % 16 + 8).collect();
        assert_eq!(g.down::<u32>(o, 128), want);
    });
}

fn places_in_clusters() {
    each(|g| {
        let o = g.up(&[0u32; 16 * 16]);
        g.try_run("where", [4, 4, 1], [32, 1, 1], 0, vec![Arg::Ptr(o)]).unwrap_or_else(|e| panic!("{e}"));
        let got: Vec<u32> = g.down(o, 256);
        for (i, got) in got.chunks(16).enumerate() {
            let (x, y) = (i as u32 % 4, i as u32 / 4);
            let rank = x % 2 + 2 * (y % 2);
            let own = u32::from(rank == 2);
            assert_eq!(got, [x % 2, y % 2, 2, 2, x / 2, y / 2, 2, 2, rank, 4, 3, 2, 1, 1, own, 0], "CTA {x}, {y}");
        }
    });
}

fn atomics() {
    each(|g| {
        let n = 128u64;
        let o = g.up(&[0u32, 0, 0, u32::MAX, 0, u32::MAX, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
        let w = g.up(&[0u64, 0, 0, u64::MAX, 0, 0, 0, 3, i64::MIN as u64]);
        let mut start = [0u32; 21];
        start[18] = 5;
        start[16] = 0xc000_c000;
        let (f, d) = (g.up(&start), g.up(&[0f64]));
        g.run("atoms", 2, 64, vec![Arg::Ptr(o), Arg::Ptr(w), Arg::Ptr(f), Arg::Ptr(d)]);
        let m = n as u32;
        let xor = (0..m).fold(0, |a, t| a ^ t);
        let dec = (0..m).fold(0u32, |v, _| if v == 0 || v > 10 { 10 } else { v - 1 });
        let want = [m * (m - 1) / 2, -70i32 as u32, 57, 5, 254, 0, u32::MAX, xor, m % 11, dec, 77, m, 2 * m, 3 * m, 4 * m, 4];
        assert_eq!(g.down::<u32>(o, 16), want);
        let want = [(n * (n - 1) / 2) << 32, -70i64 as u64, 127 << 40, 0, u64::MAX, u64::from(xor) << 33, 1 << 50, 4, 57];
        assert_eq!(g.down::<u64>(w, 9), want);
        assert_eq!(g.down::<f64>(d, 1), [n as f64 / 4.0]);
        let single: Vec<f32> = g.down(f, 8);
        assert_eq!(single, [64.0, 0.0, 128.0, 256.0, 128.0, 256.0, 384.0, 512.0]);
        let words: Vec<u32> = g.down(f, 21);
        let (h, b) = (|v: f32| u32::from(f16::from_f32(v).to_bits()), |v: f32| u32::from(bf16::from_f32(v).to_bits()));
        assert_eq!(words[8..10], [h(128.0) << 16 | h(64.0), b(128.0) << 16 | b(64.0)]);
        assert_eq!(words[12..16], [b(128.0) << 16 | b(64.0); 4]);
        assert_eq!(words[16..18], [0x3c00_3800, 0x4000_4000]);
        assert_eq!((words[18] & 0xffff, words[19] & 0xffff, words[20] & 0xffff), (6, h(128.0), b(128.0)));
    });
}
