//! Tensors from plain Rust values and back.

use super::{AnyTensor, Tensor};
use crate::element::Element;
use crate::error::TensorError;
use std::sync::Arc;

impl<T: Element> From<Vec<T>> for Tensor<T> {
    /// One axis, over the vector's memory.
    fn from(vec: Vec<T>) -> Self {
        let len = vec.len() as i64;
        Tensor::from_vec(vec, &[len]).expect("a vector has as many elements as it has")
    }
}

impl<T: Element> From<&[T]> for Tensor<T> {
    /// One axis, with a copy of the elements.
    fn from(slice: &[T]) -> Self {
        slice.to_vec().into()
    }
}

impl<T: Element, const N: usize> From<[T; N]> for Tensor<T> {
    /// One axis.
    fn from(array: [T; N]) -> Self {
        array.to_vec().into()
    }
}

impl<T: Element, const N: usize, const M: usize> From<[[T; M]; N]> for Tensor<T> {
    /// A matrix of N rows.
    fn from(rows: [[T; M]; N]) -> Self {
        Tensor::from_vec(rows.concat(), &[N as i64, M as i64]).expect("rows of one length")
    }
}

impl<T: Element> FromIterator<T> for Tensor<T> {
    /// One axis.
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        elements.into_iter().collect::<Vec<T>>().into()
    }
}

impl<T: Element> TryFrom<AnyTensor> for Tensor<T> {
    type Error = TensorError;

    /// # Errors
    /// Where the elements are of another type.
    fn try_from(tensor: AnyTensor) -> Result<Self, TensorError> {
        tensor.typed().ok_or_else(|| TensorError::Shape(format!("a tensor of {} is not one of {}", tensor.elem(), T::TYPE)))
    }
}

impl<T: Element> TryFrom<&Tensor<T>> for Vec<T> {
    type Error = TensorError;

    /// A copy, in row-major order.
    ///
    /// # Errors
    /// See [`Tensor::to_vec`].
    fn try_from(tensor: &Tensor<T>) -> Result<Self, TensorError> {
        tensor.to_vec()
    }
}

impl<T: Element> TryFrom<Tensor<T>> for Vec<T> {
    type Error = TensorError;

    /// See [`Tensor::into_vec`].
    ///
    /// # Errors
    /// As there.
    fn try_from(tensor: Tensor<T>) -> Result<Self, TensorError> {
        tensor.into_vec()
    }
}

impl<T: Element> Tensor<T> {
    /// A tensor of no axes, which holds one element.
    pub fn scalar(value: T) -> Self {
        Tensor::from_vec(vec![value], &[]).expect("one element")
    }

    /// The only element of a tensor that has one, whatever its axes.
    ///
    /// # Errors
    /// Where it has none or several, or a kernel writes the memory on another thread.
    pub fn item(&self) -> Result<T, TensorError> {
        if self.len() != 1 {
            return Err(TensorError::Shape(format!("one element is asked for, and shape {:?} has {}", self.dims(), self.len())));
        }
        self.get(&vec![0; self.rank()])
    }

    /// The elements in row-major order. Without a copy where the tensor was made of a vector, is all of it, and nothing else shares the memory.
    ///
    /// # Errors
    /// While a kernel writes the memory on another thread.
    pub fn into_vec(mut self) -> Result<Vec<T>, TensorError> {
        let whole = self.is_dense() && self.any.offset == 0 && self.byte_len() == self.storage.len();
        if whole
            && let Some(storage) = Arc::get_mut(&mut self.any.storage)
            && let Some(vec) = storage.take_keeper::<Vec<T>>()
        {
            return Ok(vec);
        }
        self.to_vec()
    }

    /// A dense tensor of `f` of each element.
    ///
    /// # Errors
    /// While a kernel writes the memory on another thread.
    pub fn map<U: Element>(&self, f: impl FnMut(T) -> U) -> Result<Tensor<U>, TensorError> {
        Tensor::from_vec(self.to_vec()?.into_iter().map(f).collect(), self.dims())
    }

    /// Overwrites the elements with those of a tensor of the same shape.
    ///
    /// # Errors
    /// Where the shapes differ, or one of the two is in use; the two must not share memory.
    pub fn copy_from(&mut self, from: &Tensor<T>) -> Result<(), TensorError> {
        self.any.copy_from(from)
    }
}

impl AnyTensor {
    /// Overwrites the elements with those of a tensor of the same type and shape.
    ///
    /// # Errors
    /// Where types or shapes differ, or one of the two is in use; the two must not share memory.
    pub fn copy_from(&mut self, from: &AnyTensor) -> Result<(), TensorError> {
        if self.elem() != from.elem() || self.dims() != from.dims() {
            let message = format!(
                "elements of {} and shape {:?} are to be copied to elements of {} and shape {:?}",
                from.elem(),
                from.dims(),
                self.elem(),
                self.dims()
            );
            return Err(TensorError::Shape(message));
        }
        if Arc::ptr_eq(&self.storage, &from.storage) {
            return Err(TensorError::Shape(
                "a tensor is to be copied to one in the same memory: copy it with `deep_clone` first".to_owned(),
            ));
        }
        // One of the two strided copies goes straight to dense memory.
        if from.is_dense() && from.device().is_none() {
            let _hold = from.storage.read()?;
            // SAFETY: dense, inside its storage, and held for reading.
            let bytes = unsafe { std::slice::from_raw_parts(from.first().as_ptr(), from.byte_len()) };
            self.copy_from_bytes(bytes)
        } else {
            self.copy_from_bytes(&from.to_bytes()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s;

    #[test]
    fn plain_values_become_tensors() {
        assert_eq!(Tensor::from([[1, 2, 3], [4, 5, 6]]).view(s![1, ..]).unwrap().to_vec().unwrap(), [4, 5, 6]);
        assert_eq!(Tensor::from(vec![1.5f32]).dims(), [1]);
        assert_eq!(Tensor::from(&[1u8, 2][..]).len(), 2);
        assert_eq!((0..5i64).collect::<Tensor<i64>>().dims(), [5]);
        assert_eq!(Tensor::scalar(7u16).item().unwrap(), 7);
        assert_eq!(Tensor::from([[3.0f64]]).item().unwrap(), 3.0);
        assert!(Tensor::from([1, 2]).item().unwrap_err().to_string().contains("[2] has 2"));
        let halves = Tensor::from([0.5f32, 3.0]).map(half::f16::from_f32).unwrap();
        assert_eq!(Vec::try_from(&halves).unwrap(), [half::f16::from_f32(0.5), half::f16::from_f32(3.0)]);
        let any = AnyTensor::from(halves);
        let message = Tensor::<f32>::try_from(any.clone()).unwrap_err().to_string();
        assert_eq!(message, "a tensor of f16 is not one of f32");
        assert!(Tensor::<half::f16>::try_from(any).is_ok());
    }

    #[test]
    fn a_vector_comes_back_without_a_copy() {
        let vec = vec![1.0f32; 1000];
        let address = vec.as_ptr();
        let x = Tensor::from(vec).reshape(&[10, 100]).unwrap();
        let back = x.into_vec().unwrap();
        assert_eq!(back.as_ptr(), address);
        // Shared, a part, another order, or Kiln's own memory: a copy.
        let x = Tensor::from(back);
        let other = x.clone();
        let copy = x.into_vec().unwrap();
        assert_ne!(copy.as_ptr(), address);
        assert_eq!(other.view(s![1..]).unwrap().into_vec().unwrap().len(), 999);
        assert_eq!(other.step_by(0, -1).unwrap().into_vec().unwrap().len(), 1000);
        assert_eq!(Tensor::<u8>::zeros(&[3]).unwrap().into_vec().unwrap(), [0; 3]);
        // The last handle gives the vector back after all.
        let back = other.into_vec().unwrap();
        assert_eq!(back.as_ptr(), address);
    }

    #[test]
    fn copies_between_tensors_follow_their_strides() {
        let x = Tensor::from([[1, 2, 3], [4, 5, 6]]);
        let mut y = Tensor::<i32>::zeros(&[3, 4]).unwrap();
        y.view(s![.., 1..3]).unwrap().copy_from(&x.transpose().unwrap()).unwrap();
        assert_eq!(y.to_vec().unwrap(), [0, 1, 4, 0, 0, 2, 5, 0, 0, 3, 6, 0]);
        let message = y.copy_from(&x).unwrap_err().to_string();
        assert!(message.contains("[2, 3]") && message.contains("[3, 4]"), "{message}");
        let same = y.clone();
        assert!(y.copy_from(&same).is_err());
        let hold = x.read().unwrap();
        assert!(x.clone().copy_from(&Tensor::zeros(&[2, 3]).unwrap()).is_err());
        drop(hold);
    }
}
