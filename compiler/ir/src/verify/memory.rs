//! The rules of views, pointers and memory operations.

use super::Checker;
use super::types::is_permutation;
use crate::builder::{access_shape, broadcast_shapes};
use crate::entity::{Inst, Value};
use crate::inst::{InstData, Place, SliceIndex, ViewAccess, ViewIndex};
use crate::ops::{AtomicOp, MemOrder};
use crate::types::{Elem, ScalarType, Shape, Type, TypeData};

/// Checks an instruction that concerns views or memory; false when it is another one.
pub(super) fn check(c: &mut Checker<'_>, inst: Inst, results: &[Type]) -> bool {
    let func = c.func;
    let mut rule = MemoryRule { c, inst };
    match &func.insts[inst] {
        InstData::MakeView { ptr, dims, strides } => rule.make_view(*ptr, dims, strides, results[0]),
        InstData::SubView { view, index } => rule.sub_view(*view, index, results[0]),
        InstData::PermuteView { view, perm } => {
            if let Some((elem, rank, mutable)) = rule.view(*view) {
                rule.require(is_permutation(perm, rank), || format!("{perm:?} does not permute rank {rank}"));
                rule.is_view_of(results[0], elem, rank, mutable);
            }
        }
        InstData::ViewDim { view, axis } | InstData::ViewStride { view, axis } => {
            if let Some((_, rank, _)) = rule.view(*view) {
                rule.require(usize::from(*axis) < rank, || format!("axis {axis} of rank {rank}"));
            }
            rule.require(results[0] == Type::index(), || format!("{}, expected index", results[0]));
        }
        InstData::ViewPtr { view } => {
            if let Some((elem, _, mutable)) = rule.view(*view) {
                let fits = matches!((elem, results[0].elem()), (Elem::Scalar(s), Elem::Ptr { pointee, mutable: m })
                    if pointee == s && (mutable || !m) && results[0].is_scalar());
                rule.require(fits, || format!("{} is no pointer into a view of {elem}", results[0]));
            }
        }
        InstData::Load { place, mask, other, .. } => {
            if let Some((elem, shape)) = rule.place(place, false) {
                rule.tile(results[0], elem, &shape);
                rule.mask(*mask, &shape);
                if let Some(other) = other {
                    rule.tile(func.ty(*other), elem, &shape);
                }
            }
        }
        InstData::Store { place, value, mask, .. } => rule.written(place, &[*value], *mask, None),
        InstData::Prefetch { place, mask } => {
            if let Some((_, shape)) = rule.place(place, false) {
                rule.mask(*mask, &shape);
            }
        }
        InstData::AtomicRmw { op, place, value, mask, .. } => {
            rule.written(place, &[*value], *mask, Some(results[0]));
            let accepts = |s: ScalarType| match op {
                AtomicOp::Add | AtomicOp::Xchg => s != ScalarType::Bool && s != ScalarType::Index,
                AtomicOp::Max | AtomicOp::Min => s.is_int() || matches!(s, ScalarType::F32 | ScalarType::F64),
                AtomicOp::And | AtomicOp::Or | AtomicOp::Xor => s.is_int(),
            };
            let fits = results[0].scalar_elem().is_some_and(accepts) && results[0].scalar_elem() != Some(ScalarType::Index);
            rule.require(fits, || format!("atomic {op} of {}", results[0]));
        }
        InstData::AtomicCas { place, expected, value, mask, .. } => {
            rule.written(place, &[*expected, *value], *mask, Some(results[0]));
            let fits = results[0].scalar_elem().is_some_and(|s| s.is_int() && s != ScalarType::Index);
            rule.require(fits, || format!("atomic cas of {}", results[0]));
        }
        InstData::AtomicLoad { place, mask, order, .. } => {
            if let Some((elem, shape)) = rule.place(place, false) {
                rule.tile(results[0], elem, &shape);
                rule.mask(*mask, &shape);
            }
            rule.require(matches!(order, MemOrder::Relaxed | MemOrder::Acquire), || format!("an atomic load is not {order}"));
        }
        InstData::AtomicStore { place, value, mask, order, .. } => {
            rule.written(place, &[*value], *mask, None);
            rule.require(matches!(order, MemOrder::Relaxed | MemOrder::Release), || format!("an atomic store is not {order}"));
        }
        InstData::RingNew { slots } => {
            rule.require(*slots >= 1, || "a ring of no slots".into());
            rule.require(results[0].layout().is_some(), || format!("{} is no tile in shared memory", results[0]));
        }
        InstData::RingAcquire { ring } => _ = rule.ring(*ring, None),
        InstData::RingFill { place, mask, ring, slot, enable, .. } => {
            if let (Some((elem, shape)), Some(of)) = (rule.place(place, false), rule.ring(*ring, Some(*slot))) {
                rule.tile(of, elem, &shape);
                rule.mask(*mask, &shape);
            }
            let scalar = enable.is_none_or(|v| func.ty(v) == Type::bool());
            rule.require(scalar, || "a fill is enabled by a scalar bool".into());
        }
        InstData::RingRead { ring, slot } => {
            if let Some(of) = rule.ring(*ring, Some(*slot)) {
                let apart = results[0].layout().is_none_or(|layout| !layout.layout().is_shared());
                let fits = results[0] == of || apart && results[0].with_layout(None) == of.with_layout(None);
                rule.require(fits, || format!("{}, expected {of}", results[0]));
            }
        }
        InstData::RingCommit | InstData::RingWait { .. } => {}
        InstData::BarrierNew { count, arrivals } => {
            rule.require(*count >= 1 && *arrivals >= 1, || "no barriers, or none arrives".into());
            rule.require(results[0] == Type::scalar(ScalarType::I32), || format!("{}, expected i32", results[0]));
        }
        InstData::BarrierExpect { barrier, slot, .. } => rule.barrier(*barrier, *slot),
        InstData::BarrierArrive { barrier, slot, enable, .. } => {
            rule.barrier(*barrier, *slot);
            let scalar = enable.is_none_or(|v| func.ty(v) == Type::bool());
            rule.require(scalar, || "an arrival is enabled by a scalar bool".into());
        }
        InstData::BarrierWait { barrier, slot, phase } => {
            rule.barrier(*barrier, *slot);
            let parity = func.ty(*phase) == Type::scalar(ScalarType::I32);
            rule.require(parity, || "a phase is a scalar i32".into());
        }
        InstData::TmaFill { place, ring, slot, barrier, share, tf32 } => {
            let ranked = share.is_none_or(|v| func.ty(v) == Type::index());
            rule.require(ranked, || "a copy is shared by the rank in a cluster".into());
            rule.barrier(*barrier, *slot);
            rule.require(matches!(place, Place::View(_)), || "a tensor copy is of a view".into());
            if let (Some((elem, shape)), Some(of)) = (rule.place(place, false), rule.ring(*ring, Some(*slot))) {
                rule.tile(of, elem, &shape);
                let single = elem.scalar() == Some(ScalarType::F32);
                rule.require(single || !tf32, || format!("{elem} is not rounded to tf32"));
            }
        }
        InstData::TmaStore { place, value, reduce } => {
            rule.require(matches!(place, Place::View(_)), || "a tensor copy is of a view".into());
            let ty = func.ty(*value);
            let exists = reduce.is_none_or(|op| ty.scalar_elem().is_some_and(|elem| op.reduces_in_copies(elem)));
            rule.require(exists, || format!("no tensor copy reduces {ty} so"));
            rule.written(place, &[*value], None, None);
        }
        _ => return false,
    }
    true
}

struct MemoryRule<'c, 'a> {
    c: &'c mut Checker<'a>,
    inst: Inst,
}

impl MemoryRule<'_, '_> {
    fn require(&mut self, holds: bool, message: impl FnOnce() -> String) {
        self.c.require(self.inst, holds, message);
    }

    fn tile(&mut self, found: Type, elem: Elem, shape: &[u32]) {
        let expected = Type::tile(elem, shape);
        self.require(found.is_tile() && found.with_layout(None) == expected, || format!("{found}, expected {expected}"));
    }

    /// The type of the tiles of a ring, whose slot is a scalar i32.
    fn ring(&mut self, ring: Value, slot: Option<Value>) -> Option<Type> {
        let func = self.c.func;
        let number = slot.is_none_or(|slot| func.ty(slot) == Type::scalar(ScalarType::I32));
        self.require(number, || "a slot is a scalar i32".into());
        let is_ring = matches!(func.def_data(ring), Some(InstData::RingNew { .. }));
        self.require(is_ring, || format!("{} is no ring", func.ty(ring)));
        is_ring.then(|| func.ty(ring))
    }

    /// Barriers, one of which has the number `slot`.
    fn barrier(&mut self, barrier: Value, slot: Value) {
        let func = self.c.func;
        let made = matches!(func.def_data(barrier), Some(InstData::BarrierNew { .. }));
        self.require(made, || "these are no barriers".into());
        let number = func.ty(slot) == Type::scalar(ScalarType::I32);
        self.require(number, || "a slot is a scalar i32".into());
    }

    fn mask(&mut self, mask: Option<Value>, shape: &[u32]) {
        if let Some(mask) = mask {
            self.tile(self.c.func.ty(mask), ScalarType::Bool.into(), shape);
        }
    }

    /// Element, rank and mutability of a view.
    fn view(&mut self, value: Value) -> Option<(Elem, usize, bool)> {
        let ty = self.c.func.ty(value);
        match ty.data() {
            TypeData::View { elem, rank, mutable } => Some((*elem, usize::from(*rank), *mutable)),
            TypeData::Tile { .. } => {
                self.require(false, || format!("{ty} is not a view"));
                None
            }
        }
    }

    fn is_view_of(&mut self, found: Type, elem: Elem, rank: usize, mutable: bool) {
        let fits = matches!(found.data(), TypeData::View { elem: e, rank: r, mutable: m }
            if *e == elem && usize::from(*r) == rank && (mutable || !m));
        self.require(fits, || format!("{found} is no view of rank {rank} of {elem}"));
        self.require((1..=5).contains(&found.rank()), || format!("{found}: a view has rank 1 to 5"));
    }

    fn scalar_index(&mut self, value: Value) {
        let ty = self.c.func.ty(value);
        self.require(ty == Type::index(), || format!("{ty}, expected a scalar index"));
    }

    fn make_view(&mut self, ptr: Value, dims: &[Value], strides: &[Value], result: Type) {
        let ty = self.c.func.ty(ptr);
        for &value in dims.iter().chain(strides) {
            self.scalar_index(value);
        }
        self.require(dims.len() == strides.len(), || format!("{} dims, {} strides", dims.len(), strides.len()));
        match ty.elem() {
            Elem::Ptr { pointee, mutable } if ty.is_scalar() => self.is_view_of(result, pointee.into(), dims.len(), mutable),
            _ => self.require(false, || format!("{ty} is not a scalar pointer")),
        }
    }

    fn sub_view(&mut self, view: Value, index: &[ViewIndex], result: Type) {
        let Some((elem, rank, mutable)) = self.view(view) else { return };
        self.require(index.len() == rank, || format!("{} indexes for rank {rank}", index.len()));
        let mut kept = 0;
        for index in index {
            match index {
                ViewIndex::At(at) => self.scalar_index(*at),
                ViewIndex::Range { lo, hi } => {
                    self.scalar_index(*lo);
                    self.scalar_index(*hi);
                    kept += 1;
                }
                ViewIndex::Full => kept += 1,
            }
        }
        self.is_view_of(result, elem, kept, mutable);
    }

    /// Element type and shape of what a place refers to.
    fn place(&mut self, place: &Place, writes: bool) -> Option<(Elem, Shape)> {
        match place {
            Place::Ptr(ptr) => {
                let ty = self.c.func.ty(*ptr);
                match ty.elem() {
                    Elem::Ptr { pointee, mutable } if ty.is_tile() => {
                        self.require(mutable || !writes, || format!("a write through {ty}"));
                        Some((pointee.into(), Shape::from_slice(ty.shape())))
                    }
                    _ => {
                        self.require(false, || format!("{ty} is not a pointer"));
                        None
                    }
                }
            }
            Place::View(access) => self.access(access, writes),
        }
    }

    fn access(&mut self, access: &ViewAccess, writes: bool) -> Option<(Elem, Shape)> {
        let (elem, rank, mutable) = self.view(access.view)?;
        self.require(mutable || !writes, || "a write through a constant view".into());
        self.require(access.index.len() == rank, || format!("{} indexes for rank {rank}", access.index.len()));
        self.require(u32::from(access.in_bounds) < 1 << rank, || format!("in_bounds {:#b} for rank {rank}", access.in_bounds));
        let mut joint = Shape::new();
        for index in &access.index {
            match index {
                SliceIndex::At(at) => self.scalar_index(*at),
                SliceIndex::Span { start, len } => {
                    self.scalar_index(*start);
                    self.require(*len >= 1, || "a span of no elements".into());
                }
                SliceIndex::Gather(tile) => {
                    let ty = self.c.func.ty(*tile);
                    let fits = ty.is_tile() && ty.scalar_elem() == Some(ScalarType::Index) && ty.rank() >= 1;
                    self.require(fits, || format!("{ty}, expected a tile of index"));
                    match broadcast_shapes(&joint, ty.shape()) {
                        Some(shape) => joint = shape,
                        None => self.require(false, || format!("index tiles {joint:?} and {:?} do not broadcast", ty.shape())),
                    }
                }
            }
        }
        Some((elem, access_shape(self.c.func, access)))
    }

    /// A place that is written (and read, when there is a result), with operands of its shape.
    fn written(&mut self, place: &Place, values: &[Value], mask: Option<Value>, result: Option<Type>) {
        let Some((elem, shape)) = self.place(place, true) else { return };
        for &value in values {
            self.tile(self.c.func.ty(value), elem, &shape);
        }
        if let Some(result) = result {
            self.tile(result, elem, &shape);
        }
        self.mask(mask, &shape);
    }
}
