//! `split-k`: several thread blocks share a program, each with a part of its loop over products (`#[schedule(split_k = n)]`).
//!
//! A grid of fewer programs than the GPU has multiprocessors leaves the others idle, as products of few rows and columns do. With `split_k = n`, the `n` thread
//! blocks of a cluster run each program. The block of rank `r` takes trips `r`, `r + n`, .. of the loop, so that all of them read neighbouring memory; behind it the blocks
//! add up what they have (`ClusterSum`), in the order of their ranks: the result is the same each time. What follows is done by the first block alone.
//!
//! That takes loops in the kernel's body which carry nothing but sums, and nothing written before they end. Several such loops may follow each other,
//! also with one's sum as the next one's start. Sums start at zero, since all but one block would add what they start with in vain.
//!
//! ```text
//! before: %s = for %lo..%hi step %c init [%z] (%k, %acc) {     after: %r = cluster_rank
//!             ..                                                      %p = for (%lo + %r * %c)..%hi step (n * %c) init [0] (%k, %acc) {
//!         }                                                               ..
//!         store %y[..], %s                                            }
//!                                                                     %t = cluster_sum %p
//!                                                                     if %r == 0 {
//!                                                                         %s = add %z, %t
//!                                                                         store %y[..], %s
//!                                                                     }
//! ```

use cranelift_entity::SecondaryMap;
use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::{Block, Builder, Const, Function, Inst, InstData, SrcLoc, Type, Value, ValueDef};
use rustc_hash::FxHashMap;

use crate::manager::{PassContext, PassFailure, PassResult, Target};

/// A schedule that the target cannot follow.
const SCHEDULE: &str = "K0905";

/// Runs the pass.
pub(crate) fn run(func: &mut Function, context: &PassContext) -> PassResult {
    let Target::Gpu(gpu) = context.target else { return Ok(()) };
    let Some(blocks) = func.schedule.split().filter(|_| func.is_kernel) else { return Ok(()) };
    let refuse = |message: String, loc: SrcLoc| {
        Err(PassFailure { code: SCHEDULE, message: format!("split_k = {blocks}: {message}"), loc })
    };
    let mut prints = false;
    func.walk(|_, inst| prints |= matches!(func.insts[inst], InstData::Print { .. }));
    let schedule = &func.schedule;
    let clash = [
        (schedule.persistent, "the thread blocks that share a program run no other: not together with `persistent`"),
        (
            schedule.cluster.is_some_and(|c| c != [1; 3]),
            "the thread blocks that share a program are a cluster: not together with `cluster`",
        ),
        (schedule.cooperative, "not together with `cooperative`"),
        (prints, "each thread block would print: not together with `print`"),
        (gpu.sm < 90, "thread blocks share a program from compute capability 9.0 on"),
    ];
    if let Some((_, message)) = clash.iter().find(|(clashes, _)| *clashes) {
        return refuse((*message).to_owned(), func.loc);
    }
    match Plan::of(func) {
        Ok(plan) => {
            split(func, &plan, blocks);
            Ok(())
        }
        Err((message, loc)) => refuse(message, if loc.is_known() { loc } else { func.loc }),
    }
}

/// What is to be split.
struct Plan {
    /// The loops, in order.
    loops: Vec<Inst>,
    /// How many instructions of the body there are up to the end of the last one.
    before: usize,
    /// What loops give that is used behind the last one, and what it started with where that is not zero.
    sums: Vec<(Value, Option<Value>)>,
    /// Starts of loops, by number of the loop and of the carried value, that are another one's sum and stay.
    chained: Vec<(Inst, usize)>,
}

type Refusal = (String, SrcLoc);

impl Plan {
    fn of(func: &Function) -> Result<Plan, Refusal> {
        let body = &func.blocks[func.body].insts;
        let loops: Vec<Inst> =
            body.iter().copied().filter(|&i| matches!(func.insts[i], InstData::For { .. }) && has_products(func, i)).collect();
        let Some(&last) = loops.last() else {
            return Err((
                "there is no loop over products in the kernel's body, of which each thread block would do a part".into(),
                func.loc,
            ));
        };
        let before = 1 + body.iter().position(|&i| i == last).unwrap_or_default();
        for &inst in &body[..before] {
            if writes(func, inst) {
                return Err(("every thread block would write here, before the sums are known".into(), func.locs[inst]));
            }
        }
        let mut uses: SecondaryMap<Value, u32> = SecondaryMap::new();
        func.walk(|_, inst| func.insts[inst].visit_operands(|v| uses[v] += 1));
        let mut plan = Plan { loops, before, sums: Vec::new(), chained: Vec::new() };
        // What a sum that goes on into another loop started with.
        let mut starts: FxHashMap<Value, Option<Value>> = FxHashMap::default();
        for &inst in &plan.loops {
            let InstData::For { init, body, .. } = &func.insts[inst] else { unreachable!("only such were taken") };
            for (number, &start) in init.iter().enumerate() {
                let (param, yielded) = (func.blocks[*body].params[number + 1], func.yielded(*body)[number]);
                let ty = func.ty(param);
                let whole = ty.is_tile() && !ty.is_scalar() && ty.elem().scalar().is_some_and(|s| matches!(s.bytes(), 4 | 8));
                if !whole || !adds_to(func, &uses, param, yielded) {
                    let message =
                        "this loop over products carries something that is no sum of 32 or 64 bits: a trip may only add to it";
                    return Err((message.into(), func.locs[inst]));
                }
                let result = func.results_of(inst)[number];
                let own = match starts.remove(&start) {
                    Some(first) if uses[start] == 1 => {
                        plan.chained.push((inst, number));
                        first
                    }
                    Some(_) => return Err(used_early(func, inst)),
                    None => Some(start).filter(|&v| !is_zero(func, v)),
                };
                starts.insert(result, own);
            }
        }
        for &inst in &func.blocks[func.body].insts[..before] {
            let mut early = false;
            visit_all(func, inst, &mut |v| early |= starts.contains_key(&v));
            if early {
                return Err(used_early(func, inst));
            }
        }
        let mut list: Vec<(Value, Option<Value>)> = starts.into_iter().filter(|(v, _)| uses[*v] > 0).collect();
        list.sort_unstable_by_key(|(v, _)| *v);
        plan.sums = list;
        Ok(plan)
    }
}

fn used_early(func: &Function, inst: Inst) -> Refusal {
    (
        "a sum is used before the last loop over products ends, and until then each thread block has a part of it".into(),
        func.locs[inst],
    )
}

fn has_products(func: &Function, inst: Inst) -> bool {
    let mut found = false;
    visit_insts(func, inst, &mut |i| found |= matches!(func.insts[i], InstData::Dot { .. }));
    found
}

fn writes(func: &Function, inst: Inst) -> bool {
    let mut found = false;
    visit_insts(func, inst, &mut |i| found |= func.insts[i].own_effects().writes);
    found
}

/// An instruction and those in its blocks.
fn visit_insts(func: &Function, inst: Inst, f: &mut impl FnMut(Inst)) {
    f(inst);
    for block in func.insts[inst].blocks() {
        for &inner in &func.blocks[block].insts {
            visit_insts(func, inner, f);
        }
    }
}

/// Operands of an instruction and of those in its blocks.
fn visit_all(func: &Function, inst: Inst, f: &mut impl FnMut(Value)) {
    visit_insts(func, inst, &mut |i| func.insts[i].visit_operands(&mut *f));
}

/// Whether `value` is `start` and something added, and nothing else has to do with either.
fn adds_to(func: &Function, uses: &SecondaryMap<Value, u32>, start: Value, mut value: Value) -> bool {
    loop {
        if uses[value] != 1 {
            return false;
        }
        if value == start {
            return true;
        }
        let Some(inst) = func.def_inst(value) else { return false };
        match &func.insts[inst] {
            InstData::Binary { op: BinaryOp::Add, a, b } => {
                if adds_to(func, uses, start, *a) {
                    return true;
                }
                value = *b;
            }
            InstData::Binary { op: BinaryOp::Sub, a, .. } => value = *a,
            InstData::Fma { c, .. } => value = *c,
            InstData::Dot { acc: Some(acc), .. } => value = *acc,
            InstData::For { init, body, .. } => {
                let Some(number) = func.results_of(inst).iter().position(|&v| v == value) else { return false };
                if !adds_to(func, uses, func.blocks[*body].params[number + 1], func.yielded(*body)[number]) {
                    return false;
                }
                value = init[number];
            }
            _ => return false,
        }
    }
}

fn is_zero(func: &Function, value: Value) -> bool {
    match func.def_data(value) {
        Some(InstData::Const { value: Const::Int(0) }) => true,
        Some(InstData::Const { value: Const::Float(number) }) => *number == 0.0,
        Some(InstData::Broadcast { arg }) => is_zero(func, *arg),
        _ => false,
    }
}

fn split(func: &mut Function, plan: &Plan, blocks: u32) {
    let body = func.body;
    let mut old = std::mem::take(&mut func.blocks[body].insts);
    let end = old.pop();
    let behind = old.split_off(plan.before);
    let mut b = Builder::new(func, body);
    b.loc = b.func.loc;
    let rank = b.emit1(InstData::ClusterRank, Type::index());
    for inst in old {
        if plan.loops.contains(&inst) {
            share_trips(&mut b, inst, rank, blocks, plan);
        }
        b.func.blocks[body].insts.push(inst);
    }
    let sums: Vec<Value> = plan
        .sums
        .iter()
        .map(|&(part, _)| {
            b.loc = place_of(b.func, part);
            let ty = b.ty(part);
            b.emit1(InstData::ClusterSum { arg: part }, ty)
        })
        .collect();
    b.loc = b.func.loc;
    let zero = b.index(0);
    let first = b.cmp(CmpOp::Eq, rank, zero);
    let [then, otherwise] = [(); 2].map(|()| b.func.add_block());
    b.emit(InstData::If { cond: first, then, otherwise }, &[]);
    let finish = |b: &mut Builder<'_>, block: Block| {
        b.block = block;
        b.emit(InstData::Yield { args: Default::default() }, &[]);
    };
    finish(&mut b, otherwise);
    b.block = then;
    let mut renamed: FxHashMap<Value, Value> = FxHashMap::default();
    for (&(part, start), &sum) in plan.sums.iter().zip(&sums) {
        let whole = match start {
            Some(start) => b.binary(BinaryOp::Add, start, sum),
            None => sum,
        };
        renamed.insert(part, whole);
    }
    // Only what stands behind the loops refers to the whole sums.
    for inst in behind {
        rename(b.func, inst, &renamed);
        b.func.blocks[then].insts.push(inst);
    }
    finish(&mut b, then);
    func.blocks[body].insts.extend(end);
}

/// A loop's trips `rank`, `rank + blocks`, .. alone, from zero.
fn share_trips(b: &mut Builder<'_>, inst: Inst, rank: Value, blocks: u32, plan: &Plan) {
    b.loc = b.func.locs[inst];
    let mut data = b.func.insts[inst].clone();
    let InstData::For { lo, step, init, .. } = &mut data else { unreachable!("only such were taken") };
    let ty = b.ty(*lo);
    let rank = match ty.scalar_elem() {
        Some(of_counter) if ty != Type::index() => b.cast(rank, of_counter),
        _ => rank,
    };
    let ahead = b.binary(BinaryOp::Mul, rank, *step);
    *lo = b.binary(BinaryOp::Add, *lo, ahead);
    // Known steps stay known: loads are staged ahead only where they are.
    let known = match b.func.def_data(*step) {
        Some(InstData::Const { value: Const::Int(step) }) => step.checked_mul(i64::from(blocks)),
        _ => None,
    };
    *step = match known.filter(|&step| step <= i64::from(i32::MAX)) {
        Some(step) => b.int(step, ty),
        None => {
            let count = b.int(i64::from(blocks), ty);
            b.binary(BinaryOp::Mul, *step, count)
        }
    };
    for (number, start) in init.iter_mut().enumerate() {
        if !plan.chained.contains(&(inst, number)) && !is_zero(b.func, *start) {
            let ty = b.ty(*start);
            *start = b.zero(ty);
        }
    }
    b.func.insts[inst] = data;
}

fn place_of(func: &Function, value: Value) -> SrcLoc {
    match func.values[value].def {
        ValueDef::Result(inst, _) => func.locs[inst],
        ValueDef::Param(..) => func.loc,
    }
}

/// Renames operands of an instruction and of those in its blocks.
fn rename(func: &mut Function, inst: Inst, to: &FxHashMap<Value, Value>) {
    func.insts[inst].visit_operands_mut(|v| {
        if let Some(&new) = to.get(v) {
            *v = new;
        }
    });
    for block in func.insts[inst].blocks() {
        for inner in func.blocks[block].insts.clone() {
            rename(func, inner, to);
        }
    }
}
