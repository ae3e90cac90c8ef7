//! `cuTensorMapEncodeTiled`, in the emulator's own format.

use std::ffi::c_void;

use kiln_emulator::tensormap::{ElementType, Swizzle, TensorMap};

use crate::codes::{self, Code};
use crate::state::{Needs, enter};

const TYPES: [ElementType; 10] = [
    ElementType::U8,
    ElementType::U16,
    ElementType::U32,
    ElementType::S32,
    ElementType::U64,
    ElementType::S64,
    ElementType::F16,
    ElementType::F32,
    ElementType::F64,
    ElementType::Bf16,
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
            element: *TYPES.get(element as usize).ok_or(codes::INVALID_VALUE)?,
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
