//! `dot` on tensor cores: one piece of inline PTX that reads fragments and multiplies, step by step along k.
//!
//! Splitting of f32 operands and conversion of 8-bit floats happen on fragments. Where an instruction takes elements of k in another
//! order than a fragment of a wider or narrower type holds them, both operands are permuted the same way, which moves nothing.

use kiln_ir::{Inst, ScalarType, Value};
use kiln_passes::gpu::{MmaDot, MmaKind};

use super::emit::Emitter;
use super::error::{Result, internal};
use super::fragments::{Operand, Ptx};
use super::text::{Asm, Ty, Val};

/// Accumulator registers of one piece of inline PTX.
const MOST_ACCUMULATORS: usize = 128;

/// The first architecture with products of 8-bit floats, and the PTX version (times 10) that knows them.
const F8_PRODUCTS: (u32, u32) = (89, 84);

/// The first architecture that rounds to tf32 with ties to even, as the CPU and the TMA engine do; older ones round ties away from zero.
const TIES_TO_EVEN: u32 = 90;

/// Registers of both operands of one instruction.
type Pair = (Vec<String>, Vec<String>);

impl Emitter<'_> {
    pub(super) fn mma(&mut self, inst: Inst, dot: &MmaDot, a: Value, b: Value, acc: Option<Value>) -> Result<()> {
        let (kind, width) = (dot.kind, dot.kind.width());
        let elem = self.func.ty(a).elem().scalar().ok_or_else(|| internal("a product of pointers"))?;
        let result = self.func.ty(self.func.result(inst));
        let spread = self.spread_of(result).ok_or_else(|| internal("a product is a tile"))?;
        self.pointers.clear();
        let left = self.operand_of(a, &dot.a, 0, width)?;
        let right = self.operand_of(b, &dot.b, 1, width)?;
        let ty = self.value_type(result.elem());
        let start = match acc {
            Some(acc) => self.regs(acc).to_vec(),
            None => vec![Val::zero(ty); spread.registers.len()],
        };
        let native_f8 = kind == MmaKind::F8 && self.target.sm >= F8_PRODUCTS.0;
        if native_f8 {
            self.ptx = self.ptx.max(F8_PRODUCTS.1);
        }
        let to_even = self.target.sm >= TIES_TO_EVEN;
        let instruction = Instruction { kind, elem, native_f8, to_even };
        let physical = dot.acc.physical();
        let pitch = [kind.rows() * dot.warps[0], 8 * dot.warps[1]];
        let (rows, columns, depth) = (physical[0] / pitch[0], physical[1] / pitch[1], dot.a.physical()[1]);
        let per_row = columns as usize * kind.rows() as usize / 4;
        let rows_at_once = (MOST_ACCUMULATORS / per_row).clamp(1, rows as usize);
        let mut regs = vec![Val::zero(ty); spread.registers.len()];
        let blocks: Vec<u32> = (0..rows).collect();
        for some in blocks.chunks(rows_at_once) {
            // The accumulator registers of each instruction, in its order.
            let mut own: Vec<u32> = Vec::new();
            for &i in some {
                for j in 0..columns {
                    for (down, across) in accumulator_parts(kind) {
                        let at = [i * pitch[0] + down, j * pitch[1] + across];
                        own.push(spread.register(&at).ok_or_else(|| internal("an accumulator has all its registers"))?);
                    }
                }
            }
            let mut ptx = Ptx::new(2 * own.len());
            let mut k = 0;
            while k < depth {
                self.step(&mut ptx, &instruction, [&left, &right], some, columns, pitch, k)?;
                k += instruction.depth();
            }
            let constraint = match ty {
                Ty::F32 => 'f',
                Ty::F64 => 'd',
                _ => 'r',
            };
            let mut constraints: Vec<String> = own.iter().map(|_| format!("={constraint}")).collect();
            constraints.extend((0..own.len()).map(|i| i.to_string()));
            constraints.extend(ptx.inputs.iter().map(|(_, c)| c.to_string()));
            let args: Vec<Val> =
                own.iter().map(|&r| start[r as usize]).chain(ptx.inputs.iter().map(|(value, _)| *value)).collect();
            let results = vec![ty; own.len()];
            let sums = self.w.asm(&results, Asm::Warp, &ptx.block(), &constraints.join(","), &args);
            for (&r, sum) in own.iter().zip(sums) {
                regs[r as usize] = sum;
            }
        }
        self.define(inst, regs);
        Ok(())
    }

    /// All products of one step along k.
    #[allow(clippy::too_many_arguments)]
    fn step(
        &mut self,
        ptx: &mut Ptx,
        instruction: &Instruction,
        [left, right]: [&Operand<'_>; 2],
        rows: &[u32],
        columns: u32,
        pitch: [u32; 2],
        k: u32,
    ) -> Result<()> {
        let (a_parts, b_parts) = instruction.parts();
        let mut of_rows = Vec::new();
        for &i in rows {
            let mut words = Vec::new();
            for half in instruction.halves() {
                words.extend(self.fragment(ptx, left, [i * pitch[0], k + half], &a_parts)?);
            }
            of_rows.push(instruction.operands(ptx, &words, true));
        }
        let mut of_columns = Vec::new();
        let mut j = 0;
        while j < columns {
            // Two instructions side by side share one `ldmatrix`, where the second one's part is within reach.
            let pair = b_parts.len() == 2 && j + 1 < columns && j.is_multiple_of(2) && right.pairs(pitch[1]);
            let mut parts = b_parts.clone();
            if pair {
                parts.extend(b_parts.iter().map(|p| [p[0], p[1] + pitch[1]]));
            }
            let mut words: [Vec<String>; 2] = Default::default();
            for half in instruction.halves() {
                let all = self.fragment(ptx, right, [k + half, j * pitch[1]], &parts)?;
                let (first, second) = all.split_at(b_parts.len());
                words[0].extend_from_slice(first);
                words[1].extend_from_slice(second);
            }
            for words in words.iter().take(if pair { 2 } else { 1 }) {
                of_columns.push(instruction.operands(ptx, words, false));
            }
            j += if pair { 2 } else { 1 };
        }
        let count = accumulator_parts(instruction.kind).len();
        for (i, a) in of_rows.iter().enumerate() {
            for (j, b) in of_columns.iter().enumerate() {
                let first = (i * columns as usize + j) * count;
                let sums: Vec<String> = (first..first + count).map(|r| format!("${r}")).collect();
                for (a, b) in instruction.products(a, b) {
                    let (d, a, b) = (sums.join(", "), a.join(", "), b.join(", "));
                    ptx.line(&format!("{} {{{d}}}, {{{a}}}, {{{b}}}, {{{d}}};", instruction.name()));
                }
            }
        }
        Ok(())
    }
}

/// Distances of an instruction's accumulator registers.
fn accumulator_parts(kind: MmaKind) -> Vec<(u32, u32)> {
    if kind == MmaKind::F64 { vec![(0, 0), (0, 1)] } else { vec![(0, 0), (0, 1), (8, 0), (8, 1)] }
}

/// How the products of one kind are written.
struct Instruction {
    kind: MmaKind,
    elem: ScalarType,
    native_f8: bool,
    /// Ties go to even tf32.
    to_even: bool,
}

impl Instruction {
    /// The opcode.
    fn name(&self) -> String {
        let (shape, types) = match self.kind {
            MmaKind::F16 => ("m16n8k16", "f32.f16.f16.f32".to_owned()),
            MmaKind::Bf16 | MmaKind::Bf16x3 => ("m16n8k16", "f32.bf16.bf16.f32".to_owned()),
            MmaKind::Tf32 | MmaKind::Tf32x3 => ("m16n8k8", "f32.tf32.tf32.f32".to_owned()),
            MmaKind::F8 if self.native_f8 => {
                let ty = if self.elem == ScalarType::F8E4M3 { "e4m3" } else { "e5m2" };
                ("m16n8k32", format!("f32.{ty}.{ty}.f32"))
            }
            MmaKind::F8 => ("m16n8k16", "f32.f16.f16.f32".to_owned()),
            MmaKind::Int8 => {
                let ty = if self.elem == ScalarType::I8 { "s8" } else { "u8" };
                ("m16n8k32", format!("s32.{ty}.{ty}.s32"))
            }
            MmaKind::F64 => ("m8n8k4", "f64.f64.f64.f64".to_owned()),
        };
        format!("mma.sync.aligned.{shape}.row.col.{types}")
    }

    /// Elements of k of one step.
    fn depth(&self) -> u32 {
        self.kind.step()
    }

    /// Where the fragments of one step start along k: a step of bf16 takes two fragments of f32.
    fn halves(&self) -> Vec<u32> {
        if self.kind == MmaKind::Bf16x3 { vec![0, 8] } else { vec![0] }
    }

    /// Distances of the registers of one fragment of A and of B.
    fn parts(&self) -> (Vec<[u32; 2]>, Vec<[u32; 2]>) {
        if self.kind == MmaKind::F64 {
            return (vec![[0, 0]], vec![[0, 0]]);
        }
        let half = 4 * self.kind.width();
        (vec![[0, 0], [8, 0], [0, half], [8, half]], vec![[0, 0], [half, 0]])
    }

    /// What the instructions take, made of the registers of one operand's fragments of a step: one list, or for split operands
    /// the greater part and the rest, or for 8-bit floats as f16 the two steps of k.
    fn operands(&self, ptx: &mut Ptx, words: &[String], left: bool) -> Vec<Vec<String>> {
        match self.kind {
            MmaKind::F16 | MmaKind::Bf16 | MmaKind::Int8 | MmaKind::F64 => vec![words.to_vec()],
            MmaKind::F8 if self.native_f8 => vec![words.to_vec()],
            MmaKind::Tf32 => vec![words.iter().map(|w| self.round_tf32(ptx, w)).collect()],
            MmaKind::Tf32x3 => {
                let (mut great, mut small) = (Vec::new(), Vec::new());
                for word in words {
                    let rounded = self.round_tf32(ptx, word);
                    let rest = ptx.word();
                    ptx.line(&format!("sub.f32 {rest}, {word}, {rounded};"));
                    small.push(self.round_tf32(ptx, &rest));
                    great.push(rounded);
                }
                vec![great, small]
            }
            MmaKind::Bf16x3 => {
                // Registers k and k + 4 of an f32 fragment become one register of bf16; the two fragments, the halves of k.
                let of_fragment = words.len() / 2;
                let (mut great, mut small) = (Vec::new(), Vec::new());
                for fragment in words.chunks(of_fragment) {
                    for i in 0..of_fragment / 2 {
                        let (g, s) = split_bf16(ptx, &fragment[i], &fragment[i + of_fragment / 2]);
                        great.push(g);
                        small.push(s);
                    }
                }
                vec![great, small]
            }
            MmaKind::F8 => {
                // Four neighbours along k become two registers of the same step: the low and the high half of its k.
                let halves: Vec<(String, String)> = words.iter().map(|w| f8_to_f16(ptx, w, self.elem)).collect();
                let per_step = if left { 2 } else { 1 };
                halves
                    .chunks(per_step)
                    .map(|step| {
                        step.iter().map(|(low, _)| low.clone()).chain(step.iter().map(|(_, high)| high.clone())).collect()
                    })
                    .collect()
            }
        }
    }

    /// The instructions of one step for a block, smallest products first.
    fn products(&self, a: &[Vec<String>], b: &[Vec<String>]) -> Vec<Pair> {
        let pair = |i: usize, j: usize| (a[i].clone(), b[j].clone());
        match self.kind {
            MmaKind::Tf32x3 | MmaKind::Bf16x3 => vec![pair(1, 0), pair(0, 1), pair(0, 0)],
            _ => (0..a.len()).map(|i| pair(i, i)).collect(),
        }
    }

    fn round_tf32(&self, ptx: &mut Ptx, word: &str) -> String {
        let (rounded, mode) = (ptx.word(), if self.to_even { "rn" } else { "rna" });
        ptx.line(&format!("cvt.{mode}.tf32.f32 {rounded}, {word};"));
        rounded
    }
}

/// Two f32 as two bf16 in a register, and what is left of them as two more.
fn split_bf16(ptx: &mut Ptx, first: &str, second: &str) -> (String, String) {
    let great = ptx.word();
    ptx.line(&format!("cvt.rn.bf16x2.f32 {great}, {second}, {first};"));
    let (low, high) = (ptx.word(), ptx.word());
    ptx.line(&format!("shl.b32 {low}, {great}, 16;"));
    ptx.line(&format!("and.b32 {high}, {great}, 0xffff0000;"));
    let (rest_low, rest_high, small) = (ptx.word(), ptx.word(), ptx.word());
    ptx.line(&format!("sub.f32 {rest_low}, {first}, {low};"));
    ptx.line(&format!("sub.f32 {rest_high}, {second}, {high};"));
    ptx.line(&format!("cvt.rn.bf16x2.f32 {small}, {rest_high}, {rest_low};"));
    (great, small)
}

/// Four 8-bit floats as two registers of f16, exactly. e5m2 is the upper byte of an f16; e4m3 has another exponent bias, which a
/// product with 256 sets right, and a NaN that is no exponent.
fn f8_to_f16(ptx: &mut Ptx, word: &str, elem: ScalarType) -> (String, String) {
    let (low, high) = (ptx.word(), ptx.word());
    // Bytes 0, 1 and 2, 3 as the upper bytes of halves.
    ptx.line(&format!("prmt.b32 {low}, {word}, 0, 0x1404;"));
    ptx.line(&format!("prmt.b32 {high}, {word}, 0, 0x3424;"));
    if elem == ScalarType::F8E5M2 {
        return (low, high);
    }
    let mut convert = |half: &str| {
        let names: Vec<String> = (0..7).map(|_| ptx.word()).collect();
        let [sign, magnitude, placed, scaled, carry, nan, result] = &names[..] else { unreachable!("seven names") };
        ptx.line(&format!("and.b32 {sign}, {half}, 0x80008000;"));
        ptx.line(&format!("and.b32 {magnitude}, {half}, 0x7f007f00;"));
        ptx.line(&format!("shr.u32 {placed}, {magnitude}, 1;"));
        // 256 as two halves.
        ptx.line(&format!("mov.b32 {scaled}, 0x5c005c00;"));
        ptx.line(&format!("mul.rn.f16x2 {scaled}, {placed}, {scaled};"));
        // The greatest magnitude is NaN: adding one carries into the top bit, which then becomes exponent and quiet bit.
        ptx.line(&format!("add.u32 {carry}, {magnitude}, 0x01000100;"));
        ptx.line(&format!("and.b32 {carry}, {carry}, 0x80008000;"));
        ptx.line(&format!("shr.u32 {nan}, {carry}, 7;"));
        ptx.line(&format!("mul.lo.u32 {nan}, {nan}, 0x7e;"));
        ptx.line(&format!("or.b32 {scaled}, {scaled}, {sign};"));
        ptx.line(&format!("or.b32 {result}, {scaled}, {nan};"));
        result.clone()
    };
    (convert(&low), convert(&high))
}
