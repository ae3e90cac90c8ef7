//! How wide a memory operation may be: the tile axis along which its elements are consecutive in memory, and how many of
//! them an aligned, uniformly masked vector may hold.

use kiln_ir::builder::access_shape;
use kiln_ir::layout::Layout;
use kiln_ir::{Function, Inst, InstData, Place, SliceIndex, Value};
use smallvec::SmallVec;

use super::facts::{Facts, fact_divisor, pointee_bytes};

/// Bytes of the widest access of one thread.
const WIDEST_BYTES: u64 = 16;

/// The shape of a load, store, prefetch or atomic as the memory system sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Access {
    /// Extents of the tile.
    pub shape: SmallVec<[u32; 4]>,
    /// Bytes of an element.
    pub element_bytes: u32,
    /// The axis whose elements are consecutive, or that is best taken as such.
    pub axis: usize,
    /// Elements along `axis` that may be accessed at once: a power of two, 1 where nothing is known.
    pub width: u32,
}

impl Access {
    /// Register bits of the vectors this access makes of a tile in `layout`.
    pub fn vector(&self, layout: &Layout) -> SmallVec<[u8; 5]> {
        let mut run = layout.unit().register_run(self.axis);
        run.truncate(self.width.trailing_zeros() as usize);
        run
    }

    /// Instructions one thread issues for a tile in `layout`.
    pub fn instructions(&self, layout: &Layout) -> u32 {
        layout.registers() >> self.vector(layout).len()
    }
}

/// The access of a memory operation on a tile; None for other instructions and for single elements.
pub fn access_of(func: &Function, facts: &Facts, inst: Inst) -> Option<Access> {
    let data = &func.insts[inst];
    let (place, mask, value) = match data {
        InstData::Load { place, mask, .. } | InstData::AtomicLoad { place, mask, .. } => (place, *mask, func.result(inst)),
        InstData::Store { place, mask, value, .. }
        | InstData::AtomicRmw { place, mask, value, .. }
        | InstData::AtomicCas { place, mask, value, .. }
        | InstData::AtomicStore { place, mask, value, .. } => (place, *mask, *value),
        InstData::Prefetch { place, mask } => return prefetch(func, facts, place, *mask),
        InstData::RingFill { place, mask, ring, .. } => return ring_fill(func, facts, place, *mask, *ring),
        _ => return None,
    };
    let shape = func.ty(value).shape();
    if shape.is_empty() {
        return None;
    }
    let mut access = of_place(func, facts, place, shape);
    if is_atomic(data) {
        access.width = 1;
    }
    if let Some(mask) = mask {
        access.width = access.width.min(clamp(facts.lanes(func, mask).same[access.axis]));
    }
    Some(access)
}

fn prefetch(func: &Function, facts: &Facts, place: &Place, mask: Option<Value>) -> Option<Access> {
    let shape = match place {
        Place::Ptr(p) => SmallVec::from_slice(func.ty(*p).shape()),
        Place::View(access) => access_shape(func, access),
    };
    if shape.is_empty() {
        return None;
    }
    let mut access = of_place(func, facts, place, &shape);
    if let Some(mask) = mask {
        access.width = access.width.min(clamp(facts.lanes(func, mask).same[access.axis]));
    }
    Some(access)
}

/// A fill covers all that the slot's layout has room for.
fn ring_fill(func: &Function, facts: &Facts, place: &Place, mask: Option<Value>, ring: Value) -> Option<Access> {
    let room = func.ty(ring).layout()?.layout().physical();
    let mut access = of_place(func, facts, place, &room);
    if let Some(mask) = mask {
        access.width = access.width.min(clamp(facts.lanes(func, mask).same[access.axis]));
    }
    Some(access)
}

fn is_atomic(data: &InstData) -> bool {
    matches!(
        data,
        InstData::AtomicRmw { .. } | InstData::AtomicCas { .. } | InstData::AtomicLoad { .. } | InstData::AtomicStore { .. }
    )
}

fn of_place(func: &Function, facts: &Facts, place: &Place, shape: &[u32]) -> Access {
    let last = shape.len() - 1;
    let (axis, width, element_bytes) = match place {
        Place::Ptr(pointers) => {
            let lanes = facts.lanes(func, *pointers);
            let bytes = pointee_bytes(func.ty(*pointers));
            let axis = (0..shape.len()).rev().max_by_key(|&d| lanes.run[d]).unwrap_or(last);
            let aligned = lanes.divisor / u64::from(bytes);
            (axis, lanes.run[axis].min(aligned), bytes)
        }
        Place::View(access) => {
            let view = facts.view(func, access.view);
            let bytes = func.ty(access.view).elem().bytes();
            let axes = view_axes(func, &access.index);
            let mut unit_stride = (0..view.strides.len()).filter(|&d| view.strides[d].known == Some(1));
            let spans = |d: &usize| matches!(access.index[*d], SliceIndex::Span { .. });
            match unit_stride.rfind(spans) {
                None => {
                    // The smallest known stride, else the last axis.
                    let known = (0..view.strides.len()).filter(spans).filter_map(|d| {
                        let stride = view.strides[d].known?;
                        Some((stride.unsigned_abs(), axes[d]?))
                    });
                    (known.min().map_or(last, |(_, axis)| axis), 1, bytes)
                }
                Some(fast) => {
                    let mut width = view.align / u64::from(bytes);
                    for (d, index) in access.index.iter().enumerate() {
                        let stride = fact_divisor(view.strides[d]);
                        match index {
                            SliceIndex::Span { start, len } if d == fast => {
                                width = width.min(facts.lanes(func, *start).divisor).min(low_bit(*len));
                                if access.in_bounds & (1 << d) == 0 {
                                    width = width.min(fact_divisor(view.dims[d]));
                                }
                            }
                            SliceIndex::Span { .. } | SliceIndex::Gather(_) => width = width.min(stride),
                            SliceIndex::At(at) => width = width.min(stride * facts.lanes(func, *at).divisor),
                        }
                    }
                    (axes[fast].unwrap_or(last), width, bytes)
                }
            }
        }
    };
    let widest = (WIDEST_BYTES / u64::from(element_bytes)).max(1);
    let width = clamp(width.max(1)).min(widest as u32).min(low_bit(shape[axis]) as u32);
    Access { shape: SmallVec::from_slice(shape), element_bytes, axis, width }
}

/// The tile axis of each view dimension that has one of its own (`Span`).
fn view_axes(func: &Function, index: &[SliceIndex]) -> SmallVec<[Option<usize>; 5]> {
    let joint = joint_rank(func, index);
    let mut next = 0;
    let mut placed = false;
    index
        .iter()
        .map(|index| match index {
            SliceIndex::At(_) => None,
            SliceIndex::Span { .. } => {
                next += 1;
                Some(next - 1)
            }
            SliceIndex::Gather(_) => {
                if !placed {
                    next += joint;
                    placed = true;
                }
                None
            }
        })
        .collect()
}

/// Number of joint axes of the gather tiles of an access.
pub(super) fn joint_rank(func: &Function, index: &[SliceIndex]) -> usize {
    let ranks = index.iter().filter_map(|i| match i {
        SliceIndex::Gather(tile) => Some(func.ty(*tile).rank()),
        _ => None,
    });
    ranks.max().unwrap_or(0)
}

/// The first joint axis of the gather tiles of an access.
pub(super) fn joint_start(index: &[SliceIndex]) -> usize {
    index.iter().take_while(|i| !matches!(i, SliceIndex::Gather(_))).filter(|i| matches!(i, SliceIndex::Span { .. })).count()
}

fn low_bit(x: u32) -> u64 {
    1 << x.trailing_zeros()
}

fn clamp(x: u64) -> u32 {
    x.min(1 << 16) as u32
}
