//! Rings of tiles in shared memory: asynchronous copies of 16, 8 or 4 bytes with zero fill, their groups, and the waits.
//!
//! What cannot be copied so (elements that are not side by side, or narrower than 4 bytes together) is loaded and stored by the
//! thread, into the same place; the barrier of the wait makes it visible just so.

use kiln_ir::layout::register_vectors;
use kiln_ir::ops::{CacheOp, Evict};
use kiln_ir::{Inst, InstData, Shape, Value};
use rustc_hash::FxHashSet;

use super::address::Tile;
use super::emit::{Emitter, Slot};
use super::error::{Result, internal};
use super::packed::Hints;
use super::params::memory_type;
use super::staged::{Reach, thread_coords};
use super::text::{Asm, Ty, Val};

impl Emitter<'_> {
    pub(super) fn ring_new(&mut self, inst: Inst, slots: u32) -> Result<()> {
        let ring = self.func.result(inst);
        let bytes = slots * self.slot_bytes(ring)?;
        let last = self.last_use(inst);
        let base = self.ring_space(bytes, last);
        self.set(ring, Slot::Shared(base));
        Ok(())
    }

    fn slot_bytes(&self, ring: Value) -> Result<u32> {
        let ty = self.func.ty(ring);
        let layout = ty.layout().ok_or_else(|| internal("a ring without a layout"))?.layout();
        Ok(layout.offsets() * ty.elem().bytes())
    }

    /// The last instruction of a ring's block that uses it, or a tile read from it; a product of warpgroups reads tiles until somebody waits for it.
    fn last_use(&self, new: Inst) -> Inst {
        let func = self.func;
        let mut related: FxHashSet<Value> = FxHashSet::default();
        related.insert(func.result(new));
        let mut last = new;
        let mut block = func.body;
        func.walk(|b, inst| {
            if inst == new {
                block = b;
            }
        });
        for &inst in &func.blocks[block].insts {
            if self.mentions(inst, &mut related) {
                last = inst;
            }
        }
        last
    }

    fn mentions(&self, inst: Inst, related: &mut FxHashSet<Value>) -> bool {
        let func = self.func;
        let data = &func.insts[inst];
        let mut found = data.operands().iter().any(|v| related.contains(v));
        // What a product adds to is no tile.
        found &= !matches!(data, InstData::DotStart { a, b, .. } if !related.contains(a) && !related.contains(b));
        if found && matches!(data, InstData::RingRead { .. } | InstData::Permute { .. } | InstData::DotStart { .. }) {
            related.insert(func.result(inst));
        }
        for block in data.blocks() {
            for &inner in &func.blocks[block].insts {
                found |= self.mentions(inner, related);
            }
        }
        found
    }

    /// The address of a slot.
    pub(super) fn slot_base(&mut self, ring: Value, slot: Value) -> Result<Val> {
        let (base, bytes) = (self.shared_base(ring)?, self.slot_bytes(ring)?);
        let number = self.scalar(slot);
        let distance = self.w.mul_nsw(number, Val::i32(bytes));
        Ok(self.w.offset(base, distance, 1))
    }

    pub(super) fn ring_read(&mut self, inst: Inst, ring: Value, slot: Value) -> Result<()> {
        let base = self.slot_base(ring, slot)?;
        let result = self.func.result(inst);
        if self.func.ty(result) != self.func.ty(ring) {
            return self.load_staged(inst, base, ring);
        }
        self.set(result, Slot::Shared(base));
        self.slots_read.insert(result, (self.shared_base(ring)?, self.scalar(slot), self.slot_bytes(ring)?));
        Ok(())
    }

    pub(super) fn ring_commit(&mut self) {
        self.w.asm(&[], Asm::Memory, "cp.async.commit_group;", "", &[]);
    }

    pub(super) fn ring_wait(&mut self, pending: u32) {
        self.w.asm(&[], Asm::Memory, &format!("cp.async.wait_group {pending};"), "", &[]);
        self.publish();
        self.barrier();
    }

    pub(super) fn ring_fill(&mut self, inst: Inst) -> Result<()> {
        let InstData::RingFill { place, mask, ring, slot, enable, layout } = &self.func.insts[inst] else {
            unreachable!("called for fills")
        };
        let source = layout.ok_or_else(|| internal("a fill without a layout"))?;
        let ty = self.func.ty(*ring);
        let (elem, bytes) = (ty.elem(), ty.elem().bytes());
        let room = ty.layout().ok_or_else(|| internal("a ring without a layout"))?.layout();
        let base = self.slot_base(*ring, *slot)?;
        let enable = enable.map_or(Val::bool(true), |v| self.scalar(v));
        let access = kiln_passes::gpu::access_of(self.func, &self.facts, inst).ok_or_else(|| internal("a fill is an access"))?;
        let spread = self.threads.spread(&mut self.w, source);
        let vectors = register_vectors(source.layout(), &access.vector(source.layout()));
        let tile = Tile { spread: Some(spread.clone()), shape: Shape::from_slice(ty.shape()), vectors };
        let mut addresses = self.addresses(place, *mask, &tile)?;
        let threads = thread_coords(source.layout().unit());
        let physical = room.physical();
        let free = source.layout().unit().free(kiln_ir::layout::Hw::Register);
        let mut by_hand: Vec<(Val, Vec<Val>, Val)> = Vec::new();
        for vector in &tile.vectors {
            let first = vector[0];
            let own = &spread.registers[first as usize];
            if first & free != 0 || own.iter().zip(&physical).any(|(c, p)| c >= p) {
                continue;
            }
            let inside = spread.inside(&mut self.w, first, &physical);
            let mut runs = self.w.and(enable, inside);
            if let Some(owner) = spread.owner() {
                runs = self.w.and(runs, owner);
            }
            let to = if source.layout().registers_add() {
                let Reach { thread, immediate } = self.reach(room, &threads, own, bytes)?;
                let start = self.w.offset(base, thread, 1);
                self.w.offset(start, Val::i32(immediate), 1)
            } else {
                let coords: Vec<Val> = (0..room.rank()).map(|d| self.coord(&spread, first, d)).collect();
                let at = self.shared_offset(room, &coords);
                self.w.offset(base, at, bytes)
            };
            let from = self.address(&mut addresses, &tile, first)?;
            let valid = self.predicate(&mut addresses, &tile, first, false)?;
            let width = vector.len() as u32 * bytes;
            if width < 4 {
                let loads = self.w.and(valid, runs);
                let zeros = vec![Val::zero(memory_type(elem)); vector.len()];
                let hints = Hints { cache: CacheOp::Default, evict: Evict::Normal, constant: self.is_constant(place) };
                let values = self.load_vector(from, &zeros, loads, hints);
                by_hand.push((to, values, runs));
                continue;
            }
            self.copy_async(to, from, width, valid, runs);
        }
        // All loads are under way before the first store waits for one.
        for (to, values, runs) in by_hand {
            self.store_vector(to, &values, runs, Self::no_hints());
        }
        Ok(())
    }

    /// Copies `width` bytes where `runs`; zeros where not `valid`.
    fn copy_async(&mut self, to: Val, from: Val, width: u32, valid: Val, runs: Val) {
        let (mut args, mut constraints) = (vec![to, from], String::from("r,l"));
        let mut size = String::new();
        if !valid.is_true() {
            let bytes = self.w.select(valid, Val::i32(width), Val::int(Ty::I32, 0));
            size = format!(", ${}", args.len());
            args.push(bytes);
            constraints.push_str(",r");
        }
        let mut guard = String::new();
        if !runs.is_true() {
            guard = format!("@${} ", args.len());
            args.push(runs);
            constraints.push_str(",b");
        }
        let cache = if width == 16 { "cg" } else { "ca" };
        let text = format!("{guard}cp.async.{cache}.shared.global [$0], [$1], {width}{size};");
        self.w.asm(&[], Asm::Memory, &text, &constraints, &args);
    }
}
