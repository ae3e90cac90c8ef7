//! Tensor maps in the emulator's form, from the description that the compiler leaves and a launch's addresses, extents and strides.

use kiln_emulator::{ElementType, Swizzle};
use kiln_ir::ScalarType;
use kiln_ir::artifact::{PtxParam, TensorMap};

use crate::error::Error;

/// The 128 bytes of a map. `slots` are the launch's parameters that are not hidden, `zeros` 16 bytes of them for tensors without elements.
pub(crate) fn tensor_map(map: &TensorMap, params: &[PtxParam], slots: &[u64], zeros: Option<u64>) -> Result<Vec<u8>, Error> {
    let missing = || Error::Internal("a tensor map over what is no parameter".to_owned());
    let shape = map.of_launch(params, slots).ok_or_else(missing)?;
    let address = shape.address.or(zeros).ok_or_else(missing)?;
    let element = match (map.elem, map.elem.bytes()) {
        _ if map.tf32 => ElementType::Tf32,
        (ScalarType::F16, _) => ElementType::F16,
        (ScalarType::BF16, _) => ElementType::Bf16,
        (ScalarType::F32, _) => ElementType::F32,
        (ScalarType::I32, _) => ElementType::S32,
        (ScalarType::I64, _) => ElementType::S64,
        (_, 1) => ElementType::U8,
        (_, 2) => ElementType::U16,
        (_, 4) => ElementType::U32,
        _ => ElementType::U64,
    };
    let described = kiln_emulator::TensorMap {
        element,
        address,
        dims: shape.extents.to_vec(),
        strides: shape.byte_strides.to_vec(),
        tile: map.tile().iter().map(|&extent| u32::from(extent)).collect(),
        swizzle: match map.swizzle {
            kiln_ir::layout::Swizzle::None => Swizzle::None,
            kiln_ir::layout::Swizzle::B32 => Swizzle::B32,
            kiln_ir::layout::Swizzle::B64 => Swizzle::B64,
            kiln_ir::layout::Swizzle::B128 => Swizzle::B128,
        },
        nan_fill: false,
    };
    let bytes = described.encode_tiled().map_err(|e| Error::Internal(e.to_string()))?;
    Ok(bytes.to_vec())
}
