//! candle's tensors (feature `candle`): lent to kernels where they are, and made of Kiln's tensors.

use std::sync::Arc;

use candle_core::{CpuStorage, Device, Storage as CandleStorage};
use half::{bf16, f16};
use kiln_ir::{Elem, ScalarType};

use super::{AnyTensor, Tensor};
use crate::element::Element;
use crate::error::TensorError;
use crate::storage::Storage;

fn refused(what: impl std::fmt::Display) -> TensorError {
    TensorError::Shape(format!("candle: {what}"))
}

/// Ends a loan: nobody uses the memory any more once this is dropped.
struct Loan(Arc<Storage>);

impl Drop for Loan {
    fn drop(&mut self) {
        // Handles that outlive the loan find the memory in use, for ever. A reader on another thread is waited for.
        while !self.0.retire() {
            std::thread::yield_now();
        }
    }
}

/// Calls `f` with a candle tensor as one of Kiln's, over the same memory, without a copy. It can be read, not written, and only until `f` returns: handles that are kept
/// find it in use from then on.
///
/// # Errors
/// Where the tensor is not in the host's memory, or its elements are of a type that Kiln has not.
pub fn lend<R>(tensor: &candle_core::Tensor, f: impl FnOnce(&AnyTensor) -> R) -> Result<R, TensorError> {
    let (guard, layout) = tensor.storage_and_layout();
    let CandleStorage::Cpu(cpu) = &*guard else { return Err(refused("a tensor in the memory of a GPU")) };
    fn memory<T: Element>(vec: &[T]) -> (ScalarType, *const u8, usize) {
        (T::TYPE, vec.as_ptr().cast(), size_of_val(vec))
    }
    let (elem, base, bytes) = match cpu {
        CpuStorage::U8(v) => memory(v),
        CpuStorage::U32(v) => memory(v),
        CpuStorage::I16(v) => memory(v),
        CpuStorage::I32(v) => memory(v),
        CpuStorage::I64(v) => memory(v),
        CpuStorage::BF16(v) => memory(v),
        CpuStorage::F16(v) => memory(v),
        CpuStorage::F32(v) => memory(v),
        CpuStorage::F64(v) => memory(v),
        _ => return Err(refused(format!("elements of {:?}", tensor.dtype()))),
    };
    let base = std::ptr::NonNull::new(base.cast_mut()).expect("a vector's pointer is never null");
    // SAFETY: candle's lock is held for reading until the loan has ended, and the loan is only for reading.
    let loan = Loan(Arc::new(unsafe { Storage::adopt(base, bytes, Box::new(())) }));
    loan.0.try_read();
    let numbers = |list: &[usize]| list.iter().map(|&v| v as i64).collect::<Vec<_>>();
    let offset = layout.start_offset() * Elem::from(elem).bytes() as usize;
    let lent = AnyTensor::from_storage(loan.0.clone(), elem, offset, &numbers(layout.dims()), &numbers(layout.stride()))?;
    Ok(f(&lent))
}

impl TryFrom<&candle_core::Tensor> for AnyTensor {
    type Error = TensorError;

    /// A dense copy.
    ///
    /// # Errors
    /// As [`lend`].
    fn try_from(tensor: &candle_core::Tensor) -> Result<Self, TensorError> {
        lend(tensor, AnyTensor::deep_clone)?
    }
}

impl<T: Element> TryFrom<&candle_core::Tensor> for Tensor<T> {
    type Error = TensorError;

    /// A dense copy.
    ///
    /// # Errors
    /// As [`lend`], and where the elements are of another type.
    fn try_from(tensor: &candle_core::Tensor) -> Result<Self, TensorError> {
        AnyTensor::try_from(tensor)?.try_into()
    }
}

impl TryFrom<AnyTensor> for candle_core::Tensor {
    type Error = TensorError;

    /// On candle's CPU; without a copy where [`Tensor::into_vec`] needs none.
    ///
    /// # Errors
    /// Where candle has no such elements, or the tensor is being written.
    fn try_from(tensor: AnyTensor) -> Result<Self, TensorError> {
        let dims: Vec<usize> = tensor.dims().iter().map(|&d| d as usize).collect();
        macro_rules! made {
            ($($scalar:ident => $ty:ty),*) => {
                match tensor.scalar_type() {
                    $(Some(ScalarType::$scalar) => {
                        let typed = Tensor::<$ty> { any: tensor, elements: std::marker::PhantomData };
                        candle_core::Tensor::from_vec(typed.into_vec()?, dims, &Device::Cpu).map_err(refused)
                    })*
                    _ => Err(refused(format!("there are no tensors of {}", tensor.elem()))),
                }
            };
        }
        made!(U8 => u8, U32 => u32, I16 => i16, I32 => i32, I64 => i64, BF16 => bf16, F16 => f16, F32 => f32, F64 => f64)
    }
}

impl<T: Element> TryFrom<Tensor<T>> for candle_core::Tensor {
    type Error = TensorError;

    /// On candle's CPU; without a copy where [`Tensor::into_vec`] needs none.
    ///
    /// # Errors
    /// Where candle has no such elements, or the tensor is being written.
    fn try_from(tensor: Tensor<T>) -> Result<Self, TensorError> {
        tensor.any.try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_are_lent_where_they_are() {
        let c = candle_core::Tensor::new(&[[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::Cpu).unwrap().t().unwrap();
        let (kept, seen) = lend(&c, |x| {
            assert_eq!((x.dims(), x.strides()), (&[3i64, 2][..], &[1i64, 3][..]));
            assert!(x.copy_from_bytes(&[0; 24]).is_err());
            (x.clone(), x.typed::<f32>().unwrap().to_vec().unwrap())
        })
        .unwrap();
        assert_eq!(seen, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        assert_eq!(kept.to_bytes(), Err(TensorError::Busy));
        assert_eq!(Tensor::<f32>::try_from(&c).unwrap().to_vec().unwrap(), seen);
        assert!(Tensor::<f64>::try_from(&c).is_err());
    }

    #[test]
    fn tensors_go_to_candle_and_back() {
        let x = Tensor::from([[1i64, 2], [3, 4]]);
        let c = candle_core::Tensor::try_from(x.transpose().unwrap()).unwrap();
        assert_eq!(c.to_vec2::<i64>().unwrap(), [[1, 3], [2, 4]]);
        let x = Tensor::from(vec![f16::from_f32(1.5); 3]);
        let address = x.address();
        let c = candle_core::Tensor::try_from(x).unwrap();
        assert_eq!(lend(&c, AnyTensor::address).unwrap(), address);
        assert!(candle_core::Tensor::try_from(Tensor::from([true])).unwrap_err().to_string().contains("bool"));
    }
}
