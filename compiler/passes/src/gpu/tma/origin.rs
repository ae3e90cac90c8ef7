//! Which tensor a view is of, and what of it: the dimensions of a tensor map over it.
//!
//! The engine's bounds are those of a map, which is made at the launch, before anybody knows where a part `x[lo..hi]` begins and ends. But the map may have
//! the dimension of the part twice, with the same stride `s` and its extent `n`, and lie `n` rows in front of the tensor: the box at `(n - length + row, hi)`
//! then starts at `-n s + (n - length + row) s + hi s = (lo + row) s`, and the engine takes it for outside from `row = length` on, which is where the part ends.
//! In front of the part it sees no bound, so the row must be known to be 0 or more.

use kiln_ir::{Function, InstData, SliceIndex, Value, ValueDef, ViewAccess, ViewIndex};
use smallvec::{SmallVec, smallvec};

/// Most dimensions of a map.
const MOST: usize = 5;

/// Where a box starts along a dimension of a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BoxStart {
    /// Where the access does, along this dimension of its view.
    Access(u8),
    /// At the index that the view was taken at.
    Index(Value),
    /// Where the part ends.
    End,
}

/// A part `lo..hi` of a tensor along one of its dimensions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Part {
    /// The map's dimension that counts from its beginning.
    pub dim: usize,
    /// As in `SubView`: both are clamped to the tensor.
    pub lo: Value,
    /// As `lo`.
    pub hi: Value,
}

/// The dimensions of a map, innermost first: that of the parameter, and where boxes start.
pub type MapDims = SmallVec<[(u8, BoxStart); MOST]>;

/// A map without its box.
pub(in crate::gpu) struct Mapped {
    /// Number of the tensor parameter.
    pub param: u32,
    pub dims: MapDims,
    pub part: Option<Part>,
}

/// The map for tiles of two axes, of which `fast` runs through memory, or of one axis. None where the access is no box.
pub(in crate::gpu) fn map_dims(func: &Function, access: &ViewAccess, fast: usize) -> Option<Mapped> {
    let origin = origin(func, access.view)?;
    let mut spans: SmallVec<[u8; 5]> = smallvec![];
    for (dim, index) in access.index.iter().enumerate() {
        match index {
            SliceIndex::Span { .. } => spans.push(dim as u8),
            SliceIndex::At(_) => {}
            SliceIndex::Gather(_) => return None,
        }
    }
    match spans.len() {
        1 | 2 if fast == 0 => {}
        2 => spans.reverse(),
        _ => return None,
    }
    let rest = (0..access.index.len() as u8).rev().filter(|dim| !spans.contains(dim));
    let mut dims: MapDims =
        spans.iter().copied().chain(rest).map(|dim| (origin.dims[usize::from(dim)], BoxStart::Access(dim))).collect();
    dims.extend(origin.fixed.iter().map(|&(axis, at)| (axis, BoxStart::Index(at))));
    let mut part = None;
    if let Some((axis, lo, hi)) = origin.part {
        let dim = dims.iter().position(|&(of, _)| of == axis)?;
        // The innermost dimension has no stride that another one could have as well.
        if dim == 0 {
            return None;
        }
        dims.push((axis, BoxStart::End));
        part = Some(Part { dim, lo, hi });
    }
    (dims.len() <= MOST).then_some(Mapped { param: origin.param, dims, part })
}

/// What a view is of a tensor parameter.
struct Origin {
    param: u32,
    /// The parameter's dimension that each of the view's is.
    dims: SmallVec<[u8; 5]>,
    /// Dimensions of the parameter that the view was taken at an index of.
    fixed: SmallVec<[(u8, Value); 2]>,
    /// The dimension of the parameter that the view has a part of, and the part.
    part: Option<(u8, Value, Value)>,
}

fn origin(func: &Function, view: Value) -> Option<Origin> {
    let inst = match func.values[view].def {
        ValueDef::Param(block, number) if block == func.body => {
            let dims = (0..func.ty(view).rank() as u8).collect();
            return Some(Origin { param: u32::from(number), dims, fixed: smallvec![], part: None });
        }
        ValueDef::Param(..) => return None,
        ValueDef::Result(inst, _) => inst,
    };
    match &func.insts[inst] {
        InstData::PermuteView { view, perm } => {
            let mut from = origin(func, *view)?;
            from.dims = perm.iter().map(|&p| from.dims[usize::from(p)]).collect();
            Some(from)
        }
        InstData::SubView { view, index } => {
            let mut from = origin(func, *view)?;
            let all = std::mem::take(&mut from.dims);
            for (&axis, index) in all.iter().zip(index) {
                let in_part = from.part.is_some_and(|(of, ..)| of == axis);
                match *index {
                    // Positions in the part, or a part of the part, would each take a dimension more.
                    ViewIndex::At(_) | ViewIndex::Range { .. } if in_part => return None,
                    ViewIndex::At(at) => from.fixed.push((axis, at)),
                    ViewIndex::Range { lo, hi } => {
                        if from.part.replace((axis, lo, hi)).is_some() {
                            return None;
                        }
                        from.dims.push(axis);
                    }
                    ViewIndex::Full => from.dims.push(axis),
                }
            }
            Some(from)
        }
        _ => None,
    }
}
