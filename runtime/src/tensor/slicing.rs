//! Parts of a tensor along all its axes at once: `x.view(s![0, 1.., ..;-1])`, written as with ndarray and numpy.

use std::ops::{Range, RangeFrom, RangeFull, RangeInclusive, RangeTo, RangeToInclusive};

use super::{AnyTensor, Tensor};
use crate::element::Element;
use crate::error::TensorError;

/// What is taken of one axis. Numbers below 0 count from the axis's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One index: the axis disappears.
    Index(i64),
    /// From `start` (else the first element) to before `end` (else behind the last); every `step`-th, backwards from the last of them where that is negative.
    Range {
        /// First.
        start: Option<i64>,
        /// One past the last.
        end: Option<i64>,
        /// Distance.
        step: i64,
    },
    /// A new axis of one element.
    New,
    /// As many whole axes as the other parts leave over.
    Rest,
}

/// A new axis of one element, in [`s!`](crate::s).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewAxis;

/// As many whole axes as the other parts leave over, in [`s!`](crate::s). At the end it need not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ellipsis;

impl Part {
    /// The part with another step.
    #[must_use]
    pub fn step(self, step: i64) -> Part {
        match self {
            Part::Range { start, end, .. } => Part::Range { start, end, step },
            other => other,
        }
    }
}

impl From<NewAxis> for Part {
    fn from(_: NewAxis) -> Part {
        Part::New
    }
}

impl From<Ellipsis> for Part {
    fn from(_: Ellipsis) -> Part {
        Part::Rest
    }
}

impl From<RangeFull> for Part {
    fn from(_: RangeFull) -> Part {
        Part::Range { start: None, end: None, step: 1 }
    }
}

/// One past an inclusive end; an end of -1 is the axis's.
fn past(end: i64) -> Option<i64> {
    (end != -1).then(|| end.saturating_add(1))
}

macro_rules! parts {
    ($($ty:ty),*) => { $(
        impl From<$ty> for Part {
            fn from(index: $ty) -> Part {
                Part::Index(index as i64)
            }
        }
        impl From<Range<$ty>> for Part {
            fn from(r: Range<$ty>) -> Part {
                Part::Range { start: Some(r.start as i64), end: Some(r.end as i64), step: 1 }
            }
        }
        impl From<RangeInclusive<$ty>> for Part {
            fn from(r: RangeInclusive<$ty>) -> Part {
                Part::Range { start: Some(*r.start() as i64), end: past(*r.end() as i64), step: 1 }
            }
        }
        impl From<RangeFrom<$ty>> for Part {
            fn from(r: RangeFrom<$ty>) -> Part {
                Part::Range { start: Some(r.start as i64), end: None, step: 1 }
            }
        }
        impl From<RangeTo<$ty>> for Part {
            fn from(r: RangeTo<$ty>) -> Part {
                Part::Range { start: None, end: Some(r.end as i64), step: 1 }
            }
        }
        impl From<RangeToInclusive<$ty>> for Part {
            fn from(r: RangeToInclusive<$ty>) -> Part {
                Part::Range { start: None, end: past(r.end as i64), step: 1 }
            }
        }
    )* };
}
parts!(i32, i64, usize);

/// What [`Tensor::view`] takes of each axis: indexes (`0`, `-1`), ranges (`1..4`, `..`, `2..`, `..=3`), ranges with a step (`..;2`, `..;-1`), [`NewAxis`] and
/// [`Ellipsis`]. Axes that are not named are taken whole.
///
/// ```
/// use kiln::{Tensor, s};
/// let x = Tensor::from_fn(&[2, 3, 4], |i| i as i32)?;
/// assert_eq!(x.view(s![1, -1, ..])?.to_vec()?, [20, 21, 22, 23]);
/// assert_eq!(x.view(s![.., 0, ..;-2])?.to_vec()?, [3, 1, 15, 13]);
/// assert_eq!(x.view(s![kiln::Ellipsis, 2..])?.dims(), [2, 3, 2]);
/// # Ok::<(), kiln::TensorError>(())
/// ```
#[macro_export]
macro_rules! s {
    (@parse [$($done:expr,)*]) => { [$($done,)*] };
    (@parse [$($done:expr,)*] $part:expr; $step:expr, $($rest:tt)*) => {
        $crate::s!(@parse [$($done,)* $crate::tensor::Part::from($part).step($step),] $($rest)*)
    };
    (@parse [$($done:expr,)*] $part:expr; $step:expr) => {
        $crate::s!(@parse [$($done,)* $crate::tensor::Part::from($part).step($step),])
    };
    (@parse [$($done:expr,)*] $part:expr, $($rest:tt)*) => { $crate::s!(@parse [$($done,)* $crate::tensor::Part::from($part),] $($rest)*) };
    (@parse [$($done:expr,)*] $part:expr) => { $crate::s!(@parse [$($done,)* $crate::tensor::Part::from($part),]) };
    ($($parts:tt)*) => { $crate::s!(@parse [] $($parts)*) };
}

impl AnyTensor {
    /// Part of the tensor, without touching an element: see [`s!`](crate::s).
    ///
    /// # Errors
    /// Where there are more parts than axes, or more than one [`Ellipsis`]; an index or a range does not lie within its axis; a step is 0.
    pub fn view(&self, parts: impl AsRef<[Part]>) -> Result<AnyTensor, TensorError> {
        let parts = parts.as_ref();
        let named = parts.iter().filter(|p| matches!(p, Part::Index(_) | Part::Range { .. })).count();
        let rests = parts.iter().filter(|p| **p == Part::Rest).count();
        if named > self.rank() || rests > 1 {
            let message = format!("{named} indexes and ranges and {rests} `Ellipsis` for the axes of shape {:?}", self.dims());
            return Err(TensorError::Shape(message));
        }
        let mut view = self.clone();
        let mut axis = 0;
        for part in parts {
            match *part {
                Part::Rest => axis += self.rank() - named,
                Part::New => {
                    view.dims.insert(axis, 1);
                    view.strides.insert(axis, 1);
                    axis += 1;
                }
                Part::Index(index) => view = view.index(axis, from_end(index, view.dims[axis]))?,
                Part::Range { start, end, step } => {
                    let extent = view.dims[axis];
                    let (start, end) = (from_end(start.unwrap_or(0), extent), from_end(end.unwrap_or(extent), extent));
                    view = view.slice(axis, start..end)?;
                    if step != 1 {
                        view = view.step_by(axis, step)?;
                    }
                    axis += 1;
                }
            }
        }
        Ok(view)
    }
}

fn from_end(at: i64, extent: i64) -> i64 {
    if at < 0 { at.saturating_add(extent) } else { at }
}

impl<T: Element> Tensor<T> {
    /// Part of the tensor, without touching an element: see [`s!`](crate::s).
    ///
    /// # Errors
    /// See [`AnyTensor::view`].
    pub fn view(&self, parts: impl AsRef<[Part]>) -> Result<Self, TensorError> {
        let any = self.any.view(parts)?;
        Ok(Tensor { any, elements: std::marker::PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "ends count from the back, and what is empty is refused")]
    fn parts_are_those_of_ndarray() {
        let x = Tensor::from_fn(&[3, 4], |i| i as i32).unwrap();
        let of = |parts: &[Part]| x.view(parts).map(|v| (v.dims().to_vec(), v.to_vec().unwrap()));
        assert_eq!(of(&s![1]).unwrap(), (vec![4], vec![4, 5, 6, 7]));
        assert_eq!(of(&s![-1, -1]).unwrap(), (vec![], vec![11]));
        assert_eq!(of(&s![1.., ..2]).unwrap(), (vec![2, 2], vec![4, 5, 8, 9]));
        assert_eq!(of(&s![.., 1..=2;-1]).unwrap(), (vec![3, 2], vec![2, 1, 6, 5, 10, 9]));
        assert_eq!(of(&s![..;2, -2..]).unwrap(), (vec![2, 2], vec![2, 3, 10, 11]));
        assert_eq!(of(&s![2..=-1, ..=-3]).unwrap(), (vec![1, 2], vec![8, 9]));
        assert_eq!(of(&s![Ellipsis, 0]).unwrap(), (vec![3], vec![0, 4, 8]));
        assert_eq!(of(&s![NewAxis, 0, NewAxis, ..2i64, NewAxis]).unwrap(), (vec![1, 1, 2, 1], vec![0, 1]));
        assert_eq!(of(&s![3..3usize]).unwrap(), (vec![0, 4], vec![]));
        assert_eq!(of(&s![]).unwrap().0, [3, 4]);
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "ends count from the back, and what is empty is refused")]
    fn what_does_not_fit_is_refused() {
        let x = Tensor::from_fn(&[3, 4], |i| i as i32).unwrap();
        let message = |parts: &[Part]| x.view(parts).unwrap_err().to_string();
        assert_eq!(message(&s![0, 0, 0]), "3 indexes and ranges and 0 `Ellipsis` for the axes of shape [3, 4]");
        assert!(message(&s![Ellipsis, 1, Ellipsis]).contains("2 `Ellipsis`"));
        assert!(message(&s![3]).contains("3..4 does not lie within axis 0, which has 3 elements"));
        assert!(message(&s![.., -5]).contains("axis 1, which has 4"));
        assert!(message(&s![2..1]).contains("2..1"));
        assert!(message(&s![..;0]).contains("step of 0"));
        assert!(message(&s![i64::MIN..]).contains("axis 0"));
    }
}
