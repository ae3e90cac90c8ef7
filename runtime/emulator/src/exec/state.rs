//! State that the warps of a cluster share: CTAs, barriers, pending asynchronous operations, counts.

use rustc_hash::FxHashMap;

use super::asynchronous::Pending;
use super::fail::{Res, fail_at};
use crate::counters::Count;
use crate::decode::program::Program;
use crate::error::FaultKind;
use crate::machine::Shape;
use crate::memory::global::GlobalMemory;
use crate::memory::{CONST_WINDOW, SHARED_BITS};
use crate::options::{Options, Schedule};
use crate::sanitize::clock::{Agents, Clock};
use crate::sanitize::shared::{Access, Shadow};

/// What every worker of a launch sees.
pub struct Env<'a> {
    pub program: &'a Program,
    /// First program-wide instruction index of each function.
    pub code_base: &'a [u32],
    pub kernel: u32,
    pub memory: &'a GlobalMemory,
    /// CTAs in flight at once.
    pub resident: u64,
    /// Bytes of local memory that one cluster may use.
    pub local_share: u64,
    /// Addresses of the module's `.global` variables.
    pub globals: &'a [u64],
    pub constants: &'a [u8],
    pub params: &'a [u8],
    pub shape: Shape,
    pub options: &'a Options,
    /// One worker: no atomics needed.
    pub alone: bool,
    /// Number of this launch on the machine.
    pub launch: u32,
    pub shared_base: u32,
    /// Bytes of shared memory of a CTA, the reserved ones included.
    pub shared_size: u32,
    pub output: &'a std::sync::Mutex<String>,
}

/// A CTA barrier.
#[derive(Debug, Default)]
pub struct Barrier {
    pub expected: Option<u32>,
    /// Lanes that arrived, for each warp of the CTA.
    pub arrived: Vec<u32>,
    pub generation: u64,
    pub clock: Clock,
    pub released: Clock,
    pub popc: u32,
    pub any: bool,
    pub all: bool,
    /// popc, and, or of the last generation.
    pub result: (u32, bool, bool),
}

/// An mbarrier object.
#[derive(Debug, Default, Clone)]
pub struct Mbarrier {
    /// Arrivals that a phase needs.
    pub count: u32,
    /// Arrivals still missing in this phase.
    pub pending: i64,
    /// Bytes still missing.
    pub tx: i64,
    /// Phases complete.
    pub phase: u64,
    pub clock: Clock,
    pub released: Clock,
    /// Agent of the copies that complete here.
    pub agent: usize,
    /// Time of that agent.
    pub time: u32,
}

/// A CTA of the cluster.
#[derive(Debug, Default)]
pub struct Cta {
    /// Linear index in the grid.
    pub index: u64,
    pub coords: [u32; 3],
    /// Rank in the cluster.
    pub rank: u32,
    pub shared: Vec<u8>,
    /// 1 where written.
    pub written: Vec<u8>,
    pub shadow: Shadow,
    pub barriers: Vec<Barrier>,
    pub mbarriers: FxHashMap<u32, Mbarrier>,
    /// Clocks of shared locations that synchronize.
    pub places: FxHashMap<u32, Clock>,
    /// Lanes that have not exited, for each warp.
    pub alive: Vec<u32>,
    /// Groups of wgmma complete, for each warp.
    pub wgmma_done: Vec<u32>,
    /// Has synchronized with another CTA through global memory.
    pub synced: bool,
}

/// The cluster barrier.
#[derive(Debug, Default)]
pub struct ClusterBarrier {
    pub arrived: Vec<u32>,
    pub generation: u64,
    pub clock: Clock,
    pub released: Clock,
}

/// Everything of a cluster that is not inside one warp.
pub struct State {
    pub ctas: Vec<Cta>,
    pub pending: Vec<Pending>,
    pub agents: Agents,
    pub cluster: ClusterBarrier,
    pub counts: Vec<Count>,
    /// Warp instructions executed by this cluster.
    pub executed: u64,
    /// Instructions since an asynchronous operation completed.
    pub idle: u64,
    /// Counts anything that can end a wait.
    pub progress: u64,
    /// Last block of global memory used.
    pub hint: usize,
    pub rng: u64,
    pub mbarriers_made: usize,
    /// Bytes of local memory in use.
    pub local: u64,
    /// Race detection in shared memory.
    pub races: bool,
    /// Program-wide index of the instruction being executed.
    pub pc: u32,
}

impl State {
    /// A pseudo-random number (splitmix64).
    pub fn random(&mut self) -> u64 {
        self.rng = self.rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.rng;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Counts of the instruction being executed.
    #[inline(always)]
    pub fn count(&mut self) -> &mut Count {
        &mut self.counts[self.pc as usize]
    }

    /// CTA and offset of a `shared::cluster` address used by CTA `own`.
    #[inline]
    pub fn shared_place(&self, own: usize, addr: u64) -> Option<(usize, u64)> {
        let window = addr >> SHARED_BITS;
        let at = addr & ((1 << SHARED_BITS) - 1);
        match window {
            0 => Some((own, at)),
            w if (w as usize) <= self.ctas.len() => Some((w as usize - 1, at)),
            _ => None,
        }
    }

    /// Checks one access to shared memory: bounds and alignment.
    #[inline(always)]
    pub fn check_shared(&self, env: &Env, cta: usize, at: u64, size: u64, lane: usize) -> Res<()> {
        let data = &self.ctas[cta].shared;
        if at + size > data.len() as u64 || at < u64::from(env.shared_base) {
            return fail_at(
                FaultKind::OutOfBounds,
                format!(
                    "{size}-byte access outside shared memory, which is {} bytes from {}",
                    env.shared_size - env.shared_base,
                    env.shared_base
                ),
                lane,
                at,
            );
        }
        if env.options.sanitizers.alignment && at % size.next_power_of_two().min(16) != 0 {
            return fail_at(FaultKind::Misaligned, format!("{size}-byte access to shared memory is not aligned"), lane, at);
        }
        Ok(())
    }

    /// A checked load from shared memory.
    #[inline(always)]
    pub fn load_shared(&self, cta: usize, at: u64, size: u32) -> u64 {
        let data = &self.ctas[cta].shared;
        let at = at as usize;
        match size {
            4 => {
                let mut b = [0; 4];
                b.copy_from_slice(&data[at..at + 4]);
                u64::from(u32::from_le_bytes(b))
            }
            8 => {
                let mut b = [0; 8];
                b.copy_from_slice(&data[at..at + 8]);
                u64::from_le_bytes(b)
            }
            2 => u64::from(data[at]) | u64::from(data[at + 1]) << 8,
            _ => u64::from(data[at]),
        }
    }

    /// A checked store to shared memory.
    #[inline(always)]
    pub fn store_shared(&mut self, cta: usize, at: u64, size: u32, value: u64) {
        let cta = &mut self.ctas[cta];
        let at = at as usize;
        let n = size as usize;
        cta.shared[at..at + n].copy_from_slice(&value.to_le_bytes()[..n]);
        cta.written[at..at + n].fill(1);
    }

    /// Whether all bytes of a checked place were written.
    #[inline(always)]
    pub fn is_written(&self, cta: usize, at: u64, size: u64) -> bool {
        !self.ctas[cta].written[at as usize..(at + size) as usize].contains(&0)
    }

    /// Reports a read of bytes that nothing wrote.
    #[inline(always)]
    pub fn check_written(&self, env: &Env, cta: usize, at: u64, size: u64, lane: usize) -> Res<()> {
        if env.options.sanitizers.uninitialized && !self.is_written(cta, at, size) {
            return fail_at(FaultKind::Uninitialized, "read of shared memory that nothing wrote", lane, at);
        }
        Ok(())
    }

    /// Records a shared-memory access of an agent for race detection.
    pub fn trace(&mut self, cta: usize, at: u64, size: u64, write: bool, access: &Access) -> Res<()> {
        let agents = self.agents;
        let shadow = &mut self.ctas[cta].shadow;
        if write { shadow.write(at, size, access, agents) } else { shadow.read(at, size, access, agents) }
    }

    /// Whether operations complete as they are issued.
    pub fn eager(env: &Env) -> bool {
        env.options.schedule == Schedule::Eager
    }
}

/// Bytes of the constant bank at a `.const` address.
pub fn constant(env: &Env, addr: u64, size: u64) -> Option<u64> {
    let at = addr.checked_sub(CONST_WINDOW)?;
    let bytes = env.constants.get(at as usize..(at + size) as usize)?;
    Some(little(bytes))
}

/// A little-endian value of at most 8 bytes.
pub fn little(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |v, b| v << 8 | u64::from(*b))
}
