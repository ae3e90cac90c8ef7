//! Addresses and predicates of a memory operation, register by register.
//!
//! An address is a base that the thread computes once, plus a part that is a constant wherever strides are known: it then
//! becomes the immediate offset of the instruction. Predicates are computed once for each distinct index along a dimension.

use std::rc::Rc;

use kiln_ir::{Inst, Place, Shape, SliceIndex, Value, ViewAccess};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::emit::{Emitter, ViewRegs, pointee_bytes};
use super::error::{Result, internal};
use super::spread::Spread;
use super::text::{Ty, Val};

/// What a memory instruction needs to know of its tile.
pub(super) struct Tile {
    /// None for a single element.
    pub(super) spread: Option<Rc<Spread>>,
    pub(super) shape: Shape,
    /// Registers of each vector, by element.
    pub(super) vectors: Vec<SmallVec<[u32; 8]>>,
}

/// Addresses and predicates of an access.
pub(super) struct Addresses {
    place: Resolved,
    mask: Option<Rc<[Val]>>,
    elem_bytes: u32,
    /// Terms of one dimension that several registers share: (dimension, constant) to value.
    strided: FxHashMap<(usize, u32), Val>,
    bounded: FxHashMap<(usize, u32), Val>,
}

enum Resolved {
    Pointers(Rc<[Val]>),
    View {
        view: Rc<ViewRegs>,
        /// The address all registers of the thread start from.
        base: Val,
        /// Dimensions whose index varies between registers.
        spans: Vec<Span>,
        gathers: Vec<Gather>,
        /// Conditions that hold for all registers or none.
        common: Val,
    },
}

struct Span {
    dim: usize,
    axis: usize,
    start: Val,
    checked: bool,
}

struct Gather {
    dim: usize,
    index: Rc<[Val]>,
    spread: Option<Rc<Spread>>,
    /// First joint axis of the access, number of joint axes, shape of the tile.
    joint: (usize, usize),
    shape: Shape,
    checked: bool,
}

impl Emitter<'_> {
    /// Describes the tile of a memory instruction whose elements have the type of `value`.
    pub(super) fn tile(&mut self, inst: Inst, value: Value) -> Tile {
        let ty = self.func.ty(value);
        let shape = Shape::from_slice(ty.shape());
        let Some(spread) = self.spread_of(ty) else {
            return Tile { spread: None, shape, vectors: vec![SmallVec::from_slice(&[0])] };
        };
        let run = kiln_passes::gpu::access_of(self.func, &self.facts, inst)
            .map_or_else(SmallVec::new, |access| access.vector(spread.layout));
        let vectors = kiln_ir::layout::register_vectors(spread.layout, &run);
        Tile { spread: Some(spread), shape, vectors }
    }

    /// Prepares the addresses of `place` for a tile.
    pub(super) fn addresses(&mut self, place: &Place, mask: Option<Value>, tile: &Tile) -> Result<Addresses> {
        let mask = mask.map(|m| self.regs(m));
        let (place, elem_bytes) = match place {
            Place::Ptr(p) => (Resolved::Pointers(self.regs(*p)), pointee_bytes(self.func.ty(*p).elem())),
            Place::View(access) => (self.resolve(access, tile)?, self.func.ty(access.view).elem().bytes()),
        };
        Ok(Addresses { place, mask, elem_bytes, strided: FxHashMap::default(), bounded: FxHashMap::default() })
    }

    fn resolve(&mut self, access: &ViewAccess, tile: &Tile) -> Result<Resolved> {
        let view = self.view_regs(access.view);
        let elem_bytes = self.func.ty(access.view).elem().bytes();
        let joint_rank = access
            .index
            .iter()
            .filter_map(|i| if let SliceIndex::Gather(t) = i { Some(self.func.ty(*t).rank()) } else { None })
            .max()
            .unwrap_or(0);
        let mut joint_start = None;
        let mut axis = 0;
        let mut offset = Val::int(self.index, 0);
        let mut common = Val::bool(true);
        let (mut spans, mut gathers) = (Vec::new(), Vec::new());
        for (dim, index) in access.index.iter().enumerate() {
            let checked = access.in_bounds & (1 << dim) == 0;
            match *index {
                SliceIndex::At(at) => {
                    let at = self.scalar(at);
                    let at = self.w.resize_signed(at, self.index);
                    if checked {
                        let inside = self.w.icmp("ult", at, view.dims[dim]);
                        common = self.w.and(common, inside);
                    }
                    let term = self.w.mul_nsw(at, view.strides[dim]);
                    offset = self.w.add_nsw(offset, term);
                }
                SliceIndex::Span { start, .. } => {
                    let start = self.scalar(start);
                    let start = self.w.resize_signed(start, self.index);
                    spans.push(Span { dim, axis, start, checked });
                    axis += 1;
                }
                SliceIndex::Gather(index) => {
                    let first = *joint_start.get_or_insert(axis);
                    if first == axis && gathers.is_empty() {
                        axis += joint_rank;
                    }
                    let ty = self.func.ty(index);
                    let spread = self.spread_of(ty);
                    gathers.push(Gather {
                        dim,
                        index: self.regs(index),
                        spread,
                        joint: (first, joint_rank),
                        shape: Shape::from_slice(ty.shape()),
                        checked,
                    });
                }
            }
        }
        // The thread's part of each span goes into the base; what a register adds is left.
        for span in &mut spans {
            let thread = self.thread_index(tile, span.axis)?;
            span.start = self.w.add_nsw(span.start, thread);
            let term = self.w.mul_nsw(span.start, view.strides[span.dim]);
            offset = self.w.add_nsw(offset, term);
        }
        let base = self.w.offset(view.base, offset, elem_bytes);
        Ok(Resolved::View { view, base, spans, gathers, common })
    }

    /// The thread's coordinate along an axis, in the index type; 0 where registers and threads share bits of it.
    fn thread_index(&mut self, tile: &Tile, axis: usize) -> Result<Val> {
        let Some(spread) = &tile.spread else {
            return Err(internal("a single element has no axes"));
        };
        if !spread.layout.registers_add() {
            return Ok(Val::int(self.index, 0));
        }
        let (thread, _) = spread.coord(&mut self.w, 0, axis);
        let own = spread.registers[0][axis];
        debug_assert_eq!(own, 0, "register 0 adds nothing");
        Ok(self.in_index_type(thread))
    }

    fn in_index_type(&mut self, coord: Val) -> Val {
        let index = self.index;
        if index == Ty::I32 { coord } else { self.w.at_entry(|w| w.cast("zext nneg", coord, index)) }
    }

    /// What a register adds to the start of a span: a constant, or for shared bits the whole coordinate.
    fn register_index(&mut self, tile: &Tile, register: u32, axis: usize) -> (Option<u32>, Val) {
        let spread = tile.spread.as_ref().expect("spans have layouts");
        if spread.layout.registers_add() {
            let own = spread.registers[register as usize][axis];
            return (Some(own), Val::int(self.index, i64::from(own)));
        }
        let whole = spread.full_coord(&mut self.w, register, axis);
        let whole = if self.index == Ty::I32 { whole } else { self.w.cast("zext nneg", whole, self.index) };
        (None, whole)
    }

    /// The address of a register's element.
    pub(super) fn address(&mut self, a: &mut Addresses, tile: &Tile, register: u32) -> Result<Val> {
        let Resolved::View { view, base, spans, gathers, .. } = &a.place else {
            let Resolved::Pointers(pointers) = &a.place else { unreachable!("a place is pointers or a view") };
            return Ok(pointers[register as usize]);
        };
        let mut constant = 0i64;
        let mut offset = Val::int(self.index, 0);
        for span in spans {
            let (own, index) = self.register_index(tile, register, span.axis);
            let stride = view.strides[span.dim];
            match (own, stride.as_int()) {
                (Some(own), Some(stride)) => constant += i64::from(own) * stride,
                (Some(own), None) => {
                    let term = match a.strided.get(&(span.dim, own)) {
                        Some(&term) => term,
                        None => {
                            let term = self.w.mul_nsw(index, stride);
                            // Only what dominates the rest may be reused: registers follow each other without branches.
                            a.strided.insert((span.dim, own), term);
                            term
                        }
                    };
                    offset = self.w.add_nsw(offset, term);
                }
                (None, _) => {
                    let term = self.w.mul_nsw(index, stride);
                    offset = self.w.add_nsw(offset, term);
                }
            }
        }
        for gather in gathers {
            let index = gathered(gather, tile, register)?;
            let index = self.w.resize_signed(index, self.index);
            let term = self.w.mul_nsw(index, view.strides[gather.dim]);
            offset = self.w.add_nsw(offset, term);
        }
        let address = self.w.offset(*base, offset, a.elem_bytes);
        Ok(self.w.offset(address, Val::int(self.index, constant), a.elem_bytes))
    }

    /// Whether a register's element takes part: in bounds, not masked off, no padding; and for `once`, whether this thread is
    /// the owner. A constant `true` means the access needs no predicate.
    pub(super) fn predicate(&mut self, a: &mut Addresses, tile: &Tile, register: u32, once: bool) -> Result<Val> {
        let mut all = Val::bool(true);
        if let Resolved::View { view, spans, gathers, common, .. } = &a.place {
            all = *common;
            for span in spans.iter().filter(|s| s.checked) {
                let (own, index) = self.register_index(tile, register, span.axis);
                let known = own.and_then(|own| a.bounded.get(&(span.dim, own)).copied());
                let inside = match known {
                    Some(inside) => inside,
                    None => {
                        let at = self.w.add_nsw(span.start, index);
                        let inside = self.w.icmp("ult", at, view.dims[span.dim]);
                        if let Some(own) = own {
                            a.bounded.insert((span.dim, own), inside);
                        }
                        inside
                    }
                };
                all = self.w.and(all, inside);
            }
            for gather in gathers.iter().filter(|g| g.checked) {
                let index = gathered(gather, tile, register)?;
                let index = self.w.resize_signed(index, self.index);
                let inside = self.w.icmp("ult", index, view.dims[gather.dim]);
                all = self.w.and(all, inside);
            }
        }
        if let Some(spread) = &tile.spread {
            let inside = spread.inside(&mut self.w, register, &tile.shape);
            all = self.w.and(all, inside);
        }
        if let Some(mask) = &a.mask {
            let mask = mask[register as usize];
            all = self.w.and(all, mask);
        }
        if once {
            let owner = match &tile.spread {
                Some(spread) => spread.owner(),
                None => Some(self.first_thread()),
            };
            if let Some(owner) = owner {
                all = self.w.and(all, owner);
            }
        }
        Ok(all)
    }

    /// Whether this is thread 0.
    pub(super) fn first_thread(&mut self) -> Val {
        let tid = self.threads.tid;
        self.w.at_entry(|w| w.icmp("eq", tid, Val::i32(0)))
    }
}

/// The index that a gather tile holds for a register of the access.
fn gathered(gather: &Gather, tile: &Tile, register: u32) -> Result<Val> {
    let Some(spread) = &gather.spread else { return Ok(gather.index[0]) };
    let of_tile = tile.spread.as_ref().ok_or_else(|| internal("a gather makes a tile"))?;
    let (start, rank) = gather.joint;
    let joint = &of_tile.registers[register as usize][start..start + rank];
    let coords: SmallVec<[u32; 5]> = joint[rank - gather.shape.len()..]
        .iter()
        .zip(&gather.shape)
        .map(|(&c, &extent)| if extent == 1 { 0 } else { c })
        .collect();
    let found = spread.register(&coords);
    found
        .map(|r| gather.index[r as usize])
        .ok_or_else(|| internal(format!("a gather's indices are not where its elements are: {coords:?} in {}", spread.layout)))
}
