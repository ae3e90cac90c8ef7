//! Tiles in shared memory, row-major: what threads cannot find in their own registers they find there.

use kiln_ir::{Elem, Inst, Shape, Value};

use super::emit::{Emitter, from_memory, to_memory};
use super::error::Result;
use super::params::memory_type;
use super::spread::Spread;
use super::text::{Ty, Val};

/// A tile in shared memory.
pub(super) struct SharedTile {
    pub(super) base: Val,
    pub(super) elem: Elem,
}

impl Emitter<'_> {
    /// Writes tiles into one shared tile and waits: `offset` gives the element offset of a register.
    pub(super) fn spill(
        &mut self,
        args: &[Value],
        shape: &[u32],
        offset: impl Fn(&mut Self, &Spread, u32) -> Result<Val>,
    ) -> Result<SharedTile> {
        self.spill_parts(args, shape, |e, _, spread, r| offset(e, spread, r))
    }

    /// [`spill`](Self::spill) of several tiles into one of extents `shape`.
    pub(super) fn spill_parts(
        &mut self,
        args: &[Value],
        shape: &[u32],
        offset: impl Fn(&mut Self, usize, &Spread, u32) -> Result<Val>,
    ) -> Result<SharedTile> {
        let elem = self.func.ty(args[0]).elem();
        let base = self.scratch(shape.iter().product::<u32>() * elem.bytes());
        let tile = SharedTile { base, elem };
        for (part, &arg) in args.iter().enumerate() {
            self.write_tile(&tile, arg, |e, spread, r| offset(e, part, spread, r))?;
        }
        self.barrier();
        Ok(tile)
    }

    /// Writes a tile's elements to a shared tile, each once; padding is left out. A barrier must follow.
    pub(super) fn write_tile(
        &mut self,
        tile: &SharedTile,
        arg: Value,
        offset: impl Fn(&mut Self, &Spread, u32) -> Result<Val>,
    ) -> Result<()> {
        let regs = self.regs(arg);
        let shape = self.shape(arg);
        let Some(spread) = self.spread_of(self.func.ty(arg)) else {
            let first = self.first_thread();
            self.shared_store(tile, Val::i32(0), regs[0], first);
            return Ok(());
        };
        for r in spread.layout.owning_registers() {
            let predicate = self.owns(&spread, r, &shape);
            let at = offset(self, &spread, r)?;
            self.shared_store(tile, at, regs[r as usize], predicate);
        }
        Ok(())
    }

    /// Whether this thread is the owner of a register's element and the element is no padding.
    pub(super) fn owns(&mut self, spread: &Spread, register: u32, shape: &[u32]) -> Val {
        let inside = spread.inside(&mut self.w, register, shape);
        match spread.owner() {
            Some(owner) => self.w.and(inside, owner),
            None => inside,
        }
    }

    /// Reads the only result of an instruction from a shared tile (see [`read_tile`](Self::read_tile)).
    pub(super) fn fetch(
        &mut self,
        inst: Inst,
        tile: &SharedTile,
        offset: impl Fn(&mut Self, &Spread, u32) -> Result<(Val, Val)>,
    ) -> Result<()> {
        self.read_tile(self.func.result(inst), tile, offset)
    }

    /// Reads a value from a shared tile: `offset` gives the element offset of a register, and whether it is to be read; 0 where
    /// it is not. Padding reads element 0.
    pub(super) fn read_tile(
        &mut self,
        result: Value,
        tile: &SharedTile,
        offset: impl Fn(&mut Self, &Spread, u32) -> Result<(Val, Val)>,
    ) -> Result<()> {
        let ty = self.func.ty(result);
        let Some(spread) = self.spread_of(ty) else {
            let value = self.shared_load(tile, Val::i32(0));
            self.define_value(result, vec![value]);
            return Ok(());
        };
        let shape = Shape::from_slice(ty.shape());
        let mut regs = Vec::with_capacity(spread.registers.len());
        for r in 0..spread.registers.len() as u32 {
            let (at, wanted) = offset(self, &spread, r)?;
            let inside = spread.inside(&mut self.w, r, &shape);
            let safe = self.w.select(inside, at, Val::i32(0));
            let value = self.shared_load(tile, safe);
            let zero = Val::zero(value.ty);
            regs.push(self.w.select(wanted, value, zero));
        }
        self.define_value(result, regs);
        Ok(())
    }

    /// Stores one element into a shared tile.
    pub(super) fn shared_store(&mut self, tile: &SharedTile, at: Val, value: Val, predicate: Val) {
        let raw = to_memory(&mut self.w, value, tile.elem);
        let raw = self.w.bitcast(raw, raw.ty.int());
        let address = self.w.offset(tile.base, at, tile.elem.bytes());
        self.shared_store_word(address, raw, predicate);
    }

    /// Stores an integer of 8 to 64 bits to a shared address where `predicate` holds.
    pub(super) fn shared_store_word(&mut self, address: Val, raw: Val, predicate: Val) {
        if predicate.is_false() {
            return;
        }
        if predicate.is_true() {
            let text = format!("store {}, {}, align {}", raw.typed(), address.typed(), raw.ty.bits() / 8);
            return self.w.effect(&text);
        }
        let bits = raw.ty.bits();
        let (raw, constraint) = match raw.ty {
            Ty::I8 => (self.w.cast("zext", raw, Ty::I16), 'h'),
            Ty::I16 => (raw, 'h'),
            Ty::I64 => (raw, 'l'),
            _ => (raw, 'r'),
        };
        let ptx = format!("@$2 st.shared.b{bits} [$0], $1;");
        self.w.asm(&[], super::text::Asm::Memory, &ptx, &format!("r,{constraint},b"), &[address, raw, predicate]);
    }

    /// Loads one element of a shared tile.
    pub(super) fn shared_load(&mut self, tile: &SharedTile, at: Val) -> Val {
        let address = self.w.offset(tile.base, at, tile.elem.bytes());
        let memory = memory_type(tile.elem);
        let load = if memory == Ty::Global { Ty::I64 } else { memory };
        let text = format!("load {}, {}, align {}", load.llvm(), address.typed(), tile.elem.bytes());
        let raw = self.w.value(load, &text);
        let raw = self.w.bitcast(raw, memory);
        from_memory(&mut self.w, raw, tile.elem, self.index)
    }

    /// The coordinate of a register's element (i32).
    pub(super) fn coord(&mut self, spread: &Spread, register: u32, dim: usize) -> Val {
        spread.full_coord(&mut self.w, register, dim)
    }

    /// Row-major index of a register's element (i32).
    pub(super) fn flat_index(&mut self, spread: &Spread, register: u32, shape: &[u32]) -> Val {
        // The thread's part first, so that registers share it and add constants.
        let mut thread = Val::i32(0);
        let mut constant = 0;
        for (d, &extent) in shape.iter().enumerate() {
            let (part, own) = spread.coord(&mut self.w, register, d);
            let scaled = self.w.mul_nsw(thread, Val::i32(extent));
            thread = self.w.add_nsw(scaled, part);
            constant = constant * extent + own;
        }
        self.w.add_nsw(thread, Val::i32(constant))
    }

    /// Row-major index of the coordinates that `coord` gives (i32).
    pub(super) fn flatten_with(&mut self, shape: &[u32], mut coord: impl FnMut(&mut Self, usize) -> Val) -> Val {
        (0..shape.len()).fold(Val::i32(0), |flat, d| {
            let at = coord(self, d);
            let scaled = self.w.mul_nsw(flat, Val::i32(shape[d]));
            self.w.add_nsw(scaled, at)
        })
    }
}
