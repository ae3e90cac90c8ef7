//! `warps`: how many warps a program gets. The number goes into the schedule, where all that follows finds it.
//!
//! ```text
//! before: kernel @0 k(..) grid 1 {            after: kernel @0 k(..) grid 1 schedule {warps 4} {
//! ```

use kiln_ir::{Function, InstData};

use crate::manager::{PassContext, PassFailure, PassResult};

/// Elements of the largest tile that a thread should have, as long as there are warps to add.
const ELEMENTS: u64 = 16;
/// Elements of a thread above which a program may have twice the usual number of warps.
const MANY_ELEMENTS: u64 = 32;
/// Warps of a program at most, where the schedule does not say otherwise.
const USUAL: u64 = 8;

/// Warps of a program where two programs of a thread block take turns: a warpgroup each.
pub(super) const PING_PONG: u32 = 4;

/// The code of a schedule that the target cannot follow.
const SCHEDULE: &str = "K0905";

/// Decides for a kernel.
pub(crate) fn run(func: &mut Function, _: &PassContext) -> PassResult {
    match warps(func) {
        Some(warps) => func.schedule.warps = Some(warps),
        None => {
            let asked = func.schedule.warps.unwrap_or_default();
            let message = format!("warps = {asked}: the GPU takes 1, 2, 4, 8, 16 or 32 warps");
            return Err(PassFailure { code: SCHEDULE, message, loc: func.loc });
        }
    }
    Ok(())
}

/// The schedule's warps; else as many as keep about 16 elements of the largest tile in a thread, at most 8, or 16 where a thread would have more than
/// 32. Products are dealt to warps by their fragments and never get more than 8; where two programs, or two warpgroups of one, take turns, a program gets one warpgroup, or two. `None` where the schedule asks for what there is not.
pub fn warps(func: &Function) -> Option<u32> {
    if func.schedule.ping_pong && func.schedule.warps.is_none() {
        return Some(if func.schedule.persistent { PING_PONG } else { 2 * PING_PONG });
    }
    if let Some(warps) = func.schedule.warps {
        return (warps.is_power_of_two() && warps <= 32).then_some(warps);
    }
    let (mut largest, mut products) = (1, false);
    func.walk(|_, inst| {
        products |= matches!(func.insts[inst], InstData::Dot { .. } | InstData::DotScaled { .. });
        for &value in func.results_of(inst) {
            if func.ty(value).is_tile() && !matches!(func.insts[inst], InstData::Const { .. }) {
                largest = largest.max(func.ty(value).num_elements());
            }
        }
    });
    let warps = (largest / (32 * ELEMENTS)).max(1).next_power_of_two().min(USUAL);
    let many = !products && largest > 32 * USUAL * MANY_ELEMENTS;
    Some(if many { 2 * USUAL as u32 } else { warps as u32 })
}
