//! The contract between generated host code and the runtime.
//!
//! A host kernel is `extern "C" fn(args: *const u64, context: *const HostContext, begin: i64, end: i64)`: it runs the programs with linear ids
//! `begin..end` (axis 0 fastest). `args` holds 8-byte slots, parameters in order: a tensor takes `1 + 2 * rank` slots (base pointer, dims, strides in
//! elements, i64), a pointer or scalar one slot (the value in the low bytes, zero above).

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
