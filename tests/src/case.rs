//! One conformance case: a kernel, its arguments, and what it must leave in them. Cases know nothing of devices; `run` (in the test binaries) does.

use kiln_ir::ScalarType;

use crate::array::{Array, Bound};
use crate::scalar::Num;

/// How an argument's elements lie in memory, relative to the dense array it is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Row-major.
    Dense,
    /// Column-major: the last dimension has the largest stride.
    Transposed,
    /// Every second element along the last dimension of a larger buffer.
    Spaced,
    /// Stride 0 along the first dimension: only its first slice is stored (inputs only; the array repeats it).
    Repeated,
    /// A part of a larger buffer that has a border on every side, which must be as it was after the launch.
    Guarded,
}

/// An argument of a launch.
#[derive(Clone, Debug)]
pub enum Arg {
    /// A tensor.
    Tensor {
        /// Contents.
        array: Array,
        /// Strides.
        placement: Placement,
    },
    /// A scalar.
    Scalar(ScalarType, Num),
    /// The pointer to a tensor's first element.
    Pointer(Array),
    /// A tensor of pointers, one to each array's first element. All of one type.
    Pointers {
        /// Targets.
        arrays: Vec<Array>,
        /// Whether the kernel may write behind them.
        mutable: bool,
    },
    /// An optional parameter that is not given.
    Absent,
}

/// What a tensor must hold after the launch.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Which argument.
    pub arg: usize,
    /// Exact values in row-major order; for a tensor of pointers those of every array, one after another.
    pub values: Vec<Num>,
    /// How far off the result may be.
    pub bound: Bound,
}

/// What a launch sets beside its arguments.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Values of constants.
    pub consts: Vec<(&'static str, i64)>,
    /// Values of function parameters, by path.
    pub fns: Vec<(&'static str, &'static str)>,
}

/// A kernel with arguments and expectations.
#[derive(Clone, Debug)]
pub struct Case {
    /// Unique name, `family::builtin::type::shape`.
    pub name: String,
    /// A file with one kernel.
    pub source: String,
    /// Arguments in parameter order.
    pub args: Vec<Arg>,
    /// Expectations.
    pub expected: Vec<Expected>,
    /// What the GPU path cannot be asked (a reason), for devices other than the CPU.
    pub cpu_only: Option<&'static str>,
}

/// A small deterministic generator (splitmix64), so that a case's data never changes.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Seeded by a name.
    pub fn new(seed: &str) -> Random {
        Random(seed.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in lo..hi.
    pub fn float(&mut self, lo: f64, hi: f64) -> f64 {
        lo + (hi - lo) * ((self.bits() >> 11) as f64 / (1u64 << 53) as f64)
    }

    /// Uniform in lo..=hi.
    pub fn int(&mut self, lo: i128, hi: i128) -> i128 {
        lo + (u128::from(self.bits()) % ((hi - lo + 1) as u128)) as i128
    }
}

/// The range of an integer type.
pub fn int_range(ty: ScalarType) -> (i128, i128) {
    match ty {
        ScalarType::Bool => (0, 1),
        _ if ty.is_signed_int() => (-(1i128 << (ty.bits() - 1)), (1i128 << (ty.bits() - 1)) - 1),
        _ => (0, (1i128 << ty.bits()) - 1),
    }
}

/// `value` wrapped to an integer type.
pub fn wrap(ty: ScalarType, value: i128) -> i128 {
    if ty == ScalarType::Bool {
        return i128::from(value != 0);
    }
    let bits = ty.bits();
    let low = value & ((1i128 << bits) - 1);
    if ty.is_signed_int() && low >> (bits - 1) & 1 == 1 { low - (1i128 << bits) } else { low }
}
