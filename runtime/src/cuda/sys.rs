//! Numbers and structures of the driver's interface, as its manual (CUDA Driver API) has them. Those of the `cudarc` crate would do, but take longer to build than this crate's own
//! use of the driver; the stand-in driver of the tests has them from there.

use std::ffi::c_int;

use super::driver::Handle;

/// `CUdevice_attribute`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum DeviceAttribute {
    MultiprocessorCount = 16,
    L2CacheSize = 38,
    ComputeCapabilityMajor = 75,
    ComputeCapabilityMinor = 76,
    MaxSharedMemoryPerBlockOptin = 97,
    MemoryPoolsSupported = 115,
}

/// `CUfunction_attribute`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum FunctionAttribute {
    LocalSizeBytes = 3,
    NumRegs = 4,
    MaxDynamicSharedSizeBytes = 8,
}

/// `CUjit_option`: where the assembler's errors go.
pub(crate) const JIT_ERROR_LOG_BUFFER: u32 = 5;
/// `CUjit_option`: how much of them fits.
pub(crate) const JIT_ERROR_LOG_BUFFER_SIZE_BYTES: u32 = 6;

/// `CU_LAUNCH_ATTRIBUTE_COOPERATIVE`.
pub(crate) const LAUNCH_ATTRIBUTE_COOPERATIVE: u32 = 2;
/// `CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION`.
pub(crate) const LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION: u32 = 6;

/// `CUlaunchAttribute` with a number as its value, of which the driver's union has 64 bytes.
#[repr(C, align(8))]
pub(crate) struct LaunchAttribute {
    pub id: u32,
    pub padding: u32,
    pub value: c_int,
    pub rest: [c_int; 15],
}

/// `CUlaunchConfig`.
#[repr(C)]
pub(crate) struct LaunchConfig {
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub shared_bytes: u32,
    pub stream: Handle,
    pub attributes: *mut LaunchAttribute,
    pub count: u32,
}

// Sizes of the driver's own.
const _: () = assert!(size_of::<LaunchConfig>() == 56 && size_of::<LaunchAttribute>() == 72);
