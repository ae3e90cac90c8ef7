//! What a kernel asks of a thread block's registers and shared memory, and the refusal of one that asks for more than there is: before LLVM, in which it
//! would take seconds, to end as a kernel whose sums go to memory and back in every trip (CUDA programming guide, "Technical Specifications per Compute
//! Capability").

use kiln_ir::artifact::RegisterUse;
use kiln_ir::{Function, InstData, Module, Place, Value};
use kiln_passes::gpu::{RegisterPeak, register_peak};

use super::emit::Emitter;
use super::error::{REGISTERS, Result, SHARED_MEMORY, refuse_kernel};
use super::registers::Registers;
use super::scratch::SharedPiece;
use crate::CodegenError;

/// Most registers that a thread can have.
const MOST: u32 = 255;
/// Registers of a scheduler, of which a multiprocessor has four; each has every fourth warp of a block.
const OF_SCHEDULER: u32 = 16384;
const SCHEDULERS: u32 = 4;
/// Registers of a thread come in portions of this.
const PORTION: u32 = 8;
/// What every kernel with products needs beside its tiles: a slot, a phase, an address, a counter. Found by what ptxas needs at the least
/// (`tests/ptx/tune_lists.rs` keeps it true).
const BESIDE: u32 = 4;

/// What tiles take of the registers of a thread of a kernel with products.
pub(super) struct Need {
    peak: RegisterPeak,
    pub(super) registers: RegisterUse,
    threads: u32,
}

impl Need {
    /// Of a kernel that has layouts, on blocks of so many threads; None where it has no products.
    pub(super) fn of(func: &Function, threads: u32, by_role: Option<Registers>) -> Option<Need> {
        let peak = register_peak(func)?;
        let warps = threads.div_ceil(32).div_ceil(SCHEDULERS);
        let mut most = (OF_SCHEDULER / (32 * warps) / PORTION * PORTION).min(MOST);
        if let Some(registers) = by_role {
            most = registers.consumer;
        }
        most = most.min(func.schedule.max_regs.unwrap_or(MOST));
        let registers = RegisterUse { least: peak.registers + BESIDE, most };
        Some(Need { peak, registers, threads })
    }

    /// Refuses what no thread has registers for.
    pub(super) fn check(&self, module: &Module, func: &Function) -> Result<()> {
        let RegisterUse { least, most } = self.registers;
        if least <= most {
            return Ok(());
        }
        let tiles: Vec<String> = self.peak.tiles.iter().take(NAMED).map(|&(v, n)| format!("{n} for {}", tile(func, v))).collect();
        let others: u32 = self.peak.tiles.iter().skip(NAMED).map(|(_, n)| n).sum();
        let others = if others > 0 { format!(", {others} for other tiles") } else { String::new() };
        let message = format!(
            "each of {} threads needs at least {least} registers at this product and can have {most}: {}{others}, {BESIDE} beside",
            self.threads,
            tiles.join(", "),
        );
        let help = match func.schedule.max_regs {
            Some(limit) if least <= MOST => format!("`max_regs = {limit}` in the schedule is too few"),
            _ => "use a smaller tile, or more `warps` in the schedule".to_owned(),
        };
        Err(refuse_kernel(module, func.locs[self.peak.inst], REGISTERS, message).with_help(help))
    }
}

/// Tiles and buffers that a message names.
const NAMED: usize = 4;

/// A tile in words.
fn tile(func: &Function, value: Value) -> String {
    let ty = func.ty(value);
    let elem = ty.scalar_elem().map_or("pointers", |s| s.name());
    let what = match (&func.values[value].name, func.def_data(value)) {
        (Some(name), _) => format!("`{name}`"),
        (None, Some(InstData::Dot { .. } | InstData::DotStart { .. })) => "the sum".to_owned(),
        (None, _) => "a tile".to_owned(),
    };
    format!("{what} ({:?} {elem})", ty.shape())
}

impl Emitter<'_> {
    /// The refusal of a kernel whose shared memory is more than a thread block can have, with what it is for.
    pub(super) fn too_much_shared_memory(&self) -> CodegenError {
        let mut pieces: Vec<(String, u32)> = Vec::new();
        for piece in self.scratch.pieces() {
            let name = self.purpose(piece);
            match pieces.iter_mut().find(|(known, _)| *known == name) {
                Some((_, bytes)) => *bytes += piece.bytes,
                None => pieces.push((name, piece.bytes)),
            }
        }
        pieces.sort_by(|(a, m), (b, n)| n.cmp(m).then_with(|| a.cmp(b)));
        let rest: u32 = pieces.iter().skip(NAMED).map(|(_, bytes)| bytes).sum();
        let mut list: Vec<String> = pieces.iter().take(NAMED).map(|(name, bytes)| format!("{bytes} for {name}")).collect();
        if rest > 0 {
            list.push(format!("{rest} for the rest"));
        }
        let message = format!(
            "the kernel needs {} bytes of shared memory, a thread block of {} has at most {}: {}",
            self.scratch.bytes(),
            self.target.name(),
            self.target.shared_bytes(),
            list.join(", "),
        );
        let largest = self.scratch.pieces().max_by_key(|piece| piece.bytes).and_then(|piece| piece.of);
        let loc = largest.map(|inst| self.func.locs[inst]).filter(|loc| loc.is_known()).unwrap_or(self.func.loc);
        refuse_kernel(self.module, loc, SHARED_MEMORY, message).with_help("use smaller tiles")
    }

    /// Whether atomics that leave by the TMA engine have shared memory that they would not need on their own.
    pub(super) fn reductions_take_memory(&self) -> bool {
        let func = self.func;
        let mut of_reductions = Vec::new();
        func.walk(|_, inst| {
            if let InstData::TmaStore { value, reduce: Some(_), .. } = func.insts[inst] {
                of_reductions.push(inst);
                of_reductions.extend(func.def_inst(value));
            }
        });
        self.scratch.pieces().any(|piece| piece.of.is_some_and(|inst| of_reductions.contains(&inst)))
    }

    /// What a piece of shared memory is for, in words.
    fn purpose(&self, piece: &SharedPiece) -> String {
        let func = self.func;
        let Some(inst) = piece.of else { return "the kernel as a whole".to_owned() };
        match &func.insts[inst] {
            InstData::RingNew { slots } => {
                let ring = func.result(inst);
                let slot = if *slots == 1 { "one slot".to_owned() } else { format!("{slots} slots") };
                let source = filled_from(func, ring).map_or(String::new(), |name| format!(" of `{name}`"));
                format!("{slot}{source} ({:?} {})", func.ty(ring).shape(), func.ty(ring).scalar_elem().map_or("", |s| s.name()))
            }
            InstData::BarrierNew { .. } => "barriers".to_owned(),
            InstData::TmaStore { .. } => "what is on its way out".to_owned(),
            data => {
                let operand = data.operands().into_iter().find(|&v| !func.ty(v).is_scalar() && func.ty(v).is_tile());
                let shape = operand.map_or(String::new(), |v| format!(" of {:?}", func.ty(v).shape()));
                format!("an exchange{shape} between threads")
            }
        }
    }
}

/// The name of the tensor that fills a ring.
fn filled_from(func: &Function, of: Value) -> Option<String> {
    let mut name = None;
    func.walk(|_, inst| {
        if let InstData::RingFill { place, ring, .. } | InstData::TmaFill { place, ring, .. } = &func.insts[inst]
            && *ring == of
            && let Place::View(access) = place
        {
            name = func.values[access.view].name.as_ref().map(|n| n.to_string());
        }
    });
    name
}
