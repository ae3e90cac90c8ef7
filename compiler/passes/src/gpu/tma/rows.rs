//! Tiles of one axis that the engine copies beside tiles of two: as they are, without a swizzle.

use kiln_ir::layout::{Hw, Layout, LinearLayout, Swizzle};
use kiln_ir::{Function, Place, Type};
use smallvec::{SmallVec, smallvec};

use super::{MOST, Mapped, TensorBoxes, map_dims};

/// What the engine's destinations are aligned to, and so every slot of a ring.
const ALIGNED: u32 = 128;

/// The slot's layout for a tile of one axis; None where slots one behind the other would not lie where the engine can write.
pub(in crate::gpu) fn row_layout(ty: Type) -> Option<Layout> {
    let (&[extent], Some(elem)) = (ty.shape(), ty.scalar_elem()) else { return None };
    let aligned = (extent * elem.bytes()).is_multiple_of(ALIGNED);
    let bits = extent.trailing_zeros();
    aligned.then(|| Layout::new(LinearLayout::along(1, 0, Hw::Offset, bits as u8), &[extent >> bits]))
}

/// The boxes of a tile of one axis: runs of as many elements as a box can have.
pub(super) fn row_boxes(func: &Function, place: &Place, ring: Type) -> Option<TensorBoxes> {
    let (&[extent], Place::View(access)) = (ring.shape(), place) else { return None };
    if ring.layout()?.layout().physical().as_slice() != [extent] {
        return None;
    }
    let Mapped { param, dims, part } = map_dims(func, access, 0)?;
    let own = (1..=extent.min(MOST))
        .rev()
        .find(|&run| extent.is_multiple_of(run) && (run * ring.elem().bytes()).is_multiple_of(ALIGNED))?;
    let mut tile: SmallVec<[u16; 5]> = smallvec![1; dims.len()];
    tile[0] = own as u16;
    let boxes = (0..extent).step_by(own as usize).map(|at| ([at, 0], at)).collect();
    Some(TensorBoxes { param, dims, part, tile, swizzle: Swizzle::None, fast: 0, boxes, half: None })
}

#[cfg(test)]
mod tests {
    use kiln_ir::text::parse_module;
    use kiln_ir::{Elem, InstData, ScalarType};

    use super::*;
    use crate::gpu::facts::Facts;
    use crate::gpu::tma::{BoxStart, mappable, tensor_boxes};

    /// A row of a tensor of rank 3 is boxes of at most 256 elements, one behind the other.
    #[test]
    fn rows_are_boxes() {
        for (extent, expected) in
            [(64, Some(64)), (32, Some(32)), (96, Some(96)), (512, Some(256)), (320, Some(160)), (16, None), (40, None)]
        {
            let text = format!(
                "kernel @0 k(v0.a: tensor<f32, 3> {{number 0, align 16, dims [?, ?, ?], strides [?%16, ?%16, =1]}}) grid 1 index 32 {{\n\
                 v1: index = const 0\n\
                 v2: tile<f32, [{extent}]> = load v0[v1, v1, v1..+{extent}]\n\
                 yield\n}}\n"
            );
            let module = parse_module(&text).expect("test input");
            let func = &module.funcs[module.kernel().expect("a kernel")];
            let mut place = None;
            func.walk(|_, inst| {
                if let InstData::Load { place: found, .. } = &func.insts[inst] {
                    place = Some(found.clone());
                }
            });
            let place = place.expect("a load");
            let ty = Type::tile(Elem::Scalar(ScalarType::F32), &[extent]);
            let Some(layout) = row_layout(ty) else {
                assert_eq!(expected, None, "{extent}");
                continue;
            };
            let boxes = tensor_boxes(func, &place, ty.with_layout(Some(layout.clone().intern()))).expect("boxes");
            assert_eq!(boxes.dims.as_slice(), [2, 1, 0].map(|dim| (dim, BoxStart::Access(dim))));
            assert!(mappable(func, &Facts::of(func), &place, &boxes));
            assert_eq!((Some(u32::from(boxes.tile[0])), &boxes.tile[1..]), (expected, &[1, 1][..]));
            assert_eq!(boxes.boxes.len() as u32 * u32::from(boxes.tile[0]), extent);
            for (at, offset) in &boxes.boxes {
                assert_eq!((layout.offset(&at[..1]), at[1]), (Some(*offset), 0));
            }
        }
    }
}
