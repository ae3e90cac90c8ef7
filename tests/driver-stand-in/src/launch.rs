//! Launches: the parameters are read at the call, the kernel runs when its stream does.

use std::ffi::c_void;
use std::sync::Arc;

use cudarc::driver::sys::{CUlaunchAttributeID as AttributeId, CUlaunchConfig};
use kiln_emulator::{Arg, FaultKind, Launch, Limits, Options};

use crate::codes::{self, Code};
use crate::device::MULTIPROCESSORS;
use crate::module::{Function, resident};
use crate::options::options;
use crate::state::{Driver, Needs, enter, ready};
use crate::stream::Op;

/// A launch with its parameters.
pub struct LaunchOp {
    function: Function,
    launch: Launch,
    /// All blocks have to be in flight at once.
    cooperative: bool,
}

/// Shape of a launch as the API gives it.
struct Shape {
    grid: [u32; 3],
    block: [u32; 3],
    cluster: Option<[u32; 3]>,
    shared: u32,
    cooperative: bool,
}

/// # Safety
/// `params` points to one pointer a parameter, each to as many bytes as the kernel says.
unsafe fn begin(driver: &mut Driver, function: usize, shape: Shape, stream: usize, params: *const *const u8) -> Result<(), Code> {
    let function = driver.functions.get(&function).ok_or(codes::INVALID_HANDLE)?.clone();
    let threads: u64 = shape.block.iter().map(|&b| u64::from(b)).product();
    let [x, y, z] = shape.grid;
    if threads == 0 || threads > 1024 || x == 0 || y == 0 || z == 0 || x > i32::MAX as u32 || y > 65535 || z > 65535 {
        return Err(codes::INVALID_VALUE);
    }
    if shape.shared > function.shared_limit {
        return Err(codes::INVALID_VALUE);
    }
    if params.is_null() && !function.params.is_empty() {
        return Err(codes::INVALID_VALUE);
    }
    let blocks = u64::from(x) * u64::from(y) * u64::from(z);
    if shape.cooperative && blocks > u64::from(resident(threads as u32, shape.shared) * MULTIPROCESSORS) {
        return Err(codes::COOPERATIVE_TOO_LARGE);
    }
    let mut values = vec![];
    for (i, &bytes) in function.params.iter().enumerate() {
        // SAFETY: the caller's promise.
        let value = unsafe {
            let at = params.add(i).read();
            if at.is_null() {
                return Err(codes::INVALID_VALUE);
            }
            std::slice::from_raw_parts(at, bytes as usize).to_vec()
        };
        values.push(Arg::Bytes(value));
    }
    let launch = Launch { grid: shape.grid, block: shape.block, cluster: shape.cluster, smem: shape.shared, params: values };
    driver.enqueue(stream, Op::Launch(Arc::new(LaunchOp { function, launch, cooperative: shape.cooperative })))
}

impl Driver {
    /// Runs a kernel to its end.
    pub fn run_launch(&mut self, op: &LaunchOp) -> Result<(), Code> {
        let mut limits = Limits::default();
        if op.cooperative {
            limits.resident_ctas = limits.resident_ctas.max(op.launch.grid.iter().product());
        }
        let how = Options { counters: false, limits, ..Options::default() };
        self.exchange_mapped(&op.launch.params, true)?;
        let ran = self.machine.launch(op.function.id, &op.function.name, &op.launch, &how);
        self.exchange_mapped(&op.launch.params, false)?;
        let error = match ran {
            Ok(report) => {
                print!("{}", report.output);
                return Ok(());
            }
            Err(error) => error,
        };
        // The driver prints failed assertions by itself; of other faults this one says more than a driver would.
        eprintln!("{error}");
        Err(match error.fault() {
            None => codes::LAUNCH_FAILED,
            Some(fault) => match fault.kind {
                FaultKind::OutOfBounds => codes::ILLEGAL_ADDRESS,
                FaultKind::Misaligned => codes::MISALIGNED_ADDRESS,
                FaultKind::Trap if fault.message.starts_with("assertion") => codes::ASSERT,
                _ => codes::LAUNCH_FAILED,
            },
        })
    }
}

/// # Safety
/// As the driver's manual says; so for every entry point here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: *mut c_void,
    grid_x: u32,
    grid_y: u32,
    grid_z: u32,
    block_x: u32,
    block_y: u32,
    block_z: u32,
    shared: u32,
    stream: *mut c_void,
    params: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Code {
    if options().noop {
        return ready().map_or_else(|code| code, |()| codes::SUCCESS);
    }
    enter(Needs::Context, |driver| {
        if !extra.is_null() {
            return Err(codes::NOT_SUPPORTED);
        }
        let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
        let shape = Shape { grid, block, cluster: None, shared, cooperative: false };
        // SAFETY: the caller's promise.
        unsafe { begin(driver, function as usize, shape, stream as usize, params.cast()) }
    })
}

/// # Safety
/// See [`cuLaunchKernel`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernelEx(
    config: *const CUlaunchConfig,
    function: *mut c_void,
    params: *mut *mut c_void,
    extra: *mut *mut c_void,
) -> Code {
    if options().noop {
        return ready().map_or_else(|code| code, |()| codes::SUCCESS);
    }
    enter(Needs::Context, |driver| {
        if !extra.is_null() || config.is_null() {
            return Err(codes::INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        let config = unsafe { &*config };
        let grid = [config.gridDimX, config.gridDimY, config.gridDimZ];
        let block = [config.blockDimX, config.blockDimY, config.blockDimZ];
        let mut shape = Shape { grid, block, cluster: None, shared: config.sharedMemBytes, cooperative: false };
        for i in 0..config.numAttrs as usize {
            // SAFETY: the caller's promise: as many attributes, whose values are what their numbers say.
            unsafe {
                let attribute = &*config.attrs.add(i);
                match attribute.id {
                    AttributeId::CU_LAUNCH_ATTRIBUTE_COOPERATIVE => shape.cooperative = attribute.value.cooperative != 0,
                    AttributeId::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION => {
                        let dim = attribute.value.clusterDim;
                        shape.cluster = Some([dim.x, dim.y, dim.z]);
                    }
                    // Lets a kernel begin before the one in front of it has ended: nothing that an emulator of one kernel at a time could show.
                    AttributeId::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION => {}
                    _ => return Err(codes::NOT_SUPPORTED),
                }
            }
        }
        // SAFETY: the caller's promise.
        unsafe { begin(driver, function as usize, shape, config.hStream as usize, params.cast()) }
    })
}
