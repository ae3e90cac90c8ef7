//! What the functions for C stand on that `kiln-build` generates. Programs do not use this module themselves.

use std::cell::RefCell;
use std::ffi::{CString, c_char, c_void};
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

/// `kiln_tensor` of the generated headers.
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
    let mut tensors = vec![];
    for (number, arg) in args.iter().enumerate() {
        if let CArg::Tensor(tensor) = arg
            // SAFETY: the caller's promise.
            && let Some(tensor) = unsafe { tensor.as_ref() }
        {
            // SAFETY: as above.
            tensors.push((number, unsafe { adopt(tensor)? }));
        }
    }
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

/// The tensor over C's memory.
///
/// # Safety
/// As [`launch`].
unsafe fn adopt(tensor: &CTensor) -> Result<AnyTensor, Error> {
    let elem = scalar_type(tensor.ty)?;
    let rank = usize::try_from(tensor.rank).ok().filter(|rank| *rank <= 5);
    let rank = rank.ok_or_else(|| TensorError::Shape(format!("a tensor of {} dimensions: there are 0 to 5", tensor.rank)))?;
    // SAFETY: the caller's promise; nothing is read where there are no dimensions.
    let list = |at: *const i64| (rank > 0 && !at.is_null()).then(|| unsafe { std::slice::from_raw_parts(at, rank) });
    let dims = match list(tensor.dims) {
        Some(dims) => dims.to_vec(),
        None if rank == 0 => vec![],
        None => return Err(TensorError::Shape("a tensor without extents: `dims` is NULL".to_owned()).into()),
    };
    let strides = list(tensor.strides).map_or_else(|| dense_strides(&dims).to_vec(), <[i64]>::to_vec);
    // First and last byte that an element has, from `data`.
    let size = i128::from(elem.bytes());
    let (mut lo, mut hi) = (0i128, size);
    for (&d, &s) in dims.iter().zip(&strides) {
        let reach = i128::from((d - 1).max(0)) * i128::from(s) * size;
        if reach < 0 { lo += reach } else { hi += reach }
    }
    let empty = dims.iter().any(|d| *d <= 0);
    let fits = isize::try_from(lo).ok().zip(usize::try_from(hi - lo).ok());
    let Some((lo, bytes)) = fits else {
        return Err(TensorError::Shape(format!("a tensor of shape {dims:?} does not fit in memory")).into());
    };
    let Some(base) = NonNull::new(tensor.data.cast::<u8>().wrapping_offset(lo)).filter(|_| !tensor.data.is_null() && !empty)
    else {
        if empty {
            return Ok(AnyTensor::zeros(elem, &dims)?);
        }
        return Err(TensorError::Shape("a tensor without memory: `data` is NULL".to_owned()).into());
    };
    // SAFETY: the caller's promise: every element is there, and they lie within these bytes.
    let storage = unsafe { Storage::adopt(base, bytes, Box::new(())) };
    Ok(AnyTensor::from_storage(Arc::new(storage), elem, lo.unsigned_abs(), &dims, &strides)?)
}
