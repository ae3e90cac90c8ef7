//! DLPack: how torch, numpy, jax and others hand tensors to each other without a copy (<https://dmlc.github.io/dlpack/latest/c_api.html>).
//!
//! A tensor that is lent is held, for reading or for writing, until its borrower deletes what it was given: meanwhile kernels that would be in conflict with the
//! borrower fail with [`TensorError::Busy`]. Host memory only, both ways; memory of a GPU is refused.

use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use kiln_ir::{Elem, ScalarType};

use super::{AnyTensor, Dims, Tensor, dense_strides};
use crate::element::Element;
use crate::error::TensorError;
use crate::storage::{OwnedHold, Storage};

/// `DLDevice`: where memory is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DlDevice {
    /// `DLDeviceType`: 1 is the CPU, 2 CUDA, 3 page-locked host memory.
    pub device_type: i32,
    /// Number among those of its type.
    pub device_id: i32,
}

/// `DLDataType`: type of elements.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DlDataType {
    /// `DLDataTypeCode`.
    pub code: u8,
    /// Bits of a lane.
    pub bits: u8,
    /// Lanes of an element.
    pub lanes: u16,
}

/// `DLTensor`.
#[repr(C)]
#[derive(Debug)]
pub struct DlTensor {
    /// Start of the memory.
    pub data: *mut c_void,
    /// Where it is.
    pub device: DlDevice,
    /// Number of axes.
    pub ndim: i32,
    /// Type of elements.
    pub dtype: DlDataType,
    /// Extents.
    pub shape: *mut i64,
    /// Strides in elements; null for a dense tensor.
    pub strides: *mut i64,
    /// Bytes from `data` to the first element.
    pub byte_offset: u64,
}

/// `DLPackVersion`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DlVersion {
    /// Changes with the layout.
    pub major: u32,
    /// Changes with additions.
    pub minor: u32,
}

/// `DLManagedTensorVersioned`, of DLPack 1.0 and later: what a capsule named `dltensor_versioned` holds.
#[repr(C)]
#[derive(Debug)]
pub struct DlManagedTensorVersioned {
    /// Version.
    pub version: DlVersion,
    /// For the deleter.
    pub manager_ctx: *mut c_void,
    /// Gives the tensor back.
    pub deleter: Option<unsafe extern "C" fn(*mut DlManagedTensorVersioned)>,
    /// Bit 0: read-only. Bit 1: a copy was made.
    pub flags: u64,
    /// The tensor.
    pub dl_tensor: DlTensor,
}

/// `DLManagedTensor`, of DLPack before 1.0: what a capsule named `dltensor` holds.
#[repr(C)]
#[derive(Debug)]
pub struct DlManagedTensor {
    /// The tensor.
    pub dl_tensor: DlTensor,
    /// For the deleter.
    pub manager_ctx: *mut c_void,
    /// Gives the tensor back.
    pub deleter: Option<unsafe extern "C" fn(*mut DlManagedTensor)>,
}

const VERSION: DlVersion = DlVersion { major: 1, minor: 1 };
const READ_ONLY: u64 = 1;
const CPU: DlDevice = DlDevice { device_type: 1, device_id: 0 };
/// Page-locked memory is memory of the host.
const CUDA_HOST: i32 = 3;

/// Types and their `DLDataTypeCode`; those of 8-bit floats are from version 1.1.
const TYPES: [(ScalarType, u8); 15] = [
    (ScalarType::I8, 0),
    (ScalarType::I16, 0),
    (ScalarType::I32, 0),
    (ScalarType::I64, 0),
    (ScalarType::U8, 1),
    (ScalarType::U16, 1),
    (ScalarType::U32, 1),
    (ScalarType::U64, 1),
    (ScalarType::F16, 2),
    (ScalarType::F32, 2),
    (ScalarType::F64, 2),
    (ScalarType::BF16, 4),
    (ScalarType::Bool, 6),
    (ScalarType::F8E4M3, 10),
    (ScalarType::F8E5M2, 12),
];

fn bits(ty: ScalarType) -> u8 {
    8 * Elem::from(ty).bytes() as u8
}

/// The older or the newer form.
#[derive(Debug)]
enum Form {
    Versioned(NonNull<DlManagedTensorVersioned>),
    Legacy(NonNull<DlManagedTensor>),
}

/// A tensor of DLPack that this side owns: dropped, it is given back to whom it came from.
#[derive(Debug)]
pub struct DlpackTensor(Form);

// SAFETY: DLPack's deleters may be called on any thread (the specification asks for that), and the memory is plain data.
unsafe impl Send for DlpackTensor {}
// SAFETY: as above; nothing is changed through a shared reference.
unsafe impl Sync for DlpackTensor {}

impl DlpackTensor {
    /// Takes over a tensor of DLPack 1.0 or later.
    ///
    /// # Safety
    /// The pointer is what a producer gave out and nobody else deletes; until the deleter is called the memory it describes is there, and nothing else writes it, nor
    /// reads it unless it is read-only.
    ///
    /// # Errors
    /// For a null pointer.
    pub unsafe fn from_raw(tensor: *mut DlManagedTensorVersioned) -> Result<DlpackTensor, TensorError> {
        NonNull::new(tensor).map(|t| DlpackTensor(Form::Versioned(t))).ok_or_else(|| refused("a null pointer".to_owned()))
    }

    /// Takes over a tensor of an earlier DLPack.
    ///
    /// # Safety
    /// As [`DlpackTensor::from_raw`].
    ///
    /// # Errors
    /// For a null pointer.
    pub unsafe fn from_raw_legacy(tensor: *mut DlManagedTensor) -> Result<DlpackTensor, TensorError> {
        NonNull::new(tensor).map(|t| DlpackTensor(Form::Legacy(t))).ok_or_else(|| refused("a null pointer".to_owned()))
    }

    /// The pointer to hand on, for a capsule named `dltensor_versioned`. Whoever takes it calls its deleter.
    ///
    /// # Errors
    /// For a tensor that came in the older form.
    pub fn into_raw(self) -> Result<*mut DlManagedTensorVersioned, TensorError> {
        match self.0 {
            Form::Versioned(tensor) => {
                std::mem::forget(self);
                Ok(tensor.as_ptr())
            }
            Form::Legacy(_) => Err(refused("a tensor in the form before DLPack 1.0".to_owned())),
        }
    }

    fn tensor(&self) -> &DlTensor {
        // SAFETY: the promise of `from_raw`.
        unsafe {
            match &self.0 {
                Form::Versioned(tensor) => &tensor.as_ref().dl_tensor,
                Form::Legacy(tensor) => &tensor.as_ref().dl_tensor,
            }
        }
    }

    fn is_read_only(&self) -> bool {
        match &self.0 {
            // SAFETY: as above.
            Form::Versioned(tensor) => unsafe { tensor.as_ref().flags & READ_ONLY != 0 },
            Form::Legacy(_) => false,
        }
    }
}

impl Drop for DlpackTensor {
    fn drop(&mut self) {
        // SAFETY: the deleter is the producer's, and called once.
        unsafe {
            match self.0 {
                Form::Versioned(tensor) => {
                    if let Some(deleter) = tensor.as_ref().deleter {
                        deleter(tensor.as_ptr());
                    }
                }
                Form::Legacy(tensor) => {
                    if let Some(deleter) = tensor.as_ref().deleter {
                        deleter(tensor.as_ptr());
                    }
                }
            }
        }
    }
}

fn refused(what: String) -> TensorError {
    TensorError::Shape(format!("DLPack: {what}"))
}

/// What a lent tensor needs until it comes back.
struct Lent {
    _hold: OwnedHold,
    dims: Dims,
    strides: Dims,
}

/// The deleter of tensors that Kiln lends.
///
/// # Safety
/// Called once, with what `lend` made.
unsafe extern "C" fn give_back(tensor: *mut DlManagedTensorVersioned) {
    // SAFETY: both boxes are made in `lend`, and taken back once.
    unsafe {
        let tensor = Box::from_raw(tensor);
        drop(Box::from_raw(tensor.manager_ctx.cast::<Lent>()));
    }
}

impl AnyTensor {
    /// Lends the tensor to read from. It is held for reading until the borrower gives it back.
    ///
    /// # Errors
    /// While it is written, for a tensor of pointers, and for one in the memory of a GPU.
    pub fn to_dlpack(&self) -> Result<DlpackTensor, TensorError> {
        self.lend(false)
    }

    /// Lends the tensor to read and to write. Nobody else can use it until the borrower gives it back.
    ///
    /// # Errors
    /// While it is in use, for a tensor of pointers, and for one in the memory of a GPU.
    pub fn to_dlpack_mut(&mut self) -> Result<DlpackTensor, TensorError> {
        self.lend(true)
    }

    fn lend(&self, writes: bool) -> Result<DlpackTensor, TensorError> {
        let known = TYPES.iter().find(|(ty, _)| Some(*ty) == self.scalar_type());
        let &(ty, code) = known.ok_or_else(|| refused(format!("elements of {}", self.elem())))?;
        self.on_host("lending through DLPack")?;
        let hold = OwnedHold::take(&self.storage, writes)?;
        let mut lent = Box::new(Lent { _hold: hold, dims: self.dims.clone(), strides: self.strides.clone() });
        let dl_tensor = DlTensor {
            data: self.first().as_ptr().cast(),
            device: CPU,
            ndim: self.rank() as i32,
            dtype: DlDataType { code, bits: bits(ty), lanes: 1 },
            shape: lent.dims.as_mut_ptr(),
            strides: lent.strides.as_mut_ptr(),
            byte_offset: 0,
        };
        let flags = if writes { 0 } else { READ_ONLY };
        let manager_ctx = Box::into_raw(lent).cast();
        let managed = DlManagedTensorVersioned { version: VERSION, manager_ctx, deleter: Some(give_back), flags, dl_tensor };
        Ok(DlpackTensor(Form::Versioned(NonNull::from(Box::leak(Box::new(managed))))))
    }

    /// A tensor over memory that comes through DLPack, without a copy; it goes back when the last view is dropped. Memory that is read-only can be read; to
    /// write it is [`TensorError::Busy`].
    ///
    /// # Errors
    /// Where the memory is not the host's, or misaligned, or elements are of a type that Kiln has not. The tensor has gone back then.
    pub fn from_dlpack(tensor: DlpackTensor) -> Result<AnyTensor, TensorError> {
        if let Form::Versioned(managed) = &tensor.0 {
            // SAFETY: the promise of `from_raw`; the version stands first in every one.
            let version = unsafe { managed.as_ref().version };
            if version.major != VERSION.major {
                return Err(refused(format!("version {}.{}, where 1.x is understood", version.major, version.minor)));
            }
        }
        let dl = tensor.tensor();
        if dl.device.device_type != CPU.device_type && dl.device.device_type != CUDA_HOST {
            return Err(refused(format!("memory of device type {}, where 1 (host memory) is understood", dl.device.device_type)));
        }
        let DlDataType { code, bits: size, lanes } = dl.dtype;
        let known = TYPES.iter().find(|(ty, c)| *c == code && bits(*ty) == size && lanes == 1);
        let &(elem, _) =
            known.ok_or_else(|| refused(format!("elements of type code {code} with {size} bits and {lanes} lanes")))?;
        let rank = usize::try_from(dl.ndim).map_err(|_| refused(format!("{} axes", dl.ndim)))?;
        let list = |at: *mut i64| match rank {
            0 => Dims::new(),
            // SAFETY: the promise of `from_raw`: as many numbers as axes.
            _ => Dims::from_slice(unsafe { std::slice::from_raw_parts(at, rank) }),
        };
        let dims = list(dl.shape);
        super::checked_len(&dims, elem.into())?;
        let strides = if dl.strides.is_null() { dense_strides(&dims) } else { list(dl.strides) };
        let bytes = i64::from(Elem::from(elem).bytes());
        let (mut low, mut high) = (0i64, bytes);
        let far = || refused(format!("shape {dims:?} with strides {strides:?} is larger than memory"));
        for (&d, &s) in dims.iter().zip(&strides) {
            let reach = (d - 1).max(0).checked_mul(s).and_then(|r| r.checked_mul(bytes)).ok_or_else(far)?;
            let end = if reach < 0 { &mut low } else { &mut high };
            *end = end.checked_add(reach).ok_or_else(far)?;
        }
        if dims.contains(&0) {
            (low, high) = (0, 0);
        }
        let first = dl.data.cast::<u8>().wrapping_add(dl.byte_offset as usize);
        let base = match NonNull::new(first.wrapping_offset(low as isize)) {
            Some(base) => base,
            None if high == low => NonNull::<u64>::dangling().cast(),
            None => return Err(refused("no memory".to_owned())),
        };
        let (read_only, empty) = (tensor.is_read_only(), high == low);
        // SAFETY: the promise of `from_raw`: the bytes between the lowest and the highest element are there until the deleter is called.
        let storage = Arc::new(unsafe { Storage::adopt(base, (high - low) as usize, Box::new(tensor)) });
        if read_only && !empty {
            // Never released: nothing can ever hold it for writing.
            storage.try_read();
        }
        AnyTensor::from_storage(storage, elem, -low as usize, &dims, &strides)
    }
}

impl<T: Element> Tensor<T> {
    /// See [`AnyTensor::to_dlpack_mut`].
    ///
    /// # Errors
    /// As there.
    pub fn to_dlpack_mut(&mut self) -> Result<DlpackTensor, TensorError> {
        self.any.to_dlpack_mut()
    }

    /// See [`AnyTensor::from_dlpack`].
    ///
    /// # Errors
    /// As there, and where the elements are of another type.
    pub fn from_dlpack(tensor: DlpackTensor) -> Result<Self, TensorError> {
        let any = AnyTensor::from_dlpack(tensor)?;
        if any.elem() != Elem::Scalar(T::TYPE) {
            return Err(TensorError::Shape(format!("a tensor of {} is not one of {}", any.elem(), T::TYPE)));
        }
        Ok(Tensor { any, elements: PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// The layout that dlpack.h gives on machines of 64 bits.
    #[test]
    fn structures_are_those_of_the_header() {
        assert_eq!((size_of::<DlTensor>(), offset_of!(DlTensor, dtype), offset_of!(DlTensor, shape)), (48, 20, 24));
        assert_eq!((offset_of!(DlTensor, strides), offset_of!(DlTensor, byte_offset)), (32, 40));
        assert_eq!((size_of::<DlManagedTensor>(), offset_of!(DlManagedTensor, deleter)), (64, 56));
        assert_eq!((size_of::<DlManagedTensorVersioned>(), offset_of!(DlManagedTensorVersioned, dl_tensor)), (80, 32));
    }

    #[test]
    fn tensors_travel_and_come_back() {
        let mut x = Tensor::from([[1.0f32, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let lent = x.transpose().unwrap().step_by(0, -1).unwrap().to_dlpack().unwrap();
        let y = Tensor::<f32>::from_dlpack(lent).unwrap();
        assert_eq!((y.dims(), y.address()), (&[3i64, 2][..], x.address() + 8));
        assert_eq!(y.to_vec().unwrap(), [3.0, 6.0, 2.0, 5.0, 1.0, 4.0]);
        // Lent to read: both sides read, neither writes.
        assert!(x.to_vec().is_ok() && x.write().is_err());
        assert!(y.view(crate::s![0]).unwrap().write().is_err());
        drop(y);
        let lent = x.to_dlpack_mut().unwrap();
        assert_eq!(x.to_vec(), Err(TensorError::Busy));
        let mut y = Tensor::<f32>::from_dlpack(lent).unwrap();
        y.write().unwrap()[5] = 60.0;
        drop(y);
        assert_eq!(x.get(&[1, 2]).unwrap(), 60.0);
    }

    #[test]
    fn every_type_travels() {
        for (ty, _) in TYPES {
            let x = AnyTensor::zeros(ty, &[2, 0, 3]).unwrap();
            assert_eq!(AnyTensor::from_dlpack(x.to_dlpack().unwrap()).unwrap().elem(), x.elem());
            let x = AnyTensor::zeros(ty, &[]).unwrap();
            assert_eq!(AnyTensor::from_dlpack(x.to_dlpack().unwrap()).unwrap().to_bytes().unwrap(), x.to_bytes().unwrap());
        }
        // SAFETY: nothing looks behind the addresses.
        let pointers = unsafe { AnyTensor::from_addresses(ScalarType::F32, false, &[0]) };
        assert!(pointers.to_dlpack().is_err());
        let x = Tensor::from([1i32]);
        assert!(Tensor::<f32>::from_dlpack(x.to_dlpack().unwrap()).unwrap_err().to_string().contains("i32 is not one of f32"));
    }

    static DELETED: AtomicU32 = AtomicU32::new(0);

    unsafe extern "C" fn count(_: *mut DlManagedTensor) {
        DELETED.fetch_add(1, Ordering::Relaxed);
    }

    /// A producer that knows only the older form, and leaves out the strides of dense tensors.
    #[test]
    fn what_others_made_is_checked() {
        let mut data = [1u16, 2, 3, 4, 5, 6, 7];
        let mut shape = [2i64, 3];
        let mut import = |change: &dyn Fn(&mut DlTensor)| {
            let dl_tensor = DlTensor {
                data: data.as_mut_ptr().cast(),
                device: CPU,
                ndim: 2,
                dtype: DlDataType { code: 1, bits: 16, lanes: 1 },
                shape: shape.as_mut_ptr(),
                strides: std::ptr::null_mut(),
                byte_offset: 2,
            };
            let mut managed = DlManagedTensor { dl_tensor, manager_ctx: std::ptr::null_mut(), deleter: Some(count) };
            change(&mut managed.dl_tensor);
            // SAFETY: arrays and structure outlive the tensor, which `to_bytes` below ends.
            let tensor = unsafe { DlpackTensor::from_raw_legacy(&raw mut managed) }.unwrap();
            AnyTensor::from_dlpack(tensor).map(|t| t.typed::<u16>().unwrap().to_vec().unwrap()).map_err(|e| e.to_string())
        };
        assert_eq!(import(&|_| {}).unwrap(), [2, 3, 4, 5, 6, 7]);
        for (change, message) in [
            (&(|t: &mut DlTensor| t.device.device_type = 2) as &dyn Fn(&mut DlTensor), "device type 2"),
            (&|t| t.dtype.lanes = 4, "4 lanes"),
            (&|t| t.dtype.bits = 4, "4 bits"),
            (&|t| t.byte_offset = 1, "aligned"),
            (&|t| t.ndim = -1, "-1 axes"),
            (&|t| t.data = std::ptr::null_mut::<c_void>().wrapping_sub(2), "no memory"),
        ] {
            assert!(import(change).unwrap_err().contains(message), "{message}");
        }
        assert_eq!(DELETED.load(Ordering::Relaxed), 7);
    }
}
