//! Lanes of a tile at given coordinates: inline values are expanded down to loads, constants and memory; every value is computed once per level and coordinates.

use kiln_ir::{Const, Elem, Inst, InstData, Value, ValueDef};
use smallvec::smallvec;

use super::Emitter;
use super::nest::{Coord, Coords, Lv, Nest, Op};
use crate::CodegenError;
use crate::llvm::{IntPred, Val};

impl Emitter<'_> {
    /// A constant of an element type, in register format.
    pub fn constant(&self, elem: Elem, value: Const) -> Val {
        let ty = self.reg_ty(elem);
        match (elem, value) {
            (Elem::Ptr { .. }, _) => self.b.zero(ty),
            (_, Const::Int(i)) => self.b.int(ty, i),
            (_, Const::Float(f)) => self.b.float(ty, f),
        }
    }

    /// The lanes of `v` at `coords` (one an axis of `v`): a scalar where all lanes are equal, else a vector of `Nest::lanes`.
    pub fn eval(&mut self, n: &mut Nest, v: Value, coords: &Coords) -> Result<Lv, CodegenError> {
        if let Some(&lanes) = self.region.get(&v) {
            return Ok(Lv { v: lanes, level: n.top() });
        }
        if self.func.ty(v).rank() == 0 {
            return match self.scalars.get(&v) {
                Some(&s) => Ok(Lv { v: s, level: 0 }),
                None => Err(CodegenError::internal(format!("scalar {v} of {} is not computed yet", self.func.name))),
            };
        }
        let def = self.func.values[v].def;
        if let ValueDef::Result(inst, _) = def
            && let InstData::Const { value } = &self.func.insts[inst]
        {
            return Ok(Lv { v: self.constant(self.func.ty(v).elem(), *value), level: 0 });
        }
        let level = coords.iter().map(|c| c.level()).max().unwrap_or(0);
        if let Some(hit) = n.cached(v, coords, level) {
            return Ok(hit);
        }
        let value = self.at_level(n, level, |e, n| match def {
            ValueDef::Result(inst, number) if e.is_inline(v) => e.expand(n, inst, number, coords),
            _ => {
                let buffer = e.buffer(v)?;
                e.load_buffer(n, &buffer, coords)
            }
        })?;
        // What was computed at an outer level is known there; the cache entry is at the level of the coordinates.
        n.remember(v, coords.clone(), value, level);
        Ok(value)
    }

    /// Evaluates several operands at the same coordinates.
    fn eval_all(&mut self, n: &mut Nest, values: &[Value], coords: &Coords) -> Result<Vec<Lv>, CodegenError> {
        values.iter().map(|&v| self.eval(n, v, coords)).collect()
    }

    /// Computes with values at the outermost level that knows them all, spread to one number of lanes.
    pub fn combine(&mut self, n: &mut Nest, values: &[Lv], f: impl FnOnce(&mut Self, &[Val]) -> Val) -> Lv {
        let level = values.iter().map(|l| l.level).max().unwrap_or(0);
        let v = self.at_level(n, level, |e, _| {
            let lanes = values.iter().map(|l| e.b.lanes(l.v)).max().unwrap_or(1);
            let parts: Vec<Val> = values.iter().map(|l| e.b.splat(l.v, lanes)).collect();
            f(e, &parts)
        });
        Lv { v, level }
    }

    /// One inline instruction.
    pub fn expand(&mut self, n: &mut Nest, inst: Inst, number: u16, coords: &Coords) -> Result<Lv, CodegenError> {
        let func = self.func;
        let data = &func.insts[inst];
        match data {
            InstData::Unary { .. }
            | InstData::Binary { .. }
            | InstData::Fma { .. }
            | InstData::Cmp { .. }
            | InstData::Select { .. }
            | InstData::Cast { .. }
            | InstData::Bitcast { .. }
            | InstData::PtrAdd { .. } => {
                let operands = self.eval_all(n, &data.operands(), coords)?;
                self.lanewise(n, inst, &operands)
            }
            InstData::Iota { start } => {
                let elem = func.ty(func.result(inst)).elem();
                let c = self.coord_lanes(n, coords[0]);
                Ok(self.combine(n, &[c], |e, p| {
                    let ty = e.b.shaped(e.reg_ty(elem), p[0]);
                    let v = e.b.sext_or_trunc(p[0], ty);
                    if *start == 0 { v } else { e.b.add(v, e.b.int(ty, *start)) }
                }))
            }
            InstData::Load { .. } => self.load_place(n, inst, coords),
            InstData::Gather { .. } => self.gather(n, inst, coords),
            InstData::Join { a, b } => {
                let mut inner = coords.clone();
                let Some(last) = inner.pop() else { return Err(CodegenError::internal("join of rank 0")) };
                match last {
                    Coord::Const(0) => self.eval(n, *a, &inner),
                    Coord::Const(_) => self.eval(n, *b, &inner),
                    _ => {
                        let last = self.coord_lanes(n, last);
                        let (a, b) = (self.eval(n, *a, &inner)?, self.eval(n, *b, &inner)?);
                        Ok(self.combine(n, &[last, a, b], |e, p| {
                            let first = e.b.icmp(IntPred::LLVMIntEQ, p[0], e.b.zero(e.b.ty(p[0])));
                            e.b.select(first, p[1], p[2])
                        }))
                    }
                }
            }
            _ => {
                let (arg, coords) = self.moved(n, inst, number, coords)?;
                self.eval(n, arg, &coords)
            }
        }
    }

    /// The operand and coordinates that an instruction which only moves lanes reads.
    pub fn moved(&mut self, n: &mut Nest, inst: Inst, number: u16, coords: &Coords) -> Result<(Value, Coords), CodegenError> {
        let func = self.func;
        Ok(match &func.insts[inst] {
            InstData::Broadcast { arg } => {
                let shape = func.ty(*arg).shape();
                let pad = coords.len() - shape.len();
                (*arg, shape.iter().enumerate().map(|(i, &d)| if d == 1 { Coord::Const(0) } else { coords[pad + i] }).collect())
            }
            InstData::ExpandDims { arg, axis } => {
                let mut coords = coords.clone();
                coords.remove(usize::from(*axis));
                (*arg, coords)
            }
            InstData::Permute { arg, perm } => {
                let mut out: Coords = smallvec![Coord::Const(0); coords.len()];
                for (i, &p) in perm.iter().enumerate() {
                    out[usize::from(p)] = coords[i];
                }
                (*arg, out)
            }
            InstData::Split { arg } => {
                let mut coords = coords.clone();
                coords.push(Coord::Const(i64::from(number)));
                (*arg, coords)
            }
            InstData::ExtractSlice { arg, starts } => {
                let starts = starts.clone();
                let mut out = Coords::new();
                for (c, start) in coords.iter().zip(starts) {
                    let start = self.const_lv(i64::from(start));
                    out.push(self.coord_add(n, *c, start));
                }
                (*arg, out)
            }
            InstData::Flip { arg, axis } => {
                let axis = usize::from(*axis);
                let mut out = coords.clone();
                let last = self.const_lv(i64::from(func.ty(*arg).shape()[axis]) - 1);
                out[axis] = match coords[axis] {
                    Coord::Const(k) => Coord::Const(i64::from(func.ty(*arg).shape()[axis]) - 1 - k),
                    c => {
                        let lanes = self.coord_lanes(n, c);
                        let flipped = self.op(n, Op::Sub, last, lanes);
                        if c.uniform() { Coord::Uni(flipped) } else { Coord::Vec(flipped) }
                    }
                };
                (*arg, out)
            }
            InstData::Reshape { arg } => {
                let from = func.ty(func.result(inst)).shape();
                let to = func.ty(*arg).shape();
                (*arg, self.reshape_coords(n, from, to, coords))
            }
            _ => return Err(self.unsupported(inst, "this operation on tiles is not available on the CPU yet")),
        })
    }

    /// Coordinates in shape `to` of the element at `coords` in shape `from` (same number of elements, row-major).
    fn reshape_coords(&mut self, n: &mut Nest, from: &[u32], to: &[u32], coords: &Coords) -> Coords {
        let mut out = Coords::new();
        let (mut i, mut j) = (0, 0);
        // Both shapes are cut into the smallest runs of axes with equal products.
        while i < from.len() || j < to.len() {
            let (start_i, start_j) = (i, j);
            let take = |shape: &[u32], at: &mut usize| {
                let extent = shape.get(*at).map_or(1, |&d| u64::from(d));
                *at = (*at + 1).min(shape.len());
                extent
            };
            let (mut p, mut q) = (take(from, &mut i), take(to, &mut j));
            while p != q {
                if p < q { p *= take(from, &mut i) } else { q *= take(to, &mut j) }
            }
            self.reshape_run(n, &from[start_i..i], &to[start_j..j], &coords[start_i..i], &mut out);
        }
        out
    }

    fn reshape_run(&mut self, n: &mut Nest, from: &[u32], to: &[u32], coords: &[Coord], out: &mut Coords) {
        let wide: Vec<usize> = (0..from.len()).filter(|&i| from[i] > 1).collect();
        let targets = to.iter().filter(|&&d| d > 1).count();
        // The flat position within the run.
        let mut flat = Coord::Const(0);
        let mut stride: i64 = from.iter().map(|&d| i64::from(d)).product();
        for (i, &d) in from.iter().enumerate() {
            stride /= i64::from(d).max(1);
            if d == 1 {
                continue;
            }
            flat = if wide.len() == 1 { coords[i] } else { self.coord_mad(n, flat, coords[i], stride) };
        }
        if targets <= 1 {
            out.extend(to.iter().map(|&d| if d == 1 { Coord::Const(0) } else { flat }));
            return;
        }
        let mut rest: i64 = to.iter().map(|&d| i64::from(d)).product();
        for (at, &d) in to.iter().enumerate() {
            let extent = i64::from(d);
            rest /= extent.max(1);
            if d == 1 {
                out.push(Coord::Const(0));
                continue;
            }
            let first = to[..at].iter().all(|&d| d == 1);
            let quotient = self.coord_div(n, flat, rest);
            out.push(if first { quotient } else { self.coord_rem(n, quotient, extent) });
        }
    }

    /// `acc + c * stride`.
    fn coord_mad(&mut self, n: &mut Nest, acc: Coord, c: Coord, stride: i64) -> Coord {
        let factor = self.const_lv(stride);
        let term = match c {
            Coord::Const(k) => Coord::Const(k * stride),
            Coord::Uni(l) => Coord::Uni(self.op(n, Op::Mul, l, factor)),
            Coord::Lin(_) if stride == 1 => c,
            Coord::Lin(_) | Coord::Vec(_) => {
                let lanes = self.coord_lanes(n, c);
                Coord::Vec(self.op(n, Op::Mul, lanes, factor))
            }
        };
        match (acc, term) {
            (a, Coord::Const(0)) => a,
            (Coord::Const(0), t) => t,
            (a, t) if a.uniform() => {
                let a = self.coord_base(a);
                self.coord_add(n, t, a)
            }
            (a, t) if t.uniform() => {
                let t = self.coord_base(t);
                self.coord_add(n, a, t)
            }
            (a, t) => {
                let (a, t) = (self.coord_lanes(n, a), self.coord_lanes(n, t));
                Coord::Vec(self.op(n, Op::Add, a, t))
            }
        }
    }

    /// Whether a run of lanes starting at this base stays within one multiple of `extent`: chunk bases are multiples of the lanes.
    fn aligned(&self, n: &Nest, base: Lv, extent: i64) -> bool {
        n.bases.contains(&base.v) && extent % i64::from(n.lanes) == 0
    }

    fn coord_div(&mut self, n: &mut Nest, c: Coord, by: i64) -> Coord {
        if by == 1 {
            return c;
        }
        let divisor = self.const_lv(by);
        match c {
            Coord::Const(k) => Coord::Const(k / by),
            Coord::Uni(l) => Coord::Uni(self.op(n, Op::Div, l, divisor)),
            Coord::Lin(l) if self.aligned(n, l, by) => Coord::Uni(self.op(n, Op::Div, l, divisor)),
            _ => {
                let lanes = self.coord_lanes(n, c);
                Coord::Vec(self.op(n, Op::Div, lanes, divisor))
            }
        }
    }

    fn coord_rem(&mut self, n: &mut Nest, c: Coord, by: i64) -> Coord {
        let divisor = self.const_lv(by);
        match c {
            Coord::Const(k) => Coord::Const(k % by),
            Coord::Uni(l) => Coord::Uni(self.op(n, Op::Rem, l, divisor)),
            Coord::Lin(l) if self.aligned(n, l, by) => Coord::Lin(self.op(n, Op::Rem, l, divisor)),
            _ => {
                let lanes = self.coord_lanes(n, c);
                Coord::Vec(self.op(n, Op::Rem, lanes, divisor))
            }
        }
    }

    /// A tile of integers as a coordinate: linear where its form shows that it grows by one along the lanes, else one value a lane.
    pub fn index_coord(&mut self, n: &mut Nest, v: Value, coords: &Coords) -> Result<Coord, CodegenError> {
        if coords.iter().all(|c| c.uniform()) || n.lanes == 1 {
            let value = self.eval(n, v, coords)?;
            return Ok(Coord::Uni(self.widen_index(n, v, value)));
        }
        if let Some(c) = self.affine(n, v, coords)? {
            return Ok(c);
        }
        let value = self.eval(n, v, coords)?;
        let uniform = self.b.lanes(value.v) == 1;
        let wide = self.widen_index(n, v, value);
        Ok(if uniform { Coord::Uni(wide) } else { Coord::Vec(wide) })
    }

    /// An integer value as i64.
    pub fn widen_index(&mut self, n: &mut Nest, v: Value, value: Lv) -> Lv {
        let unsigned = self.func.ty(v).scalar_elem().is_some_and(|s| !s.is_signed_int());
        let v = self.at_level(n, value.level, |e, _| {
            let ty = e.b.shaped(e.b.i64(), value.v);
            if unsigned { e.b.zext(value.v, ty) } else { e.b.sext(value.v, ty) }
        });
        Lv { v, level: value.level }
    }

    /// The linear form of an index tile, if its definition shows one. Only `index` arithmetic is followed: it does not wrap.
    fn affine(&mut self, n: &mut Nest, v: Value, coords: &Coords) -> Result<Option<Coord>, CodegenError> {
        let Some(inst) = self.func.def_inst(v).filter(|_| self.func.ty(v).rank() > 0 && self.is_inline(v)) else {
            return Ok(None);
        };
        let is_index = self.func.ty(v).scalar_elem() == Some(kiln_ir::ScalarType::Index);
        use kiln_ir::ops::BinaryOp;
        match &self.func.insts[inst] {
            InstData::Iota { start } => {
                let start = self.const_lv(*start);
                Ok(match coords[0] {
                    c @ (Coord::Lin(_) | Coord::Uni(_) | Coord::Const(_)) => Some(self.coord_add(n, c, start)),
                    Coord::Vec(_) => None,
                })
            }
            InstData::Binary { op: op @ (BinaryOp::Add | BinaryOp::Sub), a, b } if is_index => {
                let (a, b, op) = (*a, *b, *op);
                let (Some(x), Some(y)) = (self.affine_or_uniform(n, a, coords)?, self.affine_or_uniform(n, b, coords)?) else {
                    return Ok(None);
                };
                let (bx, by) = (self.coord_base(x), self.coord_base(y));
                Ok(match (x.uniform(), y.uniform()) {
                    (_, true) => {
                        let base = self.op(n, if op == BinaryOp::Add { Op::Add } else { Op::Sub }, bx, by);
                        Some(if x.uniform() { Coord::Uni(base) } else { Coord::Lin(base) })
                    }
                    (true, false) if op == BinaryOp::Add => Some(Coord::Lin(self.op(n, Op::Add, bx, by))),
                    _ => None,
                })
            }
            InstData::Cast { arg } if is_index && self.func.ty(*arg).scalar_elem().is_some_and(|s| s.is_int()) => {
                // Only a plain iota of a narrower type is known not to wrap.
                match self.func.def_data(*arg) {
                    Some(InstData::Iota { .. }) => self.affine(n, *arg, coords),
                    _ => Ok(None),
                }
            }
            InstData::Broadcast { .. }
            | InstData::ExpandDims { .. }
            | InstData::Permute { .. }
            | InstData::ExtractSlice { .. } => {
                let (arg, coords) = self.moved(n, inst, 0, coords)?;
                self.affine_or_uniform(n, arg, &coords)
            }
            _ => Ok(None),
        }
    }

    fn affine_or_uniform(&mut self, n: &mut Nest, v: Value, coords: &Coords) -> Result<Option<Coord>, CodegenError> {
        let constant = matches!(self.func.def_data(v), Some(InstData::Const { .. }));
        if self.func.ty(v).rank() == 0 || constant || coords.iter().all(|c| c.uniform()) {
            let value = self.eval(n, v, coords)?;
            return Ok(Some(Coord::Uni(self.widen_index(n, v, value))));
        }
        self.affine(n, v, coords)
    }

    /// `gather`: a table in memory, read at an index tile.
    fn gather(&mut self, n: &mut Nest, inst: Inst, coords: &Coords) -> Result<Lv, CodegenError> {
        let InstData::Gather { src, index, axis } = &self.func.insts[inst] else {
            return Err(CodegenError::internal("not a gather"));
        };
        let (src, index, axis) = (*src, *index, usize::from(*axis));
        let position = self.index_coord(n, index, coords)?;
        let table = self.buffer(src)?;
        let extent = i64::from(table.shape[axis]);
        let mut at: Coords = if table.shape.len() == 1 { smallvec![Coord::Const(0)] } else { coords.clone() };
        // Out of bounds gives 0; the position is clamped so that the read itself is safe.
        let lanes = self.coord_lanes(n, position);
        let ok = self.combine(n, &[lanes], |e, p| e.b.icmp(IntPred::LLVMIntULT, p[0], e.b.int(e.b.ty(p[0]), extent)));
        let clamped = self.combine(n, &[ok, lanes], |e, p| e.b.select(p[0], p[1], e.b.zero(e.b.ty(p[1]))));
        at[axis] = if self.b.lanes(lanes.v) == 1 { Coord::Uni(clamped) } else { Coord::Vec(clamped) };
        let value = self.load_buffer(n, &table, &at)?;
        Ok(self.combine(n, &[ok, value], |e, p| e.b.select(p[0], p[1], e.b.zero(e.b.ty(p[1])))))
    }
}
