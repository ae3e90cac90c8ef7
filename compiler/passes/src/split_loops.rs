//! `split-loops`: runs the whole steps of a loop apart from what is left over, so that the whole steps need no masks.
//!
//! In `for i in lo..hi step c` an access of `i..+c`, or a comparison of `i + lanes` with `hi`, is undecided only because of the last step. Where the
//! whole steps would do without such checks, the loop becomes one over `lo..whole`, `whole = lo + (hi - lo) / c * c`, and a second one over
//! `whole..hi` that runs at most once; `masks` then proves the first one's accesses. Only innermost loops without products are split, and only
//! for the GPU: products are staged by copies that fill in what is out of bounds, and the host's tile loops have a main loop and a tail of their own.
//!
//! ```text
//! before: v5: f32 = for v0..v1 step v2 init [v4] (v6: index, v7: f32) {..}
//! after:  v8: index = sub v1, v0
//!         v9: index = div v8, v2
//!         v10: index = mul v9, v2
//!         v11: index = add v0, v10
//!         v12: f32 = for v0..v11 step v2 init [v4] (v13: index, v14: f32) {..}
//!         v5: f32 = for v11..v1 step v2 init [v12] (v6: index, v7: f32) {..}
//! ```

use kiln_ir::ops::BinaryOp;
use kiln_ir::{Block, Const, Function, Inst, InstData, LoopAttrs, Type};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::analysis::numbers::Numbers;
use crate::clone::Cloner;
use crate::manager::{PassContext, PassResult, Target};
use crate::masks::undecided;

/// Larger bodies are not worth having twice.
const MAX_BODY: usize = 200;

/// Runs the pass.
pub(crate) fn run(func: &mut Function, context: &PassContext) -> PassResult {
    if context.target == Target::Host {
        return Ok(());
    }
    let numbers = Numbers::new(func, context.fits_32_bit);
    let mut candidates: Vec<Inst> = Vec::new();
    func.walk(|_, inst| {
        if is_candidate(func, &numbers, inst) {
            candidates.push(inst);
        }
    });
    if candidates.is_empty() {
        return Ok(());
    }
    let mut whole = numbers.clone();
    for &inst in &candidates {
        if let InstData::For { hi, step, body, .. } = func.insts[inst] {
            whole.suppose_whole_steps(func, func.blocks[body].params[0], hi, step);
        }
    }
    let chosen: FxHashSet<Inst> = candidates
        .into_iter()
        .filter(|&inst| {
            let insts = func.insts[inst].blocks().iter().flat_map(|&b| func.blocks[b].insts.clone()).collect::<Vec<_>>();
            insts.into_iter().any(|inner| undecided(func, &numbers, inner) > undecided(func, &whole, inner))
        })
        .collect();
    if !chosen.is_empty() {
        split_in(func, func.body, &chosen);
    }
    Ok(())
}

/// An innermost counting loop over `index` in constant steps of more than 1, which is no remainder of a split.
fn is_candidate(func: &Function, numbers: &Numbers, inst: Inst) -> bool {
    let InstData::For { lo, hi, step, rev: false, body, attrs, .. } = func.insts[inst] else { return false };
    let insts = &func.blocks[body].insts;
    func.ty(lo) == Type::index()
        && attrs == LoopAttrs::default()
        && numbers.fact(func, step).as_exact().is_some_and(|c| c > 1)
        && insts.len() <= MAX_BODY
        && insts.iter().all(|&inner| {
            let data = &func.insts[inner];
            data.blocks().is_empty() && !matches!(data, InstData::Dot { .. } | InstData::DotScaled { .. })
                || matches!(data, InstData::Reduce { .. } | InstData::Scan { .. })
        })
        && !numbers.ends_whole_steps(func, lo, hi, step)
}

fn split_in(func: &mut Function, block: Block, chosen: &FxHashSet<Inst>) {
    let insts = std::mem::take(&mut func.blocks[block].insts);
    let mut out = Vec::with_capacity(insts.len());
    for inst in insts {
        for inner in func.insts[inst].blocks() {
            split_in(func, inner, chosen);
        }
        if chosen.contains(&inst) {
            split(func, inst, &mut out);
        }
        out.push(inst);
    }
    func.blocks[block].insts = out;
}

/// Puts the loop over the whole steps in front; the loop itself does the rest.
fn split(func: &mut Function, inst: Inst, out: &mut Vec<Inst>) {
    let InstData::For { lo, hi, step, .. } = func.insts[inst] else { return };
    let loc = func.locs[inst];
    let mut binary = |func: &mut Function, op, a, b| {
        let made = func.make_inst(InstData::Binary { op, a, b }, &[Type::index()], loc);
        out.push(made);
        func.result(made)
    };
    let from_zero = matches!(func.def_data(lo), Some(InstData::Const { value: Const::Int(0) }));
    let distance = if from_zero { hi } else { binary(func, BinaryOp::Sub, hi, lo) };
    let steps = binary(func, BinaryOp::Div, distance, step);
    let rounded = binary(func, BinaryOp::Mul, steps, step);
    let end = if from_zero { rounded } else { binary(func, BinaryOp::Add, lo, rounded) };
    let first = Cloner { src: None, dst: func, map: FxHashMap::default() }.inst(inst);
    if let InstData::For { hi, .. } = &mut func.insts[first] {
        *hi = end;
    }
    out.push(first);
    let carried = func.results_of(first).iter().copied().collect();
    if let InstData::For { lo, init, .. } = &mut func.insts[inst] {
        *lo = end;
        *init = carried;
    }
}
