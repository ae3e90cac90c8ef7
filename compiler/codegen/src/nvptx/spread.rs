//! A layout seen from one thread: the coordinate of each register, as a part the thread adds and a constant.

use std::rc::Rc;

use kiln_ir::LayoutId;
use kiln_ir::layout::{Coords, Hw, Layout};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::text::{Ty, Val, Writer};

/// Registers of a layout by coordinate, and the thread's own coordinate.
#[derive(Debug)]
pub(super) struct Spread {
    pub(super) layout: &'static Layout,
    /// What each register adds to the thread's coordinate (see `Layout::registers_add`).
    pub(super) registers: Vec<Coords>,
    /// The first register with a coordinate.
    index: FxHashMap<Coords, u32>,
    /// The thread's coordinate along each dimension (i32).
    thread: SmallVec<[Val; 5]>,
    /// Register and thread parts share no bits: they add up.
    adds: bool,
    /// Whether this thread is an owner: lane and warp bits that choose between copies are zero. None: always.
    owner: Option<Val>,
}

impl Spread {
    /// The register that adds `coords` to the thread's coordinate.
    pub(super) fn register(&self, coords: &[u32]) -> Option<u32> {
        self.index.get(coords).copied()
    }

    /// The coordinate of a register along `dim`, as a part that is the same for several registers and a constant. Where the
    /// parts do not add up, the constant is 0.
    pub(super) fn coord(&self, w: &mut Writer, register: u32, dim: usize) -> (Val, u32) {
        let own = self.registers[register as usize][dim];
        if self.adds {
            return (self.thread[dim], own);
        }
        // The repetition adds, what is within the unit XORs.
        let unit = 1u32 << self.layout.unit().dim_bits()[dim];
        let within = w.xor(self.thread[dim], Val::i32(own % unit));
        (w.add_nsw(within, Val::i32(own - own % unit)), 0)
    }

    /// The whole coordinate of a register along `dim` (i32).
    pub(super) fn full_coord(&self, w: &mut Writer, register: u32, dim: usize) -> Val {
        let (thread, constant) = self.coord(w, register, dim);
        w.add_nsw(thread, Val::i32(constant))
    }

    /// The condition under which this thread owns its elements; None: always.
    pub(super) fn owner(&self) -> Option<Val> {
        self.owner
    }

    /// Whether the tile of extents `shape` leaves padding along `dim`.
    pub(super) fn pads(&self, shape: &[u32], dim: usize) -> bool {
        self.layout.physical()[dim] > shape[dim]
    }

    /// Whether `register` may hold padding of a tile of extents `shape`; for all threads alike where the answer is a constant.
    pub(super) fn inside(&self, w: &mut Writer, register: u32, shape: &[u32]) -> Val {
        (0..shape.len()).filter(|&d| self.pads(shape, d)).fold(Val::bool(true), |all, d| {
            let coord = self.full_coord(w, register, d);
            let inside = w.icmp("ult", coord, Val::i32(shape[d]));
            w.and(all, inside)
        })
    }
}

/// The thread's indices and the layouts met so far.
#[derive(Debug)]
pub(super) struct Threads {
    /// Thread number within the block, or where several groups of warps each run programs, within the group (i32).
    pub(super) tid: Val,
    /// Thread number within the block (i32).
    pub(super) in_block: Val,
    /// Warps that hold the tiles of a program.
    pub(super) warps: u32,
    /// Groups of so many warps.
    pub(super) groups: u32,
    /// Warps behind them.
    pub(super) producers: u32,
    spreads: FxHashMap<LayoutId, Rc<Spread>>,
}

impl Threads {
    pub(super) fn new(w: &mut Writer, warps: u32, groups: u32, producers: u32) -> Threads {
        let range = format!("noundef range(i32 0, {})", 32 * (warps * groups + producers));
        let in_block = w.at_entry(|w| w.call_with(Ty::I32, &range, "llvm.nvvm.read.ptx.sreg.tid.x", &[]));
        let tid = if groups > 1 { w.at_entry(|w| w.and(in_block, Val::i32(32 * warps - 1))) } else { in_block };
        Threads { tid, in_block, warps, groups, producers, spreads: FxHashMap::default() }
    }

    /// Threads of a block.
    pub(super) fn block(&self) -> u32 {
        32 * (self.consumers() + self.producers)
    }

    /// Warps that hold tiles.
    pub(super) fn consumers(&self) -> u32 {
        self.warps * self.groups
    }

    /// The number of this thread's group (i32).
    pub(super) fn group(&self, w: &mut Writer) -> Val {
        let (in_block, bits) = (self.in_block, (32 * self.warps).trailing_zeros());
        w.at_entry(|w| w.lshr(in_block, bits))
    }

    /// Lane number (i32).
    pub(super) fn lane(&self, w: &mut Writer) -> Val {
        let tid = self.tid;
        w.at_entry(|w| w.and(tid, Val::i32(31)))
    }

    /// The XOR of the constants in `columns` whose thread bit is set; bit `i` belongs to `columns[i]`. Runs of bits that step
    /// by doubling become one shifted field.
    pub(super) fn linear(&self, w: &mut Writer, columns: &[u32]) -> Val {
        let tid = self.tid;
        w.at_entry(|w| Threads::linear_of(w, tid, columns))
    }

    /// The XOR of the constants in `columns` whose bit of `value` is set.
    pub(super) fn linear_of(w: &mut Writer, value: Val, columns: &[u32]) -> Val {
        let mut sum = Val::i32(0);
        let mut used = 0u32;
        let mut bit = 0;
        while bit < columns.len() {
            let first = columns[bit];
            if first == 0 {
                bit += 1;
                continue;
            }
            let mut run = 1;
            while first.is_power_of_two() && columns.get(bit + run) == Some(&(first << run)) {
                run += 1;
            }
            let (field, bits) = if first.is_power_of_two() {
                let down = w.lshr(value, bit as u32);
                let low = w.and(down, Val::i32((1 << run) - 1));
                (w.shl(low, first.trailing_zeros()), ((1 << run) - 1) * first)
            } else {
                let down = w.lshr(value, bit as u32);
                let one = w.and(down, Val::i32(1));
                let mask = w.sub(Val::i32(0), one);
                (w.and(mask, Val::i32(first)), first)
            };
            sum = if used & bits == 0 { w.or_disjoint(sum, field) } else { w.xor(sum, field) };
            used |= bits;
            bit += run;
        }
        sum
    }

    /// The view of a layout from a thread.
    pub(super) fn spread(&mut self, w: &mut Writer, id: LayoutId) -> Rc<Spread> {
        if let Some(known) = self.spreads.get(&id) {
            return Rc::clone(known);
        }
        let layout = id.layout();
        let unit = layout.unit();
        let thread_bits: Vec<(Hw, u8)> =
            [Hw::Lane, Hw::Warp].into_iter().flat_map(|hw| (0..unit.bits(hw)).map(move |bit| (hw, bit))).collect();
        let thread = (0..layout.rank())
            .map(|dim| {
                let columns: Vec<u32> = thread_bits.iter().map(|&(hw, bit)| unit.basis(hw, bit)[dim]).collect();
                self.linear(w, &columns)
            })
            .collect();
        let registers: Vec<Coords> = (0..layout.registers()).map(|r| layout.register_coords(r)).collect();
        let mut index = FxHashMap::default();
        for (number, coords) in registers.iter().enumerate() {
            index.entry(coords.clone()).or_insert(number as u32);
        }
        let (lanes, warps) = layout.free_threads();
        let free = lanes | warps << 5;
        let owner = (free != 0).then(|| {
            let tid = self.tid;
            w.at_entry(|w| {
                let copies = w.and(tid, Val::i32(free));
                w.icmp("eq", copies, Val::i32(0))
            })
        });
        let spread = Rc::new(Spread { layout, registers, index, thread, adds: layout.registers_add(), owner });
        self.spreads.insert(id, Rc::clone(&spread));
        spread
    }
}
