//! A warp: registers, and its lanes grouped into splits that run apart and meet again.
//!
//! A divergent branch makes a *meeting* at its immediate postdominator and lets the two groups run on their own. A
//! group that reaches the meeting waits there for the others; if they do not come within some turns (one of them
//! may be spinning on what a waiting lane must do next) it goes on alone, so every lane makes progress.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::regs::Regs;
use super::wgmma::WgmmaOp;
use crate::decode::cfg::NEVER;
use crate::memory::local::Local;
use crate::sanitize::clock::Clock;

/// A function activation of a split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub function: u32,
    pub b32: u32,
    pub b64: u32,
    pub bp: u32,
    /// First byte of the frame in local memory.
    pub local: u32,
    /// Instruction of the caller that comes next; the call itself is the one before.
    pub back: u32,
}

/// What a split waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wait {
    Ready,
    /// The lanes of the mask at the same instruction.
    Lanes(u32),
    /// The lanes of the mask at any `bar.warp.sync`.
    WarpBarrier(u32),
    /// A CTA barrier to move past a generation.
    Barrier {
        id: u32,
        generation: u64,
    },
    /// An mbarrier: CTA of the cluster, offset, and the phase that must be over.
    Mbarrier {
        cta: usize,
        at: u32,
        phase: u64,
    },
    /// The cluster barrier to move past a generation.
    Cluster(u64),
    /// All warps of the warpgroup to have finished as many wgmma groups.
    Wgmma(u32),
}

/// Lanes that run together.
#[derive(Clone, Debug)]
pub struct Split {
    pub mask: u32,
    pub pc: u32,
    pub frames: SmallVec<[Frame; 2]>,
    /// Meetings this split is expected at, innermost last.
    pub meetings: SmallVec<[u32; 4]>,
    pub wait: Wait,
    /// A `try_wait` that must give up now.
    pub give_up: bool,
}

/// A place where groups of lanes meet.
#[derive(Clone, Debug)]
pub struct Meeting {
    pub pc: u32,
    pub depth: usize,
    pub members: u32,
    pub arrived: u32,
    /// The arrived lanes as a split.
    waiting: Option<Split>,
    /// Turns that the arrived lanes have waited.
    age: u32,
}

/// Asynchronous copies that a warp has issued: a sequence number and the commits of each lane.
#[derive(Clone, Debug, Default)]
pub struct Groups {
    /// Number of the last operation issued.
    pub issued: u32,
    /// Committing lanes and the last operation of the group.
    pub commits: Vec<(u32, u32)>,
}

impl Groups {
    /// Closes a group for the lanes of `mask`.
    pub fn commit(&mut self, mask: u32) {
        self.commits.push((mask, self.issued));
        if self.commits.len() > 4096 {
            self.commits.drain(..2048);
        }
    }

    /// The last operation that must be complete when all but `pending` groups of each lane are.
    pub fn until(&self, mask: u32, pending: u32) -> u32 {
        let mut needed = 0;
        let mut lanes = mask;
        while lanes != 0 {
            let lane = lanes.trailing_zeros();
            lanes &= lanes - 1;
            let mut mine = self.commits.iter().rev().filter(|(m, _)| m >> lane & 1 != 0);
            needed = needed.max(mine.nth(pending as usize).map_or(0, |c| c.1));
            if self.commits.iter().all(|(m, _)| m & mask == mask) {
                break;
            }
        }
        needed
    }
}

/// State of a warp's wgmma operations.
#[derive(Debug, Default)]
pub struct WgmmaState {
    pub queue: VecDeque<WgmmaOp>,
    /// Groups committed.
    pub committed: u32,
    /// Groups complete.
    pub done: u32,
}

/// A warp.
#[derive(Debug, Default)]
pub struct Warp {
    pub regs: Regs,
    pub local: Local,
    /// CTA within the cluster.
    pub cta: usize,
    /// Warp within the CTA.
    pub id: u32,
    /// Warp within the cluster.
    pub global: usize,
    pub alive: u32,
    pub splits: Vec<Split>,
    pub meetings: Vec<Option<Meeting>>,
    pub clock: Clock,
    /// What was known at the last fence, for relaxed stores to publish.
    pub fence_clock: Option<Clock>,
    /// What relaxed loads brought, for the next fence to take over.
    pub unfenced: Option<Clock>,
    pub copies: Groups,
    pub bulk: Groups,
    pub wgmma: WgmmaState,
    /// Generation of the cluster barrier when this warp arrived.
    pub cluster_arrived: u64,
    /// Strong global accesses since the last fence.
    pub strong_global: bool,
}

impl Warp {
    /// A new meeting of the lanes of `members`; returns its number.
    pub fn meet(&mut self, pc: u32, depth: usize, members: u32) -> u32 {
        let meeting = Some(Meeting { pc, depth, members, arrived: 0, waiting: None, age: 0 });
        match self.meetings.iter().position(Option::is_none) {
            Some(i) => {
                self.meetings[i] = meeting;
                i as u32
            }
            None => {
                self.meetings.push(meeting);
                self.meetings.len() as u32 - 1
            }
        }
    }

    /// Where a split must stop next: the instruction, or [`NEVER`].
    pub fn stop(&self, split: &Split) -> u32 {
        match split.meetings.last().and_then(|&i| self.meetings[i as usize].as_ref()) {
            Some(m) if m.depth == split.frames.len() => m.pc,
            _ => NEVER,
        }
    }

    /// A split reaches its innermost meeting.
    pub fn arrive(&mut self, mut split: Split) {
        let Some(id) = split.meetings.pop() else {
            self.splits.push(split);
            return;
        };
        if let Some(m) = &mut self.meetings[id as usize] {
            m.arrived |= split.mask;
            match &mut m.waiting {
                Some(w) => w.mask |= split.mask,
                None => m.waiting = Some(split),
            }
        }
        self.settle(id);
    }

    /// Ends a meeting when everybody is there, or nobody is left.
    fn settle(&mut self, id: u32) {
        let slot = &mut self.meetings[id as usize];
        if let Some(m) = slot
            && m.arrived == m.members
        {
            let waiting = m.waiting.take();
            *slot = None;
            self.splits.extend(waiting);
        }
    }

    /// Lanes leave all the meetings listed.
    pub fn leave(&mut self, meetings: &[u32], lanes: u32) {
        for &id in meetings {
            if let Some(m) = &mut self.meetings[id as usize] {
                m.members &= !lanes;
            }
            self.settle(id);
        }
    }

    /// Lets waiting lanes go on alone: all of them, or those that have waited for `age` turns. True if any did.
    pub fn release(&mut self, age: u32) -> bool {
        let mut any = false;
        for id in 0..self.meetings.len() {
            if let Some(m) = &mut self.meetings[id]
                && m.arrived != 0
            {
                m.age += 1;
                if m.age > age {
                    m.members &= !m.arrived;
                    m.arrived = 0;
                    m.age = 0;
                    any = true;
                    let waiting = m.waiting.take();
                    if m.members == 0 {
                        self.meetings[id] = None;
                    }
                    self.splits.extend(waiting);
                }
            }
        }
        any
    }

    /// Lanes parked at a meeting, and where.
    pub fn parked(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.meetings.iter().flatten().filter(|m| m.arrived != 0).map(|m| (m.arrived, m.pc))
    }

    /// Joins splits that wait for one another at the same instruction. True if some became ready.
    pub fn gather(&mut self) -> bool {
        let mut any = false;
        let mut i = 0;
        while i < self.splits.len() {
            match self.splits[i].wait {
                Wait::Lanes(required) => {
                    let required = required & self.alive;
                    let (pc, frames) = (self.splits[i].pc, self.splits[i].frames.clone());
                    let same = |s: &Split| matches!(s.wait, Wait::Lanes(_)) && s.pc == pc && s.frames == frames;
                    let union = self.splits.iter().filter(|s| same(s)).fold(0, |m, s| m | s.mask);
                    if union & required == required {
                        let mut group: Vec<Split> = vec![];
                        let mut k = 0;
                        while k < self.splits.len() {
                            if same(&self.splits[k]) {
                                group.push(self.splits.remove(k));
                            } else {
                                k += 1;
                            }
                        }
                        let mut whole = group.remove(0);
                        for other in group {
                            let common = whole.meetings.iter().zip(&other.meetings).take_while(|(a, b)| a == b).count();
                            let (mine, theirs) = (whole.meetings.clone(), other.meetings.clone());
                            self.leave(&mine[common..], whole.mask);
                            self.leave(&theirs[common..], other.mask);
                            whole.meetings.truncate(common);
                            whole.mask |= other.mask;
                        }
                        whole.wait = Wait::Ready;
                        self.splits.push(whole);
                        any = true;
                        i = 0;
                        continue;
                    }
                }
                Wait::WarpBarrier(required) => {
                    let required = required & self.alive;
                    let at = |s: &Split| matches!(s.wait, Wait::WarpBarrier(_));
                    let union = self.splits.iter().filter(|s| at(s)).fold(0, |m, s| m | s.mask);
                    if union & required == required {
                        for s in self.splits.iter_mut().filter(|s| at(s)) {
                            s.wait = Wait::Ready;
                            s.pc += 1;
                        }
                        any = true;
                    }
                }
                _ => {}
            }
            i += 1;
        }
        any
    }
}
