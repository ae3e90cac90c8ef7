//! How registers are shared out between a producer and consumers (PTX ISA, "setmaxnreg").
//!
//! A kernel starts with as many registers for every thread, and its warps stand on four schedulers: behind two warpgroups of consumers even one warp more
//! leaves each thread 168. That is enough for one accumulator of 128 registers and what belongs to it, not for attention's loop, which holds two, and an operand,
//! at once, nor for an epilogue that loads a row of 256 numbers beside 128 sums. There a whole warpgroup is started for the producer, which gives its registers
//! to the consumers. Only whole warpgroups can.

use kiln_ir::{Function, Inst, InstData, Type};
use kiln_passes::gpu::{loaded_beside, register_peak};

/// Warps of a warpgroup.
const GROUP: u32 = 4;
/// Registers of a multiprocessor.
const REGISTERS: u32 = 65536;
/// What a producer keeps.
const PRODUCER: u32 = 24;
/// Most registers of a thread that may be asked for.
const MOST: u32 = 240;
/// What a consumer needs beside its tiles: addresses, slots, what is computed on the way.
const BESIDE: u32 = 40;
/// What it needs to get on from where most tiles are in registers: around a product, or behind its loops from what is loaded there, and its sums, to what is
/// stored.
const STEPS: u32 = 24;

/// Registers of a thread, by role.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Registers {
    pub(super) producer: u32,
    pub(super) consumer: u32,
}

impl Registers {
    /// What a kernel in roles needs, with so many groups of so many warps each of consumers; None where all threads have enough without, or the schedule says how many they have.
    pub(super) fn of(func: &Function, warps: u32, groups_of_warps: u32) -> Option<Registers> {
        let groups = warps * groups_of_warps / GROUP;
        if groups == 0 || func.schedule.max_regs.is_some() {
            return None;
        }
        let there_are = REGISTERS / (32 * GROUP * (groups + 1)) / 8 * 8;
        let mut needed = 0;
        func.walk(|_, inst| needed = needed.max(in_loop(func, inst, warps)));
        let around = register_peak(func).map_or(0, |peak| peak.registers).max(loaded_beside(func));
        let fits = needed + BESIDE <= there_are && around + STEPS <= there_are;
        // One warpgroup and a warp beside it have as many as there can be.
        if groups < 2 || fits {
            return None;
        }
        let consumer = ((there_are * (groups + 1) - PRODUCER) / groups / 8 * 8).min(MOST);
        Some(Registers { producer: PRODUCER, consumer })
    }
}

/// Registers that the tiles of a loop with products take: those it carries, sums that start in it, and with several products (which `overlap` has under way together) operands
/// that a trip makes for them.
fn in_loop(func: &Function, inst: Inst, warps: u32) -> u32 {
    let InstData::For { body, .. } = func.insts[inst] else { return 0 };
    let starts: Vec<Inst> =
        func.blocks[body].insts.iter().copied().filter(|&i| matches!(func.insts[i], InstData::DotStart { .. })).collect();
    if starts.is_empty() {
        return 0;
    }
    let carried: u32 = func.blocks[body].params.iter().map(|&v| of_tile(func.ty(v), warps)).sum();
    let fresh = starts.iter().filter(|&&i| matches!(func.insts[i], InstData::DotStart { acc: None, .. }));
    let made = |&i: &Inst| match func.insts[i] {
        InstData::DotStart { a, .. } if starts.len() > 1 && !func.blocks[body].params.contains(&a) => of_tile(func.ty(a), warps),
        _ => 0,
    };
    carried + fresh.map(|&i| of_tile(func.ty(func.result(i)), warps)).sum::<u32>() + starts.iter().map(made).sum::<u32>()
}

/// Registers of a thread for a matrix dealt to all warps; rows and numbers count for nothing.
fn of_tile(ty: Type, warps: u32) -> u32 {
    let in_registers = ty.layout().is_some_and(|layout| !layout.layout().is_shared());
    if !ty.is_tile() || ty.rank() != 2 || !in_registers {
        return 0;
    }
    let bytes = ty.shape().iter().product::<u32>() * ty.elem().bytes();
    bytes.div_ceil(4 * 32 * warps)
}
