//! Folding of constants, shifts, and the prefix operators.

use kiln_ir::ops::{BinaryOp as IrBinary, UnaryOp as IrUnary};
use kiln_ir::{InstData, ScalarType};
use kiln_syntax::ast::BinaryOp;
use kiln_syntax::codes;
use kiln_syntax::span::Span;

use super::ops::{Operand, known_scalar};
use super::value::TileVal;
use super::{Elab, R};
use crate::consts::{Konst, Num, NumOp, Overflow, round};
use crate::types::{Elem, Kinds, Scalar, TileTy};

impl<'p> Elab<'p> {
    /// The constant `p op q` of a type; nothing where it is not folded.
    ///
    /// # Errors
    /// Reported: constant integers of no particular type overflow.
    pub fn fold(&mut self, op: BinaryOp, p: &Konst, q: &Konst, elem: Elem, span: Span) -> R<Option<Konst>> {
        let folded = match (p, q) {
            (Konst::Int(a), Konst::Int(b)) => match fold_int(op, a, b) {
                Some(Ok(konst)) => Some(self.wrap(konst, elem)),
                Some(Err(Overflow)) => {
                    return match known_scalar(elem) {
                        // Typed integers wrap as they do at run time; that is left to the target.
                        Some(_) => Ok(None),
                        None => Err(self.error(
                            codes::CONST_OVERFLOW,
                            span,
                            "a constant overflows",
                            format!("`{}` of {a} and {b} does not fit 64 bits", op.symbol()),
                        )),
                    };
                }
                None => None,
            },
            (Konst::Float(a), Konst::Float(b)) => fold_float(op, *a, *b).map(|k| match (k, known_scalar(elem)) {
                (Konst::Float(Some(v)), Some(ty)) => Konst::Float(Some(round::to_float(v, ty))),
                (k, _) => k,
            }),
            (Konst::Bool(a), Konst::Bool(b)) => fold_bool(op, *a, *b),
            _ => None,
        };
        Ok(folded)
    }

    fn wrap(&self, konst: Konst, elem: Elem) -> Konst {
        match (&konst, known_scalar(elem)) {
            (Konst::Int(Num::Known(v)), Some(ty)) => Konst::int(round::wrap_int(*v, ty)),
            _ => konst,
        }
    }

    /// `<<` and `>>`: the amount is any integer, the result has the type of the left side.
    pub fn shift(&mut self, op: BinaryOp, a: &Operand, b: &Operand) -> R<TileVal> {
        let shape = self.unify_shapes(a, b, &format!("`{}`", op.symbol()))?;
        let mut left = a.tile.clone();
        if let (Some(Konst::Int(x)), Some(Konst::Int(y))) = (&left.konst, &b.tile.konst)
            && shape.is_scalar()
            && let Some(Ok(konst)) = fold_int(op, x, y)
        {
            let elem = left.ty.elem;
            let konst = match (known_scalar(elem), &konst, x, y) {
                // Left shifts drop what leaves the type.
                (Some(ty), _, Num::Known(x), Num::Known(y)) if op == BinaryOp::Shl => {
                    let lost = *y < 0 || *y >= i128::from(ty.bits());
                    Konst::int(if lost { 0 } else { round::wrap_int(round::wrap_int(*x, ScalarType::I64) << y, ty) })
                }
                _ => konst,
            };
            return Ok(TileVal::constant(elem, konst));
        }
        if left.scalar().is_some_and(Scalar::is_literal) {
            // A constant shifted by a run-time amount takes the amount's type.
            let to = b.tile.scalar().unwrap_or(Scalar::I32).defaulted();
            self.check_literal(&left, to, a.span)?;
            left = self.cast_to(&left, to);
        }
        let elem = left.ty.elem;
        let amount = self.shift_amount(&b.tile, elem);
        let (x, y) = (self.broadcast_to(&left, &shape), self.broadcast_to(&amount, &shape));
        let ty = TileTy::new(elem, shape);
        let ir_op = if op == BinaryOp::Shl { IrBinary::Shl } else { IrBinary::Shr };
        let pair = (self.value(&x), self.value(&y));
        let ir = match pair {
            (Some(a), Some(b)) => self.sink.one(InstData::Binary { op: ir_op, a, b }, &ty),
            _ => None,
        };
        Ok(TileVal::new(ty, ir))
    }

    /// The amount in the type of what is shifted, such that one outside 0..width stays outside.
    fn shift_amount(&mut self, amount: &TileVal, elem: Elem) -> TileVal {
        let Some(to) = elem.scalar() else { return amount.clone() };
        let Scalar::Known(target) = to else { return TileVal::new(amount.ty.with_elem(to), None) };
        let width = i128::from(target.bits());
        if let Some(Konst::Int(Num::Known(v))) = amount.konst {
            let v = if (0..width).contains(&v) { v } else { width };
            return TileVal { konst: Some(Konst::int(v)), ..TileVal::new(amount.ty.with_elem(to), None) };
        }
        match amount.scalar() {
            Some(Scalar::Known(from)) if from != target && from.bits() > target.bits() && from != ScalarType::Index => {
                // As unsigned, a negative amount is huge; the smaller of it and the width fits the target.
                let unsigned = match from {
                    ScalarType::I16 => ScalarType::U16,
                    ScalarType::I32 => ScalarType::U32,
                    ScalarType::I64 => ScalarType::U64,
                    other => other,
                };
                let ty = amount.ty.with_elem(unsigned);
                let bits = self
                    .value(amount)
                    .and_then(|arg| if unsigned == from { Some(arg) } else { self.sink.one(InstData::Bitcast { arg }, &ty) });
                let limit = TileVal::constant(unsigned, Konst::int(width));
                let limit = self.broadcast_to(&limit, &ty.shape);
                let limit = self.value(&limit);
                let ir = match (bits, limit) {
                    (Some(a), Some(b)) => self.sink.one(InstData::Binary { op: IrBinary::Min, a, b }, &ty),
                    _ => None,
                };
                self.cast_to(&TileVal::new(ty, ir), to)
            }
            _ => self.cast_to(amount, to),
        }
    }

    /// `-x`.
    pub fn negate(&mut self, tile: &TileVal, span: Span) -> R<TileVal> {
        self.require_kinds(&Operand { tile: tile.clone(), span }, Kinds::NUMBER, "`-`", span)?;
        match &tile.konst {
            Some(Konst::Int(n)) => {
                let zero = Num::Known(0);
                return match zero.sub(n) {
                    Ok(v) => Ok(TileVal::constant(tile.ty.elem, self.wrap(Konst::Int(v), tile.ty.elem))),
                    Err(Overflow) => {
                        Err(self.error(codes::CONST_OVERFLOW, span, "a constant overflows", format!("-{n} does not fit 64 bits")))
                    }
                };
            }
            Some(Konst::Float(v)) => return Ok(TileVal::constant(tile.ty.elem, Konst::Float(v.map(|v| -v)))),
            _ => {}
        }
        Ok(self.unary(IrUnary::Neg, tile))
    }

    /// `!x`.
    pub fn not(&mut self, tile: &TileVal, span: Span) -> R<TileVal> {
        self.require_kinds(&Operand { tile: tile.clone(), span }, Kinds::BITS, "`!`", span)?;
        match &tile.konst {
            Some(Konst::Bool(b)) => return Ok(TileVal::bool(b.map(|b| !b))),
            Some(Konst::Int(n)) => {
                let minus_one = Num::Known(-1);
                if let Ok(v) = minus_one.sub(n) {
                    return Ok(TileVal::constant(tile.ty.elem, self.wrap(Konst::Int(v), tile.ty.elem)));
                }
            }
            _ => {}
        }
        let settled = self.settle(tile);
        Ok(self.unary(IrUnary::Not, &settled))
    }

    /// An operator of one operand that keeps the type.
    pub fn unary(&mut self, op: IrUnary, tile: &TileVal) -> TileVal {
        let tile = self.settle(tile);
        let ir = self.value(&tile).and_then(|arg| self.sink.one(InstData::Unary { op, arg }, &tile.ty));
        TileVal::new(tile.ty, ir)
    }

    /// An operator on two tiles of one type and shape.
    pub fn binary_ir(&mut self, op: IrBinary, a: &TileVal, b: &TileVal) -> TileVal {
        let pair = (self.value(a), self.value(b));
        let ir = match pair {
            (Some(x), Some(y)) => self.sink.one(InstData::Binary { op, a: x, b: y }, &a.ty),
            _ => None,
        };
        TileVal::new(a.ty.clone(), ir)
    }
}

fn num_op(op: BinaryOp) -> Option<NumOp> {
    Some(match op {
        BinaryOp::Div => NumOp::Div,
        BinaryOp::Rem => NumOp::Rem,
        BinaryOp::BitAnd => NumOp::And,
        BinaryOp::BitOr => NumOp::Or,
        BinaryOp::BitXor => NumOp::Xor,
        BinaryOp::Shl => NumOp::Shl,
        BinaryOp::Shr => NumOp::Shr,
        _ => return None,
    })
}

fn fold_int(op: BinaryOp, a: &Num, b: &Num) -> Option<Result<Konst, Overflow>> {
    use std::cmp::Ordering;
    let value = match op {
        BinaryOp::Add => a.add(b),
        BinaryOp::Sub => a.sub(b),
        BinaryOp::Mul => a.mul(b),
        _ if op.is_comparison() => {
            let order = a.compare(b);
            return Some(Ok(Konst::Bool(order.map(|o| match op {
                BinaryOp::Eq => o == Ordering::Equal,
                BinaryOp::Ne => o != Ordering::Equal,
                BinaryOp::Lt => o == Ordering::Less,
                BinaryOp::Le => o != Ordering::Greater,
                BinaryOp::Gt => o == Ordering::Greater,
                _ => o != Ordering::Less,
            }))));
        }
        _ => Num::op(num_op(op)?, a, b),
    };
    Some(value.map(Konst::Int))
}

fn fold_float(op: BinaryOp, a: Option<f64>, b: Option<f64>) -> Option<Konst> {
    let arithmetic = |f: fn(f64, f64) -> f64| Some(Konst::Float(a.zip(b).map(|(a, b)| f(a, b))));
    let compare = |f: fn(&f64, &f64) -> bool| Some(Konst::Bool(a.zip(b).map(|(a, b)| f(&a, &b))));
    match op {
        BinaryOp::Add => arithmetic(|a, b| a + b),
        BinaryOp::Sub => arithmetic(|a, b| a - b),
        BinaryOp::Mul => arithmetic(|a, b| a * b),
        BinaryOp::Div => arithmetic(|a, b| a / b),
        BinaryOp::Rem => arithmetic(|a, b| a % b),
        BinaryOp::Eq => compare(f64::eq),
        BinaryOp::Ne => compare(f64::ne),
        BinaryOp::Lt => compare(f64::lt),
        BinaryOp::Le => compare(f64::le),
        BinaryOp::Gt => compare(f64::gt),
        BinaryOp::Ge => compare(f64::ge),
        _ => None,
    }
}

fn fold_bool(op: BinaryOp, a: Option<bool>, b: Option<bool>) -> Option<Konst> {
    let strict = |f: fn(bool, bool) -> bool| Some(Konst::Bool(a.zip(b).map(|(a, b)| f(a, b))));
    match op {
        BinaryOp::And | BinaryOp::BitAnd => Some(Konst::Bool(match (a, b) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), other) | (other, Some(true)) => other,
            _ => None,
        })),
        BinaryOp::Or | BinaryOp::BitOr => Some(Konst::Bool(match (a, b) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), other) | (other, Some(false)) => other,
            _ => None,
        })),
        BinaryOp::BitXor | BinaryOp::Ne => strict(|a, b| a != b),
        BinaryOp::Eq => strict(|a, b| a == b),
        _ => None,
    }
}
