//! `whole-tiles`: masks of products are applied only in those trips of a loop that need them.
//!
//! In attention `select(cols < len && cols <= rows, s, -inf)` changes nothing in most tiles: every lane is live. Whether that is so is a comparison of
//! scalars, the greatest lane of one side with the least of the other, and costs nothing beside a select for each element and the comparisons that
//! feed it. So a `select` of a tile in a loop with products becomes a branch, which all threads take alike, around it. One loop stays one loop, wherever in it
//! the tiles lie that need the mask: at its end (a tail), at the diagonal, at either edge of a window.
//!
//! ```text
//! before: %c = add %n, iota          after: %last = add %n, 127
//!         %m = cmp lt %c, %len              %whole = cmp lt %last, %len
//!         %r = select %m, %s, -inf          %r = if %whole { yield %s } else { %c = ..  %m = ..  %r = select %m, %s, -inf  yield %r }
//! ```

use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::{Block, Const, Function, Inst, InstData, ScalarType, SrcLoc, Type, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use super::tensor_cores::product;
use crate::clone::Cloner;
use crate::manager::{PassContext, PassResult, Target};

/// Runs the pass.
pub(crate) fn run(func: &mut Function, context: &PassContext) -> PassResult {
    if context.target != Target::Host {
        block(func, func.body, false);
    }
    Ok(())
}

/// Rewrites the selects of a block, and of those in it; `looped`: it is the body of a loop.
fn block(func: &mut Function, at: Block, looped: bool) {
    let insts = std::mem::take(&mut func.blocks[at].insts);
    let products = looped && insts.iter().any(|&inst| product(func, inst).is_some());
    let here: FxHashSet<Inst> = insts.iter().copied().collect();
    let mut out = Vec::with_capacity(insts.len());
    for inst in insts {
        let is_loop = matches!(func.insts[inst], InstData::For { .. } | InstData::While { .. });
        for inner in func.insts[inst].blocks() {
            block(func, inner, is_loop);
        }
        if products && let Some(branch) = branch(func, inst, &here, &mut out) {
            out.push(branch);
        } else {
            out.push(inst);
        }
    }
    func.blocks[at].insts = out;
}

/// The branch that takes the place of a select of the block with the instructions `here`; what decides it goes to `out`.
fn branch(func: &mut Function, select: Inst, here: &FxHashSet<Inst>, out: &mut Vec<Inst>) -> Option<Inst> {
    let InstData::Select { cond, a, .. } = func.insts[select] else { return None };
    let result = func.result(select);
    if func.ty(result).rank() != 2 || func.ty(cond).is_scalar() {
        return None;
    }
    let mask = chain(func, cond, here)?;
    if mask.is_empty() {
        // The same in every trip.
        return None;
    }
    let loc = func.locs[select];
    let mut made = Vec::new();
    let whole = Scalars { func, made: &mut made, loc }.holds(cond)?;
    out.extend(made);
    let (then, otherwise) = (func.add_block(), func.add_block());
    append(func, then, InstData::Yield { args: [a].into_iter().collect() }, loc);
    let mut cloner = Cloner { src: None, dst: func, map: FxHashMap::default() };
    let mut copies: Vec<Inst> = mask.into_iter().map(|inst| cloner.inst(inst)).collect();
    let own = cloner.inst(select);
    copies.push(own);
    func.blocks[otherwise].insts = copies;
    let masked = func.result(own);
    append(func, otherwise, InstData::Yield { args: [masked].into_iter().collect() }, loc);
    let ty = func.ty(result);
    let branch = func.make_inst(InstData::If { cond: whole, then, otherwise }, &[ty], loc);
    let chosen = func.result(branch);
    // The copy of the select is behind the branch; only later uses change.
    func.replace_uses(result, chosen);
    func.values[chosen].name = func.values[result].name.clone();
    Some(branch)
}

fn append(func: &mut Function, block: Block, data: InstData, loc: SrcLoc) {
    let made = func.make_inst(data, &[], loc);
    func.blocks[block].insts.push(made);
}

/// The instructions of the block that make a mask, in order; None where one of them is more than arithmetic.
fn chain(func: &Function, mask: Value, here: &FxHashSet<Inst>) -> Option<Vec<Inst>> {
    let (mut found, mut todo) = (FxHashSet::default(), vec![mask]);
    while let Some(value) = todo.pop() {
        let Some(inst) = func.def_inst(value).filter(|inst| here.contains(inst)) else { continue };
        if func.ty(value).is_scalar() {
            continue;
        }
        let data = &func.insts[inst];
        if !data.own_effects().is_pure() || !data.blocks().is_empty() {
            return None;
        }
        if found.insert(inst) {
            todo.extend(data.operands());
        }
    }
    // Instructions are numbered as they are made, not as they stand: by dependence.
    let mut ordered = Vec::with_capacity(found.len());
    let mut placed: FxHashSet<Inst> = FxHashSet::default();
    place(func, func.def_inst(mask)?, &found, &mut placed, &mut ordered);
    Some(ordered)
}

fn place(func: &Function, inst: Inst, of: &FxHashSet<Inst>, placed: &mut FxHashSet<Inst>, ordered: &mut Vec<Inst>) {
    if !of.contains(&inst) || !placed.insert(inst) {
        return;
    }
    for operand in func.insts[inst].operands() {
        if let Some(before) = func.def_inst(operand) {
            place(func, before, of, placed, ordered);
        }
    }
    ordered.push(inst);
}

/// A number that is known, or a scalar of type `index`.
#[derive(Clone, Copy)]
enum Number {
    Known(i64),
    Scalar(Value),
}

/// Makes scalars that say something of whole tiles.
struct Scalars<'f> {
    func: &'f mut Function,
    made: &'f mut Vec<Inst>,
    loc: SrcLoc,
}

impl Scalars<'_> {
    fn make(&mut self, data: InstData, ty: Type) -> Value {
        let inst = self.func.make_inst(data, &[ty], self.loc);
        self.made.push(inst);
        self.func.result(inst)
    }

    /// A scalar bool: every lane of the mask holds. None where that is no comparison of scalars.
    fn holds(&mut self, mask: Value) -> Option<Value> {
        if self.func.ty(mask).is_scalar() {
            return Some(mask);
        }
        match *self.func.def_data(mask)? {
            InstData::Broadcast { arg } | InstData::ExpandDims { arg, .. } => self.holds(arg),
            InstData::Binary { op: BinaryOp::And, a, b } => {
                let (a, b) = (self.holds(a)?, self.holds(b)?);
                Some(self.make(InstData::Binary { op: BinaryOp::And, a, b }, Type::bool()))
            }
            InstData::Cmp { op, a, b } => {
                let greatest_left = match op {
                    CmpOp::Lt | CmpOp::Le => true,
                    CmpOp::Gt | CmpOp::Ge => false,
                    CmpOp::Eq | CmpOp::Ne => return None,
                };
                let (a, b) = (self.extreme(a, greatest_left)?, self.extreme(b, !greatest_left)?);
                let (a, b) = (self.scalar(a), self.scalar(b));
                Some(self.make(InstData::Cmp { op, a, b }, Type::bool()))
            }
            _ => None,
        }
    }

    /// The greatest, or least, lane of a tile of `index`, or a bound that no lane passes.
    fn extreme(&mut self, tile: Value, greatest: bool) -> Option<Number> {
        let ty = self.func.ty(tile);
        // `index` alone never wraps.
        if ty.scalar_elem() != Some(ScalarType::Index) {
            return None;
        }
        if let Some(InstData::Const { value: Const::Int(value) }) = self.func.def_data(tile) {
            return Some(Number::Known(*value));
        }
        if ty.is_scalar() {
            return Some(Number::Scalar(tile));
        }
        match *self.func.def_data(tile)? {
            InstData::Broadcast { arg } | InstData::ExpandDims { arg, .. } => self.extreme(arg, greatest),
            InstData::Iota { start } => {
                let last = i64::from(ty.shape()[0]) - 1;
                Some(Number::Known(start + if greatest { last } else { 0 }))
            }
            InstData::Binary { op: op @ (BinaryOp::Add | BinaryOp::Sub), a, b } => {
                let (a, b) = (self.extreme(a, greatest)?, self.extreme(b, greatest == (op == BinaryOp::Add))?);
                Some(match (a, b) {
                    (Number::Known(a), Number::Known(b)) => Number::Known(if op == BinaryOp::Add { a + b } else { a - b }),
                    (a, Number::Known(0)) => a,
                    (Number::Known(0), b) if op == BinaryOp::Add => b,
                    _ => {
                        let (a, b) = (self.scalar(a), self.scalar(b));
                        Number::Scalar(self.make(InstData::Binary { op, a, b }, Type::index()))
                    }
                })
            }
            _ => None,
        }
    }

    fn scalar(&mut self, number: Number) -> Value {
        match number {
            Number::Scalar(value) => value,
            Number::Known(value) => self.make(InstData::Const { value: Const::Int(value) }, Type::index()),
        }
    }
}
