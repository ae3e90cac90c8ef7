//! The emulator as a device of the runtime: what it reports, and what only it and a GPU can do.

mod attention;
mod attention_backward;
mod attention_packed;
mod fused_products;
mod reductions;
mod schedules;
mod tune_space;
mod wide;

use kiln::emulator::FaultKind;
use kiln::{AnyTensor, Device, Error, Kernel, Program, ProgramOptions, ScalarType, Tensor};

fn kernel(text: &str) -> Kernel {
    let program = Program::from_source_with("k.kiln", text, ProgramOptions::without_cache()).unwrap_or_else(|e| panic!("{e}"));
    program.kernel("k").unwrap_or_else(|e| panic!("{e}"))
}

fn device(name: &str) -> Device {
    Device::from_name(name).unwrap_or_else(|e| panic!("{e}"))
}

const SCHEDULES: [&str; 4] = ["emulator:eager", "emulator", "emulator:random=1", "emulator:sm_80,random=2"];

#[test]
fn results_are_those_of_the_cpu() {
    let softmax = kernel(
        "use std::math::exp;\nkernel k(x: tensor<f32, [M, N]>, y: mut tensor<f32, [M, N]>) grid [M] {\n    let row = x[program_id(0), 0..+128].or(-inf);\n    \
         let e = exp(row - max(row));\n    y[program_id(0), 0..+128] = e / sum(e);\n}\n",
    );
    let x = Tensor::<f32>::from_fn(&[5, 100], |i| (i * 37 % 101) as f32 / 7.0).unwrap();
    let run = |device: &Device| {
        let mut y = Tensor::<f32>::zeros(&[5, 100]).unwrap();
        softmax.on(device).arg(&x).arg(&mut y).run().unwrap_or_else(|e| panic!("{e}"));
        y.to_vec().unwrap()
    };
    let cpu = run(&Device::cpu().unwrap());
    for name in SCHEDULES {
        for (a, b) in cpu.iter().zip(run(&device(name))) {
            // The order of a sum is the device's own.
            assert!((a - b).abs() <= 1e-6 * a.abs(), "{name}: {a} {b}");
        }
    }
}

#[test]
fn failed_assertions_are_those_of_the_cpu() {
    let k = kernel(
        "kernel k(x: mut tensor<f32, [N]>) grid [N] {\n    let i = program_id(0);\n    assert(x[i] < 3.0, \"too large\");\n    x[i] = 0.0;\n}\n",
    );
    let fail = |device: &Device| {
        let mut x = Tensor::<f32>::from_fn(&[4], |i| i as f32).unwrap();
        let error = k.on(device).arg(&mut x).run().unwrap_err();
        let Error::Assertion { kernel, message, place, program } = error else { panic!("{error}") };
        (kernel, message, place, program)
    };
    let expected = fail(&Device::cpu().unwrap());
    assert_eq!(expected.3, "3");
    assert_eq!(fail(&Device::emulator()), expected);
}

#[test]
fn an_access_out_of_bounds_names_kernel_program_and_line() {
    let k = kernel("kernel k(x: mut ptr<f32>, n: i32) grid [3] {\n    let p = x + program_id(0) * n;\n    store(p, 1.0);\n}\n");
    let x = AnyTensor::zeros(ScalarType::F32, &[10]).unwrap();
    let launch = |n: i32| {
        let emulator = Device::emulator();
        // SAFETY: the tensor lives on; the emulator keeps the kernel within it.
        unsafe { k.on(&emulator).pointer(ScalarType::F32, x.address()) }.arg(n).run()
    };
    launch(4).unwrap();
    let error = launch(5).unwrap_err();
    let text = error.to_string();
    let Error::Fault(fault) = error else { panic!("{text}") };
    assert_eq!((fault.kernel.as_str(), fault.program.as_str()), ("k", "2"));
    assert_eq!(fault.fault.kind, FaultKind::OutOfBounds);
    assert!(text.contains("K1017") && text.contains("k.kiln:3"), "{text}");
    // The first launch wrote elements 0, 4 and 8; the second none.
    let values: Vec<f32> = x.typed().unwrap().to_vec().unwrap();
    assert_eq!(values.iter().positions(), [0, 4, 8]);
}

trait Positions {
    fn positions(self) -> Vec<usize>;
}

impl<'a, I: Iterator<Item = &'a f32>> Positions for I {
    /// Where the numbers are not 0.
    fn positions(self) -> Vec<usize> {
        self.enumerate().filter(|(_, v)| **v != 0.0).map(|(i, _)| i).collect()
    }
}

#[test]
fn programs_that_race_are_told() {
    let k = kernel("kernel k(x: mut tensor<i32, [1]>) grid [4] {\n    x[0] = x[0] + 1;\n}\n");
    let mut x = Tensor::<i32>::zeros(&[1]).unwrap();
    let error = k.on(&Device::emulator()).arg(&mut x).run().unwrap_err();
    let Error::Fault(fault) = &error else { panic!("{error}") };
    assert_eq!(fault.fault.kind, FaultKind::GlobalRace, "{error}");
    assert_eq!(x.to_vec().unwrap(), [0]);
}

#[test]
fn pointers_lead_into_memory_of_tensors_only() {
    let k = kernel("kernel k(x: ptr<f32>, y: mut tensor<f32, [1]>) grid [1] {\n    y[0] = load(x);\n}\n");
    let mut y = Tensor::<f32>::zeros(&[1]).unwrap();
    let emulator = Device::emulator();
    // SAFETY: the launch is refused before anything is read.
    let error = unsafe { k.on(&emulator).pointer(ScalarType::F32, 64) }.arg(&mut y).run().unwrap_err();
    assert!(error.to_string().contains("argument 1 is 0x40"), "{error}");
}

#[test]
fn tensors_of_pointers_are_followed() {
    let k = kernel(
        "kernel k(from: tensor<ptr<f32>, [N]>, to: tensor<mut ptr<f32>, [N]>) grid [N] {\n    let i = program_id(0);\n    \
         store(to[i] + arange(0, 4), load(from[i] + arange(0, 4)) * 2.0);\n}\n",
    );
    let parts: Vec<AnyTensor> = (0..3).map(|p| Tensor::<f32>::from_fn(&[4], |i| (10 * p + i) as f32).unwrap().into()).collect();
    let results: Vec<AnyTensor> = (0..3).map(|_| AnyTensor::zeros(ScalarType::F32, &[4]).unwrap()).collect();
    let addresses = |list: &[AnyTensor]| list.iter().map(AnyTensor::address).collect::<Vec<u64>>();
    // SAFETY: the tensors outlive the launch, and the kernel stays within them.
    let (from, mut to) = unsafe {
        (
            AnyTensor::from_addresses(ScalarType::F32, false, &addresses(&parts)),
            AnyTensor::from_addresses(ScalarType::F32, true, &addresses(&results)),
        )
    };
    k.on(&Device::emulator()).arg(&from).arg(&mut to).run().unwrap_or_else(|e| panic!("{e}"));
    for (p, result) in results.iter().enumerate() {
        let expected: Vec<f32> = (0..4).map(|i| 2.0 * (10 * p + i) as f32).collect();
        assert_eq!(result.typed::<f32>().unwrap().to_vec().unwrap(), expected);
    }
}

/// Every program reads what another one wrote before the wait, twice.
#[test]
fn a_grid_waits_for_itself() {
    let k = kernel(
        "#[schedule(cooperative)]\nkernel k(x: mut tensor<i32, [N]>, y: mut tensor<i32, [N]>) grid [N] {\n    let i = program_id(0);\n    x[i] = i as i32;\n    \
         grid_sync();\n    y[i] = x[num_programs(0) - 1 - i] + 1;\n    grid_sync();\n    x[i] = y[num_programs(0) - 1 - i] * 10;\n}\n",
    );
    for name in SCHEDULES {
        let (mut x, mut y) = (Tensor::<i32>::zeros(&[20]).unwrap(), Tensor::<i32>::zeros(&[20]).unwrap());
        k.on(&device(name)).arg(&mut x).arg(&mut y).run().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(x.to_vec().unwrap(), (0..20).map(|i| 10 * (i + 1)).collect::<Vec<i32>>(), "{name}");
    }
    let many = 1_000_000;
    let (mut x, mut y) = (Tensor::<i32>::zeros(&[many]).unwrap(), Tensor::<i32>::zeros(&[many]).unwrap());
    let error = k.on(&Device::emulator()).arg(&mut x).arg(&mut y).run().unwrap_err();
    assert!(error.to_string().contains("waits for its whole grid of 1000000 programs"), "{error}");
}

/// Two tensors in one launch of four programs, with bytes that share words with their neighbours.
#[test]
fn bytes_are_counted_atomically() {
    let k = kernel(
        "kernel k(x: mut tensor<u8, [5]>, y: mut tensor<bf16, [3]>) grid [40] {\n    atomic_add(x[program_id(0) % 5], 3);\n    atomic_add(y[program_id(0) % 3], 1.0);\n}\n",
    );
    for name in SCHEDULES {
        let mut x = Tensor::<u8>::zeros(&[5]).unwrap();
        let mut y = AnyTensor::zeros(ScalarType::BF16, &[3]).unwrap();
        k.on(&device(name)).arg(&mut x).arg(&mut y).run().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(x.to_vec().unwrap(), [24; 5], "{name}");
        // 14, 13 and 13 in bf16.
        assert_eq!(y.to_bytes().unwrap(), [0x60, 0x41, 0x50, 0x41, 0x50, 0x41], "{name}");
    }
}

#[test]
fn what_ran_can_be_looked_at() {
    let k =
        kernel("kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {\n    y[0..+1024] = x[0..+1024] * 2.0;\n}\n");
    let options = kiln::EmulatorOptions { counters: true, ..kiln::EmulatorOptions::default() };
    let (x, mut y) = (Tensor::<f32>::zeros(&[1024]).unwrap(), Tensor::<f32>::zeros(&[1024]).unwrap());
    let ran = k.on(&Device::emulator_with(options)).arg(&x).arg(&mut y).run().unwrap();
    assert!(ran.compiled().ptx().is_some());
    let counters = ran.emulation().and_then(|report| report.counters.as_ref()).expect("counters were asked for");
    // 4 KiB read and 4 KiB written, in whole sectors.
    assert_eq!((counters.total.global_bytes, counters.total.global_sectors), (8192, 256));
}
