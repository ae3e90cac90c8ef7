//! Compiles a source once, runs its kernels under several schedules, and makes test data.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use kiln_emulator::{Arch, Arg, Error, Launch, Machine, ModuleId, Options, Report, Schedule};

/// The schedules that every correct kernel must survive.
pub const SCHEDULES: [Schedule; 4] = [Schedule::Eager, Schedule::Lazy, Schedule::Random(1), Schedule::Random(0xfeed)];

/// PTX of a source for an architecture, compiled once a test run.
pub fn ptx(source: &'static str, arch: &str) -> &'static str {
    static DONE: OnceLock<Mutex<HashMap<(usize, String), &'static str>>> = OnceLock::new();
    let key = (source.as_ptr() as usize, arch.to_owned());
    let mut done = DONE.get_or_init(Mutex::default).lock().unwrap_or_else(|e| e.into_inner());
    done.entry(key).or_insert_with(|| Box::leak(crate::nvrtc::compile(source, arch).into_boxed_str()))
}

/// A machine with one module loaded.
pub struct Gpu {
    pub machine: Machine,
    pub module: ModuleId,
    pub options: Options,
}

impl Gpu {
    pub fn new(source: &'static str, arch: Arch, schedule: Schedule) -> Gpu {
        Gpu::of(ptx(source, &arch.to_string()), arch, schedule)
    }

    pub fn of(ptx: &str, arch: Arch, schedule: Schedule) -> Gpu {
        let mut machine = Machine::new(arch);
        let module = machine.load_ptx(ptx).unwrap_or_else(|e| panic!("{e}"));
        Gpu { machine, module, options: Options { schedule, ..Options::default() } }
    }

    pub fn up<T: bytemuck::NoUninit>(&mut self, values: &[T]) -> u64 {
        self.machine.upload(values).expect("room")
    }

    pub fn down<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(&self, ptr: u64, n: usize) -> Vec<T> {
        self.machine.read(ptr, n).expect("in bounds")
    }

    pub fn try_run(
        &mut self,
        kernel: &str,
        grid: [u32; 3],
        block: [u32; 3],
        smem: u32,
        params: Vec<Arg>,
    ) -> Result<Report, Error> {
        let launch = Launch { grid, block, cluster: None, smem, params };
        self.machine.launch(self.module, kernel, &launch, &self.options)
    }

    pub fn run(&mut self, kernel: &str, grid: u32, block: u32, params: Vec<Arg>) -> Report {
        self.try_run(kernel, [grid, 1, 1], [block, 1, 1], 0, params).unwrap_or_else(|e| panic!("{kernel}: {e}"))
    }
}

/// Pseudo-random 64-bit values.
pub fn noise(seed: u64, n: usize) -> Vec<u64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..n)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d)
        })
        .collect()
}

/// Values between -range and range.
pub fn floats(seed: u64, n: usize, range: f32) -> Vec<f32> {
    noise(seed, n).iter().map(|x| ((x >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * range).collect()
}

/// Largest difference, relative to 1 and to the size of the expected value.
pub fn error(got: &[f32], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    got.iter().zip(want).map(|(g, w)| (f64::from(*g) - w).abs() / w.abs().max(1.0)).fold(0.0, f64::max)
}
