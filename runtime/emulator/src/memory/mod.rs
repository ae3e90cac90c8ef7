//! Memory: the device's global memory, shared memory of a CTA, local memory of a warp, and the map of addresses.
//!
//! | generic address | space |
//! |---|---|
//! | 0x1000_0000 + offset | kernel parameters |
//! | 0x1100_0000 + offset | `.const` (the same address in both forms) |
//! | 0x2000_0000 + offset | local |
//! | 0x4000_0000 + shared::cluster address | shared; own CTA at 0, CTA of rank r at (r + 1) << 24 |
//! | from 0x7f_0000_0000 | global |

pub mod global;
pub mod local;

/// Generic address of parameter offset 0.
pub const PARAM_WINDOW: u64 = 0x1000_0000;
/// Generic and `.const` address of the constant bank.
pub const CONST_WINDOW: u64 = 0x1100_0000;
/// Generic address of local offset 0.
pub const LOCAL_WINDOW: u64 = 0x2000_0000;
/// Generic address of shared offset 0.
pub const SHARED_WINDOW: u64 = 0x4000_0000;
/// Bits of a CTA's shared window.
pub const SHARED_BITS: u32 = 24;
/// First global address.
pub const GLOBAL_BASE: u64 = 0x7f_0000_0000;
/// First function handle.
pub const FUNCTION_BASE: u64 = 0x6000_0000;
