//! `cuTensorMapEncodeTiled`, in the emulator's own format.

use std::ffi::c_void;

use kiln_emulator::tensormap::{ElementType, Swizzle, TensorMap};

use crate::codes::{self, Code};
use crate::state::{Needs, enter};

/// Types by their `CUtensorMapDataType`; None for those that flush subnormal numbers, which no kernel of ours asks for.
const TYPES: [Option<ElementType>; 13] = [
    Some(ElementType::U8),
    Some(ElementType::U16),
    Some(ElementType::U32),
    Some(ElementType::S32),
    Some(ElementType::U64),
    Some(ElementType::S64),
    Some(ElementType::F16),
    Some(ElementType::F32),
    Some(ElementType::F64),
    Some(ElementType::Bf16),
    None,
    Some(ElementType::Tf32),
    None,
];

/// # Safety
/// As the driver's manual says: arrays of `rank` entries (one stride fewer), and a map of 128 bytes aligned to 64.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuTensorMapEncodeTiled(
    map: *mut c_void,
    element: u32,
    rank: u32,
    address: *mut c_void,
    dims: *const u64,
    strides: *const u64,
    tile: *const u32,
    element_strides: *const u32,
    interleave: u32,
    swizzle: u32,
    l2_promotion: u32,
    fill: u32,
) -> Code {
    // A function of the driver that needs no context.
    enter(Needs::Driver, |_| {
        let rank = rank as usize;
        if map.is_null() || !(map as usize).is_multiple_of(64) || !(1..=5).contains(&rank) || interleave != 0 || l2_promotion > 3
        {
            return Err(codes::INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        let (dims, strides, tile, steps) = unsafe {
            (
                std::slice::from_raw_parts(dims, rank).to_vec(),
                if rank > 1 { std::slice::from_raw_parts(strides, rank - 1).to_vec() } else { vec![] },
                std::slice::from_raw_parts(tile, rank).to_vec(),
                std::slice::from_raw_parts(element_strides, rank),
            )
        };
        if steps.iter().any(|&s| s != 1) {
            return Err(codes::NOT_SUPPORTED);
        }
        let swizzle = [Swizzle::None, Swizzle::B32, Swizzle::B64, Swizzle::B128].get(swizzle as usize).copied();
        let encoded = TensorMap {
            element: TYPES.get(element as usize).ok_or(codes::INVALID_VALUE)?.ok_or(codes::NOT_SUPPORTED)?,
            address: address as u64,
            dims,
            strides,
            tile,
            swizzle: swizzle.ok_or(codes::INVALID_VALUE)?,
            nan_fill: fill == 1,
        }
        .encode_tiled()
        .map_err(|error| {
            eprintln!("{error}");
            codes::INVALID_VALUE
        })?;
        // SAFETY: the caller gives 128 bytes.
        unsafe { std::ptr::copy_nonoverlapping(encoded.as_ptr(), map.cast(), encoded.len()) };
        Ok(())
    })
}
