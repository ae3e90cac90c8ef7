//! How many blocks of a kernel fit on a multiprocessor (CUDA programming guide, "Technical Specifications per Compute Capability").

use kiln::compiler::GpuTarget;

/// What one multiprocessor has.
struct Room {
    warps: u32,
    blocks: u32,
    shared: u32,
}

/// 32-bit registers of a multiprocessor.
const REGISTERS: u32 = 65536;
/// Registers are given out to warps in portions.
const PORTION: u32 = 256;
/// Shared memory that the system takes of each block.
const RESERVED: u32 = 1024;

fn room(target: GpuTarget) -> Room {
    match target.sm {
        86 => Room { warps: 48, blocks: 16, shared: 100 << 10 },
        87 => Room { warps: 48, blocks: 16, shared: 164 << 10 },
        89 => Room { warps: 48, blocks: 24, shared: 100 << 10 },
        80 => Room { warps: 64, blocks: 32, shared: 164 << 10 },
        _ => Room { warps: 64, blocks: 32, shared: 228 << 10 },
    }
}

/// Blocks and warps that are resident at once, and what there is no more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupancy {
    /// Blocks on a multiprocessor.
    pub blocks: u32,
    /// Their warps.
    pub warps: u32,
    /// Warps that a multiprocessor can have.
    pub most: u32,
    /// `registers`, `shared memory`, `warps` or `blocks`.
    pub limit: &'static str,
}

/// The occupancy of blocks of `warps` warps with these registers a thread and bytes of shared memory.
pub fn occupancy(target: GpuTarget, warps: u32, registers: u32, shared: u32) -> Occupancy {
    let room = room(target);
    let of_warp = (registers.max(1) * 32).next_multiple_of(PORTION);
    let limits = [
        (room.warps / warps, "warps"),
        (REGISTERS / of_warp / warps, "registers"),
        (room.shared / (shared.next_multiple_of(128) + RESERVED), "shared memory"),
        (room.blocks, "blocks"),
    ];
    let (blocks, limit) = limits.into_iter().min_by_key(|(n, _)| *n).expect("there are limits");
    Occupancy { blocks, warps: blocks * warps, most: room.warps, limit }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of NVIDIA's occupancy calculator.
    #[test]
    fn known_kernels() {
        let target = |name| GpuTarget::from_name(name).unwrap();
        let of = |name, warps, registers, shared| {
            let o = occupancy(target(name), warps, registers, shared);
            (o.blocks, o.warps, o.limit)
        };
        assert_eq!(of("sm_80", 4, 32, 0), (16, 64, "warps"));
        assert_eq!(of("sm_80", 8, 64, 0), (4, 32, "registers"));
        assert_eq!(of("sm_90a", 4, 168, 200 << 10), (1, 4, "shared memory"));
        assert_eq!(of("sm_86", 4, 40, 48 << 10), (2, 8, "shared memory"));
        assert_eq!(of("sm_80", 1, 16, 0), (32, 32, "blocks"));
        assert_eq!(of("sm_89", 1, 32, 0), (24, 24, "blocks"));
    }
}
