//! Rules of shape operations: chains merge, identities go, constants pass through.

use kiln_ir::{Const, Inst, InstData, Value};
use smallvec::{SmallVec, smallvec};

use super::{Step, Walk};

impl Walk<'_> {
    pub(super) fn shapes(&mut self, inst: Inst) -> Step {
        let data = self.func.insts[inst].clone();
        if let InstData::Split { arg } = data {
            return self.split(inst, arg);
        }
        let ty = self.ty(self.func.result(inst));
        // Moving lanes of one value around changes nothing.
        let operands = data.operands();
        if let Some(first) = operands.first()
            && let Some(value) = self.splat(*first)
            && operands.iter().all(|&v| self.splat(v) == Some(value))
        {
            return self.replace_by_const(inst, value);
        }
        match data {
            InstData::Broadcast { arg } | InstData::Reshape { arg } if self.ty(arg) == ty => Step::value(arg),
            InstData::Broadcast { arg } => match self.def(arg) {
                Some(&InstData::Broadcast { arg: inner }) => self.replace_by(inst, InstData::Broadcast { arg: inner }),
                // A scalar has no axes to keep apart.
                Some(&(InstData::ExpandDims { arg: inner, .. } | InstData::Reshape { arg: inner }))
                    if self.ty(inner).is_scalar() =>
                {
                    self.replace_by(inst, InstData::Broadcast { arg: inner })
                }
                _ => Step::Keep,
            },
            InstData::Reshape { arg } => match self.def(arg) {
                Some(&(InstData::Reshape { arg: inner } | InstData::ExpandDims { arg: inner, .. })) => {
                    self.replace_by(inst, InstData::Reshape { arg: inner })
                }
                Some(&InstData::Broadcast { arg: inner }) if self.ty(inner).is_scalar() => {
                    self.replace_by(inst, InstData::Broadcast { arg: inner })
                }
                _ => Step::Keep,
            },
            InstData::ExpandDims { arg, .. } | InstData::Flip { arg, .. } | InstData::ExtractSlice { arg, .. } if matches!(self.def(arg), Some(&InstData::Broadcast { arg: inner }) if self.ty(inner).is_scalar()) =>
            {
                let Some(&InstData::Broadcast { arg: inner }) = self.def(arg) else { return Step::Keep };
                self.replace_by(inst, InstData::Broadcast { arg: inner })
            }
            InstData::Permute { arg, perm } => {
                if perm.iter().enumerate().all(|(i, &p)| usize::from(p) == i) {
                    return Step::value(arg);
                }
                match self.def(arg) {
                    Some(InstData::Permute { arg: inner, perm: first }) => {
                        let (inner, perm) = (*inner, perm.iter().map(|&p| first[usize::from(p)]).collect());
                        self.replace_by(inst, InstData::Permute { arg: inner, perm })
                    }
                    Some(&InstData::Broadcast { arg: inner }) if self.ty(inner).is_scalar() => {
                        self.replace_by(inst, InstData::Broadcast { arg: inner })
                    }
                    _ => Step::Keep,
                }
            }
            InstData::Flip { arg, axis } => match self.def(arg) {
                Some(&InstData::Flip { arg: inner, axis: first }) if first == axis => Step::value(inner),
                _ if self.ty(arg).shape()[usize::from(axis)] == 1 => Step::value(arg),
                _ => Step::Keep,
            },
            InstData::ExtractSlice { arg, starts } => {
                if self.ty(arg) == ty {
                    return Step::value(arg);
                }
                match self.def(arg) {
                    Some(InstData::ExtractSlice { arg: inner, starts: first }) => {
                        let (inner, starts) = (*inner, starts.iter().zip(first).map(|(a, b)| a + b).collect());
                        self.replace_by(inst, InstData::ExtractSlice { arg: inner, starts })
                    }
                    Some(&InstData::Iota { start }) => {
                        let start = start + i64::from(starts[0]);
                        self.replace_by(inst, InstData::Iota { start })
                    }
                    _ => Step::Keep,
                }
            }
            InstData::Cat { args, .. } if args.len() == 1 => Step::value(args[0]),
            InstData::Join { a, b } => match (self.split_half(a), self.split_half(b)) {
                (Some((x, 0)), Some((y, 1))) if x == y => Step::value(x),
                _ => Step::Keep,
            },
            InstData::ConstTile { values } => match values.split_first() {
                Some((&first, rest)) if rest.iter().all(|&v| v == first) => {
                    self.replace_by(inst, InstData::Const { value: first })
                }
                _ => Step::Keep,
            },
            _ => Step::Keep,
        }
    }

    fn split(&mut self, inst: Inst, arg: Value) -> Step {
        if let Some(value) = self.splat(arg) {
            let ty = self.ty(self.func.results_of(inst)[0]);
            let half: Const = value;
            let result = self.constant(half, ty);
            return Step::Values(smallvec![result, result]);
        }
        match self.def(arg) {
            Some(&InstData::Join { a, b }) => Step::Values(SmallVec::from_slice(&[a, b])),
            _ => Step::Keep,
        }
    }

    /// What was split, when the value is a half of it, and which half.
    fn split_half(&self, value: Value) -> Option<(Value, usize)> {
        let inst = self.func.def_inst(value)?;
        let InstData::Split { arg } = self.func.insts[inst] else { return None };
        Some((arg, self.func.results_of(inst).iter().position(|&r| r == value)?))
    }
}
