//! `dot_scaled` on the CPU: microscaled operands (OCP Microscaling Formats v1.0) become f32 while they are packed, 32 neighbours along k times their common
//! power of two. Every product of two such f32 is exact unless a scaled element leaves f32's range.
//!
//! Before packing, the scale bytes become f32 tables with the rows that packing reads: A's `[M, K / 32]` as it is, B's transposed to `[K / 32, N]`.

use kiln_ir::ScalarType;
use kiln_ir::ops::{DotPrecision, ScaledFormat};

use super::compute::decode_format;
use super::plan::Machine;
use super::source::{Axis, Source};
use super::{Accumulator, Dot};
use crate::host::loops::Emit;
use crate::llvm::{IntPred, Val};

/// Elements that share a scale.
const BLOCK: u32 = 32;

/// One operand: row-major tiles in scratch memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScaledOperand {
    /// Elements; two a byte along k for e2m1, the low half first.
    pub elements: Val,
    /// Scale bytes: `[M, K / 32]` for A, `[N, K / 32]` for B.
    pub scales: Val,
    /// Format of the elements.
    pub format: ScaledFormat,
}

/// A scaled dot to generate: `[m, k] x [k, n]`, `k` a multiple of 32.
#[derive(Clone, Debug)]
pub(crate) struct DotScaled {
    extents: [u32; 3],
    dot: Dot,
}

impl DotScaled {
    /// Plans a scaled dot, summed in f32.
    pub fn new(machine: Machine, extents: [u32; 3]) -> Option<DotScaled> {
        let dot = Dot::new(machine, extents, ScalarType::F32, ScalarType::F32, DotPrecision::Ieee)?;
        Some(DotScaled { extents, dot })
    }

    fn table_bytes(&self) -> [u64; 2] {
        let [m, n, k] = self.extents;
        [m, n].map(|outer| (u64::from(outer) * u64::from(k / BLOCK) * 4).next_multiple_of(64))
    }

    /// Bytes of scratch memory, aligned to 64, that [`DotScaled::emit`] needs while it runs.
    pub fn scratch_bytes(&self) -> u64 {
        self.table_bytes().iter().sum::<u64>() + self.dot.scratch_bytes()
    }

    /// Emits `acc += a * b` (or `acc = a * b`) at the cursor.
    pub fn emit(&self, e: &Emit<'_>, a: ScaledOperand, b: ScaledOperand, acc: Accumulator, scratch: Val) {
        let [m, n, k] = self.extents;
        let [a_bytes, b_bytes] = self.table_bytes();
        let b_table = e.offset(scratch, a_bytes as i64);
        let rest = e.offset(b_table, b_bytes as i64);
        let blocks = u64::from(k / BLOCK);
        for (table, operand, outer, block_stride, outer_stride) in [(scratch, a, m, 1, blocks), (b_table, b, n, u64::from(n), 1)]
        {
            e.repeat(outer.into(), 1, |o| {
                e.repeat(blocks, 1, |block| {
                    let from = e.add_nsw(e.mul_const(o, blocks), block);
                    let code = e.load(e.i8(), e.gep(e.i8(), operand.scales, from), 1);
                    let to = e.add_nsw(e.mul_const(o, outer_stride), e.mul_const(block, block_stride));
                    e.store(power_of_two(e, code), e.gep(e.f32(), table, to), 4);
                });
            });
        }
        let a = Dequantized { operand: a, table: scratch, depth_axis: Axis::Col, row: k, table_row: k / BLOCK };
        let b = Dequantized { operand: b, table: b_table, depth_axis: Axis::Row, row: n, table_row: n };
        self.dot.emit(e, &a, &b, acc, rest);
    }
}

/// The f32 that an e8m0 code stands for: 2^(code - 127), NaN for 255.
fn power_of_two(e: &Emit<'_>, code: Val) -> Val {
    let word = e.zext(code, e.i32());
    let int = |value| e.int(e.i32(), value);
    let normal = e.shl(word, int(23));
    // 2^-127 is subnormal in f32, and the exponent of 255 means infinity where the code means NaN.
    let bits = e.select(e.icmp(IntPred::LLVMIntEQ, word, int(0)), int(0x0040_0000), normal);
    let bits = e.select(e.icmp(IntPred::LLVMIntEQ, word, int(255)), int(0x7fc0_0000), bits);
    e.bitcast(bits, e.f32())
}

/// An operand read as f32.
struct Dequantized {
    operand: ScaledOperand,
    /// Scales as f32: a row for each outer position (A) or for each block of k (B).
    table: Val,
    depth_axis: Axis,
    /// Elements of a row.
    row: u32,
    table_row: u32,
}

impl Dequantized {
    /// Codes of `lanes` neighbours along the columns from (`row`, `col`), each in the low bits of its lane.
    fn codes(&self, e: &Emit<'_>, row: Val, col: Val, lanes: u32) -> Val {
        let two_bytes = matches!(self.operand.format, ScaledFormat::F16 | ScaledFormat::Bf16);
        if self.operand.format != ScaledFormat::E2M1 {
            let (ty, size) = match self.operand.format {
                ScaledFormat::F16 => (e.f16(), 2),
                _ if two_bytes => (e.int_ty(16), 2),
                _ => (e.i8(), 1),
            };
            let at = e.add_nsw(e.mul_const(row, self.row.into()), col);
            return e.load(e.vec(ty, lanes), e.gep(ty, self.operand.elements, at), size);
        }
        let bytes_at = |index: Val, count: u32| e.load(e.vec(e.i8(), count), e.gep(e.i8(), self.operand.elements, index), 1);
        match self.depth_axis {
            // Pairs of rows share bytes.
            Axis::Row => {
                let pair = e.lshr(row, e.index(1));
                let bytes = bytes_at(e.add_nsw(e.mul_const(pair, self.row.into()), col), lanes);
                let odd = e.trunc(e.and(row, e.index(1)), e.i8());
                e.lshr(bytes, e.splat(e.shl(odd, e.int(e.i8(), 2)), lanes))
            }
            // Pairs of columns do; vectors start at even ones.
            Axis::Col => {
                let half = e.lshr(col, e.index(1));
                let bytes = bytes_at(e.add_nsw(e.mul_const(row, u64::from(self.row / 2)), half), lanes / 2);
                e.interleave(bytes, e.lshr(bytes, e.int(e.ty(bytes), 4)))
            }
        }
    }
}

impl Source for Dequantized {
    fn elem(&self) -> ScalarType {
        ScalarType::F32
    }

    fn contiguous(&self) -> Option<Axis> {
        Some(Axis::Col)
    }

    fn in_bounds(&self, _: &Emit<'_>) -> Option<Val> {
        None
    }

    fn read(&self, e: &Emit<'_>, row: Val, col: Val, axis: Axis, lanes: u32, _checked: bool) -> Val {
        // Packing reads both operands along their columns; along k that is in whole vectors, as k is a multiple of 32.
        assert!(
            axis == Axis::Col && (self.depth_axis == Axis::Row || BLOCK.is_multiple_of(lanes)),
            "reads stay in a scale's block"
        );
        let values = decode_format(e, self.codes(e, row, col, lanes), self.operand.format);
        let block = |k: Val| e.lshr(k, e.index(BLOCK.ilog2().into()));
        let scale = match self.depth_axis {
            Axis::Col => {
                let at = e.add_nsw(e.mul_const(row, self.table_row.into()), block(col));
                e.splat(e.load(e.f32(), e.gep(e.f32(), self.table, at), 4), lanes)
            }
            Axis::Row => {
                let at = e.add_nsw(e.mul_const(block(row), self.table_row.into()), col);
                e.load(e.vec(e.f32(), lanes), e.gep(e.f32(), self.table, at), 4)
            }
        };
        e.fmul(values, scale)
    }
}
