//! Race detection: vector clocks over warps and asynchronous engines for shared memory, CTA tags for global memory.

pub mod clock;
pub mod global;
pub mod shared;
