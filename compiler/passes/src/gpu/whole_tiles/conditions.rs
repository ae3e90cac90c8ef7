//! Whether every lane of a mask holds: few comparisons of scalars, whose bounds are computed in front of the loop.
//!
//! Each comparison of two tiles becomes one of the greatest lane of one side with the least of the other: a linear expression that is to be below 0. What the
//! loop changes of it stands on one side, the rest is a bound; of several bounds of one expression the tightest one is taken before the loop begins. So a
//! causal mask with a tail costs each trip one comparison of its counter, a window one more.
//!
//! The number that a lane is further than the counter stays in the loop (`n + 127 < bound`): a comparison of the bare counter has ptxas keep counter and phases
//! in uniform registers, which costs attention's loop six instructions for moves to where waits and branches need them.

use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::{Block, Const, Function, Inst, InstData, ScalarType, SrcLoc, Type, Value};
use rustc_hash::FxHashSet;

use crate::analysis::linear::{Atom, Linear};

/// Makes scalars that say something of whole tiles.
pub(super) struct Conditions<'f> {
    pub func: &'f mut Function,
    /// The body of the loop, and its instructions.
    pub body: Block,
    pub here: &'f FxHashSet<Inst>,
    pub loc: SrcLoc,
    /// What is made in front of the loop, and in it.
    pub before: Vec<Inst>,
    pub inside: Vec<Inst>,
}

/// What has to hold.
enum Condition {
    /// The expression is below 0.
    Negative(Linear),
    /// The scalar is true.
    Holds(Value),
}

/// What the loop changes, with a constant, and the bounds that it is to be below, or above.
struct Bounded {
    changes: Linear,
    below: bool,
    bounds: Vec<Linear>,
}

impl Conditions<'_> {
    /// A scalar bool: every lane of the mask holds. None where that is no comparison of scalars.
    pub fn holds(&mut self, mask: Value) -> Option<Value> {
        let mut conditions = Vec::new();
        self.collect(mask, &mut conditions)?;
        let mut bounded: Vec<Bounded> = Vec::new();
        let mut parts: Vec<Value> = Vec::new();
        for condition in conditions {
            let expression = match condition {
                Condition::Holds(value) => {
                    parts.push(value);
                    continue;
                }
                Condition::Negative(expression) => expression,
            };
            let (changes, rest) = self.split(expression);
            let Some(&(_, factor)) = changes.terms.first() else {
                let (value, zero) = (self.value(&rest, false), self.constant(0, false));
                parts.push(self.make(InstData::Cmp { op: CmpOp::Lt, a: value, b: zero }, Type::bool(), false));
                continue;
            };
            // changes < -rest, or -changes > rest.
            let below = factor > 0;
            let (changes, bound) = if below { (changes, rest.times(-1)?) } else { (changes.times(-1)?, rest) };
            match bounded.iter_mut().find(|b| b.below == below && b.changes.terms == changes.terms) {
                Some(known) => known.bounds.push(bound.offset(known.changes.constant)?),
                None => {
                    let further = -bound.constant;
                    bounded.push(Bounded { changes: changes.offset(further)?, below, bounds: vec![bound.offset(further)?] });
                }
            }
        }
        for Bounded { changes, below, bounds } in bounded {
            let (tightest, op) = if below { (BinaryOp::Min, CmpOp::Lt) } else { (BinaryOp::Max, CmpOp::Gt) };
            let bounds: Vec<Value> = bounds.iter().map(|bound| self.value(bound, false)).collect();
            let bound =
                bounds.into_iter().reduce(|a, b| self.make(InstData::Binary { op: tightest, a, b }, Type::index(), false))?;
            let changes = self.value(&changes, true);
            parts.push(self.make(InstData::Cmp { op, a: changes, b: bound }, Type::bool(), true));
        }
        parts.into_iter().reduce(|a, b| self.make(InstData::Binary { op: BinaryOp::And, a, b }, Type::bool(), true))
    }

    /// Adds what a mask asks for; None where that is no comparison of scalars.
    fn collect(&self, mask: Value, to: &mut Vec<Condition>) -> Option<()> {
        if self.func.ty(mask).is_scalar() {
            to.push(Condition::Holds(mask));
            return Some(());
        }
        match *self.func.def_data(mask)? {
            InstData::Broadcast { arg } | InstData::ExpandDims { arg, .. } => self.collect(arg, to),
            InstData::Binary { op: BinaryOp::And, a, b } => {
                self.collect(a, to)?;
                self.collect(b, to)
            }
            InstData::Cmp { op, a, b } => {
                // Which side is to be the lesser one, and whether equal will do.
                let (less, greater, equal) = match op {
                    CmpOp::Lt => (a, b, false),
                    CmpOp::Le => (a, b, true),
                    CmpOp::Gt => (b, a, false),
                    CmpOp::Ge => (b, a, true),
                    CmpOp::Eq | CmpOp::Ne => return None,
                };
                let (most, least) = (self.extreme(less, true)?, self.extreme(greater, false)?);
                to.push(Condition::Negative(most.plus(-1, &least)?.offset(if equal { -1 } else { 0 })?));
                Some(())
            }
            _ => None,
        }
    }

    /// The greatest, or least, lane of a tile of `index`, or a bound that no lane passes.
    fn extreme(&self, tile: Value, greatest: bool) -> Option<Linear> {
        let ty = self.func.ty(tile);
        // `index` alone never wraps.
        if ty.scalar_elem() != Some(ScalarType::Index) {
            return None;
        }
        if ty.is_scalar() {
            return self.scalar(tile);
        }
        match *self.func.def_data(tile)? {
            InstData::Const { value: Const::Int(value) } => Some(Linear::constant(value)),
            InstData::Broadcast { arg } | InstData::ExpandDims { arg, .. } => self.extreme(arg, greatest),
            InstData::Iota { start } => {
                let last = i64::from(ty.shape()[0]) - 1;
                Some(Linear::constant(start + if greatest { last } else { 0 }))
            }
            InstData::Binary { op: op @ (BinaryOp::Add | BinaryOp::Sub), a, b } => {
                let (a, b) = (self.extreme(a, greatest)?, self.extreme(b, greatest == (op == BinaryOp::Add))?);
                a.plus(if op == BinaryOp::Add { 1 } else { -1 }, &b)
            }
            _ => None,
        }
    }

    /// A scalar `index`; sums of the loop are taken apart, so that what it does not change can stand in front of it.
    fn scalar(&self, value: Value) -> Option<Linear> {
        match self.func.def_data(value) {
            Some(&InstData::Const { value: Const::Int(value) }) => Some(Linear::constant(value)),
            Some(&InstData::Binary { op: op @ (BinaryOp::Add | BinaryOp::Sub), a, b }) if self.is_inside(value) => {
                self.scalar(a)?.plus(if op == BinaryOp::Add { 1 } else { -1 }, &self.scalar(b)?)
            }
            _ => Some(Linear::atom(Atom::Value(value))),
        }
    }

    /// Whether the loop's body makes a value.
    fn is_inside(&self, value: Value) -> bool {
        match self.func.def_inst(value) {
            Some(inst) => self.here.contains(&inst),
            None => self.func.blocks[self.body].params.contains(&value),
        }
    }

    /// What the loop changes of an expression, and the rest.
    fn split(&self, expression: Linear) -> (Linear, Linear) {
        let inside = |&(atom, _): &(Atom, i64)| matches!(atom, Atom::Value(value) if self.is_inside(value));
        let (changes, terms) = expression.terms.into_iter().partition(inside);
        (Linear { terms: changes, constant: 0 }, Linear { terms, constant: expression.constant })
    }

    /// The value of an expression, made in the loop or in front of it.
    fn value(&mut self, expression: &Linear, inside: bool) -> Value {
        let mut sum: Option<Value> = None;
        // What is added stands before what is taken away.
        let (added, taken): (Vec<_>, Vec<_>) = expression.terms.iter().copied().partition(|term| term.1 > 0);
        for (atom, factor) in added.into_iter().chain(taken) {
            let Atom::Value(value) = atom else { unreachable!("expressions here are of values") };
            let size = self.constant_factor(value, factor.abs(), inside);
            let op = if factor > 0 { BinaryOp::Add } else { BinaryOp::Sub };
            sum = Some(match sum {
                None if factor > 0 => size,
                known => {
                    let a = known.unwrap_or_else(|| self.constant(0, inside));
                    self.make(InstData::Binary { op, a, b: size }, Type::index(), inside)
                }
            });
        }
        match sum {
            Some(sum) if expression.constant == 0 => sum,
            Some(a) => {
                let b = self.constant(expression.constant, inside);
                self.make(InstData::Binary { op: BinaryOp::Add, a, b }, Type::index(), inside)
            }
            None => self.constant(expression.constant, inside),
        }
    }

    fn constant_factor(&mut self, value: Value, factor: i64, inside: bool) -> Value {
        if factor == 1 {
            return value;
        }
        let b = self.constant(factor, inside);
        self.make(InstData::Binary { op: BinaryOp::Mul, a: value, b }, Type::index(), inside)
    }

    fn constant(&mut self, value: i64, inside: bool) -> Value {
        self.make(InstData::Const { value: Const::Int(value) }, Type::index(), inside)
    }

    fn make(&mut self, data: InstData, ty: Type, inside: bool) -> Value {
        let inst = self.func.make_inst(data, &[ty], self.loc);
        if inside { &mut self.inside } else { &mut self.before }.push(inst);
        self.func.result(inst)
    }
}
