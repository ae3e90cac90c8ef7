//! Capturing a stream's operations into a graph, and replaying it.

use std::ffi::c_void;

use crate::codes::{self, Code};
use crate::state::{Driver, Needs, enter, put};
use crate::stream::{Capture, Mode, Op};

/// A captured graph, or an instance of one.
pub struct Graph {
    ops: Vec<Op>,
    executable: bool,
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamBeginCapture_v2(stream: *mut c_void, mode: u32) -> Code {
    enter(Needs::Context, |driver| {
        let stream = driver.stream(stream as usize)?;
        let mode = match mode {
            0 => Mode::Global,
            1 => Mode::ThreadLocal,
            2 => Mode::Relaxed,
            _ => return Err(codes::INVALID_VALUE),
        };
        if stream.capture.is_some() {
            return Err(codes::ILLEGAL_STATE);
        }
        stream.capture = Some(Capture { ops: vec![], mode, thread: std::thread::current().id() });
        Ok(())
    })
}

/// # Safety
/// As the driver's manual says; so for every entry point here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(stream: *mut c_void, graph: *mut *mut c_void) -> Code {
    enter(Needs::Context, |driver| {
        let ops = driver.stream(stream as usize)?.capture.take().ok_or(codes::ILLEGAL_STATE)?.ops;
        let handle = driver.handle();
        driver.graphs.insert(handle, Graph { ops, executable: false });
        // SAFETY: the caller's promise.
        unsafe { put(graph, handle as *mut c_void) }
    })
}

/// # Safety
/// See [`cuStreamEndCapture`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(executable: *mut *mut c_void, graph: *mut c_void, _flags: u64) -> Code {
    enter(Needs::Context, |driver| {
        let found = driver.graphs.get(&(graph as usize)).filter(|g| !g.executable).ok_or(codes::INVALID_HANDLE)?;
        let instance = Graph { ops: found.ops.clone(), executable: true };
        let handle = driver.handle();
        driver.graphs.insert(handle, instance);
        // SAFETY: the caller's promise.
        unsafe { put(executable, handle as *mut c_void) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphLaunch(executable: *mut c_void, stream: *mut c_void) -> Code {
    enter(Needs::Context, |driver| {
        let found = driver.graphs.get(&(executable as usize)).filter(|g| g.executable).ok_or(codes::INVALID_HANDLE)?;
        let ops = found.ops.clone();
        ops.into_iter().try_for_each(|op| driver.enqueue(stream as usize, op))
    })
}

fn destroy(driver: &mut Driver, graph: *mut c_void, executable: bool) -> Result<(), Code> {
    if driver.graphs.get(&(graph as usize)).is_none_or(|g| g.executable != executable) {
        return Err(codes::INVALID_HANDLE);
    }
    driver.graphs.remove(&(graph as usize));
    Ok(())
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphDestroy(graph: *mut c_void) -> Code {
    enter(Needs::Context, |driver| destroy(driver, graph, false))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphExecDestroy(graph: *mut c_void) -> Code {
    enter(Needs::Context, |driver| destroy(driver, graph, true))
}
