//! `cse`: computes equal things once. An instruction whose like stands before it in the same or an enclosing block gives way to it; so does a
//! load, as long as nothing in between may have written what it reads.
//!
//! ```text
//! before: v2: f32 = load v0[v1]            after: v2: f32 = load v0[v1]
//!         v3: f32 = load v0[v1]                   v4: f32 = add v2, v2
//!         v4: f32 = add v2, v3                    store v0[v1], v4
//!         store v0[v1], v4                        v5: f32 = load v0[v1]
//!         v5: f32 = load v0[v1]
//! ```

use kiln_ir::{Block, Function, Inst, InstData, Type};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use crate::analysis::memory::{Root, Writes, is_mutable, root};
use crate::manager::{PassContext, PassResult};
use crate::replace::Replacements;

/// An instruction as a computation: what it does, what it gives, and the state of the memory it reads (0 when it reads none).
type Key = (InstData, SmallVec<[Type; 2]>, u32);

/// Runs the pass.
pub(crate) fn run(func: &mut Function, _: &PassContext) -> PassResult {
    let tensors = func.param_values().len();
    let mut walk =
        Walk { func, map: Replacements::default(), known: FxHashMap::default(), states: vec![1; tensors + 1], next_state: 2 };
    let body = walk.func.body;
    walk.block(body);
    Ok(())
}

struct Walk<'f> {
    func: &'f mut Function,
    map: Replacements,
    known: FxHashMap<Key, Inst>,
    /// A number for the present contents of each tensor parameter, and (last) of all memory.
    states: Vec<u32>,
    next_state: u32,
}

impl Walk<'_> {
    fn block(&mut self, block: Block) {
        let mut mine: Vec<Key> = Vec::new();
        let insts = std::mem::take(&mut self.func.blocks[block].insts);
        let mut kept = Vec::with_capacity(insts.len());
        for inst in insts {
            self.map.apply(self.func, inst);
            let key = self.key(inst);
            if let Some(key) = key {
                if let Some(&earlier) = self.known.get(&key) {
                    for number in 0..self.func.results_of(inst).len() {
                        let (old, new) = (self.func.results_of(inst)[number], self.func.results_of(earlier)[number]);
                        self.map.set(self.func, old, new);
                    }
                    continue;
                }
                self.known.insert(key.clone(), inst);
                mine.push(key);
            }
            self.regions(inst);
            kept.push(inst);
        }
        self.func.blocks[block].insts = kept;
        for key in mine {
            self.known.remove(&key);
        }
    }

    /// Walks the blocks of an instruction, and notes what it writes.
    fn regions(&mut self, inst: Inst) {
        let writes = Writes::of_inst(self.func, inst);
        match self.func.insts[inst] {
            InstData::For { body, .. } => {
                // An iteration sees what earlier ones wrote.
                self.invalidate(&writes);
                self.block(body);
            }
            InstData::While { cond, body, .. } => {
                self.invalidate(&writes);
                self.block(cond);
                self.block(body);
            }
            InstData::If { then, otherwise, .. } => {
                let before = self.states.clone();
                self.block(then);
                self.states = before;
                self.block(otherwise);
            }
            _ => {
                for block in self.func.insts[inst].blocks() {
                    self.block(block);
                }
            }
        }
        self.invalidate(&writes);
    }

    fn invalidate(&mut self, writes: &Writes) {
        if writes.is_empty() {
            return;
        }
        let state = self.next_state;
        self.next_state += 1;
        let last = self.states.len() - 1;
        self.states[last] = state;
        for number in 0..last {
            if writes.may_change(self.func, Root::Tensor(number as u16)) {
                self.states[number] = state;
            }
        }
        debug_assert!(!writes.anywhere || (0..last).all(|n| self.states[n] == state || !is_mutable(self.func, n as u16)));
    }

    /// What the instruction computes, if an equal one may stand for it.
    fn key(&self, inst: Inst) -> Option<Key> {
        let data = &self.func.insts[inst];
        let state = match data {
            InstData::Load { place, .. } => match root(self.func, place) {
                Root::Tensor(number) => self.states[usize::from(number)],
                Root::Unknown => *self.states.last()?,
            },
            _ if !data.own_effects().is_pure() || !data.blocks().is_empty() => return None,
            InstData::For { .. } | InstData::If { .. } => return None,
            _ => 0,
        };
        let mut data = data.clone();
        // Either order of commutative operands is one computation.
        if let InstData::Binary { op, a, b } = &mut data
            && op.is_commutative()
            && *a > *b
        {
            std::mem::swap(a, b);
        }
        let types = self.func.results_of(inst).iter().map(|&v| self.func.ty(v)).collect();
        Some((data, types, state))
    }
}
