//! Inclusive scans. Along the lanes: shuffles within a vector and a carry from chunk to chunk; down the columns: one carry vector.

use kiln_ir::{Inst, InstData};

use super::nest::{Coord, Coords, Lv, Nest, Op};
use super::{Buffer, Emitter};
use crate::CodegenError;
use crate::llvm::Val;

struct Scan {
    inst: Inst,
    args: Vec<kiln_ir::Value>,
    elems: Vec<kiln_ir::Elem>,
    combine: kiln_ir::Combine,
    axis: usize,
    reverse: bool,
    shape: Vec<u32>,
    out: Vec<Buffer>,
}

impl Emitter<'_> {
    /// Emits a `Scan`; its results get their buffers.
    pub fn scan(&mut self, inst: Inst) -> Result<(), CodegenError> {
        let func = self.func;
        let InstData::Scan { args, axis, reverse, combine } = &func.insts[inst] else {
            return Err(CodegenError::internal("not a scan"));
        };
        let shape = func.ty(args[0]).shape().to_vec();
        let out = func.results_of(inst).to_vec().into_iter().map(|r| self.result_buffer(r)).collect();
        let s = Scan {
            inst,
            args: args.to_vec(),
            elems: args.iter().map(|&v| func.ty(v).elem()).collect(),
            combine: *combine,
            axis: usize::from(*axis),
            reverse: *reverse,
            shape,
            out,
        };
        let widest = s
            .elems
            .iter()
            .map(|e| if e.scalar().is_some_and(|s| s.is_float()) { e.bytes().max(4) } else { e.bytes() })
            .max()
            .unwrap_or(4);
        let most = (self.vector_bytes / widest).clamp(1, 64);
        let last = s.shape.len() - 1;
        let along_lanes = s.axis == last || s.shape[last] == 1;
        let lane_axis = if along_lanes { s.axis } else { last };
        let extent = s.shape[lane_axis];
        // Whole vectors only: a lane count no larger than the extent.
        let lanes = most.min(1 << extent.ilog2());
        let mut n = Nest::new(lanes);
        let outer: Vec<usize> = (0..s.shape.len()).filter(|&a| a != s.axis && a != lane_axis).collect();
        let mut coords: Coords = s.shape.iter().map(|_| Coord::Const(0)).collect();
        self.scan_outer(&mut n, &s, &outer, lane_axis, &mut coords)
    }

    fn scan_outer(
        &mut self,
        n: &mut Nest,
        s: &Scan,
        axes: &[usize],
        lane_axis: usize,
        coords: &mut Coords,
    ) -> Result<(), CodegenError> {
        let Some((&axis, rest)) = axes.split_first() else {
            return if lane_axis == s.axis { self.scan_lanes(n, s, coords) } else { self.scan_columns(n, s, lane_axis, coords) };
        };
        if s.shape[axis] == 1 {
            return self.scan_outer(n, s, rest, lane_axis, coords);
        }
        let open = self.b.begin_loop(self.b.const_i64(0), self.b.const_i64(1), &[]);
        n.push(&open);
        coords[axis] = Coord::Uni(Lv { v: open.iv, level: n.top() });
        self.scan_outer(n, s, rest, lane_axis, coords)?;
        n.pop();
        self.b.end_loop(open, self.b.const_i64(i64::from(s.shape[axis])), &[]);
        Ok(())
    }

    fn scan_args(&mut self, n: &mut Nest, s: &Scan, coords: &Coords) -> Result<Vec<Val>, CodegenError> {
        s.args
            .iter()
            .map(|&v| {
                let value = self.eval(n, v, coords)?;
                Ok(self.b.splat(value.v, n.lanes))
            })
            .collect()
    }

    /// The scanned axis along the lanes: whole chunks in a loop, then one partial chunk.
    fn scan_lanes(&mut self, n: &mut Nest, s: &Scan, coords: &mut Coords) -> Result<(), CodegenError> {
        let (extent, lanes) = (i64::from(s.shape[s.axis]), i64::from(n.lanes));
        let rest = extent % lanes;
        let mut carry: Vec<Val> = vec![self.b.const_bool(false)];
        carry.extend(s.elems.iter().map(|&e| self.b.zero(self.reg_ty(e))));
        let open = self.b.begin_loop(self.b.const_i64(0), self.b.const_i64(lanes), &carry);
        n.push(&open);
        n.lane_level = n.top();
        let iv = Lv { v: open.iv, level: n.top() };
        let base = if s.reverse {
            let end = self.const_lv(extent - lanes);
            self.op(n, Op::Sub, end, iv)
        } else {
            n.bases = vec![open.iv];
            iv
        };
        coords[s.axis] = if lanes == 1 { Coord::Uni(base) } else { Coord::Lin(base) };
        let next = self.scan_chunk(n, s, coords, &open.carried, n.lanes)?;
        n.pop();
        carry = self.b.end_loop(open, self.b.const_i64(extent - rest), &next);
        if rest > 0 {
            let base = self.const_lv(if s.reverse { 0 } else { extent - rest });
            n.lane_level = n.top();
            n.bases.clear();
            n.mask = Some(self.first_lanes(n, self.b.const_i64(rest)));
            coords[s.axis] = Coord::Lin(base);
            self.scan_chunk(n, s, coords, &carry, rest as u32)?;
            n.mask = None;
        }
        n.lane_level = usize::MAX;
        Ok(())
    }

    /// One chunk of which the first `count` lanes exist. `carry`: a flag and a scalar an operand; returns the next.
    fn scan_chunk(
        &mut self,
        n: &mut Nest,
        s: &Scan,
        coords: &Coords,
        carry: &[Val],
        count: u32,
    ) -> Result<Vec<Val>, CodegenError> {
        let lanes = n.lanes;
        // In scan order: reversed lanes for a reverse scan.
        let order: Vec<u32> = (0..lanes).map(|i| if s.reverse && i < count { count - 1 - i } else { i }).collect();
        let mut x = self.scan_args(n, s, coords)?;
        if s.reverse {
            x = x.iter().map(|&v| self.b.shuffle(v, v, &order)).collect();
        }
        let mut distance = 1;
        while distance < lanes {
            let shift: Vec<u32> = (0..lanes).map(|i| i.saturating_sub(distance)).collect();
            let earlier: Vec<Val> = x.iter().map(|&v| self.b.shuffle(v, v, &shift)).collect();
            let combined = self.combine_tuples(s.inst, s.combine, &s.elems, &earlier, &x)?;
            let bits: Vec<Val> = (0..lanes).map(|i| self.b.const_bool(i >= distance)).collect();
            let has = self.b.const_vec(&bits);
            x = combined.iter().zip(&x).map(|(&c, &x)| self.b.select(has, c, x)).collect();
            distance *= 2;
        }
        let before: Vec<Val> = carry[1..].iter().map(|&v| self.b.splat(v, lanes)).collect();
        let combined = self.combine_tuples(s.inst, s.combine, &s.elems, &before, &x)?;
        let x: Vec<Val> = combined.iter().zip(&x).map(|(&c, &x)| self.b.select(carry[0], c, x)).collect();
        let mut next = vec![self.b.const_bool(true)];
        next.extend(x.iter().map(|&v| self.b.extract(v, count - 1)));
        for (&v, out) in x.iter().zip(&s.out) {
            let v = if s.reverse { self.b.shuffle(v, v, &order) } else { v };
            let level = n.top();
            self.store_buffer(n, out, coords, Lv { v, level })?;
        }
        Ok(next)
    }

    /// The scanned axis across vectors of another axis.
    fn scan_columns(&mut self, n: &mut Nest, s: &Scan, lane_axis: usize, coords: &mut Coords) -> Result<(), CodegenError> {
        let (extent, lanes) = (i64::from(s.shape[lane_axis]), i64::from(n.lanes));
        let rest = extent % lanes;
        let open = self.b.begin_loop(self.b.const_i64(0), self.b.const_i64(lanes), &[]);
        n.push(&open);
        n.lane_level = n.top();
        n.bases = vec![open.iv];
        let base = Lv { v: open.iv, level: n.top() };
        coords[lane_axis] = if lanes == 1 { Coord::Uni(base) } else { Coord::Lin(base) };
        self.scan_column(n, s, coords)?;
        n.pop();
        self.b.end_loop(open, self.b.const_i64(extent - rest), &[]);
        if rest > 0 {
            n.lane_level = n.top();
            n.bases.clear();
            n.mask = Some(self.first_lanes(n, self.b.const_i64(rest)));
            coords[lane_axis] = Coord::Lin(self.const_lv(extent - rest));
            self.scan_column(n, s, coords)?;
            n.mask = None;
        }
        n.lane_level = usize::MAX;
        Ok(())
    }

    fn scan_column(&mut self, n: &mut Nest, s: &Scan, coords: &Coords) -> Result<(), CodegenError> {
        let length = i64::from(s.shape[s.axis]);
        let init: Vec<Val> = s.elems.iter().map(|&e| self.b.zero(self.b.vec(self.reg_ty(e), n.lanes))).collect();
        let open = self.b.begin_loop(self.b.const_i64(0), self.b.const_i64(1), &init);
        n.push(&open);
        let iv = Lv { v: open.iv, level: n.top() };
        let at = if s.reverse {
            let last = self.const_lv(length - 1);
            self.op(n, Op::Sub, last, iv)
        } else {
            iv
        };
        let mut c = coords.clone();
        c[s.axis] = Coord::Uni(at);
        let x = self.scan_args(n, s, &c)?;
        let combined = self.combine_tuples(s.inst, s.combine, &s.elems, &open.carried, &x)?;
        let first = self.b.icmp(crate::llvm::IntPred::LLVMIntEQ, open.iv, self.b.const_i64(0));
        let next: Vec<Val> = combined.iter().zip(&x).map(|(&y, &x)| self.b.select(first, x, y)).collect();
        for (&v, out) in next.iter().zip(&s.out) {
            let level = n.top();
            self.store_buffer(n, out, &c, Lv { v, level })?;
        }
        n.pop();
        self.b.end_loop(open, self.b.const_i64(length), &next);
        Ok(())
    }
}
