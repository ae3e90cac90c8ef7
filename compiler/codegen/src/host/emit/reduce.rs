//! Reductions: accumulators along the lanes or down the columns of a group's loops, and combinations of tuples with builtin operators or closures.
//!
//! Builtin operators commute, so the folded axis may run along the lanes with one accumulator a lane. A closure is associative only: along the lanes, neighbours
//! are combined in order (a tree over each chunk) and chunks one after the other.

use kiln_ir::ops::BinaryOp;
use kiln_ir::{Block, Combine, Elem, Inst, InstData, ScalarType, Value};
use smallvec::SmallVec;

use super::Emitter;
use super::nest::{Coord, Coords, GroupNest, Lv, Nest};
use crate::CodegenError;
use crate::llvm::{FloatPred, IntPred, Val};

/// A reduction of a group.
#[derive(Clone)]
pub(crate) struct Reduction {
    pub inst: Inst,
    pub args: Vec<Value>,
    pub combine: Combine,
    pub elems: Vec<Elem>,
    pub results: Vec<Value>,
    /// A closure folded along the lanes: neighbours must be combined in order.
    pub ordered: bool,
}

impl Reduction {
    /// Prepares a reduction; its results of rank 1 and more get their buffers.
    pub fn new(e: &mut Emitter<'_>, inst: Inst, along_lanes: bool) -> Result<Reduction, CodegenError> {
        let InstData::Reduce { args, combine, .. } = &e.func.insts[inst] else {
            return Err(CodegenError::internal("not a reduction"));
        };
        let results = e.func.results_of(inst).to_vec();
        for &r in &results {
            if e.is_tile(r) {
                e.result_buffer(r);
            }
        }
        Ok(Reduction {
            inst,
            elems: args.iter().map(|&v| e.func.ty(v).elem()).collect(),
            args: args.to_vec(),
            combine: *combine,
            results,
            ordered: along_lanes && matches!(combine, Combine::Region(_)),
        })
    }

    fn width(&self) -> usize {
        self.args.len()
    }

    /// A float maximum or minimum: accumulated by plain comparisons, with a flag a lane for "a NaN was seen". Testing for NaN in every step of the
    /// chain would cost twice as much.
    fn flagged(&self) -> bool {
        matches!(self.combine, Combine::Max | Combine::Min) && self.elems[0].scalar().is_some_and(ScalarType::is_float)
    }

    /// LLVM values an accumulator consists of.
    fn acc_width(&self) -> usize {
        self.width() + usize::from(self.flagged())
    }
}

impl Emitter<'_> {
    /// The value that a builtin combination leaves alone. Absent for closures.
    pub fn neutral(&self, combine: Combine, elems: &[Elem]) -> Option<Vec<Val>> {
        let l = &self.b;
        let elem = elems[0];
        let s = elem.scalar().unwrap_or(ScalarType::U64);
        let ty = self.reg_ty(elem);
        let bits = if s.is_float() { 0 } else { l.int_bits(ty) };
        let int = |k: i64| l.int(ty, k);
        let (min, max) = match (s.is_signed_int(), bits) {
            (true, 64) => (i64::MIN, i64::MAX),
            (true, n) => (-(1i64 << (n - 1)), (1i64 << (n - 1)) - 1),
            (false, _) => (0, -1),
        };
        let float = s.is_float();
        let one = match combine {
            Combine::Add if float => l.float(ty, -0.0),
            Combine::Add | Combine::Or | Combine::Xor => int(0),
            Combine::Mul if float => l.float(ty, 1.0),
            Combine::Mul => int(1),
            Combine::And => int(-1),
            Combine::Max | Combine::ArgMax if float => l.float(ty, f64::NEG_INFINITY),
            Combine::Min | Combine::ArgMin if float => l.float(ty, f64::INFINITY),
            Combine::FMax | Combine::FMin if float => l.float(ty, f64::NAN),
            Combine::Max | Combine::FMax | Combine::ArgMax => int(min),
            Combine::Min | Combine::FMin | Combine::ArgMin => int(max),
            Combine::Region(_) => return None,
        };
        let mut all = vec![one];
        if matches!(combine, Combine::ArgMax | Combine::ArgMin) {
            // The greatest position: any element wins a tie.
            let ty = self.reg_ty(elems[1]);
            let bits = l.int_bits(ty);
            let signed = elems[1].scalar().is_some_and(ScalarType::is_signed_int);
            all.push(l.int(
                ty,
                if !signed {
                    -1
                } else if bits == 64 {
                    i64::MAX
                } else {
                    (1i64 << (bits - 1)) - 1
                },
            ));
        }
        Some(all)
    }

    /// Combines two tuples lane by lane, `a` before `b`.
    pub fn combine_tuples(
        &mut self,
        inst: Inst,
        combine: Combine,
        elems: &[Elem],
        a: &[Val],
        b: &[Val],
    ) -> Result<Vec<Val>, CodegenError> {
        let op = match combine {
            Combine::Add => BinaryOp::Add,
            Combine::Mul => BinaryOp::Mul,
            Combine::Max => BinaryOp::Max,
            Combine::Min => BinaryOp::Min,
            Combine::FMax => BinaryOp::FMax,
            Combine::FMin => BinaryOp::FMin,
            Combine::And => BinaryOp::And,
            Combine::Or => BinaryOp::Or,
            Combine::Xor => BinaryOp::Xor,
            Combine::ArgMax | Combine::ArgMin => return Ok(self.combine_arg(combine == Combine::ArgMax, elems, a, b)),
            Combine::Region(block) => return self.expand_region(block, a, b),
        };
        let v = self.binary(op, elems[0], a[0], b[0], None).map_err(|m| self.unsupported(inst, m))?;
        Ok(vec![v])
    }

    fn combine_arg(&self, greatest: bool, elems: &[Elem], a: &[Val], b: &[Val]) -> Vec<Val> {
        let l = &self.b;
        let s = elems[0].scalar().unwrap_or(ScalarType::U64);
        let signed_position = elems[1].scalar().is_some_and(ScalarType::is_signed_int);
        let before = l.icmp(if signed_position { IntPred::LLVMIntSLT } else { IntPred::LLVMIntULT }, b[1], a[1]);
        let take = if s.is_float() {
            let nan = |v| l.fcmp(FloatPred::LLVMRealUNO, v, v);
            let (nan_a, nan_b) = (nan(a[0]), nan(b[0]));
            let wins = l.fcmp(if greatest { FloatPred::LLVMRealOGT } else { FloatPred::LLVMRealOLT }, b[0], a[0]);
            let wins = l.or(wins, l.and(nan_b, l.not(nan_a)));
            let tie = l.or(l.fcmp(FloatPred::LLVMRealOEQ, a[0], b[0]), l.and(nan_a, nan_b));
            l.or(wins, l.and(tie, before))
        } else {
            let pred = match (greatest, s.is_signed_int()) {
                (true, true) => IntPred::LLVMIntSGT,
                (true, false) => IntPred::LLVMIntUGT,
                (false, true) => IntPred::LLVMIntSLT,
                (false, false) => IntPred::LLVMIntULT,
            };
            let wins = l.icmp(pred, b[0], a[0]);
            let tie = l.icmp(IntPred::LLVMIntEQ, b[0], a[0]);
            l.or(wins, l.and(tie, before))
        };
        (0..2).map(|i| l.select(take, b[i], a[i])).collect()
    }

    /// Expands a combine block on lanes.
    fn expand_region(&mut self, block: Block, a: &[Val], b: &[Val]) -> Result<Vec<Val>, CodegenError> {
        let func = self.func;
        let lanes = a.iter().chain(b).map(|&v| self.b.lanes(v)).max().unwrap_or(1);
        let saved = std::mem::take(&mut self.region);
        let params = &func.blocks[block].params;
        for (&p, &v) in params.iter().zip(a.iter().chain(b)) {
            let v = self.b.splat(v, lanes);
            self.region.insert(p, v);
        }
        let result = self.expand_region_block(block);
        self.region = saved;
        result
    }

    fn region_value(&self, v: Value) -> Result<Val, CodegenError> {
        if let Some(&lanes) = self.region.get(&v).or_else(|| self.scalars.get(&v)) {
            return Ok(lanes);
        }
        Err(CodegenError::internal(format!("{v} is not known in a combine block")))
    }

    fn expand_region_block(&mut self, block: Block) -> Result<Vec<Val>, CodegenError> {
        let func = self.func;
        for &inner in &func.blocks[block].insts {
            let data = &func.insts[inner];
            match data {
                InstData::Yield { args } => return args.iter().map(|&v| self.region_value(v)).collect(),
                InstData::Const { value } => {
                    let r = func.result(inner);
                    let v = self.constant(func.ty(r).elem(), *value);
                    self.region.insert(r, v);
                }
                InstData::If { cond, then, otherwise } => {
                    // Both sides are pure: computed and selected.
                    if func.effects(inner).reads || func.effects(inner).pinned {
                        return Err(
                            self.unsupported(inner, "a branch with effects inside a closure is not available on the CPU yet")
                        );
                    }
                    let cond = self.region_value(*cond)?;
                    let (yes, no) = (self.expand_region_block(*then)?, self.expand_region_block(*otherwise)?);
                    for ((&r, y), x) in func.results_of(inner).iter().zip(yes).zip(no) {
                        let lanes = [cond, y, x].iter().map(|&v| self.b.lanes(v)).max().unwrap_or(1);
                        let v = self.b.select(self.b.splat(cond, lanes), self.b.splat(y, lanes), self.b.splat(x, lanes));
                        self.region.insert(r, v);
                    }
                }
                InstData::Unary { .. }
                | InstData::Binary { .. }
                | InstData::Fma { .. }
                | InstData::Cmp { .. }
                | InstData::Select { .. }
                | InstData::Cast { .. }
                | InstData::Bitcast { .. } => {
                    let operands: Vec<Lv> = data
                        .operands()
                        .iter()
                        .map(|&v| Ok(Lv { v: self.region_value(v)?, level: 0 }))
                        .collect::<Result<_, CodegenError>>()?;
                    // One level: everything is computed here and now.
                    let mut flat = Nest::new(operands.iter().map(|o| self.b.lanes(o.v)).max().unwrap_or(1));
                    let value = self.lanewise(&mut flat, inner, &operands)?;
                    self.region.insert(func.result(inner), value.v);
                }
                InstData::Broadcast { arg } | InstData::Reshape { arg } if func.ty(func.result(inner)).rank() == 0 => {
                    let v = self.region_value(*arg)?;
                    self.region.insert(func.result(inner), v);
                }
                _ => return Err(self.unsupported(inner, "this operation inside a closure is not available on the CPU yet")),
            }
        }
        Err(CodegenError::internal("a combine block without a yield"))
    }

    /// An accumulator before the first element.
    fn fresh_acc(&self, r: &Reduction, lanes: u32) -> Vec<Val> {
        let mut acc: Vec<Val> = match self.neutral(r.combine, &r.elems) {
            Some(neutral) => neutral.iter().map(|&v| self.b.splat(v, lanes)).collect(),
            None => r.elems.iter().map(|&e| self.b.zero(self.b.vec(self.reg_ty(e), lanes))).collect(),
        };
        if r.flagged() {
            acc.push(self.b.zero(self.b.vec(self.b.i1(), lanes)));
        }
        acc
    }

    /// Folds a tuple into an accumulator.
    fn accumulate(&mut self, r: &Reduction, acc: &[Val], x: &[Val]) -> Result<Vec<Val>, CodegenError> {
        if !r.flagged() {
            return self.combine_tuples(r.inst, r.combine, &r.elems, acc, x);
        }
        let pred = if r.combine == Combine::Max { FloatPred::LLVMRealOGT } else { FloatPred::LLVMRealOLT };
        let value = self.b.select(self.b.fcmp(pred, acc[0], x[0]), acc[0], x[0]);
        let nan = self.b.or(acc[1], self.b.fcmp(FloatPred::LLVMRealUNO, x[0], x[0]));
        Ok(vec![value, nan])
    }

    /// The tuple an accumulator stands for.
    fn settle(&self, r: &Reduction, acc: &[Val]) -> Vec<Val> {
        if !r.flagged() {
            return acc.to_vec();
        }
        vec![self.b.select(acc[1], self.b.float(self.b.ty(acc[0]), f64::NAN), acc[0])]
    }

    // ---- along the lanes ----

    /// Accumulators at the start of the lane loop: for each reduction, per copy a vector an operand; for ordered ones a flag and a scalar an operand.
    pub fn start_lanes(&mut self, n: &Nest, g: &GroupNest, copies: u32) -> Vec<Val> {
        let mut accs = Vec::new();
        for r in &g.reductions {
            if r.ordered {
                accs.push(self.b.const_bool(false));
                accs.extend(r.elems.iter().map(|&e| self.b.zero(self.reg_ty(e))));
            } else {
                for _ in 0..copies {
                    accs.extend(self.fresh_acc(r, n.lanes));
                }
            }
        }
        accs
    }

    /// One chunk at `coords`: stores, and reductions folded into accumulator copy `copies[0]`.
    pub fn body(
        &mut self,
        n: &mut Nest,
        g: &mut GroupNest,
        coords: &Coords,
        copies: &[usize],
        accs: Vec<Val>,
    ) -> Result<Vec<Val>, CodegenError> {
        self.body_copies(n, g, std::slice::from_ref(coords), copies, accs)
    }

    /// Several chunks: `copies[i]` is the accumulator copy of chunk i.
    pub fn body_copies(
        &mut self,
        n: &mut Nest,
        g: &mut GroupNest,
        chunks: &[Coords],
        copies: &[usize],
        mut accs: Vec<Val>,
    ) -> Result<Vec<Val>, CodegenError> {
        let unroll = g.vector.unroll as usize;
        let mut at = 0;
        // Values are computed before anything is stored (tiles may be updated in place), chunk by chunk.
        let mut folded: Vec<Vec<Vec<Val>>> = vec![Vec::new(); g.reductions.len()];
        for c in chunks {
            for (i, r) in g.reductions.iter().enumerate() {
                let mut tuple = Vec::new();
                for &arg in &r.args {
                    let v = self.eval(n, arg, c)?;
                    tuple.push(self.b.splat(v.v, n.lanes));
                }
                folded[i].push(tuple);
            }
            self.point_roots(n, g, c)?;
        }
        for (i, r) in g.reductions.clone().iter().enumerate() {
            let width = r.width();
            if r.ordered {
                let count = n.mask.map(|_| {
                    let extent = i64::from(g.shape[g.vector.axis.unwrap_or(0)]);
                    let left = self.b.sub(self.b.const_i64(extent), n.bases[0]);
                    self.b.trunc(self.b.smin(left, self.b.const_i64(i64::from(n.lanes))), self.b.i32())
                });
                let tuple = self.fold_in_order(r, std::mem::take(&mut folded[i]), n.lanes, count)?;
                let (have, acc) = (accs[at], accs[at + 1..at + 1 + width].to_vec());
                let combined = self.combine_tuples(r.inst, r.combine, &r.elems, &acc, &tuple)?;
                for k in 0..width {
                    accs[at + 1 + k] = self.b.select(have, combined[k], tuple[k]);
                }
                accs[at] = self.b.const_bool(true);
                at += 1 + width;
                continue;
            }
            let stride = if g.vector.axis.is_none() { 1 } else { unroll };
            let width = r.acc_width();
            for (chunk, tuple) in std::mem::take(&mut folded[i]).into_iter().enumerate() {
                let from = at + copies[chunk] * width;
                let acc = accs[from..from + width].to_vec();
                let combined = self.accumulate(r, &acc, &tuple)?;
                for k in 0..width {
                    accs[from + k] = match n.mask {
                        Some(mask) => self.b.select(mask, combined[k], acc[k]),
                        None => combined[k],
                    };
                }
            }
            at += stride * width;
        }
        Ok(accs)
    }

    /// Combines the lanes of consecutive vectors in order to one scalar tuple. `count` (i32): how many lanes of a single vector exist.
    fn fold_in_order(
        &mut self,
        r: &Reduction,
        mut vectors: Vec<Vec<Val>>,
        lanes: u32,
        count: Option<Val>,
    ) -> Result<Vec<Val>, CodegenError> {
        while vectors.len() > 1 {
            let mut next = Vec::new();
            for pair in vectors.chunks(2) {
                let [a, b] = pair else {
                    next.push(pair[0].clone());
                    continue;
                };
                let (evens, odds): (Vec<u32>, Vec<u32>) =
                    ((0..lanes).map(|i| 2 * i).collect(), (0..lanes).map(|i| 2 * i + 1).collect());
                let pick = |e: &Self, indices: &[u32]| -> Vec<Val> {
                    a.iter().zip(b).map(|(&a, &b)| e.b.shuffle(a, b, indices)).collect()
                };
                let (x, y) = (pick(self, &evens), pick(self, &odds));
                next.push(self.combine_tuples(r.inst, r.combine, &r.elems, &x, &y)?);
            }
            vectors = next;
        }
        let mut tuple = vectors.pop().unwrap_or_default();
        let mut width = lanes;
        let mut count = count;
        while width > 1 {
            width /= 2;
            let (evens, odds): (Vec<u32>, Vec<u32>) =
                ((0..width).map(|i| 2 * i).collect(), (0..width).map(|i| 2 * i + 1).collect());
            let pick = |e: &Self, indices: &[u32]| -> Vec<Val> { tuple.iter().map(|&v| e.b.shuffle(v, v, indices)).collect() };
            let (x, y) = (pick(self, &evens), pick(self, &odds));
            let combined = self.combine_tuples(r.inst, r.combine, &r.elems, &x, &y)?;
            tuple = match count {
                None => combined,
                Some(left) => {
                    // A pair has a second half where 2 i + 1 < count.
                    let i32_ty = self.b.i32();
                    let second: Vec<Val> = odds.iter().map(|&i| self.b.int(i32_ty, i64::from(i))).collect();
                    let second = if width == 1 { second[0] } else { self.b.const_vec(&second) };
                    let both = self.b.icmp(IntPred::LLVMIntSLT, second, self.b.splat(left, width));
                    count = Some(self.b.lshr(self.b.add(left, self.b.int(i32_ty, 1)), self.b.int(i32_ty, 1)));
                    combined.iter().zip(&x).map(|(&c, &x)| self.b.select(both, c, x)).collect()
                }
            };
        }
        Ok(tuple)
    }

    /// After the lane loop: copies and lanes combined, results stored.
    pub fn finish_lanes(&mut self, n: &mut Nest, g: &GroupNest, coords: &Coords, accs: Vec<Val>) -> Result<(), CodegenError> {
        let copies = if g.vector.axis.is_none() { 1 } else { g.vector.unroll as usize };
        let mut at = 0;
        let fold = g.reduce_axis.unwrap_or(0);
        for r in g.reductions.clone() {
            let width = r.width();
            let mut tuple;
            if r.ordered {
                tuple = accs[at + 1..at + 1 + width].to_vec();
                at += 1 + width;
            } else {
                let width = r.acc_width();
                tuple = self.settle(&r, &accs[at..at + width]);
                for copy in 1..copies {
                    let other = self.settle(&r, &accs[at + copy * width..at + (copy + 1) * width]);
                    tuple = self.combine_tuples(r.inst, r.combine, &r.elems, &tuple, &other)?;
                }
                at += copies * width;
                let mut lanes = n.lanes;
                while lanes > 1 {
                    lanes /= 2;
                    let (low, high): (Vec<u32>, Vec<u32>) = ((0..lanes).collect(), (lanes..2 * lanes).collect());
                    let x: Vec<Val> = tuple.iter().map(|&v| self.b.shuffle(v, v, &low)).collect();
                    let y: Vec<Val> = tuple.iter().map(|&v| self.b.shuffle(v, v, &high)).collect();
                    tuple = self.combine_tuples(r.inst, r.combine, &r.elems, &x, &y)?;
                }
            }
            let mut outer: Coords = coords.clone();
            outer.remove(fold);
            for (&result, v) in r.results.iter().zip(tuple) {
                self.store_result(n, result, &outer, v)?;
            }
        }
        Ok(())
    }

    fn store_result(&mut self, n: &mut Nest, result: Value, coords: &Coords, v: Val) -> Result<(), CodegenError> {
        if !self.is_tile(result) {
            self.scalars.insert(result, v);
            return Ok(());
        }
        let buffer = self.buffer(result)?;
        let level = n.top();
        self.store_buffer(n, &buffer, coords, Lv { v, level })
    }

    // ---- down the columns ----

    /// Accumulators of a chunk of columns.
    pub fn start_columns(&mut self, n: &Nest, g: &GroupNest, copies: usize) -> Vec<Val> {
        let mut accs = Vec::new();
        for _ in 0..copies {
            for r in &g.reductions {
                accs.extend(self.fresh_acc(r, n.lanes));
            }
        }
        accs
    }

    /// One element of every column: stores, and reductions folded in.
    pub fn column_body(
        &mut self,
        n: &mut Nest,
        g: &mut GroupNest,
        coords: &Coords,
        copy: usize,
        first: Val,
        mut accs: Vec<Val>,
    ) -> Result<Vec<Val>, CodegenError> {
        let total: usize = g.reductions.iter().map(Reduction::acc_width).sum();
        let mut at = copy * total;
        let mut tuples: Vec<Vec<Val>> = Vec::new();
        for r in &g.reductions {
            let values: SmallVec<[Value; 2]> = r.args.iter().copied().collect();
            let mut tuple = Vec::new();
            for arg in values {
                let v = self.eval(n, arg, coords)?;
                tuple.push(self.b.splat(v.v, n.lanes));
            }
            tuples.push(tuple);
        }
        self.point_roots(n, g, coords)?;
        for (r, tuple) in g.reductions.clone().iter().zip(tuples) {
            let width = r.acc_width();
            let acc = accs[at..at + width].to_vec();
            let combined = self.accumulate(r, &acc, &tuple)?;
            let closure = matches!(r.combine, Combine::Region(_));
            for k in 0..width {
                accs[at + k] = if closure { self.b.select(first, tuple[k], combined[k]) } else { combined[k] };
            }
            at += width;
        }
        Ok(accs)
    }

    /// Stores the folded columns of a chunk.
    pub fn finish_columns(
        &mut self,
        n: &mut Nest,
        g: &GroupNest,
        coords: &Coords,
        fold: usize,
        copy: usize,
        accs: &[Val],
    ) -> Result<(), CodegenError> {
        let total: usize = g.reductions.iter().map(Reduction::acc_width).sum();
        let mut at = copy * total;
        let mut outer: Coords = coords.clone();
        outer.remove(fold);
        debug_assert!(outer.iter().any(|c| !matches!(c, Coord::Const(_))));
        for r in g.reductions.clone() {
            let width = r.acc_width();
            let tuple = self.settle(&r, &accs[at..at + width]);
            at += width;
            for (&result, v) in r.results.iter().zip(tuple) {
                self.store_result(n, result, &outer, v)?;
            }
        }
        Ok(())
    }
}
