//! Where a tensor's memory is, and copies between places.

use std::marker::PhantomData;
use std::sync::Arc;

use kiln_ir::{Elem, ScalarType};

use super::{AnyTensor, Dims, Tensor, checked_len, dense_strides};
use crate::device::Device;
use crate::element::Element;
use crate::error::TensorError;
use crate::storage::Storage;

/// A dense tensor over new memory.
fn dense(storage: Storage, elem: Elem, dims: &[i64]) -> AnyTensor {
    AnyTensor { storage: Arc::new(storage), elem, offset: 0, dims: Dims::from_slice(dims), strides: dense_strides(dims) }
}

impl AnyTensor {
    /// The GPU whose memory the tensor is in; None for the host's.
    pub fn device(&self) -> Option<Device> {
        self.storage.device().map(|memory| Device::of_gpu(memory.gpu))
    }

    /// A dense tensor of zeros in a device's memory: a GPU's own, the host's for other devices.
    ///
    /// # Errors
    /// Where an extent is negative, or there is not that much memory.
    pub fn zeros_on(device: &Device, elem: ScalarType, dims: &[i64]) -> Result<AnyTensor, TensorError> {
        let Some(gpu) = device.gpu() else { return AnyTensor::zeros(elem, dims) };
        let (_, bytes) = checked_len(dims, elem.into())?;
        let storage = Storage::on_gpu(gpu, bytes)?;
        storage.device().map_or(Ok(()), |memory| memory.clear())?;
        Ok(dense(storage, elem.into(), dims))
    }

    /// A dense tensor of zeros in page-locked memory of the host: [`crate::Stream::copy`] between it and the GPU runs beside the host. Ordinary memory for other devices.
    ///
    /// # Errors
    /// Where an extent is negative, or there is not that much memory.
    pub fn locked(device: &Device, elem: ScalarType, dims: &[i64]) -> Result<AnyTensor, TensorError> {
        let Some(gpu) = device.gpu() else { return AnyTensor::zeros(elem, dims) };
        let (_, bytes) = checked_len(dims, elem.into())?;
        Ok(dense(Storage::locked(gpu, bytes)?, elem.into(), dims))
    }

    /// The tensor in a device's memory: a dense copy, or a handle to the same memory where it is there already.
    ///
    /// # Errors
    /// Where there is not that much memory, or the tensor is being written.
    pub fn to(&self, device: &Device) -> Result<AnyTensor, TensorError> {
        let same = |gpu| self.storage.device().is_some_and(|memory| std::ptr::eq(memory.gpu, gpu));
        match device.gpu() {
            None => self.to_host(),
            Some(gpu) if same(gpu) => Ok(self.clone()),
            Some(gpu) => {
                let copy = dense(Storage::on_gpu(gpu, self.byte_len())?, self.elem, &self.dims);
                copy.copy_from_bytes(&self.to_bytes()?)?;
                Ok(copy)
            }
        }
    }

    /// The tensor in the host's memory: a dense copy, or a handle to the same memory where it is there already.
    ///
    /// # Errors
    /// As [`AnyTensor::to`].
    pub fn to_host(&self) -> Result<AnyTensor, TensorError> {
        if self.storage.device().is_none() {
            return Ok(self.clone());
        }
        let storage = Storage::zeroed(self.byte_len())?;
        self.gather_into(storage.base().as_ptr(), storage.len())?;
        Ok(dense(storage, self.elem, &self.dims))
    }

    /// An error for what needs the elements in the host's memory.
    pub(super) fn on_host(&self, what: &str) -> Result<(), TensorError> {
        match self.storage.device() {
            None => Ok(()),
            Some(memory) => Err(TensorError::Place(format!(
                "{what} needs the host's memory, and the tensor is on {}: use `to_vec` or `to_host`",
                memory.gpu.name()
            ))),
        }
    }

    /// A dense copy in other memory of the same GPU.
    pub(super) fn clone_on_gpu(&self) -> Result<AnyTensor, TensorError> {
        let Some(memory) = self.storage.device() else {
            return Err(TensorError::Place("a tensor of the host is not copied on a GPU".to_owned()));
        };
        let copy = dense(Storage::on_gpu(memory.gpu, self.byte_len())?, self.elem, &self.dims);
        copy.copy_from_bytes(&self.to_bytes()?)?;
        Ok(copy)
    }

    /// First and one past the last byte of the storage that the elements lie in.
    pub(super) fn reach(&self) -> (usize, usize) {
        let size = i64::from(self.elem.bytes());
        let (mut low, mut high) = (self.offset as i64, self.offset as i64 + size);
        for (&d, &s) in self.dims.iter().zip(&self.strides) {
            let reach = (d - 1).max(0) * s * size;
            if reach < 0 { low += reach } else { high += reach }
        }
        (low as usize, high as usize)
    }
}

impl<T: Element> Tensor<T> {
    /// See [`AnyTensor::zeros_on`].
    ///
    /// # Errors
    /// As there.
    pub fn zeros_on(device: &Device, dims: &[i64]) -> Result<Self, TensorError> {
        Ok(Tensor { any: AnyTensor::zeros_on(device, T::TYPE, dims)?, elements: PhantomData })
    }

    /// See [`AnyTensor::locked`].
    ///
    /// # Errors
    /// As there.
    pub fn locked(device: &Device, dims: &[i64]) -> Result<Self, TensorError> {
        Ok(Tensor { any: AnyTensor::locked(device, T::TYPE, dims)?, elements: PhantomData })
    }

    /// See [`AnyTensor::to`].
    ///
    /// # Errors
    /// As there.
    pub fn to(&self, device: &Device) -> Result<Self, TensorError> {
        Ok(Tensor { any: self.any.to(device)?, elements: PhantomData })
    }

    /// See [`AnyTensor::to_host`].
    ///
    /// # Errors
    /// As there.
    pub fn to_host(&self) -> Result<Self, TensorError> {
        Ok(Tensor { any: self.any.to_host()?, elements: PhantomData })
    }
}
