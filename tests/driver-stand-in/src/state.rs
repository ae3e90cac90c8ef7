//! The driver's state, and the way into it that every entry point takes.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use kiln_emulator::Machine;

use crate::codes::{self, Code};
use crate::graph::Graph;
use crate::memory::HostBlock;
use crate::module::{Function, Module};
use crate::options::options;
use crate::stream::{Event, Stream};

/// The one context's handle.
pub const CONTEXT: usize = 0xC0;

/// Everything behind the API.
pub struct Driver {
    pub machine: Machine,
    /// Holders of the primary context.
    pub retained: u32,
    /// Code of the fault that ended the context.
    pub fault: Option<Code>,
    pub streams: BTreeMap<usize, Stream>,
    pub events: BTreeMap<usize, Event>,
    pub modules: BTreeMap<usize, Module>,
    pub functions: BTreeMap<usize, Function>,
    pub graphs: BTreeMap<usize, Graph>,
    /// Page-locked host memory by its first address.
    pub host: BTreeMap<usize, HostBlock>,
    /// Device allocations: address to bytes.
    pub allocated: BTreeMap<u64, u64>,
    next: usize,
}

impl Driver {
    fn new() -> Driver {
        Driver {
            machine: Machine::new(options().arch()),
            retained: 0,
            fault: None,
            streams: BTreeMap::new(),
            events: BTreeMap::new(),
            modules: BTreeMap::new(),
            functions: BTreeMap::new(),
            graphs: BTreeMap::new(),
            host: BTreeMap::new(),
            allocated: BTreeMap::new(),
            next: 0x1000,
        }
    }

    /// A handle that was never given out.
    pub fn handle(&mut self) -> usize {
        self.next += 0x10;
        self.next
    }
}

static DRIVER: Mutex<Option<Driver>> = Mutex::new(None);
static INITIALIZED: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// The thread's current context.
    pub static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// `cuInit`.
pub fn initialize() {
    INITIALIZED.store(true, Ordering::Release);
}

/// What an entry point needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// An initialized driver.
    Driver,
    /// A current context that no fault has ended.
    Context,
}

/// Whether the thread may call, without taking the lock.
pub fn ready() -> Result<(), Code> {
    if !INITIALIZED.load(Ordering::Acquire) {
        return Err(codes::NOT_INITIALIZED);
    }
    if CURRENT.get() == 0 { Err(codes::INVALID_CONTEXT) } else { Ok(()) }
}

/// Runs an entry point. A panic is an error of this library, and may not cross into C.
pub fn enter(needs: Needs, work: impl FnOnce(&mut Driver) -> Result<(), Code>) -> Code {
    if !INITIALIZED.load(Ordering::Acquire) {
        return codes::NOT_INITIALIZED;
    }
    if needs == Needs::Context && CURRENT.get() == 0 {
        return codes::INVALID_CONTEXT;
    }
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut state = DRIVER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let driver = state.get_or_insert_with(Driver::new);
        if needs == Needs::Context {
            if driver.retained == 0 {
                return Err(codes::INVALID_CONTEXT);
            }
            if let Some(code) = driver.fault {
                return Err(code);
            }
        }
        work(driver)
    }));
    match ran {
        Ok(Ok(())) => codes::SUCCESS,
        Ok(Err(code)) => code,
        Err(_) => codes::UNKNOWN,
    }
}

/// Writes through an out pointer.
///
/// # Safety
/// `to` is null or valid.
pub unsafe fn put<T>(to: *mut T, value: T) -> Result<(), Code> {
    if to.is_null() {
        return Err(codes::INVALID_VALUE);
    }
    // SAFETY: the caller's promise.
    unsafe { to.write(value) };
    Ok(())
}
