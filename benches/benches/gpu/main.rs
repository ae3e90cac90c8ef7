//! What a launch on a GPU costs the host, beside the bare call of the driver with the same kernel and parameters, in one run.
//!
//! Without a GPU it starts itself again on the stand-in driver of the tests in its `noop` mode, where the driver's call does nothing: what is left is Kiln's own part.
//! Launches go to a stream in batches that the driver's queue holds; waiting for them is not part of their time.

use std::ffi::{CString, c_void};
use std::process::{Command, ExitCode};
use std::time::Instant;

use clap::Parser;
use cudarc::driver::sys;
use kiln::{Device, Error, Kernel, Program, ProgramOptions, Stream, Tensor};
use kiln_benches::sample::Sample;
use kiln_tests::stand_in;

#[derive(Parser)]
struct Options {
    /// One JSON object a row, instead of a table
    #[arg(long)]
    json: bool,
    /// Few rounds: whether it works
    #[arg(long)]
    quick: bool,
    /// What cargo passes on
    #[arg(long, hide = true)]
    bench: bool,
}

const SOURCE: &str = "
kernel add(x: tensor<f32, [N]>, y: tensor<f32, [N]>, z: mut tensor<f32, [N]>, scale: f32 = 1.0) grid [cdiv(N, 128)] {
    let i = program_id(0) * 128;
    z[i..+128] = x[i..+128] + y[i..+128] * scale;
}
";

/// Elements: a grid of 8 programs.
const N: i64 = 1024;
/// Launches of a batch: fewer than the driver queues without waiting.
const BATCH: u32 = 200;
/// Launches of the graph.
const GRAPH: u32 = 20;
/// Set where this program runs on the stand-in.
const STAND_IN: &str = "KILN_BENCH_STAND_IN";

fn main() -> ExitCode {
    let options = Options::parse();
    let device = match Device::cuda(0) {
        Ok(device) => device,
        Err(why) if std::env::var_os(STAND_IN).is_some() => return failed(&why.to_string()),
        Err(why) => {
            let mut command = Command::new(std::env::current_exe().expect("a program has a path"));
            command.args(std::env::args_os().skip(1)).env(STAND_IN, "1");
            if !stand_in::give_to(&mut command, "noop", false) {
                return failed(&why.to_string());
            }
            let status = command.status().expect("this program starts");
            return ExitCode::from(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1));
        }
    };
    match measure(&device, if options.quick { 3 } else { 50 }) {
        Ok(rows) => {
            show(&device, &rows, options.json);
            ExitCode::SUCCESS
        }
        Err(why) => failed(&why),
    }
}

fn failed(why: &str) -> ExitCode {
    eprintln!("error: {why}");
    ExitCode::FAILURE
}

/// A name, and seconds of single launches.
type Row = (String, Sample);

fn measure(device: &Device, rounds: u32) -> Result<Vec<Row>, String> {
    let text = |e: Error| e.to_string();
    let memory = |e: kiln::TensorError| e.to_string();
    let kernel = Program::from_source_with("add.kiln", SOURCE, ProgramOptions::without_cache())
        .and_then(|p| p.kernel("add"))
        .map_err(text)?;
    let make = || Tensor::<f32>::zeros_on(device, &[N]).map_err(memory);
    let (x, y, mut z) = (make()?, make()?, make()?);
    let stream = Stream::new(device).map_err(text)?;
    let mut bare = Bare::new(&kernel, device, &x, &y, &mut z)?;
    kernel.on(device).arg(&x).arg(&y).arg(&mut z).arg(2.0f32).enqueue(&stream).map_err(text)?;
    let graph = stream
        .capture(|stream| {
            (0..GRAPH).try_for_each(|_| kernel.on(device).arg(&x).arg(&y).arg(&mut z).arg(2.0f32).enqueue(stream).map(drop))
        })
        .map_err(text)?;
    stream.synchronize().map_err(text)?;

    let names = ["bare cuLaunchKernel", "Launch::enqueue", "Launch::run, with the wait", "Graph::launch, a kernel of 20"];
    let mut rows: Vec<Row> = names.map(|name| (name.to_owned(), Sample::default())).into();
    for _ in 0..rounds {
        // One after the other in every round, so that what disturbs the machine disturbs all of them.
        let start = Instant::now();
        (0..BATCH).try_for_each(|_| bare.launch())?;
        rows[0].1.extend([start.elapsed().as_secs_f64() / f64::from(BATCH)]);
        bare.synchronize()?;

        let start = Instant::now();
        for _ in 0..BATCH {
            kernel.on(device).arg(&x).arg(&y).arg(&mut z).arg(2.0f32).enqueue(&stream).map_err(text)?;
        }
        rows[1].1.extend([start.elapsed().as_secs_f64() / f64::from(BATCH)]);
        stream.synchronize().map_err(text)?;

        let start = Instant::now();
        for _ in 0..BATCH / 10 {
            kernel.on(device).arg(&x).arg(&y).arg(&mut z).arg(2.0f32).run().map_err(text)?;
        }
        rows[2].1.extend([start.elapsed().as_secs_f64() / f64::from(BATCH / 10)]);

        let start = Instant::now();
        for _ in 0..BATCH / GRAPH {
            graph.launch(&stream).map_err(text)?;
        }
        rows[3].1.extend([start.elapsed().as_secs_f64() / f64::from(BATCH)]);
        stream.synchronize().map_err(text)?;
    }
    Ok(rows)
}

fn show(device: &Device, rows: &[Row], json: bool) {
    let name = device.cuda_info().map_or_else(String::new, |info| info.name.clone());
    if !json {
        println!("A launch of three tensors and a number on {name}, microseconds\n\n{:<32}  median   least", "");
    }
    for (what, sample) in rows {
        let (median, least) = (sample.median() * 1e6, sample.min() * 1e6);
        if json {
            println!("{{\"name\": \"{what}\", \"median_microseconds\": {median}, \"least_microseconds\": {least}}}");
        } else {
            println!("{what:<32}  {median:>6.2}  {least:>6.2}");
        }
    }
}

/// The same kernel by the driver's own functions.
struct Bare {
    function: sys::CUfunction,
    stream: sys::CUstream,
    blocks: u32,
    threads: u32,
    shared: u32,
    values: Vec<u64>,
}

fn check(code: sys::CUresult) -> Result<(), String> {
    if code == sys::CUresult::CUDA_SUCCESS { Ok(()) } else { Err(format!("the driver: {code:?}")) }
}

impl Bare {
    fn new(kernel: &Kernel, device: &Device, x: &Tensor<f32>, y: &Tensor<f32>, z: &mut Tensor<f32>) -> Result<Bare, String> {
        let launched = kernel.on(device).arg(x).arg(y).arg(&mut *z).arg(2.0f32).prepare().map_err(|e| e.to_string())?;
        let artifact = launched.compiled().ptx().ok_or("no PTX")?;
        let tensors = [x.address(), y.address(), z.address()];
        let mut values: Vec<u64> = tensors.iter().flat_map(|&address| [address, N as u64, 1]).collect();
        values.push(u64::from(2.0f32.to_bits()));
        if values.len() != artifact.params.len() {
            return Err(format!("the kernel has {} parameters, {} were expected", artifact.params.len(), values.len()));
        }
        let text = CString::new(artifact.ptx.as_str()).map_err(|e| e.to_string())?;
        let name = CString::new(artifact.name.as_str()).map_err(|e| e.to_string())?;
        let (mut module, mut function, mut stream) = (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: Kiln made the GPU's context this thread's; out pointers are valid, texts end with a zero.
        unsafe {
            check(sys::cuModuleLoadDataEx(&raw mut module, text.as_ptr().cast(), 0, std::ptr::null_mut(), std::ptr::null_mut()))?;
            check(sys::cuModuleGetFunction(&raw mut function, module, name.as_ptr()))?;
            check(sys::cuStreamCreate(&raw mut stream, 1))?;
        }
        let blocks = launched.grid()[0] as u32;
        Ok(Bare { function, stream, blocks, threads: 32 * artifact.num_warps, shared: artifact.shared_bytes, values })
    }

    fn launch(&mut self) -> Result<(), String> {
        let mut params: [*mut c_void; 16] = [std::ptr::null_mut(); 16];
        for (param, value) in params.iter_mut().zip(&mut self.values) {
            *param = std::ptr::from_mut(value).cast();
        }
        // SAFETY: as many values as the kernel has parameters, of tensors that live.
        check(unsafe {
            sys::cuLaunchKernel(
                self.function,
                self.blocks,
                1,
                1,
                self.threads,
                1,
                1,
                self.shared,
                self.stream,
                params.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        })
    }

    fn synchronize(&self) -> Result<(), String> {
        // SAFETY: the stream lives.
        check(unsafe { sys::cuStreamSynchronize(self.stream) })
    }
}
