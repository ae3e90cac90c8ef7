//! Tensor maps of a launch: encoded by the driver (`cuTensorMapEncodeTiled`), and kept for the next launch over tensors of the same place and form.

use std::ffi::c_void;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use kiln_ir::ScalarType;
use kiln_ir::artifact::{MapShape, PtxParam, TensorMap};
use kiln_ir::layout::Swizzle;

use super::gpu::Gpu;
use crate::error::Error;

/// A map as the driver encodes it.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Encoded([u64; 16]);

impl Encoded {
    /// What stands where a launch has no map.
    pub const NOTHING: Encoded = Encoded([0; 16]);
}

/// A parameter that is a tensor map.
pub(crate) struct MapParam {
    map: TensorMap,
    last: ArcSwapOption<(MapShape, Encoded)>,
}

/// `CU_TENSOR_MAP_L2_PROMOTION_L2_256B`.
const L2_256B: u32 = 3;

/// `CU_TENSOR_MAP_DATA_TYPE_TFLOAT32`: f32 that the TMA engine rounds to nearest even as it loads.
const TFLOAT32: u32 = 11;

impl MapParam {
    pub fn new(map: TensorMap) -> MapParam {
        MapParam { map, last: ArcSwapOption::empty() }
    }

    /// The map for a launch: `params` are the kernel's, `slots` what its arguments fill.
    pub fn encoded(&self, gpu: &'static Gpu, params: &[PtxParam], slots: &[u64]) -> Result<Encoded, Error> {
        let shape = self.map.of_launch(params, slots);
        let shape = shape.ok_or_else(|| Error::Internal("a tensor map over what is no parameter".to_owned()))?;
        if let Some(last) = &*self.last.load()
            && last.0 == shape
        {
            return Ok(last.1);
        }
        let encoded = self.encode(gpu, &shape)?;
        self.last.store(Some(Arc::new((shape, encoded))));
        Ok(encoded)
    }

    #[cold]
    fn encode(&self, gpu: &'static Gpu, shape: &MapShape) -> Result<Encoded, Error> {
        let address = match shape.address {
            Some(address) => address,
            None => gpu.zeros()?,
        };
        let tile: [u32; 5] = std::array::from_fn(|i| u32::from(self.map.tile().get(i).copied().unwrap_or(1)));
        let swizzle = match self.map.swizzle {
            Swizzle::None => 0,
            Swizzle::B32 => 1,
            Swizzle::B64 => 2,
            Swizzle::B128 => 3,
        };
        let mut encoded = Encoded::NOTHING;
        // SAFETY: the map has 128 bytes aligned to 64; extents, tile and steps have the map's rank (at most 5), strides one fewer; an address is not followed here.
        let code = unsafe {
            (gpu.api.cuTensorMapEncodeTiled)(
                std::ptr::from_mut(&mut encoded).cast(),
                data_type(&self.map),
                shape.extents.len() as u32,
                address as *mut c_void,
                shape.extents.as_ptr(),
                shape.byte_strides.as_ptr(),
                tile.as_ptr(),
                [1; 5].as_ptr(),
                0,
                swizzle,
                L2_256B,
                0,
            )
        };
        gpu.check("cuTensorMapEncodeTiled", code)?;
        Ok(encoded)
    }
}

/// `CUtensorMapDataType`: 8-bit floats travel as bytes. Reductions into memory are of this type.
fn data_type(map: &TensorMap) -> u32 {
    match (map.elem, map.elem.bytes()) {
        _ if map.tf32 => TFLOAT32,
        (ScalarType::I32, _) => 3,
        (ScalarType::I64, _) => 5,
        (ScalarType::F16, _) => 6,
        (ScalarType::F32, _) => 7,
        (ScalarType::F64, _) => 8,
        (ScalarType::BF16, _) => 9,
        (_, 1) => 0,
        (_, 2) => 1,
        (_, 4) => 2,
        _ => 4,
    }
}
