//! Program order of global memory: a program is one logical thread, but its threads run apart. Before an access that could
//! meet an earlier one of another thread, the compiler puts a barrier.
//!
//! Two accesses need one when they may touch one location and at least one writes, unless both have the same index values in
//! the same layout and every element has one owner: then each location belongs to one thread.

use kiln_ir::{Block, Elem, Function, Inst, InstData, LayoutId, Place, TypeData, Value, ValueDef};

use super::emit::Emitter;

/// What memory an access is based on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Root {
    /// A parameter of the kernel.
    Param(u32),
    /// A pointer from elsewhere.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Read,
    Write,
    /// A read-modify-write; among themselves they are ordered by the memory system.
    Atomic,
}

#[derive(Clone, PartialEq, Debug)]
struct Touch {
    root: Root,
    kind: Kind,
    /// The place and layout, where each element has one owner. None: any thread may touch any element.
    owned: Option<(Place, LayoutId)>,
}

/// Accesses since the last barrier.
#[derive(Clone, Default, Debug)]
pub(super) struct MemoryOrder {
    touched: Vec<Touch>,
}

impl MemoryOrder {
    /// A barrier was passed.
    pub(super) fn clear(&mut self) {
        self.touched.clear();
    }

    /// Control comes from here or from `other`.
    pub(super) fn join(&mut self, other: MemoryOrder) {
        for touch in other.touched {
            self.add(touch);
        }
    }

    fn add(&mut self, touch: Touch) {
        if !self.touched.contains(&touch) {
            self.touched.push(touch);
        }
    }
}

impl Emitter<'_> {
    /// Called before the access of a memory instruction is written.
    pub(super) fn order_before(&mut self, inst: Inst) {
        let Some(touch) = self.touch(inst) else { return };
        let conflict = self.order.touched.iter().any(|earlier| self.conflicts(earlier, &touch));
        if conflict {
            self.barrier();
        }
        self.order.add(touch);
    }

    /// Called before a loop: what its trips touch, an earlier trip may have touched.
    pub(super) fn order_enter_loop(&mut self, blocks: &[Block]) {
        for &block in blocks {
            for &inst in &self.func.blocks[block].insts {
                if let Some(touch) = self.touch(inst) {
                    self.order.add(Touch { owned: None, ..touch });
                }
                let inner = self.func.insts[inst].blocks();
                self.order_enter_loop(&inner);
            }
        }
    }

    fn touch(&self, inst: Inst) -> Option<Touch> {
        let (place, kind, value) = match &self.func.insts[inst] {
            InstData::Load { place, .. } | InstData::AtomicLoad { place, .. } => (place, Kind::Read, self.func.result(inst)),
            InstData::Store { place, value, .. } | InstData::AtomicStore { place, value, .. } => (place, Kind::Write, *value),
            InstData::AtomicRmw { place, value, .. } | InstData::AtomicCas { place, value, .. } => (place, Kind::Atomic, *value),
            // The engine writes for no thread in particular.
            InstData::TmaStore { place, value, reduce } => {
                (place, if reduce.is_some() { Kind::Atomic } else { Kind::Write }, *value)
            }
            _ => return None,
        };
        let root = match place {
            Place::Ptr(pointer) => root_of(self.func, *pointer),
            Place::View(access) => root_of(self.func, access.view),
        };
        let one_owner = |id: &LayoutId| id.layout().free_threads() == (0, 0);
        let by_threads = !matches!(self.func.insts[inst], InstData::TmaStore { .. });
        let owned = self.func.ty(value).layout().filter(|id| by_threads && one_owner(id)).map(|id| (place.clone(), id));
        Some(Touch { root, kind, owned })
    }

    fn conflicts(&self, a: &Touch, b: &Touch) -> bool {
        let writes = a.kind != b.kind || a.kind == Kind::Write;
        let same_owners = a.owned.is_some() && a.owned == b.owned;
        writes && !same_owners && self.may_alias(a.root, b.root)
    }

    fn may_alias(&self, a: Root, b: Root) -> bool {
        let (Root::Param(a), Root::Param(b)) = (a, b) else { return true };
        if a == b {
            return true;
        }
        // Tensors of one launch overlap only where the kernel allows it; a `ptr` that is not `mut` is not written.
        let open = |number: u32| {
            let value = self.func.param_values()[number as usize];
            match self.func.ty(value).data() {
                TypeData::View { .. } => self.func.params[number as usize].tensor.as_ref().is_some_and(|facts| facts.may_alias),
                TypeData::Tile { elem, .. } => matches!(elem, Elem::Ptr { mutable: true, .. }),
            }
        };
        open(a) && open(b)
    }

    /// Nothing the kernel does writes what `place` refers to: loads may go through the read-only path.
    pub(super) fn is_constant(&self, place: &Place) -> bool {
        let Place::View(access) = place else { return false };
        let Root::Param(number) = root_of(self.func, access.view) else { return false };
        let value = self.func.param_values()[number as usize];
        let facts = self.func.params[number as usize].tensor.as_ref();
        matches!(self.func.ty(value).data(), TypeData::View { mutable: false, .. }) && facts.is_some_and(|f| !f.may_alias)
    }
}

/// The parameter that a pointer or view comes from.
fn root_of(func: &Function, value: Value) -> Root {
    if let ValueDef::Param(block, number) = func.values[value].def
        && block == func.body
    {
        return Root::Param(u32::from(number));
    }
    match func.def_data(value) {
        Some(
            InstData::PtrAdd { ptr: from, .. }
            | InstData::ViewPtr { view: from }
            | InstData::MakeView { ptr: from, .. }
            | InstData::SubView { view: from, .. }
            | InstData::PermuteView { view: from, .. }
            | InstData::Broadcast { arg: from }
            | InstData::ExpandDims { arg: from, .. }
            | InstData::Reshape { arg: from }
            | InstData::Permute { arg: from, .. }
            | InstData::ConvertLayout { arg: from },
        ) => root_of(func, *from),
        _ => Root::Unknown,
    }
}
