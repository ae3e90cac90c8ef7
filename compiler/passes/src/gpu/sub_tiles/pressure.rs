//! How many registers the tiles of a block keep busy, estimated.
//!
//! Lane-by-lane work goes on element by element, so that only what is loaded, stored, or kept across an exchange between lanes counts. Numbers of lanes,
//! constants, and integers and conditions computed from those alone are made again where they are needed and count nothing.

use std::collections::BTreeSet;

use cranelift_entity::EntitySet;
use kiln_ir::{Block, Elem, Function, Inst, InstData, Value};
use rustc_hash::FxHashMap;

use super::axis::is_spread;
use crate::analysis::memory::defined_in;
use crate::gpu::rules::{Kind, kind};

/// The most that one tile may take of shared memory to be rearranged in: a scan needs it twice.
const REARRANGED_BYTES: u64 = 32 * 1024;

/// Estimates for a kernel on so many threads.
pub(super) struct Pressure<'a> {
    func: &'a Function,
    threads: u64,
    cheap: FxHashMap<Value, bool>,
}

/// The most that is alive at one place of a block.
#[derive(Clone, Default, Debug)]
pub(super) struct Peak {
    /// Registers of a thread.
    pub registers: u64,
    /// The tiles.
    pub values: Vec<Value>,
}

impl<'a> Pressure<'a> {
    pub fn new(func: &'a Function, warps: u32) -> Self {
        Pressure { func, threads: 32 * u64::from(warps), cheap: FxHashMap::default() }
    }

    /// Registers (32 bits) of a thread that hold a tile.
    pub fn registers(&mut self, value: Value) -> u64 {
        if !is_spread(self.func, value) || self.is_cheap(value) {
            return 0;
        }
        let ty = self.func.ty(value);
        ty.num_elements().div_ceil(self.threads) * u64::from(ty.elem().bytes().div_ceil(4))
    }

    /// The peak of a block; blocks inside it have their own.
    pub fn peak(&mut self, block: Block) -> Peak {
        let func = self.func;
        let mut live: BTreeSet<Value> = BTreeSet::new();
        let mut peak = Peak::default();
        for &inst in func.blocks[block].insts.iter().rev() {
            for &result in func.results_of(inst) {
                live.remove(&result);
            }
            let data = &func.insts[inst];
            let mut operands = Vec::new();
            uses(func, inst, &mut operands);
            let mut inside = EntitySet::new();
            data.blocks().iter().for_each(|&inner| defined_in(func, inner, &mut inside));
            operands.retain(|&v| !inside.contains(v));
            match kind(data) {
                Kind::Across | Kind::Exchange => {
                    let at: BTreeSet<Value> = live.iter().chain(&operands).copied().collect();
                    self.meet(&mut peak, at.into_iter().collect());
                    if matches!(data, InstData::Scan { .. }) {
                        self.rearranged(&mut peak, &operands);
                    }
                }
                Kind::Memory => {
                    let of_access = data.operands().into_iter().chain(func.results_of(inst).iter().copied());
                    for value in of_access {
                        self.meet(&mut peak, vec![value]);
                    }
                }
                _ => {}
            }
            live.extend(operands.into_iter().filter(|&v| is_spread(func, v)));
        }
        peak
    }

    /// Tiles that a scan rearranges go through shared memory, each as a whole.
    fn rearranged(&mut self, peak: &mut Peak, operands: &[Value]) {
        let func = self.func;
        let bytes = |v: Value| {
            let room: u64 = func.ty(v).shape().iter().map(|e| u64::from(e.next_power_of_two())).product();
            room * u64::from(func.ty(v).elem().bytes())
        };
        let large: Vec<Value> = operands.iter().copied().filter(|&v| is_spread(func, v) && bytes(v) > REARRANGED_BYTES).collect();
        if !large.is_empty() {
            *peak = Peak { registers: u64::MAX, values: large };
        }
    }

    fn meet(&mut self, peak: &mut Peak, values: Vec<Value>) {
        let registers = values.iter().map(|&v| self.registers(v)).sum();
        if registers > peak.registers {
            *peak = Peak { registers, values };
        }
    }

    fn is_cheap(&mut self, value: Value) -> bool {
        if let Some(&known) = self.cheap.get(&value) {
            return known;
        }
        let cheap = self.decide(value);
        self.cheap.insert(value, cheap);
        cheap
    }

    fn decide(&mut self, value: Value) -> bool {
        let func = self.func;
        let Some(data) = func.def_data(value) else { return false };
        let float = matches!(func.ty(value).elem(), Elem::Scalar(s) if s.is_float());
        match kind(data) {
            Kind::Flexible => match data {
                InstData::Broadcast { arg } => func.ty(*arg).is_scalar() || self.is_cheap(*arg),
                _ => true,
            },
            Kind::Elementwise | Kind::Shape if !float && !matches!(data, InstData::InlineAsm { .. }) => {
                data.operands().into_iter().all(|v| !is_spread(func, v) || self.is_cheap(v))
            }
            _ => false,
        }
    }
}

/// What an instruction and the blocks inside it use, once each.
fn uses(func: &Function, inst: Inst, list: &mut Vec<Value>) {
    func.insts[inst].visit_operands(|v| {
        if !list.contains(&v) {
            list.push(v);
        }
    });
    for block in func.insts[inst].blocks() {
        for &inner in &func.blocks[block].insts {
            uses(func, inner, list);
        }
    }
}
