//! Choosing the blocks of a dot for a processor: how many rows and vectors the micro-kernel holds, how deep a block is, what is packed and where.

use super::compute::Compute;

/// What the generator needs to know of the processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Machine {
    /// Bytes of a vector register: 16, 32 or 64.
    pub vector_bytes: u32,
    /// Vector registers.
    pub registers: u32,
    /// Whether pairs of i16 are multiplied and added in one instruction on vectors of this width (x86 with AVX2, for 64 bytes with AVX-512BW).
    pub i16_pairs: bool,
}

impl Machine {
    /// This processor, with vectors of `vector_bytes`.
    pub fn of_host(vector_bytes: u32) -> Machine {
        let features = crate::llvm_target::host_features();
        let has = |name: &str| features.split(',').any(|feature| feature.strip_prefix('+') == Some(name));
        let registers = if cfg!(target_arch = "aarch64") || has("avx512vl") { 32 } else { 16 };
        let pairs = if vector_bytes == 64 { "avx512bw" } else { "avx2" };
        Machine { vector_bytes, registers, i16_pairs: has(pairs) }
    }
}

/// Elements of k that one block may have, and how many blocks of a deeper dot have: what a micro-kernel reads of both operands then stays in a
/// first-level cache of 32 KiB.
const MAX_DEPTH: u32 = 192;
const DEPTH: u32 = 128;

/// A run of equal pieces of an axis: `count` pieces of `size`, from position `start`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    /// Where the first piece begins.
    pub start: u32,
    /// Extent of a piece.
    pub size: u32,
    /// Number of pieces.
    pub count: u32,
}

/// The blocks of a dot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Plan {
    /// Units in a vector.
    pub lanes: u32,
    /// The rows, in pieces of a micro-kernel.
    pub rows: Vec<Run>,
    /// The columns, in pieces of a micro-kernel.
    pub cols: Vec<Run>,
    /// k in elements, in pieces that are packed at once.
    pub depth: Vec<Run>,
}

impl Plan {
    /// Blocks for a product of `m x k` by `k x n`.
    pub fn new(machine: Machine, compute: Compute, m: u32, n: u32, k: u32) -> Plan {
        let lanes = machine.vector_bytes / compute.bytes();
        let vectors = n.div_ceil(lanes);
        // Two vectors of B and one of A live beside the sums. Few rows leave room for more vectors, which hides the latency of the sums.
        let room = machine.registers - 1;
        let wide = (2..=4).rev().find(|w| m * w + w <= room).unwrap_or(2).min(vectors);
        let most_rows = (room - wide) / wide;
        let depth = match k {
            0..=MAX_DEPTH => vec![Run { start: 0, size: k, count: 1 }],
            _ => pieces_of(k, DEPTH),
        };
        Plan { lanes, rows: balanced(m, most_rows), cols: pieces_of(n, wide * lanes), depth }
    }

    /// Elements of k packed at once at most.
    pub fn max_depth(&self) -> u32 {
        self.depth.iter().map(|run| run.size).max().unwrap_or(0)
    }
}

/// Pieces of at most `most`: equal ones where a size above half of that allows, for which one micro-kernel serves; else of two sizes that differ by 1, as a
/// small leftover would run at the speed of its latency.
fn balanced(extent: u32, most: u32) -> Vec<Run> {
    let equal = (most / 2 + 1..=most).rev().find(|&size| extent.is_multiple_of(size));
    let pieces = equal.map_or(extent.div_ceil(most), |size| extent / size);
    let (small, larger) = (extent / pieces, extent % pieces);
    let runs = [
        Run { start: 0, size: small + 1, count: larger },
        Run { start: larger * (small + 1), size: small, count: pieces - larger },
    ];
    runs.into_iter().filter(|run| run.count > 0).collect()
}

/// Pieces of `size` and the rest.
fn pieces_of(extent: u32, size: u32) -> Vec<Run> {
    let whole = extent / size;
    let runs = [Run { start: 0, size, count: whole }, Run { start: whole * size, size: extent % size, count: 1 }];
    runs.into_iter().filter(|run| run.count > 0 && run.size > 0).collect()
}
