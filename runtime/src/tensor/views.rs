//! Views: the same memory under other extents and strides. Nothing here touches an element.

use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};

use super::{AnyTensor, Dims, Tensor, dense_strides};
use crate::error::TensorError;

impl AnyTensor {
    fn check_axis(&self, axis: usize) -> Result<(), TensorError> {
        if axis < self.rank() {
            return Ok(());
        }
        Err(TensorError::Shape(format!("axis {axis} of a tensor with {} dimensions", self.rank())))
    }

    /// The same tensor, its first element `start` steps further along `axis`.
    fn moved(&self, axis: usize, start: i64) -> AnyTensor {
        let mut view = self.clone();
        if !self.is_empty() {
            view.offset = (self.offset as i64 + start * self.strides[axis] * i64::from(self.elem.bytes())) as usize;
        }
        view
    }

    /// Part of an axis.
    ///
    /// # Errors
    /// Where there is no such axis, or the range does not lie within it.
    pub fn slice(&self, axis: usize, range: impl RangeBounds<i64>) -> Result<AnyTensor, TensorError> {
        self.check_axis(axis)?;
        let extent = self.dims[axis];
        let start = match range.start_bound() {
            Bound::Included(&v) => v,
            Bound::Excluded(&v) => v + 1,
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&v) => v + 1,
            Bound::Excluded(&v) => v,
            Bound::Unbounded => extent,
        };
        if start < 0 || end < start || end > extent {
            return Err(TensorError::Shape(format!(
                "{start}..{end} does not lie within axis {axis}, which has {extent} elements"
            )));
        }
        let mut view = if end > start { self.moved(axis, start) } else { self.clone() };
        view.dims[axis] = end - start;
        Ok(view)
    }

    /// Every `step`-th element of an axis, backwards from the last for a negative step.
    ///
    /// # Errors
    /// Where there is no such axis, or the step is 0.
    pub fn step_by(&self, axis: usize, step: i64) -> Result<AnyTensor, TensorError> {
        self.check_axis(axis)?;
        if step == 0 {
            return Err(TensorError::Shape("a step of 0".to_owned()));
        }
        let extent = self.dims[axis];
        let mut view = if step < 0 && extent > 0 { self.moved(axis, extent - 1) } else { self.clone() };
        let size = step.unsigned_abs();
        view.dims[axis] = (extent as u64).div_ceil(size) as i64;
        view.strides[axis] = self.strides[axis].saturating_mul(step);
        Ok(view)
    }

    /// One index of an axis, which disappears.
    ///
    /// # Errors
    /// Where there is no such axis or index.
    pub fn index(&self, axis: usize, index: i64) -> Result<AnyTensor, TensorError> {
        self.check_axis(axis)?;
        let mut view = self.slice(axis, index..index.saturating_add(1))?;
        view.dims.remove(axis);
        view.strides.remove(axis);
        Ok(view)
    }

    /// The axes in another order: axis `i` of the view is axis `order[i]` of this tensor.
    ///
    /// # Errors
    /// Where `order` does not name every axis once.
    pub fn permute(&self, order: &[usize]) -> Result<AnyTensor, TensorError> {
        let mut seen = vec![false; self.rank()];
        let valid = order.len() == self.rank()
            && order.iter().all(|&axis| seen.get_mut(axis).is_some_and(|seen| !std::mem::replace(seen, true)));
        if !valid {
            return Err(TensorError::Shape(format!("{order:?} is no order of {} axes", self.rank())));
        }
        let mut view = self.clone();
        view.dims = order.iter().map(|&axis| self.dims[axis]).collect();
        view.strides = order.iter().map(|&axis| self.strides[axis]).collect();
        Ok(view)
    }

    /// The last two axes exchanged.
    ///
    /// # Errors
    /// For tensors of less than two dimensions.
    pub fn transpose(&self) -> Result<AnyTensor, TensorError> {
        if self.rank() < 2 {
            return Err(TensorError::Shape(format!("nothing to transpose in {} dimensions", self.rank())));
        }
        let mut order: Vec<usize> = (0..self.rank()).collect();
        order.swap(self.rank() - 2, self.rank() - 1);
        self.permute(&order)
    }

    /// Other extents over the same elements in the same order.
    ///
    /// # Errors
    /// Where the number of elements differs, or the tensor is not dense (copy it first).
    pub fn reshape(&self, dims: &[i64]) -> Result<AnyTensor, TensorError> {
        let (len, _) = super::checked_len(dims, self.elem)?;
        if len != self.len() {
            return Err(TensorError::Shape(format!(
                "shape {dims:?} has {len} elements, but {:?} has {}",
                self.dims(),
                self.len()
            )));
        }
        if !self.is_dense() {
            return Err(TensorError::Shape(format!(
                "a view with strides {:?} has no other shape without a copy",
                self.strides()
            )));
        }
        let mut view = self.clone();
        view.dims = Dims::from_slice(dims);
        view.strides = dense_strides(dims);
        Ok(view)
    }

    /// Extents of 1 repeated, and missing leading axes added, by strides of 0.
    ///
    /// # Errors
    /// Where an extent is neither 1 nor the one asked for.
    pub fn broadcast(&self, dims: &[i64]) -> Result<AnyTensor, TensorError> {
        let fails = || TensorError::Shape(format!("{:?} does not broadcast to {dims:?}", self.dims()));
        let missing = dims.len().checked_sub(self.rank()).ok_or_else(fails)?;
        let mut view = self.clone();
        view.dims = Dims::from_slice(dims);
        view.strides = Dims::from_elem(0, dims.len());
        for (axis, (&d, &s)) in self.dims.iter().zip(&self.strides).enumerate() {
            if d == dims[missing + axis] {
                view.strides[missing + axis] = s;
            } else if d != 1 {
                return Err(fails());
            }
        }
        Ok(view)
    }
}

impl<T> Tensor<T> {
    fn of(any: AnyTensor) -> Tensor<T> {
        Tensor { any, elements: PhantomData }
    }

    /// See [`AnyTensor::slice`].
    ///
    /// # Errors
    /// As there.
    pub fn slice(&self, axis: usize, range: impl RangeBounds<i64>) -> Result<Self, TensorError> {
        self.any.slice(axis, range).map(Self::of)
    }

    /// See [`AnyTensor::step_by`].
    ///
    /// # Errors
    /// As there.
    pub fn step_by(&self, axis: usize, step: i64) -> Result<Self, TensorError> {
        self.any.step_by(axis, step).map(Self::of)
    }

    /// See [`AnyTensor::index`].
    ///
    /// # Errors
    /// As there.
    pub fn index(&self, axis: usize, index: i64) -> Result<Self, TensorError> {
        self.any.index(axis, index).map(Self::of)
    }

    /// See [`AnyTensor::permute`].
    ///
    /// # Errors
    /// As there.
    pub fn permute(&self, order: &[usize]) -> Result<Self, TensorError> {
        self.any.permute(order).map(Self::of)
    }

    /// See [`AnyTensor::transpose`].
    ///
    /// # Errors
    /// As there.
    pub fn transpose(&self) -> Result<Self, TensorError> {
        self.any.transpose().map(Self::of)
    }

    /// See [`AnyTensor::reshape`].
    ///
    /// # Errors
    /// As there.
    pub fn reshape(&self, dims: &[i64]) -> Result<Self, TensorError> {
        self.any.reshape(dims).map(Self::of)
    }

    /// See [`AnyTensor::broadcast`].
    ///
    /// # Errors
    /// As there.
    pub fn broadcast(&self, dims: &[i64]) -> Result<Self, TensorError> {
        self.any.broadcast(dims).map(Self::of)
    }
}
