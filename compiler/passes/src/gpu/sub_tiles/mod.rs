//! `sub-tiles`: a tile that no thread block has registers for becomes a loop over parts of it.
//!
//! Code generation gives every element of a tile a register. Where the tiles of a block would take more than there are, this pass takes a long axis,
//! finds every tile that has it (`group`), and computes all of them slice by slice, in sweeps over the axis (`plan`): a reduction along the axis
//! is folded in one sweep, what depends on its result belongs to a later one, and what a later one needs again (loads, and what is computed from them) is
//! computed again, from memory that the second-level cache has by then. Along an axis that is not reduced one sweep does everything. Sums are
//! collected element by element and folded once after the loop; users' combinations are folded slice by slice, in order. What cannot be done in slices stays
//! as it is; a tile that then is far beyond what registers hold is refused (K0907).
//!
//! ```text
//! before: v5: tile<f32, [65536]> = load v0[v3, v4..+65536]
//!         v6: f32 = reduce max v5 axis 0
//!         v7: tile<f32, [65536]> = broadcast v6
//!         v8: tile<f32, [65536]> = sub v5, v7
//!         store v1[v3, v4..+65536], v8
//! after:  v9: tile<f32, [8192]> = for 0..65536 step 8192 init [-inf] (v10: index, v11: tile<f32, [8192]>) {
//!             v12: tile<f32, [8192]> = load v0[v3, v10..+8192]
//!             yield max v11, v12
//!         }
//!         v6: f32 = reduce max v9 axis 0
//!         for 0..65536 step 8192 init [] (v13: index) {
//!             v14: tile<f32, [8192]> = load v0[v3, v13..+8192]
//!             v15: tile<f32, [8192]> = sub v14, broadcast v6
//!             store v1[v3, v13..+8192], v15
//!         }
//! ```

mod axis;
mod combine;
mod emit;
mod group;
mod plan;
mod pressure;

use kiln_ir::{Block, Function, InstData, Value};

use super::warps::warps;
use crate::manager::{PassContext, PassFailure, PassResult, Target};
use axis::is_spread;
use group::Group;
use plan::{Plan, Sweep};
use pressure::{Peak, Pressure};

/// Rewrites of one kernel, at most: nested axes and independent groups.
const MAX_REWRITES: usize = 16;
/// Elements of a slice that a thread holds.
const ELEMENTS: u64 = 16;
/// Registers of a thread that one tile may take where it cannot be had in slices.
const MOST_REGISTERS: u64 = 512;
/// The code of a tile that is beyond that.
const TOO_LARGE: &str = "K0907";

/// Runs the pass.
pub(crate) fn run(func: &mut Function, context: &PassContext) -> PassResult {
    if context.target == Target::Host || !func.is_kernel {
        return Ok(());
    }
    // A schedule that asks for what there is not is refused where the kernel is laid out.
    let Some(warps) = warps(func) else { return Ok(()) };
    for _ in 0..MAX_REWRITES {
        let Some((group, plan, step)) = choose(func, warps) else { break };
        emit::rewrite(func, &group, &plan, step);
        // Slices are made for these.
        func.schedule.warps = Some(warps);
    }
    refuse(func, warps)
}

/// Registers that tiles may take, of those a thread has.
fn budget(func: &Function, warps: u32) -> u64 {
    let there_are = (65536 / (32 * warps)).min(255).min(func.schedule.max_regs.unwrap_or(255));
    u64::from(there_are).saturating_sub(56).clamp(16, 128)
}

/// The rewrite of the first block whose tiles are beyond the budget and can be had in slices.
fn choose(func: &Function, warps: u32) -> Option<(Group, Plan, u32)> {
    let budget = budget(func, warps);
    let mut pressure = Pressure::new(func, warps);
    let mut blocks = vec![func.body];
    let mut next = 0;
    while let Some(&block) = blocks.get(next) {
        next += 1;
        let peak = pressure.peak(block);
        if peak.registers > budget
            && let Some(found) = slices(func, block, &mut pressure, peak, budget, warps)
        {
            return Some(found);
        }
        for &inst in &func.blocks[block].insts {
            blocks.extend(func.insts[inst].blocks());
        }
    }
    None
}

/// The axis with the fewest sweeps, of the largest tiles that are alive at the peak.
fn slices(
    func: &Function,
    block: Block,
    pressure: &mut Pressure<'_>,
    peak: Peak,
    budget: u64,
    warps: u32,
) -> Option<(Group, Plan, u32)> {
    let mut values: Vec<(u64, Value)> = peak.values.into_iter().map(|v| (pressure.registers(v), v)).collect();
    values.sort_by_key(|&(registers, value)| (std::cmp::Reverse(registers), value));
    for (registers, value) in values {
        if registers == 0 {
            break;
        }
        let mut best: Option<(Group, Plan, u32)> = None;
        for axis in 0..func.ty(value).rank() as u8 {
            if func.ty(value).shape()[usize::from(axis)] == 1 {
                continue;
            }
            let Some(group) = Group::find(func, block, value, axis) else { continue };
            let Some(plan) = Plan::new(func, &group) else { continue };
            let Some(step) = step(func, &group, &plan, pressure, budget, warps) else { continue };
            if best.as_ref().is_none_or(|(_, known, _)| plan.sweeps.len() < known.sweeps.len()) {
                best = Some((group, plan, step));
            }
        }
        if best.is_some() {
            return best;
        }
    }
    None
}

/// Elements of a slice: a power of two that keeps each sweep within the budget. None where a slice would be the whole.
fn step(func: &Function, group: &Group, plan: &Plan, pressure: &mut Pressure<'_>, budget: u64, warps: u32) -> Option<u32> {
    let threads = 32 * u64::from(warps);
    let extent = u64::from(group.extent);
    let mut step = extent.next_power_of_two() / 2;
    for sweep in &plan.sweeps {
        let (registers, elements) = weight(func, group, sweep, pressure);
        // Half of the budget: slices are fetched while others are worked on.
        while step > 1 && (registers * step > budget / 2 * extent || elements * step > ELEMENTS * threads * extent) {
            step /= 2;
        }
    }
    (!plan.sweeps.is_empty() && step >= 1).then_some(step as u32)
}

/// Registers of a thread that a sweep over everything at once would keep busy, and the elements of its largest tile.
fn weight(func: &Function, group: &Group, sweep: &Sweep, pressure: &mut Pressure<'_>) -> (u64, u64) {
    let (mut loads, mut largest, mut elements) = (0, 0, 1);
    for &inst in &sweep.insts {
        let data = &func.insts[inst];
        let tiles = data.operands().into_iter().chain(func.results_of(inst).iter().copied());
        for value in tiles.filter(|v| group.axis.contains_key(v)) {
            largest = largest.max(pressure.registers(value));
            elements = elements.max(func.ty(value).num_elements());
        }
        // What is loaded, and what is collected for a reduction.
        match data {
            InstData::Load { .. } => loads += pressure.registers(func.result(inst)),
            InstData::Reduce { args, .. } => loads += args.iter().map(|&v| pressure.registers(v)).sum::<u64>(),
            _ => {}
        }
    }
    (loads.max(largest), elements)
}

/// A tile that has registers neither as a whole nor in slices.
fn refuse(func: &Function, warps: u32) -> PassResult {
    let mut pressure = Pressure::new(func, warps);
    let mut worst: Option<(u64, Value)> = None;
    func.walk(|_, inst| {
        for &value in func.results_of(inst).iter().filter(|&&v| is_spread(func, v)) {
            let registers = if only_staged(func, value) { 0 } else { pressure.registers(value) };
            if registers > MOST_REGISTERS && worst.is_none_or(|(most, _)| registers > most) {
                worst = Some((registers, value));
            }
        }
    });
    let Some((registers, value)) = worst else { return Ok(()) };
    let ty = func.ty(value);
    let message = format!(
        "a tile of {:?} {} takes {registers} registers of each of {} threads, and what is done with it cannot be done in parts: the limit is \
         {MOST_REGISTERS}; use a smaller tile, or more `warps` in the schedule",
        ty.shape(),
        ty.scalar_elem().map_or("pointers", |s| s.name()),
        32 * warps,
    );
    let loc = func.def_inst(value).map(|inst| func.locs[inst]).unwrap_or(func.loc);
    Err(PassFailure { code: TOO_LARGE, message, loc })
}

/// A load that only feeds products goes through shared memory.
fn only_staged(func: &Function, value: Value) -> bool {
    let mut products = true;
    func.walk(|_, inst| {
        let data = &func.insts[inst];
        let product = matches!(data, InstData::Dot { .. } | InstData::Permute { .. });
        products &= product || !data.operands().contains(&value);
    });
    products && matches!(func.def_data(value), Some(InstData::Load { .. }))
}
