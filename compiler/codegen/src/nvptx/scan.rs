//! Scans: along the registers of a thread, then over lanes, then over warps, and the prefix of what lies before each thread
//! is put in front of its elements.
//!
//! The layout is the one `propagate` chooses for scans: along the axis registers are the lowest coordinate bits, lanes the
//! next, warps the highest.

use std::collections::BTreeMap;

use kiln_ir::layout::{Coords, Hw, Layout};
use kiln_ir::{Combine, Elem, Inst, ScalarType, Value};
use smallvec::SmallVec;

use super::combine::Partial;
use super::emit::Emitter;
use super::error::{Result, internal};
use super::text::Val;

/// How a scan runs.
struct Direction {
    combine: Combine,
    elems: SmallVec<[Elem; 2]>,
    reverse: bool,
}

impl Emitter<'_> {
    pub(super) fn scan(&mut self, inst: Inst, args: &[Value], axis: usize, reverse: bool, combine: Combine) -> Result<()> {
        let func = self.func;
        let shape = self.shape(args[0]);
        let spread = self.spread_of(func.ty(args[0])).ok_or_else(|| internal("a scan of a scalar"))?;
        let layout = spread.layout;
        let (lane_bits, warp_bits) = axis_bits(layout, axis)?;
        let how = Direction { combine, elems: args.iter().map(|&a| func.ty(a).elem()).collect(), reverse };
        let regs: Vec<_> = args.iter().map(|&a| self.regs(a)).collect();
        // The registers of each row in the order of the scan.
        let mut rows: BTreeMap<Coords, Vec<u32>> = BTreeMap::new();
        for (r, coords) in spread.registers.iter().enumerate() {
            let mut row = coords.clone();
            row[axis] = 0;
            rows.entry(row).or_default().push(r as u32);
        }
        let mut results: Vec<Vec<Val>> = regs.iter().map(|list| list.to_vec()).collect();
        let mut ends = Vec::new();
        let mut scanned: Vec<(Vec<u32>, Vec<Partial>)> = Vec::new();
        for mut list in rows.into_values() {
            list.sort_by_key(|&r| spread.registers[r as usize][axis]);
            if reverse {
                list.reverse();
            }
            let mut running: Vec<Partial> = Vec::with_capacity(list.len());
            for &r in &list {
                // Padding lies at the end: it comes first in reverse.
                let valid = if reverse && spread.pads(&shape, axis) {
                    let at = spread.full_coord(&mut self.w, r, axis);
                    self.w.icmp("ult", at, Val::i32(shape[axis]))
                } else {
                    Val::bool(true)
                };
                let own = Partial { values: regs.iter().map(|l| l[r as usize]).collect(), valid };
                let next = match running.last() {
                    Some(before) => self.combine(combine, &how.elems, &before.clone(), &own)?,
                    None => own,
                };
                running.push(next);
            }
            ends.push(running.last().cloned().ok_or_else(|| internal("a row without registers"))?);
            scanned.push((list, running));
        }
        let before = self.prefixes(&how, layout, axis, lane_bits, &warp_bits, ends)?;
        for ((list, running), before) in scanned.into_iter().zip(before) {
            for (&r, own) in list.iter().zip(&running) {
                let total = match &before {
                    Some(before) => self.combine(combine, &how.elems, before, own)?,
                    None => own.clone(),
                };
                for (result, value) in results.iter_mut().zip(&total.values) {
                    result[r as usize] = *value;
                }
            }
        }
        for (&value, regs) in func.results_of(inst).iter().zip(results) {
            self.define_value(value, regs);
        }
        Ok(())
    }

    /// What lies before each thread's part of each row; None where nothing can.
    fn prefixes(
        &mut self,
        how: &Direction,
        layout: &Layout,
        axis: usize,
        lane_bits: u8,
        warp_bits: &[u8],
        mut ends: Vec<Partial>,
    ) -> Result<Vec<Option<Partial>>> {
        let mode = if how.reverse { "down" } else { "up" };
        let lane = self.threads.lane(&mut self.w);
        let lanes = 1u32 << lane_bits;
        let mut place = self.w.and(lane, Val::i32(lanes - 1));
        if how.reverse {
            place = self.w.sub(Val::i32(lanes - 1), place);
        }
        // Inclusive over lanes.
        for bit in 0..lane_bits {
            let distance = Val::i32(1 << bit);
            let reaches = self.w.icmp("uge", place, distance);
            for end in &mut ends {
                let other = self.shuffle_partial(mode, end, distance, reaches);
                *end = self.combine(how.combine, &how.elems, &other, end)?;
            }
        }
        let mut before: Vec<Option<Partial>> = vec![None; ends.len()];
        if lane_bits > 0 {
            let has = self.w.icmp("uge", place, Val::i32(1));
            for (before, end) in before.iter_mut().zip(&ends) {
                *before = Some(self.shuffle_partial(mode, end, Val::i32(1), has));
            }
        }
        if warp_bits.is_empty() {
            return Ok(before);
        }
        let of_warps = self.warp_prefixes(how, layout, axis, warp_bits, place, lanes, &ends)?;
        for (before, warps) in before.iter_mut().zip(of_warps) {
            *before = Some(match before.take() {
                Some(own) => self.combine(how.combine, &how.elems, &warps, &own)?,
                None => warps,
            });
        }
        Ok(before)
    }

    /// The combination of all warps before this one along the axis, for each row.
    #[allow(clippy::too_many_arguments)]
    fn warp_prefixes(
        &mut self,
        how: &Direction,
        layout: &Layout,
        axis: usize,
        warp_bits: &[u8],
        place: Val,
        lanes: u32,
        ends: &[Partial],
    ) -> Result<Vec<Partial>> {
        // Lanes are folded; the last one of a row holds the sum of all.
        let of_axis = (0..5u8).filter(|&b| layout.unit().basis(Hw::Lane, b)[axis] != 0).fold(0, |mask, b| mask | 1 << b);
        let rows = self.rows(layout, axis, warp_bits, ends.len() as u32, of_axis);
        let mut elems: SmallVec<[Elem; 3]> = SmallVec::from_slice(&how.elems);
        elems.push(Elem::Scalar(ScalarType::Bool));
        let tiles = self.row_tiles(&rows, &elems);
        // The last lane of the row in this warp holds the warp's total; of threads that hold copies, one writes.
        let last = self.w.icmp("eq", place, Val::i32(lanes - 1));
        let copies = self.w.and(self.threads.tid, Val::i32(rows.copies & !of_axis));
        let first = self.w.icmp("eq", copies, Val::i32(0));
        let writer = self.w.and(last, first);
        for (r, end) in ends.iter().enumerate() {
            let at = rows.own(self, r as u32);
            for (number, tile) in tiles.iter().enumerate() {
                let value = end.values.get(number).copied().unwrap_or(end.valid);
                self.shared_store(tile, at, value, writer);
            }
        }
        self.barrier();
        let mut prefixes = Vec::with_capacity(ends.len());
        for r in 0..ends.len() {
            let first = rows.first(self, r as u32);
            let mut prefix: Option<Partial> = None;
            // In the order of the scan; the last warp has nobody behind it.
            for step in 0..rows.warps - 1 {
                let w = if how.reverse { rows.warps - 1 - step } else { step };
                let at = self.w.add_nsw(first, Val::i32(w));
                let mut values: SmallVec<[Val; 3]> = tiles.iter().map(|tile| self.shared_load(tile, at)).collect();
                let there = values.pop().expect("the last tile says whether a value is there");
                let earlier = self.w.icmp(if how.reverse { "ugt" } else { "ult" }, Val::i32(w), rows.warp);
                let valid = self.w.and(there, earlier);
                let next = Partial { values: values.iter().copied().collect(), valid };
                prefix = Some(match prefix {
                    Some(so_far) => self.combine(how.combine, &how.elems, &so_far, &next)?,
                    None => next,
                });
            }
            prefixes.push(prefix.ok_or_else(|| internal("a scan over one warp asked for other warps"))?);
        }
        Ok(prefixes)
    }

    fn shuffle_partial(&mut self, mode: &str, own: &Partial, distance: Val, there: Val) -> Partial {
        let values = own.values.iter().map(|&v| self.shuffle(mode, v, distance)).collect();
        let valid = if own.valid.is_true() {
            there
        } else {
            let theirs = self.shuffle(mode, own.valid, distance);
            self.w.and(theirs, there)
        };
        Partial { values, valid }
    }
}

/// The number of lane bits and the warp bits along the axis; the lane bits must be the lowest.
fn axis_bits(layout: &Layout, axis: usize) -> Result<(u8, Vec<u8>)> {
    let unit = layout.unit();
    let along = |hw: Hw, bit: u8| unit.basis(hw, bit)[axis] != 0;
    let lanes: Vec<u8> = (0..unit.bits(Hw::Lane)).filter(|&b| along(Hw::Lane, b)).collect();
    let warps: Vec<u8> = (0..unit.bits(Hw::Warp)).filter(|&b| along(Hw::Warp, b)).collect();
    let lowest = lanes.iter().enumerate().all(|(i, &b)| i == usize::from(b));
    if !lowest || layout.reps()[axis] != 1 {
        return Err(internal("a scan in a layout that is not made for it"));
    }
    Ok((lanes.len() as u8, warps))
}
