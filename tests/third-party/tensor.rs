//! Tensor-core instructions, every type, shape and shared-memory layout: operands are laid out here as the manual's tables and
//! CUTLASS's canonical layouts say, and products are computed in integers or f64.

use half::{bf16, f16};
use kiln_emulator::{Arch, Arg, Schedule};

use crate::harness::{Gpu, SCHEDULES, noise};

tests! { wgmma_layouts, wgmma_types, wgmma_operand_in_registers, mma_integers, mma_floats, mma_doubles, matrices_stored_and_moved }

const SOURCE: &str = concat!(include_str!("kernels/sm90.cuh"), include_str!("kernels/tensor.cu"));

/// Element types of operands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum El {
    F16,
    Bf16,
    Tf32,
    E4m3,
    E5m2,
    S8,
    U8,
    S4,
    U4,
    B1,
}

impl El {
    fn bits(self) -> usize {
        match self {
            El::Tf32 => 32,
            El::F16 | El::Bf16 => 16,
            El::E4m3 | El::E5m2 | El::S8 | El::U8 => 8,
            El::S4 | El::U4 => 4,
            El::B1 => 1,
        }
    }

    /// A pseudo-random encoding of a small value, and the value.
    fn pick(self, n: u64) -> (u32, f64) {
        let small = ((n >> 20) % 33) as i32 - 16;
        match self {
            El::F16 => (f16::from_f32(small as f32 / 8.0).to_bits().into(), f64::from(small) / 8.0),
            El::Bf16 => (bf16::from_f32(small as f32 / 8.0).to_bits().into(), f64::from(small) / 8.0),
            // The low 13 bits do not count.
            El::Tf32 => ((small as f32 / 8.0).to_bits() | (n as u32 & 0x1fff), f64::from(small) / 8.0),
            // Three or two bits after the point, exponents around the bias.
            El::E4m3 => {
                let (e, m) = ((n >> 20) % 6 + 4, (n >> 30) % 8);
                (
                    (n >> 40 & 1) as u32 * 128 + (e << 3 | m) as u32,
                    sign(n >> 40) * (1.0 + m as f64 / 8.0) * 2f64.powi(e as i32 - 7),
                )
            }
            El::E5m2 => {
                let (e, m) = ((n >> 20) % 6 + 12, (n >> 30) % 4);
                (
                    (n >> 40 & 1) as u32 * 128 + (e << 2 | m) as u32,
                    sign(n >> 40) * (1.0 + m as f64 / 4.0) * 2f64.powi(e as i32 - 15),
                )
            }
            El::S8 => ((n >> 20) as u32 & 0xff, f64::from((n >> 20) as i8)),
            El::U8 => ((n >> 20) as u32 & 0xff, f64::from((n >> 20) as u8)),
            El::S4 => ((n >> 20) as u32 & 0xf, f64::from(((n >> 20) as i8) << 4 >> 4)),
            El::U4 => ((n >> 20) as u32 & 0xf, f64::from((n >> 20) as u8 & 0xf)),
            El::B1 => ((n >> 20) as u32 & 1, f64::from((n >> 20) as u8 & 1)),
        }
    }
}

fn sign(n: u64) -> f64 {
    if n & 1 == 0 { 1.0 } else { -1.0 }
}

/// A matrix of encodings and values, row-major.
struct Matrix {
    el: El,
    columns: usize,
    bits: Vec<u32>,
    values: Vec<f64>,
}

impl Matrix {
    fn new(el: El, rows: usize, columns: usize, seed: u64) -> Matrix {
        let (bits, values) = noise(seed, rows * columns).into_iter().map(|n| el.pick(n)).unzip();
        Matrix { el, columns, bits, values }
    }

    fn at(&self, row: usize, column: usize) -> u32 {
        self.bits[row * self.columns + column]
    }
}

/// A shared-memory tile: its bytes and the upper part of its descriptor.
struct Tile {
    bytes: Vec<u8>,
    descriptor: u64,
}

/// Lays out an operand of `mn` rows (or columns) and depth `k`; `get(i, kk)` are its encodings. `span` is the swizzle in bytes, 16
/// for none; `major_mn` puts neighbours along M or N next to one another instead of those along K.
fn lay_out(el: El, mn: usize, k: usize, span: usize, major_mn: bool, get: &dyn Fn(usize, usize) -> u32) -> Tile {
    let width = el.bits() / 8;
    let swizzled = span > 16;
    // Distances are larger than they need to be, so that a wrong one is seen.
    let pad = 1024;
    let (leading, stride) = match (major_mn, swizzled) {
        (false, false) => (128 + 128, 2048),
        (false, true) => (16, 8 * span * 2),
        (true, false) => (2048, 256),
        (true, true) => (4096, 8 * span * 2),
    };
    let mut bytes = vec![0u8; 16384 + pad];
    for i in 0..mn {
        for kk in 0..k {
            let place = match (major_mn, swizzled) {
                (false, false) => i / 8 * stride + kk * width / 16 * leading + i % 8 * 16 + kk * width % 16,
                (false, true) => i / 8 * stride + i % 8 * span + kk * width,
                (true, false) => i * width / 16 * stride + kk / 8 * leading + kk % 8 * 16 + i * width % 16,
                (true, true) => i * width / span * leading + kk / 8 * stride + kk % 8 * span + i * width % span,
            };
            // The 16-byte chunk's number within the span is changed by the number of the 128-byte line.
            let chunks = span / 16 - 1;
            let place = place ^ (place / 128 & chunks) * 16;
            bytes[place..place + width].copy_from_slice(&get(i, kk).to_le_bytes()[..width]);
        }
    }
    let code = match span {
        128 => 1,
        64 => 2,
        32 => 3,
        _ => 0u64,
    };
    Tile { bytes, descriptor: (leading as u64 / 16) << 16 | (stride as u64 / 16) << 32 | code << 62 }
}

/// Row and column of accumulator register `i` of thread `t` of a warpgroup.
fn place(t: usize, i: usize) -> (usize, usize) {
    (t / 32 * 16 + t % 32 / 4 + i / 2 % 2 * 8, t % 4 * 2 + i % 2 + i / 4 * 8)
}

struct Case {
    kernel: &'static str,
    a: El,
    b: El,
    k: usize,
    span: usize,
    major_a: bool,
    major_b: bool,
    /// Factor of the products.
    scale: f64,
    keep: bool,
}

/// Runs one wgmma m64n16 and compares all of D.
fn check(g: &mut Gpu, c: &Case) {
    let (a, b) = (Matrix::new(c.a, 64, c.k, 1), Matrix::new(c.b, c.k, 16, 2));
    let ta = lay_out(c.a, 64, c.k, c.span, c.major_a, &|i, kk| a.at(i, kk));
    let tb = lay_out(c.b, 16, c.k, c.span, c.major_b, &|i, kk| b.at(kk, i));
    let sum = |row: usize, col: usize| (0..c.k).map(|q| a.values[row * c.k + q] * b.values[q * 16 + col]).sum::<f64>();
    run_wgmma(g, c, &ta, &tb, &sum);
}

fn run_wgmma(g: &mut Gpu, c: &Case, ta: &Tile, tb: &Tile, sum: &dyn Fn(usize, usize) -> f64) {
    let what = format!("{} of {:?} x {:?}, span {}, MN-major {} {}", c.kernel, c.a, c.b, c.span, c.major_a, c.major_b);
    let (pa, pb) = (g.up(&ta.bytes), g.up(&tb.bytes));
    let o = g.machine.alloc(128 * 32).expect("room");
    let u = |n: usize| Arg::U32(n as u32);
    let params = vec![
        Arg::Ptr(pa),
        u(ta.bytes.len()),
        Arg::Ptr(pb),
        u(tb.bytes.len()),
        Arg::U64(ta.descriptor),
        Arg::U64(tb.descriptor),
        u(c.keep.into()),
        Arg::Ptr(o),
    ];
    g.try_run(c.kernel, [1; 3], [128, 1, 1], 65536, params).unwrap_or_else(|e| panic!("{what}: {e}"));
    let halves = c.kernel == "wg_f16_acc";
    for t in 0..128 {
        for i in 0..8 {
            let (row, col) = place(t, i);
            let start = if !c.keep {
                0.0
            } else if c.kernel == "wg_s8_sat" {
                f64::from(0x7fff_ff00)
            } else {
                1.0
            };
            let want = start + c.scale * sum(row, col);
            let got = if halves {
                f16::from_bits(g.down::<u16>(o, 128 * 8)[t * 8 + i]).to_f64()
            } else if matches!(c.a, El::S8 | El::U8) {
                f64::from(g.down::<i32>(o, 128 * 8)[t * 8 + i])
            } else {
                f64::from(g.down::<f32>(o, 128 * 8)[t * 8 + i])
            };
            let want = if c.kernel == "wg_s8_sat" {
                want.min(f64::from(i32::MAX))
            } else if halves {
                f16::from_f64(want).to_f64()
            } else {
                want
            };
            assert_eq!(got, want, "{what}: row {row}, column {col}");
        }
    }
}

fn case(kernel: &'static str, a: El, b: El, k: usize, span: usize) -> Case {
    Case { kernel, a, b, k, span, major_a: false, major_b: false, scale: 1.0, keep: false }
}

/// No swizzle and every swizzle, K-major and MN-major A and B.
fn wgmma_layouts() {
    let mut g = Gpu::new(SOURCE, Arch::Sm90a, Schedule::Lazy);
    for span in [16, 32, 64, 128] {
        for (kernel, major_a, major_b) in
            [("wg_f16", false, false), ("wg_f16_ta", true, false), ("wg_f16_tb", false, true), ("wg_f16_tab", true, true)]
        {
            check(&mut g, &Case { major_a, major_b, ..case(kernel, El::F16, El::F16, 16, span) });
        }
        check(&mut g, &Case { major_a: true, major_b: true, ..case("wg_bf16_tab", El::Bf16, El::Bf16, 16, span) });
    }
}

fn wgmma_types() {
    for schedule in SCHEDULES {
        let mut g = Gpu::new(SOURCE, Arch::Sm90a, schedule);
        use El::*;
        for (kernel, a, b, k) in [
            ("wg_f16", F16, F16, 16),
            ("wg_bf16", Bf16, Bf16, 16),
            ("wg_tf32", Tf32, Tf32, 8),
            ("wg_e4m3", E4m3, E4m3, 32),
            ("wg_e4m3_e5m2", E4m3, E5m2, 32),
            ("wg_e5m2", E5m2, E5m2, 32),
            ("wg_s8", S8, S8, 32),
            ("wg_u8_s8", U8, S8, 32),
            ("wg_s8_sat", S8, U8, 32),
            ("wg_f16_acc", F16, F16, 16),
        ] {
            for (span, keep) in [(16, true), (128, true), (64, false)] {
                check(&mut g, &Case { keep, ..case(kernel, a, b, k, span) });
            }
        }
        for kernel in ["wg_f16_neg", "wg_f16_negb"] {
            check(&mut g, &Case { scale: -1.0, keep: true, ..case(kernel, F16, F16, 16, 128) });
        }
    }
}

/// Packs `per` elements a register for a fragment: register `r` of lane `l` holds elements that `at(r, l, j)` names.
fn fragment(el: El, registers: usize, at: &dyn Fn(usize, usize, usize) -> u32) -> Vec<u32> {
    let (bits, mut out) = (el.bits(), vec![]);
    for l in 0..32 {
        for r in 0..registers {
            out.push((0..32 / bits).fold(0, |w, j| w | at(r, l, j) << (j * bits)));
        }
    }
    out
}

/// Fragment of A (PTX ISA 9.7.14.5): two rows of 8 where there are 16, then pieces along k.
fn fragment_a(m: &Matrix, first: usize, rows: usize, registers: usize) -> Vec<u32> {
    let per = 32 / m.el.bits();
    fragment(m.el, registers, &|r, l, j| {
        let (half, piece) = if rows == 16 { (r % 2, r / 2) } else { (0, r) };
        m.at(first + l / 4 + 8 * half, l % 4 * per + j + 4 * per * piece)
    })
}

fn fragment_b(m: &Matrix, registers: usize) -> Vec<u32> {
    let per = 32 / m.el.bits();
    fragment(m.el, registers, &|r, l, j| m.at(l % 4 * per + j + 4 * per * r, l / 4))
}

fn wgmma_operand_in_registers() {
    for schedule in SCHEDULES {
        let mut g = Gpu::new(SOURCE, Arch::Sm90a, schedule);
        for (kernel, el, k) in [("wg_f16_regs", El::F16, 16), ("wg_tf32_regs", El::Tf32, 8), ("wg_s8_regs", El::S8, 32)] {
            let c = Case { keep: true, ..case(kernel, el, el, k, 64) };
            let (a, b) = (Matrix::new(el, 64, k, 3), Matrix::new(el, k, 16, 4));
            let words: Vec<u32> = (0..4).flat_map(|w| fragment_a(&a, 16 * w, 16, 4)).collect();
            let ta = Tile { bytes: words.iter().flat_map(|w| w.to_le_bytes()).collect(), descriptor: 0 };
            let tb = lay_out(el, 16, k, 64, false, &|i, kk| b.at(kk, i));
            run_wgmma(&mut g, &c, &ta, &tb, &|row, col| (0..k).map(|q| a.values[row * k + q] * b.values[q * 16 + col]).sum());
        }
    }
}

/// Runs one `mma.sync` with its operands in fragments; `(row, column)` of every result register with its bits and those of C.
fn mma(kernel: &str, a: &Matrix, b: &Matrix, rows: usize, c: &dyn Fn(usize, usize) -> u32) -> Vec<(usize, usize, u32)> {
    let mut g = Gpu::new(SOURCE, Arch::Sm90a, Schedule::Lazy);
    let k = a.columns;
    let (na, nb, nc) = (rows * k * a.el.bits() / 1024, k * 8 * b.el.bits() / 1024, rows * 8 / 32);
    let words: Vec<u32> = (0..32).flat_map(|l| (0..nc).map(move |i| place(l, i))).map(|(row, col)| c(row, col)).collect();
    let (pa, pb, pc) = (g.up(&fragment_a(a, 0, rows, na)), g.up(&fragment_b(b, nb)), g.up(&words));
    let o = g.machine.alloc(4 * words.len() as u64).expect("room");
    g.run(kernel, 1, 32, vec![Arg::Ptr(pa), Arg::Ptr(pb), Arg::Ptr(pc), Arg::Ptr(o)]);
    let got: Vec<u32> = g.down(o, words.len());
    (0..32 * nc)
        .map(|n| {
            let (row, col) = place(n / nc, n % nc);
            (row, col, got[n])
        })
        .collect()
}

fn mma_integers() {
    use El::*;
    for (kernel, a, b, rows, k) in [
        ("mma_s8_32", S8, S8, 16, 32),
        ("mma_u8_s8_sat", U8, S8, 16, 32),
        ("mma_s8_16", S8, U8, 16, 16),
        ("mma_s8_8", S8, S8, 8, 16),
        ("mma_s4_64", S4, S4, 16, 64),
        ("mma_u4_32", U4, S4, 16, 32),
        ("mma_s4_8", S4, U4, 8, 32),
        ("mma_b1_xor", B1, B1, 16, 256),
        ("mma_b1_and", B1, B1, 16, 256),
        ("mma_b1_128", B1, B1, 16, 128),
        ("mma_b1_8", B1, B1, 8, 128),
    ] {
        let (a, b) = (Matrix::new(a, rows, k, 5), Matrix::new(b, k, 8, 6));
        let saturates = kernel == "mma_u8_s8_sat";
        let c = |row: usize, col: usize| if saturates { i32::MAX - 7 } else { (row * 8 + col) as i32 };
        for (row, col, got) in mma(kernel, &a, &b, rows, &|row, col| c(row, col) as u32) {
            let sum: i64 = (0..k)
                .map(|q| {
                    let (x, y) = (a.values[row * k + q] as i64, b.values[q * 8 + col] as i64);
                    if matches!(kernel, "mma_b1_xor" | "mma_b1_128") { x ^ y } else { x * y }
                })
                .sum();
            let want = (i64::from(c(row, col)) + sum).clamp(i32::MIN.into(), i32::MAX.into());
            assert_eq!(i64::from(got as i32), want, "{kernel}: row {row}, column {col}");
        }
    }
}

fn mma_floats() {
    use El::*;
    for (kernel, a, b, k) in
        [("mma_e4m3", E4m3, E5m2, 32), ("mma_f16_8", F16, F16, 8), ("mma_bf16_8", Bf16, Bf16, 8), ("mma_tf32_4", Tf32, Tf32, 4)]
    {
        let (a, b) = (Matrix::new(a, 16, k, 7), Matrix::new(b, k, 8, 8));
        for (row, col, got) in mma(kernel, &a, &b, 16, &|row, col| (row as f32 - col as f32).to_bits()) {
            let want = row as f64 - col as f64 + (0..k).map(|q| a.values[row * k + q] * b.values[q * 8 + col]).sum::<f64>();
            assert_eq!(f64::from(f32::from_bits(got)), want, "{kernel}: row {row}, column {col}");
        }
    }
    // f16 accumulators: two a register.
    let (a, b) = (Matrix::new(F16, 16, 16, 9), Matrix::new(F16, 16, 8, 10));
    let mut g = Gpu::new(SOURCE, Arch::Sm90a, Schedule::Lazy);
    let (pa, pb, pc) = (g.up(&fragment_a(&a, 0, 16, 4)), g.up(&fragment_b(&b, 2)), g.up(&[0x3c00_3800u32; 64]));
    let o = g.machine.alloc(256).expect("room");
    g.run("mma_f16_f16", 1, 32, vec![Arg::Ptr(pa), Arg::Ptr(pb), Arg::Ptr(pc), Arg::Ptr(o)]);
    for (n, got) in g.down::<u16>(o, 128).into_iter().enumerate() {
        let (row, col) = place(n / 4, n % 4);
        let start = if n % 2 == 0 { 0.5 } else { 1.0 };
        let want = start + (0..16).map(|q| a.values[row * 16 + q] * b.values[q * 8 + col]).sum::<f64>();
        assert_eq!(f16::from_bits(got).to_f64(), f16::from_f64(want).to_f64(), "row {row}, column {col}");
    }
}

fn mma_doubles() {
    let mut g = Gpu::new(SOURCE, Arch::Sm90a, Schedule::Lazy);
    for k in [4usize, 8, 16] {
        let values = |seed, n| noise(seed, n).iter().map(|x| ((x >> 40) as i32 % 1000) as f64 / 16.0).collect::<Vec<f64>>();
        let (a, b) = (values(11, 16 * k), values(12, k * 8));
        let (na, nb) = (k / 2, k / 4);
        let fa: Vec<f64> = (0..32 * na)
            .map(|n| {
                let (l, r) = (n / na, n % na);
                a[(l / 4 + 8 * (r % 2)) * k + l % 4 + 4 * (r / 2)]
            })
            .collect();
        let fb: Vec<f64> = (0..32 * nb)
            .map(|n| {
                let (l, r) = (n / nb, n % nb);
                b[(l % 4 + 4 * r) * 8 + l / 4]
            })
            .collect();
        let (pa, pb, pc) = (g.up(&fa), g.up(&fb), g.up(&[0.25f64; 128]));
        let o = g.machine.alloc(1024).expect("room");
        g.run("mma_f64", 1, 32, vec![Arg::Ptr(pa), Arg::Ptr(pb), Arg::Ptr(pc), Arg::Ptr(o), Arg::U32(k as u32)]);
        for (n, got) in g.down::<f64>(o, 128).into_iter().enumerate() {
            let (row, col) = place(n / 4, n % 4);
            let want = 0.25 + (0..k).map(|q| a[row * k + q] * b[q * 8 + col]).sum::<f64>();
            assert_eq!(got, want, "k {k}: row {row}, column {col}");
        }
    }
}

fn matrices_stored_and_moved() {
    for schedule in SCHEDULES {
        let mut g = Gpu::new(SOURCE, Arch::Sm90a, schedule);
        let o = g.machine.alloc(512).expect("room");
        for (trans, many) in [(0, 4usize), (1, 4), (0, 2), (1, 2)] {
            g.run("stmat4", 1, 32, vec![Arg::Ptr(o), Arg::U32(trans), Arg::U32(many as u32)]);
            for (n, got) in g.down::<u16>(o, 256).into_iter().enumerate() {
                let (m, row, col) = (n / 64, n / 8 % 8, n % 8);
                let want = if m >= many {
                    0
                } else if trans == 1 {
                    m * 64 + col * 8 + row
                } else {
                    n
                };
                assert_eq!(usize::from(got), want, "trans {trans}, x{many}, element {n}");
            }
        }
        g.run("movmat", 1, 32, vec![Arg::Ptr(o)]);
        for (n, got) in g.down::<u16>(o, 64).into_iter().enumerate() {
            assert_eq!(usize::from(got), n % 8 * 8 + n / 8);
        }
    }
}
