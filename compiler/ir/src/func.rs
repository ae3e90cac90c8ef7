//! Functions: values, instructions and blocks in dense maps, parameters with the facts the specialization knows.

use std::sync::Arc;

use cranelift_entity::{PrimaryMap, SecondaryMap};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::artifact::Remark;
use crate::entity::{Block, Inst, Value};
use crate::inst::InstData;
use crate::types::Type;
use crate::visit::Effects;

/// A place in the source: byte range `lo..hi` of file number `file` (see `Module::files`). The default is "unknown".
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct SrcLoc {
    pub file: u32,
    pub lo: u32,
    pub hi: u32,
}

impl SrcLoc {
    /// No place.
    pub const UNKNOWN: SrcLoc = SrcLoc { file: u32::MAX, lo: 0, hi: 0 };

    /// Whether this is a real place.
    pub fn is_known(self) -> bool {
        self.file != u32::MAX
    }
}

impl Default for SrcLoc {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

/// How a value comes about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueDef {
    /// Result number `1` of instruction `0`.
    Result(Inst, u16),
    /// Parameter number `1` of block `0`.
    Param(Block, u16),
}

/// A value's type, origin and name in the source.
#[derive(Clone, Debug)]
pub struct ValueData {
    /// Type.
    pub ty: Type,
    /// Origin.
    pub def: ValueDef,
    /// The source's name for it, for dumps and messages only.
    pub name: Option<Arc<str>>,
}

/// A block: parameters and instructions, the last of which is a `Yield`.
#[derive(Clone, Debug, Default)]
pub struct BlockData {
    /// Parameters.
    pub params: SmallVec<[Value; 4]>,
    /// Instructions in order.
    pub insts: Vec<Inst>,
}

/// What a launch's specialization knows of one number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct IntFact {
    /// The exact value, when it is part of the specialization.
    pub known: Option<i64>,
    /// A divisor of the value, at least 1 (a power of two up to 16 from launch facts).
    pub divisor: u32,
    /// An inclusive upper bound, when known.
    pub max: Option<i64>,
}

impl Default for IntFact {
    fn default() -> Self {
        IntFact { known: None, divisor: 1, max: None }
    }
}

impl IntFact {
    /// The exact value is known.
    pub fn exact(value: i64) -> Self {
        IntFact { known: Some(value), divisor: 1, max: Some(value) }
    }

    /// Whether the value is known to be a multiple of `n`.
    pub fn is_multiple_of(self, n: u32) -> bool {
        match self.known {
            Some(v) => v % i64::from(n) == 0,
            None => self.divisor.is_multiple_of(n),
        }
    }
}

/// What a specialization knows of one tensor parameter.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct TensorFacts {
    /// Alignment of the base pointer in bytes, a power of two, at least the element's size.
    pub align: u32,
    /// One a dimension.
    pub dims: SmallVec<[IntFact; 5]>,
    /// One a dimension, in elements.
    pub strides: SmallVec<[IntFact; 5]>,
    /// May overlap other parameters (`#[may_alias]`); otherwise a `mut` tensor overlaps nothing.
    pub may_alias: bool,
}

impl TensorFacts {
    /// Nothing known beyond the rank and the element's own alignment.
    pub fn unknown(rank: usize, elem_bytes: u32) -> Self {
        TensorFacts {
            align: elem_bytes,
            dims: SmallVec::from_elem(IntFact::default(), rank),
            strides: SmallVec::from_elem(IntFact::default(), rank),
            may_alias: false,
        }
    }
}

/// A parameter of a function: its value is the parameter of the same number of the body block.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ParamInfo {
    /// Source name.
    pub name: Arc<str>,
    /// Number of the parameter in the kernel's signature (absent ones are skipped, so numbers may have gaps).
    pub number: u32,
    /// Facts, for tensors.
    pub tensor: Option<TensorFacts>,
}

/// A function: a kernel or a device function.
#[derive(Clone, Debug)]
pub struct Function {
    /// Source name.
    pub name: Arc<str>,
    /// Whether it is launched (no results) rather than called.
    pub is_kernel: bool,
    /// Parameters.
    pub params: Vec<ParamInfo>,
    /// Result types (empty for kernels).
    pub results: Vec<Type>,
    /// Rank of the grid, 1 to 5 (kernels).
    pub grid_rank: u8,
    /// 32 or 64: what `index` is compiled as. 64 until the index-width pass.
    pub index_bits: u8,
    /// The body.
    pub body: Block,
    /// Values.
    pub values: PrimaryMap<Value, ValueData>,
    /// Instructions.
    pub insts: PrimaryMap<Inst, InstData>,
    /// Results of each instruction.
    pub inst_results: SecondaryMap<Inst, SmallVec<[Value; 2]>>,
    /// Source place of each instruction.
    pub locs: SecondaryMap<Inst, SrcLoc>,
    /// Blocks.
    pub blocks: PrimaryMap<Block, BlockData>,
    /// The schedule the kernel is compiled with.
    pub schedule: crate::signature::Schedule,
    /// Where the function is.
    pub loc: SrcLoc,
    /// What passes have to say to its author. No part of the IR's text.
    pub remarks: Vec<Remark>,
}

impl Function {
    /// A function with an empty body block.
    pub fn new(name: &str, is_kernel: bool) -> Function {
        let mut blocks = PrimaryMap::new();
        let body = blocks.push(BlockData::default());
        Function {
            name: name.into(),
            is_kernel,
            params: Vec::new(),
            results: Vec::new(),
            grid_rank: 1,
            index_bits: 64,
            body,
            values: PrimaryMap::new(),
            insts: PrimaryMap::new(),
            inst_results: SecondaryMap::new(),
            locs: SecondaryMap::new(),
            blocks,
            schedule: Default::default(),
            loc: SrcLoc::UNKNOWN,
            remarks: Vec::new(),
        }
    }

    /// Adds a parameter to the function and its body block.
    pub fn add_param(&mut self, info: ParamInfo, ty: Type) -> Value {
        let value = self.add_block_param(self.body, ty, Some(info.name.clone()));
        self.params.push(info);
        value
    }

    /// The values of the function's parameters.
    pub fn param_values(&self) -> &[Value] {
        &self.blocks[self.body].params
    }

    /// A new block that nothing owns yet.
    pub fn add_block(&mut self) -> Block {
        self.blocks.push(BlockData::default())
    }

    /// Adds a parameter to a block.
    pub fn add_block_param(&mut self, block: Block, ty: Type, name: Option<Arc<str>>) -> Value {
        let number = self.blocks[block].params.len() as u16;
        let value = self.values.push(ValueData { ty, def: ValueDef::Param(block, number), name });
        self.blocks[block].params.push(value);
        value
    }

    /// Makes an instruction that stands in no block yet.
    pub fn make_inst(&mut self, data: InstData, result_types: &[Type], loc: SrcLoc) -> Inst {
        let inst = self.insts.push(data);
        let results = result_types
            .iter()
            .enumerate()
            .map(|(i, &ty)| self.values.push(ValueData { ty, def: ValueDef::Result(inst, i as u16), name: None }))
            .collect();
        self.inst_results[inst] = results;
        self.locs[inst] = loc;
        inst
    }

    /// Appends an instruction to a block.
    pub fn append(&mut self, block: Block, data: InstData, result_types: &[Type], loc: SrcLoc) -> Inst {
        let inst = self.make_inst(data, result_types, loc);
        self.blocks[block].insts.push(inst);
        inst
    }

    /// The only result of an instruction.
    ///
    /// # Panics
    /// When it does not have exactly one.
    pub fn result(&self, inst: Inst) -> Value {
        let [value] = self.inst_results[inst][..] else { panic!("{inst} has {} results", self.inst_results[inst].len()) };
        value
    }

    /// All results of an instruction.
    pub fn results_of(&self, inst: Inst) -> &[Value] {
        &self.inst_results[inst]
    }

    /// The type of a value.
    pub fn ty(&self, value: Value) -> Type {
        self.values[value].ty
    }

    /// The instruction that defines a value, if it is not a block parameter.
    pub fn def_inst(&self, value: Value) -> Option<Inst> {
        match self.values[value].def {
            ValueDef::Result(inst, _) => Some(inst),
            ValueDef::Param(..) => None,
        }
    }

    /// The data of the instruction that defines a value.
    pub fn def_data(&self, value: Value) -> Option<&InstData> {
        self.def_inst(value).map(|inst| &self.insts[inst])
    }

    /// The operands of a block's `Yield`.
    pub fn yielded(&self, block: Block) -> &[Value] {
        match self.blocks[block].insts.last().map(|&inst| &self.insts[inst]) {
            Some(InstData::Yield { args }) => args,
            _ => &[],
        }
    }

    /// The effects of an instruction, those of its blocks included (never `terminator` for the latter).
    pub fn effects(&self, inst: Inst) -> Effects {
        let mut effects = self.insts[inst].own_effects();
        for block in self.insts[inst].blocks() {
            for &inner in &self.blocks[block].insts {
                let inner_effects = self.effects(inner);
                if !inner_effects.terminator {
                    effects = effects.union(inner_effects);
                }
            }
        }
        effects
    }

    /// Replaces every use of `old` by `new` in instructions reachable or not.
    pub fn replace_uses(&mut self, old: Value, new: Value) {
        for data in self.insts.values_mut() {
            data.visit_operands_mut(|v| {
                if *v == old {
                    *v = new;
                }
            });
        }
    }

    /// Applies a map of replacements to every use at once, following chains.
    pub fn replace_all(&mut self, map: &rustc_hash::FxHashMap<Value, Value>) {
        if map.is_empty() {
            return;
        }
        for data in self.insts.values_mut() {
            data.visit_operands_mut(|v| {
                while let Some(&new) = map.get(v) {
                    *v = new;
                }
            });
        }
    }

    /// Calls `f` on every instruction in the body and nested blocks, in order, parents before children.
    pub fn walk(&self, mut f: impl FnMut(Block, Inst)) {
        fn go(func: &Function, block: Block, f: &mut impl FnMut(Block, Inst)) {
            for &inst in &func.blocks[block].insts {
                f(block, inst);
                for inner in func.insts[inst].blocks() {
                    go(func, inner, f);
                }
            }
        }
        go(self, self.body, &mut f);
    }
}
