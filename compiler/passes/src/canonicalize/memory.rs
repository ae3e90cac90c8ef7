//! Rules of views and memory accesses: known facts of tensors become constants, masks that are always true go, accesses that never happen go.

use kiln_ir::{Const, Inst, InstData, IntFact, TypeData, Value, ValueDef};

use super::{Step, Walk};

impl Walk<'_> {
    pub(super) fn memory(&mut self, inst: Inst) -> Step {
        match self.func.insts[inst].clone() {
            InstData::ViewDim { view, axis } => {
                if let Some(value) = self.fact(view, axis, |facts| &facts.dims).and_then(|f| f.known) {
                    return self.replace_by_const(inst, Const::Int(value));
                }
                match self.def(view) {
                    Some(InstData::MakeView { dims, .. }) => Step::value(dims[usize::from(axis)]),
                    Some(InstData::PermuteView { view, perm }) => {
                        let data = InstData::ViewDim { view: *view, axis: perm[usize::from(axis)] };
                        self.replace_by(inst, data)
                    }
                    _ => Step::Keep,
                }
            }
            InstData::ViewStride { view, axis } => {
                if let Some(value) = self.fact(view, axis, |facts| &facts.strides).and_then(|f| f.known) {
                    return self.replace_by_const(inst, Const::Int(value));
                }
                let axis = usize::from(axis);
                match self.def(view) {
                    Some(InstData::MakeView { strides, .. }) => Step::value(strides[axis]),
                    Some(InstData::PermuteView { view, perm }) => {
                        let data = InstData::ViewStride { view: *view, axis: perm[axis] };
                        self.replace_by(inst, data)
                    }
                    Some(InstData::SubView { view, index }) => {
                        let kept = (0..index.len()).filter(|&d| !matches!(index[d], kiln_ir::ViewIndex::At(_))).nth(axis);
                        let (view, Some(axis)) = (*view, kept) else { return Step::Keep };
                        self.replace_by(inst, InstData::ViewStride { view, axis: axis as u8 })
                    }
                    _ => Step::Keep,
                }
            }
            InstData::ViewPtr { view } => match self.def(view) {
                Some(&InstData::MakeView { ptr, .. }) if self.ty(ptr) == self.ty(self.func.result(inst)) => Step::value(ptr),
                Some(&InstData::PermuteView { view, .. }) => self.replace_by(inst, InstData::ViewPtr { view }),
                _ => Step::Keep,
            },
            InstData::PermuteView { view, perm } => {
                if perm.iter().enumerate().all(|(i, &p)| usize::from(p) == i) {
                    return Step::value(view);
                }
                match self.def(view) {
                    Some(InstData::PermuteView { view: inner, perm: first }) => {
                        let (inner, perm) = (*inner, perm.iter().map(|&p| first[usize::from(p)]).collect());
                        self.replace_by(inst, InstData::PermuteView { view: inner, perm })
                    }
                    _ => Step::Keep,
                }
            }
            InstData::Load { mask, other, .. } => self.load(inst, mask, other),
            InstData::Histogram { mask, .. } => match mask.and_then(|m| self.int(m)) {
                Some(0) => self.replace_by_const(inst, Const::Int(0)),
                Some(_) => self.drop_mask(inst),
                None => Step::Keep,
            },
            InstData::Store { mask, .. } | InstData::Prefetch { mask, .. } | InstData::AtomicStore { mask, .. } => {
                match mask.and_then(|m| self.int(m)) {
                    Some(0) => Step::remove(),
                    Some(_) => self.drop_mask(inst),
                    None => Step::Keep,
                }
            }
            // An atomic that no lane takes part in still orders memory; only its mask is looked at.
            InstData::AtomicRmw { mask, .. } | InstData::AtomicCas { mask, .. } | InstData::AtomicLoad { mask, .. } => {
                match mask.and_then(|m| self.int(m)) {
                    Some(c) if c != 0 => self.drop_mask(inst),
                    _ => Step::Keep,
                }
            }
            _ => Step::Keep,
        }
    }

    fn load(&mut self, inst: Inst, mask: Option<Value>, other: Option<Value>) -> Step {
        match mask.and_then(|m| self.int(m)) {
            Some(0) => match other {
                Some(other) => return Step::value(other),
                None => {
                    let ty = self.ty(self.func.result(inst));
                    let float = ty.scalar_elem().is_some_and(|s| s.is_float());
                    return self.replace_by_const(inst, if float { Const::Float(0.0) } else { Const::Int(0) });
                }
            },
            Some(_) => return self.drop_mask(inst),
            None => {}
        }
        // Absent lanes read 0 anyway.
        if other.and_then(|v| self.splat(v)).is_some_and(|c| matches!(c, Const::Int(0)) || c == Const::Float(0.0))
            && let InstData::Load { other, .. } = &mut self.func.insts[inst]
        {
            *other = None;
            return Step::Again;
        }
        Step::Keep
    }

    fn drop_mask(&mut self, inst: Inst) -> Step {
        match &mut self.func.insts[inst] {
            InstData::Load { mask, .. }
            | InstData::Store { mask, .. }
            | InstData::Prefetch { mask, .. }
            | InstData::AtomicRmw { mask, .. }
            | InstData::AtomicCas { mask, .. }
            | InstData::AtomicLoad { mask, .. }
            | InstData::AtomicStore { mask, .. }
            | InstData::Histogram { mask, .. } => *mask = None,
            _ => return Step::Keep,
        }
        Step::Again
    }

    /// The fact of one dimension of a tensor parameter.
    fn fact(
        &self,
        view: Value,
        axis: u8,
        list: fn(&kiln_ir::TensorFacts) -> &smallvec::SmallVec<[IntFact; 5]>,
    ) -> Option<IntFact> {
        let ValueDef::Param(block, number) = self.func.values[view].def else { return None };
        if block != self.func.body || !matches!(self.ty(view).data(), TypeData::View { .. }) {
            return None;
        }
        let facts = self.func.params.get(usize::from(number))?.tensor.as_ref()?;
        list(facts).get(usize::from(axis)).copied()
    }
}
