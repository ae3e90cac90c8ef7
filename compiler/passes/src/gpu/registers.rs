//! How many registers of a thread the tiles around products take, at the least.
//!
//! The sums of a product are in registers all at once, from its start to the last use of what it gave, and so is what the code behind it needs of what
//! came before. Between products, work goes on element by element, in an order that nobody knows before ptxas; it counts nothing here. Neither does what
//! can be made again (constants, positions, what follows from those alone), nor conditions. So a kernel needs more than this says, and never less: where even
//! this is more than a thread can have, sums go to memory and back in every trip, and tensor cores wait for that.
//!
//! Tiles have their layouts: the last word is with what `pipeline::LAYOUTS` made.

use std::collections::BTreeSet;

use cranelift_entity::EntitySet;
use kiln_ir::{Block, Elem, Function, Inst, InstData, ScalarType, Value};
use rustc_hash::FxHashMap;

use super::rules::{Kind, is_spread, kind};
use super::tensor_cores::MmaDot;
use crate::analysis::memory::defined_in;

/// The product around which tiles take most registers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisterPeak {
    /// The product, or the wait for it.
    pub inst: Inst,
    /// Registers (32 bits) of a thread, all tiles together.
    pub registers: u32,
    /// The tiles that are in registers there, those that take most first, with what each of them takes.
    pub tiles: Vec<(Value, u32)>,
}

/// The peak of a kernel that has layouts; None where it has no products.
pub fn register_peak(func: &Function) -> Option<RegisterPeak> {
    peak(func, At::Products)
}

/// The most that tiles take where something is loaded, or dealt to threads anew, behind or before the loops of products: what an epilogue starts from.
pub fn loaded_beside(func: &Function) -> u32 {
    peak(func, At::Loads).map_or(0, |peak| peak.registers)
}

fn peak(func: &Function, at: At) -> Option<RegisterPeak> {
    let mut walk = Walk { func, at, cheap: FxHashMap::default(), peak: None };
    walk.block(func.body, &BTreeSet::new());
    walk.peak
}

/// Where to add up.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Products,
    /// In blocks that start no products.
    Loads,
}

struct Walk<'a> {
    func: &'a Function,
    at: At,
    cheap: FxHashMap<Value, bool>,
    peak: Option<RegisterPeak>,
}

impl Walk<'_> {
    /// Goes through a block from its end, at which `after` is alive: what blocks around it use later, or in another trip.
    fn block(&mut self, block: Block, after: &BTreeSet<Value>) {
        let func = self.func;
        let mut live = after.clone();
        let starts = |&inst: &Inst| matches!(func.insts[inst], InstData::Dot { .. } | InstData::DotStart { .. });
        let products = func.blocks[block].insts.iter().any(starts);
        for &inst in func.blocks[block].insts.iter().rev() {
            let data = &func.insts[inst];
            for result in func.results_of(inst) {
                live.remove(result);
            }
            let operands = self.operands(inst);
            let blocks = data.blocks();
            if blocks.is_empty() {
                match self.at {
                    At::Products if is_product(data) => self.meet(inst, &live, &operands),
                    At::Loads if !products && matches!(data, InstData::Load { .. } | InstData::ConvertLayout { .. }) => {
                        self.meet(inst, &live, &[]);
                    }
                    _ => {}
                }
            } else {
                let mut used = BTreeSet::new();
                blocks.iter().for_each(|&inner| self.taken_in(inner, &mut used));
                // What a loop uses it uses in its next trip again.
                let mut inside = live.clone();
                if matches!(data, InstData::For { .. } | InstData::While { .. }) {
                    inside.extend(used.iter().copied());
                }
                blocks.iter().for_each(|&inner| self.block(inner, &inside));
                live.extend(used);
            }
            live.extend(operands);
        }
    }

    /// The tiles in registers that an instruction uses by itself; for a wait, also what its product reads until then.
    fn operands(&self, inst: Inst) -> Vec<Value> {
        let func = self.func;
        let mut list = Vec::new();
        let mut add = |value: Value| {
            if in_registers(func, value) {
                list.push(value);
            }
        };
        let data = &func.insts[inst];
        match *data {
            // Operands go through shared memory, unless they are fragments.
            InstData::Dot { acc, .. } if MmaDot::of(func, inst).is_none() => acc.into_iter().for_each(&mut add),
            _ => data.visit_operands(&mut add),
        }
        if let InstData::DotWait { arg: Some(arg), .. } = *data
            && let Some(&InstData::DotStart { a, .. }) = func.def_data(arg)
        {
            add(a);
        }
        list
    }

    /// Adds the tiles in registers that a block, or one inside it, uses from outside.
    fn taken_in(&self, block: Block, used: &mut BTreeSet<Value>) {
        let func = self.func;
        let mut inside = EntitySet::new();
        defined_in(func, block, &mut inside);
        let mut todo = vec![block];
        while let Some(block) = todo.pop() {
            for &inst in &func.blocks[block].insts {
                used.extend(self.operands(inst).into_iter().filter(|&v| !inside.contains(v)));
                todo.extend(func.insts[inst].blocks());
            }
        }
    }

    /// Adds up what is alive at a product.
    fn meet(&mut self, inst: Inst, after: &BTreeSet<Value>, operands: &[Value]) {
        let func = self.func;
        let mut there: BTreeSet<Value> = after.iter().chain(operands).copied().collect();
        there.insert(func.result(inst));
        if let InstData::Dot { acc: Some(acc), .. } | InstData::DotStart { acc: Some(acc), .. } = func.insts[inst]
            && !after.contains(&acc)
        {
            // The sum takes the registers of what it adds to.
            there.remove(&acc);
        }
        let mut roots = BTreeSet::new();
        there.into_iter().for_each(|value| self.roots(value, &mut roots));
        let mut tiles: Vec<(Value, u32)> = roots.into_iter().map(|v| (v, self.registers(v))).filter(|(_, n)| *n > 0).collect();
        let registers = tiles.iter().map(|(_, n)| n).sum();
        // Of several places the first one: the start of a product rather than a wait for it.
        if self.peak.as_ref().is_none_or(|known| registers >= known.registers) {
            tiles.sort_by_key(|&(value, n)| (std::cmp::Reverse(n), value));
            self.peak = Some(RegisterPeak { inst, registers, tiles });
        }
    }

    /// The tiles whose registers a value is: that of which it is another view, the narrower one where it can be widened again.
    fn roots(&self, value: Value, roots: &mut BTreeSet<Value>) {
        let func = self.func;
        match func.def_data(value) {
            Some(
                &(InstData::Broadcast { arg }
                | InstData::ExpandDims { arg, .. }
                | InstData::Permute { arg, .. }
                | InstData::Reshape { arg }
                | InstData::Split { arg }
                | InstData::Bitcast { arg }
                | InstData::Hold { arg }
                | InstData::DotWait { arg: Some(arg), .. }),
            ) => self.roots(arg, roots),
            Some(&InstData::Cast { arg }) if func.ty(arg).elem().bytes() < func.ty(value).elem().bytes() => {
                self.roots(arg, roots)
            }
            Some(&InstData::Join { a, b }) => [a, b].into_iter().for_each(|v| self.roots(v, roots)),
            _ => {
                roots.insert(value);
            }
        }
    }

    /// Registers of a thread that hold a tile.
    fn registers(&mut self, value: Value) -> u32 {
        let func = self.func;
        let ty = func.ty(value);
        if !in_registers(func, value) || self.is_cheap(value) {
            return 0;
        }
        let elements = ty.layout().map_or(0, |layout| layout.layout().without_duplicate_registers().registers());
        match ty.elem() {
            Elem::Scalar(ScalarType::Bool) => 0,
            Elem::Scalar(ScalarType::Index) => elements * u32::from(func.index_bits) / 32,
            elem => (elements * elem.bytes()).div_ceil(4),
        }
    }

    /// Whether a tile can be made again from numbers.
    fn is_cheap(&mut self, value: Value) -> bool {
        if let Some(&known) = self.cheap.get(&value) {
            return known;
        }
        let func = self.func;
        let cheap = func.def_data(value).is_some_and(|data| match kind(data) {
            Kind::Flexible => true,
            Kind::Elementwise | Kind::Shape => {
                let again = !matches!(data, InstData::InlineAsm { .. } | InstData::DotWait { .. } | InstData::Hold { .. });
                again && data.operands().into_iter().all(|v| !is_spread(func, v) || self.is_cheap(v))
            }
            _ => false,
        });
        self.cheap.insert(value, cheap);
        cheap
    }
}

fn is_product(data: &InstData) -> bool {
    matches!(data, InstData::Dot { .. } | InstData::DotStart { .. } | InstData::DotWait { arg: Some(_), .. })
}

/// A tile that threads hold.
fn in_registers(func: &Function, value: Value) -> bool {
    is_spread(func, value) && func.ty(value).layout().is_some_and(|layout| !layout.layout().is_shared())
}
