//! Reductions: registers of a thread, then lanes by butterflies, then warps through shared memory.
//!
//! Only bits that step along the axis are folded; bits that hold copies are not, or a sum would count elements twice. A user
//! block is associative but need not commute, so its elements are folded from the lowest coordinate bit to the highest, each
//! bit where it lives. Afterwards every thread of the row has the result.

use std::collections::BTreeMap;

use kiln_ir::layout::{Coords, Hw, Layout};
use kiln_ir::{Combine, Elem, Inst, ScalarType, Value};
use smallvec::SmallVec;

use super::combine::Partial;
use super::emit::{Emitter, from_memory};
use super::error::{Result, internal};
use super::rows::Rows;
use super::shared_tile::SharedTile;
use super::text::Val;

/// One bit, or more, of the coordinate along the axis.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    /// This coordinate bit, held by registers.
    Registers(u32),
    /// The repetitions.
    Repetitions,
    /// This lane bit.
    Lanes(u8),
    /// These warp bits, lowest coordinate first.
    Warps(Vec<u8>),
}

/// Partial results by coordinate; the coordinate along the axis has only bits that are still to be folded.
type Partials = BTreeMap<Coords, Partial>;

impl Emitter<'_> {
    pub(super) fn reduce(&mut self, inst: Inst, args: &[Value], axis: usize, combine: Combine) -> Result<()> {
        let func = self.func;
        let ty = func.ty(args[0]);
        let elems: SmallVec<[Elem; 2]> = args.iter().map(|&a| func.ty(a).elem()).collect();
        let shape = self.shape(args[0]);
        let spread = self.spread_of(ty).ok_or_else(|| internal("a reduction of a scalar"))?;
        let regs: Vec<_> = args.iter().map(|&a| self.regs(a)).collect();
        let neutral = self.neutral(combine, &elems);
        let mut partials = Partials::new();
        for (r, coords) in spread.registers.iter().enumerate() {
            let mut values: SmallVec<[Val; 2]> = regs.iter().map(|list| list[r]).collect();
            let mut valid = Val::bool(true);
            if spread.pads(&shape, axis) {
                let at = spread.full_coord(&mut self.w, r as u32, axis);
                let inside = self.w.icmp("ult", at, Val::i32(shape[axis]));
                match &neutral {
                    Some(neutral) => {
                        for (value, &neutral) in values.iter_mut().zip(neutral) {
                            *value = self.w.select(inside, *value, neutral);
                        }
                    }
                    None => valid = inside,
                }
            }
            partials.insert(coords.clone(), Partial { values, valid });
        }
        let ordered = matches!(combine, Combine::Region(_));
        // Thread bits over which the partial results are combined.
        let mut folded = 0u32;
        for step in steps(spread.layout, axis, ordered)? {
            let bits = match &step {
                Step::Lanes(bit) => 1 << bit,
                Step::Warps(bits) => bits.iter().fold(0, |mask, bit| mask | 32 << bit),
                Step::Registers(_) | Step::Repetitions => 0,
            };
            partials = match step {
                Step::Registers(bit) => self.fold_registers(combine, &elems, partials, axis, bit)?,
                Step::Repetitions => self.fold_repetitions(combine, &elems, partials, axis)?,
                Step::Lanes(bit) => self.fold_lanes(combine, &elems, partials, bit, ordered)?,
                Step::Warps(bits) => {
                    let rows = self.rows(spread.layout, axis, &bits, partials.len() as u32, folded);
                    self.fold_warps(combine, &elems, partials, &rows)?
                }
            };
            folded |= bits;
        }
        self.bind_reduced(inst, partials, axis)
    }

    fn bind_reduced(&mut self, inst: Inst, partials: Partials, axis: usize) -> Result<()> {
        let results: Vec<Value> = self.func.results_of(inst).to_vec();
        for (number, &result) in results.iter().enumerate() {
            let wanted: Vec<Coords> = match self.spread_of(self.func.ty(result)) {
                Some(spread) => spread.registers.clone(),
                None => vec![Coords::new()],
            };
            let regs = wanted
                .into_iter()
                .map(|mut coords| {
                    coords.insert(axis, 0);
                    partials
                        .get(&coords)
                        .map(|partial| partial.values[number])
                        .ok_or_else(|| internal(format!("no reduced element at {coords:?}")))
                })
                .collect::<Result<_>>()?;
            self.define_value(result, regs);
        }
        Ok(())
    }

    /// Pairs of registers whose coordinates differ in one bit.
    fn fold_registers(
        &mut self,
        combine: Combine,
        elems: &[Elem],
        partials: Partials,
        axis: usize,
        bit: u32,
    ) -> Result<Partials> {
        let mut folded = Partials::new();
        for (coords, low) in partials.iter().filter(|(c, _)| c[axis] & bit == 0) {
            let mut partner = coords.clone();
            partner[axis] |= bit;
            let result = match partials.get(&partner) {
                Some(high) => self.combine(combine, elems, low, high)?,
                None => return Err(internal(format!("no register holds {partner:?}"))),
            };
            folded.insert(coords.clone(), result);
        }
        Ok(folded)
    }

    /// Whatever is left along the axis, in order.
    fn fold_repetitions(&mut self, combine: Combine, elems: &[Elem], partials: Partials, axis: usize) -> Result<Partials> {
        let mut folded = Partials::new();
        // Sorted by coordinate, so repetitions of one element come in order.
        for (mut coords, partial) in partials {
            coords[axis] = 0;
            let result = match folded.get(&coords) {
                Some(so_far) => self.combine(combine, elems, so_far, &partial)?,
                None => partial,
            };
            folded.insert(coords, result);
        }
        Ok(folded)
    }

    fn fold_lanes(&mut self, combine: Combine, elems: &[Elem], partials: Partials, bit: u8, ordered: bool) -> Result<Partials> {
        let mut folded = Partials::new();
        for (coords, own) in partials {
            let mask = Val::i32(1 << bit);
            let values = own.values.iter().map(|&v| self.shuffle("bfly", v, mask)).collect();
            let valid = if own.valid.is_true() { own.valid } else { self.shuffle("bfly", own.valid, mask) };
            let other = Partial { values, valid };
            let result = if ordered {
                let lane = self.threads.lane(&mut self.w);
                let upper = self.w.at_entry(|w| {
                    let bit = w.and(lane, mask);
                    w.icmp("ne", bit, Val::i32(0))
                });
                let pick = |e: &mut Self, a: &Partial, b: &Partial| Partial {
                    values: a.values.iter().zip(&b.values).map(|(&a, &b)| e.w.select(upper, a, b)).collect(),
                    valid: e.w.select(upper, a.valid, b.valid),
                };
                let first = pick(self, &other, &own);
                let second = pick(self, &own, &other);
                self.combine(combine, elems, &first, &second)?
            } else {
                self.combine(combine, elems, &own, &other)?
            };
            folded.insert(coords, result);
        }
        Ok(folded)
    }

    /// Every warp writes its partial results; after a barrier every thread reads those of all warps of its row.
    fn fold_warps(&mut self, combine: Combine, elems: &[Elem], partials: Partials, rows: &Rows) -> Result<Partials> {
        // One thread of each row in each warp writes.
        let writer = if rows.copies == 0 {
            Val::bool(true)
        } else {
            let tid = self.threads.tid;
            self.w.at_entry(|w| {
                let bits = w.and(tid, Val::i32(rows.copies));
                w.icmp("eq", bits, Val::i32(0))
            })
        };
        let with_valid = partials.values().any(|p| !p.valid.is_true());
        let mut all = SmallVec::<[Elem; 3]>::from_slice(elems);
        if with_valid {
            all.push(Elem::Scalar(ScalarType::Bool));
        }
        let tiles = self.row_tiles(rows, &all);
        for (r, partial) in partials.values().enumerate() {
            let at = rows.own(self, r as u32);
            for (number, tile) in tiles.iter().enumerate() {
                let value = partial.values.get(number).copied().unwrap_or(partial.valid);
                self.shared_store(tile, at, value, writer);
            }
        }
        self.barrier();
        let mut folded = Partials::new();
        for (r, coords) in partials.keys().enumerate() {
            let first = rows.first(self, r as u32);
            let lists: Vec<Vec<Val>> = tiles.iter().map(|tile| self.shared_run(tile, first, rows.warps)).collect();
            let mut result: Option<Partial> = None;
            for w in 0..rows.warps as usize {
                let values = lists[..elems.len()].iter().map(|list| list[w]).collect();
                let valid = if with_valid { lists[elems.len()][w] } else { Val::bool(true) };
                let next = Partial { values, valid };
                result = Some(match result {
                    Some(so_far) => self.combine(combine, elems, &so_far, &next)?,
                    None => next,
                });
            }
            folded.extend(result.map(|result| (coords.clone(), result)));
        }
        Ok(folded)
    }

    /// `count` consecutive elements of a shared tile from `first` on, a multiple of `count`, in as wide loads as there are.
    fn shared_run(&mut self, tile: &SharedTile, first: Val, count: u32) -> Vec<Val> {
        let bytes = tile.elem.bytes();
        let width = count.min(16 / bytes);
        (0..count / width)
            .flat_map(|i| {
                let at = self.w.add_nsw(first, Val::i32(i * width));
                let address = self.w.offset(tile.base, at, bytes);
                let fill = vec![Val::zero(super::params::memory_type(tile.elem)); width as usize];
                let raw = self.load_vector(address, &fill, Val::bool(true), Self::no_hints());
                raw.into_iter().map(|v| from_memory(&mut self.w, v, tile.elem, self.index)).collect::<Vec<_>>()
            })
            .collect()
    }
}

/// The steps that fold `axis`. Unordered: registers first, then lanes, then warps. Ordered: by coordinate bit.
fn steps(layout: &Layout, axis: usize, ordered: bool) -> Result<Vec<Step>> {
    let unit = layout.unit();
    let mut by_bit: Vec<(u32, Step)> = Vec::new();
    for hw in [Hw::Register, Hw::Lane, Hw::Warp] {
        for bit in 0..unit.bits(hw) {
            let coords = unit.basis(hw, bit);
            let along = coords[axis];
            if along == 0 {
                continue;
            }
            if !along.is_power_of_two() || coords.iter().enumerate().any(|(d, &c)| d != axis && c != 0) {
                return Err(internal(format!("a reduction along axis {axis} of a mixed layout {layout}")));
            }
            let step = match hw {
                Hw::Register => Step::Registers(along),
                Hw::Lane => Step::Lanes(bit),
                _ => Step::Warps(vec![bit]),
            };
            by_bit.push((along, step));
        }
    }
    if ordered {
        by_bit.sort_by_key(|&(along, _)| along);
    } else {
        let place = |step: &Step| match step {
            Step::Registers(_) | Step::Repetitions => 0,
            Step::Lanes(_) => 1,
            Step::Warps(_) => 2,
        };
        by_bit.sort_by_key(|(along, step)| (place(step), *along));
    }
    let mut steps: Vec<Step> = Vec::new();
    let repetitions = layout.reps()[axis] > 1;
    for (_, step) in by_bit {
        let leaves_registers = !matches!(step, Step::Registers(_));
        if repetitions && !ordered && leaves_registers && !steps.contains(&Step::Repetitions) {
            steps.push(Step::Repetitions);
        }
        match (steps.last_mut(), step) {
            (Some(Step::Warps(bits)), Step::Warps(more)) => bits.extend(more),
            (_, step) => steps.push(step),
        }
    }
    if repetitions && !steps.contains(&Step::Repetitions) {
        steps.push(Step::Repetitions);
    }
    Ok(steps)
}
