//! From arguments to the device. A launch that was made before passes here without a lock or an allocation: its slots and parameter pointers lie on the stack.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::error::GpuError;
use super::gpu::{ASSERT, Gpu};
use super::module::{CudaKernel, MOST_MAPS, Source};
use super::prints::PrintBuffer;
use super::stream::{Pending, RawStream};
use super::sys;
use super::tensor_map::Encoded;
use crate::args::Arg;
use crate::compiled::launch_grid;
use crate::error::{Error, TensorError};
use crate::plan::Plan;
use crate::staging::{self, Follow, Regions};

/// A launch whose arguments are bound.
pub(crate) struct Call<'a> {
    pub kernel: &'a CudaKernel,
    pub name: &'a str,
    pub plan: &'a Arc<Plan>,
    pub args: &'a [Arg<'a>],
    /// Argument slots, with addresses as the tensors have them.
    pub slots: &'a [u64],
}

/// Launches that print before somebody has to wait for what they printed.
const MOST_PRINTS: usize = 64;

/// Hidden parameters that a kernel can have: five extents, and three more.
const HIDDEN: usize = 8;

impl Call<'_> {
    /// Whether every tensor lies on the GPU; an error where one lies on another.
    #[inline]
    fn all_there(&self) -> Result<bool, TensorError> {
        let mut all = true;
        for arg in self.args {
            let Arg::Tensor(tensor, _) = arg else { continue };
            match tensor.storage().device() {
                Some(memory) if std::ptr::eq(memory.gpu, self.kernel.gpu) => {}
                Some(memory) => return Err(elsewhere(&memory.gpu.name(), &self.kernel.gpu.name())),
                None => all = false,
            }
        }
        Ok(all)
    }

    /// Orders the stream after what others do with the tensors; in a capture, notes them for the replays.
    #[inline]
    fn order(&self, stream: &RawStream) -> Result<(), Error> {
        let capturing = stream.capturing.load(Ordering::Relaxed);
        for (arg, &written) in self.args.iter().zip(&self.plan.written) {
            let Arg::Tensor(tensor, _) = arg else { continue };
            if capturing {
                let mut captured = stream.captured.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                captured.note_storage(tensor.storage(), written);
            } else if let Some(memory) = tensor.storage().device() {
                memory.order(stream, written)?;
            }
        }
        if capturing {
            let mut captured = stream.captured.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            captured.note_plan(self.plan);
        }
        Ok(())
    }

    /// Gives the launch to a stream, with these slots.
    ///
    /// # Safety
    /// The slots are of this plan, with addresses of the device that stay valid until the stream has run the launch.
    pub unsafe fn enqueue(&self, stream: &RawStream, slots: &[u64]) -> Result<(), Error> {
        let (kernel, api) = (self.kernel, self.kernel.gpu.api);
        let grid = launch_grid(self.name, kernel.grid, self.plan, i64::from(kernel.gpu.info.multiprocessors))?;
        if self.plan.programs == 0 {
            return Ok(());
        }
        let mut hidden = [0u64; HIDDEN];
        let mut maps = [Encoded::NOTHING; MOST_MAPS];
        let mut places = maps.iter_mut().zip(&kernel.maps);
        let mut hidden_count = 0;
        let mut printing = None;
        let mut params: SmallVec<[*mut c_void; 88]> = SmallVec::new();
        let mut slot = slots.iter();
        for source in &kernel.sources {
            let value = match *source {
                Source::Slot => {
                    let Some(slot) = slot.next() else {
                        return Err(Error::Internal("the kernel has more parameters than the launch".to_owned()));
                    };
                    // The driver reads as many bytes as the parameter has: the low ones, as the processor is little-endian.
                    params.push(std::ptr::from_ref(slot).cast_mut().cast());
                    continue;
                }
                Source::GridExtent(axis) => self.plan.grid[usize::from(axis)] as u64,
                Source::NumSms => u64::from(kernel.gpu.info.multiprocessors),
                Source::Prints => {
                    let (buffer, address) = self.prints(stream)?;
                    printing = Some(buffer);
                    address
                }
                Source::Counter => self.counter(stream)?,
                Source::Map => {
                    let Some((place, map)) = places.next() else {
                        return Err(Error::Internal("the kernel has more tensor maps than there are".to_owned()));
                    };
                    *place = map.encoded(kernel.gpu, &kernel.params, slots)?;
                    params.push(std::ptr::from_mut(place).cast());
                    continue;
                }
            };
            let Some(place) = hidden.get_mut(hidden_count) else {
                return Err(Error::Internal("the kernel has more hidden parameters than there are".to_owned()));
            };
            *place = value;
            params.push(std::ptr::from_mut(place).cast());
            hidden_count += 1;
        }
        stream.note(kernel.number);
        let [x, y, z] = grid;
        // SAFETY: as many pointers as the kernel has parameters, each to at least as many bytes; the driver copies the values before it returns.
        let code = unsafe {
            if kernel.cooperative {
                self.launch_together(stream, grid, params.as_mut_ptr())?
            } else if kernel.early_launch && !stream.capturing.load(Ordering::Relaxed) {
                // Graphs of older drivers do not take the attribute; without it the launch waits for the one in front of it to end.
                self.launch_early(stream, grid, params.as_mut_ptr())
            } else {
                let (threads, shared) = (kernel.threads, kernel.shared);
                let none = std::ptr::null_mut();
                (api.cuLaunchKernel)(kernel.function, x, y, z, threads, 1, 1, shared, stream.handle, params.as_mut_ptr(), none)
            }
        };
        stream.check("cuLaunchKernel", code)?;
        // Behind the launch: whoever takes it from there waits for the launch first.
        if let Some(buffer) = printing {
            stream.later(Pending::Prints(buffer));
        }
        Ok(())
    }

    /// A launch whose programs wait for each other, so that all have to be there at once.
    ///
    /// # Safety
    /// As the driver's.
    #[cold]
    unsafe fn launch_together(&self, stream: &RawStream, grid: [u32; 3], params: *mut *mut c_void) -> Result<u32, Error> {
        let (kernel, gpu) = (self.kernel, self.kernel.gpu);
        let room = i64::from(kernel.resident()?) * i64::from(gpu.info.multiprocessors);
        if self.plan.programs > room {
            return Err(Error::Device(format!(
                "kernel `{}` waits for its whole grid of {} programs, of which {} holds {room} at once; make the grid smaller (`num_sms()`)",
                self.name,
                self.plan.programs,
                gpu.name()
            )));
        }
        // SAFETY: the caller's promise.
        Ok(unsafe { self.launch_with(stream, grid, params, sys::LAUNCH_ATTRIBUTE_COOPERATIVE) })
    }

    /// A launch that may begin while the one in front of it runs (CUDA programming guide, "Programmatic Dependent Launch").
    ///
    /// # Safety
    /// As the driver's.
    unsafe fn launch_early(&self, stream: &RawStream, grid: [u32; 3], params: *mut *mut c_void) -> u32 {
        // SAFETY: the caller's promise.
        unsafe { self.launch_with(stream, grid, params, sys::LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION) }
    }

    /// A launch with one attribute, which is a switch; the driver's code.
    ///
    /// # Safety
    /// As the driver's.
    unsafe fn launch_with(&self, stream: &RawStream, grid: [u32; 3], params: *mut *mut c_void, attribute: u32) -> u32 {
        let (kernel, gpu) = (self.kernel, self.kernel.gpu);
        let mut attribute = sys::LaunchAttribute { id: attribute, padding: 0, value: 1, rest: [0; 15] };
        let config = sys::LaunchConfig {
            grid,
            block: [kernel.threads, 1, 1],
            shared_bytes: kernel.shared,
            stream: stream.handle,
            attributes: &raw mut attribute,
            count: 1,
        };
        // SAFETY: the caller's promise; the configuration lives until the call returns.
        unsafe { (gpu.api.cuLaunchKernelEx)(&raw const config, kernel.function, params, std::ptr::null_mut()) }
    }

    /// A print buffer for this launch, which is shown when somebody waits for the stream.
    #[cold]
    fn prints(&self, stream: &RawStream) -> Result<(PrintBuffer, u64), Error> {
        if stream.capturing.load(Ordering::Relaxed) {
            return Err(Error::Device(format!("kernel `{}` prints, and a graph cannot: take the print out", self.name)));
        }
        if stream.pending_count() >= MOST_PRINTS {
            stream.synchronize()?;
        }
        let buffer = PrintBuffer::new(self.kernel.gpu, self.name, self.plan)?;
        let address = buffer.device_address()?;
        Ok((buffer, address))
    }

    /// The stream's counter, set to 0 in front of the launch.
    #[cold]
    fn counter(&self, stream: &RawStream) -> Result<u64, Error> {
        let address = stream.counter()?;
        // SAFETY: the counter has 8 bytes.
        stream.check("cuMemsetD8Async", unsafe { (self.kernel.gpu.api.cuMemsetD8Async)(address, 0, 8, stream.handle) })?;
        Ok(address)
    }

    /// Gives the launch to a stream. Every tensor has to lie on the GPU.
    ///
    /// # Safety
    /// The plan is that of the arguments, whose memory is held; what raw pointers lead to stays until the stream has run the launch.
    #[inline]
    pub unsafe fn give(&self, stream: &RawStream) -> Result<(), Error> {
        if !self.all_there()? {
            return Err(self.on_host(&stream.gpu.name()).into());
        }
        stream.gpu.enter()?;
        self.order(stream)?;
        // SAFETY: the caller's promise, and tensors' memory is given back in the order of streams.
        unsafe { self.enqueue(stream, self.slots) }
    }

    fn on_host(&self, device: &str) -> TensorError {
        let host = |arg: &Arg<'_>| matches!(arg, Arg::Tensor(tensor, _) if tensor.storage().device().is_none());
        let at = self.args.iter().position(host).map_or(0, |i| i + 1);
        TensorError::Place(format!(
            "argument {at} is in the host's memory: a launch that is not waited for needs every tensor on {device} (`Tensor::to`)"
        ))
    }

    /// Runs the launch and waits for it. Tensors in the host's memory are copied in before and, where the kernel writes them, back afterwards; after a fault nothing is.
    ///
    /// # Safety
    /// The plan is that of the arguments, whose memory is held; raw pointers are valid.
    pub unsafe fn run(&self) -> Result<(), Error> {
        // SAFETY: the caller's promise.
        let ran = unsafe {
            self.with_everything_there(|slots| {
                let home = self.kernel.gpu.home()?;
                self.enqueue(home, slots)?;
                Ok(home.synchronize()?)
            })
        };
        ran.map_err(|error| self.assertion(error))
    }

    /// Calls `work` with slots whose addresses are the device's, in the GPU's own stream.
    ///
    /// # Safety
    /// As [`Call::run`].
    pub unsafe fn with_everything_there<T>(&self, work: impl FnOnce(&[u64]) -> Result<T, Error>) -> Result<T, Error> {
        let gpu = self.kernel.gpu;
        let home = gpu.home()?;
        gpu.enter()?;
        let pointers = self.args.iter().any(|arg| matches!(arg, Arg::Pointer { .. }));
        if self.all_there()? && !pointers {
            self.order(home)?;
            return work(self.slots);
        }
        self.order(home)?;
        let mut memory = HomeMemory(gpu);
        // SAFETY: the caller's promise.
        let mut regions = unsafe { Regions::of(self.args, self.plan, Follow::Known)? };
        // SAFETY: as above.
        let done = unsafe { regions.copy_in(&mut memory) }.and_then(|()| {
            let slots = self.plan.slots(self.args, |address| regions.to_device(address));
            let slots = slots.map_err(|i| Error::Internal(format!("argument {} does not fit, but was bound", i + 1)))?;
            let done = work(&slots)?;
            // SAFETY: as above.
            unsafe { regions.copy_out(&mut memory)? };
            Ok(done)
        });
        regions.free(&mut memory);
        done
    }

    /// A failed assertion instead of the fault that it is to the driver, which prints which one it was.
    fn assertion(&self, error: Error) -> Error {
        let asserts = &self.plan.compiled.asserts;
        match &error {
            Error::Gpu(fault) if matches!(&**fault, GpuError::Fault { name, .. } if *name == self.assert_name()) => {}
            _ => return error,
        }
        let (message, place) = match &asserts[..] {
            [] => return error,
            [only] => (only.message.clone(), only.place.clone()),
            several => {
                let texts: Vec<String> = several.iter().map(|a| format!("`{}`", a.message)).collect();
                let places: Vec<&str> = several.iter().map(|a| a.place.as_str()).collect();
                (format!("one of {}", texts.join(", ")), places.join("\n  --> "))
            }
        };
        Error::Assertion { kernel: self.name.to_owned(), message, place, program: "the one in the driver's message".to_owned() }
    }

    fn assert_name(&self) -> String {
        self.kernel.gpu.api.describe(ASSERT).0
    }
}

fn elsewhere(there: &str, here: &str) -> TensorError {
    TensorError::Place(format!("a tensor is on {there}, and the launch on {here}: copy it (`Tensor::to`)"))
}

/// Memory for copies of host tensors, in the order of the GPU's own stream.
struct HomeMemory(&'static Gpu);

impl staging::Memory for HomeMemory {
    fn alloc(&mut self, bytes: u64) -> Result<u64, Error> {
        let (gpu, mut address) = (self.0, 0);
        let home = gpu.home()?;
        // SAFETY: the out pointer is valid.
        let code = unsafe {
            if gpu.pools {
                (gpu.api.cuMemAllocAsync)(&raw mut address, bytes as usize, home.handle)
            } else {
                (gpu.api.cuMemAlloc_v2)(&raw mut address, bytes as usize)
            }
        };
        home.check("cuMemAllocAsync", code)?;
        Ok(address)
    }

    fn write(&mut self, to: u64, bytes: &[u8]) -> Result<(), Error> {
        let home = self.0.home()?;
        // SAFETY: the block was allocated for these bytes, which are held until the launch has ended.
        let code = unsafe { (self.0.api.cuMemcpyHtoDAsync_v2)(to, bytes.as_ptr().cast(), bytes.len(), home.handle) };
        Ok(home.check("cuMemcpyHtoDAsync", code)?)
    }

    fn read(&mut self, from: u64, to: &mut [u8]) -> Result<(), Error> {
        let home = self.0.home()?;
        // SAFETY: the block has that many bytes.
        let code = unsafe { (self.0.api.cuMemcpyDtoHAsync_v2)(to.as_mut_ptr().cast(), from, to.len(), home.handle) };
        home.check("cuMemcpyDtoHAsync", code)?;
        Ok(home.synchronize()?)
    }

    fn free(&mut self, at: u64) {
        let (Ok(home), false) = (self.0.home(), self.0.is_lost()) else { return };
        // SAFETY: allocated by `alloc`, freed once. Of what fails here nobody can be told.
        unsafe {
            if self.0.pools {
                (self.0.api.cuMemFreeAsync)(at, home.handle);
            } else {
                (self.0.api.cuMemFree_v2)(at);
            }
        }
    }
}
