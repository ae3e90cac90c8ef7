//! Which memory instructions touch, as far as the language separates it.
//!
//! Tensor parameters of which one is `mut` do not overlap (the launch checks it) unless they are in a `#[may_alias]` list. Pointers have no extent
//! that a launch could check: what is reached through them may be anything. Atomics that acquire, and grid barriers, let what other programs
//! wrote become visible: they count as writes of everything that can be written.

use cranelift_entity::EntitySet;
use kiln_ir::ops::MemOrder;
use kiln_ir::{Block, Function, Inst, InstData, Place, TypeData, Value, ValueDef};
use smallvec::SmallVec;

/// Where a view or pointer leads.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Root {
    /// Tensor parameter number `0` of the function, which overlaps no other.
    Tensor(u16),
    /// Anywhere.
    Unknown,
}

/// The root of a place.
pub fn root(func: &Function, place: &Place) -> Root {
    match place {
        Place::View(access) => view_root(func, access.view),
        Place::Ptr(_) => Root::Unknown,
    }
}

/// The root of a view.
pub fn view_root(func: &Function, mut view: Value) -> Root {
    loop {
        match func.values[view].def {
            ValueDef::Param(block, number) if block == func.body => {
                let facts = func.params.get(usize::from(number)).and_then(|p| p.tensor.as_ref());
                return match facts {
                    Some(facts) if !facts.may_alias => Root::Tensor(number),
                    _ => Root::Unknown,
                };
            }
            ValueDef::Param(..) => return Root::Unknown,
            ValueDef::Result(inst, _) => match &func.insts[inst] {
                InstData::SubView { view: parent, .. } | InstData::PermuteView { view: parent, .. } => view = *parent,
                _ => return Root::Unknown,
            },
        }
    }
}

/// Memory that a piece of code may write.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Writes {
    /// Tensor parameters.
    pub tensors: SmallVec<[u16; 4]>,
    /// Anything at all.
    pub anywhere: bool,
    /// Everything mutable may look different, because other programs' writes become visible.
    pub others_visible: bool,
}

impl Writes {
    /// What one instruction and the blocks inside it may write.
    pub fn of_inst(func: &Function, inst: Inst) -> Writes {
        let mut writes = Writes::default();
        writes.add(func, inst);
        writes
    }

    /// Adds what an instruction and the blocks inside it may write.
    pub fn add(&mut self, func: &Function, inst: Inst) {
        let acquires = |order: MemOrder| matches!(order, MemOrder::Acquire | MemOrder::AcqRel);
        match &func.insts[inst] {
            InstData::Store { place, .. } | InstData::TmaStore { place, .. } | InstData::AtomicStore { place, .. } => {
                self.add_root(root(func, place))
            }
            InstData::AtomicRmw { place, order, .. } | InstData::AtomicCas { place, order, .. } => {
                self.add_root(root(func, place));
                self.others_visible |= acquires(*order);
            }
            // Reading what others write: two reads may differ.
            InstData::AtomicLoad { place, order, .. } => {
                self.add_root(root(func, place));
                self.others_visible |= acquires(*order);
            }
            InstData::GridSync => self.others_visible = true,
            InstData::Call { .. } | InstData::InlineAsm { pure_: false, .. } => self.anywhere = true,
            data => {
                for block in data.blocks() {
                    self.add_block(func, block);
                }
            }
        }
    }

    /// Adds what the instructions of a block may write.
    pub fn add_block(&mut self, func: &Function, block: Block) {
        for &inner in &func.blocks[block].insts {
            self.add(func, inner);
        }
    }

    fn add_root(&mut self, root: Root) {
        match root {
            Root::Tensor(number) if self.tensors.contains(&number) => {}
            Root::Tensor(number) => self.tensors.push(number),
            Root::Unknown => self.anywhere = true,
        }
    }

    /// Nothing is written.
    pub fn is_empty(&self) -> bool {
        *self == Writes::default()
    }

    /// Whether reading from `root` after the writes may give something else than before.
    pub fn may_change(&self, func: &Function, root: Root) -> bool {
        match root {
            _ if self.anywhere => true,
            Root::Tensor(number) => self.tensors.contains(&number) || (self.others_visible && is_mutable(func, number)),
            Root::Unknown => !self.is_empty(),
        }
    }
}

/// Whether tensor parameter `number` may be written by the kernel.
pub fn is_mutable(func: &Function, number: u16) -> bool {
    func.param_values()
        .get(usize::from(number))
        .is_some_and(|&param| matches!(func.ty(param).data(), TypeData::View { mutable: true, .. }))
}

/// The values that a block and the blocks inside it define.
pub fn defined_in(func: &Function, block: Block, set: &mut EntitySet<Value>) {
    for &param in &func.blocks[block].params {
        set.insert(param);
    }
    for &inst in &func.blocks[block].insts {
        for &result in func.results_of(inst) {
            set.insert(result);
        }
        for inner in func.insts[inst].blocks() {
            defined_in(func, inner, set);
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_ir::FuncRef;
    use kiln_ir::text::parse_module;

    use super::*;

    #[test]
    fn writes_are_separated_by_parameter() {
        let text = "kernel @0 k(v0.x: mut tensor<f32, 2> {number 0, align 4, dims [?, ?], strides [?, ?]}, \
            v1.y: mut tensor<f32, 1> {number 1, align 4, dims [?], strides [?]}, v2.z: mut tensor<f32, 1> {number 2, align 4, dims [?], strides [?], may_alias}, \
            v3.c: tensor<f32, 1> {number 3, align 4, dims [?], strides [?]}, v4.i: index {number 4}, v5.f: f32 {number 5}) grid 1 index 64 {
            v6: mut tensor<f32, 1> = subview v0[v4, :]
            store v6[v4], v5
            store v2[v4], v5
            v7: f32 = atomic add v1[v4], v5 acquire device
            yield
        }";
        let module = parse_module(text).unwrap();
        let func = &module.funcs[FuncRef::from_u32(0)];
        let writes = |n: usize| Writes::of_inst(func, func.blocks[func.body].insts[n]);
        let (x, y, c) = (Root::Tensor(0), Root::Tensor(1), Root::Tensor(3));
        assert!(writes(1).may_change(func, x) && !writes(1).may_change(func, y) && writes(1).may_change(func, Root::Unknown));
        assert!(writes(2).may_change(func, x) && writes(2).may_change(func, c));
        assert!(writes(3).may_change(func, x) && writes(3).may_change(func, y) && !writes(3).may_change(func, c));
        assert!(writes(0).is_empty() && !writes(0).may_change(func, Root::Unknown));
    }
}
