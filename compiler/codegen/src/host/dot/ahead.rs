//! Fetching ahead: while a block is multiplied, the lines of memory that the next block along k will be packed from are brought into the second-level cache, a
//! few at every call of the micro-kernel. Rows of big matrices lie whole pages apart, where the processor's own prefetchers do not follow.

use crate::host::loops::Emit;
use crate::llvm::Val;

/// Bytes of a line.
const LINE: u32 = 64;
/// Lines fetched at one call at most.
const MOST: u32 = 16;

/// Memory that will be read: runs of neighbouring bytes at equal distances.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    /// The first run.
    pub ptr: Val,
    /// Bytes from one run to the next.
    pub stride: Val,
    /// Number of runs.
    pub runs: u32,
    /// Bytes of a run.
    pub bytes: u32,
}

impl Ahead {
    /// Fetches the part of call number `call` of `calls`. The addresses may be outside the matrix, and of its memory: fetching does not fault.
    pub fn fetch(&self, e: &Emit<'_>, call: Val, calls: u32) {
        let runs = self.runs.div_ceil(calls);
        let lines = self.bytes.div_ceil(LINE);
        let first = e.smin(e.mul_const(call, runs.into()), e.index((self.runs - 1).into()));
        let parts = (0..runs).flat_map(|run| (0..lines).map(move |line| (run, line)));
        for (run, line) in parts.take(MOST as usize) {
            let from = e.mul(e.add_const(first, run.into()), self.stride);
            let ptr = e.gep(e.i8(), self.ptr, e.add_const(from, (line * LINE).into()));
            // For reading, into the second level, data.
            let word = |value| e.int(e.i32(), value);
            e.intrinsic("llvm.prefetch", &[e.ptr()], &[ptr, word(0), word(2), word(1)]);
        }
    }
}
