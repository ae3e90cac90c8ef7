//! Arithmetic of one thread an element, for sm_80 and sm_90a.

use half::{bf16, f16};
use kiln_emulator::{Arch, Arg, Schedule};

use crate::harness::{Gpu, floats, noise};

tests! { saxpy, int_mix, uint64_mix, bits, bitfield, carry, division_and_roots, directed_rounding, doubles, comparisons_with_nan, transcendental, conversions, sixteen_bit_floats, eight_bit_floats }

const SOURCE: &str = include_str!("kernels/scalar.cu");
const N: usize = 1000;

fn gpu(arch: Arch) -> Gpu {
    Gpu::new(SOURCE, arch, Schedule::Eager)
}

/// Runs an elementwise kernel of two inputs on both architectures and compares every bit.
fn binary<X, O>(kernel: &str, x: &[X], y: &[X], per: usize, want: impl Fn(X, X, usize) -> O)
where
    X: bytemuck::NoUninit,
    O: bytemuck::AnyBitPattern + bytemuck::NoUninit + PartialEq + std::fmt::Debug,
{
    for arch in [Arch::Sm80, Arch::Sm90a] {
        let mut g = gpu(arch);
        let (px, py) = (g.up(x), g.up(y));
        let o = g.machine.alloc((x.len() * per * size_of::<O>()) as u64).unwrap();
        let n = x.len() as u32;
        g.run(kernel, n.div_ceil(128), 128, vec![Arg::U32(n), Arg::Ptr(px), Arg::Ptr(py), Arg::Ptr(o)]);
        let got: Vec<O> = g.down(o, x.len() * per);
        for i in 0..got.len() {
            assert_eq!(got[i], want(x[i / per], y[i / per], i % per), "{kernel} on {arch}, element {i}");
        }
    }
}

fn ints(seed: u64) -> Vec<u32> {
    noise(seed, N).iter().map(|x| (x >> (x & 31)) as u32).collect()
}

fn saxpy() {
    let mut g = gpu(Arch::Sm80);
    let (x, y) = (floats(1, N, 10.0), floats(2, N, 10.0));
    let (px, py) = (g.up(&x), g.up(&y));
    let o = g.machine.alloc(4 * N as u64).unwrap();
    g.run("saxpy", 8, 128, vec![Arg::U32(N as u32), Arg::F32(1.5), Arg::Ptr(px), Arg::Ptr(py), Arg::Ptr(o)]);
    let want: Vec<f32> = x.iter().zip(&y).map(|(x, y)| 1.5f32.mul_add(*x, *y)).collect();
    assert_eq!(g.down::<f32>(o, N), want);
}

fn int_mix() {
    binary("int_mix", &ints(3), &ints(4), 1, |x, y, _| {
        let (a, b) = (x as i32, y as i32);
        let base = a.wrapping_mul(b).wrapping_add(a.wrapping_div(b | 1)).wrapping_sub(a.wrapping_rem(b | 1));
        (base ^ a.wrapping_shl(y & 31) ^ (a >> (y & 31)) ^ a.min(b) ^ a.max(b) ^ a.wrapping_abs()) as u32
    });
}

fn uint64_mix() {
    binary("uint64_mix", &noise(5, N), &noise(6, N), 1, |a, b, _| {
        let high = (u128::from(a) * u128::from(b) >> 64) as u64;
        let s = (b & 63) as u32;
        a.wrapping_mul(b)
            .wrapping_add(high)
            .wrapping_add(a / (b | 1))
            .wrapping_add(a % (b | 1))
            .wrapping_add(a << s)
            .wrapping_add(a >> s)
            .wrapping_add((a as i64 >> s) as u64)
    });
}

fn bits() {
    binary("bits", &ints(7), &ints(8), 1, |a, b, _| {
        let sel = 0x5410 ^ (b & 0x7777);
        let bytes = (u64::from(b) << 32 | u64::from(a)).to_le_bytes();
        let perm = (0..4).fold(0u32, |p, k| p | u32::from(bytes[(sel >> (4 * k) & 7) as usize]) << (8 * k));
        let pair = u64::from(b) << 32 | u64::from(a);
        let dp = (0..4).fold(7i32, |s, k| s + i32::from((a >> (8 * k)) as i8) * i32::from((b >> (8 * k)) as i8));
        let ffs = if b == 0 { 0 } else { b.trailing_zeros() + 1 };
        a.count_ones()
            .wrapping_add(33 * a.leading_zeros())
            .wrapping_add(1000 * ffs)
            .wrapping_add(a.reverse_bits())
            .wrapping_add(perm)
            .wrapping_add((pair << (b & 31) >> 32) as u32)
            .wrapping_add((pair >> (a & 31)) as u32)
            .wrapping_add((u64::from(a) * u64::from(b) >> 32) as u32)
            .wrapping_add((a as i32).abs_diff(b as i32).wrapping_add(5))
            .wrapping_add(dp as u32)
    });
}

fn bitfield() {
    binary("bitfield", &ints(9), &ints(10), 1, |a, b, _| {
        // Bit by bit, as the manual defines them.
        let (p, l) = (b & 31, b >> 5 & 31);
        let sign = l != 0 && a >> (p + l - 1).min(31) & 1 != 0;
        let (mut r, mut s, mut t) = (0u32, 0u32, b);
        for i in 0..32 {
            let bit = p + i < 32 && a >> (p + i) & 1 != 0;
            if i < l {
                r |= u32::from(bit) << i;
            }
            s |= u32::from(if i < l && p + i < 32 { bit } else { sign }) << i;
            if i < l && p + i < 32 {
                t = t & !(1 << (p + i)) | (a >> i & 1) << (p + i);
            }
        }
        r ^ s.wrapping_mul(3) ^ t.wrapping_mul(5)
    });
}

fn carry() {
    binary("carry", &noise(11, N), &noise(12, N), 1, |a, b, _| {
        let (lo, c) = a.overflowing_add(b);
        lo ^ a.wrapping_add(b).wrapping_add(u64::from(c)).wrapping_mul(7)
    });
}

fn division_and_roots() {
    let y: Vec<f32> = floats(14, N, 50.0).iter().map(|y| y.abs() + 0.01).collect();
    binary("fdiv_sqrt", &floats(13, N, 100.0), &y, 1, |x, y, _| x / y + y.sqrt() + 1.0 / y + x.mul_add(y, 0.5));
}

fn directed_rounding() {
    let y: Vec<f32> = floats(16, N, 3.0).iter().map(|y| y.abs() + 0.001).collect();
    // The exact result lies on the side that the mode says, and within one step of the nearest.
    binary("rounding", &floats(15, N, 2.0), &y, 8, |x, y, which| {
        let (a, b) = (f64::from(x), f64::from(y));
        let nearest = |v: f64| v as f32;
        // Sign of exact minus f.
        let side = |f: f32| -> f64 {
            let f = f64::from(f);
            match which {
                0 | 1 => (a - f) + b,
                2 | 3 => a * b - f,
                4 => (a - f * b) * b.signum(),
                5 => b - f * f,
                6 => a.mul_add(b, -f) + 1e-9f32 as f64,
                _ => 1.0 - f * b,
            }
        };
        let exact = [a + b, a + b, a * b, a * b, a / b, b.sqrt(), a.mul_add(b, 1e-9f32 as f64), 1.0 / b][which];
        let f = nearest(exact);
        let s = side(f);
        let (up, down, zero) = (matches!(which, 1 | 3 | 5), matches!(which, 2 | 6 | 7), matches!(which, 0 | 4));
        if s > 0.0 && (up || zero && f < 0.0) {
            f.next_up()
        } else if s < 0.0 && (down || zero && f > 0.0) {
            f.next_down()
        } else {
            f
        }
    });
}

fn doubles() {
    let x: Vec<f64> = floats(17, N, 9.0).iter().map(|x| f64::from(*x) / 3.0).collect();
    let y: Vec<f64> = floats(18, N, 9.0).iter().map(|y| f64::from(y.abs()) / 7.0 + 0.1).collect();
    binary("doubles", &x, &y, 1, |x, y, _| {
        // NVRTC contracts the first product and sum.
        x.mul_add(y, x / y) + y.sqrt() + x.mul_add(y, 1.0) + x.min(y) - x.floor()
    });
}

fn comparisons_with_nan() {
    let mut x = floats(19, N, 1.0);
    let mut y = x.clone();
    for i in 0..N {
        match i % 7 {
            0 => x[i] = f32::NAN,
            1 => y[i] = f32::NAN,
            2 => y[i] += 0.5,
            3 => y[i] -= 0.5,
            4 => (x[i], y[i]) = (0.0, -0.0),
            5 => (x[i], y[i]) = (f32::NAN, f32::NAN),
            _ => {}
        }
    }
    binary("setp_forms", &x, &y, 1, |a, b, _| {
        let nan = a.is_nan() || b.is_nan();
        let all = [
            a == b,
            !nan && a != b,
            a < b,
            a <= b,
            a > b,
            a >= b,
            a == b || nan,
            nan || a != b,
            a < b || nan,
            a <= b || nan,
            a > b || nan,
            a >= b || nan,
            !nan,
            nan,
        ];
        all.iter().enumerate().fold(0u32, |m, (k, t)| m | u32::from(*t) << k)
    });
}

fn transcendental() {
    let mut g = gpu(Arch::Sm80);
    let x = floats(20, N, 8.0);
    let px = g.up(&x);
    let o = g.machine.alloc(24 * N as u64).unwrap();
    g.run("math", 8, 128, vec![Arg::U32(N as u32), Arg::Ptr(px), Arg::Ptr(o)]);
    let got: Vec<f32> = g.down(o, 6 * N);
    for (i, x) in x.iter().enumerate() {
        let a = f64::from(*x);
        let want = [a.exp(), (f64::from(x.abs() + 0.1)).ln(), a.sin(), a.tanh(), a.exp(), 1.0 / f64::from(x.abs() + 0.1).sqrt()];
        for k in 0..6 {
            let err = (f64::from(got[6 * i + k]) - want[k]).abs() / want[k].abs().max(1.0);
            assert!(err < 2e-6, "function {k} of {a}: {} is not {}", got[6 * i + k], want[k]);
        }
    }
}

fn conversions() {
    let mut g = gpu(Arch::Sm90a);
    let x = floats(21, N, 300.0);
    let px = g.up(&x);
    let o = g.machine.alloc(40 * N as u64).unwrap();
    g.run("convert", 8, 128, vec![Arg::U32(N as u32), Arg::Ptr(px), Arg::Ptr(o)]);
    let got: Vec<i32> = g.down(o, 10 * N);
    for (i, &a) in x.iter().enumerate() {
        let towards_zero = {
            let h = f16::from_f32(a);
            if h.to_f32().abs() > a.abs() { f16::from_bits(h.to_bits() - 1) } else { h }
        };
        let want = [
            a as i32,
            a.abs() as u32 as i32,
            i32::from(a as i32 as i8),
            i32::from(a as i32 as u16),
            a.round_ties_even() as i32,
            a.ceil() as i32,
            (((a * 1e6) as i64) as f32).to_bits() as i32,
            i32::from(f16::from_f32(a).to_bits()),
            towards_zero.to_f32().to_bits() as i32,
            bf16::from_f32(a).to_f32().to_bits() as i32,
        ];
        assert_eq!(got[10 * i..10 * i + 10], want, "of {a}");
    }
}

fn sixteen_bit_floats() {
    let h = |seed| -> Vec<u32> {
        let f = floats(seed, 2 * N, 4.0);
        f.chunks(2).map(|p| u32::from(f16::from_f32(p[0]).to_bits()) | u32::from(f16::from_f32(p[1]).to_bits()) << 16).collect()
    };
    binary("halves", &h(22), &h(23), 1, |x, y, _| {
        let one = |x: u32, y: u32| -> u32 {
            let (a, b) = (f16::from_bits(x as u16).to_f64(), f16::from_bits(y as u16).to_f64());
            let p = f16::from_f64(a * b).to_f64();
            let q = f16::from_f64(a * a + b).to_f64();
            // The compiler may not fuse: __hadd2 of two rounded values.
            u32::from(f16::from_f64(p + q).to_bits())
        };
        one(x & 0xffff, y & 0xffff) | one(x >> 16, y >> 16) << 16
    });
    let b = |seed| -> Vec<u32> {
        let f = floats(seed, 2 * N, 4.0);
        f.chunks(2).map(|p| u32::from(bf16::from_f32(p[0]).to_bits()) | u32::from(bf16::from_f32(p[1]).to_bits()) << 16).collect()
    };
    binary("bhalves", &b(24), &b(25), 1, |x, y, _| {
        let one = |x: u32, y: u32| -> u32 {
            let (a, b) = (bf16::from_bits(x as u16).to_f64(), bf16::from_bits(y as u16).to_f64());
            u32::from(bf16::from_f64(a * b + a.max(b)).to_bits())
        };
        one(x & 0xffff, y & 0xffff) | one(x >> 16, y >> 16) << 16
    });
}

fn eight_bit_floats() {
    let mut g = gpu(Arch::Sm90a);
    let x = [0.0f32, 1.0, 448.0, 500.0, 0.0625, 1e-4, 3.3, 57344.0, 1e9, 0.0019, 17.0, 18.0, 19.0];
    let px = g.up(&x);
    let o = g.machine.alloc(12 * x.len() as u64).unwrap();
    g.run("fp8", 1, 32, vec![Arg::U32(x.len() as u32), Arg::Ptr(px), Arg::Ptr(o)]);
    let got: Vec<u32> = g.down(o, 3 * x.len());
    // From the OCP 8-bit formats: e4m3 with 448 = 0x7e, e5m2 with 57344 = 0x7b, ties to even, saturating.
    let e4 = [0x00, 0x38, 0x7e, 0x7e, 0x18, 0x00, 0x45, 0x7e, 0x7e, 0x01, 0x58, 0x59, 0x5a];
    let e5 = [0x00, 0x3c, 0x5f, 0x60, 0x2c, 0x07, 0x43, 0x7b, 0x7b, 0x18, 0x4c, 0x4c, 0x4d];
    for i in 0..x.len() {
        assert_eq!(got[3 * i], e4[i] << 8 | e4[i] | 0x80, "e4m3 of {}", x[i]);
        assert_eq!(got[3 * i + 1], e5[i] << 8 | e5[i] | 0x80, "e5m2 of {}", x[i]);
        let value = f16::from_bits((got[3 * i + 2] >> 16) as u16).to_f32();
        assert!((value - x[i].min(448.0)).abs() <= x[i].min(448.0) / 16.0 + 0.001, "{value} for {}", x[i]);
    }
}
