//! Warpgroups of a program that take turns at the tensor cores (PTX ISA, "barrier{.cta}"; `ping_pong`).
//!
//! Each warpgroup has a barrier of the hardware: it waits there until the one before it has arrived, and arrives at the next one's when it has started its products.
//! Somebody has to have arrived at the first one's when it comes there first: the last one does, before its loops. What it arrives at more in the end the first one
//! waits for behind its loops.

use kiln_ir::{Function, InstData};

use super::emit::Emitter;
use super::text::{Asm, Ty, Val};

/// Number of the first warpgroup's barrier: 0 is that of all threads, 1 and 2 are those of consumers.
const FIRST: u32 = 4;
/// Threads of a warpgroup.
const GROUP: u32 = 128;

/// Whether warpgroups take turns in a kernel.
fn takes_turns(func: &Function) -> bool {
    let mut any = false;
    func.walk(|_, inst| any |= matches!(func.insts[inst], InstData::TakeTurn));
    any
}

impl Emitter<'_> {
    fn warpgroups(&self) -> u32 {
        32 * self.threads.warps / GROUP
    }

    /// The number of this thread's warpgroup (i32).
    fn warpgroup(&mut self) -> Val {
        let tid = self.threads.tid;
        self.w.at_entry(|w| w.lshr(tid, GROUP.trailing_zeros()))
    }

    /// Waits until the warpgroup before this one has passed the turn.
    pub(super) fn take_turn(&mut self) {
        let own = self.warpgroup();
        let barrier = self.w.at_entry(|w| w.add(own, Val::i32(FIRST)));
        self.w.asm(&[], Asm::Warp, &format!("barrier.cta.sync.aligned $0, {};", 2 * GROUP), "r", &[barrier]);
    }

    /// It is the next warpgroup's turn; the first one comes behind the last.
    pub(super) fn pass_turn(&mut self) {
        let (own, groups) = (self.warpgroup(), self.warpgroups());
        let barrier = self.w.at_entry(|w| {
            let next = w.add(own, Val::i32(1));
            let next = w.and(next, Val::i32(groups - 1));
            w.add(next, Val::i32(FIRST))
        });
        self.w.asm(&[], Asm::Warp, &format!("barrier.cta.arrive.aligned $0, {};", 2 * GROUP), "r", &[barrier]);
    }

    /// In front of what consumers do: the first turn is the first warpgroup's.
    pub(super) fn first_turn(&mut self) {
        self.at_first_barrier("arrive", self.warpgroups() - 1);
    }

    /// Behind what consumers do: the first warpgroup's barrier is as it was.
    pub(super) fn last_turn(&mut self) {
        self.at_first_barrier("sync", 0);
    }

    fn at_first_barrier(&mut self, what: &str, group: u32) {
        if !takes_turns(self.func) {
            return;
        }
        let own = self.warpgroup();
        let (inside, end) = (self.w.new_label(), self.w.new_label());
        let here = self.w.icmp("eq", own, Val::int(Ty::I32, i64::from(group)));
        self.w.branch(here, inside, end);
        self.w.start(inside);
        self.w.asm(&[], Asm::Warp, &format!("barrier.cta.{what}.aligned {FIRST}, {};", 2 * GROUP), "", &[]);
        self.w.jump(end);
        self.w.start(end);
    }
}
