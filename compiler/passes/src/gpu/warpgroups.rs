//! `warpgroups`: products that whole warpgroups run (`wgmma`, sm_90a), started and waited for as two instructions.
//!
//! A warpgroup reads B, and A unless it is in registers, from shared memory by itself, four times as fast as `mma.sync`. A product
//! becomes one of warpgroups where its types allow (16-bit floats; bytes and tf32 whose operands have k running through memory, since only
//! 16-bit operands may be transposed), its rows are a multiple of 64 for each warpgroup, and its columns a multiple of 16.
//!
//! Products of tf32 are that until it is known who loads: the instruction drops the 13 low bits of what it reads, where the language rounds to nearest, so that
//! somebody has to round. What is loaded the TMA engine can round; `roles`, which knows what the engine can load, turns the others back ([`super::tf32`]).
//!
//! Products of 8-bit floats are added up in tensor cores with fewer bits than f32 has (some 14 of a sum's leading bits, by measurements published for the
//! GPU; PTX promises none). So what a product adds to stays outside: each `dot` starts at zero, and its sum is added in f32. A
//! loop thereby promotes once a trip, after BK elements.
//!
//! ```text
//! before: %s = dot %a, %b acc %c             after: %t = dot_start %a, %b acc %c
//!                                                    %s = dot_wait 0 of %t
//! ```

use kiln_ir::ops::BinaryOp;
use kiln_ir::{Block, Function, Inst, InstData, Value};
use rustc_hash::FxHashSet;

use super::access::access_of;
use super::facts::Facts;
use super::rules::{Kind, kind};
use super::stage::binary;
use super::tensor_cores::{MmaKind, groups, product};
use super::{tf32, warps_of};
use crate::manager::{PassContext, PassResult};

/// Makes products of `func` ones of warpgroups, where the target has such.
pub(crate) fn run(func: &mut Function, context: &PassContext) -> PassResult {
    if !context.has_warpgroups() {
        return Ok(());
    }
    let warps = warps_of(func);
    let facts = Facts::of(func);
    let mut found: FxHashSet<Inst> = FxHashSet::default();
    func.walk(|_, inst| {
        if is_for_groups(func, &facts, inst, warps) {
            found.insert(inst);
        }
    });
    if !found.is_empty() {
        rewrite(func, func.body, &found);
    }
    Ok(())
}

fn is_for_groups(func: &Function, facts: &Facts, inst: Inst, warps: u32) -> bool {
    let InstData::Dot { a, b, .. } = func.insts[inst] else { return false };
    let Some((kind, [m, n, _])) = product(func, inst) else { return false };
    let fits = match kind {
        MmaKind::F16 | MmaKind::Bf16 => true,
        MmaKind::F8 | MmaKind::Int8 => along_k(func, facts, a, 1) && along_k(func, facts, b, 0),
        MmaKind::Tf32 => along_k(func, facts, a, 1) && along_k(func, facts, b, 0) && tf32::loaded(func, b).is_some(),
        MmaKind::Tf32x3 | MmaKind::Bf16x3 | MmaKind::F64 => false,
    };
    // What has no layout of its own (a constant tile) has no place in shared memory.
    fits && groups([m, n], warps).is_some() && has_source(func, b)
}

/// Whether an operand lies with k, its dimension `depth`, running through memory, or can be put so.
fn along_k(func: &Function, facts: &Facts, operand: Value, depth: usize) -> bool {
    let (mut value, mut depth) = (operand, depth);
    loop {
        let Some(inst) = func.def_inst(value) else { return true };
        match &func.insts[inst] {
            InstData::Permute { arg, perm } => {
                value = *arg;
                depth = usize::from(perm[depth]);
            }
            InstData::Load { .. } => return access_of(func, facts, inst).is_some_and(|access| access.axis == depth),
            _ => return true,
        }
    }
}

/// Whether some part of `value` is no constant, iota or broadcast.
fn has_source(func: &Function, value: Value) -> bool {
    let (mut todo, mut seen) = (vec![value], FxHashSet::default());
    while let Some(value) = todo.pop() {
        let Some(inst) = func.def_inst(value) else { return true };
        let data = &func.insts[inst];
        match kind(data) {
            Kind::Flexible => {}
            Kind::Elementwise | Kind::Shape => {
                if seen.insert(inst) {
                    todo.extend(data.operands().into_iter().filter(|&v| !func.ty(v).is_scalar()));
                }
            }
            _ => return true,
        }
    }
    false
}

fn rewrite(func: &mut Function, block: Block, found: &FxHashSet<Inst>) {
    let old = std::mem::take(&mut func.blocks[block].insts);
    let mut new = Vec::with_capacity(old.len());
    for inst in old {
        for inner in func.insts[inst].blocks() {
            rewrite(func, inner, found);
        }
        let InstData::Dot { a, b, acc, precision } = func.insts[inst] else {
            new.push(inst);
            continue;
        };
        if !found.contains(&inst) {
            new.push(inst);
            continue;
        }
        let (result, loc) = (func.result(inst), func.locs[inst]);
        let ty = func.ty(result);
        let outside = acc.filter(|_| MmaKind::of(func.ty(a).elem(), precision) == Some(MmaKind::F8));
        let inside = if outside.is_some() { None } else { acc };
        let start = func.make_inst(InstData::DotStart { a, b, acc: inside, precision }, &[ty], loc);
        let arg = Some(func.result(start));
        let wait = func.make_inst(InstData::DotWait { arg, pending: 0 }, &[ty], loc);
        new.extend([start, wait]);
        let mut done = func.result(wait);
        if let Some(acc) = outside {
            done = binary(func, BinaryOp::Add, acc, done, &mut new, loc);
        }
        func.replace_uses(result, done);
    }
    func.blocks[block].insts = new;
}
