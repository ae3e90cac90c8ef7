//! Rules of lane-by-lane instructions.

use kiln_ir::ops::{BinaryOp, CmpOp, UnaryOp};
use kiln_ir::{Const, Inst, InstData, ScalarType, Type, Value};

use super::{Step, Walk};
use crate::fold;

impl Walk<'_> {
    pub(super) fn lanes(&mut self, inst: Inst) -> Step {
        match self.func.insts[inst].clone() {
            InstData::Unary { op, arg } => self.unary(inst, op, arg),
            InstData::Binary { op, a, b } => self.binary(inst, op, a, b),
            InstData::Fma { a, b, c } => {
                if let (Some(x), Some(y), Some(z), Some(ty)) =
                    (self.splat(a), self.splat(b), self.splat(c), self.ty(a).scalar_elem())
                    && let Some(value) = fold::fma(ty, x, y, z)
                {
                    return self.replace_by_const(inst, value);
                }
                Step::Keep
            }
            InstData::Cmp { op, a, b } => self.cmp(inst, op, a, b),
            InstData::Select { cond, a, b } => self.select(inst, cond, a, b),
            InstData::Cast { arg } => self.cast(inst, arg),
            InstData::Bitcast { arg } => {
                if self.ty(arg) == self.ty(self.func.result(inst)) {
                    return Step::value(arg);
                }
                match self.def(arg) {
                    Some(&InstData::Bitcast { arg: inner }) => self.replace_by(inst, InstData::Bitcast { arg: inner }),
                    _ => Step::Keep,
                }
            }
            InstData::PtrAdd { ptr, offset } if self.int(offset) == Some(0) => Step::value(ptr),
            _ => Step::Keep,
        }
    }

    fn unary(&mut self, inst: Inst, op: UnaryOp, arg: Value) -> Step {
        let ty = self.ty(arg);
        if let (Some(value), Some(scalar)) = (self.splat(arg), ty.scalar_elem())
            && let Some(folded) = fold::unary(op, scalar, value)
        {
            return self.replace_by_const(inst, folded);
        }
        if let Some(&InstData::Unary { op: inner, arg: x }) = self.def(arg) {
            match (op, inner) {
                (UnaryOp::Neg, UnaryOp::Neg) | (UnaryOp::Not, UnaryOp::Not) => return Step::value(x),
                (UnaryOp::Abs, UnaryOp::Abs) => return Step::value(arg),
                (UnaryOp::Abs, UnaryOp::Neg) => return self.replace_by(inst, InstData::Unary { op, arg: x }),
                (_, UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc)
                    if matches!(op, UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round | UnaryOp::Trunc) =>
                {
                    return Step::value(arg);
                }
                _ => {}
            }
        }
        // !(a < b) is a >= b unless a NaN makes both false.
        if op == UnaryOp::Not
            && let Some(&InstData::Cmp { op: predicate, a, b }) = self.def(arg)
        {
            let float = self.ty(a).scalar_elem().is_some_and(ScalarType::is_float);
            if !float || matches!(predicate, CmpOp::Eq | CmpOp::Ne) {
                return self.replace_by(inst, InstData::Cmp { op: inverse(predicate), a, b });
            }
        }
        match self.scalar_under_broadcast(arg) {
            Some(x) => {
                let y = self.make(InstData::Unary { op, arg: x }, Type::scalar(ty.elem()));
                self.replace_by(inst, InstData::Broadcast { arg: y })
            }
            None => Step::Keep,
        }
    }

    fn binary(&mut self, inst: Inst, op: BinaryOp, a: Value, b: Value) -> Step {
        let ty = self.ty(a);
        let Some(scalar) = ty.scalar_elem() else { return Step::Keep };
        let (ca, cb) = (self.splat(a), self.splat(b));
        if let (Some(x), Some(y)) = (ca, cb)
            && let Some(folded) = fold::binary(op, scalar, x, y)
        {
            return self.replace_by_const(inst, folded);
        }
        if ca.is_some() && cb.is_none() && op.is_commutative() {
            return self.replace_by(inst, InstData::Binary { op, a: b, b: a });
        }
        let step = match cb {
            Some(Const::Int(c)) => self.binary_int(inst, op, scalar, a, b, c),
            Some(Const::Float(c)) => self.binary_float(inst, op, scalar, a, c),
            None => self.binary_same(inst, op, scalar, a, b, ca),
        };
        if !matches!(step, Step::Keep) {
            return step;
        }
        if let Some((x, y)) = self.scalars_under_broadcasts(a, b) {
            let z = self.make(InstData::Binary { op, a: x, b: y }, Type::scalar(scalar));
            return self.replace_by(inst, InstData::Broadcast { arg: z });
        }
        Step::Keep
    }

    /// Integer or bool, constant on the right.
    fn binary_int(&mut self, inst: Inst, op: BinaryOp, ty: ScalarType, a: Value, b: Value, c: i64) -> Step {
        use BinaryOp::*;
        let ones = if ty.is_signed_int() { -1 } else { fold::range(ty).1 as i64 };
        match (op, c) {
            (Add | Sub | Or | Xor | Shl | Shr, 0) | (Mul | Div, 1) => return Step::value(a),
            (Mul | And, 0) | (Div, 0) => return Step::value(b),
            (Rem, 0) => return Step::value(a),
            (And, c) if c == ones => return Step::value(a),
            (Or, c) if c == ones => return Step::value(b),
            (Rem, 1) => return self.replace_by_const(inst, Const::Int(0)),
            (Sub, c) if ty.is_int() => {
                // One spelling for offsets: x - c is x + -c, modulo the width.
                if let Some(negated) = fold::unary(UnaryOp::Neg, ty, Const::Int(c)) {
                    let b = self.constant(negated, self.ty(a));
                    return self.replace_by(inst, InstData::Binary { op: Add, a, b });
                }
            }
            (Xor, 1) if ty == ScalarType::Bool => return self.replace_by(inst, InstData::Unary { op: UnaryOp::Not, arg: a }),
            _ => {}
        }
        // (x + c) + d, (x * c) * d and the like: associative modulo the width.
        if matches!(op, Add | Mul | And | Or | Xor | Min | Max)
            && let Some(&InstData::Binary { op: inner, a: x, b: y }) = self.def(a)
            && inner == op
            && let Some(d) = self.splat(y)
            && let Some(folded) = fold::binary(op, ty, d, Const::Int(c))
        {
            let b = self.constant(folded, self.ty(a));
            return self.replace_by(inst, InstData::Binary { op, a: x, b });
        }
        Step::Keep
    }

    /// Float, constant on the right.
    fn binary_float(&mut self, inst: Inst, op: BinaryOp, ty: ScalarType, a: Value, c: f64) -> Step {
        use BinaryOp::*;
        let zero = c == 0.0;
        match op {
            Mul | Div if c == 1.0 => Step::value(a),
            Sub if zero && c.is_sign_positive() => Step::value(a),
            Add if zero && c.is_sign_negative() => Step::value(a),
            Min if c == f64::INFINITY => Step::value(a),
            Max if c == f64::NEG_INFINITY => Step::value(a),
            Div if c.is_normal() && c.to_bits() & ((1 << 52) - 1) == 0 => {
                // The quotient and the product are the same real number, so they round alike; the reciprocal must be a normal number.
                let inverse = 1.0 / c;
                let normal = match ty {
                    ScalarType::F32 | ScalarType::BF16 => (inverse as f32).is_normal(),
                    ScalarType::F64 => inverse.is_normal(),
                    ScalarType::F16 => inverse.abs() >= 2f64.powi(-14) && inverse.abs() <= 32768.0,
                    _ => false,
                };
                if !normal {
                    return Step::Keep;
                }
                let b = self.constant(Const::Float(inverse), self.ty(a));
                self.replace_by(inst, InstData::Binary { op: Mul, a, b })
            }
            _ => Step::Keep,
        }
    }

    /// No constant on the right.
    fn binary_same(&mut self, inst: Inst, op: BinaryOp, ty: ScalarType, a: Value, b: Value, ca: Option<Const>) -> Step {
        use BinaryOp::*;
        let int = !ty.is_float();
        if a == b {
            match op {
                Min | Max | FMin | FMax | And | Or => return Step::value(a),
                Sub | Xor if int => return self.replace_by_const(inst, Const::Int(0)),
                _ => {}
            }
        }
        match (op, ca) {
            (Div | Rem | Shl | Shr, Some(Const::Int(0))) => return Step::value(a),
            (Sub, Some(Const::Int(0))) => return self.replace_by(inst, InstData::Unary { op: UnaryOp::Neg, arg: b }),
            _ => {}
        }
        // x + -y is x - y, and x - -y is x + y, exactly.
        if let Some(&InstData::Unary { op: UnaryOp::Neg, arg: y }) = self.def(b) {
            match op {
                Add => return self.replace_by(inst, InstData::Binary { op: Sub, a, b: y }),
                Sub => return self.replace_by(inst, InstData::Binary { op: Add, a, b: y }),
                _ => {}
            }
        }
        Step::Keep
    }

    fn cmp(&mut self, inst: Inst, op: CmpOp, a: Value, b: Value) -> Step {
        let Some(scalar) = self.ty(a).scalar_elem() else { return Step::Keep };
        if let (Some(x), Some(y)) = (self.splat(a), self.splat(b)) {
            return match fold::cmp(op, scalar, x, y) {
                Some(holds) => self.replace_by_const(inst, Const::Int(holds.into())),
                None => Step::Keep,
            };
        }
        if a == b && !scalar.is_float() {
            let holds = matches!(op, CmpOp::Eq | CmpOp::Le | CmpOp::Ge);
            return self.replace_by_const(inst, Const::Int(holds.into()));
        }
        if self.splat(a).is_some() && self.splat(b).is_none() {
            return self.replace_by(inst, InstData::Cmp { op: swapped(op), a: b, b: a });
        }
        if scalar == ScalarType::Bool
            && let Some(c) = self.int(b)
        {
            match (op, c) {
                (CmpOp::Eq, 1) | (CmpOp::Ne, 0) => return Step::value(a),
                (CmpOp::Eq, 0) | (CmpOp::Ne, 1) => return self.replace_by(inst, InstData::Unary { op: UnaryOp::Not, arg: a }),
                _ => {}
            }
        }
        // (x + c) == d is x == d - c, modulo the width.
        if matches!(op, CmpOp::Eq | CmpOp::Ne)
            && scalar.is_int()
            && let Some(d) = self.splat(b)
            && let Some(&InstData::Binary { op: BinaryOp::Add, a: x, b: y }) = self.def(a)
            && let Some(c) = self.splat(y)
            && let Some(folded) = fold::binary(BinaryOp::Sub, scalar, d, c)
        {
            let b = self.constant(folded, self.ty(a));
            return self.replace_by(inst, InstData::Cmp { op, a: x, b });
        }
        if let Some((x, y)) = self.scalars_under_broadcasts(a, b) {
            let z = self.make(InstData::Cmp { op, a: x, b: y }, Type::bool());
            return self.replace_by(inst, InstData::Broadcast { arg: z });
        }
        Step::Keep
    }

    fn select(&mut self, inst: Inst, cond: Value, a: Value, b: Value) -> Step {
        if a == b {
            return Step::value(a);
        }
        if let Some(c) = self.int(cond) {
            return Step::value(if c != 0 { a } else { b });
        }
        if let Some(&InstData::Unary { op: UnaryOp::Not, arg }) = self.def(cond) {
            return self.replace_by(inst, InstData::Select { cond: arg, a: b, b: a });
        }
        if self.ty(a).scalar_elem() == Some(ScalarType::Bool) {
            match (self.int(a), self.int(b)) {
                (Some(1), Some(0)) => return Step::value(cond),
                (Some(0), Some(1)) => return self.replace_by(inst, InstData::Unary { op: UnaryOp::Not, arg: cond }),
                (Some(1), None) => return self.replace_by(inst, InstData::Binary { op: BinaryOp::Or, a: cond, b }),
                (None, Some(0)) => return self.replace_by(inst, InstData::Binary { op: BinaryOp::And, a: cond, b: a }),
                _ => {}
            }
        }
        Step::Keep
    }

    fn cast(&mut self, inst: Inst, arg: Value) -> Step {
        let (from, to) = (self.ty(arg), self.ty(self.func.result(inst)));
        if from == to {
            return Step::value(arg);
        }
        let (Some(source), Some(target)) = (from.scalar_elem(), to.scalar_elem()) else { return Step::Keep };
        if let Some(value) = self.splat(arg)
            && let Some(folded) = fold::cast(source, target, value)
        {
            return self.replace_by_const(inst, folded);
        }
        match self.def(arg) {
            // Through a type that keeps every value the first conversion might as well not be there.
            Some(&InstData::Cast { arg: x })
                if target != ScalarType::Bool
                    && self.ty(x).scalar_elem().is_some_and(|first| fold::preserves_value(first, source)) =>
            {
                if self.ty(x) == to {
                    return Step::value(x);
                }
                self.replace_by(inst, InstData::Cast { arg: x })
            }
            _ => match self.scalar_under_broadcast(arg) {
                Some(x) => {
                    let y = self.make(InstData::Cast { arg: x }, Type::scalar(target));
                    self.replace_by(inst, InstData::Broadcast { arg: y })
                }
                None => Step::Keep,
            },
        }
    }

    /// `x` when the value is a scalar broadcast to a tile.
    fn scalar_under_broadcast(&self, value: Value) -> Option<Value> {
        match self.def(value)? {
            &InstData::Broadcast { arg } if self.ty(arg).is_scalar() && self.ty(value).layout().is_none() => Some(arg),
            _ => None,
        }
    }

    /// Scalars for two tiles each of which is a broadcast scalar or a constant, not both constant.
    fn scalars_under_broadcasts(&mut self, a: Value, b: Value) -> Option<(Value, Value)> {
        let (x, y) = (self.scalar_under_broadcast(a), self.scalar_under_broadcast(b));
        match (x, y) {
            (Some(x), Some(y)) => Some((x, y)),
            (Some(x), None) => {
                let value = self.splat(b)?;
                Some((x, self.constant(value, Type::scalar(self.ty(b).elem()))))
            }
            (None, Some(y)) => {
                let value = self.splat(a)?;
                Some((self.constant(value, Type::scalar(self.ty(a).elem())), y))
            }
            (None, None) => None,
        }
    }
}

/// The predicate that holds exactly when `op` does not, on totally ordered types.
fn inverse(op: CmpOp) -> CmpOp {
    match op {
        CmpOp::Eq => CmpOp::Ne,
        CmpOp::Ne => CmpOp::Eq,
        CmpOp::Lt => CmpOp::Ge,
        CmpOp::Le => CmpOp::Gt,
        CmpOp::Gt => CmpOp::Le,
        CmpOp::Ge => CmpOp::Lt,
    }
}

/// The predicate with its operands exchanged.
fn swapped(op: CmpOp) -> CmpOp {
    match op {
        CmpOp::Eq | CmpOp::Ne => op,
        CmpOp::Lt => CmpOp::Gt,
        CmpOp::Le => CmpOp::Ge,
        CmpOp::Gt => CmpOp::Lt,
        CmpOp::Ge => CmpOp::Le,
    }
}
