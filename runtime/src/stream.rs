//! Streams: launches and copies that run beside the host, one behind the other; events between them; graphs of them.
//!
//! On a GPU a stream is the driver's. Streams order themselves by the tensors that they use: work that touches a tensor waits for work of other streams that it could
//! disturb, and `Tensor::to_vec` waits for whoever writes the tensor. Only what raw pointers lead to has to be ordered by hand, with events. On other devices a stream
//! runs everything at once, so that a program need not tell devices apart.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::cuda::event::RawEvent;
use crate::cuda::graph::RawGraph;
use crate::cuda::stream::{Pending, RawStream};
use crate::device::Device;
use crate::error::{Error, TensorError};
use crate::kernel::{Launch, Launched};
use crate::storage::OwnedHold;
use crate::tensor::AnyTensor;

/// A queue of work on a device. Dropping it waits for what it was given.
#[derive(Debug)]
pub struct Stream {
    device: Device,
    raw: Option<Arc<RawStream>>,
}

impl Stream {
    /// A new stream.
    ///
    /// # Errors
    /// Where the GPU was lost, or has 55 streams of this process already.
    pub fn new(device: &Device) -> Result<Stream, Error> {
        let raw = device.gpu().map(|gpu| RawStream::new(gpu, None)).transpose()?;
        Ok(Stream { device: device.clone(), raw })
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Waits for everything that the stream was given, and shows what its kernels printed.
    ///
    /// # Errors
    /// What went wrong in a kernel.
    pub fn synchronize(&self) -> Result<(), Error> {
        Ok(self.raw.as_ref().map_or(Ok(()), |raw| raw.synchronize())?)
    }

    /// Whether everything that the stream was given has ended.
    ///
    /// # Errors
    /// As [`Stream::synchronize`].
    pub fn is_idle(&self) -> Result<bool, Error> {
        Ok(self.raw.as_ref().map_or(Ok(true), |raw| raw.is_idle())?)
    }

    /// An event behind everything that the stream was given so far.
    ///
    /// # Errors
    /// Where the GPU was lost.
    pub fn record(&self) -> Result<Event, Error> {
        let Some(raw) = &self.raw else { return Ok(Event(Point::Host(Instant::now()))) };
        let event = RawEvent::new(raw.gpu)?;
        event.record(raw)?;
        Ok(Event(Point::Gpu(event)))
    }

    /// Has what the stream is given from here on wait for an event of any stream.
    ///
    /// # Errors
    /// Where the GPU was lost.
    pub fn wait(&self, event: &Event) -> Result<(), Error> {
        match (&self.raw, &event.0) {
            (Some(raw), Point::Gpu(event)) => Ok(event.hold_back(raw)?),
            (None, _) => event.synchronize(),
            // What ran at once is over.
            (Some(_), Point::Host(_)) => Ok(()),
        }
    }

    /// Copies a tensor's elements to another of the same type and shape; both dense, each on this stream's GPU or in the host's memory. Memory of the host is held
    /// until somebody waits for the stream; copies between the GPU and page-locked memory (`Tensor::locked`) run beside the host, others may not.
    ///
    /// # Errors
    /// Where types or shapes differ, a tensor is not dense, is in use, or lies elsewhere.
    pub fn copy(&self, from: &AnyTensor, to: &mut AnyTensor) -> Result<(), Error> {
        let shape = |message: String| Err(Error::from(TensorError::Shape(message)));
        if from.elem() != to.elem() || from.dims() != to.dims() {
            return shape(format!("a copy from {}{:?} to {}{:?}", from.elem(), from.dims(), to.elem(), to.dims()));
        }
        if !from.is_dense() || !to.is_dense() {
            return shape("copies of streams are between dense tensors: `deep_clone` makes one of a view".to_owned());
        }
        if from.is_empty() {
            return Ok(());
        }
        let (source, target) = (from.storage(), to.storage());
        let Some(raw) = &self.raw else {
            if source.device().is_some() || target.device().is_some() {
                return Err(
                    TensorError::Place(format!("a copy of a stream of {} with a tensor on a GPU", self.device.name())).into()
                );
            }
            return Ok(to.copy_from_bytes(&from.to_bytes()?)?);
        };
        for memory in [source.device(), target.device()].into_iter().flatten() {
            if !std::ptr::eq(memory.gpu, raw.gpu) {
                return Err(TensorError::Place(format!(
                    "a copy of a stream of {} with a tensor on {}",
                    self.device.name(),
                    memory.gpu.name()
                ))
                .into());
            }
        }
        let capturing = raw.capturing.load(Ordering::Relaxed);
        if source.device().is_none() && target.device().is_none() {
            return Ok(to.copy_from_bytes(&from.to_bytes()?)?);
        }
        if capturing && (source.device().is_none() || target.device().is_none()) {
            return Err(Error::Device("a graph holds copies within the GPU's memory only".to_owned()));
        }
        let (gpu, bytes) = (raw.gpu, from.byte_len());
        gpu.enter()?;
        // A tensor copied onto itself, or overlapping views of one memory, would be held for both: refused as in use.
        let holds = [OwnedHold::take(source, false)?, OwnedHold::take(target, true)?];
        if capturing {
            let mut captured = raw.captured.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            captured.note_storage(source, false);
            captured.note_storage(target, true);
        } else {
            source.device().map_or(Ok(()), |memory| memory.order(raw, false))?;
            target.device().map_or(Ok(()), |memory| memory.order(raw, true))?;
        }
        // SAFETY: both ends have that many bytes; the host's are held until the stream was waited for, the GPU's are given back in the order of streams.
        let code = unsafe {
            match (source.device(), target.device()) {
                (Some(_), Some(_)) => (gpu.api.cuMemcpyDtoDAsync_v2)(to.address(), from.address(), bytes, raw.handle),
                (None, _) => (gpu.api.cuMemcpyHtoDAsync_v2)(to.address(), from.address() as *const _, bytes, raw.handle),
                (_, None) => (gpu.api.cuMemcpyDtoHAsync_v2)(to.address() as *mut _, from.address(), bytes, raw.handle),
            }
        };
        raw.check("cuMemcpyAsync", code)?;
        let [source_hold, target_hold] = holds;
        if source.device().is_none() {
            raw.later(Pending::Hold(source_hold));
        }
        if target.device().is_none() {
            raw.later(Pending::Hold(target_hold));
        }
        Ok(())
    }

    /// Captures the launches that `work` gives to the stream ([`Launch::enqueue`], [`Stream::copy`]) without running them, to be replayed as one.
    ///
    /// Everything has to be compiled before: [`Launch::prepare`]. Addresses and numbers are those of the capture; the tensors' memory is kept by the graph.
    ///
    /// # Errors
    /// Those of `work`; where the device is no GPU, or a kernel prints.
    pub fn capture(&self, work: impl FnOnce(&Stream) -> Result<(), Error>) -> Result<Graph, Error> {
        let Some(raw) = &self.raw else {
            return Err(Error::Device(format!("graphs are captured on GPUs, and this stream is of {}", self.device.name())));
        };
        RawGraph::capture(raw, || work(self)).map(Graph)
    }

    fn raw_of(&self, device: &Device) -> Result<Option<&Arc<RawStream>>, Error> {
        if device.name() == self.device.name() {
            return Ok(self.raw.as_ref());
        }
        Err(TensorError::Place(format!("a launch on {} in a stream of {}", device.name(), self.device.name())).into())
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(raw) = &self.raw {
            raw.retire();
        }
    }
}

#[derive(Debug)]
enum Point {
    Host(Instant),
    Gpu(RawEvent),
}

/// A point in the work of a stream.
#[derive(Debug)]
pub struct Event(Point);

impl Event {
    /// Waits until what was in front of the event has ended.
    ///
    /// # Errors
    /// What went wrong in a kernel.
    pub fn synchronize(&self) -> Result<(), Error> {
        match &self.0 {
            Point::Host(_) => Ok(()),
            Point::Gpu(event) => Ok(event.wait()?),
        }
    }

    /// The time from an event to this one, on the device's clock; waits for both.
    ///
    /// # Errors
    /// What went wrong in a kernel; where the events are of different kinds of devices.
    pub fn since(&self, earlier: &Event) -> Result<Duration, Error> {
        match (&self.0, &earlier.0) {
            (Point::Host(end), Point::Host(start)) => Ok(end.saturating_duration_since(*start)),
            (Point::Gpu(end), Point::Gpu(start)) => {
                start.wait()?;
                end.wait()?;
                Ok(end.since(start)?)
            }
            _ => Err(Error::Device("there is no time between events of a GPU and of the host".to_owned())),
        }
    }
}

/// Launches that are replayed as one; see [`Stream::capture`].
pub struct Graph(RawGraph);

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Graph of {} kernels", self.0.kernels())
    }
}

impl Graph {
    /// Gives the whole graph to a stream of the GPU it was captured on.
    ///
    /// # Errors
    /// Where the stream is of another device, or the GPU was lost.
    pub fn launch(&self, stream: &Stream) -> Result<(), Error> {
        match &stream.raw {
            Some(raw) if std::ptr::eq(raw.gpu, self.0.gpu()) => Ok(self.0.launch(raw)?),
            _ => {
                Err(TensorError::Place(format!("a graph of {} in a stream of {}", self.0.gpu().name(), stream.device.name()))
                    .into())
            }
        }
    }
}

impl Launch<'_> {
    /// Gives the launch to a stream and does not wait for it. On a GPU every tensor has to lie there (`Tensor::to`); on other devices it runs at once.
    ///
    /// What goes wrong while the kernel runs is reported by whoever waits for the stream. What raw pointers lead to has to stay until then.
    ///
    /// # Errors
    /// As [`Launch::run`] where arguments do not fit; where a tensor is in the host's memory.
    pub fn enqueue(mut self, stream: &Stream) -> Result<Launched, Error> {
        let Some(raw) = stream.raw_of(self.device)? else { return self.run() };
        let (args, plan) = self.planned()?;
        // SAFETY: the plan is of exactly these arguments, whose memory `on_gpu` holds meanwhile and which is given back in the order of streams; raw pointers are
        // the promise of `Launch::pointer` and `AnyTensor::from_addresses`.
        self.on_gpu(&args, plan, |call| unsafe { call.give(raw) }).map(|(launched, ())| launched)
    }
}
