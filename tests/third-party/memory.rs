//! Memory spaces, atomics, exchanges, divergence, calls: sm_80, every schedule.

use half::f16;
use kiln_emulator::{Arch, Arg, FaultKind, Schedule};

use crate::harness::{Gpu, SCHEDULES, floats, noise};

tests! { variables, wide_and_narrow_accesses, transpose, local_memory, atomics_and_histogram, locks_within_a_warp_make_progress, the_last_block_adds_up, warp_exchanges, divergence, calls, barriers, printf_and_assert, softmax }

const SOURCE: &str = include_str!("kernels/memory.cu");

/// Runs `check` under every schedule.
fn each(check: impl Fn(&mut Gpu)) {
    for schedule in SCHEDULES {
        check(&mut Gpu::new(SOURCE, Arch::Sm80, schedule));
    }
}

/// Runs an elementwise kernel of one input.
fn unary<X, O>(kernel: &str, x: &[X], per: usize, want: impl Fn(usize) -> O)
where
    X: bytemuck::NoUninit,
    O: bytemuck::AnyBitPattern + bytemuck::NoUninit + PartialEq + std::fmt::Debug,
{
    each(|g| {
        let px = g.up(x);
        let o = g.machine.alloc((x.len() * per * size_of::<O>()) as u64).unwrap();
        let n = x.len() as u32;
        g.run(kernel, n.div_ceil(64), 64, vec![Arg::U32(n), Arg::Ptr(px), Arg::Ptr(o)]);
        let got: Vec<O> = g.down(o, x.len() * per);
        for i in 0..got.len() {
            assert_eq!(got[i], want(i), "{kernel}, element {i}");
        }
    });
}

fn small(seed: u64, n: usize, below: u64) -> Vec<i32> {
    noise(seed, n).iter().map(|x| (x >> 20) as i32 & i32::MAX).map(|x| (x as u64 % below) as i32).collect()
}

fn variables() {
    each(|g| {
        let o = g.machine.alloc(4 * 64).unwrap();
        g.run("constants", 1, 64, vec![Arg::U32(64), Arg::Ptr(o)]);
        let want: Vec<i32> = (0..64).map(|i| (1 << (i & 7)) + 30 + 10 * (1 + (i & 3)) + 5).collect();
        assert_eq!(g.down::<i32>(o, 64), want);
        let (counter, size) = g.machine.global(g.module, "counter").unwrap();
        assert_eq!((g.down::<i32>(counter, 1)[0], size), (5, 4));
    });
}

fn wide_and_narrow_accesses() {
    let x = floats(1, 256, 5.0);
    unary("vectors", bytemuck::cast_slice::<f32, [f32; 4]>(&x), 1, |i| [x[4 * i + 3], x[4 * i + 2], x[4 * i + 1], x[4 * i]]);
    let b: Vec<u8> = noise(2, 100).iter().map(|x| *x as u8).collect();
    unary("bytes", &b, 1, |i| (i32::from(b[i]) - 200) as i8);
    let s: Vec<i16> = noise(3, 99).iter().map(|x| *x as i16).collect();
    unary("shorts", &s, 1, |i| s[98 - i] / 2);
}

fn transpose() {
    each(|g| {
        let x = floats(4, 64 * 64, 1.0);
        let px = g.up(&x);
        let o = g.machine.alloc(4 * 64 * 64).unwrap();
        let params = vec![Arg::U32(64), Arg::Ptr(px), Arg::Ptr(o)];
        let report = g.try_run("transpose", [2, 2, 1], [32, 8, 1], 0, params).unwrap();
        let got: Vec<f32> = g.down(o, 64 * 64);
        assert!((0..64 * 64).all(|i| got[i] == x[i % 64 * 64 + i / 64]));
        // Padded tile, full rows: no bank conflict, four sectors a request.
        let total = report.counters.unwrap().total;
        assert_eq!(total.shared_wavefronts, total.shared_ideal);
        assert_eq!(total.global_sectors, 4 * total.global_requests);
    });
}

fn local_memory() {
    let x = small(5, 200, 1000);
    unary("local_array", &x, 1, |i| {
        let v = x[i] as usize;
        let mut a = [0i32; 16];
        (0..16).for_each(|k| a[k * 7 + v & 15] = k as i32);
        (0..16).fold(0i32, |s, k| s.wrapping_mul(3).wrapping_add(a[v + k & 15]))
    });
}

fn atomics_and_histogram() {
    each(|g| {
        let x = small(6, 5000, 1 << 20);
        let px = g.up(&x);
        let o = g.up(&[0u32; 64]);
        g.run("histogram", 6, 128, vec![Arg::U32(5000), Arg::Ptr(px), Arg::Ptr(o)]);
        let mut want = [0u32; 64];
        x.iter().for_each(|v| want[*v as usize & 63] += 1);
        assert_eq!(g.down::<u32>(o, 64), want);

        let o = g.up(&[i32::MAX, i32::MIN, -1, 0, 0, 0, 0]);
        let (f, w, h) = (g.up(&[0f32]), g.up(&[0u64, 0]), g.up(&[0u32]));
        let n = 500;
        g.run("atomics", 4, 128, vec![Arg::U32(n), Arg::Ptr(px), Arg::Ptr(o), Arg::Ptr(f), Arg::Ptr(w), Arg::Ptr(h)]);
        let x = &x[..n as usize];
        let fold = |f: fn(i32, i32) -> i32, start| x.iter().copied().fold(start, f);
        let want = [
            fold(i32::min, i32::MAX),
            fold(i32::max, i32::MIN),
            fold(|a, b| a & b, -1),
            fold(|a, b| a | b, 0),
            fold(|a, b| a ^ b, 0),
            500 % 101,
            1,
        ];
        assert_eq!(g.down::<i32>(o, 7), want);
        assert_eq!(g.down::<f32>(f, 1), [500.0]);
        assert_eq!(g.down::<u64>(w, 2), [500 << 33, want[1] as u64]);
        let pair = g.down::<u16>(h, 2);
        assert_eq!([f16::from_bits(pair[0]).to_f32(), f16::from_bits(pair[1]).to_f32()], [500.0, 1000.0]);
    });
}

fn locks_within_a_warp_make_progress() {
    for kernel in ["spinlock", "spin_while"] {
        each(|g| {
            let (lock, value) = (g.up(&[0i32]), g.up(&[0i32]));
            g.run(kernel, 3, 64, vec![Arg::Ptr(lock), Arg::Ptr(value)]);
            assert_eq!(g.down::<i32>(value, 1), [3 * 64], "{kernel}");
        });
    }
}

fn the_last_block_adds_up() {
    each(|g| {
        let x: Vec<f32> = (0..4000).map(|i| (i % 17) as f32).collect();
        let (px, part, ticket) = (g.up(&x), g.machine.alloc(4 * 8).unwrap(), g.up(&[0u32]));
        let o = g.machine.alloc(4).unwrap();
        g.run("last_block", 8, 256, vec![Arg::U32(4000), Arg::Ptr(px), Arg::Ptr(part), Arg::Ptr(ticket), Arg::Ptr(o)]);
        assert_eq!(g.down::<f32>(o, 1), [x.iter().sum::<f32>()]);
    });
}

fn warp_exchanges() {
    let x = small(7, 128, 100);
    let at = |i: usize, l: usize| x[i / 32 * 32 + l];
    unary("shuffles", &x, 8, |k| {
        let (i, l) = (k / 8, k / 8 % 32);
        let warp = &x[i / 32 * 32..i / 32 * 32 + 32];
        match k % 8 {
            0 => at(i, (l * 5 + 3) & 31),
            1 => at(i, if l < 3 { l } else { l - 3 }),
            2 => at(i, if l + 5 > 31 { l } else { l + 5 }),
            3 => at(i, l ^ 9),
            4 => at(i, l & !7 | (l + 1) & 7),
            5 => warp.iter().enumerate().fold(0, |m, (k, v)| m | (v & 1) << k),
            6 => i32::from(warp.iter().any(|v| *v > 90)) * 2 + 1,
            _ => warp.iter().enumerate().fold(0, |m, (k, v)| m | i32::from(v & 3 == x[i] & 3) << k),
        }
    });
    unary("redux", &x, 4, |k| {
        let warp = &x[k / 4 / 32 * 32..k / 4 / 32 * 32 + 32];
        match k % 4 {
            0 => warp.iter().sum::<i32>(),
            1 => *warp.iter().max().unwrap(),
            2 => warp.iter().fold(0, |a, b| a ^ b),
            _ => *warp.iter().min().unwrap(),
        }
    });
}

fn divergence() {
    let x = small(8, 256, 5000).iter().map(|v| v + 1).collect::<Vec<_>>();
    unary("divergent", &x, 1, |i| {
        let (mut v, mut c) = (x[i], 0);
        while v != 1 && c < 200 {
            v = if v & 1 != 0 { 3 * v + 1 } else { v >> 1 };
            c += 1;
        }
        c
    });
    unary("halfwarps", &x, 1, |i| {
        let group = &x[i / 16 * 16..i / 16 * 16 + 16];
        if i % 32 < 16 { group.iter().sum() } else { *group.iter().max().unwrap() }
    });
    unary("switches", &x, 1, |i| {
        let v = x[i];
        match v & 15 {
            0 => v * 3,
            1 => v + 77,
            2 => -v,
            3 => v / 3,
            4 => v % 7,
            5 => 55,
            6 => v ^ 31,
            7 => v << 2,
            8 => v.count_ones() as i32,
            _ => 1000 + v,
        }
    });
}

fn calls() {
    fn fib(k: i32) -> i32 {
        if k < 2 { k } else { fib(k - 1) + fib(k - 2) }
    }
    let x = small(9, 100, 50);
    unary("recursion", &x, 1, |i| fib(x[i] % 9));
    each(|g| {
        let px = g.up(&x);
        let o = g.machine.alloc(8 * 100).unwrap();
        let mut v = 1.5f64.to_le_bytes().to_vec();
        v.extend(3i32.to_le_bytes());
        v.extend(0f32.to_le_bytes());
        g.run("struct_call", 2, 64, vec![Arg::U32(100), Arg::Bytes(v), Arg::Ptr(px), Arg::Ptr(o)]);
        let want: Vec<f64> = x
            .iter()
            .map(|k| {
                let (a, b) = (1.5 + f64::from(*k), 3 * k);
                a + f64::from(b) + f64::from((a + f64::from(b)) as f32)
            })
            .collect();
        assert_eq!(g.down::<f64>(o, 100), want);
        for which in 0..2 {
            let o = g.machine.alloc(400).unwrap();
            g.run("pointers", 2, 64, vec![Arg::U32(100), Arg::U32(which), Arg::Ptr(px), Arg::Ptr(o)]);
            let want: Vec<i32> = x.iter().map(|v| if which == 0 { v + 1 } else { v * 2 }).collect();
            assert_eq!(g.down::<i32>(o, 100), want);
        }
    });
}

fn barriers() {
    each(|g| {
        let x = floats(10, 3 * 500, 1.0).iter().map(|v| (v * 64.0).round()).collect::<Vec<_>>();
        let px = g.up(&x);
        let o = g.machine.alloc(12).unwrap();
        g.run("block_reduce", 3, 128, vec![Arg::U32(500), Arg::Ptr(px), Arg::Ptr(o)]);
        let want: Vec<f32> = x.chunks(500).map(|c| c.iter().sum()).collect();
        assert_eq!(g.down::<f32>(o, 3), want);

        let o = g.machine.alloc(256).unwrap();
        g.run("named", 1, 128, vec![Arg::Ptr(o)]);
        assert_eq!(g.down::<i32>(o, 64), (0..64).map(|i| 3 * i).collect::<Vec<_>>());

        let x: Vec<i32> = (0..96).map(|i| i % 11).collect();
        let px = g.up(&x);
        let o = g.machine.alloc(384).unwrap();
        g.run("votes", 1, 96, vec![Arg::U32(96), Arg::Ptr(px), Arg::Ptr(o)]);
        let count = x.iter().filter(|v| **v > 5).count() as i32;
        assert_eq!(g.down::<i32>(o, 96), [count * 4 + 3; 96]);
    });
}

fn printf_and_assert() {
    let mut g = Gpu::new(SOURCE, Arch::Sm80, Schedule::Eager);
    assert_eq!(g.run("prints", 1, 32, vec![Arg::U32(42)]).output, "n=42 f=1.50 hi\n");
    g.run("asserts", 1, 32, vec![Arg::U32(3)]);
    let error = g.try_run("asserts", [1; 3], [32, 1, 1], 0, vec![Arg::U32(4)]).unwrap_err();
    let fault = error.fault().unwrap();
    assert_eq!(fault.kind, FaultKind::Trap);
    assert!(fault.message.contains("n == 3"), "{fault}");
}

fn softmax() {
    each(|g| {
        let x = floats(11, 4 * 1000, 6.0);
        let px = g.up(&x);
        let o = g.machine.alloc(4 * 4000).unwrap();
        g.run("softmax", 4, 256, vec![Arg::U32(1000), Arg::Ptr(px), Arg::Ptr(o)]);
        let got: Vec<f32> = g.down(o, 4000);
        for (row, got) in x.chunks(1000).zip(got.chunks(1000)) {
            let m = row.iter().copied().fold(f32::MIN, f32::max);
            let e: Vec<f64> = row.iter().map(|v| f64::from(v - m).exp()).collect();
            let sum: f64 = e.iter().sum();
            for (g, e) in got.iter().zip(&e) {
                assert!((f64::from(*g) - e / sum).abs() < 1e-6);
            }
        }
    });
}
