//! Loads and stores of lanes: contiguous where one dimension of unit stride runs along the lanes, else gathers and scatters. Bounds along the lanes are ranges:
//! the main loop runs where every access is inside and needs no mask, the rest masks.

use kiln_ir::{Elem, Inst, InstData, Place, SliceIndex, Value, ViewAccess};
use smallvec::SmallVec;

use super::nest::{Coord, Coords, Limit, Lv, Nest, Op};
use super::{Buffer, DUMP_BYTES, Emitter};
use crate::CodegenError;
use crate::llvm::Val;

/// Where the lanes of an access are.
pub(crate) struct Address {
    /// Uniform part, a pointer.
    base: Lv,
    /// What runs along the lanes: nothing, consecutive elements, or an offset in elements a lane.
    lanes: Along,
    /// Lanes that may be touched, besides the nest's own mask; absent when all may.
    valid: Option<Lv>,
    elem: Elem,
    /// Bytes of the tile along the lanes, for contiguous accesses to tensors.
    row_bytes: Option<i64>,
    /// The tensor, for accesses to one.
    view: Option<Value>,
}

/// From this many bytes on, rows are worth fetching ahead of their turn.
const ROW_BYTES: i64 = 4096;

enum Along {
    Nothing,
    Contiguous,
    Offsets(Lv),
    /// One pointer a lane.
    Pointers(Lv),
}

impl Emitter<'_> {
    /// The lanes of a tile in scratch memory.
    pub fn load_buffer(&mut self, n: &mut Nest, buffer: &Buffer, coords: &Coords) -> Result<Lv, CodegenError> {
        let address = self.buffer_address(n, buffer, coords);
        self.read(n, &address, None)
    }

    /// Writes lanes to scratch memory.
    pub fn store_buffer(&mut self, n: &mut Nest, buffer: &Buffer, coords: &Coords, value: Lv) -> Result<(), CodegenError> {
        let address = self.buffer_address(n, buffer, coords);
        self.write(n, &address, value)
    }

    fn buffer_address(&mut self, n: &mut Nest, buffer: &Buffer, coords: &Coords) -> Address {
        let bytes = buffer.elem.bytes();
        let mut base = Lv { v: buffer.ptr, level: 0 };
        let mut along = Along::Nothing;
        let mut parts: Vec<(Coord, i64)> = coords.iter().copied().zip(buffer.strides().iter().map(|&s| s as i64)).collect();
        parts.sort_by_key(|(c, _)| c.level());
        for (c, stride) in parts {
            self.along(n, &mut base, &mut along, c, self.const_lv(stride), bytes);
        }
        Address { base, lanes: along, valid: None, elem: buffer.elem, row_bytes: None, view: None }
    }

    /// Adds one dimension's coordinate to an address.
    fn along(&mut self, n: &mut Nest, base: &mut Lv, along: &mut Along, c: Coord, stride: Lv, bytes: u32) {
        let unit = self.b.as_const_int(stride.v) == Some(1);
        match c {
            Coord::Const(_) | Coord::Uni(_) => {
                let index = self.coord_base(c);
                let offset = self.op(n, Op::Mul, index, stride);
                *base = self.op(n, Op::Gep(bytes), *base, offset);
            }
            Coord::Lin(start) if unit && matches!(along, Along::Nothing) => {
                *base = self.op(n, Op::Gep(bytes), *base, start);
                *along = Along::Contiguous;
            }
            Coord::Lin(_) | Coord::Vec(_) => {
                let lanes = self.coord_lanes(n, c);
                let mut offset = self.op(n, Op::Mul, lanes, stride);
                match along {
                    Along::Nothing | Along::Pointers(_) => {}
                    Along::Contiguous => {
                        let iota = Lv { v: self.b.iota(self.b.i64(), n.lanes), level: 0 };
                        offset = self.op(n, Op::Add, offset, iota);
                    }
                    Along::Offsets(o) => offset = self.op(n, Op::Add, offset, *o),
                }
                *along = Along::Offsets(offset);
            }
        }
    }

    fn and(&mut self, n: &mut Nest, a: Option<Lv>, b: Lv) -> Option<Lv> {
        Some(match a {
            Some(a) => self.op(n, Op::And, a, b),
            None => b,
        })
    }

    /// The address of an access to a view. In the main loop, bounds along the lanes are registered as limits; elsewhere they are in `valid`.
    fn view_address(&mut self, n: &mut Nest, access: &ViewAccess, coords: &Coords) -> Result<Address, CodegenError> {
        let Some(view) = self.views.get(&access.view).cloned() else {
            return Err(CodegenError::internal(format!("view {} is not computed yet", access.view)));
        };
        let bytes = view.elem.bytes();
        let mut dims: Vec<(Coord, usize, bool)> = Vec::new();
        let joint = access
            .index
            .iter()
            .filter_map(|i| if let SliceIndex::Gather(t) = i { Some(self.func.ty(*t).rank()) } else { None })
            .max()
            .unwrap_or(0);
        let (mut at, mut joint_at) = (0, None);
        for (dim, index) in access.index.iter().enumerate() {
            let checked = access.in_bounds & (1 << dim) == 0;
            let c = match *index {
                SliceIndex::At(v) => {
                    let value = self.eval(n, v, &Coords::new())?;
                    Coord::Uni(self.widen_index(n, v, value))
                }
                SliceIndex::Span { start, .. } => {
                    let value = self.eval(n, start, &Coords::new())?;
                    let start = self.widen_index(n, start, value);
                    let c = coords[at];
                    at += 1;
                    self.coord_add(n, c, start)
                }
                SliceIndex::Gather(tile) => {
                    let start = *joint_at.get_or_insert_with(|| {
                        let start = at;
                        at += joint;
                        start
                    });
                    let shape = self.func.ty(tile).shape();
                    let part: Coords = coords[start + joint - shape.len()..start + joint]
                        .iter()
                        .zip(shape)
                        .map(|(&c, &d)| if d == 1 { Coord::Const(0) } else { c })
                        .collect();
                    self.index_coord(n, tile, &part)?
                }
            };
            dims.push((c, dim, checked));
        }
        let mut base = Lv { v: view.base, level: 0 };
        let mut along = Along::Nothing;
        let mut uniform_ok: Option<Lv> = None;
        let mut lane_ok: Option<Lv> = None;
        let mut range: Option<(Lv, Lv)> = None;
        let mut order: SmallVec<[usize; 5]> = (0..dims.len()).collect();
        order.sort_by_key(|&i| dims[i].0.level());
        for i in order {
            let (c, dim, checked) = dims[i];
            let (extent, stride) = (Lv { v: view.dims[dim], level: 0 }, Lv { v: view.strides[dim], level: 0 });
            self.along(n, &mut base, &mut along, c, stride, bytes);
            if !checked {
                continue;
            }
            let zero = self.const_lv(0);
            match c {
                Coord::Const(_) | Coord::Uni(_) => {
                    let index = self.coord_base(c);
                    let (low, high) = (self.op(n, Op::Le, zero, index), self.op(n, Op::Lt, index, extent));
                    let inside = self.op(n, Op::And, low, high);
                    uniform_ok = self.and(n, uniform_ok, inside);
                }
                Coord::Lin(start) => {
                    // Lane i is inside where -start <= i < extent - start.
                    let lo = self.op(n, Op::Sub, zero, start);
                    let hi = self.op(n, Op::Sub, extent, start);
                    range = Some(match range {
                        None => (lo, hi),
                        Some((l, h)) => (self.op(n, Op::Max, l, lo), self.op(n, Op::Min, h, hi)),
                    });
                    // In the main loop the range is a limit on the chunk base: start = first + base with `first` known in front of the loop.
                    if n.full
                        && let SliceIndex::Span { start: first, .. } = access.index[dim]
                        && dims.iter().filter(|d| matches!(d.0, Coord::Lin(_) | Coord::Vec(_))).count() == 1
                        && coords.iter().any(|c| matches!(c, Coord::Lin(b) if n.bases.contains(&b.v)))
                    {
                        let value = self.eval(n, first, &Coords::new())?;
                        let first = self.widen_index(n, first, value);
                        let ok = uniform_ok_of(&dims, i);
                        if first.level < n.lane_level && ok {
                            let lo = self.op(n, Op::Sub, zero, first);
                            let hi = self.op(n, Op::Sub, extent, first);
                            n.limit(Limit { lo, hi, ok: None });
                            range = None;
                        }
                    }
                }
                Coord::Vec(lanes) => {
                    let (low, high) = (self.op(n, Op::Le, zero, lanes), self.op(n, Op::Lt, lanes, extent));
                    let inside = self.op(n, Op::And, low, high);
                    lane_ok = self.and(n, lane_ok, inside);
                }
            }
        }
        // A uniform condition known in front of the lane loop limits the main loop; the address is then unconditional.
        if let Some(ok) = uniform_ok
            && n.full
            && ok.level < n.lane_level
            && !matches!(along, Along::Nothing)
        {
            let most = self.const_lv(i64::MAX);
            let zero = self.const_lv(0);
            n.limit(Limit { lo: zero, hi: most, ok: Some(ok) });
            uniform_ok = None;
        }
        let mut valid = lane_ok;
        if let Some((lo, hi)) = range {
            let level = lo.level.max(hi.level);
            let v = self.at_level(n, level, |e, n| {
                let below = e.first_lanes(n, hi.v);
                if e.b.as_const_int(lo.v).is_some_and(|l| l <= 0) {
                    return below;
                }
                let before = e.first_lanes(n, lo.v);
                e.b.and(below, e.b.not(before))
            });
            let inside = Lv { v, level };
            valid = self.and(n, valid, inside);
        }
        if let Some(ok) = uniform_ok {
            valid = self.and(n, valid, ok);
        }
        let row_bytes = access.index.iter().rev().find_map(|i| match i {
            SliceIndex::Span { len, .. } => Some(i64::from(*len) * i64::from(bytes)),
            _ => None,
        });
        Ok(Address { base, lanes: along, valid, elem: view.elem, row_bytes, view: Some(access.view) })
    }

    /// The address behind a pointer tile.
    fn ptr_address(&mut self, n: &mut Nest, ptr: Value, coords: &Coords) -> Result<Address, CodegenError> {
        let Elem::Ptr { pointee, .. } = self.func.ty(ptr).elem() else {
            return Err(CodegenError::internal("access through a value that is no pointer"));
        };
        let elem = Elem::from(pointee);
        let varies = coords.iter().any(|c| !c.uniform());
        if varies
            && self.func.ty(ptr).rank() > 0
            && self.is_inline(ptr)
            && let Some(InstData::PtrAdd { ptr: start, offset }) = self.func.def_data(ptr)
        {
            let (start, offset) = (*start, *offset);
            let base = self.eval(n, start, coords)?;
            if self.b.lanes(base.v) == 1 {
                let c = self.index_coord(n, offset, coords)?;
                let (mut base, mut along) = (base, Along::Nothing);
                let one = self.const_lv(1);
                self.along(n, &mut base, &mut along, c, one, elem.bytes());
                return Ok(Address { base, lanes: along, valid: None, elem, row_bytes: None, view: None });
            }
        }
        let value = self.eval(n, ptr, coords)?;
        if self.b.lanes(value.v) == 1 {
            return Ok(Address { base: value, lanes: Along::Nothing, valid: None, elem, row_bytes: None, view: None });
        }
        Ok(Address { base: value, lanes: Along::Pointers(value), valid: None, elem, row_bytes: None, view: None })
    }

    /// The address of any place.
    pub fn address(&mut self, n: &mut Nest, place: &Place, coords: &Coords) -> Result<Address, CodegenError> {
        match place {
            Place::View(access) => self.view_address(n, access, coords),
            Place::Ptr(p) => self.ptr_address(n, *p, coords),
        }
    }

    /// The lanes of a `Load`.
    pub fn load_place(&mut self, n: &mut Nest, inst: Inst, coords: &Coords) -> Result<Lv, CodegenError> {
        let func = self.func;
        let InstData::Load { place, mask, other, .. } = &func.insts[inst] else {
            return Err(CodegenError::internal("not a load"));
        };
        let mut address = self.address(n, place, coords)?;
        if let Some(mask) = mask {
            let mask = self.eval(n, *mask, coords)?;
            address.valid = self.and(n, address.valid, mask);
        }
        self.mask_missing(n, &mut address);
        let other = other.map(|o| self.eval(n, o, coords)).transpose()?;
        self.read(n, &address, other)
    }

    /// Lanes past the end of the extent must touch no memory.
    fn mask_missing(&mut self, n: &mut Nest, address: &mut Address) {
        if let Some(mask) = n.mask
            && !matches!(address.lanes, Along::Nothing)
        {
            let mask = Lv { v: mask, level: n.lane_level };
            address.valid = self.and(n, address.valid, mask);
        }
    }

    /// Reads lanes; lanes that are not valid give `other` (register format), or 0.
    fn read(&mut self, n: &mut Nest, address: &Address, other: Option<Lv>) -> Result<Lv, CodegenError> {
        let elem = address.elem;
        let mem = self.mem_ty(elem);
        let align = elem.bytes();
        let base = address.base;
        let valid = address.valid.filter(|l| !self.is_true(l.v));
        let raw = match &address.lanes {
            Along::Nothing => match valid {
                None => self.combine(n, &[base], |e, p| e.b.load(mem, p[0], align)),
                // A lane mask on a uniform address reads what any lane would, where one is.
                Some(ok) if self.b.lanes(ok.v) > 1 => {
                    let level = ok.level.max(base.level);
                    let v = self.at_level(n, level, |e, n| {
                        let any = e.b.intrinsic("llvm.vector.reduce.or", &[e.b.ty(ok.v)], &[ok.v]);
                        let cell = e.readable_zero();
                        let safe = e.b.select(any, base.v, cell);
                        let one = e.b.load(mem, safe, align);
                        e.b.splat(one, n.lanes)
                    });
                    Lv { v, level }
                }
                Some(ok) => self.combine(n, &[ok, base], |e, p| {
                    let cell = e.readable_zero();
                    let safe = e.b.select(p[0], p[1], cell);
                    e.b.load(mem, safe, align)
                }),
            },
            Along::Contiguous => {
                let lanes = n.lanes;
                match valid {
                    None => {
                        let ahead = address.row_bytes.filter(|&bytes| n.full && n.fetch_ahead && bytes >= ROW_BYTES);
                        self.combine(n, &[base], |e, p| {
                            if let Some(bytes) = ahead {
                                let next = e.b.offset(p[0], bytes);
                                e.b.prefetch(next);
                            }
                            e.b.load(e.b.vec(mem, lanes), p[0], align)
                        })
                    }
                    Some(ok) => {
                        let level = ok.level.max(base.level);
                        let v = self.at_level(n, level, |e, _| {
                            let ty = e.b.vec(mem, lanes);
                            let mask = e.b.splat(ok.v, lanes);
                            e.b.masked_load(ty, base.v, align, mask, e.b.zero(ty))
                        });
                        Lv { v, level }
                    }
                }
            }
            along @ (Along::Offsets(each) | Along::Pointers(each)) => {
                let level = each.level.max(base.level).max(valid.map_or(0, |l| l.level));
                let each = *each;
                let lanes = self.b.lanes(each.v);
                let scaled = matches!(along, Along::Offsets(_));
                let v = self.at_level(n, level, |e, _| {
                    let ptrs = if scaled { e.b.gep(mem, base.v, each.v) } else { each.v };
                    let ty = e.b.vec(mem, lanes);
                    let mask = match valid {
                        Some(ok) => e.b.splat(ok.v, lanes),
                        None => e.b.int(e.b.vec(e.b.i1(), lanes), 1),
                    };
                    e.b.masked_gather(ty, ptrs, align, mask, e.b.zero(ty))
                });
                Lv { v, level }
            }
        };
        let value = self.combine(n, &[raw], |e, p| e.unpack(elem, p[0]));
        Ok(match (valid, other) {
            (Some(ok), Some(other)) => self.combine(n, &[ok, value, other], |e, p| e.b.select(p[0], p[1], p[2])),
            (Some(ok), None) if matches!(address.lanes, Along::Nothing) && self.b.lanes(ok.v) > 1 => {
                self.combine(n, &[ok, value], |e, p| e.b.select(p[0], p[1], e.b.zero(e.b.ty(p[1]))))
            }
            _ => value,
        })
    }

    /// Eight readable zero bytes, for scalar loads that are out of bounds.
    fn readable_zero(&mut self) -> Val {
        if let Some(cell) = self.zero_cell {
            return cell;
        }
        let cell = self.b.const_global("zero", self.b.const_i64(0), 8);
        self.zero_cell = Some(cell);
        cell
    }

    /// Writes the lanes of a `Store`.
    pub fn store_place(
        &mut self,
        n: &mut Nest,
        inst: Inst,
        coords: &Coords,
        value: Lv,
        mask: Option<Lv>,
    ) -> Result<(), CodegenError> {
        let func = self.func;
        let InstData::Store { place, .. } = &func.insts[inst] else {
            return Err(CodegenError::internal("not a store"));
        };
        let mut address = self.address(n, place, coords)?;
        if let Some(mask) = mask {
            address.valid = self.and(n, address.valid, mask);
        }
        self.write(n, &address, value)
    }

    /// Writes lanes (register format) where valid, in front of the builder's position.
    fn write(&mut self, n: &mut Nest, address: &Address, value: Lv) -> Result<(), CodegenError> {
        let elem = address.elem;
        let align = elem.bytes();
        let mem = self.mem_ty(elem);
        let mut valid = address.valid.map(|l| l.v).filter(|&v| !self.is_true(v));
        if let Some(mask) = n.mask {
            valid = Some(match valid {
                Some(v) => self.b.and(self.b.splat(v, n.lanes), mask),
                None => mask,
            });
        }
        let raw = self.pack(elem, value.v);
        match &address.lanes {
            Along::Nothing if n.lanes == 1 || (self.b.lanes(raw) == 1 && valid.is_none_or(|v| self.b.lanes(v) == 1)) => {
                let target = match valid {
                    Some(ok) => {
                        let dump = self.dump_cell();
                        self.b.select(ok, address.base.v, dump)
                    }
                    None => address.base.v,
                };
                self.b.store(raw, target, align);
            }
            Along::Nothing => {
                // Every lane hits one element: one of them wins.
                let ptrs = self.b.splat(address.base.v, n.lanes);
                let raw = self.b.splat(raw, n.lanes);
                let mask = self.full_mask(n, valid);
                self.b.masked_scatter(raw, ptrs, align, mask);
            }
            Along::Contiguous => {
                let raw = self.b.splat(raw, n.lanes);
                match valid {
                    None if n.full => self.stream(address.view, elem, raw, address.base.v),
                    None => {
                        self.b.store(raw, address.base.v, align);
                    }
                    Some(ok) => {
                        let mask = self.b.splat(ok, n.lanes);
                        self.b.masked_store(raw, address.base.v, align, mask);
                    }
                }
            }
            along @ (Along::Offsets(each) | Along::Pointers(each)) => {
                let raw = self.b.splat(raw, n.lanes);
                let ptrs = if matches!(along, Along::Offsets(_)) { self.b.gep(mem, address.base.v, each.v) } else { each.v };
                let mask = self.full_mask(n, valid);
                self.b.masked_scatter(raw, ptrs, align, mask);
            }
        }
        Ok(())
    }

    /// Whether a condition is the constant true.
    fn is_true(&self, v: Val) -> bool {
        self.b.lanes(v) == 1 && self.b.as_const_int(v).is_some_and(|c| c != 0)
    }

    fn full_mask(&self, n: &Nest, valid: Option<Val>) -> Val {
        match valid {
            Some(ok) => self.b.splat(ok, n.lanes),
            None => self.b.int(self.b.vec(self.b.i1(), n.lanes), 1),
        }
    }

    /// Memory that swallows scalar stores out of bounds.
    fn dump_cell(&self) -> Val {
        const { assert!(DUMP_BYTES >= 8) };
        match self.scratch {
            Some(base) => base,
            None => unreachable!("scratch exists once the function is entered"),
        }
    }

    /// The address and validity of one element (uniform coordinates), for atomics.
    pub fn element(&mut self, n: &mut Nest, place: &Place, coords: &Coords) -> Result<(Val, Option<Val>), CodegenError> {
        let address = self.address(n, place, coords)?;
        Ok((address.base.v, address.valid.map(|l| l.v)))
    }
}

/// Whether every dimension but `lanes` is the same in all lanes.
fn uniform_ok_of(dims: &[(Coord, usize, bool)], lanes: usize) -> bool {
    dims.iter().enumerate().all(|(i, d)| i == lanes || d.0.uniform())
}
