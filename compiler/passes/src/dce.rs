//! `dce`: removes what nothing observes: instructions without effects whose results are unused, values carried by loops or yielded by
//! branches that nothing reads, and loops and branches left empty.
//!
//! What is live is found from the effects outward, so values that only keep each other alive around a loop go too.
//!
//! ```text
//! before: v5: index, v6: f32 = for v0..v1 step v2 init [v3, v4] (v7: index, v8: index, v9: f32) {
//!             v10: index = add v8, v7          ; only feeds itself
//!             v11: f32 = add v9, v9
//!             yield v10, v11
//!         }
//! after:  v6: f32 = for v0..v1 step v2 init [v4] (v7: index, v9: f32) {
//!             v11: f32 = add v9, v9
//!             yield v11
//!         }
//! ```

use cranelift_entity::packed_option::PackedOption;
use cranelift_entity::{EntitySet, SecondaryMap};
use kiln_ir::{Block, Function, Inst, InstData, Value, ValueDef};
use smallvec::SmallVec;

use crate::manager::{PassContext, PassResult};

/// Runs the pass.
pub(crate) fn run(func: &mut Function, _: &PassContext) -> PassResult {
    let mut liveness = Liveness {
        func,
        owner: SecondaryMap::new(),
        home: SecondaryMap::new(),
        values: EntitySet::new(),
        insts: EntitySet::new(),
        work: Vec::new(),
    };
    liveness.place(func.body);
    liveness.find();
    let Liveness { values, insts, .. } = liveness;
    sweep(func, func.body, &values, &insts);
    Ok(())
}

struct Liveness<'a> {
    func: &'a Function,
    /// The instruction that owns a block.
    owner: SecondaryMap<Block, PackedOption<Inst>>,
    /// The block an instruction stands in.
    home: SecondaryMap<Inst, PackedOption<Block>>,
    values: EntitySet<Value>,
    insts: EntitySet<Inst>,
    work: Vec<Value>,
}

impl Liveness<'_> {
    /// Notes where everything stands and marks what has effects.
    fn place(&mut self, block: Block) {
        let func = self.func;
        for &inst in &func.blocks[block].insts {
            self.home[inst] = block.into();
            for inner in func.insts[inst].blocks() {
                self.owner[inner] = inst.into();
                self.place(inner);
            }
            let effects = func.insts[inst].own_effects();
            if effects.pinned && !effects.terminator {
                self.mark_inst(inst);
            }
        }
        if block == func.body {
            func.yielded(block).iter().for_each(|&v| self.mark(v));
        }
    }

    fn mark(&mut self, value: Value) {
        if self.values.insert(value) {
            self.work.push(value);
        }
    }

    /// An instruction must stay: so must the one whose block it stands in, and what it reads in any case.
    fn mark_inst(&mut self, inst: Inst) {
        if !self.insts.insert(inst) {
            return;
        }
        let func = self.func;
        match &func.insts[inst] {
            InstData::For { lo, hi, step, .. } => [*lo, *hi, *step].into_iter().for_each(|v| self.mark(v)),
            InstData::While { cond, .. } => func.yielded(*cond).iter().take(1).for_each(|&v| self.mark(v)),
            InstData::If { cond, .. } => self.mark(*cond),
            data => {
                data.visit_operands(|v| self.mark(v));
                for block in data.blocks() {
                    func.yielded(block).iter().for_each(|&v| self.mark(v));
                }
            }
        }
        if let Some(owner) = self.home[inst].expand().and_then(|block| self.owner[block].expand()) {
            self.mark_inst(owner);
        }
    }

    /// Marks everything that live values come from.
    fn find(&mut self) {
        let func = self.func;
        while let Some(value) = self.work.pop() {
            match func.values[value].def {
                ValueDef::Result(inst, number) => {
                    self.mark_inst(inst);
                    let number = usize::from(number);
                    match &func.insts[inst] {
                        InstData::For { init, body, .. } => self.slot(&[init, func.yielded(*body)], number),
                        InstData::While { cond, .. } => self.slot(&[func.yielded(*cond)], number + 1),
                        InstData::If { then, otherwise, .. } => {
                            self.slot(&[func.yielded(*then), func.yielded(*otherwise)], number);
                        }
                        _ => {}
                    }
                }
                ValueDef::Param(block, number) => {
                    let Some(owner) = self.owner[block].expand() else { continue };
                    let number = usize::from(number);
                    match &func.insts[owner] {
                        InstData::For { init, body, .. } if number > 0 => self.slot(&[init, func.yielded(*body)], number - 1),
                        InstData::While { init, cond, body } if block == *cond => {
                            self.slot(&[init, func.yielded(*body)], number);
                        }
                        InstData::While { cond, .. } => self.slot(&[func.yielded(*cond)], number + 1),
                        _ => {}
                    }
                }
            }
        }
    }

    fn slot(&mut self, lists: &[&[Value]], number: usize) {
        for list in lists {
            list.get(number).into_iter().for_each(|&v| self.mark(v));
        }
    }
}

/// Removes the dead from a block and the blocks inside.
fn sweep(func: &mut Function, block: Block, values: &EntitySet<Value>, insts: &EntitySet<Inst>) {
    let list = std::mem::take(&mut func.blocks[block].insts);
    let mut kept = Vec::with_capacity(list.len());
    for inst in list {
        if matches!(func.insts[inst], InstData::Yield { .. }) {
            kept.push(inst);
            continue;
        }
        if !insts.contains(inst) {
            continue;
        }
        trim(func, inst, values);
        for inner in func.insts[inst].blocks() {
            sweep(func, inner, values, insts);
        }
        kept.push(inst);
    }
    func.blocks[block].insts = kept;
}

/// Drops carried and yielded values of a structured instruction that are dead.
fn trim(func: &mut Function, inst: Inst, values: &EntitySet<Value>) {
    match func.insts[inst].clone() {
        InstData::For { body, .. } => {
            // A slot lives when its parameter or its result does: marking made the other parts follow.
            let live: SmallVec<[bool; 8]> = func
                .results_of(inst)
                .iter()
                .zip(&func.blocks[body].params[1..])
                .map(|(&result, &param)| values.contains(result) || values.contains(param))
                .collect();
            keep_results(func, inst, &live);
            keep_params(func, body, 1, &live);
            keep_yielded(func, body, 0, &live);
            if let InstData::For { init, .. } = &mut func.insts[inst] {
                keep(init, 0, &live);
            }
        }
        InstData::While { cond, body, .. } => {
            let carried: SmallVec<[bool; 8]> = func.blocks[cond].params.iter().map(|&p| values.contains(p)).collect();
            let passed: SmallVec<[bool; 8]> = func
                .results_of(inst)
                .iter()
                .zip(&func.blocks[body].params)
                .map(|(&result, &param)| values.contains(result) || values.contains(param))
                .collect();
            keep_params(func, cond, 0, &carried);
            keep_yielded(func, body, 0, &carried);
            if let InstData::While { init, .. } = &mut func.insts[inst] {
                keep(init, 0, &carried);
            }
            keep_results(func, inst, &passed);
            keep_params(func, body, 0, &passed);
            keep_yielded(func, cond, 1, &passed);
        }
        InstData::If { then, otherwise, .. } => {
            let live: SmallVec<[bool; 8]> = func.results_of(inst).iter().map(|&r| values.contains(r)).collect();
            keep_results(func, inst, &live);
            keep_yielded(func, then, 0, &live);
            keep_yielded(func, otherwise, 0, &live);
        }
        _ => {}
    }
}

/// Keeps the first `skip` entries and those of the rest whose flag is set.
fn keep<A: smallvec::Array<Item = Value>>(list: &mut SmallVec<A>, skip: usize, live: &[bool]) {
    let mut number = 0;
    list.retain(|_| {
        number += 1;
        number <= skip || live.get(number - 1 - skip).copied().unwrap_or(true)
    });
}

fn keep_results(func: &mut Function, inst: Inst, live: &[bool]) {
    keep(&mut func.inst_results[inst], 0, live);
    for number in 0..func.results_of(inst).len() {
        let result = func.results_of(inst)[number];
        func.values[result].def = ValueDef::Result(inst, number as u16);
    }
}

fn keep_params(func: &mut Function, block: Block, skip: usize, live: &[bool]) {
    keep(&mut func.blocks[block].params, skip, live);
    for number in 0..func.blocks[block].params.len() {
        let param = func.blocks[block].params[number];
        func.values[param].def = ValueDef::Param(block, number as u16);
    }
}

fn keep_yielded(func: &mut Function, block: Block, skip: usize, live: &[bool]) {
    if let Some(&last) = func.blocks[block].insts.last()
        && let InstData::Yield { args } = &mut func.insts[last]
    {
        keep(args, skip, live);
    }
}
