//! The instructions of a block, in order: lane-by-lane work on tiles of which a thread holds much a few elements at a time, from the first instruction of a run to
//! the last; a barrier that was waited for already not a second time.
//!
//! An instruction of a tile is as many instructions of a thread as the thread has elements. One after the other, a run of them (an activation behind a product, say)
//! would have every step of all elements alive at once, and neither LLVM nor ptxas puts thousands of instructions into another order: with 128 sums of a
//! product in registers already, they go to memory and back. In parts, only what the run starts from and what it ends in is there for all elements.

use std::ops::Range;
use std::rc::Rc;

use kiln_ir::{Block, Inst, InstData, LayoutId, Value};
use rustc_hash::FxHashSet;

use super::emit::{Emitter, Slot};
use super::error::Result;
use super::text::Val;

/// Elements of a thread from which on a tile is worked on in parts. Fewer leave room for all steps at once.
const MANY: u32 = 65;
/// Elements of a part: enough to have something to do while each waits for its last step.
const PART: usize = 8;

/// Instructions that stand one behind the other.
struct Run {
    /// What does not need the others, and goes first.
    before: Vec<Inst>,
    /// Lane by lane on tiles of one layout.
    parts: Vec<Inst>,
}

impl Emitter<'_> {
    /// Writes the instructions of a block.
    pub(super) fn block(&mut self, block: Block) -> Result<()> {
        let func = self.func;
        let insts = &func.blocks[block].insts;
        let mut passed: FxHashSet<&InstData> = FxHashSet::default();
        let mut at = 0;
        while at < insts.len() {
            match self.run_at(&insts[at..]) {
                Some(run) => {
                    at += run.before.len() + run.parts.len();
                    self.in_parts(&run)?;
                }
                None => {
                    let data = &func.insts[insts[at]];
                    if let InstData::BarrierArrive { slot: freed, .. } = data {
                        passed.retain(|wait| !matches!(wait, InstData::BarrierWait { slot, .. } if slot == freed));
                    }
                    let again = matches!(data, InstData::BarrierWait { .. }) && !passed.insert(data);
                    if again {
                        self.barrier_passed()
                    } else {
                        self.one(insts[at])?
                    }
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// The run at the start of `insts`; None where there is none of two instructions or more.
    fn run_at(&self, insts: &[Inst]) -> Option<Run> {
        let func = self.func;
        let layout = self.lanes(*insts.first()?).filter(|id| id.layout().registers() >= MANY)?;
        let mut run = Run { before: vec![], parts: vec![] };
        let mut made: FxHashSet<Value> = FxHashSet::default();
        for &inst in insts {
            if self.lanes(inst) == Some(layout) {
                run.parts.push(inst);
                made.insert(func.result(inst));
            } else if self.goes_first(inst) && func.insts[inst].operands().iter().all(|v| !made.contains(v)) {
                run.before.push(inst);
            } else {
                break;
            }
        }
        (run.parts.len() > 1).then_some(run)
    }

    /// The layout of all tiles of an instruction that computes each element of its result from the same element of its operands.
    fn lanes(&self, inst: Inst) -> Option<LayoutId> {
        let data = &self.func.insts[inst];
        if !by_lane(data) {
            return None;
        }
        let layout = |value: Value| self.func.ty(value).layout();
        let own = layout(self.func.result(inst))?;
        data.operands().into_iter().all(|v| layout(v) == Some(own)).then_some(own)
    }

    fn in_parts(&mut self, run: &Run) -> Result<()> {
        let func = self.func;
        run.before.iter().try_for_each(|&inst| self.one(inst))?;
        let made: Vec<Value> = run.parts.iter().map(|&inst| func.result(inst)).collect();
        let mut outside: Vec<(Value, Rc<[Val]>)> = vec![];
        for value in run.parts.iter().flat_map(|&inst| func.insts[inst].operands()) {
            if !made.contains(&value) && outside.iter().all(|(known, _)| *known != value) {
                outside.push((value, self.regs(value)));
            }
        }
        let count = self.register_count(func.ty(made[0]));
        let mut whole: Vec<Vec<Val>> = made.iter().map(|_| Vec::with_capacity(count)).collect();
        for start in (0..count).step_by(PART) {
            let part: Range<usize> = start..count.min(start + PART);
            for (value, regs) in &outside {
                self.set(*value, Slot::Tile(regs[part.clone()].into()));
            }
            self.part = Some(part.len());
            for (&inst, whole) in run.parts.iter().zip(&mut whole) {
                self.one(inst)?;
                whole.extend(self.regs(func.result(inst)).iter().copied());
            }
        }
        self.part = None;
        for (value, regs) in outside {
            self.set(value, Slot::Tile(regs));
        }
        made.into_iter().zip(whole).for_each(|(value, regs)| self.define_value(value, regs));
        Ok(())
    }

    /// Whether an instruction neither takes memory nor waits for anything nor makes many elements, so that it may stand in front of others that it does not
    /// need.
    fn goes_first(&self, inst: Inst) -> bool {
        match &self.func.insts[inst] {
            InstData::Const { .. } | InstData::Iota { .. } | InstData::Broadcast { .. } | InstData::ExpandDims { .. } => true,
            data => by_lane(data) && self.register_count(self.func.ty(self.func.result(inst))) < MANY as usize,
        }
    }
}

/// Whether each element of a result comes of the same element of the operands.
fn by_lane(data: &InstData) -> bool {
    matches!(
        data,
        InstData::Unary { .. }
            | InstData::Binary { .. }
            | InstData::Fma { .. }
            | InstData::Cmp { .. }
            | InstData::Select { .. }
            | InstData::Cast { .. }
            | InstData::Bitcast { .. }
    )
}
