//! Writes the sweeps: a loop over slices each, and what is left over behind it.

use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::{
    Block, Builder, Combine, Const, Function, Inst, InstData, LoopAttrs, Place, ScalarType, Shape, SliceIndex, Type, Value,
    ValueList,
};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::axis::{Form, span_of};
use super::combine::{combine_tiles, neutral};
use super::group::Group;
use super::plan::{Plan, Sweep};

/// The slice at hand.
#[derive(Clone, Copy)]
struct Slice {
    /// Its first element (scalar `index`).
    start: Value,
    /// Its first element, where that is known.
    known: Option<i64>,
    extent: u32,
}

/// Rewrites the group's block: sweeps over slices of `step` elements.
pub(super) fn rewrite(func: &mut Function, group: &Group, plan: &Plan, step: u32) {
    let old = std::mem::take(&mut func.blocks[group.block].insts);
    let mut writer =
        Sweeper { func, group, step, map: FxHashMap::default(), results: FxHashMap::default(), carried: FxHashMap::default() };
    for number in 0..=plan.sweeps.len() as u32 {
        let last = number as usize == plan.sweeps.len();
        for &(inst, _) in plan.uniform.iter().filter(|&&(_, time)| time == number || last && time > number) {
            writer.func.blocks[group.block].insts.push(inst);
        }
        if let Some(sweep) = plan.sweeps.get(number as usize) {
            writer.sweep(sweep);
        }
    }
    let results = std::mem::take(&mut writer.results);
    func.blocks[group.block].insts.extend(old.last());
    func.replace_all(&results);
}

/// How an instruction's state goes from slice to slice.
enum Carry {
    /// Whole slices are added up element by element, and folded after the loop.
    Lanes(Combine, SmallVec<[Const; 2]>),
    /// What each slice folds to is combined in order.
    Folded(Combine),
    /// Counts are added.
    Counts,
    /// The combination of all elements before the slice.
    Before(Combine),
}

struct Sweeper<'a> {
    func: &'a mut Function,
    group: &'a Group,
    step: u32,
    /// Copies for the slice at hand.
    map: FxHashMap<Value, Value>,
    /// What stands for the results of reductions.
    results: FxHashMap<Value, Value>,
    /// Values that instructions carry, at the current place.
    carried: FxHashMap<Inst, SmallVec<[Value; 2]>>,
}

impl Sweeper<'_> {
    fn builder(&mut self, block: Block, inst: Inst) -> Builder<'_> {
        let loc = self.func.locs[inst];
        let mut builder = Builder::new(self.func, block);
        builder.loc = loc;
        builder
    }

    fn sweep(&mut self, sweep: &Sweep) {
        let (outside, step, extent) = (self.group.block, self.step, self.group.extent);
        let whole = extent / step * step;
        let carries: Vec<(Inst, Carry)> = sweep.insts.iter().filter_map(|&inst| Some((inst, self.carry(inst)?))).collect();
        let place = sweep.insts.first().copied();
        let Some(place) = place else { return };
        let mut b = self.builder(outside, place);
        let (lo, hi, by) = (b.index(0), b.index(i64::from(whole)), b.index(i64::from(step)));
        let mut init = ValueList::new();
        for (inst, carry) in &carries {
            let start = self.start_of(*inst, carry);
            init.extend(start);
        }
        let body = self.func.add_block();
        let counter = self.func.add_block_param(body, Type::index(), None);
        self.carried.clear();
        let mut number = 0;
        for (inst, carry) in &carries {
            let count = self.carry_types(*inst, carry).len();
            let types: Vec<Type> = init[number..number + count].iter().map(|&v| self.func.ty(v)).collect();
            let params = types.into_iter().map(|ty| self.func.add_block_param(body, ty, None)).collect();
            self.carried.insert(*inst, params);
            number += count;
        }
        let slice = Slice { start: counter, known: None, extent: step };
        self.slice(body, sweep, slice, &carries, true);
        let yielded: ValueList = carries.iter().flat_map(|(inst, _)| self.carried[inst].clone()).collect();
        self.builder(body, place).yield_(&yielded);
        let types: Vec<Type> = init.iter().map(|&v| self.func.ty(v)).collect();
        let data = InstData::For { lo, hi, step: by, rev: false, init, body, attrs: LoopAttrs::default() };
        let made = self.builder(outside, place).emit(data, &types);
        let mut after: Vec<Value> = self.func.results_of(made).to_vec();
        for (inst, carry) in &carries {
            let rest = after.split_off(self.carry_types(*inst, carry).len());
            let values = std::mem::replace(&mut after, rest);
            let values = self.folded(*inst, carry, &values);
            self.carried.insert(*inst, values);
        }
        if whole < extent {
            let start = self.builder(outside, place).index(i64::from(whole));
            let slice = Slice { start, known: Some(i64::from(whole)), extent: extent - whole };
            self.slice(outside, sweep, slice, &carries, false);
        }
        for (inst, carry) in &carries {
            if !matches!(carry, Carry::Before(_)) {
                let results: Vec<Value> = self.func.results_of(*inst).to_vec();
                let values = self.carried[inst].clone();
                for (old, new) in results.into_iter().zip(values) {
                    self.func.values[new].name = self.func.values[old].name.clone();
                    self.results.insert(old, new);
                }
            }
        }
    }

    /// What an instruction carries from slice to slice.
    fn carry(&self, inst: Inst) -> Option<Carry> {
        let rule = self.group.rules.get(&inst)?;
        match (&self.func.insts[inst], rule.form) {
            (InstData::Reduce { args, combine, .. }, Form::Fold) => {
                let elems: SmallVec<[_; 2]> = args.iter().map(|&v| self.func.ty(v).elem()).collect();
                Some(match neutral(*combine, &elems) {
                    Some(start) => Carry::Lanes(*combine, start),
                    None => Carry::Folded(*combine),
                })
            }
            (InstData::Scan { combine, .. }, Form::Scan) => Some(Carry::Before(*combine)),
            (InstData::Histogram { .. }, Form::Count) => Some(Carry::Counts),
            _ => None,
        }
    }

    /// Types of what is carried through the loop.
    fn carry_types(&self, inst: Inst, carry: &Carry) -> SmallVec<[Type; 2]> {
        let data = &self.func.insts[inst];
        let operands = data.operands();
        match carry {
            Carry::Lanes(..) => operands.iter().map(|&v| self.sliced(v, self.step)).collect(),
            Carry::Folded(_) | Carry::Counts => self.func.results_of(inst).iter().map(|&v| self.func.ty(v)).collect(),
            Carry::Before(_) => operands.iter().map(|&v| self.without_axis(v)).collect(),
        }
    }

    fn start_of(&mut self, inst: Inst, carry: &Carry) -> Vec<Value> {
        let types = self.carry_types(inst, carry);
        let block = self.group.block;
        let mut b = self.builder(block, inst);
        match carry {
            Carry::Lanes(_, neutral) => {
                types.iter().zip(neutral).map(|(&ty, &value)| b.emit1(InstData::Const { value }, ty)).collect()
            }
            _ => types.iter().map(|&ty| b.zero(ty)).collect(),
        }
    }

    /// What a loop carried out, as the instruction's results so far.
    fn folded(&mut self, inst: Inst, carry: &Carry, values: &[Value]) -> SmallVec<[Value; 2]> {
        let (Carry::Lanes(combine, _), InstData::Reduce { axis, .. }) = (carry, &self.func.insts[inst]) else {
            return values.iter().copied().collect();
        };
        let axis = usize::from(*axis);
        self.builder(self.group.block, inst).reduce(values, axis, *combine)
    }

    /// Writes the sweep's instructions for one slice; `inside` says whether that is in the loop.
    fn slice(&mut self, block: Block, sweep: &Sweep, slice: Slice, carries: &[(Inst, Carry)], inside: bool) {
        self.map.clear();
        let mut first = None;
        for &inst in &sweep.insts {
            match carries.iter().find(|(carrying, _)| *carrying == inst) {
                None => self.copy(block, inst, slice),
                Some((_, carry)) => {
                    // Combinations without a neutral element take the first slice as it is.
                    let is_first = if inside && matches!(carry, Carry::Folded(_) | Carry::Before(_)) {
                        Some(*first.get_or_insert_with(|| {
                            let mut b = Builder::new(self.func, block);
                            let zero = b.index(0);
                            b.cmp(CmpOp::Eq, slice.start, zero)
                        }))
                    } else {
                        None
                    };
                    self.carry_on(block, inst, carry, slice, is_first, inside);
                }
            }
        }
    }

    fn carry_on(&mut self, block: Block, inst: Inst, carry: &Carry, slice: Slice, is_first: Option<Value>, inside: bool) {
        let before = self.carried[&inst].clone();
        if let (Carry::Lanes(combine, _), true, InstData::Reduce { args, .. }) = (carry, inside, &self.func.insts[inst]) {
            let own: SmallVec<[Value; 2]> = args.iter().map(|&v| self.value(v)).collect();
            let next = combine_tiles(&mut self.builder(block, inst), *combine, &before, &own);
            self.carried.insert(inst, next);
            return;
        }
        self.copy(block, inst, slice);
        let own: SmallVec<[Value; 2]> = self.func.results_of(inst).iter().map(|v| self.map[v]).collect();
        let next = match carry {
            Carry::Counts => {
                let mut b = self.builder(block, inst);
                smallvec::smallvec![b.binary(BinaryOp::Add, before[0], own[0])]
            }
            Carry::Lanes(combine, _) | Carry::Folded(combine) => {
                self.unless_first(block, inst, *combine, &before, &own, is_first)
            }
            Carry::Before(combine) => return self.scanned(block, inst, *combine, &before, &own, slice, is_first),
        };
        self.carried.insert(inst, next);
    }

    /// `before` and `own` combined; `own` alone where `is_first`.
    fn unless_first(
        &mut self,
        block: Block,
        inst: Inst,
        combine: Combine,
        before: &[Value],
        own: &[Value],
        is_first: Option<Value>,
    ) -> SmallVec<[Value; 2]> {
        let mut b = self.builder(block, inst);
        let both = combine_tiles(&mut b, combine, before, own);
        let Some(is_first) = is_first else { return both };
        let shape = b.ty(own[0]).shape();
        let first = b.broadcast(is_first, shape);
        own.iter().zip(both).map(|(&own, both)| b.select(first, own, both)).collect()
    }

    /// Puts what lies before the slice in front of its scan, and carries on with what lies before the next.
    #[allow(clippy::too_many_arguments)]
    fn scanned(
        &mut self,
        block: Block,
        inst: Inst,
        combine: Combine,
        before: &[Value],
        own: &[Value],
        slice: Slice,
        is_first: Option<Value>,
    ) {
        let InstData::Scan { args, axis, .. } = self.func.insts[inst].clone() else { unreachable!("only scans carry so") };
        let axis = usize::from(axis);
        let results: Vec<Value> = self.func.results_of(inst).to_vec();
        let operands: Vec<Value> = args.iter().map(|&v| self.value(v)).collect();
        let shape = Shape::from_slice(self.sliced(results[0], slice.extent).shape());
        // A block belongs to one instruction.
        let of_total = match combine {
            Combine::Region(body) => Combine::Region(self.copy_block(body, slice)),
            builtin => builtin,
        };
        let mut b = self.builder(block, inst);
        let spread: Vec<Value> = before
            .iter()
            .map(|&v| {
                let kept = b.expand_dims(v, axis);
                b.broadcast(kept, &shape)
            })
            .collect();
        let total = b.reduce(&operands, axis, of_total);
        let whole = self.unless_first(block, inst, combine, &spread, own, is_first);
        for (old, new) in results.into_iter().zip(whole) {
            self.map.insert(old, new);
        }
        let next = self.unless_first(block, inst, combine, before, &total, is_first);
        self.carried.insert(inst, next);
    }

    // ---- copies ----

    fn value(&self, value: Value) -> Value {
        self.map.get(&value).or_else(|| self.results.get(&value)).copied().unwrap_or(value)
    }

    /// The type of a slice of a tile.
    fn sliced(&self, value: Value, extent: u32) -> Type {
        let ty = self.func.ty(value);
        let Some(&axis) = self.group.axis.get(&value) else { return ty };
        let mut shape = Shape::from_slice(ty.shape());
        shape[usize::from(axis)] = extent;
        ty.with_shape(&shape)
    }

    /// The type of a tile of the group without the axis.
    fn without_axis(&self, value: Value) -> Type {
        let ty = self.func.ty(value);
        let mut shape = Shape::from_slice(ty.shape());
        shape.remove(usize::from(self.group.axis[&value]));
        ty.with_shape(&shape)
    }

    /// Copies an instruction for a slice; what is not sliced is copied as it is.
    fn copy(&mut self, block: Block, inst: Inst, slice: Slice) {
        let mut data = self.func.insts[inst].clone();
        data.visit_operands_mut(|v| *v = self.value(*v));
        let blocks: Vec<Block> = data.blocks().into_iter().map(|inner| self.copy_block(inner, slice)).collect();
        let mut copies = blocks.into_iter();
        data.visit_blocks_mut(|b| *b = copies.next().unwrap_or(*b));
        if let Some(space) = self.group.rules.get(&inst).map(|rule| usize::from(rule.space)) {
            self.narrow(block, inst, &mut data, space, slice);
        }
        let types: SmallVec<[Type; 2]> = self.func.results_of(inst).iter().map(|&v| self.sliced(v, slice.extent)).collect();
        let is_iota = matches!(data, InstData::Iota { .. }) && self.group.rules.contains_key(&inst) && slice.known.is_none();
        let made = self.builder(block, inst).emit(data, &types);
        for number in 0..types.len() {
            let (old, mut new) = (self.func.results_of(inst)[number], self.func.results_of(made)[number]);
            if is_iota {
                new = self.after_start(block, inst, new, slice.start);
            }
            self.func.values[new].name = self.func.values[old].name.clone();
            self.map.insert(old, new);
        }
    }

    fn copy_block(&mut self, from: Block, slice: Slice) -> Block {
        let to = self.func.add_block();
        for param in self.func.blocks[from].params.clone() {
            let (ty, name) = (self.sliced(param, slice.extent), self.func.values[param].name.clone());
            let new = self.func.add_block_param(to, ty, name);
            self.map.insert(param, new);
        }
        for inst in self.func.blocks[from].insts.clone() {
            self.copy(to, inst, slice);
        }
        to
    }

    /// Lane numbers of the slice: those of the first, and where the slice starts.
    fn after_start(&mut self, block: Block, inst: Inst, lanes: Value, start: Value) -> Value {
        let mut b = self.builder(block, inst);
        let ty = b.ty(lanes);
        let start = b.cast(start, ty.scalar_elem().unwrap_or(ScalarType::Index));
        let start = b.broadcast(start, ty.shape());
        b.binary(BinaryOp::Add, lanes, start)
    }

    /// Makes an instruction with an extent or a start of its own work on the slice.
    fn narrow(&mut self, block: Block, inst: Inst, data: &mut InstData, space: usize, slice: Slice) {
        match data {
            InstData::Iota { start } => *start = start.wrapping_add(slice.known.unwrap_or(0)),
            InstData::Load { place, .. }
            | InstData::Store { place, .. }
            | InstData::Prefetch { place, .. }
            | InstData::AtomicRmw { place, .. }
            | InstData::AtomicCas { place, .. }
            | InstData::AtomicLoad { place, .. }
            | InstData::AtomicStore { place, .. } => {
                // The original's indices: copies of gathers have the slice's extents.
                let original = match &self.func.insts[inst] {
                    InstData::Load { place, .. }
                    | InstData::Store { place, .. }
                    | InstData::Prefetch { place, .. }
                    | InstData::AtomicRmw { place, .. }
                    | InstData::AtomicCas { place, .. }
                    | InstData::AtomicLoad { place, .. }
                    | InstData::AtomicStore { place, .. } => place.clone(),
                    _ => return,
                };
                let (Place::View(access), Place::View(original)) = (place, original) else { return };
                let Some(dim) = span_of(self.func, &original, space) else { return };
                if let SliceIndex::Span { start, len } = &mut access.index[dim] {
                    *len = slice.extent;
                    let from_zero = matches!(self.func.def_data(*start), Some(InstData::Const { value: Const::Int(0) }));
                    *start = if from_zero {
                        slice.start
                    } else {
                        self.builder(block, inst).binary(BinaryOp::Add, *start, slice.start)
                    };
                }
            }
            _ => {}
        }
    }
}
