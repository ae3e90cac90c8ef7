//! Tensors from ndarray's arrays and back, and arrays that look into a tensor's memory (feature `ndarray`).

use ndarray::{
    Array, ArrayBase, ArrayD, ArrayView, ArrayViewMut, Axis, Dimension, IxDyn, RawArrayView, RawArrayViewMut, RawData,
    ShapeBuilder, StrideShape,
};

use super::{AnyTensor, Tensor};
use crate::element::Element;
use crate::error::TensorError;
use crate::storage::{Reading, Storage, Writing};

impl<T: Element, D: Dimension> From<Array<T, D>> for Tensor<T> {
    /// Over the array's memory, whatever its order.
    fn from(array: Array<T, D>) -> Self {
        let dims: Vec<i64> = array.shape().iter().map(|&d| d as i64).collect();
        let strides: Vec<i64> = array.strides().iter().map(|&s| s as i64).collect();
        let (vec, first) = array.into_raw_vec_and_offset();
        let storage = std::sync::Arc::new(Storage::from_vec(vec));
        let any = AnyTensor::from_storage(storage, T::TYPE, first.unwrap_or(0) * size_of::<T>(), &dims, &strides);
        any.expect("an array lies in its vector").typed().expect("the vector's type")
    }
}

impl<T: Element, D: Dimension> From<ArrayView<'_, T, D>> for Tensor<T> {
    /// A copy.
    fn from(view: ArrayView<'_, T, D>) -> Self {
        view.to_owned().into()
    }
}

/// The elements of a tensor as an array, held for reading.
pub struct ArrayReader<'a, T, D> {
    raw: RawArrayView<T, D>,
    _hold: Reading<'a>,
}

impl<T, D: Dimension> ArrayReader<'_, T, D> {
    /// The array.
    pub fn view(&self) -> ArrayView<'_, T, D> {
        // SAFETY: inside the tensor's memory, which is held for reading as long as the view can live.
        unsafe { self.raw.clone().deref_into_view() }
    }
}

/// The elements of a tensor as an array, held for writing.
pub struct ArrayWriter<'a, T, D> {
    raw: RawArrayViewMut<T, D>,
    _hold: Writing<'a>,
}

impl<T, D: Dimension> ArrayWriter<'_, T, D> {
    /// The array.
    pub fn view(&self) -> ArrayView<'_, T, D> {
        // SAFETY: as `view_mut`, which cannot be there at the same time.
        unsafe { self.raw.clone().deref_into_view() }
    }

    /// The array, to change.
    pub fn view_mut(&mut self) -> ArrayViewMut<'_, T, D> {
        // SAFETY: inside the tensor's memory, which is held for writing as long as the view can live, and no element is met twice.
        unsafe { self.raw.clone().deref_into_view_mut() }
    }
}

impl AnyTensor {
    /// Whether no two indexes can lead to one element. False may be wrong, for axes that lie in each other like the teeth of two combs.
    fn is_injective(&self) -> bool {
        let mut axes: Vec<(i64, i64)> =
            self.dims.iter().zip(&self.strides).filter(|(d, _)| **d > 1).map(|(d, s)| (s.saturating_abs(), *d)).collect();
        axes.sort_unstable();
        let mut reach = 0i64;
        axes.into_iter().all(|(stride, extent)| {
            let apart = stride > reach;
            reach = reach.saturating_add(stride.saturating_mul(extent - 1));
            apart
        })
    }
}

/// An array of as many axes as `D` has.
fn shaped<S: RawData, D: Dimension>(array: ArrayBase<S, IxDyn>) -> Result<ArrayBase<S, D>, TensorError> {
    let shape = array.shape().to_vec();
    let axes = D::NDIM.map_or_else(|| "any number of".to_owned(), |n| n.to_string());
    array.into_dimensionality().map_err(|_| TensorError::Shape(format!("shape {shape:?} is no array of {axes} axes")))
}

impl<T: Element> Tensor<T> {
    /// What ndarray makes an array of: the lowest element, and the axes that it then has to turn round, as it takes no negative strides.
    fn layout(&self) -> (*mut T, StrideShape<IxDyn>, Vec<Axis>) {
        let mut lowest = self.any.first().cast::<T>().as_ptr();
        let mut backwards = vec![];
        for (axis, (&d, &s)) in self.dims().iter().zip(self.strides()).enumerate() {
            if s < 0 && d > 1 && !self.is_empty() {
                lowest = lowest.wrapping_offset(((d - 1) * s) as isize);
                backwards.push(Axis(axis));
            }
        }
        let dims: Vec<usize> = self.dims().iter().map(|&d| d as usize).collect();
        let stride = |(d, s): (&i64, &i64)| if *d > 1 { s.unsigned_abs() as usize } else { 0 };
        let strides: Vec<usize> = self.dims().iter().zip(self.strides()).map(stride).collect();
        (lowest, IxDyn(&dims).strides(IxDyn(&strides)), backwards)
    }

    /// The elements in place as an array: of `Ix2`, say, or of `IxDyn` for any number of axes. Nothing can write them while the guard lives.
    ///
    /// # Errors
    /// Where the tensor has another number of axes, is being written, or is in the memory of a GPU.
    pub fn array<D: Dimension>(&self) -> Result<ArrayReader<'_, T, D>, TensorError> {
        let hold = self.any.storage.read()?;
        self.any.on_host("an array of ndarray's")?;
        let (lowest, shape, backwards) = self.layout();
        // SAFETY: extents and strides stay inside the storage, as the tensor does; who makes references of it holds the memory.
        let mut raw = unsafe { RawArrayView::from_shape_ptr(shape, lowest) };
        backwards.into_iter().for_each(|axis| raw.invert_axis(axis));
        Ok(ArrayReader { raw: shaped(raw)?, _hold: hold })
    }

    /// The elements in place as an array, to change. Nothing else can use the memory while the guard lives.
    ///
    /// # Errors
    /// Where the tensor has another number of axes, an element is met twice (a broadcast view), or the memory is in use or that of a GPU.
    pub fn array_mut<D: Dimension>(&mut self) -> Result<ArrayWriter<'_, T, D>, TensorError> {
        if !self.any.is_injective() {
            let message =
                format!("shape {:?} with strides {:?} meets elements twice: no array to write", self.dims(), self.strides());
            return Err(TensorError::Shape(message));
        }
        let hold = self.any.storage.write()?;
        self.any.on_host("an array of ndarray's")?;
        let (lowest, shape, backwards) = self.layout();
        // SAFETY: as in `array`.
        let mut raw = unsafe { RawArrayViewMut::from_shape_ptr(shape, lowest) };
        backwards.into_iter().for_each(|axis| raw.invert_axis(axis));
        Ok(ArrayWriter { raw: shaped(raw)?, _hold: hold })
    }

    /// The elements as an array of their own, in row-major order. Without a copy where [`Tensor::into_vec`] needs none.
    ///
    /// # Errors
    /// Where the tensor has another number of axes, or is being written.
    pub fn into_array<D: Dimension>(self) -> Result<Array<T, D>, TensorError> {
        let dims: Vec<usize> = self.dims().iter().map(|&d| d as usize).collect();
        let array = ArrayD::from_shape_vec(IxDyn(&dims), self.into_vec()?).map_err(|e| TensorError::Shape(e.to_string()))?;
        shaped(array)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Ix1, Ix2, Ix3, array, s};

    use super::*;

    #[test]
    fn arrays_of_any_order_become_tensors_without_a_copy() {
        let a = array![[1, 2, 3], [4, 5, 6]];
        let address = a.as_ptr() as u64;
        let x = Tensor::from(a.reversed_axes());
        assert_eq!((x.address(), x.dims(), x.strides()), (address, &[3i64, 2][..], &[1i64, 3][..]));
        assert_eq!(x.to_vec().unwrap(), [1, 4, 2, 5, 3, 6]);
        let part = array![[1, 2, 3], [4, 5, 6]].slice_move(s![1..;-1, ..;-2]);
        assert_eq!(Tensor::from(part).to_vec().unwrap(), [6, 4]);
        let a = array![[1, 2], [3, 4]];
        assert_eq!(Tensor::from(a.slice(s![.., 1])).to_vec().unwrap(), [2, 4]);
        assert_eq!(Tensor::from(Array::<f32, Ix2>::zeros((0, 3))).dims(), [0, 3]);
    }

    #[test]
    fn arrays_look_into_tensors() {
        let mut x = Tensor::from([[1, 2, 3], [4, 5, 6]]);
        let view = x.step_by(1, -2).unwrap().transpose().unwrap();
        let reader = view.array::<Ix2>().unwrap();
        assert_eq!(reader.view(), array![[3, 6], [1, 4]]);
        assert!(x.array_mut::<Ix2>().is_err());
        drop(reader);
        let mut turned = x.step_by(0, -1).unwrap();
        let mut writer = turned.array_mut::<Ix2>().unwrap();
        writer.view_mut().row_mut(0).fill(9);
        assert_eq!(writer.view().sum(), 33);
        assert!(x.array::<Ix2>().is_err());
        drop(writer);
        assert_eq!(x.to_vec().unwrap(), [1, 2, 3, 9, 9, 9]);
        let wide = Tensor::from([1, 2]).broadcast(&[2, 2]).unwrap();
        assert_eq!(wide.array::<Ix2>().unwrap().view(), array![[1, 2], [1, 2]]);
        assert!({ wide }.array_mut::<Ix2>().err().unwrap().to_string().contains("twice"));
        assert_eq!(x.array::<Ix3>().err().unwrap().to_string(), "shape [2, 3] is no array of 3 axes");
        assert_eq!(Tensor::<f32>::zeros(&[0, 3]).unwrap().array::<IxDyn>().unwrap().view().shape(), [0, 3]);
    }

    #[test]
    fn tensors_become_arrays() {
        let a = array![1.0f32, 2.0];
        let address = a.as_ptr();
        let back = Tensor::from(a).into_array::<Ix1>().unwrap();
        assert_eq!(back.as_ptr(), address);
        let x = Tensor::from([[1, 2], [3, 4]]);
        assert_eq!(x.transpose().unwrap().into_array::<Ix2>().unwrap(), array![[1, 3], [2, 4]]);
        assert!(x.into_array::<Ix1>().is_err());
    }
}
