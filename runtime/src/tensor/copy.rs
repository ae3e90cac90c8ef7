//! Copies between tensors and plain memory, and guards that lend a dense tensor's elements as a slice.

use std::ops::{Deref, DerefMut};

use super::{AnyTensor, Tensor};
use crate::cuda::memory::DeviceMemory;
use crate::element::Element;
use crate::error::TensorError;
use crate::storage::{Reading, Writing};

/// Which way bytes go.
#[derive(Clone, Copy)]
enum Way {
    Out,
    In,
}

/// Copies between a strided tensor at `at` and dense memory at `dense`, in row-major order. Gives back where the dense memory ends.
///
/// # Safety
/// Both must be valid for all elements, and not overlap.
unsafe fn copy_axes(mut at: *mut u8, mut dense: *mut u8, dims: &[i64], strides: &[i64], size: usize, way: Way) -> *mut u8 {
    let (run, outer) = match (dims, strides) {
        ([], []) => (Some(1), 0),
        ([d], [1]) => (Some(*d as usize), 0),
        ([d, ..], _) => (None, *d),
        _ => (Some(0), 0),
    };
    if let Some(run) = run {
        // SAFETY: the caller's promise; `run` elements are adjacent on both sides.
        unsafe {
            match way {
                Way::Out => dense.copy_from_nonoverlapping(at, run * size),
                Way::In => at.copy_from_nonoverlapping(dense, run * size),
            }
            return dense.add(run * size);
        }
    }
    for _ in 0..outer {
        // SAFETY: the caller's promise for the inner axes; the step behind the last element is never used.
        unsafe {
            dense = copy_axes(at, dense, &dims[1..], &strides[1..], size, way);
            at = at.wrapping_offset(strides[0] as isize * size as isize);
        }
    }
    dense
}

impl AnyTensor {
    fn check_bytes(&self, bytes: usize) -> Result<(), TensorError> {
        if bytes == self.byte_len() {
            return Ok(());
        }
        Err(TensorError::Shape(format!("a tensor of {} bytes, but {bytes} are given", self.byte_len())))
    }

    /// Copies the elements out, in row-major order.
    pub(super) fn gather_into(&self, to: *mut u8, bytes: usize) -> Result<(), TensorError> {
        self.check_bytes(bytes)?;
        let _hold = self.storage.read()?;
        if let Some(memory) = self.storage.device() {
            return self.gather_from(memory, to);
        }
        if !self.is_empty() {
            // SAFETY: `to` is fresh memory of the tensor's size, and the tensor is held for reading.
            unsafe { copy_axes(self.first().as_ptr(), to, &self.dims, &self.strides, self.elem.bytes() as usize, Way::Out) };
        }
        Ok(())
    }

    /// Copies the elements out of a GPU's memory.
    fn gather_from(&self, memory: &DeviceMemory, to: *mut u8) -> Result<(), TensorError> {
        if self.is_empty() {
            return Ok(());
        }
        if self.is_dense() {
            // SAFETY: `to` is fresh memory of the tensor's size; the elements lie within the memory.
            unsafe { memory.read(self.offset, to, self.byte_len())? };
            return Ok(());
        }
        // Everything between the first and the last element, of which the host picks the elements.
        let (low, high) = self.reach();
        let mut all = vec![0u8; high - low];
        // SAFETY: the vector has that many bytes; the elements lie within the copy, at the places they have in the memory.
        unsafe {
            memory.read(low, all.as_mut_ptr(), all.len())?;
            let first = all.as_mut_ptr().add(self.offset - low);
            copy_axes(first, to, &self.dims, &self.strides, self.elem.bytes() as usize, Way::Out);
        }
        Ok(())
    }

    /// Overwrites elements in a GPU's memory.
    fn scatter_to(&self, memory: &DeviceMemory, bytes: &[u8]) -> Result<(), TensorError> {
        if self.is_empty() {
            return Ok(());
        }
        if self.is_dense() {
            return Ok(memory.write(self.offset, bytes)?);
        }
        let (low, high) = self.reach();
        let mut all = vec![0u8; high - low];
        // SAFETY: as in `gather_from`; `bytes`, which is only read, has the tensor's size.
        unsafe {
            memory.read(low, all.as_mut_ptr(), all.len())?;
            let first = all.as_mut_ptr().add(self.offset - low);
            copy_axes(first, bytes.as_ptr().cast_mut(), &self.dims, &self.strides, self.elem.bytes() as usize, Way::In);
        }
        Ok(memory.write(low, &all)?)
    }

    /// The elements' bytes in row-major order.
    ///
    /// # Errors
    /// While a kernel writes the memory on another thread.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TensorError> {
        let mut out = vec![0; self.byte_len()];
        self.gather_into(out.as_mut_ptr(), out.len())?;
        Ok(out)
    }

    /// Overwrites the elements, given in row-major order.
    ///
    /// # Errors
    /// Where there are more or fewer bytes than the tensor has, a bool is neither 0 nor 1, or the memory is in use.
    pub fn copy_from_bytes(&self, bytes: &[u8]) -> Result<(), TensorError> {
        self.check_bytes(bytes.len())?;
        if self.scalar_type() == Some(kiln_ir::ScalarType::Bool) && bytes.iter().any(|b| *b > 1) {
            return Err(TensorError::Shape("a bool that is neither 0 nor 1".to_owned()));
        }
        let _hold = self.storage.write()?;
        if let Some(memory) = self.storage.device() {
            return self.scatter_to(memory, bytes);
        }
        if !self.is_empty() {
            let size = self.elem.bytes() as usize;
            // SAFETY: the tensor is held for writing, and `bytes`, which is only read, has its size.
            unsafe { copy_axes(self.first().as_ptr(), bytes.as_ptr().cast_mut(), &self.dims, &self.strides, size, Way::In) };
        }
        Ok(())
    }

    /// A dense copy in memory of its own.
    ///
    /// # Errors
    /// Where there is not that much memory, or a kernel writes this tensor on another thread.
    pub fn deep_clone(&self) -> Result<AnyTensor, TensorError> {
        if self.storage.device().is_some() {
            return self.clone_on_gpu();
        }
        let storage = crate::storage::Storage::zeroed(self.byte_len())?;
        self.gather_into(storage.base().as_ptr(), storage.len())?;
        let mut copy = self.clone();
        copy.storage = std::sync::Arc::new(storage);
        copy.offset = 0;
        copy.strides = super::dense_strides(&self.dims);
        Ok(copy)
    }
}

/// The elements of a dense tensor, held for reading.
#[derive(Debug)]
pub struct Reader<'a, T> {
    elements: &'a [T],
    _hold: Reading<'a>,
}

impl<T> Deref for Reader<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.elements
    }
}

/// The elements of a dense tensor, held for writing.
#[derive(Debug)]
pub struct Writer<'a, T> {
    elements: &'a mut [T],
    _hold: Writing<'a>,
}

impl<T> Deref for Writer<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.elements
    }
}

impl<T> DerefMut for Writer<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.elements
    }
}

impl<T: Element> Tensor<T> {
    fn dense_len(&self) -> Result<usize, TensorError> {
        if self.is_dense() {
            return Ok(self.len());
        }
        Err(TensorError::Shape(format!("a view with strides {:?} is no slice: use `to_vec`", self.strides())))
    }

    /// The elements in place. Nothing can write them while the guard lives.
    ///
    /// # Errors
    /// Where the tensor is not dense, or its memory is being written.
    pub fn read(&self) -> Result<Reader<'_, T>, TensorError> {
        self.any.on_host("a slice of the elements")?;
        let len = self.dense_len()?;
        let hold = self.any.storage.read()?;
        // SAFETY: dense, aligned, inside the storage, and held for reading as long as the guard lives.
        let elements = unsafe { std::slice::from_raw_parts(self.any.first().cast().as_ptr(), len) };
        Ok(Reader { elements, _hold: hold })
    }

    /// The elements in place, to change. Nothing else can use the memory while the guard lives.
    ///
    /// # Errors
    /// Where the tensor is not dense, or its memory is in use.
    pub fn write(&mut self) -> Result<Writer<'_, T>, TensorError> {
        self.any.on_host("a slice of the elements")?;
        let len = self.dense_len()?;
        let hold = self.any.storage.write()?;
        // SAFETY: dense (so no element is met twice), aligned, inside the storage, and held for writing as long as the guard lives.
        let elements = unsafe { std::slice::from_raw_parts_mut(self.any.first().cast().as_ptr(), len) };
        Ok(Writer { elements, _hold: hold })
    }

    /// A dense copy in memory of its own.
    ///
    /// # Errors
    /// Where there is not that much memory, or a kernel writes this tensor on another thread.
    pub fn deep_clone(&self) -> Result<Self, TensorError> {
        Ok(Tensor { any: self.any.deep_clone()?, elements: std::marker::PhantomData })
    }
}
