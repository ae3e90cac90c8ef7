//! A producer and consumers: barriers in memory (PTX ISA, "mbarrier"), tensor copies, and the branch between the roles.
//!
//! The producer is one lane of the last warp. Barriers are made by one thread, and every thread passes a barrier of the block before it takes its role; from
//! there on consumers have a barrier of their own. Waiting is a loop of LLVM's, so that the compiler sees its branch.

use kiln_ir::artifact::{PtxParam, TensorMap};
use kiln_ir::{Block, Inst, InstData, Place, SliceIndex, Value, ViewAccess};
use kiln_passes::gpu::{BoxStart, TensorBoxes, shared_boxes, tensor_boxes};

use super::emit::{Emitter, Slot};
use super::error::{Result, internal};
use super::text::{Asm, Ty, Val};

/// Starts of boxes: the least is below any tile, the greatest beyond the end of every tensor that fits in 32 bits (see `kiln_ir::signature`).
const COORDINATES: std::ops::Range<i64> = -(1 << 30)..i32::MAX as i64 - (1 << 16);
/// Bytes of a barrier in memory.
const BARRIER: u32 = 8;

impl Emitter<'_> {
    pub(super) fn barrier_new(&mut self, inst: Inst, count: u32, arrivals: u32) {
        let base = self.own_scratch(BARRIER * count);
        let first = self.w.icmp("eq", self.threads.in_block, Val::i32(0));
        let (init, done) = (self.w.new_label(), self.w.new_label());
        self.w.branch(first, init, done);
        self.w.start(init);
        for number in 0..count {
            let barrier = self.w.offset(base, Val::i32(number), BARRIER);
            self.w.call_void("llvm.nvvm.mbarrier.init.shared", &[barrier, Val::i32(arrivals)]);
        }
        self.w.jump(done);
        self.w.start(done);
        self.set(self.func.result(inst), Slot::Shared(base));
    }

    fn barrier_of(&mut self, barrier: Value, slot: Value) -> Result<Val> {
        let (base, number) = (self.shared_base(barrier)?, self.scalar(slot));
        Ok(self.w.offset(base, number, BARRIER))
    }

    pub(super) fn barrier_expect(&mut self, barrier: Value, slot: Value, bytes: u32) -> Result<()> {
        let barrier = self.barrier_of(barrier, slot)?;
        let text = format!("mbarrier.arrive.expect_tx.shared.b64 _, [$0], {bytes};");
        self.w.asm(&[], Asm::Memory, &text, "r", &[barrier]);
        Ok(())
    }

    /// The first lane of every warp arrives for it; in a cluster, the first lane at the first block's barrier, the second at the other one's.
    pub(super) fn barrier_arrive(&mut self, barrier: Value, slot: Value, enable: Option<Value>, cluster: bool) -> Result<()> {
        let lane = self.threads.lane(&mut self.w);
        let blocks = if cluster { 2 } else { 1 };
        let first = self.w.at_entry(|w| w.icmp("ult", lane, Val::i32(blocks)));
        let enable = enable.map_or(Val::bool(true), |v| self.scalar(v));
        let arrives = self.w.and(first, enable);
        if cluster {
            let (there, number) = (self.in_block_of_lane(barrier)?, self.scalar(slot));
            let distance = self.w.mul_nsw(number, Val::i32(BARRIER));
            let there = self.w.add(there, distance);
            self.w.asm(&[], Asm::Memory, "@$1 mbarrier.arrive.shared::cluster.b64 _, [$0];", "r,b", &[there, arrives]);
            return Ok(());
        }
        let barrier = self.barrier_of(barrier, slot)?;
        self.w.asm(&[], Asm::Memory, "@$1 mbarrier.arrive.shared.b64 _, [$0];", "r,b", &[barrier, arrives]);
        Ok(())
    }

    /// Where barriers of this block lie in the block of the cluster that has the number of this lane (its lowest bit), as an address of the cluster's memory (i32).
    fn in_block_of_lane(&mut self, barrier: Value) -> Result<Val> {
        let base = self.shared_base(barrier)?;
        if let Some(&known) = self.remote_barriers.get(&base) {
            return Ok(known);
        }
        let lane = self.threads.lane(&mut self.w);
        let there = self.w.at_entry(|w| {
            let block = w.and(lane, Val::i32(1));
            let here = w.cast("ptrtoint", base, Ty::I32);
            w.asm(&[Ty::I32], Asm::Pure, "mapa.shared::cluster.u32 $0, $1, $2;", "=r,r,r", &[here, block])[0]
        });
        self.remote_barriers.insert(base, there);
        Ok(there)
    }

    pub(super) fn barrier_wait(&mut self, barrier: Value, slot: Value, phase: Value) -> Result<()> {
        let barrier = self.barrier_of(barrier, slot)?;
        let phase = self.scalar(phase);
        let (spin, go) = (self.w.new_label(), self.w.new_label());
        self.w.jump(spin);
        self.w.start(spin);
        let name = "llvm.nvvm.mbarrier.try.wait.parity.scope.cta.space.cta";
        let done = self.w.call(Ty::I1, name, &[barrier, phase]);
        self.w.branch(done, go, spin);
        self.w.start(go);
        Ok(())
    }

    /// A wait for what has been waited for before keeps what is computed before it from what is waited for behind it. ptxas moves nothing over a fence, which is one
    /// instruction and has nothing to wait for.
    pub(super) fn barrier_passed(&mut self) {
        self.w.asm(&[], Asm::Memory, "membar.cta;", "", &[]);
    }

    pub(super) fn tma_fill(
        &mut self,
        place: &Place,
        ring: Value,
        slot: Value,
        barrier: Value,
        share: Option<Value>,
        tf32: bool,
    ) -> Result<()> {
        let ty = self.func.ty(ring);
        let no_box = || internal("a tensor copy of what is no box");
        let boxes = match share {
            None => tensor_boxes(self.func, place, ty),
            Some(_) => shared_boxes(self.func, place, ty),
        };
        let boxes = boxes.ok_or_else(no_box)?;
        let rank = share.map(|rank| {
            let rank = self.scalar(rank);
            self.w.resize_signed(rank, Ty::I32)
        });
        // What this block's boxes start and lie further than the first block's.
        let (further, distance) = match (rank, boxes.half) {
            (Some(rank), Some((at, distance))) => {
                (at.map(|v| self.w.mul_nsw(rank, Val::i32(v))), self.w.mul_nsw(rank, Val::i32(distance * ty.elem().bytes())))
            }
            _ => ([Val::i32(0); 2], Val::i32(0)),
        };
        let Place::View(access) = place else { return Err(no_box()) };
        let starts = self.box_starts(access, &boxes);
        let map = TensorMap { tf32, ..tensor_map(&boxes, ty.elem().scalar().ok_or_else(no_box)?) };
        let map = self.params.value(PtxParam::TensorMap(map));
        let barrier = self.barrier_of(barrier, slot)?;
        let base = self.slot_base(ring, slot)?;
        for (at, offset) in &boxes.boxes {
            let to = self.w.offset(base, Val::i32(offset * ty.elem().bytes()), 1);
            let to = self.w.offset(to, distance, 1);
            let to = self.w.cast("ptrtoint", to, Ty::I32);
            let to = self.w.cast("inttoptr", to, Ty::Cluster);
            let mut args = vec![to, barrier, map];
            for (number, &start) in starts.iter().enumerate() {
                let (in_tile, of_block) = match number {
                    0 => (at[boxes.fast], further[boxes.fast]),
                    1 => (at[1 - boxes.fast], further[1 - boxes.fast]),
                    _ => (0, Val::i32(0)),
                };
                let start = self.w.add_nsw(start, of_block);
                args.push(self.w.add_nsw(start, Val::i32(in_tile)));
            }
            // The blocks that it is for, and no cache hint.
            let both = if rank.is_some() { 3 } else { 0 };
            args.extend([
                Val::int(Ty::I16, both),
                Val::int(Ty::I64, 0),
                Val::bool(rank.is_some()),
                Val::bool(false),
                Val::i32(0),
            ]);
            self.w.call_void(&format!("llvm.nvvm.cp.async.bulk.tensor.g2s.tile.{}d", boxes.dims.len()), &args);
        }
        Ok(())
    }

    /// Where the first box of an access starts, along each dimension of its map.
    pub(super) fn box_starts(&mut self, access: &ViewAccess, boxes: &TensorBoxes) -> Vec<Val> {
        // What is in front of a part in its own dimension of the map, and where the part ends.
        let part = boxes.part.map(|part| {
            let tensor = self.func.param_values()[boxes.param as usize];
            let extent = self.view_regs(tensor).dims[usize::from(boxes.dims[part.dim].0)];
            let (lo, length) = self.part(part.lo, part.hi, extent);
            (part.dim, self.w.sub(extent, length), self.w.add(lo, length))
        });
        let mut starts = Vec::with_capacity(boxes.dims.len());
        for (number, &(_, start)) in boxes.dims.iter().enumerate() {
            let mut at = match (start, part) {
                (BoxStart::Access(dim), _) => match access.index[usize::from(dim)] {
                    SliceIndex::At(at) | SliceIndex::Span { start: at, .. } | SliceIndex::Gather(at) => self.scalar(at),
                },
                (BoxStart::Index(at), _) => self.scalar(at),
                (BoxStart::End, Some((.., end))) => end,
                (BoxStart::End, None) => unreachable!("only a part ends"),
            };
            if let Some((_, before, _)) = part.filter(|part| part.0 == number) {
                at = self.w.resize_signed(at, before.ty);
                at = self.w.add(at, before);
            }
            starts.push(self.coordinate(at));
        }
        starts
    }

    /// The start of a box, as 32 bits. One that does not fit saturates: it is as far outside of the tensor as it was, with room for what is added for
    /// further boxes of the tile.
    fn coordinate(&mut self, start: Val) -> Val {
        if start.ty != Ty::I64 {
            return self.w.resize_signed(start, Ty::I32);
        }
        let start = self.w.call(Ty::I64, "llvm.smax.i64", &[start, Val::int(Ty::I64, COORDINATES.start)]);
        let start = self.w.call(Ty::I64, "llvm.smin.i64", &[start, Val::int(Ty::I64, COORDINATES.end)]);
        self.w.resize_signed(start, Ty::I32)
    }

    /// All barriers are there; from here on each warp has a role.
    pub(super) fn is_producer(&mut self, inst: Inst) {
        self.w.asm(&[], Asm::Memory, "fence.mbarrier_init.release.cluster;", "", &[]);
        if self.in_cluster() {
            self.cluster_barrier()
        } else {
            self.barrier()
        }
        let behind = Val::i32(32 * self.threads.consumers());
        let tid = self.threads.in_block;
        let last = self.w.icmp("uge", tid, behind);
        self.define(inst, vec![last]);
    }

    /// The branch on `is_producer`: one lane of the last warp takes `then`, the other warps `otherwise`.
    pub(super) fn split_roles(&mut self, last_warp: Val, then: Block, otherwise: Block) -> Result<()> {
        let [warp, lane, others, end] = [(); 4].map(|()| self.w.new_label());
        // Behind the copies: warps that hold no tiles come to the barriers of the cluster that the consumers have.
        let started = if self.func.schedule.split().is_some() { self.w.new_label() } else { end };
        self.w.branch(last_warp, warp, others);
        self.w.start(warp);
        if let Some(registers) = self.registers {
            let fewer = format!("setmaxnreg.dec.sync.aligned.u32 {};", registers.producer);
            self.w.asm(&[], Asm::Warp, &fewer, "", &[]);
            // The other warps of its warpgroup are there for their registers.
            let first = self.w.icmp("ult", self.threads.in_block, Val::i32(32 * (self.threads.consumers() + 1)));
            let alone = self.w.new_label();
            self.w.branch(first, alone, started);
            self.w.start(alone);
        }
        let elected = self.w.asm(&[Ty::I1], Asm::Warp, "elect.sync _|$0, -1;", "=b", &[])[0];
        self.w.branch(elected, lane, started);
        self.w.start(lane);
        let order = self.order.clone();
        self.block(then)?;
        self.order = order;
        self.w.jump(started);
        self.w.start(others);
        if let Some(registers) = self.registers {
            let more = format!("setmaxnreg.inc.sync.aligned.u32 {};", registers.consumer);
            self.w.asm(&[], Asm::Warp, &more, "", &[]);
        }
        self.consumers = true;
        self.first_turn();
        self.block(otherwise)?;
        self.last_turn();
        self.w.jump(end);
        if started != end {
            self.w.start(started);
            self.w.call_void("llvm.nvvm.bar.warp.sync", &[Val::int(Ty::I32, -1)]);
            for _ in 0..self.cluster_syncs {
                self.cluster_barrier();
            }
            self.w.jump(end);
        }
        self.w.start(end);
        if self.in_cluster() {
            // The other block may still arrive at barriers here.
            self.cluster_barrier();
        }
        Ok(())
    }

    /// Thread blocks run in clusters of two, each with a program of its own.
    fn in_cluster(&self) -> bool {
        self.func.schedule.pairs().is_some()
    }

    /// Waits for every thread of all blocks of the cluster.
    pub(super) fn cluster_barrier(&mut self) {
        self.w.call_void("llvm.nvvm.barrier.cluster.arrive", &[]);
        self.w.call_void("llvm.nvvm.barrier.cluster.wait", &[]);
    }

    /// Whether a condition is the choice of a role.
    pub(super) fn is_role(&self, cond: Value) -> bool {
        matches!(self.func.def_data(cond), Some(InstData::IsProducer))
    }
}

/// The map of a copy.
pub(super) fn tensor_map(boxes: &TensorBoxes, elem: kiln_ir::ScalarType) -> TensorMap {
    let (param, rank, swizzle) = (boxes.param, boxes.dims.len() as u8, boxes.swizzle);
    let mut map = TensorMap { param, elem, rank, axes: [0; 5], tile: [0; 5], swizzle, tf32: false };
    for (number, (&(axis, _), &extent)) in boxes.dims.iter().zip(&boxes.tile).enumerate() {
        (map.axes[number], map.tile[number]) = (axis, extent);
    }
    map
}
