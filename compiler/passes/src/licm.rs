//! `licm`: moves what a loop computes anew in every trip, and always alike, in front of the loop.
//!
//! Nothing in the language traps, so anything without effects may be computed though the loop might run no trip. A load moves when no write
//! in the loop may touch what it reads and its view narrows a tensor parameter, whose bounds make it harmless in a loop of no trips; loads
//! through pointers, and through views made from pointers, stay. What is cheaper to compute again than to keep (constants, lane numbers,
//! broadcasts and integer arithmetic on whole tiles) moves only along with something that needs it.
//!
//! ```text
//! before: for v0..v1 step v2 init [] (v3: index) {      after: v4: f32 = load v5[v6]
//!             v4: f32 = load v5[v6]                            for v0..v1 step v2 init [] (v3: index) {
//!             store v7[v3], v4                                     store v7[v3], v4
//!             yield                                                yield
//!         }                                                    }
//! ```

use cranelift_entity::EntitySet;
use kiln_ir::ops::BinaryOp;
use kiln_ir::{Block, Function, Inst, InstData, ScalarType, Value};

use crate::analysis::memory::{Root, Writes, defined_in, root};
use crate::manager::{PassContext, PassResult};

/// Runs the pass.
pub(crate) fn run(func: &mut Function, _: &PassContext) -> PassResult {
    block(func, func.body);
    Ok(())
}

/// Moves invariants out of the loops of a block, innermost first.
fn block(func: &mut Function, at: Block) {
    let insts = std::mem::take(&mut func.blocks[at].insts);
    let mut out = Vec::with_capacity(insts.len());
    for inst in insts {
        let inner = func.insts[inst].blocks();
        for &block_inside in &inner {
            block(func, block_inside);
        }
        if matches!(func.insts[inst], InstData::For { .. } | InstData::While { .. }) {
            let mut inside = EntitySet::new();
            for &block_inside in &inner {
                defined_in(func, block_inside, &mut inside);
            }
            let writes = Writes::of_inst(func, inst);
            for &block_inside in &inner {
                hoist(func, block_inside, &mut inside, &writes, &mut out);
            }
        }
        out.push(inst);
    }
    func.blocks[at].insts = out;
}

/// Moves the invariants of one block of a loop to `out`; `inside` are the values that the loop defines.
fn hoist(func: &mut Function, from: Block, inside: &mut EntitySet<Value>, writes: &Writes, out: &mut Vec<Inst>) {
    let insts = &func.blocks[from].insts;
    let mut varying = inside.clone();
    let mut invariant: EntitySet<Inst> = EntitySet::new();
    for &inst in insts {
        if may_move(func, inst, writes) && !reads_any(func, inst, &varying) {
            invariant.insert(inst);
            for &result in func.results_of(inst) {
                varying.remove(result);
            }
        }
    }
    // Backwards: what pays for itself moves, and what that needs.
    let mut needed: EntitySet<Value> = EntitySet::new();
    let mut moving: EntitySet<Inst> = EntitySet::new();
    for &inst in insts.iter().rev() {
        if invariant.contains(inst) && (pays(func, inst) || func.results_of(inst).iter().any(|&r| needed.contains(r))) {
            moving.insert(inst);
            visit_reads(func, inst, &mut |v| _ = needed.insert(v));
        }
    }
    let insts = std::mem::take(&mut func.blocks[from].insts);
    let (moved, stay): (Vec<Inst>, Vec<Inst>) = insts.into_iter().partition(|&inst| moving.contains(inst));
    for &inst in &moved {
        for &result in func.results_of(inst) {
            inside.remove(result);
        }
    }
    out.extend(moved);
    func.blocks[from].insts = stay;
}

fn may_move(func: &Function, inst: Inst, writes: &Writes) -> bool {
    match &func.insts[inst] {
        InstData::Load { place, .. } => {
            let root = root(func, place);
            matches!(root, Root::Tensor(_)) && !writes.may_change(func, root)
        }
        InstData::For { .. } | InstData::While { .. } | InstData::If { .. } => false,
        _ => func.effects(inst).is_pure(),
    }
}

/// Whether it is worth moving for its own sake.
fn pays(func: &Function, inst: Inst) -> bool {
    let Some(&result) = func.results_of(inst).first() else { return false };
    if func.ty(result).rank() == 0 || func.ty(result).is_view() {
        return true;
    }
    let float = func.ty(result).scalar_elem().is_some_and(ScalarType::is_float);
    match &func.insts[inst] {
        InstData::Const { .. } | InstData::ConstTile { .. } | InstData::Iota { .. } => false,
        InstData::Broadcast { .. } | InstData::Reshape { .. } => false,
        // Costs nothing, but where it stands its operand changes its layout on a GPU, which may take an exchange between threads.
        InstData::ExpandDims { .. } => float,
        InstData::Unary { .. } | InstData::Cast { .. } | InstData::Select { .. } => float,
        InstData::Binary { op: BinaryOp::Div | BinaryOp::Rem, .. } => true,
        InstData::Binary { .. } => float,
        InstData::Cmp { .. } => false,
        _ => true,
    }
}

fn reads_any(func: &Function, inst: Inst, set: &EntitySet<Value>) -> bool {
    let mut own: EntitySet<Value> = EntitySet::new();
    for block in func.insts[inst].blocks() {
        defined_in(func, block, &mut own);
    }
    let mut found = false;
    visit_reads(func, inst, &mut |v| found |= set.contains(v) && !own.contains(v));
    found
}

/// Calls `f` on what an instruction and the blocks inside it use.
fn visit_reads(func: &Function, inst: Inst, f: &mut impl FnMut(Value)) {
    func.insts[inst].visit_operands(&mut *f);
    for block in func.insts[inst].blocks() {
        for &inner in &func.blocks[block].insts {
            visit_reads(func, inner, f);
        }
    }
}
