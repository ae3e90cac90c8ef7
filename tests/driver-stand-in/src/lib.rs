//! A stand-in for `libcuda.so.1`, for tests on machines with no GPU: the part of the CUDA driver API that Kiln's runtime calls, on top of `kiln-emulator`.
//!
//! Tests put this library in front of the dynamic loader under the driver's name and run what users run. Device memory is an address space of its own, so that a
//! host pointer that reaches a kernel faults; kernels are real PTX, run with the real `void**` parameters; a fault ends the context, as on a GPU, and every later
//! call fails with its code.
//!
//! **Streams are as lazy as the API allows.** An operation runs when something waits for it, not before, and other streams stay behind: a missing dependency between two
//! streams, or host memory that is given back while a copy still needs it, shows every time instead of seldom.
//!
//! What this does not prove: that ptxas or the driver's own compiler take the PTX (`tests/ptx` asks ptxas), that machine code does what PTX says, anything about time, and
//! anything that the emulator or this file understands wrongly in the same way as the runtime does. Rules of the API that are checked here were read from NVIDIA's
//! reference manual, not tried on a GPU.
//!
//! `KILN_STAND_IN` holds words that change it, separated by commas: `sm=80` (86, 89, 90, or a number no emulator knows, which runs portable sm_90 code), `driver=12040` (its
//! version), `no-pools` (no stream-ordered memory), `noop` (launches do nothing at once: for measuring what surrounds them), `memory=BYTES`.

mod codes;
mod device;
mod graph;
mod launch;
mod memory;
mod module;
mod options;
mod state;
mod stream;
mod tensor_map;
