//! Which loads the TMA engine can do, and the boxes it copies: a tensor map and coordinates for each piece of a slot.
//!
//! The engine copies a box of a tensor into shared memory, swizzled, zeros outside the tensor. It asks for an aligned base, an innermost
//! dimension of stride 1, other strides of whole 16 bytes, boxes of at most 256 elements a dimension and one span of the swizzle in the
//! innermost one (CUDA driver API, `cuTensorMapEncodeTiled`). Parts of a tensor that begin and end where data says are boxes as well ([`origin`]).

mod origin;
mod rows;

use kiln_ir::layout::{Hw, Layout, Swizzle, boxed};
use kiln_ir::{Function, Place, SliceIndex, Type, ViewAccess};
use smallvec::{SmallVec, smallvec};

pub use origin::{BoxStart, MapDims, Part};
pub(super) use origin::{Mapped, map_dims};
pub(super) use rows::row_layout;

use super::facts::{Facts, fact_divisor};
use crate::analysis::numbers::Numbers;

/// Most elements of a box along a dimension.
const MOST: u32 = 256;
/// Rows of an atom of a swizzle.
const ATOM: u32 = 8;
/// What addresses and strides are multiples of, in bytes.
const UNIT: u64 = 16;

/// A box: its first element in the tile, and the element of the slot where it starts.
type BoxAt = ([u32; 2], u32);

/// How a tile is copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TensorBoxes {
    /// Number of the tensor parameter.
    pub param: u32,
    /// The dimensions of the map, innermost first.
    pub dims: MapDims,
    /// The part of the tensor that the boxes are of, where they are not of all of it.
    pub part: Option<Part>,
    /// Extents of a box, innermost first.
    pub tile: SmallVec<[u16; 5]>,
    /// The slot's swizzle.
    pub swizzle: Swizzle,
    /// The tile's axis that runs through memory.
    pub fast: usize,
    /// Where each box starts in the tile, and at which element of the slot it lies.
    pub boxes: Vec<([u32; 2], u32)>,
    /// The boxes are those of the first of two thread blocks: the second one's start and lie so much further.
    pub half: Option<([u32; 2], u32)>,
}

impl TensorBoxes {
    /// One of two halves of the boxes, for two thread blocks that load the same. None where they do not come in such halves.
    fn halved(mut self) -> Option<TensorBoxes> {
        if self.boxes.len() % 2 == 1 {
            // Each box becomes two, whole atoms of the swizzle each.
            let rows = u32::from(*self.tile.get(1)?);
            let depth = rows / 2;
            if !rows.is_multiple_of(2 * ATOM) {
                return None;
            }
            self.tile[1] = depth as u16;
            let (slow, span) = (1 - self.fast, u32::from(self.tile[0]));
            let lower = self.boxes.iter().map(|&(mut at, offset)| {
                at[slow] += depth;
                (at, offset + depth * span)
            });
            let lower: Vec<_> = lower.collect();
            self.boxes.extend(lower);
        }
        let second = self.boxes.split_off(self.boxes.len() / 2);
        let distance = |(a, b): (&BoxAt, &BoxAt)| -> Option<BoxAt> {
            Some(([b.0[0].checked_sub(a.0[0])?, b.0[1].checked_sub(a.0[1])?], b.1.checked_sub(a.1)?))
        };
        let first = distance((&self.boxes[0], &second[0]))?;
        let equal = self.boxes.iter().zip(&second).all(|pair| distance(pair) == Some(first));
        self.half = Some(first);
        equal.then_some(self)
    }
}

/// The boxes by which one of two thread blocks fills its half of the slots of both.
pub fn shared_boxes(func: &Function, place: &Place, ring: Type) -> Option<TensorBoxes> {
    tensor_boxes(func, place, ring)?.halved()
}

/// The boxes that fill a slot of a ring with tiles of type `ring` from `place`; None where an access is no box, or the slot pads the tile.
pub fn tensor_boxes(func: &Function, place: &Place, ring: Type) -> Option<TensorBoxes> {
    let layout = ring.layout()?.layout();
    if ring.rank() == 1 {
        return rows::row_boxes(func, place, ring);
    }
    let &[rows, columns] = ring.shape() else { return None };
    if layout.physical().as_slice() != [rows, columns] {
        return None;
    }
    let fast = usize::from(layout.offset(&[0, 1]) == Some(1));
    // The engine has one swizzle; threads may use another one for wide elements.
    if *layout != boxed([rows, columns], fast, ring.elem().bytes()) {
        return None;
    }
    let Place::View(access) = place else { return None };
    let Mapped { param, dims, part } = map_dims(func, access, fast)?;
    let (swizzle, span) = swizzle_of(layout, fast, ring.elem().bytes())?;
    let extent = [rows, columns];
    let depth = rows_of_box(layout, fast, extent, span);
    let mut tile: SmallVec<[u16; 5]> = smallvec![1; dims.len()];
    (tile[0], tile[1]) = (span as u16, depth as u16);
    let mut boxes = Vec::new();
    for column in (0..extent[fast]).step_by(span as usize) {
        for row in (0..extent[1 - fast]).step_by(depth as usize) {
            let at = if fast == 1 { [row, column] } else { [column, row] };
            boxes.push((at, layout.offset(&at)?));
        }
    }
    Some(TensorBoxes { param, dims, part, tile, swizzle, fast, boxes, half: None })
}

/// Whether the facts of a launch promise what a tensor map of these boxes asks for.
pub(super) fn mappable(func: &Function, facts: &Facts, place: &Place, boxes: &TensorBoxes) -> bool {
    let Place::View(access) = place else { return false };
    let tensor = func.param_values()[boxes.param as usize];
    let view = facts.view(func, tensor);
    let bytes = u64::from(func.ty(tensor).elem().bytes());
    // Coordinates have 32 bits; starts that are computed in 64 saturate.
    let narrow = facts.fits_32_bit();
    let (inner, _) = boxes.dims[0];
    let strides = boxes.dims[1..].iter().all(|&(axis, _)| {
        let stride = view.strides[usize::from(axis)];
        stride.known != Some(0) && (fact_divisor(stride) * bytes).is_multiple_of(UNIT)
    });
    let mapped = narrow && view.align >= UNIT && view.strides[usize::from(inner)].known == Some(1) && strides;
    mapped && boxes.part.is_none_or(|part| !starts_before(func, facts, access, boxes.dims[part.dim].1))
}

/// Whether an access may start in front of its view.
fn starts_before(func: &Function, facts: &Facts, access: &ViewAccess, start: BoxStart) -> bool {
    let BoxStart::Access(dim) = start else { return true };
    match access.index[usize::from(dim)] {
        SliceIndex::At(start) | SliceIndex::Span { start, .. } => {
            !Numbers::new(func, facts.fits_32_bit()).within(func, start, 0, i64::MAX)
        }
        SliceIndex::Gather(_) => true,
    }
}

/// The swizzle of a slot and the elements of its span.
fn swizzle_of(layout: &Layout, fast: usize, bytes: u32) -> Option<(Swizzle, u32)> {
    let unit = layout.unit();
    let runs = (0..unit.bits(Hw::Offset)).take_while(|&bit| {
        let basis = unit.basis(Hw::Offset, bit);
        basis[fast] == 1 << bit && basis[1 - fast] == 0
    });
    let span = 1 << runs.count();
    let swizzle = [Swizzle::B128, Swizzle::B64, Swizzle::B32].into_iter().find(|s| s.span() == span * bytes)?;
    Some((swizzle, span))
}

/// Rows of one span that lie one behind the other, at most [`MOST`]: all of them, or those of the layout's unit where other spans stand between.
fn rows_of_box(layout: &Layout, fast: usize, extent: [u32; 2], span: u32) -> u32 {
    let slow = 1 - fast;
    let unit = layout.unit().extents();
    let mut behind = [0; 2];
    behind[slow] = unit[slow];
    // Within the unit a row follows the other, a span further on; the first row behind it does where nothing else is between.
    let spans_between = layout.reps()[slow] > 1 && layout.offset(&behind) != Some(span * unit[slow]);
    let all = if spans_between { unit[slow] } else { extent[slow] };
    (1..=all.min(MOST)).rev().find(|&rows| all.is_multiple_of(rows)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use kiln_ir::layout::staged;
    use kiln_ir::text::parse_module;
    use kiln_ir::{Elem, InstData, ScalarType};

    use super::*;

    /// A load of the tile `[rows, columns]` from a tensor of rank 3.
    fn load(elem: ScalarType, rows: u32, columns: u32) -> (Function, Place) {
        let text = format!(
            "kernel @0 k(v0.a: tensor<{elem}, 3> {{number 0, align 16, dims [?, ?, ?], strides [?%16, ?%16, =1]}}) grid 1 index 32 {{\n\
             v1: index = const 0\n\
             v2: tile<{elem}, [{rows}, {columns}]> = load v0[v1..+{rows}, v1, v1..+{columns}]\n\
             yield\n}}\n"
        );
        let module = parse_module(&text).expect("test input");
        let func = module.funcs[module.kernel().expect("a kernel")].clone();
        let mut place = None;
        func.walk(|_, inst| {
            if let InstData::Load { place: found, .. } = &func.insts[inst] {
                place = Some(found.clone());
            }
        });
        (func.clone(), place.expect("a load"))
    }

    /// Every element of every box lies where the layout of the slot says, and boxes have all elements once.
    #[test]
    fn boxes_lie_as_the_layout_says() {
        let extents = [[128, 64], [64, 256], [96, 128], [64, 80], [24, 128], [512, 32], [16, 48], [320, 64]];
        for ([rows, columns], elem) in extents.into_iter().flat_map(|e| [(e, ScalarType::BF16), (e, ScalarType::F32)]) {
            let (func, place) = load(elem, rows, columns);
            let bytes = elem.bytes();
            let layout = boxed([rows, columns], 1, bytes);
            let ring = Type::tile(Elem::Scalar(elem), &[rows, columns]).with_layout(Some(layout.clone().intern()));
            let boxes = tensor_boxes(&func, &place, ring).unwrap_or_else(|| panic!("{rows} x {columns} is no box"));
            assert_eq!(boxes.dims.as_slice(), [2, 0, 1].map(|dim| (dim, BoxStart::Access(dim))));
            assert!(mappable(&func, &Facts::of(&func), &place, &boxes));
            let [span, depth, one] = boxes.tile[..] else { panic!("three dimensions") };
            assert!(one == 1 && u32::from(depth) <= MOST && u32::from(span) * bytes == boxes.swizzle.span());
            let mut elements = 0;
            for (at, offset) in &boxes.boxes {
                for row in 0..u32::from(depth) {
                    for column in 0..u32::from(span) {
                        let address = u64::from(bytes * (offset + row * u32::from(span) + column));
                        let found = layout.offset(&[at[0] + row, at[1] + column]).map(|o| u64::from(bytes * o));
                        assert_eq!(
                            found,
                            Some(boxes.swizzle.apply(address)),
                            "{rows} x {columns} {elem}: {at:?} + {row}, {column}"
                        );
                        elements += 1;
                    }
                }
            }
            assert_eq!(elements, rows * columns);
            // Where threads read f32 across rows, chunks lie in another order, which the engine does not have.
            let other = ring.with_layout(Some(staged([rows, columns], 1, bytes).intern()));
            let same = elem == ScalarType::BF16 || boxes.swizzle == Swizzle::B32;
            assert_eq!(tensor_boxes(&func, &place, other).is_some(), same, "{rows} x {columns} {elem}");
        }
    }

    /// Two halves are the whole.
    #[test]
    fn halves_are_the_whole() {
        for ([rows, columns], halves) in
            [([128, 64], true), ([64, 256], true), ([64, 192], true), ([24, 64], false), ([96, 128], true)]
        {
            let (func, place) = load(ScalarType::BF16, rows, columns);
            let layout = staged([rows, columns], 1, 2);
            let ring = Type::tile(Elem::Scalar(ScalarType::BF16), &[rows, columns]).with_layout(Some(layout.clone().intern()));
            let Some(boxes) = shared_boxes(&func, &place, ring) else {
                assert!(!halves, "{rows} x {columns}");
                continue;
            };
            let (further, distance) = boxes.half.expect("halves");
            let (span, depth) = (u32::from(boxes.tile[0]), u32::from(boxes.tile[1]));
            assert!(halves && 2 * boxes.boxes.len() as u32 * span * depth == rows * columns, "{rows} x {columns}");
            for (at, offset) in &boxes.boxes {
                let lies = |at: [u32; 2]| layout.offset(&at);
                assert_eq!(lies(*at), Some(*offset));
                assert_eq!(lies([at[0] + further[0], at[1] + further[1]]), Some(offset + distance), "{rows} x {columns}");
            }
        }
    }

    /// What a slot pads is no part of a box, and a narrow tile has no swizzle.
    #[test]
    fn padded_slots_are_left_to_threads() {
        for ([rows, columns], room) in [([60, 64], [64, 64]), ([64, 60], [64, 64]), ([64, 8], [64, 8])] {
            let (func, place) = load(ScalarType::BF16, rows, columns);
            let layout = staged(room, 1, 2).intern();
            let ring = Type::tile(Elem::Scalar(ScalarType::BF16), &[rows, columns]).with_layout(Some(layout));
            assert_eq!(tensor_boxes(&func, &place, ring), None, "{rows} x {columns}");
        }
    }
}
