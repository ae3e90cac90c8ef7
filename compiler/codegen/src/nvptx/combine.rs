//! Combining two elements of a reduction or scan: the builtin forms, their neutral elements, and user blocks.

use std::rc::Rc;

use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::{Combine, Const, Elem, ScalarType};
use smallvec::SmallVec;

use super::emit::{Emitter, Slot};
use super::error::Result;
use super::text::{Ty, Val};

/// One element a operand, and whether it is there at all: padding is not, and never reaches a combination.
#[derive(Clone, Debug)]
pub(super) struct Partial {
    pub(super) values: SmallVec<[Val; 2]>,
    pub(super) valid: Val,
}

impl Emitter<'_> {
    /// `a` then `b`. Where one is not valid the result is the other.
    pub(super) fn combine(&mut self, combine: Combine, elems: &[Elem], a: &Partial, b: &Partial) -> Result<Partial> {
        let both = self.combine_values(combine, elems, &a.values, &b.values)?;
        let values = (0..both.len())
            .map(|i| {
                let with_a = self.w.select(b.valid, both[i], a.values[i]);
                self.w.select(a.valid, with_a, b.values[i])
            })
            .collect();
        Ok(Partial { values, valid: self.w.or(a.valid, b.valid) })
    }

    fn combine_values(&mut self, combine: Combine, elems: &[Elem], a: &[Val], b: &[Val]) -> Result<SmallVec<[Val; 2]>> {
        let elem = elems[0].scalar().unwrap_or(ScalarType::I64);
        let op = match combine {
            Combine::Region(block) => {
                let params = self.func.blocks[block].params.clone();
                for (&param, &value) in params.iter().zip(a.iter().chain(b)) {
                    self.set(param, Slot::Tile(Rc::new([value])));
                }
                // All of it is part of the reduction.
                let number = *self.scratch.instruction();
                self.block(block)?;
                *self.scratch.instruction() = number;
                return Ok(self.func.yielded(block).iter().map(|&v| self.scalar(v)).collect());
            }
            Combine::ArgMax | Combine::ArgMin => return Ok(self.arg_best(combine == Combine::ArgMax, elem, a, b)),
            Combine::Add => BinaryOp::Add,
            Combine::Mul => BinaryOp::Mul,
            Combine::Max => BinaryOp::Max,
            Combine::Min => BinaryOp::Min,
            Combine::FMax => BinaryOp::FMax,
            Combine::FMin => BinaryOp::FMin,
            Combine::And => BinaryOp::And,
            Combine::Or => BinaryOp::Or,
            Combine::Xor => BinaryOp::Xor,
        };
        Ok(SmallVec::from_slice(&[self.binary_one(op, elem, a[0], b[0])]))
    }

    /// The greater (smaller) value with its position; NaN wins, ties go to the lower position.
    fn arg_best(&mut self, max: bool, elem: ScalarType, a: &[Val], b: &[Val]) -> SmallVec<[Val; 2]> {
        let better = if max { CmpOp::Gt } else { CmpOp::Lt };
        let mut wins = self.compare_one(better, Some(elem), a[0], b[0]);
        let mut ties = self.compare_one(CmpOp::Eq, Some(elem), a[0], b[0]);
        if elem.is_float() {
            let a_nan = self.compare_one(CmpOp::Ne, Some(elem), a[0], a[0]);
            let b_nan = self.compare_one(CmpOp::Ne, Some(elem), b[0], b[0]);
            let b_number = self.w.not(b_nan);
            let only_a = self.w.and(a_nan, b_number);
            wins = self.w.or(wins, only_a);
            let both = self.w.and(a_nan, b_nan);
            ties = self.w.or(ties, both);
        }
        let earlier = self.w.icmp("slt", a[1], b[1]);
        let tied = self.w.and(ties, earlier);
        let take_a = self.w.or(wins, tied);
        SmallVec::from_slice(&[self.w.select(take_a, a[0], b[0]), self.w.select(take_a, a[1], b[1])])
    }

    /// The elements that change nothing when combined; None for user blocks, which have none.
    pub(super) fn neutral(&self, combine: Combine, elems: &[Elem]) -> Option<SmallVec<[Val; 2]>> {
        let elem = elems[0];
        let scalar = elem.scalar()?;
        let float = |v: f64| self.constant(Const::Float(v), elem);
        let int = |v: i64| self.constant(Const::Int(v), elem);
        let (least, greatest) = if scalar.is_float() {
            (float(f64::NEG_INFINITY), float(f64::INFINITY))
        } else {
            let bits = int(0).ty.bits();
            let top = if bits == 64 { i64::MAX } else { (1 << (bits - 1)) - 1 };
            if scalar.is_signed_int() { (int(-top - 1), int(top)) } else { (int(0), int(-1)) }
        };
        Some(match combine {
            // -0 + x is x for every x, +0 is not.
            Combine::Add if scalar.is_float() => SmallVec::from_slice(&[float(-0.0)]),
            Combine::Add | Combine::Or | Combine::Xor => SmallVec::from_slice(&[int(0)]),
            Combine::Mul => SmallVec::from_slice(&[if scalar.is_float() { float(1.0) } else { int(1) }]),
            Combine::And => SmallVec::from_slice(&[int(-1)]),
            Combine::Max => SmallVec::from_slice(&[least]),
            Combine::Min => SmallVec::from_slice(&[greatest]),
            // NaN is what these ignore.
            Combine::FMax | Combine::FMin if scalar.is_float() => SmallVec::from_slice(&[float(f64::NAN)]),
            Combine::FMax => SmallVec::from_slice(&[least]),
            Combine::FMin => SmallVec::from_slice(&[greatest]),
            Combine::ArgMax => SmallVec::from_slice(&[least, Val::int(Ty::I32, i64::from(i32::MAX))]),
            Combine::ArgMin => SmallVec::from_slice(&[greatest, Val::int(Ty::I32, i64::from(i32::MAX))]),
            Combine::Region(_) => return None,
        })
    }
}
