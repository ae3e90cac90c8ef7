//! The contract between generated host code and the runtime.
//!
//! A host kernel is `extern "C" fn(args: *const u64, context: *const HostContext, begin: i64, end: i64)`: it runs the programs with linear ids
//! `begin..end` (axis 0 fastest). `args` holds 8-byte slots, parameters in order: a tensor takes `1 + 2 * rank` slots (base pointer, dims, strides in
//! elements, i64), a pointer or scalar one slot (the value in the low bytes, zero above).

mod entry;

use serde::{Deserialize, Serialize};

pub use entry::{EntryPoint, HostEntry};

use crate::func::Function;
use crate::types::TypeData;

/// What a host kernel is given besides its arguments. `repr(C)`: generated code reads the fields by offset.
#[repr(C)]
#[derive(Debug)]
pub struct HostContext {
    /// Extents of the grid; 1 past its rank.
    pub grid: [i64; 5],
    /// Worker threads.
    pub num_sms: i64,
    /// Passed back to the callbacks.
    pub user: *mut std::ffi::c_void,
    /// Called once a failed `assert`: (user, number of the assertion in the artifact's table, linear program id). Generated code returns from the program after it.
    pub on_assert: extern "C" fn(*mut std::ffi::c_void, u32, i64),
    /// Called for `print`: (user, number of the format in the artifact's table, linear program id, operands: element pointers laid out as the table says).
    pub on_print: extern "C" fn(*mut std::ffi::c_void, u32, i64, *const *const std::ffi::c_void),
    /// Called for `grid_sync`: (user, linear program id). Returns once every program of the grid has called it as often, or has ended.
    pub on_sync: extern "C" fn(*mut std::ffi::c_void, i64),
    /// Called in front of an access of a kernel compiled with checks: (user, number of the access in the artifact's table, linear program id, operands: a pointer to
    /// the lanes' addresses and one to their mask, a byte a lane). Where it gives anything but 0, generated code returns from the program instead of accessing memory.
    pub on_access: extern "C" fn(*mut std::ffi::c_void, u32, i64, *const *const std::ffi::c_void) -> u32,
}

/// The text of the `InlineAsm` that stands in front of an access in a kernel compiled with checks. Its operands are a tile of addresses and a mask of the same shape;
/// its constraints are the name of an [`AccessKind`], for `aligned` with the number of bytes: `aligned:16`.
pub const ACCESS_CHECK: &str = "kiln.access";

/// How an access touches memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AccessKind {
    /// A load.
    Read,
    /// A store.
    Write,
    /// An atomic operation.
    Atomic,
    /// None: the address is only said to be a multiple of a number of bytes.
    Aligned,
}

impl AccessKind {
    /// Every kind.
    pub const ALL: [AccessKind; 4] = [AccessKind::Read, AccessKind::Write, AccessKind::Atomic, AccessKind::Aligned];

    /// `read`, `write`, `atomic`, `aligned`.
    pub fn name(self) -> &'static str {
        match self {
            AccessKind::Read => "read",
            AccessKind::Write => "write",
            AccessKind::Atomic => "atomic",
            AccessKind::Aligned => "aligned",
        }
    }
}

/// One program, and callbacks that do nothing.
impl Default for HostContext {
    fn default() -> Self {
        use std::ffi::c_void;
        extern "C" fn no_assert(_: *mut c_void, _: u32, _: i64) {}
        extern "C" fn no_print(_: *mut c_void, _: u32, _: i64, _: *const *const c_void) {}
        extern "C" fn no_sync(_: *mut c_void, _: i64) {}
        extern "C" fn no_access(_: *mut c_void, _: u32, _: i64, _: *const *const c_void) -> u32 {
            0
        }
        HostContext {
            grid: [1; 5],
            num_sms: 1,
            user: std::ptr::null_mut(),
            on_assert: no_assert,
            on_print: no_print,
            on_sync: no_sync,
            on_access: no_access,
        }
    }
}

/// Number of 8-byte argument slots of a host kernel.
pub fn num_slots(func: &Function) -> usize {
    func.param_values()
        .iter()
        .map(|&v| match func.ty(v).data() {
            TypeData::Tile { .. } => 1,
            TypeData::View { rank, .. } => 1 + 2 * usize::from(*rank),
        })
        .sum()
}

/// First slot of parameter number `param` (counting parameters of the function).
pub fn first_slot(func: &Function, param: usize) -> usize {
    func.param_values()[..param]
        .iter()
        .map(|&v| match func.ty(v).data() {
            TypeData::Tile { .. } => 1,
            TypeData::View { rank, .. } => 1 + 2 * usize::from(*rank),
        })
        .sum()
}
