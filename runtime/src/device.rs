//! Devices: the CPU, the PTX emulator, and NVIDIA GPUs through the driver that is found at run time.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use kiln_ir::artifact::{GpuTarget, Target};

use crate::cuda::gpu::{self, CudaInfo, Gpu};
use crate::emulated::EmulatorOptions;
use crate::error::Error;
use crate::pool::Pool;

/// A device. Cloning is cheap: clones are the same device.
#[derive(Clone, Debug)]
pub struct Device(Kind);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Cpu(Arc<Pool>),
    /// The CPU with kernels that are compiled with checks.
    Checked(Arc<Pool>),
    Emulator(Arc<EmulatorOptions>),
    Cuda(&'static Gpu),
}

impl Device {
    /// The CPU with its default number of threads: `KILN_NUM_THREADS`, else one a processor.
    ///
    /// # Errors
    /// Where `KILN_NUM_THREADS` is malformed.
    pub fn cpu() -> Result<Device, Error> {
        static DEFAULT: OnceLock<Arc<Pool>> = OnceLock::new();
        if let Some(pool) = DEFAULT.get() {
            return Ok(Device(Kind::Cpu(pool.clone())));
        }
        let threads = Pool::default_threads()?;
        Ok(Device(Kind::Cpu(DEFAULT.get_or_init(|| Arc::new(Pool::new(threads))).clone())))
    }

    /// The CPU with a number of threads of its own.
    pub fn cpu_with_threads(threads: NonZeroUsize) -> Device {
        Device(Kind::Cpu(Arc::new(Pool::new(threads))))
    }

    /// The CPU in its checked mode: kernels are compiled anew with a check in front of every access, and a launch ends with an error ([`Error::Checked`],
    /// [`Error::Assertion`]) that names the line, the program, the lane and the element where memory outside of the launch's tensors is touched, an address is misaligned,
    /// two programs touch one element without atomics and one of them writes it, an integer is divided by a scalar that is zero, or an assumption does not hold. Slow: programs
    /// run one after the other.
    ///
    /// # Errors
    /// For other devices: the emulator checks by itself.
    pub fn checked(&self) -> Result<Device, Error> {
        match &self.0 {
            Kind::Cpu(pool) | Kind::Checked(pool) => Ok(Device(Kind::Checked(pool.clone()))),
            Kind::Emulator(_) => {
                Err(Error::Device("the emulator checks every access by itself: `checked` is for the CPU".to_owned()))
            }
            Kind::Cuda(_) => {
                Err(Error::Device("the checked mode is for the CPU; the emulator checks what a GPU would run".to_owned()))
            }
        }
    }

    /// The emulator of PTX, as an sm_90a GPU with every check on.
    pub fn emulator() -> Device {
        Device::emulator_with(EmulatorOptions::default())
    }

    /// The emulator of PTX.
    pub fn emulator_with(options: EmulatorOptions) -> Device {
        Device(Kind::Emulator(Arc::new(options)))
    }

    /// GPU number `ordinal`. Launches on it take tensors in its memory (`Tensor::to`) as they are, and copy those of the host in and back.
    ///
    /// # Errors
    /// Where there is no driver, no such GPU, or one that is older than compute capability 8.0.
    pub fn cuda(ordinal: usize) -> Result<Device, Error> {
        Ok(Device(Kind::Cuda(Gpu::get(ordinal)?)))
    }

    /// The device that `KILN_DEVICE` names, else the first GPU, else the CPU.
    ///
    /// # Errors
    /// Where `KILN_DEVICE` names no device.
    pub fn best() -> Result<Device, Error> {
        match std::env::var("KILN_DEVICE") {
            Ok(name) if !name.is_empty() => Device::from_name(&name),
            _ => Device::cuda(0).or_else(|_| Device::cpu()),
        }
    }

    /// The device of a name: `cpu`, `cpu:checked`, `cuda`, `cuda:1`, `emulator`, `emulator:sm_80,random=3` (see [`EmulatorOptions::parse`]).
    ///
    /// # Errors
    /// Where there is no such device.
    pub fn from_name(name: &str) -> Result<Device, Error> {
        match name.split_once(':') {
            None if name == "cpu" => Device::cpu(),
            Some(("cpu", "checked")) => Device::cpu()?.checked(),
            None if name == "cuda" => Device::cuda(0),
            None if name == "emulator" => Ok(Device::emulator()),
            Some(("emulator", words)) => EmulatorOptions::parse(words).map(Device::emulator_with).map_err(Error::Device),
            Some(("cuda", number)) if number.parse::<usize>().is_ok() => Device::cuda(number.parse().expect("just tried")),
            _ => Err(Error::Device(format!(
                "there is no device `{name}`: there are `cpu`, `cpu:checked`, `cuda`, `cuda:N` and `emulator`"
            ))),
        }
    }

    /// Every device of this machine, the CPU first, then the emulator, and why there are no GPUs where the driver cannot be used.
    ///
    /// # Errors
    /// Where `KILN_NUM_THREADS` is malformed.
    pub fn all() -> Result<(Vec<Device>, Option<String>), Error> {
        let mut devices = vec![Device::cpu()?, Device::emulator()];
        let count = match gpu::count() {
            Ok(count) => count,
            Err(why) => return Ok((devices, Some(why))),
        };
        let mut unusable = None;
        for ordinal in 0..count {
            match Device::cuda(ordinal) {
                Ok(device) => devices.push(device),
                Err(why) => unusable = Some(why.to_string()),
            }
        }
        Ok((devices, unusable.or((count == 0).then(|| "the driver knows none".to_owned()))))
    }

    /// `cpu`, `cpu:checked`, `cuda:0` or `emulator:sm_90a`.
    pub fn name(&self) -> String {
        match &self.0 {
            Kind::Cpu(_) => "cpu".to_owned(),
            Kind::Checked(_) => "cpu:checked".to_owned(),
            Kind::Emulator(options) => format!("emulator:{}", options.words()),
            Kind::Cuda(gpu) => gpu.name(),
        }
    }

    /// What tuning results are remembered by: the processor or GPU, not its number.
    pub fn tuning_name(&self) -> String {
        match &self.0 {
            Kind::Cpu(pool) | Kind::Checked(pool) => {
                let (threads, kind) = (pool.threads(), if self.is_checked() { "cpu:checked" } else { "cpu" });
                format!("{kind} {} ({threads} thread{})", processor_name(), if threads == 1 { "" } else { "s" })
            }
            Kind::Emulator(options) => format!("emulator:{}", options.target.name()),
            Kind::Cuda(gpu) => format!("cuda {}", gpu.info.name),
        }
    }

    /// What `num_sms()` is: worker threads, or multiprocessors.
    pub fn num_sms(&self) -> i64 {
        match &self.0 {
            Kind::Cpu(pool) | Kind::Checked(pool) => pool.threads() as i64,
            Kind::Emulator(options) => options.multiprocessors(),
            Kind::Cuda(gpu) => i64::from(gpu.info.multiprocessors),
        }
    }

    /// What is known of the GPU; None for the CPU and the emulator.
    pub fn cuda_info(&self) -> Option<&CudaInfo> {
        match &self.0 {
            Kind::Cpu(_) | Kind::Checked(_) | Kind::Emulator(_) => None,
            Kind::Cuda(gpu) => Some(&gpu.info),
        }
    }

    /// How the emulator runs kernels; None for other devices.
    pub fn emulator_options(&self) -> Option<&EmulatorOptions> {
        match &self.0 {
            Kind::Emulator(options) => Some(options),
            Kind::Cpu(_) | Kind::Checked(_) | Kind::Cuda(_) => None,
        }
    }

    /// Whether kernels are compiled with checks.
    pub(crate) fn is_checked(&self) -> bool {
        matches!(self.0, Kind::Checked(_))
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.0
    }

    /// The GPU; None for other devices.
    pub(crate) fn gpu(&self) -> Option<&'static Gpu> {
        match self.0 {
            Kind::Cuda(gpu) => Some(gpu),
            Kind::Cpu(_) | Kind::Checked(_) | Kind::Emulator(_) => None,
        }
    }

    /// The device that is this GPU.
    pub(crate) fn of_gpu(gpu: &'static Gpu) -> Device {
        Device(Kind::Cuda(gpu))
    }

    /// What kernels for this device are compiled for.
    pub(crate) fn target(&self) -> Target {
        match &self.0 {
            Kind::Cpu(_) | Kind::Checked(_) => Target::Host,
            Kind::Emulator(options) => Target::Gpu(options.target),
            Kind::Cuda(gpu) => Target::Gpu(gpu.info.target),
        }
    }

    /// A number that tells devices with different code apart, 0 for the CPU.
    pub(crate) fn code(&self) -> u32 {
        let number = |target: GpuTarget| 2 * target.sm + u32::from(target.arch_specific);
        match &self.0 {
            Kind::Cpu(_) => 0,
            Kind::Checked(_) => 1,
            Kind::Emulator(options) => number(options.target),
            Kind::Cuda(gpu) => 1 << 16 | (gpu.info.ordinal as u32) << 17 | number(gpu.info.target),
        }
    }

    /// Bytes of shared memory that a program can have; 0 on the CPU, which needs none.
    pub(crate) fn shared_memory(&self) -> i64 {
        match &self.0 {
            Kind::Emulator(options) => i64::from(options.target.shared_bytes()),
            Kind::Cuda(gpu) => i64::from(gpu.info.shared_memory),
            Kind::Cpu(_) | Kind::Checked(_) => 0,
        }
    }
}

/// The processor's name as the system has it, else its architecture.
fn processor_name() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name =
        info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned()));
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_devices_or_errors() {
        assert_eq!(Device::from_name("cpu").unwrap().name(), "cpu");
        assert_eq!(Device::from_name("cpu:checked").unwrap().name(), "cpu:checked");
        assert!(Device::emulator().checked().is_err());
        assert_eq!(Device::from_name("emulator").unwrap().name(), "emulator:sm_90a");
        assert_eq!(Device::from_name("emulator:sm_80,eager").unwrap().name(), "emulator:sm_80,eager");
        assert!(Device::from_name("emulator:sm_75").unwrap_err().to_string().contains("no option `sm_75`"));
        for bad in ["", "gpu", "cpu:1", "cuda:x", "cuda:", "CPU"] {
            let error = Device::from_name(bad).unwrap_err();
            assert!(error.to_string().contains("there is no device"), "{bad}: {error}");
        }
        // With or without a driver, a GPU that cannot be there is a clear error.
        assert!(Device::cuda(9999).is_err());
        assert_eq!(Device::cpu_with_threads(NonZeroUsize::new(3).unwrap()).num_sms(), 3);
    }
}
