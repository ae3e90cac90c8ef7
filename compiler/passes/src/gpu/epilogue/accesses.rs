//! What a kernel does with memory, as far as it decides which writes the TMA engine can do: its writes are in no order with other accesses of a program.

use kiln_ir::ops::{AtomicOp, MemOrder};
use kiln_ir::{Block, Function, Inst, InstData};

use crate::analysis::memory::{Root, root};

/// What an access does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Touch {
    Read,
    Write,
    /// A read-modify-write; of the same operator they commute.
    Reduce(AtomicOp),
}

/// An access of memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Access {
    pub(super) block: Block,
    pub(super) inst: Inst,
    root: Root,
    pub(super) touch: Touch,
    /// It stands in a loop of the source.
    pub(super) looped: bool,
}

/// Accesses of memory, in order.
#[derive(Default)]
pub(super) struct Accesses {
    pub(super) list: Vec<Access>,
    /// Something makes earlier writes visible to other programs.
    pub(super) publishes: bool,
}

impl Accesses {
    /// Those of a kernel.
    pub(super) fn of(func: &Function) -> Accesses {
        let mut accesses = Accesses::default();
        accesses.block(func, func.body, false);
        accesses
    }

    fn block(&mut self, func: &Function, block: Block, looped: bool) {
        for &inst in &func.blocks[block].insts {
            let data = &func.insts[inst];
            self.publishes |= matches!(data, InstData::GridSync | InstData::InlineAsm { pure_: false, .. });
            self.publishes |= data.order().is_some_and(|order| order != MemOrder::Relaxed);
            let access = match data {
                InstData::Load { place, .. } | InstData::RingFill { place, .. } | InstData::TmaFill { place, .. } => {
                    Some((place, Touch::Read))
                }
                InstData::Store { place, .. }
                | InstData::AtomicCas { place, .. }
                | InstData::AtomicLoad { place, .. }
                | InstData::AtomicStore { place, .. } => Some((place, Touch::Write)),
                InstData::AtomicRmw { op, place, .. } => Some((place, Touch::Reduce(*op))),
                _ => None,
            };
            if let Some((place, touch)) = access {
                self.list.push(Access { block, inst, root: root(func, place), touch, looped });
            }
            let trips = match data {
                InstData::For { attrs, .. } => !attrs.programs,
                InstData::While { .. } => true,
                _ => false,
            };
            for inner in data.blocks() {
                self.block(func, inner, looped || trips);
            }
        }
    }

    /// Nothing else of the program writes what number `at` does, or reads it behind that.
    pub(super) fn alone(&self, at: usize) -> bool {
        let here = &self.list[at];
        matches!(here.root, Root::Tensor(_))
            && self.list.iter().enumerate().all(|(number, other)| {
                let matters = other.touch != Touch::Read || number > at || here.looped;
                number == at || !matters || !here.meets(other)
            })
    }

    /// The accesses of what number `at` touches, itself included, where that is known and they all do the same as it; none where not.
    pub(super) fn alike(&self, at: usize) -> Vec<usize> {
        let here = &self.list[at];
        let met: Vec<usize> = (0..self.list.len()).filter(|&number| here.meets(&self.list[number])).collect();
        let same = |&number: &usize| self.list[number].touch == here.touch;
        if matches!(here.root, Root::Tensor(_)) && met.iter().all(same) { met } else { vec![] }
    }
}

impl Access {
    fn meets(&self, other: &Access) -> bool {
        other.root == self.root || other.root == Root::Unknown
    }
}
