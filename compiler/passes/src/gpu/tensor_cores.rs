//! `tensor-cores`: which products run on tensor cores, with which instruction, and how warps share a product.
//!
//! An instruction follows from element type and precision; f32 products in `ieee` precision keep multiply-adds. Warps are dealt so
//! that a warp's part of the result is as square as possible, since that reads the fewest operand elements. Where one product
//! feeds the left operand of another (attention), both give every warp whole rows: the first result's registers then are
//! operand registers of the second, and row reductions stay in a warp.
//!
//! ```text
//! before: %s = dot %q, %kt            : tile<f32, [64, 64]>
//! after:  %s = dot %q, %kt            : tile<f32, [64, 64], #mma>      %q, %kt asked for as fragments, or in shared memory
//! ```

use cranelift_entity::SecondaryMap;
use kiln_ir::layout::{
    Hw, Layout, boxed, mma_accumulator, mma_f64_accumulator, mma_f64_operand_a, mma_f64_operand_b, mma_operand_a, mma_operand_b,
    wgmma_accumulator, wgmma_operand_a,
};
use kiln_ir::ops::DotPrecision;
use kiln_ir::{Elem, Function, Inst, InstData, ScalarType, Value};
use rustc_hash::FxHashSet;

use super::rules::{Kind, kind};

/// Warps of a warpgroup.
pub(super) const GROUP: u32 = 4;

/// The instruction a product runs on (PTX ISA, "Matrix multiply-accumulate operation using mma instruction").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MmaKind {
    /// `m16n8k16` on f16.
    F16,
    /// `m16n8k16` on bf16.
    Bf16,
    /// `m16n8k8` on f32 rounded to tf32.
    Tf32,
    /// Three tf32 products of f32 split in two.
    Tf32x3,
    /// Three bf16 products (`m16n8k16`) of f32 split in two.
    Bf16x3,
    /// 8-bit floats: `m16n8k32`, or two f16 `m16n8k16` where there is no such instruction.
    F8,
    /// `m16n8k32` on 8-bit integers.
    Int8,
    /// `m8n8k4` on f64.
    F64,
}

impl MmaKind {
    /// The instruction for an element type and precision; None for multiply-adds.
    pub fn of(elem: Elem, precision: DotPrecision) -> Option<MmaKind> {
        use ScalarType::*;
        match (elem.scalar()?, precision) {
            (F16, _) => Some(MmaKind::F16),
            (BF16, _) => Some(MmaKind::Bf16),
            (F32, DotPrecision::Tf32) => Some(MmaKind::Tf32),
            (F32, DotPrecision::Tf32x3) => Some(MmaKind::Tf32x3),
            (F32, DotPrecision::Bf16x3) => Some(MmaKind::Bf16x3),
            (F8E4M3 | F8E5M2, _) => Some(MmaKind::F8),
            (I8 | U8, _) => Some(MmaKind::Int8),
            (F64, _) => Some(MmaKind::F64),
            _ => None,
        }
    }

    /// Elements of an operand in a 32-bit register; 1 for f64, which takes a 64-bit one.
    pub fn width(self) -> u32 {
        match self {
            MmaKind::F16 | MmaKind::Bf16 => 2,
            MmaKind::F8 | MmaKind::Int8 => 4,
            _ => 1,
        }
    }

    /// Depth of one step along k, to which k is padded.
    pub fn step(self) -> u32 {
        match self {
            MmaKind::F16 | MmaKind::Bf16 | MmaKind::Bf16x3 => 16,
            MmaKind::Tf32 | MmaKind::Tf32x3 => 8,
            MmaKind::F8 | MmaKind::Int8 => 32,
            MmaKind::F64 => 4,
        }
    }

    /// Rows of one instruction; it has 8 columns.
    pub fn rows(self) -> u32 {
        if self == MmaKind::F64 { 8 } else { 16 }
    }
}

/// A product on tensor cores.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MmaDot {
    /// The instruction; for warpgroups, its `wgmma` on the same types.
    pub kind: MmaKind,
    /// Warps, or warpgroups, along m and n.
    pub warps: [u32; 2],
    /// Layout of the accumulator and result.
    pub acc: Layout,
    /// Layout of operand A as fragments.
    pub a: Layout,
    /// Layout of operand B as fragments; for warpgroups one in shared memory, since they read B there.
    pub b: Layout,
    /// It runs on warpgroups (`DotStart`).
    pub of_groups: bool,
}

impl MmaDot {
    /// A product of these extents over `warps`.
    pub fn new(kind: MmaKind, [m, n, k]: [u32; 3], warps: [u32; 2]) -> MmaDot {
        let k = k.next_multiple_of(kind.step());
        let (acc, a, b) = if kind == MmaKind::F64 {
            (mma_f64_accumulator([m, n], warps), mma_f64_operand_a([m, k], warps), mma_f64_operand_b([k, n], warps))
        } else {
            let width = kind.width();
            (mma_accumulator([m, n], warps), mma_operand_a([m, k], width, warps), mma_operand_b([k, n], width, warps))
        };
        MmaDot { kind, warps, acc, a, b, of_groups: false }
    }

    /// A product of these extents on warpgroups, dealt as [`groups`] says.
    fn of_groups(kind: MmaKind, [m, n, k]: [u32; 3], groups: [u32; 2]) -> MmaDot {
        let (k, width) = (k.next_multiple_of(kind.step()), kind.width());
        let acc = wgmma_accumulator([m, n], groups);
        let a = wgmma_operand_a([m, k], width, groups);
        let b = boxed([k, n], 0, 4 / width);
        MmaDot { kind, warps: groups, acc, a, b, of_groups: true }
    }

    /// The product a laid-out `dot` is, if it is one for tensor cores.
    pub fn of(func: &Function, inst: Inst) -> Option<MmaDot> {
        let (kind, extents) = product(func, inst)?;
        let layout = func.ty(func.result(inst)).layout()?.layout();
        let unit = layout.unit();
        let along_m = (0..unit.bits(Hw::Warp)).filter(|&bit| unit.basis(Hw::Warp, bit)[0] != 0).count();
        let warps = [1 << along_m, layout.warps() >> along_m];
        let dot = if matches!(func.insts[inst], InstData::DotStart { .. }) {
            MmaDot::of_groups(kind, extents, [warps[0] / GROUP, warps[1]])
        } else {
            MmaDot::new(kind, extents, warps)
        };
        (dot.acc == *layout).then_some(dot)
    }
}

/// Instruction and extents (m, n, k) of a product for tensor cores.
pub(super) fn product(func: &Function, inst: Inst) -> Option<(MmaKind, [u32; 3])> {
    let (InstData::Dot { a, b, precision, .. } | InstData::DotStart { a, b, precision, .. }) = func.insts[inst] else {
        return None;
    };
    let kind = MmaKind::of(func.ty(a).elem(), precision)?;
    match (func.ty(a).shape(), func.ty(b).shape()) {
        (&[m, k], &[_, n]) => Some((kind, [m, n, k])),
        _ => None,
    }
}

/// Decides every product of `func`.
pub(super) fn choose(func: &Function, warps: u32) -> SecondaryMap<Inst, Option<MmaDot>> {
    let mut dots = Vec::new();
    func.walk(|_, inst| dots.extend(product(func, inst).map(|(kind, extents)| (inst, kind, extents))));
    let mut chained: FxHashSet<Inst> = FxHashSet::default();
    for &(inst, ..) in &dots {
        let (InstData::Dot { a, .. } | InstData::DotStart { a, .. }) = func.insts[inst] else { continue };
        let feeding = feeding(func, a);
        if !feeding.is_empty() {
            chained.insert(inst);
            chained.extend(feeding);
        }
    }
    let mut chosen = SecondaryMap::new();
    for (inst, kind, extents) in dots {
        if matches!(func.insts[inst], InstData::DotStart { .. }) {
            // Rows come first: a row of one product is a row of the next.
            let tiling = groups([extents[0], extents[1]], warps).expect("checked where the product was made one of warpgroups");
            chosen[inst] = Some(MmaDot::of_groups(kind, extents, tiling));
            continue;
        }
        let by_rows = chained.contains(&inst) && extents[0] >= kind.rows() * warps;
        let tiling = if by_rows { [warps, 1] } else { square(kind, extents, warps) };
        chosen[inst] = Some(MmaDot::new(kind, extents, tiling));
    }
    chosen
}

/// Warpgroups along m and n, as many of them along m as have 64 rows each; those along n need a power of two of columns. None where the
/// result cannot be dealt so.
pub(super) fn groups([m, n]: [u32; 2], warps: u32) -> Option<[u32; 2]> {
    if !warps.is_multiple_of(GROUP) || !m.is_multiple_of(64) || !n.is_multiple_of(16) {
        return None;
    }
    let all = warps / GROUP;
    (0..=all.trailing_zeros()).rev().map(|bit| [1 << bit, all >> bit]).find(|[along_m, along_n]| {
        let columns = n / along_n;
        m.is_multiple_of(64 * along_m) && (*along_n == 1 || n.is_power_of_two() && columns.is_multiple_of(16))
    })
}

/// Warps along m and n: no warp without work where that can be had, then the smallest sum of operand rows and columns a warp reads.
fn square(kind: MmaKind, [m, n, _]: [u32; 3], warps: u32) -> [u32; 2] {
    let blocks = [m.div_ceil(kind.rows()), n.div_ceil(8)];
    (0..=warps.trailing_zeros())
        .map(|bit| [1 << bit, warps >> bit])
        .min_by_key(|[along_m, along_n]| {
            let rows = blocks[0].div_ceil(*along_m) * kind.rows();
            let columns = blocks[1].div_ceil(*along_n) * 8;
            (rows * columns, rows + columns, *along_n)
        })
        .expect("there is at least one warp")
}

/// Products whose results, changed lane by lane, become `value`.
fn feeding(func: &Function, value: Value) -> Vec<Inst> {
    let (mut found, mut todo, mut seen) = (Vec::new(), vec![value], FxHashSet::default());
    while let Some(value) = todo.pop() {
        let Some(inst) = func.def_inst(value) else { continue };
        if !seen.insert(inst) {
            continue;
        }
        match &func.insts[inst] {
            InstData::Dot { .. } | InstData::DotStart { .. } => found.push(inst),
            &InstData::If { then, otherwise, .. } => {
                let number = func.results_of(inst).iter().position(|&v| v == value);
                todo.extend(number.iter().flat_map(|&n| [func.yielded(then)[n], func.yielded(otherwise)[n]]));
            }
            data if kind(data) == Kind::Elementwise => todo.extend(data.operands()),
            _ => {}
        }
    }
    found
}
