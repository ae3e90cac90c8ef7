//! Instructions that rename elements (broadcast, reshape, permute, ..): by renaming registers where the layouts allow it,
//! through shared memory otherwise.

use std::sync::Arc;

use kiln_ir::layout::Coords;
use kiln_ir::{Const, Inst, Shape, Value};
use smallvec::SmallVec;

use super::emit::{Emitter, Slot};
use super::error::{Result, internal};
use super::spread::Spread;
use super::text::{Ty, Val};

impl Emitter<'_> {
    pub(super) fn broadcast(&mut self, inst: Inst, arg: Value) -> Result<()> {
        let result = self.func.ty(self.func.result(inst));
        let from = self.shape(arg);
        let new = result.rank() - from.len();
        self.rename(inst, arg, |coords| {
            let source = coords[new..].iter().zip(&from);
            source.map(|(&c, &extent)| if extent == 1 { 0 } else { c }).collect()
        })
    }

    pub(super) fn expand_dims(&mut self, inst: Inst, arg: Value, axis: usize) -> Result<()> {
        self.rename(inst, arg, |coords| {
            let mut source = Coords::from_slice(coords);
            source.remove(axis);
            source
        })
    }

    pub(super) fn permute(&mut self, inst: Inst, arg: Value, perm: &[u8]) -> Result<()> {
        if let slot @ Slot::Shared(_) = self.slot(arg) {
            let result = self.func.result(inst);
            self.set(result, slot);
            if let Some(&read) = self.slots_read.get(&arg) {
                self.slots_read.insert(result, read);
            }
            return Ok(());
        }
        self.rename(inst, arg, |coords| {
            let mut source: Coords = SmallVec::from_elem(0, coords.len());
            for (to, &from) in perm.iter().enumerate() {
                source[usize::from(from)] = coords[to];
            }
            source
        })
    }

    pub(super) fn join(&mut self, inst: Inst, a: Value, b: Value) -> Result<()> {
        let result = self.func.ty(self.func.result(inst));
        let (a_regs, b_regs) = (self.regs(a), self.regs(b));
        let source = self.spread_of(self.func.ty(a));
        let spread = self.spread_of(result).ok_or_else(|| internal("a joined tile has a layout"))?;
        let last = result.rank() - 1;
        let regs = spread
            .registers
            .iter()
            .map(|coords| {
                let register = find(source.as_deref(), &coords[..last])?;
                Ok(if coords[last] == 0 { a_regs[register] } else { b_regs[register] })
            })
            .collect::<Result<_>>()?;
        self.define(inst, regs);
        Ok(())
    }

    pub(super) fn split(&mut self, inst: Inst, arg: Value) -> Result<()> {
        let results: Vec<Value> = self.func.results_of(inst).to_vec();
        let regs = self.regs(arg);
        let source = self.spread_of(self.func.ty(arg));
        for (part, &result) in results.iter().enumerate() {
            let wanted: Vec<Coords> = match self.spread_of(self.func.ty(result)) {
                Some(spread) => spread.registers.clone(),
                None => vec![Coords::new()],
            };
            let picked = wanted
                .into_iter()
                .map(|mut coords| {
                    coords.push(part as u32);
                    find(source.as_deref(), &coords).map(|r| regs[r])
                })
                .collect::<Result<_>>()?;
            self.define_value(result, picked);
        }
        Ok(())
    }

    pub(super) fn reshape(&mut self, inst: Inst, arg: Value) -> Result<()> {
        let result = self.func.ty(self.func.result(inst));
        let (from, to) = (self.shape(arg), Shape::from_slice(result.shape()));
        let free = match (self.func.ty(arg).layout(), result.layout()) {
            (Some(a), Some(b)) => {
                let exact = a.layout().physical().as_slice() == from.as_slice();
                exact && a.layout().reshape(&to).as_ref() == Some(b.layout())
            }
            _ => false,
        };
        if free {
            return self.rename(inst, arg, |coords| unflatten(flatten(coords, &to), &from));
        }
        // The row-major order is the same in both shapes.
        let tile = self.spill(&[arg], &from, |e, spread, r| Ok(e.flat_index(spread, r, &from)))?;
        self.fetch(inst, &tile, |e, spread, r| Ok((e.flat_index(spread, r, &to), Val::bool(true))))
    }

    pub(super) fn flip(&mut self, inst: Inst, arg: Value, axis: usize) -> Result<()> {
        let shape = self.shape(arg);
        let tile = self.spill(&[arg], &shape, |e, spread, r| Ok(e.flat_index(spread, r, &shape)))?;
        self.fetch(inst, &tile, |e, spread, r| {
            let at = |e: &mut Self, d: usize| {
                let coord = e.coord(spread, r, d);
                if d == axis { e.w.sub(Val::i32(shape[d] - 1), coord) } else { coord }
            };
            Ok((e.flatten_with(&shape, at), Val::bool(true)))
        })
    }

    pub(super) fn extract(&mut self, inst: Inst, arg: Value, starts: &[u32]) -> Result<()> {
        let shape = self.shape(arg);
        let tile = self.spill(&[arg], &shape, |e, spread, r| Ok(e.flat_index(spread, r, &shape)))?;
        self.fetch(inst, &tile, |e, spread, r| {
            let at = |e: &mut Self, d: usize| {
                let coord = e.coord(spread, r, d);
                e.w.add(coord, Val::i32(starts[d]))
            };
            Ok((e.flatten_with(&shape, at), Val::bool(true)))
        })
    }

    pub(super) fn cat(&mut self, inst: Inst, args: &[Value], axis: usize) -> Result<()> {
        let to = Shape::from_slice(self.func.ty(self.func.result(inst)).shape());
        let mut start = 0;
        let starts: Vec<u32> = args
            .iter()
            .map(|&a| {
                start += self.func.ty(a).shape()[axis];
                start - self.func.ty(a).shape()[axis]
            })
            .collect();
        let tile = self.spill_parts(args, &to, |e, part, spread, r| {
            let at = |e: &mut Self, d: usize| {
                let coord = e.coord(spread, r, d);
                if d == axis { e.w.add(coord, Val::i32(starts[part])) } else { coord }
            };
            Ok(e.flatten_with(&to, at))
        })?;
        self.fetch(inst, &tile, |e, spread, r| Ok((e.flat_index(spread, r, &to), Val::bool(true))))
    }

    pub(super) fn gather(&mut self, inst: Inst, src: Value, index: Value, axis: usize) -> Result<()> {
        let shape = self.shape(src);
        let signed = self.func.ty(index).scalar_elem().is_some_and(|s| s.is_signed_int());
        let indices = self.regs(index);
        let tile = self.spill(&[src], &shape, |e, spread, r| Ok(e.flat_index(spread, r, &shape)))?;
        let rank_1 = shape.len() == 1;
        // An index within the source, 0 for those outside, and whether it is.
        let safe_index = |e: &mut Self, index: Val| {
            let wide = e.w.cast_int(index, Ty::I64, signed);
            let inside = e.w.icmp("ult", wide, Val::int(Ty::I64, i64::from(shape[axis])));
            let narrow = e.w.cast("trunc", wide, Ty::I32);
            (e.w.select(inside, narrow, Val::i32(0)), inside)
        };
        if self.func.ty(index).is_scalar() {
            let (safe, inside) = safe_index(self, indices[0]);
            let value = self.shared_load(&tile, safe);
            let zero = Val::zero(value.ty);
            let chosen = self.w.select(inside, value, zero);
            self.define(inst, vec![chosen]);
            return Ok(());
        }
        self.fetch(inst, &tile, |e, spread, r| {
            let (safe, inside) = safe_index(e, indices[r as usize]);
            if rank_1 {
                return Ok((safe, inside));
            }
            let at = |e: &mut Self, d: usize| if d == axis { safe } else { e.coord(spread, r, d) };
            Ok((e.flatten_with(&shape, at), inside))
        })
    }

    /// A constant tile: every element a constant register where all registers of a thread know their element, else a table.
    pub(super) fn const_tile(&mut self, inst: Inst, values: &Arc<[Const]>) {
        let ty = self.func.ty(self.func.result(inst));
        let elem = ty.elem();
        let constants: Vec<Val> = values.iter().map(|&v| self.constant(v, elem)).collect();
        let Some(spread) = self.spread_of(ty) else {
            self.define(inst, vec![constants[0]]);
            return;
        };
        // The table is code: a chain of selects over the distinct values, cheap for the short lists constants are.
        let shape = Shape::from_slice(ty.shape());
        let regs = (0..spread.registers.len() as u32)
            .map(|r| {
                let flat = self.flat_index(&spread, r, &shape);
                constants.iter().enumerate().skip(1).fold(constants[0], |chosen, (i, &value)| {
                    if value == constants[0] {
                        return chosen;
                    }
                    let here = self.w.icmp("eq", flat, Val::i32(i as u32));
                    self.w.select(here, value, chosen)
                })
            })
            .collect();
        self.define(inst, regs);
    }

    /// The result's registers are registers of `arg` in the same thread: `source` gives the operand's coordinate.
    fn rename(&mut self, inst: Inst, arg: Value, source: impl Fn(&[u32]) -> Coords) -> Result<()> {
        let regs = self.regs(arg);
        let from = self.spread_of(self.func.ty(arg));
        let result = self.func.ty(self.func.result(inst));
        let Some(spread) = self.spread_of(result) else {
            self.define(inst, vec![regs[0]]);
            return Ok(());
        };
        let renamed = spread
            .registers
            .iter()
            .map(|coords| find(from.as_deref(), &source(coords)).map(|r| regs[r]))
            .collect::<Result<_>>()?;
        self.define(inst, renamed);
        Ok(())
    }
}

fn find(spread: Option<&Spread>, coords: &[u32]) -> Result<usize> {
    let Some(spread) = spread else { return Ok(0) };
    let found = spread.register(coords).map(|r| r as usize);
    found.ok_or_else(|| internal(format!("no register holds {coords:?} in {}", spread.layout)))
}

fn flatten(coords: &[u32], shape: &[u32]) -> u32 {
    coords.iter().zip(shape).fold(0, |flat, (&c, &e)| flat * e + c)
}

fn unflatten(flat: u32, shape: &[u32]) -> Coords {
    let mut rest = flat;
    let mut coords: Coords = shape
        .iter()
        .rev()
        .map(|&e| {
            let c = rest % e;
            rest /= e;
            c
        })
        .collect();
    coords.reverse();
    coords
}
