//! What a launch did, per instruction and per source line.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::error::Place;

/// Counts of one instruction over a launch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Warp-level executions with at least one active lane.
    pub executions: u64,
    /// Active lanes over all executions.
    pub lanes: u64,
    /// Branches that split a warp.
    pub divergent: u64,
    /// Requests to global memory, those of `cp.async` included.
    pub global_requests: u64,
    /// 32-byte sectors those requests touched.
    pub global_sectors: u64,
    /// Bytes that lanes asked of global memory.
    pub global_bytes: u64,
    /// Requests to shared memory, the writes of `cp.async` included.
    pub shared_requests: u64,
    /// Passes those requests need through the 32 banks: equal to the ideal when there is no conflict.
    pub shared_wavefronts: u64,
    /// Passes with no bank conflict at all.
    pub shared_ideal: u64,
    /// Bytes that lanes asked of shared memory.
    pub shared_bytes: u64,
    /// Bytes of local memory.
    pub local_bytes: u64,
    /// Bytes moved by the engine of bulk and tensor copies (TMA).
    pub async_bytes: u64,
    /// Tensor-core operations, a multiply-add counted as two.
    pub tensor_flops: u64,
}

impl Count {
    /// Adds another count.
    pub fn add(&mut self, o: &Count) {
        self.executions += o.executions;
        self.lanes += o.lanes;
        self.divergent += o.divergent;
        self.global_requests += o.global_requests;
        self.global_sectors += o.global_sectors;
        self.global_bytes += o.global_bytes;
        self.shared_requests += o.shared_requests;
        self.shared_wavefronts += o.shared_wavefronts;
        self.shared_ideal += o.shared_ideal;
        self.shared_bytes += o.shared_bytes;
        self.local_bytes += o.local_bytes;
        self.async_bytes += o.async_bytes;
        self.tensor_flops += o.tensor_flops;
    }
}

/// An instruction and its counts.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Function.
    pub function: String,
    /// Where it is.
    pub place: Place,
    /// What it did.
    pub count: Count,
}

/// Counts of a launch.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counters {
    /// Instructions that executed, in program order.
    pub instructions: Vec<Line>,
    /// Sum over all instructions.
    pub total: Count,
}

impl Counters {
    /// Sums per source file and line, for instructions whose `.loc` is known.
    pub fn by_source(&self) -> BTreeMap<(String, u32), Count> {
        let mut map: BTreeMap<(String, u32), Count> = BTreeMap::new();
        for line in &self.instructions {
            if let Some(source) = &line.place.source {
                map.entry(source.clone()).or_default().add(&line.count);
            }
        }
        map
    }

    /// Instructions whose text starts with `prefix`.
    pub fn matching<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Line> + 'a {
        self.instructions.iter().filter(move |l| {
            let text = l.place.text.trim_start_matches(|c: char| c != ' ' && l.place.text.starts_with('@'));
            text.trim_start().starts_with(prefix)
        })
    }
}

impl fmt::Display for Counters {
    /// A table, one line an instruction.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>6} {:>12} {:>6} {:>9} {:>9}  instruction", "line", "executions", "lanes", "sect/req", "wave/ideal")?;
        for line in &self.instructions {
            let c = &line.count;
            let ratio = |a: u64, b: u64| if b == 0 { String::new() } else { format!("{:.2}", a as f64 / b as f64) };
            writeln!(
                f,
                "{:>6} {:>12} {:>6.1} {:>9} {:>9}  {}",
                line.place.ptx_line,
                c.executions,
                c.lanes as f64 / c.executions.max(1) as f64,
                ratio(c.global_sectors, c.global_requests),
                ratio(c.shared_wavefronts, c.shared_ideal),
                line.place.text
            )?;
        }
        let t = &self.total;
        writeln!(
            f,
            "total: {} executions, {} lane instructions, {} global bytes in {} sectors, {} shared bytes in {} \
             wavefronts (ideal {}), {} local bytes, {} async bytes, {} tensor flops",
            t.executions,
            t.lanes,
            t.global_bytes,
            t.global_sectors,
            t.shared_bytes,
            t.shared_wavefronts,
            t.shared_ideal,
            t.local_bytes,
            t.async_bytes,
            t.tensor_flops
        )
    }
}

/// Distinct 32-byte sectors that accesses of `size` bytes touch.
pub fn sectors(addrs: &[u64; 32], mask: u32, size: u64) -> u64 {
    let mut list = [0u64; 64];
    let mut n = 0;
    let mut sorted = true;
    for (l, addr) in addrs.iter().enumerate() {
        if mask >> l & 1 == 0 {
            continue;
        }
        for sector in [addr / 32, (addr + size - 1) / 32] {
            if n > 0 && list[n - 1] == sector {
                continue;
            }
            sorted &= n == 0 || list[n - 1] < sector;
            list[n] = sector;
            n += 1;
        }
    }
    if !sorted {
        let list = &mut list[..n];
        list.sort_unstable();
        return 1 + list.windows(2).filter(|w| w[0] != w[1]).count() as u64;
    }
    n as u64
}

/// Passes through the shared-memory banks, and how many there would be without conflicts. 8-byte accesses go half
/// a warp at a time, 16-byte ones a quarter.
pub fn wavefronts(addrs: &[u64; 32], mask: u32, size: u64) -> (u64, u64) {
    let group = match size {
        16 => 8,
        8 => 16,
        _ => 32,
    };
    let words = (size / 4).max(1);
    let (mut total, mut ideal) = (0, 0);
    for first in (0..32).step_by(group) {
        let mut list = [0u64; 32];
        let mut n = 0;
        let mut consecutive = true;
        for l in first..first + group {
            if mask >> l & 1 == 0 {
                continue;
            }
            for w in 0..words {
                let word = addrs[l] / 4 + w;
                consecutive &= n == 0 || word == list[n - 1] + 1 || word == list[n - 1];
                if n > 0 && word == list[n - 1] {
                    continue;
                }
                if n < 32 {
                    list[n] = word;
                    n += 1;
                }
            }
        }
        if n == 0 {
            continue;
        }
        ideal += 1;
        if consecutive {
            total += 1;
            continue;
        }
        list[..n].sort_unstable();
        let mut banks = [0u64; 32];
        let mut last = u64::MAX;
        for &word in &list[..n] {
            if word != last {
                banks[(word % 32) as usize] += 1;
                last = word;
            }
        }
        total += banks.iter().max().copied().unwrap_or(1);
    }
    (total, ideal)
}
