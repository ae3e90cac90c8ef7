//! `tma_store`: a sum leaves through shared memory, each warp's rows by tensor copies of its own (PTX ISA, "cp.async.bulk.tensor", "Async proxy").
//!
//! A round writes the warp's box, 16 rows of one span, in the engine's swizzle: 16-bit elements as matrices (`stmatrix`), wider ones in pairs. Then every lane makes its
//! writes visible to the engine, and one starts the copy and waits until at most that one still reads shared memory: the box of
//! the round before is free again. Nothing but a warp's own lanes wait for each other, except once where the boxes take the memory of rings that nothing needs any more.
//!
//! What is in shared memory as its boxes are (a conversion put it there, and every thread has passed a barrier since) is sent by the first warp.
//!
//! A copy that reduces (`cp.reduce.async.bulk.tensor`) differs in its instruction alone; earlier ones of the same elements need not have ended.

use kiln_ir::artifact::PtxParam;
use kiln_ir::layout::Hw;
use kiln_ir::ops::AtomicOp;
use kiln_ir::{Inst, InstData, Place, Value, ViewAccess};
use kiln_passes::gpu::{ROWS, StoreBoxes, TensorBoxes, store_boxes, store_map};
use smallvec::smallvec;

use super::emit::{Emitter, to_memory};
use super::error::{Result, internal};
use super::roles::tensor_map;
use super::spread::Spread;
use super::staged::{Reach, ThreadCoords};
use super::text::{Asm, Ty, Val};

/// Boxes of a warp: one is written while another one is copied.
const BOXES: u32 = 2;
/// Columns of a row of matrices.
const MATRIX: u32 = 8;

/// The last arguments of a copy: no hint for the cache.
fn no_hint() -> [Val; 2] {
    [Val::int(Ty::I64, 0), Val::bool(false)]
}

/// The copy of a box out of shared memory to a map of so many dimensions.
fn copy_out(reduce: Option<AtomicOp>, dims: usize) -> String {
    match reduce {
        None => format!("llvm.nvvm.cp.async.bulk.tensor.s2g.tile.{dims}d"),
        Some(op) => format!("llvm.nvvm.cp.async.bulk.tensor.reduce.{op}.tile.{dims}d"),
    }
}

/// A tile on its way out.
struct Outgoing<'e> {
    value: Value,
    boxes: &'e StoreBoxes,
    spread: &'e Spread,
    bytes: u32,
    /// Where the first boxes of all warps lie.
    base: Val,
}

impl Emitter<'_> {
    pub(super) fn tma_store(&mut self, inst: Inst, place: &Place, value: Value, reduce: Option<AtomicOp>) -> Result<()> {
        let ty = self.func.ty(value);
        let no_box = || internal("a tensor store of what is no box");
        let Place::View(access) = place else { return Err(no_box()) };
        if ty.layout().is_some_and(|id| id.layout().is_shared()) {
            let boxes = store_map(self.func, place, ty).ok_or_else(no_box)?;
            return self.send_tile(inst, access, value, &boxes, reduce);
        }
        let boxes = store_boxes(self.func, place, ty).ok_or_else(no_box)?;
        let elem = ty.elem().scalar().ok_or_else(no_box)?;
        let spread = self.spread_of(ty).ok_or_else(no_box)?;
        if reduce.is_none() && self.scratch.loops > self.program_loops {
            // An earlier trip may have written the same elements.
            self.elected(|e| e.w.call_void("llvm.nvvm.cp.async.bulk.wait.group", &[Val::i32(0)]));
        }
        let differ = self.boxes_differ();
        if differ {
            // A warp's boxes may lie where another warp's lay, of an earlier store.
            self.elected(|e| e.w.call_void("llvm.nvvm.cp.async.bulk.wait.group.read", &[Val::i32(0)]));
        }
        let base = self.staging_space(inst);
        if differ {
            self.barrier();
        }
        self.order_before(inst);
        let bytes = elem.bytes();
        let round_bytes = boxes.staging.offsets() * bytes;
        let tile = Outgoing { value, boxes: &boxes, spread: &spread, bytes, base };
        let map = self.params.value(PtxParam::TensorMap(tensor_map(&boxes.map, elem)));
        // A tensor without elements has a map of something else, which nothing may be written to.
        let some = self.has_elements(access.view);
        let (inside, end) = (self.w.new_label(), self.w.new_label());
        if !some.is_true() {
            self.w.branch(some, inside, end);
            self.w.start(inside);
        }
        let own = self.own_box(round_bytes);
        let warp_at: Vec<Val> = (0..2).map(|dim| self.warp_coord(&spread, dim)).collect();
        let starts = self.box_starts(access, &boxes.map);
        let starts: Vec<Val> = (starts.into_iter().enumerate())
            .map(|(number, start)| if number < 2 { self.w.add_nsw(start, warp_at[1 - number]) } else { start })
            .collect();
        for (round, &at) in boxes.rounds.iter().enumerate() {
            let number = round as u32 % BOXES;
            self.write_box(&tile, at, number * round_bytes)?;
            self.w.asm(&[], Asm::Memory, "fence.proxy.async.shared::cta;", "", &[]);
            self.w.call_void("llvm.nvvm.bar.warp.sync", &[Val::int(Ty::I32, -1)]);
            let from = self.w.offset(base, own, 1);
            let from = self.w.offset(from, Val::i32(number * round_bytes), 1);
            let mut args = vec![from, map];
            for (dim, &start) in starts.iter().enumerate() {
                let further = if dim < 2 { at[1 - dim] } else { 0 };
                args.push(self.w.add_nsw(start, Val::i32(further)));
            }
            args.extend(no_hint());
            let name = copy_out(reduce, starts.len());
            // The next tile begins with the first box.
            let last = round + 1 == boxes.rounds.len();
            let reading = u32::from(!last || number == BOXES - 1);
            self.elected(|e| {
                e.w.call_void(&name, &args);
                e.w.call_void("llvm.nvvm.cp.async.bulk.commit.group", &[]);
                e.w.call_void("llvm.nvvm.cp.async.bulk.wait.group.read", &[Val::i32(reading)]);
            });
        }
        if !some.is_true() {
            self.w.jump(end);
            self.w.start(end);
        }
        Ok(())
    }

    /// A tile that lies in shared memory as boxes do leaves by copies of the first warp's.
    fn send_tile(
        &mut self,
        inst: Inst,
        access: &ViewAccess,
        value: Value,
        boxes: &TensorBoxes,
        reduce: Option<AtomicOp>,
    ) -> Result<()> {
        let ty = self.func.ty(value);
        let elem = ty.elem().scalar().ok_or_else(|| internal("a tensor store of pointers"))?;
        self.order_before(inst);
        let base = self.shared_base(value)?;
        let map = self.params.value(PtxParam::TensorMap(tensor_map(boxes, elem)));
        let some = self.has_elements(access.view);
        let starts = self.box_starts(access, boxes);
        let tid = self.threads.tid;
        let first = self.w.at_entry(|w| w.icmp("ult", tid, Val::i32(32)));
        let sends = if self.threads.warps > 1 { self.w.and(some, first) } else { some };
        let (inside, end) = (self.w.new_label(), self.w.new_label());
        if !sends.is_true() {
            self.w.branch(sends, inside, end);
            self.w.start(inside);
        }
        self.elected(|e| {
            for &(at, offset) in &boxes.boxes {
                let mut args = vec![e.w.offset(base, Val::i32(offset * elem.bytes()), 1), map];
                for (dim, &start) in starts.iter().enumerate() {
                    let further = if dim < 2 { at[1 - dim] } else { 0 };
                    args.push(e.w.add_nsw(start, Val::i32(further)));
                }
                args.extend(no_hint());
                e.w.call_void(&copy_out(reduce, starts.len()), &args);
            }
            e.w.call_void("llvm.nvvm.cp.async.bulk.commit.group", &[]);
            // Whoever takes the memory next waits for this warp first.
            e.w.call_void("llvm.nvvm.cp.async.bulk.wait.group.read", &[Val::i32(0)]);
        });
        if !sends.is_true() {
            self.w.jump(end);
            self.w.start(end);
        }
        Ok(())
    }

    /// Every copy that this thread started is done.
    pub(super) fn tma_store_wait(&mut self) {
        self.elected(|e| e.w.call_void("llvm.nvvm.cp.async.bulk.wait.group", &[Val::i32(0)]));
    }

    /// One lane of each warp, always the same one, runs what `body` writes; the others wait for it.
    fn elected(&mut self, body: impl FnOnce(&mut Self)) {
        let elected = self.w.asm(&[Ty::I1], Asm::Warp, "elect.sync _|$0, -1;", "=b", &[])[0];
        let (lane, end) = (self.w.new_label(), self.w.new_label());
        self.w.branch(elected, lane, end);
        self.w.start(lane);
        body(self);
        self.w.jump(end);
        self.w.start(end);
        self.w.call_void("llvm.nvvm.bar.warp.sync", &[Val::int(Ty::I32, -1)]);
    }

    /// The memory of all boxes: 128 bytes a row of each. Where the store comes behind all that consumers read from rings, it is the rings'.
    fn staging_space(&mut self, store: Inst) -> Val {
        let bytes = BOXES * ROWS * 128 * self.threads.warps;
        if let Some(base) = self.free_rings(store, bytes) {
            return base;
        }
        if let Some(base) = self.staging {
            return base;
        }
        let base = self.piece(bytes);
        self.staging = Some(base);
        base
    }

    /// Stores of this kernel have boxes of different sizes.
    fn boxes_differ(&self) -> bool {
        let (mut first, mut differ) = (None, false);
        self.func.walk(|_, inst| {
            if let InstData::TmaStore { place, value, .. } = &self.func.insts[inst] {
                let ty = self.func.ty(*value);
                if let Some(boxes) = store_boxes(self.func, place, ty) {
                    let bytes = boxes.staging.offsets() * ty.elem().bytes();
                    differ |= *first.get_or_insert(bytes) != bytes;
                }
            }
        });
        differ
    }

    /// Whether no dimension of a view is 0.
    fn has_elements(&mut self, view: Value) -> Val {
        let dims = self.view_regs(view).dims.clone();
        dims.into_iter().fold(Val::bool(true), |all, dim| {
            let some = self.w.icmp("sgt", dim, Val::zero(dim.ty));
            self.w.and(all, some)
        })
    }

    /// Bytes from the first warp's box to this warp's.
    fn own_box(&mut self, round_bytes: u32) -> Val {
        let each = round_bytes / self.threads.warps;
        let warp_bits = self.threads.warps.trailing_zeros();
        let columns: Vec<u32> = [0; 5].into_iter().chain((0..warp_bits).map(|bit| each << bit)).collect();
        self.threads.linear(&mut self.w, &columns)
    }

    /// What the warp's number adds to a coordinate of the tile.
    fn warp_coord(&mut self, spread: &Spread, dim: usize) -> Val {
        let unit = spread.layout.unit();
        let columns: Vec<u32> =
            [0; 5].into_iter().chain((0..unit.bits(Hw::Warp)).map(|bit| unit.basis(Hw::Warp, bit)[dim])).collect();
        self.threads.linear(&mut self.w, &columns)
    }

    /// Writes the warp's box of a round into shared memory, `further` bytes on.
    fn write_box(&mut self, tile: &Outgoing<'_>, [row, column]: [u32; 2], further: u32) -> Result<()> {
        let elem = self.func.ty(tile.value).elem();
        let regs = self.regs(tile.value);
        let at = |down: u32, across: u32| -> Result<Val> {
            let register = tile.spread.register(&[row + down, column + across]);
            register.map(|r| regs[r as usize]).ok_or_else(|| internal("a sum has all its registers"))
        };
        let span = u32::from(tile.boxes.map.tile[0]);
        let warp_bits = self.threads.warps.trailing_zeros();
        let warps = (0..warp_bits).map(|bit| smallvec![ROWS << bit, 0]);
        if tile.bytes == 2 {
            // Lane 8 m + r has the address of row r of matrix m: above, below, above to the right, below to the right.
            let rows = [[1, 0], [2, 0], [4, 0], [8, 0], [0, MATRIX]];
            let threads: ThreadCoords = rows.into_iter().map(|c| smallvec![c[0], c[1]]).chain(warps).collect();
            for across in (0..span).step_by(2 * MATRIX as usize) {
                let address = self.box_address(tile, &threads, across, further)?;
                let mut args = vec![address];
                for (down, right) in [(0, 0), (8, 0), (0, MATRIX), (8, MATRIX)] {
                    let pair = [at(down, across + right)?, at(down, across + right + 1)?];
                    let pair = pair.map(|v| to_memory(&mut self.w, v, elem));
                    args.push(self.w.join(&pair, Ty::I32));
                }
                let text = "stmatrix.sync.aligned.m8n8.x4.shared.b16 [$0], {$1, $2, $3, $4};";
                self.w.asm(&[], Asm::Warp, text, "r,r,r,r,r", &args);
            }
            return Ok(());
        }
        let lanes = [[0, 2], [0, 4], [1, 0], [2, 0], [4, 0]];
        let threads: ThreadCoords = lanes.into_iter().map(|c| smallvec![c[0], c[1]]).chain(warps).collect();
        for down in [0, 8] {
            for across in (0..span).step_by(MATRIX as usize) {
                let Reach { thread, immediate } = self.reach(tile.boxes.staging, &threads, &[down, across], tile.bytes)?;
                let address = self.w.offset(tile.base, thread, 1);
                let address = self.w.offset(address, Val::i32(immediate + further), 1);
                let pair = [at(down, across)?, at(down, across + 1)?].map(|v| to_memory(&mut self.w, v, elem));
                self.store_vector(address, &pair, Val::bool(true), Self::no_hints());
            }
        }
        Ok(())
    }

    /// The shared address (i32) of a lane's row of matrices.
    fn box_address(&mut self, tile: &Outgoing<'_>, threads: &ThreadCoords, across: u32, further: u32) -> Result<Val> {
        let Reach { thread, immediate } = self.reach(tile.boxes.staging, threads, &[0, across], tile.bytes)?;
        let address = self.w.offset(tile.base, thread, 1);
        let address = self.w.offset(address, Val::i32(immediate + further), 1);
        Ok(self.w.cast("ptrtoint", address, Ty::I32))
    }
}
