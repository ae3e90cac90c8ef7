//! Loads, stores and prefetches of tiles and single elements, and the view instructions.

use std::rc::Rc;

use kiln_ir::ops::{CacheOp, Evict};
use kiln_ir::{Inst, InstData, Place, Value, ViewIndex};
use smallvec::SmallVec;

use super::emit::{Emitter, Slot, ViewRegs, from_memory, to_memory};
use super::error::Result;
use super::packed::Hints;
use super::params::memory_type;
use super::text::{Asm, Val};

impl Emitter<'_> {
    pub(super) fn load(&mut self, inst: Inst) -> Result<()> {
        let InstData::Load { place, mask, other, cache, evict } = &self.func.insts[inst] else {
            unreachable!("called for loads")
        };
        self.order_before(inst);
        let result = self.func.result(inst);
        let elem = self.func.ty(result).elem();
        let hints = Hints { cache: *cache, evict: *evict, constant: self.is_constant(place) };
        let tile = self.tile(inst, result);
        let mut addresses = self.addresses(place, *mask, &tile)?;
        let other = other.map(|o| self.regs(o));
        let memory = memory_type(elem);
        let mut regs = vec![Val::zero(self.value_type(elem)); self.register_count(self.func.ty(result))];
        for vector in &tile.vectors {
            let first = vector[0];
            let address = self.address(&mut addresses, &tile, first)?;
            let predicate = self.predicate(&mut addresses, &tile, first, false)?;
            let fill: Vec<Val> = vector
                .iter()
                .map(|&r| match &other {
                    Some(other) => to_memory(&mut self.w, other[r as usize], elem),
                    None => Val::zero(memory),
                })
                .collect();
            let loaded = self.load_vector(address, &fill, predicate, hints);
            for (&r, raw) in vector.iter().zip(loaded) {
                regs[r as usize] = from_memory(&mut self.w, raw, elem, self.index);
            }
        }
        self.define(inst, regs);
        Ok(())
    }

    pub(super) fn store(&mut self, inst: Inst) -> Result<()> {
        let InstData::Store { place, value, mask, cache, evict } = &self.func.insts[inst] else {
            unreachable!("called for stores")
        };
        self.order_before(inst);
        let elem = self.func.ty(*value).elem();
        let hints = Hints { cache: *cache, evict: *evict, constant: false };
        let tile = self.tile(inst, *value);
        let mut addresses = self.addresses(place, *mask, &tile)?;
        let regs = self.regs(*value);
        for vector in &tile.vectors {
            let first = vector[0];
            let address = self.address(&mut addresses, &tile, first)?;
            let predicate = self.predicate(&mut addresses, &tile, first, true)?;
            let values: Vec<Val> = vector.iter().map(|&r| to_memory(&mut self.w, regs[r as usize], elem)).collect();
            self.store_vector(address, &values, predicate, hints);
        }
        Ok(())
    }

    pub(super) fn prefetch(&mut self, inst: Inst, place: &Place, mask: Option<Value>) -> Result<()> {
        // One prefetch by the thread that would load the element; the tile has the mask's layout, or is a single element.
        let tile = match mask {
            Some(mask) => self.tile(inst, mask),
            None => match place {
                Place::Ptr(pointers) => self.tile(inst, *pointers),
                // A view without a mask has no value whose layout it could share: prefetching is a hint and may be dropped.
                Place::View(_) => return Ok(()),
            },
        };
        let mut addresses = self.addresses(place, mask, &tile)?;
        for vector in &tile.vectors {
            let address = self.address(&mut addresses, &tile, vector[0])?;
            let predicate = self.predicate(&mut addresses, &tile, vector[0], true)?;
            self.w.asm(&[], Asm::Memory, "@$1 prefetch.global.L2 [$0];", "l,b", &[address, predicate]);
        }
        Ok(())
    }

    pub(super) fn view(&mut self, inst: Inst) -> Result<()> {
        let func = self.func;
        let index = self.index;
        let result = func.result(inst);
        match &func.insts[inst] {
            InstData::MakeView { ptr, dims, strides } => {
                let base = self.scalar(*ptr);
                let mut read = |list: &[Value]| -> SmallVec<[Val; 5]> {
                    list.iter()
                        .map(|&v| {
                            let v = self.scalar(v);
                            self.w.resize_signed(v, index)
                        })
                        .collect()
                };
                let (dims, strides) = (read(dims), read(strides));
                self.set(result, Slot::View(Rc::new(ViewRegs { base, dims, strides })));
            }
            InstData::PermuteView { view, perm } => {
                let from = self.view_regs(*view);
                let dims = perm.iter().map(|&p| from.dims[usize::from(p)]).collect();
                let strides = perm.iter().map(|&p| from.strides[usize::from(p)]).collect();
                self.set(result, Slot::View(Rc::new(ViewRegs { base: from.base, dims, strides })));
            }
            InstData::SubView { view, index } => {
                let regs = self.sub_view(*view, index);
                self.set(result, Slot::View(Rc::new(regs)));
            }
            InstData::ViewDim { view, axis } => {
                let value = self.view_regs(*view).dims[usize::from(*axis)];
                self.define(inst, vec![value]);
            }
            InstData::ViewStride { view, axis } => {
                let value = self.view_regs(*view).strides[usize::from(*axis)];
                self.define(inst, vec![value]);
            }
            InstData::ViewPtr { view } => {
                let value = self.view_regs(*view).base;
                self.define(inst, vec![value]);
            }
            other => unreachable!("not a view instruction: {other:?}"),
        }
        Ok(())
    }

    fn sub_view(&mut self, view: Value, index: &[ViewIndex]) -> ViewRegs {
        let from = self.view_regs(view);
        let bytes = self.func.ty(view).elem().bytes();
        let ty = self.index;
        let zero = Val::int(ty, 0);
        let mut offset = zero;
        let mut valid = Val::bool(true);
        let mut result = ViewRegs { base: from.base, dims: SmallVec::new(), strides: SmallVec::new() };
        for (d, index) in index.iter().enumerate() {
            match *index {
                ViewIndex::At(at) => {
                    let at = self.scalar(at);
                    let at = self.w.resize_signed(at, ty);
                    let inside = self.w.icmp("ult", at, from.dims[d]);
                    valid = self.w.and(valid, inside);
                    let term = self.w.mul_nsw(at, from.strides[d]);
                    offset = self.w.add_nsw(offset, term);
                }
                ViewIndex::Range { lo, hi } => {
                    let (lo, length) = self.part(lo, hi, from.dims[d]);
                    let term = self.w.mul_nsw(lo, from.strides[d]);
                    offset = self.w.add_nsw(offset, term);
                    result.dims.push(length);
                    result.strides.push(from.strides[d]);
                }
                ViewIndex::Full => {
                    result.dims.push(from.dims[d]);
                    result.strides.push(from.strides[d]);
                }
            }
        }
        // An index out of bounds leaves nothing.
        for dim in &mut result.dims {
            *dim = self.w.select(valid, *dim, zero);
        }
        result.base = self.w.offset(from.base, offset, bytes);
        result
    }

    /// Where the part `lo..hi` of a dimension begins, and how long it is.
    pub(super) fn part(&mut self, lo: Value, hi: Value, extent: Val) -> (Val, Val) {
        let ty = self.index;
        let zero = Val::int(ty, 0);
        let [lo, hi] = [lo, hi].map(|v| {
            let v = self.scalar(v);
            let v = self.w.resize_signed(v, ty);
            let below = self.w.icmp("slt", v, zero);
            let v = self.w.select(below, zero, v);
            let above = self.w.icmp("sgt", v, extent);
            self.w.select(above, extent, v)
        });
        let length = self.w.sub(hi, lo);
        let empty = self.w.icmp("slt", length, zero);
        (lo, self.w.select(empty, zero, length))
    }

    /// The hints of an access that has none.
    pub(super) fn no_hints() -> Hints {
        Hints { cache: CacheOp::Default, evict: Evict::Normal, constant: false }
    }
}
