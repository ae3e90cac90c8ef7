//! Streams and graphs: copies that overlap with kernels in two streams, and a chain of launches that is captured once and replayed, both against f64.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use dsl_examples::data::{Random, floats};
use dsl_examples::{Errors, Runner, ULP, Work, kernel};
use kiln::{AnyTensor, Device, Kernel, Stream, Tensor};

pub fn main() -> ExitCode {
    dsl_examples::main(|runner| {
        for (chunks, elements) in [(1, 1), (2, 1000), (7, 5000)] {
            overlapped(runner, chunks, elements)?;
        }
        for (elements, steps) in [(1, 2), (1000, 8), (5000, 16)] {
            replayed(runner, elements, steps)?;
        }
        if runner.large() {
            overlapped(runner, 16, 1 << 22)?;
            replayed(runner, 1 << 16, 64)?;
        }
        Ok(())
    })
}

/// A part of the work: inputs and result in memory of the host that copies can run beside, and tensors on the device.
struct Chunk {
    x: AnyTensor,
    y: AnyTensor,
    x_there: AnyTensor,
    y_there: AnyTensor,
    result: AnyTensor,
}

impl Chunk {
    fn new(device: &Device, x: &Tensor<f32>, y: &Tensor<f32>) -> Result<Chunk> {
        let locked = || AnyTensor::locked(device, kiln::ScalarType::F32, x.dims());
        let there = || AnyTensor::zeros_on(device, kiln::ScalarType::F32, x.dims());
        let mut chunk = Chunk { x: locked()?, y: locked()?, x_there: there()?, y_there: there()?, result: locked()? };
        chunk.x.copy_from(x)?;
        chunk.y.copy_from(y)?;
        Ok(chunk)
    }

    /// In, computed, out: in this order, as all of it is given to one stream.
    fn enqueue(&mut self, axpy: &Kernel, device: &Device, a: f32, stream: &Stream) -> Result<()> {
        stream.copy(&self.x, &mut self.x_there)?;
        stream.copy(&self.y, &mut self.y_there)?;
        axpy.on(device).arg(&self.x_there).arg(&mut self.y_there).arg(a).enqueue(stream)?;
        stream.copy(&self.y_there, &mut self.result)?;
        Ok(())
    }
}

/// `a x + y` in chunks, given to two streams in turn: while one computes, the other copies.
fn overlapped(runner: &mut Runner, chunks: usize, elements: i64) -> Result<()> {
    let (axpy, device, a) = (kernel("streams", "axpy")?, runner.device(), 3.5f32);
    let streams = [Stream::new(&device)?, Stream::new(&device)?];
    let mut random = Random::new(elements as u64);
    let inputs = (0..chunks)
        .map(|_| Ok((random.tensor::<f32>(&[elements])?, random.tensor::<f32>(&[elements])?)))
        .collect::<Result<Vec<_>>>()?;
    let mut parts = inputs.iter().map(|(x, y)| Chunk::new(&device, x, y)).collect::<Result<Vec<_>>>()?;
    let mut time = Duration::ZERO;
    // The first round compiles.
    for _ in 0..2 {
        let start = streams[0].record()?;
        for (number, part) in parts.iter_mut().enumerate() {
            part.enqueue(&axpy, &device, a, &streams[number % 2])?;
        }
        // The first stream waits for the second, so that its event is behind both.
        streams[0].wait(&streams[1].record()?)?;
        let end = streams[0].record()?;
        streams.iter().try_for_each(Stream::synchronize)?;
        time = end.since(&start)?;
    }
    let mut errors = Errors::default();
    for (number, (part, (x, y))) in parts.iter().zip(&inputs).enumerate() {
        let found: Tensor<f32> = part.result.clone().try_into()?;
        for (i, ((found, x), y)) in floats(&found)?.into_iter().zip(floats(x)?).zip(floats(y)?).enumerate() {
            let product = f64::from(a) * x;
            // Two roundings: of the product, and of the sum.
            let allowed = (product.abs() + (product + y).abs()) * ULP;
            errors.see(format_args!("chunk {number}, [{i}]"), found, product + y, allowed);
        }
    }
    let bytes = 3 * chunks * elements as usize * size_of::<f32>();
    runner.row(&format!("{chunks} x {elements}, two streams"), &errors, time, Work::Bytes(bytes))
}

/// How often the chain is replayed.
const REPLAYS: usize = 3;

/// A chain of `steps` launches, replayed: as a graph where the device has them, else launch by launch.
fn replayed(runner: &mut Runner, elements: i64, steps: usize) -> Result<()> {
    let (smooth, device) = (kernel("streams", "smooth")?, runner.device());
    let start = Random::new(steps as u64).tensor::<f32>(&[elements])?;
    // Not the input itself, which the chain would overwrite on the CPU.
    let (mut x, mut y) = (start.deep_clone()?.to(&device)?, Tensor::<f32>::zeros_on(&device, &[elements])?);
    let stream = Stream::new(&device)?;
    smooth.on(&device).arg(&x).arg(&mut y).prepare()?;
    smooth.on(&device).arg(&y).arg(&mut x).prepare()?;
    let mut chain = |stream: &Stream| -> Result<(), kiln::Error> {
        for _ in 0..steps / 2 {
            smooth.on(&device).arg(&x).arg(&mut y).enqueue(stream)?;
            smooth.on(&device).arg(&y).arg(&mut x).enqueue(stream)?;
        }
        Ok(())
    };
    let graph = device.cuda_info().map(|_| stream.capture(&mut chain)).transpose()?;
    let begin = stream.record()?;
    for _ in 0..REPLAYS {
        match &graph {
            Some(graph) => graph.launch(&stream)?,
            None => chain(&stream)?,
        }
    }
    let end = stream.record()?;
    stream.synchronize()?;
    let time = end.since(&begin)?;

    let total = steps / 2 * 2 * REPLAYS;
    let mut expected = floats(&start)?;
    for _ in 0..total {
        let at = |i: usize| expected.get(i).copied().unwrap_or(0.0);
        expected = (0..expected.len()).map(|i| (at(i.wrapping_sub(1)) + 2.0 * at(i) + at(i + 1)) / 4.0).collect();
    }
    // Means do not grow: a step adds at most the two roundings of its sums, of numbers of at most twice and four times the largest, divided by four.
    let largest = floats(&start)?.into_iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let mut errors = Errors::default();
    for (i, (found, expected)) in floats(&x)?.into_iter().zip(expected).enumerate() {
        errors.see(format_args!("[{i}]"), found, expected, total as f64 * 1.5 * largest * ULP / 2.0);
    }
    let how = if graph.is_some() { "graph" } else { "launches" };
    let bytes = 2 * total * elements as usize * size_of::<f32>();
    runner.row(&format!("{elements}, {total} steps, {how}"), &errors, time, Work::Bytes(bytes))
}
