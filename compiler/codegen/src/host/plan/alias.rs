//! Which memory an access touches: the tensor parameter its view comes from, or anything.

use kiln_ir::ops::MemOrder;
use kiln_ir::{Function, Inst, InstData, Place, Value, ValueDef};
use rustc_hash::FxHashMap;

/// The memory behind an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Object {
    /// Tensor parameter number n, which overlaps no other `mut` parameter.
    Param(u16),
    /// Anything: pointers, views made from pointers, tensors that may alias.
    Any,
}

impl Object {
    /// Whether two accesses may touch one location.
    pub fn may_alias(self, other: Object) -> bool {
        match (self, other) {
            (Object::Param(a), Object::Param(b)) => a == b,
            _ => true,
        }
    }
}

/// The object behind a view or pointer.
pub(crate) fn object_of(func: &Function, value: Value) -> Object {
    let mut value = value;
    loop {
        match func.values[value].def {
            ValueDef::Param(block, number) if block == func.body => {
                let info = &func.params[usize::from(number)];
                return match &info.tensor {
                    Some(facts) if !facts.may_alias => Object::Param(number),
                    _ => Object::Any,
                };
            }
            ValueDef::Param(..) => return Object::Any,
            ValueDef::Result(inst, _) => match &func.insts[inst] {
                InstData::SubView { view, .. } | InstData::PermuteView { view, .. } => value = *view,
                _ => return Object::Any,
            },
        }
    }
}

/// The object behind a place.
pub(crate) fn place_object(func: &Function, place: &Place) -> Object {
    match place {
        Place::View(access) => object_of(func, access.view),
        Place::Ptr(_) => Object::Any,
    }
}

/// A write (or a point that loads may not cross) at a position of the walk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Write {
    pub position: u32,
    pub object: Object,
}

/// What an instruction writes; an atomic with an order counts as a write of everything.
pub(crate) fn written(func: &Function, inst: Inst) -> Option<Object> {
    match &func.insts[inst] {
        InstData::Store { place, .. } => Some(place_object(func, place)),
        InstData::AtomicRmw { place, order, .. }
        | InstData::AtomicCas { place, order, .. }
        | InstData::AtomicLoad { place, order, .. }
        | InstData::AtomicStore { place, order, .. } => {
            Some(if *order == MemOrder::Relaxed { place_object(func, place) } else { Object::Any })
        }
        InstData::GridSync => Some(Object::Any),
        _ => None,
    }
}

/// Positions of instructions in walk order, the loops around them, and every write.
pub(crate) struct Order {
    /// Position of each instruction.
    pub position: FxHashMap<Inst, u32>,
    /// Position of each block's first instruction and one past its last (nested ones included), for loop bodies.
    loops: Vec<(u32, u32)>,
    writes: Vec<Write>,
}

impl Order {
    /// Numbers a function.
    pub fn new(func: &Function) -> Order {
        let mut order = Order { position: FxHashMap::default(), loops: Vec::new(), writes: Vec::new() };
        let mut next = 0;
        order.block(func, func.body, &mut next);
        order
    }

    fn block(&mut self, func: &Function, block: kiln_ir::Block, next: &mut u32) {
        for &inst in &func.blocks[block].insts {
            let start = *next;
            self.position.insert(inst, start);
            *next += 1;
            if let Some(object) = written(func, inst) {
                self.writes.push(Write { position: start, object });
            }
            for inner in func.insts[inst].blocks() {
                self.block(func, inner, next);
            }
            if matches!(func.insts[inst], InstData::For { .. } | InstData::While { .. }) {
                self.loops.push((start + 1, *next));
            }
        }
    }

    /// Whether what a load at `load` read may have changed when it is used at `user`.
    pub fn changed_between(&self, object: Object, load: u32, user: u32) -> bool {
        self.writes.iter().any(|w| {
            w.object.may_alias(object)
                && ((load < w.position && w.position < user)
                    || self.loops.iter().any(|&(lo, hi)| {
                        let inside = |p: u32| lo <= p && p < hi;
                        inside(user) && !inside(load) && inside(w.position)
                    }))
        })
    }

    /// Whether nothing in the kernel writes the object.
    pub fn read_only(&self, object: Object) -> bool {
        !self.writes.iter().any(|w| w.object.may_alias(object))
    }
}
