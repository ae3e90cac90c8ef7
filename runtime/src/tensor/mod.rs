//! Tensors: shared memory seen through extents and strides.
//!
//! [`AnyTensor`] knows its element type at run time, [`Tensor`] at compile time. Both are handles: views share memory, cloning is cheap, and `deep_clone`
//! copies. Extents and strides are in elements; strides may be negative, and 0 repeats an element.
//!
//! `views` and `slicing` (`x.view(s![1.., ..;-1])`) make tensors of tensors without touching an element; `copy` and `convert` go from and to plain Rust values; `dlpack`,
//! `array` (feature `ndarray`), `candle` (feature `candle`) and `cuda_slice` (feature `cudarc`) from and to other libraries; `show` prints.

#[cfg(feature = "ndarray")]
mod array;
#[cfg(feature = "candle")]
pub mod candle;
mod convert;
mod copy;
#[cfg(feature = "cudarc")]
mod cuda_slice;
pub mod dlpack;
mod place;
mod show;
mod slicing;
mod views;

use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use kiln_ir::{Elem, ScalarType};
use smallvec::SmallVec;

use crate::element::Element;
use crate::error::TensorError;
use crate::storage::Storage;

#[cfg(feature = "ndarray")]
pub use array::{ArrayReader, ArrayWriter};
pub use copy::{Reader, Writer};
pub use slicing::{Ellipsis, NewAxis, Part};

/// Extents or strides.
pub type Dims = SmallVec<[i64; 5]>;

/// A tensor whose element type is known at run time.
#[derive(Clone)]
pub struct AnyTensor {
    storage: Arc<Storage>,
    elem: Elem,
    /// Bytes from the storage's base to the element with index 0.
    offset: usize,
    dims: Dims,
    strides: Dims,
}

/// A tensor of `T`.
#[derive(Clone)]
pub struct Tensor<T> {
    any: AnyTensor,
    elements: PhantomData<T>,
}

/// Strides of a row-major tensor without gaps.
pub fn dense_strides(dims: &[i64]) -> Dims {
    let mut strides = Dims::from_elem(1, dims.len());
    for axis in (0..dims.len().saturating_sub(1)).rev() {
        strides[axis] = strides[axis + 1].saturating_mul(dims[axis + 1].max(1));
    }
    strides
}

fn checked_len(dims: &[i64], elem: Elem) -> Result<(usize, usize), TensorError> {
    let too_big = || TensorError::Shape(format!("a tensor of shape {dims:?} does not fit in memory"));
    if let Some(d) = dims.iter().find(|d| **d < 0) {
        return Err(TensorError::Shape(format!("an extent of {dims:?} is negative: {d}")));
    }
    let len = if dims.contains(&0) { 0 } else { dims.iter().try_fold(1i64, |n, &d| n.checked_mul(d)).ok_or_else(too_big)? };
    let bytes = len.checked_mul(i64::from(elem.bytes())).filter(|&b| isize::try_from(b).is_ok()).ok_or_else(too_big)?;
    Ok((len as usize, bytes as usize))
}

impl AnyTensor {
    /// A dense tensor of zeros.
    ///
    /// # Errors
    /// Where an extent is negative, or there is not that much memory.
    pub fn zeros(elem: ScalarType, dims: &[i64]) -> Result<AnyTensor, TensorError> {
        let (_, bytes) = checked_len(dims, elem.into())?;
        let storage = Arc::new(Storage::zeroed(bytes)?);
        Ok(AnyTensor { storage, elem: elem.into(), offset: 0, dims: Dims::from_slice(dims), strides: dense_strides(dims) })
    }

    /// A dense tensor with a copy of these bytes, in the machine's byte order.
    ///
    /// # Errors
    /// Where there are more or fewer bytes than the shape has, or a bool is neither 0 nor 1.
    pub fn from_bytes(elem: ScalarType, dims: &[i64], bytes: &[u8]) -> Result<AnyTensor, TensorError> {
        let tensor = AnyTensor::zeros(elem, dims)?;
        tensor.copy_from_bytes(bytes)?;
        Ok(tensor)
    }

    /// A tensor of pointers to elements of type `pointee`, from addresses.
    ///
    /// # Safety
    /// Kernels that the tensor is passed to access what they like behind the addresses: it must be there, and nothing else may use it meanwhile.
    pub unsafe fn from_addresses(pointee: ScalarType, mutable: bool, addresses: &[u64]) -> AnyTensor {
        AnyTensor {
            storage: Arc::new(Storage::from_vec(addresses.to_vec())),
            elem: Elem::Ptr { pointee, mutable },
            offset: 0,
            dims: Dims::from_slice(&[addresses.len() as i64]),
            strides: Dims::from_slice(&[1]),
        }
    }

    /// A tensor over memory of its own layout.
    ///
    /// # Errors
    /// Where an element lies outside of the storage, or is not aligned.
    pub fn from_storage(
        storage: Arc<Storage>,
        elem: ScalarType,
        offset: usize,
        dims: &[i64],
        strides: &[i64],
    ) -> Result<AnyTensor, TensorError> {
        checked_len(dims, elem.into())?;
        if dims.len() != strides.len() {
            return Err(TensorError::Shape(format!("{} extents, but {} strides", dims.len(), strides.len())));
        }
        let empty = dims.contains(&0);
        let size = i128::from(elem.bytes());
        let (mut lo, mut hi) = (offset as i128, offset as i128 + size);
        // The extents' product fits in memory, so that no sum of these overflows; with no elements nothing is reached.
        for (&d, &s) in dims.iter().zip(strides).filter(|_| !empty) {
            let reach = i128::from((d - 1).max(0)) * i128::from(s) * size;
            if reach < 0 { lo += reach } else { hi += reach }
        }
        if !empty && (lo < 0 || hi > storage.len() as i128) {
            let message =
                format!("shape {dims:?} with strides {strides:?} reaches bytes {lo}..{hi} of memory of {} bytes", storage.len());
            return Err(TensorError::Shape(message));
        }
        if !empty && !(storage.base().as_ptr() as usize + offset).is_multiple_of(elem.bytes() as usize) {
            return Err(TensorError::Shape(format!("the elements are not aligned to {} bytes", elem.bytes())));
        }
        let offset = if empty { 0 } else { offset };
        Ok(AnyTensor { storage, elem: elem.into(), offset, dims: Dims::from_slice(dims), strides: Dims::from_slice(strides) })
    }

    /// Element type.
    pub fn elem(&self) -> Elem {
        self.elem
    }

    /// Element type, if the elements are not pointers.
    pub fn scalar_type(&self) -> Option<ScalarType> {
        self.elem.scalar()
    }

    /// Extents.
    pub fn dims(&self) -> &[i64] {
        &self.dims
    }

    /// Strides in elements.
    pub fn strides(&self) -> &[i64] {
        &self.strides
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.dims.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        if self.dims.contains(&0) { 0 } else { self.dims.iter().product::<i64>() as usize }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the elements.
    pub fn byte_len(&self) -> usize {
        self.len() * self.elem.bytes() as usize
    }

    /// Address of the element with index 0, in the memory that the tensor is in.
    pub fn address(&self) -> u64 {
        self.storage.base().as_ptr() as u64 + self.offset as u64
    }

    /// Whether the elements lie one after another in row-major order.
    pub fn is_dense(&self) -> bool {
        let mut expected = 1;
        for (&d, &s) in self.dims.iter().zip(&self.strides).rev() {
            if d > 1 && s != expected {
                return false;
            }
            expected *= d.max(1);
        }
        true
    }

    /// The shared memory.
    pub fn storage(&self) -> &Arc<Storage> {
        &self.storage
    }

    /// The tensor as one of `T`, if that is its element type.
    pub fn typed<T: Element>(&self) -> Option<Tensor<T>> {
        (self.elem == Elem::Scalar(T::TYPE)).then(|| Tensor { any: self.clone(), elements: PhantomData })
    }

    /// The bytes of the element at an index.
    fn element_bytes(&self, index: &[i64]) -> Result<SmallVec<[u8; 8]>, TensorError> {
        let inside = index.len() == self.rank() && index.iter().zip(self.dims()).all(|(i, d)| (0..*d).contains(i));
        if !inside {
            return Err(TensorError::Shape(format!("index {index:?} is outside of shape {:?}", self.dims())));
        }
        let _hold = self.storage.read()?;
        let size = self.elem.bytes() as usize;
        let offset = index.iter().zip(self.strides()).map(|(i, s)| i * s).sum::<i64>() as isize * size as isize;
        if let Some(memory) = self.storage.device() {
            let mut bytes = SmallVec::from_elem(0, size);
            // SAFETY: the vector has as many bytes as the element, which lies inside the tensor.
            unsafe { memory.read((self.offset as isize + offset) as usize, bytes.as_mut_ptr(), size)? };
            return Ok(bytes);
        }
        // SAFETY: inside the tensor, and held for reading.
        Ok(SmallVec::from_slice(unsafe { std::slice::from_raw_parts(self.first().as_ptr().offset(offset), size) }))
    }

    /// The element with index 0 of a tensor in the host's memory.
    fn first(&self) -> NonNull<u8> {
        debug_assert!(self.storage.device().is_none(), "an address of a GPU is not followed");
        // SAFETY: the offset lies within the storage, or at its end for an empty tensor.
        unsafe { self.storage.base().add(self.offset) }
    }
}

impl<T: Element> Tensor<T> {
    /// A dense tensor of zeros.
    ///
    /// # Errors
    /// Where an extent is negative, or there is not that much memory.
    pub fn zeros(dims: &[i64]) -> Result<Self, TensorError> {
        Ok(Tensor { any: AnyTensor::zeros(T::TYPE, dims)?, elements: PhantomData })
    }

    /// A dense tensor over a vector's memory, without a copy.
    ///
    /// # Errors
    /// Where the vector has more or fewer elements than the shape.
    pub fn from_vec(vec: Vec<T>, dims: &[i64]) -> Result<Self, TensorError> {
        let (len, _) = checked_len(dims, T::TYPE.into())?;
        if len != vec.len() {
            return Err(TensorError::Shape(format!("shape {dims:?} has {len} elements, but there are {}", vec.len())));
        }
        let storage = Arc::new(Storage::from_vec(vec));
        let any =
            AnyTensor { storage, elem: T::TYPE.into(), offset: 0, dims: Dims::from_slice(dims), strides: dense_strides(dims) };
        Ok(Tensor { any, elements: PhantomData })
    }

    /// A dense tensor made element by element, in row-major order.
    ///
    /// # Errors
    /// Where an extent is negative, or there is not that much memory.
    pub fn from_fn(dims: &[i64], f: impl FnMut(usize) -> T) -> Result<Self, TensorError> {
        let (len, _) = checked_len(dims, T::TYPE.into())?;
        Self::from_vec((0..len).map(f).collect(), dims)
    }

    /// The elements in row-major order.
    ///
    /// # Errors
    /// While a kernel writes the memory on another thread.
    pub fn to_vec(&self) -> Result<Vec<T>, TensorError> {
        let mut out = vec![T::ZERO; self.len()];
        self.any.gather_into(out.as_mut_ptr().cast(), self.any.byte_len())?;
        Ok(out)
    }

    /// The element at an index.
    ///
    /// # Errors
    /// Where the index is out of bounds, or a kernel writes the memory on another thread.
    pub fn get(&self, index: &[i64]) -> Result<T, TensorError> {
        let bytes = self.any.element_bytes(index)?;
        // SAFETY: as many bytes as a `T` has, which a tensor of `T` holds.
        Ok(unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }
}

impl<T> Deref for Tensor<T> {
    type Target = AnyTensor;
    fn deref(&self) -> &AnyTensor {
        &self.any
    }
}

impl<T> From<Tensor<T>> for AnyTensor {
    fn from(tensor: Tensor<T>) -> AnyTensor {
        tensor.any
    }
}

#[cfg(test)]
mod tests;
