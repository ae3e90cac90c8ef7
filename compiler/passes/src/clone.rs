//! Copies instructions and blocks, into the same function (unrolling, loop splitting) or another (inlining).

use kiln_ir::{Block, Function, Inst, InstData, Value};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

/// Copies into `dst`; values that `map` does not hold stand for themselves.
pub(crate) struct Cloner<'a> {
    /// Where the originals are; `dst` itself when absent.
    pub src: Option<&'a Function>,
    /// Where the copies go.
    pub dst: &'a mut Function,
    /// Original to copy.
    pub map: FxHashMap<Value, Value>,
}

impl Cloner<'_> {
    fn src(&self) -> &Function {
        self.src.unwrap_or(self.dst)
    }

    /// The copy's value for a value of the original.
    pub fn value(&self, value: Value) -> Value {
        self.map.get(&value).copied().unwrap_or(value)
    }

    /// Copies one instruction with its blocks; it stands nowhere yet.
    pub fn inst(&mut self, inst: Inst) -> Inst {
        let mut data = self.src().insts[inst].clone();
        data.visit_operands_mut(|v| *v = self.value(*v));
        let mut blocks: SmallVec<[Block; 2]> = SmallVec::new();
        for block in self.src().insts[inst].blocks() {
            blocks.push(self.block(block));
        }
        let mut copies = blocks.into_iter();
        data.visit_blocks_mut(|b| *b = copies.next().unwrap_or(*b));
        let src = self.src();
        let types: SmallVec<[_; 2]> = src.results_of(inst).iter().map(|&v| src.ty(v)).collect();
        let loc = src.locs[inst];
        let copy = self.dst.make_inst(data, &types, loc);
        for number in 0..types.len() {
            let old = self.src().results_of(inst)[number];
            let new = self.dst.results_of(copy)[number];
            self.dst.values[new].name = self.src().values[old].name.clone();
            self.map.insert(old, new);
        }
        copy
    }

    /// Copies a block with its parameters and instructions.
    pub fn block(&mut self, block: Block) -> Block {
        let copy = self.dst.add_block();
        let (params, insts) = {
            let data = &self.src().blocks[block];
            (data.params.clone(), data.insts.clone())
        };
        for param in params {
            let (ty, name) = (self.src().ty(param), self.src().values[param].name.clone());
            let new = self.dst.add_block_param(copy, ty, name);
            self.map.insert(param, new);
        }
        for inst in insts {
            let new = self.inst(inst);
            self.dst.blocks[copy].insts.push(new);
        }
        copy
    }

    /// Copies the instructions of a block, whose parameters the map already holds, up to its `Yield`. Gives the copies and what they yield.
    pub fn body(&mut self, block: Block) -> (Vec<Inst>, SmallVec<[Value; 4]>) {
        let insts = self.src().blocks[block].insts.clone();
        let mut copies = Vec::with_capacity(insts.len());
        for inst in insts {
            if let InstData::Yield { args } = &self.src().insts[inst] {
                let yielded = args.iter().map(|&v| self.value(v)).collect();
                return (copies, yielded);
            }
            let copy = self.inst(inst);
            copies.push(copy);
        }
        (copies, SmallVec::new())
    }
}
