//! Shared-memory races: the last write and the unordered reads of every word, checked against the accessor's clock.

use smallvec::SmallVec;

use super::clock::{Agents, Clock};
use crate::error::FaultKind;
use crate::exec::fail::{Fail, Res};

/// One access as it is remembered.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    agent: u16,
    /// Bytes of the word.
    bytes: u8,
    strong: bool,
    time: u32,
    /// Program-wide instruction index.
    pc: u32,
}

/// What is remembered of a 4-byte word.
#[derive(Clone, Debug, Default)]
struct Cell {
    /// `time` 0: none.
    write: Mark,
    reads: SmallVec<[Mark; 2]>,
}

/// Who accesses, and what that agent knows.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The agent to remember.
    pub agent: usize,
    /// Its time.
    pub time: u32,
    /// What the issuer knows.
    pub clock: &'a Clock,
    /// Goes through the asynchronous proxy.
    pub async_proxy: bool,
    /// Atomic or volatile.
    pub strong: bool,
    /// Program-wide instruction index.
    pub pc: u32,
}

/// Shadow of one CTA's shared memory.
#[derive(Debug, Default)]
pub struct Shadow {
    cells: Vec<Cell>,
}

impl Shadow {
    /// For `bytes` bytes of shared memory.
    pub fn new(bytes: usize) -> Shadow {
        Shadow { cells: vec![Cell::default(); bytes.div_ceil(4)] }
    }

    /// Records a read, or says which write it races with.
    #[inline]
    pub fn read(&mut self, at: u64, size: u64, a: &Access, agents: Agents) -> Res<()> {
        self.each(at, size, |cell, bytes| {
            let w = cell.write;
            if w.time != 0 && w.bytes & bytes != 0 {
                check(w, a, true, agents)?;
            }
            let mark = Mark { agent: a.agent as u16, bytes, strong: a.strong, time: a.time, pc: a.pc };
            for r in &mut cell.reads {
                let same = r.agent as usize == a.agent;
                // An earlier read that this one follows needs no memory of its own.
                if same || (r.bytes & !bytes == 0 && before(r, a.clock)) {
                    let all = r.bytes | bytes;
                    *r = Mark { bytes: if same { all } else { bytes }, ..mark };
                    return Ok(());
                }
            }
            cell.reads.push(mark);
            Ok(())
        })
    }

    /// Records a write, or says which access it races with.
    #[inline]
    pub fn write(&mut self, at: u64, size: u64, a: &Access, agents: Agents) -> Res<()> {
        self.each(at, size, |cell, bytes| {
            let w = cell.write;
            if w.time != 0 && w.bytes & bytes != 0 {
                check(w, a, true, agents)?;
            }
            for r in &cell.reads {
                if r.bytes & bytes != 0 {
                    check(*r, a, false, agents)?;
                }
            }
            cell.reads.retain(|r| r.bytes & bytes == 0);
            let kept = if w.agent as usize == a.agent && w.time == a.time { w.bytes } else { 0 };
            cell.write = Mark { agent: a.agent as u16, bytes: bytes | kept, strong: a.strong, time: a.time, pc: a.pc };
            Ok(())
        })
    }

    #[inline(always)]
    fn each(&mut self, at: u64, size: u64, mut f: impl FnMut(&mut Cell, u8) -> Res<()>) -> Res<()> {
        let mut here = at;
        let end = at + size;
        while here < end {
            let n = (4 - here % 4).min(end - here);
            let bytes = ((1u8 << n) - 1) << (here % 4);
            if let Some(cell) = self.cells.get_mut((here / 4) as usize) {
                f(cell, bytes).map_err(|mut e| {
                    e.address = Some(here);
                    e
                })?;
            }
            here += n;
        }
        Ok(())
    }
}

fn before(mark: &Mark, clock: &Clock) -> bool {
    clock.seen.get(mark.agent as usize).is_some_and(|&t| t >= mark.time)
}

/// Is `mark` ordered before the access?
#[inline]
fn check(mark: Mark, a: &Access, was_write: bool, agents: Agents) -> Res<()> {
    // Copies of one engine to the same place are not ordered by being issued in order.
    let engine = mark.agent as usize >= 4 * agents.warps && mark.time != a.time;
    if (mark.agent as usize == a.agent && !engine) || (mark.strong && a.strong) {
        return Ok(());
    }
    let generic = (mark.agent as usize) < 2 * agents.warps;
    if before(&mark, a.clock) {
        let fenced = a.clock.fenced.get(mark.agent as usize).is_some_and(|&t| t >= mark.time);
        if a.async_proxy && generic && was_write && !fenced {
            return Err(report(
                FaultKind::MissingProxyFence,
                mark,
                "the asynchronous proxy reads or overwrites what the generic proxy wrote with no fence.proxy.async \
                 between"
                    .to_owned(),
            ));
        }
        return Ok(());
    }
    let what = if was_write { "write" } else { "read" };
    Err(report(
        FaultKind::SharedRace,
        mark,
        format!("shared-memory race with an unordered {what} by {}", agents.describe(mark.agent as usize)),
    ))
}

#[cold]
fn report(kind: FaultKind, mark: Mark, message: String) -> Box<Fail> {
    Box::new(Fail { kind, message, lane: None, address: None, other: Some(mark.pc) })
}
