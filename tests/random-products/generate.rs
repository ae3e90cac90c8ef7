//! Kernels around matrix products, made of a number: types, layouts in memory, tiles, loops, what is done to operands and sums, sizes and schedules.
//!
//! All values are small integers, or what tf32 rounds to those, so that every sum is exact in every order: whatever a schedule does to a kernel, its result may not change
//! by a bit.

use std::fmt::Write;

use kiln::{AnyTensor, F8E4M3, F8E5M2, OwnedArg, ScalarType, bf16, f16};

/// Pseudo-random numbers (splitmix64).
pub struct Random(u64);

impl Random {
    /// The numbers that case `number` is made of.
    pub fn of(number: u64) -> Random {
        Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x7072_6f64)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Less than `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `times`.
    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }
}

/// A kernel with all that a launch of it needs.
pub struct Case {
    /// The source; the kernel's name is `k`.
    pub text: String,
    /// In the order of the parameters. Tensors that are written hold values before.
    pub args: Vec<OwnedArg>,
    /// Numbers of the parameters that are written.
    pub written: Vec<usize>,
    /// Fields of the schedule.
    pub schedule: Vec<(&'static str, Vec<i64>)>,
    /// An emulated GPU and an order of completion.
    pub device: String,
}

/// What a kernel computes.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// One loop, one sum.
    Plain,
    /// Two sums in one loop, which share an operand or do not.
    Two,
    /// A second product takes what the first one gives, as in attention.
    Chain,
    /// A loop behind another one, with the same sum.
    Row,
    /// A loop in a loop over matrices.
    Nested,
    /// Blocks of rows with matrices of their own, or none.
    Grouped,
    /// The grid's third axis shares out k: sums meet in memory.
    Shared,
}

/// What becomes of a sum.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Store,
    Bias,
    Residual,
    RowSums,
    Transposed,
    AtomicAdd,
    AtomicMax,
}

struct Maker {
    random: Random,
    /// Operands' type, as the language writes it, sums' and results'.
    elem: (ScalarType, &'static str),
    sum: &'static str,
    out: (ScalarType, &'static str),
    /// What operands are multiples of: in tf32 a little less than 1, which is 1 when it is rounded and less when it is cut off.
    unit: f64,
    params: Vec<String>,
    args: Vec<OwnedArg>,
    written: Vec<usize>,
    lines: String,
}

const TYPES: [(ScalarType, &str, u64); 7] = [
    (ScalarType::F16, "f16", 6),
    (ScalarType::BF16, "bf16", 6),
    (ScalarType::F32, "f32", 1),
    (ScalarType::F32, "tf32", 3),
    (ScalarType::F8E4M3, "f8e4m3", 2),
    (ScalarType::F8E5M2, "f8e5m2", 1),
    (ScalarType::I8, "i8", 2),
];

/// Case `number`.
pub fn case(number: u64) -> Case {
    let mut random = Random::of(number);
    let mut weights: Vec<(ScalarType, &str)> = vec![];
    for (ty, name, weight) in TYPES {
        weights.extend(std::iter::repeat_n((ty, name), weight as usize));
    }
    let (ty, precision) = random.pick(&weights);
    let elem = (ty, if precision == "tf32" { "f32" } else { precision });
    let out = match ty {
        ScalarType::I8 => (ScalarType::I32, "i32"),
        _ => random.pick(&[(ScalarType::F32, "f32"), (ScalarType::F16, "f16"), (ScalarType::BF16, "bf16")]),
    };
    let sum = if ty == ScalarType::I8 { "i32" } else { "f32" };
    let unit = if precision == "tf32" { 1.0 - 2f64.powi(-13) } else { 1.0 };
    let maker = Maker { random, elem, sum, out, unit, params: vec![], args: vec![], written: vec![], lines: String::new() };
    maker.make(if precision == "tf32" { ", precision = tf32" } else { "" }, precision == "f32")
}

/// Sizes of a case: a tile's, and the whole's.
struct Sizes {
    tile: [i64; 3],
    whole: [i64; 3],
}

impl Maker {
    fn make(mut self, precision: &str, without_tensor_cores: bool) -> Case {
        let shape = self.random.pick(&[
            Shape::Plain,
            Shape::Plain,
            Shape::Plain,
            Shape::Two,
            Shape::Two,
            Shape::Chain,
            Shape::Chain,
            Shape::Row,
            Shape::Nested,
            Shape::Grouped,
            Shape::Shared,
        ]);
        let end = self.end(shape);
        let sizes = self.sizes(shape, without_tensor_cores);
        let [bm, bn, _] = sizes.tile;
        let grid = if shape == Shape::Shared { ", 3" } else { "" };
        let _ = writeln!(self.lines, "    let (m, n) = (program_id(0) * {bm}, program_id(1) * {bn});");
        let body = self.body(shape, &sizes, precision);
        let guarded = shape == Shape::Grouped;
        if guarded {
            self.argument(
                "expert",
                ScalarType::I32,
                "i32",
                &["cdiv(M, BM)".replace("BM", &bm.to_string())],
                |random, _| random.below(4) as f64 - 1.0,
                &[(sizes.whole[0] + bm - 1) / bm],
            );
            self.lines.push_str("    let e = expert[program_id(0)];\n    if e >= 0 {\n");
        }
        self.lines.push_str(&body);
        self.finish(end, &sizes);
        if guarded {
            self.lines.push_str("    }\n");
        }
        let (device, arch) = self.device();
        let schedule = self.schedule(shape, &sizes, arch);
        let text =
            format!("kernel k({}) grid [cdiv(M, {bm}), cdiv(N, {bn}){grid}] {{\n{}}}\n", self.params.join(", "), self.lines);
        Case { text, args: self.args, written: self.written, schedule, device }
    }

    fn end(&mut self, shape: Shape) -> End {
        if shape == Shape::Shared {
            return if self.random.once_in(3) { End::AtomicMax } else { End::AtomicAdd };
        }
        self.random.pick(&[
            End::Store,
            End::Store,
            End::Store,
            End::Bias,
            End::Residual,
            End::RowSums,
            End::Transposed,
            End::AtomicAdd,
        ])
    }

    fn sizes(&mut self, shape: Shape, without_tensor_cores: bool) -> Sizes {
        let random = &mut self.random;
        let most = if without_tensor_cores { 4096 } else { 16384 };
        let (mut bm, mut bn);
        loop {
            bm = random.pick(&[16, 32, 48, 64, 64, 64, 96, 128, 128, 128, 192, 256]);
            bn = random.pick(&[8, 16, 24, 32, 48, 64, 64, 64, 80, 96, 128, 128, 256]);
            if bm * bn <= most && (shape != Shape::Two || bm * bn <= 8192) {
                break;
            }
        }
        let bk = random.pick(&[16, 32, 32, 64, 64, 64, 128]);
        // Whole tiles, tails that engines can copy, and tails that they cannot.
        let mut extent = |tile: i64, tiles: u64| {
            let whole = tile * (1 + random.below(tiles) as i64);
            match random.below(4) {
                0 => whole,
                1 => (whole - 16).max(16),
                2 => whole + 8,
                _ => whole + random.below(15) as i64 + 1,
            }
        };
        let (m, n) = (extent(bm, 3), extent(bn, 3));
        let mut k = extent(bk, 5);
        if random.once_in(25) {
            k = random.pick(&[1, 0, 5]);
        }
        Sizes { tile: [bm, bn, bk], whole: [m, n, k] }
    }

    /// Adds a tensor parameter with values of its own, sometimes with rows that lie farther apart.
    fn argument(
        &mut self,
        name: &str,
        ty: ScalarType,
        written_type: &str,
        dims: &[String],
        mut value: impl FnMut(&mut Random, usize) -> f64,
        extents: &[i64],
    ) {
        let pad = if extents.len() > 1 { self.random.pick(&[0, 0, 0, 0, 8, 16, 1]) } else { 0 };
        let tensor = tensor(ty, extents, pad, |i| value(&mut self.random, i));
        self.params.push(format!("{name}: tensor<{written_type}, [{}]>", dims.join(", ")));
        self.args.push(OwnedArg::Tensor(tensor));
    }

    fn output(&mut self, name: &str, ty: ScalarType, written_type: &str, dims: &[String], extents: &[i64]) {
        self.argument(name, ty, written_type, dims, |_, i| (i % 7) as f64, extents);
        let number = self.params.len() - 1;
        self.params[number] = self.params[number].replacen(": ", ": mut ", 1);
        self.written.push(number);
    }

    /// An operand `[rows, columns]` that begins at two places, stored as it is or transposed, and what is done to it. `leading` is an index in front of those.
    fn operand(&mut self, name: &str, of: [(&str, i64, i64, &str); 2], leading: Option<(&str, i64)>) -> String {
        let elem = self.elem;
        // Warpgroups read operands of one byte, and tf32, along k only: mostly as they can.
        let right = name.starts_with('b') || name.starts_with('v');
        let narrow = !matches!(elem.0, ScalarType::F16 | ScalarType::BF16);
        let transposed = if narrow { right != self.random.once_in(4) } else { self.random.once_in(3) };
        let mut dims: Vec<(&str, i64, i64, &str)> = of.to_vec();
        if transposed {
            dims.reverse();
        }
        let mut names: Vec<String> = dims.iter().map(|d| d.3.to_owned()).collect();
        let mut extents: Vec<i64> = dims.iter().map(|d| d.2).collect();
        let mut index: Vec<String> = dims.iter().map(|d| format!("{}..+{}", d.0, d.1)).collect();
        if let Some((at, extent)) = leading {
            names.insert(0, "E".to_owned());
            extents.insert(0, extent);
            index.insert(0, at.to_owned());
        }
        let unit = self.unit;
        self.argument(name, elem.0, elem.1, &names, |random, _| (random.below(3) as f64 - 1.0) * unit, &extents);
        let mut text = format!("{name}[{}]", index.join(", "));
        if self.random.once_in(12) {
            text = format!("{text}.or({})", if elem.0 == ScalarType::I8 { "1" } else { "1.0" });
        }
        if transposed {
            text = format!("trans({text})");
        }
        if matches!(elem.0, ScalarType::F16 | ScalarType::BF16 | ScalarType::F32) && self.random.once_in(6) {
            text = self.random.pick(&["max(X, 0.0)", "X * 2.0", "(X as f32 * 2.0 + 1.0) as T", "-X"]).replace('X', &text);
            text = text.replace(" as T", &format!(" as {}", elem.1));
        }
        text
    }

    fn zero(&self) -> &'static str {
        if self.sum == "i32" { "0" } else { "0.0" }
    }

    /// The loops, which leave the sum in `acc`.
    fn body(&mut self, shape: Shape, sizes: &Sizes, precision: &str) -> String {
        let ([bm, bn, bk], [whole_m, whole_n, whole_k]) = (sizes.tile, sizes.whole);
        let (sum, zero) = (self.sum, self.zero());
        let (row, column, depth) = (("m", bm, whole_m, "M"), ("n", bn, whole_n, "N"), ("k", bk, whole_k, "K"));
        let mut text = format!("    let mut acc = zeros::<{sum}>([{bm}, {bn}]);\n");
        let range = match self.random.below(8) {
            0 if shape != Shape::Shared => format!("0..min(K, m + {bm})"),
            1 if shape != Shape::Shared => format!("min({bk}, K)..K"),
            _ if shape == Shape::Shared => {
                let share = (whole_k + 3 * bk - 1) / (3 * bk) * bk;
                format!("program_id(2) * {share}..min(K, program_id(2) * {share} + {share})")
            }
            _ => "0..K".to_owned(),
        };
        let head = format!("    for k in ({range}).step_by({bk}) {{\n");
        match shape {
            Shape::Plain | Shape::Shared => {
                let (a, b) = (self.operand("a", [row, depth], None), self.operand("b", [depth, column], None));
                let _ = write!(text, "{head}        acc = dot({a}, {b}, acc{precision});\n    }}\n");
            }
            Shape::Two => {
                let (a, b) = (self.operand("a", [row, depth], None), self.operand("b", [depth, column], None));
                let share = self.random.once_in(2);
                let second = if share { a.clone() } else { self.operand("a2", [row, depth], None) };
                let other = self.operand("b2", [depth, column], None);
                let _ = write!(
                    text,
                    "    let mut gate = zeros::<{sum}>([{bm}, {bn}]);\n{head}        acc = dot({a}, {b}, acc{precision});\n        \
                     gate = dot({second}, {other}, gate{precision});\n    }}\n    let acc = acc + max(gate, {zero});\n"
                );
            }
            Shape::Chain => {
                // Scores of bm x bk, whose depth is one tile.
                let inner = self.random.pick(&[16, 32, 64, 64, 128]);
                let whole = if self.random.once_in(2) { inner } else { inner - 3 };
                let q = self.operand("a", [row, ("0", inner, whole, "D")], None);
                let keys = self.operand("b", [("0", inner, whole, "D"), depth], None);
                let values = self.operand("v", [depth, column], None);
                let cast = if self.sum == "i32" {
                    format!("(min(max(s, {zero}), 127) as i8)")
                } else {
                    format!("(max(s, {zero}) as {})", self.elem.1)
                };
                let outside = self.random.once_in(2);
                let (before, q) = if outside { (format!("    let q = {q};\n"), "q".to_owned()) } else { (String::new(), q) };
                let _ = write!(
                    text,
                    "{before}{head}        let s = dot({q}, {keys}, zeros::<{sum}>([{bm}, {bk}]){precision});\n        \
                     acc = dot({cast}, {values}, acc{precision});\n    }}\n"
                );
            }
            Shape::Row => {
                let (a, b) = (self.operand("a", [row, depth], None), self.operand("b", [depth, column], None));
                let whole = self.random.pick(&[bk, bk + 8, 2 * bk - 5]);
                let second = ("j", bk, whole, "J");
                let (c, d) = (self.operand("a2", [row, second], None), self.operand("b2", [second, column], None));
                let _ = write!(
                    text,
                    "{head}        acc = dot({a}, {b}, acc{precision});\n    }}\n    for j in (0..J).step_by({bk}) {{\n        \
                     acc = dot({c}, {d}, acc{precision});\n    }}\n"
                );
            }
            Shape::Nested => {
                let count = self.random.pick(&[1, 2, 3]);
                let b = self.operand("b", [depth, column], Some(("e", count)));
                let a = self.operand("a", [row, depth], Some(("e", count)));
                let _ = write!(
                    text,
                    "    for e in 0..E {{\n    {head}            acc = dot({a}, {b}, acc{precision});\n        }}\n    }}\n"
                );
            }
            Shape::Grouped => {
                let (a, b) = (self.operand("a", [row, depth], None), self.operand("b", [depth, column], Some(("e", 3))));
                let _ = write!(text, "{head}        acc = dot({a}, {b}, acc{precision});\n    }}\n");
            }
        }
        text
    }

    /// What comes behind the loops.
    fn finish(&mut self, end: End, sizes: &Sizes) {
        let ([bm, bn, _], [whole_m, whole_n, _]) = (sizes.tile, sizes.whole);
        let (sum, zero, out) = (self.sum, self.zero(), self.out);
        let of_sum = if sum == "i32" { ScalarType::I32 } else { ScalarType::F32 };
        let small = |random: &mut Random, _| random.below(9) as f64 - 4.0;
        let (both, place) = (["M".to_owned(), "N".to_owned()], format!("m..+{bm}, n..+{bn}"));
        let mut value = "acc".to_owned();
        match end {
            End::Store | End::RowSums | End::Transposed | End::AtomicAdd | End::AtomicMax => {}
            End::Bias => {
                self.argument("bias", of_sum, sum, &["N".to_owned()], small, &[whole_n]);
                value = format!("max(acc + bias[n..+{bn}], {zero})");
            }
            End::Residual => {
                self.argument("r", out.0, out.1, &both, small, &[whole_m, whole_n]);
                value = format!("acc * {} + r[{place}] as {sum}", if sum == "i32" { "2" } else { "0.5" });
            }
        }
        match end {
            End::Transposed => {
                self.output("c", out.0, out.1, &["N".to_owned(), "M".to_owned()], &[whole_n, whole_m]);
                let _ = writeln!(self.lines, "    c[n..+{bn}, m..+{bm}] = trans(acc) as {};", out.1);
            }
            End::AtomicAdd | End::AtomicMax => {
                // In f32, where all of these sums are exact.
                self.output("c", of_sum, sum, &both, &[whole_m, whole_n]);
                let name = if end == End::AtomicAdd { "atomic_add" } else { "atomic_max" };
                let _ = writeln!(self.lines, "    {name}(c[{place}], acc);");
            }
            _ => {
                self.output("c", out.0, out.1, &both, &[whole_m, whole_n]);
                let _ = writeln!(self.lines, "    c[{place}] = ({value}) as {};", out.1);
            }
        }
        if end == End::RowSums {
            let tiles = (whole_n + bn - 1) / bn;
            self.output("sums", of_sum, sum, &["M".to_owned(), format!("cdiv(N, {bn})")], &[whole_m, tiles]);
            let _ = writeln!(self.lines, "    sums[m..+{bm}, program_id(1)] = sum(acc, axis = 1);");
        }
    }

    /// Mostly what the kernel and the GPU can follow.
    fn schedule(&mut self, shape: Shape, sizes: &Sizes, arch: &str) -> Vec<(&'static str, Vec<i64>)> {
        let random = &mut self.random;
        let [bm, bn, bk] = sizes.tile;
        let warps = if bm * bn > 8192 { random.pick(&[4, 8, 8]) } else { random.pick(&[4, 4, 4, 8, 8, 1, 2]) };
        let stages = random.pick(if bk >= 128 { &[1, 2, 3][..] } else { &[1, 2, 3, 4, 5][..] });
        let mut fields = vec![("warps", vec![warps]), ("stages", vec![stages])];
        let programs = |axis: usize| (sizes.whole[axis] + sizes.tile[axis] - 1) / sizes.tile[axis];
        let pairs: Vec<Vec<i64>> =
            [vec![2, 1], vec![1, 2]].into_iter().filter(|pair| programs(usize::from(pair[1] == 2)) % 2 == 0).collect();
        match (random.below(10), arch) {
            (0 | 1, _) | (_, "sm_80" | "sm_89") => fields.push(("persistent", vec![random.below(2) as i64])),
            (2, _) if !pairs.is_empty() => fields.push(("cluster", pairs[0].clone())),
            (3 | 4, _) if !pairs.is_empty() => {
                let pair = pairs[pairs.len() - 1].clone();
                fields.extend([("persistent", vec![1]), ("cluster", pair)]);
            }
            (5, _) if shape != Shape::Grouped => fields.push(("split_k", vec![random.pick(&[2, 3, 4])])),
            (6 | 7, "sm_90a") if !matches!(shape, Shape::Grouped | Shape::Nested) => {
                fields[0].1 = vec![4];
                fields.extend([("persistent", vec![1]), ("ping_pong", vec![1])]);
            }
            (8, "sm_90a") if shape == Shape::Chain => {
                fields[0].1 = vec![8];
                fields.push(("ping_pong", vec![1]));
            }
            _ => {}
        }
        if random.once_in(4) {
            fields.push(("group", vec![random.pick(&[2, 3, 8])]));
        }
        if random.once_in(6) && arch.starts_with("sm_90") {
            fields.push(("pdl", vec![1]));
        }
        if random.once_in(8) {
            fields.push(("specialize", vec![0]));
        }
        fields
    }

    /// A GPU with an order of completion, and its architecture.
    fn device(&mut self) -> (String, &'static str) {
        let random = &mut self.random;
        let arch = random.pick(&["sm_90a", "sm_90a", "sm_90a", "sm_90a", "sm_90", "sm_89", "sm_80"]);
        let order = match random.below(5) {
            0 => "eager".to_owned(),
            1 => "lazy".to_owned(),
            2 | 3 => format!("random={}", random.below(1000)),
            _ => format!("lazy-random={}", random.below(1000)),
        };
        (format!("emulator:{arch},sms=3,{order}"), arch)
    }
}

/// Small integers in rows of which each has `pad` more elements in memory than it shows.
pub fn tensor(ty: ScalarType, extents: &[i64], pad: i64, mut value: impl FnMut(usize) -> f64) -> AnyTensor {
    let mut stored = extents.to_vec();
    let last = stored.len() - 1;
    stored[last] += pad;
    let count = stored.iter().product::<i64>() as usize;
    let bytes: Vec<u8> = (0..count).flat_map(|i| encoded(ty, value(i))).collect();
    let tensor = AnyTensor::from_bytes(ty, &stored, &bytes).expect("a tensor");
    if pad == 0 { tensor } else { tensor.slice(last, 0..extents[last]).expect("a part of it") }
}

/// The bytes of a small integer.
fn encoded(ty: ScalarType, value: f64) -> Vec<u8> {
    match ty {
        ScalarType::F32 => (value as f32).to_le_bytes().to_vec(),
        ScalarType::F16 => f16::from_f64(value).to_le_bytes().to_vec(),
        ScalarType::BF16 => bf16::from_f64(value).to_le_bytes().to_vec(),
        ScalarType::F8E4M3 => vec![F8E4M3::from_f32(value as f32).0],
        ScalarType::F8E5M2 => vec![F8E5M2::from_f32(value as f32).0],
        ScalarType::I8 => vec![value as i8 as u8],
        ScalarType::I32 => (value as i32).to_le_bytes().to_vec(),
        other => panic!("no tensors of {other} here"),
    }
}
