//! One instruction a kernel: integers, conversions in every rounding, 16-bit floats, exchanges, cache operators, against
//! references written from the manual's text.

use half::{bf16, f16};
use kiln_emulator::{Arch, Arg, Error, Machine, Schedule};

use crate::harness::{Gpu, noise};
use crate::packed::h;

tests! { integers, wide_integers, conversions_of_f32, conversions_of_integers, conversions_to_16_and_8_bits, conversions_of_64_bits, seldom_floats,  lanes_of_a_warp, cache_operators, what_is_not_there_is_named }

const SOURCE: &str = include_str!("kernels/alu.cu");
pub const N: usize = 512;

const EDGES: [u32; 24] = [
    0,
    1,
    2,
    31,
    32,
    33,
    0xff,
    0x7fff_ffff,
    0x8000_0000,
    u32::MAX,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0001,
    0x3f80_0000,
    0xbf80_0000,
    0x3f00_0000,
    0xbf00_0000,
    0x4020_0000,
    0xc020_0000,
    0x4f00_0000,
    0x0000_1234,
    0x477f_f000,
    0x3380_0001,
    0x8000_0001,
];

/// Edge cases and noise; every fourth is a float of moderate size.
fn words(seed: u64) -> Vec<u32> {
    let pick = |(i, x): (usize, &u64)| match i % 4 {
        0 => EDGES[(x >> 9) as usize % EDGES.len()],
        1 => (((x >> 20) as i32 as f32) * 1e-6).to_bits(),
        2 => (x >> 33) as u32 >> (x & 31),
        _ => (x >> 32) as u32,
    };
    noise(seed, N).iter().enumerate().map(pick).collect()
}

/// Runs `kernel` on two inputs of `N` elements.
pub fn run<T: bytemuck::NoUninit>(g: &mut Gpu, kernel: &str, x: &[T], y: &[T]) -> Vec<u32> {
    let (px, py) = (g.up(x), g.up(y));
    let o = g.machine.alloc(4 * N as u64).expect("room");
    g.run(kernel, 4, 128, vec![Arg::U32(N as u32), Arg::Ptr(px), Arg::Ptr(py), Arg::Ptr(o)]);
    g.down(o, N)
}

pub fn gpu() -> Gpu {
    Gpu::new(SOURCE, Arch::Sm90a, Schedule::Lazy)
}

pub type Case<T> = (&'static str, fn(T, T) -> u32);

pub fn check(cases: &[Case<u32>]) {
    let (x, y) = (words(1), words(2));
    let mut g = gpu();
    for (kernel, want) in cases {
        for (i, got) in run(&mut g, kernel, &x, &y).into_iter().enumerate() {
            let want = want(x[i], y[i]);
            // The manual does not say which zero saturation gives.
            let got = if kernel.ends_with("_sat") { positive_zeros(got, kernel) } else { got };
            assert_eq!(got, want, "{kernel}({:#x}, {:#x}): {got:#x} is not {want:#x}", x[i], y[i]);
        }
    }
}

/// Negative zeros of a saturating instruction made positive, in both halves where it is a 16-bit one.
fn positive_zeros(bits: u32, kernel: &str) -> u32 {
    match kernel {
        "f32_f32_sat" | "fadd_sat" if bits == 0x8000_0000 => 0,
        "f32_f16_sat" | "hmul_sat" => {
            [0xffff, 0xffff_0000].iter().fold(0, |r, m| r | if bits & m & 0x7fff_7fff == 0 { 0 } else { bits & m })
        }
        _ => bits,
    }
}

fn check_wide(x: &[u64], y: &[u64], cases: &[Case<u64>]) {
    let mut g = gpu();
    for (kernel, want) in cases {
        for (i, got) in run(&mut g, kernel, x, y).into_iter().enumerate() {
            let want = want(x[i], y[i]);
            assert_eq!(got, want, "{kernel}({:#x}, {:#x}): {got:#x} is not {want:#x}", x[i], y[i]);
        }
    }
}

fn bytes(x: u32, y: u32) -> [u8; 8] {
    (u64::from(y) << 32 | u64::from(x)).to_le_bytes()
}

fn pick(x: u32, y: u32, which: [usize; 4]) -> u32 {
    u32::from_le_bytes(which.map(|i| bytes(x, y)[i]))
}

fn sext(x: u32, bits: u32) -> i64 {
    i64::from((x << (32 - bits)) as i32 >> (32 - bits))
}

fn integers() {
    check(&[
        ("prmt_f4e", |x, y| {
            let i = (y & 3) as usize;
            pick(x, y, [i, i + 1, i + 2, i + 3])
        }),
        ("prmt_b4e", |x, y| {
            let i = (y & 3) as usize;
            pick(x, y, [i, (i + 7) % 8, (i + 6) % 8, (i + 5) % 8])
        }),
        ("prmt_rc8", |x, y| pick(x, y, [(y & 3) as usize; 4])),
        ("prmt_ecl", |x, y| pick(x, y, [[0, 1, 2, 3], [1, 1, 2, 3], [2, 2, 2, 3], [3, 3, 3, 3]][(y & 3) as usize])),
        ("prmt_ecr", |x, y| pick(x, y, [[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 2, 2], [0, 1, 2, 3]][(y & 3) as usize])),
        ("prmt_rc16", |x, y| pick(x, y, if y & 1 == 0 { [0, 1, 0, 1] } else { [2, 3, 2, 3] })),
        ("prmt_sign", |x, y| {
            let b = bytes(x, y);
            let sign = |i: usize| if b[i] & 0x80 != 0 { 0xff } else { 0 };
            // Selectors b, 3, a, f from the lowest.
            u32::from_le_bytes([sign(3), b[3], sign(2), sign(7)])
        }),
        ("lop3_1b", |x, y| table(0x1b, x, y, 0x0f0f_3355)),
        ("lop3_e8", |x, y| table(0xe8, x, y, 0x1234_5678)),
        ("lop3_pred", |x, y| {
            let r = x & y & 0xff;
            r + u32::from(r != 0 || y != 0)
        }),
        ("dp4a_us", |x, y| {
            (0..4).fold(100i32, |s, i| s + i32::from((x >> (8 * i)) as u8) * i32::from((y >> (8 * i)) as i8)) as u32
        }),
        ("dp4a_uu", |x, y| (0..4).fold(x, |s, i| s.wrapping_add((x >> (8 * i) & 0xff) * (y >> (8 * i) & 0xff)))),
        ("dp2a_lo", |x, y| {
            (0..2).fold(5i32, |s, i| s + i32::from((x >> (16 * i)) as i16) * i32::from((y >> (8 * i)) as i8)) as u32
        }),
        ("dp2a_hi", |x, y| {
            (0..2).fold(5i64, |s, i| s + i64::from((x >> (16 * i)) as u16) * i64::from((y >> (8 * i + 16)) as i8)) as u32
        }),
        ("mul24_lo", |x, y| (sext(x, 24) * sext(y, 24)) as u32),
        ("mul24_hi", |x, y| (u64::from(x & 0xff_ffff) * u64::from(y & 0xff_ffff) >> 16) as u32),
        ("mad24", |x, y| ((u64::from(x & 0xff_ffff) * u64::from(y & 0xff_ffff)) as u32).wrapping_add(7)),
        ("sad_u", |x, y| x.abs_diff(y).wrapping_add(9)),
        ("add_sat", |x, y| (x as i32).saturating_add(y as i32) as u32),
        ("sub_sat", |x, y| (x as i32).saturating_sub(y as i32) as u32),
        ("mad_hi_sat", |x, y| ((i64::from(x as i32) * i64::from(y as i32) >> 32) as i32).saturating_add(x as i32) as u32),
        ("mul_hi_s", |x, y| (i64::from(x as i32) * i64::from(y as i32) >> 32) as u32),
        ("bmsk_wrap", |x, y| ((1u64 << (y & 31)) - 1 << (x & 31)) as u32),
        ("bmsk_clamp", |x, y| ((1u64 << y.min(32)) - 1 << x.min(32)) as u32),
        ("szext_s", |x, y| if y & 31 == 0 { 0 } else { sext(x, y & 31) as u32 }),
        ("szext_u", |x, y| if y >= 32 { x } else { x & ((1u64 << y) - 1) as u32 }),
        ("shf_l_clamp", |x, y| (((u64::from(y) << 32 | u64::from(x)) << y.min(32)) >> 32) as u32),
        ("shf_r_wrap", |x, y| ((u64::from(y) << 32 | u64::from(x)) >> (x & 31)) as u32),
        ("cnot", |x, _| u32::from(x == 0)),
        ("bfind_s", |x, _| {
            let v = if (x as i32) < 0 { !x } else { x };
            if v == 0 { u32::MAX } else { 31 - v.leading_zeros() }
        }),
        ("bfind_shift", |x, _| if x == 0 { u32::MAX } else { x.leading_zeros() }),
        ("fns", |x, y| (y & 31..32).filter(|i| x >> i & 1 != 0).nth(1).unwrap_or(u32::MAX)),
        ("slct", |x, y| if y as i32 >= 0 { x } else { y }),
        ("min_relu", |x, y| (x as i32).min(y as i32).max(0) as u32),
        ("max_s16x2", |x, y| {
            let one = |s: u32| u32::from(((x >> s) as i16).max((y >> s) as i16) as u16) << s;
            one(0) | one(16)
        }),
        ("add_u16x2", |x, y| {
            u32::from((x as u16).wrapping_add(y as u16)) | u32::from(((x >> 16) as u16).wrapping_add((y >> 16) as u16)) << 16
        }),
        ("set_u32", |x, y| if (x as i32) < y as i32 { u32::MAX } else { 0 }),
        ("set_f32", |x, y| if x >= y { 1f32.to_bits() } else { 0 }),
        ("setp_and", |x, y| if x != y && (x as i32) < y as i32 { 1 } else { 2 }),
        ("mad_cc", |x, y| {
            let wide = u64::from(x) * u64::from(y);
            let (low, carry) = (wide as u32).overflowing_add(x);
            ((wide >> 32) as u32).wrapping_add(low).wrapping_add(u32::from(carry))
        }),
    ]);
}

/// `lop3`, bit by bit.
fn table(lut: u32, x: u32, y: u32, z: u32) -> u32 {
    (0..32).fold(0, |r, i| r | (lut >> ((x >> i & 1) << 2 | (y >> i & 1) << 1 | z >> i & 1) & 1) << i)
}

fn wide_integers() {
    let wide =
        |seed| noise(seed, N).iter().enumerate().map(|(i, x)| if i % 5 == 0 { 0 } else { x >> (x & 63) }).collect::<Vec<_>>();
    check_wide(
        &wide(3),
        &wide(4),
        &[
            ("popc64", |x, _| x.count_ones()),
            ("clz64", |x, _| x.leading_zeros()),
            ("bfind64", |x, _| {
                let v = if (x as i64) < 0 { !x } else { x };
                if v == 0 { u32::MAX } else { 63 - v.leading_zeros() }
            }),
            ("bfe64", |x, _| ((x << 11) as i64 >> 24) as u32),
            ("bfi64", |x, y| {
                let m = ((1u64 << 30) - 1) << 20;
                ((y & !m | x << 20 & m) >> 16) as u32
            }),
        ],
    );
}

fn f(x: u32) -> f32 {
    f32::from_bits(x)
}

/// NaN becomes the canonical one.
fn canon(x: f32) -> u32 {
    if x.is_nan() { 0x7fff_ffff } else { x.to_bits() }
}

fn conversions_of_f32() {
    let whole: &[Case<u32>] = &[
        ("f32_s32_rni", |x, _| f(x).round_ties_even() as i32 as u32),
        ("f32_s32_rzi", |x, _| f(x) as i32 as u32),
        ("f32_s32_rmi", |x, _| f(x).floor() as i32 as u32),
        ("f32_s32_rpi", |x, _| f(x).ceil() as i32 as u32),
        ("f32_u32_rzi", |x, _| f(x) as u32),
        ("f32_u8_sat", |x, _| u32::from(f(x).round_ties_even() as u8)),
        ("f32_f32_rni", |x, _| canon(f(x).round_ties_even())),
        ("f32_f32_rpi_ftz", |x, _| canon(if f(x).is_subnormal() { 0f32.copysign(f(x)) } else { f(x).ceil() })),
        ("f32_f32_sat", |x, _| if f(x).is_nan() { 0 } else { f(x).clamp(0.0, 1.0).to_bits() & 0x7fff_ffff }),
    ];
    check(whole);
}

/// An integer as f32, towards zero, down or up.
fn directed(value: i64, mode: char) -> u32 {
    let nearest = value as f32;
    let over = i128::from(nearest as i64) - i128::from(value);
    // i64::MAX rounds to 2^63, which `as i64` brings back to the maximum: one too few to see.
    let over = if nearest >= 9.223_372e18 { 1 } else { over };
    let result = match (mode, over.signum()) {
        ('z', s) if s != 0 && (s > 0) == (value > 0) => f32::from_bits(nearest.to_bits() - 1),
        ('m', 1) => nearest.next_down(),
        ('p', -1) => nearest.next_up(),
        _ => nearest,
    };
    result.to_bits()
}

fn conversions_of_integers() {
    check(&[
        ("s32_f32_rz", |x, _| directed((x as i32).into(), 'z')),
        ("s32_f32_rm", |x, _| directed((x as i32).into(), 'm')),
        ("s32_f32_rp", |x, _| directed((x as i32).into(), 'p')),
        ("u32_f32_rn", |x, _| (x as f32).to_bits()),
        ("s32_s8_sat", |x, _| i32::from((x as i32).clamp(-128, 127) as i8) as u32),
        ("s32_u16_sat", |x, _| (x as i32).clamp(0, 65535) as u32),
        ("u32_s8", |x, _| i32::from(x as u8 as i8) as u32),
    ]);
}

/// f16 of a value in a directed mode, found by stepping from the nearest.
fn half(x: f32, mode: char) -> u32 {
    let h = f16::from_f32(x);
    if x.is_nan() {
        return 0x7fff;
    }
    let (up, down) = (h.to_f32() < x, h.to_f32() > x);
    let bits = h.to_bits();
    // Encodings count away from zero.
    let toward = |bits: u16, larger: bool| match (bits & 0x8000 != 0, larger) {
        (false, true) => bits + 1,
        (false, false) if bits == 0 => 0x8001,
        (false, false) => bits - 1,
        (true, true) if bits == 0x8000 => 1,
        (true, true) => bits - 1,
        (true, false) => bits + 1,
    };
    let result = match mode {
        'p' if up => toward(bits, true),
        'm' if down => toward(bits, false),
        'z' if x > 0.0 && down => toward(bits, false),
        'z' if x < 0.0 && up => toward(bits, true),
        _ => bits,
    };
    // A result of zero keeps the operand's sign.
    u32::from(if result & 0x7fff == 0 { (x.to_bits() >> 16) as u16 & 0x8000 } else { result })
}

fn bhalf(x: f32) -> u32 {
    if x.is_nan() { 0x7fff } else { bf16::from_f32(x).to_bits().into() }
}

/// An 8-bit float with `man` stored bits, smallest exponent `low` and largest value `max`: to nearest even, saturating.
fn eight(x: f64, man: i32, low: i32, max: f64) -> u32 {
    let sign = u32::from(x.is_sign_negative()) << 7;
    if x.is_nan() {
        return 0x7f;
    }
    let a = x.abs().min(max);
    let e = (if a == 0.0 { low } else { (a.log2().floor() as i32).max(low) }) - man;
    let steps = (a / 2f64.powi(e)).round_ties_even();
    // Steps of the lowest binade are encodings; each binade above adds as many as it has steps.
    let bits = steps as i64 + i64::from(e - (low - man)) * (1i64 << man);
    sign | bits as u32
}

fn e4m3(x: f64) -> u32 {
    eight(x, 3, -6, 448.0)
}

fn e5m2(x: f64) -> u32 {
    eight(x, 2, -14, 57344.0)
}

fn twice(h: u32) -> u32 {
    h | h << 16
}

fn conversions_to_16_and_8_bits() {
    check(&[
        ("f32_f16_rz", |x, _| twice(half(f(x), 'z'))),
        ("f32_f16_rm", |x, _| twice(half(f(x), 'm'))),
        ("f32_f16_rp", |x, _| twice(half(f(x), 'p'))),
        ("f32_f16_sat", |x, _| twice(if f(x).is_nan() { 0 } else { half(f(x).clamp(0.0, 1.0).abs(), 'n') })),
        ("f32_bf16_rn", |x, _| twice(bhalf(f(x)))),
        ("f32_bf16_rz", |x, _| twice(if f(x).is_nan() { 0x7fff } else { x >> 16 })),
        ("f32_bf16_relu", |x, _| twice(if f(x) > 0.0 || f(x).is_nan() { bhalf(f(x)) } else { 0 })),
        ("f32_tf32", |x, _| {
            if f(x).is_nan() {
                0x7fff_e000
            } else if f(x).is_infinite() {
                x
            } else {
                x.wrapping_add(0x1000) & 0xffff_e000
            }
        }),
        ("f32_f16x2", |x, y| half(f(x), 'n') << 16 | half(f(y), 'n')),
        ("f32_f16x2_relu", |x, y| {
            let one = |v: f32| if v > 0.0 || v.is_nan() { half(v, 'z') } else { 0 };
            one(f(x)) << 16 | one(f(y))
        }),
        ("f32_bf16x2", |x, y| bhalf(f(x)) << 16 | bhalf(f(y))),
        ("f32_e4m3", |x, y| twice(e4m3(f(x).into()) << 8 | e4m3(f(y).into()))),
        ("f32_e5m2_relu", |x, y| {
            let one = |v: f32| if v > 0.0 || v.is_nan() { e5m2(v.into()) } else { 0 };
            twice(one(f(x)) << 8 | one(f(y)))
        }),
        ("f16x2_e4m3", |x, _| twice(e4m3(h(x >> 16)) << 8 | e4m3(h(x)))),
        ("f16x2_e5m2", |x, _| twice(e5m2(h(x >> 16)) << 8 | e5m2(h(x)))),
        ("e4m3_f16x2", |x, _| widened(x >> 8 & 0xff, 3) << 16 | widened(x & 0xff, 3)),
        ("e5m2_f16x2", |x, _| widened(x >> 8 & 0xff, 2) << 16 | widened(x & 0xff, 2)),
    ]);
}

/// f16 bits of an 8-bit float with `man` stored bits.
fn widened(bits: u32, man: u32) -> u32 {
    let magnitude = bits & 0x7f;
    let (field, fraction) = ((magnitude >> man) as i32, magnitude & ((1 << man) - 1));
    let (bias, nan) = if man == 3 { (7, magnitude == 0x7f) } else { (15, magnitude > 0x7c) };
    if nan {
        return 0x7fff;
    }
    if man == 2 && magnitude == 0x7c {
        return 0x7c00 | bits >> 7 << 15;
    }
    let unit = 2f64.powi(field.max(1) - bias - man as i32);
    let value = f64::from(if field == 0 { fraction } else { fraction | 1 << man }) * unit;
    u32::from(f16::from_f64(value).to_bits()) | bits >> 7 << 15
}

fn conversions_of_64_bits() {
    let x: Vec<f64> = noise(5, N)
        .iter()
        .enumerate()
        .map(|(i, x)| match i % 4 {
            0 => f64::from((x >> 32) as i32) / 3.0,
            1 => f64::from_bits(*x),
            2 => f64::from(f(EDGES[(x >> 8) as usize % EDGES.len()])),
            _ => f64::from((x >> 40) as i32) * 1e-45,
        })
        .collect();
    let bits: Vec<u64> = x.iter().map(|x| x.to_bits()).collect();
    fn narrow(x: u64, mode: char) -> u32 {
        let x = f64::from_bits(x);
        let nearest = x as f32;
        if x.is_nan() {
            return 0x7fff_ffff;
        }
        let over = f64::from(nearest).partial_cmp(&x).map_or(0, |o| o as i32);
        let result = match (mode, over) {
            ('m', 1) => nearest.next_down(),
            ('p', -1) => nearest.next_up(),
            ('z', 1) if x > 0.0 => nearest.next_down(),
            ('z', -1) if x < 0.0 => nearest.next_up(),
            _ => nearest,
        };
        (if result == 0.0 { 0f32.copysign(x as f32) } else { result }).to_bits()
    }
    check_wide(
        &bits,
        &bits,
        &[
            ("f64_f32_rn", |x, _| narrow(x, 'n')),
            ("f64_f32_rz", |x, _| narrow(x, 'z')),
            ("f64_f32_rm", |x, _| narrow(x, 'm')),
            ("f64_f32_rp", |x, _| narrow(x, 'p')),
            ("f64_s32", |x, _| f64::from_bits(x).floor() as i32 as u32),
        ],
    );
    let wide: Vec<u64> = noise(6, N).iter().map(|x| x >> (x & 63)).chain([u64::MAX, 1 << 63]).skip(2).collect();
    check_wide(&wide, &wide, &[("u64_f32", |x, _| (x as f32).to_bits()), ("s64_f32_rz", |x, _| directed(x as i64, 'z'))]);
}

fn seldom_floats() {
    check(&[
        ("fadd_sat", |x, y| {
            let s = f(x) + f(y);
            if s.is_nan() { 0 } else { s.clamp(0.0, 1.0).to_bits() & 0x7fff_ffff }
        }),
        ("fmul_ftz", |x, y| {
            let flush = |v: f32| if v.is_subnormal() { 0f32.copysign(v) } else { v };
            canon(flush(flush(f(x)) * flush(f(y))))
        }),
        ("fmin_nan", |x, y| {
            if f(x).is_nan() || f(y).is_nan() {
                0x7fff_ffff
            } else if x & y & 0x7fff_ffff == 0 && f(x) == f(y) {
                x | y
            } else {
                f(x).min(f(y)).to_bits()
            }
        }),
        ("fmax_xor", |x, y| {
            let largest = f(x).abs().max(f(y).abs());
            canon(largest.copysign(f((x ^ y) & 0x8000_0000 | 1)))
        }),
        ("fma_rz", |x, y| {
            // The exact product and sum in integers of 2^-298.
            let (a, b) = (f(x), f(y));
            let nearest = a.mul_add(b, a);
            if !nearest.is_finite() || !a.is_finite() || !b.is_finite() || nearest == 0.0 {
                return if a.is_finite() && b.is_finite() && nearest.is_infinite() {
                    0x7f7f_ffff | nearest.to_bits() & 0x8000_0000
                } else {
                    canon(nearest)
                };
            }
            // a b + a - nearest, with its sign from two exact steps: the product of two f32 is exact in f64.
            let p = f64::from(a) * f64::from(b);
            let (s, t) = two_sum(p, a.into());
            let (u, v) = two_sum(s, -f64::from(nearest));
            let rest = u + (v + t);
            let away = rest != 0.0 && (rest < 0.0) == (nearest > 0.0);
            if away { nearest.to_bits() - 1 } else { nearest.to_bits() }
        }),
        ("fcopysign", |x, y| y & 0x7fff_ffff | x & 0x8000_0000),
        ("ftestp", |x, _| u32::from(f(x).is_subnormal())),
        ("fsub_rp", |x, y| {
            let (a, b) = (f(x), f(y));
            let nearest = a - b;
            if !a.is_finite() || !b.is_finite() {
                return canon(nearest);
            }
            if nearest.is_infinite() {
                return if nearest > 0.0 { nearest.to_bits() } else { 0xff7f_ffff };
            }
            let (s, t) = two_sum(a.into(), -f64::from(b));
            let over = (f64::from(nearest) - s) - t;
            if over < 0.0 { nearest.next_up().to_bits() } else { nearest.to_bits() }
        }),
    ]);
}

/// A sum and its rounding error, exactly (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let s = a + b;
    let bb = s - a;
    (s, (a - (s - bb)) + (b - bb))
}

/// What a lane must get, from the warp's values and its number.
type Of<'a> = &'a dyn Fn(&[u32], &[u32], usize) -> u32;

fn lanes_of_a_warp() {
    let (x, y) = (words(1), words(2));
    let mut g = gpu();
    let mut each = |kernel: &str, want: Of| {
        for (i, got) in run(&mut g, kernel, &x, &y).into_iter().enumerate() {
            let warp = i / 32 * 32..i / 32 * 32 + 32;
            assert_eq!(got, want(&x[warp.clone()], &y[warp], i % 32), "{kernel}, element {i}");
        }
    };
    each("vote_uni", &|x, _, _| {
        let n = x.iter().filter(|v| **v < 0x8000_0000).count();
        u32::from(n == 0 || n == 32)
    });
    each("vote_all_not", &|x, y, _| u32::from(x.iter().zip(y).all(|(x, y)| x != y)));
    each("match_all", &|_, _, _| u32::MAX);
    each("match_any", &|x, _, l| (0..32).fold(0, |m, k| m | u32::from(x[k] & 3 == x[l] & 3) << k));
    each("redux_and", &|x, _, _| x.iter().fold(u32::MAX, |a, b| a & b));
    each("redux_or", &|x, _, _| x.iter().fold(0, |a, b| a | b));
    each("redux_umax", &|x, _, _| x.iter().copied().fold(0, u32::max));
    each("redux_smin", &|x, _, _| x.iter().map(|v| *v as i32).fold(i32::MAX, i32::min) as u32);
    each("active", &|_, _, l| if l % 2 == 0 { 0x5555_5555 } else { 0 });
    each("sleepy", &|x, _, l| x[l]);
    each("lanes", &|_, _, l| u32::MAX.wrapping_add(l as u32));
}

fn cache_operators() {
    let (x, y) = (words(1), words(2));
    let got = run(&mut gpu(), "cached", &x, &y);
    for i in 0..N {
        let four = i / 4 * 4;
        let want = x[i].wrapping_mul(5).wrapping_add(y[four + 1]).wrapping_add(y[four + 2]);
        assert_eq!(got[i], want, "element {i}");
    }
}

/// What this machine refuses it refuses with the instruction's name and line.
fn what_is_not_there_is_named() {
    for (text, word) in [
        ("wmma.load.a.sync.aligned.row.m16n16k16.global.f16 {%r1,%r1,%r1,%r1,%r1,%r1,%r1,%r1}, [%d1], 16;", "wmma"),
        (
            "mma.sp.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1,%f1,%f1,%f1}, {%r1,%r1}, {%r1,%r1}, {%f1,%f1,%f1,%f1}, %r1, 0;",
            "sparse mma",
        ),
        ("tensormap.replace.tile.global_address.global.b1024.b64 [%d1], %d1;", "tensormap"),
        (
            "cp.async.bulk.tensor.3d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes [%r1], [%d1, {%r1,%r1,%r1}], [%r1], {%h1};",
            "im2col",
        ),
        ("ld.global.v4.b64 {%d1,%d1,%d1,%d1}, [%d1];", "wider than 16 bytes"),
        ("tcgen05.fence::before_thread_sync;", "tcgen05"),
        ("tex.2d.v4.f32.f32 {%f1,%f1,%f1,%f1}, [%d1, {%f1,%f1}];", "tex"),
        ("add.f32x2 %d1, %d1, %d1;", "f32x2"),
        ("discard.global.L2 [%d1], 128;", "discard"),
    ] {
        let ptx = format!(
            ".version 8.8\n.target sm_90a\n.address_size 64\n.visible .entry k() {{\n.reg .b16 %h<3>; .reg .b32 %r<3>; .reg .b64 %d<3>; .reg .f32 %f<3>;\n{text}\nret;\n}}\n"
        );
        match Machine::new(Arch::Sm90a).load_ptx(&ptx) {
            Err(Error::Unsupported { line: 6, message } | Error::Parse { line: 6, message }) if message.contains(word) => {}
            other => panic!("{text}: {other:?}"),
        }
    }
}
