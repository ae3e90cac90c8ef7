//! Sets of kinds of scalar types, to ask generic code what holds for every type a parameter may stand for.

use kiln_ir::ScalarType;
use kiln_ir::signature::TypeClass;

use super::Scalar;

/// A set of kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kinds(u8);

impl Kinds {
    /// Floats.
    pub const FLOAT: Kinds = Kinds(1);
    /// Sized integers.
    pub const INT: Kinds = Kinds(2);
    /// bool.
    pub const BOOL: Kinds = Kinds(4);
    /// index.
    pub const INDEX: Kinds = Kinds(8);
    /// Integers, sized or `index`.
    pub const INTEGER: Kinds = Kinds(2 | 8);
    /// Everything that can be added and compared.
    pub const NUMBER: Kinds = Kinds(1 | 2 | 8);
    /// Integers and bool: what has bits and no sign problem.
    pub const BITS: Kinds = Kinds(2 | 4 | 8);
    /// All kinds.
    pub const ANY: Kinds = Kinds(15);

    /// The kinds that `scalar` may be; empty for an unknown type, which fits everywhere.
    pub fn of(scalar: Scalar) -> Kinds {
        match scalar {
            Scalar::Known(ScalarType::Bool) => Kinds::BOOL,
            Scalar::Known(ScalarType::Index) => Kinds::INDEX,
            Scalar::Known(s) if s.is_float() => Kinds::FLOAT,
            Scalar::Known(_) => Kinds::INT,
            Scalar::IntLit => Kinds::INT,
            Scalar::FloatLit => Kinds::FLOAT,
            Scalar::Unknown => Kinds(0),
            Scalar::Param(v) => Kinds::of_class(v.class),
            // bool accumulates in i32.
            Scalar::AccOf(v) => match v.class {
                TypeClass::Any => Kinds(3),
                class => Kinds::of_class(class),
            },
        }
    }

    fn of_class(class: TypeClass) -> Kinds {
        match class {
            TypeClass::Float => Kinds::FLOAT,
            TypeClass::Int => Kinds::INT,
            TypeClass::Num => Kinds(3),
            TypeClass::Any => Kinds(7),
        }
    }

    /// Whether every kind of `self` is in `other`.
    pub fn within(self, other: Kinds) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether some kind is in both, or `self` is unknown.
    pub fn may_be(self, other: Kinds) -> bool {
        self.0 == 0 || self.0 & other.0 != 0
    }

    /// How messages name the set.
    pub fn describe(self) -> &'static str {
        match self {
            Kinds::FLOAT => "a float type",
            Kinds::INT => "a sized integer type",
            Kinds::BOOL => "bool",
            Kinds::INDEX => "index",
            Kinds::INTEGER => "an integer type",
            Kinds::NUMBER => "a number type",
            Kinds::BITS => "an integer type or bool",
            _ => "any scalar type",
        }
    }
}
