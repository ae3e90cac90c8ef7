//! `ConvertLayout`: carries out the plan of `kiln_ir::layout::plan`.

use kiln_ir::layout::{Conversion, Hw, Layout, SharedBuffer, SharedMove, Shuffles, plan};
use kiln_ir::{Inst, Value};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::emit::{Emitter, from_memory, to_memory};
use super::error::{Result, internal};
use super::params::memory_type;
use super::text::{Ty, Val};

/// Registers of one vector, by element, under their repetition and offset.
type Group = ((u32, u32), SmallVec<[u32; 8]>);

impl Emitter<'_> {
    pub(super) fn convert_layout(&mut self, inst: Inst, arg: Value) -> Result<()> {
        let (from, to) = (self.func.ty(arg), self.func.ty(self.func.result(inst)));
        let (Some(source), Some(target)) = (from.layout(), to.layout()) else {
            return Err(internal("a conversion between tiles without layouts"));
        };
        if target.layout().is_shared() {
            return self.spill_staged(inst, arg, target.layout());
        }
        let regs = self.regs(arg);
        let moved = match plan(source.layout(), target.layout(), from.elem().bytes()) {
            Conversion::Registers(moves) => {
                let undefined = Val::zero(regs[0].ty);
                moves.iter().map(|m| m.map_or(undefined, |r| regs[r as usize])).collect()
            }
            Conversion::Shuffles(shuffles) => self.shuffled(&regs, &shuffles),
            Conversion::Shared(SharedMove { buffer: SharedBuffer::RowMajor(extents), bytes, .. }) => {
                return self.through_rows(inst, arg, &extents, bytes);
            }
            Conversion::Shared(SharedMove { buffer: SharedBuffer::Swizzled(buffer), bytes, vector, .. }) => {
                let elem = from.elem();
                let memory: Vec<Val> = regs.iter().map(|&v| to_memory(&mut self.w, v, elem)).collect();
                let base = self.scratch(bytes);
                self.store_swizzled(base, source.layout(), &buffer, vector, &memory);
                self.barrier();
                let raw = self.load_swizzled(base, target.layout(), &buffer, vector, memory_type(elem));
                raw.into_iter().map(|v| from_memory(&mut self.w, v, elem, self.index)).collect()
            }
        };
        self.define(inst, moved);
        Ok(())
    }

    fn shuffled(&mut self, regs: &[Val], shuffles: &Shuffles) -> Vec<Val> {
        let columns = |cols: &[u64]| cols.iter().map(|&c| c as u32).collect::<Vec<_>>();
        let source_lane = self.threads.linear(&mut self.w, &columns(shuffles.lanes.cols()));
        let wanted = self.threads.linear(&mut self.w, &columns(shuffles.registers.cols()));
        (0..shuffles.moves.len())
            .map(|r| {
                let step = shuffles.moves[r];
                let lane = self.w.xor(source_lane, Val::i32(step.lane));
                let mut result = None;
                for candidate in shuffles.candidates(r) {
                    let value = self.shuffle("idx", regs[candidate as usize], lane);
                    result = Some(match result {
                        None => value,
                        Some(so_far) => {
                            let here = self.w.icmp("eq", wanted, Val::i32(candidate ^ step.register));
                            self.w.select(here, value, so_far)
                        }
                    });
                }
                result.expect("a move has at least one candidate")
            })
            .collect()
    }

    /// One shuffle of any type: `mode` is `idx`, `bfly`, `up` or `down`.
    pub(super) fn shuffle(&mut self, mode: &str, value: Val, lane: Val) -> Val {
        let name = format!("llvm.nvvm.shfl.sync.{mode}.i32");
        // The bound of `up` is lane 0, that of the others lane 31.
        let clamp = Val::i32(if mode == "up" { 0 } else { 31 });
        let one = |e: &mut Self, v: Val| e.w.call(Ty::I32, &name, &[Val::int(Ty::I32, -1), v, lane, clamp]);
        let bits = self.w.bitcast(value, value.ty.int());
        let moved = match bits.ty.bits() {
            64 => {
                let low = self.w.cast("trunc", bits, Ty::I32);
                let high = self.w.lshr(bits, 32);
                let high = self.w.cast("trunc", high, Ty::I32);
                let (low, high) = (one(self, low), one(self, high));
                let low = self.w.cast("zext", low, Ty::I64);
                let high = self.w.cast("zext", high, Ty::I64);
                let high = self.w.shl(high, 32);
                self.w.or_disjoint(high, low)
            }
            32 => one(self, bits),
            _ => {
                let wide = self.w.cast("zext", bits, Ty::I32);
                let moved = one(self, wide);
                self.w.cast("trunc", moved, bits.ty)
            }
        };
        self.w.bitcast(moved, value.ty)
    }

    /// Layouts whose units differ: row-major, element by element.
    fn through_rows(&mut self, inst: Inst, arg: Value, extents: &[u32], bytes: u32) -> Result<()> {
        let elem = self.func.ty(arg).elem();
        let base = self.scratch(bytes);
        let tile = super::shared_tile::SharedTile { base, elem };
        let regs = self.regs(arg);
        let internal = || internal("a conversion of a scalar");
        let source = self.spread_of(self.func.ty(arg)).ok_or_else(internal)?;
        let owner = source.owner().unwrap_or(Val::bool(true));
        for r in source.layout.owning_registers() {
            let at = self.flat_index(&source, r, extents);
            self.shared_store(&tile, at, regs[r as usize], owner);
        }
        self.barrier();
        let shape = self.shape(arg);
        let target = self.spread_of(self.func.ty(self.func.result(inst))).ok_or_else(internal)?;
        let loaded = (0..target.registers.len() as u32)
            .map(|r| {
                let at = self.flat_index(&target, r, extents);
                // Padding that the source does not have was not written.
                let inside = target.inside(&mut self.w, r, &shape);
                let at = self.w.select(inside, at, Val::i32(0));
                self.shared_load(&tile, at)
            })
            .collect();
        self.define(inst, loaded);
        Ok(())
    }

    fn store_swizzled(&mut self, base: Val, layout: &'static Layout, buffer: &Layout, vector: u32, values: &[Val]) {
        let (lanes, warps) = layout.free_threads();
        let copies = lanes | warps << 5;
        let owner = if copies == 0 {
            Val::bool(true)
        } else {
            let tid = self.threads.tid;
            self.w.at_entry(|w| {
                let copies = w.and(tid, Val::i32(copies));
                w.icmp("eq", copies, Val::i32(0))
            })
        };
        for (address, registers) in self.swizzled(base, layout, buffer, vector, values[0].ty) {
            let list: Vec<Val> = registers.iter().map(|&r| values[r as usize]).collect();
            self.store_vector(address, &list, owner, Self::no_hints());
        }
    }

    fn load_swizzled(&mut self, base: Val, layout: &'static Layout, buffer: &Layout, vector: u32, memory: Ty) -> Vec<Val> {
        let mut values = vec![Val::zero(memory); layout.registers() as usize];
        for (address, registers) in self.swizzled(base, layout, buffer, vector, memory) {
            let fill = vec![Val::zero(memory); registers.len()];
            let loaded = self.load_vector(address, &fill, Val::bool(true), Self::no_hints());
            for (&r, v) in registers.iter().zip(loaded) {
                values[r as usize] = v;
            }
        }
        values
    }

    /// The vectors of a layout in a swizzled buffer: the address of each and its registers by element.
    fn swizzled(
        &mut self,
        base: Val,
        layout: &'static Layout,
        buffer: &Layout,
        vector: u32,
        memory: Ty,
    ) -> Vec<(Val, SmallVec<[u32; 8]>)> {
        let to_offset = buffer.unit().map().right_inverse().expect("a buffer holds every element").compose(layout.unit().map());
        let unit = layout.unit();
        let of = |hw: Hw| {
            let start = unit.shift(hw) as usize;
            to_offset.cols()[start..start + unit.bits(hw) as usize].iter().map(|&c| c as u32)
        };
        let threads: Vec<u32> = of(Hw::Lane).chain(of(Hw::Warp)).collect();
        // A thread whose own offset has vector bits would find its vector's elements in another order.
        let vector = if threads.iter().any(|c| c & (vector - 1) != 0) { 1 } else { vector };
        let own = self.threads.linear(&mut self.w, &threads);
        let columns: Vec<u32> = of(Hw::Register).collect();
        let bits = unit.bits(Hw::Register);
        let unit_elements = 1u32 << buffer.unit().bits(Hw::Offset);
        // Registers by repetition and offset.
        let mut groups: Vec<Group> = Vec::new();
        let mut number: FxHashMap<(u32, u32), usize> = FxHashMap::default();
        for r in layout.owning_registers() {
            let rep = r >> bits;
            let offset = (0..bits).filter(|b| r >> b & 1 == 1).fold(0, |acc, b| acc ^ columns[b as usize]);
            let key = (rep, offset & !(vector - 1));
            let group = *number.entry(key).or_insert_with(|| {
                groups.push((key, SmallVec::from_elem(0, vector as usize)));
                groups.len() - 1
            });
            groups[group].1[(offset & (vector - 1)) as usize] = r;
        }
        let bytes = memory.bits() / 8;
        groups
            .into_iter()
            .map(|((rep, offset), registers)| {
                let at = self.w.xor(own, Val::i32(offset));
                let start = self.w.offset(base, Val::i32(rep * unit_elements), bytes);
                (self.w.offset(start, at, bytes), registers)
            })
            .collect()
    }
}
