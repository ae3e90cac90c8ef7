//! Views, and the elements that an access refers to.

use kiln_ir::{Function, Place, SliceIndex, Type, ViewIndex};

use super::eval::{Frame, Program};
use super::shapes::{broadcast_position, each_index, extents};
use super::{Fault, Lane};

/// A tensor view at run time.
#[derive(Clone, Debug)]
pub struct View {
    pub buffer: u32,
    pub offset: i64,
    pub dims: Vec<i64>,
    pub strides: Vec<i64>,
}

impl View {
    /// `SubView`.
    pub fn narrowed(&self, index: &[ViewIndex], frame: &Frame<'_>) -> View {
        let mut view = View { buffer: self.buffer, offset: self.offset, dims: Vec::new(), strides: Vec::new() };
        let mut empty = false;
        for (d, index) in index.iter().enumerate() {
            match index {
                ViewIndex::At(at) => {
                    let at = frame.int(*at);
                    empty |= at < 0 || at >= self.dims[d];
                    view.offset += at * self.strides[d];
                }
                ViewIndex::Range { lo, hi } => {
                    let lo = frame.int(*lo).clamp(0, self.dims[d]);
                    let hi = frame.int(*hi).clamp(0, self.dims[d]);
                    view.offset += lo * self.strides[d];
                    view.dims.push((hi - lo).max(0));
                    view.strides.push(self.strides[d]);
                }
                ViewIndex::Full => {
                    view.dims.push(self.dims[d]);
                    view.strides.push(self.strides[d]);
                }
            }
        }
        if empty {
            view.dims.fill(0);
        }
        view
    }
}

/// The element of each lane of an access, row-major; `None` for lanes that are out of bounds or masked off.
pub fn elements(func: &Function, frame: &Frame<'_>, place: &Place, mask: Option<&[Lane]>) -> Vec<Option<(u32, i64)>> {
    let mut list = match place {
        Place::Ptr(ptr) => {
            let target = |lane: &Lane| match *lane {
                Lane::Ptr { buffer, offset } => Some((buffer, offset)),
                // A null pointer, fine as long as it is masked off.
                _ => Some((u32::MAX, 0)),
            };
            frame.lanes(*ptr).iter().map(target).collect()
        }
        Place::View(access) => {
            let view = frame.view(access.view);
            let shape: Vec<i64> = kiln_ir::builder::access_shape(func, access).iter().map(|&d| i64::from(d)).collect();
            let joint = joint_shape(func, &access.index);
            let mut list = Vec::new();
            each_index(&shape, |index| {
                let mut axis = 0;
                let mut gathered: Option<&[i64]> = None;
                let mut offset = view.offset;
                let mut inside = true;
                for (d, slice) in access.index.iter().enumerate() {
                    let at = match slice {
                        SliceIndex::At(v) => frame.int(*v),
                        SliceIndex::Span { start, .. } => {
                            axis += 1;
                            frame.int(*start).saturating_add(index[axis - 1])
                        }
                        SliceIndex::Gather(tile) => {
                            let lanes = *gathered.get_or_insert_with(|| {
                                axis += joint.len();
                                &index[axis - joint.len()..axis]
                            });
                            match frame.lanes(*tile)[broadcast_position(&extents(func.ty(*tile)), lanes)] {
                                Lane::Int(v) => v,
                                other => unreachable!("{other:?} as an index"),
                            }
                        }
                    };
                    let fits = at >= 0 && at < view.dims[d];
                    // A proof that is wrong shows here rather than as memory out of bounds.
                    assert!(
                        fits || access.in_bounds >> d & 1 == 0,
                        "dimension {d} of {access:?} was proved in bounds: {at} of {}",
                        view.dims[d]
                    );
                    inside &= fits;
                    if fits {
                        offset += at * view.strides[d];
                    }
                }
                list.push(inside.then_some((view.buffer, offset)));
            });
            list
        }
    };
    if let Some(mask) = mask {
        list.iter_mut().zip(mask).filter(|(_, m)| **m == Lane::Int(0)).for_each(|(e, _)| *e = None);
    }
    list
}

/// The shape that the index tiles of an access have together.
fn joint_shape(func: &Function, index: &[SliceIndex]) -> Vec<i64> {
    let tiles = index.iter().filter_map(|i| match i {
        SliceIndex::Gather(tile) => Some(func.ty(*tile)),
        _ => None,
    });
    let joint = tiles
        .map(Type::shape)
        .fold(kiln_ir::Shape::new(), |joint, shape| kiln_ir::builder::broadcast_shapes(&joint, shape).unwrap_or(joint));
    joint.iter().map(|&d| i64::from(d)).collect()
}

impl Program<'_> {
    /// The memory cell of an element.
    pub fn cell(&mut self, element: (u32, i64)) -> Result<&mut Lane, Fault> {
        let (buffer, offset) = element;
        let cell = self.memory.buffers.get_mut(buffer as usize).and_then(|b| b.lanes.get_mut(usize::try_from(offset).ok()?));
        cell.ok_or_else(|| Fault::OutOfBounds(format!("element {offset} of buffer {buffer}")))
    }
}
