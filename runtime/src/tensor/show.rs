//! How tensors print: `{}` the elements as nested lists, long axes cut in the middle; `{:?}` a line with type, shape and the first elements.

use std::fmt::{Debug, Display, Formatter, Result, Write};

use half::{bf16, f16};
use kiln_ir::{Elem, ScalarType};

use super::{AnyTensor, Tensor};
use crate::element::{F8E4M3, F8E5M2};

/// Tensors of more elements are cut ..
const MANY: usize = 1000;
/// .. to so many at each end of an axis.
const EDGE: i64 = 3;
/// Elements that `{:?}` shows.
const FEW: usize = 6;

impl AnyTensor {
    /// The element at an address in memory, as text.
    fn text(&self, bytes: &[u8], precision: Option<usize>) -> String {
        fn float(v: f64, shortest: String, precision: Option<usize>) -> String {
            precision.map_or(shortest, |digits| format!("{v:.digits$}"))
        }
        macro_rules! value {
            ($ty:ty) => {
                <$ty>::from_ne_bytes(bytes.try_into().expect("an element's bytes"))
            };
        }
        let byte = bytes[0];
        match self.elem {
            Elem::Ptr { .. } => format!("{:#x}", value!(u64)),
            Elem::Scalar(ty) => match ty {
                ScalarType::Bool => (byte != 0).to_string(),
                ScalarType::I8 => value!(i8).to_string(),
                ScalarType::I16 => value!(i16).to_string(),
                ScalarType::I32 => value!(i32).to_string(),
                ScalarType::U8 => byte.to_string(),
                ScalarType::U16 => value!(u16).to_string(),
                ScalarType::U32 => value!(u32).to_string(),
                ScalarType::U64 => value!(u64).to_string(),
                ScalarType::F16 => float(value!(f16).to_f64(), format!("{:?}", value!(f16)), precision),
                ScalarType::BF16 => float(value!(bf16).to_f64(), format!("{:?}", value!(bf16)), precision),
                ScalarType::F32 => float(value!(f32).into(), format!("{:?}", value!(f32)), precision),
                ScalarType::F64 => float(value!(f64), format!("{:?}", value!(f64)), precision),
                ScalarType::F8E4M3 => float(F8E4M3(byte).to_f32().into(), format!("{:?}", F8E4M3(byte)), precision),
                ScalarType::F8E5M2 => float(F8E5M2(byte).to_f32().into(), format!("{:?}", F8E5M2(byte)), precision),
                ScalarType::I64 | ScalarType::Index => value!(i64).to_string(),
            },
        }
    }

    /// The elements, in row-major order, that are shown along each axis of extent `d`: all, or those at its ends.
    fn shown(d: i64, cut: bool) -> impl Iterator<Item = Option<i64>> {
        let cut = cut && d > 2 * EDGE + 1;
        let (head, tail) = if cut { (EDGE, d - EDGE) } else { (d, d) };
        (0..head).map(Some).chain(cut.then_some(None)).chain((tail..d).map(Some))
    }
}

impl Display for AnyTensor {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let cut = self.len() > MANY;
        // Only what is shown is read: a view of the ends of every axis would not be a tensor, so elements are asked for one by one.
        let mut cells = vec![];
        let mut index = vec![0; self.rank()];
        if let Err(error) = self.visit(0, &mut index, cut, &mut cells, f.precision()) {
            return write!(f, "<{error}>");
        }
        let width = cells.iter().map(String::len).max().unwrap_or(0);
        self.nest(f, 0, cut, width, &mut cells.iter())
    }
}

impl AnyTensor {
    fn visit(
        &self,
        axis: usize,
        index: &mut [i64],
        cut: bool,
        cells: &mut Vec<String>,
        precision: Option<usize>,
    ) -> std::result::Result<(), crate::TensorError> {
        if axis == self.rank() {
            cells.push(self.text(&self.element_bytes(index)?, precision));
            return Ok(());
        }
        for at in Self::shown(self.dims[axis], cut).flatten() {
            index[axis] = at;
            self.visit(axis + 1, index, cut, cells, precision)?;
        }
        Ok(())
    }

    fn nest<'c>(
        &self,
        f: &mut Formatter<'_>,
        axis: usize,
        cut: bool,
        width: usize,
        cells: &mut impl Iterator<Item = &'c String>,
    ) -> Result {
        if axis == self.rank() {
            return write!(f, "{:>width$}", cells.next().map_or("", String::as_str));
        }
        let last = axis + 1 == self.rank();
        f.write_char('[')?;
        for (number, at) in Self::shown(self.dims[axis], cut).enumerate() {
            if number > 0 {
                f.write_str(if last { ", " } else { ",\n" })?;
                if !last {
                    // A blank line between matrices, and the brackets under each other.
                    (axis + 2..self.rank()).try_for_each(|_| f.write_char('\n'))?;
                    (0..=axis).try_for_each(|_| f.write_char(' '))?;
                }
            }
            match at {
                None => f.write_str("..")?,
                Some(_) => self.nest(f, axis + 1, cut, width, cells)?,
            }
        }
        f.write_char(']')
    }
}

impl Debug for AnyTensor {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "Tensor<{}>{:?}", self.elem, self.dims())?;
        if !self.is_dense() {
            write!(f, " strides {:?}", self.strides())?;
        }
        f.write_str(" [")?;
        let mut index = vec![0i64; self.rank()];
        for number in 0..self.len().min(FEW) {
            let mut rest = number as i64;
            for (i, d) in index.iter_mut().zip(self.dims()).rev() {
                *i = rest % d;
                rest /= d;
            }
            let element =
                self.element_bytes(&index).map_or_else(|_| "in use".to_owned(), |bytes| self.text(&bytes, f.precision()));
            write!(f, "{}{element}", if number > 0 { ", " } else { "" })?;
        }
        f.write_str(if self.len() > FEW { ", ..]" } else { "]" })
    }
}

impl<T> Display for Tensor<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        Display::fmt(&self.any, f)
    }
}

impl<T> Debug for Tensor<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        Debug::fmt(&self.any, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s;

    #[test]
    fn small_tensors_print_whole_and_aligned() {
        let x = Tensor::from_vec(vec![1.0f32, -2.5, 10.0, f32::NAN], &[2, 2]).unwrap();
        assert_eq!(x.to_string(), "[[ 1.0, -2.5],\n [10.0,  NaN]]");
        assert_eq!(format!("{x:.2}"), "[[ 1.00, -2.50],\n [10.00,   NaN]]");
        assert_eq!(format!("{x:?}"), "Tensor<f32>[2, 2] [1.0, -2.5, 10.0, NaN]");
        let cube = Tensor::from_fn(&[2, 2, 2], |i| i as u8).unwrap();
        assert_eq!(cube.to_string(), "[[[0, 1],\n  [2, 3]],\n\n [[4, 5],\n  [6, 7]]]");
        assert_eq!(format!("{:?}", cube.view(s![.., .., 1]).unwrap()), "Tensor<u8>[2, 2] strides [4, 2] [1, 3, 5, 7]");
        assert_eq!(Tensor::from_vec(vec![true, false], &[2]).unwrap().to_string(), "[ true, false]");
        assert_eq!(Tensor::from_vec(vec![f16::from_f32(0.1)], &[]).unwrap().to_string(), "0.099975586");
        assert_eq!(Tensor::from_vec(vec![F8E4M3::from_f32(448.0)], &[1]).unwrap().to_string(), "[448.0]");
        assert_eq!(Tensor::<i64>::zeros(&[0, 3]).unwrap().to_string(), "[]");
    }

    #[test]
    fn long_axes_are_cut() {
        let x = Tensor::from_fn(&[2000], |i| i as i32).unwrap();
        assert_eq!(x.to_string(), "[   0,    1,    2, .., 1997, 1998, 1999]");
        assert_eq!(format!("{x:?}"), "Tensor<i32>[2000] [0, 1, 2, 3, 4, 5, ..]");
        let table = Tensor::from_fn(&[1000, 2], |i| i as i32).unwrap().to_string();
        assert_eq!(table.lines().count(), 7);
        assert!(table.starts_with("[[   0,    1],\n [   2,    3],\n [   4,    5],\n ..,\n [1994, 1995]"), "{table}");
    }

    #[test]
    fn what_is_in_use_is_said_to_be() {
        let mut x = Tensor::from_vec(vec![1, 2], &[2]).unwrap();
        let other = x.clone();
        let guard = x.write().unwrap();
        assert!(other.to_string().contains("in use") && format!("{other:?}").contains("in use"));
        drop(guard);
        assert_eq!(other.to_string(), "[1, 2]");
    }
}
