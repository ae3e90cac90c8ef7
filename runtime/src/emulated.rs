//! The emulator as a device: the PTX that a GPU would get, with the launch it would get, run by `kiln-emulator`.
//!
//! The emulator's memory is its own, as a GPU's is. Before a launch every block of memory that the arguments reach is copied in, and addresses among the
//! arguments are translated; afterwards what the kernel may have written is copied back. After a fault nothing is.

use std::sync::{Arc, Mutex};

use kiln_emulator::{Arch, Fault, FaultKind, Limits, Machine, ModuleId, Options, Report, Sanitizers, Schedule};
use kiln_ir::artifact::{GpuTarget, PtxArtifact, PtxParam};

use crate::args::Arg;
use crate::compiled::{CompiledKernel, Failure, PRINT_BYTES, PRINT_HEAD, launch_grid};
use crate::emulated_maps::tensor_map;
use crate::error::{DeviceFault, Error};
use crate::plan::Plan;
use crate::staging::{Follow, Memory, Regions};

/// How the emulator runs kernels.
#[derive(Clone, Debug, PartialEq)]
pub struct EmulatorOptions {
    /// The GPU that is emulated; kernels are compiled for it.
    pub target: GpuTarget,
    /// When asynchronous operations complete, and in which order warps run.
    pub schedule: Schedule,
    /// Which checks run.
    pub sanitizers: Sanitizers,
    /// Count what every instruction does; see [`crate::Launched::emulation`].
    pub counters: bool,
    /// Multiprocessors, which is how many blocks a persistent kernel has at most; as many as a usual product of the architecture has where None.
    pub sms: Option<u32>,
}

impl Default for EmulatorOptions {
    /// sm_90a, everything as late as the program allows, all checks, no counters.
    fn default() -> Self {
        let target = GpuTarget { sm: 90, arch_specific: true };
        EmulatorOptions { target, schedule: Schedule::Lazy, sanitizers: Sanitizers::ALL, counters: false, sms: None }
    }
}

impl EmulatorOptions {
    /// Reads the words behind `emulator:`, separated by commas: an architecture (`sm_80`), a schedule (`eager`, `lazy`, `random=SEED`, `lazy-random=SEED`), `unchecked` for no
    /// sanitizers, `sms=NUMBER` for another number of multiprocessors.
    ///
    /// # Errors
    /// The word that is not understood.
    pub fn parse(text: &str) -> Result<EmulatorOptions, String> {
        let mut options = EmulatorOptions::default();
        for word in text.split(',') {
            if let (Some(target), Some(_)) = (GpuTarget::from_name(word), Arch::from_name(word)) {
                options.target = target;
                continue;
            }
            match (word, word.split_once('=')) {
                ("eager", _) => options.schedule = Schedule::Eager,
                ("lazy", _) => options.schedule = Schedule::Lazy,
                ("unchecked", _) => options.sanitizers = Sanitizers::NONE,
                (_, Some(("sms", number))) => match number.parse() {
                    Ok(sms @ 1..) => options.sms = Some(sms),
                    _ => return Err(format!("`{number}` is no number of multiprocessors: sms=NUMBER takes one from 1")),
                },
                (_, Some((kind @ ("random" | "lazy-random"), seed))) => match seed.parse() {
                    Ok(seed) if kind == "random" => options.schedule = Schedule::Random(seed),
                    Ok(seed) => options.schedule = Schedule::LazyRandom(seed),
                    Err(_) => return Err(format!("`{seed}` is no seed: {kind}=SEED takes a number")),
                },
                _ => {
                    return Err(format!(
                        "the emulator has no option `{word}`: there are sm_80, sm_86, sm_89, sm_90, sm_90a, eager, lazy, random=SEED, lazy-random=SEED, sms=NUMBER and unchecked"
                    ));
                }
            }
        }
        Ok(options)
    }

    /// The words that [`EmulatorOptions::parse`] reads.
    pub(crate) fn words(&self) -> String {
        let mut text = self.target.name();
        match self.schedule {
            Schedule::Lazy => {}
            Schedule::Eager => text.push_str(",eager"),
            Schedule::Random(seed) => text.push_str(&format!(",random={seed}")),
            Schedule::LazyRandom(seed) => text.push_str(&format!(",lazy-random={seed}")),
        }
        if self.sanitizers == Sanitizers::NONE {
            text.push_str(",unchecked");
        }
        if let Some(sms) = self.sms {
            text.push_str(&format!(",sms={sms}"));
        }
        text
    }

    /// Multiprocessors: those that are said, else those of a usual product of the architecture (A100, GA102, AD102, H100).
    pub(crate) fn multiprocessors(&self) -> i64 {
        if let Some(sms) = self.sms {
            return i64::from(sms);
        }
        match self.target.sm {
            80 => 108,
            86 => 84,
            89 => 142,
            _ => 132,
        }
    }

    fn launch_options(&self, resident_ctas: u32) -> Options {
        Options {
            schedule: self.schedule,
            sanitizers: self.sanitizers,
            // A seed is there to see the same run again.
            deterministic: matches!(self.schedule, Schedule::Random(_) | Schedule::LazyRandom(_)),
            counters: self.counters,
            limits: Limits { resident_ctas, ..Limits::default() },
        }
    }
}

/// A kernel that the emulator has read.
pub(crate) struct EmulatedKernel {
    /// The PTX and what a launch needs to know.
    pub artifact: Arc<PtxArtifact>,
    /// Machines that have the module and are not in use. A launch takes one, or makes one where none is left.
    idle: Mutex<Vec<(Machine, ModuleId)>>,
}

impl EmulatedKernel {
    /// Reads the PTX.
    pub fn load(artifact: Arc<PtxArtifact>) -> Result<EmulatedKernel, Error> {
        let kernel = EmulatedKernel { artifact, idle: Mutex::default() };
        let machine = kernel.machine()?;
        kernel.put_back(machine);
        Ok(kernel)
    }

    fn machine(&self) -> Result<(Machine, ModuleId), Error> {
        let idle = self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).pop();
        if let Some(machine) = idle {
            return Ok(machine);
        }
        let name = self.artifact.target.name();
        let arch = Arch::from_name(&name).ok_or_else(|| Error::Device(format!("the emulator is no {name}")))?;
        let mut machine = Machine::new(arch);
        let module = machine.load_ptx(&self.artifact.ptx).map_err(|e| refused(&self.artifact.name, &e))?;
        Ok((machine, module))
    }

    fn put_back(&self, machine: (Machine, ModuleId)) {
        self.idle.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(machine);
    }
}

/// PTX or a launch that the emulator does not take: a gap of ours, never the user's mistake.
fn refused(kernel: &str, error: &kiln_emulator::Error) -> Error {
    Error::Internal(format!("the emulator refuses kernel `{kernel}`: {error}"))
}

impl Memory for Machine {
    fn alloc(&mut self, bytes: u64) -> Result<u64, Error> {
        Machine::alloc(self, bytes).map_err(|e| Error::Device(format!("the emulator: {e}")))
    }

    fn write(&mut self, to: u64, bytes: &[u8]) -> Result<(), Error> {
        Machine::write(self, to, bytes).map_err(|e| Error::Device(format!("the emulator: {e}")))
    }

    fn read(&mut self, from: u64, to: &mut [u8]) -> Result<(), Error> {
        let bytes: Vec<u8> = Machine::read(self, from, to.len()).map_err(|e| Error::Internal(format!("reading back: {e}")))?;
        to.copy_from_slice(&bytes);
        Ok(())
    }

    fn free(&mut self, at: u64) {
        let freed = Machine::free(self, at);
        debug_assert!(freed.is_ok(), "every block is freed once");
    }
}

/// Memory that kernels use besides their arguments.
struct Hidden {
    prints: Option<u64>,
    counter: Option<u64>,
    /// 16 bytes of zeros, where there are tensor maps.
    zeros: Option<u64>,
}

impl Hidden {
    fn make(artifact: &PtxArtifact, machine: &mut Machine) -> Result<Hidden, Error> {
        let has = |param| artifact.params.contains(&param);
        let mut upload = |wanted: bool, words: &[u64]| -> Result<Option<u64>, Error> {
            let made = wanted.then(|| machine.upload(words)).transpose();
            made.map_err(|e| Error::Device(format!("the emulator: {e}")))
        };
        let mut buffer = vec![0u64; (PRINT_HEAD + PRINT_BYTES) / 8];
        buffer[1] = PRINT_BYTES as u64;
        let maps = artifact.params.iter().any(|p| matches!(p, PtxParam::TensorMap(_)));
        Ok(Hidden {
            prints: upload(has(PtxParam::PrintBuffer), &buffer)?,
            counter: upload(has(PtxParam::GridCounter), &[0])?,
            zeros: upload(maps, &[0; 2])?,
        })
    }

    fn free(self, machine: &mut Machine) {
        self.prints.into_iter().chain(self.counter).chain(self.zeros).for_each(|base| Memory::free(machine, base));
    }
}

/// What a launch came to.
pub(crate) enum Ran {
    Done(Report),
    Failed(Failure),
}

impl EmulatedKernel {
    /// Runs the whole grid.
    ///
    /// # Safety
    /// The plan is that of the arguments, whose memory is held; raw pointers are valid.
    pub unsafe fn run(
        &self,
        compiled: &CompiledKernel,
        name: &str,
        args: &[Arg<'_>],
        plan: &Plan,
        options: &EmulatorOptions,
    ) -> Result<Ran, Error> {
        let grid = launch_grid(name, self.artifact.grid, plan, options.multiprocessors())?;
        if plan.programs == 0 {
            return Ok(Ran::Done(Report::default()));
        }
        // SAFETY: the caller's promise.
        let mut regions = unsafe { Regions::of(args, plan, Follow::All)? };
        let (mut machine, module) = self.machine()?;
        // SAFETY: the caller's promise.
        unsafe { regions.copy_in(&mut machine)? };
        let slots = plan
            .slots(args, |address| regions.to_device(address))
            .map_err(|i| Error::Internal(format!("argument {} does not fit, but was bound", i + 1)))?;
        let hidden = Hidden::make(&self.artifact, &mut machine)?;
        let launch = kiln_emulator::Launch {
            grid,
            block: [32 * self.artifact.num_warps, 1, 1],
            cluster: None,
            smem: self.artifact.shared_bytes,
            params: self.params(&slots, plan, options, &hidden)?,
        };
        let resident = self.resident(name, options, plan, hidden.counter.is_some())?;
        let result = machine.launch(module, &self.artifact.name, &launch, &options.launch_options(resident));
        // What was printed before a fault helps to understand it.
        if let Some(buffer) = hidden.prints {
            let bytes: Vec<u8> =
                machine.read(buffer, PRINT_HEAD + PRINT_BYTES).map_err(|e| Error::Internal(format!("reading prints: {e}")))?;
            compiled.show_prints(name, plan.grid, &bytes)?;
        }
        let ran = match result {
            Ok(report) => {
                // SAFETY: the caller's promise.
                unsafe { regions.copy_out(&mut machine)? };
                Ok(Ran::Done(report))
            }
            Err(kiln_emulator::Error::Fault(fault)) => self.fault(compiled, name, *fault, plan),
            Err(error) => Err(refused(name, &error)),
        };
        regions.free(&mut machine);
        hidden.free(&mut machine);
        self.put_back((machine, module));
        ran
    }

    /// The entry's parameters.
    fn params(
        &self,
        slots: &[u64],
        plan: &Plan,
        options: &EmulatorOptions,
        hidden: &Hidden,
    ) -> Result<Vec<kiln_emulator::Arg>, Error> {
        let bound = slots;
        let mut slots = slots.iter();
        self.artifact
            .params
            .iter()
            .map(|param| {
                let word = match *param {
                    PtxParam::TensorMap(map) => {
                        let bytes = tensor_map(&map, &self.artifact.params, bound, hidden.zeros)?;
                        return Ok(kiln_emulator::Arg::Bytes(bytes));
                    }
                    PtxParam::GridExtent(axis) => plan.grid[usize::from(axis)] as u64,
                    PtxParam::NumSms => options.multiprocessors() as u64,
                    PtxParam::PrintBuffer => hidden.prints.unwrap_or(0),
                    PtxParam::GridCounter => hidden.counter.unwrap_or(0),
                    PtxParam::Base(_) | PtxParam::Dim { .. } | PtxParam::Stride { .. } | PtxParam::Value { .. } => *slots
                        .next()
                        .ok_or_else(|| Error::Internal("the kernel has more parameters than the launch".to_owned()))?,
                };
                Ok(kiln_emulator::Arg::Bytes(word.to_le_bytes()[..param.bytes() as usize].to_vec()))
            })
            .collect()
    }

    /// Programs that the emulator keeps in flight: all of them where they wait for each other, which a GPU of this kind must have room for.
    fn resident(&self, name: &str, options: &EmulatorOptions, plan: &Plan, all: bool) -> Result<u32, Error> {
        let usual = Limits::default().resident_ctas;
        if !all {
            return Ok(usual);
        }
        let by_threads = 2048 / (32 * self.artifact.num_warps);
        let by_shared = options.target.shared_bytes().checked_div(self.artifact.shared_bytes).unwrap_or(32);
        let room = i64::from(by_threads.min(by_shared).clamp(1, 32)) * options.multiprocessors();
        if plan.programs > room {
            return Err(Error::Device(format!(
                "kernel `{name}` waits for its whole grid of {} programs, of which {} holds {room} at once; make the grid smaller (`num_sms()`)",
                plan.programs,
                options.target.name()
            )));
        }
        Ok(usual.max(plan.programs as u32))
    }

    /// A failed assertion of the kernel, or a fault as an error.
    fn fault(&self, compiled: &CompiledKernel, name: &str, fault: Fault, plan: &Plan) -> Result<Ran, Error> {
        let program = self.artifact.grid.program(fault.cta, &plan.grid).unwrap_or(-1);
        if fault.kind == FaultKind::Trap
            && let Some(assert) = compiled.asserts.iter().position(|info| {
                // `file.kiln:12:5`, of which PTX has file and line.
                let line = info.place.rsplit_once(':').map_or("?:0", |(line, _)| line);
                fault.message.starts_with(&format!("assertion `{}` failed at {line} in ", info.message))
            })
        {
            return Ok(Ran::Failed(Failure { assert: assert as u32, program }));
        }
        let program = crate::compiled::index_text(program, plan.grid);
        Err(Error::Fault(Box::new(DeviceFault { kernel: name.to_owned(), program, fault })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_written() {
        for text in
            ["sm_90a", "sm_80,eager", "sm_86,random=7", "sm_89,unchecked", "sm_90,random=0,unchecked", "sm_90a,eager,sms=3"]
        {
            assert_eq!(EmulatorOptions::parse(text).unwrap().words(), text);
        }
        assert_eq!(EmulatorOptions::parse("lazy").unwrap(), EmulatorOptions::default());
        for wrong in ["", "sm_70", "sm_87", "random", "random=x", "sms", "sms=0", "fast", "sm_80;eager"] {
            assert!(EmulatorOptions::parse(wrong).is_err(), "{wrong}");
        }
    }
}
