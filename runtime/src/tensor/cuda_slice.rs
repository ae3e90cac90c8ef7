//! Tensors over cudarc's device memory.

use cudarc::driver::{CudaSlice, DevicePtr};

use super::{AnyTensor, Tensor};
use crate::device::Device;
use crate::element::Element;
use crate::error::{Error, TensorError};
use crate::storage::Storage;

impl<T: Element> Tensor<T> {
    /// A dense tensor over the memory of a slice of cudarc, without a copy. Waits for what the slice's stream was given. The memory goes back to cudarc when the last view is
    /// dropped.
    ///
    /// # Errors
    /// Where the slice has more or fewer elements than the shape, or its GPU cannot be used.
    pub fn from_cuda_slice(slice: CudaSlice<T>, dims: &[i64]) -> Result<Self, Error> {
        let (len, bytes) = super::checked_len(dims, T::TYPE.into())?;
        let count = slice.num_bytes() / size_of::<T>();
        if len != count {
            return Err(TensorError::Shape(format!("shape {dims:?} has {len} elements, but the slice has {count}")).into());
        }
        let device = Device::cuda(slice.ordinal())?;
        let stream = slice.stream().clone();
        let address = slice.device_ptr(&stream).0;
        stream.synchronize().map_err(|e| Error::Device(format!("{}: waiting for a stream of cudarc: {e}", device.name())))?;
        // SAFETY: the slice is the only owner of its memory, and kept as long as the storage; its stream has nothing left to do.
        let storage = unsafe { Storage::adopt_on(&device, address, bytes, Box::new(slice))? };
        let any = AnyTensor::from_storage(storage.into(), T::TYPE, 0, dims, &super::dense_strides(dims))?;
        Ok(any.try_into()?)
    }
}
