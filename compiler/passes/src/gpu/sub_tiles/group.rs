//! The tiles that share one long axis, found from one of them, and the instructions that make and use them.

use kiln_ir::{Block, Function, Inst, InstData, Value, ValueDef};
use rustc_hash::FxHashMap;

use super::axis::{Form, Rule, Slot, is_spread, rule};

/// Tiles with a common axis and their instructions. Those outside of the block (and of the blocks inside it) are computed anew where slices of them are
/// needed.
#[derive(Debug)]
pub(super) struct Group {
    /// The block that is rewritten.
    pub block: Block,
    /// Elements along the axis.
    pub extent: u32,
    /// The axis of each tile that has it.
    pub axis: FxHashMap<Value, u8>,
    /// The rule of each instruction that has such tiles, `for` and `if` apart.
    pub rules: FxHashMap<Inst, Rule>,
    /// For each instruction of the block and of the blocks inside it: the one of the block itself that it is part of.
    pub home: FxHashMap<Inst, Inst>,
}

/// Uses of values in a block and in the blocks inside it.
struct Uses {
    of: FxHashMap<Value, Vec<(Inst, usize)>>,
    /// The block of each instruction.
    block_of: FxHashMap<Inst, Block>,
    /// The instruction that owns a block.
    owner: FxHashMap<Block, Inst>,
}

impl Group {
    /// The group of `value`'s axis number `axis` in `block`. None where some instruction cannot work on slices.
    pub fn find(func: &Function, block: Block, value: Value, axis: u8) -> Option<Group> {
        let extent = func.ty(value).shape()[usize::from(axis)];
        let mut uses = Uses { of: FxHashMap::default(), block_of: FxHashMap::default(), owner: FxHashMap::default() };
        let mut home = FxHashMap::default();
        for &inst in &func.blocks[block].insts {
            uses.collect(func, block, inst, inst, &mut home);
        }
        let mut group = Group { block, extent, axis: FxHashMap::default(), rules: FxHashMap::default(), home };
        let mut work = vec![(value, axis)];
        while let Some((value, axis)) = work.pop() {
            match group.axis.insert(value, axis) {
                Some(known) if known == axis => continue,
                // A tile with the axis twice.
                Some(_) => return None,
                None => {}
            }
            if func.ty(value).shape()[usize::from(axis)] != extent {
                return None;
            }
            group.definition(func, &uses, value, axis, &mut work)?;
            for &(user, number) in uses.of.get(&value).into_iter().flatten() {
                group.user(func, &uses, user, number, axis, &mut work)?;
            }
        }
        group.is_sound(func).then_some(group)
    }

    /// Whether an instruction works on slices: it has tiles of the group, or blocks inside it do.
    pub fn is_member(&self, func: &Function, inst: Inst) -> bool {
        self.rules.contains_key(&inst)
            || func.insts[inst].blocks().iter().any(|&b| func.blocks[b].insts.iter().any(|&i| self.is_member(func, i)))
    }

    fn definition(&mut self, func: &Function, uses: &Uses, value: Value, axis: u8, work: &mut Vec<(Value, u8)>) -> Option<()> {
        match func.values[value].def {
            ValueDef::Result(inst, number) => match &func.insts[inst] {
                InstData::For { .. } => self.carried(func, inst, usize::from(number), axis, work),
                InstData::If { then, otherwise, .. } => {
                    let of_block = |b| func.yielded(b)[usize::from(number)];
                    work.extend([(of_block(*then), axis), (of_block(*otherwise), axis)]);
                    self.home.contains_key(&inst).then_some(())
                }
                _ => self.add(func, inst, Slot::Result(usize::from(number)), axis, work),
            },
            ValueDef::Param(block, number) => {
                let owner = *uses.owner.get(&block)?;
                self.carried(func, owner, usize::from(number).checked_sub(1)?, axis, work)
            }
        }
    }

    /// What a loop of this block carries has the axis before, in and after it.
    fn carried(&mut self, func: &Function, inst: Inst, number: usize, axis: u8, work: &mut Vec<(Value, u8)>) -> Option<()> {
        let InstData::For { init, body, .. } = &func.insts[inst] else { return None };
        self.home.contains_key(&inst).then_some(())?;
        let param = func.blocks[*body].params[number + 1];
        work.extend([init[number], param, func.yielded(*body)[number], func.results_of(inst)[number]].map(|v| (v, axis)));
        Some(())
    }

    fn user(
        &mut self,
        func: &Function,
        uses: &Uses,
        user: Inst,
        number: usize,
        axis: u8,
        work: &mut Vec<(Value, u8)>,
    ) -> Option<()> {
        match &func.insts[user] {
            // Bounds and step of a loop are scalars.
            InstData::For { .. } => self.carried(func, user, number.checked_sub(3)?, axis, work),
            InstData::Yield { .. } => {
                let owner = *uses.owner.get(uses.block_of.get(&user)?)?;
                match &func.insts[owner] {
                    InstData::For { .. } => self.carried(func, owner, number, axis, work),
                    InstData::If { .. } => {
                        work.push((func.results_of(owner)[number], axis));
                        Some(())
                    }
                    _ => None,
                }
            }
            _ => self.add(func, user, Slot::Operand(number), axis, work),
        }
    }

    fn add(&mut self, func: &Function, inst: Inst, slot: Slot, axis: u8, work: &mut Vec<(Value, u8)>) -> Option<()> {
        let rule = rule(func, inst, slot, axis)?;
        if let Some(known) = self.rules.get(&inst) {
            return (*known == rule).then_some(());
        }
        let data = &func.insts[inst];
        let operands = data.operands();
        let tiles = operands.iter().zip(&rule.operands).chain(func.results_of(inst).iter().zip(&rule.results));
        work.extend(tiles.filter_map(|(&value, axis)| Some((value, (*axis)?))));
        self.rules.insert(inst, rule);
        Some(())
    }

    /// Every operand has the axis exactly where the rules say; loops and branches only work lane by lane and touch no memory but to read; what lies outside
    /// of the block can be computed again.
    fn is_sound(&self, func: &Function) -> bool {
        self.rules.iter().all(|(&inst, rule)| {
            let data = &func.insts[inst];
            let operands = data.operands();
            let agree = operands.iter().zip(&rule.operands).all(|(v, axis)| self.axis.get(v) == axis.as_ref());
            let agree =
                agree && func.results_of(inst).iter().zip(&rule.results).all(|(v, axis)| self.axis.get(v) == axis.as_ref());
            let top = self.home.get(&inst) == Some(&inst);
            let effects = func.effects(inst);
            agree && (top || rule.form == Form::Lanes && !effects.writes && !effects.pinned)
        }) && self.control_is_sound(func)
    }

    /// Loops and branches with tiles of the group inside: all that they give is sliced, and nothing in them has an effect.
    fn control_is_sound(&self, func: &Function) -> bool {
        let own = |inst: &Inst| !func.insts[*inst].blocks().is_empty() && !self.rules.contains_key(inst);
        func.blocks[self.block].insts.iter().filter(|inst| own(inst) && self.is_member(func, **inst)).all(|&inst| {
            let effects = func.effects(inst);
            let control = matches!(func.insts[inst], InstData::For { .. } | InstData::If { .. });
            let sliced = func.results_of(inst).iter().all(|v| self.axis.contains_key(v));
            control && sliced && !effects.writes && !effects.pinned
        })
    }
}

impl Uses {
    fn collect(&mut self, func: &Function, block: Block, inst: Inst, top: Inst, home: &mut FxHashMap<Inst, Inst>) {
        home.insert(inst, top);
        self.block_of.insert(inst, block);
        for (number, value) in func.insts[inst].operands().into_iter().enumerate() {
            if is_spread(func, value) {
                self.of.entry(value).or_default().push((inst, number));
            }
        }
        for inner in func.insts[inst].blocks() {
            self.owner.insert(inner, inst);
            for &inside in &func.blocks[inner].insts {
                self.collect(func, inner, inside, top, home);
            }
        }
    }
}
