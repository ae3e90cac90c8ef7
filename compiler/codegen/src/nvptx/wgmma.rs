//! `dot_start` and `dot_wait`: products that warpgroups compute out of shared memory (PTX ISA, "Asynchronous Warpgroup Level Matrix
//! Multiply-Accumulate Instructions").
//!
//! One piece of inline PTX starts a whole product: a fence, which orders earlier accesses to its registers, an instruction for each step along
//! k, and the end of the group. Descriptors are 64-bit numbers. What is the same for a whole kernel (where the tile lies, its
//! strides and swizzle) is added up once; a slot of a ring and a step along k each cost one addition. The start address passes through
//! inline PTX, so that LLVM cannot turn those additions into something else.

use kiln_ir::layout::{Coords, Hw, Layout, Swizzle};
use kiln_ir::{Block, Function, Inst, InstData, ScalarType, Value};
use kiln_passes::gpu::{MmaDot, MmaKind, is_rounded};
use rustc_hash::FxHashMap;
use smallvec::{SmallVec, smallvec};

use super::emit::Emitter;
use super::error::{Result, internal};
use super::fragments::{Operand, Ptx};
use super::staged::{Reach, ThreadCoords, thread_coords};
use super::text::{Asm, Ty, Val};

/// Rows of one instruction.
const ROWS: u32 = 64;
/// Most columns of one instruction.
const COLUMNS: u32 = 256;
/// Rows of a swizzle atom.
const ATOM: u32 = 8;
/// Bytes along k of one instruction.
const STEP: u32 = 32;
/// Most descriptors that ptxas may keep in registers from the front of a loop to the loop: of its 63 uniform registers, other numbers of a trip need some forty.
const MOST_KEPT: u32 = 8;

/// An operand in shared memory.
struct Matrix {
    value: Value,
    layout: &'static Layout,
    /// The dimension of rows (operand A) or columns (B); the other one is k.
    across: usize,
    bytes: u32,
    /// Rows or columns, not k, run through memory.
    transposed: bool,
    /// Elements of a row of a swizzle atom.
    span: u32,
    /// What the warpgroups' numbers add to coordinates.
    threads: ThreadCoords,
}

enum Left<'l> {
    Shared(Matrix),
    Registers(Operand<'l>),
}

impl Emitter<'_> {
    pub(super) fn dot_start(&mut self, inst: Inst, dot: &MmaDot, a: Value, b: Value, acc: Option<Value>) -> Result<()> {
        let kind = dot.kind;
        let elem = self.func.ty(a).elem().scalar().ok_or_else(|| internal("a product of pointers"))?;
        if kind == MmaKind::Tf32 && [a, b].iter().any(|&operand| !is_rounded(self.func, operand)) {
            return Err(internal("warpgroups would cut off bits of an operand that nobody rounds to tf32"));
        }
        let result = self.func.ty(self.func.result(inst));
        let spread = self.spread_of(result).ok_or_else(|| internal("a product is a tile"))?;
        let ty = self.value_type(result.elem());
        let in_shared = self.func.ty(a).layout().is_some_and(|layout| layout.layout().is_shared());
        let left = if in_shared {
            Left::Shared(self.matrix(a, dot, 0)?)
        } else {
            Left::Registers(self.operand_of(a, &dot.a, 0, kind.width())?)
        };
        let right = self.matrix(b, dot, 1)?;
        let across_k = |matrix: &Matrix| matrix.transposed && matrix.bytes != 2;
        if across_k(&right) || matches!(&left, Left::Shared(left) if across_k(left)) {
            return Err(internal(format!("warpgroups read {elem} along k only")));
        }
        let physical = dot.acc.physical();
        let (rows, columns, depth) = (physical[0] / (ROWS * dot.warps[0]), physical[1] / dot.warps[1], dot.a.physical()[1]);
        let wide = right.widest(columns)?;
        let mut here = FxHashMap::default();
        let start = acc.map(|acc| self.regs(acc));
        let half = 4 * kind.width();
        // The registers of each instruction's sums, one after the other.
        let mut own: Vec<u32> = Vec::new();
        for i in 0..rows {
            for j in (0..columns).step_by(8) {
                for (down, across) in [(0, 0), (0, 1), (8, 0), (8, 1)] {
                    let at = [i * ROWS * dot.warps[0] + down, j + across];
                    own.push(spread.register(&at).ok_or_else(|| internal("an accumulator has all its registers"))?);
                }
            }
        }
        let first_input = if start.is_some() { 2 * own.len() } else { own.len() };
        let mut ptx = Ptx::new(first_input);
        ptx.line(".reg .pred adds;");
        ptx.line(if start.is_some() { "setp.eq.b32 adds, 0, 0;" } else { "setp.ne.b32 adds, 0, 0;" });
        ptx.line("wgmma.fence.sync.aligned;");
        for k in (0..depth).step_by(kind.step() as usize) {
            for i in 0..rows {
                let row = i * ROWS * dot.warps[0];
                let of_a = match &left {
                    Left::Shared(matrix) => {
                        let descriptor = self.descriptor(matrix, row, k, &mut here)?;
                        ptx.input(descriptor, 'l')
                    }
                    Left::Registers(operand) => {
                        let parts = [[0, 0], [8, 0], [0, half], [8, half]];
                        format!("{{{}}}", self.fragment(&mut ptx, operand, [row, k], &parts)?.join(", "))
                    }
                };
                for j in (0..columns).step_by(wide as usize) {
                    let descriptor = self.descriptor(&right, j, k, &mut here)?;
                    let of_b = ptx.input(descriptor, 'l');
                    let first = ((i * columns + j) / 2) as usize;
                    let sums: Vec<String> = (first..first + (wide / 2) as usize).map(|r| format!("${r}")).collect();
                    let name = instruction(kind, elem, wide);
                    let transposed = |matrix: &Matrix| u32::from(matrix.transposed);
                    let scales = match (kind, &left) {
                        (MmaKind::Int8, _) => String::new(),
                        (MmaKind::F8 | MmaKind::Tf32, _) => String::from(", 1, 1"),
                        (_, Left::Shared(matrix)) => format!(", 1, 1, {}, {}", transposed(matrix), transposed(&right)),
                        (_, Left::Registers(_)) => format!(", 1, 1, {}", transposed(&right)),
                    };
                    ptx.line(&format!("{name} {{{}}}, {of_a}, {of_b}, adds{scales};", sums.join(", ")));
                }
            }
            if k == 0 && start.is_none() {
                ptx.line("setp.eq.b32 adds, 0, 0;");
            }
        }
        ptx.line("wgmma.commit_group.sync.aligned;");
        let constraint = if ty == Ty::F32 { 'f' } else { 'r' };
        // Without sums to add to, the results must not share registers with an operand.
        let own_register = if start.is_some() { format!("={constraint}") } else { format!("=&{constraint}") };
        let mut constraints: Vec<String> = own.iter().map(|_| own_register.clone()).collect();
        let mut args: Vec<Val> = Vec::new();
        if let Some(start) = &start {
            constraints.extend((0..own.len()).map(|i| i.to_string()));
            args.extend(own.iter().map(|&r| start[r as usize]));
        }
        constraints.extend(ptx.inputs.iter().map(|(_, c)| c.to_string()));
        args.extend(ptx.inputs.iter().map(|(value, _)| *value));
        let sums = self.w.asm(&vec![ty; own.len()], Asm::Warp, &ptx.block(), &constraints.join(","), &args);
        let mut regs = vec![Val::zero(ty); spread.registers.len()];
        for (&r, sum) in own.iter().zip(sums) {
            regs[r as usize] = sum;
        }
        self.define(inst, regs);
        Ok(())
    }

    /// Waits for products. The one that is waited for passes through, so that nothing uses its registers earlier.
    pub(super) fn dot_wait(&mut self, inst: Inst, arg: Option<Value>, pending: u32) {
        let text = format!("wgmma.wait_group.sync.aligned {pending};");
        let Some(arg) = arg else {
            self.w.asm(&[], Asm::Warp, &text, "", &[]);
            return;
        };
        let done = self.through(&text, arg);
        self.define(inst, done);
    }

    /// The registers of a tile as they are, for users that stay behind this place.
    pub(super) fn hold(&mut self, inst: Inst, arg: Value) {
        let held = self.through("", arg);
        self.define(inst, held);
    }

    /// What comes of a tile's registers behind a piece of PTX that leaves them alone.
    fn through(&mut self, text: &str, arg: Value) -> Vec<Val> {
        let regs = self.regs(arg);
        let constraint = |v: &Val| match v.ty {
            Ty::F32 => "=f",
            Ty::F64 => "=d",
            Ty::I64 => "=l",
            Ty::F16 | Ty::BF16 | Ty::I16 => "=h",
            _ => "=r",
        };
        let mut constraints: Vec<String> = regs.iter().map(|v| constraint(v).to_owned()).collect();
        constraints.extend((0..regs.len()).map(|i| i.to_string()));
        let types: Vec<Ty> = regs.iter().map(|v| v.ty).collect();
        self.w.asm(&types, Asm::Warp, text, &constraints.join(","), &regs)
    }

    /// Operand `value`, whose rows or columns are dimension `across`.
    fn matrix(&self, value: Value, dot: &MmaDot, across: usize) -> Result<Matrix> {
        let ty = self.func.ty(value);
        let layout = ty.layout().ok_or_else(|| internal("an operand of a product without a layout"))?.layout();
        if !layout.is_shared() {
            return Err(internal(format!("operand {layout} of a warpgroup is not in shared memory")));
        }
        let unit = layout.unit();
        let transposed = layout.offset(&along(across, 1)) == Some(1);
        let fast = if transposed { across } else { 1 - across };
        let runs = (0..unit.bits(Hw::Offset)).take_while(|&bit| unit.basis(Hw::Offset, bit) == along(fast, 1 << bit));
        let span = 1 << runs.count();
        let bytes = ty.elem().bytes();
        if !is_swizzled(layout, 1 - fast, span * bytes, bytes) {
            return Err(internal(format!("operand {layout} of a warpgroup is in no swizzle that it knows")));
        }
        // Only the warpgroup's number counts: its warps and lanes work on one operand.
        let threads: ThreadCoords = thread_coords(dot.acc.unit())
            .into_iter()
            .enumerate()
            .map(|(bit, coords)| if bit < 7 { smallvec![0; 2] } else { along(across, coords[across]) })
            .collect();
        Ok(Matrix { value, layout, across, bytes, transposed, span, threads })
    }

    /// A descriptor that starts where one does that was made at the head of the kernel; `here` has those of the product so far.
    ///
    /// A tile that is always in the same place has the same descriptors in a loop and in front of it (where `overlap` leaves a trip's first products). ptxas
    /// keeps each of them in registers from the one place to the other, and copies it to a uniform one where it has not enough of those. Where there are many, what is in front of
    /// the innermost loop therefore starts from a number of its own, and in the loop a descriptor is an addition.
    fn descriptor_here(&mut self, first: Val, form: u64, here: &mut FxHashMap<Val, Val>) -> Val {
        if let Some(&known) = here.get(&first) {
            return known;
        }
        let low = self.w.cast("trunc", first, Ty::I32);
        let low = self.w.asm(&[Ty::I32], Asm::Warp, "shfl.sync.idx.b32 $0, $1, 0, 31, -1;", "=r,r", &[low])[0];
        let wide = self.w.cast("zext", low, Ty::I64);
        // The address is in the lower half.
        let made = self.w.add(wide, Val::int(Ty::I64, (form & !u64::from(u32::MAX)) as i64));
        here.insert(first, made);
        made
    }

    /// The descriptor (i64) of the part of a matrix that starts at `at` and `k`.
    fn descriptor(&mut self, matrix: &Matrix, at: u32, k: u32, here: &mut FxHashMap<Val, Val>) -> Result<Val> {
        let (layout, bytes) = (matrix.layout, matrix.bytes);
        let mut coords: Coords = smallvec![0; 2];
        coords[matrix.across] = at;
        coords[1 - matrix.across] = k;
        let Reach { thread, immediate } = self.reach(layout, &matrix.threads, &coords, bytes)?;
        let (base, slot) = self.staged_at(matrix.value)?;
        let form = matrix.form()?;
        let key = (base, thread, form);
        let first = match self.descriptors.get(&key) {
            Some(&known) => known,
            None => {
                let made = self.w.at_entry(|w| {
                    let start = w.offset(base, thread, 1);
                    let address = w.cast("ptrtoint", start, Ty::I32);
                    let units = w.lshr(address, 4);
                    // From lane 0, where threads differ: all of a warp have the same, and ptxas is to know it.
                    let opaque = if thread.as_int().is_some() {
                        w.asm(&[Ty::I32], Asm::Pure, "mov.b32 $0, $1;", "=r,r", &[units])[0]
                    } else {
                        w.asm(&[Ty::I32], Asm::Warp, "shfl.sync.idx.b32 $0, $1, 0, 31, -1;", "=r,r", &[units])[0]
                    };
                    let wide = w.cast("zext", opaque, Ty::I64);
                    w.add(wide, Val::int(Ty::I64, form as i64))
                });
                self.descriptors.insert(key, made);
                made
            }
        };
        let fixed = slot.is_none_or(|(slot, _)| slot.as_int().is_some());
        let apart = fixed && self.loops.fixed > MOST_KEPT && self.scratch.loops < self.loops.depth;
        let first = if apart { self.descriptor_here(first, form, here) } else { first };
        let in_slot = match slot {
            None => first,
            Some((slot, stride)) => {
                let distance = self.w.mul_nsw(slot, Val::i32(stride / 16));
                let wide = self.w.cast("zext", distance, Ty::I64);
                self.w.add(first, wide)
            }
        };
        Ok(self.w.add(in_slot, Val::int(Ty::I64, i64::from(immediate / 16))))
    }
}

impl Matrix {
    fn offset(&self, at: u32, k: u32) -> Result<u32> {
        let mut coords: Coords = smallvec![0; 2];
        coords[self.across] = at;
        coords[1 - self.across] = k;
        let offset = self.layout.offset(&coords).map(|offset| offset * self.bytes);
        offset.ok_or_else(|| internal(format!("[{at}, {k}] is beyond {}", self.layout)))
    }

    /// The most columns of `columns` that one descriptor covers: they lie in equal steps of 8 (of a span where they run through memory).
    fn widest(&self, columns: u32) -> Result<u32> {
        for wide in (16..=columns.min(COLUMNS)).rev().step_by(8).filter(|&wide| columns.is_multiple_of(wide)) {
            let step = if self.transposed { self.span } else { ATOM };
            let regular = |start: u32| -> Result<bool> {
                let first = self.offset(start, 0)?;
                let mut all = true;
                for at in (step..wide).step_by(step as usize) {
                    let expected = if self.transposed { self.leading()? } else { ATOM * self.span * self.bytes };
                    all &= self.offset(start + at, 0)? == first + at / step * expected;
                }
                Ok(all)
            };
            let mut all = true;
            for start in (0..columns).step_by(wide as usize) {
                all &= regular(start)?;
            }
            if all {
                return Ok(wide);
            }
        }
        Err(internal(format!("{} has no descriptor", self.layout)))
    }

    /// Bytes between spans side by side, where rows or columns run through memory.
    fn leading(&self) -> Result<u32> {
        let extent = self.layout.physical()[self.across];
        if extent > self.span { Ok(self.offset(self.span, 0)? - self.offset(0, 0)?) } else { Ok(0) }
    }

    /// The descriptor without its start address: byte offsets in units of 16 bytes, and the swizzle.
    fn form(&self) -> Result<u64> {
        let row = self.span * self.bytes;
        let mode: u64 = match row {
            128 => 1,
            64 => 2,
            32 => 3,
            _ => return Err(internal(format!("a warpgroup's operand with rows of {row} bytes: {}", self.layout))),
        };
        let leading = if self.transposed { self.leading()? } else { 16 };
        let stride = ATOM * row;
        Ok(mode << 62 | u64::from(stride / 16) << 32 | u64::from(leading / 16) << 16)
    }
}

/// Whether rows of `row` bytes, one behind the other along dimension `slow`, are swizzled as the hardware does.
fn is_swizzled(layout: &Layout, slow: usize, row: u32, bytes: u32) -> bool {
    let Some(swizzle) = [Swizzle::B128, Swizzle::B64, Swizzle::B32].into_iter().find(|swizzle| swizzle.span() == row) else {
        return false;
    };
    let rows = (0..4).map(|bit| 1 << bit).take_while(|&rows| rows < layout.physical()[slow]);
    rows.into_iter().all(|number| {
        let at = layout.offset(&along(slow, number)).map(|offset| u64::from(offset * bytes));
        at == Some(swizzle.apply(u64::from(number * row)))
    })
}

/// The innermost loops with products.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct ProductLoops {
    /// How many loops are around their products.
    pub(super) depth: u32,
    /// Descriptors that are the same in all their trips.
    fixed: u32,
}

impl ProductLoops {
    pub(super) fn of(func: &Function) -> ProductLoops {
        let mut found = ProductLoops::default();
        found.walk(func, func.body, 0);
        found
    }

    fn walk(&mut self, func: &Function, block: Block, depth: u32) {
        for &inst in &func.blocks[block].insts {
            let data = &func.insts[inst];
            if let InstData::DotStart { a, b, .. } = *data {
                if depth > self.depth {
                    *self = ProductLoops { depth, fixed: 0 };
                }
                if depth == self.depth {
                    self.fixed += steps(func, a, 1) + steps(func, b, 0);
                }
            }
            let looped = matches!(data, InstData::For { .. } | InstData::While { .. });
            data.blocks().into_iter().for_each(|inner| self.walk(func, inner, depth + u32::from(looped)));
        }
    }
}

/// Steps of products along dimension `depth` of a tile that is in the same place of shared memory in every trip; 0 for other tiles.
fn steps(func: &Function, mut tile: Value, depth: usize) -> u32 {
    let ty = func.ty(tile);
    while let Some(&InstData::Permute { arg, .. }) = func.def_data(tile) {
        tile = arg;
    }
    let fixed = match func.def_data(tile) {
        Some(&InstData::RingRead { slot, .. }) => matches!(func.def_data(slot), Some(InstData::Const { .. })),
        _ => false,
    };
    if fixed { ty.shape()[depth] * ty.elem().bytes() / STEP } else { 0 }
}

/// The coordinate `value` along `dim` of two.
fn along(dim: usize, value: u32) -> Coords {
    let mut coords: Coords = SmallVec::from_elem(0, 2);
    coords[dim] = value;
    coords
}

/// The opcode for `columns` columns.
fn instruction(kind: MmaKind, elem: ScalarType, columns: u32) -> String {
    let (depth, types) = match (kind, elem) {
        (MmaKind::F16, _) => (16, "f32.f16.f16"),
        (MmaKind::Bf16, _) => (16, "f32.bf16.bf16"),
        (MmaKind::Tf32, _) => (8, "f32.tf32.tf32"),
        (MmaKind::F8, ScalarType::F8E4M3) => (32, "f32.e4m3.e4m3"),
        (MmaKind::F8, _) => (32, "f32.e5m2.e5m2"),
        (_, ScalarType::U8) => (32, "s32.u8.u8"),
        _ => (32, "s32.s8.s8"),
    };
    format!("wgmma.mma_async.sync.aligned.m64n{columns}k{depth}.{types}")
}
