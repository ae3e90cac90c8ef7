//! `dot-acc`: a product that is only added to something accumulates there.
//!
//! `acc + dot(a, b)` becomes `dot(a, b, acc)`, so that the accumulator stays where the matrix instructions keep it. Integers agree bit for bit; for
//! floats the language leaves the order of a product's additions open, `acc` included. The sum must stand in the product's own block and be its
//! only use. An accumulator that is zero is no accumulator.
//!
//! ```text
//! before: v3: tile<f32, [8, 8]> = dot v0, v1
//!         v4: tile<f32, [8, 8]> = add v2, v3
//! after:  v4: tile<f32, [8, 8]> = dot v0, v1 acc v2
//! ```

use cranelift_entity::SecondaryMap;
use kiln_ir::ops::BinaryOp;
use kiln_ir::{Const, Function, Inst, InstData, Value};
use rustc_hash::FxHashSet;

use crate::manager::{PassContext, PassResult};

/// Runs the pass.
pub(crate) fn run(func: &mut Function, _: &PassContext) -> PassResult {
    let mut dots = false;
    let mut uses: SecondaryMap<Value, u32> = SecondaryMap::new();
    func.walk(|_, inst| {
        dots |= matches!(func.insts[inst], InstData::Dot { .. } | InstData::DotScaled { .. });
        func.insts[inst].visit_operands(|v| uses[v] += 1);
    });
    if !dots {
        return Ok(());
    }
    let mut blocks = Vec::new();
    func.walk(|block, _| {
        if blocks.last() != Some(&block) {
            blocks.push(block);
        }
    });
    blocks.sort_unstable();
    blocks.dedup();
    for block in blocks {
        let mut here: FxHashSet<Inst> = FxHashSet::default();
        let mut merged: FxHashSet<Inst> = FxHashSet::default();
        for position in 0..func.blocks[block].insts.len() {
            let inst = func.blocks[block].insts[position];
            drop_zero_acc(func, inst);
            if let InstData::Binary { op: BinaryOp::Add, a, b } = func.insts[inst] {
                for (product, other) in [(b, a), (a, b)] {
                    let Some(dot) = func.def_inst(product).filter(|d| here.contains(d) && uses[product] == 1) else { continue };
                    let mut data = func.insts[dot].clone();
                    let (InstData::Dot { acc, .. } | InstData::DotScaled { acc, .. }) = &mut data else { continue };
                    if acc.is_none() {
                        *acc = Some(other);
                        func.insts[inst] = data;
                        merged.insert(dot);
                        break;
                    }
                }
            }
            if matches!(func.insts[inst], InstData::Dot { .. } | InstData::DotScaled { .. }) {
                here.insert(inst);
            }
        }
        func.blocks[block].insts.retain(|inst| !merged.contains(inst));
    }
    Ok(())
}

fn drop_zero_acc(func: &mut Function, inst: Inst) {
    let (InstData::Dot { acc: Some(acc), .. } | InstData::DotScaled { acc: Some(acc), .. }) = &func.insts[inst] else { return };
    let zero = match func.def_data(*acc) {
        Some(InstData::Const { value: Const::Int(0) }) => true,
        Some(InstData::Const { value }) => *value == Const::Float(0.0),
        _ => false,
    };
    if zero && let InstData::Dot { acc, .. } | InstData::DotScaled { acc, .. } = &mut func.insts[inst] {
        *acc = None;
    }
}
