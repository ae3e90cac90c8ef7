//! The entry points of the driver's library that are used, found when they are first needed.
//!
//! Results are numbers here, not an enumeration: a newer driver knows codes that no list made today has.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use libloading::Library;

/// A handle that the driver gave out.
pub(crate) type Handle = *mut c_void;

/// Where the library is looked for. The last ones are where containers and WSL put it without telling the loader.
const LIBRARIES: &[&str] = if cfg!(windows) {
    &["nvcuda.dll"]
} else {
    &["libcuda.so.1", "libcuda.so", "/usr/local/nvidia/lib64/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"]
};

macro_rules! api {
    ($($name:ident ( $($ty:ty),* );)*) => {
        /// The driver's functions, under the names of its manual.
        #[allow(non_snake_case)]
        pub(crate) struct Api {
            $( pub $name: unsafe extern "C" fn($($ty),*) -> u32, )*
            /// The functions are in it.
            _library: Library,
        }

        impl Api {
            /// # Safety
            /// The library is NVIDIA's driver, or behaves like it.
            unsafe fn of(library: Library) -> Result<Api, String> {
                Ok(Api {
                    $( $name: {
                        // SAFETY: the types are those of the driver's header (cuda.h).
                        let found = unsafe { library.get::<unsafe extern "C" fn($($ty),*) -> u32>(concat!(stringify!($name), "\0").as_bytes()) };
                        *found.map_err(|_| concat!("it has no `", stringify!($name), "`: it is older than what kiln needs (R525, CUDA 12.0)"))?
                    }, )*
                    _library: library,
                })
            }
        }
    };
}

api! {
    cuInit(u32);
    cuDriverGetVersion(*mut c_int);
    cuGetErrorName(u32, *mut *const c_char);
    cuGetErrorString(u32, *mut *const c_char);
    cuDeviceGetCount(*mut c_int);
    cuDeviceGet(*mut c_int, c_int);
    cuDeviceGetName(*mut c_char, c_int, c_int);
    cuDeviceTotalMem_v2(*mut usize, c_int);
    cuDeviceGetAttribute(*mut c_int, u32, c_int);
    cuDevicePrimaryCtxRetain(*mut Handle, c_int);
    cuCtxGetCurrent(*mut Handle);
    cuCtxSetCurrent(Handle);
    cuMemAlloc_v2(*mut u64, usize);
    cuMemFree_v2(u64);
    cuMemAllocAsync(*mut u64, usize, Handle);
    cuMemFreeAsync(u64, Handle);
    cuMemGetInfo_v2(*mut usize, *mut usize);
    cuDeviceGetDefaultMemPool(*mut Handle, c_int);
    cuMemPoolSetAttribute(Handle, u32, *mut c_void);
    cuMemHostAlloc(*mut *mut c_void, usize, u32);
    cuMemHostGetDevicePointer_v2(*mut u64, *mut c_void, u32);
    cuMemFreeHost(*mut c_void);
    cuMemcpyHtoDAsync_v2(u64, *const c_void, usize, Handle);
    cuMemcpyDtoHAsync_v2(*mut c_void, u64, usize, Handle);
    cuMemcpyDtoDAsync_v2(u64, u64, usize, Handle);
    cuMemsetD8Async(u64, u8, usize, Handle);
    cuModuleLoadDataEx(*mut Handle, *const c_void, u32, *mut u32, *mut *mut c_void);
    cuModuleUnload(Handle);
    cuModuleGetFunction(*mut Handle, Handle, *const c_char);
    cuFuncSetAttribute(Handle, u32, c_int);
    cuFuncGetAttribute(*mut c_int, u32, Handle);
    cuOccupancyMaxActiveBlocksPerMultiprocessor(*mut c_int, Handle, c_int, usize);
    cuLaunchKernel(Handle, u32, u32, u32, u32, u32, u32, u32, Handle, *mut *mut c_void, *mut *mut c_void);
    cuLaunchKernelEx(*const super::sys::LaunchConfig, Handle, *mut *mut c_void, *mut *mut c_void);
    cuTensorMapEncodeTiled(*mut c_void, u32, u32, *mut c_void, *const u64, *const u64, *const u32, *const u32, u32, u32, u32, u32);
    cuStreamCreate(*mut Handle, u32);
    cuStreamDestroy_v2(Handle);
    cuStreamSynchronize(Handle);
    cuStreamQuery(Handle);
    cuStreamWaitEvent(Handle, Handle, u32);
    cuStreamBeginCapture_v2(Handle, u32);
    cuStreamEndCapture(Handle, *mut Handle);
    cuEventCreate(*mut Handle, u32);
    cuEventDestroy_v2(Handle);
    cuEventRecord(Handle, Handle);
    cuEventSynchronize(Handle);
    cuEventElapsedTime(*mut f32, Handle, Handle);
    cuGraphInstantiateWithFlags(*mut Handle, Handle, u64);
    cuGraphLaunch(Handle, Handle);
    cuGraphDestroy(Handle);
    cuGraphExecDestroy(Handle);
}

/// Success.
pub(crate) const SUCCESS: u32 = 0;
/// An operation has not ended yet.
pub(crate) const NOT_READY: u32 = 600;

impl Api {
    /// The driver, initialized; or why there is none.
    pub fn get() -> Result<&'static Api, String> {
        static API: OnceLock<Result<Api, String>> = OnceLock::new();
        API.get_or_init(Api::open).as_ref().map_err(Clone::clone)
    }

    fn open() -> Result<Api, String> {
        // SAFETY: loading the driver's library runs its initialization, which is what it is for.
        let library = LIBRARIES.iter().find_map(|name| unsafe { Library::new(*name) }.ok());
        let library = library.ok_or_else(|| format!("no NVIDIA driver: {} was not found", LIBRARIES[0]))?;
        // SAFETY: a library of this name is the driver's.
        let api = unsafe { Api::of(library) }.map_err(|why| format!("the NVIDIA driver cannot be used: {why}"))?;
        // SAFETY: takes no pointers.
        match unsafe { (api.cuInit)(0) } {
            SUCCESS => Ok(api),
            code => {
                let (name, text) = api.describe(code);
                Err(format!("the NVIDIA driver cannot be used: {name} ({text})"))
            }
        }
    }

    /// The name and the text of a result code.
    pub fn describe(&self, code: u32) -> (String, String) {
        let ask = |function: unsafe extern "C" fn(u32, *mut *const c_char) -> u32| {
            let mut text = std::ptr::null();
            // SAFETY: the out pointer is valid, and what comes back is a C string that lives as long as the driver.
            unsafe {
                (function(code, &raw mut text) == SUCCESS && !text.is_null())
                    .then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
            }
        };
        (ask(self.cuGetErrorName).unwrap_or_else(|| format!("CUDA error {code}")), ask(self.cuGetErrorString).unwrap_or_default())
    }

    /// The driver's version: 12080 for CUDA 12.8.
    pub fn version(&self) -> i32 {
        let mut version = 0;
        // SAFETY: the out pointer is valid. A driver that cannot tell counts as version 0.
        unsafe { (self.cuDriverGetVersion)(&raw mut version) };
        version
    }
}
