//! Loop nests: one level a loop, code hoisted to the outermost level its coordinates allow, the vector loop split in a full-width main loop and a masked rest.

use kiln_ir::{Inst, InstData, Value};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::Emitter;
use super::reduce::Reduction;
use crate::CodegenError;
use crate::host::plan::axes::{self, Vectorization};
use crate::host::plan::{Dest, Group, Root};
use crate::llvm::{IntPred, Loop, Val};

/// An LLVM value and the level of the nest at which it exists. Vectors have `Nest::lanes` lanes, anything else is the same in every lane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Lv {
    pub v: Val,
    pub level: usize,
}

/// A position along one axis of a tile, for all lanes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Coord {
    /// The same constant in every lane.
    Const(i64),
    /// The same i64 in every lane.
    Uni(Lv),
    /// i64 base, plus the lane's number.
    Lin(Lv),
    /// Any i64 a lane.
    Vec(Lv),
}

impl Coord {
    /// The level at which the coordinate is known.
    pub fn level(self) -> usize {
        match self {
            Coord::Const(_) => 0,
            Coord::Uni(l) | Coord::Lin(l) | Coord::Vec(l) => l.level,
        }
    }

    /// Whether all lanes have one coordinate.
    pub fn uniform(self) -> bool {
        matches!(self, Coord::Const(_) | Coord::Uni(_))
    }
}

/// Coordinates of an element: one an axis.
pub(crate) type Coords = SmallVec<[Coord; 4]>;

/// Integer operations on coordinates, shared within a level.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Op {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    Min,
    Max,
    Lt,
    Le,
    And,
    /// Pointer plus elements of the given size.
    Gep(u32),
}

/// One loop of the nest (level 0: the code in front of it).
#[derive(Default)]
struct Level {
    /// The branch into the next inner loop: hoisted code goes before it. Absent for the innermost level.
    end: Option<Val>,
    values: FxHashMap<(Value, Coords), Lv>,
    ops: FxHashMap<(Op, Val, Val), Lv>,
}

/// For which chunk bases an access needs no mask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub lo: Lv,
    pub hi: Lv,
    pub ok: Option<Lv>,
}

/// A nest under construction.
pub(crate) struct Nest {
    levels: Vec<Level>,
    /// The level at which code is being placed.
    cursor: usize,
    /// Lanes of vectors.
    pub lanes: u32,
    /// In the main loop: accesses along the lanes register their limits instead of masking.
    pub full: bool,
    /// Bases of the lane coordinate in the current trip.
    pub bases: Vec<Val>,
    /// The level of the loop along lanes.
    pub lane_level: usize,
    /// Lanes that exist, in the masked rest of an extent that is no multiple of the lanes.
    pub mask: Option<Val>,
    limits: Vec<Limit>,
    /// Long contiguous loads fetch what lies one row further ahead: the next program's row, as a rule.
    pub fetch_ahead: bool,
}

impl Nest {
    /// A nest without loops at the builder's position.
    pub fn new(lanes: u32) -> Nest {
        Nest {
            levels: vec![Level::default()],
            cursor: 0,
            lanes,
            full: false,
            bases: Vec::new(),
            lane_level: usize::MAX,
            mask: None,
            limits: Vec::new(),
            fetch_ahead: false,
        }
    }

    /// The innermost level.
    pub fn top(&self) -> usize {
        self.levels.len() - 1
    }

    /// Registers that the main loop may only run where an access is in bounds.
    pub fn limit(&mut self, limit: Limit) {
        self.limits.push(limit);
    }

    /// Enters the loop that was just begun.
    pub fn push(&mut self, open: &Loop) {
        let top = self.top();
        self.levels[top].end = Some(open.entry_branch);
        self.levels.push(Level::default());
        self.cursor = self.top();
    }

    /// Leaves the innermost loop.
    pub fn pop(&mut self) {
        self.levels.pop();
        let top = self.top();
        self.levels[top].end = None;
        self.cursor = top;
    }

    pub fn cached(&self, v: Value, coords: &Coords, level: usize) -> Option<Lv> {
        self.levels[level].values.get(&(v, coords.clone())).copied()
    }

    pub fn remember(&mut self, v: Value, coords: Coords, value: Lv, level: usize) {
        self.levels[level].values.insert((v, coords), value);
    }
}

impl Emitter<'_> {
    /// Runs `f` with the builder at `level` (never deeper than the innermost).
    pub fn at_level<R>(&mut self, n: &mut Nest, level: usize, f: impl FnOnce(&mut Self, &mut Nest) -> R) -> R {
        let old = n.cursor;
        if level >= old {
            return f(self, n);
        }
        let block = self.b.current();
        if let Some(end) = n.levels[level].end {
            self.b.before(end);
        }
        n.cursor = level;
        let result = f(self, n);
        n.cursor = old;
        match n.levels[old].end {
            Some(end) if old < n.top() => self.b.before(end),
            _ => self.b.at_end(block),
        }
        result
    }

    /// An i64 (or bool, or pointer) operation on coordinates, placed at the outermost level that knows the operands and shared there.
    pub fn op(&mut self, n: &mut Nest, op: Op, x: Lv, y: Lv) -> Lv {
        let (cx, cy) = (self.b.as_const_int(x.v), self.b.as_const_int(y.v));
        match (op, cx, cy) {
            (Op::Add, Some(0), _) => return y,
            (Op::Add | Op::Sub, _, Some(0)) | (Op::Mul | Op::Div, _, Some(1)) | (Op::Gep(_), _, Some(0)) => return x,
            (Op::Mul, Some(1), _) => return y,
            (Op::Mul, Some(0), _) => return x,
            (Op::Mul, _, Some(0)) => return y,
            (Op::Min, Some(a), Some(b)) => return Lv { v: self.b.const_i64(a.min(b)), level: 0 },
            (Op::Max, Some(a), Some(b)) => return Lv { v: self.b.const_i64(a.max(b)), level: 0 },
            _ => {}
        }
        let level = x.level.max(y.level);
        if let Some(&hit) = n.levels[level].ops.get(&(op, x.v, y.v)) {
            return hit;
        }
        let v = self.at_level(n, level, |e, _| {
            let (mut a, mut b) = (x.v, y.v);
            if !matches!(op, Op::Gep(_)) {
                let lanes = e.b.lanes(a).max(e.b.lanes(b));
                a = e.b.splat(a, lanes);
                b = e.b.splat(b, lanes);
            }
            match op {
                Op::Add => e.b.add(a, b),
                Op::Sub => e.b.sub(a, b),
                Op::Mul => e.b.mul(a, b),
                Op::Div => e.b.sdiv(a, b),
                Op::Rem => e.b.srem(a, b),
                Op::Min => e.b.smin(a, b),
                Op::Max => e.b.smax(a, b),
                Op::Lt => e.b.icmp(IntPred::LLVMIntSLT, a, b),
                Op::Le => e.b.icmp(IntPred::LLVMIntSLE, a, b),
                Op::And => e.b.and(a, b),
                Op::Gep(bytes) => {
                    let elem = e.b.int_ty(bytes * 8);
                    e.b.gep(elem, a, b)
                }
            }
        });
        let result = Lv { v, level };
        n.levels[level].ops.insert((op, x.v, y.v), result);
        result
    }

    /// An i64 constant.
    pub fn const_lv(&self, value: i64) -> Lv {
        Lv { v: self.b.const_i64(value), level: 0 }
    }

    /// The i64 of a uniform coordinate, or the base of a linear one.
    pub fn coord_base(&self, c: Coord) -> Lv {
        match c {
            Coord::Const(k) => self.const_lv(k),
            Coord::Uni(l) | Coord::Lin(l) | Coord::Vec(l) => l,
        }
    }

    /// A coordinate as one i64 a lane (a scalar for uniform ones).
    pub fn coord_lanes(&mut self, n: &mut Nest, c: Coord) -> Lv {
        match c {
            Coord::Lin(base) => {
                let iota = Lv { v: self.b.iota(self.b.i64(), n.lanes), level: 0 };
                self.op(n, Op::Add, base, iota)
            }
            other => self.coord_base(other),
        }
    }

    /// `c + offset`.
    pub fn coord_add(&mut self, n: &mut Nest, c: Coord, offset: Lv) -> Coord {
        if let (Coord::Const(k), Some(o)) = (c, self.b.as_const_int(offset.v)) {
            return Coord::Const(k + o);
        }
        let base = self.coord_base(c);
        let sum = self.op(n, Op::Add, base, offset);
        match c {
            Coord::Const(_) | Coord::Uni(_) => Coord::Uni(sum),
            Coord::Lin(_) => Coord::Lin(sum),
            Coord::Vec(_) => Coord::Vec(sum),
        }
    }

    /// Emits the loops of a group.
    pub fn emit_group(&mut self, group: &Group) -> Result<(), CodegenError> {
        let shape = axes::choose(self.func, &self.plan.forms, group, self.vector_bytes);
        let old = std::mem::take(&mut self.kept);
        for root in &group.roots {
            if let Root::Materialize(v, Dest::Own) = root
                && self.plan.forms.contains_key(v)
                && !self.buffers.contains_key(v)
                && self.func.def_inst(*v).is_some_and(|d| crate::host::plan::forms::can_inline(&self.func.insts[d]))
            {
                self.kept.insert(*v);
            }
        }
        let mut g = GroupNest::new(self, group, shape)?;
        let mut nest = Nest::new(shape.lanes);
        nest.fetch_ahead = shape.busy;
        let outer: Vec<usize> =
            (0..group.shape.len()).filter(|&a| Some(a) != shape.axis && Some(a) != group.reduce_axis).collect();
        let mut coords: Coords = group.shape.iter().map(|_| Coord::Const(0)).collect();
        self.outer_loops(&mut nest, &mut g, &outer, &mut coords)?;
        for (v, buffer) in std::mem::take(&mut g.finished) {
            self.buffers.insert(v, buffer);
        }
        self.kept = old;
        self.finish_asserts(&g)
    }

    fn outer_loops(&mut self, n: &mut Nest, g: &mut GroupNest, axes: &[usize], coords: &mut Coords) -> Result<(), CodegenError> {
        let Some((&axis, rest)) = axes.split_first() else { return self.inner_loops(n, g, coords) };
        let extent = g.shape[axis];
        if extent == 1 {
            return self.outer_loops(n, g, rest, coords);
        }
        let open = self.b.begin_loop(self.b.const_i64(0), self.b.const_i64(1), &[]);
        n.push(&open);
        coords[axis] = Coord::Uni(Lv { v: open.iv, level: n.top() });
        self.outer_loops(n, g, rest, coords)?;
        n.pop();
        self.b.end_loop(open, self.b.const_i64(i64::from(extent)), &[]);
        Ok(())
    }

    /// The loop along lanes and, inside it, the loop along a folded axis that is not the lanes'.
    fn inner_loops(&mut self, n: &mut Nest, g: &mut GroupNest, coords: &mut Coords) -> Result<(), CodegenError> {
        match (g.vector.axis, g.reduce_axis) {
            (None, _) => {
                let accs = self.start_lanes(n, g, 1);
                let accs = self.body(n, g, coords, &[0], accs)?;
                self.finish_lanes(n, g, coords, accs)
            }
            (Some(axis), fold) if fold.is_none_or(|fold| fold == axis) => {
                let init = self.start_lanes(n, g, g.vector.unroll);
                let accs = self.vector_loop(n, g, axis, coords, init, |e, n, g, trips, accs| {
                    let copies: Vec<usize> = (0..trips.len()).collect();
                    let mut accs = accs;
                    if trips.len() > 1 && g.reductions.iter().any(|r| r.ordered) {
                        // Ordered combinations see all copies at once.
                        return e.body_copies(n, g, trips, &copies, accs);
                    }
                    for (copy, c) in trips.iter().enumerate() {
                        accs = e.body(n, g, c, &[copy], accs)?;
                    }
                    Ok(accs)
                })?;
                self.finish_lanes(n, g, coords, accs)
            }
            (Some(axis), fold) => {
                let fold = fold.unwrap_or(axis);
                let extent = g.shape[fold];
                self.vector_loop(n, g, axis, coords, Vec::new(), |e, n, g, trips, accs| {
                    let init = e.start_columns(n, g, trips.len());
                    let open = e.b.begin_loop(e.b.const_i64(0), e.b.const_i64(1), &init);
                    n.push(&open);
                    let level = n.top();
                    let first = e.b.icmp(IntPred::LLVMIntEQ, open.iv, e.b.const_i64(0));
                    let mut next = open.carried.clone();
                    for (copy, c) in trips.iter().enumerate() {
                        let mut c = c.clone();
                        c[fold] = Coord::Uni(Lv { v: open.iv, level });
                        next = e.column_body(n, g, &c, copy, first, next)?;
                    }
                    n.pop();
                    let done = e.b.end_loop(open, e.b.const_i64(i64::from(extent)), &next);
                    for (copy, c) in trips.iter().enumerate() {
                        e.finish_columns(n, g, c, fold, copy, &done)?;
                    }
                    Ok(accs)
                })?;
                Ok(())
            }
        }
    }

    /// The loop along the lanes of `axis`: a main loop of full, unmasked vectors as far as every access is in bounds, then a masked rest.
    fn vector_loop(
        &mut self,
        n: &mut Nest,
        g: &mut GroupNest,
        axis: usize,
        coords: &mut Coords,
        init: Vec<Val>,
        mut body: impl FnMut(&mut Self, &mut Nest, &mut GroupNest, &[Coords], Vec<Val>) -> Result<Vec<Val>, CodegenError>,
    ) -> Result<Vec<Val>, CodegenError> {
        let extent = i64::from(g.shape[axis]);
        let lanes = i64::from(n.lanes);
        let chunk = lanes * i64::from(g.vector.unroll);
        let mut accs = init;
        let mut cut = self.const_lv(0);
        n.lane_level = n.top() + 1;
        if extent >= chunk {
            let open = self.b.begin_loop(self.b.const_i64(0), self.b.const_i64(chunk), &accs);
            n.push(&open);
            (n.full, n.mask) = (true, None);
            n.limits.clear();
            let level = n.top();
            let mut trips = Vec::new();
            n.bases.clear();
            for copy in 0..i64::from(g.vector.unroll) {
                let base = self.op(n, Op::Add, Lv { v: open.iv, level }, self.const_lv(copy * lanes));
                n.bases.push(base.v);
                let mut c = coords.clone();
                c[axis] = if lanes == 1 { Coord::Uni(base) } else { Coord::Lin(base) };
                trips.push(c);
            }
            let next = body(self, n, g, &trips, open.carried.clone())?;
            cut = self.main_bound(n, extent, chunk);
            n.pop();
            accs = self.b.end_loop(open, cut.v, &next);
        }
        if self.b.as_const_int(cut.v) != Some(extent) {
            let open = self.b.begin_loop(cut.v, self.b.const_i64(lanes), &accs);
            n.push(&open);
            let level = n.top();
            n.full = false;
            n.bases = vec![open.iv];
            let base = Lv { v: open.iv, level };
            if extent % lanes != 0 {
                let left = self.b.sub(self.b.const_i64(extent), open.iv);
                n.mask = Some(self.first_lanes(n, left));
            }
            let mut c = coords.clone();
            c[axis] = if lanes == 1 { Coord::Uni(base) } else { Coord::Lin(base) };
            let next = body(self, n, g, &[c], open.carried.clone())?;
            n.pop();
            n.mask = None;
            accs = self.b.end_loop(open, self.b.const_i64(extent), &next);
        }
        n.lane_level = usize::MAX;
        n.full = false;
        Ok(accs)
    }

    /// A mask of the first `count` lanes (i64, may be out of range).
    pub fn first_lanes(&mut self, n: &Nest, count: Val) -> Val {
        let b = &self.b;
        let i32_ty = b.i32();
        let clamped = b.smin(b.smax(count, b.const_i64(0)), b.const_i64(i64::from(n.lanes)));
        let count = b.splat(b.trunc(clamped, i32_ty), n.lanes);
        b.icmp(IntPred::LLVMIntSLT, b.iota(i32_ty, n.lanes), count)
    }

    /// The end of the main loop: the extent, cut to where every registered access is in bounds, down to whole chunks.
    fn main_bound(&mut self, n: &mut Nest, extent: i64, chunk: i64) -> Lv {
        let limits = std::mem::take(&mut n.limits);
        let whole = extent / chunk * chunk;
        let mut bound = self.const_lv(whole);
        for limit in limits {
            let (lo, hi) = (self.b.as_const_int(limit.lo.v), self.b.as_const_int(limit.hi.v));
            if hi.is_none_or(|h| h < whole) {
                bound = self.op(n, Op::Min, bound, limit.hi);
            }
            let mut ok = limit.ok;
            if lo.is_none_or(|l| l > 0) {
                let starts = self.op(n, Op::Le, limit.lo, self.const_lv(0));
                ok = Some(match ok {
                    Some(ok) => self.op(n, Op::And, ok, starts),
                    None => starts,
                });
            }
            if let Some(ok) = ok {
                let level = ok.level.max(bound.level);
                let v = self.at_level(n, level, |e, _| e.b.select(ok.v, bound.v, e.b.const_i64(0)));
                bound = Lv { v, level };
            }
        }
        if self.b.as_const_int(bound.v).is_none() {
            let level = bound.level;
            let v = self.at_level(n, level, |e, _| {
                let v = e.b.smax(bound.v, e.b.const_i64(0));
                // Chunks are powers of two.
                e.b.and(v, e.b.const_i64(-chunk))
            });
            bound = Lv { v, level };
        }
        bound
    }

    /// Stores and materializations at one point: every value is computed before anything is written.
    pub fn point_roots(&mut self, n: &mut Nest, g: &mut GroupNest, coords: &Coords) -> Result<(), CodegenError> {
        let mut writes: Vec<(usize, Lv, Option<Lv>)> = Vec::new();
        for (i, root) in g.roots.clone().into_iter().enumerate() {
            match root {
                Root::Materialize(v, _) => writes.push((i, self.eval(n, v, coords)?, None)),
                Root::Store(inst) => {
                    let InstData::Store { value, mask, .. } = &self.func.insts[inst] else { continue };
                    let value = self.eval(n, *value, coords)?;
                    let mask = mask.map(|m| self.eval(n, m, coords)).transpose()?;
                    writes.push((i, value, mask));
                }
                Root::Assert(inst) => self.assert_lanes(n, g, inst, coords)?,
                Root::Reduce(_) => {}
            }
        }
        for (i, value, mask) in writes {
            match g.roots[i] {
                Root::Materialize(..) => {
                    let buffer = g.targets[&i].clone();
                    self.store_buffer(n, &buffer, coords, value)?;
                }
                Root::Store(inst) => self.store_place(n, inst, coords, value, mask)?,
                Root::Assert(_) | Root::Reduce(_) => {}
            }
        }
        Ok(())
    }
}

/// A group with what its loops need at hand.
pub(crate) struct GroupNest {
    pub shape: kiln_ir::Shape,
    pub roots: Vec<Root>,
    pub vector: Vectorization,
    pub reduce_axis: Option<usize>,
    pub reductions: Vec<Reduction>,
    /// Buffers of materialized values, by root number.
    pub targets: FxHashMap<usize, super::Buffer>,
    /// Flags of tile assertions.
    pub flags: Vec<(Inst, Val)>,
    /// Buffers that become readable when the group is done.
    pub finished: Vec<(Value, super::Buffer)>,
}

impl GroupNest {
    fn new(e: &mut Emitter<'_>, group: &Group, vector: Vectorization) -> Result<GroupNest, CodegenError> {
        let mut g = GroupNest {
            shape: group.shape.clone(),
            roots: group.roots.clone(),
            vector,
            reduce_axis: group.reduce_axis,
            reductions: Vec::new(),
            targets: FxHashMap::default(),
            flags: Vec::new(),
            finished: Vec::new(),
        };
        for (number, root) in group.roots.iter().enumerate() {
            match *root {
                Root::Materialize(v, dest) => {
                    let buffer = e.dest_buffer(v, dest);
                    if e.kept.contains(&v) && dest == Dest::Own {
                        g.finished.push((v, buffer.clone()));
                    }
                    g.targets.insert(number, buffer);
                }
                Root::Reduce(inst) => {
                    let lanes_fold = group.reduce_axis == vector.axis || vector.axis.is_none();
                    let reduction = Reduction::new(e, inst, lanes_fold)?;
                    g.reductions.push(reduction);
                }
                Root::Assert(inst) => {
                    let flag = e.alloc_bytes(1);
                    e.b.store(e.b.int(e.b.i8(), 0), flag, 1);
                    g.flags.push((inst, flag));
                }
                Root::Store(_) => {}
            }
        }
        Ok(g)
    }
}
