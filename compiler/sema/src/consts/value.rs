//! What a constant expression evaluates to, and how constants convert.

use std::sync::Arc;

use kiln_ir::{Const, ScalarType};

use super::num::Num;
use super::round;

/// A constant. In generic code parts of it may be unknown.
#[derive(Clone, PartialEq, Debug)]
pub enum Konst {
    /// An integer.
    Int(Num),
    /// A bool.
    Bool(Option<bool>),
    /// A float, rounded to its type.
    Float(Option<f64>),
    /// The elements of a constant tile, row-major.
    List(Arc<[Konst]>),
}

impl Konst {
    /// A known integer.
    pub fn int(value: impl Into<i128>) -> Konst {
        Konst::Int(Num::Known(value.into()))
    }

    /// The integer, when it is one.
    pub fn num(&self) -> Option<&Num> {
        match self {
            Konst::Int(n) => Some(n),
            _ => None,
        }
    }

    /// The constant converted to `ty` with the rules of `as`.
    pub fn cast(&self, ty: ScalarType) -> Konst {
        if let Konst::List(list) = self {
            return Konst::List(list.iter().map(|k| k.cast(ty)).collect());
        }
        if ty.is_float() {
            let value = match self {
                Konst::Int(n) => n.known().map(|v| v as f64),
                Konst::Bool(b) => b.map(|b| f64::from(u8::from(b))),
                Konst::Float(v) => *v,
                Konst::List(_) => None,
            };
            return Konst::Float(value.map(|v| round::to_float(v, ty)));
        }
        if ty == ScalarType::Bool {
            return match self {
                Konst::Bool(b) => Konst::Bool(*b),
                Konst::Int(Num::Known(v)) => Konst::Bool(Some(*v != 0)),
                _ => Konst::Bool(None),
            };
        }
        match self {
            Konst::Int(Num::Known(v)) => Konst::int(round::wrap_int(*v, ty)),
            Konst::Int(n) => Konst::Int(n.clone()),
            Konst::Bool(Some(b)) => Konst::int(i128::from(*b)),
            Konst::Float(Some(v)) => Konst::int(round::float_to_int(*v, ty)),
            _ => Konst::Int(Num::Unknown),
        }
    }

    /// The IR constant, when the value is known and a scalar.
    pub fn ir(&self) -> Option<Const> {
        match self {
            // Unsigned 64-bit values keep their bits.
            Konst::Int(Num::Known(v)) => Some(Const::Int(*v as i64)),
            Konst::Bool(Some(b)) => Some(Const::Int(i64::from(*b))),
            Konst::Float(Some(v)) => Some(Const::Float(*v)),
            _ => None,
        }
    }
}
