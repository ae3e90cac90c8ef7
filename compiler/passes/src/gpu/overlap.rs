//! `overlap`: in a loop with products that take what others give, the others run a trip ahead.
//!
//! In attention the tensor cores have nothing to do while a trip computes its softmax: that waits for `q k` and `p v` waits for it. A trip
//! therefore starts the next trip's first product, then its own second one, and computes the next softmax while the second one runs (Shah, Bikshandi,
//! Zhang, Thakkar, Ramani, Dao, "FlashAttention-3", 2024). In attention's gradients there are two products of each kind, or two and one, and the same is done with them.
//! It is a rotation of the loop of consumers (`roles`), which [`rotate`] describes.
//!
//! With `ping_pong` the warpgroups of a program take turns: one starts the products of a trip, then another one does, while the first one computes its weights. Left to themselves they may all
//! compute at the same time, and all multiply at the same time.
//!
//! Where threads add up what a single product gives, two sums take turns ([`alternate`]). In other loops with several products, and in those that have not the registers or slots for another trip's, the order within a trip changes ([`reorder`]).

mod alternate;
mod reorder;
mod rotate;

use kiln_ir::{Block, Function, Inst, InstData, SrcLoc, Value};
use rustc_hash::FxHashSet;

use self::alternate::Alternation;
use self::rotate::Rotation;
use super::warps_of;
use crate::manager::{PassContext, PassFailure, PassResult};

/// Most registers of a thread for the sums and operands of a trip: of 240 that a thread can have, others need some forty.
const MOST_REGISTERS: u32 = 200;

/// A schedule that the target cannot follow.
const SCHEDULE: &str = "K0905";

/// Runs the pass.
pub(crate) fn run(func: &mut Function, _: &PassContext) -> PassResult {
    let mut in_roles = false;
    func.walk(|_, inst| in_roles |= matches!(func.insts[inst], InstData::IsProducer));
    if in_roles {
        let rotated = block(func, func.body);
        if func.schedule.ping_pong && !func.schedule.persistent && !rotated {
            let message = "`ping_pong`: warpgroups of a program take turns in a loop whose second product takes what its first one gives; programs take turns with `persistent`";
            return Err(PassFailure { code: SCHEDULE, message: message.to_owned(), loc: func.loc });
        }
    }
    Ok(())
}

/// Rewrites the loops of a block, and of those in it; whether one of them is rotated.
fn block(func: &mut Function, at: Block) -> bool {
    let insts = std::mem::take(&mut func.blocks[at].insts);
    let mut out = Vec::with_capacity(insts.len());
    let mut rotated = false;
    for inst in insts {
        for inner in func.insts[inst].blocks() {
            rotated |= block(func, inner);
        }
        match Rotation::of(func, inst) {
            Some(rotation) => {
                rotated = true;
                rotation.rewrite(func, inst, &mut out);
            }
            None => match Alternation::of(func, inst) {
                Some(alternation) => alternation.rewrite(func, inst, &mut out),
                None => {
                    if let InstData::For { body, .. } = func.insts[inst] {
                        reorder::run(func, body);
                    }
                    out.push(inst);
                }
            },
        }
    }
    func.blocks[at].insts = out;
    rotated
}

/// A tile as it is here.
fn hold(func: &mut Function, arg: Value, out: &mut Vec<Inst>, loc: SrcLoc) -> Value {
    let ty = func.ty(arg);
    let made = func.make_inst(InstData::Hold { arg }, &[ty], loc);
    out.push(made);
    func.result(made)
}

fn count_products(func: &Function, inst: Inst, count: &mut u32) {
    *count += u32::from(matches!(func.insts[inst], InstData::DotStart { .. }));
    for block in func.insts[inst].blocks() {
        for &inner in &func.blocks[block].insts {
            count_products(func, inner, count);
        }
    }
}

/// Registers of a thread for a matrix that is dealt to all warps; nothing else counts.
fn of_matrix(func: &Function, value: Value) -> u32 {
    let ty = func.ty(value);
    let matrix = ty.is_tile() && ty.rank() == 2;
    if matrix { (ty.shape().iter().product::<u32>() * ty.elem().bytes()).div_ceil(128 * warps_of(func)) } else { 0 }
}

/// The number of the slot that a tile lies in, or was read from.
fn slot_of(func: &Function, mut tile: Value) -> Option<Value> {
    loop {
        match func.def_data(tile)? {
            InstData::Permute { arg, .. } => tile = *arg,
            InstData::RingRead { slot, .. } => return Some(*slot),
            _ => return None,
        }
    }
}

/// Calls `f` on what an instruction, and those in its blocks, use.
fn visit(func: &Function, inst: Inst, f: &mut impl FnMut(Value)) {
    func.insts[inst].visit_operands(&mut *f);
    for block in func.insts[inst].blocks() {
        for &inner in &func.blocks[block].insts {
            visit(func, inner, f);
        }
    }
}

fn reads_any(func: &Function, inst: Inst, of: &FxHashSet<Value>) -> bool {
    let mut found = false;
    visit(func, inst, &mut |v| found |= of.contains(&v));
    found
}
