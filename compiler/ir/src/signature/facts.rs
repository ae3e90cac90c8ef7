//! What a specialization knows of a launch's tensors: few classes, so that few kernels are compiled, but those that decide about vector width.

use smallvec::SmallVec;

use super::bind::{ArgDesc, TensorDesc};
use super::error::BindErrorKind;
use super::overlap::{Region, overlap};
use super::scalar::Number;
use crate::func::{IntFact, TensorFacts};

/// Widest alignment that is told apart, in bytes.
const MAX_ALIGN: u64 = 16;

/// What is wrong with a tensor's memory, whatever the kernel: extents and strides that overflow, an address its elements cannot have.
pub fn check_memory(name: &str, tensor: &TensorDesc<'_>) -> Option<BindErrorKind> {
    let size = i128::from(tensor.elem.bytes());
    let mut reach = size;
    let mut elements = 1i128;
    for (&d, &s) in tensor.dims.iter().zip(tensor.strides) {
        if d < 0 {
            let what = format!("an extent of `{name}` ({d})");
            return Some(BindErrorKind::TooBig { what, because: String::new() });
        }
        reach += i128::from(d.max(1) - 1) * i128::from(s).abs() * size;
        elements = elements.saturating_mul(i128::from(d.max(1)));
    }
    if reach > i128::from(i64::MAX) || elements > i128::from(i64::MAX) {
        let because = format!(": its shape is {:?}, its strides are {:?}", tensor.dims, tensor.strides);
        return Some(BindErrorKind::TooBig { what: format!("the extent of `{name}`"), because });
    }
    let align = tensor.elem.bytes();
    (!tensor.address.is_multiple_of(u64::from(align)) && !tensor.dims.contains(&0)).then(|| BindErrorKind::Misaligned {
        param: name.to_owned(),
        address: tensor.address,
        align,
        elem: tensor.elem,
    })
}

/// Class of an alignment: the largest power of two up to [`MAX_ALIGN`] that divides the address.
pub fn align_class(address: u64, elem_bytes: u32) -> u32 {
    let align = if address == 0 { MAX_ALIGN } else { (1 << address.trailing_zeros().min(63)).min(MAX_ALIGN) };
    (align as u32).max(elem_bytes)
}

/// Class of a divisor: 16, the elements of 16 bytes, or nothing.
pub fn divisor_class(value: i64, elem_bytes: u32) -> u32 {
    let vector = (MAX_ALIGN as u32 / elem_bytes).max(1);
    [16, vector].into_iter().find(|&n| value % i64::from(n) == 0).unwrap_or(1)
}

/// The facts of a tensor. `known(axis)`: the extent is a constant of the specialization already.
pub fn tensor(tensor: &TensorDesc<'_>, known: impl Fn(usize) -> bool, may_alias: bool) -> TensorFacts {
    let bytes = tensor.elem.bytes();
    let fact = |value: i64| IntFact { known: None, divisor: divisor_class(value, bytes), max: None };
    let dims: SmallVec<[IntFact; 5]> =
        tensor.dims.iter().enumerate().map(|(axis, &d)| if known(axis) { IntFact::exact(d) } else { fact(d) }).collect();
    // A stride is exact where it repeats, is 1, or is the product of constant extents further in.
    let mut strides: SmallVec<[IntFact; 5]> = tensor
        .strides
        .iter()
        .map(|&s| match s {
            0 | 1 => IntFact::exact(s),
            // A divisor also promises that the stride is not negative: tensor maps know no other.
            ..0 => IntFact { known: None, divisor: 1, max: None },
            _ => fact(s),
        })
        .collect();
    let mut dense = 1i64;
    for axis in (0..tensor.dims.len()).rev() {
        if tensor.strides[axis] == dense {
            strides[axis] = IntFact::exact(dense);
        }
        if !known(axis) {
            break;
        }
        dense = dense.saturating_mul(tensor.dims[axis]);
    }
    TensorFacts { align: align_class(tensor.address, bytes), dims, strides, may_alias }
}

/// Whether two arguments are tensors that share an element.
pub fn overlapping(a: &ArgDesc<'_>, b: &ArgDesc<'_>) -> bool {
    let (ArgDesc::Tensor(a), ArgDesc::Tensor(b)) = (a, b) else { return false };
    overlap(Region::of(a), Region::of(b))
}

/// Whether index arithmetic may be done in 32 bits: everything that the launch gives fits, and nothing points where the launch does not see.
pub fn fits_32_bit(args: &[ArgDesc<'_>], grid: &[i64; 5], scalars: impl Iterator<Item = Number>) -> bool {
    // Room for what lies beyond the last element: the last tile of an axis reaches past its end by less than a tile.
    const LIMIT: i128 = i32::MAX as i128 - (1 << 24);
    let tensors = args.iter().all(|arg| match arg {
        ArgDesc::Tensor(t) => {
            let reach: i128 = t.dims.iter().zip(t.strides).map(|(&d, &s)| i128::from(d.max(1) - 1) * i128::from(s).abs()).sum();
            reach <= LIMIT
                && t.dims.iter().all(|&d| i128::from(d) <= LIMIT)
                && t.strides.iter().all(|&s| i128::from(s).abs() <= LIMIT)
                && t.elem.scalar().is_some()
        }
        ArgDesc::Ptr { .. } => false,
        ArgDesc::Number(..) | ArgDesc::Absent | ArgDesc::Infer => true,
    });
    let numbers = scalars.into_iter().all(|number| match number {
        Number::Int(v) => i32::try_from(v).is_ok(),
        Number::UInt(v) => i32::try_from(v).is_ok(),
        Number::Float(_) | Number::Bool(_) => true,
    });
    tensors && numbers && grid.iter().map(|&g| i128::from(g)).product::<i128>() <= LIMIT
}
