//! Streams and events. Operations wait in their stream until something asks for them.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::Arc;
use std::thread::ThreadId;
use std::time::Instant;

use crate::codes::{self, Code};
use crate::launch::LaunchOp;
use crate::memory::Source;
use crate::state::{Driver, Needs, enter, put};

/// An operation of a stream.
#[derive(Clone)]
pub enum Op {
    Launch(Arc<LaunchOp>),
    CopyIn {
        to: u64,
        source: Source,
    },
    CopyOut {
        from: u64,
        to: usize,
        bytes: usize,
    },
    Copy {
        from: u64,
        to: u64,
        bytes: usize,
    },
    Fill {
        to: u64,
        byte: u8,
        bytes: usize,
    },
    Free {
        address: u64,
    },
    /// Makes an event's record of this number happen.
    Record {
        event: usize,
        number: u64,
    },
    /// Lets another stream run up to a record.
    Wait {
        stream: usize,
        event: usize,
        number: u64,
    },
}

/// A stream.
#[derive(Default)]
pub struct Stream {
    queue: VecDeque<Op>,
    /// The graph that is being captured.
    pub capture: Option<Capture>,
}

/// A capture that has begun.
pub struct Capture {
    pub ops: Vec<Op>,
    /// Whose other calls it forbids.
    pub mode: Mode,
    /// The thread that began it.
    pub thread: ThreadId,
}

/// `CUstreamCaptureMode`: calls that could wait for, or get in the way of, what is captured are refused to every thread, to the one that captures, or to none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Global,
    ThreadLocal,
    Relaxed,
}

/// An event.
#[derive(Default)]
pub struct Event {
    /// Records that were asked for, and the one that happened last.
    asked: u64,
    done: u64,
    stream: usize,
    timing: bool,
    time: Option<Instant>,
}

/// `CU_EVENT_DISABLE_TIMING`.
const NO_TIMING: u32 = 2;

impl Driver {
    pub fn stream(&mut self, stream: usize) -> Result<&mut Stream, Code> {
        // The legacy default stream (0) orders itself with others: Kiln never uses it.
        self.streams.get_mut(&stream).ok_or(codes::INVALID_HANDLE)
    }

    pub fn is_capturing(&mut self, stream: usize) -> Result<bool, Code> {
        Ok(self.stream(stream)?.capture.is_some())
    }

    /// What may not be called while something is captured in a mode that forbids it.
    pub fn refuse_capture(&self) -> Result<(), Code> {
        let forbids = |capture: &Capture| match capture.mode {
            Mode::Global => true,
            Mode::ThreadLocal => capture.thread == std::thread::current().id(),
            Mode::Relaxed => false,
        };
        let refused = self.streams.values().filter_map(|s| s.capture.as_ref()).any(forbids);
        if refused { Err(codes::CAPTURE_UNSUPPORTED) } else { Ok(()) }
    }

    pub fn enqueue(&mut self, stream: usize, op: Op) -> Result<(), Code> {
        let stream = self.stream(stream)?;
        match &mut stream.capture {
            Some(capture) => capture.ops.push(op),
            None => stream.queue.push_back(op),
        }
        Ok(())
    }

    /// Runs a stream to its end, or until a record has happened.
    pub fn drain(&mut self, stream: usize, until: Option<(usize, u64)>) -> Result<(), Code> {
        let reached = |driver: &Driver| {
            until.is_some_and(|(event, number)| driver.events.get(&event).is_none_or(|event| event.done >= number))
        };
        while !reached(self) {
            let Some(op) = self.stream(stream)?.queue.pop_front() else { break };
            if let Err(code) = self.run(op) {
                self.fault = Some(code);
                return Err(code);
            }
        }
        Ok(())
    }

    /// Runs every stream to its end.
    pub fn drain_all(&mut self) -> Result<(), Code> {
        let streams: Vec<usize> = self.streams.keys().copied().collect();
        streams.into_iter().try_for_each(|stream| self.drain(stream, None))
    }

    fn run(&mut self, op: Op) -> Result<(), Code> {
        let outside = |_| codes::ILLEGAL_ADDRESS;
        match op {
            Op::Launch(launch) => self.run_launch(&launch),
            Op::CopyIn { to, source } => match source {
                Source::Bytes(bytes) => self.machine.write(to, &bytes).map_err(outside),
                Source::Locked { address, bytes } => {
                    // SAFETY: page-locked memory is freed only after all streams ran to their end; whether it was written meanwhile is what is tested.
                    let bytes = unsafe { std::slice::from_raw_parts(address as *const u8, bytes) };
                    self.machine.write(to, bytes).map_err(outside)
                }
            },
            Op::CopyOut { from, to, bytes } => {
                let found: Vec<u8> = self.machine.read(from, bytes).map_err(outside)?;
                // SAFETY: the caller of the copy gave this memory; see above.
                unsafe { std::ptr::copy_nonoverlapping(found.as_ptr(), to as *mut u8, bytes) };
                Ok(())
            }
            Op::Copy { from, to, bytes } => {
                let found: Vec<u8> = self.machine.read(from, bytes).map_err(outside)?;
                self.machine.write(to, &found).map_err(outside)
            }
            Op::Fill { to, byte, bytes } => self.machine.fill(to, byte, bytes as u64).map_err(outside),
            Op::Free { address } => self.release(address),
            Op::Record { event, number } => {
                if let Some(event) = self.events.get_mut(&event) {
                    event.done = number;
                    event.time = Some(Instant::now());
                }
                Ok(())
            }
            Op::Wait { stream, event, number } => {
                if self.streams.contains_key(&stream) {
                    self.drain(stream, Some((event, number)))?;
                }
                Ok(())
            }
        }
    }
}

/// # Safety
/// As the driver's manual says; so for every entry point here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: *mut *mut c_void, flags: u32) -> Code {
    enter(Needs::Context, |driver| {
        if flags > 1 {
            return Err(codes::INVALID_VALUE);
        }
        let handle = driver.handle();
        driver.streams.insert(handle, Stream::default());
        // SAFETY: the caller's promise.
        unsafe { put(stream, handle as *mut c_void) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamDestroy_v2(stream: *mut c_void) -> Code {
    enter(Needs::Context, |driver| {
        driver.drain(stream as usize, None)?;
        driver.streams.remove(&(stream as usize)).map(drop).ok_or(codes::INVALID_HANDLE)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamSynchronize(stream: *mut c_void) -> Code {
    enter(Needs::Context, |driver| {
        if driver.is_capturing(stream as usize)? {
            return Err(codes::CAPTURE_UNSUPPORTED);
        }
        driver.drain(stream as usize, None)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSynchronize() -> Code {
    enter(Needs::Context, |driver| {
        let streams: Vec<usize> = driver.streams.keys().copied().collect();
        streams.into_iter().try_for_each(|stream| driver.drain(stream, None))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamQuery(stream: *mut c_void) -> Code {
    enter(Needs::Context, |driver| {
        if driver.is_capturing(stream as usize)? {
            return Err(codes::CAPTURE_UNSUPPORTED);
        }
        // Asked often enough, the work gets done.
        let Some(op) = driver.stream(stream as usize)?.queue.pop_front() else { return Ok(()) };
        if let Err(code) = driver.run(op) {
            driver.fault = Some(code);
            return Err(code);
        }
        if driver.stream(stream as usize)?.queue.is_empty() { Ok(()) } else { Err(codes::NOT_READY) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamWaitEvent(stream: *mut c_void, event: *mut c_void, flags: u32) -> Code {
    enter(Needs::Context, |driver| {
        if flags != 0 {
            return Err(codes::INVALID_VALUE);
        }
        let found = driver.events.get(&(event as usize)).ok_or(codes::INVALID_HANDLE)?;
        let op = Op::Wait { stream: found.stream, event: event as usize, number: found.asked };
        if driver.is_capturing(stream as usize)? {
            return Err(codes::CAPTURE_ISOLATION);
        }
        // An event that was never recorded is waited for by nobody.
        if matches!(op, Op::Wait { number: 0, .. }) { Ok(()) } else { driver.enqueue(stream as usize, op) }
    })
}

/// # Safety
/// See [`cuStreamCreate`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: *mut *mut c_void, flags: u32) -> Code {
    enter(Needs::Context, |driver| {
        let handle = driver.handle();
        driver.events.insert(handle, Event { timing: flags & NO_TIMING == 0, ..Event::default() });
        // SAFETY: the caller's promise.
        unsafe { put(event, handle as *mut c_void) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventDestroy_v2(event: *mut c_void) -> Code {
    enter(Needs::Context, |driver| driver.events.remove(&(event as usize)).map(drop).ok_or(codes::INVALID_HANDLE))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventRecord(event: *mut c_void, stream: *mut c_void) -> Code {
    enter(Needs::Context, |driver| {
        driver.stream(stream as usize)?;
        let capturing = driver.is_capturing(stream as usize)?;
        let found = driver.events.get_mut(&(event as usize)).ok_or(codes::INVALID_HANDLE)?;
        if capturing {
            return Err(codes::CAPTURE_UNSUPPORTED);
        }
        found.asked += 1;
        found.stream = stream as usize;
        let op = Op::Record { event: event as usize, number: found.asked };
        driver.enqueue(stream as usize, op)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventSynchronize(event: *mut c_void) -> Code {
    enter(Needs::Context, |driver| {
        let found = driver.events.get(&(event as usize)).ok_or(codes::INVALID_HANDLE)?;
        let (stream, number) = (found.stream, found.asked);
        if number == 0 || !driver.streams.contains_key(&stream) {
            Ok(())
        } else {
            driver.drain(stream, Some((event as usize, number)))
        }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventQuery(event: *mut c_void) -> Code {
    enter(Needs::Context, |driver| {
        let found = driver.events.get(&(event as usize)).ok_or(codes::INVALID_HANDLE)?;
        if found.done >= found.asked {
            return Ok(());
        }
        let stream = found.stream;
        let Some(op) = driver.stream(stream)?.queue.pop_front() else { return Ok(()) };
        if let Err(code) = driver.run(op) {
            driver.fault = Some(code);
            return Err(code);
        }
        Err(codes::NOT_READY)
    })
}

/// # Safety
/// See [`cuStreamCreate`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(milliseconds: *mut f32, start: *mut c_void, end: *mut c_void) -> Code {
    enter(Needs::Context, |driver| {
        let time = |event: *mut c_void| {
            let event = driver.events.get(&(event as usize)).filter(|e| e.timing && e.asked > 0).ok_or(codes::INVALID_HANDLE)?;
            if event.done < event.asked { Err(codes::NOT_READY) } else { event.time.ok_or(codes::INVALID_HANDLE) }
        };
        let (start, end) = (time(start)?, time(end)?);
        let elapsed = end.saturating_duration_since(start).as_secs_f32() * 1e3;
        // SAFETY: the caller's promise.
        unsafe { put(milliseconds, elapsed) }
    })
}
