//! `whole-tiles`: masks of products are applied only in those trips of a loop that need them.
//!
//! In attention `select(cols < len && cols <= rows, s, -inf)` changes nothing in most tiles: every lane is live. Whether that is so is a comparison of
//! scalars, the greatest lane of one side with the least of the other, and costs nothing beside a select for each element and the comparisons that
//! feed it. So a `select` of a tile in a loop with products becomes a branch, which all threads take alike, around it. One loop stays one loop, wherever in it
//! the tiles lie that need the mask: at its end (a tail), at the diagonal, at either edge of a window. What the comparison compares the loop's counter with is
//! computed in front of the loop ([`conditions`]).
//!
//! ```text
//! before: for %n in .. {                    after: %bound = sub %len, 127
//!             %c = add %n, iota                    for %n in .. {
//!             %m = cmp lt %c, %len                     %whole = cmp lt %n, %bound
//!             %r = select %m, %s, -inf                 %r = if %whole { yield %s } else { %c = ..  %m = ..  %r = select %m, %s, -inf  yield %r }
//! ```

mod conditions;

use kiln_ir::{Block, Function, Inst, InstData, SrcLoc, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use conditions::Conditions;

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

/// Rewrites the selects of a block, and of those in it; `looped`: it is the body of a loop. Gives what is to stand in front of that loop.
fn block(func: &mut Function, at: Block, looped: bool) -> Vec<Inst> {
    let insts = std::mem::take(&mut func.blocks[at].insts);
    let products = looped && insts.iter().any(|&inst| product(func, inst).is_some());
    let here: FxHashSet<Inst> = insts.iter().copied().collect();
    let mut out = Vec::with_capacity(insts.len());
    let mut before = Vec::new();
    for inst in insts {
        let is_loop = matches!(func.insts[inst], InstData::For { .. } | InstData::While { .. });
        for inner in func.insts[inst].blocks() {
            out.extend(block(func, inner, is_loop));
        }
        let made = if products { branch(func, inst, at, &here) } else { None };
        match made {
            Some(made) => {
                before.extend(made.before);
                out.extend(made.inside);
                out.push(made.branch);
            }
            None => out.push(inst),
        }
    }
    func.blocks[at].insts = out;
    before
}

/// A branch in place of a select.
struct Branch {
    /// What decides it, in front of the loop and in it.
    before: Vec<Inst>,
    inside: Vec<Inst>,
    branch: Inst,
}

/// The branch that takes the place of a select of a loop's body, which has the instructions `here`.
fn branch(func: &mut Function, select: Inst, body: Block, here: &FxHashSet<Inst>) -> Option<Branch> {
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
    let mut conditions = Conditions { func, body, here, loc, before: vec![], inside: vec![] };
    let whole = conditions.holds(cond)?;
    let (before, inside) = (conditions.before, conditions.inside);
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
    Some(Branch { before, inside, branch })
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
