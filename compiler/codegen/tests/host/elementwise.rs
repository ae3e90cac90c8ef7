//! Operators lane by lane: semantics of integers, small floats, casts, shape operations, fast approximations.

use kiln_ir::ops::{BinaryOp, UnaryOp};
use kiln_ir::*;

use crate::harness::*;

const F32: ScalarType = ScalarType::F32;

#[test]
fn vector_add_at_every_tail() {
    for (block, n) in [(1024u32, 1usize), (1024, 1023), (1024, 1024), (1024, 5000), (100, 777), (1, 5), (48, 100)] {
        let mut k = Kernel::new("add", 1);
        let (x, y, z) = (k.tensor("x", F32, 1, false), k.tensor("y", F32, 1, false), k.tensor("z", F32, 1, true));
        let mut b = k.body();
        let pid = b.emit1(InstData::ProgramId { axis: 0 }, Type::index());
        let size = b.index(i64::from(block));
        let at = b.binary(BinaryOp::Mul, pid, size);
        let (u, v) = (b.load_view(spans(x, &[(at, block)]), None), b.load_view(spans(y, &[(at, block)]), None));
        let sum = b.binary(BinaryOp::Add, u, v);
        b.store_view(spans(z, &[(at, block)]), sum);
        let (mut x, mut y, mut z) = (noise(n, 1), noise(n, 2), vec![0f32; n + 8]);
        let len = n as i64;
        let mut out = std::mem::take(&mut z);
        k.run(
            &[(n as i64 + i64::from(block) - 1) / i64::from(block)],
            &[tensor(&mut x, &[len]), tensor(&mut y, &[len]), tensor(&mut out, &[len])],
        );
        assert!(out[n..].iter().all(|&v| v == 0.0), "nothing behind the end is written");
        for i in 0..n {
            assert_eq!(out[i], x[i] + y[i]);
        }
    }
}

/// `z = op(x, y)` on tiles of `n` lanes of any scalar type, as raw bytes.
fn binary<T: Copy + Default>(elem: ScalarType, op: BinaryOp, x: &[T], y: &[T]) -> Vec<T> {
    let n = x.len() as u32;
    let mut k = Kernel::new("binary", 1);
    let (a, b_, c) = (k.tensor("x", elem, 1, false), k.tensor("y", elem, 1, false), k.tensor("z", elem, 1, true));
    let mut b = k.body();
    let zero = b.index(0);
    let (u, v) = (b.load_view(spans(a, &[(zero, n)]), None), b.load_view(spans(b_, &[(zero, n)]), None));
    let w = b.binary(op, u, v);
    b.store_view(spans(c, &[(zero, n)]), w);
    let (mut x, mut y, mut z) = (x.to_vec(), y.to_vec(), vec![T::default(); n as usize]);
    let len = i64::from(n);
    k.run(&[1], &[tensor(&mut x, &[len]), tensor(&mut y, &[len]), tensor(&mut z, &[len])]);
    z
}

/// `y = x as to`.
pub fn cast<T: Copy, U: Copy + Default>(from: ScalarType, to: ScalarType, x: &[T]) -> Vec<U> {
    let n = x.len() as u32;
    let mut k = Kernel::new("cast", 1);
    let (a, c) = (k.tensor("x", from, 1, false), k.tensor("y", to, 1, true));
    let mut b = k.body();
    let zero = b.index(0);
    let u = b.load_view(spans(a, &[(zero, n)]), None);
    let w = b.cast(u, to);
    b.store_view(spans(c, &[(zero, n)]), w);
    let (mut x, mut y) = (x.to_vec(), vec![U::default(); n as usize]);
    let len = i64::from(n);
    k.run(&[1], &[tensor(&mut x, &[len]), tensor(&mut y, &[len])]);
    y
}

#[test]
fn integer_division_never_traps() {
    let x = [7i32, -7, i32::MIN, 5, 0, i32::MIN, i32::MAX, -1, 1 << 30, -13, 99, 3, 2, 1, 0, -5, 17];
    let y = [2i32, 2, -1, 0, 0, 0, -1, i32::MIN, 7, -4, 10, 3, 5, -1, 4, 0, 6];
    let want_div: Vec<i32> = x.iter().zip(y).map(|(&a, b)| if b == 0 { 0 } else { a.wrapping_div(b) }).collect();
    let want_rem: Vec<i32> = x.iter().zip(y).map(|(&a, b)| if b == 0 { a } else { a.wrapping_rem(b) }).collect();
    assert_eq!(binary(ScalarType::I32, BinaryOp::Div, &x, &y), want_div);
    assert_eq!(binary(ScalarType::I32, BinaryOp::Rem, &x, &y), want_rem);
    let x64: Vec<i64> = x.iter().map(|&v| if v == i32::MIN { i64::MIN } else { i64::from(v) << 20 }).collect();
    let y64: Vec<i64> = y.iter().map(|&v| i64::from(v)).collect();
    let want: Vec<i64> = x64.iter().zip(&y64).map(|(&a, &b)| if b == 0 { 0 } else { a.wrapping_div(b) }).collect();
    assert_eq!(binary(ScalarType::I64, BinaryOp::Div, &x64, &y64), want);
    let want: Vec<i64> = x64.iter().zip(&y64).map(|(&a, &b)| if b == 0 { a } else { a.wrapping_rem(b) }).collect();
    assert_eq!(binary(ScalarType::I64, BinaryOp::Rem, &x64, &y64), want);
    let (xu, yu): (Vec<u32>, Vec<u32>) = (x.iter().map(|&v| v as u32).collect(), y.iter().map(|&v| v as u32).collect());
    let want: Vec<u32> = xu.iter().zip(&yu).map(|(&a, &b)| a.checked_div(b).unwrap_or(0)).collect();
    assert_eq!(binary(ScalarType::U32, BinaryOp::Div, &xu, &yu), want);
    let (x8, y8): (Vec<i8>, Vec<i8>) = (x.iter().map(|&v| v as i8).collect(), y.iter().map(|&v| v as i8).collect());
    let want: Vec<i8> = x8.iter().zip(&y8).map(|(&a, &b)| if b == 0 { 0 } else { a.wrapping_div(b) }).collect();
    assert_eq!(binary(ScalarType::I8, BinaryOp::Div, &x8, &y8), want);
}

#[test]
fn shifts_saturate() {
    let x = [1i32, -1, -8, 0x7fff_ffff, 5, -5, 100, i32::MIN, 12];
    let y = [31i32, 31, 1, 32, -1, 40, 0, 33, 2];
    let left: Vec<i32> = x.iter().zip(y).map(|(&a, b)| if (0..32).contains(&b) { a.wrapping_shl(b as u32) } else { 0 }).collect();
    let right: Vec<i32> = x.iter().zip(y).map(|(&a, b)| a >> if (0..32).contains(&b) { b } else { 31 }).collect();
    assert_eq!(binary(ScalarType::I32, BinaryOp::Shl, &x, &y), left);
    assert_eq!(binary(ScalarType::I32, BinaryOp::Shr, &x, &y), right);
    let (xu, yu): (Vec<u32>, Vec<u32>) = (x.iter().map(|&v| v as u32).collect(), y.iter().map(|&v| v as u32).collect());
    let right: Vec<u32> = xu.iter().zip(&yu).map(|(&a, &b)| if b < 32 { a >> b } else { 0 }).collect();
    assert_eq!(binary(ScalarType::U32, BinaryOp::Shr, &xu, &yu), right);
}

#[test]
fn high_products() {
    let x = [u64::MAX, 1 << 63, 12345678901234567, 0, 3];
    let y = [u64::MAX, 2, 98765432109876543, 5, 1 << 62];
    let want: Vec<u64> = x.iter().zip(y).map(|(&a, b)| ((u128::from(a) * u128::from(b)) >> 64) as u64).collect();
    assert_eq!(binary(ScalarType::U64, BinaryOp::MulHi, &x, &y), want);
    let x = [i32::MIN, i32::MAX, -5, 77];
    let y = [i32::MIN, -1, 1 << 30, -(1 << 29)];
    let want: Vec<i32> = x.iter().zip(y).map(|(&a, b)| ((i64::from(a) * i64::from(b)) >> 32) as i32).collect();
    assert_eq!(binary(ScalarType::I32, BinaryOp::MulHi, &x, &y), want);
}

#[test]
fn float_to_integer_saturates() {
    let x = [1.9f32, -1.9, 3e9, -3e9, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 255.5, -0.5, 127.9, 1e20];
    assert_eq!(cast::<f32, i32>(F32, ScalarType::I32, &x), x.map(|v| v as i32));
    assert_eq!(cast::<f32, u8>(F32, ScalarType::U8, &x), x.map(|v| v as u8));
    assert_eq!(cast::<f32, i64>(F32, ScalarType::I64, &x), x.map(|v| v as i64));
    assert_eq!(cast::<f32, u64>(F32, ScalarType::U64, &x), x.map(|v| v as u64));
}

#[test]
fn every_f16_and_bf16_converts_exactly_and_back() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    let floats: Vec<f32> = cast(ScalarType::F16, F32, &all);
    for (&bits, &f) in all.iter().zip(&floats) {
        let want = half::f16::from_bits(bits).to_f32();
        assert!(f == want || (f.is_nan() && want.is_nan()), "{bits:#x}: {f} {want}");
    }
    let floats: Vec<f32> = cast(ScalarType::BF16, F32, &all);
    for (&bits, &f) in all.iter().zip(&floats) {
        assert!(f.to_bits() == u32::from(bits) << 16 || f.is_nan());
    }
}

/// Floats around every rounding boundary, of all magnitudes.
fn awkward() -> Vec<f32> {
    let mut list: Vec<f32> = vec![
        0.0,
        -0.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        f32::MAX,
        f32::MIN_POSITIVE,
        1e-45,
        65504.0,
        65519.9,
        65520.0,
        448.0,
        464.0,
        480.0,
        57344.0,
        61440.0,
        1e30,
    ];
    for exponent in -30..18 {
        for step in 0..64 {
            let base = 2f32.powi(exponent) * (1.0 + step as f32 / 64.0);
            for nudge in [-1i32, 0, 1] {
                let v = f32::from_bits((base.to_bits() as i32 + nudge) as u32);
                list.extend([v, -v]);
            }
        }
    }
    list
}

#[test]
fn narrowing_rounds_to_nearest_even() {
    let x = awkward();
    let got: Vec<u16> = cast(F32, ScalarType::F16, &x);
    for (&v, &g) in x.iter().zip(&got) {
        let want = half::f16::from_f32(v);
        assert!(g == want.to_bits() || (want.is_nan() && half::f16::from_bits(g).is_nan()), "{v}: {g:#x} {:#x}", want.to_bits());
    }
    let got: Vec<u16> = cast(F32, ScalarType::BF16, &x);
    for (&v, &g) in x.iter().zip(&got) {
        let want = half::bf16::from_f32(v);
        assert!(g == want.to_bits() || (want.is_nan() && half::bf16::from_bits(g).is_nan()), "{v}: {g:#x} {:#x}", want.to_bits());
    }
    // From f64 with one rounding only: a value just past a tie of the target that f32 would round onto the tie.
    let sticky =
        [1.0 + 2f64.powi(-11) + 2f64.powi(-40), 1.0 + 2f64.powi(-9) + 2f64.powi(-40), -(1.0 + 2f64.powi(-11) + 2f64.powi(-40))];
    let got: Vec<u16> = cast(ScalarType::F64, ScalarType::F16, &sticky);
    assert_eq!(got, [0x3c01, 0x3c02, 0xbc01]);
}

/// Value of an f8 code with `mantissa` bits; e4m3 has NaN at the top and no infinity.
fn f8_value(code: u8, mantissa: u32, e4m3: bool) -> f64 {
    let sign = if code & 0x80 != 0 { -1.0 } else { 1.0 };
    let magnitude = u32::from(code & 0x7f);
    let (exponent, fraction) = (magnitude >> mantissa, magnitude & ((1 << mantissa) - 1));
    let bias = if e4m3 { 7 } else { 15 };
    if e4m3 && magnitude == 0x7f || !e4m3 && exponent == 31 && fraction != 0 {
        return f64::NAN;
    }
    if !e4m3 && exponent == 31 {
        return sign * f64::INFINITY;
    }
    let scale = f64::from(1u32 << mantissa);
    if exponent == 0 {
        sign * f64::from(fraction) / scale * 2f64.powi(1 - bias)
    } else {
        sign * (1.0 + f64::from(fraction) / scale) * 2f64.powi(exponent as i32 - bias)
    }
}

#[test]
fn eight_bit_floats() {
    let codes: Vec<u8> = (0..=255).collect();
    for (elem, mantissa, e4m3) in [(ScalarType::F8E4M3, 3, true), (ScalarType::F8E5M2, 2, false)] {
        let floats: Vec<f32> = cast(elem, F32, &codes);
        for (&code, &f) in codes.iter().zip(&floats) {
            let want = f8_value(code, mantissa, e4m3);
            assert!(
                f64::from(f) == want && f.is_sign_negative() == (code & 0x80 != 0) || f.is_nan() && want.is_nan(),
                "{code:#x}: {f} {want}"
            );
        }
        let x = awkward();
        let got: Vec<u8> = cast(F32, elem, &x);
        let top = if e4m3 { 448.0 } else { 57344.0 };
        for (&v, &g) in x.iter().zip(&got) {
            let got = f8_value(g, mantissa, e4m3);
            if v.is_nan() {
                assert!(got.is_nan());
                continue;
            }
            // The nearest code; of two, the even one.
            let exact = f64::from(v).clamp(-top, top);
            let best = codes
                .iter()
                .filter(|&&c| (c & 0x80 != 0) == v.is_sign_negative() && f8_value(c, mantissa, e4m3).is_finite())
                .min_by(|&&a, &&b| {
                    let d = |c| (f8_value(c, mantissa, e4m3) - exact).abs();
                    d(a).total_cmp(&d(b)).then((a & 1).cmp(&(b & 1)))
                })
                .unwrap();
            assert_eq!(g, *best, "{v}");
        }
    }
}

#[test]
fn fast_approximations_keep_their_bounds() {
    let x: Vec<f32> =
        (0..4000).map(|i| (i as f32 - 2000.0) * 0.05).chain([f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0]).collect();
    let apply = |op: UnaryOp, x: &[f32]| -> Vec<f32> {
        let n = x.len() as u32;
        let mut k = Kernel::new("fast", 1);
        let (a, c) = (k.tensor("x", F32, 1, false), k.tensor("y", F32, 1, true));
        let mut b = k.body();
        let zero = b.index(0);
        let u = b.load_view(spans(a, &[(zero, n)]), None);
        let w = b.unary(op, u);
        b.store_view(spans(c, &[(zero, n)]), w);
        let (mut x, mut y) = (x.to_vec(), vec![0f32; n as usize]);
        k.run(&[1], &[tensor(&mut x, &[i64::from(n)]), tensor(&mut y, &[i64::from(n)])]);
        y
    };
    let check = |op: UnaryOp, f: &dyn Fn(f64) -> f64, relative: f64, absolute: f64| {
        for (&x, got) in x.iter().zip(apply(op, &x)) {
            let want = f(f64::from(x));
            if want.is_nan() || want.is_infinite() {
                assert!(got.is_nan() == want.is_nan() && (got.is_nan() || f64::from(got) == want), "{op} {x}: {got} {want}");
                continue;
            }
            let error = (f64::from(got) - want).abs();
            assert!(error <= relative * want.abs() + absolute, "{op} {x}: {got} {want}");
        }
    };
    check(UnaryOp::FastExp2, &f64::exp2, 3e-7, 0.0);
    check(UnaryOp::FastLog2, &|v| if v < 0.0 { f64::NAN } else { v.log2() }, 3e-7, 2e-7);
    check(UnaryOp::FastTanh, &f64::tanh, 1e-5, 0.0);
    check(UnaryOp::FastSin, &|v| v.sin(), 1e-6, 1e-6);
    check(UnaryOp::FastCos, &|v| v.cos(), 1e-6, 1e-6);
}

#[test]
fn shapes_move_lanes() {
    // y[i, j] = flip(reshape(x)) of a [6, 20] tile, transposed, a part of it, interleaved with itself.
    let mut k = Kernel::new("shapes", 1);
    let (x, y, z) = (k.tensor("x", F32, 1, false), k.tensor("y", F32, 2, true), k.tensor("z", F32, 1, true));
    let mut b = k.body();
    let zero = b.index(0);
    let flat = b.load_view(spans(x, &[(zero, 120)]), None);
    let square = b.reshape(flat, &[6, 20]);
    let flipped = b.emit1(InstData::Flip { arg: square, axis: 1 }, Type::tile(F32, &[6, 20]));
    let turned = b.permute(flipped, &[1, 0]);
    let part = b.emit1(InstData::ExtractSlice { arg: turned, starts: [2, 1].into_iter().collect() }, Type::tile(F32, &[17, 5]));
    b.store_view(spans(y, &[(zero, 17), (zero, 5)]), part);
    let negated = b.unary(UnaryOp::Neg, flat);
    let joined = b.emit1(InstData::Join { a: flat, b: negated }, Type::tile(F32, &[120, 2]));
    let mixed = b.reshape(joined, &[240]);
    b.store_view(spans(z, &[(zero, 240)]), mixed);
    let (mut x, mut y, mut z) = (noise(120, 8), vec![0f32; 85], vec![0f32; 240]);
    k.run(&[1], &[tensor(&mut x, &[120]), tensor(&mut y, &[17, 5]), tensor(&mut z, &[240])]);
    for i in 0..17 {
        for j in 0..5 {
            assert_eq!(y[i * 5 + j], x[(j + 1) * 20 + (19 - (i + 2))]);
        }
    }
    for i in 0..120 {
        assert_eq!((z[2 * i], z[2 * i + 1]), (x[i], -x[i]));
    }
}
