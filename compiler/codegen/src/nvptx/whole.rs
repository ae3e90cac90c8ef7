//! Histograms, sorts and topk: every element looks at the others of its row in shared memory.
//!
//! A sort counts, for each element, those that come before it; the count is its place. That takes n steps a row but no second
//! arrangement of threads, and it is stable by construction.

use kiln_ir::ops::CmpOp;
use kiln_ir::{Elem, Inst, ScalarType, Shape, Value};

use super::emit::Emitter;
use super::error::{Result, internal};
use super::shared_tile::SharedTile;
use super::spread::Spread;
use super::text::{Asm, Ty, Val};

/// The rows of a tile along an axis: element offsets in a row-major shared tile.
struct RowOf {
    shape: Shape,
    axis: usize,
}

impl RowOf {
    /// Distance of neighbours along the axis.
    fn step(&self) -> u32 {
        self.shape[self.axis + 1..].iter().product()
    }

    /// Offset of the row's first element (i32).
    fn first(&self, e: &mut Emitter<'_>, spread: &Spread, r: u32) -> Val {
        let axis = self.axis;
        e.flatten_with(&self.shape, |e, d| if d == axis { Val::i32(0) } else { e.coord(spread, r, d) })
    }
}

impl Emitter<'_> {
    pub(super) fn sort(&mut self, inst: Inst, args: &[Value], axis: usize, descending: bool) -> Result<()> {
        let row = RowOf { shape: self.shape(args[0]), axis };
        let count: u32 = row.shape.iter().product();
        let elems: Vec<Elem> = args.iter().map(|&a| self.func.ty(a).elem()).collect();
        // The keys, then the sorted tiles.
        let tiles = self.tiles(elems.first().into_iter().chain(&elems).map(|&elem| (elem, count)));
        let spread = self.spread_of(self.func.ty(args[0])).ok_or_else(|| internal("a sort of a scalar"))?;
        self.write_tile(&tiles[0], args[0], |e, spread, r| Ok(e.flat_index(spread, r, &row.shape)))?;
        self.barrier();
        let ranks = self.ranks(args[0], &spread, &tiles[0], &row, descending)?;
        for (&arg, tile) in args.iter().zip(&tiles[1..]) {
            let own = self.spread_of(self.func.ty(arg)).ok_or_else(|| internal("a sort of a scalar"))?;
            if own.layout != spread.layout {
                return Err(internal("keys and payloads of a sort in different layouts"));
            }
            self.write_tile(tile, arg, |e, spread, r| {
                let first = row.first(e, spread, r);
                let distance = e.w.mul_nsw(ranks[r as usize], Val::i32(row.step()));
                Ok(e.w.add_nsw(first, distance))
            })?;
        }
        self.barrier();
        let results: Vec<Value> = self.func.results_of(inst).to_vec();
        for (&result, tile) in results.iter().zip(&tiles[1..]) {
            self.read_tile(result, tile, |e, spread, r| Ok((e.flat_index(spread, r, &row.shape), Val::bool(true))))?;
        }
        Ok(())
    }

    pub(super) fn topk(&mut self, inst: Inst, arg: Value, k: u32) -> Result<()> {
        let shape = self.shape(arg);
        let row = RowOf { axis: shape.len() - 1, shape };
        let count: u32 = row.shape.iter().product();
        let mut out = row.shape.clone();
        out[row.axis] = k;
        let out_count: u32 = out.iter().product();
        let elem = self.func.ty(arg).elem();
        let position = Elem::Scalar(ScalarType::I32);
        let tiles = self.tiles([(elem, count), (elem, out_count), (position, out_count)]);
        let spread = self.spread_of(self.func.ty(arg)).ok_or_else(|| internal("topk of a scalar"))?;
        self.write_tile(&tiles[0], arg, |e, spread, r| Ok(e.flat_index(spread, r, &row.shape)))?;
        self.barrier();
        let ranks = self.ranks(arg, &spread, &tiles[0], &row, true)?;
        let regs = self.regs(arg);
        for r in spread.layout.owning_registers() {
            let rank = ranks[r as usize];
            let owns = self.owns(&spread, r, &row.shape);
            let wanted = self.w.icmp("ult", rank, Val::i32(k));
            let predicate = self.w.and(owns, wanted);
            let axis = row.axis;
            let at = self.flatten_with(&out, |e, d| if d == axis { rank } else { e.coord(&spread, r, d) });
            self.shared_store(&tiles[1], at, regs[r as usize], predicate);
            let place = self.coord(&spread, r, axis);
            self.shared_store(&tiles[2], at, place, predicate);
        }
        self.barrier();
        let results: Vec<Value> = self.func.results_of(inst).to_vec();
        for (&result, tile) in results.iter().zip(&tiles[1..]) {
            self.read_tile(result, tile, |e, spread, r| Ok((e.flat_index(spread, r, &out), Val::bool(true))))?;
        }
        Ok(())
    }

    /// For each register, how many elements of its row come before it.
    fn ranks(&mut self, keys: Value, spread: &Spread, tile: &SharedTile, row: &RowOf, descending: bool) -> Result<Vec<Val>> {
        let elem = tile.elem.scalar().ok_or_else(|| internal("a sort of pointers"))?;
        let regs = self.regs(keys);
        let own: Vec<(Val, Val)> = (0..regs.len() as u32)
            .map(|r| {
                // Padding looks at row 0, and nobody looks at it.
                let inside = spread.inside(&mut self.w, r, &row.shape);
                let first = row.first(self, spread, r);
                let first = self.w.select(inside, first, Val::i32(0));
                (first, self.coord(spread, r, row.axis))
            })
            .collect();
        let (head, done) = (self.w.new_label(), self.w.new_label());
        let before = self.w.current();
        self.w.jump(head);
        self.w.start(head);
        let (j, open_j) = self.w.open_phi(Ty::I32);
        let (counts, open): (Vec<Val>, Vec<_>) = regs.iter().map(|_| self.w.open_phi(Ty::I32)).unzip();
        let distance = self.w.mul_nsw(j, Val::i32(row.step()));
        let mut next = Vec::with_capacity(counts.len());
        for (r, &(first, place)) in own.iter().enumerate() {
            let at = self.w.add_nsw(first, distance);
            let other = self.shared_load(tile, at);
            let (less, more) = if descending { (regs[r], other) } else { (other, regs[r]) };
            let sooner = self.sorts_before(elem, less, more);
            let later = self.sorts_before(elem, more, less);
            let differs = self.w.or(sooner, later);
            let equal = self.w.not(differs);
            let earlier = self.w.icmp("slt", j, place);
            let tie = self.w.and(equal, earlier);
            let precedes = self.w.or(sooner, tie);
            let one = self.w.cast("zext", precedes, Ty::I32);
            next.push(self.w.add(counts[r], one));
        }
        let more = self.w.add(j, Val::i32(1));
        let again = self.w.icmp("ult", more, Val::i32(row.shape[row.axis]));
        let latch = self.w.current();
        self.w.branch(again, head, done);
        self.w.close_phi(open_j, &[(Val::i32(0), before), (more, latch)]);
        for (phi, &value) in open.into_iter().zip(&next) {
            self.w.close_phi(phi, &[(Val::i32(0), before), (value, latch)]);
        }
        self.w.start(done);
        Ok(next)
    }

    /// `a` sorts before `b`; NaN is the greatest.
    fn sorts_before(&mut self, elem: ScalarType, a: Val, b: Val) -> Val {
        let less = self.compare_one(CmpOp::Lt, Some(elem), a, b);
        if !elem.is_float() {
            return less;
        }
        let a_nan = self.compare_one(CmpOp::Ne, Some(elem), a, a);
        let b_nan = self.compare_one(CmpOp::Ne, Some(elem), b, b);
        let a_number = self.w.not(a_nan);
        let only_b = self.w.and(a_number, b_nan);
        self.w.or(less, only_b)
    }

    pub(super) fn histogram(&mut self, inst: Inst, arg: Value, bins: u32, mask: Option<Value>) -> Result<()> {
        let count = Elem::Scalar(ScalarType::I32);
        let tiles = self.tiles([(count, bins)]);
        let threads = 32 * self.threads.warps;
        for i in 0..bins.div_ceil(threads) {
            let at = self.w.add_nsw(self.threads.tid, Val::i32(i * threads));
            let inside = if (i + 1) * threads <= bins { Val::bool(true) } else { self.w.icmp("ult", at, Val::i32(bins)) };
            self.shared_store(&tiles[0], at, Val::i32(0), inside);
        }
        self.barrier();
        let shape = self.shape(arg);
        let signed = self.func.ty(arg).scalar_elem().is_some_and(|s| s.is_signed_int());
        let regs = self.regs(arg);
        let mask = mask.map(|m| self.regs(m));
        let spread = self.spread_of(self.func.ty(arg));
        let owners: Vec<u32> = spread.as_ref().map_or_else(|| vec![0], |s| s.layout.owning_registers().collect());
        for r in owners {
            let mut counts = match &spread {
                Some(spread) => self.owns(spread, r, &shape),
                None => self.first_thread(),
            };
            let value = self.w.cast_int(regs[r as usize], Ty::I64, signed);
            let inside = self.w.icmp("ult", value, Val::int(Ty::I64, i64::from(bins)));
            counts = self.w.and(counts, inside);
            if let Some(mask) = &mask {
                counts = self.w.and(counts, mask[r as usize]);
            }
            let bin = self.w.cast("trunc", value, Ty::I32);
            let address = self.w.offset(tiles[0].base, bin, 4);
            self.w.asm(&[], Asm::Memory, "@$1 red.shared.add.u32 [$0], 1;", "r,b", &[address, counts]);
        }
        self.barrier();
        self.fetch(inst, &tiles[0], |e, spread, r| Ok((e.flat_index(spread, r, &[bins]), Val::bool(true))))
    }

    /// Shared tiles side by side: element type and number of elements of each.
    pub(super) fn tiles(&mut self, parts: impl IntoIterator<Item = (Elem, u32)>) -> Vec<SharedTile> {
        let mut bytes = 0;
        let starts: Vec<(Elem, u32)> = parts
            .into_iter()
            .map(|(elem, count)| {
                let start = bytes;
                bytes += (count * elem.bytes()).next_multiple_of(16);
                (elem, start)
            })
            .collect();
        let base = self.scratch(bytes);
        starts.into_iter().map(|(elem, start)| SharedTile { base: self.w.offset(base, Val::i32(start), 1), elem }).collect()
    }
}
