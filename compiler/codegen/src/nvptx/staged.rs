//! Tiles that stay in shared memory until something reads them: writing one from registers, and where its elements lie for a
//! thread.
//!
//! A thread's part of an offset is an XOR of constants, one for each set bit of its number; a constant coordinate adds to that.
//! Where the two share offset bits (those that a swizzle mixes), the shared part is XORed in once, at the head of the kernel;
//! what is left becomes the immediate offset of the instruction.

use kiln_ir::layout::{Coords, Hw, Layout, LinearLayout, register_vectors};
use kiln_ir::{Inst, Value};

use super::emit::{Emitter, Slot, from_memory, to_memory};
use super::error::{Result, internal};
use super::params::memory_type;
use super::spread::{Spread, Threads};
use super::text::Val;

/// Where an element lies: a thread's part (i32, bytes) that many accesses share, and an immediate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach {
    pub(super) thread: Val,
    pub(super) immediate: u32,
}

/// What the bits of a thread number add to a coordinate: five lane bits, then warp bits.
pub(super) type ThreadCoords = Vec<Coords>;

/// The coordinates of a layout's lane and warp bits.
pub(super) fn thread_coords(unit: &LinearLayout) -> ThreadCoords {
    let of = |hw: Hw| (0..unit.bits(hw)).map(move |bit| unit.basis(hw, bit));
    of(Hw::Lane).chain(of(Hw::Warp)).collect()
}

impl Emitter<'_> {
    /// The base of a tile in shared memory.
    pub(super) fn shared_base(&self, value: Value) -> Result<Val> {
        match self.slot(value) {
            Slot::Shared(base) => Ok(base),
            _ => Err(internal("a tile that is not in shared memory")),
        }
    }

    /// Where the element at `constant` plus the thread's coordinate lies in `layout`.
    pub(super) fn reach(&mut self, layout: &Layout, threads: &ThreadCoords, constant: &[u32], bytes: u32) -> Result<Reach> {
        let beyond = || internal(format!("{constant:?} is beyond {layout}"));
        let unit = layout.unit().extents();
        // Within the unit an offset is linear in the bits of the coordinate, as long as nothing carries.
        let fits = |coords: &Coords| {
            let mut dims = coords.iter().zip(&unit).zip(constant);
            dims.all(|((&own, &extent), &at)| own < extent && (at % extent) & own == 0)
        };
        if threads.iter().all(fits) {
            let columns: Vec<u32> =
                threads.iter().map(|c| layout.offset(c).map(|o| o * bytes)).collect::<Option<_>>().ok_or_else(beyond)?;
            let at = layout.offset(constant).ok_or_else(beyond)? * bytes;
            let mixed = columns.iter().fold(0, |mask, c| mask | c) & unit_mask(layout, bytes);
            let shared = at & mixed;
            let key = (columns, shared);
            let thread = match self.reached.get(&key) {
                Some(&known) => known,
                None => {
                    let own = self.threads.linear(&mut self.w, &key.0);
                    let thread = self.w.at_entry(|w| w.xor(own, Val::i32(shared)));
                    self.reached.insert(key, thread);
                    thread
                }
            };
            return Ok(Reach { thread, immediate: at - shared });
        }
        // The coordinate first, then its offset, bit by bit.
        let coords: Vec<Val> = (0..layout.rank())
            .map(|dim| {
                let columns: Vec<u32> = threads.iter().map(|c| c[dim]).collect();
                let own = self.threads.linear(&mut self.w, &columns);
                self.w.at_entry(|w| w.add_nsw(own, Val::i32(constant[dim])))
            })
            .collect();
        let offset = self.shared_offset(layout, &coords);
        let thread = self.w.mul_nsw(offset, Val::i32(bytes));
        Ok(Reach { thread, immediate: 0 })
    }

    /// The element offset (i32) of a coordinate in a shared layout.
    pub(super) fn shared_offset(&mut self, layout: &Layout, coords: &[Val]) -> Val {
        let unit = layout.unit();
        let (mut within, mut rep) = (Val::i32(0), Val::i32(0));
        for (dim, &at) in coords.iter().enumerate() {
            let bits = unit.dim_bits()[dim];
            let columns: Vec<u32> = (0..bits)
                .map(|bit| {
                    let mut one: Coords = smallvec::SmallVec::from_elem(0, layout.rank());
                    one[dim] = 1 << bit;
                    layout.offset(&one).expect("a unit holds its bits")
                })
                .collect();
            let part = Threads::linear_of(&mut self.w, at, &columns);
            within = self.w.xor(within, part);
            let reps = layout.reps()[dim];
            let scaled = self.w.mul_nsw(rep, Val::i32(reps));
            if reps > 1 {
                let number = self.w.lshr(at, u32::from(bits));
                rep = self.w.add_nsw(scaled, number);
            } else {
                rep = scaled;
            }
        }
        let start = self.w.shl(rep, u32::from(unit.bits(Hw::Offset)));
        self.w.add_nsw(start, within)
    }

    /// A conversion into shared memory: every owner stores, a barrier. What the layout pads is zero.
    pub(super) fn spill_staged(&mut self, inst: Inst, arg: Value, layout: &'static Layout) -> Result<()> {
        let ty = self.func.ty(arg);
        let (elem, shape) = (ty.elem(), self.shape(arg));
        let bytes = elem.bytes();
        let size = layout.offsets() * bytes;
        let base = self.own_scratch(size);
        if layout.physical().as_slice() != shape.as_slice() {
            self.clear_shared(base, size);
            self.barrier();
        }
        let spread = self.spread_of(ty).ok_or_else(|| internal("a scalar in shared memory"))?;
        let source = spread.layout;
        // A vector is a run along the dimension that runs through memory, within 16 bytes and within the tile.
        let fast = fast_dimension(layout);
        let mut run = source.unit().register_run(fast);
        run.truncate((16 / bytes).min(1 << shape[fast].trailing_zeros()).trailing_zeros() as usize);
        let free = source.unit().free(Hw::Register);
        let run = if run.iter().any(|&bit| free >> bit & 1 == 1) { Default::default() } else { run };
        let regs = self.regs(arg);
        let threads = thread_coords(source.unit());
        for vector in register_vectors(source, &run) {
            if vector[0] & free != 0 {
                continue;
            }
            let predicate = self.owns(&spread, vector[0], &shape);
            let beyond = spread.registers[vector[0] as usize].iter().zip(&layout.physical()).any(|(c, p)| c >= p);
            if beyond {
                continue;
            }
            let address = self.staged_address(base, layout, &spread, &threads, vector[0], bytes)?;
            let values: Vec<Val> = vector.iter().map(|&r| to_memory(&mut self.w, regs[r as usize], elem)).collect();
            self.store_vector(address, &values, predicate, Self::no_hints());
        }
        self.publish();
        self.barrier();
        self.set(self.func.result(inst), Slot::Shared(base));
        Ok(())
    }

    /// The tile of type `ring` at `base` into the registers of an instruction's result, as vectors where they lie so.
    pub(super) fn load_staged(&mut self, inst: Inst, base: Val, ring: Value) -> Result<()> {
        let result = self.func.result(inst);
        let (ty, from) = (self.func.ty(result), self.func.ty(ring));
        let (elem, bytes) = (ty.elem(), ty.elem().bytes());
        let layout = from.layout().ok_or_else(|| internal("a ring without a layout"))?.layout();
        let spread = self.spread_of(ty).ok_or_else(|| internal("a scalar in a ring"))?;
        let source = spread.layout;
        if source.physical() != layout.physical() {
            return Err(internal(format!("a slot {layout} read as {source}")));
        }
        let fast = fast_dimension(layout);
        let mut run = source.unit().register_run(fast);
        run.truncate((16 / bytes).min(1 << layout.physical()[fast].trailing_zeros()).trailing_zeros() as usize);
        let free = source.unit().free(Hw::Register);
        let run = if run.iter().any(|&bit| free >> bit & 1 == 1) { Default::default() } else { run };
        let memory = memory_type(elem);
        let mut regs = vec![Val::zero(memory); spread.registers.len()];
        let threads = thread_coords(source.unit());
        for vector in register_vectors(source, &run).into_iter().filter(|vector| vector[0] & free == 0) {
            let address = self.staged_address(base, layout, &spread, &threads, vector[0], bytes)?;
            let fill = vec![Val::zero(memory); vector.len()];
            let loaded = self.load_vector(address, &fill, Val::bool(true), Self::no_hints());
            for (&register, value) in vector.iter().zip(loaded) {
                regs[register as usize] = value;
            }
        }
        // Copies of an element in one thread.
        let regs = (0..regs.len()).map(|register| from_memory(&mut self.w, regs[register & !(free as usize)], elem, self.index));
        let regs = regs.collect();
        self.define(inst, regs);
        Ok(())
    }

    /// Where the element of a register lies in a tile in shared memory at `base`.
    fn staged_address(
        &mut self,
        base: Val,
        layout: &Layout,
        spread: &Spread,
        threads: &ThreadCoords,
        register: u32,
        bytes: u32,
    ) -> Result<Val> {
        if spread.layout.registers_add() && self.threads_fit(layout, threads) {
            let reach = self.reach(layout, threads, &spread.registers[register as usize], bytes)?;
            let address = self.w.offset(base, reach.thread, 1);
            return Ok(self.w.offset(address, Val::i32(reach.immediate), 1));
        }
        let coords: Vec<Val> = (0..layout.rank()).map(|d| self.coord(spread, register, d)).collect();
        let at = self.shared_offset(layout, &coords);
        Ok(self.w.offset(base, at, bytes))
    }

    /// Where a tile in shared memory lies: the base, known at the head of the kernel, and for a slot of a ring its number and bytes.
    pub(super) fn staged_at(&self, value: Value) -> Result<(Val, Option<(Val, u32)>)> {
        match self.slots_read.get(&value) {
            Some(&(base, slot, bytes)) => Ok((base, Some((slot, bytes)))),
            None => Ok((self.shared_base(value)?, None)),
        }
    }

    /// Every thread coordinate is within the layout's unit.
    fn threads_fit(&self, layout: &Layout, threads: &ThreadCoords) -> bool {
        let unit = layout.unit().extents();
        threads.iter().all(|c| c.iter().zip(&unit).all(|(own, extent)| own < extent))
    }

    /// Writes zeros over `bytes` (a multiple of 16) of shared memory.
    pub(super) fn clear_shared(&mut self, base: Val, bytes: u32) {
        let threads = 32 * self.threads.warps;
        let zeros = [Val::i32(0); 4];
        let tid = self.threads.tid;
        for first in (0..bytes / 16).step_by(threads as usize) {
            let at = self.w.add_nsw(tid, Val::i32(first));
            let inside =
                if first + threads <= bytes / 16 { Val::bool(true) } else { self.w.icmp("ult", at, Val::i32(bytes / 16)) };
            let address = self.w.offset(base, at, 16);
            self.store_vector(address, &zeros, inside, Self::no_hints());
        }
    }
}

/// The dimension of a shared layout that runs through memory.
fn fast_dimension(layout: &Layout) -> usize {
    (0..layout.rank()).find(|&d| layout.offset(&unit_vector(layout.rank(), d)) == Some(1)).unwrap_or(layout.rank() - 1)
}

/// Bits of a byte offset within the layout's unit.
fn unit_mask(layout: &Layout, bytes: u32) -> u32 {
    (bytes << layout.unit().bits(Hw::Offset)) - 1
}

/// The coordinate 1 along `dim`.
pub(super) fn unit_vector(rank: usize, dim: usize) -> Coords {
    let mut coords: Coords = smallvec::SmallVec::from_elem(0, rank);
    coords[dim] = 1;
    coords
}
