//! `persist`: which thread block runs which programs, in which order (`#[schedule(persistent)]`, `#[schedule(group = n)]`).
//!
//! Programs that run at the same time should read the same rows and columns, so that the second-level cache has them. With `group = n`, thread blocks
//! take programs in this order: `n` along axis 0 for each step along axis 1, then the next `n`. A persistent kernel has one thread
//! block a multiprocessor, which takes every so many-th program of that order. What does not depend on the program stays in front of its loop. With
//! `cluster = [2, 1]` or `[1, 2]`, two programs side by side are one place of the order: the thread blocks of a cluster run them at the same time.
//!
//! ```text
//! before: %i = program_id 0                     after: %all = mul (num_programs 0), (num_programs 1)
//!         %j = program_id 1                            for (block_id)..%all step (num_blocks) programs {
//!         store %x[%i, %j], ..                             %i, %j = .. of the counter
//!         yield                                            store %x[%i, %j], ..
//!                                                      }
//! ```

use kiln_ir::ops::BinaryOp;
use kiln_ir::{Block, Builder, Function, Inst, InstData, LoopAttrs, Type, Value, ValueDef};
use rustc_hash::FxHashSet;

use crate::manager::{PassContext, PassFailure, PassResult, Target};

/// A schedule that the target cannot follow.
const SCHEDULE: &str = "K0905";

/// Runs the pass.
pub(crate) fn run(func: &mut Function, context: &PassContext) -> PassResult {
    if context.target == Target::Host || !func.is_kernel {
        return Ok(());
    }
    let mut prints = false;
    func.walk(|_, inst| prints |= matches!(func.insts[inst], InstData::Print { .. }));
    let persistent = func.schedule.persistent;
    let refuse = |message: &str| Err(PassFailure { code: SCHEDULE, message: message.to_owned(), loc: func.loc });
    if persistent && func.schedule.cooperative {
        return refuse("`persistent` runs programs one after the other, and a `cooperative` kernel has them wait for each other");
    }
    if persistent && prints {
        return refuse("a `persistent` kernel cannot print: its thread blocks do not know which program a line is of");
    }
    let pairs = match func.schedule.cluster {
        None | Some([1, 1, 1]) => None,
        Some([x, y, z]) => {
            let pairs = func.schedule.pairs().filter(|&axis| axis < func.grid_rank);
            if pairs.is_none() {
                return refuse(&format!(
                    "cluster = [{x}, {y}, {z}]: a cluster is two thread blocks along axis 0 or axis 1 of the grid"
                ));
            }
            if !matches!(context.target, Target::Gpu(gpu) if gpu.sm >= 90) {
                return refuse("a `cluster` takes a GPU of compute capability 9.0 or newer");
            }
            if func.schedule.cooperative || prints {
                return refuse("a kernel with a `cluster` is not `cooperative` and does not print");
            }
            pairs.map(usize::from)
        }
    };
    // Prints say which program they are of by its thread block.
    let group = func.schedule.grouped(func.grid_rank).filter(|_| !prints);
    if !persistent && group.is_none() && pairs.is_none() && func.schedule.split().is_none() {
        return Ok(());
    }
    let mut order = Order { group, pairs: None, extents: Vec::new() };
    let mut old = std::mem::take(&mut func.blocks[func.body].insts);
    let end = old.pop();
    let (before, rest) = if persistent { same_for_all(func, old) } else { (Vec::new(), old) };
    func.blocks[func.body].insts = before;
    let body = func.body;
    let mut b = Builder::new(func, body);
    b.loc = b.func.loc;
    let block_id = b.emit1(InstData::BlockId, Type::index());
    order.extents = (0..b.func.grid_rank).map(|axis| b.emit1(InstData::NumPrograms { axis }, Type::index())).collect();
    if let Some(axis) = pairs {
        let (rank, two) = (b.emit1(InstData::ClusterRank, Type::index()), b.index(2));
        order.extents[axis] = b.binary(BinaryOp::Div, order.extents[axis], two);
        order.pairs = Some((axis, rank));
        if axis == 0 {
            order.group = group.map(|n| (n / 2).max(1));
        }
    }
    if persistent {
        let step = b.emit1(InstData::NumBlocks, Type::index());
        let all = order.extents[1..].iter().fold(order.extents[0], |all, &extent| b.binary(BinaryOp::Mul, all, extent));
        let programs = b.func.add_block();
        let counter = b.func.add_block_param(programs, Type::index(), None);
        // What a program loads once is loaded once: the next program's is not fetched ahead.
        let attrs = LoopAttrs { stages: Some(1), programs: true, ..LoopAttrs::default() };
        let data = InstData::For { lo: block_id, hi: all, step, rev: false, init: Default::default(), body: programs, attrs };
        b.emit(data, &[]);
        b.block = programs;
        one_program(&mut b, counter, &order, rest);
        b.emit(InstData::Yield { args: Default::default() }, &[]);
    } else {
        one_program(&mut b, block_id, &order, rest);
    }
    func.blocks[body].insts.extend(end);
    Ok(())
}

/// Instructions of the body that are the same for every program and cost no registers of tiles, and the others.
fn same_for_all(func: &Function, list: Vec<Inst>) -> (Vec<Inst>, Vec<Inst>) {
    let mut outside: FxHashSet<Inst> = FxHashSet::default();
    list.into_iter().partition(|&inst| {
        let data = &func.insts[inst];
        let plain = func.results_of(inst).iter().all(|&v| func.ty(v).is_scalar() || func.ty(v).is_view());
        let known = data.operands().iter().all(|&v| match func.values[v].def {
            ValueDef::Param(..) => true,
            ValueDef::Result(of, _) => outside.contains(&of),
        });
        let same = plain
            && known
            && data.own_effects().is_pure()
            && data.blocks().is_empty()
            && !matches!(data, InstData::ProgramId { .. } | InstData::Load { .. });
        if same {
            outside.insert(inst);
        }
        same
    })
}

/// The order of programs, or of pairs.
struct Order {
    group: Option<u32>,
    /// The axis along which two programs are one place, and which of them this thread block runs.
    pairs: Option<(usize, Value)>,
    /// Places along each axis.
    extents: Vec<Value>,
}

/// The instructions of one program, which has that place in the order.
fn one_program(b: &mut Builder<'_>, place: Value, order: &Order, rest: Vec<Inst>) {
    let mut ids = ids(b, place, &order.extents, order.group);
    if let Some((axis, rank)) = order.pairs {
        let two = b.index(2);
        let first = b.binary(BinaryOp::Mul, ids[axis], two);
        ids[axis] = b.binary(BinaryOp::Add, first, rank);
    }
    let block = b.block;
    b.func.blocks[block].insts.extend(rest);
    let mut found: Vec<(Block, Inst, u8)> = Vec::new();
    b.func.walk(|block, inst| {
        if let InstData::ProgramId { axis } = b.func.insts[inst] {
            found.push((block, inst, axis));
        }
    });
    for (block, inst, axis) in found {
        let result = b.func.result(inst);
        b.func.replace_uses(result, ids[usize::from(axis)]);
        b.func.blocks[block].insts.retain(|&i| i != inst);
    }
}

/// The places along each axis of number `order`.
fn ids(b: &mut Builder<'_>, order: Value, extents: &[Value], group: Option<u32>) -> Vec<Value> {
    let Some(group) = group else { return digits(b, order, extents) };
    let plane = b.binary(BinaryOp::Mul, extents[0], extents[1]);
    let (mut rest, mut within) = (None, order);
    if extents.len() > 2 {
        rest = Some(b.binary(BinaryOp::Div, order, plane));
        within = b.binary(BinaryOp::Rem, order, plane);
    }
    let most = b.index(i64::from(group));
    let each = b.binary(BinaryOp::Mul, most, extents[1]);
    let number = b.binary(BinaryOp::Div, within, each);
    let first = b.binary(BinaryOp::Mul, number, most);
    let left = b.binary(BinaryOp::Sub, extents[0], first);
    // The last group may be smaller.
    let rows = b.binary(BinaryOp::Min, left, most);
    let in_group = b.binary(BinaryOp::Rem, within, each);
    let down = b.binary(BinaryOp::Rem, in_group, rows);
    let mut ids = vec![b.binary(BinaryOp::Add, first, down), b.binary(BinaryOp::Div, in_group, rows)];
    if let Some(rest) = rest {
        ids.extend(digits(b, rest, &extents[2..]));
    }
    ids
}

/// The digits of a number whose places have these extents, the first one fastest.
fn digits(b: &mut Builder<'_>, mut number: Value, extents: &[Value]) -> Vec<Value> {
    let mut ids = Vec::new();
    for (place, &extent) in extents.iter().enumerate() {
        if place + 1 == extents.len() {
            ids.push(number);
        } else {
            ids.push(b.binary(BinaryOp::Rem, number, extent));
            number = b.binary(BinaryOp::Div, number, extent);
        }
    }
    ids
}
