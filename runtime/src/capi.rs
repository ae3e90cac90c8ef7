//! What the functions for C stand on that `kiln-build` generates. Programs do not use this module themselves.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_void};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;

use kiln_ir::ScalarType;
use kiln_ir::signature::Number;

use crate::args::Arg;
use crate::device::Device;
use crate::error::{Error, TensorError};
use crate::storage::Storage;
use crate::tensor::{AnyTensor, dense_strides};
use crate::typed::{StaticKernel, TypedLaunch};

/// Dimensions that a tensor has at most.
const MAX_RANK: usize = 5;

/// `kiln_tensor` of the generated headers: memory of the host.
#[repr(C)]
#[derive(Debug)]
pub struct CTensor {
    /// The element with index 0.
    pub data: *mut c_void,
    /// `ScalarType` by number.
    pub ty: i32,
    /// Number of dimensions.
    pub rank: i32,
    /// Extents.
    pub dims: *const i64,
    /// Strides in elements; null for a dense row-major tensor.
    pub strides: *const i64,
}

/// An argument from C.
#[derive(Clone, Copy, Debug)]
pub enum CArg {
    /// A tensor; null where it is absent.
    Tensor(*const CTensor),
    /// A raw pointer: number of the type it leads to, and the address.
    Pointer(u8, u64),
    /// A number.
    Number(Number),
    /// Nothing.
    Absent,
}

/// What a launch from C says besides its arguments.
#[derive(Clone, Copy, Debug)]
pub enum Setting {
    /// A constant by its number.
    Const(usize, i64),
    /// A type parameter by its number, and the number of its type.
    Type(usize, i32),
}

thread_local! {
    static LAST_ERROR: RefCell<Option<CString>> = const { RefCell::new(None) };
}

/// The message of this thread's last launch, if it failed; null otherwise.
pub fn last_error() -> *const c_char {
    LAST_ERROR.with_borrow(|error| error.as_ref().map_or(std::ptr::null(), |text| text.as_ptr()))
}

/// Launches on the best device (`KILN_DEVICE`). Gives 0, or 1 and a message.
///
/// # Safety
/// Tensors lead to memory of the extents, strides and types they say, which nothing else uses meanwhile; raw pointers lead to what the kernel accesses.
pub unsafe fn launch(kernel: &'static StaticKernel, args: &[CArg], settings: &[Setting]) -> i32 {
    // A panic must not unwind into C.
    // SAFETY: the caller's promise.
    let result = catch_unwind(AssertUnwindSafe(|| unsafe { try_launch(kernel, args, settings) }));
    let error = match result {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(Error::Internal("a panic in a launch".to_owned()).to_string()),
    };
    let failed = i32::from(error.is_some());
    let message = error.map(|text| CString::new(text.replace('\0', "?")).unwrap_or_default());
    LAST_ERROR.with_borrow_mut(|last| *last = message);
    failed
}

/// # Safety
/// As [`launch`].
unsafe fn try_launch(kernel: &'static StaticKernel, args: &[CArg], settings: &[Setting]) -> Result<(), Error> {
    let device = Device::best()?;
    let mut described = vec![];
    for (number, arg) in args.iter().enumerate() {
        if let CArg::Tensor(tensor) = arg
            // SAFETY: the caller's promise.
            && let Some(tensor) = unsafe { tensor.as_ref() }
        {
            // SAFETY: as above.
            described.push((number, unsafe { Described::read(tensor)? }));
        }
    }
    // SAFETY: as above.
    let tensors = unsafe { adopt(&described)? };
    let mut launch = TypedLaunch::new(kernel);
    for (number, tensor) in &tensors {
        launch.argument(*number, Arg::Tensor(tensor, true));
    }
    for (number, arg) in args.iter().enumerate() {
        match *arg {
            CArg::Tensor(_) | CArg::Absent => {}
            CArg::Pointer(ty, address) => launch.argument(number, Arg::Pointer { pointee: scalar_type(ty.into())?, address }),
            CArg::Number(value) => launch.argument(number, Arg::Number(value, None)),
        }
    }
    for setting in settings {
        match *setting {
            Setting::Const(number, value) => launch.constant(number, value),
            Setting::Type(number, ty) => launch.type_param(number, scalar_type(ty)?),
        }
    }
    launch.run(&device).map(|_| ())
}

fn scalar_type(number: i32) -> Result<ScalarType, Error> {
    let found = ScalarType::ALL.into_iter().find(|ty| *ty as i32 == number && *ty != ScalarType::Index);
    found.ok_or_else(|| Error::Argument(format!("{number} is no element type")))
}

/// What C says of a tensor, checked.
struct Described {
    elem: ScalarType,
    dims: Vec<i64>,
    strides: Vec<i64>,
    /// Address of the element with index 0.
    data: usize,
    /// First address of an element, and the one behind the last.
    reach: Range<usize>,
}

impl Described {
    /// # Safety
    /// As [`launch`].
    unsafe fn read(tensor: &CTensor) -> Result<Described, Error> {
        let elem = scalar_type(tensor.ty)?;
        let shape = |message: String| Error::from(TensorError::Shape(message));
        let rank = usize::try_from(tensor.rank).ok().filter(|rank| *rank <= MAX_RANK);
        let rank = rank.ok_or_else(|| shape(format!("a tensor of {} dimensions: there are 0 to {MAX_RANK}", tensor.rank)))?;
        // SAFETY: the caller's promise; nothing is read where there are no dimensions.
        let list = |at: *const i64| (rank > 0 && !at.is_null()).then(|| unsafe { std::slice::from_raw_parts(at, rank) });
        let dims = match list(tensor.dims) {
            Some(dims) => dims.to_vec(),
            None if rank == 0 => vec![],
            None => return Err(shape("a tensor without extents: `dims` is NULL".to_owned())),
        };
        let strides = list(tensor.strides).map_or_else(|| dense_strides(&dims).to_vec(), <[i64]>::to_vec);
        let data = tensor.data as usize;
        let reach = reach(data, elem, &dims, &strides)?;
        if data == 0 && !reach.is_empty() {
            return Err(shape("a tensor without memory: `data` is NULL".to_owned()));
        }
        Ok(Described { elem, dims, strides, data, reach })
    }
}

/// The addresses that elements have; none where there are no elements.
fn reach(data: usize, elem: ScalarType, dims: &[i64], strides: &[i64]) -> Result<Range<usize>, TensorError> {
    let too_large = || {
        TensorError::Shape(format!(
            "a tensor of shape {dims:?} with strides {strides:?} does not fit in memory at address {data:#x}"
        ))
    };
    if let Some(d) = dims.iter().find(|d| **d < 0) {
        return Err(TensorError::Shape(format!("an extent of {dims:?} is negative: {d}")));
    }
    if dims.contains(&0) {
        return Ok(data..data);
    }
    let size = i64::from(elem.bytes());
    let (mut lo, mut hi) = (0i64, size);
    for (&d, &s) in dims.iter().zip(strides) {
        let far = (d - 1).checked_mul(s).and_then(|far| far.checked_mul(size)).ok_or_else(too_large)?;
        let end = if far < 0 { &mut lo } else { &mut hi };
        *end = end.checked_add(far).ok_or_else(too_large)?;
    }
    let at = |offset: i64| data.checked_add_signed(isize::try_from(offset).ok()?);
    at(lo).zip(at(hi)).map(|(lo, hi)| lo..hi).ok_or_else(too_large)
}

/// The tensors over C's memory. What overlaps is one block, as views of one tensor are in Rust: devices with a memory of their own then have one copy of it.
///
/// # Safety
/// As [`launch`].
unsafe fn adopt(described: &[(usize, Described)]) -> Result<Vec<(usize, AnyTensor)>, Error> {
    let mut blocks: Vec<Range<usize>> =
        described.iter().map(|(_, tensor)| tensor.reach.clone()).filter(|r| !r.is_empty()).collect();
    blocks.sort_by_key(|block| block.start);
    blocks.dedup_by(|next, block| {
        let overlap = next.start < block.end;
        if overlap {
            block.end = block.end.max(next.end);
        }
        overlap
    });
    let storages: Vec<(Range<usize>, Arc<Storage>)> = blocks
        .into_iter()
        .filter_map(|block| {
            let base = NonNull::new(block.start as *mut u8)?;
            // SAFETY: the caller's promise: every element is there, and nothing else uses them until the launch is done.
            let storage = unsafe { Storage::adopt(base, block.len(), Box::new(())) };
            Some((block, Arc::new(storage)))
        })
        .collect();
    let tensor = |(number, tensor): &(usize, Described)| {
        let Described { elem, dims, strides, data, reach } = tensor;
        let any = match storages.iter().find(|(block, _)| block.contains(&reach.start)) {
            Some((block, storage)) if !reach.is_empty() => {
                AnyTensor::from_storage(storage.clone(), *elem, data - block.start, dims, strides)?
            }
            _ => AnyTensor::zeros(*elem, dims)?,
        };
        Ok((*number, any))
    };
    described.iter().map(tensor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(data: usize, dims: &[i64], strides: &[i64]) -> Result<Range<usize>, TensorError> {
        reach(data, ScalarType::F32, dims, strides)
    }

    #[test]
    fn elements_reach_from_the_first_to_behind_the_last() {
        assert_eq!(described(1000, &[], &[]), Ok(1000..1004));
        assert_eq!(described(1000, &[2, 3], &[3, 1]), Ok(1000..1024));
        assert_eq!(described(1000, &[3], &[-2]), Ok(984..1004));
        assert_eq!(described(1000, &[3, 0], &[i64::MAX, i64::MIN]), Ok(1000..1000));
    }

    #[test]
    fn what_no_memory_holds_is_refused() {
        for (data, dims, strides) in [
            (1000, [i64::MAX, i64::MAX], [i64::MAX, 1]),
            (1000, [2, 3], [i64::MIN, i64::MAX]),
            (1000, [2, 1], [i64::MAX, 0]),
            (8, [4, 1], [-1, 0]),
            (usize::MAX - 8, [4, 1], [1, 0]),
            (1000, [i64::MIN, 2], [2, 1]),
        ] {
            assert!(matches!(described(data, &dims, &strides), Err(TensorError::Shape(_))), "{dims:?} {strides:?}");
        }
    }

    #[test]
    fn overlapping_tensors_are_views_of_one_block() {
        let mut memory = [0f32; 30];
        let data = memory.as_mut_ptr() as usize;
        let part = |from: usize, len: i64| {
            let data = data + 4 * from;
            let reach = described(data, &[len], &[1]).unwrap();
            (from, Described { elem: ScalarType::F32, dims: vec![len], strides: vec![1], data, reach })
        };
        // SAFETY: `memory` lives as long as the tensors.
        let tensors = unsafe { adopt(&[part(20, 5), part(0, 4), part(2, 6), part(8, 2), part(3, 0)]).unwrap() };
        let one = |a: usize, b: usize| Arc::ptr_eq(tensors[a].1.storage(), tensors[b].1.storage());
        assert!(one(1, 2) && !one(2, 3) && !one(0, 1));
        assert!(tensors.iter().filter(|(_, t)| !t.is_empty()).all(|(from, t)| t.address() as usize == data + 4 * from));
        assert!(tensors[4].1.is_empty());
    }
}
