//! Tensor maps: what the launch describes to the TMA engine, so that one instruction copies a box of a tensor.
//!
//! The description here is neutral: the runtime turns it, with a launch's addresses, extents and strides, into the 128 bytes that
//! `cuTensorMapEncodeTiled` gives for a GPU, or into those of the emulator.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::ptx::PtxParam;
use crate::layout::Swizzle;
use crate::types::ScalarType;

/// Most dimensions of a tensor map.
pub const MAX_RANK: usize = 5;

/// A tensor map over one of a kernel's tensors (CUDA driver API, "Tensor Map Object Management"): tiled, no interleave, element
/// strides 1, zeros outside. The specialization's facts promise what the encoding asks for: an address that is a multiple of 16, strides
/// of bytes that are multiples of 16 and not negative.
///
/// A dimension of the tensor may occur twice, the second time as the map's last: that is how a kernel copies a part of it with an end of its own (see
/// `kiln_passes`, `gpu/tma/origin.rs`). The map then lies as many elements of that dimension in front of the tensor as the tensor has, and its last dimension has
/// one more, so that the coordinates of the two together, less that extent, are the tensor's. Nothing in front of the tensor is in bounds for the coordinates that the kernel gives.
///
/// A tensor without elements has no valid encoding: the launch then describes one element of zeros (16 bytes that are readable, extent 1 in every
/// dimension, strides of 16 bytes), which reads as such a tensor does.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TensorMap {
    /// Number of the tensor among the function's parameters.
    pub param: u32,
    /// Element type of the tensor; types of one byte are described as unsigned bytes.
    pub elem: ScalarType,
    /// Number of dimensions, 1 to 5.
    pub rank: u8,
    /// The tensor's dimension that each of the map's is, innermost (stride 1) first; 0 beyond `rank`.
    pub axes: [u8; MAX_RANK],
    /// Extents of the box in elements, innermost first, 1 to 256 each; 0 beyond `rank`.
    pub tile: [u16; MAX_RANK],
    /// How the box is swizzled in shared memory.
    pub swizzle: Swizzle,
    /// Elements are f32, and rounded to tf32 as they are loaded: to nearest, ties to even, infinities and NaN as they are.
    pub tf32: bool,
}

/// A tensor map with the values of a launch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapShape {
    /// Global address of the map. None where the tensor has no elements: 16 readable bytes of zeros take its place.
    pub address: Option<u64>,
    /// Extents in elements, innermost first.
    pub extents: SmallVec<[u64; MAX_RANK]>,
    /// Strides in bytes of all dimensions but the innermost.
    pub byte_strides: SmallVec<[u64; MAX_RANK]>,
}

impl TensorMap {
    /// Extents of the box in elements, innermost first.
    pub fn tile(&self) -> &[u16] {
        &self.tile[..usize::from(self.rank)]
    }

    /// The map of a tensor at `address` with these extents and strides in elements.
    pub fn shape(&self, address: u64, dims: &[i64], strides: &[i64]) -> MapShape {
        let rank = usize::from(self.rank);
        if dims.contains(&0) {
            let byte_strides = SmallVec::from_elem(16, rank - 1);
            return MapShape { address: None, extents: SmallVec::from_elem(1, rank), byte_strides };
        }
        let axes = || self.axes[..rank].iter().map(|&axis| usize::from(axis));
        let bytes = u64::from(self.elem.bytes());
        let mut extents: SmallVec<[u64; MAX_RANK]> = axes().map(|axis| dims[axis] as u64).collect();
        let byte_strides: SmallVec<[u64; MAX_RANK]> = axes().skip(1).map(|axis| strides[axis] as u64 * bytes).collect();
        let mut start = address;
        if let [others @ .., last] = &self.axes[..rank]
            && others.contains(last)
        {
            start = start.wrapping_sub(extents[rank - 1].wrapping_mul(byte_strides[rank - 2]));
            extents[rank - 1] += 1;
        }
        MapShape { address: Some(start), extents, byte_strides }
    }

    /// The map with the values of a launch: `slots` are those of the parameters that are not hidden, in their order. None where the
    /// tensor is not among them.
    pub fn of_launch(&self, params: &[PtxParam], slots: &[u64]) -> Option<MapShape> {
        let bound = |p: &&PtxParam| {
            matches!(p, PtxParam::Base(_) | PtxParam::Dim { .. } | PtxParam::Stride { .. } | PtxParam::Value { .. })
        };
        let (mut address, mut dims, mut strides) = (None, SmallVec::<[i64; 8]>::new(), SmallVec::<[i64; 8]>::new());
        for (param, &slot) in params.iter().filter(bound).zip(slots) {
            match *param {
                PtxParam::Base(number) if number == self.param => address = Some(slot),
                PtxParam::Dim { param, .. } if param == self.param => dims.push(slot as i64),
                PtxParam::Stride { param, .. } if param == self.param => strides.push(slot as i64),
                _ => {}
            }
        }
        Some(self.shape(address?, &dims, &strides))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows `lo..hi` of 100, three of a row's dimensions apart: the box at `(n - length + row, hi)` starts at row `lo + row`, and is outside from the length on.
    #[test]
    fn a_dimension_twice_is_a_part_with_an_end_of_its_own() {
        let tile = [64, 16, 1, 1, 0];
        let (axes, swizzle) = ([2, 0, 1, 0, 0], Swizzle::B128);
        let map = TensorMap { param: 0, elem: ScalarType::F16, rank: 4, axes, tile, swizzle, tf32: false };
        let (address, dims, strides) = (1 << 32, [100, 6, 64], [384, 64, 1]);
        let shape = map.shape(address, &dims, &strides);
        assert_eq!(shape.extents[..], [64, 100, 6, 101]);
        assert_eq!(shape.byte_strides[..], [768, 128, 768]);
        let base = shape.address.expect("a tensor with elements");
        for (lo, hi) in [(0, 100), (7, 30), (99, 100), (40, 40)] {
            let length = hi - lo;
            for row in 0..120 {
                let (at, end) = (100 - length + row, hi);
                assert_eq!(at < shape.extents[1], row < length);
                assert!(end < shape.extents[3]);
                assert_eq!(base + at * shape.byte_strides[0] + end * shape.byte_strides[2], address + (lo + row) * 768);
            }
        }
    }
}
