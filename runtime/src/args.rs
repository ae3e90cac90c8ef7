//! Arguments of a launch.

use kiln_ir::ScalarType;
use kiln_ir::signature::{ArgDesc, Number, TensorDesc};

use crate::element::Element;
use crate::tensor::{AnyTensor, Tensor};

/// One argument.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    /// A tensor, and whether the kernel may write it.
    Tensor(&'a AnyTensor, bool),
    /// A tensor that is still to be made; see [`crate::Launch::infer`].
    Infer,
    /// A raw pointer; see [`crate::Launch::pointer`].
    Pointer {
        /// What it points to.
        pointee: ScalarType,
        /// The address.
        address: u64,
    },
    /// A number, and the type it has on the host where that decides a type parameter.
    Number(Number, Option<ScalarType>),
    /// Nothing: for parameters declared with `?`, and scalars with a default.
    Absent,
}

impl<'a> Arg<'a> {
    /// The argument as the signature's binding sees it.
    pub(crate) fn desc(&self) -> ArgDesc<'a> {
        match *self {
            Arg::Tensor(tensor, writable) => ArgDesc::Tensor(TensorDesc {
                elem: tensor.elem(),
                address: tensor.address(),
                dims: tensor.dims(),
                strides: tensor.strides(),
                writable,
            }),
            Arg::Infer => ArgDesc::Infer,
            Arg::Pointer { pointee, address } => ArgDesc::Ptr { pointee, address },
            Arg::Number(number, ty) => ArgDesc::Number(number, ty),
            Arg::Absent => ArgDesc::Absent,
        }
    }
}

/// What can be passed to [`crate::Launch::arg`]: `&Tensor`, `&mut Tensor` where the kernel writes, numbers, and `Option`s of these.
pub trait IntoArg<'a> {
    /// The argument.
    fn into_arg(self) -> Arg<'a>;
}

impl<'a> IntoArg<'a> for Arg<'a> {
    fn into_arg(self) -> Arg<'a> {
        self
    }
}

impl<'a> IntoArg<'a> for &'a AnyTensor {
    fn into_arg(self) -> Arg<'a> {
        Arg::Tensor(self, false)
    }
}

impl<'a> IntoArg<'a> for &'a mut AnyTensor {
    fn into_arg(self) -> Arg<'a> {
        Arg::Tensor(self, true)
    }
}

impl<'a, T: Element> IntoArg<'a> for &'a Tensor<T> {
    fn into_arg(self) -> Arg<'a> {
        Arg::Tensor(self, false)
    }
}

impl<'a, T: Element> IntoArg<'a> for &'a mut Tensor<T> {
    fn into_arg(self) -> Arg<'a> {
        Arg::Tensor(self, true)
    }
}

impl<'a, A: IntoArg<'a>> IntoArg<'a> for Option<A> {
    fn into_arg(self) -> Arg<'a> {
        self.map_or(Arg::Absent, A::into_arg)
    }
}

macro_rules! numbers {
    ($($ty:ty => $scalar:ident),*) => { $(
        impl<'a> IntoArg<'a> for $ty {
            fn into_arg(self) -> Arg<'a> {
                Arg::Number(Number::from(self), Some(ScalarType::$scalar))
            }
        }
    )* };
}
numbers!(bool => Bool, i8 => I8, i16 => I16, i32 => I32, i64 => I64, u8 => U8, u16 => U16, u32 => U32, u64 => U64, f32 => F32, f64 => F64,
    half::f16 => F16, half::bf16 => BF16);

impl<'a> IntoArg<'a> for usize {
    fn into_arg(self) -> Arg<'a> {
        Arg::Number(Number::from(self), None)
    }
}
