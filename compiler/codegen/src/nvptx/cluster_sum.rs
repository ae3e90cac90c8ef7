//! `cluster_sum`: the thread blocks of a cluster add up what their threads hold, through shared memory that they read of each other (PTX ISA, "mapa",
//! "barrier.cluster").
//!
//! Threads of one number hold the same elements in every block. Each writes its registers into its block's memory, in pieces of up to 16 bytes with threads side by
//! side. Then block `r` adds up pieces `r`, `r + n`, .. of all `n` blocks, in the order of their ranks, and leaves the sums where its own pieces were, and
//! the first block fetches them: no block reads more than twice what it holds, however many there are. Barriers of the cluster stand between these steps, and behind
//! the last one, as memory is gone with its block. A producer's warp has nothing to add, and comes to them when its copies are under way.

use std::ops::Range;

use kiln_ir::ops::BinaryOp;
use kiln_ir::{Inst, ScalarType, Value};

use super::emit::Emitter;
use super::error::{Result, internal};
use super::text::{Asm, Ty, Val};

/// Bytes of the widest access of a thread.
const WIDEST: u32 = 16;
/// Registers that are fetched before the first of them is added.
const FETCHED: u32 = 64;

/// What the threads of a block hold, in shared memory.
struct Pieces {
    elem: ScalarType,
    ty: Ty,
    /// Elements of a thread's piece.
    width: u32,
    /// Pieces of a thread.
    count: u32,
    /// Bytes from one piece of a thread to its next one.
    stride: u32,
    /// Blocks of the cluster.
    blocks: u32,
    /// This block's rank (i32).
    rank: Val,
    /// This thread's first piece.
    own: Val,
    /// By rank of the block, the piece of its thread of this number that is the first one this block adds up, as addresses of the cluster's memory (i32).
    first: Vec<Val>,
}

impl Emitter<'_> {
    pub(super) fn cluster_sum(&mut self, inst: Inst, arg: Value) -> Result<()> {
        let blocks = self.func.schedule.split().ok_or_else(|| internal("a sum over a cluster that shares no program"))?;
        let elem = self.func.ty(arg).elem().scalar().filter(|elem| matches!(elem.bytes(), 4 | 8));
        let elem = elem.ok_or_else(|| internal("a sum over a cluster of other than 32 or 64 bits"))?;
        let regs = self.regs(arg);
        let (registers, ty) = (regs.len() as u32, regs[0].ty);
        let bytes = elem.bytes();
        let width = [WIDEST / bytes, 2, 1].into_iter().find(|&w| registers.is_multiple_of(w)).unwrap_or(1);
        let (count, stride) = (registers / width, 32 * self.threads.warps * width * bytes);
        let memory = self.scratch_in_rings(inst, count * stride);
        let own = self.w.offset(memory, self.threads.tid, width * bytes);
        for (number, piece) in regs.chunks(width as usize).enumerate() {
            let at = self.w.offset(own, Val::i32(number as u32 * stride), 1);
            self.store_vector(at, piece, Val::bool(true), Self::no_hints());
        }
        let rank = self.special("cluster.ctarank", i64::from(blocks));
        let rank = self.w.resize_signed(rank, Ty::I32);
        let here = self.w.cast("ptrtoint", own, Ty::I32);
        let ahead = self.w.mul_nsw(rank, Val::i32(stride));
        let here = self.w.add(here, ahead);
        let there = |e: &mut Self, block: u32| {
            e.w.asm(&[Ty::I32], Asm::Pure, "mapa.shared::cluster.u32 $0, $1, $2;", "=r,r,r", &[here, Val::i32(block)])[0]
        };
        let first = (0..blocks).map(|block| there(self, block)).collect();
        let pieces = Pieces { elem, ty, width, count, stride, blocks, rank, own, first };
        self.cluster_sync();
        self.add_pieces(&pieces);
        self.cluster_sync();
        let sums = self.fetch_sums(&pieces);
        self.cluster_sync();
        self.define(inst, sums);
        Ok(())
    }

    /// Every thread of the cluster comes here, a producer's warp as often as the others (see `split_roles`).
    fn cluster_sync(&mut self) {
        self.cluster_barrier();
        self.cluster_syncs += 1;
        self.scratch.passed();
        self.order.clear();
    }

    /// This block's share of the pieces.
    fn add_pieces(&mut self, pieces: &Pieces) {
        let Pieces { width, count, blocks, rank, .. } = *pieces;
        let (each, left) = (count / blocks, count % blocks);
        let at_once = (FETCHED / (width * blocks)).max(1);
        for start in (0..each).step_by(at_once as usize) {
            self.add_some(pieces, start..(start + at_once).min(each));
        }
        if left > 0 {
            let (adds, end) = (self.w.new_label(), self.w.new_label());
            let has_one = self.w.icmp("ult", rank, Val::i32(left));
            self.w.branch(has_one, adds, end);
            self.w.start(adds);
            self.add_some(pieces, each..each + 1);
            self.w.jump(end);
            self.w.start(end);
        }
    }

    fn add_some(&mut self, pieces: &Pieces, numbers: Range<u32>) {
        let Pieces { elem, stride, blocks, rank, own, .. } = *pieces;
        let mut fetched: Vec<Vec<Vec<Val>>> = Vec::new();
        for number in numbers.clone() {
            fetched.push((0..blocks).map(|block| self.fetch_piece(pieces, block, number * blocks)).collect());
        }
        let ahead = self.w.mul_nsw(rank, Val::i32(stride));
        let mine = self.w.offset(own, ahead, 1);
        for (number, of_blocks) in numbers.zip(fetched) {
            let mut of_blocks = of_blocks.into_iter();
            let mut sums = of_blocks.next().unwrap_or_default();
            for more in of_blocks {
                sums = sums.into_iter().zip(more).map(|(sum, v)| self.binary_one(BinaryOp::Add, elem, sum, v)).collect();
            }
            let at = self.w.offset(mine, Val::i32(number * blocks * stride), 1);
            self.store_vector(at, &sums, Val::bool(true), Self::no_hints());
        }
    }

    /// All sums, in the first block; zeros in the others, which need none.
    fn fetch_sums(&mut self, pieces: &Pieces) -> Vec<Val> {
        let (fetch, end) = (self.w.new_label(), self.w.new_label());
        let is_first = self.w.icmp("eq", pieces.rank, Val::i32(0));
        let before = self.w.current();
        self.w.branch(is_first, fetch, end);
        self.w.start(fetch);
        let sums: Vec<Val> =
            (0..pieces.count).flat_map(|number| self.fetch_piece(pieces, number % pieces.blocks, number)).collect();
        let from = self.w.current();
        self.w.jump(end);
        self.w.start(end);
        sums.into_iter().map(|sum| self.w.phi(pieces.ty, &[(sum, from), (Val::zero(pieces.ty), before)])).collect()
    }

    /// A piece of another block, or this one, so many behind the first one.
    fn fetch_piece(&mut self, pieces: &Pieces, block: u32, further: u32) -> Vec<Val> {
        let (kind, constraint) = match pieces.ty {
            Ty::F32 => ("f32", "=f"),
            Ty::F64 => ("f64", "=d"),
            Ty::I64 => ("b64", "=l"),
            _ => ("b32", "=r"),
        };
        let width = pieces.width as usize;
        let names: Vec<String> = (0..width).map(|i| format!("${i}")).collect();
        let (vector, list) = match width {
            1 => (String::new(), names[0].clone()),
            _ => (format!(".v{width}"), format!("{{{}}}", names.join(", "))),
        };
        let text = format!("ld.shared::cluster{vector}.{kind} {list}, [${width}+{}];", further * pieces.stride);
        let constraints = format!("{},r", vec![constraint; width].join(","));
        self.w.asm(&vec![pieces.ty; width], Asm::Memory, &text, &constraints, &[pieces.first[block as usize]])
    }
}
