//! Within a trip: products start as early as they can, and are waited for as late as they may be.
//!
//! In the gradients of attention a trip has three or four products. As written, each is waited for where it stands, and the tensor cores have nothing to do while
//! the threads work on what came of it. So whatever does not follow from a product of the trip (slots, loads, other products) goes in front of the first wait, and
//! each wait goes in front of the first use of its sum, or to the end of the trip. Weights are then computed while the gradients of weights are multiplied, and those
//! while values' gradients are. Slots are freed behind the last product that reads them.
//!
//! Work that is to run beside a product has to stay in front of the wait for it, though nothing says so to ptxas where no product starts in between: there
//! its results are held (`hold`), and a slot that is full is waited for once more, as in a rotated loop. Where all sums and operands of a trip together would not fit
//! into registers, the trip stays as it is written.
//!
//! ```text
//! before: %t = dot_start %g, %k       after: %t = dot_start %g, %k
//!         %s = dot_wait 0 of %t              %u = dot_start %d, %v
//!         %p = exp2 %s                       %s = dot_wait 1 of %t
//!         %u = dot_start %d, %v              %p = exp2 %s    %h = hold %p    barrier_wait ..
//!         %w = dot_wait 0 of %u              %w = dot_wait 0 of %u
//!         %x = mul %p, %w                    %x = mul %h, %w
//! ```

use kiln_ir::{Block, Function, Inst, InstData, ScalarType, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use super::{MOST_REGISTERS, count_products, hold, of_matrix, reads_any, slot_of, visit};

/// Reorders the body of a loop with several products, where nothing is in it that has to stay where it is.
pub(super) fn run(func: &mut Function, body: Block) {
    let Some((&last, insts)) = func.blocks[body].insts.split_last() else { return };
    let insts = insts.to_vec();
    if !is_plain(func, &insts) {
        return;
    }
    // Where not all sums and operands fit, products that take what others give start one behind the other, once all of that is there.
    let mut orders =
        [false, true].into_iter().filter_map(|starts_last| ordered(func, &insts, last, starts_last)).map(|parts| parts.concat());
    let Some(mut order) = orders.find(|order| registers(func, body, order, last) <= MOST_REGISTERS) else { return };
    drop(orders);
    count_pending(func, &order);
    hold_beside(func, &mut order, last);
    order.push(last);
    func.blocks[body].insts = order;
}

/// Instructions of a trip whose yield is `last`: what stands in front of the first wait, and the rest, in which each wait stands where it is needed and each slot is
/// freed behind its last reader. `starts_last`: products of the rest start behind all else of it. None where nobody reads a slot that is freed, or where something
/// follows from products that are to start last.
pub(super) fn ordered(func: &Function, insts: &[Inst], last: Inst, starts_last: bool) -> Option<[Vec<Inst>; 2]> {
    let (early, late) = split(func, insts);
    let (arrivals, late): (Vec<Inst>, Vec<Inst>) =
        late.into_iter().partition(|&inst| matches!(func.insts[inst], InstData::BarrierArrive { .. }));
    let late = if starts_last { with_starts_last(func, late)? } else { late };
    let mut order = sink_waits(func, &early, late, last);
    for &arrival in &arrivals {
        let behind = last_reader(func, &early, &order, arrival)?;
        order.insert(behind + 1, arrival);
    }
    Some([early, order])
}

/// The same instructions with the starts of products, and the operands that are packed for those, behind all others. None where others follow from the products.
fn with_starts_last(func: &Function, late: Vec<Inst>) -> Option<Vec<Inst>> {
    let is_start = |inst: &Inst| matches!(func.insts[*inst], InstData::DotStart { .. });
    let started: Vec<Inst> = late.iter().copied().filter(is_start).collect();
    let packs = |inst: &Inst| {
        let packed = matches!(func.insts[*inst], InstData::Cast { .. }).then(|| func.result(*inst));
        let used_by = |v: Value| late.iter().filter(|&&user| reads_any(func, user, &[v].into_iter().collect())).all(is_start);
        packed.is_some_and(used_by)
    };
    let (starts, rest): (Vec<Inst>, Vec<Inst>) = late.iter().copied().partition(|inst| is_start(inst) || packs(inst));
    let mut follows: FxHashSet<Value> = started.iter().map(|&start| func.result(start)).collect();
    for &inst in &rest {
        let reads = reads_any(func, inst, &follows);
        match func.insts[inst] {
            InstData::DotWait { .. } if reads => follows.extend(func.results_of(inst)),
            _ if reads => return None,
            _ => {}
        }
    }
    Some([rest, starts].concat())
}

/// Several products, and otherwise nothing but slots, loads and arithmetic.
fn is_plain(func: &Function, insts: &[Inst]) -> bool {
    let starts = insts.iter().filter(|&&inst| matches!(func.insts[inst], InstData::DotStart { .. })).count();
    let mut products = 0;
    for &inst in insts {
        count_products(func, inst, &mut products);
    }
    let plain = |&inst: &Inst| match &func.insts[inst] {
        InstData::DotStart { .. }
        | InstData::DotWait { arg: Some(_), pending: 0 }
        | InstData::BarrierWait { .. }
        | InstData::BarrierArrive { enable: None, .. }
        | InstData::RingRead { .. } => true,
        _ => {
            let effects = func.effects(inst);
            !effects.writes && !effects.pinned
        }
    };
    starts >= 2 && products as usize == starts && insts.iter().all(plain)
}

/// Registers of a thread for the matrices of a trip in this order, where a product starts or is waited for that needs most.
fn registers(func: &Function, body: Block, order: &[Inst], last: Inst) -> u32 {
    let carried: u32 = func.blocks[body].params.iter().map(|&value| of_matrix(func, value)).sum();
    // Where each matrix is made and where it is used last; that of a wait is its product's.
    let mut lives: FxHashMap<Value, (usize, usize)> = FxHashMap::default();
    let mut made_of: FxHashMap<Value, Value> = FxHashMap::default();
    for (at, &inst) in order.iter().chain([&last]).enumerate() {
        let mut uses = Vec::new();
        visit(func, inst, &mut |v| uses.push(v));
        match func.insts[inst] {
            InstData::DotStart { acc: None, .. } => _ = lives.insert(func.result(inst), (at, at)),
            InstData::DotWait { arg: Some(arg), .. } => {
                made_of.insert(func.result(inst), arg);
                // Until then a product reads its operand.
                if let Some(&InstData::DotStart { a, .. }) = func.def_data(arg) {
                    uses.push(a);
                }
            }
            _ if in_registers(func, inst) && !is_spread_out(func, inst) => {
                lives.extend(func.results_of(inst).iter().map(|&v| (v, (at, at))));
            }
            _ => {}
        }
        for v in uses {
            let v = made_of.get(&v).copied().unwrap_or(v);
            if let Some((_, until)) = lives.get_mut(&v) {
                *until = at;
            }
        }
    }
    let product = |inst: Inst| matches!(func.insts[inst], InstData::DotStart { .. } | InstData::DotWait { .. });
    let alive = |at: usize| -> u32 {
        lives.iter().filter(|&(_, &(from, until))| from <= at && at <= until).map(|(&v, _)| of_matrix(func, v)).sum()
    };
    carried + (0..order.len()).filter(|&at| product(order[at])).map(alive).max().unwrap_or(0)
}

/// Whether a matrix is the same along an axis, or a condition: nothing that takes registers.
fn is_spread_out(func: &Function, inst: Inst) -> bool {
    let spread = matches!(func.insts[inst], InstData::Broadcast { .. } | InstData::ExpandDims { .. });
    spread || func.results_of(inst).iter().any(|&v| func.ty(v).scalar_elem() == Some(ScalarType::Bool))
}

/// What follows from no product of the trip, and the rest, each in order.
fn split(func: &Function, insts: &[Inst]) -> (Vec<Inst>, Vec<Inst>) {
    let (mut early, mut late) = (Vec::new(), Vec::new());
    let mut follows: FxHashSet<Value> = FxHashSet::default();
    let (mut freed, mut waited) = (false, false);
    for &inst in insts {
        let stays = match func.insts[inst] {
            InstData::DotWait { .. } => {
                waited = true;
                true
            }
            // Numbers of rows would only be in registers for longer.
            InstData::Load { .. } if waited && func.ty(func.result(inst)).rank() < 2 => true,
            InstData::RingRead { .. } if reads_row(func, inst) => true,
            InstData::BarrierArrive { .. } => {
                freed = true;
                true
            }
            // Waiting before a slot is freed that the producer may need could be for ever.
            InstData::BarrierWait { slot, .. } if freed => {
                follows.insert(slot);
                true
            }
            _ => reads_any(func, inst, &follows) || in_registers(func, inst),
        };
        if stays {
            follows.extend(func.results_of(inst));
            late.push(inst);
        } else {
            early.push(inst);
        }
    }
    (early, late)
}

/// Whether a matrix is computed in registers, which it would take for longer if it stood further in front.
fn in_registers(func: &Function, inst: Inst) -> bool {
    let tile = matches!(
        func.insts[inst],
        InstData::Const { .. }
            | InstData::Load { .. }
            | InstData::RingRead { .. }
            | InstData::Permute { .. }
            | InstData::DotStart { .. }
    );
    !tile && func.results_of(inst).iter().any(|&v| func.ty(v).is_tile() && func.ty(v).rank() == 2)
}

/// Each wait in front of the first use of its sum, or at the end. Products that started in front of `late` are `early`.
fn sink_waits(func: &Function, early: &[Inst], late: Vec<Inst>, last: Inst) -> Vec<Inst> {
    let starts: Vec<Value> = (early.iter().chain(&late))
        .filter(|&&inst| matches!(func.insts[inst], InstData::DotStart { .. }))
        .map(|&inst| func.result(inst))
        .collect();
    let started = |wait: Inst| match func.insts[wait] {
        InstData::DotWait { arg, .. } => starts.iter().position(|&start| Some(start) == arg),
        _ => None,
    };
    let mut order: Vec<Inst> = Vec::with_capacity(late.len());
    let mut waiting: Vec<Inst> = Vec::new();
    // Rows that are read behind a wait, and what follows from those alone: put off to where a matrix needs them.
    let (mut rows, mut of_rows) = (Vec::new(), FxHashSet::default());
    for inst in late.into_iter().chain([last]) {
        let used = |&wait: &Inst| inst == last || reads_any(func, inst, &[func.result(wait)].into_iter().collect());
        let waited = order.iter().any(|&before| matches!(func.insts[before], InstData::DotWait { .. }));
        if waited
            && !waiting.iter().any(used)
            && (reads_row(func, inst) || is_light(func, inst) && reads_any(func, inst, &of_rows))
        {
            of_rows.extend(func.results_of(inst));
            rows.push(inst);
            continue;
        }
        // Older products are done when a newer one is.
        if let Some(newest) = waiting.iter().copied().filter(used).map(started).max() {
            waiting.sort_by_key(|&wait| started(wait));
            let done = waiting.iter().take_while(|&&wait| started(wait) <= newest).count();
            order.extend(waiting.drain(..done));
        }
        if inst == last || reads_any(func, inst, &of_rows) {
            order.append(&mut rows);
            of_rows.clear();
        }
        match func.insts[inst] {
            InstData::DotWait { .. } => waiting.push(inst),
            _ if inst != last => order.push(inst),
            _ => {}
        }
    }
    order
}

/// Whether numbers of rows are read from a slot into registers.
fn reads_row(func: &Function, inst: Inst) -> bool {
    matches!(func.insts[inst], InstData::RingRead { .. }) && func.ty(func.result(inst)).rank() < 2
}

/// Whether what an instruction gives is numbers of rows, or those spread out.
fn is_light(func: &Function, inst: Inst) -> bool {
    let results = func.results_of(inst);
    let narrow = |&v: &Value| func.ty(v).rank() < 2 || func.ty(v).shape().contains(&1);
    let pure = func.effects(inst).is_pure();
    pure && !results.is_empty() && (matches!(func.insts[inst], InstData::Broadcast { .. }) || results.iter().all(narrow))
}

/// The position in `late` of the last read of the slot that an arrival frees, or wait for a product that reads it.
fn last_reader(func: &Function, early: &[Inst], late: &[Inst], arrival: Inst) -> Option<usize> {
    let InstData::BarrierArrive { slot: freed, .. } = func.insts[arrival] else { return None };
    let reads = |start: Inst| match func.insts[start] {
        InstData::DotStart { a, b, .. } => [a, b].iter().any(|&v| slot_of(func, v) == Some(freed)),
        _ => false,
    };
    let readers: Vec<Value> = early.iter().chain(late).filter(|&&inst| reads(inst)).map(|&inst| func.result(inst)).collect();
    let ends = |inst: Inst| match func.insts[inst] {
        InstData::DotWait { arg: Some(arg), .. } => readers.contains(&arg),
        InstData::RingRead { slot, .. } => slot == freed,
        _ => false,
    };
    let behind = late.iter().rposition(|&inst| ends(inst))?;
    // Behind other arrivals there, in their order.
    let more = late[behind + 1..].iter().take_while(|&&inst| matches!(func.insts[inst], InstData::BarrierArrive { .. }));
    Some(behind + more.count())
}

/// Lets each wait leave those products under way that started behind its own.
pub(super) fn count_pending(func: &mut Function, order: &[Inst]) {
    let mut started: Vec<Value> = Vec::new();
    for &inst in order {
        match &mut func.insts[inst] {
            InstData::DotStart { .. } => started.push(func.result(inst)),
            InstData::DotWait { arg: Some(arg), pending } => {
                let number = started.iter().position(|started| started == arg).expect("a product starts before it is waited for");
                *pending = (started.len() - 1 - number) as u32;
            }
            _ => {}
        }
    }
}

/// Keeps work in front of the waits that it is to run beside.
pub(super) fn hold_beside(func: &mut Function, order: &mut Vec<Inst>, last: Inst) {
    let first = order.iter().position(|&inst| matches!(func.insts[inst], InstData::DotWait { .. }));
    let mut at = first.map_or(order.len(), |first| first + 1);
    // Made since a product started, a wait ended or a branch was there.
    let mut fresh: Vec<Value> = Vec::new();
    while at < order.len() {
        let inst = order[at];
        match func.insts[inst] {
            InstData::DotStart { .. } | InstData::BarrierWait { .. } => fresh.clear(),
            InstData::DotWait { arg: Some(arg), .. } => {
                let later: Vec<Inst> = order[at..].iter().copied().chain([last]).collect();
                let used = |v: &Value| later.iter().any(|&user| reads_any(func, user, &[*v].into_iter().collect()));
                let beside: Vec<Value> = std::mem::take(&mut fresh).into_iter().filter(used).collect();
                if let Some(wait) = slot_wait(func, order, arg).filter(|_| !beside.is_empty()) {
                    let loc = func.locs[inst];
                    let mut made = Vec::new();
                    let held: FxHashMap<Value, Value> = beside.iter().map(|&v| (v, hold(func, v, &mut made, loc))).collect();
                    for user in later {
                        rename(func, user, &held);
                    }
                    let data = func.insts[wait].clone();
                    made.push(func.make_inst(data, &[], loc));
                    let count = made.len();
                    order.splice(at..at, made);
                    at += count;
                }
            }
            _ => {
                if in_registers(func, inst) && !is_spread_out(func, inst) {
                    fresh.extend(func.results_of(inst));
                }
            }
        }
        at += 1;
    }
}

/// The wait for the slot that a product reads.
fn slot_wait(func: &Function, order: &[Inst], product: Value) -> Option<Inst> {
    let InstData::DotStart { a, b, .. } = *func.def_data(product)? else { return None };
    [b, a].into_iter().filter_map(|v| slot_of(func, v)).find_map(|read| {
        let waits = |inst: &Inst| matches!(func.insts[*inst], InstData::BarrierWait { slot, .. } if slot == read);
        order.iter().copied().find(waits)
    })
}

/// Uses `map`'s values in an instruction and those in its blocks.
fn rename(func: &mut Function, inst: Inst, map: &FxHashMap<Value, Value>) {
    func.insts[inst].visit_operands_mut(|v| *v = map.get(v).copied().unwrap_or(*v));
    for block in func.insts[inst].blocks() {
        for inner in func.blocks[block].insts.clone() {
            rename(func, inner, map);
        }
    }
}
