//! Happens-before: vector clocks with a second vector for what a proxy fence has published.
//!
//! Agents are the warps of a cluster and, for each warp, its asynchronous engines: non-bulk copies, bulk groups,
//! wgmma (one for a warpgroup), and one for each mbarrier that bulk copies complete on.

/// What an agent knows to have happened before now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Clock {
    /// Ordered accesses of each agent.
    pub seen: Vec<u32>,
    /// Those of them that a proxy fence has made visible to the asynchronous proxy.
    pub fenced: Vec<u32>,
}

impl Clock {
    /// Nothing seen of `agents` agents.
    pub fn new(agents: usize) -> Clock {
        Clock { seen: vec![0; agents], fenced: vec![0; agents] }
    }

    /// Takes over everything that `other` knows.
    pub fn join(&mut self, other: &Clock) {
        merge(&mut self.seen, &other.seen);
        merge(&mut self.fenced, &other.fenced);
    }

    /// A proxy fence: everything seen becomes visible to the other proxy.
    pub fn fence(&mut self) {
        let Clock { seen, fenced } = self;
        merge(fenced, seen);
    }

    /// Learns that `agent` got as far as `time`.
    pub fn learn(&mut self, agent: usize, time: u32) {
        if self.seen.len() <= agent {
            self.seen.resize(agent + 1, 0);
        }
        self.seen[agent] = self.seen[agent].max(time);
    }
}

fn merge(into: &mut Vec<u32>, from: &[u32]) {
    if into.len() < from.len() {
        into.resize(from.len(), 0);
    }
    for (a, b) in into.iter_mut().zip(from) {
        *a = (*a).max(*b);
    }
}

/// Numbers of the agents of a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Agents {
    /// Warps of the cluster.
    pub warps: usize,
}

/// mbarriers that get an agent of their own; more share.
const TX_AGENTS: usize = 64;

impl Agents {
    /// How many there are.
    pub fn count(self) -> usize {
        4 * self.warps + TX_AGENTS
    }
    /// Non-bulk asynchronous copies of a warp.
    pub fn copies(self, warp: usize) -> usize {
        self.warps + warp
    }
    /// Bulk groups of a warp.
    pub fn bulk(self, warp: usize) -> usize {
        2 * self.warps + warp
    }
    /// wgmma of a warpgroup, named by its first warp.
    pub fn wgmma(self, first_warp: usize) -> usize {
        3 * self.warps + first_warp
    }
    /// Copies that complete on the n-th mbarrier.
    pub fn tx(self, n: usize) -> usize {
        4 * self.warps + n % TX_AGENTS
    }
    /// What an agent is, for messages.
    pub fn describe(self, agent: usize) -> String {
        let w = self.warps.max(1);
        match agent / w {
            0 => format!("warp {agent}"),
            1 => format!("cp.async of warp {}", agent - w),
            2 => format!("a bulk copy of warp {}", agent - 2 * w),
            3 => format!("wgmma of the warpgroup of warp {}", agent - 3 * w),
            _ => "a bulk copy to shared memory".to_owned(),
        }
    }
}
