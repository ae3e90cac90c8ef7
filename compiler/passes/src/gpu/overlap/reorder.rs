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

use kiln_ir::{Block, Function, Inst, InstData, Value};
use rustc_hash::{FxHashMap, FxHashSet};

use super::super::warps_of;
use super::{count_products, hold, reads_any, slot_of};

/// Most registers of a thread for the sums and operands of a trip: of 240 that a thread can have, others need some forty.
const MOST_REGISTERS: u32 = 200;

/// Reorders the body of a loop with several products, where nothing is in it that has to stay where it is.
pub(super) fn run(func: &mut Function, body: Block) {
    let Some((&last, insts)) = func.blocks[body].insts.split_last() else { return };
    let insts = insts.to_vec();
    if !is_plain(func, &insts) || registers(func, body, &insts) > MOST_REGISTERS {
        return;
    }
    let (early, late) = split(func, &insts);
    let (arrivals, late): (Vec<Inst>, Vec<Inst>) =
        late.into_iter().partition(|&inst| matches!(func.insts[inst], InstData::BarrierArrive { .. }));
    let mut order = sink_waits(func, &early, late, last);
    for &arrival in &arrivals {
        let Some(behind) = last_reader(func, &early, &order, arrival) else { return };
        order.insert(behind + 1, arrival);
    }
    let mut order = [early, order].concat();
    count_pending(func, &order);
    hold_beside(func, &mut order, last);
    order.push(last);
    func.blocks[body].insts = order;
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

/// Registers of a thread for all that products of a trip add up, and read from registers, at one time.
fn registers(func: &Function, body: Block, insts: &[Inst]) -> u32 {
    let of_tile = |value: Value| {
        let ty = func.ty(value);
        let matrix = ty.is_tile() && ty.rank() == 2;
        if matrix { (ty.shape().iter().product::<u32>() * ty.elem().bytes()).div_ceil(128 * warps_of(func)) } else { 0 }
    };
    let carried: u32 = func.blocks[body].params.iter().map(|&value| of_tile(value)).sum();
    let of_product = |&inst: &Inst| match func.insts[inst] {
        InstData::DotStart { a, acc, .. } => {
            let sum = if acc.is_none() { of_tile(func.result(inst)) } else { 0 };
            // What lies in a slot or is loaded for the whole loop has the loads' layouts.
            let packed = matches!(func.def_data(a), Some(InstData::Cast { .. }));
            sum + if packed { of_tile(a) } else { 0 }
        }
        _ => 0,
    };
    carried + insts.iter().map(of_product).sum::<u32>()
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
    for inst in late.into_iter().chain([last]) {
        let used = |&wait: &Inst| inst == last || reads_any(func, inst, &[func.result(wait)].into_iter().collect());
        // Older products are done when a newer one is.
        if let Some(newest) = waiting.iter().copied().filter(used).map(started).max() {
            waiting.sort_by_key(|&wait| started(wait));
            let done = waiting.iter().take_while(|&&wait| started(wait) <= newest).count();
            order.extend(waiting.drain(..done));
        }
        match func.insts[inst] {
            InstData::DotWait { .. } => waiting.push(inst),
            _ if inst != last => order.push(inst),
            _ => {}
        }
    }
    order
}

/// The position in `late` of the last wait for a product that reads the slot that an arrival frees.
fn last_reader(func: &Function, early: &[Inst], late: &[Inst], arrival: Inst) -> Option<usize> {
    let InstData::BarrierArrive { slot: freed, .. } = func.insts[arrival] else { return None };
    let reads = |start: Inst| match func.insts[start] {
        InstData::DotStart { a, b, .. } => [a, b].iter().any(|&v| slot_of(func, v) == Some(freed)),
        _ => false,
    };
    let readers: Vec<Value> = early.iter().chain(late).filter(|&&inst| reads(inst)).map(|&inst| func.result(inst)).collect();
    let waits = |inst: Inst| matches!(func.insts[inst], InstData::DotWait { arg: Some(arg), .. } if readers.contains(&arg));
    let behind = late.iter().rposition(|&inst| waits(inst))?;
    // Behind other arrivals there, in their order.
    let more = late[behind + 1..].iter().take_while(|&&inst| matches!(func.insts[inst], InstData::BarrierArrive { .. }));
    Some(behind + more.count())
}

/// Lets each wait leave those products under way that started behind its own.
fn count_pending(func: &mut Function, order: &[Inst]) {
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
fn hold_beside(func: &mut Function, order: &mut Vec<Inst>, last: Inst) {
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
                let spread = matches!(func.insts[inst], InstData::Broadcast { .. } | InstData::ExpandDims { .. });
                if in_registers(func, inst) && !spread {
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
