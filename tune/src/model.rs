//! What a launch should cost: a roofline with waves and occupancy, fed by counts.
//!
//! Two sources of counts: the kernel's IR, walked without running anything ([`from_work`]), and the emulator's counters, which know sectors and bank conflicts
//! ([`from_counters`]). The figures are there to order configurations and to say what limits them. How well they do that is reported with every sweep, as the rank
//! correlation with what was measured.

use kiln::Device;
use kiln::compiler::{PtxArtifact, Work};
use kiln::emulator::Count;

use crate::occupancy::occupancy;

/// Rates of a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Machine {
    /// Processors that run programs: multiprocessors, or threads.
    pub processors: f64,
    /// Floating-point operations a second of matrix products, all processors together.
    pub dot_flops: f64,
    /// Floating-point operations a second lane by lane.
    pub lane_flops: f64,
    /// Bytes a second from the caches that all processors share.
    pub cache_bytes: f64,
    /// Bytes a second from memory.
    pub memory_bytes: f64,
    /// Seconds that starting a program takes on its processor.
    pub start: f64,
    /// Seconds that an IR instruction takes besides its rows and lanes.
    pub step: f64,
    /// Seconds that each row of its tile takes besides the row's lanes: the loops of a CPU begin anew.
    pub row: f64,
}

impl Machine {
    /// The usual product of a GPU architecture (A100, GA102, AD102, H100 SXM): NVIDIA's data sheets, f16 products with f32 sums.
    pub fn gpu(sm: u32, multiprocessors: i64) -> Machine {
        let (dot, lane, memory) = match sm {
            80 => (312e12, 19.5e12, 2.0e12),
            86 => (142e12, 35.6e12, 0.77e12),
            89 => (330e12, 82.6e12, 1.0e12),
            _ => (989e12, 66.9e12, 3.35e12),
        };
        Machine {
            processors: multiprocessors as f64,
            dot_flops: dot,
            lane_flops: lane,
            cache_bytes: 3.0 * memory,
            memory_bytes: memory,
            start: 1e-6,
            step: 5e-9,
            row: 0.0,
        }
    }

    /// A processor of today with this many threads: orders of magnitude, which is what ordering takes.
    pub fn cpu(threads: i64) -> Machine {
        let threads = threads as f64;
        Machine {
            processors: threads,
            dot_flops: 1e11 * threads,
            lane_flops: 2e10 * threads,
            cache_bytes: 3e10 * threads,
            memory_bytes: 4e10,
            start: 1e-7,
            step: 5e-9,
            row: 2.5e-9,
        }
    }

    /// The rates that go with a device.
    pub fn of(device: &Device) -> Machine {
        match (device.cuda_info(), device.emulator_options()) {
            (Some(info), _) => Machine::gpu(info.sm, device.num_sms()),
            (_, Some(options)) => Machine::gpu(options.target.sm, device.num_sms()),
            _ => Machine::cpu(device.num_sms()),
        }
    }
}

/// Seconds of a launch by the counts of its IR. `footprint`: bytes of its tensors, which have to come from memory at least once.
pub fn from_work(machine: &Machine, work: &Work, footprint: f64) -> f64 {
    // Programs run in waves; the last one leaves processors idle.
    let waves = (work.programs / machine.processors).ceil().max(1.0);
    let idle = waves * machine.processors / work.programs.max(1.0);
    let compute = work.dot_flops / machine.dot_flops + work.lane_flops / machine.lane_flops;
    let cache = (work.loaded + work.stored) / machine.cache_bytes;
    let steps = (work.steps * machine.step + work.rows * machine.row) / machine.processors;
    let busy = compute.max(cache) + steps;
    (busy * idle).max(footprint / machine.memory_bytes) + waves * machine.start
}

/// Warp instructions that a multiprocessor issues a second: four a cycle at 1.7 GHz.
const ISSUED: f64 = 4.0 * 1.7e9;
/// Passes through the banks of shared memory a second.
const WAVEFRONTS: f64 = 1.7e9;
/// Warps a multiprocessor needs to have something to issue while others wait.
const HIDING: f64 = 16.0;

/// Seconds of a launch by what the emulator counted.
pub fn from_counters(machine: &Machine, ptx: &PtxArtifact, total: &Count, programs: i64) -> f64 {
    // Registers are not known before ptxas: occupancy is that of warps and shared memory.
    let fits = occupancy(ptx.target, ptx.num_warps, 0, ptx.shared_bytes);
    let programs = programs.max(1) as f64;
    let waves = (programs / (machine.processors * f64::from(fits.blocks.max(1)))).ceil();
    // Programs of one multiprocessor share its units: what counts is how evenly they are spread over the multiprocessors.
    let idle = (programs / machine.processors).ceil() * machine.processors / programs;
    // A launch that does not fill the device has fewer warps a multiprocessor than fit.
    let resident = (programs / machine.processors).min(f64::from(fits.blocks.max(1))).max(1.0) * f64::from(ptx.num_warps);
    let hidden = (resident / HIDING).min(1.0);
    let issue = total.executions as f64 / (ISSUED * machine.processors);
    let shared = total.shared_wavefronts as f64 / (WAVEFRONTS * machine.processors);
    let tensor = total.tensor_flops as f64 / machine.dot_flops;
    let moved = 32.0 * total.global_sectors as f64 + total.async_bytes as f64 + total.local_bytes as f64;
    let cache = moved / machine.cache_bytes;
    let busiest = issue.max(shared).max(tensor).max(cache);
    // What is not hidden adds up: with few warps one unit waits for the other.
    let all = issue + shared + tensor + cache;
    let busy = busiest + (1.0 - hidden) * (all - busiest);
    busy * idle + waves * machine.start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_work_costs_more() {
        let machine = Machine::gpu(90, 132);
        let work = Work { dot_flops: 1e12, lane_flops: 1e9, loaded: 1e9, stored: 1e8, steps: 1e6, rows: 0.0, programs: 1320.0 };
        let base = from_work(&machine, &work, 1e8);
        assert!(from_work(&machine, &Work { dot_flops: 2e12, ..work }, 1e8) > base);
        assert!(from_work(&machine, &Work { loaded: 1e11, ..work }, 1e8) > base);
        // One program more than fits takes another wave.
        let full = Work { programs: 132.0, ..work };
        assert!(from_work(&machine, &Work { programs: 133.0, ..work }, 1e8) > 1.5 * from_work(&machine, &full, 1e8));
        // Nothing is faster than its tensors come from memory.
        assert!(from_work(&machine, &work, 3.35e12) >= 1.0);
    }
}
